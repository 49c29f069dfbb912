//! What a CRM tells of its account: taken once, in our words, from nobody else.

mod notes;

use std::time::Duration;

use prost_types::{Struct, value::Kind};
use serde_json::json;
use switchboard_sdk::v1;
use tonic::transport::Channel;

use crate::{
    harness::{Answer, Dir, Grpc, Receiver, World, http_client, reason, until},
    integrations::{connect, events, text},
    oauth::{account, amocrm, authorized},
    restart::{Process, values},
};

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

macro_rules! samples {
    ($($name:literal),+) => {
        [$(($name, include_str!(concat!("../../crates/vendors/fixtures/amocrm/", $name, ".form")))),+]
    };
}

pub(crate) async fn rotate(world: &World, id: &str) -> v1::RotateWebhookSecretResponse {
    let request = v1::RotateWebhookSecretRequest { id: id.to_owned() };
    world.grpc().await.integrations().rotate_webhook_secret(request).await.unwrap().into_inner()
}

pub(crate) async fn tell(world: &World, path: &str, body: impl Into<String>) -> Answer {
    world.call(reqwest::Method::POST, path, &[FORM], Some(body.into().into())).await
}

pub(crate) fn outcome(answer: &Answer) -> &str {
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.headers["switchboard-outcome"].to_str().unwrap()
}

fn number(event: &v1::Event, name: &str) -> f64 {
    match event.data.as_ref().and_then(|data| data.fields.get(name)).and_then(|value| value.kind.as_ref()) {
        Some(Kind::NumberValue(number)) => *number,
        other => panic!("{name}: {other:?}"),
    }
}

/// The types of all events that came of a CRM, when there are so many.
async fn told(world: &World, count: usize) -> Vec<v1::Event> {
    until(|| async {
        let request = v1::ListEventsRequest {
            cursor: "0".to_owned(),
            page_size: 1_000,
            ..v1::ListEventsRequest::default()
        };
        let all = world.grpc().await.events().list_events(request).await.unwrap().into_inner().events;
        let told: Vec<_> = all
            .into_iter()
            .filter(|event| {
                event.data.as_ref().is_some_and(|data| data.fields.contains_key("inbound_webhook_id"))
            })
            .collect();
        (told.len() >= count).then_some(told)
    })
    .await
}

async fn webhooks(world: &World, integration: &str) -> Vec<v1::InboundWebhook> {
    let request = v1::ListInboundWebhooksRequest {
        integration_id: integration.to_owned(),
        ..v1::ListInboundWebhooksRequest::default()
    };
    world.grpc().await.webhooks().list_inbound_webhooks(request).await.unwrap().into_inner().inbound_webhooks
}

#[tokio::test]
async fn every_sample_is_told_once_in_our_words() {
    let world = World::new().await;
    let at = amocrm().await;
    let made = connect(&world, account(&at)).await;
    assert!(made.webhook.is_none());
    let rotated = rotate(&world, &made.id).await;
    let webhook = rotated.integration.unwrap().webhook.unwrap();
    assert!(webhook.path.ends_with("/[redacted]") && rotated.path.ends_with(&webhook.secret_suffix));
    let samples = samples!(
        "contacts_add",
        "leads_delete",
        "leads_note",
        "leads_status",
        "leads_update",
        "message_add",
        "task_update",
        "unsorted_add_and_talk_add",
        "unsorted_delete"
    );
    for (name, body) in samples {
        assert_eq!(outcome(&tell(&world, &rotated.path, body).await), "RECORDED", "{name}");
    }
    // The vendor repeats what it thinks we missed; the slash it has been seen to want changes nothing.
    for (name, body) in samples {
        let path = format!("{}/", rotated.path);
        assert_eq!(outcome(&tell(&world, &path, body).await), "DUPLICATE", "{name}");
    }
    // One that tells of something new beside what is known.
    let both = format!("{}&leads[delete][1][id]=5002", samples[1].1);
    assert_eq!(outcome(&tell(&world, &rotated.path, both).await), "RECORDED");
    // JSON of the same tree.
    let json = json!({ "leads": { "delete": { "id": 5003 } }, "account": { "id": 31_000_001, "subdomain": "acme" } });
    assert_eq!(outcome(&tell(&world, &rotated.path, json.to_string()).await), "RECORDED");

    let told = told(&world, 12).await;
    let kinds: Vec<_> = told.iter().map(|event| event.r#type.as_str()).collect();
    let expected = [
        "contact.added",
        "lead.deleted",
        "note.added",
        "lead.stage_changed",
        "lead.updated",
        "message.received",
        "task.updated",
        "talk.added",
        "unsorted.added",
        "unsorted.accepted",
        "lead.deleted",
        "lead.deleted",
    ];
    assert_eq!(kinds.len(), expected.len(), "{kinds:?}");
    for kind in expected {
        assert!(kinds.contains(&kind), "{kind}: {kinds:?}");
    }
    assert!(told.iter().all(|event| event.subject_id == made.id && text(event, "integration_id") == made.id));
    let stage = told.iter().find(|event| event.r#type == "lead.stage_changed").unwrap();
    assert_eq!((number(stage, "old_status_id"), number(stage, "status_id")), (64_000_001.0, 142.0));
    let message = told.iter().find(|event| event.r#type == "message.received").unwrap();
    assert_eq!((text(message, "text"), number(message, "lead_id")), ("Смотрите фото", 5001.0));

    // Raw calls are kept, without the secret, and can be read again to no effect.
    let kept = webhooks(&world, &made.id).await;
    assert_eq!(kept.len(), 2 * samples.len() + 2);
    let secret = rotated.path.rsplit('/').next().unwrap();
    assert!(!format!("{kept:?}").contains(secret));
    let first = kept.last().unwrap().clone();
    assert_eq!((first.route.as_str(), first.channel_id.as_str()), ("crm", ""));
    let request = v1::ReplayInboundWebhookRequest { id: first.id };
    let again = world.grpc().await.webhooks().replay_inbound_webhook(request).await.unwrap().into_inner();
    let again = again.inbound_webhook.unwrap();
    assert_eq!((again.outcome(), again.route.as_str()), (v1::InboundOutcome::Duplicate, "replay"));
    assert_eq!(self::told(&world, 12).await.len(), 12);
    world.stop().await;
}

#[tokio::test]
async fn what_is_told_without_a_moment_can_happen_again_after_the_repeats() {
    let world = World::new().await;
    let at = amocrm().await;
    let made = connect(&world, account(&at)).await;
    let path = rotate(&world, &made.id).await.path;
    let [(_, deleted), (_, updated)] = samples!("leads_delete", "leads_update");
    for body in [deleted, updated] {
        assert_eq!(outcome(&tell(&world, &path, body).await), "RECORDED");
    }
    world.clock().advance(Duration::from_mins(95));
    assert_eq!(outcome(&tell(&world, &path, deleted).await), "DUPLICATE", "the vendor's last try");
    world.clock().advance(Duration::from_mins(30));
    assert_eq!(outcome(&tell(&world, &path, deleted).await), "RECORDED", "restored and deleted again");
    assert_eq!(outcome(&tell(&world, &path, updated).await), "DUPLICATE", "it has its moment");
    world.stop().await;
}

#[tokio::test]
async fn nobody_else_is_listened_to() {
    let world = World::new().await;
    let at = amocrm().await;
    let made = connect(&world, account(&at)).await;
    let [(_, body)] = samples!("leads_status");
    let path = rotate(&world, &made.id).await.path;
    let (stem, secret) = path.rsplit_once('/').unwrap();
    let refused =
        async |path: &str, body: &str| tell(&world, path, body).await.problem(401, "SIGNATURE_INVALID");
    // A secret that is another's, old, short, or none at all; an integration that is not there.
    let rotated = rotate(&world, &made.id).await.path;
    refused(&path, body).await;
    refused(&format!("{stem}/x"), body).await;
    refused(&format!("{stem}/{}", &secret[..secret.len() - 1]), body).await;
    refused(&rotated.replace(&made.id, "0198c0de-0000-7000-8000-000000000001"), body).await;
    refused("/api/webhooks/crm/none/none", body).await;
    let other = connect(&world, account(&at)).await;
    refused(&rotated.replace(&made.id, &other.id), body).await;
    // Another account, by whichever name, and none.
    refused(&rotated, &body.replace("acme", "evil")).await;
    refused(&rotated, "leads[delete][0][id]=1&account[subdomain]=evil&account[id]=31000001").await;
    refused(&rotated, "leads[delete][0][id]=1").await;
    // Without a secret it is off.
    for path in ["/api/webhooks/crm".to_owned(), format!("/api/webhooks/crm/{}", made.id)] {
        tell(&world, &path, body).await.problem(404, "ROUTE_NOT_FOUND");
    }
    assert!(webhooks(&world, &made.id).await.is_empty(), "nothing of it is kept");

    // Unless the operator names the integration.
    let id = made.id.parse().unwrap();
    let open = world.another_with(|config| config.crm_integration = Some(id)).await;
    let at = |path: &str| format!("http://{}{path}", open.http.unwrap());
    let post = async |path: &str, body: &str| {
        world.http.post(at(path)).header(FORM.0, FORM.1).body(body.to_owned()).send().await.unwrap().status()
    };
    assert_eq!(post("/api/webhooks/crm", body).await, 200);
    assert_eq!(post(&format!("/api/webhooks/crm/{}", made.id), body).await, 200);
    assert_eq!(post(&format!("/api/webhooks/crm/{}", other.id), body).await, 404);
    assert_eq!(post("/api/webhooks/crm", &body.replace("acme", "evil")).await, 401);
    assert_eq!(post("/api/webhooks/crm", &format!("a{}=1", "[x]".repeat(99))).await, 422);
    assert_eq!(webhooks(&world, &made.id).await.len(), 2);
    open.stop().await.unwrap();

    let plain = v1::Integration { vendor: "openai".to_owned(), settings: None, ..account(&amocrm().await) };
    let plain = v1::Integration { credentials: [("api_key".to_owned(), "k".to_owned())].into(), ..plain };
    let plain = connect(&world, plain).await;
    let request = v1::RotateWebhookSecretRequest { id: plain.id };
    let refusal = world.grpc().await.integrations().rotate_webhook_secret(request).await.unwrap_err();
    assert_eq!(reason(&refusal).0, "CAPABILITY_MISSING");
    world.stop().await;
}

#[tokio::test]
async fn what_is_odd_is_kept_and_what_is_a_bomb_does_no_harm() {
    let world = World::new().await;
    let at = amocrm().await;
    let made = connect(&world, account(&at)).await;
    let path = rotate(&world, &made.id).await.path;
    let of = |body: &str| format!("{body}&account[id]=31000001&account[subdomain]=acme");
    let mut odd = vec![
        of("gadgets[add][0][id]=1"),
        of("leads[explode][0][id]=1"),
        of("add[0][id]=1"),
        of("talk=3"),
        of("message[add][0][text]=nobody%27s"),
        of("leads[add]=x"),
    ];
    for body in &odd {
        assert_eq!(outcome(&tell(&world, &path, body.as_str()).await), "RECORDED", "{body}");
    }
    let unknown = until(|| async {
        let unknown = events(&world, "crm.unknown").await;
        (unknown.len() == odd.len()).then_some(unknown)
    })
    .await;
    assert_eq!((text(&unknown[0], "entity"), text(&unknown[0], "action")), ("gadgets", "add"));
    // Bytes of another charset, what can't be stored, and half an escape.
    odd = vec![
        of("leads[add][0][id]=7&leads[add][0][name]=%CF%F0%E8%E2%E5%F2"),
        of("leads[add][0][id]=8&leads[add][0][name]=%00"),
        of("leads[add][0][id]=9&leads[add][0][name]=100%"),
        of("leads[add][%00][id]=10&leads[add][0][id]=11"),
    ];
    for body in &odd {
        assert_eq!(outcome(&tell(&world, &path, body.as_str()).await), "RECORDED", "{body}");
    }
    // Bombs are kept as what they are, and answered like all else: too many refusals, and the vendor calls no more.
    let bombs = [
        format!("a{}=1", "[x]".repeat(5_000)),
        "a[][]=1&".repeat(20_000),
        format!("a[{}]=1", "x".repeat(100_000)),
        "leads[delete][][id]=1&".repeat(600),
        "{\"a\":".repeat(30_000),
        "{".to_owned(),
    ];
    for bomb in &bombs {
        let started = std::time::Instant::now();
        assert_eq!(outcome(&tell(&world, &path, bomb.as_str()).await), "QUARANTINED", "{bomb:.40}");
        assert!(started.elapsed() < Duration::from_secs(5));
    }
    let quarantined = until(|| async {
        let quarantined = events(&world, "webhook.quarantined").await;
        (quarantined.len() == bombs.len()).then_some(quarantined)
    })
    .await;
    assert!(text(&quarantined[0], "reason").contains("nested"));
    let kept = webhooks(&world, &made.id).await;
    assert_eq!(kept.len(), 6 + odd.len() + bombs.len());
    let large = tell(&world, &path, "a=1&".repeat(100_000)).await;
    large.problem(413, "BODY_TOO_LARGE");
    world.stop().await;
}

#[tokio::test]
async fn what_comes_at_once_is_all_told_and_each_only_once() {
    let world = World::new().await;
    let at = amocrm().await;
    let made = connect(&world, account(&at)).await;
    let path = rotate(&world, &made.id).await.path;
    let another = world.another().await;
    let doors = [world.url(&path), format!("http://{}{path}", another.http.unwrap())];
    let calls = (0..400).map(|n| {
        let lead = n % 200;
        let body = format!(
            "leads[add][0][id]={lead}&leads[add][0][updated_at]=1772532930&account[subdomain]=acme&account[id]=31000001"
        );
        let call = world.http.post(&doors[n / 200]).header(FORM.0, FORM.1).body(body);
        async move { call.send().await.unwrap().status().as_u16() }
    });
    let statuses = futures::future::join_all(calls).await;
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    let told = told(&world, 200).await;
    assert_eq!(told.len(), 200);
    let mut leads: Vec<_> = told.iter().map(|event| number(event, "lead_id").to_string()).collect();
    leads.sort();
    leads.dedup();
    assert_eq!(leads.len(), 200);
    another.stop().await.unwrap();
    world.stop().await;
}

#[tokio::test]
async fn the_vendor_is_told_to_call_us_and_to_go_on() {
    let world = World::with(&[("SWITCHBOARD_PUBLIC_URL", "https://bots.example/")]).await;
    let at = amocrm().await;
    let made = authorized(&world, &at).await;
    let path = rotate(&world, &made.id).await.path;
    let state = async |wanted: v1::WebhookState| {
        until(|| async {
            let request = v1::GetIntegrationRequest { id: made.id.clone() };
            let got = world.grpc().await.integrations().get_integration(request).await.unwrap().into_inner();
            let webhook = got.integration.unwrap().webhook.unwrap();
            (webhook.state() == wanted).then_some(webhook)
        })
        .await
    };
    let webhook = state(v1::WebhookState::Subscribed).await;
    assert!(webhook.check_time.is_some());
    let [subscribed] = &*at.webhooks() else { panic!("{:?}", at.webhooks()) };
    assert_eq!(subscribed.destination, format!("https://bots.example{path}/"));
    for event in ["add_message", "add_outgoing_message", "status_lead", "note_lead", "update_talk"] {
        assert!(subscribed.settings.iter().any(|told| told == event), "{event}");
    }
    // The vendor had enough of us, and is made to call again: a check sees it, and hurries it on.
    let check = async || {
        let request = v1::CheckIntegrationRequest { id: made.id.clone() };
        let steps =
            world.grpc().await.integrations().check_integration(request).await.unwrap().into_inner().steps;
        steps.into_iter().find(|step| step.name == "webhooks").unwrap().outcome()
    };
    assert_eq!(check().await, v1::CheckOutcome::Passed);
    at.disable_webhooks();
    assert_eq!(check().await, v1::CheckOutcome::Failed);
    until(|| async { at.webhooks().iter().all(|webhook| !webhook.disabled).then_some(()) }).await;
    let told = until(|| async {
        let told = events(&world, "integration.subscribed").await;
        (told.len() == 2).then_some(told)
    })
    .await;
    assert_eq!((text(&told[0], "reason"), text(&told[1], "reason")), ("missing", "disabled"));
    // Another secret: the vendor is told, and calls the old path no more.
    let fresh = rotate(&world, &made.id).await.path;
    until(|| async {
        let list = at.webhooks();
        (list.len() == 1 && list[0].destination.ends_with(&format!("{fresh}/"))).then_some(())
    })
    .await;
    // The account is known by its id now: it may have moved to another subdomain, and nobody else can take its name.
    let [(_, body)] = samples!("leads_status");
    let moved = body.replace("acme", "newacme");
    let taken = until(|| async {
        let answer = tell(&world, &fresh, moved.clone()).await;
        (answer.status == 200).then_some(answer)
    })
    .await;
    assert_eq!(outcome(&taken), "RECORDED");
    tell(&world, &fresh, body.replace("31000001", "31000002")).await.problem(401, "SIGNATURE_INVALID");
    // It can't be asked any more: an event says so, once.
    at.revoke();
    world.clock().advance(Duration::from_hours(25));
    state(v1::WebhookState::Failed).await;
    let failed = until(|| async {
        let failed = events(&world, "integration.subscription_failed").await;
        (failed.len() == 1).then_some(failed)
    })
    .await;
    assert!(!text(&failed[0], "last_error").is_empty());
    world.stop().await;
}

#[tokio::test]
async fn a_message_of_the_crm_s_chats_is_answered_in_the_dialogue_of_its_lead() {
    let world = World::new().await;
    let at = amocrm().await;
    let receiver = Receiver::start().await;
    let route = world.route(&receiver, json!({})).await;
    let mut with_channel = account(&at);
    let channel = prost_types::Value { kind: Some(Kind::StringValue(route.channel_id.clone())) };
    let Struct { fields } = with_channel.settings.as_mut().unwrap();
    fields.insert("chat_channel_id".to_owned(), channel);
    let made = connect(&world, with_channel).await;
    let path = rotate(&world, &made.id).await.path;
    let message = |id: &str, direction: &str, text: &str| {
        format!(
            "message[add][0][id]={id}&message[add][0][text]={text}&message[add][0][created_at]=1772533100\
             &message[add][0][entity_type]=lead&message[add][0][entity_id]=5001&message[add][0][contact_id]=6001\
             &message[add][0][type]={direction}&message[add][0][origin]=telegram&message[add][0][author][name]=Anna\
             &account[subdomain]=acme&account[id]=31000001"
        )
    };
    for _ in 0..2 {
        outcome(&tell(&world, &path, message("m-1", "incoming", "What+does+it+cost%3F")).await);
    }
    let received = receiver.wait_for(1).await;
    assert!(received[0].json()["text"].as_str().unwrap().contains("What does it cost?"));
    // Our answer comes back, as the company's: an event, and nobody's turn.
    outcome(&tell(&world, &path, message("m-2", "outgoing", "Ten")).await);
    outcome(&tell(&world, &path, message("m-3", "incoming", "Thanks")).await);
    assert_eq!(receiver.wait_for(2).await.len(), 2);
    let request = v1::ListDialoguesRequest {
        channel_id: route.channel_id.clone(),
        ..v1::ListDialoguesRequest::default()
    };
    let dialogues =
        world.grpc().await.dialogues().list_dialogues(request).await.unwrap().into_inner().dialogues;
    let [dialogue] = &*dialogues else { panic!("{dialogues:?}") };
    assert_eq!(dialogue.chat, "lead:5001");
    let request =
        v1::ListMessagesRequest { dialogue_id: dialogue.id.clone(), ..v1::ListMessagesRequest::default() };
    let messages = world.grpc().await.dialogues().list_messages(request).await.unwrap().into_inner().messages;
    assert_eq!(
        messages.iter().filter(|message| message.role() == v1::MessageRole::User).count(),
        2,
        "{messages:?}"
    );
    let sent: Vec<_> = events(&world, "message.sent").await;
    assert_eq!(sent.iter().filter(|event| event.message.is_none()).count(), 1);
    assert!(events(&world, "message.received").await.iter().all(|event| event.message.is_some()));
    world.stop().await;
}

#[tokio::test]
async fn what_was_taken_survives_kill_9_and_what_was_not_comes_again_once() {
    const CALLS: usize = 300;
    let dir = Dir::new();
    let data = dir.path().join("data");
    let process = Process::start(&data);
    let key = values(&data.join("credentials"), &["workspace_key"]).await.remove(0);
    let listeners = data.join("listeners");
    let addresses = values(&listeners, &["grpc", "http"]).await;
    let connect = async |address: &str| {
        let endpoint = Channel::from_shared(format!("http://{address}")).unwrap();
        Grpc::over(endpoint.connect().await.unwrap(), &key)
    };
    let mut new = account(&amocrm().await);
    new.settings.as_mut().unwrap().fields.remove("base_url");
    let grpc = connect(&addresses[0]).await;
    let request = v1::CreateIntegrationRequest { integration: Some(new), request_id: String::new() };
    let made =
        grpc.integrations().create_integration(request).await.unwrap().into_inner().integration.unwrap();
    let request = v1::RotateWebhookSecretRequest { id: made.id };
    let path = grpc.integrations().rotate_webhook_secret(request).await.unwrap().into_inner().path;
    let http = http_client();
    let tell = |address: &str, lead: usize| {
        let body = format!(
            "leads[add][0][id]={lead}&leads[add][0][updated_at]=1772532930&account[subdomain]=acme&account[id]=31000001"
        );
        let call = http.post(format!("http://{address}{path}")).header(FORM.0, FORM.1).body(body);
        async move {
            let answer = call.send().await.ok().filter(|answer| answer.status() == 200)?;
            Some(answer.headers()["switchboard-outcome"].to_str().unwrap().to_owned())
        }
    };
    // Some are taken, some are lost with the process, and of some nobody knows.
    let first = tell(&addresses[1], 0).await;
    assert_eq!(first.as_deref(), Some("RECORDED"));
    let calls: Vec<_> = (0..CALLS).map(|lead| tokio::spawn(tell(&addresses[1], lead))).collect();
    tokio::time::sleep(Duration::from_millis(60)).await;
    process.kill();
    let taken: Vec<bool> =
        futures::future::join_all(calls).await.into_iter().map(|call| call.unwrap().is_some()).collect();

    std::fs::remove_file(&listeners).unwrap();
    let process = Process::start(&data);
    let addresses = values(&listeners, &["grpc", "http"]).await;
    for (lead, taken) in taken.iter().enumerate() {
        let again = tell(&addresses[1], lead).await;
        assert!(again.is_some(), "lead {lead}");
        assert!(!taken || again.as_deref() == Some("DUPLICATE"), "lead {lead} was taken, and lost");
    }
    let grpc = connect(&addresses[0]).await;
    let told = until(|| async {
        let request = v1::ListEventsRequest {
            cursor: "0".to_owned(),
            page_size: 1_000,
            types: vec!["lead.added".to_owned()],
            ..v1::ListEventsRequest::default()
        };
        let told = grpc.events().list_events(request).await.unwrap().into_inner().events;
        (told.len() >= CALLS).then_some(told)
    })
    .await;
    let leads: std::collections::BTreeSet<_> =
        told.iter().map(|event| number(event, "lead_id").to_string()).collect();
    assert_eq!((told.len(), leads.len()), (CALLS, CALLS));
    process.stop();
}
