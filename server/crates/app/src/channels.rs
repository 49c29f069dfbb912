//! Channels.

use domain::{
    AgentId, ChannelId, DialogueId, Error as Refusal, Reason, WorkspaceId,
    channel::{Channel, GENERIC_HTTP},
    dialogue::Message,
    error::Violations,
    policy::{DeliveryPolicy, Uncertain},
    token::{self, TokenKind},
    vendor::Resend,
    workspace::{Level, Service},
};
use secrecy::SecretString;
use serde::Serialize;
pub use store::channels::Filter;
use store::channels::SealedChannel;

use crate::{App, Caller, Error, Page, PageRequest, agents, requests::check_name};

/// Where a channel's token is sealed.
pub(crate) const TOKEN: &str = "channels.token";
/// Where a channel's signing secret is sealed.
pub(crate) const SIGNING_SECRET: &str = "channels.signing_secret";

/// A channel to make.
#[derive(Debug, Clone, Serialize)]
pub struct NewChannel {
    /// A name for people.
    pub display_name: String,
    /// Who answers here. `None` is refused, with all else that is wrong.
    pub agent: Option<AgentId>,
    /// The vendor; empty: `generic_http`.
    pub vendor: String,
    /// Where replies are posted.
    pub url: String,
    /// What its guard, governor and uncertain deliveries go by.
    pub delivery_policy: DeliveryPolicy,
    /// Whether it accepts messages.
    pub active: bool,
}

/// What to change of a channel; `None` stays.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "named like the channel's fields")]
pub struct ChannelPatch {
    pub display_name: Option<String>,
    pub agent: Option<AgentId>,
    pub url: Option<String>,
    pub delivery_policy: Option<DeliveryPolicy>,
    pub active: Option<bool>,
}

/// A channel with its secrets in the clear, as its creator sees it.
#[derive(Debug)]
pub struct OpenChannel {
    /// The channel.
    pub channel: Channel,
    /// The token that our deliveries carry.
    pub token: SecretString,
    /// The Standard Webhooks secret.
    pub signing_secret: SecretString,
}

pub(crate) fn not_found(id: ChannelId) -> Refusal {
    Refusal::not_found(Reason::ChannelNotFound, "channel", id)
}

/// The database evaluates quiet hours, so it is asked whether it knows their time zone.
async fn check_time_zone(tx: &mut store::Tx, policy: &DeliveryPolicy) -> Result<(), Error> {
    let Some(hours) = &policy.quiet_hours else { return Ok(()) };
    if store::channels::knows_time_zone(tx, &hours.time_zone).await? {
        return Ok(());
    }
    let field = "channel.delivery_policy.quiet_hours.time_zone";
    Err(Refusal::field(Reason::FieldInvalid, field, "must be an IANA name such as Europe/Berlin").into())
}

impl App {
    /// Names all that is wrong with a channel; gives its agent.
    async fn check_channel(
        &self,
        name: &str,
        agent: Option<AgentId>,
        vendor: &str,
        url: &str,
        policy: &mut DeliveryPolicy,
    ) -> Result<AgentId, Refusal> {
        let mut violations = Violations::default();
        violations.require(agent.is_some(), "channel.agent_id", "is required: the UUID of an agent");
        check_name(&mut violations, "channel.display_name", name);
        let sender = self.inner.vendors.get(vendor).and_then(|vendor| vendor.sender.as_ref());
        if sender.is_none() {
            violations.add("channel.vendor", format!("must be {GENERIC_HTTP}"));
        }
        violations.require(
            !url.is_empty() && url.len() <= 2_048 && !url.contains('\0'),
            "channel.url",
            "is required: an absolute http or https URL of up to 2,048 characters",
        );
        policy.check(&mut violations, "channel.delivery_policy");
        let agent = violations.finish_with(agent)?;
        if let Some(sender) = sender {
            policy.uncertain.get_or_insert(match sender.resend() {
                Resend::ByOurId => Uncertain::Resend,
                Resend::ByLookup | Resend::Unknown => Uncertain::Hold,
            });
            let checked = sender.check_target(url).await;
            checked.map_err(|(reason, detail)| Refusal::field(reason, "channel.url", detail))?;
        }
        Ok(agent)
    }

    /// Creates a channel and gives its secrets.
    pub async fn create_channel(
        &self,
        caller: &Caller,
        mut new: NewChannel,
        request_id: &str,
    ) -> Result<OpenChannel, Error> {
        let workspace = caller.require(Service::Channels, Level::Write)?;
        if new.vendor.is_empty() {
            GENERIC_HTTP.clone_into(&mut new.vendor);
        }
        let agent = self
            .check_channel(&new.display_name, new.agent, &new.vendor, &new.url, &mut new.delivery_policy)
            .await?;
        let id: ChannelId = self.id();
        let mut tx = self.store().workspace(workspace).await?;
        check_time_zone(&mut tx, &new.delivery_policy).await?;
        let first: Option<ChannelId> =
            self.once(&mut tx, workspace, request_id, "CreateChannel", &new, id.0).await?;
        if let Some(first) = first {
            let sealed = store::channels::find(&mut tx, workspace, first, false).await?;
            return self.unseal(workspace, sealed.ok_or_else(|| not_found(first))?);
        }
        // Locked, so that the agent can't be deleted meanwhile.
        store::agents::find(&mut tx, workspace, agent, true)
            .await?
            .ok_or_else(|| agents::not_found(agent))?;
        let token = token::issue(TokenKind::Channel, workspace);
        let signing_secret = token::issue_signing_secret();
        let now = self.now();
        let sealed = SealedChannel {
            channel: Channel {
                id,
                display_name: new.display_name,
                agent,
                vendor: new.vendor,
                url: new.url,
                delivery_policy: new.delivery_policy,
                active: new.active,
                token_suffix: token.suffix,
                created_at: now,
                updated_at: now,
            },
            token: self.inner.sealer.seal(workspace, id.0, TOKEN, &token.secret)?,
            signing_secret: self.inner.sealer.seal(workspace, id.0, SIGNING_SECRET, &signing_secret)?,
        };
        store::channels::insert(&mut tx, workspace, &sealed).await?;
        self.tell(&mut tx, workspace, "channel.created", id.0).await?;
        store::commit(tx).await?;
        Ok(OpenChannel { channel: sealed.channel, token: token.secret, signing_secret })
    }

    fn unseal(&self, workspace: WorkspaceId, sealed: SealedChannel) -> Result<OpenChannel, Error> {
        let id = sealed.channel.id.0;
        Ok(OpenChannel {
            token: self.inner.sealer.open(workspace, id, TOKEN, &sealed.token)?,
            signing_secret: self.inner.sealer.open(workspace, id, SIGNING_SECRET, &sealed.signing_secret)?,
            channel: sealed.channel,
        })
    }

    /// Reads a channel.
    pub async fn get_channel(&self, caller: &Caller, id: ChannelId) -> Result<Channel, Error> {
        let workspace = caller.require(Service::Channels, Level::Read)?;
        let mut tx = self.store().workspace(workspace).await?;
        let sealed = store::channels::find(&mut tx, workspace, id, false).await?;
        store::commit(tx).await?;
        Ok(sealed.ok_or_else(|| not_found(id))?.channel)
    }

    /// Lists channels, oldest first.
    pub async fn list_channels(
        &self,
        caller: &Caller,
        filter: &Filter,
        page: &PageRequest,
    ) -> Result<Page<Channel>, Error> {
        let workspace = caller.require(Service::Channels, Level::Read)?;
        let limit = page.limit()?;
        let token = ("channels", filter);
        let after = page.after(&token)?;
        let mut tx = self.store().workspace(workspace).await?;
        let items = store::channels::list(&mut tx, workspace, filter, after, limit + 1).await?;
        store::commit(tx).await?;
        Ok(Page::cut(items, limit, &token, |channel| channel.id))
    }

    /// Changes a channel.
    pub async fn update_channel(
        &self,
        caller: &Caller,
        id: ChannelId,
        patch: ChannelPatch,
    ) -> Result<Channel, Error> {
        let workspace = caller.require(Service::Channels, Level::Write)?;
        let (mut tx, mut sealed) = self.lock_channel(workspace, id).await?;
        let channel = &mut sealed.channel;
        if let Some(agent) = patch.agent {
            store::agents::find(&mut tx, workspace, agent, true)
                .await?
                .ok_or_else(|| agents::not_found(agent))?;
            channel.agent = agent;
        }
        if let Some(name) = patch.display_name {
            channel.display_name = name;
        }
        if let Some(url) = patch.url {
            channel.url = url;
        }
        if let Some(active) = patch.active {
            channel.active = active;
        }
        if let Some(policy) = patch.delivery_policy {
            if policy.max_per_second != channel.delivery_policy.max_per_second {
                store::channels::reset_governor(&mut tx, workspace, id, self.now()).await?;
            }
            channel.delivery_policy = policy;
            check_time_zone(&mut tx, &channel.delivery_policy).await?;
        }
        self.check_channel(
            &channel.display_name,
            Some(channel.agent),
            &channel.vendor,
            &channel.url,
            &mut channel.delivery_policy,
        )
        .await?;
        self.save_channel(tx, workspace, sealed).await
    }

    async fn lock_channel(
        &self,
        workspace: WorkspaceId,
        id: ChannelId,
    ) -> Result<(store::Tx, SealedChannel), Error> {
        let mut tx = self.store().workspace(workspace).await?;
        let sealed =
            store::channels::find(&mut tx, workspace, id, true).await?.ok_or_else(|| not_found(id))?;
        Ok((tx, sealed))
    }

    async fn save_channel(
        &self,
        mut tx: store::Tx,
        workspace: WorkspaceId,
        mut sealed: SealedChannel,
    ) -> Result<Channel, Error> {
        sealed.channel.updated_at = self.now();
        store::channels::update(&mut tx, workspace, &sealed).await?;
        self.tell(&mut tx, workspace, "channel.updated", sealed.channel.id.0).await?;
        store::commit(tx).await?;
        self.forget();
        Ok(sealed.channel)
    }

    /// Deletes a channel. Its dialogues stay readable.
    pub async fn delete_channel(&self, caller: &Caller, id: ChannelId) -> Result<(), Error> {
        let workspace = caller.require(Service::Channels, Level::Write)?;
        let mut tx = self.store().workspace(workspace).await?;
        if !store::channels::delete(&mut tx, workspace, id, self.now()).await? {
            return Err(not_found(id).into());
        }
        self.tell(&mut tx, workspace, "channel.deleted", id.0).await?;
        store::commit(tx).await?;
        self.forget();
        Ok(())
    }

    /// Replaces a channel's token and gives the new one.
    pub async fn rotate_channel_token(
        &self,
        caller: &Caller,
        id: ChannelId,
    ) -> Result<(Channel, SecretString), Error> {
        let workspace = caller.require(Service::Channels, Level::Admin)?;
        let (tx, mut sealed) = self.lock_channel(workspace, id).await?;
        let token = token::issue(TokenKind::Channel, workspace);
        sealed.token = self.inner.sealer.seal(workspace, id.0, TOKEN, &token.secret)?;
        sealed.channel.token_suffix = token.suffix;
        Ok((self.save_channel(tx, workspace, sealed).await?, token.secret))
    }

    /// Replaces a channel's signing secret and gives the new one.
    pub async fn rotate_channel_signing_secret(
        &self,
        caller: &Caller,
        id: ChannelId,
    ) -> Result<(Channel, SecretString), Error> {
        let workspace = caller.require(Service::Channels, Level::Admin)?;
        let (tx, mut sealed) = self.lock_channel(workspace, id).await?;
        let secret = token::issue_signing_secret();
        sealed.signing_secret = self.inner.sealer.seal(workspace, id.0, SIGNING_SECRET, &secret)?;
        Ok((self.save_channel(tx, workspace, sealed).await?, secret))
    }

    /// Reads the messages of the channel's own dialogue, oldest first.
    pub async fn get_channel_dialogue(
        &self,
        caller: &Caller,
        id: ChannelId,
        page: &PageRequest,
    ) -> Result<Page<Message>, Error> {
        let workspace = caller.require(Service::Dialogues, Level::Read)?;
        let mut tx = self.store().workspace(workspace).await?;
        store::channels::find(&mut tx, workspace, id, false).await?.ok_or_else(|| not_found(id))?;
        let dialogue = DialogueId::derive(workspace, id, "");
        self.page_of_messages(tx, workspace, dialogue, page).await
    }
}
