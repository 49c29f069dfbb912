//! Outbound webhooks: posts events to the workspaces' own endpoints, signed as Standard Webhooks ask.
//! <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>

use async_trait::async_trait;
use bytes::Bytes;
use domain::{
    Reason,
    vendor::{Applied, EventPoster, FailureKind, OutboundEvent, Receipt, Retry, VendorError},
};
use http::{HeaderMap, HeaderValue, Method, header::CONTENT_TYPE};

use crate::{
    http::{Call, HttpClient, excerpt},
    signature,
};

/// What errors call the other side.
const ENDPOINT: &str = "webhook_endpoint";
const POST: &str = "post";

/// Posts events.
#[derive(Debug, Clone)]
pub struct HttpEventPoster {
    http: HttpClient,
}

impl HttpEventPoster {
    /// Makes one that calls through this client.
    pub fn new(http: HttpClient) -> Self {
        Self { http }
    }
}

#[async_trait]
impl EventPoster for HttpEventPoster {
    async fn check_target(&self, url: &str) -> Result<(), (Reason, String)> {
        self.http.check_target(url).await
    }

    async fn post(&self, event: &OutboundEvent) -> Result<Receipt, VendorError> {
        let body = Bytes::from(event.body.clone());
        let signed =
            signature::headers(&event.secrets, &event.id.to_string(), event.now, &body).map_err(|bad| {
                VendorError {
                    vendor: ENDPOINT,
                    operation: POST,
                    kind: FailureKind::Other,
                    http_status: None,
                    detail: format!("{bad}; rotate it"),
                    excerpt: None,
                    applied: Applied::No,
                    retry: Retry::Backoff,
                }
            })?;
        let mut headers = HeaderMap::with_capacity(4);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.extend(signed);
        let call = Call {
            vendor: ENDPOINT,
            operation: POST,
            method: Method::POST,
            url: &event.url,
            headers,
            body,
            now: event.now,
        };
        match self.http.post(call).await {
            Ok(response) => Ok(Receipt {
                http_status: Some(response.status.as_u16()),
                excerpt: excerpt(&response.body),
                vendor_message_id: None,
            }),
            // Whatever went wrong may be mended by the owner of the endpoint: a 404 by a deployment, a private address by a
            // record in its DNS. The schedule says when to stop hoping.
            Err(error) => Err(VendorError {
                retry: match error.retry {
                    Retry::Never => Retry::Backoff,
                    advice => advice,
                },
                ..error
            }),
        }
    }
}
