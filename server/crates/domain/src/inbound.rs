//! What the outside world tells us: raw, verified, understood.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use serde_json::{Map, Value};

use crate::{
    ChannelId, DeliveryId, DialogueId, InboundWebhookId, IntegrationId, MessageId, Timestamp,
    contact::{CrmReferences, NewContact},
    delivery::DeliveryReceipt,
    dialogue::stored_enum,
    part::Part,
};

stored_enum! {
    /// What became of an inbound webhook.
    Outcome {
        /// Its message was recorded.
        Recorded = "RECORDED",
        /// Its message was known.
        Duplicate = "DUPLICATE",
        /// Its message id is known with another content.
        Conflict = "CONFLICT",
        /// It could not be understood.
        Quarantined = "QUARANTINED",
        /// It was understood, and there is nothing to do about it.
        Ignored = "IGNORED",
    }
}

/// A call as it came: headers and bytes, nothing checked.
#[derive(Debug, Clone, Default)]
pub struct RawRequest {
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl RawRequest {
    /// The headers to keep: names in lower case, credentials and what might be one replaced by `[redacted]`.
    pub fn stored_headers(&self, secret: &[HeaderName]) -> BTreeMap<String, String> {
        const SECRET: [&str; 4] = ["authorization", "proxy-authorization", "cookie", "x-api-key"];
        self.headers
            .iter()
            .map(|(name, value)| {
                let hidden = SECRET.contains(&name.as_str())
                    || secret.contains(name)
                    || name.as_str().contains("token")
                    || name.as_str().contains("secret");
                let text =
                    if hidden { "[redacted]".into() } else { String::from_utf8_lossy(value.as_bytes()) };
                (name.as_str().to_owned(), text.replace('\0', "\u{fffd}"))
            })
            .collect()
    }
}

/// A call whose sender was checked. Only [`crate::vendor::verify`] and those who check our own tokens make one.
#[derive(Debug, Clone)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    /// Vouches that the sender was checked by our own credentials (an API key, an agent's token), or earlier (a replay).
    pub fn vouched(value: T) -> Self {
        Self(value)
    }

    /// What was verified.
    pub fn get(&self) -> &T {
        &self.0
    }
}

/// Who sent a message in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sender {
    /// The customer: recorded and answered.
    #[default]
    Customer,
    /// A person of the company: recorded, never answered.
    Employee,
}

/// Something that happened outside, in our words.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "nearly all of them are messages")]
pub enum InboundEvent {
    /// Somebody wrote.
    Message(InboundMessage),
    /// The vendor tells what became of a message of ours.
    Status(InboundStatus),
    /// Something else happened in a chat.
    Happened(InboundHappening),
    /// There is nothing to do about it, for this reason; the call is kept.
    Ignored(String),
}

/// What happens in a chat and is no message: an event tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboundHappening {
    /// The type of the event, such as `chat.typing`.
    pub kind: &'static str,
    /// The chat inside the channel.
    pub chat: String,
    /// What is told.
    pub data: Map<String, Value>,
}

/// What a vendor tells of a message of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboundStatus {
    /// Our own id of it, where the vendor speaks of it by that.
    pub delivery: Option<DeliveryId>,
    /// The vendor's id of it.
    pub vendor_message_id: Option<String>,
    /// What became of it.
    pub receipt: DeliveryReceipt,
    /// Why it failed.
    pub error: Option<String>,
    /// When, by the vendor's clock. `None`: it doesn't say.
    pub at: Option<Timestamp>,
}

/// A message from outside.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InboundMessage {
    /// The chat inside the channel. Empty: the channel's own.
    pub chat: String,
    /// The sender's id of it. `None`: there is none, and a repeat can't be told.
    pub external_id: Option<String>,
    /// What it says. May be empty where it has parts.
    pub text: String,
    /// What it carries beside.
    pub parts: Vec<Part>,
    /// Who wrote it.
    pub sender: Sender,
    /// What is told of its author, the customer. `None`: nothing; the dialogue's contact stays.
    pub contact: Option<NewContact>,
    /// What the CRM knows its dialogue as.
    pub references: CrmReferences,
    /// What was told about it beside, such as its origin. Kept with it and shown; no engine is given it.
    pub metadata: Map<String, Value>,
    /// When it was written, as its sender says.
    pub sent_at: Option<Timestamp>,
}

/// A raw call, kept with what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboundWebhook {
    /// Its id.
    pub id: InboundWebhookId,
    /// The channel it was for. `None`: it was for an integration.
    pub channel: Option<ChannelId>,
    /// The integration whose account it tells of. `None`: it was for a channel.
    pub integration: Option<IntegrationId>,
    /// The door it came through.
    pub route: String,
    /// The headers kept of it.
    pub headers: BTreeMap<String, String>,
    /// Its body.
    pub body: Vec<u8>,
    /// What became of it.
    pub outcome: Outcome,
    /// Why it was quarantined or ignored.
    pub reason: Option<String>,
    /// The message it recorded, or repeated, or conflicts with, or told of.
    pub message: Option<MessageId>,
    /// The dialogue of that message.
    pub dialogue: Option<DialogueId>,
    /// When it was received.
    pub received_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_not_kept() {
        let mut raw = RawRequest::default();
        for name in ["authorization", "x-chatbot_auth_token", "x-own", "content-type", "cookie"] {
            raw.headers.insert(HeaderName::from_static(name), "value".parse().unwrap());
        }
        let kept = raw.stored_headers(&[HeaderName::from_static("x-own")]);
        assert_eq!(kept["content-type"], "value");
        assert_eq!(kept.values().filter(|value| *value == "[redacted]").count(), 4);
    }
}
