//! Customers' messages, as many as the server takes or as many as are due.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

use super::http::{self, Connection};

/// The length of a message's text.
const TEXT_BYTES: usize = 200;
/// What precedes a message's number in its text. The mock engine quotes the text, so the number comes back.
const MARK: &[u8] = b"#msg-";
const DIGITS: usize = 12;
/// How long one message may take before the load is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where messages go.
#[derive(Debug, Clone)]
pub struct Customers {
    http: SocketAddr,
    token: Arc<str>,
    channel: Arc<str>,
    chats: u64,
    /// The number of the next message; each is sent once, so no two share a `message_id`.
    next: Arc<AtomicU64>,
}

/// A message that was due at a moment.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    /// Its number.
    pub number: u64,
    /// When it was due.
    pub due: Instant,
    /// When its request began to be sent.
    pub started: Instant,
    /// When its 200 had arrived.
    pub answered: Instant,
}

impl Customers {
    /// Customers who write in so many chats of a channel, to the agent with the token.
    pub fn new(http: SocketAddr, token: &str, channel: &str, chats: u64) -> Self {
        Self { http, token: token.into(), channel: channel.into(), chats, next: Arc::default() }
    }

    /// Whose chats they write in.
    pub fn channel(&self) -> &str {
        &self.channel
    }

    /// The number that the next message will have.
    pub fn next_number(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    fn take_number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Writes the request of a message.
    fn write(&self, number: u64, request: &mut Vec<u8>) {
        let chat = number % self.chats;
        let head = format!(
            "{{\"message_id\":\"bench-{number:0DIGITS$}\",\"chat_id\":\"{}/{chat}\",\
             \"message_sender\":\"customer\",\"text\":\"#msg-{number:0DIGITS$} ",
            self.channel
        );
        let filler = TEXT_BYTES - MARK.len() - DIGITS - 1;
        request.clear();
        // Writing to memory doesn't fail.
        let _ = write!(
            request,
            "POST /api/webhook/new_message HTTP/1.1\r\nhost: {}\r\nx-chatbot_auth_token: Bearer {}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{head}",
            self.http,
            self.token,
            head.len() + filler + 2
        );
        request.extend(b"abcdefghijklmnopqrstuvwxyz 0123456789 ".iter().cycle().take(filler));
        request.extend_from_slice(b"\"}");
    }

    async fn connections(&self, count: usize) -> anyhow::Result<Vec<Connection>> {
        let mut connections = Vec::with_capacity(count);
        for _ in 0..count {
            connections.push(Connection::open(self.http).await?);
        }
        Ok(connections)
    }

    /// Sends as fast as answers come, for a time; gives the messages accepted per second.
    pub async fn rush(&self, connections: usize, length: Duration) -> anyhow::Result<f64> {
        let mut tasks = JoinSet::new();
        let opened = self.connections(connections).await?;
        let start = Instant::now();
        let end = start + length;
        for mut connection in opened {
            let this = self.clone();
            tasks.spawn(async move {
                let mut request = Vec::new();
                let mut accepted = 0_u32;
                loop {
                    this.write(this.take_number(), &mut request);
                    connection.expect_200(&request).await?;
                    if Instant::now() >= end {
                        return anyhow::Ok(accepted);
                    }
                    accepted += 1;
                }
            });
        }
        let accepted: u32 = finish(tasks, length + PATIENCE).await?.into_iter().sum();
        Ok(f64::from(accepted) / length.as_secs_f64())
    }

    /// Sends so many messages as fast as answers come; gives when the first was begun.
    pub async fn send(&self, connections: usize, count: u64) -> anyhow::Result<Instant> {
        let mut tasks = JoinSet::new();
        let opened = self.connections(connections).await?;
        let end = self.next_number() + count;
        let start = Instant::now();
        for mut connection in opened {
            let this = self.clone();
            tasks.spawn(async move {
                let mut request = Vec::new();
                let below = |number| (number < end).then_some(number + 1);
                while let Ok(number) = this.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, below) {
                    this.write(number, &mut request);
                    connection.expect_200(&request).await?;
                }
                anyhow::Ok(())
            });
        }
        finish(tasks, Duration::from_secs(count / 20) + PATIENCE).await?;
        Ok(start)
    }

    /// Sends so many messages a second for a time, whatever the answers do: a message is due when it is due, and waits
    /// where all connections are busy.
    pub async fn pace(&self, connections: usize, rate: f64, length: Duration) -> anyhow::Result<Vec<Sent>> {
        let mut tasks = JoinSet::new();
        let opened = self.connections(connections).await?;
        let (due, queue) = mpsc::unbounded_channel();
        let queue = Arc::new(Mutex::new(queue));
        for mut connection in opened {
            let (this, queue) = (self.clone(), queue.clone());
            tasks.spawn(async move {
                let mut request = Vec::new();
                let mut sent = Vec::new();
                loop {
                    let due = queue.lock().await.recv().await;
                    let Some(due) = due else { return anyhow::Ok(sent) };
                    let number = this.take_number();
                    this.write(number, &mut request);
                    let started = Instant::now();
                    connection.expect_200(&request).await?;
                    sent.push(Sent { number, due, started, answered: Instant::now() });
                }
            });
        }
        let pause = Duration::from_secs_f64(1.0 / rate);
        // A thread of its own: the timer of the runtime counts whole milliseconds.
        let clock = thread::spawn(move || {
            let start = Instant::now();
            let mut next = start;
            while next - start < length {
                thread::sleep(next.saturating_duration_since(Instant::now()));
                if due.send(next).is_err() {
                    return;
                }
                next += pause;
            }
        });
        let sent = finish(tasks, length + PATIENCE).await;
        drop(queue);
        tokio::task::spawn_blocking(move || clock.join()).await?.ok().context("the clock panicked")?;
        Ok(sent?.into_iter().flatten().collect())
    }
}

/// The number of the message that a reply quotes.
pub fn number_in(body: &[u8]) -> Option<u64> {
    let at = http::find(body, MARK)? + MARK.len();
    str::from_utf8(body.get(at..at + DIGITS)?).ok()?.parse().ok()
}

/// Waits for all; the first that fails ends the rest.
pub async fn finish<T: 'static>(
    mut tasks: JoinSet<anyhow::Result<T>>,
    patience: Duration,
) -> anyhow::Result<Vec<T>> {
    let all = async {
        let mut values = Vec::with_capacity(tasks.len());
        while let Some(value) = tasks.join_next().await {
            values.push(value??);
        }
        Ok(values)
    };
    tokio::time::timeout(patience, all)
        .await
        .with_context(|| format!("the load did not end within {} s", patience.as_secs()))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_valid_and_its_number_comes_back() {
        let customers = Customers::new("127.0.0.1:1".parse().unwrap(), "secret", "channel", 1_000);
        let mut request = Vec::new();
        customers.write(41_234, &mut request);
        let text = String::from_utf8(request).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("content-length: {}", body.len())), "{head}");
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["chat_id"], "channel/234");
        let text = body["text"].as_str().unwrap();
        assert_eq!(text.len(), TEXT_BYTES);
        assert_eq!(number_in(format!("a reply to: {text}").as_bytes()), Some(41_234));
        assert_eq!(number_in(b"#msg-12"), None);
    }
}
