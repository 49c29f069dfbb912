//! Asks the engine for the reply of a turn, step by step, and runs the tools that it calls.

use std::{sync::Arc, time::Duration};

use domain::{
    budget::Payer,
    dialogue::{DialogueFacts, Message},
    engine::{Answer, Completion, CompletionModel, Outcome, Step, ToolCall},
    fail_point,
    vendor::{FailureKind, Retry, VendorError},
};
use serde_json::Value;
use store::turns::{BegunTurn, ClaimedTurn, Stepped};
use tokio_util::sync::CancellationToken;

use super::history::whole_turn;
use crate::{
    App, Error,
    budgets::{self, Life},
    engines::{self, Account},
    ledger::Ledger,
    prompt,
    tools::{self, Calling, Toolset},
    worker::Worker,
};

/// How many answers an engine may give in one turn before it must have replied.
const MOST_STEPS: usize = 8;

/// Postgres holds no U+0000, and no messenger shows one.
pub(crate) fn clean(value: &mut Value) {
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

/// How asking ended.
pub(super) enum Ended {
    /// The last step is the reply.
    Answered(Vec<Step>),
    Failed(VendorError),
    /// The next call does not fit a budget.
    Exhausted(String),
    /// The engine works on it, and is asked again after the pause.
    Waiting {
        notes: Value,
        pause: Duration,
        /// Whether there were no notes before: what these name is this run's alone.
        begun: bool,
    },
    /// The model gave the dialogue to people, for this reason.
    HandedOver(String),
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
    /// Of which the request holds as much as the agent's window lets through.
    history: Vec<Message>,
    /// What was known beside.
    known: DialogueFacts,
    toolset: Toolset,
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
    let history = whole_turn(app, claim, begun).await?;
    let toolset = Toolset::of(&begun.profile);
    let (allowed, resumed) = (&begun.profile.crm, begun.waiting_since.is_some());
    // Apart: most turns are told nothing of a CRM, and each that runs holds its future.
    let crm = if allowed.is_empty() {
        None
    } else {
        Box::pin(app.crm_facts(claim.workspace, claim.dialogue, allowed, resumed)).await?
    };
    let known = DialogueFacts { crm, ..begun.facts.clone() };
    let request = prompt::build(prompt::Facts {
        engine: &begun.engine,
        instructions: &begun.instructions,
        profile: &begun.profile,
        known: &known,
        dialogue: claim.dialogue,
        history: &history,
        window: begun.profile.history,
        steps: Vec::new(),
        tools: toolset.specs(),
        run: begun.run,
        at: app.now(),
        notes,
    });
    Ok(Ok(Question { engine, account, request, history, known, toolset }))
}

/// Has an engine stop what it works on for a turn that nobody waits for any more. That it can't be reached changes nothing.
pub(super) async fn abandon(worker: &Worker, claim: &ClaimedTurn, begun: &BegunTurn) -> Result<(), Error> {
    if let Ok(question) = question(&worker.app, claim, begun).await? {
        stop(&question).await;
    }
    Ok(())
}

async fn stop(Question { engine, account, request, .. }: &Question) {
    let stopped = CancellationToken::new();
    stopped.cancel();
    // What is answered to nobody is nothing; the notes still name what was stopped.
    let _ = engine.complete(&account.connection, request, &stopped).await;
}

/// Asks until the engine has replied.
pub(super) async fn ask(
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
        let results = if let Some(results) = &open.results {
            results.clone()
        } else {
            let (step, calls) = (question.request.steps.len() + 1, &open.answer.tool_calls);
            match question.toolset.run(&calling(worker, claim, begun, step, calls)).await? {
                Some(results) => results,
                None => return Ok(Ended::Lost),
            }
        };
        question.request.steps.push(prompt::known_step(open, results, &begun.engine));
        if let Some(why) = question.request.steps.last().and_then(tools::handed_over) {
            return Ok(Ended::HandedOver(why));
        }
    }
    let cut = (question.request.history.len() < question.history.len()).then_some("history.max_tokens");
    ledger.given(&question.request, &question.history, &question.known, cut);
    let mut halved = false;
    while question.request.steps.len() < MOST_STEPS {
        let payer = Payer {
            workspace: claim.workspace,
            agent: Some(begun.agent),
            dialogue: Some(claim.dialogue),
            contact: begun.contact,
            holder: claim.turn.0,
        };
        let life = Life::Worker(worker.id);
        let (reservation, told) = app.reservation(payer, &*question.engine, &question.request, life).await?;
        let reserved = reservation.as_ref().map(|reservation| reservation.id);
        if let Some(reservation) = reservation
            && let Err(exhausted) = worker.reserve.write(reservation).await?
        {
            return Ok(Ended::Exhausted(exhausted.to_string()));
        }
        fail_point::reached("engine", "before");
        let answer = question.engine.complete(&question.account.connection, &told, pointless).await;
        fail_point::reached("engine", "after");
        let answer = match answer {
            Ok(Outcome::Failed { error, notes }) => {
                let key = engines::notes_key(&begun.engine);
                Box::pin(app.leave_conversation(claim.workspace, claim.dialogue, &key, &notes)).await?;
                Err(error)
            }
            answer => answer,
        };
        let spent = ledger.called(&question.request.engine, &answer);
        // What the engine still works on stays reserved until the turn asks again.
        if let Some(id) = reserved.filter(|_| !matches!(answer, Ok(Outcome::Waiting { .. }))) {
            worker.settle_budget.write(budgets::settlement(claim.workspace, id, &spent)).await?;
        }
        app.note_call(&question.account, answer.as_ref().map(drop)).await;
        if answer.as_ref().is_err_and(|error| error.kind == FailureKind::NotFound) {
            app.forget_models(claim.workspace, &begun.engine.vendor, &question.account);
        }
        let answer = match answer {
            Ok(Outcome::Answered(answer)) => cleaned(answer),
            Ok(Outcome::Waiting { mut notes, pause }) => {
                clean(&mut notes);
                let since = begun.waiting_since.unwrap_or(question.request.at);
                if app.now() - since < app.inner.settings.longest_wait {
                    let begun = question.request.notes.is_none();
                    return Ok(Ended::Waiting { notes, pause, begun });
                }
                question.request.notes = Some(notes);
                stop(&question).await;
                // It was worked on, and nobody will know what that used.
                let spent = ledger.abandoned();
                if let Some(id) = reserved {
                    worker.settle_budget.write(budgets::settlement(claim.workspace, id, &spent)).await?;
                }
                let detail = "the engine did not answer within the longest wait; it was told to stop";
                return Ok(Ended::Failed(failure(FailureKind::Unavailable, detail)));
            }
            Err(_) if pointless.is_cancelled() && !worker.give_up.is_cancelled() => {
                return Ok(Ended::Superseded);
            }
            // Tokens were only estimated, and tools may have given much.
            Err(error) if error.kind == FailureKind::InputTooLong && !halved => {
                halved = true;
                let window = begun.profile.history.half_of(&question.history);
                question.request.history = window.cut(&question.history).to_vec();
                ledger.given(&question.request, &question.history, &question.known, Some("input_too_long"));
                continue;
            }
            Ok(Outcome::Failed { error, .. }) | Err(error) => return Ok(Ended::Failed(error)),
        };
        if let Some(notes) = &answer.notes {
            // Whatever becomes of the answer: the vendor's conversation has moved on.
            let mut tx = app.store().workspace(claim.workspace).await?;
            let key = engines::notes_key(&begun.engine);
            if !store::engine_notes::set(&mut tx, worker.id, claim, &key, notes, app.now()).await? {
                // Nobody else knows of a conversation that was just begun.
                if question.request.notes.is_none() {
                    drop(tx);
                    Box::pin(app.leave_conversation(claim.workspace, claim.dialogue, &key, notes)).await?;
                }
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
        let (record, now) = (ledger.record(), app.now());
        match store::turns::insert_step(&mut tx, worker.id, claim, begun.run, &answer, record, now).await? {
            Stepped::Yes => {}
            Stepped::Superseded => return Ok(Ended::Superseded),
            Stepped::Lost => return Ok(Ended::Lost),
        }
        store::commit(tx).await?;
        let step = question.request.steps.len() + 1;
        match question.toolset.run(&calling(worker, claim, begun, step, &answer.tool_calls)).await? {
            Some(results) => question.request.steps.push(Step { answer, results }),
            None => return Ok(Ended::Lost),
        }
        if let Some(why) = question.request.steps.last().and_then(tools::handed_over) {
            return Ok(Ended::HandedOver(why));
        }
    }
    Ok(Ended::Failed(failure(FailureKind::Other, "the engine called tools without end")))
}

/// The calls of the turn's so-manyth step.
fn calling<'a>(
    worker: &'a Worker,
    claim: &'a ClaimedTurn,
    begun: &BegunTurn,
    step: usize,
    calls: &'a [ToolCall],
) -> Calling<'a> {
    Calling { app: &worker.app, worker: worker.id, claim, run: begun.run, agent: begun.agent, step, calls }
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
