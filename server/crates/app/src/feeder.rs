//! Feeds endpoints: reads the log on for each, and makes a dispatch of every event that its filter lets through. Feeds mirrors,
//! too: has the dialogues looked at that something was said in.
//!
//! Every process with workers feeds. Which of them reads on for an endpoint is decided by the lock on its place, so an event
//! is dispatched to it once.

use std::{collections::HashSet, time::Duration};

use domain::{WorkspaceId, fail_point};
use tokio::sync::broadcast::{Receiver, error::TryRecvError};

use crate::{App, worker::jittered};

/// Which logs to look at.
enum Look {
    /// All that anybody reads.
    All,
    /// Those that are said to have grown.
    At(HashSet<WorkspaceId>),
}

impl Look {
    fn at(heard: Option<WorkspaceId>) -> Self {
        heard.map_or(Self::All, |workspace| Self::At(HashSet::from([workspace])))
    }

    /// Of these, the ones to look at.
    fn among(&self, workspaces: &HashSet<WorkspaceId>) -> Vec<WorkspaceId> {
        match self {
            Self::All => workspaces.iter().copied().collect(),
            Self::At(some) => some.intersection(workspaces).copied().collect(),
        }
    }

    /// Adds what was said meanwhile.
    fn and_all_of(mut self, news: &mut Receiver<Option<WorkspaceId>>) -> Self {
        loop {
            match news.try_recv() {
                Ok(Some(workspace)) => {
                    if let Self::At(workspaces) = &mut self {
                        workspaces.insert(workspace);
                    }
                }
                // Of anything, or more was said than we heard.
                Ok(None) | Err(TryRecvError::Lagged(_)) => self = Self::All,
                Err(_) => return self,
            }
        }
    }
}

/// Runs until the process stops.
pub(crate) async fn run(app: App) {
    /// Events per endpoint and pass; the database takes up to 4,096.
    const BATCH: i32 = 500;
    // Behind the notifications.
    const POLL: Duration = Duration::from_secs(5);
    // A pass for every notification would be one for every few events; a breath between passes gathers them.
    const BREATH: Duration = Duration::from_millis(5);
    let mut news = app.inner.hub.events();
    let mut configuration = app.inner.hub.configuration();
    // Most workspaces have no endpoint, and their news cost nothing.
    let mut read = HashSet::new();
    let mut mirrored = HashSet::new();
    let mut look = Look::All;
    while !app.inner.stop.is_cancelled() {
        let pass = async {
            let pool = app.store().pool();
            if let Look::All = look {
                configuration.borrow_and_update();
                read = store::endpoints::fed_workspaces(pool).await?.into_iter().collect();
                mirrored = store::mirrors::fed_workspaces(pool).await?.into_iter().collect();
            }
            let mirrors = look.among(&mirrored);
            let mut more = false;
            if !mirrors.is_empty() {
                fail_point::reached("feed_mirrors", "before");
                let fed = store::mirrors::feed(pool, &mirrors, BATCH, app.now()).await?;
                fail_point::reached("feed_mirrors", "after");
                if fed.woken > 0 {
                    app.inner.hub.tell_work();
                }
                more = fed.more;
            }
            let wanted = look.among(&read);
            if wanted.is_empty() {
                return Ok(more);
            }
            fail_point::reached("feed", "before");
            let fed = store::endpoints::feed(pool, &wanted, BATCH, app.now()).await?;
            fail_point::reached("feed", "after");
            if fed.dispatched > 0 {
                app.inner.hub.tell_hooks();
            }
            Ok::<_, store::Error>(fed.more || more)
        };
        match pass.await {
            Ok(true) => continue,
            Ok(false) => {}
            Err(error) => {
                if !matches!(error, store::Error::Contended) {
                    tracing::warn!(error = %error, "feeding endpoints failed; it is tried again");
                }
                tokio::time::sleep(jittered(Duration::from_millis(200))).await;
                continue;
            }
        }
        tokio::time::sleep(BREATH).await;
        look = tokio::select! {
            () = app.inner.stop.cancelled() => return,
            heard = news.recv() => Look::at(heard.ok().flatten()).and_all_of(&mut news),
            _ = configuration.changed() => Look::All,
            () = tokio::time::sleep(jittered(POLL)) => Look::All,
        };
    }
}
