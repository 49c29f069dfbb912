//! The public HTTP listener: the routes of existing installations, vendors' hooks, health, and the documentation. The
//! handlers call the same use cases as gRPC.

mod body;
mod channels;
mod crm;
mod crm_fields;
mod docs;
mod events;
mod health;
mod oauth;
mod webhooks;

use std::time::Duration;

use app::App;
use axum::{
    Router,
    extract::Request,
    response::{IntoResponse, Response},
    serve::ListenerExt as _,
};
use domain::{Error, Reason};
use http::{HeaderName, HeaderValue};
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::{Layer as _, ServiceBuilder};
use tower_http::{
    catch_panic::CatchPanicLayer,
    normalize_path::NormalizePathLayer,
    request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer},
};
use utoipa::OpenApi as _;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{error::Problem, telemetry::RequestLog};

/// What the public listener is set to.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The longest body, in bytes.
    pub max_body_bytes: usize,
    /// How long a body may take to arrive.
    pub body_timeout: Duration,
    /// The header that carries an agent's token.
    pub inbound_token_header: HeaderName,
    /// How long `new_message` waits for the answer when the caller doesn't say.
    pub new_message_wait: Duration,
    /// Origins of browsers that may read the stream of events; none: those on localhost.
    pub cors_origins: Vec<String>,
}

/// What handlers share.
#[derive(Clone)]
struct Shim {
    app: App,
    settings: Settings,
    /// The open web sockets: the listener doesn't know them any more.
    sockets: TaskTracker,
}

/// Serves until told to stop, then lets calls in hand end.
pub async fn serve(
    app: App,
    listener: TcpListener,
    settings: Settings,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    // The path is trimmed before it is routed: with and without the trailing slash are one route.
    let sockets = TaskTracker::new();
    let service = NormalizePathLayer::trim_trailing_slash().layer(router(app, settings, sockets.clone()));
    let listener = listener.tap_io(|stream| {
        // A connection that is gone already needs no option.
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, axum::ServiceExt::<Request>::into_make_service(service))
        .with_graceful_shutdown(stop.cancelled_owned())
        .await?;
    sockets.close();
    sockets.wait().await;
    Ok(())
}

fn router(app: App, settings: Settings, sockets: TaskTracker) -> Router {
    let (router, openapi) = OpenApiRouter::with_openapi(docs::Document::openapi())
        .routes(routes!(channels::create, channels::list))
        .routes(routes!(channels::get, channels::update, channels::delete))
        .routes(routes!(channels::dialogue))
        .routes(routes!(crm_fields::lead_fields))
        .routes(routes!(crm_fields::contact_fields))
        .routes(routes!(webhooks::new_message))
        .routes(routes!(webhooks::hook))
        .routes(routes!(webhooks::secret_hook, webhooks::probe_hook))
        .routes(routes!(webhooks::engine_hook))
        .routes(routes!(crm::hook))
        .routes(routes!(crm::open_hook))
        .routes(routes!(crm::only_hook))
        .merge(events::router(&settings.cors_origins))
        .routes(routes!(events::socket))
        .routes(routes!(oauth::callback))
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .split_for_parts();
    let panicked = |_: Box<dyn std::any::Any + Send>| {
        Problem(Error::new(Reason::Internal, "an internal error")).into_response()
    };
    let request_id = HeaderName::from_static("x-request-id");
    router
        .merge(docs::routes(&openapi))
        .method_not_allowed_fallback(|request: Request| async move {
            let detail = format!("this path does not take {}; see /docs", request.method());
            Problem(Error::new(Reason::MethodNotAllowed, detail))
        })
        .fallback(|| async { Problem(Error::new(Reason::RouteNotFound, "no such route; see /docs")) })
        .with_state(Shim { app, settings, sockets })
        .layer(
            ServiceBuilder::new()
                .layer(SetRequestIdLayer::new(request_id.clone(), MakeRequestUuid))
                .layer(RequestLog::layer("http"))
                .layer(PropagateRequestIdLayer::new(request_id))
                .layer(CatchPanicLayer::custom(panicked)),
        )
}

/// An answer with JSON.
fn json(status: http::StatusCode, body: &serde_json::Value) -> Response {
    let mut response = (status, body.to_string()).into_response();
    response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
