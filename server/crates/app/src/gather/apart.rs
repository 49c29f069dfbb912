//! Items of dialogues whose rows somebody keeps locked wait apart: a writer that waited for them would keep everybody else's
//! items waiting.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use domain::DialogueId;
use store::Store;
use tokio::sync::{Semaphore, mpsc};

use super::{Failure, Item, Write, Writer};

/// How many items of one dialogue may wait.
const CAPACITY: usize = 256;
/// How many dialogues are tried at once: each try takes a connection.
const AT_ONCE: usize = 2;

/// The dialogues of one writer that wait apart, each with what came for it meanwhile.
pub(super) struct Apart<W: Write> {
    store: Store,
    waiting: Arc<Mutex<HashMap<DialogueId, mpsc::Sender<Item<W>>>>>,
    tries: Arc<Semaphore>,
}

impl<W: Write> Apart<W> {
    pub(super) fn new(store: &Store) -> Self {
        Self { store: store.clone(), waiting: Arc::default(), tries: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Hands items of dialogues that wait apart over to those, behind what they hold, so that the order of a dialogue stays.
    /// Gives the others back.
    pub(super) fn keep(&self, mut batch: Vec<Item<W>>) -> Vec<Item<W>> {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.is_empty() {
            return batch;
        }
        let apart = batch.extract_if(.., |(item, _)| waiting.contains_key(&W::dialogue(item)));
        for item in apart.collect::<Vec<_>>() {
            let Some(queue) = waiting.get(&W::dialogue(&item.0)) else { continue };
            if let Err(
                mpsc::error::TrySendError::Full((_, answer)) | mpsc::error::TrySendError::Closed((_, answer)),
            ) = queue.try_send(item)
            {
                let _ = answer.send(Err(Failure::Full));
            }
        }
        batch
    }

    /// Has an item wait apart whose row is locked.
    pub(super) fn wait(&self, write: &Arc<W>, item: Item<W>) {
        let dialogue = W::dialogue(&item.0);
        let (queue, mut more) = mpsc::channel(CAPACITY);
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(dialogue, queue);
        let (waiting, tries) = (Arc::clone(&self.waiting), Arc::clone(&self.tries));
        let mut writer = Writer { write: Arc::clone(write), kept: self.store.kept(), apart: None };
        tokio::spawn(async move {
            let mut batch = vec![item];
            while !batch.is_empty() {
                let Ok(_turn) = tries.acquire().await else { return };
                writer.write_batch(std::mem::take(&mut batch)).await;
                writer.kept.give_back();
                // Whoever hands over holds the same lock: nothing is left in a queue that nobody reads.
                let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
                while let Ok(item) = more.try_recv() {
                    batch.push(item);
                }
                if batch.is_empty() {
                    waiting.remove(&dialogue);
                }
            }
        });
    }
}
