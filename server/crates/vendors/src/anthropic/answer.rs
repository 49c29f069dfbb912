//! Messages as the vendor writes them: whole ones here, the pieces of streams in `stream`.

use domain::{
    engine::{Answer, Finish, Model, ToolCall, Usage},
    vendor::{Retry, VendorError},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{ID, error};
use crate::http::Opened;

/// The most that an answer may say, think and put into calls, in bytes.
pub(super) const MAX_SAID_BYTES: usize = 1024 * 1024;
/// How many blocks one answer may have.
pub(super) const MOST_BLOCKS: usize = 512;

/// Why an answer can't be used.
#[derive(Debug, PartialEq)]
pub(super) enum Wrong {
    /// It is not what the API promises.
    Shape(&'static str),
    /// It is an error after all.
    Failed(Value),
    /// It is longer than anything that can be meant.
    TooLong,
}

impl From<crate::sse::Wrong> for Wrong {
    fn from(wrong: crate::sse::Wrong) -> Self {
        match wrong {
            crate::sse::Wrong::TooLong(_) => Self::TooLong,
            crate::sse::Wrong::NotUtf8 => Self::Shape("the answer is not UTF-8"),
        }
    }
}

impl Wrong {
    pub(super) fn into_error(self, opened: &Opened) -> VendorError {
        match self {
            Self::Shape(why) => opened.bad(why.to_owned()),
            Self::TooLong => {
                VendorError { retry: Retry::Never, ..opened.bad("the answer does not end".to_owned()) }
            }
            Self::Failed(error) => error::in_answer(opened, &error),
        }
    }
}

/// Reads a whole message; `model` is the one that was asked.
pub(super) fn read(body: &[u8], model: &str) -> Result<Answer, Wrong> {
    let text = std::str::from_utf8(body).map_err(|_| Wrong::Shape("the answer is not UTF-8"))?;
    let whole: Whole = serde_json::from_str(text).map_err(|_| Wrong::Shape("the answer is no message"))?;
    if let Some(error) = whole.error {
        return Err(Wrong::Failed(error));
    }
    let blocks = whole.content.ok_or(Wrong::Shape("the answer has no content"))?;
    if blocks.len() > MOST_BLOCKS || body.len() > 4 * MAX_SAID_BYTES {
        return Err(Wrong::TooLong);
    }
    let mut usage = Counted::default();
    usage.add(whole.usage);
    let calls = blocks.iter().filter(|block| block["type"] == "tool_use").map(|block| ToolCall {
        id: text_of(block, "id"),
        name: text_of(block, "name"),
        arguments: block.get("input").cloned().unwrap_or_else(|| json!({})),
    });
    let calls = calls.collect();
    Ok(put_together(&blocks, calls, usage, whole.stop_reason.as_deref(), whole.model, model))
}

/// Makes an answer of its blocks.
pub(super) fn put_together(
    blocks: &[Value],
    tool_calls: Vec<ToolCall>,
    usage: Counted,
    stop_reason: Option<&str>,
    answered_by: String,
    model: &str,
) -> Answer {
    let text = blocks.iter().filter(|block| block["type"] == "text").map(|block| text_of(block, "text"));
    let carry = (!tool_calls.is_empty() && !can_be_rewritten(blocks))
        .then(|| json!({ ID: { "model": model, "content": blocks } }));
    Answer {
        text: text.collect(),
        tool_calls,
        usage: usage.read(),
        finish: match stop_reason {
            Some("max_tokens" | "model_context_window_exceeded") => Finish::Length,
            Some("refusal") => Finish::Refused,
            _ => Finish::Stop,
        },
        model: answered_by,
        carry,
        ..Answer::default()
    }
}

/// Whether the blocks are what [`super::request`] would make of text and calls: then they need not be kept.
fn can_be_rewritten(blocks: &[Value]) -> bool {
    let calls = match blocks {
        [first, rest @ ..] if first["type"] == "text" => rest,
        all => all,
    };
    calls.iter().all(|block| block["type"] == "tool_use" && block["input"].is_object())
}

/// The blocks of an answer that go back unchanged, if this model made them. What was no JSON in the inputs of its calls
/// can't go back as it was.
pub(super) fn carried(answer: &Answer, model: &str) -> Option<Value> {
    let carried = answer.carry.as_ref()?.get(ID)?;
    if carried["model"] != model {
        return None;
    }
    let blocks = carried["content"].as_array()?.iter().cloned().map(|mut block| {
        if block["type"] == "tool_use" {
            block["input"] = input(&block["input"]);
        }
        block
    });
    Some(blocks.collect())
}

/// The input of a call, which must be an object.
pub(super) fn input(arguments: &Value) -> Value {
    if arguments.is_object() { arguments.clone() } else { json!({ "malformed": arguments }) }
}

fn text_of(block: &Value, member: &str) -> String {
    block[member].as_str().unwrap_or_default().to_owned()
}

#[derive(Deserialize)]
struct Whole {
    #[serde(default)]
    model: String,
    content: Option<Vec<Value>>,
    stop_reason: Option<String>,
    usage: Option<RawUsage>,
    error: Option<Value>,
}

/// Tokens, as each part of an answer tells them.
#[derive(Clone, Copy, Default, Deserialize)]
pub(super) struct RawUsage {
    #[serde(rename = "input_tokens")]
    input: Option<i64>,
    #[serde(rename = "cache_creation_input_tokens")]
    cache_creation: Option<i64>,
    #[serde(rename = "cache_read_input_tokens")]
    cache_read: Option<i64>,
    #[serde(rename = "output_tokens")]
    output: Option<i64>,
}

/// Tokens so far: the newest figures of each kind.
#[derive(Clone, Copy, Default)]
pub(super) struct Counted(RawUsage);

impl Counted {
    /// Figures are totals, and not every part of an answer tells all of them.
    pub(super) fn add(&mut self, newer: Option<RawUsage>) {
        let (old, new) = (self.0, newer.unwrap_or_default());
        self.0 = RawUsage {
            input: new.input.or(old.input),
            cache_creation: new.cache_creation.or(old.cache_creation),
            cache_read: new.cache_read.or(old.cache_read),
            output: new.output.or(old.output),
        };
    }

    /// Gives the sum, if both sides were told.
    pub(super) fn read(self) -> Option<Usage> {
        let cached = self.0.cache_read.unwrap_or_default().max(0);
        let written = self.0.cache_creation.unwrap_or_default().max(0);
        Some(Usage {
            input_tokens: self.0.input?.max(0).saturating_add(written).saturating_add(cached),
            cached_input_tokens: cached,
            output_tokens: self.0.output?.max(0),
        })
    }
}

/// A page of models.
pub(super) struct Page {
    pub(super) models: Vec<Model>,
    /// Behind which the next page begins.
    pub(super) next: Option<String>,
}

/// Reads a page of models.
pub(super) fn models(body: &[u8]) -> Option<Page> {
    #[derive(Deserialize)]
    struct List {
        data: Vec<Entry>,
        #[serde(default)]
        has_more: bool,
        last_id: Option<String>,
    }

    #[derive(Deserialize)]
    struct Entry {
        id: String,
        #[serde(default)]
        display_name: String,
        max_input_tokens: Option<i64>,
        max_tokens: Option<i64>,
    }

    let list: List = serde_json::from_slice(body).ok()?;
    let models = list.data.into_iter().map(|entry| Model {
        id: entry.id,
        display_name: entry.display_name,
        max_input_tokens: entry.max_input_tokens,
        max_output_tokens: entry.max_tokens,
    });
    // The id becomes part of a URL.
    let fits = |id: &String| id.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    Some(Page { models: models.collect(), next: list.last_id.filter(|id| list.has_more && fits(id)) })
}

/// Reads the input of a call that came in pieces; what is no JSON stays a text.
pub(super) fn read_input(text: String) -> Value {
    if text.trim().is_empty() {
        return Value::Object(Map::new());
    }
    serde_json::from_str(&text).unwrap_or(Value::String(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(body: &Value) -> Result<Answer, Wrong> {
        read(body.to_string().as_bytes(), "m")
    }

    #[test]
    fn a_message_is_an_answer() {
        let body = json!({ "model": "m-1", "stop_reason": "tool_use",
            "content": [{ "type": "text", "text": "Let me look." },
                { "type": "tool_use", "id": "a", "name": "t", "input": { "x": 1 } }],
            "usage": { "input_tokens": 95, "cache_creation_input_tokens": 2, "cache_read_input_tokens": 3,
                "output_tokens": 41 } });
        let answer = answer(&body).unwrap();
        assert_eq!((answer.text.as_str(), answer.model.as_str()), ("Let me look.", "m-1"));
        assert_eq!(answer.tool_calls[0].arguments, json!({ "x": 1 }));
        assert_eq!(
            answer.usage,
            Some(Usage { input_tokens: 100, cached_input_tokens: 3, output_tokens: 41 })
        );
        assert_eq!(answer.carry, None);
    }

    #[test]
    fn what_was_thought_goes_back_unchanged_to_the_model_that_thought_it() {
        let content = json!([{ "type": "thinking", "thinking": "hm", "signature": "s" },
            { "type": "tool_use", "id": "a", "name": "t", "input": {} }]);
        let answer = answer(&json!({ "content": content })).unwrap();
        assert_eq!((answer.usage, carried(&answer, "m")), (None, Some(content)));
        assert_eq!(carried(&answer, "other"), None);
        let foreign = Answer { carry: Some(json!({ "gemini": {} })), ..answer };
        assert_eq!(carried(&foreign, "m"), None);
    }

    #[test]
    fn reasons_to_stop_are_understood() {
        for (reason, expected) in [
            ("end_turn", Finish::Stop),
            ("max_tokens", Finish::Length),
            ("model_context_window_exceeded", Finish::Length),
            ("refusal", Finish::Refused),
            ("something new", Finish::Stop),
        ] {
            let body = json!({ "content": [], "stop_reason": reason });
            assert_eq!(answer(&body).unwrap().finish, expected, "{reason}");
        }
        assert_eq!(answer(&json!({})), Err(Wrong::Shape("the answer has no content")));
        assert_eq!(read(b"\xff", ""), Err(Wrong::Shape("the answer is not UTF-8")));
    }

    #[test]
    fn pages_of_models_lead_to_the_next() {
        let page = json!({ "data": [{ "id": "a", "display_name": "A", "max_input_tokens": 5, "max_tokens": 2 }],
            "has_more": true, "last_id": "a" });
        let read = models(page.to_string().as_bytes()).unwrap();
        assert_eq!((read.models[0].max_output_tokens, read.next.as_deref()), (Some(2), Some("a")));
        let end = json!({ "data": [], "has_more": false, "last_id": "a" });
        assert_eq!(models(end.to_string().as_bytes()).unwrap().next, None);
    }
}
