//! `AgentsService`.

use app::agents::{AgentPatch, NewAgent};
use domain::{
    Error, agent,
    cost::Price,
    policy::{NewerMessage, OnFailure, OnLate, ReplyPolicy, Takeover},
    returns::ReturnRules,
    usage::{DailyUsage, Purpose},
};
use secrecy::ExposeSecret;
use switchboard_sdk::v1::{self, agents_service_server::AgentsService};
use tonic::{Request, Response, Status};

use super::{Services, caller, convert, profiles, refuse, rehearsals};
use crate::error::to_status;

pub(super) fn to_wire(agent: agent::Agent) -> v1::Agent {
    v1::Agent {
        id: agent.id.to_string(),
        display_name: agent.display_name,
        instructions: agent.instructions,
        engine: Some(engine_to_wire(agent.engine)),
        reply_policy: Some(policy_to_wire(agent.reply_policy)),
        active: Some(agent.active),
        budgets: convert::budgets_to_wire(agent.budgets),
        on_budget_exhausted: on_failure_to_wire(agent.on_budget_exhausted).into(),
        token_suffix: agent.token_suffix,
        create_time: Some(convert::moment(agent.created_at)),
        update_time: Some(convert::moment(agent.updated_at)),
        history: Some(profiles::history_to_wire(agent.profile.history)),
        languages: profiles::languages_to_wire(agent.profile.languages, agent.profile.default_language),
        schedule: agent.profile.schedule.map(profiles::schedule_to_wire),
        toolbox: profiles::toolbox_to_wire(agent.profile.tools, agent.profile.http_tools),
        fallback_engine: agent.profile.fallback_engine.map(engine_to_wire),
        crm_context: profiles::crm_context_to_wire(agent.profile.crm),
        time_zone: agent.profile.time_zone,
    }
}

fn engine_to_wire(engine: agent::Engine) -> v1::Engine {
    v1::Engine {
        settings: Some(convert::to_struct(&engine.settings)),
        integration_id: engine.integration.map(|id| id.to_string()).unwrap_or_default(),
        vendor: engine.vendor,
        model: engine.model,
        temperature: engine.temperature,
        max_output_tokens: engine.max_output_tokens,
        price: engine.price.map(|price| v1::Price {
            currency: price.currency,
            input_micros: price.input,
            cached_input_micros: Some(price.cached_input),
            output_micros: price.output,
            credit_micros: price.credit,
        }),
    }
}

pub(super) fn engine(at: &str, wire: v1::Engine) -> Result<agent::Engine, Error> {
    Ok(agent::Engine {
        settings: convert::from_struct(&format!("{at}.settings"), wire.settings)?,
        vendor: wire.vendor,
        model: wire.model,
        temperature: wire.temperature,
        integration: convert::optional_id(&format!("{at}.integration_id"), &wire.integration_id)?,
        max_output_tokens: wire.max_output_tokens,
        price: wire.price.map(|price| Price {
            currency: price.currency,
            input: price.input_micros,
            cached_input: price.cached_input_micros.unwrap_or(price.input_micros),
            output: price.output_micros,
            credit: price.credit_micros,
        }),
    })
}

const fn on_failure_to_wire(on_failure: OnFailure) -> v1::OnFailure {
    match on_failure {
        OnFailure::StaySilent => v1::OnFailure::StaySilent,
        OnFailure::FallbackText => v1::OnFailure::FallbackText,
        OnFailure::HandOver => v1::OnFailure::HandOver,
    }
}

/// `None`: not set.
fn on_failure(field: &str, wire: i32) -> Result<Option<OnFailure>, Error> {
    Ok(convert::choice(field, wire)?.map(|wire| match wire {
        v1::OnFailure::FallbackText => OnFailure::FallbackText,
        v1::OnFailure::HandOver => OnFailure::HandOver,
        v1::OnFailure::StaySilent | v1::OnFailure::Unspecified => OnFailure::StaySilent,
    }))
}

fn policy_to_wire(policy: ReplyPolicy) -> v1::ReplyPolicy {
    v1::ReplyPolicy {
        quiet_window: Some(convert::duration(policy.quiet_window_ms)),
        longest_wait: Some(convert::duration(policy.longest_wait_ms)),
        newer_message: match policy.newer_message {
            NewerMessage::NextTurn => v1::NewerMessage::NextTurn,
            NewerMessage::Restart => v1::NewerMessage::Restart,
        }
        .into(),
        max_restarts: Some(policy.max_restarts),
        on_failure: on_failure_to_wire(policy.on_failure).into(),
        fallback_text: policy.fallback_text,
        late_after: Some(convert::duration(policy.late_after_ms)),
        on_late: match policy.on_late {
            OnLate::Answer => v1::OnLate::Answer,
            OnLate::Apologise => v1::OnLate::Apologise,
            OnLate::HandOver => v1::OnLate::HandOver,
        }
        .into(),
        apology_text: policy.apology_text,
        takeover: match policy.takeover {
            Takeover::ByDoor => v1::Takeover::ByDoor,
            Takeover::TakeControl => v1::Takeover::TakeControl,
            Takeover::RecordOnly => v1::Takeover::RecordOnly,
        }
        .into(),
        return_after: Some(convert::duration(policy.return_after_ms)),
        hand_over_notice: policy.hand_over_notice,
        return_rules: (!policy.returns.is_empty()).then(|| v1::ReturnRules {
            unanswered_after: Some(convert::duration(policy.returns.unanswered_after_ms)),
            phrases: policy.returns.phrases,
        }),
    }
}

fn policy(wire: v1::ReplyPolicy) -> Result<ReplyPolicy, Error> {
    const AT: &str = "agent.reply_policy";
    let at = |field: &str| format!("{AT}.{field}");
    let default = ReplyPolicy::default();
    let quiet_window_ms = convert::millis(wire.quiet_window).unwrap_or(default.quiet_window_ms);
    let longest_wait_ms =
        convert::millis(wire.longest_wait).unwrap_or(default.longest_wait_ms.max(quiet_window_ms));
    let newer_message = convert::choice(&at("newer_message"), wire.newer_message)?;
    let on_failure = on_failure(&at("on_failure"), wire.on_failure)?;
    let on_late = convert::choice(&at("on_late"), wire.on_late)?;
    let takeover = convert::choice(&at("takeover"), wire.takeover)?;
    Ok(ReplyPolicy {
        quiet_window_ms,
        longest_wait_ms,
        newer_message: match newer_message {
            Some(v1::NewerMessage::Restart) => NewerMessage::Restart,
            Some(v1::NewerMessage::NextTurn) => NewerMessage::NextTurn,
            _ => default.newer_message,
        },
        max_restarts: wire.max_restarts.unwrap_or(default.max_restarts),
        on_failure: on_failure.unwrap_or(default.on_failure),
        fallback_text: wire.fallback_text,
        late_after_ms: convert::millis(wire.late_after)
            .unwrap_or(default.late_after_ms.max(longest_wait_ms.min(3_600_000))),
        on_late: match on_late {
            Some(v1::OnLate::Apologise) => OnLate::Apologise,
            Some(v1::OnLate::HandOver) => OnLate::HandOver,
            Some(v1::OnLate::Answer) => OnLate::Answer,
            _ => default.on_late,
        },
        apology_text: wire.apology_text,
        takeover: match takeover {
            Some(v1::Takeover::TakeControl) => Takeover::TakeControl,
            Some(v1::Takeover::RecordOnly) => Takeover::RecordOnly,
            Some(v1::Takeover::ByDoor) => Takeover::ByDoor,
            _ => default.takeover,
        },
        return_after_ms: convert::millis(wire.return_after).unwrap_or(default.return_after_ms),
        hand_over_notice: wire.hand_over_notice,
        returns: wire
            .return_rules
            .map(|rules| ReturnRules {
                unanswered_after_ms: convert::millis(rules.unanswered_after).unwrap_or_default(),
                phrases: rules.phrases,
            })
            .unwrap_or_default(),
    })
}

fn daily_usage(usage: DailyUsage) -> v1::DailyUsage {
    v1::DailyUsage {
        day: Some(convert::moment(usage.day)),
        agent_id: usage.agent.map(|id| id.to_string()).unwrap_or_default(),
        purpose: match usage.purpose {
            Purpose::Turn => v1::UsagePurpose::Turn,
            Purpose::Preview => v1::UsagePurpose::Preview,
            Purpose::Replay => v1::UsagePurpose::Replay,
        }
        .into(),
        count: usage.count,
        usage: Some(convert::usage(usage.spent)),
    }
}

pub(super) fn new_agent(wire: Option<v1::Agent>) -> Result<NewAgent, Error> {
    let mut wire = convert::required("agent", wire)?;
    let (profile, header_values) = profiles::read(&mut wire)?;
    Ok(NewAgent {
        engine: wire.engine.map(|it| engine("agent.engine", it)).transpose()?,
        profile,
        header_values,
        reply_policy: policy(wire.reply_policy.unwrap_or_default())?,
        display_name: wire.display_name,
        instructions: wire.instructions,
        active: wire.active.unwrap_or(true),
        budgets: convert::budgets("agent.budgets", wire.budgets)?,
        on_budget_exhausted: on_failure("agent.on_budget_exhausted", wire.on_budget_exhausted)?
            .unwrap_or(OnFailure::StaySilent),
    })
}

fn patch(mut wire: v1::Agent, paths: &[String]) -> Result<AgentPatch, Error> {
    let mut patch = AgentPatch::default();
    let named = |path: &str| paths.iter().any(|each| each == path);
    if paths.iter().any(|path| profiles::FIELDS.contains(&path.as_str())) {
        let (profile, header_values) = profiles::read(&mut wire)?;
        patch.profile = profiles::patch(profile, header_values, named);
    }
    if named("engine") {
        patch.engine = Some(engine("agent.engine", convert::required("agent.engine", wire.engine)?)?);
    }
    if named("reply_policy") {
        patch.reply_policy = Some(policy(convert::required("agent.reply_policy", wire.reply_policy)?)?);
    }
    patch.display_name = named("display_name").then_some(wire.display_name);
    patch.instructions = named("instructions").then_some(wire.instructions);
    if named("active") {
        patch.active = Some(convert::required("agent.active", wire.active)?);
    }
    if named("budgets") {
        patch.budgets = Some(convert::budgets("agent.budgets", wire.budgets)?);
    }
    if named("on_budget_exhausted") {
        let chosen = on_failure("agent.on_budget_exhausted", wire.on_budget_exhausted)?;
        patch.on_budget_exhausted = Some(chosen.unwrap_or(OnFailure::StaySilent));
    }
    Ok(patch)
}

fn model(model: &domain::engine::Model) -> v1::Model {
    v1::Model {
        id: model.id.clone(),
        display_name: model.display_name.clone(),
        max_input_tokens: model.max_input_tokens,
        max_output_tokens: model.max_output_tokens,
    }
}

#[tonic::async_trait]
impl AgentsService for Services {
    async fn create_agent(
        &self,
        request: Request<v1::CreateAgentRequest>,
    ) -> Result<Response<v1::CreateAgentResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let new = new_agent(request.agent).map_err(|error| refuse(&error))?;
        let (agent, token) =
            self.app.create_agent(&caller, new, &request.request_id).await.map_err(to_status)?;
        Ok(Response::new(v1::CreateAgentResponse {
            agent: Some(to_wire(agent)),
            token: token.map(|token| token.expose_secret().to_owned()).unwrap_or_default(),
        }))
    }

    async fn get_agent(
        &self,
        request: Request<v1::GetAgentRequest>,
    ) -> Result<Response<v1::GetAgentResponse>, Status> {
        let caller = caller(&request)?;
        let id = convert::id("id", &request.get_ref().id).map_err(|error| refuse(&error))?;
        let agent = self.app.get_agent(&caller, id).await.map_err(to_status)?;
        Ok(Response::new(v1::GetAgentResponse { agent: Some(to_wire(agent)) }))
    }

    async fn list_agents(
        &self,
        request: Request<v1::ListAgentsRequest>,
    ) -> Result<Response<v1::ListAgentsResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let page = convert::page(request.page_size, request.page_token);
        let page = self.app.list_agents(&caller, &page).await.map_err(to_status)?;
        Ok(Response::new(v1::ListAgentsResponse {
            agents: page.items.into_iter().map(to_wire).collect(),
            next_page_token: page.next_token,
        }))
    }

    async fn update_agent(
        &self,
        request: Request<v1::UpdateAgentRequest>,
    ) -> Result<Response<v1::UpdateAgentResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let read = || {
            let wire = convert::required("agent", request.agent)?;
            let id = convert::id("agent.id", &wire.id)?;
            let own = [
                "display_name",
                "instructions",
                "engine",
                "reply_policy",
                "active",
                "budgets",
                "on_budget_exhausted",
            ];
            let known: Vec<_> = own.iter().chain(profiles::FIELDS).copied().collect();
            let paths = convert::mask(request.update_mask, &known)?;
            Ok((id, patch(wire, &paths)?))
        };
        let (id, patch) = read().map_err(|error: Error| refuse(&error))?;
        let agent = self.app.update_agent(&caller, id, patch).await.map_err(to_status)?;
        Ok(Response::new(v1::UpdateAgentResponse { agent: Some(to_wire(agent)) }))
    }

    async fn delete_agent(
        &self,
        request: Request<v1::DeleteAgentRequest>,
    ) -> Result<Response<v1::DeleteAgentResponse>, Status> {
        let caller = caller(&request)?;
        let id = convert::id("id", &request.get_ref().id).map_err(|error| refuse(&error))?;
        self.app.delete_agent(&caller, id).await.map_err(to_status)?;
        Ok(Response::new(v1::DeleteAgentResponse {}))
    }

    async fn list_usage(
        &self,
        request: Request<v1::ListUsageRequest>,
    ) -> Result<Response<v1::ListUsageResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let read = || {
            Ok((
                convert::optional_id("agent_id", &request.agent_id)?,
                convert::optional_moment("start_time", request.start_time)?,
                convert::optional_moment("end_time", request.end_time)?,
            ))
        };
        let (agent, start, end) = read().map_err(|error: Error| refuse(&error))?;
        let days = self.app.list_usage(&caller, agent, start, end).await.map_err(to_status)?;
        Ok(Response::new(v1::ListUsageResponse { days: days.into_iter().map(daily_usage).collect() }))
    }

    async fn preview_reply(
        &self,
        request: Request<v1::PreviewReplyRequest>,
    ) -> Result<Response<v1::PreviewReplyResponse>, Status> {
        let caller = caller(&request)?;
        let request = rehearsals::preview_request(request.into_inner()).map_err(|error| refuse(&error))?;
        let preview = self.app.preview_reply(&caller, request).await.map_err(to_status)?;
        Ok(Response::new(rehearsals::preview(preview)))
    }

    type ReplayDialoguesStream = rehearsals::ReplayStream;

    async fn replay_dialogues(
        &self,
        request: Request<v1::ReplayDialoguesRequest>,
    ) -> Result<Response<Self::ReplayDialoguesStream>, Status> {
        let caller = caller(&request)?;
        let request = rehearsals::replay_request(request.into_inner()).map_err(|error| refuse(&error))?;
        let replayed = self.app.replay_dialogues(&caller, request).await.map_err(to_status)?;
        Ok(Response::new(rehearsals::replay(replayed)))
    }

    async fn rotate_agent_token(
        &self,
        request: Request<v1::RotateAgentTokenRequest>,
    ) -> Result<Response<v1::RotateAgentTokenResponse>, Status> {
        let caller = caller(&request)?;
        let id = convert::id("id", &request.get_ref().id).map_err(|error| refuse(&error))?;
        let (agent, token) = self.app.rotate_agent_token(&caller, id).await.map_err(to_status)?;
        Ok(Response::new(v1::RotateAgentTokenResponse {
            agent: Some(to_wire(agent)),
            token: token.expose_secret().to_owned(),
        }))
    }
    async fn list_models(
        &self,
        request: Request<v1::ListModelsRequest>,
    ) -> Result<Response<v1::ListModelsResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let integration = convert::optional_id("integration_id", &request.integration_id)
            .map_err(|error| refuse(&error))?;
        let listed = self.app.list_models(&caller, request.vendor, integration, request.refresh);
        let listed = listed.await.map_err(to_status)?;
        Ok(Response::new(v1::ListModelsResponse {
            fetch_time: Some(convert::moment(listed.fetched_at)),
            models: listed.items.iter().map(model).collect(),
        }))
    }
}
