//! Anthropic's messages.
//! <https://platform.claude.com/docs/en/api/messages> (read 2026-11-20)
//!
//! It is as strict as the vendor: `max_tokens` is required, the first message is the user's and the last is not the
//! model's, results of tools come first in the message behind their calls, and what a thinking model thought before a call
//! comes back unchanged. Models but `claude-haiku-4-5` refuse sampling parameters.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, Request, StatusCode};
use serde_json::{Value, json};

use crate::{
    model::{Given, Said},
    vendor::{Api, Asked, Refusal, Reply},
};

/// The models that it lists.
const MODELS: [(&str, &str); 3] = [
    ("claude-opus-5-5", "Claude Opus 5.5"),
    ("claude-sonnet-5-5", "Claude Sonnet 5.5"),
    ("claude-haiku-4-5", "Claude Haiku 4.5"),
];
/// The one that still takes sampling parameters.
const OLDER: &str = "claude-haiku-4-5";
const VERSIONS: [&str; 2] = ["2023-06-01", "2026-10-21"];
const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
/// What a thinking model thinks, and how it signs that.
const THOUGHT: (&str, &str) = ("What does the customer want?", "c2ltdWxhdGVk");
/// What a request may hold.
const PARAMETERS: [&str; 16] = [
    "model",
    "max_tokens",
    "messages",
    "system",
    "stop_sequences",
    "tools",
    "tool_choice",
    "thinking",
    "output_config",
    "metadata",
    "stream",
    "service_tier",
    "temperature",
    "top_p",
    "top_k",
    "container",
];

pub(crate) struct Anthropic;

impl Api for Anthropic {
    fn lets_in(&self, request: &Request<Bytes>, key: &str) -> bool {
        header(request.headers(), "x-api-key") == Some(key)
    }

    fn answer(&self, request: &Request<Bytes>, asked: &Asked<'_>) -> Reply {
        let version = header(request.headers(), "anthropic-version");
        let reply = match (request.method(), request.uri().path()) {
            _ if !version.is_some_and(|version| VERSIONS.contains(&version)) => {
                Err(invalid("anthropic-version: header is required"))
            }
            (&Method::POST, "/v1/messages") => complete(request.body(), version == Some(VERSIONS[1]), asked),
            (&Method::GET, "/v1/models") => models(request.uri().query().unwrap_or_default()),
            _ => Err(Refusal::NotFound("Not found".to_owned())),
        };
        let reply = reply.unwrap_or_else(|refusal| self.refuse(refusal));
        reply.with(REQUEST_ID, &format!("req_sim{}", asked.number))
    }

    fn refuse(&self, refusal: Refusal) -> Reply {
        let (status, kind, message) = match refusal {
            Refusal::Unauthorized => (401, "authentication_error", "invalid x-api-key".to_owned()),
            Refusal::RateLimited => {
                (429, "rate_limit_error", "This request would exceed your rate limit.".to_owned())
            }
            Refusal::QuotaUsedUp => (402, "billing_error", "Your credit balance is too low.".to_owned()),
            Refusal::Overloaded => (529, "overloaded_error", "Overloaded".to_owned()),
            Refusal::InputTooLong => (
                400,
                "invalid_request_error",
                "prompt is too long: 210000 tokens > 200000 maximum".to_owned(),
            ),
            Refusal::Down => (503, "api_error", "Service unavailable".to_owned()),
            Refusal::Broken => (500, "api_error", "Internal server error".to_owned()),
            Refusal::NotFound(what) => (404, "not_found_error", what),
            Refusal::Invalid(_, what) => (400, "invalid_request_error", what),
            Refusal::Status(status) => {
                let kind = if status.is_client_error() { "invalid_request_error" } else { "api_error" };
                (status.as_u16(), kind, format!("Status {status}"))
            }
        };
        let body = json!({ "type": "error", "error": { "type": kind, "message": message }, "request_id": "req_sim" });
        Reply::json(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), &body)
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn invalid(why: impl Into<String>) -> Refusal {
    Refusal::Invalid(None, why.into())
}

/// Lists the models by pages, as long as asked, 20 by default.
fn models(query: &str) -> Result<Reply, Refusal> {
    let parameter = |name: &str| {
        query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    };
    let limit: usize =
        parameter("limit").unwrap_or("20").parse().map_err(|_| invalid("limit: must be a number"))?;
    if !(1..=1_000).contains(&limit) {
        return Err(invalid("limit: must be 1 to 1000"));
    }
    // Pages are as short as possible, so that who reads on is seen to.
    let limit = limit.min(2);
    let begins = parameter("after_id")
        .map_or(0, |after| MODELS.iter().position(|(id, _)| *id == after).map_or(MODELS.len(), |at| at + 1));
    let page: Vec<_> = MODELS[begins..].iter().take(limit).collect();
    let data: Vec<_> = page
        .iter()
        .map(|(id, name)| {
            json!({
                "id": id, "type": "model", "display_name": name, "created_at": "2026-09-01T00:00:00Z",
                "max_input_tokens": 200_000, "max_tokens": 64_000, "lifecycle": "active",
            })
        })
        .collect();
    let body = json!({
        "data": data,
        "has_more": begins + page.len() < MODELS.len(),
        "first_id": page.first().map(|(id, _)| id),
        "last_id": page.last().map(|(id, _)| id),
    });
    Ok(Reply::json(StatusCode::OK, &body))
}

fn complete(body: &[u8], newest: bool, asked: &Asked<'_>) -> Result<Reply, Refusal> {
    let body: Value =
        serde_json::from_slice(body).map_err(|_| invalid("The request body is not valid JSON"))?;
    for name in body.as_object().into_iter().flat_map(serde_json::Map::keys) {
        if !PARAMETERS.contains(&name.as_str()) {
            return Err(invalid(format!("{name}: Extra inputs are not permitted")));
        }
    }
    let model = body["model"].as_str().ok_or_else(|| invalid("model: Field required"))?;
    if !MODELS.iter().any(|(known, _)| *known == model) {
        return Err(Refusal::NotFound(format!("model: {model}")));
    }
    let most = body["max_tokens"].as_u64().filter(|most| *most > 0);
    let most = most.ok_or_else(|| invalid("max_tokens: Field required"))?;
    for name in ["temperature", "top_p", "top_k"] {
        if !body[name].is_null() && (newest || model != OLDER) {
            return Err(invalid(format!("{name}: this parameter is not supported by this model")));
        }
    }
    let thinks = match body["thinking"]["type"].as_str() {
        Some("enabled") => {
            let budget = body["thinking"]["budget_tokens"].as_u64().unwrap_or_default();
            if !(1_024..most).contains(&budget) {
                return Err(invalid(
                    "thinking.enabled.budget_tokens: must be 1024 or more, and less than max_tokens",
                ));
            }
            true
        }
        kind => kind == Some("adaptive"),
    };
    let mut given = system(&body["system"])?;
    given.extend(read_messages(&body["messages"], thinks)?);
    let tools = body["tools"].as_array().map(Vec::as_slice).unwrap_or_default().iter().map(|tool| {
        let fits = tool["input_schema"]["type"] == "object";
        let name = tool["name"].as_str().filter(|_| fits);
        name.map(str::to_owned).ok_or_else(|| invalid("tools.0.input_schema.type: Field required"))
    });
    let tools = tools.collect::<Result<Vec<_>, _>>()?;
    let said = asked.model.answer(&given, &tools, Some(most))?;
    let answer = Answering { said: &said, asked, model, thinks };
    let reply =
        if body["stream"] == true { answer.stream() } else { Reply::json(StatusCode::OK, &answer.whole()) };
    Ok(reply.after(said.delay))
}

fn system(system: &Value) -> Result<Vec<Given>, Refusal> {
    match system {
        Value::Null => Ok(Vec::new()),
        Value::String(text) => Ok(vec![Given::System(text.clone())]),
        Value::Array(blocks) => {
            let text = |block: &Value| block["text"].as_str().map(|text| Given::System(text.to_owned()));
            blocks.iter().map(text).collect::<Option<_>>().ok_or_else(|| invalid("system: invalid block"))
        }
        _ => Err(invalid("system: Input should be a valid list")),
    }
}

/// Reads the messages as strictly as the vendor.
fn read_messages(messages: &Value, thinks: bool) -> Result<Vec<Given>, Refusal> {
    let messages = messages.as_array().filter(|messages| !messages.is_empty());
    let messages = messages.ok_or_else(|| invalid("messages: at least one message is required"))?;
    if messages[0]["role"] != "user" {
        return Err(invalid("messages: first message must use the \"user\" role"));
    }
    if messages[messages.len() - 1]["role"] != "user" {
        return Err(invalid("This model does not support assistant message prefill."));
    }
    let (mut given, mut owed) = (Vec::new(), Vec::new());
    for (at, message) in messages.iter().enumerate() {
        let single;
        let blocks = match &message["content"] {
            Value::Array(blocks) => blocks.as_slice(),
            Value::String(text) => {
                single = json!({ "type": "text", "text": text });
                std::slice::from_ref(&single)
            }
            _ => return Err(invalid(format!("messages.{at}.content: Input should be a valid list"))),
        };
        if message["role"] == "user" {
            take_results(blocks, &mut owed).map_err(|why| invalid(format!("messages.{at}: {why}")))?;
        } else if thinks && blocks.iter().any(|block| block["type"] == "tool_use") {
            let first = &blocks[0];
            if first["type"] != "thinking"
                || first["thinking"] != THOUGHT.0
                || first["signature"] != THOUGHT.1
            {
                return Err(invalid(format!(
                    "messages.{at}.content.0: a thinking block must come back unchanged"
                )));
            }
        }
        for block in blocks {
            let read = read_block(block, &message["role"], &mut owed);
            given.extend(read.ok_or_else(|| invalid(format!("messages.{at}.content: invalid block")))?);
        }
    }
    Ok(given)
}

/// All results that are owed must come first.
fn take_results(blocks: &[Value], owed: &mut Vec<String>) -> Result<(), String> {
    let results = blocks.iter().take_while(|block| block["type"] == "tool_result");
    for result in results {
        let id = result["tool_use_id"].as_str().unwrap_or_default();
        let at = owed.iter().position(|owed| owed == id);
        owed.swap_remove(
            at.ok_or_else(|| format!("unexpected `tool_use_id` found in `tool_result` blocks: {id}"))?,
        );
    }
    if owed.is_empty() {
        Ok(())
    } else {
        Err(format!(
            "`tool_use` ids were found without `tool_result` blocks immediately after: {}",
            owed.join(", ")
        ))
    }
}

fn read_block(block: &Value, role: &Value, owed: &mut Vec<String>) -> Option<Vec<Given>> {
    let given = match (block["type"].as_str()?, role.as_str()?) {
        ("text", role) => {
            let text = block["text"].as_str().filter(|text| !text.trim().is_empty())?.to_owned();
            if role == "user" { Given::User(text) } else { Given::Assistant(text) }
        }
        ("image", "user") => {
            let source = &block["source"];
            let kind = match source["type"].as_str()? {
                "url" => source["url"].as_str().filter(|url| url.starts_with("https://")).map(|_| "image")?,
                "base64" => source["media_type"].as_str()?,
                _ => return None,
            };
            Given::Image(kind.to_owned())
        }
        ("tool_result", "user") => Given::Result(block["content"].as_str()?.to_owned()),
        ("tool_use", "assistant") => {
            let id = block["id"].as_str().filter(|id| !id.is_empty() && block["input"].is_object())?;
            owed.push(id.to_owned());
            Given::Called
        }
        ("thinking" | "redacted_thinking", "assistant") => return Some(Vec::new()),
        _ => return None,
    };
    Some(vec![given])
}

/// An answer on its way.
struct Answering<'a> {
    said: &'a Said,
    asked: &'a Asked<'a>,
    model: &'a str,
    thinks: bool,
}

impl Answering<'_> {
    fn stop_reason(&self) -> &'static str {
        match self.said {
            Said { refused: true, .. } => "refusal",
            Said { cut: true, .. } => "max_tokens",
            Said { call: Some(_), .. } => "tool_use",
            _ => "end_turn",
        }
    }

    fn message(&self, content: &[Value], stop_reason: Option<&str>, usage: &Value) -> Value {
        json!({
            "id": format!("msg_sim{}", self.asked.number),
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": content,
            "stop_reason": stop_reason,
            "stop_sequence": null,
            "usage": usage,
        })
    }

    /// Part of the input came from the vendor's cache.
    fn usage(&self, output_tokens: i64) -> Value {
        json!({
            "input_tokens": self.said.input_tokens - 1,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 1,
            "output_tokens": output_tokens,
            "service_tier": "standard",
        })
    }

    fn call(&self, input: &Value) -> Option<Value> {
        let (name, _) = self.said.call.as_ref()?;
        Some(
            json!({ "type": "tool_use", "id": format!("toolu_sim{}", self.asked.number), "name": name, "input": input }),
        )
    }

    fn thought(&self) -> Option<Value> {
        self.thinks.then(|| json!({ "type": "thinking", "thinking": THOUGHT.0, "signature": THOUGHT.1 }))
    }

    fn whole(&self) -> Value {
        let text = Some(self.said.text()).filter(|text| !text.is_empty());
        let input = match &self.said.call {
            Some((_, arguments)) if !self.said.malformed => arguments.clone(),
            _ => self.said.arguments().into(),
        };
        let text = text.map(|text| json!({ "type": "text", "text": text }));
        let content: Vec<_> = self.thought().into_iter().chain(text).chain(self.call(&input)).collect();
        self.message(&content, Some(self.stop_reason()), &self.usage(self.said.output_tokens))
    }

    fn stream(&self) -> Reply {
        let event = |event: Value| {
            format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or_default())
        };
        let delta = |index: usize, delta: Value| {
            event(json!({ "type": "content_block_delta", "index": index, "delta": delta }))
        };
        let text = |text: &str| json!({ "type": "text_delta", "text": text });
        let start = self.message(&[], None, &self.usage(1));
        let mut events = vec![event(json!({ "type": "message_start", "message": start }))];
        let mut index = 0;
        let mut block = |events: &mut Vec<String>, begun: Value, deltas: Vec<Value>| {
            events.push(event(
                json!({ "type": "content_block_start", "index": index, "content_block": begun }),
            ));
            events.extend(deltas.into_iter().map(|piece| delta(index, piece)));
            events.push(event(json!({ "type": "content_block_stop", "index": index })));
            index += 1;
        };
        if self.thinks {
            let begun = json!({ "type": "thinking", "thinking": "", "signature": "" });
            let deltas = vec![
                json!({ "type": "thinking_delta", "thinking": THOUGHT.0 }),
                json!({ "type": "signature_delta", "signature": THOUGHT.1 }),
            ];
            block(&mut events, begun, deltas);
        }
        if !self.said.tokens.is_empty() {
            let deltas = self.said.tokens.iter().map(|token| text(token)).collect();
            block(&mut events, json!({ "type": "text", "text": "" }), deltas);
            events.insert(2, event(json!({ "type": "ping" })));
        }
        if let Some(begun) = self.call(&json!({})) {
            let arguments = self.said.arguments();
            let (first, second) = arguments.split_at(arguments.floor_char_boundary(arguments.len() / 2));
            let piece = |part: &str| json!({ "type": "input_json_delta", "partial_json": part });
            block(&mut events, begun, vec![piece(""), piece(first), piece(second)]);
        }
        events.push(event(json!({
            "type": "message_delta",
            "delta": { "stop_reason": self.stop_reason(), "stop_sequence": null },
            "usage": { "output_tokens": self.said.output_tokens },
        })));
        events.push(event(json!({ "type": "message_stop" })));
        Reply::events(events, delta(0, text("and so on ")), self.said.pace)
    }
}
