//! `OpenAI`'s chat completions, and every server that is compatible with them.
//! <https://platform.openai.com/docs/api-reference/chat> (read 2026-11-20)
//!
//! Compatible servers know less: `max_tokens` instead of `max_completion_tokens`, no `stream_options`, only one of the roles
//! `system` and `developer`. Settings say so; where they don't, a 400 that names what we sent is answered by asking once
//! more without it, and what helped is remembered for that server and model.

mod answer;
mod error;
mod request;
mod settings;
mod stream;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use domain::{
    FieldViolation, Reason, SystemClock, Timestamp,
    connection::{CheckStep, Connection, Connector, CredentialField},
    engine::{Answer, Completion, CompletionModel, Model, Outcome},
    vendor::{Applied, FailureKind, Retry, Vendor, VendorError},
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use secrecy::ExposeSecret;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use self::{
    request::Shape,
    settings::{Account, Settings},
};
use crate::{
    account,
    http::{Call, HttpClient, Opened},
};

/// Gives the vendor.
pub fn vendor(http: HttpClient) -> Vendor {
    let engine = Arc::new(OpenAi { http, shapes: Mutex::default() });
    Vendor {
        engine: Some(engine.clone()),
        connector: Some(engine),
        ..Vendor::new(
            ID,
            "OpenAI, or a compatible server",
            "https://platform.openai.com/docs/api-reference/chat",
        )
    }
}

const ID: &str = "openai";
const COMPLETE: &str = "complete";
const LIST_MODELS: &str = "list models";
const CHECK: &str = "check";
/// How many servers and models are remembered.
const MOST_SHAPES: usize = 1_000;
/// How often one completion is asked for at most: as often as there are parameters to change, and once.
const MOST_TRIES: usize = 4;

const CREDENTIAL: CredentialField = account::api_key(
    "A secret key of the project, from platform.openai.com/api-keys. Compatible servers may need none.",
    false,
);

struct OpenAi {
    http: HttpClient,
    /// What helped at which server and model.
    shapes: Mutex<HashMap<(String, String), Shape>>,
}

#[async_trait]
impl CompletionModel for OpenAi {
    fn check_settings(&self, settings: &Value) -> Result<(), Vec<FieldViolation>> {
        Settings::read(settings).map(drop)
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

#[async_trait]
impl Connector for OpenAi {
    fn settings_schema(&self) -> Value {
        Account::schema()
    }

    fn credentials(&self) -> &'static [CredentialField] {
        const { &[CREDENTIAL] }
    }

    fn check_settings(&self, settings: &Value) -> Result<(), Vec<FieldViolation>> {
        Account::read(settings).map(drop)
    }

    fn targets(&self, settings: &Value) -> Vec<(&'static str, String)> {
        let account = Account::read(settings).unwrap_or_default();
        account.base_url.map(|url| ("base_url", url)).into_iter().collect()
    }

    async fn check_target(&self, url: &str) -> Result<(), (Reason, String)> {
        self.http.check_target(url).await
    }

    async fn check(&self, connection: &Connection) -> Vec<CheckStep> {
        let listed = match self.list_models(connection).await {
            // No list: a compatible server may have none, and a wrong address has none either.
            Ok(models) if models.is_empty() => self.answers(connection).await.map(|()| models),
            listed => listed,
        };
        account::steps(listed.map_err(|error| account::redacted(error, connection)))
    }
}

impl OpenAi {
    /// Checks that there is something to be asked, with a question that has no answer and costs nothing.
    async fn answers(&self, connection: &Connection) -> Result<(), VendorError> {
        let account = account_of(CHECK, connection)?;
        let call = Call {
            vendor: ID,
            operation: CHECK,
            method: Method::POST,
            url: &account::join(account.base_url(), "chat/completions"),
            headers: headers(CHECK, connection, &account)?,
            body: Bytes::from_static(b"{}"),
            now: domain::Clock::now(&SystemClock),
        };
        let mut opened = self.http.open(&call, account::LISTING).await?;
        // That the question is none is what a server says that has read it.
        if matches!(opened.status, StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY) {
            return Ok(());
        }
        let (error, _) = error::refused(&mut opened, &call, Shape::default()).await;
        Err(error)
    }

    /// Asks, and once more for each parameter that the vendor refuses unread.
    async fn answer(&self, connection: &Connection, request: &Completion) -> Result<Answer, VendorError> {
        let account = account_of(COMPLETE, connection)?;
        let settings = Settings::read(&request.engine.settings)
            .map_err(|bad| unusable(COMPLETE, "the agent's engine settings", &bad))?;
        let headers = headers(COMPLETE, connection, &account)?;
        let key = (account.base_url().to_owned(), request.engine.model.clone());
        let known = self.remembered(&key);
        let mut shape = known.unwrap_or_else(|| Shape::of(&settings, &account));
        let mut tries = 1;
        loop {
            let call = Call {
                vendor: ID,
                operation: COMPLETE,
                method: Method::POST,
                url: &account::join(account.base_url(), "chat/completions"),
                headers: headers.clone(),
                body: request::body(request, &settings, shape),
                now: request.at,
            };
            let mut opened = self.http.open(&call, settings.patience()).await?;
            if opened.status.is_success() {
                if known != Some(shape) {
                    self.remember(key, shape, &settings, &account);
                }
                return read(&mut opened).await;
            }
            let (error, changed) = error::refused(&mut opened, &call, shape).await;
            match changed {
                Some(changed) if tries < MOST_TRIES => shape = changed,
                _ => return Err(error),
            }
            tries += 1;
        }
    }

    fn remembered(&self, key: &(String, String)) -> Option<Shape> {
        self.shapes.lock().unwrap_or_else(PoisonError::into_inner).get(key).copied()
    }

    /// Keeps what helped, where it is not what the settings say anyway.
    fn remember(&self, key: (String, String), shape: Shape, settings: &Settings, account: &Account) {
        let mut shapes = self.shapes.lock().unwrap_or_else(PoisonError::into_inner);
        if shape == Shape::of(settings, account) {
            shapes.remove(&key);
            return;
        }
        if shapes.len() >= MOST_SHAPES {
            shapes.clear();
        }
        shapes.insert(key, shape);
    }

    async fn models(&self, connection: &Connection, now: Timestamp) -> Result<Vec<Model>, VendorError> {
        let account = account_of(LIST_MODELS, connection)?;
        let call = Call {
            vendor: ID,
            operation: LIST_MODELS,
            method: Method::GET,
            url: &account::join(account.base_url(), "models"),
            headers: headers(LIST_MODELS, connection, &account)?,
            body: Bytes::new(),
            now,
        };
        let mut opened = self.http.open(&call, account::LISTING).await?;
        if opened.status.is_success() {
            let body = opened.whole().await?;
            return answer::models(&body)
                .ok_or_else(|| opened.bad("the list of models can't be read".into()));
        }
        let (error, _) = error::refused(&mut opened, &call, Shape::default()).await;
        // Compatible servers may have no such list.
        if error.kind == FailureKind::NotFound { Ok(Vec::new()) } else { Err(error) }
    }
}

/// Reads an answer, streamed or not: servers that can't stream answer whole all the same.
async fn read(opened: &mut Opened) -> Result<Answer, VendorError> {
    let kind = opened.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if kind.is_some_and(|kind| kind.starts_with("text/event-stream")) {
        return stream::read(opened).await;
    }
    let body = opened.whole().await?;
    answer::read(&body).map_err(|wrong| wrong.into_error(opened))
}

fn account_of(operation: &'static str, connection: &Connection) -> Result<Account, VendorError> {
    Account::read(&connection.settings).map_err(|bad| unusable(operation, "the connection's settings", &bad))
}

fn headers(
    operation: &'static str,
    connection: &Connection,
    account: &Account,
) -> Result<HeaderMap, VendorError> {
    // Compatible servers that want no key want the header all the same.
    let key = account::key_of(connection).map_or("none", ExposeSecret::expose_secret);
    let mut headers = HeaderMap::with_capacity(4);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::AUTHORIZATION, account::header(ID, operation, "Bearer ", key)?);
    for (name, value) in
        [("openai-organization", &account.organization), ("openai-project", &account.project)]
    {
        if let Some(value) = value.as_deref().and_then(|value| HeaderValue::try_from(value).ok()) {
            headers.insert(name, value);
        }
    }
    Ok(headers)
}

fn unusable(operation: &'static str, what: &str, bad: &[FieldViolation]) -> VendorError {
    let fields: Vec<_> = bad.iter().map(|bad| bad.field.as_str()).collect();
    let detail = format!("{what} are not valid: {}", fields.join(", "));
    failure(operation, FailureKind::Other, &detail, Retry::Never)
}

fn failure(operation: &'static str, kind: FailureKind, detail: &str, retry: Retry) -> VendorError {
    VendorError {
        vendor: ID,
        operation,
        kind,
        http_status: None,
        detail: detail.to_owned(),
        excerpt: None,
        applied: Applied::No,
        retry,
    }
}
