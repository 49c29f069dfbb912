//! How an agent's engine is reached: over an integration of its workspace, or with the operator's own account.

use std::{sync::Arc, time::Duration};

use domain::{
    DialogueId, Error as Refusal, IntegrationId, Reason, WorkspaceId,
    agent::Engine,
    connection::Connection,
    integration::{self, Health},
    vendor::{Applied, FailureKind, Retry, VendorError},
};
use moka::sync::Cache;
use store::integrations::{Keep, SealedIntegration};

use crate::{App, Error};

/// What an engine's notes are kept under: another account at the vendor knows nothing of its conversations.
pub(crate) fn notes_key(engine: &Engine) -> String {
    match engine.integration {
        None => engine.vendor.clone(),
        Some(integration) => format!("{}:{integration}", engine.vendor),
    }
}

/// Integrations as they are kept: sealed, and opened for each call. Short-lived, and emptied whenever any configuration
/// changes. `None`: there is none.
pub(crate) type IntegrationCache = Cache<(WorkspaceId, IntegrationId), Option<Arc<SealedIntegration>>>;

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
    workspace: WorkspaceId,
    integration: IntegrationId,
    generation: i64,
    health: Health,
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
        let Some(id) = engine.integration else { return Ok(self.operators(&engine.vendor)) };
        let Some(sealed) = self.integration(workspace, id).await? else {
            let detail =
                format!("the agent's integration {id} does not exist any more; give it another engine");
            return Ok(Err(unreachable(detail, Retry::Never)));
        };
        let vendor = &sealed.integration.vendor;
        if *vendor != engine.vendor {
            let detail = format!("the agent's integration {id} is with {vendor}, not with {}", engine.vendor);
            return Ok(Err(unreachable(detail, Retry::Never)));
        }
        // A ring without the key is mended by the operator, not by the customer: try again by the schedule.
        Ok(self
            .account_of(workspace, &sealed)
            .map_err(|error| unreachable(error.to_string(), Retry::Backoff)))
    }

    /// Opens an integration for a call.
    pub(crate) fn account_of(
        &self,
        workspace: WorkspaceId,
        sealed: &SealedIntegration,
    ) -> Result<Account, Error> {
        let integration = &sealed.integration;
        let of = Owner {
            workspace,
            integration: integration.id,
            generation: integration.generation,
            health: integration.health,
        };
        let credentials = self.open(workspace, sealed)?;
        let connection = Connection { settings: integration.settings.clone(), credentials };
        Ok(Account { connection, of: Some(of) })
    }

    /// Reads an integration, as it is kept.
    pub(crate) async fn integration(
        &self,
        workspace: WorkspaceId,
        id: IntegrationId,
    ) -> Result<Option<Arc<SealedIntegration>>, Error> {
        if let Some(known) = self.inner.integrations.get(&(workspace, id)) {
            return Ok(known);
        }
        let news = self.inner.hub.configuration();
        let mut tx = self.store().workspace(workspace).await?;
        let sealed = store::integrations::find(&mut tx, workspace, id, Keep::Free).await?.map(Arc::new);
        store::commit(tx).await?;
        self.inner.integrations.insert((workspace, id), sealed.clone());
        // What changed while it was read must not be kept as it was.
        if news.has_changed().unwrap_or(true) {
            self.inner.integrations.invalidate(&(workspace, id));
        }
        Ok(sealed)
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
        let Some(of) = account.of else { return };
        let Some(finding) = integration::after_call(result, self.now()) else { return };
        // As nearly always: what is found out is known.
        if finding.0 == of.health {
            return;
        }
        let noted = self.note_finding(of.workspace, of.integration, of.generation, &finding, None).await;
        if let Err(error) = noted {
            tracing::warn!(
                workspace.id = %of.workspace, integration.id = %of.integration, error = %error,
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
