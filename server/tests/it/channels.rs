//! Channels over REST, as installations know them, and what rotates.

use http::StatusCode;
use reqwest::Method;
use serde_json::{Value, json};
use switchboard_sdk::v1;

use crate::harness::{Answer, Receiver, World, reason};

async fn rest(world: &World, method: Method, path: &str, body: Option<Value>) -> Answer {
    let bearer = format!("Bearer {}", world.key);
    world.call(method, path, &[("authorization", &bearer)], body.map(|body| body.to_string().into())).await
}

#[tokio::test]
async fn channels_are_made_read_changed_and_deleted_over_rest() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let new = json!({ "name": "Website", "url": receiver.url(), "chat_bot_id": route.agent_id });
    let made = rest(&world, Method::POST, "/api/channels", Some(new)).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    let made = made.json();
    let (id, token) = (made["id"].as_str().unwrap(), made["token"].as_str().unwrap());
    assert!(token.starts_with("sbc_"), "the token is shown whole, once");
    assert_eq!((&made["name"], &made["is_active"]), (&json!("Website"), &json!(true)));

    let path = format!("/api/channels/{id}");
    let read = rest(&world, Method::GET, &path, None).await;
    assert_eq!(read.status, 200);
    assert_eq!(read.json()["token"], format!("…{}", &token[token.len() - 4..]), "later only its end");
    assert_eq!(read.json()["url"], json!(receiver.url()));

    let off = rest(&world, Method::PUT, &path, Some(json!({ "name": "Shop", "is_active": false }))).await;
    assert_eq!(
        (off.status, &off.json()["name"], &off.json()["is_active"]),
        (200, &json!("Shop"), &json!(false))
    );
    let ids = async |query: &str| {
        let listed = rest(&world, Method::GET, &format!("/api/channels{query}"), None).await;
        assert_eq!(listed.status, 200, "{}", listed.text);
        let listed = listed.json();
        let ids = listed.as_array().unwrap().iter().map(|channel| channel["id"].as_str().unwrap().to_owned());
        ids.collect::<Vec<_>>()
    };
    assert_eq!(ids("").await, [route.channel_id.as_str(), id]);
    assert_eq!(ids("?active=false").await, [id]);
    assert_eq!(ids("?active=true").await, [route.channel_id.as_str()]);
    assert_eq!(ids(&format!("?chat_bot_id={}&active=false", route.agent_id)).await, [id]);
    assert!(ids("?chat_bot_id=0198c0de-0000-7000-8000-000000000004").await.is_empty());

    assert_eq!(rest(&world, Method::DELETE, &path, None).await.status, 204);
    rest(&world, Method::GET, &path, None).await.problem(404, "CHANNEL_NOT_FOUND");
    rest(&world, Method::DELETE, &path, None).await.problem(404, "CHANNEL_NOT_FOUND");
    assert_eq!(ids("").await, [route.channel_id.as_str()]);
    world.stop().await;
}

#[tokio::test]
async fn a_rotated_secret_replaces_the_old_one_at_once() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let mut route = world.route(&receiver, json!({})).await;
    let grpc = world.grpc().await;
    assert_eq!(world.new_message(&route, &route.message(Some("m1"), "before")).await.status, 200);
    let first = receiver.wait_for(1).await.remove(0);
    assert_eq!(first.headers["x-chat_auth_token"], format!("Bearer {}", route.channel_token));

    let request = v1::RotateAgentTokenRequest { id: route.agent_id.clone() };
    let fresh = grpc.agents().rotate_agent_token(request).await.unwrap().into_inner().token;
    assert_ne!(fresh, route.agent_token);
    let request = v1::RotateChannelTokenRequest { id: route.channel_id.clone() };
    let channel_token = grpc.channels().rotate_channel_token(request).await.unwrap().into_inner().token;
    let request = v1::RotateChannelSigningSecretRequest { id: route.channel_id.clone() };
    let rotated = grpc.channels().rotate_channel_signing_secret(request).await.unwrap().into_inner();

    // The cache of tokens learns of it by notification.
    crate::harness::until(|| async {
        let answer = world.new_message(&route, &route.message(Some("m2"), "too late")).await;
        (answer.status == 401).then_some(())
    })
    .await;
    let before = receiver.received().len();
    route.agent_token = fresh;
    assert_eq!(world.new_message(&route, &route.message(Some("m3"), "after")).await.status, 200);
    let last = receiver.wait_for(before + 1).await.pop().unwrap();
    assert_eq!(last.headers["x-chat_auth_token"], format!("Bearer {channel_token}"));
    let verifier = standardwebhooks::Webhook::new(&rotated.signing_secret).unwrap();
    verifier.verify(&last.body, &last.headers).unwrap();
    assert!(
        standardwebhooks::Webhook::new(&route.signing_secret)
            .unwrap()
            .verify(&last.body, &last.headers)
            .is_err()
    );
    world.stop().await;
}

#[tokio::test]
async fn a_key_that_has_expired_is_refused() {
    let world = World::new().await;
    let grpc = world.grpc().await;
    let now = domain::Clock::now(&domain::SystemClock).unix_timestamp();
    let make = async |name: &str, seconds: i64| {
        let expire_time = Some(prost_types::Timestamp { seconds, nanos: 0 });
        let api_key = v1::ApiKey {
            display_name: name.to_owned(),
            scopes: vec!["agents:read".to_owned()],
            expire_time,
            ..v1::ApiKey::default()
        };
        let request =
            v1::CreateApiKeyRequest { api_key: Some(api_key), ..v1::CreateApiKeyRequest::default() };
        grpc.workspaces().create_api_key(request).await.map(|made| made.into_inner().secret)
    };
    let key = make("brief", now + 2).await.unwrap();
    let brief = world.grpc_as(&key).await;
    assert!(brief.agents().list_agents(v1::ListAgentsRequest::default()).await.is_ok());
    let refused = crate::harness::until(|| async {
        brief.agents().list_agents(v1::ListAgentsRequest::default()).await.err()
    })
    .await;
    assert_eq!(refused.code(), tonic::Code::Unauthenticated);
    assert_eq!(reason(&refused).0, "TOKEN_UNKNOWN");
    world.stop().await;
}

#[tokio::test]
async fn a_server_shows_its_state_and_its_contract() {
    let world = World::new().await;
    let get = async |path: &str| world.call(Method::GET, path, &[], None).await;
    assert_eq!(get("/healthz").await.status, 200);
    assert_eq!(get("/readyz").await.status, 200);
    let document = get("/openapi.json").await;
    assert_eq!(document.status, 200);
    let paths = document.json()["paths"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    for path in ["/api/webhook/new_message", "/api/channels", "/hooks/{channel_id}"] {
        assert!(paths.iter().any(|known| known == path), "{path} is not in {paths:?}");
    }
    let page = get("/docs").await;
    assert_eq!(page.status, 200);
    assert!(
        !page.text.contains("src=\"http") && !page.text.contains("href=\"http"),
        "nothing comes from outside"
    );
    let metrics = world.http.get(format!("http://{}/metrics", world.grpc_addr())).send().await.unwrap();
    assert!(metrics.text().await.unwrap().contains("switchboard_request_seconds"));
    world.stop().await;
}
