//! What a workspace's CRM keeps: what it lists is kept for an hour, leads and contacts are read as they are.

use std::{sync::Arc, time::Duration};

use domain::{
    Error as Refusal, FieldViolation, IntegrationId, Reason, WorkspaceId,
    connection::Connection,
    crm::{
        Contact, Crm, CrmError, Entity, Field, Lead, LeadPatch, NewNote, NewTask, Pipeline, Tag, User,
        check_text,
    },
    error::Violations,
    integration::Integration,
    source::Source,
    workspace::{Level, Service},
};
use moka::sync::Cache;
use store::integrations::Filter;

use crate::{
    App, Caller, Error,
    engines::Held,
    shelf::{Listed, Shelf, Terms},
};

/// From when on a CRM is asked anew.
const FRESH: Duration = Duration::from_hours(1);
/// How many leads one call may change.
const MOST_LEADS: usize = 250;
/// The longest id of a CRM's, in characters.
const MAX_ID_CHARS: usize = 100;

/// Whose lists they are: workspace, and integration with the state of its settings and credentials.
pub(crate) type Key = (WorkspaceId, IntegrationId, i64);

/// The lists that are kept.
pub(crate) type CrmCache = Cache<Key, Arc<Shelves>>;

/// What is kept of one CRM.
#[derive(Debug, Default)]
pub(crate) struct Shelves {
    lead_fields: Arc<Shelf<Field>>,
    contact_fields: Arc<Shelf<Field>>,
    pipelines: Arc<Shelf<Pipeline>>,
    users: Arc<Shelf<User>>,
    lead_tags: Arc<Shelf<Tag>>,
    contact_tags: Arc<Shelf<Tag>>,
    pub(crate) sources: Arc<Shelf<Source>>,
}

pub(crate) fn new_cache() -> CrmCache {
    Cache::builder()
        .max_capacity(1_000)
        .time_to_idle(Duration::from_hours(24))
        .support_invalidation_closures()
        .build()
}

/// A CRM, as an integration reaches it.
#[derive(Clone)]
pub(crate) struct Office {
    app: App,
    workspace: WorkspaceId,
    crm: Arc<dyn Crm>,
    held: Arc<Held>,
}

impl Office {
    pub(crate) fn id(&self) -> IntegrationId {
        self.integration().id
    }

    pub(crate) fn app(&self) -> &App {
        &self.app
    }

    pub(crate) fn workspace(&self) -> WorkspaceId {
        self.workspace
    }

    pub(crate) fn integration(&self) -> &Integration {
        &self.held.sealed.integration
    }

    /// Whose it is, and which state of its settings and credentials.
    pub(crate) fn key(&self) -> Key {
        (self.workspace, self.id(), self.held.sealed.integration.generation)
    }

    /// Makes one call, and keeps what it tells of the integration.
    pub(crate) async fn call<T, F>(
        &self,
        call: impl FnOnce(Arc<dyn Crm>, Connection) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, CrmError>>,
    {
        let crm = Arc::clone(&self.crm);
        self.ask(|connection| call(crm, connection)).await?.map_err(|error| told(error, ""))
    }

    /// Makes one call, and keeps what it tells of the integration. The inner error is the CRM's own.
    pub(crate) async fn ask<T, F>(
        &self,
        call: impl FnOnce(Connection) -> F,
    ) -> Result<Result<T, CrmError>, Error>
    where
        F: Future<Output = Result<T, CrmError>>,
    {
        let account = self.app.account_of(self.workspace, &self.held).await?;
        let result = call(account.connection.clone()).await;
        let noted = match &result {
            Err(CrmError::Vendor(error)) => Err(error),
            // It answered, and knew us.
            _ => Ok(()),
        };
        self.app.note_call(&account, noted).await;
        Ok(result)
    }

    pub(crate) fn shelves(&self) -> Arc<Shelves> {
        self.app.inner.crm.get_with(self.key(), Arc::default)
    }

    pub(crate) async fn list<T: Send + Sync + 'static>(
        &self,
        shelf: Arc<Shelf<T>>,
        refresh: bool,
        ask: impl Future<Output = Result<Vec<T>, Error>> + Send + 'static,
    ) -> Result<Arc<Listed<T>>, Error> {
        let ask = Box::pin(async move {
            match ask.await {
                Err(Error::Vendor(error)) => Ok(Err(error)),
                listed => listed.map(Ok),
            }
        });
        // Whoever wants it as it is now gets it so: the account's gate keeps calls apart.
        let terms = Terms { fresh: FRESH, refresh, pause: Duration::ZERO };
        let listed = self.app.on_shelf(shelf, terms, "a CRM's lists", ask).await?;
        if refresh {
            self.app.tell_crm(self.workspace, self.id()).await;
        }
        Ok(listed)
    }
}

/// Tells a caller why a CRM did not do as it was asked; `at` is where in the request its words are found.
pub(crate) fn told(error: CrmError, at: &str) -> Error {
    match error {
        CrmError::Invalid(fields) => {
            let named = |bad: FieldViolation| FieldViolation { field: format!("{at}{}", bad.field), ..bad };
            Refusal::fields(Reason::FieldInvalid, fields.into_iter().map(named).collect()).into()
        }
        CrmError::Gone(entity, id) => {
            let reason = match entity {
                Entity::Lead => Reason::CrmLeadNotFound,
                Entity::Contact => Reason::CrmContactNotFound,
            };
            let detail = format!(
                "the CRM has no {entity} {id}: it was deleted, merged into another, or never there; look for it in the CRM"
            );
            Refusal::new(reason, detail).with("id", id).into()
        }
        CrmError::Vendor(error) => Error::Vendor(error),
    }
}

/// Prefixes the bad fields of a refusal.
fn under(at: &str, error: Error) -> Error {
    match error {
        Error::Refused(mut refusal) if refusal.reason == Reason::FieldInvalid => {
            for bad in &mut refusal.fields {
                bad.field = format!("{at}{}", bad.field);
            }
            Refusal::fields(Reason::FieldInvalid, refusal.fields).into()
        }
        error => error,
    }
}

pub(crate) fn check_id(violations: &mut Violations, field: &str, id: &str) {
    violations.require(
        (1..=MAX_ID_CHARS).contains(&id.chars().count()) && !id.contains('\0'),
        field,
        "is required: an id of the CRM's, up to 100 characters",
    );
}

impl App {
    /// Has every process forget what it kept of a CRM's lists: somebody saw that they are others now.
    pub(crate) async fn tell_crm(&self, workspace: WorkspaceId, integration: IntegrationId) {
        let told = self.store().notify_lists(&self.inner.worker.to_string(), workspace, integration).await;
        if let Err(error) = told {
            tracing::info!(error = %error, "other processes could not be told that a CRM's lists are others now");
        }
    }

    /// Forgets what was kept of a CRM's lists. `None`: of any.
    pub(crate) fn forget_lists(&self, of: Option<(WorkspaceId, IntegrationId)>) {
        match of {
            None => self.inner.crm.invalidate_all(),
            Some((workspace, integration)) => {
                let of = move |key: &Key, _: &Arc<Shelves>| (key.0, key.1) == (workspace, integration);
                // It only fails where the cache was not made for this.
                let _ = self.inner.crm.invalidate_entries_if(of);
            }
        }
    }

    /// The CRM of an integration; of the workspace's only one where none is named.
    pub(crate) async fn office(
        &self,
        workspace: WorkspaceId,
        integration: Option<IntegrationId>,
    ) -> Result<Office, Error> {
        let id = match integration {
            Some(id) => id,
            None => self.only_crm(workspace).await?,
        };
        let held = self.held(workspace, id).await?.ok_or_else(|| crate::integrations::not_found(id))?;
        let vendor = &held.sealed.integration.vendor;
        let crm = self.inner.vendors.get(vendor).and_then(|vendor| vendor.crm.clone());
        let crm = crm.ok_or_else(|| {
            Refusal::new(
                Reason::CapabilityMissing,
                format!("{vendor} is no CRM; name an integration with one"),
            )
            .with("vendor", vendor)
        })?;
        Ok(Office { app: self.clone(), workspace, crm, held })
    }

    async fn only_crm(&self, workspace: WorkspaceId) -> Result<IntegrationId, Error> {
        let mut tx = self.store().workspace(workspace).await?;
        let all =
            store::integrations::list(&mut tx, workspace, &Filter { vendor: None }, None, 1_000).await?;
        store::commit(tx).await?;
        let mut of_crms = all.into_iter().filter(|integration| {
            self.inner.vendors.get(&integration.vendor).is_some_and(|vendor| vendor.crm.is_some())
        });
        let detail = match (of_crms.next(), of_crms.next()) {
            (Some(only), None) => return Ok(only.id),
            (None, _) => "is required: the workspace has no integration with a CRM yet; make one",
            _ => "is required: the workspace has several integrations with a CRM; name one",
        };
        Err(Refusal::field(Reason::FieldInvalid, "integration_id", detail).into())
    }

    /// Lists the fields of leads or contacts.
    pub async fn list_crm_fields(
        &self,
        caller: &Caller,
        integration: Option<IntegrationId>,
        of: Entity,
        refresh: bool,
    ) -> Result<Arc<Listed<Field>>, Error> {
        let workspace = caller.require(Service::Crm, Level::Read)?;
        let office = self.office(workspace, integration).await?;
        let shelves = office.shelves();
        let shelf = match of {
            Entity::Lead => &shelves.lead_fields,
            Entity::Contact => &shelves.contact_fields,
        };
        let asked = office.clone();
        let ask = async move { asked.call(|crm, at| async move { crm.list_fields(&at, of).await }).await };
        office.list(Arc::clone(shelf), refresh, ask).await
    }

    /// Lists pipelines.
    pub async fn list_crm_pipelines(
        &self,
        caller: &Caller,
        integration: Option<IntegrationId>,
        refresh: bool,
    ) -> Result<Arc<Listed<Pipeline>>, Error> {
        let workspace = caller.require(Service::Crm, Level::Read)?;
        self.office(workspace, integration).await?.pipelines(refresh).await
    }

    /// Lists who works in an account.
    pub async fn list_crm_users(
        &self,
        caller: &Caller,
        integration: Option<IntegrationId>,
        refresh: bool,
    ) -> Result<Arc<Listed<User>>, Error> {
        let workspace = caller.require(Service::Crm, Level::Read)?;
        self.office(workspace, integration).await?.users(refresh).await
    }

    /// Lists the tags of leads or contacts.
    pub async fn list_crm_tags(
        &self,
        caller: &Caller,
        integration: Option<IntegrationId>,
        of: Entity,
        refresh: bool,
    ) -> Result<Arc<Listed<Tag>>, Error> {
        let workspace = caller.require(Service::Crm, Level::Read)?;
        let office = self.office(workspace, integration).await?;
        let shelves = office.shelves();
        let shelf = match of {
            Entity::Lead => &shelves.lead_tags,
            Entity::Contact => &shelves.contact_tags,
        };
        let asked = office.clone();
        let ask = async move { asked.call(|crm, at| async move { crm.list_tags(&at, of).await }).await };
        office.list(Arc::clone(shelf), refresh, ask).await
    }

    /// Reads a lead.
    pub async fn get_crm_lead(
        &self,
        caller: &Caller,
        integration: Option<IntegrationId>,
        id: &str,
    ) -> Result<Lead, Error> {
        let workspace = caller.require(Service::Crm, Level::Read)?;
        let mut violations = Violations::default();
        check_id(&mut violations, "lead_id", id);
        violations.finish()?;
        self.office(workspace, integration)
            .await?
            .call(|crm, at| async move { crm.lead(&at, id).await })
            .await
    }

    /// Reads a contact.
    pub async fn get_crm_contact(
        &self,
        caller: &Caller,
        integration: Option<IntegrationId>,
        id: &str,
    ) -> Result<Contact, Error> {
        let workspace = caller.require(Service::Crm, Level::Read)?;
        let mut violations = Violations::default();
        check_id(&mut violations, "contact_id", id);
        violations.finish()?;
        self.office(workspace, integration)
            .await?
            .call(|crm, at| async move { crm.contact(&at, id).await })
            .await
    }

    /// Changes a lead, and reads it.
    pub async fn update_crm_lead(
        &self,
        caller: &Caller,
        integration: Option<IntegrationId>,
        id: String,
        patch: LeadPatch,
    ) -> Result<Lead, Error> {
        let workspace = caller.require(Service::Crm, Level::Write)?;
        let mut violations = Violations::default();
        check_id(&mut violations, "lead_id", &id);
        patch.check(&mut violations, "patch");
        violations.finish()?;
        let office = self.office(workspace, integration).await?;
        office.update_lead(id.clone(), patch).await.map_err(|error| under("patch.", error))?;
        let id = &id;
        office.call(|crm, at| async move { crm.lead(&at, id).await }).await
    }

    /// Changes leads. Answers for each in turn.
    pub async fn update_crm_leads(
        &self,
        caller: &Caller,
        integration: Option<IntegrationId>,
        changes: Vec<(String, LeadPatch)>,
    ) -> Result<Vec<Result<(), Refusal>>, Error> {
        let workspace = caller.require(Service::Crm, Level::Write)?;
        let mut violations = Violations::default();
        violations.require((1..=MOST_LEADS).contains(&changes.len()), "changes", "must be 1 to 250");
        for (number, (id, patch)) in changes.iter().enumerate() {
            let field = format!("changes[{number}].lead_id");
            check_id(&mut violations, &field, id);
            violations.require(
                !changes[..number].iter().any(|(other, _)| other == id),
                &field,
                "is there twice; put both changes into one",
            );
            patch.check(&mut violations, &format!("changes[{number}].patch"));
        }
        violations.finish()?;
        let office = self.office(workspace, integration).await?;
        let changes = &changes;
        let answers = office.call(|crm, at| async move { crm.update_leads(&at, changes).await }).await;
        for (id, _) in changes {
            self.forget_lead(&office, id);
        }
        let answers = answers?;
        let told = |(number, answer): (usize, Result<(), CrmError>)| {
            answer.map_err(|error| told(error, &format!("changes[{number}].patch.")).to_domain())
        };
        Ok(answers.into_iter().enumerate().map(told).collect())
    }

    /// Makes a task. Gives its id.
    pub async fn create_crm_task(
        &self,
        caller: &Caller,
        integration: Option<IntegrationId>,
        task: NewTask,
    ) -> Result<String, Error> {
        let workspace = caller.require(Service::Crm, Level::Write)?;
        let mut violations = Violations::default();
        check_id(&mut violations, "entity_id", &task.entity_id);
        check_text(&mut violations, "text", &task.text);
        violations.finish()?;
        let task = &task;
        self.office(workspace, integration)
            .await?
            .call(|crm, at| async move { crm.create_task(&at, task).await })
            .await
    }

    /// Adds a note. Gives its id.
    pub async fn add_crm_note(
        &self,
        caller: &Caller,
        integration: Option<IntegrationId>,
        note: NewNote,
    ) -> Result<String, Error> {
        let workspace = caller.require(Service::Crm, Level::Write)?;
        let mut violations = Violations::default();
        check_id(&mut violations, "entity_id", &note.entity_id);
        check_text(&mut violations, "text", &note.text);
        violations.finish()?;
        let note = &note;
        self.office(workspace, integration)
            .await?
            .call(|crm, at| async move { crm.add_note(&at, note).await })
            .await
    }
}

impl Office {
    pub(crate) async fn users(&self, refresh: bool) -> Result<Arc<Listed<User>>, Error> {
        let shelf = Arc::clone(&self.shelves().users);
        let asked = self.clone();
        let ask = async move { asked.call(|crm, at| async move { crm.list_users(&at).await }).await };
        self.list(shelf, refresh, ask).await
    }

    pub(crate) async fn pipelines(&self, refresh: bool) -> Result<Arc<Listed<Pipeline>>, Error> {
        let shelf = Arc::clone(&self.shelves().pipelines);
        let asked = self.clone();
        let ask = async move { asked.call(|crm, at| async move { crm.list_pipelines(&at).await }).await };
        self.list(shelf, refresh, ask).await
    }

    /// Changes one lead. A tag that it is given may be new to the account.
    pub(crate) async fn update_lead(&self, id: String, patch: LeadPatch) -> Result<(), Error> {
        let tags = !patch.tags_added.is_empty();
        let changes = &[(id, patch)];
        let changed = self
            .call(|crm, at| async move {
                let answers = crm.update_leads(&at, changes).await?;
                answers.into_iter().next().unwrap_or(Ok(()))
            })
            .await;
        // Also where nobody knows what came of it.
        self.app.forget_lead(self, &changes[0].0);
        changed?;
        if tags {
            self.app.forget_lists(Some((self.workspace, self.id())));
            self.app.tell_crm(self.workspace, self.id()).await;
        }
        Ok(())
    }
}
