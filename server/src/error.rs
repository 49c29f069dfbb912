//! The only place where an app error becomes a gRPC status or a problem+json.

use app::Error;
use axum::response::{IntoResponse, Response};
use domain::{Kind, Reason};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// The domain of our reasons in `google.rpc.ErrorInfo`.
pub const DOMAIN: &str = "switchboard";

/// Tells the log what the caller is not told.
fn log(error: &Error) {
    if let Error::Refused(_) | Error::Vendor(_) = error {
        return;
    }
    let mut causes = Vec::new();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        causes.push(next.to_string());
        cause = next.source();
    }
    tracing::error!(error = %error, ?causes, "a call failed");
}

/// Answers over gRPC.
pub fn to_status(error: impl Into<Error>) -> Status {
    let error = error.into();
    log(&error);
    refusal_to_status(&error.to_domain())
}

/// Answers a refusal over gRPC.
pub fn refusal_to_status(error: &domain::Error) -> Status {
    let code = match error.kind() {
        Kind::InvalidArgument => Code::InvalidArgument,
        Kind::OutOfRange => Code::OutOfRange,
        Kind::Unauthenticated => Code::Unauthenticated,
        Kind::PermissionDenied => Code::PermissionDenied,
        Kind::NotFound => Code::NotFound,
        Kind::AlreadyExists => Code::AlreadyExists,
        Kind::FailedPrecondition => Code::FailedPrecondition,
        Kind::ResourceExhausted => Code::ResourceExhausted,
        Kind::Unavailable => Code::Unavailable,
        Kind::DeadlineExceeded => Code::DeadlineExceeded,
        Kind::Unimplemented => Code::Unimplemented,
        Kind::Internal => Code::Internal,
    };
    let metadata: std::collections::HashMap<_, _> = error.metadata.clone().into_iter().collect();
    let mut details = ErrorDetails::new();
    details.set_error_info(error.reason.as_str(), DOMAIN, metadata);
    for field in &error.fields {
        details.add_bad_request_violation(&field.field, &field.detail);
    }
    if error.retry_after.is_some() {
        details.set_retry_info(error.retry_after);
    }
    Status::with_error_details(code, &error.detail, details)
}

/// The HTTP status of a reason.
pub const fn http_status(reason: Reason) -> StatusCode {
    match reason {
        Reason::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Reason::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Reason::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
        Reason::ContentTypeUnsupported => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        reason => match reason.kind() {
            Kind::InvalidArgument | Kind::OutOfRange => StatusCode::UNPROCESSABLE_ENTITY,
            Kind::Unauthenticated => StatusCode::UNAUTHORIZED,
            Kind::PermissionDenied => StatusCode::FORBIDDEN,
            Kind::NotFound => StatusCode::NOT_FOUND,
            Kind::AlreadyExists | Kind::FailedPrecondition => StatusCode::CONFLICT,
            Kind::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
            Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Kind::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
            Kind::Unimplemented => StatusCode::NOT_IMPLEMENTED,
            Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        },
    }
}

/// An error on its way to a caller of the HTTP shim.
#[derive(Debug)]
pub struct Problem(pub domain::Error);

impl From<domain::Error> for Problem {
    fn from(error: domain::Error) -> Self {
        Self(error)
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        log(&error);
        Self(error.to_domain())
    }
}

impl Problem {
    /// The body, RFC 9457.
    pub fn body(&self) -> Value {
        let error = &self.0;
        let status = http_status(error.reason);
        let mut body = Map::from_iter([
            ("type".to_owned(), json!("about:blank")),
            ("title".to_owned(), json!(title(status))),
            ("status".to_owned(), json!(status.as_u16())),
            ("reason".to_owned(), json!(error.reason.as_str())),
            ("detail".to_owned(), json!(error.detail)),
        ]);
        if !error.fields.is_empty() {
            let fields =
                error.fields.iter().map(|field| json!({ "field": field.field, "detail": field.detail }));
            body.insert("errors".to_owned(), fields.collect());
        }
        if !error.metadata.is_empty() {
            body.insert("metadata".to_owned(), json!(error.metadata));
        }
        if let Some(pause) = error.retry_after {
            body.insert("retry_after_seconds".to_owned(), json!(whole_seconds(pause)));
        }
        Value::Object(body)
    }
}

/// A pause in whole seconds, rounded up: coming back too early helps nobody.
fn whole_seconds(pause: std::time::Duration) -> u64 {
    pause.as_secs() + u64::from(pause.subsec_nanos() > 0)
}

/// The title of a status: its present name (RFC 9110), where the library still has an older one.
fn title(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNPROCESSABLE_ENTITY => "Unprocessable Content",
        StatusCode::PAYLOAD_TOO_LARGE => "Content Too Large",
        status => status.canonical_reason().unwrap_or("Error"),
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = http_status(self.0.reason);
        let mut response = (status, self.body().to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(pause) = self.0.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(pause)));
        }
        response
    }
}
