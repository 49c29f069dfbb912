//! Notifications: one listening connection a process, fanned out in memory.

use domain::WorkspaceId;
use tokio::sync::{broadcast, watch};

use crate::{App, Error};

/// Wakes whoever waits for something in the database.
pub(crate) struct Hub {
    work: watch::Sender<u64>,
    events: broadcast::Sender<Option<WorkspaceId>>,
}

impl Hub {
    pub(crate) fn new() -> Self {
        Self { work: watch::Sender::new(0), events: broadcast::Sender::new(1024) }
    }

    /// Fires when there may be work.
    pub(crate) fn work(&self) -> watch::Receiver<u64> {
        self.work.subscribe()
    }

    /// Tells of workspaces whose log grew; `None`: any may have.
    pub(crate) fn events(&self) -> broadcast::Receiver<Option<WorkspaceId>> {
        self.events.subscribe()
    }

    fn wake_all(&self) {
        self.work.send_modify(|count| *count += 1);
        let _ = self.events.send(None);
    }
}

/// Starts the listener. It lives as long as the process, through restarts of the database.
pub(crate) async fn start(app: &App) -> Result<(), Error> {
    const CHANNELS: [&str; 3] = ["switchboard_work", "switchboard_events", "switchboard_config"];
    let mut listener = app.store().listen(&CHANNELS).await?;
    let app = app.clone();
    tokio::spawn(async move {
        loop {
            let heard = tokio::select! {
                () = app.inner.stop.cancelled() => return,
                heard = listener.try_recv() => heard,
            };
            match heard {
                Ok(Some(notification)) => match notification.channel() {
                    "switchboard_work" => app.inner.hub.work.send_modify(|count| *count += 1),
                    "switchboard_events" => {
                        let _ = app.inner.hub.events.send(notification.payload().parse().ok());
                    }
                    _ => app.forget(),
                },
                // The connection was lost and made again: anything may have been said meanwhile.
                Ok(None) => {
                    app.forget();
                    app.inner.hub.wake_all();
                }
                Err(error) => {
                    tracing::warn!(error = %error, "the listener lost the database; it tries again");
                    app.forget();
                    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
                }
            }
        }
    });
    Ok(())
}
