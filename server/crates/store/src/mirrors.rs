//! Mirrors: the chats of one channel that show the dialogues of others.

use domain::{
    ChannelId, DeliveryId, DialogueId, MessageId, Timestamp, WorkerId, WorkspaceId,
    channel::Mirror,
    contact::CrmReferences,
    dialogue::{Message, Role},
    inbound::Outcome,
    mirror::MirroredStatus,
    part::Part,
};
use serde_json::{Map, Value, json};
use sqlx::{FromRow, PgConnection, PgPool, types::Json};
use uuid::Uuid;

use crate::{Error, queue::Claim};

/// Which workspaces have channels that are mirrored. Crosses workspaces.
pub async fn fed_workspaces(pool: &PgPool) -> Result<Vec<WorkspaceId>, Error> {
    let ids: Vec<Uuid> = sqlx::query_scalar("select system_mirror_workspaces()").fetch_all(pool).await?;
    Ok(ids.into_iter().map(Into::into).collect())
}

/// How far a reading of logs came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub struct Fed {
    /// How many dialogues are to be looked at.
    pub woken: i32,
    /// Whether there is more to read: call again at once.
    pub more: bool,
}

/// Reads the logs of these workspaces on, and has dialogues looked at. Crosses workspaces.
pub async fn feed(
    pool: &PgPool,
    workspaces: &[WorkspaceId],
    limit: i32,
    now: Timestamp,
) -> Result<Fed, Error> {
    Ok(sqlx::query_as("select * from system_feed_mirrors($1, $2, $3)")
        .bind(workspaces.iter().map(|id| id.0).collect::<Vec<_>>())
        .bind(limit)
        .bind(now)
        .fetch_one(pool)
        .await?)
}

/// Begins to read a workspace's log at its present end, unless it is read already.
pub async fn begin_reading(conn: &mut PgConnection, workspace: WorkspaceId) -> Result<(), Error> {
    sqlx::query(
        "insert into mirror_places (workspace_id, epoch, position)
         select $1, coalesce(max(l.epoch), 1), coalesce(max(l.last_position), 0) from event_logs l where l.workspace_id = $1
         on conflict do nothing",
    )
    .bind(workspace.0)
    .execute(conn)
    .await?;
    Ok(())
}

/// Locks a claimed key until the transaction ends. `false`: the claim was lost, and nothing may be written.
pub async fn hold(conn: &mut PgConnection, worker: WorkerId, claim: &Claim) -> Result<bool, Error> {
    let held: Option<i32> = sqlx::query_scalar(
        "select 1 from job_keys
         where workspace_id = $1 and subject_id = $2 and lane = 'mirror' and fence = $3 and locked_by = $4 for update",
    )
    .bind(claim.workspace.0)
    .bind(claim.dialogue.0)
    .bind(claim.fence)
    .bind(worker.0)
    .fetch_optional(conn)
    .await?;
    Ok(held.is_some())
}

/// Ends a claimed look at a dialogue; `again`: it failed, and is done again then.
pub async fn settle(
    pool: &PgPool,
    worker: WorkerId,
    claim: &Claim,
    again: Option<Timestamp>,
) -> Result<(), Error> {
    sqlx::query("select system_settle_mirror($1, $2, $3, $4, $5, $6)")
        .bind(worker.0)
        .bind(claim.workspace.0)
        .bind(claim.dialogue.0)
        .bind(claim.fence)
        .bind(claim.job.0)
        .bind(again)
        .execute(pool)
        .await?;
    Ok(())
}

/// A chat that shows a dialogue.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Chat {
    /// What the vendor is told as the customer's id.
    pub customer: String,
    /// What the vendor calls the chat. Empty: it is not opened yet.
    pub vendor_chat_id: String,
    /// Whether people at the vendor began it.
    pub theirs: bool,
    /// The last message that was looked at.
    pub through_seq: i64,
    /// Why it can't be shown at present.
    pub last_error: Option<String>,
    /// Since when there is one.
    pub created_at: Timestamp,
}

/// Reads a dialogue's chat.
pub async fn find_chat(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    mirror: ChannelId,
    dialogue: DialogueId,
) -> Result<Option<Chat>, Error> {
    Ok(sqlx::query_as(
        "select customer, vendor_chat_id, theirs, through_seq, last_error, created_at from mirrored_chats
         where workspace_id = $1 and channel_id = $2 and dialogue_id = $3",
    )
    .bind(workspace.0)
    .bind(mirror.0)
    .bind(dialogue.0)
    .fetch_optional(conn)
    .await?)
}

/// Notes a chat that is to be opened.
pub async fn insert_chat(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    mirror: ChannelId,
    dialogue: DialogueId,
    chat: &Chat,
) -> Result<(), Error> {
    sqlx::query(
        "insert into mirrored_chats (workspace_id, channel_id, dialogue_id, customer, vendor_chat_id, theirs, through_seq,
             created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(workspace.0)
    .bind(mirror.0)
    .bind(dialogue.0)
    .bind(&chat.customer)
    .bind(&chat.vendor_chat_id)
    .bind(chat.theirs)
    .bind(chat.through_seq)
    .bind(chat.created_at)
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes how it stands with a chat.
pub async fn update_chat(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    mirror: ChannelId,
    dialogue: DialogueId,
    chat: &Chat,
) -> Result<(), Error> {
    sqlx::query(
        "update mirrored_chats set vendor_chat_id = $4, through_seq = $5, last_error = $6
         where workspace_id = $1 and channel_id = $2 and dialogue_id = $3",
    )
    .bind(workspace.0)
    .bind(mirror.0)
    .bind(dialogue.0)
    .bind(&chat.vendor_chat_id)
    .bind(chat.through_seq)
    .bind(&chat.last_error)
    .execute(conn)
    .await?;
    Ok(())
}

#[derive(FromRow)]
struct KnownRow {
    message_id: Uuid,
    state: String,
}

/// Of these messages, those that the chat has, or that were given up.
pub async fn shown(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    mirror: ChannelId,
    messages: &[Message],
) -> Result<Vec<MessageId>, Error> {
    let ids: Vec<_> = messages.iter().map(|message| message.id.0).collect();
    let rows: Vec<KnownRow> = sqlx::query_as(
        "select message_id, state from mirrored_messages
         where workspace_id = $1 and channel_id = $2 and message_id = any ($3)",
    )
    .bind(workspace.0)
    .bind(mirror.0)
    .bind(ids)
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().filter(|row| row.state != "STARTED").map(|row| row.message_id.into()).collect())
}

/// Notes that a try at showing a message begins.
pub async fn begin(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    mirror: ChannelId,
    message: &Message,
    now: Timestamp,
) -> Result<(), Error> {
    sqlx::query(
        "insert into mirrored_messages as m (workspace_id, channel_id, message_id, dialogue_id, state, attempts,
             vendor_message_id, told, updated_at)
         values ($1, $2, $3, $4, 'STARTED', 1, '', 'SENT', $5)
         on conflict (workspace_id, channel_id, message_id) do update
             set attempts = m.attempts + 1, updated_at = excluded.updated_at",
    )
    .bind(workspace.0)
    .bind(mirror.0)
    .bind(message.id.0)
    .bind(message.dialogue.0)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes what came of it: the vendor's id, or why it is given up.
pub async fn end(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    mirror: ChannelId,
    message: MessageId,
    came: Result<&str, &str>,
    now: Timestamp,
) -> Result<(), Error> {
    sqlx::query(
        "update mirrored_messages set state = $4, vendor_message_id = $5, error = $6, updated_at = $7
         where workspace_id = $1 and channel_id = $2 and message_id = $3",
    )
    .bind(workspace.0)
    .bind(mirror.0)
    .bind(message.0)
    .bind(if came.is_ok() { "SHOWN" } else { "DEAD" })
    .bind(came.unwrap_or_default())
    .bind(came.err())
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

#[derive(FromRow)]
struct StatusRow {
    message_id: Uuid,
    vendor_message_id: String,
    told: String,
    wanted: String,
    error: Option<String>,
}

/// What the vendor is to be told of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewStatus {
    /// The message.
    pub message: MessageId,
    /// What the vendor calls it.
    pub vendor_message_id: String,
    /// What became of it.
    pub status: MirroredStatus,
    /// Why it failed. Empty: it is not said, or it did not.
    pub error: String,
}

/// What became, within the last week, of messages in a chat that the vendor was not told yet. A message that went out in parts
/// is as far as the last of them.
pub async fn new_statuses(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    mirror: ChannelId,
    dialogue: DialogueId,
    now: Timestamp,
) -> Result<Vec<NewStatus>, Error> {
    let rows: Vec<StatusRow> = sqlx::query_as(
        "select m.message_id, m.vendor_message_id, m.told,
                case
                    when bool_or(y.state in ('DEAD', 'HELD', 'WITHHELD') or y.receipt = 'FAILED') then 'FAILED'
                    when bool_and(coalesce(y.receipt, '') = 'READ') then 'READ'
                    when bool_and(coalesce(y.receipt, '') in ('DELIVERED', 'READ')) then 'DELIVERED'
                    else 'SENT'
                end as wanted,
                max(coalesce(y.receipt_error, y.reason)) as error
         from deliveries y
         join mirrored_messages m on m.workspace_id = y.workspace_id and m.channel_id = $2 and m.message_id = y.message_id
         where y.workspace_id = $1 and y.dialogue_id = $3 and y.id > uuid_of_moment($4 - interval '7 days')
             and m.state in ('SHOWN', 'THEIRS') and m.vendor_message_id <> '' and m.told <> 'READ'
         group by m.message_id, m.vendor_message_id, m.told
         order by min(y.created_at)",
    )
    .bind(workspace.0)
    .bind(mirror.0)
    .bind(dialogue.0)
    .bind(now)
    .fetch_all(conn)
    .await?;
    let rows = rows.into_iter().filter_map(|row| {
        let (told, status) = (MirroredStatus::parse(&row.told)?, MirroredStatus::parse(&row.wanted)?);
        (status > told).then_some(NewStatus {
            message: row.message_id.into(),
            vendor_message_id: row.vendor_message_id,
            status,
            error: row.error.filter(|_| status == MirroredStatus::Failed).unwrap_or_default(),
        })
    });
    Ok(rows.collect())
}

/// Notes what the vendor was told.
pub async fn set_told(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    mirror: ChannelId,
    told: &NewStatus,
    now: Timestamp,
) -> Result<(), Error> {
    sqlx::query(
        "update mirrored_messages set told = $4, updated_at = $5
         where workspace_id = $1 and channel_id = $2 and message_id = $3",
    )
    .bind(workspace.0)
    .bind(mirror.0)
    .bind(told.message.0)
    .bind(told.status.as_str())
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// A dialogue that a chat shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// The dialogue.
    pub dialogue: DialogueId,
    /// The dialogue's own channel.
    pub channel: ChannelId,
}

/// Finds the dialogue that a chat of a channel shows: by what we call the chat, which is the dialogue, or by what the vendor
/// calls it.
pub async fn find_shown(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    mirror: ChannelId,
    chat: &str,
    vendor_chat: &str,
) -> Result<Option<Shown>, Error> {
    let row: Option<(Uuid, Uuid)> = sqlx::query_as(
        "select d.id, d.channel_id from dialogues d
         where d.workspace_id = $1 and d.id = coalesce(
             (select c.dialogue_id from mirrored_chats c
              where c.workspace_id = $1 and c.channel_id = $2 and c.dialogue_id = $3),
             (select c.dialogue_id from mirrored_chats c
              where c.workspace_id = $1 and c.vendor_chat_id = $4 and c.vendor_chat_id <> '' and c.channel_id = $2 limit 1))",
    )
    .bind(workspace.0)
    .bind(mirror.0)
    .bind(chat.parse::<Uuid>().unwrap_or_default())
    .bind(vendor_chat)
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|(dialogue, channel)| Shown { dialogue: dialogue.into(), channel: channel.into() }))
}

/// Finds the dialogue that is shown in a chat which the vendor calls so, of whichever channel.
pub async fn find_shown_anywhere(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    vendor_chat: &str,
) -> Result<Option<DialogueId>, Error> {
    let id: Option<Uuid> = sqlx::query_scalar(
        "select dialogue_id from mirrored_chats where workspace_id = $1 and vendor_chat_id = $2 and vendor_chat_id <> '' limit 1",
    )
    .bind(workspace.0)
    .bind(vendor_chat)
    .fetch_optional(conn)
    .await?;
    Ok(id.map(Into::into))
}

/// Whether we wrote a message ourselves that the vendor calls so: in a chat that shows a dialogue, or as a delivery of this
/// channel. Also one that is being sent to a dialogue in these words, of which the vendor did not say its name yet.
pub async fn is_ours(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    channel: ChannelId,
    vendor_message_id: &str,
    said: Option<(DialogueId, &str)>,
) -> Result<bool, Error> {
    Ok(sqlx::query_scalar(
        "select exists (
             select 1 from mirrored_messages m
             where m.workspace_id = $1 and m.vendor_message_id = $3 and m.state = 'SHOWN'
         ) or exists (
             select 1 from deliveries y where y.workspace_id = $1 and y.channel_id = $2 and y.vendor_message_id = $3
         ) or exists (
             select 1 from deliveries y
             join messages m on m.workspace_id = y.workspace_id and m.id = y.message_id and m.body = $5
             where y.workspace_id = $1 and y.dialogue_id = $4 and y.channel_id = $2 and y.vendor_message_id is null
                 and y.state in ('STARTED', 'UNCERTAIN', 'HELD')
         )",
    )
    .bind(workspace.0)
    .bind(channel.0)
    .bind(vendor_message_id)
    .bind(said.map(|(dialogue, _)| dialogue.0))
    .bind(said.map(|(_, text)| text))
    .fetch_one(conn)
    .await?)
}

/// The channels that are mirrored in a channel's chats, oldest first.
pub async fn mirrored_channels(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    mirror: ChannelId,
) -> Result<Vec<(ChannelId, Mirror)>, Error> {
    let rows: Vec<(Uuid, String)> = sqlx::query_as(
        "select id, mirror_source from channels
         where workspace_id = $1 and mirror_channel_id = $2 and deleted_at is null order by id",
    )
    .bind(workspace.0)
    .bind(mirror.0)
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|(id, source)| (id.into(), Mirror { channel: mirror, source })).collect())
}

/// What a person wrote in a chat that shows a dialogue.
#[derive(Debug, Clone)]
pub struct Relay {
    /// The channel of the chat.
    pub mirror: ChannelId,
    /// The dialogue.
    pub dialogue: DialogueId,
    /// The dialogue's own channel.
    pub channel: ChannelId,
    /// The dialogue's chat, where people began it.
    pub begins: Option<String>,
    /// What the vendor calls the chat.
    pub vendor_chat: String,
    /// What makes a repeat known.
    pub dedup_key: String,
    /// What tells a repeat from a conflict.
    pub digest: [u8; 32],
    /// The message's id.
    pub message: MessageId,
    /// What the vendor calls it.
    pub external_id: String,
    /// What it says.
    pub text: String,
    /// What it carries beside.
    pub parts: Vec<Part>,
    /// What was told about it.
    pub metadata: Map<String, Value>,
    /// When it was written.
    pub sent_at: Option<Timestamp>,
    /// Its delivery.
    pub delivery: DeliveryId,
    /// Who wrote it, by name.
    pub by: String,
    /// Whether it takes control.
    pub takes: bool,
    /// When control goes back by itself.
    pub returns_at: Option<Timestamp>,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relayed {
    /// RECORDED, DUPLICATE or CONFLICT.
    pub outcome: Outcome,
    /// The message; the first one's for repeats.
    pub message: MessageId,
    /// Its dialogue.
    pub dialogue: DialogueId,
}

/// Takes what a person wrote: message, delivery and control in one.
pub async fn relay(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    relay: &Relay,
    now: Timestamp,
) -> Result<Relayed, Error> {
    let (outcome, message, dialogue): (String, Uuid, Uuid) = sqlx::query_as(
        "select * from relay_message($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)",
    )
    .bind(workspace.0)
    .bind(relay.mirror.0)
    .bind(relay.channel.0)
    .bind(relay.dialogue.0)
    .bind(relay.begins.as_deref().unwrap_or_default())
    .bind(relay.begins.is_some())
    .bind(&relay.vendor_chat)
    .bind(&relay.dedup_key)
    .bind(relay.digest.as_slice())
    .bind(relay.message.0)
    .bind(&relay.external_id)
    .bind(&relay.text)
    .bind((!relay.parts.is_empty()).then_some(Json(&relay.parts)))
    .bind((!relay.metadata.is_empty()).then_some(Json(&relay.metadata)))
    .bind(relay.sent_at)
    .bind(relay.delivery.0)
    .bind(&relay.by)
    .bind(relay.takes)
    .bind(relay.returns_at)
    .bind(now)
    .fetch_one(&mut *conn)
    .await?;
    let outcome = Outcome::parse(&outcome).ok_or_else(|| Error::Inconsistent {
        table: "message_keys",
        column: "digest",
        id: message.to_string(),
    })?;
    if outcome == Outcome::Recorded {
        sqlx::query("select pg_notify('switchboard_work', ''), pg_notify('switchboard_dialogues', $1)")
            .bind(dialogue.to_string())
            .execute(conn)
            .await?;
    }
    Ok(Relayed { outcome, message: message.into(), dialogue: dialogue.into() })
}

/// Notes what a CRM knows a dialogue as.
pub async fn link(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    dialogue: DialogueId,
    crm: &CrmReferences,
    now: Timestamp,
) -> Result<(), Error> {
    sqlx::query("select 1 from dialogues where workspace_id = $1 and id = $2 for update")
        .bind(workspace.0)
        .bind(dialogue.0)
        .execute(&mut *conn)
        .await?;
    sqlx::query("select link_dialogue($1, $2, $3, $4)")
        .bind(workspace.0)
        .bind(dialogue.0)
        .bind(json!({ "crm": crm }))
        .bind(now)
        .execute(conn)
        .await?;
    Ok(())
}

/// What was told, beside its words, of the newest message of a dialogue's customer.
pub async fn newest_metadata(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    dialogue: DialogueId,
) -> Result<Map<String, Value>, Error> {
    let metadata: Option<Option<Json<Map<String, Value>>>> = sqlx::query_scalar(
        "select metadata from messages where workspace_id = $1 and dialogue_id = $2 and role = $3 order by seq desc limit 1",
    )
    .bind(workspace.0)
    .bind(dialogue.0)
    .bind(Role::User.as_str())
    .fetch_optional(conn)
    .await?;
    Ok(metadata.flatten().map(|Json(metadata)| metadata).unwrap_or_default())
}
