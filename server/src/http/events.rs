//! The log as a stream: server-sent events, and a WebSocket. Both are `Watch` with another voice.

use std::{convert::Infallible, time::Duration};

use app::events::{Filter, Watched};
use axum::{
    extract::{
        RawQuery, State, WebSocketUpgrade,
        ws::{CloseFrame, Message, WebSocket, close_code, rejection::WebSocketUpgradeRejection},
    },
    response::{
        IntoResponse, Response,
        sse::{self, Sse},
    },
    routing::options,
};
use domain::{Error, Reason, error::Violations, event};
use futures::{Stream, StreamExt};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Shim, channels::caller};
use crate::{
    cors::{self, Door},
    error::Problem,
};

/// Where the browser says after which event it wants to go on.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// How long a client waits before it connects again.
const RETRY: Duration = Duration::from_secs(1);
/// How long a WebSocket's other side may take to accept a frame.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest frame that we read. Clients have nothing to say but pongs and a goodbye.
const MAX_FRAME_BYTES: usize = 4_096;

/// The stream, which scripts of browsers may read from these origins. A WebSocket needs no such permission.
pub(super) fn router(origins: &[String]) -> OpenApiRouter<Shim> {
    let door = Door {
        method: Method::GET,
        may_send: &["last-event-id", "x-request-id"],
        may_read: &["x-request-id"],
    };
    // A browser asks with OPTIONS first, and the layer answers; it is not asked about methods that a route doesn't have.
    let asked = options(|| std::future::ready(StatusCode::NO_CONTENT));
    let router = OpenApiRouter::new().routes(routes!(stream)).route("/v1/events", asked);
    router.layer(cors::layer(origins, door))
}

/// A recorded fact.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the JSON in the OpenAPI document")]
pub(super) struct EventBody {
    /// UUID of the event.
    id: String,
    /// What happened, such as `message.received`; the list stands in the contract at `Event.type`.
    r#type: String,
    /// When it happened, RFC 3339.
    timestamp: String,
    /// The place after this event: begin here to go on from it.
    cursor: String,
    /// The dialogue it is about.
    dialogue_id: Option<String>,
    /// The id of what it is about, as its type says.
    subject_id: Option<String>,
    /// The message it is about, for `message.received` and `message.replied`.
    message: Option<Value>,
    /// Further facts, by type.
    data: Value,
}

fn to_body(event: &event::Event, cursor: &str) -> String {
    let mut body = event.to_json();
    body.insert("cursor".to_owned(), json!(cursor));
    Value::Object(body).to_string()
}

/// What was asked for.
#[derive(Debug, Default, PartialEq)]
struct Asked {
    cursor: String,
    dialogue: Option<domain::DialogueId>,
    kinds: Vec<String>,
    heartbeat: Duration,
}

impl Asked {
    /// Reads the query; every bad field is named.
    fn read(query: &str) -> Result<Self, Error> {
        let mut asked = Self { heartbeat: Duration::from_secs(15), ..Self::default() };
        let mut violations = Violations::default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "cursor" => asked.cursor = value.into_owned(),
                "dialogue_id" if value.is_empty() => {}
                "dialogue_id" => match value.parse() {
                    Ok(id) => asked.dialogue = Some(id),
                    Err(_) => violations.add("dialogue_id", "must be a UUID"),
                },
                "types" => {
                    asked.kinds.extend(
                        value
                            .split(',')
                            .map(str::trim)
                            .filter(|kind| !kind.is_empty())
                            .map(ToOwned::to_owned),
                    );
                }
                "heartbeat_seconds" => match value.parse() {
                    Ok(seconds @ 1..=60) => asked.heartbeat = Duration::from_secs(seconds),
                    _ => violations.add("heartbeat_seconds", "must be 1 to 60, or not given"),
                },
                // Others' parameters (a cache breaker, say) mean nothing to us.
                _ => {}
            }
        }
        violations.finish()?;
        Ok(asked)
    }

    fn filter(&self) -> Filter {
        Filter { dialogue: self.dialogue, kinds: self.kinds.clone() }
    }
}

/// Streams events as they are recorded, as server-sent events: `id` is the cursor after the event, `event` its type,
/// `data` the event as JSON. A browser that loses the connection comes back with `Last-Event-ID` and misses nothing.
/// Heartbeats are comments; they carry an `id` as well, so that what the filter passed over is not read again. Scripts of
/// browsers may read it from the origins that the operator has set (`SWITCHBOARD_CORS_ORIGINS`), and from localhost where none is.
#[utoipa::path(get, path = "/v1/events", tag = "events", security(("api_key" = [])),
    params(("Last-Event-ID" = Option<String>, Header, description = "The last `id` that was read. Goes before `cursor`."),
        ("cursor" = Option<String>, Query, description = "Where to begin: a cursor. Not given: now. `0`: the beginning of the log."),
        ("dialogue_id" = Option<String>, Query, description = "Only events of this dialogue."),
        ("types" = Option<String>, Query, description = "Only events of these types, separated by commas; may be given several times."),
        ("heartbeat_seconds" = Option<u8>, Query, description = "How long the stream may be silent, 1 to 60. Default 15.")),
    responses((status = 200, body = EventBody, content_type = "text/event-stream"),
        (status = 401, description = "AUTH_MISSING, AUTH_MALFORMED, TOKEN_UNKNOWN"),
        (status = 403, description = "SCOPE_MISSING"),
        (status = 422, description = "CURSOR_INVALID, CURSOR_AHEAD, FIELD_INVALID")))]
pub(super) async fn stream(
    State(shim): State<Shim>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let caller = caller(&shim, &headers).await?;
    let mut asked = Asked::read(query.as_deref().unwrap_or_default())?;
    // A browser that comes back repeats the URL, with the cursor it began at; what it read last is in the header.
    if let Some(last) = headers.get(LAST_EVENT_ID).filter(|last| !last.is_empty()) {
        last.to_str().unwrap_or("not text").clone_into(&mut asked.cursor);
    }
    let events = shim.app.watch(&caller, &asked.cursor, asked.filter(), asked.heartbeat).await?;
    let first = futures::stream::once(async { Ok(sse::Event::default().retry(RETRY)) });
    let events = first.chain(events.scan((), |(), item| {
        let item = match item {
            Ok(Watched::Event(event, cursor)) => {
                let body = to_body(&event, &cursor);
                Some(sse::Event::default().id(cursor).event(&event.kind).data(body))
            }
            // An id without data is remembered, and tells the page's script nothing.
            Ok(Watched::Heartbeat(cursor)) => Some(sse::Event::default().comment("heartbeat").id(cursor)),
            // The client comes back by itself with the last id it read, and is then told what is wrong.
            Err(error) => {
                tracing::warn!(error = %error, "a stream of events ended");
                None
            }
        };
        std::future::ready(item.map(Ok::<_, Infallible>))
    }));
    // Proxies that gather answers would hold the events back.
    Ok(([("x-accel-buffering", "no")], Sse::new(events)).into_response())
}

/// Streams events as they are recorded, over a WebSocket: each is one text frame with the event as JSON. The first frame,
/// and one after each silence, is `{"type": "heartbeat", "cursor": …}`; a ping goes with it, and a client that answers none
/// within three heartbeats is cut off. Closes with 1012 when the server stops: connect again with the last cursor.
///
/// Browsers can't set headers here: they may offer the subprotocols `bearer` and the API key, in this order.
#[utoipa::path(get, path = "/v1/events/ws", tag = "events", security(("api_key" = [])),
    params(("cursor" = Option<String>, Query, description = "Where to begin: a cursor. Not given: now. `0`: the beginning of the log."),
        ("dialogue_id" = Option<String>, Query, description = "Only events of this dialogue."),
        ("types" = Option<String>, Query, description = "Only events of these types, separated by commas; may be given several times."),
        ("heartbeat_seconds" = Option<u8>, Query, description = "How long the stream may be silent, 1 to 60. Default 15."),
        ("Sec-WebSocket-Protocol" = Option<String>, Header, description = "`bearer, <API key>`, for browsers.")),
    responses((status = 101, description = "The stream begins."),
        (status = 401, description = "AUTH_MISSING, AUTH_MALFORMED, TOKEN_UNKNOWN"),
        (status = 403, description = "SCOPE_MISSING"),
        (status = 422, description = "CURSOR_INVALID, CURSOR_AHEAD, FIELD_INVALID")))]
pub(super) async fn socket(
    State(shim): State<Shim>,
    mut headers: HeaderMap,
    RawQuery(query): RawQuery,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    if !headers.contains_key(header::AUTHORIZATION)
        && let Some(bearer) = offered_key(&headers)
    {
        headers.insert(header::AUTHORIZATION, bearer);
    }
    let caller = caller(&shim, &headers).await?;
    let asked = Asked::read(query.as_deref().unwrap_or_default())?;
    let events = shim.app.watch(&caller, &asked.cursor, asked.filter(), asked.heartbeat).await?;
    let upgrade = upgrade.map_err(|_| {
        let remedy = "must ask for a WebSocket; /v1/events gives the same over plain HTTP";
        Error::field(Reason::FieldInvalid, "upgrade", remedy)
    })?;
    let open = shim.sockets.token();
    let patience = asked.heartbeat * 3;
    Ok(upgrade
        .protocols(["bearer"])
        .max_message_size(MAX_FRAME_BYTES)
        .max_frame_size(MAX_FRAME_BYTES)
        .on_upgrade(async move |socket| {
            speak(socket, events, patience).await;
            drop(open);
        }))
}

/// The key of a browser: the second of the subprotocols that it offers, behind `bearer`.
fn offered_key(headers: &HeaderMap) -> Option<HeaderValue> {
    let offered = headers.get(header::SEC_WEBSOCKET_PROTOCOL)?.to_str().ok()?;
    let (scheme, key) = offered.split_once(',')?;
    let mut value = HeaderValue::try_from(format!("{} {}", scheme.trim(), key.trim())).ok()?;
    value.set_sensitive(true);
    scheme.trim().eq_ignore_ascii_case("bearer").then_some(value)
}

async fn speak(
    mut socket: WebSocket,
    events: impl Stream<Item = Result<Watched, app::Error>>,
    patience: Duration,
) {
    let mut events = std::pin::pin!(events);
    // When the first ping was sent that nothing has answered yet.
    let mut asked_at: Option<Instant> = None;
    let goodbye = loop {
        tokio::select! {
            heard = socket.recv() => match heard {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                // Pongs and chatter alike say that somebody is there.
                Some(Ok(_)) => asked_at = None,
            },
            item = events.next() => {
                let frames = match item {
                    Some(Ok(Watched::Event(event, cursor))) => vec![Message::Text(to_body(&event, &cursor).into())],
                    Some(Ok(Watched::Heartbeat(_))) if asked_at.is_some_and(|at| at.elapsed() >= patience) => return,
                    Some(Ok(Watched::Heartbeat(cursor))) => {
                        asked_at.get_or_insert_with(Instant::now);
                        let body = json!({ "type": "heartbeat", "cursor": cursor }).to_string();
                        vec![Message::Text(body.into()), Message::Ping(bytes::Bytes::new())]
                    }
                    Some(Err(error)) => {
                        tracing::warn!(error = %error, "a stream of events ended");
                        break CloseFrame { code: close_code::ERROR, reason: "connect again with the last cursor".into() };
                    }
                    // The app ends its stream when the process stops, and only then.
                    None => break CloseFrame {
                        code: close_code::RESTART,
                        reason: "the server is stopping; connect again with the last cursor".into(),
                    },
                };
                for frame in frames {
                    // Who takes nothing would keep what waits for them in our memory.
                    if !matches!(timeout(SEND_TIMEOUT, socket.send(frame)).await, Ok(Ok(()))) {
                        return;
                    }
                }
            }
        }
    };
    let _ = timeout(SEND_TIMEOUT, socket.send(Message::Close(Some(goodbye)))).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read_and_every_bad_field_is_named() {
        let id = "0198c0de-0000-7000-8000-000000000004";
        let asked =
            Asked::read(&format!("types=a.b,c.d&types=e.f&dialogue_id={id}&cursor=0&heartbeat_seconds=3"))
                .unwrap();
        assert_eq!(asked.kinds, ["a.b", "c.d", "e.f"]);
        assert_eq!((asked.dialogue, asked.heartbeat), (id.parse().ok(), Duration::from_secs(3)));
        assert_eq!(Asked::read("").unwrap().heartbeat, Duration::from_secs(15));
        let error = Asked::read("dialogue_id=x&heartbeat_seconds=0").unwrap_err();
        assert_eq!(error.fields.len(), 2);
    }

    #[test]
    fn a_browser_s_key_is_the_second_subprotocol() {
        let offered = |text: &'static str| {
            let headers =
                HeaderMap::from_iter([(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(text))]);
            offered_key(&headers).map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(offered("bearer, sbk_1_2").as_deref(), Some("bearer sbk_1_2"));
        assert_eq!(offered("bearer"), None);
        assert_eq!(offered("chat, sbk_1_2"), None);
    }
}
