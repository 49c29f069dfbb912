//! An id of another workspace is an id that does not exist: at every door, to the byte, but for the id itself.

use std::collections::BTreeSet;

use http::StatusCode;
use prost::Message as _;
use prost_types::{DescriptorProto, FileDescriptorSet, field_descriptor_proto::Type};
use reqwest::Method;
use serde_json::{Value, json};
use switchboard_sdk::v1::{self, MessageSender};
use tonic::{Code, Response, Status};

use crate::{
    fake_engine::Fake,
    harness::{Grpc, Receiver, Route, World, to_struct},
    integrations::{connect, engine, fake},
    tenants::second_workspace,
};

/// An id that exists nowhere. As long as any other, so that lengths inside an answer stay the same.
const NOBODY: &str = "0198c0de-0000-7000-8000-000000000004";

/// Ids that take no part, and why.
const EXEMPT: &[&str] = &[
    // Operators' own: refused for want of the right before any id is looked at.
    "DeleteWorkspace.id",
    // Reads the log as ListEvents does, and would only stay silent.
    "Watch.dialogue_id",
    // Output only: a dialogue stays on its channel.
    "UpdateDialogue.dialogue.channel_id",
    // Output only: messages tell of these.
    "UpdateDialogue.dialogue.contact_id",
    "UpdateDialogue.dialogue.crm.integration_id",
    "UpdateDialogue.dialogue.crm.contact_id",
    // The CRM's own number of a customer.
    "ReceiveMessage.crm.contact_id",
    "ImportMessages.chats.crm.contact_id",
];

/// The ids that the contract's methods take, such as `GetAgent.id` or `UpdateChannel.channel.agent_id`.
fn ids_of_the_contract() -> BTreeSet<String> {
    let files = FileDescriptorSet::decode(switchboard_sdk::FILE_DESCRIPTOR_SET).unwrap().file;
    let find = |name: &str| -> Option<&DescriptorProto> {
        let name = name.strip_prefix(".switchboard.v1.")?;
        files.iter().flat_map(|file| &file.message_type).find(|message| message.name() == name)
    };
    let mut ids = BTreeSet::new();
    let services = files.iter().flat_map(|file| &file.service);
    let methods =
        services.flat_map(|service| service.method.iter().map(move |method| (service.name(), method)));
    for (service, method) in methods {
        let mut messages = vec![(method.name().to_owned(), 0, find(method.input_type()).unwrap())];
        while let Some((path, depth, message)) = messages.pop() {
            for field in &message.field {
                let path = format!("{path}.{}", field.name());
                // Whoever creates something doesn't say its id or workspace: those are output only.
                let given = depth != 1
                    || !method.name().starts_with("Create")
                    || !["id", "workspace_id"].contains(&field.name());
                // All other ids there are the CRM's own, of the account that the integration leads to.
                let ours =
                    !matches!(service, "CrmService" | "SourcesService") || field.name() == "integration_id";
                if is_id(field.name()) && given && ours {
                    ids.insert(path.clone());
                }
                let inner = find(field.type_name()).filter(|_| field.r#type() == Type::Message);
                messages.extend(inner.map(|message| (path, depth + 1, message)));
            }
        }
    }
    ids
}

fn is_id(name: &str) -> bool {
    // These are the caller's own, or a vendor's, and say nothing about a resource.
    let own = ["request_id", "message_id", "lead_id", "external_id", "source_external_id"];
    (name == "id" || name.ends_with("_id")) && !own.contains(&name)
}

/// What an answer says, with the id that was asked for taken out.
fn said<T: std::fmt::Debug>(answer: Result<Response<T>, Status>, id: &str) -> (Code, String, Vec<u8>) {
    match answer {
        Ok(answer) => (Code::Ok, format!("{:?}", answer.into_inner()).replace(id, "<id>"), Vec::new()),
        Err(status) => {
            let details = String::from_utf8_lossy(status.details()).replace(id, "<id>");
            (status.code(), status.message().replace(id, "<id>"), details.into_bytes())
        }
    }
}

/// The other workspace's calls, and what was tried.
struct Tried {
    grpc: Grpc,
    done: BTreeSet<String>,
}

/// Asks with a foreign id and with one that exists nowhere, and compares. A list by a foreign id is an empty list.
macro_rules! ask {
    ($tried:ident, $what:expr, $code:ident, $foreign:expr, $client:ident.$method:ident, $request:expr) => {{
        let build = $request;
        let ask = async |id: &str| said($tried.grpc.$client().$method(build(id.to_owned())).await, id);
        let (foreign, nobody) = (ask($foreign).await, ask(NOBODY).await);
        assert_eq!(foreign.0, Code::$code, "{}: {}", $what, foreign.1);
        assert_eq!(foreign, nobody, "{} tells a foreign id from one that does not exist", $what);
        assert!($tried.done.insert($what.to_owned()), "{} is asked twice", $what);
    }};
}

fn mask(path: &str) -> prost_types::FieldMask {
    prost_types::FieldMask { paths: vec![path.to_owned()] }
}

/// What the first workspace has.
#[derive(Debug, PartialEq)]
struct Owned {
    agents: Vec<v1::Agent>,
    channels: Vec<v1::Channel>,
    dialogues: Vec<v1::Dialogue>,
    contacts: Vec<v1::Contact>,
    deliveries: Vec<v1::Delivery>,
    turns: Vec<v1::Turn>,
    webhooks: Vec<v1::InboundWebhook>,
    endpoints: Vec<v1::Endpoint>,
    integrations: Vec<v1::Integration>,
    dispatches: Vec<v1::Dispatch>,
    keys: Vec<v1::ApiKey>,
    workspace: v1::Workspace,
}

impl Owned {
    async fn read(grpc: &Grpc) -> Self {
        let dialogues = grpc.dialogues().list_dialogues(v1::ListDialoguesRequest::default()).await.unwrap();
        let dialogues = dialogues.into_inner().dialogues;
        let turns =
            v1::ListTurnsRequest { dialogue_id: dialogues[0].id.clone(), ..v1::ListTurnsRequest::default() };
        let deliveries = v1::ListDeliveriesRequest::default();
        let webhooks = v1::ListInboundWebhooksRequest::default();
        let endpoints = grpc.webhooks().list_endpoints(v1::ListEndpointsRequest::default()).await.unwrap();
        let endpoints = endpoints.into_inner().endpoints;
        let dispatches = v1::ListDispatchesRequest {
            endpoint_id: endpoints[0].id.clone(),
            ..v1::ListDispatchesRequest::default()
        };
        let workspace = grpc.workspaces().get_workspace(v1::GetWorkspaceRequest::default()).await.unwrap();
        let contacts = grpc.dialogues().list_contacts(v1::ListContactsRequest::default()).await.unwrap();
        Self {
            contacts: contacts.into_inner().contacts,
            dispatches: grpc.webhooks().list_dispatches(dispatches).await.unwrap().into_inner().dispatches,
            endpoints,
            integrations: grpc
                .integrations()
                .list_integrations(v1::ListIntegrationsRequest::default())
                .await
                .unwrap()
                .into_inner()
                .integrations,
            agents: grpc
                .agents()
                .list_agents(v1::ListAgentsRequest::default())
                .await
                .unwrap()
                .into_inner()
                .agents,
            channels: grpc
                .channels()
                .list_channels(v1::ListChannelsRequest::default())
                .await
                .unwrap()
                .into_inner()
                .channels,
            turns: grpc.dialogues().list_turns(turns).await.unwrap().into_inner().turns,
            deliveries: grpc.dialogues().list_deliveries(deliveries).await.unwrap().into_inner().deliveries,
            webhooks: grpc
                .webhooks()
                .list_inbound_webhooks(webhooks)
                .await
                .unwrap()
                .into_inner()
                .inbound_webhooks,
            keys: grpc
                .workspaces()
                .list_api_keys(v1::ListApiKeysRequest::default())
                .await
                .unwrap()
                .into_inner()
                .api_keys,
            workspace: workspace.into_inner().workspace.unwrap(),
            dialogues,
        }
    }
}

/// A workspace in which a message was answered and its reply is dead, and a dispatch to an endpoint, so that even a retry
/// would find something to do.
async fn one_that_has_everything(world: &World, receiver: &Receiver) -> (Route, Owned) {
    receiver.answer_with(400);
    let route = world.route(receiver, json!({})).await;
    let grpc = world.grpc().await;
    let told = v1::ImportedChat {
        chat: "imported".to_owned(),
        contact: Some(v1::ToldContact { name: "Ann".to_owned(), ..v1::ToldContact::default() }),
        ..v1::ImportedChat::default()
    };
    let import = v1::ImportMessagesRequest {
        channel_id: route.channel_id.clone(),
        chats: vec![told],
        messages: Vec::new(),
    };
    grpc.dialogues().import_messages(import).await.unwrap();
    assert_eq!(world.new_message(&route, &route.message(Some("m1"), "hello")).await.status, 200);
    crate::harness::until(|| async {
        let request = v1::ListDeliveriesRequest {
            state: v1::DeliveryState::Dead.into(),
            ..v1::ListDeliveriesRequest::default()
        };
        grpc.dialogues().list_deliveries(request).await.unwrap().into_inner().deliveries.pop()
    })
    .await;
    let endpoint = v1::Endpoint {
        display_name: "Endpoint".to_owned(),
        url: receiver.url(),
        event_types: vec!["endpoint.created".to_owned()],
        schedule: v1::EndpointSchedule::Sandbox.into(),
        ..v1::Endpoint::default()
    };
    let request = v1::CreateEndpointRequest { endpoint: Some(endpoint), request_id: String::new() };
    let made = grpc.webhooks().create_endpoint(request).await.unwrap().into_inner();
    let endpoint_id = made.endpoint.unwrap().id;
    crate::harness::until(|| async {
        let request = v1::ListDispatchesRequest {
            endpoint_id: endpoint_id.clone(),
            state: v1::DispatchState::Dead.into(),
            ..v1::ListDispatchesRequest::default()
        };
        grpc.webhooks().list_dispatches(request).await.unwrap().into_inner().dispatches.pop()
    })
    .await;
    receiver.answer_with(200);
    connect(world, fake("good")).await;
    let owned = Owned::read(&grpc).await;
    (route, owned)
}

#[tokio::test]
async fn no_rpc_tells_a_foreign_id_from_one_that_does_not_exist() {
    let world = World::with_vendors(&[], vec![Fake::with_key("good").vendor()]).await;
    let receiver = Receiver::start().await;
    let (_, owned) = one_that_has_everything(&world, &receiver).await;
    let (_, key) = second_workspace(&world).await;
    let mut tried = Tried { grpc: world.grpc_as(&key).await, done: BTreeSet::new() };
    agents_and_channels(&mut tried, &owned, &receiver).await;
    dialogues_and_webhooks(&mut tried, &owned).await;
    endpoints_and_dispatches(&mut tried, &owned, &receiver).await;
    integrations(&mut tried, &owned).await;
    crm(&mut tried, &owned).await;
    sources(&mut tried, &owned).await;
    workspaces_and_keys(&mut tried, &owned).await;

    let exempt = EXEMPT.iter().map(|what| (*what).to_owned()).collect();
    let wanted: BTreeSet<String> = ids_of_the_contract().difference(&exempt).cloned().collect();
    assert_eq!(tried.done, wanted, "every id that the contract takes is tried");
    assert_eq!(Owned::read(&world.grpc().await).await, owned, "and nothing was changed by it");
    world.stop().await;
}

async fn crm(tried: &mut Tried, owned: &Owned) {
    let integration = owned.integrations[0].id.as_str();
    let (entity, refresh) = (v1::CrmEntity::Lead.into(), false);
    ask!(tried, "ListFields.integration_id", NotFound, integration, crm.list_fields, |integration_id| {
        v1::ListFieldsRequest { integration_id, entity, refresh }
    });
    ask!(
        tried,
        "ListPipelines.integration_id",
        NotFound,
        integration,
        crm.list_pipelines,
        |integration_id| { v1::ListPipelinesRequest { integration_id, refresh } }
    );
    ask!(tried, "ListUsers.integration_id", NotFound, integration, crm.list_users, |integration_id| {
        v1::ListUsersRequest { integration_id, refresh }
    });
    ask!(tried, "ListTags.integration_id", NotFound, integration, crm.list_tags, |integration_id| {
        v1::ListTagsRequest { integration_id, entity, refresh }
    });
    let one = || "1".to_owned();
    ask!(tried, "GetLead.integration_id", NotFound, integration, crm.get_lead, |integration_id| {
        v1::GetLeadRequest { integration_id, lead_id: one() }
    });
    ask!(tried, "GetContact.integration_id", NotFound, integration, crm.get_contact, |integration_id| {
        v1::GetContactRequest { integration_id, contact_id: one() }
    });
    let patch = || Some(v1::CrmLeadPatch { price: Some(1), ..v1::CrmLeadPatch::default() });
    ask!(tried, "UpdateLead.integration_id", NotFound, integration, crm.update_lead, |integration_id| {
        v1::UpdateLeadRequest { integration_id, lead_id: one(), patch: patch() }
    });
    ask!(
        tried,
        "BatchUpdateLeads.integration_id",
        NotFound,
        integration,
        crm.batch_update_leads,
        |integration_id| {
            let changes = vec![v1::CrmLeadChange { lead_id: one(), patch: patch() }];
            v1::BatchUpdateLeadsRequest { integration_id, changes }
        }
    );
    ask!(tried, "CreateTask.integration_id", NotFound, integration, crm.create_task, |integration_id| {
        let due_time = Some(prost_types::Timestamp { seconds: 1_800_000_000, nanos: 0 });
        let (entity_id, text) = (one(), "Call".to_owned());
        v1::CreateTaskRequest { integration_id, entity, entity_id, text, due_time, ..Default::default() }
    });
    ask!(tried, "AddNote.integration_id", NotFound, integration, crm.add_note, |integration_id| {
        v1::AddNoteRequest { integration_id, entity, entity_id: one(), text: "Note".to_owned() }
    });
}

async fn sources(tried: &mut Tried, owned: &Owned) {
    let integration = owned.integrations[0].id.as_str();
    let (refresh, id) = (false, || "1".to_owned());
    ask!(
        tried,
        "ListSources.integration_id",
        NotFound,
        integration,
        sources.list_sources,
        |integration_id| { v1::ListSourcesRequest { integration_id, refresh } }
    );
    ask!(tried, "GetSource.integration_id", NotFound, integration, sources.get_source, |integration_id| {
        v1::GetSourceRequest { integration_id, key: Some(v1::get_source_request::Key::Id(id())), refresh }
    });
    let source = || {
        let (id, display_name) = (id(), "Shop".to_owned());
        Some(v1::Source { id, display_name, external_id: "shop".to_owned(), ..v1::Source::default() })
    };
    ask!(
        tried,
        "CreateSource.integration_id",
        NotFound,
        integration,
        sources.create_source,
        |integration_id| { v1::CreateSourceRequest { integration_id, source: source() } }
    );
    ask!(
        tried,
        "UpdateSource.integration_id",
        NotFound,
        integration,
        sources.update_source,
        |integration_id| {
            let update_mask = Some(mask("display_name"));
            v1::UpdateSourceRequest { integration_id, source: source(), update_mask }
        }
    );
    ask!(
        tried,
        "DeleteSource.integration_id",
        NotFound,
        integration,
        sources.delete_source,
        |integration_id| { v1::DeleteSourceRequest { integration_id, id: id() } }
    );
    ask!(
        tried,
        "EnsureSource.integration_id",
        NotFound,
        integration,
        sources.ensure_source,
        |integration_id| { v1::EnsureSourceRequest { integration_id, ..v1::EnsureSourceRequest::default() } }
    );
    ask!(
        tried,
        "CheckSources.integration_id",
        NotFound,
        integration,
        sources.check_sources,
        |integration_id| { v1::CheckSourcesRequest { integration_id, trial: true } }
    );
    ask!(
        tried,
        "ClearSourceCache.integration_id",
        NotFound,
        integration,
        sources.clear_source_cache,
        |integration_id| { v1::ClearSourceCacheRequest { integration_id } }
    );
}

async fn agents_and_channels(tried: &mut Tried, owned: &Owned, receiver: &Receiver) {
    let engine = Some(v1::Engine { vendor: "mock".to_owned(), ..v1::Engine::default() });
    let mine = v1::Agent { display_name: "Mine".to_owned(), engine, ..v1::Agent::default() };
    let request = v1::CreateAgentRequest { agent: Some(mine), request_id: String::new() };
    let mine = tried.grpc.agents().create_agent(request).await.unwrap().into_inner().agent.unwrap().id;
    let template = |agent_id: String| v1::Channel {
        display_name: "Mine".to_owned(),
        url: receiver.url(),
        agent_id,
        ..v1::Channel::default()
    };
    let request = v1::CreateChannelRequest { channel: Some(template(mine)), request_id: String::new() };
    let my_channel = tried.grpc.channels().create_channel(request).await.unwrap().into_inner();
    let my_channel = my_channel.channel.unwrap();

    let agent = owned.agents[0].id.as_str();
    ask!(tried, "GetAgent.id", NotFound, agent, agents.get_agent, |id| v1::GetAgentRequest { id });
    ask!(tried, "UpdateAgent.agent.id", NotFound, agent, agents.update_agent, |id| v1::UpdateAgentRequest {
        agent: Some(v1::Agent { id, display_name: "Stolen".to_owned(), ..v1::Agent::default() }),
        update_mask: Some(mask("display_name")),
    });
    ask!(tried, "RotateAgentToken.id", NotFound, agent, agents.rotate_agent_token, |id| {
        v1::RotateAgentTokenRequest { id }
    });
    ask!(tried, "DeleteAgent.id", NotFound, agent, agents.delete_agent, |id| v1::DeleteAgentRequest { id });
    ask!(tried, "CreateChannel.channel.agent_id", NotFound, agent, channels.create_channel, |agent_id| {
        v1::CreateChannelRequest { channel: Some(template(agent_id)), request_id: String::new() }
    });
    ask!(tried, "UpdateChannel.channel.agent_id", NotFound, agent, channels.update_channel, |agent_id| {
        v1::UpdateChannelRequest {
            channel: Some(v1::Channel { agent_id, ..my_channel.clone() }),
            update_mask: Some(mask("agent_id")),
        }
    });
    ask!(tried, "ListChannels.agent_id", Ok, agent, channels.list_channels, |agent_id| {
        v1::ListChannelsRequest { agent_id, ..v1::ListChannelsRequest::default() }
    });

    let over = |integration_id: String, agent_id: &str| v1::Channel {
        vendor: "edna".to_owned(),
        url: String::new(),
        integration_id,
        settings: Some(to_struct(&json!({ "kind": "SMS", "subject_id": 400 }))),
        ..template(agent_id.to_owned())
    };
    let edna = v1::Integration {
        vendor: "edna".to_owned(),
        display_name: "Mine".to_owned(),
        credentials: [("api_key".to_owned(), "key".to_owned())].into(),
        ..v1::Integration::default()
    };
    let request = v1::CreateIntegrationRequest { integration: Some(edna), request_id: String::new() };
    let edna = tried.grpc.integrations().create_integration(request).await.unwrap().into_inner();
    let agent_id = my_channel.agent_id.as_str();
    let channel = Some(over(edna.integration.unwrap().id, agent_id));
    let request = v1::CreateChannelRequest { channel, request_id: String::new() };
    let my_edna = tried.grpc.channels().create_channel(request).await.unwrap().into_inner().channel.unwrap();
    let integration = owned.integrations[0].id.as_str();
    let what = "CreateChannel.channel.integration_id";
    ask!(tried, what, NotFound, integration, channels.create_channel, |id: String| {
        v1::CreateChannelRequest { channel: Some(over(id, agent_id)), request_id: String::new() }
    });
    let what = "UpdateChannel.channel.integration_id";
    ask!(tried, what, NotFound, integration, channels.update_channel, |integration_id| {
        v1::UpdateChannelRequest {
            channel: Some(v1::Channel { integration_id, ..my_edna.clone() }),
            update_mask: Some(mask("integration_id")),
        }
    });

    let channel = owned.channels[0].id.as_str();
    let in_chats_of =
        |id: String| Some(v1::ChannelMirror { channel_id: id, source_external_id: String::new() });
    ask!(
        tried,
        "CreateChannel.channel.mirror.channel_id",
        NotFound,
        channel,
        channels.create_channel,
        |id| {
            let channel = v1::Channel { mirror: in_chats_of(id), ..template(agent_id.to_owned()) };
            v1::CreateChannelRequest { channel: Some(channel), request_id: String::new() }
        }
    );
    ask!(
        tried,
        "UpdateChannel.channel.mirror.channel_id",
        NotFound,
        channel,
        channels.update_channel,
        |id| {
            v1::UpdateChannelRequest {
                channel: Some(v1::Channel { mirror: in_chats_of(id), ..my_channel.clone() }),
                update_mask: Some(mask("mirror")),
            }
        }
    );
    ask!(tried, "GetChannel.id", NotFound, channel, channels.get_channel, |id| v1::GetChannelRequest { id });
    ask!(tried, "UpdateChannel.channel.id", NotFound, channel, channels.update_channel, |id| {
        v1::UpdateChannelRequest {
            channel: Some(v1::Channel { id, display_name: "Stolen".to_owned(), ..v1::Channel::default() }),
            update_mask: Some(mask("display_name")),
        }
    });
    ask!(tried, "RotateChannelToken.id", NotFound, channel, channels.rotate_channel_token, |id| {
        v1::RotateChannelTokenRequest { id }
    });
    ask!(
        tried,
        "RotateChannelSigningSecret.id",
        NotFound,
        channel,
        channels.rotate_channel_signing_secret,
        |id| v1::RotateChannelSigningSecretRequest { id }
    );
    ask!(tried, "RotateChannelHookSecret.id", NotFound, channel, channels.rotate_channel_hook_secret, |id| {
        v1::RotateChannelHookSecretRequest { id }
    });
    ask!(tried, "ConnectChannel.id", NotFound, channel, channels.connect_channel, |id| {
        v1::ConnectChannelRequest { id }
    });
    ask!(tried, "DisconnectChannel.id", NotFound, channel, channels.disconnect_channel, |id| {
        v1::DisconnectChannelRequest { id }
    });
    ask!(tried, "GetChannelDialogue.id", NotFound, channel, channels.get_channel_dialogue, |id| {
        v1::GetChannelDialogueRequest { id, ..v1::GetChannelDialogueRequest::default() }
    });
    ask!(tried, "DeleteChannel.id", NotFound, channel, channels.delete_channel, |id| {
        v1::DeleteChannelRequest { id }
    });
}

async fn dialogues_and_webhooks(tried: &mut Tried, owned: &Owned) {
    let channel = owned.channels[0].id.as_str();
    ask!(tried, "ListDialogues.channel_id", Ok, channel, dialogues.list_dialogues, |channel_id| {
        v1::ListDialoguesRequest { channel_id, ..v1::ListDialoguesRequest::default() }
    });
    ask!(tried, "ReceiveMessage.channel_id", NotFound, channel, webhooks.receive_message, |channel_id| {
        v1::ReceiveMessageRequest {
            channel_id,
            text: "hello".to_owned(),
            sender: MessageSender::Customer.into(),
            ..v1::ReceiveMessageRequest::default()
        }
    });
    let mine = tried.grpc.channels().list_channels(v1::ListChannelsRequest::default()).await.unwrap();
    let mine = mine.into_inner().channels.remove(0).id;
    let integration = owned.integrations[0].id.as_str();
    let of = |integration_id: String| {
        let references = v1::CrmReferences { integration_id, ..v1::CrmReferences::default() };
        v1::ReceiveMessageRequest {
            channel_id: mine.clone(),
            text: "hello".to_owned(),
            sender: MessageSender::Customer.into(),
            crm: Some(references),
            ..v1::ReceiveMessageRequest::default()
        }
    };
    ask!(tried, "ReceiveMessage.crm.integration_id", NotFound, integration, webhooks.receive_message, of);
    let told = |integration_id: String| v1::ToldContact {
        identities: vec![v1::ContactIdentity {
            vendor: "amocrm".to_owned(),
            integration_id,
            external_id: "1".to_owned(),
        }],
        ..v1::ToldContact::default()
    };
    ask!(
        tried,
        "ReceiveMessage.contact.identities.integration_id",
        NotFound,
        integration,
        webhooks.receive_message,
        |id| v1::ReceiveMessageRequest { contact: Some(told(id)), ..of(String::new()) }
    );
    let import = |chat: v1::ImportedChat| v1::ImportMessagesRequest {
        channel_id: mine.clone(),
        chats: vec![v1::ImportedChat { chat: "1".to_owned(), ..chat }],
        messages: Vec::new(),
    };
    ask!(tried, "ImportMessages.channel_id", NotFound, channel, dialogues.import_messages, |channel_id| {
        v1::ImportMessagesRequest { channel_id, ..v1::ImportMessagesRequest::default() }
    });
    // The row is left out, and says so.
    ask!(
        tried,
        "ImportMessages.chats.crm.integration_id",
        Ok,
        integration,
        dialogues.import_messages,
        |id| { import(v1::ImportedChat { crm: of(id).crm, ..v1::ImportedChat::default() }) }
    );
    ask!(
        tried,
        "ImportMessages.chats.contact.identities.integration_id",
        Ok,
        integration,
        dialogues.import_messages,
        |id| import(v1::ImportedChat { contact: Some(told(id)), ..v1::ImportedChat::default() })
    );
    let contact = owned.contacts[0].id.as_str();
    ask!(tried, "ListContacts.contact_id", Ok, contact, dialogues.list_contacts, |contact_id| {
        v1::ListContactsRequest { contact_id, ..v1::ListContactsRequest::default() }
    });
    ask!(tried, "ListDialogues.contact_id", Ok, contact, dialogues.list_dialogues, |contact_id| {
        v1::ListDialoguesRequest { contact_id, ..v1::ListDialoguesRequest::default() }
    });
    ask!(
        tried,
        "ListInboundWebhooks.integration_id",
        Ok,
        integration,
        webhooks.list_inbound_webhooks,
        |integration_id| {
            v1::ListInboundWebhooksRequest { integration_id, ..v1::ListInboundWebhooksRequest::default() }
        }
    );
    ask!(
        tried,
        "ListInboundWebhooks.channel_id",
        Ok,
        channel,
        webhooks.list_inbound_webhooks,
        |channel_id| {
            v1::ListInboundWebhooksRequest { channel_id, ..v1::ListInboundWebhooksRequest::default() }
        }
    );

    let dialogue = owned.dialogues[0].id.as_str();
    ask!(tried, "GetDialogue.id", NotFound, dialogue, dialogues.get_dialogue, |id| {
        v1::GetDialogueRequest { id }
    });
    ask!(tried, "ListMessages.dialogue_id", NotFound, dialogue, dialogues.list_messages, |dialogue_id| {
        v1::ListMessagesRequest { dialogue_id, ..v1::ListMessagesRequest::default() }
    });
    ask!(tried, "ListTurns.dialogue_id", NotFound, dialogue, dialogues.list_turns, |dialogue_id| {
        v1::ListTurnsRequest { dialogue_id, ..v1::ListTurnsRequest::default() }
    });
    ask!(tried, "ListDeliveries.dialogue_id", Ok, dialogue, dialogues.list_deliveries, |dialogue_id| {
        v1::ListDeliveriesRequest { dialogue_id, ..v1::ListDeliveriesRequest::default() }
    });
    // The caller's own agent, channels and integration have their places in the log, so that it is the same for both questions.
    crate::harness::until(|| async {
        let request = v1::ListEventsRequest { cursor: "0".to_owned(), ..v1::ListEventsRequest::default() };
        let events = tried.grpc.events().list_events(request).await.unwrap().into_inner().events;
        (events.len() == 4).then_some(())
    })
    .await;
    ask!(tried, "ListEvents.dialogue_id", Ok, dialogue, events.list_events, |dialogue_id| {
        v1::ListEventsRequest { dialogue_id, cursor: "0".to_owned(), ..v1::ListEventsRequest::default() }
    });

    let agent = owned.agents[0].id.as_str();
    ask!(tried, "ListUsage.agent_id", Ok, agent, agents.list_usage, |agent_id| {
        v1::ListUsageRequest { agent_id, ..v1::ListUsageRequest::default() }
    });
    let messages = vec![v1::PreviewMessage { role: v1::MessageRole::User.into(), text: "hi".to_owned() }];
    ask!(tried, "PreviewReply.agent_id", NotFound, agent, agents.preview_reply, |agent_id| {
        v1::PreviewReplyRequest { agent_id, messages: messages.clone(), ..Default::default() }
    });
    let draft = |id: String| v1::Agent { id, ..owned.agents[0].clone() };
    ask!(tried, "PreviewReply.agent.id", NotFound, agent, agents.preview_reply, |id| {
        let agent = Some(draft(id));
        v1::PreviewReplyRequest { agent, messages: messages.clone(), ..Default::default() }
    });
    // Streams begin only when the agent is found.
    let replay = async |request: v1::ReplayDialoguesRequest, id: &str| {
        let refused = tried.grpc.agents().replay_dialogues(request).await.map(|_| Response::new(()));
        said(refused, id)
    };
    for (what, build) in [
        (
            "ReplayDialogues.agent_id",
            (|id, _| v1::ReplayDialoguesRequest { agent_id: id, ..Default::default() })
                as fn(String, v1::Agent) -> v1::ReplayDialoguesRequest,
        ),
        ("ReplayDialogues.agent.id", |id, agent| v1::ReplayDialoguesRequest {
            agent: Some(v1::Agent { id, ..agent }),
            ..Default::default()
        }),
    ] {
        let ask = async |id: &str| replay(build(id.to_owned(), owned.agents[0].clone()), id).await;
        let (foreign, nobody) = (ask(agent).await, ask(NOBODY).await);
        assert_eq!((foreign.0, &foreign), (Code::NotFound, &nobody), "{what}");
        assert!(tried.done.insert(what.to_owned()));
    }
    // A channel of another workspace has no dialogues here, as one that does not exist.
    let mine = v1::Agent { id: String::new(), ..owned.agents[0].clone() };
    for channel_id in [owned.channels[0].id.clone(), NOBODY.to_owned()] {
        let request =
            v1::ReplayDialoguesRequest { agent: Some(mine.clone()), channel_id, ..Default::default() };
        let mut stream = tried.grpc.agents().replay_dialogues(request).await.unwrap().into_inner();
        let first = stream.message().await.unwrap().unwrap().item;
        let empty = v1::ReplaySummary { usage: Some(v1::Usage::default()), ..Default::default() };
        assert_eq!(first, Some(v1::replay_dialogues_response::Item::Summary(empty)));
    }
    assert!(tried.done.insert("ReplayDialogues.channel_id".to_owned()));
    let turn = owned.turns[0].id.as_str();
    ask!(tried, "GetTurn.id", NotFound, turn, dialogues.get_turn, |id| v1::GetTurnRequest { id });
    let delivery = owned.deliveries[0].id.as_str();
    ask!(tried, "GetDelivery.id", NotFound, delivery, dialogues.get_delivery, |id| {
        v1::GetDeliveryRequest { id }
    });
    ask!(tried, "RetryDelivery.id", NotFound, delivery, dialogues.retry_delivery, |id| {
        v1::RetryDeliveryRequest { id }
    });
    ask!(tried, "ResolveDelivery.id", NotFound, delivery, dialogues.resolve_delivery, |id| {
        v1::ResolveDeliveryRequest { id, resolution: v1::DeliveryResolution::Discard.into() }
    });
    let dialogue = owned.dialogues[0].id.as_str();
    ask!(tried, "SendMessage.dialogue_id", NotFound, dialogue, dialogues.send_message, |dialogue_id| {
        let author = v1::MessageAuthor::Operator.into();
        v1::SendMessageRequest {
            dialogue_id,
            text: "hello".to_owned(),
            author,
            ..v1::SendMessageRequest::default()
        }
    });
    ask!(tried, "TakeControl.dialogue_id", NotFound, dialogue, dialogues.take_control, |dialogue_id| {
        v1::TakeControlRequest { dialogue_id, ..v1::TakeControlRequest::default() }
    });
    ask!(tried, "ReleaseControl.dialogue_id", NotFound, dialogue, dialogues.release_control, |dialogue_id| {
        v1::ReleaseControlRequest { dialogue_id, ..v1::ReleaseControlRequest::default() }
    });
    ask!(tried, "UpdateDialogue.dialogue.id", NotFound, dialogue, dialogues.update_dialogue, |id| {
        let status = v1::DialogueStatus::Resolved.into();
        v1::UpdateDialogueRequest {
            dialogue: Some(v1::Dialogue { id, status, ..v1::Dialogue::default() }),
            update_mask: Some(mask("status")),
        }
    });
    ask!(tried, "DeleteDialogue.dialogue_id", NotFound, dialogue, dialogues.delete_dialogue, |dialogue_id| {
        v1::DeleteDialogueRequest { dialogue_id }
    });
    let webhook = owned.webhooks[0].id.as_str();
    ask!(tried, "GetInboundWebhook.id", NotFound, webhook, webhooks.get_inbound_webhook, |id| {
        v1::GetInboundWebhookRequest { id }
    });
    ask!(tried, "ReplayInboundWebhook.id", NotFound, webhook, webhooks.replay_inbound_webhook, |id| {
        v1::ReplayInboundWebhookRequest { id }
    });
}

async fn endpoints_and_dispatches(tried: &mut Tried, owned: &Owned, receiver: &Receiver) {
    let template = |channel_id: String| v1::Endpoint {
        display_name: "Mine".to_owned(),
        url: receiver.url(),
        event_types: vec!["agent.deleted".to_owned()],
        channel_id,
        ..v1::Endpoint::default()
    };
    let create = |channel_id: String| v1::CreateEndpointRequest {
        endpoint: Some(template(channel_id)),
        request_id: String::new(),
    };
    let mine = tried.grpc.webhooks().create_endpoint(create(String::new())).await.unwrap().into_inner();
    let mine = mine.endpoint.unwrap();
    let channel = owned.channels[0].id.as_str();
    ask!(tried, "CreateEndpoint.endpoint.channel_id", NotFound, channel, webhooks.create_endpoint, create);
    ask!(tried, "UpdateEndpoint.endpoint.channel_id", NotFound, channel, webhooks.update_endpoint, |id| {
        v1::UpdateEndpointRequest {
            endpoint: Some(v1::Endpoint { channel_id: id, ..mine.clone() }),
            update_mask: Some(mask("channel_id")),
        }
    });

    let endpoint = owned.endpoints[0].id.as_str();
    ask!(tried, "GetEndpoint.id", NotFound, endpoint, webhooks.get_endpoint, |id| {
        v1::GetEndpointRequest { id }
    });
    ask!(tried, "UpdateEndpoint.endpoint.id", NotFound, endpoint, webhooks.update_endpoint, |id| {
        v1::UpdateEndpointRequest {
            endpoint: Some(v1::Endpoint { id, display_name: "Stolen".to_owned(), ..v1::Endpoint::default() }),
            update_mask: Some(mask("display_name")),
        }
    });
    ask!(tried, "RotateEndpointSecret.id", NotFound, endpoint, webhooks.rotate_endpoint_secret, |id| {
        v1::RotateEndpointSecretRequest { id }
    });
    ask!(tried, "TestEndpoint.id", NotFound, endpoint, webhooks.test_endpoint, |id| {
        v1::TestEndpointRequest { id }
    });
    ask!(tried, "ListDispatches.endpoint_id", NotFound, endpoint, webhooks.list_dispatches, |endpoint_id| {
        v1::ListDispatchesRequest { endpoint_id, ..v1::ListDispatchesRequest::default() }
    });
    ask!(tried, "ReplayEvents.endpoint_id", NotFound, endpoint, webhooks.replay_events, |endpoint_id| {
        v1::ReplayEventsRequest {
            endpoint_id,
            start_cursor: "0".to_owned(),
            ..v1::ReplayEventsRequest::default()
        }
    });
    ask!(tried, "DeleteEndpoint.id", NotFound, endpoint, webhooks.delete_endpoint, |id| {
        v1::DeleteEndpointRequest { id }
    });
    let dispatch = owned.dispatches[0].id.as_str();
    ask!(tried, "GetDispatch.id", NotFound, dispatch, webhooks.get_dispatch, |id| {
        v1::GetDispatchRequest { id }
    });
    ask!(tried, "RetryDispatch.id", NotFound, dispatch, webhooks.retry_dispatch, |id| {
        v1::RetryDispatchRequest { id }
    });
}

async fn integrations(tried: &mut Tried, owned: &Owned) {
    let mine =
        v1::Agent { display_name: "Mine".to_owned(), engine: Some(engine("")), ..v1::Agent::default() };
    let request = v1::CreateAgentRequest { agent: Some(mine.clone()), request_id: String::new() };
    let made = tried.grpc.agents().create_agent(request).await.unwrap().into_inner().agent.unwrap();
    let integration = owned.integrations[0].id.as_str();
    // An agent that names that integration, in each place where it may.
    let over = |place: &str, id: &str, agent: &v1::Agent| match place {
        "engine" => v1::Agent { engine: Some(engine(id)), ..agent.clone() },
        "crm_context" => {
            let lead_fields = vec!["price".to_owned()];
            let context =
                v1::CrmContext { integration_id: id.to_owned(), lead_fields, contact_fields: Vec::new() };
            v1::Agent { crm_context: Some(context), ..agent.clone() }
        }
        _ => v1::Agent { fallback_engine: Some(engine(id)), ..agent.clone() },
    };
    let said_once = v1::PreviewMessage { role: v1::MessageRole::User.into(), text: "hi".to_owned() };
    for place in ["engine", "fallback_engine", "crm_context"] {
        let field = |rpc: &str| format!("{rpc}.agent.{place}.integration_id");
        ask!(tried, field("CreateAgent"), NotFound, integration, agents.create_agent, |id: String| {
            v1::CreateAgentRequest { agent: Some(over(place, &id, &mine)), request_id: String::new() }
        });
        ask!(tried, field("UpdateAgent"), NotFound, integration, agents.update_agent, |id: String| {
            v1::UpdateAgentRequest { agent: Some(over(place, &id, &made)), update_mask: Some(mask(place)) }
        });
        ask!(tried, field("PreviewReply"), NotFound, integration, agents.preview_reply, |id: String| {
            let agent = Some(over(place, &id, &mine));
            v1::PreviewReplyRequest { agent, messages: vec![said_once.clone()], ..Default::default() }
        });
        let replay = async |id: &str| {
            let agent = Some(over(place, id, &mine));
            let request = v1::ReplayDialoguesRequest { agent, ..Default::default() };
            said(tried.grpc.agents().replay_dialogues(request).await.map(|_| Response::new(())), id)
        };
        let (foreign, nobody) = (replay(integration).await, replay(NOBODY).await);
        assert_eq!((foreign.0, &foreign), (Code::NotFound, &nobody));
        assert!(tried.done.insert(field("ReplayDialogues")));
    }
    ask!(tried, "ListModels.integration_id", NotFound, integration, agents.list_models, |integration_id| {
        v1::ListModelsRequest { vendor: "acme".to_owned(), integration_id, refresh: false }
    });
    ask!(tried, "GetIntegration.id", NotFound, integration, integrations.get_integration, |id| {
        v1::GetIntegrationRequest { id }
    });
    ask!(
        tried,
        "UpdateIntegration.integration.id",
        NotFound,
        integration,
        integrations.update_integration,
        |id| {
            let display_name = "Stolen".to_owned();
            v1::UpdateIntegrationRequest {
                integration: Some(v1::Integration { id, display_name, ..v1::Integration::default() }),
                update_mask: Some(mask("display_name")),
            }
        }
    );
    ask!(tried, "CheckIntegration.id", NotFound, integration, integrations.check_integration, |id| {
        v1::CheckIntegrationRequest { id }
    });
    ask!(tried, "RotateIntegration.id", NotFound, integration, integrations.rotate_integration, |id| {
        v1::RotateIntegrationRequest { id }
    });
    ask!(tried, "RotateWebhookSecret.id", NotFound, integration, integrations.rotate_webhook_secret, |id| {
        v1::RotateWebhookSecretRequest { id }
    });
    ask!(tried, "StartAuthorization.id", NotFound, integration, integrations.start_authorization, |id| {
        v1::StartAuthorizationRequest { id }
    });
    ask!(tried, "DeleteIntegration.id", NotFound, integration, integrations.delete_integration, |id| {
        v1::DeleteIntegrationRequest { id }
    });
}

async fn workspaces_and_keys(tried: &mut Tried, owned: &Owned) {
    let workspace = owned.workspace.id.as_str();
    let (key, key_name) = (owned.keys[0].id.as_str(), owned.keys[0].id.clone());
    ask!(tried, "GetWorkspace.id", NotFound, workspace, workspaces.get_workspace, |id| {
        v1::GetWorkspaceRequest { id }
    });
    ask!(tried, "UpdateWorkspace.workspace.id", NotFound, workspace, workspaces.update_workspace, |id| {
        v1::UpdateWorkspaceRequest {
            workspace: Some(v1::Workspace {
                id,
                display_name: "Stolen".to_owned(),
                ..v1::Workspace::default()
            }),
            update_mask: Some(mask("display_name")),
        }
    });
    ask!(
        tried,
        "CreateApiKey.workspace_id",
        NotFound,
        workspace,
        workspaces.create_api_key,
        |workspace_id| {
            v1::CreateApiKeyRequest {
                workspace_id,
                api_key: Some(v1::ApiKey {
                    display_name: "thief".to_owned(),
                    scopes: vec!["agents:read".to_owned()],
                    ..v1::ApiKey::default()
                }),
                request_id: String::new(),
            }
        }
    );
    ask!(tried, "ListApiKeys.workspace_id", NotFound, workspace, workspaces.list_api_keys, |workspace_id| {
        v1::ListApiKeysRequest { workspace_id, ..v1::ListApiKeysRequest::default() }
    });
    ask!(tried, "GetStats.workspace_id", NotFound, workspace, workspaces.get_stats, |workspace_id| {
        v1::GetStatsRequest { workspace_id }
    });
    ask!(
        tried,
        "RevokeApiKey.workspace_id",
        NotFound,
        workspace,
        workspaces.revoke_api_key,
        |workspace_id| { v1::RevokeApiKeyRequest { workspace_id, id: key_name.clone() } }
    );
    ask!(tried, "RevokeApiKey.id", NotFound, key, workspaces.revoke_api_key, |id| v1::RevokeApiKeyRequest {
        workspace_id: String::new(),
        id,
    });
}

/// Method, path with `{}` for the id, credentials, the foreign id, and the body for an id.
type Ask<'a> = (Method, &'a str, (&'a str, &'a str), &'a str, &'a dyn Fn(&str) -> Value);

#[tokio::test]
async fn no_route_tells_a_foreign_id_from_one_that_does_not_exist() {
    let world = World::with_vendors(&[], vec![Fake::with_key("good").vendor()]).await;
    let receiver = Receiver::start().await;
    let (route, owned) = one_that_has_everything(&world, &receiver).await;
    let (_, key) = second_workspace(&world).await;
    let other = world.grpc_as(&key).await;
    let engine = Some(v1::Engine { vendor: "mock".to_owned(), ..v1::Engine::default() });
    let agent = v1::Agent { display_name: "Mine".to_owned(), engine, ..v1::Agent::default() };
    let request = v1::CreateAgentRequest { agent: Some(agent), request_id: String::new() };
    let token = other.agents().create_agent(request).await.unwrap().into_inner().token;

    let (bearer, token) = (format!("Bearer {key}"), format!("Bearer {token}"));
    let key = ("authorization", bearer.as_str());
    let agent = ("x-chatbot_auth_token", token.as_str());
    let channel = route.channel_id.as_str();
    let message = |id: &str| json!({ "chat_id": id, "text": "hello", "message_sender": "customer" });
    let new = |id: &str| json!({ "name": "x", "url": "http://127.0.0.1:9/", "chat_bot_id": id });
    let nothing = |_: &str| json!({});
    let asks: [Ask<'_>; 9] = [
        (Method::GET, "/api/channels/{}", key, channel, &nothing),
        (Method::PUT, "/api/channels/{}", key, channel, &|_| json!({ "name": "Stolen" })),
        (Method::DELETE, "/api/channels/{}", key, channel, &nothing),
        (Method::GET, "/api/channels/{}/dialogue", key, channel, &nothing),
        (Method::POST, "/api/channels", key, &route.agent_id, &new),
        (Method::POST, "/api/webhook/new_message", agent, channel, &message),
        (Method::POST, "/api/webhook/new_message", agent, channel, &|id| message(&format!("{id}/room"))),
        (Method::POST, "/hooks/{}", agent, channel, &message),
        (Method::GET, "/api/channels?chat_bot_id={}", key, &route.agent_id, &nothing),
    ];
    for (method, path, credentials, foreign, body) in asks {
        let ask = async |id: &str| {
            let body = Some(body(id).to_string().into());
            let path = path.replace("{}", id);
            let answer = world.call(method.clone(), &path, &[credentials], body).await;
            let names: BTreeSet<String> = answer.headers.keys().map(ToString::to_string).collect();
            (answer.status, answer.text.replace(id, "<id>"), names)
        };
        let answer = ask(foreign).await;
        let list = path.contains('?');
        let expected = if list { StatusCode::OK } else { StatusCode::NOT_FOUND };
        assert_eq!(answer.0, expected.as_u16(), "{method} {path}: {}", answer.1);
        assert!(!list || answer.1 == "[]", "{}", answer.1);
        assert_eq!(answer, ask(NOBODY).await, "{method} {path} tells a foreign id from none");
    }
    // Without any credentials a hook tells neither.
    for body in [message(channel), message(NOBODY)] {
        for id in [channel, NOBODY] {
            world.post(&format!("/hooks/{id}"), &[], body.to_string()).await.problem(401, "AUTH_MISSING");
        }
    }
    assert_eq!(Owned::read(&world.grpc().await).await, owned, "nothing was changed by it");
    world.stop().await;
}
