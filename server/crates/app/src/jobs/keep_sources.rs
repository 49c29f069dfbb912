//! Has the sources there that integrations with CRMs ask for: when a process starts, when somebody lets us in, and again after a
//! pause where one can't be had.

use std::time::Duration;

use domain::{IntegrationId, WorkspaceId};
use futures::StreamExt as _;

use crate::{App, Error, worker::jittered};

/// How many CRMs are asked at once.
const AT_ONCE: usize = 4;
/// How many are looked up at a time.
const BATCH: i32 = 50;
/// How many integrations are read at a time when a process starts.
const PAGE: i32 = 500;
/// How long one process is waited for.
const TAKEN: Duration = Duration::from_mins(2);
/// Who was asked so short a time ago is not asked again because another process starts.
const LATELY: Duration = Duration::from_mins(1);

/// Runs until the process stops. Every process with workers does it; each integration is taken by one of them at a time.
pub(crate) async fn run(app: App) {
    const LOOK: Duration = Duration::from_secs(5);
    /// Configuration changes come in crowds.
    const BREATH: Duration = Duration::from_millis(100);
    let mut news = app.inner.hub.configuration();
    let mut woken = false;
    loop {
        let kept = async {
            if !woken {
                wake_all(&app).await?;
                woken = true;
            }
            pass(&app).await
        };
        if let Err(error) = kept.await {
            tracing::warn!(error = %error, "looking for sources to be kept failed; it is tried again");
        }
        tokio::select! {
            () = app.inner.stop.cancelled() => return,
            () = tokio::time::sleep(jittered(LOOK)) => {}
            _ = news.changed() => tokio::time::sleep(BREATH).await,
        }
    }
}

/// A process starts: the CRMs of all integrations that ask for a source are asked.
async fn wake_all(app: &App) -> Result<(), Error> {
    let vendors = app.vendors().iter().filter(|vendor| vendor.sources.is_some());
    let vendors: Vec<&str> = vendors.map(|vendor| vendor.id).collect();
    let mut after = (WorkspaceId(uuid::Uuid::nil()), IntegrationId(uuid::Uuid::nil()));
    loop {
        let page = store::sources::integrations_of(app.store().pool(), &vendors, after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = (last.workspace, last.id);
        let asks = |one: &&store::sources::WithSettings| {
            let sources = app.vendors().get(&one.vendor).and_then(|vendor| vendor.sources.as_ref());
            sources.is_some_and(|sources| sources.wanted(&one.settings, one.id).is_some())
        };
        let asking: Vec<_> = page.iter().filter(asks).map(|one| (one.workspace, one.id)).collect();
        if !asking.is_empty() {
            let now = app.now();
            store::sources::wake(app.store().pool(), &asking, now, now - LATELY).await?;
        }
    }
}

async fn pass(app: &App) -> Result<(), Error> {
    let now = app.now();
    let due = store::sources::due(app.store().pool(), now, now + TAKEN, BATCH).await?;
    futures::stream::iter(due)
        .for_each_concurrent(AT_ONCE, |(workspace, id)| async move {
            if let Err(error) = app.keep_source(workspace, id).await {
                tracing::warn!(
                    workspace.id = %workspace, integration.id = %id, error = %error,
                    "a source could not be looked after; it is tried again"
                );
            }
        })
        .await;
    Ok(())
}
