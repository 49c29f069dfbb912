//! Messages that come in pieces.

use std::borrow::Cow;

use domain::{
    engine::{Answer, ToolCall},
    vendor::VendorError,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{self, Counted, MAX_SAID_BYTES, MOST_BLOCKS, RawUsage, Wrong};
use crate::{http::Opened, sse};

/// The longest event.
const MAX_EVENT_BYTES: usize = 2 * MAX_SAID_BYTES;

/// Reads a stream to its end; `model` is the one that was asked.
pub(super) async fn read(opened: &mut Opened, model: &str) -> Result<Answer, VendorError> {
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
    let answer = pieces.finish(model).map_err(|wrong| wrong.into_error(opened))?;
    opened.drain().await;
    Ok(answer)
}

/// What has come so far.
#[derive(Default)]
struct Pieces {
    blocks: Vec<Block>,
    usage: Counted,
    model: String,
    stop_reason: Option<String>,
    said_bytes: usize,
    /// Whether the vendor said that this was all.
    done: bool,
}

/// One block of the content.
#[derive(Default)]
struct Block {
    index: u64,
    /// As it began.
    begun: Value,
    /// What has come of its text or thought.
    text: String,
    /// What has come of a call's input.
    input: String,
    signature: String,
}

/// An event. The name of the event is in it again, as its type; unknown ones mean nothing.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, default)]
    r#type: Cow<'a, str>,
    #[serde(default)]
    index: u64,
    #[serde(borrow)]
    message: Option<Message<'a>>,
    content_block: Option<Value>,
    #[serde(borrow)]
    delta: Option<Delta<'a>>,
    usage: Option<RawUsage>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, default)]
    model: Cow<'a, str>,
    usage: Option<RawUsage>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow)]
    partial_json: Option<Cow<'a, str>>,
    #[serde(borrow)]
    thinking: Option<Cow<'a, str>>,
    #[serde(borrow)]
    signature: Option<Cow<'a, str>>,
    #[serde(borrow)]
    stop_reason: Option<Cow<'a, str>>,
}

impl Pieces {
    fn take(&mut self, data: &str) -> Result<(), Wrong> {
        if self.done {
            return Ok(());
        }
        let event: Event<'_> =
            serde_json::from_str(data).map_err(|_| Wrong::Shape("a piece of the answer can't be read"))?;
        match event.r#type.as_ref() {
            "message_start" => {
                let message = event.message.ok_or(Wrong::Shape("a message began without itself"))?;
                self.model = message.model.into_owned();
                self.usage.add(message.usage);
            }
            "content_block_start" => {
                let begun = event.content_block.unwrap_or_default();
                self.blocks.push(Block { index: event.index, begun, ..Block::default() });
            }
            "content_block_delta" => self.delta(event.index, event.delta)?,
            "message_delta" => {
                self.usage.add(event.usage);
                let reason = event.delta.and_then(|delta| delta.stop_reason);
                self.stop_reason = reason.map(Cow::into_owned).or(self.stop_reason.take());
            }
            "message_stop" => self.done = true,
            "error" => return Err(Wrong::Failed(event.error.unwrap_or_default())),
            _ => {}
        }
        if self.said_bytes > MAX_SAID_BYTES || self.blocks.len() > MOST_BLOCKS {
            return Err(Wrong::TooLong);
        }
        Ok(())
    }

    fn delta(&mut self, index: u64, delta: Option<Delta<'_>>) -> Result<(), Wrong> {
        let block = self.blocks.iter_mut().rev().find(|block| block.index == index);
        let (Some(block), Some(delta)) = (block, delta) else {
            return Err(Wrong::Shape("a piece belongs to nothing"));
        };
        for (piece, so_far) in [
            (delta.text.or(delta.thinking), &mut block.text),
            (delta.partial_json, &mut block.input),
            (delta.signature, &mut block.signature),
        ] {
            if let Some(piece) = piece {
                self.said_bytes += piece.len();
                so_far.push_str(&piece);
            }
        }
        Ok(())
    }

    /// The stream has ended. One that ends before it said so has been cut.
    fn finish(self, model: &str) -> Result<Answer, Wrong> {
        if !self.done && self.stop_reason.is_none() {
            return Err(Wrong::Shape("the answer was cut off"));
        }
        let mut calls = Vec::new();
        let blocks: Vec<Value> = self.blocks.into_iter().map(|block| block.whole(&mut calls)).collect();
        let reason = self.stop_reason.as_deref();
        Ok(answer::put_together(&blocks, calls, self.usage, reason, self.model, model))
    }
}

impl Block {
    /// The block as it would stand in a whole message; a call is noted.
    fn whole(self, calls: &mut Vec<ToolCall>) -> Value {
        let mut block = self.begun;
        if !block.is_object() {
            block = json!({});
        }
        let kind = block["type"].as_str().unwrap_or_default().to_owned();
        // What a block began with comes first.
        let joined = |block: &Value, member: &str, more: &str| {
            format!("{}{more}", block[member].as_str().unwrap_or_default())
        };
        match kind.as_str() {
            "text" => block["text"] = joined(&block, "text", &self.text).into(),
            "thinking" => {
                block["thinking"] = joined(&block, "thinking", &self.text).into();
                block["signature"] = joined(&block, "signature", &self.signature).into();
            }
            "tool_use" => {
                // Without pieces the input is what the block began with.
                if !self.input.is_empty() || !block["input"].is_object() {
                    block["input"] = answer::read_input(self.input);
                }
                let text = |member: &str| block[member].as_str().unwrap_or_default().to_owned();
                calls.push(ToolCall {
                    id: text("id"),
                    name: text("name"),
                    arguments: block["input"].clone(),
                });
            }
            _ => {}
        }
        block
    }
}

#[cfg(test)]
mod tests {
    use domain::engine::Usage;

    use super::*;

    fn read(events: &[Value]) -> Result<Answer, Wrong> {
        let mut pieces = Pieces::default();
        for event in events {
            pieces.take(&event.to_string())?;
        }
        pieces.finish("m")
    }

    fn start(index: u64, block: &Value) -> Value {
        json!({ "type": "content_block_start", "index": index, "content_block": block })
    }

    fn delta(index: u64, delta: &Value) -> Value {
        json!({ "type": "content_block_delta", "index": index, "delta": delta })
    }

    fn begun() -> Value {
        json!({ "type": "message_start",
            "message": { "model": "m-1", "content": [], "usage": { "input_tokens": 25, "output_tokens": 1 } } })
    }

    fn ended(reason: &str) -> [Value; 2] {
        [
            json!({ "type": "message_delta", "delta": { "stop_reason": reason }, "usage": { "output_tokens": 12 } }),
            json!({ "type": "message_stop" }),
        ]
    }

    #[test]
    fn pieces_become_an_answer() {
        let mut events = vec![
            begun(),
            start(0, &json!({ "type": "text", "text": "" })),
            json!({ "type": "ping" }),
            delta(0, &json!({ "type": "text_delta", "text": "Hel" })),
            delta(0, &json!({ "type": "text_delta", "text": "lo" })),
            json!({ "type": "content_block_stop", "index": 0 }),
            json!({ "type": "something new", "x": 1 }),
        ];
        assert_eq!(read(&events), Err(Wrong::Shape("the answer was cut off")));
        events.extend(ended("end_turn"));
        let answer = read(&events).unwrap();
        assert_eq!((answer.text.as_str(), answer.model.as_str()), ("Hello", "m-1"));
        assert_eq!(answer.usage, Some(Usage { input_tokens: 25, cached_input_tokens: 0, output_tokens: 12 }));
    }

    #[test]
    fn thought_and_calls_are_put_together() {
        let mut events = vec![
            begun(),
            start(0, &json!({ "type": "thinking", "thinking": "", "signature": "" })),
            delta(0, &json!({ "type": "thinking_delta", "thinking": "hm" })),
            delta(0, &json!({ "type": "signature_delta", "signature": "abc" })),
            start(1, &json!({ "type": "redacted_thinking", "data": "xyz" })),
            start(2, &json!({ "type": "tool_use", "id": "a", "name": "t", "input": {} })),
            delta(2, &json!({ "type": "input_json_delta", "partial_json": "" })),
            delta(2, &json!({ "type": "input_json_delta", "partial_json": "{\"x\":" })),
            delta(2, &json!({ "type": "input_json_delta", "partial_json": "1}" })),
            start(3, &json!({ "type": "tool_use", "id": "b", "name": "t", "input": {} })),
            start(4, &json!({ "type": "tool_use", "id": "c", "name": "t", "input": {} })),
            delta(4, &json!({ "type": "input_json_delta", "partial_json": "{\"x\":" })),
        ];
        events.extend(ended("tool_use"));
        let answer = read(&events).unwrap();
        let inputs: Vec<_> = answer.tool_calls.iter().map(|call| call.arguments.clone()).collect();
        assert_eq!(inputs, [json!({ "x": 1 }), json!({}), json!("{\"x\":")]);
        let carried = answer::carried(&answer, "m").unwrap();
        assert_eq!(carried[0], json!({ "type": "thinking", "thinking": "hm", "signature": "abc" }));
        assert_eq!(carried[1], json!({ "type": "redacted_thinking", "data": "xyz" }));
        assert_eq!(carried[4]["input"], json!({ "malformed": "{\"x\":" }));
    }

    #[test]
    fn what_goes_wrong_in_the_middle_is_told() {
        let error = json!({ "type": "overloaded_error", "message": "Overloaded" });
        assert_eq!(
            read(&[begun(), json!({ "type": "error", "error": error })]),
            Err(Wrong::Failed(error.clone()))
        );
        let lost = delta(7, &json!({ "type": "text_delta", "text": "x" }));
        assert_eq!(read(&[begun(), lost]), Err(Wrong::Shape("a piece belongs to nothing")));
        let long = delta(0, &json!({ "text": "x".repeat(MAX_SAID_BYTES / 2) }));
        let events = [begun(), start(0, &json!({ "type": "text" })), long.clone(), long.clone(), long];
        assert_eq!(read(&events), Err(Wrong::TooLong));
    }
}
