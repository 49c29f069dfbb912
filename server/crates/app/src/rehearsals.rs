//! What previews and replays share: an agent that may be a draft, and calls of its engine that are paid for without a turn.

use std::{sync::Arc, time::Duration};

use domain::{
    AgentId, DialogueId, Error as Refusal, Reason, WorkspaceId,
    agent::Engine,
    budget::Payer,
    cost::Spent,
    engine::{Completion, CompletionModel, Outcome},
    profile::Profile,
    usage::Purpose,
    vendor::VendorError,
};
use serde_json::{Value, json};
use store::events::NewEvent;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    App, Error,
    agents::{HeaderValue, NewAgent, not_found},
    budgets::{self, Life},
    engines::Account,
    ledger,
};

/// How many answers an engine may give before it must have replied, as in a turn.
pub(crate) const MOST_STEPS: usize = 8;

/// Which agent is rehearsed.
#[derive(Debug, Clone)]
pub enum Chosen {
    /// A saved one.
    Saved(AgentId),
    /// A draft; with an id it stands for that one.
    Draft(Box<NewAgent>, Option<AgentId>),
}

/// What is rehearsed of it.
#[derive(Debug, Clone)]
pub(crate) struct Rehearsed {
    /// On whose account. `None`: a draft that stands for none.
    pub(crate) agent: Option<AgentId>,
    /// Its name.
    pub(crate) display_name: String,
    /// Who writes.
    pub(crate) engine: Engine,
    /// What it is told first, with its variables.
    pub(crate) instructions: String,
    /// What it knows and may do.
    pub(crate) profile: Profile,
    /// What headers of a draft's tools say.
    pub(crate) header_values: Vec<HeaderValue>,
}

/// How a rehearsal of one answer ended short of it.
#[derive(Debug)]
pub(crate) enum Stopped {
    /// The engine failed.
    Failed(String),
    /// The next call does not fit a budget.
    Exhausted(String),
}

/// An engine that is asked on an account of no turn.
pub(crate) struct Stage {
    app: App,
    payer: Payer,
    engine: Engine,
    model: Arc<dyn CompletionModel>,
    account: Account,
    /// What the engine noted of the dialogue that is rehearsed: its vendor may keep a conversation by it.
    noted: Option<(DialogueId, Value)>,
    /// When its reservations lapse, should this process die.
    lapse: Duration,
    /// What all its calls used.
    pub(crate) spent: Spent,
    /// Cancelled when nobody waits for it any more.
    pub(crate) pointless: CancellationToken,
}

impl App {
    /// Finds the agent, or checks the draft.
    pub(crate) async fn rehearsed(&self, workspace: WorkspaceId, chosen: Chosen) -> Result<Rehearsed, Error> {
        let (id, draft) = match chosen {
            Chosen::Saved(id) => (Some(id), None),
            Chosen::Draft(draft, id) => (id, Some(draft)),
        };
        let saved = match id {
            Some(id) => {
                let mut tx = self.store().workspace(workspace).await?;
                let saved = store::agents::find(&mut tx, workspace, id, false).await?;
                store::commit(tx).await?;
                Some(saved.ok_or_else(|| not_found(id))?)
            }
            None => None,
        };
        let (agent, header_values) = match (draft, saved) {
            (Some(draft), saved) => {
                (self.draft(workspace, &draft, saved.as_ref()).await?, draft.header_values)
            }
            (None, Some(saved)) => (saved, Vec::new()),
            (None, None) => {
                return Err(Refusal::field(Reason::FieldInvalid, "agent", "is required").into());
            }
        };
        Ok(Rehearsed {
            agent: id,
            display_name: agent.display_name,
            engine: agent.engine,
            instructions: agent.instructions,
            profile: agent.profile,
            header_values,
        })
    }

    /// Sets the stage for an agent. The error says why its engine can't be asked.
    pub(crate) async fn stage(
        &self,
        workspace: WorkspaceId,
        holder: Uuid,
        rehearsed: &Rehearsed,
        longest: Duration,
        pointless: CancellationToken,
    ) -> Result<Result<Stage, String>, Error> {
        let vendor = self.inner.vendors.get(&rehearsed.engine.vendor);
        let Some(model) = vendor.and_then(|vendor| vendor.engine.clone()) else {
            return Ok(Err("the agent's engine is not known to this server".to_owned()));
        };
        let account = match self.engine_account(workspace, &rehearsed.engine).await? {
            Ok(account) => account,
            Err(error) => return Ok(Err(error.to_string())),
        };
        Ok(Ok(Stage {
            app: self.clone(),
            payer: Payer { workspace, agent: rehearsed.agent, dialogue: None, contact: None, holder },
            account,
            noted: None,
            engine: rehearsed.engine.clone(),
            model,
            lapse: longest + Duration::from_mins(1),
            spent: Spent::default(),
            pointless,
        }))
    }
}

impl Stage {
    /// Asks for an answer, and waits for an engine that takes its time. What it used is added to what the stage used.
    pub(crate) async fn ask(
        &mut self,
        request: &Completion,
    ) -> Result<Result<(domain::engine::Answer, Spent), Stopped>, Error> {
        let mut request = request.clone();
        if let Some((_, notes)) = self.noted.as_ref().filter(|(dialogue, _)| *dialogue == request.dialogue) {
            request.notes = Some(notes.clone());
        }
        loop {
            let outcome = match self.call(&request).await? {
                Ok((outcome, spent)) => outcome.map(|outcome| (outcome, spent)),
                Err(stopped) => return Ok(Err(stopped)),
            };
            match outcome {
                Ok((Outcome::Answered(answer), spent)) => {
                    if let Some(notes) = &answer.notes {
                        self.noted = Some((request.dialogue, notes.clone()));
                    }
                    return Ok(Ok((answer, spent)));
                }
                Ok((Outcome::Waiting { notes, pause }, _)) => {
                    self.noted = Some((request.dialogue, notes.clone()));
                    request.notes = Some(notes);
                    if self.pointless.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                        return Ok(Err(Stopped::Failed("nobody waits for it any more".to_owned())));
                    }
                }
                Ok((Outcome::Failed { error, notes }, _)) => {
                    self.noted = Some((request.dialogue, notes));
                    return Ok(Err(Stopped::Failed(error.to_string())));
                }
                Err(error) => return Ok(Err(Stopped::Failed(error.to_string()))),
            }
        }
    }

    async fn call(
        &mut self,
        request: &Completion,
    ) -> Result<Result<(Result<Outcome, VendorError>, Spent), Stopped>, Error> {
        let app = &self.app;
        let life = Life::AtMost(self.lapse);
        let (reservation, told) = app.reservation(self.payer, &*self.model, request, life).await?;
        let reserved = reservation.as_ref().map(|reservation| reservation.id);
        if let Some(reservation) = reservation {
            let reservation = [reservation];
            let answers = store::budgets::reserve(app.store().pool(), &reservation, app.now()).await?;
            if let Some(Err(exhausted)) = answers.into_iter().next() {
                app.inner.hub.tell_work();
                return Ok(Err(Stopped::Exhausted(exhausted.to_string())));
            }
        }
        let outcome = self.model.complete(&self.account.connection, &told, &self.pointless).await;
        app.note_call(&self.account, outcome.as_ref().map(drop)).await;
        let spent = ledger::spent(&self.engine, &outcome);
        self.spent.add(&spent);
        if let Some(id) = reserved {
            let settlement = [budgets::settlement(self.payer.workspace, id, &spent)];
            store::budgets::settle(app.store().pool(), &settlement).await?;
        }
        Ok(Ok((outcome, spent)))
    }

    /// Has the vendor forget the conversation that a rehearsal made there.
    pub(crate) async fn forget(&mut self) {
        let Some((dialogue, notes)) = self.noted.take() else { return };
        if let Err(error) = self.model.forget(&self.account.connection, dialogue, &notes).await {
            tracing::info!(workspace.id = %self.payer.workspace, vendor = error.vendor, error = %error,
                "a rehearsed conversation stays at its vendor");
        }
    }

    /// Notes what it all used, with an event, if it used anything.
    pub(crate) async fn close(&mut self, purpose: Purpose) -> Result<(), Error> {
        self.forget().await;
        if self.spent.calls == 0 {
            return Ok(());
        }
        let (app, payer, now) = (&self.app, self.payer, self.app.now());
        let kind = match purpose {
            Purpose::Replay => "agent.replayed",
            Purpose::Preview | Purpose::Turn => "agent.previewed",
        };
        let mut tx = app.store().workspace(payer.workspace).await?;
        store::usage::insert(&mut tx, payer.workspace, payer.holder, payer.agent, purpose, &self.spent, now)
            .await?;
        let event = NewEvent {
            id: app.id(),
            kind,
            dialogue: None,
            subject: payer.agent.map_or(payer.holder, |agent| agent.0),
            data: json!({ "usage": self.spent }),
            at: now,
        };
        store::events::insert(&mut tx, payer.workspace, &event).await?;
        store::commit(tx).await?;
        Ok(())
    }
}

/// Does work that may take so long. What takes longer is told to stop, which engines soon do, and say what they used.
pub(crate) async fn in_time<T>(
    longest: Duration,
    pointless: &CancellationToken,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let mut work = std::pin::pin!(work);
    if let Ok(done) = tokio::time::timeout(longest, &mut work).await {
        return done;
    }
    pointless.cancel();
    work.await?;
    let detail = format!("it took longer than {} s; allow more time, or ask for less", longest.as_secs());
    Err(Refusal::new(Reason::DeadlineExceeded, detail).into())
}
