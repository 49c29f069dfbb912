//! Google's Gemini, by its generateContent.
//! <https://ai.google.dev/api/generate-content> (read 2026-11-20)

mod answer;
mod error;
mod request;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use domain::{
    FieldViolation, Reason, SystemClock, Timestamp,
    connection::{CheckStep, Connection, Connector, CredentialField},
    engine::{Answer, Completion, CompletionModel, Model, Outcome},
    vendor::{Applied, FailureKind, Retry, Vendor, VendorError},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use secrecy::ExposeSecret;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{
    account,
    http::{Call, HttpClient, Opened, Patience},
    settings,
};

/// Gives the vendor.
pub fn vendor(http: HttpClient) -> Vendor {
    let gemini = Arc::new(Gemini { http });
    Vendor {
        engine: Some(gemini.clone()),
        connector: Some(gemini),
        ..Vendor::new(ID, "Google Gemini", "https://ai.google.dev/api/generate-content")
    }
}

const ID: &str = "gemini";
const BASE_URL: &str = "https://generativelanguage.googleapis.com/v1beta";
const KEY: HeaderName = HeaderName::from_static("x-goog-api-key");
const COMPLETE: &str = "complete";
const LIST_MODELS: &str = "list models";
/// How many pages of models are read.
const MOST_PAGES: usize = 20;
/// How many bytes of an answer are read, streamed or not.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;
/// What a connection may set.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ConnectionSettings {
    /// Where the API is, with its version. Default [`BASE_URL`].
    base_url: Option<String>,
}

const CONNECTION_MEMBERS: [(&str, &str); 1] = [("base_url", account::BASE_URL)];

/// What an agent's `engine.settings` may hold.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct EngineSettings {
    /// Whether the answer is read as it is written. Default yes.
    stream: bool,
    /// Whether images are shown to the model, and not only named. Default yes.
    images: bool,
    #[serde(deserialize_with = "top_p")]
    top_p: Option<f64>,
    #[serde(deserialize_with = "count")]
    top_k: Option<i32>,
    #[serde(deserialize_with = "count")]
    seed: Option<i32>,
    stop: Vec<String>,
    /// How many tokens the model may think. Older models take this.
    #[serde(deserialize_with = "count")]
    thinking_budget: Option<i32>,
    /// How much the model thinks. Newer models take this.
    thinking_level: Option<String>,
    /// The vendor's `safetySettings`, as they are.
    safety_settings: Vec<Value>,
    /// How long a call may take, all in all.
    #[serde(rename = "timeout_seconds", deserialize_with = "settings::seconds")]
    timeout: Duration,
    /// How long the vendor may be silent, before its answer or in it.
    #[serde(rename = "idle_timeout_seconds", deserialize_with = "settings::seconds")]
    idle: Duration,
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self {
            stream: true,
            images: true,
            top_p: None,
            top_k: None,
            seed: None,
            stop: Vec::new(),
            thinking_budget: None,
            thinking_level: None,
            safety_settings: Vec::new(),
            timeout: Duration::from_mins(10),
            // Models that think say nothing meanwhile.
            idle: Duration::from_mins(5),
        }
    }
}

const ENGINE_MEMBERS: [(&str, &str); 11] = [
    ("stream", "must be true or false"),
    ("images", "must be true or false"),
    ("top_p", "must be a number, 0 to 1"),
    ("top_k", "must be a whole number"),
    ("seed", "must be a whole number"),
    ("stop", "must be a list of texts"),
    ("thinking_budget", "must be a whole number of tokens"),
    ("thinking_level", "must be a level that the model knows, such as `low`"),
    ("safety_settings", "must be a list, as the vendor's safetySettings"),
    ("timeout_seconds", settings::SECONDS),
    ("idle_timeout_seconds", settings::SECONDS),
];

fn top_p<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    settings::number(deserializer, 0.0, 1.0).map(Some)
}

fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i32>, D::Error> {
    settings::whole_number(deserializer, -1, i32::MAX).map(Some)
}

struct Gemini {
    http: HttpClient,
}

#[async_trait]
impl CompletionModel for Gemini {
    fn check_settings(&self, settings: &Value) -> Result<(), Vec<FieldViolation>> {
        settings::read::<EngineSettings>(settings, &ENGINE_MEMBERS).map(drop)
    }

    async fn complete(
        &self,
        connection: &Connection,
        request: &Completion,
        cancelled: &CancellationToken,
    ) -> Result<Outcome, VendorError> {
        let answered = account::until_cancelled(ID, cancelled, self.answer(connection, request)).await;
        answered.map(Outcome::Answered).map_err(|error| account::redacted(error, connection))
    }

    async fn list_models(&self, connection: &Connection) -> Result<Vec<Model>, VendorError> {
        // Nothing in this answer depends on the time, except a date in `Retry-After`.
        self.models(connection, domain::Clock::now(&SystemClock))
            .await
            .map_err(|error| account::redacted(error, connection))
    }
}

impl Gemini {
    async fn answer(&self, connection: &Connection, request: &Completion) -> Result<Answer, VendorError> {
        let settings: EngineSettings =
            settings::read(&request.engine.settings, &ENGINE_MEMBERS).map_err(|_| {
                failure(COMPLETE, FailureKind::Other, "the agent's engine settings are not valid")
            })?;
        let model = request.engine.model.trim_start_matches("models/");
        // What stands in a path must not lead elsewhere.
        let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if model.is_empty()
            || !model.chars().all(fits)
            || !model.starts_with(|c: char| c.is_ascii_alphanumeric())
        {
            return Err(failure(
                COMPLETE,
                FailureKind::NotFound,
                "the agent's engine names no model of Gemini",
            ));
        }
        let method = if settings.stream { "streamGenerateContent?alt=sse" } else { "generateContent" };
        let path = format!("models/{model}:{method}");
        let body = request::body(request, &settings);
        let patience = Patience {
            head: settings.idle,
            idle: settings.idle,
            whole: settings.timeout,
            most_bytes: MAX_ANSWER_BYTES,
        };
        let mut opened = self.call(COMPLETE, connection, &path, Some(body), patience, request.at).await?;
        if settings.stream {
            answer::stream(&mut opened, &request.engine.model).await
        } else {
            answer::whole(&mut opened, &request.engine.model).await
        }
    }

    async fn models(&self, connection: &Connection, now: Timestamp) -> Result<Vec<Model>, VendorError> {
        let (mut models, mut token) = (Vec::new(), String::new());
        for _ in 0..MOST_PAGES {
            let mut path = "models?pageSize=1000".to_owned();
            if !token.is_empty() {
                path.push_str("&pageToken=");
                path.extend(url::form_urlencoded::byte_serialize(token.as_bytes()));
            }
            let mut opened = self.call(LIST_MODELS, connection, &path, None, account::LISTING, now).await?;
            let body = opened.whole().await?;
            let Some((page, next)) = answer::models(&body) else {
                return Err(opened.bad("the list of models can't be read".to_owned()));
            };
            models.extend(page);
            match next {
                Some(next) if !next.is_empty() => token = next,
                _ => break,
            }
        }
        Ok(models)
    }

    /// Calls, and gives an answer of 2xx as soon as its head has come.
    async fn call(
        &self,
        operation: &'static str,
        connection: &Connection,
        path: &str,
        body: Option<Value>,
        patience: Patience,
        now: Timestamp,
    ) -> Result<Opened, VendorError> {
        let settings: ConnectionSettings = settings::read(&connection.settings, &CONNECTION_MEMBERS)
            .map_err(|_| failure(operation, FailureKind::Other, "the connection's settings are not valid"))?;
        let key = account::key_of(connection).map(ExposeSecret::expose_secret).unwrap_or_default();
        let mut headers = HeaderMap::from_iter([(KEY, account::header(ID, operation, "", key)?)]);
        let method = if body.is_some() { Method::POST } else { Method::GET };
        if body.is_some() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let url = account::join(settings.base_url.as_deref().unwrap_or(BASE_URL), path);
        let body = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let call = Call { vendor: ID, operation, method, url: &url, headers, body, now };
        let mut opened = self.http.open(&call, patience).await?;
        if opened.status.is_success() {
            return Ok(opened);
        }
        let (body, error) = opened.refusal(&call).await;
        Err(error::refused(error, &body))
    }
}

#[async_trait]
impl Connector for Gemini {
    fn settings_schema(&self) -> Value {
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "base_url": account::base_url_schema(BASE_URL, "Where the API is, with its version."),
            },
        })
    }

    fn credentials(&self) -> &'static [CredentialField] {
        const KEY: CredentialField =
            account::api_key("A key of the project, from aistudio.google.com/apikey.", true);
        &[KEY]
    }

    fn check_settings(&self, settings: &Value) -> Result<(), Vec<FieldViolation>> {
        let settings: ConnectionSettings = settings::read(settings, &CONNECTION_MEMBERS)?;
        account::check_base_url(settings.base_url.as_deref())
    }

    fn targets(&self, settings: &Value) -> Vec<(&'static str, String)> {
        let settings: ConnectionSettings = settings::read(settings, &CONNECTION_MEMBERS).unwrap_or_default();
        settings.base_url.map(|url| ("base_url", url)).into_iter().collect()
    }

    async fn check_target(&self, url: &str) -> Result<(), (Reason, String)> {
        self.http.check_target(url).await
    }

    async fn check(&self, connection: &Connection) -> Vec<CheckStep> {
        account::steps(self.list_models(connection).await)
    }
}

fn failure(operation: &'static str, kind: FailureKind, detail: &str) -> VendorError {
    VendorError {
        vendor: ID,
        operation,
        kind,
        http_status: None,
        detail: detail.to_owned(),
        excerpt: None,
        applied: Applied::No,
        retry: Retry::Never,
    }
}
