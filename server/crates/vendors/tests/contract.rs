//! What every vendor owes, whoever it is: the tests walk the list, so a new vendor is tested by being in it.
//!
//! `fixtures/<vendor>/<name>.json` holds one callback as `{"secret", "now", "headers", "body"}`; `<name>.golden.json`
//! what it means, as `{"events": […]}` or `{"violations": […]}`.

#![expect(clippy::unwrap_used, reason = "a failing test may panic")]

use std::{fs, path::Path, sync::LazyLock, time::Duration};

use bytes::Bytes;
use domain::{
    AgentId, DeliveryId, MessageId, Timestamp,
    channel::Channel,
    channel_kind::HookProof,
    connection::Connection,
    dialogue::Role,
    inbound::{InboundEvent, RawRequest, Sender, Verified},
    policy::DeliveryPolicy,
    vendor::{
        self, Applied, FailureKind, OutboundMessage, Retry, Vendor, VendorAccount, VendorError, Vendors,
        WebhookReceiver,
    },
};
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};
use standardwebhooks::Webhook;
use time::{Duration as Span, macros::datetime};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use uuid::Uuid;
use vendors::http::{AllowList, HttpClient, Settings};

const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

fn vendors() -> Vendors {
    let settings =
        Settings { timeout: Duration::from_millis(300), allow: AllowList::All, ..Settings::default() };
    vendors::all(HttpClient::new(settings), vendors::Settings::default())
}

fn account(url: &str, secrets: &[&str]) -> VendorAccount {
    VendorAccount {
        url: url.to_owned(),
        token: "sbc_token".into(),
        signing_secrets: secrets.iter().map(|secret| (*secret).into()).collect(),
        // Vendors that are reached over an integration are told all of it there.
        connection: Connection {
            settings: json!({ "base_url": url }),
            credentials: [("api_key".to_owned(), "sbc_token".into())].into(),
            ..Connection::default()
        },
        settings: json!({ "subject_id": 234, "kind": "WHATSAPP", "cascade_id": 77 }),
    }
}

/// The account of a sample's channel, with these secrets, wherever its vendor wants them.
fn account_of(sample: &Sample, secrets: &[&str]) -> VendorAccount {
    let mut account = account("", secrets);
    if !sample.settings.is_null() {
        account.settings = sample.settings.clone();
    }
    if let Some(secret) = secrets.first() {
        account.connection.credentials.insert("chats_secret".to_owned(), (*secret).into());
    }
    account
}

/// The channel that samples came by.
const CHANNEL: &str = "0198c0de-0000-7000-8000-000000000004";

/// The channel of these settings.
fn channel(settings: Value) -> Channel {
    Channel {
        id: CHANNEL.parse().unwrap(),
        display_name: "Channel".to_owned(),
        agent: AgentId(Uuid::from_u128(1)),
        vendor: String::new(),
        url: String::new(),
        integration: None,
        settings,
        delivery_policy: DeliveryPolicy::default(),
        mirror: None,
        active: true,
        token_suffix: String::new(),
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
    }
}

/// One recorded callback.
#[derive(Deserialize)]
struct Sample {
    secret: String,
    #[serde(with = "time::serde::rfc3339")]
    now: Timestamp,
    headers: Vec<(String, String)>,
    body: String,
    /// The settings of the channel that it came by.
    #[serde(default)]
    settings: Value,
    /// Whether its vendor signs no date with its calls.
    #[serde(default)]
    undated: bool,
}

impl Sample {
    fn request(&self) -> RawRequest {
        let headers = self.headers.iter().map(|(name, value)| {
            (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap())
        });
        RawRequest { headers: headers.collect(), body: Bytes::from(self.body.clone()) }
    }
}

/// Every sample of every vendor that receives, by its name.
fn samples() -> Vec<(String, Vendor, Sample)> {
    let mut samples = Vec::new();
    for vendor in vendors().iter().filter(|vendor| vendor.receiver.is_some()) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(vendor.id);
        let before = samples.len();
        for entry in fs::read_dir(&folder).unwrap_or_else(|_| panic!("{} has no fixtures", vendor.id)) {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if name.strip_suffix(".json").is_some_and(|stem| !stem.ends_with(".golden")) {
                let sample = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
                samples.push((path.to_str().unwrap().to_owned(), vendor.clone(), sample));
            }
        }
        assert!(samples.len() > before, "{} has no samples", vendor.id);
    }
    samples
}

/// Whether a vendor's calls carry no proof in themselves: the secret in their path is checked before they are read.
fn signs_nothing(vendor: &Vendor) -> bool {
    vendor.channel.as_ref().is_some_and(|kind| kind.hook_proof() == HookProof::PathSecret)
}

fn receiver(vendor: &Vendor) -> &dyn WebhookReceiver {
    vendor.receiver.as_deref().unwrap()
}

fn meaning(vendor: &Vendor, request: &Verified<RawRequest>, settings: &Value) -> Value {
    match receiver(vendor).normalize(request, &channel(settings.clone())) {
        Ok(events) => json!({"events": events.iter().map(event).collect::<Vec<_>>()}),
        Err(error) => json!({
            "violations": error.fields.iter().map(|bad| json!([bad.field, bad.detail])).collect::<Vec<_>>()
        }),
    }
}

fn event(event: &InboundEvent) -> Value {
    match event {
        InboundEvent::Message(message) => {
            let mut told = json!({
                "chat": message.chat,
                "external_id": message.external_id,
                "text": message.text,
                "sender": match message.sender {
                    Sender::Customer => "customer",
                    Sender::Employee => "employee",
                },
            });
            if !message.parts.is_empty() {
                told["parts"] = json!(message.parts);
            }
            if let Some(contact) = &message.contact {
                told["contact"] = json!(contact);
            }
            if !message.metadata.is_empty() {
                told["metadata"] = json!(message.metadata);
            }
            json!({ "message": told })
        }
        InboundEvent::Status(status) => json!({"status": {
            "delivery": status.delivery,
            "vendor_message_id": status.vendor_message_id,
            "receipt": status.receipt,
            "error": status.error,
            "at": status.at.map(Timestamp::unix_timestamp),
        }}),
        InboundEvent::Happened(happening) => json!({ "happened": {
            "kind": happening.kind, "chat": happening.chat, "data": happening.data,
        }}),
        InboundEvent::Ignored(reason) => json!({ "ignored": reason }),
    }
}

#[test]
fn every_sample_is_verified_and_means_what_its_golden_file_says() {
    for (name, vendor, sample) in samples() {
        let account = account_of(&sample, &[&sample.secret]);
        let verified = if signs_nothing(&vendor) {
            Verified::vouched(sample.request())
        } else {
            vendor::verify(receiver(&vendor), sample.request(), &account, sample.now)
                .unwrap_or_else(|error| panic!("{name}: {error}"))
        };
        let golden = fs::read(name.replace(".json", ".golden.json")).unwrap_or_default();
        let golden: Value = serde_json::from_slice(&golden).unwrap_or_default();
        let meaning = meaning(&vendor, &verified, &sample.settings);
        assert_eq!(meaning, golden, "{name} means\n{meaning:#}");
    }
}

#[test]
fn no_sample_survives_a_change() {
    for (name, vendor, sample) in samples() {
        let refused = |request: &RawRequest, secrets: &[&str], now| {
            assert!(receiver(&vendor).verify(request, &account_of(&sample, secrets), now).is_err(), "{name}");
        };
        let secret = [sample.secret.as_str()];
        let request = sample.request();
        if signs_nothing(&vendor) {
            refused(&request, &secret, sample.now);
            continue;
        }
        for at in 0..request.body.len() {
            let mut body = request.body.to_vec();
            body[at] ^= 1;
            refused(&RawRequest { body: body.into(), ..request.clone() }, &secret, sample.now);
        }
        refused(&RawRequest { body: Bytes::new(), ..request.clone() }, &secret, sample.now);
        refused(&RawRequest { headers: HeaderMap::new(), ..request.clone() }, &secret, sample.now);
        if !sample.undated {
            refused(&request, &secret, sample.now + Span::minutes(6));
            refused(&request, &secret, sample.now - Span::minutes(6));
        }
        refused(&request, &["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"], sample.now);
        refused(&request, &[], sample.now);
    }
}

proptest! {
    #[test]
    fn garbage_is_an_error_and_never_a_panic(body in prop::collection::vec(any::<u8>(), 0..300), text in "\\PC{0,80}") {
        static VENDORS: LazyLock<Vendors> = LazyLock::new(vendors);
        for vendor in VENDORS.iter().filter(|vendor| vendor.receiver.is_some()) {
            let headers = ["webhook-id", "webhook-timestamp", "webhook-signature"].map(|name| {
                (HeaderName::from_static(name), HeaderValue::from_bytes(text.as_bytes()).unwrap())
            });
            for body in [body.clone(), text.clone().into_bytes(), json!({"chat_id": text, "text": body}).to_string().into_bytes()] {
                let request = RawRequest { headers: headers.iter().cloned().collect(), body: body.into() };
                let account = account("", &[SECRET]);
                prop_assert!(receiver(vendor).verify(&request, &account, Timestamp::UNIX_EPOCH).is_err());
                let meant = receiver(vendor).normalize(&Verified::vouched(request), &channel(json!({})));
                // A vendor's new kind of call is no garbage, and JSON is all that tells them apart.
                let ignored = |event: &InboundEvent| matches!(event, InboundEvent::Ignored(_));
                prop_assert!(meant.is_err() || vendor.channel.is_some() && meant.unwrap().iter().all(ignored));
            }
        }
    }
}

/// What the fake server does once it has read a request.
#[derive(Clone, Copy)]
enum Behaviour {
    Answer(&'static str),
    Cut,
    Hang,
}

/// Starts a server that keeps every request as text and then behaves so.
async fn serve(behaviour: Behaviour) -> (String, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook?key=secret", listener.local_addr().unwrap());
    let (seen, requests) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let seen = seen.clone();
            tokio::spawn(async move {
                let request = read_request(&mut stream).await;
                seen.send(request).unwrap();
                match behaviour {
                    Behaviour::Answer(answer) => stream.write_all(answer.as_bytes()).await.unwrap(),
                    Behaviour::Cut => {}
                    Behaviour::Hang => std::future::pending().await,
                }
            });
        }
    });
    (url, requests)
}

async fn read_request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        stream.read_buf(&mut bytes).await.unwrap();
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
            if body.len() >= length.parse().unwrap() {
                return text.into_owned();
            }
        }
    }
}

fn outbound() -> OutboundMessage {
    OutboundMessage {
        delivery: DeliveryId(Uuid::from_u128(0xd)),
        message: MessageId(Uuid::from_u128(0xe)),
        chat: "79990000002".to_owned(),
        role: Role::Assistant,
        text: "Guten Tag, “Ä”".into(),
        parts: Vec::new(),
        template: None,
        answers: serde_json::Map::new(),
        now: datetime!(2026-11-21 12:00:00 UTC),
    }
}

#[tokio::test]
async fn failures_say_whether_trying_again_helps_and_whether_it_may_have_had_its_effect() {
    let after = |seconds| Retry::After(Duration::from_secs(seconds));
    for (behaviour, status, applied, retry) in [
        (
            Behaviour::Answer("HTTP/1.1 301 Moved\r\nlocation: /\r\n\r\n"),
            Some(301),
            Applied::No,
            Retry::Never,
        ),
        (Behaviour::Answer("HTTP/1.1 400 Bad\r\n\r\n"), Some(400), Applied::No, Retry::Never),
        (Behaviour::Answer("HTTP/1.1 401 Who\r\n\r\nwho?"), Some(401), Applied::No, Retry::Never),
        (Behaviour::Answer("HTTP/1.1 408 Slow\r\n\r\n"), Some(408), Applied::No, Retry::Backoff),
        (Behaviour::Answer("HTTP/1.1 410 Gone\r\n\r\n"), Some(410), Applied::No, Retry::Never),
        (Behaviour::Answer("HTTP/1.1 425 Early\r\n\r\n"), Some(425), Applied::No, Retry::Backoff),
        (Behaviour::Answer("HTTP/1.1 429 Many\r\nretry-after: 7\r\n\r\n"), Some(429), Applied::No, after(7)),
        (
            Behaviour::Answer("HTTP/1.1 429 Many\r\nretry-after: Sat, 21 Nov 2026 12:00:30 GMT\r\n\r\n"),
            Some(429),
            Applied::No,
            after(30),
        ),
        (Behaviour::Answer("HTTP/1.1 429 Many\r\n\r\n"), Some(429), Applied::No, Retry::Backoff),
        (Behaviour::Answer("HTTP/1.1 500 Oops\r\n\r\n"), Some(500), Applied::Maybe, Retry::Backoff),
        (
            Behaviour::Answer("HTTP/1.1 503 Down\r\nretry-after: 120\r\n\r\n"),
            Some(503),
            Applied::Maybe,
            after(120),
        ),
        (Behaviour::Answer("nonsense\r\n\r\n"), None, Applied::Maybe, Retry::Backoff),
        (Behaviour::Cut, None, Applied::Maybe, Retry::Backoff),
        (Behaviour::Hang, None, Applied::Maybe, Retry::Backoff),
    ] {
        // A CRM's answers are sent as its other calls are, which have a gate, a patience and refusals of their own: the stories
        // of `crm` and `crm_hooks` hold these.
        let senders = |vendor: &&Vendor| vendor.sender.is_some() && vendor.crm.is_none();
        for vendor in vendors().iter().filter(senders) {
            let (url, mut requests) = serve(behaviour).await;
            let error = vendor
                .sender
                .as_ref()
                .unwrap()
                .send(&account(&url, &[SECRET]), &outbound())
                .await
                .unwrap_err();
            let expected = VendorError {
                vendor: vendor.id,
                operation: "send",
                kind: match status {
                    Some(401) => FailureKind::Unauthorized,
                    Some(429) => FailureKind::RateLimited,
                    Some(408 | 425 | 500 | 503) | None => FailureKind::Unavailable,
                    Some(_) => FailureKind::Other,
                },
                http_status: status,
                detail: error.detail.clone(),
                excerpt: (status == Some(401)).then(|| "who?".into()),
                applied,
                retry,
            };
            assert_eq!(error, expected);
            assert!(
                !error.to_string().contains("secret") && !error.to_string().contains("sbc_token"),
                "{error}"
            );
            // Never more than once: repeating is the queue's business.
            assert!(requests.try_recv().is_ok() && requests.try_recv().is_err());
        }
    }
}

#[tokio::test]
async fn an_http_endpoint_gets_what_the_contract_promises() {
    let (url, mut requests) =
        serve(Behaviour::Answer("HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\n\r\nok")).await;
    let vendors = vendors();
    let sender = vendors.get("generic_http").and_then(|vendor| vendor.sender.clone()).unwrap();
    let second = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let receipt = sender.send(&account(&url, &[SECRET, second]), &outbound()).await.unwrap();
    assert_eq!((receipt.http_status, receipt.excerpt.as_deref()), (Some(202), Some("ok")));

    let request = requests.recv().await.unwrap();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert_eq!(
        body,
        r#"{"message_id":"00000000-0000-0000-0000-00000000000e","role":"ASSISTANT","text":"Guten Tag, “Ä”"}"#
    );
    let id = "00000000-0000-0000-0000-00000000000d";
    let sign = |secret| Webhook::new(secret).unwrap().sign(id, 1_795_262_400, body.as_bytes()).unwrap();
    for line in [
        "POST /hook?key=secret HTTP/1.1".to_owned(),
        "content-type: application/json".to_owned(),
        "x-chat_auth_token: Bearer sbc_token".to_owned(),
        format!("webhook-id: {id}"),
        "webhook-timestamp: 1795262400".to_owned(),
        format!("webhook-signature: {} {}", sign(SECRET), sign(second)),
    ] {
        assert!(head.lines().any(|have| have == line), "{line}\nnot in\n{head}");
    }
}
