//! Gathered writes: what arrives while the last transaction was being flushed is written as the next one.
//!
//! Each caller waits until its own commit is on disk. There is no timer: an idle writer takes a single item at once, a busy
//! one finds many. That is how throughput goes past one transaction per item without giving up durability. Where a kind of
//! write is flushed apart, the writer does not wait for the disk itself and goes on with the next batch.

mod apart;

use std::{
    collections::VecDeque,
    error::Error as _,
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use domain::{DialogueId, fail_point};
use store::{Kept, Store};
use tokio::sync::{mpsc, oneshot};

use self::apart::Apart;

/// One kind of gathered write.
pub(crate) trait Write: Send + Sync + 'static {
    /// What is written.
    type Item: Send + Sync + 'static;
    /// What is answered for each item.
    type Answer: Send + 'static;

    /// Whether a write whose connection broke, so that nobody knows whether it was committed, may be offered again. If
    /// not, the callers learn of the doubt.
    const REPEATABLE: bool;

    /// Whether its transaction commits without waiting for the disk. Its callers are answered all the same only when a flush
    /// that began after the commit is done; meanwhile the next batch is written.
    const FLUSHED_APART: bool = false;

    /// Its name among the fail points.
    const NAME: &str;

    /// The dialogue whose row the write of an item locks.
    fn dialogue(item: &Self::Item) -> DialogueId;

    /// Writes items in one transaction and answers for each in turn.
    fn write(
        &self,
        items: &[Self::Item],
        kept: &mut Kept,
    ) -> impl Future<Output = Result<Vec<Self::Answer>, store::Error>> + Send;
}

/// Hands items to the writers of one kind of gathered write. Items of one dialogue always go to the same writer, so two
/// writers never wait for each other's row locks.
pub(crate) struct Gather<W: Write> {
    queues: Arc<[mpsc::Sender<Item<W>>]>,
}

impl<W: Write> Clone for Gather<W> {
    fn clone(&self) -> Self {
        Self { queues: Arc::clone(&self.queues) }
    }
}

type Item<W> = (<W as Write>::Item, oneshot::Sender<Result<<W as Write>::Answer, Failure>>);

/// Why an item was not written.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Too many wait already.
    Full,
    /// The connection broke: nobody knows whether the item was written.
    Disconnected,
    /// The database failed for this item. Nothing of it was written.
    Store(store::Error),
}

impl From<Failure> for crate::Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Full => domain::Error::new(
                domain::Reason::Overloaded,
                "too many messages at once; try again after the pause",
            )
            .retry_after(Duration::from_secs(1))
            .into(),
            Failure::Disconnected => crate::error::unavailable().into(),
            Failure::Store(error) => Self::Store(error),
        }
    }
}

impl<W: Write> Gather<W> {
    /// Starts writers. Each writes at most `most` items at once; when that fails, the batch is split until only the guilty
    /// items fail.
    pub(crate) fn start(store: &Store, capacity: usize, writers: usize, most: usize, write: W) -> Self {
        let write = Arc::new(write);
        let session = Arc::new(AtomicU64::new(0));
        let flusher = W::FLUSHED_APART.then(|| {
            let (written, receiver) = mpsc::channel(UNFLUSHED);
            let session = Arc::clone(&session);
            let flusher =
                Flusher { write: Arc::clone(&write), kept: store.kept(), connected: false, session };
            tokio::spawn(flusher.run(receiver));
            written
        });
        let queues = (0..writers).map(|_| {
            let (queue, receiver) = mpsc::channel(capacity.div_ceil(writers));
            let writer = Writer {
                write: Arc::clone(&write),
                kept: store.kept(),
                flusher: flusher.clone(),
                session: Arc::clone(&session),
                apart: Some(Apart::new(store)),
            };
            tokio::spawn(writer.run(receiver, most));
            queue
        });
        Self { queues: queues.collect() }
    }

    fn queue(&self, item: &W::Item) -> &mpsc::Sender<Item<W>> {
        // The last byte of a dialogue's id is part of a hash.
        &self.queues[usize::from(W::dialogue(item).0.as_bytes()[15]) % self.queues.len()]
    }

    /// Writes an item, or says at once that too many wait.
    pub(crate) async fn offer(&self, item: W::Item) -> Result<W::Answer, Failure> {
        let (answer, waiting) = oneshot::channel();
        self.queue(&item).try_send((item, answer)).map_err(|_| Failure::Full)?;
        waiting.await.unwrap_or(Err(Failure::Full))
    }

    /// Writes an item, when there is room.
    pub(crate) async fn write(&self, item: W::Item) -> Result<W::Answer, Failure> {
        let (answer, waiting) = oneshot::channel();
        self.queue(&item).send((item, answer)).await.map_err(|_| Failure::Full)?;
        waiting.await.unwrap_or(Err(Failure::Full))
    }
}

/// How often the items of a dialogue are tried whose row is locked: with the pauses, for about a second.
const LOCKED_TRIES: u32 = 12;

/// How many batches may wait for the disk.
const UNFLUSHED: usize = 64;

struct Writer<W: Write> {
    write: Arc<W>,
    kept: Kept,
    flusher: Option<mpsc::Sender<Written<W>>>,
    session: Arc<AtomicU64>,
    /// Where items wait whose rows are locked. `None`: this one writes those.
    apart: Option<Apart<W>>,
}

impl<W: Write> Writer<W> {
    /// Writes for as long as anybody can hand it items.
    async fn run(mut self, mut queue: mpsc::Receiver<Item<W>>, most: usize) {
        // For how long a connection is kept for nothing.
        const IDLE: Duration = Duration::from_secs(1);
        loop {
            let mut batch = Vec::with_capacity(most.min(queue.len() + 1));
            let taken = if let Ok(taken) = tokio::time::timeout(IDLE, queue.recv_many(&mut batch, most)).await
            {
                taken
            } else {
                self.kept.give_back();
                queue.recv_many(&mut batch, most).await
            };
            if taken == 0 {
                return;
            }
            let batch = match &self.apart {
                Some(apart) => apart.keep(batch),
                None => batch,
            };
            if !batch.is_empty() {
                self.write_batch(batch).await;
            }
        }
    }

    async fn write_batch(&mut self, batch: Vec<Item<W>>) {
        let mut waiting = VecDeque::from([(batch, 0)]);
        while let Some((batch, tries)) = waiting.pop_front() {
            let (items, answers): (Vec<W::Item>, Vec<_>) = batch.into_iter().unzip();
            fail_point::reached(W::NAME, "before");
            let session = self.session.load(Ordering::SeqCst);
            let written = self.write.write(&items, &mut self.kept).await;
            fail_point::reached(W::NAME, "after");
            match written {
                Ok(results) => {
                    let written = Written { session, items, answers, results };
                    match &self.flusher {
                        Some(flusher) => {
                            // The flusher lives as long as a writer can hand it something.
                            let _ = flusher.send(written).await;
                        }
                        None => written.answer(),
                    }
                }
                Err(store::Error::Contended) if items.len() == 1 && self.apart.is_some() => {
                    if let (Some(apart), Some(item)) = (&self.apart, items.into_iter().zip(answers).next()) {
                        let writer = Self {
                            write: Arc::clone(&self.write),
                            kept: apart.kept(),
                            flusher: self.flusher.clone(),
                            session: Arc::clone(&self.session),
                            apart: None,
                        };
                        apart.wait(writer, item);
                        // What is left of the batch may hold more of that dialogue.
                        waiting =
                            waiting.into_iter().map(|(batch, tries)| (apart.keep(batch), tries)).collect();
                        waiting.retain(|(batch, _)| !batch.is_empty());
                    }
                }
                // All of one dialogue.
                Err(store::Error::Contended) if self.apart.is_none() && tries < LOCKED_TRIES => {
                    tokio::time::sleep(Duration::from_millis(5 + 5 * u64::from(tries))).await;
                    waiting.push_back((items.into_iter().zip(answers).collect(), tries + 1));
                }
                // The connection broke, perhaps in its sleep, perhaps while it committed.
                Err(error) if error.is_disconnection() => {
                    self.kept.give_back();
                    if W::REPEATABLE && tries == 0 {
                        waiting.push_front((items.into_iter().zip(answers).collect(), LOCKED_TRIES));
                        continue;
                    }
                    tracing::warn!(error = %error, cause = ?error.source(), items = items.len(), "a write lost the database");
                    for answer in answers {
                        let _ = answer.send(Err(Failure::Disconnected));
                    }
                }
                Err(store::Error::Contended) if self.apart.is_none() => {
                    for answer in answers {
                        let _ = answer.send(Err(Failure::Store(store::Error::Contended)));
                    }
                }
                Err(error) if items.len() == 1 => {
                    if let Some(answer) = answers.into_iter().next() {
                        let _ = answer.send(Err(Failure::Store(error)));
                    }
                }
                Err(_) => {
                    let mut first: Vec<_> = items.into_iter().zip(answers).collect();
                    let second = first.split_off(first.len() / 2);
                    waiting.push_front((second, 0));
                    waiting.push_front((first, 0));
                }
            }
        }
    }
}

/// A batch that was written.
struct Written<W: Write> {
    /// The flusher's session when its write began.
    session: u64,
    items: Vec<W::Item>,
    answers: Vec<oneshot::Sender<Result<W::Answer, Failure>>>,
    results: Vec<W::Answer>,
}

impl<W: Write> Written<W> {
    fn answer(self) {
        for (answer, result) in self.answers.into_iter().zip(self.results) {
            // A caller that went away doesn't want its answer.
            let _ = answer.send(Ok(result));
        }
    }
}

/// Waits for the disk in the writers' stead, once for all that they have committed meanwhile.
///
/// A database that went away and came back has lost what was not on disk, and flushes well again. So a flush counts only for
/// what was begun to be written when its connection, the session, was there already: then both saw the same life of the
/// database. The rest is in doubt.
struct Flusher<W> {
    write: Arc<W>,
    /// Kept until the pool is closed: without it every first write after a pause would be in doubt.
    kept: Kept,
    connected: bool,
    session: Arc<AtomicU64>,
}

impl<W: Write> Flusher<W> {
    async fn run(mut self, mut queue: mpsc::Receiver<Written<W>>) {
        // What this fails at the first flush tries again.
        let _ = self.connect().await;
        let mut closing = pin!(self.kept.closing());
        loop {
            let mut batches = Vec::new();
            let taken = tokio::select! {
                taken = queue.recv_many(&mut batches, UNFLUSHED) => taken,
                () = &mut closing => 0,
            };
            if taken == 0 {
                return;
            }
            let flushed = self.flush().await;
            if let Err(error) = &flushed {
                tracing::warn!(error = %error, cause = ?error.source(), "a flush lost the database");
                self.disconnect();
            }
            let session = self.session.load(Ordering::SeqCst);
            for batch in batches {
                if flushed.is_ok() && batch.session == session {
                    batch.answer();
                } else {
                    self.write_again(batch).await;
                }
            }
        }
    }

    async fn connect(&mut self) -> Result<(), store::Error> {
        self.kept.connection().await?;
        if !self.connected {
            self.connected = true;
            self.session.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }

    fn disconnect(&mut self) {
        self.kept.give_back();
        self.connected = false;
    }

    async fn flush(&mut self) -> Result<(), store::Error> {
        self.connect().await?;
        store::flush(self.kept.connection().await?).await
    }

    /// What is repeatable is written once more and flushed on the same connection; what was not lost is found there.
    async fn write_again(&mut self, batch: Written<W>) {
        let again = async {
            if !W::REPEATABLE {
                return None;
            }
            self.connect().await.ok()?;
            let results = self.write.write(&batch.items, &mut self.kept).await.ok()?;
            self.flush().await.ok()?;
            Some(results)
        };
        if let Some(results) = again.await {
            Written { results, ..batch }.answer();
            return;
        }
        self.disconnect();
        for answer in batch.answers {
            let _ = answer.send(Err(Failure::Disconnected));
        }
    }
}
