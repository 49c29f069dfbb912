//! Deletes what is left of deleted dialogues: what no index finds in our tables, and what engines keep of them. An engine that
//! can't be reached is asked again, for a month.

use std::time::Duration;

use domain::{DialogueId, IntegrationId, WorkspaceId};
use futures::StreamExt as _;
use serde_json::Value;
use store::erasures::What;
use uuid::Uuid;

use crate::{App, Error, worker::jittered};

/// How many are worked on at once.
const AT_ONCE: usize = 4;
/// How many are looked up at a time.
const BATCH: i32 = 50;
/// How long one process is waited for.
const TAKEN: Duration = Duration::from_mins(5);
/// The pause after a failure, which doubles with each, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(30);
const LONGEST_PAUSE: Duration = Duration::from_hours(6);
/// From when on an engine is not asked any more.
const GIVEN_UP: Duration = Duration::from_hours(24 * 30);

/// Runs until the process stops. Every process with workers does it; each erasure is taken by one of them at a time.
pub(crate) async fn run(app: App) {
    const LOOK: Duration = Duration::from_secs(10);
    loop {
        let done = tokio::select! {
            () = app.inner.stop.cancelled() => return,
            () = tokio::time::sleep(jittered(LOOK)) => pass(&app).await,
            () = app.inner.erasing.notified() => pass(&app).await,
        };
        if let Err(error) = done {
            tracing::warn!(error = %error, "looking for what is to be deleted failed; it is tried again");
        }
    }
}

async fn pass(app: &App) -> Result<(), Error> {
    let now = app.now();
    let due = store::erasures::due(app.store().pool(), now, now + TAKEN, BATCH).await?;
    futures::stream::iter(due)
        .for_each_concurrent(AT_ONCE, |(workspace, id)| async move {
            if let Err(error) = erase(app, workspace, id).await {
                tracing::warn!(workspace.id = %workspace, erasure.id = %id, error = %error,
                    "something could not be deleted; it is tried again");
            }
        })
        .await;
    Ok(())
}

async fn erase(app: &App, workspace: WorkspaceId, id: Uuid) -> Result<(), Error> {
    let mut tx = app.store().workspace(workspace).await?;
    let Some(erasure) = store::erasures::find(&mut tx, workspace, id).await? else { return Ok(()) };
    let now = app.now();
    let left_behind = match &erasure.what {
        What::Rows => {
            store::erasures::erase_rows(&mut tx, workspace, id).await?;
            false
        }
        What::Conversation { engine, notes } => {
            // No transaction is open while a vendor is asked.
            store::commit(tx).await?;
            let forgotten = forget(app, workspace, erasure.dialogue, engine, notes).await?;
            tx = app.store().workspace(workspace).await?;
            match forgotten {
                Forgotten::Yes => false,
                Forgotten::Never => true,
                Forgotten::NotYet if now - erasure.created_at > GIVEN_UP => true,
                Forgotten::NotYet => {
                    let doubled =
                        FIRST_PAUSE * 2_u32.saturating_pow(erasure.failures.clamp(0, 16).unsigned_abs());
                    let run_at = now + jittered(doubled.min(LONGEST_PAUSE));
                    store::erasures::put_off(&mut tx, workspace, id, run_at).await?;
                    store::commit(tx).await?;
                    return Ok(());
                }
            }
        }
    };
    if left_behind {
        tracing::warn!(workspace.id = %workspace, dialogue.id = %erasure.dialogue,
            "an engine keeps the conversation of a deleted dialogue; delete it there");
    }
    store::erasures::end(&mut tx, workspace, id, left_behind, now).await?;
    store::commit(tx).await?;
    Ok(())
}

/// Whether an engine has forgotten.
enum Forgotten {
    Yes,
    NotYet,
    /// Nobody knows any more how it is reached.
    Never,
}

async fn forget(
    app: &App,
    workspace: WorkspaceId,
    dialogue: DialogueId,
    engine: &str,
    notes: &Value,
) -> Result<Forgotten, Error> {
    let (vendor, integration) =
        engine.split_once(':').map_or((engine, None), |(vendor, id)| (vendor, Some(id)));
    let Some(model) = app.inner.vendors.get(vendor).and_then(|vendor| vendor.engine.clone()) else {
        return Ok(Forgotten::Never);
    };
    let integration = match integration.map(str::parse::<IntegrationId>) {
        None => None,
        Some(Ok(id)) if app.held(workspace, id).await?.is_some() => Some(id),
        Some(_) => return Ok(Forgotten::Never),
    };
    let asked = match app.account_at(workspace, vendor, integration).await? {
        Ok(account) => model.forget(&account.connection, dialogue, notes).await,
        Err(error) => Err(error),
    };
    Ok(match asked {
        Ok(()) => Forgotten::Yes,
        Err(error) => {
            tracing::info!(workspace.id = %workspace, vendor, error = %error, "an engine did not forget a conversation yet");
            Forgotten::NotYet
        }
    })
}
