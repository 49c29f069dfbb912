//! Has the vendors of integrations call us, and go on doing it: they stop when too many of their calls were answered badly, and
//! somebody may take the subscription away.

use std::time::Duration;

use domain::{
    IntegrationId, WorkspaceId,
    connection::{CheckOutcome, CheckStep},
    crm_event::{AccountHooks, Subscription},
    integration::HookState,
    vendor::VendorError,
};
use futures::StreamExt as _;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use store::{
    crm_hooks::{Found, SealedHook},
    events::NewEvent,
};

use crate::{
    App, Error,
    crm_hooks::{PATH, SECRET},
    engines::{Account, Held},
    worker::jittered,
};

/// How many vendors are asked at once.
const AT_ONCE: usize = 4;
/// How many are looked up at a time.
const BATCH: i32 = 50;
/// How long one process is waited for.
const TAKEN: Duration = Duration::from_mins(2);
/// How often a vendor is asked: it gives up after a hundred bad answers in two hours.
const EVERY: Duration = Duration::from_mins(15);
/// When it is asked again after it could not be.
const AFTER_FAILURE: Duration = Duration::from_mins(5);

/// Runs until the process stops. Every process with workers does it; each hook is taken by one of them at a time.
pub(crate) async fn run(app: App) {
    const LOOK: Duration = Duration::from_secs(5);
    loop {
        let kept = tokio::select! {
            () = app.inner.stop.cancelled() => return,
            () = tokio::time::sleep(jittered(LOOK)) => pass(&app).await,
        };
        if let Err(error) = kept {
            tracing::warn!(error = %error, "looking for subscriptions to be kept failed; it is tried again");
        }
    }
}

async fn pass(app: &App) -> Result<(), Error> {
    let now = app.now();
    let due = store::crm_hooks::due(app.store().pool(), now, now + TAKEN, BATCH).await?;
    futures::stream::iter(due)
        .for_each_concurrent(AT_ONCE, |(workspace, id)| async move {
            if let Err(error) = keep(app, workspace, id).await {
                tracing::warn!(
                    workspace.id = %workspace, integration.id = %id, error = %error,
                    "a subscription could not be looked after; it is tried again"
                );
            }
        })
        .await;
    Ok(())
}

/// What was found out at a vendor.
struct Outcome {
    account: String,
    /// Why it had to be subscribed. `None`: it was, or the operator has not said under which address we are reached.
    mended: Option<&'static str>,
    subscribed: bool,
    stale_gone: bool,
}

async fn keep(app: &App, workspace: WorkspaceId, id: IntegrationId) -> Result<(), Error> {
    let Some(held) = app.held(workspace, id).await? else { return Ok(()) };
    let Some(hooks) = app.account_hooks(&held.sealed.integration) else { return Ok(()) };
    let mut tx = app.store().workspace(workspace).await?;
    let hook = store::crm_hooks::find(&mut tx, workspace, id).await?;
    store::commit(tx).await?;
    let Some(hook) = hook else { return Ok(()) };
    let outcome = match app.account_of(workspace, &held).await {
        Ok(account) => {
            let outcome = subscribe(app, workspace, id, &*hooks, &account, &hook).await?;
            app.note_call(&account, outcome.as_ref().map(|_| ())).await;
            outcome
        }
        Err(Error::Vendor(error)) => Err(error),
        Err(error) => return Err(error),
    };
    note(app, workspace, id, &hook, outcome).await
}

async fn subscribe(
    app: &App,
    workspace: WorkspaceId,
    id: IntegrationId,
    hooks: &dyn AccountHooks,
    account: &Account,
    hook: &SealedHook,
) -> Result<Result<Outcome, VendorError>, Error> {
    let Some(base) = &app.inner.settings.public_url else {
        let known = hooks.account_id(&account.connection).await;
        return Ok(known.map(|account| Outcome {
            account,
            mended: None,
            subscribed: false,
            stale_gone: false,
        }));
    };
    let open = |sealed: &[u8]| app.inner.sealer.open(workspace, id.0, SECRET, sealed);
    let url = url(base, id, &open(&hook.secret)?);
    let stale = match &hook.stale {
        Some(sealed) => Some(self::url(base, id, &open(sealed)?)),
        None => None,
    };
    let connection = &account.connection;
    let ask = async || {
        let account = hooks.account_id(connection).await?;
        let mended = match hooks.subscription(connection, &url).await? {
            Some(Subscription { disabled: false, complete: true }) => None,
            Some(Subscription { disabled: true, .. }) => Some("disabled"),
            Some(_) => Some("incomplete"),
            None => Some("missing"),
        };
        if mended.is_some() {
            hooks.subscribe(connection, &url).await?;
        }
        if let Some(stale) = &stale {
            hooks.unsubscribe(connection, stale).await?;
        }
        Ok(Outcome { account, mended, subscribed: true, stale_gone: stale.is_some() })
    };
    Ok(ask().await)
}

impl App {
    /// The step of a check that says whether the vendor calls us. `None`: it is not told to by us.
    pub(crate) async fn check_subscription(
        &self,
        workspace: WorkspaceId,
        held: &Held,
        account: &Account,
    ) -> Result<Option<CheckStep>, Error> {
        let integration = &held.sealed.integration;
        let id = integration.id;
        let (Some(hooks), Some(base)) = (self.account_hooks(integration), &self.inner.settings.public_url)
        else {
            return Ok(None);
        };
        let Some(hook) = self.hook(workspace, id).await? else { return Ok(None) };
        let secret = self.inner.sealer.open(workspace, id.0, SECRET, &hook.secret)?;
        let told = match hooks.subscription(&account.connection, &url(base, id, &secret)).await {
            Ok(Some(Subscription { disabled: false, complete: true })) => {
                Ok("the vendor calls us".to_owned())
            }
            Ok(Some(Subscription { disabled: true, .. })) => {
                Err("the vendor calls us no more: too many of its calls were answered badly".to_owned())
            }
            Ok(Some(_)) => Err("the vendor does not tell all that we want to be told".to_owned()),
            Ok(None) => Err("the vendor is not told to call us".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        let remedy = "it is put right within minutes; if it isn't, have an administrator of the account consent, and see \
                      whether its tariff has webhooks";
        Ok(Some(match told {
            Ok(detail) => {
                CheckStep { name: "webhooks", outcome: CheckOutcome::Passed, detail, remedy: String::new() }
            }
            Err(detail) => {
                // The clock comes to it anyhow; somebody waits, so it may as well be now.
                let mut tx = self.store().workspace(workspace).await?;
                store::crm_hooks::hurry(&mut tx, workspace, id, self.now()).await?;
                store::commit(tx).await?;
                CheckStep {
                    name: "webhooks",
                    outcome: CheckOutcome::Failed,
                    detail,
                    remedy: remedy.to_owned(),
                }
            }
        }))
    }
}

/// The address that a vendor is told to call. It has been seen to want the slash.
pub(crate) fn url(base: &str, id: IntegrationId, secret: &SecretString) -> String {
    format!("{base}{PATH}/{id}/{}/", secret.expose_secret())
}

async fn note(
    app: &App,
    workspace: WorkspaceId,
    id: IntegrationId,
    hook: &SealedHook,
    outcome: Result<Outcome, VendorError>,
) -> Result<(), Error> {
    let now = app.now();
    let error = outcome.as_ref().err().map(ToString::to_string);
    let found = Found {
        hash: &hook.hash,
        account: outcome.as_ref().ok().map(|outcome| outcome.account.as_str()),
        state: match &outcome {
            Ok(outcome) if outcome.subscribed => HookState::Subscribed,
            Ok(_) => HookState::Pending,
            Err(_) => HookState::Failed,
        },
        error: error.as_deref(),
        stale_gone: outcome.as_ref().is_ok_and(|outcome| outcome.stale_gone),
        next: match &outcome {
            // Who registers the address by hand looks after it by hand.
            Ok(outcome) if !outcome.subscribed => None,
            Ok(_) => Some(now + jittered(EVERY)),
            Err(_) => Some(now + jittered(AFTER_FAILURE)),
        },
    };
    let mut tx = app.store().workspace(workspace).await?;
    let Some(before) = store::crm_hooks::note(&mut tx, workspace, id, &found, now).await? else {
        return Ok(());
    };
    let event = match &outcome {
        Ok(Outcome { mended: Some(reason), .. }) => {
            tracing::info!(workspace.id = %workspace, integration.id = %id, reason, "the vendor calls us from now on");
            Some(("integration.subscribed", json!({ "reason": reason })))
        }
        Err(_) if before != HookState::Failed => {
            Some(("integration.subscription_failed", json!({ "last_error": error })))
        }
        _ => None,
    };
    if let Some((kind, data)) = event {
        let event = NewEvent { id: app.id(), kind, dialogue: None, subject: id.0, data, at: now };
        store::events::insert(&mut tx, workspace, &event).await?;
    }
    store::notify_configuration(&mut tx, workspace).await?;
    store::commit(tx).await?;
    app.forget();
    Ok(())
}
