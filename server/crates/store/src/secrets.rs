//! What is encrypted with a key of the key ring, wherever it stands: found across workspaces, and replaced in each.

use domain::WorkspaceId;
use sqlx::{AssertSqlSafe, FromRow, PgConnection, PgPool};
use uuid::Uuid;

use crate::Error;

/// A column that holds something encrypted with a key of the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Its table.
    pub table: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What its content was sealed for.
    pub place: &'static str,
}

/// All of them. The function `system_sealed_otherwise` knows the same.
pub const COLUMNS: [Column; 10] = [
    Column { table: "integrations", name: "data_key_sealed", place: "integrations.data_key" },
    Column { table: "integration_grants", name: "data_key_sealed", place: "integration_grants.data_key" },
    Column { table: "channels", name: "token_sealed", place: "channels.token" },
    Column { table: "channels", name: "signing_secret_sealed", place: "channels.signing_secret" },
    Column { table: "channels", name: "hook_secret_sealed", place: "channels.hook_secret" },
    Column { table: "webhook_endpoints", name: "secret_sealed", place: "webhook_endpoints.secret" },
    // The new one moves to the place of the old.
    Column { table: "webhook_endpoints", name: "previous_secret_sealed", place: "webhook_endpoints.secret" },
    Column { table: "integration_hooks", name: "secret_sealed", place: "integration_hooks.secret" },
    // The new one moves to the place of the old.
    Column { table: "integration_hooks", name: "stale_secret_sealed", place: "integration_hooks.secret" },
    Column { table: "agent_secrets", name: "sealed", place: "agent_secrets.sealed" },
];

/// Something encrypted.
#[derive(Debug, Clone, FromRow)]
pub struct Sealed {
    /// Whose.
    #[sqlx(rename = "workspace_id")]
    pub workspace: Uuid,
    /// Which row.
    pub id: Uuid,
    /// What stands there.
    pub sealed: Vec<u8>,
}

/// Reads the next of a column that is encrypted otherwise than with this key, behind a place, in the order of places.
/// Crosses workspaces.
pub async fn sealed_otherwise(
    pool: &PgPool,
    column: Column,
    kid: &str,
    (workspace, id): (Uuid, Uuid),
    limit: i32,
) -> Result<Vec<Sealed>, Error> {
    Ok(sqlx::query_as("select * from system_sealed_otherwise($1, $2, $3, $4, $5)")
        .bind(kid)
        .bind(format!("{}.{}", column.table, column.name))
        .bind(workspace)
        .bind(id)
        .bind(limit)
        .fetch_all(pool)
        .await?)
}

/// Puts something in the place of what was there. Answers whether it was there still.
pub async fn replace(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    column: Column,
    id: Uuid,
    before: &[u8],
    after: &[u8],
) -> Result<bool, Error> {
    let Column { table, name, .. } = column;
    let replaced = sqlx::query(AssertSqlSafe(format!(
        "update {table} set {name} = $4 where workspace_id = $1 and id = $2 and {name} = $3"
    )))
    .bind(workspace.0)
    .bind(id)
    .bind(before)
    .bind(after)
    .execute(conn)
    .await?;
    Ok(replaced.rows_affected() == 1)
}
