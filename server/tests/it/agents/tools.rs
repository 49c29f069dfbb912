//! What agents may do.

use serde_json::json;
use switchboard_sdk::v1::{self, ControlHolder, DialogueStatus, TurnState};

use super::{change, closed, dialogue, say, try_change};
use crate::harness::{CUT, Receiver, World, reason, until};

fn toolbox(names: &[&str], http: Vec<v1::HttpTool>) -> v1::Agent {
    let tools = names.iter().map(|name| v1::Tool { name: (*name).to_owned(), settings: None }).collect();
    v1::Agent { toolbox: Some(v1::Toolbox { tools, http }), ..v1::Agent::default() }
}

#[tokio::test]
async fn the_model_hands_over() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let grpc = world.grpc().await;
    let route = world.route(&receiver, json!({})).await;
    let policy =
        v1::ReplyPolicy { hand_over_notice: "A person takes over.".to_owned(), ..v1::ReplyPolicy::default() };
    world.set_policy(&route, policy).await;
    let call = "/call hand_over {\"reason\": \"wants a person\"}";
    assert_eq!(say(&world, &receiver, &route, "m1", call, 1).await, "I have no tool hand_over");

    change(&world, &route, "toolbox", toolbox(&["hand_over"], Vec::new())).await;
    assert_eq!(say(&world, &receiver, &route, "m2", call, 2).await, "A person takes over.");
    let turn = closed(&grpc, &route).await;
    assert_eq!((turn.state(), turn.reason.as_str()), (TurnState::Silent, "handed_over"));
    let dialogue = dialogue(&grpc, &route).await;
    let control = dialogue.control.clone().unwrap();
    assert_eq!((dialogue.status(), control.holder()), (DialogueStatus::Open, ControlHolder::Human));
    assert_eq!((control.reason.as_str(), control.by.as_str()), ("wants a person", "agent"));
    world.new_message(&route, &route.message(Some("m3"), "hello?")).await;
    assert_eq!(closed(&grpc, &route).await.reason, "human_holds");
    assert_eq!(receiver.received().len(), 2);
    world.stop().await;
}

#[tokio::test]
async fn the_model_sets_a_dialogue_aside_and_still_says_goodbye() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let grpc = world.grpc().await;
    let route = world.route(&receiver, json!({})).await;
    change(&world, &route, "toolbox", toolbox(&["set_status"], Vec::new())).await;
    let answer = say(&world, &receiver, &route, "m1", "/call set_status {\"status\": \"RESOLVED\"}", 1).await;
    assert_eq!(answer, "set_status gave {\"ok\":true}");
    assert_eq!(dialogue(&grpc, &route).await.status(), DialogueStatus::Resolved);
    assert_eq!(closed(&grpc, &route).await.state(), TurnState::Replied);

    let call = "/call set_status {\"status\": \"SNOOZED\", \"until\": \"tomorrow\"}";
    let answer = say(&world, &receiver, &route, "m2", call, 2).await;
    assert!(answer.contains("RFC 3339"), "{answer}");
    assert_eq!(dialogue(&grpc, &route).await.status(), DialogueStatus::Pending);

    let soon = domain::Clock::now(&domain::SystemClock) + std::time::Duration::from_secs(2);
    let until_text = soon.format(&time::format_description::well_known::Rfc3339).unwrap();
    let call = format!("/call set_status {{\"status\": \"SNOOZED\", \"until\": \"{until_text}\"}}");
    let answer = say(&world, &receiver, &route, "m3", &call, 3).await;
    assert_eq!(answer, "set_status gave {\"ok\":true}");
    // When its time has come it is the agent's again.
    until(|| async {
        let dialogue = dialogue(&grpc, &route).await;
        Some(()).filter(|()| dialogue.status() == DialogueStatus::Pending)
    })
    .await;
    world.stop().await;
}

#[tokio::test]
async fn an_agents_own_tools_are_called_over_http() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let endpoint = Receiver::start().await;
    let grpc = world.grpc().await;
    let route = world.route(&receiver, json!({})).await;
    let header =
        |value: &str| v1::HttpToolHeader { name: "Authorization".to_owned(), value: value.to_owned() };
    let schema = prost_types::Struct {
        fields: [
            ("type".to_owned(), text("object")),
            ("required".to_owned(), list(&["order"])),
            (
                "additionalProperties".to_owned(),
                prost_types::Value { kind: Some(prost_types::value::Kind::BoolValue(false)) },
            ),
            ("properties".to_owned(), structure([("order", structure([("type", text("string"))]))])),
        ]
        .into(),
    };
    let tool = |url: String, value: &str| v1::HttpTool {
        name: "cancel_order".to_owned(),
        description: "Cancels an order.".to_owned(),
        parameters: Some(schema.clone()),
        url,
        headers: vec![header(value)],
        ..v1::HttpTool::default()
    };
    let url = endpoint.url();
    change(&world, &route, "toolbox", toolbox(&[], vec![tool(url.clone(), "Bearer canary")])).await;

    let call = "/call cancel_order {\"order\": \"A1\"}";
    let answer = say(&world, &receiver, &route, "m1", call, 1).await;
    assert_eq!(answer, "cancel_order gave {\"body\":\"\",\"status\":200}");
    let called = &endpoint.wait_for(1).await[0];
    assert_eq!(called.json(), json!({ "order": "A1" }));
    assert_eq!(called.headers["authorization"], "Bearer canary");
    let turn = closed(&grpc, &route).await.id;
    assert_eq!(called.headers["idempotency-key"].to_str().unwrap(), format!("{turn}-1-cancel_order-0"));

    // What doesn't fit the schema never leaves the house.
    for (id, arguments, count) in
        [("m2", "{\"order\": 5}", 2), ("m3", "{\"order\":", 3), ("m4", "{\"also\": 1}", 4)]
    {
        let answer =
            say(&world, &receiver, &route, id, &format!("/call cancel_order {arguments}"), count).await;
        assert!(answer.contains("error"), "{answer}");
    }
    assert_eq!(endpoint.received().len(), 1);
    // A cut connection: nobody knows, and the model is told so.
    endpoint.answer_with(CUT);
    let answer = say(&world, &receiver, &route, "m5", call, 5).await;
    assert!(answer.contains("maybe_done"), "{answer}");
    endpoint.answer_with(200);

    // The value is never read back; it stays where it leads to the same host, and must be given for another.
    let request = v1::GetAgentRequest { id: route.agent_id.clone() };
    let shown = grpc.agents().get_agent(request).await.unwrap().into_inner().agent.unwrap();
    assert!(!format!("{shown:?}").contains("canary"));
    change(&world, &route, "toolbox", toolbox(&[], vec![tool(format!("{url}?v=2"), "")])).await;
    say(&world, &receiver, &route, "m6", call, 6).await;
    assert_eq!(endpoint.wait_for(3).await[2].headers["authorization"], "Bearer canary");
    let elsewhere = toolbox(&[], vec![tool("http://127.0.0.1:1/".to_owned(), "")]);
    let refused = try_change(&world, &route, "toolbox", elsewhere).await.unwrap_err();
    assert_eq!(reason(&refused).1, ["agent.toolbox.http[0].headers[0].value"]);
    world.stop().await;
}

#[tokio::test]
async fn a_tools_secret_goes_where_the_tool_led_when_it_was_given() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let (old, new) = (Receiver::start().await, Receiver::start().await);
    let route = world.route(&receiver, json!({})).await;
    let tool = |url: String, value: &str| v1::HttpTool {
        name: "look".to_owned(),
        description: "Looks.".to_owned(),
        url,
        headers: vec![v1::HttpToolHeader { name: "Authorization".to_owned(), value: value.to_owned() }],
        ..v1::HttpTool::default()
    };
    change(&world, &route, "toolbox", toolbox(&[], vec![tool(old.url(), "Bearer canary-old")])).await;
    world.set_engine(&route, json!({ "delay_ms": 700 })).await;
    // The turn has begun, with the tool as it was, when the tool is led elsewhere with another secret.
    world.new_message(&route, &route.message(Some("m1"), "/call look {}")).await;
    let begun = "select count(*) from runs";
    until(|| async {
        let mut owner = world.owner().await;
        let count: i64 = sqlx::query_scalar(begun).fetch_one(&mut owner).await.unwrap();
        (count == 1).then_some(())
    })
    .await;
    change(&world, &route, "toolbox", toolbox(&[], vec![tool(new.url(), "Bearer canary-new")])).await;
    let called = &old.wait_for(1).await[0];
    assert!(!called.headers.contains_key("authorization"), "{:?}", called.headers);
    receiver.wait_for(1).await;
    world.new_message(&route, &route.message(Some("m2"), "/call look {}")).await;
    assert_eq!(new.wait_for(1).await[0].headers["authorization"], "Bearer canary-new");
    world.stop().await;
}

#[tokio::test]
async fn who_no_longer_holds_a_dialogue_begins_no_effect_in_it() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let grpc = world.grpc().await;
    let route = world.route(&receiver, json!({})).await;
    world.set_engine(&route, json!({ "delay_ms": 700 })).await;
    let call = "/call set_attribute {\"name\": \"city\", \"value\": \"Riga\"}";
    world.new_message(&route, &route.message(Some("m1"), call)).await;
    until(|| async {
        let mut owner = world.owner().await;
        let count: i64 = sqlx::query_scalar("select count(*) from runs").fetch_one(&mut owner).await.unwrap();
        (count == 1).then_some(())
    })
    .await;
    // A person takes it, and the word of it has not come to the run yet.
    let taken = "update dialogues set status = 'OPEN', control_reason = 'taken', control_by = 'Ann'";
    sqlx::query(taken).execute(&mut world.owner().await).await.unwrap();
    let turn = closed(&grpc, &route).await;
    assert_eq!((turn.state(), turn.reason.as_str()), (TurnState::Silent, "human_holds"));
    let steps: i64 = sqlx::query_scalar("select count(*) from run_steps")
        .fetch_one(&mut world.owner().await)
        .await
        .unwrap();
    assert_eq!(steps, 0);
    world.stop().await;
}

#[tokio::test]
async fn a_repeated_creation_is_told_from_another_without_keeping_its_secrets() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let request = |value: &str| {
        let headers = vec![v1::HttpToolHeader { name: "X-Key".to_owned(), value: value.to_owned() }];
        let tool = v1::HttpTool {
            name: "look".to_owned(),
            description: "Looks.".to_owned(),
            url: receiver.url(),
            headers,
            ..v1::HttpTool::default()
        };
        let agent = v1::Agent {
            display_name: "Agent".to_owned(),
            engine: Some(v1::Engine { vendor: "mock".to_owned(), ..v1::Engine::default() }),
            ..toolbox(&[], vec![tool])
        };
        let request_id = "0192f0a0-0000-7000-8000-0000000000aa".to_owned();
        v1::CreateAgentRequest { agent: Some(agent), request_id }
    };
    let agents = world.grpc().await.agents();
    let made = agents.clone().create_agent(request("canary-1")).await.unwrap().into_inner().agent.unwrap();
    let again = agents.clone().create_agent(request("canary-1")).await.unwrap().into_inner().agent.unwrap();
    assert_eq!(made.id, again.id);
    let refused = agents.clone().create_agent(request("canary-2")).await.unwrap_err();
    assert_eq!(reason(&refused).0, "REQUEST_ID_REUSED");
    world.stop().await;
}

#[tokio::test]
async fn toolboxes_that_make_no_sense_are_refused_by_field() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let http = |name: &str, parameters| v1::HttpTool {
        name: name.to_owned(),
        description: "Does something.".to_owned(),
        url: receiver.url(),
        parameters,
        ..v1::HttpTool::default()
    };
    let array = prost_types::Struct { fields: [("type".to_owned(), text("array"))].into() };
    for (agent, field) in [
        (toolbox(&["launch"], Vec::new()), "agent.toolbox.tools[0].name"),
        (toolbox(&["hand_over", "hand_over"], Vec::new()), "agent.toolbox.tools[1].name"),
        (toolbox(&[], vec![http("set_status", None)]), "agent.toolbox.http[0].name"),
        (toolbox(&[], vec![http("a", None), http("a", None)]), "agent.toolbox.http[1].name"),
        (toolbox(&[], vec![http("a", Some(array))]), "agent.toolbox.http[0].parameters"),
    ] {
        let refused = try_change(&world, &route, "toolbox", agent).await.unwrap_err();
        assert_eq!(reason(&refused), ("FIELD_INVALID".to_owned(), vec![field.to_owned()]));
    }
    world.stop().await;
}

fn text(text: &str) -> prost_types::Value {
    prost_types::Value { kind: Some(prost_types::value::Kind::StringValue(text.to_owned())) }
}

fn list(texts: &[&str]) -> prost_types::Value {
    let values = texts.iter().map(|it| text(it)).collect();
    prost_types::Value { kind: Some(prost_types::value::Kind::ListValue(prost_types::ListValue { values })) }
}

fn structure<const N: usize>(members: [(&str, prost_types::Value); N]) -> prost_types::Value {
    let fields = members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    prost_types::Value { kind: Some(prost_types::value::Kind::StructValue(prost_types::Struct { fields })) }
}
