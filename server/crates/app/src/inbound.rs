//! Receiving: one path for all doors. Verify, normalise, record; the answer comes after the commit.

use std::{sync::Arc, time::Duration};

use domain::{
    AgentId, ChannelId, DialogueId, Error as Refusal, InboundWebhookId, IntegrationId, MessageId, Reason,
    WorkspaceId,
    channel::Channel,
    contact::{CrmReferences, NewContact},
    dialogue::{MAX_EXTERNAL_ID_CHARS, MAX_TEXT_BYTES, Role},
    error::Violations,
    inbound::{InboundMessage, InboundWebhook, Outcome, RawRequest, Sender, Verified},
    part::Part,
    policy::{NewerMessage, ReplyPolicy, Takeover},
    token::{TokenHash, TokenKind, workspace_of},
    workspace::{Level, Service},
};
use moka::sync::Cache;
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};
pub use store::inbound_webhooks::Filter;
use store::{
    Kept, Store,
    channels::SealedChannel,
    record::{Link, LinkedContact, NewRecord, Recorded, Takes},
};

use crate::{
    App, Caller, Error, Page, PageRequest,
    caller::bearer,
    channels,
    gather::{Gather, Write},
    hub::Hub,
};

/// The gathered write of inbound messages.
pub(crate) type Inbox = Gather<Record>;

/// Records inbound messages.
pub(crate) struct Record {
    hub: Arc<Hub>,
}

impl Write for Record {
    type Item = NewRecord;
    type Answer = Recorded;

    const REPEATABLE: bool = true;
    const FLUSHED_APART: bool = true;
    const NAME: &str = "record";

    fn dialogue(item: &NewRecord) -> DialogueId {
        item.dialogue
    }

    async fn write(&self, items: &[NewRecord], kept: &mut Kept) -> Result<Vec<Recorded>, store::Error> {
        let recorded = record_all(kept, items).await?;
        self.hub.tell_work();
        for (item, recorded) in items.iter().zip(&recorded) {
            let takes = item.takes.is_some() && recorded.outcome == Outcome::Recorded;
            if recorded.extended && item.disturbs || takes {
                self.hub.disturb(item.workspace, item.dialogue);
            }
        }
        Ok(recorded)
    }
}

/// Where messages go: a channel, and when its agent answers.
pub(crate) struct Route {
    pub(crate) sealed: SealedChannel,
    pub(crate) policy: ReplyPolicy,
}

/// Where messages go, by channel, and whose the agents' tokens are. Short-lived, and emptied whenever any configuration
/// changes.
pub(crate) struct RouteCache {
    channels: Cache<(WorkspaceId, ChannelId), Arc<Route>>,
    agents: Cache<[u8; 32], (WorkspaceId, AgentId)>,
}

impl RouteCache {
    pub(crate) fn new() -> Self {
        let life = Duration::from_secs(30);
        Self {
            channels: Cache::builder().max_capacity(100_000).time_to_live(life).build(),
            agents: Cache::builder().max_capacity(100_000).time_to_live(life).build(),
        }
    }

    pub(crate) fn forget(&self) {
        self.channels.invalidate_all();
        self.agents.invalidate_all();
    }
}

/// The answer to an accepted message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// RECORDED, DUPLICATE or CONFLICT.
    pub outcome: Outcome,
    /// The message; the first one's for repeats and conflicts.
    pub message: MessageId,
    /// Its dialogue.
    pub dialogue: DialogueId,
    /// The id that identifies it from now on.
    pub external_id: String,
    /// The record of the call.
    pub webhook: InboundWebhookId,
}

impl Accepted {
    /// Turns a conflict into the error that doors give which may.
    pub fn refuse_conflict(self) -> Result<Self, Refusal> {
        if self.outcome == Outcome::Conflict {
            return Err(Refusal::field(
                Reason::MessageConflict,
                "message_id",
                "is known with another content; use a fresh id for a new message",
            ));
        }
        Ok(self)
    }
}

/// Starts the writers of the inbox.
pub(crate) fn start_inbox(store: &Store, hub: &Arc<Hub>, capacity: usize) -> Inbox {
    const WRITERS: usize = 1;
    const MOST: usize = 256;
    Gather::start(store, capacity, WRITERS, MOST, Record { hub: Arc::clone(hub) })
}

/// Records a batch in which the same key may come twice: those go in a later statement, where they find the first.
async fn record_all(kept: &mut Kept, items: &[NewRecord]) -> Result<Vec<Recorded>, store::Error> {
    const ROUNDS: u32 = 40;
    let mut answers: Vec<Option<Recorded>> = vec![None; items.len()];
    for round in 0..ROUNDS {
        let mut keys = std::collections::HashSet::new();
        let now: Vec<usize> = (0..items.len())
            .filter(|&at| {
                let item = &items[at];
                answers[at].is_none() && keys.insert((item.workspace, item.channel, item.dedup_key.as_str()))
            })
            .collect();
        if now.is_empty() {
            break;
        }
        let batch: Vec<&NewRecord> = now.iter().map(|&at| &items[at]).collect();
        let mut progress = false;
        for (at, answer) in
            now.into_iter().zip(store::record::record(kept.connection().await?, &batch).await?)
        {
            // A repeat of the very same message is our own write, whose answer was lost with the connection.
            answers[at] = answer.map(|answer| match answer.outcome {
                Outcome::Duplicate if answer.message == items[at].message => {
                    Recorded { outcome: Outcome::Recorded, ..answer }
                }
                _ => answer,
            });
            progress |= answers[at].is_some();
        }
        if !progress {
            // Another process is committing the same keys this moment.
            tokio::time::sleep(Duration::from_millis(u64::from(5 * (round + 1)))).await;
        }
    }
    answers.into_iter().collect::<Option<Vec<_>>>().ok_or(store::Error::Contended)
}

/// Whether a person's message takes control. Who writes at a vendor talks to the customer there; what comes by the doors for
/// programs is a record of what was said elsewhere.
fn takes(policy: Takeover, door: &str, channel: &Channel) -> bool {
    match policy {
        Takeover::TakeControl => true,
        Takeover::RecordOnly => false,
        Takeover::ByDoor => door == "crm" || door == "hooks" && channel.integration.is_some(),
    }
}

/// What makes a repeat of a message known. The length keeps chat and id apart, whatever they hold.
pub(crate) fn dedup_key(chat: &str, external_id: &str) -> String {
    format!("{}:{chat}{external_id}", chat.len())
}

/// What tells a repeat from a conflict.
pub(crate) fn digest(role: Role, text: &str, parts: &[Part]) -> [u8; 32] {
    let mut digest = Sha256::new();
    digest.update(role.as_str());
    digest.update([0]);
    digest.update(text);
    for part in parts {
        digest.update([0]);
        digest.update(part.kind.as_str());
        digest.update(&part.url);
    }
    digest.finalize().into()
}

/// Names all that is wrong with a message.
pub(crate) fn check(message: &InboundMessage) -> Result<(), Refusal> {
    let InboundMessage { chat, external_id, text, parts, contact, references, metadata, .. } = message;
    let mut violations = Violations::default();
    violations.require(
        (!text.is_empty() || !parts.is_empty()) && text.len() <= MAX_TEXT_BYTES && !text.contains('\0'),
        "text",
        "is required: 1 to 65,536 bytes, without U+0000",
    );
    for bad in domain::part::check(parts) {
        violations.add(bad.field, bad.detail);
    }
    let short = |text: &str| text.chars().count() <= MAX_EXTERNAL_ID_CHARS && !text.contains('\0');
    violations.require(short(chat), "chat", "may have up to 256 characters, without U+0000");
    violations.require(
        external_id.as_deref().is_none_or(short),
        "message_id",
        "may have up to 256 characters, without U+0000",
    );
    if let Some(contact) = contact {
        contact.check(&mut violations, "contact");
    }
    references.check(&mut violations, "crm");
    domain::import::check_metadata(&mut violations, metadata);
    violations.finish()
}

/// The integrations that are named in what is told of a dialogue.
pub(crate) fn integrations_of(
    contact: Option<&NewContact>,
    references: &CrmReferences,
) -> Vec<IntegrationId> {
    let identities = contact.iter().flat_map(|contact| &contact.identities);
    identities.filter_map(|identity| identity.integration).chain(references.integration).collect()
}

impl App {
    /// Finds the agent that bears this value of the token header, for `new_message` and hooks without a signature.
    ///
    /// # Errors
    /// `AUTH_MISSING`, `AUTH_MALFORMED`, `TOKEN_UNKNOWN`.
    pub async fn authenticate_agent(&self, header: Option<&str>) -> Result<(WorkspaceId, AgentId), Error> {
        let name = &self.inner.settings.inbound_token_header;
        let header = header.ok_or_else(|| {
            Refusal::new(Reason::AuthMissing, format!("{name} header is required: Bearer <token>"))
        })?;
        let token = bearer(header)?;
        let unknown = || {
            Refusal::new(
                Reason::TokenUnknown,
                "the token was not found; check it, or rotate it and use the new one",
            )
        };
        let workspace = workspace_of(TokenKind::Agent, &token).ok_or_else(unknown)?;
        let hash = TokenHash::of(token.expose_secret());
        if let Some(known) = self.inner.routes.agents.get(&hash.0) {
            return Ok(known);
        }
        let mut tx = self.store().workspace(workspace).await?;
        let agent = store::agents::find_by_token(&mut tx, workspace, hash).await?;
        store::commit(tx).await?;
        let known = (workspace, agent.ok_or_else(unknown)?);
        self.inner.routes.agents.insert(hash.0, known);
        Ok(known)
    }

    pub(crate) async fn route(&self, workspace: WorkspaceId, id: ChannelId) -> Result<Arc<Route>, Error> {
        if let Some(known) = self.inner.routes.channels.get(&(workspace, id)) {
            return Ok(known);
        }
        let mut tx = self.store().workspace(workspace).await?;
        let sealed = store::channels::find(&mut tx, workspace, id, false)
            .await?
            .ok_or_else(|| channels::not_found(id))?;
        let agent = store::agents::find(&mut tx, workspace, sealed.channel.agent, false).await?;
        store::commit(tx).await?;
        // An agent that a channel names can't be deleted.
        let policy = agent.map(|agent| agent.reply_policy).unwrap_or_default();
        let route = Arc::new(Route { sealed, policy });
        self.inner.routes.channels.insert((workspace, id), Arc::clone(&route));
        Ok(route)
    }

    /// Accepts a message from an API key: the gRPC door. Answers after the commit.
    pub async fn receive_message(
        &self,
        caller: &Caller,
        channel: ChannelId,
        message: InboundMessage,
        raw: RawRequest,
    ) -> Result<Accepted, Error> {
        let workspace = caller.require(Service::Webhooks, Level::Write)?;
        let channel = self.route(workspace, channel).await?;
        for integration in integrations_of(message.contact.as_ref(), &message.references) {
            self.get_integration_of(workspace, integration).await?;
        }
        self.accept(workspace, &channel, message, &Verified::vouched(raw), "grpc").await
    }

    /// Accepts a message from the bearer of an agent's token: the REST door `new_message`. Answers after the commit.
    pub async fn new_message(
        &self,
        (workspace, agent): (WorkspaceId, AgentId),
        channel: ChannelId,
        message: InboundMessage,
        raw: RawRequest,
    ) -> Result<Accepted, Error> {
        let route = self.route(workspace, channel).await?;
        if route.sealed.channel.agent != agent {
            return Err(channels::not_found(channel).into());
        }
        self.accept(workspace, &route, message, &Verified::vouched(raw), "new_message").await
    }

    pub(crate) fn kept_headers(&self, raw: &RawRequest) -> std::collections::BTreeMap<String, String> {
        raw.stored_headers(std::slice::from_ref(&self.inner.settings.inbound_token_header))
    }

    pub(crate) async fn accept(
        &self,
        workspace: WorkspaceId,
        route: &Route,
        message: InboundMessage,
        raw: &Verified<RawRequest>,
        door: &'static str,
    ) -> Result<Accepted, Error> {
        let channel = &route.sealed.channel;
        let policy = &route.policy;
        check(&message)?;
        let InboundMessage {
            chat,
            external_id,
            text,
            parts,
            sender,
            contact,
            mut references,
            mut metadata,
            sent_at,
        } = message;
        if !channel.active {
            return Err(Refusal::new(
                Reason::ChannelInactive,
                format!("channel {} is not active; activate it first", channel.id),
            )
            .into());
        }
        self.carry_source(workspace, channel.integration, &mut references, &mut metadata).await;
        let now = self.now();
        let id: MessageId = self.id();
        // Without the sender's id there is no telling a repeat; the key is ours then, and no promise is made.
        let external_id =
            external_id.filter(|id| !id.is_empty()).unwrap_or_else(|| uuid::Uuid::from(id).to_string());
        let role = match sender {
            Sender::Customer => Role::User,
            Sender::Employee => Role::Employee,
        };
        let webhook: InboundWebhookId = self.id();
        let record = NewRecord {
            workspace,
            channel: channel.id,
            agent: channel.agent,
            dialogue: DialogueId::derive(workspace, channel.id, &chat),
            dedup_key: dedup_key(&chat, &external_id),
            chat,
            digest: digest(role, &text, &parts),
            message: id,
            external_id: external_id.clone(),
            role,
            text,
            parts,
            turn: self.id(),
            job: self.id(),
            event: self.id(),
            event_created: self.id(),
            webhook,
            route: door,
            headers: self.kept_headers(raw.get()),
            raw: raw.get().body.to_vec(),
            at: now,
            window: policy.window(now).filter(|_| role == Role::User),
            takes: (role == Role::Employee && takes(policy.takeover, door, channel))
                .then(|| Takes { returns_at: policy.returns_at(now) }),
            disturbs: policy.newer_message == NewerMessage::Restart,
            link: (contact.is_some() || !references.is_empty()).then(|| Link {
                contact: contact.map(|told| LinkedContact { id: self.id(), told }),
                crm: references,
            }),
            metadata,
            sent_at,
        };
        let recorded = self.inner.inbox.offer(record).await?;
        metrics::counter!("switchboard_inbound_messages_total", "outcome" => recorded.outcome.as_str())
            .increment(1);
        Ok(Accepted {
            workspace,
            outcome: recorded.outcome,
            message: recorded.message,
            dialogue: recorded.dialogue,
            external_id,
            webhook,
        })
    }

    /// Lists inbound webhooks, newest first.
    pub async fn list_inbound_webhooks(
        &self,
        caller: &Caller,
        filter: &Filter,
        page: &PageRequest,
    ) -> Result<Page<InboundWebhook>, Error> {
        let workspace = caller.require(Service::Webhooks, Level::Read)?;
        let limit = page.limit()?;
        let token = ("inbound_webhooks", filter);
        let before = page.after(&token)?;
        let mut tx = self.store().workspace(workspace).await?;
        let items = store::inbound_webhooks::list(&mut tx, workspace, filter, before, limit + 1).await?;
        store::commit(tx).await?;
        Ok(Page::cut(items, limit, &token, |webhook| webhook.id))
    }

    /// Reads an inbound webhook.
    pub async fn get_inbound_webhook(
        &self,
        caller: &Caller,
        id: InboundWebhookId,
    ) -> Result<InboundWebhook, Error> {
        let workspace = caller.require(Service::Webhooks, Level::Read)?;
        self.find_inbound_webhook(workspace, id).await
    }

    pub(crate) async fn find_inbound_webhook(
        &self,
        workspace: WorkspaceId,
        id: InboundWebhookId,
    ) -> Result<InboundWebhook, Error> {
        let mut tx = self.store().workspace(workspace).await?;
        let webhook = store::inbound_webhooks::find(&mut tx, workspace, id).await?;
        store::commit(tx).await?;
        Ok(webhook
            .ok_or_else(|| Refusal::not_found(Reason::InboundWebhookNotFound, "inbound webhook", id))?)
    }

    /// Processes a stored call again, from after its verification on. Gives the record of the replay.
    pub async fn replay_inbound_webhook(
        &self,
        caller: &Caller,
        id: InboundWebhookId,
    ) -> Result<InboundWebhook, Error> {
        let workspace = caller.require(Service::Webhooks, Level::Write)?;
        let stored = self.find_inbound_webhook(workspace, id).await?;
        let Some(channel) = stored.channel else { return self.replay_crm_hook(workspace, &stored).await };
        let route = self.route(workspace, channel).await?;
        let raw = RawRequest { headers: http::HeaderMap::new(), body: stored.body.clone().into() };
        let verified = Verified::vouched(raw);
        let taken = self.take_hook(workspace, &route, &verified, "replay", Some(&stored)).await?;
        self.find_inbound_webhook(workspace, taken.webhook).await
    }
}
