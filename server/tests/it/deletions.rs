//! Dialogues that are deleted: here, and at the engine.

use std::time::Duration;

use serde_json::json;
use simulator::{Fault, KEY, Simulator};
use sqlx::{AssertSqlSafe, PgConnection};
use switchboard_sdk::v1::{self, MessageSender};
use tonic::Status;

use crate::harness::{Grpc, Receiver, Route, World, reason, to_struct, until};

async fn delete(grpc: &Grpc, id: &str) -> Result<(), Status> {
    let request = v1::DeleteDialogueRequest { dialogue_id: id.to_owned() };
    grpc.dialogues().delete_dialogue(request).await.map(drop)
}

fn message(route: &Route, chat: &str, id: &str, text: &str) -> v1::ReceiveMessageRequest {
    v1::ReceiveMessageRequest {
        channel_id: route.channel_id.clone(),
        chat: chat.to_owned(),
        message_id: id.to_owned(),
        text: text.to_owned(),
        sender: MessageSender::Customer.into(),
        ..v1::ReceiveMessageRequest::default()
    }
}

async fn receive(grpc: &Grpc, message: v1::ReceiveMessageRequest) -> v1::ReceiveMessageResponse {
    grpc.webhooks().receive_message(message).await.unwrap().into_inner()
}

async fn events(grpc: &Grpc, dialogue_id: &str) -> Vec<v1::Event> {
    let request = v1::ListEventsRequest {
        cursor: "0".to_owned(),
        dialogue_id: dialogue_id.to_owned(),
        page_size: 1_000,
        ..v1::ListEventsRequest::default()
    };
    grpc.events().list_events(request).await.unwrap().into_inner().events
}

/// Waits for the end of a deletion, and gives the engines that were left behind.
async fn forgotten(grpc: &Grpc, dialogue_id: &str) -> usize {
    let told = until(|| async {
        events(grpc, dialogue_id).await.into_iter().find(|event| event.r#type == "dialogue.forgotten")
    })
    .await;
    match told.data.unwrap().fields["left_behind"].kind.as_ref() {
        Some(prost_types::value::Kind::ListValue(list)) => list.values.len(),
        other => panic!("{other:?}"),
    }
}

/// The tables in which a word is found, in text, JSON or bytes.
async fn tables_with(owner: &mut PgConnection, word: &str) -> Vec<String> {
    let tables: Vec<String> = sqlx::query_scalar(
        "select c.relname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where n.nspname = 'public' and c.relkind in ('r', 'p') and not c.relispartition order by 1",
    )
    .fetch_all(&mut *owner)
    .await
    .unwrap();
    assert!(tables.len() > 20, "{tables:?}");
    let hex = hex::encode(word);
    let mut found = Vec::new();
    for table in tables {
        let sql =
            format!("select count(*) from {table} t where t::text like '%{word}%' or t::text like '%{hex}%'");
        let count: i64 = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut *owner).await.unwrap();
        if count > 0 {
            found.push(table);
        }
    }
    found
}

async fn used(grpc: &Grpc) -> (i64, Option<i64>) {
    let days = grpc.agents().list_usage(v1::ListUsageRequest::default()).await.unwrap().into_inner().days;
    let turns = days.iter().find(|day| day.purpose() == v1::UsagePurpose::Turn).unwrap();
    (turns.count, turns.usage.as_ref().unwrap().input_tokens)
}

#[tokio::test]
async fn a_dialogue_is_deleted_whole_and_begins_anew() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let grpc = world.grpc().await;
    let mut owner = world.owner().await;
    let told = v1::ToldContact {
        identities: vec![v1::ContactIdentity {
            vendor: "telegram".to_owned(),
            external_id: "canary-identity".to_owned(),
            ..v1::ContactIdentity::default()
        }],
        name: "canary-name".to_owned(),
        ..v1::ToldContact::default()
    };
    let first = v1::ReceiveMessageRequest {
        contact: Some(told.clone()),
        crm: Some(v1::CrmReferences { lead_id: "canary-lead".to_owned(), ..v1::CrmReferences::default() }),
        metadata: Some(to_struct(&json!({ "from": "canary-metadata" }))),
        ..message(&route, "canary-chat", "canary-id-of-it", "/tool set_attribute city canary-city")
    };
    let id = receive(&grpc, first.clone()).await.dialogue_id;
    receiver.wait_for(1).await;
    let request = v1::TakeControlRequest {
        dialogue_id: id.clone(),
        by: "canary-person".to_owned(),
        reason: "canary-reason".to_owned(),
        ..v1::TakeControlRequest::default()
    };
    grpc.dialogues().take_control(request).await.unwrap();
    let request = v1::SendMessageRequest {
        dialogue_id: id.clone(),
        text: "canary-of-a-colleague".to_owned(),
        author: v1::MessageAuthor::Operator.into(),
        ..v1::SendMessageRequest::default()
    };
    grpc.dialogues().send_message(request).await.unwrap();
    receiver.wait_for(2).await;
    // A repeat leaves a raw call, too.
    assert_eq!(receive(&grpc, first.clone()).await.outcome(), v1::InboundOutcome::Duplicate);
    // Another dialogue of the same customer's and one of another's stay.
    let same = v1::ReceiveMessageRequest { contact: Some(told), ..message(&route, "other", "o1", "hello") };
    let same = receive(&grpc, same).await.dialogue_id;
    let stays = receive(&grpc, message(&route, "stays", "s1", "what stays")).await.dialogue_id;
    receiver.wait_for(4).await;
    let before = until(|| async { Some(used(&grpc).await).filter(|(turns, _)| *turns == 3) }).await;
    assert!(tables_with(&mut owner, "canary").await.len() >= 8, "there is something to delete");

    delete(&grpc, &id).await.unwrap();
    let request = v1::GetDialogueRequest { id: id.clone() };
    assert_eq!(reason(&grpc.dialogues().get_dialogue(request).await.unwrap_err()).0, "DIALOGUE_NOT_FOUND");
    let listed = grpc.dialogues().list_dialogues(v1::ListDialoguesRequest::default()).await.unwrap();
    assert_eq!(listed.into_inner().dialogues.len(), 2);
    assert_eq!(forgotten(&grpc, &id).await, 0);
    for word in ["chat", "id-of-it", "city", "lead", "metadata", "person", "reason", "of-a-colleague"] {
        let word = format!("canary-{word}");
        assert_eq!(tables_with(&mut owner, &word).await, [""; 0], "{word}");
    }
    // The contact has another dialogue, which told of it, too.
    assert_eq!(
        tables_with(&mut owner, "canary").await,
        ["contact_identities", "contacts", "inbound_webhooks"]
    );
    delete(&grpc, &same).await.unwrap();
    assert_eq!(forgotten(&grpc, &same).await, 0);
    assert_eq!(tables_with(&mut owner, "canary").await, [""; 0]);
    assert!(!tables_with(&mut owner, "what stays").await.is_empty());

    // The log keeps bare facts, and what was used is still told.
    let log = events(&grpc, &id).await;
    let kinds: Vec<_> = log.iter().map(|event| event.r#type.as_str()).collect();
    assert!(
        kinds.contains(&"message.received") && kinds.ends_with(&["dialogue.deleted", "dialogue.forgotten"])
    );
    assert!(log.iter().all(|event| event.message.is_none()));
    assert_eq!(used(&grpc).await, before);

    // Again is no other than once; what was never there is not found.
    delete(&grpc, &id).await.unwrap();
    let nobody = delete(&grpc, "0198c0de-0000-8000-8000-000000000004").await.unwrap_err();
    assert_eq!(reason(&nobody).0, "DIALOGUE_NOT_FOUND");

    // What the customer writes next begins the dialogue anew.
    let again = receive(&grpc, message(&route, "canary-chat", "m2", "hello again")).await;
    assert_eq!(again.dialogue_id, id);
    let answer = receiver.wait_for(5).await[4].json();
    assert_eq!(answer["text"], "You wrote 1 message: “hello again”");
    let request = v1::GetDialogueRequest { id: stays };
    grpc.dialogues().get_dialogue(request).await.unwrap();
    world.stop().await;
}

#[tokio::test]
async fn a_run_in_hand_finds_its_dialogue_gone() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({ "delay_ms": 700 })).await;
    let grpc = world.grpc().await;
    let id = receive(&grpc, message(&route, "c1", "m1", "hello")).await.dialogue_id;
    until(|| async {
        let runs: i64 = sqlx::query_scalar("select count(*) from runs where state = 'STARTED'")
            .fetch_one(&mut world.owner().await)
            .await
            .unwrap();
        (runs == 1).then_some(())
    })
    .await;
    delete(&grpc, &id).await.unwrap();
    // The same chat, at once: its turn is the new dialogue's, and the old run has no part in it.
    receive(&grpc, message(&route, "c1", "m2", "once more")).await;
    assert_eq!(receiver.wait_for(1).await[0].json()["text"], "You wrote 1 message: “once more”");
    let request = v1::ListMessagesRequest { dialogue_id: id.clone(), ..v1::ListMessagesRequest::default() };
    let said = grpc.dialogues().list_messages(request).await.unwrap().into_inner().messages;
    assert_eq!(said.iter().map(|message| message.seq).collect::<Vec<_>>(), [1, 2]);
    let request = v1::ListTurnsRequest { dialogue_id: id, ..v1::ListTurnsRequest::default() };
    assert_eq!(grpc.dialogues().list_turns(request).await.unwrap().into_inner().turns.len(), 1);
    assert_eq!(receiver.received().len(), 1);
    world.stop().await;
}

#[tokio::test]
async fn an_engine_is_told_until_it_has_forgotten() {
    let simulator = Simulator::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    let dify = simulator.vendor("dify").unwrap();
    let url = dify.base_url().replace("/v1", "/chat/v1");
    let world = World::with(&[("DIFY_API_KEY", KEY), ("DIFY_BASE_URL", &url)]).await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    world.set_model(&route, "dify", "", json!({})).await;
    let grpc = world.grpc().await;
    let id = receive(&grpc, message(&route, "c1", "m1", "hello")).await.dialogue_id;
    let other = receive(&grpc, message(&route, "c2", "m2", "hello")).await.dialogue_id;
    receiver.wait_for(2).await;

    dify.faults().add(Fault::Down, Some(1));
    delete(&grpc, &id).await.unwrap();
    // What it could not be told at first it is told again.
    until(|| async {
        let failures: i32 = sqlx::query_scalar("select coalesce(max(failures), 0) from erasures")
            .fetch_one(&mut world.owner().await)
            .await
            .unwrap();
        (failures == 1).then_some(())
    })
    .await;
    let kinds = |events: Vec<v1::Event>| events.into_iter().map(|event| event.r#type).collect::<Vec<_>>();
    assert!(!kinds(events(&grpc, &id).await).contains(&"dialogue.forgotten".to_owned()));
    world.clock().advance(Duration::from_mins(2));
    delete(&grpc, &other).await.unwrap();
    assert_eq!((forgotten(&grpc, &id).await, forgotten(&grpc, &other).await), (0, 0));
    let told: Vec<_> = dify.calls().into_iter().filter(|call| call.method == "DELETE").collect();
    assert_eq!(told.len(), 3, "one that failed, and one for each");
    let user = |call: &simulator::Call| serde_json::from_slice::<serde_json::Value>(&call.body).unwrap();
    assert!(told.iter().all(|call| call.path.contains("/conversations/9c0d1e2f-")));
    assert!(
        told.iter().any(|call| user(call)["user"] == id)
            && told.iter().any(|call| user(call)["user"] == other)
    );
    let left: i64 =
        sqlx::query_scalar("select count(*) from erasures where notes is not null or done_at is null")
            .fetch_one(&mut world.owner().await)
            .await
            .unwrap();
    assert_eq!(left, 0);
    world.stop().await;
}

#[tokio::test]
async fn deleting_needs_a_right_of_its_own() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let grpc = world.grpc().await;
    let id = receive(&grpc, message(&route, "c1", "m1", "hello")).await.dialogue_id;
    let key = v1::ApiKey {
        display_name: "writer".to_owned(),
        scopes: vec!["dialogues:write".to_owned()],
        ..v1::ApiKey::default()
    };
    let request = v1::CreateApiKeyRequest { api_key: Some(key), ..v1::CreateApiKeyRequest::default() };
    let key = grpc.workspaces().create_api_key(request).await.unwrap().into_inner().secret;
    let refused = delete(&world.grpc_as(&key).await, &id).await.unwrap_err();
    assert_eq!(reason(&refused).0, "SCOPE_MISSING");
    world.stop().await;
}
