//! What the internal listener offers beside the contract: health and reflection, to callers without a key.

use std::time::Duration;

use prost::Message as _;
use prost_types::{FileDescriptorProto, MethodDescriptorProto};
use switchboard_sdk::v1;
use tonic::transport::Channel;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::harness::World;

const SERVICES: [&str; 6] = [
    "switchboard.v1.AgentsService",
    "switchboard.v1.ChannelsService",
    "switchboard.v1.DialoguesService",
    "switchboard.v1.EventsService",
    "switchboard.v1.WebhooksService",
    "switchboard.v1.WorkspacesService",
];

async fn channel(world: &World) -> Channel {
    Channel::from_shared(format!("http://{}", world.grpc_addr())).unwrap().connect().await.unwrap()
}

fn asked(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

#[tokio::test]
async fn every_service_is_healthy_until_the_server_stops() {
    let world = World::new().await;
    let mut health = HealthClient::new(channel(&world).await);
    for service in SERVICES.into_iter().chain([""]) {
        let answer = health.check(asked(service)).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
    }
    let unknown = health.check(asked("switchboard.v1.PigeonsService")).await.unwrap_err();
    assert_eq!(unknown.code(), tonic::Code::NotFound);

    let mut whole = health.watch(asked("")).await.unwrap().into_inner();
    let mut one = health.watch(asked(SERVICES[0])).await.unwrap().into_inner();
    for watched in [&mut whole, &mut one] {
        assert_eq!(watched.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    }
    let stopping = tokio::spawn(world.stop());
    for mut watched in [whole, one] {
        assert_eq!(watched.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
        assert!(watched.message().await.unwrap().is_none(), "the watching ends");
    }
    // Well under the twenty seconds after which a stop waits no longer.
    tokio::time::timeout(Duration::from_secs(10), stopping)
        .await
        .expect("nobody who watches holds up the stop")
        .unwrap();
}

/// Asks one version of the reflection for the services and for the file of one; the versions differ in their name only.
macro_rules! reflected {
    ($version:ident, $channel:expr) => {{
        use tonic_reflection::pb::$version::{
            ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
            server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
        };
        let ask = |what| ServerReflectionRequest { host: String::new(), message_request: Some(what) };
        let asks = [
            ask(MessageRequest::ListServices(String::new())),
            ask(MessageRequest::FileContainingSymbol(SERVICES[0].to_owned())),
        ];
        let mut answers = ServerReflectionClient::new($channel)
            .server_reflection_info(tokio_stream::iter(asks))
            .await
            .unwrap()
            .into_inner();
        let mut next = async || answers.message().await.unwrap().unwrap().message_response.unwrap();
        let MessageResponse::ListServicesResponse(listed) = next().await else { panic!("no services") };
        let MessageResponse::FileDescriptorResponse(files) = next().await else { panic!("no file") };
        let names: Vec<String> = listed.service.into_iter().map(|service| service.name).collect();
        (names, files.file_descriptor_proto)
    }};
}

#[tokio::test]
async fn both_versions_of_reflection_show_the_contract() {
    let world = World::new().await;
    for (names, files) in [reflected!(v1, channel(&world).await), reflected!(v1alpha, channel(&world).await)]
    {
        for service in SERVICES.into_iter().chain(["grpc.health.v1.Health"]) {
            assert!(names.iter().any(|name| name == service), "{service} is not in {names:?}");
        }
        let files: Vec<_> =
            files.iter().map(|file| FileDescriptorProto::decode(file.as_slice()).unwrap()).collect();
        let agents = files.iter().find(|file| file.name() == "switchboard/v1/agents.proto").unwrap();
        let methods: Vec<_> = agents.service[0].method.iter().map(MethodDescriptorProto::name).collect();
        assert!(methods.contains(&"CreateAgent"), "{methods:?}");
    }
    // The rest of the listener asks for a key.
    let mut agents = v1::agents_service_client::AgentsServiceClient::new(channel(&world).await);
    let refused = agents.list_agents(v1::ListAgentsRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unauthenticated);
    world.stop().await;
}

#[tokio::test]
async fn what_is_unknown_is_refused_with_a_reason() {
    let world = World::new().await;
    let mut client = tonic::client::Grpc::new(channel(&world).await);
    for path in ["/switchboard.v1.AgentsService/FeedPigeons", "/switchboard.v1.PigeonsService/ListPigeons"] {
        let mut request = tonic::Request::new(v1::ListAgentsRequest::default());
        let bearer = format!("Bearer {}", world.key);
        request.metadata_mut().insert("authorization", bearer.parse().unwrap());
        client.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<_, v1::ListAgentsResponse>::default();
        let path = http::uri::PathAndQuery::from_static(path);
        let refused = client.unary(request, path, codec).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::Unimplemented);
        assert_eq!(crate::harness::reason(&refused).0, "METHOD_NOT_ALLOWED");
    }
    world.stop().await;
}
