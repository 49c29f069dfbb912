//! A place for what a vendor listed: kept, and served while the vendor is asked anew.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use domain::Timestamp;

use crate::{App, Error};

/// How long after a failure the vendor is left alone, while there is an older list to serve.
const PAUSE: Duration = Duration::from_mins(1);

/// What a vendor listed.
#[derive(Debug, Clone)]
pub struct Listed<T> {
    /// The items, as the vendor orders them.
    pub items: Vec<T>,
    /// When it listed them.
    pub fetched_at: Timestamp,
}

/// What asks a vendor for a list.
pub(crate) type Asking<T> = Pin<Box<dyn Future<Output = Result<Vec<T>, Error>> + Send>>;

/// The place of one list.
#[derive(Debug)]
pub(crate) struct Shelf<T> {
    listed: Mutex<Option<Arc<Listed<T>>>>,
    /// When the vendor last failed to list.
    failed_at: Mutex<Option<Timestamp>>,
    /// Held by whoever asks the vendor: one at a time.
    asking: tokio::sync::Mutex<()>,
}

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self { listed: Mutex::default(), failed_at: Mutex::default(), asking: tokio::sync::Mutex::default() }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T> Shelf<T> {
    fn listed(&self) -> Option<Arc<Listed<T>>> {
        locked(&self.listed).clone()
    }

    fn rests(&self, now: Timestamp) -> bool {
        locked(&self.failed_at).is_some_and(|at| now < at + PAUSE)
    }
}

impl App {
    /// Gives what is on a shelf. When it is older than `fresh`, it is still given, and `ask` fills the shelf meanwhile; when
    /// there is nothing, or a refresh is wanted, `ask` is waited for. `what` is for the log.
    pub(crate) async fn on_shelf<T>(
        &self,
        shelf: Arc<Shelf<T>>,
        (fresh, refresh): (Duration, bool),
        what: &'static str,
        ask: Asking<T>,
    ) -> Result<Arc<Listed<T>>, Error>
    where
        T: Send + Sync + 'static,
    {
        let now = self.now();
        let Some(listed) = shelf.listed().filter(|_| !refresh) else {
            return self.fill(&shelf, now, ask).await;
        };
        // Unless somebody asks already.
        if now >= listed.fetched_at + fresh && !shelf.rests(now) && shelf.asking.try_lock().is_ok() {
            let app = self.clone();
            tokio::spawn(async move {
                if let Err(error) = app.fill(&shelf, now, ask).await {
                    tracing::info!(what, error = %error, "a list could not be renewed; the older one is served");
                }
            });
        }
        Ok(listed)
    }

    /// Asks the vendor, unless somebody else did since the caller came.
    async fn fill<T>(
        &self,
        shelf: &Shelf<T>,
        came_at: Timestamp,
        ask: Asking<T>,
    ) -> Result<Arc<Listed<T>>, Error> {
        let _asking = shelf.asking.lock().await;
        if let Some(listed) = shelf.listed().filter(|listed| listed.fetched_at > came_at) {
            return Ok(listed);
        }
        match ask.await {
            Ok(items) => {
                let listed = Arc::new(Listed { items, fetched_at: self.now() });
                *locked(&shelf.listed) = Some(Arc::clone(&listed));
                *locked(&shelf.failed_at) = None;
                Ok(listed)
            }
            Err(error) => {
                *locked(&shelf.failed_at) = Some(self.now());
                Err(error)
            }
        }
    }
}
