//! Whatever is wrong is said clearly, and nothing is half-written.

use serde_json::{Value, json};
use switchboard_sdk::v1;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::harness::{Receiver, World, reason};

#[tokio::test]
async fn bad_tokens_and_wrong_channels() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let other = world.route(&receiver, json!({})).await;
    let path = "/api/webhook/new_message";
    let body = route.message(Some("m1"), "hello").to_string();
    let token = format!("Bearer {}", route.agent_token);

    let answer = world.post(path, &[], body.clone()).await;
    answer.problem(401, "AUTH_MISSING");
    assert!(answer.json()["detail"].as_str().unwrap().contains("x-chatbot_auth_token header is required"));
    let answer = world.post(path, &[("x-chatbot_auth_token", &route.agent_token)], body.clone()).await;
    answer.problem(401, "AUTH_MALFORMED");
    assert!(answer.json()["detail"].as_str().unwrap().contains("Invalid authorization header format"));
    for unknown in ["Bearer nobody", &format!("{token}x"), &format!("Bearer {}", world.key)] {
        let answer = world.post(path, &[("x-chatbot_auth_token", unknown)], body.clone()).await;
        answer.problem(401, "TOKEN_UNKNOWN");
        assert!(answer.json()["detail"].as_str().unwrap().contains("not found"));
        assert!(!answer.text.contains(unknown.trim_start_matches("Bearer ")), "the token is never echoed");
    }
    let headers = [("x-chatbot_auth_token", token.as_str())];
    let foreign = other.message(Some("m1"), "hello").to_string();
    world.post(path, &headers, foreign).await.problem(404, "CHANNEL_NOT_FOUND");
    // What is no id names an unknown channel, too.
    for nobody in ["0198c0de-0000-7000-8000-000000000004", "nowhere", "nowhere/room"] {
        let mut unknown = route.message(Some("m1"), "hello");
        unknown["chat_id"] = json!(nobody);
        world.post(path, &headers, unknown.to_string()).await.problem(404, "CHANNEL_NOT_FOUND");
    }

    let bearer = format!("Bearer {}", world.key);
    let channel = format!("/api/channels/{}", route.channel_id);
    let off = Some(json!({ "is_active": false }).to_string().into());
    let answer = world.call(reqwest::Method::PUT, &channel, &[("authorization", &bearer)], off).await;
    assert_eq!((answer.status, &answer.json()["is_active"]), (200, &json!(false)));
    world.post(path, &headers, body.clone()).await.problem(409, "CHANNEL_INACTIVE");
    assert!(world.said(&route).await.is_empty(), "nothing of all this was written");
    assert!(receiver.received().is_empty());
    world.stop().await;
}

#[tokio::test]
async fn every_field_of_a_bad_body_is_named() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let token = format!("Bearer {}", route.agent_token);
    let headers = [("x-chatbot_auth_token", token.as_str())];
    let path = "/api/webhook/new_message";
    let good = route.message(Some("m1"), "hello");
    let with = |name: &str, value: Value| {
        let mut body = good.clone();
        body[name] = value;
        body.to_string().into_bytes()
    };
    let deep = format!("{{\"chat_id\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000)).into_bytes();
    let cases: Vec<(Vec<u8>, &[&str])> = vec![
        (b"{}".to_vec(), &["chat_id", "text", "message_sender"]),
        (b"not json".to_vec(), &["body"]),
        (b"".to_vec(), &["body"]),
        (b"[]".to_vec(), &["body"]),
        (b"{\"text\": \"\xff\xfe\"}".to_vec(), &["body"]),
        (deep, &["body"]),
        (with("text", json!("")), &["text"]),
        (with("text", json!(7)), &["text"]),
        (with("text", json!("a\0b")), &["text"]),
        (with("text", json!("x".repeat(65_537))), &["text"]),
        (with("message_sender", json!("robot")), &["message_sender"]),
        (with("message_id", json!(7)), &["message_id"]),
        (with("message_id", json!("x".repeat(257))), &["message_id"]),
        (with("chat_id", json!("")), &["chat_id"]),
        (with("chat_id", json!(7)), &["chat_id"]),
        (with("chat_id", json!(format!("{}/", route.channel_id))), &["chat_id"]),
        (with("chat_id", json!("x".repeat(257))), &["chat_id"]),
    ];
    for (body, fields) in cases {
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        let answer = world.post(path, &headers, body).await;
        assert_eq!(answer.problem(422, "FIELD_INVALID"), fields, "{shown}");
    }
    let answer = world.post(path, &[headers[0], ("content-type", "text/plain")], good.to_string()).await;
    answer.problem(415, "CONTENT_TYPE_UNSUPPORTED");
    let large = with("padding", json!("x".repeat(300_000)));
    world.post(path, &headers, large).await.problem(413, "BODY_TOO_LARGE");
    assert!(world.said(&route).await.is_empty(), "nothing of all this was written");

    let bearer = format!("Bearer {}", world.key);
    let channels = |body: Value| {
        let world = &world;
        let bearer = bearer.clone();
        async move { world.post("/api/channels", &[("authorization", &bearer)], body.to_string()).await }
    };
    let answer = channels(json!({ "is_active": "yes" })).await;
    assert_eq!(answer.problem(422, "FIELD_INVALID"), ["name", "url", "chat_bot_id", "is_active"]);
    let answer =
        channels(json!({ "name": "x", "url": "ftp://somewhere", "chat_bot_id": route.agent_id })).await;
    assert_eq!(answer.problem(422, "FIELD_INVALID"), ["url"]);
    let answer = channels(json!({ "name": "x", "url": "https://", "chat_bot_id": route.agent_id })).await;
    assert_eq!(answer.problem(422, "FIELD_INVALID"), ["url"]);
    let unknown = "0198c0de-0000-7000-8000-000000000003";
    channels(json!({ "name": "x", "url": receiver.url(), "chat_bot_id": unknown }))
        .await
        .problem(404, "AGENT_NOT_FOUND");
    world.call(reqwest::Method::GET, "/nowhere", &[], None).await.problem(404, "ROUTE_NOT_FOUND");
    world.call(reqwest::Method::PATCH, "/api/channels", &[], None).await.problem(405, "METHOD_NOT_ALLOWED");
    world.stop().await;
}

#[tokio::test]
async fn what_a_url_says_wrong_is_a_problem_too() {
    let world = World::new().await;
    let bearer = format!("Bearer {}", world.key);
    let call = async |method: reqwest::Method, path: &str| {
        world.call(method, path, &[("authorization", &bearer)], Some("{}".into())).await
    };
    for (query, fields) in [
        ("active=true&active=false", &["active"][..]),
        ("active=true&active=true", &["active"]),
        ("chat_bot_id=&chat_bot_id=x&active=maybe", &["chat_bot_id", "active"]),
        ("chat_bot_id=%FF&active=%zz", &["chat_bot_id", "active"]),
    ] {
        let answer = call(reqwest::Method::GET, &format!("/api/channels?{query}")).await;
        assert_eq!(answer.problem(422, "FIELD_INVALID"), fields, "{query}");
    }
    for method in [reqwest::Method::GET, reqwest::Method::PUT, reqwest::Method::DELETE] {
        call(method, "/api/channels/%FF").await.problem(404, "CHANNEL_NOT_FOUND");
    }
    call(reqwest::Method::GET, "/api/channels/%C3%28/dialogue").await.problem(404, "CHANNEL_NOT_FOUND");
    call(reqwest::Method::POST, "/hooks/%FF").await.problem(404, "CHANNEL_NOT_FOUND");
    // The key is asked for first, whatever the rest looks like.
    world
        .call(reqwest::Method::GET, "/api/channels/%FF?active=1&active=1", &[], None)
        .await
        .problem(401, "AUTH_MISSING");
    world.stop().await;
}

#[tokio::test]
async fn a_slow_body_is_given_up() {
    let world = World::with(&[("SWITCHBOARD_BODY_TIMEOUT_SECONDS", "1")]).await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let addr = world.url("").trim_start_matches("http://").to_owned();
    let mut stream = tokio::net::TcpStream::connect(addr).await.unwrap();
    let head = format!(
        "POST /api/webhook/new_message HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\
         x-chatbot_auth_token: Bearer {}\r\n\r\n{{\"text\":",
        route.agent_token
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4_096];
    let read = stream.read(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("BODY_TIMEOUT"), "{answer}");
    world.stop().await;
}

#[tokio::test]
async fn private_targets_are_refused_unless_allowed() {
    let world = World::with(&[("SWITCHBOARD_ALLOW_PRIVATE_TARGETS", "none")]).await;
    let grpc = world.grpc().await;
    let engine = Some(v1::Engine { vendor: "mock".to_owned(), ..v1::Engine::default() });
    let agent = Some(v1::Agent { display_name: "A".to_owned(), engine, ..v1::Agent::default() });
    let made =
        grpc.agents().create_agent(v1::CreateAgentRequest { agent, ..Default::default() }).await.unwrap();
    let agent_id = made.into_inner().agent.unwrap().id;
    for url in ["http://127.0.0.1:9/", "http://10.0.0.7/", "http://[::1]/", "http://169.254.169.254/latest"] {
        let channel = Some(v1::Channel {
            display_name: "C".to_owned(),
            agent_id: agent_id.clone(),
            url: url.to_owned(),
            ..v1::Channel::default()
        });
        let request = v1::CreateChannelRequest { channel, request_id: String::new() };
        let refused = grpc.channels().create_channel(request).await.unwrap_err();
        assert_eq!(
            reason(&refused),
            ("TARGET_FORBIDDEN".to_owned(), vec!["channel.url".to_owned()]),
            "{url}"
        );
    }
    world.stop().await;
}

#[tokio::test]
async fn grpc_names_what_is_wrong() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    world.route(&receiver, json!({})).await;
    let grpc = world.grpc().await;

    let refused = grpc.agents().get_agent(v1::GetAgentRequest { id: "x".to_owned() }).await.unwrap_err();
    assert_eq!(reason(&refused), ("FIELD_INVALID".to_owned(), vec!["id".to_owned()]));
    let update = |paths: &[&str]| v1::UpdateAgentRequest {
        agent: Some(v1::Agent { id: route.agent_id.clone(), ..v1::Agent::default() }),
        update_mask: Some(prost_types::FieldMask {
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        }),
    };
    for paths in [&["nickname"][..], &[][..]] {
        let refused = grpc.agents().update_agent(update(paths)).await.unwrap_err();
        assert_eq!(reason(&refused), ("FIELD_MASK_INVALID".to_owned(), vec!["update_mask".to_owned()]));
    }
    let engine = v1::Engine { vendor: "oracle".to_owned(), temperature: Some(9.0), ..v1::Engine::default() };
    let agent = v1::Agent { engine: Some(engine), ..v1::Agent::default() };
    let request = v1::CreateAgentRequest { agent: Some(agent), request_id: String::new() };
    let (why, fields) = reason(&grpc.agents().create_agent(request).await.unwrap_err());
    assert_eq!(why, "FIELD_INVALID");
    // In the order in which they are looked at.
    assert_eq!(fields, ["agent.engine.temperature", "agent.engine.vendor", "agent.display_name"]);
    let agent = v1::Agent { instructions: "x".repeat(65_537), ..v1::Agent::default() };
    let request = v1::CreateAgentRequest { agent: Some(agent), request_id: String::new() };
    let (_, fields) = reason(&grpc.agents().create_agent(request).await.unwrap_err());
    assert_eq!(fields, ["agent.engine", "agent.display_name", "agent.instructions"]);
    let channel =
        v1::Channel { agent_id: "nobody".to_owned(), vendor: "pigeon".to_owned(), ..v1::Channel::default() };
    let request = v1::CreateChannelRequest { channel: Some(channel), request_id: String::new() };
    let (_, fields) = reason(&grpc.channels().create_channel(request).await.unwrap_err());
    // What else a channel needs is its vendor's business.
    assert_eq!(fields, ["channel.agent_id", "channel.display_name", "channel.vendor"]);
    let channel = v1::Channel { vendor: "generic_http".to_owned(), ..v1::Channel::default() };
    let request = v1::CreateChannelRequest { channel: Some(channel), request_id: String::new() };
    let (_, fields) = reason(&grpc.channels().create_channel(request).await.unwrap_err());
    assert_eq!(fields, ["channel.agent_id", "channel.display_name", "channel.url"]);

    let list = |page_token: String, agent_id: &str| v1::ListChannelsRequest {
        page_size: 1,
        page_token,
        agent_id: agent_id.to_owned(),
        active: None,
    };
    let first = grpc.channels().list_channels(list(String::new(), "")).await.unwrap().into_inner();
    assert!(!first.next_page_token.is_empty());
    assert!(grpc.channels().list_channels(list(first.next_page_token.clone(), "")).await.is_ok());
    let refused =
        grpc.channels().list_channels(list(first.next_page_token, &route.agent_id)).await.unwrap_err();
    assert_eq!(reason(&refused), ("PAGE_TOKEN_INVALID".to_owned(), vec!["page_token".to_owned()]));

    let refused =
        grpc.agents().delete_agent(v1::DeleteAgentRequest { id: route.agent_id.clone() }).await.unwrap_err();
    assert_eq!(reason(&refused).0, "AGENT_IN_USE");
    let nobody = world.grpc_as("sbk_nobody").await;
    let refused = nobody.agents().list_agents(v1::ListAgentsRequest::default()).await.unwrap_err();
    assert_eq!(reason(&refused).0, "TOKEN_UNKNOWN");
    world.stop().await;
}

/// An id of the caller's choice.
fn request_id(number: u8) -> String {
    format!("6f1f8a3e-2f0c-4f0e-9d6a-0000000000{number:02}")
}

#[track_caller]
fn reused<T: std::fmt::Debug>(answer: Result<T, tonic::Status>) {
    let refused = answer.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::AlreadyExists);
    assert_eq!(reason(&refused), ("REQUEST_ID_REUSED".to_owned(), vec!["request_id".to_owned()]));
}

#[tokio::test]
async fn a_request_id_makes_a_creation_safe_to_repeat() {
    let world = World::new().await;
    let grpc = world.grpc().await;
    let create = |name: &str| v1::CreateAgentRequest {
        agent: Some(v1::Agent {
            display_name: name.to_owned(),
            engine: Some(v1::Engine { vendor: "mock".to_owned(), ..v1::Engine::default() }),
            ..v1::Agent::default()
        }),
        request_id: request_id(1),
    };
    let first = grpc.agents().create_agent(create("A")).await.unwrap().into_inner();
    let again = grpc.agents().create_agent(create("A")).await.unwrap().into_inner();
    let agent_id = first.agent.unwrap().id;
    assert_eq!(agent_id, again.agent.unwrap().id);
    assert!(!first.token.is_empty() && again.token.is_empty());
    reused(grpc.agents().create_agent(create("B")).await);
    let listed = grpc.agents().list_agents(v1::ListAgentsRequest::default()).await.unwrap().into_inner();
    assert_eq!(listed.agents.len(), 1);

    let create = |name: &str, number| v1::CreateChannelRequest {
        channel: Some(v1::Channel {
            display_name: name.to_owned(),
            agent_id: agent_id.clone(),
            url: "http://127.0.0.1:9/deliveries".to_owned(),
            ..v1::Channel::default()
        }),
        request_id: request_id(number),
    };
    // A request id is one call's: used for an agent, it is no channel's.
    reused(grpc.channels().create_channel(create("A", 1)).await);
    let first = grpc.channels().create_channel(create("A", 2)).await.unwrap().into_inner();
    let again = grpc.channels().create_channel(create("A", 2)).await.unwrap().into_inner();
    assert!(!first.token.is_empty() && !first.signing_secret.is_empty());
    assert_eq!(again, first, "its secrets can be read again, so the repeat has them, too");
    reused(grpc.channels().create_channel(create("B", 2)).await);
    let listed = grpc.channels().list_channels(v1::ListChannelsRequest::default()).await.unwrap();
    assert_eq!(listed.into_inner().channels.len(), 1);
    world.stop().await;
}

#[tokio::test]
async fn a_request_id_makes_keys_and_workspaces_safe_to_repeat() {
    let world = World::new().await;
    let operator = world.grpc_as(&world.operator).await;
    let create = |name: &str| v1::CreateWorkspaceRequest {
        workspace: Some(v1::Workspace { display_name: name.to_owned(), ..v1::Workspace::default() }),
        request_id: request_id(1),
    };
    let first = operator.workspaces().create_workspace(create("A")).await.unwrap().into_inner();
    let again = operator.workspaces().create_workspace(create("A")).await.unwrap().into_inner();
    assert_eq!(again, first);
    reused(operator.workspaces().create_workspace(create("B")).await);
    let listed = operator.workspaces().list_workspaces(v1::ListWorkspacesRequest::default()).await.unwrap();
    assert_eq!(listed.into_inner().workspaces.len(), 2, "the first start's, and this");

    let workspace_id = first.workspace.unwrap().id;
    let create = |scopes: &[&str], number| v1::CreateApiKeyRequest {
        workspace_id: workspace_id.clone(),
        api_key: Some(v1::ApiKey {
            display_name: "laptop".to_owned(),
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
            ..v1::ApiKey::default()
        }),
        request_id: request_id(number),
    };
    let made = operator.workspaces().create_api_key(create(&["agents:read", "channels:read"], 1)).await;
    let first = made.unwrap().into_inner();
    // The order of scopes says nothing, so it is the same request.
    let made = operator.workspaces().create_api_key(create(&["channels:read", "agents:read"], 1)).await;
    let again = made.unwrap().into_inner();
    assert_eq!(again.api_key, first.api_key);
    assert!(!first.secret.is_empty() && again.secret.is_empty(), "a key is shown once");
    let key = world.grpc_as(&first.secret).await;
    assert!(key.agents().list_agents(v1::ListAgentsRequest::default()).await.is_ok(), "the first one works");
    reused(operator.workspaces().create_api_key(create(&["agents:read"], 1)).await);
    let bad = v1::CreateApiKeyRequest { request_id: "1".to_owned(), ..create(&["agents:read"], 1) };
    let refused = operator.workspaces().create_api_key(bad).await.unwrap_err();
    assert_eq!(reason(&refused), ("FIELD_INVALID".to_owned(), vec!["request_id".to_owned()]));

    let count = async || {
        let request = v1::ListApiKeysRequest {
            workspace_id: workspace_id.clone(),
            ..v1::ListApiKeysRequest::default()
        };
        operator.workspaces().list_api_keys(request).await.unwrap().into_inner().api_keys.len()
    };
    assert_eq!(count().await, 1);
    // Many at once are one; without an id each is another.
    let repeats = futures::future::join_all((0..10).map(|_| async {
        operator.workspaces().create_api_key(create(&["agents:read"], 2)).await.unwrap().into_inner()
    }));
    let repeats = repeats.await;
    assert_eq!(repeats.iter().filter(|made| !made.secret.is_empty()).count(), 1);
    assert!(repeats.iter().all(|made| made.api_key == repeats[0].api_key));
    for _ in 0..2 {
        let request = v1::CreateApiKeyRequest { request_id: String::new(), ..create(&["agents:read"], 0) };
        assert!(!operator.workspaces().create_api_key(request).await.unwrap().into_inner().secret.is_empty());
    }
    assert_eq!(count().await, 4);

    // What the repeat shows is the record as it is now.
    let id = first.api_key.unwrap().id;
    let request = v1::RevokeApiKeyRequest { workspace_id: workspace_id.clone(), id };
    operator.workspaces().revoke_api_key(request).await.unwrap();
    let made = operator.workspaces().create_api_key(create(&["agents:read", "channels:read"], 1)).await;
    assert!(made.unwrap().into_inner().api_key.unwrap().revoke_time.is_some());
    world.stop().await;
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    let world = World::new().await;
    let grpc = world.grpc().await;
    let operator = world.grpc_as(&world.operator).await;
    let nobody = || "0198c0de-0000-7000-8000-000000000004".to_owned();
    let (mut agents, mut channels) = (grpc.agents(), grpc.channels());
    let (mut dialogues, mut webhooks) = (grpc.dialogues(), grpc.webhooks());
    let mut workspaces = operator.workspaces();
    let key = v1::RevokeApiKeyRequest { workspace_id: String::new(), id: nobody() };
    let refusals = [
        (agents.get_agent(v1::GetAgentRequest { id: nobody() }).await.map(drop), "AGENT_NOT_FOUND"),
        (channels.get_channel(v1::GetChannelRequest { id: nobody() }).await.map(drop), "CHANNEL_NOT_FOUND"),
        (
            dialogues.get_dialogue(v1::GetDialogueRequest { id: nobody() }).await.map(drop),
            "DIALOGUE_NOT_FOUND",
        ),
        (dialogues.get_turn(v1::GetTurnRequest { id: nobody() }).await.map(drop), "TURN_NOT_FOUND"),
        (
            dialogues.get_delivery(v1::GetDeliveryRequest { id: nobody() }).await.map(drop),
            "DELIVERY_NOT_FOUND",
        ),
        (
            webhooks.get_inbound_webhook(v1::GetInboundWebhookRequest { id: nobody() }).await.map(drop),
            "INBOUND_WEBHOOK_NOT_FOUND",
        ),
        (grpc.workspaces().revoke_api_key(key).await.map(drop), "API_KEY_NOT_FOUND"),
        (
            workspaces.get_workspace(v1::GetWorkspaceRequest { id: nobody() }).await.map(drop),
            "WORKSPACE_NOT_FOUND",
        ),
    ];
    for (refused, expected) in refusals {
        let status = refused.unwrap_err();
        assert_eq!((status.code(), reason(&status).0.as_str()), (tonic::Code::NotFound, expected));
        assert!(status.message().contains(&nobody()), "{}", status.message());
    }
    world.stop().await;
}

#[tokio::test]
async fn a_grpc_message_that_cannot_be_read_has_a_reason() {
    let world = World::new().await;
    // gRPC-web takes the bytes as they are; a generated client would not send these.
    let call = async |message: Vec<u8>| {
        let mut body = vec![0];
        body.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        body.extend(message);
        let answer = world
            .http
            .post(format!("http://{}/switchboard.v1.AgentsService/GetAgent", world.grpc_addr()))
            .header("authorization", format!("Bearer {}", world.key))
            .header("content-type", "application/grpc-web+proto")
            .body(body)
            .send()
            .await
            .unwrap();
        tonic::Status::from_header_map(answer.headers()).unwrap()
    };
    let field = || ("FIELD_INVALID".to_owned(), vec!["request".to_owned()]);
    assert_eq!(reason(&call(vec![0x0a, 0x02, 0xff, 0xfe]).await), field(), "the id is not UTF-8");
    assert_eq!(reason(&call(vec![0x0a, 0x7f]).await), field(), "the id is cut off");
    let long = [vec![0x0a, 0x80, 0x80, 0x80, 0x04], vec![b'x'; 8 << 20]].concat();
    assert_eq!(reason(&call(long).await).0, "BODY_TOO_LARGE");
    world.stop().await;
}
