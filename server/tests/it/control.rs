//! Who holds a dialogue: a human always wins.

use serde_json::json;
use switchboard_sdk::v1::{self, ControlHolder, DialogueStatus, MessageRole, RunState, TurnState};

use crate::harness::{Grpc, Receiver, Route, World, reason, until};

fn seconds(seconds: i64) -> prost_types::Duration {
    prost_types::Duration { seconds, nanos: 0 }
}

async fn dialogue_of(grpc: &Grpc, route: &Route) -> v1::Dialogue {
    let request = v1::ListDialoguesRequest {
        channel_id: route.channel_id.clone(),
        ..v1::ListDialoguesRequest::default()
    };
    grpc.dialogues().list_dialogues(request).await.unwrap().into_inner().dialogues.pop().unwrap()
}

async fn take(grpc: &Grpc, dialogue_id: &str) -> v1::Dialogue {
    let request = v1::TakeControlRequest {
        dialogue_id: dialogue_id.to_owned(),
        by: "Maria".to_owned(),
        reason: "asked for".to_owned(),
        return_after: None,
    };
    grpc.dialogues().take_control(request).await.unwrap().into_inner().dialogue.unwrap()
}

async fn newest_turn(grpc: &Grpc, dialogue_id: &str) -> v1::Turn {
    let id = until(|| async {
        let request =
            v1::ListTurnsRequest { dialogue_id: dialogue_id.to_owned(), ..v1::ListTurnsRequest::default() };
        let turns = grpc.dialogues().list_turns(request).await.unwrap().into_inner().turns;
        turns.into_iter().next().filter(|turn| turn.close_time.is_some()).map(|turn| turn.id)
    })
    .await;
    grpc.dialogues().get_turn(v1::GetTurnRequest { id }).await.unwrap().into_inner().turn.unwrap()
}

async fn messages(grpc: &Grpc, dialogue_id: &str) -> Vec<v1::Message> {
    let request =
        v1::ListMessagesRequest { dialogue_id: dialogue_id.to_owned(), ..v1::ListMessagesRequest::default() };
    grpc.dialogues().list_messages(request).await.unwrap().into_inner().messages
}

#[tokio::test]
async fn an_answer_in_the_making_is_not_sent_when_a_human_takes_over() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({ "delay_ms": 10_000 })).await;
    let grpc = world.grpc().await;
    world.new_message(&route, &route.message(Some("m1"), "hello")).await;
    let dialogue = dialogue_of(&grpc, &route).await;
    assert_eq!(dialogue.control.as_ref().unwrap().holder(), ControlHolder::Agent);
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;

    let taken = take(&grpc, &dialogue.id).await;
    let control = taken.control.clone().unwrap();
    assert_eq!((taken.status(), control.holder()), (DialogueStatus::Open, ControlHolder::Human));
    assert_eq!((control.by.as_str(), control.reason.as_str()), ("Maria", "asked for"));
    // The engine's call is ended at once, not waited for.
    let turn = newest_turn(&grpc, &dialogue.id).await;
    assert_eq!((turn.state(), turn.reason.as_str()), (TurnState::Silent, "human_holds"));
    assert_eq!(turn.runs[0].state(), RunState::Superseded);
    assert!(receiver.received().is_empty());
    // Each change is a marker in the history.
    let markers: Vec<_> =
        messages(&grpc, &dialogue.id).await.into_iter().filter(|m| m.role() == MessageRole::System).collect();
    assert_eq!(markers.len(), 1);

    // What the customer says meanwhile is recorded, and silent.
    world.new_message(&route, &route.message(Some("m2"), "still there?")).await;
    assert_eq!(newest_turn(&grpc, &dialogue.id).await.reason, "human_holds");

    let request = v1::ReleaseControlRequest { dialogue_id: dialogue.id.clone(), ..Default::default() };
    let released = grpc.dialogues().release_control(request).await.unwrap().into_inner().dialogue.unwrap();
    assert_eq!(released.status(), DialogueStatus::Pending);
    let request = v1::ListEventsRequest {
        types: vec!["dialogue.control_changed".to_owned()],
        ..v1::ListEventsRequest::default()
    };
    until(|| async {
        let page = grpc.events().list_events(request.clone()).await.unwrap().into_inner();
        Some(()).filter(|()| page.events.len() == 2)
    })
    .await;
    world.stop().await;
}

#[tokio::test]
async fn a_reply_that_waits_to_go_out_is_withheld_when_a_human_takes_over() {
    let world = World::with(&[("SWITCHBOARD_DELIVERY_PAUSES", "700ms,700ms,700ms")]).await;
    let receiver = Receiver::start().await;
    // A refusal that surely had no effect.
    receiver.answer_with(429);
    let route = world.route(&receiver, json!({})).await;
    let grpc = world.grpc().await;
    world.new_message(&route, &route.message(Some("m1"), "hello")).await;
    receiver.wait_for(1).await;
    let dialogue = dialogue_of(&grpc, &route).await;
    take(&grpc, &dialogue.id).await;
    receiver.answer_with(200);
    let delivery = until(|| async {
        let request = v1::ListDeliveriesRequest::default();
        let found = grpc.dialogues().list_deliveries(request).await.unwrap().into_inner().deliveries.pop();
        found.filter(|delivery| delivery.settle_time.is_some())
    })
    .await;
    assert_eq!((delivery.state(), delivery.reason.as_str()), (v1::DeliveryState::Withheld, "human_holds"));
    assert_eq!(receiver.received().len(), 1);

    // The agent learns that it was never said: what the customer wrote is still to be answered.
    let request = v1::ReleaseControlRequest { dialogue_id: dialogue.id.clone(), ..Default::default() };
    grpc.dialogues().release_control(request).await.unwrap();
    world.new_message(&route, &route.message(Some("m2"), "anybody?")).await;
    let answer = receiver.wait_for(2).await[1].json()["text"].to_string();
    assert!(answer.contains("hello") && answer.contains("anybody?"), "{answer}");
    world.stop().await;
}

#[tokio::test]
async fn a_persons_message_takes_control_and_a_timer_gives_it_back() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let grpc = world.grpc().await;
    let policy = v1::ReplyPolicy { return_after: Some(seconds(1)), ..v1::ReplyPolicy::default() };
    world.set_policy(&route, policy).await;
    world.new_message(&route, &route.message(Some("m1"), "hello")).await;
    receiver.wait_for(1).await;
    let dialogue = dialogue_of(&grpc, &route).await;

    let request_id = "0198c0de-0000-4000-8000-000000000001".to_owned();
    let request = v1::SendMessageRequest {
        dialogue_id: dialogue.id.clone(),
        text: "Maria here".to_owned(),
        author: v1::MessageAuthor::Operator.into(),
        by: "Maria".to_owned(),
        request_id,
        ..v1::SendMessageRequest::default()
    };
    let sent = grpc.dialogues().send_message(request.clone()).await.unwrap().into_inner();
    let again = grpc.dialogues().send_message(request).await.unwrap().into_inner();
    assert_eq!(sent.message.as_ref().unwrap().id, again.message.unwrap().id);
    assert_eq!(sent.message.unwrap().role(), MessageRole::Employee);
    let received = receiver.wait_for(2).await;
    assert_eq!(received[1].json()["text"], "Maria here");
    let taken = dialogue_of(&grpc, &route).await;
    assert_eq!(taken.status(), DialogueStatus::Open);
    assert!(taken.control.unwrap().return_time.is_some());

    let returned = until(|| async {
        Some(dialogue_of(&grpc, &route).await).filter(|dialogue| dialogue.status() == DialogueStatus::Pending)
    })
    .await;
    assert_eq!(returned.control.unwrap().reason, "timer");
    world.new_message(&route, &route.message(Some("m2"), "and you?")).await;
    assert_eq!(receiver.wait_for(3).await.len(), 3);
    world.stop().await;
}

#[tokio::test]
async fn what_a_person_says_prolongs_the_span_that_was_agreed() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let grpc = world.grpc().await;
    world.new_message(&route, &route.message(Some("m1"), "hello")).await;
    receiver.wait_for(1).await;
    let id = dialogue_of(&grpc, &route).await.id;
    let take = async |span: Option<i64>| {
        let request = v1::TakeControlRequest {
            dialogue_id: id.clone(),
            return_after: span.map(seconds),
            ..v1::TakeControlRequest::default()
        };
        grpc.dialogues().take_control(request).await.unwrap();
    };
    let returns = async || {
        let dialogue = dialogue_of(&grpc, &route).await;
        assert_eq!(dialogue.status(), DialogueStatus::Open);
        dialogue
            .control
            .unwrap()
            .return_time
            .map(|at| i128::from(at.seconds) * 1_000_000_000 + i128::from(at.nanos))
    };
    let operator = async |text: &str| {
        let request = v1::SendMessageRequest {
            dialogue_id: id.clone(),
            text: text.to_owned(),
            author: v1::MessageAuthor::Operator.into(),
            ..v1::SendMessageRequest::default()
        };
        grpc.dialogues().send_message(request).await.unwrap();
    };
    take(Some(3_600)).await;
    let taken = returns().await.unwrap();
    // No span of the agent's policy, and yet each message counts: the operator's, and the employee's, which takes nothing.
    operator("I look into it").await;
    let spoke = returns().await.unwrap();
    assert!(spoke > taken);
    let mut body = route.message(Some("e1"), "from the helpdesk");
    body["message_sender"] = "employee".into();
    world.new_message(&route, &body).await;
    let again = returns().await.unwrap();
    assert!(again > spoke && again - taken < 60_000_000_000, "{taken} {spoke} {again}");
    // Who takes it anew agrees anew; a shorter span, too. The policy's longer one prolongs it.
    take(Some(60)).await;
    assert!(returns().await.unwrap() < taken - 3_000_000_000_000);
    let policy = v1::ReplyPolicy { return_after: Some(seconds(7_200)), ..v1::ReplyPolicy::default() };
    world.set_policy(&route, policy).await;
    operator("still on it").await;
    assert!(returns().await.unwrap() > again);

    // The customer prolongs nothing, and what is not agreed stays so.
    let before = returns().await;
    world.new_message(&route, &route.message(Some("m2"), "thanks")).await;
    assert_eq!(returns().await, before);
    world.stop().await;
}

#[tokio::test]
async fn an_employees_message_takes_control_where_the_policy_says_so() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let grpc = world.grpc().await;
    let policy = v1::ReplyPolicy { takeover: v1::Takeover::TakeControl.into(), ..v1::ReplyPolicy::default() };
    world.set_policy(&route, policy).await;
    let mut body = route.message(Some("m1"), "I take this one");
    body["message_sender"] = "employee".into();
    assert_eq!(world.new_message(&route, &body).await.status, 200);
    let dialogue = dialogue_of(&grpc, &route).await;
    assert_eq!(dialogue.status(), DialogueStatus::Open);
    assert_eq!(dialogue.control.unwrap().reason, "employee_message");
    world.stop().await;
}

#[tokio::test]
async fn nobody_answers_in_a_resolved_dialogue_until_the_customer_writes() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({ "delay_ms": 10_000 })).await;
    let grpc = world.grpc().await;
    world.new_message(&route, &route.message(Some("m1"), "hello")).await;
    let id = dialogue_of(&grpc, &route).await.id;
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    let update = |paths: &[&str]| v1::UpdateDialogueRequest {
        dialogue: Some(v1::Dialogue {
            id: id.clone(),
            status: DialogueStatus::Resolved.into(),
            ..v1::Dialogue::default()
        }),
        update_mask: Some(prost_types::FieldMask { paths: paths.iter().map(ToString::to_string).collect() }),
    };
    let refused = grpc.dialogues().update_dialogue(update(&["chat"])).await.unwrap_err();
    assert_eq!(reason(&refused).0, "FIELD_MASK_INVALID");
    grpc.dialogues().update_dialogue(update(&["status"])).await.unwrap();
    assert_eq!(newest_turn(&grpc, &id).await.reason, "nobody_holds");

    world.set_engine(&route, json!({})).await;
    world.new_message(&route, &route.message(Some("m2"), "one more thing")).await;
    receiver.wait_for(1).await;
    let dialogue = dialogue_of(&grpc, &route).await;
    assert_eq!(dialogue.status(), DialogueStatus::Pending);
    assert_eq!(dialogue.control.unwrap().reason, "customer_message");
    world.stop().await;
}

#[tokio::test]
async fn a_programs_message_waits_for_no_human_and_is_withheld() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let grpc = world.grpc().await;
    world.new_message(&route, &route.message(Some("m1"), "hello")).await;
    receiver.wait_for(1).await;
    let dialogue_id = dialogue_of(&grpc, &route).await.id;
    let send = |text: &str| v1::SendMessageRequest {
        dialogue_id: dialogue_id.clone(),
        text: text.to_owned(),
        author: v1::MessageAuthor::Automation.into(),
        ..v1::SendMessageRequest::default()
    };
    grpc.dialogues().send_message(send("your order is on its way")).await.unwrap();
    receiver.wait_for(2).await;
    take(&grpc, &dialogue_id).await;
    let sent = grpc.dialogues().send_message(send("it arrived")).await.unwrap().into_inner();
    let get = v1::GetDeliveryRequest { id: sent.delivery.unwrap().id };
    let withheld = until(|| async {
        let delivery =
            grpc.dialogues().get_delivery(get.clone()).await.unwrap().into_inner().delivery.unwrap();
        Some(delivery).filter(|delivery| delivery.state() == v1::DeliveryState::Withheld)
    })
    .await;
    assert_eq!((withheld.reason.as_str(), withheld.author()), ("human_holds", v1::MessageAuthor::Automation));

    let refused = grpc.dialogues().send_message(v1::SendMessageRequest::default()).await.unwrap_err();
    assert_eq!(reason(&refused), ("FIELD_INVALID".to_owned(), vec!["author".to_owned()]));
    let unknown = v1::SendMessageRequest { dialogue_id: route.agent_id.clone(), ..send("x") };
    assert_eq!(reason(&grpc.dialogues().send_message(unknown).await.unwrap_err()).0, "DIALOGUE_NOT_FOUND");
    world.stop().await;
}

#[tokio::test]
async fn absurd_spans_of_control_are_refused() {
    let world = World::new().await;
    let grpc = world.grpc().await;
    for span in [seconds(-5), seconds(0), seconds(i64::MAX)] {
        let request = v1::TakeControlRequest {
            dialogue_id: "0198c0de-0000-7000-8000-000000000001".to_owned(),
            return_after: Some(span),
            ..v1::TakeControlRequest::default()
        };
        let refused = grpc.dialogues().take_control(request).await.unwrap_err();
        assert_eq!(reason(&refused), ("FIELD_INVALID".to_owned(), vec!["return_after".to_owned()]));
    }
    world.stop().await;
}

#[tokio::test]
async fn what_may_have_arrived_is_held_and_not_called_withheld() {
    let world = World::with(&[("SWITCHBOARD_DELIVERY_PAUSES", "700ms,700ms,700ms")]).await;
    let receiver = Receiver::start().await;
    receiver.answer_with(crate::harness::CUT);
    let route = world.route(&receiver, json!({})).await;
    let grpc = world.grpc().await;
    world.new_message(&route, &route.message(Some("m1"), "hello")).await;
    receiver.wait_for(1).await;
    take(&grpc, &dialogue_of(&grpc, &route).await.id).await;
    let held = until(|| async {
        let request = v1::ListDeliveriesRequest::default();
        let found = grpc.dialogues().list_deliveries(request).await.unwrap().into_inner().deliveries.pop();
        found.filter(|delivery| delivery.state() == v1::DeliveryState::Held)
    })
    .await;
    assert_eq!((held.reason.as_str(), held.attempt_count), ("maybe_delivered", 1));
    assert_eq!(receiver.received().len(), 1);
    world.stop().await;
}

#[tokio::test]
async fn a_reply_that_waits_is_withheld_when_the_dialogue_is_resolved() {
    let world = World::with(&[("SWITCHBOARD_DELIVERY_PAUSES", "700ms,700ms,700ms")]).await;
    let receiver = Receiver::start().await;
    // A refusal that surely had no effect.
    receiver.answer_with(429);
    let route = world.route(&receiver, json!({})).await;
    let grpc = world.grpc().await;
    world.new_message(&route, &route.message(Some("m1"), "hello")).await;
    receiver.wait_for(1).await;
    let id = dialogue_of(&grpc, &route).await.id;
    let set = |status: DialogueStatus| v1::UpdateDialogueRequest {
        dialogue: Some(v1::Dialogue { id: id.clone(), status: status.into(), ..v1::Dialogue::default() }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["status".to_owned()] }),
    };
    grpc.dialogues().update_dialogue(set(DialogueStatus::Resolved)).await.unwrap();
    let withheld = until(|| async {
        let request = v1::ListDeliveriesRequest::default();
        let found = grpc.dialogues().list_deliveries(request).await.unwrap().into_inner().deliveries.pop();
        found.filter(|delivery| delivery.settle_time.is_some())
    })
    .await;
    assert_eq!((withheld.state(), withheld.reason.as_str()), (v1::DeliveryState::Withheld, "nobody_holds"));

    // Setting what is set already leaves a human's span of control alone.
    let request = v1::TakeControlRequest {
        dialogue_id: id.clone(),
        return_after: Some(seconds(3_600)),
        ..v1::TakeControlRequest::default()
    };
    grpc.dialogues().take_control(request).await.unwrap();
    let changed = grpc.dialogues().update_dialogue(set(DialogueStatus::Open)).await.unwrap().into_inner();
    assert!(changed.dialogue.unwrap().control.unwrap().return_time.is_some());
    world.stop().await;
}
