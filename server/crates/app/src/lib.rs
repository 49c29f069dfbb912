//! The use cases: what can be asked of Switchboard, whatever door the question comes through.
//!
//! One file per noun, called by gRPC and by the HTTP shim alike; `jobs/` holds what workers do, one file per job. A use
//! case checks the caller's right, opens the transaction, commits it, and turns a missing row into the error that the
//! contract names. The room knows the vendors' traits but no vendor by name, and nothing of tonic, axum or reqwest.

pub mod agents;
mod budgets;
mod bulkhead;
pub mod caller;
pub mod channels;
pub mod crm;
mod crm_context;
pub mod crm_hooks;
mod deletions;
pub mod dialogues;
pub mod endpoints;
mod engines;
pub mod error;
pub mod events;
mod feeder;
mod gather;
mod governor;
pub mod hooks;
mod hub;
pub mod imports;
pub mod inbound;
pub mod integrations;
mod jobs;
mod ledger;
mod logs;
pub mod models;
mod numberer;
mod oauth;
pub mod previews;
mod prompt;
pub mod rehearsals;
mod relays;
pub mod replays;
mod requests;
pub mod sealing;
pub mod shelf;
mod simulation;
pub mod sources;
mod tools;
mod usage;
pub mod worker;
pub mod workspaces;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

pub use caller::Caller;
use domain::{
    AheadClock, Clock, Ids, IntegrationId, Timestamp, WorkerId,
    connection::Connection,
    delivery::RetrySchedule,
    endpoint::Schedules,
    vendor::{EventPoster, ToolCaller, Vendors},
};
pub use error::Error;
use http::HeaderName;
use hub::Hub;
use store::Store;
pub use store::page::{Page, PageRequest};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument as _;

/// What an operator can set, beside the clock, the vendors and the key ring.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How failed deliveries are tried again.
    pub deliveries: RetrySchedule,
    /// How failed dispatches to endpoints are tried again.
    pub hooks: Schedules,
    /// How failed runs of an engine are tried again.
    pub runs: RetrySchedule,
    /// How many messages may wait to be committed before callers are told to come back.
    pub inbox_capacity: usize,
    /// How many turns and deliveries one worker works on at once.
    pub concurrency: usize,
    /// How many dispatches to endpoints one worker works on at once, beside the rest.
    pub hook_concurrency: usize,
    /// How many endpoints a workspace may have.
    pub max_endpoints: i64,
    /// How long dispatches are kept that came to their end. `None`: for ever.
    pub dispatch_retention: Option<Duration>,
    /// How long a turn may wait for an engine that answers later.
    pub longest_wait: Duration,
    /// The operator's own accounts at engines, by vendor: for agents that name no integration.
    pub engines: BTreeMap<String, Connection>,
    /// Where the public listener is reached from outside, without a slash at its end. `None`: nobody said.
    pub public_url: Option<String>,
    /// How long a worker that fell silent keeps its work.
    pub lease: Duration,
    /// The integration whose CRM may call without a secret. `None`: none.
    pub crm_integration: Option<IntegrationId>,
    /// The header that carries an agent's token, whose value is never stored.
    pub inbound_token_header: HeaderName,
}

/// Who calls addresses that workspaces named, other than vendors.
#[derive(Clone)]
pub struct Callers {
    /// Posts events to endpoints.
    pub events: Arc<dyn EventPoster>,
    /// Calls agents' own tools.
    pub tools: Arc<dyn ToolCaller>,
}

/// Switchboard, without its doors.
#[derive(Clone)]
pub struct App {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    clock: Arc<AheadClock>,
    ids: Ids,
    vendors: Vendors,
    callers: Callers,
    sealer: sealing::Sealer,
    settings: Settings,
    worker: WorkerId,
    /// When this process was started, and the same by a clock that nobody sets.
    started_at: Timestamp,
    begun: Instant,
    hub: Arc<Hub>,
    keys: caller::KeyCache,
    routes: inbound::RouteCache,
    budgets: budgets::BudgetCache,
    integrations: engines::IntegrationCache,
    crm_hooks: crm_hooks::HookCache,
    models: models::ModelCache,
    crm: crm::CrmCache,
    crm_records: crm_context::Records,
    doors: oauth::renewal::Doors,
    renewing: Arc<tokio::sync::Semaphore>,
    /// Work that ends even if nobody waits for it any more: what came of it must be kept.
    promised: TaskTracker,
    /// Fires when something is to be deleted.
    erasing: tokio::sync::Notify,
    inbox: inbound::Inbox,
    crm_inbox: crm_hooks::CrmInbox,
    stop: CancellationToken,
}

impl App {
    /// Puts the parts together and starts what every process needs: the listener for notifications, and the writers of
    /// the inbox. Workers are started with [`worker::start`].
    pub async fn start(
        store: Store,
        clock: Arc<dyn Clock>,
        vendors: Vendors,
        callers: Callers,
        sealer: sealing::Sealer,
        settings: Settings,
        stop: CancellationToken,
    ) -> Result<Self, Error> {
        // Where the database is no simulation, it stays as it is.
        let clock = Arc::new(AheadClock::new(clock));
        let ids = Ids::new(clock.clone());
        if let Some(ahead) = store::simulation::ahead(store.pool()).await? {
            clock.set_ahead(ahead);
            tracing::info!(
                ahead_seconds = ahead.as_secs(),
                "the database is a simulation, with a clock of its own"
            );
        }
        store::numberer::make_partitions(store.pool(), clock.now()).await?;
        let hub = Arc::new(Hub::new());
        let inbox = inbound::start_inbox(&store, &hub, settings.inbox_capacity);
        let crm_inbox = crm_hooks::start_inbox(&store, &hub, settings.inbox_capacity);
        let app = Self {
            inner: Arc::new(Inner {
                worker: ids.next(),
                started_at: clock.now(),
                begun: Instant::now(),
                keys: caller::new_cache(),
                routes: inbound::RouteCache::new(),
                budgets: budgets::new_cache(),
                integrations: engines::new_cache(),
                crm_hooks: crm_hooks::new_cache(),
                models: models::new_cache(),
                crm: crm::new_cache(),
                crm_records: crm_context::Records::default(),
                doors: oauth::renewal::new_doors(),
                renewing: Arc::new(tokio::sync::Semaphore::new(oauth::renewal::AT_ONCE)),
                promised: TaskTracker::new(),
                erasing: tokio::sync::Notify::new(),
                store,
                clock,
                ids,
                vendors,
                callers,
                sealer,
                settings,
                hub,
                inbox,
                crm_inbox,
                stop,
            }),
        };
        hub::start(&app).await?;
        Ok(app)
    }

    /// The present moment.
    pub fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    /// The vendors that this server knows.
    pub fn vendors(&self) -> &Vendors {
        &self.inner.vendors
    }

    /// Whether the database answers.
    pub async fn ready(&self) -> Result<(), Error> {
        Ok(self.inner.store.ping().await?)
    }

    /// Waits for what must not be broken off, at most so long, and closes the connections to the database. The last thing
    /// that a process does.
    pub async fn close(&self, longest: Duration) {
        self.inner.promised.close();
        if tokio::time::timeout(longest, self.inner.promised.wait()).await.is_err() {
            tracing::error!(
                left = self.inner.promised.len(),
                "work that must not be broken off did not end in time"
            );
        }
        self.inner.store.close().await;
    }

    /// Does what must not be broken off once it has begun: whoever asked for it may go, and it ends all the same.
    async fn promise<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        let done = self.inner.promised.spawn(work.in_current_span()).await;
        done.map_err(|_| domain::Error::new(domain::Reason::Internal, "the work broke off"))?
    }

    fn store(&self) -> &Store {
        &self.inner.store
    }

    fn id<T: From<uuid::Uuid>>(&self) -> T {
        self.inner.ids.next()
    }

    /// Forgets what was cached of configuration; the next use reads it again.
    fn forget(&self) {
        self.inner.keys.invalidate_all();
        // First told, then forgotten: who reads meanwhile hears of it and keeps nothing.
        self.inner.hub.tell_configuration();
        self.inner.routes.forget();
        self.inner.integrations.invalidate_all();
        self.inner.crm_hooks.invalidate_all();
        self.inner.budgets.invalidate_all();
    }
}
