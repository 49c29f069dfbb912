//! Engines: what writes an agent's answers. Values in, values out; an adapter stores nothing and retries nothing.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::{
    DialogueId, FieldViolation, Timestamp,
    connection::Connection,
    dialogue::Message,
    inbound::RawRequest,
    vendor::{VendorError, VerifyError},
};

/// Writes answers.
#[async_trait]
pub trait CompletionModel: Send + Sync {
    /// Checks an agent's `engine.settings` when they are saved; gives every bad field, named from `settings` on.
    fn check_settings(&self, settings: &Value) -> Result<(), Vec<FieldViolation>>;

    /// Whether it keeps notes on a dialogue from one call to the next, see [`Completion::notes`].
    fn keeps_notes(&self) -> bool {
        false
    }

    /// The longest answer of an agent's engine, what it thinks included, in tokens: what a call reserves that a budget
    /// concerns, and is then told. An engine that can't be told reserves what its agent's `max_output_tokens` estimates.
    fn longest_output(&self, engine: &crate::agent::Engine) -> i32 {
        engine.max_output_tokens.unwrap_or(crate::budget::DEFAULT_OUTPUT)
    }

    /// How many of the vendor's credits a call may use, as its agent's settings estimate: what it reserves of budgets of cost.
    /// 0: it counts tokens.
    fn most_credits(&self, _engine: &crate::agent::Engine) -> i64 {
        0
    }

    /// Asks for the next answer. Stops soon after `cancelled` fires, and tells the vendor to stop where that is possible; if
    /// it has fired already, nothing is asked, and what the vendor works on by these notes is stopped.
    /// Never retries by itself, but for a request that the vendor refused unread for a parameter it doesn't know.
    async fn complete(
        &self,
        connection: &Connection,
        request: &Completion,
        cancelled: &CancellationToken,
    ) -> Result<Outcome, VendorError>;

    /// Reads the vendor's calls to us. `None`: it makes none.
    fn hook(&self) -> Option<&dyn EngineHook> {
        None
    }

    /// Lists the models that can be asked. Empty where the vendor has no such list.
    async fn list_models(&self, connection: &Connection) -> Result<Vec<Model>, VendorError>;

    /// Makes the vendor forget a dialogue of which these are the notes. Nothing, where it keeps none.
    async fn forget(
        &self,
        _connection: &Connection,
        _dialogue: DialogueId,
        _notes: &Value,
    ) -> Result<(), VendorError> {
        Ok(())
    }
}

/// Reads what a vendor calls us for while turns wait for it. Its calls are hints: the engine is asked again before anything
/// is done.
#[async_trait]
pub trait EngineHook: Send + Sync {
    /// Checks who sent a call, over its raw bytes, and gives what the notes of the dialogues hold that it is about. `None`:
    /// it is about nothing that anybody waits for.
    ///
    /// `urls`: what the vendor may have called us by; a signature may cover it.
    async fn read(
        &self,
        connection: &Connection,
        request: &RawRequest,
        urls: &[String],
        now: Timestamp,
    ) -> Result<Option<Value>, HookError>;
}

/// A vendor's call was not taken.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// Its sender could not be made out.
    #[error(transparent)]
    Unverified(#[from] VerifyError),
    /// The vendor's key, which its sender is made out by, could not be read.
    #[error("the vendor's public key could not be read")]
    NoKey(#[source] VendorError),
    /// It is the vendor's and could not be understood.
    #[error("the call could not be understood")]
    NotUnderstood,
}

/// A model that can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Model {
    /// What `engine.model` is set to.
    pub id: String,
    /// Its name for people. Empty: only the id.
    pub display_name: String,
    /// The longest input in its tokens. `None`: not told.
    pub max_input_tokens: Option<i64>,
    /// The longest output in its tokens. `None`: not told.
    pub max_output_tokens: Option<i64>,
}

/// What an engine is given. Serialized, it is the request part of a run's manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Completion {
    /// Who writes, and how.
    pub engine: crate::agent::Engine,
    /// The dialogue: what a vendor that keeps conversations knows it, and its customer, by.
    pub dialogue: DialogueId,
    /// What the model is told first.
    pub instructions: String,
    /// The dialogue so far, oldest first, the newest customer message included.
    pub history: Vec<Message>,
    /// When it is asked: what dates in a vendor's answer are read against.
    #[serde(with = "time::serde::rfc3339")]
    pub at: Timestamp,
    /// Which run of the turn this is, from 1.
    pub run: i32,
    /// The tools it may call.
    pub tools: Vec<ToolSpec>,
    /// The steps of this turn so far: what it answered and what its tools gave.
    pub steps: Vec<Step>,
    /// What it noted of this dialogue at its last call. `None`: nothing, or it keeps no notes.
    pub notes: Option<Value>,
}

/// A tool that an engine may call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolSpec {
    /// Its name: 1 to 64 of `A-Z a-z 0-9 _ -`, which every vendor takes.
    pub name: String,
    /// What it does, for the model.
    pub description: String,
    /// JSON Schema of its arguments.
    pub parameters: Value,
}

/// One step of a run: an answer, and the results of the tools it called.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// What the engine answered.
    pub answer: Answer,
    /// What its tools gave, in the order of the calls.
    pub results: Vec<Value>,
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It answered.
    Answered(Answer),
    /// It works on it, for minutes perhaps. The turn waits as a row, and is asked again with these notes after the pause.
    Waiting {
        /// What it must be given then.
        notes: Value,
        /// When to look again.
        pause: std::time::Duration,
    },
    /// It failed after its vendor had begun a conversation for it, with which nobody will go on.
    Failed {
        /// How it failed.
        error: VendorError,
        /// What the vendor can be told to forget it by.
        notes: Value,
    },
}

/// What an engine answered: a text, or calls of tools.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The reply. What is said beside calls of tools is kept and not sent.
    pub text: String,
    /// The tools to call.
    pub tool_calls: Vec<ToolCall>,
    /// What it cost, as the engine counts. `None`: it didn't say.
    #[serde(default)]
    pub usage: Option<Usage>,
    /// Why it stopped.
    #[serde(default)]
    pub finish: Finish,
    /// The model that answered, as the vendor names it. Empty: it didn't say.
    #[serde(default)]
    pub model: String,
    /// What it cost in the vendor's own credits, where it counts no tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credits: Option<i64>,
    /// What must be handed back unchanged with the next step of this turn, in the vendor's own form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carry: Option<Value>,
    /// What the engine wants to be given with the next call for this dialogue. `None`: its notes stay as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<Value>,
}

/// Tokens, as the engine counts them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// All input, the cached part included.
    pub input_tokens: i64,
    /// Of these, what came from the vendor's cache.
    #[serde(default)]
    pub cached_input_tokens: i64,
    /// All output, hidden thinking included.
    pub output_tokens: i64,
}

impl std::ops::Add for Usage {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            input_tokens: self.input_tokens + other.input_tokens,
            cached_input_tokens: self.cached_input_tokens + other.cached_input_tokens,
            output_tokens: self.output_tokens + other.output_tokens,
        }
    }
}

/// Why an engine stopped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Finish {
    /// It was done, or calls tools.
    #[default]
    Stop,
    /// It reached the longest output.
    Length,
    /// It, or a filter, refused. The text, if any, says so.
    Refused,
}

/// One call of a tool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolCall {
    /// What the vendor calls this call. Empty: it has no name for it.
    #[serde(default)]
    pub id: String,
    /// The tool's name.
    pub name: String,
    /// Its arguments, as the engine wrote them; a string where they were no JSON.
    pub arguments: Value,
}
