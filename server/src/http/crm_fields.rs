//! A CRM's fields over REST: `facts` of existing installations, part D. The same data as the gRPC method, in the JSON mapping
//! of protobuf.

use axum::{
    extract::{Query, State},
    response::Response,
};
use domain::{Error, Reason, crm::Entity, error::Violations};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use utoipa::ToSchema;

use super::{
    Shim,
    channels::{Parameters, caller, parameter},
    json as answer,
};
use crate::error::Problem;

/// The fields that an account has given its leads or contacts.
#[derive(ToSchema)]
#[expect(dead_code, non_snake_case, reason = "describes the JSON in the OpenAPI document")]
pub(super) struct FieldsBody {
    /// All of them: `ListFieldsResponse.fields`.
    fields: Vec<Value>,
    /// When the CRM said so.
    fetchTime: String,
}

/// Lists the fields of leads.
#[utoipa::path(get, path = "/api/crm/fields/leads", tag = "crm", security(("api_key" = [])),
    params(("integration_id" = Option<String>, Query, description = "The integration; else the workspace's only one with a CRM."),
        ("refresh" = Option<bool>, Query, description = "Asks the CRM now.")),
    responses((status = 200, body = FieldsBody), (status = 401, description = "AUTH_MISSING, TOKEN_UNKNOWN"),
        (status = 404, description = "INTEGRATION_NOT_FOUND"), (status = 409, description = "VENDOR_REFUSED"),
        (status = 422, description = "FIELD_INVALID"), (status = 503, description = "VENDOR_UNAVAILABLE")))]
pub(super) async fn lead_fields(
    State(shim): State<Shim>,
    headers: HeaderMap,
    query: Parameters,
) -> Result<Response, Problem> {
    fields(&shim, &headers, query, Entity::Lead).await
}

/// Lists the fields of contacts.
#[utoipa::path(get, path = "/api/crm/fields/contacts", tag = "crm", security(("api_key" = [])),
    params(("integration_id" = Option<String>, Query, description = "The integration; else the workspace's only one with a CRM."),
        ("refresh" = Option<bool>, Query, description = "Asks the CRM now.")),
    responses((status = 200, body = FieldsBody), (status = 401, description = "AUTH_MISSING, TOKEN_UNKNOWN"),
        (status = 404, description = "INTEGRATION_NOT_FOUND"), (status = 409, description = "VENDOR_REFUSED"),
        (status = 422, description = "FIELD_INVALID"), (status = 503, description = "VENDOR_UNAVAILABLE")))]
pub(super) async fn contact_fields(
    State(shim): State<Shim>,
    headers: HeaderMap,
    query: Parameters,
) -> Result<Response, Problem> {
    fields(&shim, &headers, query, Entity::Contact).await
}

async fn fields(
    shim: &Shim,
    headers: &HeaderMap,
    query: Parameters,
    of: Entity,
) -> Result<Response, Problem> {
    let caller = caller(shim, headers).await?;
    let Query(mut query) = query.map_err(|_| {
        Error::field(Reason::FieldInvalid, "query", "must be name=value pairs with & between")
    })?;
    let mut violations = Violations::default();
    let integration = parameter(&mut query, "integration_id", &mut violations).map(|id| id.parse());
    violations.require(!matches!(integration, Some(Err(_))), "integration_id", "must be a UUID");
    let refresh = match parameter(&mut query, "refresh", &mut violations).as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => {
            violations.add("refresh", "must be true or false");
            false
        }
    };
    violations.finish()?;
    let integration = integration.and_then(Result::ok);
    let listed = shim.app.list_crm_fields(&caller, integration, of, refresh).await?;
    let fields = listed.items.iter().map(|field| {
        let choices = field.choices.iter();
        let choices = choices.map(|one| json!({ "id": one.id, "value": one.value, "code": one.code }));
        json!({
            "id": field.id, "code": field.code, "displayName": field.name, "kind": field.kind,
            "choices": choices.collect::<Vec<_>>(), "required": field.required, "computed": field.computed,
        })
    });
    let fetched_at = listed.fetched_at.format(&Rfc3339).unwrap_or_default();
    let body = json!({ "fields": fields.collect::<Vec<_>>(), "fetchTime": fetched_at });
    Ok(answer(StatusCode::OK, &body))
}
