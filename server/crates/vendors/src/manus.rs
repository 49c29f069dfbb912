//! Manus: an agent that works on a task for minutes. A dialogue is one task there; what the customer writes next is sent
//! to it. We ask from time to time whether it has finished, and its calls to us make that sooner.
//! <https://open.manus.ai/docs> (read 2026-11-20)

mod hook;
mod prompt;
mod task;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use domain::{
    FieldViolation, Reason, Timestamp,
    connection::{CheckStep, Connection, Connector, CredentialField},
    engine::{Answer, Completion, CompletionModel, EngineHook, Model, Outcome},
    vendor::{Applied, FailureKind, Retry, Vendor, VendorError},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use self::task::{Account, Reached, Status};
use crate::{account, http::HttpClient, settings, transcript::newest};

/// Gives the vendor.
pub fn vendor(http: HttpClient) -> Vendor {
    let manus = Arc::new(Manus { http, keys: hook::Keys::default() });
    Vendor {
        engine: Some(manus.clone()),
        connector: Some(manus),
        ..Vendor::new(ID, "Manus", "https://open.manus.ai/docs")
    }
}

const ID: &str = "manus";
const BASE_URL: &str = "https://api.manus.ai";
/// What an agent's `engine.model` may be: there is no list to ask for.
const PROFILES: [(&str, &str); 3] =
    [("manus-1.6", "Manus 1.6"), ("manus-1.6-lite", "Manus 1.6 Lite"), ("manus-1.6-max", "Manus 1.6 Max")];
/// How often a task may be found at rest without an answer: what it writes last may come a moment after its state.
const MOST_EMPTY: u32 = 3;

/// What a connection may set.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ConnectionSettings {
    /// Where the API is. Default [`BASE_URL`].
    base_url: Option<String>,
}

const CONNECTION_MEMBERS: [(&str, &str); 1] = [("base_url", account::BASE_URL)];

/// What an agent's `engine.settings` may hold.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct EngineSettings {
    /// How long to wait before asking again, up to half as long again. Default 10 s. While a task works on and on, the pauses
    /// grow to six times that.
    #[serde(rename = "poll_seconds", deserialize_with = "settings::seconds")]
    poll: Duration,
    /// Whether it may ask back while it works. Default no.
    interactive_mode: bool,
    /// Whether its tasks are kept out of the account's list. Default yes.
    hide_in_task_list: bool,
    /// The language of what it says about itself, such as `en`. Default: the account's.
    locale: Option<String>,
    /// The project that its tasks belong to. Default: none.
    project_id: Option<String>,
    /// How many credits an answer may use, as an estimate: so many are reserved of budgets of cost. Default 500.
    #[serde(deserialize_with = "credits")]
    max_credits: i32,
}

fn credits<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<i32, D::Error> {
    settings::whole_number(deserializer, 1, 1_000_000)
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self {
            poll: Duration::from_secs(10),
            interactive_mode: false,
            hide_in_task_list: true,
            locale: None,
            project_id: None,
            max_credits: 500,
        }
    }
}

const ENGINE_MEMBERS: [(&str, &str); 6] = [
    ("poll_seconds", settings::SECONDS),
    ("interactive_mode", "must be true or false"),
    ("hide_in_task_list", "must be true or false"),
    ("locale", "must be a language, such as `en`"),
    ("project_id", "must be the id of a project"),
    ("max_credits", "must be a whole number, 1 to 1,000,000"),
];

/// What we note of a dialogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Notes {
    /// Its task. What a call to us names.
    task: String,
    /// The customer's newest message that it was given.
    through: i64,
    /// The run that gave it that.
    run: i32,
    /// Whether its answer has not been seen yet.
    working: bool,
    /// The newest message in the task when it was given that. `None`: it was new.
    #[serde(default)]
    after: Option<String>,
    /// The task's credits that have been accounted for.
    #[serde(default)]
    credits: i64,
    /// How often it was found at rest without an answer.
    #[serde(default)]
    empty: u32,
    /// How often it was found at work.
    #[serde(default)]
    looks: u32,
}

struct Manus {
    http: HttpClient,
    keys: hook::Keys,
}

#[async_trait]
impl CompletionModel for Manus {
    fn check_settings(&self, settings: &Value) -> Result<(), Vec<FieldViolation>> {
        settings::read::<EngineSettings>(settings, &ENGINE_MEMBERS).map(drop)
    }

    fn most_credits(&self, engine: &domain::agent::Engine) -> i64 {
        let settings = settings::read::<EngineSettings>(&engine.settings, &ENGINE_MEMBERS);
        settings.unwrap_or_default().max_credits.into()
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
                failure(FailureKind::Other, "the agent's engine settings are not valid", Retry::Never)
            })?;
        let account = self.account(connection, request.at)?;
        let asking = Asking { account: &account, request, settings: &settings };
        let notes: Option<Notes> =
            request.notes.as_ref().and_then(|notes| serde_json::from_value(notes.clone()).ok());
        if cancelled.is_cancelled() {
            let detail = "the run was cancelled";
            return match notes.filter(|notes| notes.working) {
                Some(notes) => {
                    account.stop(&notes.task).await?;
                    Err(worked(FailureKind::Cancelled, detail, Retry::Backoff))
                }
                None => Err(failure(FailureKind::Cancelled, detail, Retry::Backoff)),
            };
        }
        match notes {
            None => asking.begin().await,
            Some(notes) if notes.through < newest(&request.history) => asking.go_on(notes).await,
            Some(notes) => {
                // A task goes on without us: whoever cancels finds it by the notes.
                let look = cancelled.run_until_cancelled(asking.look(notes.clone())).await;
                look.unwrap_or_else(|| Ok(asking.wait(&notes, Some(Duration::ZERO))))
            }
        }
    }

    fn hook(&self) -> Option<&dyn EngineHook> {
        Some(self)
    }

    async fn list_models(&self, _connection: &Connection) -> Result<Vec<Model>, VendorError> {
        let models = PROFILES.iter().map(|(id, name)| Model {
            id: (*id).to_owned(),
            display_name: (*name).to_owned(),
            max_input_tokens: None,
            max_output_tokens: None,
        });
        Ok(models.collect())
    }

    async fn forget(
        &self,
        connection: &Connection,
        _dialogue: domain::DialogueId,
        notes: &Value,
    ) -> Result<(), VendorError> {
        let Ok(notes) = serde_json::from_value::<Notes>(notes.clone()) else { return Ok(()) };
        // Only an advice for the pause is read against it.
        self.account(connection, Timestamp::UNIX_EPOCH)?.delete(&notes.task).await
    }
}

impl Manus {
    fn account<'a>(&'a self, connection: &'a Connection, now: Timestamp) -> Result<Account<'a>, VendorError> {
        let settings: ConnectionSettings = settings::read(&connection.settings, &CONNECTION_MEMBERS)
            .map_err(|_| {
                failure(FailureKind::Other, "the connection's settings are not valid", Retry::Never)
            })?;
        let base_url = settings.base_url.unwrap_or_else(|| BASE_URL.to_owned());
        Ok(Account::new(&self.http, connection, base_url, now))
    }
}

/// One look at a dialogue.
struct Asking<'a> {
    account: &'a Account<'a>,
    request: &'a Completion,
    settings: &'a EngineSettings,
}

impl Asking<'_> {
    /// Makes a task of the whole dialogue.
    async fn begin(&self) -> Result<Outcome, VendorError> {
        let content = prompt::first(self.request)?;
        let mut body = json!({
            "message": { "content": content },
            "interactive_mode": self.settings.interactive_mode,
            "hide_in_task_list": self.settings.hide_in_task_list,
            "share_visibility": "private",
        });
        for (name, value) in [
            ("agent_profile", Some(&self.request.engine.model).filter(|model| !model.is_empty())),
            ("locale", self.settings.locale.as_ref()),
            ("project_id", self.settings.project_id.as_ref()),
        ] {
            if let Some(value) = value {
                body[name] = json!(value);
            }
        }
        let task = self.account.create(&body).await?;
        let notes = Notes {
            task,
            through: newest(&self.request.history),
            run: self.request.run,
            working: true,
            after: None,
            credits: 0,
            empty: 0,
            looks: 0,
        };
        Ok(self.wait(&notes, None))
    }

    /// Gives the task what was written since, and stops what it works on without that.
    async fn go_on(&self, notes: Notes) -> Result<Outcome, VendorError> {
        if notes.working {
            match self.account.stop(&notes.task).await {
                // At rest already, or gone, which the next call finds out.
                Err(error) if error.retry != Retry::Never => return Err(error),
                _ => {}
            }
        }
        let content = prompt::since(self.request, notes.through)?;
        let after = match self.account.newest(&notes.task).await {
            Ok(after) => after,
            Err(error) if error.kind == FailureKind::NotFound => return self.begin().await,
            Err(error) => return Err(error),
        };
        match self.account.send(&notes.task, &content).await {
            Ok(()) => {}
            Err(error) if error.kind == FailureKind::NotFound => return self.begin().await,
            Err(error) => return Err(error),
        }
        let (through, run) = (newest(&self.request.history), self.request.run);
        Ok(self.wait(&Notes { through, run, working: true, after, empty: 0, looks: 0, ..notes }, None))
    }

    /// Looks whether the task has an answer.
    async fn look(&self, mut notes: Notes) -> Result<Outcome, VendorError> {
        let reached = match self.account.look(&notes.task, notes.after.as_deref()).await {
            Ok(reached) => reached,
            Err(error) if error.kind == FailureKind::NotFound => return self.begin().await,
            // The task goes on; that it can't be looked at for a while is no failure of it.
            Err(error) if error.retry != Retry::Never => {
                let pause = if let Retry::After(pause) = error.retry { pause } else { self.settings.poll };
                tracing::debug!(vendor = ID, error = %error, "a task could not be looked at; it is tried again");
                return Ok(self.wait(&notes, Some(pause.max(self.settings.poll) * 2)));
            }
            Err(error) => return Err(error),
        };
        // Another run over the same messages: what the task came to was no answer then, so it is asked anew.
        let again = notes.run != self.request.run;
        let Reached { status, text, trouble, credits, profile } = reached;
        match (status, text, trouble) {
            (Status::Running, ..) => {
                let looks = notes.looks.saturating_add(1);
                Ok(self.wait(&Notes { empty: 0, looks, ..notes }, None))
            }
            (Status::Stopped | Status::Waiting, Some(text), _) => {
                let spent = (credits - notes.credits).max(0);
                notes = Notes { working: false, credits, empty: 0, ..notes };
                Ok(Outcome::Answered(Answer {
                    text,
                    credits: Some(spent),
                    model: profile,
                    notes: Some(json!(notes)),
                    ..Answer::default()
                }))
            }
            (_, _, Some(_)) | (Status::Error, ..) if again => self.begin().await,
            (Status::Waiting, ..) => {
                self.account.stop(&notes.task).await?;
                let detail = "the task waits for the confirmation of an action, which nobody here can give; it was stopped";
                Err(worked(FailureKind::Other, detail, Retry::Never))
            }
            (_, _, Some(trouble)) => {
                let kind = if trouble.to_lowercase().contains("credit") {
                    FailureKind::OutOfQuota
                } else {
                    FailureKind::BadAnswer
                };
                let retry = if kind == FailureKind::OutOfQuota { Retry::Never } else { Retry::Backoff };
                let excerpt = crate::http::excerpt(trouble.as_bytes());
                Err(VendorError { excerpt, ..worked(kind, "the task ended with an error", retry) })
            }
            (Status::Error, ..) => {
                Err(worked(FailureKind::BadAnswer, "the task ended with an error", Retry::Backoff))
            }
            (Status::Stopped, None, None) if notes.empty < MOST_EMPTY => {
                Ok(self.wait(&Notes { empty: notes.empty + 1, ..notes }, None))
            }
            (Status::Stopped, None, None) if again => self.begin().await,
            (Status::Stopped, None, None) => {
                Err(worked(FailureKind::BadAnswer, "the task ended without an answer", Retry::Backoff))
            }
        }
    }

    /// Waits: by our own schedule, spread so that dialogues don't march in step.
    fn wait(&self, notes: &Notes, pause: Option<Duration>) -> Outcome {
        let spread = f64::from(self.request.dialogue.0.as_bytes()[15]) / 510.0;
        let pause = pause.unwrap_or_else(|| pace(self.settings.poll, notes.looks).mul_f64(1.0 + spread));
        Outcome::Waiting { notes: json!(notes), pause }
    }
}

/// The pause after so many looks at a task that works on: what has taken long takes longer.
fn pace(poll: Duration, looks: u32) -> Duration {
    const GROWTH: f64 = 1.25;
    const MOST: f64 = 6.0;
    poll.mul_f64(GROWTH.powi(looks.min(30).cast_signed()).min(MOST))
}

#[async_trait]
impl Connector for Manus {
    fn settings_schema(&self) -> Value {
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "base_url": account::base_url_schema(BASE_URL, "Where Manus's API is, without the version."),
            },
        })
    }

    fn credentials(&self) -> &'static [CredentialField] {
        const KEY: CredentialField =
            account::api_key("The key of the account, from Manus's settings under Integrations, API.", true);
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
        let listed = async {
            self.account(connection, Timestamp::UNIX_EPOCH)?.list().await?;
            self.list_models(connection).await
        };
        account::steps(listed.await)
    }
}

/// A failure of a task that was worked on: the account has paid for that.
fn worked(kind: FailureKind, detail: &str, retry: Retry) -> VendorError {
    VendorError { applied: Applied::Maybe, ..failure(kind, detail, retry) }
}

fn failure(kind: FailureKind, detail: &str, retry: Retry) -> VendorError {
    VendorError {
        vendor: ID,
        operation: "complete",
        kind,
        http_status: None,
        detail: detail.to_owned(),
        excerpt: None,
        applied: Applied::No,
        retry,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_bound() {
        let poll = Duration::from_secs(10);
        let pauses: Vec<_> = (0..12).map(|looks| pace(poll, looks)).collect();
        assert_eq!((pauses[0], pauses[1]), (poll, Duration::from_millis(12_500)));
        assert!(pauses.is_sorted());
        assert_eq!(pauses[11], Duration::from_mins(1));
        assert_eq!(pace(poll, u32::MAX), Duration::from_mins(1));
    }
}
