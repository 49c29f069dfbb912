//! Sources: found or made for integrations that ask for them, carried by chats, and done without while they can't be had.

use std::time::Duration;

use futures::future::join_all;
use prost_types::{FieldMask, Value, value::Kind};
use serde_json::json;
use simulator::{Fault, amocrm::AmoCrm};
use switchboard_sdk::v1::{self, CheckOutcome, SourceState, get_source_request::Key};
use tonic::Status;

use crate::{
    crm::{get_lead, grpc_of, kind_of, seeded},
    crm_hooks::{outcome, rotate, tell},
    harness::{Grpc, Receiver, World, reason, until},
    integrations::{connect, events, text},
    oauth::{account, authorize, authorized},
};

/// A request of a message's door for the only chat.
const MESSAGE: &str = include_str!("../../crates/vendors/fixtures/amocrm/message_add.form");

fn string(text: &str) -> Value {
    Value { kind: Some(Kind::StringValue(text.to_owned())) }
}

/// An integration with the account whose settings have these members beside the usual ones.
fn asking(at: &AmoCrm, further: &[(&str, Value)]) -> v1::Integration {
    let mut integration = account(at);
    let fields = &mut integration.settings.as_mut().unwrap().fields;
    fields.insert("auto_source".to_owned(), Value { kind: Some(Kind::BoolValue(true)) });
    fields.extend(further.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    integration
}

/// Makes and authorizes an integration that asks for a source.
async fn asked(world: &World, at: &AmoCrm, further: &[(&str, Value)]) -> v1::Integration {
    let made = connect(world, asking(at, further)).await;
    authorize(world, at, &made.id).await;
    made
}

async fn own(world: &World, id: &str) -> Option<v1::IntegrationSource> {
    let request = v1::GetIntegrationRequest { id: id.to_owned() };
    let found = world.grpc().await.integrations().get_integration(request).await.unwrap();
    found.into_inner().integration.unwrap().source
}

/// When the CRM was asked for it last.
fn checked(own: &v1::IntegrationSource) -> (i64, i32) {
    own.check_time.map_or((0, 0), |at| (at.seconds, at.nanos))
}

/// Waits until it stands so with the source of an integration.
async fn stands(world: &World, id: &str, state: SourceState) -> v1::IntegrationSource {
    until(|| async { own(world, id).await.filter(|own| own.state() == state) }).await
}

async fn list(grpc: &Grpc, refresh: bool) -> Result<Vec<v1::Source>, Status> {
    let request = v1::ListSourcesRequest { refresh, ..v1::ListSourcesRequest::default() };
    grpc.sources().list_sources(request).await.map(|listed| listed.into_inner().sources)
}

async fn ensure(grpc: &Grpc, name: &str) -> Result<v1::EnsureSourceResponse, Status> {
    let request =
        v1::EnsureSourceRequest { display_name: name.to_owned(), ..v1::EnsureSourceRequest::default() };
    grpc.sources().ensure_source(request).await.map(tonic::Response::into_inner)
}

/// Has a customer say something about a lead of the integration's CRM. Gives the dialogue.
async fn say(world: &World, channel: &str, integration: &str, number: usize) -> v1::Dialogue {
    let request = v1::ReceiveMessageRequest {
        channel_id: channel.to_owned(),
        chat: format!("c{number}"),
        message_id: format!("m{number}"),
        text: "Hello".to_owned(),
        sender: v1::MessageSender::Customer.into(),
        crm: Some(v1::CrmReferences {
            integration_id: integration.to_owned(),
            lead_id: "5002".to_owned(),
            ..v1::CrmReferences::default()
        }),
        ..v1::ReceiveMessageRequest::default()
    };
    let grpc = world.grpc().await;
    let id = grpc.webhooks().receive_message(request).await.unwrap().into_inner().dialogue_id;
    let request = v1::GetDialogueRequest { id };
    grpc.dialogues().get_dialogue(request).await.unwrap().into_inner().dialogue.unwrap()
}

fn carried(dialogue: &v1::Dialogue) -> &str {
    &dialogue.crm.as_ref().unwrap().source_external_id
}

async fn metric(world: &World, name: &str) -> bool {
    let metrics = world.http.get(format!("http://{}/metrics", world.grpc_addr())).send().await.unwrap();
    metrics.text().await.unwrap().lines().any(|line| line.starts_with(name))
}

#[tokio::test]
async fn an_integration_that_asks_for_it_has_its_source_and_its_chats_carry_it() {
    let (world, at) = (World::new().await, seeded().await);
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let further = [("chat_channel_id", string(&route.channel_id)), ("source_pipeline_id", string("7700002"))];
    let made = connect(&world, asking(&at, &further)).await;
    let pending = stands(&world, &made.id, SourceState::Pending).await;
    assert_eq!(pending.external_id, "");
    assert_eq!(carried(&say(&world, &route.channel_id, &made.id, 1).await), "");

    authorize(&world, &at, &made.id).await;
    let ready = stands(&world, &made.id, SourceState::Ready).await;
    assert!(ready.external_id.starts_with("tema_edna_") && ready.last_error.is_empty(), "{ready:?}");
    let [source] = &*at.all("sources") else { panic!("{:?}", at.all("sources")) };
    assert_eq!((&source["name"], &source["pipeline_id"]), (&json!("TeMa Edna"), &json!(7_700_002)));
    assert_eq!((&source["external_id"], &source["default"]), (&json!(ready.external_id), &json!(true)));
    let [told] = &*events(&world, "integration.source_ready").await else { panic!("not one event") };
    assert_eq!((text(told, "external_id"), told.subject_id.as_str()), (&*ready.external_id, &*made.id));
    assert!(metric(&world, "switchboard_sources_created_total").await);
    assert!(metric(&world, "switchboard_source_create_seconds").await);

    // A message that names the CRM, and one that the CRM tells of.
    assert_eq!(carried(&say(&world, &route.channel_id, &made.id, 2).await), ready.external_id);
    let path = rotate(&world, &made.id).await.path;
    assert_eq!(outcome(&tell(&world, &path, MESSAGE).await), "RECORDED");
    let grpc = world.grpc().await;
    let request =
        v1::ListDialoguesRequest { lead_id: "5001".to_owned(), ..v1::ListDialoguesRequest::default() };
    let told = grpc.dialogues().list_dialogues(request).await.unwrap().into_inner().dialogues.remove(0);
    assert_eq!(carried(&told), ready.external_id);
    let request = v1::ListMessagesRequest { dialogue_id: told.id, ..v1::ListMessagesRequest::default() };
    let messages = grpc.dialogues().list_messages(request).await.unwrap().into_inner().messages;
    let metadata = format!("{:?}", messages[0].metadata);
    assert!(metadata.contains("\"source\"") && metadata.contains(&ready.external_id), "{metadata}");
    // One that says its own source keeps it.
    let references = v1::CrmReferences {
        integration_id: made.id.clone(),
        source_external_id: "another".to_owned(),
        ..v1::CrmReferences::default()
    };
    let request = v1::ReceiveMessageRequest {
        channel_id: route.channel_id.clone(),
        chat: "own".to_owned(),
        text: "Hello".to_owned(),
        sender: v1::MessageSender::Customer.into(),
        crm: Some(references),
        ..v1::ReceiveMessageRequest::default()
    };
    let id = grpc.webhooks().receive_message(request).await.unwrap().into_inner().dialogue_id;
    let request = v1::GetDialogueRequest { id };
    let said = grpc.dialogues().get_dialogue(request).await.unwrap().into_inner().dialogue.unwrap();
    assert_eq!(carried(&said), "another");

    // A process that starts looks for it, and finds it.
    world.clock().advance(Duration::from_mins(2));
    let before = checked(&own(&world, &made.id).await.unwrap());
    let other = world.another().await;
    until(|| async { own(&world, &made.id).await.filter(|own| checked(own) > before) }).await;
    assert_eq!(
        (at.all("sources").len(), own(&world, &made.id).await.unwrap().state()),
        (1, SourceState::Ready)
    );
    other.stop().await.unwrap();
    // Somebody renames it in the CRM: it is ours all the same. Somebody takes it away: it is made again.
    let mut renamed = at.all("sources").remove(0);
    renamed["name"] = json!("Renamed");
    at.put("sources", &[renamed.clone()]);
    assert_eq!(ensure(&grpc, "").await.unwrap().source.unwrap().display_name, "Renamed");
    at.remove("sources", renamed["id"].as_u64().unwrap());
    world.clock().advance(Duration::from_hours(8));
    until(|| async { (at.all("sources").len() == 1).then_some(()) }).await;
    assert_eq!(at.all("sources")[0]["external_id"], json!(ready.external_id));

    // It asks no more.
    let request = v1::UpdateIntegrationRequest {
        integration: Some(v1::Integration { id: made.id.clone(), ..account(&at) }),
        update_mask: Some(FieldMask { paths: vec!["settings".to_owned()] }),
    };
    grpc.integrations().update_integration(request).await.unwrap();
    until(|| async { own(&world, &made.id).await.is_none().then_some(()) }).await;
    assert_eq!(carried(&say(&world, &route.channel_id, &made.id, 3).await), "");
    world.stop().await;
}

#[tokio::test]
async fn while_a_source_cant_be_had_chats_go_on_without_and_it_is_tried_again() {
    let (world, at) = (World::new().await, seeded().await);
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let fallbacks = async |count: usize| {
        until(|| async {
            let told = events(&world, "integration.source_fallback").await;
            (told.len() == count).then_some(told)
        })
        .await
    };
    // Without rights.
    at.set_admin(false);
    let made = asked(&world, &at, &[]).await;
    let fallback = stands(&world, &made.id, SourceState::Fallback).await;
    assert!(fallback.remedy.contains("administrator"), "{fallback:?}");
    assert!(fallback.next_check_time.unwrap().seconds > checked(&fallback).0);
    assert_eq!(text(&fallbacks(1).await[0], "cause"), "rights");
    assert_eq!(carried(&say(&world, &route.channel_id, &made.id, 1).await), "");
    receiver.wait_for(1).await;
    assert!(metric(&world, "switchboard_source_fallback_uses_total").await);
    assert!(metric(&world, "switchboard_source_errors_total{kind=\"FORBIDDEN\"}").await);
    // Still none after a pause: that is no news. It is tried again, and healed.
    world.clock().advance(Duration::from_mins(2));
    until(|| async { own(&world, &made.id).await.filter(|own| checked(own) > checked(&fallback)) }).await;
    assert_eq!(fallbacks(1).await.len(), 1);
    at.set_admin(true);
    world.clock().advance(Duration::from_mins(10));
    let ready = stands(&world, &made.id, SourceState::Ready).await;
    assert_eq!(carried(&say(&world, &route.channel_id, &made.id, 2).await), ready.external_id);

    // "Multiple sources" is off: who let us in is an administrator, and is refused all the same.
    at.set_multiple_sources(false);
    let source = at.all("sources").remove(0);
    at.remove("sources", source["id"].as_u64().unwrap());
    world.clock().advance(Duration::from_hours(8));
    let fallback = stands(&world, &made.id, SourceState::Fallback).await;
    assert!(fallback.remedy.contains("Multiple sources"), "{fallback:?}");
    assert_eq!(text(&fallbacks(2).await[1], "cause"), "multiple_sources");
    assert_eq!(carried(&say(&world, &route.channel_id, &made.id, 3).await), "");
    // A person mends it and doesn't want to wait.
    at.set_multiple_sources(true);
    assert!(ensure(&world.grpc().await, "").await.unwrap().created);
    stands(&world, &made.id, SourceState::Ready).await;

    // The API is down: what was there is there, as far as anybody knows.
    at.faults().add(Fault::Down, None);
    world.clock().advance(Duration::from_hours(8));
    let doubtful =
        until(|| async { own(&world, &made.id).await.filter(|own| !own.last_error.is_empty()) }).await;
    assert_eq!(doubtful.state(), SourceState::Ready);
    assert_eq!(carried(&say(&world, &route.channel_id, &made.id, 4).await), ready.external_id);
    at.faults().heal();
    world.clock().advance(Duration::from_mins(2));
    until(|| async { own(&world, &made.id).await.filter(|own| own.last_error.is_empty()) }).await;
    world.stop().await;
}

#[tokio::test]
async fn with_the_api_down_from_the_start_chats_go_on() {
    let (world, at) = (World::new().await, seeded().await);
    let made = authorized(&world, &at).await;
    at.faults().add(Fault::Down, None);
    let request = v1::UpdateIntegrationRequest {
        integration: Some(v1::Integration { id: made.id.clone(), ..asking(&at, &[]) }),
        update_mask: Some(FieldMask { paths: vec!["settings".to_owned()] }),
    };
    world.grpc().await.integrations().update_integration(request).await.unwrap();
    let fallback = stands(&world, &made.id, SourceState::Fallback).await;
    assert!(fallback.last_error.contains("503"), "{fallback:?}");
    let told = until(|| async { events(&world, "integration.source_fallback").await.pop() }).await;
    assert_eq!(text(&told, "cause"), "reach");
    at.faults().heal();
    world.clock().advance(Duration::from_mins(2));
    stands(&world, &made.id, SourceState::Ready).await;
    world.stop().await;
}

#[tokio::test]
async fn sources_are_listed_made_changed_and_taken_away() {
    let (world, at) = (World::new().await, seeded().await);
    authorized(&world, &at).await;
    let other = world.another().await;
    let (grpc, elsewhere) = (world.grpc().await, grpc_of(&other, &world.key).await);
    assert!(list(&grpc, false).await.unwrap().is_empty(), "204 is none");
    assert!(list(&elsewhere, false).await.unwrap().is_empty());
    let create = async |name: &str, external_id: &str, pipeline_id: &str| {
        let source = v1::Source {
            display_name: name.to_owned(),
            external_id: external_id.to_owned(),
            pipeline_id: pipeline_id.to_owned(),
            ..v1::Source::default()
        };
        let request = v1::CreateSourceRequest { source: Some(source), ..v1::CreateSourceRequest::default() };
        grpc.sources().create_source(request).await.map(|made| made.into_inner().source.unwrap())
    };
    let shop = create("Shop", "shop 1", "7700002").await.unwrap();
    assert_eq!((&*shop.pipeline_id, shop.default), ("7700002", true));
    let desk = create("Desk", "", "").await.unwrap();
    assert!(desk.external_id.starts_with("tema_edna_") && desk.pipeline_id == "7700001", "{desk:?}");
    // Everywhere at once, without a call for each.
    until(async || (list(&elsewhere, false).await.unwrap().len() == 2).then_some(())).await;
    assert_eq!(list(&grpc, false).await.unwrap().len(), 2);
    let calls = at.rest_calls();
    let get = async |key: Key| {
        let request = v1::GetSourceRequest { key: Some(key), ..v1::GetSourceRequest::default() };
        grpc.sources().get_source(request).await.map(|found| found.into_inner().source.unwrap())
    };
    assert_eq!(get(Key::Id(shop.id.clone())).await.unwrap(), shop);
    assert_eq!(get(Key::ExternalId("shop 1".to_owned())).await.unwrap(), shop);
    assert_eq!(get(Key::DisplayName(" Desk".to_owned())).await.unwrap(), desk);
    assert_eq!(at.rest_calls(), calls, "what is kept costs no call");
    // One that was made in the CRM meanwhile is asked for.
    at.put("sources", &[json!({ "id": 7, "name": "Own", "external_id": "own", "pipeline_id": 7_700_001 })]);
    assert_eq!(get(Key::Id("7".to_owned())).await.unwrap().display_name, "Own");
    assert_eq!(reason(&get(Key::Id("8".to_owned())).await.unwrap_err()).0, "SOURCE_NOT_FOUND");
    at.remove("sources", 7);
    assert_eq!(list(&grpc, false).await.unwrap().len(), 3);
    let clear = v1::ClearSourceCacheRequest::default();
    elsewhere.sources().clear_source_cache(clear).await.unwrap();
    until(async || (list(&grpc, false).await.unwrap().len() == 2).then_some(())).await;

    // What is wrong is named, by us or by the CRM.
    for (name, external_id, pipeline_id, field) in [
        ("", "x", "", "source.display_name"),
        ("X", "источник", "", "source.external_id"),
        ("X", "shop 1", "", "source.external_id"),
        ("X", "x", "main", "source.pipeline_id"),
        ("X", "x", "7700009", "source.pipeline_id"),
    ] {
        let refused = create(name, external_id, pipeline_id).await.unwrap_err();
        assert_eq!(reason(&refused), ("FIELD_INVALID".to_owned(), vec![field.to_owned()]), "{refused}");
    }
    let update = async |source: v1::Source, path: &str| {
        let request = v1::UpdateSourceRequest {
            source: Some(source),
            update_mask: Some(FieldMask { paths: vec![path.to_owned()] }),
            ..v1::UpdateSourceRequest::default()
        };
        grpc.sources().update_source(request).await.map(|changed| changed.into_inner().source.unwrap())
    };
    let of = |source: v1::Source| v1::Source { id: desk.id.clone(), ..source };
    let gone = of(v1::Source { pipeline_id: "7700009".to_owned(), ..v1::Source::default() });
    assert_eq!(reason(&update(gone, "pipeline_id").await.unwrap_err()).1, ["source.pipeline_id"]);
    assert_eq!(
        reason(&update(of(v1::Source::default()), "default").await.unwrap_err()).1,
        ["source.default"]
    );
    assert_eq!(reason(&update(of(v1::Source::default()), "id").await.unwrap_err()).0, "FIELD_MASK_INVALID");
    let nobody = v1::Source { id: "8".to_owned(), display_name: "X".to_owned(), ..v1::Source::default() };
    assert_eq!(reason(&update(nobody, "display_name").await.unwrap_err()).0, "SOURCE_NOT_FOUND");
    let changed = of(v1::Source { display_name: "Help desk".to_owned(), ..v1::Source::default() });
    assert_eq!(update(changed, "display_name").await.unwrap().display_name, "Help desk");

    // The default goes when another has become it.
    let delete = async |id: &str| {
        let request = v1::DeleteSourceRequest { id: id.to_owned(), ..v1::DeleteSourceRequest::default() };
        grpc.sources().delete_source(request).await
    };
    let refused = delete(&shop.id).await.unwrap_err();
    assert!(refused.message().contains("another source the default"), "{refused}");
    assert!(
        update(of(v1::Source { default: true, ..v1::Source::default() }), "default").await.unwrap().default
    );
    delete(&shop.id).await.unwrap();
    assert_eq!(reason(&delete(&shop.id).await.unwrap_err()).0, "SOURCE_NOT_FOUND");
    assert_eq!(list(&grpc, false).await.unwrap().len(), 1);
    // Made again it may be the old one.
    assert_eq!(create("Shop", "shop 1", "").await.unwrap().id, shop.id);

    at.set_admin(false);
    let refused = create("X", "x", "").await.unwrap_err();
    assert_eq!((&*reason(&refused).0, &*kind_of(&refused)), ("VENDOR_REFUSED", "FORBIDDEN"));
    other.stop().await.unwrap();
    world.stop().await;
}

#[tokio::test]
async fn a_source_is_made_once_however_often_it_is_asked_for() {
    let (world, at) = (World::new().await, seeded().await);
    authorized(&world, &at).await;
    let other = world.another().await;
    let doors = [world.grpc().await, grpc_of(&other, &world.key).await];
    let made = join_all((0..6).map(|n| ensure(&doors[n % 2], "Shop"))).await;
    let ids: Vec<_> = made.iter().map(|made| made.as_ref().unwrap().source.clone().unwrap().id).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(made.iter().filter(|made| made.as_ref().unwrap().created).count(), 1);
    assert_eq!(at.all("sources").len(), 1);

    // An answer that is lost: the list is asked, then the source is made and nobody hears of it.
    let grpc = &doors[0];
    at.faults().add(Fault::HangMs(0), Some(1));
    at.faults().add(Fault::ApplyThenCut, Some(1));
    ensure(grpc, "Desk").await.unwrap_err();
    assert_eq!(at.all("sources").len(), 2);
    let found = ensure(grpc, "Desk").await.unwrap();
    assert!(!found.created && found.warning.is_empty(), "{found:?}");

    // A pipeline that is not there any more: that of a source that is there, and it is said.
    at.remove("leads/pipelines", 7_700_002);
    let request = v1::EnsureSourceRequest {
        display_name: "Lost".to_owned(),
        pipeline_id: "7700002".to_owned(),
        ..v1::EnsureSourceRequest::default()
    };
    let made = grpc.sources().ensure_source(request).await.unwrap().into_inner();
    assert_eq!((made.created, &*made.source.unwrap().pipeline_id), (true, "7700001"));
    assert!(made.warning.contains("7700002") && made.warning.contains("ListPipelines"), "{}", made.warning);
    // One that the CRM made by itself has no id that chats could carry: it gets one.
    at.put("sources", &[json!({ "id": 7, "name": "Own", "external_id": null, "pipeline_id": 7_700_001 })]);
    let own = ensure(grpc, "Own").await.unwrap();
    assert!(!own.created && own.source.unwrap().external_id.starts_with("tema_edna_"));
    let refused = ensure(grpc, "").await.unwrap_err();
    assert_eq!(reason(&refused), ("FIELD_INVALID".to_owned(), vec!["display_name".to_owned()]));
    other.stop().await.unwrap();
    world.stop().await;
}

#[tokio::test]
async fn an_operator_says_it_for_all_integrations_of_a_server() {
    let single = [
        ("AMOCRM_TEMA_EDNA_SOURCE_NAME", "Shop"),
        ("AMOCRM_SOURCE_PIPELINE_ID", "7700002"),
        ("AMOCRM_SOURCE_EXTERNAL_ID_PREFIX", "shop"),
    ];
    let (world, at) = (World::with(&single).await, seeded().await);
    let made = authorized(&world, &at).await;
    let ready = stands(&world, &made.id, SourceState::Ready).await;
    assert!(ready.external_id.starts_with("shop_") && ready.display_name == "Shop", "{ready:?}");
    assert_eq!(at.all("sources")[0]["pipeline_id"], json!(7_700_002));
    world.stop().await;

    // None is to be made: one that is there is found, and nothing else happens.
    let (world, at) = (World::with(&[("AMOCRM_AUTO_CREATE_SOURCES", "false")]).await, seeded().await);
    let made = asked(&world, &at, &[]).await;
    let fallback = stands(&world, &made.id, SourceState::Fallback).await;
    assert!(fallback.remedy.contains("AMOCRM_AUTO_CREATE_SOURCES"), "{fallback:?}");
    assert!(at.all("sources").is_empty());
    at.put(
        "sources",
        &[json!({ "id": 7, "name": "TeMa Edna", "external_id": "by hand", "pipeline_id": 7_700_001 })],
    );
    world.clock().advance(Duration::from_mins(2));
    assert_eq!(stands(&world, &made.id, SourceState::Ready).await.external_id, "by hand");
    world.stop().await;
}

async fn check(world: &World, trial: bool) -> (Vec<v1::CheckStep>, v1::CheckSourcesResponse) {
    let request = v1::CheckSourcesRequest { trial, ..v1::CheckSourcesRequest::default() };
    let checked = world.grpc().await.sources().check_sources(request).await.unwrap().into_inner();
    let failed = checked.steps.iter().filter(|step| step.outcome() == CheckOutcome::Failed);
    (failed.cloned().collect(), checked)
}

#[tokio::test]
async fn a_check_says_what_is_in_the_way() {
    let (world, at) = (World::new().await, seeded().await);
    let made = connect(&world, asking(&at, &[("source_pipeline_id", string("7700002"))])).await;
    let (failed, checked) = check(&world, true).await;
    assert_eq!((failed.len(), &*failed[0].name), (1, "credentials"), "{failed:?}");
    assert!(failed[0].remedy.contains("StartAuthorization"));
    assert_eq!(checked.steps.iter().filter(|step| step.outcome() == CheckOutcome::Skipped).count(), 4);

    authorize(&world, &at, &made.id).await;
    stands(&world, &made.id, SourceState::Ready).await;
    let (failed, checked) = check(&world, true).await;
    assert!(failed.is_empty(), "{failed:?}");
    let names: Vec<_> = checked.steps.iter().map(|step| &*step.name).collect();
    assert_eq!(names, ["credentials", "rights", "sources", "own_source", "pipeline", "trial"]);
    assert_eq!(checked.integration.unwrap().source.unwrap().state(), SourceState::Ready);
    assert_eq!((checked.sources.len(), at.all("sources").len()), (1, 1), "the trial leaves nothing");

    // A pipeline that is not there any more.
    at.remove("leads/pipelines", 7_700_002);
    let (failed, _) = check(&world, false).await;
    assert_eq!((failed.len(), &*failed[0].name), (1, "pipeline"), "{failed:?}");
    assert!(failed[0].detail.contains("7700001 (Sales)"), "{}", failed[0].detail);
    // Missing rights, and "multiple sources" off: the same answer of the CRM, two remedies.
    at.set_admin(false);
    let (failed, _) = check(&world, true).await;
    assert!(
        failed.iter().any(|step| step.name == "rights" && step.remedy.contains("administrator")),
        "{failed:?}"
    );
    at.set_admin(true);
    at.set_multiple_sources(false);
    let (failed, _) = check(&world, true).await;
    assert!(failed.iter().any(|step| step.name == "multiple_sources"), "{failed:?}");
    at.set_multiple_sources(true);
    // Bad data: the account has all the sources it may have.
    let many: Vec<_> = (0..99)
        .map(|n| json!({ "name": format!("{n}"), "external_id": format!("{n}"), "pipeline_id": 7_700_001 }))
        .collect();
    at.put("sources", &many);
    let (failed, _) = check(&world, true).await;
    assert!(failed.iter().any(|step| step.name == "data" && step.remedy.contains("hundred")), "{failed:?}");
    at.faults().add(Fault::Down, None);
    let (failed, _) = check(&world, true).await;
    assert_eq!((failed.len(), &*failed[0].name), (1, "reach"), "{failed:?}");
    at.faults().heal();
    at.set_paid(false);
    assert_eq!(check(&world, true).await.0[0].name, "account");
    world.stop().await;
}

#[tokio::test]
async fn an_account_that_moves_to_another_subdomain_is_followed() {
    let (world, at) = (World::new().await, seeded().await);
    let mut movable = account(&at);
    let base_url = string(&at.movable_base_url());
    movable.settings.as_mut().unwrap().fields.insert("base_url".to_owned(), base_url);
    let made = connect(&world, movable).await;
    authorize(&world, &at, &made.id).await;
    let grpc = world.grpc().await;
    assert_eq!(get_lead(&grpc, "5001").await.unwrap().price, 15_000);
    let subdomain = async || {
        let request = v1::GetIntegrationRequest { id: made.id.clone() };
        let found = grpc.integrations().get_integration(request).await.unwrap().into_inner();
        let found = found.integration.unwrap();
        assert_eq!(found.health(), v1::IntegrationHealth::Healthy, "{}", found.last_error);
        found.settings.unwrap().fields["subdomain"].clone()
    };
    // While the account is used: the call that finds nobody there says so, the next one follows.
    at.move_to("acme-group");
    let lost = get_lead(&grpc, "5001").await.unwrap_err();
    assert_eq!((&*reason(&lost).0, &*kind_of(&lost)), ("VENDOR_UNAVAILABLE", "UNAUTHORIZED"), "{lost}");
    assert_eq!(get_lead(&grpc, "5001").await.unwrap().price, 15_000);
    assert_eq!(subdomain().await, string("acme-group"));
    // While nobody uses it: its tokens are renewed where it is now.
    at.move_to("acme-holding");
    let renewals = at.renewals().len();
    world.clock().advance(Duration::from_hours(23));
    until(|| async { (at.renewals().len() > renewals).then_some(()) }).await;
    until(|| async { (subdomain().await == string("acme-holding")).then_some(()) }).await;
    assert_eq!(get_lead(&grpc, "5001").await.unwrap().price, 15_000);
    world.stop().await;
}
