//! Deletes dispatches that came to their end longer ago than the operator keeps them.

use std::time::Duration;

use crate::{App, Error, worker::jittered};

/// How many go in one transaction.
const BATCH: i32 = 2_000;

/// Runs until the process stops, if the operator has set a retention. Processes that sweep at once pass over what another one
/// has taken.
pub(crate) async fn run(app: App) {
    const EVERY: Duration = Duration::from_hours(1);
    const BREATH: Duration = Duration::from_millis(50);
    let Some(retention) = app.inner.settings.dispatch_retention else { return };
    loop {
        let pause = match pass(&app, retention).await {
            Ok(true) => BREATH,
            Ok(false) => jittered(EVERY),
            Err(error) => {
                tracing::warn!(error = %error, "old dispatches could not be deleted; it is tried again");
                jittered(EVERY / 60)
            }
        };
        tokio::select! {
            () = app.inner.stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Deletes a batch. Answers whether there may be more.
async fn pass(app: &App, retention: Duration) -> Result<bool, Error> {
    let gone = store::dispatches::sweep(app.store().pool(), app.now() - retention, BATCH).await?;
    Ok(gone >= i64::from(BATCH))
}
