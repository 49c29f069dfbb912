//! The body of a completion.

use bytes::Bytes;
use domain::engine::{Completion, ToolCall};
use serde::Serialize;
use serde_json::Value;

use super::settings::{
    Account, Effort, InstructionsRole, MaxTokens, ResponseFormat, Settings, Stop, Tier, Verbosity,
};
use crate::conversation::{Conversation, Piece, Turn};

/// What servers differ in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) max_tokens: MaxTokens,
    pub(super) role: InstructionsRole,
    pub(super) stream_options: bool,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            max_tokens: MaxTokens::MaxCompletionTokens,
            role: InstructionsRole::System,
            stream_options: true,
        }
    }
}

impl Shape {
    /// What the settings say, and where they don't, what most servers take.
    pub(super) fn of(settings: &Settings, account: &Account) -> Self {
        let usual = if account.is_genuine() { MaxTokens::MaxCompletionTokens } else { MaxTokens::MaxTokens };
        Self {
            max_tokens: settings.max_tokens_parameter.unwrap_or(usual),
            role: settings.instructions_role.unwrap_or(InstructionsRole::System),
            stream_options: settings.stream_options.unwrap_or(true),
        }
    }
}

/// Writes the body.
pub(super) fn body(request: &Completion, settings: &Settings, shape: Shape) -> Bytes {
    let conversation = Conversation::new(request, |_| settings.images);
    let most = request.engine.max_output_tokens;
    let body = Body {
        model: &request.engine.model,
        messages: messages(&conversation, shape.role),
        tools: request.tools.iter().map(Tool::new).collect(),
        max_completion_tokens: most.filter(|_| shape.max_tokens == MaxTokens::MaxCompletionTokens),
        max_tokens: most.filter(|_| shape.max_tokens == MaxTokens::MaxTokens),
        temperature: request.engine.temperature,
        top_p: settings.top_p,
        presence_penalty: settings.presence_penalty,
        frequency_penalty: settings.frequency_penalty,
        seed: settings.seed,
        stop: settings.stop.as_ref(),
        reasoning_effort: settings.reasoning_effort,
        verbosity: settings.verbosity,
        service_tier: settings.service_tier,
        // The vendor refuses it where there are no tools.
        parallel_tool_calls: settings.parallel_tool_calls.filter(|_| !request.tools.is_empty()),
        response_format: settings.response_format.as_ref(),
        stream: settings.stream,
        stream_options: (settings.stream && shape.stream_options)
            .then_some(StreamOptions { include_usage: true }),
    };
    serde_json::to_vec(&body).expect("strings and numbers can be written as JSON").into()
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: Vec<Message<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    presence_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frequency_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop: Option<&'a Stop>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_effort: Option<Effort>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verbosity: Option<Verbosity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<Tier>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parallel_tool_calls: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<&'a ResponseFormat>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Serialize)]
#[serde(tag = "role", rename_all = "lowercase")]
enum Message<'a> {
    System {
        content: &'a str,
    },
    Developer {
        content: &'a str,
    },
    User {
        content: Content<'a>,
    },
    Assistant {
        content: Option<&'a str>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        tool_calls: Vec<Call<'a>>,
    },
    Tool {
        tool_call_id: &'a str,
        content: String,
    },
}

#[derive(Serialize)]
#[serde(untagged)]
enum Content<'a> {
    Text(String),
    Parts(Vec<Part<'a>>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Part<'a> {
    Text { text: &'a str },
    ImageUrl { image_url: ImageUrl<'a> },
}

#[derive(Serialize)]
struct ImageUrl<'a> {
    url: &'a str,
}

#[derive(Serialize)]
struct Call<'a> {
    id: &'a str,
    r#type: &'static str,
    function: CalledFunction<'a>,
}

#[derive(Serialize)]
struct CalledFunction<'a> {
    name: &'a str,
    arguments: String,
}

#[derive(Serialize)]
struct Tool<'a> {
    r#type: &'static str,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'a str,
    parameters: &'a Value,
}

impl<'a> Tool<'a> {
    fn new(spec: &'a domain::engine::ToolSpec) -> Self {
        let function =
            Function { name: &spec.name, description: &spec.description, parameters: &spec.parameters };
        Self { r#type: "function", function }
    }
}

fn messages<'a>(conversation: &'a Conversation<'_>, role: InstructionsRole) -> Vec<Message<'a>> {
    let mut messages = Vec::with_capacity(conversation.turns.len() + 1);
    let content = conversation.system.as_ref();
    if !content.is_empty() {
        messages.push(match role {
            InstructionsRole::System => Message::System { content },
            InstructionsRole::Developer => Message::Developer { content },
        });
    }
    for turn in &conversation.turns {
        match turn {
            Turn::User(pieces) => messages.push(Message::User { content: content_of(pieces) }),
            Turn::Assistant(text) => {
                messages.push(Message::Assistant { content: Some(text), tool_calls: Vec::new() });
            }
            Turn::Step { answer, calls } => {
                let called = calls.iter().map(|called| Call {
                    id: &called.id,
                    r#type: "function",
                    function: CalledFunction { name: &called.call.name, arguments: arguments(called.call) },
                });
                let content = Some(answer.text.as_str()).filter(|text| !text.is_empty());
                messages.push(Message::Assistant { content, tool_calls: called.collect() });
                messages.extend(
                    calls.iter().map(|called| Message::Tool {
                        tool_call_id: &called.id,
                        content: called.result_text(),
                    }),
                );
            }
        }
    }
    messages
}

/// Texts alone become one text, which every compatible server takes.
fn content_of<'a>(pieces: &'a [Piece<'_>]) -> Content<'a> {
    let texts: Option<Vec<&str>> = pieces
        .iter()
        .map(|piece| match piece {
            Piece::Text(text) => Some(text.as_ref()),
            Piece::Image(_) => None,
        })
        .collect();
    match texts {
        Some(texts) => Content::Text(texts.join("\n\n")),
        None => Content::Parts(
            pieces
                .iter()
                .map(|piece| match piece {
                    Piece::Text(text) => Part::Text { text },
                    Piece::Image(url) => Part::ImageUrl { image_url: ImageUrl { url } },
                })
                .collect(),
        ),
    }
}

/// The arguments as the model wrote them: what was no JSON goes back as it was.
fn arguments(call: &ToolCall) -> String {
    match &call.arguments {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
