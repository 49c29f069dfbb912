//! How the vendors of integrations call us, and the gathered write of what they tell. Crosses workspaces where it gathers.

use std::collections::BTreeMap;

use domain::{
    EventId, InboundWebhookId, IntegrationId, Timestamp, WorkspaceId,
    inbound::Outcome,
    integration::{Hook, HookState},
    token::TokenHash,
};
use serde_json::{Map, Value};
use sqlx::{FromRow, PgConnection, PgPool, types::Json};
use uuid::Uuid;

use crate::Error;

/// How an integration's vendor calls us.
#[derive(Debug, Clone)]
pub struct SealedHook {
    /// What everybody may know.
    pub hook: Hook,
    /// What a call's secret is compared with.
    pub hash: [u8; 32],
    /// The secret, sealed with a key of the ring.
    pub secret: Vec<u8>,
    /// The secret before it, as long as the vendor may call it still.
    pub stale: Option<Vec<u8>>,
    /// The account's id at the vendor, once the vendor has said it.
    pub account: Option<String>,
}

#[derive(FromRow)]
struct HookRow {
    id: Uuid,
    secret_hash: Vec<u8>,
    secret_sealed: Vec<u8>,
    secret_suffix: String,
    secret_at: Timestamp,
    stale_secret_sealed: Option<Vec<u8>>,
    account_id: Option<String>,
    state: String,
    last_error: Option<String>,
    checked_at: Option<Timestamp>,
}

impl TryFrom<HookRow> for SealedHook {
    type Error = Error;

    fn try_from(row: HookRow) -> Result<Self, Error> {
        let inconsistent =
            |column| Error::Inconsistent { table: "integration_hooks", column, id: row.id.to_string() };
        Ok(Self {
            hash: row.secret_hash.try_into().map_err(|_| inconsistent("secret_hash"))?,
            secret: row.secret_sealed,
            stale: row.stale_secret_sealed,
            account: row.account_id,
            hook: Hook {
                secret_suffix: row.secret_suffix,
                secret_at: row.secret_at,
                state: HookState::parse(&row.state).ok_or_else(|| inconsistent("state"))?,
                last_error: row.last_error,
                checked_at: row.checked_at,
            },
        })
    }
}

/// Finds the workspace of an integration that is named only by its id. Crosses workspaces.
pub async fn resolve(pool: &PgPool, id: IntegrationId) -> Result<Option<WorkspaceId>, Error> {
    let workspace: Option<Uuid> =
        sqlx::query_scalar("select system_resolve_integration($1)").bind(id.0).fetch_one(pool).await?;
    Ok(workspace.map(Into::into))
}

/// Reads how an integration's vendor calls us. `None`: it has no secret to do it with.
pub async fn find(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    id: IntegrationId,
) -> Result<Option<SealedHook>, Error> {
    let row: Option<HookRow> = sqlx::query_as(
        "select id, secret_hash, secret_sealed, secret_suffix, secret_at, stale_secret_sealed, account_id, state, last_error,
             checked_at
         from integration_hooks where workspace_id = $1 and id = $2",
    )
    .bind(workspace.0)
    .bind(id.0)
    .fetch_optional(conn)
    .await?;
    row.map(TryInto::try_into).transpose()
}

/// A fresh secret.
#[derive(Debug)]
pub struct NewSecret<'a> {
    /// What calls are compared with.
    pub hash: TokenHash,
    /// It, sealed.
    pub sealed: &'a [u8],
    /// Its last four characters.
    pub suffix: &'a str,
}

/// Gives an integration another secret, which is the only one from the commit on. The vendor is told soon.
pub async fn rotate(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    id: IntegrationId,
    secret: &NewSecret<'_>,
    now: Timestamp,
) -> Result<(), Error> {
    sqlx::query(
        "insert into integration_hooks as h
             (workspace_id, id, secret_hash, secret_sealed, secret_suffix, secret_at, state, check_due_at)
         values ($1, $2, $3, $4, $5, $6, 'PENDING', $6)
         on conflict (workspace_id, id) do update
             set secret_hash = excluded.secret_hash, secret_sealed = excluded.secret_sealed,
                 secret_suffix = excluded.secret_suffix, secret_at = excluded.secret_at,
                 stale_secret_sealed = coalesce(h.stale_secret_sealed, h.secret_sealed),
                 state = 'PENDING', last_error = null, check_due_at = excluded.check_due_at",
    )
    .bind(workspace.0)
    .bind(id.0)
    .bind(secret.hash.0.as_slice())
    .bind(secret.sealed)
    .bind(secret.suffix)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// Has the vendor asked soon, where there is a secret: something changed.
pub async fn hurry(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    id: IntegrationId,
    now: Timestamp,
) -> Result<(), Error> {
    sqlx::query("update integration_hooks set check_due_at = $3 where workspace_id = $1 and id = $2")
        .bind(workspace.0)
        .bind(id.0)
        .bind(now)
        .execute(conn)
        .await?;
    Ok(())
}

/// Deletes an integration's, with the integration.
pub async fn delete(conn: &mut PgConnection, workspace: WorkspaceId, id: IntegrationId) -> Result<(), Error> {
    sqlx::query("delete from integration_hooks where workspace_id = $1 and id = $2")
        .bind(workspace.0)
        .bind(id.0)
        .execute(conn)
        .await?;
    Ok(())
}

/// Takes hooks whose vendor is to be asked, until then. Crosses workspaces.
pub async fn due(
    pool: &PgPool,
    now: Timestamp,
    until: Timestamp,
    limit: i32,
) -> Result<Vec<(WorkspaceId, IntegrationId)>, Error> {
    let rows: Vec<(Uuid, Uuid)> = sqlx::query_as("select * from system_due_hooks($1, $2, $3)")
        .bind(now)
        .bind(until)
        .bind(limit)
        .fetch_all(pool)
        .await?;
    Ok(rows.into_iter().map(|(workspace, id)| (workspace.into(), id.into())).collect())
}

/// What was found out at the vendor.
#[derive(Debug)]
pub struct Found<'a> {
    /// The secret that it was found out with: another one by now makes it worthless.
    pub hash: &'a [u8],
    /// The account's id, if the vendor said it.
    pub account: Option<&'a str>,
    /// How it stands.
    pub state: HookState,
    /// Why it doesn't call us.
    pub error: Option<&'a str>,
    /// Whether it calls the secret before this one no more.
    pub stale_gone: bool,
    /// When it is asked again. `None`: never.
    pub next: Option<Timestamp>,
}

/// Keeps what was found out. Answers the state before; `None`: the secret is another one by now.
pub async fn note(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    id: IntegrationId,
    found: &Found<'_>,
    now: Timestamp,
) -> Result<Option<HookState>, Error> {
    let before: Option<String> = sqlx::query_scalar(
        "with before as (
             select state from integration_hooks where workspace_id = $1 and id = $2 and secret_hash = $3 for update
         )
         update integration_hooks h
         set account_id = coalesce($4, h.account_id), state = $5, last_error = $6,
             stale_secret_sealed = case when $7 then null else h.stale_secret_sealed end,
             check_due_at = coalesce($8, 'infinity'), checked_at = $9
         from before b where h.workspace_id = $1 and h.id = $2
         returning b.state",
    )
    .bind(workspace.0)
    .bind(id.0)
    .bind(found.hash)
    .bind(found.account)
    .bind(found.state.as_str())
    .bind(found.error.map(|error| error.replace('\0', "")))
    .bind(found.stale_gone)
    .bind(found.next)
    .bind(now)
    .fetch_optional(conn)
    .await?;
    Ok(before.and_then(|before| HookState::parse(&before)))
}

/// A call to record, with what it tells.
#[derive(Debug, Clone)]
pub struct NewCall {
    /// The raw call's id.
    pub id: InboundWebhookId,
    /// Whose.
    pub workspace: WorkspaceId,
    /// Of which integration.
    pub integration: IntegrationId,
    /// The door it came through.
    pub route: &'static str,
    /// Its headers, redacted.
    pub headers: BTreeMap<String, String>,
    /// Its body.
    pub raw: Vec<u8>,
    /// Why it could not be understood. `None`: it was.
    pub reason: Option<String>,
    /// What it tells.
    pub events: Vec<ToldEvent>,
    /// When it came.
    pub at: Timestamp,
}

/// Something that a call tells.
#[derive(Debug, Clone)]
pub struct ToldEvent {
    /// The event's id, if it is new.
    pub id: EventId,
    /// Its type.
    pub kind: &'static str,
    /// What it is about.
    pub subject: Uuid,
    /// What makes a repeat known.
    pub key: String,
    /// Whether the key is this event's for ever.
    pub lasting: bool,
    /// Further facts.
    pub data: Map<String, Value>,
}

/// Records calls in one transaction; what was told before is not told again. Answers for each in turn.
pub async fn record(conn: &mut PgConnection, calls: &[NewCall]) -> Result<Vec<Outcome>, Error> {
    let told: Vec<(i32, &ToldEvent)> =
        (1..).zip(calls).flat_map(|(nr, call)| call.events.iter().map(move |event| (nr, event))).collect();
    let rows: Vec<(i32, String)> = sqlx::query_as(
        "select * from system_record_crm($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
    )
    .bind(calls.iter().map(|call| call.id.0).collect::<Vec<_>>())
    .bind(calls.iter().map(|call| call.workspace.0).collect::<Vec<_>>())
    .bind(calls.iter().map(|call| call.integration.0).collect::<Vec<_>>())
    .bind(calls.iter().map(|call| call.route).collect::<Vec<_>>())
    .bind(calls.iter().map(|call| Json(&call.headers)).collect::<Vec<_>>())
    .bind(calls.iter().map(|call| call.raw.as_slice()).collect::<Vec<_>>())
    .bind(calls.iter().map(|call| call.reason.as_deref()).collect::<Vec<_>>())
    .bind(calls.iter().map(|call| call.at).collect::<Vec<_>>())
    .bind(told.iter().map(|(nr, _)| *nr).collect::<Vec<_>>())
    .bind(told.iter().map(|(_, event)| event.id.0).collect::<Vec<_>>())
    .bind(told.iter().map(|(_, event)| event.kind).collect::<Vec<_>>())
    .bind(told.iter().map(|(_, event)| event.subject).collect::<Vec<_>>())
    .bind(told.iter().map(|(_, event)| event.key.as_str()).collect::<Vec<_>>())
    .bind(told.iter().map(|(_, event)| event.lasting).collect::<Vec<_>>())
    .bind(told.iter().map(|(_, event)| Json(&event.data)).collect::<Vec<_>>())
    .fetch_all(conn)
    .await?;
    let mut outcomes = vec![Outcome::Recorded; calls.len()];
    for (ord, outcome) in rows {
        let at = usize::try_from(ord - 1).unwrap_or(usize::MAX);
        if let (Some(place), Some(outcome)) = (outcomes.get_mut(at), Outcome::parse(&outcome)) {
            *place = outcome;
        }
    }
    Ok(outcomes)
}
