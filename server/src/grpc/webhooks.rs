//! `WebhooksService`.

use app::{
    endpoints::{DispatchFilter, Filter as EndpointFilter},
    inbound::{Accepted, Filter},
};
use domain::{
    Error, Reason,
    inbound::{InboundMessage, InboundWebhook, Outcome, RawRequest, Sender},
    new_message::NewMessage,
    part::{Part, PartKind},
};
use secrecy::ExposeSecret;
use switchboard_sdk::v1::{self, webhooks_service_server::WebhooksService};
use tonic::{Request, Response, Status};

use super::{Services, caller, contacts, convert, dialogues, endpoints, refuse};
use crate::error::to_status;

fn outcome(outcome: Outcome) -> v1::InboundOutcome {
    match outcome {
        Outcome::Recorded => v1::InboundOutcome::Recorded,
        Outcome::Duplicate => v1::InboundOutcome::Duplicate,
        Outcome::Conflict => v1::InboundOutcome::Conflict,
        Outcome::Quarantined => v1::InboundOutcome::Quarantined,
        Outcome::Ignored => v1::InboundOutcome::Ignored,
    }
}

fn outcome_filter(wire: i32) -> Result<Option<Outcome>, Error> {
    Ok(match v1::InboundOutcome::try_from(wire) {
        Ok(v1::InboundOutcome::Unspecified) => None,
        Ok(v1::InboundOutcome::Recorded) => Some(Outcome::Recorded),
        Ok(v1::InboundOutcome::Duplicate) => Some(Outcome::Duplicate),
        Ok(v1::InboundOutcome::Conflict) => Some(Outcome::Conflict),
        Ok(v1::InboundOutcome::Quarantined) => Some(Outcome::Quarantined),
        Ok(v1::InboundOutcome::Ignored) => Some(Outcome::Ignored),
        Err(_) => {
            return Err(Error::field(Reason::FieldInvalid, "outcome", "must be an outcome of the contract"));
        }
    })
}

/// `whole`: with headers and body.
fn to_wire(mut webhook: InboundWebhook, whole: bool) -> v1::InboundWebhook {
    if !whole {
        webhook.headers.clear();
        webhook.body.clear();
    }
    v1::InboundWebhook {
        id: webhook.id.to_string(),
        channel_id: webhook.channel.map(|id| id.to_string()).unwrap_or_default(),
        integration_id: webhook.integration.map(|id| id.to_string()).unwrap_or_default(),
        route: webhook.route,
        headers: webhook.headers.into_iter().collect(),
        body: webhook.body.into(),
        outcome: outcome(webhook.outcome).into(),
        reason: webhook.reason.unwrap_or_default(),
        message_id: webhook.message.map(|id| id.to_string()).unwrap_or_default(),
        dialogue_id: webhook.dialogue.map(|id| id.to_string()).unwrap_or_default(),
        receive_time: Some(convert::moment(webhook.received_at)),
    }
}

pub(super) fn parts(wire: Vec<v1::MessagePart>) -> Result<Vec<Part>, Error> {
    let read = |(at, part): (usize, v1::MessagePart)| {
        let kind = match part.kind() {
            v1::PartKind::Image => PartKind::Image,
            v1::PartKind::Audio => PartKind::Audio,
            v1::PartKind::Video => PartKind::Video,
            v1::PartKind::File => PartKind::File,
            v1::PartKind::Location => PartKind::Location,
            v1::PartKind::Unspecified => {
                let field = format!("parts[{at}].kind");
                return Err(Error::field(Reason::FieldInvalid, &field, "must be set"));
            }
        };
        Ok(Part { kind, url: part.url, media_type: part.media_type, name: part.name })
    };
    wire.into_iter().enumerate().map(read).collect()
}

#[tonic::async_trait]
impl WebhooksService for Services {
    async fn receive_message(
        &self,
        request: Request<v1::ReceiveMessageRequest>,
    ) -> Result<Response<v1::ReceiveMessageResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let channel = convert::id("channel_id", &request.channel_id).map_err(|error| refuse(&error))?;
        let sender = match v1::MessageSender::try_from(request.sender) {
            Ok(v1::MessageSender::Customer) => Sender::Customer,
            Ok(v1::MessageSender::Employee) => Sender::Employee,
            _ => {
                return Err(refuse(&Error::field(
                    Reason::FieldInvalid,
                    "sender",
                    "must be CUSTOMER or EMPLOYEE",
                )));
            }
        };
        let read = || {
            Ok(InboundMessage {
                chat: request.chat,
                external_id: Some(request.message_id).filter(|id| !id.is_empty()),
                text: request.text,
                parts: parts(request.parts)?,
                sender,
                contact: request.contact.map(contacts::told_contact).transpose()?,
                references: contacts::references(request.crm)?,
                metadata: contacts::metadata(request.metadata)?,
                sent_at: convert::optional_moment("send_time", request.send_time)?,
            })
        };
        let message = read().map_err(|error: Error| refuse(&error))?;
        // Kept in the words of `new_message`, so that it is replayed like any other call.
        let raw = RawRequest { body: NewMessage::body(channel, &message).into(), ..RawRequest::default() };
        let accepted = self.app.receive_message(&caller, channel, message, raw).await.map_err(to_status)?;
        let Accepted { outcome: what, message, dialogue, external_id, .. } =
            accepted.refuse_conflict().map_err(|error| refuse(&error))?;
        Ok(Response::new(v1::ReceiveMessageResponse {
            message_id: message.to_string(),
            dialogue_id: dialogue.to_string(),
            outcome: outcome(what).into(),
            external_id,
        }))
    }

    async fn list_inbound_webhooks(
        &self,
        request: Request<v1::ListInboundWebhooksRequest>,
    ) -> Result<Response<v1::ListInboundWebhooksResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let read = || {
            Ok(Filter {
                channel: convert::optional_id("channel_id", &request.channel_id)?,
                integration: convert::optional_id("integration_id", &request.integration_id)?,
                outcome: outcome_filter(request.outcome)?,
            })
        };
        let filter = read().map_err(|error: Error| refuse(&error))?;
        let page = convert::page(request.page_size, request.page_token);
        let page = self.app.list_inbound_webhooks(&caller, &filter, &page).await.map_err(to_status)?;
        Ok(Response::new(v1::ListInboundWebhooksResponse {
            inbound_webhooks: page.items.into_iter().map(|webhook| to_wire(webhook, false)).collect(),
            next_page_token: page.next_token,
        }))
    }

    async fn get_inbound_webhook(
        &self,
        request: Request<v1::GetInboundWebhookRequest>,
    ) -> Result<Response<v1::GetInboundWebhookResponse>, Status> {
        let caller = caller(&request)?;
        let id = convert::id("id", &request.get_ref().id).map_err(|error| refuse(&error))?;
        let webhook = self.app.get_inbound_webhook(&caller, id).await.map_err(to_status)?;
        Ok(Response::new(v1::GetInboundWebhookResponse { inbound_webhook: Some(to_wire(webhook, true)) }))
    }

    async fn replay_inbound_webhook(
        &self,
        request: Request<v1::ReplayInboundWebhookRequest>,
    ) -> Result<Response<v1::ReplayInboundWebhookResponse>, Status> {
        let caller = caller(&request)?;
        let id = convert::id("id", &request.get_ref().id).map_err(|error| refuse(&error))?;
        let webhook = self.app.replay_inbound_webhook(&caller, id).await.map_err(to_status)?;
        Ok(Response::new(v1::ReplayInboundWebhookResponse { inbound_webhook: Some(to_wire(webhook, true)) }))
    }

    async fn create_endpoint(
        &self,
        request: Request<v1::CreateEndpointRequest>,
    ) -> Result<Response<v1::CreateEndpointResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let new = endpoints::new(request.endpoint).map_err(|error| refuse(&error))?;
        let (endpoint, secret) =
            self.app.create_endpoint(&caller, new, &request.request_id).await.map_err(to_status)?;
        Ok(Response::new(v1::CreateEndpointResponse {
            endpoint: Some(endpoints::endpoint(endpoint)),
            secret: secret.expose_secret().to_owned(),
        }))
    }

    async fn get_endpoint(
        &self,
        request: Request<v1::GetEndpointRequest>,
    ) -> Result<Response<v1::GetEndpointResponse>, Status> {
        let caller = caller(&request)?;
        let id = convert::id("id", &request.get_ref().id).map_err(|error| refuse(&error))?;
        let endpoint = self.app.get_endpoint(&caller, id).await.map_err(to_status)?;
        Ok(Response::new(v1::GetEndpointResponse { endpoint: Some(endpoints::endpoint(endpoint)) }))
    }

    async fn list_endpoints(
        &self,
        request: Request<v1::ListEndpointsRequest>,
    ) -> Result<Response<v1::ListEndpointsResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let filter = EndpointFilter { active: request.active };
        let page = convert::page(request.page_size, request.page_token);
        let page = self.app.list_endpoints(&caller, &filter, &page).await.map_err(to_status)?;
        Ok(Response::new(v1::ListEndpointsResponse {
            endpoints: page.items.into_iter().map(endpoints::endpoint).collect(),
            next_page_token: page.next_token,
        }))
    }

    async fn update_endpoint(
        &self,
        request: Request<v1::UpdateEndpointRequest>,
    ) -> Result<Response<v1::UpdateEndpointResponse>, Status> {
        const FIELDS: [&str; 6] = ["display_name", "url", "event_types", "channel_id", "schedule", "active"];
        let caller = caller(&request)?;
        let request = request.into_inner();
        let read = || {
            let wire = convert::required("endpoint", request.endpoint)?;
            let id = convert::id("endpoint.id", &wire.id)?;
            let paths = convert::mask(request.update_mask, &FIELDS)?;
            Ok((id, endpoints::patch(wire, &paths)?))
        };
        let (id, patch) = read().map_err(|error: Error| refuse(&error))?;
        let endpoint = self.app.update_endpoint(&caller, id, patch).await.map_err(to_status)?;
        Ok(Response::new(v1::UpdateEndpointResponse { endpoint: Some(endpoints::endpoint(endpoint)) }))
    }

    async fn delete_endpoint(
        &self,
        request: Request<v1::DeleteEndpointRequest>,
    ) -> Result<Response<v1::DeleteEndpointResponse>, Status> {
        let caller = caller(&request)?;
        let id = convert::id("id", &request.get_ref().id).map_err(|error| refuse(&error))?;
        self.app.delete_endpoint(&caller, id).await.map_err(to_status)?;
        Ok(Response::new(v1::DeleteEndpointResponse {}))
    }

    async fn rotate_endpoint_secret(
        &self,
        request: Request<v1::RotateEndpointSecretRequest>,
    ) -> Result<Response<v1::RotateEndpointSecretResponse>, Status> {
        let caller = caller(&request)?;
        let id = convert::id("id", &request.get_ref().id).map_err(|error| refuse(&error))?;
        let (endpoint, secret) = self.app.rotate_endpoint_secret(&caller, id).await.map_err(to_status)?;
        Ok(Response::new(v1::RotateEndpointSecretResponse {
            endpoint: Some(endpoints::endpoint(endpoint)),
            secret: secret.expose_secret().to_owned(),
        }))
    }

    async fn test_endpoint(
        &self,
        request: Request<v1::TestEndpointRequest>,
    ) -> Result<Response<v1::TestEndpointResponse>, Status> {
        let caller = caller(&request)?;
        let id = convert::id("id", &request.get_ref().id).map_err(|error| refuse(&error))?;
        let attempt = self.app.test_endpoint(&caller, id).await.map_err(to_status)?;
        Ok(Response::new(v1::TestEndpointResponse { attempt: Some(dialogues::attempt(attempt)) }))
    }

    async fn list_dispatches(
        &self,
        request: Request<v1::ListDispatchesRequest>,
    ) -> Result<Response<v1::ListDispatchesResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let read = || {
            Ok(DispatchFilter {
                endpoint: convert::id("endpoint_id", &request.endpoint_id)?,
                state: endpoints::state_filter(request.state)?,
            })
        };
        let filter = read().map_err(|error: Error| refuse(&error))?;
        let page = convert::page(request.page_size, request.page_token);
        let page = self.app.list_dispatches(&caller, &filter, &page).await.map_err(to_status)?;
        Ok(Response::new(v1::ListDispatchesResponse {
            dispatches: page.items.into_iter().map(|item| endpoints::dispatch(item, Vec::new())).collect(),
            next_page_token: page.next_token,
        }))
    }

    async fn get_dispatch(
        &self,
        request: Request<v1::GetDispatchRequest>,
    ) -> Result<Response<v1::GetDispatchResponse>, Status> {
        let caller = caller(&request)?;
        let id = convert::id("id", &request.get_ref().id).map_err(|error| refuse(&error))?;
        let (dispatch, attempts) = self.app.get_dispatch(&caller, id).await.map_err(to_status)?;
        Ok(Response::new(v1::GetDispatchResponse { dispatch: Some(endpoints::dispatch(dispatch, attempts)) }))
    }

    async fn retry_dispatch(
        &self,
        request: Request<v1::RetryDispatchRequest>,
    ) -> Result<Response<v1::RetryDispatchResponse>, Status> {
        let caller = caller(&request)?;
        let id = convert::id("id", &request.get_ref().id).map_err(|error| refuse(&error))?;
        let dispatch = self.app.retry_dispatch(&caller, id).await.map_err(to_status)?;
        Ok(Response::new(v1::RetryDispatchResponse {
            dispatch: Some(endpoints::dispatch(dispatch, Vec::new())),
        }))
    }

    async fn replay_events(
        &self,
        request: Request<v1::ReplayEventsRequest>,
    ) -> Result<Response<v1::ReplayEventsResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let read = || Ok((convert::id("endpoint_id", &request.endpoint_id)?, endpoints::replay(request)?));
        let (endpoint, what) = read().map_err(|error: Error| refuse(&error))?;
        let replayed = self.app.replay_events(&caller, endpoint, what).await.map_err(to_status)?;
        Ok(Response::new(v1::ReplayEventsResponse {
            dispatch_count: replayed.dispatched,
            next_cursor: replayed.next_cursor,
            more: replayed.more,
        }))
    }
}
