//! Logs: JSON or text, a level per target, one line per request. Never a token, a message's text or a body.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use http::{Request, Response};
use tower::{Layer, Service};
use tracing_subscriber::{EnvFilter, prelude::*};

/// Starts the log. `filter` was checked when the configuration was read.
pub fn start(filter: &str, json: bool) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    // A second start (a demo inside a test, say) keeps the first log.
    let _ = if json { registry.with(layer.json()).try_init() } else { registry.with(layer).try_init() };
}

/// Writes one line per request, when its answer begins, and counts it.
#[derive(Clone)]
pub struct RequestLog<S> {
    door: &'static str,
    inner: S,
}

/// Makes [`RequestLog`]s.
#[derive(Clone)]
pub struct RequestLogLayer(&'static str);

impl RequestLog<()> {
    /// A layer that logs requests of this door.
    pub fn layer(door: &'static str) -> RequestLogLayer {
        RequestLogLayer(door)
    }
}

impl<S> Layer<S> for RequestLogLayer {
    type Service = RequestLog<S>;

    fn layer(&self, inner: S) -> RequestLog<S> {
        RequestLog { door: self.0, inner }
    }
}

impl<S, B, R> Service<Request<B>> for RequestLog<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let door = self.door;
        let method = request.method().clone();
        let path = without_secret(request.uri().path()).to_owned();
        let id =
            request.headers().get("x-request-id").and_then(|id| id.to_str().ok()).unwrap_or("").to_owned();
        let began = Instant::now();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            if let Ok(response) = &answer {
                let status = response.status().as_u16();
                let grpc =
                    response.headers().get("grpc-status").and_then(|code| code.to_str().ok()).unwrap_or("");
                let elapsed = began.elapsed();
                metrics::histogram!("switchboard_request_seconds", "door" => door)
                    .record(elapsed.as_secs_f64());
                tracing::info!(
                    target: "switchboard::request",
                    door, %method, path, status, grpc.status = grpc, request.id = id,
                    milliseconds = elapsed.as_secs_f64() * 1e3, "request"
                );
            }
            answer
        })
    }
}

/// A path may carry a secret behind the channel's id: `/hooks/{channel_id}/{secret}`.
fn without_secret(path: &str) -> &str {
    match path.strip_prefix("/hooks/").and_then(|rest| rest.find('/')) {
        Some(at) => &path[.."/hooks/".len() + at],
        None => path,
    }
}

#[cfg(test)]
mod tests {
    use super::without_secret;

    #[test]
    fn the_secret_part_of_a_path_is_not_logged() {
        assert_eq!(without_secret("/hooks/1/secret"), "/hooks/1");
        assert_eq!(without_secret("/hooks/1"), "/hooks/1");
        assert_eq!(without_secret("/api/channels"), "/api/channels");
    }
}
