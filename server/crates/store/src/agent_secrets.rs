//! What agents' HTTP tools prove themselves with, sealed.

use domain::{AgentId, WorkspaceId};
use sqlx::PgConnection;

use crate::Error;

/// Reads all of an agent's whose names begin with this.
pub async fn list(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    agent: AgentId,
    prefix: &str,
) -> Result<Vec<(String, Vec<u8>)>, Error> {
    Ok(sqlx::query_as(
        "select name, sealed from agent_secrets
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
    name: &str,
    sealed: &[u8],
) -> Result<(), Error> {
    sqlx::query(
        "insert into agent_secrets (workspace_id, agent_id, name, sealed) values ($1, $2, $3, $4)
         on conflict (workspace_id, agent_id, name) do update set sealed = excluded.sealed",
    )
    .bind(workspace.0)
    .bind(agent.0)
    .bind(name)
    .bind(sealed)
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
