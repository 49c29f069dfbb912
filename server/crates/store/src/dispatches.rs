//! Dispatches of events to endpoints and their attempts; and the gathered functions that move them on.

use std::time::Duration;

use domain::{
    DispatchId, EndpointId, EventId, JobId, Timestamp, WorkerId, WorkspaceId,
    delivery::{Attempt, AttemptState},
    dialogue::{Message, Role},
    endpoint::{Dispatch, DispatchState, Schedule},
    event::Event,
    part::Part,
};
use serde::Serialize;
use sqlx::{AssertSqlSafe, FromRow, PgConnection, PgPool, types::Json};
use uuid::Uuid;

use crate::{Error, endpoints, queue::interval};

#[derive(FromRow)]
struct DispatchRow {
    id: Uuid,
    endpoint_id: Uuid,
    event_id: Uuid,
    kind: String,
    dialogue_id: Option<Uuid>,
    state: String,
    reason: Option<String>,
    attempts: i32,
    next_attempt_at: Option<Timestamp>,
    replay: bool,
    created_at: Timestamp,
    settled_at: Option<Timestamp>,
}

impl TryFrom<DispatchRow> for Dispatch {
    type Error = Error;

    fn try_from(row: DispatchRow) -> Result<Self, Error> {
        let state = DispatchState::parse(&row.state).ok_or_else(|| Error::Inconsistent {
            table: "dispatches",
            column: "state",
            id: row.id.to_string(),
        })?;
        Ok(Self {
            id: row.id.into(),
            endpoint: row.endpoint_id.into(),
            event: row.event_id.into(),
            kind: row.kind,
            dialogue: row.dialogue_id.map(Into::into),
            state,
            reason: row.reason,
            attempts: row.attempts,
            next_attempt_at: row.next_attempt_at,
            replay: row.replay,
            created_at: row.created_at,
            settled_at: row.settled_at,
        })
    }
}

const DISPATCH: &str = "id, endpoint_id, event_id, kind, dialogue_id, state, reason, attempts, next_attempt_at, replay, \
                        created_at, settled_at";

/// What selects dispatches.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Filter {
    /// Only of this endpoint.
    pub endpoint: EndpointId,
    /// Only in this state.
    pub state: Option<DispatchState>,
}

/// Reads a dispatch; with `lock`, keeps others from changing it until the transaction ends.
pub async fn find(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    id: DispatchId,
    lock: bool,
) -> Result<Option<Dispatch>, Error> {
    let lock = if lock { "for update" } else { "" };
    let row: Option<DispatchRow> = sqlx::query_as(AssertSqlSafe(format!(
        "select {DISPATCH} from dispatches where workspace_id = $1 and id = $2 {lock}"
    )))
    .bind(workspace.0)
    .bind(id.0)
    .fetch_optional(conn)
    .await?;
    row.map(TryInto::try_into).transpose()
}

/// Lists dispatches, newest first.
pub async fn list(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    filter: &Filter,
    before: Option<DispatchId>,
    limit: usize,
) -> Result<Vec<Dispatch>, Error> {
    let rows: Vec<DispatchRow> = sqlx::query_as(AssertSqlSafe(format!(
        "select {DISPATCH} from dispatches
         where workspace_id = $1 and endpoint_id = $2 and ($3::uuid is null or id < $3)
             and ($4::text is null or state = $4)
         order by id desc limit $5"
    )))
    .bind(workspace.0)
    .bind(filter.endpoint.0)
    .bind(before.map(|id| id.0))
    .bind(filter.state.map(DispatchState::as_str))
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

/// Reads the attempts of a dispatch, first to last.
pub async fn list_attempts(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    dispatch: DispatchId,
) -> Result<Vec<Attempt>, Error> {
    let rows: Vec<AttemptRow> = sqlx::query_as(
        "select number, state, http_status, error, response_excerpt, started_at, ended_at
         from dispatch_attempts where workspace_id = $1 and dispatch_id = $2 order by number",
    )
    .bind(workspace.0)
    .bind(dispatch.0)
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let state = AttemptState::parse(&row.state).ok_or_else(|| Error::Inconsistent {
                table: "dispatch_attempts",
                column: "state",
                id: dispatch.to_string(),
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

/// Puts a dead dispatch, which the caller has locked, back behind what waits under its key.
pub async fn revive(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    dispatch: DispatchId,
    job: JobId,
    now: Timestamp,
) -> Result<(), Error> {
    sqlx::query(
        "with back as (
             update dispatches set state = 'PENDING', reason = null, settled_at = null, next_attempt_at = $4
             where workspace_id = $1 and id = $2
             returning endpoint_id, hook_subject(endpoint_id, dialogue_id) as subject_id
         ),
         queued as (
             insert into jobs (workspace_id, id, subject_id, lane, target_id, place, run_at)
             select $1, $3, subject_id, 'hook', $2, (
                 select coalesce(max(hook_place(l.epoch, l.last_position)), 0) from event_logs l
                 where l.workspace_id = $1), $4
             from back
         )
         insert into job_keys as k (workspace_id, subject_id, lane, next_run_at, endpoint_id)
         select $1, subject_id, 'hook', $4, endpoint_id from back
         on conflict (workspace_id, subject_id, lane) do update set
             next_run_at = case when k.next_run_at = 'infinity' then excluded.next_run_at else k.next_run_at end",
    )
    .bind(workspace.0)
    .bind(dispatch.0)
    .bind(job.0)
    .bind(now)
    .execute(&mut *conn)
    .await?;
    endpoints::notify(conn).await
}

/// What a replay takes up.
#[derive(Debug, Clone, Copy)]
pub enum Replayed<'a> {
    /// These events, whatever the endpoint's filter says.
    Events(&'a [EventId]),
    /// Those behind `after` up to `through`, of these types (empty: of any) and past the endpoint's filter.
    Range {
        /// The position before the first.
        after: i64,
        /// The last position.
        through: i64,
        /// The types.
        kinds: &'a [String],
    },
}

/// Dispatches recorded events to an endpoint again. Answers how many.
pub async fn replay(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    endpoint: EndpointId,
    what: Replayed<'_>,
    now: Timestamp,
) -> Result<i32, Error> {
    let source = match what {
        Replayed::Events(_) => {
            "select e.id, e.kind, e.dialogue_id, row_number() over (order by e.occurred_at, e.id) as n
             from events e where e.workspace_id = $1 and e.id = any ($4)"
        }
        Replayed::Range { .. } => {
            "select e.id, e.kind, e.dialogue_id, row_number() over (order by p.position) as n
             from event_positions p
             join events e on e.workspace_id = p.workspace_id and e.id = p.event_id
             join webhook_endpoints w on w.workspace_id = $1 and w.id = $2
             where p.workspace_id = $1 and p.position > $4 and p.position <= $5
                 and ($6 = '{}'::text[] or e.kind = any ($6)) and (w.kinds = '{}' or e.kind = any (w.kinds))
                 and (w.channel_id is null or e.subject_id = w.channel_id or exists (
                     select 1 from dialogues d
                     where d.workspace_id = $1 and d.id = e.dialogue_id and d.channel_id = w.channel_id))"
        }
    };
    let statement = format!(
        "with source as ({source}),
         chosen as materialized (
             select id as event_id, kind, dialogue_id, uuid_at($3, n::integer - 1) as id,
                    hook_subject($2, dialogue_id) as subject_id
             from source
         ),
         kept as (
             insert into dispatches (workspace_id, id, endpoint_id, event_id, kind, dialogue_id, state, attempts,
                 next_attempt_at, replay, created_at)
             select $1, id, $2, event_id, kind, dialogue_id, 'PENDING', 0, $3, true, $3 from chosen
         ),
         queued as (
             insert into jobs (workspace_id, id, subject_id, lane, target_id, place, run_at)
             select $1, id, subject_id, 'hook', id, (
                 select coalesce(max(hook_place(l.epoch, l.last_position)), 0) from event_logs l
                 where l.workspace_id = $1), $3
             from chosen
         ),
         keyed as (
             insert into job_keys as k (workspace_id, subject_id, lane, next_run_at, endpoint_id)
             select distinct $1, subject_id, 'hook', $3, $2 from chosen order by 2
             on conflict (workspace_id, subject_id, lane) do update set
                 next_run_at = case when k.next_run_at = 'infinity' then excluded.next_run_at else k.next_run_at end
         )
         select count(*)::integer from chosen"
    );
    let query = sqlx::query_scalar(AssertSqlSafe(statement)).bind(workspace.0).bind(endpoint.0).bind(now);
    let query = match what {
        Replayed::Events(ids) => query.bind(ids.iter().map(|id| id.0).collect::<Vec<_>>()),
        Replayed::Range { after, through, kinds } => query.bind(after).bind(through).bind(kinds),
    };
    let count = query.fetch_one(&mut *conn).await?;
    endpoints::notify(conn).await?;
    Ok(count)
}

/// Names a claimed dispatch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimedDispatch {
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// The key: derived from endpoint and dialogue.
    pub subject: Uuid,
    /// The dispatch.
    pub dispatch: DispatchId,
    /// The fence of the claim.
    pub fence: i64,
    /// The job that stands for it.
    pub job: JobId,
    /// How often it failed before.
    pub failures: i32,
}

/// All that an attempt needs.
#[derive(Debug, Clone)]
pub struct StartedDispatch {
    /// The attempt's number.
    pub attempt: i32,
    /// The endpoint.
    pub endpoint: EndpointId,
    /// The event. `None`: the log doesn't hold it any more.
    pub event: Option<Event>,
    /// Where to.
    pub url: String,
    /// When it is tried again.
    pub schedule: Schedule,
    /// The secret, sealed.
    pub secret: Vec<u8>,
    /// The secret before it, sealed, while it still signs.
    pub previous_secret: Option<Vec<u8>>,
}

#[derive(FromRow)]
struct StartedRow {
    ord: i32,
    attempt: i32,
    endpoint_id: Uuid,
    event_id: Uuid,
    kind: String,
    dialogue_id: Option<Uuid>,
    about_id: Option<Uuid>,
    data: Option<Json<serde_json::Value>>,
    occurred_at: Option<Timestamp>,
    message_id: Option<Uuid>,
    seq: Option<i64>,
    role: Option<String>,
    body: Option<String>,
    parts: Option<Json<Vec<Part>>>,
    external_id: Option<String>,
    turn_id: Option<Uuid>,
    message_at: Option<Timestamp>,
    metadata: Option<Json<serde_json::Map<String, serde_json::Value>>>,
    sent_at: Option<Timestamp>,
    url: String,
    schedule: String,
    secret_sealed: Vec<u8>,
    previous_secret_sealed: Option<Vec<u8>>,
}

impl StartedRow {
    fn message(&self) -> Option<Message> {
        Some(Message {
            id: self.message_id?.into(),
            dialogue: self.dialogue_id?.into(),
            seq: self.seq?,
            role: Role::parse(self.role.as_deref()?)?,
            text: self.body.clone()?,
            parts: self.parts.as_ref().map(|parts| parts.0.clone()).unwrap_or_default(),
            external_id: self.external_id.clone()?,
            turn: self.turn_id.map(Into::into),
            created_at: self.message_at?,
            metadata: self.metadata.as_ref().map(|metadata| metadata.0.clone()).unwrap_or_default(),
            sent_at: self.sent_at,
        })
    }

    fn event(&self) -> Option<Event> {
        Some(Event {
            id: self.event_id.into(),
            kind: self.kind.clone(),
            // An endpoint's reader needs no place.
            position: 0,
            occurred_at: self.occurred_at?,
            dialogue: self.dialogue_id.map(Into::into),
            subject: self.about_id,
            message: self.message(),
            data: self.data.as_ref()?.0.clone(),
        })
    }
}

/// Begins attempts. Answers for each item in turn; `None`: there is nothing to send, or the claim was lost.
pub async fn start_attempts(
    conn: &mut PgConnection,
    worker: WorkerId,
    items: &[ClaimedDispatch],
    now: Timestamp,
) -> Result<Vec<Option<StartedDispatch>>, Error> {
    let rows: Vec<StartedRow> =
        sqlx::query_as("select * from system_start_dispatches($1, $2, $3, $4, $5, $6, $7)")
            .bind(worker.0)
            .bind(items.iter().map(|item| item.workspace.0).collect::<Vec<_>>())
            .bind(items.iter().map(|item| item.subject).collect::<Vec<_>>())
            .bind(items.iter().map(|item| item.dispatch.0).collect::<Vec<_>>())
            .bind(items.iter().map(|item| item.job.0).collect::<Vec<_>>())
            .bind(items.iter().map(|item| item.fence).collect::<Vec<_>>())
            .bind(now)
            .fetch_all(conn)
            .await?;
    let mut answers = vec![None; items.len()];
    for row in rows {
        let event = row.event();
        let started = StartedDispatch {
            attempt: row.attempt,
            endpoint: row.endpoint_id.into(),
            event,
            schedule: endpoints::schedule(&row.schedule, row.endpoint_id)?,
            url: row.url,
            secret: row.secret_sealed,
            previous_secret: row.previous_secret_sealed,
        };
        if let Some(answer) = usize::try_from(row.ord - 1).ok().and_then(|at| answers.get_mut(at)) {
            *answer = Some(started);
        }
    }
    Ok(answers)
}

/// What an attempt tells of its endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// Nothing bad.
    None,
    /// It failed.
    Failed,
    /// It is gone for good.
    Gone,
}

impl Blame {
    const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Failed => "failed",
            Self::Gone => "gone",
        }
    }
}

/// How an attempt ended, and how its dispatch goes on.
#[derive(Debug, Clone)]
pub struct Settlement {
    /// The claim.
    pub claim: ClaimedDispatch,
    /// The endpoint.
    pub endpoint: EndpointId,
    /// The attempt.
    pub attempt: i32,
    /// How it ended.
    pub attempt_state: AttemptState,
    /// The endpoint's HTTP status.
    pub http_status: Option<i32>,
    /// What went wrong.
    pub error: Option<String>,
    /// The beginning of the endpoint's answer.
    pub excerpt: Option<String>,
    /// What it tells of the endpoint.
    pub blame: Blame,
    /// The dispatch's next state; PENDING waits until `run_at`.
    pub state: DispatchState,
    /// Why it is dead.
    pub reason: Option<&'static str>,
    /// When the next attempt is due.
    pub run_at: Timestamp,
    /// The event, should this make the endpoint inactive.
    pub event: EventId,
}

/// Settles attempts. Answers for each whether it was still this worker's.
pub async fn settle(
    conn: &mut PgConnection,
    worker: WorkerId,
    items: &[Settlement],
    patience: Duration,
    now: Timestamp,
) -> Result<Vec<bool>, Error> {
    let rows: Vec<i32> = sqlx::query_scalar(
        "select ord from system_settle_dispatches(
             $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)",
    )
    .bind(worker.0)
    .bind(items.iter().map(|item| item.claim.workspace.0).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.claim.subject).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.claim.dispatch.0).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.claim.fence).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.claim.job.0).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.endpoint.0).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.attempt).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.attempt_state.as_str()).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.http_status).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.error.as_deref()).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.excerpt.as_deref()).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.blame.as_str()).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.state.as_str()).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.reason).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.run_at).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.event.0).collect::<Vec<_>>())
    .bind(interval(patience))
    .bind(now)
    .fetch_all(conn)
    .await?;
    Ok(crate::queue::flags(items.len(), &rows))
}

/// Deletes dispatches that came to their end before this moment, at most so many. Answers how many. Crosses workspaces.
pub async fn sweep(pool: &PgPool, before: Timestamp, limit: i32) -> Result<i64, Error> {
    let query = sqlx::query_scalar("select system_sweep_dispatches($1, $2)").bind(before).bind(limit);
    Ok(query.fetch_one(pool).await?)
}
