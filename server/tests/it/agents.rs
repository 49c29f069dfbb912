//! What agents know and may do.

mod answers;
mod knowledge;
mod schedule;
mod tools;

use serde_json::Value;
use switchboard_sdk::v1;

use crate::harness::{Grpc, Received, Receiver, Route, World, until};

/// Changes one field of the route's agent.
async fn change(world: &World, route: &Route, path: &str, agent: v1::Agent) {
    try_change(world, route, path, agent).await.unwrap();
}

async fn try_change(world: &World, route: &Route, path: &str, agent: v1::Agent) -> Result<(), tonic::Status> {
    world.update_agent(v1::Agent { id: route.agent_id.clone(), ..agent }, path).await
}

/// Has the customer say something, and gives the text of the so-manyth delivery.
async fn say(
    world: &World,
    receiver: &Receiver,
    route: &Route,
    id: &str,
    text: &str,
    count: usize,
) -> String {
    world.new_message(route, &route.message(Some(id), text)).await;
    said(&receiver.wait_for(count).await[count - 1])
}

fn said(received: &Received) -> String {
    received.json()["text"].as_str().unwrap().to_owned()
}

/// All that the engine was given: the mock's answer to `/prompt`.
fn prompt(answer: &str) -> Value {
    serde_json::from_str(answer).unwrap_or_else(|_| panic!("not a prompt: {answer}"))
}

async fn dialogue(grpc: &Grpc, route: &Route) -> v1::Dialogue {
    let request = v1::ListDialoguesRequest {
        channel_id: route.channel_id.clone(),
        ..v1::ListDialoguesRequest::default()
    };
    grpc.dialogues().list_dialogues(request).await.unwrap().into_inner().dialogues.pop().unwrap()
}

/// The turns of the route's dialogue, newest first.
async fn turns(grpc: &Grpc, route: &Route) -> Vec<v1::Turn> {
    let dialogue_id = dialogue(grpc, route).await.id;
    let request = v1::ListTurnsRequest { dialogue_id, ..v1::ListTurnsRequest::default() };
    grpc.dialogues().list_turns(request).await.unwrap().into_inner().turns
}

/// The newest turn, once it is closed, with its runs.
async fn closed(grpc: &Grpc, route: &Route) -> v1::Turn {
    let id = until(|| async {
        turns(grpc, route)
            .await
            .into_iter()
            .next()
            .filter(|turn| turn.close_time.is_some())
            .map(|turn| turn.id)
    })
    .await;
    grpc.dialogues().get_turn(v1::GetTurnRequest { id }).await.unwrap().into_inner().turn.unwrap()
}

/// A struct of a run's manifest or the like, as JSON.
fn json_of(wire: &prost_types::Struct) -> Value {
    use prost_types::value::Kind;
    fn value(wire: &prost_types::Value) -> Value {
        match &wire.kind {
            Some(Kind::StringValue(text)) => text.clone().into(),
            Some(Kind::NumberValue(number)) => (*number).into(),
            Some(Kind::BoolValue(is)) => (*is).into(),
            Some(Kind::StructValue(members)) => json_of(members),
            Some(Kind::ListValue(items)) => items.values.iter().map(value).collect(),
            Some(Kind::NullValue(_)) | None => Value::Null,
        }
    }
    wire.fields.iter().map(|(name, wire)| (name.clone(), value(wire))).collect()
}
