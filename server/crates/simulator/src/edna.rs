//! edna Pulse: channels, cascades, messages by cascade and to MAX bots, and the calls that it makes to registered addresses.
//! <https://docs-pulse.edna.io/docs/api/> (read 2026-11-20)
//!
//! What customers write and what becomes of messages is told when a test says so: [`Edna::customer_writes`] and
//! [`Edna::tell`].

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{
    Clock,
    body::Body,
    fault::{Fault, Faults},
    listener::{Cut, Handler, Listener},
    outside,
};

/// The WhatsApp sender, which has the cascade 77.
pub const WHATSAPP: i64 = 234;
/// The sender of a MAX bot, called `acme_max_bot`.
pub const MAX_BOT: i64 = 300;
/// The sender of short messages, which has the cascade 78.
pub const SMS: i64 = 400;
/// For how long edna cancels what says the same to the same customer.
const SAME_SECONDS: i64 = 20 * 60;
/// The longest address that edna calls, in characters.
const MAX_URL_CHARS: usize = 500;

/// An account that listens. Dropping it stops it.
#[derive(Debug)]
pub struct Edna {
    state: Arc<State>,
    listener: Listener,
}

/// A message that edna took.
#[derive(Debug, Clone, PartialEq)]
pub struct Sent {
    /// The sender's number.
    pub subject_id: i64,
    /// The id that it was sent with. Empty: straight to a bot.
    pub request_id: String,
    /// What edna calls it.
    pub message_id: String,
    /// The customer's address.
    pub address: String,
    /// What it says, as it was sent.
    pub content: Value,
    /// Whether it is cancelled, because the same went to the customer within 20 minutes.
    pub cancelled: bool,
    at: i64,
}

#[derive(Debug)]
struct State {
    key: Mutex<String>,
    faults: Faults,
    clock: Clock,
    taken: watch::Sender<Vec<Sent>>,
    /// Which address is called about a sender; `None`: about all others.
    hooks: Mutex<HashMap<Option<i64>, Value>>,
    /// How many messages customers wrote from a terminal: their ids.
    made: Mutex<i64>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn name_of(subject_id: i64) -> &'static str {
    match subject_id {
        MAX_BOT => "acme_max_bot",
        SMS => "sms_acme",
        _ => "wa_acme",
    }
}

impl Edna {
    /// Starts an account with this key. Port 0 is any free one.
    pub async fn start(address: SocketAddr, key: &str) -> io::Result<Self> {
        let state = Arc::new(State {
            key: Mutex::new(key.to_owned()),
            faults: Faults::default(),
            clock: Clock::default(),
            taken: watch::Sender::default(),
            hooks: Mutex::default(),
            made: Mutex::new(555_000),
        });
        let socket = Listener::bind(address).await?;
        Ok(Self { listener: Listener::serve(socket, Arc::clone(&state))?, state })
    }

    /// What a connection's `base_url` is set to.
    pub fn base_url(&self) -> String {
        format!("http://{}/api", self.listener.address())
    }

    /// The key that lets in from now on.
    pub fn expect_key(&self, key: &str) {
        key.clone_into(&mut lock(&self.state.key));
    }

    /// The faults to come.
    pub fn faults(&self) -> &Faults {
        &self.state.faults
    }

    /// Its clock, by which the same text is the same for 20 minutes.
    pub fn clock(&self) -> &Clock {
        &self.state.clock
    }

    /// The messages that it took, in their order.
    pub fn sent(&self) -> Vec<Sent> {
        self.state.taken.borrow().clone()
    }

    /// Waits until it took so many messages. Put a timeout around it.
    pub async fn wait_for(&self, count: usize) -> Vec<Sent> {
        let mut taken = self.state.taken.subscribe();
        let taken = taken.wait_for(|taken| taken.len() >= count).await;
        taken.expect("the state lives as long as this").clone()
    }

    /// The address that it calls with what customers write to a sender.
    pub fn hook(&self, subject_id: i64) -> Option<String> {
        self.state.hook(subject_id, "inMessageCallbackUrl")
    }

    /// What edna says of a customer's message with this id.
    pub fn incoming(subject_id: i64, id: i64, identifier: &str, content: &Value) -> Value {
        json!({
            "id": id,
            "subject": name_of(subject_id),
            "subjectId": subject_id,
            "subscriber": { "id": 8801, "identifier": identifier },
            "userInfo": { "userName": "anna", "firstName": "Anna", "lastName": null, "avatarUrl": null },
            "messageContent": content,
            "receivedAt": "2026-11-21T12:00:00Z",
            "replyOutMessageId": null,
            "lastMessage": null,
        })
    }

    /// A customer writes: calls the registered address, and gives the status that it answered with.
    pub async fn customer_writes(
        &self,
        subject_id: i64,
        id: i64,
        identifier: &str,
        text: &str,
    ) -> io::Result<u16> {
        let body = Self::incoming(subject_id, id, identifier, &json!({ "type": "TEXT", "text": text }));
        self.call(subject_id, "inMessageCallbackUrl", &body).await
    }

    /// Tells what became of a message, and gives the status that the registered address answered with.
    pub async fn tell(&self, sent: &Sent, status: &str, error: Option<&str>) -> io::Result<u16> {
        let body = status_of(sent, status, error);
        self.call(sent.subject_id, "statusCallbackUrl", &body).await
    }

    /// Calls a registered address with any body.
    pub async fn call(&self, subject_id: i64, which: &str, body: &Value) -> io::Result<u16> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, "no address is registered");
        let url = self.state.hook(subject_id, which).ok_or_else(missing)?;
        outside::call(&Method::POST, &url, "", &body.to_string()).await
    }
}

fn answer(status: StatusCode, body: &Value) -> Response<Body> {
    let mut response = Response::new(Bytes::from(body.to_string()).into());
    *response.status_mut() = status;
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

fn refuse(status: StatusCode, detail: &str) -> Response<Body> {
    answer(
        status,
        &json!({ "title": status.canonical_reason(), "status": status.as_u16(), "detail": detail }),
    )
}

fn bad(detail: &str) -> Response<Body> {
    refuse(StatusCode::BAD_REQUEST, detail)
}

fn channels() -> Value {
    let channel = |id: i64, kind: &str, active: bool| {
        json!({
            "id": id + 1000, "name": format!("Main {kind}"), "subjectId": id, "subject": name_of(id),
            "channelAttribute": "79990000001", "active": active, "registrationStatus": "DONE_FINISH_REGISTER",
            "type": kind, "limit": "TIER_1K", "qualityScore": "GREEN", "qualityStatus": "CONNECTED", "instruction": null,
        })
    };
    json!([channel(WHATSAPP, "WHATSAPP", true), channel(MAX_BOT, "MAX_BOT", true), channel(SMS, "SMS", true)])
}

fn cascades() -> Value {
    let cascade = |id: i64, subject: i64, kind: &str, status: &str, stages: i64| {
        json!({
            "id": id, "name": kind, "status": status, "stagesCount": stages,
            "stages": [{ "order": 1, "uuid": "5f0c", "decision": null, "stages": [],
                "subject": { "id": subject, "name": "Main", "subject": name_of(subject), "type": kind, "locked": false } }],
        })
    };
    json!([
        cascade(75, WHATSAPP, "WHATSAPP", "DISABLED", 1),
        cascade(76, WHATSAPP, "WHATSAPP", "ACTIVE", 2),
        cascade(77, WHATSAPP, "WHATSAPP", "ACTIVE", 1),
        cascade(78, SMS, "SMS", "ACTIVE", 1),
    ])
}

/// What is wrong with a content block, in edna's words.
fn wrong_with(content: &Value) -> Option<&'static str> {
    let missing = |name: &str| content[name].as_str().is_none_or(str::is_empty);
    let attached = || content["attachment"]["url"].as_str().is_none_or(str::is_empty);
    match content["contentType"].as_str() {
        None => Some("ContentType not specified"),
        Some("TEXT") if missing("text") => Some("Text not specified"),
        Some("IMAGE" | "VIDEO" | "DOCUMENT" | "AUDIO") if attached() => Some("AttachmentUrl not specified"),
        Some("DOCUMENT") => match content["attachment"]["name"].as_str() {
            None => Some("AttachmentName not specified"),
            Some(name) if name.chars().count() > 70 => Some("AttachmentName longer than 70"),
            Some(_) => None,
        },
        Some("LOCATION") if !content["location"]["latitude"].is_number() => Some("Latitude not specified"),
        Some(_) => None,
    }
}

impl State {
    fn hook(&self, subject_id: i64, which: &str) -> Option<String> {
        let hooks = lock(&self.hooks);
        let urls = hooks.get(&Some(subject_id)).or_else(|| hooks.get(&None))?;
        urls[which].as_str().map(str::to_owned)
    }

    fn take(&self, subject_id: i64, request_id: &str, address: &str, content: &Value) -> String {
        let now = self.clock.unix_seconds();
        let mut message_id = String::new();
        self.taken.send_modify(|taken| {
            message_id = (900_100 + taken.len()).to_string();
            let same = |before: &Sent| {
                before.address == address && before.content == *content && now - before.at < SAME_SECONDS
            };
            taken.push(Sent {
                subject_id,
                request_id: request_id.to_owned(),
                message_id: message_id.clone(),
                address: address.to_owned(),
                content: content.clone(),
                cancelled: !request_id.is_empty() && taken.iter().any(same),
                at: now,
            });
        });
        message_id
    }

    fn schedule(&self, body: &Value) -> Response<Body> {
        let Some(request_id) = body["requestId"].as_str().filter(|id| !id.is_empty()) else {
            return bad("scheduling request not valid");
        };
        let (subject_id, block) = match body["cascadeId"].as_i64() {
            Some(77) => (WHATSAPP, "whatsappContent"),
            Some(78) => (SMS, "smsContent"),
            _ => return bad("Cascade not found"),
        };
        let content = &body["content"][block];
        if !content.is_object() {
            return bad("no content for all cascade stages");
        }
        let wrong = match block {
            "smsContent" => {
                content["text"].as_str().is_none_or(str::is_empty).then_some("Text not specified")
            }
            _ => wrong_with(content),
        };
        if let Some(wrong) = wrong {
            return bad(wrong);
        }
        let address = body["subscriberFilter"]["address"].as_str().unwrap_or_default();
        let phone = body["subscriberFilter"]["type"] == "PHONE";
        if !phone || address.is_empty() || !address.bytes().all(|byte| byte.is_ascii_digit()) {
            return answer(StatusCode::BAD_REQUEST, &json!({ "code": "error-address-format" }));
        }
        if self.taken.borrow().iter().any(|sent| sent.request_id == request_id) {
            return bad("RequestId is not unique");
        }
        self.take(subject_id, request_id, address, content);
        answer(StatusCode::OK, &json!({ "requestId": request_id }))
    }

    fn write_to_bot(&self, body: &Value) -> Response<Body> {
        if body["sender"].as_str() != Some(name_of(MAX_BOT)) {
            return bad("default.subject.not_found");
        }
        let max_id = body["maxId"].as_str().unwrap_or_default();
        let text = body["content"]["text"].as_str().unwrap_or_default();
        let kind = body["content"]["type"].as_str().unwrap_or_default();
        if max_id.is_empty()
            || kind.is_empty()
            || kind == "TEXT" && text.is_empty()
            || text.chars().count() > 4_000
        {
            return bad("request not valid");
        }
        let id = self.take(MAX_BOT, "", max_id, &body["content"]);
        answer(StatusCode::OK, &json!({ "outMessageId": id, "maxId": max_id }))
    }

    async fn set_callbacks(&self, body: &Value) -> Response<Body> {
        let code = |code: &str| {
            let status = if code == "ok" { StatusCode::OK } else { StatusCode::BAD_REQUEST };
            answer(status, &json!({ "code": code }))
        };
        let subject_id = body["subjectId"].as_i64();
        if subject_id.is_some_and(|id| ![WHATSAPP, MAX_BOT, SMS].contains(&id)) {
            return code("error-subject-unknown");
        }
        let names = ["statusCallbackUrl", "inMessageCallbackUrl", "messageMatcherCallbackUrl"];
        let urls: Vec<_> = names.iter().filter_map(|name| body[name].as_str()).collect();
        if urls.is_empty() {
            return code("url-not-specified");
        }
        for url in urls {
            if url.chars().count() > MAX_URL_CHARS {
                return code("error-callback-url-max-length");
            }
            // edna takes https alone; beside a simulator there are no certificates.
            if !url.starts_with("http://127.0.0.1:") && !url.starts_with("http://localhost:") {
                return code("error-callback-url-not-https");
            }
            let also: &[Method] = if subject_id == Some(MAX_BOT) { &[Method::GET] } else { &[] };
            for method in [Method::HEAD].iter().chain(also) {
                if !matches!(outside::call(method, url, "", "").await, Ok(200)) {
                    return code("error-callback-url-not-available");
                }
            }
        }
        lock(&self.hooks).insert(subject_id, body.clone());
        code("ok")
    }
}

impl State {
    /// Steers it from a terminal: shows what was sent, has a customer write, tells what became of a message.
    async fn control(&self, request: &Request<Bytes>, what: &str) -> Response<Body> {
        let given: Value = serde_json::from_slice(request.body()).unwrap_or_default();
        let text = |name: &str| given[name].as_str().unwrap_or_default().to_owned();
        let subject = given["subject_id"].as_i64().unwrap_or(WHATSAPP);
        let (which, body) = match (request.method(), what) {
            (&Method::GET, "sent") => {
                let sent: Vec<_> = self.taken.borrow().iter().map(shown).collect();
                return answer(StatusCode::OK, &json!(sent));
            }
            (&Method::POST, "customer") if !text("from").is_empty() => {
                let id = given["id"].as_i64().unwrap_or_else(|| {
                    let mut made = lock(&self.made);
                    *made += 1;
                    *made
                });
                let content = json!({ "type": "TEXT", "text": text("text") });
                ("inMessageCallbackUrl", Edna::incoming(subject, id, &text("from"), &content))
            }
            (&Method::POST, "status") => {
                let sent =
                    self.taken.borrow().iter().find(|sent| sent.message_id == text("message_id")).cloned();
                let Some(sent) = sent else { return bad("no such message") };
                ("statusCallbackUrl", status_of(&sent, &text("status"), given["error"].as_str()))
            }
            _ => {
                return bad(
                    "GET sent, POST customer with {\"from\", \"text\"}, or POST status with {\"message_id\", \"status\"}",
                );
            }
        };
        let Some(url) = self.hook(subject, which) else {
            return bad("no address is registered: connect the channel");
        };
        match outside::call(&Method::POST, &url, "", &body.to_string()).await {
            Ok(status) => answer(StatusCode::OK, &json!({ "status": status })),
            Err(error) => refuse(StatusCode::BAD_GATEWAY, &error.to_string()),
        }
    }
}

fn shown(sent: &Sent) -> Value {
    json!({
        "subject_id": sent.subject_id, "request_id": sent.request_id, "message_id": sent.message_id,
        "address": sent.address, "content": sent.content, "cancelled": sent.cancelled,
    })
}

/// What edna says of a message on its way.
fn status_of(sent: &Sent, status: &str, error: Option<&str>) -> Value {
    json!({
        "requestId": Some(sent.request_id.as_str()).filter(|id| !id.is_empty()),
        "messageId": sent.message_id,
        "cascadeId": 77,
        "subject": name_of(sent.subject_id),
        "subjectId": sent.subject_id,
        "status": status,
        "statusAt": "2026-11-21T12:00:04Z",
        "error": error,
        "comment": null,
        "paymentData": null,
    })
}

impl Handler for State {
    async fn answer(&self, request: Request<Bytes>) -> Result<Response<Body>, Cut> {
        if let Some(what) = request.uri().path().strip_prefix("/control/").map(str::to_owned) {
            return Ok(self.control(&request, &what).await);
        }
        let fault = self.faults.next();
        if let Some(pause) = fault.map(Fault::pause).filter(|pause| !pause.is_zero()) {
            tokio::time::sleep(pause).await;
        }
        match fault {
            Some(Fault::Down) => return Ok(refuse(StatusCode::SERVICE_UNAVAILABLE, "down")),
            Some(Fault::RateLimited) => return Ok(refuse(StatusCode::TOO_MANY_REQUESTS, "too many")),
            Some(Fault::Overloaded) => return Ok(answer(StatusCode::OK, &json!({ "code": "error-system" }))),
            Some(Fault::QuotaUsedUp) => {
                return Ok(answer(StatusCode::BAD_REQUEST, &json!({ "code": "error-insufficient-balance" })));
            }
            Some(Fault::CutAfterReading) => return Err(Cut),
            _ => {}
        }
        let key = request.headers().get("x-api-key").and_then(|key| key.to_str().ok()).unwrap_or_default();
        if fault == Some(Fault::Unauthorized) || key != lock(&self.key).as_str() {
            return Ok(refuse(StatusCode::UNAUTHORIZED, "error-unauthorized"));
        }
        let body: Value = serde_json::from_slice(request.body()).unwrap_or_default();
        let response = match (request.method(), request.uri().path()) {
            (&Method::GET, "/api/channel-profile") => answer(StatusCode::OK, &channels()),
            (&Method::POST, "/api/cascade/get-all") => answer(StatusCode::OK, &cascades()),
            (&Method::POST, "/api/cascade/schedule") => self.schedule(&body),
            (&Method::POST, "/api/v1/out-messages/max-bot") => self.write_to_bot(&body),
            (&Method::POST, "/api/callback/set") => self.set_callbacks(&body).await,
            _ => refuse(StatusCode::NOT_FOUND, "no such route"),
        };
        match fault {
            Some(Fault::ApplyThenFail) => Ok(refuse(StatusCode::INTERNAL_SERVER_ERROR, "broken")),
            Some(Fault::ApplyThenCut) => Err(Cut),
            _ => Ok(response),
        }
    }
}
