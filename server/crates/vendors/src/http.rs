//! The only HTTP client. Every call to a vendor, or to an address that a workspace gave, goes through it.
//!
//! It bounds time and size, follows no redirect, asks no proxy, calls no private address that the operator has not
//! allowed, and turns what went wrong into advice: whether trying again can help, and whether the call may have had its
//! effect. It never retries by itself.

mod addresses;
mod opened;
mod retry_after;

use std::{error::Error, fmt, sync::Arc, time::Duration};

use addresses::{CheckedResolver, Forbidden, ResolveError};
use bytes::{Bytes, BytesMut};
use domain::{
    Reason, Timestamp,
    vendor::{Applied, FailureKind, Retry, VendorError},
};
use http::{HeaderMap, Method, StatusCode};
use tokio::time::{Instant, timeout, timeout_at};
use url::{Host, Url};

pub use self::addresses::{AllowList, AllowListError};
pub(crate) use self::opened::{Opened, Patience};

/// The longest URL, in characters; a parsed URL is ASCII, but what people type need not be.
const MAX_URL_CHARS: usize = 2_048;
/// The longest beginning of an answer that is kept, in characters.
const MAX_EXCERPT_CHARS: usize = 1_024;
/// How long a name may take to resolve while somebody waits for a channel to be saved.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);
/// How long an idle connection is kept. Node's servers close theirs after 5 s; by giving up first we hardly ever write
/// into a connection that is just being closed, which would leave us not knowing whether the call had its effect.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// What an operator can set.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long a connection may take, name lookup and TLS included. At most half of `timeout` is used: only then is
    /// it known for every failed connection that nothing was sent.
    pub connect_timeout: Duration,
    /// How long a call may take, all in all.
    pub timeout: Duration,
    /// How long the body of an answer may take once its head has come.
    pub body_timeout: Duration,
    /// How much of an answer's body is read, in bytes; the rest is left.
    pub max_response_bytes: usize,
    /// Which private addresses may be called.
    pub allow: AllowList,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(4),
            timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(2),
            max_response_bytes: 64 * 1024,
            allow: AllowList::None,
        }
    }
}

/// The client. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct HttpClient {
    client: reqwest::Client,
    allow: Arc<AllowList>,
    timeout: Duration,
    body_timeout: Duration,
    max_response_bytes: usize,
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").field("allow", &self.allow).finish_non_exhaustive()
    }
}

/// One call.
pub(crate) struct Call<'a> {
    /// The vendor's id, for the error.
    pub(crate) vendor: &'static str,
    /// What is tried, for the error.
    pub(crate) operation: &'static str,
    /// How.
    pub(crate) method: Method,
    /// Where to.
    pub(crate) url: &'a str,
    /// The headers, secrets marked as sensitive.
    pub(crate) headers: HeaderMap,
    /// The body.
    pub(crate) body: Bytes,
    /// The present moment, against which a date in `Retry-After` is read.
    pub(crate) now: Timestamp,
}

impl Call<'_> {
    /// Makes an error of this call.
    pub(crate) fn fail(
        &self,
        kind: FailureKind,
        detail: String,
        applied: Applied,
        retry: Retry,
    ) -> VendorError {
        VendorError {
            vendor: self.vendor,
            operation: self.operation,
            kind,
            http_status: None,
            detail,
            excerpt: None,
            applied,
            retry,
        }
    }

    fn bad_url(&self, wrong: &str) -> VendorError {
        self.fail(FailureKind::Other, format!("the URL {wrong}"), Applied::No, Retry::Never)
    }

    fn broken(&self, host: &str, error: &reqwest::Error) -> VendorError {
        if let Some(forbidden) = cause::<Forbidden>(error) {
            self.fail(FailureKind::Other, forbidden.to_string(), Applied::No, Retry::Never)
        } else if error.is_builder() {
            let detail = "the request can't be written as HTTP".to_owned();
            self.fail(FailureKind::Other, detail, Applied::No, Retry::Never)
        } else if error.is_connect() {
            let detail = format!("no connection to {host}: {}", root(error));
            self.fail(FailureKind::Unavailable, detail, Applied::No, Retry::Backoff)
        } else {
            let detail = format!("{host} gave no whole answer: {}", root(error));
            self.fail(FailureKind::Unavailable, detail, Applied::Maybe, Retry::Backoff)
        }
    }

    fn late(&self, host: &str, patience: Duration) -> VendorError {
        let detail = format!("{host} did not answer within {} seconds", patience.as_secs_f64());
        self.fail(FailureKind::Unavailable, detail, Applied::Maybe, Retry::Backoff)
    }

    /// What a status says that is not 2xx, for vendors of whom nothing better is known.
    fn refused(&self, host: &str, status: StatusCode, advice: Retry, body: &[u8]) -> VendorError {
        let (kind, applied, retry) = match status {
            StatusCode::TOO_MANY_REQUESTS => (FailureKind::RateLimited, Applied::No, advice),
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY => {
                (FailureKind::Unavailable, Applied::No, advice)
            }
            // A gateway says 502 to 504, and a server 500, also when the call got through and something broke later.
            _ if status.is_server_error() => (FailureKind::Unavailable, Applied::Maybe, advice),
            StatusCode::UNAUTHORIZED => (FailureKind::Unauthorized, Applied::No, Retry::Never),
            StatusCode::FORBIDDEN => (FailureKind::Forbidden, Applied::No, Retry::Never),
            StatusCode::PAYMENT_REQUIRED => (FailureKind::OutOfQuota, Applied::No, Retry::Never),
            StatusCode::NOT_FOUND => (FailureKind::NotFound, Applied::No, Retry::Never),
            _ => (FailureKind::Other, Applied::No, Retry::Never),
        };
        VendorError {
            http_status: Some(status.as_u16()),
            excerpt: excerpt(body),
            ..self.fail(kind, format!("{host} answered {status}"), applied, retry)
        }
    }
}

/// The answer to a call that succeeded.
pub(crate) struct Response {
    /// Its status, 2xx.
    pub(crate) status: StatusCode,
    /// Its body, as much of it as came within the bounds.
    pub(crate) body: Bytes,
}

impl HttpClient {
    /// Makes a client, with connections of its own.
    pub fn new(settings: Settings) -> Self {
        let allow = Arc::new(settings.allow);
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls())
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .retry(reqwest::retry::never())
            .referer(false)
            .user_agent(concat!("switchboard/", env!("CARGO_PKG_VERSION")))
            .tcp_nodelay(true)
            .connect_timeout(settings.connect_timeout.min(settings.timeout / 2))
            .pool_idle_timeout(IDLE_TIMEOUT)
            .dns_resolver(CheckedResolver(Arc::clone(&allow)))
            .build()
            .expect("these settings depend on nothing outside");
        Self {
            client,
            allow,
            timeout: settings.timeout,
            body_timeout: settings.body_timeout,
            max_response_bytes: settings.max_response_bytes,
        }
    }

    /// Checks an address before it is saved. A name that does not resolve now passes: it may tomorrow, and each call is
    /// checked again. The error's text follows the field's name.
    pub(crate) async fn check_target(&self, url: &str) -> Result<(), (Reason, String)> {
        let url = self.target(url)?;
        if let Some(Host::Domain(name)) = url.host()
            && let Ok(Err(ResolveError::Forbidden(forbidden))) =
                timeout(CHECK_TIMEOUT, self.allow.resolve(name)).await
        {
            return Err((Reason::TargetForbidden, forbidden.to_string()));
        }
        Ok(())
    }

    /// Posts. A 2xx is success as soon as its head has come: the receiver has taken the call, whatever its body does.
    pub(crate) async fn post(&self, call: Call<'_>) -> Result<Response, VendorError> {
        let begun = Instant::now();
        let result = self.post_until(&call, begun + self.timeout).await;
        tracing::debug!(
            vendor = call.vendor,
            operation = call.operation,
            http.status =
                result.as_ref().map_or_else(|error| error.http_status, |it| Some(it.status.as_u16())),
            elapsed_ms = begun.elapsed().as_secs_f64() * 1e3,
            "called"
        );
        result
    }

    async fn post_until(&self, call: &Call<'_>, deadline: Instant) -> Result<Response, VendorError> {
        let url = self.target(call.url).map_err(|(_, wrong)| call.bad_url(&wrong))?;
        let host = host_of(&url);
        let request = self.client.request(call.method.clone(), url);
        let request = request.headers(call.headers.clone()).body(call.body.clone());
        let response = match timeout_at(deadline, request.send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(call.broken(&host, &error)),
            Err(_) => return Err(call.late(&host, self.timeout)),
        };
        let status = response.status();
        let advice = retry_after::advice(response.headers(), call.now);
        let body = self.read_body(response, deadline).await;
        if status.is_success() {
            return Ok(Response { status, body });
        }
        Err(call.refused(&host, status, advice, &body))
    }

    /// Calls, and gives the answer as soon as its head has come, whatever its status: for answers that are read as they are
    /// written, and for vendors whose refusals are read by their own rules.
    pub(crate) async fn open(&self, call: &Call<'_>, patience: Patience) -> Result<Opened, VendorError> {
        let begun = Instant::now();
        let url = self.target(call.url).map_err(|(_, wrong)| call.bad_url(&wrong))?;
        let host = host_of(&url);
        let request = self.client.request(call.method.clone(), url);
        let request = request.headers(call.headers.clone()).body(call.body.clone());
        let result = match timeout_at(begun + patience.head.min(patience.whole), request.send()).await {
            Ok(Ok(response)) => Ok(Opened::new(call, host, response, patience, begun + patience.whole)),
            Ok(Err(error)) => Err(call.broken(&host, &error)),
            Err(_) => Err(call.late(&host, patience.head.min(patience.whole))),
        };
        tracing::debug!(
            vendor = call.vendor,
            operation = call.operation,
            http.status = result.as_ref().ok().map(|opened| opened.status.as_u16()),
            elapsed_ms = begun.elapsed().as_secs_f64() * 1e3,
            "opened"
        );
        result
    }

    /// Reads a URL and checks all of it that can be checked without asking anybody.
    fn target(&self, text: &str) -> Result<Url, (Reason, String)> {
        let url = parse_target(text).map_err(|wrong| (Reason::FieldInvalid, wrong))?;
        let literal = match url.host() {
            Some(Host::Ipv4(address)) => Some(address.into()),
            Some(Host::Ipv6(address)) => Some(address.into()),
            _ => None,
        };
        match literal {
            Some(address) if !self.allow.permits(address) => {
                Err((Reason::TargetForbidden, Forbidden { name: None, address }.to_string()))
            }
            _ => Ok(url),
        }
    }

    /// Reads the body within the bounds of size and time. What comes to grief on the way ends it early: it decides
    /// nothing, the status has. A body that was not read to its end costs the connection.
    async fn read_body(&self, mut response: reqwest::Response, deadline: Instant) -> Bytes {
        let mut body = BytesMut::new();
        let deadline = deadline.min(Instant::now() + self.body_timeout);
        while let Ok(Ok(Some(chunk))) = timeout_at(deadline, response.chunk()).await {
            let room = self.max_response_bytes - body.len();
            if chunk.len() > room {
                body.extend_from_slice(&chunk[..room]);
                break;
            }
            body.extend_from_slice(&chunk);
        }
        body.freeze()
    }
}

fn host_of(url: &Url) -> String {
    format!("{}:{}", url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default())
}

/// Reads a target's URL. The error's text follows the field's name.
fn parse_target(text: &str) -> Result<Url, String> {
    if text.chars().count() > MAX_URL_CHARS {
        return Err(format!("must have at most {MAX_URL_CHARS} characters"));
    }
    // The parser would drop these silently, and what is saved would not be what is called.
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err("must not contain spaces or control characters".into());
    }
    let Ok(url) = Url::parse(text) else {
        return Err("must be an absolute URL, such as https://example.com/messages".into());
    };
    if !matches!(url.scheme(), "http" | "https") {
        return Err("must begin with http:// or https://".into());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not contain a user name or password".into());
    }
    if url.port() == Some(0) {
        return Err("must not name port 0".into());
    }
    Ok(url)
}

/// The beginning of an answer, fit for storing. `None`: there is none.
pub(crate) fn excerpt(body: &[u8]) -> Option<String> {
    // No character takes more than four bytes, so decoding the rest would be work for nothing.
    let body = &body[..body.len().min(MAX_EXCERPT_CHARS * 4)];
    let text: String = String::from_utf8_lossy(body)
        .chars()
        .map(|c| if c == '\0' { char::REPLACEMENT_CHARACTER } else { c })
        .take(MAX_EXCERPT_CHARS)
        .collect();
    (!text.is_empty()).then_some(text)
}

/// TLS with ring, trusting what the machine trusts, so that an operator can add a private authority. A machine that
/// trusts nobody (a bare container) gets Mozilla's list instead of a client that can call nobody.
fn tls() -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring speaks the default versions")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// Finds a cause by its type.
fn cause<E: Error + 'static>(error: &reqwest::Error) -> Option<&E> {
    let mut next = error.source();
    while let Some(cause) = next {
        if let Some(found) = cause.downcast_ref() {
            return Some(found);
        }
        next = cause.source();
    }
    None
}

/// The first of the causes: the sentence that says something. The outer ones may carry the URL, which may be a secret.
fn root(error: &reqwest::Error) -> String {
    let Some(mut root) = error.source() else { return "unknown error".into() };
    while let Some(cause) = root.source() {
        root = cause;
    }
    root.to_string()
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    fn client(allow: AllowList) -> HttpClient {
        HttpClient::new(Settings { allow, body_timeout: Duration::from_millis(50), ..Settings::default() })
    }

    fn call(url: &str) -> Call<'_> {
        Call {
            vendor: "test",
            operation: "post",
            method: Method::POST,
            url,
            headers: HeaderMap::new(),
            body: Bytes::from_static(b"{}"),
            now: Timestamp::UNIX_EPOCH,
        }
    }

    /// Serves one fixed answer on every connection, and keeps the connection open after it.
    async fn serve(answer: Vec<u8>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                // An answer that is there before the request is a mistake to the client.
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(&answer).await;
                open.push(stream);
            }
        });
        url
    }

    #[tokio::test]
    async fn targets_are_checked_before_they_are_saved() {
        let client = client(AllowList::None);
        let long = format!("https://example.com/{}", "x".repeat(MAX_URL_CHARS));
        for (url, wrong) in [
            ("", "must be an absolute URL, such as https://example.com/messages"),
            ("example.com/x", "must be an absolute URL, such as https://example.com/messages"),
            ("/relative", "must be an absolute URL, such as https://example.com/messages"),
            ("ftp://example.com", "must begin with http:// or https://"),
            ("file:///etc/passwd", "must begin with http:// or https://"),
            ("https://user@example.com", "must not contain a user name or password"),
            ("https://:word@example.com", "must not contain a user name or password"),
            ("https://exa\nmple.com", "must not contain spaces or control characters"),
            (" https://example.com", "must not contain spaces or control characters"),
            ("http://example.com:0/", "must not name port 0"),
            (&long, "must have at most 2048 characters"),
        ] {
            assert_eq!(
                client.check_target(url).await,
                Err((Reason::FieldInvalid, wrong.to_owned())),
                "{url}"
            );
        }
        for (url, wrong) in [
            (
                "http://10.0.0.7/x",
                "10.0.0.7 is a private address; ask the operator to allow it, or use a public one",
            ),
            (
                "http://0x7f.1/",
                "127.0.0.1 is a private address; ask the operator to allow it, or use a public one",
            ),
            (
                "http://[::1]:80/",
                "::1 is a private address; ask the operator to allow it, or use a public one",
            ),
        ] {
            assert_eq!(
                client.check_target(url).await,
                Err((Reason::TargetForbidden, wrong.to_owned())),
                "{url}"
            );
        }
        let (_, wrong) = client.check_target("http://localhost:9/").await.unwrap_err();
        assert!(wrong.starts_with("localhost leads to ") && wrong.contains("ask the operator"), "{wrong}");
        assert_eq!(client.check_target("https://name.invalid/hook?x=1").await, Ok(()));
        assert_eq!(client.check_target("https://1.1.1.1/").await, Ok(()));
    }

    #[tokio::test]
    async fn an_allowed_private_target_passes() {
        let client = client("127.0.0.0/8".parse().unwrap());
        assert_eq!(client.check_target("http://127.0.0.1:8080/").await, Ok(()));
        assert!(client.check_target("http://10.0.0.1/").await.is_err());
    }

    #[tokio::test]
    async fn a_forbidden_target_is_not_called_by_number_nor_by_name() {
        let url = serve(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec()).await;
        let client = client(AllowList::None);
        for url in [url.clone(), url.replace("127.0.0.1", "localhost")] {
            let error = client.post(call(&url)).await.err().unwrap();
            assert_eq!((error.applied, error.retry), (Applied::No, Retry::Never));
            assert!(error.detail.contains("ask the operator to allow it"), "{}", error.detail);
        }
    }

    #[tokio::test]
    async fn no_redirect_is_followed() {
        let url =
            serve(b"HTTP/1.1 302 Found\r\nlocation: http://10.0.0.1/\r\ncontent-length: 0\r\n\r\n".to_vec())
                .await;
        let error = client(AllowList::All).post(call(&url)).await.err().unwrap();
        assert_eq!((error.http_status, error.applied, error.retry), (Some(302), Applied::No, Retry::Never));
    }

    #[tokio::test]
    async fn a_success_stands_whatever_its_body_does() {
        let mut huge = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n".to_vec();
        huge.extend(vec![b'x'; 1_000_000]);
        let client = client(AllowList::All);
        let response = client.post(call(&serve(huge).await)).await.unwrap();
        assert_eq!(response.body.len(), 64 * 1024);
        assert_eq!(excerpt(&response.body).unwrap().len(), 1_024);

        let hanging = b"HTTP/1.1 201 Created\r\ncontent-length: 100\r\n\r\nbegun".to_vec();
        let response = client.post(call(&serve(hanging).await)).await.unwrap();
        assert_eq!((response.status.as_u16(), &response.body[..]), (201, &b"begun"[..]));
    }

    #[tokio::test]
    async fn nobody_listening_means_not_applied() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/secret-path", listener.local_addr().unwrap());
        drop(listener);
        let error = client(AllowList::All).post(call(&url)).await.err().unwrap();
        assert_eq!((error.applied, error.retry), (Applied::No, Retry::Backoff));
        assert!(
            error.detail.contains("refused") && !error.detail.contains("secret-path"),
            "{}",
            error.detail
        );

        let error = client(AllowList::All).post(call("http://name.invalid/")).await.err().unwrap();
        assert_eq!((error.applied, error.retry), (Applied::No, Retry::Backoff), "{}", error.detail);
    }

    #[test]
    fn an_excerpt_can_be_stored() {
        assert_eq!(excerpt(b""), None);
        assert_eq!(excerpt(b"a\0b\xff"), Some("a\u{fffd}b\u{fffd}".into()));
        assert_eq!(excerpt("ü".repeat(5_000).as_bytes()).unwrap().chars().count(), 1_024);
    }
}
