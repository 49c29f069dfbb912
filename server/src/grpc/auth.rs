//! Checks the API key of every call, before the service sees it, and keeps the call within its time.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use app::App;
use http::{Request, Response, header};
use tower::{Layer, Service};

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
        let (app, timeout) = (self.app.clone(), self.timeout);
        Box::pin(async move {
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
            if let Ok(response) = tokio::time::timeout(timeout, inner.call(request)).await {
                response
            } else {
                let late = domain::Error::new(domain::Reason::DeadlineExceeded, "the call took too long");
                Ok(to_status(late).into_http())
            }
        })
    }
}
