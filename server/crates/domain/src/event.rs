//! The workspace's log of recorded facts.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};
use time::format_description::well_known::Rfc3339;

use crate::{DialogueId, Error, EventId, Reason, Timestamp, WorkspaceId, dialogue::Message};

/// A recorded fact, at its place in the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its id.
    pub id: EventId,
    /// What happened, in the past tense.
    pub kind: String,
    /// Its place: 1, 2, 3 … in its workspace.
    pub position: i64,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// The dialogue it is about.
    pub dialogue: Option<DialogueId>,
    /// The id of what it is about, as its type says.
    pub subject: Option<uuid::Uuid>,
    /// The message it is about.
    pub message: Option<Message>,
    /// Further facts, an object.
    pub data: Value,
}

impl Event {
    /// Writes it as JSON, the same for all who get JSON: streams over HTTP and outbound webhooks. What is not there is left
    /// out.
    pub fn to_json(&self) -> Map<String, Value> {
        let mut json = Map::from_iter([
            ("id".to_owned(), json!(self.id)),
            ("type".to_owned(), json!(self.kind)),
            ("timestamp".to_owned(), moment(self.occurred_at)),
        ]);
        if let Some(dialogue) = self.dialogue {
            json.insert("dialogue_id".to_owned(), json!(dialogue));
        }
        if let Some(subject) = self.subject {
            json.insert("subject_id".to_owned(), json!(subject));
        }
        if let Some(message) = &self.message {
            let mut body = json!({
                "id": message.id,
                "seq": message.seq,
                "role": message.role,
                "text": message.text,
                "external_id": message.external_id,
                "create_time": moment(message.created_at),
            });
            if !message.parts.is_empty() {
                body["parts"] = json!(message.parts);
            }
            if let Some(turn) = message.turn {
                body["turn_id"] = json!(turn);
            }
            if !message.metadata.is_empty() {
                body["metadata"] = json!(message.metadata);
            }
            if let Some(at) = message.sent_at {
                body["send_time"] = moment(at);
            }
            json.insert("message".to_owned(), body);
        }
        json.insert("data".to_owned(), self.data.clone());
        json
    }
}

/// A moment as RFC 3339 writes it. Null for a year that it can't write, which none of ours is.
fn moment(at: Timestamp) -> Value {
    at.format(&Rfc3339).map_or(Value::Null, Value::String)
}

/// A place between two events of a workspace's log: everything up to `position` has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// Whose log.
    pub workspace: WorkspaceId,
    /// Which life of the log: it changes when a log begins anew, so that an old cursor is found out.
    pub epoch: i32,
    /// The last position that was read.
    pub position: i64,
}

impl Cursor {
    /// Writes it for callers, who must not look inside.
    pub fn encode(self) -> String {
        let mut bytes = Vec::with_capacity(28);
        bytes.extend(self.workspace.0.as_bytes());
        bytes.extend(self.epoch.to_be_bytes());
        bytes.extend(self.position.to_be_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads one of this workspace's.
    ///
    /// # Errors
    /// `CURSOR_INVALID`: it is no cursor, or another workspace's.
    pub fn decode(text: &str, workspace: WorkspaceId) -> Result<Self, Error> {
        let invalid = || {
            Error::field(
                Reason::CursorInvalid,
                "cursor",
                "is not a cursor of this workspace; leave it empty to begin now, or use 0 for the beginning of the log",
            )
        };
        let bytes: [u8; 28] =
            URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| bytes.try_into().ok()).ok_or_else(invalid)?;
        let (id, rest) = bytes.split_at(16);
        let (epoch, position) = rest.split_at(4);
        let cursor = Self {
            workspace: WorkspaceId(uuid::Uuid::from_slice(id).map_err(|_| invalid())?),
            epoch: i32::from_be_bytes(epoch.try_into().map_err(|_| invalid())?),
            position: i64::from_be_bytes(position.try_into().map_err(|_| invalid())?),
        };
        if cursor.workspace != workspace || cursor.position < 0 {
            return Err(invalid());
        }
        Ok(cursor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_of_an_event_leaves_out_what_is_not_there() {
        let event = Event {
            id: EventId(uuid::Uuid::from_u128(1)),
            kind: "message.received".to_owned(),
            position: 7,
            occurred_at: Timestamp::UNIX_EPOCH,
            dialogue: Some(DialogueId(uuid::Uuid::from_u128(2))),
            subject: None,
            message: Some(Message {
                id: uuid::Uuid::from_u128(3).into(),
                dialogue: DialogueId(uuid::Uuid::from_u128(2)),
                seq: 1,
                role: crate::dialogue::Role::User,
                text: "hello".to_owned(),
                parts: Vec::new(),
                external_id: "m1".to_owned(),
                turn: None,
                created_at: Timestamp::UNIX_EPOCH,
                metadata: Map::new(),
                sent_at: None,
            }),
            data: json!({ "late": true }),
        };
        let expected = json!({
            "id": "00000000-0000-0000-0000-000000000001",
            "type": "message.received",
            "timestamp": "1970-01-01T00:00:00Z",
            "dialogue_id": "00000000-0000-0000-0000-000000000002",
            "message": {
                "id": "00000000-0000-0000-0000-000000000003",
                "seq": 1,
                "role": "USER",
                "text": "hello",
                "external_id": "m1",
                "create_time": "1970-01-01T00:00:00Z",
            },
            "data": { "late": true },
        });
        assert_eq!(Value::Object(event.to_json()), expected);
    }

    #[test]
    fn a_cursor_reads_back_and_only_in_its_workspace() {
        let workspace = WorkspaceId(uuid::Uuid::from_u128(9));
        let cursor = Cursor { workspace, epoch: 3, position: 77 };
        assert_eq!(Cursor::decode(&cursor.encode(), workspace), Ok(cursor));
        let other = WorkspaceId(uuid::Uuid::from_u128(8));
        assert_eq!(Cursor::decode(&cursor.encode(), other).unwrap_err().reason, Reason::CursorInvalid);
        for garbage in ["1", "x", "AAAA", &"A".repeat(400)] {
            assert!(Cursor::decode(garbage, workspace).is_err(), "{garbage}");
        }
    }
}
