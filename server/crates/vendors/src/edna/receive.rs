//! Reading edna's calls: what customers write, what became of our messages, what became of templates. Each kind is known by
//! its members, so all of them may come to one address.
//! <https://docs-pulse.edna.io/docs/api/callback/get-message> (read 2026-11-20)

use domain::{
    FieldViolation, Timestamp,
    channel::Channel,
    contact::{Identity, NewContact},
    delivery::DeliveryReceipt,
    inbound::{InboundEvent, InboundMessage, InboundStatus, RawRequest, Sender, Verified},
    part::{Part, PartKind},
    vendor::{NormalizeError, VendorAccount, VerifyError, WebhookReceiver},
};
use serde_json::{Map, Value};
use time::format_description::well_known::Rfc3339;

use super::{
    Edna,
    send::{delivery_of, text_of},
    settings::{ChannelSettings, Kind},
};

impl WebhookReceiver for Edna {
    /// It signs nothing: who called is known by the path.
    fn verify(&self, _: &RawRequest, _: &VendorAccount, _: Timestamp) -> Result<(), VerifyError> {
        Err(VerifyError::Missing)
    }

    fn normalize(
        &self,
        request: &Verified<RawRequest>,
        channel: &Channel,
    ) -> Result<Vec<InboundEvent>, NormalizeError> {
        let body: Value = serde_json::from_slice(&request.get().body)
            .map_err(|error| bad("body", &format!("is not JSON: {error}")))?;
        let members = match &body {
            // Told of in a list, and by no other call of edna's.
            Value::Array(_) => return Ok(vec![ignored("tells of templates")]),
            Value::Object(members) => members,
            _ => return Err(bad("body", "must be a JSON object")),
        };
        let subject_id = members.get("subjectId").and_then(Value::as_i64);
        let subject = members.get("subject").and_then(Value::as_str);
        if ChannelSettings::read(&channel.settings).is_ok_and(|settings| settings.is_not(subject_id, subject))
        {
            return Ok(vec![ignored("is about another of the account's channels")]);
        }
        let event = if members.get("messageContent").is_some_and(Value::is_object) {
            InboundEvent::Message(message(members, channel)?)
        } else if members.contains_key("status")
            && (members.contains_key("requestId") || members.contains_key("messageId"))
        {
            status(members)
        } else {
            ignored("is none of the calls that are known")
        };
        Ok(vec![event])
    }
}

fn bad(field: &str, detail: &str) -> NormalizeError {
    NormalizeError { fields: vec![FieldViolation::new(field, detail)] }
}

fn ignored(reason: &str) -> InboundEvent {
    InboundEvent::Ignored(reason.to_owned())
}

fn text<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    members.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
}

fn moment(members: &Map<String, Value>, name: &str) -> Option<Timestamp> {
    text(members, name).and_then(|text| Timestamp::parse(text, &Rfc3339).ok())
}

/// Reads what a customer wrote.
fn message(members: &Map<String, Value>, channel: &Channel) -> Result<InboundMessage, NormalizeError> {
    let id = members.get("id").and_then(text_of);
    let chat = members["messageContent"]["type"].is_string().then(|| {
        members.get("subscriber").and_then(|subscriber| subscriber.get("identifier")).and_then(text_of)
    });
    let mut fields = Vec::new();
    if id.is_none() {
        fields.push(FieldViolation::new("id", "is required"));
    }
    match &chat {
        None => fields.push(FieldViolation::new("messageContent.type", "is required")),
        Some(None) => fields.push(FieldViolation::new("subscriber.identifier", "is required")),
        Some(Some(_)) => {}
    }
    let (Some(id), Some(Some(chat)), Some(content)) = (id, chat, members["messageContent"].as_object())
    else {
        return Err(NormalizeError { fields });
    };
    let kind = text(content, "type").unwrap_or_default();
    let parts: Vec<_> = part(kind, content).into_iter().collect();
    let words = text(content, "text").or_else(|| text(content, "caption"));
    let words = match words {
        Some(words) => words.to_owned(),
        None if !parts.is_empty() => String::new(),
        // A card, an order, a sticker: that the customer sent something must not be lost.
        None => format!("[{}]", kind.to_lowercase()),
    };
    Ok(InboundMessage {
        contact: Some(contact(members, channel, &chat)),
        chat,
        external_id: Some(id),
        text: words,
        parts,
        sender: Sender::Customer,
        metadata: metadata(members, content),
        sent_at: moment(members, "receivedAt"),
        ..InboundMessage::default()
    })
}

/// Reads what edna tells of a customer. An address is one customer's at one messenger, whichever account it is heard by; of
/// the messengers with telephone numbers it is that, too.
fn contact(members: &Map<String, Value>, channel: &Channel, address: &str) -> NewContact {
    let kind = ChannelSettings::read(&channel.settings).map(|settings| settings.kind);
    let (vendor, phone, integration) = match kind {
        Ok(Kind::WhatsApp) => ("edna.whatsapp", true, None),
        Ok(Kind::Sms) => ("edna.sms", true, None),
        // A bot's customers have ids whose reach is not told.
        Ok(Kind::MaxBot) | Err(_) => ("edna.max", false, channel.integration),
    };
    let told = |name: &str| members.get("userInfo").and_then(|user| user.get(name)).and_then(Value::as_str);
    let names: Vec<_> = ["firstName", "lastName"]
        .iter()
        .filter_map(|name| told(name).map(str::trim))
        .filter(|name| !name.is_empty())
        .collect();
    let name =
        if names.is_empty() { told("userName").unwrap_or_default().to_owned() } else { names.join(" ") };
    let short = |text: String| text.replace('\0', "").chars().take(200).collect::<String>();
    NewContact {
        identities: vec![Identity {
            vendor: vendor.to_owned(),
            integration,
            external_id: address.to_owned(),
        }],
        name: Some(short(name)).filter(|name| !name.is_empty()),
        phone: phone.then(|| format!("+{}", address.trim_start_matches('+'))),
        email: None,
    }
}

/// Reads what else is told: which message is answered, what a pressed button stands for, and which advertisement led here.
fn metadata(members: &Map<String, Value>, content: &Map<String, Value>) -> Map<String, Value> {
    let of = |from: &Map<String, Value>, name: &str, as_name: &str| {
        let told = from.get(name).filter(|value| !value.is_null()).cloned();
        told.map(|value| (as_name.to_owned(), value))
    };
    [
        of(members, "replyOutMessageExternalRequestId", "reply_to_request_id"),
        of(members, "replyInMessageId", "reply_to_message_id"),
        of(content, "payload", "payload"),
        of(content, "referral", "referral"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Reads what a message carries beside its text.
fn part(kind: &str, content: &Map<String, Value>) -> Option<Part> {
    let member = |object: &str, name: &str| content.get(object).and_then(|object| object.get(name)).cloned();
    let string = |object: &str, name: &str| match member(object, name) {
        Some(Value::String(text)) => text,
        _ => String::new(),
    };
    if let (Some(latitude), Some(longitude)) = (
        member("location", "latitude").and_then(|value| value.as_f64()),
        member("location", "longitude").and_then(|value| value.as_f64()),
    ) {
        return Some(Part {
            kind: PartKind::Location,
            url: format!("geo:{latitude},{longitude}"),
            media_type: String::new(),
            name: string("location", "address"),
        });
    }
    let url = string("attachment", "url");
    let kind = match kind {
        "IMAGE" | "STICKER" => PartKind::Image,
        "VIDEO" => PartKind::Video,
        "AUDIO" | "VOICE" => PartKind::Audio,
        _ => PartKind::File,
    };
    (!url.is_empty()).then(|| Part {
        kind,
        url,
        media_type: String::new(),
        name: string("attachment", "name"),
    })
}

/// Reads what became of a message of ours. Cases differ between edna's documents and its calls.
fn status(members: &Map<String, Value>) -> InboundEvent {
    let word = text(members, "status").unwrap_or_default().to_ascii_uppercase().replace('-', "_");
    let receipt = match word.as_str() {
        "SENT" => DeliveryReceipt::Sent,
        "DELIVERED" => DeliveryReceipt::Delivered,
        "READ" => DeliveryReceipt::Read,
        "UNDELIVERED" | "FAILED" | "EXPIRED" | "CANCELLED" | "NO_MATCH_TEMPLATE" => DeliveryReceipt::Failed,
        "ENQUEUED" | "DELAYED" => return ignored("the message is still with edna"),
        _ => {
            return InboundEvent::Ignored(format!(
                "has an unknown status: {}",
                word.chars().take(64).collect::<String>()
            ));
        }
    };
    let told = text(members, "error");
    let error = (receipt == DeliveryReceipt::Failed).then(|| {
        let why = match (word.as_str(), told) {
            (_, Some(told)) => told.chars().take(500).collect(),
            ("CANCELLED", None) => {
                "the same was sent to the customer within 20 minutes, or an earlier stage of the cascade sufficed".to_owned()
            }
            ("EXPIRED", None) => "it could not be delivered in time".to_owned(),
            _ => "edna does not say why".to_owned(),
        };
        format!("{word}: {why}").replace('\0', "\u{fffd}")
    });
    InboundEvent::Status(InboundStatus {
        delivery: text(members, "requestId").and_then(delivery_of),
        vendor_message_id: members.get("messageId").and_then(text_of),
        receipt,
        error,
        at: moment(members, "statusAt"),
    })
}
