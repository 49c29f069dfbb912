//! The internal listener: gRPC, gRPC-web, health, reflection, and the metrics.

use std::{path::PathBuf, time::Duration};

use anyhow::Context as _;
use app::App;
use axum::{Router, routing::get};
use http::{HeaderName, Method};
use metrics_exporter_prometheus::PrometheusHandle;
use switchboard_sdk::{
    FILE_DESCRIPTOR_SET,
    v1::{
        agents_service_server::AgentsServiceServer, channels_service_server::ChannelsServiceServer,
        crm_service_server::CrmServiceServer, dialogues_service_server::DialoguesServiceServer,
        events_service_server::EventsServiceServer, integrations_service_server::IntegrationsServiceServer,
        sources_service_server::SourcesServiceServer, webhooks_service_server::WebhooksServiceServer,
        workspaces_service_server::WorkspacesServiceServer,
    },
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{
    codec::CompressionEncoding,
    server::NamedService as _,
    service::Routes,
    transport::{Identity, Server, ServerTlsConfig, server::TcpIncoming},
};
use tonic_health::ServingStatus;
use tower::ServiceBuilder;
use tower_http::{
    catch_panic::CatchPanicLayer,
    cors::CorsLayer,
    request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer},
};

use super::{Services, auth::AuthLayer};
use crate::{
    cors::{self, Door},
    error::refusal_to_status,
    telemetry::RequestLog,
};

/// What the internal listener is set to.
pub struct ListenerSettings {
    /// Certificate and key, PEM. `None`: no TLS.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Origins of browsers that may call, or `*`; none: those on localhost.
    pub cors_origins: Vec<String>,
    /// The longest request, in bytes.
    pub max_request_bytes: usize,
    /// How long a call may take until its answer begins.
    pub call_timeout: Duration,
}

/// The longest answer, in bytes: a page of a thousand long messages.
const MAX_RESPONSE_BYTES: usize = 128 << 20;

macro_rules! service {
    ($server:ident, $services:expr, $settings:expr) => {
        $server::new($services.clone())
            .max_decoding_message_size($settings.max_request_bytes)
            .max_encoding_message_size(MAX_RESPONSE_BYTES)
            .accept_compressed(CompressionEncoding::Gzip)
            .send_compressed(CompressionEncoding::Gzip)
    };
}

fn cors(origins: &[String]) -> CorsLayer {
    let door = Door {
        method: Method::POST,
        may_send: &["x-grpc-web", "x-user-agent", "grpc-timeout", "x-request-id"],
        may_read: &["grpc-status", "grpc-message", "grpc-status-details-bin", "x-request-id"],
    };
    cors::layer(origins, door)
}

/// Serves until told to stop, then lets calls in hand end.
pub async fn serve(
    app: App,
    listener: TcpListener,
    settings: ListenerSettings,
    metrics: PrometheusHandle,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let services = Services { app: app.clone() };
    let (mut health, health_service) = tonic_health::server::health_reporter();
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let served = [
        AgentsServiceServer::<Services>::NAME,
        ChannelsServiceServer::<Services>::NAME,
        CrmServiceServer::<Services>::NAME,
        DialoguesServiceServer::<Services>::NAME,
        EventsServiceServer::<Services>::NAME,
        IntegrationsServiceServer::<Services>::NAME,
        SourcesServiceServer::<Services>::NAME,
        WebhooksServiceServer::<Services>::NAME,
        WorkspacesServiceServer::<Services>::NAME,
    ];
    for name in served {
        health.set_service_status(name, ServingStatus::Serving).await;
    }
    // Who watches is told before the door closes; then the watching ends, or it would hold up the stop.
    let stopping = async move {
        stop.cancelled_owned().await;
        for name in served.into_iter().chain([""]) {
            health.set_service_status(name, ServingStatus::NotServing).await;
            health.clear_service_status(name).await;
        }
    };

    let panicked = || domain::Error::new(domain::Reason::Internal, "an internal error");
    let request_id = HeaderName::from_static("x-request-id");
    // Outermost first: CORS outside gRPC-web, or browsers can't read its answers; the key is checked innermost, so that a
    // refusal is turned into what the client speaks.
    let layers = ServiceBuilder::new()
        .layer(SetRequestIdLayer::new(request_id.clone(), MakeRequestUuid))
        .layer(RequestLog::layer("grpc"))
        .layer(PropagateRequestIdLayer::new(request_id))
        .layer(cors(&settings.cors_origins))
        .layer(tonic_web::GrpcWebLayer::new())
        .layer(CatchPanicLayer::custom(move |_| {
            refusal_to_status(&panicked()).into_http::<tonic::body::Body>()
        }))
        .layer(AuthLayer { app, timeout: settings.call_timeout });
    let grpc = Routes::new(service!(AgentsServiceServer, services, settings))
        .add_service(service!(ChannelsServiceServer, services, settings))
        .add_service(service!(CrmServiceServer, services, settings))
        .add_service(service!(DialoguesServiceServer, services, settings))
        .add_service(service!(EventsServiceServer, services, settings))
        .add_service(service!(IntegrationsServiceServer, services, settings))
        .add_service(service!(SourcesServiceServer, services, settings))
        .add_service(service!(WebhooksServiceServer, services, settings))
        .add_service(service!(WorkspacesServiceServer, services, settings))
        .add_service(health_service)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .prepare()
        .into_axum_router()
        .layer(layers);
    let router = Router::new().route("/metrics", get(move || async move { metrics.render() })).merge(grpc);

    let mut server = Server::builder()
        .accept_http1(true)
        .tcp_nodelay(true)
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)))
        .max_concurrent_streams(1_024)
        .concurrency_limit_per_connection(1_024)
        .max_connection_age(Duration::from_hours(1))
        .max_connection_age_grace(Duration::from_mins(1))
        .http2_max_header_list_size(16 * 1_024);
    if let Some((certificate, key)) = &settings.tls {
        let read =
            |path: &PathBuf| std::fs::read(path).with_context(|| format!("reading {}", path.display()));
        let identity = Identity::from_pem(read(certificate)?, read(key)?);
        server = server.tls_config(ServerTlsConfig::new().identity(identity))?;
    }
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    server.add_routes(Routes::from(router)).serve_with_incoming_shutdown(incoming, stopping).await?;
    Ok(())
}
