//! The log of recorded facts: writing single ones, reading numbered ones.

use std::collections::HashMap;

use domain::{DialogueId, EventId, Timestamp, WorkspaceId, event::Event};
use serde::Serialize;
use sqlx::{FromRow, PgConnection, types::Json};
use uuid::Uuid;

use crate::{Error, dialogues};

/// An event to write.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// Its id.
    pub id: EventId,
    /// What happened, in the past tense.
    pub kind: &'static str,
    /// The dialogue it is about.
    pub dialogue: Option<DialogueId>,
    /// The id of what it is about.
    pub subject: Uuid,
    /// Further facts, an object.
    pub data: serde_json::Value,
    /// When it happened.
    pub at: Timestamp,
}

/// Writes one event, with the note that asks for its place.
pub async fn insert(conn: &mut PgConnection, workspace: WorkspaceId, event: &NewEvent) -> Result<(), Error> {
    sqlx::query(
        "with noted as (
             insert into unnumbered_events (workspace_id, event_id, group_no, occurred_at)
             values ($1, $2, event_group($1), $7)
         )
         insert into events (workspace_id, id, kind, dialogue_id, subject_id, data, occurred_at)
         values ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(workspace.0)
    .bind(event.id.0)
    .bind(event.kind)
    .bind(event.dialogue.map(|id| id.0))
    .bind(event.subject)
    .bind(Json(&event.data))
    .bind(event.at)
    .execute(&mut *conn)
    .await?;
    sqlx::query("select pg_notify('switchboard_work', '')").execute(conn).await?;
    Ok(())
}

/// The end of a workspace's log: its epoch and last position.
pub async fn end(conn: &mut PgConnection, workspace: WorkspaceId) -> Result<(i32, i64), Error> {
    let end: Option<(i32, i64)> =
        sqlx::query_as("select epoch, last_position from event_logs where workspace_id = $1")
            .bind(workspace.0)
            .fetch_optional(conn)
            .await?;
    Ok(end.unwrap_or((1, 0)))
}

/// The oldest position that a workspace's log still holds. `None`: it holds none.
pub async fn oldest(conn: &mut PgConnection, workspace: WorkspaceId) -> Result<Option<i64>, Error> {
    Ok(sqlx::query_scalar("select min(position) from event_positions where workspace_id = $1")
        .bind(workspace.0)
        .fetch_one(conn)
        .await?)
}

/// Which of these events the workspace has.
pub async fn known(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    ids: &[EventId],
) -> Result<Vec<EventId>, Error> {
    let known: Vec<Uuid> =
        sqlx::query_scalar("select id from events where workspace_id = $1 and id = any ($2)")
            .bind(workspace.0)
            .bind(ids.iter().map(|id| id.0).collect::<Vec<_>>())
            .fetch_all(conn)
            .await?;
    Ok(known.into_iter().map(Into::into).collect())
}

/// What selects events.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Filter {
    /// Only of this dialogue.
    pub dialogue: Option<DialogueId>,
    /// Only of these types; empty: of any.
    pub kinds: Vec<String>,
}

impl Filter {
    /// Whether it lets an event of this dialogue and type through.
    pub fn lets(&self, dialogue: Option<DialogueId>, kind: &str) -> bool {
        self.dialogue.is_none_or(|id| dialogue == Some(id))
            && (self.kinds.is_empty() || self.kinds.iter().any(|wanted| wanted == kind))
    }
}

#[derive(FromRow)]
struct EventRow {
    position: i64,
    id: Uuid,
    kind: String,
    dialogue_id: Option<Uuid>,
    subject_id: Option<Uuid>,
    data: Json<serde_json::Value>,
    occurred_at: Timestamp,
}

/// What was read of a log.
#[derive(Debug, Clone, PartialEq)]
pub struct Stretch {
    /// The events that the filter lets through.
    pub events: Vec<Event>,
    /// The last position that was looked at.
    pub through: i64,
    /// Whether the log held as many as were asked for, and so may hold more.
    pub full: bool,
}

/// Reads on from a position: looks at up to `limit` events and gives those that the filter lets through.
pub async fn read(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    after: i64,
    filter: &Filter,
    limit: usize,
) -> Result<Stretch, Error> {
    let rows: Vec<EventRow> = sqlx::query_as(
        "select p.position, e.id, e.kind, e.dialogue_id, e.subject_id, e.data, e.occurred_at
         from event_positions p join events e on e.workspace_id = p.workspace_id and e.id = p.event_id
         where p.workspace_id = $1 and p.position > $2 order by p.position limit $3",
    )
    .bind(workspace.0)
    .bind(after)
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(&mut *conn)
    .await?;
    let through = rows.last().map_or(after, |row| row.position);
    let full = rows.len() == limit;
    let rows: Vec<EventRow> =
        rows.into_iter().filter(|row| filter.lets(row.dialogue_id.map(Into::into), &row.kind)).collect();
    let about: Vec<Uuid> = rows
        .iter()
        .filter(|row| matches!(row.kind.as_str(), "message.received" | "message.replied" | "message.sent"))
        .filter_map(|row| row.subject_id)
        .collect();
    let mut messages = HashMap::new();
    if !about.is_empty() {
        for message in dialogues::find_messages(conn, workspace, &about).await? {
            messages.insert(message.id.0, message);
        }
    }
    let events = rows
        .into_iter()
        .map(|row| Event {
            id: row.id.into(),
            message: row.subject_id.and_then(|id| messages.remove(&id)),
            kind: row.kind,
            position: row.position,
            occurred_at: row.occurred_at,
            dialogue: row.dialogue_id.map(Into::into),
            subject: row.subject_id,
            data: row.data.0,
        })
        .collect();
    Ok(Stretch { events, through, full })
}
