//! Taking over what another program has kept.

use rusqlite::Connection;
use serde_json::{Value, json};
use switchboard_sdk::v1;

use crate::{
    harness::{Grpc, Receiver, Route, World, reason, until},
    programs::json_of,
};

fn at(seconds: i64) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds, nanos: 0 }
}

fn message(chat: &str, id: &str, role: v1::MessageRole, seconds: i64) -> v1::ImportedMessage {
    v1::ImportedMessage {
        chat: chat.to_owned(),
        message_id: id.to_owned(),
        role: role.into(),
        text: format!("text {id}"),
        create_time: Some(at(seconds)),
        metadata: None,
    }
}

async fn import(
    grpc: &Grpc,
    route: &Route,
    messages: Vec<v1::ImportedMessage>,
    chats: Vec<v1::ImportedChat>,
) -> v1::ImportMessagesResponse {
    let request = v1::ImportMessagesRequest { channel_id: route.channel_id.clone(), messages, chats };
    grpc.dialogues().import_messages(request).await.unwrap().into_inner()
}

async fn of_lead(grpc: &Grpc, lead: &str) -> v1::Dialogue {
    let request =
        v1::ListDialoguesRequest { lead_id: lead.to_owned(), ..v1::ListDialoguesRequest::default() };
    let mut found = grpc.dialogues().list_dialogues(request).await.unwrap().into_inner().dialogues;
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

async fn messages(grpc: &Grpc, dialogue_id: &str) -> Vec<v1::Message> {
    let request =
        v1::ListMessagesRequest { dialogue_id: dialogue_id.to_owned(), ..v1::ListMessagesRequest::default() };
    grpc.dialogues().list_messages(request).await.unwrap().into_inner().messages
}

#[tokio::test]
async fn a_batch_is_taken_over_once_without_bad_rows_and_nobody_answers() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let grpc = world.grpc().await;
    let (user, assistant) = (v1::MessageRole::User, v1::MessageRole::Assistant);
    let batch = vec![
        message("lead:1", "1", user, 1_500_000_000),
        message("lead:1", "2", assistant, 1_500_000_060),
        message("lead:1", "x", v1::MessageRole::System, 1_500_000_061),
        message("lead:2", "3", user, 1_600_000_000),
        message("lead:2", "y", user, 4_000_000_000),
        message("lead:1", "4", user, 1_500_000_120),
    ];
    let chat = v1::ImportedChat {
        chat: "lead:1".to_owned(),
        contact: Some(v1::ToldContact { name: "Ann".to_owned(), ..v1::ToldContact::default() }),
        crm: Some(v1::CrmReferences { lead_id: "1".to_owned(), ..v1::CrmReferences::default() }),
        status: v1::DialogueStatus::Resolved.into(),
    };
    let bad = v1::ImportedChat::default();
    let done = import(&grpc, &route, batch.clone(), vec![chat.clone(), bad.clone()]).await;
    assert_eq!((done.imported_count, done.known_count, done.created_dialogue_count), (4, 0, 2));
    let faults: Vec<_> = done.faults.iter().map(|fault| (fault.chat, fault.index)).collect();
    assert_eq!(faults, [(true, 1), (false, 2), (false, 4)], "{done:?}");
    assert!(done.faults[2].reason.starts_with("create_time: "), "{done:?}");

    let mut again = batch.clone();
    again[0].text = "another".to_owned();
    let done = import(&grpc, &route, again, vec![chat]).await;
    assert_eq!((done.imported_count, done.known_count, done.created_dialogue_count), (0, 3, 0));
    assert_eq!((done.faults.len(), done.faults[0].index), (3, 0), "{done:?}");
    let further = vec![message("lead:1", "5", user, 1_500_000_180)];
    assert_eq!(import(&grpc, &route, further, Vec::new()).await.imported_count, 1);

    let dialogue = of_lead(&grpc, "1").await;
    assert_eq!((dialogue.status(), dialogue.message_count), (v1::DialogueStatus::Resolved, 4));
    assert_eq!(dialogue.create_time, Some(at(1_500_000_000)));
    assert!(!dialogue.contact_id.is_empty());
    let kept = messages(&grpc, &dialogue.id).await;
    let shown: Vec<_> = kept
        .iter()
        .map(|each| (each.seq, each.external_id.as_str(), each.role(), each.create_time.unwrap().seconds))
        .collect();
    assert_eq!(
        shown,
        [
            (1, "1", user, 1_500_000_000),
            (2, "2", assistant, 1_500_000_060),
            (3, "4", user, 1_500_000_120),
            (4, "5", user, 1_500_000_180)
        ]
    );
    let turns = v1::ListTurnsRequest { dialogue_id: dialogue.id.clone(), ..v1::ListTurnsRequest::default() };
    assert!(grpc.dialogues().list_turns(turns.clone()).await.unwrap().into_inner().turns.is_empty());

    // The customer goes on, and the agent knows what was said.
    let goes_on = v1::ReceiveMessageRequest {
        channel_id: route.channel_id.clone(),
        chat: "lead:1".to_owned(),
        text: "And now?".to_owned(),
        sender: v1::MessageSender::Customer.into(),
        ..v1::ReceiveMessageRequest::default()
    };
    grpc.webhooks().receive_message(goes_on).await.unwrap();
    receiver.wait_for(1).await;
    let turn = grpc.dialogues().list_turns(turns).await.unwrap().into_inner().turns.remove(0);
    let turn = until(|| async {
        let request = v1::GetTurnRequest { id: turn.id.clone() };
        let turn = grpc.dialogues().get_turn(request).await.unwrap().into_inner().turn?;
        turn.close_time.is_some().then_some(turn)
    })
    .await;
    let manifest = format!("{:?}", turn.runs[0].manifest);
    assert!(["1.0", "2.0", "3.0", "4.0", "5.0"].iter().all(|seq| manifest.contains(seq)), "{manifest}");
    assert_eq!(receiver.received().len(), 1);
    let stats = until(|| async {
        let stats =
            grpc.workspaces().get_stats(v1::GetStatsRequest::default()).await.ok()?.into_inner().stats?;
        (stats.answers == 1).then_some(stats)
    })
    .await;
    assert_eq!((stats.imported_messages, stats.received_messages, stats.stored_messages), (5, 1, 7));
    assert_eq!((stats.dialogues, stats.contacts), (2, 1));

    let many = vec![message("a", "1", user, 1); 10_001];
    let request =
        v1::ImportMessagesRequest { channel_id: route.channel_id.clone(), messages: many, chats: Vec::new() };
    let refused = grpc.dialogues().import_messages(request).await.unwrap_err();
    assert_eq!(reason(&refused), ("FIELD_INVALID".to_owned(), vec!["messages".to_owned()]));
    world.stop().await;
}

/// A deployment's file, with rows that are not right.
fn deployment(file: &std::path::Path) {
    let db = Connection::open(file).unwrap();
    db.execute_batch(
        r#"create table clients (id integer primary key, amocrm_contact_id integer, name text, phone text, email text);
           create table conversations (id integer primary key, client_id integer, amocrm_lead_id integer, status text,
               last_activity text);
           create table messages (id integer primary key, conversation_id integer, sender_type text, content text,
               message_type text, metadata text, timestamp text);
           insert into clients values (1, 7001, 'Anna', '+79000000001', 'anna@example.com'), (2, null, 'Bob', '', null);
           insert into conversations values (10, 1, 12345, 'active', '2024-05-01 10:00:00'),
               (11, 2, null, 'closed', '2024-05-01 10:00:00'), (12, 99, 777, 'active', null);
           insert into messages values
               (101, 10, 'assistant', 'Good morning', 'text', '{"origin": "waba"}', '2024-05-01 10:00:05'),
               (100, 10, 'client', 'Hello', 'text', null, '2024-05-01 10:00:00'),
               (102, 11, 'client', 'Anyone?', null, null, '2024-05-01T10:00:00+03:00'),
               (103, 10, 'robot', 'Beep', 'text', null, '2024-05-01 10:00:06'),
               (104, 10, 'client', 'When', 'text', null, 'one day'),
               (105, 10, 'client', 'So', 'text', '{', '2024-05-01 10:00:07'),
               (106, 55, 'client', 'Lost', 'text', null, '2024-05-01 10:00:08'),
               (107, 12, 'client', 'Hi', 'text', null, 1714557600);"#,
    )
    .unwrap();
}

#[tokio::test]
async fn a_deployments_file_is_taken_over_by_the_command_line() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bot.sqlite");
    deployment(&file);
    let path = file.to_str().unwrap();
    let take = ["import", "sqlite", path, "--channel", &route.channel_id];
    let printed = json_of(&world, &take).await;
    let report = &printed[0];
    assert_eq!(
        (&report["messages"], &report["imported"], &report["dialogues"]),
        (&json!(8), &json!(4), &json!(3))
    );
    let bad: Vec<_> = printed[1..]
        .iter()
        .map(|row| (row["table"].as_str().unwrap(), row["id"].as_str().unwrap()))
        .collect();
    assert_eq!(
        bad,
        [
            ("messages", "103"),
            ("messages", "104"),
            ("messages", "105"),
            ("conversations", "12"),
            ("messages", "106")
        ],
        "{printed:?}"
    );
    assert!(printed[1]["reason"].as_str().unwrap().contains("robot"), "{printed:?}");
    let again = json_of(&world, &take).await;
    assert_eq!((&again[0]["imported"], &again[0]["known"]), (&json!(0), &json!(4)), "{again:?}");

    // A person sees the whole database, one lead, and the totals.
    assert_eq!(json_of(&world, &["dialogues", "list"]).await.len(), 3);
    let of = json_of(&world, &["dialogues", "list", "--lead", "12345"]).await;
    assert_eq!(
        (of.len(), &of[0]["crm"]["leadId"], &of[0]["crm"]["contactId"]),
        (1, &json!("12345"), &json!("7001"))
    );
    let shown = json_of(&world, &["dialogues", "show", of[0]["id"].as_str().unwrap()]).await;
    let said: Vec<_> = shown.iter().map(|row| (&row["role"], &row["text"])).collect();
    assert_eq!(said, [(&json!("USER"), &json!("Hello")), (&json!("ASSISTANT"), &json!("Good morning"))]);
    assert_eq!(shown[1]["metadata"], json!({ "origin": "waba", "message_type": "text" }));
    assert_eq!(shown[1]["createTime"], json!("2024-05-01T10:00:05Z"));
    let closed = json_of(&world, &["dialogues", "list", "--status", "resolved"]).await;
    assert_eq!(closed[0]["chat"], json!("conversation:11"));
    let counted = until(|| async {
        let stats: Value = json_of(&world, &["stats"]).await.remove(0);
        (stats["importedMessages"] == 4 && stats["dialogues"] == 3).then_some(stats)
    })
    .await;
    assert_eq!((&counted["storedMessages"], &counted["contacts"]), (&json!(4), &json!(2)));
    assert!(counted["uptimeSeconds"].is_u64() && !counted["startTime"].as_str().unwrap().is_empty());
    world.stop().await;
}
