//! Deliveries and their attempts; and the gathered functions that move them on.

use domain::{
    ChannelId, DeliveryId, DialogueId, EventId, JobId, MessageId, Timestamp, WorkerId, WorkspaceId,
    delivery::{Attempt, AttemptState, Author, Delivery, DeliveryReceipt, DeliveryState, Told},
    dialogue::Role,
    part::Part,
    policy::Uncertain,
};
use serde::Serialize;
use serde_json::Value;
use sqlx::{AssertSqlSafe, FromRow, PgConnection, types::Json};
use uuid::Uuid;

use crate::{Error, turns::Route};

#[derive(FromRow)]
struct DeliveryRow {
    id: Uuid,
    dialogue_id: Uuid,
    message_id: Uuid,
    channel_id: Uuid,
    author: String,
    state: String,
    reason: Option<String>,
    attempts: i32,
    text_from: Option<i32>,
    text_chars: Option<i32>,
    next_attempt_at: Option<Timestamp>,
    created_at: Timestamp,
    settled_at: Option<Timestamp>,
    vendor_message_id: Option<String>,
    receipt: Option<String>,
    receipt_error: Option<String>,
    receipt_at: Option<Timestamp>,
    template: Option<Value>,
}

impl TryFrom<DeliveryRow> for Delivery {
    type Error = Error;

    fn try_from(row: DeliveryRow) -> Result<Self, Error> {
        let inconsistent =
            |column| Error::Inconsistent { table: "deliveries", column, id: row.id.to_string() };
        let state = DeliveryState::parse(&row.state).ok_or_else(|| inconsistent("state"))?;
        let author = Author::parse(&row.author).ok_or_else(|| inconsistent("author"))?;
        let receipt = match row.receipt.as_deref().zip(row.receipt_at) {
            Some((receipt, at)) => Some(Told {
                receipt: DeliveryReceipt::parse(receipt).ok_or_else(|| inconsistent("receipt"))?,
                error: row.receipt_error,
                at,
            }),
            None => None,
        };
        Ok(Self {
            id: row.id.into(),
            dialogue: row.dialogue_id.into(),
            message: row.message_id.into(),
            channel: row.channel_id.into(),
            state,
            author,
            reason: row.reason,
            attempts: row.attempts,
            part: row.text_from.zip(row.text_chars),
            next_attempt_at: row.next_attempt_at,
            created_at: row.created_at,
            settled_at: row.settled_at,
            vendor_message_id: row.vendor_message_id,
            receipt,
            template: row.template,
        })
    }
}

const DELIVERY: &str = "id, dialogue_id, message_id, channel_id, author, state, reason, attempts, text_from,
    text_chars, next_attempt_at,
    created_at, settled_at, vendor_message_id, receipt, receipt_error, receipt_at, template";

/// What selects deliveries.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Filter {
    /// Only of this dialogue.
    pub dialogue: Option<DialogueId>,
    /// Only in this state.
    pub state: Option<DeliveryState>,
}

/// Reads a delivery; with `lock`, keeps others from changing it until the transaction ends.
pub async fn find(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    id: DeliveryId,
    lock: bool,
) -> Result<Option<Delivery>, Error> {
    let lock = if lock { "for update" } else { "" };
    let row: Option<DeliveryRow> = sqlx::query_as(AssertSqlSafe(format!(
        "select {DELIVERY} from deliveries where workspace_id = $1 and id = $2 {lock}"
    )))
    .bind(workspace.0)
    .bind(id.0)
    .fetch_optional(conn)
    .await?;
    row.map(TryInto::try_into).transpose()
}

/// Lists deliveries, newest first.
pub async fn list(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    filter: &Filter,
    before: Option<DeliveryId>,
    limit: usize,
) -> Result<Vec<Delivery>, Error> {
    let rows: Vec<DeliveryRow> = sqlx::query_as(AssertSqlSafe(format!(
        "select {DELIVERY} from deliveries
         where workspace_id = $1 and ($2::uuid is null or id < $2) and ($3::uuid is null or dialogue_id = $3)
             and ($4::text is null or state = $4)
         order by id desc limit $5"
    )))
    .bind(workspace.0)
    .bind(before.map(|id| id.0))
    .bind(filter.dialogue.map(|id| id.0))
    .bind(filter.state.map(DeliveryState::as_str))
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

#[derive(FromRow)]
struct AttemptRow {
    number: i32,
    state: String,
    http_status: Option<i32>,
    error: Option<String>,
    response_excerpt: Option<String>,
    started_at: Timestamp,
    ended_at: Option<Timestamp>,
}

/// Reads the attempts of a delivery, first to last.
pub async fn list_attempts(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    delivery: DeliveryId,
) -> Result<Vec<Attempt>, Error> {
    let rows: Vec<AttemptRow> = sqlx::query_as(
        "select number, state, http_status, error, response_excerpt, started_at, ended_at
         from attempts where workspace_id = $1 and delivery_id = $2 order by number",
    )
    .bind(workspace.0)
    .bind(delivery.0)
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let state = AttemptState::parse(&row.state).ok_or_else(|| Error::Inconsistent {
                table: "attempts",
                column: "state",
                id: delivery.to_string(),
            })?;
            Ok(Attempt {
                number: row.number,
                state,
                http_status: row.http_status,
                error: row.error,
                response_excerpt: row.response_excerpt,
                started_at: row.started_at,
                ended_at: row.ended_at,
            })
        })
        .collect()
}

/// Has a delivery that this worker holds carry the first of these parts of its message's text, given as their lengths in
/// characters, and adds deliveries for the others behind it: before all that waits in the lane. Answers whether the
/// delivery was still this worker's.
///
/// Their ids, and those of their jobs, follow its own, so that they stand behind it in every list, and jobs of one place are
/// worked on in the order of their ids.
pub async fn split(
    conn: &mut PgConnection,
    worker: WorkerId,
    claim: &ClaimedDelivery,
    lengths: &[i32],
    now: Timestamp,
) -> Result<bool, Error> {
    let after = |id: Uuid, number: usize| Uuid::from_u128(id.as_u128().wrapping_add(number as u128));
    // The dialogue first, as everybody locks.
    sqlx::query("select 1 from dialogues where workspace_id = $1 and id = $2 for update")
        .bind(claim.workspace.0)
        .bind(claim.dialogue.0)
        .execute(&mut *conn)
        .await?;
    let ours = sqlx::query(
        "select 1 from job_keys
         where workspace_id = $1 and subject_id = $2 and lane = 'out' and fence = $3 and locked_by = $4 for update",
    )
    .bind(claim.workspace.0)
    .bind(claim.dialogue.0)
    .bind(claim.fence)
    .bind(worker.0)
    .execute(&mut *conn)
    .await?;
    if ours.rows_affected() == 0 {
        return Ok(false);
    }
    let starts: Vec<i32> =
        lengths.iter().scan(1, |from, length| Some(std::mem::replace(from, *from + length))).collect();
    let deliveries: Vec<_> = (0..lengths.len()).map(|number| after(claim.delivery.0, number)).collect();
    let jobs: Vec<_> = (0..lengths.len()).map(|number| after(claim.job.0, number)).collect();
    sqlx::query("update deliveries set text_from = $3, text_chars = $4 where workspace_id = $1 and id = $2")
        .bind(claim.workspace.0)
        .bind(claim.delivery.0)
        .bind(starts.first())
        .bind(lengths.first())
        .execute(&mut *conn)
        .await?;
    sqlx::query(
        "insert into deliveries (workspace_id, id, dialogue_id, message_id, channel_id, author, state, attempts, text_from,
             text_chars, next_attempt_at, created_at)
         select y.workspace_id, i.id, y.dialogue_id, y.message_id, y.channel_id, y.author, 'PENDING', 0, i.text_from,
             i.text_chars, $6, y.created_at
         from deliveries y, unnest($3::uuid[], $4::integer[], $5::integer[]) as i (id, text_from, text_chars)
         where y.workspace_id = $1 and y.id = $2",
    )
    .bind(claim.workspace.0)
    .bind(claim.delivery.0)
    .bind(deliveries.get(1..))
    .bind(starts.get(1..))
    .bind(lengths.get(1..))
    .bind(now)
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "insert into jobs (workspace_id, id, subject_id, lane, target_id, place, run_at)
         select j.workspace_id, i.id, j.subject_id, 'out', i.delivery_id, j.place, $5
         from jobs j, unnest($3::uuid[], $4::uuid[]) as i (id, delivery_id)
         where j.workspace_id = $1 and j.id = $2",
    )
    .bind(claim.workspace.0)
    .bind(claim.job.0)
    .bind(jobs.get(1..))
    .bind(deliveries.get(1..))
    .bind(now)
    .execute(conn)
    .await?;
    Ok(true)
}

/// Finds the delivery that a vendor speaks of: by our id, or else by the vendor's. Only one of this channel.
pub async fn find_told(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    channel: ChannelId,
    delivery: Option<DeliveryId>,
    vendor_message_id: Option<&str>,
) -> Result<Option<Delivery>, Error> {
    let select = format!("select {DELIVERY} from deliveries where workspace_id = $1 and channel_id = $2");
    let row: Option<DeliveryRow> = match delivery {
        Some(id) => {
            sqlx::query_as(AssertSqlSafe(format!("{select} and id = $3")))
                .bind(workspace.0)
                .bind(channel.0)
                .bind(id.0)
                .fetch_optional(conn)
                .await?
        }
        None => {
            sqlx::query_as(AssertSqlSafe(format!(
                "{select} and vendor_message_id = $3 order by id desc limit 1"
            )))
            .bind(workspace.0)
            .bind(channel.0)
            .bind(vendor_message_id)
            .fetch_optional(conn)
            .await?
        }
    };
    row.map(TryInto::try_into).transpose()
}

/// Keeps what a vendor told of a message, unless it told more before. Answers whether it did not. The caller holds the
/// dialogue's lock.
pub async fn set_receipt(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    delivery: &Delivery,
    told: &Told,
    vendor_message_id: Option<&str>,
) -> Result<bool, Error> {
    let changed = sqlx::query(
        "update deliveries
         set receipt = $3, receipt_error = $4, receipt_at = $5, vendor_message_id = coalesce(vendor_message_id, $6)
         where workspace_id = $1 and id = $2 and receipt is not distinct from $7",
    )
    .bind(workspace.0)
    .bind(delivery.id.0)
    .bind(told.receipt.as_str())
    .bind(&told.error)
    .bind(told.at)
    .bind(vendor_message_id)
    .bind(delivery.receipt.as_ref().map(|told| told.receipt.as_str()))
    .execute(conn)
    .await?;
    Ok(changed.rows_affected() == 1)
}

/// Makes the message of a delivery a template of the vendor's, and gives it parts: in the transaction that added it.
pub async fn furnish(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    delivery: DeliveryId,
    message: MessageId,
    parts: &[Part],
    template: Option<&Value>,
) -> Result<(), Error> {
    if let Some(template) = template {
        sqlx::query("update deliveries set template = $3 where workspace_id = $1 and id = $2")
            .bind(workspace.0)
            .bind(delivery.0)
            .bind(template)
            .execute(&mut *conn)
            .await?;
    }
    if !parts.is_empty() {
        sqlx::query("update messages set parts = $3 where workspace_id = $1 and id = $2")
            .bind(workspace.0)
            .bind(message.0)
            .bind(Json(parts))
            .execute(conn)
            .await?;
    }
    Ok(())
}

/// Puts a dead delivery back, behind what waits in its dialogue's lane. The caller holds the dialogue's lock.
pub async fn revive(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    delivery: &Delivery,
    job: JobId,
    now: Timestamp,
) -> Result<(), Error> {
    sqlx::query(
        "update deliveries set state = 'PENDING', reason = null, settled_at = null, next_attempt_at = $3
         where workspace_id = $1 and id = $2",
    )
    .bind(workspace.0)
    .bind(delivery.id.0)
    .bind(now)
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "insert into jobs (workspace_id, id, subject_id, lane, target_id, place, run_at)
         select $1, $2, $3, 'out', $4, d.version, $5 from dialogues d where d.workspace_id = $1 and d.id = $3",
    )
    .bind(workspace.0)
    .bind(job.0)
    .bind(delivery.dialogue.0)
    .bind(delivery.id.0)
    .bind(now)
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "insert into job_keys as k (workspace_id, subject_id, lane, next_run_at) values ($1, $2, 'out', $3)
         on conflict (workspace_id, subject_id, lane) do update set
             next_run_at = case when k.next_run_at = 'infinity' then excluded.next_run_at else k.next_run_at end",
    )
    .bind(workspace.0)
    .bind(delivery.dialogue.0)
    .bind(now)
    .execute(&mut *conn)
    .await?;
    sqlx::query("select pg_notify('switchboard_work', '')").execute(conn).await?;
    Ok(())
}

/// Ends a delivery that waits for a person. The caller holds the dialogue's lock.
pub async fn close(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    id: DeliveryId,
    state: DeliveryState,
    reason: Option<&str>,
    now: Timestamp,
) -> Result<(), Error> {
    sqlx::query(
        "update deliveries set state = $3, reason = $4, settled_at = $5 where workspace_id = $1 and id = $2",
    )
    .bind(workspace.0)
    .bind(id.0)
    .bind(state.as_str())
    .bind(reason)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// Names a claimed delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimedDelivery {
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// Its dialogue.
    pub dialogue: DialogueId,
    /// The delivery.
    pub delivery: DeliveryId,
    /// The fence of the claim.
    pub fence: i64,
    /// The job that stands for it.
    pub job: JobId,
    /// How often it failed before.
    pub failures: i32,
}

/// All that an attempt needs.
#[derive(Debug, Clone)]
pub struct StartedAttempt {
    /// Its number. `None`: none was begun.
    pub attempt: Option<i32>,
    /// Why the guard withholds it.
    pub verdict: Option<String>,
    /// The delivery's state when it was claimed. STARTED: an earlier attempt may have been applied.
    pub state: DeliveryState,
    /// The message.
    pub message: MessageId,
    /// The chat inside the channel.
    pub chat: String,
    /// Who wrote it.
    pub role: Role,
    /// What it says, or the part of it that this delivery carries.
    pub text: String,
    /// Whether that is a part.
    pub part: bool,
    /// What the message carries beside, where this delivery carries it.
    pub parts: Vec<Part>,
    /// What makes it a template of the vendor's.
    pub template: Option<Value>,
    /// When to send it: the governor's place. `None`: at once.
    pub slot_at: Option<Timestamp>,
    /// Where it goes.
    pub route: Route,
}

#[derive(FromRow)]
struct StartedRow {
    delivery_id: Uuid,
    fence: i64,
    attempt: Option<i32>,
    state: String,
    verdict: Option<String>,
    slot_at: Option<Timestamp>,
    message_id: Uuid,
    chat: String,
    role: String,
    body: String,
    channel_id: Uuid,
    channel_active: bool,
    vendor: String,
    url: String,
    uncertain: Option<String>,
    token_sealed: Vec<u8>,
    signing_secret_sealed: Vec<u8>,
    max_text_chars: Option<i32>,
    part: bool,
    parts: Option<Json<Vec<Part>>>,
    template: Option<Value>,
}

/// Begins attempts. Answers for each item in turn; `None`: the claim was lost, or the governor's place is further off than
/// `patience` and the delivery is back in the queue until then.
pub async fn start_attempts(
    conn: &mut PgConnection,
    worker: WorkerId,
    items: &[ClaimedDelivery],
    now: Timestamp,
    patience: std::time::Duration,
) -> Result<Vec<Option<StartedAttempt>>, Error> {
    let rows: Vec<StartedRow> =
        sqlx::query_as("select * from system_start_attempts($1, $2, $3, $4, $5, $6, $7)")
            .bind(worker.0)
            .bind(items.iter().map(|item| item.workspace.0).collect::<Vec<_>>())
            .bind(items.iter().map(|item| item.dialogue.0).collect::<Vec<_>>())
            .bind(items.iter().map(|item| item.delivery.0).collect::<Vec<_>>())
            .bind(items.iter().map(|item| item.fence).collect::<Vec<_>>())
            .bind(now)
            .bind(crate::queue::interval(patience))
            .fetch_all(conn)
            .await?;
    let mut answers = vec![None; items.len()];
    for row in rows {
        let Some(at) =
            items.iter().position(|item| (item.delivery.0, item.fence) == (row.delivery_id, row.fence))
        else {
            continue;
        };
        let inconsistent =
            |column| Error::Inconsistent { table: "deliveries", column, id: row.delivery_id.to_string() };
        answers[at] = Some(StartedAttempt {
            attempt: row.attempt,
            verdict: row.verdict,
            state: DeliveryState::parse(&row.state).ok_or_else(|| inconsistent("state"))?,
            message: row.message_id.into(),
            chat: row.chat,
            role: Role::parse(&row.role).ok_or_else(|| inconsistent("message_id"))?,
            text: row.body,
            part: row.part,
            parts: row.parts.map(|parts| parts.0).unwrap_or_default(),
            template: row.template,
            slot_at: row.slot_at,
            route: Route {
                channel: row.channel_id.into(),
                active: row.channel_active,
                vendor: row.vendor,
                url: row.url,
                uncertain: row.uncertain.as_deref().and_then(Uncertain::parse),
                max_text_chars: row.max_text_chars,
                token: row.token_sealed,
                signing_secret: row.signing_secret_sealed,
            },
        });
    }
    Ok(answers)
}

/// How an attempt ended, and how its delivery goes on.
#[derive(Debug, Clone)]
pub struct Settlement {
    /// The claim.
    pub claim: ClaimedDelivery,
    /// The attempt; `None`: none was made.
    pub attempt: Option<i32>,
    /// How it ended.
    pub attempt_state: AttemptState,
    /// The receiver's HTTP status.
    pub http_status: Option<i32>,
    /// What went wrong.
    pub error: Option<String>,
    /// The beginning of the receiver's answer.
    pub excerpt: Option<String>,
    /// The delivery's next state; PENDING waits until `run_at`.
    pub state: DeliveryState,
    /// Why it was withheld or is dead.
    pub reason: Option<String>,
    /// When the next attempt is due.
    pub run_at: Timestamp,
    /// The event.
    pub event: EventId,
    /// What the vendor calls the message.
    pub vendor_message_id: Option<String>,
}

/// Settles attempts. Answers for each whether it was still this worker's.
pub async fn settle(
    conn: &mut PgConnection,
    worker: WorkerId,
    items: &[Settlement],
    now: Timestamp,
) -> Result<Vec<bool>, Error> {
    let rows: Vec<i32> = sqlx::query_scalar(
        "select ord from system_settle_attempts(
             $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
    )
    .bind(worker.0)
    .bind(items.iter().map(|item| item.claim.workspace.0).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.claim.dialogue.0).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.claim.delivery.0).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.claim.fence).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.claim.job.0).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.attempt).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.attempt_state.as_str()).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.http_status).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.error.as_deref()).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.excerpt.as_deref()).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.state.as_str()).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.reason.as_deref()).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.run_at).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.event.0).collect::<Vec<_>>())
    .bind(
        items
            .iter()
            .any(|item| item.vendor_message_id.is_some())
            .then(|| items.iter().map(|item| item.vendor_message_id.as_deref()).collect::<Vec<_>>()),
    )
    .bind(now)
    .fetch_all(conn)
    .await?;
    Ok(crate::queue::flags(items.len(), &rows))
}
