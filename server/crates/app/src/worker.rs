//! The worker: claims waiting work, does it, and lives by its heartbeat.
//!
//! A worker that claims a turn goes on without the queue: decide, run, commit, send, settle. What it begins and commits
//! is gathered with what its other tasks begin and commit at the same moment. When it dies, its lease lapses and the work
//! is claimed by another; the fence keeps it from writing, should it still be alive.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use domain::{ChannelId, DialogueId, WorkerId};
use rand::RngExt;
use store::{
    Kept,
    deliveries::{self, ClaimedDelivery, StartedAttempt},
    dispatches::{self, ClaimedDispatch, StartedDispatch},
    queue::{Claim, Lane, Lanes},
    turns::{self, BegunTurn, ClaimedTurn, Committed},
    waits::{self, Wait},
};
use tokio::{sync::Semaphore, task::JoinHandle};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    App, Error, budgets,
    bulkhead::{Bound, Bulkhead, FarSides, OnTheWay, Way},
    feeder,
    gather::{Gather, Write},
    hub::Hub,
    jobs, numberer,
};

/// The gathered writes of a worker, and its name.
#[derive(Clone)]
pub(crate) struct Worker {
    pub(crate) app: App,
    pub(crate) id: WorkerId,
    pub(crate) begin: Gather<Begin>,
    pub(crate) reply: Gather<CommitReply>,
    pub(crate) settle_turn: Gather<SettleTurn>,
    pub(crate) reserve: Gather<budgets::Reserve>,
    pub(crate) settle_budget: Gather<budgets::Settle>,
    pub(crate) wait: Gather<WaitTurn>,
    pub(crate) start: Gather<StartAttempt>,
    pub(crate) settle: Gather<SettleAttempt>,
    pub(crate) start_hook: Gather<StartDispatch>,
    pub(crate) settle_hook: Gather<SettleDispatch>,
    /// Cancelled when work in hand has had its time after the stop.
    pub(crate) give_up: CancellationToken,
    /// Set when a write ended in doubt: what this worker holds is then given back and claimed anew, so that what
    /// happened is read from the database instead of guessed.
    doubt: Arc<AtomicBool>,
    /// Of the turn or delivery at hand: its place among those that call the same.
    on_the_way: Option<Arc<OnTheWay>>,
}

/// A running worker.
pub struct Running {
    dispatchers: [JoinHandle<()>; 2],
    heart: JoinHandle<()>,
    numberer: JoinHandle<()>,
    feeder: JoinHandle<()>,
    rewrapper: JoinHandle<()>,
    renewer: JoinHandle<()>,
    subscriber: JoinHandle<()>,
    eraser: JoinHandle<()>,
    source_keeper: JoinHandle<()>,
    sweeper: JoinHandle<()>,
    tasks: TaskTracker,
    give_up: CancellationToken,
    app: App,
}

impl Running {
    /// Waits, after the process was told to stop, until the work in hand is done; then gives the rest back.
    pub async fn finish(self, longest: Duration) {
        for dispatcher in self.dispatchers {
            let _ = dispatcher.await;
        }
        self.tasks.close();
        if tokio::time::timeout(longest, self.tasks.wait()).await.is_err() {
            tracing::warn!(left = self.tasks.len(), "work in hand did not end in time; it is given back");
            self.give_up.cancel();
        }
        self.heart.abort();
        let _ = self.numberer.await;
        let _ = self.feeder.await;
        let _ = self.rewrapper.await;
        let _ = self.renewer.await;
        let _ = self.subscriber.await;
        let _ = self.eraser.await;
        let _ = self.source_keeper.await;
        let _ = self.sweeper.await;
        if let Err(error) =
            store::queue::retire(self.app.store().pool(), self.app.inner.worker, self.app.now()).await
        {
            tracing::warn!(error = %error, "work could not be given back; others take it when the lease lapses");
        }
    }
}

/// How many messages of a dialogue an engine is given at most.
const HISTORY: i32 = 50;

/// Begins runs.
pub(crate) struct Begin(App);

impl Write for Begin {
    type Item = ClaimedTurn;
    type Answer = Option<BegunTurn>;

    const REPEATABLE: bool = false;
    const NAME: &str = "begin_turn";

    fn dialogue(item: &ClaimedTurn) -> DialogueId {
        item.dialogue
    }

    async fn write(
        &self,
        items: &[ClaimedTurn],
        kept: &mut Kept,
    ) -> Result<Vec<Option<BegunTurn>>, store::Error> {
        let Self(app) = self;
        turns::begin(kept.connection().await?, app.inner.worker, items, app.now(), HISTORY).await
    }
}

/// Commits replies.
pub(crate) struct CommitReply(App);

impl Write for CommitReply {
    type Item = turns::Reply;
    type Answer = Committed;

    const REPEATABLE: bool = false;
    const NAME: &str = "commit_reply";

    fn dialogue(item: &turns::Reply) -> DialogueId {
        item.claim.dialogue
    }

    async fn write(&self, items: &[turns::Reply], kept: &mut Kept) -> Result<Vec<Committed>, store::Error> {
        let Self(app) = self;
        let answers =
            turns::commit_replies(kept.connection().await?, app.inner.worker, items, app.now()).await?;
        app.inner.hub.tell_work();
        Ok(answers)
    }
}

/// Settles turns that got no reply.
pub(crate) struct SettleTurn(App);

impl Write for SettleTurn {
    type Item = turns::Settlement;
    type Answer = bool;

    const REPEATABLE: bool = false;
    const NAME: &str = "settle_turn";

    fn dialogue(item: &turns::Settlement) -> DialogueId {
        item.claim.dialogue
    }

    async fn write(&self, items: &[turns::Settlement], kept: &mut Kept) -> Result<Vec<bool>, store::Error> {
        let Self(app) = self;
        let answers = turns::settle(kept.connection().await?, app.inner.worker, items, app.now()).await?;
        app.inner.hub.tell_work();
        Ok(answers)
    }
}

/// Lets turns wait for their engine.
pub(crate) struct WaitTurn(App);

impl Write for WaitTurn {
    type Item = Wait;
    type Answer = bool;

    const REPEATABLE: bool = false;
    const NAME: &str = "wait_turn";

    fn dialogue(item: &Wait) -> DialogueId {
        item.claim.dialogue
    }

    async fn write(&self, items: &[Wait], kept: &mut Kept) -> Result<Vec<bool>, store::Error> {
        let Self(app) = self;
        let answers = waits::wait(kept.connection().await?, app.inner.worker, items, app.now()).await?;
        app.inner.hub.tell_work();
        Ok(answers)
    }
}

/// Begins attempts.
pub(crate) struct StartAttempt(App);

impl Write for StartAttempt {
    type Item = ClaimedDelivery;
    type Answer = Option<StartedAttempt>;

    const REPEATABLE: bool = false;
    const NAME: &str = "start_attempt";

    fn dialogue(item: &ClaimedDelivery) -> DialogueId {
        item.dialogue
    }

    async fn write(
        &self,
        items: &[ClaimedDelivery],
        kept: &mut Kept,
    ) -> Result<Vec<Option<StartedAttempt>>, store::Error> {
        // A place nearer than this is waited for in the worker; a farther one in the queue.
        const PATIENCE: Duration = Duration::from_millis(50);
        let Self(app) = self;
        deliveries::start_attempts(kept.connection().await?, app.inner.worker, items, app.now(), PATIENCE)
            .await
    }
}

/// Settles attempts.
pub(crate) struct SettleAttempt(App);

impl Write for SettleAttempt {
    type Item = deliveries::Settlement;
    type Answer = bool;

    const REPEATABLE: bool = false;
    const NAME: &str = "settle_attempt";

    fn dialogue(item: &deliveries::Settlement) -> DialogueId {
        item.claim.dialogue
    }

    async fn write(
        &self,
        items: &[deliveries::Settlement],
        kept: &mut Kept,
    ) -> Result<Vec<bool>, store::Error> {
        let Self(app) = self;
        let answers =
            deliveries::settle(kept.connection().await?, app.inner.worker, items, app.now()).await?;
        app.inner.hub.tell_work();
        Ok(answers)
    }
}

/// Begins attempts at dispatches.
pub(crate) struct StartDispatch(App);

impl Write for StartDispatch {
    type Item = ClaimedDispatch;
    type Answer = Option<StartedDispatch>;

    const REPEATABLE: bool = false;
    const NAME: &str = "start_dispatch";

    /// The key, whose row is locked: an endpoint's place in a dialogue's stead.
    fn dialogue(item: &ClaimedDispatch) -> DialogueId {
        item.subject.into()
    }

    async fn write(
        &self,
        items: &[ClaimedDispatch],
        kept: &mut Kept,
    ) -> Result<Vec<Option<StartedDispatch>>, store::Error> {
        let Self(app) = self;
        dispatches::start_attempts(kept.connection().await?, app.inner.worker, items, app.now()).await
    }
}

/// Settles attempts at dispatches.
pub(crate) struct SettleDispatch(App);

impl Write for SettleDispatch {
    type Item = dispatches::Settlement;
    type Answer = bool;

    const REPEATABLE: bool = false;
    const NAME: &str = "settle_dispatch";

    fn dialogue(item: &dispatches::Settlement) -> DialogueId {
        item.claim.subject.into()
    }

    async fn write(
        &self,
        items: &[dispatches::Settlement],
        kept: &mut Kept,
    ) -> Result<Vec<bool>, store::Error> {
        let Self(app) = self;
        let (worker, patience) = (app.inner.worker, domain::endpoint::PATIENCE);
        let answers =
            dispatches::settle(kept.connection().await?, worker, items, patience, app.now()).await?;
        app.inner.hub.tell_hooks();
        Ok(answers)
    }
}

fn gather<W: Write>(app: &App, write: W) -> Gather<W> {
    gather_by(app, 2, write)
}

/// With so many writers, each of which keeps a connection while it is busy.
fn gather_by<W: Write>(app: &App, writers: usize, write: W) -> Gather<W> {
    const CAPACITY: usize = 4_096;
    // More would make each caller wait longer without much gain.
    const MOST: usize = 64;
    Gather::start(app.store(), CAPACITY, writers, MOST, write)
}

/// An endpoint gets so many times the places for dispatches that are free.
const ENDPOINTS_SHARE: usize = 1;
/// One of so many parts of them is kept for endpoints that have none.
const ENDPOINTS_RESERVE: usize = 4;
/// A workspace gets so many times the places for turns and deliveries that are free.
const WORKSPACES_SHARE: usize = 3;
/// One of so many parts of them is kept for workspaces that have none.
const WORKSPACES_RESERVE: usize = 16;

/// Work that is claimed together, and has places of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Turns, deliveries and timers.
    Dialogues,
    /// Dispatches to endpoints.
    Hooks,
}

/// Starts a worker. `alone`: no other process can be at work on this database, so what others held is free at once.
pub async fn start(app: &App, alone: bool) -> Result<Running, Error> {
    let id = app.inner.worker;
    store::queue::heartbeat(app.store().pool(), id, app.inner.settings.lease, app.now()).await?;
    if alone {
        store::queue::retire_others(app.store().pool(), id, app.now()).await?;
    }
    let worker = Worker {
        app: app.clone(),
        id,
        begin: gather(app, Begin(app.clone())),
        reply: gather(app, CommitReply(app.clone())),
        settle_turn: gather(app, SettleTurn(app.clone())),
        // One writer: calls of one agent all go to the same rows, and would only wait for each other.
        reserve: gather_by(app, 1, budgets::Reserve(app.clone())),
        settle_budget: gather_by(app, 1, budgets::Settle),
        wait: gather_by(app, 1, WaitTurn(app.clone())),
        start: gather(app, StartAttempt(app.clone())),
        settle: gather(app, SettleAttempt(app.clone())),
        // Dialogues first: endpoints get one writer each, and leave connections for the rest.
        start_hook: gather_by(app, 1, StartDispatch(app.clone())),
        settle_hook: gather_by(app, 1, SettleDispatch(app.clone())),
        give_up: CancellationToken::new(),
        doubt: Arc::default(),
        on_the_way: None,
    };
    let give_up = worker.give_up.clone();
    let hub = &app.inner.hub;
    let (dialogues, hooks) = (app.inner.settings.concurrency, app.inner.settings.hook_concurrency);
    let share = Bound { times: WORKSPACES_SHARE, reserve: dialogues / WORKSPACES_RESERVE };
    let by_workspace = Bulkhead::new(share, hub, Hub::wake_work);
    let share = Bound { times: ENDPOINTS_SHARE, reserve: hooks / ENDPOINTS_RESERVE };
    let by_endpoint = Bulkhead::new(share, hub, Hub::tell_hooks);
    let tasks = TaskTracker::new();
    let dispatch =
        |kind, bulkhead, places| tokio::spawn(worker.clone().dispatch(kind, bulkhead, places, tasks.clone()));
    Ok(Running {
        heart: tokio::spawn(worker.clone().beat()),
        dispatchers: [
            dispatch(Kind::Dialogues, by_workspace, dialogues),
            dispatch(Kind::Hooks, by_endpoint, hooks),
        ],
        numberer: tokio::spawn(numberer::run(app.clone())),
        feeder: tokio::spawn(feeder::run(app.clone())),
        renewer: tokio::spawn(jobs::renew_grants::run(app.clone())),
        subscriber: tokio::spawn(jobs::keep_subscriptions::run(app.clone())),
        eraser: tokio::spawn(jobs::erase::run(app.clone())),
        source_keeper: tokio::spawn(jobs::keep_sources::run(app.clone())),
        rewrapper: tokio::spawn(jobs::rewrap_secrets::run(app.clone())),
        sweeper: tokio::spawn(jobs::sweep_dispatches::run(app.clone())),
        tasks,
        give_up,
        app: app.clone(),
    })
}

impl Worker {
    async fn beat(self) {
        let lease = self.app.inner.settings.lease;
        let mut partitions_due = tokio::time::Instant::now();
        loop {
            tokio::time::sleep(jittered(lease / 4)).await;
            if let Err(error) =
                store::queue::heartbeat(self.app.store().pool(), self.id, lease, self.app.now()).await
            {
                tracing::warn!(error = %error, "a heartbeat failed; it is tried again");
            }
            if tokio::time::Instant::now() >= partitions_due {
                partitions_due += Duration::from_hours(6);
                if let Err(error) =
                    store::numberer::make_partitions(self.app.store().pool(), self.app.now()).await
                {
                    tracing::warn!(error = %error, "partitions could not be made; it is tried again");
                }
                if let Err(error) = budgets::sweep(&self.app, self.app.now()).await {
                    tracing::warn!(error = %error, "old budgets could not be swept; it is tried again");
                }
                if let Err(error) = store::erasures::sweep(self.app.store().pool(), self.app.now()).await {
                    tracing::warn!(error = %error, "old deletions could not be swept; it is tried again");
                }
            }
        }
    }

    /// Claims work of a kind and has it done, in so many places.
    async fn dispatch(self, kind: Kind, bulkhead: Bulkhead, concurrency: usize, tasks: TaskTracker) {
        const MOST_PER_CLAIM: usize = 128;
        const MOST_STRANGERS: usize = 64;
        // Behind the notifications.
        let poll = Duration::from_secs(if kind == Kind::Hooks { 3 } else { 1 });
        let places = Arc::new(Semaphore::new(concurrency));
        let mut work = match kind {
            Kind::Dialogues => self.app.inner.hub.work(),
            Kind::Hooks => self.app.inner.hub.hooks(),
        };
        let far_sides = FarSides::new(&self.app.inner.hub);
        let mut after = uuid::Uuid::nil();
        while !self.app.inner.stop.is_cancelled() {
            work.borrow_and_update();
            if self.doubt.swap(false, Ordering::Relaxed) {
                self.start_over().await;
            }
            // With all places taken by slow work the stop must still be heard.
            tokio::select! {
                () = self.app.inner.stop.cancelled() => return,
                place = places.acquire() => drop(place),
            }
            // Of a whole backlog that is new here nobody would be full before all of it was claimed.
            for _ in 0..20 {
                if far_sides.strangers() < MOST_STRANGERS {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let free = places.available_permits().max(1);
            let (most, busy) = (bulkhead.most(free), bulkhead.full(free));
            let full = far_sides.full(|workspace| bulkhead.room(workspace.0, free));
            let lanes = match kind {
                Kind::Dialogues => {
                    Lanes::Dialogues { most, busy: &busy, turns: &full.turns, outs: &full.outs }
                }
                Kind::Hooks => Lanes::Hooks { most, busy: &busy },
            };
            let claims = match store::queue::claim(
                self.app.store().pool(),
                lanes,
                self.id,
                after,
                free.min(MOST_PER_CLAIM),
                self.app.now(),
            )
            .await
            {
                Ok(claims) => claims,
                Err(error) => {
                    // The answer may have been lost with keys claimed in it.
                    self.doubt.store(true, Ordering::Relaxed);
                    tracing::warn!(error = %error, "claiming work failed; it is tried again");
                    tokio::time::sleep(jittered(Duration::from_millis(300))).await;
                    continue;
                }
            };
            domain::fail_point::reached("claim", "after");
            // The walk goes on behind the last that was served; the claim itself begins anew where nobody is left.
            after = claims.iter().map(Claim::share).max().unwrap_or_default();
            let found = !claims.is_empty();
            for claim in claims {
                let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
                let inside = bulkhead.enter(claim.share());
                let way = match claim.lane {
                    Lane::Turn => Some(Way::Engine),
                    Lane::Out => Some(Way::Receiver),
                    Lane::Timer | Lane::Hook => None,
                };
                let mut worker = self.clone();
                worker.on_the_way = way
                    .zip(claim.channel)
                    .map(|(way, channel)| Arc::new(far_sides.enter(claim.workspace, way, channel)));
                tasks.spawn(async move {
                    worker.work(claim).await;
                    drop(place);
                    drop(inside);
                });
            }
            if found {
                continue;
            }
            let due = match store::queue::next_due(self.app.store().pool(), lanes, self.app.now()).await {
                Ok(Some(due)) => Duration::try_from(due - self.app.now()).unwrap_or(Duration::from_millis(1)),
                _ => poll,
            };
            tokio::select! {
                () = self.app.inner.stop.cancelled() => return,
                _ = work.changed() => {}
                () = tokio::time::sleep(due.min(jittered(poll))) => {}
            }
        }
    }

    /// Says what the turn or delivery at hand calls now: an engine's account or a receiver, by name.
    pub(crate) fn calls(&self, way: Way, channel: ChannelId, name: &str) {
        if let Some(place) = &self.on_the_way {
            place.calls(way, channel, name);
        }
    }

    async fn work(&self, claim: Claim) {
        let done = match claim.lane {
            Lane::Turn => {
                jobs::run_turn::run(
                    self,
                    ClaimedTurn {
                        workspace: claim.workspace,
                        dialogue: claim.dialogue,
                        turn: claim.target.into(),
                        fence: claim.fence,
                        job: claim.job,
                        failures: claim.failures,
                    },
                )
                .await
            }
            Lane::Timer => {
                let app = &self.app;
                let ended = async {
                    let mut tx = app.store().workspace(claim.workspace).await?;
                    store::control::return_due(&mut tx, self.id, &claim, app.now()).await?;
                    store::commit(tx).await
                };
                ended.await.map_err(Error::from)
            }
            Lane::Mirror => Box::pin(jobs::mirror_dialogue::run(self, &claim)).await,
            Lane::Out => {
                jobs::deliver::run(
                    self,
                    ClaimedDelivery {
                        workspace: claim.workspace,
                        dialogue: claim.dialogue,
                        delivery: claim.target.into(),
                        fence: claim.fence,
                        job: claim.job,
                        failures: claim.failures,
                    },
                )
                .await
            }
            Lane::Hook => {
                jobs::dispatch_event::run(
                    self,
                    ClaimedDispatch {
                        workspace: claim.workspace,
                        subject: claim.dialogue.into(),
                        dispatch: claim.target.into(),
                        fence: claim.fence,
                        job: claim.job,
                        failures: claim.failures,
                    },
                )
                .await
            }
        };
        if let Err(error) = done {
            tracing::warn!(
                workspace.id = %claim.workspace, dialogue.id = %claim.dialogue,
                error = %error, cause = ?std::error::Error::source(&error).map(ToString::to_string),
                "work failed; it is done anew"
            );
            self.put_off(&claim, &error).await;
        }
    }

    /// Gives back what failed. Where the database said no, nothing was written, and this one key is due again after a pause;
    /// where the connection broke nobody knows, and all that this worker holds is read anew.
    async fn put_off(&self, claim: &Claim, error: &Error) {
        const PAUSE: Duration = Duration::from_secs(2);
        let refused = matches!(error, Error::Store(error) if !error.is_disconnection());
        let later = self.app.now() + jittered(PAUSE);
        if !refused || store::queue::put_off(self.app.store().pool(), self.id, claim, later).await.is_err() {
            self.doubt.store(true, Ordering::Relaxed);
        }
    }

    /// Gives all keys back. Tasks still under way find their fences stale and stop.
    async fn start_over(&self) {
        let pool = self.app.store().pool();
        let lease = self.app.inner.settings.lease;
        let done = async {
            store::queue::retire(pool, self.id, self.app.now()).await?;
            store::queue::heartbeat(pool, self.id, lease, self.app.now()).await
        };
        if let Err(error) = done.await {
            self.doubt.store(true, Ordering::Relaxed);
            tracing::warn!(error = %error, "work could not be given back; it is tried again");
            tokio::time::sleep(jittered(Duration::from_millis(300))).await;
        }
    }
}

/// Spreads a pause over ±20 %, so that processes don't march in step.
pub(crate) fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(rand::rng().random_range(0.8..1.2))
}
