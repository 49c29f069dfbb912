//! What agents' HTTP tools prove themselves with, sealed.

use domain::{AgentId, WorkspaceId};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::Error;

/// A secret as it is kept.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct AgentSecret {
    /// What it was sealed for.
    pub id: Uuid,
    /// What it is.
    pub name: String,
    /// The value, sealed.
    pub sealed: Vec<u8>,
}

/// Reads all of an agent's whose names begin with this.
pub async fn list(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    agent: AgentId,
    prefix: &str,
) -> Result<Vec<AgentSecret>, Error> {
    Ok(sqlx::query_as(
        "select id, name, sealed from agent_secrets
         where workspace_id = $1 and agent_id = $2 and starts_with(name, $3) order by name",
    )
    .bind(workspace.0)
    .bind(agent.0)
    .bind(prefix)
    .fetch_all(conn)
    .await?)
}

/// Writes one, in place of an older one of its name.
pub async fn put(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    agent: AgentId,
    secret: &AgentSecret,
) -> Result<(), Error> {
    sqlx::query(
        "insert into agent_secrets (workspace_id, id, agent_id, name, sealed) values ($1, $2, $3, $4, $5)
         on conflict (workspace_id, agent_id, name) do update set id = excluded.id, sealed = excluded.sealed",
    )
    .bind(workspace.0)
    .bind(secret.id)
    .bind(agent.0)
    .bind(&secret.name)
    .bind(&secret.sealed)
    .execute(conn)
    .await?;
    Ok(())
}

/// Removes all of an agent's but these.
pub async fn keep(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    agent: AgentId,
    names: &[String],
) -> Result<(), Error> {
    sqlx::query(
        "delete from agent_secrets where workspace_id = $1 and agent_id = $2 and not name = any ($3)",
    )
    .bind(workspace.0)
    .bind(agent.0)
    .bind(names)
    .execute(conn)
    .await?;
    Ok(())
}
