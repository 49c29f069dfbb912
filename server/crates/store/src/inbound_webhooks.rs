//! Inbound webhooks: raw calls, kept with what became of them.

use std::collections::BTreeMap;

use domain::{
    ChannelId, InboundWebhookId, IntegrationId, Timestamp, WorkspaceId,
    inbound::{InboundWebhook, Outcome},
};
use serde::Serialize;
use sqlx::{AssertSqlSafe, FromRow, PgConnection, types::Json};
use uuid::Uuid;

use crate::Error;

#[derive(FromRow)]
struct InboundWebhookRow {
    id: Uuid,
    channel_id: Option<Uuid>,
    integration_id: Option<Uuid>,
    route: String,
    headers: Json<BTreeMap<String, String>>,
    body: Vec<u8>,
    outcome: String,
    reason: Option<String>,
    message_id: Option<Uuid>,
    dialogue_id: Option<Uuid>,
    received_at: Timestamp,
}

impl TryFrom<InboundWebhookRow> for InboundWebhook {
    type Error = Error;

    fn try_from(row: InboundWebhookRow) -> Result<Self, Error> {
        let outcome = Outcome::parse(&row.outcome).ok_or_else(|| Error::Inconsistent {
            table: "inbound_webhooks",
            column: "outcome",
            id: row.id.to_string(),
        })?;
        Ok(Self {
            id: row.id.into(),
            channel: row.channel_id.map(Into::into),
            integration: row.integration_id.map(Into::into),
            route: row.route,
            headers: row.headers.0,
            body: row.body,
            outcome,
            reason: row.reason,
            message: row.message_id.map(Into::into),
            dialogue: row.dialogue_id.map(Into::into),
            received_at: row.received_at,
        })
    }
}

const INBOUND_WEBHOOK: &str = "id, channel_id, integration_id, route, headers, body, outcome, reason, message_id, dialogue_id, received_at";

/// What selects inbound webhooks.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Filter {
    /// Only of this channel.
    pub channel: Option<ChannelId>,
    /// Only of this integration.
    pub integration: Option<IntegrationId>,
    /// Only with this outcome.
    pub outcome: Option<Outcome>,
}

/// Adds one that records no message. All others are added with theirs, by [`crate::record`].
pub async fn insert(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    webhook: &InboundWebhook,
) -> Result<(), Error> {
    sqlx::query(
        "insert into inbound_webhooks (workspace_id, id, channel_id, route, headers, body, outcome, reason, received_at,
             message_id, dialogue_id)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(workspace.0)
    .bind(webhook.id.0)
    .bind(webhook.channel.map(|id| id.0))
    .bind(&webhook.route)
    .bind(Json(&webhook.headers))
    .bind(&webhook.body)
    .bind(webhook.outcome.as_str())
    .bind(&webhook.reason)
    .bind(webhook.received_at)
    .bind(webhook.message.map(|id| id.0))
    .bind(webhook.dialogue.map(|id| id.0))
    .execute(conn)
    .await?;
    Ok(())
}

/// Reads one.
pub async fn find(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    id: InboundWebhookId,
) -> Result<Option<InboundWebhook>, Error> {
    let row: Option<InboundWebhookRow> = sqlx::query_as(AssertSqlSafe(format!(
        "select {INBOUND_WEBHOOK} from inbound_webhooks where workspace_id = $1 and id = $2"
    )))
    .bind(workspace.0)
    .bind(id.0)
    .fetch_optional(conn)
    .await?;
    row.map(TryInto::try_into).transpose()
}

/// Lists them, newest first.
pub async fn list(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    filter: &Filter,
    before: Option<InboundWebhookId>,
    limit: usize,
) -> Result<Vec<InboundWebhook>, Error> {
    let rows: Vec<InboundWebhookRow> = sqlx::query_as(AssertSqlSafe(format!(
        "select {INBOUND_WEBHOOK} from inbound_webhooks
         where workspace_id = $1 and ($2::uuid is null or id < $2) and ($3::uuid is null or channel_id = $3)
             and ($4::text is null or outcome = $4) and ($6::uuid is null or integration_id = $6)
         order by id desc limit $5"
    )))
    .bind(workspace.0)
    .bind(before.map(|id| id.0))
    .bind(filter.channel.map(|id| id.0))
    .bind(filter.outcome.map(Outcome::as_str))
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .bind(filter.integration.map(|id| id.0))
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}
