//! Channels of the Chats API: connected, written into, and answered by managers, whose calls are signed; salesbots that ask; and
//! managers of whom the account's own webhook tells.

use std::time::Duration;

use serde_json::{Value, json};
use simulator::{
    Fault,
    amocrm::{AMOJO_ID, AmoCrm, CHATS_BOT, CHATS_CHANNEL, CHATS_SECRET, SALESBOT},
};
use switchboard_sdk::v1::{
    self,
    CheckOutcome::{Failed, Passed, Skipped},
    InboundOutcome::{Ignored, Quarantined, Recorded},
};

use crate::{
    crm_hooks::rotate,
    harness::{Answer, Grpc, Receiver, World, reason, to_struct, until},
    integrations::{connect, events, text},
    oauth::{account, amocrm, begin, come_back},
};

/// A server that knows its public address, an account, and an integration between them that somebody authorized.
pub(crate) struct Room {
    pub(crate) world: World,
    pub(crate) grpc: Grpc,
    pub(crate) at: AmoCrm,
    pub(crate) agent_id: String,
    pub(crate) integration: v1::Integration,
    pub(crate) public_url: String,
    _receiver: Receiver,
}

/// An integration with an account and its chats.
pub(crate) fn with_chats(at: &AmoCrm, secret: &str) -> v1::Integration {
    let mut integration = account(at);
    let url = prost_types::value::Kind::StringValue(at.base_url());
    let settings = integration.settings.as_mut().unwrap();
    settings.fields.insert("chats_url".to_owned(), prost_types::Value { kind: Some(url) });
    integration.credentials.insert("chats_secret".to_owned(), secret.to_owned());
    integration
}

pub(crate) async fn room() -> Room {
    // Where the server will be reached must be known before it is there.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let public_url = format!("http://{address}");
    let world = World::with(&[
        ("SWITCHBOARD_HTTP_ADDR", &address.to_string()),
        ("SWITCHBOARD_PUBLIC_URL", &public_url),
    ])
    .await;
    let at = amocrm().await;
    let receiver = Receiver::start().await;
    let agent_id = world.route(&receiver, json!({})).await.agent_id;
    let integration = connect(&world, with_chats(&at, CHATS_SECRET)).await;
    let grpc = world.grpc().await;
    let state = begin(&grpc, &integration.id).await;
    let answer =
        come_back(&world, &[("state", &state), ("code", &at.consent()), ("referer", "acme.amocrm.ru")]).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    Room { world, grpc, at, agent_id, integration, public_url, _receiver: receiver }
}

pub(crate) fn chat_settings() -> Value {
    json!({ "answers": "CHAT", "chats_channel_id": CHATS_CHANNEL, "bot_id": CHATS_BOT, "bot_name": "Helper" })
}

impl Room {
    pub(crate) async fn channel(&self, settings: &Value) -> v1::Channel {
        let channel = v1::Channel {
            display_name: "Chats".to_owned(),
            agent_id: self.agent_id.clone(),
            vendor: "amocrm".to_owned(),
            integration_id: self.integration.id.clone(),
            settings: Some(to_struct(settings)),
            ..v1::Channel::default()
        };
        let request = v1::CreateChannelRequest { channel: Some(channel), request_id: String::new() };
        let made = self.grpc.channels().create_channel(request).await.unwrap().into_inner();
        assert!(made.hook_secret.is_empty(), "its calls are signed");
        made.channel.unwrap()
    }

    pub(crate) async fn connect(&self, id: &str) -> Vec<(String, v1::CheckOutcome)> {
        let request = v1::ConnectChannelRequest { id: id.to_owned() };
        let steps = self.grpc.channels().connect_channel(request).await.unwrap().into_inner().steps;
        steps.into_iter().map(|step| (step.name.clone(), step.outcome())).collect()
    }

    /// A connected channel of the Chats API: its id.
    pub(crate) async fn connected(&self) -> String {
        let id = self.channel(&chat_settings()).await.id;
        let steps = self.connect(&id).await;
        let expected = [("account", Passed), ("channel", Passed), ("address", Skipped)];
        assert_eq!(
            steps.iter().map(|(name, outcome)| (name.as_str(), *outcome)).collect::<Vec<_>>(),
            expected
        );
        self.at.register_chats_hook(&format!("{}/hooks/{id}/:scope_id", self.public_url));
        id
    }

    pub(crate) async fn messages(&self, dialogue_id: &str) -> Vec<v1::Message> {
        let request = v1::ListMessagesRequest {
            dialogue_id: dialogue_id.to_owned(),
            ..v1::ListMessagesRequest::default()
        };
        self.grpc.dialogues().list_messages(request).await.unwrap().into_inner().messages
    }

    pub(crate) async fn dialogues(&self, channel_id: &str) -> Vec<v1::Dialogue> {
        let request = v1::ListDialoguesRequest {
            channel_id: channel_id.to_owned(),
            ..v1::ListDialoguesRequest::default()
        };
        self.grpc.dialogues().list_dialogues(request).await.unwrap().into_inner().dialogues
    }

    pub(crate) async fn outcome(&self, channel_id: &str) -> v1::InboundOutcome {
        let request = v1::ListInboundWebhooksRequest {
            channel_id: channel_id.to_owned(),
            ..v1::ListInboundWebhooksRequest::default()
        };
        let listed = self.grpc.webhooks().list_inbound_webhooks(request).await.unwrap().into_inner();
        listed.inbound_webhooks[0].outcome()
    }

    pub(crate) async fn deliveries(&self) -> Vec<v1::Delivery> {
        let request = v1::ListDeliveriesRequest::default();
        self.grpc.dialogues().list_deliveries(request).await.unwrap().into_inner().deliveries
    }

    pub(crate) async fn operator_says(&self, dialogue_id: &str, text: &str) -> v1::SendMessageResponse {
        let request = v1::SendMessageRequest {
            dialogue_id: dialogue_id.to_owned(),
            text: text.to_owned(),
            author: v1::MessageAuthor::Operator.into(),
            ..v1::SendMessageRequest::default()
        };
        self.grpc.dialogues().send_message(request).await.unwrap().into_inner()
    }

    /// Names the channel in the integration as the one of the account's chats.
    pub(crate) async fn name_for_chats(&self, channel_id: &str) {
        let mut settings = with_chats(&self.at, CHATS_SECRET).settings.unwrap();
        let id = prost_types::value::Kind::StringValue(channel_id.to_owned());
        settings.fields.insert("chat_channel_id".to_owned(), prost_types::Value { kind: Some(id) });
        let integration = v1::Integration {
            id: self.integration.id.clone(),
            settings: Some(settings),
            ..v1::Integration::default()
        };
        let request = v1::UpdateIntegrationRequest {
            integration: Some(integration),
            update_mask: Some(prost_types::FieldMask { paths: vec!["settings".to_owned()] }),
        };
        self.grpc.integrations().update_integration(request).await.unwrap();
    }

    /// The account tells of something.
    pub(crate) async fn account_tells(&self, path: &str, body: &str) -> Answer {
        let body = format!("{body}&account[subdomain]=acme&account[id]=31000001");
        let form = ("content-type", "application/x-www-form-urlencoded");
        let answer = self.world.call(reqwest::Method::POST, path, &[form], Some(body.into())).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer
    }
}

#[tokio::test]
async fn a_channel_is_connected_to_the_account_and_taken_out_of_it() {
    let room = room().await;
    let id = room.connected().await;
    assert!(room.at.chats_connected());
    let got = async || {
        let request = v1::GetChannelRequest { id: id.clone() };
        let channel = room.grpc.channels().get_channel(request).await.unwrap().into_inner().channel.unwrap();
        channel.settings.unwrap()
    };
    let scope = format!("{CHATS_CHANNEL}_{AMOJO_ID}");
    let mut settings = chat_settings();
    settings["scope_id"] = json!(scope);
    assert_eq!(got().await, to_struct(&settings));
    // Again it changes nothing, as after the integration was installed anew.
    assert_eq!(room.connect(&id).await.len(), 3);

    let request = v1::DisconnectChannelRequest { id: id.clone() };
    let steps = room.grpc.channels().disconnect_channel(request.clone()).await.unwrap().into_inner().steps;
    assert_eq!((steps.len(), steps[0].outcome()), (1, Passed));
    assert!(!room.at.chats_connected());
    assert_eq!(got().await, to_struct(&chat_settings()));
    let steps = room.grpc.channels().disconnect_channel(request).await.unwrap().into_inner().steps;
    assert!(steps[0].detail.contains("not connected"), "{steps:?}");

    // A wrong secret is found out, and said.
    let wrong = connect(&room.world, with_chats(&room.at, "another-secret")).await;
    let state = begin(&room.grpc, &wrong.id).await;
    let parameters = [("state", state.as_str()), ("code", &room.at.consent()), ("referer", "acme.amocrm.ru")];
    assert_eq!(come_back(&room.world, &parameters).await.status, 200);
    let channel = v1::Channel { id: id.clone(), integration_id: wrong.id, ..v1::Channel::default() };
    let update_mask = Some(prost_types::FieldMask { paths: vec!["integration_id".to_owned()] });
    let request = v1::UpdateChannelRequest { channel: Some(channel), update_mask };
    room.grpc.channels().update_channel(request).await.unwrap();
    assert_eq!(room.connect(&id).await, [("account".to_owned(), Passed), ("channel".to_owned(), Failed)]);
    assert!(!room.at.chats_connected());

    // What has no such thing says so.
    let plain = room.channel(&json!({})).await.id;
    assert_eq!(room.connect(&plain).await, [("webhooks".to_owned(), Skipped)]);
    let request = v1::DisconnectChannelRequest { id: plain };
    let refused = room.grpc.channels().disconnect_channel(request).await.unwrap_err();
    assert_eq!(reason(&refused).0, "CAPABILITY_MISSING");
    room.world.stop().await;
}

#[tokio::test]
async fn a_manager_writes_in_a_chat_and_what_we_say_is_recorded_there_once() {
    let room = room().await;
    let id = room.connected().await;
    let (written, status) = room.at.manager_writes("c-1", "Hello, I am Maria").await.unwrap();
    assert_eq!((status, room.outcome(&id).await), (200, Recorded));
    let dialogue = room.dialogues(&id).await.remove(0);
    assert_eq!((dialogue.chat.as_str(), dialogue.status()), ("c-1", v1::DialogueStatus::Open));
    let said = room.messages(&dialogue.id).await;
    assert_eq!((said[0].role(), said[0].text.as_str()), (v1::MessageRole::Employee, "Hello, I am Maria"));
    assert_eq!(said[0].external_id, written.id);

    // We answer: as the channel's bot, under our own id, after two answers that got lost.
    room.at.faults().add(Fault::ApplyThenFail, Some(2));
    room.operator_says(&dialogue.id, "Good morning").await;
    let ours = |said: &Vec<simulator::amocrm::ChatMessage>| said.iter().any(|it| it.text() == "Good morning");
    let recorded = tokio::time::timeout(Duration::from_secs(20), room.at.wait_for_chats(ours)).await.unwrap();
    let ours = recorded.iter().find(|it| it.text() == "Good morning").unwrap();
    assert_eq!((&ours.sender["ref_id"], &ours.sender["name"]), (&json!(CHATS_BOT), &json!("Helper")));
    assert!(!ours.incoming && ours.conversation_id == "c-1");
    let delivered = until(|| async {
        room.deliveries().await.into_iter().find(|it| it.state() == v1::DeliveryState::Delivered)
    })
    .await;
    assert_eq!((delivered.vendor_message_id.as_str(), delivered.id.as_str()), (&*ours.id, &*ours.msgid));
    assert_eq!(room.at.chat_messages().iter().filter(|it| it.text() == "Good morning").count(), 1);

    // Twenty minutes later a call is signed anew.
    room.world.clock().advance(Duration::from_mins(20));
    room.at.clock().advance(Duration::from_mins(20));
    room.operator_says(&dialogue.id, "And later").await;
    let later = |said: &Vec<simulator::amocrm::ChatMessage>| said.iter().any(|it| it.text() == "And later");
    tokio::time::timeout(Duration::from_secs(20), room.at.wait_for_chats(later)).await.unwrap();
    // A clock that is wrong by so much is refused, and the refusal says why.
    room.world.clock().advance(Duration::from_mins(20));
    let late = room.operator_says(&dialogue.id, "Never").await.delivery.unwrap();
    let dead = until(|| async {
        let request = v1::GetDeliveryRequest { id: late.id.clone() };
        let got = room.grpc.dialogues().get_delivery(request).await.unwrap().into_inner().delivery.unwrap();
        Some(got).filter(|it| it.state() == v1::DeliveryState::Dead)
    })
    .await;
    assert!(dead.attempts[0].error.contains("the date is too old"), "{:?}", dead.attempts);
    room.world.stop().await;
}

#[tokio::test]
async fn nobody_but_the_vendor_writes_in_an_accounts_chats() {
    let room = room().await;
    let id = room.connected().await;
    let path = format!("/hooks/{id}/{CHATS_CHANNEL}_{AMOJO_ID}");
    let body = room.at.chats_hook_body("c-1", json!({ "type": "text", "text": "ok" })).to_string();
    let call = async |path: &str, signature: &str, further: &[(&str, &str)], body: &str| {
        let headers = [&[("x-signature", signature)], further].concat();
        room.world.post(path, &headers, body.to_owned()).await
    };
    let good = AmoCrm::sign_chats(&body);
    let foreign = body.replace(AMOJO_ID, "bbbbbbbb-bbbb-4ccc-8ddd-eeeeeeeeeeee");
    let unnamed = body.replace("account_id", "account");
    for (signature, further, body) in [
        // Wrong, cut, of another body, in capitals.
        ("4dff1acf2838e9793d38b6efebb91df905b32a5d", &[][..], &body),
        (&good[1..], &[], &body),
        (&good, &[], &body.replace("ok", "no")),
        (&good.to_uppercase(), &[], &body),
        ("", &[], &body),
        // Signed, of another account and of none.
        (&AmoCrm::sign_chats(&foreign), &[], &foreign),
        (&AmoCrm::sign_chats(&unnamed), &[], &unnamed),
        // Of twenty minutes ago, where it says when.
        (&good, &[("date", "Tue, 03 Mar 2026 10:15:30 +0000")], &body),
        (&good, &[("date", "yesterday")], &body),
    ] {
        call(&path, signature, further, body).await.problem(401, "SIGNATURE_INVALID");
    }
    // Without a signature, and where there is no such channel.
    room.world.post(&path, &[], body.clone()).await.problem(401, "TOKEN_UNKNOWN");
    let elsewhere = path.replace(&id, "0198c0de-0000-7000-8000-000000000004");
    call(&elsewhere, &good, &[], &body).await.problem(401, "SIGNATURE_INVALID");
    assert!(room.dialogues(&id).await.is_empty());

    // With or without the vendor's own name for the channel in the path, and once.
    for (path, outcome) in [(path.as_str(), "RECORDED"), (&format!("/hooks/{id}"), "DUPLICATE")] {
        let answer = call(path, &good, &[], &body).await;
        assert_eq!((answer.status, answer.outcome()), (200, outcome));
    }
    // What was captured does nothing when it is sent again much later.
    room.world.clock().advance(Duration::from_mins(20));
    assert_eq!(call(&path, &good, &[], &body).await.outcome(), "DUPLICATE");

    // Signed, and odd: kept, and answered with 200.
    let now = domain_now();
    let typing = |until: i64| {
        json!({ "account_id": AMOJO_ID, "time": now, "action": { "typing": {
            "user": { "id": "m-1" }, "conversation": { "id": "x", "client_id": "c-1" }, "expired_at": until } } })
    };
    for (odd, outcome) in [
        (json!({ "account_id": AMOJO_ID, "gadget": 1 }), Ignored),
        (json!({ "account_id": AMOJO_ID, "message": { "conversation": {} } }), Quarantined),
        (
            json!({ "account_id": AMOJO_ID, "message": { "message": { "id": "m", "type": "text", "text": "\0" },
            "conversation": { "id": "x" } } }),
            Quarantined,
        ),
        (
            json!({ "account_id": AMOJO_ID, "message": { "message": { "id": [1], "type": 7 }, "conversation": "c" } }),
            Quarantined,
        ),
        (typing(now - 1_200), Ignored),
        (typing(now + 7_200), Recorded),
    ] {
        assert_eq!(room.at.call_chats(&odd.to_string()).await.unwrap(), 200, "{odd}");
        assert_eq!(room.outcome(&id).await, outcome, "{odd}");
    }
    assert_eq!((room.at.call_chats("no JSON").await.unwrap(), room.outcome(&id).await), (200, Quarantined));
    let typed = until(|| async { events(&room.world, "chat.typing").await.pop() }).await;
    assert_eq!((text(&typed, "chat"), text(&typed, "crm_user_id")), ("c-1", "m-1"));
    assert_eq!(typed.dialogue_id, room.dialogues(&id).await[0].id);
    room.world.stop().await;
}

#[expect(clippy::disallowed_methods, reason = "what the vendor says is by its own clock")]
fn domain_now() -> i64 {
    time::OffsetDateTime::now_utc().unix_timestamp()
}

#[tokio::test]
async fn a_salesbot_asks_and_goes_on_with_the_answer() {
    let room = room().await;
    let lead = room.at.put("leads", &[json!({ "name": "Deal" })])[0];
    let id = room.channel(&json!({})).await.id;
    let url = format!("{}/hooks/{id}", room.public_url);
    assert_eq!(room.at.salesbot_asks(&url, 123, lead, "What does it cost?").await.unwrap(), 200);
    let said = until(|| async { room.at.all("salesbot/said").pop() }).await;
    let handlers = said["said"]["execute_handlers"].as_array().unwrap();
    assert_eq!((&said["place"], &said["said"]["data"]["status"]), (&json!(123), &json!("success")));
    assert!(handlers[0]["params"]["value"].as_str().unwrap().contains("What does it cost?"), "{handlers:?}");
    assert!(room.at.all("leads/notes").is_empty());
    let dialogue = room.dialogues(&id).await.remove(0);
    assert_eq!(dialogue.crm.as_ref().unwrap().lead_id, lead.to_string());

    // The same call again is the same message; an old token, a wrong one, and an answer that would go elsewhere get nowhere.
    let again = room.at.salesbot_call("client-secret-of-ours", 123, lead, "What does it cost?");
    assert_eq!(room.world.post(&format!("/hooks/{id}"), &[], again.to_string()).await.outcome(), "DUPLICATE");
    let refused = async |call: Value| {
        let answer = room.world.post(&format!("/hooks/{id}"), &[], call.to_string()).await;
        answer.problem(401, "SIGNATURE_INVALID");
    };
    refused(room.at.salesbot_call("another secret", 124, lead, "Hi")).await;
    let mut elsewhere = room.at.salesbot_call("client-secret-of-ours", 124, lead, "Hi");
    elsewhere["return_url"] = json!(format!("http://127.0.0.1:9/api/v4/salesbot/{SALESBOT}/continue/124"));
    refused(elsewhere).await;
    let old = room.at.salesbot_call("client-secret-of-ours", 125, lead, "Hi");
    room.world.clock().advance(Duration::from_mins(20));
    refused(old).await;
    assert_eq!(room.at.all("salesbot/said").len(), 1);

    // As a form, too.
    room.at.clock().advance(Duration::from_mins(20));
    let call = room.at.salesbot_call("client-secret-of-ours", 126, lead, "And tomorrow?");
    let field = |value: &Value| {
        url::form_urlencoded::byte_serialize(value.as_str().unwrap().as_bytes()).collect::<String>()
    };
    let form = format!(
        "token={}&data%5Bmessage%5D={}&data%5Blead%5D={lead}&return_url={}",
        field(&call["token"]),
        field(&call["data"]["message"]),
        field(&call["return_url"])
    );
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    assert_eq!(room.world.post(&format!("/hooks/{id}"), &headers, form).await.outcome(), "RECORDED");
    until(|| async { (room.at.all("salesbot/said").len() == 2).then_some(()) }).await;
    room.world.stop().await;
}

#[tokio::test]
async fn a_manager_of_whom_the_account_tells_takes_the_dialogue_and_our_own_answers_do_not() {
    let room = room().await;
    let lead = room.at.put("leads", &[json!({ "name": "Deal" })])[0];
    room.at.put(
        "talks",
        &[
            json!({ "id": 411, "talk_id": 411, "entity_id": lead, "entity_type": "lead", "is_in_work": true, "updated_at": 1 }),
            json!({ "id": 412, "talk_id": 412, "entity_id": lead, "entity_type": "lead", "is_in_work": true, "updated_at": 2 }),
        ],
    );
    let id = room.channel(&json!({ "answers": "TALK" })).await.id;
    room.name_for_chats(&id).await;
    let path = rotate(&room.world, &room.integration.id).await.path;
    let of = |kind: &str, id: &str, author: &str, text: &str| {
        format!(
            "{kind}[add][0][id]={id}&{kind}[add][0][text]={text}&{kind}[add][0][entity_type]=lead\
             &{kind}[add][0][entity_id]={lead}&{kind}[add][0][contact_id]=6001&{kind}[add][0][author][type]={author}\
             &{kind}[add][0][author][name]=Maria"
        )
    };
    room.account_tells(&path, &of("message", "m-1", "external", "Hi")).await;
    // Into the talk that they wrote in last.
    let said = until(|| async { room.at.all("talks/messages").pop() }).await;
    assert_eq!(said["talk_id"], 412);
    let delivered = until(|| async {
        room.deliveries().await.into_iter().find(|it| it.state() == v1::DeliveryState::Delivered)
    })
    .await;
    let dialogue = room.dialogues(&id).await.remove(0);
    // It comes back, and so does what the account's own bot says: nobody takes anything.
    let words = url::form_urlencoded::byte_serialize(said["text"].as_str().unwrap().as_bytes());
    let words: String = words.collect();
    room.account_tells(&path, &of("outgoing_message", &delivered.vendor_message_id, "internal", &words))
        .await;
    room.account_tells(&path, &of("outgoing_message", "m-2", "bot", "Welcome")).await;
    until(|| async { (events(&room.world, "message.echoed").await.len() == 1).then_some(()) }).await;
    let now = room.dialogues(&id).await.remove(0);
    assert_eq!((now.status(), now.message_count), (v1::DialogueStatus::Pending, 2));

    // A manager does, once.
    for _ in 0..2 {
        room.account_tells(&path, &of("outgoing_message", "m-3", "internal", "I am here")).await;
    }
    let now = room.dialogues(&id).await.remove(0);
    assert_eq!(now.status(), v1::DialogueStatus::Open);
    let said: Vec<_> = room.messages(&dialogue.id).await.iter().map(v1::Message::role).collect();
    assert_eq!(said.iter().filter(|role| **role == v1::MessageRole::Employee).count(), 1);
    room.account_tells(&path, &of("message", "m-4", "external", "Thanks")).await;
    until(|| async {
        let silent = events(&room.world, "turn.silent").await;
        silent.iter().any(|event| text(event, "reason") == "human_holds").then_some(())
    })
    .await;
    assert_eq!(room.at.all("talks/messages").len(), 1);

    // Where the policy says so it is only recorded.
    let policy = v1::ReplyPolicy { takeover: v1::Takeover::RecordOnly.into(), ..v1::ReplyPolicy::default() };
    let agent = v1::Agent { id: room.agent_id.clone(), reply_policy: Some(policy), ..v1::Agent::default() };
    room.world.update_agent(agent, "reply_policy").await.unwrap();
    let request = v1::ReleaseControlRequest {
        dialogue_id: dialogue.id.clone(),
        ..v1::ReleaseControlRequest::default()
    };
    room.grpc.dialogues().release_control(request).await.unwrap();
    room.account_tells(&path, &of("outgoing_message", "m-5", "internal", "Only a remark")).await;
    assert_eq!(room.dialogues(&id).await[0].status(), v1::DialogueStatus::Pending);

    // A talk that is closed has nobody to hear.
    for talk in [411, 412] {
        room.at.remove("talks", talk);
    }
    room.account_tells(&path, &of("message", "m-6", "external", "Still there?")).await;
    let dead = until(|| async {
        room.deliveries().await.into_iter().find(|it| it.state() == v1::DeliveryState::Dead)
    })
    .await;
    assert_eq!(dead.reason, "refused");
    assert_eq!(room.outcome(&id).await, Recorded);
    room.world.stop().await;
}
