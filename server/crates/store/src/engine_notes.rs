//! What engines noted of dialogues, to be given again with the next call.

use domain::{DialogueId, Timestamp, WorkerId, WorkspaceId};
use serde_json::Value;
use sqlx::{PgConnection, types::Json};

use crate::{Error, turns::ClaimedTurn};

/// Reads the notes of an engine.
pub async fn find(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    dialogue: DialogueId,
    engine: &str,
) -> Result<Option<Value>, Error> {
    let notes: Option<Json<Value>> = sqlx::query_scalar(
        "select notes from engine_notes where workspace_id = $1 and dialogue_id = $2 and engine = $3",
    )
    .bind(workspace.0)
    .bind(dialogue.0)
    .bind(engine)
    .fetch_optional(conn)
    .await?;
    Ok(notes.map(|notes| notes.0))
}

/// Keeps the notes of an engine in place of its earlier ones. Answers whether the claim still held.
pub async fn set(
    conn: &mut PgConnection,
    worker: WorkerId,
    claim: &ClaimedTurn,
    engine: &str,
    notes: &Value,
    now: Timestamp,
) -> Result<bool, Error> {
    let done = sqlx::query(
        "with held as (
             select k.workspace_id, k.subject_id from job_keys k
             where k.workspace_id = $1 and k.subject_id = $2 and k.lane = 'turn' and k.fence = $3 and k.locked_by = $4
             for no key update
         )
         insert into engine_notes (workspace_id, dialogue_id, engine, notes, updated_at)
         select h.workspace_id, h.subject_id, $5, $6, $7 from held h
         on conflict (workspace_id, dialogue_id, engine) do update set
             notes = excluded.notes, updated_at = excluded.updated_at",
    )
    .bind(claim.workspace.0)
    .bind(claim.dialogue.0)
    .bind(claim.fence)
    .bind(worker.0)
    .bind(engine)
    .bind(Json(notes))
    .bind(now)
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}
