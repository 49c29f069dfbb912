//! Gives recorded events their places in the log, in whichever process holds the lease.

use std::time::Duration;

use domain::fail_point;

use crate::{App, worker::jittered};

/// Runs until the process stops.
pub(crate) async fn run(app: App) {
    const LEASE: Duration = Duration::from_secs(5);
    const BATCH: i32 = 2_000;
    // Behind the notifications; also renews the lease.
    const POLL: Duration = Duration::from_secs(2);
    // A pass for every notification would make one transaction per event; a breath between passes gathers them.
    const BREATH: Duration = Duration::from_millis(3);
    let mut work = app.inner.hub.work();
    loop {
        work.borrow_and_update();
        fail_point::reached("number", "before");
        let numbered =
            store::numberer::number_events(app.store().pool(), app.inner.worker, LEASE, BATCH).await;
        fail_point::reached("number", "after");
        let pause = match numbered {
            Ok(count) if count == BATCH => Duration::ZERO,
            Ok(_) => BREATH,
            Err(error) => {
                tracing::warn!(error = %error, "numbering events failed; it is tried again");
                Duration::from_millis(500)
            }
        };
        tokio::time::sleep(pause).await;
        if pause > Duration::ZERO {
            tokio::select! {
                () = app.inner.stop.cancelled() => return,
                _ = work.changed() => {}
                () = tokio::time::sleep(jittered(POLL)) => {}
            }
        } else if app.inner.stop.is_cancelled() {
            return;
        }
    }
}
