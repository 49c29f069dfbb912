//! Turns, their runs and steps; and the gathered functions that move them on.

use std::sync::Arc;

use domain::{
    AgentId, ChannelId, ContactId, DeliveryId, DialogueId, EventId, JobId, MessageId, Timestamp, TurnId,
    WorkerId, WorkspaceId,
    agent::Engine,
    cost::Spent,
    decide::not_held,
    dialogue::{DialogueFacts, Message, Status},
    engine::{Answer, Step},
    manifest::Prompt,
    policy::{ReplyPolicy, Uncertain},
    profile::Profile,
    turn::{Run, RunState, Turn, TurnState},
};
use sqlx::{AssertSqlSafe, FromRow, PgConnection, types::Json};
use uuid::Uuid;

use crate::Error;

#[derive(FromRow)]
struct TurnRow {
    id: Uuid,
    dialogue_id: Uuid,
    agent_id: Uuid,
    state: String,
    reason: Option<String>,
    late: bool,
    covered_through: i64,
    reply_message_id: Option<Uuid>,
    spent: Json<Spent>,
    created_at: Timestamp,
    closed_at: Option<Timestamp>,
}

impl TryFrom<TurnRow> for Turn {
    type Error = Error;

    fn try_from(row: TurnRow) -> Result<Self, Error> {
        let state = TurnState::parse(&row.state).ok_or_else(|| Error::Inconsistent {
            table: "turns",
            column: "state",
            id: row.id.to_string(),
        })?;
        Ok(Self {
            id: row.id.into(),
            dialogue: row.dialogue_id.into(),
            agent: row.agent_id.into(),
            state,
            reason: row.reason,
            late: row.late,
            covered_through: row.covered_through,
            reply: row.reply_message_id.map(Into::into),
            spent: row.spent.0,
            created_at: row.created_at,
            closed_at: row.closed_at,
        })
    }
}

const TURN: &str = "id, dialogue_id, agent_id, state, reason, late, covered_through, reply_message_id, created_at, closed_at, \
                    turn_spent(workspace_id, id, null, null) as spent";

/// Reads a turn.
pub async fn find(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    id: TurnId,
) -> Result<Option<Turn>, Error> {
    let row: Option<TurnRow> = sqlx::query_as(AssertSqlSafe(format!(
        "select {TURN} from turns where workspace_id = $1 and id = $2"
    )))
    .bind(workspace.0)
    .bind(id.0)
    .fetch_optional(conn)
    .await?;
    row.map(TryInto::try_into).transpose()
}

/// Lists the turns of a dialogue, newest first.
pub async fn list(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    dialogue: DialogueId,
    before: Option<TurnId>,
    limit: usize,
) -> Result<Vec<Turn>, Error> {
    let rows: Vec<TurnRow> = sqlx::query_as(AssertSqlSafe(format!(
        "select {TURN} from turns where workspace_id = $1 and dialogue_id = $2 and ($3::uuid is null or id < $3)
         order by id desc limit $4"
    )))
    .bind(workspace.0)
    .bind(dialogue.0)
    .bind(before.map(|id| id.0))
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

#[derive(FromRow)]
struct RunRow {
    number: i32,
    state: String,
    request: Json<serde_json::Value>,
    spent: Json<Spent>,
    prompt_hash: Option<String>,
    error: Option<String>,
    started_at: Timestamp,
    ended_at: Option<Timestamp>,
    steps: Json<Vec<serde_json::Value>>,
}

/// Reads the runs of a turn, first to last.
pub async fn list_runs(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    turn: TurnId,
) -> Result<Vec<Run>, Error> {
    let rows: Vec<RunRow> = sqlx::query_as(
        "select r.number, r.state, r.request, r.prompt_hash, r.error, r.started_at, r.ended_at,
             sum_spent(r.calls, r.unknown_calls, r.input_tokens, r.cached_input_tokens, r.output_tokens, r.cost_micros,
                 (r.currency is not null)::integer, r.currency) as spent,
             coalesce((select jsonb_agg(jsonb_build_object('answer', s.answer, 'results', s.results) order by s.step)
                       from run_steps s
                       where s.workspace_id = r.workspace_id and s.turn_id = r.turn_id and s.run = r.number), '[]') as steps
         from runs r where r.workspace_id = $1 and r.turn_id = $2 order by r.number",
    )
    .bind(workspace.0)
    .bind(turn.0)
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let state = RunState::parse(&row.state).ok_or_else(|| Error::Inconsistent {
                table: "runs",
                column: "state",
                id: turn.to_string(),
            })?;
            Ok(Run {
                number: row.number,
                state,
                spent: row.spent.0,
                prompt_hash: row.prompt_hash,
                error: row.error,
                request: row.request.0,
                steps: row.steps.0,
                started_at: row.started_at,
                ended_at: row.ended_at,
            })
        })
        .collect()
}

/// Names a claimed turn: what every gathered step begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimedTurn {
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// Its dialogue.
    pub dialogue: DialogueId,
    /// The turn.
    pub turn: TurnId,
    /// The fence of the claim.
    pub fence: i64,
    /// The job that stands for it.
    pub job: JobId,
    /// How often it failed before.
    pub failures: i32,
}

/// All that a begun run needs.
#[derive(Debug, Clone)]
pub struct BegunTurn {
    /// Its number.
    pub run: i32,
    /// Whether it began late, by the agent's policy.
    pub late: bool,
    /// Where the dialogue stands.
    pub status: Status,
    /// The chat inside the channel.
    pub chat: String,
    /// Whether the agent answers; `None`: it was deleted.
    pub agent_active: Option<bool>,
    /// Which agent.
    pub agent: AgentId,
    /// Who writes: the agent's engine, or its other one.
    pub engine: Engine,
    /// Whether the agent's engine failed for good in this turn, and its other one is asked.
    pub fallback: bool,
    /// What the model is told first.
    pub instructions: String,
    /// When it answers, and what happens when it can't.
    pub policy: ReplyPolicy,
    /// What the agent knows and may do.
    pub profile: Profile,
    /// What is known of the dialogue beside its messages.
    pub facts: DialogueFacts,
    /// Whom the dialogue is held with. `None`: not known.
    pub contact: Option<ContactId>,
    /// The channel, for the delivery of the reply.
    pub route: Route,
    /// The dialogue so far, oldest first.
    pub history: Vec<Message>,
    /// The steps of earlier runs, from which this one goes on. A step without results has tools to run.
    pub steps: Vec<OpenStep>,
    /// Since when this run has waited for its engine. `None`: it begins.
    pub waiting_since: Option<Timestamp>,
}

/// A committed step, whose tools may not have run.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct OpenStep {
    /// What the engine answered.
    pub answer: Answer,
    /// What its tools gave; `None`: they have not run.
    pub results: Option<Vec<serde_json::Value>>,
    /// The vendor of the engine that answered.
    #[serde(default)]
    pub vendor: Option<String>,
}

impl OpenStep {
    /// The step, if its tools have run.
    pub fn closed(&self) -> Option<Step> {
        Some(Step { answer: self.answer.clone(), results: self.results.clone()? })
    }
}

/// Where messages of a channel go, with its secrets sealed.
#[derive(Debug, Clone)]
pub struct Route {
    /// The channel.
    pub channel: ChannelId,
    /// Whether it is there and active.
    pub active: bool,
    /// The vendor's id.
    pub vendor: String,
    /// Where to post.
    pub url: String,
    /// What happens to a message that may have arrived. `None`: what the vendor suggests.
    pub uncertain: Option<Uncertain>,
    /// The longest text in characters. `None`: what the vendor takes.
    pub max_text_chars: Option<i32>,
    /// The token, sealed.
    pub token: Vec<u8>,
    /// The signing secret, sealed.
    pub signing_secret: Vec<u8>,
}

#[derive(FromRow)]
struct BegunRow {
    turn_id: Uuid,
    fence: i64,
    run: i32,
    late: bool,
    dialogue_status: String,
    chat: String,
    agent_active: Option<bool>,
    engine: Json<Engine>,
    instructions: String,
    reply_policy: Json<ReplyPolicy>,
    channel_id: Uuid,
    channel_active: bool,
    vendor: String,
    url: String,
    uncertain: Option<String>,
    token_sealed: Vec<u8>,
    signing_secret_sealed: Vec<u8>,
    history: Json<Vec<Message>>,
    steps: Json<Vec<OpenStep>>,
    waiting_since: Option<Timestamp>,
    agent_id: Uuid,
    profile: Json<Profile>,
    facts: Json<DialogueFacts>,
    fallback: bool,
    max_text_chars: Option<i32>,
    contact_id: Option<Uuid>,
}

/// Begins runs, and goes on with those that wait for their engine. Answers for each item in turn; `None`: the claim was lost, or the turn is closed.
pub async fn begin(
    conn: &mut PgConnection,
    worker: WorkerId,
    items: &[ClaimedTurn],
    now: Timestamp,
    history: i32,
) -> Result<Vec<Option<BegunTurn>>, Error> {
    let rows: Vec<BegunRow> = sqlx::query_as("select * from system_begin_turns($1, $2, $3, $4, $5, $6, $7)")
        .bind(worker.0)
        .bind(items.iter().map(|item| item.workspace.0).collect::<Vec<_>>())
        .bind(items.iter().map(|item| item.dialogue.0).collect::<Vec<_>>())
        .bind(items.iter().map(|item| item.turn.0).collect::<Vec<_>>())
        .bind(items.iter().map(|item| item.fence).collect::<Vec<_>>())
        .bind(now)
        .bind(history)
        .fetch_all(conn)
        .await?;
    let mut answers = vec![None; items.len()];
    for row in rows {
        let Some(at) = items.iter().position(|item| (item.turn.0, item.fence) == (row.turn_id, row.fence))
        else {
            continue;
        };
        let status = Status::parse(&row.dialogue_status).ok_or_else(|| Error::Inconsistent {
            table: "dialogues",
            column: "status",
            id: items[at].dialogue.to_string(),
        })?;
        answers[at] = Some(BegunTurn {
            run: row.run,
            late: row.late,
            status,
            chat: row.chat,
            agent_active: row.agent_active,
            agent: row.agent_id.into(),
            engine: row.engine.0,
            fallback: row.fallback,
            instructions: row.instructions,
            policy: row.reply_policy.0,
            profile: row.profile.0,
            facts: row.facts.0,
            contact: row.contact_id.map(Into::into),
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
            history: row.history.0,
            steps: row.steps.0,
            waiting_since: row.waiting_since,
        });
    }
    Ok(answers)
}

/// Reads the messages of a turn before this number, oldest first: those of a burst that is longer than the window.
pub async fn earlier_messages(
    conn: &mut PgConnection,
    claim: &ClaimedTurn,
    before: i64,
) -> Result<Vec<Message>, Error> {
    let rows: Json<Vec<Message>> = sqlx::query_scalar(
        "select coalesce(jsonb_agg(jsonb_build_object('id', m.id, 'dialogue', m.dialogue_id, 'seq', m.seq, 'role', m.role,
             'text', m.body, 'parts', m.parts, 'external_id', m.external_id, 'turn', m.turn_id, 'created_at', m.created_at) order by m.seq), '[]')
         from messages m
         where m.workspace_id = $1 and m.dialogue_id = $2 and m.turn_id = $3 and m.role = 'USER' and m.seq < $4",
    )
    .bind(claim.workspace.0)
    .bind(claim.dialogue.0)
    .bind(claim.turn.0)
    .bind(before)
    .fetch_one(conn)
    .await?;
    Ok(rows.0)
}

/// What a run gave its engine, and what its calls used and cost: for the manifest.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct RunRecord {
    /// What the engine was given. `None`: it was not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<Prompt>,
    /// Its hash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// What its calls used and cost.
    pub spent: Spent,
}

/// A reply to commit.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The claim.
    pub claim: ClaimedTurn,
    /// The run that wrote it.
    pub run: i32,
    /// Its message.
    pub message: MessageId,
    /// What it says.
    pub text: String,
    /// The engine's last answer, for the manifest.
    pub answer: Answer,
    /// What the engine was given, and what that cost.
    pub record: Arc<RunRecord>,
    /// Its delivery.
    pub delivery: DeliveryId,
    /// The delivery's job.
    pub out_job: JobId,
    /// The event.
    pub event: EventId,
    /// Why the run failed, if this is the fallback text in place of its answer.
    pub error: Option<String>,
    /// What it is in place of an answer. `None`: it is one.
    pub reason: Option<&'static str>,
}

/// What became of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    /// It is committed. With a fence: the delivery's first attempt is STARTED and this worker's to make.
    Reply(Option<i64>),
    /// The agent no longer holds the dialogue, for this reason; nothing was written.
    NotHeld(&'static str),
    /// A newer message was added to the turn; its next run is due, and no longer this worker's.
    Superseded,
    /// The claim was lost; nothing was written.
    Lost,
}

/// Commits replies. Answers for each in turn.
pub async fn commit_replies(
    conn: &mut PgConnection,
    worker: WorkerId,
    items: &[Reply],
    now: Timestamp,
) -> Result<Vec<Committed>, Error> {
    let rows: Vec<(i32, String, Option<i64>)> = sqlx::query_as(
        "select ord, outcome, out_fence from system_commit_replies(
             $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
    )
    .bind(worker.0)
    .bind(items.iter().map(|item| item.claim.workspace.0).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.claim.dialogue.0).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.claim.turn.0).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.run).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.claim.fence).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.claim.job.0).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.message.0).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.text.as_str()).collect::<Vec<_>>())
    .bind(items.iter().map(|item| Json(&item.answer)).collect::<Vec<_>>())
    .bind(items.iter().map(|item| Json(&*item.record)).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.delivery.0).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.out_job.0).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.event.0).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.error.as_deref()).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.reason).collect::<Vec<_>>())
    .bind(now)
    .fetch_all(conn)
    .await?;
    let mut answers = vec![Committed::Lost; items.len()];
    for (ord, outcome, fence) in rows {
        if let Some(answer) = usize::try_from(ord - 1).ok().and_then(|at| answers.get_mut(at)) {
            *answer = match outcome.as_str() {
                "COMMITTED" => Committed::Reply(fence),
                "SUPERSEDED" => Committed::Superseded,
                "HUMAN_HOLDS" => Committed::NotHeld(not_held(Status::Open)),
                _ => Committed::NotHeld(not_held(Status::Resolved)),
            };
        }
    }
    Ok(answers)
}

/// How a turn without a reply goes on.
#[derive(Debug, Clone)]
pub struct Settlement {
    /// The claim.
    pub claim: ClaimedTurn,
    /// The run.
    pub run: i32,
    /// RUNNING (another run follows: at `run_at` after an error, else this one was superseded), COLLECTING (the run is undone,
    /// and begins at `run_at`), SILENT or FAILED.
    pub state: TurnState,
    /// Why it is closed, or is to have another run with the agent's other engine.
    pub reason: Option<&'static str>,
    /// Why the run failed; `None`: it did not.
    pub error: Option<String>,
    /// When the next run is due.
    pub run_at: Timestamp,
    /// The event.
    pub event: EventId,
    /// What the engine was given, and what that cost. `None`: it was not asked.
    pub record: Option<Arc<RunRecord>>,
}

/// Settles turns that got no reply. Answers for each whether it was still this worker's.
pub async fn settle(
    conn: &mut PgConnection,
    worker: WorkerId,
    items: &[Settlement],
    now: Timestamp,
) -> Result<Vec<bool>, Error> {
    let rows: Vec<i32> = sqlx::query_scalar(
        "select ord from system_settle_turns($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
    )
    .bind(worker.0)
    .bind(items.iter().map(|item| item.claim.workspace.0).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.claim.dialogue.0).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.claim.turn.0).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.run).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.claim.fence).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.claim.job.0).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.state.as_str()).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.reason).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.error.as_deref()).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.run_at).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.event.0).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.record.as_deref().map(Json)).collect::<Vec<_>>())
    .bind(now)
    .fetch_all(conn)
    .await?;
    Ok(crate::queue::flags(items.len(), &rows))
}

/// What became of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stepped {
    /// It is committed with the transaction.
    Yes,
    /// A newer message was added to the turn, or the agent no longer holds the dialogue, which the next run finds; nothing was
    /// written.
    Superseded,
    /// The claim was lost; nothing was written.
    Lost,
}

/// Writes a step of the current run: an answer whose tools have yet to run. From then on newer messages open the next turn,
/// since a run that has begun an effect can't be superseded. The record is kept with it, should the run be lost later.
pub async fn insert_step(
    conn: &mut PgConnection,
    worker: WorkerId,
    claim: &ClaimedTurn,
    run: i32,
    answer: &Answer,
    record: &RunRecord,
    now: Timestamp,
) -> Result<Stepped, Error> {
    // The dialogue first, as everybody locks.
    let superseded: Option<bool> = sqlx::query_scalar(
        "select d.collecting_turn_id is not distinct from t.id and d.last_customer_seq > t.covered_through
             or not agent_may_speak(d.status, d.control_reason, d.control_by)
         from dialogues d join turns t on t.workspace_id = d.workspace_id and t.dialogue_id = d.id
         where d.workspace_id = $1 and d.id = $2 and t.id = $3
         for update of d",
    )
    .bind(claim.workspace.0)
    .bind(claim.dialogue.0)
    .bind(claim.turn.0)
    .fetch_optional(&mut *conn)
    .await?;
    match superseded {
        None => return Ok(Stepped::Lost),
        Some(true) => return Ok(Stepped::Superseded),
        Some(false) => {}
    }
    let done = sqlx::query(
        "insert into run_steps (workspace_id, turn_id, step, run, answer, created_at)
         select t.workspace_id, t.id,
             (select count(*) + 1 from run_steps s where s.workspace_id = t.workspace_id and s.turn_id = t.id), $3, $4, $5
         from turns t join job_keys k on k.workspace_id = t.workspace_id and k.subject_id = t.dialogue_id
             and k.lane = 'turn' and k.fence = $6 and k.locked_by = $7
         where t.workspace_id = $1 and t.id = $2 and t.state = 'RUNNING' and t.current_run = $3",
    )
    .bind(claim.workspace.0)
    .bind(claim.turn.0)
    .bind(run)
    .bind(Json(answer))
    .bind(now)
    .bind(claim.fence)
    .bind(worker.0)
    .execute(&mut *conn)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(Stepped::Lost);
    }
    sqlx::query(
        "update runs r
         set request = coalesce($4 -> 'request', r.request), prompt_hash = $4 ->> 'hash',
             (calls, unknown_calls, input_tokens, cached_input_tokens, output_tokens, cost_micros, currency) = (
                 select s.calls, s.unknown_calls, s.input_tokens, s.cached_input_tokens, s.output_tokens, s.cost_micros,
                     s.currency
                 from jsonb_to_record($4 -> 'spent') as s (calls bigint, unknown_calls bigint, input_tokens bigint,
                     cached_input_tokens bigint, output_tokens bigint, cost_micros bigint, currency text))
         where r.workspace_id = $1 and r.turn_id = $2 and r.number = $3",
    )
    .bind(claim.workspace.0)
    .bind(claim.turn.0)
    .bind(run)
    .bind(Json(record))
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "update dialogues set collecting_turn_id = null where workspace_id = $1 and id = $2 and collecting_turn_id = $3",
    )
    .bind(claim.workspace.0)
    .bind(claim.dialogue.0)
    .bind(claim.turn.0)
    .execute(conn)
    .await?;
    Ok(Stepped::Yes)
}

/// Notes what the tools of the newest step gave, unless somebody has. Answers whether it was this call that did.
pub async fn set_results(
    conn: &mut PgConnection,
    worker: WorkerId,
    claim: &ClaimedTurn,
    run: i32,
    results: &[serde_json::Value],
) -> Result<bool, Error> {
    let done = sqlx::query(
        "update run_steps s set results = $3
         from turns t join job_keys k on k.workspace_id = t.workspace_id and k.subject_id = t.dialogue_id
             and k.lane = 'turn' and k.fence = $4 and k.locked_by = $5
         where s.workspace_id = $1 and s.turn_id = $2 and s.results is null
             and t.workspace_id = $1 and t.id = $2 and t.state = 'RUNNING' and t.current_run = $6",
    )
    .bind(claim.workspace.0)
    .bind(claim.turn.0)
    .bind(Json(results))
    .bind(claim.fence)
    .bind(worker.0)
    .bind(run)
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}
