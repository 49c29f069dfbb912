//! The Chats API: one channel, registered for this account, whose calls are checked as the vendor checks them and whose own are
//! signed. <https://www.amocrm.ru/developers/content/chats/chat-api-reference> (read 2026-11-20)

use std::{collections::BTreeMap, io};

use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{Method, Request, Response, StatusCode, header};
use md5::{Digest as _, Md5};
use serde_json::{Value, json};
use sha1::Sha1;
use time::{OffsetDateTime, format_description::well_known::Rfc2822};
use tokio::sync::watch;

use super::{AmoCrm, State, answer, lock};
use crate::{body::Body, outside};

/// What the account is called in the Chats API.
pub const AMOJO_ID: &str = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee";
/// The channel that is registered.
pub const CHATS_CHANNEL: &str = "11111111-2222-4333-8444-555555555555";
/// Its bot.
pub const CHATS_BOT: &str = "b07b07b0-1111-4222-8333-444444444444";
/// Its secret.
pub const CHATS_SECRET: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c";
/// How far a call's date may be off, in seconds.
const TOLERANCE_SECONDS: u64 = 15 * 60;

/// A message of a chat.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatMessage {
    /// What the vendor calls it.
    pub id: String,
    /// The id that it came with. Empty: it was written here.
    pub msgid: String,
    /// The chat, as the channel calls it. Empty: the channel knows none.
    pub conversation_id: String,
    /// Whether the customer wrote it.
    pub incoming: bool,
    /// Whether nobody was called by it.
    pub silent: bool,
    /// The source's external id. Empty: none.
    pub source: String,
    /// The sender, as it was told.
    pub sender: Value,
    /// What it says, as it was told.
    pub message: Value,
    /// What was told of its way to the customer, in order: the code, and why.
    pub statuses: Vec<(i64, String)>,
}

impl ChatMessage {
    /// Its text.
    pub fn text(&self) -> &str {
        self.message["text"].as_str().unwrap_or_default()
    }
}

#[derive(Debug, Default)]
pub(super) struct Chats {
    pub(super) connected: bool,
    /// The address that the channel was registered with, in which `:scope_id` stands for the scope.
    hook: String,
    /// By what the channel calls them: the vendor's id.
    known: BTreeMap<String, String>,
    made: u64,
    /// How often a message came that was there already.
    pub(super) repeats: usize,
}

impl Chats {
    fn id(&mut self) -> String {
        self.made += 1;
        format!("{:08x}-1111-4222-8333-444444444444", 0xc0de_0000_u64 + self.made)
    }

    fn open(&mut self, conversation: &str) -> String {
        if let Some(known) = self.known.get(conversation) {
            return known.clone();
        }
        let id = self.id();
        self.known.insert(conversation.to_owned(), id.clone());
        id
    }
}

fn hmac(secret: &str, bytes: &[u8]) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).expect("HMAC takes any key");
    mac.update(bytes);
    hex::encode(mac.finalize().into_bytes())
}

fn refuse(status: StatusCode, why: &str) -> Response<Body> {
    answer(status, &json!({ "error_code": status.as_u16(), "error_type": "Error", "error_description": why }))
}

/// What is wrong with how a call is signed.
fn unsigned(request: &Request<Bytes>, now: i64) -> Option<&'static str> {
    let header =
        |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let Ok(date) = OffsetDateTime::parse(header("date"), &Rfc2822) else { return Some("no date") };
    if date.unix_timestamp().abs_diff(now) > TOLERANCE_SECONDS {
        return Some("the date is too old");
    }
    let md5 = hex::encode(Md5::digest(request.body()));
    if header("content-md5") != md5 {
        return Some("the body is not what its digest says");
    }
    let kind = header(header::CONTENT_TYPE.as_str());
    let lines = [request.method().as_str(), &md5, kind, header("date"), request.uri().path()];
    (header("x-signature") != hmac(CHATS_SECRET, lines.join("\n").as_bytes()))
        .then_some("the signature is wrong")
}

impl State {
    /// The present of who calls: where tests move this account's clock, it is as far ahead.
    pub(super) fn present(&self) -> i64 {
        self.begun_at + (self.clock.unix_seconds() - self.clock_began_at)
    }

    /// Answers a call whose path begins behind `/v2/origin/custom/`.
    pub(super) fn chats(&self, request: &Request<Bytes>, path: &str) -> Response<Body> {
        if let Some(why) = unsigned(request, self.present()) {
            return refuse(StatusCode::FORBIDDEN, why);
        }
        let scope = format!("{CHATS_CHANNEL}_{AMOJO_ID}");
        let body: Value = serde_json::from_slice(request.body()).unwrap_or_default();
        let mut chats = lock(&self.chats);
        let parts: Vec<_> = path.split('/').collect();
        match (request.method(), parts.as_slice()) {
            (&Method::POST | &Method::DELETE, [channel, what @ ("connect" | "disconnect")])
                if *channel == CHATS_CHANNEL =>
            {
                if body["account_id"] != AMOJO_ID {
                    return refuse(StatusCode::BAD_REQUEST, "no such account");
                }
                chats.connected = *what == "connect";
                if !chats.connected {
                    return answer(StatusCode::OK, &json!({}));
                }
                answer(
                    StatusCode::OK,
                    &json!({ "account_id": AMOJO_ID, "scope_id": scope, "title": body["title"],
                        "hook_api_version": body["hook_api_version"], "is_time_window_disabled": false }),
                )
            }
            (_, [given, ..]) if *given != scope || !chats.connected => {
                refuse(StatusCode::NOT_FOUND, "the channel is not connected")
            }
            (&Method::POST, [_, "chats"]) => {
                let user = &body["user"];
                let (Some(conversation), Some(_), Some(_)) =
                    (body["conversation_id"].as_str(), user["id"].as_str(), user["name"].as_str())
                else {
                    return refuse(
                        StatusCode::BAD_REQUEST,
                        "conversation_id, user.id and user.name are required",
                    );
                };
                let id = chats.open(conversation);
                answer(StatusCode::OK, &json!({ "id": id, "user": { "id": "u", "client_id": user["id"] } }))
            }
            (&Method::POST, [_]) => self.take_message(&mut chats, &body),
            (&Method::POST, [_, id, "delivery_status"]) => {
                let code = body["status_code"].as_i64().or(body["delivery_status"].as_i64());
                let Some(code @ (-1..=2)) = code else { return refuse(StatusCode::BAD_REQUEST, "no status") };
                let error = body["error"].as_str().unwrap_or_default().to_owned();
                let told = self.said.send_if_modified(|said| {
                    let found = said.iter_mut().find(|message| message.id == *id);
                    found.map(|message| message.statuses.push((code, error.clone()))).is_some()
                });
                if told {
                    answer(StatusCode::OK, &json!({}))
                } else {
                    refuse(StatusCode::NOT_FOUND, "no message")
                }
            }
            _ => refuse(StatusCode::NOT_FOUND, "no such route"),
        }
    }

    fn take_message(&self, chats: &mut Chats, body: &Value) -> Response<Body> {
        let payload = &body["payload"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (msgid, conversation) = (text(&payload["msgid"]), text(&payload["conversation_id"]));
        let message = &payload["message"];
        let media = matches!(message["type"].as_str(), Some("picture" | "file" | "video"));
        let mut wrong = Vec::new();
        for (good, what) in [
            (body["event_type"] == "new_message", "event_type"),
            (payload["timestamp"].is_i64() && payload["msec_timestamp"].is_i64(), "timestamp"),
            (!msgid.is_empty(), "msgid"),
            (!conversation.is_empty(), "conversation_id"),
            (payload["sender"]["id"].is_string() && payload["sender"]["name"].is_string(), "sender"),
            (payload["sender"]["ref_id"].is_null() || payload["receiver"]["id"].is_string(), "receiver"),
            (message["type"].is_string(), "message.type"),
            (
                message["type"] != "text" || message["text"].as_str().is_some_and(|text| !text.is_empty()),
                "message.text",
            ),
            (!media || message["media"].is_string() && message["file_name"].is_string(), "message.media"),
            (!message["text"].as_str().unwrap_or_default().contains("[unwanted]"), "message.text"),
        ] {
            if !good {
                wrong.push(what);
            }
        }
        if !wrong.is_empty() {
            return refuse(StatusCode::BAD_REQUEST, &format!("wrong: {}", wrong.join(", ")));
        }
        let chat = match payload["conversation_ref_id"].as_str() {
            Some(id) => {
                chats.known.insert(conversation.clone(), id.to_owned());
                id.to_owned()
            }
            None => chats.open(&conversation),
        };
        let known = self.said.borrow().iter().find(|said| said.msgid == msgid).map(|said| said.id.clone());
        let id = if let Some(id) = known {
            chats.repeats += 1;
            id
        } else {
            let id = chats.id();
            let new = ChatMessage {
                id: id.clone(),
                msgid: msgid.clone(),
                conversation_id: conversation,
                incoming: payload["sender"]["ref_id"].is_null(),
                silent: payload["silent"].as_bool().unwrap_or_default(),
                source: text(&payload["source"]["external_id"]),
                sender: payload["sender"].clone(),
                message: message.clone(),
                statuses: Vec::new(),
            };
            self.said.send_modify(|said| said.push(new));
            id
        };
        let answered = json!({
            "conversation_id": chat, "sender_id": "s", "receiver_id": null, "msgid": id, "ref_id": msgid,
        });
        answer(StatusCode::OK, &json!({ "new_message": answered }))
    }
}

impl AmoCrm {
    /// Registers the address that the channel is called at; `:scope_id` in it stands for the scope.
    pub fn register_chats_hook(&self, url: &str) {
        url.clone_into(&mut lock(&self.state.chats).hook);
    }

    /// Whether the channel is connected to the account.
    pub fn chats_connected(&self) -> bool {
        lock(&self.state.chats).connected
    }

    /// What the vendor calls a chat that the channel calls so.
    pub fn chat_id(&self, conversation_id: &str) -> Option<String> {
        lock(&self.state.chats).known.get(conversation_id).cloned()
    }

    /// How often a message came that was there already.
    pub fn chat_repeats(&self) -> usize {
        lock(&self.state.chats).repeats
    }

    /// The messages of all chats, in the order of their coming.
    pub fn chat_messages(&self) -> Vec<ChatMessage> {
        self.state.said.borrow().clone()
    }

    /// Waits until they are as wanted. Put a timeout around it.
    pub async fn wait_for_chats(&self, wanted: impl FnMut(&Vec<ChatMessage>) -> bool) -> Vec<ChatMessage> {
        let mut said: watch::Receiver<Vec<ChatMessage>> = self.state.said.subscribe();
        said.wait_for(wanted).await.expect("the state lives as long as this").clone()
    }

    /// A manager writes in a chat: calls the channel, and gives what they wrote and the status that it was answered with.
    pub async fn manager_writes(&self, conversation_id: &str, text: &str) -> io::Result<(ChatMessage, u16)> {
        let written = self.state.written(conversation_id, json!({ "type": "text", "text": text }));
        let status = self.state.call_chats(&self.state.hook_of(&written, None).to_string()).await?;
        Ok((written, status))
    }

    /// A manager writes first, to this number: the channel knows no such chat.
    pub async fn manager_begins(
        &self,
        phone: &str,
        source: &str,
        text: &str,
    ) -> io::Result<(ChatMessage, u16)> {
        let mut written = self.state.written("", json!({ "type": "text", "text": text }));
        written.source = source.to_owned();
        let status = self.state.call_chats(&self.state.hook_of(&written, Some(phone)).to_string()).await?;
        Ok((written, status))
    }

    /// What the channel is called with when a manager writes.
    pub fn chats_hook_body(&self, conversation_id: &str, message: Value) -> Value {
        let written = self.state.written(conversation_id, message);
        self.state.hook_of(&written, None)
    }

    /// Signs a body as the vendor does.
    pub fn sign_chats(body: &str) -> String {
        hmac(CHATS_SECRET, body.as_bytes())
    }

    /// Calls the channel with any body, signed.
    pub async fn call_chats(&self, body: &str) -> io::Result<u16> {
        self.state.call_chats(body).await
    }
}

impl State {
    fn written(&self, conversation_id: &str, message: Value) -> ChatMessage {
        let written = ChatMessage {
            id: lock(&self.chats).id(),
            msgid: String::new(),
            conversation_id: conversation_id.to_owned(),
            incoming: false,
            silent: false,
            source: String::new(),
            sender: json!({ "id": "12121212-3434-4565-8787-909090909090", "name": "Maria" }),
            message,
            statuses: Vec::new(),
        };
        self.said.send_modify(|said| said.push(written.clone()));
        written
    }

    fn hook_of(&self, written: &ChatMessage, phone: Option<&str>) -> Value {
        let now = self.present();
        let mut message = written.message.clone();
        message["id"] = json!(written.id);
        let mut chats = lock(&self.chats);
        let mut told = json!({
            "receiver": { "id": "77777777-6666-4555-8444-333333333333", "name": "Anna" },
            "sender": written.sender, "timestamp": now, "msec_timestamp": now * 1_000, "message": message,
        });
        if let Some(phone) = phone {
            told["receiver"]["phone"] = json!(phone);
            told["conversation"] = json!({ "id": chats.id() });
        } else {
            let id = chats.open(&written.conversation_id);
            told["conversation"] = json!({ "id": id, "client_id": written.conversation_id });
        }
        if !written.source.is_empty() {
            told["source"] = json!({ "external_id": written.source });
        }
        json!({ "account_id": AMOJO_ID, "time": now, "message": told })
    }

    async fn call_chats(&self, body: &str) -> io::Result<u16> {
        let hook = lock(&self.chats).hook.replace(":scope_id", &format!("{CHATS_CHANNEL}_{AMOJO_ID}"));
        let signature = format!("x-signature: {}\r\n", hmac(CHATS_SECRET, body.as_bytes()));
        outside::call(&Method::POST, &hook, &signature, body).await
    }

    /// Steers the chats from a terminal: shows them, registers the address, has a manager write.
    pub(super) async fn control_chats(&self, request: &Request<Bytes>, what: &str) -> Response<Body> {
        let given: Value = serde_json::from_slice(request.body()).unwrap_or_default();
        let text = |name: &str| given[name].as_str().unwrap_or_default().to_owned();
        match (request.method(), what) {
            (&Method::GET, "messages") => {
                let shown: Vec<_> = self.said.borrow().iter().map(shown).collect();
                answer(StatusCode::OK, &json!(shown))
            }
            (&Method::PUT, "hook") => {
                lock(&self.chats).hook = text("url");
                answer(StatusCode::OK, &json!({}))
            }
            (&Method::POST, "manager") if !text("text").is_empty() => {
                let mut written =
                    self.written(&text("conversation_id"), json!({ "type": "text", "text": text("text") }));
                written.source = text("source");
                let phone = text("phone");
                let told = self.hook_of(&written, Some(phone.as_str()).filter(|phone| !phone.is_empty()));
                match self.call_chats(&told.to_string()).await {
                    Ok(status) => answer(StatusCode::OK, &json!({ "id": written.id, "status": status })),
                    Err(error) => refuse(StatusCode::BAD_GATEWAY, &error.to_string()),
                }
            }
            _ => refuse(
                StatusCode::BAD_REQUEST,
                "GET messages, PUT hook with {\"url\"}, or POST manager with {\"conversation_id\" or \"phone\", \"text\"}",
            ),
        }
    }
}

fn shown(message: &ChatMessage) -> Value {
    json!({
        "id": message.id, "msgid": message.msgid, "conversation_id": message.conversation_id,
        "incoming": message.incoming, "silent": message.silent, "source": message.source, "sender": message.sender,
        "message": message.message, "statuses": message.statuses,
    })
}
