//! The calls of Manus's API, version 2.

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

use super::ID;
use crate::{
    account,
    http::{Call, HttpClient, Patience},
};

const KEY: HeaderName = HeaderName::from_static("x-manus-api-key");
const PATIENCE: Patience = Patience {
    head: Duration::from_secs(30),
    idle: Duration::from_secs(10),
    whole: Duration::from_secs(40),
    most_bytes: 4 * 1024 * 1024,
};
/// How many of the newest messages of a task are read: it comments on its work.
const MESSAGES: usize = 100;

/// An account, for one look at it.
pub(super) struct Account<'a> {
    http: &'a HttpClient,
    connection: &'a Connection,
    base_url: String,
    now: Timestamp,
}

/// Where a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    /// It works.
    Running,
    /// It needs to be told something.
    Waiting,
    /// It has finished, or was stopped.
    Stopped,
    /// It failed.
    Error,
}

/// What a task has come to.
#[derive(Debug)]
pub(super) struct Reached {
    pub(super) status: Status,
    /// What it said last, with links to what it attached.
    pub(super) text: Option<String>,
    /// What went wrong, in its words.
    pub(super) trouble: Option<String>,
    /// Its cost so far.
    pub(super) credits: i64,
    /// Which kind of agent works.
    pub(super) profile: String,
}

impl<'a> Account<'a> {
    pub(super) fn new(
        http: &'a HttpClient,
        connection: &'a Connection,
        base_url: String,
        now: Timestamp,
    ) -> Self {
        Self { http, connection, base_url, now }
    }

    pub(super) fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Makes a task and gives its id.
    pub(super) async fn create(&self, body: &Value) -> Result<String, VendorError> {
        let created: Created = self.call("task.create", Method::POST, "", Some(body)).await?;
        Ok(created.task_id)
    }

    /// Tells a task more.
    pub(super) async fn send(&self, task: &str, content: &[Value]) -> Result<(), VendorError> {
        let body = json!({ "task_id": task, "message": { "content": content } });
        self.call("task.sendMessage", Method::POST, "", Some(&body)).await.map(|Nothing {}| ())
    }

    /// Stops what a task works on. It can be told more all the same.
    pub(super) async fn stop(&self, task: &str) -> Result<(), VendorError> {
        let body = json!({ "task_id": task });
        self.call("task.stop", Method::POST, "", Some(&body)).await.map(|Nothing {}| ())
    }

    /// Deletes a task. One that is gone is deleted.
    pub(super) async fn delete(&self, task: &str) -> Result<(), VendorError> {
        let body = json!({ "task_id": task });
        match self.call("task.delete", Method::POST, "", Some(&body)).await {
            Ok(Nothing {}) => Ok(()),
            Err(error) if error.kind == FailureKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Lists tasks, which shows whether the key lets in.
    pub(super) async fn list(&self) -> Result<(), VendorError> {
        self.call("task.list", Method::GET, "?limit=1", None).await.map(|Nothing {}| ())
    }

    /// The key that Manus signs its calls with, as PEM.
    pub(super) async fn public_key(&self) -> Result<String, VendorError> {
        let key: PublicKey = self.call("webhook.publicKey", Method::GET, "", None).await?;
        Ok(key.public_key)
    }

    /// The newest message of a task.
    pub(super) async fn newest(&self, task: &str) -> Result<Option<String>, VendorError> {
        Ok(self.messages(task, 1).await?.into_iter().next().map(|message| message.id))
    }

    /// Looks at a task, and at what it said after this message.
    pub(super) async fn look(&self, task: &str, after: Option<&str>) -> Result<Reached, VendorError> {
        let query = format!("?task_id={}", encoded(task));
        let Detailed { task: detail } = self.call("task.detail", Method::GET, &query, None).await?;
        let mut reached = Reached {
            status: detail.status,
            text: None,
            trouble: None,
            credits: detail.credit_usage.unwrap_or_default(),
            profile: detail.agent_profile.unwrap_or_default(),
        };
        if detail.status == Status::Running {
            return Ok(reached);
        }
        let mut asked = None;
        for message in self.messages(task, MESSAGES).await? {
            // Newest first.
            if Some(message.id.as_str()) == after {
                break;
            }
            if let Some(said) = message.assistant_message.filter(|_| reached.text.is_none()) {
                reached.text = said.text();
            }
            if let Some(error) = message.error_message.filter(|_| reached.trouble.is_none()) {
                reached.trouble = Some(error.content.or(error.error_type).unwrap_or_default());
            }
            if let Some(detail) = message.status_update.and_then(|update| update.status_detail)
                && detail.waiting_for_event_type.as_deref() == Some("messageAskUser")
                && asked.is_none()
            {
                asked = detail.waiting_description.filter(|text| !text.trim().is_empty());
            }
        }
        // A question that it wants answered is said to the customer, who answers it with the next message.
        if reached.status == Status::Waiting && reached.text.is_none() {
            reached.text = asked;
        }
        Ok(reached)
    }

    async fn messages(&self, task: &str, most: usize) -> Result<Vec<Message>, VendorError> {
        let query = format!("?task_id={}&limit={most}&order=desc", encoded(task));
        let listed: Listed = self.call("task.listMessages", Method::GET, &query, None).await?;
        Ok(listed.messages)
    }

    async fn call<T: DeserializeOwned>(
        &self,
        operation: &'static str,
        method: Method,
        query: &str,
        body: Option<&Value>,
    ) -> Result<T, VendorError> {
        let key = account::key_of(self.connection).map(ExposeSecret::expose_secret).unwrap_or_default();
        let mut headers = HeaderMap::from_iter([(KEY, account::header(ID, operation, "", key)?)]);
        if body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let url = account::join(&self.base_url, &format!("v2/{operation}{query}"));
        let call = Call {
            vendor: ID,
            operation,
            method,
            url: &url,
            headers,
            body: body.map(|body| Bytes::from(body.to_string())).unwrap_or_default(),
            now: self.now,
        };
        let answered = async {
            let mut opened = self.http.open(&call, PATIENCE).await?;
            let (body, error) = if opened.status.is_success() {
                let body = opened.whole().await?;
                let error = opened.bad("Manus's answer is not what its API promises".to_owned());
                (body, error)
            } else {
                opened.refusal(&call).await
            };
            match serde_json::from_slice::<Envelope>(&body) {
                // A refusal says so in its body, whatever its status.
                Ok(Envelope { ok: false, error: Some(refused) }) => Err(worse(&error, &refused)),
                Ok(Envelope { ok: true, .. }) if opened.status.is_success() => {
                    serde_json::from_slice(&body).map_err(|_| error)
                }
                _ => Err(error),
            }
        };
        answered.await.map_err(|error| account::redacted(error, self.connection))
    }
}

/// What a refusal in the vendor's words means.
fn worse(error: &VendorError, refused: &Refused) -> VendorError {
    let words = refused.message.to_lowercase();
    let (kind, retry) = match refused.code.as_str() {
        "rate_limited" => {
            let retry = if error.retry == Retry::Never { Retry::Backoff } else { error.retry };
            (FailureKind::RateLimited, retry)
        }
        _ if words.contains("credit") || words.contains("quota") => (FailureKind::OutOfQuota, Retry::Never),
        "permission_denied" => (FailureKind::Unauthorized, Retry::Never),
        "not_found" => (FailureKind::NotFound, Retry::Never),
        "invalid_argument" if words.contains("token") || words.contains("too long") => {
            (FailureKind::InputTooLong, Retry::Never)
        }
        "invalid_argument" => (FailureKind::Other, Retry::Never),
        // One that we don't know: as its status says, unless that says it went well.
        _ if error.kind == FailureKind::BadAnswer => (FailureKind::Unavailable, Retry::Backoff),
        _ => (error.kind, error.retry),
    };
    let excerpt = crate::http::excerpt(refused.message.as_bytes());
    let detail = format!("Manus refused: {}", refused.code);
    VendorError { kind, retry, detail, excerpt, applied: Applied::No, ..error.clone() }
}

/// Escapes an id for a query; Manus's are letters and digits.
fn encoded(id: &str) -> String {
    url::form_urlencoded::byte_serialize(id.as_bytes()).collect()
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(default)]
    ok: bool,
    error: Option<Refused>,
}

#[derive(Deserialize)]
struct Refused {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
struct Nothing {}

#[derive(Deserialize)]
struct Created {
    task_id: String,
}

#[derive(Deserialize)]
struct PublicKey {
    public_key: String,
}

#[derive(Deserialize)]
struct Detailed {
    task: Detail,
}

#[derive(Deserialize)]
struct Detail {
    status: Status,
    credit_usage: Option<i64>,
    agent_profile: Option<String>,
}

#[derive(Deserialize)]
struct Listed {
    #[serde(default)]
    messages: Vec<Message>,
}

/// Its type names the member that it has; all others are comments on the work.
#[derive(Deserialize)]
#[expect(clippy::struct_field_names, reason = "named as on the wire")]
struct Message {
    id: String,
    assistant_message: Option<Said>,
    error_message: Option<Trouble>,
    status_update: Option<Update>,
}

#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    content: String,
    #[serde(default)]
    attachments: Vec<Attachment>,
}

#[derive(Deserialize)]
struct Attachment {
    #[serde(default)]
    filename: String,
    #[serde(default)]
    url: String,
}

#[derive(Deserialize)]
struct Trouble {
    error_type: Option<String>,
    content: Option<String>,
}

#[derive(Deserialize)]
struct Update {
    status_detail: Option<Waited>,
}

#[derive(Deserialize)]
struct Waited {
    waiting_for_event_type: Option<String>,
    waiting_description: Option<String>,
}

impl Said {
    /// The text, and a line for each file. `None`: neither.
    fn text(self) -> Option<String> {
        let files = self.attachments.into_iter().filter(|file| !file.url.is_empty());
        let files = files.map(
            |Attachment { filename, url }| {
                if filename.is_empty() { url } else { format!("{filename}: {url}") }
            },
        );
        let files = files.collect::<Vec<_>>().join("\n");
        let parts = [self.content.trim(), &files].map(str::to_owned);
        let text = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n\n");
        Some(text).filter(|text| !text.is_empty())
    }
}
