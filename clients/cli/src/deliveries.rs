//! Deliveries, and what people do in a dialogue: take it, give it back, write in it.

use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use serde_json::json;
use switchboard_sdk::{Client, pages, v1};

use crate::output::{Output, Row, moment, print, short};

/// What to do with deliveries.
#[derive(Debug, Subcommand)]
pub enum Deliveries {
    /// Lists deliveries, newest first.
    List {
        /// Only of this dialogue.
        #[arg(long, default_value = "")]
        dialogue: String,
        /// Only in this state.
        #[arg(long)]
        state: Option<State>,
    },
    /// Puts a dead delivery back into its dialogue's lane.
    Retry {
        /// The delivery's id.
        id: String,
    },
    /// Decides about a delivery that is held because it may have arrived.
    Resolve {
        /// The delivery's id.
        id: String,
        /// What became of it.
        resolution: Resolution,
    },
}

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum State {
    /// It waits.
    Pending,
    /// An attempt is under way.
    Started,
    /// The receiver took it.
    Delivered,
    /// It may have arrived, and is sent again.
    Uncertain,
    /// It may have arrived, and waits for a person.
    Held,
    /// It was decided not to send it.
    Withheld,
    /// The dead letters.
    Dead,
}

/// What became of a delivery that may have arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Resolution {
    /// It arrived.
    Delivered,
    /// It is sent again.
    Resend,
    /// It is given up.
    Discard,
}

/// What a person does in a dialogue.
#[derive(Debug, clap::Args)]
pub struct Person {
    /// The dialogue's id.
    id: String,
    /// Who does it.
    #[arg(long, default_value = "")]
    by: String,
    /// Why.
    #[arg(long, default_value = "")]
    reason: String,
}

const DELIVERY: [&str; 6] = ["ID", "DIALOGUE", "AUTHOR", "STATE", "REASON", "ATTEMPTS"];

fn delivery(delivery: &v1::Delivery) -> Row {
    let state = short(delivery.state().as_str_name(), "DELIVERY_STATE_");
    let author = short(delivery.author().as_str_name(), "MESSAGE_AUTHOR_");
    Row {
        json: json!({
            "id": delivery.id, "dialogueId": delivery.dialogue_id, "messageId": delivery.message_id,
            "author": author, "state": state, "reason": delivery.reason, "attemptCount": delivery.attempt_count,
            "nextAttemptTime": moment(delivery.next_attempt_time.as_ref()),
            "createTime": moment(delivery.create_time.as_ref()),
        }),
        cells: vec![
            delivery.id.clone(),
            delivery.dialogue_id.clone(),
            author,
            state,
            delivery.reason.clone(),
            delivery.attempt_count.to_string(),
        ],
    }
}

fn show(output: Output, found: Option<&v1::Delivery>) {
    let rows: Vec<Row> = found.into_iter().map(delivery).collect();
    print(output, &DELIVERY, &rows);
}

pub(crate) async fn run(client: &Client, output: Output, command: Deliveries) -> anyhow::Result<()> {
    match command {
        Deliveries::List { dialogue, state } => {
            let state = state.map_or(v1::DeliveryState::Unspecified, |state| match state {
                State::Pending => v1::DeliveryState::Pending,
                State::Started => v1::DeliveryState::Started,
                State::Delivered => v1::DeliveryState::Delivered,
                State::Uncertain => v1::DeliveryState::Uncertain,
                State::Held => v1::DeliveryState::Held,
                State::Withheld => v1::DeliveryState::Withheld,
                State::Dead => v1::DeliveryState::Dead,
            });
            let client = client.clone();
            let all = pages(move |page_token| {
                let (mut dialogues, dialogue_id) = (client.dialogues(), dialogue.clone());
                async move {
                    let request = v1::ListDeliveriesRequest {
                        page_size: 1_000,
                        page_token,
                        dialogue_id,
                        state: state.into(),
                    };
                    let page = dialogues.list_deliveries(request).await?.into_inner();
                    Ok((page.deliveries, page.next_page_token))
                }
            });
            let rows: Vec<Row> = all.collect().await?.iter().map(delivery).collect();
            print(output, &DELIVERY, &rows);
        }
        Deliveries::Retry { id } => {
            let request = v1::RetryDeliveryRequest { id };
            show(output, client.dialogues().retry_delivery(request).await?.into_inner().delivery.as_ref());
        }
        Deliveries::Resolve { id, resolution } => {
            let resolution = match resolution {
                Resolution::Delivered => v1::DeliveryResolution::Delivered,
                Resolution::Resend => v1::DeliveryResolution::Resend,
                Resolution::Discard => v1::DeliveryResolution::Discard,
            };
            let request = v1::ResolveDeliveryRequest { id, resolution: resolution.into() };
            show(output, client.dialogues().resolve_delivery(request).await?.into_inner().delivery.as_ref());
        }
    }
    Ok(())
}

const CONTROL: [&str; 5] = ["ID", "STATUS", "HOLDER", "BY", "RETURNS"];

fn control(dialogue: &v1::Dialogue) -> Row {
    let status = short(dialogue.status().as_str_name(), "DIALOGUE_STATUS_");
    let control = dialogue.control.clone().unwrap_or_default();
    let holder = short(control.holder().as_str_name(), "CONTROL_HOLDER_");
    let returns = moment(control.return_time.as_ref());
    Row {
        json: json!({
            "id": dialogue.id, "status": status, "holder": holder, "by": control.by, "reason": control.reason,
            "sinceTime": moment(control.since_time.as_ref()), "returnTime": returns,
        }),
        cells: vec![dialogue.id.clone(), status, holder, control.by, returns],
    }
}

pub(crate) async fn take(
    client: &Client,
    output: Output,
    person: Person,
    return_after: u64,
) -> anyhow::Result<()> {
    let return_after =
        (return_after > 0).then(|| Duration::from_secs(return_after).try_into()).transpose()?;
    let request =
        v1::TakeControlRequest { dialogue_id: person.id, by: person.by, reason: person.reason, return_after };
    let taken = client.dialogues().take_control(request).await?.into_inner().dialogue;
    print(output, &CONTROL, &taken.iter().map(control).collect::<Vec<_>>());
    Ok(())
}

pub(crate) async fn release(client: &Client, output: Output, person: Person) -> anyhow::Result<()> {
    let request = v1::ReleaseControlRequest { dialogue_id: person.id, by: person.by, reason: person.reason };
    let released = client.dialogues().release_control(request).await?.into_inner().dialogue;
    print(output, &CONTROL, &released.iter().map(control).collect::<Vec<_>>());
    Ok(())
}

pub(crate) async fn reply(
    client: &Client,
    output: Output,
    dialogue_id: String,
    by: String,
    text: String,
) -> anyhow::Result<()> {
    let author = v1::MessageAuthor::Operator.into();
    let request =
        v1::SendMessageRequest { dialogue_id, text, author, by, ..v1::SendMessageRequest::default() };
    show(output, client.dialogues().send_message(request).await?.into_inner().delivery.as_ref());
    Ok(())
}
