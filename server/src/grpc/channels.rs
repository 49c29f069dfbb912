//! `ChannelsService`.

use app::channels::{ChannelPatch, Filter, NewChannel};
use domain::{
    Error,
    channel::{self, Mirror},
    policy::{DeliveryPolicy, QuietHours, Uncertain},
};
use secrecy::ExposeSecret;
use switchboard_sdk::v1::{self, channels_service_server::ChannelsService};
use tonic::{Request, Response, Status};

use super::{Services, caller, convert, dialogues, integrations, refuse};
use crate::error::to_status;

fn to_wire(channel: channel::Channel) -> v1::Channel {
    v1::Channel {
        id: channel.id.to_string(),
        display_name: channel.display_name,
        agent_id: channel.agent.to_string(),
        vendor: channel.vendor,
        url: channel.url,
        integration_id: channel.integration.map(|id| id.to_string()).unwrap_or_default(),
        settings: Some(convert::to_struct(&channel.settings)),
        delivery_policy: Some(policy_to_wire(channel.delivery_policy)),
        mirror: channel.mirror.map(|mirror| v1::ChannelMirror {
            channel_id: mirror.channel.to_string(),
            source_external_id: mirror.source,
        }),
        active: Some(channel.active),
        token_suffix: channel.token_suffix,
        create_time: Some(convert::moment(channel.created_at)),
        update_time: Some(convert::moment(channel.updated_at)),
    }
}

fn policy_to_wire(policy: DeliveryPolicy) -> v1::DeliveryPolicy {
    v1::DeliveryPolicy {
        uncertain: match policy.uncertain {
            None => v1::UncertainPolicy::Unspecified,
            Some(Uncertain::Resend) => v1::UncertainPolicy::Resend,
            Some(Uncertain::Hold) => v1::UncertainPolicy::Hold,
        }
        .into(),
        max_per_second: policy.max_per_second,
        loop_limit: Some(policy.loop_limit),
        hourly_limit: Some(policy.hourly_limit),
        quiet_hours: policy.quiet_hours.map(|hours| v1::QuietHours {
            start: hours.start,
            end: hours.end,
            time_zone: hours.time_zone,
        }),
        max_text_chars: policy.max_text_chars,
    }
}

fn policy(wire: v1::DeliveryPolicy) -> Result<DeliveryPolicy, Error> {
    let default = DeliveryPolicy::default();
    let field = "channel.delivery_policy.uncertain";
    let uncertain = convert::choice(field, wire.uncertain)?;
    Ok(DeliveryPolicy {
        uncertain: uncertain.map(|choice| match choice {
            v1::UncertainPolicy::Hold => Uncertain::Hold,
            _ => Uncertain::Resend,
        }),
        max_per_second: wire.max_per_second,
        loop_limit: wire.loop_limit.unwrap_or(default.loop_limit),
        hourly_limit: wire.hourly_limit.unwrap_or(default.hourly_limit),
        quiet_hours: wire.quiet_hours.map(|hours| QuietHours {
            start: hours.start,
            end: hours.end,
            time_zone: hours.time_zone,
        }),
        max_text_chars: wire.max_text_chars,
    })
}

fn mirror(wire: Option<v1::ChannelMirror>) -> Result<Option<Mirror>, Error> {
    wire.map(|wire| {
        let channel = convert::id("channel.mirror.channel_id", &wire.channel_id)?;
        Ok(Mirror { channel, source: wire.source_external_id })
    })
    .transpose()
}

fn new_channel(wire: Option<v1::Channel>) -> Result<NewChannel, Error> {
    let wire = convert::required("channel", wire)?;
    Ok(NewChannel {
        agent: wire.agent_id.parse().ok(),
        display_name: wire.display_name,
        vendor: wire.vendor,
        url: wire.url,
        integration: convert::optional_id("channel.integration_id", &wire.integration_id)?,
        settings: convert::from_struct("channel.settings", wire.settings)?,
        delivery_policy: policy(wire.delivery_policy.unwrap_or_default())?,
        mirror: mirror(wire.mirror)?,
        active: wire.active.unwrap_or(true),
    })
}

fn patch(wire: v1::Channel, paths: &[String]) -> Result<ChannelPatch, Error> {
    let mut patch = ChannelPatch::default();
    let named = |path: &str| paths.iter().any(|each| each == path);
    if named("agent_id") {
        patch.agent = Some(convert::id("channel.agent_id", &wire.agent_id)?);
    }
    if named("delivery_policy") {
        let wire = convert::required("channel.delivery_policy", wire.delivery_policy)?;
        patch.delivery_policy = Some(policy(wire)?);
    }
    if named("integration_id") {
        patch.integration = Some(convert::optional_id("channel.integration_id", &wire.integration_id)?);
    }
    if named("settings") {
        patch.settings = Some(convert::from_struct("channel.settings", wire.settings)?);
    }
    if named("mirror") {
        patch.mirror = Some(mirror(wire.mirror)?);
    }
    patch.display_name = named("display_name").then_some(wire.display_name);
    patch.url = named("url").then_some(wire.url);
    if named("active") {
        patch.active = Some(convert::required("channel.active", wire.active)?);
    }
    Ok(patch)
}

#[tonic::async_trait]
impl ChannelsService for Services {
    async fn create_channel(
        &self,
        request: Request<v1::CreateChannelRequest>,
    ) -> Result<Response<v1::CreateChannelResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let new = new_channel(request.channel).map_err(|error| refuse(&error))?;
        let open = self.app.create_channel(&caller, new, &request.request_id).await.map_err(to_status)?;
        Ok(Response::new(v1::CreateChannelResponse {
            channel: Some(to_wire(open.channel)),
            token: open.token.expose_secret().to_owned(),
            signing_secret: open.signing_secret.expose_secret().to_owned(),
            hook_secret: open.hook_secret.map(|it| it.expose_secret().to_owned()).unwrap_or_default(),
        }))
    }

    async fn get_channel(
        &self,
        request: Request<v1::GetChannelRequest>,
    ) -> Result<Response<v1::GetChannelResponse>, Status> {
        let caller = caller(&request)?;
        let id = convert::id("id", &request.get_ref().id).map_err(|error| refuse(&error))?;
        let channel = self.app.get_channel(&caller, id).await.map_err(to_status)?;
        Ok(Response::new(v1::GetChannelResponse { channel: Some(to_wire(channel)) }))
    }

    async fn list_channels(
        &self,
        request: Request<v1::ListChannelsRequest>,
    ) -> Result<Response<v1::ListChannelsResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let agent = convert::optional_id("agent_id", &request.agent_id).map_err(|error| refuse(&error))?;
        let filter = Filter { agent, active: request.active };
        let page = convert::page(request.page_size, request.page_token);
        let page = self.app.list_channels(&caller, &filter, &page).await.map_err(to_status)?;
        Ok(Response::new(v1::ListChannelsResponse {
            channels: page.items.into_iter().map(to_wire).collect(),
            next_page_token: page.next_token,
        }))
    }

    async fn update_channel(
        &self,
        request: Request<v1::UpdateChannelRequest>,
    ) -> Result<Response<v1::UpdateChannelResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let read = || {
            let wire = convert::required("channel", request.channel)?;
            let id = convert::id("channel.id", &wire.id)?;
            let paths = convert::mask(
                request.update_mask,
                &[
                    "display_name",
                    "agent_id",
                    "url",
                    "delivery_policy",
                    "active",
                    "integration_id",
                    "settings",
                    "mirror",
                ],
            )?;
            Ok((id, patch(wire, &paths)?))
        };
        let (id, patch) = read().map_err(|error: Error| refuse(&error))?;
        let channel = self.app.update_channel(&caller, id, patch).await.map_err(to_status)?;
        Ok(Response::new(v1::UpdateChannelResponse { channel: Some(to_wire(channel)) }))
    }

    async fn delete_channel(
        &self,
        request: Request<v1::DeleteChannelRequest>,
    ) -> Result<Response<v1::DeleteChannelResponse>, Status> {
        let caller = caller(&request)?;
        let id = convert::id("id", &request.get_ref().id).map_err(|error| refuse(&error))?;
        self.app.delete_channel(&caller, id).await.map_err(to_status)?;
        Ok(Response::new(v1::DeleteChannelResponse {}))
    }

    async fn rotate_channel_token(
        &self,
        request: Request<v1::RotateChannelTokenRequest>,
    ) -> Result<Response<v1::RotateChannelTokenResponse>, Status> {
        let caller = caller(&request)?;
        let id = convert::id("id", &request.get_ref().id).map_err(|error| refuse(&error))?;
        let (channel, token) = self.app.rotate_channel_token(&caller, id).await.map_err(to_status)?;
        Ok(Response::new(v1::RotateChannelTokenResponse {
            channel: Some(to_wire(channel)),
            token: token.expose_secret().to_owned(),
        }))
    }

    async fn rotate_channel_signing_secret(
        &self,
        request: Request<v1::RotateChannelSigningSecretRequest>,
    ) -> Result<Response<v1::RotateChannelSigningSecretResponse>, Status> {
        let caller = caller(&request)?;
        let id = convert::id("id", &request.get_ref().id).map_err(|error| refuse(&error))?;
        let (channel, secret) =
            self.app.rotate_channel_signing_secret(&caller, id).await.map_err(to_status)?;
        Ok(Response::new(v1::RotateChannelSigningSecretResponse {
            channel: Some(to_wire(channel)),
            signing_secret: secret.expose_secret().to_owned(),
        }))
    }

    async fn rotate_channel_hook_secret(
        &self,
        request: Request<v1::RotateChannelHookSecretRequest>,
    ) -> Result<Response<v1::RotateChannelHookSecretResponse>, Status> {
        let caller = caller(&request)?;
        let id = convert::id("id", &request.get_ref().id).map_err(|error| refuse(&error))?;
        let (channel, secret) = self.app.rotate_channel_hook_secret(&caller, id).await.map_err(to_status)?;
        Ok(Response::new(v1::RotateChannelHookSecretResponse {
            channel: Some(to_wire(channel)),
            hook_secret: secret.expose_secret().to_owned(),
        }))
    }

    async fn connect_channel(
        &self,
        request: Request<v1::ConnectChannelRequest>,
    ) -> Result<Response<v1::ConnectChannelResponse>, Status> {
        let caller = caller(&request)?;
        let id = convert::id("id", &request.get_ref().id).map_err(|error| refuse(&error))?;
        let (channel, steps) = self.app.connect_channel(&caller, id).await.map_err(to_status)?;
        Ok(Response::new(v1::ConnectChannelResponse {
            channel: Some(to_wire(channel)),
            steps: steps.into_iter().map(integrations::step).collect(),
        }))
    }

    async fn disconnect_channel(
        &self,
        request: Request<v1::DisconnectChannelRequest>,
    ) -> Result<Response<v1::DisconnectChannelResponse>, Status> {
        let caller = caller(&request)?;
        let id = convert::id("id", &request.get_ref().id).map_err(|error| refuse(&error))?;
        let (channel, steps) = self.app.disconnect_channel(&caller, id).await.map_err(to_status)?;
        Ok(Response::new(v1::DisconnectChannelResponse {
            channel: Some(to_wire(channel)),
            steps: steps.into_iter().map(integrations::step).collect(),
        }))
    }

    async fn get_channel_dialogue(
        &self,
        request: Request<v1::GetChannelDialogueRequest>,
    ) -> Result<Response<v1::GetChannelDialogueResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let id = convert::id("id", &request.id).map_err(|error| refuse(&error))?;
        let page = convert::page(request.page_size, request.page_token);
        let page = self.app.get_channel_dialogue(&caller, id, &page).await.map_err(to_status)?;
        Ok(Response::new(v1::GetChannelDialogueResponse {
            messages: page.items.into_iter().map(dialogues::message).collect(),
            next_page_token: page.next_token,
        }))
    }
}
