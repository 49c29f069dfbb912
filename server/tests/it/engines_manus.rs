//! Manus, from a customer's message to its answer, against the simulator.

use serde_json::{Value, json};
use simulator::{Call, KEY, Simulator, Vendor};
use switchboard_sdk::v1::{self, RunState, TurnState};

use crate::harness::{Receiver, Route, World, to_struct, until};

/// A server whose operator has an account at the simulated vendor.
async fn world(simulator: &Simulator, settings: &[(&str, &str)]) -> World {
    let url = vendor(simulator).base_url().to_owned();
    let own = [("MANUS_API_KEY", KEY), ("MANUS_BASE_URL", &*url)];
    World::with(&[&own[..], settings].concat()).await
}

fn vendor(simulator: &Simulator) -> &Vendor {
    simulator.vendor("manus").unwrap()
}

async fn simulator() -> Simulator {
    Simulator::start(([127, 0, 0, 1], 0).into()).await.unwrap()
}

async fn route(world: &World, receiver: &Receiver, poll: f64) -> Route {
    let route = world.route(receiver, json!({})).await;
    world.set_model(&route, "manus", "manus-1.6-lite", json!({ "poll_seconds": poll })).await;
    route
}

fn calls(simulator: &Simulator, path: &str) -> Vec<Call> {
    vendor(simulator).calls().into_iter().filter(|call| call.path.starts_with(path)).collect()
}

fn body(call: &Call) -> Value {
    serde_json::from_slice(&call.body).unwrap()
}

async fn newest_turn(world: &World) -> Option<v1::Turn> {
    let dialogues = world.grpc().await.dialogues();
    let dialogue = dialogues
        .clone()
        .list_dialogues(v1::ListDialoguesRequest::default())
        .await
        .unwrap()
        .into_inner()
        .dialogues
        .pop()?;
    let request = v1::ListTurnsRequest { dialogue_id: dialogue.id, ..v1::ListTurnsRequest::default() };
    let id = dialogues.clone().list_turns(request).await.unwrap().into_inner().turns.first()?.id.clone();
    dialogues.clone().get_turn(v1::GetTurnRequest { id }).await.unwrap().into_inner().turn
}

async fn closed_turn(world: &World) -> v1::Turn {
    until(|| async { newest_turn(world).await.filter(|turn| turn.close_time.is_some()) }).await
}

/// Gives the route's agent a budget that is far away.
async fn limit(world: &World, route: &Route) {
    let agent = v1::Agent {
        id: route.agent_id.clone(),
        budgets: vec![v1::Budget {
            scope: v1::BudgetScope::Agent.into(),
            max_tokens: 1_000_000,
            ..v1::Budget::default()
        }],
        ..v1::Agent::default()
    };
    let update_mask = Some(prost_types::FieldMask { paths: vec!["budgets".to_owned()] });
    let request = v1::UpdateAgentRequest { agent: Some(agent), update_mask };
    world.grpc().await.agents().update_agent(request).await.unwrap();
}

/// What is used and reserved of the only budget.
async fn counted(world: &World) -> (i64, i64) {
    let mut owner = world.owner().await;
    sqlx::query_as("select used, reserved from budget_counters").fetch_one(&mut owner).await.unwrap()
}

#[tokio::test]
async fn a_dialogue_is_one_task() {
    let simulator = simulator().await;
    let world = world(&simulator, &[]).await;
    let receiver = Receiver::start().await;
    let route = route(&world, &receiver, 0.1).await;
    world.new_message(&route, &route.message(Some("m1"), "/slow 400 hello")).await;
    let received = receiver.wait_for(1).await;
    assert_eq!(received[0].json()["text"], "You wrote 1 message: “/slow 400 hello”");
    let turn = closed_turn(&world).await;
    assert_eq!((turn.runs.len(), turn.runs[0].state()), (1, RunState::Answered));
    assert!(calls(&simulator, "/v2/task.detail").len() >= 2, "it was looked at while it worked");

    world.new_message(&route, &route.message(Some("m2"), "/files and more")).await;
    let text = receiver.wait_for(2).await[1].json()["text"].as_str().unwrap().to_owned();
    assert_eq!(
        text,
        "You wrote 1 message: “/files and more”\n\ntable.csv: https://files.example.com/table.csv"
    );
    let (created, sent) = (calls(&simulator, "/v2/task.create"), calls(&simulator, "/v2/task.sendMessage"));
    assert_eq!((created.len(), sent.len()), (1, 1));
    assert_eq!(body(&created[0])["agent_profile"], "manus-1.6-lite");
    assert_eq!(body(&sent[0])["message"]["content"][0]["text"], "⟦customer⟧ /files and more");

    // It asks back, and the customer's answer goes to the same task.
    world.new_message(&route, &route.message(Some("m3"), "/ask me")).await;
    assert_eq!(receiver.wait_for(3).await[2].json()["text"], "Which one?");
    world.new_message(&route, &route.message(Some("m4"), "the red one")).await;
    assert!(receiver.wait_for(4).await[3].json()["text"].as_str().unwrap().contains("the red one"));
    assert_eq!(calls(&simulator, "/v2/task.create").len(), 1);
    world.stop().await;
}

#[tokio::test]
async fn a_newer_message_stops_what_the_task_works_on() {
    let simulator = simulator().await;
    let world = world(&simulator, &[]).await;
    let receiver = Receiver::start().await;
    let route = route(&world, &receiver, 600.0).await;
    let policy =
        v1::ReplyPolicy { newer_message: v1::NewerMessage::Restart.into(), ..v1::ReplyPolicy::default() };
    world.set_policy(&route, policy).await;
    world.new_message(&route, &route.message(Some("m1"), "/slow 60000 hello")).await;
    until(|| async {
        newest_turn(&world).await?.runs.last().filter(|run| run.state() == RunState::Waiting).cloned()
    })
    .await;
    world.set_model(&route, "manus", "", json!({ "poll_seconds": 0.1 })).await;
    world.new_message(&route, &route.message(Some("m2"), "or not")).await;
    assert_eq!(
        receiver.wait_for(1).await[0].json()["text"],
        "You wrote 2 messages: “/slow 60000 hello”, “or not”"
    );
    let paths: Vec<_> = vendor(&simulator)
        .calls()
        .into_iter()
        .filter(|call| call.method == "POST")
        .map(|call| call.path)
        .collect();
    assert_eq!(paths, ["/v2/task.create", "/v2/task.stop", "/v2/task.sendMessage"]);
    let states: Vec<_> = closed_turn(&world).await.runs.iter().map(v1::Run::state).collect();
    assert_eq!(states, [RunState::Superseded, RunState::Answered]);
    world.stop().await;
}

#[tokio::test]
async fn a_person_or_the_longest_wait_ends_the_task() {
    for (settings, closes) in
        [(vec![], TurnState::Silent), (vec![("SWITCHBOARD_ENGINE_WAIT_SECONDS", "1")], TurnState::Failed)]
    {
        let simulator = simulator().await;
        let world = world(&simulator, &settings).await;
        let receiver = Receiver::start().await;
        let route = route(&world, &receiver, 0.2).await;
        limit(&world, &route).await;
        world.new_message(&route, &route.message(Some("m1"), "/slow 60000 hello")).await;
        let turn = until(|| async {
            newest_turn(&world)
                .await
                .filter(|turn| turn.runs.last().map(v1::Run::state) == Some(RunState::Waiting))
        })
        .await;
        if closes == TurnState::Silent {
            let request =
                v1::TakeControlRequest { dialogue_id: turn.dialogue_id, ..v1::TakeControlRequest::default() };
            world.grpc().await.dialogues().take_control(request).await.unwrap();
        }
        let turn = closed_turn(&world).await;
        assert_eq!(turn.state(), closes);
        assert_eq!(calls(&simulator, "/v2/task.stop").len(), 1);
        // It was worked on, and nobody knows for how much: what was reserved is used, and nothing stays reserved.
        assert_eq!(turn.usage.unwrap().unknown_calls, 1);
        let (used, reserved) = counted(&world).await;
        assert!(used > 0 && reserved == 0, "{used} used, {reserved} reserved");
        world.stop().await;
    }
}

#[tokio::test]
async fn the_vendors_call_wakes_the_turn() {
    let simulator = simulator().await;
    let world = world(&simulator, &[]).await;
    let receiver = Receiver::start().await;
    // It would be looked at after ten minutes.
    let route = route(&world, &receiver, 600.0).await;
    let hook = json!({ "url": world.url("/hooks/engines/manus") });
    let made = world.http.post(format!("{}/v2/webhook.create", vendor(&simulator).base_url()));
    let made = made.header("x-manus-api-key", KEY).body(hook.to_string()).send().await.unwrap();
    assert_eq!(made.status(), 200);
    world.new_message(&route, &route.message(Some("m1"), "/slow 700 hello")).await;
    assert_eq!(receiver.wait_for(1).await[0].json()["text"], "You wrote 1 message: “/slow 700 hello”");
    // Who can't sign can't wake.
    world.post("/hooks/engines/manus", &[], "{}").await.problem(401, "AUTH_MISSING");
    let now = domain::Clock::now(&domain::SystemClock).unix_timestamp().to_string();
    let forged = [("x-webhook-timestamp", &*now), ("x-webhook-signature", "AAAA")];
    world.post("/hooks/engines/manus", &forged, "{}").await.problem(401, "SIGNATURE_INVALID");
    for nobody in ["mock", "other"] {
        world.post(&format!("/hooks/engines/{nobody}"), &[], "{}").await.problem(404, "ROUTE_NOT_FOUND");
    }
    world.stop().await;
}

#[tokio::test]
async fn what_goes_wrong_is_tried_again_where_that_helps() {
    let simulator = simulator().await;
    let world = world(&simulator, &[]).await;
    let receiver = Receiver::start().await;
    let route = route(&world, &receiver, 0.05).await;
    // The first call is refused for now; later looks fail without harm to the task.
    vendor(&simulator).faults().add(simulator::Fault::RateLimited, Some(1));
    world.new_message(&route, &route.message(Some("m1"), "/slow 300 one")).await;
    until(|| async { (calls(&simulator, "/v2/task.create").len() == 2).then_some(()) }).await;
    vendor(&simulator).faults().add(simulator::Fault::Down, Some(2));
    assert!(receiver.wait_for(1).await[0].json()["text"].as_str().unwrap().contains("one"));
    let states: Vec<_> = closed_turn(&world).await.runs.iter().map(v1::Run::state).collect();
    assert_eq!(states, [RunState::Failed, RunState::Answered]);

    for (at, (text, says, runs)) in [
        ("/fail permanent", "ended with an error", 1),
        ("/confirm it", "confirmation", 1),
        ("/lost", "without an answer", 3),
    ]
    .into_iter()
    .enumerate()
    {
        world.new_message(&route, &route.message(Some(&format!("n{at}")), text)).await;
        let turn = until(|| async {
            newest_turn(&world).await.filter(|turn| {
                turn.covered_through > 2
                    && turn.close_time.is_some()
                    && turn.runs.last().unwrap().error.contains(says)
            })
        })
        .await;
        assert_eq!((turn.state(), turn.runs.len()), (TurnState::Failed, runs), "{text}");
    }
    world.stop().await;
}

#[tokio::test]
async fn credits_cost_what_the_workspace_says_and_count_for_budgets() {
    let simulator = simulator().await;
    let world = world(&simulator, &[]).await;
    let receiver = Receiver::start().await;
    let route = route(&world, &receiver, 0.1).await;
    // USD 0.01 for a credit, and a day's budget for one answer of at most 20.
    let price = v1::Price { currency: "USD".to_owned(), credit_micros: 10_000, ..v1::Price::default() };
    let budget = v1::Budget {
        scope: v1::BudgetScope::Agent.into(),
        period: v1::BudgetPeriod::Day.into(),
        max_cost_micros: 250_000,
        currency: "USD".to_owned(),
        ..v1::Budget::default()
    };
    let engine = v1::Engine {
        vendor: "manus".to_owned(),
        settings: Some(to_struct(&json!({ "poll_seconds": 0.1, "max_credits": 20 }))),
        price: Some(price),
        ..v1::Engine::default()
    };
    let agent = v1::Agent {
        id: route.agent_id.clone(),
        engine: Some(engine),
        budgets: vec![budget],
        ..v1::Agent::default()
    };
    let update_mask = Some(prost_types::FieldMask { paths: vec!["engine".to_owned(), "budgets".to_owned()] });
    let request = v1::UpdateAgentRequest { agent: Some(agent), update_mask };
    world.grpc().await.agents().update_agent(request).await.unwrap();

    world.new_message(&route, &route.message(Some("m1"), "hello")).await;
    receiver.wait_for(1).await;
    let usage = closed_turn(&world).await.usage.unwrap();
    assert_eq!((usage.calls, usage.unknown_calls, usage.input_tokens), (1, 0, None));
    assert_eq!((usage.cost_micros, &*usage.currency), (Some(70_000), "USD"), "seven credits");
    until(|| async { (counted(&world).await == (70_000, 0)).then_some(()) }).await;
    // What an answer may use at worst no longer fits.
    world.new_message(&route, &route.message(Some("m2"), "and again")).await;
    let turn = until(|| async {
        newest_turn(&world)
            .await
            .filter(|turn| turn.close_time.is_some() && turn.state() == TurnState::Silent)
    })
    .await;
    assert_eq!(turn.reason, "budget_exhausted");
    assert!(
        turn.runs[0].error.contains("used and 0 reserved; the call may use 200000"),
        "{}",
        turn.runs[0].error
    );
    assert_eq!(receiver.received().len(), 1);
    world.stop().await;
}
