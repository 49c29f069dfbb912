//! The log of recorded facts: pages of it, and streams that go on.

use std::{sync::Arc, time::Duration};

use domain::{
    Error as Refusal, Reason, WorkspaceId,
    event::{Cursor, Event},
    workspace::{Level, Service},
};
use futures::Stream;
pub use store::events::Filter;
use tokio::time::Instant;

use crate::{
    App, Caller, Error, PageRequest,
    logs::{Ahead, Watcher},
};

/// A page of the log.
#[derive(Debug)]
pub struct EventPage {
    /// Its events, with their cursors.
    pub events: Vec<(Event, String)>,
    /// Where to go on.
    pub next_cursor: String,
    /// Whether the log holds more.
    pub more: bool,
}

/// What a stream of events gives.
#[derive(Debug)]
pub enum Watched {
    /// An event, and the place after it.
    Event(Arc<Event>, String),
    /// Nothing happened, or nothing that the filter lets through; and the place that was reached.
    Heartbeat(String),
}

/// Where a stream begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// Now.
    Now,
    /// At the beginning of the log.
    First,
}

impl App {
    /// Reads a cursor of this workspace's log as it is now; an empty one as `empty` says.
    pub(crate) async fn place(
        &self,
        workspace: WorkspaceId,
        cursor: &str,
        empty: Begin,
    ) -> Result<Cursor, Error> {
        let mut tx = self.store().workspace(workspace).await?;
        let (epoch, end) = store::events::end(&mut tx, workspace).await?;
        // The place before the oldest event; where none is left, the end.
        let first = store::events::oldest(&mut tx, workspace).await?.map_or(end, |oldest| oldest - 1);
        store::commit(tx).await?;
        let at = |position| Cursor { workspace, epoch, position };
        let cursor = match cursor {
            "" if empty == Begin::Now => at(end),
            "" | "0" => at(first),
            text => Cursor::decode(text, workspace)?,
        };
        if cursor.epoch < epoch || (cursor.epoch == epoch && cursor.position < first) {
            let expired = "is older than the log; begin again at the cursor in the metadata";
            return Err(Refusal::field(Reason::CursorExpired, "cursor", expired)
                .with("cursor", at(first).encode())
                .into());
        }
        if cursor.epoch > epoch || cursor.position > end {
            let ahead = "is ahead of the log; begin again at the cursor in the metadata";
            return Err(Refusal::field(Reason::CursorAhead, "cursor", ahead)
                .with("cursor", at(end).encode())
                .into());
        }
        Ok(cursor)
    }

    /// Reads a page of the log.
    pub async fn list_events(
        &self,
        caller: &Caller,
        cursor: &str,
        filter: &Filter,
        size: i32,
    ) -> Result<EventPage, Error> {
        let workspace = caller.require(Service::Events, Level::Read)?;
        let limit = PageRequest { size, token: String::new() }.limit()?;
        let start = self.place(workspace, cursor, Begin::First).await?;
        let mut tx = self.store().workspace(workspace).await?;
        let stretch = store::events::read(&mut tx, workspace, start.position, filter, limit).await?;
        store::commit(tx).await?;
        let at = |position| Cursor { position, ..start }.encode();
        Ok(EventPage {
            next_cursor: at(stretch.through),
            more: stretch.full,
            events: stretch
                .events
                .into_iter()
                .map(|event| (at(event.position), event))
                .map(|(c, e)| (e, c))
                .collect(),
        })
    }

    /// Streams the log, from a cursor on. The first item is a heartbeat with the place where the stream begins. Ends when
    /// the process stops.
    pub async fn watch(
        &self,
        caller: &Caller,
        cursor: &str,
        filter: Filter,
        heartbeat: Duration,
    ) -> Result<impl Stream<Item = Result<Watched, Error>> + Send + use<>, Error> {
        let workspace = caller.require(Service::Events, Level::Read)?;
        // Subscribed before the place is read, so that nothing falls between.
        let watcher = self.inner.hub.logs().watch(workspace);
        let cursor = self.place(workspace, cursor, Begin::Now).await?;
        let watch = Watch {
            app: self.clone(),
            filter,
            heartbeat,
            watcher,
            cursor,
            greeted: false,
            read_on: true,
            ahead: None,
        };
        Ok(futures::stream::unfold(Some(watch), |watch| async move {
            let mut watch = watch?;
            match watch.next().await {
                Ok(Some(item)) => Some((Ok(item), Some(watch))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        }))
    }
}

struct Watch {
    app: App,
    filter: Filter,
    heartbeat: Duration,
    watcher: Watcher,
    cursor: Cursor,
    /// Whether it has begun with a heartbeat.
    greeted: bool,
    /// Whether there may be more to read.
    read_on: bool,
    /// What was read and not told yet.
    ahead: Option<Ahead>,
}

impl Watch {
    async fn next(&mut self) -> Result<Option<Watched>, Error> {
        if !self.greeted {
            self.greeted = true;
            return Ok(Some(Watched::Heartbeat(self.cursor.encode())));
        }
        let mut quiet_until = Instant::now() + self.heartbeat;
        loop {
            if let Some(event) = self.next_read() {
                return Ok(Some(event));
            }
            // Asked here, too: who reads a long log from its beginning must not hold up a stop.
            if self.app.inner.stop.is_cancelled() {
                return Ok(None);
            }
            if self.read_on {
                let news = self.watcher.told();
                self.read(news).await?;
                continue;
            }
            tokio::select! {
                () = self.app.inner.stop.cancelled() => return Ok(None),
                () = self.watcher.news() => self.read_on = true,
                () = tokio::time::sleep_until(quiet_until) => {
                    // Looks, too: should a notification ever be lost, an event is late and not missing.
                    let news = self.watcher.look();
                    self.read(news).await?;
                    match self.next_read() {
                        Some(event) => return Ok(Some(event)),
                        None if !self.read_on => return Ok(Some(Watched::Heartbeat(self.cursor.encode()))),
                        None => quiet_until = Instant::now() + self.heartbeat,
                    }
                }
            }
        }
    }

    async fn read(&mut self, news: u64) -> Result<(), Error> {
        let Cursor { epoch, position, .. } = self.cursor;
        let ahead = self.watcher.read(self.app.store(), epoch, position, news).await?;
        self.read_on = !ahead.is_all(news);
        self.ahead = Some(ahead);
        Ok(())
    }

    /// The next event of what was read that the filter lets through.
    fn next_read(&mut self) -> Option<Watched> {
        let ahead = self.ahead.as_mut()?;
        while let Some(event) = ahead.next() {
            self.cursor.position = event.position;
            if self.filter.lets(event.dialogue, &event.kind) {
                return Some(Watched::Event(event, self.cursor.encode()));
            }
        }
        self.cursor.position = ahead.through();
        self.ahead = None;
        None
    }
}
