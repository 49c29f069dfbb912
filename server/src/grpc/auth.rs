//! Checks the API key of every call, before the service sees it, and keeps the call within its time.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use app::App;
use http::{HeaderMap, Request, Response, header};
use tower::{Layer, Service};

use super::rehearsals;
use crate::error::to_status;

/// Puts the [`app::Caller`] of a call into its extensions, or refuses it.
#[derive(Clone)]
pub(super) struct AuthLayer {
    pub(super) app: App,
    /// How long a call may take until its answer begins.
    pub(super) timeout: Duration,
}

impl<S> Layer<S> for AuthLayer {
    type Service = Auth<S>;

    fn layer(&self, inner: S) -> Auth<S> {
        Auth { app: self.app.clone(), timeout: self.timeout, inner }
    }
}

#[derive(Clone)]
pub(super) struct Auth<S> {
    app: App,
    timeout: Duration,
    inner: S,
}

impl<S, B, R> Service<Request<B>> for Auth<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
    R: Default,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        // The one that was polled ready is used; its clone takes its place.
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        let (app, timeout) = (self.app.clone(), longest(request.uri().path(), self.timeout));
        let timeout = asked_timeout(request.headers()).map_or(timeout, |asked| timeout.min(asked));
        Box::pin(async move {
            let answer = async {
                let path = request.uri().path();
                // Health is for load balancers and reflection shows what the contract publishes anyway.
                if !path.starts_with("/grpc.health.v1.") && !path.starts_with("/grpc.reflection.") {
                    let header = request.headers().get(header::AUTHORIZATION);
                    let header = header.map(|value| value.to_str().unwrap_or_default().to_owned());
                    match app.authenticate(header.as_deref()).await {
                        Ok(caller) => {
                            request.extensions_mut().insert(caller);
                        }
                        Err(error) => return Ok(to_status(error).into_http()),
                    }
                }
                inner.call(request).await.map(explained)
            };
            if let Ok(response) = tokio::time::timeout(timeout, answer).await {
                response
            } else {
                let late = domain::Error::new(
                    domain::Reason::DeadlineExceeded,
                    "the call took too long; try again, with a later deadline if it was short",
                );
                Ok(to_status(late).into_http())
            }
        })
    }
}

/// How long a call of this method may take. A preview has its own limit, by which its engine is told to stop, and needs a
/// while more to note what that cost.
fn longest(path: &str, usual: Duration) -> Duration {
    const PREVIEW: &str = "/switchboard.v1.AgentsService/PreviewReply";
    if path == PREVIEW { rehearsals::LONGEST_PREVIEW + Duration::from_secs(30) } else { usual }
}

/// Gives a reason to the refusals of tonic itself, which come without one: a message that can't be read, or is too long, or
/// for a method that is not there.
fn explained<R: Default>(response: Response<R>) -> Response<R> {
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    if header("grpc-status-details-bin").is_some() {
        return response;
    }
    let error = match header("grpc-status").and_then(|code| code.parse().ok()).map(tonic::Code::from_i32) {
        Some(tonic::Code::OutOfRange) => {
            domain::Error::new(domain::Reason::BodyTooLarge, "a request may have up to 4 MiB")
        }
        Some(tonic::Code::Internal) => domain::Error::field(
            domain::Reason::FieldInvalid,
            "request",
            "is not a message of this method: it can't be decoded, is nested too deeply, or holds text that is not UTF-8",
        ),
        Some(tonic::Code::Unimplemented) => domain::Error::new(
            domain::Reason::MethodNotAllowed,
            "this server has no such service or method; its reflection lists what it has",
        ),
        _ => return response,
    };
    to_status(error).into_http()
}

/// The time that the caller gives, less a little: its own clock runs too, and our answer says more than its bare
/// "deadline exceeded" if it arrives in time.
fn asked_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let count: u32 = digits.parse().ok()?;
    let unit = match unit {
        "H" => Duration::from_hours(1),
        "M" => Duration::from_mins(1),
        "S" => Duration::from_secs(1),
        "m" => Duration::from_millis(1),
        "u" => Duration::from_micros(1),
        "n" => Duration::from_nanos(1),
        _ => return None,
    };
    Some((unit * count).mul_f64(0.95))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preview_has_its_own_limit() {
        let usual = Duration::from_mins(1);
        assert!(longest("/switchboard.v1.AgentsService/PreviewReply", usual) > Duration::from_mins(10));
        assert_eq!(longest("/switchboard.v1.AgentsService/GetAgent", usual), usual);
        // The path is that of the contract.
        let named = switchboard_sdk::v1::agents_service_server::SERVICE_NAME;
        assert_eq!(named, "switchboard.v1.AgentsService");
    }

    #[test]
    fn a_little_less_than_was_asked_for() {
        let asked = |text: &'static str| {
            let headers = HeaderMap::from_iter([("grpc-timeout".parse().unwrap(), text.parse().unwrap())]);
            asked_timeout(&headers)
        };
        assert_eq!(asked("100m"), Some(Duration::from_millis(95)));
        assert_eq!(asked("20S"), Some(Duration::from_secs(19)));
        for malformed in ["", "S", "1", "1x", "-1S", "1.5S"] {
            assert_eq!(asked(malformed), None, "{malformed}");
        }
    }
}
