//! The signature of Standard Webhooks, for vendors that use it.
//! <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>
//!
//! The crate of that name checks dates against the machine's clock and signs only UTF-8. Here time is a parameter, and a
//! body is bytes: one that is signed but is not text is its sender's mistake, not a stranger's forgery. The tests compare
//! the two.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use domain::{Timestamp, vendor::VerifyError};
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// Identifies the message: the same on every attempt.
const ID: HeaderName = HeaderName::from_static("webhook-id");
/// When this attempt was made, in seconds since 1970.
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
/// `v1,` and the signature in base64, one per secret, separated by spaces.
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// How far a sender's clock may be from ours.
const TOLERANCE: Duration = Duration::from_mins(5);

/// A secret that is not `whsec_` and base64.
#[derive(Debug, thiserror::Error)]
#[error("a signing secret is not `whsec_` and base64")]
pub(crate) struct BadSecret;

/// Gives the three headers of a call. Every secret signs, so that a receiver can change from one to the next.
pub(crate) fn headers(
    secrets: &[SecretString],
    id: &str,
    now: Timestamp,
    body: &[u8],
) -> Result<[(HeaderName, HeaderValue); 3], BadSecret> {
    let seconds = now.unix_timestamp().to_string();
    let signatures: Vec<_> =
        secrets.iter().map(|secret| sign(secret, id, &seconds, body)).collect::<Result<_, _>>()?;
    let value = |text: &str| HeaderValue::from_str(text).expect("ids, digits and base64 fit into a header");
    Ok([(ID, value(id)), (TIMESTAMP, value(&seconds)), (SIGNATURE, value(&signatures.join(" ")))])
}

/// Checks the headers of a call against its bytes. Any of the secrets will do.
pub(crate) fn verify(
    secrets: &[SecretString],
    headers: &HeaderMap,
    body: &[u8],
    now: Timestamp,
) -> Result<(), VerifyError> {
    let text = |name: &HeaderName| {
        headers.get(name).ok_or(VerifyError::Missing)?.to_str().map_err(|_| VerifyError::Mismatch)
    };
    let (id, timestamp, signatures) = (text(&ID)?, text(&TIMESTAMP)?, text(&SIGNATURE)?);
    let seconds: i64 = timestamp.parse().map_err(|_| VerifyError::Mismatch)?;
    if now.unix_timestamp().abs_diff(seconds) > TOLERANCE.as_secs() {
        return Err(VerifyError::Mismatch);
    }
    // A secret that can't be read matches nothing, but must not keep the others from matching.
    let matches =
        secrets.iter().filter_map(|secret| sign(secret, id, timestamp, body).ok()).any(|expected| {
            signatures.split(' ').any(|given| given.as_bytes().ct_eq(expected.as_bytes()).into())
        });
    if matches { Ok(()) } else { Err(VerifyError::Mismatch) }
}

fn sign(secret: &SecretString, id: &str, seconds: &str, body: &[u8]) -> Result<String, BadSecret> {
    let secret = secret.expose_secret();
    let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap_or(secret)).map_err(|_| BadSecret)?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("HMAC takes keys of any length");
    for part in [id.as_bytes(), b".", seconds.as_bytes(), b".", body] {
        mac.update(part);
    }
    Ok(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
}

#[cfg(test)]
mod tests {
    use standardwebhooks::Webhook;
    use time::Duration as Span;

    use super::*;

    const SECRETS: [&str; 2] =
        ["whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"];
    const ID_TEXT: &str = "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk";
    const BODY: &[u8] = br#"{"email":"test@example.com","username":"test_user"}"#;

    fn secrets(texts: &[&str]) -> Vec<SecretString> {
        texts.iter().map(|text| SecretString::from(*text)).collect()
    }

    fn now() -> Timestamp {
        Timestamp::from_unix_timestamp(1_649_367_553).unwrap()
    }

    fn signed(body: &[u8]) -> HeaderMap {
        headers(&secrets(&SECRETS), ID_TEXT, now(), body).unwrap().into_iter().collect()
    }

    #[test]
    fn we_sign_as_the_reference_does() {
        let expected: Vec<_> = SECRETS
            .iter()
            .map(|secret| Webhook::new(secret).unwrap().sign(ID_TEXT, now().unix_timestamp(), BODY).unwrap())
            .collect();
        assert_eq!(expected[0], "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=");
        assert_eq!(signed(BODY)[SIGNATURE], expected.join(" "));
    }

    #[test]
    fn any_secret_opens_and_any_change_closes() {
        let check = |texts: &[&str], headers: &HeaderMap, body: &[u8], now| {
            verify(&secrets(texts), headers, body, now).is_ok()
        };
        let headers = signed(BODY);
        assert!(check(&SECRETS[..1], &headers, BODY, now()));
        assert!(check(&SECRETS[1..], &headers, BODY, now()));
        assert!(check(&["not base64!", SECRETS[1]], &headers, BODY, now()));
        assert!(!check(&[], &headers, BODY, now()));
        assert!(!check(&["whsec_AAAA"], &headers, BODY, now()));
        assert!(!check(&SECRETS, &headers, b"{}", now()));
        assert!(check(&SECRETS, &signed(b"\xff"), b"\xff", now()));

        assert!(check(&SECRETS, &headers, BODY, now() + Span::minutes(5)));
        assert!(!check(&SECRETS, &headers, BODY, now() + Span::seconds(301)));
        assert!(!check(&SECRETS, &headers, BODY, now() - Span::seconds(301)));

        for (name, value) in [
            (ID, "msg_other"),
            (TIMESTAMP, "1649367554"),
            (TIMESTAMP, "soon"),
            (TIMESTAMP, "-9223372036854775808"),
            (SIGNATURE, "v1,"),
            (SIGNATURE, ""),
            (SIGNATURE, "v2,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw="),
        ] {
            let mut headers = headers.clone();
            headers.insert(name, value.parse().unwrap());
            assert!(!check(&SECRETS, &headers, BODY, now()), "{value}");
        }
        for name in [ID, TIMESTAMP, SIGNATURE] {
            let mut headers = headers.clone();
            headers.remove(name);
            let verdict = verify(&secrets(&SECRETS), &headers, BODY, now());
            assert!(matches!(verdict, Err(VerifyError::Missing)));
        }
    }
}
