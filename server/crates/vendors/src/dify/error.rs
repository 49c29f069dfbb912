//! What Dify's refusals mean.

use domain::vendor::{Applied, FailureKind, Retry, VendorError};
use serde::Deserialize;

/// How a refusal of a conversation begins; frameworks may add hints behind it.
const GONE: &str = "Conversation Not Exists.";
const CLOSED: &str = "conversation_completed";
/// What our sentence says then.
const IS_GONE: &str = "the conversation is gone";

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Refused {
    pub(super) code: String,
    pub(super) message: String,
    pub(super) status: Option<u16>,
}

/// Adds to an error what its body says.
pub(super) fn refused(error: VendorError, body: &[u8]) -> VendorError {
    match serde_json::from_slice::<Refused>(body) {
        Ok(refused) => named(error, &refused),
        Err(_) => error,
    }
}

/// What a refusal means, in an answer of its own or within a stream.
pub(super) fn named(error: VendorError, refused: &Refused) -> VendorError {
    let status = error.http_status.filter(|status| *status != 200).or(refused.status).unwrap_or_default();
    let wait = if error.retry == Retry::Never { Retry::Backoff } else { error.retry };
    let (kind, retry) = match refused.code.as_str() {
        "not_found" | CLOSED if refused.message.starts_with(GONE) || refused.code == CLOSED => {
            let detail = format!("{IS_GONE} ({})", refused.code);
            return VendorError { kind: FailureKind::NotFound, detail, retry: Retry::Never, ..error };
        }
        // The same ceiling of the app comes as either, by release.
        "too_many_requests" => (FailureKind::RateLimited, wait),
        "invalid_param" if refused.message.starts_with("Too many requests.") => {
            (FailureKind::RateLimited, wait)
        }
        // The plan's executions are used up.
        "rate_limit_error" | "provider_quota_exceeded" => (FailureKind::OutOfQuota, Retry::Never),
        "unauthorized" => (FailureKind::Unauthorized, Retry::Never),
        "forbidden" => (FailureKind::Forbidden, Retry::Never),
        "not_found" => (FailureKind::NotFound, Retry::Never),
        "completion_request_error" if is_too_long(&refused.message) => {
            (FailureKind::InputTooLong, Retry::Never)
        }
        // The app's own model failed, or can't be used; Dify has tried again by itself where it was told to, and the message is
        // in the conversation already.
        "completion_request_error" => (FailureKind::Unavailable, Retry::Never),
        "internal_server_error" | "unknown" => (FailureKind::Unavailable, wait),
        "" if status >= 500 => (FailureKind::Unavailable, wait),
        "" => (error.kind, error.retry),
        _ if status >= 500 => (FailureKind::Unavailable, wait),
        _ => (FailureKind::Other, Retry::Never),
    };
    let mut named = VendorError { kind, retry, ..error };
    crate::refusal::name(&mut named, Some(&refused.code), None);
    named
}

/// What providers say of it, whose words Dify hands on.
fn is_too_long(message: &str) -> bool {
    let message = message.to_lowercase();
    ["context length", "context_length", "too long", "maximum context"]
        .iter()
        .any(|words| message.contains(words))
}

/// Whether a conversation was refused that we know.
pub(super) fn is_gone(error: &VendorError) -> bool {
    error.kind == FailureKind::NotFound && error.detail.starts_with(IS_GONE)
}

/// A run that began and came to nothing: asking again would be a second message in the conversation.
pub(super) fn begun(error: VendorError) -> VendorError {
    VendorError { applied: Applied::Maybe, retry: Retry::Never, ..error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_say_what_to_do() {
        use FailureKind::{
            Forbidden, InputTooLong, NotFound, Other, OutOfQuota, RateLimited, Unauthorized, Unavailable,
        };
        let error = |status| VendorError {
            vendor: "dify",
            operation: "complete",
            kind: Other,
            http_status: Some(status),
            detail: "x answered".into(),
            excerpt: None,
            applied: Applied::No,
            retry: Retry::Never,
        };
        for (status, code, message, kind, retry) in [
            (400, "invalid_param", "city is required in input form", Other, Retry::Never),
            (400, "invalid_param", "Too many requests. Please try again later.", RateLimited, Retry::Backoff),
            (429, "too_many_requests", "", RateLimited, Retry::Backoff),
            (429, "rate_limit_error", "", OutOfQuota, Retry::Never),
            (400, "provider_quota_exceeded", "", OutOfQuota, Retry::Never),
            (401, "unauthorized", "", Unauthorized, Retry::Never),
            (403, "forbidden", "", Forbidden, Retry::Never),
            (404, "not_found", "Conversation Not Exists. You have requested…", NotFound, Retry::Never),
            (404, "not_found", "Message Not Exists.", NotFound, Retry::Never),
            (400, "conversation_completed", "", NotFound, Retry::Never),
            (400, "completion_request_error", "maximum context length is 8192", InputTooLong, Retry::Never),
            (400, "completion_request_error", "[openai] Server Unavailable", Unavailable, Retry::Never),
            (400, "provider_not_initialize", "", Other, Retry::Never),
            (500, "internal_server_error", "", Unavailable, Retry::Backoff),
        ] {
            let body = serde_json::json!({ "code": code, "message": message, "status": status }).to_string();
            let named = refused(error(status), body.as_bytes());
            assert_eq!((named.kind, named.retry), (kind, retry), "{code} {message}");
            let gone = code == "conversation_completed" || message.starts_with("Conversation");
            assert_eq!(is_gone(&named), gone, "{code} {message}");
        }
        assert_eq!(refused(error(502), b"<html>"), error(502));
    }
}
