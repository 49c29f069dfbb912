//! Whether a webhook came from Switchboard: its [Standard Webhooks](https://www.standardwebhooks.com) signature.

use std::fmt;

use http::HeaderMap;
use standardwebhooks::{Webhook, WebhookError};

/// Checks signatures with one secret, or with several while a secret is being replaced.
pub struct Verifier {
    secrets: Vec<Webhook>,
}

/// Why a webhook must not be believed. Answer 401 to all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// A secret is not `whsec_` followed by base64, or none was given.
    #[error("the webhook secret must be whsec_ and base64; copy it again")]
    Secret,
    /// One of the headers `webhook-id`, `webhook-timestamp` and `webhook-signature` is missing or unreadable.
    #[error("the webhook-id, webhook-timestamp or webhook-signature header is missing or unreadable")]
    Headers,
    /// It was signed more than five minutes ago or in the future: a replay, or a wrong clock.
    #[error("the webhook was signed more than five minutes away from now; check the clock")]
    Time,
    /// No secret made this signature for this body.
    #[error("no secret gives this signature; check the secret, and verify the exact bytes received")]
    Signature,
}

impl Verifier {
    /// Takes the secrets that are valid now, `whsec_…` each: the channel's, and while it is being replaced the old and
    /// the new one.
    ///
    /// # Errors
    ///
    /// [`VerifyError::Secret`] when there is none, or one is empty or not base64.
    pub fn new<Secret: AsRef<str>>(secrets: impl IntoIterator<Item = Secret>) -> Result<Self, VerifyError> {
        let secrets = secrets
            .into_iter()
            .map(|secret| {
                let secret = secret.as_ref().trim();
                // An empty key would let everybody sign.
                if secret.strip_prefix("whsec_").unwrap_or(secret).is_empty() {
                    return Err(VerifyError::Secret);
                }
                Webhook::new(secret).map_err(|_| VerifyError::Secret)
            })
            .collect::<Result<Vec<_>, _>>()?;
        if secrets.is_empty() {
            return Err(VerifyError::Secret);
        }
        Ok(Self { secrets })
    }

    /// Checks one webhook against every secret. The body must be the bytes as received: parsed and written again they
    /// are others.
    ///
    /// # Errors
    ///
    /// When no secret fits, the headers are incomplete or the time is off.
    pub fn verify(&self, headers: &HeaderMap, body: &[u8]) -> Result<(), VerifyError> {
        let mut verdict = Err(VerifyError::Signature);
        for secret in &self.secrets {
            verdict = secret.verify(body, headers).map_err(VerifyError::from);
            // Only the signature depends on the secret; the other faults are the same with the next one.
            if verdict != Err(VerifyError::Signature) {
                break;
            }
        }
        verdict
    }
}

impl From<WebhookError> for VerifyError {
    fn from(error: WebhookError) -> Self {
        match error {
            WebhookError::InvalidTimestamp
            | WebhookError::InvalidHeader(_)
            | WebhookError::MissingHeader(_) => Self::Headers,
            WebhookError::TimestampTooOldError | WebhookError::FutureTimestampError => Self::Time,
            WebhookError::InvalidSecret(_) => Self::Secret,
            // Ours are UTF-8, so a body that is not was signed by nobody.
            WebhookError::InvalidSignature | WebhookError::InvalidPayload => Self::Signature,
        }
    }
}

/// Leaves the secrets out.
impl fmt::Debug for Verifier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Verifier").field("secrets", &self.secrets.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    const OLD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const NEW: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    const BODY: &[u8] = "{\"text\": \"привет\"}".as_bytes();

    #[expect(clippy::disallowed_methods, reason = "the verifier compares with the real clock")]
    fn now() -> i64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().cast_signed()
    }

    fn signed(secrets: &[&str], at: i64) -> HeaderMap {
        let signatures: Vec<String> = secrets
            .iter()
            .map(|secret| Webhook::new(secret).unwrap().sign("message-1", at, BODY).unwrap())
            .collect();
        let mut headers = HeaderMap::new();
        headers.insert("webhook-id", "message-1".parse().unwrap());
        headers.insert("webhook-timestamp", at.to_string().parse().unwrap());
        headers.insert("webhook-signature", signatures.join(" ").parse().unwrap());
        headers
    }

    #[test]
    fn old_and_new_secrets_count_alike() {
        let both = Verifier::new([OLD, NEW]).unwrap();
        assert_eq!(both.verify(&signed(&[OLD], now()), BODY), Ok(()));
        assert_eq!(both.verify(&signed(&[NEW], now()), BODY), Ok(()));
        let new = Verifier::new([NEW]).unwrap();
        assert_eq!(new.verify(&signed(&[OLD], now()), BODY), Err(VerifyError::Signature));
        assert_eq!(new.verify(&signed(&[OLD, NEW], now()), BODY), Ok(()), "signed with both");
    }

    #[test]
    fn another_body_or_time_is_refused() {
        let verifier = Verifier::new([OLD]).unwrap();
        let mut body = BODY.to_vec();
        body[2] ^= 1;
        assert_eq!(verifier.verify(&signed(&[OLD], now()), &body), Err(VerifyError::Signature));
        for at in [now() - 360, now() + 360] {
            assert_eq!(verifier.verify(&signed(&[OLD], at), BODY), Err(VerifyError::Time));
        }
        let mut moved = signed(&[OLD], now() - 20);
        moved.insert("webhook-timestamp", now().to_string().parse().unwrap());
        assert_eq!(verifier.verify(&moved, BODY), Err(VerifyError::Signature));
    }

    #[test]
    fn every_header_is_needed() {
        let verifier = Verifier::new([OLD]).unwrap();
        for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
            let mut headers = signed(&[OLD], now());
            headers.remove(name);
            assert_eq!(verifier.verify(&headers, BODY), Err(VerifyError::Headers), "{name}");
        }
    }

    #[test]
    fn a_secret_that_proves_nothing_is_refused() {
        assert_eq!(Verifier::new(Vec::<String>::new()).unwrap_err(), VerifyError::Secret);
        for secret in ["", "whsec_", " whsec_ ", "whsec_not base64"] {
            assert_eq!(Verifier::new([OLD, secret]).unwrap_err(), VerifyError::Secret, "{secret:?}");
        }
    }
}
