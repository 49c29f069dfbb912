//! Agents whose answers vendors write: the simulated ones, over HTTP.

use std::time::Duration;

use serde_json::{Value, json};
use simulator::{Ended, Fault, KEY, Simulator, Vendor};
use switchboard_sdk::v1::{self, TurnState};

use crate::harness::{Grpc, Receiver, Route, World, until};

/// The vendors of this story, and a model of each.
const ENGINES: [(&str, &str); 2] = [("anthropic", "claude-sonnet-5-5"), ("openai", "gpt-4o-mini")];

/// A server that knows this simulator's vendors as the operator's accounts.
async fn world(simulator: &Simulator) -> World {
    let variables: Vec<(String, String)> = simulator
        .vendors()
        .iter()
        .flat_map(|vendor| {
            let name = vendor.id().to_uppercase();
            [
                (format!("{name}_BASE_URL"), vendor.base_url().to_owned()),
                (format!("{name}_API_KEY"), KEY.to_owned()),
            ]
        })
        .collect();
    let variables: Vec<_> = variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    World::with(&variables).await
}

async fn simulator() -> Simulator {
    Simulator::start(([127, 0, 0, 1], 0).into()).await.unwrap()
}

/// A route whose agent is answered for by this vendor.
async fn route(world: &World, receiver: &Receiver, vendor: &str, model: &str) -> Route {
    let route = world.route(receiver, json!({})).await;
    let engine = v1::Engine { vendor: vendor.to_owned(), model: model.to_owned(), ..v1::Engine::default() };
    world.set_vendor(&route, engine).await;
    route
}

async fn dialogue(grpc: &Grpc, route: &Route) -> v1::Dialogue {
    let request = v1::ListDialoguesRequest {
        channel_id: route.channel_id.clone(),
        ..v1::ListDialoguesRequest::default()
    };
    grpc.dialogues().list_dialogues(request).await.unwrap().into_inner().dialogues.pop().unwrap()
}

async fn newest_turn(grpc: &Grpc, route: &Route) -> v1::Turn {
    let request = v1::ListTurnsRequest {
        dialogue_id: dialogue(grpc, route).await.id,
        ..v1::ListTurnsRequest::default()
    };
    grpc.dialogues().list_turns(request).await.unwrap().into_inner().turns.remove(0)
}

fn body(vendor: &Vendor, call: usize) -> Value {
    serde_json::from_slice(&vendor.calls()[call].body).unwrap()
}

#[tokio::test]
async fn a_vendor_answers_a_customer_and_calls_a_tool() {
    let simulator = simulator().await;
    let world = world(&simulator).await;
    let grpc = world.grpc().await;
    for (id, model) in ENGINES {
        let receiver = Receiver::start().await;
        let route = route(&world, &receiver, id, model).await;
        let text = "/tool set_attribute city Riga";
        world.new_message(&route, &route.message(Some("m1"), text)).await;
        let received = receiver.wait_for(1).await;
        assert_eq!(received[0].json()["text"], "set_attribute gave {\"ok\":true}", "{id}");
        assert!(dialogue(&grpc, &route).await.attributes.unwrap().fields.contains_key("city"), "{id}");
        let vendor = simulator.vendor(id).unwrap();
        assert_eq!(vendor.counts().begun, 2, "one call for each step");
        assert_eq!(
            (body(vendor, 0)["model"].as_str(), body(vendor, 0)["stream"].as_bool()),
            (Some(model), Some(true))
        );
        let turn = newest_turn(&grpc, &route).await;
        assert_eq!(turn.state(), TurnState::Replied, "{id}");

        // A vendor that has no time now is asked again by the turn's own schedule, and the turn's steps are not repeated.
        vendor.faults().add(Fault::RateLimited, Some(1));
        world.new_message(&route, &route.message(Some("m2"), "Is it late?")).await;
        let received = receiver.wait_for(2).await;
        assert_eq!(received[1].json()["text"], "You wrote 1 message: “Is it late?”", "{id}");
        assert_eq!(vendor.counts().begun, 4, "{id}");
    }
    world.stop().await;
}

#[tokio::test]
async fn a_superseded_call_is_stopped_at_the_vendor() {
    let simulator = simulator().await;
    let world = world(&simulator).await;
    for (id, model) in ENGINES {
        let receiver = Receiver::start().await;
        let route = route(&world, &receiver, id, model).await;
        let policy =
            v1::ReplyPolicy { newer_message: v1::NewerMessage::Restart.into(), ..v1::ReplyPolicy::default() };
        world.set_policy(&route, policy).await;
        let vendor = simulator.vendor(id).unwrap();
        world.new_message(&route, &route.message(Some("m1"), "/pace 200 /tokens 1000")).await;
        until(|| async { vendor.calls().first().filter(|call| call.pieces > 3).map(drop) }).await;
        world.new_message(&route, &route.message(Some("m2"), "Never mind")).await;
        let hung_up = vendor.wait_until(|counts| counts.hung_up == 1);
        tokio::time::timeout(Duration::from_secs(20), hung_up).await.unwrap();
        let received = receiver.wait_for(1).await;
        let answer = received[0].json()["text"].to_string();
        assert!(answer.contains("You wrote 2 messages") && answer.contains("Never mind"), "{id}: {answer}");
        let ended: Vec<_> = vendor.calls().into_iter().map(|call| call.ended).collect();
        assert_eq!(ended, [Ended::HungUp, Ended::Answered], "{id}");
    }
    world.stop().await;
}

#[tokio::test]
async fn a_vendor_that_refuses_for_good_ends_the_turn_and_says_nothing_secret() {
    let simulator = simulator().await;
    let world = world(&simulator).await;
    let grpc = world.grpc().await;
    for (id, model) in ENGINES {
        let receiver = Receiver::start().await;
        let route = route(&world, &receiver, id, model).await;
        let vendor = simulator.vendor(id).unwrap();
        vendor.expect_key("another");
        world.new_message(&route, &route.message(Some("m1"), "Hi")).await;
        let turn = until(|| async {
            Some(newest_turn(&grpc, &route).await).filter(|turn| turn.close_time.is_some())
        })
        .await;
        assert_eq!((turn.state(), vendor.counts().begun), (TurnState::Failed, 1), "{id}");
        let request = v1::GetTurnRequest { id: turn.id };
        let turn = grpc.dialogues().get_turn(request).await.unwrap().into_inner();
        assert!(!format!("{turn:?}").contains(KEY), "{id}");
        assert!(format!("{turn:?}").contains("401"), "{id}: {turn:?}");
    }
    world.stop().await;
}

#[tokio::test]
async fn a_call_is_told_what_it_reserved_and_reserves_what_it_may_use() {
    let simulator = simulator().await;
    let world = world(&simulator).await;
    let grpc = world.grpc().await;
    let budgets = vec![v1::Budget {
        scope: v1::BudgetScope::Agent.into(),
        max_tokens: 10_000,
        ..v1::Budget::default()
    }];
    let receiver = Receiver::start().await;
    let route = route(&world, &receiver, "openai", "gpt-4o-mini").await;
    let limited = v1::Agent { id: route.agent_id.clone(), budgets, ..v1::Agent::default() };
    world.update_agent(limited, "budgets").await.unwrap();
    // Without a word it might write as long as it likes.
    world.new_message(&route, &route.message(Some("m1"), "Hi")).await;
    receiver.wait_for(1).await;
    let openai = simulator.vendor("openai").unwrap();
    // By the name that compatible servers know.
    assert_eq!(body(openai, 0)["max_tokens"], 4_096);
    // What a model thinks is written, too: here it may be more than there is.
    let thinking = json!({ "thinking": { "type": "adaptive" } });
    world.set_model(&route, "anthropic", "claude-sonnet-5-5", thinking).await;
    world.new_message(&route, &route.message(Some("m2"), "And now?")).await;
    let turn = until(|| async {
        Some(newest_turn(&grpc, &route).await)
            .filter(|turn| turn.covered_through > 1 && turn.close_time.is_some())
    })
    .await;
    assert_eq!(turn.reason, "budget_exhausted");
    assert_eq!(simulator.vendor("anthropic").unwrap().counts().begun, 0);
    world.stop().await;
}
