//! The contract of `POST /api/webhook/new_message`, which generic channels speak on every door.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    ChannelId, FieldViolation, Timestamp,
    contact::{CrmReferences, NewContact},
    dialogue::{MAX_EXTERNAL_ID_CHARS, MAX_TEXT_BYTES},
    inbound::{InboundMessage, Sender},
    part::{self, Part},
};

/// A message with the channel that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMessage {
    /// The channel of `chat_id`, as it was written: what is no id names an unknown channel.
    pub channel: String,
    /// The chat inside the channel. Empty: the channel's own.
    pub chat: String,
    /// The sender's id of it.
    pub message_id: Option<String>,
    /// What it says. May be empty where it has parts.
    pub text: String,
    /// What it carries beside.
    pub parts: Vec<Part>,
    /// Who wrote it.
    pub sender: Sender,
}

/// What is told beside a message, as it is kept.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Context {
    #[serde(skip_serializing_if = "Option::is_none")]
    contact: Option<NewContact>,
    #[serde(skip_serializing_if = "CrmReferences::is_empty")]
    references: CrmReferences,
    #[serde(skip_serializing_if = "Map::is_empty")]
    metadata: Map<String, Value>,
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    sent_at: Option<Timestamp>,
}

impl NewMessage {
    /// Reads a body: `{message_id?: string | null, chat_id: string, text: string, message_sender: "customer" |
    /// "employee", parts?: array | null}`, where `chat_id` is the channel's id, or `<channel id>/<chat>`. Unknown members are passed over.
    ///
    /// # Errors
    /// Every bad field; `body` when it is no JSON object.
    pub fn parse(body: &[u8]) -> Result<Self, Vec<FieldViolation>> {
        Self::read(body, |_| Ok(()))
    }

    /// Reads a body that came by way of a channel, which it may not contradict.
    ///
    /// # Errors
    /// As [`NewMessage::parse`], and `chat_id` when it doesn't name that channel.
    pub fn parse_for(channel: ChannelId, body: &[u8]) -> Result<Self, Vec<FieldViolation>> {
        Self::read(body, |named| match named.parse::<ChannelId>() {
            Ok(named) if named == channel => Ok(()),
            Ok(_) => Err("names another channel than the path; send the id of the path's channel, or \
                          <channel id>/<chat>"),
            Err(_) => Err("must be a channel's id, or <channel id>/<chat>"),
        })
    }

    fn read(
        body: &[u8],
        check_channel: impl Fn(&str) -> Result<(), &'static str>,
    ) -> Result<Self, Vec<FieldViolation>> {
        let whole = |detail: &str| vec![FieldViolation::new("body", detail)];
        let text = std::str::from_utf8(body).map_err(|_| whole("must be UTF-8"))?;
        let value: Value =
            serde_json::from_str(text).map_err(|error| whole(&format!("is not JSON: {error}")))?;
        let Value::Object(members) = value else { return Err(whole("must be a JSON object")) };

        let mut bad = Vec::new();
        let required = |name: &'static str| match members.get(name) {
            None | Some(Value::Null) => Err((name, "is required")),
            Some(Value::String(text)) if text.is_empty() => Err((name, "must not be empty")),
            Some(Value::String(text)) if text.contains('\0') => Err((name, "must not contain U+0000")),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(_) => Err((name, "must be a string")),
        };
        let chat = required("chat_id").and_then(|chat| {
            split(&chat)
                .and_then(|(channel, chat)| check_channel(&channel).map(|()| (channel, chat)))
                .map_err(|detail| ("chat_id", detail))
        });
        let parts = part::parse(members.get("parts"));
        // What carries something else need not say anything.
        let carries = parts.as_ref().map_or(true, |parts| !parts.is_empty());
        let text = match members.get("text") {
            None | Some(Value::Null) if carries => Ok(String::new()),
            Some(Value::String(text)) if text.is_empty() && carries => Ok(String::new()),
            _ => required("text"),
        };
        let text = text.and_then(|text| {
            if text.len() <= MAX_TEXT_BYTES {
                Ok(text)
            } else {
                Err(("text", "must not be over 65,536 bytes"))
            }
        });
        let sender = required("message_sender").and_then(|sender| match sender.as_str() {
            "customer" => Ok(Sender::Customer),
            "employee" => Ok(Sender::Employee),
            _ => Err(("message_sender", "must be customer or employee")),
        });
        let external_id = match members.get("message_id") {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(_)) => required("message_id").and_then(|id| {
                if id.chars().count() <= MAX_EXTERNAL_ID_CHARS {
                    Ok(Some(id))
                } else {
                    Err(("message_id", "must not be over 256 characters"))
                }
            }),
            Some(_) => Err(("message_id", "must be a string or null")),
        };
        let mut note = |(field, detail): (&str, &str)| bad.push(FieldViolation::new(field, detail));
        match (chat, text, sender, external_id, parts) {
            (Ok((channel, chat)), Ok(text), Ok(sender), Ok(external_id), Ok(parts)) => {
                Ok(Self { channel, chat, message_id: external_id, text, parts, sender })
            }
            (chat, text, sender, external_id, parts) => {
                chat.err().map(&mut note);
                text.err().map(&mut note);
                sender.err().map(&mut note);
                external_id.err().map(&mut note);
                bad.extend(parts.err().unwrap_or_default());
                Err(bad)
            }
        }
    }

    /// The message, without the channel that it names.
    pub fn into_message(self) -> InboundMessage {
        InboundMessage {
            chat: self.chat,
            external_id: self.message_id,
            text: self.text,
            parts: self.parts,
            sender: self.sender,
            ..InboundMessage::default()
        }
    }

    /// Reads what only [`NewMessage::body`] writes, for a message that came over gRPC and is replayed. What others write there
    /// is passed over by [`NewMessage::parse`].
    pub fn read_context(body: &[u8], message: &mut InboundMessage) {
        let context = serde_json::from_slice(body)
            .ok()
            .and_then(|mut body: Value| serde_json::from_value(body.get_mut("context")?.take()).ok());
        let Some(Context { contact, references, metadata, sent_at }) = context else { return };
        (message.contact, message.references) = (contact, references);
        (message.metadata, message.sent_at) = (metadata, sent_at);
    }

    /// Writes the body that [`NewMessage::parse`] reads as this: what is kept of a message that came over gRPC.
    pub fn body(channel: ChannelId, message: &InboundMessage) -> Vec<u8> {
        let chat_id =
            if message.chat.is_empty() { channel.to_string() } else { format!("{channel}/{}", message.chat) };
        let sender = match message.sender {
            Sender::Customer => "customer",
            Sender::Employee => "employee",
        };
        let mut body = serde_json::json!({
            "message_id": message.external_id, "chat_id": chat_id, "text": message.text, "message_sender": sender,
        });
        if !message.parts.is_empty() {
            body["parts"] = serde_json::json!(message.parts);
        }
        let context = Context {
            contact: message.contact.clone(),
            references: message.references.clone(),
            metadata: message.metadata.clone(),
            sent_at: message.sent_at,
        };
        if context != Context::default() {
            body["context"] = serde_json::json!(context);
        }
        body.to_string().into_bytes()
    }
}

fn split(chat_id: &str) -> Result<(String, String), &'static str> {
    let (channel, chat) = match chat_id.split_once('/') {
        Some((_, "")) => return Err("must name a chat after the slash"),
        Some((channel, chat)) => (channel, chat),
        None => (chat_id, ""),
    };
    if chat.chars().count() > MAX_EXTERNAL_ID_CHARS {
        return Err("must not name a chat of over 256 characters");
    }
    if channel.chars().count() > MAX_EXTERNAL_ID_CHARS {
        return Err("must not name a channel of over 256 characters");
    }
    Ok((channel.to_owned(), chat.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0198c0de-0000-7000-8000-000000000004";

    fn fields(body: &str) -> Vec<String> {
        NewMessage::parse(body.as_bytes()).unwrap_err().into_iter().map(|bad| bad.field).collect()
    }

    #[test]
    fn a_body_reads_back_with_and_without_chat_and_id() {
        for (chat, external_id) in [("", None), ("a/b", Some("1")), ("чат", Some("2"))] {
            let message = InboundMessage {
                chat: chat.to_owned(),
                external_id: external_id.map(ToOwned::to_owned),
                text: "hi".to_owned(),
                ..InboundMessage::default()
            };
            let parsed = NewMessage::parse(&NewMessage::body(ID.parse().unwrap(), &message)).unwrap();
            assert_eq!(parsed.channel, ID);
            assert_eq!(parsed.into_message(), message);
        }
    }

    #[test]
    fn what_is_told_beside_a_message_reads_back_for_replays_only() {
        let message = InboundMessage {
            text: "hi".to_owned(),
            contact: Some(NewContact { name: Some("Ann".to_owned()), ..NewContact::default() }),
            references: CrmReferences { lead_id: Some("7".to_owned()), ..CrmReferences::default() },
            metadata: Map::from_iter([("origin".to_owned(), "site".into())]),
            sent_at: Some(Timestamp::UNIX_EPOCH),
            ..InboundMessage::default()
        };
        let body = NewMessage::body(ID.parse().unwrap(), &message);
        let mut parsed = NewMessage::parse(&body).unwrap().into_message();
        assert_eq!(parsed, InboundMessage { text: "hi".to_owned(), ..InboundMessage::default() });
        NewMessage::read_context(&body, &mut parsed);
        assert_eq!(parsed, message);
        NewMessage::read_context(b"[]", &mut parsed);
        assert_eq!(parsed, message);
    }

    #[test]
    fn every_bad_field_is_named_at_once() {
        assert_eq!(fields("{}"), ["chat_id", "text", "message_sender"]);
        assert_eq!(
            fields(r#"{"chat_id":1,"text":"","message_sender":"robot","message_id":7}"#),
            ["chat_id", "text", "message_sender", "message_id"]
        );
        assert_eq!(
            fields(&format!(r#"{{"chat_id":"{ID}","text":"a\u0000","message_sender":"customer"}}"#)),
            ["text"]
        );
        assert_eq!(
            fields(&format!(r#"{{"chat_id":"{ID}/","text":"a","message_sender":"employee"}}"#)),
            ["chat_id"]
        );
        let long = "x".repeat(MAX_TEXT_BYTES + 1);
        assert_eq!(
            fields(&format!(r#"{{"chat_id":"{ID}","text":"{long}","message_sender":"customer"}}"#)),
            ["text"]
        );
    }

    #[test]
    fn a_body_may_not_contradict_the_channel_that_it_came_by() {
        let own: ChannelId = ID.parse().unwrap();
        let read = |chat_id: &str| {
            let body = serde_json::json!({ "chat_id": chat_id, "text": "a", "message_sender": "customer" });
            NewMessage::parse_for(own, body.to_string().as_bytes())
        };
        assert_eq!(read(&format!("{ID}/room")).unwrap().chat, "room");
        assert_eq!(read(&ID.to_uppercase()).unwrap().chat, "");
        for other in
            ["0198c0de-0000-7000-8000-000000000005", "0198c0de-0000-7000-8000-000000000005/room", "room"]
        {
            assert_eq!(read(other).unwrap_err()[0].field, "chat_id", "{other}");
        }
    }

    #[test]
    fn what_is_no_object_is_said_so() {
        for body in ["", "[]", "nonsense", "\"x\"", &"[".repeat(10_000), &"{\"a\":".repeat(10_000)] {
            assert_eq!(fields(body), ["body"], "{}", &body[..body.len().min(20)]);
        }
        assert_eq!(NewMessage::parse(b"{\"text\": \"\xff\"}").unwrap_err()[0].field, "body");
    }
}
