//! A CRM's lists, leads, tasks and notes, and the calls that it takes a second.

use std::{collections::BTreeSet, time::Duration};

use futures::future::join_all;
use prost_types::value::Kind;
use reqwest::Method;
use serde_json::{Value, json};
use simulator::amocrm::AmoCrm;
use switchboard_sdk::v1::{
    self,
    CrmStageKind::{Incoming, Lost, Ordinary, Won},
};
use tonic::{Status, transport::Channel};

use crate::{
    harness::{Grpc, Receiver, Route, World, reason, until},
    oauth::{amocrm, authorized},
};

/// An account with something of everything.
pub(crate) async fn seeded() -> AmoCrm {
    let at = amocrm().await;
    let field = |id: u64, name: &str, kind: &str| json!({ "id": id, "name": name, "code": null, "type": kind, "sort": id, "is_required": false, "enums": null });
    let mut products = field(88_002, "Products", "multiselect");
    products["enums"] = json!([{ "id": 72, "value": "B", "sort": 2 }, { "id": 71, "value": "A", "sort": 1 }]);
    at.put("leads/custom_fields", &[field(88_001, "City", "text"), products]);
    at.put(
        "contacts/custom_fields",
        &[json!({ "id": 99_001, "name": "Phone", "code": "PHONE", "type": "multitext" })],
    );
    let stage = |id: u64, name: &str, kind: u64| json!({ "id": id, "name": name, "sort": id, "type": kind });
    let stages = |first: u64| {
        json!([
            stage(first, "Incoming", 1),
            stage(first + 1, "New", 0),
            stage(142, "Won", 0),
            stage(143, "Lost", 0)
        ])
    };
    at.put(
        "leads/pipelines",
        &[
            json!({ "id": 7_700_001, "name": "Sales", "sort": 1, "is_main": true, "_embedded": { "statuses": stages(64_000_000) } }),
            json!({ "id": 7_700_002, "name": "Service", "sort": 2, "is_main": false, "_embedded": { "statuses": stages(65_000_000) } }),
        ],
    );
    let user = |id: u64, admin: bool| {
        json!({ "id": id, "name": format!("User {id}"), "email": format!("{id}@example.com"),
            "rights": { "is_admin": admin, "is_active": true } })
    };
    at.put("users", &[user(9_001, true), user(9_002, false)]);
    at.put("leads/tags", &[json!({ "id": 3_301, "name": "vip", "color": null })]);
    for id in [5_001, 5_002, 5_003] {
        at.put("leads", &[json!({
            "id": id, "name": "Deal", "price": 15_000, "responsible_user_id": 9_001, "status_id": 64_000_001,
            "pipeline_id": 7_700_001, "created_at": 1_772_500_000, "updated_at": 1_772_532_930, "closed_at": null,
            "is_deleted": false,
            "custom_fields_values": [{ "field_id": 88_001, "field_name": "City", "field_code": null, "field_type": "text",
                "values": [{ "value": "Tula" }] }],
            "_embedded": { "tags": [{ "id": 3_301, "name": "vip" }], "companies": [], "contacts": [{ "id": 6_001, "is_main": true }] },
        })]);
    }
    at.put("contacts", &[json!({
        "id": 6_001, "name": "Anna", "responsible_user_id": 9_001, "created_at": 1_772_500_000, "updated_at": 1_772_500_000,
        "custom_fields_values": [{ "field_id": 99_001, "field_code": "PHONE", "field_name": "Phone", "field_type": "multitext",
            "values": [{ "value": "+79990000001", "enum_code": "WORK" }] }],
        "_embedded": { "tags": [], "leads": [{ "id": 5_001 }], "companies": [] },
    })]);
    at
}

pub(crate) async fn grpc_of(server: &switchboard_server::start::Server, key: &str) -> Grpc {
    let endpoint = format!("http://{}", server.grpc.unwrap());
    Grpc::over(Channel::from_shared(endpoint).unwrap().connect().await.unwrap(), key)
}

async fn lead_fields(grpc: &Grpc, refresh: bool) -> Result<v1::ListFieldsResponse, Status> {
    let entity = v1::CrmEntity::Lead.into();
    let request = v1::ListFieldsRequest { integration_id: String::new(), entity, refresh };
    grpc.crm().list_fields(request).await.map(tonic::Response::into_inner)
}

pub(crate) async fn get_lead(grpc: &Grpc, id: &str) -> Result<v1::CrmLead, Status> {
    let request = v1::GetLeadRequest { integration_id: String::new(), lead_id: id.to_owned() };
    grpc.crm().get_lead(request).await.map(|answer| answer.into_inner().lead.unwrap())
}

async fn update(grpc: &Grpc, id: &str, patch: v1::CrmLeadPatch) -> Result<v1::CrmLead, Status> {
    let request =
        v1::UpdateLeadRequest { integration_id: String::new(), lead_id: id.to_owned(), patch: Some(patch) };
    grpc.crm().update_lead(request).await.map(|answer| answer.into_inner().lead.unwrap())
}

fn text(text: &str) -> v1::CrmValue {
    let value = prost_types::Value { kind: Some(Kind::StringValue(text.to_owned())) };
    v1::CrmValue { value: Some(value), ..v1::CrmValue::default() }
}

pub(crate) fn kind_of(status: &Status) -> String {
    use tonic_types::StatusExt as _;
    status.get_error_details().error_info().unwrap().metadata["kind"].clone()
}

#[tokio::test]
async fn lists_come_whole_are_kept_and_are_forgotten_everywhere() {
    let (world, at) = (World::new().await, seeded().await);
    authorized(&world, &at).await;
    let other = world.another().await;
    let (grpc, elsewhere) = (world.grpc().await, grpc_of(&other, &world.key).await);
    // More than the vendor puts on a page.
    let many: Vec<_> = (1..=300_u64)
        .map(|id| json!({ "id": id, "name": format!("Field {id}"), "type": "text", "sort": id, "enums": [] }))
        .collect();
    at.put("leads/custom_fields", &many);
    let listed = lead_fields(&grpc, false).await.unwrap();
    assert_eq!(listed.fields.len(), 302);
    let products = listed.fields.iter().find(|field| field.id == "88002").unwrap();
    let choices: Vec<_> = products.choices.iter().map(|choice| (&*choice.id, &*choice.value)).collect();
    assert_eq!(choices, [("71", "A"), ("72", "B")]);
    assert_eq!(lead_fields(&elsewhere, false).await.unwrap().fields.len(), 302);

    let calls = at.rest_calls();
    for _ in 0..20 {
        lead_fields(&grpc, false).await.unwrap();
    }
    assert_eq!(at.rest_calls(), calls, "what is kept costs no call");
    at.put("leads/custom_fields", &[json!({ "id": 301, "name": "New", "type": "text" })]);
    assert_eq!(lead_fields(&grpc, false).await.unwrap().fields.len(), 302);
    assert_eq!(lead_fields(&grpc, true).await.unwrap().fields.len(), 303);
    until(async || (lead_fields(&elsewhere, false).await.unwrap().fields.len() == 303).then_some(())).await;

    // After an hour the older list is served while the CRM is asked; with the CRM down it stays.
    at.put("leads/custom_fields", &[json!({ "id": 302, "name": "Newer", "type": "text" })]);
    world.clock().advance(Duration::from_mins(61));
    assert_eq!(lead_fields(&grpc, false).await.unwrap().fields.len(), 303);
    until(async || (lead_fields(&grpc, false).await.unwrap().fields.len() == 304).then_some(())).await;
    at.set_paid(false);
    world.clock().advance(Duration::from_mins(61));
    assert_eq!(lead_fields(&grpc, false).await.unwrap().fields.len(), 304);
    at.set_paid(true);
    other.stop().await.unwrap();
    world.stop().await;
}

#[tokio::test]
async fn pipelines_users_tags_and_the_rest_route() {
    let (world, at) = (World::new().await, seeded().await);
    let grpc = world.grpc().await;
    let refused = lead_fields(&grpc, false).await.unwrap_err();
    assert_eq!(reason(&refused), ("FIELD_INVALID".to_owned(), vec!["integration_id".to_owned()]));
    authorized(&world, &at).await;
    let pipelines =
        grpc.crm().list_pipelines(v1::ListPipelinesRequest::default()).await.unwrap().into_inner();
    assert_eq!(pipelines.pipelines.len(), 2);
    let stages = &pipelines.pipelines[0].stages;
    let kinds: Vec<_> = stages.iter().map(v1::CrmStage::kind).collect();
    let distinct: BTreeSet<_> = kinds.iter().map(|kind| *kind as i32).collect();
    assert_eq!(distinct.len(), 4, "{kinds:?}");
    assert!([Incoming, Ordinary, Won, Lost].iter().all(|kind| kinds.contains(kind)));
    let users = grpc.crm().list_users(v1::ListUsersRequest::default()).await.unwrap().into_inner().users;
    assert_eq!((users.len(), users[0].admin, users[1].admin), (2, true, false));
    let entity = v1::CrmEntity::Contact.into();
    let request = v1::ListTagsRequest { entity, ..v1::ListTagsRequest::default() };
    assert!(grpc.crm().list_tags(request).await.unwrap().into_inner().tags.is_empty(), "204 is none");

    // Who is no administrator may not see the users, and is told so.
    at.set_admin(false);
    let request = v1::ListUsersRequest { refresh: true, ..v1::ListUsersRequest::default() };
    let refused = grpc.crm().list_users(request).await.unwrap_err();
    assert_eq!((&*reason(&refused).0, &*kind_of(&refused)), ("VENDOR_REFUSED", "FORBIDDEN"));
    assert!(refused.message().contains("administrator"), "{refused}");
    at.set_admin(true);

    let bearer = format!("Bearer {}", world.key);
    let get = async |path: &str| world.call(Method::GET, path, &[("authorization", &bearer)], None).await;
    let answer = get("/api/crm/fields/leads").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.json()["fields"][1]["choices"][0]["value"], "A", "{}", answer.text);
    let answer = get("/api/crm/fields/contacts").await;
    assert_eq!(answer.json()["fields"][0]["code"], "PHONE", "{}", answer.text);
    assert_eq!(get("/api/crm/fields/leads?refresh=maybe").await.problem(422, "FIELD_INVALID"), ["refresh"]);
    world.stop().await;
}

#[tokio::test]
async fn a_lead_is_changed_and_what_the_crm_refuses_is_told_field_by_field() {
    let (world, at) = (World::new().await, seeded().await);
    authorized(&world, &at).await;
    let grpc = world.grpc().await;
    let lead = get_lead(&grpc, "5001").await.unwrap();
    assert_eq!((&*lead.stage_id, &*lead.fields[0].display_name, lead.price), ("64000001", "City", 15_000));
    let request = v1::GetContactRequest { contact_id: "6001".to_owned(), ..v1::GetContactRequest::default() };
    let contact = grpc.crm().get_contact(request).await.unwrap().into_inner().contact.unwrap();
    assert_eq!(contact.fields[0].values[0].choice_code, "WORK");

    let choice = v1::CrmValue { choice_id: "72".to_owned(), ..v1::CrmValue::default() };
    let patch = v1::CrmLeadPatch {
        pipeline_id: "7700002".to_owned(),
        stage_id: "65000001".to_owned(),
        responsible_user_id: "9002".to_owned(),
        add_tags: vec!["bot".to_owned()],
        remove_tags: vec!["VIP".to_owned()],
        fields: vec![
            v1::CrmFieldChange {
                field_id: "88001".to_owned(),
                values: vec![text("Omsk")],
                code: String::new(),
            },
            v1::CrmFieldChange { field_id: "88002".to_owned(), values: vec![choice], code: String::new() },
        ],
        ..v1::CrmLeadPatch::default()
    };
    let changed = update(&grpc, "5001", patch).await.unwrap();
    assert_eq!((&*changed.pipeline_id, &*changed.stage_id), ("7700002", "65000001"));
    assert_eq!(&*changed.responsible_user_id, "9002");
    assert_eq!(changed.tags.iter().map(|tag| &*tag.display_name).collect::<Vec<_>>(), ["bot"]);
    assert_eq!(changed.fields[1].values[0].value, text("B").value);

    // A pipeline that is gone, a field that is gone.
    let gone = v1::CrmLeadPatch {
        pipeline_id: "7700009".to_owned(),
        stage_id: "65000001".to_owned(),
        fields: vec![v1::CrmFieldChange {
            field_id: "1".to_owned(),
            values: vec![text("x")],
            code: String::new(),
        }],
        ..v1::CrmLeadPatch::default()
    };
    let refused = update(&grpc, "5001", gone).await.unwrap_err();
    let expected = ["patch.pipeline_id", "patch.stage_id", "patch.fields[0].field_id"].map(str::to_owned);
    assert_eq!(reason(&refused), ("FIELD_INVALID".to_owned(), expected.to_vec()));
    let refused = update(&grpc, "5001", v1::CrmLeadPatch::default()).await.unwrap_err();
    assert_eq!(reason(&refused).1, ["patch"]);

    // Deleted or merged meanwhile: 204 on reading, 404 on writing.
    at.remove("leads", 5_001);
    let dear = || v1::CrmLeadPatch { price: Some(1), ..v1::CrmLeadPatch::default() };
    for refused in [
        get_lead(&grpc, "5001").await.unwrap_err(),
        update(&grpc, "5001", dear()).await.unwrap_err(),
        get_lead(&grpc, "../account").await.unwrap_err(),
    ] {
        assert_eq!(reason(&refused).0, "CRM_LEAD_NOT_FOUND");
    }
    let bad = v1::CrmLeadPatch { stage_id: "1".to_owned(), ..v1::CrmLeadPatch::default() };
    let changes = [("5001", dear()), ("5002", dear()), ("5003", bad), ("x", dear())];
    let changes = changes.map(|(id, patch)| v1::CrmLeadChange { lead_id: id.to_owned(), patch: Some(patch) });
    let request = v1::BatchUpdateLeadsRequest { integration_id: String::new(), changes: changes.to_vec() };
    let results = grpc.crm().batch_update_leads(request).await.unwrap().into_inner().results;
    let reasons: Vec<_> = results.iter().map(|result| &*result.reason).collect();
    assert_eq!(reasons, ["CRM_LEAD_NOT_FOUND", "", "FIELD_INVALID", "CRM_LEAD_NOT_FOUND"]);
    assert!(results[2].detail.contains("list the pipelines"), "{}", results[2].detail);
    assert_eq!(get_lead(&grpc, "5002").await.unwrap().price, 1);

    at.set_paid(false);
    let refused = get_lead(&grpc, "5002").await.unwrap_err();
    assert_eq!((&*reason(&refused).0, &*kind_of(&refused)), ("VENDOR_REFUSED", "OUT_OF_QUOTA"));
    world.stop().await;
}

#[tokio::test]
async fn tasks_and_notes() {
    let (world, at) = (World::new().await, seeded().await);
    authorized(&world, &at).await;
    let grpc = world.grpc().await;
    let task = |entity_id: &str| v1::CreateTaskRequest {
        entity: v1::CrmEntity::Lead.into(),
        entity_id: entity_id.to_owned(),
        text: "Call back".to_owned(),
        due_time: Some(prost_types::Timestamp { seconds: 1_772_625_600, nanos: 0 }),
        responsible_user_id: "9002".to_owned(),
        ..v1::CreateTaskRequest::default()
    };
    let made = grpc.crm().create_task(task("5001")).await.unwrap().into_inner().task_id;
    let kept = &at.all("tasks")[0];
    assert_eq!(made, kept["id"].to_string());
    assert_eq!((&kept["complete_till"], &kept["entity_type"]), (&json!(1_772_625_600), &json!("leads")));
    let gone = grpc.crm().create_task(task("5999")).await.unwrap_err();
    assert_eq!(reason(&gone).0, "CRM_LEAD_NOT_FOUND");
    let note = |entity_id: &str, text: &str| v1::AddNoteRequest {
        integration_id: String::new(),
        entity: v1::CrmEntity::Contact.into(),
        entity_id: entity_id.to_owned(),
        text: text.to_owned(),
    };
    let made = grpc.crm().add_note(note("6001", "Wants a call")).await.unwrap().into_inner().note_id;
    let kept = &at.all("contacts/notes")[0];
    assert_eq!((made, &kept["params"]["text"]), (kept["id"].to_string(), &json!("Wants a call")));
    let gone = grpc.crm().add_note(note("6999", "Wants a call")).await.unwrap_err();
    assert_eq!(reason(&gone).0, "CRM_CONTACT_NOT_FOUND");
    assert_eq!(reason(&grpc.crm().add_note(note("6001", " ")).await.unwrap_err()).1, ["text"]);
    world.stop().await;
}

#[tokio::test]
async fn three_processes_together_stay_under_seven_calls_a_second() {
    let (world, at) = (World::new().await, seeded().await);
    authorized(&world, &at).await;
    let (second, third) = (world.another().await, world.another().await);
    let processes =
        [world.grpc().await, grpc_of(&second, &world.key).await, grpc_of(&third, &world.key).await];
    let before = at.rest_calls();
    let read = async |grpc: &Grpc| get_lead(grpc, "5001").await.map(|lead| lead.price);
    let answers = join_all((0..10).flat_map(|_| processes.iter().map(read))).await;
    assert!(answers.iter().all(|answer| matches!(answer, Ok(15_000))), "{answers:?}");
    assert_eq!(at.rest_calls() - before, 30, "none was refused, and none was made twice");
    assert!(at.busiest_second() <= 7, "{} calls in one second", at.busiest_second());
    second.stop().await.unwrap();
    third.stop().await.unwrap();
    world.stop().await;
}

#[tokio::test]
async fn who_is_shut_out_stays_away_everywhere() {
    let (world, at) = (World::new().await, seeded().await);
    let made = authorized(&world, &at).await;
    let other = world.another().await;
    let (grpc, elsewhere) = (world.grpc().await, grpc_of(&other, &world.key).await);
    let refused = |answer: Result<v1::CrmLead, Status>| {
        use tonic_types::StatusExt as _;
        let refused = answer.unwrap_err();
        assert_eq!((&*reason(&refused).0, &*kind_of(&refused)), ("VENDOR_UNAVAILABLE", "RATE_LIMITED"));
        refused.get_error_details().retry_info().unwrap().retry_delay.unwrap()
    };
    let forget = async || {
        let mut owner = world.owner().await;
        sqlx::query("delete from governors").execute(&mut owner).await.unwrap();
    };
    // A 429 keeps everybody away for a moment, the next one for longer.
    at.faults().add(simulator::Fault::RateLimited, Some(1));
    assert!(refused(get_lead(&grpc, "5001").await) <= Duration::from_secs(1));
    assert_eq!(get_lead(&elsewhere, "5001").await.unwrap().price, 15_000, "it waits for its turn");
    at.faults().add(simulator::Fault::RateLimited, Some(1));
    assert!(refused(get_lead(&elsewhere, "5001").await) > Duration::from_secs(1));
    // A 403 right after that is a block, in whatever words.
    forget().await;
    at.set_blocked(true);
    assert!(refused(get_lead(&grpc, "5001").await) > Duration::from_mins(10));
    let calls = at.rest_calls();
    assert!(refused(get_lead(&elsewhere, "5001").await) > Duration::from_mins(10));
    assert_eq!(at.rest_calls(), calls, "no process asks any more");
    // It is no trouble of the integration's own.
    let request = v1::GetIntegrationRequest { id: made.id };
    let kept = grpc.integrations().get_integration(request).await.unwrap().into_inner().integration.unwrap();
    assert_eq!(kept.health(), v1::IntegrationHealth::Healthy);
    at.set_blocked(false);
    forget().await;
    assert_eq!(get_lead(&grpc, "5001").await.unwrap().price, 15_000);
    other.stop().await.unwrap();
    world.stop().await;
}

#[tokio::test]
async fn a_lead_that_is_merged_into_another_meanwhile_is_gone_and_the_other_has_what_it_had() {
    let (world, at) = (World::new().await, seeded().await);
    authorized(&world, &at).await;
    let grpc = world.grpc().await;
    let note = |lead: &str| v1::AddNoteRequest {
        integration_id: String::new(),
        entity: v1::CrmEntity::Lead.into(),
        entity_id: lead.to_owned(),
        text: "Wants a call".to_owned(),
    };
    grpc.crm().add_note(note("5001")).await.unwrap();
    let mut other = at.all("contacts").remove(0);
    (other["id"], other["name"]) = (json!(6_002), json!("Boris"));
    at.put("contacts", &[other]);
    let mut lead = at.all("leads").remove(0);
    lead["_embedded"]["contacts"] = json!([{ "id": 6_002, "is_main": true }]);
    at.put("leads", &[lead]);
    assert_eq!(get_lead(&grpc, "5001").await.unwrap().contact_ids, ["6002"]);

    at.merge_leads(5_001, 5_002);
    let dear = v1::CrmLeadPatch { price: Some(1), ..v1::CrmLeadPatch::default() };
    let refused = [
        get_lead(&grpc, "5001").await.unwrap_err(),
        update(&grpc, "5001", dear).await.unwrap_err(),
        grpc.crm().add_note(note("5001")).await.unwrap_err(),
    ];
    for refused in refused {
        assert_eq!(reason(&refused).0, "CRM_LEAD_NOT_FOUND");
        assert!(refused.message().contains("merged into another"), "{refused}");
    }
    assert_eq!(get_lead(&grpc, "5002").await.unwrap().contact_ids, ["6001", "6002"]);
    assert_eq!(at.all("leads/notes")[0]["entity_id"], json!(5_002));
    world.stop().await;
}

#[tokio::test]
async fn scopes_hold() {
    let (world, at) = (World::new().await, seeded().await);
    authorized(&world, &at).await;
    let key = v1::ApiKey {
        display_name: "reader".to_owned(),
        scopes: vec!["crm:read".to_owned()],
        ..v1::ApiKey::default()
    };
    let request = v1::CreateApiKeyRequest { api_key: Some(key), ..v1::CreateApiKeyRequest::default() };
    let key = world.grpc().await.workspaces().create_api_key(request).await.unwrap().into_inner().secret;
    let grpc = world.grpc_as(&key).await;
    assert_eq!(get_lead(&grpc, "5001").await.unwrap().price, 15_000);
    let patch = v1::CrmLeadPatch { price: Some(1), ..v1::CrmLeadPatch::default() };
    assert_eq!(reason(&update(&grpc, "5001", patch).await.unwrap_err()).0, "SCOPE_MISSING");
    assert_eq!(at.all("leads")[0]["price"], Value::from(15_000));
    world.stop().await;
}

/// Has the customer of a lead say something, and gives what the agent answered.
pub(crate) async fn said(
    world: &World,
    receiver: &Receiver,
    route: &Route,
    text: &str,
    count: usize,
) -> String {
    let request = v1::ReceiveMessageRequest {
        channel_id: route.channel_id.clone(),
        chat: "c1".to_owned(),
        message_id: format!("m{count}"),
        text: text.to_owned(),
        sender: v1::MessageSender::Customer.into(),
        crm: Some(v1::CrmReferences { lead_id: "5002".to_owned(), ..v1::CrmReferences::default() }),
        ..v1::ReceiveMessageRequest::default()
    };
    world.grpc().await.webhooks().receive_message(request).await.unwrap();
    receiver.wait_for(count).await[count - 1].json()["text"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_agent_works_on_its_dialogues_lead() {
    let (world, at) = (World::new().await, seeded().await);
    // What was just made is told from older things by the time: both clocks go alike.
    let now = domain::Clock::now(&domain::SystemClock).unix_timestamp();
    at.clock().advance(Duration::from_secs(now.abs_diff(at.clock().unix_seconds())));
    authorized(&world, &at).await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let names = ["change_stage", "create_task", "add_note"];
    let tools = names.map(|name| v1::Tool { name: name.to_owned(), settings: None }).to_vec();
    let toolbox = Some(v1::Toolbox { tools, http: Vec::new() });
    let agent = v1::Agent { id: route.agent_id.clone(), toolbox, ..v1::Agent::default() };
    world.update_agent(agent, "toolbox").await.unwrap();
    let say = async |text: &str, count: usize| said(&world, &receiver, &route, text, count).await;
    let lead = |id: u64| at.all("leads").into_iter().find(|lead| lead["id"] == id).unwrap();

    let answer = say("/call change_stage {\"stage\": \"won\"}", 1).await;
    assert_eq!(answer, "change_stage gave {\"ok\":true}");
    assert_eq!((&lead(5_002)["status_id"], &lead(5_001)["status_id"]), (&json!(142), &json!(64_000_001)));
    let answer = say("/call change_stage {\"stage\": \"New\", \"pipeline\": \"Service\"}", 2).await;
    assert!(answer.contains("\"ok\":true"), "{answer}");
    assert_eq!(
        (&lead(5_002)["pipeline_id"], &lead(5_002)["status_id"]),
        (&json!(7_700_002), &json!(65_000_001))
    );
    let answer = say("/call change_stage {\"stage\": \"Gone\"}", 3).await;
    assert!(answer.contains("Service has no stage Gone; it has: Won, Lost, New"), "{answer}");

    // The same again is a repeat, as after a run that was cut short; another one is not.
    for (text, count, notes) in [("Likes tea", 4, 1), ("Likes tea", 5, 1), ("Likes milk", 6, 2)] {
        let answer = say(&format!("/call add_note {{\"text\": \"{text}\"}}"), count).await;
        assert!(answer.contains("\"ok\":true"), "{answer}");
        assert_eq!(at.all("leads/notes").len(), notes);
    }
    let note = &at.all("leads/notes")[0];
    assert_eq!((&note["entity_id"], &note["params"]["text"]), (&json!(5_002), &json!("Likes tea")));

    let soon = domain::Clock::now(&domain::SystemClock) + Duration::from_hours(2);
    let due = soon.format(&time::format_description::well_known::Rfc3339).unwrap();
    for count in [7, 8] {
        let call = format!("/call create_task {{\"text\": \"Call back\", \"due\": \"{due}\"}}");
        let answer = say(&call, count).await;
        assert!(answer.contains("\"ok\":true"), "{answer}");
    }
    let [task] = &*at.all("tasks") else { panic!("{:?}", at.all("tasks")) };
    assert_eq!((&task["entity_id"], &task["complete_till"]), (&json!(5_002), &json!(soon.unix_timestamp())));
    let answer = say("/call create_task {\"text\": \"x\", \"due\": \"tomorrow\"}", 9).await;
    assert!(answer.contains("RFC 3339"), "{answer}");

    // A lead that was deleted meanwhile.
    at.remove("leads", 5_002);
    let answer = say("/call add_note {\"text\": \"Hello\"}", 10).await;
    assert!(answer.contains("the CRM has no lead 5002"), "{answer}");
    assert!(at.busiest_second() <= 7);
    world.stop().await;
}
