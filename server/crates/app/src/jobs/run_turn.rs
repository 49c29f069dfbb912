//! Runs a turn: decide, ask the engine, run its tools, commit the reply, and send it.

use std::{sync::Arc, time::Duration};

use domain::{
    budget::Payer,
    decide::{TurnDecision, TurnFacts, decide_turn, not_held},
    delivery::Author,
    dialogue::{Role, Status},
    engine::{Answer, Completion, CompletionModel, Outcome, Step},
    fail_point,
    policy::{OnFailure, OnLate},
    turn::TurnState,
    vendor::{FailureKind, Retry, VendorError},
};
use rand::RngExt;
use serde_json::Value;
use store::{
    control::{Change, NewMessage},
    deliveries::ClaimedDelivery,
    turns::{BegunTurn, ClaimedTurn, Committed, Reply, RunRecord, Settlement, Stepped},
    waits::Wait,
};
use tokio_util::sync::CancellationToken;

use super::deliver;
use crate::{
    App, Error,
    budgets::{self, Life},
    engines::{self, Account},
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
    let decision = decide_turn(facts);
    if decision != TurnDecision::Run && begun.waiting_since.is_some() {
        abandon(worker, &claim, &begun).await?;
    }
    match decision {
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
        Ended::Waiting { notes, pause } => {
            let run_at = worker.app.now() + pause;
            let engine = engines::notes_key(&begun.engine);
            worker.wait.write(Wait { claim, run: begun.run, engine, notes, run_at }).await?;
            Ok(())
        }
    }
}

/// Postgres holds no U+0000, and no messenger shows one.
fn clean(value: &mut Value) {
    match value {
        Value::String(text) => *text = text.replace('\0', ""),
        Value::Array(items) => items.iter_mut().for_each(clean),
        Value::Object(members) => {
            let renamed = std::mem::take(members).into_iter().map(|(name, mut value)| {
                clean(&mut value);
                (name.replace('\0', ""), value)
            });
            *members = renamed.collect();
        }
        _ => {}
    }
}

fn cleaned(mut answer: Answer) -> Answer {
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
    /// The engine works on it, and is asked again after the pause.
    Waiting {
        notes: Value,
        pause: Duration,
    },
    /// A newer message, or a change of control, made the answer pointless.
    Superseded,
    /// The claim is somebody else's.
    Lost,
}

fn failure(kind: FailureKind, detail: &str) -> VendorError {
    VendorError {
        vendor: "switchboard",
        operation: "complete",
        kind,
        http_status: None,
        detail: detail.to_owned(),
        excerpt: None,
        applied: domain::vendor::Applied::No,
        retry: Retry::Never,
    }
}

/// An engine, and what it is asked.
struct Question {
    engine: Arc<dyn CompletionModel>,
    account: Account,
    request: Completion,
}

/// Puts the question together, without the steps of earlier runs. The inner error: why there is nobody to ask.
async fn question(
    app: &App,
    claim: &ClaimedTurn,
    begun: &BegunTurn,
) -> Result<Result<Question, VendorError>, Error> {
    let nobody = |detail: &str| Ok(Err(failure(FailureKind::Other, detail)));
    let Some(engine) = app.inner.vendors.get(&begun.engine.vendor).and_then(|vendor| vendor.engine.clone())
    else {
        return nobody("the agent's engine is not known to this server");
    };
    let account = match app.engine_account(claim.workspace, &begun.engine).await? {
        Ok(account) => account,
        Err(why) => return Ok(Err(why)),
    };
    let notes = if engine.keeps_notes() {
        let mut tx = app.store().workspace(claim.workspace).await?;
        let key = engines::notes_key(&begun.engine);
        let notes = store::engine_notes::find(&mut tx, claim.workspace, claim.dialogue, &key).await?;
        store::commit(tx).await?;
        notes
    } else {
        None
    };
    let request = Completion {
        engine: begun.engine.clone(),
        instructions: begun.instructions.clone(),
        history: begun.history.clone(),
        dialogue: claim.dialogue,
        at: app.now(),
        run: begun.run,
        tools: tools::specs(),
        steps: Vec::new(),
        notes,
    };
    Ok(Ok(Question { engine, account, request }))
}

/// Has an engine stop what it works on for a turn that nobody waits for any more. That it can't be reached changes nothing.
async fn abandon(worker: &Worker, claim: &ClaimedTurn, begun: &BegunTurn) -> Result<(), Error> {
    if let Ok(question) = question(&worker.app, claim, begun).await? {
        stop(&question).await;
    }
    Ok(())
}

async fn stop(Question { engine, account, request }: &Question) {
    let stopped = CancellationToken::new();
    stopped.cancel();
    // What is answered to nobody is nothing; the notes still name what was stopped.
    let _ = engine.complete(&account.connection, request, &stopped).await;
}

async fn answer(
    worker: &Worker,
    claim: &ClaimedTurn,
    begun: &BegunTurn,
    pointless: &CancellationToken,
    ledger: &mut Ledger,
) -> Result<Ended, Error> {
    let app = &worker.app;
    let mut question = match question(app, claim, begun).await? {
        Ok(question) => question,
        Err(error) => return Ok(Ended::Failed(error)),
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
        question.request.steps.push(step);
    }
    ledger.given(&question.request, &begun.history);
    while question.request.steps.len() < MOST_STEPS {
        let payer = Payer {
            workspace: claim.workspace,
            agent: Some(begun.agent),
            dialogue: Some(claim.dialogue),
            holder: claim.turn.0,
        };
        let reservation = app.reservation(payer, &question.request, Life::Worker(worker.id)).await?;
        let reserved = reservation.as_ref().map(|reservation| reservation.id);
        if let Some(reservation) = reservation
            && let Err(exhausted) = worker.reserve.write(reservation).await?
        {
            return Ok(Ended::Exhausted(exhausted.to_string()));
        }
        fail_point::reached("engine", "before");
        let answer =
            question.engine.complete(&question.account.connection, &question.request, pointless).await;
        fail_point::reached("engine", "after");
        let spent = ledger.called(&question.request.engine, &answer);
        // What the engine still works on stays reserved until the turn asks again.
        if let Some(id) = reserved.filter(|_| !matches!(answer, Ok(Outcome::Waiting { .. }))) {
            worker.settle_budget.write(budgets::settlement(claim.workspace, id, &spent)).await?;
        }
        app.note_call(&question.account, answer.as_ref().map(drop)).await;
        let answer = match answer {
            Ok(Outcome::Answered(answer)) => cleaned(answer),
            Ok(Outcome::Waiting { mut notes, pause }) => {
                clean(&mut notes);
                let since = begun.waiting_since.unwrap_or(question.request.at);
                if app.now() - since < app.inner.settings.longest_wait {
                    return Ok(Ended::Waiting { notes, pause });
                }
                question.request.notes = Some(notes);
                stop(&question).await;
                let detail = "the engine did not answer within the longest wait; it was told to stop";
                return Ok(Ended::Failed(failure(FailureKind::Unavailable, detail)));
            }
            Err(_) if pointless.is_cancelled() && !worker.give_up.is_cancelled() => {
                return Ok(Ended::Superseded);
            }
            Err(error) => return Ok(Ended::Failed(error)),
        };
        if let Some(notes) = &answer.notes {
            // Whatever becomes of the answer: the vendor's conversation has moved on.
            let mut tx = app.store().workspace(claim.workspace).await?;
            let key = engines::notes_key(&begun.engine);
            if !store::engine_notes::set(&mut tx, worker.id, claim, &key, notes, app.now()).await? {
                return Ok(Ended::Lost);
            }
            store::commit(tx).await?;
            question.request.notes = Some(notes.clone());
        }
        if answer.tool_calls.is_empty() {
            question.request.steps.push(Step { answer, results: Vec::new() });
            return Ok(Ended::Answered(question.request.steps));
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
            Some(results) => question.request.steps.push(Step { answer, results }),
            None => return Ok(Ended::Lost),
        }
    }
    Ok(Ended::Failed(failure(FailureKind::Other, "the engine called tools without end")))
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
