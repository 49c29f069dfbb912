//! Answers, whole and in pieces: each piece of a stream is an answer with a part of the text.

use domain::{
    engine::{Answer, Finish, Model, ToolCall, Usage},
    vendor::{Retry, VendorError},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::{self, Refused};
use crate::{http::Opened, sse};

/// The most that an answer may say, its thoughts and calls included, in bytes.
const MAX_SAID_BYTES: usize = 2 * 1024 * 1024;
const MAX_EVENT_BYTES: usize = 2 * MAX_SAID_BYTES;
/// How many calls one answer may have.
const MOST_CALLS: usize = 128;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Piece {
    #[serde(default)]
    candidates: Vec<Candidate>,
    prompt_feedback: Option<Feedback>,
    usage_metadata: Option<RawUsage>,
    model_version: Option<String>,
    error: Option<Refused>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Candidate {
    content: Option<Content>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Content {
    #[serde(default)]
    parts: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Feedback {
    block_reason: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "named as on the wire")]
struct RawUsage {
    prompt_token_count: i64,
    tool_use_prompt_token_count: i64,
    cached_content_token_count: i64,
    candidates_token_count: i64,
    thoughts_token_count: i64,
}

impl From<RawUsage> for Usage {
    fn from(raw: RawUsage) -> Self {
        Self {
            input_tokens: raw.prompt_token_count.saturating_add(raw.tool_use_prompt_token_count),
            cached_input_tokens: raw.cached_content_token_count,
            output_tokens: raw.candidates_token_count.saturating_add(raw.thoughts_token_count),
        }
    }
}

/// Why an answer can't be used.
#[derive(Debug)]
enum Wrong {
    Shape(&'static str),
    TooLong,
    Failed(Box<Refused>),
    /// The model stopped for this reason, which is no answer.
    Stopped(String),
}

impl From<sse::Wrong> for Wrong {
    fn from(wrong: sse::Wrong) -> Self {
        match wrong {
            sse::Wrong::TooLong(_) => Self::TooLong,
            sse::Wrong::NotUtf8 => Self::Shape("the answer is not UTF-8"),
        }
    }
}

impl Wrong {
    fn into_error(self, opened: &Opened) -> VendorError {
        match self {
            Self::Shape(why) => opened.bad(why.to_owned()),
            Self::TooLong => {
                VendorError { retry: Retry::Never, ..opened.bad("the answer does not end".to_owned()) }
            }
            Self::Failed(refused) => error::named(opened.bad("the answer is an error".to_owned()), &refused),
            Self::Stopped(reason) => {
                let mut error = opened.bad("the model stopped without an answer".to_owned());
                crate::refusal::name(&mut error, Some(&reason), None);
                error
            }
        }
    }
}

/// Reads a whole answer of this model.
pub(super) async fn whole(opened: &mut Opened, model: &str) -> Result<Answer, VendorError> {
    let body = opened.whole().await?;
    let read = || {
        let text = std::str::from_utf8(&body).map_err(|_| Wrong::Shape("the answer is not UTF-8"))?;
        let mut pieces = Pieces::default();
        pieces.take(text)?;
        pieces.finish(model)
    };
    read().map_err(|wrong: Wrong| wrong.into_error(opened))
}

/// Reads a stream to its end, which is the connection's.
pub(super) async fn stream(opened: &mut Opened, model: &str) -> Result<Answer, VendorError> {
    let (mut parser, mut pieces) = (sse::Parser::new(MAX_EVENT_BYTES), Pieces::default());
    loop {
        let chunk = opened.chunk().await?;
        let mut each = |_: &str, data: &str| pieces.take(data);
        let read = match &chunk {
            Some(chunk) => parser.feed(chunk, &mut each),
            None => parser.finish(&mut each),
        };
        read.map_err(|wrong| wrong.into_error(opened))?;
        if chunk.is_none() {
            return pieces.finish(model).map_err(|wrong| wrong.into_error(opened));
        }
    }
}

/// What has come so far.
#[derive(Default)]
struct Pieces {
    parts: Vec<Value>,
    said_bytes: usize,
    usage: Option<Usage>,
    model: String,
    finish: Option<String>,
    blocked: bool,
}

impl Pieces {
    fn take(&mut self, data: &str) -> Result<(), Wrong> {
        let piece: Piece =
            serde_json::from_str(data).map_err(|_| Wrong::Shape("a piece of the answer can't be read"))?;
        if let Some(error) = piece.error {
            return Err(Wrong::Failed(Box::new(error)));
        }
        // The figures are of all so far.
        self.usage = piece.usage_metadata.map(Usage::from).or(self.usage);
        self.model = piece.model_version.unwrap_or_else(|| std::mem::take(&mut self.model));
        self.blocked |= piece.prompt_feedback.is_some_and(|feedback| feedback.block_reason.is_some());
        let Some(candidate) = piece.candidates.into_iter().next() else { return Ok(()) };
        self.finish = candidate.finish_reason.or(self.finish.take());
        self.said_bytes += data.len();
        for part in candidate.content.into_iter().flat_map(|content| content.parts) {
            self.add(part);
        }
        if self.said_bytes > MAX_SAID_BYTES { Err(Wrong::TooLong) } else { Ok(()) }
    }

    /// Adds a part; a text that goes on is one part.
    fn add(&mut self, part: Value) {
        let plain =
            |part: &Value| part.as_object().is_some_and(|part| part.len() == 1 && part.contains_key("text"));
        if plain(&part)
            && let Some(last) = self.parts.last_mut().filter(|last| plain(last))
            && let (Some(Value::String(before)), Some(more)) = (last.get_mut("text"), part["text"].as_str())
        {
            before.push_str(more);
            return;
        }
        self.parts.push(part);
    }

    fn finish(self, model: &str) -> Result<Answer, Wrong> {
        let finish = match self.finish.as_deref() {
            _ if self.blocked => Finish::Refused,
            None => return Err(Wrong::Shape("the answer broke off")),
            Some("MAX_TOKENS") => Finish::Length,
            Some(
                "SAFETY"
                | "RECITATION"
                | "LANGUAGE"
                | "BLOCKLIST"
                | "PROHIBITED_CONTENT"
                | "SPII"
                | "IMAGE_SAFETY"
                | "IMAGE_PROHIBITED_CONTENT"
                | "IMAGE_RECITATION",
            ) => Finish::Refused,
            Some(
                reason @ ("MALFORMED_FUNCTION_CALL"
                | "UNEXPECTED_TOOL_CALL"
                | "TOO_MANY_TOOL_CALLS"
                | "MISSING_THOUGHT_SIGNATURE"
                | "MALFORMED_RESPONSE"),
            ) => return Err(Wrong::Stopped(reason.to_owned())),
            Some(_) => Finish::Stop,
        };
        let mut answer = Answer { usage: self.usage, finish, model: self.model, ..Answer::default() };
        for part in &self.parts {
            if part["thought"] != true {
                answer.text.push_str(part["text"].as_str().unwrap_or_default());
            }
            if let Some(call) = part["functionCall"].as_object() {
                let text = |name: &str| call.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
                let arguments = call.get("args").cloned().unwrap_or_else(|| json!({}));
                answer.tool_calls.push(ToolCall { id: text("id"), name: text("name"), arguments });
            }
        }
        if answer.tool_calls.len() > MOST_CALLS {
            return Err(Wrong::TooLong);
        }
        if !answer.tool_calls.is_empty() {
            let content = json!({ "role": "model", "parts": self.parts });
            answer.carry = Some(json!({ "model": model, "gemini": content }));
        }
        Ok(answer)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct List {
    #[serde(default)]
    models: Vec<Entry>,
    next_page_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    name: String,
    #[serde(default)]
    display_name: String,
    input_token_limit: Option<i64>,
    output_token_limit: Option<i64>,
    #[serde(default)]
    supported_generation_methods: Vec<String>,
}

/// Reads a page of models, and what names the next one.
pub(super) fn models(body: &[u8]) -> Option<(Vec<Model>, Option<String>)> {
    let list: List = serde_json::from_slice(body).ok()?;
    let answers =
        |entry: &Entry| entry.supported_generation_methods.iter().any(|method| method == "generateContent");
    let models = list.models.into_iter().filter(answers).map(|entry| Model {
        id: entry.name.trim_start_matches("models/").to_owned(),
        display_name: entry.display_name,
        max_input_tokens: entry.input_token_limit,
        max_output_tokens: entry.output_token_limit,
    });
    Some((models.collect(), list.next_page_token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pieces: &[Value]) -> Result<Answer, Wrong> {
        let mut all = Pieces::default();
        for piece in pieces {
            all.take(&piece.to_string())?;
        }
        all.finish("m")
    }

    #[expect(clippy::needless_pass_by_value, reason = "written in place by those who call it")]
    fn piece(parts: Value, finish: Value) -> Value {
        json!({ "candidates": [{ "content": { "role": "model", "parts": parts }, "finishReason": finish }] })
    }

    #[test]
    fn pieces_make_one_answer_and_keep_their_signatures() {
        let call = json!({ "functionCall": { "name": "t", "args": { "a": 1 } }, "thoughtSignature": "Ck==" });
        let mut last = piece(json!([call, { "functionCall": { "id": "2", "name": "u" } }]), json!("STOP"));
        last["usageMetadata"] = json!({ "promptTokenCount": 70, "cachedContentTokenCount": 5, "candidatesTokenCount": 15, "thoughtsTokenCount": 60 });
        last["modelVersion"] = json!("gemini-3.6-flash");
        let answer = read(&[
            piece(json!([{ "text": "hm", "thought": true }]), Value::Null),
            piece(json!([{ "text": "Let me " }]), Value::Null),
            piece(json!([{ "text": "look." }]), Value::Null),
            last,
        ])
        .unwrap();
        assert_eq!((answer.text.as_str(), answer.model.as_str()), ("Let me look.", "gemini-3.6-flash"));
        assert_eq!(answer.usage, Some(Usage { input_tokens: 70, cached_input_tokens: 5, output_tokens: 75 }));
        let called: Vec<_> =
            answer.tool_calls.iter().map(|call| (call.id.as_str(), call.name.as_str())).collect();
        assert_eq!(called, [("", "t"), ("2", "u")]);
        let carry = answer.carry.unwrap();
        assert_eq!(carry["gemini"]["parts"][1], json!({ "text": "Let me look." }));
        assert_eq!(carry["gemini"]["parts"][2], call);
    }

    #[test]
    fn what_is_blocked_is_refused_and_what_breaks_off_is_bad() {
        let blocked = json!({ "promptFeedback": { "blockReason": "SAFETY" }, "usageMetadata": { "promptTokenCount": 3 } });
        let answer = read(&[blocked]).unwrap();
        assert_eq!((answer.finish, answer.text.as_str()), (Finish::Refused, ""));
        let finish =
            |reason: &str| read(&[json!({ "candidates": [{ "finishReason": reason }] })]).map(|it| it.finish);
        assert_eq!(finish("SAFETY").unwrap(), Finish::Refused);
        assert_eq!(finish("MAX_TOKENS").unwrap(), Finish::Length);
        assert!(matches!(finish("MALFORMED_FUNCTION_CALL"), Err(Wrong::Stopped(_))));
        assert!(matches!(read(&[piece(json!([{ "text": "and" }]), Value::Null)]), Err(Wrong::Shape(_))));
        assert!(matches!(
            read(&[json!({ "error": { "code": 503, "status": "UNAVAILABLE" } })]),
            Err(Wrong::Failed(_))
        ));
    }
}
