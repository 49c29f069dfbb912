//! The queue: keys with waiting jobs, claimed under leases.

use domain::{DialogueId, JobId, Timestamp, WorkerId, WorkspaceId};
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
    /// Dispatches to endpoints.
    Hook,
}

/// Lanes that are claimed together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lanes {
    /// Turns and deliveries.
    Dialogues,
    /// Dispatches: apart, since endpoints belong to strangers and may be slow or many.
    Hooks,
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
    /// The turn, delivery or dispatch that it is about.
    pub target: Uuid,
    /// How often it failed before.
    pub failures: i32,
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
}

/// Claims due keys, shared evenly among workspaces, walking on from `after`.
pub async fn claim(
    pool: &PgPool,
    lanes: Lanes,
    worker: WorkerId,
    after: WorkspaceId,
    limit: usize,
    now: Timestamp,
) -> Result<Vec<Claim>, Error> {
    let statement = match lanes {
        Lanes::Dialogues => "select * from system_claim($1, $2, $3, $4)",
        Lanes::Hooks => "select * from system_claim_hooks($1, $2, $3, $4)",
    };
    let rows: Vec<ClaimRow> = sqlx::query_as(statement)
        .bind(worker.0)
        .bind(after.0)
        .bind(i32::try_from(limit).unwrap_or(i32::MAX))
        .bind(now)
        .fetch_all(pool)
        .await?;
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
                    "hook" => Lane::Hook,
                    _ => Lane::Out,
                },
                fence: row.fence,
                job: row.job_id.ok_or_else(inconsistent)?.into(),
                target: row.target_id.ok_or_else(inconsistent)?,
                failures: row.failures.ok_or_else(inconsistent)?,
            })
        })
        .collect()
}

/// When the next key falls due. `None`: nothing waits.
pub async fn next_due(pool: &PgPool, lanes: Lanes) -> Result<Option<Timestamp>, Error> {
    let statement = match lanes {
        Lanes::Dialogues => "select system_next_due()",
        Lanes::Hooks => "select system_next_due_hook()",
    };
    Ok(sqlx::query_scalar(statement).fetch_one(pool).await?)
}

/// Says that this worker lives. Answers whether its lease had lapsed (or it is new): its keys are others' now.
pub async fn heartbeat(pool: &PgPool, worker: WorkerId, lease: std::time::Duration) -> Result<bool, Error> {
    Ok(sqlx::query_scalar("select system_heartbeat($1, $2)")
        .bind(worker.0)
        .bind(interval(lease))
        .fetch_one(pool)
        .await?)
}

/// Ends this worker; its keys are free at once.
pub async fn retire(pool: &PgPool, worker: WorkerId) -> Result<(), Error> {
    sqlx::query("select system_retire($1)").bind(worker.0).execute(pool).await?;
    Ok(())
}

/// Ends all other workers. For an embedded database alone.
pub async fn retire_others(pool: &PgPool, worker: WorkerId) -> Result<(), Error> {
    sqlx::query("select system_retire_others($1)").bind(worker.0).execute(pool).await?;
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
