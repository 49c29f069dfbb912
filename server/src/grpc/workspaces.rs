//! `WorkspacesService`.

use app::workspaces::NewApiKey;
use domain::{
    Error,
    workspace::{self, Scopes},
};
use secrecy::ExposeSecret;
use switchboard_sdk::v1::{self, workspaces_service_server::WorkspacesService};
use tonic::{Request, Response, Status};

use super::{Services, caller, convert, refuse};
use crate::error::to_status;

fn to_wire(workspace: workspace::Workspace) -> v1::Workspace {
    v1::Workspace {
        id: workspace.id.to_string(),
        display_name: workspace.display_name,
        budgets: convert::budgets_to_wire(workspace.budgets),
        create_time: Some(convert::moment(workspace.created_at)),
        update_time: Some(convert::moment(workspace.updated_at)),
    }
}

fn api_key(key: workspace::ApiKey) -> v1::ApiKey {
    v1::ApiKey {
        id: key.id.to_string(),
        workspace_id: key.workspace.to_string(),
        display_name: key.display_name,
        scopes: key.scopes.names(),
        expire_time: key.expires_at.map(convert::moment),
        create_time: Some(convert::moment(key.created_at)),
        revoke_time: key.revoked_at.map(convert::moment),
        suffix: key.suffix,
    }
}

fn new_api_key(wire: Option<v1::ApiKey>) -> Result<NewApiKey, Error> {
    let wire = convert::required("api_key", wire)?;
    Ok(NewApiKey {
        scopes: Scopes::parse(wire.scopes.iter().map(String::as_str))?,
        expires_at: convert::optional_moment("api_key.expire_time", wire.expire_time)?,
        display_name: wire.display_name,
    })
}

#[tonic::async_trait]
impl WorkspacesService for Services {
    async fn advance_clock(
        &self,
        request: Request<v1::AdvanceClockRequest>,
    ) -> Result<Response<v1::AdvanceClockResponse>, Status> {
        let caller = caller(&request)?;
        let by = request.into_inner().duration.and_then(|by| by.try_into().ok());
        let (now, ahead) = self.app.advance_clock(&caller, by).await.map_err(to_status)?;
        Ok(Response::new(v1::AdvanceClockResponse {
            time: Some(convert::moment(now)),
            ahead: ahead.try_into().ok(),
        }))
    }

    async fn create_workspace(
        &self,
        request: Request<v1::CreateWorkspaceRequest>,
    ) -> Result<Response<v1::CreateWorkspaceResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let wire = convert::required("workspace", request.workspace).map_err(|error| refuse(&error))?;
        let workspace = self
            .app
            .create_workspace(&caller, wire.display_name, &request.request_id)
            .await
            .map_err(to_status)?;
        Ok(Response::new(v1::CreateWorkspaceResponse { workspace: Some(to_wire(workspace)) }))
    }

    async fn get_workspace(
        &self,
        request: Request<v1::GetWorkspaceRequest>,
    ) -> Result<Response<v1::GetWorkspaceResponse>, Status> {
        let caller = caller(&request)?;
        let id = convert::optional_id("id", &request.get_ref().id).map_err(|error| refuse(&error))?;
        let workspace = self.app.get_workspace(&caller, id).await.map_err(to_status)?;
        Ok(Response::new(v1::GetWorkspaceResponse { workspace: Some(to_wire(workspace)) }))
    }

    async fn list_workspaces(
        &self,
        request: Request<v1::ListWorkspacesRequest>,
    ) -> Result<Response<v1::ListWorkspacesResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let page = convert::page(request.page_size, request.page_token);
        let page = self.app.list_workspaces(&caller, &page).await.map_err(to_status)?;
        Ok(Response::new(v1::ListWorkspacesResponse {
            workspaces: page.items.into_iter().map(to_wire).collect(),
            next_page_token: page.next_token,
        }))
    }

    async fn update_workspace(
        &self,
        request: Request<v1::UpdateWorkspaceRequest>,
    ) -> Result<Response<v1::UpdateWorkspaceResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let read = || {
            let wire = convert::required("workspace", request.workspace)?;
            let paths = convert::mask(request.update_mask, &["display_name", "budgets"])?;
            let named = |path: &str| paths.iter().any(|each| each == path);
            let name = named("display_name").then_some(wire.display_name);
            let budgets =
                named("budgets").then(|| convert::budgets("workspace.budgets", wire.budgets)).transpose()?;
            Ok((convert::optional_id("workspace.id", &wire.id)?, name, budgets))
        };
        let (id, name, budgets) = read().map_err(|error: Error| refuse(&error))?;
        let workspace = self
            .app
            .update_workspace(&caller, id, name.as_deref(), budgets.as_deref())
            .await
            .map_err(to_status)?;
        Ok(Response::new(v1::UpdateWorkspaceResponse { workspace: Some(to_wire(workspace)) }))
    }

    async fn delete_workspace(
        &self,
        request: Request<v1::DeleteWorkspaceRequest>,
    ) -> Result<Response<v1::DeleteWorkspaceResponse>, Status> {
        let caller = caller(&request)?;
        let id = convert::id("id", &request.get_ref().id).map_err(|error| refuse(&error))?;
        self.app.delete_workspace(&caller, id).await.map_err(to_status)?;
        Ok(Response::new(v1::DeleteWorkspaceResponse {}))
    }

    async fn create_api_key(
        &self,
        request: Request<v1::CreateApiKeyRequest>,
    ) -> Result<Response<v1::CreateApiKeyResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let read = || {
            Ok((convert::optional_id("workspace_id", &request.workspace_id)?, new_api_key(request.api_key)?))
        };
        let (workspace, new) = read().map_err(|error: Error| refuse(&error))?;
        let (key, secret) =
            self.app.create_api_key(&caller, workspace, new, &request.request_id).await.map_err(to_status)?;
        Ok(Response::new(v1::CreateApiKeyResponse {
            api_key: Some(api_key(key)),
            secret: secret.map(|secret| secret.expose_secret().to_owned()).unwrap_or_default(),
        }))
    }

    async fn list_api_keys(
        &self,
        request: Request<v1::ListApiKeysRequest>,
    ) -> Result<Response<v1::ListApiKeysResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let id =
            convert::optional_id("workspace_id", &request.workspace_id).map_err(|error| refuse(&error))?;
        let page = convert::page(request.page_size, request.page_token);
        let page = self.app.list_api_keys(&caller, id, &page).await.map_err(to_status)?;
        Ok(Response::new(v1::ListApiKeysResponse {
            api_keys: page.items.into_iter().map(api_key).collect(),
            next_page_token: page.next_token,
        }))
    }

    async fn revoke_api_key(
        &self,
        request: Request<v1::RevokeApiKeyRequest>,
    ) -> Result<Response<v1::RevokeApiKeyResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let read = || {
            Ok((
                convert::optional_id("workspace_id", &request.workspace_id)?,
                convert::id("id", &request.id)?,
            ))
        };
        let (workspace, id) = read().map_err(|error: Error| refuse(&error))?;
        let key = self.app.revoke_api_key(&caller, workspace, id).await.map_err(to_status)?;
        Ok(Response::new(v1::RevokeApiKeyResponse { api_key: Some(api_key(key)) }))
    }

    async fn get_stats(
        &self,
        request: Request<v1::GetStatsRequest>,
    ) -> Result<Response<v1::GetStatsResponse>, Status> {
        let caller = caller(&request)?;
        let workspace = convert::optional_id("workspace_id", &request.get_ref().workspace_id)
            .map_err(|error| refuse(&error))?;
        let stats = self.app.get_stats(&caller, workspace).await.map_err(to_status)?;
        let (started_at, uptime) = self.app.uptime();
        let stats = v1::Stats {
            received_messages: stats.received,
            stored_messages: stats.stored,
            duplicate_messages: stats.duplicates,
            conflicting_messages: stats.conflicts,
            imported_messages: stats.imported,
            engine_requests: stats.engine_requests,
            answers: stats.answers,
            delivered_messages: stats.delivered,
            errors: stats.errors(),
            failed_turns: stats.failed_turns,
            dead_deliveries: stats.dead_deliveries,
            quarantined_webhooks: stats.quarantined,
            dialogues: stats.dialogues,
            contacts: stats.contacts,
            start_time: Some(convert::moment(started_at)),
            uptime: prost_types::Duration::try_from(uptime).ok(),
        };
        Ok(Response::new(v1::GetStatsResponse { stats: Some(stats) }))
    }
}
