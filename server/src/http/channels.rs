//! Channels over REST: `facts` of existing installations, part A.

use app::{
    Caller, PageRequest,
    caller::bearer,
    channels::{ChannelPatch, Filter, NewChannel},
};
use axum::{
    extract::{
        Path, Query, Request, State,
        rejection::{PathRejection, QueryRejection},
    },
    response::{IntoResponse, Response},
};
use domain::{
    ChannelId, Error, Reason, channel::Channel, dialogue::Message, error::Violations, policy::DeliveryPolicy,
};
use http::{HeaderMap, StatusCode, header};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{Shim, body, json as answer};
use crate::error::Problem;

/// A channel, as existing installations know it.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the JSON in the OpenAPI document")]
pub(super) struct ChannelBody {
    /// UUID of the channel.
    id: String,
    /// A name for people, 1 to 200 characters.
    name: String,
    /// The agent's id.
    chat_bot_id: String,
    /// Where replies are posted.
    url: String,
    /// Whether it accepts messages.
    is_active: bool,
    /// The token: whole on creation, its last four characters behind an ellipsis on reads.
    token: String,
}

/// A channel to make.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the JSON in the OpenAPI document")]
pub(super) struct NewChannelBody {
    /// A name for people, 1 to 200 characters.
    name: String,
    /// The agent's id.
    chat_bot_id: String,
    /// Where replies are posted: an absolute http or https URL.
    url: String,
    /// Whether it accepts messages. Default: true.
    is_active: Option<bool>,
}

/// What to change of a channel.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the JSON in the OpenAPI document")]
pub(super) struct ChannelPatchBody {
    /// A name for people, 1 to 200 characters.
    name: Option<String>,
    /// Where replies are posted.
    url: Option<String>,
    /// Whether it accepts messages.
    is_active: Option<bool>,
}

/// A message of a dialogue.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the JSON in the OpenAPI document")]
pub(super) struct MessageBody {
    /// `ASSISTANT`, `SYSTEM`, `USER` or `EMPLOYEE`.
    role: String,
    /// What it says.
    text: String,
    /// What the outside world calls it.
    message_id: String,
}

fn to_body(channel: &Channel, token: Option<&str>) -> Value {
    json!({
        "id": channel.id,
        "name": channel.display_name,
        "chat_bot_id": channel.agent,
        "url": channel.url,
        "is_active": channel.active,
        "token": token.map_or_else(|| format!("…{}", channel.token_suffix), ToOwned::to_owned),
    })
}

/// Says the fields as REST callers know them.
fn in_rest_words(error: app::Error) -> Problem {
    let mut problem = Problem::from(error);
    for field in &mut problem.0.fields {
        let name = match field.field.as_str() {
            "channel.display_name" => "name",
            "channel.url" => "url",
            "channel.agent_id" => "chat_bot_id",
            other => other,
        };
        field.field = name.to_owned();
    }
    if let [field] = problem.0.fields.as_slice() {
        problem.0.detail = format!("{}: {}", field.field, field.detail);
    }
    problem
}

pub(super) async fn caller(shim: &Shim, headers: &HeaderMap) -> Result<Caller, Problem> {
    let header = headers.get(header::AUTHORIZATION).map(|value| value.to_str().unwrap_or_default());
    // Said here, too, so that a bad form is told apart from a missing header before the database is asked.
    if let Some(header) = header {
        bearer(header)?;
    }
    Ok(shim.app.authenticate(header).await?)
}

/// An id that is none is an unknown one.
pub(super) fn id(text: &str) -> Result<ChannelId, Problem> {
    text.parse().map_err(|_| Problem(Error::not_found(Reason::ChannelNotFound, "channel", text)))
}

/// What the framework read of a path, or its refusal, which would be plain text.
pub(super) type PathText = Result<Path<String>, PathRejection>;

/// The id in a path; one that is not even text is as unknown as any other.
pub(super) fn path_id(path: PathText) -> Result<ChannelId, Problem> {
    id(&path.map_or_else(|_| "of this path".to_owned(), |Path(text)| text))
}

/// The parameters of a query as they came: the framework's own reading refuses one given twice, in plain text.
pub(super) type Parameters = Result<Query<Vec<(String, String)>>, QueryRejection>;

/// Takes a parameter that may be missing; empty is missing.
pub(super) fn parameter(
    all: &mut Vec<(String, String)>,
    name: &str,
    violations: &mut Violations,
) -> Option<String> {
    let mut values: Vec<String> =
        all.extract_if(.., |(known, _)| known == name).map(|(_, value)| value).collect();
    if values.len() > 1 {
        violations.add(name, "is given more than once; give it once");
        return None;
    }
    values.pop().filter(|value| !value.is_empty())
}

/// Creates a channel; the token is shown in full only here.
#[utoipa::path(post, path = "/api/channels", tag = "channels", request_body = NewChannelBody,
    security(("api_key" = [])),
    responses((status = 201, body = ChannelBody), (status = 401, description = "AUTH_MISSING, AUTH_MALFORMED, TOKEN_UNKNOWN"),
        (status = 403, description = "SCOPE_MISSING"), (status = 404, description = "AGENT_NOT_FOUND"),
        (status = 422, description = "FIELD_INVALID, TARGET_FORBIDDEN")))]
pub(super) async fn create(State(shim): State<Shim>, request: Request) -> Result<Response, Problem> {
    let caller = caller(&shim, request.headers()).await?;
    let raw = body::read(request, &shim.settings).await?;
    let mut members = body::Members::parse(&raw.body)?;
    let (name, url) = (members.string("name"), members.string("url"));
    let (agent, active) = (members.id("chat_bot_id"), members.optional_bool("is_active").unwrap_or(true));
    members.finish()?;
    let delivery_policy = DeliveryPolicy::default();
    let new = NewChannel {
        mirror: None,
        display_name: name,
        agent,
        vendor: String::new(),
        url,
        integration: None,
        settings: json!({}),
        delivery_policy,
        active,
    };
    let open = shim.app.create_channel(&caller, new, "").await.map_err(in_rest_words)?;
    Ok(answer(StatusCode::CREATED, &to_body(&open.channel, Some(open.token.expose_secret()))))
}

/// Lists channels, oldest first.
#[utoipa::path(get, path = "/api/channels", tag = "channels", security(("api_key" = [])),
    params(("chat_bot_id" = Option<String>, Query, description = "Only channels of this agent."),
        ("active" = Option<bool>, Query, description = "Only active or inactive ones.")),
    responses((status = 200, body = Vec<ChannelBody>), (status = 401, description = "AUTH_MISSING, TOKEN_UNKNOWN"),
        (status = 422, description = "FIELD_INVALID")))]
pub(super) async fn list(
    State(shim): State<Shim>,
    headers: HeaderMap,
    query: Parameters,
) -> Result<Response, Problem> {
    let caller = caller(&shim, &headers).await?;
    let Query(mut query) = query.map_err(|_| {
        Error::field(Reason::FieldInvalid, "query", "must be name=value pairs with & between")
    })?;
    let mut violations = Violations::default();
    let agent = parameter(&mut query, "chat_bot_id", &mut violations).map(|id| id.parse());
    violations.require(!matches!(agent, Some(Err(_))), "chat_bot_id", "must be a UUID");
    let active = parameter(&mut query, "active", &mut violations);
    let active = match active.as_deref() {
        None => None,
        Some("true") => Some(true),
        Some("false") => Some(false),
        Some(_) => {
            violations.add("active", "must be true or false");
            None
        }
    };
    violations.finish()?;
    let filter = Filter { agent: agent.and_then(Result::ok), active };
    let mut channels = Vec::new();
    let mut page = PageRequest { size: 1_000, token: String::new() };
    loop {
        let next = shim.app.list_channels(&caller, &filter, &page).await?;
        channels.extend(next.items.iter().map(|channel| to_body(channel, None)));
        if next.next_token.is_empty() {
            return Ok(answer(StatusCode::OK, &Value::Array(channels)));
        }
        page.token = next.next_token;
    }
}

/// Reads a channel.
#[utoipa::path(get, path = "/api/channels/{channel_id}", tag = "channels", security(("api_key" = [])),
    params(("channel_id" = String, Path, description = "The channel's id.")),
    responses((status = 200, body = ChannelBody), (status = 404, description = "CHANNEL_NOT_FOUND")))]
pub(super) async fn get(
    State(shim): State<Shim>,
    channel: PathText,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = caller(&shim, &headers).await?;
    let channel = shim.app.get_channel(&caller, path_id(channel)?).await?;
    Ok(answer(StatusCode::OK, &to_body(&channel, None)))
}

/// Changes what is given of a channel.
#[utoipa::path(put, path = "/api/channels/{channel_id}", tag = "channels", request_body = ChannelPatchBody,
    security(("api_key" = [])), params(("channel_id" = String, Path, description = "The channel's id.")),
    responses((status = 200, body = ChannelBody), (status = 404, description = "CHANNEL_NOT_FOUND"),
        (status = 422, description = "FIELD_INVALID, TARGET_FORBIDDEN")))]
pub(super) async fn update(
    State(shim): State<Shim>,
    channel: PathText,
    request: Request,
) -> Result<Response, Problem> {
    let caller = caller(&shim, request.headers()).await?;
    let channel = path_id(channel)?;
    let raw = body::read(request, &shim.settings).await?;
    let mut members = body::Members::parse(&raw.body)?;
    let patch = ChannelPatch {
        display_name: members.optional_string("name"),
        url: members.optional_string("url"),
        active: members.optional_bool("is_active"),
        ..ChannelPatch::default()
    };
    members.finish()?;
    let channel = shim.app.update_channel(&caller, channel, patch).await.map_err(in_rest_words)?;
    Ok(answer(StatusCode::OK, &to_body(&channel, None)))
}

/// Deletes a channel. Its dialogues stay readable over gRPC.
#[utoipa::path(delete, path = "/api/channels/{channel_id}", tag = "channels", security(("api_key" = [])),
    params(("channel_id" = String, Path, description = "The channel's id.")),
    responses((status = 204, description = "It is gone."), (status = 404, description = "CHANNEL_NOT_FOUND")))]
pub(super) async fn delete(
    State(shim): State<Shim>,
    channel: PathText,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = caller(&shim, &headers).await?;
    shim.app.delete_channel(&caller, path_id(channel)?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Reads the dialogue of a channel, oldest message first.
#[utoipa::path(get, path = "/api/channels/{channel_id}/dialogue", tag = "channels", security(("api_key" = [])),
    params(("channel_id" = String, Path, description = "The channel's id.")),
    responses((status = 200, body = Vec<MessageBody>), (status = 404, description = "CHANNEL_NOT_FOUND")))]
pub(super) async fn dialogue(
    State(shim): State<Shim>,
    channel: PathText,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = caller(&shim, &headers).await?;
    let channel = path_id(channel)?;
    let to_body = |message: &Message| json!({ "role": message.role, "text": message.text, "message_id": message.external_id });
    let mut messages = Vec::new();
    let mut page = PageRequest { size: 1_000, token: String::new() };
    loop {
        let next = shim.app.get_channel_dialogue(&caller, channel, &page).await?;
        messages.extend(next.items.iter().map(to_body));
        if next.next_token.is_empty() {
            return Ok(answer(StatusCode::OK, &Value::Array(messages)));
        }
        page.token = next.next_token;
    }
}
