//! Turns: what an agent does with what it is told.

use serde_json::json;
use switchboard_sdk::v1::{self, MessageRole, RunState, TurnState};

use crate::harness::{Receiver, Route, World, until};

async fn closed_turn(world: &World, route: &Route) -> v1::Turn {
    let grpc = world.grpc().await;
    let id = until(|| async {
        let request = v1::ListDialoguesRequest {
            channel_id: route.channel_id.clone(),
            ..v1::ListDialoguesRequest::default()
        };
        let dialogue =
            grpc.dialogues().list_dialogues(request).await.unwrap().into_inner().dialogues.pop()?;
        let request = v1::ListTurnsRequest { dialogue_id: dialogue.id, ..v1::ListTurnsRequest::default() };
        let turn =
            grpc.dialogues().list_turns(request).await.unwrap().into_inner().turns.into_iter().next()?;
        turn.close_time.map(|_| turn.id)
    })
    .await;
    grpc.dialogues().get_turn(v1::GetTurnRequest { id }).await.unwrap().into_inner().turn.unwrap()
}

#[tokio::test]
async fn a_turn_shows_what_the_engine_was_given_and_answered() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    world.new_message(&route, &route.message(Some("m1"), "hello")).await;
    let turn = closed_turn(&world, &route).await;
    assert_eq!((turn.state(), turn.covered_through), (TurnState::Replied, 1));
    assert!(!turn.reply_message_id.is_empty());
    assert_eq!(turn.runs.len(), 1);
    let run = &turn.runs[0];
    assert_eq!(run.state(), RunState::Answered);
    let usage = run.usage.as_ref().unwrap();
    assert!(usage.input_tokens > Some(0) && usage.output_tokens > Some(0), "{run:?}");
    let manifest = run.manifest.as_ref().unwrap();
    assert!(manifest.fields.contains_key("request") && manifest.fields.contains_key("steps"));
    world.stop().await;
}

#[tokio::test]
async fn a_failing_engine_is_tried_again_and_given_up() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let once = world.route(&receiver, json!({ "fail": "once" })).await;
    world.new_message(&once, &once.message(Some("m1"), "hello")).await;
    let turn = closed_turn(&world, &once).await;
    let states: Vec<_> = turn.runs.iter().map(v1::Run::state).collect();
    assert_eq!((turn.state(), states), (TurnState::Replied, vec![RunState::Failed, RunState::Answered]));

    let always = world.route(&receiver, json!({ "fail": "always" })).await;
    world.new_message(&always, &always.message(Some("m1"), "hello")).await;
    let turn = closed_turn(&world, &always).await;
    assert_eq!(
        (turn.state(), turn.reason.as_str(), turn.runs.len()),
        (TurnState::Failed, "engine_failed", 3)
    );
    assert!(!turn.runs[0].error.is_empty());
    world.stop().await;
}

#[tokio::test]
async fn a_tool_takes_effect_once() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    world.new_message(&route, &route.message(Some("m1"), "/tool set_attribute city Riga")).await;
    let turn = closed_turn(&world, &route).await;
    assert_eq!(turn.state(), TurnState::Replied);
    let grpc = world.grpc().await;
    let request = v1::GetDialogueRequest { id: turn.dialogue_id };
    let dialogue = grpc.dialogues().get_dialogue(request).await.unwrap().into_inner().dialogue.unwrap();
    let city = dialogue.attributes.unwrap().fields.remove("city").unwrap();
    assert_eq!(city.kind, Some(prost_types::value::Kind::StringValue("Riga".to_owned())));
    world.stop().await;
}

#[tokio::test]
async fn messages_that_come_while_a_turn_runs_are_the_next_turn() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({ "delay_ms": 400 })).await;
    world.new_message(&route, &route.message(Some("m1"), "one")).await;
    tokio::time::sleep(std::time::Duration::from_millis(150)).await;
    for (id, text) in [("m2", "two"), ("m3", "three"), ("m4", "four")] {
        world.new_message(&route, &route.message(Some(id), text)).await;
    }
    let received = receiver.wait_for(2).await;
    let second = received[1].json()["text"].to_string();
    assert!(second.contains("two") && second.contains("three") && second.contains("four"), "{second}");
    // Nobody is answered twice.
    assert!(!second.contains("one"), "{second}");
    tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    assert_eq!(receiver.received().len(), 2);
    world.stop().await;
}

#[tokio::test]
async fn an_inactive_agent_stays_silent_and_says_why() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let grpc = world.grpc().await;
    let request = v1::UpdateAgentRequest {
        agent: Some(v1::Agent { id: route.agent_id.clone(), active: Some(false), ..v1::Agent::default() }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["active".to_owned()] }),
    };
    grpc.agents().update_agent(request).await.unwrap();
    world.new_message(&route, &route.message(Some("m1"), "hello")).await;
    let turn = closed_turn(&world, &route).await;
    assert_eq!((turn.state(), turn.reason.as_str()), (TurnState::Silent, "agent_inactive"));
    assert!(receiver.received().is_empty());
    world.stop().await;
}

#[tokio::test]
async fn a_dialogue_is_read_by_its_id_or_its_channel_in_pages_of_any_size() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let token = format!("Bearer {}", route.agent_token);
    let headers = [("x-chatbot_auth_token", token.as_str()), ("prefer", "wait=10")];
    for text in ["one", "two", "three"] {
        let body = route.message(Some(text), text).to_string();
        assert_eq!(world.post("/api/webhook/new_message", &headers, body).await.status, 200);
    }
    let mut room = route.message(Some("r1"), "in a room");
    room["chat_id"] = json!(format!("{}/room", route.channel_id));
    assert_eq!(world.post("/api/webhook/new_message", &headers, room.to_string()).await.status, 200);

    let grpc = world.grpc().await;
    let by_channel = async |page_size: i32| {
        let (mut messages, mut page_token, mut dialogue) = (Vec::new(), String::new(), String::new());
        loop {
            let request =
                v1::GetChannelDialogueRequest { id: route.channel_id.clone(), page_size, page_token };
            let page = grpc.channels().get_channel_dialogue(request).await.unwrap().into_inner();
            assert!(page.messages.len() <= usize::try_from(page_size).unwrap());
            dialogue = page.messages.first().map_or(dialogue, |message| message.dialogue_id.clone());
            messages.extend(page.messages);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return (dialogue, messages);
            }
        }
    };
    let (dialogue_id, whole) = by_channel(100).await;
    let texts: Vec<_> = whole.iter().map(|message| (message.seq, message.role())).collect();
    let expected =
        (1..=6).map(|seq| (seq, if seq % 2 == 1 { MessageRole::User } else { MessageRole::Assistant }));
    assert_eq!(texts, expected.collect::<Vec<_>>(), "the chat in a room is another dialogue's");
    assert_eq!((whole[0].text.as_str(), whole[0].external_id.as_str()), ("one", "one"));
    for page_size in [1, 2, 5, 6] {
        assert_eq!(by_channel(page_size).await.1, whole, "pages of {page_size}");
        let (mut messages, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = v1::ListMessagesRequest { dialogue_id: dialogue_id.clone(), page_size, page_token };
            let page = grpc.dialogues().list_messages(request).await.unwrap().into_inner();
            messages.extend(page.messages);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        assert_eq!(messages, whole, "pages of {page_size}");
    }
    world.stop().await;
}

#[tokio::test]
async fn the_dialogue_of_a_channel_that_nobody_wrote_to_is_empty() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let request = v1::GetChannelDialogueRequest {
        id: route.channel_id.clone(),
        ..v1::GetChannelDialogueRequest::default()
    };
    let read = world.grpc().await.channels().get_channel_dialogue(request).await.unwrap().into_inner();
    assert!(read.messages.is_empty() && read.next_page_token.is_empty(), "{read:?}");
    world.stop().await;
}
