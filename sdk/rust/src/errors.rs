//! Why a call failed, as data: the details of `google.rpc.Status` read once.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::v1::ErrorReason;

/// The `domain` of reasons that are Switchboard's.
const DOMAIN: &str = "switchboard";

/// A failed call. Decide by [`reason`](Error::reason) or [`code`](Error::code); the message is for people and may change.
#[derive(Debug)]
pub struct Error {
    status: Status,
    reason: ErrorReason,
    field_violations: Vec<FieldViolation>,
    // Boxed, so that a `Result` with this error stays small.
    details: Box<ErrorDetails>,
}

/// A field that the server refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldViolation {
    /// The field's path in the request, such as `agent.display_name`.
    pub field: String,
    /// What is wrong with it, for people.
    pub description: String,
}

impl Error {
    /// The gRPC code.
    pub fn code(&self) -> Code {
        self.status.code()
    }

    /// The server's sentence about what went wrong, for people.
    pub fn message(&self) -> &str {
        self.status.message()
    }

    /// Why, as the contract names it. `Unspecified` when the error doesn't come from Switchboard (a broken connection,
    /// a proxy) or has a reason that this SDK is too old to know; [`reason_name`](Error::reason_name) has the latter.
    pub fn reason(&self) -> ErrorReason {
        self.reason
    }

    /// The reason as the server wrote it, such as `AGENT_NOT_FOUND`. Empty when there is none.
    pub fn reason_name(&self) -> &str {
        info(&self.details).map_or("", |info| info.reason.as_str())
    }

    /// Every field that was refused. Empty when the call failed for another reason.
    pub fn field_violations(&self) -> &[FieldViolation] {
        &self.field_violations
    }

    /// How long the server asks to wait before the call is made again. `None` when it gives no advice.
    pub fn retry_after(&self) -> Option<Duration> {
        self.details.retry_info()?.retry_delay
    }

    /// Further facts of the reason by name, such as the `scope` that a key lacks.
    pub fn metadata(&self) -> &HashMap<String, String> {
        static NONE: std::sync::LazyLock<HashMap<String, String>> = std::sync::LazyLock::new(HashMap::new);
        info(&self.details).map_or(&*NONE, |info| &info.metadata)
    }

    /// The status as it came.
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// Gives the status back.
    pub fn into_status(self) -> Status {
        self.status
    }
}

fn info(details: &ErrorDetails) -> Option<&tonic_types::ErrorInfo> {
    details.error_info().filter(|info| info.domain == DOMAIN)
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        let details = Box::new(status.get_error_details());
        let reason = info(&details)
            .and_then(|info| ErrorReason::from_str_name(&format!("ERROR_REASON_{}", info.reason)))
            .unwrap_or_default();
        let field_violations = details
            .bad_request()
            .map(|bad_request| {
                bad_request
                    .field_violations
                    .iter()
                    .map(|violation| FieldViolation {
                        field: violation.field.clone(),
                        description: violation.description.clone(),
                    })
                    .collect()
            })
            .unwrap_or_default();
        Self { status, reason, field_violations, details }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.reason_name() {
            "" => format!("{:?}", self.code()),
            name => name.to_owned(),
        };
        write!(formatter, "{name}: {}", self.message())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // The status repeats this error's words; what lies below it, a broken connection say, is news.
        std::error::Error::source(&self.status)
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::FieldViolation as Violation;

    use super::*;

    fn failed(domain: &str, reason: &str) -> Error {
        let mut details = ErrorDetails::new();
        details
            .set_error_info(reason, domain, [("scope".to_owned(), "agents:write".to_owned())])
            .set_bad_request(vec![
                Violation::new("agent.display_name", "is required"),
                Violation::new("agent.engine", "is required"),
            ])
            .set_retry_info(Some(Duration::from_millis(250)));
        Status::with_error_details(Code::InvalidArgument, "2 fields are not valid", details).into()
    }

    #[test]
    fn details_become_data() {
        let error = failed("switchboard", "FIELD_INVALID");
        assert_eq!(error.reason(), ErrorReason::FieldInvalid);
        assert_eq!(error.code(), Code::InvalidArgument);
        assert_eq!(error.retry_after(), Some(Duration::from_millis(250)));
        assert_eq!(error.metadata()["scope"], "agents:write");
        let fields: Vec<&str> = error.field_violations().iter().map(|each| each.field.as_str()).collect();
        assert_eq!(fields, ["agent.display_name", "agent.engine"]);
        assert_eq!(error.to_string(), "FIELD_INVALID: 2 fields are not valid");
    }

    #[test]
    fn a_newer_reason_keeps_its_name() {
        let error = failed("switchboard", "OF_NEXT_YEAR");
        assert_eq!(error.reason(), ErrorReason::Unspecified);
        assert_eq!(error.reason_name(), "OF_NEXT_YEAR");
    }

    #[test]
    fn reasons_of_others_are_not_ours() {
        let error = failed("proxy.example", "FIELD_INVALID");
        assert_eq!((error.reason(), error.reason_name()), (ErrorReason::Unspecified, ""));
        assert!(error.metadata().is_empty());
    }

    #[test]
    fn a_bare_status_is_an_error_too() {
        let error = Error::from(Status::unavailable("gone"));
        assert_eq!(error.reason(), ErrorReason::Unspecified);
        assert!(error.field_violations().is_empty() && error.retry_after().is_none());
        assert_eq!(error.to_string(), "Unavailable: gone");
    }
}
