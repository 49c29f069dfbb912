//! Reading what is called for our channels: the Chats API, which signs its calls, and salesbots, whose calls carry a token.
//! <https://www.amocrm.ru/developers/content/chats/chat-webhooks> (read 2026-11-20)
//!
//! A signature covers no date but the one in the body, and the documents speak of a slower queue for whoever answers slowly, so
//! a late message is still a manager's word: it is taken, and a call that is made again changes nothing, since each message has
//! an id. What only matters at its moment, typing, is dropped when the moment is over.

use std::time::Duration;

use domain::{
    FieldViolation, Timestamp,
    channel::Channel,
    contact::NewContact,
    inbound::{InboundEvent, InboundHappening, InboundMessage, RawRequest, Sender, Verified},
    part::{MAX_PARTS, Part, PartKind},
    vendor::{NormalizeError, VendorAccount, VerifyError, WebhookReceiver},
};
use http::{HeaderValue, header::DATE};
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};
use time::format_description::well_known::Rfc2822;

use super::{SECRET, sign};
use crate::amocrm::{AmoCrm, channel::ChannelSettings, salesbot};

/// What the chats of an account begin with that we have no name for; the vendor's follows.
pub(in crate::amocrm) const THEIRS: &str = "chat:";
/// How long a moment lasts that says no end.
const TYPING_SECONDS: i64 = 60;

impl WebhookReceiver for AmoCrm {
    fn verify(
        &self,
        request: &RawRequest,
        account: &VendorAccount,
        now: Timestamp,
    ) -> Result<(), VerifyError> {
        let Some(given) = request.headers.get(sign::SIGNATURE) else {
            return salesbot::verify(&request.body, &account.connection, now);
        };
        let secret = account.connection.credential(SECRET).map(ExposeSecret::expose_secret);
        let secret = secret.filter(|secret| !secret.is_empty()).ok_or(VerifyError::Mismatch)?;
        let given = given.to_str().map_err(|_| VerifyError::Mismatch)?;
        // No date is documented; one that is there is the call's own, and must be of now.
        if request.headers.get(DATE).is_some_and(|date| !is_recent(date, now)) {
            return Err(VerifyError::Mismatch);
        }
        if !sign::is_signed(secret, given, &request.body) {
            return Err(VerifyError::Mismatch);
        }
        // One secret signs for every account that the channel is connected to.
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let settings = ChannelSettings::read(&account.settings).map_err(|_| VerifyError::Mismatch)?;
        match (settings.account(), body["account_id"].as_str()) {
            (Some(ours), Some(theirs)) if ours.eq_ignore_ascii_case(theirs) => Ok(()),
            // It can't be understood, and is kept to be looked at.
            (Some(_), None) if !body.is_object() => Ok(()),
            _ => Err(VerifyError::Mismatch),
        }
    }

    fn normalize(
        &self,
        request: &Verified<RawRequest>,
        channel: &Channel,
    ) -> Result<Vec<InboundEvent>, NormalizeError> {
        let raw = request.get();
        let body: Value = match serde_json::from_slice(&raw.body) {
            Ok(body @ Value::Object(_)) => body,
            _ => return salesbot::read(&raw.body, channel).map(|event| vec![event]),
        };
        if body["token"].is_string() {
            return salesbot::read(&raw.body, channel).map(|event| vec![event]);
        }
        let event = if body["message"].is_object() {
            InboundEvent::Message(message(&body["message"])?)
        } else if body["action"].is_object() {
            action(&body["action"], body["time"].as_i64())
        } else {
            ignored("is none of the calls that are known")
        };
        Ok(vec![event])
    }
}

/// Whether a date is within the quarter of an hour that the vendor gives one.
fn is_recent(date: &HeaderValue, now: Timestamp) -> bool {
    const TOLERANCE: Duration = Duration::from_mins(15);
    let date = date.to_str().ok().and_then(|date| {
        // HTTP's own form says GMT, which the other knows as well.
        Timestamp::parse(date, &Rfc2822).ok()
    });
    date.is_some_and(|date| (now - date).unsigned_abs() <= TOLERANCE)
}

fn ignored(reason: &str) -> InboundEvent {
    InboundEvent::Ignored(reason.to_owned())
}

/// Names fields that are missing.
pub(in crate::amocrm) fn fields_of(missing: &[&str]) -> NormalizeError {
    NormalizeError {
        fields: missing.iter().map(|field| FieldViolation::new(*field, "is required")).collect(),
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// What the chat is called with us: by our own name, which is missing where a manager wrote first.
fn chat_of(conversation: &Value) -> Option<String> {
    text(&conversation["client_id"]).or_else(|| text(&conversation["id"]).map(|id| format!("{THEIRS}{id}")))
}

/// Reads what a manager, or a bot of the account's, wrote.
fn message(told: &Value) -> Result<InboundMessage, NormalizeError> {
    let content = &told["message"];
    let (id, chat) = (text(&content["id"]), chat_of(&told["conversation"]));
    let (Some(id), Some(chat)) = (id, chat) else {
        return Err(fields_of(&["message.message.id", "message.conversation.id"]));
    };
    let kind = content["type"].as_str().unwrap_or_default();
    let parts: Vec<Part> = part(kind, content).into_iter().take(MAX_PARTS).collect();
    let words = match text(&content["text"]) {
        Some(words) => words,
        None if !parts.is_empty() => String::new(),
        // A card, a template: that something was written must not be lost.
        None => format!("[{}]", if kind.is_empty() { "message" } else { kind }),
    };
    let mut metadata = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        metadata.extend(value.map(|value| (name.to_owned(), value)));
    };
    put("crm_message_id", Some(json!(id)));
    put("crm_chat_id", text(&told["conversation"]["id"]).map(Value::from));
    put("manager_id", text(&told["sender"]["id"]).map(Value::from));
    put("manager_name", text(&told["sender"]["name"]).map(Value::from));
    put("source_external_id", text(&told["source"]["external_id"]).map(Value::from));
    put("reply_to_message_id", text(&content["reply_to"]["message"]["msgid"]).map(Value::from));
    let receiver = &told["receiver"];
    let contact = NewContact {
        name: text(&receiver["name"]),
        phone: text(&receiver["phone"]),
        email: text(&receiver["email"]),
        ..NewContact::default()
    };
    let at = told["timestamp"].as_i64().and_then(|at| Timestamp::from_unix_timestamp(at).ok());
    Ok(InboundMessage {
        chat,
        external_id: Some(id),
        text: words,
        parts,
        sender: Sender::Employee,
        contact: (contact != NewContact::default()).then_some(contact),
        metadata,
        sent_at: at,
        ..InboundMessage::default()
    })
}

fn part(kind: &str, content: &Value) -> Option<Part> {
    if kind == "location" {
        let place = &content["location"];
        let number = |name: &str| match &place[name] {
            Value::String(text) => text.parse::<f64>().ok(),
            number => number.as_f64(),
        };
        let url = format!("geo:{},{}", number("lat")?, number("lon")?);
        return Some(Part { kind: PartKind::Location, url, media_type: String::new(), name: String::new() });
    }
    let url = text(&content["media"]).filter(|url| url.starts_with("http"))?;
    let kind = match kind {
        "picture" | "sticker" => PartKind::Image,
        "voice" | "audio" => PartKind::Audio,
        "video" => PartKind::Video,
        _ => PartKind::File,
    };
    let name = text(&content["file_name"]).unwrap_or_default();
    Some(Part { kind, url, media_type: String::new(), name })
}

/// Reads that somebody types, or how they find a message.
fn action(told: &Value, at: Option<i64>) -> InboundEvent {
    let (kind, told) = match (&told["typing"], &told["reaction"]) {
        (typing @ Value::Object(_), _) => ("chat.typing", typing),
        (_, reaction @ Value::Object(_)) => ("chat.reaction", reaction),
        _ => return ignored("is none of the actions that are known"),
    };
    let Some(chat) = chat_of(&told["conversation"]) else { return ignored("names no chat") };
    let mut data = Map::new();
    for (name, value) in [
        ("crm_user_id", text(&told["user"]["id"]).map(Value::from)),
        ("crm_message_id", text(&told["message"]["id"]).map(Value::from)),
        ("message_id", text(&told["msgid"]).map(Value::from)),
        ("reaction", text(&told["type"]).map(Value::from)),
        ("emoji", text(&told["emoji"]).map(Value::from)),
    ] {
        data.extend(value.map(|value| (name.to_owned(), value)));
    }
    if kind == "chat.typing" {
        let until = told["expired_at"].as_i64().or(at.map(|at| at.saturating_add(TYPING_SECONDS)));
        data.extend(until.map(|until| ("until".to_owned(), json!(until))));
    }
    InboundEvent::Happened(InboundHappening { kind, chat, data })
}
