//! REST v4: the one client of it. <https://www.amocrm.ru/developers/content/crm_platform/api-reference> (read 2026-11-20)
//!
//! Every call waits for its turn at the connection's gate: the vendor takes seven a second and shuts out who doesn't heed its
//! 429. Nothing of this was tried on a live account; what the documents leave open is read with care.

use std::time::Duration;

use bytes::Bytes;
use domain::{
    SystemClock,
    clock::Clock as _,
    connection::{Connection, Refused},
    oauth::ACCESS_TOKEN,
    vendor::{Applied, FailureKind, Retry, VendorError},
};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use secrecy::ExposeSecret;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use url::{Url, form_urlencoded};

use super::{ID, failed, lenient, settings::Settings};
use crate::{
    account,
    http::{Call, HttpClient, Patience},
};

/// How many calls a second the vendor takes.
const PER_SECOND: u32 = 7;
/// How many items a page may have.
const PAGE: &str = "250";
/// How many pages are followed: more than any account has of what we list.
const MOST_PAGES: usize = 1_000;
/// What the vendor's own library waits for, at most.
const PATIENCE: Patience = Patience {
    head: Duration::from_secs(20),
    idle: Duration::from_secs(5),
    whole: Duration::from_secs(20),
    most_bytes: 8 * 1024 * 1024,
};
/// What the vendor's support asks for.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// How much of the vendor's own sentence is told, in characters.
const MAX_DETAIL_CHARS: usize = 300;

/// REST v4 of one account, for one operation.
pub(super) struct Rest<'a> {
    http: &'a HttpClient,
    connection: &'a Connection,
    operation: &'static str,
    base: String,
}

/// The vendor said no, or nothing.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) error: Box<VendorError>,
    /// What it found wrong with what it was sent. Empty: it did not say, or it is about something else.
    pub(super) rejections: Vec<Rejection>,
}

/// Something that the vendor found wrong with what it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rejection {
    /// The `request_id` of the item; the vendor's own count where none was given.
    pub(super) request_id: String,
    /// An open set: `NotSupportedChoice`, `FieldMissing`, `AlreadyExists`…
    pub(super) code: String,
    /// Where in the item, such as `custom_fields_values.0.field_id`.
    pub(super) path: String,
    /// The vendor's sentence.
    pub(super) detail: String,
}

impl From<VendorError> for Refusal {
    fn from(error: VendorError) -> Self {
        Self { error: Box::new(error), rejections: Vec::new() }
    }
}

impl From<Refusal> for VendorError {
    fn from(refusal: Refusal) -> Self {
        *refusal.error
    }
}

/// A page of a list.
#[derive(Deserialize)]
struct Page {
    #[serde(default, rename = "_links", deserialize_with = "lenient::object")]
    links: Links,
    #[serde(default, rename = "_embedded", deserialize_with = "lenient::object")]
    embedded: serde_json::Map<String, Value>,
}

#[derive(Default, Deserialize)]
struct Links {
    #[serde(default, deserialize_with = "lenient::object")]
    next: Link,
}

#[derive(Default, Deserialize)]
struct Link {
    #[serde(default)]
    href: String,
}

/// An error's body, problem+json.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Problem {
    title: String,
    detail: String,
    #[serde(rename = "validation-errors", deserialize_with = "lenient::list")]
    validation: Vec<Invalid>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Invalid {
    request_id: Value,
    #[serde(deserialize_with = "lenient::list")]
    errors: Vec<Mistake>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Mistake {
    code: Value,
    path: String,
    detail: String,
}

impl<'a> Rest<'a> {
    /// The account of a connection.
    pub(super) fn new(
        http: &'a HttpClient,
        connection: &'a Connection,
        operation: &'static str,
    ) -> Result<Self, VendorError> {
        let settings = Settings::read(&connection.settings)
            .map_err(|_| failed(operation, FailureKind::Other, "the settings are not valid", Retry::Never))?;
        Ok(Self { http, connection, operation, base: format!("{}/api/v4", settings.base_url()) })
    }

    /// Reads one thing. `None`: 204, which says that there is none.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Option<T>, Refusal> {
        let body = self.call(Method::GET, path, &encoded(query), Bytes::new()).await?;
        self.read(&body)
    }

    /// Reads one thing that may be gone: also 404 says so.
    pub(super) async fn find<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Option<T>, Refusal> {
        match self.get(path, query).await {
            Err(refusal) if refusal.error.kind == FailureKind::NotFound => Ok(None),
            found => found,
        }
    }

    /// Reads a whole list, page by page, as the vendor links them. `name` is what the items are under.
    pub(super) async fn list<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
        name: &str,
    ) -> Result<Vec<T>, Refusal> {
        let mut query = encoded(&[query, &[("limit", PAGE), ("page", "1")]].concat());
        let mut items = Vec::new();
        for _ in 0..MOST_PAGES {
            let body = self.call(Method::GET, path, &query, Bytes::new()).await?;
            let Some(mut page) = self.read::<Page>(&body)? else { return Ok(items) };
            let found = page.embedded.remove(name).unwrap_or_default();
            items.extend(lenient::list::<_, T>(found).map_err(|_| self.bad_answer())?);
            // Only the query: a token goes to the account that it is for, wherever a link leads.
            let next = match Url::options()
                .base_url(Url::parse(&self.base).ok().as_ref())
                .parse(&page.links.next.href)
            {
                Ok(next) if !page.links.next.href.is_empty() => next.query().unwrap_or_default().to_owned(),
                _ => return Ok(items),
            };
            if next == query {
                break;
            }
            query = next;
        }
        Err(self.bad_answer().into())
    }

    /// Sends a body: an object to one thing, a list to a collection, null for none. `None`: the vendor answered 204.
    pub(super) async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &Value,
    ) -> Result<Option<T>, Refusal> {
        let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
        let body = self.call(method, path, "", body).await?;
        self.read(&body).map_err(|mut refusal| {
            // It was done, whatever was said about it.
            refusal.error.applied = Applied::Maybe;
            refusal
        })
    }

    /// Sends a body to what answers nothing that is read.
    pub(super) async fn tell(&self, method: Method, path: &str, body: &Value) -> Result<(), Refusal> {
        self.call(method, path, "", body.to_string().into()).await.map(drop)
    }

    fn read<T: DeserializeOwned>(&self, body: &Bytes) -> Result<Option<T>, Refusal> {
        if body.is_empty() {
            return Ok(None);
        }
        serde_json::from_slice(body).map(Some).map_err(|_| self.bad_answer().into())
    }

    /// Makes one call in its turn. Gives the body of a 2xx; 204 has none.
    async fn call(&self, method: Method, path: &str, query: &str, body: Bytes) -> Result<Bytes, Refusal> {
        if let Some(gate) = &self.connection.gate
            && let Err(pause) = gate.pass(PER_SECOND).await
        {
            let detail = "the account takes seven calls a second and there are too many now, or it lets us in again only after \
                          a while; come again after the pause";
            return Err(failed(self.operation, FailureKind::RateLimited, detail, Retry::After(pause)).into());
        }
        let token = self.connection.credential(ACCESS_TOKEN).map(ExposeSecret::expose_secret);
        let token = account::header(ID, self.operation, "Bearer ", token.unwrap_or_default())?;
        let mut headers = HeaderMap::from_iter([(AUTHORIZATION, token)]);
        if !body.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let question = if query.is_empty() { "" } else { "?" };
        let url = format!("{}/{path}{question}{query}", self.base);
        let now = SystemClock.now();
        let call = Call { vendor: ID, operation: self.operation, method, url: &url, headers, body, now };
        let mut opened = self.http.open(&call, PATIENCE).await?;
        if opened.status == StatusCode::NO_CONTENT {
            return Ok(Bytes::new());
        }
        if opened.status.is_success() {
            return Ok(opened.whole().await?);
        }
        let request = opened.headers.get(REQUEST_ID).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (body, error) = opened.refusal(&call).await;
        Err(self.refused(error, &body, request.as_deref()).await)
    }

    /// Reads what a refusal says, and tells the gate where it is about too many calls.
    async fn refused(&self, mut error: VendorError, body: &[u8], request: Option<&str>) -> Refusal {
        let problem = serde_json::from_slice::<Problem>(body).ok();
        let why = match error.http_status {
            Some(429) => Some(Refused::TooMany(match error.retry {
                Retry::After(pause) => Some(pause),
                _ => None,
            })),
            // Who is shut out is answered before anything reads the call, so not in the API's words.
            Some(403) if problem.is_none() => Some(Refused::Blocked),
            Some(403) => Some(Refused::Perhaps),
            _ => None,
        };
        let pause = match (&self.connection.gate, why) {
            (Some(gate), Some(why)) => gate.refused(why).await,
            (None, Some(Refused::Blocked)) => Some(Duration::from_mins(15)),
            _ => None,
        };
        if let Some(pause) = pause {
            error.kind = FailureKind::RateLimited;
            error.retry = Retry::After(pause);
            if error.http_status == Some(403) {
                error.detail.push_str(": after too many calls none of ours is let in for a while");
            }
        }
        // Whoever answers in the place of an account that is not there; the API itself speaks JSON.
        let elsewhere = match error.http_status {
            Some(404) => problem.is_none() && body.trim_ascii_start().starts_with(b"<"),
            Some(status) => (300..400).contains(&status),
            None => false,
        };
        if elsewhere {
            error.kind = FailureKind::Unauthorized;
            error.retry = Retry::Backoff;
            error.detail.push_str(
                ": no such account is at this address any more; the next call asks where it has moved to",
            );
        }
        error.detail.push_str(match error.kind {
            FailureKind::OutOfQuota => ": the account is not paid for, or its tariff lacks this",
            FailureKind::Forbidden => {
                ": who let us in lacks the right; have an administrator of the account consent"
            }
            _ => "",
        });
        let Problem { title, detail, validation } = problem.unwrap_or_default();
        let said = if detail.is_empty() { title } else { detail };
        for (before, text) in [(": ", Some(&*said)), ("; the vendor's X-Request-Id is ", request)] {
            if let Some(text) = text.filter(|text| !text.is_empty()) {
                error.detail.push_str(before);
                error.detail.extend(text.chars().filter(|c| !c.is_control()).take(MAX_DETAIL_CHARS));
            }
        }
        // The body of a refusal may hold what we sent.
        let error = VendorError { excerpt: None, ..account::redacted(error, self.connection) };
        let rejections = validation.into_iter().flat_map(|item| {
            let request_id = text(&item.request_id);
            item.errors.into_iter().map(move |mistake| Rejection {
                request_id: request_id.clone(),
                code: text(&mistake.code),
                path: mistake.path,
                detail: mistake.detail.chars().take(MAX_DETAIL_CHARS).collect(),
            })
        });
        Refusal { error: Box::new(error), rejections: rejections.collect() }
    }

    fn bad_answer(&self) -> VendorError {
        super::bad_answer(self.operation)
    }
}

fn encoded(query: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish()
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        value => value.to_string(),
    }
}
