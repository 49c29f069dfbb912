//! Agents.

use domain::{AgentId, Timestamp, WorkspaceId, agent::Agent, policy::OnFailure, token::TokenHash};
use sqlx::{AssertSqlSafe, FromRow, PgConnection, types::Json};
use uuid::Uuid;

use crate::Error;

#[derive(FromRow)]
struct AgentRow {
    id: Uuid,
    display_name: String,
    instructions: String,
    engine: Json<domain::agent::Engine>,
    reply_policy: Json<domain::policy::ReplyPolicy>,
    profile: Json<domain::profile::Profile>,
    active: bool,
    budgets: Json<Vec<domain::budget::Budget>>,
    on_budget_exhausted: String,
    token_suffix: String,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl From<AgentRow> for Agent {
    fn from(row: AgentRow) -> Self {
        Self {
            id: row.id.into(),
            display_name: row.display_name,
            instructions: row.instructions,
            engine: row.engine.0,
            reply_policy: row.reply_policy.0,
            profile: row.profile.0,
            active: row.active,
            budgets: row.budgets.0,
            on_budget_exhausted: OnFailure::parse(&row.on_budget_exhausted).unwrap_or(OnFailure::StaySilent),
            token_suffix: row.token_suffix,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

const AGENT: &str = "id, display_name, instructions, engine, reply_policy, profile, active, budgets, on_budget_exhausted, \
     token_suffix, created_at, updated_at";

/// Adds an agent.
pub async fn insert(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    agent: &Agent,
    token: TokenHash,
) -> Result<(), Error> {
    sqlx::query(
        "insert into agents (workspace_id, id, display_name, instructions, engine, active, token_hash, token_suffix,
             created_at, updated_at, reply_policy, profile, budgets, on_budget_exhausted)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
    )
    .bind(workspace.0)
    .bind(agent.id.0)
    .bind(&agent.display_name)
    .bind(&agent.instructions)
    .bind(Json(&agent.engine))
    .bind(agent.active)
    .bind(token.0.as_slice())
    .bind(&agent.token_suffix)
    .bind(agent.created_at)
    .bind(agent.updated_at)
    .bind(Json(&agent.reply_policy))
    .bind(Json(&agent.profile))
    .bind(Json(&agent.budgets))
    .bind(agent.on_budget_exhausted.as_str())
    .execute(conn)
    .await?;
    Ok(())
}

/// Reads an agent; with `lock`, keeps others from changing it until the transaction ends.
pub async fn find(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    id: AgentId,
    lock: bool,
) -> Result<Option<Agent>, Error> {
    let lock = if lock { "for update" } else { "" };
    let row: Option<AgentRow> = sqlx::query_as(AssertSqlSafe(format!(
        "select {AGENT} from agents where workspace_id = $1 and id = $2 and deleted_at is null {lock}"
    )))
    .bind(workspace.0)
    .bind(id.0)
    .fetch_optional(conn)
    .await?;
    Ok(row.map(Into::into))
}

/// Finds the agent whose token has this hash.
pub async fn find_by_token(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    token: TokenHash,
) -> Result<Option<AgentId>, Error> {
    let id: Option<Uuid> = sqlx::query_scalar(
        "select id from agents where workspace_id = $1 and token_hash = $2 and deleted_at is null",
    )
    .bind(workspace.0)
    .bind(token.0.as_slice())
    .fetch_optional(conn)
    .await?;
    Ok(id.map(Into::into))
}

/// Lists agents, oldest first.
pub async fn list(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    after: Option<AgentId>,
    limit: usize,
) -> Result<Vec<Agent>, Error> {
    let rows: Vec<AgentRow> = sqlx::query_as(AssertSqlSafe(format!(
        "select {AGENT} from agents where workspace_id = $1 and deleted_at is null and ($2::uuid is null or id > $2)
         order by id limit $3"
    )))
    .bind(workspace.0)
    .bind(after.map(|id| id.0))
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// Writes all that can change of an agent that [`find`] has locked.
pub async fn update(conn: &mut PgConnection, workspace: WorkspaceId, agent: &Agent) -> Result<(), Error> {
    sqlx::query(
        "update agents set display_name = $3, instructions = $4, engine = $5, active = $6, updated_at = $7, reply_policy = $8,
             profile = $9, budgets = $10, on_budget_exhausted = $11
         where workspace_id = $1 and id = $2",
    )
    .bind(workspace.0)
    .bind(agent.id.0)
    .bind(&agent.display_name)
    .bind(&agent.instructions)
    .bind(Json(&agent.engine))
    .bind(agent.active)
    .bind(agent.updated_at)
    .bind(Json(&agent.reply_policy))
    .bind(Json(&agent.profile))
    .bind(Json(&agent.budgets))
    .bind(agent.on_budget_exhausted.as_str())
    .execute(conn)
    .await?;
    Ok(())
}

/// Replaces the token of an agent that [`find`] has locked.
pub async fn set_token(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    id: AgentId,
    token: TokenHash,
    suffix: &str,
    now: Timestamp,
) -> Result<(), Error> {
    sqlx::query(
        "update agents set token_hash = $3, token_suffix = $4, updated_at = $5 where workspace_id = $1 and id = $2",
    )
    .bind(workspace.0)
    .bind(id.0)
    .bind(token.0.as_slice())
    .bind(suffix)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// Counts the channels that use an agent.
pub async fn count_channels(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    id: AgentId,
) -> Result<i64, Error> {
    Ok(sqlx::query_scalar(
        "select count(*) from channels where workspace_id = $1 and agent_id = $2 and deleted_at is null",
    )
    .bind(workspace.0)
    .bind(id.0)
    .fetch_one(conn)
    .await?)
}

/// Marks an agent as deleted, which [`find`] has locked.
pub async fn delete(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    id: AgentId,
    now: Timestamp,
) -> Result<(), Error> {
    sqlx::query("update agents set deleted_at = $3 where workspace_id = $1 and id = $2")
        .bind(workspace.0)
        .bind(id.0)
        .bind(now)
        .execute(conn)
        .await?;
    Ok(())
}
