//! Refusals, and what they advise.
//! <https://platform.claude.com/docs/en/api/errors> (read 2026-11-20)

use domain::vendor::{FailureKind, Retry, VendorError};
use serde_json::Value;

use crate::{
    http::{Call, Opened, excerpt},
    refusal,
};

/// Reads a refusal.
pub(super) async fn refused(opened: &mut Opened, call: &Call<'_>) -> VendorError {
    let (body, mut error) = opened.refusal(call).await;
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    judge(&mut error, &body["error"]);
    refusal::advise(&mut error, &opened.headers);
    if error.kind == FailureKind::OutOfQuota {
        error.retry = Retry::Never;
    }
    let header = opened.headers.get("request-id").and_then(|value| value.to_str().ok());
    refusal::name(&mut error, name(&body["error"]), header.or(body["request_id"].as_str()));
    error
}

/// An error that came as an answer, or in the middle of one.
pub(super) fn in_answer(opened: &Opened, said: &Value) -> VendorError {
    let text = said.to_string();
    let mut error = VendorError {
        kind: FailureKind::Unavailable,
        excerpt: excerpt(text.as_bytes()),
        ..opened.bad("the vendor failed in its answer".to_owned())
    };
    judge(&mut error, said);
    refusal::name(&mut error, name(said), None);
    error
}

/// The word for it that an operator can look up.
fn name(said: &Value) -> Option<&str> {
    said["details"]["error_code"].as_str().or(said["type"].as_str())
}

/// What the vendor's words say beyond the status.
fn judge(error: &mut VendorError, said: &Value) {
    let waiting = if error.retry == Retry::Never { Retry::Backoff } else { error.retry };
    let message = said["message"].as_str().unwrap_or_default();
    let (kind, retry) = match said["type"].as_str().unwrap_or_default() {
        "authentication_error" => (FailureKind::Unauthorized, Retry::Never),
        "permission_error" => (FailureKind::Forbidden, Retry::Never),
        "billing_error" => (FailureKind::OutOfQuota, Retry::Never),
        "rate_limit_error" if said["details"]["error_code"] == "enforced_spend_limit_reached" => {
            (FailureKind::OutOfQuota, Retry::Never)
        }
        "rate_limit_error" => (FailureKind::RateLimited, waiting),
        "overloaded_error" | "api_error" | "timeout_error" | "conflict_error" => {
            (FailureKind::Unavailable, waiting)
        }
        "not_found_error" => (FailureKind::NotFound, Retry::Never),
        "request_too_large" => (FailureKind::InputTooLong, Retry::Never),
        "invalid_request_error" if is_about_length(message) => (FailureKind::InputTooLong, Retry::Never),
        "invalid_request_error" if message.contains("credit balance is too low") => {
            (FailureKind::OutOfQuota, Retry::Never)
        }
        // What is in front of the vendor may answer without its words.
        _ if error.http_status == Some(413) => (FailureKind::InputTooLong, Retry::Never),
        _ if error.http_status == Some(409) => (FailureKind::Unavailable, waiting),
        _ => return,
    };
    (error.kind, error.retry) = (kind, retry);
}

fn is_about_length(message: &str) -> bool {
    ["prompt is too long", "exceed context limit", "context window"].iter().any(|part| message.contains(part))
}

#[cfg(test)]
mod tests {
    use domain::vendor::Applied;
    use serde_json::json;

    use super::*;

    #[test]
    fn words_say_more_than_the_status() {
        let spent = json!({ "type": "rate_limit_error", "details": { "error_code": "enforced_spend_limit_reached" } });
        let long =
            json!({ "type": "invalid_request_error", "message": "prompt is too long: 9 tokens > 8 maximum" });
        let after = Retry::After(std::time::Duration::from_secs(7));
        for (status, before, said, expected) in [
            (429, after, spent, (FailureKind::OutOfQuota, Retry::Never)),
            (429, after, json!({ "type": "rate_limit_error" }), (FailureKind::RateLimited, after)),
            (
                529,
                Retry::Backoff,
                json!({ "type": "overloaded_error" }),
                (FailureKind::Unavailable, Retry::Backoff),
            ),
            (200, Retry::Never, json!({ "type": "api_error" }), (FailureKind::Unavailable, Retry::Backoff)),
            (402, Retry::Never, json!({ "type": "billing_error" }), (FailureKind::OutOfQuota, Retry::Never)),
            (400, Retry::Never, long, (FailureKind::InputTooLong, Retry::Never)),
            (413, Retry::Never, json!(null), (FailureKind::InputTooLong, Retry::Never)),
            (409, Retry::Never, json!(null), (FailureKind::Unavailable, Retry::Backoff)),
            (404, Retry::Never, json!({ "type": "not_found_error" }), (FailureKind::NotFound, Retry::Never)),
            (
                400,
                Retry::Never,
                json!({ "type": "invalid_request_error" }),
                (FailureKind::Other, Retry::Never),
            ),
        ] {
            let mut error = VendorError {
                vendor: "x",
                operation: "y",
                kind: FailureKind::Other,
                http_status: Some(status),
                detail: String::new(),
                excerpt: None,
                applied: Applied::No,
                retry: before,
            };
            judge(&mut error, &said);
            assert_eq!((error.kind, error.retry), expected, "{status} {said}");
        }
    }
}
