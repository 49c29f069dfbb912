//! Gathered writes: what arrives while the last transaction was being flushed is written as the next one.
//!
//! Each caller waits for its own commit. There is no timer: an idle writer takes a single item at once, a busy one finds
//! many. That is how throughput goes past one transaction per item without giving up durability.

mod apart;

use std::{collections::VecDeque, error::Error as _, future::Future, sync::Arc, time::Duration};

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
        let queues = (0..writers).map(|_| {
            let (queue, receiver) = mpsc::channel(capacity.div_ceil(writers));
            let writer =
                Writer { write: Arc::clone(&write), kept: store.kept(), apart: Some(Apart::new(store)) };
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

struct Writer<W: Write> {
    write: Arc<W>,
    kept: Kept,
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
            let written = self.write.write(&items, &mut self.kept).await;
            fail_point::reached(W::NAME, "after");
            match written {
                Ok(results) => {
                    for (answer, result) in answers.into_iter().zip(results) {
                        // A caller that went away doesn't want its answer.
                        let _ = answer.send(Ok(result));
                    }
                }
                Err(store::Error::Contended) if items.len() == 1 && self.apart.is_some() => {
                    if let (Some(apart), Some(item)) = (&self.apart, items.into_iter().zip(answers).next()) {
                        apart.wait(&self.write, item);
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
