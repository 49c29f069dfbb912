//! Engines that answer later: a turn waits as a row, and nobody holds it.

use std::time::Duration;

use serde_json::json;
use switchboard_sdk::v1::{self, RunState, TurnState};

use crate::harness::{Grpc, Receiver, Route, World, until};

/// The newest turn of the route's dialogue, with its runs.
async fn newest(grpc: &Grpc, route: &Route) -> Option<v1::Turn> {
    let request = v1::ListDialoguesRequest {
        channel_id: route.channel_id.clone(),
        ..v1::ListDialoguesRequest::default()
    };
    let dialogue = grpc.dialogues().list_dialogues(request).await.unwrap().into_inner().dialogues.pop()?;
    let request = v1::ListTurnsRequest { dialogue_id: dialogue.id, ..v1::ListTurnsRequest::default() };
    let id = grpc.dialogues().list_turns(request).await.unwrap().into_inner().turns.first()?.id.clone();
    grpc.dialogues().get_turn(v1::GetTurnRequest { id }).await.unwrap().into_inner().turn
}

async fn waits(grpc: &Grpc, route: &Route) -> v1::Turn {
    until(|| async {
        newest(grpc, route)
            .await
            .filter(|turn| turn.runs.last().map(v1::Run::state) == Some(RunState::Waiting))
    })
    .await
}

async fn closed(grpc: &Grpc, route: &Route) -> v1::Turn {
    until(|| async { newest(grpc, route).await.filter(|turn| turn.close_time.is_some()) }).await
}

fn states(turn: &v1::Turn) -> Vec<RunState> {
    turn.runs.iter().map(v1::Run::state).collect()
}

#[tokio::test]
async fn a_waiting_turn_is_one_run_and_survives_a_restart() {
    let mut world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    world.new_message(&route, &route.message(Some("m1"), "/later 2500 think")).await;
    let turn = waits(&world.grpc().await, &route).await;
    assert_eq!(turn.state(), TurnState::Running);

    // What comes while the process is away waits behind it.
    world.server.take().unwrap().stop().await.unwrap();
    let (locked, failures, notes): (i64, i64, i64) = sqlx::query_as(
        "select (select count(*) from job_keys where locked_by is not null),
                (select count(*) from jobs where failures > 0), (select count(*) from engine_notes)",
    )
    .fetch_one(&mut world.owner().await)
    .await
    .unwrap();
    assert_eq!((locked, failures, notes), (0, 0, 1));
    world.server = Some(world.another().await);
    world.new_message(&route, &route.message(Some("m2"), "and then?")).await;

    let received = receiver.wait_for(2).await;
    assert!(received[0].json()["text"].as_str().unwrap().contains("think"));
    assert!(received[1].json()["text"].as_str().unwrap().contains("and then?"));
    let id = turn.id;
    let turn = world.grpc().await.dialogues().get_turn(v1::GetTurnRequest { id }).await.unwrap();
    let turn = turn.into_inner().turn.unwrap();
    // It began in time: that it waits for its engine doesn't make it late.
    assert_eq!(
        (states(&turn), turn.state(), turn.late),
        (vec![RunState::Answered], TurnState::Replied, false)
    );
    world.stop().await;
}

#[tokio::test]
async fn waiting_takes_no_place_from_others() {
    let world = World::with(&[("SWITCHBOARD_CONCURRENCY", "1")]).await;
    let receiver = Receiver::start().await;
    let slow = world.route(&receiver, json!({})).await;
    for chat in 0..5 {
        let mut body = slow.message(Some(&format!("m{chat}")), "/later 60000 think");
        body["chat_id"] = json!(format!("{}/{chat}", slow.channel_id));
        assert_eq!(world.new_message(&slow, &body).await.status, 200);
    }
    let quick = world.route(&receiver, json!({})).await;
    world.new_message(&quick, &quick.message(None, "quick")).await;
    assert!(receiver.wait_for(1).await[0].json()["text"].as_str().unwrap().contains("quick"));
    world.stop().await;
}

#[tokio::test]
async fn a_newer_message_supersedes_a_run_that_waits() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let policy = v1::ReplyPolicy {
        newer_message: v1::NewerMessage::Restart.into(),
        quiet_window: Some(prost_types::Duration { seconds: 0, nanos: 300_000_000 }),
        ..v1::ReplyPolicy::default()
    };
    world.set_policy(&route, policy).await;
    world.new_message(&route, &route.message(Some("m1"), "/later 60000 think")).await;
    let grpc = world.grpc().await;
    waits(&grpc, &route).await;
    for (id, text) in [("m2", "/later 60000 no"), ("m3", "never mind")] {
        world.new_message(&route, &route.message(Some(id), text)).await;
    }
    let text = receiver.wait_for(1).await[0].json()["text"].to_string();
    assert!(text.contains("think") && text.contains("never mind"), "{text}");
    let turn = closed(&grpc, &route).await;
    // The burst was one: its first message alone started no run.
    assert_eq!(states(&turn), [RunState::Superseded, RunState::Answered]);
    assert_eq!((turn.state(), turn.covered_through), (TurnState::Replied, 3));
    world.stop().await;
}

#[tokio::test]
async fn a_person_who_takes_over_ends_the_wait() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    world.new_message(&route, &route.message(Some("m1"), "/later 60000 think")).await;
    let grpc = world.grpc().await;
    let dialogue_id = waits(&grpc, &route).await.dialogue_id;
    let request = v1::TakeControlRequest { dialogue_id, ..v1::TakeControlRequest::default() };
    grpc.dialogues().take_control(request).await.unwrap();
    let turn = closed(&grpc, &route).await;
    assert_eq!((turn.state(), turn.reason.as_str()), (TurnState::Silent, "human_holds"));
    assert!(receiver.received().is_empty());
    world.stop().await;
}

#[tokio::test]
async fn a_wait_has_an_end() {
    let world = World::with(&[("SWITCHBOARD_ENGINE_WAIT_SECONDS", "1")]).await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    world.new_message(&route, &route.message(Some("m1"), "/later 60000 think")).await;
    let begun = std::time::Instant::now();
    let turn = closed(&world.grpc().await, &route).await;
    assert_eq!((turn.state(), turn.reason.as_str()), (TurnState::Failed, "engine_failed"));
    assert_eq!(states(&turn), [RunState::Failed]);
    assert!(turn.runs[0].error.contains("longest wait"), "{}", turn.runs[0].error);
    assert!(begun.elapsed() < Duration::from_secs(10));
    world.stop().await;
}
