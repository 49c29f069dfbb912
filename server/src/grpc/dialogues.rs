//! `DialoguesService`.

use std::time::Duration;

use app::dialogues::{ContactFilter, DeliveryFilter, DialoguePatch, Filter, NewOutbound, Resolution};
use domain::{
    Error, Reason,
    delivery::{self, AttemptState, Author, DeliveryReceipt, DeliveryState},
    dialogue::{self, Role, Status as DialogueStatus},
    part::{Part, PartKind},
    turn::{self, RunState, TurnState},
};
use serde_json::json;
use switchboard_sdk::v1::{self, dialogues_service_server::DialoguesService};
use tonic::{Request, Response, Status};

use super::{Services, caller, contacts, convert, imports, refuse, webhooks};
use crate::error::to_status;

pub(super) fn message(message: dialogue::Message) -> v1::Message {
    let role = match message.role {
        Role::User => v1::MessageRole::User,
        Role::Assistant => v1::MessageRole::Assistant,
        Role::Employee => v1::MessageRole::Employee,
        Role::System => v1::MessageRole::System,
    };
    v1::Message {
        id: message.id.to_string(),
        dialogue_id: message.dialogue.to_string(),
        seq: message.seq,
        role: role.into(),
        text: message.text,
        external_id: message.external_id,
        turn_id: message.turn.map(|id| id.to_string()).unwrap_or_default(),
        create_time: Some(convert::moment(message.created_at)),
        parts: message.parts.into_iter().map(part).collect(),
        metadata: contacts::metadata_to_wire(message.metadata),
        send_time: message.sent_at.map(convert::moment),
    }
}

fn part(part: Part) -> v1::MessagePart {
    let kind = match part.kind {
        PartKind::Image => v1::PartKind::Image,
        PartKind::Audio => v1::PartKind::Audio,
        PartKind::Video => v1::PartKind::Video,
        PartKind::File => v1::PartKind::File,
        PartKind::Location => v1::PartKind::Location,
    };
    v1::MessagePart { kind: kind.into(), url: part.url, media_type: part.media_type, name: part.name }
}

fn status(status: DialogueStatus) -> v1::DialogueStatus {
    match status {
        DialogueStatus::Pending => v1::DialogueStatus::Pending,
        DialogueStatus::Open => v1::DialogueStatus::Open,
        DialogueStatus::Snoozed => v1::DialogueStatus::Snoozed,
        DialogueStatus::Resolved => v1::DialogueStatus::Resolved,
    }
}

pub(super) fn status_filter(field: &str, wire: i32) -> Result<Option<DialogueStatus>, Error> {
    Ok(match v1::DialogueStatus::try_from(wire) {
        Ok(v1::DialogueStatus::Unspecified) => None,
        Ok(v1::DialogueStatus::Pending) => Some(DialogueStatus::Pending),
        Ok(v1::DialogueStatus::Open) => Some(DialogueStatus::Open),
        Ok(v1::DialogueStatus::Snoozed) => Some(DialogueStatus::Snoozed),
        Ok(v1::DialogueStatus::Resolved) => Some(DialogueStatus::Resolved),
        Err(_) => {
            return Err(Error::field(Reason::FieldInvalid, field, "must be a status of the contract"));
        }
    })
}

fn state_filter(wire: i32) -> Result<Option<DeliveryState>, Error> {
    Ok(match v1::DeliveryState::try_from(wire) {
        Ok(v1::DeliveryState::Unspecified) => None,
        Ok(v1::DeliveryState::Pending) => Some(DeliveryState::Pending),
        Ok(v1::DeliveryState::Started) => Some(DeliveryState::Started),
        Ok(v1::DeliveryState::Delivered) => Some(DeliveryState::Delivered),
        Ok(v1::DeliveryState::Uncertain) => Some(DeliveryState::Uncertain),
        Ok(v1::DeliveryState::Held) => Some(DeliveryState::Held),
        Ok(v1::DeliveryState::Withheld) => Some(DeliveryState::Withheld),
        Ok(v1::DeliveryState::Dead) => Some(DeliveryState::Dead),
        Err(_) => return Err(Error::field(Reason::FieldInvalid, "state", "must be a state of the contract")),
    })
}

fn dialogue(dialogue: dialogue::Dialogue) -> v1::Dialogue {
    v1::Dialogue {
        id: dialogue.id.to_string(),
        channel_id: dialogue.channel.to_string(),
        chat: dialogue.chat,
        status: status(dialogue.status).into(),
        control: Some(v1::Control {
            holder: match dialogue.status {
                DialogueStatus::Pending => v1::ControlHolder::Agent,
                DialogueStatus::Open => v1::ControlHolder::Human,
                DialogueStatus::Snoozed | DialogueStatus::Resolved => v1::ControlHolder::Nobody,
            }
            .into(),
            since_time: Some(convert::moment(dialogue.control.since)),
            reason: dialogue.control.reason,
            by: dialogue.control.by,
            return_time: dialogue.control.returns_at.map(convert::moment),
        }),
        message_count: dialogue.last_seq,
        contact_id: dialogue.contact.map(|id| id.to_string()).unwrap_or_default(),
        crm: contacts::references_to_wire(dialogue.crm),
        attributes: Some(convert::to_struct(&dialogue.attributes)),
        opted_out: dialogue.opted_out,
        version: dialogue.version,
        create_time: Some(convert::moment(dialogue.created_at)),
        update_time: Some(convert::moment(dialogue.updated_at)),
    }
}

fn turn(turn: turn::Turn, runs: Vec<turn::Run>) -> v1::Turn {
    let state = match turn.state {
        TurnState::Collecting => v1::TurnState::Collecting,
        TurnState::Running => v1::TurnState::Running,
        TurnState::Replied => v1::TurnState::Replied,
        TurnState::Silent => v1::TurnState::Silent,
        TurnState::Failed => v1::TurnState::Failed,
    };
    v1::Turn {
        id: turn.id.to_string(),
        dialogue_id: turn.dialogue.to_string(),
        agent_id: turn.agent.to_string(),
        state: state.into(),
        reason: turn.reason.unwrap_or_default(),
        late: turn.late,
        covered_through: turn.covered_through,
        reply_message_id: turn.reply.map(|id| id.to_string()).unwrap_or_default(),
        runs: runs.into_iter().map(run).collect(),
        create_time: Some(convert::moment(turn.created_at)),
        close_time: turn.closed_at.map(convert::moment),
        usage: Some(convert::usage(turn.spent)),
    }
}

fn run(run: turn::Run) -> v1::Run {
    let state = match run.state {
        RunState::Started => v1::RunState::Started,
        RunState::Waiting => v1::RunState::Waiting,
        RunState::Answered => v1::RunState::Answered,
        RunState::Superseded => v1::RunState::Superseded,
        RunState::Lost => v1::RunState::Lost,
        RunState::Failed => v1::RunState::Failed,
    };
    v1::Run {
        number: run.number,
        state: state.into(),
        error: run.error.unwrap_or_default(),
        manifest: Some(convert::to_struct(&json!({ "request": run.request, "steps": run.steps }))),
        start_time: Some(convert::moment(run.started_at)),
        end_time: run.ended_at.map(convert::moment),
        usage: Some(convert::usage(run.spent)),
        prompt_hash: run.prompt_hash.unwrap_or_default(),
    }
}

fn delivery(delivery: delivery::Delivery, attempts: Vec<delivery::Attempt>) -> v1::Delivery {
    let state = match delivery.state {
        DeliveryState::Pending => v1::DeliveryState::Pending,
        DeliveryState::Started => v1::DeliveryState::Started,
        DeliveryState::Delivered => v1::DeliveryState::Delivered,
        DeliveryState::Uncertain => v1::DeliveryState::Uncertain,
        DeliveryState::Held => v1::DeliveryState::Held,
        DeliveryState::Withheld => v1::DeliveryState::Withheld,
        DeliveryState::Dead => v1::DeliveryState::Dead,
    };
    let told = delivery.receipt;
    v1::Delivery {
        vendor_message_id: delivery.vendor_message_id.unwrap_or_default(),
        receipt: told
            .as_ref()
            .map_or(v1::DeliveryReceipt::Unspecified, |told| match told.receipt {
                DeliveryReceipt::Sent => v1::DeliveryReceipt::Sent,
                DeliveryReceipt::Failed => v1::DeliveryReceipt::Failed,
                DeliveryReceipt::Delivered => v1::DeliveryReceipt::Delivered,
                DeliveryReceipt::Read => v1::DeliveryReceipt::Read,
            })
            .into(),
        receipt_time: told.as_ref().map(|told| convert::moment(told.at)),
        receipt_error: told.and_then(|told| told.error).unwrap_or_default(),
        template: delivery.template.as_ref().map(convert::to_struct),
        id: delivery.id.to_string(),
        dialogue_id: delivery.dialogue.to_string(),
        message_id: delivery.message.to_string(),
        channel_id: delivery.channel.to_string(),
        state: state.into(),
        reason: delivery.reason.unwrap_or_default(),
        attempt_count: delivery.attempts,
        next_attempt_time: delivery.next_attempt_at.map(convert::moment),
        attempts: attempts.into_iter().map(attempt).collect(),
        create_time: Some(convert::moment(delivery.created_at)),
        settle_time: delivery.settled_at.map(convert::moment),
        author: match delivery.author {
            Author::Agent => v1::MessageAuthor::Agent,
            Author::Operator => v1::MessageAuthor::Operator,
            Author::Automation => v1::MessageAuthor::Automation,
            Author::System => v1::MessageAuthor::System,
        }
        .into(),
        text_from: delivery.part.map_or(0, |(from, _)| from),
        text_chars: delivery.part.map_or(0, |(_, chars)| chars),
    }
}

pub(super) fn attempt(attempt: delivery::Attempt) -> v1::Attempt {
    let state = match attempt.state {
        AttemptState::Started => v1::AttemptState::Started,
        AttemptState::Succeeded => v1::AttemptState::Succeeded,
        AttemptState::Failed => v1::AttemptState::Failed,
        AttemptState::Unknown => v1::AttemptState::Unknown,
    };
    v1::Attempt {
        number: attempt.number,
        state: state.into(),
        http_status: attempt.http_status.unwrap_or_default(),
        error: attempt.error.unwrap_or_default(),
        response_excerpt: attempt.response_excerpt.unwrap_or_default(),
        start_time: Some(convert::moment(attempt.started_at)),
        end_time: attempt.ended_at.map(convert::moment),
    }
}

#[tonic::async_trait]
impl DialoguesService for Services {
    async fn get_dialogue(
        &self,
        request: Request<v1::GetDialogueRequest>,
    ) -> Result<Response<v1::GetDialogueResponse>, Status> {
        let caller = caller(&request)?;
        let id = convert::id("id", &request.get_ref().id).map_err(|error| refuse(&error))?;
        let found = self.app.get_dialogue(&caller, id).await.map_err(to_status)?;
        Ok(Response::new(v1::GetDialogueResponse { dialogue: Some(dialogue(found)) }))
    }

    async fn list_dialogues(
        &self,
        request: Request<v1::ListDialoguesRequest>,
    ) -> Result<Response<v1::ListDialoguesResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let read = || {
            Ok(Filter {
                channel: convert::optional_id("channel_id", &request.channel_id)?,
                status: status_filter("status", request.status)?,
                contact: convert::optional_id("contact_id", &request.contact_id)?,
                lead: convert::optional_name("lead_id", request.lead_id)?,
            })
        };
        let filter = read().map_err(|error: Error| refuse(&error))?;
        let page = convert::page(request.page_size, request.page_token);
        let page = self.app.list_dialogues(&caller, &filter, &page).await.map_err(to_status)?;
        Ok(Response::new(v1::ListDialoguesResponse {
            dialogues: page.items.into_iter().map(dialogue).collect(),
            next_page_token: page.next_token,
        }))
    }

    async fn list_messages(
        &self,
        request: Request<v1::ListMessagesRequest>,
    ) -> Result<Response<v1::ListMessagesResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let id = convert::id("dialogue_id", &request.dialogue_id).map_err(|error| refuse(&error))?;
        let page = convert::page(request.page_size, request.page_token);
        let page = self.app.list_messages(&caller, id, &page).await.map_err(to_status)?;
        Ok(Response::new(v1::ListMessagesResponse {
            messages: page.items.into_iter().map(message).collect(),
            next_page_token: page.next_token,
        }))
    }

    async fn list_turns(
        &self,
        request: Request<v1::ListTurnsRequest>,
    ) -> Result<Response<v1::ListTurnsResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let id = convert::id("dialogue_id", &request.dialogue_id).map_err(|error| refuse(&error))?;
        let page = convert::page(request.page_size, request.page_token);
        let page = self.app.list_turns(&caller, id, &page).await.map_err(to_status)?;
        Ok(Response::new(v1::ListTurnsResponse {
            turns: page.items.into_iter().map(|each| turn(each, Vec::new())).collect(),
            next_page_token: page.next_token,
        }))
    }

    async fn get_turn(
        &self,
        request: Request<v1::GetTurnRequest>,
    ) -> Result<Response<v1::GetTurnResponse>, Status> {
        let caller = caller(&request)?;
        let id = convert::id("id", &request.get_ref().id).map_err(|error| refuse(&error))?;
        let (found, runs) = self.app.get_turn(&caller, id).await.map_err(to_status)?;
        Ok(Response::new(v1::GetTurnResponse { turn: Some(turn(found, runs)) }))
    }

    async fn list_deliveries(
        &self,
        request: Request<v1::ListDeliveriesRequest>,
    ) -> Result<Response<v1::ListDeliveriesResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let read = || {
            Ok(DeliveryFilter {
                dialogue: convert::optional_id("dialogue_id", &request.dialogue_id)?,
                state: state_filter(request.state)?,
            })
        };
        let filter = read().map_err(|error: Error| refuse(&error))?;
        let page = convert::page(request.page_size, request.page_token);
        let page = self.app.list_deliveries(&caller, &filter, &page).await.map_err(to_status)?;
        Ok(Response::new(v1::ListDeliveriesResponse {
            deliveries: page.items.into_iter().map(|each| delivery(each, Vec::new())).collect(),
            next_page_token: page.next_token,
        }))
    }

    async fn get_delivery(
        &self,
        request: Request<v1::GetDeliveryRequest>,
    ) -> Result<Response<v1::GetDeliveryResponse>, Status> {
        let caller = caller(&request)?;
        let id = convert::id("id", &request.get_ref().id).map_err(|error| refuse(&error))?;
        let (found, attempts) = self.app.get_delivery(&caller, id).await.map_err(to_status)?;
        Ok(Response::new(v1::GetDeliveryResponse { delivery: Some(delivery(found, attempts)) }))
    }

    async fn retry_delivery(
        &self,
        request: Request<v1::RetryDeliveryRequest>,
    ) -> Result<Response<v1::RetryDeliveryResponse>, Status> {
        let caller = caller(&request)?;
        let id = convert::id("id", &request.get_ref().id).map_err(|error| refuse(&error))?;
        let revived = self.app.retry_delivery(&caller, id).await.map_err(to_status)?;
        Ok(Response::new(v1::RetryDeliveryResponse { delivery: Some(delivery(revived, Vec::new())) }))
    }

    async fn resolve_delivery(
        &self,
        request: Request<v1::ResolveDeliveryRequest>,
    ) -> Result<Response<v1::ResolveDeliveryResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let read = || {
            let resolution = match v1::DeliveryResolution::try_from(request.resolution) {
                Ok(v1::DeliveryResolution::Delivered) => Resolution::Delivered,
                Ok(v1::DeliveryResolution::Resend) => Resolution::Resend,
                Ok(v1::DeliveryResolution::Discard) => Resolution::Discard,
                _ => {
                    let detail = "is required: DELIVERED, RESEND or DISCARD";
                    return Err(Error::field(Reason::FieldInvalid, "resolution", detail));
                }
            };
            Ok((convert::id("id", &request.id)?, resolution))
        };
        let (id, resolution) = read().map_err(|error| refuse(&error))?;
        let resolved = self.app.resolve_delivery(&caller, id, resolution).await.map_err(to_status)?;
        Ok(Response::new(v1::ResolveDeliveryResponse { delivery: Some(delivery(resolved, Vec::new())) }))
    }

    async fn send_message(
        &self,
        request: Request<v1::SendMessageRequest>,
    ) -> Result<Response<v1::SendMessageResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let read = || {
            let author = match v1::MessageAuthor::try_from(request.author) {
                Ok(v1::MessageAuthor::Operator) => Author::Operator,
                Ok(v1::MessageAuthor::Automation) => Author::Automation,
                _ => {
                    let detail = "is required: OPERATOR or AUTOMATION";
                    return Err(Error::field(Reason::FieldInvalid, "author", detail));
                }
            };
            let dialogue = convert::id("dialogue_id", &request.dialogue_id)?;
            let parts = webhooks::parts(request.parts)?;
            let template = request.template.map(|template| convert::from_struct("template", Some(template)));
            let template = template.transpose()?;
            Ok(NewOutbound { dialogue, text: request.text, parts, template, author, by: request.by })
        };
        let new = read().map_err(|error| refuse(&error))?;
        let (sent, its_delivery) =
            self.app.send_message(&caller, new, &request.request_id).await.map_err(to_status)?;
        Ok(Response::new(v1::SendMessageResponse {
            message: Some(message(sent)),
            delivery: Some(delivery(its_delivery, Vec::new())),
        }))
    }

    async fn take_control(
        &self,
        request: Request<v1::TakeControlRequest>,
    ) -> Result<Response<v1::TakeControlResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let read = || {
            let return_after = request.return_after.map(|wire| {
                // A negative one is as wrong as one of nothing.
                Duration::try_from(wire).unwrap_or_default()
            });
            Ok((convert::id("dialogue_id", &request.dialogue_id)?, return_after))
        };
        let (id, return_after) = read().map_err(|error: Error| refuse(&error))?;
        let taken = self.app.take_control(&caller, id, request.by, request.reason, return_after).await;
        Ok(Response::new(v1::TakeControlResponse { dialogue: Some(dialogue(taken.map_err(to_status)?)) }))
    }

    async fn delete_dialogue(
        &self,
        request: Request<v1::DeleteDialogueRequest>,
    ) -> Result<Response<v1::DeleteDialogueResponse>, Status> {
        let caller = caller(&request)?;
        let id =
            convert::id("dialogue_id", &request.into_inner().dialogue_id).map_err(|error| refuse(&error))?;
        self.app.delete_dialogue(&caller, id).await.map_err(to_status)?;
        Ok(Response::new(v1::DeleteDialogueResponse {}))
    }

    async fn release_control(
        &self,
        request: Request<v1::ReleaseControlRequest>,
    ) -> Result<Response<v1::ReleaseControlResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let id = convert::id("dialogue_id", &request.dialogue_id).map_err(|error| refuse(&error))?;
        let released = self.app.release_control(&caller, id, request.by, request.reason).await;
        Ok(Response::new(v1::ReleaseControlResponse {
            dialogue: Some(dialogue(released.map_err(to_status)?)),
        }))
    }

    async fn update_dialogue(
        &self,
        request: Request<v1::UpdateDialogueRequest>,
    ) -> Result<Response<v1::UpdateDialogueResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let read = || {
            let wire = convert::required("dialogue", request.dialogue)?;
            let id = convert::id("dialogue.id", &wire.id)?;
            let paths = convert::mask(request.update_mask, &["status", "attributes", "opted_out"])?;
            let mut patch = DialoguePatch::default();
            if paths.iter().any(|path| path == "status") {
                let status = status_filter("dialogue.status", wire.status)?;
                patch.status = Some(convert::required("dialogue.status", status)?);
            }
            if paths.iter().any(|path| path == "attributes") {
                patch.attributes = Some(convert::from_struct("dialogue.attributes", wire.attributes)?);
            }
            if paths.iter().any(|path| path == "opted_out") {
                patch.opted_out = Some(wire.opted_out);
            }
            Ok((id, patch))
        };
        let (id, patch) = read().map_err(|error: Error| refuse(&error))?;
        let changed = self.app.update_dialogue(&caller, id, patch).await.map_err(to_status)?;
        Ok(Response::new(v1::UpdateDialogueResponse { dialogue: Some(dialogue(changed)) }))
    }

    async fn list_contacts(
        &self,
        request: Request<v1::ListContactsRequest>,
    ) -> Result<Response<v1::ListContactsResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let read = || {
            Ok(ContactFilter {
                contact: convert::optional_id("contact_id", &request.contact_id)?,
                external_id: convert::optional_name("external_id", request.external_id)?,
            })
        };
        let filter = read().map_err(|error: Error| refuse(&error))?;
        let page = convert::page(request.page_size, request.page_token);
        let page = self.app.list_contacts(&caller, &filter, &page).await.map_err(to_status)?;
        Ok(Response::new(v1::ListContactsResponse {
            contacts: page.items.into_iter().map(contacts::contact).collect(),
            next_page_token: page.next_token,
        }))
    }

    async fn import_messages(
        &self,
        request: Request<v1::ImportMessagesRequest>,
    ) -> Result<Response<v1::ImportMessagesResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let channel = convert::id("channel_id", &request.channel_id).map_err(|error| refuse(&error))?;
        let imports::Batch { chats, messages, bad } = imports::batch(request);
        let done = self.app.import_messages(&caller, channel, chats, messages, bad).await;
        Ok(Response::new(imports::imported(done.map_err(to_status)?)))
    }
}
