//! Agents.

use domain::{
    AgentId, Error as Refusal, Reason, WorkspaceId,
    agent::{Agent, Engine},
    budget::Budget,
    error::Violations,
    policy::{OnFailure, ReplyPolicy},
    token::{self, TokenKind},
    workspace::{Level, Service},
};
use secrecy::SecretString;
use serde::Serialize;
use store::events::NewEvent;

use crate::{App, Caller, Error, Page, PageRequest, budgets, requests::check_name};

/// An agent to make.
#[derive(Debug, Clone, Serialize)]
pub struct NewAgent {
    /// A name for people.
    pub display_name: String,
    /// What the model is told first.
    pub instructions: String,
    /// Who writes its answers. `None` is refused, with all else that is wrong.
    pub engine: Option<Engine>,
    /// When it answers, and what happens when it can't.
    pub reply_policy: ReplyPolicy,
    /// Whether it answers.
    pub active: bool,
    /// What its calls of engines may use.
    pub budgets: Vec<Budget>,
    /// What happens to a turn whose call does not fit them.
    pub on_budget_exhausted: OnFailure,
}

/// What to change of an agent; `None` stays.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "named like the agent's fields")]
pub struct AgentPatch {
    pub display_name: Option<String>,
    pub instructions: Option<String>,
    pub engine: Option<Engine>,
    pub reply_policy: Option<ReplyPolicy>,
    pub active: Option<bool>,
    pub budgets: Option<Vec<Budget>>,
    pub on_budget_exhausted: Option<OnFailure>,
}

pub(crate) fn not_found(id: AgentId) -> Refusal {
    Refusal::not_found(Reason::AgentNotFound, "agent", id)
}

impl App {
    /// Names all that is wrong with an agent; gives its engine.
    fn check_agent(
        &self,
        name: &str,
        instructions: &str,
        policy: &ReplyPolicy,
        (budgets, on_budget_exhausted): (&[Budget], OnFailure),
        engine: Option<Engine>,
    ) -> Result<Engine, Refusal> {
        let mut violations = Violations::default();
        violations.require(engine.is_some(), "agent.engine", "is required");
        if let Some(engine) = &engine {
            self.check_engine(&mut violations, engine);
        }
        check_name(&mut violations, "agent.display_name", name);
        violations.require(
            instructions.len() <= 65_536 && !instructions.contains('\0'),
            "agent.instructions",
            "may have up to 65,536 bytes, without U+0000",
        );
        policy.check(&mut violations, "agent.reply_policy");
        budgets::check_agent(&mut violations, budgets, engine.as_ref());
        violations.require(
            on_budget_exhausted != OnFailure::FallbackText || !policy.fallback_text.is_empty(),
            "agent.on_budget_exhausted",
            "needs agent.reply_policy.fallback_text for FALLBACK_TEXT",
        );
        violations.finish_with(engine)
    }

    /// Names all that is wrong with an agent to make; gives its engine.
    pub(crate) fn check_new_agent(&self, new: &NewAgent) -> Result<Engine, Refusal> {
        self.check_agent(
            &new.display_name,
            &new.instructions,
            &new.reply_policy,
            (&new.budgets, new.on_budget_exhausted),
            new.engine.clone(),
        )
    }

    fn check_engine(&self, violations: &mut Violations, engine: &Engine) {
        violations.require(
            engine.temperature.is_none_or(|value| (0.0..=2.0).contains(&value)),
            "agent.engine.temperature",
            "must be 0 to 2, or not set",
        );
        violations.require(
            engine.max_output_tokens.is_none_or(|value| (1..=1_000_000).contains(&value)),
            "agent.engine.max_output_tokens",
            "must be 1 to 1,000,000, or not set",
        );
        if let Some(price) = &engine.price {
            price.check(violations, "agent.engine.price");
        }
        violations.require(
            engine.model.len() <= 200 && !engine.model.contains('\0'),
            "agent.engine.model",
            "may have up to 200 bytes, without U+0000",
        );
        if let Some(model) = self.inner.vendors.get(&engine.vendor).and_then(|vendor| vendor.engine.as_ref())
        {
            for bad in model.check_settings(&engine.settings).err().unwrap_or_default() {
                violations.add(format!("agent.engine.{}", bad.field), bad.detail);
            }
        } else {
            violations.add("agent.engine.vendor", self.engines_are());
        }
    }

    /// Says which vendors are engines.
    pub(crate) fn engines_are(&self) -> String {
        let engines = self.inner.vendors.iter().filter(|vendor| vendor.engine.is_some());
        let known: Vec<_> = engines.map(|vendor| vendor.id).collect();
        format!("must be one of: {}", known.join(", "))
    }

    /// Creates an agent and gives its token, once: a repeat by `request_id` gets none.
    pub async fn create_agent(
        &self,
        caller: &Caller,
        new: NewAgent,
        request_id: &str,
    ) -> Result<(Agent, Option<SecretString>), Error> {
        let workspace = caller.require(Service::Agents, Level::Write)?;
        let engine = self.check_new_agent(&new)?;
        let id: AgentId = self.id();
        let mut tx = self.store().workspace(workspace).await?;
        let first: Option<AgentId> =
            self.once(&mut tx, workspace, request_id, "CreateAgent", &new, id.0).await?;
        if let Some(first) = first {
            let agent = store::agents::find(&mut tx, workspace, first, false).await?;
            return Ok((agent.ok_or_else(|| not_found(first))?, None));
        }
        self.check_integration_of(&mut tx, workspace, &engine, "agent.engine").await?;
        let token = token::issue(TokenKind::Agent, workspace);
        let now = self.now();
        let agent = Agent {
            id,
            display_name: new.display_name,
            instructions: new.instructions,
            engine,
            reply_policy: new.reply_policy,
            active: new.active,
            budgets: new.budgets,
            on_budget_exhausted: new.on_budget_exhausted,
            token_suffix: token.suffix,
            created_at: now,
            updated_at: now,
        };
        store::agents::insert(&mut tx, workspace, &agent, token.hash).await?;
        self.tell(&mut tx, workspace, "agent.created", id.0).await?;
        store::commit(tx).await?;
        Ok((agent, Some(token.secret)))
    }

    /// Reads an agent.
    pub async fn get_agent(&self, caller: &Caller, id: AgentId) -> Result<Agent, Error> {
        let workspace = caller.require(Service::Agents, Level::Read)?;
        let mut tx = self.store().workspace(workspace).await?;
        let agent = store::agents::find(&mut tx, workspace, id, false).await?;
        store::commit(tx).await?;
        Ok(agent.ok_or_else(|| not_found(id))?)
    }

    /// Lists agents, oldest first.
    pub async fn list_agents(&self, caller: &Caller, page: &PageRequest) -> Result<Page<Agent>, Error> {
        let workspace = caller.require(Service::Agents, Level::Read)?;
        let limit = page.limit()?;
        let filter = "agents";
        let after = page.after(&filter)?;
        let mut tx = self.store().workspace(workspace).await?;
        let items = store::agents::list(&mut tx, workspace, after, limit + 1).await?;
        store::commit(tx).await?;
        Ok(Page::cut(items, limit, &filter, |agent| agent.id))
    }

    /// Changes an agent.
    pub async fn update_agent(
        &self,
        caller: &Caller,
        id: AgentId,
        patch: AgentPatch,
    ) -> Result<Agent, Error> {
        let workspace = caller.require(Service::Agents, Level::Write)?;
        let mut tx = self.store().workspace(workspace).await?;
        let mut agent =
            store::agents::find(&mut tx, workspace, id, true).await?.ok_or_else(|| not_found(id))?;
        agent.display_name = patch.display_name.unwrap_or(agent.display_name);
        agent.instructions = patch.instructions.unwrap_or(agent.instructions);
        if let Some(engine) = patch.engine {
            self.check_integration_of(&mut tx, workspace, &engine, "agent.engine").await?;
            agent.engine = engine;
        }
        agent.reply_policy = patch.reply_policy.unwrap_or(agent.reply_policy);
        agent.active = patch.active.unwrap_or(agent.active);
        agent.budgets = patch.budgets.unwrap_or(agent.budgets);
        agent.on_budget_exhausted = patch.on_budget_exhausted.unwrap_or(agent.on_budget_exhausted);
        agent.updated_at = self.now();
        self.check_agent(
            &agent.display_name,
            &agent.instructions,
            &agent.reply_policy,
            (&agent.budgets, agent.on_budget_exhausted),
            Some(agent.engine.clone()),
        )?;
        store::agents::update(&mut tx, workspace, &agent).await?;
        self.tell(&mut tx, workspace, "agent.updated", id.0).await?;
        store::commit(tx).await?;
        self.forget();
        Ok(agent)
    }

    /// Deletes an agent that no channel uses.
    pub async fn delete_agent(&self, caller: &Caller, id: AgentId) -> Result<(), Error> {
        let workspace = caller.require(Service::Agents, Level::Write)?;
        let mut tx = self.store().workspace(workspace).await?;
        store::agents::find(&mut tx, workspace, id, true).await?.ok_or_else(|| not_found(id))?;
        let channels = store::agents::count_channels(&mut tx, workspace, id).await?;
        if channels > 0 {
            return Err(Refusal::new(
                Reason::AgentInUse,
                format!(
                    "agent {id} is used by {channels} channels; delete them or give them another agent first"
                ),
            )
            .into());
        }
        store::agents::delete(&mut tx, workspace, id, self.now()).await?;
        self.tell(&mut tx, workspace, "agent.deleted", id.0).await?;
        store::commit(tx).await?;
        self.forget();
        Ok(())
    }

    /// Replaces an agent's token and gives the new one, once.
    pub async fn rotate_agent_token(
        &self,
        caller: &Caller,
        id: AgentId,
    ) -> Result<(Agent, SecretString), Error> {
        let workspace = caller.require(Service::Agents, Level::Admin)?;
        let mut tx = self.store().workspace(workspace).await?;
        let mut agent =
            store::agents::find(&mut tx, workspace, id, true).await?.ok_or_else(|| not_found(id))?;
        let token = token::issue(TokenKind::Agent, workspace);
        agent.token_suffix = token.suffix;
        agent.updated_at = self.now();
        store::agents::set_token(&mut tx, workspace, id, token.hash, &agent.token_suffix, agent.updated_at)
            .await?;
        self.tell(&mut tx, workspace, "agent.updated", id.0).await?;
        store::commit(tx).await?;
        self.forget();
        Ok((agent, token.secret))
    }

    /// Writes an event about a part of the configuration, and has every process forget what it cached.
    pub(crate) async fn tell(
        &self,
        tx: &mut store::Tx,
        workspace: WorkspaceId,
        kind: &'static str,
        subject: uuid::Uuid,
    ) -> Result<(), Error> {
        let (data, at) = (serde_json::json!({}), self.now());
        let event = NewEvent { id: self.id(), kind, dialogue: None, subject, data, at };
        store::events::insert(tx, workspace, &event).await?;
        store::notify_configuration(tx, workspace).await?;
        Ok(())
    }
}
