//! Receiving, through all three doors.

use serde_json::json;
use switchboard_sdk::v1::{self, InboundOutcome, MessageSender};

use crate::harness::{Receiver, World, reason};

#[tokio::test]
async fn a_customer_s_message_is_kept_answered_and_delivered() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;

    let answer = world.new_message(&route, &route.message(Some("m1"), "hello")).await;
    assert_eq!((answer.status, answer.json()), (200, json!({ "status": "Message processed successfully" })));
    assert_eq!(answer.outcome(), "RECORDED");

    let received = receiver.wait_for(1).await.remove(0);
    let body = received.json();
    assert_eq!(body["role"], "ASSISTANT");
    assert!(body["text"].as_str().unwrap().contains("hello"), "{body}");
    assert_eq!(received.headers["x-chat_auth_token"], format!("Bearer {}", route.channel_token));
    assert_eq!(received.headers["content-type"], "application/json");
    let webhook = standardwebhooks::Webhook::new(&route.signing_secret).unwrap();
    webhook.verify(&received.body, &received.headers).expect("the signature fits the body");

    let said = world.said(&route).await;
    assert_eq!(said.len(), 2, "{said:?}");
    assert_eq!(said[0], "USER: hello");
    assert!(said[1].starts_with("ASSISTANT: "), "{said:?}");
    world.stop().await;
}

#[tokio::test]
async fn prefer_wait_finds_the_answer_in_the_dialogue() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({ "delay_ms": 200 })).await;
    let token = format!("Bearer {}", route.agent_token);
    let headers = [("x-chatbot_auth_token", token.as_str()), ("prefer", "wait=10")];
    let body = route.message(Some("m1"), "hello").to_string();
    let answer = world.post("/api/webhook/new_message/", &headers, body).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["preference-applied"], "wait=10");
    assert_eq!(world.said(&route).await.len(), 2);
    world.stop().await;
}

#[tokio::test]
async fn an_employee_s_message_is_recorded_never_answered_and_does_not_silence_the_agent() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let mut employee = route.message(Some("e1"), "I am looking into it");
    employee["message_sender"] = json!("employee");
    assert_eq!(world.new_message(&route, &employee).await.status, 200);
    assert_eq!(world.new_message(&route, &route.message(Some("m1"), "thanks")).await.status, 200);
    receiver.wait_for(1).await;
    let said = world.said(&route).await;
    assert_eq!(said[..2], ["EMPLOYEE: I am looking into it", "USER: thanks"]);
    assert_eq!(said.len(), 3, "{said:?}");
    assert_eq!(receiver.received().len(), 1);
    world.stop().await;
}

#[tokio::test]
async fn a_repeat_changes_nothing_and_a_conflict_is_recorded_and_not_applied() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    for outcome in ["RECORDED", "DUPLICATE", "DUPLICATE"] {
        let answer = world.new_message(&route, &route.message(Some("m1"), "hello")).await;
        assert_eq!((answer.status, answer.outcome()), (200, outcome));
    }
    let conflict = world.new_message(&route, &route.message(Some("m1"), "something else")).await;
    assert_eq!((conflict.status, conflict.outcome()), (200, "CONFLICT"));
    receiver.wait_for(1).await;
    assert_eq!(world.said(&route).await.len(), 2);
    assert_eq!(receiver.received().len(), 1);

    let grpc = world.grpc().await;
    let request = v1::ListInboundWebhooksRequest {
        outcome: InboundOutcome::Conflict.into(),
        ..v1::ListInboundWebhooksRequest::default()
    };
    let listed = grpc.webhooks().list_inbound_webhooks(request).await.unwrap().into_inner();
    assert_eq!(listed.inbound_webhooks.len(), 1);

    // The doors that may say so do.
    let over_grpc = v1::ReceiveMessageRequest {
        channel_id: route.channel_id.clone(),
        message_id: "m1".to_owned(),
        text: "something else".to_owned(),
        sender: MessageSender::Customer.into(),
        ..v1::ReceiveMessageRequest::default()
    };
    let refused = grpc.webhooks().receive_message(over_grpc).await.unwrap_err();
    assert_eq!(reason(&refused), ("MESSAGE_CONFLICT".to_owned(), vec!["message_id".to_owned()]));
    let token = format!("Bearer {}", route.agent_token);
    let hook = format!("/hooks/{}", route.channel_id);
    let body = route.message(Some("m1"), "something else").to_string();
    let answer = world.post(&hook, &[("x-chatbot_auth_token", &token)], body).await;
    assert_eq!(answer.problem(409, "MESSAGE_CONFLICT"), ["message_id"]);
    world.stop().await;
}

#[tokio::test]
async fn many_at_once_of_the_same_message_are_one() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let message = route.message(Some("m1"), "hello");
    let answers =
        futures::future::join_all((0..40).map(|_| async { world.new_message(&route, &message).await })).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(answers.iter().filter(|answer| answer.outcome() == "RECORDED").count(), 1);
    receiver.wait_for(1).await;
    assert_eq!(world.said(&route).await.len(), 2);
    world.stop().await;
}

#[tokio::test]
async fn a_missing_id_is_generated() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let mut without = route.message(None, "hello");
    for _ in 0..2 {
        let answer = world.new_message(&route, &without).await;
        assert_eq!((answer.status, answer.outcome()), (200, "RECORDED"));
        without.as_object_mut().unwrap().remove("message_id");
    }
    assert_eq!(world.said(&route).await.iter().filter(|line| *line == "USER: hello").count(), 2);
    world.stop().await;
}

#[tokio::test]
async fn a_signed_hook_needs_no_token_and_what_it_can_t_say_is_quarantined() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let hook = format!("/hooks/{}", route.channel_id);
    let webhook = standardwebhooks::Webhook::new(&route.signing_secret).unwrap();
    let now = domain::Clock::now(&domain::SystemClock).unix_timestamp();
    let signed = async |body: String, sign: &str| {
        let signature = webhook.sign("w1", now, sign.as_bytes()).unwrap();
        let now = now.to_string();
        let headers = [
            ("webhook-id", "w1"),
            ("webhook-timestamp", now.as_str()),
            ("webhook-signature", signature.as_str()),
        ];
        world.post(&hook, &headers, body).await
    };
    let body = route.message(Some("m1"), "hello").to_string();
    assert_eq!(signed(body.clone(), &body).await.status, 200);
    receiver.wait_for(1).await;

    signed(body.clone(), "another body").await.problem(401, "SIGNATURE_INVALID");
    world.post(&hook, &[], body.clone()).await.problem(401, "AUTH_MISSING");
    let unknown = "/hooks/0198c0de-0000-7000-8000-000000000004";
    world.post(unknown, &[], body).await.problem(401, "AUTH_MISSING");

    let strange = r#"{"event":"typing"}"#;
    let fields = signed(strange.to_owned(), strange).await.problem(422, "FIELD_INVALID");
    assert_eq!(fields, ["chat_id", "text", "message_sender"]);
    let grpc = world.grpc().await;
    let request = v1::ListInboundWebhooksRequest {
        outcome: InboundOutcome::Quarantined.into(),
        ..v1::ListInboundWebhooksRequest::default()
    };
    let listed = grpc.webhooks().list_inbound_webhooks(request).await.unwrap().into_inner().inbound_webhooks;
    assert_eq!(listed.len(), 1);
    assert!(listed[0].reason.contains("chat_id"), "{}", listed[0].reason);
    let whole = grpc
        .webhooks()
        .get_inbound_webhook(v1::GetInboundWebhookRequest { id: listed[0].id.clone() })
        .await
        .unwrap()
        .into_inner()
        .inbound_webhook
        .unwrap();
    assert_eq!(whole.body, strange.as_bytes());
    world.stop().await;
}

#[tokio::test]
async fn a_hook_takes_no_message_for_another_channel_than_its_path_s() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let other = world.route(&receiver, json!({})).await;
    let hook = format!("/hooks/{}", route.channel_id);
    let token = format!("Bearer {}", route.agent_token);
    let send = async |chat_id: &str| {
        let mut body = route.message(Some("m1"), "hello");
        body["chat_id"] = json!(chat_id);
        world.post(&hook, &[("x-chatbot_auth_token", &token)], body.to_string()).await
    };
    let nobody = "0198c0de-0000-7000-8000-000000000004";
    for foreign in [&other.channel_id, nobody, &format!("{}/room", other.channel_id)] {
        let answer = send(foreign).await;
        assert_eq!(answer.problem(422, "FIELD_INVALID"), ["chat_id"], "{foreign}");
        // Nothing tells a channel that exists from one that does not.
        assert!(answer.json()["detail"].as_str().unwrap().contains("names another channel than the path"));
    }
    assert_eq!(send("nowhere").await.problem(422, "FIELD_INVALID"), ["chat_id"]);
    assert!(world.said(&route).await.is_empty() && world.said(&other).await.is_empty());
    let grpc = world.grpc().await;
    let request = v1::ListInboundWebhooksRequest {
        outcome: InboundOutcome::Quarantined.into(),
        ..v1::ListInboundWebhooksRequest::default()
    };
    let kept = grpc.webhooks().list_inbound_webhooks(request).await.unwrap().into_inner().inbound_webhooks;
    assert_eq!(kept.len(), 4, "what can't be taken is kept, with why");
    assert!(kept.iter().all(|webhook| webhook.channel_id == route.channel_id));

    let room = send(&format!("{}/room", route.channel_id)).await;
    assert_eq!((room.status, room.outcome()), (200, "RECORDED"), "a chat inside the channel is its own");
    assert_eq!(send(&route.channel_id.to_uppercase()).await.status, 200);
    assert_eq!(world.said(&route).await[0], "USER: hello");
    world.stop().await;
}

#[tokio::test]
async fn a_replay_finds_what_was_recorded() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    assert_eq!(world.new_message(&route, &route.message(None, "hello")).await.status, 200);
    receiver.wait_for(1).await;
    let grpc = world.grpc().await;
    let listed =
        grpc.webhooks().list_inbound_webhooks(v1::ListInboundWebhooksRequest::default()).await.unwrap();
    let first = listed.into_inner().inbound_webhooks.remove(0);
    let whole = grpc
        .webhooks()
        .get_inbound_webhook(v1::GetInboundWebhookRequest { id: first.id.clone() })
        .await
        .unwrap()
        .into_inner()
        .inbound_webhook
        .unwrap();
    assert_eq!(whole.headers["x-chatbot_auth_token"], "[redacted]");
    let replayed = grpc
        .webhooks()
        .replay_inbound_webhook(v1::ReplayInboundWebhookRequest { id: first.id.clone() })
        .await
        .unwrap()
        .into_inner()
        .inbound_webhook
        .unwrap();
    assert_eq!(replayed.route, "replay");
    assert_eq!(replayed.outcome(), InboundOutcome::Duplicate);
    assert_eq!(replayed.message_id, first.message_id);
    assert_eq!(world.said(&route).await.len(), 2);
    world.stop().await;
}

#[tokio::test]
async fn what_a_message_carries_beside_its_text_is_kept_and_told() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let image = json!({ "kind": "image", "url": "https://example.com/a.png", "media_type": "image/png" });
    let mut body = route.message(Some("m1"), "");
    body.as_object_mut().unwrap().remove("text");
    body["parts"] = json!([image]);
    for outcome in ["RECORDED", "DUPLICATE"] {
        let answer = world.new_message(&route, &body).await;
        assert_eq!((answer.status, answer.outcome()), (200, outcome), "{}", answer.json());
    }
    // The same id with another image is another message.
    body["parts"][0]["url"] = json!("https://example.com/b.png");
    assert_eq!(world.new_message(&route, &body).await.outcome(), "CONFLICT");

    let location = v1::MessagePart {
        kind: v1::PartKind::Location.into(),
        url: "geo:56.95,24.1".to_owned(),
        name: "Riga".to_owned(),
        ..v1::MessagePart::default()
    };
    let over_grpc = v1::ReceiveMessageRequest {
        channel_id: route.channel_id.clone(),
        message_id: "m2".to_owned(),
        text: "I am here".to_owned(),
        sender: MessageSender::Customer.into(),
        parts: vec![location.clone()],
        ..v1::ReceiveMessageRequest::default()
    };
    let grpc = world.grpc().await;
    let received = grpc.webhooks().receive_message(over_grpc).await.unwrap().into_inner();
    assert_eq!(received.outcome(), InboundOutcome::Recorded);

    let request = v1::ListMessagesRequest { dialogue_id: received.dialogue_id, ..Default::default() };
    let messages = grpc.dialogues().list_messages(request).await.unwrap().into_inner().messages;
    let carried: Vec<_> = messages.iter().flat_map(|message| &message.parts).collect();
    assert_eq!(carried.len(), 2, "{messages:?}");
    assert_eq!((carried[0].kind(), carried[0].media_type.as_str()), (v1::PartKind::Image, "image/png"));
    assert_eq!(carried[1], &location);

    body["message_id"] = json!("m3");
    body["parts"] =
        json!([{ "kind": "file", "url": "file:///etc/passwd" }, { "kind": "smell", "url": "x:y" }]);
    let refused = world.new_message(&route, &body).await;
    assert_eq!(refused.problem(422, "FIELD_INVALID"), ["parts[1].kind", "parts[0].url"]);
    world.stop().await;
}

#[tokio::test]
async fn a_locked_dialogue_holds_up_nobody_elses_messages() {
    use sqlx::{AssertSqlSafe, Connection as _};
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let say = async |chat: &str, id: String| {
        let mut body = route.message(Some(&id), "hello");
        body["chat_id"] = json!(format!("{}/{chat}", route.channel_id));
        world.new_message(&route, &body).await.status
    };
    assert_eq!(say("locked", "first".to_owned()).await, 200);
    receiver.wait_for(1).await;
    let mut owner = world.owner().await;
    let mut tx = owner.begin().await.unwrap();
    let lock = "select 1 from dialogues for update".to_owned();
    sqlx::query(AssertSqlSafe(lock)).execute(&mut *tx).await.unwrap();

    // Each of these waits for the row as long as it may; one after another that would be ten seconds.
    let stuck = futures::future::join_all((0..10).map(|at| say("locked", at.to_string())));
    let others = async {
        let began = std::time::Instant::now();
        for at in 0..30 {
            assert_eq!(say(&format!("other {at}"), "m1".to_owned()).await, 200);
        }
        began.elapsed()
    };
    let (stuck, others) = futures::future::join(stuck, others).await;
    assert!(others < std::time::Duration::from_secs(4), "{others:?}");
    // A caller may always come back.
    assert!(stuck.iter().all(|status| [200, 503].contains(status)), "{stuck:?}");
    tx.commit().await.unwrap();
    for at in 0..10 {
        assert_eq!(say("locked", at.to_string()).await, 200);
    }
    let mut count = async || -> i64 {
        let of = "select count(*) from messages m join dialogues d on d.id = m.dialogue_id
                  where d.chat = 'locked' and m.role = 'USER'";
        sqlx::query_scalar(of).fetch_one(&mut owner).await.unwrap()
    };
    assert_eq!(count().await, 11);
    world.stop().await;
}
