//! Runs a turn: decide, ask the engine, run its tools, commit the reply, and send it.

use domain::{
    decide::{TurnDecision, TurnFacts, decide_turn},
    dialogue::Role,
    turn::TurnState,
    vendor::{Completion, Retry, Step, VendorError},
};
use rand::RngExt;
use store::{
    deliveries::ClaimedDelivery,
    turns::{BegunTurn, ClaimedTurn, Committed, Reply, Settlement},
};

use super::deliver;
use crate::{Error, tools, worker::Worker};

/// How many answers an engine may give in one turn before it must have replied.
const MOST_STEPS: usize = 8;

/// Works a claimed turn to its end, or to its next run. An error leaves what happened in doubt.
pub(crate) async fn run(worker: &Worker, claim: ClaimedTurn) -> Result<(), Error> {
    let Some(begun) = worker.begin.write(claim).await? else { return Ok(()) };
    let facts = TurnFacts {
        agent_active: begun.agent_active,
        channel_active: begun.route.active,
        status: begun.status,
    };
    match decide_turn(facts) {
        TurnDecision::Run => {}
        TurnDecision::Silent(reason) => {
            return settle(worker, claim, begun.run, TurnState::Silent, Some(reason), None).await;
        }
    }
    match answer(worker, &claim, &begun).await? {
        Ended::Lost => Ok(()),
        Ended::Failed(error) => fail(worker, claim, begun.run, &error).await,
        Ended::Answered(steps) => reply(worker, claim, begun, steps).await,
    }
}

enum Ended {
    /// The last step is the reply.
    Answered(Vec<Step>),
    Failed(VendorError),
    /// The claim is somebody else's.
    Lost,
}

async fn answer(worker: &Worker, claim: &ClaimedTurn, begun: &BegunTurn) -> Result<Ended, Error> {
    let failed = |detail: &str, retry| {
        Ended::Failed(VendorError {
            vendor: "switchboard",
            operation: "complete",
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
    let mut request = Completion {
        engine: begun.engine.clone(),
        instructions: begun.instructions.clone(),
        history: begun.history.clone(),
        run: begun.run,
        tools: tools::specs(),
        steps: Vec::new(),
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
    while request.steps.len() < MOST_STEPS {
        let answer = match engine.complete(&request, &worker.give_up).await {
            Ok(answer) => answer,
            Err(error) => return Ok(Ended::Failed(error)),
        };
        if answer.tool_calls.is_empty() {
            request.steps.push(Step { answer, results: Vec::new() });
            return Ok(Ended::Answered(request.steps));
        }
        // The answer is committed before its tools run, and they with their results: neither is ever done twice.
        let mut tx = app.store().workspace(claim.workspace).await?;
        if !store::turns::insert_step(&mut tx, worker.id, claim, begun.run, &answer, app.now()).await? {
            return Ok(Ended::Lost);
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
) -> Result<(), Error> {
    let app = &worker.app;
    let (input_tokens, output_tokens) = steps.iter().fold((0, 0), |(input, output), step| {
        (input + step.answer.input_tokens, output + step.answer.output_tokens)
    });
    let Some(Step { answer, .. }) = steps.pop() else { return Ok(()) };
    // Postgres holds no U+0000, and no messenger shows one.
    let text = answer.text.replace('\0', "");
    if text.trim().is_empty() {
        return settle(worker, claim, begun.run, TurnState::Silent, Some("empty_answer"), None).await;
    }
    let reply = Reply {
        claim,
        run: begun.run,
        message: app.id(),
        text: text.clone(),
        answer,
        input_tokens,
        output_tokens,
        delivery: app.id(),
        out_job: app.id(),
        event: app.id(),
    };
    let (message, delivery, out_job) = (reply.message, reply.delivery, reply.out_job);
    match worker.reply.write(reply).await? {
        Committed::Lost | Committed::Reply(None) => Ok(()),
        Committed::HumanHolds => {
            settle(worker, claim, begun.run, TurnState::Silent, Some("human_holds"), None).await
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

/// A run failed: another follows, as the error advises, or the turn has failed for good.
async fn fail(worker: &Worker, claim: ClaimedTurn, run: i32, error: &VendorError) -> Result<(), Error> {
    let failures = u32::try_from(claim.failures).unwrap_or(u32::MAX).saturating_add(1);
    let jitter = rand::rng().random_range(0.0..1.0);
    tracing::info!(
        workspace.id = %claim.workspace, dialogue.id = %claim.dialogue, turn.id = %claim.turn, run, vendor = error.vendor,
        error = %error, "an engine's run failed"
    );
    let pause = worker.app.inner.settings.runs.next_pause(failures, error.retry, jitter);
    let (state, reason) = match pause {
        Some(_) => (TurnState::Running, None),
        None => (TurnState::Failed, Some("engine_failed")),
    };
    let settlement = Settlement {
        claim,
        run,
        state,
        reason,
        error: Some(error.to_string().replace('\0', "")),
        run_at: worker.app.now() + pause.unwrap_or_default(),
        event: worker.app.id(),
    };
    worker.settle_turn.write(settlement).await?;
    Ok(())
}

async fn settle(
    worker: &Worker,
    claim: ClaimedTurn,
    run: i32,
    state: TurnState,
    reason: Option<&'static str>,
    error: Option<String>,
) -> Result<(), Error> {
    let settlement =
        Settlement { claim, run, state, reason, error, run_at: worker.app.now(), event: worker.app.id() };
    worker.settle_turn.write(settlement).await?;
    Ok(())
}
