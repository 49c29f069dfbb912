//! What a changed agent would have answered in recorded turns.

use std::time::{Duration, Instant};

use domain::{
    dialogue::{Message, Role},
    manifest::{self, Prompt},
};
use serde_json::{Value, json};
use switchboard_sdk::v1::{self, replay_dialogues_response::Item};

use crate::harness::{Grpc, Receiver, Route, World, reason};

/// Everything that a replay answers.
async fn replayed(
    grpc: &Grpc,
    request: v1::ReplayDialoguesRequest,
) -> (Vec<v1::ReplayedTurn>, v1::ReplaySummary) {
    let mut stream = grpc.agents().replay_dialogues(request).await.unwrap().into_inner();
    let mut turns = Vec::new();
    while let Some(item) = stream.message().await.unwrap() {
        match item.item.unwrap() {
            Item::Turn(turn) => turns.push(turn),
            Item::Summary(summary) => {
                assert!(stream.message().await.unwrap().is_none(), "the summary is the last");
                return (turns, summary);
            }
        }
    }
    panic!("no summary came");
}

/// Has customers say something, one after the other, each answered.
async fn talk(world: &World, receiver: &Receiver, route: &Route, said: &[&str]) {
    for text in said {
        let before = receiver.received().len();
        world.new_message(route, &route.message(None, text)).await;
        receiver.wait_for(before + 1).await;
    }
}

fn of(route: &Route) -> v1::ReplayDialoguesRequest {
    v1::ReplayDialoguesRequest { agent_id: route.agent_id.clone(), ..Default::default() }
}

async fn saved(grpc: &Grpc, route: &Route) -> v1::Agent {
    let request = v1::GetAgentRequest { id: route.agent_id.clone() };
    grpc.agents().get_agent(request).await.unwrap().into_inner().agent.unwrap()
}

#[tokio::test]
async fn an_unchanged_agent_answers_as_recorded_and_no_vendor_is_called() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    // So slow that being asked would be noticed.
    let route = world.route(&receiver, json!({ "delay_ms": 700 })).await;
    talk(&world, &receiver, &route, &["hello", "/tool set_attribute city Riga", "and now?"]).await;
    let grpc = world.grpc().await;
    let begun = Instant::now();
    let (turns, summary) = replayed(&grpc, of(&route)).await;
    assert!(begun.elapsed() < Duration::from_millis(700), "{:?}", begun.elapsed());
    assert_eq!((summary.turns, summary.same, summary.diverged, summary.failed), (3, 3, 0, 0));
    assert_eq!(summary.usage.unwrap().calls, 0);
    for turn in &turns {
        assert!(turn.same && !turn.asked, "{turn:?}");
        assert_eq!(turn.before, turn.after);
        assert!(turn.before.as_ref().unwrap().usage.as_ref().unwrap().input_tokens > Some(0));
    }
    assert_eq!(turns[1].before.as_ref().unwrap().calls[0].tool, "set_attribute");
    assert_eq!(receiver.received().len(), 3);
    // A price is nothing that a model is told.
    let mut agent = saved(&grpc, &route).await;
    agent.engine.as_mut().unwrap().price = Some(v1::Price {
        currency: "USD".to_owned(),
        input_micros: 1_000_000_000_000,
        credit_micros: 0,
        output_micros: 0,
        cached_input_micros: None,
    });
    let request = v1::ReplayDialoguesRequest { agent_id: String::new(), agent: Some(agent), ..of(&route) };
    let (turns, summary) = replayed(&grpc, request).await;
    assert_eq!((summary.same, summary.usage.unwrap().calls), (3, 0));
    let cost = |side: &Option<v1::ReplayedAnswer>| side.clone().unwrap().usage.unwrap().cost_micros;
    assert!(turns.iter().all(|turn| cost(&turn.before).is_none() && cost(&turn.after).is_some()));
    world.stop().await;
}

#[tokio::test]
async fn what_instructions_spoke_of_is_as_it_was_then() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let grpc = world.grpc().await;
    let mut agent = saved(&grpc, &route).await;
    agent.instructions =
        "{{agent.display_name}} of {{channel.display_name}}, {{now}}: {{attributes.city|nowhere}}".to_owned();
    agent.history = Some(v1::HistoryWindow { max_messages: Some(2), max_tokens: None });
    agent.languages =
        Some(v1::Languages { codes: vec!["en".to_owned(), "ru".to_owned()], default_code: "en".to_owned() });
    let paths = ["instructions", "history", "languages"].map(str::to_owned).to_vec();
    let update_mask = Some(prost_types::FieldMask { paths });
    let request = v1::UpdateAgentRequest { agent: Some(agent.clone()), update_mask };
    grpc.agents().update_agent(request).await.unwrap();
    talk(&world, &receiver, &route, &["hello", "/tool set_attribute city Riga", "and now, please?"]).await;
    // The attribute is another for the first two turns by now, and the history longer than the window.
    let (turns, summary) = replayed(&grpc, of(&route)).await;
    assert_eq!((summary.turns, summary.same, summary.usage.unwrap().calls), (3, 3, 0), "{turns:?}");
    assert!(turns.iter().all(|turn| turn.same && !turn.asked), "{turns:?}");

    // Of the agent, the draft's name counts; a smaller window is another prompt.
    agent.display_name = "Renamed".to_owned();
    let draft =
        |agent| v1::ReplayDialoguesRequest { agent_id: String::new(), agent: Some(agent), ..of(&route) };
    let (turns, _) = replayed(&grpc, draft(agent)).await;
    assert!(turns.iter().all(|turn| turn.asked), "{turns:?}");
    world.stop().await;
}

#[tokio::test]
async fn a_changed_agent_is_asked_with_the_context_of_then() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    talk(&world, &receiver, &route, &["hello", "/tool set_attribute city Riga", "bye"]).await;
    let grpc = world.grpc().await;
    let mut draft = saved(&grpc, &route).await;
    draft.instructions = "Be brief and kind.".to_owned();
    let request = v1::ReplayDialoguesRequest {
        agent: Some(draft.clone()),
        agent_id: String::new(),
        limit: 2,
        ..of(&route)
    };
    let (turns, summary) = replayed(&grpc, request.clone()).await;
    // The mock engine says the same, having been told more; the recording knows what the tool gave.
    assert_eq!((summary.turns, summary.same, summary.diverged), (2, 2, 0));
    assert!(turns.iter().all(|turn| turn.asked && turn.divergences.is_empty()), "{turns:?}");
    assert_eq!(turns[0].after.as_ref().unwrap().text, "set_attribute gave {\"ok\":true}");
    let input = |side: &Option<v1::ReplayedAnswer>| {
        side.as_ref().unwrap().usage.as_ref().unwrap().input_tokens.unwrap()
    };
    assert_eq!(input(&turns[1].after), input(&turns[1].before) + 4);
    assert_eq!(summary.usage.unwrap().calls, 3);
    let days = grpc.agents().list_usage(v1::ListUsageRequest::default()).await.unwrap().into_inner().days;
    let replays: Vec<_> = days.iter().filter(|day| day.purpose() == v1::UsagePurpose::Replay).collect();
    assert_eq!((replays.len(), replays[0].usage.as_ref().unwrap().calls), (1, 3));

    // An engine that fails now, and nothing of it reaches customers.
    draft.engine.as_mut().unwrap().settings = Some(prost_types::Struct {
        fields: [("fail".to_owned(), prost_types::Value::from("always".to_owned()))].into(),
    });
    let (turns, summary) =
        replayed(&grpc, v1::ReplayDialoguesRequest { agent: Some(draft), ..request }).await;
    assert_eq!((summary.turns, summary.failed, summary.same), (2, 2, 0));
    assert!(turns[0].error.starts_with("engine_failed: mock:"), "{}", turns[0].error);
    assert_eq!((receiver.received().len(), world.said(&route).await.len()), (3, 6));
    world.stop().await;
}

#[tokio::test]
async fn a_call_that_was_not_recorded_is_a_divergence() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    talk(&world, &receiver, &route, &["/tool set_attribute city Riga"]).await;
    // As if the model had called something else then.
    let mut owner = world.owner().await;
    sqlx::query("update run_steps set answer = jsonb_set(answer, '{tool_calls,0,arguments,value}', '\"Oslo\"') where step = 1")
        .execute(&mut owner)
        .await
        .unwrap();
    let grpc = world.grpc().await;
    let mut draft = saved(&grpc, &route).await;
    draft.instructions = "Be brief.".to_owned();
    let request = v1::ReplayDialoguesRequest { agent_id: String::new(), agent: Some(draft), ..of(&route) };
    let (turns, summary) = replayed(&grpc, request).await;
    assert_eq!((summary.diverged, summary.same), (1, 0));
    assert!(turns[0].divergences[0].contains("Riga"), "{:?}", turns[0].divergences);
    let call = &turns[0].after.as_ref().unwrap().calls[0];
    assert!(call.would_do && call.result.is_none());
    // Reported, and not done: the dialogue has what the turn noted, and no further event.
    let noted: i64 = sqlx::query_scalar("select count(*) from events where kind = 'dialogue.attribute_set'")
        .fetch_one(&mut owner)
        .await
        .unwrap();
    assert_eq!(noted, 1);
    world.stop().await;
}

#[tokio::test]
async fn a_prompt_is_made_again_from_its_manifest_whatever_happened_since() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    talk(&world, &receiver, &route, &["hello", "/tool set_attribute city Riga"]).await;
    let grpc = world.grpc().await;
    let dialogues = grpc.dialogues().list_dialogues(v1::ListDialoguesRequest::default()).await.unwrap();
    let dialogue = dialogues.into_inner().dialogues.remove(0).id;
    let list = v1::ListTurnsRequest { dialogue_id: dialogue.clone(), ..Default::default() };
    let turns = grpc.dialogues().list_turns(list).await.unwrap().into_inner().turns;

    // The dialogue goes on, the agent is changed, and the attributes are edited.
    talk(&world, &receiver, &route, &["one more thing"]).await;
    let mut agent = saved(&grpc, &route).await;
    agent.instructions = "Something else.".to_owned();
    let mask = |path: &str| Some(prost_types::FieldMask { paths: vec![path.to_owned()] });
    let request = v1::UpdateAgentRequest { agent: Some(agent), update_mask: mask("instructions") };
    grpc.agents().update_agent(request).await.unwrap();
    let edited =
        v1::Dialogue { id: dialogue, attributes: Some(prost_types::Struct::default()), ..Default::default() };
    let request = v1::UpdateDialogueRequest { dialogue: Some(edited), update_mask: mask("attributes") };
    grpc.dialogues().update_dialogue(request).await.unwrap();

    let mut owner = world.owner().await;
    let messages: Vec<Value> = sqlx::query_scalar(
        "select jsonb_build_object('id', id, 'dialogue', dialogue_id, 'seq', seq, 'role', role, 'text', body, 'parts', parts,
             'external_id', external_id, 'turn', turn_id, 'created_at', created_at) from messages",
    )
    .fetch_all(&mut owner)
    .await
    .unwrap();
    let messages: Vec<Message> =
        messages.into_iter().map(|message| serde_json::from_value(message).unwrap()).collect();
    assert!(messages.iter().any(|message| message.role == Role::Assistant));
    for turn in turns {
        let turn = grpc.dialogues().get_turn(v1::GetTurnRequest { id: turn.id }).await.unwrap();
        let turn = turn.into_inner().turn.unwrap();
        let stored: Value = sqlx::query_scalar("select request from runs where turn_id = $1::uuid")
            .bind(&turn.id)
            .fetch_one(&mut owner)
            .await
            .unwrap();
        let prompt: Prompt = serde_json::from_value(stored).unwrap();
        let again = prompt.rebuild(&messages).unwrap();
        assert_eq!(manifest::digest(&again), turn.runs[0].prompt_hash);
        assert_eq!(again.tools.len(), 1);
    }
    world.stop().await;
}

#[tokio::test]
async fn replays_keep_to_scopes_and_limits() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let grpc = world.grpc().await;
    for (request, field) in [
        (v1::ReplayDialoguesRequest { agent_id: String::new(), ..of(&route) }, "agent"),
        (v1::ReplayDialoguesRequest { limit: -1, ..of(&route) }, "limit"),
        (v1::ReplayDialoguesRequest { dialogue_ids: vec!["x".to_owned()], ..of(&route) }, "dialogue_ids[0]"),
    ] {
        let refused = grpc.agents().replay_dialogues(request).await.unwrap_err();
        assert_eq!(reason(&refused), ("FIELD_INVALID".to_owned(), vec![field.to_owned()]));
    }
    let (turns, summary) = replayed(&grpc, of(&route)).await;
    assert!(turns.is_empty() && summary.turns == 0);
    let request = v1::CreateApiKeyRequest {
        api_key: Some(v1::ApiKey {
            display_name: "Agents only".to_owned(),
            scopes: vec!["agents:admin".to_owned()],
            ..Default::default()
        }),
        ..Default::default()
    };
    let key = grpc.workspaces().create_api_key(request).await.unwrap().into_inner().secret;
    let refused = world.grpc_as(&key).await.agents().replay_dialogues(of(&route)).await.unwrap_err();
    assert_eq!(reason(&refused).0, "SCOPE_MISSING");
    world.stop().await;
}
