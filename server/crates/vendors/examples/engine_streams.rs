//! What an engine costs over a bare HTTP client: for `cargo xtask bench`, which starts the simulator and this.
//!
//! `engine_streams <base URL> <key> <streams> <seconds> <pairs>` keeps so many streams of 50 tokens a second open, for so
//! long, through the `openai` engine and through a client that reads bytes and nothing more, in turns, and prints for each
//! pair one JSON line of what a completion took and what it cost this process: `{"engine": {"p50_ms", "cpu_ms"}, "bare": …}`.

#![expect(clippy::print_stdout, reason = "its output is its purpose")]
#![expect(clippy::unwrap_used, reason = "a measurement that can't go on has failed")]

use std::{sync::Arc, time::Duration};

use domain::{
    DialogueId, MessageId, Timestamp,
    agent::Engine,
    connection::Connection,
    dialogue::{Message, Role},
    engine::{Completion, CompletionModel, Outcome},
};
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use vendors::http::{AllowList, HttpClient, Settings};

/// Fifty tokens a second, for a second.
const TEXT: &str = "/pace 20 /tokens 50";

#[derive(Clone)]
enum Caller {
    Engine(Arc<dyn CompletionModel>, Arc<Connection>, Arc<Completion>),
    Bare(reqwest::Client, Arc<str>, Arc<str>, Arc<str>),
}

impl Caller {
    async fn call(&self) {
        match self {
            Self::Engine(engine, connection, request) => {
                let never = CancellationToken::new();
                let outcome = engine.complete(connection, request, &never).await.expect("an answer");
                assert!(matches!(outcome, Outcome::Answered(answer) if answer.text.ends_with("word50")));
            }
            Self::Bare(client, url, key, body) => {
                let request = client.post(url.as_ref()).header("authorization", key.as_ref());
                let request = request.header("content-type", "application/json").body(body.to_string());
                let mut response = request.send().await.expect("an answer");
                let mut bytes = 0;
                while let Some(chunk) = response.chunk().await.expect("a piece") {
                    bytes += chunk.len();
                }
                assert!(bytes > 1_000);
            }
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [base_url, key, streams, seconds, pairs] = &arguments[..] else {
        panic!("engine_streams <base URL> <key> <streams> <seconds> <pairs>");
    };
    let (streams, pairs): (usize, usize) = (streams.parse().unwrap(), pairs.parse().unwrap());
    let length = Duration::from_secs(seconds.parse().unwrap());
    let engine = engine(base_url, key);
    let bare = bare(base_url, key);
    // Connections and code are warm before it counts.
    measure(&bare, streams, Duration::from_secs(1)).await;
    measure(&engine, streams, Duration::from_secs(1)).await;
    for pair in 0..pairs {
        // Whatever changes over time meets both sides first as often.
        let (engine, bare) = if pair % 2 == 0 {
            let engine = measure(&engine, streams, length).await;
            (engine, measure(&bare, streams, length).await)
        } else {
            let bare = measure(&bare, streams, length).await;
            (measure(&engine, streams, length).await, bare)
        };
        println!("{}", json!({ "engine": engine, "bare": bare }));
    }
}

fn engine(base_url: &str, key: &str) -> Caller {
    let http = HttpClient::new(Settings { allow: AllowList::All, ..Settings::default() });
    let vendors = vendors::all(http, vendors::Settings::default());
    let engine =
        vendors.get("openai").and_then(|vendor| vendor.engine.clone()).expect("the engine is listed");
    let connection = Connection {
        settings: json!({ "base_url": base_url }),
        credentials: [("api_key".to_owned(), key.into())].into(),
        ..Connection::default()
    };
    let message = Message {
        id: MessageId(Uuid::nil()),
        dialogue: DialogueId(Uuid::nil()),
        seq: 1,
        role: Role::User,
        text: TEXT.to_owned(),
        parts: Vec::new(),
        external_id: String::new(),
        turn: None,
        created_at: Timestamp::UNIX_EPOCH,
        metadata: serde_json::Map::new(),
        sent_at: None,
    };
    let request = Completion {
        engine: Engine {
            vendor: "openai".to_owned(),
            integration: None,
            model: "gpt-4o-mini".to_owned(),
            temperature: None,
            max_output_tokens: None,
            settings: Value::Null,
            price: None,
        },
        dialogue: DialogueId(Uuid::nil()),
        instructions: "Be kind.".to_owned(),
        history: vec![message],
        at: Timestamp::UNIX_EPOCH,
        run: 1,
        tools: Vec::new(),
        steps: Vec::new(),
        notes: None,
    };
    Caller::Engine(engine, Arc::new(connection), Arc::new(request))
}

fn bare(base_url: &str, key: &str) -> Caller {
    let body = json!({
        "model": "gpt-4o-mini",
        "messages": [{ "role": "system", "content": "Be kind." }, { "role": "user", "content": TEXT }],
        "stream": true,
        "stream_options": { "include_usage": true },
    });
    let client = reqwest::Client::builder().no_proxy().tcp_nodelay(true);
    // It speaks no TLS here, but wants to be able to.
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let client = client.tls_backend_preconfigured(tls).build().unwrap();
    let url = format!("{base_url}/chat/completions");
    Caller::Bare(client, url.into(), format!("Bearer {key}").into(), body.to_string().into())
}

async fn measure(caller: &Caller, streams: usize, length: Duration) -> Value {
    let begun = (Instant::now(), cpu_ms());
    let mut tasks = JoinSet::new();
    for number in 0..streams {
        let caller = caller.clone();
        // Streams don't begin all at once.
        let at = begun.0
            + Duration::from_secs(1) * u32::try_from(number).unwrap() / u32::try_from(streams).unwrap();
        tasks.spawn(async move {
            tokio::time::sleep_until(at).await;
            let mut times = Vec::new();
            while at.elapsed() < length {
                let start = Instant::now();
                caller.call().await;
                times.push(start.elapsed().as_secs_f64() * 1e3);
            }
            times
        });
    }
    let mut times = tasks.join_all().await.concat();
    times.sort_by(f64::total_cmp);
    #[expect(clippy::cast_precision_loss, reason = "there are few")]
    let cpu = (cpu_ms() - begun.1) / times.len() as f64;
    json!({ "p50_ms": times[times.len() / 2], "cpu_ms": cpu })
}

/// What this process has used of its processor, in milliseconds: it has one thread.
fn cpu_ms() -> f64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").expect("Linux tells");
    text.split_whitespace().next().and_then(|ns| ns.parse::<f64>().ok()).expect("a number") / 1e6
}
