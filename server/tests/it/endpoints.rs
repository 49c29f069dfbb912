//! Events posted to endpoints: signed, filtered, in order, again and again until they are taken.

mod keeping;
mod managing;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Bytes, extract::State, http::StatusCode, routing::post};
use http::HeaderMap;
use serde_json::{Value, json};
use sqlx::Executor as _;
use standardwebhooks::Webhook;
use switchboard_sdk::v1::{self, AttemptState, DispatchState, EndpointSchedule};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::{
    harness::{Grpc, Received, Receiver, Route, World, reason, until},
    tenants::second_workspace,
};

/// A customer's endpoint that answers as a function of what it is sent.
struct Hook {
    url: String,
    received: Arc<Mutex<Vec<Received>>>,
    task: tokio::task::JoinHandle<()>,
}

type Answer = Arc<dyn Fn(&Value) -> u16 + Send + Sync>;

impl Hook {
    async fn start(answer: impl Fn(&Value) -> u16 + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let received = Arc::new(Mutex::new(Vec::new()));
        let answer: Answer = Arc::new(answer);
        let state = (Arc::clone(&received), answer);
        let app = Router::new().route("/hook", post(receive)).with_state(state);
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, received, task }
    }

    fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    async fn wait_for(&self, count: usize) -> Vec<Received> {
        until(|| async { Some(self.received()).filter(|received| received.len() >= count) }).await
    }
}

impl Drop for Hook {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn receive(
    State((received, answer)): State<(Arc<Mutex<Vec<Received>>>, Answer)>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let call = Received { headers, body, at: std::time::Instant::now() };
    let status = answer(&call.json());
    received.lock().unwrap().push(call);
    StatusCode::from_u16(status).unwrap()
}

const MESSAGES: [&str; 2] = ["message.received", "message.replied"];

/// An endpoint with the short schedule; gives it and its secret.
async fn create(grpc: &Grpc, url: &str, kinds: &[&str]) -> (v1::Endpoint, String) {
    let endpoint = v1::Endpoint {
        display_name: "Endpoint".to_owned(),
        url: url.to_owned(),
        event_types: kinds.iter().map(|kind| (*kind).to_owned()).collect(),
        schedule: EndpointSchedule::Sandbox.into(),
        ..v1::Endpoint::default()
    };
    let request = v1::CreateEndpointRequest { endpoint: Some(endpoint), request_id: String::new() };
    let made = grpc.webhooks().create_endpoint(request).await.unwrap().into_inner();
    (made.endpoint.unwrap(), made.secret)
}

async fn get(grpc: &Grpc, id: &str) -> v1::Endpoint {
    let request = v1::GetEndpointRequest { id: id.to_owned() };
    grpc.webhooks().get_endpoint(request).await.unwrap().into_inner().endpoint.unwrap()
}

async fn set_active(grpc: &Grpc, id: &str, active: bool) -> v1::Endpoint {
    let endpoint = v1::Endpoint { id: id.to_owned(), active: Some(active), ..v1::Endpoint::default() };
    let mask = prost_types::FieldMask { paths: vec!["active".to_owned()] };
    let request = v1::UpdateEndpointRequest { endpoint: Some(endpoint), update_mask: Some(mask) };
    grpc.webhooks().update_endpoint(request).await.unwrap().into_inner().endpoint.unwrap()
}

/// The endpoint's dispatches, oldest first.
async fn dispatches(grpc: &Grpc, endpoint: &str) -> Vec<v1::Dispatch> {
    let request = v1::ListDispatchesRequest {
        endpoint_id: endpoint.to_owned(),
        page_size: 1_000,
        ..v1::ListDispatchesRequest::default()
    };
    let mut dispatches = grpc.webhooks().list_dispatches(request).await.unwrap().into_inner().dispatches;
    dispatches.reverse();
    dispatches
}

/// Waits until the endpoint's newest dispatch is in this state.
async fn newest(grpc: &Grpc, endpoint: &str, state: DispatchState) -> v1::Dispatch {
    until(|| async { dispatches(grpc, endpoint).await.pop().filter(|dispatch| dispatch.state() == state) })
        .await
}

async fn whole(grpc: &Grpc, id: &str) -> v1::Dispatch {
    let request = v1::GetDispatchRequest { id: id.to_owned() };
    grpc.webhooks().get_dispatch(request).await.unwrap().into_inner().dispatch.unwrap()
}

async fn test(grpc: &Grpc, id: &str) -> v1::Attempt {
    let request = v1::TestEndpointRequest { id: id.to_owned() };
    grpc.webhooks().test_endpoint(request).await.unwrap().into_inner().attempt.unwrap()
}

/// Says something in a chat of the route's channel.
async fn say(world: &World, route: &Route, chat: &str, text: &str) {
    let mut body = route.message(Some(text), text);
    body["chat_id"] = json!(format!("{}/{chat}", route.channel_id));
    assert_eq!(world.new_message(route, &body).await.status, 200);
}

fn verifies(secret: &str, call: &Received) -> bool {
    Webhook::new(secret).unwrap().verify(&call.body, &call.headers).is_ok()
}

/// The log, whole.
async fn log(grpc: &Grpc) -> Vec<v1::Event> {
    let request = v1::ListEventsRequest { page_size: 1_000, ..v1::ListEventsRequest::default() };
    grpc.events().list_events(request).await.unwrap().into_inner().events
}

#[tokio::test]
async fn an_event_is_posted_with_a_signature_that_holds() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let hook = Hook::start(|_| 204).await;
    let grpc = world.grpc().await;
    let (endpoint, secret) = create(&grpc, &hook.url, &MESSAGES).await;
    say(&world, &route, "a", "hello").await;
    let calls = hook.wait_for(2).await;
    let (received, replied) = (calls[0].json(), calls[1].json());
    assert_eq!((received["type"].as_str(), replied["type"].as_str()), (Some(MESSAGES[0]), Some(MESSAGES[1])));
    assert_eq!(received["message"]["text"], "hello");
    assert_eq!(received["dialogue_id"], replied["dialogue_id"]);
    for call in &calls {
        assert!(verifies(&secret, call));
        assert!(!verifies(&route.signing_secret, call));
        assert_eq!(call.headers["content-type"], "application/json");
        assert_eq!(call.headers["webhook-id"], call.json()["id"].as_str().unwrap());
    }
    // What is posted is what the log says.
    let event = log(&grpc).await.into_iter().find(|event| event.r#type == MESSAGES[0]).unwrap();
    assert_eq!(received["id"], *event.id);

    newest(&grpc, &endpoint.id, DispatchState::Delivered).await;
    let all = dispatches(&grpc, &endpoint.id).await;
    assert_eq!(all.len(), 2);
    let first = whole(&grpc, &all[0].id).await;
    assert_eq!((first.event_id.as_str(), first.attempt_count, first.replay), (&*event.id, 1, false));
    assert_eq!((first.attempts[0].state(), first.attempts[0].http_status), (AttemptState::Succeeded, 204));
    assert!(first.settle_time.is_some() && first.next_attempt_time.is_none());

    let tested = test(&grpc, &endpoint.id).await;
    assert_eq!((tested.state(), tested.http_status), (AttemptState::Succeeded, 204));
    let call = hook.received().pop().unwrap();
    assert!(verifies(&secret, &call));
    assert_eq!(call.json()["type"], "endpoint.test");
    assert_eq!(dispatches(&grpc, &endpoint.id).await.len(), 2, "a test is no dispatch");

    // The secret is nowhere in the clear.
    let mut conn = world.owner().await;
    let rows: String = sqlx::query_scalar("select string_agg(e::text, '') from webhook_endpoints e")
        .fetch_one(&mut conn)
        .await
        .unwrap();
    let hex: String = sqlx::query_scalar("select encode($1, 'hex')")
        .bind(secret.as_bytes())
        .fetch_one(&mut conn)
        .await
        .unwrap();
    assert!(!rows.contains(&secret[6..]) && !rows.contains(&hex));
    world.stop().await;
}

#[tokio::test]
async fn filters_let_through_what_they_name() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let (one, two) = (world.route(&receiver, json!({})).await, world.route(&receiver, json!({})).await);
    let hook = Hook::start(|_| 200).await;
    let grpc = world.grpc().await;
    let (by_channel, _) = {
        let endpoint = v1::Endpoint {
            display_name: "One channel".to_owned(),
            url: hook.url.clone(),
            channel_id: one.channel_id.clone(),
            event_types: vec!["message.received".to_owned(), "channel.deleted".to_owned()],
            ..v1::Endpoint::default()
        };
        let request = v1::CreateEndpointRequest { endpoint: Some(endpoint), request_id: String::new() };
        let made = grpc.webhooks().create_endpoint(request).await.unwrap().into_inner();
        (made.endpoint.unwrap(), made.secret)
    };
    assert_eq!(by_channel.schedule(), EndpointSchedule::Standard);
    for at in 0..3 {
        say(&world, &two, &format!("b{at}"), &format!("two {at}")).await;
        say(&world, &one, &format!("a{at}"), &format!("one {at}")).await;
    }
    for route in [&two, &one] {
        let request = v1::DeleteChannelRequest { id: route.channel_id.clone() };
        grpc.channels().delete_channel(request).await.unwrap();
    }
    let told = |call: &Received| {
        let body = call.json();
        body["message"]["text"].as_str().map_or_else(|| body["subject_id"].to_string(), ToOwned::to_owned)
    };
    let mut seen: Vec<_> = hook.wait_for(4).await.iter().map(told).collect();
    seen.sort();
    assert_eq!(seen, [json!(one.channel_id).to_string(), "one 0".into(), "one 1".into(), "one 2".into()]);
    // The log was read past the other channel's events, and they were passed over.
    assert_eq!(dispatches(&grpc, &by_channel.id).await.len(), 4);
    world.stop().await;
}

#[tokio::test]
async fn after_a_rotation_both_secrets_sign_for_a_day() {
    let world = World::new().await;
    let hook = Hook::start(|_| 200).await;
    let grpc = world.grpc().await;
    let (endpoint, old) = create(&grpc, &hook.url, &["agent.created"]).await;
    let request = v1::RotateEndpointSecretRequest { id: endpoint.id.clone() };
    let rotated = grpc.webhooks().rotate_endpoint_secret(request).await.unwrap().into_inner();
    let until_time = rotated.endpoint.unwrap().previous_secret_expire_time.unwrap();
    let update_time = get(&grpc, &endpoint.id).await.update_time.unwrap();
    assert!((24 * 3_600 - 60..=24 * 3_600).contains(&(until_time.seconds - update_time.seconds)));
    let receiver = Receiver::start().await;
    world.route(&receiver, json!({})).await;
    let call = hook.wait_for(1).await.remove(0);
    assert!(verifies(&old, &call) && verifies(&rotated.secret, &call));
    assert_eq!(call.headers["webhook-signature"].to_str().unwrap().split(' ').count(), 2);

    let mut conn = world.owner().await;
    conn.execute("update webhook_endpoints set previous_secret_until = now() - interval '1 second'")
        .await
        .unwrap();
    world.route(&receiver, json!({})).await;
    let call = hook.wait_for(2).await.remove(1);
    assert!(!verifies(&old, &call) && verifies(&rotated.secret, &call));
    test(&grpc, &endpoint.id).await;
    let call = hook.wait_for(3).await.remove(2);
    assert!(!verifies(&old, &call) && verifies(&rotated.secret, &call));
    world.stop().await;
}

#[tokio::test]
async fn a_dialogue_keeps_its_order_through_failures_and_holds_up_no_other() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let up = Arc::new(AtomicBool::new(false));
    let answering = Arc::clone(&up);
    let hook = Hook::start(move |body| {
        let first = body["message"]["text"] == "a1";
        if first && !answering.load(Ordering::Relaxed) { 503 } else { 200 }
    })
    .await;
    let grpc = world.grpc().await;
    let (endpoint, _) = create(&grpc, &hook.url, &["message.received"]).await;
    for (chat, text) in [("a", "a1"), ("a", "a2"), ("b", "b1"), ("a", "a3"), ("b", "b2")] {
        say(&world, &route, chat, text).await;
    }
    let texts = || {
        let text = |call: Received| call.json()["message"]["text"].as_str().unwrap().to_owned();
        hook.received().into_iter().map(text).collect::<Vec<_>>()
    };
    // While a1 fails, b goes on and a waits.
    until(|| async {
        let texts = texts();
        let tries = texts.iter().filter(|text| *text == "a1").count();
        Some(()).filter(|()| tries >= 3 && texts.iter().any(|text| text == "b2"))
    })
    .await;
    assert!(!texts().iter().any(|text| text == "a2"));
    assert!(get(&grpc, &endpoint.id).await.active == Some(true));
    up.store(true, Ordering::Relaxed);
    until(|| async { texts().iter().any(|text| text == "a3").then_some(()) }).await;
    let mut order = texts();
    order.retain(|text| text.starts_with('a'));
    order.dedup();
    assert_eq!(order, ["a1", "a2", "a3"]);
    let bs: Vec<_> = texts().into_iter().filter(|text| text.starts_with('b')).collect();
    assert_eq!(bs, ["b1", "b2"]);
    // Each try of a1 carried the same id, by which a receiver drops repeats.
    let tries: Vec<_> =
        hook.received().into_iter().filter(|call| call.json()["message"]["text"] == "a1").collect();
    assert!(tries.iter().all(|call| call.headers["webhook-id"] == tries[0].headers["webhook-id"]));
    newest(&grpc, &endpoint.id, DispatchState::Delivered).await;
    let first = whole(&grpc, &dispatches(&grpc, &endpoint.id).await[0].id).await;
    let states: Vec<_> = first.attempts.iter().map(v1::Attempt::state).collect();
    assert_eq!(states.last(), Some(&AttemptState::Succeeded));
    assert!(states.len() == tries.len() && states.len() >= 4, "{states:?}");
    assert!(get(&grpc, &endpoint.id).await.failing_since_time.is_none(), "a success ends the failing");
    world.stop().await;
}

#[tokio::test]
async fn a_410_ends_it_at_once_and_what_waits_goes_on_when_it_is_active_again() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let gone = Arc::new(AtomicBool::new(true));
    let answering = Arc::clone(&gone);
    let hook = Hook::start(move |_| if answering.load(Ordering::Relaxed) { 410 } else { 200 }).await;
    let grpc = world.grpc().await;
    let (endpoint, _) = create(&grpc, &hook.url, &["message.received"]).await;
    say(&world, &route, "a", "a1").await;
    let disabled = until(|| async {
        Some(get(&grpc, &endpoint.id).await).filter(|endpoint| endpoint.active == Some(false))
    })
    .await;
    assert_eq!(disabled.disabled_reason, "gone");
    let event =
        until(|| async { log(&grpc).await.into_iter().find(|event| event.r#type == "endpoint.disabled") })
            .await;
    assert_eq!(event.subject_id, endpoint.id);
    assert_eq!(event.data.unwrap().fields["reason"], "gone".to_owned().into());

    // Another dialogue's, so that nothing but the change itself can wake what waits in this one.
    say(&world, &route, "b", "b1").await;
    // Parked: waiting, without a time, and not tried.
    until(|| async {
        let first = dispatches(&grpc, &endpoint.id).await.remove(0);
        Some(()).filter(|()| first.state() == DispatchState::Pending && first.next_attempt_time.is_none())
    })
    .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(hook.received().len(), 1);

    gone.store(false, Ordering::Relaxed);
    let active = set_active(&grpc, &endpoint.id, true).await;
    assert_eq!((active.disabled_reason.as_str(), active.failing_since_time), ("", None));
    let calls = hook.wait_for(3).await;
    let mut texts: Vec<_> = calls.iter().map(|call| call.json()["message"]["text"].to_string()).collect();
    texts[1..].sort();
    assert_eq!(texts, [r#""a1""#, r#""a1""#, r#""b1""#]);
    say(&world, &route, "a", "a2").await;
    assert_eq!(hook.wait_for(4).await[3].json()["message"]["text"], "a2");
    world.stop().await;
}

#[tokio::test]
async fn five_days_without_a_success_end_it_too() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let hook = Hook::start(|_| 500).await;
    let grpc = world.grpc().await;
    let (endpoint, _) = create(&grpc, &hook.url, &["message.received"]).await;
    say(&world, &route, "a", "a1").await;
    hook.wait_for(2).await;
    let failing = get(&grpc, &endpoint.id).await;
    assert!(failing.active == Some(true) && failing.failing_since_time.is_some());
    let mut conn = world.owner().await;
    conn.execute("update webhook_endpoints set failing_since = failing_since - interval '5 days'")
        .await
        .unwrap();
    let disabled = until(|| async {
        Some(get(&grpc, &endpoint.id).await).filter(|endpoint| endpoint.active == Some(false))
    })
    .await;
    assert_eq!(disabled.disabled_reason, "failing");
    let events = until(|| async {
        let mut events = log(&grpc).await;
        events.retain(|event| event.r#type == "endpoint.disabled");
        Some(events).filter(|events| !events.is_empty())
    })
    .await;
    assert_eq!(events.len(), 1);
    world.stop().await;
}

#[tokio::test]
async fn a_dead_dispatch_can_be_retried() {
    let world = World::with(&[("SWITCHBOARD_SANDBOX_PAUSES", "50ms,50ms")]).await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let up = Arc::new(AtomicBool::new(false));
    let answering = Arc::clone(&up);
    let hook = Hook::start(move |_| if answering.load(Ordering::Relaxed) { 200 } else { 404 }).await;
    let grpc = world.grpc().await;
    let (endpoint, _) = create(&grpc, &hook.url, &["message.received"]).await;
    say(&world, &route, "a", "a1").await;
    // Any answer but a 2xx is a failure that may pass: a 404 is mended by a deployment.
    let dead = newest(&grpc, &endpoint.id, DispatchState::Dead).await;
    assert_eq!((dead.attempt_count, dead.reason.as_str()), (3, "attempts_exhausted"));
    assert_eq!(hook.received().len(), 3);
    up.store(true, Ordering::Relaxed);
    let retry = || v1::RetryDispatchRequest { id: dead.id.clone() };
    let revived = grpc.webhooks().retry_dispatch(retry()).await.unwrap().into_inner().dispatch.unwrap();
    assert_eq!(revived.state(), DispatchState::Pending);
    let delivered = newest(&grpc, &endpoint.id, DispatchState::Delivered).await;
    assert_eq!((delivered.id.as_str(), delivered.attempt_count), (dead.id.as_str(), 4));
    let refused = grpc.webhooks().retry_dispatch(retry()).await.unwrap_err();
    assert_eq!(reason(&refused).0, "DISPATCH_NOT_DEAD");
    world.stop().await;
}

#[tokio::test]
async fn what_waits_for_a_deleted_endpoint_is_buried() {
    let world = World::with(&[("SWITCHBOARD_SANDBOX_PAUSES", "1h,1h")]).await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let hook = Hook::start(|_| 503).await;
    let grpc = world.grpc().await;
    let (endpoint, _) = create(&grpc, &hook.url, &["message.received"]).await;
    for text in ["a1", "a2"] {
        say(&world, &route, "a", text).await;
    }
    hook.wait_for(1).await;
    let waiting = until(|| async {
        let all = dispatches(&grpc, &endpoint.id).await;
        let first = all.first().filter(|first| first.next_attempt_time.is_some() && first.attempt_count == 1);
        first.is_some().then_some(all.clone()).filter(|all| all.len() == 2)
    })
    .await;
    // And one that is parked, since its endpoint is inactive.
    let (resting, _) = create(&grpc, &hook.url, &["message.received"]).await;
    set_active(&grpc, &resting.id, false).await;
    let replay = v1::ReplayEventsRequest {
        endpoint_id: resting.id.clone(),
        event_ids: vec![waiting[0].event_id.clone()],
        ..v1::ReplayEventsRequest::default()
    };
    grpc.webhooks().replay_events(replay).await.unwrap();
    let parked = until(|| async {
        let parked = dispatches(&grpc, &resting.id).await.pop();
        parked.filter(|dispatch| dispatch.next_attempt_time.is_none())
    })
    .await;
    for id in [endpoint.id, resting.id] {
        grpc.webhooks().delete_endpoint(v1::DeleteEndpointRequest { id }).await.unwrap();
    }
    for dispatch in waiting.into_iter().chain([parked]) {
        let dead = until(|| async {
            Some(whole(&grpc, &dispatch.id).await).filter(|dispatch| dispatch.state() == DispatchState::Dead)
        })
        .await;
        assert_eq!((dead.reason.as_str(), dead.next_attempt_time), ("endpoint_deleted", None));
        let retry = v1::RetryDispatchRequest { id: dead.id };
        let refused = grpc.webhooks().retry_dispatch(retry).await.unwrap_err();
        assert_eq!(reason(&refused).0, "ENDPOINT_NOT_FOUND");
    }
    assert_eq!(hook.received().len(), 1);
    world.stop().await;
}

/// Answers every connection with these bytes, one piece after another with a pause between, and keeps it open.
pub(crate) async fn raw(pieces: Vec<Vec<u8>>, pause: Duration) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            let pieces = pieces.clone();
            tokio::spawn(async move {
                let mut request = [0; 4_096];
                let _ = stream.read(&mut request).await;
                for piece in pieces {
                    if stream.write_all(&piece).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(pause).await;
                }
                // Until the other side hangs up.
                while stream.read(&mut request).await.is_ok_and(|read| read > 0) {}
            });
        }
    });
    (url, calls)
}

#[tokio::test]
async fn bad_endpoints_are_bounded() {
    let world = World::with(&[("SWITCHBOARD_SEND_TIMEOUT_SECONDS", "1")]).await;
    let grpc = world.grpc().await;
    let lines = |text: &str| vec![text.as_bytes().to_vec()];
    let timed = async |url: &str| {
        let (endpoint, _) = create(&grpc, url, &["message.received"]).await;
        let began = std::time::Instant::now();
        let attempt = test(&grpc, &endpoint.id).await;
        assert!(began.elapsed() < Duration::from_secs(5), "{url}");
        attempt
    };

    // A redirect is a failure, and nobody goes where it leads.
    let (elsewhere, visits) =
        raw(lines("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"), Duration::ZERO).await;
    let redirect =
        format!("HTTP/1.1 307 Temporary Redirect\r\nlocation: {elsewhere}\r\ncontent-length: 0\r\n\r\n");
    let (url, _) = raw(lines(&redirect), Duration::ZERO).await;
    let attempt = timed(&url).await;
    assert_eq!((attempt.state(), attempt.http_status), (AttemptState::Failed, 307));
    assert_eq!(visits.load(Ordering::Relaxed), 0);

    // One that takes the call and says nothing; one whose head comes letter by letter.
    let (url, _) = raw(Vec::new(), Duration::ZERO).await;
    let attempt = timed(&url).await;
    assert_eq!((attempt.state(), attempt.http_status), (AttemptState::Unknown, 0));
    assert!(attempt.error.contains("did not answer within 1 seconds"), "{}", attempt.error);
    let head = b"HTTP/1.1 200 OK\r\nx-slow: ".iter().chain([b'x'; 1_000].iter());
    let (url, _) = raw(head.map(|byte| vec![*byte]).collect(), Duration::from_millis(40)).await;
    assert_eq!(timed(&url).await.state(), AttemptState::Unknown);

    // A body without end, fast or slow: the head has said that it was taken.
    let mut huge = lines("HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n");
    huge.extend(vec![vec![b'x'; 65_536]; 200]);
    let (url, _) = raw(huge, Duration::ZERO).await;
    let attempt = timed(&url).await;
    assert_eq!((attempt.state(), attempt.response_excerpt.len()), (AttemptState::Succeeded, 1_024));
    let mut drip = lines("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n");
    drip.extend(vec![b"x".to_vec(); 1_000]);
    let (url, _) = raw(drip, Duration::from_millis(40)).await;
    assert_eq!(timed(&url).await.state(), AttemptState::Succeeded);

    // Nobody at home.
    let attempt = timed("http://127.0.0.1:9/").await;
    assert_eq!(attempt.state(), AttemptState::Failed);
    world.stop().await;
}

#[tokio::test]
async fn an_endpoint_that_hangs_holds_up_no_other() {
    const DIALOGUES: usize = 20;
    let world = World::with(&[("SWITCHBOARD_HOOK_CONCURRENCY", "8")]).await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let grpc = world.grpc().await;
    let (url, hanging) = raw(Vec::new(), Duration::ZERO).await;
    create(&grpc, &url, &["message.received"]).await;
    for chat in 0..DIALOGUES {
        say(&world, &route, &format!("before {chat}"), &format!("before {chat}")).await;
    }
    until(|| async { Some(()).filter(|()| hanging.load(Ordering::Relaxed) >= 2) }).await;
    let hook = Hook::start(|_| 200).await;
    create(&grpc, &hook.url, &["message.received"]).await;
    let began = std::time::Instant::now();
    for chat in 0..DIALOGUES {
        say(&world, &route, &format!("after {chat}"), &format!("after {chat}")).await;
    }
    hook.wait_for(DIALOGUES).await;
    // No call of the hanging one has ended yet: they end after ten seconds.
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    assert!(hanging.load(Ordering::Relaxed) <= 4);
    world.stop().await;
}

#[tokio::test]
async fn two_processes_dispatch_each_event_once() {
    const DIALOGUES: usize = 8;
    const MESSAGES_EACH: usize = 8;
    let world = World::new().await;
    let another = world.another().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({ "delay_ms": 1 })).await;
    let hooks = [Hook::start(|_| 200).await, Hook::start(|_| 200).await];
    let grpc = world.grpc().await;
    let mut endpoints = Vec::new();
    for hook in &hooks {
        endpoints.push(create(&grpc, &hook.url, &["message.received"]).await.0.id);
    }
    let says = (0..MESSAGES_EACH).flat_map(|at| (0..DIALOGUES).map(move |chat| (chat, at)));
    for (chat, at) in says {
        say(&world, &route, &chat.to_string(), &format!("{chat} {at}")).await;
    }
    for (hook, endpoint) in hooks.iter().zip(&endpoints) {
        hook.wait_for(DIALOGUES * MESSAGES_EACH).await;
        newest(&grpc, endpoint, DispatchState::Delivered).await;
        // Whoever would feed an event again has had the time.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let calls = hook.received();
        assert_eq!(calls.len(), DIALOGUES * MESSAGES_EACH);
        let mut by_dialogue: HashMap<String, Vec<i64>> = HashMap::new();
        for call in &calls {
            let body = call.json();
            let dialogue = body["dialogue_id"].as_str().unwrap().to_owned();
            by_dialogue.entry(dialogue).or_default().push(body["message"]["seq"].as_i64().unwrap());
        }
        assert_eq!(by_dialogue.len(), DIALOGUES);
        for order in by_dialogue.values() {
            assert!(order.is_sorted(), "{order:?}");
        }
        assert_eq!(dispatches(&grpc, endpoint).await.len(), DIALOGUES * MESSAGES_EACH);
    }
    another.stop().await.unwrap();
    world.stop().await;
}

#[tokio::test]
async fn an_attempt_of_a_process_that_went_away_is_made_again() {
    let mut world = World::with(&[("SWITCHBOARD_SHUTDOWN_SECONDS", "0")]).await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    // Takes the first call and never answers; by then its process is gone.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let grpc = world.grpc().await;
    let (endpoint, _) = create(&grpc, &url, &["message.received"]).await;
    say(&world, &route, "a", "a1").await;
    let (first, _) = listener.accept().await.unwrap();
    let another = world.another().await;
    let address = another.grpc.unwrap();
    world.server.take().unwrap().stop().await.unwrap();
    let (mut second, _) = listener.accept().await.unwrap();
    let mut request = vec![0; 4_096];
    let read = second.read(&mut request).await.unwrap();
    assert!(String::from_utf8_lossy(&request[..read]).contains("webhook-id"));
    second.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    let channel = tonic::transport::Channel::from_shared(format!("http://{address}")).unwrap();
    let grpc = Grpc::over(channel.connect().await.unwrap(), &world.key);
    let delivered = newest(&grpc, &endpoint.id, DispatchState::Delivered).await;
    let states: Vec<_> = whole(&grpc, &delivered.id).await.attempts.iter().map(v1::Attempt::state).collect();
    assert_eq!(states, [AttemptState::Unknown, AttemptState::Succeeded]);
    drop(first);
    another.stop().await.unwrap();
}
