//! How an agent's engine is reached: over an integration of its workspace, or with the operator's own account.

use std::{sync::Arc, time::Duration};

use domain::{
    DialogueId, Error as Refusal, IntegrationId, Reason, WorkspaceId,
    agent::Engine,
    connection::Connection,
    engine::HookError,
    inbound::RawRequest,
    integration::{AUTHORIZE, Health, REPLACE, after_call},
    oauth::ACCESS_TOKEN,
    vendor::{Applied, FailureKind, Retry, VendorAccount, VendorError, VerifyError},
};
use moka::sync::Cache;
use store::{
    channels::SealedChannel,
    grants::SealedGrant,
    integrations::{Keep, SealedIntegration},
};

use crate::{App, Error, channels, integrations::Subject};

/// Integrations as they are kept: sealed, and opened for each call. Short-lived, and emptied whenever any configuration
/// changes. `None`: there is none.
pub(crate) type IntegrationCache = Cache<(WorkspaceId, IntegrationId), Option<Arc<Held>>>;

/// What is held of an integration.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) sealed: SealedIntegration,
    /// What a person granted, where the vendor works by that.
    grant: Option<SealedGrant>,
}

pub(crate) fn new_cache() -> IntegrationCache {
    Cache::builder().max_capacity(10_000).time_to_live(Duration::from_secs(30)).build()
}

/// What an engine is called with, and whose it is.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) connection: Connection,
    /// The integration it belongs to. `None`: it is the operator's, or none is needed.
    of: Option<Owner>,
}

#[derive(Debug, Clone, Copy)]
struct Owner {
    subject: Subject,
    health: Health,
    /// Whether its pair of tokens has worked before.
    proven: bool,
}

impl Account {
    /// The integration it belongs to, and the state of its settings and credentials. `None`: it is the operator's.
    pub(crate) fn state(&self) -> Option<(IntegrationId, i64)> {
        self.of.map(|of| (of.subject.id, of.subject.generation))
    }

    /// Which pair of tokens it calls with. `None`: with none.
    pub(crate) fn pair(&self) -> Option<i64> {
        self.of.and_then(|of| of.subject.pair)
    }
}

/// What an engine's notes are kept under: another account at the vendor knows nothing of its conversations.
pub(crate) fn notes_key(engine: &Engine) -> String {
    match engine.integration {
        None => engine.vendor.clone(),
        Some(integration) => format!("{}:{integration}", engine.vendor),
    }
}

impl App {
    /// What an engine is, to those who must not all wait for it: its vendor's account. One that needs no account is what
    /// it is set to.
    pub(crate) fn engine_name(&self, engine: &Engine) -> String {
        let vendor = self.inner.vendors.get(&engine.vendor);
        if vendor.is_some_and(|vendor| vendor.connector.is_none()) {
            return format!("{} {} {}", engine.vendor, engine.model, engine.settings);
        }
        notes_key(engine)
    }
}

/// Says why there is no account, as if the vendor had refused the call.
fn unreachable(detail: String, retry: Retry) -> VendorError {
    VendorError {
        vendor: "switchboard",
        operation: "connect",
        kind: FailureKind::Other,
        http_status: None,
        detail,
        excerpt: None,
        applied: Applied::No,
        retry,
    }
}

impl App {
    /// Takes a call by which an engine's vendor says that what it worked on has come to something. The turn that waits for
    /// it is looked after at once. `urls`: what the vendor may have called.
    ///
    /// It is for the operator's own account there; a vendor that makes no calls is as unknown as any other.
    pub async fn engine_hook(&self, vendor: &str, raw: RawRequest, urls: &[String]) -> Result<(), Error> {
        let unknown = || Refusal::new(Reason::RouteNotFound, "no engine is called back here; see /docs");
        let engine = self.inner.vendors.get(vendor).and_then(|vendor| vendor.engine.clone());
        let hook = engine.as_deref().and_then(|engine| engine.hook()).ok_or_else(unknown)?;
        let connection = self.inner.settings.engines.get(vendor).ok_or_else(unknown)?;
        let part = match hook.read(connection, &raw, urls, self.now()).await {
            Ok(part) => part,
            Err(HookError::Unverified(VerifyError::Missing)) => {
                return Err(Refusal::new(Reason::AuthMissing, "the vendor's signature is required").into());
            }
            Err(HookError::Unverified(VerifyError::Mismatch)) => {
                let detail = "the vendor's signature does not match, or was made too long ago";
                return Err(Refusal::new(Reason::SignatureInvalid, detail).into());
            }
            Err(HookError::NoKey(error)) => {
                tracing::warn!(vendor, error = %error, "a vendor's key could not be read; its call is refused");
                let detail = "the vendor's key could not be read; try again later";
                return Err(Refusal::new(Reason::Unavailable, detail).into());
            }
            Err(HookError::NotUnderstood) => {
                return Err(Refusal::field(
                    Reason::FieldInvalid,
                    "body",
                    "is not what the vendor's API promises",
                )
                .into());
            }
        };
        if let Some(part) = part {
            let found = store::engine_notes::find_by(self.store().pool(), vendor, &part).await?;
            self.wake_turns(&found).await;
        }
        Ok(())
    }

    /// Has the turns looked after soon that wait for their engine in these dialogues: something happened to them, or to
    /// what the engine works on. When this fails they wait until they are due.
    pub(crate) async fn wake_turns(&self, dialogues: &[(WorkspaceId, DialogueId)]) {
        match store::waits::wake(self.store().pool(), dialogues, self.now()).await {
            Ok(()) => self.inner.hub.tell_work(),
            Err(error) => {
                tracing::debug!(error = %error, "waiting turns could not be woken; they are looked after when due");
            }
        }
    }

    /// Gives the account that an agent's engine is called with; the inner error says what to do.
    pub(crate) async fn engine_account(
        &self,
        workspace: WorkspaceId,
        engine: &Engine,
    ) -> Result<Result<Account, VendorError>, Error> {
        self.account_at(workspace, &engine.vendor, engine.integration).await
    }

    /// Gives the account at an engine's vendor: an integration's, or the operator's own.
    pub(crate) async fn account_at(
        &self,
        workspace: WorkspaceId,
        vendor: &str,
        integration: Option<IntegrationId>,
    ) -> Result<Result<Account, VendorError>, Error> {
        match integration {
            None => Ok(self.operators(vendor)),
            Some(id) => self.integration_account(workspace, id, vendor, "agent").await,
        }
    }

    /// Gives what a channel's vendor is called with, and whose it is; the inner error says what to do.
    pub(crate) async fn channel_account(
        &self,
        workspace: WorkspaceId,
        sealed: &SealedChannel,
    ) -> Result<Result<(VendorAccount, Account), VendorError>, Error> {
        let channel = &sealed.channel;
        let account = match channel.integration {
            None => Account { connection: Connection::default(), of: None },
            Some(id) => match self.integration_account(workspace, id, &channel.vendor, "channel").await? {
                Ok(account) => account,
                Err(error) => return Ok(Err(error)),
            },
        };
        let open = |place, secret| self.inner.sealer.open(workspace, channel.id.0, place, secret);
        let vendor_account = VendorAccount {
            url: channel.url.clone(),
            token: open(channels::TOKEN, &sealed.token)?,
            signing_secrets: vec![open(channels::SIGNING_SECRET, &sealed.signing_secret)?],
            connection: account.connection.clone(),
            settings: channel.settings.clone(),
        };
        Ok(Ok((vendor_account, account)))
    }

    /// Gives what the calls of a channel's vendor are verified with: secrets alone, whether or not anybody let us in there.
    pub(crate) async fn verifying_account(
        &self,
        workspace: WorkspaceId,
        sealed: &SealedChannel,
    ) -> Result<VendorAccount, Error> {
        let channel = &sealed.channel;
        let mut connection = Connection::default();
        if let Some(id) = channel.integration
            && let Some(held) = self.held(workspace, id).await?
        {
            connection.settings = held.sealed.integration.settings.clone();
            connection.credentials = self.open(workspace, &held.sealed)?;
        }
        let open = |place, secret| self.inner.sealer.open(workspace, channel.id.0, place, secret);
        Ok(VendorAccount {
            url: channel.url.clone(),
            token: open(channels::TOKEN, &sealed.token)?,
            signing_secrets: vec![open(channels::SIGNING_SECRET, &sealed.signing_secret)?],
            connection,
            settings: channel.settings.clone(),
        })
    }

    /// Gives the account behind an integration that an agent or a channel names.
    async fn integration_account(
        &self,
        workspace: WorkspaceId,
        id: IntegrationId,
        wanted: &str,
        whose: &str,
    ) -> Result<Result<Account, VendorError>, Error> {
        let Some(held) = self.held(workspace, id).await? else {
            let detail = format!("the {whose}'s integration {id} does not exist any more; give it another");
            return Ok(Err(unreachable(detail, Retry::Never)));
        };
        let vendor = &held.sealed.integration.vendor;
        if vendor != wanted {
            let detail = format!("the {whose}'s integration {id} is with {vendor}, not with {wanted}");
            return Ok(Err(unreachable(detail, Retry::Never)));
        }
        match self.account_of(workspace, &held).await {
            Ok(account) => Ok(Ok(account)),
            Err(Error::Vendor(error)) => Ok(Err(error)),
            // A ring without the key is mended by the operator, not by the customer: try again by the schedule.
            Err(error @ (Error::Sealing(_) | Error::KeyMissing(_))) => {
                Ok(Err(unreachable(error.to_string(), Retry::Backoff)))
            }
            Err(error) => Err(error),
        }
    }

    /// Opens an integration for a call, with tokens that are good for a while where its vendor works by those.
    pub(crate) async fn account_of(&self, workspace: WorkspaceId, held: &Held) -> Result<Account, Error> {
        let integration = &held.sealed.integration;
        let credentials = self.open(workspace, &held.sealed)?;
        let settings = integration.settings.clone();
        let gate = Some(self.gate(workspace, integration.id));
        let mut connection = Connection { settings, credentials, gate };
        let (mut pair, mut proven) = (None, false);
        let vendor = self.inner.vendors.get(&integration.vendor);
        if vendor.is_some_and(|vendor| vendor.oauth.is_some()) {
            let access = self.access(workspace, integration.id, held.grant.as_ref()).await?;
            // Renewing it may have shown that the account is at another address now.
            if held.grant.as_ref().is_none_or(|grant| grant.version != access.version)
                && let Some(held) = self.held(workspace, integration.id).await?
            {
                connection.settings.clone_from(&held.sealed.integration.settings);
            }
            (pair, proven) = (Some(access.version), access.proven);
            connection.credentials.insert(ACCESS_TOKEN.to_owned(), access.token);
        }
        let subject = Subject { workspace, id: integration.id, generation: integration.generation, pair };
        Ok(Account { connection, of: Some(Owner { subject, health: integration.health, proven }) })
    }

    /// Reads an integration, as it is held.
    pub(crate) async fn held(
        &self,
        workspace: WorkspaceId,
        id: IntegrationId,
    ) -> Result<Option<Arc<Held>>, Error> {
        if let Some(known) = self.inner.integrations.get(&(workspace, id)) {
            return Ok(known);
        }
        let news = self.inner.hub.configuration();
        let mut tx = self.store().workspace(workspace).await?;
        let held = match store::integrations::find(&mut tx, workspace, id, Keep::Free).await? {
            Some(sealed) => {
                let grant = match sealed.integration.grant {
                    Some(_) => store::grants::find(&mut tx, workspace, id, false).await?,
                    None => None,
                };
                Some(Arc::new(Held { sealed, grant }))
            }
            None => None,
        };
        store::commit(tx).await?;
        self.inner.integrations.insert((workspace, id), held.clone());
        // What changed while it was read must not be kept as it was.
        if news.has_changed().unwrap_or(true) {
            self.inner.integrations.invalidate(&(workspace, id));
        }
        Ok(held)
    }

    /// The operator's own account at a vendor.
    pub(crate) fn operators(&self, vendor: &str) -> Result<Account, VendorError> {
        let connector = self.inner.vendors.get(vendor).and_then(|vendor| vendor.connector.as_ref());
        let connection = if connector.is_none() {
            Connection::default()
        } else {
            self.inner.settings.engines.get(vendor).cloned().ok_or_else(|| {
                let variable = vendor.to_uppercase();
                let detail = format!(
                    "the server has no account at {vendor}; give the agent an integration, or have the operator set \
                     {variable}_API_KEY"
                );
                unreachable(detail, Retry::Never)
            })?
        };
        Ok(Account { connection, of: None })
    }

    /// Keeps what a call tells of the integration it was made with. That it can't be kept is no reason for the call to fail.
    pub(crate) async fn note_call(&self, account: &Account, result: Result<(), &VendorError>) {
        let Some(Owner { subject, health, proven }) = account.of else { return };
        let Subject { workspace, id, .. } = subject;
        let refused = result.is_err_and(|error| error.kind == FailureKind::Unauthorized);
        // Nobody is at the address: where the account is now is asked with the next renewal. The credentials are not refused.
        let nobody = |error: &VendorError| {
            error.http_status.is_some_and(|status| status == 404 || (300..400).contains(&status))
        };
        if refused && result.is_err_and(nobody) {
            if let Some(pair) = subject.pair.filter(|_| proven) {
                self.hurry(workspace, id, pair).await;
            }
            return;
        }
        let remedy = match subject.pair {
            // A pair that used to work may only be revoked: it is renewed before a person is asked.
            Some(pair) if refused && proven => return self.hurry(workspace, id, pair).await,
            Some(pair) => {
                if result.is_ok() && !proven {
                    self.prove(workspace, id, pair).await;
                }
                AUTHORIZE
            }
            None => REPLACE,
        };
        let Some(finding) = after_call(result, remedy, self.now()) else { return };
        // As nearly always: what is found out is known.
        if finding.0 == health {
            return;
        }
        if let Err(error) = self.note_finding(subject, &finding, None).await {
            tracing::warn!(
                workspace.id = %workspace, integration.id = %id, error = %error,
                "an integration's health could not be kept"
            );
        }
    }

    /// Checks that an engine's integration is one of this workspace's with the engine's vendor, and keeps it from being
    /// deleted until the transaction ends. `field` is where the engine stands in the request.
    pub(crate) async fn check_integration_of(
        &self,
        tx: &mut store::Tx,
        workspace: WorkspaceId,
        engine: &Engine,
        field: &str,
    ) -> Result<(), Error> {
        let Some(id) = engine.integration else { return Ok(()) };
        let sealed = store::integrations::find(tx, workspace, id, Keep::There).await?;
        let vendor = sealed.ok_or_else(|| crate::integrations::not_found(id))?.integration.vendor;
        if vendor != engine.vendor {
            let detail = format!("is an integration with {vendor}, not with {}", engine.vendor);
            let field = format!("{field}.integration_id");
            return Err(Refusal::field(Reason::FieldInvalid, &field, detail).into());
        }
        Ok(())
    }
}
