//! What every engine with an account owes, whoever it is: the tests walk the list, each engine over its simulator, so a new
//! one is tested by being in it.
//!
//! `fixtures/<vendor>/requests/<name>.golden.json` holds what a vendor is sent; `UPDATE_GOLDEN=1` writes it anew.

#![expect(clippy::unwrap_used, reason = "a failing test may panic")]

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use domain::{
    DialogueId, MessageId, Timestamp,
    agent::Engine,
    connection::{CheckOutcome, Connection, Connector},
    dialogue::{Message, Role},
    engine::{Answer, Completion, CompletionModel, Finish, Outcome, Step, ToolSpec},
    part::{Part, PartKind},
    vendor::{Applied, FailureKind, Retry, VendorError},
};
use serde_json::{Value, json};
use simulator::{Ended, Fault, KEY, Simulator};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use vendors::http::{AllowList, HttpClient, Settings};

const PATIENCE: Duration = Duration::from_secs(20);

/// One engine in one of its ways to answer.
struct Subject {
    id: &'static str,
    engine: Arc<dyn CompletionModel>,
    connector: Arc<dyn Connector>,
    connection: Connection,
    simulated: simulator::Vendor,
    settings: Value,
    /// Keeps the vendor alive.
    _simulator: Arc<Simulator>,
}

/// A model of the vendor that takes everything.
fn model(vendor: &str) -> &'static str {
    match vendor {
        "openai" => "gpt-4o-mini",
        "anthropic" => "claude-sonnet-5-5",
        "gemini" => "gemini-3.6-flash",
        _ => "",
    }
}

fn vendors() -> domain::vendor::Vendors {
    let settings = Settings { allow: AllowList::All, ..Settings::default() };
    vendors::all(HttpClient::new(settings), vendors::Settings::default())
}

fn connection(base_url: &str, key: &str) -> Connection {
    Connection {
        settings: json!({ "base_url": base_url }),
        credentials: [("api_key".to_owned(), key.into())].into(),
        ..Connection::default()
    }
}

/// Every engine that needs an account, streaming and not, each over a simulator of its own.
async fn subjects() -> Vec<Subject> {
    let mut subjects = Vec::new();
    for vendor in vendors().iter() {
        let (Some(engine), Some(connector)) = (&vendor.engine, &vendor.connector) else { continue };
        // Those that keep a conversation at the vendor answer by rules of their own, which their stories hold them to.
        if engine.keeps_notes() {
            continue;
        }
        for stream in [true, false] {
            let settings = json!({ "stream": stream, "idle_timeout_seconds": 0.5 });
            let simulator = Arc::new(Simulator::start(([127, 0, 0, 1], 0).into()).await.unwrap());
            let simulated =
                simulator.vendor(vendor.id).unwrap_or_else(|| panic!("{} is not simulated", vendor.id));
            subjects.push(Subject {
                id: vendor.id,
                engine: engine.clone(),
                connector: connector.clone(),
                connection: connection(simulated.base_url(), KEY),
                simulated: simulated.clone(),
                settings,
                _simulator: simulator,
            });
        }
    }
    assert!(subjects.len() >= 6);
    subjects
}

impl Subject {
    fn request(&self, history: &[(Role, &str)]) -> Completion {
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
                vendor: self.id.into(),
                integration: None,
                model: model(self.id).into(),
                temperature: None,
                max_output_tokens: Some(800),
                settings: self.settings.clone(),
                price: None,
            },
            dialogue: DialogueId(Uuid::nil()),
            instructions: "You help customers of Acme.".into(),
            history: history.iter().enumerate().map(message).collect(),
            at: Timestamp::UNIX_EPOCH,
            run: 1,
            tools: vec![ToolSpec {
                name: "order_status".into(),
                description: "Looks up an order.".into(),
                parameters: json!({
                    "type": "object",
                    "properties": { "order_id": { "type": "string" } },
                    "required": ["order_id"],
                    "additionalProperties": false,
                }),
            }],
            steps: Vec::new(),
            notes: None,
        }
    }

    async fn complete(&self, request: &Completion) -> Result<Answer, VendorError> {
        let never = CancellationToken::new();
        let asked = self.engine.complete(&self.connection, request, &never);
        match timeout(PATIENCE, asked).await.unwrap_or_else(|_| panic!("{self} does not end"))? {
            Outcome::Answered(answer) => Ok(answer),
            Outcome::Waiting { .. } => panic!("{self} waits"),
            Outcome::Failed { error, .. } => Err(error),
        }
    }

    async fn ask(&self, text: &str) -> Result<Answer, VendorError> {
        self.complete(&self.request(&[(Role::User, text)])).await
    }

    async fn with(&self, fault: Fault, text: &str) -> Result<Answer, VendorError> {
        self.simulated.faults().add(fault, Some(1));
        self.ask(text).await
    }

    /// The body of the newest call.
    fn sent(&self) -> Value {
        serde_json::from_slice(&self.simulated.calls().last().unwrap().body).unwrap()
    }

    /// Compares the body of the newest call with what was found right once.
    fn golden(&self, name: &str) {
        let stream = if self.settings["stream"] == true { "_streamed" } else { "" };
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(self.id).join("requests");
        let path = folder.join(format!("{name}{stream}.golden.json"));
        let sent = self.sent();
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&path, format!("{sent:#}\n")).unwrap();
        }
        let golden = std::fs::read(&path).unwrap_or_else(|_| panic!("{} is missing", path.display()));
        assert_eq!(sent, serde_json::from_slice::<Value>(&golden).unwrap(), "{}", path.display());
    }
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} with {}", self.id, self.settings)
    }
}

#[tokio::test]
async fn a_dialogue_is_answered_and_counted() {
    for subject in subjects().await {
        let mut request = subject.request(&[
            (Role::User, "Hello"),
            (Role::Assistant, "Good day!"),
            (Role::User, "My name is Jürgen 🦀"),
            (Role::Employee, "I am here, too."),
            (Role::User, "Where is order 42?"),
        ]);
        let answer = subject.complete(&request).await.unwrap();
        assert_eq!(
            answer.text, "You wrote 2 messages: “My name is Jürgen 🦀”, “Where is order 42?”",
            "{subject}"
        );
        let usage = answer.usage.unwrap();
        assert!(usage.input_tokens > 20 && usage.cached_input_tokens == 1, "{subject}: {usage:?}");
        assert_eq!((usage.output_tokens, answer.finish), (13, Finish::Stop), "{subject}");
        assert!(answer.model.starts_with(model(subject.id)), "{subject}: {}", answer.model);
        assert_eq!((answer.tool_calls.len(), answer.carry), (0, None));
        subject.golden("dialogue");

        let image = Part {
            kind: PartKind::Image,
            url: "https://example.com/a.png".into(),
            media_type: "image/png".into(),
            name: String::new(),
        };
        request.history[4].parts = vec![image];
        let answer = subject.complete(&request).await.unwrap();
        // Gemini is told the media type, too.
        let seen = answer.text.ends_with("I see: image") || answer.text.ends_with("I see: image/png");
        assert!(seen, "{subject}: {}", answer.text);
        subject.golden("image");
    }
}

#[tokio::test]
async fn tools_are_called_and_their_results_handed_back() {
    for subject in subjects().await {
        let mut request = subject.request(&[(Role::User, "/tool order_status {\"order_id\": \"42 ü\"}")]);
        let answer = subject.complete(&request).await.unwrap();
        assert_eq!((answer.text.as_str(), answer.tool_calls.len()), ("", 1), "{subject}");
        assert_eq!(answer.tool_calls[0].name, "order_status");
        assert_eq!(answer.tool_calls[0].arguments, json!({ "order_id": "42 ü" }), "{subject}");
        assert!(answer.usage.is_some());
        request.steps.push(Step { answer, results: vec![json!({ "status": "shipped" })] });
        let last = subject.complete(&request).await.unwrap();
        assert_eq!(last.text, "order_status gave {\"status\":\"shipped\"}", "{subject}");
        subject.golden("tool_result");
        // What another engine did in an earlier step of the same turn is understood, too.
        request.steps[0].answer.carry = Some(json!({ "another": { "thing": 1 } }));
        request.steps[0].answer.tool_calls[0].id = "not an id, and much longer than forty characters".into();
        request.steps[0].results = vec![json!({ "error": "no such order" })];
        assert!(subject.complete(&request).await.unwrap().text.contains("no such order"), "{subject}");
    }
}

#[tokio::test]
async fn malformed_arguments_stay_a_text_and_can_be_answered() {
    for subject in subjects().await {
        let text = "/tool order_status {\"order_id\": \"42\"}";
        let answer = subject.with(Fault::BadArguments, text).await;
        if subject.id == "gemini" {
            // It finds out by itself, and hands out nothing.
            let error = answer.unwrap_err();
            assert_eq!((error.kind, error.retry), (FailureKind::BadAnswer, Retry::Backoff), "{subject}");
            continue;
        }
        let answer = answer.unwrap();
        assert!(answer.tool_calls[0].arguments.is_string(), "{subject}: {answer:?}");
        let mut request = subject.request(&[(Role::User, text)]);
        request.steps.push(Step { answer, results: vec![json!({ "error": "no JSON" })] });
        assert!(subject.complete(&request).await.unwrap().text.contains("no JSON"), "{subject}");
    }
}

#[tokio::test]
async fn each_refusal_has_its_kind_and_its_advice() {
    let after = Retry::After(Duration::from_secs(7));
    for subject in subjects().await {
        for (fault, kind, retry) in [
            (Fault::Unauthorized, FailureKind::Unauthorized, Retry::Never),
            (Fault::RetryAfter(7), FailureKind::RateLimited, after),
            (Fault::RateLimited, FailureKind::RateLimited, Retry::Backoff),
            (Fault::QuotaUsedUp, FailureKind::OutOfQuota, Retry::Never),
            (Fault::Overloaded, FailureKind::Unavailable, Retry::Backoff),
            (Fault::Down, FailureKind::Unavailable, Retry::Backoff),
            (Fault::InputTooLong, FailureKind::InputTooLong, Retry::Never),
            (Fault::ApplyThenFail, FailureKind::Unavailable, Retry::Backoff),
            (Fault::CutAfterReading, FailureKind::Unavailable, Retry::Backoff),
            (Fault::Status(418), FailureKind::Other, Retry::Never),
        ] {
            let before = subject.simulated.counts().begun;
            let error = subject.with(fault, "Hi").await.unwrap_err();
            assert_eq!((error.kind, error.retry), (kind, retry), "{subject} {fault:?}: {error}");
            assert_eq!(subject.simulated.counts().begun, before + 1, "{subject} asked again by itself");
        }
        // The model is gone.
        let mut request = subject.request(&[(Role::User, "Hi")]);
        request.engine.model = "yesterdays-model".into();
        assert_eq!(subject.complete(&request).await.unwrap_err().kind, FailureKind::NotFound, "{subject}");
        assert_eq!(subject.ask("Hi").await.unwrap().text, "You wrote 1 message: “Hi”", "{subject}");
    }
}

#[tokio::test]
async fn answers_that_break_off_stand_still_or_are_no_text_are_named() {
    for subject in subjects().await {
        for fault in [
            Fault::CutAfterPieces(1),
            Fault::CutAfterPieces(4),
            Fault::StallAfterPieces(3),
            Fault::BadEncoding,
        ] {
            let error = subject.with(fault, "Hi there").await.unwrap_err();
            assert_eq!(error.retry, Retry::Backoff, "{subject} {fault:?}: {error}");
            assert_eq!(error.kind, FailureKind::BadAnswer, "{subject} {fault:?}: {error}");
        }
    }
}

#[tokio::test]
async fn an_answer_without_end_is_left() {
    for subject in subjects().await {
        let error = subject.with(Fault::Endless, "Hi").await.unwrap_err();
        assert_eq!((error.kind, error.retry), (FailureKind::BadAnswer, Retry::Never), "{subject}: {error}");
        let ended = timeout(PATIENCE, subject.simulated.wait_until(|counts| counts.hung_up == 1)).await;
        assert!(ended.is_ok(), "{subject} holds the connection");
    }
}

#[tokio::test]
async fn an_empty_answer_and_a_refusal_are_answers() {
    for subject in subjects().await {
        assert_eq!(subject.with(Fault::EmptyAnswer, "Hi").await.unwrap().text, "", "{subject}");
        let refused = subject.ask("/refuse").await.unwrap();
        // Gemini refuses without a word.
        let words = if subject.id == "gemini" { "" } else { "I can't help with that." };
        assert_eq!((refused.text.as_str(), refused.finish), (words, Finish::Refused), "{subject}");
        let mut request = subject.request(&[(Role::User, "/tokens 50")]);
        request.engine.max_output_tokens = Some(5);
        let cut = subject.complete(&request).await.unwrap();
        assert_eq!(
            (cut.finish, cut.text.trim()),
            (Finish::Length, "word1 word2 word3 word4 word5"),
            "{subject}"
        );
    }
}

#[tokio::test]
async fn cancelling_hangs_up() {
    for subject in subjects().await {
        for text in ["/slow 60000 before the head", "/pace 400 /tokens 1000 in the middle"] {
            if subject.settings["stream"] == false && text.starts_with("/pace") {
                continue;
            }
            let mut request = subject.request(&[(Role::User, text)]);
            request.engine.settings["idle_timeout_seconds"] = 60.into();
            let before = subject.simulated.counts();
            let cancelled = CancellationToken::new();
            let asked = subject.engine.complete(&subject.connection, &request, &cancelled);
            let stop = async {
                subject.simulated.wait_until(|counts| counts.begun > before.begun).await;
                if text.starts_with("/pace") {
                    while subject.simulated.calls().last().unwrap().pieces < 4 {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                }
                cancelled.cancel();
                Instant::now()
            };
            let (result, at) = tokio::join!(asked, stop);
            assert!(at.elapsed() < Duration::from_secs(1), "{subject}");
            let error = result.unwrap_err();
            // It was sent: the vendor may ask money for what it had written by then.
            assert_eq!((error.kind, error.applied), (FailureKind::Cancelled, Applied::Maybe), "{subject}");
            let hung_up = subject.simulated.wait_until(|counts| counts.hung_up > before.hung_up);
            assert!(timeout(Duration::from_secs(1), hung_up).await.is_ok(), "{subject}: {text}");
            assert_eq!(subject.simulated.calls().last().unwrap().ended, Ended::HungUp);
        }
    }
}

#[tokio::test]
async fn models_are_listed_and_a_connection_is_checked() {
    for subject in subjects().await {
        let models = subject.engine.list_models(&subject.connection).await.unwrap();
        assert!(models.iter().any(|listed| listed.id == model(subject.id)), "{subject}: {models:?}");
        let check = async |connection: &Connection| {
            let steps = subject.connector.check(connection).await;
            assert!(steps.iter().all(|step| {
                !step.detail.is_empty() && step.remedy.is_empty() == (step.outcome != CheckOutcome::Failed)
            }));
            steps.into_iter().map(|step| (step.name, step.outcome)).collect::<Vec<_>>()
        };
        let (passed, failed, skipped) = (CheckOutcome::Passed, CheckOutcome::Failed, CheckOutcome::Skipped);
        let expected = |outcomes: [CheckOutcome; 3]| {
            ["reachable", "credentials", "models"].into_iter().zip(outcomes).collect::<Vec<_>>()
        };
        assert_eq!(check(&subject.connection).await, expected([passed, passed, passed]), "{subject}");
        let wrong = connection(subject.simulated.base_url(), "wrong");
        assert_eq!(check(&wrong).await, expected([passed, failed, skipped]), "{subject}");
        let nobody = connection("http://127.0.0.1:1/v1", KEY);
        assert_eq!(check(&nobody).await, expected([failed, skipped, skipped]), "{subject}");
        let astray = connection(&format!("{}/astray", subject.simulated.base_url()), KEY);
        assert_eq!(check(&astray).await, expected([passed, skipped, failed]), "{subject}");
        subject.simulated.faults().add(Fault::Down, Some(1));
        assert_eq!(check(&subject.connection).await, expected([passed, skipped, failed]), "{subject}");
        let schema = subject.connector.settings_schema();
        assert_eq!(schema["additionalProperties"], false, "{subject}");
        let properties = schema["properties"].as_object().unwrap();
        assert!(properties.values().all(|each| each["title"].is_string() && each["description"].is_string()));
        let targets = subject.connector.targets(&subject.connection.settings);
        assert_eq!(targets, [("base_url", subject.simulated.base_url().to_owned())], "{subject}");
    }
}

/// What a compatible server refuses is left out once it has said so, and from then on at once.
#[tokio::test]
async fn compatible_servers_are_asked_as_they_want() {
    for subject in subjects().await.into_iter().filter(|subject| subject.id == "openai") {
        let streams = subject.settings["stream"] == true;
        // It takes `max_completion_tokens` alone; the simulated address is not the vendor's own, so the older name is tried.
        let mut request = subject.request(&[(Role::User, "Hi")]);
        request.engine.model = "gpt-5.4-mini".into();
        for calls in [2, 1] {
            let before = subject.simulated.counts().begun;
            assert_eq!(subject.complete(&request).await.unwrap().text, "You wrote 1 message: “Hi”");
            assert_eq!(subject.simulated.counts().begun - before, calls, "{subject}");
        }
        request.engine.temperature = Some(0.5);
        let error = subject.complete(&request).await.unwrap_err();
        assert_eq!((error.kind, error.retry), (FailureKind::Other, Retry::Never), "{error}");
        // It knows neither `stream_options` nor, where settings insist, `max_completion_tokens` and `developer`.
        let mut request = subject.request(&[(Role::User, "/tool order_status {\"order_id\": \"42\"}")]);
        request.engine.model = "local-llama".into();
        request.engine.settings["max_tokens_parameter"] = "max_completion_tokens".into();
        request.engine.settings["instructions_role"] = "developer".into();
        for calls in [if streams { 4 } else { 3 }, 1] {
            let before = subject.simulated.counts().begun;
            let answer = subject.complete(&request).await.unwrap();
            assert_eq!(answer.tool_calls[0].arguments, json!({ "order_id": "42" }), "{subject}");
            assert_eq!((answer.tool_calls[0].id.as_str(), answer.finish), ("", Finish::Stop));
            assert_eq!(answer.usage, None, "{subject}");
            assert_eq!(subject.simulated.counts().begun - before, calls, "{subject}");
            request.steps = vec![Step { answer, results: vec![json!("shipped")] }];
            assert_eq!(subject.complete(&request).await.unwrap().text, "order_status gave shipped");
            request.steps.clear();
        }
        assert!(subject.sent().get("stream_options").is_none());
    }
}

/// What a model thought before it called a tool goes back unchanged; the simulated vendor insists.
#[tokio::test]
async fn thought_comes_back_with_results() {
    for mut subject in subjects().await.into_iter().filter(|subject| subject.id == "anthropic") {
        subject.settings["thinking"] = json!({ "type": "adaptive" });
        let mut request = subject.request(&[(Role::User, "/tool order_status {\"order_id\": \"42\"}")]);
        let answer = subject.complete(&request).await.unwrap();
        assert!(answer.carry.is_some());
        request.steps.push(Step { answer, results: vec![json!({ "status": "shipped" })] });
        let answer = subject.complete(&request).await.unwrap();
        assert_eq!(answer.text, "order_status gave {\"status\":\"shipped\"}");
        subject.golden("thought");
        request.steps[0].answer.carry = None;
        let error = subject.complete(&request).await.unwrap_err();
        assert!(error.excerpt.unwrap().contains("unchanged"));
    }
}

/// Answers every call with this status and everything that it was sent.
async fn parrot(status: u16) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut heard = vec![0; 65_536];
            let length = stream.read(&mut heard).await.unwrap_or_default();
            let heard = Bytes::from(heard).slice(..length);
            let head =
                format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
            let _ = stream.write_all(head.as_bytes()).await;
            let _ = stream.write_all(&heard).await;
        }
    });
    url
}

#[tokio::test]
async fn no_error_repeats_the_key() {
    for subject in subjects().await {
        for status in [200, 400, 401, 500] {
            let connection = connection(&parrot(status).await, "sk-canary-4711");
            let request = subject.request(&[(Role::User, "Hi")]);
            let asked = subject.engine.complete(&connection, &request, &CancellationToken::new()).await;
            let error = asked.unwrap_err();
            assert!(!format!("{error} {error:?}").contains("canary"), "{subject} {status}: {error:?}");
            assert!(
                status == 200 || format!("{error:?}").contains("[redacted]"),
                "{subject} {status}: {error:?}"
            );
            let steps = subject.connector.check(&connection).await;
            assert!(!format!("{steps:?}").contains("canary"), "{subject} {status}");
            assert!(!format!("{connection:?}").contains("canary"));
        }
    }
}
