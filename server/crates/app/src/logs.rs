//! Readings of workspaces' logs, shared by all who watch them.
//!
//! A thousand watchers of a workspace stand at nearly the same place, and one reading of the log serves them all. Why nobody
//! misses an event, or gets one twice:
//!
//! - A reading that begins at `after` and went as far as `through` holds all that the log has between the two: places are
//!   given in order and for good (the migration that creates the events argues it), and nothing is left out, since the
//!   filter of each watcher is applied to what was read. So it serves whoever stands at or behind `after` and before
//!   `through`, however old it is; they take the part that is ahead of them and go on from `through`.
//! - That there is nothing (more) is true only of the moment of the reading. Each workspace's news are counted: the count
//!   rises before watchers are told, and each reading notes the count that it found before it asked the database. Whoever
//!   was told news number n takes "there is no more" from a reading that noted n or more, which began after the commit
//!   that the news are of; from an older one it takes the events, and reads on.
//! - A notification that is lost makes no news. So whoever heard nothing for a heartbeat raises the count itself, at most
//!   once in [`LOOK_PAUSE`] for all of them: an event is late then, and not missing.
//!
//! Of each log that somebody watches the newest readings are kept, up to [`MOST_READINGS`] and [`MOST_BYTES`]; whoever is
//! too slow for them reads for itself and for those who are as slow.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use domain::{WorkspaceId, event::Event};
use store::{
    Store,
    events::{Filter, Stretch},
};
use tokio::{
    sync::{OnceCell, watch},
    time::Instant,
};

use crate::Error;

/// How many events are looked at per reading.
const STRETCH: usize = 500;
/// How many readings of a log are kept.
const MOST_READINGS: usize = 64;
/// How much they hold together, more or less.
const MOST_BYTES: usize = 4 << 20;
/// How often the log is looked at without news.
const LOOK_PAUSE: Duration = Duration::from_secs(1);

/// The logs that somebody watches.
#[derive(Default)]
pub(crate) struct Logs(Mutex<HashMap<WorkspaceId, Log>>);

struct Log {
    watchers: usize,
    /// How many news came. It never goes back while anybody watches.
    news: watch::Sender<u64>,
    /// When it was last raised without news.
    looked_at: Instant,
    /// Oldest first. Some may be under way.
    readings: VecDeque<Arc<Reading>>,
}

/// One reading of a log, under way or done.
struct Reading {
    epoch: i32,
    after: i64,
    /// The count of the news before it began.
    news: u64,
    read: OnceCell<Read>,
}

struct Read {
    through: i64,
    full: bool,
    events: Vec<Arc<Event>>,
    bytes: usize,
}

/// Whoever watches a log, for as long as this lives.
pub(crate) struct Watcher {
    logs: Arc<Logs>,
    workspace: WorkspaceId,
    news: watch::Receiver<u64>,
}

/// The part of a reading that is ahead of a watcher.
pub(crate) struct Ahead {
    reading: Arc<Reading>,
    /// How many of its events are behind the watcher.
    next: usize,
}

impl Logs {
    fn lock(&self) -> MutexGuard<'_, HashMap<WorkspaceId, Log>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that a workspace's log grew; `None`: any may have.
    pub(crate) fn tell(&self, workspace: Option<WorkspaceId>) {
        let logs = self.lock();
        let grown = |log: &Log| log.news.send_modify(|count| *count += 1);
        match workspace {
            Some(workspace) => logs.get(&workspace).into_iter().for_each(grown),
            None => logs.values().for_each(grown),
        }
    }

    /// Begins to watch a log: hears of what is committed from here on.
    pub(crate) fn watch(self: &Arc<Self>, workspace: WorkspaceId) -> Watcher {
        let mut logs = self.lock();
        let log = logs.entry(workspace).or_insert_with(|| Log {
            watchers: 0,
            news: watch::Sender::new(0),
            looked_at: Instant::now(),
            readings: VecDeque::new(),
        });
        log.watchers += 1;
        Watcher { logs: Arc::clone(self), workspace, news: log.news.subscribe() }
    }
}

impl Log {
    /// A reading for whoever stands at `after` and was told news number `news`: one that serves, done or under way, or a
    /// new one.
    fn reading(&mut self, epoch: i32, after: i64, news: u64) -> Arc<Reading> {
        let serves = |reading: &&Arc<Reading>| match reading.read.get() {
            _ if reading.epoch != epoch => false,
            Some(read) => {
                reading.after <= after
                    && (after < read.through || after == read.through && !read.full && reading.news >= news)
            }
            None => reading.after == after && reading.news >= news,
        };
        if let Some(reading) = self.readings.iter().rev().find(serves) {
            return Arc::clone(reading);
        }
        let reading = Arc::new(Reading { epoch, after, news: *self.news.borrow(), read: OnceCell::new() });
        self.readings.push_back(Arc::clone(&reading));
        let mut room = MOST_BYTES;
        let kept = self.readings.iter().rev().take(MOST_READINGS).take_while(|reading| {
            let bytes = reading.read.get().map_or(0, |read| read.bytes);
            room = room.saturating_sub(bytes);
            room > 0
        });
        let gone = self.readings.len() - kept.count();
        self.readings.drain(..gone);
        reading
    }
}

impl Watcher {
    /// The count of the news up to now.
    pub(crate) fn told(&mut self) -> u64 {
        *self.news.borrow_and_update()
    }

    /// Waits for news.
    pub(crate) async fn news(&mut self) {
        // The sender lives while this watches.
        let _ = self.news.changed().await;
    }

    /// The count of the news, of which the last may be that somebody thought of looking.
    pub(crate) fn look(&mut self) -> u64 {
        let mut logs = self.logs.lock();
        if let Some(log) = logs.get_mut(&self.workspace)
            && log.looked_at.elapsed() >= LOOK_PAUSE
        {
            log.looked_at = Instant::now();
            // The others needn't wake up for it.
            log.news.send_if_modified(|count| {
                *count += 1;
                false
            });
        }
        drop(logs);
        self.told()
    }

    /// Reads on from a place, with others who stand there, for whoever was told news number `news`.
    pub(crate) async fn read(
        &self,
        store: &Store,
        epoch: i32,
        after: i64,
        news: u64,
    ) -> Result<Ahead, Error> {
        let reading = match self.logs.lock().get_mut(&self.workspace) {
            Some(log) => log.reading(epoch, after, news),
            // Not while this lives.
            None => Arc::new(Reading { epoch, after, news: 0, read: OnceCell::new() }),
        };
        // Should whoever reads go away or fail, the next of those who wait reads: later, and so no less.
        let read = reading
            .read
            .get_or_try_init(|| async {
                let mut tx = store.workspace(self.workspace).await?;
                let stretch =
                    store::events::read(&mut tx, self.workspace, reading.after, &Filter::default(), STRETCH)
                        .await?;
                store::commit(tx).await?;
                Ok::<_, Error>(Read::from(stretch))
            })
            .await?;
        let next = read.events.partition_point(|event| event.position <= after);
        Ok(Ahead { reading, next })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let mut logs = self.logs.lock();
        if let Some(log) = logs.get_mut(&self.workspace) {
            log.watchers -= 1;
            if log.watchers == 0 {
                logs.remove(&self.workspace);
            }
        }
    }
}

impl From<Stretch> for Read {
    fn from(stretch: Stretch) -> Self {
        // What an event takes beside its text, more or less.
        const EVENT: usize = 1_024;
        let text = |event: &Event| event.message.as_ref().map_or(0, |message| message.text.len());
        Self {
            through: stretch.through,
            full: stretch.full,
            bytes: stretch.events.iter().map(|event| EVENT + text(event)).sum(),
            events: stretch.events.into_iter().map(Arc::new).collect(),
        }
    }
}

impl Ahead {
    /// The next event.
    pub(crate) fn next(&mut self) -> Option<Arc<Event>> {
        let event = self.reading.read.get()?.events.get(self.next)?;
        self.next += 1;
        Some(Arc::clone(event))
    }

    /// The last place that was looked at.
    pub(crate) fn through(&self) -> i64 {
        self.reading.read.get().map_or(self.reading.after, |read| read.through)
    }

    /// Whether there was no more when news number `news` came.
    pub(crate) fn is_all(&self, news: u64) -> bool {
        self.reading.news >= news && self.reading.read.get().is_some_and(|read| !read.full)
    }
}

#[cfg(test)]
mod tests {
    use domain::Timestamp;
    use serde_json::Value;

    use super::*;

    const HERE: WorkspaceId = WorkspaceId(uuid::Uuid::from_u128(1));

    fn event(position: i64) -> Event {
        Event {
            id: uuid::Uuid::from_u128(position.unsigned_abs().into()).into(),
            kind: "message.received".to_owned(),
            position,
            occurred_at: Timestamp::UNIX_EPOCH,
            dialogue: None,
            subject: None,
            message: None,
            data: Value::Null,
        }
    }

    /// Asks for a reading, which goes as far as `through` if it is not there yet. Answers its identity and what is ahead.
    fn read(logs: &Logs, after: i64, news: u64, through: i64, full: bool) -> (usize, Vec<i64>) {
        let reading = logs.lock().get_mut(&HERE).unwrap().reading(1, after, news);
        let events = (reading.after + 1..=through).map(event).collect();
        let read = Read::from(Stretch { events, through: through.max(after), full });
        let _ = reading.read.set(read);
        let identity = Arc::as_ptr(&reading) as usize;
        let events = &reading.read.get().unwrap().events;
        let ahead = events.iter().map(|event| event.position).filter(|position| *position > after).collect();
        (identity, ahead)
    }

    #[test]
    fn readings_serve_all_whom_they_are_true_for() {
        let logs = Arc::new(Logs::default());
        let mut watcher = logs.watch(HERE);
        let (first, ahead) = read(&logs, 10, watcher.told(), 13, false);
        assert_eq!(ahead, [11, 12, 13]);
        // Who stands inside of it takes the rest; who is through has all there is.
        assert_eq!(read(&logs, 12, 0, 99, false), (first, vec![13]));
        assert_eq!(read(&logs, 13, 0, 99, false), (first, vec![]));
        // Who was told more takes what it holds, but not that there is no more.
        logs.tell(Some(HERE));
        assert_eq!(watcher.told(), 1);
        assert_eq!(read(&logs, 11, 1, 99, false), (first, vec![12, 13]));
        let (second, ahead) = read(&logs, 13, 1, 15, true);
        assert_ne!(second, first);
        assert_eq!(ahead, [14, 15]);
        // Behind one that was full there may be more, whatever was told.
        let (third, ahead) = read(&logs, 15, 1, 16, false);
        assert_ne!(third, second);
        assert_eq!(ahead, [16]);
        // Another life of the log has other events in the same places.
        let other = logs.lock().get_mut(&HERE).unwrap().reading(2, 12, 0);
        assert!(other.read.get().is_none());
    }

    #[test]
    fn what_is_under_way_is_waited_for_if_it_began_after_the_news() {
        let logs = Arc::new(Logs::default());
        let _watcher = logs.watch(HERE);
        let reading = |news| logs.lock().get_mut(&HERE).unwrap().reading(1, 5, news);
        let early = reading(0);
        assert!(Arc::ptr_eq(&early, &reading(0)));
        logs.tell(None);
        let late = reading(1);
        assert!(!Arc::ptr_eq(&early, &late));
        assert!(Arc::ptr_eq(&late, &reading(1)));
        assert_eq!(late.news, 1);
    }

    #[test]
    fn little_is_kept_and_nothing_when_nobody_watches() {
        let logs = Arc::new(Logs::default());
        let (one, other) = (logs.watch(HERE), logs.watch(HERE));
        for at in 0..200 {
            read(&logs, at, 0, at + 1, true);
        }
        let kept = || logs.lock()[&HERE].readings.len();
        assert_eq!(kept(), MOST_READINGS);
        for at in (1_000..11_000).step_by(1_000) {
            read(&logs, at, 0, at + 1_000, true);
        }
        assert!(kept() <= MOST_BYTES / (1_000 * 1_024) + 2, "{} readings", kept());
        drop(one);
        assert!(!logs.lock().is_empty());
        drop(other);
        assert!(logs.lock().is_empty());
    }

    #[test]
    fn looking_without_news_is_shared_too_and_wakes_nobody() {
        let logs = Arc::new(Logs::default());
        let (mut one, mut other) = (logs.watch(HERE), logs.watch(HERE));
        assert_eq!(one.look(), 0);
        logs.lock().get_mut(&HERE).unwrap().looked_at -= LOOK_PAUSE;
        assert_eq!(one.look(), 1);
        assert_eq!(other.look(), 1);
        assert!(!one.news.has_changed().unwrap() && !other.news.has_changed().unwrap());
    }
}
