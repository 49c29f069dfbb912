//! Answers as they are written: whole ones here, the pieces of streams in `stream`.

use std::{borrow::Cow, fmt};

use domain::{
    engine::{Answer, Finish, Model, ToolCall, Usage},
    vendor::VendorError,
};
use serde::{
    Deserialize, Deserializer,
    de::{SeqAccess, Visitor},
};
use serde_json::Value;

use super::error;
use crate::http::Opened;

/// The most that an answer may say, and the most that the arguments of its calls may be, in bytes.
pub(super) const MAX_SAID_BYTES: usize = 1024 * 1024;
/// How many calls one answer may have.
pub(super) const MOST_CALLS: usize = 128;

/// What begins the ids of models that can't chat.
const OTHER_MODELS: [&str; 7] =
    ["text-embedding-", "whisper-", "tts-", "dall-e-", "omni-moderation-", "gpt-image-", "sora-"];

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
            Self::TooLong => VendorError {
                retry: domain::vendor::Retry::Never,
                ..opened.bad("the answer does not end".to_owned())
            },
            Self::Failed(error) => error::in_answer(opened, &error),
        }
    }
}

/// Reads a whole answer.
pub(super) fn read(body: &[u8]) -> Result<Answer, Wrong> {
    let text = std::str::from_utf8(body).map_err(|_| Wrong::Shape("the answer is not UTF-8"))?;
    let whole: Whole<'_> =
        serde_json::from_str(text).map_err(|_| Wrong::Shape("the answer is no chat completion"))?;
    if let Some(error) = whole.error {
        return Err(Wrong::Failed(error));
    }
    let choices = whole.choices.ok_or(Wrong::Shape("the answer has no choices"))?;
    let mut answer = Answer {
        usage: whole.usage.and_then(RawUsage::read),
        model: whole.model.unwrap_or_default().into_owned(),
        ..Answer::default()
    };
    let Some(choice) = choices.into_iter().next() else { return Ok(answer) };
    let message = choice.message.unwrap_or_default();
    answer.text = message.content.map(Content::text).unwrap_or_default();
    answer.finish = finish(choice.finish_reason.as_deref());
    if let Some(refusal) = message.refusal.filter(|refusal| !refusal.is_empty()) {
        if answer.text.is_empty() {
            answer.text = refusal.into_owned();
        }
        answer.finish = Finish::Refused;
    }
    let calls = message.tool_calls.unwrap_or_default();
    if calls.len() > MOST_CALLS {
        return Err(Wrong::TooLong);
    }
    answer.tool_calls = calls
        .into_iter()
        .map(|call| ToolCall {
            id: call.id.unwrap_or_default().into_owned(),
            name: call.function.name.unwrap_or_default().into_owned(),
            arguments: match call.function.arguments {
                Some(Value::String(text)) => arguments(text),
                Some(other) => other,
                None => arguments(String::new()),
            },
        })
        .collect();
    Ok(answer)
}

/// Reads a list of models.
pub(super) fn models(body: &[u8]) -> Option<Vec<Model>> {
    let list: List = serde_json::from_slice(body).ok()?;
    let chats = |id: &str| !OTHER_MODELS.iter().any(|other| id.starts_with(other));
    let model = |entry: Entry| Model {
        id: entry.id,
        display_name: String::new(),
        max_input_tokens: None,
        max_output_tokens: None,
    };
    Some(list.data.into_iter().filter(|entry| chats(&entry.id)).map(model).collect())
}

/// What a reason to stop means. That tools were called is seen by their calls, since not every server says so.
pub(super) fn finish(reason: Option<&str>) -> Finish {
    match reason {
        Some("length") => Finish::Length,
        Some("content_filter") => Finish::Refused,
        _ => Finish::Stop,
    }
}

/// Reads arguments. What is no JSON stays a text, by which the tool can say what is wrong with it; no text is no
/// arguments.
pub(super) fn arguments(text: String) -> Value {
    if text.trim().is_empty() {
        return Value::Object(serde_json::Map::new());
    }
    serde_json::from_str(&text).unwrap_or(Value::String(text))
}

#[derive(Deserialize)]
struct Whole<'a> {
    #[serde(borrow)]
    model: Option<Cow<'a, str>>,
    #[serde(borrow)]
    choices: Option<Vec<Choice<'a>>>,
    usage: Option<RawUsage>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    message: Option<Message<'a>>,
    #[serde(borrow)]
    finish_reason: Option<Cow<'a, str>>,
}

#[derive(Default, Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    content: Option<Content<'a>>,
    #[serde(borrow)]
    refusal: Option<Cow<'a, str>>,
    #[serde(borrow)]
    tool_calls: Option<Vec<Call<'a>>>,
}

/// A text, or texts in parts, as some servers have it.
pub(super) struct Content<'a>(pub(super) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Content<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts;

        impl<'de> Visitor<'de> for Texts {
            type Value = Content<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, or texts in parts")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Content<'de>, E> {
                Ok(Content(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Content<'de>, E> {
                Ok(Content(Cow::Owned(text.to_owned())))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Content<'de>, A::Error> {
                let mut text = String::new();
                while let Some(part) = parts.next_element::<TextPart>()? {
                    text.push_str(&part.text);
                }
                Ok(Content(Cow::Owned(text)))
            }
        }

        // No tag says which it is, and nothing is kept to find out: this is read for every token.
        deserializer.deserialize_any(Texts)
    }
}

#[derive(Deserialize)]
pub(super) struct TextPart {
    #[serde(default)]
    text: String,
}

impl Content<'_> {
    pub(super) fn text(self) -> String {
        self.0.into_owned()
    }
}

#[derive(Deserialize)]
pub(super) struct Call<'a> {
    #[serde(default)]
    pub(super) index: Option<usize>,
    #[serde(borrow)]
    pub(super) id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) function: Function<'a>,
}

#[derive(Default, Deserialize)]
pub(super) struct Function<'a> {
    #[serde(borrow)]
    pub(super) name: Option<Cow<'a, str>>,
    pub(super) arguments: Option<Value>,
}

/// Tokens. A server that tells only some of them tells nothing that could be counted on.
#[derive(Clone, Copy, Deserialize)]
pub(super) struct RawUsage {
    prompt_tokens: Option<i64>,
    completion_tokens: Option<i64>,
    prompt_tokens_details: Option<PromptDetails>,
}

#[derive(Clone, Copy, Deserialize)]
struct PromptDetails {
    cached_tokens: Option<i64>,
}

impl RawUsage {
    pub(super) fn read(self) -> Option<Usage> {
        let cached = self.prompt_tokens_details.and_then(|details| details.cached_tokens);
        Some(Usage {
            input_tokens: self.prompt_tokens?.max(0),
            cached_input_tokens: cached.unwrap_or_default().max(0),
            output_tokens: self.completion_tokens?.max(0),
        })
    }
}

#[derive(Deserialize)]
struct List {
    data: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    id: String,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(body: &Value) -> Result<Answer, Wrong> {
        read(body.to_string().as_bytes())
    }

    #[test]
    fn servers_that_say_less_are_understood() {
        let bare = answer(&json!({ "choices": [{ "message": { "content": "Hi" } }] })).unwrap();
        assert_eq!((bare.text.as_str(), bare.usage, bare.finish), ("Hi", None, Finish::Stop));
        let parts = json!({ "choices": [{ "message": { "content": [{ "type": "text", "text": "H" }, { "text": "i" }],
            "reasoning_content": "hm" }, "finish_reason": "length" }], "usage": { "prompt_tokens": 3 } });
        let parts = answer(&parts).unwrap();
        assert_eq!((parts.text.as_str(), parts.usage, parts.finish), ("Hi", None, Finish::Length));
        let empty = answer(&json!({ "choices": [], "usage": null })).unwrap();
        assert_eq!(empty, Answer::default());
        let call = json!({ "id": null, "function": { "name": "t", "arguments": { "a": 1 } } });
        let call = json!({ "choices": [{ "finish_reason": "stop", "message": { "tool_calls": [call] } }] });
        let call = answer(&call).unwrap().tool_calls.remove(0);
        assert_eq!((call.id.as_str(), call.name.as_str(), call.arguments), ("", "t", json!({ "a": 1 })));
    }

    #[test]
    fn refusals_are_answers() {
        let refused = json!({ "choices": [{ "finish_reason": "stop", "message": { "content": null, "refusal": "No." } }] });
        let refused = answer(&refused).unwrap();
        assert_eq!((refused.text.as_str(), refused.finish), ("No.", Finish::Refused));
        let filtered =
            json!({ "choices": [{ "finish_reason": "content_filter", "message": { "content": "" } }] });
        assert_eq!(answer(&filtered).unwrap().finish, Finish::Refused);
    }

    #[test]
    fn arguments_that_are_no_json_stay_as_they_are() {
        assert_eq!(arguments("{\"a\":1}".into()), json!({ "a": 1 }));
        assert_eq!(arguments("{\"a\":1".into()), json!("{\"a\":1"));
        assert_eq!(arguments(" ".into()), json!({}));
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        assert_eq!(read(b"\xff"), Err(Wrong::Shape("the answer is not UTF-8")));
        assert_eq!(read(b"<html>"), Err(Wrong::Shape("the answer is no chat completion")));
        assert_eq!(answer(&json!({})), Err(Wrong::Shape("the answer has no choices")));
        assert_eq!(answer(&json!({ "error": "x" })), Err(Wrong::Failed(json!("x"))));
    }

    #[test]
    fn models_that_chat_are_listed() {
        let list = json!({ "data": [{ "id": "gpt-5.4" }, { "id": "whisper-1" }, { "id": "llama", "x": 1 }] });
        let ids: Vec<_> =
            models(list.to_string().as_bytes()).unwrap().into_iter().map(|model| model.id).collect();
        assert_eq!(ids, ["gpt-5.4", "llama"]);
        assert_eq!(models(b"{}"), None);
    }
}
