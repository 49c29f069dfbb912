//! A dialogue in one text, for vendors that are told one message at a time and keep what was said before.

use domain::dialogue::{Message, Role};

/// One message, behind a mark that customers can't write.
pub(crate) fn entry(message: &Message) -> String {
    let who = match message.role {
        Role::User => "customer",
        Role::Assistant => "you",
        Role::Employee => "colleague",
        Role::System => "notice",
    };
    format!("⟦{who}⟧ {}", unmarked(message))
}

/// What a message says, and its parts in words.
pub(crate) fn unmarked(message: &Message) -> String {
    let text = Some(message.text.clone()).filter(|text| !text.trim().is_empty());
    let parts = message.parts.iter().map(domain::part::Part::as_text);
    text.into_iter().chain(parts).collect::<Vec<_>>().join("\n").replace('⟦', "[")
}

/// The customer's newest message; 0: none.
pub(crate) fn newest(history: &[Message]) -> i64 {
    let own = history.iter().filter(|message| message.role == Role::User);
    own.map(|message| message.seq).max().unwrap_or_default()
}
