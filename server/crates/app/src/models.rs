//! The models that an engine can be set to, as its vendor lists them: kept for a day, and served while the vendor is asked
//! anew.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use domain::{
    Error as Refusal, IntegrationId, Reason, Timestamp, WorkspaceId,
    engine::{CompletionModel, Model},
    vendor::{FailureKind, VendorError},
    workspace::{Level, Service},
};
use moka::sync::Cache;

use crate::{
    App, Caller, Error,
    engines::{Account, Held},
};

/// From when on the vendor is asked anew.
const FRESH: Duration = Duration::from_hours(24);
/// How long the vendor is left alone after it was asked, whatever came of it.
const PAUSE: Duration = Duration::from_mins(1);

/// What a vendor listed.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The models, as the vendor orders them.
    pub models: Vec<Model>,
    /// When it did.
    pub fetched_at: Timestamp,
}

/// Whose list it is: workspace, vendor, and integration with the state of its settings and credentials.
type Key = (WorkspaceId, String, Option<(IntegrationId, i64)>);

/// The lists that are kept.
pub(crate) type ModelCache = Cache<Key, Arc<Shelf>>;

pub(crate) fn new_cache() -> ModelCache {
    Cache::builder().max_capacity(10_000).time_to_idle(Duration::from_hours(72)).build()
}

/// The place of one list.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    listed: Mutex<Option<Arc<Listed>>>,
    /// When the vendor last failed to list, and why.
    failed: Mutex<Option<(Timestamp, VendorError)>>,
    /// Held by whoever asks the vendor: one at a time.
    asking: tokio::sync::Mutex<()>,
}

/// What is asked, of whom, and where the answer is kept.
struct Question {
    workspace: WorkspaceId,
    vendor: String,
    engine: Arc<dyn CompletionModel>,
    /// The integration whose account is asked. `None`: the operator's.
    source: Option<Arc<Held>>,
    shelf: Arc<Shelf>,
    came_at: Timestamp,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shelf {
    fn listed(&self) -> Option<Arc<Listed>> {
        locked(&self.listed).clone()
    }

    /// Why the vendor is left alone for now, if it is.
    fn failed(&self, now: Timestamp) -> Option<VendorError> {
        locked(&self.failed).as_ref().filter(|(at, _)| now < *at + PAUSE).map(|(_, error)| error.clone())
    }
}

impl App {
    /// Lists the models of a vendor, as the account sees them that an agent with this integration would use.
    pub async fn list_models(
        &self,
        caller: &Caller,
        vendor: String,
        integration: Option<IntegrationId>,
        refresh: bool,
    ) -> Result<Arc<Listed>, Error> {
        let workspace = caller.require(Service::Agents, Level::Read)?;
        let Some(engine) = self.inner.vendors.get(&vendor).and_then(|vendor| vendor.engine.clone()) else {
            return Err(Refusal::field(Reason::FieldInvalid, "vendor", self.engines_are()).into());
        };
        let source = match integration {
            Some(id) => {
                let found = self.held(workspace, id).await?;
                let found = found.ok_or_else(|| crate::integrations::not_found(id))?;
                let with = &found.sealed.integration.vendor;
                if *with != vendor {
                    let detail = format!("is an integration with {with}, not with {vendor}");
                    return Err(Refusal::field(Reason::FieldInvalid, "integration_id", detail).into());
                }
                Some(found)
            }
            None => None,
        };
        let state = source.as_ref().map(|found| &found.sealed.integration);
        let state = state.map(|integration| (integration.id, integration.generation));
        let key = (workspace, vendor.clone(), state);
        let shelf = self.inner.models.get_with(key, Arc::default);
        let now = self.now();
        let failed = shelf.failed(now);
        match shelf.listed().filter(|listed| !refresh || now < listed.fetched_at + PAUSE) {
            Some(listed) => {
                if now >= listed.fetched_at + FRESH && failed.is_none() {
                    self.ask_in_background(Question {
                        workspace,
                        vendor,
                        engine,
                        source,
                        shelf,
                        came_at: now,
                    });
                }
                Ok(listed)
            }
            None => match failed {
                Some(error) => Err(Error::Vendor(error)),
                None => self.ask(&Question { workspace, vendor, engine, source, shelf, came_at: now }).await,
            },
        }
    }

    /// A model that an engine was set to is not there any more: the list that may name it is not served again.
    pub(crate) fn forget_models(&self, workspace: WorkspaceId, vendor: &str, account: &Account) {
        self.inner.models.invalidate(&(workspace, vendor.to_owned(), account.state()));
    }

    fn ask_in_background(&self, question: Question) {
        // Somebody asks already.
        if question.shelf.asking.try_lock().is_err() {
            return;
        }
        let app = self.clone();
        tokio::spawn(async move {
            if let Err(error) = app.ask(&question).await {
                tracing::info!(
                    workspace.id = %question.workspace, vendor = question.vendor, error = %error,
                    "a list of models could not be renewed; the older one is served"
                );
            }
        });
    }

    /// Asks the vendor, unless somebody else did since the caller came.
    async fn ask(&self, question: &Question) -> Result<Arc<Listed>, Error> {
        let Question { workspace, vendor, engine, source, shelf, came_at } = question;
        let _asking = shelf.asking.lock().await;
        if let Some(listed) = shelf.listed().filter(|listed| listed.fetched_at > *came_at) {
            return Ok(listed);
        }
        if let Some(error) = shelf.failed(self.now()) {
            return Err(Error::Vendor(error));
        }
        let account = match source {
            Some(held) => self.account_of(*workspace, held).await?,
            None => self.operators(vendor).map_err(Error::Vendor)?,
        };
        let listed = engine.list_models(&account.connection).await;
        self.note_call(&account, listed.as_ref().map(drop)).await;
        match listed {
            Ok(models) => {
                let listed = Arc::new(Listed { models, fetched_at: self.now() });
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
