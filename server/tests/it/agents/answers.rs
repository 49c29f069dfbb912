//! Who answers when the engine can't, and answers that are longer than a messenger takes.

use serde_json::json;
use switchboard_sdk::v1::{self, DeliveryState, RunState, TurnState};

use super::{change, closed, dialogue, json_of, said, say};
use crate::harness::{Receiver, World, mock, until};

#[tokio::test]
async fn another_engine_answers_when_the_first_has_failed_for_good() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let grpc = world.grpc().await;
    let route = world.route(&receiver, json!({ "fail": "always" })).await;
    let fallback = |settings| v1::Agent { fallback_engine: Some(mock(&settings)), ..v1::Agent::default() };
    change(&world, &route, "fallback_engine", fallback(json!({ "delay_ms": 1 }))).await;
    assert_eq!(say(&world, &receiver, &route, "m1", "hello", 1).await, "You wrote 1 message: “hello”");
    let turn = closed(&grpc, &route).await;
    assert_eq!((turn.state(), turn.reason.as_str()), (TurnState::Replied, ""));
    let runs: Vec<_> = turn
        .runs
        .iter()
        .map(|run| {
            let manifest = json_of(run.manifest.as_ref().unwrap());
            (run.state(), manifest["request"]["engine"]["settings"]["delay_ms"] == 1.0)
        })
        .collect();
    let failed = (RunState::Failed, false);
    assert_eq!(runs, [failed, failed, failed, (RunState::Answered, true)]);

    // It is asked once; then the policy applies.
    change(&world, &route, "fallback_engine", fallback(json!({ "fail": "always" }))).await;
    let policy = v1::ReplyPolicy {
        on_failure: v1::OnFailure::FallbackText.into(),
        fallback_text: "We will be with you soon.".to_owned(),
        ..v1::ReplyPolicy::default()
    };
    world.set_policy(&route, policy).await;
    assert_eq!(say(&world, &receiver, &route, "m2", "hello", 2).await, "We will be with you soon.");
    let turn = closed(&grpc, &route).await;
    assert_eq!((turn.reason.as_str(), turn.runs.len()), ("fallback", 4));
    world.stop().await;
}

#[tokio::test]
async fn a_long_answer_arrives_in_parts_and_in_order() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let grpc = world.grpc().await;
    let route = world.route(&receiver, json!({})).await;
    let policy = v1::DeliveryPolicy { max_text_chars: Some(40), ..v1::DeliveryPolicy::default() };
    world.set_delivery_policy(&route, policy).await.unwrap();
    let text = "One is short. Two is a little longer! Is three a question? Naïve 👨‍👩‍👧‍👦 four ends it.";
    world.new_message(&route, &route.message(Some("m1"), text)).await;
    let turn = closed(&grpc, &route).await;
    let dialogue_id = dialogue(&grpc, &route).await.id;
    let deliveries = until(|| async {
        let request = v1::ListDeliveriesRequest {
            dialogue_id: dialogue_id.clone(),
            ..v1::ListDeliveriesRequest::default()
        };
        let mut found = grpc.dialogues().list_deliveries(request).await.unwrap().into_inner().deliveries;
        found.reverse();
        Some(found).filter(|found| found.iter().all(|it| it.state() == DeliveryState::Delivered))
    })
    .await;
    let received = receiver.received();
    let parts: Vec<_> = received.iter().map(said).collect();
    assert_eq!(parts.concat(), format!("You wrote 1 message: “{text}”"));
    assert!(parts.len() > 2 && parts.iter().all(|part| part.chars().count() <= 40), "{parts:?}");
    // One reply of the turn, several deliveries of it, each with an id of its own.
    assert_eq!(deliveries.len(), parts.len());
    let mut from = 1;
    for ((delivery, part), call) in deliveries.iter().zip(&parts).zip(&received) {
        assert_eq!(delivery.message_id, turn.reply_message_id);
        assert_eq!(call.headers["webhook-id"].to_str().unwrap(), delivery.id);
        let length = i32::try_from(part.chars().count()).unwrap();
        assert_eq!((delivery.text_from, delivery.text_chars), (from, length));
        from += length;
    }
    world.stop().await;
}

#[tokio::test]
async fn a_part_that_fails_holds_back_the_next_and_is_sent_again_alone() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let policy = v1::DeliveryPolicy { max_text_chars: Some(60), ..v1::DeliveryPolicy::default() };
    world.set_delivery_policy(&route, policy).await.unwrap();
    receiver.answer_with(503);
    let text = "The first sentence goes here. The second one follows it at once.";
    world.new_message(&route, &route.message(Some("m1"), text)).await;
    receiver.wait_for(2).await;
    receiver.answer_with(200);
    let whole = format!("You wrote 1 message: “{text}”");
    let received = until(|| async {
        let received = receiver.received();
        Some(received.clone()).filter(|all| all.last().is_some_and(|last| whole.ends_with(&said(last))))
    })
    .await;
    let mut parts: Vec<_> = received.iter().map(said).collect();
    parts.dedup();
    assert_eq!(parts.concat(), whole);
    world.stop().await;
}
