//! The local engine: an OpenAI-compatible server that keeps a ledger of what it was asked, and doesn't always behave.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use crate::bench::http::Connection;

/// What each of its answers begins with; the number of the call follows.
const ANSWER: &str = "answer ";

/// An engine on loopback, until it is dropped.
#[derive(Debug)]
pub struct Model {
    addr: SocketAddr,
    state: Arc<State>,
    accepting: AbortHandle,
}

/// One call, as the engine saw it.
#[derive(Debug, Clone)]
pub struct Asked {
    /// What the customer said, by the text of the messages, in their order.
    pub said: Vec<String>,
    /// Whether it was answered to the end, as far as the engine knows.
    pub answered: bool,
}

#[derive(Debug)]
struct State {
    ledger: Mutex<Vec<Asked>>,
    rng: Mutex<StdRng>,
    behaves: AtomicBool,
}

/// What is done with a call.
#[derive(Debug, Clone, Copy)]
enum Whim {
    Answer,
    /// Answers, slowly.
    Dawdle,
    /// Asks for a tool first.
    CallTool,
    Overloaded,
    TooMany,
    /// Breaks off in the middle of its answer.
    Cut,
}

impl Model {
    /// Starts one whose whims come from the seed.
    pub async fn start(seed: u64) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let state = Arc::new(State {
            ledger: Mutex::default(),
            rng: Mutex::new(StdRng::seed_from_u64(seed ^ 0x6d6f_6465)),
            behaves: AtomicBool::new(false),
        });
        let served = Arc::clone(&state);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&served);
                // A caller that was killed, or has stopped the run, ends in the middle.
                tokio::spawn(async move { serve(stream, &state).await });
            }
        })
        .abort_handle();
        Ok(Self { addr, state, accepting })
    }

    /// The base URL.
    pub fn url(&self) -> String {
        format!("http://{}/v1", self.addr)
    }

    /// Answers everything from now on, at once.
    pub fn behave(&self) {
        self.state.behaves.store(true, Ordering::Relaxed);
    }

    /// Every call, in the order in which they came.
    pub fn asked(&self) -> Vec<Asked> {
        self.state.ledger.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Which call wrote a reply. `None`: none did.
    pub fn call_of(reply: &str) -> Option<usize> {
        reply.strip_prefix(ANSWER)?.parse().ok()
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl State {
    fn whim(&self) -> (Whim, Duration) {
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        let pause = Duration::from_millis(rng.random_range(5..150));
        if self.behaves.load(Ordering::Relaxed) {
            return (Whim::Answer, pause);
        }
        let whim = match rng.random_range(0..100) {
            0..3 => Whim::Overloaded,
            3..6 => Whim::TooMany,
            6..9 => Whim::Cut,
            9..15 => Whim::Dawdle,
            15..30 => Whim::CallTool,
            _ => Whim::Answer,
        };
        (whim, if matches!(whim, Whim::Dawdle) { pause * 10 } else { pause })
    }

    fn note(&self, request: &Value) -> usize {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        ledger.push(Asked { said: said(request), answered: false });
        ledger.len() - 1
    }

    fn answered(&self, call: usize) {
        if let Some(asked) = self.ledger.lock().unwrap_or_else(PoisonError::into_inner).get_mut(call) {
            asked.answered = true;
        }
    }
}

/// The customer's words in a request, in the order of the messages.
fn said(request: &Value) -> Vec<String> {
    let messages = request["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let text = |content: &Value| match content {
        Value::String(text) => text.clone(),
        // Text may come in parts.
        parts => parts.as_array().into_iter().flatten().filter_map(|part| part["text"].as_str()).collect(),
    };
    messages
        .iter()
        .filter(|message| message["role"] == "user")
        .flat_map(|message| text(&message["content"]).lines().map(ToOwned::to_owned).collect::<Vec<_>>())
        .filter(|line| line.contains(" says #"))
        .collect()
}

/// Whether a tool has answered already.
fn has_result(request: &Value) -> bool {
    request["messages"].as_array().is_some_and(|all| all.iter().any(|message| message["role"] == "tool"))
}

async fn serve(stream: TcpStream, state: &State) -> anyhow::Result<()> {
    let mut connection = Connection::new(stream)?;
    let Some((_, body)) = connection.receive().await? else { return Ok(()) };
    let request: Value = serde_json::from_slice(body).context("a request that is not JSON")?;
    let call = state.note(&request);
    let (whim, pause) = state.whim();
    tokio::time::sleep(pause).await;
    let refusal = |status: &str, code: &str| {
        let body = json!({ "error": { "message": "a whim", "type": code, "code": code } }).to_string();
        let length = body.len();
        format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nretry-after: 0\r\nconnection: close\r\n\
             content-length: {length}\r\n\r\n{body}"
        )
    };
    match whim {
        Whim::Overloaded => {
            let refusal = refusal("503 Service Unavailable", "server_is_overloaded");
            return connection.send(refusal.as_bytes()).await;
        }
        Whim::TooMany => {
            let refusal = refusal("429 Too Many Requests", "rate_limit_exceeded");
            return connection.send(refusal.as_bytes()).await;
        }
        _ => {}
    }
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    connection.send(head.as_bytes()).await?;
    let number = call.to_string();
    let deltas = match whim {
        Whim::CallTool if !has_result(&request) && !request["tools"].is_null() => {
            let arguments = json!({ "name": format!("note {number}"), "value": number }).to_string();
            vec![json!({ "tool_calls": [{
                "index": 0, "id": format!("call_{number}"), "type": "function",
                "function": { "name": "set_attribute", "arguments": arguments }
            }] })]
        }
        _ => vec![json!({ "role": "assistant", "content": ANSWER }), json!({ "content": number })],
    };
    let calls_tool = deltas.len() == 1;
    for delta in deltas {
        let chunk = json!({ "choices": [{ "index": 0, "delta": delta, "finish_reason": null }] });
        connection.send(format!("data: {chunk}\n\n").as_bytes()).await?;
        tokio::time::sleep(pause / 4).await;
        if matches!(whim, Whim::Cut) {
            return Ok(());
        }
    }
    let finish = if calls_tool { "tool_calls" } else { "stop" };
    let usage = json!({ "prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12 });
    let last = json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": finish }], "usage": usage });
    state.answered(call);
    connection.send(format!("data: {last}\n\ndata: [DONE]\n\n").as_bytes()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_customer_s_words_are_read_from_a_request() {
        let request = json!({ "messages": [
            { "role": "system", "content": "Be kind. a says #9" },
            { "role": "user", "content": "a says #1\na says #2" },
            { "role": "assistant", "content": "answer 1" },
            { "role": "user", "content": [{ "type": "text", "text": "a says #3" }] },
        ] });
        assert_eq!(said(&request), ["a says #1", "a says #2", "a says #3"]);
        assert_eq!((Model::call_of("answer 12"), Model::call_of("hello")), (Some(12), None));
    }
}
