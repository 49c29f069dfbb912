//! The `OpenAPI` document and a page to browse it. Everything is served by us; nothing is loaded from outside.

use axum::{Router, response::IntoResponse, routing::get};
use http::header;
use utoipa::{
    Modify, OpenApi,
    openapi::{
        OpenApi as Api,
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use super::Shim;

#[derive(OpenApi)]
#[openapi(
    info(title = "Switchboard", description = "The HTTP shim: routes that CRMs, messengers and existing installations \
        call. The whole API is gRPC; see the server reflection. Errors are application/problem+json with a `reason`."),
    modifiers(&Credentials),
    tags((name = "channels", description = "The routes that messages travel. With an API key of the workspace."),
        (name = "crm", description = "What the workspace's CRM keeps. With an API key of the workspace."),
        (name = "webhooks", description = "What the outside world calls."),
        (name = "events", description = "The log of recorded facts, as it grows. With an API key of the workspace."),
        (name = "health", description = "For load balancers."))
)]
pub(super) struct Document;

struct Credentials;

impl Modify for Credentials {
    fn modify(&self, openapi: &mut Api) {
        let header = |name| SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new(name)));
        let bearer = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("api_key", bearer);
        components.add_security_scheme("agent_token", header("x-chatbot_auth_token"));
        components.add_security_scheme("signature", header("webhook-signature"));
    }
}

/// Scripts, styles and calls of our own, and nothing else.
const POLICY: &str = "default-src 'self'; base-uri 'none'; frame-ancestors 'none'; object-src 'none'";

fn asset(kind: &'static str, text: &'static str) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, kind), (header::CONTENT_SECURITY_POLICY, POLICY)], text)
}

pub(super) fn routes(openapi: &Api) -> Router<Shim> {
    let document = openapi.to_json().unwrap_or_default();
    Router::new()
        .route(
            "/openapi.json",
            get(move || async move { ([(header::CONTENT_TYPE, "application/json")], document.clone()) }),
        )
        .route("/docs", get(|| async { asset("text/html; charset=utf-8", include_str!("docs/index.html")) }))
        .route(
            "/docs/docs.css",
            get(|| async { asset("text/css; charset=utf-8", include_str!("docs/docs.css")) }),
        )
        .route(
            "/docs/docs.js",
            get(|| async { asset("text/javascript; charset=utf-8", include_str!("docs/docs.js")) }),
        )
}
