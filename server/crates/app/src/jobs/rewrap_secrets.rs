//! Seals anew, with the key ring's newest key, all that older keys have sealed, so that an older key can be taken out of
//! the ring. Every process with workers does it: each replaces only what it has read, so whoever comes second finds nothing
//! to do.

use std::{collections::BTreeSet, time::Duration};

use domain::{WorkspaceId, fail_point};
use store::secrets::{COLUMNS, Column};
use uuid::Uuid;

use crate::{App, Error, worker::jittered};

/// How many rows are read at a time.
const BATCH: i32 = 100;

/// What came of a pass over everything.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Pass {
    /// How many secrets are sealed with the newest key now that were not before.
    pub(crate) rewrapped: u64,
    /// How many could not be opened, and stay as they are.
    pub(crate) left: u64,
    /// The keys that the ring lacks for them.
    pub(crate) missing: BTreeSet<String>,
}

/// Runs until the process stops.
pub(crate) async fn run(app: App) {
    // A ring changes with a restart of its process; this is for processes that still seal with an older one.
    const EVERY: Duration = Duration::from_hours(1);
    const AFTER_FAILURE: Duration = Duration::from_secs(10);
    loop {
        let pause = match pass(&app).await {
            Ok(done) => {
                report(&app, &done);
                EVERY
            }
            Err(error) => {
                tracing::warn!(error = %error, "sealing secrets with the newest key failed; it is tried again");
                AFTER_FAILURE
            }
        };
        tokio::select! {
            () = app.inner.stop.cancelled() => return,
            () = tokio::time::sleep(jittered(pause)) => {}
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge")]
fn report(app: &App, done: &Pass) {
    let kid = app.inner.sealer.newest();
    metrics::gauge!("switchboard_secrets_under_unknown_keys").set(done.left as f64);
    if done.left > 0 {
        tracing::error!(
            left = done.left, missing = ?done.missing, reason = domain::Reason::SecretKeyMissing.as_str(),
            "secrets can't be opened: the key ring lacks their keys; put them back behind the newest one"
        );
    }
    if done.rewrapped > 0 {
        tracing::info!(
            rewrapped = done.rewrapped,
            kid,
            left = done.left,
            "secrets were sealed with the newest key"
        );
    }
}

/// Goes over everything once.
pub(crate) async fn pass(app: &App) -> Result<Pass, Error> {
    let mut done = Pass::default();
    for column in COLUMNS {
        let mut place = (Uuid::nil(), Uuid::nil());
        while !app.inner.stop.is_cancelled() {
            let kid = app.inner.sealer.newest();
            let rows =
                store::secrets::sealed_otherwise(app.store().pool(), column, kid, place, BATCH).await?;
            let Some(last) = rows.last() else { break };
            place = (last.workspace, last.id);
            for row in rows {
                rewrap(app, column, row.workspace.into(), row.id, &row.sealed, &mut done).await?;
            }
        }
    }
    Ok(done)
}

async fn rewrap(
    app: &App,
    column: Column,
    workspace: WorkspaceId,
    id: Uuid,
    sealed: &[u8],
    done: &mut Pass,
) -> Result<(), Error> {
    let fresh = match app.inner.sealer.reseal(workspace, id, column.place, sealed) {
        Ok(fresh) => fresh,
        Err(error) => {
            done.left += 1;
            match error {
                Error::KeyMissing(kid) => drop(done.missing.insert(kid)),
                error => tracing::error!(
                    workspace.id = %workspace, %id, table = column.table, column = column.name, error = %error,
                    "a secret can't be sealed anew; it stays as it is"
                ),
            }
            return Ok(());
        }
    };
    fail_point::reached("rewrap", "before");
    let mut tx = app.store().workspace(workspace).await?;
    let replaced = store::secrets::replace(&mut tx, workspace, column, id, sealed, &fresh).await?;
    store::commit(tx).await?;
    if replaced {
        done.rewrapped += 1;
        metrics::counter!("switchboard_secrets_rewrapped_total", "table" => column.table).increment(1);
    }
    Ok(())
}
