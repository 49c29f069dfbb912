//! Replays: what a changed agent would have answered in recorded turns. Nothing is sent or changed; results of tools come
//! from the recording.

use std::time::Duration;

use domain::{
    ChannelId, DialogueId, TurnId, WorkspaceId,
    cost::Spent,
    dialogue::DialogueFacts,
    engine::{Completion, Step, ToolCall},
    error::Violations,
    manifest,
    usage::Purpose,
    workspace::{Level, Service},
};
use futures::{SinkExt as _, Stream, StreamExt as _, channel::mpsc};
use serde_json::Value;
use store::recordings::{self, Recording};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    App, Caller, Error,
    previews::RehearsedCall,
    prompt,
    rehearsals::{Chosen, MOST_STEPS, Rehearsed, Stage, Stopped, in_time},
    tools::Toolset,
};

/// The most dialogues that are named.
const MOST_DIALOGUES: usize = 100;

/// What is replayed.
#[derive(Debug, Clone)]
pub struct ReplayRequest {
    /// The agent.
    pub agent: Chosen,
    /// The dialogues. None: the newest of all.
    pub dialogues: Vec<DialogueId>,
    /// Only of this channel.
    pub channel: Option<ChannelId>,
    /// How many turns at most.
    pub limit: i32,
    /// How long it may take.
    pub longest: Duration,
}

/// A replayed turn, or the summary, which is the last.
#[derive(Debug, Clone)]
pub enum Replayed {
    /// A turn.
    Turn(Box<ReplayedTurn>),
    /// The summary.
    Summary(Summary),
}

/// What a changed agent would have done in a turn.
#[derive(Debug, Clone)]
pub struct ReplayedTurn {
    /// The turn.
    pub turn: TurnId,
    /// Its dialogue.
    pub dialogue: DialogueId,
    /// Whether the engine was asked.
    pub asked: bool,
    /// What was answered.
    pub before: Side,
    /// What would be answered.
    pub after: Side,
    /// What was not recorded.
    pub divergences: Vec<String>,
    /// Why there is no answer. Empty: there is one.
    pub error: String,
}

/// One side of a replayed turn.
#[derive(Debug, Clone, Default)]
pub struct Side {
    /// The reply.
    pub text: String,
    /// The calls of tools.
    pub calls: Vec<RehearsedCall>,
    /// What its answers used.
    pub spent: Spent,
    /// The hash of what the engine was given first.
    pub hash: String,
}

impl ReplayedTurn {
    /// Whether text and calls are the same.
    pub fn same(&self) -> bool {
        let calls = |side: &Side| -> Vec<(String, Value)> {
            side.calls.iter().map(|each| (each.call.name.clone(), each.call.arguments.clone())).collect()
        };
        self.error.is_empty()
            && self.divergences.is_empty()
            && self.before.text == self.after.text
            && calls(&self.before) == calls(&self.after)
    }
}

/// What a replay came to.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// How many turns were replayed.
    pub turns: i32,
    /// How many are the same.
    pub same: i32,
    /// How many diverge from the recording.
    pub diverged: i32,
    /// How many got no answer.
    pub failed: i32,
    /// What the replay itself used.
    pub spent: Spent,
}

type Sender = mpsc::Sender<Result<Replayed, Error>>;

impl App {
    /// Replays recorded turns. Whoever stops listening stops the engine; what it used is noted all the same.
    pub async fn replay_dialogues(
        &self,
        caller: &Caller,
        request: ReplayRequest,
    ) -> Result<impl Stream<Item = Result<Replayed, Error>> + Send + use<>, Error> {
        let workspace = caller.require(Service::Agents, Level::Write)?;
        caller.require(Service::Dialogues, Level::Read)?;
        let mut violations = Violations::default();
        let count = request.dialogues.len();
        violations.require(count <= MOST_DIALOGUES, "dialogue_ids", "may have up to 100 items");
        violations.require((1..=1_000).contains(&request.limit), "limit", "must be 1 to 1,000, or 0 for 100");
        violations.finish()?;
        let rehearsed = self.rehearsed(workspace, request.agent).await?;
        let mut tx = self.store().workspace(workspace).await?;
        let (dialogues, limit) = (&request.dialogues, i64::from(request.limit));
        let recorded = recordings::list(&mut tx, workspace, dialogues, request.channel, limit).await?;
        store::commit(tx).await?;

        let id: Uuid = self.id();
        let pointless = CancellationToken::new();
        let gone = pointless.clone().drop_guard();
        let (mut sender, receiver) = mpsc::channel(1);
        let (app, longest) = (self.clone(), request.longest);
        // A replay in which everything is recorded needs no engine that can be reached.
        let stage = self.stage(workspace, id, &rehearsed, longest, pointless.clone()).await?;
        tokio::spawn(async move {
            let mut stage = stage;
            let work = replay(&app, workspace, &rehearsed, recorded, &mut stage, &mut sender);
            let done = in_time(longest, &pointless, Box::pin(work)).await;
            let closed = match &mut stage {
                Ok(stage) => stage.close(Purpose::Replay).await,
                Err(_) => Ok(()),
            };
            let last = match done.and_then(|summary| closed.map(|()| summary)) {
                Ok(summary) => {
                    let spent = stage.map(|stage| stage.spent).unwrap_or_default();
                    Ok(Replayed::Summary(Summary { spent, ..summary }))
                }
                Err(error) => Err(error),
            };
            // Nobody may listen any more.
            let _ = sender.send(last).await;
        });
        Ok(receiver.inspect(move |_| {
            // It goes with the stream: whoever stops listening stops the engine.
            let _ = &gone;
        }))
    }
}

/// Replays one turn after the other, until nobody listens or a budget is exhausted.
async fn replay(
    app: &App,
    workspace: WorkspaceId,
    rehearsed: &Rehearsed,
    recorded: Vec<Recording>,
    stage: &mut Result<Stage, String>,
    sender: &mut Sender,
) -> Result<Summary, Error> {
    let mut summary = Summary::default();
    for recording in recorded {
        if stage.as_ref().is_ok_and(|stage| stage.pointless.is_cancelled()) {
            break;
        }
        let mut tx = app.store().workspace(workspace).await?;
        let messages = recordings::messages(&mut tx, workspace, &recording.prompt).await?;
        store::commit(tx).await?;
        let (turn, exhausted) = if let Some(request) = recording.prompt.rebuild(&messages) {
            again(rehearsed, &recording, &request, stage).await?
        } else {
            let error = "not_recorded: a message of its history is gone".to_owned();
            (ReplayedTurn { error, ..begin(&recording) }, false)
        };
        if let Ok(stage) = &mut *stage {
            stage.forget().await;
        }
        summary.turns += 1;
        summary.same += i32::from(turn.same());
        summary.diverged += i32::from(!turn.divergences.is_empty());
        summary.failed += i32::from(!turn.error.is_empty());
        if sender.send(Ok(Replayed::Turn(Box::new(turn)))).await.is_err() || exhausted {
            break;
        }
    }
    Ok(summary)
}

/// A turn as it was recorded, with nothing to compare it with.
fn begin(recording: &Recording) -> ReplayedTurn {
    let price = recording.prompt.engine.price.as_ref();
    let mut before = Side { hash: recording.hash.clone(), ..Side::default() };
    for step in &recording.steps {
        before.spent.add(&Spent::answered(&step.answer, price));
        for (call, result) in step.answer.tool_calls.iter().zip(&step.results) {
            before.calls.push(RehearsedCall {
                call: call.clone(),
                result: Some(result.clone()),
                would_do: false,
            });
        }
    }
    before.text = recording.steps.last().map(|step| step.answer.text.clone()).unwrap_or_default();
    ReplayedTurn {
        turn: recording.turn,
        dialogue: recording.dialogue,
        asked: false,
        before,
        after: Side::default(),
        divergences: Vec::new(),
        error: String::new(),
    }
}

/// Replays a turn with what is changed of the agent: all else is as it was. Answers with it, and whether a budget is exhausted.
async fn again(
    rehearsed: &Rehearsed,
    recording: &Recording,
    then: &Completion,
    stage: &mut Result<Stage, String>,
) -> Result<(ReplayedTurn, bool), Error> {
    let mut turn = begin(recording);
    // What one engine noted means nothing to another.
    let notes = then.notes.clone().filter(|_| then.engine.vendor == rehearsed.engine.vendor);
    let known = DialogueFacts { agent: rehearsed.display_name.clone(), ..recording.prompt.known.clone() };
    let toolset = Toolset::of(&rehearsed.profile);
    let mut request = prompt::build(prompt::Facts {
        engine: &rehearsed.engine,
        instructions: &rehearsed.instructions,
        profile: &rehearsed.profile,
        known: &known,
        dialogue: then.dialogue,
        history: &then.history,
        window: rehearsed.profile.history,
        steps: Vec::new(),
        tools: toolset.specs(),
        run: then.run,
        at: then.at,
        notes,
    });
    turn.after.hash = manifest::digest(&request);
    if turn.after.hash == recording.hash {
        let price = rehearsed.engine.price.as_ref();
        turn.after = Side { spent: Spent::default(), ..turn.before.clone() };
        for step in &recording.steps {
            turn.after.spent.add(&Spent::answered(&step.answer, price));
        }
        return Ok((turn, false));
    }
    let stage = match stage {
        Ok(stage) => stage,
        Err(why) => {
            turn.error = format!("engine_failed: {why}");
            return Ok((turn, false));
        }
    };
    turn.asked = true;
    // A conversation at the vendor is the customer's, and left alone: what is asked now gets one of its own.
    request.notes = None;
    let mut known: Vec<(&ToolCall, &Value)> =
        recording.steps.iter().flat_map(|step| step.answer.tool_calls.iter().zip(&step.results)).collect();
    while request.steps.len() < MOST_STEPS {
        let answer = match stage.ask(&request).await? {
            Ok((answer, spent)) => {
                turn.after.spent.add(&spent);
                answer
            }
            Err(Stopped::Failed(error)) => {
                turn.error = format!("engine_failed: {error}");
                return Ok((turn, false));
            }
            Err(Stopped::Exhausted(error)) => {
                turn.error = format!("budget_exhausted: {error}");
                return Ok((turn, true));
            }
        };
        let mut results = Vec::with_capacity(answer.tool_calls.len());
        for call in &answer.tool_calls {
            let at = known
                .iter()
                .position(|(other, _)| (&other.name, &other.arguments) == (&call.name, &call.arguments));
            // Each recorded call is used once: the same call twice may have given something else.
            let result = at.map(|at| known.remove(at).1.clone());
            if result.is_none() {
                turn.divergences.push(format!("{}({}) was not called then", call.name, call.arguments));
            }
            turn.after.calls.push(RehearsedCall {
                call: call.clone(),
                would_do: result.is_none() && toolset.has_effect(call),
                result: result.clone(),
            });
            results.extend(result);
        }
        if !turn.divergences.is_empty() {
            return Ok((turn, false));
        }
        if answer.tool_calls.is_empty() {
            turn.after.text = answer.text;
            return Ok((turn, false));
        }
        request.steps.push(Step { answer, results });
    }
    let error = "engine_failed: the engine called tools without end".to_owned();
    Ok((ReplayedTurn { error, ..turn }, false))
}
