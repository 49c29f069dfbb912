//! The sources that integrations with CRMs ask for. Crosses workspaces where the clock, or a start, goes for all of them.

use domain::{IntegrationId, Timestamp, WorkspaceId, source::SourceState};
use serde_json::Value;
use sqlx::{FromRow, PgConnection, PgPool};
use uuid::Uuid;

use crate::Error;

/// What is asked about.
#[derive(Debug, Clone)]
pub struct Kept {
    /// Which asking this is.
    pub generation: i64,
    /// How it stands.
    pub state: SourceState,
    /// How often in a row it could not be had.
    pub failures: u32,
}

#[derive(FromRow)]
struct KeptRow {
    generation: i64,
    state: String,
    failures: i32,
}

/// Reads how it stands. `None`: it is not asked for.
pub async fn find(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    id: IntegrationId,
) -> Result<Option<Kept>, Error> {
    let row: Option<KeptRow> = sqlx::query_as(
        "select generation, state, failures from integration_sources where workspace_id = $1 and id = $2",
    )
    .bind(workspace.0)
    .bind(id.0)
    .fetch_optional(conn)
    .await?;
    let read = |row: KeptRow| {
        let state = SourceState::parse(&row.state).ok_or_else(|| Error::Inconsistent {
            table: "integration_sources",
            column: "state",
            id: id.to_string(),
        })?;
        Ok(Kept { generation: row.generation, state, failures: row.failures.unsigned_abs() })
    };
    row.map(read).transpose()
}

/// Has the CRM asked soon for an integration's source: it is asked for from now on, or something changed.
pub async fn hurry(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    id: IntegrationId,
    now: Timestamp,
) -> Result<(), Error> {
    sqlx::query(
        "insert into integration_sources as s (workspace_id, id, generation, state, name, failures, check_due_at)
         values ($1, $2, 1, 'PENDING', '', 0, $3)
         on conflict (workspace_id, id) do update
             set generation = s.generation + 1, failures = 0, check_due_at = excluded.check_due_at",
    )
    .bind(workspace.0)
    .bind(id.0)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// Has the CRM asked soon where somebody was waited for who lets us in.
pub async fn let_in(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    id: IntegrationId,
    now: Timestamp,
) -> Result<(), Error> {
    sqlx::query(
        "update integration_sources set generation = generation + 1, failures = 0, check_due_at = $3
         where workspace_id = $1 and id = $2 and check_due_at = 'infinity'",
    )
    .bind(workspace.0)
    .bind(id.0)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets an integration's: it is deleted, or asks for none any more. Answers whether there was any.
pub async fn delete(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    id: IntegrationId,
) -> Result<bool, Error> {
    let deleted = sqlx::query("delete from integration_sources where workspace_id = $1 and id = $2")
        .bind(workspace.0)
        .bind(id.0)
        .execute(conn)
        .await?;
    Ok(deleted.rows_affected() > 0)
}

/// Takes integrations whose CRM is to be asked, until then. Crosses workspaces.
pub async fn due(
    pool: &PgPool,
    now: Timestamp,
    until: Timestamp,
    limit: i32,
) -> Result<Vec<(WorkspaceId, IntegrationId)>, Error> {
    let rows: Vec<(Uuid, Uuid)> = sqlx::query_as("select * from system_due_sources($1, $2, $3)")
        .bind(now)
        .bind(until)
        .bind(limit)
        .fetch_all(pool)
        .await?;
    Ok(rows.into_iter().map(|(workspace, id)| (workspace.into(), id.into())).collect())
}

/// An integration with its settings.
#[derive(Debug, Clone)]
pub struct WithSettings {
    /// Whose.
    pub workspace: WorkspaceId,
    /// Which.
    pub id: IntegrationId,
    /// Its vendor.
    pub vendor: String,
    /// Its settings.
    pub settings: Value,
}

/// Lists integrations with some vendors, page by page. Crosses workspaces.
pub async fn integrations_of(
    pool: &PgPool,
    vendors: &[&str],
    after: (WorkspaceId, IntegrationId),
    limit: i32,
) -> Result<Vec<WithSettings>, Error> {
    let rows: Vec<(Uuid, Uuid, String, Value)> =
        sqlx::query_as("select * from system_integrations_of($1, $2, $3, $4)")
            .bind(vendors)
            .bind(after.0.0)
            .bind(after.1.0)
            .bind(limit)
            .fetch_all(pool)
            .await?;
    let read = |(workspace, id, vendor, settings): (Uuid, Uuid, _, _)| WithSettings {
        workspace: workspace.into(),
        id: id.into(),
        vendor,
        settings,
    };
    Ok(rows.into_iter().map(read).collect())
}

/// Has CRMs asked soon, unless they were asked since `asked_before`. Crosses workspaces.
pub async fn wake(
    pool: &PgPool,
    integrations: &[(WorkspaceId, IntegrationId)],
    now: Timestamp,
    asked_before: Timestamp,
) -> Result<(), Error> {
    sqlx::query("select system_wake_sources($1, $2, $3, $4)")
        .bind(integrations.iter().map(|(workspace, _)| workspace.0).collect::<Vec<_>>())
        .bind(integrations.iter().map(|(_, id)| id.0).collect::<Vec<_>>())
        .bind(now)
        .bind(asked_before)
        .execute(pool)
        .await?;
    Ok(())
}

/// What was found out.
#[derive(Debug)]
pub struct Found<'a> {
    /// Which asking it is about: another one by now makes it worthless.
    pub generation: i64,
    /// How it stands.
    pub state: SourceState,
    /// The source's name.
    pub name: &'a str,
    /// Our id of it. `None`: what is known stays.
    pub external_id: Option<&'a str>,
    /// Why it can't be had, or what is not as the settings ask.
    pub error: Option<&'a str>,
    /// What to do about that.
    pub remedy: Option<&'a str>,
    /// How often in a row it could not be had, this time included.
    pub failures: u32,
    /// When the CRM is asked again. `None`: when somebody lets us in.
    pub next: Option<Timestamp>,
    /// Whether it was asked now.
    pub asked: bool,
}

/// Keeps what was found out. Answers whether it was kept: not where something changed meanwhile.
pub async fn note(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    id: IntegrationId,
    found: &Found<'_>,
    now: Timestamp,
) -> Result<bool, Error> {
    let plain = |text: Option<&str>| text.map(|text| text.replace('\0', ""));
    let noted = sqlx::query(
        "update integration_sources s
         set state = $4, name = $5, external_id = coalesce($6, s.external_id), last_error = $7, remedy = $8, failures = $9,
             check_due_at = coalesce($10, 'infinity'), checked_at = case when $11 then $12 else s.checked_at end
         where s.workspace_id = $1 and s.id = $2 and s.generation = $3",
    )
    .bind(workspace.0)
    .bind(id.0)
    .bind(found.generation)
    .bind(found.state.as_str())
    .bind(found.name.replace('\0', ""))
    .bind(plain(found.external_id))
    .bind(plain(found.error))
    .bind(plain(found.remedy))
    .bind(i32::try_from(found.failures).unwrap_or(i32::MAX))
    .bind(found.next)
    .bind(found.asked)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(noted.rows_affected() == 1)
}
