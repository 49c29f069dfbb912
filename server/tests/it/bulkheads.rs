//! Inside of one workspace: who hangs keeps nobody else waiting.

use std::time::{Duration, Instant};

use serde_json::json;
use switchboard_sdk::v1;

use crate::{
    endpoints::raw,
    harness::{Receiver, Route, World, until},
};

/// How many turns and deliveries the process works on at once.
const PLACES: usize = 32;
/// Far more than that.
const CHATS: usize = 200;

async fn world() -> World {
    World::with(&[
        ("SWITCHBOARD_CONCURRENCY", &PLACES.to_string()),
        ("SWITCHBOARD_SEND_TIMEOUT_SECONDS", "60"),
    ])
    .await
}

/// Has a customer write in each of many chats.
async fn crowd(world: &World, route: &Route) {
    let calls = (0..CHATS).map(|chat| {
        let mut body = route.message(Some("m1"), "hello");
        body["chat_id"] = json!(format!("{}/{chat}", route.channel_id));
        async move { assert_eq!(world.new_message(route, &body).await.status, 200) }
    });
    futures::future::join_all(calls).await;
}

/// Counts until the count has stood still for a while, and gives it.
async fn at_rest(mut count: impl AsyncFnMut() -> i64) -> i64 {
    let mut before = -1;
    loop {
        tokio::time::sleep(Duration::from_millis(400)).await;
        let now = count().await;
        if now == before && now > 0 {
            return now;
        }
        before = now;
    }
}

/// Says three things, one after another, and waits for each answer.
async fn converse(world: &World, route: &Route, receiver: &Receiver) {
    let began = Instant::now();
    for text in ["one", "two", "three"] {
        world.new_message(route, &route.message(Some(text), text)).await;
        let answered =
            || receiver.received().iter().any(|call| call.json()["text"].to_string().contains(text));
        until(|| async { Some(()).filter(|()| answered()) }).await;
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test]
async fn an_engine_that_hangs_keeps_no_other_agent_of_its_workspace_waiting() {
    let world = world().await;
    let receiver = Receiver::start().await;
    let hanging = world.route(&receiver, json!({ "delay_ms": 60_000 })).await;
    let route = world.route(&receiver, json!({})).await;
    crowd(&world, &hanging).await;
    let mut owner = world.owner().await;
    let mut running = async || -> i64 {
        let count = sqlx::query_scalar("select count(*) from runs where state = 'STARTED'");
        count.fetch_one(&mut owner).await.unwrap()
    };
    // All that one engine gets is taken, and much is left.
    let before = at_rest(&mut running).await;
    assert!((8..=24).contains(&before), "{before} of {PLACES} places");
    converse(&world, &route, &receiver).await;
    assert_eq!(running().await, before, "the others still hang");

    // Another agent of the same engine is no way around it.
    let second = world.route(&receiver, json!({ "delay_ms": 60_000 })).await;
    crowd(&world, &second).await;
    let both = at_rest(&mut running).await;
    assert!(both <= before + 8, "{both} of {PLACES} places");
    let mut other = route.message(Some("four"), "four");
    other["chat_id"] = json!(format!("{}/other", route.channel_id));
    world.new_message(&route, &other).await;
    until(|| async {
        receiver.received().iter().any(|call| call.json()["text"].to_string().contains("four")).then_some(())
    })
    .await;
    drop(world);
}

#[tokio::test]
async fn a_receiver_that_hangs_keeps_no_other_channel_of_its_workspace_waiting() {
    let world = world().await;
    let receiver = Receiver::start().await;
    let (url, calls) = raw(Vec::new(), Duration::ZERO).await;
    // The same agent's settings, so the same engine, which answers both.
    let (hanging, route) = (world.route(&receiver, json!({})).await, world.route(&receiver, json!({})).await);
    let changed = v1::Channel { id: hanging.channel_id.clone(), url, ..v1::Channel::default() };
    let request = v1::UpdateChannelRequest {
        channel: Some(changed),
        update_mask: Some(prost_types::FieldMask { paths: vec!["url".to_owned()] }),
    };
    world.grpc().await.channels().update_channel(request).await.unwrap();
    crowd(&world, &hanging).await;
    let mut hung = async || i64::try_from(calls.load(std::sync::atomic::Ordering::Relaxed)).unwrap();
    let before = at_rest(&mut hung).await;
    assert!((2..PLACES).contains(&usize::try_from(before).unwrap()), "{before} of {PLACES} places");
    converse(&world, &route, &receiver).await;
    assert!(hung().await <= before + 1, "the others still hang");
    drop(world);
}
