//! `SourcesService`.

use app::sources::{SourceKey, WantedSource};
use domain::{
    Error,
    source::{NewSource, OwnSource, Source, SourcePatch, SourceState},
};
use switchboard_sdk::v1::{self, get_source_request::Key, sources_service_server::SourcesService};
use tonic::{Request, Response, Status};

use super::{Services, caller, convert, integrations, refuse};
use crate::error::to_status;

fn to_wire(source: Source) -> v1::Source {
    v1::Source {
        id: source.id,
        display_name: source.name,
        external_id: source.external_id,
        pipeline_id: source.pipeline_id,
        default: source.default,
        origin_code: source.origin_code,
    }
}

/// Writes what is known of the source that an integration asks for.
pub(super) fn own(source: OwnSource) -> v1::IntegrationSource {
    let state = match source.state {
        SourceState::Pending => v1::SourceState::Pending,
        SourceState::Ready => v1::SourceState::Ready,
        SourceState::Fallback => v1::SourceState::Fallback,
    };
    v1::IntegrationSource {
        state: state.into(),
        external_id: source.external_id.unwrap_or_default(),
        display_name: source.name,
        last_error: source.last_error.unwrap_or_default(),
        remedy: source.remedy.unwrap_or_default(),
        check_time: source.checked_at.map(convert::moment),
        next_check_time: source.due_at.map(convert::moment),
    }
}

fn given(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

fn new_source(wire: Option<v1::Source>) -> Result<NewSource, Error> {
    let wire = convert::required("source", wire)?;
    Ok(NewSource {
        name: wire.display_name,
        external_id: wire.external_id,
        pipeline_id: given(wire.pipeline_id),
        default: wire.default,
        origin_code: given(wire.origin_code),
    })
}

fn patch(
    wire: Option<v1::Source>,
    mask: Option<prost_types::FieldMask>,
) -> Result<(String, SourcePatch), Error> {
    let wire = convert::required("source", wire)?;
    let paths = convert::mask(mask, &["display_name", "external_id", "pipeline_id", "default"])?;
    let named = |path: &str| paths.iter().any(|each| each == path);
    let patch = SourcePatch {
        name: named("display_name").then_some(wire.display_name),
        external_id: named("external_id").then_some(wire.external_id),
        pipeline_id: named("pipeline_id").then_some(wire.pipeline_id),
        default: named("default").then_some(wire.default),
    };
    Ok((wire.id, patch))
}

/// Reads the integration's id, which may be empty.
fn integration(id: &str) -> Result<Option<domain::IntegrationId>, Status> {
    convert::optional_id("integration_id", id).map_err(|error| refuse(&error))
}

#[tonic::async_trait]
impl SourcesService for Services {
    async fn list_sources(
        &self,
        request: Request<v1::ListSourcesRequest>,
    ) -> Result<Response<v1::ListSourcesResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let id = integration(&request.integration_id)?;
        let listed = self.app.list_sources(&caller, id, request.refresh).await.map_err(to_status)?;
        Ok(Response::new(v1::ListSourcesResponse {
            fetch_time: Some(convert::moment(listed.fetched_at)),
            sources: listed.items.iter().cloned().map(to_wire).collect(),
        }))
    }

    async fn get_source(
        &self,
        request: Request<v1::GetSourceRequest>,
    ) -> Result<Response<v1::GetSourceResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let id = integration(&request.integration_id)?;
        let key = match convert::required("key", request.key).map_err(|error| refuse(&error))? {
            Key::Id(id) => SourceKey::Id(id),
            Key::ExternalId(id) => SourceKey::ExternalId(id),
            Key::DisplayName(name) => SourceKey::Name(name),
        };
        let found = self.app.get_source(&caller, id, &key, request.refresh).await.map_err(to_status)?;
        Ok(Response::new(v1::GetSourceResponse { source: Some(to_wire(found)) }))
    }

    async fn create_source(
        &self,
        request: Request<v1::CreateSourceRequest>,
    ) -> Result<Response<v1::CreateSourceResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let id = integration(&request.integration_id)?;
        let new = new_source(request.source).map_err(|error| refuse(&error))?;
        let made = self.app.create_source(&caller, id, new).await.map_err(to_status)?;
        Ok(Response::new(v1::CreateSourceResponse { source: Some(to_wire(made)) }))
    }

    async fn update_source(
        &self,
        request: Request<v1::UpdateSourceRequest>,
    ) -> Result<Response<v1::UpdateSourceResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let id = integration(&request.integration_id)?;
        let (source, patch) = patch(request.source, request.update_mask).map_err(|error| refuse(&error))?;
        let changed = self.app.update_source(&caller, id, &source, &patch).await.map_err(to_status)?;
        Ok(Response::new(v1::UpdateSourceResponse { source: Some(to_wire(changed)) }))
    }

    async fn delete_source(
        &self,
        request: Request<v1::DeleteSourceRequest>,
    ) -> Result<Response<v1::DeleteSourceResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let id = integration(&request.integration_id)?;
        self.app.delete_source(&caller, id, &request.id).await.map_err(to_status)?;
        Ok(Response::new(v1::DeleteSourceResponse {}))
    }

    async fn ensure_source(
        &self,
        request: Request<v1::EnsureSourceRequest>,
    ) -> Result<Response<v1::EnsureSourceResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let id = integration(&request.integration_id)?;
        let wanted = WantedSource {
            name: request.display_name,
            external_id: given(request.external_id),
            pipeline_id: given(request.pipeline_id),
        };
        let ensured = self.app.ensure_source(&caller, id, wanted).await.map_err(to_status)?;
        let warning = ensured.warning.map(|(detail, remedy)| format!("{detail}; {remedy}"));
        Ok(Response::new(v1::EnsureSourceResponse {
            source: Some(to_wire(ensured.source)),
            created: ensured.created,
            warning: warning.unwrap_or_default(),
        }))
    }

    async fn check_sources(
        &self,
        request: Request<v1::CheckSourcesRequest>,
    ) -> Result<Response<v1::CheckSourcesResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let id = integration(&request.integration_id)?;
        let checked = self.app.check_sources(&caller, id, request.trial).await.map_err(to_status)?;
        Ok(Response::new(v1::CheckSourcesResponse {
            integration: Some(integrations::to_wire(checked.integration, self.app.vendors())),
            steps: checked.steps.into_iter().map(integrations::step).collect(),
            sources: checked.sources.into_iter().map(to_wire).collect(),
        }))
    }

    async fn clear_source_cache(
        &self,
        request: Request<v1::ClearSourceCacheRequest>,
    ) -> Result<Response<v1::ClearSourceCacheResponse>, Status> {
        let caller = caller(&request)?;
        let id = integration(&request.get_ref().integration_id)?;
        self.app.clear_source_cache(&caller, id).await.map_err(to_status)?;
        Ok(Response::new(v1::ClearSourceCacheResponse {}))
    }
}
