//! Turns: what an agent does with what it is told.

use serde_json::json;
use switchboard_sdk::v1::{self, RunState, TurnState};

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
    assert!(run.input_tokens > 0 && run.output_tokens > 0, "{run:?}");
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
