//! What Gemini's refusals mean.

use std::time::Duration;

use domain::vendor::{FailureKind, Retry, VendorError};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
#[serde(untagged)]
enum Body {
    /// Streams that are no events put it into a list. It is tried first: serde takes lists for structs.
    List(Vec<Wrapped>),
    One(Wrapped),
}

#[derive(Deserialize)]
struct Wrapped {
    error: Refused,
}

/// The vendor's error, in an answer of its own or within a stream.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Refused {
    code: u16,
    message: String,
    status: String,
    details: Vec<Value>,
}

/// Adds to an error what its body says.
pub(super) fn refused(error: VendorError, body: &[u8]) -> VendorError {
    match serde_json::from_slice(body) {
        Ok(Body::One(Wrapped { error: refused })) => named(error, &refused),
        Ok(Body::List(list)) if !list.is_empty() => named(error, &list[0].error),
        _ => error,
    }
}

/// What a refusal means.
pub(super) fn named(error: VendorError, refused: &Refused) -> VendorError {
    let reason =
        details(refused, "ErrorInfo").find_map(|detail| detail["reason"].as_str()).unwrap_or_default();
    let words = refused.message.to_lowercase();
    let wait = if error.retry == Retry::Never { Retry::Backoff } else { error.retry };
    let wait = details(refused, "RetryInfo")
        .find_map(|detail| pause(detail["retryDelay"].as_str()?))
        .map_or(wait, Retry::After);
    let (kind, retry) = match (refused.status.as_str(), refused.code) {
        ("INVALID_ARGUMENT", _) if reason == "API_KEY_INVALID" => (FailureKind::Unauthorized, Retry::Never),
        ("INVALID_ARGUMENT", _)
            if words.contains("token") && (words.contains("exceed") || words.contains("too long")) =>
        {
            (FailureKind::InputTooLong, Retry::Never)
        }
        ("UNAUTHENTICATED", _) => (FailureKind::Unauthorized, Retry::Never),
        // The region, or the billing.
        ("FAILED_PRECONDITION" | "PERMISSION_DENIED", _) => (FailureKind::Forbidden, Retry::Never),
        ("NOT_FOUND", _) => (FailureKind::NotFound, Retry::Never),
        // What is counted by the day is not there again in a while.
        ("RESOURCE_EXHAUSTED", _) if details(refused, "QuotaFailure").any(by_the_day) => {
            (FailureKind::OutOfQuota, Retry::Never)
        }
        ("RESOURCE_EXHAUSTED", _) => (FailureKind::RateLimited, wait),
        (_, 402) => (FailureKind::OutOfQuota, Retry::Never),
        ("INTERNAL" | "UNAVAILABLE" | "DEADLINE_EXCEEDED", _) => (FailureKind::Unavailable, wait),
        ("INVALID_ARGUMENT", _) => (FailureKind::Other, Retry::Never),
        _ => (error.kind, error.retry),
    };
    let mut named = VendorError { kind, retry, ..error };
    let code = if reason.is_empty() { &refused.status } else { reason };
    crate::refusal::name(&mut named, Some(code), None);
    named
}

/// The details of this type.
fn details<'a>(refused: &'a Refused, name: &'static str) -> impl Iterator<Item = &'a Value> {
    refused
        .details
        .iter()
        .filter(move |detail| detail["@type"].as_str().is_some_and(|kind| kind.ends_with(name)))
}

fn by_the_day(quota: &Value) -> bool {
    let violations = quota["violations"].as_array();
    violations.into_iter().flatten().any(|it| it["quotaId"].as_str().is_some_and(|id| id.contains("PerDay")))
}

/// Reads a duration as `google.protobuf.Duration` writes it: `17s`, `0.5s`.
fn pause(text: &str) -> Option<Duration> {
    let seconds: f64 = text.strip_suffix('s')?.parse().ok()?;
    let pause = Duration::try_from_secs_f64(seconds).ok()?;
    (!pause.is_zero()).then(|| pause.min(Duration::from_hours(24)))
}

#[cfg(test)]
mod tests {
    use domain::vendor::Applied;
    use serde_json::json;

    use super::*;

    #[test]
    fn refusals_say_what_to_do() {
        use FailureKind::{
            Forbidden, InputTooLong, NotFound, Other, OutOfQuota, RateLimited, Unauthorized, Unavailable,
        };
        let error = VendorError {
            vendor: "gemini",
            operation: "complete",
            kind: Other,
            http_status: None,
            detail: "x answered".into(),
            excerpt: None,
            applied: Applied::No,
            retry: Retry::Never,
        };
        let info =
            |reason: &str| json!({ "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason });
        let quota = |id: &str| json!({ "@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{ "quotaId": id }] });
        let retry = json!({ "@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "17.5s" });
        for (code, status, message, details, kind, advice) in [
            (
                400,
                "INVALID_ARGUMENT",
                "API key not valid.",
                vec![info("API_KEY_INVALID")],
                Unauthorized,
                Retry::Never,
            ),
            (
                400,
                "INVALID_ARGUMENT",
                "The input token count (9) exceeds the maximum",
                vec![],
                InputTooLong,
                Retry::Never,
            ),
            (400, "INVALID_ARGUMENT", "missing thought_signature", vec![], Other, Retry::Never),
            (400, "FAILED_PRECONDITION", "", vec![], Forbidden, Retry::Never),
            (403, "PERMISSION_DENIED", "", vec![], Forbidden, Retry::Never),
            (404, "NOT_FOUND", "", vec![], NotFound, Retry::Never),
            (
                429,
                "RESOURCE_EXHAUSTED",
                "",
                vec![quota("GenerateRequestsPerMinute"), retry.clone()],
                RateLimited,
                Retry::After(Duration::from_millis(17_500)),
            ),
            (
                429,
                "RESOURCE_EXHAUSTED",
                "",
                vec![quota("GenerateRequestsPerDayPerProject"), retry],
                OutOfQuota,
                Retry::Never,
            ),
            (429, "RESOURCE_EXHAUSTED", "", vec![], RateLimited, Retry::Backoff),
            (503, "UNAVAILABLE", "", vec![], Unavailable, Retry::Backoff),
        ] {
            let body = json!({ "error": { "code": code, "status": status, "message": message, "details": details } });
            for body in [body.to_string(), json!([body]).to_string()] {
                let named = refused(error.clone(), body.as_bytes());
                assert_eq!((named.kind, named.retry), (kind, advice), "{body}");
            }
        }
        assert_eq!(refused(error.clone(), b"<html>"), error);
        assert_eq!(refused(error.clone(), b"[]"), error);
    }
}
