//! Many subscribers of one workspace's log: how late its events reach them, and what they cost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, ensure};
use bytes::Buf as _;
use switchboard_sdk::prost_types;
use switchboard_sdk::tonic::client::Grpc;
use switchboard_sdk::tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder, Streaming};
use switchboard_sdk::tonic::codegen::http::uri::PathAndQuery;
use switchboard_sdk::tonic::transport::Endpoint;
use switchboard_sdk::tonic::{Request, Status};
use switchboard_sdk::v1::{Agent, ReplyPolicy};
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
            let mut stream = subscribe(&server).await?;
            let (received, done) = (received.clone(), done.clone());
            tasks.spawn(async move {
                let mut lags = Vec::new();
                while !done.load(Ordering::Relaxed) {
                    let next = tokio::time::timeout(Duration::from_secs(1), stream.message()).await;
                    let Ok(next) = next else { continue };
                    let Arrival(recorded) = next?.context("the stream ended")?;
                    if let Some(recorded) = recorded {
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

/// A subscriber with a connection of its own, whose stream has begun.
async fn subscribe(server: &Server) -> anyhow::Result<Streaming<Arrival>> {
    let channel = Endpoint::from_shared(server.grpc.clone())?.tcp_nodelay(true).connect().await?;
    let mut client = Grpc::new(channel);
    client.ready().await?;
    let mut request = Request::new(());
    request.metadata_mut().insert("authorization", format!("Bearer {}", server.api_key).parse()?);
    let path = PathAndQuery::from_static("/switchboard.v1.EventsService/Watch");
    let mut stream = client.server_streaming(request, path, Moments).await?.into_inner();
    stream.message().await?.context("the stream did not begin with a heartbeat")?;
    Ok(stream)
}

/// When the event of a message of the stream was recorded, since 1970; `None`: a heartbeat.
#[derive(Debug, PartialEq, Eq)]
struct Arrival(Option<Duration>);

/// Sends a request without any field, and reads of each answer no more than the moment: what a thousand customers would
/// do with the rest on machines of their own is not to be measured here.
#[derive(Debug, Clone, Copy)]
struct Moments;

impl Codec for Moments {
    type Encode = ();
    type Decode = Arrival;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Moments {
    type Item = ();
    type Error = Status;

    fn encode(&mut self, (): (), _: &mut EncodeBuf<'_>) -> Result<(), Status> {
        Ok(())
    }
}

impl Decoder for Moments {
    type Item = Arrival;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Arrival>, Status> {
        let bytes = buffer.copy_to_bytes(buffer.remaining());
        Ok(Some(arrival(&bytes)))
    }
}

fn arrival(answer: &[u8]) -> Arrival {
    // WatchResponse.event = 1, Event.create_time = 4.
    let time = field(answer, 1).and_then(|event| field(event, 4));
    Arrival(time.map(|mut time| {
        let (mut seconds, mut nanos) = (0, 0);
        while let Some((tag, value)) = varint(&mut time).zip(varint(&mut time)) {
            match tag >> 3 {
                1 => seconds = value,
                _ => nanos = value,
            }
        }
        Duration::from_secs(seconds) + Duration::from_nanos(nanos)
    }))
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
        assert_eq!(arrival(&answer), Arrival(Some(Duration::new(1_800_000_000, 300))));
        assert_eq!(arrival(b"\x12\x01c"), Arrival(None));
    }
}
