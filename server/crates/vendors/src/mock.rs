//! An engine that needs no account: for demonstrations, tests and measurements.
//!
//! It is deterministic: the same request gets the same answer, which quotes what the customer wrote since the last
//! reply. The newest customer message can tell it what to do, see [`Directive`].

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use domain::{
    FieldViolation,
    connection::Connection,
    dialogue::{Message, Role},
    engine::{Answer, Completion, CompletionModel, Model, Outcome, ToolCall, Usage},
    vendor::{Applied, FailureKind, Retry, Vendor, VendorError},
};
use serde::{Deserialize, Deserializer, de};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::settings;

/// Gives the vendor.
pub fn vendor() -> Vendor {
    Vendor { engine: Some(Arc::new(Mock)), ..Vendor::new(ID, "Mock", "/docs") }
}

const ID: &str = "mock";
/// The longest that an answer may take.
const MAX_DELAY: Duration = Duration::from_mins(10);
/// How long it is left alone when it works on an answer.
const LONGEST_PAUSE: Duration = Duration::from_millis(200);
/// How much of the customer's messages an answer quotes, in characters.
const MAX_QUOTE_CHARS: usize = 2_000;

/// What an agent's `engine.settings` may hold.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    /// How long each answer takes, in milliseconds up to [`MAX_DELAY`].
    #[serde(rename = "delay_ms", deserialize_with = "milliseconds")]
    delay: Duration,
    /// Which runs fail.
    fail: Fail,
    /// How many words the input may have. `None`: any number.
    context_tokens: Option<u32>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Fail {
    /// None.
    #[default]
    Never,
    /// The first run of every turn.
    Once,
    /// All.
    Always,
}

/// Reads any JSON number, because `google.protobuf.Struct` makes 250.0 of 250.
fn milliseconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    Duration::try_from_secs_f64(f64::deserialize(deserializer)? / 1e3)
        .ok()
        .filter(|delay| *delay <= MAX_DELAY)
        .ok_or_else(|| de::Error::custom("out of range"))
}

impl Settings {
    /// Reads the settings; null is none.
    fn read(given: &Value) -> Result<Self, Vec<FieldViolation>> {
        settings::read(
            given,
            &[
                ("delay_ms", "must be a number of milliseconds, 0 to 600000"),
                ("fail", "must be `never`, `once` or `always`"),
                ("context_tokens", "must be a number of words, from 0"),
            ],
        )
    }
}

/// What the beginning of the newest customer message tells the engine to do.
#[derive(Debug, PartialEq, Eq)]
enum Directive<'a> {
    /// `/slow <ms>`: answer after so many milliseconds, whatever the settings say.
    Slow(Duration),
    /// `/later <ms>`: answer so many milliseconds after the message came, and say before that one has to wait.
    Later(Duration),
    /// `/fail`: fail in every run, as a vendor that is down. `/fail once`: in the first run of the turn only.
    Fail { once: bool },
    /// `/fail permanent`: fail, and say that trying again can't help.
    FailForGood,
    /// `/tool <tool> <name> <value>`: call the tool once with these two arguments, then answer with its result.
    Tool { tool: &'a str, name: &'a str, value: String },
    /// `/call <tool> <arguments>`: the same with arguments as JSON; what is no JSON is handed on as models do that got it wrong.
    Call { tool: &'a str, arguments: &'a str },
    /// `/prompt`: answer with all that the engine was given.
    Prompt,
    /// `/usage <tokens>`: say that the answer took so many output tokens. `/usage none`: say nothing of what it used.
    Usage(Option<i64>),
}

impl<'a> Directive<'a> {
    /// Reads the beginning of a text. What is not quite a directive is an ordinary message.
    fn read(text: &'a str) -> Option<Self> {
        let words: Vec<_> = text.split_whitespace().take(4).collect();
        let delay = |ms: &str| ms.parse().ok().map(Duration::from_millis).filter(|delay| *delay <= MAX_DELAY);
        match words.as_slice() {
            ["/slow", ms, ..] => delay(ms).map(Self::Slow),
            ["/later", ms, ..] => delay(ms).map(Self::Later),
            ["/fail", "permanent", ..] => Some(Self::FailForGood),
            ["/fail", "once", ..] => Some(Self::Fail { once: true }),
            ["/fail", ..] => Some(Self::Fail { once: false }),
            ["/call", tool, _, ..] => {
                let rest = text.trim_start().trim_start_matches("/call").trim_start();
                Some(Self::Call { tool, arguments: rest[tool.len()..].trim() })
            }
            ["/prompt", ..] => Some(Self::Prompt),
            ["/usage", "none", ..] => Some(Self::Usage(None)),
            ["/usage", tokens, ..] => tokens.parse().ok().map(|tokens| Self::Usage(Some(tokens))),
            ["/tool", tool, name, _, ..] => {
                let value: Vec<_> = text.split_whitespace().skip(3).collect();
                Some(Self::Tool { tool, name, value: value.join(" ") })
            }
            _ => None,
        }
    }
}

struct Mock;

#[async_trait]
impl CompletionModel for Mock {
    fn check_settings(&self, settings: &Value) -> Result<(), Vec<FieldViolation>> {
        Settings::read(settings).map(drop)
    }

    async fn complete(
        &self,
        _connection: &Connection,
        request: &Completion,
        cancelled: &CancellationToken,
    ) -> Result<Outcome, VendorError> {
        let settings = Settings::read(&request.engine.settings)
            .map_err(|_| failure("the agent's engine settings are not valid", Retry::Never))?;
        let newest = request.history.iter().rfind(|message| message.role == Role::User);
        let directive = newest.and_then(|message| Directive::read(&message.text));
        let delay = match directive {
            Some(Directive::Slow(delay)) => delay,
            _ => settings.delay,
        };
        // A timer of no length would still wait for the next tick, which measurements would show.
        let stopped = if delay.is_zero() {
            cancelled.is_cancelled()
        } else {
            cancelled.run_until_cancelled(tokio::time::sleep(delay)).await.is_none()
        };
        if stopped {
            return Err(failure("the run was cancelled", Retry::Backoff));
        }
        let fails = match directive {
            Some(Directive::FailForGood) => return Err(failure("told to fail for good", Retry::Never)),
            Some(Directive::Fail { once }) => !once || request.run == 1,
            _ => settings.fail == Fail::Always || (settings.fail == Fail::Once && request.run == 1),
        };
        if fails {
            return Err(failure("told to fail", Retry::Backoff));
        }
        if let (Some(Directive::Later(delay)), Some(newest)) = (&directive, newest) {
            let ready = newest.created_at + *delay;
            if request.at < ready {
                let left = Duration::try_from(ready - request.at).unwrap_or_default();
                let notes = json!({ "message": newest.id });
                return Ok(Outcome::Waiting { notes, pause: left.min(LONGEST_PAUSE) });
            }
        }
        if settings.context_tokens.is_some_and(|most| input_tokens(request) > i64::from(most)) {
            let too_long = failure("the input is longer than this model takes", Retry::Never);
            return Err(VendorError { kind: FailureKind::InputTooLong, http_status: Some(400), ..too_long });
        }
        Ok(Outcome::Answered(answer(request, directive)))
    }

    async fn list_models(&self, _connection: &Connection) -> Result<Vec<Model>, VendorError> {
        Ok(Vec::new())
    }
}

fn failure(detail: &str, retry: Retry) -> VendorError {
    VendorError {
        vendor: ID,
        operation: "complete",
        kind: FailureKind::Other,
        http_status: None,
        detail: detail.to_owned(),
        excerpt: None,
        applied: Applied::No,
        retry,
    }
}

fn answer(request: &Completion, directive: Option<Directive<'_>>) -> Answer {
    let told = match directive {
        Some(Directive::Usage(told)) => Some(told),
        _ => None,
    };
    let (text, tool_calls) = match directive {
        Some(Directive::Tool { tool, name, value }) => {
            call(request, tool, json!({"name": name, "value": value}))
        }
        Some(Directive::Call { tool, arguments }) => {
            let arguments = serde_json::from_str(arguments).unwrap_or_else(|_| arguments.into());
            call(request, tool, arguments)
        }
        Some(Directive::Prompt) => {
            (serde_json::to_string(request).expect("requests can be written as JSON"), Vec::new())
        }
        _ => (quote(&request.history), Vec::new()),
    };
    let usage = Usage {
        input_tokens: input_tokens(request),
        cached_input_tokens: 0,
        output_tokens: words(&text)
            + tool_calls
                .iter()
                .map(|call| words(&call.name) + words(&call.arguments.to_string()))
                .sum::<i64>(),
    };
    let usage = match told {
        None => Some(usage),
        Some(tokens) => tokens.map(|output_tokens| Usage { output_tokens, ..usage }),
    };
    Answer { text, tool_calls, usage, model: ID.to_owned(), ..Answer::default() }
}

/// Calls a tool once, then answers with its result.
fn call(request: &Completion, tool: &str, arguments: Value) -> (String, Vec<ToolCall>) {
    let result = request.steps.last().and_then(|step| step.results.last());
    if let Some(result) = result {
        (format!("{tool} gave {result}"), Vec::new())
    } else if request.tools.iter().any(|spec| spec.name == tool) {
        (String::new(), vec![ToolCall { id: String::new(), name: tool.to_owned(), arguments }])
    } else {
        (format!("I have no tool {tool}"), Vec::new())
    }
}

fn input_tokens(request: &Completion) -> i64 {
    let results =
        request.steps.iter().flat_map(|step| &step.results).map(|result| words(&result.to_string()));
    let history = request.history.iter().map(|message| words(&message.text));
    words(&request.instructions) + history.chain(results).sum::<i64>()
}

/// Says what the customer wrote since the last reply.
fn quote(history: &[Message]) -> String {
    let since = history.iter().rposition(|message| message.role == Role::Assistant).map_or(0, |at| at + 1);
    let texts: Vec<_> = history[since..]
        .iter()
        .filter(|message| message.role == Role::User)
        .map(|message| format!("“{}”", message.text))
        .collect();
    let mut quoted = texts.join(", ");
    if let Some((at, _)) = quoted.char_indices().nth(MAX_QUOTE_CHARS) {
        quoted.truncate(at);
        quoted.push('…');
    }
    match texts.len() {
        1 => format!("You wrote 1 message: {quoted}"),
        count => format!("You wrote {count} messages: {quoted}"),
    }
}

/// Counts the words, which this engine takes for tokens.
fn words(text: &str) -> i64 {
    i64::try_from(text.split_whitespace().count()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use domain::{
        DialogueId, MessageId, Timestamp,
        agent::Engine,
        engine::{Step, ToolSpec},
    };
    use uuid::Uuid;

    use super::*;

    fn request(history: &[(Role, &str)]) -> Completion {
        let message = |(at, (role, text)): (usize, &(Role, &str))| Message {
            id: MessageId(Uuid::from_u128(at as u128)),
            dialogue: DialogueId(Uuid::nil()),
            seq: i64::try_from(at).unwrap() + 1,
            role: *role,
            text: (*text).to_owned(),
            parts: Vec::new(),
            external_id: at.to_string(),
            turn: None,
            created_at: Timestamp::UNIX_EPOCH,
            metadata: serde_json::Map::new(),
            sent_at: None,
        };
        Completion {
            engine: Engine {
                vendor: ID.into(),
                integration: None,
                model: String::new(),
                temperature: None,
                max_output_tokens: None,
                settings: Value::Null,
                price: None,
            },
            instructions: "Be kind.".into(),
            history: history.iter().enumerate().map(message).collect(),
            dialogue: DialogueId(Uuid::nil()),
            at: Timestamp::UNIX_EPOCH,
            run: 1,
            notes: None,
            tools: vec![ToolSpec {
                name: "set_attribute".into(),
                description: String::new(),
                parameters: json!({}),
            }],
            steps: Vec::new(),
        }
    }

    async fn complete(request: &Completion) -> Result<Answer, VendorError> {
        match Mock.complete(&Connection::default(), request, &CancellationToken::new()).await? {
            Outcome::Answered(answer) => Ok(answer),
            Outcome::Waiting { .. } => panic!("it never waits"),
            Outcome::Failed { error, .. } => Err(error),
        }
    }

    #[tokio::test]
    async fn it_quotes_what_the_customer_wrote_since_the_last_reply() {
        let request = request(&[
            (Role::User, "hello"),
            (Role::Assistant, "You wrote 1 message: “hello”"),
            (Role::User, "are you"),
            (Role::Employee, "a moment"),
            (Role::User, "there?"),
        ]);
        let answer = complete(&request).await.unwrap();
        assert_eq!(answer.text, "You wrote 2 messages: “are you”, “there?”");
        assert_eq!(answer.usage, Some(Usage { input_tokens: 13, cached_input_tokens: 0, output_tokens: 7 }));
        assert_eq!(complete(&request).await.unwrap(), answer);
    }

    #[tokio::test]
    async fn a_long_message_is_quoted_in_part() {
        let answer = complete(&request(&[(Role::User, &"ü".repeat(5_000))])).await.unwrap();
        assert!(answer.text.chars().count() < 2_100 && answer.text.ends_with('…'));
    }

    #[tokio::test]
    async fn it_fails_as_told() {
        let retry = async |text: &str, fail: &str, run| {
            let mut request = request(&[(Role::User, text)]);
            request.engine.settings = json!({"fail": fail});
            request.run = run;
            complete(&request).await.map(drop).map_err(|error| error.retry)
        };
        for (text, fail, run, expected) in [
            ("hi", "never", 1, Ok(())),
            ("hi", "once", 1, Err(Retry::Backoff)),
            ("hi", "once", 2, Ok(())),
            ("hi", "always", 9, Err(Retry::Backoff)),
            ("/fail", "never", 9, Err(Retry::Backoff)),
            ("/fail once", "never", 1, Err(Retry::Backoff)),
            ("/fail once please", "never", 2, Ok(())),
            ("/fail permanent", "never", 1, Err(Retry::Never)),
            ("please /fail", "never", 1, Ok(())),
        ] {
            assert_eq!(retry(text, fail, run).await, expected, "{text} {fail} {run}");
        }
    }

    #[tokio::test]
    async fn it_uses_what_it_is_told_to() {
        let used = async |text| complete(&request(&[(Role::User, text)])).await.unwrap().usage;
        assert_eq!(used("/usage none").await, None);
        assert_eq!(used("/usage 70 please").await.map(|usage| usage.output_tokens), Some(70));
        assert_eq!(used("/usage much").await.map(|usage| usage.output_tokens), Some(6));
    }

    #[tokio::test]
    async fn it_calls_a_tool_once_and_answers_with_its_result() {
        let mut request = request(&[(Role::User, "/tool set_attribute plan  gold card")]);
        let first = complete(&request).await.unwrap();
        assert_eq!(first.text, "");
        let arguments = json!({"name": "plan", "value": "gold card"});
        assert_eq!(
            first.tool_calls,
            [ToolCall { id: String::new(), name: "set_attribute".into(), arguments }]
        );
        request.steps.push(Step { answer: first, results: vec![json!({"ok": true})] });
        let second = complete(&request).await.unwrap();
        assert_eq!((second.text.as_str(), second.tool_calls.len()), ("set_attribute gave {\"ok\":true}", 0));

        for (text, arguments) in [
            ("/call set_attribute {\"name\": \"a  b\"}", json!({"name": "a  b"})),
            ("/call set_attribute {\"name\":", json!("{\"name\":")),
        ] {
            request.steps.clear();
            request.history[0].text = text.to_owned();
            assert_eq!(complete(&request).await.unwrap().tool_calls[0].arguments, arguments);
        }

        request.steps.clear();
        request.tools.clear();
        assert_eq!(complete(&request).await.unwrap().text, "I have no tool set_attribute");
    }

    #[tokio::test]
    async fn it_lets_wait_as_told() {
        let mut request = request(&[(Role::User, "/later 500 please")]);
        let ask = async |request: &Completion| {
            Mock.complete(&Connection::default(), request, &CancellationToken::new()).await.unwrap()
        };
        for (elapsed, expected) in [(0, Some(200)), (400, Some(100)), (500, None)] {
            request.at = Timestamp::UNIX_EPOCH + Duration::from_millis(elapsed);
            let pause = match ask(&request).await {
                Outcome::Waiting { pause, .. } => Some(pause),
                Outcome::Answered(_) | Outcome::Failed { .. } => None,
            };
            assert_eq!(pause, expected.map(Duration::from_millis), "after {elapsed} ms");
        }
    }

    #[tokio::test]
    async fn it_takes_so_many_words() {
        let mut request = request(&[(Role::User, "one two three four")]);
        request.engine.settings = json!({"context_tokens": 6});
        assert!(complete(&request).await.is_ok());
        request.engine.settings = json!({"context_tokens": 5});
        assert_eq!(complete(&request).await.unwrap_err().kind, FailureKind::InputTooLong);
    }

    #[tokio::test]
    async fn it_shows_what_it_was_given() {
        let text = complete(&request(&[(Role::User, "/prompt")])).await.unwrap().text;
        assert_eq!(serde_json::from_str::<Completion>(&text).unwrap().instructions, "Be kind.");
    }

    #[tokio::test]
    async fn it_is_as_slow_as_told() {
        let elapsed = async |text: &str, settings| {
            let mut request = request(&[(Role::User, text)]);
            request.engine.settings = settings;
            let begun = tokio::time::Instant::now();
            complete(&request).await.unwrap();
            begun.elapsed()
        };
        let long = Duration::from_secs(5);
        assert!(elapsed("hi", json!({"delay_ms": 20.0})).await >= Duration::from_millis(20));
        let told = elapsed("/slow 20 hi", json!({"delay_ms": 600_000})).await;
        assert!((Duration::from_millis(20)..long).contains(&told));
        assert!(elapsed("/slow 600001", json!({})).await < long);
    }

    #[tokio::test]
    async fn it_stops_when_cancelled() {
        let (connection, cancelled) = (Connection::default(), CancellationToken::new());
        let request = request(&[(Role::User, "/slow 600000")]);
        let begun = tokio::time::Instant::now();
        let (result, ()) =
            tokio::join!(Mock.complete(&connection, &request, &cancelled), async { cancelled.cancel() });
        assert!(result.is_err() && begun.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn every_bad_setting_is_named() {
        let wrong = |settings: Value| Mock.check_settings(&settings).unwrap_err();
        let fields: Vec<_> = wrong(json!({"delay_ms": -1, "fail": "maybe", "speed": 1, "also": null}))
            .into_iter()
            .map(|violation| violation.field)
            .collect();
        assert_eq!(fields, ["settings.also", "settings.delay_ms", "settings.fail", "settings.speed"]);
        assert_eq!(wrong(json!([]))[0].field, "settings");
        for bad in [
            json!({"delay_ms": 600_001}),
            json!({"delay_ms": "5"}),
            json!({"delay_ms": null}),
            json!({"fail": 1}),
        ] {
            assert_eq!(wrong(bad.clone()).len(), 1, "{bad}");
        }
        for good in
            [json!(null), json!({}), json!({"delay_ms": 600_000, "fail": "once"}), json!({"delay_ms": 0})]
        {
            assert_eq!(Mock.check_settings(&good), Ok(()), "{good}");
        }
    }
}
