//! Delivering, against a receiver that fails.

use serde_json::json;
use switchboard_sdk::v1::{self, AttemptState, DeliveryState};

use crate::harness::{Receiver, World, reason, until};

#[tokio::test]
async fn a_receiver_that_is_down_gets_its_messages_in_order_when_it_is_up() {
    let world =
        World::with(&[("SWITCHBOARD_DELIVERY_PAUSES", "100ms,200ms,200ms,200ms,200ms,200ms,200ms")]).await;
    let receiver = Receiver::start().await;
    receiver.answer_with(503);
    let route = world.route(&receiver, json!({})).await;
    for text in ["one", "two", "three"] {
        let token = format!("Bearer {}", route.agent_token);
        let headers = [("x-chatbot_auth_token", token.as_str()), ("prefer", "wait=10")];
        let body = route.message(Some(text), text).to_string();
        assert_eq!(world.post("/api/webhook/new_message", &headers, body).await.status, 200);
    }
    receiver.wait_for(2).await;
    // Strictly first in, first out: while the head waits for its retry nothing behind it goes out.
    let first = receiver.received()[0].json()["text"].clone();
    assert!(receiver.received().iter().all(|received| received.json()["text"] == first));
    let failed = receiver.received().len();
    receiver.answer_with(200);
    let received = receiver.wait_for(failed + 3).await;
    let texts: Vec<_> =
        received.iter().rev().take(3).map(|received| received.json()["text"].to_string()).collect();
    assert!(texts[2].contains("one") && texts[1].contains("two") && texts[0].contains("three"), "{texts:?}");
    // The same delivery, the same id: a receiver can drop repeats.
    let ids: Vec<_> =
        received.iter().take(failed + 1).map(|received| received.headers["webhook-id"].clone()).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    world.stop().await;
}

#[tokio::test]
async fn a_receiver_that_refuses_connections_gets_its_message_when_it_is_up() {
    let world = World::with(&[("SWITCHBOARD_DELIVERY_PAUSES", &["100ms"; 100].join(","))]).await;
    let mut receiver = Receiver::down();
    let route = world.route(&receiver, json!({})).await;
    assert_eq!(world.new_message(&route, &route.message(Some("m1"), "hello")).await.status, 200);
    let grpc = world.grpc().await;
    let delivery = async || {
        let listed = grpc.dialogues().list_deliveries(v1::ListDeliveriesRequest::default()).await.unwrap();
        let id = listed.into_inner().deliveries.pop()?.id;
        let read = grpc.dialogues().get_delivery(v1::GetDeliveryRequest { id }).await.unwrap();
        read.into_inner().delivery
    };
    let waiting = until(|| async { delivery().await.filter(|delivery| delivery.attempt_count >= 2) }).await;
    let first = &waiting.attempts[0];
    assert_eq!((first.state(), first.http_status), (AttemptState::Failed, 0), "{first:?}");
    assert!(receiver.received().is_empty());

    receiver.come_up();
    let received = receiver.wait_for(1).await.remove(0);
    assert!(received.json()["text"].as_str().unwrap().contains("hello"));
    let done =
        until(|| async { delivery().await.filter(|delivery| delivery.state() == DeliveryState::Delivered) })
            .await;
    let last = done.attempts.last().unwrap();
    assert_eq!((last.state(), last.http_status), (AttemptState::Succeeded, 200), "{last:?}");
    assert_eq!(receiver.received().len(), 1);
    world.stop().await;
}

#[tokio::test]
async fn what_is_refused_for_good_is_dead_and_can_be_revived() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    receiver.answer_with(400);
    let route = world.route(&receiver, json!({})).await;
    assert_eq!(world.new_message(&route, &route.message(Some("m1"), "hello")).await.status, 200);
    let grpc = world.grpc().await;
    let dead = until(|| async {
        let request = v1::ListDeliveriesRequest {
            state: DeliveryState::Dead.into(),
            ..v1::ListDeliveriesRequest::default()
        };
        grpc.dialogues().list_deliveries(request).await.unwrap().into_inner().deliveries.pop()
    })
    .await;
    assert_eq!((dead.attempt_count, dead.reason.as_str()), (1, "refused"));

    receiver.answer_with(200);
    let retry = || v1::RetryDeliveryRequest { id: dead.id.clone() };
    let revived = grpc.dialogues().retry_delivery(retry()).await.unwrap().into_inner().delivery.unwrap();
    assert_eq!(revived.state(), DeliveryState::Pending);
    let get = || v1::GetDeliveryRequest { id: dead.id.clone() };
    let delivered = until(|| async {
        let delivery = grpc.dialogues().get_delivery(get()).await.unwrap().into_inner().delivery.unwrap();
        Some(delivery).filter(|delivery| delivery.state() == DeliveryState::Delivered)
    })
    .await;
    let states: Vec<_> = delivered.attempts.iter().map(v1::Attempt::state).collect();
    assert_eq!(states, [AttemptState::Failed, AttemptState::Succeeded]);
    assert_eq!((delivered.attempts[0].http_status, delivered.attempts[1].http_status), (400, 200));

    let refused = grpc.dialogues().retry_delivery(retry()).await.unwrap_err();
    assert_eq!(reason(&refused).0, "DELIVERY_NOT_DEAD");
    world.stop().await;
}

#[tokio::test]
async fn attempts_end_in_a_dead_letter() {
    let world = World::with(&[("SWITCHBOARD_DELIVERY_PAUSES", "10ms,10ms")]).await;
    let receiver = Receiver::start().await;
    receiver.answer_with(500);
    let route = world.route(&receiver, json!({})).await;
    assert_eq!(world.new_message(&route, &route.message(Some("m1"), "hello")).await.status, 200);
    let grpc = world.grpc().await;
    let dead = until(|| async {
        let request = v1::ListDeliveriesRequest::default();
        let found = grpc.dialogues().list_deliveries(request).await.unwrap().into_inner().deliveries.pop();
        found.filter(|delivery| delivery.state() == DeliveryState::Dead)
    })
    .await;
    assert_eq!((dead.attempt_count, dead.reason.as_str()), (3, "attempts_exhausted"));
    assert_eq!(receiver.received().len(), 3);
    world.stop().await;
}

#[tokio::test]
async fn what_waits_for_a_deleted_channel_is_withheld() {
    let world = World::with(&[("SWITCHBOARD_DELIVERY_PAUSES", "300ms,300ms,300ms")]).await;
    let receiver = Receiver::start().await;
    receiver.answer_with(503);
    let route = world.route(&receiver, json!({})).await;
    assert_eq!(world.new_message(&route, &route.message(Some("m1"), "hello")).await.status, 200);
    receiver.wait_for(1).await;
    let grpc = world.grpc().await;
    grpc.channels().delete_channel(v1::DeleteChannelRequest { id: route.channel_id.clone() }).await.unwrap();
    let withheld = until(|| async {
        let request = v1::ListDeliveriesRequest::default();
        let found = grpc.dialogues().list_deliveries(request).await.unwrap().into_inner().deliveries.pop();
        found.filter(|delivery| delivery.state() == DeliveryState::Withheld)
    })
    .await;
    assert_eq!(withheld.reason, "channel_inactive");
    assert_eq!(
        world
            .new_message(&route, &route.message(Some("m2"), "hello"))
            .await
            .problem(404, "CHANNEL_NOT_FOUND")
            .len(),
        0
    );
    world.stop().await;
}
