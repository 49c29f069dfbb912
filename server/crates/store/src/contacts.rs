//! Contacts. They are written by the statements that record what tells of them.

use domain::{
    ContactId, IntegrationId, Timestamp, WorkspaceId,
    contact::{Contact, Identity},
};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection, types::Json};
use uuid::Uuid;

use crate::Error;

/// What selects contacts.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Filter {
    /// Only this one.
    pub contact: Option<ContactId>,
    /// Only those that some vendor calls so.
    pub external_id: Option<String>,
}

#[derive(Deserialize)]
struct IdentityRow {
    vendor: String,
    integration_id: Uuid,
    external_id: String,
}

#[derive(FromRow)]
struct ContactRow {
    id: Uuid,
    name: String,
    phone: String,
    email: String,
    created_at: Timestamp,
    updated_at: Timestamp,
    identities: Json<Vec<IdentityRow>>,
}

impl From<ContactRow> for Contact {
    fn from(row: ContactRow) -> Self {
        let identity = |row: IdentityRow| Identity {
            vendor: row.vendor,
            integration: (!row.integration_id.is_nil()).then_some(IntegrationId(row.integration_id)),
            external_id: row.external_id,
        };
        Self {
            id: row.id.into(),
            name: row.name,
            phone: row.phone,
            email: row.email,
            identities: row.identities.0.into_iter().map(identity).collect(),
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

/// Lists contacts with their identities, newest first.
pub async fn list(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    filter: &Filter,
    before: Option<ContactId>,
    limit: usize,
) -> Result<Vec<Contact>, Error> {
    let rows: Vec<ContactRow> = sqlx::query_as(
        "select c.id, c.name, c.phone, c.email, c.created_at, c.updated_at,
             coalesce((
                 select jsonb_agg(jsonb_build_object(
                     'vendor', i.vendor, 'integration_id', i.integration_id, 'external_id', i.external_id)
                     order by i.created_at, i.vendor, i.external_id)
                 from contact_identities i where i.workspace_id = c.workspace_id and i.contact_id = c.id
             ), '[]') as identities
         from contacts c
         where c.workspace_id = $1 and ($2::uuid is null or c.id < $2) and ($3::uuid is null or c.id = $3)
             and ($4::text is null or c.id in (
                 select i.contact_id from contact_identities i where i.workspace_id = $1 and i.external_id = $4))
         order by c.id desc limit $5",
    )
    .bind(workspace.0)
    .bind(before.map(|id| id.0))
    .bind(filter.contact.map(|id| id.0))
    .bind(filter.external_id.as_deref())
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}
