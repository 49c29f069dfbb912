//! Answers that come in pieces.

use std::borrow::Cow;

use domain::{
    engine::{Answer, Finish, ToolCall, Usage},
    vendor::VendorError,
};
use serde::Deserialize;
use serde_json::Value;

use super::answer::{self, Call, MAX_SAID_BYTES, MOST_CALLS, RawUsage, Wrong};
use crate::{http::Opened, sse};

/// The longest event: a whole answer in one, and what is around it.
const MAX_EVENT_BYTES: usize = 2 * MAX_SAID_BYTES;

/// Reads a stream to its end.
pub(super) async fn read(opened: &mut Opened) -> Result<Answer, VendorError> {
    let (mut parser, mut pieces) = (sse::Parser::new(MAX_EVENT_BYTES), Pieces::default());
    while !pieces.done {
        let chunk = opened.chunk().await?;
        let read = match &chunk {
            Some(chunk) => parser.feed(chunk, |_, data| pieces.take(data)),
            None => parser.finish(|_, data| pieces.take(data)),
        };
        read.map_err(|wrong| wrong.into_error(opened))?;
        if chunk.is_none() {
            break;
        }
    }
    let answer = pieces.finish().map_err(|wrong| wrong.into_error(opened))?;
    opened.drain().await;
    Ok(answer)
}

/// What has come so far.
#[derive(Default)]
struct Pieces {
    text: String,
    refusal: String,
    calls: Vec<PartialCall>,
    usage: Option<Usage>,
    model: String,
    finish: Option<Finish>,
    said_bytes: usize,
    /// What stood around the text of the last piece that was nothing but text.
    frame: Frame,
    /// Whether the vendor said that this was all.
    done: bool,
}

/// What stands around the text of a piece. Vendors write a piece for every token, and they differ in the text alone: where the
/// rest is the same to the byte, it says the same, and is not read again.
#[derive(Default)]
struct Frame {
    head: String,
    tail: String,
}

impl Frame {
    /// The text of a piece in this frame. `None`: it has another, or its text is written with escapes.
    fn text_of<'a>(&self, data: &'a str) -> Option<&'a str> {
        let text = data.strip_prefix(self.head.as_str())?.strip_suffix(self.tail.as_str())?;
        let plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
        (!self.head.is_empty() && text.bytes().all(plain)).then_some(text)
    }

    /// Takes the frame of a piece whose text is this part of it.
    fn take(&mut self, data: &str, text: &str) {
        let at = text.as_ptr().addr().wrapping_sub(data.as_ptr().addr());
        if let (Some(head), Some(tail)) = (data.get(..at), data.get(at.saturating_add(text.len())..)) {
            head.clone_into(&mut self.head);
            tail.clone_into(&mut self.tail);
        }
    }
}

#[derive(Default)]
struct PartialCall {
    index: Option<usize>,
    id: String,
    name: String,
    arguments: String,
    /// Arguments that came as a value and not as a text.
    value: Option<Value>,
}

#[derive(Deserialize)]
struct Chunk<'a> {
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
    delta: Option<Delta<'a>>,
    #[serde(borrow)]
    finish_reason: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow)]
    content: Option<answer::Content<'a>>,
    #[serde(borrow)]
    refusal: Option<Cow<'a, str>>,
    #[serde(borrow)]
    tool_calls: Option<Vec<Call<'a>>>,
}

impl Pieces {
    fn take(&mut self, data: &str) -> Result<(), Wrong> {
        if self.done {
            return Ok(());
        }
        if let Some(text) = self.frame.text_of(data) {
            self.text.push_str(text);
            return self.said(text.len());
        }
        if data.trim() == "[DONE]" {
            self.done = true;
            return Ok(());
        }
        let chunk: Chunk<'_> =
            serde_json::from_str(data).map_err(|_| Wrong::Shape("a piece of the answer can't be read"))?;
        if let Some(error) = chunk.error {
            return Err(Wrong::Failed(error));
        }
        if let Some(model) = chunk.model.filter(|_| self.model.is_empty()) {
            self.model = model.into_owned();
        }
        // The last figures count: some servers tell them with every piece.
        let (told, mut choices) = (chunk.usage.is_some(), chunk.choices.into_iter().flatten());
        self.usage = chunk.usage.and_then(RawUsage::read).or(self.usage);
        let Some(choice) = choices.next() else { return Ok(()) };
        let ended = choice.finish_reason.is_some();
        if let Some(reason) = choice.finish_reason {
            self.finish = Some(answer::finish(Some(&reason)));
        }
        let Some(delta) = choice.delta else { return Ok(()) };
        let more = delta.refusal.is_some() || delta.tool_calls.is_some();
        if let Some(answer::Content(content)) = delta.content {
            self.said_bytes += content.len();
            self.text.push_str(&content);
            if let Cow::Borrowed(text) = content
                && !(told || ended || more || self.model.is_empty())
                && choices.next().is_none()
            {
                self.frame.take(data, text);
            }
        }
        if let Some(refusal) = delta.refusal {
            self.said_bytes += refusal.len();
            self.refusal.push_str(&refusal);
        }
        for call in delta.tool_calls.into_iter().flatten() {
            self.call(call);
        }
        self.said(0)
    }

    fn said(&mut self, bytes: usize) -> Result<(), Wrong> {
        self.said_bytes += bytes;
        if self.said_bytes > MAX_SAID_BYTES || self.calls.len() > MOST_CALLS {
            return Err(Wrong::TooLong);
        }
        Ok(())
    }

    /// Adds to the call with this index. Servers without indexes send each call whole, with an id or a name of its own.
    fn call(&mut self, piece: Call<'_>) {
        let id = piece.id.as_deref().unwrap_or_default();
        let name = piece.function.name.as_deref().unwrap_or_default();
        let known = match piece.index {
            Some(_) => self.calls.iter().position(|call| call.index == piece.index),
            None if id.is_empty() && name.is_empty() => self.calls.len().checked_sub(1),
            None => None,
        };
        let at = known.unwrap_or_else(|| {
            self.calls.push(PartialCall { index: piece.index, ..PartialCall::default() });
            self.calls.len() - 1
        });
        let call = &mut self.calls[at];
        self.said_bytes += id.len() + name.len();
        if call.id.is_empty() {
            id.clone_into(&mut call.id);
        }
        if call.name.is_empty() {
            name.clone_into(&mut call.name);
        }
        match piece.function.arguments {
            Some(Value::String(text)) => {
                self.said_bytes += text.len();
                call.arguments.push_str(&text);
            }
            Some(Value::Null) | None => {}
            Some(value) => call.value = Some(value),
        }
    }

    /// The stream has ended. One that ends before it said why has been cut.
    fn finish(self) -> Result<Answer, Wrong> {
        if self.finish.is_none() && !self.done {
            return Err(Wrong::Shape("the answer was cut off"));
        }
        let mut finish = self.finish.unwrap_or_default();
        let mut text = self.text;
        if !self.refusal.is_empty() {
            finish = Finish::Refused;
            if text.is_empty() {
                text = self.refusal;
            }
        }
        let calls = self.calls.into_iter().map(|call| ToolCall {
            id: call.id,
            name: call.name,
            arguments: call.value.unwrap_or_else(|| answer::arguments(call.arguments)),
        });
        Ok(Answer {
            text,
            tool_calls: calls.collect(),
            usage: self.usage,
            finish,
            model: self.model,
            ..Answer::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(events: &[Value]) -> Result<Answer, Wrong> {
        let mut pieces = Pieces::default();
        for event in events {
            match event {
                Value::String(text) => pieces.take(text)?,
                event => pieces.take(&event.to_string())?,
            }
        }
        pieces.finish()
    }

    fn delta(delta: &Value) -> Value {
        json!({ "model": "m", "choices": [{ "delta": delta, "finish_reason": null }], "usage": null })
    }

    fn end(reason: &str) -> Value {
        json!({ "choices": [{ "delta": {}, "finish_reason": reason }] })
    }

    #[test]
    fn pieces_become_an_answer() {
        let usage = json!({ "choices": [], "usage": { "prompt_tokens": 3, "completion_tokens": 2 } });
        let events = [
            delta(&json!({ "role": "assistant", "content": "" })),
            delta(&json!({ "content": "Hel" })),
            delta(&json!({ "content": "lo" })),
            end("stop"),
            usage,
            json!("[DONE]"),
            json!("no JSON, and too late to matter"),
        ];
        let answer = read(&events).unwrap();
        assert_eq!((answer.text.as_str(), answer.model.as_str()), ("Hello", "m"));
        assert_eq!(answer.usage, Some(Usage { input_tokens: 3, cached_input_tokens: 0, output_tokens: 2 }));
        // A server that says neither [DONE] nor its usage.
        assert_eq!(read(&events[..4]).unwrap().usage, None);
        assert_eq!(read(&events[..3]), Err(Wrong::Shape("the answer was cut off")));
        assert_eq!(read(&[json!("[DONE]")]).unwrap().text, "");
    }

    #[test]
    fn pieces_that_differ_in_their_text_alone_are_not_read_whole() {
        let mut pieces = Pieces::default();
        let piece = |text: &str| delta(&json!({ "content": text })).to_string();
        pieces.take(&piece("Hel")).unwrap();
        assert_eq!(pieces.frame.text_of(&piece("lo, wörld")), Some("lo, wörld"));
        assert_eq!(pieces.frame.text_of(&piece("")), Some(""));
        // What is written with escapes, and what says more, is read.
        for other in [
            piece("a\"b"),
            piece("a\\b"),
            piece("a\nb"),
            end("stop").to_string(),
            delta(&json!({ "content": "x", "refusal": "no" })).to_string(),
            json!({ "model": "m", "choices": [{ "delta": { "content": "x" }, "finish_reason": "stop" }], "usage": null })
                .to_string(),
        ] {
            assert_eq!(pieces.frame.text_of(&other), None, "{other}");
        }
        for text in ["lo", ", \"w\u{f6}r\n", "ld\\", "\u{1f980}", "!"] {
            pieces.take(&piece(text)).unwrap();
        }
        pieces.take(&end("stop").to_string()).unwrap();
        assert_eq!(pieces.finish().unwrap().text, "Hello, \"w\u{f6}r\nld\\\u{1f980}!");
        // A text that looks like the end of its frame.
        let mut pieces = Pieces::default();
        pieces.take(&piece("x")).unwrap();
        let tricky = "y\"},\"finish_reason\":null}],\"model\":\"m\",\"usage\":null}";
        pieces.take(&piece(tricky)).unwrap();
        assert_eq!(pieces.text, format!("x{tricky}"));
    }

    #[test]
    fn fragments_of_calls_are_joined_by_index() {
        let piece = |index: Option<u64>, id: Option<&str>, name: Option<&str>, arguments: Value| {
            delta(&json!({ "tool_calls": [{ "index": index, "id": id,
                "function": { "name": name, "arguments": arguments } }] }))
        };
        let answer = read(&[
            piece(Some(0), Some("a"), Some("x"), json!("")),
            piece(Some(1), Some("b"), Some("y"), json!("{\"n\"")),
            piece(Some(0), None, None, json!("{}")),
            piece(Some(1), None, None, json!(":1}")),
            end("tool_calls"),
        ]);
        let calls = answer.unwrap().tool_calls;
        assert_eq!((calls[0].id.as_str(), &calls[0].arguments), ("a", &json!({})));
        assert_eq!((calls[1].name.as_str(), &calls[1].arguments), ("y", &json!({ "n": 1 })));
        let answer = read(&[
            piece(None, Some("a"), Some("x"), json!("{}")),
            piece(None, Some("b"), Some("y"), json!("[1,")),
            piece(None, None, None, json!("2")),
            piece(None, Some("c"), Some("z"), json!({ "n": 1 })),
            end("stop"),
        ]);
        let arguments: Vec<_> = answer.unwrap().tool_calls.into_iter().map(|call| call.arguments).collect();
        assert_eq!(arguments, [json!({}), json!("[1,2"), json!({ "n": 1 })]);
    }

    #[test]
    fn what_goes_wrong_in_the_middle_is_told() {
        let begun = delta(&json!({ "content": "Hel" }));
        let error = json!({ "message": "x", "code": "server_error" });
        assert_eq!(read(&[begun.clone(), json!({ "error": error })]), Err(Wrong::Failed(error)));
        assert!(matches!(read(&[begun, json!("{")]), Err(Wrong::Shape(_))));
        let long = delta(&json!({ "content": "x".repeat(MAX_SAID_BYTES / 2) }));
        assert_eq!(read(&[long.clone(), long.clone(), long]), Err(Wrong::TooLong));
        let refused =
            [delta(&json!({ "refusal": "I " })), delta(&json!({ "refusal": "can't." })), end("stop")];
        let refused = read(&refused).unwrap();
        assert_eq!((refused.text.as_str(), refused.finish), ("I can't.", Finish::Refused));
    }
}
