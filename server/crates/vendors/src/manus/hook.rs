//! What Manus calls us for. Its calls are signed with a key that it publishes.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use domain::{
    Timestamp,
    connection::Connection,
    engine::{EngineHook, HookError},
    inbound::RawRequest,
    vendor::{VendorError, VerifyError},
};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Manus;

const SIGNATURE: &str = "x-webhook-signature";
const TIMESTAMP: &str = "x-webhook-timestamp";
/// How far Manus's clock may be from ours.
const TOLERANCE: Duration = Duration::from_mins(5);
/// How long a key is good, and how long nobody asks again where none could be read.
const FRESH: Duration = Duration::from_hours(1);
const PAUSE: Duration = Duration::from_secs(30);

/// The keys that were read, by base URL: every account is signed for with the same.
#[derive(Default)]
pub(super) struct Keys(Mutex<Vec<Known>>);

struct Known {
    base_url: String,
    read_at: Timestamp,
    key: Result<Vec<u8>, VendorError>,
}

impl Keys {
    fn get(&self, base_url: &str, now: Timestamp) -> Option<Result<Vec<u8>, VendorError>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.iter().find(|known| known.base_url == base_url)?;
        let age = (now - known.read_at).unsigned_abs();
        (age < if known.key.is_ok() { FRESH } else { PAUSE }).then(|| known.key.clone())
    }

    fn set(&self, base_url: String, read_at: Timestamp, key: Result<Vec<u8>, VendorError>) {
        // A handful of addresses; more are somebody's mistake.
        const MOST: usize = 100;
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|known| known.base_url != base_url);
        known.truncate(MOST - 1);
        known.push(Known { base_url, read_at, key });
    }
}

#[derive(Deserialize)]
struct Event {
    event_type: String,
    task_detail: Option<TaskDetail>,
}

#[derive(Deserialize)]
struct TaskDetail {
    task_id: String,
}

#[async_trait]
impl EngineHook for Manus {
    async fn read(
        &self,
        connection: &Connection,
        request: &RawRequest,
        urls: &[String],
        now: Timestamp,
    ) -> Result<Option<Value>, HookError> {
        let signed = Signed::read(request, now)?;
        let account = self.account(connection, now).map_err(HookError::NoKey)?;
        let key = if let Some(known) = self.keys.get(account.base_url(), now) {
            known
        } else {
            let pem = account.public_key().await;
            let key = pem.and_then(|pem| {
                pkcs1(&pem).ok_or_else(|| {
                    super::failure(
                        domain::vendor::FailureKind::default(),
                        "its public key is none",
                        domain::vendor::Retry::Never,
                    )
                })
            });
            self.keys.set(account.base_url().to_owned(), now, key.clone());
            key
        };
        let key = key.map_err(HookError::NoKey)?;
        if !urls.iter().any(|url| signed.fits(&key, url)) {
            return Err(VerifyError::Mismatch.into());
        }
        let event: Event = serde_json::from_slice(&request.body).map_err(|_| HookError::NotUnderstood)?;
        let task = event.task_detail.filter(|_| event.event_type == "task_stopped");
        Ok(task.map(|task| json!({ "task": task.task_id, "working": true })))
    }
}

/// What a call is signed with, and over.
struct Signed {
    seconds: i64,
    signature: Vec<u8>,
    digest: String,
}

impl Signed {
    fn read(request: &RawRequest, now: Timestamp) -> Result<Self, VerifyError> {
        let text = |name: &str| {
            request.headers.get(name).ok_or(VerifyError::Missing)?.to_str().map_err(|_| VerifyError::Mismatch)
        };
        let (signature, seconds) = (text(SIGNATURE)?, text(TIMESTAMP)?);
        let seconds: i64 = seconds.parse().map_err(|_| VerifyError::Mismatch)?;
        if now.unix_timestamp().abs_diff(seconds) > TOLERANCE.as_secs() {
            return Err(VerifyError::Mismatch);
        }
        let signature = STANDARD.decode(signature).map_err(|_| VerifyError::Mismatch)?;
        let digest = hex::encode(Sha256::digest(&request.body));
        Ok(Self { seconds, signature, digest })
    }

    /// Whether it was signed for this URL.
    fn fits(&self, key: &[u8], url: &str) -> bool {
        let text = format!("{}.{url}.{}", self.seconds, self.digest);
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key);
        if key.verify(text.as_bytes(), &self.signature).is_ok() {
            return true;
        }
        // Some of Manus's own samples hash the text once more before it is signed.
        let twice = key.verify(&Sha256::digest(text.as_bytes()), &self.signature).is_ok();
        if twice {
            tracing::debug!(vendor = super::ID, "a call is signed over the digest of its text");
        }
        twice
    }
}

/// Takes the PKCS#1 key out of a PEM `PUBLIC KEY` (RFC 5280, `SubjectPublicKeyInfo`) of RSA.
fn pkcs1(pem: &str) -> Option<Vec<u8>> {
    // rsaEncryption, without parameters.
    const RSA: &[u8] = &[0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 1, 1, 5, 0];
    let body =
        pem.trim().strip_prefix("-----BEGIN PUBLIC KEY-----")?.strip_suffix("-----END PUBLIC KEY-----")?;
    let base64: String = body.split_whitespace().collect();
    let der = STANDARD.decode(base64).ok()?;
    let info = element(0x30, &der)?;
    let bits = element(3, info.strip_prefix(RSA)?)?;
    // No unused bits.
    Some(bits.strip_prefix(&[0])?.to_vec())
}

/// The content of a DER element of this tag.
fn element(tag: u8, der: &[u8]) -> Option<&[u8]> {
    let (&length, rest) = der.strip_prefix(&[tag])?.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        0x81 => (usize::from(*rest.first()?), &rest[1..]),
        0x82 => (usize::from(u16::from_be_bytes([*rest.first()?, *rest.get(1)?])), &rest[2..]),
        _ => return None,
    };
    rest.get(..length)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::*;

    const URL: &str = "https://bridge.example.com/hooks/manus?c=1";
    const BODY: &str = r#"{"event_id":"evt_demo_1","event_type":"task_stopped","task_detail":{"task_id":"task_demo_1","task_title":"Demo","task_url":"https://manus.im/app/task_demo_1","message":"Done","stop_reason":"finish"}}"#;
    const KEY: &str = include_str!("../../fixtures/manus/public_key.pem");
    const GOOD: &str = "fa4e5wF0I/TBERoEGnH8QrWKD5G0gbNzurBBEn2omm74c8tH2cUiDWiRar/5YAe0h70/x4f6O8oDvUvHOS5Px5Ptn3HIduQEXz3YIMJsORLowJNKQWY9swTYDd5Ra78mg3lmaqYoDP3r0m/WypncMqAoICik8pxmhnV4ltxS6cuSYavxqopkwT6iHO3Y+E1MsriOV02cfX02WNEnIOVSsDL3+y8xLhlq4/Cr+LT4KQiFgIKwmnuDwfwyeD1Grfsioy9j/1HVXxfVfdjv2NDbJejL+akB9IdqRoqubtBclwPTsaX/LHhZrklH5VQKCOHHvY9kY/ShCQtDsZoSG0gzlg==";
    fn request(body: &str, signature: &str) -> RawRequest {
        let headers = [(SIGNATURE, signature), (TIMESTAMP, "1763640000")]
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()));
        RawRequest { headers: HeaderMap::from_iter(headers), body: Bytes::from(body.to_owned()) }
    }

    fn fits(request: &RawRequest, seconds: i64, url: &str) -> bool {
        let now = Timestamp::from_unix_timestamp(seconds).unwrap();
        Signed::read(request, now).is_ok_and(|signed| signed.fits(&pkcs1(KEY).unwrap(), url))
    }

    #[test]
    fn a_signature_covers_time_address_and_body() {
        let good = request(BODY, GOOD);
        assert!(fits(&good, 1_763_640_000, URL));
        assert!(fits(&good, 1_763_640_300, URL) && !fits(&good, 1_763_640_301, URL));
        assert!(!fits(&good, 1_763_640_000, "https://bridge.example.com/hooks/manus?c=2"));
        assert!(!fits(&request(&BODY.replace("Done", "Dome"), GOOD), 1_763_640_000, URL));
        assert!(!fits(&request(BODY, &GOOD.replacen('f', "g", 1)), 1_763_640_000, URL));
        assert!(!fits(&request(BODY, "no base64"), 1_763_640_000, URL));
        assert!(matches!(
            Signed::read(&RawRequest::default(), Timestamp::UNIX_EPOCH),
            Err(VerifyError::Missing)
        ));
    }

    #[test]
    fn what_is_no_key_is_none() {
        let key = STANDARD.encode(b"\x30\x82\xff");
        for pem in ["", "-----BEGIN PUBLIC KEY----------END PUBLIC KEY-----"] {
            assert!(pkcs1(pem).is_none());
        }
        assert!(pkcs1(&format!("-----BEGIN PUBLIC KEY-----\n{key}\n-----END PUBLIC KEY-----")).is_none());
        for end in 0..KEY.len() {
            pkcs1(&KEY[..end]);
        }
    }
}
