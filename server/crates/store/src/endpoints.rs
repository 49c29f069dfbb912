//! Endpoints: where events are posted to.

use domain::{
    EndpointId, Timestamp, WorkspaceId,
    endpoint::{Endpoint, Schedule},
};
use sqlx::{AssertSqlSafe, FromRow, PgConnection, PgPool};
use uuid::Uuid;

use crate::Error;

/// An endpoint with its sealed secrets.
#[derive(Debug, Clone)]
pub struct SealedEndpoint {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// Its secret, sealed.
    pub secret: Vec<u8>,
    /// The secret before it, sealed.
    pub previous_secret: Option<Vec<u8>>,
}

#[derive(FromRow)]
struct EndpointRow {
    id: Uuid,
    display_name: String,
    url: String,
    kinds: Vec<String>,
    channel_id: Option<Uuid>,
    schedule: String,
    active: bool,
    disabled_reason: Option<String>,
    secret_sealed: Vec<u8>,
    previous_secret_sealed: Option<Vec<u8>>,
    previous_secret_until: Option<Timestamp>,
    failing_since: Option<Timestamp>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

/// Reads a schedule's name.
pub(crate) fn schedule(text: &str, id: Uuid) -> Result<Schedule, Error> {
    Schedule::parse(text).ok_or_else(|| Error::Inconsistent {
        table: "webhook_endpoints",
        column: "schedule",
        id: id.to_string(),
    })
}

impl TryFrom<EndpointRow> for SealedEndpoint {
    type Error = Error;

    fn try_from(row: EndpointRow) -> Result<Self, Error> {
        Ok(Self {
            endpoint: Endpoint {
                id: row.id.into(),
                display_name: row.display_name,
                url: row.url,
                kinds: row.kinds,
                channel: row.channel_id.map(Into::into),
                schedule: schedule(&row.schedule, row.id)?,
                active: row.active,
                disabled_reason: row.disabled_reason,
                failing_since: row.failing_since,
                previous_secret_until: row.previous_secret_until,
                created_at: row.created_at,
                updated_at: row.updated_at,
            },
            secret: row.secret_sealed,
            previous_secret: row.previous_secret_sealed,
        })
    }
}

const ENDPOINT: &str = "id, display_name, url, kinds, channel_id, schedule, active, disabled_reason, secret_sealed, \
                        previous_secret_sealed, previous_secret_until, failing_since, created_at, updated_at";

/// What selects endpoints.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Filter {
    /// Only active or inactive ones.
    pub active: Option<bool>,
}

/// Adds an endpoint, with its place at the present end of the log.
pub async fn insert(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    sealed: &SealedEndpoint,
) -> Result<(), Error> {
    let endpoint = &sealed.endpoint;
    sqlx::query(
        "with placed as (
             insert into endpoint_places (workspace_id, endpoint_id, epoch, position, fed_at)
             select $1, $2, coalesce(max(l.epoch), 1), coalesce(max(l.last_position), 0), date_trunc('milliseconds', $9)
             from event_logs l where l.workspace_id = $1
         )
         insert into webhook_endpoints (workspace_id, id, display_name, url, kinds, channel_id, schedule, active,
             created_at, updated_at, secret_sealed)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9, $10)",
    )
    .bind(workspace.0)
    .bind(endpoint.id.0)
    .bind(&endpoint.display_name)
    .bind(&endpoint.url)
    .bind(&endpoint.kinds)
    .bind(endpoint.channel.map(|id| id.0))
    .bind(endpoint.schedule.as_str())
    .bind(endpoint.active)
    .bind(endpoint.created_at)
    .bind(&sealed.secret)
    .execute(conn)
    .await?;
    Ok(())
}

/// Reads an endpoint; with `lock`, keeps others from changing it until the transaction ends.
pub async fn find(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    id: EndpointId,
    lock: bool,
) -> Result<Option<SealedEndpoint>, Error> {
    let lock = if lock { "for update" } else { "" };
    let row: Option<EndpointRow> = sqlx::query_as(AssertSqlSafe(format!(
        "select {ENDPOINT} from webhook_endpoints
         where workspace_id = $1 and id = $2 and deleted_at is null {lock}"
    )))
    .bind(workspace.0)
    .bind(id.0)
    .fetch_optional(conn)
    .await?;
    row.map(TryInto::try_into).transpose()
}

/// Counts a workspace's endpoints, deleted ones left out. Until the transaction ends nobody else counts them: who counts is
/// about to add one.
pub async fn count_alone(conn: &mut PgConnection, workspace: WorkspaceId) -> Result<i64, Error> {
    sqlx::query("select pg_advisory_xact_lock(hashtextextended('endpoints ' || $1::text, 0))")
        .bind(workspace.0)
        .execute(&mut *conn)
        .await?;
    Ok(sqlx::query_scalar(
        "select count(*) from webhook_endpoints where workspace_id = $1 and deleted_at is null",
    )
    .bind(workspace.0)
    .fetch_one(conn)
    .await?)
}

/// Lists endpoints, oldest first.
pub async fn list(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    filter: &Filter,
    after: Option<EndpointId>,
    limit: usize,
) -> Result<Vec<Endpoint>, Error> {
    let rows: Vec<EndpointRow> = sqlx::query_as(AssertSqlSafe(format!(
        "select {ENDPOINT} from webhook_endpoints
         where workspace_id = $1 and deleted_at is null and ($2::uuid is null or id > $2)
             and ($3::boolean is null or active = $3)
         order by id limit $4"
    )))
    .bind(workspace.0)
    .bind(after.map(|id| id.0))
    .bind(filter.active)
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(|row| SealedEndpoint::try_from(row).map(|sealed| sealed.endpoint)).collect()
}

/// Writes all that can change of an endpoint that [`find`] has locked.
pub async fn update(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    sealed: &SealedEndpoint,
) -> Result<(), Error> {
    let endpoint = &sealed.endpoint;
    sqlx::query(
        "update webhook_endpoints
         set display_name = $3, url = $4, kinds = $5, channel_id = $6, schedule = $7, active = $8, disabled_reason = $9,
             secret_sealed = $10, previous_secret_sealed = $11, previous_secret_until = $12, failing_since = $13,
             updated_at = $14
         where workspace_id = $1 and id = $2",
    )
    .bind(workspace.0)
    .bind(endpoint.id.0)
    .bind(&endpoint.display_name)
    .bind(&endpoint.url)
    .bind(&endpoint.kinds)
    .bind(endpoint.channel.map(|id| id.0))
    .bind(endpoint.schedule.as_str())
    .bind(endpoint.active)
    .bind(&endpoint.disabled_reason)
    .bind(&sealed.secret)
    .bind(&sealed.previous_secret)
    .bind(endpoint.previous_secret_until)
    .bind(endpoint.failing_since)
    .bind(endpoint.updated_at)
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes an endpoint that [`find`] has locked, and has all that waits for it looked at now: it will be found dead.
pub async fn delete(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    id: EndpointId,
    now: Timestamp,
) -> Result<(), Error> {
    sqlx::query(
        "update webhook_endpoints set deleted_at = $3, updated_at = $3, active = false where workspace_id = $1 and id = $2",
    )
    .bind(workspace.0)
    .bind(id.0)
    .bind(now)
    .execute(&mut *conn)
    .await?;
    make_due(conn, workspace, id, now, false).await
}

/// Has what is parked for an endpoint go on, after it was made active under [`find`]'s lock.
pub async fn wake(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    id: EndpointId,
    now: Timestamp,
) -> Result<(), Error> {
    make_due(conn, workspace, id, now, true).await
}

async fn make_due(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    id: EndpointId,
    now: Timestamp,
    only_parked: bool,
) -> Result<(), Error> {
    sqlx::query(
        "with woken as (
             update jobs j set run_at = $3
             from dispatches y
             where j.workspace_id = $1 and j.lane = 'hook' and y.workspace_id = $1 and y.id = j.target_id
                 and y.endpoint_id = $2 and (j.run_at = 'infinity' or not $4)
             returning j.subject_id, j.target_id
         ),
         shown as (
             update dispatches y set next_attempt_at = $3
             from woken w where y.workspace_id = $1 and y.id = w.target_id and y.state = 'PENDING'
         ),
         -- In one order with everybody else, and last.
         keys as (
             select k.subject_id from job_keys k
             where k.workspace_id = $1 and k.lane = 'hook' and k.subject_id in (select subject_id from woken)
             order by k.subject_id
             for update
         )
         update job_keys k set next_run_at = $3
         from keys where k.workspace_id = $1 and k.lane = 'hook' and k.subject_id = keys.subject_id",
    )
    .bind(workspace.0)
    .bind(id.0)
    .bind(now)
    .bind(only_parked)
    .execute(&mut *conn)
    .await?;
    notify(conn).await
}

/// Tells every process, when the transaction commits, that dispatches may be due.
pub async fn notify(conn: &mut PgConnection) -> Result<(), Error> {
    sqlx::query("select pg_notify('switchboard_hooks', '')").execute(conn).await?;
    Ok(())
}

/// Which workspaces have an endpoint that reads on. Crosses workspaces.
pub async fn fed_workspaces(pool: &PgPool) -> Result<Vec<WorkspaceId>, Error> {
    let ids: Vec<Uuid> = sqlx::query_scalar("select system_fed_workspaces()").fetch_all(pool).await?;
    Ok(ids.into_iter().map(Into::into).collect())
}

/// How far a feeding came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub struct Fed {
    /// How many dispatches it made.
    pub dispatched: i32,
    /// Whether there is more to read: call again at once.
    pub more: bool,
}

/// Reads the log on for the endpoints of these workspaces, and makes dispatches. Crosses workspaces.
pub async fn feed(
    pool: &PgPool,
    workspaces: &[WorkspaceId],
    limit: i32,
    now: Timestamp,
) -> Result<Fed, Error> {
    Ok(sqlx::query_as("select * from system_feed_endpoints($1, $2, $3)")
        .bind(workspaces.iter().map(|id| id.0).collect::<Vec<_>>())
        .bind(limit)
        .bind(now)
        .fetch_one(pool)
        .await?)
}
