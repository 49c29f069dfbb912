//! Dialogues and their messages.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    ChannelId, ContactId, DialogueId, MessageId, Timestamp, TurnId, contact::CrmReferences,
    crm_context::CrmFacts, part::Part,
};

macro_rules! stored_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name { $($(#[$variant_doc])* #[serde(rename = $text)] $variant,)+ }

        impl $name {
            /// Its name in the database and in JSON.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// Reads the name. `None`: there is no such one.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}
pub(crate) use stored_enum;

stored_enum! {
    /// Where a dialogue stands, in the helpdesk's words. Who holds it follows: PENDING is the agent's, OPEN is a
    /// human's, SNOOZED and RESOLVED are nobody's.
    Status {
        /// The agent's.
        Pending = "PENDING",
        /// People's.
        Open = "OPEN",
        /// Nobody's, for now.
        Snoozed = "SNOOZED",
        /// Nobody's: done.
        Resolved = "RESOLVED",
    }
}

stored_enum! {
    /// Who wrote a message.
    Role {
        /// The customer.
        User = "USER",
        /// The agent.
        Assistant = "ASSISTANT",
        /// A person of the company.
        Employee = "EMPLOYEE",
        /// Switchboard itself.
        System = "SYSTEM",
    }
}

/// One chat on one channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Dialogue {
    /// Its id.
    pub id: DialogueId,
    /// Its channel.
    pub channel: ChannelId,
    /// The chat inside the channel. Empty: the channel's own.
    pub chat: String,
    /// Where it stands.
    pub status: Status,
    /// The highest message number.
    pub last_seq: i64,
    /// Who holds it since when, and why.
    pub control: Control,
    /// What tools have noted, an object.
    pub attributes: Value,
    /// Whom it is held with.
    pub contact: Option<ContactId>,
    /// What the CRM knows it as.
    pub crm: CrmReferences,
    /// Whether the customer wants no messages that nobody asked for.
    pub opted_out: bool,
    /// Rises with everything that happens in it.
    pub version: i64,
    /// When its first message was recorded.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// Since when and why a dialogue has its holder, who follows from its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// Since when.
    pub since: Timestamp,
    /// Why. Empty: nothing but its beginning.
    pub reason: String,
    /// Who did it, as the caller said.
    pub by: String,
    /// When a human's control goes back to the agent by itself.
    pub returns_at: Option<Timestamp>,
}

/// One message of a dialogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Its id.
    pub id: MessageId,
    /// Its dialogue.
    pub dialogue: DialogueId,
    /// Its number in the dialogue, from 1.
    pub seq: i64,
    /// Who wrote it.
    pub role: Role,
    /// What it says.
    pub text: String,
    /// What it carries beside.
    #[serde(default, deserialize_with = "crate::part::stored", skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
    /// What the outside world calls it.
    pub external_id: String,
    /// The turn that covers it or wrote it.
    pub turn: Option<TurnId>,
    /// When it was recorded.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: Timestamp,
    /// What was told about it beside, such as its origin. No engine is given it, so no prompt's hash depends on it.
    #[serde(skip)]
    pub metadata: Map<String, Value>,
    /// When it was written, as its sender says.
    #[serde(skip)]
    pub sent_at: Option<Timestamp>,
}

/// The largest metadata of one message, in bytes of JSON.
pub const MAX_METADATA_BYTES: usize = 16_384;
/// The longest text of one message, in bytes.
pub const MAX_TEXT_BYTES: usize = 65_536;
/// The longest id that a caller may give a message, and the longest name of a chat, in characters.
pub const MAX_EXTERNAL_ID_CHARS: usize = 256;

/// What is known of a dialogue beside its messages: what instructions may speak of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DialogueFacts {
    /// The agent's name for people.
    pub agent: String,
    /// The channel's name for people.
    pub channel: String,
    /// The channel's vendor.
    pub vendor: String,
    /// The customer's name inside the channel.
    pub chat: String,
    /// What was noted of the dialogue, an object.
    pub attributes: Value,
    /// What the agent may see of the customer in the CRM. `None`: nothing, or the CRM knows nobody here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crm: Option<CrmFacts>,
}
