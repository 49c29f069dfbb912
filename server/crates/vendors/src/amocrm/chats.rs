//! The Chats API, which the vendor calls amojo: chats of a messenger of our own in an account. What is written there is a record:
//! whoever owns the messenger delivers it. Calls are signed, by no token.
//! <https://www.amocrm.ru/developers/content/chats/chat-api-reference> (read 2026-11-20)
//!
//! Nothing of this was tried on a live account. Where the documents contradict themselves both readings are served.

mod receive;
mod sign;

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use domain::{
    Timestamp,
    dialogue::Role,
    mirror::{ChatMirror, MirroredChat, MirroredMessage, MirroredStatus, name_of},
    part::{Part, PartKind},
    vendor::{Applied, FailureKind, Retry, VendorAccount, VendorError},
};
use http::Method;
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) use self::receive::{THEIRS, fields_of};
use super::{AmoCrm, ID, channel::ChannelSettings, failed, rest::Rest, settings::Settings};
use crate::{
    account,
    http::{Call, HttpClient, Patience},
};

/// The credential that signs.
pub(super) const SECRET: &str = "chats_secret";
/// What the documents call the calls that we are to be made: the second version of them.
const HOOKS: &str = "v2";
const PATIENCE: Patience = Patience {
    head: Duration::from_secs(20),
    idle: Duration::from_secs(5),
    whole: Duration::from_secs(20),
    most_bytes: 256 * 1024,
};

/// The Chats API of one account.
pub(super) struct Chats<'a> {
    http: &'a HttpClient,
    account: &'a VendorAccount,
    pub(super) settings: ChannelSettings,
    base: String,
    secret: &'a str,
    operation: &'static str,
    now: Timestamp,
}

/// What it says of a message that it took.
#[derive(Deserialize)]
struct Taken {
    new_message: TakenMessage,
}

#[derive(Deserialize)]
struct TakenMessage {
    #[serde(default)]
    msgid: String,
    #[serde(default)]
    ref_id: String,
}

/// What it says of a chat.
#[derive(Deserialize)]
struct Opened {
    id: String,
}

/// What it says of a channel that is connected.
#[derive(Deserialize)]
struct ScopeAnswer {
    #[serde(default)]
    scope_id: String,
}

fn wrong(operation: &'static str, detail: &str) -> VendorError {
    failed(operation, FailureKind::Forbidden, detail, Retry::Backoff)
}

impl<'a> Chats<'a> {
    pub(super) fn new(
        http: &'a HttpClient,
        account: &'a VendorAccount,
        operation: &'static str,
        now: Timestamp,
    ) -> Result<Self, VendorError> {
        let settings = ChannelSettings::read(&account.settings)
            .map_err(|_| wrong(operation, "the channel's settings are not what they must be"))?;
        let connection = Settings::read(&account.connection.settings)
            .map_err(|_| wrong(operation, "the integration's settings are not valid"))?;
        let secret = account.connection.credential(SECRET).map(ExposeSecret::expose_secret);
        let Some(secret) = secret.filter(|secret| !secret.is_empty()) else {
            return Err(wrong(operation, "the integration has no credential chats_secret, which signs"));
        };
        Ok(Self { http, account, settings, base: connection.chats_url(), secret, operation, now })
    }

    /// The channel at the vendor.
    fn channel(&self) -> Result<&str, VendorError> {
        let channel = self.settings.chats_channel_id.as_deref();
        channel.ok_or_else(|| wrong(self.operation, "the channel has no setting chats_channel_id"))
    }

    /// The channel in the account.
    fn scope(&self) -> Result<&str, VendorError> {
        let scope = self.settings.scope_id.as_deref();
        scope.ok_or_else(|| {
            wrong(self.operation, "the channel is not connected to the account; ConnectChannel")
        })
    }

    async fn call(&self, method: Method, path: &str, body: &Value) -> Result<Bytes, VendorError> {
        let path = format!("/v2/origin/custom/{path}");
        // Written once: what is signed is what is sent.
        let body = Bytes::from(body.to_string());
        let headers = sign::headers(self.secret, &method, &path, &body, self.now);
        let url = format!("{}{path}", self.base);
        let call =
            Call { vendor: ID, operation: self.operation, method, url: &url, headers, body, now: self.now };
        let mut opened = self.http.open(&call, PATIENCE).await?;
        if opened.status.is_success() {
            return opened.whole().await;
        }
        let (body, mut error) = opened.refusal(&call).await;
        if let Some(said) = said(&body) {
            error.detail.push_str(": ");
            error.detail.push_str(&said);
        }
        // The body of a refusal may hold what we sent.
        Err(VendorError { excerpt: None, ..account::redacted(error, &self.account.connection) })
    }

    fn read<T: for<'de> Deserialize<'de>>(&self, body: &[u8]) -> Result<T, VendorError> {
        serde_json::from_slice(body).map_err(|_| {
            let detail = "the answer is not what the vendor's API promises";
            let error = failed(self.operation, FailureKind::BadAnswer, detail, Retry::Backoff);
            VendorError { applied: Applied::Maybe, ..error }
        })
    }

    /// Connects the channel to the account and gives its scope.
    pub(super) async fn connect(&self, amojo_id: &str) -> Result<String, VendorError> {
        let channel = self.channel()?;
        let title = self.settings.title.as_deref().unwrap_or("Switchboard");
        let body = json!({ "account_id": amojo_id, "title": title, "hook_api_version": HOOKS });
        let answer = self.call(Method::POST, &format!("{channel}/connect"), &body).await?;
        let answer: ScopeAnswer = self.read(&answer)?;
        Ok(if answer.scope_id.is_empty() { format!("{channel}_{amojo_id}") } else { answer.scope_id })
    }

    /// Takes the channel out of the account. That it is in none is fine.
    pub(super) async fn disconnect(&self, amojo_id: &str) -> Result<(), VendorError> {
        let path = format!("{}/disconnect", self.channel()?);
        match self.call(Method::DELETE, &path, &json!({ "account_id": amojo_id })).await {
            Err(error) if error.http_status == Some(404) => Ok(()),
            done => done.map(drop),
        }
    }

    /// Opens a chat and gives the vendor's id of it. It is known by our own, so that opening it again finds it.
    pub(super) async fn open(&self, chat: &MirroredChat) -> Result<String, VendorError> {
        let mut body = json!({ "conversation_id": chat.id, "user": customer(chat) });
        self.with_source(&mut body, chat);
        let answer = self.call(Method::POST, &format!("{}/chats", self.scope()?), &body).await?;
        Ok(self.read::<Opened>(&answer)?.id)
    }

    fn with_source(&self, body: &mut Value, chat: &MirroredChat) {
        let own = self.settings.source_external_id.as_deref().unwrap_or_default();
        let source = if chat.source.is_empty() { own } else { &chat.source };
        if !source.is_empty() {
            body["source"] = json!({ "external_id": source });
        }
    }

    /// Records a message and gives the vendor's id of its first piece. Each piece has an id by which a repeat is known.
    pub(super) async fn record(
        &self,
        chat: &MirroredChat,
        message: &MirroredMessage,
    ) -> Result<String, VendorError> {
        let scope = self.scope()?;
        let incoming = message.role == Role::User;
        let mut first = None;
        for (piece, content) in pieces(message).into_iter().enumerate() {
            let msgid =
                if piece == 0 { message.id.to_string() } else { format!("{}-{}", message.id, piece + 1) };
            let mut payload = json!({
                "timestamp": message.at.unix_timestamp(),
                "msec_timestamp": i64::try_from(message.at.unix_timestamp_nanos() / 1_000_000).unwrap_or_default(),
                "msgid": msgid,
                "conversation_id": chat.id,
                // What we say ourselves calls nobody.
                "silent": message.silent || !incoming,
                "message": content,
            });
            if chat.theirs && !chat.vendor_id.is_empty() {
                payload["conversation_ref_id"] = json!(chat.vendor_id);
            }
            self.with_source(&mut payload, chat);
            if incoming {
                payload["sender"] = customer(chat);
            } else {
                let name = self.settings.bot_name.as_deref().unwrap_or("Assistant");
                let mut sender = json!({ "id": "switchboard", "name": name });
                if let Some(bot) = &self.settings.bot_id {
                    sender["ref_id"] = json!(bot);
                }
                payload["sender"] = sender;
                payload["receiver"] = customer(chat);
            }
            let body = json!({ "event_type": "new_message", "payload": payload });
            let answer = self.call(Method::POST, scope, &body).await.map_err(|error| VendorError {
                // What went before is there, and a repeat of it is known.
                applied: if piece > 0 { Applied::Maybe } else { error.applied },
                ..error
            })?;
            let taken = self.read::<Taken>(&answer)?.new_message;
            // Which of the two names is the vendor's is told in two ways; ours is known.
            let vendors = if taken.msgid == msgid { taken.ref_id } else { taken.msgid };
            first.get_or_insert(vendors);
        }
        first.filter(|id| !id.is_empty()).ok_or_else(|| super::bad_answer(self.operation))
    }

    /// Tells what became of a message.
    async fn status(&self, message: &str, status: MirroredStatus, error: &str) -> Result<(), VendorError> {
        /// “Other”: the text is shown to the manager.
        const OTHER: i32 = 905;
        const MAX_ERROR_CHARS: usize = 250;
        let code = match status {
            MirroredStatus::Sent => return Ok(()),
            MirroredStatus::Failed => -1,
            MirroredStatus::Delivered => 1,
            MirroredStatus::Read => 2,
        };
        if !message.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
            let detail = "the message's id at the vendor can't be put into a path";
            return Err(failed(self.operation, FailureKind::Other, detail, Retry::Never));
        }
        // The documents have both, and so do the programs that are said to work.
        let mut body = json!({ "msgid": message, "status_code": code, "delivery_status": code });
        if status == MirroredStatus::Failed {
            let text: String = error.chars().take(MAX_ERROR_CHARS).collect();
            body["error_code"] = json!(OTHER);
            body["error"] = json!(if text.is_empty() { "not delivered".to_owned() } else { text });
        }
        self.call(Method::POST, &format!("{}/{message}/delivery_status", self.scope()?), &body)
            .await
            .map(drop)
    }
}

/// What an error's body says, in the vendor's words.
fn said(body: &[u8]) -> Option<String> {
    const MAX_CHARS: usize = 300;
    let body: Value = serde_json::from_slice(body).ok()?;
    let text =
        ["error_description", "detail", "title", "error_type"].iter().find_map(|name| body[name].as_str())?;
    Some(text.chars().filter(|c| !c.is_control()).take(MAX_CHARS).collect())
}

/// The customer, as the vendor is told of them.
fn customer(chat: &MirroredChat) -> Value {
    let mut user = json!({ "id": chat.customer, "name": name_of(chat) });
    let profile: serde_json::Map<_, _> = [("phone", &chat.phone), ("email", &chat.email)]
        .into_iter()
        .filter(|(_, word)| !word.is_empty())
        .map(|(name, word)| (name.to_owned(), json!(word)))
        .collect();
    if !profile.is_empty() {
        user["profile"] = Value::Object(profile);
    }
    user
}

/// Divides a message into what the vendor shows as one each: its text stands under its first part, as far as it has one.
fn pieces(message: &MirroredMessage) -> Vec<Value> {
    let text = |text: &str| json!({ "type": "text", "text": text });
    let mut parts = message.parts.iter();
    let mut pieces = match parts.as_slice().first() {
        Some(first) if !matches!(first.kind, PartKind::Location) => {
            parts.next();
            vec![attached(first, &message.text)]
        }
        Some(_) if message.text.is_empty() => Vec::new(),
        _ => vec![text(&message.text)],
    };
    pieces.extend(parts.map(|part| attached(part, "")));
    pieces
}

fn attached(part: &Part, text: &str) -> Value {
    let kind = match part.kind {
        PartKind::Image => "picture",
        PartKind::Audio => "audio",
        PartKind::Video => "video",
        PartKind::File => "file",
        PartKind::Location => {
            return match part.coordinates() {
                Some((latitude, longitude)) => json!({
                    "type": "location", "text": text, "location": { "lat": latitude, "lon": longitude },
                }),
                None => json!({ "type": "text", "text": part.as_text() }),
            };
        }
    };
    // How many bytes it has is not known before it is fetched, and the vendor fetches it by itself.
    json!({ "type": kind, "text": text, "media": part.url, "file_name": part.file_name(), "file_size": 0 })
}

#[async_trait]
impl ChatMirror for AmoCrm {
    async fn open(
        &self,
        account: &VendorAccount,
        chat: &MirroredChat,
        now: Timestamp,
    ) -> Result<String, VendorError> {
        Chats::new(&self.http, account, "open_chat", now)?.open(chat).await
    }

    async fn show(
        &self,
        account: &VendorAccount,
        chat: &MirroredChat,
        message: &MirroredMessage,
        now: Timestamp,
    ) -> Result<String, VendorError> {
        Chats::new(&self.http, account, "show", now)?.record(chat, message).await
    }

    async fn tell(
        &self,
        account: &VendorAccount,
        vendor_message_id: &str,
        status: MirroredStatus,
        error: &str,
        now: Timestamp,
    ) -> Result<(), VendorError> {
        Chats::new(&self.http, account, "tell", now)?.status(vendor_message_id, status, error).await
    }
}

impl AmoCrm {
    /// What the Chats API calls the account.
    pub(super) async fn amojo_id(&self, account: &VendorAccount) -> Result<String, VendorError> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default)]
            amojo_id: String,
        }
        let rest = Rest::new(&self.http, &account.connection, "connect")?;
        let answer = rest.get::<Answer>("account", &[("with", "amojo_id")]).await?;
        let id = answer.map(|answer| answer.amojo_id).unwrap_or_default();
        if uuid_like(&id) { Ok(id) } else { Err(super::bad_answer("connect")) }
    }
}

/// Whether it is written like the vendor's ids, and so can be a part of a path.
pub(super) fn uuid_like(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use domain::MessageId;

    use super::*;

    fn message(text: &str, parts: Vec<Part>) -> MirroredMessage {
        MirroredMessage {
            id: "0198c0de-0000-7000-8000-000000000004".parse::<MessageId>().unwrap(),
            role: Role::User,
            text: text.to_owned(),
            parts,
            at: Timestamp::UNIX_EPOCH,
            silent: false,
        }
    }

    fn part(kind: PartKind, url: &str) -> Part {
        Part { kind, url: url.to_owned(), media_type: String::new(), name: String::new() }
    }

    #[test]
    fn a_text_stands_under_the_first_part_and_before_a_place() {
        let picture = part(PartKind::Image, "https://example.com/a/b.png?x=1");
        let place = part(PartKind::Location, "geo:56.95,24.1;u=5");
        assert_eq!(
            pieces(&message("Look", vec![picture.clone(), place.clone()])),
            [
                json!({ "type": "picture", "text": "Look", "media": "https://example.com/a/b.png?x=1",
                    "file_name": "b.png", "file_size": 0 }),
                json!({ "type": "location", "text": "", "location": { "lat": 56.95, "lon": 24.1 } }),
            ]
        );
        assert_eq!(
            pieces(&message("Here", vec![place.clone()])),
            [
                json!({ "type": "text", "text": "Here" }),
                json!({ "type": "location", "text": "", "location": { "lat": 56.95, "lon": 24.1 } }),
            ]
        );
        assert_eq!(pieces(&message("", vec![place])).len(), 1);
        assert_eq!(pieces(&message("Hi", Vec::new())), [json!({ "type": "text", "text": "Hi" })]);
        assert_eq!(pieces(&message("", vec![picture.clone(), picture])).len(), 2);
    }

    #[test]
    fn a_customer_is_shown_by_what_is_known_of_them() {
        let chat = MirroredChat { customer: "u-1".to_owned(), ..MirroredChat::default() };
        assert_eq!(customer(&chat), json!({ "id": "u-1", "name": "u-1" }));
        let chat = MirroredChat { phone: "+79990000001".to_owned(), ..chat };
        assert_eq!(
            customer(&chat),
            json!({ "id": "u-1", "name": "+79990000001", "profile": { "phone": "+79990000001" } })
        );
    }
}
