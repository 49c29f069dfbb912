//! The workspace's log of recorded facts.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

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
    pub data: serde_json::Value,
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
