//! An answer that is read as it comes.

use std::{pin::Pin, time::Duration};

use bytes::{Bytes, BytesMut};
use domain::vendor::{Applied, FailureKind, Retry, VendorError};
use http::{HeaderMap, StatusCode};
use tokio::time::{Instant, Sleep, sleep_until, timeout, timeout_at};

use super::{Call, retry_after, root};

/// How long the end of a body may take once the answer in it is whole.
const DRAIN_PATIENCE: Duration = Duration::from_millis(5);

/// How much of a refusal is read, and for how long.
const MAX_REFUSAL_BYTES: usize = 64 * 1024;
const REFUSAL_PATIENCE: Duration = Duration::from_secs(2);

/// How long a call may take, part by part.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Until the head of the answer has come.
    pub(crate) head: Duration,
    /// Between one piece of the body and the next.
    pub(crate) idle: Duration,
    /// All in all.
    pub(crate) whole: Duration,
    /// How long the body may be, in bytes.
    pub(crate) most_bytes: usize,
}

/// An answer whose head has come.
pub(crate) struct Opened {
    /// Its status, whatever it is.
    pub(crate) status: StatusCode,
    /// Its headers.
    pub(crate) headers: HeaderMap,
    vendor: &'static str,
    operation: &'static str,
    host: String,
    advice: Retry,
    response: reqwest::Response,
    patience: Patience,
    deadline: Instant,
    /// When the last piece came, and what wakes whoever waits for the next too long.
    heard_at: Instant,
    alarm: Pin<Box<Sleep>>,
    read: usize,
}

impl Opened {
    pub(super) fn new(
        call: &Call<'_>,
        host: String,
        mut response: reqwest::Response,
        patience: Patience,
        deadline: Instant,
    ) -> Self {
        Self {
            status: response.status(),
            advice: retry_after::advice(response.headers(), call.now),
            headers: std::mem::take(response.headers_mut()),
            vendor: call.vendor,
            operation: call.operation,
            host,
            response,
            patience,
            deadline,
            heard_at: Instant::now(),
            alarm: Box::pin(sleep_until(deadline.min(Instant::now() + patience.idle))),
            read: 0,
        }
    }

    /// Gives the next piece of the body; `None`: that was all.
    ///
    /// # Errors
    /// A body that breaks off, stops for longer than the patience, or is too long. What was asked for may have been done,
    /// and cost something, but has no effect outside.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, VendorError> {
        self.heard_at = Instant::now();
        let chunk = self.next().await;
        let chunk = match chunk {
            Some(Ok(chunk)) => chunk,
            Some(Err(error)) => {
                return Err(self.bad(format!("{}'s answer broke off: {}", self.host, root(&error))));
            }
            None => return Err(self.bad(format!("{}'s answer stood still, or took too long", self.host))),
        };
        self.read += chunk.as_ref().map_or(0, Bytes::len);
        if self.read > self.patience.most_bytes {
            let detail = format!("{}'s answer is longer than {} bytes", self.host, self.patience.most_bytes);
            return Err(VendorError { retry: Retry::Never, ..self.bad(detail) });
        }
        Ok(chunk)
    }

    /// Waits for the next piece; `None`: for too long.
    async fn next(&mut self) -> Option<reqwest::Result<Option<Bytes>>> {
        let next = self.response.chunk();
        tokio::pin!(next);
        loop {
            tokio::select! {
                biased;
                chunk = &mut next => return Some(chunk),
                // It is not set anew for every piece, but looked at when it goes off.
                () = &mut self.alarm => {
                    let until = self.deadline.min(self.heard_at + self.patience.idle);
                    if until <= Instant::now() {
                        return None;
                    }
                    self.alarm.as_mut().reset(until);
                }
            }
        }
    }

    /// Reads what is left of the body.
    ///
    /// # Errors
    /// As [`Self::chunk`].
    pub(crate) async fn whole(&mut self) -> Result<Bytes, VendorError> {
        let mut body = BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }

    /// Reads what may be left behind the end of an answer, if it has come: so the connection can be used again.
    pub(crate) async fn drain(&mut self) {
        // Whatever else comes, and however it breaks, the answer is whole.
        let _ = timeout(DRAIN_PATIENCE, self.response.chunk()).await;
    }

    /// Reads a refusal: its body, as much as comes, and what its status says where the vendor's own rules know nothing
    /// better.
    pub(crate) async fn refusal(&mut self, call: &Call<'_>) -> (Bytes, VendorError) {
        let mut body = BytesMut::new();
        let begun = Instant::now();
        while body.len() < MAX_REFUSAL_BYTES && begun.elapsed() < REFUSAL_PATIENCE {
            match timeout_at(begun + REFUSAL_PATIENCE, self.chunk()).await {
                Ok(Ok(Some(chunk))) => body.extend_from_slice(&chunk),
                _ => break,
            }
        }
        let body = body.freeze();
        let error = call.refused(&self.host, self.status, self.advice, &body);
        (body, error)
    }

    /// An answer that can't be used.
    pub(crate) fn bad(&self, detail: String) -> VendorError {
        VendorError {
            vendor: self.vendor,
            operation: self.operation,
            kind: FailureKind::BadAnswer,
            http_status: Some(self.status.as_u16()),
            detail,
            excerpt: None,
            applied: Applied::Maybe,
            retry: Retry::Backoff,
        }
    }
}
