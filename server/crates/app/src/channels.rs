//! Channels.

use domain::{
    AgentId, ChannelId, DialogueId, Error as Refusal, IntegrationId, Reason, WorkspaceId,
    channel::{Channel, GENERIC_HTTP, Mirror},
    channel_kind::{Connected, HookProof},
    connection::{CheckOutcome, CheckStep},
    dialogue::Message,
    error::Violations,
    integration::MAX_SETTINGS_BYTES,
    mirror::is_source,
    policy::{DeliveryPolicy, Uncertain},
    token::{self, TokenKind},
    vendor::{Resend, Vendor},
    workspace::{Level, Service},
};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde_json::Value;
pub use store::channels::Filter;
use store::{
    channels::{HookSecret, SealedChannel},
    integrations::Keep,
};

use crate::{App, Caller, Error, Page, PageRequest, agents, integrations, requests::check_name};

/// Where a channel's token is sealed.
pub(crate) const TOKEN: &str = "channels.token";
/// Where a channel's signing secret is sealed.
pub(crate) const SIGNING_SECRET: &str = "channels.signing_secret";

/// Where the secret in a channel's path is sealed.
pub(crate) const HOOK_SECRET: &str = "channels.hook_secret";

/// A channel to make.
#[derive(Debug, Clone, Serialize)]
pub struct NewChannel {
    /// A name for people.
    pub display_name: String,
    /// Who answers here. `None` is refused, with all else that is wrong.
    pub agent: Option<AgentId>,
    /// The vendor; empty: `generic_http`.
    pub vendor: String,
    /// Where replies are posted, for vendors that post to a URL.
    pub url: String,
    /// The integration, for vendors that are reached over one.
    pub integration: Option<IntegrationId>,
    /// The vendor's own settings.
    pub settings: Value,
    /// What its guard, governor and uncertain deliveries go by.
    pub delivery_policy: DeliveryPolicy,
    /// Where its dialogues are shown beside.
    pub mirror: Option<Mirror>,
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
    pub integration: Option<Option<IntegrationId>>,
    pub settings: Option<Value>,
    pub delivery_policy: Option<DeliveryPolicy>,
    pub mirror: Option<Option<Mirror>>,
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
    /// The secret in the path that the vendor calls. `None`: the vendor signs its calls.
    pub hook_secret: Option<SecretString>,
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

/// Names what is wrong with where a channel leads: a URL, or an integration with the vendor's own settings.
fn check_way(violations: &mut Violations, vendor: &Vendor, channel: &Channel) {
    let Some(kind) = &vendor.channel else {
        violations.require(
            !channel.url.is_empty() && channel.url.len() <= 2_048 && !channel.url.contains('\0'),
            "channel.url",
            "is required: an absolute http or https URL of up to 2,048 characters",
        );
        let none = channel.integration.is_none();
        violations.require(none, "channel.integration_id", "is not for this vendor: it posts to `url`");
        let members = channel.settings.as_object().into_iter().flatten();
        for (name, _) in members {
            let detail = "is not known here: there is nothing to set";
            violations.add(format!("channel.settings.{name}"), detail);
        }
        return;
    };
    let without = "is not for this vendor: it is reached over an integration";
    violations.require(channel.url.is_empty(), "channel.url", without);
    let detail = format!("is required: an integration with {}", vendor.id);
    violations.require(channel.integration.is_some(), "channel.integration_id", &detail);
    let text = channel.settings.to_string();
    violations.require(
        text.len() <= MAX_SETTINGS_BYTES && !text.contains("\\u0000"),
        "channel.settings",
        "may have up to 65,536 bytes of JSON, without U+0000",
    );
    for bad in kind.check_settings(&channel.settings).err().unwrap_or_default() {
        violations.add(format!("channel.{}", bad.field), bad.detail);
    }
}

impl App {
    /// Names all that is wrong with a channel.
    async fn check_channel(&self, agent: Option<AgentId>, channel: &mut Channel) -> Result<AgentId, Refusal> {
        let mut violations = Violations::default();
        violations.require(agent.is_some(), "channel.agent_id", "is required: the UUID of an agent");
        check_name(&mut violations, "channel.display_name", &channel.display_name);
        let vendor = self.inner.vendors.get(&channel.vendor).filter(|vendor| vendor.sender.is_some());
        if let Some(vendor) = vendor {
            check_way(&mut violations, vendor, channel);
        } else {
            let senders = self.inner.vendors.iter().filter(|vendor| vendor.sender.is_some());
            let known: Vec<_> = senders.map(|vendor| vendor.id).collect();
            violations.add("channel.vendor", format!("must be one of {}", known.join(", ")));
        }
        channel.delivery_policy.check(&mut violations, "channel.delivery_policy");
        if let Some(mirror) = &channel.mirror {
            violations.require(
                mirror.source.is_empty() || is_source(&mirror.source),
                "channel.mirror.source_external_id",
                "must have up to 40 printable ASCII characters",
            );
            let own = mirror.channel == channel.id;
            violations.require(!own, "channel.mirror.channel_id", "must be another channel");
        }
        let agent = violations.finish_with(agent)?;
        if let Some(vendor) = vendor
            && let Some(sender) = &vendor.sender
        {
            channel.delivery_policy.uncertain.get_or_insert(match sender.resend(&channel.settings) {
                Resend::ByOurId => Uncertain::Resend,
                Resend::ByLookup | Resend::Unknown => Uncertain::Hold,
            });
            if vendor.channel.is_none() {
                let checked = sender.check_target(&channel.url).await;
                checked.map_err(|(reason, detail)| Refusal::field(reason, "channel.url", detail))?;
            }
        }
        Ok(agent)
    }

    /// Checks that a channel's integration is one of this workspace's with its vendor, and keeps it from being deleted until
    /// the transaction ends.
    async fn check_integration_of_channel(
        &self,
        tx: &mut store::Tx,
        workspace: WorkspaceId,
        channel: &Channel,
    ) -> Result<(), Error> {
        let Some(id) = channel.integration else { return Ok(()) };
        let sealed = store::integrations::find(tx, workspace, id, Keep::There).await?;
        let vendor = sealed.ok_or_else(|| integrations::not_found(id))?.integration.vendor;
        if vendor != channel.vendor {
            let detail = format!("is an integration with {vendor}, not with {}", channel.vendor);
            return Err(Refusal::field(Reason::FieldInvalid, "channel.integration_id", detail).into());
        }
        Ok(())
    }

    /// Checks that a channel is mirrored in one that can do that, and has its dialogues looked at from now on.
    async fn check_mirror(
        &self,
        tx: &mut store::Tx,
        workspace: WorkspaceId,
        channel: &Channel,
    ) -> Result<(), Error> {
        let Some(Mirror { channel: id, .. }) = channel.mirror else { return Ok(()) };
        let sealed = store::channels::find(tx, workspace, id, false).await?.ok_or_else(|| not_found(id))?;
        let vendor = self.inner.vendors.get(&sealed.channel.vendor);
        if vendor.is_none_or(|vendor| vendor.mirror.is_none()) {
            let detail = format!("is a channel of {}, whose chats show no other", sealed.channel.vendor);
            return Err(Refusal::field(Reason::FieldInvalid, "channel.mirror.channel_id", detail).into());
        }
        Ok(store::mirrors::begin_reading(tx, workspace).await?)
    }

    /// Creates a channel and gives its secrets.
    pub async fn create_channel(
        &self,
        caller: &Caller,
        new: NewChannel,
        request_id: &str,
    ) -> Result<OpenChannel, Error> {
        let workspace = caller.require(Service::Channels, Level::Write)?;
        let id: ChannelId = self.id();
        let now = self.now();
        let token = token::issue(TokenKind::Channel, workspace);
        let mut channel = Channel {
            id,
            display_name: new.display_name.clone(),
            agent: AgentId(uuid::Uuid::nil()),
            vendor: if new.vendor.is_empty() { GENERIC_HTTP.to_owned() } else { new.vendor.clone() },
            url: new.url.clone(),
            integration: new.integration,
            settings: new.settings.clone(),
            delivery_policy: new.delivery_policy.clone(),
            mirror: new.mirror.clone(),
            active: new.active,
            token_suffix: token.suffix.clone(),
            created_at: now,
            updated_at: now,
        };
        channel.agent = self.check_channel(new.agent, &mut channel).await?;
        let mut tx = self.store().workspace(workspace).await?;
        check_time_zone(&mut tx, &channel.delivery_policy).await?;
        let first: Option<ChannelId> =
            self.once(&mut tx, workspace, request_id, "CreateChannel", &new, id.0).await?;
        if let Some(first) = first {
            let sealed = store::channels::find(&mut tx, workspace, first, false).await?;
            return self.unseal(workspace, sealed.ok_or_else(|| not_found(first))?);
        }
        // Locked, so that the agent can't be deleted meanwhile.
        store::agents::find(&mut tx, workspace, channel.agent, true)
            .await?
            .ok_or_else(|| agents::not_found(channel.agent))?;
        self.check_integration_of_channel(&mut tx, workspace, &channel).await?;
        self.check_mirror(&mut tx, workspace, &channel).await?;
        let signing_secret = token::issue_signing_secret();
        let (hook_secret, kept) = if self.called_with_secret(&channel.vendor) {
            let (secret, kept) = self.new_hook_secret(workspace, id)?;
            (Some(secret), Some(kept))
        } else {
            (None, None)
        };
        let sealed = SealedChannel {
            channel,
            token: self.inner.sealer.seal(workspace, id.0, TOKEN, &token.secret)?,
            signing_secret: self.inner.sealer.seal(workspace, id.0, SIGNING_SECRET, &signing_secret)?,
            hook_secret: kept,
        };
        store::channels::insert(&mut tx, workspace, &sealed).await?;
        self.tell(&mut tx, workspace, "channel.created", id.0).await?;
        store::commit(tx).await?;
        Ok(OpenChannel { channel: sealed.channel, token: token.secret, signing_secret, hook_secret })
    }

    /// Whether a vendor's calls are known by a secret in their path.
    fn called_with_secret(&self, vendor: &str) -> bool {
        let kind = self.inner.vendors.get(vendor).and_then(|vendor| vendor.channel.as_ref());
        kind.is_some_and(|kind| kind.hook_proof() == HookProof::PathSecret)
    }

    fn new_hook_secret(
        &self,
        workspace: WorkspaceId,
        id: ChannelId,
    ) -> Result<(SecretString, HookSecret), Error> {
        let token = token::issue(TokenKind::Hook, workspace);
        let sealed = self.inner.sealer.seal(workspace, id.0, HOOK_SECRET, &token.secret)?;
        Ok((token.secret, HookSecret { sealed, hash: token.hash.0.to_vec() }))
    }

    fn unseal(&self, workspace: WorkspaceId, sealed: SealedChannel) -> Result<OpenChannel, Error> {
        let id = sealed.channel.id.0;
        let hook_secret = sealed.hook_secret.as_ref();
        Ok(OpenChannel {
            token: self.inner.sealer.open(workspace, id, TOKEN, &sealed.token)?,
            signing_secret: self.inner.sealer.open(workspace, id, SIGNING_SECRET, &sealed.signing_secret)?,
            hook_secret: hook_secret
                .map(|secret| self.inner.sealer.open(workspace, id, HOOK_SECRET, &secret.sealed))
                .transpose()?,
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
        if let Some(integration) = patch.integration {
            channel.integration = integration;
        }
        if let Some(settings) = patch.settings {
            channel.settings = settings;
        }
        if let Some(mirror) = patch.mirror {
            channel.mirror = mirror;
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
        self.check_channel(Some(channel.agent), channel).await?;
        self.check_integration_of_channel(&mut tx, workspace, channel).await?;
        self.check_mirror(&mut tx, workspace, channel).await?;
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

    /// Replaces the secret in the path that a channel's vendor calls, and gives the new one. The vendor must be told of it.
    pub async fn rotate_channel_hook_secret(
        &self,
        caller: &Caller,
        id: ChannelId,
    ) -> Result<(Channel, SecretString), Error> {
        let workspace = caller.require(Service::Channels, Level::Admin)?;
        let (tx, mut sealed) = self.lock_channel(workspace, id).await?;
        if !self.called_with_secret(&sealed.channel.vendor) {
            let vendor = &sealed.channel.vendor;
            let detail = format!("{vendor} does not call with a secret in its path");
            return Err(Refusal::new(Reason::CapabilityMissing, detail).with("vendor", vendor).into());
        }
        let (secret, kept) = self.new_hook_secret(workspace, id)?;
        sealed.hook_secret = Some(kept);
        Ok((self.save_channel(tx, workspace, sealed).await?, secret))
    }

    /// Has a channel's vendor call us about it, step by step.
    pub async fn connect_channel(
        &self,
        caller: &Caller,
        id: ChannelId,
    ) -> Result<(Channel, Vec<CheckStep>), Error> {
        let workspace = caller.require(Service::Channels, Level::Write)?;
        let mut tx = self.store().workspace(workspace).await?;
        let sealed = store::channels::find(&mut tx, workspace, id, false).await?;
        store::commit(tx).await?;
        let sealed = sealed.ok_or_else(|| not_found(id))?;
        let vendor = sealed.channel.vendor.as_str();
        let kind =
            self.inner.vendors.get(vendor).and_then(|vendor| vendor.channel.clone()).ok_or_else(|| {
                let detail = format!("{vendor} calls nobody by itself: give your program the address");
                Refusal::new(Reason::CapabilityMissing, detail).with("vendor", vendor)
            })?;
        let Some(public_url) = self.inner.settings.public_url.as_deref() else {
            let step = CheckStep {
                name: "address",
                outcome: CheckOutcome::Failed,
                detail: "This server does not know where it is reached from outside.".to_owned(),
                remedy: "Have the operator set SWITCHBOARD_PUBLIC_URL, or enter the channel's address at the vendor by hand."
                    .to_owned(),
            };
            return Ok((sealed.channel, vec![step]));
        };
        let mut hook_url = format!("{public_url}/hooks/{id}");
        if let Some(secret) = &sealed.hook_secret {
            let secret = self.inner.sealer.open(workspace, id.0, HOOK_SECRET, &secret.sealed)?;
            hook_url = format!("{hook_url}/{}", secret.expose_secret());
        }
        let (account, _) = self.channel_account(workspace, &sealed).await?.map_err(Error::Vendor)?;
        let connected = kind.connect(&account, &hook_url, self.now()).await;
        self.keep_connected(workspace, sealed.channel, connected).await
    }

    /// Has a channel's vendor forget it, step by step.
    pub async fn disconnect_channel(
        &self,
        caller: &Caller,
        id: ChannelId,
    ) -> Result<(Channel, Vec<CheckStep>), Error> {
        let workspace = caller.require(Service::Channels, Level::Write)?;
        let mut tx = self.store().workspace(workspace).await?;
        let sealed = store::channels::find(&mut tx, workspace, id, false).await?;
        store::commit(tx).await?;
        let sealed = sealed.ok_or_else(|| not_found(id))?;
        let vendor = sealed.channel.vendor.as_str();
        let cannot = || {
            let detail = format!("{vendor} is told of no channel of this kind; delete the channel instead");
            Refusal::new(Reason::CapabilityMissing, detail).with("vendor", vendor)
        };
        let kind = self.inner.vendors.get(vendor).and_then(|vendor| vendor.channel.clone());
        let kind = kind.ok_or_else(cannot)?;
        let (account, _) = self.channel_account(workspace, &sealed).await?.map_err(Error::Vendor)?;
        let connected = kind.disconnect(&account, self.now()).await.ok_or_else(cannot)?;
        self.keep_connected(workspace, sealed.channel, connected).await
    }

    /// Keeps what a vendor told of a channel, unless its settings were changed meanwhile.
    async fn keep_connected(
        &self,
        workspace: WorkspaceId,
        channel: Channel,
        connected: Connected,
    ) -> Result<(Channel, Vec<CheckStep>), Error> {
        let Connected { steps, settings } = connected;
        let Some(settings) = settings.filter(|settings| *settings != channel.settings) else {
            return Ok((channel, steps));
        };
        let (tx, mut sealed) = self.lock_channel(workspace, channel.id).await?;
        if sealed.channel.settings != channel.settings {
            return Ok((sealed.channel, steps));
        }
        sealed.channel.settings = settings;
        Ok((self.save_channel(tx, workspace, sealed).await?, steps))
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
