//! Contacts, what a CRM knows dialogues as, and what is kept beside messages.

use futures::future::join_all;
use serde_json::json;
use switchboard_sdk::v1::{self, MessageSender};

use crate::harness::{Grpc, Receiver, Route, World, reason};

/// An id of some vendor's.
fn identity(vendor: &str, external_id: &str) -> v1::ContactIdentity {
    v1::ContactIdentity {
        vendor: vendor.to_owned(),
        external_id: external_id.to_owned(),
        ..v1::ContactIdentity::default()
    }
}

fn told(name: &str, identities: &[(&str, &str)]) -> v1::ToldContact {
    v1::ToldContact {
        identities: identities.iter().map(|(vendor, id)| identity(vendor, id)).collect(),
        name: name.to_owned(),
        ..v1::ToldContact::default()
    }
}

fn said(route: &Route, chat: &str, id: &str) -> v1::ReceiveMessageRequest {
    v1::ReceiveMessageRequest {
        channel_id: route.channel_id.clone(),
        chat: chat.to_owned(),
        message_id: id.to_owned(),
        text: "hello".to_owned(),
        sender: MessageSender::Employee.into(),
        ..v1::ReceiveMessageRequest::default()
    }
}

async fn receive(grpc: &Grpc, message: v1::ReceiveMessageRequest) -> String {
    grpc.webhooks().receive_message(message).await.unwrap().into_inner().dialogue_id
}

async fn contacts(grpc: &Grpc, filter: v1::ListContactsRequest) -> Vec<v1::Contact> {
    grpc.dialogues().list_contacts(filter).await.unwrap().into_inner().contacts
}

async fn dialogue(grpc: &Grpc, id: &str) -> v1::Dialogue {
    let request = v1::GetDialogueRequest { id: id.to_owned() };
    grpc.dialogues().get_dialogue(request).await.unwrap().into_inner().dialogue.unwrap()
}

async fn listed(grpc: &Grpc, filter: v1::ListDialoguesRequest) -> Vec<String> {
    let found = grpc.dialogues().list_dialogues(filter).await.unwrap().into_inner().dialogues;
    found.into_iter().map(|dialogue| dialogue.id).collect()
}

#[tokio::test]
async fn a_contact_is_found_by_any_of_its_ids_and_the_last_word_wins() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let grpc = world.grpc().await;
    let mut first = said(&route, "a", "1");
    first.contact = Some(told("Ann", &[("amocrm", "77"), ("edna", "+7900")]));
    let first = receive(&grpc, first).await;
    let mut again = said(&route, "b", "2");
    again.contact = Some(told("Anna", &[("edna", "+7900"), ("telegram", "5")]));
    let again = receive(&grpc, again).await;
    let mut other = said(&route, "c", "3");
    other.contact = Some(told("Bob", &[("amocrm", "78")]));
    receive(&grpc, other).await;

    let all = contacts(&grpc, v1::ListContactsRequest::default()).await;
    assert_eq!(all.iter().map(|each| each.display_name.as_str()).collect::<Vec<_>>(), ["Bob", "Anna"]);
    assert_eq!(all[1].identities.len(), 3, "{:?}", all[1]);
    let anna = all[1].id.clone();
    for id in [&first, &again] {
        assert_eq!(dialogue(&grpc, id).await.contact_id, anna);
    }
    let of = v1::ListDialoguesRequest { contact_id: anna.clone(), ..v1::ListDialoguesRequest::default() };
    assert_eq!(listed(&grpc, of).await, [again.clone(), first.clone()]);
    let by = v1::ListContactsRequest { external_id: "5".to_owned(), ..v1::ListContactsRequest::default() };
    assert_eq!(contacts(&grpc, by).await[0].id, anna);

    // Nothing is told: nothing changes. A further id of the same kind in a chat is somebody else.
    receive(&grpc, said(&route, "a", "4")).await;
    assert_eq!(dialogue(&grpc, &first).await.contact_id, anna);
    let mut another = said(&route, "a", "5");
    another.contact = Some(told("", &[("amocrm", "79")]));
    receive(&grpc, another).await;
    assert_ne!(dialogue(&grpc, &first).await.contact_id, anna);
    // One of another kind is the same one's.
    let mut more = said(&route, "b", "6");
    more.contact = Some(told("", &[("manychat", "9")]));
    receive(&grpc, more).await;
    assert_eq!(dialogue(&grpc, &again).await.contact_id, anna);
    let all = contacts(&grpc, v1::ListContactsRequest { page_size: 1, ..Default::default() }).await;
    assert_eq!((all.len(), all[0].display_name.as_str()), (1, ""));
    world.stop().await;
}

#[tokio::test]
async fn a_contact_that_many_tell_of_at_once_is_one() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let other = world.another().await;
    let second = format!("http://{}", other.grpc.unwrap());
    let channel = tonic::transport::Channel::from_shared(second).unwrap().connect().await.unwrap();
    let doors = [world.grpc().await, Grpc::over(channel, &world.key)];
    let told_at_once = (0..60).map(|number: usize| {
        let (grpc, route) = (&doors[number % 2], &route);
        async move {
            let mut message = said(route, &format!("chat {}", number % 7), &number.to_string());
            // In every order, so that those who waited for each other would be found out.
            let ids = [("x", "1"), ("y", "1"), ("z", "1")];
            let ids: Vec<_> = (0..3).map(|step| ids[(number + step) % 3]).collect();
            message.contact = Some(told("One", &ids));
            receive(grpc, message).await
        }
    });
    join_all(told_at_once).await;
    let all = contacts(&doors[0], v1::ListContactsRequest::default()).await;
    assert_eq!((all.len(), all[0].identities.len()), (1, 3), "{all:?}");
    let of =
        v1::ListDialoguesRequest { contact_id: all[0].id.clone(), ..v1::ListDialoguesRequest::default() };
    assert_eq!(listed(&doors[0], of).await.len(), 7);
    other.stop().await.unwrap();
    world.stop().await;
}

#[tokio::test]
async fn dialogues_are_found_by_their_lead() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let grpc = world.grpc().await;
    let of = |lead: &str| v1::CrmReferences {
        lead_id: lead.to_owned(),
        source_external_id: "tema_edna_1".to_owned(),
        ..v1::CrmReferences::default()
    };
    let mut about = Vec::new();
    for (chat, lead) in [("a", "12345"), ("b", "12345"), ("c", "9")] {
        let message = v1::ReceiveMessageRequest { crm: Some(of(lead)), ..said(&route, chat, chat) };
        about.push(receive(&grpc, message).await);
    }
    receive(&grpc, said(&route, "d", "d")).await;
    let by = |lead: &str| v1::ListDialoguesRequest { lead_id: lead.to_owned(), ..Default::default() };
    assert_eq!(listed(&grpc, by("12345")).await, [about[1].clone(), about[0].clone()]);
    assert_eq!(listed(&grpc, by("9")).await, [about[2].clone()]);
    assert!(listed(&grpc, by("1")).await.is_empty());
    assert_eq!(listed(&grpc, v1::ListDialoguesRequest::default()).await.len(), 4);
    assert_eq!(dialogue(&grpc, &about[0]).await.crm.unwrap(), of("12345"));

    // What is not told stays; what is told anew wins.
    let crm = v1::CrmReferences { contact_id: "7".to_owned(), ..v1::CrmReferences::default() };
    receive(&grpc, v1::ReceiveMessageRequest { crm: Some(crm), ..said(&route, "a", "a2") }).await;
    let crm = dialogue(&grpc, &about[0]).await.crm.unwrap();
    assert_eq!((crm.lead_id.as_str(), crm.contact_id.as_str()), ("12345", "7"));
    let nowhere = v1::CrmReferences {
        integration_id: "0198c0de-0000-7000-8000-000000000004".to_owned(),
        ..v1::CrmReferences::default()
    };
    let message = v1::ReceiveMessageRequest { crm: Some(nowhere), ..said(&route, "a", "a3") };
    let refused = grpc.webhooks().receive_message(message).await.unwrap_err();
    assert_eq!(reason(&refused).0, "INTEGRATION_NOT_FOUND");
    world.stop().await;
}

#[tokio::test]
async fn what_is_told_beside_a_message_is_kept_shown_and_given_to_no_engine() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let grpc = world.grpc().await;
    let text = |text: &str| prost_types::Value {
        kind: Some(prost_types::value::Kind::StringValue(text.to_owned())),
    };
    let metadata = prost_types::Struct { fields: [("origin".to_owned(), text("waba"))].into() };
    let sent = prost_types::Timestamp { seconds: 1_700_000_000, nanos: 0 };
    let message = v1::ReceiveMessageRequest {
        sender: MessageSender::Customer.into(),
        metadata: Some(metadata.clone()),
        send_time: Some(sent),
        ..said(&route, "", "1")
    };
    let dialogue_id = receive(&grpc, message.clone()).await;
    receiver.wait_for(1).await;
    let request = v1::ListMessagesRequest { dialogue_id, ..v1::ListMessagesRequest::default() };
    let kept = grpc.dialogues().list_messages(request).await.unwrap().into_inner().messages;
    assert_eq!((kept[0].metadata.as_ref(), kept[0].send_time), (Some(&metadata), Some(sent)));
    assert_eq!((kept[1].metadata.as_ref(), kept[1].send_time), (None, None));
    let events = grpc.events().list_events(v1::ListEventsRequest::default()).await.unwrap().into_inner();
    let event = events.events.into_iter().find(|event| event.r#type == "message.received").unwrap();
    assert_eq!(event.message.unwrap().metadata, Some(metadata));

    let listed = grpc
        .webhooks()
        .list_inbound_webhooks(v1::ListInboundWebhooksRequest::default())
        .await
        .unwrap()
        .into_inner();
    let request = v1::ReplayInboundWebhookRequest { id: listed.inbound_webhooks[0].id.clone() };
    let replayed = grpc.webhooks().replay_inbound_webhook(request).await.unwrap().into_inner();
    assert_eq!(replayed.inbound_webhook.unwrap().outcome(), v1::InboundOutcome::Duplicate);

    let long = prost_types::Struct { fields: [("x".to_owned(), text(&"x".repeat(16_385)))].into() };
    let bad = v1::ReceiveMessageRequest {
        message_id: "2".to_owned(),
        metadata: Some(long),
        contact: Some(told("", &[("", "1")])),
        crm: Some(v1::CrmReferences { lead_id: "9".repeat(257), ..v1::CrmReferences::default() }),
        ..message
    };
    let refused = grpc.webhooks().receive_message(bad).await.unwrap_err();
    let fields = ["contact.identities[0].vendor", "crm.lead_id", "metadata"];
    assert_eq!(reason(&refused), ("FIELD_INVALID".to_owned(), fields.map(ToOwned::to_owned).to_vec()));
    world.stop().await;
}
