//! Gathered writes: what arrives while the last transaction was being flushed is written as the next one.
//!
//! Each caller waits for its own commit. There is no timer: an idle writer takes a single item at once, a busy one finds
//! many. That is how throughput goes past one transaction per item without giving up durability.

use std::{collections::VecDeque, future::Future, sync::Arc, time::Duration};

use tokio::sync::{Mutex, mpsc, oneshot};

/// Hands items to the writers of one kind of gathered write.
pub(crate) struct Gather<I, O> {
    queue: mpsc::Sender<Item<I, O>>,
}

impl<I, O> Clone for Gather<I, O> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone() }
    }
}

type Item<I, O> = (I, oneshot::Sender<Result<O, Failure>>);

/// Why an item was not written.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Too many wait already.
    Full,
    /// The database failed for this item. Nothing of it was written, unless the connection broke while it committed.
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
            Failure::Store(error) => Self::Store(error),
        }
    }
}

impl<I: Send + Sync + 'static, O: Send + 'static> Gather<I, O> {
    /// Starts writers. `write` gets at most `most` items and answers for each in turn; when it fails, the batch is split
    /// until only the guilty items fail.
    pub(crate) fn start<W, F>(capacity: usize, writers: usize, most: usize, write: W) -> Self
    where
        W: Fn(Vec<I>) -> F + Send + Sync + 'static,
        F: Future<Output = (Vec<I>, Result<Vec<O>, store::Error>)> + Send,
    {
        let (queue, receiver) = mpsc::channel::<Item<I, O>>(capacity);
        let receiver = Arc::new(Mutex::new(receiver));
        let write = Arc::new(write);
        for _ in 0..writers {
            let (receiver, write) = (Arc::clone(&receiver), Arc::clone(&write));
            tokio::spawn(async move {
                loop {
                    let mut batch = Vec::with_capacity(most);
                    if receiver.lock().await.recv_many(&mut batch, most).await == 0 {
                        break;
                    }
                    write_batch(&*write, batch).await;
                }
            });
        }
        Self { queue }
    }

    /// Writes an item, or says at once that too many wait.
    pub(crate) async fn offer(&self, item: I) -> Result<O, Failure> {
        let (answer, waiting) = oneshot::channel();
        self.queue.try_send((item, answer)).map_err(|_| Failure::Full)?;
        waiting.await.unwrap_or(Err(Failure::Full))
    }

    /// Writes an item, when there is room.
    pub(crate) async fn write(&self, item: I) -> Result<O, Failure> {
        let (answer, waiting) = oneshot::channel();
        self.queue.send((item, answer)).await.map_err(|_| Failure::Full)?;
        waiting.await.unwrap_or(Err(Failure::Full))
    }
}

/// How often one item alone is tried when its rows are locked: with the pauses, for about a second.
const LOCKED_TRIES: u32 = 12;

async fn write_batch<I, O, W, F>(write: &W, batch: Vec<Item<I, O>>)
where
    W: Fn(Vec<I>) -> F,
    F: Future<Output = (Vec<I>, Result<Vec<O>, store::Error>)>,
{
    let mut waiting = VecDeque::from([(batch, 0)]);
    while let Some((batch, tries)) = waiting.pop_front() {
        let (items, answers): (Vec<I>, Vec<_>) = batch.into_iter().unzip();
        let (items, result) = write(items).await;
        match result {
            Ok(results) => {
                for (answer, result) in answers.into_iter().zip(results) {
                    // A caller that went away doesn't want its answer.
                    let _ = answer.send(Ok(result));
                }
            }
            Err(store::Error::Contended) if items.len() == 1 && tries < LOCKED_TRIES => {
                tokio::time::sleep(Duration::from_millis(5 + 5 * u64::from(tries))).await;
                waiting.push_back((items.into_iter().zip(answers).collect(), tries + 1));
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
