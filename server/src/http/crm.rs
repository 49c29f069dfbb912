//! What CRMs call when something happens in an account.

use app::crm_hooks::{Door, refused};
use axum::{
    extract::{Path, Request, State, rejection::PathRejection},
    response::Response,
};
use domain::{IntegrationId, inbound::Outcome};
use http::{HeaderValue, StatusCode};
use secrecy::SecretString;
use serde_json::json;

use super::{Shim, body, channels::PathText, json as answer};
use crate::error::Problem;

/// The id in a path; one that is none is as unknown as any other.
fn id(text: &str) -> Result<IntegrationId, Problem> {
    text.parse().map_err(|_| Problem(refused()))
}

fn taken(outcome: Outcome) -> Response {
    let mut response = answer(StatusCode::OK, &json!({ "status": "ok" }));
    response.headers_mut().insert("switchboard-outcome", HeaderValue::from_static(outcome.as_str()));
    response
}

/// Takes what a CRM tells of the account of an integration: a form with PHP's brackets (amoCRM, Kommo), or JSON of the same tree.
/// The secret is the one that `RotateWebhookSecret` gave last. The 200 comes when all that is told is on disk; what can't be
/// understood is kept, and answered with 200, too.
#[utoipa::path(post, path = "/api/webhooks/crm/{integration_id}/{secret}", tag = "webhooks",
    params(("integration_id" = String, Path, description = "The integration's id."),
        ("secret" = String, Path, description = "Its secret.")),
    responses((status = 200), (status = 401, description = "SIGNATURE_INVALID"),
        (status = 408, description = "BODY_TIMEOUT"), (status = 413, description = "BODY_TOO_LARGE"),
        (status = 503, description = "OVERLOADED, UNAVAILABLE")))]
pub(super) async fn hook(
    State(shim): State<Shim>,
    path: Result<Path<(String, String)>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let (integration, secret) = path.map(|Path(parts)| parts).unwrap_or_default();
    let door = Door::Secret(id(&integration)?, SecretString::from(secret));
    let raw = body::read_any(request, &shim.settings).await?;
    Ok(taken(shim.app.receive_crm_hook(door, raw).await?))
}

/// The same without a secret: off, unless the operator names this integration in `SWITCHBOARD_CRM_INTEGRATION`.
#[utoipa::path(post, path = "/api/webhooks/crm/{integration_id}", tag = "webhooks",
    params(("integration_id" = String, Path, description = "The integration's id.")),
    responses((status = 200), (status = 401, description = "SIGNATURE_INVALID"),
        (status = 404, description = "ROUTE_NOT_FOUND"), (status = 422, description = "FIELD_INVALID")))]
pub(super) async fn open_hook(
    State(shim): State<Shim>,
    integration: PathText,
    request: Request,
) -> Result<Response, Problem> {
    let door = Door::Open(Some(id(&integration.map(|Path(text)| text).unwrap_or_default())?));
    let raw = body::read_any(request, &shim.settings).await?;
    Ok(taken(shim.app.receive_crm_hook(door, raw).await?))
}

/// The same for the one integration that the operator names.
#[utoipa::path(post, path = "/api/webhooks/crm", tag = "webhooks",
    responses((status = 200), (status = 401, description = "SIGNATURE_INVALID"),
        (status = 404, description = "ROUTE_NOT_FOUND"), (status = 422, description = "FIELD_INVALID")))]
pub(super) async fn only_hook(State(shim): State<Shim>, request: Request) -> Result<Response, Problem> {
    let raw = body::read_any(request, &shim.settings).await?;
    Ok(taken(shim.app.receive_crm_hook(Door::Open(None), raw).await?))
}
