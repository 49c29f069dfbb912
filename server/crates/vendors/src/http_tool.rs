//! Agents' own tools: calls of HTTP endpoints that a workspace named.

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use domain::{
    Reason,
    vendor::{Applied, FailureKind, Retry, ToolAnswer, ToolCaller, ToolRequest, VendorError},
};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method,
    header::{ACCEPT, CONTENT_TYPE},
};
use secrecy::ExposeSecret;
use serde_json::Value;
use url::Url;

use crate::http::{Call, HttpClient, Patience};

/// What errors call the other side.
const ENDPOINT: &str = "http_tool";
const CALL: &str = "call";

/// Calls agents' tools.
#[derive(Debug, Clone)]
pub struct HttpToolCaller {
    http: HttpClient,
}

impl HttpToolCaller {
    /// Makes one that calls through this client.
    pub fn new(http: HttpClient) -> Self {
        Self { http }
    }
}

#[async_trait]
impl ToolCaller for HttpToolCaller {
    async fn check_target(&self, url: &str) -> Result<(), (Reason, String)> {
        self.http.check_target(url).await
    }

    async fn call(&self, request: &ToolRequest) -> Result<ToolAnswer, VendorError> {
        let method =
            Method::try_from(request.method.as_str()).map_err(|_| unusable("the method is unknown"))?;
        let bodiless = matches!(method, Method::GET | Method::DELETE);
        let url = if bodiless { with_query(&request.url, &request.arguments)? } else { request.url.clone() };
        let body = if bodiless { Bytes::new() } else { Bytes::from(request.arguments.to_string()) };
        let call = Call {
            vendor: ENDPOINT,
            operation: CALL,
            method,
            url: &url,
            headers: headers(request, bodiless)?,
            body,
            now: request.now,
        };
        let patience = Patience {
            head: request.timeout,
            idle: request.timeout,
            whole: request.timeout,
            // One piece more shows that there is more.
            most_bytes: usize::MAX,
        };
        let mut opened = self.http.open(&call, patience).await?;
        let most = request.max_response_bytes;
        let mut read = BytesMut::new();
        // The endpoint has taken the call; an answer that breaks off is one that was cut.
        let cut = loop {
            match opened.chunk().await {
                Ok(Some(chunk)) => read.extend_from_slice(&chunk),
                Ok(None) => break false,
                Err(_) => break true,
            }
            if read.len() > most {
                break true;
            }
        };
        read.truncate(most);
        let body = String::from_utf8_lossy(&read).replace('\0', "\u{fffd}");
        Ok(ToolAnswer { http_status: opened.status.as_u16(), body, cut })
    }
}

fn headers(request: &ToolRequest, bodiless: bool) -> Result<HeaderMap, VendorError> {
    let mut headers = HeaderMap::with_capacity(request.headers.len() + 3);
    headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/plain;q=0.9, */*;q=0.1"));
    if !bodiless {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    for (name, value) in &request.headers {
        let name =
            HeaderName::try_from(name.as_str()).map_err(|_| unusable("a header has no usable name"))?;
        let mut value = HeaderValue::try_from(value.expose_secret())
            .map_err(|_| unusable(&format!("the value of the header {name} can't stand in a header")))?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    let key = HeaderValue::try_from(request.key.as_str()).map_err(|_| unusable("the key is unusable"))?;
    headers.insert("idempotency-key", key);
    Ok(headers)
}

/// Adds the arguments to what the URL asks already: texts as they are, everything else as JSON.
fn with_query(url: &str, arguments: &Value) -> Result<String, VendorError> {
    let mut url = Url::parse(url).map_err(|_| unusable("the URL can't be read"))?;
    if let Some(members) = arguments.as_object().filter(|members| !members.is_empty()) {
        let mut query = url.query_pairs_mut();
        for (name, value) in members {
            match value {
                Value::String(text) => query.append_pair(name, text),
                value => query.append_pair(name, &value.to_string()),
            };
        }
    }
    Ok(url.into())
}

fn unusable(detail: &str) -> VendorError {
    VendorError {
        vendor: ENDPOINT,
        operation: CALL,
        kind: FailureKind::Other,
        http_status: None,
        detail: detail.to_owned(),
        excerpt: None,
        applied: Applied::No,
        retry: Retry::Never,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn arguments_stand_in_the_query() {
        let with = |url, arguments: Value| with_query(url, &arguments).unwrap();
        assert_eq!(with("https://example.com/a", json!({})), "https://example.com/a");
        assert_eq!(
            with("https://example.com/a?x=1", json!({ "q": "a b&c", "n": 2, "l": [1] })),
            "https://example.com/a?x=1&l=%5B1%5D&n=2&q=a+b%26c"
        );
    }
}
