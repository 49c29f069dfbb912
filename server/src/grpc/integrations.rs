//! `IntegrationsService`.

use std::collections::BTreeMap;

use app::{
    crm_hooks::PATH,
    integrations::{Credentials, Filter, IntegrationPatch, NewIntegration},
};
use domain::{
    Error,
    connection::{CheckOutcome, CheckStep},
    integration::{Health, HookState, Integration},
    vendor::{Vendor, Vendors},
};
use secrecy::ExposeSecret;
use switchboard_sdk::v1::{self, integrations_service_server::IntegrationsService};
use tonic::{Request, Response, Status};

use super::{Services, caller, convert, refuse};
use crate::error::to_status;

/// Writes an integration, with the state of every credential that its vendor wants.
pub(super) fn to_wire(integration: Integration, vendors: &Vendors) -> v1::Integration {
    let connector = vendors.get(&integration.vendor).and_then(|vendor| vendor.connector.as_ref());
    let wanted =
        connector.map_or(&[][..], |connector| connector.credentials()).iter().map(|field| field.name);
    let mut names: Vec<&str> = wanted.collect();
    // One that the vendor used to want is still kept.
    let further: Vec<&str> =
        integration.credentials.keys().map(String::as_str).filter(|name| !names.contains(name)).collect();
    names.extend(further);
    let state = |name: &str| {
        let at = integration.credentials.get(name).copied();
        v1::CredentialState { name: name.to_owned(), set: at.is_some(), set_time: at.map(convert::moment) }
    };
    let health = match integration.health {
        Health::Unknown => v1::IntegrationHealth::Unknown,
        Health::Healthy => v1::IntegrationHealth::Healthy,
        Health::Failing => v1::IntegrationHealth::Failing,
        Health::NeedsAuthorization => v1::IntegrationHealth::NeedsAuthorization,
    };
    let trouble = integration.last_error.clone();
    v1::Integration {
        credential_states: names.into_iter().map(state).collect(),
        id: integration.id.to_string(),
        vendor: integration.vendor,
        display_name: integration.display_name,
        settings: Some(convert::to_struct(&integration.settings)),
        credentials: BTreeMap::new(),
        health: health.into(),
        last_error_time: trouble.as_ref().map(|trouble| convert::moment(trouble.at)),
        remedy: trouble.as_ref().map(|trouble| trouble.remedy.clone()).unwrap_or_default(),
        last_error: trouble.map(|trouble| trouble.detail).unwrap_or_default(),
        grant: integration.grant.map(|grant| v1::Grant {
            grant_time: Some(convert::moment(grant.granted_at)),
            refresh_time: Some(convert::moment(grant.refreshed_at)),
            expire_time: grant.expires_at.map(convert::moment),
        }),
        webhook: integration.hook.map(|hook| v1::IntegrationWebhook {
            path: format!("{PATH}/{}/[redacted]", integration.id),
            secret_suffix: hook.secret_suffix,
            secret_time: Some(convert::moment(hook.secret_at)),
            state: match hook.state {
                HookState::Pending => v1::WebhookState::Pending,
                HookState::Subscribed => v1::WebhookState::Subscribed,
                HookState::Failed => v1::WebhookState::Failed,
            }
            .into(),
            last_error: hook.last_error.unwrap_or_default(),
            check_time: hook.checked_at.map(convert::moment),
        }),
        source: integration.source.map(super::sources::own),
        check_time: integration.checked_at.map(convert::moment),
        create_time: Some(convert::moment(integration.created_at)),
        update_time: Some(convert::moment(integration.updated_at)),
    }
}

fn credentials(wire: BTreeMap<String, String>) -> Credentials {
    wire.into_iter().map(|(name, value)| (name, value.into())).collect()
}

fn new_integration(wire: Option<v1::Integration>) -> Result<NewIntegration, Error> {
    let wire = convert::required("integration", wire)?;
    Ok(NewIntegration {
        settings: convert::from_struct("integration.settings", wire.settings)?,
        vendor: wire.vendor,
        display_name: wire.display_name,
        credentials: credentials(wire.credentials),
    })
}

fn patch(wire: v1::Integration, paths: &[String]) -> Result<IntegrationPatch, Error> {
    let named = |path: &str| paths.iter().any(|each| each == path);
    let mut patch = IntegrationPatch::default();
    if named("settings") {
        patch.settings = Some(convert::from_struct("integration.settings", wire.settings)?);
    }
    patch.display_name = named("display_name").then_some(wire.display_name);
    patch.credentials = named("credentials").then(|| credentials(wire.credentials));
    Ok(patch)
}

pub(super) fn step(step: CheckStep) -> v1::CheckStep {
    let outcome = match step.outcome {
        CheckOutcome::Passed => v1::CheckOutcome::Passed,
        CheckOutcome::Failed => v1::CheckOutcome::Failed,
        CheckOutcome::Skipped => v1::CheckOutcome::Skipped,
    };
    v1::CheckStep {
        name: step.name.to_owned(),
        outcome: outcome.into(),
        detail: step.detail,
        remedy: step.remedy,
    }
}

fn vendor(vendor: &Vendor) -> v1::Vendor {
    let capabilities = [
        ("receive", vendor.receiver.is_some()),
        ("send", vendor.sender.is_some()),
        ("engine", vendor.engine.is_some()),
        ("connect", vendor.connector.is_some()),
        ("authorize", vendor.oauth.is_some()),
        ("crm", vendor.crm.is_some()),
        ("hooks", vendor.hooks.is_some()),
        ("channel", vendor.channel.is_some()),
        ("sources", vendor.sources.is_some()),
        ("mirror", vendor.mirror.is_some()),
    ];
    let connector = vendor.connector.as_ref();
    let fields = connector.map_or(&[][..], |connector| connector.credentials());
    let kind = vendor.channel.as_ref();
    v1::Vendor {
        channel_settings_schema: kind.map(|kind| convert::to_struct(&kind.settings_schema())),
        id: vendor.id.to_owned(),
        display_name: vendor.name.to_owned(),
        docs_url: vendor.docs.to_owned(),
        capabilities: capabilities
            .into_iter()
            .filter(|(_, can)| *can)
            .map(|(name, _)| name.to_owned())
            .collect(),
        settings_schema: connector.map(|connector| convert::to_struct(&connector.settings_schema())),
        credential_fields: fields
            .iter()
            .map(|field| v1::CredentialField {
                name: field.name.to_owned(),
                display_name: field.title.to_owned(),
                description: field.description.to_owned(),
                required: field.required,
            })
            .collect(),
    }
}

#[tonic::async_trait]
impl IntegrationsService for Services {
    async fn create_integration(
        &self,
        request: Request<v1::CreateIntegrationRequest>,
    ) -> Result<Response<v1::CreateIntegrationResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let new = new_integration(request.integration).map_err(|error| refuse(&error))?;
        let made = self.app.create_integration(&caller, new, &request.request_id).await.map_err(to_status)?;
        let integration = Some(to_wire(made, self.app.vendors()));
        Ok(Response::new(v1::CreateIntegrationResponse { integration }))
    }

    async fn get_integration(
        &self,
        request: Request<v1::GetIntegrationRequest>,
    ) -> Result<Response<v1::GetIntegrationResponse>, Status> {
        let caller = caller(&request)?;
        let id = convert::id("id", &request.get_ref().id).map_err(|error| refuse(&error))?;
        let found = self.app.get_integration(&caller, id).await.map_err(to_status)?;
        let integration = Some(to_wire(found, self.app.vendors()));
        Ok(Response::new(v1::GetIntegrationResponse { integration }))
    }

    async fn list_integrations(
        &self,
        request: Request<v1::ListIntegrationsRequest>,
    ) -> Result<Response<v1::ListIntegrationsResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let filter = Filter { vendor: Some(request.vendor).filter(|vendor| !vendor.is_empty()) };
        let page = convert::page(request.page_size, request.page_token);
        let page = self.app.list_integrations(&caller, &filter, &page).await.map_err(to_status)?;
        let vendors = self.app.vendors();
        Ok(Response::new(v1::ListIntegrationsResponse {
            integrations: page.items.into_iter().map(|each| to_wire(each, vendors)).collect(),
            next_page_token: page.next_token,
        }))
    }

    async fn update_integration(
        &self,
        request: Request<v1::UpdateIntegrationRequest>,
    ) -> Result<Response<v1::UpdateIntegrationResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let read = || {
            let wire = convert::required("integration", request.integration)?;
            let id = convert::id("integration.id", &wire.id)?;
            let known = ["display_name", "settings", "credentials"];
            let paths = convert::mask(request.update_mask, &known)?;
            Ok((id, patch(wire, &paths)?))
        };
        let (id, patch) = read().map_err(|error: Error| refuse(&error))?;
        let changed = self.app.update_integration(&caller, id, patch).await.map_err(to_status)?;
        let integration = Some(to_wire(changed, self.app.vendors()));
        Ok(Response::new(v1::UpdateIntegrationResponse { integration }))
    }

    async fn delete_integration(
        &self,
        request: Request<v1::DeleteIntegrationRequest>,
    ) -> Result<Response<v1::DeleteIntegrationResponse>, Status> {
        let caller = caller(&request)?;
        let id = convert::id("id", &request.get_ref().id).map_err(|error| refuse(&error))?;
        self.app.delete_integration(&caller, id).await.map_err(to_status)?;
        Ok(Response::new(v1::DeleteIntegrationResponse {}))
    }

    async fn check_integration(
        &self,
        request: Request<v1::CheckIntegrationRequest>,
    ) -> Result<Response<v1::CheckIntegrationResponse>, Status> {
        let caller = caller(&request)?;
        let id = convert::id("id", &request.get_ref().id).map_err(|error| refuse(&error))?;
        let (checked, steps) = self.app.check_integration(&caller, id).await.map_err(to_status)?;
        Ok(Response::new(v1::CheckIntegrationResponse {
            integration: Some(to_wire(checked, self.app.vendors())),
            steps: steps.into_iter().map(step).collect(),
        }))
    }

    async fn rotate_integration(
        &self,
        request: Request<v1::RotateIntegrationRequest>,
    ) -> Result<Response<v1::RotateIntegrationResponse>, Status> {
        let caller = caller(&request)?;
        let id = convert::id("id", &request.get_ref().id).map_err(|error| refuse(&error))?;
        let rotated = self.app.rotate_integration(&caller, id).await.map_err(to_status)?;
        let integration = Some(to_wire(rotated, self.app.vendors()));
        Ok(Response::new(v1::RotateIntegrationResponse { integration }))
    }

    async fn start_authorization(
        &self,
        request: Request<v1::StartAuthorizationRequest>,
    ) -> Result<Response<v1::StartAuthorizationResponse>, Status> {
        let caller = caller(&request)?;
        let id = convert::id("id", &request.get_ref().id).map_err(|error| refuse(&error))?;
        let (url, expires_at) = self.app.start_authorization(&caller, id).await.map_err(to_status)?;
        Ok(Response::new(v1::StartAuthorizationResponse {
            authorize_url: url,
            expire_time: Some(convert::moment(expires_at)),
        }))
    }

    async fn rotate_webhook_secret(
        &self,
        request: Request<v1::RotateWebhookSecretRequest>,
    ) -> Result<Response<v1::RotateWebhookSecretResponse>, Status> {
        let caller = caller(&request)?;
        let id = convert::id("id", &request.get_ref().id).map_err(|error| refuse(&error))?;
        let (rotated, path) = self.app.rotate_webhook_secret(&caller, id).await.map_err(to_status)?;
        Ok(Response::new(v1::RotateWebhookSecretResponse {
            integration: Some(to_wire(rotated, self.app.vendors())),
            path: path.expose_secret().to_owned(),
        }))
    }

    async fn list_vendors(
        &self,
        request: Request<v1::ListVendorsRequest>,
    ) -> Result<Response<v1::ListVendorsResponse>, Status> {
        let caller = caller(&request)?;
        let vendors = self.app.list_vendors(&caller).map_err(to_status)?;
        Ok(Response::new(v1::ListVendorsResponse { vendors: vendors.iter().map(vendor).collect() }))
    }
}
