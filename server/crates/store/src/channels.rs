//! Channels.

use domain::{
    AgentId, ChannelId, Timestamp, WorkspaceId,
    channel::{Channel, Mirror},
    policy::DeliveryPolicy,
    token::TokenHash,
};
use serde_json::Value;
use sqlx::{AssertSqlSafe, FromRow, PgConnection, PgPool, types::Json};
use uuid::Uuid;

use crate::Error;

/// A channel with its sealed secrets.
#[derive(Debug, Clone)]
pub struct SealedChannel {
    /// The channel.
    pub channel: Channel,
    /// Its token, sealed.
    pub token: Vec<u8>,
    /// Its signing secret, sealed.
    pub signing_secret: Vec<u8>,
    /// The secret in the path that its vendor calls. `None`: the vendor signs its calls.
    pub hook_secret: Option<HookSecret>,
}

/// A secret in a path.
#[derive(Debug, Clone)]
pub struct HookSecret {
    /// The secret, sealed.
    pub sealed: Vec<u8>,
    /// The SHA-256 by which it is known.
    pub hash: Vec<u8>,
}

impl HookSecret {
    /// Compares in constant time.
    pub fn is(&self, given: &str) -> bool {
        TokenHash::of(given).matches(&self.hash)
    }
}

#[derive(FromRow)]
struct ChannelRow {
    id: Uuid,
    display_name: String,
    agent_id: Uuid,
    vendor: String,
    url: String,
    delivery_policy: Json<DeliveryPolicy>,
    active: bool,
    token_sealed: Vec<u8>,
    token_suffix: String,
    signing_secret_sealed: Vec<u8>,
    integration_id: Option<Uuid>,
    settings: Value,
    mirror_channel_id: Option<Uuid>,
    mirror_source: String,
    hook_secret_sealed: Option<Vec<u8>>,
    hook_secret_hash: Option<Vec<u8>>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl From<ChannelRow> for SealedChannel {
    fn from(row: ChannelRow) -> Self {
        Self {
            channel: Channel {
                id: row.id.into(),
                display_name: row.display_name,
                agent: row.agent_id.into(),
                vendor: row.vendor,
                url: row.url,
                integration: row.integration_id.map(Into::into),
                settings: row.settings,
                delivery_policy: row.delivery_policy.0,
                mirror: row
                    .mirror_channel_id
                    .map(|id| Mirror { channel: id.into(), source: row.mirror_source }),
                active: row.active,
                token_suffix: row.token_suffix,
                created_at: row.created_at,
                updated_at: row.updated_at,
            },
            token: row.token_sealed,
            signing_secret: row.signing_secret_sealed,
            hook_secret: row
                .hook_secret_sealed
                .zip(row.hook_secret_hash)
                .map(|(sealed, hash)| HookSecret { sealed, hash }),
        }
    }
}

const CHANNEL: &str = "id, display_name, agent_id, vendor, url, delivery_policy, active, token_sealed, token_suffix, \
                       signing_secret_sealed, integration_id, settings, hook_secret_sealed, hook_secret_hash, \
                       mirror_channel_id, mirror_source, \
                       created_at, updated_at";

/// What selects channels.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Filter {
    /// Only of this agent.
    pub agent: Option<AgentId>,
    /// Only active or inactive ones.
    pub active: Option<bool>,
}

/// Adds a channel.
pub async fn insert(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    sealed: &SealedChannel,
) -> Result<(), Error> {
    let channel = &sealed.channel;
    sqlx::query(
        "insert into channels (workspace_id, id, display_name, agent_id, vendor, url, active, token_sealed,
             token_suffix, signing_secret_sealed, created_at, updated_at, delivery_policy, integration_id, settings,
             hook_secret_sealed, hook_secret_hash, mirror_channel_id, mirror_source)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)",
    )
    .bind(workspace.0)
    .bind(channel.id.0)
    .bind(&channel.display_name)
    .bind(channel.agent.0)
    .bind(&channel.vendor)
    .bind(&channel.url)
    .bind(channel.active)
    .bind(&sealed.token)
    .bind(&channel.token_suffix)
    .bind(&sealed.signing_secret)
    .bind(channel.created_at)
    .bind(channel.updated_at)
    .bind(Json(&channel.delivery_policy))
    .bind(channel.integration.map(|id| id.0))
    .bind(&channel.settings)
    .bind(sealed.hook_secret.as_ref().map(|secret| &secret.sealed))
    .bind(sealed.hook_secret.as_ref().map(|secret| &secret.hash))
    .bind(channel.mirror.as_ref().map(|mirror| mirror.channel.0))
    .bind(channel.mirror.as_ref().map_or("", |mirror| &mirror.source))
    .execute(conn)
    .await?;
    Ok(())
}

/// Reads a channel; with `lock`, keeps others from changing it until the transaction ends.
pub async fn find(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    id: ChannelId,
    lock: bool,
) -> Result<Option<SealedChannel>, Error> {
    let lock = if lock { "for update" } else { "" };
    let row: Option<ChannelRow> = sqlx::query_as(AssertSqlSafe(format!(
        "select {CHANNEL} from channels where workspace_id = $1 and id = $2 and deleted_at is null {lock}"
    )))
    .bind(workspace.0)
    .bind(id.0)
    .fetch_optional(conn)
    .await?;
    Ok(row.map(Into::into))
}

/// Finds the workspace of a channel. Crosses workspaces: for webhooks that name only the channel.
pub async fn resolve(pool: &PgPool, id: ChannelId) -> Result<Option<WorkspaceId>, Error> {
    let workspace: Option<Uuid> =
        sqlx::query_scalar("select system_resolve_channel($1)").bind(id.0).fetch_one(pool).await?;
    Ok(workspace.map(Into::into))
}

/// Lists channels, oldest first.
pub async fn list(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    filter: &Filter,
    after: Option<ChannelId>,
    limit: usize,
) -> Result<Vec<Channel>, Error> {
    let rows: Vec<ChannelRow> = sqlx::query_as(AssertSqlSafe(format!(
        "select {CHANNEL} from channels
         where workspace_id = $1 and deleted_at is null and ($2::uuid is null or id > $2)
             and ($3::uuid is null or agent_id = $3) and ($4::boolean is null or active = $4)
         order by id limit $5"
    )))
    .bind(workspace.0)
    .bind(after.map(|id| id.0))
    .bind(filter.agent.map(|id| id.0))
    .bind(filter.active)
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| SealedChannel::from(row).channel).collect())
}

/// Writes all that can change of a channel that [`find`] has locked.
pub async fn update(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    sealed: &SealedChannel,
) -> Result<(), Error> {
    let channel = &sealed.channel;
    sqlx::query(
        "update channels
         set display_name = $3, agent_id = $4, url = $5, active = $6, token_sealed = $7, token_suffix = $8,
             signing_secret_sealed = $9, updated_at = $10, delivery_policy = $11, integration_id = $12, settings = $13,
             hook_secret_sealed = $14, hook_secret_hash = $15, mirror_channel_id = $16,
             mirror_source = $17
         where workspace_id = $1 and id = $2",
    )
    .bind(workspace.0)
    .bind(channel.id.0)
    .bind(&channel.display_name)
    .bind(channel.agent.0)
    .bind(&channel.url)
    .bind(channel.active)
    .bind(&sealed.token)
    .bind(&channel.token_suffix)
    .bind(&sealed.signing_secret)
    .bind(channel.updated_at)
    .bind(Json(&channel.delivery_policy))
    .bind(channel.integration.map(|id| id.0))
    .bind(&channel.settings)
    .bind(sealed.hook_secret.as_ref().map(|secret| &secret.sealed))
    .bind(sealed.hook_secret.as_ref().map(|secret| &secret.hash))
    .bind(channel.mirror.as_ref().map(|mirror| mirror.channel.0))
    .bind(channel.mirror.as_ref().map_or("", |mirror| &mirror.source))
    .execute(conn)
    .await?;
    Ok(())
}

/// Marks a channel as deleted. Answers whether it was there.
pub async fn delete(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    id: ChannelId,
    now: Timestamp,
) -> Result<bool, Error> {
    // What was mirrored in its chats is mirrored nowhere now.
    sqlx::query(
        "update channels set mirror_channel_id = null where workspace_id = $1 and mirror_channel_id = $2",
    )
    .bind(workspace.0)
    .bind(id.0)
    .execute(&mut *conn)
    .await?;
    let changed = sqlx::query(
        "update channels set deleted_at = $3 where workspace_id = $1 and id = $2 and deleted_at is null",
    )
    .bind(workspace.0)
    .bind(id.0)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(changed.rows_affected() == 1)
}

/// Forgets what the governor has granted on a channel, so that another rate begins at once.
pub async fn reset_governor(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    id: ChannelId,
    now: Timestamp,
) -> Result<(), Error> {
    sqlx::query("delete from governors where workspace_id = $1 and key = 'channel:' || $2::text")
        .bind(workspace.0)
        .bind(id.0)
        .execute(&mut *conn)
        .await?;
    // What waits for its place asks for another; its key, and its job behind it, are due now.
    sqlx::query(
        "with waiting as (
             update deliveries set slot_at = null
             where workspace_id = $1 and channel_id = $2 and slot_at is not null and state in ('PENDING', 'UNCERTAIN')
             returning id, dialogue_id
         ),
         due as (
             update jobs j set run_at = $3 from waiting w
             where j.workspace_id = $1 and j.subject_id = w.dialogue_id and j.lane = 'out' and j.target_id = w.id
         )
         update job_keys k set next_run_at = $3 from waiting w
         where k.workspace_id = $1 and k.subject_id = w.dialogue_id and k.lane = 'out' and k.locked_by is null",
    )
    .bind(workspace.0)
    .bind(id.0)
    .bind(now)
    .execute(&mut *conn)
    .await?;
    sqlx::query("select pg_notify('switchboard_work', '')").execute(conn).await?;
    Ok(())
}

/// Whether the database knows a time zone by this name.
pub async fn knows_time_zone(conn: &mut PgConnection, name: &str) -> Result<bool, Error> {
    Ok(sqlx::query_scalar("select exists (select 1 from pg_timezone_names where name = $1)")
        .bind(name)
        .fetch_one(conn)
        .await?)
}
