//! What the outside world calls: `new_message`, and one route for every vendor's hooks.

use std::time::Duration;

use axum::{
    extract::{OriginalUri, Path, Request, State, rejection::PathRejection},
    response::Response,
};
use domain::{ChannelId, Error, Reason, inbound::Outcome, new_message::NewMessage};
use http::{HeaderMap, HeaderValue, StatusCode};
use secrecy::SecretString;
use serde_json::json;
use utoipa::ToSchema;

use super::{
    Shim, body,
    channels::{PathText, id, path_id},
    json as answer,
};
use crate::error::Problem;

/// The longest that a caller may wait for the answer.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// A message from outside.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the JSON in the OpenAPI document")]
pub(super) struct NewMessageBody {
    /// The caller's id of the message, which makes a repeat harmless. Missing or null: one is generated.
    message_id: Option<String>,
    /// The channel's id, or `<channel id>/<chat>`.
    chat_id: String,
    /// 1 to 65,536 bytes. May be missing where there are parts.
    text: String,
    /// `customer` or `employee`.
    message_sender: String,
    /// What it carries beside its text, up to 10.
    parts: Option<Vec<PartBody>>,
}

/// A part of a message.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the JSON in the OpenAPI document")]
pub(super) struct PartBody {
    /// `image`, `audio`, `video`, `file` or `location`.
    kind: String,
    /// An http or https URL; of a location, a geo: URI.
    url: String,
    /// Such as `image/png`.
    media_type: Option<String>,
    /// Of the file or the place.
    name: Option<String>,
}

/// The message is committed.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the JSON in the OpenAPI document")]
pub(super) struct ProcessedBody {
    /// `Message processed successfully`.
    status: String,
}

fn processed(outcome: Outcome, waited: Option<Duration>) -> Response {
    let mut response = answer(StatusCode::OK, &json!({ "status": "Message processed successfully" }));
    let headers = response.headers_mut();
    headers.insert("switchboard-outcome", HeaderValue::from_static(outcome.as_str()));
    if let Some(wait) = waited
        && let Ok(value) = HeaderValue::from_str(&format!("wait={}", wait.as_secs()))
    {
        headers.insert("preference-applied", value);
    }
    response
}

/// How long the caller wants to wait: RFC 7240, section 4.3.
fn preferred_wait(headers: &HeaderMap) -> Option<Duration> {
    headers
        .get_all("prefer")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split([',', ';']))
        .find_map(|preference| {
            let (name, value) = preference.split_once('=')?;
            let seconds: u64 = value.trim().trim_matches('"').parse().ok()?;
            name.trim().eq_ignore_ascii_case("wait").then_some(Duration::from_secs(seconds).min(LONGEST_WAIT))
        })
}

/// Accepts one message of a chat. The 200 comes when the message is committed; with `Prefer: wait=N` (at most 30), when
/// its answer is in the dialogue, or after N seconds.
#[utoipa::path(post, path = "/api/webhook/new_message", tag = "webhooks", request_body = NewMessageBody,
    security(("agent_token" = [])),
    params(("Prefer" = Option<String>, Header, description = "`wait=N`: wait N seconds at most for the answer.")),
    responses((status = 200, body = ProcessedBody),
        (status = 401, description = "AUTH_MISSING, AUTH_MALFORMED, TOKEN_UNKNOWN"),
        (status = 404, description = "CHANNEL_NOT_FOUND"), (status = 408, description = "BODY_TIMEOUT"),
        (status = 409, description = "CHANNEL_INACTIVE"), (status = 413, description = "BODY_TOO_LARGE"),
        (status = 415, description = "CONTENT_TYPE_UNSUPPORTED"), (status = 422, description = "FIELD_INVALID"),
        (status = 503, description = "OVERLOADED, UNAVAILABLE")))]
pub(super) async fn new_message(State(shim): State<Shim>, request: Request) -> Result<Response, Problem> {
    let header = request.headers().get(&shim.settings.inbound_token_header);
    let header = header.map(|value| value.to_str().unwrap_or_default().to_owned());
    let agent = shim.app.authenticate_agent(header.as_deref()).await?;
    let raw = body::read(request, &shim.settings).await?;
    let asked = preferred_wait(&raw.headers);
    let new = NewMessage::parse(&raw.body).map_err(|fields| Error::fields(Reason::FieldInvalid, fields))?;
    let channel = id(&new.channel)?;
    let accepted = shim.app.new_message(agent, channel, new.into_message(), raw).await?;
    let wait = asked.unwrap_or(shim.settings.new_message_wait);
    if !wait.is_zero() {
        shim.app.wait_for_turn(accepted.workspace, accepted.message, wait).await?;
    }
    // A conflict answers 200 as well: existing callers would otherwise send the same again for ever. The header tells.
    Ok(processed(accepted.outcome, asked))
}

/// Accepts what the vendor of a channel sends. Generic channels take the body of `new_message`, with the agent's token or
/// a Standard Webhooks signature; what can't be understood is kept and answered with 422.
#[utoipa::path(post, path = "/hooks/{channel_id}", tag = "webhooks", request_body = NewMessageBody,
    security(("agent_token" = []), ("signature" = [])),
    params(("channel_id" = String, Path, description = "The channel's id.")),
    responses((status = 200, body = ProcessedBody),
        (status = 401, description = "AUTH_MISSING, SIGNATURE_INVALID, TOKEN_UNKNOWN"),
        (status = 404, description = "CHANNEL_NOT_FOUND"),
        (status = 409, description = "CHANNEL_INACTIVE, MESSAGE_CONFLICT"), (status = 422, description = "FIELD_INVALID")))]
pub(super) async fn hook(
    State(shim): State<Shim>,
    channel: PathText,
    request: Request,
) -> Result<Response, Problem> {
    let channel = path_id(channel)?;
    let raw = body::read_any(request, &shim.settings).await?;
    let taken = shim.app.receive_hook(channel, raw).await?;
    Ok(processed(taken.outcome, None))
}

/// The channel and the secret in a path; what is not even text names no channel.
fn secret_path(path: SecretPath) -> Result<(ChannelId, SecretString), Problem> {
    let Path((channel, secret)) = path.unwrap_or_else(|_| Path(<(String, String)>::default()));
    let channel =
        channel.parse().map_err(|_| Error::new(Reason::TokenUnknown, "there is no such channel"))?;
    Ok((channel, secret.into()))
}

/// What the framework read of a path with a secret.
type SecretPath = Result<Path<(String, String)>, PathRejection>;

/// Accepts what the vendor of a channel sends that signs nothing: the secret in the path stands for the signature. What can't
/// be understood is kept, and answered with 200 all the same: the vendor would only send it again.
#[utoipa::path(post, path = "/hooks/{channel_id}/{secret}", tag = "webhooks",
    params(("channel_id" = String, Path, description = "The channel's id."),
        ("secret" = String, Path, description = "The channel's secret, shown when it was created or rotated.")),
    responses((status = 200, body = ProcessedBody), (status = 401, description = "TOKEN_UNKNOWN"),
        (status = 409, description = "CHANNEL_INACTIVE")))]
pub(super) async fn secret_hook(
    State(shim): State<Shim>,
    path: SecretPath,
    request: Request,
) -> Result<Response, Problem> {
    let (channel, secret) = secret_path(path)?;
    let raw = body::read_any(request, &shim.settings).await?;
    let taken = shim.app.receive_secret_hook(channel, &secret, raw).await?;
    Ok(processed(taken.outcome, None))
}

/// Answers a vendor that asks whether this is a channel's address before it is content with it. `HEAD` is answered alike.
#[utoipa::path(get, path = "/hooks/{channel_id}/{secret}", tag = "webhooks",
    params(("channel_id" = String, Path, description = "The channel's id."),
        ("secret" = String, Path, description = "The channel's secret.")),
    responses((status = 200, description = "It is."), (status = 401, description = "TOKEN_UNKNOWN")))]
pub(super) async fn probe_hook(State(shim): State<Shim>, path: SecretPath) -> Result<Response, Problem> {
    let (channel, secret) = secret_path(path)?;
    shim.app.check_hook_secret(channel, &secret).await?;
    Ok(answer(StatusCode::OK, &json!({})))
}

/// Accepts what the vendor of an engine calls the operator's account for: that something it worked on has ended. The vendor's
/// signature is required. Nothing is taken from the body but what it is about; the vendor is asked again.
#[utoipa::path(post, path = "/hooks/engines/{vendor}", tag = "webhooks",
    params(("vendor" = String, Path, description = "The vendor's id: `manus`.")),
    responses((status = 204), (status = 401, description = "AUTH_MISSING, SIGNATURE_INVALID"),
        (status = 404, description = "ROUTE_NOT_FOUND"), (status = 422, description = "FIELD_INVALID"),
        (status = 503, description = "UNAVAILABLE")))]
pub(super) async fn engine_hook(
    State(shim): State<Shim>,
    vendor: PathText,
    OriginalUri(uri): OriginalUri,
    request: Request,
) -> Result<StatusCode, Problem> {
    let vendor = vendor.map(|Path(text)| text).unwrap_or_default();
    let raw = body::read(request, &shim.settings).await?;
    // A signature covers the URL that was called. What stands before us may have ended TLS, so either scheme will do.
    let host = raw.headers.get(http::header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let path = uri.path_and_query().map(http::uri::PathAndQuery::as_str).unwrap_or_default();
    let urls = ["https", "http"].map(|scheme| format!("{scheme}://{host}{path}"));
    shim.app.engine_hook(&vendor, raw, &urls).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_is_read_among_other_preferences_and_bounded() {
        let wait = |value: &'static str| {
            preferred_wait(&HeaderMap::from_iter([(
                http::HeaderName::from_static("prefer"),
                HeaderValue::from_static(value),
            )]))
        };
        assert_eq!(wait("wait=5"), Some(Duration::from_secs(5)));
        assert_eq!(wait("respond-async, Wait = \"7\""), Some(Duration::from_secs(7)));
        assert_eq!(wait("wait=999"), Some(LONGEST_WAIT));
        assert_eq!(wait("wait=soon"), None);
        assert_eq!(wait("return=minimal"), None);
    }
}
