//! What people granted at vendors with OAuth 2.0, and the authorizations that are under way.

use std::time::Duration;

use domain::{IntegrationId, Timestamp, WorkerId, WorkspaceId};
use sqlx::{FromRow, PgConnection, PgPool};
use uuid::Uuid;

use crate::Error;

/// A pair of tokens, sealed.
#[derive(Debug, Clone, FromRow)]
pub struct SealedGrant {
    /// Which pair this is.
    pub version: i64,
    /// The row's own key, sealed with a key of the ring.
    #[sqlx(rename = "data_key_sealed")]
    pub data_key: Vec<u8>,
    /// The tokens, sealed with the row's own key.
    #[sqlx(rename = "tokens_sealed")]
    pub tokens: Vec<u8>,
    /// Whether it has worked.
    pub proven: bool,
    /// When the access token stops working.
    pub expires_at: Option<Timestamp>,
    /// When it is to be renewed. `None`: never, a person must consent anew.
    pub refresh_due_at: Option<Timestamp>,
    /// When it came.
    pub refreshed_at: Timestamp,
    /// When a person consented.
    pub granted_at: Timestamp,
}

/// A pair to write.
#[derive(Debug, Clone)]
pub struct NewPair {
    /// The row's own key, sealed.
    pub data_key: Vec<u8>,
    /// The tokens, sealed.
    pub tokens: Vec<u8>,
    /// When the access token stops working.
    pub expires_at: Option<Timestamp>,
    /// When it is to be renewed.
    pub refresh_due_at: Timestamp,
    /// When it came.
    pub at: Timestamp,
}

/// An authorization under way.
#[derive(Debug, Clone, FromRow)]
pub struct State {
    /// Of which integration.
    pub integration_id: Uuid,
    /// Where people are sent back to.
    pub redirect_url: String,
    /// The PKCE verifier, sealed.
    pub verifier_sealed: Option<Vec<u8>>,
    /// Until when they may come back.
    pub expires_at: Timestamp,
    /// When they did.
    pub used_at: Option<Timestamp>,
}

/// Reads what was granted.
pub async fn find(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    id: IntegrationId,
    lock: bool,
) -> Result<Option<SealedGrant>, Error> {
    let lock = if lock { "for update" } else { "" };
    Ok(sqlx::query_as(sqlx::AssertSqlSafe(format!(
        "select version, data_key_sealed, tokens_sealed, proven, expires_at, nullif(refresh_due_at, 'infinity') as refresh_due_at,
                refreshed_at, granted_at
         from integration_grants where workspace_id = $1 and id = $2 {lock}"
    )))
    .bind(workspace.0)
    .bind(id.0)
    .fetch_optional(conn)
    .await?)
}

/// Writes what a person granted, in the place of whatever was there.
pub async fn grant(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    id: IntegrationId,
    pair: &NewPair,
) -> Result<(), Error> {
    sqlx::query(
        "insert into integration_grants as g (workspace_id, id, version, data_key_sealed, tokens_sealed, proven, expires_at,
             refresh_due_at, refreshed_at, granted_at)
         values ($1, $2, 1, $3, $4, false, $5, $6, $7, $7)
         on conflict (workspace_id, id) do update
         set version = g.version + 1, data_key_sealed = $3, tokens_sealed = $4, proven = false, expires_at = $5,
             refresh_due_at = $6, refreshed_at = $7, granted_at = $7, lease_by = null, lease_until = null",
    )
    .bind(workspace.0)
    .bind(id.0)
    .bind(&pair.data_key)
    .bind(&pair.tokens)
    .bind(pair.expires_at)
    .bind(pair.refresh_due_at)
    .bind(pair.at)
    .execute(conn)
    .await?;
    Ok(())
}

/// Seals a pair anew that [`find`] has locked. The pair stays what it is.
pub async fn reseal(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    id: IntegrationId,
    data_key: &[u8],
    tokens: &[u8],
    proven: bool,
) -> Result<(), Error> {
    sqlx::query(
        "update integration_grants set data_key_sealed = $3, tokens_sealed = $4, proven = $5
         where workspace_id = $1 and id = $2",
    )
    .bind(workspace.0)
    .bind(id.0)
    .bind(data_key)
    .bind(tokens)
    .bind(proven)
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes the lease for renewing this version. Answers whether it was to be had: somebody else may have it, or may have
/// renewed the pair.
pub async fn lease(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    id: IntegrationId,
    version: i64,
    by: WorkerId,
    length: Duration,
) -> Result<bool, Error> {
    let leased = sqlx::query(
        "update integration_grants
         set lease_by = $4, lease_until = now() + make_interval(secs => $5)
         where workspace_id = $1 and id = $2 and version = $3 and (lease_until is null or lease_until < now())",
    )
    .bind(workspace.0)
    .bind(id.0)
    .bind(version)
    .bind(by.0)
    .bind(length.as_secs_f64())
    .execute(conn)
    .await?;
    Ok(leased.rows_affected() == 1)
}

/// Extends a lease for as long as its holder lives.
pub async fn extend(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    id: IntegrationId,
    version: i64,
    by: WorkerId,
    length: Duration,
) -> Result<(), Error> {
    sqlx::query(
        "update integration_grants set lease_until = now() + make_interval(secs => $5)
         where workspace_id = $1 and id = $2 and version = $3 and lease_by = $4",
    )
    .bind(workspace.0)
    .bind(id.0)
    .bind(version)
    .bind(by.0)
    .bind(length.as_secs_f64())
    .execute(conn)
    .await?;
    Ok(())
}

/// Has a pair renewed next, ahead of its time.
pub async fn hurry(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    id: IntegrationId,
    version: i64,
    now: Timestamp,
) -> Result<(), Error> {
    sqlx::query(
        "update integration_grants set refresh_due_at = $4, expires_at = least(expires_at, $4)
         where workspace_id = $1 and id = $2 and version = $3 and refresh_due_at < 'infinity'",
    )
    .bind(workspace.0)
    .bind(id.0)
    .bind(version)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// Gives a lease back without a new pair, and says when to try again; `None`: not before a person consents anew.
pub async fn release(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    id: IntegrationId,
    version: i64,
    by: WorkerId,
    due_at: Option<Timestamp>,
) -> Result<(), Error> {
    sqlx::query(
        "update integration_grants
         set lease_by = null, lease_until = null, refresh_due_at = coalesce($5, 'infinity')
         where workspace_id = $1 and id = $2 and version = $3 and lease_by = $4",
    )
    .bind(workspace.0)
    .bind(id.0)
    .bind(version)
    .bind(by.0)
    .bind(due_at)
    .execute(conn)
    .await?;
    Ok(())
}

/// Keeps a renewed pair: one statement, a transaction by itself. Answers whether the version that was renewed was still
/// there.
pub async fn keep(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    id: IntegrationId,
    version: i64,
    pair: &NewPair,
) -> Result<bool, Error> {
    Ok(sqlx::query_scalar("select system_keep_pair($1, $2, $3, $4, $5, $6, $7, $8)")
        .bind(workspace.0)
        .bind(id.0)
        .bind(version)
        .bind(&pair.data_key)
        .bind(&pair.tokens)
        .bind(pair.expires_at)
        .bind(pair.refresh_due_at)
        .bind(pair.at)
        .fetch_one(conn)
        .await?)
}

/// Which pairs are due to be renewed. Crosses workspaces.
pub async fn due(
    pool: &PgPool,
    at: Timestamp,
    limit: i32,
) -> Result<Vec<(WorkspaceId, IntegrationId)>, Error> {
    let rows: Vec<(Uuid, Uuid)> = sqlx::query_as("select * from system_due_grants($1, $2)")
        .bind(at)
        .bind(limit)
        .fetch_all(pool)
        .await?;
    Ok(rows.into_iter().map(|(workspace, id)| (workspace.into(), id.into())).collect())
}

/// Begins an authorization; forgets those that ended long ago.
pub async fn begin(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    state_hash: &[u8],
    state: &State,
    forget_before: Timestamp,
) -> Result<(), Error> {
    sqlx::query("delete from oauth_states where workspace_id = $1 and expires_at < $2")
        .bind(workspace.0)
        .bind(forget_before)
        .execute(&mut *conn)
        .await?;
    sqlx::query(
        "insert into oauth_states (workspace_id, state_hash, integration_id, redirect_url, verifier_sealed, expires_at)
         values ($1, $2, $3, $4, $5, $6)",
    )
    .bind(workspace.0)
    .bind(state_hash)
    .bind(state.integration_id)
    .bind(&state.redirect_url)
    .bind(&state.verifier_sealed)
    .bind(state.expires_at)
    .execute(conn)
    .await?;
    Ok(())
}

/// Ends an authorization: reads it as it was, and marks it as used.
pub async fn end(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    state_hash: &[u8],
    at: Timestamp,
) -> Result<Option<State>, Error> {
    Ok(sqlx::query_as(
        "with before as (
             select * from oauth_states where workspace_id = $1 and state_hash = $2 for update
         )
         update oauth_states s set used_at = coalesce(b.used_at, $3)
         from before b where s.workspace_id = $1 and s.state_hash = $2
         returning b.integration_id, b.redirect_url, b.verifier_sealed, b.expires_at, b.used_at",
    )
    .bind(workspace.0)
    .bind(state_hash)
    .bind(at)
    .fetch_optional(conn)
    .await?)
}

/// Forgets what belongs to an integration that is deleted.
pub async fn delete(conn: &mut PgConnection, workspace: WorkspaceId, id: IntegrationId) -> Result<(), Error> {
    for sql in [
        "delete from integration_grants where workspace_id = $1 and id = $2",
        "delete from oauth_states where workspace_id = $1 and integration_id = $2",
    ] {
        sqlx::query(sql).bind(workspace.0).bind(id.0).execute(&mut *conn).await?;
    }
    Ok(())
}
