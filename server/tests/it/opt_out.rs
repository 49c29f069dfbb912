//! Customers who want no messages that they did not ask for.

use serde_json::json;
use switchboard_sdk::v1::{self, DeliveryState, MessageAuthor};

use crate::harness::{Receiver, World, until};

#[tokio::test]
async fn who_has_opted_out_is_answered_and_gets_nothing_else_from_programs() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let grpc = world.grpc().await;
    world.new_message(&route, &route.message(Some("m1"), "hello")).await;
    receiver.wait_for(1).await;
    let request = v1::ListDialoguesRequest::default();
    let dialogue = grpc.dialogues().list_dialogues(request).await.unwrap().into_inner().dialogues.remove(0);
    assert!(!dialogue.opted_out);
    let opt = async |opted_out: bool| {
        let changed = v1::Dialogue { id: dialogue.id.clone(), opted_out, ..v1::Dialogue::default() };
        let request = v1::UpdateDialogueRequest {
            dialogue: Some(changed),
            update_mask: Some(prost_types::FieldMask { paths: vec!["opted_out".to_owned()] }),
        };
        grpc.dialogues().update_dialogue(request).await.unwrap().into_inner().dialogue.unwrap()
    };
    let send = async |author: MessageAuthor, text: &str| {
        let request = v1::SendMessageRequest {
            dialogue_id: dialogue.id.clone(),
            text: text.to_owned(),
            author: author.into(),
            ..v1::SendMessageRequest::default()
        };
        let id = grpc.dialogues().send_message(request).await.unwrap().into_inner().delivery.unwrap().id;
        until(|| async {
            let request = v1::GetDeliveryRequest { id: id.clone() };
            let found = grpc.dialogues().get_delivery(request).await.unwrap().into_inner().delivery.unwrap();
            Some(found).filter(|delivery| delivery.settle_time.is_some())
        })
        .await
    };
    let changed = opt(true).await;
    assert!(changed.opted_out && changed.status() == dialogue.status());
    // The verdict is kept with the message.
    let withheld = send(MessageAuthor::Automation, "only today").await;
    assert_eq!((withheld.state(), withheld.reason.as_str()), (DeliveryState::Withheld, "opted_out"));
    assert!(withheld.attempts.is_empty());
    // What the customer writes is answered all the same, and people may write.
    world.new_message(&route, &route.message(Some("m2"), "one question")).await;
    assert!(receiver.wait_for(2).await[1].json()["text"].to_string().contains("one question"));
    assert_eq!(send(MessageAuthor::Operator, "Maria here").await.state(), DeliveryState::Delivered);
    let request = v1::ReleaseControlRequest { dialogue_id: dialogue.id.clone(), ..Default::default() };
    grpc.dialogues().release_control(request).await.unwrap();

    assert!(!opt(false).await.opted_out);
    assert_eq!(send(MessageAuthor::Automation, "only today").await.state(), DeliveryState::Delivered);
    let told: Vec<_> = receiver.received().iter().map(|call| call.json()["text"].to_string()).collect();
    assert_eq!(told.iter().filter(|text| text.contains("only today")).count(), 1, "{told:?}");
    let request = v1::ListEventsRequest {
        types: vec!["dialogue.updated".to_owned()],
        ..v1::ListEventsRequest::default()
    };
    until(|| async {
        let events = grpc.events().list_events(request.clone()).await.unwrap().into_inner().events;
        let told =
            events.iter().filter(|event| event.data.as_ref().unwrap().fields.contains_key("opted_out"));
        (told.count() == 2).then_some(())
    })
    .await;
    world.stop().await;
}
