//! The customer's messenger: takes deliveries, notes when they came, says 200.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::bail;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use super::http::{self, Connection};
use super::load::number_in;

/// How long no delivery may come before one that is missing is given up: longer than a lease and its first retries.
const PATIENCE: Duration = Duration::from_secs(30);

/// A receiver on loopback, until it is dropped.
#[derive(Debug)]
pub struct Receiver {
    addr: SocketAddr,
    arrivals: Arc<Arrivals>,
    signed: Arc<AtomicU64>,
    accepting: AbortHandle,
}

/// When the reply to which message came; a repeat doesn't count.
type Arrivals = Mutex<HashMap<u64, Instant>>;

impl Receiver {
    /// Starts one.
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let arrivals = Arc::<Arrivals>::default();
        let signed = Arc::<AtomicU64>::default();
        let (noted, counted) = (arrivals.clone(), signed.clone());
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (noted, counted) = (noted.clone(), counted.clone());
                tokio::spawn(async move {
                    // A server that is killed resets its connections.
                    let reset = |error: &anyhow::Error| {
                        error
                            .downcast_ref::<io::Error>()
                            .is_some_and(|io| io.kind() == io::ErrorKind::ConnectionReset)
                    };
                    if let Err(error) = serve(stream, &noted, &counted).await
                        && !reset(&error)
                    {
                        eprintln!("the receiver of deliveries: {error:#}");
                    }
                });
            }
        })
        .abort_handle();
        Ok(Self { addr, arrivals, signed, accepting })
    }

    /// Where deliveries go.
    pub fn url(&self) -> String {
        format!("http://{}/", self.addr)
    }

    /// When the reply to a message came.
    pub fn arrival(&self, number: u64) -> Option<Instant> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).get(&number).copied()
    }

    /// How many calls carried a Standard Webhooks signature.
    pub fn signed(&self) -> u64 {
        self.signed.load(Ordering::Relaxed)
    }

    fn count(&self) -> usize {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Waits for the replies to the messages with these numbers; gives when the last came.
    pub async fn all(&self, mut numbers: std::ops::Range<u64>) -> anyhow::Result<Option<Instant>> {
        let total = numbers.end - numbers.start;
        let mut last = None;
        let mut deadline = Instant::now() + PATIENCE;
        let mut count = self.count();
        while let Some(number) = numbers.next() {
            loop {
                if let Some(arrival) = self.arrival(number) {
                    last = last.max(Some(arrival));
                    break;
                }
                if self.count() > count {
                    count = self.count();
                    deadline = Instant::now() + PATIENCE;
                }
                if Instant::now() > deadline {
                    let missing =
                        1 + numbers.clone().filter(|number| self.arrival(*number).is_none()).count();
                    bail!(
                        "{missing} of {total} replies did not arrive; for {} s none came",
                        PATIENCE.as_secs()
                    );
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        Ok(last)
    }

    /// Waits until no delivery came for a second, at most for a minute.
    pub async fn quiet(&self) {
        let mut count = self.count();
        for _ in 0..60 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if self.count() == count {
                return;
            }
            count = self.count();
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(stream: TcpStream, arrivals: &Arrivals, signed: &AtomicU64) -> anyhow::Result<()> {
    let mut connection = Connection::new(stream)?;
    while let Some((head, body)) = connection.receive().await? {
        let now = Instant::now();
        if http::find(head, b"webhook-signature: v1,").is_some() {
            signed.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(number) = number_in(body) {
            arrivals.lock().unwrap_or_else(PoisonError::into_inner).entry(number).or_insert(now);
        }
        connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_delivery_is_noted_once_and_answered() {
        let receiver = Receiver::start().await.unwrap();
        let mut connection = Connection::open(receiver.addr).await.unwrap();
        let body = "{\"text\":\"You wrote: #msg-000000000007 hello\"}";
        let request = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        connection.expect_200(request.as_bytes()).await.unwrap();
        let first = receiver.arrival(7);
        connection.expect_200(request.as_bytes()).await.unwrap();
        assert!(first.is_some() && receiver.arrival(7) == first && receiver.count() == 1);
        assert_eq!(receiver.all(7..8).await.unwrap(), first);
    }
}
