//! The queue: keys with waiting jobs, claimed under leases.

use domain::{ChannelId, DialogueId, EndpointId, JobId, Timestamp, WorkerId, WorkspaceId};
use sqlx::{FromRow, PgPool, postgres::types::PgInterval};
use uuid::Uuid;

use crate::Error;

/// What waits in a lane of a dialogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Turns.
    Turn,
    /// Deliveries.
    Out,
    /// The return of control to the agent.
    Timer,
    /// Dispatches to endpoints.
    Hook,
    /// Looks at what a mirror is to show.
    Mirror,
}

impl Lane {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Turn => "turn",
            Self::Out => "out",
            Self::Timer => "timer",
            Self::Hook => "hook",
            Self::Mirror => "mirror",
        }
    }
}

/// What is claimed together.
#[derive(Debug, Clone, Copy)]
pub enum Lanes<'a> {
    /// All that belongs to dialogues, shared evenly among workspaces.
    Dialogues {
        /// How many one workspace gets at most.
        most: usize,
        /// Workspaces that get none.
        busy: &'a [Uuid],
        /// Channels that get no turn.
        turns: &'a [Uuid],
        /// Channels that get no delivery.
        outs: &'a [Uuid],
    },
    /// Dispatches, shared evenly among endpoints: apart, since endpoints belong to strangers and may be slow or many.
    Hooks {
        /// How many one endpoint gets at most.
        most: usize,
        /// Endpoints that get none.
        busy: &'a [Uuid],
    },
}

/// A claimed key with its head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Whose.
    pub workspace: WorkspaceId,
    /// Of which dialogue; in the lane of dispatches the key that is derived from endpoint and dialogue.
    pub dialogue: DialogueId,
    /// Which lane.
    pub lane: Lane,
    /// The fence of this claim.
    pub fence: i64,
    /// The head job.
    pub job: JobId,
    /// The turn, delivery, dialogue or dispatch that it is about.
    pub target: Uuid,
    /// How often it failed before.
    pub failures: i32,
    /// The endpoint, in the lane of dispatches.
    pub endpoint: Option<EndpointId>,
    /// The dialogue's channel, in the lanes of dialogues.
    pub channel: Option<ChannelId>,
}

impl Claim {
    /// Whose share of the claim it is: the workspace's, or in the lane of dispatches the endpoint's.
    pub fn share(&self) -> Uuid {
        self.endpoint.map_or(self.workspace.0, Into::into)
    }
}

#[derive(FromRow)]
struct ClaimRow {
    workspace_id: Uuid,
    subject_id: Uuid,
    lane: String,
    fence: i64,
    job_id: Option<Uuid>,
    target_id: Option<Uuid>,
    failures: Option<i32>,
    #[sqlx(default)]
    endpoint_id: Option<Uuid>,
    #[sqlx(default)]
    channel_id: Option<Uuid>,
}

/// Claims due keys, walking on from the share `after`.
pub async fn claim(
    pool: &PgPool,
    lanes: Lanes<'_>,
    worker: WorkerId,
    after: Uuid,
    limit: usize,
    now: Timestamp,
) -> Result<Vec<Claim>, Error> {
    let int = |number| i32::try_from(number).unwrap_or(i32::MAX);
    let query = match lanes {
        Lanes::Dialogues { .. } => "select * from system_claim($1, $2, $3, $4, $5, $6, $7, $8)",
        Lanes::Hooks { .. } => "select * from system_claim_hooks($1, $2, $3, $4, $5, $6)",
    };
    let query = sqlx::query_as(query).bind(worker.0).bind(after).bind(int(limit));
    let query = match lanes {
        Lanes::Dialogues { most, busy, turns, outs } => {
            query.bind(int(most)).bind(busy).bind(turns).bind(outs)
        }
        Lanes::Hooks { most, busy } => query.bind(int(most)).bind(busy),
    };
    let rows: Vec<ClaimRow> = query.bind(now).fetch_all(pool).await?;
    rows.into_iter()
        .map(|row| {
            let inconsistent = || Error::Inconsistent {
                table: "job_keys",
                column: "next_run_at",
                id: row.subject_id.to_string(),
            };
            Ok(Claim {
                workspace: row.workspace_id.into(),
                dialogue: row.subject_id.into(),
                lane: match row.lane.as_str() {
                    "turn" => Lane::Turn,
                    "out" => Lane::Out,
                    "hook" => Lane::Hook,
                    "mirror" => Lane::Mirror,
                    "timer" => Lane::Timer,
                    _ => return Err(inconsistent()),
                },
                fence: row.fence,
                job: row.job_id.ok_or_else(inconsistent)?.into(),
                target: row.target_id.ok_or_else(inconsistent)?,
                failures: row.failures.ok_or_else(inconsistent)?,
                endpoint: row.endpoint_id.map(Into::into),
                channel: row.channel_id.map(Into::into),
            })
        })
        .collect()
}

/// When the next key falls due. `None`: nothing waits. Where some channels get nothing, what is due by `now` is passed over:
/// a claim has just left it, so it may be theirs.
pub async fn next_due(pool: &PgPool, lanes: Lanes<'_>, now: Timestamp) -> Result<Option<Timestamp>, Error> {
    let query = match lanes {
        Lanes::Dialogues { busy, turns, outs, .. } => {
            let all = turns.is_empty() && outs.is_empty();
            sqlx::query_scalar("select system_next_due($1, $2)").bind(busy).bind((!all).then_some(now))
        }
        Lanes::Hooks { busy, .. } => sqlx::query_scalar("select system_next_due_hook($1)").bind(busy),
    };
    Ok(query.fetch_one(pool).await?)
}

/// Says that this worker lives. Answers whether its lease had lapsed (or it is new): its keys are others' now.
pub async fn heartbeat(
    pool: &PgPool,
    worker: WorkerId,
    lease: std::time::Duration,
    now: Timestamp,
) -> Result<bool, Error> {
    Ok(sqlx::query_scalar("select system_heartbeat($1, $2, $3)")
        .bind(worker.0)
        .bind(interval(lease))
        .bind(now)
        .fetch_one(pool)
        .await?)
}

/// Gives a claimed key back, its head due no sooner than `at`.
pub async fn put_off(pool: &PgPool, worker: WorkerId, claim: &Claim, at: Timestamp) -> Result<(), Error> {
    sqlx::query("select system_put_off($1, $2, $3, $4, $5, $6, $7)")
        .bind(worker.0)
        .bind(claim.workspace.0)
        .bind(claim.dialogue.0)
        .bind(claim.lane.as_str())
        .bind(claim.fence)
        .bind(claim.job.0)
        .bind(at)
        .execute(pool)
        .await?;
    Ok(())
}

/// Ends this worker; its keys are free at once.
pub async fn retire(pool: &PgPool, worker: WorkerId, now: Timestamp) -> Result<(), Error> {
    sqlx::query("select system_retire($1, $2)").bind(worker.0).bind(now).execute(pool).await?;
    Ok(())
}

/// Ends all other workers. For an embedded database alone.
pub async fn retire_others(pool: &PgPool, worker: WorkerId, now: Timestamp) -> Result<(), Error> {
    sqlx::query("select system_retire_others($1, $2)").bind(worker.0).bind(now).execute(pool).await?;
    Ok(())
}

pub(crate) fn interval(duration: std::time::Duration) -> PgInterval {
    PgInterval { months: 0, days: 0, microseconds: i64::try_from(duration.as_micros()).unwrap_or(i64::MAX) }
}

/// Turns numbers from 1 into flags.
pub(crate) fn flags(len: usize, numbers: &[i32]) -> Vec<bool> {
    let mut flags = vec![false; len];
    for number in numbers {
        if let Some(flag) = usize::try_from(number - 1).ok().and_then(|at| flags.get_mut(at)) {
            *flag = true;
        }
    }
    flags
}
