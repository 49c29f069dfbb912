//! Integrations: the workspaces' connections to vendors.

use std::collections::BTreeMap;

use domain::{
    IntegrationId, Timestamp, WorkspaceId,
    integration::{Finding, Grant, Health, Hook, HookState, Integration, Trouble},
    source::{OwnSource, SourceState},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::{AssertSqlSafe, FromRow, PgConnection, types::Json};
use uuid::Uuid;

use crate::Error;

/// An integration with its sealed secrets.
#[derive(Debug, Clone)]
pub struct SealedIntegration {
    /// The integration.
    pub integration: Integration,
    /// Its own key, sealed with a key of the ring.
    pub data_key: Vec<u8>,
    /// Its credentials, sealed with its own key.
    pub credentials: Vec<u8>,
}

/// A moment inside JSON.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Moment(#[serde(with = "time::serde::rfc3339")] Timestamp);

#[derive(FromRow)]
struct IntegrationRow {
    id: Uuid,
    vendor: String,
    display_name: String,
    settings: Value,
    data_key_sealed: Vec<u8>,
    credentials_sealed: Vec<u8>,
    credentials_set: Json<BTreeMap<String, Moment>>,
    generation: i64,
    health: String,
    last_error: Option<String>,
    remedy: Option<String>,
    last_error_at: Option<Timestamp>,
    checked_at: Option<Timestamp>,
    granted_at: Option<Timestamp>,
    refreshed_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    secret_suffix: Option<String>,
    secret_at: Option<Timestamp>,
    hook_state: Option<String>,
    hook_error: Option<String>,
    hook_checked_at: Option<Timestamp>,
    source_state: Option<String>,
    source_name: Option<String>,
    source_external_id: Option<String>,
    source_error: Option<String>,
    source_remedy: Option<String>,
    source_checked_at: Option<Timestamp>,
    source_due_at: Option<Timestamp>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl TryFrom<IntegrationRow> for SealedIntegration {
    type Error = Error;

    fn try_from(row: IntegrationRow) -> Result<Self, Error> {
        let health = Health::parse(&row.health).ok_or_else(|| Error::Inconsistent {
            table: "integrations",
            column: "health",
            id: row.id.to_string(),
        })?;
        Ok(Self {
            integration: Integration {
                id: row.id.into(),
                vendor: row.vendor,
                display_name: row.display_name,
                settings: row.settings,
                credentials: row.credentials_set.0.into_iter().map(|(name, at)| (name, at.0)).collect(),
                generation: row.generation,
                health,
                last_error: row.last_error.zip(row.last_error_at).map(|(detail, at)| Trouble {
                    detail,
                    remedy: row.remedy.unwrap_or_default(),
                    at,
                }),
                checked_at: row.checked_at,
                grant: row.granted_at.zip(row.refreshed_at).map(|(granted_at, refreshed_at)| Grant {
                    granted_at,
                    refreshed_at,
                    expires_at: row.expires_at,
                }),
                hook: row.secret_suffix.zip(row.secret_at).map(|(secret_suffix, secret_at)| Hook {
                    secret_suffix,
                    secret_at,
                    state: row.hook_state.as_deref().and_then(HookState::parse).unwrap_or(HookState::Pending),
                    last_error: row.hook_error,
                    checked_at: row.hook_checked_at,
                }),
                source: row.source_state.as_deref().map(|state| OwnSource {
                    state: SourceState::parse(state).unwrap_or(SourceState::Pending),
                    external_id: row.source_external_id,
                    name: row.source_name.unwrap_or_default(),
                    last_error: row.source_error,
                    remedy: row.source_remedy,
                    checked_at: row.source_checked_at,
                    due_at: row.source_due_at,
                }),
                created_at: row.created_at,
                updated_at: row.updated_at,
            },
            data_key: row.data_key_sealed,
            credentials: row.credentials_sealed,
        })
    }
}

const INTEGRATION: &str = "i.id, i.vendor, i.display_name, i.settings, i.data_key_sealed, i.credentials_sealed, \
                           i.credentials_set, i.generation, i.health, i.last_error, i.remedy, i.last_error_at, i.checked_at, \
                           i.created_at, i.updated_at, g.granted_at, g.refreshed_at, g.expires_at, h.secret_suffix, \
                           h.secret_at, h.state as hook_state, h.last_error as hook_error, h.checked_at as hook_checked_at, \
                           s.state as source_state, s.name as source_name, s.external_id as source_external_id, \
                           s.last_error as source_error, s.remedy as source_remedy, s.checked_at as source_checked_at, \
                           nullif(s.check_due_at, 'infinity') as source_due_at";
const FROM: &str = "integrations i left join integration_grants g on g.workspace_id = i.workspace_id and g.id = i.id \
     left join integration_hooks h on h.workspace_id = i.workspace_id and h.id = i.id \
     left join integration_sources s on s.workspace_id = i.workspace_id and s.id = i.id";

/// What selects integrations.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Filter {
    /// Only with this vendor.
    pub vendor: Option<String>,
}

/// How a row is kept until the transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Not at all.
    Free,
    /// Others may not delete it.
    There,
    /// Others may not change it.
    Unchanged,
}

fn set(credentials: &BTreeMap<String, Timestamp>) -> Json<BTreeMap<&str, Moment>> {
    Json(credentials.iter().map(|(name, at)| (name.as_str(), Moment(*at))).collect())
}

/// Adds an integration.
pub async fn insert(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    sealed: &SealedIntegration,
) -> Result<(), Error> {
    let integration = &sealed.integration;
    sqlx::query(
        "insert into integrations (workspace_id, id, vendor, display_name, settings, data_key_sealed, credentials_sealed,
             credentials_set, generation, health, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
    )
    .bind(workspace.0)
    .bind(integration.id.0)
    .bind(&integration.vendor)
    .bind(&integration.display_name)
    .bind(&integration.settings)
    .bind(&sealed.data_key)
    .bind(&sealed.credentials)
    .bind(set(&integration.credentials))
    .bind(integration.generation)
    .bind(integration.health.as_str())
    .bind(integration.created_at)
    .bind(integration.updated_at)
    .execute(conn)
    .await?;
    Ok(())
}

/// Reads an integration.
pub async fn find(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    id: IntegrationId,
    keep: Keep,
) -> Result<Option<SealedIntegration>, Error> {
    let lock = match keep {
        Keep::Free => "",
        Keep::There => "for key share of i",
        Keep::Unchanged => "for update of i",
    };
    let row: Option<IntegrationRow> = sqlx::query_as(AssertSqlSafe(format!(
        "select {INTEGRATION} from {FROM} where i.workspace_id = $1 and i.id = $2 {lock}"
    )))
    .bind(workspace.0)
    .bind(id.0)
    .fetch_optional(conn)
    .await?;
    row.map(TryInto::try_into).transpose()
}

/// Lists integrations, oldest first.
pub async fn list(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    filter: &Filter,
    after: Option<IntegrationId>,
    limit: usize,
) -> Result<Vec<Integration>, Error> {
    let rows: Vec<IntegrationRow> = sqlx::query_as(AssertSqlSafe(format!(
        "select {INTEGRATION} from {FROM}
         where i.workspace_id = $1 and ($2::uuid is null or i.id > $2) and ($3::text is null or i.vendor = $3)
         order by i.id limit $4"
    )))
    .bind(workspace.0)
    .bind(after.map(|id| id.0))
    .bind(&filter.vendor)
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(|row| SealedIntegration::try_from(row).map(|sealed| sealed.integration)).collect()
}

/// Writes all that can change of an integration that [`find`] has kept unchanged, its health included.
pub async fn update(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    sealed: &SealedIntegration,
) -> Result<(), Error> {
    let integration = &sealed.integration;
    let trouble = integration.last_error.as_ref();
    sqlx::query(
        "update integrations
         set display_name = $3, settings = $4, data_key_sealed = $5, credentials_sealed = $6, credentials_set = $7,
             generation = $8, health = $9, last_error = $10, remedy = $11, last_error_at = $12, checked_at = $13,
             updated_at = $14
         where workspace_id = $1 and id = $2",
    )
    .bind(workspace.0)
    .bind(integration.id.0)
    .bind(&integration.display_name)
    .bind(&integration.settings)
    .bind(&sealed.data_key)
    .bind(&sealed.credentials)
    .bind(set(&integration.credentials))
    .bind(integration.generation)
    .bind(integration.health.as_str())
    .bind(trouble.map(|trouble| &trouble.detail))
    .bind(trouble.map(|trouble| &trouble.remedy))
    .bind(trouble.map(|trouble| trouble.at))
    .bind(integration.checked_at)
    .bind(integration.updated_at)
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes what was found out about a generation of an integration, or about a pair of its tokens, and when it was checked, if
/// that is how. Answers whether its health is another now; a generation or a pair that has passed is left alone.
pub async fn set_health(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    id: IntegrationId,
    (generation, pair): (i64, Option<i64>),
    (health, trouble): &Finding,
    checked_at: Option<Timestamp>,
) -> Result<bool, Error> {
    let before: Option<String> = sqlx::query_scalar(
        "with before as (
             select health from integrations
             where workspace_id = $1 and id = $2 and generation = $3 and (health <> $4 or $8::timestamptz is not null)
                 and ($9::bigint is null or exists (
                     select 1 from integration_grants g where g.workspace_id = $1 and g.id = $2 and g.version = $9
                 ))
             for update
         )
         update integrations i
         set health = $4, last_error = $5, remedy = $6, last_error_at = $7, checked_at = coalesce($8, i.checked_at)
         from before b where i.workspace_id = $1 and i.id = $2
         returning b.health",
    )
    .bind(workspace.0)
    .bind(id.0)
    .bind(generation)
    .bind(health.as_str())
    .bind(trouble.as_ref().map(|trouble| trouble.detail.replace('\0', "")))
    .bind(trouble.as_ref().map(|trouble| trouble.remedy.replace('\0', "")))
    .bind(trouble.as_ref().map(|trouble| trouble.at))
    .bind(checked_at)
    .bind(pair)
    .fetch_optional(conn)
    .await?;
    Ok(before.is_some_and(|before| before != health.as_str()))
}

/// Counts the agents that use an integration.
pub async fn count_agents(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    id: IntegrationId,
) -> Result<i64, Error> {
    Ok(sqlx::query_scalar(
        "select count(*) from agents
         where workspace_id = $1 and (engine ->> 'integration' = $2 or profile #>> '{fallback_engine,integration}' = $2)
             and deleted_at is null",
    )
    .bind(workspace.0)
    .bind(id.to_string())
    .fetch_one(conn)
    .await?)
}

/// Counts the channels that are reached over an integration.
pub async fn count_channels(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    id: IntegrationId,
) -> Result<i64, Error> {
    Ok(sqlx::query_scalar(
        "select count(*) from channels where workspace_id = $1 and integration_id = $2 and deleted_at is null",
    )
    .bind(workspace.0)
    .bind(id.0)
    .fetch_one(conn)
    .await?)
}

/// Deletes an integration that [`find`] has kept unchanged, and its secrets with it.
pub async fn delete(conn: &mut PgConnection, workspace: WorkspaceId, id: IntegrationId) -> Result<(), Error> {
    sqlx::query("delete from integrations where workspace_id = $1 and id = $2")
        .bind(workspace.0)
        .bind(id.0)
        .execute(conn)
        .await?;
    Ok(())
}
