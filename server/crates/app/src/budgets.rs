//! What calls of engines may use: reserved before each, settled after it. Who has no budgets pays nothing for that: whether
//! an agent has any is remembered.

use std::{borrow::Cow, sync::Arc, time::Duration};

use domain::{
    AgentId, DialogueId, Timestamp, WorkerId, WorkspaceId,
    agent::{Agent, Engine},
    budget::{self, Budget, Payer, Scope, Worst},
    cost::Spent,
    engine::{Completion, CompletionModel},
    error::Violations,
};
use moka::sync::Cache;
use store::{
    Kept,
    budgets::{Exhausted, Reservation, Settlement},
};
use uuid::Uuid;

use crate::{App, Error, gather::Write};

/// Which budgets calls for an agent keep. Short-lived, and emptied whenever any configuration changes.
pub(crate) type BudgetCache = Cache<(WorkspaceId, Option<AgentId>), Arc<[Budget]>>;

pub(crate) fn new_cache() -> BudgetCache {
    Cache::builder().max_capacity(100_000).time_to_live(Duration::from_secs(30)).build()
}

/// Names all that is wrong with an agent's budgets.
pub(crate) fn check_agent(violations: &mut Violations, agent: &Agent) {
    const SCOPES: [Scope; 4] = [Scope::Turn, Scope::Dialogue, Scope::Contact, Scope::Agent];
    budget::check(violations, "agent.budgets", &agent.budgets, &SCOPES);
    let priced_in = |engine: &Engine, currency: &str| {
        engine.price.as_ref().is_some_and(|price| price.currency == currency)
    };
    for (number, budget) in agent.budgets.iter().enumerate() {
        let mut engines = std::iter::once(&agent.engine).chain(&agent.profile.fallback_engine);
        violations.require(
            budget.max_cost_micros.is_none() || engines.all(|engine| priced_in(engine, &budget.currency)),
            &format!("agent.budgets[{number}].currency"),
            "must be that of agent.engine.price, and of agent.fallback_engine.price where there is one",
        );
    }
}

impl App {
    /// The budgets that calls for an agent keep. `None`: a draft, for which the workspace's alone count.
    pub(crate) async fn budgets(
        &self,
        workspace: WorkspaceId,
        agent: Option<AgentId>,
    ) -> Result<Arc<[Budget]>, Error> {
        let key = (workspace, agent);
        if let Some(known) = self.inner.budgets.get(&key) {
            return Ok(known);
        }
        let mut tx = self.store().workspace(workspace).await?;
        let found: Arc<[Budget]> = store::budgets::of_agent(&mut tx, workspace, agent).await?.into();
        store::commit(tx).await?;
        self.inner.budgets.insert(key, Arc::clone(&found));
        Ok(found)
    }

    /// What a call must reserve, and the call, which is told how long its answer may be. `None`: no budget concerns it.
    pub(crate) async fn reservation<'a>(
        &self,
        payer: Payer,
        model: &dyn CompletionModel,
        request: &'a Completion,
        life: Life,
    ) -> Result<(Option<Reservation>, Cow<'a, Completion>), Error> {
        let budgets = self.budgets(payer.workspace, payer.agent).await?;
        if budgets.is_empty() {
            return Ok((None, Cow::Borrowed(request)));
        }
        let mut told = request.clone();
        told.engine.max_output_tokens = Some(model.longest_output(&request.engine));
        let worst = Worst { usage: budget::worst_case(&told), credits: model.most_credits(&request.engine) };
        let limits = budget::limits(&budgets, payer, request.engine.price.as_ref(), worst, self.now());
        let (worker, lapse) = match life {
            Life::Worker(worker) => (Some(worker), None),
            Life::AtMost(lapse) => (None, Some(lapse)),
        };
        let reservation = (!limits.is_empty()).then(|| Reservation {
            workspace: payer.workspace,
            id: self.id(),
            holder: payer.holder,
            worker,
            lapse,
            dialogue: payer.dialogue,
            event: self.id(),
            limits,
        });
        Ok((reservation, Cow::Owned(told)))
    }
}

/// How long a reservation lives that nobody settles.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Life {
    /// As long as the worker's lease.
    Worker(WorkerId),
    /// So long.
    AtMost(Duration),
}

/// How much of a reservation a call used.
pub(crate) fn settlement(workspace: WorkspaceId, id: Uuid, spent: &Spent) -> Settlement {
    // A call that the vendor never took used nothing.
    let known = |value: Option<i64>| value.or((spent.calls == 0).then_some(0));
    let tokens =
        spent.input_tokens.zip(spent.output_tokens).map(|(input, output)| input.saturating_add(output));
    Settlement { workspace, id, tokens: known(tokens), cost_micros: known(spent.cost_micros) }
}

/// Reserves.
pub(crate) struct Reserve(pub(crate) App);

impl Write for Reserve {
    type Item = Reservation;
    type Answer = Result<(), Exhausted>;

    /// What a holder reserved before is given back first.
    const REPEATABLE: bool = true;
    const NAME: &str = "reserve_budget";

    fn dialogue(item: &Reservation) -> DialogueId {
        item.holder.into()
    }

    async fn write(&self, items: &[Reservation], kept: &mut Kept) -> Result<Vec<Self::Answer>, store::Error> {
        let Self(app) = self;
        let answers = store::budgets::reserve(kept.connection().await?, items, app.now()).await?;
        if answers.iter().any(Result::is_err) {
            // It may have left an event.
            app.inner.hub.tell_work();
        }
        Ok(answers)
    }
}

/// Settles.
pub(crate) struct Settle;

impl Write for Settle {
    type Item = Settlement;
    type Answer = ();

    /// What is settled is gone.
    const REPEATABLE: bool = true;
    const NAME: &str = "settle_budget";

    fn dialogue(item: &Settlement) -> DialogueId {
        item.id.into()
    }

    async fn write(&self, items: &[Settlement], kept: &mut Kept) -> Result<Vec<()>, store::Error> {
        store::budgets::settle(kept.connection().await?, items).await?;
        Ok(vec![(); items.len()])
    }
}

/// Forgets counters that nothing is counted on any more.
pub(crate) async fn sweep(app: &App, now: Timestamp) -> Result<(), store::Error> {
    store::budgets::sweep(app.store().pool(), now).await
}
