//! Sources: where a CRM's chats come from. Lists are kept like the CRM's others; [`own`] looks after the source that an
//! integration asks for, [`check`] says what is in the way of one.

mod check;
mod ensure;
mod own;

use std::sync::Arc;

use domain::{
    Error as Refusal, IntegrationId, Reason, WorkspaceId,
    connection::Connection,
    crm::CrmError,
    error::Violations,
    integration::Integration,
    source::{CrmSources, NewSource, Source, SourcePatch, check_external_id, check_name},
    workspace::{Level, Service},
};

pub use self::{check::CheckedSources, ensure::Ensured};
use crate::{
    App, Caller, Error,
    crm::{Office, told},
    shelf::Listed,
};

/// How a source is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceKey {
    /// By the CRM's id.
    Id(String),
    /// By our id.
    ExternalId(String),
    /// By its name.
    Name(String),
}

impl SourceKey {
    fn find<'a>(&self, sources: &'a [Source]) -> Option<&'a Source> {
        match self {
            Self::Id(id) => sources.iter().find(|source| source.id == *id),
            Self::ExternalId(id) => sources.iter().find(|source| source.external_id == *id),
            Self::Name(name) => domain::source::find(sources, name, ""),
        }
    }

    fn text(&self) -> &str {
        match self {
            Self::Id(text) | Self::ExternalId(text) | Self::Name(text) => text,
        }
    }
}

/// A source to have there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WantedSource {
    /// Its name. Empty: the one that the integration's settings ask for.
    pub name: String,
    /// Our id of it, if it has to be made. `None`: one is made up.
    pub external_id: Option<String>,
    /// Its pipeline, if it has to be made.
    pub pipeline_id: Option<String>,
}

/// A CRM with sources, as an integration reaches it.
#[derive(Clone)]
struct Desk {
    office: Office,
    sources: Arc<dyn CrmSources>,
}

fn not_found(key: &str) -> Refusal {
    let detail = format!(
        "the CRM has no source {key} of this integration: it was deleted, or never there; list the sources with refresh"
    );
    Refusal::new(Reason::SourceNotFound, detail).with("id", key)
}

impl Desk {
    fn integration(&self) -> &Integration {
        self.office.integration()
    }

    /// Makes one call, and keeps what it tells of the integration. The inner error is the CRM's, or says that there is no way
    /// to it.
    async fn ask<T, F>(
        &self,
        call: impl FnOnce(Arc<dyn CrmSources>, Connection) -> F,
    ) -> Result<Result<T, CrmError>, Error>
    where
        F: Future<Output = Result<T, CrmError>>,
    {
        let sources = Arc::clone(&self.sources);
        match self.office.ask(|connection| call(sources, connection)).await {
            Err(Error::Vendor(error)) => Ok(Err(CrmError::Vendor(error))),
            asked => asked,
        }
    }

    async fn list(&self, refresh: bool) -> Result<Arc<Listed<Source>>, Error> {
        let shelf = Arc::clone(&self.office.shelves().sources);
        let asked = self.clone();
        let ask = async move {
            let listed = asked.ask(|sources, at| async move { sources.list_sources(&at).await }).await?;
            listed.map_err(|error| told(error, ""))
        };
        self.office.list(shelf, refresh, ask).await
    }

    /// The sources as the CRM has them now; the inner error is its own.
    async fn list_now(&self) -> Result<Result<Arc<Listed<Source>>, CrmError>, Error> {
        match self.list(true).await {
            Err(Error::Vendor(error)) => Ok(Err(CrmError::Vendor(error))),
            listed => listed.map(Ok),
        }
    }

    /// Has everybody forget the lists: we have changed them.
    async fn forget(&self) {
        let (app, workspace, id) = (self.office.app(), self.office.workspace(), self.integration().id);
        app.forget_lists(Some((workspace, id)));
        app.tell_crm(workspace, id).await;
    }

    /// Has everybody forget the lists, and the integration's own source looked after, if it asks for one.
    async fn changed(&self) -> Result<(), Error> {
        self.forget().await;
        let (app, workspace, id) = (self.office.app(), self.office.workspace(), self.integration().id);
        if self.integration().source.is_some() {
            let mut tx = app.store().workspace(workspace).await?;
            store::sources::hurry(&mut tx, workspace, id, app.now()).await?;
            store::notify_configuration(&mut tx, workspace).await?;
            store::commit(tx).await?;
            app.forget();
        }
        Ok(())
    }
}

impl App {
    async fn desk(&self, workspace: WorkspaceId, integration: Option<IntegrationId>) -> Result<Desk, Error> {
        let office = self.office(workspace, integration).await?;
        let vendor = &office.integration().vendor;
        let sources = self.inner.vendors.get(vendor).and_then(|vendor| vendor.sources.clone());
        let sources = sources.ok_or_else(|| {
            Refusal::new(Reason::CapabilityMissing, format!("{vendor} files no chats by sources"))
                .with("vendor", vendor)
        })?;
        Ok(Desk { office, sources })
    }

    /// Lists an integration's sources.
    pub async fn list_sources(
        &self,
        caller: &Caller,
        integration: Option<IntegrationId>,
        refresh: bool,
    ) -> Result<Arc<Listed<Source>>, Error> {
        let workspace = caller.require(Service::Sources, Level::Read)?;
        self.desk(workspace, integration).await?.list(refresh).await
    }

    /// Reads a source. One that is not in the list that is kept is asked for anew.
    pub async fn get_source(
        &self,
        caller: &Caller,
        integration: Option<IntegrationId>,
        key: &SourceKey,
        refresh: bool,
    ) -> Result<Source, Error> {
        let workspace = caller.require(Service::Sources, Level::Read)?;
        let mut violations = Violations::default();
        violations.require(
            (1..=domain::source::MAX_NAME_CHARS).contains(&key.text().chars().count())
                && !key.text().contains('\0'),
            "key",
            "is required: an id, an external id or a name, up to 200 characters",
        );
        violations.finish()?;
        let desk = self.desk(workspace, integration).await?;
        let listed = desk.list(refresh).await?;
        if let Some(found) = key.find(&listed.items) {
            return Ok(found.clone());
        }
        let listed = if refresh { listed } else { desk.list(true).await? };
        Ok(key.find(&listed.items).cloned().ok_or_else(|| not_found(key.text()))?)
    }

    /// Makes a source.
    pub async fn create_source(
        &self,
        caller: &Caller,
        integration: Option<IntegrationId>,
        mut new: NewSource,
    ) -> Result<Source, Error> {
        let workspace = caller.require(Service::Sources, Level::Write)?;
        let desk = self.desk(workspace, integration).await?;
        if new.external_id.is_empty() {
            let of = desk.integration();
            new.external_id = desk.sources.external_id(&of.settings, of.id, &new.name);
        }
        let mut violations = Violations::default();
        new.check(&mut violations, "source");
        violations.finish()?;
        let made = ensure::create(&desk, &new).await?.map_err(|error| told(error, "source."))?;
        desk.changed().await?;
        Ok(made)
    }

    /// Changes a source.
    pub async fn update_source(
        &self,
        caller: &Caller,
        integration: Option<IntegrationId>,
        id: &str,
        patch: &SourcePatch,
    ) -> Result<Source, Error> {
        let workspace = caller.require(Service::Sources, Level::Write)?;
        let mut violations = Violations::default();
        crate::crm::check_id(&mut violations, "source.id", id);
        patch.check(&mut violations, "source");
        violations.finish()?;
        let desk = self.desk(workspace, integration).await?;
        let asked =
            desk.ask(|sources, at| async move { sources.update_source(&at, id, patch).await }).await?;
        let changed = asked.map_err(|error| told(error, "source."))?;
        desk.changed().await?;
        Ok(changed.ok_or_else(|| not_found(id))?)
    }

    /// Takes a source away.
    pub async fn delete_source(
        &self,
        caller: &Caller,
        integration: Option<IntegrationId>,
        id: &str,
    ) -> Result<(), Error> {
        let workspace = caller.require(Service::Sources, Level::Write)?;
        let mut violations = Violations::default();
        crate::crm::check_id(&mut violations, "id", id);
        violations.finish()?;
        let desk = self.desk(workspace, integration).await?;
        let asked = desk.ask(|sources, at| async move { sources.delete_source(&at, id).await }).await?;
        let gone = asked.map_err(|error| told(error, ""))?;
        desk.changed().await?;
        if gone { Ok(()) } else { Err(not_found(id).into()) }
    }

    /// Finds a source, or makes it; without a name the one that the integration's settings ask for.
    pub async fn ensure_source(
        &self,
        caller: &Caller,
        integration: Option<IntegrationId>,
        wanted: WantedSource,
    ) -> Result<Ensured, Error> {
        let workspace = caller.require(Service::Sources, Level::Write)?;
        let mut violations = Violations::default();
        if wanted.name.is_empty() {
            for (field, given) in [("external_id", &wanted.external_id), ("pipeline_id", &wanted.pipeline_id)]
            {
                violations.require(
                    given.is_none(),
                    field,
                    "needs display_name; the settings say it otherwise",
                );
            }
        } else {
            check_name(&mut violations, "display_name", &wanted.name);
            if let Some(id) = &wanted.external_id {
                check_external_id(&mut violations, "external_id", id);
            }
            let good = wanted.pipeline_id.as_ref().is_none_or(|id| id.parse::<u64>().is_ok());
            violations.require(good, "pipeline_id", "must be a pipeline's id; ListPipelines gives them");
        }
        violations.finish()?;
        let desk = self.desk(workspace, integration).await?;
        let of = desk.integration();
        if wanted.name.is_empty() {
            if desk.sources.wanted(&of.settings, of.id).is_none() {
                let detail = "is required: the integration's settings ask for no source (auto_source)";
                return Err(Refusal::field(Reason::FieldInvalid, "display_name", detail).into());
            }
            return match self.look_after_source(&desk).await? {
                Ok(ensured) => Ok(ensured),
                Err(failure) => Err(failure.told()),
            };
        }
        let wish = domain::source::Wish {
            external_id: wanted
                .external_id
                .unwrap_or_else(|| desk.sources.external_id(&of.settings, of.id, &wanted.name)),
            name: wanted.name,
            pipeline_id: wanted.pipeline_id,
            create: true,
        };
        let ensured = ensure::ensure(&desk, &wish).await?.map_err(ensure::Failure::told)?;
        if ensured.created {
            desk.changed().await?;
        }
        Ok(ensured)
    }

    /// Has every process forget what it keeps of an integration's lists.
    pub async fn clear_source_cache(
        &self,
        caller: &Caller,
        integration: Option<IntegrationId>,
    ) -> Result<(), Error> {
        let workspace = caller.require(Service::Sources, Level::Write)?;
        self.desk(workspace, integration).await?.forget().await;
        Ok(())
    }
}
