//! Runs a turn: decide, ask the engine, run its tools, commit the reply, and send it.

use std::sync::Arc;

use domain::{
    cost::Spent,
    decide::{TurnDecision, TurnFacts, decide_turn, not_held},
    delivery::Author,
    dialogue::{Role, Status},
    engine::{Answer, Step},
    policy::{OnFailure, OnLate},
    turn::TurnState,
    vendor::VendorError,
};
use rand::RngExt;
use store::{
    control::{Change, NewMessage},
    deliveries::ClaimedDelivery,
    turns::{BegunTurn, ClaimedTurn, Committed, Reply, RunRecord, Settlement},
    waits::Wait,
};

use super::{
    ask_engine::{Ended, abandon, ask},
    deliver, return_control,
};
use crate::{Error, budgets, bulkhead::Way, engines, ledger::Ledger, worker::Worker};

/// Why a turn that runs is asked of the agent's other engine.
const FALLBACK_ENGINE: &str = "fallback_engine";

/// Works a claimed turn to its end, or to its next run. An error leaves what happened in doubt.
pub(crate) async fn run(worker: &Worker, claim: ClaimedTurn) -> Result<(), Error> {
    let Some(begun) = worker.begin.write(claim).await? else { return Ok(()) };
    worker.calls(Way::Engine, begun.route.channel, &worker.app.engine_name(&begun.engine));
    // What few turns come to is kept apart: each that runs or waits holds its own future.
    if Box::pin(return_control::by_rule(worker, &claim, &begun)).await? {
        return Ok(());
    }
    // What was begun in the agent's hours is ended after them.
    let closed = begun.profile.schedule.as_ref().filter(|schedule| {
        begun.steps.is_empty()
            && begun.waiting_since.is_none()
            && !schedule.is_open(&begun.profile.zone(), worker.app.now())
    });
    let facts = TurnFacts {
        outside: closed.map(|schedule| schedule.outside),
        agent_active: begun.agent_active,
        channel_active: begun.route.active,
        status: begun.status,
        late: begun.late.then_some(begun.policy.on_late),
    };
    let decision = decide_turn(facts);
    let mut record = None;
    if decision != TurnDecision::Run && begun.waiting_since.is_some() {
        Box::pin(abandon(worker, &claim, &begun)).await?;
        settle_left(worker, &claim).await?;
        // What the engine worked on was used by nobody, and is paid for all the same.
        record = Some(Arc::new(RunRecord { spent: Spent::call(None, None), ..RunRecord::default() }));
    }
    match decision {
        TurnDecision::Run => {}
        TurnDecision::Silent(reason) => {
            return settle(worker, claim, begun.run, TurnState::Silent, Some(reason), record).await;
        }
        TurnDecision::HandOver(reason) => {
            let settlement = settlement(worker, claim, begun.run, TurnState::Silent, Some(reason), record);
            return Box::pin(hand_over(worker, &begun, settlement, reason)).await;
        }
        TurnDecision::AnswerText(reason) => {
            let text = closed.map(|schedule| schedule.outside_text.clone()).unwrap_or_default();
            let answer = Answer { text: text.clone(), ..Answer::default() };
            let record = Arc::new(RunRecord::default());
            let said = Said { answer, record, error: None, reason: Some(reason) };
            return commit(worker, claim, begun, text, said).await;
        }
        TurnDecision::Wait => return Box::pin(wait(worker, claim, &begun)).await,
    }
    let mut ledger = Ledger::default();
    let ended = {
        let run = worker.app.inner.hub.begin_run(claim.dialogue, &worker.give_up);
        ask(worker, &claim, &begun, &run.token, &mut ledger).await?
    };
    if begun.waiting_since.is_some() && !matches!(ended, Ended::Lost | Ended::Waiting { .. }) {
        settle_left(worker, &claim).await?;
    }
    let record = Arc::new(ledger.into_record());
    match ended {
        Ended::Lost => Ok(()),
        Ended::Failed(error) => Box::pin(fail(worker, claim, begun, &error, record)).await,
        Ended::Exhausted(why) => Box::pin(exhausted(worker, claim, begun, why, record)).await,
        Ended::Waiting { notes, pause, begun: new } => {
            let run_at = worker.app.now() + pause;
            let engine = engines::notes_key(&begun.engine);
            let waiting =
                Wait { claim, run: begun.run, engine: engine.clone(), notes: notes.clone(), run_at };
            // Nobody else knows of what was just begun.
            if !worker.wait.write(waiting).await? && new {
                worker.app.leave_conversation(claim.workspace, claim.dialogue, &engine, &notes).await?;
            }
            Ok(())
        }
        Ended::Superseded => {
            let reason = begun.fallback.then_some(FALLBACK_ENGINE);
            settle(worker, claim, begun.run, TurnState::Running, reason, Some(record)).await
        }
        Ended::HandedOver(why) => {
            let reason = Some("handed_over");
            let settlement = settlement(worker, claim, begun.run, TurnState::Silent, reason, Some(record));
            Box::pin(hand_over(worker, &begun, settlement, &why)).await
        }
        Ended::Answered(steps) => reply(worker, claim, begun, steps, record).await,
    }
}

/// Settles what a turn reserved while it waited and has not settled, as all used: nobody knows how much of it was.
async fn settle_left(worker: &Worker, claim: &ClaimedTurn) -> Result<(), Error> {
    let mut tx = worker.app.store().workspace(claim.workspace).await?;
    let left = store::budgets::of_holder(&mut tx, claim.workspace, claim.turn.0).await?;
    store::commit(tx).await?;
    for id in left {
        let settlement = budgets::settlement(claim.workspace, id, &Spent::call(None, None));
        worker.settle_budget.write(settlement).await?;
    }
    Ok(())
}

async fn reply(
    worker: &Worker,
    claim: ClaimedTurn,
    begun: BegunTurn,
    mut steps: Vec<Step>,
    record: Arc<RunRecord>,
) -> Result<(), Error> {
    let Some(Step { answer, .. }) = steps.pop() else { return Ok(()) };
    let mut text = answer.text.clone();
    if text.trim().is_empty() {
        return settle(worker, claim, begun.run, TurnState::Silent, Some("empty_answer"), Some(record)).await;
    }
    if begun.late && begun.policy.on_late == OnLate::Apologise {
        text = format!("{}\n\n{text}", begun.policy.apology_text);
    }
    commit(worker, claim, begun, text, Said { answer, record, error: None, reason: None }).await
}

/// Where a reply comes from.
struct Said {
    answer: Answer,
    /// What the engine was given, and what its calls cost.
    record: Arc<RunRecord>,
    /// Why the engine's answer is not what is said.
    error: Option<String>,
    /// What is said in place of an answer.
    reason: Option<&'static str>,
}

async fn commit(
    worker: &Worker,
    claim: ClaimedTurn,
    begun: BegunTurn,
    text: String,
    said: Said,
) -> Result<(), Error> {
    let app = &worker.app;
    let reply = Reply {
        claim,
        run: begun.run,
        message: app.id(),
        text: text.clone(),
        answer: said.answer,
        record: said.record,
        delivery: app.id(),
        out_job: app.id(),
        event: app.id(),
        error: said.error,
        reason: said.reason,
    };
    let (message, delivery, out_job, record) =
        (reply.message, reply.delivery, reply.out_job, Arc::clone(&reply.record));
    match worker.reply.write(reply).await? {
        Committed::Lost | Committed::Superseded | Committed::Reply(None) => Ok(()),
        Committed::NotHeld(reason) => {
            settle(worker, claim, begun.run, TurnState::Silent, Some(reason), Some(record)).await
        }
        Committed::Reply(Some(fence)) => {
            metrics::counter!("switchboard_turns_total", "state" => "REPLIED").increment(1);
            let claim = ClaimedDelivery {
                workspace: claim.workspace,
                dialogue: claim.dialogue,
                delivery,
                fence,
                job: out_job,
                failures: 0,
            };
            let sending = deliver::Sending {
                attempt: 1,
                message,
                chat: begun.chat,
                role: Role::Assistant,
                text,
                parts: Vec::new(),
                template: None,
                part: false,
                route: begun.route,
            };
            deliver::send(worker, claim, sending).await
        }
    }
}

/// A run failed: another follows, as the error advises, or the turn has failed for good and the policy decides.
async fn fail(
    worker: &Worker,
    claim: ClaimedTurn,
    begun: BegunTurn,
    error: &VendorError,
    record: Arc<RunRecord>,
) -> Result<(), Error> {
    let failures = u32::try_from(claim.failures).unwrap_or(u32::MAX).saturating_add(1);
    let jitter = rand::rng().random_range(0.0..1.0);
    let run = begun.run;
    tracing::info!(
        workspace.id = %claim.workspace, dialogue.id = %claim.dialogue, turn.id = %claim.turn, run, vendor = error.vendor,
        error = %error, "an engine's run failed"
    );
    // The other engine is asked once: the customer has waited for the first.
    let pause =
        worker.app.inner.settings.runs.next_pause(failures, error.retry, jitter).filter(|_| !begun.fallback);
    let why = Some(error.to_string().replace('\0', ""));
    let failed = |state, reason, record| Settlement {
        error: why.clone(),
        ..settlement(worker, claim, run, state, reason, Some(record))
    };
    if let Some(pause) = pause {
        let run_at = worker.app.now() + pause;
        let again = failed(TurnState::Running, None, record);
        worker.settle_turn.write(Settlement { run_at, ..again }).await?;
        return Ok(());
    }
    if !begun.fallback && begun.profile.fallback_engine.is_some() {
        worker.settle_turn.write(failed(TurnState::Running, Some(FALLBACK_ENGINE), record)).await?;
        return Ok(());
    }
    let reason = "engine_failed";
    match begun.policy.on_failure {
        OnFailure::StaySilent => {
            worker.settle_turn.write(failed(TurnState::Failed, Some(reason), record)).await?;
            Ok(())
        }
        OnFailure::HandOver => {
            let failed = failed(TurnState::Failed, Some(reason), record);
            hand_over(worker, &begun, failed, reason).await
        }
        OnFailure::FallbackText => say_fallback(worker, claim, begun, why, record).await,
    }
}

/// A call does not fit a budget: nothing more is asked, also of the agent's other engine, and the agent's policy decides.
async fn exhausted(
    worker: &Worker,
    claim: ClaimedTurn,
    begun: BegunTurn,
    why: String,
    record: Arc<RunRecord>,
) -> Result<(), Error> {
    let mut tx = worker.app.store().workspace(claim.workspace).await?;
    let agent = store::agents::find(&mut tx, claim.workspace, begun.agent, false).await?;
    store::commit(tx).await?;
    let reason = "budget_exhausted";
    let silent = |why, record| Settlement {
        error: Some(why),
        ..settlement(worker, claim, begun.run, TurnState::Silent, Some(reason), Some(record))
    };
    match agent.map_or(OnFailure::StaySilent, |agent| agent.on_budget_exhausted) {
        OnFailure::StaySilent => {
            worker.settle_turn.write(silent(why, record)).await?;
            Ok(())
        }
        OnFailure::HandOver => hand_over(worker, &begun, silent(why, record), reason).await,
        OnFailure::FallbackText => say_fallback(worker, claim, begun, Some(why), record).await,
    }
}

/// Sends the policy's text in place of an answer.
async fn say_fallback(
    worker: &Worker,
    claim: ClaimedTurn,
    begun: BegunTurn,
    error: Option<String>,
    record: Arc<RunRecord>,
) -> Result<(), Error> {
    let text = begun.policy.fallback_text.clone();
    let answer = Answer { text: text.clone(), ..Answer::default() };
    commit(worker, claim, begun, text, Said { answer, record, error, reason: Some("fallback") }).await
}

/// Leaves a turn that gathers messages until the agent's hours begin. The beginning of its run is undone: nothing was asked.
async fn wait(worker: &Worker, claim: ClaimedTurn, begun: &BegunTurn) -> Result<(), Error> {
    let (zone, now) = (begun.profile.zone(), worker.app.now());
    let opening = begun.profile.schedule.as_ref().and_then(|schedule| schedule.next_opening(&zone, now));
    let Some(run_at) = opening else {
        return settle(worker, claim, begun.run, TurnState::Silent, Some("outside_hours"), None).await;
    };
    let waiting = settlement(worker, claim, begun.run, TurnState::Collecting, None, None);
    worker.settle_turn.write(Settlement { run_at, ..waiting }).await?;
    Ok(())
}

/// Closes a turn and gives its dialogue to people, with one notice to the customer where the policy has one: all at once.
async fn hand_over(
    worker: &Worker,
    begun: &BegunTurn,
    settlement: Settlement,
    why: &str,
) -> Result<(), Error> {
    let app = &worker.app;
    let claim = settlement.claim;
    let now = app.now();
    let mut tx = app.store().workspace(claim.workspace).await?;
    // Whoever took the dialogue meanwhile keeps it as it is.
    store::dialogues::touch(&mut tx, claim.workspace, claim.dialogue, now).await?;
    let status =
        store::dialogues::find(&mut tx, claim.workspace, claim.dialogue).await?.map(|found| found.status);
    if let Some(status) = status.filter(|status| *status != Status::Pending) {
        store::commit(tx).await?;
        let held = Settlement { state: TurnState::Silent, reason: Some(not_held(status)), ..settlement };
        worker.settle_turn.write(held).await?;
        return Ok(());
    }
    let settled = store::turns::settle(&mut tx, worker.id, std::slice::from_ref(&settlement), now).await?;
    if settled != [true] {
        return Ok(());
    }
    let change = Change {
        dialogue: claim.dialogue,
        status: Status::Open,
        reason: why.to_owned(),
        by: "agent".to_owned(),
        // Nobody has taken it yet: it waits for people, however long.
        returns_at: None,
    };
    store::control::change(&mut tx, claim.workspace, &change, now).await?;
    if !begun.policy.hand_over_notice.is_empty() {
        let notice = NewMessage {
            id: app.id(),
            dialogue: claim.dialogue,
            role: Role::System,
            text: begun.policy.hand_over_notice.clone(),
            delivery: app.id(),
            author: Author::System,
        };
        store::control::send(&mut tx, claim.workspace, &notice, now).await?;
    }
    store::commit(tx).await?;
    Ok(())
}

async fn settle(
    worker: &Worker,
    claim: ClaimedTurn,
    run: i32,
    state: TurnState,
    reason: Option<&'static str>,
    record: Option<Arc<RunRecord>>,
) -> Result<(), Error> {
    worker.settle_turn.write(settlement(worker, claim, run, state, reason, record)).await?;
    Ok(())
}

pub(super) fn settlement(
    worker: &Worker,
    claim: ClaimedTurn,
    run: i32,
    state: TurnState,
    reason: Option<&'static str>,
    record: Option<Arc<RunRecord>>,
) -> Settlement {
    let (run_at, event) = (worker.app.now(), worker.app.id());
    Settlement { claim, run, state, reason, error: None, run_at, event, record }
}
