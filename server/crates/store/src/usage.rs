//! What engines used and cost: sums over turns, and what previews and replays add to them.

use domain::{
    AgentId, Timestamp, WorkspaceId,
    cost::Spent,
    usage::{DailyUsage, Purpose},
};
use sqlx::{FromRow, PgConnection, types::Json};
use uuid::Uuid;

use crate::Error;

#[derive(FromRow)]
struct DayRow {
    day: Timestamp,
    agent_id: Option<Uuid>,
    purpose: String,
    count: i64,
    spent: Json<Spent>,
}

/// Lists what engines used between two moments, by day, agent and purpose. Turns are found by the time in their ids.
pub async fn list(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    agent: Option<AgentId>,
    from: Timestamp,
    until: Timestamp,
) -> Result<Vec<DailyUsage>, Error> {
    let rows: Vec<DayRow> = sqlx::query_as(
        "with each as (
             select t.id, t.agent_id, 'TURN' as purpose, t.created_at, r.calls, r.unknown_calls, r.input_tokens,
                 r.cached_input_tokens, r.output_tokens, r.cost_micros, r.currency
             from turns t join runs r on r.workspace_id = t.workspace_id and r.turn_id = t.id
             where t.workspace_id = $1 and t.id >= uuid_of_moment($3) and t.id < uuid_of_moment($4) and r.calls > 0
             union all
             select h.id, h.agent_id, h.kind, h.created_at, h.calls, h.unknown_calls, h.input_tokens, h.cached_input_tokens,
                 h.output_tokens, h.cost_micros, h.currency
             from rehearsals h
             where h.workspace_id = $1 and h.id >= uuid_of_moment($3) and h.id < uuid_of_moment($4)
         )
         select date_trunc('day', e.created_at, 'UTC') as day, e.agent_id, e.purpose, count(distinct e.id) as count,
             sum_spent(sum(e.calls)::bigint, sum(e.unknown_calls)::bigint, sum(e.input_tokens)::bigint,
                 sum(e.cached_input_tokens)::bigint, sum(e.output_tokens)::bigint, sum(e.cost_micros)::bigint,
                 count(distinct e.currency), min(e.currency)) as spent
         from each e where $2::uuid is null or e.agent_id = $2
         group by 1, 2, 3 order by 1, 2, 3",
    )
    .bind(workspace.0)
    .bind(agent.map(|id| id.0))
    .bind(from)
    .bind(until)
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let purpose = Purpose::parse(&row.purpose).ok_or_else(|| Error::Inconsistent {
                table: "rehearsals",
                column: "kind",
                id: row.purpose.clone(),
            })?;
            Ok(DailyUsage {
                day: row.day,
                agent: row.agent_id.map(Into::into),
                purpose,
                count: row.count,
                spent: row.spent.0,
            })
        })
        .collect()
}

/// Notes what a preview or replay used.
pub async fn insert(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    id: Uuid,
    agent: Option<AgentId>,
    purpose: Purpose,
    spent: &Spent,
    now: Timestamp,
) -> Result<(), Error> {
    sqlx::query(
        "insert into rehearsals (workspace_id, id, agent_id, kind, calls, unknown_calls, input_tokens, cached_input_tokens,
             output_tokens, cost_micros, currency, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
    )
    .bind(workspace.0)
    .bind(id)
    .bind(agent.map(|id| id.0))
    .bind(purpose.as_str())
    .bind(spent.calls)
    .bind(spent.unknown_calls)
    .bind(spent.input_tokens)
    .bind(spent.cached_input_tokens)
    .bind(spent.output_tokens)
    .bind(spent.cost_micros)
    .bind(spent.currency.as_deref())
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}
