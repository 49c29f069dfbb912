//! Gemini, from a customer's message to its answer, against the simulator.

use serde_json::{Value, json};
use simulator::{KEY, Simulator, Vendor};
use switchboard_sdk::v1::{self, RunState};

use crate::harness::{Receiver, Route, World, until};

async fn simulator() -> Simulator {
    Simulator::start(([127, 0, 0, 1], 0).into()).await.unwrap()
}

fn vendor(simulator: &Simulator) -> &Vendor {
    simulator.vendor("gemini").unwrap()
}

async fn world(simulator: &Simulator) -> World {
    let url = vendor(simulator).base_url().to_owned();
    World::with(&[("GEMINI_API_KEY", KEY), ("GEMINI_BASE_URL", &url)]).await
}

async fn route(world: &World, receiver: &Receiver, settings: Value) -> Route {
    let route = world.route(receiver, json!({})).await;
    world.set_model(&route, "gemini", "gemini-3.6-flash", settings).await;
    route
}

#[tokio::test]
async fn it_answers_streamed_and_whole_and_calls_tools_with_its_signatures() {
    for streams in [true, false] {
        let simulator = simulator().await;
        let world = world(&simulator).await;
        let receiver = Receiver::start().await;
        let route = route(&world, &receiver, json!({ "stream": streams })).await;
        world.new_message(&route, &route.message(Some("m1"), "hello")).await;
        assert_eq!(receiver.wait_for(1).await[0].json()["text"], "You wrote 1 message: “hello”");
        world.new_message(&route, &route.message(Some("m2"), "/tool set_attribute plan gold")).await;
        let text = receiver.wait_for(2).await[1].json()["text"].as_str().unwrap().to_owned();
        assert!(text.starts_with("set_attribute gave {"), "{text}");
        let calls = vendor(&simulator).calls();
        assert!(calls.iter().all(|call| call.status == Some(http::StatusCode::OK)), "{calls:?}");
        let last: Value = serde_json::from_slice(&calls[2].body).unwrap();
        let contents = last["contents"].as_array().unwrap();
        let called = &contents[contents.len() - 2]["parts"][0];
        assert!(called["thoughtSignature"].as_str().unwrap().starts_with("sig"), "{called}");
        assert_eq!(
            called["functionCall"]["id"],
            contents[contents.len() - 1]["parts"][0]["functionResponse"]["id"]
        );
        world.stop().await;
    }
}

#[tokio::test]
async fn refusals_and_broken_streams_are_tried_again_where_that_helps() {
    let simulator = simulator().await;
    let world = world(&simulator).await;
    let receiver = Receiver::start().await;
    let route = route(&world, &receiver, json!({ "idle_timeout_seconds": 0.3 })).await;
    let grpc = world.grpc().await;
    let turn = async |at: usize| {
        until(|| async {
            let dialogue =
                grpc.dialogues().list_dialogues(v1::ListDialoguesRequest::default()).await.unwrap();
            let dialogue_id = dialogue.into_inner().dialogues.pop()?.id;
            let request = v1::ListTurnsRequest { dialogue_id, ..v1::ListTurnsRequest::default() };
            let turns = grpc.dialogues().list_turns(request).await.unwrap().into_inner().turns;
            let id = turns.first().filter(|turn| turns.len() > at && turn.close_time.is_some())?.id.clone();
            grpc.dialogues().get_turn(v1::GetTurnRequest { id }).await.unwrap().into_inner().turn
        })
        .await
    };
    let (failed, answered) = (RunState::Failed, RunState::Answered);
    for (at, (fault, runs)) in [
        (simulator::Fault::CutAfterPieces(2), vec![failed, answered]),
        (simulator::Fault::StallAfterPieces(2), vec![failed, answered]),
        (simulator::Fault::RateLimited, vec![failed, answered]),
        (simulator::Fault::Overloaded, vec![failed, answered]),
        (simulator::Fault::QuotaUsedUp, vec![failed]),
        (simulator::Fault::Unauthorized, vec![failed]),
        // Asked once more in the same run, with half the history.
        (simulator::Fault::InputTooLong, vec![answered]),
    ]
    .into_iter()
    .enumerate()
    {
        vendor(&simulator).faults().add(fault, Some(1));
        world.new_message(&route, &route.message(Some(&format!("m{at}")), "hello there")).await;
        let turn = turn(at).await;
        let states: Vec<_> = turn.runs.iter().map(v1::Run::state).collect();
        assert_eq!(states, runs, "{fault:?}: {:?}", turn.runs.last().map(|run| &run.error));
        assert!(turn.runs.iter().all(|run| !run.error.contains(KEY)));
    }
    world.stop().await;
}
