//! Keeps what a person granted alive.
//!
//! A pair of tokens is renewed by one process at a time, which holds a lease in the database; the others wait for the pair.
//! A refresh token may work only once, so between the vendor's answer and its commit there is one statement and nothing
//! else, and every write names the version that was renewed: an older pair is never written over a newer one.

use std::{sync::Arc, time::Duration};

use domain::{
    IntegrationId, Timestamp, WorkspaceId,
    connection::Connection,
    fail_point,
    integration::{AUTHORIZE, Health, Trouble},
    vendor::{Applied, FailureKind, Retry, VendorError},
};
use moka::sync::Cache;
use secrecy::SecretString;
use serde_json::Value;
use store::{
    grants::SealedGrant,
    integrations::{Keep, SealedIntegration},
};
use tokio::time::{Instant, timeout_at};

use super::MARGIN;
use crate::{
    App, Error,
    integrations::{Subject, not_found},
    worker::jittered,
};

/// How long a process that fell silent keeps the lease, and how often one that lives extends it.
const LEASE: Duration = Duration::from_secs(6);
const LEASE_EXTENDED: Duration = Duration::from_secs(2);
/// How long a call waits for a pair that another process renews.
const PATIENCE: Duration = Duration::from_secs(30);
/// When a renewal is tried again that failed for a reason that may pass.
const AGAIN: Duration = Duration::from_mins(1);
/// What to do when a vendor refuses to renew a pair for another reason than the pair.
const MEND: &str =
    "mend at the vendor what it names, the account's payment for example; it is then renewed by itself";
/// How many pairs a process renews at once: each holds a connection to the database while its vendor is asked.
pub(crate) const AT_ONCE: usize = 6;

/// One renewal of an integration's pair in this process at a time.
pub(crate) type Doors = Cache<(WorkspaceId, IntegrationId), Arc<tokio::sync::Mutex<()>>>;

pub(crate) fn new_doors() -> Doors {
    Cache::builder().max_capacity(10_000).time_to_idle(Duration::from_mins(10)).build()
}

/// An access token, and the pair that it is of.
pub(crate) struct Access {
    pub(crate) token: SecretString,
    pub(crate) version: i64,
    pub(crate) proven: bool,
}

/// Whether a refusal may mean that the account is not at this address any more.
fn may_have_moved(error: &VendorError) -> bool {
    error.http_status.is_some_and(|status| matches!(status, 300..=399 | 401 | 404 | 410))
}

/// The vendor wants a person.
fn unauthorized(detail: &str) -> VendorError {
    failure(FailureKind::Unauthorized, format!("{detail}; {AUTHORIZE}"), Retry::Never)
}

fn failure(kind: FailureKind, detail: String, retry: Retry) -> VendorError {
    VendorError {
        vendor: "switchboard",
        operation: "authorize",
        kind,
        http_status: None,
        detail,
        excerpt: None,
        applied: Applied::No,
        retry,
    }
}

impl App {
    /// Gives an access token that is good for a while: the one that is kept, or one of a pair that is renewed first.
    pub(crate) async fn access(
        &self,
        workspace: WorkspaceId,
        id: IntegrationId,
        known: Option<&SealedGrant>,
    ) -> Result<Access, Error> {
        let good = |grant: &SealedGrant, now: Timestamp| grant.expires_at.is_none_or(|at| now + MARGIN < at);
        let grant = match known {
            Some(known) if good(known, self.now()) => known.clone(),
            _ => self.renewed(workspace, id, good).await?,
        };
        let token = self.open_pair(workspace, id, &grant)?.access.into();
        Ok(Access { token, version: grant.version, proven: grant.proven })
    }

    /// Renews a pair that is due, though nobody asks for it.
    pub(crate) async fn renew_due(&self, workspace: WorkspaceId, id: IntegrationId) -> Result<(), Error> {
        let good = |grant: &SealedGrant, now: Timestamp| grant.refresh_due_at.is_none_or(|at| now < at);
        self.renewed(workspace, id, good).await.map(drop)
    }

    /// Gives a pair that is good, renewing it or waiting for whoever does.
    async fn renewed(
        &self,
        workspace: WorkspaceId,
        id: IntegrationId,
        good: impl Fn(&SealedGrant, Timestamp) -> bool,
    ) -> Result<SealedGrant, Error> {
        // In this process one asks the database, however many wait.
        let deadline = Instant::now() + PATIENCE;
        let late = || {
            let detail = "the tokens are being renewed for longer than a call waits".to_owned();
            Error::Vendor(failure(FailureKind::Unavailable, detail, Retry::Backoff))
        };
        let door = self.inner.doors.get_with((workspace, id), Arc::default);
        let _inside = timeout_at(deadline, door.lock()).await.map_err(|_| late())?;
        loop {
            let mut tx = self.store().workspace(workspace).await?;
            let sealed = store::integrations::find(&mut tx, workspace, id, Keep::Free).await?;
            let sealed = sealed.ok_or_else(|| not_found(id))?;
            let Some(grant) = store::grants::find(&mut tx, workspace, id, false).await? else {
                return Err(Error::Vendor(unauthorized("nobody has authorized this integration")));
            };
            if good(&grant, self.now()) {
                return Ok(grant);
            }
            let Some(due_at) = grant.refresh_due_at else {
                return Err(Error::Vendor(unauthorized("the vendor does not renew what was granted")));
            };
            store::commit(tx).await?;
            // A pair is due before its end; one that is due after it could not be renewed a while ago.
            let pause = Duration::try_from(due_at - self.now()).unwrap_or_default();
            if !pause.is_zero() && grant.expires_at.is_some_and(|at| at <= due_at) {
                let detail = format!(
                    "the tokens could not be renewed; the vendor is asked again in {} s",
                    pause.as_secs().max(1)
                );
                return Err(Error::Vendor(failure(FailureKind::Unavailable, detail, Retry::After(pause))));
            }
            let place = timeout_at(deadline, Arc::clone(&self.inner.renewing).acquire_owned());
            let Ok(place) = place.await.map_err(|_| late())? else {
                return Err(Error::Vendor(failure(
                    FailureKind::Unavailable,
                    "the server is stopping".to_owned(),
                    Retry::Backoff,
                )));
            };
            // Whoever asks may go meanwhile; a pair that the vendor has given is kept all the same.
            let app = self.clone();
            let news = self.promise(async move {
                let _place = place;
                app.lease_and_renew(workspace, &sealed, &grant).await
            });
            if news.await? {
                continue;
            }
            if Instant::now() > deadline {
                return Err(late());
            }
            tokio::time::sleep(jittered(Duration::from_millis(100))).await;
        }
    }

    /// Renews a pair if the lease is to be had. Answers whether there is news to be read.
    async fn lease_and_renew(
        &self,
        workspace: WorkspaceId,
        sealed: &SealedIntegration,
        grant: &SealedGrant,
    ) -> Result<bool, Error> {
        let (id, by, version) = (sealed.integration.id, self.inner.worker, grant.version);
        let mut tx = self.store().workspace(workspace).await?;
        fail_point::reached("lease", "before");
        let leased = store::grants::lease(&mut tx, workspace, id, version, by, LEASE).await?;
        store::commit(tx).await?;
        fail_point::reached("lease", "after");
        Ok(leased && self.renew(workspace, sealed, grant).await?)
    }

    /// Renews a pair under the lease. Answers whether there is news to be read.
    async fn renew(
        &self,
        workspace: WorkspaceId,
        sealed: &SealedIntegration,
        grant: &SealedGrant,
    ) -> Result<bool, Error> {
        let id = sealed.integration.id;
        let asked = self.ask_for_pair(workspace, sealed, grant).await;
        let (error, due_at) = match asked {
            Ok(()) => return Ok(true),
            Err(Error::Vendor(error)) if error.kind == FailureKind::Unauthorized => (error, None),
            Err(Error::Vendor(error)) => {
                let pause = match error.retry {
                    Retry::After(pause) => pause.clamp(AGAIN, Duration::from_hours(1)),
                    _ => AGAIN,
                };
                (error, Some(self.now() + MARGIN.max(jittered(pause))))
            }
            Err(error) => return Err(error),
        };
        let mut tx = self.store().workspace(workspace).await?;
        store::grants::release(&mut tx, workspace, id, grant.version, self.inner.worker, due_at).await?;
        let newest = store::grants::find(&mut tx, workspace, id, false).await?;
        store::commit(tx).await?;
        if newest.is_some_and(|newest| newest.version != grant.version) {
            // Another process was taken for dead, and was not: its pair came after all.
            return Ok(true);
        }
        tracing::warn!(
            workspace.id = %workspace, integration.id = %id, error = %error, again = due_at.is_some(),
            "a pair of tokens could not be renewed"
        );
        let health = match (due_at, error.retry) {
            (None, _) => Some((Health::NeedsAuthorization, AUTHORIZE)),
            // It is asked again, but will hardly think better of it by itself.
            (Some(_), Retry::Never) => Some((Health::Failing, MEND)),
            // That a vendor is down or busy says nothing of the integration.
            _ => None,
        };
        if let Some((health, remedy)) = health {
            let trouble = Trouble { detail: error.to_string(), remedy: remedy.to_owned(), at: self.now() };
            let finding = (health, Some(trouble));
            let subject = Subject {
                workspace,
                id,
                generation: sealed.integration.generation,
                pair: Some(grant.version),
            };
            self.note_finding(subject, &finding, None).await?;
        }
        Err(Error::Vendor(error))
    }

    async fn ask_for_pair(
        &self,
        workspace: WorkspaceId,
        sealed: &SealedIntegration,
        grant: &SealedGrant,
    ) -> Result<(), Error> {
        let id = sealed.integration.id;
        let provider = self.provider(&sealed.integration.vendor)?;
        let mut connection = self.plain(workspace, sealed)?;
        let pair = self.open_pair(workspace, id, grant)?;
        let access = SecretString::from(pair.access);
        let Some(refresh) = pair.refresh else {
            return Err(Error::Vendor(unauthorized("the vendor gave nothing to renew it with")));
        };
        // All that keeping needs is at hand before the vendor is asked.
        let mut kept = self.store().kept();
        kept.connection().await?;
        let ask = async |connection: &Connection, refresh: &str| {
            let refresh = SecretString::from(refresh);
            let asked = provider.refresh(connection, &refresh, self.now());
            tokio::pin!(asked);
            loop {
                tokio::select! {
                    answer = &mut asked => return answer,
                    () = tokio::time::sleep(LEASE_EXTENDED) => self.extend(workspace, id, grant.version).await,
                }
            }
        };
        fail_point::reached("refresh", "before");
        let mut answer = ask(&connection, &refresh).await;
        if answer.as_ref().is_err_and(may_have_moved) {
            let token = SecretString::from(refresh.as_str());
            match provider.moved(&connection, &access, Some(&token)).await {
                Ok(Some(settings)) => {
                    // Kept before anything else is: also a person who consents anew is sent to the new address.
                    self.keep_moved(workspace, sealed, &settings).await?;
                    connection.settings = settings;
                    answer = ask(&connection, &refresh).await;
                }
                Ok(None) => {}
                Err(error) => tracing::info!(
                    workspace.id = %workspace, integration.id = %id, error = %error,
                    "it could not be found out whether an account has moved"
                ),
            }
        }
        if let (Err(error), Some(previous)) = (&answer, &pair.previous)
            && error.kind == FailureKind::Unauthorized
            && !grant.proven
        {
            // This pair has never worked: the one before it may.
            answer = ask(&connection, previous).await;
        }
        let tokens = answer.map_err(Error::Vendor)?;
        fail_point::reached("refresh", "after");
        let new = self.seal_pair(workspace, id, &tokens, Some(&refresh))?;
        loop {
            let written = match kept.connection().await {
                Ok(conn) => store::grants::keep(conn, workspace, id, grant.version, &new).await,
                Err(error) => Err(error),
            };
            match written {
                // If not, a newer pair is there: ours, whose answer was lost, or one that was granted meanwhile.
                Ok(_) => break,
                Err(error) => {
                    kept.give_back();
                    tracing::error!(
                        workspace.id = %workspace, integration.id = %id, error = %error,
                        "a renewed pair of tokens could not be kept yet; it is tried again until it is"
                    );
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
        }
        fail_point::reached("keep", "after");
        self.inner.integrations.invalidate(&(workspace, id));
        tracing::info!(workspace.id = %workspace, integration.id = %id, "a pair of tokens was renewed");
        if matches!(sealed.integration.health, Health::NeedsAuthorization | Health::Failing) {
            let subject = Subject { workspace, id, generation: sealed.integration.generation, pair: None };
            self.note_finding(subject, &(Health::Healthy, None), None).await?;
        }
        Ok(())
    }

    /// Keeps the settings that lead to where an account has moved, unless somebody changed them meanwhile.
    async fn keep_moved(
        &self,
        workspace: WorkspaceId,
        sealed: &SealedIntegration,
        settings: &Value,
    ) -> Result<(), Error> {
        let id = sealed.integration.id;
        let (tx, mut now) = self.lock_integration(workspace, id).await?;
        if now.integration.settings != sealed.integration.settings {
            return Ok(());
        }
        now.integration.settings = settings.clone();
        now.integration.updated_at = self.now();
        self.save_integration(tx, workspace, now).await?;
        tracing::warn!(workspace.id = %workspace, integration.id = %id, "an account has moved; its new address was kept");
        Ok(())
    }

    async fn extend(&self, workspace: WorkspaceId, id: IntegrationId, version: i64) {
        let extended = async {
            let mut tx = self.store().workspace(workspace).await?;
            store::grants::extend(&mut tx, workspace, id, version, self.inner.worker, LEASE).await?;
            store::commit(tx).await
        };
        if let Err(error) = extended.await {
            tracing::debug!(error = %error, "a lease could not be extended");
        }
    }

    /// A pair has worked: the token before it is not needed any more. That this can't be kept is no reason for a call to fail.
    pub(crate) async fn prove(&self, workspace: WorkspaceId, id: IntegrationId, version: i64) {
        let proven = async {
            let mut tx = self.store().workspace(workspace).await?;
            self.reseal_grant(&mut tx, workspace, id, Some(version)).await?;
            store::notify_configuration(&mut tx, workspace).await?;
            store::commit(tx).await?;
            Ok::<_, Error>(())
        };
        if let Err(error) = proven.await {
            tracing::warn!(workspace.id = %workspace, integration.id = %id, error = %error, "a pair's proof could not be kept");
        }
        self.inner.integrations.invalidate(&(workspace, id));
    }

    /// A pair that used to work was refused: it is renewed next, ahead of its time.
    pub(crate) async fn hurry(&self, workspace: WorkspaceId, id: IntegrationId, version: i64) {
        let now = self.now();
        let hurried = async {
            let mut tx = self.store().workspace(workspace).await?;
            store::grants::hurry(&mut tx, workspace, id, version, now).await?;
            store::commit(tx).await
        };
        if let Err(error) = hurried.await {
            tracing::warn!(workspace.id = %workspace, integration.id = %id, error = %error, "a renewal could not be hurried");
        }
        self.inner.integrations.invalidate(&(workspace, id));
    }
}
