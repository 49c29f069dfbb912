//! The client: where the server is, who calls, how long a call may take, and when it is tried again.

use std::fmt;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::TryFutureExt as _;
use futures::future::MapErr;
use http::Uri;
use http::header::{AUTHORIZATION, HeaderValue};
use tonic::body::Body;
use tonic::codec::CompressionEncoding;
use tonic::codegen::Service;
use tonic::transport::channel::ResponseFuture;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Status, TimeoutExpired};

use crate::Error;
use crate::v1::agents_service_client::AgentsServiceClient;
use crate::v1::channels_service_client::ChannelsServiceClient;
use crate::v1::crm_service_client::CrmServiceClient;
use crate::v1::dialogues_service_client::DialoguesServiceClient;
use crate::v1::events_service_client::EventsServiceClient;
use crate::v1::integrations_service_client::IntegrationsServiceClient;
use crate::v1::sources_service_client::SourcesServiceClient;
use crate::v1::webhooks_service_client::WebhooksServiceClient;
use crate::v1::workspaces_service_client::WorkspacesServiceClient;

/// How long a unary call may take unless the builder or the request says otherwise.
const DEADLINE: Duration = Duration::from_secs(30);
/// A page of a thousand messages of the longest kind (64 KiB) must fit; gRPC's own limit is 4 MiB.
const MAX_ANSWER_BYTES: usize = 80 << 20;
/// Methods that stream. They have no deadline: they live as long as both sides like.
const STREAMING: &[&str] =
    &["/switchboard.v1.AgentsService/ReplayDialogues", "/switchboard.v1.EventsService/Watch"];

/// A connection to Switchboard with a key.
///
/// It is cheap to clone, and all clones share one HTTP/2 connection, which is made again when it breaks. Each accessor
/// gives the generated client of one service; `client.agents().get_agent(request).await` is a call.
#[derive(Debug, Clone)]
pub struct Client {
    transport: Transport,
}

impl Client {
    /// Begins a client for the gRPC endpoint `http://host:port` or `https://host:port`.
    pub fn builder(endpoint: impl Into<String>) -> Builder {
        Builder {
            endpoint: endpoint.into(),
            api_key: None,
            ca_certificate: None,
            deadline: Some(DEADLINE),
            connect_timeout: Duration::from_secs(10),
        }
    }

    /// Connects with a key and every default.
    ///
    /// # Errors
    ///
    /// As [`Builder::connect`].
    pub async fn connect(
        endpoint: impl Into<String>,
        api_key: impl Into<String>,
    ) -> Result<Self, ConnectError> {
        Self::builder(endpoint).api_key(api_key).connect().await
    }

    /// Agents: who answers.
    pub fn agents(&self) -> AgentsServiceClient<Transport> {
        AgentsServiceClient::new(self.transport.clone())
            .accept_compressed(CompressionEncoding::Gzip)
            .max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// Channels: the routes that messages travel.
    pub fn channels(&self) -> ChannelsServiceClient<Transport> {
        ChannelsServiceClient::new(self.transport.clone())
            .accept_compressed(CompressionEncoding::Gzip)
            .max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// Dialogues, their messages, turns and deliveries.
    pub fn dialogues(&self) -> DialoguesServiceClient<Transport> {
        DialoguesServiceClient::new(self.transport.clone())
            .accept_compressed(CompressionEncoding::Gzip)
            .max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// Inbound webhooks: what the outside world tells Switchboard.
    pub fn webhooks(&self) -> WebhooksServiceClient<Transport> {
        WebhooksServiceClient::new(self.transport.clone())
            .accept_compressed(CompressionEncoding::Gzip)
            .max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// Events: the workspace's log of recorded facts.
    pub fn events(&self) -> EventsServiceClient<Transport> {
        EventsServiceClient::new(self.transport.clone())
            .accept_compressed(CompressionEncoding::Gzip)
            .max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// The workspace's connections to vendors.
    pub fn integrations(&self) -> IntegrationsServiceClient<Transport> {
        IntegrationsServiceClient::new(self.transport.clone())
            .accept_compressed(CompressionEncoding::Gzip)
            .max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// What the workspace's CRM keeps of customers and deals.
    pub fn crm(&self) -> CrmServiceClient<Transport> {
        CrmServiceClient::new(self.transport.clone())
            .accept_compressed(CompressionEncoding::Gzip)
            .max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// Sources: where a CRM's chats come from.
    pub fn sources(&self) -> SourcesServiceClient<Transport> {
        SourcesServiceClient::new(self.transport.clone())
            .accept_compressed(CompressionEncoding::Gzip)
            .max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// Workspaces and their API keys.
    pub fn workspaces(&self) -> WorkspacesServiceClient<Transport> {
        WorkspacesServiceClient::new(self.transport.clone())
            .accept_compressed(CompressionEncoding::Gzip)
            .max_decoding_message_size(MAX_ANSWER_BYTES)
    }
}

/// What a client is made from.
#[derive(Clone)]
pub struct Builder {
    endpoint: String,
    api_key: Option<String>,
    ca_certificate: Option<Vec<u8>>,
    deadline: Option<Duration>,
    connect_timeout: Duration,
}

impl Builder {
    /// The key that calls carry as `authorization: Bearer …`. Without one only health and reflection answer.
    #[must_use]
    pub fn api_key(mut self, api_key: impl Into<String>) -> Self {
        self.api_key = Some(api_key.into());
        self
    }

    /// How long a unary call may take, 30 s by default; `None`: for ever. A request's own
    /// [`set_timeout`](tonic::Request::set_timeout) goes before it, and streams have none.
    #[must_use]
    pub fn deadline(mut self, deadline: impl Into<Option<Duration>>) -> Self {
        self.deadline = deadline.into();
        self
    }

    /// How long making a connection may take, 10 s by default.
    #[must_use]
    pub fn connect_timeout(mut self, connect_timeout: Duration) -> Self {
        self.connect_timeout = connect_timeout;
        self
    }

    /// A certificate authority in PEM that is trusted beside those of the system, for an `https` endpoint with a
    /// certificate of one's own.
    #[must_use]
    pub fn ca_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.ca_certificate = Some(pem.into());
        self
    }

    /// Makes the client and its connection.
    ///
    /// # Errors
    ///
    /// When the endpoint is not an `http` or `https` URL, the key can't be a header, or the server can't be reached.
    pub async fn connect(self) -> Result<Client, ConnectError> {
        let authorization = self.authorization()?;
        let channel = self
            .endpoint()?
            .connect()
            .await
            .map_err(|source| ConnectError::Unreachable { endpoint: self.endpoint.clone(), source })?;
        Ok(Client { transport: Transport { channel, authorization, deadline: self.deadline } })
    }

    /// Makes the client; its first call makes the connection. It must be called inside a Tokio runtime.
    ///
    /// # Errors
    ///
    /// When the endpoint is not an `http` or `https` URL or the key can't be a header.
    pub fn connect_lazy(self) -> Result<Client, ConnectError> {
        let authorization = self.authorization()?;
        let channel = self.endpoint()?.connect_lazy();
        Ok(Client { transport: Transport { channel, authorization, deadline: self.deadline } })
    }

    fn authorization(&self) -> Result<Option<HeaderValue>, ConnectError> {
        let Some(api_key) = &self.api_key else { return Ok(None) };
        let api_key = api_key.trim();
        // A space or a line break inside means that something else than the key was pasted.
        if api_key.is_empty() || !api_key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ConnectError::ApiKey);
        }
        let mut value =
            HeaderValue::try_from(format!("Bearer {api_key}")).map_err(|_| ConnectError::ApiKey)?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    fn endpoint(&self) -> Result<Endpoint, ConnectError> {
        let invalid = || ConnectError::Endpoint { endpoint: self.endpoint.clone() };
        let uri = self.endpoint.parse::<Uri>().map_err(|_| invalid())?;
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(invalid()),
        };
        let mut endpoint = Endpoint::from(uri);
        if secure {
            let mut tls = ClientTlsConfig::new().with_native_roots();
            if let Some(pem) = &self.ca_certificate {
                tls = tls.ca_certificate(Certificate::from_pem(pem));
            }
            endpoint = endpoint.tls_config(tls).map_err(ConnectError::Tls)?;
        }
        endpoint
            .user_agent(concat!("switchboard-rust/", env!("CARGO_PKG_VERSION")))
            .map(|endpoint| {
                endpoint
                    .connect_timeout(self.connect_timeout)
                    // Without it small messages wait for delayed acknowledgements, some 40 ms each.
                    .tcp_nodelay(true)
                    .tcp_keepalive(Some(Duration::from_mins(1)))
                    // A watch notices within these two that its server or the way to it is gone.
                    .http2_keep_alive_interval(Duration::from_secs(30))
                    .keep_alive_timeout(Duration::from_secs(10))
            })
            .map_err(|_| invalid())
    }
}

/// Leaves the key out.
impl fmt::Debug for Builder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Builder")
            .field("endpoint", &self.endpoint)
            .field("deadline", &self.deadline)
            .field("connect_timeout", &self.connect_timeout)
            .finish_non_exhaustive()
    }
}

/// Why no client was made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The endpoint is not a URL that can be called.
    #[error("{endpoint} is not an endpoint; use http://host:port or https://host:port")]
    Endpoint {
        /// As given.
        endpoint: String,
    },
    /// The key is empty, or holds characters that no key has.
    #[error("the API key is empty or holds characters that no key has; copy it again")]
    ApiKey,
    /// The certificates could not be used.
    #[error("the certificates could not be used")]
    Tls(#[source] tonic::transport::Error),
    /// Nobody answers at the endpoint.
    #[error("{endpoint} can't be reached")]
    Unreachable {
        /// As given.
        endpoint: String,
        /// What the connection said.
        source: tonic::transport::Error,
    },
}

/// What the generated clients call through: the connection, with key and deadline added to every call.
#[derive(Clone)]
pub struct Transport {
    channel: Channel,
    authorization: Option<HeaderValue>,
    deadline: Option<Duration>,
}

impl Service<http::Request<Body>> for Transport {
    type Response = http::Response<Body>;
    type Error = Status;
    type Future = MapErr<ResponseFuture, fn(tonic::transport::Error) -> Status>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Service::poll_ready(&mut self.channel, context).map_err(status)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        if let Some(authorization) = &self.authorization {
            request.headers_mut().entry(AUTHORIZATION).or_insert_with(|| authorization.clone());
        }
        if let Some(deadline) = self.deadline
            && !STREAMING.contains(&request.uri().path())
        {
            request.headers_mut().entry("grpc-timeout").or_insert_with(|| grpc_timeout(deadline));
        }
        self.channel.call(request).map_err(status)
    }
}

/// What a broken call says. tonic tells a deadline that passed here as `CANCELLED`; the contract of gRPC is
/// `DEADLINE_EXCEEDED`, which is also what the server says when it notices first.
fn status(error: tonic::transport::Error) -> Status {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(each) = cause {
        if each.is::<TimeoutExpired>() {
            return Status::deadline_exceeded("the deadline passed before the answer came");
        }
        cause = each.source();
    }
    Status::from_error(Box::new(error))
}

/// Leaves the key out.
impl fmt::Debug for Transport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Transport").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

/// The header `grpc-timeout`: at most eight digits and a unit, so long deadlines are told less exactly.
fn grpc_timeout(deadline: Duration) -> HeaderValue {
    const MOST: u128 = 99_999_999;
    let text = if deadline.as_millis() <= MOST {
        format!("{}m", deadline.as_millis())
    } else {
        format!("{}S", u128::from(deadline.as_secs()).min(MOST))
    };
    HeaderValue::try_from(text).expect("digits and a letter are a header's value")
}

/// Makes a call, and makes it again while the server asks for patience: see [`Retries`] for the defaults.
///
/// The closure is called once per try. Use it where a repeat is harmless: reads, and creations and sends whose
/// `request_id` or `message_id` is made *outside* the closure.
///
/// # Errors
///
/// The error of the last try.
///
/// ```no_run
/// # async fn example(client: switchboard_sdk::Client) -> Result<(), switchboard_sdk::Error> {
/// use switchboard_sdk::{retrying, v1::GetAgentRequest};
///
/// let request = GetAgentRequest { id: "0198c0de-0000-7000-8000-000000000003".to_owned() };
/// let agent = retrying(|| {
///     let (mut agents, request) = (client.agents(), request.clone());
///     async move { agents.get_agent(request).await }
/// })
/// .await?
/// .into_inner()
/// .agent;
/// # Ok(())
/// # }
/// ```
pub async fn retrying<T, Call, Answer>(call: Call) -> Result<T, Error>
where
    Call: FnMut() -> Answer,
    Answer: Future<Output = Result<T, Status>>,
{
    Retries::default().run(call).await
}

/// How often and how soon a call is tried again.
///
/// A call that ends with `UNAVAILABLE` is tried again, and so is one with any code whose error carries a `RetryInfo`.
/// The server's advice is the shortest wait; without advice it begins at `first_wait` and doubles, a random part of it
/// being left out so that many clients don't come back at once.
#[derive(Debug, Clone, Copy)]
pub struct Retries {
    /// How many tries in all, 5 by default; 0 counts as 1.
    pub tries: u32,
    /// The wait before the second try, 100 ms by default.
    pub first_wait: Duration,
    /// The longest wait, 10 s by default. Advice to wait longer ends the tries: the caller knows better what to do then.
    pub longest_wait: Duration,
}

impl Default for Retries {
    fn default() -> Self {
        Self { tries: 5, first_wait: Duration::from_millis(100), longest_wait: Duration::from_secs(10) }
    }
}

impl Retries {
    /// Makes a call with these tries: see [`retrying`].
    ///
    /// # Errors
    ///
    /// The error of the last try.
    pub async fn run<T, Call, Answer>(&self, mut call: Call) -> Result<T, Error>
    where
        Call: FnMut() -> Answer,
        Answer: Future<Output = Result<T, Status>>,
    {
        let mut tried = 0;
        loop {
            let error = match call().await {
                Ok(answer) => return Ok(answer),
                Err(status) => Error::from(status),
            };
            tried += 1;
            match self.wait(tried, &error, rand::random()) {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return Err(error),
            }
        }
    }

    /// How long to wait after a number of tries and the error of the last; `None`: give up. `chance` is in [0, 1).
    fn wait(&self, tried: u32, error: &Error, chance: f64) -> Option<Duration> {
        if tried >= self.tries {
            return None;
        }
        let doubled =
            self.first_wait.saturating_mul(1 << tried.saturating_sub(1).min(16)).min(self.longest_wait);
        match error.retry_after() {
            Some(advice) if advice > self.longest_wait => None,
            Some(advice) => Some(advice + self.first_wait.mul_f64(chance)),
            None if error.code() == Code::Unavailable => Some(doubled.mul_f64(1.0 - chance / 2.0)),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use prost::Message as _;
    use tonic_types::{ErrorDetails, StatusExt as _};

    use super::*;

    #[test]
    fn every_streaming_method_is_known() {
        let set = prost_types::FileDescriptorSet::decode(crate::FILE_DESCRIPTOR_SET).unwrap();
        let mut streaming = Vec::new();
        for file in &set.file {
            for service in &file.service {
                for method in &service.method {
                    if method.server_streaming() || method.client_streaming() {
                        streaming.push(format!("/{}.{}/{}", file.package(), service.name(), method.name()));
                    }
                }
            }
        }
        assert_eq!(streaming, STREAMING);
    }

    #[test]
    fn a_deadline_fits_its_header() {
        assert_eq!(grpc_timeout(Duration::from_millis(1_500)), "1500m");
        assert_eq!(grpc_timeout(Duration::from_secs(200_000)), "200000S");
        assert_eq!(grpc_timeout(Duration::MAX), "99999999S");
    }

    #[test]
    fn what_can_not_work_is_refused_at_once() {
        for endpoint in ["", "localhost:50051", "unix:/tmp/x", "ftp://example.com", "http://"] {
            let error = Client::builder(endpoint).endpoint().unwrap_err();
            assert!(matches!(error, ConnectError::Endpoint { .. }), "{endpoint}: {error}");
        }
        for key in ["", "  ", "two words", "line\nbreak", "ключ"] {
            let error = Client::builder("http://[::1]:1").api_key(key).authorization().unwrap_err();
            assert!(matches!(error, ConnectError::ApiKey), "{key}");
        }
        assert!(Client::builder("https://example.com").endpoint().is_ok());
    }

    #[test]
    fn the_key_is_not_shown() {
        let builder = Client::builder("http://[::1]:1").api_key("swb_secret\n");
        assert_eq!(builder.authorization().unwrap().unwrap(), "Bearer swb_secret");
        assert!(!format!("{builder:?}").contains("swb_secret"));
    }

    #[test]
    fn waits_follow_the_advice() {
        let retries = Retries::default();
        let unavailable = Error::from(Status::unavailable("stopping"));
        assert_eq!(retries.wait(1, &unavailable, 0.0), Some(Duration::from_millis(100)));
        assert_eq!(retries.wait(4, &unavailable, 0.0), Some(Duration::from_millis(800)));
        assert_eq!(retries.wait(4, &unavailable, 0.5), Some(Duration::from_millis(600)));
        assert_eq!(retries.wait(5, &unavailable, 0.0), None);

        let advised = |code, seconds| {
            let details = ErrorDetails::with_retry_info(Some(Duration::from_secs(seconds)));
            Error::from(Status::with_error_details(code, "busy", details))
        };
        assert_eq!(
            retries.wait(1, &advised(Code::ResourceExhausted, 2), 0.0),
            Some(Duration::from_secs(2)),
            "advice counts whatever the code"
        );
        assert_eq!(retries.wait(1, &advised(Code::Unavailable, 60), 0.0), None, "too long to wait for");
        assert_eq!(retries.wait(1, &Error::from(Status::internal("bug")), 0.0), None);
    }

    #[tokio::test]
    async fn tries_end_with_the_last_error() {
        let soon = Retries { first_wait: Duration::from_millis(1), ..Retries::default() };
        let tries = Cell::new(0);
        let call = || {
            tries.set(tries.get() + 1);
            let answer = if tries.get() < 8 { Err(Status::unavailable("stopping")) } else { Ok(7) };
            async { answer }
        };
        let error = soon.run(call).await.unwrap_err();
        assert_eq!((tries.get(), error.code()), (5, Code::Unavailable));
        assert_eq!((soon.run(call).await.unwrap(), tries.get()), (7, 8));
    }
}
