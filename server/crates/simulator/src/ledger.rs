//! What a simulated vendor was asked, and how each call ended.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use tokio::sync::watch;

/// One call, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The method.
    pub method: Method,
    /// The path and query, without what the vendor is mounted under.
    pub path: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// The status that it was answered with. `None`: none, or not yet.
    pub status: Option<StatusCode>,
    /// How many pieces of the answer were written.
    pub pieces: usize,
    /// How it ended.
    pub ended: Ended,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It hasn't.
    Open,
    /// With a whole answer.
    Answered,
    /// The vendor closed the connection.
    Cut,
    /// The caller closed the connection before the answer was whole.
    HungUp,
}

/// How many calls there were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Begun.
    pub begun: u64,
    /// Ended, however.
    pub ended: u64,
    /// Ended because the caller hung up.
    pub hung_up: u64,
}

/// The calls of a vendor.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// `None`: they are only counted.
    calls: Option<Mutex<Vec<Call>>>,
    counts: watch::Sender<Counts>,
}

impl Ledger {
    /// Makes an empty one. A quiet one only counts.
    pub(crate) fn new(quiet: bool) -> Arc<Self> {
        Arc::new(Self { calls: (!quiet).then(Mutex::default), counts: watch::Sender::default() })
    }

    /// Notes a call that has come.
    pub(crate) fn begin(self: &Arc<Self>, request: &Request<Bytes>) -> Entry {
        let at = self.calls().map(|mut calls| {
            calls.push(Call {
                method: request.method().clone(),
                path: request.uri().path_and_query().map_or_else(String::new, ToString::to_string),
                headers: request.headers().clone(),
                body: request.body().clone(),
                status: None,
                pieces: 0,
                ended: Ended::Open,
            });
            calls.len() - 1
        });
        self.counts.send_modify(|counts| counts.begun += 1);
        Entry { ledger: Arc::clone(self), at, open: true }
    }

    /// Every call so far. Empty when quiet.
    pub(crate) fn all(&self) -> Vec<Call> {
        self.calls().map(|calls| calls.clone()).unwrap_or_default()
    }

    pub(crate) fn counts(&self) -> watch::Receiver<Counts> {
        self.counts.subscribe()
    }

    fn calls(&self) -> Option<MutexGuard<'_, Vec<Call>>> {
        self.calls.as_ref().map(|calls| calls.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A call under way. Dropped before its end, its caller has hung up.
#[derive(Debug)]
pub(crate) struct Entry {
    ledger: Arc<Ledger>,
    at: Option<usize>,
    open: bool,
}

impl Entry {
    /// Notes the answer's status.
    pub(crate) fn status(&self, status: StatusCode) {
        self.change(|call| call.status = Some(status));
    }

    /// Notes that a piece was written.
    pub(crate) fn piece(&self) {
        self.change(|call| call.pieces += 1);
    }

    /// Notes the end.
    pub(crate) fn end(mut self, ended: Ended) {
        self.close(ended);
    }

    fn close(&mut self, ended: Ended) {
        self.open = false;
        self.change(|call| call.ended = ended);
        self.ledger.counts.send_modify(|counts| {
            counts.ended += 1;
            counts.hung_up += u64::from(ended == Ended::HungUp);
        });
    }

    fn change(&self, change: impl FnOnce(&mut Call)) {
        if let (Some(at), Some(mut calls)) = (self.at, self.ledger.calls()) {
            change(&mut calls[at]);
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if self.open {
            self.close(Ended::HungUp);
        }
    }
}
