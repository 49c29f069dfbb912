//! Integrations: connecting a workspace to a vendor, and what agents do over the connection.

use std::{collections::BTreeMap, time::Duration};

use futures::future::join_all;
use prost_types::{FieldMask, Struct, value::Kind};
use serde_json::json;
use sqlx::Row as _;
use switchboard_sdk::v1;
use tonic::Status;

use crate::{
    fake_engine::Fake,
    harness::{Receiver, Route, World, reason, until},
    tenants::second_workspace,
};

fn settings(members: &[(&str, &str)]) -> Struct {
    let value = |text: &str| prost_types::Value { kind: Some(Kind::StringValue(text.to_owned())) };
    Struct { fields: members.iter().map(|(name, text)| ((*name).to_owned(), value(text))).collect() }
}

fn credentials(given: &[(&str, &str)]) -> BTreeMap<String, String> {
    given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn a_credential_goes_to_the_server_that_it_was_given_for_and_to_no_other() {
    let vendor = Fake::with_key("good");
    let world = World::with_vendors(&[], vec![vendor.vendor()]).await;
    let made = connect(&world, fake("good")).await;
    let at = |url: &str, key: &[(&str, &str)]| v1::Integration {
        id: made.id.clone(),
        settings: Some(settings(&[("base_url", url)])),
        credentials: credentials(key),
        ..v1::Integration::default()
    };
    let moved = at("https://one.example/v1", &[]);
    let refused = try_update(&world, moved, &["settings"]).await.unwrap_err();
    assert_eq!(
        reason(&refused),
        ("FIELD_INVALID".to_owned(), vec!["integration.credentials.api_key".to_owned()])
    );
    let with_key = at("https://one.example/v1", &[("api_key", "good")]);
    try_update(&world, with_key, &["settings", "credentials"]).await.unwrap();
    // Another path of the same server is no other server; another port is one.
    try_update(&world, at("https://one.example/v2", &[]), &["settings"]).await.unwrap();
    for url in ["https://one.example:8443/v2", "http://one.example/v2", "https://two.example/v2"] {
        try_update(&world, at(url, &[]), &["settings"]).await.unwrap_err();
    }
    world.stop().await;
}

/// An integration with the fake vendor and this key.
pub(crate) fn fake(key: &str) -> v1::Integration {
    v1::Integration {
        vendor: "acme".to_owned(),
        display_name: "Our fake".to_owned(),
        credentials: credentials(&[("api_key", key)]),
        ..v1::Integration::default()
    }
}

pub(crate) async fn try_connect(
    world: &World,
    integration: v1::Integration,
) -> Result<v1::Integration, Status> {
    let request = v1::CreateIntegrationRequest { integration: Some(integration), request_id: String::new() };
    let made = world.grpc().await.integrations().create_integration(request).await?;
    Ok(made.into_inner().integration.unwrap())
}

pub(crate) async fn connect(world: &World, integration: v1::Integration) -> v1::Integration {
    try_connect(world, integration).await.unwrap()
}

async fn get(world: &World, id: &str) -> v1::Integration {
    let request = v1::GetIntegrationRequest { id: id.to_owned() };
    world
        .grpc()
        .await
        .integrations()
        .get_integration(request)
        .await
        .unwrap()
        .into_inner()
        .integration
        .unwrap()
}

async fn try_update(
    world: &World,
    integration: v1::Integration,
    paths: &[&str],
) -> Result<v1::Integration, Status> {
    let update_mask = Some(FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() });
    let request = v1::UpdateIntegrationRequest { integration: Some(integration), update_mask };
    let changed = world.grpc().await.integrations().update_integration(request).await?;
    Ok(changed.into_inner().integration.unwrap())
}

pub(crate) fn engine(integration_id: &str) -> v1::Engine {
    v1::Engine {
        vendor: "acme".to_owned(),
        integration_id: integration_id.to_owned(),
        ..v1::Engine::default()
    }
}

pub(crate) async fn set_engine(world: &World, route: &Route, engine: v1::Engine) -> Result<(), Status> {
    let agent = v1::Agent { id: route.agent_id.clone(), engine: Some(engine), ..v1::Agent::default() };
    let update_mask = Some(FieldMask { paths: vec!["engine".to_owned()] });
    let request = v1::UpdateAgentRequest { agent: Some(agent), update_mask };
    world.grpc().await.agents().update_agent(request).await.map(drop)
}

pub(crate) async fn events(world: &World, kind: &str) -> Vec<v1::Event> {
    let request = v1::ListEventsRequest {
        cursor: "0".to_owned(),
        types: vec![kind.to_owned()],
        ..v1::ListEventsRequest::default()
    };
    world.grpc().await.events().list_events(request).await.unwrap().into_inner().events
}

pub(crate) fn text<'a>(event: &'a v1::Event, name: &str) -> &'a str {
    match event.data.as_ref().and_then(|data| data.fields.get(name)).and_then(|value| value.kind.as_ref()) {
        Some(Kind::StringValue(text)) => text,
        other => panic!("{name}: {other:?}"),
    }
}

#[tokio::test]
async fn credentials_are_written_and_never_read_back() {
    let vendor = Fake::with_key("canary-one");
    let world = World::with_vendors(&[], vec![vendor.vendor()]).await;
    let new = v1::Integration { settings: Some(settings(&[("region", "us")])), ..fake("canary-one") };
    let made = connect(&world, new.clone()).await;
    assert_eq!(made.health(), v1::IntegrationHealth::Unknown);
    assert_eq!(made.settings, new.settings);
    let state: Vec<_> = made.credential_states.iter().map(|state| (state.name.as_str(), state.set)).collect();
    assert_eq!(state, [("api_key", true), ("organisation", false)]);
    assert!(made.credential_states[0].set_time.is_some() && made.credential_states[1].set_time.is_none());

    let replaced =
        v1::Integration { credentials: credentials(&[("organisation", "canary-two")]), ..made.clone() };
    let changed = try_update(&world, replaced, &["credentials"]).await.unwrap();
    assert!(changed.credential_states.iter().all(|state| state.set));
    assert_eq!(changed.credential_states[0], made.credential_states[0], "what is not named stays");
    let mut integrations = world.grpc().await.integrations();
    let listed = integrations.list_integrations(v1::ListIntegrationsRequest::default());
    let listed = listed.await.unwrap().into_inner().integrations;
    assert_eq!(listed, std::slice::from_ref(&changed));
    assert_eq!(get(&world, &made.id).await, changed);
    assert!(!format!("{listed:?}{made:?}").contains("canary"));

    // An empty one is taken away, but none that nothing works without.
    let taken = |name: &str| v1::Integration { credentials: credentials(&[(name, "")]), ..made.clone() };
    let changed = try_update(&world, taken("organisation"), &["credentials"]).await.unwrap();
    assert_eq!(changed.credential_states[1].set_time, None);
    let refused = try_update(&world, taken("api_key"), &["credentials"]).await.unwrap_err();
    let field = "integration.credentials.api_key".to_owned();
    assert_eq!(reason(&refused), ("FIELD_INVALID".to_owned(), vec![field]));
    let kinds: Vec<_> = ["created", "updated"].map(|kind| format!("integration.{kind}")).to_vec();
    until(|| async {
        let (made, changed) = (events(&world, &kinds[0]).await, events(&world, &kinds[1]).await);
        (made.len() == 1 && changed.len() == 2).then_some(())
    })
    .await;
    world.stop().await;
}

#[tokio::test]
async fn what_is_wrong_with_an_integration_is_named_field_by_field() {
    let vendor = Fake::with_key("k");
    let world = World::with_vendors(&[], vec![vendor.vendor()]).await;
    let refused = async |new: v1::Integration| reason(&try_connect(&world, new).await.unwrap_err());
    let bad = |fields: &[&str]| {
        ("FIELD_INVALID".to_owned(), fields.iter().map(|field| (*field).to_owned()).collect::<Vec<_>>())
    };
    let unknown = settings(&[("regoin", "us"), ("region", "eu")]);
    assert_eq!(
        refused(v1::Integration { settings: Some(unknown), ..fake("k") }).await,
        bad(&["integration.settings.regoin"])
    );
    let mut odd = fake("k");
    odd.display_name = String::new();
    odd.credentials = credentials(&[("api_kee", "k")]);
    let fields =
        ["integration.display_name", "integration.credentials.api_kee", "integration.credentials.api_key"];
    assert_eq!(refused(odd).await, bad(&fields));
    let of = |vendor: &str| v1::Integration { vendor: vendor.to_owned(), ..fake("k") };
    assert_eq!(refused(of("nobody")).await, bad(&["integration.vendor"]));
    assert_eq!(refused(of("mock")).await, bad(&["integration.vendor"]));
    let inside = settings(&[("base_url", "http://10.0.0.7/v1")]);
    let (why, fields) = refused(v1::Integration { settings: Some(inside), ..fake("k") }).await;
    assert_eq!(
        (why.as_str(), &*fields),
        ("TARGET_FORBIDDEN", &["integration.settings.base_url".to_owned()][..])
    );
    assert_eq!(
        refused(v1::Integration {
            credentials: credentials(&[("api_key", &"x".repeat(16_385))]),
            ..fake("k")
        })
        .await,
        bad(&["integration.credentials.api_key"])
    );

    // A repeat is the first; with another secret it is refused, though no digest of a secret is kept.
    let grpc = world.grpc().await;
    let request = |integration| v1::CreateIntegrationRequest {
        integration: Some(integration),
        request_id: "0198c0de-0000-7000-8000-000000000009".to_owned(),
    };
    let first = grpc.integrations().create_integration(request(fake("k"))).await.unwrap().into_inner();
    let again = grpc.integrations().create_integration(request(fake("k"))).await.unwrap().into_inner();
    assert_eq!(first, again);
    let other = grpc.integrations().create_integration(request(fake("other"))).await.unwrap_err();
    assert_eq!(reason(&other).0, "REQUEST_ID_REUSED");

    // Who may only read.
    let api_key = v1::ApiKey {
        display_name: "reader".to_owned(),
        scopes: vec!["integrations:read".to_owned()],
        ..v1::ApiKey::default()
    };
    let new = v1::CreateApiKeyRequest { api_key: Some(api_key), ..v1::CreateApiKeyRequest::default() };
    let reader = grpc.workspaces().create_api_key(new).await.unwrap().into_inner().secret;
    let reader = world.grpc_as(&reader).await;
    let vendors = reader.integrations().list_vendors(v1::ListVendorsRequest {}).await.unwrap().into_inner();
    let vendor = vendors.vendors.iter().find(|vendor| vendor.id == "acme").unwrap();
    assert_eq!(vendor.capabilities, ["engine", "connect"]);
    assert!(vendor.settings_schema.as_ref().unwrap().fields.contains_key("properties"));
    assert_eq!(vendor.credential_fields[0].name, "api_key");
    let refused = reader.integrations().create_integration(request(fake("k"))).await.unwrap_err();
    assert_eq!(reason(&refused).0, "SCOPE_MISSING");
    world.stop().await;
}

#[tokio::test]
async fn an_agent_answers_over_its_workspace_s_integration() {
    let vendor = Fake::with_key("good");
    let world = World::with_vendors(&[], vec![vendor.vendor()]).await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let integration = connect(&world, fake("good")).await;
    set_engine(&world, &route, engine(&integration.id)).await.unwrap();
    world.new_message(&route, &route.message(Some("m1"), "hello")).await;
    assert_eq!(receiver.wait_for(1).await[0].json()["text"], "from fake");
    until(|| async {
        (get(&world, &integration.id).await.health() == v1::IntegrationHealth::Healthy).then_some(())
    })
    .await;

    // In use, it stays; and an agent takes none but its own workspace's, with its own vendor.
    let grpc = world.grpc().await;
    let delete = v1::DeleteIntegrationRequest { id: integration.id.clone() };
    let refused = grpc.integrations().delete_integration(delete.clone()).await.unwrap_err();
    assert_eq!(reason(&refused).0, "INTEGRATION_IN_USE");
    let nobody = engine("0198c0de-0000-7000-8000-000000000004");
    assert_eq!(reason(&set_engine(&world, &route, nobody).await.unwrap_err()).0, "INTEGRATION_NOT_FOUND");
    let other = v1::Engine { vendor: "mock".to_owned(), ..engine(&integration.id) };
    let refused = set_engine(&world, &route, other).await.unwrap_err();
    let field = vec!["agent.engine.integration_id".to_owned()];
    assert_eq!(reason(&refused), ("FIELD_INVALID".to_owned(), field));

    // The key is revoked: one event with the remedy, however many turns fail; the next success clears it.
    vendor.revoke("good");
    for id in ["m2", "m3"] {
        world.new_message(&route, &route.message(Some(id), "hello?")).await;
        until(|| async {
            let failed = events(&world, "turn.failed").await.len();
            (failed == if id == "m2" { 1 } else { 2 }).then_some(())
        })
        .await;
    }
    let sick = get(&world, &integration.id).await;
    assert_eq!(sick.health(), v1::IntegrationHealth::NeedsAuthorization);
    assert!(sick.last_error.contains("revoked") && !sick.remedy.is_empty(), "{sick:?}");
    assert!(sick.last_error_time.is_some());
    let changed = until(|| async {
        let changed = events(&world, "integration.health_changed").await;
        (changed.len() >= 2).then_some(changed)
    })
    .await;
    let healths: Vec<_> = changed.iter().map(|event| text(event, "health")).collect();
    assert_eq!(healths, ["HEALTHY", "NEEDS_AUTHORIZATION"]);
    assert!(text(&changed[1], "remedy").contains("UpdateIntegration"));
    vendor.let_in("good");
    world.new_message(&route, &route.message(Some("m4"), "and now?")).await;
    receiver.wait_for(2).await;
    until(|| async {
        let well = get(&world, &integration.id).await;
        (well.health() == v1::IntegrationHealth::Healthy && well.last_error.is_empty()).then_some(())
    })
    .await;
    world.stop().await;
}

#[tokio::test]
async fn an_agent_whose_integration_is_gone_fails_for_good() {
    let vendor = Fake::with_key("good");
    let world = World::with_vendors(&[], vec![vendor.vendor()]).await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let integration = connect(&world, fake("good")).await;
    set_engine(&world, &route, engine(&integration.id)).await.unwrap();
    // No call can bring it to this; a restored database may.
    let mut owner = world.owner().await;
    sqlx::query("delete from integrations").execute(&mut owner).await.unwrap();
    world.new_message(&route, &route.message(Some("m1"), "hello")).await;
    until(|| async { events(&world, "turn.failed").await.pop() }).await;
    let runs = sqlx::query("select count(*), max(error) from runs").fetch_one(&mut owner).await.unwrap();
    assert_eq!(runs.get::<i64, _>(0), 1, "it is not tried again");
    let error: String = runs.get(1);
    assert!(error.contains(&integration.id) && error.contains("does not exist any more"), "{error}");
    world.stop().await;
}

#[tokio::test]
async fn a_check_says_what_works_and_what_to_do() {
    let vendor = Fake::with_key("good");
    let world = World::with_vendors(&[], vec![vendor.vendor()]).await;
    let integration = connect(&world, fake("bad")).await;
    let grpc = world.grpc().await;
    let check = async || {
        let request = v1::CheckIntegrationRequest { id: integration.id.clone() };
        grpc.integrations().check_integration(request).await.unwrap().into_inner()
    };
    let checked = check().await;
    let outcomes: Vec<_> = checked.steps.iter().map(|step| (step.name.as_str(), step.outcome())).collect();
    let (passed, failed) = (v1::CheckOutcome::Passed, v1::CheckOutcome::Failed);
    assert_eq!(outcomes, [("address", passed), ("credentials", failed)]);
    assert_eq!(checked.steps[1].remedy, "make a new key in the fake console");
    let kept = checked.integration.unwrap();
    assert_eq!(kept.health(), v1::IntegrationHealth::NeedsAuthorization);
    assert_eq!((kept.last_error.as_str(), &kept.remedy), ("fake refused the key", &checked.steps[1].remedy));
    assert!(kept.check_time.is_some());

    // Other credentials make it unknown, until it is tried.
    let replaced = v1::Integration { credentials: credentials(&[("api_key", "good")]), ..kept };
    let changed = try_update(&world, replaced, &["credentials"]).await.unwrap();
    assert_eq!((changed.health(), changed.last_error.as_str()), (v1::IntegrationHealth::Unknown, ""));
    assert_eq!(check().await.integration.unwrap().health(), v1::IntegrationHealth::Healthy);
    vendor.go_down(true);
    let down = check().await;
    assert_eq!(down.steps[1].outcome(), v1::CheckOutcome::Skipped);
    assert_eq!(down.integration.unwrap().health(), v1::IntegrationHealth::Failing);
    world.stop().await;
}

#[tokio::test]
async fn models_are_kept_for_a_day_and_served_while_they_are_asked_anew() {
    let vendor = Fake::with_key("good");
    let world = World::with_vendors(&[], vec![vendor.vendor()]).await;
    let integration = connect(&world, fake("good")).await;
    let grpc = world.grpc().await;
    let list = async |refresh| {
        let request = v1::ListModelsRequest {
            vendor: "acme".to_owned(),
            integration_id: integration.id.clone(),
            refresh,
        };
        grpc.agents().list_models(request).await.map(|answer| answer.into_inner().models.remove(0).id)
    };
    // Twenty at once are one question.
    vendor.list_slowly(Duration::from_millis(100));
    for model in join_all((0..20).map(|_| list(false))).await {
        assert_eq!(model.unwrap(), "acme-1");
    }
    assert_eq!(vendor.listed(), 1);
    world.clock().advance(Duration::from_hours(23));
    assert_eq!(list(false).await.unwrap(), "acme-1");
    assert_eq!(list(true).await.unwrap(), "acme-2", "asked now, because the caller wants it");
    assert_eq!(list(true).await.unwrap(), "acme-2", "but once a minute");
    // After a day the old list is the answer, while one asks anew.
    world.clock().advance(Duration::from_hours(25));
    for model in join_all((0..20).map(|_| list(false))).await {
        assert_eq!(model.unwrap(), "acme-2");
    }
    until(|| async { (list(false).await.unwrap() == "acme-3").then_some(()) }).await;
    assert_eq!(vendor.listed(), 3);
    // A vendor that is down: the old list, and no storm of questions.
    world.clock().advance(Duration::from_hours(25));
    vendor.go_down(true);
    until(|| async {
        assert_eq!(list(false).await.unwrap(), "acme-3");
        (vendor.listed() == 4).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_millis(150)).await;
    for _ in 0..20 {
        assert_eq!(list(false).await.unwrap(), "acme-3");
    }
    assert_eq!(vendor.listed(), 4);
    assert_eq!(reason(&list(true).await.unwrap_err()).0, "VENDOR_UNAVAILABLE");
    // Without a list to serve it is asked once a minute, too.
    let listed = vendor.listed();
    let other = connect(&world, fake("good")).await;
    for _ in 0..5 {
        let (vendor, integration_id) = ("acme".to_owned(), other.id.clone());
        let request = v1::ListModelsRequest { vendor, integration_id, refresh: false };
        let refused = grpc.agents().list_models(request).await.unwrap_err();
        assert_eq!(reason(&refused).0, "VENDOR_UNAVAILABLE");
    }
    assert_eq!(vendor.listed(), listed + 1);
    // Other credentials are another account.
    vendor.go_down(false);
    let replaced = v1::Integration { credentials: credentials(&[("api_key", "bad")]), ..integration.clone() };
    try_update(&world, replaced, &["credentials"]).await.unwrap();
    assert_eq!(reason(&list(false).await.unwrap_err()).0, "VENDOR_REFUSED");
    world.stop().await;
}

#[tokio::test]
async fn a_key_ring_rotates_without_losing_a_secret() {
    use secrecy::ExposeSecret as _;
    let vendor = Fake::with_key("good");
    let world = World::with_vendors(&[], vec![vendor.vendor()]).await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let integration = connect(&world, fake("good")).await;
    set_engine(&world, &route, engine(&integration.id)).await.unwrap();
    let owner = tokio::sync::Mutex::new(world.owner().await);
    let kids = async || -> Vec<String> {
        let sql = "select distinct sealed_kid(s) from (
                       select data_key_sealed as s from integrations union all select token_sealed from channels
                       union all select signing_secret_sealed from channels
                       union all select secret_sealed from webhook_endpoints
                   ) x order by 1";
        sqlx::query_scalar(sql).fetch_all(&mut *owner.lock().await).await.unwrap()
    };
    let endpoint = v1::Endpoint {
        display_name: "Endpoint".to_owned(),
        url: receiver.url(),
        event_types: vec!["endpoint.deleted".to_owned()],
        ..v1::Endpoint::default()
    };
    let request = v1::CreateEndpointRequest { endpoint: Some(endpoint), request_id: String::new() };
    world.grpc().await.webhooks().create_endpoint(request).await.unwrap();
    assert_eq!(kids().await, ["k1"]);

    // A fresh data key: other ciphertexts, the same credentials.
    let row = "select data_key_sealed || credentials_sealed from integrations";
    let before: Vec<u8> = sqlx::query_scalar(row).fetch_one(&mut *owner.lock().await).await.unwrap();
    let rotate = v1::RotateIntegrationRequest { id: integration.id.clone() };
    world.grpc().await.integrations().rotate_integration(rotate).await.unwrap();
    let after: Vec<u8> = sqlx::query_scalar(row).fetch_one(&mut *owner.lock().await).await.unwrap();
    assert_ne!(before, after);

    // A process with a newer key in front seals everything anew; the first one, without that key, can open nothing more.
    let ring = app::sealing::Sealer::fresh_ring();
    let newer = ring.expose_secret().replace("k1:", "k2:");
    let both = format!("{newer},{}", crate::harness::KEYRING);
    let second = world.another_with(|config| config.keyring = Some(both.into())).await;
    until(|| async { (kids().await == ["k2"]).then_some(()) }).await;
    let check = v1::CheckIntegrationRequest { id: integration.id.clone() };
    let refused = world.grpc().await.integrations().check_integration(check.clone()).await.unwrap_err();
    assert_eq!(reason(&refused).0, "SECRET_KEY_MISSING");
    assert!(refused.message().contains("k2"), "{}", refused.message());
    assert_eq!(kids().await, ["k2"], "and the rows are left alone");
    second.stop().await.unwrap();
    // A turn that needs it says so, and is tried again: the operator mends it.
    world.new_message(&route, &route.message(Some("m0"), "anybody there?")).await;
    until(|| async {
        let sql = "select count(*) from runs where state = 'FAILED' and error like '%k2%'";
        let failed: i64 = sqlx::query_scalar(sql).fetch_one(&mut *owner.lock().await).await.unwrap();
        (failed > 0).then_some(())
    })
    .await;
    assert!(receiver.received().is_empty());

    // Without the old key, what it had sealed works: the engine's key, the channel's token and signature.
    let mut world = world;
    world.server.take().unwrap().stop().await.unwrap();
    world.server = Some(world.another_with(|config| config.keyring = Some(newer.into())).await);
    world.new_message(&route, &route.message(Some("m1"), "hello")).await;
    let received = receiver.wait_for(1).await.remove(0);
    assert_eq!(received.json()["text"], "from fake");
    assert_eq!(received.headers["x-chat_auth_token"], format!("Bearer {}", route.channel_token));
    let checked = world.grpc().await.integrations().check_integration(check).await.unwrap().into_inner();
    assert_eq!(checked.integration.unwrap().health(), v1::IntegrationHealth::Healthy);
    world.stop().await;
}

#[tokio::test]
async fn a_row_that_was_copied_to_another_tenant_opens_nothing() {
    let vendor = Fake::with_key("good");
    let world = World::with_vendors(&[], vec![vendor.vendor()]).await;
    let integration = connect(&world, fake("good")).await;
    let (second, key) = second_workspace(&world).await;
    let mut owner = world.owner().await;
    let copied = sqlx::query(
        "insert into integrations
         select $1::uuid, id, vendor, display_name, settings, data_key_sealed, credentials_sealed, credentials_set,
                generation, health, last_error, remedy, last_error_at, checked_at, created_at, updated_at
         from integrations",
    );
    copied.bind(&second).execute(&mut owner).await.unwrap();
    let thief = world.grpc_as(&key).await;
    let check = v1::CheckIntegrationRequest { id: integration.id.clone() };
    let refused = thief.integrations().check_integration(check.clone()).await.unwrap_err();
    assert_eq!(reason(&refused).0, "INTERNAL", "not a word more than that");
    // Nor do the credentials of one row open with the key of another.
    let other = connect(&world, fake("good")).await;
    sqlx::query(
        "update integrations i set credentials_sealed = o.credentials_sealed
         from integrations o where i.id = $1::uuid and o.id = $2::uuid and o.workspace_id = i.workspace_id
             and i.workspace_id <> $3::uuid",
    )
    .bind(&other.id)
    .bind(&integration.id)
    .bind(&second)
    .execute(&mut owner)
    .await
    .unwrap();
    let check = v1::CheckIntegrationRequest { id: other.id };
    let refused = world.grpc().await.integrations().check_integration(check).await.unwrap_err();
    assert_eq!(reason(&refused).0, "INTERNAL");
    world.stop().await;
}
