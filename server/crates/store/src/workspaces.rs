//! Workspaces and API keys.

use domain::{
    ApiKeyId, Timestamp, WorkspaceId,
    budget::Budget,
    token::TokenHash,
    workspace::{ApiKey, Scopes, Workspace},
};
use sqlx::{FromRow, PgConnection, PgPool, types::Json};
use uuid::Uuid;

use crate::Error;

#[derive(FromRow)]
struct WorkspaceRow {
    workspace_id: Uuid,
    display_name: String,
    budgets: Json<Vec<Budget>>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl From<WorkspaceRow> for Workspace {
    fn from(row: WorkspaceRow) -> Self {
        Self {
            id: row.workspace_id.into(),
            display_name: row.display_name,
            budgets: row.budgets.0,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

/// Adds a workspace.
pub async fn insert(conn: &mut PgConnection, workspace: &Workspace) -> Result<(), Error> {
    sqlx::query(
        "insert into workspaces (workspace_id, display_name, created_at, updated_at) values ($1, $2, $3, $4)",
    )
    .bind(workspace.id.0)
    .bind(&workspace.display_name)
    .bind(workspace.created_at)
    .bind(workspace.updated_at)
    .execute(conn)
    .await?;
    Ok(())
}

/// Has the transaction go on in another workspace. For the one creation that begins in none.
pub async fn switch(conn: &mut PgConnection, workspace: WorkspaceId) -> Result<(), Error> {
    sqlx::query("select set_config('app.workspace_id', $1, true)")
        .bind(workspace.to_string())
        .execute(conn)
        .await?;
    Ok(())
}

/// Reads a workspace.
pub async fn find(conn: &mut PgConnection, workspace: WorkspaceId) -> Result<Option<Workspace>, Error> {
    let row: Option<WorkspaceRow> = sqlx::query_as("select * from workspaces where workspace_id = $1")
        .bind(workspace.0)
        .fetch_optional(conn)
        .await?;
    Ok(row.map(Into::into))
}

/// Lists all workspaces, oldest first. Crosses workspaces: for operators.
pub async fn list_all(
    pool: &PgPool,
    after: Option<WorkspaceId>,
    limit: usize,
) -> Result<Vec<Workspace>, Error> {
    let rows: Vec<WorkspaceRow> = sqlx::query_as("select * from system_list_workspaces($1, $2)")
        .bind(after.map(|id| id.0))
        .bind(i32::try_from(limit).unwrap_or(i32::MAX))
        .fetch_all(pool)
        .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// Changes a workspace; `None` stays. Answers whether it was there.
pub async fn update(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    display_name: Option<&str>,
    budgets: Option<&[Budget]>,
    now: Timestamp,
) -> Result<bool, Error> {
    let changed = sqlx::query(
        "update workspaces set display_name = coalesce($2, display_name), budgets = coalesce($3, budgets), updated_at = $4
         where workspace_id = $1",
    )
    .bind(workspace.0)
    .bind(display_name)
    .bind(budgets.map(Json))
    .bind(now)
    .execute(conn)
    .await?;
    Ok(changed.rows_affected() == 1)
}

/// Deletes a workspace with everything in it. Answers whether it was there. Crosses workspaces: for operators.
pub async fn delete(pool: &PgPool, workspace: WorkspaceId) -> Result<bool, Error> {
    Ok(sqlx::query_scalar("select system_delete_workspace($1)").bind(workspace.0).fetch_one(pool).await?)
}

#[derive(FromRow)]
struct ApiKeyRow {
    workspace_id: Uuid,
    id: Uuid,
    display_name: String,
    scopes: Vec<String>,
    suffix: String,
    expires_at: Option<Timestamp>,
    created_at: Timestamp,
    revoked_at: Option<Timestamp>,
}

impl TryFrom<ApiKeyRow> for ApiKey {
    type Error = Error;

    fn try_from(row: ApiKeyRow) -> Result<Self, Error> {
        let scopes = Scopes::parse(row.scopes.iter().map(String::as_str)).map_err(|_| {
            Error::Inconsistent { table: "api_keys", column: "scopes", id: row.id.to_string() }
        })?;
        Ok(Self {
            id: row.id.into(),
            workspace: row.workspace_id.into(),
            display_name: row.display_name,
            scopes,
            suffix: row.suffix,
            expires_at: row.expires_at,
            created_at: row.created_at,
            revoked_at: row.revoked_at,
        })
    }
}

const API_KEY: &str = "workspace_id, id, display_name, scopes, suffix, expires_at, created_at, revoked_at";

/// Adds an API key.
pub async fn insert_key(conn: &mut PgConnection, key: &ApiKey, hash: TokenHash) -> Result<(), Error> {
    sqlx::query(
        "insert into api_keys (workspace_id, id, display_name, scopes, hash, suffix, expires_at, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(key.workspace.0)
    .bind(key.id.0)
    .bind(&key.display_name)
    .bind(key.scopes.names())
    .bind(hash.0.as_slice())
    .bind(&key.suffix)
    .bind(key.expires_at)
    .bind(key.created_at)
    .execute(conn)
    .await?;
    Ok(())
}

/// Finds the key with this hash, revoked and expired ones included.
pub async fn find_key_by_hash(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    hash: TokenHash,
) -> Result<Option<ApiKey>, Error> {
    let row: Option<ApiKeyRow> = sqlx::query_as(sqlx::AssertSqlSafe(format!(
        "select {API_KEY} from api_keys where workspace_id = $1 and hash = $2"
    )))
    .bind(workspace.0)
    .bind(hash.0.as_slice())
    .fetch_optional(conn)
    .await?;
    row.map(TryInto::try_into).transpose()
}

/// Reads a key, be it revoked or expired.
pub async fn find_key(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    id: ApiKeyId,
) -> Result<Option<ApiKey>, Error> {
    let row: Option<ApiKeyRow> = sqlx::query_as(sqlx::AssertSqlSafe(format!(
        "select {API_KEY} from api_keys where workspace_id = $1 and id = $2"
    )))
    .bind(workspace.0)
    .bind(id.0)
    .fetch_optional(conn)
    .await?;
    row.map(TryInto::try_into).transpose()
}

/// Lists the keys of a workspace, oldest first.
pub async fn list_keys(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    after: Option<ApiKeyId>,
    limit: usize,
) -> Result<Vec<ApiKey>, Error> {
    let rows: Vec<ApiKeyRow> = sqlx::query_as(sqlx::AssertSqlSafe(format!(
        "select {API_KEY} from api_keys where workspace_id = $1 and ($2::uuid is null or id > $2) order by id limit $3"
    )))
    .bind(workspace.0)
    .bind(after.map(|id| id.0))
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// Revokes a key, if it is not revoked yet, and reads it.
pub async fn revoke_key(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    id: ApiKeyId,
    now: Timestamp,
) -> Result<Option<ApiKey>, Error> {
    let row: Option<ApiKeyRow> = sqlx::query_as(sqlx::AssertSqlSafe(format!(
        "update api_keys set revoked_at = coalesce(revoked_at, $3) where workspace_id = $1 and id = $2 returning {API_KEY}"
    )))
    .bind(workspace.0)
    .bind(id.0)
    .bind(now)
    .fetch_optional(conn)
    .await?;
    row.map(TryInto::try_into).transpose()
}
