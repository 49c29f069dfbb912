//! The body of an answer: written at once, or piece by piece with a pace, to its end or not.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Sleep;

use crate::{
    ledger::{Ended, Entry},
    listener::Cut,
};

/// How long a cut waits, so that what was written before it is on its way.
const BEFORE_CUT: Duration = Duration::from_millis(5);

/// How a body ends.
#[derive(Debug, Default)]
pub(crate) enum Ending {
    /// As it should.
    #[default]
    Whole,
    /// The connection is closed.
    Cut,
    /// Nothing more comes, and the connection stays open.
    Stall,
    /// This piece comes again and again.
    Endless(Bytes),
}

/// A body.
#[derive(Default)]
pub(crate) struct Body {
    pieces: VecDeque<Bytes>,
    /// What the head promises. `None`: a body in chunks.
    length: Option<u64>,
    pace: Duration,
    ending: Ending,
    /// What is waited for before the next piece.
    wait: Option<Pin<Box<Sleep>>>,
    /// Where its end is noted.
    entry: Option<Entry>,
}

impl From<Bytes> for Body {
    fn from(whole: Bytes) -> Self {
        let length = Some(whole.len() as u64);
        let pieces = if whole.is_empty() { VecDeque::new() } else { [whole].into() };
        Self { pieces, length, ..Self::default() }
    }
}

impl Body {
    /// Makes a body of pieces, each written on its own, with a pause before each but the first.
    pub(crate) fn paced(pieces: impl IntoIterator<Item = Bytes>, pace: Duration) -> Self {
        Self { pieces: pieces.into_iter().collect(), pace, ..Self::default() }
    }

    /// Ends it otherwise.
    pub(crate) fn ending(mut self, ending: Ending) -> Self {
        self.ending = ending;
        self
    }

    /// Keeps only so many pieces; of a body that is no stream, half its bytes.
    pub(crate) fn keep(mut self, pieces: usize) -> Self {
        if self.length.is_some() {
            for piece in &mut self.pieces {
                piece.truncate(piece.len() / 2);
            }
        } else {
            self.pieces.truncate(pieces);
        }
        self
    }

    /// Turns it into a body without a promised length.
    pub(crate) fn in_chunks(mut self) -> Self {
        self.length = None;
        self
    }

    /// Changes every piece.
    pub(crate) fn map(mut self, change: impl Fn(&Bytes) -> Bytes) -> Self {
        for piece in &mut self.pieces {
            *piece = change(piece);
        }
        self.length = self.length.map(|_| self.pieces.iter().map(|piece| piece.len() as u64).sum());
        self
    }

    /// Notes there how it ended.
    pub(crate) fn noted(mut self, entry: Entry) -> Self {
        self.entry = Some(entry);
        self
    }

    fn note(&mut self, ended: Ended) {
        if let Some(entry) = self.entry.take() {
            entry.end(ended);
        }
    }

    fn wait_for(&mut self, pause: Duration) {
        self.wait = (!pause.is_zero()).then(|| Box::pin(tokio::time::sleep(pause)));
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let this = self.get_mut();
        loop {
            if let Some(wait) = &mut this.wait {
                ready!(wait.as_mut().poll(context));
                this.wait = None;
            }
            if let Some(piece) = this.pieces.pop_front() {
                if let Some(entry) = &this.entry {
                    entry.piece();
                }
                let last = this.pieces.is_empty();
                match &this.ending {
                    Ending::Whole if last => this.note(Ended::Answered),
                    Ending::Cut if last => this.wait_for(BEFORE_CUT),
                    _ => this.wait_for(this.pace),
                }
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            match &this.ending {
                Ending::Whole => {
                    this.note(Ended::Answered);
                    return Poll::Ready(None);
                }
                Ending::Cut => {
                    this.note(Ended::Cut);
                    return Poll::Ready(Some(Err(Cut)));
                }
                // The connection wakes us no more, and ends when the other side hangs up.
                Ending::Stall => return Poll::Pending,
                Ending::Endless(piece) => {
                    let piece = piece.clone();
                    this.pieces.push_back(piece);
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty() && matches!(self.ending, Ending::Whole)
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
