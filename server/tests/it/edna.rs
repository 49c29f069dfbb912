//! Channels over an integration, with edna: a customer's message comes in by a secret address, the answer goes out by a cascade
//! or to a bot, and edna tells what became of it.

use std::{future::Future, time::Duration};

use prost_types::FieldMask;
use serde_json::{Value, json};
use simulator::{
    Fault, KEY,
    edna::{Edna, MAX_BOT, WHATSAPP},
};
use switchboard_sdk::v1::{
    self,
    CheckOutcome::{Failed, Passed, Skipped},
    InboundOutcome::{Duplicate, Ignored, Quarantined, Recorded},
};
use tonic::Status;

use crate::{
    harness::{Grpc, Receiver, World, reason, to_struct, until},
    integrations::{connect, try_connect},
};

/// A customer's number.
const ANNA: &str = "79990000002";

/// A server that knows its public address, edna, and an integration between them.
struct Room {
    world: World,
    grpc: Grpc,
    edna: Edna,
    agent_id: String,
    integration_id: String,
    _receiver: Receiver,
}

async fn room() -> Room {
    // Where the server will be reached must be known before it is there.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let public_url = format!("http://{address}");
    let world = World::with(&[
        ("SWITCHBOARD_HTTP_ADDR", &address.to_string()),
        ("SWITCHBOARD_PUBLIC_URL", &public_url),
    ])
    .await;
    let edna = Edna::start(([127, 0, 0, 1], 0).into(), KEY).await.unwrap();
    let receiver = Receiver::start().await;
    let agent_id = world.route(&receiver, json!({})).await.agent_id;
    let integration_id = connect(&world, account(&edna, KEY)).await.id;
    let grpc = world.grpc().await;
    Room { world, grpc, edna, agent_id, integration_id, _receiver: receiver }
}

fn account(edna: &Edna, key: &str) -> v1::Integration {
    v1::Integration {
        vendor: "edna".to_owned(),
        display_name: "edna".to_owned(),
        settings: Some(to_struct(&json!({ "base_url": edna.base_url() }))),
        credentials: [("api_key".to_owned(), key.to_owned())].into(),
        ..v1::Integration::default()
    }
}

impl Room {
    fn channel(&self, settings: &Value) -> v1::Channel {
        v1::Channel {
            display_name: "WhatsApp".to_owned(),
            agent_id: self.agent_id.clone(),
            vendor: "edna".to_owned(),
            integration_id: self.integration_id.clone(),
            settings: Some(to_struct(settings)),
            ..v1::Channel::default()
        }
    }

    async fn try_create(&self, channel: v1::Channel) -> Result<v1::CreateChannelResponse, Status> {
        let request = v1::CreateChannelRequest { channel: Some(channel), request_id: String::new() };
        Ok(self.grpc.channels().create_channel(request).await?.into_inner())
    }

    /// A channel that edna calls: its id.
    async fn connected(&self, settings: &Value) -> String {
        let made = self.try_create(self.channel(settings)).await.unwrap();
        assert!(made.hook_secret.starts_with("sbh_"), "{}", made.hook_secret);
        let id = made.channel.unwrap().id;
        let steps = self.connect_channel(&id).await;
        let passed = |step: &v1::CheckStep| step.outcome() == Passed;
        assert!(steps.len() == 5 && steps.iter().all(passed), "{steps:?}");
        id
    }

    async fn connect_channel(&self, id: &str) -> Vec<v1::CheckStep> {
        let request = v1::ConnectChannelRequest { id: id.to_owned() };
        self.grpc.channels().connect_channel(request).await.unwrap().into_inner().steps
    }

    async fn deliveries(&self) -> Vec<v1::Delivery> {
        let request = v1::ListDeliveriesRequest::default();
        self.grpc.dialogues().list_deliveries(request).await.unwrap().into_inner().deliveries
    }

    async fn webhooks(&self, channel_id: &str) -> Vec<v1::InboundWebhook> {
        let request = v1::ListInboundWebhooksRequest {
            channel_id: channel_id.to_owned(),
            ..v1::ListInboundWebhooksRequest::default()
        };
        self.grpc.webhooks().list_inbound_webhooks(request).await.unwrap().into_inner().inbound_webhooks
    }

    async fn dialogue_of(&self, channel_id: &str) -> v1::Dialogue {
        let request = v1::ListDialoguesRequest {
            channel_id: channel_id.to_owned(),
            ..v1::ListDialoguesRequest::default()
        };
        let listed = self.grpc.dialogues().list_dialogues(request).await.unwrap().into_inner();
        assert_eq!(listed.dialogues.len(), 1);
        listed.dialogues.into_iter().next().unwrap()
    }

    async fn send(&self, request: v1::SendMessageRequest) -> Result<v1::SendMessageResponse, Status> {
        Ok(self.grpc.dialogues().send_message(request).await?.into_inner())
    }
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.unwrap()
}

fn whatsapp() -> Value {
    json!({ "kind": "WHATSAPP", "subject_id": WHATSAPP, "subject": "WA_Acme" })
}

#[tokio::test]
async fn a_customers_message_is_answered_and_what_became_of_the_answer_is_told_in_any_order() {
    let room = room().await;
    let channel_id = room.connected(&whatsapp()).await;

    assert_eq!(room.edna.customer_writes(WHATSAPP, 1, ANNA, "hello").await.unwrap(), 200);
    let sent = soon(room.edna.wait_for(1)).await.remove(0);
    assert_eq!((sent.address.as_str(), sent.content["contentType"].as_str()), (ANNA, Some("TEXT")));
    assert!(sent.content["text"].as_str().unwrap().contains("hello"));
    let delivery = until(|| async {
        room.deliveries().await.into_iter().find(|it| it.state() == v1::DeliveryState::Delivered)
    })
    .await;
    assert_eq!(
        (delivery.id.as_str(), delivery.receipt()),
        (sent.request_id.as_str(), v1::DeliveryReceipt::Unspecified)
    );

    // The same call again is the same message.
    assert_eq!(room.edna.customer_writes(WHATSAPP, 1, ANNA, "hello").await.unwrap(), 200);
    assert_eq!(room.webhooks(&channel_id).await[0].outcome(), Duplicate);

    // Read overtakes delivered, and both come twice; what is less tells nothing new.
    for (status, outcome, receipt) in [
        ("SENT", Recorded, v1::DeliveryReceipt::Sent),
        ("UNDELIVERED", Recorded, v1::DeliveryReceipt::Failed),
        ("READ", Recorded, v1::DeliveryReceipt::Read),
        ("DELIVERED", Duplicate, v1::DeliveryReceipt::Read),
        ("READ", Duplicate, v1::DeliveryReceipt::Read),
        ("ENQUEUED", Ignored, v1::DeliveryReceipt::Read),
    ] {
        assert_eq!(room.edna.tell(&sent, status, None).await.unwrap(), 200, "{status}");
        assert_eq!(room.webhooks(&channel_id).await[0].outcome(), outcome, "{status}");
        let now = room.deliveries().await.remove(0);
        assert_eq!((now.receipt(), now.vendor_message_id), (receipt, sent.message_id.clone()), "{status}");
    }
    let told = room.deliveries().await.remove(0);
    assert!(told.receipt_error.is_empty() && told.receipt_time.is_some(), "{told:?}");
    let request = v1::ListEventsRequest {
        types: vec!["delivery.receipt".to_owned()],
        cursor: "0".to_owned(),
        ..v1::ListEventsRequest::default()
    };
    let events = until(|| async {
        let listed = room.grpc.events().list_events(request.clone()).await.unwrap().into_inner();
        Some(listed.events).filter(|events| events.len() >= 3)
    })
    .await;
    assert_eq!(events.len(), 3, "one for each step ahead");
    assert_eq!(events[2].subject_id, delivery.id);

    // What is nobody's, what nobody knows, and what is no JSON: kept and taken, since edna would only send it again.
    let mut stranger = sent.clone();
    (stranger.request_id, stranger.message_id) = ("7e0b1c1e-0001".to_owned(), "1".to_owned());
    assert_eq!(room.edna.tell(&stranger, "READ", None).await.unwrap(), 200);
    for body in [json!({ "event": "clicked" }), json!([{ "name": "order_ready" }]), json!("text")] {
        assert_eq!(room.edna.call(WHATSAPP, "inMessageCallbackUrl", &body).await.unwrap(), 200);
    }
    let outcomes: Vec<_> =
        room.webhooks(&channel_id).await.iter().take(4).map(v1::InboundWebhook::outcome).collect();
    assert_eq!(outcomes, [Quarantined, Ignored, Ignored, Ignored]);
    assert_eq!(room.edna.sent().len(), 1);
    room.world.stop().await;
}

#[tokio::test]
async fn only_who_knows_the_secret_may_call() {
    let room = room().await;
    let made = room.try_create(room.channel(&whatsapp())).await.unwrap();
    let id = made.channel.unwrap().id;
    let good = format!("/hooks/{id}/{}", made.hook_secret);
    let body = Edna::incoming(WHATSAPP, 1, ANNA, &json!({ "type": "TEXT", "text": "hello" })).to_string();
    let call = async |method: &str, path: &str| {
        let body = (method == "POST").then(|| body.clone().into());
        room.world.call(method.parse().unwrap(), path, &[], body).await
    };
    let other = made.hook_secret.replace("sbh_", "sbc_");
    let cut = &made.hook_secret[..made.hook_secret.len() - 1];
    for method in ["HEAD", "GET", "POST"] {
        for secret in [other.as_str(), cut, "x"] {
            let answer = call(method, &format!("/hooks/{id}/{secret}")).await;
            assert_eq!(answer.status, 401, "{method} {}", answer.text);
        }
        let elsewhere = "0198c0de-0000-7000-8000-000000000004";
        assert_eq!(call(method, &format!("/hooks/{elsewhere}/{}", made.hook_secret)).await.status, 401);
        assert_eq!(call(method, &good).await.status, 200);
    }
    // Without the secret there is no signature that would do.
    call("POST", &format!("/hooks/{id}")).await.problem(401, "AUTH_MISSING");

    let request = v1::RotateChannelHookSecretRequest { id: id.clone() };
    let rotated = room.grpc.channels().rotate_channel_hook_secret(request).await.unwrap().into_inner();
    call("POST", &good).await.problem(401, "TOKEN_UNKNOWN");
    let answer = call("POST", &format!("/hooks/{id}/{}", rotated.hook_secret)).await;
    assert_eq!((answer.status, answer.outcome()), (200, "DUPLICATE"));
    room.world.stop().await;
}

#[tokio::test]
async fn a_channel_is_checked_and_its_integration_stays() {
    let room = room().await;
    let fields = async |channel: v1::Channel| {
        let (named, fields) = reason(&room.try_create(channel).await.unwrap_err());
        assert_eq!(named, "FIELD_INVALID");
        fields
    };
    let bad = json!({ "kind": "PIGEON", "other": 1 });
    let url = "http://127.0.0.1:9/".to_owned();
    assert_eq!(
        fields(v1::Channel { url, integration_id: String::new(), ..room.channel(&bad) }).await,
        ["channel.url", "channel.integration_id", "channel.settings.kind", "channel.settings.other"]
    );
    let generic = v1::Channel {
        vendor: String::new(),
        url: "http://127.0.0.1:9/".to_owned(),
        ..room.channel(&json!({ "a": 1 }))
    };
    assert_eq!(fields(generic).await, ["channel.integration_id", "channel.settings.a"]);
    let unknown = v1::Channel {
        integration_id: "0198c0de-0000-7000-8000-000000000004".to_owned(),
        ..room.channel(&whatsapp())
    };
    let refused = room.try_create(unknown).await.unwrap_err();
    assert_eq!(reason(&refused).0, "INTEGRATION_NOT_FOUND");

    let channel = room.try_create(room.channel(&whatsapp())).await.unwrap().channel.unwrap();
    let delete = async || {
        let request = v1::DeleteIntegrationRequest { id: room.integration_id.clone() };
        room.grpc.integrations().delete_integration(request).await
    };
    assert_eq!(reason(&delete().await.unwrap_err()).0, "INTEGRATION_IN_USE");
    let changed = v1::Channel {
        settings: Some(to_struct(&json!({ "kind": "SMS", "subject_id": 400 }))),
        ..channel.clone()
    };
    let update_mask = Some(FieldMask { paths: vec!["settings".to_owned()] });
    let request = v1::UpdateChannelRequest { channel: Some(changed), update_mask };
    let changed = room.grpc.channels().update_channel(request).await.unwrap().into_inner().channel.unwrap();
    assert_eq!(changed.settings, Some(to_struct(&json!({ "kind": "SMS", "subject_id": 400 }))));
    let request = v1::DeleteChannelRequest { id: channel.id };
    room.grpc.channels().delete_channel(request).await.unwrap();
    delete().await.unwrap();

    let vendors =
        room.grpc.integrations().list_vendors(v1::ListVendorsRequest {}).await.unwrap().into_inner();
    let edna = vendors.vendors.into_iter().find(|vendor| vendor.id == "edna").unwrap();
    assert_eq!(edna.capabilities, ["receive", "send", "connect", "channel"]);
    assert!(edna.channel_settings_schema.unwrap().fields.contains_key("properties"));
    room.world.stop().await;
}

#[tokio::test]
async fn a_wrong_key_is_noted_and_named() {
    let room = room().await;
    let id = room.connected(&whatsapp()).await;
    room.edna.expect_key("another-key");
    assert_eq!(room.edna.customer_writes(WHATSAPP, 1, ANNA, "hello").await.unwrap(), 200);
    let dead = until(|| async {
        room.deliveries().await.into_iter().find(|it| it.state() == v1::DeliveryState::Dead)
    })
    .await;
    assert_eq!(dead.reason, "refused");
    let health = until(|| async {
        let request = v1::GetIntegrationRequest { id: room.integration_id.clone() };
        let got = room.grpc.integrations().get_integration(request).await.unwrap().into_inner();
        Some(got.integration.unwrap().health()).filter(|it| *it != v1::IntegrationHealth::Unknown)
    })
    .await;
    assert_eq!(health, v1::IntegrationHealth::NeedsAuthorization);
    let steps = room.connect_channel(&id).await;
    let outcomes: Vec<_> = steps.iter().map(|step| (step.name.as_str(), step.outcome())).collect();
    assert_eq!(
        outcomes,
        [
            ("reachable", Passed),
            ("credentials", Failed),
            ("channels", Skipped),
            ("subject", Skipped),
            ("callbacks", Skipped)
        ]
    );
    let request = v1::CheckIntegrationRequest { id: room.integration_id.clone() };
    let checked = room.grpc.integrations().check_integration(request).await.unwrap().into_inner();
    assert!(checked.steps[1].remedy.contains("key"), "{:?}", checked.steps);
    // And a key that is missing is named before anything is called.
    let refused =
        try_connect(&room.world, v1::Integration { credentials: [].into(), ..account(&room.edna, KEY) })
            .await;
    assert_eq!(reason(&refused.unwrap_err()).1, ["integration.credentials.api_key"]);
    room.world.stop().await;
}

#[tokio::test]
async fn what_edna_took_before_it_broke_arrives_once() {
    let room = room().await;
    room.connected(&json!({ "kind": "WHATSAPP", "subject_id": WHATSAPP, "cascade_id": 77 })).await;
    room.edna.faults().add(Fault::ApplyThenFail, Some(1));
    room.edna.faults().add(Fault::ApplyThenCut, Some(1));
    room.edna.customer_writes(WHATSAPP, 1, ANNA, "hello").await.unwrap();
    let delivered = until(|| async {
        room.deliveries().await.into_iter().find(|it| it.state() == v1::DeliveryState::Delivered)
    })
    .await;
    assert_eq!(delivered.attempt_count, 3, "{delivered:?}");
    assert_eq!(room.edna.sent().len(), 1);
    room.world.stop().await;
}

#[tokio::test]
async fn templates_and_files_go_out_and_a_cancelled_message_says_so() {
    let room = room().await;
    let channel_id = room.connected(&whatsapp()).await;
    room.edna.customer_writes(WHATSAPP, 1, ANNA, "hello").await.unwrap();
    soon(room.edna.wait_for(1)).await;
    let dialogue_id = room.dialogue_of(&channel_id).await.id;
    let message = |text: &str| v1::SendMessageRequest {
        dialogue_id: dialogue_id.clone(),
        text: text.to_owned(),
        author: v1::MessageAuthor::Operator.into(),
        ..v1::SendMessageRequest::default()
    };
    let template = json!({
        "header": { "text": "Order" },
        "keyboard": { "rows": [{ "buttons": [{ "buttonType": "QUICK_REPLY", "text": "Thanks", "payload": "ok" }] }] },
    });
    let bad = v1::SendMessageRequest { template: Some(to_struct(&json!({ "heading": 1 }))), ..message("Hi") };
    assert_eq!(reason(&room.send(bad).await.unwrap_err()).1, ["template.heading"]);
    let good =
        v1::SendMessageRequest { template: Some(to_struct(&template)), ..message("Your order is ready") };
    let sent = room.send(good).await.unwrap().delivery.unwrap();
    assert_eq!(sent.template, Some(to_struct(&template)));
    let taken = soon(room.edna.wait_for(2)).await.remove(1);
    assert_eq!(taken.content["header"]["text"], "Order");
    assert_eq!((&taken.content["keyboard"], taken.request_id), (&template["keyboard"], sent.id));

    let image = v1::MessagePart {
        kind: v1::PartKind::Image.into(),
        url: "https://example.com/a.png".to_owned(),
        ..v1::MessagePart::default()
    };
    let audio = v1::MessagePart {
        kind: v1::PartKind::Audio.into(),
        url: "https://example.com/b.ogg".to_owned(),
        ..v1::MessagePart::default()
    };
    let furnished = v1::SendMessageRequest { parts: vec![image, audio], ..message("Look") };
    let sent = room.send(furnished).await.unwrap();
    assert_eq!(sent.message.unwrap().parts.len(), 2);
    let taken = soon(room.edna.wait_for(4)).await.split_off(2);
    assert_eq!(
        (&taken[0].content["caption"], &taken[1].content["contentType"]),
        (&json!("Look"), &json!("AUDIO"))
    );
    assert_eq!(taken[1].request_id, format!("{}-2", sent.delivery.unwrap().id));

    // edna cancels what it has just sent.
    room.send(message("Ok")).await.unwrap();
    soon(room.edna.wait_for(5)).await;
    let again = room.send(message("Ok")).await.unwrap().delivery.unwrap();
    let taken = soon(room.edna.wait_for(6)).await.remove(5);
    assert!(taken.cancelled);
    room.edna.tell(&taken, "CANCELLED", None).await.unwrap();
    let request = v1::GetDeliveryRequest { id: again.id };
    let told = room.grpc.dialogues().get_delivery(request).await.unwrap().into_inner().delivery.unwrap();
    assert_eq!(told.receipt(), v1::DeliveryReceipt::Failed);
    assert!(told.receipt_error.contains("20 minutes"), "{}", told.receipt_error);
    room.world.stop().await;
}

#[tokio::test]
async fn a_bot_of_max_is_written_to_and_what_may_have_arrived_is_held() {
    let room = room().await;
    let id =
        room.connected(&json!({ "kind": "MAX_BOT", "subject": "acme_max_bot", "subject_id": MAX_BOT })).await;
    assert!(room.edna.hook(MAX_BOT).unwrap().contains(&id));
    room.edna.customer_writes(MAX_BOT, 1, "123456789", "hello").await.unwrap();
    let sent = soon(room.edna.wait_for(1)).await.remove(0);
    assert_eq!((sent.address.as_str(), sent.content["type"].as_str()), ("123456789", Some("TEXT")));
    let delivered = until(|| async {
        room.deliveries().await.into_iter().find(|it| it.state() == v1::DeliveryState::Delivered)
    })
    .await;
    assert_eq!(delivered.vendor_message_id, sent.message_id);
    room.edna.tell(&sent, "DELIVERED", None).await.unwrap();
    assert_eq!(room.deliveries().await.remove(0).receipt(), v1::DeliveryReceipt::Delivered);

    room.edna.faults().add(Fault::ApplyThenCut, Some(1));
    room.edna.customer_writes(MAX_BOT, 2, "123456789", "and now?").await.unwrap();
    let held = until(|| async {
        room.deliveries().await.into_iter().find(|it| it.state() == v1::DeliveryState::Held)
    })
    .await;
    assert_eq!((held.reason.as_str(), room.edna.sent().len()), ("maybe_delivered", 2));
    room.world.stop().await;
}
