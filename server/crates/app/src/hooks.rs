//! What vendors call: verified, put into our words, and taken event by event.

use domain::{
    ChannelId, Error as Refusal, InboundWebhookId, Reason, WorkspaceId,
    channel_kind::ChannelKind,
    delivery::Told,
    inbound::{InboundEvent, InboundMessage, InboundStatus, InboundWebhook, Outcome, RawRequest, Verified},
    new_message::NewMessage,
    token::{TokenKind, workspace_of},
    vendor::{Vendor, VerifyError},
};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use store::events::NewEvent;

use crate::{App, Error, channels, inbound::Route};

/// The door that vendors come through.
const HOOKS: &str = "hooks";

/// What became of a vendor's call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// What became of the first of its events that something came of.
    pub outcome: Outcome,
    /// The record of the call, with that.
    pub webhook: InboundWebhookId,
}

impl Taken {
    /// Of several events of one call, the first that was recorded speaks for it, else the first.
    fn first(so_far: Option<Self>, next: Self) -> Self {
        match so_far {
            Some(first) if first.outcome == Outcome::Recorded || next.outcome != Outcome::Recorded => first,
            _ => next,
        }
    }
}

impl App {
    /// Accepts a vendor's call at `/hooks/{channel_id}`: verified by the agent's token if the call carries one, else by
    /// the vendor's own signature. A verified call that can't be understood is kept as quarantined.
    ///
    /// # Errors
    /// Of a channel that posts to a URL, also what can't be understood and a conflict: its owner wrote the program that calls,
    /// and can mend it. A vendor would only call again.
    pub async fn receive_hook(&self, channel: ChannelId, raw: RawRequest) -> Result<Taken, Error> {
        let token = raw.headers.get(&self.inner.settings.inbound_token_header);
        let (workspace, verified) = if let Some(token) = token {
            let (workspace, agent) =
                self.authenticate_agent(Some(token.to_str().unwrap_or_default())).await?;
            if self.route(workspace, channel).await?.sealed.channel.agent != agent {
                return Err(channels::not_found(channel).into());
            }
            (workspace, Verified::vouched(raw))
        } else {
            // An unknown channel and a wrong signature answer alike: neither tells whether the channel exists.
            let refused = |error: VerifyError| match error {
                VerifyError::Missing => {
                    let name = &self.inner.settings.inbound_token_header;
                    Refusal::new(
                        Reason::AuthMissing,
                        format!("{name} header is required, or a webhook signature"),
                    )
                }
                VerifyError::Mismatch => Refusal::new(
                    Reason::SignatureInvalid,
                    "the webhook signature does not match; sign the exact bytes with the channel's signing secret and \
                     the current time",
                ),
            };
            // Some put their signature into the body, in a token.
            let signed =
                ["webhook-signature", "x-signature"].iter().any(|name| raw.headers.contains_key(*name))
                    || raw.body.windows(5).any(|bytes| bytes == b"token");
            let unknown = if signed { VerifyError::Mismatch } else { VerifyError::Missing };
            let Some(workspace) = store::channels::resolve(self.store().pool(), channel).await? else {
                return Err(refused(unknown).into());
            };
            let route = self.route(workspace, channel).await?;
            let receiver = self
                .inner
                .vendors
                .get(&route.sealed.channel.vendor)
                .and_then(|vendor| vendor.receiver.clone())
                .ok_or_else(|| refused(VerifyError::Mismatch))?;
            let account = self.verifying_account(workspace, &route.sealed).await?;
            let verified = domain::vendor::verify(&*receiver, raw, &account, self.now()).map_err(refused)?;
            (workspace, verified)
        };
        let route = self.route(workspace, channel).await?;
        self.take_hook(workspace, &route, &verified, HOOKS, None).await
    }

    /// Checks the secret in the path of `/hooks/{channel_id}/{secret}`, which a vendor also asks for before it is content with
    /// the address.
    ///
    /// # Errors
    /// `TOKEN_UNKNOWN`, also where there is no such channel, or where its vendor signs its calls.
    pub async fn check_hook_secret(
        &self,
        channel: ChannelId,
        secret: &SecretString,
    ) -> Result<WorkspaceId, Error> {
        let unknown = || Error::from(unknown_secret());
        let workspace = workspace_of(TokenKind::Hook, secret).ok_or_else(unknown)?;
        let route = match self.route(workspace, channel).await {
            Ok(route) => route,
            Err(Error::Refused(error)) if error.reason == Reason::ChannelNotFound => return Err(unknown()),
            Err(error) => return Err(error),
        };
        match &route.sealed.hook_secret {
            Some(kept) if kept.is(secret.expose_secret()) => Ok(workspace),
            _ => Err(unknown()),
        }
    }

    /// Accepts a vendor's call at `/hooks/{channel_id}/{secret}`. A call that can't be understood is kept as quarantined.
    ///
    /// # Errors
    /// `TOKEN_UNKNOWN`, `CHANNEL_INACTIVE`.
    pub async fn receive_secret_hook(
        &self,
        channel: ChannelId,
        secret: &SecretString,
        raw: RawRequest,
    ) -> Result<Taken, Error> {
        // Who signs may have more in its path: its own names, which say nothing that the signed body doesn't.
        if workspace_of(TokenKind::Hook, secret).is_none() {
            return match self.receive_hook(channel, raw).await {
                // Without a signature it is a wrong secret.
                Err(Error::Refused(refusal)) if refusal.reason == Reason::AuthMissing => {
                    Err(unknown_secret().into())
                }
                taken => taken,
            };
        }
        let workspace = self.check_hook_secret(channel, secret).await?;
        let route = self.route(workspace, channel).await?;
        self.take_hook(workspace, &route, &Verified::vouched(raw), HOOKS, None).await
    }

    /// Puts a verified call into our words, and takes its events one after another. A repeat of the call finds what the first
    /// did, so one that broke off in the middle is whole after it. `again`: the call as it was kept, if this is a replay of it.
    pub(crate) async fn take_hook(
        &self,
        workspace: WorkspaceId,
        route: &Route,
        verified: &Verified<RawRequest>,
        door: &'static str,
        again: Option<&InboundWebhook>,
    ) -> Result<Taken, Error> {
        let vendor = self.inner.vendors.get(&route.sealed.channel.vendor);
        let kind = vendor.and_then(|vendor| vendor.channel.as_deref());
        let events = match understand(vendor, kind, verified, route) {
            Ok(events) => events,
            Err(refusal) => return self.quarantine(workspace, route, verified, door, kind, refusal).await,
        };
        let mut taken = None;
        for event in events {
            let next = match event {
                InboundEvent::Message(mut message) => {
                    if let Some(kept) = again {
                        remember(&mut message, kept);
                    }
                    let relayed = match self.relay(workspace, route, &message, verified, door).await {
                        Ok(Some(taken)) => Some(Ok(taken)),
                        Ok(None) => None,
                        Err(error) => Some(Err(error)),
                    };
                    let accepted = match relayed {
                        Some(Ok(next)) => {
                            taken = Some(Taken::first(taken, next));
                            continue;
                        }
                        Some(Err(error)) => Err(error),
                        None => self.accept(workspace, route, message, verified, door).await,
                    };
                    match accepted {
                        Ok(accepted) => {
                            let refused = kind.is_none() && door == HOOKS;
                            let accepted = if refused { accepted.refuse_conflict()? } else { accepted };
                            Taken { outcome: accepted.outcome, webhook: accepted.webhook }
                        }
                        // Nobody at a vendor reads our refusals.
                        Err(Error::Refused(refusal))
                            if kind.is_some() && refusal.reason == Reason::FieldInvalid =>
                        {
                            self.quarantine(workspace, route, verified, door, kind, refusal).await?
                        }
                        Err(error) => return Err(error),
                    }
                }
                InboundEvent::Status(status) => {
                    self.note_status(workspace, route, verified, door, status).await?
                }
                InboundEvent::Happened(happening) => {
                    self.note_happening(workspace, route, verified, door, happening).await?
                }
                InboundEvent::Ignored(reason) => {
                    self.keep_ignored(workspace, route, verified, door, reason).await?
                }
            };
            taken = Some(Taken::first(taken, next));
        }
        if let Some(taken) = taken {
            return Ok(taken);
        }
        let refusal = Refusal::fields(Reason::FieldInvalid, Vec::new());
        self.quarantine(workspace, route, verified, door, kind, refusal).await
    }

    /// Keeps a verified call that there is nothing to do about.
    pub(crate) async fn keep_ignored(
        &self,
        workspace: WorkspaceId,
        route: &Route,
        verified: &Verified<RawRequest>,
        door: &'static str,
        reason: String,
    ) -> Result<Taken, Error> {
        let webhook = self.webhook(route, verified, door, Outcome::Ignored, Some(reason));
        let mut tx = self.store().workspace(workspace).await?;
        store::inbound_webhooks::insert(&mut tx, workspace, &webhook).await?;
        store::commit(tx).await?;
        Ok(Taken { outcome: Outcome::Ignored, webhook: webhook.id })
    }

    pub(crate) fn webhook(
        &self,
        route: &Route,
        verified: &Verified<RawRequest>,
        door: &'static str,
        outcome: Outcome,
        reason: Option<String>,
    ) -> InboundWebhook {
        let raw = verified.get();
        InboundWebhook {
            id: self.id(),
            channel: Some(route.sealed.channel.id),
            integration: None,
            route: door.to_owned(),
            headers: self.kept_headers(raw),
            body: raw.body.to_vec(),
            outcome,
            reason: reason.map(|reason| reason.replace('\0', "\u{fffd}")),
            message: None,
            dialogue: None,
            received_at: self.now(),
        }
    }

    /// Keeps a verified call that can't be understood.
    async fn quarantine(
        &self,
        workspace: WorkspaceId,
        route: &Route,
        verified: &Verified<RawRequest>,
        door: &'static str,
        kind: Option<&dyn ChannelKind>,
        refusal: Refusal,
    ) -> Result<Taken, Error> {
        let reason = refusal.fields.iter().map(|field| format!("{}: {}", field.field, field.detail));
        let reason = reason.collect::<Vec<_>>().join("; ");
        let webhook = self.webhook(route, verified, door, Outcome::Quarantined, Some(reason));
        let mut tx = self.store().workspace(workspace).await?;
        store::inbound_webhooks::insert(&mut tx, workspace, &webhook).await?;
        let event = NewEvent {
            id: self.id(),
            kind: "webhook.quarantined",
            dialogue: None,
            subject: webhook.id.0,
            data: json!({ "channel_id": route.sealed.channel.id, "reason": webhook.reason }),
            at: webhook.received_at,
        };
        store::events::insert(&mut tx, workspace, &event).await?;
        store::commit(tx).await?;
        match kind {
            Some(_) => Ok(Taken { outcome: Outcome::Quarantined, webhook: webhook.id }),
            None => Err(refusal.into()),
        }
    }

    /// Keeps what a vendor told of a message of ours. Vendors tell in any order, and again: the furthest counts.
    async fn note_status(
        &self,
        workspace: WorkspaceId,
        route: &Route,
        verified: &Verified<RawRequest>,
        door: &'static str,
        status: InboundStatus,
    ) -> Result<Taken, Error> {
        let channel = route.sealed.channel.id;
        let vendors_id = status.vendor_message_id.as_deref();
        let mut webhook = self.webhook(route, verified, door, Outcome::Ignored, None);
        let mut tx = self.store().workspace(workspace).await?;
        let found =
            store::deliveries::find_told(&mut tx, workspace, channel, status.delivery, vendors_id).await?;
        let Some(found) = found else {
            webhook.reason = Some("tells of a message that is none of this channel's".to_owned());
            store::inbound_webhooks::insert(&mut tx, workspace, &webhook).await?;
            store::commit(tx).await?;
            return Ok(Taken { outcome: webhook.outcome, webhook: webhook.id });
        };
        // The dialogue first, as everybody locks; then it is read again, since another call may have told more meanwhile.
        let moment = store::dialogues::touch(&mut tx, workspace, found.dialogue, webhook.received_at).await?;
        let found = store::deliveries::find(&mut tx, workspace, found.id, true).await?.unwrap_or(found);
        let told = Told {
            receipt: status.receipt,
            error: status.error,
            at: status.at.unwrap_or(webhook.received_at),
        };
        let further = found.receipt.as_ref().is_none_or(|before| before.receipt < told.receipt)
            && store::deliveries::set_receipt(&mut tx, workspace, &found, &told, vendors_id).await?;
        if further {
            let mut data = json!({
                "receipt": told.receipt, "vendor_message_id": found.vendor_message_id.as_deref().or(vendors_id),
                "error": told.error,
            });
            if let Some(members) = data.as_object_mut() {
                members.retain(|_, value| !value.is_null());
            }
            let event = NewEvent {
                id: self.id(),
                kind: "delivery.receipt",
                dialogue: Some(found.dialogue),
                subject: found.id.0,
                data,
                at: moment.unwrap_or(webhook.received_at),
            };
            store::events::insert(&mut tx, workspace, &event).await?;
        }
        webhook.outcome = if further { Outcome::Recorded } else { Outcome::Duplicate };
        webhook.message = Some(found.message);
        webhook.dialogue = Some(found.dialogue);
        store::inbound_webhooks::insert(&mut tx, workspace, &webhook).await?;
        store::commit(tx).await?;
        metrics::counter!("switchboard_receipts_total", "receipt" => told.receipt.as_str()).increment(1);
        Ok(Taken { outcome: webhook.outcome, webhook: webhook.id })
    }
}

fn unknown_secret() -> Refusal {
    let detail =
        "the secret in the path is not this channel's; have the vendor call the channel's present address";
    Refusal::new(Reason::TokenUnknown, detail)
}

/// Gives a message of a replayed call what its body doesn't tell the receiver.
fn remember(message: &mut InboundMessage, kept: &InboundWebhook) {
    if kept.route == "grpc" {
        NewMessage::read_context(&kept.body, message);
    }
    if message.external_id.is_none() {
        // The first time it got the id of its own for want of one; the replay must find that. What was quarantined has no
        // message: then the call itself is what a second replay must find.
        let first = kept.message.map_or(kept.id.0, |message| message.0);
        message.external_id = Some(first.to_string());
    }
}

fn understand(
    vendor: Option<&Vendor>,
    kind: Option<&dyn ChannelKind>,
    verified: &Verified<RawRequest>,
    route: &Route,
) -> Result<Vec<InboundEvent>, Refusal> {
    let receiver = vendor.and_then(|vendor| vendor.receiver.as_deref());
    let understood = match receiver {
        Some(receiver) => receiver.normalize(verified, &route.sealed.channel).map_err(|error| error.fields),
        None => Err(Vec::new()),
    };
    let refuse = |fields| Refusal::fields(Reason::FieldInvalid, fields);
    let events = understood.map_err(refuse)?;
    if kind.is_some() && events.is_empty() {
        return Ok(vec![InboundEvent::Ignored("tells nothing".to_owned())]);
    }
    Ok(events)
}
