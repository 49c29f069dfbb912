//! Many subscribers of one workspace's log: how late its events reach them, and what they cost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, bail, ensure};
use switchboard_sdk::prost_types;
use switchboard_sdk::v1::{Agent, ReplyPolicy};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::server::{DataDir, Server};
use super::statistics::percentile;
use super::{Bench, CHATS, CONNECTIONS, NOWHERE, load};

const SUBSCRIBERS: u64 = 1_000;
/// How many events are recorded a second, and for how long.
const RATE: f64 = 200.0;
const LENGTH: Duration = Duration::from_secs(20);
/// How long after the last event one that is missing is given up.
const PATIENCE: Duration = Duration::from_mins(1);

impl Bench {
    pub(super) async fn watch(&mut self) -> anyhow::Result<()> {
        let data = DataDir::new()?;
        let server = Server::start(&self.program, &data, "api,worker")?;
        // Nobody answers while we look, so that a message is one event.
        let quiet = prost_types::Duration { seconds: 600, nanos: 0 };
        let policy =
            ReplyPolicy { quiet_window: Some(quiet), longest_wait: Some(quiet), ..ReplyPolicy::default() };
        let agent = Agent { reply_policy: Some(policy), ..Agent::default() };
        let customers = server.customers_of(agent, NOWHERE.to_owned(), CHATS).await?;
        customers.send(CONNECTIONS, CHATS).await?;
        tokio::time::sleep(Duration::from_secs(2)).await;

        let mut tasks = JoinSet::new();
        let received = Arc::<AtomicU64>::default();
        let done = Arc::<AtomicBool>::default();
        for _ in 0..SUBSCRIBERS {
            let mut subscriber = Subscriber::begin(&server).await?;
            let (received, done) = (received.clone(), done.clone());
            tasks.spawn(async move {
                let mut lags = Vec::new();
                while !done.load(Ordering::Relaxed) {
                    let next = tokio::time::timeout(Duration::from_secs(1), subscriber.next()).await;
                    let Ok(next) = next else { continue };
                    if let Some(recorded) = next? {
                        lags.push(now()?.saturating_sub(recorded).as_secs_f64() * 1e3);
                        received.fetch_add(1, Ordering::Relaxed);
                    }
                }
                anyhow::Ok(lags)
            });
        }
        println!("  {SUBSCRIBERS} subscribers: {:.1} MiB", server.memory_mib("VmRSS")?);
        let sent = customers.pace(CONNECTIONS, RATE, LENGTH).await?.len() as u64;
        let expected = sent * SUBSCRIBERS;
        let at_end = received.load(Ordering::Relaxed);
        let deadline = Instant::now() + PATIENCE;
        while received.load(Ordering::Relaxed) < expected && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        done.store(true, Ordering::Relaxed);
        let lags: Vec<f64> =
            load::finish(tasks, Duration::from_secs(30)).await?.into_iter().flatten().collect();
        println!(
            "  {expected} events to receive, {at_end} received when the last was sent, {} in the end; lag p50 {:.0} ms",
            lags.len(),
            percentile(&lags, 50)
        );
        ensure!(lags.len() as u64 == expected, "of {expected} events {} arrived", lags.len());
        if self.wants("watch_lag_ms") {
            self.put_value("watch_lag_ms", percentile(&lags, 99));
        }
        if self.wants("watch_rss_mib") {
            self.put_value("watch_rss_mib", server.memory_mib("VmHWM")?);
        }
        Ok(())
    }
}

#[expect(clippy::disallowed_methods, reason = "the moments in events come from the machine's clock too")]
fn now() -> anyhow::Result<Duration> {
    Ok(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?)
}

/// A subscriber with a connection of its own: HTTP/2 as cheap as it can be, since a thousand of them share the processors
/// with what is measured. What customers do with an event on machines of their own is not to be measured here, so each
/// reads no more of it than its moment. Only what our own server sends is understood.
struct Subscriber {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// How much of the buffer was read.
    consumed: usize,
    /// What came of messages that are not complete.
    data: Vec<u8>,
    /// How much of them was read.
    read: usize,
}

/// Types of frames.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
/// Flags of frames.
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

impl Subscriber {
    /// Calls Watch, and waits for the heartbeat with which the stream begins.
    async fn begin(server: &Server) -> anyhow::Result<Self> {
        let authority = server.grpc.trim_start_matches("http://");
        let stream = TcpStream::connect(authority).await?;
        stream.set_nodelay(true)?;
        let mut hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        // A window of 2 GiB - 1 for the stream (setting 4) and for the connection: no more need be said about it.
        let window = (1_u32 << 31) - 1;
        let settings = [&[0, 4][..], &window.to_be_bytes()].concat();
        frame(&mut hello, SETTINGS, 0, 0, &settings);
        frame(&mut hello, 8, 0, 0, &(window - 65_535).to_be_bytes());
        let mut headers = Vec::new();
        for (name, value) in [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/switchboard.v1.EventsService/Watch"),
            (":authority", authority),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
            ("authorization", &format!("Bearer {}", server.api_key)),
        ] {
            // A literal that is not indexed, without Huffman's code. Nothing here is longer than 126 bytes.
            headers.push(0);
            for text in [name, value] {
                headers
                    .push(u8::try_from(text.len()).ok().filter(|length| *length < 127).context("too long")?);
                headers.extend_from_slice(text.as_bytes());
            }
        }
        frame(&mut hello, HEADERS, END_HEADERS, 1, &headers);
        // A request without any field: five bytes that say so.
        frame(&mut hello, DATA, END_STREAM, 1, &[0; 5]);
        let mut subscriber =
            Self { stream, buffer: Vec::with_capacity(16 << 10), consumed: 0, data: Vec::new(), read: 0 };
        subscriber.stream.write_all(&hello).await?;
        ensure!(subscriber.next().await?.is_none(), "the stream did not begin with a heartbeat");
        Ok(subscriber)
    }

    /// When the event of the next message of the stream was recorded, since 1970; `None`: a heartbeat. Dropped while it
    /// waits, it loses nothing.
    async fn next(&mut self) -> anyhow::Result<Option<Duration>> {
        loop {
            let next = message(&self.data[self.read..]).map(|message| (message.len(), moment(message)));
            if let Some((length, moment)) = next {
                self.read += 5 + length;
                return Ok(moment);
            }
            if self.take_frame().await? {
                continue;
            }
            self.data.drain(..self.read);
            self.read = 0;
            self.buffer.drain(..self.consumed);
            self.consumed = 0;
            ensure!(self.stream.read_buf(&mut self.buffer).await? > 0, "the server closed the connection");
        }
    }

    /// Takes one frame of the buffer, if a whole one is there.
    async fn take_frame(&mut self) -> anyhow::Result<bool> {
        let buffer = &self.buffer[self.consumed..];
        let Some((&[a, b, c, kind, flags, ..], rest)) = buffer.split_first_chunk::<9>() else {
            return Ok(false);
        };
        let Some(payload) = rest.get(..usize::try_from(u32::from_be_bytes([0, a, b, c]))?) else {
            return Ok(false);
        };
        self.consumed += 9 + payload.len();
        match kind {
            DATA => self.data.extend_from_slice(payload),
            // The end of a stream comes with its status.
            HEADERS if flags & END_STREAM != 0 => bail!("the stream ended"),
            RST_STREAM | GOAWAY => bail!("the stream was ended: frame {kind}, {payload:?}"),
            SETTINGS | PING if flags & ACK == 0 => {
                let echo = if kind == PING { payload } else { &[] };
                let mut answer = Vec::new();
                frame(&mut answer, kind, ACK, 0, echo);
                self.stream.write_all(&answer).await?;
            }
            _ => {}
        }
        Ok(true)
    }
}

/// Writes a frame.
fn frame(bytes: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    // Frames here are short.
    let length = u32::try_from(payload.len()).unwrap_or_default();
    bytes.extend_from_slice(&length.to_be_bytes()[1..]);
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
}

/// The first message of a gRPC stream, if the whole of it is there.
fn message(data: &[u8]) -> Option<&[u8]> {
    let (&[_, length @ ..], rest) = data.split_first_chunk::<5>()?;
    rest.get(..usize::try_from(u32::from_be_bytes(length)).ok()?)
}

/// When the event in a `WatchResponse` was recorded; `None`: it holds none.
fn moment(answer: &[u8]) -> Option<Duration> {
    // WatchResponse.event = 1, Event.create_time = 4.
    let mut time = field(field(answer, 1)?, 4)?;
    let (mut seconds, mut nanos) = (0, 0);
    while let Some((tag, value)) = varint(&mut time).zip(varint(&mut time)) {
        match tag >> 3 {
            1 => seconds = value,
            _ => nanos = value,
        }
    }
    Some(Duration::from_secs(seconds) + Duration::from_nanos(nanos))
}

/// The first field of a message that has the number and a length.
fn field(mut message: &[u8], number: u64) -> Option<&[u8]> {
    loop {
        let tag = varint(&mut message)?;
        let value = varint(&mut message)?;
        if tag & 7 == 2 {
            let (bytes, rest) = message.split_at_checked(value.try_into().ok()?)?;
            if tag >> 3 == number {
                return Some(bytes);
            }
            message = rest;
        }
    }
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_moment_of_an_event_is_found() {
        // event { id: "ab", create_time { seconds: 1800000000, nanos: 300 }, dialogue_id: "x" }, cursor: "c"
        let event = b"\x0a\x02ab\x22\x09\x08\x80\xa4\xa7\xda\x06\x10\xac\x02\x2a\x01x";
        let mut answer = vec![0x0a, u8::try_from(event.len()).unwrap()];
        answer.extend_from_slice(event);
        answer.extend_from_slice(b"\x12\x01c");
        assert_eq!(moment(&answer), Some(Duration::new(1_800_000_000, 300)));
        assert_eq!(moment(b"\x12\x01c"), None);
    }
}
