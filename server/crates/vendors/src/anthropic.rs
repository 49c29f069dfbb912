//! Anthropic's messages.
//! <https://platform.claude.com/docs/en/api/messages> (read 2026-11-20)
//!
//! What a model thought before it called a tool must come back unchanged with the tool's result: it travels in
//! [`Answer::carry`]. Sampling parameters are left out unless an operator sets them, since newer models refuse them.

mod answer;
mod error;
mod request;
mod settings;
mod stream;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use domain::{
    Clock as _, FieldViolation, Reason, SystemClock,
    agent::Engine,
    connection::{CheckStep, Connection, Connector, CredentialField},
    engine::{Answer, Completion, CompletionModel, Model, Outcome},
    vendor::{Applied, FailureKind, Retry, Vendor, VendorError},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use secrecy::ExposeSecret;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use self::settings::{Account, Settings};
use crate::{
    account,
    http::{Call, HttpClient, Opened},
};

/// Gives the vendor.
pub fn vendor(http: HttpClient) -> Vendor {
    let engine = Arc::new(Anthropic { http });
    Vendor {
        engine: Some(engine.clone()),
        connector: Some(engine),
        ..Vendor::new(ID, "Anthropic", "https://platform.claude.com/docs/en/api/messages")
    }
}

const ID: &str = "anthropic";
const COMPLETE: &str = "complete";
const LIST_MODELS: &str = "list models";
/// How many pages of a list of models are read.
const MOST_PAGES: usize = 20;

const CREDENTIAL: CredentialField =
    account::api_key("A key of the workspace at Anthropic, from platform.claude.com/settings/keys.", true);

struct Anthropic {
    http: HttpClient,
}

#[async_trait]
impl CompletionModel for Anthropic {
    fn check_settings(&self, settings: &Value) -> Result<(), Vec<FieldViolation>> {
        Settings::read(settings).map(drop)
    }

    fn longest_output(&self, engine: &Engine) -> i32 {
        Settings::read(&engine.settings).unwrap_or_default().max_tokens(engine.max_output_tokens)
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
        self.models(connection).await.map_err(|error| account::redacted(error, connection))
    }
}

#[async_trait]
impl Connector for Anthropic {
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
        account::steps(self.list_models(connection).await)
    }
}

impl Anthropic {
    async fn answer(&self, connection: &Connection, request: &Completion) -> Result<Answer, VendorError> {
        let account = account_of(COMPLETE, connection)?;
        let settings = Settings::read(&request.engine.settings)
            .map_err(|bad| unusable(COMPLETE, "the agent's engine settings", &bad))?;
        let call = Call {
            vendor: ID,
            operation: COMPLETE,
            method: Method::POST,
            url: &account.url("messages"),
            headers: headers(COMPLETE, connection, &account)?,
            body: request::body(request, &settings),
            now: request.at,
        };
        let mut opened = self.http.open(&call, settings.patience()).await?;
        if !opened.status.is_success() {
            return Err(error::refused(&mut opened, &call).await);
        }
        read(&mut opened, &request.engine.model).await
    }

    async fn models(&self, connection: &Connection) -> Result<Vec<Model>, VendorError> {
        let account = account_of(LIST_MODELS, connection)?;
        let headers = headers(LIST_MODELS, connection, &account)?;
        let (mut models, mut after) = (Vec::new(), None::<String>);
        for _ in 0..MOST_PAGES {
            let mut url = account.url("models?limit=1000");
            if let Some(after) = &after {
                url.extend(["&after_id=", after.as_str()]);
            }
            let call = Call {
                vendor: ID,
                operation: LIST_MODELS,
                method: Method::GET,
                url: &url,
                headers: headers.clone(),
                body: Bytes::new(),
                now: SystemClock.now(),
            };
            let mut opened = self.http.open(&call, account::LISTING).await?;
            if !opened.status.is_success() {
                return Err(error::refused(&mut opened, &call).await);
            }
            let body = opened.whole().await?;
            let page = answer::models(&body)
                .ok_or_else(|| opened.bad("the list of models can't be read".to_owned()))?;
            models.extend(page.models);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        Ok(models)
    }
}

/// Reads an answer, streamed or not: a proxy may not stream although it is asked to.
async fn read(opened: &mut Opened, model: &str) -> Result<Answer, VendorError> {
    let kind = opened.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if kind.is_some_and(|kind| kind.starts_with("text/event-stream")) {
        return stream::read(opened, model).await;
    }
    let body = opened.whole().await?;
    answer::read(&body, model).map_err(|wrong| wrong.into_error(opened))
}

fn account_of(operation: &'static str, connection: &Connection) -> Result<Account, VendorError> {
    Account::read(&connection.settings).map_err(|bad| unusable(operation, "the connection's settings", &bad))
}

fn headers(
    operation: &'static str,
    connection: &Connection,
    account: &Account,
) -> Result<HeaderMap, VendorError> {
    let key = account::key_of(connection).ok_or_else(|| {
        failure(operation, FailureKind::Unauthorized, "the connection has no key", Retry::Never)
    })?;
    let mut headers = HeaderMap::with_capacity(4);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let key = account::header(ID, operation, "", key.expose_secret())?;
    headers.insert(HeaderName::from_static("x-api-key"), key);
    for (name, value) in [("anthropic-version", Some(account.version())), ("anthropic-beta", account.beta())]
    {
        if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
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
