//! One simulated vendor: its API, behind a key, faults and a ledger.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use serde_json::Value;
use tokio::sync::watch;

use crate::{
    Clock,
    body::{Body, Ending},
    fault::{Fault, Faults},
    ledger::{Call, Counts, Ended, Ledger},
    listener::Cut,
    model::Model,
};

/// The key that every simulated vendor takes, until [`Vendor::expect_key`] names another.
pub const KEY: &str = "sk-simulated-0123456789";

/// What a vendor's API says. It answers at once; what takes time is part of the [`Reply`].
pub(crate) trait Api: Send + Sync + 'static {
    /// Whether the request carries the key as the vendor wants it.
    fn lets_in(&self, request: &Request<Bytes>, key: &str) -> bool;

    /// Answers a request that was let in.
    fn answer(&self, request: &Request<Bytes>, asked: &Asked<'_>) -> Reply;

    /// Words a refusal.
    fn refuse(&self, refusal: Refusal) -> Reply;
}

/// What an API may ask for while it answers.
pub(crate) struct Asked<'a> {
    /// The scripted model.
    pub(crate) model: Model<'a>,
    /// The present, in Unix seconds.
    pub(crate) now: i64,
    /// Which call of this vendor it is, from 1: what ids are made of.
    pub(crate) number: u64,
}

/// Why a vendor refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The key is missing, wrong or revoked.
    Unauthorized,
    /// Too many calls.
    RateLimited,
    /// The account has used up what it may.
    QuotaUsedUp,
    /// It has too much to do.
    Overloaded,
    /// The input is longer than the model takes.
    InputTooLong,
    /// It is down.
    Down,
    /// Something broke in it.
    Broken,
    /// There is no such model, or no such route.
    NotFound(String),
    /// The request is not as the API wants it: the parameter, where there is one, and what is wrong.
    Invalid(Option<&'static str>, String),
    /// Any other status.
    Status(StatusCode),
}

/// An answer.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// How long the head takes.
    pub(crate) delay: Duration,
    pub(crate) body: Body,
    /// The piece that an endless stream repeats.
    pub(crate) filler: Bytes,
}

impl Reply {
    /// An answer in one piece of JSON.
    pub(crate) fn json(status: StatusCode, body: &Value) -> Self {
        let headers =
            HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        Self {
            status,
            headers,
            delay: Duration::ZERO,
            body: Bytes::from(body.to_string()).into(),
            filler: Bytes::from_static(&[b' '; 1024]),
        }
    }

    /// A stream of server-sent events, each with its blank line. `filler` is the one that an endless stream repeats.
    pub(crate) fn events(events: Vec<String>, filler: String, pace: Duration) -> Self {
        let headers = HeaderMap::from_iter([
            (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8")),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        ]);
        Self {
            status: StatusCode::OK,
            headers,
            delay: Duration::ZERO,
            body: Body::paced(events.into_iter().map(Bytes::from), pace),
            filler: filler.into(),
        }
    }

    /// Adds a header.
    pub(crate) fn with(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    /// Lets the head wait.
    pub(crate) fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}

/// A simulated vendor. Cheap to clone; clones are the same one.
#[derive(Clone)]
pub struct Vendor {
    state: Arc<State>,
}

struct State {
    id: &'static str,
    base_url: String,
    api: Arc<dyn Api>,
    faults: Faults,
    key: Mutex<String>,
    ledger: Arc<Ledger>,
    model: crate::model::Memory,
    clock: Clock,
}

impl std::fmt::Debug for Vendor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vendor").field("id", &self.state.id).finish_non_exhaustive()
    }
}

impl Vendor {
    pub(crate) fn new(
        id: &'static str,
        base_url: String,
        api: Arc<dyn Api>,
        clock: Clock,
        quiet: bool,
    ) -> Self {
        let state = State {
            id,
            base_url,
            api,
            faults: Faults::default(),
            key: Mutex::new(KEY.to_owned()),
            ledger: Ledger::new(quiet),
            model: crate::model::Memory::default(),
            clock,
        };
        Self { state: Arc::new(state) }
    }

    /// Its id, as in `vendors`.
    pub fn id(&self) -> &'static str {
        self.state.id
    }

    /// What a connection's `base_url` is set to.
    pub fn base_url(&self) -> &str {
        &self.state.base_url
    }

    /// The faults to come.
    pub fn faults(&self) -> &Faults {
        &self.state.faults
    }

    /// The key that lets in from now on.
    pub fn expect_key(&self, key: &str) {
        key.clone_into(&mut self.state.key.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Every call so far, in the order of their coming. Empty when quiet.
    pub fn calls(&self) -> Vec<Call> {
        self.state.ledger.all()
    }

    /// How many calls there were.
    pub fn counts(&self) -> Counts {
        *self.state.ledger.counts().borrow()
    }

    /// Waits until the counts are as wanted. Put a timeout around it.
    pub async fn wait_until(&self, wanted: impl FnMut(&Counts) -> bool) -> Counts {
        let mut counts: watch::Receiver<Counts> = self.state.ledger.counts();
        *counts.wait_for(wanted).await.expect("the ledger lives as long as this vendor")
    }

    /// Answers a request whose path begins behind the vendor's mount.
    pub(crate) async fn serve(&self, request: Request<Bytes>) -> Result<Response<Body>, Cut> {
        let State { api, ledger, clock, .. } = &*self.state;
        let entry = ledger.begin(&request);
        let number = ledger.counts().borrow().begun;
        let fault = self.state.faults.next();
        if let Some(pause) = fault.map(Fault::pause).filter(|pause| !pause.is_zero()) {
            tokio::time::sleep(pause).await;
        }
        let reply = match fault.and_then(refusal) {
            Some(refusal) => {
                let mut reply = api.refuse(refusal);
                if let Some(Fault::RetryAfter(seconds)) = fault {
                    reply = reply.with(header::RETRY_AFTER, &seconds.to_string());
                }
                reply
            }
            None if fault == Some(Fault::CutAfterReading) => {
                entry.end(Ended::Cut);
                return Err(Cut);
            }
            None if !api.lets_in(&request, &self.key()) => api.refuse(Refusal::Unauthorized),
            None => {
                let model = self.state.model.model(fault);
                api.answer(&request, &Asked { model, now: clock.unix_seconds(), number })
            }
        };
        let reply = match fault {
            Some(Fault::ApplyThenFail) => Reply { delay: reply.delay, ..api.refuse(Refusal::Broken) },
            _ => reply,
        };
        if !reply.delay.is_zero() {
            tokio::time::sleep(reply.delay).await;
        }
        if fault == Some(Fault::ApplyThenCut) {
            entry.end(Ended::Cut);
            return Err(Cut);
        }
        entry.status(reply.status);
        let body = match fault {
            Some(Fault::CutAfterPieces(pieces)) => reply.body.keep(pieces).ending(Ending::Cut),
            Some(Fault::StallAfterPieces(pieces)) => reply.body.keep(pieces).ending(Ending::Stall),
            // What comes before the last piece, and then no end.
            Some(Fault::Endless) => reply.body.keep(2).in_chunks().ending(Ending::Endless(reply.filler)),
            Some(Fault::BadEncoding) => reply.body.map(windows_1252),
            _ => reply.body,
        };
        let mut response = Response::new(body.noted(entry));
        *response.status_mut() = reply.status;
        *response.headers_mut() = reply.headers;
        Ok(response)
    }

    fn key(&self) -> String {
        self.state.key.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The refusal that a fault is.
fn refusal(fault: Fault) -> Option<Refusal> {
    Some(match fault {
        Fault::Down => Refusal::Down,
        Fault::RetryAfter(_) | Fault::RateLimited => Refusal::RateLimited,
        Fault::Status(status) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            if status.is_success() {
                return None;
            }
            Refusal::Status(status)
        }
        Fault::QuotaUsedUp => Refusal::QuotaUsedUp,
        Fault::Overloaded => Refusal::Overloaded,
        Fault::InputTooLong => Refusal::InputTooLong,
        Fault::Unauthorized => Refusal::Unauthorized,
        _ => return None,
    })
}

/// Writes UTF-8 as Windows-1252, as far as it can.
fn windows_1252(text: &Bytes) -> Bytes {
    let text = String::from_utf8_lossy(text);
    let bytes = text.chars().map(|c| match c {
        '“' => 0x93,
        '”' => 0x94,
        '…' => 0x85,
        _ => u8::try_from(u32::from(c)).unwrap_or(b'?'),
    });
    bytes.collect()
}
