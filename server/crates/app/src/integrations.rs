//! Integrations: a workspace's connections to vendors.

use std::collections::{BTreeMap, BTreeSet};

use domain::{
    Error as Refusal, IntegrationId, Reason, Timestamp, WorkspaceId,
    connection::{CheckOutcome, CheckStep, Connector},
    error::Violations,
    integration::{
        AUTHORIZE, CREDENTIALS_STEP, Finding, Health, Integration, MAX_CREDENTIAL_BYTES, MAX_SETTINGS_BYTES,
        after_check,
    },
    vendor::{FailureKind, VendorError, Vendors},
    workspace::{Level, Service},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
pub use store::integrations::Filter;
use store::{
    events::NewEvent,
    integrations::{Keep, SealedIntegration},
};
use subtle::ConstantTimeEq as _;

use crate::{App, Caller, Error, Page, PageRequest, requests::check_name, sealing::DataKey};

/// Where an integration's own key is sealed.
pub(crate) const DATA_KEY: &str = "integrations.data_key";
/// Where its credentials are.
pub(crate) const CREDENTIALS: &str = "integrations.credentials";

/// Credentials by name, in the clear.
pub type Credentials = BTreeMap<String, SecretString>;

/// An integration to make.
#[derive(Debug, Clone)]
pub struct NewIntegration {
    /// The vendor's id.
    pub vendor: String,
    /// A name for people.
    pub display_name: String,
    /// The vendor's own settings.
    pub settings: Value,
    /// The credentials.
    pub credentials: Credentials,
}

/// What to change of an integration; `None` stays.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "named like the integration's fields")]
pub struct IntegrationPatch {
    pub display_name: Option<String>,
    pub settings: Option<Value>,
    /// Those that are named; an empty one is taken away.
    pub credentials: Option<Credentials>,
}

/// What something was found out about: a state of an integration, and of its tokens where it has any.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject {
    pub(crate) workspace: WorkspaceId,
    pub(crate) id: IntegrationId,
    pub(crate) generation: i64,
    pub(crate) pair: Option<i64>,
}

pub(crate) fn not_found(id: IntegrationId) -> Refusal {
    Refusal::not_found(Reason::IntegrationNotFound, "integration", id)
}

/// Names every credential that is not right: unknown, too long, or missing among those that will be kept.
fn check_credentials(
    violations: &mut Violations,
    connector: &dyn Connector,
    given: &Credentials,
    kept: &BTreeSet<&str>,
) {
    let fields = connector.credentials();
    for (name, value) in given {
        let value = value.expose_secret();
        if !fields.iter().any(|field| field.name == name) {
            let known: Vec<_> = fields.iter().map(|field| field.name).collect();
            let detail = format!("is not a credential of this vendor; it knows {}", known.join(", "));
            violations.add(format!("integration.credentials.{name}"), detail);
        } else if value.len() > MAX_CREDENTIAL_BYTES || value.contains('\0') {
            let detail = format!("may have up to {MAX_CREDENTIAL_BYTES} bytes, without U+0000");
            violations.add(format!("integration.credentials.{name}"), detail);
        }
    }
    for field in fields.iter().filter(|field| field.required && !kept.contains(field.name)) {
        violations.add(format!("integration.credentials.{}", field.name), "is required");
    }
}

/// Where a URL goes: scheme, host and port.
fn origin(url: &str) -> Option<String> {
    url::Url::parse(url).ok().map(|url| url.origin().ascii_serialization())
}

/// Refuses settings that would send credentials elsewhere which whoever sets them need not know: what is sent to another
/// origin than before must be given with it, or taken away. Answers whether the origin is another.
fn check_moved(
    connector: &dyn Connector,
    integration: &Integration,
    settings: &Value,
    given: Option<&Credentials>,
) -> Result<bool, Refusal> {
    let origins = |settings| -> BTreeMap<_, _> {
        connector.targets(settings).into_iter().map(|(field, url)| (field, origin(&url))).collect()
    };
    let (before, after) = (origins(&integration.settings), origins(settings));
    let fields: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let Some(moved) = fields.into_iter().find(|field| before.get(*field) != after.get(*field)) else {
        return Ok(false);
    };
    let mut violations = Violations::default();
    for name in integration.credentials.keys() {
        violations.require(
            given.is_some_and(|given| given.contains_key(name)),
            &format!("integration.credentials.{name}"),
            &format!("must be given again, or taken away, since settings.{moved} names another server now"),
        );
    }
    violations.finish()?;
    Ok(true)
}

impl App {
    /// The vendors of this server.
    pub fn list_vendors(&self, caller: &Caller) -> Result<&Vendors, Error> {
        caller.require(Service::Integrations, Level::Read)?;
        Ok(self.vendors())
    }

    fn connector(&self, vendor: &str) -> Result<&dyn Connector, Refusal> {
        let found = self.inner.vendors.get(vendor).and_then(|vendor| vendor.connector.as_deref());
        found.ok_or_else(|| {
            let connectable = self.inner.vendors.iter().filter(|vendor| vendor.connector.is_some());
            let known: Vec<_> = connectable.map(|vendor| vendor.id).collect();
            let detail = format!("must be a vendor that can be connected: {}", known.join(", "));
            Refusal::field(Reason::FieldInvalid, "integration.vendor", detail)
        })
    }

    /// Names all that is wrong with the settings; then checks the addresses in them, which may take its time.
    async fn check_connection_settings(
        &self,
        mut violations: Violations,
        connector: &dyn Connector,
        settings: &Value,
    ) -> Result<(), Refusal> {
        violations.require(
            settings.to_string().len() <= MAX_SETTINGS_BYTES && !settings.to_string().contains("\\u0000"),
            "integration.settings",
            "may have up to 65,536 bytes of JSON, without U+0000",
        );
        for bad in connector.check_settings(settings).err().unwrap_or_default() {
            violations.add(format!("integration.{}", bad.field), bad.detail);
        }
        violations.finish()?;
        for (field, url) in connector.targets(settings) {
            let checked = connector.check_target(&url).await;
            checked.map_err(|(reason, detail)| {
                Refusal::field(reason, &format!("integration.settings.{field}"), detail)
            })?;
        }
        Ok(())
    }

    /// Creates an integration.
    pub async fn create_integration(
        &self,
        caller: &Caller,
        mut new: NewIntegration,
        request_id: &str,
    ) -> Result<Integration, Error> {
        let workspace = caller.require(Service::Integrations, Level::Write)?;
        new.credentials.retain(|_, value| !value.expose_secret().is_empty());
        let mut violations = Violations::default();
        check_name(&mut violations, "integration.display_name", &new.display_name);
        let connector = match self.connector(&new.vendor) {
            Ok(connector) => connector,
            Err(refusal) => {
                for bad in refusal.fields {
                    violations.add(bad.field, bad.detail);
                }
                return Ok(violations.finish_with(None)?);
            }
        };
        let kept = new.credentials.keys().map(String::as_str).collect();
        check_credentials(&mut violations, connector, &new.credentials, &kept);
        self.check_connection_settings(violations, connector, &new.settings).await?;

        let id: IntegrationId = self.id();
        let mut tx = self.store().workspace(workspace).await?;
        // The digest of a request is no place for secrets, however scrambled: they are compared with what was kept.
        let names: Vec<_> = new.credentials.keys().collect();
        let request = (&new.vendor, &new.display_name, &new.settings, names);
        let first: Option<IntegrationId> =
            self.once(&mut tx, workspace, request_id, "CreateIntegration", &request, id.0).await?;
        if let Some(first) = first {
            let sealed = store::integrations::find(&mut tx, workspace, first, Keep::Free).await?;
            let sealed = sealed.ok_or_else(|| not_found(first))?;
            if sealed.integration.generation == 1 && !same(&self.open(workspace, &sealed)?, &new.credentials)
            {
                let detail = "was used before with another request; use a fresh one";
                return Err(Refusal::field(Reason::RequestIdReused, "request_id", detail).into());
            }
            return Ok(sealed.integration);
        }
        let now = self.now();
        let (key, data_key) = self.inner.sealer.fresh_data_key(workspace, id.0, DATA_KEY)?;
        let sealed = SealedIntegration {
            credentials: seal(&key, workspace, id, &new.credentials)?,
            data_key,
            integration: Integration {
                id,
                vendor: new.vendor,
                display_name: new.display_name,
                settings: new.settings,
                credentials: new.credentials.into_keys().map(|name| (name, now)).collect(),
                generation: 1,
                health: Health::Unknown,
                last_error: None,
                checked_at: None,
                grant: None,
                hook: None,
                source: None,
                created_at: now,
                updated_at: now,
            },
        };
        store::integrations::insert(&mut tx, workspace, &sealed).await?;
        self.hurry_source(&mut tx, workspace, &sealed.integration).await?;
        self.tell(&mut tx, workspace, "integration.created", id.0).await?;
        store::commit(tx).await?;
        self.forget();
        Ok(sealed.integration)
    }

    /// Opens an integration's credentials.
    pub(crate) fn open(
        &self,
        workspace: WorkspaceId,
        sealed: &SealedIntegration,
    ) -> Result<Credentials, Error> {
        let id = sealed.integration.id;
        let key = self.inner.sealer.open_data_key(workspace, id.0, DATA_KEY, &sealed.data_key)?;
        unseal(&key, workspace, id, &sealed.credentials)
    }

    /// Reads an integration.
    pub async fn get_integration(&self, caller: &Caller, id: IntegrationId) -> Result<Integration, Error> {
        let workspace = caller.require(Service::Integrations, Level::Read)?;
        let mut tx = self.store().workspace(workspace).await?;
        let sealed = store::integrations::find(&mut tx, workspace, id, Keep::Free).await?;
        store::commit(tx).await?;
        Ok(sealed.ok_or_else(|| not_found(id))?.integration)
    }

    /// Lists integrations, oldest first.
    pub async fn list_integrations(
        &self,
        caller: &Caller,
        filter: &Filter,
        page: &PageRequest,
    ) -> Result<Page<Integration>, Error> {
        let workspace = caller.require(Service::Integrations, Level::Read)?;
        let limit = page.limit()?;
        let token = ("integrations", filter);
        let after = page.after(&token)?;
        let mut tx = self.store().workspace(workspace).await?;
        let items = store::integrations::list(&mut tx, workspace, filter, after, limit + 1).await?;
        store::commit(tx).await?;
        Ok(Page::cut(items, limit, &token, |integration| integration.id))
    }

    /// Changes an integration.
    pub async fn update_integration(
        &self,
        caller: &Caller,
        id: IntegrationId,
        patch: IntegrationPatch,
    ) -> Result<Integration, Error> {
        let workspace = caller.require(Service::Integrations, Level::Write)?;
        // An integration keeps its vendor, and a name may take its time to resolve: both before the row is locked.
        let mut tx = self.store().workspace(workspace).await?;
        let found = store::integrations::find(&mut tx, workspace, id, Keep::Free).await?;
        store::commit(tx).await?;
        let vendor = found.ok_or_else(|| not_found(id))?.integration.vendor;
        let connector = self.connector(&vendor)?;
        let mut violations = Violations::default();
        if let Some(name) = &patch.display_name {
            check_name(&mut violations, "integration.display_name", name);
        }
        if let Some(settings) = &patch.settings {
            self.check_connection_settings(violations, connector, settings).await?;
        } else {
            violations.finish()?;
        }

        let (mut tx, mut sealed) = self.lock_integration(workspace, id).await?;
        let now = self.now();
        let integration = &mut sealed.integration;
        if let Some(settings) = &patch.settings
            && check_moved(connector, integration, settings, patch.credentials.as_ref())?
        {
            // What a person granted at the one server is not for the other.
            store::grants::delete(&mut tx, workspace, id).await?;
            integration.grant = None;
        }
        integration.display_name = patch.display_name.unwrap_or_else(|| integration.display_name.clone());
        let renewed = patch.settings.is_some() || patch.credentials.is_some();
        integration.settings = patch.settings.unwrap_or_else(|| integration.settings.clone());
        if let Some(given) = patch.credentials {
            let (taken, replaced): (Vec<_>, Vec<_>) =
                given.iter().partition(|(_, value)| value.expose_secret().is_empty());
            for (name, _) in &replaced {
                integration.credentials.insert((*name).clone(), now);
            }
            for (name, _) in &taken {
                integration.credentials.remove(*name);
            }
            let kept = integration.credentials.keys().map(String::as_str).collect();
            let mut violations = Violations::default();
            check_credentials(&mut violations, connector, &given, &kept);
            violations.finish()?;
            let key = self.inner.sealer.open_data_key(workspace, id.0, DATA_KEY, &sealed.data_key)?;
            let mut credentials = unseal(&key, workspace, id, &sealed.credentials)?;
            credentials.extend(given);
            credentials.retain(|name, _| sealed.integration.credentials.contains_key(name));
            sealed.credentials = seal(&key, workspace, id, &credentials)?;
        }
        let integration = &mut sealed.integration;
        if renewed {
            integration.generation += 1;
            integration.health = Health::Unknown;
            integration.last_error = None;
        }
        integration.updated_at = now;
        if renewed {
            self.hurry_source(&mut tx, workspace, &sealed.integration).await?;
        }
        self.save_integration(tx, workspace, sealed).await
    }

    pub(crate) async fn lock_integration(
        &self,
        workspace: WorkspaceId,
        id: IntegrationId,
    ) -> Result<(store::Tx, SealedIntegration), Error> {
        let mut tx = self.store().workspace(workspace).await?;
        let sealed = store::integrations::find(&mut tx, workspace, id, Keep::Unchanged).await?;
        Ok((tx, sealed.ok_or_else(|| not_found(id))?))
    }

    pub(crate) async fn save_integration(
        &self,
        mut tx: store::Tx,
        workspace: WorkspaceId,
        sealed: SealedIntegration,
    ) -> Result<Integration, Error> {
        store::integrations::update(&mut tx, workspace, &sealed).await?;
        self.tell(&mut tx, workspace, "integration.updated", sealed.integration.id.0).await?;
        store::commit(tx).await?;
        self.forget();
        Ok(sealed.integration)
    }

    /// Deletes an integration that no agent and no channel uses.
    pub async fn delete_integration(&self, caller: &Caller, id: IntegrationId) -> Result<(), Error> {
        let workspace = caller.require(Service::Integrations, Level::Write)?;
        let (mut tx, _) = self.lock_integration(workspace, id).await?;
        let agents = store::integrations::count_agents(&mut tx, workspace, id).await?;
        if agents > 0 {
            let detail =
                format!("integration {id} is used by {agents} agents; give them another engine first");
            return Err(Refusal::new(Reason::IntegrationInUse, detail).into());
        }
        let channels = store::integrations::count_channels(&mut tx, workspace, id).await?;
        if channels > 0 {
            let detail = format!("integration {id} is used by {channels} channels; delete them first");
            return Err(Refusal::new(Reason::IntegrationInUse, detail).into());
        }
        store::integrations::delete(&mut tx, workspace, id).await?;
        store::grants::delete(&mut tx, workspace, id).await?;
        store::crm_hooks::delete(&mut tx, workspace, id).await?;
        store::sources::delete(&mut tx, workspace, id).await?;
        store::governors::delete(&mut tx, workspace, &crate::governor::key(id)).await?;
        self.tell(&mut tx, workspace, "integration.deleted", id.0).await?;
        store::commit(tx).await?;
        self.forget();
        Ok(())
    }

    /// Gives an integration a fresh data key.
    pub async fn rotate_integration(&self, caller: &Caller, id: IntegrationId) -> Result<Integration, Error> {
        let workspace = caller.require(Service::Integrations, Level::Admin)?;
        let (mut tx, mut sealed) = self.lock_integration(workspace, id).await?;
        let credentials = self.open(workspace, &sealed)?;
        let (key, data_key) = self.inner.sealer.fresh_data_key(workspace, id.0, DATA_KEY)?;
        sealed.credentials = seal(&key, workspace, id, &credentials)?;
        sealed.data_key = data_key;
        sealed.integration.updated_at = self.now();
        self.reseal_grant(&mut tx, workspace, id, None).await?;
        self.save_integration(tx, workspace, sealed).await
    }

    /// Tries an integration step by step, and keeps what came of it.
    pub async fn check_integration(
        &self,
        caller: &Caller,
        id: IntegrationId,
    ) -> Result<(Integration, Vec<CheckStep>), Error> {
        let workspace = caller.require(Service::Integrations, Level::Write)?;
        let held = self.held(workspace, id).await?.ok_or_else(|| not_found(id))?;
        let integration = &held.sealed.integration;
        let connector = self.connector(&integration.vendor)?;
        let mut subject = Subject { workspace, id, generation: integration.generation, pair: None };
        let steps = match self.account_of(workspace, &held).await {
            Ok(mut account) => {
                subject.pair = account.pair();
                account.connection.gate = Some(self.gate_of_checks(workspace, id));
                let mut steps = connector.check(&account.connection).await;
                steps.extend(self.check_subscription(workspace, &held, &account).await?);
                steps
            }
            Err(Error::Vendor(error)) => vec![not_let_in(&error)],
            Err(error) => return Err(error),
        };
        let now = self.now();
        let finding = after_check(&steps, now);
        self.note_finding(subject, &finding, Some(now)).await?;
        if let (Health::Healthy, Some(pair)) = (finding.0, subject.pair) {
            self.prove(workspace, id, pair).await;
        }
        Ok((self.get_integration_of(workspace, id).await?, steps))
    }

    pub(crate) async fn get_integration_of(
        &self,
        workspace: WorkspaceId,
        id: IntegrationId,
    ) -> Result<Integration, Error> {
        let mut tx = self.store().workspace(workspace).await?;
        let sealed = store::integrations::find(&mut tx, workspace, id, Keep::Free).await?;
        store::commit(tx).await?;
        Ok(sealed.ok_or_else(|| not_found(id))?.integration)
    }

    /// Keeps what was found out about an integration; tells of it where its health is another now.
    pub(crate) async fn note_finding(
        &self,
        subject: Subject,
        finding: &Finding,
        checked_at: Option<Timestamp>,
    ) -> Result<(), Error> {
        let Subject { workspace, id, generation, pair } = subject;
        let now = self.now();
        let mut tx = self.store().workspace(workspace).await?;
        let state = (generation, pair);
        let changed =
            store::integrations::set_health(&mut tx, workspace, id, state, finding, checked_at).await?;
        if changed {
            self.tell_health(&mut tx, workspace, id, finding).await?;
        }
        if changed && finding.0 == Health::Healthy {
            store::sources::let_in(&mut tx, workspace, id, now).await?;
        }
        store::commit(tx).await?;
        if changed {
            self.forget();
        }
        Ok(())
    }

    /// Writes an event about an integration's health, and has every process forget what it cached.
    pub(crate) async fn tell_health(
        &self,
        tx: &mut store::Tx,
        workspace: WorkspaceId,
        id: IntegrationId,
        (health, trouble): &Finding,
    ) -> Result<(), Error> {
        let text = |text: Option<&String>| text.map(|text| text.replace('\0', "")).unwrap_or_default();
        let event = NewEvent {
            id: self.id(),
            kind: "integration.health_changed",
            dialogue: None,
            subject: id.0,
            data: json!({
                "health": health.as_str(),
                "last_error": text(trouble.as_ref().map(|trouble| &trouble.detail)),
                "remedy": text(trouble.as_ref().map(|trouble| &trouble.remedy)),
            }),
            at: self.now(),
        };
        store::events::insert(tx, workspace, &event).await?;
        store::notify_configuration(tx, workspace).await?;
        tracing::info!(
            workspace.id = %workspace, integration.id = %id, health = health.as_str(),
            error = trouble.as_ref().map(|trouble| &*trouble.detail), "an integration's health is another now"
        );
        Ok(())
    }
}

/// A check that doesn't get as far as the vendor's own steps: the tokens can't be had.
fn not_let_in(error: &VendorError) -> CheckStep {
    let person = error.kind == FailureKind::Unauthorized;
    CheckStep {
        name: if person { CREDENTIALS_STEP } else { "tokens" },
        outcome: CheckOutcome::Failed,
        detail: error.to_string(),
        remedy: if person { AUTHORIZE } else { "try again later" }.to_owned(),
    }
}

fn seal(
    key: &DataKey,
    workspace: WorkspaceId,
    id: IntegrationId,
    credentials: &Credentials,
) -> Result<Vec<u8>, Error> {
    let plain: BTreeMap<_, _> =
        credentials.iter().map(|(name, value)| (name, value.expose_secret())).collect();
    let plain: SecretString = serde_json::to_string(&plain).expect("a map of strings is JSON").into();
    key.seal(workspace, id.0, CREDENTIALS, &plain)
}

fn unseal(
    key: &DataKey,
    workspace: WorkspaceId,
    id: IntegrationId,
    sealed: &[u8],
) -> Result<Credentials, Error> {
    let plain = key.open(workspace, id.0, CREDENTIALS, sealed)?;
    let plain: BTreeMap<String, String> = serde_json::from_str(plain.expose_secret())
        .map_err(|_| Error::Sealing("the credentials of an integration are not what was sealed"))?;
    Ok(plain.into_iter().map(|(name, value)| (name, value.into())).collect())
}

/// Compares credentials in constant time.
fn same(one: &Credentials, other: &Credentials) -> bool {
    one.keys().eq(other.keys())
        && one
            .values()
            .zip(other.values())
            .all(|(one, other)| one.expose_secret().as_bytes().ct_eq(other.expose_secret().as_bytes()).into())
}
