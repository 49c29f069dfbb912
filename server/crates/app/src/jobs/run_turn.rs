//! Runs a turn: decide, ask the engine, run its tools, commit the reply, and send it.

use std::sync::Arc;

use domain::{
    budget::Payer,
    decide::{TurnDecision, TurnFacts, decide_turn, not_held},
    delivery::Author,
    dialogue::{Role, Status},
    engine::{Answer, Completion, Outcome, Step},
    fail_point,
    policy::{OnFailure, OnLate},
    turn::TurnState,
    vendor::{FailureKind, Retry, VendorError},
};
use rand::RngExt;
use store::{
    control::{Change, NewMessage},
    deliveries::ClaimedDelivery,
    turns::{BegunTurn, ClaimedTurn, Committed, Reply, RunRecord, Settlement, Stepped},
};
use tokio_util::sync::CancellationToken;

use super::deliver;
use crate::{
    Error,
    budgets::{self, Life},
    ledger::Ledger,
    tools,
    worker::Worker,
};

/// How many answers an engine may give in one turn before it must have replied.
const MOST_STEPS: usize = 8;

/// Works a claimed turn to its end, or to its next run. An error leaves what happened in doubt.
pub(crate) async fn run(worker: &Worker, claim: ClaimedTurn) -> Result<(), Error> {
    let Some(begun) = worker.begin.write(claim).await? else { return Ok(()) };
    let facts = TurnFacts {
        agent_active: begun.agent_active,
        channel_active: begun.route.active,
        status: begun.status,
        late: begun.late.then_some(begun.policy.on_late),
    };
    match decide_turn(facts) {
        TurnDecision::Run => {}
        TurnDecision::Silent(reason) => {
            return settle(worker, claim, begun.run, TurnState::Silent, Some(reason), None).await;
        }
        TurnDecision::HandOver(reason) => {
            let settlement = settlement(worker, claim, begun.run, TurnState::Silent, Some(reason), None);
            return hand_over(worker, &begun, settlement).await;
        }
    }
    let mut ledger = Ledger::default();
    let ended = {
        let run = worker.app.inner.hub.begin_run(claim.dialogue, &worker.give_up);
        answer(worker, &claim, &begun, &run.token, &mut ledger).await?
    };
    let record = Arc::new(ledger.into_record());
    match ended {
        Ended::Lost => Ok(()),
        Ended::Failed(error) => fail(worker, claim, begun, &error, record).await,
        Ended::Exhausted(why) => exhausted(worker, claim, begun, why, record).await,
        Ended::Superseded => settle(worker, claim, begun.run, TurnState::Running, None, Some(record)).await,
        Ended::Answered(steps) => reply(worker, claim, begun, steps, record).await,
    }
}

/// Postgres holds no U+0000, and no messenger shows one.
fn cleaned(mut answer: Answer) -> Answer {
    fn clean(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::String(text) => *text = text.replace('\0', ""),
            serde_json::Value::Array(items) => items.iter_mut().for_each(clean),
            serde_json::Value::Object(members) => {
                let renamed = std::mem::take(members).into_iter().map(|(name, mut value)| {
                    clean(&mut value);
                    (name.replace('\0', ""), value)
                });
                *members = renamed.collect();
            }
            _ => {}
        }
    }
    answer.text = answer.text.replace('\0', "");
    answer.model = answer.model.replace('\0', "");
    answer.carry.as_mut().map(clean);
    answer.notes.as_mut().map(clean);
    for call in &mut answer.tool_calls {
        call.id = call.id.replace('\0', "");
        call.name = call.name.replace('\0', "");
        clean(&mut call.arguments);
    }
    answer
}

enum Ended {
    /// The last step is the reply.
    Answered(Vec<Step>),
    Failed(VendorError),
    /// The next call does not fit a budget.
    Exhausted(String),
    /// A newer message, or a change of control, made the answer pointless.
    Superseded,
    /// The claim is somebody else's.
    Lost,
}

async fn answer(
    worker: &Worker,
    claim: &ClaimedTurn,
    begun: &BegunTurn,
    pointless: &CancellationToken,
    ledger: &mut Ledger,
) -> Result<Ended, Error> {
    let failed = |detail: &str, retry| {
        Ended::Failed(VendorError {
            vendor: "switchboard",
            operation: "complete",
            kind: FailureKind::Other,
            http_status: None,
            detail: detail.to_owned(),
            excerpt: None,
            applied: domain::vendor::Applied::No,
            retry,
        })
    };
    let app = &worker.app;
    let Some(engine) = app.inner.vendors.get(&begun.engine.vendor).and_then(|vendor| vendor.engine.clone())
    else {
        return Ok(failed("the agent's engine is not known to this server", Retry::Never));
    };
    let connection = match app.connection(&begun.engine) {
        Ok(connection) => connection,
        Err(why) => return Ok(failed(&why, Retry::Never)),
    };
    let mut request = Completion {
        engine: begun.engine.clone(),
        instructions: begun.instructions.clone(),
        history: begun.history.clone(),
        dialogue: claim.dialogue,
        at: app.now(),
        run: begun.run,
        tools: tools::specs(),
        steps: Vec::new(),
        notes: None,
    };
    // An earlier run may have committed steps; one may wait for its tools.
    for open in &begun.steps {
        let step = match open.closed() {
            Some(step) => step,
            None => match tools::run(app, worker.id, claim, begun.run, &open.answer.tool_calls, app.now())
                .await?
            {
                Some(results) => Step { answer: open.answer.clone(), results },
                None => return Ok(Ended::Lost),
            },
        };
        request.steps.push(step);
    }
    ledger.given(&request, &begun.history);
    while request.steps.len() < MOST_STEPS {
        let payer = Payer {
            workspace: claim.workspace,
            agent: Some(begun.agent),
            dialogue: Some(claim.dialogue),
            holder: claim.turn.0,
        };
        let reservation = app.reservation(payer, &request, Life::Worker(worker.id)).await?;
        let reserved = reservation.as_ref().map(|reservation| reservation.id);
        if let Some(reservation) = reservation
            && let Err(exhausted) = worker.reserve.write(reservation).await?
        {
            return Ok(Ended::Exhausted(exhausted.to_string()));
        }
        fail_point::reached("engine", "before");
        let answer = engine.complete(&connection, &request, pointless).await;
        fail_point::reached("engine", "after");
        let spent = ledger.called(&request.engine, &answer);
        // What the engine still works on stays reserved until the turn asks again.
        if let Some(id) = reserved.filter(|_| !matches!(answer, Ok(Outcome::Waiting { .. }))) {
            worker.settle_budget.write(budgets::settlement(claim.workspace, id, &spent)).await?;
        }
        let answer = match answer {
            Ok(Outcome::Answered(answer)) => cleaned(answer),
            Ok(Outcome::Waiting { .. }) => {
                return Ok(failed(
                    "the engine wants to be asked again, which is not known here",
                    Retry::Never,
                ));
            }
            Err(_) if pointless.is_cancelled() && !worker.give_up.is_cancelled() => {
                return Ok(Ended::Superseded);
            }
            Err(error) => return Ok(Ended::Failed(error)),
        };
        if answer.tool_calls.is_empty() {
            request.steps.push(Step { answer, results: Vec::new() });
            return Ok(Ended::Answered(request.steps));
        }
        // The answer is committed before its tools run, and they with their results: neither is ever done twice.
        let mut tx = app.store().workspace(claim.workspace).await?;
        match store::turns::insert_step(
            &mut tx,
            worker.id,
            claim,
            begun.run,
            &answer,
            ledger.record(),
            app.now(),
        )
        .await?
        {
            Stepped::Yes => {}
            Stepped::Superseded => return Ok(Ended::Superseded),
            Stepped::Lost => return Ok(Ended::Lost),
        }
        store::commit(tx).await?;
        match tools::run(app, worker.id, claim, begun.run, &answer.tool_calls, app.now()).await? {
            Some(results) => request.steps.push(Step { answer, results }),
            None => return Ok(Ended::Lost),
        }
    }
    Ok(failed("the engine called tools without end", Retry::Never))
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
    commit(worker, claim, begun, text, Said { answer, record, error: None }).await
}

/// Where a reply comes from.
struct Said {
    answer: Answer,
    /// What the engine was given, and what its calls cost.
    record: Arc<RunRecord>,
    /// Why the engine's answer is not what is said.
    error: Option<String>,
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
    let pause = worker.app.inner.settings.runs.next_pause(failures, error.retry, jitter);
    let why = Some(error.to_string().replace('\0', ""));
    if let Some(pause) = pause {
        let run_at = worker.app.now() + pause;
        let again = settlement(worker, claim, run, TurnState::Running, None, Some(record));
        worker.settle_turn.write(Settlement { run_at, error: why, ..again }).await?;
        return Ok(());
    }
    let failed = |why, record| Settlement {
        error: why,
        ..settlement(worker, claim, run, TurnState::Failed, Some("engine_failed"), Some(record))
    };
    match begun.policy.on_failure {
        OnFailure::StaySilent => {
            worker.settle_turn.write(failed(why, record)).await?;
            Ok(())
        }
        OnFailure::HandOver => hand_over(worker, &begun, failed(why, record)).await,
        OnFailure::FallbackText => {
            let text = begun.policy.fallback_text.clone();
            let answer = Answer { text: text.clone(), ..Answer::default() };
            commit(worker, claim, begun, text, Said { answer, record, error: why }).await
        }
    }
}

/// A call does not fit a budget: nothing more is asked, and the agent's policy decides.
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
    let silent = |why, record| Settlement {
        error: Some(why),
        ..settlement(worker, claim, begun.run, TurnState::Silent, Some("budget_exhausted"), Some(record))
    };
    match agent.map_or(OnFailure::StaySilent, |agent| agent.on_budget_exhausted) {
        OnFailure::StaySilent => {
            worker.settle_turn.write(silent(why, record)).await?;
            Ok(())
        }
        OnFailure::HandOver => hand_over(worker, &begun, silent(why, record)).await,
        OnFailure::FallbackText => {
            let text = begun.policy.fallback_text.clone();
            let answer = Answer { text: text.clone(), ..Answer::default() };
            commit(worker, claim, begun, text, Said { answer, record, error: Some(why) }).await
        }
    }
}

/// Closes a turn and gives its dialogue to people, with one notice to the customer where the policy has one: all at once.
async fn hand_over(worker: &Worker, begun: &BegunTurn, settlement: Settlement) -> Result<(), Error> {
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
        reason: settlement.reason.unwrap_or_default().to_owned(),
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

fn settlement(
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

#[cfg(test)]
mod tests {
    use domain::engine::ToolCall;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_postgres_cannot_hold_is_taken_out_of_answers() {
        let call =
            ToolCall { id: String::new(), name: "a\0".to_owned(), arguments: json!({ "x\0": ["\0y", 1] }) };
        let answer = Answer { text: "he\0llo".to_owned(), tool_calls: vec![call], ..Answer::default() };
        let clean = cleaned(answer);
        assert_eq!((clean.text.as_str(), clean.tool_calls[0].name.as_str()), ("hello", "a"));
        assert_eq!(clean.tool_calls[0].arguments, json!({ "x": ["y", 1] }));
    }
}
