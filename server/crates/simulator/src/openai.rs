//! `OpenAI`'s chat completions, and a server that is compatible with them as such servers are.
//! <https://platform.openai.com/docs/api-reference/chat> (read 2026-11-20)
//!
//! Models decide how it behaves: `gpt-5…` reason and refuse `max_tokens` and `temperature`; `local-…` are a compatible
//! server, which knows neither `max_completion_tokens`, `stream_options` nor the role `developer`, tells no usage, and
//! gives arguments as an object; all others take everything.

use std::collections::HashSet;

use bytes::Bytes;
use http::{HeaderName, Method, Request, StatusCode, header};
use serde_json::{Value, json};

use crate::{
    model::{Given, Said},
    vendor::{Api, Asked, Refusal, Reply},
};

/// The models that it lists.
const MODELS: [&str; 5] =
    ["gpt-5.4-mini", "gpt-4o-mini", "local-llama", "text-embedding-3-small", "whisper-1"];
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// What a request may hold.
const PARAMETERS: [&str; 31] = [
    "model",
    "messages",
    "max_completion_tokens",
    "max_tokens",
    "temperature",
    "top_p",
    "stop",
    "n",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
    "stream",
    "stream_options",
    "reasoning_effort",
    "verbosity",
    "service_tier",
    "metadata",
    "store",
    "safety_identifier",
    "prompt_cache_key",
    "user",
    "modalities",
    "prediction",
    "web_search_options",
];

pub(crate) struct OpenAi;

impl Api for OpenAi {
    fn lets_in(&self, request: &Request<Bytes>, key: &str) -> bool {
        let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        given.and_then(|given| given.strip_prefix("Bearer ")) == Some(key)
    }

    fn answer(&self, request: &Request<Bytes>, asked: &Asked<'_>) -> Reply {
        let reply = match (request.method(), request.uri().path()) {
            (&Method::POST, "/v1/chat/completions") => complete(request.body(), asked),
            (&Method::GET, "/v1/models") => Ok(models(asked)),
            (_, path) => Err(Refusal::NotFound(format!("Invalid URL ({} {path})", request.method()))),
        };
        let reply = reply.unwrap_or_else(|refusal| self.refuse(refusal));
        reply.with(REQUEST_ID, &format!("req_sim{}", asked.number))
    }

    fn refuse(&self, refusal: Refusal) -> Reply {
        let (status, kind, param, code, message) = match refusal {
            Refusal::Unauthorized => (
                StatusCode::UNAUTHORIZED,
                "invalid_request_error",
                None,
                Some("invalid_api_key"),
                "Incorrect API key provided.".to_owned(),
            ),
            Refusal::RateLimited => (
                StatusCode::TOO_MANY_REQUESTS,
                "requests",
                None,
                Some("rate_limit_exceeded"),
                "Rate limit reached.".to_owned(),
            ),
            Refusal::QuotaUsedUp => (
                StatusCode::TOO_MANY_REQUESTS,
                "insufficient_quota",
                None,
                Some("insufficient_quota"),
                "You exceeded your current quota, please check your plan and billing details.".to_owned(),
            ),
            Refusal::Overloaded => (
                StatusCode::SERVICE_UNAVAILABLE,
                "server_error",
                None,
                Some("server_is_overloaded"),
                "The engine is currently overloaded, please try again later.".to_owned(),
            ),
            Refusal::InputTooLong => (
                StatusCode::BAD_REQUEST,
                "invalid_request_error",
                Some("messages"),
                Some("context_length_exceeded"),
                "This model's maximum context length is 8192 tokens.".to_owned(),
            ),
            Refusal::Down => (
                StatusCode::SERVICE_UNAVAILABLE,
                "server_error",
                None,
                None,
                "Service unavailable.".to_owned(),
            ),
            Refusal::Broken => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "server_error",
                None,
                None,
                "The server had an error.".to_owned(),
            ),
            Refusal::NotFound(what) => {
                (StatusCode::NOT_FOUND, "invalid_request_error", Some("model"), Some("model_not_found"), what)
            }
            Refusal::Invalid(param, what) => {
                let code = param.is_some().then_some("unsupported_parameter");
                (StatusCode::BAD_REQUEST, "invalid_request_error", param, code, what)
            }
            Refusal::Status(status) => (status, "server_error", None, None, format!("Status {status}.")),
        };
        let reply = Reply::json(
            status,
            &json!({ "error": { "message": message, "type": kind, "param": param, "code": code } }),
        );
        match code {
            Some("insufficient_quota") => reply.with(SHOULD_RETRY, "false"),
            _ => reply,
        }
    }
}

fn models(asked: &Asked<'_>) -> Reply {
    let models: Vec<_> = MODELS
        .iter()
        .map(|id| json!({ "id": id, "object": "model", "created": asked.now, "owned_by": "system", "shutdown_date": null }))
        .collect();
    Reply::json(StatusCode::OK, &json!({ "object": "list", "data": models }))
}

/// How a model behaves.
struct Manners {
    reasons: bool,
    compatible: bool,
}

fn complete(body: &[u8], asked: &Asked<'_>) -> Result<Reply, Refusal> {
    let invalid = |param, why: &str| Err(Refusal::Invalid(param, why.to_owned()));
    let Ok(body) = serde_json::from_slice::<Value>(body) else {
        return invalid(None, "We could not parse the JSON body of your request.");
    };
    let Some(model) = body["model"].as_str() else {
        return invalid(None, "you must provide a model parameter");
    };
    if !["gpt-", "local-"].iter().any(|known| model.starts_with(known)) {
        return Err(Refusal::NotFound(format!(
            "The model `{model}` does not exist or you do not have access to it."
        )));
    }
    let manners = Manners { reasons: model.starts_with("gpt-5"), compatible: model.starts_with("local-") };
    check_parameters(&body, &manners)?;
    let given = read_messages(&body["messages"], &manners)?;
    let tools = read_tools(&body)?;
    let most = body["max_completion_tokens"].as_u64().or(body["max_tokens"].as_u64());
    let said = asked.model.answer(&given, &tools, most)?;
    let answer = Answering { said: &said, asked, model, manners: &manners };
    let reply = if body["stream"] == true {
        let usage = body["stream_options"]["include_usage"] == true;
        answer.stream(usage)
    } else {
        Reply::json(StatusCode::OK, &answer.whole())
    };
    Ok(reply.after(said.delay))
}

fn check_parameters(body: &Value, manners: &Manners) -> Result<(), Refusal> {
    let refused = |name: &'static str| {
        Err(Refusal::Invalid(
            Some(name),
            format!("Unsupported parameter: '{name}' is not supported with this model."),
        ))
    };
    for name in body.as_object().into_iter().flat_map(serde_json::Map::keys) {
        if !PARAMETERS.contains(&name.as_str()) {
            return Err(Refusal::Invalid(None, format!("Unrecognized request argument supplied: {name}")));
        }
    }
    for (name, bad) in [
        ("max_tokens", manners.reasons),
        ("temperature", manners.reasons),
        ("top_p", manners.reasons),
        ("max_completion_tokens", manners.compatible),
        ("stream_options", manners.compatible),
    ] {
        if bad && !body[name].is_null() {
            return refused(name);
        }
    }
    if !body["stream_options"].is_null() && body["stream"] != true {
        let why = "The 'stream_options' parameter is only allowed when 'stream' is enabled.";
        return Err(Refusal::Invalid(Some("stream_options"), why.to_owned()));
    }
    Ok(())
}

/// Reads the messages as strictly as the vendor: after calls of tools exactly one result for each, before anything else.
fn read_messages(messages: &Value, manners: &Manners) -> Result<Vec<Given>, Refusal> {
    let invalid = |why: String| Refusal::Invalid(Some("messages"), why);
    let messages = messages.as_array().filter(|messages| !messages.is_empty());
    let messages = messages.ok_or_else(|| invalid("Expected a non-empty array of messages.".to_owned()))?;
    let (mut given, mut owed) = (Vec::new(), HashSet::new());
    for (at, message) in messages.iter().enumerate() {
        let role = message["role"].as_str().unwrap_or_default();
        let text = || message["content"].as_str().map(str::to_owned);
        if role != "tool" && !owed.is_empty() {
            return Err(invalid(
                "An assistant message with 'tool_calls' must be followed by tool messages responding to each \
                 'tool_call_id'."
                    .to_owned(),
            ));
        }
        let no_content = || invalid(format!("Invalid value for 'content' of messages[{at}]."));
        match role {
            "developer" if manners.compatible => {
                return Err(invalid("Unexpected role 'developer' in messages.".to_owned()));
            }
            "system" | "developer" => given.push(Given::System(text().ok_or_else(no_content)?)),
            "user" => match &message["content"] {
                Value::String(text) => given.push(Given::User(text.clone())),
                Value::Array(parts) => {
                    for part in parts {
                        given.push(read_part(part).ok_or_else(no_content)?);
                    }
                }
                _ => return Err(no_content()),
            },
            "assistant" => {
                if let Some(calls) = message["tool_calls"].as_array() {
                    for call in calls {
                        let known = call["type"] == "function" && call["function"]["arguments"].is_string();
                        let id = call["id"].as_str().filter(|id| known && !id.is_empty());
                        owed.insert(id.ok_or_else(no_content)?.to_owned());
                    }
                    given.push(Given::Called);
                } else {
                    given.push(Given::Assistant(text().ok_or_else(no_content)?));
                }
            }
            "tool" => {
                if !owed.remove(message["tool_call_id"].as_str().unwrap_or_default()) {
                    return Err(invalid("messages with role 'tool' must be a response to a preceding message with 'tool_calls'.".to_owned()));
                }
                given.push(Given::Result(text().ok_or_else(no_content)?));
            }
            _ => return Err(invalid(format!("Invalid value: '{role}'."))),
        }
    }
    if owed.is_empty() { Ok(given) } else { Err(invalid("tool messages are missing.".to_owned())) }
}

fn read_part(part: &Value) -> Option<Given> {
    match part["type"].as_str()? {
        "text" => Some(Given::User(part["text"].as_str()?.to_owned())),
        "image_url" => {
            let url = part["image_url"]["url"].as_str()?;
            let kind = url.strip_prefix("data:").and_then(|data| data.split(';').next()).unwrap_or("image");
            Some(Given::Image(kind.to_owned()))
        }
        _ => None,
    }
}

fn read_tools(body: &Value) -> Result<Vec<String>, Refusal> {
    let tools = body["tools"].as_array().map(Vec::as_slice).unwrap_or_default();
    let names = tools.iter().map(|tool| {
        let function = &tool["function"];
        let name = function["name"].as_str().filter(|name| {
            let fits = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
            (1..=64).contains(&name.len()) && name.chars().all(fits)
        });
        match name {
            Some(name) if tool["type"] == "function" && function["parameters"].is_object() => {
                Ok(name.to_owned())
            }
            _ => Err(Refusal::Invalid(Some("tools"), "Invalid schema for a function.".to_owned())),
        }
    });
    names.collect()
}

/// An answer on its way.
struct Answering<'a> {
    said: &'a Said,
    asked: &'a Asked<'a>,
    model: &'a str,
    manners: &'a Manners,
}

impl Answering<'_> {
    fn id(&self) -> String {
        format!("chatcmpl-sim{}", self.asked.number)
    }

    fn model(&self) -> String {
        if self.manners.compatible { self.model.to_owned() } else { format!("{}-2026-03-01", self.model) }
    }

    fn finish_reason(&self) -> &'static str {
        match self.said {
            Said { cut: true, .. } => "length",
            // Compatible servers say `stop` also then.
            Said { call: Some(_), .. } if !self.manners.compatible => "tool_calls",
            _ => "stop",
        }
    }

    fn call(&self) -> Option<Value> {
        let (name, arguments) = self.said.call.as_ref()?;
        let arguments = if self.manners.compatible && !self.said.malformed {
            arguments.clone()
        } else {
            self.said.arguments().into()
        };
        let id = (!self.manners.compatible).then(|| format!("call_sim{}", self.asked.number));
        Some(json!({ "id": id, "type": "function", "function": { "name": name, "arguments": arguments } }))
    }

    fn usage(&self) -> Value {
        let (input, output) = (self.said.input_tokens, self.said.output_tokens);
        json!({
            "prompt_tokens": input,
            "completion_tokens": output,
            "total_tokens": input + output,
            "prompt_tokens_details": { "cached_tokens": 1, "audio_tokens": 0 },
            "completion_tokens_details": { "reasoning_tokens": 0, "audio_tokens": 0 },
        })
    }

    fn whole(&self) -> Value {
        let text = self.said.text();
        let mut message = json!({ "role": "assistant", "content": text, "refusal": null, "annotations": [] });
        if self.said.refused {
            message["refusal"] = text.into();
            message["content"] = Value::Null;
        }
        if let Some(call) = self.call() {
            message["content"] = Value::Null;
            message["tool_calls"] = json!([call]);
        }
        let mut whole = json!({
            "id": self.id(),
            "object": "chat.completion",
            "created": self.asked.now,
            "model": self.model(),
            "choices": [{
                "index": 0,
                "message": message,
                "logprobs": null,
                "finish_reason": self.finish_reason(),
            }],
            "usage": self.usage(),
            "service_tier": "default",
        });
        if self.manners.compatible {
            whole.as_object_mut().expect("it is one").remove("usage");
        }
        whole
    }

    fn stream(&self, usage: bool) -> Reply {
        let chunk = |choices: Value, usage: Value| {
            let chunk = json!({
                "id": self.id(),
                "object": "chat.completion.chunk",
                "created": self.asked.now,
                "model": self.model(),
                "choices": choices,
                "usage": usage,
            });
            format!("data: {chunk}\n\n")
        };
        let delta = |delta: Value, finish: Option<&str>| {
            chunk(json!([{ "index": 0, "delta": delta, "finish_reason": finish }]), Value::Null)
        };
        let mut events = vec![delta(json!({ "role": "assistant", "content": "" }), None)];
        let member = if self.said.refused { "refusal" } else { "content" };
        events.extend(self.said.tokens.iter().map(|token| delta(json!({ member: token }), None)));
        if let Some(mut call) = self.call() {
            call["index"] = 0.into();
            let arguments = call["function"]["arguments"].take();
            if let Some(arguments) = arguments.as_str() {
                call["function"]["arguments"] = "".into();
                events.push(delta(json!({ "tool_calls": [call] }), None));
                let (first, second) = arguments.split_at(arguments.floor_char_boundary(arguments.len() / 2));
                for part in [first, second] {
                    let part = json!({ "index": 0, "function": { "arguments": part } });
                    events.push(delta(json!({ "tool_calls": [part] }), None));
                }
            } else {
                call["function"]["arguments"] = arguments;
                events.push(delta(json!({ "tool_calls": [call] }), None));
            }
        }
        events.push(delta(json!({}), Some(self.finish_reason())));
        if usage {
            events.push(chunk(json!([]), self.usage()));
        }
        // Not every compatible server says that it is done.
        if !self.manners.compatible {
            events.push("data: [DONE]\n\n".to_owned());
        }
        Reply::events(events, delta(json!({ member: "and so on " }), None), self.said.pace)
    }
}
