//! Refusals, and what they advise.
//! <https://platform.openai.com/docs/guides/error-codes> (read 2026-11-20)

use domain::vendor::{FailureKind, Retry, VendorError};
use http::StatusCode;
use serde_json::Value;

use super::{
    request::Shape,
    settings::{InstructionsRole, MaxTokens},
};
use crate::{
    http::{Call, Opened, excerpt},
    refusal,
};

/// Codes and types of an account that has used up what it may: waiting does not help.
const QUOTA: [&str; 6] = [
    "insufficient_quota",
    "credit_balance_exhausted",
    "organization_spend_limit_exceeded",
    "project_spend_limit_exceeded",
    "organization_usage_limit_exceeded",
    "billing_hard_limit_reached",
];

/// What an error says of itself, whatever the server's habits.
#[derive(Debug, Default, PartialEq, Eq)]
struct Said<'a> {
    message: &'a str,
    kind: &'a str,
    code: &'a str,
    param: &'a str,
}

impl<'a> Said<'a> {
    /// Reads `{"error": {…}}`, and of compatible servers `{"error": "text"}`, `{"detail": …}` and
    /// `{"object": "error", "message": …}`.
    fn read(body: &'a Value) -> Self {
        let inner = match &body["error"] {
            Value::Null => body,
            inner => inner,
        };
        let text = |name: &str| inner[name].as_str().unwrap_or_default();
        let message =
            inner.as_str().or(inner["message"].as_str()).or(inner["detail"].as_str()).unwrap_or_default();
        Self { message, kind: text("type"), code: text("code"), param: text("param") }
    }

    fn is_about_quota(&self) -> bool {
        QUOTA.iter().any(|code| *code == self.code || *code == self.kind)
    }

    fn is_about_length(&self) -> bool {
        let message = self.message.to_ascii_lowercase();
        self.code == "context_length_exceeded"
            || message.contains("maximum context length")
            // llama.cpp
            || self.kind == "exceed_context_size_error"
            || message.contains("exceeds the available context size")
    }

    /// The word for it that an operator can look up.
    fn name(&self) -> Option<&'a str> {
        [self.code, self.kind].into_iter().find(|text| !text.is_empty())
    }

    /// What should be asked instead, if it refuses a parameter that servers differ in.
    fn changed(&self, status: StatusCode, shape: Shape) -> Option<Shape> {
        if !matches!(status, StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY)
            || self.code == "invalid_value"
            || self.is_about_length()
        {
            return None;
        }
        let names = |name: &str| {
            if self.param.is_empty() { self.message.contains(name) } else { self.param == name }
        };
        let sent = match shape.max_tokens {
            MaxTokens::MaxTokens => "max_tokens",
            MaxTokens::MaxCompletionTokens => "max_completion_tokens",
        };
        if shape.stream_options && names("stream_options") {
            return Some(Shape { stream_options: false, ..shape });
        }
        if names(sent) {
            let max_tokens = match shape.max_tokens {
                MaxTokens::MaxTokens => MaxTokens::MaxCompletionTokens,
                MaxTokens::MaxCompletionTokens => MaxTokens::MaxTokens,
            };
            return Some(Shape { max_tokens, ..shape });
        }
        let (role, other) = match shape.role {
            InstructionsRole::System => ("system", InstructionsRole::Developer),
            InstructionsRole::Developer => ("developer", InstructionsRole::System),
        };
        let about_role = self.param == "messages[0].role" || self.message.to_lowercase().contains("role");
        let quoted = [format!("'{role}'"), format!("`{role}`"), format!("\"{role}\"")];
        (about_role && quoted.iter().any(|quoted| self.message.contains(quoted.as_str())))
            .then_some(Shape { role: other, ..shape })
    }
}

/// Reads a refusal; gives with it what to ask instead, where that can help.
pub(super) async fn refused(
    opened: &mut Opened,
    call: &Call<'_>,
    shape: Shape,
) -> (VendorError, Option<Shape>) {
    let (body, mut error) = opened.refusal(call).await;
    let body = serde_json::from_slice(&body).unwrap_or_default();
    let said = Said::read(&body);
    judge(&mut error, &said);
    refusal::advise(&mut error, &opened.headers);
    if error.kind == FailureKind::OutOfQuota {
        error.retry = Retry::Never;
    }
    let request_id = opened.headers.get("x-request-id").and_then(|value| value.to_str().ok());
    refusal::name(&mut error, said.name(), request_id);
    let changed = said.changed(opened.status, shape);
    (error, changed)
}

/// An error that came as an answer, or in the middle of one.
pub(super) fn in_answer(opened: &Opened, error: &Value) -> VendorError {
    let said = Said::read(error);
    let text = error.to_string();
    let mut failed = VendorError {
        kind: FailureKind::Unavailable,
        excerpt: excerpt(text.as_bytes()),
        ..opened.bad("the vendor failed in its answer".to_owned())
    };
    judge(&mut failed, &said);
    refusal::name(&mut failed, said.name(), None);
    failed
}

/// What the vendor's words say beyond the status.
fn judge(error: &mut VendorError, said: &Said<'_>) {
    let (kind, retry) = if said.is_about_quota() {
        (FailureKind::OutOfQuota, Retry::Never)
    } else if said.is_about_length() {
        (FailureKind::InputTooLong, Retry::Never)
    } else {
        match (error.http_status, said.code) {
            // Twice the same at once, as a proxy sees it: the next one may come through.
            (Some(409), _) => (FailureKind::Unavailable, waiting(error.retry)),
            (_, "rate_limit_exceeded" | "slow_down") if error.kind == FailureKind::Unavailable => {
                (FailureKind::RateLimited, waiting(error.retry))
            }
            (_, "invalid_api_key") => (FailureKind::Unauthorized, Retry::Never),
            (_, "model_not_found") => (FailureKind::NotFound, Retry::Never),
            _ => return,
        }
    };
    (error.kind, error.retry) = (kind, retry);
}

fn waiting(retry: Retry) -> Retry {
    if retry == Retry::Never { Retry::Backoff } else { retry }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_server_says_it_in_its_own_way() {
        let openai = json!({ "error": { "message": "m", "type": "t", "code": "c", "param": "p" } });
        assert_eq!(Said::read(&openai), Said { message: "m", kind: "t", code: "c", param: "p" });
        for body in [
            json!({ "error": "m" }),
            json!({ "detail": "m" }),
            json!({ "object": "error", "message": "m", "code": 400 }),
            json!({ "error": { "message": "m", "param": null } }),
            json!("m"),
        ] {
            assert_eq!(Said::read(&body), Said { message: "m", ..Said::default() }, "{body}");
        }
        for body in [json!(null), json!([]), json!({ "detail": [{ "msg": "x" }] })] {
            assert_eq!(Said::read(&body), Said::default());
        }
    }

    #[test]
    fn a_refused_parameter_is_changed() {
        let shape = Shape::default();
        let changed = |message: &str, param: &str, code: &str, shape| {
            let said = Said { message, kind: "", code, param };
            said.changed(StatusCode::BAD_REQUEST, shape)
        };
        let old = Shape { max_tokens: MaxTokens::MaxTokens, ..shape };
        let both =
            "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead.";
        assert_eq!(changed(both, "max_tokens", "unsupported_parameter", old), Some(shape));
        assert_eq!(changed(both, "", "", old), Some(shape));
        assert_eq!(changed("unknown field max_completion_tokens", "", "", shape), Some(old));
        assert_eq!(changed("max_tokens is too large", "max_tokens", "invalid_value", old), None);
        let plain = Shape { stream_options: false, ..shape };
        assert_eq!(changed("unknown field `stream_options`", "", "", shape), Some(plain));
        assert_eq!(changed("unknown field `stream_options`", "", "", plain), None);
        let developer = Shape { role: InstructionsRole::Developer, ..shape };
        let refused = "Unsupported value: 'messages[0].role' does not support 'system' with this model.";
        assert_eq!(changed(refused, "messages[0].role", "unsupported_value", shape), Some(developer));
        assert_eq!(changed("Unexpected role 'developer'", "", "", developer), Some(shape));
        assert_eq!(changed("the system is down", "", "", shape), None);
        assert_eq!(changed("'temperature' does not support 0.5", "temperature", "", shape), None);
    }
}
