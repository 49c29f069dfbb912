//! Counts of a workspace.

use serde_json::json;
use switchboard_sdk::v1;

use crate::{
    harness::{Grpc, Receiver, World, reason, until},
    tenants::second_workspace,
};

async fn stats(grpc: &Grpc) -> v1::Stats {
    let answer = grpc.workspaces().get_stats(v1::GetStatsRequest::default()).await.unwrap();
    answer.into_inner().stats.unwrap()
}

#[tokio::test]
async fn everything_is_counted_once_and_in_its_workspace() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let grpc = world.grpc().await;
    for (id, text) in [("1", "one"), ("2", "two"), ("1", "one"), ("1", "one"), ("2", "another")] {
        let status = world.new_message(&route, &route.message(Some(id), text)).await.status;
        assert!([200, 409].contains(&status));
        until(|| async {
            let dialogue = grpc
                .dialogues()
                .list_dialogues(v1::ListDialoguesRequest::default())
                .await
                .ok()?
                .into_inner()
                .dialogues
                .pop()?;
            (dialogue.message_count % 2 == 0).then_some(())
        })
        .await;
    }
    let failing = world.route(&receiver, json!({ "fail": "always" })).await;
    world.new_message(&failing, &failing.message(Some("1"), "hello")).await;
    let hook = format!("/hooks/{}", route.channel_id);
    let token = format!("Bearer {}", route.agent_token);
    assert_eq!(world.post(&hook, &[("x-chatbot_auth_token", &token)], "{}").await.status, 422);

    let counted = until(|| async {
        let stats = stats(&grpc).await;
        (stats.errors == 2 && stats.delivered_messages == 2).then_some(stats)
    })
    .await;
    assert_eq!((counted.received_messages, counted.stored_messages), (6, 5), "{counted:?}");
    assert_eq!((counted.duplicate_messages, counted.conflicting_messages), (2, 1));
    assert_eq!((counted.answers, counted.engine_requests), (2, 2));
    assert_eq!((counted.failed_turns, counted.quarantined_webhooks, counted.dead_deliveries), (1, 1, 0));
    assert_eq!((counted.dialogues, counted.contacts, counted.imported_messages), (2, 0, 0));
    assert!(counted.start_time.is_some() && counted.uptime.is_some());

    // The log says the same.
    let request = v1::ListEventsRequest { page_size: 1_000, ..v1::ListEventsRequest::default() };
    let events = grpc.events().list_events(request).await.unwrap().into_inner().events;
    let of = |kind: &str| events.iter().filter(|event| event.r#type == kind).count();
    assert_eq!((of("message.received"), of("message.replied"), of("message.conflict")), (3, 2, 1));

    let (id, key) = second_workspace(&world).await;
    let other = world.grpc_as(&key).await;
    assert_eq!(stats(&other).await.received_messages, 0);
    let request = v1::GetStatsRequest { workspace_id: id };
    let operator = world.grpc_as(&world.operator).await;
    assert_eq!(
        operator.workspaces().get_stats(request.clone()).await.unwrap().into_inner().stats.unwrap().answers,
        0
    );
    assert_eq!(reason(&grpc.workspaces().get_stats(request).await.unwrap_err()).0, "WORKSPACE_NOT_FOUND");
    world.stop().await;
}
