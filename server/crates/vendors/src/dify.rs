//! Dify: an app that somebody built there, which keeps its conversations. Chatbots, agents and chatflows answer; the other
//! kinds of apps have no chat.
//! <https://docs.dify.ai/api-reference> (read 2026-11-20; behaviour of releases 1.13 to 1.17)

mod app;
mod error;
mod query;
mod read;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use domain::{
    DialogueId, FieldViolation, Reason, Timestamp,
    connection::{CheckOutcome, CheckStep, Connection, Connector, CredentialField},
    engine::{Answer, Completion, CompletionModel, Model, Outcome},
    vendor::{Applied, FailureKind, Retry, Vendor, VendorError},
};
use http::{HeaderMap, HeaderValue, Method, header};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use self::app::{App, Apps};
use crate::{
    account,
    http::{Call, HttpClient, Opened, Patience},
    settings,
    transcript::newest,
};

/// Gives the vendor.
pub fn vendor(http: HttpClient) -> Vendor {
    let dify = Arc::new(Dify { http, apps: Apps::default() });
    Vendor {
        engine: Some(dify.clone()),
        connector: Some(dify),
        ..Vendor::new(ID, "Dify", "https://docs.dify.ai/api-reference")
    }
}

const ID: &str = "dify";
const BASE_URL: &str = "https://api.dify.ai/v1";
/// How many bytes of an answer are read: chatflows tell the inputs and outputs of every node.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;
/// For calls that don't wait for a model.
const SHORT: Patience = Patience {
    head: Duration::from_secs(15),
    idle: Duration::from_secs(5),
    whole: Duration::from_secs(20),
    most_bytes: 4 * 1024 * 1024,
};

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
    /// The app's inputs. They are sent with every turn: Dify inherits none.
    inputs: Map<String, Value>,
    /// The input that the agent's instructions are given as. Default: the app has its own, and isn't told ours.
    instructions_input: Option<String>,
    /// How the answer comes. Default streaming, which agents need, and which no proxy cuts.
    response_mode: Mode,
    /// Whether files that customers send are given to the app. Default yes.
    files: bool,
    /// Whether Dify names conversations, with another call of a model. Default no.
    auto_generate_name: bool,
    /// How long an answer may take. Default 280 s: a chatflow's stream ends after 300 s of silence.
    #[serde(rename = "timeout_seconds", deserialize_with = "settings::seconds")]
    timeout: Duration,
    /// How long a stream may be silent. Default 30 s: while a run is alive it pings every 10 s.
    #[serde(rename = "idle_timeout_seconds", deserialize_with = "settings::seconds")]
    idle: Duration,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    #[default]
    Streaming,
    Blocking,
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self {
            inputs: Map::new(),
            instructions_input: None,
            response_mode: Mode::Streaming,
            files: true,
            auto_generate_name: false,
            timeout: Duration::from_secs(280),
            idle: Duration::from_secs(30),
        }
    }
}

const ENGINE_MEMBERS: [(&str, &str); 7] = [
    ("inputs", "must be an object: the app's inputs by name"),
    ("instructions_input", "must be the name of an input"),
    ("response_mode", "must be `streaming` or `blocking`"),
    ("files", "must be true or false"),
    ("auto_generate_name", "must be true or false"),
    ("timeout_seconds", settings::SECONDS),
    ("idle_timeout_seconds", settings::SECONDS),
];

/// What we note of a dialogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Notes {
    /// The conversation at Dify.
    conversation: String,
    /// The customer's newest message that it knows.
    through: i64,
}

struct Dify {
    http: HttpClient,
    apps: Apps,
}

#[async_trait]
impl CompletionModel for Dify {
    fn check_settings(&self, settings: &Value) -> Result<(), Vec<FieldViolation>> {
        settings::read::<EngineSettings>(settings, &ENGINE_MEMBERS).map(drop)
    }

    fn keeps_notes(&self) -> bool {
        true
    }

    async fn complete(
        &self,
        connection: &Connection,
        request: &Completion,
        cancelled: &CancellationToken,
    ) -> Result<Outcome, VendorError> {
        let settings: EngineSettings =
            settings::read(&request.engine.settings, &ENGINE_MEMBERS).map_err(|_| {
                failure("complete", FailureKind::Other, "the agent's engine settings are not valid")
            })?;
        let account = Account::of(connection, request.at)?;
        let asking =
            Asking { dify: self, account, request, settings, task: Mutex::default(), made: Mutex::default() };
        let answered = account::until_cancelled(ID, cancelled, asking.answer()).await;
        if answered.as_ref().is_err_and(|error| error.kind == FailureKind::Cancelled) {
            asking.stop().await;
        }
        let error = match answered {
            Ok(answer) => return Ok(Outcome::Answered(answer)),
            Err(error) => account::redacted(error, connection),
        };
        let made = asking.made.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(conversation) = made else { return Err(error) };
        let through = newest(&request.history);
        Ok(Outcome::Failed { error, notes: json!(Notes { conversation, through }) })
    }

    async fn list_models(&self, _connection: &Connection) -> Result<Vec<Model>, VendorError> {
        // A key is an app, which names its own model.
        Ok(Vec::new())
    }

    async fn forget(
        &self,
        connection: &Connection,
        dialogue: DialogueId,
        notes: &Value,
    ) -> Result<(), VendorError> {
        let Ok(notes) = serde_json::from_value::<Notes>(notes.clone()) else { return Ok(()) };
        // Only an advice for the pause is read against it.
        let account = Account::of(connection, Timestamp::UNIX_EPOCH)?;
        let path = format!("conversations/{}", notes.conversation);
        let body = json!({ "user": dialogue.to_string() });
        let deleted = account.call(&self.http, "forget", Method::DELETE, &path, Some(&body), SHORT).await;
        match deleted {
            Ok(_) => Ok(()),
            Err(error) if error.kind == FailureKind::NotFound => Ok(()),
            Err(error) => Err(account::redacted(error, connection)),
        }
    }
}

/// An account, for one call.
struct Account<'a> {
    connection: &'a Connection,
    base_url: String,
    now: Timestamp,
}

impl Account<'_> {
    /// Calls, and gives an answer of 2xx as soon as its head has come.
    async fn call(
        &self,
        http: &HttpClient,
        operation: &'static str,
        method: Method,
        path: &str,
        body: Option<&Value>,
        patience: Patience,
    ) -> Result<Opened, VendorError> {
        let key = account::key_of(self.connection).map(ExposeSecret::expose_secret).unwrap_or_default();
        let authorization = account::header(ID, operation, "Bearer ", key)?;
        let mut headers = HeaderMap::from_iter([(header::AUTHORIZATION, authorization)]);
        if body.is_some() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let url = account::join(&self.base_url, path);
        let body = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let call = Call { vendor: ID, operation, method, url: &url, headers, body, now: self.now };
        let mut opened = http.open(&call, patience).await?;
        if opened.status.is_success() {
            return Ok(opened);
        }
        let (body, error) = opened.refusal(&call).await;
        Err(error::refused(error, &body))
    }

    async fn read<T: serde::de::DeserializeOwned>(
        &self,
        http: &HttpClient,
        operation: &'static str,
        path: &str,
    ) -> Result<T, VendorError> {
        let mut opened = self.call(http, operation, Method::GET, path, None, SHORT).await?;
        let body = opened.whole().await?;
        serde_json::from_slice(&body)
            .map_err(|_| opened.bad("Dify's answer is not what its API promises".to_owned()))
    }
}

impl<'a> Account<'a> {
    fn of(connection: &'a Connection, now: Timestamp) -> Result<Self, VendorError> {
        let settings: ConnectionSettings = settings::read(&connection.settings, &CONNECTION_MEMBERS)
            .map_err(|_| {
                failure("complete", FailureKind::Other, "the connection's settings are not valid")
            })?;
        let base_url = settings.base_url.unwrap_or_else(|| BASE_URL.to_owned());
        Ok(Self { connection, base_url, now })
    }
}

/// One question.
struct Asking<'a> {
    dify: &'a Dify,
    account: Account<'a>,
    request: &'a Completion,
    settings: EngineSettings,
    /// What Dify calls the run, as soon as it says so: by this it can be stopped.
    task: Mutex<Option<String>>,
    /// The conversation that was begun for it: should it fail, nobody goes on with that.
    made: Mutex<Option<String>>,
}

impl Asking<'_> {
    async fn answer(&self) -> Result<Answer, VendorError> {
        let app = self.dify.apps.get(&self.dify.http, &self.account).await?;
        if !app.chats() {
            let detail = format!("the app is of the kind {}, which has no chat", app.mode);
            return Err(failure("complete", FailureKind::Other, &detail));
        }
        let notes: Option<Notes> =
            self.request.notes.as_ref().and_then(|notes| serde_json::from_value(notes.clone()).ok());
        match self.ask(&app, notes.as_ref()).await {
            // It was deleted there, or has been closed: another is begun.
            Err(error) if notes.is_some() && error::is_gone(&error) => {
                tracing::info!(vendor = ID, dialogue.id = %self.request.dialogue, "a conversation is gone; another is begun");
                self.ask(&app, None).await
            }
            answered => answered,
        }
    }

    async fn ask(&self, app: &App, notes: Option<&Notes>) -> Result<Answer, VendorError> {
        let streams = self.settings.response_mode == Mode::Streaming || app.only_streams();
        let body = query::body(self.request, &self.settings, app, notes, streams);
        let patience = Patience {
            head: if streams { self.settings.idle } else { self.settings.timeout },
            idle: self.settings.idle,
            whole: self.settings.timeout,
            most_bytes: MAX_ANSWER_BYTES,
        };
        let opened = self
            .account
            .call(&self.dify.http, "complete", Method::POST, "chat-messages", Some(&body), patience)
            .await;
        // Where nothing comes before the end, whatever comes of it may come of a run that has begun.
        let mut opened = opened.map_err(|error| match error.applied {
            Applied::Maybe if !streams => error::begun(error),
            _ => error,
        })?;
        let read = if streams {
            read::stream(&mut opened, &|task, conversation| {
                let keep = |place: &Mutex<Option<String>>, id: &str| {
                    *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(id.to_owned());
                };
                if let Some(id) = task {
                    keep(&self.task, id);
                }
                if let Some(id) = conversation.filter(|_| notes.is_none()) {
                    keep(&self.made, id);
                }
            })
            .await?
        } else {
            read::whole(&mut opened).await?
        };
        let (mut answer, conversation) = read;
        let known = notes.map(|notes| notes.conversation.clone());
        answer.notes = conversation
            .or(known)
            .map(|conversation| json!(Notes { conversation, through: newest(&self.request.history) }));
        Ok(answer)
    }

    /// Has Dify stop the run, if it has said what it calls it.
    async fn stop(&self) {
        let Some(task) = self.task.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        let body = json!({ "user": self.request.dialogue.to_string() });
        let path = format!("chat-messages/{task}/stop");
        let stopped =
            self.account.call(&self.dify.http, "stop", Method::POST, &path, Some(&body), SHORT).await;
        if let Err(error) = stopped {
            tracing::debug!(vendor = ID, error = %error, "a run could not be stopped; it ends by itself");
        }
    }
}

#[async_trait]
impl Connector for Dify {
    fn settings_schema(&self) -> Value {
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "base_url": account::base_url_schema(
                    BASE_URL,
                    "Where Dify's API is, with its version. Of an own installation, for example https://dify.example.com/v1.",
                ),
            },
        })
    }

    fn credentials(&self) -> &'static [CredentialField] {
        const KEY: CredentialField =
            account::api_key("The key of the app, from its page API Access. One key is one app.", true);
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
        let asked = async { App::read(&self.http, &Account::of(connection, Timestamp::UNIX_EPOCH)?).await };
        let app = match asked.await {
            Ok(app) => app,
            Err(error) => {
                let mut steps = account::steps(Err(account::redacted(error, connection)));
                steps.iter_mut().filter(|step| step.name == "models").for_each(|step| step.name = "app");
                return steps;
            }
        };
        let step = |name, outcome, detail: String, remedy: &str| CheckStep {
            name,
            outcome,
            detail,
            remedy: remedy.to_owned(),
        };
        let passed = |name, detail: &str| step(name, CheckOutcome::Passed, detail.to_owned(), "");
        let kind = format!("The app is of the kind {}.", app.mode);
        let last = if app.chats() {
            step("app", CheckOutcome::Passed, kind, "")
        } else {
            step("app", CheckOutcome::Failed, kind, "Use the key of a chatbot, an agent or a chatflow.")
        };
        vec![passed("reachable", "The vendor answers."), passed("credentials", "The key lets in."), last]
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
