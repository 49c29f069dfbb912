//! Notifications: one listening connection a process, fanned out in memory.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use domain::{DialogueId, WorkspaceId};
use tokio::sync::{Notify, broadcast, watch};
use tokio_util::sync::CancellationToken;

use crate::{App, Error, logs::Logs};

/// Wakes whoever waits for something in the database.
pub(crate) struct Hub {
    work: watch::Sender<u64>,
    hooks: watch::Sender<u64>,
    configuration: watch::Sender<u64>,
    events: broadcast::Sender<Option<WorkspaceId>>,
    logs: Arc<Logs>,
    /// Other processes have not been told yet that there may be work.
    untold: Notify,
    /// The runs of this process that wait for their engine.
    runs: Mutex<HashMap<DialogueId, (u64, CancellationToken)>>,
    next_run: AtomicU64,
    /// Dialogues of whose disturbance other processes have not been told yet.
    disturbed: Mutex<Vec<(WorkspaceId, DialogueId)>>,
}

/// A run that can be disturbed, for as long as this lives.
pub(crate) struct Disturbable<'a> {
    hub: &'a Hub,
    dialogue: DialogueId,
    number: u64,
    /// Cancelled when the run has become pointless.
    pub(crate) token: CancellationToken,
}

impl Drop for Disturbable<'_> {
    fn drop(&mut self) {
        // A run that lost its claim leaves the next one's alone.
        let mut runs = self.hub.runs();
        if runs.get(&self.dialogue).is_some_and(|(number, _)| *number == self.number) {
            runs.remove(&self.dialogue);
        }
    }
}

impl Hub {
    pub(crate) fn new() -> Self {
        Self {
            work: watch::Sender::new(0),
            hooks: watch::Sender::new(0),
            configuration: watch::Sender::new(0),
            events: broadcast::Sender::new(1024),
            logs: Arc::default(),
            untold: Notify::new(),
            runs: Mutex::default(),
            next_run: AtomicU64::new(0),
            disturbed: Mutex::default(),
        }
    }

    fn runs(&self) -> std::sync::MutexGuard<'_, HashMap<DialogueId, (u64, CancellationToken)>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn disturbed(&self) -> std::sync::MutexGuard<'_, Vec<(WorkspaceId, DialogueId)>> {
        self.disturbed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the run that begins in a dialogue; a dialogue has one at most. What happened before is found at its commit.
    pub(crate) fn begin_run(&self, dialogue: DialogueId, parent: &CancellationToken) -> Disturbable<'_> {
        let token = parent.child_token();
        let number = self.next_run.fetch_add(1, Ordering::Relaxed);
        if let Some((_, stale)) = self.runs().insert(dialogue, (number, token.clone())) {
            stale.cancel();
        }
        Disturbable { hub: self, dialogue, number, token }
    }

    /// Ends the run of a dialogue, wherever it is under way or waits: its answer can't be committed any more.
    pub(crate) fn disturb(&self, workspace: WorkspaceId, dialogue: DialogueId) {
        if !self.disturb_own(dialogue) {
            self.disturbed().push((workspace, dialogue));
            self.untold.notify_one();
        }
    }

    fn disturb_own(&self, dialogue: DialogueId) -> bool {
        self.runs().get(&dialogue).map(|(_, token)| token.cancel()).is_some()
    }

    /// Fires when there may be work.
    pub(crate) fn work(&self) -> watch::Receiver<u64> {
        self.work.subscribe()
    }

    /// Fires when dispatches to endpoints may be due. Apart from other work, which comes far more often.
    pub(crate) fn hooks(&self) -> watch::Receiver<u64> {
        self.hooks.subscribe()
    }

    /// Fires when some configuration changed.
    pub(crate) fn configuration(&self) -> watch::Receiver<u64> {
        self.configuration.subscribe()
    }

    /// Tells of workspaces whose log grew; `None`: any may have.
    pub(crate) fn events(&self) -> broadcast::Receiver<Option<WorkspaceId>> {
        self.events.subscribe()
    }

    /// The logs that are watched here.
    pub(crate) fn logs(&self) -> &Arc<Logs> {
        &self.logs
    }

    /// Says after a commit that there may be work: in this process at once, and soon in the others.
    pub(crate) fn tell_work(&self) {
        self.wake_work();
        self.untold.notify_one();
    }

    /// Says after a commit that dispatches may be due. In this process only: it works them itself, and what is too much for
    /// it the others find by polling.
    pub(crate) fn tell_hooks(&self) {
        self.hooks.send_modify(|count| *count += 1);
    }

    /// Says that some configuration changed.
    pub(crate) fn tell_configuration(&self) {
        self.configuration.send_modify(|count| *count += 1);
    }

    /// Says that there may be work, in this process only.
    pub(crate) fn wake_work(&self) {
        self.work.send_modify(|count| *count += 1);
    }

    pub(crate) fn wake_all(&self) {
        self.wake_work();
        self.tell_hooks();
        self.tell_events(None);
    }

    fn tell_events(&self, workspace: Option<WorkspaceId>) {
        self.logs.tell(workspace);
        let _ = self.events.send(workspace);
    }
}

/// Starts the listener. It lives as long as the process, through restarts of the database.
pub(crate) async fn start(app: &App) -> Result<(), Error> {
    const CHANNELS: [&str; 7] = [
        "switchboard_work",
        "switchboard_hooks",
        "switchboard_events",
        "switchboard_dialogues",
        "switchboard_lists",
        "switchboard_config",
        "switchboard_clock",
    ];
    let mut listener = app.store().listen(&CHANNELS).await?;
    tokio::spawn(tell_others(app.clone()));
    let app = app.clone();
    let own = app.inner.worker.to_string();
    tokio::spawn(async move {
        loop {
            let heard = tokio::select! {
                () = app.inner.stop.cancelled() => return,
                heard = listener.try_recv() => heard,
            };
            match heard {
                Ok(Some(notification)) => match notification.channel() {
                    "switchboard_work" => {
                        if notification.payload() != own {
                            app.inner.hub.wake_work();
                        }
                        // Said without a name, as when a process that died gave back what it held: of any kind.
                        if notification.payload().is_empty() {
                            app.inner.hub.tell_hooks();
                        }
                    }
                    "switchboard_hooks" => app.inner.hub.tell_hooks(),
                    "switchboard_clock" => read_clock(&app).await,
                    "switchboard_events" => {
                        app.inner.hub.tell_events(notification.payload().parse().ok());
                    }
                    "switchboard_dialogues" => {
                        // Its own runs this process has disturbed before it told the others.
                        let payload = notification.payload();
                        let (from, dialogues) = payload.split_once(':').unwrap_or(("", payload));
                        if from != own {
                            for dialogue in dialogues.split(',').filter_map(|id| id.parse().ok()) {
                                app.inner.hub.disturb_own(dialogue);
                            }
                        }
                    }
                    "switchboard_lists" => {
                        // What this process asked for itself it holds already.
                        let mut parts = notification.payload().split(':');
                        if parts.next() != Some(&*own) {
                            let of = parts.next().zip(parts.next());
                            let of =
                                of.and_then(|(workspace, id)| workspace.parse().ok().zip(id.parse().ok()));
                            app.forget_lists(of);
                        }
                    }
                    _ => app.forget(),
                },
                // The connection was lost and made again: anything may have been said meanwhile.
                Ok(None) => {
                    app.forget();
                    app.forget_lists(None);
                    read_clock(&app).await;
                    app.inner.hub.wake_all();
                }
                Err(error) => {
                    tracing::warn!(error = %error, "the listener lost the database; it tries again");
                    app.forget();
                    app.forget_lists(None);
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            }
        }
    });
    Ok(())
}

async fn read_clock(app: &App) {
    if let Err(error) = app.read_clock().await {
        tracing::warn!(error = %error, "the simulation's clock could not be read; it is, when it is moved again");
    }
}

/// Tells other processes of work, apart from the commits that made it: transactions that notify commit one after another,
/// each waiting for the flush of the one before. What is lost when the process dies here, the others' polling finds.
async fn tell_others(app: App) {
    // At most so often; the first after a pause is told at once.
    const BREATH: Duration = Duration::from_millis(5);
    let own = app.inner.worker.to_string();
    loop {
        tokio::select! {
            () = app.inner.stop.cancelled() => return,
            () = app.inner.hub.untold.notified() => {}
        }
        let disturbed = std::mem::take(&mut *app.inner.hub.disturbed());
        if let Err(error) = app.store().notify_work(&own, &disturbed).await {
            tracing::debug!(error = %error, "other processes could not be told of work; they will find it");
        }
        // After that: whoever asks anew must not be disturbed by what made it ask.
        if !disturbed.is_empty() {
            app.wake_turns(&disturbed).await;
        }
        tokio::time::sleep(BREATH).await;
    }
}
