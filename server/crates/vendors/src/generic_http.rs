//! Any HTTP endpoint: the vendor of those who write their own messenger.
//!
//! Inbound it speaks the body of `new_message`, signed as Standard Webhooks ask; outbound it posts replies to the
//! channel's URL with the channel's token and the same kind of signature.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use domain::{
    Reason, Timestamp,
    channel::{self, Channel},
    inbound::{InboundEvent, RawRequest, Verified},
    new_message::NewMessage,
    part::Part,
    vendor::{
        Applied, FailureKind, MessageSender, NormalizeError, OutboundMessage, Receipt, Resend, Retry, Vendor,
        VendorAccount, VendorError, VerifyError, WebhookReceiver,
    },
};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method,
    header::{CONTENT_TYPE, InvalidHeaderValue},
};
use secrecy::ExposeSecret;
use serde::Serialize;
use serde_json::Value;

use crate::{
    http::{Call, HttpClient, excerpt},
    signature,
};

/// Gives the vendor.
pub fn vendor(http: HttpClient, headers: Headers) -> Vendor {
    let endpoint = Arc::new(GenericHttp { http, headers });
    Vendor {
        receiver: Some(endpoint.clone()),
        sender: Some(endpoint),
        ..Vendor::new(
            channel::GENERIC_HTTP,
            "HTTP endpoint",
            "https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md",
        )
    }
}

/// How our calls look, by the operator's choice.
#[derive(Debug, Clone)]
pub struct Headers {
    /// The header that carries the channel's token, after `Bearer `. Default: `x-chat_auth_token`.
    pub outbound_token: HeaderName,
}

impl Default for Headers {
    fn default() -> Self {
        Self { outbound_token: HeaderName::from_static("x-chat_auth_token") }
    }
}

struct GenericHttp {
    http: HttpClient,
    headers: Headers,
}

impl WebhookReceiver for GenericHttp {
    fn verify(
        &self,
        request: &RawRequest,
        account: &VendorAccount,
        now: Timestamp,
    ) -> Result<(), VerifyError> {
        signature::verify(&account.signing_secrets, &request.headers, &request.body, now)
    }

    fn normalize(
        &self,
        request: &Verified<RawRequest>,
        channel: &Channel,
    ) -> Result<Vec<InboundEvent>, NormalizeError> {
        let message = NewMessage::parse_for(channel.id, &request.get().body)
            .map_err(|fields| NormalizeError { fields })?;
        Ok(vec![InboundEvent::Message(message.into_message())])
    }
}

#[async_trait]
impl MessageSender for GenericHttp {
    /// `webhook-id` is the delivery's id on every attempt, and Standard Webhooks oblige receivers to drop repeats of
    /// it. So after a timeout it is right to send again; holding the reply would only lose it.
    fn resend(&self, _: &Value) -> Resend {
        Resend::ByOurId
    }

    /// Its owner knows better, and may set less on the channel.
    fn max_text_chars(&self) -> usize {
        65_536
    }

    async fn check_target(&self, url: &str) -> Result<(), (Reason, String)> {
        self.http.check_target(url).await
    }

    async fn send(&self, account: &VendorAccount, message: &OutboundMessage) -> Result<Receipt, VendorError> {
        let body = Bytes::from(
            serde_json::to_vec(&Body {
                message_id: message.message.to_string(),
                role: message.role.as_str(),
                text: &message.text,
                parts: &message.parts,
            })
            .expect("strings can be written as JSON"),
        );
        let headers = self.headers(account, message, &body).map_err(|cause| unusable(&cause))?;
        let call = Call {
            vendor: channel::GENERIC_HTTP,
            operation: SEND,
            method: Method::POST,
            url: &account.url,
            headers,
            body,
            now: message.now,
        };
        let response = self.http.post(call).await?;
        Ok(Receipt {
            http_status: Some(response.status.as_u16()),
            excerpt: excerpt(&response.body),
            vendor_message_id: None,
        })
    }
}

impl GenericHttp {
    fn headers(
        &self,
        account: &VendorAccount,
        message: &OutboundMessage,
        body: &[u8],
    ) -> Result<HeaderMap, Unusable> {
        let mut headers = HeaderMap::with_capacity(5);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let mut token = HeaderValue::try_from(format!("Bearer {}", account.token.expose_secret()))?;
        token.set_sensitive(true);
        headers.insert(self.headers.outbound_token.clone(), token);
        let id = message.delivery.to_string();
        headers.extend(signature::headers(&account.signing_secrets, &id, message.now, body)?);
        Ok(headers)
    }
}

const SEND: &str = "send";

/// What we post.
#[derive(Serialize)]
struct Body<'a> {
    message_id: String,
    role: &'static str,
    text: &'a str,
    #[serde(skip_serializing_if = "<[Part]>::is_empty")]
    parts: &'a [Part],
}

/// Credentials that no call can be made with. They are ours, so this is a mistake in what was stored.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("the channel's token can't stand in a header; rotate it")]
    Token(#[from] InvalidHeaderValue),
    #[error("{0}; rotate it")]
    Secret(#[from] signature::BadSecret),
}

fn unusable(cause: &Unusable) -> VendorError {
    VendorError {
        vendor: channel::GENERIC_HTTP,
        operation: SEND,
        kind: FailureKind::Other,
        http_status: None,
        detail: cause.to_string(),
        excerpt: None,
        applied: Applied::No,
        retry: Retry::Never,
    }
}

#[cfg(test)]
mod tests {
    use domain::{DeliveryId, MessageId, dialogue::Role};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn stored_credentials_that_cannot_be_used_are_named_without_being_shown() {
        let endpoint = GenericHttp {
            http: HttpClient::new(crate::http::Settings::default()),
            headers: Headers::default(),
        };
        let message = OutboundMessage {
            delivery: DeliveryId(Uuid::from_u128(1)),
            message: MessageId(Uuid::from_u128(2)),
            chat: String::new(),
            role: Role::Assistant,
            text: "Hi".into(),
            parts: Vec::new(),
            template: None,
            answers: serde_json::Map::new(),
            now: Timestamp::UNIX_EPOCH,
        };
        for (token, secret, detail) in [
            ("a\nb", "whsec_AAAA", "the channel's token can't stand in a header; rotate it"),
            ("token", "whsec_!", "a signing secret is not `whsec_` and base64; rotate it"),
        ] {
            let account = VendorAccount {
                url: "https://example.com".into(),
                token: token.into(),
                signing_secrets: vec![secret.into()],
                ..VendorAccount::default()
            };
            let error = unusable(&endpoint.headers(&account, &message, b"").unwrap_err());
            assert_eq!((error.detail.as_str(), error.retry), (detail, Retry::Never));
        }
    }
}
