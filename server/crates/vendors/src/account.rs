//! An account at a vendor of models: where it is, its key, and how a connection to it is tried.

use std::time::Duration;

use domain::{
    FieldViolation,
    connection::{CheckOutcome, CheckStep, Connection, CredentialField},
    engine::Model,
    vendor::{Applied, FailureKind, Retry, VendorError},
};
use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::http::Patience;

/// The credential that all of them have.
pub(crate) const API_KEY: &str = "api_key";

/// How long a list of models may take, and how long it may be.
pub(crate) const LISTING: Patience = Patience {
    head: Duration::from_secs(10),
    idle: Duration::from_secs(5),
    whole: Duration::from_secs(15),
    most_bytes: 4 * 1024 * 1024,
};

/// Describes the key.
pub(crate) const fn api_key(description: &'static str, required: bool) -> CredentialField {
    CredentialField { name: API_KEY, title: "API key", description, required }
}

/// The key of a connection. `None`: it has none, or an empty one.
pub(crate) fn key_of(connection: &Connection) -> Option<&SecretString> {
    connection.credential(API_KEY).filter(|key| !key.expose_secret().is_empty())
}

/// Writes a key into a header that is kept out of logs.
///
/// # Errors
/// A key with characters that no header carries, as an error of this call.
pub(crate) fn header(
    vendor: &'static str,
    operation: &'static str,
    prefix: &str,
    key: &str,
) -> Result<HeaderValue, VendorError> {
    let value = HeaderValue::try_from(format!("{prefix}{key}"));
    let mut value = value.map_err(|_| VendorError {
        vendor,
        operation,
        kind: FailureKind::Unauthorized,
        http_status: None,
        detail: "the key has characters that no key has".to_owned(),
        excerpt: None,
        applied: Applied::No,
        retry: Retry::Never,
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// Asks for a completion until the run is cancelled, which drops the call and closes its connection: by that the vendor stops
/// writing. It may have been sent by then, and what it used is not told any more.
pub(crate) async fn until_cancelled<T>(
    vendor: &'static str,
    cancelled: &CancellationToken,
    asked: impl Future<Output = Result<T, VendorError>>,
) -> Result<T, VendorError> {
    let before = cancelled.is_cancelled();
    if let Some(answered) = cancelled.run_until_cancelled(asked).await {
        return answered;
    }
    Err(VendorError {
        vendor,
        operation: "complete",
        kind: FailureKind::Cancelled,
        http_status: None,
        detail: "the run was cancelled".to_owned(),
        excerpt: None,
        applied: if before { Applied::No } else { Applied::Maybe },
        retry: Retry::Backoff,
    })
}

/// Takes the key out of an error: there are servers that quote what they were sent.
pub(crate) fn redacted(mut error: VendorError, connection: &Connection) -> VendorError {
    for secret in connection.credentials.values().map(ExposeSecret::expose_secret) {
        // Shorter ones are no secrets, and would be found everywhere.
        if secret.len() < 4 {
            continue;
        }
        let hide = |text: &mut String| {
            if text.contains(secret) {
                *text = text.replace(secret, "[redacted]");
            }
        };
        hide(&mut error.detail);
        if let Some(excerpt) = &mut error.excerpt {
            hide(excerpt);
            hide_beginning(excerpt, secret);
        }
    }
    error
}

/// An excerpt may end in the middle of a key.
fn hide_beginning(excerpt: &mut String, secret: &str) {
    let most = secret.len().min(excerpt.len());
    let tail = (4..most).rev().filter(|length| secret.is_char_boundary(*length));
    if let Some(length) = tail.into_iter().find(|length| excerpt.ends_with(&secret[..*length])) {
        excerpt.truncate(excerpt.len() - length);
        excerpt.push_str("[redacted]");
    }
}

/// Whether a text will do as the beginning of URLs; whether it may be called is checked apart.
pub(crate) fn is_base_url(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https") && url.query().is_none() && url.fragment().is_none()
    })
}

/// What `base_url` must be.
pub(crate) const BASE_URL: &str = "must be an http or https URL without a query";

/// The member `base_url` of a schema.
pub(crate) fn base_url_schema(default: &str, description: &str) -> Value {
    json!({ "type": "string", "format": "uri", "title": "Base URL", "description": description, "default": default })
}

/// Checks `base_url` once the settings are read.
pub(crate) fn check_base_url(base_url: Option<&str>) -> Result<(), Vec<FieldViolation>> {
    match base_url {
        Some(url) if !is_base_url(url) => Err(vec![FieldViolation::new("settings.base_url", BASE_URL)]),
        _ => Ok(()),
    }
}

/// Joins a base URL and a path with exactly one slash.
pub(crate) fn join(base_url: &str, path: &str) -> String {
    format!("{}/{}", base_url.trim_end_matches('/'), path.trim_start_matches('/'))
}

const HEARD: &str = "The vendor answers.";

/// The steps of a check that asks for the list of models, which costs nothing and needs the key.
pub(crate) fn steps(listed: Result<Vec<Model>, VendorError>) -> Vec<CheckStep> {
    let step = |name, outcome, detail: String, remedy: &str| CheckStep {
        name,
        outcome,
        detail,
        remedy: remedy.to_owned(),
    };
    let passed = |name, detail: &str| step(name, CheckOutcome::Passed, detail.to_owned(), "");
    let skipped = |name| step(name, CheckOutcome::Skipped, "An earlier step failed.".to_owned(), "");
    let failed = |name, error: &VendorError, remedy| {
        step(name, CheckOutcome::Failed, format!("{}.", error.detail), remedy)
    };
    let error = match listed {
        Ok(models) if models.is_empty() => {
            let detail = "The vendor lists no models; agents name theirs.";
            return vec![
                passed("reachable", HEARD),
                passed("credentials", "Nothing was refused."),
                passed("models", detail),
            ];
        }
        Ok(models) => {
            let detail = format!("{} models are listed, {} among them.", models.len(), models[0].id);
            return vec![
                passed("reachable", HEARD),
                passed("credentials", "The key lets in."),
                passed("models", &detail),
            ];
        }
        Err(error) => error,
    };
    match error.kind {
        FailureKind::Unauthorized => {
            let remedy = "Set a key that is valid at the vendor.";
            vec![passed("reachable", HEARD), failed("credentials", &error, remedy), skipped("models")]
        }
        // The vendor knows the key: another one of this account would fare no better.
        FailureKind::Forbidden | FailureKind::OutOfQuota => {
            let remedy = match error.kind {
                FailureKind::Forbidden => "Give the key the right to list models, or use another one.",
                _ => "Settle the account's billing or limits at the vendor.",
            };
            let known = passed("credentials", "The vendor knows the key.");
            vec![passed("reachable", HEARD), known, failed("models", &error, remedy)]
        }
        _ if error.http_status.is_none() => {
            let remedy = "Check the base URL, and that this server may reach it; private addresses need the operator's leave.";
            vec![failed("reachable", &error, remedy), skipped("credentials"), skipped("models")]
        }
        FailureKind::RateLimited | FailureKind::Unavailable => {
            let remedy = "Try again later.";
            vec![passed("reachable", HEARD), skipped("credentials"), failed("models", &error, remedy)]
        }
        _ => {
            let remedy = "Check that the base URL is that of the vendor's API.";
            vec![passed("reachable", HEARD), skipped("credentials"), failed("models", &error, remedy)]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_joined_with_one_slash() {
        for (base, path) in
            [("http://x/v1", "models"), ("http://x/v1/", "/models"), ("http://x/v1//", "models")]
        {
            assert_eq!(join(base, path), "http://x/v1/models");
        }
        assert!(is_base_url("https://x/v1") && !is_base_url("x/v1") && !is_base_url("https://x?a=b"));
    }

    #[test]
    fn only_a_key_that_is_refused_is_a_matter_of_credentials() {
        let failed_at = |kind| {
            let error = VendorError {
                vendor: "x",
                operation: "y",
                kind,
                http_status: Some(400),
                detail: "no".into(),
                excerpt: None,
                applied: Applied::No,
                retry: Retry::Never,
            };
            let steps = steps(Err(error));
            steps.into_iter().find(|step| step.outcome == CheckOutcome::Failed).unwrap().name
        };
        assert_eq!(failed_at(FailureKind::Unauthorized), "credentials");
        assert_eq!(failed_at(FailureKind::Forbidden), "models");
        assert_eq!(failed_at(FailureKind::OutOfQuota), "models");
    }

    #[test]
    fn a_key_is_taken_out_of_errors_also_where_an_excerpt_cuts_it() {
        let connection = Connection {
            credentials: [(API_KEY.to_owned(), "sk-secret-12345".into())].into(),
            ..Connection::default()
        };
        let error = VendorError {
            vendor: "x",
            operation: "y",
            kind: FailureKind::Other,
            http_status: None,
            detail: "sk-secret-12345 is wrong".into(),
            excerpt: Some("you said sk-secret-12345, sk-secr".into()),
            applied: Applied::No,
            retry: Retry::Never,
        };
        let error = redacted(error, &connection);
        assert_eq!(error.detail, "[redacted] is wrong");
        assert_eq!(error.excerpt.as_deref(), Some("you said [redacted], [redacted]"));
    }
}
