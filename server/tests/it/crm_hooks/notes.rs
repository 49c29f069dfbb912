//! Channels whose answers are left as notes on the leads of an account.

use std::time::Duration;

use serde_json::json;
use simulator::{Fault, amocrm::AmoCrm};
use switchboard_sdk::v1::{self, AttemptState, DeliveryState};

use super::{outcome, rotate, tell};
use crate::{
    harness::{Grpc, Receiver, World, until},
    oauth::{account, amocrm, authorized},
};

/// A channel over an account of the CRM; gives it, and where the CRM tells of the account.
async fn channel(world: &World, at: &AmoCrm) -> (v1::Channel, String) {
    let made = authorized(world, at).await;
    let grpc = world.grpc().await;
    let receiver = Receiver::start().await;
    let agent = world.route(&receiver, json!({})).await.agent_id;
    let channel = v1::Channel {
        display_name: "Leads".to_owned(),
        agent_id: agent,
        vendor: "amocrm".to_owned(),
        integration_id: made.id.clone(),
        ..v1::Channel::default()
    };
    let request = v1::CreateChannelRequest { channel: Some(channel), request_id: String::new() };
    let channel = grpc.channels().create_channel(request).await.unwrap().into_inner().channel.unwrap();
    let mut settings = account(at).settings.unwrap();
    let kind = Some(prost_types::value::Kind::StringValue(channel.id.clone()));
    settings.fields.insert("chat_channel_id".to_owned(), prost_types::Value { kind });
    let integration =
        v1::Integration { id: made.id.clone(), settings: Some(settings), ..v1::Integration::default() };
    let request = v1::UpdateIntegrationRequest {
        integration: Some(integration),
        update_mask: Some(prost_types::FieldMask { paths: vec!["settings".to_owned()] }),
    };
    grpc.integrations().update_integration(request).await.unwrap();
    (channel, rotate(world, &made.id).await.path)
}

/// What a customer writes in the chat of a lead.
fn message(id: &str, lead: u64) -> String {
    format!(
        "message[add][0][id]={id}&message[add][0][text]=What+does+it+cost%3F&message[add][0][created_at]=1772533100\
         &message[add][0][entity_type]=lead&message[add][0][entity_id]={lead}&message[add][0][contact_id]=6001\
         &message[add][0][type]=incoming&account[subdomain]=acme&account[id]=31000001"
    )
}

/// The deliveries in a state, with their attempts.
async fn deliveries(grpc: &Grpc, state: DeliveryState) -> Vec<v1::Delivery> {
    let request = v1::ListDeliveriesRequest { state: state.into(), ..v1::ListDeliveriesRequest::default() };
    let mut all = grpc.dialogues().list_deliveries(request).await.unwrap().into_inner().deliveries;
    for one in &mut all {
        let request = v1::GetDeliveryRequest { id: one.id.clone() };
        *one = grpc.dialogues().get_delivery(request).await.unwrap().into_inner().delivery.unwrap();
    }
    all
}

#[tokio::test]
async fn a_message_of_the_crm_s_chats_is_answered_with_a_note_on_its_lead() {
    let world = World::new().await;
    let at = amocrm().await;
    let lead = at.put("leads", &[json!({ "name": "Deal" })])[0];
    let (channel, path) = channel(&world, &at).await;
    let grpc = world.grpc().await;
    for _ in 0..2 {
        outcome(&tell(&world, &path, message("m-1", lead)).await);
    }
    let notes = until(|| async {
        let notes = at.all("leads/notes");
        (!notes.is_empty()).then_some(notes)
    })
    .await;
    assert_eq!(notes.len(), 1, "{notes:?}");
    let note = notes[0]["params"]["text"].as_str().unwrap().to_owned();
    assert!(note.contains("What does it cost?"), "{note}");
    assert_eq!(notes[0]["entity_id"], lead);

    // The note comes back as an event of the account, and nobody answers it.
    let id = notes[0]["id"].as_u64().unwrap();
    let back = format!(
        "leads[note][0][note][id]={id}&leads[note][0][note][text]=We+said&leads[note][0][note][note_type]=4\
         &leads[note][0][note][element_id]={lead}&leads[note][0][note][element_type]=2&account[subdomain]=acme\
         &account[id]=31000001"
    );
    outcome(&tell(&world, &path, back).await);
    // A lead that is gone: the answer is kept, and its delivery says why it is dead.
    outcome(&tell(&world, &path, message("m-2", 999_999)).await);
    let dead = until(|| async { deliveries(&grpc, DeliveryState::Dead).await.pop() }).await;
    let error = &dead.attempts.last().unwrap().error;
    assert!(error.contains("999999") && error.contains("is not there"), "{error}");
    assert_eq!(at.all("leads/notes").len(), 1);

    let request =
        v1::ListDialoguesRequest { lead_id: lead.to_string(), ..v1::ListDialoguesRequest::default() };
    let dialogues = grpc.dialogues().list_dialogues(request).await.unwrap().into_inner().dialogues;
    let [dialogue] = &*dialogues else { panic!("{dialogues:?}") };
    assert_eq!((dialogue.channel_id.as_str(), dialogue.message_count), (channel.id.as_str(), 2));
    world.stop().await;
}

#[tokio::test]
async fn a_note_that_may_have_been_left_is_held_and_not_left_twice() {
    let world = World::new().await;
    let at = amocrm().await;
    let leads =
        at.put("leads", &[json!({ "name": "Cut" }), json!({ "name": "Slow" }), json!({ "name": "Broken" })]);
    let (_, path) = channel(&world, &at).await;
    let grpc = world.grpc().await;
    let held = async |count: usize| {
        // Longer than the CRM is given to answer.
        let deadline = tokio::time::Instant::now() + Duration::from_secs(45);
        loop {
            let held = deliveries(&grpc, DeliveryState::Held).await;
            if held.len() == count {
                return held;
            }
            assert!(tokio::time::Instant::now() < deadline, "{held:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    // Taken, and cut off before it could say so.
    at.faults().add(Fault::ApplyThenCut, Some(1));
    outcome(&tell(&world, &path, message("m-1", leads[0])).await);
    held(1).await;
    // Taken, and an error in its place.
    at.faults().add(Fault::ApplyThenFail, Some(1));
    outcome(&tell(&world, &path, message("m-2", leads[2])).await);
    held(2).await;
    // Not answered in time: nobody knows.
    at.faults().add(Fault::HangMs(60_000), Some(1));
    outcome(&tell(&world, &path, message("m-3", leads[1])).await);
    for delivery in held(3).await {
        assert_eq!(delivery.reason, "maybe_delivered");
        let states: Vec<_> = delivery.attempts.iter().map(v1::Attempt::state).collect();
        assert_eq!(states, [AttemptState::Unknown], "{delivery:?}");
        assert!(!delivery.attempts[0].error.is_empty());
    }
    // What was taken is there once, and a person says what became of it.
    let notes = at.all("leads/notes");
    assert_eq!(notes.len(), 2, "{notes:?}");
    let id = deliveries(&grpc, DeliveryState::Held).await[0].id.clone();
    let resolution = v1::DeliveryResolution::Delivered.into();
    grpc.dialogues().resolve_delivery(v1::ResolveDeliveryRequest { id, resolution }).await.unwrap();
    held(2).await;
    assert_eq!(at.all("leads/notes").len(), 2);
    world.stop().await;
}
