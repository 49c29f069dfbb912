//! Every reason answers as the contract's example of it says: `proto/switchboard/v1/error_reason.proto`.

use std::{collections::BTreeMap, time::Duration};

use domain::Reason;
use futures::future::join_all;
use http::StatusCode;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::Executor as _;
use switchboard_sdk::v1;
use switchboard_server::error::{DOMAIN, Problem, refusal_to_status};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::{
    fake_engine::Fake,
    harness::{Receiver, World},
    integrations::{connect, engine, fake, set_engine},
    oauth::{account, amocrm, authorized, begin, come_back},
};

/// The example bodies of the contract by reason, in its order, with the number of each.
fn examples() -> Vec<(String, i32, Value)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../proto/switchboard/v1/error_reason.proto");
    let (mut examples, mut last) = (Vec::new(), None);
    for line in std::fs::read_to_string(path).unwrap().lines().map(str::trim) {
        if line.starts_with("// {") {
            let example = serde_json::from_str(line.trim_start_matches("// "));
            let before = last.replace(example.unwrap_or_else(|error| panic!("{error}: {line}")));
            assert!(before.is_none(), "two examples in one comment: {line}");
        } else if let Some((name, number)) =
            line.strip_prefix("ERROR_REASON_").and_then(|line| line.strip_suffix(';')?.split_once(" = "))
            && name != "UNSPECIFIED"
        {
            let example = last.take().unwrap_or_else(|| panic!("{name} has no example"));
            examples.push((name.to_owned(), number.parse().unwrap(), example));
        }
    }
    examples
}

/// The refusal that an example shows.
fn refusal(reason: Reason, example: &Value) -> domain::Error {
    let mut error = domain::Error::new(reason, example["detail"].as_str().unwrap());
    for field in example["errors"].as_array().into_iter().flatten() {
        let text = |name: &str| field[name].as_str().unwrap();
        error.fields.push(domain::FieldViolation::new(text("field"), text("detail")));
    }
    for (key, value) in example["metadata"].as_object().into_iter().flatten() {
        error = error.with(key, value.as_str().unwrap());
    }
    match example["retry_after_seconds"].as_u64() {
        Some(seconds) => error.retry_after(Duration::from_secs(seconds)),
        None => error,
    }
}

/// What a status over gRPC says, as the HTTP shim would.
fn in_http_words(status: &Status) -> Value {
    let details = status.get_error_details();
    let info = details.error_info().unwrap_or_else(|| panic!("no ErrorInfo: {status:?}"));
    assert_eq!(info.domain, DOMAIN);
    let reason = Reason::ALL.iter().find(|reason| reason.as_str() == info.reason).unwrap();
    let mut error = domain::Error::new(*reason, status.message());
    for bad in details.bad_request().into_iter().flat_map(|bad| &bad.field_violations) {
        error.fields.push(domain::FieldViolation::new(&bad.field, &bad.description));
    }
    error.metadata = info.metadata.clone().into_iter().collect();
    error.retry_after = details.retry_info().and_then(|info| info.retry_delay);
    Problem(error).body()
}

#[test]
fn an_example_is_what_the_conversion_makes() {
    let examples = examples();
    let names: Vec<_> = examples.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(names, Reason::ALL.iter().map(|reason| reason.as_str()).collect::<Vec<_>>());
    for ((name, number, example), reason) in examples.iter().zip(Reason::ALL) {
        let wire = format!("ERROR_REASON_{name}");
        assert_eq!(v1::ErrorReason::from_str_name(&wire).map(i32::from), Some(*number), "{name}");
        let error = refusal(*reason, example);
        assert_eq!(Problem(error.clone()).body(), *example, "{name}");
        let status = refusal_to_status(&error);
        assert_eq!(in_http_words(&status), *example, "{name} over gRPC");
        // The pairs of google.rpc.Code, where HTTP has no finer word.
        let http = StatusCode::from_u16(u16::try_from(example["status"].as_u64().unwrap()).unwrap()).unwrap();
        let codes: &[Code] = match http {
            StatusCode::UNPROCESSABLE_ENTITY => &[Code::InvalidArgument, Code::OutOfRange],
            StatusCode::UNSUPPORTED_MEDIA_TYPE => &[Code::InvalidArgument],
            StatusCode::UNAUTHORIZED => &[Code::Unauthenticated],
            StatusCode::FORBIDDEN => &[Code::PermissionDenied],
            StatusCode::NOT_FOUND => &[Code::NotFound],
            StatusCode::CONFLICT => &[Code::AlreadyExists, Code::FailedPrecondition],
            StatusCode::PAYLOAD_TOO_LARGE => &[Code::ResourceExhausted],
            StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => &[Code::Unimplemented],
            StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => &[Code::DeadlineExceeded],
            StatusCode::SERVICE_UNAVAILABLE => &[Code::Unavailable],
            StatusCode::INTERNAL_SERVER_ERROR => &[Code::Internal],
            other => panic!("{name}: {other}"),
        };
        assert!(codes.contains(&status.code()), "{name}: {http} and {:?}", status.code());
    }
}

/// A body without what differs from one occasion to the next: ids, numbers, cursors.
fn without_particulars(body: &Value) -> Value {
    match body {
        Value::String(text) => {
            let mut out = String::new();
            for word in text.split_inclusive(|c: char| !c.is_ascii_alphanumeric() && c != '-') {
                let bare = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
                if bare.len() == 36 && bare.matches('-').count() == 4 {
                    out.push_str(&word.replace(bare, "<id>"));
                } else if !bare.is_empty() && bare.bytes().all(|byte| byte.is_ascii_digit()) {
                    out.push_str(&word.replace(bare, "<number>"));
                } else {
                    out.push_str(word);
                }
            }
            Value::String(out)
        }
        Value::Array(items) => items.iter().map(without_particulars).collect(),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| match name.as_str() {
                "cursor" => (name.clone(), json!("<cursor>")),
                _ => (name.clone(), without_particulars(value)),
            })
            .collect(),
        other => other.clone(),
    }
}

/// What the server said, by reason.
#[derive(Default)]
struct Said(BTreeMap<String, Value>);

impl Said {
    fn note(&mut self, reason: &str, body: Value) {
        assert_eq!(body["reason"], reason, "{body}");
        self.0.insert(reason.to_owned(), body);
    }

    fn refused<T: std::fmt::Debug>(&mut self, reason: &str, answer: Result<T, Status>) {
        self.note(reason, in_http_words(&answer.unwrap_err()));
    }
}

#[tokio::test]
async fn every_reason_answers_as_its_example_says() {
    let settings = [
        ("SWITCHBOARD_INBOX_CAPACITY", "2"),
        ("SWITCHBOARD_BODY_TIMEOUT_SECONDS", "1"),
        ("SWITCHBOARD_ALLOW_PRIVATE_TARGETS", "127.0.0.0/8"),
        ("SWITCHBOARD_MAX_ENDPOINTS", "1"),
    ];
    let vendor = Fake::with_key("good");
    let world = World::with_vendors(&settings, vec![vendor.vendor()]).await;
    let mut said = Said::default();
    over_grpc(&world, &mut said).await;
    of_endpoints(&world, &mut said).await;
    of_integrations(&world, &vendor, &mut said).await;
    of_crms(&world, &mut said).await;
    over_http(&world, &mut said).await;
    when_it_goes_badly(&world, &mut said).await;
    let mut drifted = Vec::new();
    for (name, _, example) in examples() {
        let body = said.0.remove(&name).unwrap_or_else(|| panic!("{name} was not provoked"));
        if without_particulars(&body) != without_particulars(&example) {
            drifted.push(format!("{example}\n  is in fact\n{body}"));
        }
    }
    assert!(drifted.is_empty(), "{}", drifted.join("\n"));
    world.stop().await;
}

fn nobody() -> String {
    "0198c0de-0000-7000-8000-000000000004".to_owned()
}

async fn over_grpc(world: &World, said: &mut Said) {
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let grpc = world.grpc().await;
    let (mut agents, mut channels) = (grpc.agents(), grpc.channels());
    let (mut dialogues, mut workspaces) = (grpc.dialogues(), grpc.workspaces());

    let request = v1::UpdateAgentRequest {
        agent: Some(v1::Agent { id: route.agent_id.clone(), ..v1::Agent::default() }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["nickname".to_owned()] }),
    };
    said.refused("FIELD_MASK_INVALID", agents.update_agent(request).await);
    let operator = world.grpc_as(&world.operator).await;
    let request = v1::AdvanceClockRequest { duration: Some(prost_types::Duration { seconds: 1, nanos: 0 }) };
    said.refused("CLOCK_NOT_SIMULATED", operator.workspaces().advance_clock(request).await);

    let channel = v1::Channel {
        display_name: "Second".to_owned(),
        agent_id: route.agent_id.clone(),
        url: receiver.url(),
        ..v1::Channel::default()
    };
    let request = v1::CreateChannelRequest { channel: Some(channel.clone()), request_id: nobody() };
    channels.create_channel(request).await.unwrap();
    let channel = Some(v1::Channel { display_name: "Third".to_owned(), ..channel });
    let request = v1::CreateChannelRequest { channel, request_id: nobody() };
    said.refused("REQUEST_ID_REUSED", channels.create_channel(request).await);
    let request = v1::DeleteAgentRequest { id: route.agent_id.clone() };
    said.refused("AGENT_IN_USE", agents.delete_agent(request).await);
    let list = v1::ListChannelsRequest { page_size: 1, ..v1::ListChannelsRequest::default() };
    let page_token = channels.list_channels(list.clone()).await.unwrap().into_inner().next_page_token;
    let list = v1::ListChannelsRequest { page_token, active: Some(true), ..list };
    said.refused("PAGE_TOKEN_INVALID", channels.list_channels(list).await);

    let events = async |cursor: String| {
        let request = v1::ListEventsRequest { cursor, ..v1::ListEventsRequest::default() };
        grpc.events().list_events(request).await
    };
    said.refused("CURSOR_INVALID", events("rubbish".to_owned()).await);
    let workspace = world.key.split('_').nth(1).unwrap().parse::<domain::WorkspaceId>().unwrap();
    let future = domain::event::Cursor { workspace, epoch: 1, position: 1_000_000 }.encode();
    said.refused("CURSOR_AHEAD", events(future).await);
    let earlier = domain::event::Cursor { workspace, epoch: 0, position: 1 }.encode();
    said.refused("CURSOR_EXPIRED", events(earlier).await);

    let api_key = v1::ApiKey {
        display_name: "reader".to_owned(),
        scopes: vec!["agents:read".to_owned()],
        ..v1::ApiKey::default()
    };
    let request = v1::CreateApiKeyRequest { api_key: Some(api_key), ..v1::CreateApiKeyRequest::default() };
    let reader = workspaces.create_api_key(request).await.unwrap().into_inner().secret;
    let request = v1::DeleteAgentRequest { id: route.agent_id.clone() };
    said.refused("SCOPE_MISSING", world.grpc_as(&reader).await.agents().delete_agent(request).await);

    let request = v1::GetWorkspaceRequest { id: nobody() };
    said.refused("WORKSPACE_NOT_FOUND", workspaces.get_workspace(request).await);
    let request = v1::RevokeApiKeyRequest { workspace_id: String::new(), id: nobody() };
    said.refused("API_KEY_NOT_FOUND", workspaces.revoke_api_key(request).await);
    let request = v1::GetAgentRequest { id: nobody() };
    said.refused("AGENT_NOT_FOUND", agents.get_agent(request).await);
    let request = v1::GetDialogueRequest { id: nobody() };
    said.refused("DIALOGUE_NOT_FOUND", dialogues.get_dialogue(request).await);
    said.refused("TURN_NOT_FOUND", dialogues.get_turn(v1::GetTurnRequest { id: nobody() }).await);
    let request = v1::GetDeliveryRequest { id: nobody() };
    said.refused("DELIVERY_NOT_FOUND", dialogues.get_delivery(request).await);
    let request = v1::GetInboundWebhookRequest { id: nobody() };
    said.refused("INBOUND_WEBHOOK_NOT_FOUND", grpc.webhooks().get_inbound_webhook(request).await);

    assert_eq!(world.new_message(&route, &route.message(Some("m1"), "hello")).await.status, 200);
    receiver.wait_for(1).await;
    let listed = dialogues.list_deliveries(v1::ListDeliveriesRequest::default()).await.unwrap();
    let id = listed.into_inner().deliveries.remove(0).id;
    let retry = v1::RetryDeliveryRequest { id: id.clone() };
    said.refused("DELIVERY_NOT_DEAD", dialogues.retry_delivery(retry).await);
    let resolution = v1::DeliveryResolution::Delivered.into();
    let resolve = v1::ResolveDeliveryRequest { id, resolution };
    said.refused("DELIVERY_NOT_HELD", dialogues.resolve_delivery(resolve).await);
}

async fn of_endpoints(world: &World, said: &mut Said) {
    let receiver = Receiver::start().await;
    let mut webhooks = world.grpc().await.webhooks();
    let request = v1::GetEndpointRequest { id: nobody() };
    said.refused("ENDPOINT_NOT_FOUND", webhooks.get_endpoint(request).await);
    let request = v1::GetDispatchRequest { id: nobody() };
    said.refused("DISPATCH_NOT_FOUND", webhooks.get_dispatch(request).await);
    let endpoint = v1::Endpoint {
        display_name: "Endpoint".to_owned(),
        url: receiver.url(),
        event_types: vec!["endpoint.created".to_owned()],
        ..v1::Endpoint::default()
    };
    let request = v1::CreateEndpointRequest { endpoint: Some(endpoint), request_id: String::new() };
    let endpoint_id =
        webhooks.create_endpoint(request.clone()).await.unwrap().into_inner().endpoint.unwrap().id;
    said.refused("ENDPOINT_LIMIT_REACHED", webhooks.create_endpoint(request).await);
    let request = v1::ReplayEventsRequest {
        endpoint_id: endpoint_id.clone(),
        event_ids: vec![nobody()],
        ..v1::ReplayEventsRequest::default()
    };
    said.refused("EVENT_NOT_FOUND", webhooks.replay_events(request).await);
    receiver.wait_for(1).await;
    let request = v1::ListDispatchesRequest { endpoint_id, ..v1::ListDispatchesRequest::default() };
    let listed = webhooks.list_dispatches(request).await.unwrap().into_inner();
    let request = v1::RetryDispatchRequest { id: listed.dispatches[0].id.clone() };
    said.refused("DISPATCH_NOT_DEAD", webhooks.retry_dispatch(request).await);
}

async fn of_crms(world: &World, said: &mut Said) {
    let at = amocrm().await;
    let integration_id = authorized(world, &at).await.id;
    let grpc = world.grpc().await;
    let (lead_id, contact_id) = ("5009".to_owned(), "5009".to_owned());
    let request = v1::GetLeadRequest { integration_id: integration_id.clone(), lead_id };
    said.refused("CRM_LEAD_NOT_FOUND", grpc.crm().get_lead(request).await);
    let request = v1::GetContactRequest { integration_id: integration_id.clone(), contact_id };
    said.refused("CRM_CONTACT_NOT_FOUND", grpc.crm().get_contact(request).await);
    let request = v1::DeleteSourceRequest { integration_id, id: "5009".to_owned() };
    said.refused("SOURCE_NOT_FOUND", grpc.sources().delete_source(request).await);
}

async fn of_integrations(world: &World, vendor: &Fake, said: &mut Said) {
    let grpc = world.grpc().await;
    let request = v1::GetIntegrationRequest { id: nobody() };
    said.refused("INTEGRATION_NOT_FOUND", grpc.integrations().get_integration(request).await);
    let id = connect(world, fake("good")).await.id;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    set_engine(world, &route, engine(&id)).await.unwrap();
    let request = v1::DeleteIntegrationRequest { id: id.clone() };
    said.refused("INTEGRATION_IN_USE", grpc.integrations().delete_integration(request).await);
    let list = v1::ListModelsRequest { vendor: "acme".to_owned(), integration_id: id.clone(), refresh: true };
    vendor.go_down(true);
    said.refused("VENDOR_UNAVAILABLE", grpc.agents().list_models(list.clone()).await);
    vendor.go_down(false);
    // What failed just now is not asked again so soon; another integration is.
    let other = connect(world, fake("good")).await.id;
    vendor.revoke("good");
    let list = v1::ListModelsRequest { integration_id: other, ..list };
    said.refused("VENDOR_REFUSED", grpc.agents().list_models(list).await);

    let sealed =
        "update integrations set data_key_sealed = overlay(data_key_sealed placing 'k0'::bytea from 3)";
    world.owner().await.execute(sealed).await.unwrap();
    let request = v1::CheckIntegrationRequest { id };
    said.refused("SECRET_KEY_MISSING", grpc.integrations().check_integration(request).await);

    let id = connect(world, fake("good")).await.id;
    let request = v1::StartAuthorizationRequest { id };
    said.refused("CAPABILITY_MISSING", grpc.integrations().start_authorization(request).await);
    let at = amocrm().await;
    let id = connect(world, account(&at)).await.id;
    let state = begin(&grpc, &id).await;
    let denied = [("state", state.as_str()), ("error", "access_denied")];
    said.note("AUTHORIZATION_REFUSED", come_back(world, &denied).await.json());
    said.note("AUTHORIZATION_INVALID", come_back(world, &denied).await.json());
}

async fn over_http(world: &World, said: &mut Said) {
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let token = format!("Bearer {}", route.agent_token);
    let bearer = format!("Bearer {}", world.key);
    let key = ("authorization", bearer.as_str());
    let agent = ("x-chatbot_auth_token", token.as_str());
    let path = "/api/webhook/new_message";
    let hook = format!("/hooks/{}", route.channel_id);
    let body = route.message(Some("m1"), "hello").to_string();

    let bad = json!({ "chat_id": route.channel_id, "message_sender": "robot" }).to_string();
    said.note("FIELD_INVALID", world.post(path, &[agent], bad).await.json());
    said.note("AUTH_MISSING", world.post(path, &[], body.clone()).await.json());
    let bare = [("x-chatbot_auth_token", route.agent_token.as_str())];
    said.note("AUTH_MALFORMED", world.post(path, &bare, body.clone()).await.json());
    let unknown = [("x-chatbot_auth_token", "Bearer nobody")];
    said.note("TOKEN_UNKNOWN", world.post(path, &unknown, body.clone()).await.json());
    let signed =
        [("webhook-id", "w1"), ("webhook-timestamp", "1"), ("webhook-signature", "v1,AAAAAAAAAAAAAAAA")];
    said.note("SIGNATURE_INVALID", world.post(&hook, &signed, body.clone()).await.json());
    let unknown = body.replace(&route.channel_id, &nobody());
    said.note("CHANNEL_NOT_FOUND", world.post(path, &[agent], unknown).await.json());
    said.note("ROUTE_NOT_FOUND", world.call(Method::GET, "/nowhere", &[], None).await.json());
    said.note("METHOD_NOT_ALLOWED", world.call(Method::DELETE, "/api/channels", &[], None).await.json());
    let plain = [agent, ("content-type", "text/plain")];
    said.note("CONTENT_TYPE_UNSUPPORTED", world.post(path, &plain, body.clone()).await.json());
    said.note("BODY_TOO_LARGE", world.post(path, &[agent], "x".repeat(300_000)).await.json());

    let private = json!({ "name": "x", "chat_bot_id": route.agent_id, "url": "http://10.0.0.7/" });
    said.note("TARGET_FORBIDDEN", world.post("/api/channels", &[key], private.to_string()).await.json());
    assert_eq!(world.post(&hook, &[agent], body.clone()).await.status, 200);
    let other = route.message(Some("m1"), "something else").to_string();
    said.note("MESSAGE_CONFLICT", world.post(&hook, &[agent], other).await.json());
    let off = Some(json!({ "is_active": false }).to_string().into());
    let channel = format!("/api/channels/{}", route.channel_id);
    assert_eq!(world.call(Method::PUT, &channel, &[key], off).await.status, 200);
    said.note("CHANNEL_INACTIVE", world.post(path, &[agent], body).await.json());

    let addr = world.url("").trim_start_matches("http://").to_owned();
    let mut stream = tokio::net::TcpStream::connect(addr).await.unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: 500\r\nx-chatbot_auth_token: {token}\r\n\r\n{{\"text\":"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    said.note("BODY_TIMEOUT", serde_json::from_str(body).unwrap());
}

async fn when_it_goes_badly(world: &World, said: &mut Said) {
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    // Known to the caches, so that only the write, and then only the read of agents, meets a lock.
    assert_eq!(world.new_message(&route, &route.message(Some("first"), "hello")).await.status, 200);
    receiver.wait_for(1).await;
    let mut owner = world.owner().await;
    owner.execute("begin; lock table message_keys in access exclusive mode").await.unwrap();
    let bodies: Vec<_> = (0..20).map(|n| route.message(Some(&format!("m{n}")), "hello")).collect();
    for answer in join_all(bodies.iter().map(|body| world.new_message(&route, body))).await {
        let body = answer.json();
        let reason = body["reason"].as_str().unwrap().to_owned();
        assert!(["OVERLOADED", "UNAVAILABLE"].contains(&reason.as_str()), "{body}");
        said.note(&reason, body);
    }
    owner.execute("rollback").await.unwrap();

    owner.execute("begin; lock table agents in access exclusive mode").await.unwrap();
    // gRPC-web: a client of our own would give up by its own clock.
    let answer = world
        .http
        .post(format!("http://{}/switchboard.v1.AgentsService/ListAgents", world.grpc_addr()))
        .header("authorization", format!("Bearer {}", world.key))
        .header("content-type", "application/grpc-web+proto")
        .header("grpc-timeout", "300m")
        .body(vec![0; 5])
        .send()
        .await
        .unwrap();
    owner.execute("rollback").await.unwrap();
    let status = Status::from_header_map(answer.headers()).unwrap();
    said.note("DEADLINE_EXCEEDED", in_http_words(&status));

    owner.execute("update agents set engine = '[]'").await.unwrap();
    let request = v1::GetAgentRequest { id: route.agent_id.clone() };
    said.refused("INTERNAL", world.grpc().await.agents().get_agent(request).await);
}
