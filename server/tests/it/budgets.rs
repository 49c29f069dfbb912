//! What engines use and cost, and what they may.

use std::time::Duration;

use futures::future::join_all;
use serde_json::json;
use sqlx::Executor as _;
use switchboard_sdk::v1::{self, TurnState};
use tonic::Status;

use crate::harness::{Grpc, Receiver, Route, World, reason, until};

/// The turns of all dialogues of a route, once so many are closed.
async fn closed(grpc: &Grpc, route: &Route, count: usize) -> Vec<v1::Turn> {
    until(|| async {
        let request = v1::ListDialoguesRequest {
            channel_id: route.channel_id.clone(),
            page_size: 1_000,
            ..v1::ListDialoguesRequest::default()
        };
        let dialogues = grpc.dialogues().list_dialogues(request).await.unwrap().into_inner().dialogues;
        let turns = dialogues.into_iter().map(|dialogue| async {
            let request =
                v1::ListTurnsRequest { dialogue_id: dialogue.id, ..v1::ListTurnsRequest::default() };
            grpc.dialogues().list_turns(request).await.unwrap().into_inner().turns
        });
        let turns: Vec<v1::Turn> = join_all(turns).await.into_iter().flatten().collect();
        Some(turns).filter(|all| all.iter().filter(|turn| turn.close_time.is_some()).count() >= count)
    })
    .await
}

async fn change(world: &World, agent: v1::Agent, paths: &[&str]) -> Result<v1::Agent, Status> {
    let request = v1::UpdateAgentRequest {
        agent: Some(agent),
        update_mask: Some(prost_types::FieldMask { paths: paths.iter().map(ToString::to_string).collect() }),
    };
    let changed = world.grpc().await.agents().update_agent(request).await?;
    Ok(changed.into_inner().agent.unwrap())
}

/// Mock's tokens at USD 1 and 2 each.
fn priced() -> v1::Engine {
    v1::Engine {
        vendor: "mock".to_owned(),
        max_output_tokens: Some(100),
        price: Some(v1::Price {
            currency: "USD".to_owned(),
            input_micros: 1_000_000_000_000,
            cached_input_micros: None,
            credit_micros: 0,
            output_micros: 1_000_000_000_000,
        }),
        ..v1::Engine::default()
    }
}

fn tokens(scope: v1::BudgetScope, max_tokens: i64) -> v1::Budget {
    v1::Budget { scope: scope.into(), max_tokens, ..v1::Budget::default() }
}

async fn events(grpc: &Grpc, kind: &str) -> Vec<v1::Event> {
    let request = v1::ListEventsRequest {
        cursor: "0".to_owned(),
        types: vec![kind.to_owned()],
        page_size: 1_000,
        ..v1::ListEventsRequest::default()
    };
    grpc.events().list_events(request).await.unwrap().into_inner().events
}

fn member<'a>(data: &'a prost_types::Struct, name: &str) -> &'a prost_types::value::Kind {
    data.fields[name].kind.as_ref().unwrap()
}

#[tokio::test]
async fn turns_tell_what_they_used_and_cost() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let grpc = world.grpc().await;
    world.new_message(&route, &route.message(Some("m0"), "hello")).await;
    let unpriced = closed(&grpc, &route, 1).await[0].usage.clone().unwrap();
    assert_eq!((unpriced.calls, unpriced.input_tokens, unpriced.cost_micros), (1, Some(1), None));
    assert_eq!(unpriced.currency, "");

    let agent = v1::Agent { id: route.agent_id.clone(), engine: Some(priced()), ..v1::Agent::default() };
    let stored = change(&world, agent, &["engine"]).await.unwrap();
    assert_eq!(stored.engine.unwrap().price.unwrap().cached_input_micros, Some(1_000_000_000_000));
    world.new_message(&route, &route.message(Some("m1"), "/usage 7")).await;
    let turn = closed(&grpc, &route, 2).await.remove(0);
    let usage = turn.usage.clone().unwrap();
    assert_eq!((usage.calls, usage.unknown_calls, usage.output_tokens), (1, 0, Some(7)));
    let input = usage.input_tokens.unwrap();
    assert_eq!((usage.cost_micros, usage.currency.as_str()), (Some((input + 7) * 1_000_000), "USD"));
    let told = until(|| async { events(&grpc, "message.replied").await.into_iter().nth(1) }).await;
    let prost_types::value::Kind::StructValue(told) = member(told.data.as_ref().unwrap(), "usage") else {
        panic!("no usage")
    };
    assert_eq!(member(told, "output_tokens"), &prost_types::value::Kind::NumberValue(7.0));

    // Who doesn't say used something, and not nothing.
    world.new_message(&route, &route.message(Some("m2"), "/usage none")).await;
    let unknown = closed(&grpc, &route, 3).await.remove(0).usage.unwrap();
    assert_eq!((unknown.calls, unknown.unknown_calls, unknown.input_tokens), (1, 1, None));
    assert_eq!(unknown.cost_micros, None);

    let days = grpc.agents().list_usage(v1::ListUsageRequest::default()).await.unwrap().into_inner().days;
    assert_eq!((days.len(), days[0].count, days[0].purpose()), (1, 3, v1::UsagePurpose::Turn));
    let sum = days[0].usage.clone().unwrap();
    assert_eq!((sum.calls, sum.unknown_calls, sum.cost_micros), (3, 1, usage.cost_micros));
    world.stop().await;
}

#[tokio::test]
async fn two_hundred_turns_at_the_edge_keep_a_budget() {
    const MOST: i64 = 12_000;
    let world = World::new().await;
    let another = world.another().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let settings = json!({ "delay_ms": 30 });
    world.set_engine(&route, settings).await;
    let grpc = world.grpc().await;
    let request = v1::GetAgentRequest { id: route.agent_id.clone() };
    let mut agent = grpc.agents().get_agent(request).await.unwrap().into_inner().agent.unwrap();
    agent.budgets = vec![tokens(v1::BudgetScope::Agent, MOST)];
    agent.engine.as_mut().unwrap().max_output_tokens = Some(100);
    change(&world, agent, &["engine", "budgets"]).await.unwrap();
    let posted = (0..200).map(|number| {
        let request = v1::ReceiveMessageRequest {
            channel_id: route.channel_id.clone(),
            chat: format!("chat {number}"),
            message_id: format!("m{number}"),
            text: "/usage 100".to_owned(),
            sender: v1::MessageSender::Customer.into(),
            ..v1::ReceiveMessageRequest::default()
        };
        let grpc = grpc.clone();
        async move { grpc.webhooks().receive_message(request).await.unwrap() }
    });
    join_all(posted).await;
    let mut owner = world.owner().await;
    let deadline = std::time::Instant::now() + Duration::from_mins(1);
    let count = "select count(*) from turns where closed_at is not null";
    while sqlx::query_scalar::<_, i64>(count).fetch_one(&mut owner).await.unwrap() < 200 {
        assert!(std::time::Instant::now() < deadline, "turns stay open");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let turns = closed(&grpc, &route, 200).await;
    let replied = turns.iter().filter(|turn| turn.state() == TurnState::Replied).count();
    let refused = turns
        .iter()
        .filter(|turn| (turn.state(), turn.reason.as_str()) == (TurnState::Silent, "budget_exhausted"))
        .count();
    assert_eq!(replied + refused, 200);
    assert!(replied >= 20 && refused > 0, "{replied} of 200");
    let used: i64 = turns
        .iter()
        .filter_map(|turn| turn.usage.as_ref())
        .map(|usage| usage.input_tokens.unwrap_or_default() + usage.output_tokens.unwrap_or_default())
        .sum();
    assert!(used <= MOST, "{used}");
    let counted: (i64, i64) =
        sqlx::query_as("select used, reserved from budget_counters").fetch_one(&mut owner).await.unwrap();
    assert_eq!(counted, (used, 0));
    let told =
        until(|| async { Some(events(&grpc, "budget.exhausted").await).filter(|told| !told.is_empty()) });
    assert_eq!(told.await.len(), 1);
    another.stop().await.unwrap();
    world.stop().await;
}

#[tokio::test]
async fn what_a_killed_process_reserved_is_given_back() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let agent = v1::Agent {
        id: route.agent_id.clone(),
        engine: Some(priced()),
        budgets: vec![tokens(v1::BudgetScope::Agent, 2_000)],
        ..v1::Agent::default()
    };
    change(&world, agent, &["engine", "budgets"]).await.unwrap();
    let mut owner = world.owner().await;
    // As one leaves it that was killed in the middle of a call.
    let left = format!(
        "insert into budget_counters values (
             (select workspace_id from agents where id = '{0}'), 'AGENT', '{0}', '0001-01-01', 'TOKENS', 0, 1990, clock_timestamp());
         insert into budget_reservations values (
             (select workspace_id from agents where id = '{0}'), gen_random_uuid(), 'AGENT', '{0}', '0001-01-01', 'TOKENS',
             1990, gen_random_uuid(), gen_random_uuid(), null)",
        route.agent_id
    );
    owner.execute(sqlx::AssertSqlSafe(left)).await.unwrap();
    world.new_message(&route, &route.message(Some("m1"), "hello")).await;
    receiver.wait_for(1).await;
    let reserved: i64 =
        sqlx::query_scalar("select reserved from budget_counters").fetch_one(&mut owner).await.unwrap();
    assert_eq!(reserved, 0);
    world.stop().await;
}

#[tokio::test]
async fn a_turn_that_does_not_fit_follows_the_policy() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let grpc = world.grpc().await;
    let agent = v1::Agent {
        id: route.agent_id.clone(),
        engine: Some(priced()),
        budgets: vec![v1::Budget {
            scope: v1::BudgetScope::Turn.into(),
            max_cost_micros: 5_000_000,
            currency: "USD".to_owned(),
            ..v1::Budget::default()
        }],
        on_budget_exhausted: v1::OnFailure::FallbackText.into(),
        reply_policy: Some(v1::ReplyPolicy {
            fallback_text: "Tomorrow, please.".to_owned(),
            ..v1::ReplyPolicy::default()
        }),
        ..v1::Agent::default()
    };
    let all = ["engine", "budgets", "on_budget_exhausted", "reply_policy"];
    change(&world, agent.clone(), &all).await.unwrap();
    world.new_message(&route, &route.message(Some("m1"), "hello")).await;
    assert_eq!(receiver.wait_for(1).await[0].json()["text"], "Tomorrow, please.");
    let turn = closed(&grpc, &route, 1).await.remove(0);
    assert_eq!((turn.reason.as_str(), turn.usage.clone().unwrap().calls), ("fallback", 0));
    let request = v1::GetTurnRequest { id: turn.id };
    let turn = grpc.dialogues().get_turn(request).await.unwrap().into_inner().turn.unwrap();
    assert!(turn.runs[0].error.contains("the turn budget has 5000000 millionths of USD"), "{turn:?}");

    let hand_over = v1::Agent { on_budget_exhausted: v1::OnFailure::HandOver.into(), ..agent };
    change(&world, hand_over, &["on_budget_exhausted"]).await.unwrap();
    world.new_message(&route, &route.message(Some("m2"), "hello")).await;
    let turn = closed(&grpc, &route, 2).await.remove(0);
    assert_eq!((turn.state(), turn.reason.as_str()), (TurnState::Silent, "budget_exhausted"));
    let request = v1::GetDialogueRequest { id: turn.dialogue_id };
    let dialogue = grpc.dialogues().get_dialogue(request).await.unwrap().into_inner().dialogue.unwrap();
    assert_eq!(dialogue.status(), v1::DialogueStatus::Open);
    // Both turns ran against the same budget on the same day.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(events(&grpc, "budget.exhausted").await.len(), 1);
    world.stop().await;
}

#[tokio::test]
async fn a_workspace_budget_holds_for_all_its_agents() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let grpc = world.grpc().await;
    let request = v1::UpdateWorkspaceRequest {
        workspace: Some(v1::Workspace {
            budgets: vec![v1::Budget {
                period: v1::BudgetPeriod::Day.into(),
                ..tokens(v1::BudgetScope::Workspace, 10)
            }],
            ..v1::Workspace::default()
        }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["budgets".to_owned()] }),
    };
    let stored = grpc.workspaces().update_workspace(request).await.unwrap().into_inner().workspace.unwrap();
    assert!(!stored.display_name.is_empty() && stored.budgets.len() == 1);
    world.new_message(&route, &route.message(Some("m1"), "hello")).await;
    let turn = closed(&grpc, &route, 1).await.remove(0);
    assert_eq!((turn.state(), turn.reason.as_str()), (TurnState::Silent, "budget_exhausted"));
    world.stop().await;
}

#[tokio::test]
async fn absurd_budgets_and_prices_are_refused_by_field() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let mut bad_price = priced();
    bad_price.price.as_mut().unwrap().currency = "dollars".to_owned();
    let costly = v1::Budget {
        max_tokens: 0,
        max_cost_micros: 5,
        currency: "EUR".to_owned(),
        ..tokens(v1::BudgetScope::Agent, 0)
    };
    for (agent, path, field) in [
        (
            v1::Agent { engine: Some(bad_price), ..v1::Agent::default() },
            "engine",
            "agent.engine.price.currency",
        ),
        (
            v1::Agent { budgets: vec![tokens(v1::BudgetScope::Workspace, 5)], ..v1::Agent::default() },
            "budgets",
            "agent.budgets[0].scope",
        ),
        (v1::Agent { budgets: vec![costly], ..v1::Agent::default() }, "budgets", "agent.budgets[0].currency"),
        (
            v1::Agent {
                budgets: vec![v1::Budget { scope: 77, ..v1::Budget::default() }],
                ..v1::Agent::default()
            },
            "budgets",
            "agent.budgets[0].scope",
        ),
        (
            v1::Agent { on_budget_exhausted: v1::OnFailure::FallbackText.into(), ..v1::Agent::default() },
            "on_budget_exhausted",
            "agent.on_budget_exhausted",
        ),
    ] {
        let agent = v1::Agent { id: route.agent_id.clone(), ..agent };
        let refused = change(&world, agent, &[path]).await.unwrap_err();
        assert_eq!(reason(&refused), ("FIELD_INVALID".to_owned(), vec![field.to_owned()]));
    }
    world.stop().await;
}

#[tokio::test]
async fn a_contacts_budget_is_one_over_all_of_its_dialogues() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let agent = v1::Agent {
        id: route.agent_id.clone(),
        engine: Some(priced()),
        budgets: vec![tokens(v1::BudgetScope::Contact, 320)],
        ..v1::Agent::default()
    };
    change(&world, agent, &["engine", "budgets"]).await.unwrap();
    let grpc = world.grpc().await;
    let say = async |chat: &str, customer: Option<&str>| {
        let identity = |id: &str| v1::ContactIdentity {
            vendor: "telegram".to_owned(),
            external_id: id.to_owned(),
            ..v1::ContactIdentity::default()
        };
        let contact = customer
            .map(|id| v1::ToldContact { identities: vec![identity(id)], ..v1::ToldContact::default() });
        let request = v1::ReceiveMessageRequest {
            channel_id: route.channel_id.clone(),
            chat: chat.to_owned(),
            message_id: format!("m-{chat}"),
            text: "/usage 300".to_owned(),
            sender: v1::MessageSender::Customer.into(),
            contact,
            ..v1::ReceiveMessageRequest::default()
        };
        let id = grpc.webhooks().receive_message(request).await.unwrap().into_inner().dialogue_id;
        let request = v1::ListTurnsRequest { dialogue_id: id, ..v1::ListTurnsRequest::default() };
        until(|| async {
            let turns = grpc.dialogues().list_turns(request.clone()).await.unwrap().into_inner().turns;
            turns.into_iter().next().filter(|turn| turn.close_time.is_some())
        })
        .await
    };
    let outcome = |turn: &v1::Turn| (turn.state(), turn.reason.clone());
    let replied = (TurnState::Replied, String::new());
    let exhausted = (TurnState::Silent, "budget_exhausted".to_owned());
    assert_eq!(outcome(&say("one", Some("anna")).await), replied);
    // Another chat of the same customer's, and one of somebody else's.
    assert_eq!(outcome(&say("two", Some("anna")).await), exhausted);
    assert_eq!(outcome(&say("three", Some("boris")).await), replied);
    // Whom nobody told of counts for themselves.
    assert_eq!(outcome(&say("four", None).await), replied);
    assert_eq!(outcome(&say("five", None).await), replied);
    let told = until(|| async { events(&grpc, "budget.exhausted").await.into_iter().next() }).await;
    let contacts = grpc.dialogues().list_contacts(v1::ListContactsRequest::default()).await.unwrap();
    let anna = contacts.into_inner().contacts.pop().unwrap();
    assert_eq!(told.subject_id, anna.id, "the notice is about the contact");
    world.stop().await;
}
