//! Deleted dialogues, and what is still to be deleted of them.

use domain::{DialogueId, Timestamp, WorkspaceId};
use serde_json::Value;
use sqlx::{FromRow, PgConnection, types::Json};
use uuid::Uuid;

use crate::{Error, Pool};

/// Something that is to be deleted.
#[derive(Debug, Clone)]
pub struct Erasure {
    /// Its dialogue.
    pub dialogue: DialogueId,
    /// What it is.
    pub what: What,
    /// How often it failed so far.
    pub failures: i32,
    /// Since when it is to be deleted.
    pub created_at: Timestamp,
}

/// What is to be deleted.
#[derive(Debug, Clone)]
pub enum What {
    /// What no index finds in our tables.
    Rows,
    /// What an engine keeps.
    Conversation {
        /// The engine, as its notes were kept under.
        engine: String,
        /// Its notes.
        notes: Value,
    },
}

#[derive(FromRow)]
struct ErasureRow {
    dialogue_id: Uuid,
    engine: Option<String>,
    notes: Option<Json<Value>>,
    failures: i32,
    created_at: Timestamp,
}

/// Deletes a dialogue. Answers whether there was one.
pub async fn delete_dialogue(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    dialogue: DialogueId,
    deletion: Uuid,
    now: Timestamp,
) -> Result<bool, Error> {
    let deleted: bool = sqlx::query_scalar("select delete_dialogue($1, $2, $3, $4)")
        .bind(workspace.0)
        .bind(dialogue.0)
        .bind(deletion)
        .bind(now)
        .fetch_one(&mut *conn)
        .await?;
    if deleted {
        // A run that is under way is pointless, and the log has grown.
        sqlx::query("select pg_notify('switchboard_dialogues', $1), pg_notify('switchboard_work', '')")
            .bind(dialogue.to_string())
            .execute(conn)
            .await?;
    }
    Ok(deleted)
}

/// Whether a dialogue was deleted lately.
pub async fn was_deleted(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    dialogue: DialogueId,
) -> Result<bool, Error> {
    let sql =
        "select exists (select from erasures where workspace_id = $1 and dialogue_id = $2 and kind = 'ROWS')";
    Ok(sqlx::query_scalar(sql).bind(workspace.0).bind(dialogue.0).fetch_one(conn).await?)
}

/// Has a conversation deleted that an engine made and nobody knows any more.
pub async fn leave(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    id: Uuid,
    dialogue: DialogueId,
    engine: &str,
    notes: &Value,
    now: Timestamp,
) -> Result<(), Error> {
    sqlx::query(
        "insert into erasures (workspace_id, id, dialogue_id, kind, engine, notes, run_at, created_at)
         values ($1, $2, $3, 'CONVERSATION', $4, $5, $6, $6)",
    )
    .bind(workspace.0)
    .bind(id)
    .bind(dialogue.0)
    .bind(engine)
    .bind(Json(notes))
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes what is due, until then. Crosses workspaces.
pub async fn due(
    pool: &Pool,
    now: Timestamp,
    until: Timestamp,
    limit: i32,
) -> Result<Vec<(WorkspaceId, Uuid)>, Error> {
    let rows: Vec<(Uuid, Uuid)> = sqlx::query_as("select * from system_due_erasures($1, $2, $3)")
        .bind(now)
        .bind(until)
        .bind(limit)
        .fetch_all(pool)
        .await?;
    Ok(rows.into_iter().map(|(workspace, id)| (workspace.into(), id)).collect())
}

/// Forgets what was done long ago.
pub async fn sweep(pool: &Pool, now: Timestamp) -> Result<(), Error> {
    sqlx::query("select system_sweep_erasures($1)").bind(now).execute(pool).await?;
    Ok(())
}

/// Reads one that is not done.
pub async fn find(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    id: Uuid,
) -> Result<Option<Erasure>, Error> {
    let row: Option<ErasureRow> = sqlx::query_as(
        "select dialogue_id, engine, notes, failures, created_at from erasures
         where workspace_id = $1 and id = $2 and done_at is null",
    )
    .bind(workspace.0)
    .bind(id)
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Erasure {
        dialogue: row.dialogue_id.into(),
        what: match (row.engine, row.notes) {
            (Some(engine), Some(notes)) => What::Conversation { engine, notes: notes.0 },
            _ => What::Rows,
        },
        failures: row.failures,
        created_at: row.created_at,
    }))
}

/// Deletes what no index finds.
pub async fn erase_rows(conn: &mut PgConnection, workspace: WorkspaceId, id: Uuid) -> Result<(), Error> {
    sqlx::query("select erase_rows($1, $2)").bind(workspace.0).bind(id).execute(conn).await?;
    Ok(())
}

/// Notes that one is done, or given up.
pub async fn end(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    id: Uuid,
    left_behind: bool,
    now: Timestamp,
) -> Result<(), Error> {
    sqlx::query("select end_erasure($1, $2, $3, $4), pg_notify('switchboard_work', '')")
        .bind(workspace.0)
        .bind(id)
        .bind(left_behind)
        .bind(now)
        .execute(conn)
        .await?;
    Ok(())
}

/// Puts one off that failed.
pub async fn put_off(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    id: Uuid,
    run_at: Timestamp,
) -> Result<(), Error> {
    sqlx::query(
        "update erasures set failures = failures + 1, run_at = $3 where workspace_id = $1 and id = $2",
    )
    .bind(workspace.0)
    .bind(id)
    .bind(run_at)
    .execute(conn)
    .await?;
    Ok(())
}
