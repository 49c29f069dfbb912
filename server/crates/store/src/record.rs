//! The gathered write of inbound messages.

use std::collections::BTreeMap;

use domain::{
    AgentId, ChannelId, ContactId, DialogueId, EventId, InboundWebhookId, JobId, MessageId, Timestamp,
    TurnId, WorkspaceId,
    contact::{CrmReferences, NewContact},
    dialogue::Role,
    inbound::Outcome,
    part::Part,
};
use serde::Serialize;
use serde_json::{Map, Value};
use sqlx::{FromRow, PgConnection, types::Json};
use uuid::Uuid;

use crate::Error;

/// A message to record, with the ids of all that may come of it.
#[derive(Debug, Clone)]
pub struct NewRecord {
    /// Whose.
    pub workspace: WorkspaceId,
    /// On which channel.
    pub channel: ChannelId,
    /// Who would answer.
    pub agent: AgentId,
    /// In which dialogue.
    pub dialogue: DialogueId,
    /// The chat inside the channel.
    pub chat: String,
    /// What makes a repeat known.
    pub dedup_key: String,
    /// What tells a repeat from a conflict.
    pub digest: [u8; 32],
    /// The message.
    pub message: MessageId,
    /// What the outside calls it.
    pub external_id: String,
    /// Who wrote it.
    pub role: Role,
    /// What it says.
    pub text: String,
    /// What it carries beside.
    pub parts: Vec<Part>,
    /// The turn to open, if none collects.
    pub turn: TurnId,
    /// That turn's job.
    pub job: JobId,
    /// The event of the message.
    pub event: EventId,
    /// The event of the dialogue, if it is new.
    pub event_created: EventId,
    /// The raw call.
    pub webhook: InboundWebhookId,
    /// The door it came through.
    pub route: &'static str,
    /// Its headers, redacted.
    pub headers: BTreeMap<String, String>,
    /// Its body.
    pub raw: Vec<u8>,
    /// When it came.
    pub at: Timestamp,
    /// When the turn that it opens is due, and what newer messages may not move that past. `None`: at once.
    pub window: Option<(Timestamp, Timestamp)>,
    /// Whether a running turn that it is added to is superseded by it.
    pub disturbs: bool,
    /// Whether its author takes control from the agent, and until when. `None`: no.
    pub takes: Option<Takes>,
    /// Whom its dialogue is held with, and what the CRM knows that as. `None`: nothing is told of either.
    pub link: Option<Link>,
    /// What was told about it beside.
    pub metadata: Map<String, Value>,
    /// When it was written, as its sender says.
    pub sent_at: Option<Timestamp>,
}

/// What a message tells of its dialogue.
#[derive(Debug, Clone, Serialize)]
pub struct Link {
    /// Whom it is held with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contact: Option<LinkedContact>,
    /// What the CRM knows it as.
    pub crm: CrmReferences,
}

/// A contact, with the id that it gets if it is new.
#[derive(Debug, Clone, Serialize)]
pub struct LinkedContact {
    /// That id.
    pub id: ContactId,
    /// What is told of it.
    #[serde(flatten)]
    pub told: NewContact,
}

/// A person takes control.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Takes {
    /// When control goes back by itself.
    pub returns_at: Option<Timestamp>,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// The outcome.
    pub outcome: Outcome,
    /// The message; the first one's for repeats and conflicts.
    pub message: MessageId,
    /// Its dialogue.
    pub dialogue: DialogueId,
    /// Whether it was added to a turn that was there, which may be running.
    pub extended: bool,
}

#[derive(FromRow)]
struct RecordedRow {
    ord: i32,
    outcome: String,
    message_id: Uuid,
    dialogue_id: Uuid,
    extended: bool,
}

/// Records messages in one transaction; `(workspace, channel, dedup_key)` must be unique among them. Answers for each in
/// turn; `None`: a transaction that was under way has the same key, nothing was written of this one, offer it again.
pub async fn record(conn: &mut PgConnection, items: &[&NewRecord]) -> Result<Vec<Option<Recorded>>, Error> {
    let rows: Vec<RecordedRow> = sqlx::query_as(
        "select * from system_record($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18,
             $19, $20, $21, $22, $23, $24, $25, $26, $27, $28)",
    )
    .bind(items.iter().map(|item| item.webhook.0).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.workspace.0).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.channel.0).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.agent.0).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.dialogue.0).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.chat.as_str()).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.dedup_key.as_str()).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.digest.as_slice()).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.message.0).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.external_id.as_str()).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.role.as_str()).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.text.as_str()).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.turn.0).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.job.0).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.event.0).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.event_created.0).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.route).collect::<Vec<_>>())
    .bind(items.iter().map(|item| Json(&item.headers)).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.raw.as_slice()).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.at).collect::<Vec<_>>())
    .bind(sparse(items, |item| item.window.map(|(due, _)| due)))
    .bind(sparse(items, |item| item.window.map(|(_, latest)| latest)))
    .bind(sparse(items, |item| item.takes.map(|_| true)))
    .bind(sparse(items, |item| item.takes.and_then(|takes| takes.returns_at)))
    .bind(sparse(items, |item| (!item.parts.is_empty()).then_some(Json(&item.parts))))
    .bind(sparse(items, |item| item.link.as_ref().map(Json)))
    .bind(sparse(items, |item| (!item.metadata.is_empty()).then_some(Json(&item.metadata))))
    .bind(sparse(items, |item| item.sent_at))
    .fetch_all(conn)
    .await?;
    let mut answers = vec![None; items.len()];
    for row in rows {
        let at = usize::try_from(row.ord - 1).unwrap_or(usize::MAX);
        if let (Some(answer), Some(outcome)) = (answers.get_mut(at), Outcome::parse(&row.outcome)) {
            *answer = Some(Recorded {
                outcome,
                message: row.message_id.into(),
                dialogue: row.dialogue_id.into(),
                extended: row.extended,
            });
        }
    }
    Ok(answers)
}

/// What only some items have; nothing at all when none has it.
fn sparse<'a, T>(
    items: &[&'a NewRecord],
    get: impl Fn(&'a NewRecord) -> Option<T>,
) -> Option<Vec<Option<T>>> {
    let values: Vec<_> = items.iter().map(|item| get(item)).collect();
    values.iter().any(Option::is_some).then_some(values)
}
