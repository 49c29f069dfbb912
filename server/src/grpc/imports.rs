//! What is imported: a row that can't be read is a fault of that row alone.

use domain::{
    Error, Reason,
    dialogue::Role,
    import::{Fault, Imported, ImportedChat, ImportedMessage},
};
use switchboard_sdk::v1;

use super::{contacts, convert, dialogues};

/// A batch as it came: what could be read, with its place, and what could not.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) chats: Vec<(usize, ImportedChat)>,
    pub(super) messages: Vec<(usize, ImportedMessage)>,
    pub(super) bad: Vec<Fault>,
}

fn chat(wire: v1::ImportedChat) -> Result<ImportedChat, Error> {
    Ok(ImportedChat {
        status: dialogues::status_filter("status", wire.status)?,
        contact: wire.contact.map(contacts::told_contact).transpose()?,
        references: contacts::references(wire.crm)?,
        chat: wire.chat,
    })
}

fn message(wire: v1::ImportedMessage) -> Result<ImportedMessage, Error> {
    let role = match wire.role() {
        v1::MessageRole::User => Role::User,
        v1::MessageRole::Assistant => Role::Assistant,
        v1::MessageRole::Employee => Role::Employee,
        _ => return Err(Error::field(Reason::FieldInvalid, "role", "must be USER, ASSISTANT or EMPLOYEE")),
    };
    let created_at = convert::optional_moment("create_time", wire.create_time)?;
    Ok(ImportedMessage {
        role,
        created_at: convert::required("create_time", created_at)?,
        metadata: contacts::metadata(wire.metadata)?,
        chat: wire.chat,
        external_id: wire.message_id,
        text: wire.text,
    })
}

pub(super) fn batch(request: v1::ImportMessagesRequest) -> Batch {
    let mut batch = Batch::default();
    let why = |error: Error| {
        let bad = error.fields.iter().map(|bad| format!("{}: {}", bad.field, bad.detail));
        bad.collect::<Vec<_>>().join("; ")
    };
    for (index, wire) in request.chats.into_iter().enumerate() {
        match chat(wire) {
            Ok(chat) => batch.chats.push((index, chat)),
            Err(error) => batch.bad.push(Fault { chat: true, index, reason: why(error) }),
        }
    }
    for (index, wire) in request.messages.into_iter().enumerate() {
        match message(wire) {
            Ok(message) => batch.messages.push((index, message)),
            Err(error) => batch.bad.push(Fault { chat: false, index, reason: why(error) }),
        }
    }
    batch
}

pub(super) fn imported(done: Imported) -> v1::ImportMessagesResponse {
    let count = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    let fault =
        |fault: Fault| v1::ImportFault { chat: fault.chat, index: count(fault.index), reason: fault.reason };
    v1::ImportMessagesResponse {
        imported_count: count(done.recorded),
        known_count: count(done.known),
        created_dialogue_count: count(done.begun),
        faults: done.faults.into_iter().map(fault).collect(),
    }
}
