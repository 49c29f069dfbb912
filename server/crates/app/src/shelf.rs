//! A place for what a vendor listed: kept, and served while the vendor is asked anew.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use domain::{
    Timestamp,
    vendor::{FailureKind, VendorError},
};

use crate::{App, Error};

/// How long after a failure the vendor is left alone, while there is an older list to serve.
pub(crate) const PAUSE: Duration = Duration::from_mins(1);

/// When a vendor is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    /// From what age on a list is asked for anew, while it is still given.
    pub(crate) fresh: Duration,
    /// Whether whoever calls wants it as it is now.
    pub(crate) refresh: bool,
    /// How long the vendor is left alone after it was asked, whatever came of it and whoever wants to know.
    pub(crate) pause: Duration,
}

/// What a vendor listed.
#[derive(Debug, Clone)]
pub struct Listed<T> {
    /// The items, as the vendor orders them.
    pub items: Vec<T>,
    /// When it listed them.
    pub fetched_at: Timestamp,
}

/// What asks a vendor for a list: what the vendor said, unless it could not even be asked.
pub(crate) type Asking<T> = Pin<Box<dyn Future<Output = Result<Result<Vec<T>, VendorError>, Error>> + Send>>;

/// The place of one list.
#[derive(Debug)]
pub(crate) struct Shelf<T> {
    listed: Mutex<Option<Arc<Listed<T>>>>,
    /// When the vendor last failed to list, and why.
    failed: Mutex<Option<(Timestamp, VendorError)>>,
    /// Held by whoever asks the vendor: one at a time.
    asking: tokio::sync::Mutex<()>,
}

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self { listed: Mutex::default(), failed: Mutex::default(), asking: tokio::sync::Mutex::default() }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T> Shelf<T> {
    fn listed(&self) -> Option<Arc<Listed<T>>> {
        locked(&self.listed).clone()
    }

    /// Why the vendor is left alone for now, if it is.
    fn failed(&self, now: Timestamp, pause: Duration) -> Option<VendorError> {
        locked(&self.failed).as_ref().filter(|(at, _)| now < *at + pause).map(|(_, error)| error.clone())
    }
}

impl App {
    /// Gives what is on a shelf. When it is not fresh, it is still given, and `ask` fills the shelf meanwhile; when there is
    /// nothing, or a refresh is wanted, `ask` is waited for. `what` is for the log.
    pub(crate) async fn on_shelf<T>(
        &self,
        shelf: Arc<Shelf<T>>,
        terms: Terms,
        what: &'static str,
        ask: Asking<T>,
    ) -> Result<Arc<Listed<T>>, Error>
    where
        T: Send + Sync + 'static,
    {
        let now = self.now();
        let good = |listed: &Arc<Listed<T>>| !terms.refresh || now < listed.fetched_at + terms.pause;
        let Some(listed) = shelf.listed().filter(good) else {
            return match shelf.failed(now, terms.pause) {
                Some(error) => Err(Error::Vendor(error)),
                None => self.fill(&shelf, now, terms.pause, ask).await,
            };
        };
        let stale = now >= listed.fetched_at + terms.fresh && shelf.failed(now, PAUSE).is_none();
        // Unless somebody asks already.
        if stale && shelf.asking.try_lock().is_ok() {
            let app = self.clone();
            tokio::spawn(async move {
                if let Err(error) = app.fill(&shelf, now, PAUSE, ask).await {
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
        pause: Duration,
        ask: Asking<T>,
    ) -> Result<Arc<Listed<T>>, Error> {
        let _asking = shelf.asking.lock().await;
        if let Some(listed) = shelf.listed().filter(|listed| listed.fetched_at > came_at) {
            return Ok(listed);
        }
        if let Some(error) = shelf.failed(self.now(), pause) {
            return Err(Error::Vendor(error));
        }
        match ask.await? {
            Ok(items) => {
                let listed = Arc::new(Listed { items, fetched_at: self.now() });
                *locked(&shelf.listed) = Some(Arc::clone(&listed));
                *locked(&shelf.failed) = None;
                Ok(listed)
            }
            Err(error) => {
                // Whom the vendor lets in no more is not shown what it listed once.
                if matches!(error.kind, FailureKind::Unauthorized | FailureKind::Forbidden) {
                    *locked(&shelf.listed) = None;
                }
                *locked(&shelf.failed) = Some((self.now(), error.clone()));
                Err(Error::Vendor(error))
            }
        }
    }
}
