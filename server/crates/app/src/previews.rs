//! Previews: what an agent would answer. Nothing is sent, and no turn is made.

use std::time::Duration;

use domain::{
    DialogueId, Error as Refusal, Timestamp, WorkspaceId,
    cost::Spent,
    dialogue::{DialogueFacts, MAX_TEXT_BYTES, Message, Role},
    engine::{Completion, Step, ToolCall},
    error::Violations,
    manifest::{self, Prompt},
    schedule::Outside,
    usage::Purpose,
    workspace::{Level, Service},
};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    App, Caller, Error, prompt,
    rehearsals::{Chosen, MOST_STEPS, Rehearsed, Stage, Stopped, in_time},
    tools::{self, Rehearsing, Toolset},
};

/// The most messages of a preview.
const MOST_MESSAGES: usize = 200;

/// What is previewed.
#[derive(Debug, Clone)]
pub struct PreviewRequest {
    /// The agent.
    pub agent: Chosen,
    /// The dialogue, oldest first.
    pub messages: Vec<(Role, String)>,
    /// How long it may take.
    pub longest: Duration,
    /// When the customer writes. `None`: now.
    pub at: Option<Timestamp>,
}

/// What an agent would answer.
#[derive(Debug, Clone, Default)]
pub struct Preview {
    /// What it would say.
    pub text: String,
    /// Why it would say nothing.
    pub reason: &'static str,
    /// What went wrong.
    pub error: String,
    /// The tools it would call.
    pub calls: Vec<RehearsedCall>,
    /// What the engine was given first. `None`: it can't be asked.
    pub prompt: Option<Prompt>,
    /// What it answered, and what it was told its tools gave.
    pub steps: Vec<Step>,
    /// The hash of what it was given first.
    pub hash: String,
    /// What that used.
    pub spent: Spent,
}

/// A call of a tool. One that would have changed something was not made.
#[derive(Debug, Clone, PartialEq)]
pub struct RehearsedCall {
    /// The call.
    pub call: ToolCall,
    /// What the engine was told. `None`: it was not recorded.
    pub result: Option<Value>,
    /// Whether it would have changed something.
    pub would_do: bool,
}

impl App {
    /// Runs an agent on given messages. Whoever stops waiting stops the engine; what it used is noted all the same.
    pub async fn preview_reply(&self, caller: &Caller, request: PreviewRequest) -> Result<Preview, Error> {
        let workspace = caller.require(Service::Agents, Level::Write)?;
        check(&request)?;
        let rehearsed = self.rehearsed(workspace, request.agent).await?;
        let (id, now): (Uuid, _) = (self.id(), request.at.unwrap_or_else(|| self.now()));
        let hours = rehearsed.profile.schedule.as_ref();
        if let Some(closed) = hours.filter(|hours| !hours.is_open(&rehearsed.profile.zone(), now)) {
            let text = match closed.outside {
                Outside::AnswerText => closed.outside_text.clone(),
                Outside::StaySilent | Outside::HandOver | Outside::Wait => String::new(),
            };
            return Ok(Preview { text, reason: "outside_hours", ..Preview::default() });
        }
        let dialogue = DialogueId(id);
        let message = |(seq, (role, text)): (i64, (Role, String))| Message {
            id: self.id(),
            dialogue,
            seq,
            role,
            text,
            parts: Vec::new(),
            external_id: String::new(),
            turn: None,
            created_at: now,
            metadata: serde_json::Map::new(),
            sent_at: None,
        };
        let history: Vec<Message> = (1..).zip(request.messages).map(message).collect();
        // There is no channel, and nothing was noted.
        let known = DialogueFacts { agent: rehearsed.display_name.clone(), ..DialogueFacts::default() };
        let toolset = Toolset::of(&rehearsed.profile);
        let completion = prompt::build(prompt::Facts {
            engine: &rehearsed.engine,
            instructions: &rehearsed.instructions,
            profile: &rehearsed.profile,
            known: &known,
            dialogue,
            history: &history,
            window: rehearsed.profile.history,
            steps: Vec::new(),
            tools: toolset.specs(),
            run: 1,
            at: now,
            notes: None,
        });
        let pointless = CancellationToken::new();
        let stage = match self.stage(workspace, id, &rehearsed, request.longest, pointless.clone()).await? {
            Ok(stage) => stage,
            Err(error) => return Ok(Preview { reason: "engine_failed", error, ..Preview::default() }),
        };
        let _gone = pointless.clone().drop_guard();
        let longest = request.longest;
        let app = self.clone();
        let work = tokio::spawn(async move {
            let mut stage = stage;
            let scene = Scene { app, workspace, id, rehearsed, toolset, known };
            let done = in_time(longest, &pointless, rehearse(&mut stage, &scene, completion)).await;
            stage.close(Purpose::Preview).await?;
            done.map(|preview| Preview { spent: stage.spent, ..preview })
        });
        work.await.map_err(|_| Refusal::new(domain::Reason::Internal, "the preview broke off"))?
    }
}

fn check(request: &PreviewRequest) -> Result<(), Refusal> {
    let mut violations = Violations::default();
    let count = request.messages.len();
    violations.require((1..=MOST_MESSAGES).contains(&count), "messages", "must be 1 to 200 messages");
    for (number, (_, text)) in request.messages.iter().enumerate() {
        violations.require(
            (1..=MAX_TEXT_BYTES).contains(&text.len()) && !text.contains('\0'),
            &format!("messages[{number}].text"),
            "must have 1 to 65,536 bytes, without U+0000",
        );
    }
    if let Some((role, _)) = request.messages.last() {
        let field = format!("messages[{}].role", count - 1);
        violations.require(*role == Role::User, &field, "must be USER: the last word is the customer's");
    }
    violations.finish()
}

/// In what a preview is run.
struct Scene {
    app: App,
    workspace: WorkspaceId,
    id: Uuid,
    rehearsed: Rehearsed,
    toolset: Toolset,
    known: DialogueFacts,
}

/// Asks until there is a reply.
async fn rehearse(stage: &mut Stage, scene: &Scene, mut request: Completion) -> Result<Preview, Error> {
    // No dialogue has these messages: they are kept whole.
    let prompt = Prompt::of(&request, &[], &scene.known);
    let hash = manifest::digest(&request);
    let mut preview = Preview { prompt: Some(prompt), hash, ..Preview::default() };
    while request.steps.len() < MOST_STEPS {
        let answer = match stage.ask(&request).await? {
            Ok((answer, _)) => answer,
            Err(stopped) => {
                (preview.reason, preview.error) = match stopped {
                    Stopped::Failed(error) => ("engine_failed", error),
                    Stopped::Exhausted(error) => ("budget_exhausted", error),
                };
                preview.steps = request.steps;
                return Ok(preview);
            }
        };
        let mut results = Vec::with_capacity(answer.tool_calls.len());
        for call in &answer.tool_calls {
            let rehearsing = Rehearsing {
                app: &scene.app,
                workspace: scene.workspace,
                agent: scene.rehearsed.agent,
                drafted: &scene.rehearsed.header_values,
                holder: scene.id,
                number: preview.calls.len() + 1,
                call,
            };
            let (result, would_do) = scene.toolset.rehearse(&rehearsing).await;
            results.push(result.clone());
            preview.calls.push(RehearsedCall { call: call.clone(), result: Some(result), would_do });
        }
        let (last, text) = (answer.tool_calls.is_empty(), answer.text.clone());
        request.steps.push(Step { answer, results });
        if last {
            if text.trim().is_empty() {
                preview.reason = "empty_answer";
            }
            (preview.text, preview.steps) = (text, request.steps);
            return Ok(preview);
        }
        if request.steps.last().and_then(tools::handed_over).is_some() {
            (preview.reason, preview.steps) = ("handed_over", request.steps);
            return Ok(preview);
        }
    }
    (preview.reason, preview.error) = ("engine_failed", "the engine called tools without end".to_owned());
    preview.steps = request.steps;
    Ok(preview)
}
