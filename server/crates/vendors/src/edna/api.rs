//! The calls of edna's API.

use std::time::Duration;

use bytes::Bytes;
use domain::{
    Timestamp,
    connection::Connection,
    vendor::{Applied, FailureKind, Retry, VendorError},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header::CONTENT_TYPE};
use secrecy::ExposeSecret;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{BASE_URL, ID, settings::ConnectionSettings};
use crate::{
    account,
    http::{Call, HttpClient, Patience, Response},
    refusal,
};

const KEY: HeaderName = HeaderName::from_static("x-api-key");
const PATIENCE: Patience = Patience {
    head: Duration::from_secs(20),
    idle: Duration::from_secs(5),
    whole: Duration::from_secs(30),
    most_bytes: 4 * 1024 * 1024,
};
/// How many cascades are asked for at a time, and how many pages at most.
const PAGE: usize = 100;
const MOST_PAGES: usize = 20;

/// A channel as edna lists it. <https://docs-pulse.edna.io/docs/api/channels/channel-list> (read 2026-11-20)
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Profile {
    #[serde(default)]
    pub(super) name: String,
    pub(super) subject_id: Option<i64>,
    pub(super) subject: Option<String>,
    #[serde(default)]
    pub(super) active: bool,
    #[serde(rename = "type", default)]
    pub(super) kind: String,
}

/// A cascade. <https://docs-pulse.edna.io/docs/api/cascades/get-cascades> (read 2026-11-20)
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Cascade {
    pub(super) id: i64,
    #[serde(default)]
    pub(super) status: String,
    #[serde(default)]
    pub(super) stages_count: i64,
    #[serde(default)]
    pub(super) stages: Vec<Stage>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Stage {
    pub(super) subject: Option<Subject>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Subject {
    pub(super) id: Option<i64>,
    pub(super) subject: Option<String>,
}

/// An account, for some calls.
pub(super) struct Account<'a> {
    http: &'a HttpClient,
    connection: &'a Connection,
    base_url: String,
    now: Timestamp,
}

/// What edna's codes mean. <https://docs.edna.io/kb/message-errors/> (read 2026-11-20)
fn meaning(code: &str) -> (FailureKind, Retry) {
    match code {
        "error-system" => (FailureKind::Unavailable, Retry::Backoff),
        "error-unauthorized" => (FailureKind::Unauthorized, Retry::Never),
        "error-system-blocked" => (FailureKind::Forbidden, Retry::Never),
        "error-insufficient-balance" => (FailureKind::OutOfQuota, Retry::Never),
        "error-not-found" | "error-subject-unknown" => (FailureKind::NotFound, Retry::Never),
        _ => (FailureKind::Other, Retry::Never),
    }
}

/// Finds one of edna's codes in an answer, of which only the codes are certain.
fn code_in(text: &str) -> Option<&str> {
    let at = text.find("error-")?;
    let rest = &text[at..];
    let end = rest.find(|c: char| !(c.is_ascii_lowercase() || c == '-')).unwrap_or(rest.len());
    Some(&rest[..end])
}

impl<'a> Account<'a> {
    pub(super) fn of(http: &'a HttpClient, connection: &'a Connection, now: Timestamp) -> Self {
        let settings = ConnectionSettings::read(&connection.settings).unwrap_or_default();
        let base_url = settings.base_url.unwrap_or_else(|| BASE_URL.to_owned());
        Self { http, connection, base_url, now }
    }

    pub(super) fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Lists the channels.
    pub(super) async fn channels(&self) -> Result<Vec<Profile>, VendorError> {
        self.read("list_channels", Method::GET, "channel-profile", None).await
    }

    /// Lists the cascades.
    pub(super) async fn cascades(&self) -> Result<Vec<Cascade>, VendorError> {
        let mut all = Vec::new();
        for page in 0..MOST_PAGES {
            let body = json!({ "offset": page * PAGE, "limit": PAGE });
            let some: Vec<Cascade> =
                self.read("list_cascades", Method::POST, "cascade/get-all", Some(&body)).await?;
            let last = some.len() < PAGE;
            all.extend(some);
            if last {
                break;
            }
        }
        Ok(all)
    }

    /// Has edna call this address, and gives its code: `ok`, or what is wrong with the address.
    pub(super) async fn set_callbacks(
        &self,
        subject_id: Option<i64>,
        hook_url: &str,
    ) -> Result<String, VendorError> {
        #[derive(Deserialize)]
        struct Set {
            #[serde(default)]
            code: String,
        }
        let mut body = json!({
            "statusCallbackUrl": hook_url,
            "inMessageCallbackUrl": hook_url,
            "messageMatcherCallbackUrl": hook_url,
        });
        if let Some(id) = subject_id {
            body["subjectId"] = json!(id);
        }
        match self.read::<Set>("set_callbacks", Method::POST, "callback/set", Some(&body)).await {
            Ok(set) => Ok(set.code),
            // Which status a refused address has is not told; the code in it is.
            Err(error) => match error.excerpt.as_deref().and_then(code_in) {
                Some(code) if code != "error-unauthorized" => Ok(code.to_owned()),
                _ => Err(error),
            },
        }
    }

    /// Sends: by a cascade, or straight to a bot. A repeat of a cascade's message that edna has taken is as good as taken.
    pub(super) async fn send(&self, path: &str, body: &Value) -> Result<Response, VendorError> {
        const SEND: &str = "send";
        let url = account::join(&self.base_url, path);
        let call = self.call(SEND, Method::POST, &url, Some(body))?;
        let sent = match self.http.post(call).await {
            Ok(response) => {
                // Some of its answers say with a status of 200 that nothing was taken.
                let text = String::from_utf8_lossy(&response.body).into_owned();
                match code_in(&text) {
                    None => return Ok(response),
                    Some(_) => Err(VendorError {
                        vendor: ID,
                        operation: SEND,
                        kind: FailureKind::Other,
                        http_status: Some(response.status.as_u16()),
                        detail: "edna took the call and refused the message".to_owned(),
                        excerpt: crate::http::excerpt(&response.body),
                        applied: Applied::No,
                        retry: Retry::Never,
                    }),
                }
            }
            Err(error) => Err(error),
        };
        sent.map_err(|error| self.worded(error))
    }

    /// Gives an error edna's own word for it, and what that means.
    fn worded(&self, mut error: VendorError) -> VendorError {
        if let Some(code) = error.excerpt.as_deref().and_then(code_in).map(str::to_owned) {
            (error.kind, error.retry) = match meaning(&code) {
                // What the status says is as good, where the code says nothing that somebody has to act on.
                (FailureKind::Other, _) => (error.kind, Retry::Never),
                known => known,
            };
            refusal::name(&mut error, Some(&code), None);
        }
        account::redacted(error, self.connection)
    }

    fn call<'c>(
        &self,
        operation: &'static str,
        method: Method,
        url: &'c str,
        body: Option<&Value>,
    ) -> Result<Call<'c>, VendorError> {
        let key = account::key_of(self.connection).map_or("", |key| key.expose_secret());
        let mut headers = HeaderMap::with_capacity(2);
        headers.insert(KEY, account::header(ID, operation, "", key)?);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let body = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
        Ok(Call { vendor: ID, operation, method, url, headers, body, now: self.now })
    }

    async fn read<T: DeserializeOwned>(
        &self,
        operation: &'static str,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<T, VendorError> {
        let url = account::join(&self.base_url, path);
        let call = self.call(operation, method, &url, body)?;
        let mut opened = self.http.open(&call, PATIENCE).await?;
        if !opened.status.is_success() {
            let (_, error) = opened.refusal(&call).await;
            return Err(self.worded(error));
        }
        let whole = opened.whole().await?;
        serde_json::from_slice(&whole).map_err(|error| {
            let detail = format!("edna's answer is not what its API promises: {error}");
            account::redacted(opened.bad(detail), self.connection)
        })
    }
}

/// Whether edna refuses a message because it has taken it before: its text, and the code of its older answers.
pub(super) fn is_repeat(error: &VendorError) -> bool {
    let text = error.excerpt.as_deref().unwrap_or_default().to_lowercase();
    error.applied == Applied::No && (text.contains("not unique") || text.contains("error-id-not-unique"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_found_in_any_answer() {
        assert_eq!(code_in(r#"{"code":"error-system"}"#), Some("error-system"));
        assert_eq!(code_in("nothing (error-subject-unknown)"), Some("error-subject-unknown"));
        assert_eq!(code_in(r#"{"code":"ok"}"#), None);
    }

    #[test]
    fn an_answer_is_a_repeat_in_its_text_or_its_code() {
        let error = |excerpt: &str, applied| VendorError {
            vendor: ID,
            operation: "send",
            kind: FailureKind::Other,
            http_status: Some(400),
            detail: String::new(),
            excerpt: Some(excerpt.to_owned()),
            applied,
            retry: Retry::Never,
        };
        assert!(is_repeat(&error(r#"{"detail":"RequestId is not unique"}"#, Applied::No)));
        assert!(is_repeat(&error(r#"{"code":"error-id-not-unique"}"#, Applied::No)));
        assert!(!is_repeat(&error("Cascade not found", Applied::No)));
        assert!(!is_repeat(&error("not unique", Applied::Maybe)));
    }
}
