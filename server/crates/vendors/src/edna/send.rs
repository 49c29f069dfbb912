//! Sending: WhatsApp and SMS by a cascade, MAX straight to its bot.
//! <https://docs-pulse.edna.io/docs/api/messages/sending> (read 2026-11-20)
//!
//! edna cancels what says the same to the same customer within 20 minutes, and tells so with the status CANCELLED: a bot that
//! answers “Ok” twice is heard once.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use domain::{
    DeliveryId, Reason, Timestamp,
    part::{Part, PartKind},
    vendor::{
        Applied, FailureKind, MessageSender, OutboundMessage, Receipt, Resend, Retry, VendorAccount,
        VendorError,
    },
};
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::{
    Edna, ID,
    api::{self, Account},
    settings::{ChannelSettings, Kind},
    template,
};
use crate::{account, http::excerpt};

/// The longest text that every messenger takes: MAX's limit.
const MAX_TEXT_CHARS: usize = 4_000;
/// The longest text that stands under a picture, as WhatsApp itself has it.
const MAX_CAPTION_CHARS: usize = 1_024;
/// The longest name of a document.
const MAX_NAME_CHARS: usize = 70;
/// How long a cascade that was looked up is taken for the sender's own.
const CASCADE_LIFE: Duration = Duration::from_mins(5);

/// Which cascade is a sender's own, by a digest of account and sender.
#[derive(Default)]
pub(super) struct Cascades(Mutex<HashMap<[u8; 32], (i64, Timestamp)>>);

impl Cascades {
    fn key(account: &VendorAccount, base_url: &str) -> [u8; 32] {
        let key = account::key_of(&account.connection).map_or("", |key| key.expose_secret());
        let mut digest = Sha256::new();
        for part in [base_url, key, &account.settings.to_string()] {
            digest.update(part.len().to_le_bytes());
            digest.update(part);
        }
        digest.finalize().into()
    }

    fn get(&self, key: [u8; 32], now: Timestamp) -> Option<i64> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key).copied();
        known.filter(|(_, since)| (*since..*since + CASCADE_LIFE).contains(&now)).map(|(id, _)| id)
    }

    fn set(&self, key: [u8; 32], cascade: Option<i64>, now: Timestamp) {
        const MOST: usize = 10_000;
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match cascade {
            Some(cascade) => {
                if known.len() >= MOST {
                    known.clear();
                }
                known.insert(key, (cascade, now));
            }
            None => drop(known.remove(&key)),
        }
    }
}

/// What edna is told of a message's several pieces: each has an id of its own, and the first has the delivery's.
pub(super) fn request_id(delivery: DeliveryId, piece: usize) -> String {
    if piece == 0 { delivery.to_string() } else { format!("{delivery}-{}", piece + 1) }
}

/// Finds the delivery in an id that edna was told. `None`: it is none of ours.
pub(super) fn delivery_of(request_id: &str) -> Option<DeliveryId> {
    const UUID_CHARS: usize = 36;
    let (id, rest) = request_id.split_at_checked(UUID_CHARS)?;
    let ours =
        rest.is_empty() || rest.strip_prefix('-').is_some_and(|number| number.parse::<usize>().is_ok());
    if ours { id.parse().ok() } else { None }
}

/// A file's name, as long as edna takes it.
fn name_of(part: &Part) -> String {
    part.file_name().chars().take(MAX_NAME_CHARS).collect()
}

/// Whether a text can stand under a part instead of before it.
fn is_caption(text: &str, part: &Part) -> bool {
    matches!(part.kind, PartKind::Image | PartKind::Video | PartKind::File)
        && text.chars().count() <= MAX_CAPTION_CHARS
}

/// Divides a message into what goes out as one each: its text, and its parts, of which the first may carry the text.
fn pieces(message: &OutboundMessage) -> Vec<(&str, Option<&Part>)> {
    let mut parts = message.parts.iter();
    let text = message.text.as_str();
    let mut pieces = match parts.as_slice().first() {
        Some(first) if text.is_empty() || is_caption(text, first) => {
            parts.next();
            vec![(text, Some(first))]
        }
        _ => vec![(text, None)],
    };
    pieces.extend(parts.map(|part| ("", Some(part))));
    pieces
}

fn with(mut content: Value, name: &str, text: &str) -> Value {
    if !text.is_empty() {
        content[name] = json!(text);
    }
    content
}

/// The block `whatsappContent`.
fn whatsapp(text: &str, part: Option<&Part>, template: Option<&Value>) -> Value {
    let Some(part) = part else {
        let mut content =
            Map::from_iter([("contentType".to_owned(), json!("TEXT")), ("text".to_owned(), json!(text))]);
        if let Some(given) = template {
            template::add(&mut content, given);
        }
        return Value::Object(content);
    };
    let attached = |kind: &str| {
        let content =
            json!({ "contentType": kind, "attachment": { "url": part.url, "name": name_of(part) } });
        with(content, "caption", text)
    };
    match part.kind {
        PartKind::Image => attached("IMAGE"),
        PartKind::Video => attached("VIDEO"),
        PartKind::File => attached("DOCUMENT"),
        PartKind::Audio => json!({ "contentType": "AUDIO", "attachment": { "url": part.url } }),
        PartKind::Location => match part.coordinates() {
            Some((latitude, longitude)) => json!({
                "contentType": "LOCATION",
                "location": with(json!({ "latitude": latitude, "longitude": longitude }), "address", &part.name),
            }),
            None => json!({ "contentType": "TEXT", "text": part.as_text() }),
        },
    }
}

/// The content of a message to a MAX bot's customer.
fn max(text: &str, part: Option<&Part>) -> Value {
    let Some(part) = part else { return json!({ "type": "TEXT", "text": text }) };
    let attached =
        |kind: &str| with(json!({ "type": kind, "url": part.url, "name": name_of(part) }), "caption", text);
    match part.kind {
        PartKind::Image => attached("IMAGE"),
        PartKind::Video => attached("VIDEO"),
        PartKind::File => attached("DOCUMENT"),
        PartKind::Audio => attached("AUDIO"),
        PartKind::Location => match part.coordinates() {
            Some((latitude, longitude)) => with(
                json!({ "type": "LOCATION", "latitude": latitude, "longitude": longitude }),
                "text",
                &part.name,
            ),
            None => json!({ "type": "TEXT", "text": part.as_text() }),
        },
    }
}

/// A short message is text, and names what it can't carry.
fn sms(message: &OutboundMessage) -> Value {
    let lines: Vec<_> = Some(message.text.clone())
        .filter(|text| !text.is_empty())
        .into_iter()
        .chain(message.parts.iter().map(Part::as_text))
        .collect();
    json!({ "text": lines.join("\n") })
}

/// A refusal of ours, before anything was sent.
fn refused(kind: FailureKind, detail: &str) -> VendorError {
    VendorError {
        vendor: ID,
        operation: "send",
        kind,
        http_status: None,
        detail: detail.to_owned(),
        excerpt: None,
        applied: Applied::No,
        retry: Retry::Never,
    }
}

#[async_trait]
impl MessageSender for Edna {
    /// A cascade's message has an id of ours that is unique for ever; one to a MAX bot has none.
    fn resend(&self, settings: &Value) -> Resend {
        match ChannelSettings::read(settings) {
            Ok(settings) if settings.kind == Kind::MaxBot => Resend::Unknown,
            _ => Resend::ByOurId,
        }
    }

    fn max_text_chars(&self) -> usize {
        MAX_TEXT_CHARS
    }

    async fn check_target(&self, url: &str) -> Result<(), (Reason, String)> {
        self.http.check_target(url).await
    }

    async fn send(&self, account: &VendorAccount, message: &OutboundMessage) -> Result<Receipt, VendorError> {
        let settings = ChannelSettings::read(&account.settings)
            .map_err(|_| refused(FailureKind::Other, "the channel's settings are not what they must be"))?;
        if message.chat.is_empty() {
            let detail =
                "the dialogue has no customer to write to: its chat must be the customer's address at edna";
            return Err(refused(FailureKind::NotFound, detail));
        }
        let edna = Account::of(&self.http, &account.connection, message.now);
        match settings.kind {
            Kind::MaxBot => self.send_to_bot(&edna, &settings, message).await,
            Kind::WhatsApp | Kind::Sms => self.send_by_cascade(&edna, account, &settings, message).await,
        }
    }
}

impl Edna {
    async fn send_by_cascade(
        &self,
        edna: &Account<'_>,
        account: &VendorAccount,
        settings: &ChannelSettings,
        message: &OutboundMessage,
    ) -> Result<Receipt, VendorError> {
        let contents: Vec<_> = match settings.kind {
            Kind::Sms => vec![json!({ "smsContent": sms(message) })],
            _ => pieces(message)
                .into_iter()
                .map(|(text, part)| {
                    json!({ "whatsappContent": whatsapp(text, part, message.template.as_ref()) })
                })
                .collect(),
        };
        let key = Cascades::key(account, edna.base_url());
        let cascade = match settings.cascade_id.or_else(|| self.cascades.get(key, message.now)) {
            Some(cascade) => cascade,
            None => self.look_up(edna, settings, key, message.now).await?,
        };
        let mut receipt = Receipt::default();
        for (piece, content) in contents.into_iter().enumerate() {
            let body = json!({
                "requestId": request_id(message.delivery, piece),
                "cascadeId": cascade,
                "subscriberFilter": { "address": message.chat, "type": "PHONE" },
                "content": content,
            });
            match edna.send("cascade/schedule", &body).await {
                Ok(response) => {
                    receipt.http_status = Some(response.status.as_u16());
                    receipt.excerpt = excerpt(&response.body);
                }
                Err(error) if api::is_repeat(&error) => {
                    receipt.http_status = error.http_status;
                    receipt.excerpt = error.excerpt;
                }
                Err(error) => {
                    if settings.cascade_id.is_none() {
                        // Perhaps it is another one now.
                        self.cascades.set(key, None, message.now);
                    }
                    return Err(error);
                }
            }
        }
        Ok(receipt)
    }

    /// Finds the sender's own cascade: an active one of one stage.
    async fn look_up(
        &self,
        edna: &Account<'_>,
        settings: &ChannelSettings,
        key: [u8; 32],
        now: Timestamp,
    ) -> Result<i64, VendorError> {
        let cascades = edna.cascades().await.map_err(|error| VendorError {
            // Nothing was sent yet, whatever became of this.
            applied: Applied::No,
            operation: "send",
            ..error
        })?;
        let own = cascades.into_iter().find(|cascade| {
            let subject = cascade.stages.first().and_then(|stage| stage.subject.as_ref());
            cascade.status.eq_ignore_ascii_case("ACTIVE")
                && cascade.stages_count == 1
                && subject.is_some_and(|subject| settings.is(subject.id, subject.subject.as_deref()))
        });
        let own = own.ok_or_else(|| {
            refused(
                FailureKind::NotFound,
                "edna has no active cascade of one stage with this channel's sender",
            )
        })?;
        self.cascades.set(key, Some(own.id), now);
        Ok(own.id)
    }

    async fn send_to_bot(
        &self,
        edna: &Account<'_>,
        settings: &ChannelSettings,
        message: &OutboundMessage,
    ) -> Result<Receipt, VendorError> {
        /// <https://docs-pulse.edna.io/docs/api/messages/sending> (read 2026-11-20)
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Taken {
            out_message_id: Option<Value>,
        }
        let mut receipt = Receipt::default();
        for (piece, (text, part)) in pieces(message).into_iter().enumerate() {
            let body =
                json!({ "sender": settings.subject, "maxId": message.chat, "content": max(text, part) });
            let response =
                edna.send("v1/out-messages/max-bot", &body).await.map_err(|error| VendorError {
                    // What went before has arrived, and it has no id that a repeat could be known by.
                    applied: if piece > 0 { Applied::Maybe } else { error.applied },
                    ..error
                })?;
            receipt.http_status = Some(response.status.as_u16());
            receipt.excerpt = excerpt(&response.body);
            if piece == 0 {
                let taken = serde_json::from_slice::<Taken>(&response.body).ok();
                receipt.vendor_message_id =
                    taken.and_then(|taken| taken.out_message_id).and_then(|id| text_of(&id));
            }
        }
        Ok(receipt)
    }
}

/// Reads an id that is a string or a number: edna's documents and its practice differ.
pub(super) fn text_of(id: &Value) -> Option<String> {
    match id {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use domain::{MessageId, dialogue::Role};
    use uuid::Uuid;

    use super::*;

    fn part(kind: PartKind, url: &str, name: &str) -> Part {
        Part { kind, url: url.to_owned(), media_type: String::new(), name: name.to_owned() }
    }

    fn message(text: &str, parts: Vec<Part>) -> OutboundMessage {
        OutboundMessage {
            delivery: DeliveryId(Uuid::from_u128(0xd)),
            message: MessageId(Uuid::from_u128(0xe)),
            chat: "79990000002".to_owned(),
            role: Role::Assistant,
            text: text.to_owned(),
            parts,
            template: None,
            answers: Map::new(),
            now: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn each_piece_has_an_id_by_which_the_delivery_is_found() {
        let delivery = DeliveryId(Uuid::from_u128(0xd));
        for piece in [0, 1, 9] {
            assert_eq!(delivery_of(&request_id(delivery, piece)), Some(delivery));
        }
        for other in ["7e0b1c1e-0001", "", "00000000-0000-0000-0000-00000000000dx", "ä".repeat(40).as_str()]
        {
            assert_eq!(delivery_of(other), None, "{other}");
        }
    }

    #[test]
    fn a_text_stands_under_the_first_picture_and_before_what_can_have_none() {
        let whatsapp = |message: &OutboundMessage| -> Vec<Value> {
            pieces(message).into_iter().map(|(text, part)| whatsapp(text, part, None)).collect()
        };
        let image = part(PartKind::Image, "https://example.com/a/b.png?x=1", "");
        let audio = part(PartKind::Audio, "https://example.com/c.ogg", "");
        let place = part(PartKind::Location, "geo:56.95,24.1;u=5", "Riga");
        assert_eq!(
            whatsapp(&message("Look", vec![image.clone(), audio.clone()])),
            [
                json!({ "contentType": "IMAGE", "caption": "Look",
                    "attachment": { "url": "https://example.com/a/b.png?x=1", "name": "b.png" } }),
                json!({ "contentType": "AUDIO", "attachment": { "url": "https://example.com/c.ogg" } }),
            ]
        );
        assert_eq!(
            whatsapp(&message("Here", vec![place])),
            [
                json!({ "contentType": "TEXT", "text": "Here" }),
                json!({ "contentType": "LOCATION",
                    "location": { "latitude": 56.95, "longitude": 24.1, "address": "Riga" } }),
            ]
        );
        assert_eq!(whatsapp(&message(&"x".repeat(1_025), vec![image])).len(), 2);
        assert_eq!(whatsapp(&message("", vec![audio])).len(), 1);
        let named = part(PartKind::File, "https://example.com/", &"n".repeat(100));
        assert_eq!(name_of(&named).len(), MAX_NAME_CHARS);
    }
}
