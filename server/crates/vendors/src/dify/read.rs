//! Reads answers, and knows when a stream has ended: the connection often doesn't.

use domain::{
    engine::{Answer, Usage},
    vendor::{FailureKind, Retry, VendorError},
};
use serde::Deserialize;
use serde_json::Value;

use super::error::{self, Refused};
use crate::{http::Opened, sse};

/// Told what Dify calls a run, and its conversation, as soon as Dify says so.
pub(super) type Begun<'a> = dyn Fn(Option<&str>, Option<&str>) + Sync + 'a;

/// The most that an answer may say, in bytes.
const MAX_SAID_BYTES: usize = 1024 * 1024;
/// The longest event: one node of a chatflow with its inputs and outputs.
const MAX_EVENT_BYTES: usize = 16 * 1024 * 1024;

/// An event of a stream, or a whole answer. Others, and what else these hold, mean nothing to us.
#[derive(Default, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_field_names, reason = "named as on the wire")]
struct Event {
    event: String,
    task_id: Option<String>,
    conversation_id: Option<String>,
    answer: Option<String>,
    metadata: Option<Metadata>,
    files: Option<Vec<File>>,
    belongs_to: Option<String>,
    url: Option<String>,
    data: Option<Value>,
    code: Option<String>,
    message: Option<String>,
    status: Option<Value>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata {
    usage: Option<RawUsage>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_field_names, reason = "named as on the wire")]
struct RawUsage {
    prompt_tokens: Option<i64>,
    completion_tokens: Option<i64>,
    total_tokens: Option<i64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct File {
    url: Option<String>,
    filename: Option<String>,
}

impl RawUsage {
    fn read(self) -> Option<Usage> {
        let output = self.completion_tokens.unwrap_or_default();
        let input =
            self.prompt_tokens.or_else(|| self.total_tokens.map(|total| total.saturating_sub(output)))?;
        Some(Usage { input_tokens: input, cached_input_tokens: 0, output_tokens: output })
    }
}

/// Why an answer can't be used.
#[derive(Debug)]
enum Wrong {
    Shape(&'static str),
    TooLong,
    Failed(Refused),
    /// The run came to nothing, in these words.
    Came(String),
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
            Self::Failed(refused) => {
                let excerpt = crate::http::excerpt(refused.message.as_bytes());
                let error = opened.bad("the run failed".to_owned());
                VendorError { excerpt, ..error::named(error, &refused) }
            }
            Self::Came(why) => opened.bad(why),
        }
    }
}

/// Reads a whole answer. Gives the conversation too.
pub(super) async fn whole(opened: &mut Opened) -> Result<(Answer, Option<String>), VendorError> {
    let body = opened.whole().await.map_err(error::begun)?;
    let read = || {
        let text = std::str::from_utf8(&body).map_err(|_| Wrong::Shape("the answer is not UTF-8"))?;
        let event: Event =
            serde_json::from_str(text).map_err(|_| Wrong::Shape("the answer can't be read"))?;
        let mut pieces = Pieces::default();
        match event.event.as_str() {
            "workflow_paused" => pieces.text = event.answer.clone().unwrap_or_default(),
            _ if event.answer.is_none() => return Err(Wrong::Shape("the answer is none")),
            _ => pieces.text.push_str(event.answer.as_deref().unwrap_or_default()),
        }
        pieces.end(event)?;
        Ok(pieces)
    };
    match read() {
        Ok(pieces) => Ok(pieces.finish()),
        Err(wrong) => Err(error::begun(wrong.into_error(opened))),
    }
}

/// Reads a stream to what ends it. Tells what Dify calls the run as soon as it is known. Gives the conversation too.
pub(super) async fn stream(
    opened: &mut Opened,
    begun: &Begun<'_>,
) -> Result<(Answer, Option<String>), VendorError> {
    let (mut parser, mut pieces) = (sse::Parser::new(MAX_EVENT_BYTES), Pieces::default());
    let ended = loop {
        let chunk = match opened.chunk().await {
            Ok(chunk) => chunk,
            Err(error) => break Err(error),
        };
        let mut each = |_: &str, data: &str| pieces.take(data, begun);
        let read = match &chunk {
            Some(chunk) => parser.feed(chunk, &mut each),
            None => parser.finish(&mut each),
        };
        if let Err(wrong) = read {
            break Err(wrong.into_error(opened));
        }
        if pieces.done {
            break Ok(());
        }
        if chunk.is_none() {
            break Err(opened.bad("the stream ended without an end of the answer".to_owned()));
        }
    };
    match ended {
        Ok(()) => Ok(pieces.finish()),
        // Its first word says that the run has begun, unless that is that there are too many.
        Err(error) => match pieces.heard {
            Heard::Begun => Err(error::begun(error)),
            Heard::Something if error.kind != FailureKind::RateLimited => Err(error::begun(error)),
            Heard::Something | Heard::Nothing => Err(error),
        },
    }
}

/// What has come so far.
#[derive(Default)]
struct Pieces {
    text: String,
    /// Whether pieces of an agent have come: then a message repeats them as a whole.
    of_agent: bool,
    files: Vec<String>,
    usage: Option<Usage>,
    conversation: Option<String>,
    heard: Heard,
    done: bool,
}

/// How much Dify has said of a run.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Heard {
    #[default]
    Nothing,
    /// Something that may be a refusal.
    Something,
    /// It has begun: then asking again is another message.
    Begun,
}

impl Pieces {
    fn take(&mut self, data: &str, begun: &Begun<'_>) -> Result<(), Wrong> {
        if self.done {
            return Ok(());
        }
        self.heard = if self.heard == Heard::Begun { Heard::Begun } else { Heard::Something };
        let event: Event =
            serde_json::from_str(data).map_err(|_| Wrong::Shape("a piece of the answer can't be read"))?;
        if self.heard != Heard::Begun && event.event != "error" {
            self.heard = Heard::Begun;
            let conversation = event.conversation_id.as_deref().filter(|id| !id.is_empty());
            begun(event.task_id.as_deref(), conversation);
        }
        match event.event.as_str() {
            "message" if self.of_agent => self.text = event.answer.clone().unwrap_or_default(),
            // A chat that shows a file sends the rest of its text under the file's name.
            "message" | "message_file" => self.text.push_str(event.answer.as_deref().unwrap_or_default()),
            "agent_message" => {
                self.of_agent = true;
                self.text.push_str(event.answer.as_deref().unwrap_or_default());
            }
            "message_replace" => self.text = event.answer.clone().unwrap_or_default(),
            "message_end" | "workflow_finished" | "workflow_paused" | "error" => return self.end(event),
            _ => {}
        }
        if event.event == "message_file" && event.belongs_to.as_deref() != Some("user") {
            self.files.extend(event.url.filter(|url| url.starts_with("http")));
        }
        self.conversation = event.conversation_id.filter(|id| !id.is_empty()).or(self.conversation.take());
        if self.text.len() > MAX_SAID_BYTES { Err(Wrong::TooLong) } else { Ok(()) }
    }

    /// Takes what ends an answer.
    fn end(&mut self, event: Event) -> Result<(), Wrong> {
        self.done = true;
        self.conversation = event.conversation_id.filter(|id| !id.is_empty()).or(self.conversation.take());
        self.usage =
            event.metadata.and_then(|metadata| metadata.usage).and_then(RawUsage::read).or(self.usage);
        for File { url, filename } in event.files.into_iter().flatten() {
            let Some(url) = url.filter(|url| url.starts_with("http") && !self.files.contains(url)) else {
                continue;
            };
            self.files.push(filename.map_or_else(|| url.clone(), |name| format!("{name}: {url}")));
        }
        let data = event.data.unwrap_or_default();
        match event.event.as_str() {
            "error" => {
                let status =
                    event.status.and_then(|status| status.as_u64()).and_then(|it| u16::try_from(it).ok());
                Err(Wrong::Failed(Refused {
                    code: event.code.unwrap_or_default(),
                    message: event.message.unwrap_or_default(),
                    status,
                }))
            }
            "workflow_paused" if self.text.trim().is_empty() => {
                Err(Wrong::Came("the flow waits for a form that nobody here can fill in".to_owned()))
            }
            "workflow_finished" => match data["status"].as_str() {
                Some("failed") => Err(Wrong::Failed(Refused {
                    code: "completion_request_error".to_owned(),
                    message: data["error"].as_str().unwrap_or_default().to_owned(),
                    status: Some(500),
                })),
                Some("stopped") => Err(Wrong::Came("the run was stopped at Dify".to_owned())),
                _ => {
                    let total =
                        RawUsage { total_tokens: data["total_tokens"].as_i64(), ..RawUsage::default() };
                    self.usage = self.usage.or(total.read());
                    Ok(())
                }
            },
            _ => Ok(()),
        }
    }

    fn finish(self) -> (Answer, Option<String>) {
        let text = if self.files.is_empty() {
            self.text
        } else {
            format!("{}\n\n{}", self.text.trim_end(), self.files.join("\n")).trim_start().to_owned()
        };
        (Answer { text, usage: self.usage, ..Answer::default() }, self.conversation)
    }
}
