//! Dify's apps: a chatbot at `/v1`, and the other kinds under their names, as `/advanced-chat/v1`.
//! <https://docs.dify.ai/api-reference> (read 2026-11-20; as release 1.14 behaves)
//!
//! The chatflow wants the input `city`. It runs in the background there: its stream is opened first, tells of nodes, and
//! stays open behind its end.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use serde_json::{Value, json};

use crate::{
    marked,
    model::{Given, Said},
    vendor::{Api, Asked, Refusal, Reply},
};

/// The kinds of apps.
const MODES: [&str; 6] = ["chat", "agent-chat", "advanced-chat", "agent", "completion", "workflow"];
const PING: &str = "event: ping\n\n";

#[derive(Default)]
pub(crate) struct Dify(Mutex<BTreeMap<String, Conversation>>);

/// A conversation: whose, of which app, and what was said.
struct Conversation {
    user: String,
    mode: &'static str,
    given: Vec<Given>,
}

impl Api for Dify {
    fn lets_in(&self, request: &Request<Bytes>, key: &str) -> bool {
        let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        given.and_then(|given| given.strip_prefix("Bearer ")) == Some(key)
    }

    fn answer(&self, request: &Request<Bytes>, asked: &Asked<'_>) -> Reply {
        let path = request.uri().path();
        let known = MODES.iter().find_map(|mode| Some((*mode, path.strip_prefix(&format!("/{mode}/v1"))?)));
        let Some((mode, path)) = known.or_else(|| Some(("chat", path.strip_prefix("/v1")?))) else {
            return self.refuse(Refusal::NotFound("no such path".to_owned()));
        };
        let reply = match (request.method(), path) {
            (&Method::GET, "/info") => Ok(Reply::json(
                StatusCode::OK,
                &json!({ "name": "App", "description": "", "tags": [], "mode": mode, "author_name": "A" }),
            )),
            (&Method::GET, "/parameters") => Ok(Reply::json(StatusCode::OK, &parameters(mode))),
            (&Method::POST, "/chat-messages") => self.chat(request.body(), mode, asked),
            (&Method::POST, path) if path.starts_with("/chat-messages/") && path.ends_with("/stop") => {
                // Also of a run that nobody knows.
                Ok(Reply::json(StatusCode::OK, &json!({ "result": "success" })))
            }
            (&Method::DELETE, path) => match path.strip_prefix("/conversations/") {
                Some(id) => self.delete(id, request.body()),
                None => Err(Refusal::NotFound("no such path".to_owned())),
            },
            _ => Err(Refusal::NotFound("no such path".to_owned())),
        };
        reply.unwrap_or_else(|refusal| self.refuse(refusal))
    }

    fn refuse(&self, refusal: Refusal) -> Reply {
        let (status, code, message) = match refusal {
            Refusal::Unauthorized => {
                (StatusCode::UNAUTHORIZED, "unauthorized", "Access token is invalid".to_owned())
            }
            // As release 1.14 says it.
            Refusal::RateLimited => (
                StatusCode::BAD_REQUEST,
                "invalid_param",
                "Too many requests. Please try again later.".to_owned(),
            ),
            Refusal::QuotaUsedUp => {
                (StatusCode::BAD_REQUEST, "provider_quota_exceeded", "Your quota is used up.".to_owned())
            }
            Refusal::InputTooLong => (
                StatusCode::BAD_REQUEST,
                "completion_request_error",
                "This model's maximum context length is 8192 tokens.".to_owned(),
            ),
            Refusal::Overloaded => {
                (StatusCode::TOO_MANY_REQUESTS, "too_many_requests", "Too many requests.".to_owned())
            }
            Refusal::Down => (StatusCode::SERVICE_UNAVAILABLE, "unknown", "Service unavailable.".to_owned()),
            Refusal::Broken => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal_server_error",
                "Internal Server Error".to_owned(),
            ),
            Refusal::NotFound(what) => (StatusCode::NOT_FOUND, "not_found", what),
            Refusal::Invalid(code, what) => (StatusCode::BAD_REQUEST, code.unwrap_or("invalid_param"), what),
            Refusal::Status(status) => (status, "unknown", format!("Status {status}.")),
        };
        Reply::json(status, &json!({ "code": code, "message": message, "status": status.as_u16() }))
    }
}

fn parameters(mode: &str) -> Value {
    let required = mode == "advanced-chat";
    json!({
        "opening_statement": "",
        "user_input_form": [
            { "text-input": { "label": "City", "variable": "city", "required": required, "default": "", "max_length": 48 } },
            { "number": { "label": "Floor", "variable": "floor", "required": false } },
        ],
        "file_upload": {},
        "system_parameters": {},
    })
}

impl Dify {
    fn conversations(&self) -> MutexGuard<'_, BTreeMap<String, Conversation>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn delete(&self, id: &str, body: &[u8]) -> Result<Reply, Refusal> {
        let body: Value =
            serde_json::from_slice(body).map_err(|_| Refusal::Status(StatusCode::UNSUPPORTED_MEDIA_TYPE))?;
        let mut all = self.conversations();
        if all.get(id).is_none_or(|known| Some(known.user.as_str()) != body["user"].as_str()) {
            return Err(Refusal::NotFound("Conversation Not Exists.".to_owned()));
        }
        all.remove(id);
        Ok(Reply {
            status: StatusCode::NO_CONTENT,
            body: Bytes::new().into(),
            ..Reply::json(StatusCode::OK, &json!({}))
        })
    }

    fn chat(&self, body: &[u8], mode: &'static str, asked: &Asked<'_>) -> Result<Reply, Refusal> {
        let invalid = |why: &str| Err(Refusal::Invalid(None, why.to_owned()));
        let Ok(body) = serde_json::from_slice::<Value>(body) else {
            return invalid("The browser (or proxy) sent a request that this server could not understand.");
        };
        if matches!(mode, "completion" | "workflow") {
            return Err(Refusal::Invalid(
                Some("not_chat_app"),
                "Please check if your app mode matches.".to_owned(),
            ));
        }
        let Some(user) = body["user"].as_str() else { return invalid("Arg user must be provided.") };
        let Some(query) = body["query"].as_str().filter(|query| !query.is_empty()) else {
            return invalid("query is required");
        };
        let Some(inputs) = body["inputs"].as_object() else { return invalid("inputs is required") };
        let city = inputs.get("city");
        if city.is_some_and(|city| !city.is_string()) {
            return invalid("city in input form must be a string");
        }
        if mode == "advanced-chat" && city.is_none() {
            return invalid("city is required in input form");
        }
        let streams = body["response_mode"] == "streaming";
        if !streams && matches!(mode, "agent" | "agent-chat") {
            return invalid("Agent Chat App does not support blocking mode");
        }
        let mut all = self.conversations();
        let known = body["conversation_id"].as_str().unwrap_or_default();
        let id = if known.is_empty() {
            format!("9c0d1e2f-0000-4000-8000-{:012}", asked.number)
        } else {
            if all.get(known).is_none_or(|it| it.user != user || it.mode != mode) {
                return Err(Refusal::NotFound("Conversation Not Exists.".to_owned()));
            }
            known.to_owned()
        };
        let conversation = all.entry(id.clone()).or_insert_with(|| Conversation {
            user: user.to_owned(),
            mode,
            given: vec![Given::System(format!("city: {}", city.and_then(Value::as_str).unwrap_or("none")))],
        });
        conversation.given.extend(marked::read(query));
        for file in body["files"].as_array().into_iter().flatten() {
            if file["transfer_method"] != "remote_url" || !file["url"].is_string() {
                return invalid("Invalid file");
            }
            conversation.given.push(Given::Image(file["type"].as_str().unwrap_or_default().to_owned()));
        }
        let said = asked.model.answer(&conversation.given, &[], None)?;
        conversation.given.push(Given::Assistant(said.text()));
        drop(all);
        let answering = Answering { said: &said, asked, mode, conversation: &id };
        let reply =
            if streams { answering.stream() } else { Reply::json(StatusCode::OK, &answering.whole()) };
        Ok(reply.after(said.delay))
    }
}

struct Answering<'a> {
    said: &'a Said,
    asked: &'a Asked<'a>,
    mode: &'a str,
    conversation: &'a str,
}

impl Answering<'_> {
    fn id(&self, of: &str) -> String {
        format!("{of}-0000-4000-8000-{:012}", self.asked.number)
    }

    fn metadata(&self) -> Value {
        let (input, output) = (self.said.input_tokens, self.said.output_tokens);
        let usage = json!({
            "prompt_tokens": input,
            "completion_tokens": output,
            "total_tokens": input + output,
            "total_price": "0.000147",
            "currency": "USD",
            "latency": 1.42,
        });
        json!({ "annotation_reply": null, "retriever_resources": [], "usage": usage })
    }

    fn whole(&self) -> Value {
        json!({
            "event": "message",
            "task_id": self.id("0a1b2c3d"),
            "id": self.id("5f6a7b8c"),
            "message_id": self.id("5f6a7b8c"),
            "conversation_id": self.conversation,
            "mode": self.mode,
            "answer": self.said.text(),
            "metadata": self.metadata(),
            "created_at": self.asked.now,
        })
    }

    fn event(&self, name: &str, more: Value) -> String {
        let mut event = json!({
            "event": name,
            "task_id": self.id("0a1b2c3d"),
            "conversation_id": self.conversation,
            "message_id": self.id("5f6a7b8c"),
            "created_at": self.asked.now,
        });
        if let (Some(event), Value::Object(more)) = (event.as_object_mut(), more) {
            event.extend(more);
        }
        format!("data: {event}\n\n")
    }

    fn stream(&self) -> Reply {
        let of_agent = self.mode.starts_with("agent");
        let flows = self.mode == "advanced-chat";
        let name = if of_agent { "agent_message" } else { "message" };
        let run = self.id("aabbccdd");
        let mut events = Vec::new();
        if flows {
            events.push(PING.to_owned());
            let data = json!({ "id": run, "workflow_id": "w1", "inputs": {}, "reason": "initial" });
            events.push(self.event("workflow_started", json!({ "workflow_run_id": run, "data": data })));
            let data = json!({ "node_id": "llm1", "node_type": "llm", "title": "LLM", "index": 2, "outputs": { "secret": "not for customers" } });
            events.push(self.event("node_started", json!({ "workflow_run_id": run, "data": data })));
        }
        if of_agent {
            let thought = json!({ "id": "t1", "position": 1, "thought": "Hm.", "observation": "", "tool": "", "tool_input": "" });
            events.push(self.event("agent_thought", thought));
        }
        // What is written first is replaced, as moderation does.
        events.push(self.event(name, json!({ "id": self.id("5f6a7b8c"), "answer": "I think that " })));
        let first = self.said.tokens.first().cloned().unwrap_or_default();
        events.push(self.event("message_replace", json!({ "answer": first, "reason": "output_moderation" })));
        for token in self.said.tokens.iter().skip(1) {
            events.push(self.event(name, json!({ "id": self.id("5f6a7b8c"), "answer": token })));
        }
        events.push(PING.to_owned());
        if self.mode == "agent" {
            events.push(
                self.event("message", json!({ "id": self.id("5f6a7b8c"), "answer": self.said.text() })),
            );
        }
        events.push(self.event(
            "message_end",
            json!({ "id": self.id("5f6a7b8c"), "metadata": self.metadata(), "files": null }),
        ));
        if flows {
            let data = json!({ "id": run, "workflow_id": "w1", "status": "succeeded", "outputs": {}, "error": null, "total_tokens": 9 });
            events.push(self.event("workflow_finished", json!({ "workflow_run_id": run, "data": data })));
        }
        let filler = self.event(name, json!({ "id": self.id("5f6a7b8c"), "answer": "and so on " }));
        Reply::events(events, filler, self.said.pace)
    }
}
