//! The body of a request for a message.

use bytes::Bytes;
use domain::engine::{Answer, Completion, ToolSpec};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{
    answer,
    settings::{Effort, Settings, Thinking, Tier},
};
use crate::conversation::{Called, Conversation, Piece, Turn};

/// Writes the body.
pub(super) fn body(request: &Completion, settings: &Settings) -> Bytes {
    // The vendor fetches images over https alone.
    let conversation = Conversation::new(request, |url| settings.images && url.starts_with("https://"));
    let model = &request.engine.model;
    let cache = settings.cache_instructions;
    let tool_choice = settings
        .parallel_tool_calls
        .filter(|_| !request.tools.is_empty())
        .map(|parallel| ToolChoice { r#type: "auto", disable_parallel_tool_use: !parallel });
    let format = settings.output_schema.as_ref().map(|schema| Format { r#type: "json_schema", schema });
    let body = Body {
        model,
        max_tokens: settings.max_tokens(request.engine.max_output_tokens),
        system: system(conversation.system.as_ref(), cache),
        messages: conversation.turns.iter().flat_map(|turn| messages(turn, model)).collect(),
        tools: request.tools.iter().map(Tool::new).collect(),
        tool_choice,
        temperature: request.engine.temperature,
        top_p: settings.top_p,
        top_k: settings.top_k,
        stop_sequences: &settings.stop_sequences,
        thinking: settings.thinking,
        output_config: (settings.effort.is_some() || format.is_some())
            .then_some(OutputConfig { effort: settings.effort, format }),
        service_tier: settings.service_tier,
        stream: settings.stream,
    };
    serde_json::to_vec(&body).expect("strings and numbers can be written as JSON").into()
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    max_tokens: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    system: Option<Value>,
    messages: Vec<Message>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<ToolChoice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<i32>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    stop_sequences: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<Thinking>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_config: Option<OutputConfig<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<Tier>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stream: bool,
}

#[derive(Serialize)]
struct Message {
    role: &'static str,
    content: Value,
}

#[derive(Serialize)]
struct Tool<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'a str,
    input_schema: &'a Value,
}

#[derive(Serialize)]
struct ToolChoice {
    r#type: &'static str,
    disable_parallel_tool_use: bool,
}

#[derive(Serialize)]
struct OutputConfig<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    effort: Option<Effort>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<Format<'a>>,
}

#[derive(Serialize)]
struct Format<'a> {
    r#type: &'static str,
    schema: &'a Map<String, Value>,
}

impl<'a> Tool<'a> {
    fn new(spec: &'a ToolSpec) -> Self {
        Self { name: &spec.name, description: &spec.description, input_schema: &spec.parameters }
    }
}

/// The mark for keeping stands at the end of the instructions; the tools come before them and are kept with them.
fn system(text: &str, cache: bool) -> Option<Value> {
    match (text.is_empty(), cache) {
        (true, _) => None,
        (false, false) => Some(text.into()),
        (false, true) => {
            Some(json!([{ "type": "text", "text": text, "cache_control": { "type": "ephemeral" } }]))
        }
    }
}

fn messages(turn: &Turn<'_>, model: &str) -> Vec<Message> {
    match turn {
        Turn::User(pieces) => vec![Message { role: "user", content: content_of(pieces) }],
        Turn::Assistant(text) => vec![Message { role: "assistant", content: text.as_ref().into() }],
        Turn::Step { answer, calls } => {
            let results: Vec<_> = calls.iter().map(result).collect();
            vec![
                Message { role: "assistant", content: said(answer, calls, model) },
                Message { role: "user", content: results.into() },
            ]
        }
    }
}

fn content_of(pieces: &[Piece<'_>]) -> Value {
    if let [Piece::Text(text)] = pieces {
        return text.as_ref().into();
    }
    let block = |piece: &Piece<'_>| match piece {
        Piece::Text(text) => json!({ "type": "text", "text": text }),
        Piece::Image(url) => json!({ "type": "image", "source": { "type": "url", "url": url } }),
    };
    pieces.iter().map(block).collect()
}

/// What the model answered in an earlier step: unchanged where that matters and this model said it, else in our words.
fn said(answer: &Answer, calls: &[Called<'_>], model: &str) -> Value {
    if let Some(content) = answer::carried(answer, model) {
        return content;
    }
    let text = Some(answer.text.as_str()).filter(|text| !text.trim().is_empty());
    let text = text.map(|text| json!({ "type": "text", "text": text }));
    let calls = calls.iter().map(|called| {
        let input = answer::input(&called.call.arguments);
        json!({ "type": "tool_use", "id": called.id, "name": called.call.name, "input": input })
    });
    text.into_iter().chain(calls).collect()
}

fn result(called: &Called<'_>) -> Value {
    let mut block =
        json!({ "type": "tool_result", "tool_use_id": called.id, "content": called.result_text() });
    if called.result.get("error").is_some() {
        block["is_error"] = true.into();
    }
    block
}
