//! Budgets: what is used and reserved of them. Crosses workspaces, as all gathered writes do.

use domain::{
    AgentId, DialogueId, EventId, Timestamp, WorkerId, WorkspaceId,
    budget::{Budget, Limit},
};
use sqlx::{FromRow, PgConnection, PgExecutor, postgres::types::PgInterval, types::Json};
use time::Date;
use uuid::Uuid;

use crate::{Error, Pool};

/// What a call wants to reserve.
#[derive(Debug, Clone)]
pub struct Reservation {
    /// Whose.
    pub workspace: WorkspaceId,
    /// Its id.
    pub id: Uuid,
    /// The turn, or what stands in its place. Whatever it reserved earlier is given back.
    pub holder: Uuid,
    /// Whose lease it lives by.
    pub worker: Option<WorkerId>,
    /// After how long it lapses. `None`: with the worker's lease.
    pub lapse: Option<std::time::Duration>,
    /// The dialogue, for the notice.
    pub dialogue: Option<DialogueId>,
    /// The notice, should it not fit.
    pub event: EventId,
    /// The limits that it must keep; at least one.
    pub limits: Vec<Limit>,
}

/// A call does not fit.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Exhausted {
    item: i32,
    /// What the budget is counted for.
    pub scope: String,
    /// `TOKENS`, or a currency.
    pub unit: String,
    /// How much there is.
    pub most: i64,
    /// How much is used.
    pub used: i64,
    /// How much is reserved.
    pub reserved: i64,
    /// How much the call may use.
    pub amount: i64,
}

impl std::fmt::Display for Exhausted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { scope, unit, most, used, reserved, amount, .. } = self;
        let unit = if unit == domain::budget::TOKENS {
            "tokens".to_owned()
        } else {
            format!("millionths of {unit}")
        };
        write!(
            f,
            "the {} budget has {most} {unit}, of which {used} are used and {reserved} reserved; the call may use {amount}",
            scope.to_lowercase()
        )
    }
}

/// A budget that is never renewed has the earliest day that the database and Rust both know.
fn day(limit: &Limit) -> Date {
    limit.day.unwrap_or(EVER)
}

const EVER: Date = time::macros::date!(0001 - 01 - 01);

/// Reserves what calls may use, all of each or nothing of it. Answers for each in turn.
pub async fn reserve(
    conn: impl PgExecutor<'_>,
    items: &[Reservation],
    now: Timestamp,
) -> Result<Vec<Result<(), Exhausted>>, Error> {
    let limits: Vec<(i32, WorkspaceId, &Limit)> = items
        .iter()
        .zip(1..)
        .flat_map(|(item, number)| item.limits.iter().map(move |limit| (number, item.workspace, limit)))
        .collect();
    let interval = |lapse: std::time::Duration| PgInterval {
        months: 0,
        days: 0,
        microseconds: i64::try_from(lapse.as_micros()).unwrap_or(i64::MAX),
    };
    let refused: Vec<Exhausted> = sqlx::query_as(
        "select * from system_reserve_budgets($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
    )
    .bind(limits.iter().map(|(_, workspace, _)| workspace.0).collect::<Vec<_>>())
    .bind(limits.iter().map(|(number, ..)| *number).collect::<Vec<_>>())
    .bind(limits.iter().map(|(.., limit)| limit.scope.as_str()).collect::<Vec<_>>())
    .bind(limits.iter().map(|(.., limit)| limit.subject).collect::<Vec<_>>())
    .bind(limits.iter().map(|(.., limit)| day(limit)).collect::<Vec<_>>())
    .bind(limits.iter().map(|(.., limit)| limit.unit.as_str()).collect::<Vec<_>>())
    .bind(limits.iter().map(|(.., limit)| limit.most).collect::<Vec<_>>())
    .bind(limits.iter().map(|(.., limit)| limit.worst).collect::<Vec<_>>())
    .bind(limits.iter().map(|(.., limit)| limit.owner).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.workspace.0).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.id).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.holder).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.worker.map(|id| id.0)).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.lapse.map(interval)).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.dialogue.map(|id| id.0)).collect::<Vec<_>>())
    .bind(items.iter().map(|item| item.event.0).collect::<Vec<_>>())
    .bind(now)
    .fetch_all(conn)
    .await?;
    let mut answers = vec![Ok(()); items.len()];
    for exhausted in refused {
        let at = usize::try_from(exhausted.item - 1).ok();
        if let Some(answer) = at.and_then(|at| answers.get_mut(at)) {
            *answer = Err(exhausted);
        }
    }
    Ok(answers)
}

/// What a call used of its reservation; `None`: it didn't say.
#[derive(Debug, Clone, Copy)]
pub struct Settlement {
    /// Whose.
    pub workspace: WorkspaceId,
    /// The reservation.
    pub id: Uuid,
    /// Input and output tokens.
    pub tokens: Option<i64>,
    /// The cost, in millionths of the price's currency.
    pub cost_micros: Option<i64>,
}

/// Settles reservations.
pub async fn settle(conn: impl PgExecutor<'_>, items: &[Settlement]) -> Result<(), Error> {
    sqlx::query("select system_settle_budgets($1, $2, $3, $4)")
        .bind(items.iter().map(|item| item.workspace.0).collect::<Vec<_>>())
        .bind(items.iter().map(|item| item.id).collect::<Vec<_>>())
        .bind(items.iter().map(|item| item.tokens).collect::<Vec<_>>())
        .bind(items.iter().map(|item| item.cost_micros).collect::<Vec<_>>())
        .execute(conn)
        .await?;
    Ok(())
}

/// The reservations that a turn, or what stands in its place, has not settled.
pub async fn of_holder(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    holder: Uuid,
) -> Result<Vec<Uuid>, Error> {
    let sql = "select distinct id from budget_reservations where workspace_id = $1 and holder_id = $2";
    Ok(sqlx::query_scalar(sql).bind(workspace.0).bind(holder).fetch_all(conn).await?)
}

/// Forgets what nothing is counted on any more.
pub async fn sweep(pool: &Pool, now: Timestamp) -> Result<(), Error> {
    sqlx::query("select system_sweep_budgets($1)").bind(now).execute(pool).await?;
    Ok(())
}

/// The budgets that calls for an agent keep: its own, and its workspace's. `None`: only the workspace's.
pub async fn of_agent(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    agent: Option<AgentId>,
) -> Result<Vec<Budget>, Error> {
    let all: Json<Vec<Budget>> = sqlx::query_scalar(
        "select coalesce((select budgets from agents where workspace_id = $1 and id = $2), '[]')
             || coalesce((select budgets from workspaces where workspace_id = $1), '[]')",
    )
    .bind(workspace.0)
    .bind(agent.map(|id| id.0))
    .fetch_one(conn)
    .await?;
    Ok(all.0)
}
