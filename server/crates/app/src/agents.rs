//! Agents.

use domain::{
    AgentId, Error as Refusal, Reason, WorkspaceId,
    agent::{Agent, Engine},
    budget::Budget,
    crm_context::CrmContext,
    error::Violations,
    policy::{OnFailure, ReplyPolicy},
    profile::{HttpTool, Profile, ToolChoice},
    schedule::Schedule,
    template,
    token::{self, TokenKind},
    window::HistoryWindow,
    workspace::{Level, Service},
};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use store::{agent_secrets::AgentSecret, events::NewEvent};
use subtle::ConstantTimeEq as _;

use crate::{App, Caller, Error, Page, PageRequest, budgets, requests::check_name, tools};

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
    /// What it knows and may do.
    pub profile: Profile,
    /// What its tools' headers say.
    pub header_values: Vec<HeaderValue>,
    /// Whether it answers.
    pub active: bool,
    /// What its calls of engines may use.
    pub budgets: Vec<Budget>,
    /// What happens to a turn whose call does not fit them.
    pub on_budget_exhausted: OnFailure,
}

/// What a header of an HTTP tool says: a secret.
#[derive(Debug, Clone)]
pub struct HeaderValue {
    /// The tool.
    pub tool: String,
    /// The header.
    pub header: String,
    /// The value.
    pub value: SecretString,
}

impl Serialize for HeaderValue {
    /// For the digest that tells a repeated request from another, and for nothing else. It is no place for secrets, however
    /// scrambled: they are compared with what was kept.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.tool, &self.header).serialize(serializer)
    }
}

/// What to change of an agent; `None` stays.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "named like the agent's fields")]
pub struct AgentPatch {
    pub display_name: Option<String>,
    pub instructions: Option<String>,
    pub engine: Option<Engine>,
    pub reply_policy: Option<ReplyPolicy>,
    pub profile: ProfilePatch,
    pub active: Option<bool>,
    pub budgets: Option<Vec<Budget>>,
    pub on_budget_exhausted: Option<OnFailure>,
}

/// What to change of an agent's profile; `None` stays.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "named like the profile's fields")]
pub struct ProfilePatch {
    pub time_zone: Option<String>,
    pub history: Option<HistoryWindow>,
    pub languages: Option<(Vec<String>, String)>,
    pub schedule: Option<Option<Schedule>>,
    pub toolbox: Option<(Option<Vec<ToolChoice>>, Vec<HttpTool>)>,
    pub fallback_engine: Option<Option<Engine>>,
    pub crm: Option<CrmContext>,
    pub header_values: Vec<HeaderValue>,
}

impl ProfilePatch {
    fn apply(self, profile: &mut Profile) {
        if let Some(time_zone) = self.time_zone {
            profile.time_zone = time_zone;
        }
        if let Some(history) = self.history {
            profile.history = history;
        }
        if let Some((codes, default)) = self.languages {
            (profile.languages, profile.default_language) = (codes, default);
        }
        if let Some(schedule) = self.schedule {
            profile.schedule = schedule;
        }
        if let Some((tools, http)) = self.toolbox {
            (profile.tools, profile.http_tools) = (tools, http);
        }
        if let Some(engine) = self.fallback_engine {
            profile.fallback_engine = engine;
        }
        if let Some(crm) = self.crm {
            profile.crm = crm;
        }
    }
}

pub(crate) fn not_found(id: AgentId) -> Refusal {
    Refusal::not_found(Reason::AgentNotFound, "agent", id)
}

/// Stands where an engine is missing, for as long as that is being refused.
fn nobody() -> Engine {
    Engine {
        vendor: String::new(),
        integration: None,
        model: String::new(),
        temperature: None,
        max_output_tokens: None,
        settings: serde_json::Value::Null,
        price: None,
    }
}

/// Who writes for an agent, first to last, and where they stand in a request.
fn engines_of(agent: &Agent) -> impl Iterator<Item = (&Engine, &'static str)> {
    std::iter::once((&agent.engine, "agent.engine"))
        .chain(agent.profile.fallback_engine.iter().map(|engine| (engine, "agent.fallback_engine")))
}

fn headers_of(agent: &Agent) -> impl Iterator<Item = (&HttpTool, &String)> {
    agent.profile.http_tools.iter().flat_map(|tool| tool.headers.iter().map(move |header| (tool, header)))
}

fn given<'a>(values: &'a [HeaderValue], tool: &HttpTool, header: &str) -> Option<&'a HeaderValue> {
    values.iter().find(|it| it.tool == tool.name && it.header == header)
}

/// Names the headers of an agent's tools that have no value, or none that can be sent. `known`: what was given before.
fn check_headers(agent: &Agent, known: &[AgentSecret], values: &[HeaderValue]) -> Result<(), Refusal> {
    let mut violations = Violations::default();
    for (number, tool) in agent.profile.http_tools.iter().enumerate() {
        for (place, header) in tool.headers.iter().enumerate() {
            let field = format!("agent.toolbox.http[{number}].headers[{place}].value");
            if let Some(given) = given(values, tool, header) {
                let value = given.value.expose_secret();
                let usable = http::HeaderValue::try_from(value).is_ok() && value.len() <= 8_192;
                violations.require(usable, &field, "must be the value of a header, up to 8,192 bytes");
            } else {
                let name = tools::secret_name(tool, header);
                let kept = known.iter().any(|known| known.name == name);
                violations.require(kept, &field, "is required: it is new, or the tool leads to another host");
            }
        }
    }
    violations.finish()
}

impl App {
    /// Names all that is wrong with an agent, but for the addresses of its tools. `engine`: whether it has one.
    fn check_agent(&self, agent: &Agent, engine: bool) -> Result<(), Refusal> {
        let mut violations = Violations::default();
        violations.require(engine, "agent.engine", "is required");
        if engine {
            self.check_engine(&mut violations, "agent.engine", &agent.engine);
        }
        if let Some(fallback) = &agent.profile.fallback_engine {
            self.check_engine(&mut violations, "agent.fallback_engine", fallback);
        }
        check_name(&mut violations, "agent.display_name", &agent.display_name);
        violations.require(
            agent.instructions.len() <= 65_536 && !agent.instructions.contains('\0'),
            "agent.instructions",
            "may have up to 65,536 bytes, without U+0000",
        );
        if let Err(problem) = template::check(&agent.instructions) {
            violations.add("agent.instructions", problem);
        }
        agent.reply_policy.check(&mut violations, "agent.reply_policy");
        budgets::check_agent(&mut violations, agent);
        violations.require(
            agent.on_budget_exhausted != OnFailure::FallbackText
                || !agent.reply_policy.fallback_text.is_empty(),
            "agent.on_budget_exhausted",
            "needs agent.reply_policy.fallback_text for FALLBACK_TEXT",
        );
        agent.profile.check(&mut violations, "agent");
        tools::check(&mut violations, agent);
        violations.finish()
    }

    fn check_engine(&self, violations: &mut Violations, at: &str, engine: &Engine) {
        violations.require(
            engine.temperature.is_none_or(|value| (0.0..=2.0).contains(&value)),
            &format!("{at}.temperature"),
            "must be 0 to 2, or not set",
        );
        violations.require(
            engine.max_output_tokens.is_none_or(|value| (1..=1_000_000).contains(&value)),
            &format!("{at}.max_output_tokens"),
            "must be 1 to 1,000,000, or not set",
        );
        if let Some(price) = &engine.price {
            price.check(violations, &format!("{at}.price"));
        }
        violations.require(
            engine.model.len() <= 200 && !engine.model.contains('\0'),
            &format!("{at}.model"),
            "may have up to 200 bytes, without U+0000",
        );
        if let Some(model) = self.inner.vendors.get(&engine.vendor).and_then(|vendor| vendor.engine.as_ref())
        {
            for bad in model.check_settings(&engine.settings).err().unwrap_or_default() {
                violations.add(format!("{at}.{}", bad.field), bad.detail);
            }
        } else {
            violations.add(format!("{at}.vendor"), self.engines_are());
        }
    }

    /// Says which vendors are engines.
    pub(crate) fn engines_are(&self) -> String {
        let engines = self.inner.vendors.iter().filter(|vendor| vendor.engine.is_some());
        let known: Vec<_> = engines.map(|vendor| vendor.id).collect();
        format!("must be one of: {}", known.join(", "))
    }

    /// Checks the integrations that an agent's engines are asked over.
    async fn check_integrations(
        &self,
        tx: &mut store::Tx,
        workspace: WorkspaceId,
        agent: &Agent,
    ) -> Result<(), Error> {
        for (engine, field) in engines_of(agent) {
            self.check_integration_of(tx, workspace, engine, field).await?;
        }
        self.check_crm_of(tx, workspace, &agent.profile.crm).await
    }

    /// Checks where an agent's own tools lead; names are asked, so no transaction may be open.
    async fn check_targets(&self, tools: &[HttpTool]) -> Result<(), Refusal> {
        for (number, tool) in tools.iter().enumerate() {
            let checked = self.inner.callers.tools.check_target(&tool.url).await;
            checked.map_err(|(reason, detail)| {
                Refusal::field(reason, &format!("agent.toolbox.http[{number}].url"), detail)
            })?;
        }
        Ok(())
    }

    /// Keeps what the headers of an agent's tools say: what is given now is sealed, what was given before stays for as long as
    /// the tool leads to the same place, so that nobody who may change an agent can have its secrets sent elsewhere.
    async fn keep_headers(
        &self,
        tx: &mut store::Tx,
        workspace: WorkspaceId,
        agent: &Agent,
        values: &[HeaderValue],
    ) -> Result<(), Error> {
        let known = store::agent_secrets::list(tx, workspace, agent.id, "").await?;
        check_headers(agent, &known, values)?;
        let mut names = Vec::new();
        for (tool, header) in headers_of(agent) {
            let name = tools::secret_name(tool, header);
            if let Some(given) = given(values, tool, header) {
                let id = self.id();
                let sealed = self.inner.sealer.seal(workspace, id, tools::SECRET_PLACE, &given.value)?;
                let secret = AgentSecret { id, name: name.clone(), sealed };
                store::agent_secrets::put(tx, workspace, agent.id, &secret).await?;
            }
            names.push(name);
        }
        store::agent_secrets::keep(tx, workspace, agent.id, &names).await?;
        Ok(())
    }

    /// Whether headers say what is kept of them. Compared in constant time.
    fn same_headers(
        &self,
        workspace: WorkspaceId,
        agent: &Agent,
        known: &[AgentSecret],
        values: &[HeaderValue],
    ) -> Result<bool, Error> {
        for (tool, header) in headers_of(agent) {
            let name = tools::secret_name(tool, header);
            let known = known.iter().find(|known| known.name == name);
            let (Some(known), Some(given)) = (known, given(values, tool, header)) else { continue };
            let kept = self.inner.sealer.open(workspace, known.id, tools::SECRET_PLACE, &known.sealed)?;
            let (kept, given) = (kept.expose_secret().as_bytes(), given.value.expose_secret().as_bytes());
            if !bool::from(kept.ct_eq(given)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The agent that is asked for, checked but for its integrations and its tools' headers. Names are asked, so no transaction
    /// may be open.
    async fn new_agent(&self, new: &NewAgent, id: AgentId, token_suffix: String) -> Result<Agent, Refusal> {
        let now = self.now();
        let agent = Agent {
            id,
            display_name: new.display_name.clone(),
            instructions: new.instructions.clone(),
            engine: new.engine.clone().unwrap_or_else(nobody),
            reply_policy: new.reply_policy.clone(),
            profile: new.profile.clone(),
            active: new.active,
            budgets: new.budgets.clone(),
            on_budget_exhausted: new.on_budget_exhausted,
            token_suffix,
            created_at: now,
            updated_at: now,
        };
        self.check_agent(&agent, new.engine.is_some())?;
        self.check_targets(&agent.profile.http_tools).await?;
        Ok(agent)
    }

    /// Checks a draft as it would be on saving. `saved`: the agent that it stands for.
    pub(crate) async fn draft(
        &self,
        workspace: WorkspaceId,
        new: &NewAgent,
        saved: Option<&Agent>,
    ) -> Result<Agent, Error> {
        let id = saved.map_or_else(|| self.id(), |saved| saved.id);
        let agent = self.new_agent(new, id, String::new()).await?;
        let mut tx = self.store().workspace(workspace).await?;
        self.check_integrations(&mut tx, workspace, &agent).await?;
        let known = store::agent_secrets::list(&mut tx, workspace, id, "").await?;
        store::commit(tx).await?;
        check_headers(&agent, &known, &new.header_values)?;
        Ok(agent)
    }

    /// Creates an agent and gives its token, once: a repeat by `request_id` gets none.
    pub async fn create_agent(
        &self,
        caller: &Caller,
        new: NewAgent,
        request_id: &str,
    ) -> Result<(Agent, Option<SecretString>), Error> {
        let workspace = caller.require(Service::Agents, Level::Write)?;
        let id: AgentId = self.id();
        let token = token::issue(TokenKind::Agent, workspace);
        let agent = self.new_agent(&new, id, token.suffix).await?;
        let mut tx = self.store().workspace(workspace).await?;
        let first: Option<AgentId> =
            self.once(&mut tx, workspace, request_id, "CreateAgent", &new, id.0).await?;
        if let Some(first) = first {
            let agent = store::agents::find(&mut tx, workspace, first, false).await?;
            let agent = agent.ok_or_else(|| not_found(first))?;
            let known = store::agent_secrets::list(&mut tx, workspace, first, "").await?;
            if agent.updated_at == agent.created_at
                && !self.same_headers(workspace, &agent, &known, &new.header_values)?
            {
                let detail = "was used before with another request; use a fresh one";
                return Err(Refusal::field(Reason::RequestIdReused, "request_id", detail).into());
            }
            return Ok((agent, None));
        }
        self.check_integrations(&mut tx, workspace, &agent).await?;
        store::agents::insert(&mut tx, workspace, &agent, token.hash).await?;
        self.keep_headers(&mut tx, workspace, &agent, &new.header_values).await?;
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
        if let Some((_, http_tools)) = &patch.profile.toolbox {
            self.check_targets(http_tools).await?;
        }
        let mut tx = self.store().workspace(workspace).await?;
        let mut agent =
            store::agents::find(&mut tx, workspace, id, true).await?.ok_or_else(|| not_found(id))?;
        let header_values = patch.profile.header_values.clone();
        let toolbox_changes = patch.profile.toolbox.is_some();
        patch.profile.apply(&mut agent.profile);
        agent.display_name = patch.display_name.unwrap_or(agent.display_name);
        agent.instructions = patch.instructions.unwrap_or(agent.instructions);
        agent.engine = patch.engine.unwrap_or(agent.engine);
        agent.reply_policy = patch.reply_policy.unwrap_or(agent.reply_policy);
        agent.active = patch.active.unwrap_or(agent.active);
        agent.budgets = patch.budgets.unwrap_or(agent.budgets);
        agent.on_budget_exhausted = patch.on_budget_exhausted.unwrap_or(agent.on_budget_exhausted);
        agent.updated_at = self.now();
        self.check_agent(&agent, true)?;
        self.check_integrations(&mut tx, workspace, &agent).await?;
        if toolbox_changes {
            self.keep_headers(&mut tx, workspace, &agent, &header_values).await?;
        }
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
