//! Dify, from a customer's message to its answer, against the simulator.

use serde_json::{Value, json};
use simulator::{Call, Fault, KEY, Simulator, Vendor};
use switchboard_sdk::v1::{self, RunState};

use crate::harness::{Receiver, Route, World, until};

async fn simulator() -> Simulator {
    Simulator::start(([127, 0, 0, 1], 0).into()).await.unwrap()
}

fn vendor(simulator: &Simulator) -> &Vendor {
    simulator.vendor("dify").unwrap()
}

/// A server whose operator has an app of this kind.
async fn world(simulator: &Simulator, mode: &str) -> World {
    let url = vendor(simulator).base_url().replace("/v1", &format!("/{mode}/v1"));
    World::with(&[("DIFY_API_KEY", KEY), ("DIFY_BASE_URL", &url)]).await
}

async fn route(world: &World, receiver: &Receiver, settings: Value) -> Route {
    let route = world.route(receiver, json!({})).await;
    world.set_model(&route, "dify", "", settings).await;
    route
}

fn asked(simulator: &Simulator) -> Vec<Value> {
    let calls = vendor(simulator).calls().into_iter();
    let calls = calls.filter(|call: &Call| call.path.ends_with("/chat-messages"));
    calls.map(|call| serde_json::from_slice(&call.body).unwrap()).collect()
}

#[tokio::test]
async fn every_kind_of_app_with_a_chat_keeps_its_conversation() {
    for (mode, settings) in [
        ("chat", json!({})),
        ("chat", json!({ "response_mode": "blocking" })),
        ("agent-chat", json!({ "response_mode": "blocking" })),
        ("agent", json!({})),
        ("advanced-chat", json!({ "inputs": { "city": 5 } })),
    ] {
        let simulator = simulator().await;
        let world = world(&simulator, mode).await;
        let receiver = Receiver::start().await;
        let route = route(&world, &receiver, settings).await;
        world.new_message(&route, &route.message(Some("m1"), "hello")).await;
        assert_eq!(receiver.wait_for(1).await[0].json()["text"], "You wrote 1 message: “hello”", "{mode}");
        world.new_message(&route, &route.message(Some("m2"), "and more")).await;
        assert_eq!(receiver.wait_for(2).await[1].json()["text"], "You wrote 1 message: “and more”", "{mode}");
        let asked = asked(&simulator);
        assert_eq!((asked.len(), &asked[0]["conversation_id"]), (2, &json!("")), "{mode}");
        assert!(asked[1]["conversation_id"].as_str().unwrap().starts_with("9c0d1e2f-"), "{mode}");
        assert_eq!(asked[0]["user"], asked[1]["user"]);
        if mode == "advanced-chat" {
            assert_eq!(asked[1]["inputs"], json!({ "city": "5" }), "inputs are sent with every turn");
        }
        world.stop().await;
    }
}

#[tokio::test]
async fn what_a_preview_said_is_deleted_at_the_vendor() {
    let simulator = simulator().await;
    let world = world(&simulator, "chat").await;
    let receiver = Receiver::start().await;
    let route = route(&world, &receiver, json!({})).await;
    let hello = v1::PreviewMessage { role: v1::MessageRole::User.into(), text: "hello".to_owned() };
    let request = v1::PreviewReplyRequest {
        agent_id: route.agent_id.clone(),
        messages: vec![hello],
        ..v1::PreviewReplyRequest::default()
    };
    let preview = world.grpc().await.agents().preview_reply(request).await.unwrap().into_inner();
    assert_eq!(preview.text, "You wrote 1 message: “hello”");
    let deleted =
        until(|| async { vendor(&simulator).calls().into_iter().find(|call| call.method == "DELETE") }).await;
    assert!(deleted.path.contains("/conversations/9c0d1e2f-"), "{}", deleted.path);
    let body: Value = serde_json::from_slice(&deleted.body).unwrap();
    assert_eq!(body["user"], asked(&simulator)[0]["user"]);
    world.stop().await;
}

#[tokio::test]
async fn a_conversation_that_is_gone_is_begun_anew() {
    let simulator = simulator().await;
    let world = world(&simulator, "chat").await;
    let receiver = Receiver::start().await;
    let route = route(&world, &receiver, json!({})).await;
    world.new_message(&route, &route.message(Some("m1"), "hello")).await;
    receiver.wait_for(1).await;
    until(|| async { (world.said(&route).await.len() == 2).then_some(()) }).await;
    sqlx::query("update engine_notes set notes = jsonb_set(notes, '{conversation}', '\"9c0d1e2f-0000-4000-8000-000000009999\"')")
        .execute(&mut world.owner().await)
        .await
        .unwrap();
    world.new_message(&route, &route.message(Some("m2"), "still there?")).await;
    let text = receiver.wait_for(2).await[1].json()["text"].as_str().unwrap().to_owned();
    assert!(text.contains("still there?"), "{text}");
    let asked = asked(&simulator);
    assert_eq!((asked.len(), &asked[2]["conversation_id"]), (3, &json!("")));
    // What was said before is told to the new one.
    assert!(asked[2]["query"].as_str().unwrap().contains("⟦customer⟧ hello"), "{}", asked[2]["query"]);
    world.stop().await;
}

#[tokio::test]
async fn a_superseded_run_is_stopped_there() {
    let simulator = simulator().await;
    let world = world(&simulator, "chat").await;
    let receiver = Receiver::start().await;
    let route = route(&world, &receiver, json!({})).await;
    let policy =
        v1::ReplyPolicy { newer_message: v1::NewerMessage::Restart.into(), ..v1::ReplyPolicy::default() };
    world.set_policy(&route, policy).await;
    world.new_message(&route, &route.message(Some("m1"), "/pace 100 /tokens 60")).await;
    until(|| async { vendor(&simulator).calls().iter().any(|call| call.pieces > 1).then_some(()) }).await;
    world.new_message(&route, &route.message(Some("m2"), "no, wait")).await;
    // Both are asked together, and the first still says how.
    assert!(receiver.wait_for(1).await[0].json()["text"].as_str().unwrap().ends_with("word60"));
    let stops = vendor(&simulator).calls().into_iter().filter(|call| call.path.ends_with("/stop"));
    let stops: Vec<_> = stops.map(|call| call.path).collect();
    assert_eq!(stops.len(), 1);
    assert!(stops[0].contains("/chat-messages/0a1b2c3d-"), "{stops:?}");
    // Nobody goes on with the conversation that was begun for it.
    let deleted =
        until(|| async { vendor(&simulator).calls().into_iter().find(|call| call.method == "DELETE") }).await;
    assert!(deleted.path.contains("/conversations/9c0d1e2f-"), "{}", deleted.path);
    until(|| async {
        let sql = "select count(*) from erasures where kind = 'CONVERSATION' and done_at is not null and deletion_id is null";
        let done: i64 = sqlx::query_scalar(sql).fetch_one(&mut world.owner().await).await.unwrap();
        (done == 1).then_some(())
    })
    .await;
    let kept: i64 = sqlx::query_scalar("select count(*) from engine_notes")
        .fetch_one(&mut world.owner().await)
        .await
        .unwrap();
    assert_eq!(kept, 1, "the answered one is known");
    world.stop().await;
}

#[tokio::test]
async fn refusals_are_tried_again_where_that_helps() {
    let simulator = simulator().await;
    let world = world(&simulator, "chat").await;
    let receiver = Receiver::start().await;
    let route = route(&world, &receiver, json!({ "idle_timeout_seconds": 0.3 })).await;
    let grpc = world.grpc().await;
    // The app is known from here on, so faults meet questions alone.
    world.new_message(&route, &route.message(None, "hi")).await;
    receiver.wait_for(1).await;
    let (failed, answered) = (RunState::Failed, RunState::Answered);
    for (at, (fault, runs)) in [
        (Fault::Down, vec![failed, answered]),
        (Fault::RateLimited, vec![failed, answered]),
        (Fault::Overloaded, vec![failed, answered]),
        (Fault::QuotaUsedUp, vec![failed]),
        (Fault::Unauthorized, vec![failed]),
    ]
    .into_iter()
    .enumerate()
    {
        vendor(&simulator).faults().add(fault, Some(1));
        world.new_message(&route, &route.message(Some(&format!("m{at}")), "hello")).await;
        let turn = until(|| async {
            let dialogue =
                grpc.dialogues().list_dialogues(v1::ListDialoguesRequest::default()).await.unwrap();
            let dialogue_id = dialogue.into_inner().dialogues.pop()?.id;
            let request = v1::ListTurnsRequest { dialogue_id, ..v1::ListTurnsRequest::default() };
            let turns = grpc.dialogues().list_turns(request).await.unwrap().into_inner().turns;
            let id =
                turns.first().filter(|turn| turns.len() > at + 1 && turn.close_time.is_some())?.id.clone();
            grpc.dialogues().get_turn(v1::GetTurnRequest { id }).await.unwrap().into_inner().turn
        })
        .await;
        let states: Vec<_> = turn.runs.iter().map(v1::Run::state).collect();
        assert_eq!(states, runs, "{fault:?}: {:?}", turn.runs.last().map(|run| &run.error));
    }
    // A stream that stands still after it began is not asked for again: that would be a second message there.
    let before = asked(&simulator).len();
    vendor(&simulator).faults().add(Fault::StallAfterPieces(2), Some(1));
    world.new_message(&route, &route.message(Some("m9"), "hello")).await;
    until(|| async {
        let error: Option<String> =
            sqlx::query_scalar("select error from runs order by started_at desc limit 1")
                .fetch_one(&mut world.owner().await)
                .await
                .unwrap();
        error.filter(|error| error.contains("stood still"))
    })
    .await;
    assert_eq!(asked(&simulator).len(), before + 1);
    world.stop().await;
}
