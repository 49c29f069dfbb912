//! Dialogues and their messages.

use domain::{
    ChannelId, ContactId, DialogueId, MessageId, Timestamp, WorkspaceId,
    contact::CrmReferences,
    dialogue::{Control, Dialogue, Message, Role, Status},
    part::Part,
    turn::TurnState,
};
use serde::Serialize;
use sqlx::{AssertSqlSafe, FromRow, PgConnection, types::Json};
use uuid::Uuid;

use crate::Error;

#[derive(FromRow)]
struct DialogueRow {
    id: Uuid,
    channel_id: Uuid,
    chat: String,
    status: String,
    last_seq: i64,
    version: i64,
    control_since: Timestamp,
    control_reason: String,
    control_by: String,
    control_returns_at: Option<Timestamp>,
    attributes: Json<serde_json::Value>,
    contact_id: Option<Uuid>,
    crm_integration_id: Option<Uuid>,
    crm_lead_id: Option<String>,
    crm_contact_id: Option<String>,
    crm_source_id: Option<String>,
    opted_out: bool,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl TryFrom<DialogueRow> for Dialogue {
    type Error = Error;

    fn try_from(row: DialogueRow) -> Result<Self, Error> {
        let status = Status::parse(&row.status).ok_or_else(|| Error::Inconsistent {
            table: "dialogues",
            column: "status",
            id: row.id.to_string(),
        })?;
        Ok(Self {
            id: row.id.into(),
            channel: row.channel_id.into(),
            chat: row.chat,
            status,
            last_seq: row.last_seq,
            control: Control {
                since: row.control_since,
                reason: row.control_reason,
                by: row.control_by,
                returns_at: row.control_returns_at,
            },
            attributes: row.attributes.0,
            contact: row.contact_id.map(Into::into),
            crm: CrmReferences {
                integration: row.crm_integration_id.map(Into::into),
                lead_id: row.crm_lead_id,
                contact_id: row.crm_contact_id,
                source_external_id: row.crm_source_id,
            },
            opted_out: row.opted_out,
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

const DIALOGUE: &str = "id, channel_id, chat, status, last_seq, version, control_since, control_reason,
    control_by, control_returns_at, attributes, contact_id, crm_integration_id, crm_lead_id, crm_contact_id,
    crm_source_id, opted_out, created_at, updated_at";

/// What selects dialogues.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Filter {
    /// Only of this channel.
    pub channel: Option<ChannelId>,
    /// Only of this status.
    pub status: Option<Status>,
    /// Only with this contact.
    pub contact: Option<ContactId>,
    /// Only about this lead.
    pub lead: Option<String>,
}

/// Reads a dialogue.
pub async fn find(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    id: DialogueId,
) -> Result<Option<Dialogue>, Error> {
    let row: Option<DialogueRow> = sqlx::query_as(AssertSqlSafe(format!(
        "select {DIALOGUE} from dialogues where workspace_id = $1 and id = $2"
    )))
    .bind(workspace.0)
    .bind(id.0)
    .fetch_optional(conn)
    .await?;
    row.map(TryInto::try_into).transpose()
}

/// Where a page of dialogues begins: moment (in microseconds since 1970, which JSON keeps exactly) and id.
pub type DialogueKey = (i64, Uuid);

/// The key of a dialogue in [`list`].
pub fn key_of(dialogue: &Dialogue) -> DialogueKey {
    let micros = i64::try_from(dialogue.created_at.unix_timestamp_nanos() / 1_000).unwrap_or(i64::MAX);
    (micros, dialogue.id.0)
}

/// Lists dialogues, newest first.
pub async fn list(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    filter: &Filter,
    before: Option<DialogueKey>,
    limit: usize,
) -> Result<Vec<Dialogue>, Error> {
    let moment = before
        .map(|(micros, _)| Timestamp::from_unix_timestamp_nanos(i128::from(micros) * 1_000))
        .transpose()
        .unwrap_or(None);
    let rows: Vec<DialogueRow> = sqlx::query_as(AssertSqlSafe(format!(
        "select {DIALOGUE} from dialogues
         where workspace_id = $1 and ($2::timestamptz is null or (created_at, id) < ($2, $3))
             and ($4::uuid is null or channel_id = $4) and ($5::text is null or status = $5)
             and ($6::uuid is null or contact_id = $6) and ($7::text is null or crm_lead_id = $7)
         order by created_at desc, id desc limit $8"
    )))
    .bind(workspace.0)
    .bind(moment)
    .bind(before.map(|(_, id)| id))
    .bind(filter.channel.map(|id| id.0))
    .bind(filter.status.map(Status::as_str))
    .bind(filter.contact.map(|id| id.0))
    .bind(filter.lead.as_deref())
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

#[derive(FromRow)]
pub(crate) struct MessageRow {
    id: Uuid,
    dialogue_id: Uuid,
    seq: i64,
    role: String,
    body: String,
    parts: Option<Json<Vec<Part>>>,
    external_id: String,
    turn_id: Option<Uuid>,
    created_at: Timestamp,
    metadata: Option<Json<serde_json::Map<String, serde_json::Value>>>,
    sent_at: Option<Timestamp>,
}

impl TryFrom<MessageRow> for Message {
    type Error = Error;

    fn try_from(row: MessageRow) -> Result<Self, Error> {
        let role = Role::parse(&row.role).ok_or_else(|| Error::Inconsistent {
            table: "messages",
            column: "role",
            id: row.id.to_string(),
        })?;
        Ok(Self {
            id: row.id.into(),
            dialogue: row.dialogue_id.into(),
            seq: row.seq,
            role,
            text: row.body,
            parts: row.parts.map(|parts| parts.0).unwrap_or_default(),
            external_id: row.external_id,
            turn: row.turn_id.map(Into::into),
            created_at: row.created_at,
            metadata: row.metadata.map(|metadata| metadata.0).unwrap_or_default(),
            sent_at: row.sent_at,
        })
    }
}

const MESSAGE: &str =
    "id, dialogue_id, seq, role, body, parts, external_id, turn_id, created_at, metadata, sent_at";

/// Lists the messages of a dialogue, oldest first, after this number.
pub async fn list_messages(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    dialogue: DialogueId,
    after: i64,
    limit: usize,
) -> Result<Vec<Message>, Error> {
    let rows: Vec<MessageRow> = sqlx::query_as(AssertSqlSafe(format!(
        "select {MESSAGE} from messages where workspace_id = $1 and dialogue_id = $2 and seq > $3 order by seq limit $4"
    )))
    .bind(workspace.0)
    .bind(dialogue.0)
    .bind(after)
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// Reads messages of a dialogue by their numbers, in no particular order.
pub async fn messages_by_number(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    dialogue: DialogueId,
    numbers: &[i64],
) -> Result<Vec<Message>, Error> {
    let rows: Vec<MessageRow> = sqlx::query_as(AssertSqlSafe(format!(
        "select {MESSAGE} from messages where workspace_id = $1 and dialogue_id = $2 and seq = any ($3)"
    )))
    .bind(workspace.0)
    .bind(dialogue.0)
    .bind(numbers)
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// Reads messages by their ids, in no particular order.
pub async fn find_messages(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    ids: &[Uuid],
) -> Result<Vec<Message>, Error> {
    let rows: Vec<MessageRow> = sqlx::query_as(AssertSqlSafe(format!(
        "select {MESSAGE} from messages where workspace_id = $1 and id = any ($2)"
    )))
    .bind(workspace.0)
    .bind(ids)
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// Where the turn that covers a message stands. `None`: there is no such message, or no turn covers it.
pub async fn turn_state_of(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    message: MessageId,
) -> Result<Option<TurnState>, Error> {
    let state: Option<String> = sqlx::query_scalar(
        "select t.state from messages m join turns t on t.workspace_id = m.workspace_id and t.id = m.turn_id
         where m.workspace_id = $1 and m.id = $2",
    )
    .bind(workspace.0)
    .bind(message.0)
    .fetch_optional(conn)
    .await?;
    Ok(state.as_deref().and_then(TurnState::parse))
}

/// Locks a dialogue and moves it on by one version; gives the moment of what happens now, later than all before it.
pub async fn touch(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    id: DialogueId,
    now: Timestamp,
) -> Result<Option<Timestamp>, Error> {
    Ok(sqlx::query_scalar(
        "update dialogues set version = version + 1,
             updated_at = greatest($3, updated_at + interval '1 microsecond')
         where workspace_id = $1 and id = $2 returning updated_at",
    )
    .bind(workspace.0)
    .bind(id.0)
    .bind(now)
    .fetch_optional(conn)
    .await?)
}

/// Sets one attribute of a dialogue that is locked.
pub async fn set_attribute(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    id: DialogueId,
    name: &str,
    value: &serde_json::Value,
) -> Result<(), Error> {
    sqlx::query(
        "update dialogues set attributes = attributes || jsonb_build_object($3::text, $4::jsonb)
         where workspace_id = $1 and id = $2",
    )
    .bind(workspace.0)
    .bind(id.0)
    .bind(name)
    .bind(Json(value))
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes in a dialogue that is locked whether its customer wants no messages that nobody asked for.
pub async fn set_opted_out(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    id: DialogueId,
    opted_out: bool,
) -> Result<(), Error> {
    sqlx::query("update dialogues set opted_out = $3 where workspace_id = $1 and id = $2")
        .bind(workspace.0)
        .bind(id.0)
        .bind(opted_out)
        .execute(conn)
        .await?;
    Ok(())
}

/// Sets the attributes of a dialogue that is locked.
pub async fn set_attributes(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    id: DialogueId,
    attributes: &serde_json::Value,
) -> Result<(), Error> {
    sqlx::query("update dialogues set attributes = $3 where workspace_id = $1 and id = $2")
        .bind(workspace.0)
        .bind(id.0)
        .bind(Json(attributes))
        .execute(conn)
        .await?;
    Ok(())
}
