//! Health, for load balancers.

use axum::{extract::State, response::Response};
use http::StatusCode;
use serde_json::json;

use super::{Shim, json as answer};
use crate::error::Problem;

/// Says that the process lives.
#[utoipa::path(get, path = "/healthz", tag = "health", responses((status = 200, description = "It lives.")))]
pub(super) async fn healthz() -> Response {
    answer(StatusCode::OK, &json!({ "status": "ok" }))
}

/// Says that the process can serve: the database answers.
#[utoipa::path(get, path = "/readyz", tag = "health",
    responses((status = 200, description = "It can serve."), (status = 503, description = "UNAVAILABLE")))]
pub(super) async fn readyz(State(shim): State<Shim>) -> Result<Response, Problem> {
    shim.app.ready().await?;
    Ok(answer(StatusCode::OK, &json!({ "status": "ok" })))
}
