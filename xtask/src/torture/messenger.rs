//! The local messenger: keeps a ledger of what it was sent, and doesn't always behave.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use crate::bench::http::Connection;

/// Longer than the server waits.
const DAWDLE: Duration = Duration::from_millis(2_600);

/// A messenger on loopback, until it is dropped.
#[derive(Debug)]
pub struct Messenger {
    addr: SocketAddr,
    state: Arc<State>,
    accepting: AbortHandle,
}

#[derive(Debug)]
struct State {
    /// Which deliveries were taken, in their order, and when; a delivery that was taken twice is there twice.
    taken: Mutex<Vec<(String, Duration)>>,
    /// Which were refused in so many words.
    refused: Mutex<Vec<String>>,
    rng: Mutex<StdRng>,
    behaves: AtomicBool,
}

/// What is done with a call.
enum Whim {
    Take,
    Refuse,
    /// Takes it, and cuts the connection before it says so.
    TakeAndCut,
    /// Takes it, and answers when nobody listens any more.
    TakeAndDawdle,
    /// Cuts the connection and takes nothing.
    Cut,
}

impl Messenger {
    /// Starts one whose whims come from the seed.
    pub async fn start(seed: u64) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let state = Arc::new(State {
            taken: Mutex::default(),
            refused: Mutex::default(),
            rng: Mutex::new(StdRng::seed_from_u64(seed ^ 0x6d65_7373)),
            behaves: AtomicBool::new(false),
        });
        let served = Arc::clone(&state);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&served);
                // A caller that was killed ends in the middle of a message; that is no fault of the messenger's.
                tokio::spawn(async move { serve(stream, &state).await });
            }
        })
        .abort_handle();
        Ok(Self { addr, state, accepting })
    }

    /// Where deliveries go.
    pub fn url(&self) -> String {
        format!("http://{}/", self.addr)
    }

    /// Takes everything from now on.
    pub fn behave(&self) {
        self.state.behaves.store(true, Ordering::Relaxed);
    }

    /// Which deliveries were taken, in their order, and when: since 1970.
    pub fn taken(&self) -> Vec<(String, Duration)> {
        self.state.taken.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How often each delivery was taken.
    pub fn counts(&self) -> HashMap<String, i64> {
        count(self.taken().into_iter().map(|(id, _)| id))
    }

    /// How often each delivery was refused.
    pub fn refusals(&self) -> HashMap<String, i64> {
        count(self.state.refused.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

fn count(ids: impl IntoIterator<Item = String>) -> HashMap<String, i64> {
    let mut counts = HashMap::new();
    for id in ids {
        *counts.entry(id).or_default() += 1;
    }
    counts
}

/// The present moment, since 1970, as the servers' clock on this machine has it.
#[expect(clippy::disallowed_methods, reason = "the moments of attempts come from the machine's clock too")]
pub fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

impl Drop for Messenger {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl State {
    fn whim(&self) -> Whim {
        if self.behaves.load(Ordering::Relaxed) {
            return Whim::Take;
        }
        match self.rng.lock().unwrap_or_else(PoisonError::into_inner).random_range(0..100) {
            0..4 => Whim::Refuse,
            4..7 => Whim::TakeAndCut,
            7..9 => Whim::TakeAndDawdle,
            9..11 => Whim::Cut,
            _ => Whim::Take,
        }
    }
}

async fn serve(stream: TcpStream, state: &State) -> anyhow::Result<()> {
    let mut connection = Connection::new(stream)?;
    while let Some((head, _)) = connection.receive().await? {
        let id = header(head, "webhook-id").context("a delivery without webhook-id")?;
        let whim = state.whim();
        match whim {
            Whim::Refuse => state.refused.lock().unwrap_or_else(PoisonError::into_inner).push(id),
            Whim::Cut => {}
            _ => state.taken.lock().unwrap_or_else(PoisonError::into_inner).push((id, now())),
        }
        match whim {
            Whim::Take => connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await?,
            Whim::Refuse => {
                connection.send(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n").await?;
            }
            Whim::TakeAndDawdle => {
                tokio::time::sleep(DAWDLE).await;
                connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await?;
            }
            Whim::TakeAndCut | Whim::Cut => return Ok(()),
        }
    }
    Ok(())
}

fn header(head: &[u8], name: &str) -> Option<String> {
    String::from_utf8_lossy(head).lines().find_map(|line| {
        let (known, value) = line.split_once(':')?;
        known.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_found_whatever_their_case() {
        let head = b"POST / HTTP/1.1\r\nHost: x\r\nWebhook-Id: 0198\r\n\r\n";
        assert_eq!(header(head, "webhook-id").as_deref(), Some("0198"));
        assert_eq!(header(head, "absent"), None);
    }
}
