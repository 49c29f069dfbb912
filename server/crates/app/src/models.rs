//! The models that an engine can be set to, as its vendor lists them: kept for a day, and served while the vendor is asked
//! anew.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use domain::{
    Error as Refusal, IntegrationId, Reason, Timestamp, WorkspaceId,
    engine::{CompletionModel, Model},
    vendor::{FailureKind, Retry, VendorError},
    workspace::{Level, Service},
};
use moka::sync::Cache;
use store::integrations::SealedIntegration;

use crate::{App, Caller, Error};

/// From when on the vendor is asked anew.
const FRESH: Duration = Duration::from_hours(24);
/// How long after a failure the vendor is left alone, while there is an older list to serve.
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
    /// When the vendor last failed to list.
    failed_at: Mutex<Option<Timestamp>>,
    /// Held by whoever asks the vendor: one at a time.
    asking: tokio::sync::Mutex<()>,
}

/// What is asked, of whom, and where the answer is kept.
struct Question {
    workspace: WorkspaceId,
    vendor: String,
    engine: Arc<dyn CompletionModel>,
    /// The integration whose account is asked. `None`: the operator's.
    source: Option<Arc<SealedIntegration>>,
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

    fn rests(&self, now: Timestamp) -> bool {
        locked(&self.failed_at).is_some_and(|at| now < at + PAUSE)
    }
}

/// Tells a caller of a vendor's refusal.
fn refusal(error: &VendorError) -> Refusal {
    let reason = if error.retry == Retry::Never { Reason::VendorRefused } else { Reason::VendorUnavailable };
    let kind = match error.kind {
        FailureKind::Other => "OTHER",
        FailureKind::Unauthorized => "UNAUTHORIZED",
        FailureKind::Forbidden => "FORBIDDEN",
        FailureKind::OutOfQuota => "OUT_OF_QUOTA",
        FailureKind::RateLimited => "RATE_LIMITED",
        FailureKind::Unavailable => "UNAVAILABLE",
        FailureKind::NotFound => "NOT_FOUND",
        FailureKind::InputTooLong => "INPUT_TOO_LONG",
        FailureKind::BadAnswer => "BAD_ANSWER",
        FailureKind::Cancelled => "CANCELLED",
    };
    let refusal = Refusal::new(reason, error.to_string()).with("vendor", error.vendor).with("kind", kind);
    match error.retry {
        Retry::After(pause) => refusal.retry_after(pause),
        _ => refusal,
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
                let found = self.integration(workspace, id).await?;
                let found = found.ok_or_else(|| crate::integrations::not_found(id))?;
                let with = &found.integration.vendor;
                if *with != vendor {
                    let detail = format!("is an integration with {with}, not with {vendor}");
                    return Err(Refusal::field(Reason::FieldInvalid, "integration_id", detail).into());
                }
                Some(found)
            }
            None => None,
        };
        let state = source.as_ref().map(|found| (found.integration.id, found.integration.generation));
        let key = (workspace, vendor.clone(), state);
        let shelf = self.inner.models.get_with(key, Arc::default);
        let now = self.now();
        match shelf.listed().filter(|_| !refresh) {
            Some(listed) => {
                if now >= listed.fetched_at + FRESH && !shelf.rests(now) {
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
            None => self.ask(&Question { workspace, vendor, engine, source, shelf, came_at: now }).await,
        }
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
        let account = match source {
            Some(sealed) => self.account_of(*workspace, sealed)?,
            None => self.operators(vendor).map_err(|error| refusal(&error))?,
        };
        let listed = engine.list_models(&account.connection).await;
        self.note_call(&account, listed.as_ref().map(drop)).await;
        match listed {
            Ok(models) => {
                let listed = Arc::new(Listed { models, fetched_at: self.now() });
                *locked(&shelf.listed) = Some(Arc::clone(&listed));
                *locked(&shelf.failed_at) = None;
                Ok(listed)
            }
            Err(error) => {
                *locked(&shelf.failed_at) = Some(self.now());
                Err(refusal(&error).into())
            }
        }
    }
}
