//! Turns that wait for their engine: rows that nobody holds.

use domain::{DialogueId, Timestamp, WorkerId, WorkspaceId};
use serde_json::Value;
use sqlx::{PgConnection, PgPool, types::Json};

use crate::{Error, turns::ClaimedTurn};

/// A turn that is to wait.
#[derive(Debug, Clone)]
pub struct Wait {
    /// The claim, which is given back.
    pub claim: ClaimedTurn,
    /// The run, which goes on.
    pub run: i32,
    /// Whose notes.
    pub engine: String,
    /// What the engine must be given when it is asked again.
    pub notes: Value,
    /// When that is.
    pub run_at: Timestamp,
}

/// Lets turns wait. Answers for each whether it was still this worker's.
pub async fn wait(
    conn: &mut PgConnection,
    worker: WorkerId,
    items: &[Wait],
    now: Timestamp,
) -> Result<Vec<bool>, Error> {
    let rows: Vec<i32> =
        sqlx::query_scalar("select ord from system_wait_turns($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)")
            .bind(worker.0)
            .bind(items.iter().map(|item| item.claim.workspace.0).collect::<Vec<_>>())
            .bind(items.iter().map(|item| item.claim.dialogue.0).collect::<Vec<_>>())
            .bind(items.iter().map(|item| item.claim.turn.0).collect::<Vec<_>>())
            .bind(items.iter().map(|item| item.run).collect::<Vec<_>>())
            .bind(items.iter().map(|item| item.claim.fence).collect::<Vec<_>>())
            .bind(items.iter().map(|item| item.claim.job.0).collect::<Vec<_>>())
            .bind(items.iter().map(|item| item.engine.as_str()).collect::<Vec<_>>())
            .bind(items.iter().map(|item| Json(&item.notes)).collect::<Vec<_>>())
            .bind(items.iter().map(|item| item.run_at).collect::<Vec<_>>())
            .bind(now)
            .fetch_all(conn)
            .await?;
    Ok(crate::queue::flags(items.len(), &rows))
}

/// Makes the turns due that wait for their engine in these dialogues. The others stay as they are.
pub async fn wake(
    pool: &PgPool,
    dialogues: &[(WorkspaceId, DialogueId)],
    now: Timestamp,
) -> Result<(), Error> {
    sqlx::query("select system_wake_turns($1, $2, $3)")
        .bind(dialogues.iter().map(|(workspace, _)| workspace.0).collect::<Vec<_>>())
        .bind(dialogues.iter().map(|(_, dialogue)| dialogue.0).collect::<Vec<_>>())
        .bind(now)
        .execute(pool)
        .await?;
    Ok(())
}
