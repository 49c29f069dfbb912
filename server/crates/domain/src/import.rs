//! Dialogues that are taken over from elsewhere: history, which nobody answers.

use serde_json::{Map, Value};

use crate::{
    Timestamp,
    contact::{CrmReferences, NewContact},
    dialogue::{MAX_EXTERNAL_ID_CHARS, MAX_METADATA_BYTES, MAX_TEXT_BYTES, Role, Status},
    error::Violations,
};

/// A chat to take over.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportedChat {
    /// The chat inside the channel.
    pub chat: String,
    /// What is told of the customer.
    pub contact: Option<NewContact>,
    /// What the CRM knows the dialogue as.
    pub references: CrmReferences,
    /// The status of its dialogue, if that is new.
    pub status: Option<Status>,
}

/// A message to take over.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportedMessage {
    /// Its chat.
    pub chat: String,
    /// What it was called where it comes from.
    pub external_id: String,
    /// Who wrote it.
    pub role: Role,
    /// What it says.
    pub text: String,
    /// When it was written.
    pub created_at: Timestamp,
    /// What is to be kept with it.
    pub metadata: Map<String, Value>,
}

/// A row that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Whether it is one of the chats; else it is one of the messages.
    pub chat: bool,
    /// Its place among these.
    pub index: usize,
    /// Why, in one sentence.
    pub reason: String,
}

/// What became of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Imported {
    /// How many messages were recorded.
    pub recorded: usize,
    /// How many were known.
    pub known: usize,
    /// How many dialogues began.
    pub begun: usize,
    /// What was left out.
    pub faults: Vec<Fault>,
}

/// How many messages, and how many chats, one batch may have.
pub const MAX_BATCH: usize = 10_000;

fn named(text: &str) -> bool {
    !text.is_empty() && text.chars().count() <= MAX_EXTERNAL_ID_CHARS && !text.contains('\0')
}

const NAME: &str = "is required: up to 256 characters, without U+0000";

fn told(violations: Violations) -> Result<(), String> {
    let refusal = violations.finish().err();
    refusal.map_or(Ok(()), |refusal| {
        let bad = refusal.fields.iter().map(|bad| format!("{}: {}", bad.field, bad.detail));
        Err(bad.collect::<Vec<_>>().join("; "))
    })
}

impl ImportedChat {
    /// Whether it is as the contract asks.
    ///
    /// # Errors
    /// Why it is not, in one sentence.
    pub fn check(&self) -> Result<(), String> {
        let mut violations = Violations::default();
        violations.require(named(&self.chat), "chat", NAME);
        if let Some(contact) = &self.contact {
            contact.check(&mut violations, "contact");
        }
        self.references.check(&mut violations, "crm");
        told(violations)
    }
}

impl ImportedMessage {
    /// Whether it is as the contract asks.
    ///
    /// # Errors
    /// Why it is not, in one sentence.
    pub fn check(&self, now: Timestamp) -> Result<(), String> {
        let mut violations = Violations::default();
        violations.require(named(&self.chat), "chat", NAME);
        violations.require(named(&self.external_id), "message_id", NAME);
        violations.require(self.role != Role::System, "role", "must be USER, ASSISTANT or EMPLOYEE");
        violations.require(
            !self.text.is_empty() && self.text.len() <= MAX_TEXT_BYTES && !self.text.contains('\0'),
            "text",
            "is required: 1 to 65,536 bytes, without U+0000",
        );
        violations.require(
            (Timestamp::UNIX_EPOCH..=now).contains(&self.created_at),
            "create_time",
            "must not be before 1970, nor in the future",
        );
        check_metadata(&mut violations, &self.metadata);
        told(violations)
    }
}

/// Notes metadata that is larger than the contract allows.
pub fn check_metadata(violations: &mut Violations, metadata: &Map<String, Value>) {
    if metadata.is_empty() {
        return;
    }
    let text = serde_json::to_string(metadata).unwrap_or_default();
    violations.require(
        text.len() <= MAX_METADATA_BYTES && !text.contains("\\u0000"),
        "metadata",
        "may have up to 16,384 bytes as JSON, without U+0000",
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_row_says_all_that_is_wrong_with_it() {
        let now = Timestamp::UNIX_EPOCH + time::Duration::days(10);
        let good = ImportedMessage {
            chat: "lead:1".to_owned(),
            external_id: "1".to_owned(),
            role: Role::User,
            text: "hi".to_owned(),
            created_at: Timestamp::UNIX_EPOCH,
            metadata: Map::new(),
        };
        assert_eq!(good.check(now), Ok(()));
        let late = now + time::Duration::seconds(1);
        let bad =
            ImportedMessage { chat: String::new(), text: "a\0".to_owned(), created_at: late, ..good.clone() };
        let why = bad.check(now).unwrap_err();
        assert!(["chat: ", "text: ", "create_time: "].iter().all(|field| why.contains(field)), "{why}");
        assert!(ImportedMessage { role: Role::System, ..good }.check(now).is_err());
    }
}
