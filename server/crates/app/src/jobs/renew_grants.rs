//! Renews what people granted at vendors, ahead of its end and at least every thirty days, though nobody uses it.

use std::time::Duration;

use futures::StreamExt as _;

use crate::{App, Error, worker::jittered};

/// How many are renewed at once.
const AT_ONCE: usize = 4;
/// How many are looked up at a time.
const BATCH: i32 = 50;

/// Runs until the process stops. Every process with workers does it; the lease in the database keeps two from renewing one
/// pair.
pub(crate) async fn run(app: App) {
    const EVERY: Duration = Duration::from_secs(5);
    loop {
        let renewed = tokio::select! {
            () = app.inner.stop.cancelled() => return,
            () = tokio::time::sleep(jittered(EVERY)) => pass(&app).await,
        };
        if let Err(error) = renewed {
            tracing::warn!(error = %error, "looking for tokens to be renewed failed; it is tried again");
        }
    }
}

async fn pass(app: &App) -> Result<(), Error> {
    let due = store::grants::due(app.store().pool(), app.now(), BATCH).await?;
    futures::stream::iter(due)
        .for_each_concurrent(AT_ONCE, |(workspace, id)| async move {
            match app.renew_due(workspace, id).await {
                // A vendor's refusal was logged, and is kept as the integration's health.
                Ok(()) | Err(Error::Vendor(_)) => {}
                Err(error) => tracing::warn!(
                    workspace.id = %workspace, integration.id = %id, error = %error,
                    "a pair of tokens could not be renewed; it is tried again"
                ),
            }
        })
        .await;
    Ok(())
}
