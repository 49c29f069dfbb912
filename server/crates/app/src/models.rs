//! The models that an engine can be set to, as its vendor lists them: kept for a day, and served while the vendor is asked
//! anew.

use std::{sync::Arc, time::Duration};

use domain::{
    Error as Refusal, IntegrationId, Reason, WorkspaceId,
    engine::Model,
    workspace::{Level, Service},
};
use moka::sync::Cache;

use crate::{
    App, Caller, Error,
    engines::Account,
    shelf::{Listed, PAUSE, Shelf, Terms},
};

/// From when on the vendor is asked anew.
const FRESH: Duration = Duration::from_hours(24);

/// Whose list it is: workspace, vendor, and integration with the state of its settings and credentials.
type Key = (WorkspaceId, String, Option<(IntegrationId, i64)>);

/// The lists that are kept.
pub(crate) type ModelCache = Cache<Key, Arc<Shelf<Model>>>;

pub(crate) fn new_cache() -> ModelCache {
    Cache::builder().max_capacity(10_000).time_to_idle(Duration::from_hours(72)).build()
}

impl App {
    /// Lists the models of a vendor, as the account sees them that an agent with this integration would use.
    pub async fn list_models(
        &self,
        caller: &Caller,
        vendor: String,
        integration: Option<IntegrationId>,
        refresh: bool,
    ) -> Result<Arc<Listed<Model>>, Error> {
        let workspace = caller.require(Service::Agents, Level::Read)?;
        let Some(engine) = self.inner.vendors.get(&vendor).and_then(|vendor| vendor.engine.clone()) else {
            return Err(Refusal::field(Reason::FieldInvalid, "vendor", self.engines_are()).into());
        };
        let source = match integration {
            Some(id) => {
                let found = self.held(workspace, id).await?;
                let found = found.ok_or_else(|| crate::integrations::not_found(id))?;
                let with = &found.sealed.integration.vendor;
                if *with != vendor {
                    let detail = format!("is an integration with {with}, not with {vendor}");
                    return Err(Refusal::field(Reason::FieldInvalid, "integration_id", detail).into());
                }
                Some(found)
            }
            None => None,
        };
        let state = source.as_ref().map(|found| &found.sealed.integration);
        let state = state.map(|integration| (integration.id, integration.generation));
        let shelf = self.inner.models.get_with((workspace, vendor.clone(), state), Arc::default);
        let app = self.clone();
        let ask = Box::pin(async move {
            // `None`: the operator's own account.
            let account = match source {
                Some(held) => app.account_of(workspace, &held).await?,
                None => app.operators(&vendor).map_err(Error::Vendor)?,
            };
            let listed = engine.list_models(&account.connection).await;
            app.note_call(&account, listed.as_ref().map(drop)).await;
            Ok(listed)
        });
        let terms = Terms { fresh: FRESH, refresh, pause: PAUSE };
        self.on_shelf(shelf, terms, "models", ask).await
    }

    /// A model that an engine was set to is not there any more: the list that may name it is not served again.
    pub(crate) fn forget_models(&self, workspace: WorkspaceId, vendor: &str, account: &Account) {
        self.inner.models.invalidate(&(workspace, vendor.to_owned(), account.state()));
    }
}
