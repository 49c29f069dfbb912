//! What a run's engine was given, in the form in which it is kept, and its hash.
//!
//! Messages never change, so the history is kept by their numbers; all else is kept as it was: agents are changed, and
//! attributes edited. What a run answered is kept beside it, step by step.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{
    DialogueId, Timestamp,
    agent::Engine,
    dialogue::{DialogueFacts, Message, Role},
    engine::{Completion, ToolSpec},
};

/// What an engine was given first in a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prompt {
    /// Who was asked, and how.
    pub engine: Engine,
    /// The dialogue.
    pub dialogue: DialogueId,
    /// What it was told first, with all variables filled in.
    pub instructions: String,
    /// The history, oldest first.
    pub history: Vec<Told>,
    /// When it was asked.
    #[serde(with = "time::serde::rfc3339")]
    pub at: Timestamp,
    /// The run's number.
    pub run: i32,
    /// The tools it could call.
    pub tools: Vec<ToolSpec>,
    /// What it had noted of the dialogue.
    #[serde(default)]
    pub notes: Option<Value>,
    /// What its instructions could speak of.
    #[serde(default)]
    pub known: DialogueFacts,
    /// Why the history is not all that was there. `None`: it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<String>,
}

/// A message of the history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Told {
    /// As it stands in the dialogue under this number.
    AsSaid(i64),
    /// In other words than the dialogue's, such as what was never sent.
    Otherwise {
        /// Its number.
        seq: i64,
        /// Who wrote it, as the engine was told.
        role: Role,
        /// What the engine was told.
        text: String,
    },
}

impl Told {
    /// The message's number.
    pub const fn seq(&self) -> i64 {
        match self {
            Self::AsSaid(seq) | Self::Otherwise { seq, .. } => *seq,
        }
    }
}

impl Prompt {
    /// Keeps a request. `said`: the dialogue's messages, as far as its history may hold them; `known`: what is known beside.
    pub fn of(request: &Completion, said: &[Message], known: &DialogueFacts) -> Self {
        let told = |message: &Message| {
            // What is SYSTEM may be another's message in a frame, which can't be told from a notice.
            if message.role != Role::System && said.contains(message) {
                Told::AsSaid(message.seq)
            } else {
                Told::Otherwise { seq: message.seq, role: message.role, text: message.text.clone() }
            }
        };
        Self {
            engine: request.engine.clone(),
            dialogue: request.dialogue,
            instructions: request.instructions.clone(),
            history: request.history.iter().map(told).collect(),
            at: request.at,
            run: request.run,
            tools: request.tools.clone(),
            notes: request.notes.clone(),
            known: known.clone(),
            cut: None,
        }
    }

    /// Makes the request again, without steps. `None`: a message of its history is not among these.
    pub fn rebuild(&self, messages: &[Message]) -> Option<Completion> {
        let history = self.history.iter().map(|told| {
            let mut message = messages.iter().find(|message| message.seq == told.seq())?.clone();
            if let Told::Otherwise { role, text, .. } = told {
                message.role = *role;
                message.text.clone_from(text);
            }
            Some(message)
        });
        Some(Completion {
            engine: self.engine.clone(),
            dialogue: self.dialogue,
            instructions: self.instructions.clone(),
            history: history.collect::<Option<_>>()?,
            at: self.at,
            run: self.run,
            tools: self.tools.clone(),
            steps: Vec::new(),
            notes: self.notes.clone(),
        })
    }
}

/// SHA-256 over the canonical JSON of a request: members sorted by name, no white space. Left out are the engine's price,
/// which no model is told, and the steps of the turn, which the manifest has as they are.
pub fn digest(request: &Completion) -> String {
    let mut value = serde_json::to_value(request).unwrap_or_default();
    if let Some(members) = value.as_object_mut() {
        members.remove("steps");
        if let Some(engine) = members.get_mut("engine").and_then(Value::as_object_mut) {
            engine.remove("price");
        }
    }
    // An object of serde_json is sorted by name.
    hex::encode(Sha256::digest(value.to_string()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use uuid::Uuid;

    use super::*;
    use crate::{MessageId, cost::Price};

    fn message(seq: i64, role: Role, text: &str) -> Message {
        Message {
            id: MessageId(Uuid::from_u128(7)),
            dialogue: DialogueId(Uuid::nil()),
            seq,
            role,
            text: text.to_owned(),
            parts: Vec::new(),
            external_id: seq.to_string(),
            turn: None,
            created_at: Timestamp::UNIX_EPOCH,
            metadata: serde_json::Map::new(),
            sent_at: None,
        }
    }

    fn request(history: Vec<Message>) -> Completion {
        Completion {
            engine: Engine {
                vendor: "mock".to_owned(),
                integration: None,
                model: String::new(),
                temperature: Some(0.7),
                max_output_tokens: None,
                settings: json!({ "b": 1, "a": 0.25 }),
                price: None,
            },
            dialogue: DialogueId(Uuid::nil()),
            instructions: "Be kind.".to_owned(),
            history,
            at: Timestamp::UNIX_EPOCH,
            run: 1,
            tools: Vec::new(),
            steps: Vec::new(),
            notes: None,
        }
    }

    #[test]
    fn a_kept_request_is_made_again_to_the_byte() {
        let said = vec![
            message(1, Role::User, "hi"),
            message(2, Role::Assistant, "no"),
            message(3, Role::User, "?"),
        ];
        let mut shown = said.clone();
        (shown[1].role, shown[1].text) = (Role::System, "This was not sent (loop): no".to_owned());
        let given = request(shown);
        let kept = Prompt::of(&given, &said, &DialogueFacts::default());
        assert_eq!(serde_json::to_value(&kept).unwrap()["history"][0], 1);
        let kept: Prompt = serde_json::from_str(&serde_json::to_string(&kept).unwrap()).unwrap();
        let mut later = said;
        later.push(message(4, Role::User, "the dialogue went on"));
        let again = kept.rebuild(&later).unwrap();
        assert_eq!(again, given);
        assert_eq!(digest(&again), digest(&given));
        assert_eq!(kept.rebuild(&later[1..]), None);
    }

    #[test]
    fn the_hash_is_of_what_the_model_is_told() {
        let given = request(vec![message(1, Role::User, "hi")]);
        let mut other = given.clone();
        other.engine.price =
            Some(Price { currency: "USD".to_owned(), input: 1, cached_input: 1, output: 1, credit: 0 });
        assert_eq!(digest(&other), digest(&given));
        other.instructions.push('!');
        assert_ne!(digest(&other), digest(&given));
    }
}
