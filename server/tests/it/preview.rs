//! What an agent would answer, with nothing sent.

use std::time::Duration;

use serde_json::json;
use switchboard_sdk::v1::{self, MessageRole};
use tonic::Code;

use crate::harness::{Grpc, Receiver, World, reason, until};

fn said(messages: &[(MessageRole, &str)]) -> Vec<v1::PreviewMessage> {
    messages
        .iter()
        .map(|(role, text)| v1::PreviewMessage { role: (*role).into(), text: (*text).to_owned() })
        .collect()
}

fn draft(instructions: &str) -> v1::Agent {
    v1::Agent {
        display_name: "Draft".to_owned(),
        instructions: instructions.to_owned(),
        engine: Some(v1::Engine { vendor: "mock".to_owned(), ..v1::Engine::default() }),
        ..v1::Agent::default()
    }
}

async fn kinds(grpc: &Grpc) -> Vec<String> {
    let request = v1::ListEventsRequest { cursor: "0".to_owned(), ..v1::ListEventsRequest::default() };
    let events = grpc.events().list_events(request).await.unwrap().into_inner().events;
    events.into_iter().map(|event| event.r#type).collect()
}

#[tokio::test]
async fn a_preview_answers_and_leaves_nothing_but_its_cost() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let grpc = world.grpc().await;
    let messages = said(&[
        (MessageRole::User, "hello"),
        (MessageRole::Assistant, "Hello! What can I do?"),
        (MessageRole::User, "/tool set_attribute city Riga"),
    ]);
    let request =
        v1::PreviewReplyRequest { agent_id: route.agent_id.clone(), messages, ..Default::default() };
    let preview = grpc.agents().preview_reply(request).await.unwrap().into_inner();
    assert_eq!(preview.text, "set_attribute gave {\"ok\":true}");
    assert_eq!((preview.reason.as_str(), preview.calls.len()), ("", 1));
    assert_eq!((preview.calls[0].tool.as_str(), preview.calls[0].would_do), ("set_attribute", true));
    assert_eq!(preview.prompt_hash.len(), 64);
    assert_eq!(preview.usage.unwrap().calls, 2);
    assert!(preview.manifest.unwrap().fields.contains_key("request"));

    // No dialogue, no message, no attribute; one event, which says what it cost.
    let listed = grpc.dialogues().list_dialogues(v1::ListDialoguesRequest::default()).await.unwrap();
    assert!(listed.into_inner().dialogues.is_empty() && receiver.received().is_empty());
    let told = until(|| async {
        Some(kinds(&grpc).await).filter(|kinds| kinds.iter().any(|kind| kind == "agent.previewed"))
    });
    assert_eq!(told.await, ["agent.created", "channel.created", "agent.previewed"]);
    let days = grpc.agents().list_usage(v1::ListUsageRequest::default()).await.unwrap().into_inner().days;
    assert_eq!((days.len(), days[0].purpose(), days[0].count), (1, v1::UsagePurpose::Preview, 1));
    assert_eq!(days[0].agent_id, route.agent_id);
    world.stop().await;
}

#[tokio::test]
async fn a_draft_is_tried_before_it_is_saved() {
    let world = World::new().await;
    let grpc = world.grpc().await;
    let ask = |agent: v1::Agent, text: &str| v1::PreviewReplyRequest {
        agent: Some(agent),
        messages: said(&[(MessageRole::User, text)]),
        ..Default::default()
    };
    let answer = grpc.agents().preview_reply(ask(draft("Be kind."), "hello")).await.unwrap().into_inner();
    assert_eq!(answer.text, "You wrote 1 message: “hello”");
    let failed = grpc.agents().preview_reply(ask(draft(""), "/fail")).await.unwrap().into_inner();
    assert_eq!((failed.text.as_str(), failed.reason.as_str()), ("", "engine_failed"));
    assert!(failed.error.contains("told to fail"), "{}", failed.error);

    let mut wrong = draft("");
    wrong.display_name.clear();
    let refused = grpc.agents().preview_reply(ask(wrong, "hello")).await.unwrap_err();
    assert_eq!(reason(&refused), ("FIELD_INVALID".to_owned(), vec!["agent.display_name".to_owned()]));
    let agents = grpc.agents().list_agents(v1::ListAgentsRequest::default()).await.unwrap();
    assert!(agents.into_inner().agents.is_empty());
    world.stop().await;
}

#[tokio::test]
async fn a_preview_ends_in_its_time_and_keeps_the_budgets() {
    let world = World::new().await;
    let grpc = world.grpc().await;
    let begun = std::time::Instant::now();
    let request = v1::PreviewReplyRequest {
        agent: Some(draft("")),
        messages: said(&[(MessageRole::User, "/slow 60000")]),
        timeout: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
        ..Default::default()
    };
    let late = grpc.agents().preview_reply(request).await.unwrap_err();
    assert_eq!((late.code(), reason(&late).0.as_str()), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"));
    assert!(begun.elapsed() < Duration::from_secs(10));

    let tight = v1::Agent {
        budgets: vec![v1::Budget {
            scope: v1::BudgetScope::Agent.into(),
            max_tokens: 10,
            ..v1::Budget::default()
        }],
        ..draft("")
    };
    let create = v1::CreateAgentRequest { agent: Some(tight), request_id: String::new() };
    let tight = grpc.agents().create_agent(create).await.unwrap().into_inner().agent.unwrap();
    let request = v1::PreviewReplyRequest {
        agent_id: tight.id,
        messages: said(&[(MessageRole::User, "hello")]),
        ..Default::default()
    };
    let refused = grpc.agents().preview_reply(request).await.unwrap().into_inner();
    assert_eq!((refused.reason.as_str(), refused.usage.unwrap().calls), ("budget_exhausted", 0));
    assert!(refused.error.contains("the agent budget has 10 tokens"), "{}", refused.error);
    world.stop().await;
}

#[tokio::test]
async fn absurd_previews_are_refused_by_field() {
    let world = World::new().await;
    let grpc = world.grpc().await;
    let user = said(&[(MessageRole::User, "hello")]);
    let good =
        v1::PreviewReplyRequest { agent: Some(draft("")), messages: user.clone(), ..Default::default() };
    for (request, field) in [
        (v1::PreviewReplyRequest { agent: None, ..good.clone() }, "agent"),
        (v1::PreviewReplyRequest { messages: Vec::new(), ..good.clone() }, "messages"),
        (
            v1::PreviewReplyRequest { messages: said(&[(MessageRole::Assistant, "hi")]), ..good.clone() },
            "messages[0].role",
        ),
        (
            v1::PreviewReplyRequest { messages: said(&[(MessageRole::User, "")]), ..good.clone() },
            "messages[0].text",
        ),
        (
            v1::PreviewReplyRequest {
                timeout: Some(prost_types::Duration { seconds: -1, nanos: 0 }),
                ..good.clone()
            },
            "timeout",
        ),
    ] {
        let refused = grpc.agents().preview_reply(request).await.unwrap_err();
        assert_eq!(reason(&refused), ("FIELD_INVALID".to_owned(), vec![field.to_owned()]));
    }
    world.stop().await;
}

#[tokio::test]
async fn a_preview_goes_by_the_agents_hours() {
    let world = World::new().await;
    let grpc = world.grpc().await;
    let ask = async |outside: v1::OutsideHours, at: i64| {
        let hours = v1::WeeklyHours {
            day: v1::Weekday::Monday.into(),
            start: "09:00".to_owned(),
            end: "17:00".to_owned(),
        };
        let schedule = v1::Schedule {
            hours: vec![hours],
            outside: outside.into(),
            outside_text: "We are back soon.".to_owned(),
            ..v1::Schedule::default()
        };
        let request = v1::PreviewReplyRequest {
            agent: Some(v1::Agent { schedule: Some(schedule), ..draft("It is {{weekday}}, {{time}}.") }),
            messages: said(&[(MessageRole::User, "/prompt")]),
            at_time: Some(prost_types::Timestamp { seconds: at, nanos: 0 }),
            ..Default::default()
        };
        grpc.agents().preview_reply(request).await.unwrap().into_inner()
    };
    // A Monday at noon, UTC, and the Sunday before.
    let (monday, sunday) = (1_795_435_200, 1_795_435_200 - 86_400);
    let open = ask(v1::OutsideHours::StaySilent, monday).await;
    assert_eq!(open.reason, "");
    assert!(open.text.contains("It is Monday, 12:00."), "{}", open.text);
    for (outside, text) in [
        (v1::OutsideHours::AnswerText, "We are back soon."),
        (v1::OutsideHours::StaySilent, ""),
        (v1::OutsideHours::HandOver, ""),
        (v1::OutsideHours::Wait, ""),
    ] {
        let closed = ask(outside, sunday).await;
        assert_eq!((&*closed.text, &*closed.reason), (text, "outside_hours"));
        assert_eq!(
            (closed.usage.unwrap_or_default().calls, &*closed.prompt_hash),
            (0, ""),
            "nobody was asked"
        );
    }
    world.stop().await;
}
