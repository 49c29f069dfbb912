//! What CRMs tell us of their accounts. Their calls carry no signature: a secret in the path stands for one, and the account
//! that a call names must be the integration's. What they tell are hints: who acts on them asks the vendor first.

use std::{sync::Arc, time::Duration};

use domain::{
    ChannelId, DialogueId, Error as Refusal, InboundWebhookId, IntegrationId, Reason, WorkspaceId,
    contact::{CrmReferences, Identity, NewContact},
    crm_event::{AccountHooks, ChatMessage, CrmEvent, Writer},
    inbound::{InboundMessage, InboundWebhook, Outcome, RawRequest, Sender, Verified},
    integration::Integration,
    new_message::NewMessage,
    token::{self, TokenHash, TokenKind, workspace_of},
    workspace::{Level, Service},
};
use moka::sync::Cache;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use store::{
    Kept, Store,
    crm_hooks::{NewCall, NewSecret, SealedHook, ToldEvent},
};

use crate::{
    App, Caller, Error,
    engines::Held,
    gather::{Gather, Write},
    hub::Hub,
    integrations::not_found,
};

/// Where a hook's secret is sealed.
pub(crate) const SECRET: &str = "integration_hooks.secret";
/// The path that vendors call, before the integration's id.
pub const PATH: &str = "/api/webhooks/crm";

/// How vendors call us, by integration. Short-lived, and emptied whenever any configuration changes.
pub(crate) type HookCache = Cache<(WorkspaceId, IntegrationId), Option<Arc<SealedHook>>>;

pub(crate) fn new_cache() -> HookCache {
    Cache::builder().max_capacity(10_000).time_to_live(Duration::from_secs(30)).build()
}

/// The gathered write of what CRMs tell.
pub(crate) type CrmInbox = Gather<Record>;

/// Records calls of CRMs.
pub(crate) struct Record {
    hub: Arc<Hub>,
}

impl Write for Record {
    type Item = NewCall;
    type Answer = Outcome;

    const REPEATABLE: bool = true;
    const NAME: &str = "record_crm";

    /// There is one writer, and no dialogue is locked.
    fn dialogue(item: &NewCall) -> DialogueId {
        DialogueId(item.integration.0)
    }

    async fn write(&self, items: &[NewCall], kept: &mut Kept) -> Result<Vec<Outcome>, store::Error> {
        let outcomes = store::crm_hooks::record(kept.connection().await?, items).await?;
        self.hub.tell_work();
        Ok(outcomes)
    }
}

/// Starts the writer.
pub(crate) fn start_inbox(store: &Store, hub: &Arc<Hub>, capacity: usize) -> CrmInbox {
    const WRITERS: usize = 1;
    const MOST: usize = 128;
    Gather::start(store, capacity, WRITERS, MOST, Record { hub: Arc::clone(hub) })
}

/// Who calls, as the path says.
#[derive(Debug)]
pub enum Door {
    /// With an integration and its secret.
    Secret(IntegrationId, SecretString),
    /// Without a secret, and with an integration or none: only where the operator opened this for one integration.
    Open(Option<IntegrationId>),
}

/// A call is not let in, whatever the reason: nobody learns which integrations there are.
pub fn refused() -> Refusal {
    Refusal::new(
        Reason::SignatureInvalid,
        "the address is not, or is no more, one of an integration's: have the vendor call the path that \
         RotateWebhookSecret gave last, for the account that the integration is connected to",
    )
}

impl App {
    /// Takes a call of a CRM. Answers when what it tells is durable. A verified call that can't be understood is kept, and
    /// taken all the same: a vendor that is refused too often calls no more.
    pub async fn receive_crm_hook(&self, door: Door, raw: RawRequest) -> Result<Outcome, Error> {
        let (workspace, id, secret) = match door {
            Door::Secret(id, secret) => {
                let workspace = workspace_of(TokenKind::Hook, &secret).ok_or_else(refused)?;
                (workspace, id, Some(secret))
            }
            Door::Open(named) => {
                let closed = || {
                    Refusal::new(
                        Reason::RouteNotFound,
                        "hooks without a secret are off; use the path that RotateWebhookSecret gives",
                    )
                };
                let id = self.inner.settings.crm_integration.ok_or_else(closed)?;
                if named.is_some_and(|named| named != id) {
                    return Err(closed().into());
                }
                let workspace =
                    store::crm_hooks::resolve(self.store().pool(), id).await?.ok_or_else(closed)?;
                (workspace, id, None)
            }
        };
        let hook = self.hook(workspace, id).await?;
        if let Some(secret) = &secret {
            let fits = |hook: &Arc<SealedHook>| TokenHash::of(secret.expose_secret()).matches(&hook.hash);
            hook.as_ref().filter(|hook| fits(hook)).ok_or_else(refused)?;
        }
        let held = self.held(workspace, id).await?.ok_or_else(refused)?;
        let reader = self.account_hooks(&held.sealed.integration).ok_or_else(refused)?;
        let account = hook.as_ref().and_then(|hook| hook.account.as_deref());
        let kept = match reader.read(&raw.body) {
            Ok(read) if !reader.is_of(&held.sealed.integration.settings, account, &read.account) => {
                metrics::counter!("switchboard_crm_hooks_total", "outcome" => "FOREIGN").increment(1);
                Err(refused().into())
            }
            Ok(read) => self.keep_crm_call(workspace, &held, raw, Ok(read.events), "crm").await,
            // Nothing shows whose it is but the secret.
            Err(error) if secret.is_none() => Err(Refusal::fields(Reason::FieldInvalid, error.fields).into()),
            Err(error) => {
                let reason: Vec<_> =
                    error.fields.iter().map(|bad| format!("{} {}", bad.field, bad.detail)).collect();
                self.keep_crm_call(workspace, &held, raw, Err(reason.join("; ")), "crm").await
            }
        };
        kept.map(|(outcome, _)| outcome)
    }

    pub(crate) fn account_hooks(&self, integration: &Integration) -> Option<Arc<dyn AccountHooks>> {
        self.inner.vendors.get(&integration.vendor).and_then(|vendor| vendor.hooks.clone())
    }

    /// Reads how an integration's vendor calls us, as it is kept.
    pub(crate) async fn hook(
        &self,
        workspace: WorkspaceId,
        id: IntegrationId,
    ) -> Result<Option<Arc<SealedHook>>, Error> {
        if let Some(known) = self.inner.crm_hooks.get(&(workspace, id)) {
            return Ok(known);
        }
        let news = self.inner.hub.configuration();
        let mut tx = self.store().workspace(workspace).await?;
        let hook = store::crm_hooks::find(&mut tx, workspace, id).await?.map(Arc::new);
        store::commit(tx).await?;
        self.inner.crm_hooks.insert((workspace, id), hook.clone());
        // What changed while it was read must not be kept as it was.
        if news.has_changed().unwrap_or(true) {
            self.inner.crm_hooks.invalidate(&(workspace, id));
        }
        Ok(hook)
    }

    /// Records a verified call, with what it tells or why it can't be understood.
    async fn keep_crm_call(
        &self,
        workspace: WorkspaceId,
        held: &Held,
        raw: RawRequest,
        told: Result<Vec<CrmEvent>, String>,
        route: &'static str,
    ) -> Result<(Outcome, InboundWebhookId), Error> {
        let integration = &held.sealed.integration;
        let (call, now) = (self.id::<InboundWebhookId>(), self.now());
        let (told, reason) = match told {
            Ok(told) => (told, None),
            Err(reason) => (Vec::new(), Some(reason)),
        };
        let mut events = Vec::with_capacity(told.len());
        if let Some(reason) = &reason {
            let data = json!({ "reason": reason }).as_object().cloned().unwrap_or_default();
            let (kind, key) = ("webhook.quarantined", format!("quarantined:{call}"));
            events.push(ToldEvent { id: self.id(), kind, subject: call.0, key, lasting: true, data });
        }
        for CrmEvent { mut kind, key, lasting, data, message } in told {
            if let Some(message) = message {
                match self.record_chat_message(workspace, integration, message, &raw).await? {
                    // A message that belongs to a channel is told of as that channel's: one event for one message.
                    Chatted::Recorded => continue,
                    Chatted::Echo => kind = "message.echoed",
                    Chatted::Nobodys => {}
                }
            }
            events.push(ToldEvent { id: self.id(), kind, subject: integration.id.0, key, lasting, data });
        }
        let new = NewCall {
            id: call,
            workspace,
            integration: integration.id,
            route,
            headers: self.kept_headers(&raw),
            raw: raw.body.to_vec(),
            reason,
            events,
            at: now,
        };
        let outcome = self.inner.crm_inbox.offer(new).await?;
        metrics::counter!("switchboard_crm_hooks_total", "outcome" => outcome.as_str()).increment(1);
        Ok((outcome, call))
    }

    /// Records what a customer or a person of the company wrote in the channel that the integration names for the CRM's chats:
    /// its chat is the lead, and a chat of its own until there is one. What we wrote ourselves, or what a chat shows of a
    /// dialogue of ours, comes back this way, too, and is nobody's turn; what the CRM's own programs write is an event.
    async fn record_chat_message(
        &self,
        workspace: WorkspaceId,
        integration: &Integration,
        message: ChatMessage,
        raw: &RawRequest,
    ) -> Result<Chatted, Error> {
        if self.shows_dialogue(workspace, integration, &message).await? {
            return Ok(Chatted::Echo);
        }
        let named = integration.settings.get("chat_channel_id").and_then(|id| id.as_str());
        let Some(channel) = named.and_then(|id| id.parse::<ChannelId>().ok()) else {
            return Ok(Chatted::Nobodys);
        };
        let writer = message.writer;
        let inbound = chat_message(integration, message);
        if writer != Writer::Customer {
            let dialogue = DialogueId::derive(workspace, channel, &inbound.chat);
            let id = inbound.external_id.as_deref().unwrap_or_default();
            let mut tx = self.store().workspace(workspace).await?;
            let said = Some((dialogue, inbound.text.as_str()));
            let ours = store::mirrors::is_ours(&mut tx, workspace, channel, id, said).await?;
            store::commit(tx).await?;
            if ours {
                return Ok(Chatted::Echo);
            }
        }
        if writer == Writer::Program {
            return Ok(Chatted::Nobodys);
        }
        // In the words of `new_message`, so that it is replayed like any other of that channel.
        let raw =
            RawRequest { body: NewMessage::body(channel, &inbound).into(), headers: raw.headers.clone() };
        let accepted = match self.route(workspace, channel).await {
            Ok(route) => self.accept(workspace, &route, inbound, &Verified::vouched(raw), "crm").await,
            Err(error) => Err(error),
        };
        match accepted {
            Ok(_) => Ok(Chatted::Recorded),
            // A channel that is gone or not active, or a message with nothing in it: an event tells of it all the same.
            Err(Error::Refused(refusal)) if refusal.reason.kind() != domain::Kind::Unavailable => {
                tracing::warn!(
                    workspace.id = %workspace, integration.id = %integration.id, channel.id = %channel,
                    error = %refusal, "a message of the CRM's chats could not be recorded in its channel"
                );
                Ok(Chatted::Nobodys)
            }
            Err(error) => Err(error),
        }
    }

    /// Whether a message is of a chat that shows a dialogue of ours: then it was said there already, or is told by the chat's
    /// own channel. What is new in it is which lead the chat has become.
    async fn shows_dialogue(
        &self,
        workspace: WorkspaceId,
        integration: &Integration,
        message: &ChatMessage,
    ) -> Result<bool, Error> {
        let vendor = self.inner.vendors.get(&integration.vendor);
        let mirrors = vendor.is_some_and(|vendor| vendor.mirror.is_some());
        let Some(chat) = message.chat.as_deref().filter(|_| mirrors) else { return Ok(false) };
        let mut tx = self.store().workspace(workspace).await?;
        let shown = store::mirrors::find_shown_anywhere(&mut tx, workspace, chat).await?;
        let crm = CrmReferences {
            integration: Some(integration.id),
            lead_id: message.lead.map(|lead| lead.to_string()),
            contact_id: message.contact.map(|contact| contact.to_string()),
            source_external_id: None,
        };
        if let Some(dialogue) = shown
            && (crm.lead_id.is_some() || crm.contact_id.is_some())
        {
            store::mirrors::link(&mut tx, workspace, dialogue, &crm, self.now()).await?;
        }
        store::commit(tx).await?;
        Ok(shown.is_some())
    }

    /// Reads a call of a CRM again, from after its verification on.
    pub(crate) async fn replay_crm_hook(
        &self,
        workspace: WorkspaceId,
        stored: &InboundWebhook,
    ) -> Result<InboundWebhook, Error> {
        let Some(id) = stored.integration else {
            let refusal = Refusal::not_found(Reason::InboundWebhookNotFound, "inbound webhook", stored.id);
            return Err(refusal.into());
        };
        let held = self.held(workspace, id).await?.ok_or_else(|| not_found(id))?;
        let reader = self.account_hooks(&held.sealed.integration).ok_or_else(|| not_found(id))?;
        let raw = RawRequest { body: stored.body.clone().into(), ..RawRequest::default() };
        let read =
            reader.read(&raw.body).map_err(|error| Refusal::fields(Reason::FieldInvalid, error.fields))?;
        let (_, call) = self.keep_crm_call(workspace, &held, raw, Ok(read.events), "replay").await?;
        self.find_inbound_webhook(workspace, call).await
    }

    /// Gives an integration a fresh secret for its vendor's calls; the one before is worth nothing from now on. Gives it with
    /// the path that carries it.
    pub async fn rotate_webhook_secret(
        &self,
        caller: &Caller,
        id: IntegrationId,
    ) -> Result<(Integration, SecretString), Error> {
        let workspace = caller.require(Service::Integrations, Level::Admin)?;
        let (mut tx, sealed) = self.lock_integration(workspace, id).await?;
        if self.account_hooks(&sealed.integration).is_none() {
            let detail = format!("{} makes no calls of this kind", sealed.integration.vendor);
            return Err(Refusal::new(Reason::CapabilityMissing, detail).into());
        }
        let new = token::issue(TokenKind::Hook, workspace);
        let secret = self.inner.sealer.seal(workspace, id.0, SECRET, &new.secret)?;
        let kept = NewSecret { hash: new.hash, sealed: &secret, suffix: &new.suffix };
        store::crm_hooks::rotate(&mut tx, workspace, id, &kept, self.now()).await?;
        self.tell(&mut tx, workspace, "integration.updated", id.0).await?;
        store::commit(tx).await?;
        self.forget();
        self.inner.hub.tell_work();
        let integration = self.get_integration_of(workspace, id).await?;
        Ok((integration, format!("{PATH}/{id}/{}", new.secret.expose_secret()).into()))
    }
}

/// What came of a message of the CRM's chats.
enum Chatted {
    /// It is a channel's now.
    Recorded,
    /// We wrote it, or it is shown there.
    Echo,
    /// An event tells of it.
    Nobodys,
}

/// A message of the CRM's chats, as one of a channel's.
fn chat_message(integration: &Integration, message: ChatMessage) -> InboundMessage {
    let ChatMessage { id, text, parts, chat, talk, lead, contact, author, origin, sent_at, writer } = message;
    let lead = lead.map(|lead| lead.to_string());
    let mut metadata = serde_json::Map::new();
    for (name, value) in [
        ("origin", origin.map(Into::into)),
        ("crm_message_id", Some(id.clone().into())),
        ("crm_chat_id", chat.clone().map(Into::into)),
        ("talk_id", talk.map(Into::into)),
        ("lead_id", lead.clone().map(Into::into)),
        ("crm_time", sent_at.map(|at| at.unix_timestamp().into())),
    ] {
        metadata.extend(value.map(|value| (name.to_owned(), value)));
    }
    let contact = contact.map(|contact| contact.to_string());
    InboundMessage {
        // As what is imported has it: history goes on in one dialogue.
        chat: match (&lead, chat) {
            (Some(lead), _) => format!("lead:{lead}"),
            (None, chat) => chat.map(|chat| format!("chat:{chat}")).unwrap_or_default(),
        },
        external_id: Some(id),
        text,
        parts,
        sender: if writer == Writer::Customer { Sender::Customer } else { Sender::Employee },
        contact: contact.clone().map(|external_id| NewContact {
            identities: vec![Identity {
                vendor: integration.vendor.clone(),
                integration: Some(integration.id),
                external_id,
            }],
            // Of what goes out it is the person's who wrote it.
            name: author.filter(|_| writer == Writer::Customer),
            ..NewContact::default()
        }),
        references: CrmReferences {
            integration: Some(integration.id),
            lead_id: lead,
            contact_id: contact,
            source_external_id: None,
        },
        metadata,
        sent_at,
    }
}
