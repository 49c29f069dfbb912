//! Creations that carried a `request_id`.

use domain::{Timestamp, WorkspaceId};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::Error;

/// Notes a creation. `None`: noted, go on and create. `Some`: it was noted before, with this digest and resource. A
/// creation with the same id that is under way is waited for.
pub async fn note(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    request_id: Uuid,
    digest: &[u8],
    resource: Uuid,
    now: Timestamp,
) -> Result<Option<(Vec<u8>, Uuid)>, Error> {
    let noted = sqlx::query(
        "insert into request_ids (workspace_id, request_id, digest, resource_id, created_at)
         values ($1, $2, $3, $4, $5) on conflict do nothing",
    )
    .bind(workspace.0)
    .bind(request_id)
    .bind(digest)
    .bind(resource)
    .bind(now)
    .execute(&mut *conn)
    .await?;
    if noted.rows_affected() == 1 {
        return Ok(None);
    }
    Ok(sqlx::query_as(
        "select digest, resource_id from request_ids where workspace_id = $1 and request_id = $2",
    )
    .bind(workspace.0)
    .bind(request_id)
    .fetch_optional(conn)
    .await?)
}
