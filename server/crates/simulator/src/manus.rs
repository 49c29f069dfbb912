//! Manus: tasks that take a while, and a call when one has stopped.
//! <https://open.manus.ai/docs> (read 2026-11-20)
//!
//! Beside the directives of the scripted model, the newest text may begin with `/ask` (it asks back), `/confirm` (it wants
//! an action confirmed), `/lost` (it stops without a word) or `/files` (it attaches one). What the model refuses is an error
//! of the task. A text written by a caller who marks who said what, `⟦customer⟧ …`, is read as the dialogue that it is.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderName, Method, Request, StatusCode};
use ring::{digest, rand::SystemRandom, signature};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};

use crate::{
    marked,
    model::Given,
    vendor::{Api, Asked, Refusal, Reply},
};

const KEY: HeaderName = HeaderName::from_static("x-manus-api-key");
/// Signs our calls. It is nobody's: only the simulator's.
const SIGNING_KEY: &[u8] = include_bytes!("../keys/manus.der");
const PUBLIC_KEY: &str = include_str!("../keys/manus.pem");
/// What each answer costs.
const CREDITS: i64 = 7;
/// About the most that a message may hold, in tokens of four bytes.
const MOST_BYTES: usize = 5_000 * 4;

#[derive(Default)]
pub(crate) struct Manus(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    tasks: BTreeMap<String, Task>,
    hooks: Vec<String>,
    messages: u64,
}

/// A task: what was said in it, and what comes next.
struct Task {
    profile: String,
    status: &'static str,
    messages: Vec<Value>,
    given: Vec<Given>,
    /// What it will have come to, and when. `None`: it is at rest.
    next: Option<(Instant, Next)>,
    credits: i64,
}

/// What work comes to.
struct Next {
    status: &'static str,
    messages: Vec<Value>,
    said: Option<String>,
}

impl Api for Manus {
    fn lets_in(&self, request: &Request<Bytes>, key: &str) -> bool {
        request.headers().get(KEY).and_then(|value| value.to_str().ok()) == Some(key)
    }

    fn answer(&self, request: &Request<Bytes>, asked: &Asked<'_>) -> Reply {
        let body: Value = serde_json::from_slice(request.body()).unwrap_or_default();
        let query: BTreeMap<_, _> = request
            .uri()
            .query()
            .unwrap_or_default()
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .collect();
        let given = |name: &str| body[name].as_str().or_else(|| query.get(name).copied()).unwrap_or_default();
        let mut state = self.state();
        state.advance();
        let reply = match (request.method(), request.uri().path()) {
            (&Method::POST, "/v2/task.create") => {
                let id = format!("tasksim{:016}", asked.number);
                let profile = body["agent_profile"].as_str().unwrap_or("manus-1.6").to_owned();
                let task = Task {
                    profile,
                    status: "running",
                    messages: Vec::new(),
                    given: Vec::new(),
                    next: None,
                    credits: 0,
                };
                state.tasks.insert(id.clone(), task);
                let told = self.tell(&mut state, &id, &body["message"], asked);
                told.map(|()| json!({ "task_id": id, "task_title": "Task", "task_url": format!("https://manus.im/app/{id}") }))
            }
            (&Method::POST, "/v2/task.sendMessage") => {
                let id = given("task_id").to_owned();
                self.tell(&mut state, &id, &body["message"], asked).map(|()| json!({ "task_id": id }))
            }
            (&Method::POST, "/v2/task.stop") => state.task(given("task_id")).map(|task| {
                task.next = None;
                task.status = "stopped";
                json!({})
            }),
            (&Method::POST, "/v2/task.delete") => {
                let id = given("task_id");
                state.task(id).map(drop).map(|()| {
                    state.tasks.remove(id);
                    json!({})
                })
            }
            (&Method::GET, "/v2/task.detail") => state.task(given("task_id")).map(|task| {
                json!({ "task": {
                    "id": given("task_id"),
                    "status": task.status,
                    "created_at": asked.now,
                    "updated_at": asked.now,
                    "task_type": "normal",
                    "title": "Task",
                    "credit_usage": task.credits,
                    "agent_profile": task.profile,
                    "created_by_api_key": true,
                }})
            }),
            (&Method::GET, "/v2/task.listMessages") => state.task(given("task_id")).map(|task| {
                let most = given("limit").parse().unwrap_or(50);
                let mut messages = task.messages.clone();
                if given("order") != "asc" {
                    messages.reverse();
                }
                let more = messages.len() > most;
                messages.truncate(most);
                json!({ "task_id": given("task_id"), "messages": messages, "has_more": more, "next_cursor": null })
            }),
            (&Method::GET, "/v2/task.list") => {
                Ok(json!({ "tasks": state.tasks.keys().map(|id| json!({ "id": id })).collect::<Vec<_>>() }))
            }
            (&Method::POST, "/v2/webhook.create") if given("url").starts_with("http://") => {
                state.hooks.push(given("url").to_owned());
                Ok(json!({ "webhook": { "id": "hooksim", "url": given("url"), "status": "active", "created_at": asked.now } }))
            }
            (&Method::GET, "/v2/webhook.publicKey") => {
                Ok(json!({ "public_key": PUBLIC_KEY, "algorithm": "RSA-SHA256" }))
            }
            (method, path) => Err(Refusal::NotFound(format!("no such call: {method} {path}"))),
        };
        drop(state);
        match reply {
            Ok(mut body) => {
                body["ok"] = true.into();
                body["request_id"] = format!("reqsim{}", asked.number).into();
                Reply::json(StatusCode::OK, &body)
            }
            Err(refusal) => self.refuse(refusal),
        }
    }

    fn refuse(&self, refusal: Refusal) -> Reply {
        let (status, code, message) = match refusal {
            Refusal::Unauthorized => {
                (StatusCode::UNAUTHORIZED, "permission_denied", "invalid api key".to_owned())
            }
            Refusal::RateLimited => {
                (StatusCode::TOO_MANY_REQUESTS, "rate_limited", "too many requests".to_owned())
            }
            Refusal::QuotaUsedUp => {
                (StatusCode::FORBIDDEN, "permission_denied", "not enough credits left".to_owned())
            }
            Refusal::InputTooLong => (
                StatusCode::BAD_REQUEST,
                "invalid_argument",
                "the text is longer than 5000 tokens".to_owned(),
            ),
            Refusal::NotFound(what) => (StatusCode::NOT_FOUND, "not_found", what),
            Refusal::Invalid(_, what) => (StatusCode::BAD_REQUEST, "invalid_argument", what),
            Refusal::Overloaded | Refusal::Down => {
                (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "try again later".to_owned())
            }
            Refusal::Broken => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "something broke".to_owned()),
            Refusal::Status(status) => (status, "internal", format!("status {status}")),
        };
        let error = json!({ "code": code, "message": message });
        Reply::json(status, &json!({ "ok": false, "request_id": "reqsim", "error": error }))
    }
}

impl Manus {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a task a message, and decides what it will come to.
    fn tell(&self, state: &mut State, id: &str, message: &Value, asked: &Asked<'_>) -> Result<(), Refusal> {
        let mut texts = Vec::new();
        let mut images = Vec::new();
        match &message["content"] {
            Value::String(text) => texts.push(text.clone()),
            Value::Array(parts) => {
                for part in parts {
                    match part["type"].as_str() {
                        Some("text") => texts.push(part["text"].as_str().unwrap_or_default().to_owned()),
                        Some("file" | "voice") if part["file_url"].is_string() => {
                            images
                                .push(Given::Image(part["mime_type"].as_str().unwrap_or("file").to_owned()));
                        }
                        _ => return Err(Refusal::Invalid(None, "unknown part".to_owned())),
                    }
                }
            }
            _ => return Err(Refusal::Invalid(None, "message.content is required".to_owned())),
        }
        let text = texts.join("\n\n");
        if text.trim().is_empty() {
            return Err(Refusal::Invalid(None, "message.content is empty".to_owned()));
        }
        if text.len() > MOST_BYTES {
            return Err(Refusal::InputTooLong);
        }
        let mut number = state.messages;
        let mut next_id = || {
            number += 1;
            format!("msgsim{number}")
        };
        let task = state.task(id)?;
        task.messages.push(json!({ "id": next_id(), "type": "user_message", "timestamp": asked.now * 1000, "user_message": { "content": text } }));
        task.given.extend(marked::read(&text));
        task.given.extend(images);
        task.messages.push(json!({
            "id": next_id(), "type": "status_update", "timestamp": asked.now * 1000,
            "status_update": { "agent_status": "running", "brief": "Working", "description": "Reading" },
        }));
        let newest = task.given.iter().rev().find_map(|given| match given {
            Given::User(text) => Some(text.split_whitespace().next().unwrap_or_default().to_owned()),
            _ => None,
        });
        let said = asked.model.answer(&task.given, &[], None);
        let delay = said.as_ref().map_or(Duration::ZERO, |said| said.delay);
        let mut written = |kind: &str, body: Value| json!({ "id": next_id(), "type": kind, "timestamp": asked.now * 1000, kind: body });
        let next = match (newest.as_deref().unwrap_or_default(), said) {
            ("/ask", _) => {
                let detail = json!({ "waiting_for_event_id": "evt1", "waiting_for_event_type": "messageAskUser", "waiting_description": "Which one?" });
                let update = json!({ "agent_status": "waiting", "brief": "Asking", "description": "", "status_detail": detail });
                Next { status: "waiting", messages: vec![written("status_update", update)], said: None }
            }
            ("/confirm", _) => {
                let detail = json!({ "waiting_for_event_id": "evt1", "waiting_for_event_type": "gmailSendAction", "waiting_description": "Send it?" });
                let update = json!({ "agent_status": "waiting", "brief": "Asking", "description": "", "status_detail": detail });
                Next { status: "waiting", messages: vec![written("status_update", update)], said: None }
            }
            ("/lost", _) => Next { status: "stopped", messages: Vec::new(), said: None },
            (_, Err(refusal)) => {
                let content =
                    if refusal == Refusal::QuotaUsedUp { "Not enough credits." } else { "Something broke." };
                let error =
                    written("error_message", json!({ "error_type": "task_error", "content": content }));
                Next { status: "error", messages: vec![error], said: None }
            }
            (first, Ok(said)) => {
                let text = said.text();
                let files = if first == "/files" {
                    json!([{ "type": "file", "filename": "table.csv", "url": "https://files.example.com/table.csv", "content_type": "text/csv" }])
                } else {
                    json!([])
                };
                let messages = vec![
                    written(
                        "assistant_message",
                        json!({ "content": "I shall look into it.", "attachments": [] }),
                    ),
                    written("assistant_message", json!({ "content": text, "attachments": files })),
                ];
                Next { status: "stopped", messages, said: Some(text) }
            }
        };
        task.status = "running";
        let due = Instant::now() + delay;
        task.next = Some((due, next));
        state.messages = number;
        let (shared, id) = (Arc::clone(&self.0), id.to_owned());
        tokio::spawn(async move {
            tokio::time::sleep_until(due).await;
            let hooks = {
                let mut state = shared.lock().unwrap_or_else(PoisonError::into_inner);
                state.advance();
                if state.tasks.get(&id).is_some_and(|task| task.next.is_none()) {
                    state.hooks.clone()
                } else {
                    Vec::new()
                }
            };
            for url in hooks {
                call(&url, &id).await;
            }
        });
        Ok(())
    }
}

impl State {
    fn task(&mut self, id: &str) -> Result<&mut Task, Refusal> {
        self.tasks.get_mut(id).ok_or_else(|| Refusal::NotFound(format!("task {id} not found")))
    }

    /// Ends the work that is done by now.
    fn advance(&mut self) {
        for task in self.tasks.values_mut() {
            if let Some((_, next)) = task.next.take_if(|(due, _)| *due <= Instant::now()) {
                task.status = next.status;
                task.messages.extend(next.messages);
                task.given.extend(next.said.map(Given::Assistant));
                task.credits += CREDITS;
            }
        }
    }
}

/// Calls who asked to be told.
#[expect(clippy::disallowed_methods, reason = "whom it calls compares the moment with its own clock")]
async fn call(url: &str, task: &str) {
    let body = json!({
        "event_id": format!("evt_{task}"),
        "event_type": "task_stopped",
        "task_detail": { "task_id": task, "task_title": "Task", "message": "…", "stop_reason": "finish" },
    })
    .to_string();
    let seconds =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let hash = hex::encode(digest::digest(&digest::SHA256, body.as_bytes()));
    let key = signature::RsaKeyPair::from_pkcs8(SIGNING_KEY).expect("it was made so");
    let mut signed = vec![0; key.public().modulus_len()];
    let text = format!("{seconds}.{url}.{hash}");
    key.sign(&signature::RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signed)
        .expect("the room is as large as the key");
    let Some((host, path)) =
        url.strip_prefix("http://").map(|rest| rest.split_once('/').unwrap_or((rest, "")))
    else {
        return;
    };
    let request = format!(
        "POST /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-type: application/json\r\n\
         x-webhook-timestamp: {seconds}\r\nx-webhook-signature: {}\r\ncontent-length: {}\r\n\r\n{body}",
        STANDARD.encode(signed),
        body.len()
    );
    // Whoever doesn't listen asks by itself.
    let Ok(mut stream) = TcpStream::connect(host).await else { return };
    if stream.write_all(request.as_bytes()).await.is_ok() {
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }
}
