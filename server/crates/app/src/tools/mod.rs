//! The tools that an agent may have: what a model can do beside writing.
//!
//! A tool is a file here and a row in [`built_in`]; a capability of a vendor brings its own the same way, and an agent its
//! HTTP endpoints. Which of them an agent has is in its profile.
//!
//! An engine's answer is committed before its tools run. What a tool does outside it does first, under a key that stays the
//! same should the run be cut short and do it again; what it does inside commits with the results of the step. So effects
//! inside happen once, and effects outside can be told apart from their repeats.

mod add_note;
mod arguments;
mod change_stage;
mod create_task;
mod crm;
mod hand_over;
mod http;
mod set_attribute;
mod set_status;

use std::sync::Arc;

use async_trait::async_trait;
use domain::{
    AgentId, DialogueId, FieldViolation, Timestamp, TurnId, WorkerId, WorkspaceId,
    agent::Agent,
    engine::{Step, ToolCall, ToolSpec},
    error::Violations,
    profile::Profile,
};
use serde_json::{Value, json};
use store::turns::ClaimedTurn;
use uuid::Uuid;

pub(crate) use self::http::{SECRET_PLACE, secret_name};
use crate::{App, Error, agents::HeaderValue, jobs::ask_engine::clean};

/// Something that a model can do.
#[async_trait]
pub(crate) trait Tool: Send + Sync {
    /// What it is, for the model.
    fn spec(&self) -> ToolSpec;

    /// Whether it changes anything. Previews run only tools that don't.
    fn effect(&self) -> bool {
        true
    }

    /// Checks its settings when an agent is saved; gives every bad member.
    fn check_settings(&self, settings: &Value) -> Result<(), Vec<FieldViolation>> {
        let members = settings.as_object().into_iter().flatten();
        let bad: Vec<_> = members
            .map(|(name, _)| FieldViolation::new(name.clone(), "is not a setting of this tool; it has none"))
            .collect();
        if bad.is_empty() { Ok(()) } else { Err(bad) }
    }

    /// Does what it does outside; no transaction is open. It may be done again after a crash, with the same key. Gives what
    /// [`Tool::apply`] is given; the error is for the model.
    async fn call(&self, _cx: &Cx<'_>) -> Result<Value, Value> {
        Ok(Value::Null)
    }

    /// Does what it does inside, and gives the result for the model. It commits with the results of its step, once. The inner
    /// error is for the model, and must have changed nothing.
    async fn apply(
        &self,
        _tx: &mut store::Tx,
        _cx: &Cx<'_>,
        outside: Value,
    ) -> Result<Result<Value, String>, Error> {
        Ok(Ok(outside))
    }
}

/// For whom, and with what, a tool is called.
pub(crate) struct Cx<'a> {
    pub(crate) app: &'a App,
    pub(crate) workspace: WorkspaceId,
    pub(crate) dialogue: DialogueId,
    pub(crate) turn: TurnId,
    pub(crate) agent: AgentId,
    /// What headers say of a draft that is not saved.
    pub(crate) drafted: &'a [HeaderValue],
    /// What the model gave; it fits the tool's schema.
    pub(crate) arguments: &'a Value,
    /// Names the call: the same whenever it is made again.
    pub(crate) key: String,
    pub(crate) now: Timestamp,
}

/// The tools of ours.
fn built_in() -> Vec<Arc<dyn Tool>> {
    vec![
        Arc::new(add_note::AddNote),
        Arc::new(change_stage::ChangeStage),
        Arc::new(create_task::CreateTask),
        Arc::new(hand_over::HandOver),
        Arc::new(set_attribute::SetAttribute),
        Arc::new(set_status::SetStatus),
    ]
}

/// What an agent has that says nothing of tools.
const USUAL: &[&str] = &[set_attribute::NAME];

/// The tools that an agent has.
pub(crate) struct Toolset {
    tools: Vec<(ToolSpec, Arc<dyn Tool>)>,
}

impl Toolset {
    /// The tools of this profile. One that was switched on and is not there any more is left out.
    pub(crate) fn of(profile: &Profile) -> Self {
        let is_on = |name: &str| match &profile.tools {
            None => USUAL.contains(&name),
            Some(chosen) => chosen.iter().any(|choice| choice.name == name),
        };
        let ours = built_in().into_iter().map(|tool| (tool.spec(), tool));
        let own = profile.http_tools.iter().map(|tool| {
            let tool: Arc<dyn Tool> = Arc::new(http::HttpEndpoint(tool.clone()));
            (tool.spec(), tool)
        });
        Self { tools: ours.filter(|(spec, _)| is_on(&spec.name)).chain(own).collect() }
    }

    /// What the engine is told of them.
    pub(crate) fn specs(&self) -> Vec<ToolSpec> {
        self.tools.iter().map(|(spec, _)| spec.clone()).collect()
    }

    /// Whether a call would change anything. A tool that isn't there changes nothing.
    pub(crate) fn has_effect(&self, call: &ToolCall) -> bool {
        self.find(call).is_ok_and(Tool::effect)
    }

    /// Finds the tool of a call, and checks what it is called with. The error is for the engine, which may do better next
    /// time.
    fn find(&self, call: &ToolCall) -> Result<&dyn Tool, String> {
        let (spec, tool) = self
            .tools
            .iter()
            .find(|(spec, _)| spec.name == call.name)
            .ok_or_else(|| format!("there is no tool {}", call.name))?;
        arguments::check(&spec.parameters, &call.arguments)?;
        Ok(tool.as_ref())
    }

    /// Makes a call that only reads; of one that would change something, nothing is done. Gives what the model is told, and
    /// whether it would have changed something.
    pub(crate) async fn rehearse(&self, it: &Rehearsing<'_>) -> (Value, bool) {
        let tool = match self.find(it.call) {
            Ok(tool) => tool,
            Err(problem) => return (json!({ "error": problem }), false),
        };
        if tool.effect() {
            return (json!({ "ok": true }), true);
        }
        let cx = Cx {
            app: it.app,
            workspace: it.workspace,
            dialogue: it.holder.into(),
            turn: it.holder.into(),
            agent: it.agent.unwrap_or_else(|| it.holder.into()),
            drafted: it.drafted,
            arguments: &it.call.arguments,
            key: format!("{}-{}-{}", it.holder, it.call.name, it.number),
            now: it.app.now(),
        };
        let mut result = tool.call(&cx).await.unwrap_or_else(|problem| problem);
        clean(&mut result);
        (result, false)
    }

    /// Runs the tools of a committed step, the turn's so-manyth from 1, and commits what they gave, all at once. `None`: the
    /// claim was lost.
    pub(crate) async fn run(&self, step: &Calling<'_>) -> Result<Option<Vec<Value>>, Error> {
        let (app, claim) = (step.app, step.claim);
        let now = app.now();
        let mut done = Vec::with_capacity(step.calls.len());
        for (number, call) in step.calls.iter().enumerate() {
            let cx = Cx {
                app,
                workspace: claim.workspace,
                dialogue: claim.dialogue,
                turn: claim.turn,
                agent: step.agent,
                drafted: &[],
                arguments: &call.arguments,
                key: format!("{}-{}-{}-{number}", claim.turn, step.step, call.name),
                now,
            };
            let outside = match self.find(call) {
                Ok(tool) => tool.call(&cx).await.map(|outside| (tool, cx, outside)),
                Err(problem) => Err(json!({ "error": problem })),
            };
            done.push(outside);
        }
        let mut tx = app.store().workspace(claim.workspace).await?;
        let moment = store::dialogues::touch(&mut tx, claim.workspace, claim.dialogue, now).await?;
        let mut results = Vec::with_capacity(done.len());
        for outside in done {
            let mut result = match outside {
                Ok((tool, cx, outside)) => {
                    let cx = Cx { now: moment.unwrap_or(now), ..cx };
                    match tool.apply(&mut tx, &cx, outside).await? {
                        Ok(result) => result,
                        Err(problem) => json!({ "error": problem }),
                    }
                }
                Err(problem) => problem,
            };
            // An endpoint may answer with what Postgres doesn't hold.
            clean(&mut result);
            results.push(result);
        }
        if !store::turns::set_results(&mut tx, step.worker, claim, step.run, &results).await? {
            return Ok(None);
        }
        store::commit(tx).await?;
        Ok(Some(results))
    }
}

/// A call of a preview, which nothing is committed for.
pub(crate) struct Rehearsing<'a> {
    pub(crate) app: &'a App,
    pub(crate) workspace: WorkspaceId,
    /// Whose secrets headers have. `None`: a draft, which has none but its own.
    pub(crate) agent: Option<AgentId>,
    pub(crate) drafted: &'a [HeaderValue],
    /// The preview, which stands where a turn would.
    pub(crate) holder: Uuid,
    /// Which call of the preview, from 1.
    pub(crate) number: usize,
    pub(crate) call: &'a ToolCall,
}

/// The calls of a committed step.
pub(crate) struct Calling<'a> {
    pub(crate) app: &'a App,
    pub(crate) worker: WorkerId,
    pub(crate) claim: &'a ClaimedTurn,
    pub(crate) run: i32,
    pub(crate) agent: AgentId,
    /// Which step of the turn, from 1.
    pub(crate) step: usize,
    pub(crate) calls: &'a [ToolCall],
}

/// Why a step gave the dialogue to people. `None`: it didn't.
pub(crate) fn handed_over(step: &Step) -> Option<String> {
    let mut calls = step.answer.tool_calls.iter().zip(&step.results);
    let (call, _) =
        calls.find(|(call, result)| call.name == hand_over::NAME && result["ok"] == Value::Bool(true))?;
    Some(call.arguments["reason"].as_str().unwrap_or_default().to_owned())
}

/// Names all that is wrong with an agent's choice of tools, but for the addresses of its own.
pub(crate) fn check(violations: &mut Violations, agent: &Agent) {
    let ours: Vec<_> = built_in().into_iter().map(|tool| (tool.spec().name, tool)).collect();
    let chosen = agent.profile.tools.as_deref().unwrap_or_default();
    for (number, choice) in chosen.iter().enumerate() {
        let field = format!("agent.toolbox.tools[{number}]");
        let Some((_, tool)) = ours.iter().find(|(name, _)| *name == choice.name) else {
            let known: Vec<_> = ours.iter().map(|(name, _)| name.as_str()).collect();
            violations.add(format!("{field}.name"), format!("must be one of: {}", known.join(", ")));
            continue;
        };
        let twice = chosen[..number].iter().any(|other| other.name == choice.name);
        violations.require(!twice, &format!("{field}.name"), "is there twice");
        for bad in tool.check_settings(&choice.settings).err().unwrap_or_default() {
            violations.add(format!("{field}.settings.{}", bad.field), bad.detail);
        }
    }
    for (number, tool) in agent.profile.http_tools.iter().enumerate() {
        let field = format!("agent.toolbox.http[{number}]");
        let earlier = &agent.profile.http_tools[..number];
        let taken = ours.iter().any(|(name, _)| *name == tool.name)
            || earlier.iter().any(|other| other.name == tool.name);
        violations.require(!taken, &format!("{field}.name"), "is the name of another tool");
        if let Err(problem) = arguments::check_schema(&tool.parameters) {
            violations.add(format!("{field}.parameters"), problem);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_that_says_nothing_has_the_usual_tools() {
        let names = |profile: &Profile| {
            Toolset::of(profile).specs().into_iter().map(|spec| spec.name).collect::<Vec<_>>()
        };
        assert_eq!(names(&Profile::default()), ["set_attribute"]);
        let choice = |name: &str| domain::profile::ToolChoice { name: name.to_owned(), settings: json!({}) };
        let profile = |tools: Vec<_>| Profile { tools: Some(tools), ..Profile::default() };
        assert_eq!(names(&profile(vec![])), [""; 0]);
        assert_eq!(names(&profile(vec![choice("hand_over"), choice("gone")])), ["hand_over"]);
    }

    #[test]
    fn what_ours_are_called_with_is_checked() {
        let choices = built_in()
            .into_iter()
            .map(|tool| domain::profile::ToolChoice { name: tool.spec().name, settings: json!({}) });
        let all = Toolset::of(&Profile { tools: Some(choices.collect()), ..Profile::default() });
        let call = |name: &str, arguments| ToolCall { id: String::new(), name: name.to_owned(), arguments };
        for good in [
            call("set_attribute", json!({ "name": "city", "value": "Riga" })),
            call("hand_over", json!({ "reason": "asked for" })),
            call("set_status", json!({ "status": "RESOLVED" })),
            call("change_stage", json!({ "stage": "Won" })),
            call("create_task", json!({ "text": "Call", "due": "2026-11-21T09:00:00+01:00" })),
            call("add_note", json!({ "text": "Likes tea" })),
        ] {
            assert!(all.find(&good).is_ok(), "{good:?}");
        }
        for bad in [
            call("launch", json!({})),
            call("set_attribute", json!(null)),
            call("set_attribute", json!("{\"name\": \"city")),
            call("set_attribute", json!({ "name": "", "value": "x" })),
            call("set_attribute", json!({ "name": "x", "value": 1 })),
            call("set_attribute", json!({ "name": "x".repeat(101), "value": "x" })),
            call("set_attribute", json!({ "name": "x", "value": "x", "more": 1 })),
            call("hand_over", json!({})),
            call("set_status", json!({ "status": "OPEN" })),
            call("change_stage", json!({ "stage": "Won", "lead_id": "5002" })),
            call("create_task", json!({ "text": "Call" })),
            call("add_note", json!({ "text": "" })),
        ] {
            assert!(all.find(&bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_step_that_handed_over_says_why() {
        let step = |name: &str, result| Step {
            answer: domain::engine::Answer {
                tool_calls: vec![ToolCall {
                    id: String::new(),
                    name: name.to_owned(),
                    arguments: json!({ "reason": "angry" }),
                }],
                ..domain::engine::Answer::default()
            },
            results: vec![result],
        };
        assert_eq!(handed_over(&step("hand_over", json!({ "ok": true }))).as_deref(), Some("angry"));
        assert_eq!(handed_over(&step("hand_over", json!({ "error": "no" }))), None);
        assert_eq!(handed_over(&step("set_status", json!({ "ok": true }))), None);
    }
}
