//! The log over plain HTTP: server-sent events and WebSocket.

use std::time::Duration;

use futures::StreamExt as _;
use http::{HeaderValue, header};
use serde_json::{Value, json};
use switchboard_sdk::v1;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Error as SocketError, Message, client::IntoClientRequest as _},
};

use crate::harness::{Receiver, Route, World, until};

/// One server-sent event, by the names of its fields.
#[derive(Debug, Default, Clone)]
struct Sent {
    id: String,
    kind: String,
    data: String,
    retry: Option<u64>,
    comment: bool,
}

impl Sent {
    fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap()
    }
}

/// Reads server-sent events off the wire.
struct Sse {
    response: reqwest::Response,
    rest: String,
}

impl Sse {
    async fn open(world: &World, path: &str, last: Option<&str>) -> Self {
        let mut request = world.http.get(world.url(path)).bearer_auth(&world.key);
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, rest: String::new() }
    }

    /// The next block; `None`: the stream ended.
    async fn next(&mut self) -> Option<Sent> {
        loop {
            if let Some((block, rest)) = self.rest.split_once("\n\n") {
                let mut sent = Sent::default();
                for line in block.lines() {
                    let (name, value) = line.split_once(':').unwrap();
                    let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
                    match name {
                        "id" => sent.id = value,
                        "event" => sent.kind = value,
                        "data" => sent.data.push_str(&value),
                        "retry" => sent.retry = value.parse().ok(),
                        "" => sent.comment = true,
                        other => panic!("{other}"),
                    }
                }
                let rest = rest.to_owned();
                self.rest = rest;
                return Some(sent);
            }
            let chunk = tokio::time::timeout(Duration::from_secs(20), self.response.chunk()).await.unwrap();
            self.rest.push_str(std::str::from_utf8(&chunk.ok()??).unwrap());
        }
    }

    /// The next so many real events.
    async fn events(&mut self, count: usize) -> Vec<Sent> {
        let mut events = Vec::new();
        while events.len() < count {
            let sent = self.next().await.unwrap();
            if !sent.data.is_empty() {
                events.push(sent);
            }
        }
        events
    }
}

/// A few dialogues' worth of events; gives all that the log holds, oldest first.
async fn log(world: &World, receiver: &Receiver) -> (Route, Vec<v1::Event>) {
    let route = world.route(receiver, json!({})).await;
    for text in ["one", "two", "three"] {
        world.new_message(&route, &route.message(Some(text), text)).await;
        until(|| async {
            let said = world.said(&route).await;
            said.last().filter(|last| last.starts_with("ASSISTANT") && last.contains(text)).map(drop)
        })
        .await;
    }
    let grpc = world.grpc().await;
    let events = until(|| async {
        let request = v1::ListEventsRequest { page_size: 1_000, ..v1::ListEventsRequest::default() };
        let events = grpc.events().list_events(request).await.unwrap().into_inner().events;
        let delivered = events.iter().filter(|event| event.r#type == "delivery.delivered").count();
        Some(events).filter(|_| delivered == 3)
    })
    .await;
    (route, events)
}

#[tokio::test]
async fn a_browser_that_comes_back_misses_nothing_and_repeats_nothing() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let (route, all) = log(&world, &receiver).await;
    let ids = |events: &[Sent]| {
        events.iter().map(|sent| sent.json()["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };

    let mut sse = Sse::open(&world, "/v1/events?cursor=0", None).await;
    assert_eq!(sse.next().await.unwrap().retry, Some(1_000));
    let begin = sse.next().await.unwrap();
    assert!(begin.comment && !begin.id.is_empty() && begin.data.is_empty(), "{begin:?}");
    let first = sse.events(4).await;
    for (sent, event) in first.iter().zip(&all) {
        assert_eq!((&sent.id, &sent.kind), (&event.cursor, &event.r#type));
        assert_eq!(sent.json()["cursor"], *event.cursor);
    }
    drop(sse);

    // The URL still says 0, as a browser's does; the header goes before it.
    let last = first[3].id.clone();
    let mut sse = Sse::open(&world, "/v1/events?cursor=0", Some(&last)).await;
    let second = sse.events(all.len() - 4).await;
    let seen = [ids(&first), ids(&second)].concat();
    assert_eq!(seen, all.iter().map(|event| event.id.clone()).collect::<Vec<_>>());

    // And what happens while it listens arrives, whole.
    world.new_message(&route, &route.message(Some("four"), "four")).await;
    let live = sse.events(3).await;
    let kinds: Vec<_> = live.iter().map(|sent| sent.kind.as_str()).collect();
    assert_eq!(kinds, ["message.received", "message.replied", "delivery.delivered"]);
    let received = live[0].json();
    assert_eq!(received["message"]["text"], "four");
    assert_eq!(received["message"]["external_id"], "four");
    assert!(received["timestamp"].as_str().unwrap().ends_with('Z'), "{received}");
    world.stop().await;
}

#[tokio::test]
async fn a_filter_passes_over_the_rest_and_heartbeats_carry_the_place() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let (_, all) = log(&world, &receiver).await;
    let path = "/v1/events?cursor=0&types=message.received,message.replied&heartbeat_seconds=1";
    let mut sse = Sse::open(&world, path, None).await;
    let events = sse.events(6).await;
    assert!(events.iter().all(|sent| sent.kind.starts_with("message.")), "{events:?}");
    let heartbeat = sse.next().await.unwrap();
    assert!(heartbeat.comment, "{heartbeat:?}");
    assert_eq!(heartbeat.id, all.last().unwrap().cursor, "behind all that was passed over");

    let dialogue = all.iter().find(|event| !event.dialogue_id.is_empty()).unwrap().dialogue_id.clone();
    let path = format!("/v1/events?cursor=0&dialogue_id={dialogue}");
    let first = Sse::open(&world, &path, None).await.events(1).await;
    assert_eq!(
        (first[0].kind.as_str(), first[0].json()["dialogue_id"].as_str()),
        ("dialogue.created", Some(&*dialogue))
    );
    world.stop().await;
}

#[tokio::test]
async fn what_is_wrong_is_said_before_the_stream_begins() {
    let world = World::new().await;
    let bearer = format!("Bearer {}", world.key);
    let get = async |path: &str, headers: &[(&str, &str)]| {
        world.call(reqwest::Method::GET, path, headers, None).await
    };
    let grpc = world.grpc().await;
    let workspace = grpc.workspaces().get_workspace(v1::GetWorkspaceRequest::default()).await.unwrap();
    let workspace: domain::WorkspaceId = workspace.into_inner().workspace.unwrap().id.parse().unwrap();
    let cursor = |workspace, epoch, position| domain::event::Cursor { workspace, epoch, position }.encode();
    for (cursor, reason) in [
        ("rubbish".to_owned(), "CURSOR_INVALID"),
        (cursor(uuid::Uuid::from_u128(1).into(), 1, 0), "CURSOR_INVALID"),
        (cursor(workspace, 1, 1_000_000), "CURSOR_AHEAD"),
        (cursor(workspace, 9, 0), "CURSOR_AHEAD"),
    ] {
        for path in ["/v1/events", "/v1/events/ws"] {
            let upgrade = [
                ("authorization", bearer.as_str()),
                ("connection", "upgrade"),
                ("upgrade", "websocket"),
                ("sec-websocket-version", "13"),
                ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ];
            let answer = get(&format!("{path}?cursor={cursor}"), &upgrade).await;
            assert_eq!(answer.problem(422, reason), ["cursor"], "{path}");
        }
        let headers = [("authorization", bearer.as_str()), ("last-event-id", cursor.as_str())];
        assert_eq!(get("/v1/events", &headers).await.problem(422, reason), ["cursor"]);
    }
    let answer = get("/v1/events?dialogue_id=1&heartbeat_seconds=61", &[("authorization", &bearer)]).await;
    assert_eq!(answer.problem(422, "FIELD_INVALID"), ["dialogue_id", "heartbeat_seconds"]);
    let answer = get("/v1/events/ws", &[("authorization", &bearer)]).await;
    assert_eq!(answer.problem(422, "FIELD_INVALID"), ["upgrade"]);

    for path in ["/v1/events", "/v1/events/ws"] {
        get(path, &[]).await.problem(401, "AUTH_MISSING");
        get(&format!("{path}?authorization={}", world.key), &[]).await.problem(401, "AUTH_MISSING");
        get(path, &[("authorization", "Bearer nobody")]).await.problem(401, "TOKEN_UNKNOWN");
        let operator = format!("Bearer {}", world.operator);
        get(path, &[("authorization", &operator)]).await.problem(403, "SCOPE_MISSING");
    }
    world.stop().await;
}

type Socket = WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>;

async fn socket(
    world: &World,
    path: &str,
    name: header::HeaderName,
    value: &str,
) -> Result<(Socket, http::HeaderMap), SocketError> {
    let mut request = world.url(path).replace("http://", "ws://").into_client_request().unwrap();
    request.headers_mut().insert(name, HeaderValue::from_str(value).unwrap());
    let (socket, response) = connect_async(request).await?;
    Ok((socket, response.headers().clone()))
}

/// The next text frame as JSON; `None`: closed, with this code.
async fn frame(socket: &mut Socket) -> Result<Value, u16> {
    loop {
        match tokio::time::timeout(Duration::from_secs(20), socket.next()).await.unwrap() {
            Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).unwrap()),
            Some(Ok(Message::Close(Some(frame)))) => return Err(frame.code.into()),
            Some(Ok(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_socket_tells_the_same_and_says_goodbye() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let (route, all) = log(&world, &receiver).await;
    let bearer = format!("Bearer {}", world.key);
    let (mut ws, _) = socket(&world, "/v1/events/ws?cursor=0", header::AUTHORIZATION, &bearer).await.unwrap();
    assert_eq!(frame(&mut ws).await.unwrap()["type"], "heartbeat");
    let mut cursor = String::new();
    for event in &all[..5] {
        let body = frame(&mut ws).await.unwrap();
        assert_eq!(body["id"], *event.id);
        cursor = body["cursor"].as_str().unwrap().to_owned();
    }
    drop(ws);

    // A browser: no header of its own, the key among the subprotocols.
    let path = format!("/v1/events/ws?cursor={cursor}&heartbeat_seconds=1");
    let offered = format!("bearer, {}", world.key);
    let (mut ws, headers) = socket(&world, &path, header::SEC_WEBSOCKET_PROTOCOL, &offered).await.unwrap();
    assert_eq!(headers["sec-websocket-protocol"], "bearer", "the key is not sent back");
    assert_eq!(frame(&mut ws).await.unwrap()["type"], "heartbeat");
    for event in &all[5..] {
        assert_eq!(frame(&mut ws).await.unwrap()["id"], *event.id);
    }
    assert_eq!(frame(&mut ws).await.unwrap()["type"], "heartbeat", "nothing happens");
    world.new_message(&route, &route.message(Some("four"), "four")).await;
    loop {
        let body = frame(&mut ws).await.unwrap();
        if body["type"] == "message.received" {
            assert_eq!(body["message"]["text"], "four");
            break;
        }
        assert_eq!(body["type"], "heartbeat");
    }

    let offered = "bearer, nobody";
    let refused = socket(&world, &path, header::SEC_WEBSOCKET_PROTOCOL, offered).await.unwrap_err();
    assert!(matches!(&refused, SocketError::Http(answer) if answer.status() == 401), "{refused}");

    let mut sse = Sse::open(&world, "/v1/events", None).await;
    let began = std::time::Instant::now();
    let closed = tokio::spawn(async move {
        loop {
            if let Err(code) = frame(&mut ws).await {
                return code;
            }
        }
    });
    world.stop().await;
    assert!(began.elapsed() < Duration::from_secs(10), "open streams must not hold the process");
    assert_eq!(closed.await.unwrap(), 1012);
    while sse.next().await.is_some() {}
}

#[tokio::test]
async fn who_answers_no_ping_is_cut_off() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let world = World::new().await;
    let mut stream =
        tokio::net::TcpStream::connect(world.server.as_ref().unwrap().http.unwrap()).await.unwrap();
    let request = format!(
        "GET /v1/events/ws?heartbeat_seconds=1 HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\nconnection: upgrade\r\n\
         upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        world.key
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut all = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut all)).await;
    assert!(read.is_ok(), "the connection must end");
    assert!(all.starts_with(b"HTTP/1.1 101 "));
    world.stop().await;
}

#[tokio::test]
async fn scripts_of_browsers_may_read_the_stream_from_the_origins_that_are_set() {
    let world = World::with(&[("SWITCHBOARD_CORS_ORIGINS", "https://app.example")]).await;
    let ask = async |method: reqwest::Method, origin: &str, key: &str| {
        let request = world.http.request(method.clone(), world.url("/v1/events")).header("origin", origin);
        let request = if method == reqwest::Method::OPTIONS {
            request
                .header("access-control-request-method", "GET")
                .header("access-control-request-headers", "authorization,last-event-id")
        } else {
            request.bearer_auth(key)
        };
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.headers().clone())
    };
    let (status, headers) = ask(reqwest::Method::OPTIONS, "https://app.example", "").await;
    assert_eq!(
        (status, &headers["access-control-allow-origin"]),
        (200, &"https://app.example".parse().unwrap())
    );
    let allowed = headers["access-control-allow-headers"].to_str().unwrap();
    assert!(allowed.contains("authorization") && allowed.contains("last-event-id"), "{allowed}");
    assert!(headers["access-control-allow-methods"].to_str().unwrap().contains("GET"));
    // The stream itself, and what is said in its place.
    for (key, expected) in [(world.key.as_str(), 200), ("nobody's", 401)] {
        let (status, headers) = ask(reqwest::Method::GET, "https://app.example", key).await;
        assert_eq!(
            (status, &headers["access-control-allow-origin"]),
            (expected, &"https://app.example".parse().unwrap())
        );
    }
    for method in [reqwest::Method::OPTIONS, reqwest::Method::GET] {
        let (_, headers) = ask(method, "http://localhost:3000", &world.key).await;
        assert!(!headers.contains_key("access-control-allow-origin"));
    }
    world.stop().await;

    let world = World::new().await;
    let response = world
        .http
        .get(world.url("/v1/events"))
        .header("origin", "http://localhost:3000")
        .bearer_auth(&world.key)
        .send()
        .await
        .unwrap();
    assert_eq!(response.headers()["access-control-allow-origin"], "http://localhost:3000");
    // No other route lets them in.
    let response =
        world.http.get(world.url("/healthz")).header("origin", "http://localhost:3000").send().await.unwrap();
    assert!(!response.headers().contains_key("access-control-allow-origin"));
    world.stop().await;
}
