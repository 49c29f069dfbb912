//! Fuzzing of everything that reads what strangers send: samples are cut, spliced and bent at random, and no reader may panic or
//! take long. There is no nightly toolchain to measure coverage with, so what is bent are real samples.
//!
//! Each target runs for a moment with all tests, and for `SWITCHBOARD_FUZZ_SECONDS` each in `cargo xtask ci`. A failure prints
//! its input and its seed.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use domain::{
    AgentId, ChannelId, Timestamp, WorkspaceId,
    channel::Channel,
    event::Cursor,
    inbound::{RawRequest, Verified},
    new_message::NewMessage,
    policy::DeliveryPolicy,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::SecretString;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{http::HttpClient, signature, sse};

/// What none of them may take for one input.
const LONGEST: Duration = Duration::from_secs(2);
/// The longest input, in bytes.
const MOST_BYTES: usize = 32 * 1024;

macro_rules! samples {
    ($($path:literal),+ $(,)?) => { &[$(include_bytes!(concat!("../fixtures/", $path)).as_slice()),+] };
}

const FORMS: &[&[u8]] = samples!(
    "amocrm/contacts_add.form",
    "amocrm/leads_delete.form",
    "amocrm/leads_note.form",
    "amocrm/leads_status.form",
    "amocrm/leads_update.form",
    "amocrm/message_add.form",
    "amocrm/task_update.form",
    "amocrm/unsorted_add_and_talk_add.form",
    "amocrm/unsorted_delete.form",
);
const CALLS: &[&[u8]] = samples!(
    "edna/button.json",
    "edna/contact_card.json",
    "edna/image.json",
    "edna/location.json",
    "edna/max_bot.json",
    "edna/status_delivered.json",
    "edna/status_failed.json",
);
const CHATS: &[&[u8]] = samples!(
    "amocrm/chat_manager_text.json",
    "amocrm/chat_manager_first_picture.json",
    "amocrm/chat_typing.json",
    "amocrm/chat_reaction.json",
    "amocrm/chat_unknown.json",
);
const SALESBOTS: &[&[u8]] = &[
    br#"{"token": "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJodHRwczovL2FjbWUua29tbW8uY29tIn0.OQI5", "data": {"message": "Hi",
        "lead": "5001", "contact": "{{contact.id}}"}, "return_url": "https://acme.kommo.com/api/v4/salesbot/321/continue/123"}"#,
    b"token=eyJhbGciOiJIUzUxMiJ9.e30.AA&data%5Bmessage%5D=Hi&data%5Blead%5D=5001&return_url=https%3A%2F%2Facme.kommo.com%2Fapi%2Fv4%2Fsalesbot%2F321%2Fcontinue%2F123",
];
const MESSAGES: &[&[u8]] = &[
    br#"{"message_id": "m1", "chat_id": "0198c0de-0000-7000-8000-000000000001/a", "text": "hi", "message_sender": "customer"}"#,
    br#"{"chat_id": "0198c0de-0000-7000-8000-000000000001", "text": "", "message_sender": "employee",
        "parts": [{"kind": "image", "url": "https://example.com/a.png", "media_type": "image/png", "name": "a"}]}"#,
];
const STREAMS: &[&[u8]] = &[
    b"\xEF\xBB\xBFevent: message\ndata: {\"a\": 1}\n\ndata: [DONE]\n\n",
    b"data: one\r\ndata: two\r\n\r\n: a comment\rid: 3\rretry: 7\r\rdata\n\n",
];
const CURSORS: &[&[u8]] =
    &[b"0", b"AAAAAAAAAAAAAAAAAAAACQAAAAMAAAAAAAAATQ", b"AZjA3gAAcACAAAAAAAAAAQAAAAEAAAAAAAAABw"];
const SIGNATURES: &[&[u8]] = &[
    b"webhook-id: msg_1\nwebhook-timestamp: 1772532930\nwebhook-signature: v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE= v1a,x",
    b"webhook-id: m\nwebhook-timestamp: -1\nwebhook-signature: v1,",
];
const HOOKS: &[&[u8]] = &[
    b"x-webhook-signature: QUJD\nx-webhook-timestamp: 1772532930\n\n{\"event_type\": \"task_stopped\", \"task_detail\": {\"task_id\": \"t\"}}",
];

/// A small generator: the same seed gives the same inputs.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound.max(1)).unwrap_or(u64::MAX);
        usize::try_from(self.next() % bound).unwrap_or_default()
    }
}

/// Pieces that readers take for something.
const PIECES: &[&[u8]] = &[
    b"[",
    b"]",
    b"[]",
    b"[0]",
    b"[1]",
    b"%5B",
    b"%5D",
    b"%00",
    b"%",
    b"%F0%9F",
    b"&",
    b"=",
    b"+",
    b"{",
    b"}",
    b"\"",
    b"\\u0000",
    b"\\ud800",
    b"null",
    b"-1",
    b"99999999999999999999",
    b"1e999",
    b"\xff",
    b"\xc3",
    b"\0",
    b"\r\n",
    b"\n\n",
    b"data:",
    b":",
    b",",
    b"v1,",
    b"[x][x][x][x][x][x][x][x][x][x][x][x][x][x][x][x]",
];

fn bend(samples: &[&[u8]], random: &mut Random) -> Vec<u8> {
    let mut input = samples[random.below(samples.len())].to_vec();
    for _ in 0..random.below(8) {
        let at = random.below(input.len() + 1);
        match random.below(7) {
            0 => input.truncate(at),
            1 if at < input.len() => input[at] ^= 1 << random.below(8),
            2 => {
                let piece = PIECES[random.below(PIECES.len())];
                input.splice(at..at, piece.iter().copied());
            }
            3 => {
                let other = samples[random.below(samples.len())];
                let from = random.below(other.len() + 1);
                input.splice(at.., other[from..].iter().copied());
            }
            4 => {
                let end = at + random.below(input.len() - at + 1);
                input.drain(at..end);
            }
            5 => {
                let end = at + random.below((input.len() - at + 1).min(64));
                let again: Vec<u8> = input[at..end].repeat(1 + random.below(200));
                input.splice(at..at, again);
            }
            _ => {
                let piece = PIECES[random.below(PIECES.len())].repeat(1 + random.below(300));
                input.splice(at..at, piece);
            }
        }
        input.truncate(MOST_BYTES);
    }
    input
}

fn seconds() -> f64 {
    std::env::var("SWITCHBOARD_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(0.2)
}

/// Reads the samples, then bent ones until the time is over.
fn fuzz(samples: &[&[u8]], read: impl Fn(&[u8])) {
    let length = Duration::from_secs_f64(seconds());
    let start = Instant::now();
    let seed = u64::from(std::process::id());
    let mut random = Random(seed);
    let try_one = |input: &[u8]| {
        let begun = Instant::now();
        let read = catch_unwind(AssertUnwindSafe(|| read(input)));
        let shown = String::from_utf8_lossy(input);
        assert!(read.is_ok(), "it panicked (seed {seed}) at {shown:?}");
        assert!(begun.elapsed() < LONGEST, "it took {:?} (seed {seed}) for {shown:?}", begun.elapsed());
    };
    samples.iter().copied().for_each(try_one);
    while start.elapsed() < length {
        try_one(&bend(samples, &mut random));
    }
}

fn now() -> Timestamp {
    Timestamp::from_unix_timestamp(1_772_532_930).unwrap()
}

/// Reads `name: value` lines, and the body behind an empty one.
fn request(input: &[u8]) -> RawRequest {
    let end = input.windows(2).position(|pair| pair == b"\n\n");
    let (head, body) = end.map_or((input, &b""[..]), |end| (&input[..end], &input[end + 2..]));
    let headers = head.split(|byte| *byte == b'\n').filter_map(|line| {
        let at = line.iter().position(|byte| *byte == b':')?;
        let value = HeaderValue::from_bytes(line[at + 1..].trim_ascii()).ok()?;
        Some((HeaderName::from_bytes(&line[..at]).ok()?, value))
    });
    RawRequest { headers: headers.collect::<HeaderMap>(), body: body.to_vec().into() }
}

#[test]
fn forms_of_crms() {
    let hooks = crate::amocrm::vendor(
        HttpClient::new(crate::http::Settings::default()),
        crate::amocrm::sources::Defaults::default(),
    )
    .hooks
    .unwrap();
    let settings =
        serde_json::json!({ "subdomain": "acme", "client_id": "c", "redirect_url": "https://a.example" });
    fuzz(FORMS, |input| {
        if let Ok(hook) = hooks.read(input) {
            let _ = hooks.is_of(&settings, None, &hook.account);
            for event in &hook.events {
                assert!(!event.key.contains('\0') && event.key.len() < 1_024 * 1_024);
                assert!(event.data.values().all(can_be_stored));
            }
        }
    });
}

/// The database's JSON has no U+0000.
fn can_be_stored(value: &Value) -> bool {
    match value {
        Value::String(text) => !text.contains('\0'),
        Value::Array(items) => items.iter().all(can_be_stored),
        Value::Object(members) => {
            members.iter().all(|(name, member)| !name.contains('\0') && can_be_stored(member))
        }
        _ => true,
    }
}

fn channel() -> Channel {
    Channel {
        id: ChannelId(Uuid::from_u128(1)),
        display_name: "Channel".to_owned(),
        agent: AgentId(Uuid::from_u128(2)),
        vendor: String::new(),
        url: String::new(),
        integration: None,
        settings: json!({ "subject_id": 234, "kind": "WHATSAPP", "cascade_id": 77 }),
        delivery_policy: DeliveryPolicy::default(),
        mirror: None,
        active: true,
        token_suffix: String::new(),
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
    }
}

#[test]
fn new_messages() {
    let channel = channel();
    let receiver = crate::generic_http::vendor(
        HttpClient::new(crate::http::Settings::default()),
        crate::generic_http::Headers::default(),
    )
    .receiver
    .unwrap();
    fuzz(MESSAGES, |input| {
        let _ = NewMessage::parse(input);
        let raw = RawRequest { body: input.to_vec().into(), ..RawRequest::default() };
        let _ = receiver.normalize(&Verified::vouched(raw), &channel);
    });
}

#[test]
fn calls_of_edna() {
    let channel = channel();
    let receiver = crate::edna::vendor(HttpClient::new(crate::http::Settings::default())).receiver.unwrap();
    let body = |sample: &&[u8]| {
        let sample: Value = serde_json::from_slice(sample).unwrap();
        sample["body"].as_str().unwrap().as_bytes().to_vec()
    };
    let bodies: Vec<_> = CALLS.iter().map(body).collect();
    let bodies: Vec<_> = bodies.iter().map(Vec::as_slice).collect();
    fuzz(&bodies, |input| {
        let raw = RawRequest { body: input.to_vec().into(), ..RawRequest::default() };
        let _ = receiver.normalize(&Verified::vouched(raw), &channel);
    });
}

#[test]
fn calls_of_chats_and_salesbots() {
    let channel = channel();
    let receiver = crate::amocrm::vendor(HttpClient::new(crate::http::Settings::default())).receiver.unwrap();
    let body = |sample: &&[u8]| {
        let sample: Value = serde_json::from_slice(sample).unwrap();
        sample["body"].as_str().unwrap().as_bytes().to_vec()
    };
    let mut bodies: Vec<_> = CHATS.iter().map(body).collect();
    bodies.extend(SALESBOTS.iter().map(|body| body.to_vec()));
    let bodies: Vec<_> = bodies.iter().map(Vec::as_slice).collect();
    let mut account = domain::vendor::VendorAccount::default();
    account.connection.settings = json!({ "subdomain": "acme", "base_domain": "kommo.com", "client_id": "c",
        "redirect_url": "https://app.example/oauth/callback" });
    for name in ["client_secret", "chats_secret"] {
        account.connection.credentials.insert(name.to_owned(), "another secret".into());
    }
    fuzz(&bodies, |input| {
        let mut raw = RawRequest { body: input.to_vec().into(), ..RawRequest::default() };
        // Nobody who lacks the secret gets in, with a signature or a token.
        assert!(receiver.verify(&raw, &account, now()).is_err());
        raw.headers.insert(HeaderName::from_static("x-signature"), HeaderValue::from_static("4dff1acf"));
        assert!(receiver.verify(&raw, &account, now()).is_err());
        let _ = receiver.normalize(&Verified::vouched(raw), &channel);
    });
}

#[test]
fn streams_of_events() {
    fuzz(STREAMS, |input| {
        // Where chunks end does not matter.
        let read = |size: usize| {
            let (mut parser, mut told) = (sse::Parser::new(4_096), Vec::new());
            let mut each = |name: &str, data: &str| {
                told.push((name.to_owned(), data.to_owned()));
                Ok::<_, sse::Wrong>(())
            };
            let read = input.chunks(size).try_for_each(|chunk| parser.feed(chunk, &mut each));
            read.and_then(|()| parser.finish(&mut each)).ok().map(|()| told)
        };
        let (whole, bytes) = (read(MOST_BYTES), read(1));
        // A bound may be met at another place of the stream.
        assert!(whole.is_none() || bytes.is_none() || whole == bytes);
    });
}

#[test]
fn cursors() {
    let workspace = WorkspaceId(Uuid::from_u128(9));
    fuzz(CURSORS, |input| {
        let text = String::from_utf8_lossy(input);
        if let Ok(cursor) = Cursor::decode(&text, workspace) {
            assert_eq!(Cursor::decode(&cursor.encode(), workspace), Ok(cursor));
        }
    });
}

#[test]
fn signatures_of_webhooks() {
    let secrets = [SecretString::from("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")];
    fuzz(SIGNATURES, |input| {
        let raw = request(input);
        let _ = signature::verify(&secrets, &raw.headers, &raw.body, now());
    });
}

#[test]
fn hooks_of_engines() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let http = HttpClient::new(crate::http::Settings::default());
    let engine = crate::manus::vendor(http).engine.unwrap();
    // Its key can't be had here, so nothing gets past what precedes the signature; nothing may get in either.
    let connection = domain::connection::Connection {
        settings: serde_json::json!({ "base_url": "http://127.0.0.1:1" }),
        ..domain::connection::Connection::default()
    };
    fuzz(HOOKS, |input| {
        let request = request(input);
        let read = engine.hook().unwrap().read(&connection, &request, &[], now());
        assert!(runtime.block_on(read).is_err());
    });
}
