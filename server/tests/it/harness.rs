//! What stories stand on: a private cluster that they share, a database and a server for each, a receiver that keeps what
//! it was sent.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, Weak,
        atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Bytes, extract::State, response::IntoResponse, routing::post};
use domain::vendor::Vendor;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, postgres::PgConnectOptions};
use switchboard_sdk::v1::{
    self, agents_service_client::AgentsServiceClient, channels_service_client::ChannelsServiceClient,
    crm_service_client::CrmServiceClient, dialogues_service_client::DialoguesServiceClient,
    events_service_client::EventsServiceClient, integrations_service_client::IntegrationsServiceClient,
    sources_service_client::SourcesServiceClient, webhooks_service_client::WebhooksServiceClient,
    workspaces_service_client::WorkspacesServiceClient,
};
use switchboard_server::{config::Config, start};
use tokio::net::{TcpListener, TcpSocket};
use tonic::{
    Request, Status,
    metadata::MetadataValue,
    service::{Interceptor, interceptor::InterceptedService},
    transport::Channel,
};

pub(crate) const KEYRING: &str = "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// A private cluster for as long as any story needs it.
pub(crate) struct Cluster {
    cluster: postgres::Cluster,
    _dir: Dir,
}

/// A directory that the database's user can pass through, removed in the end.
pub(crate) struct Dir(PathBuf);

impl Dir {
    pub(crate) fn new() -> Self {
        use std::os::unix::fs::DirBuilderExt as _;
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("sb-it-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(name);
        std::fs::DirBuilder::new().mode(0o711).create(&dir).unwrap();
        Self(dir)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

static SHARED: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Cluster {
    async fn shared() -> Arc<Self> {
        tokio::task::spawn_blocking(|| {
            let mut shared = lock(&SHARED);
            if let Some(cluster) = shared.upgrade() {
                return cluster;
            }
            let dir = Dir::new();
            let mut settings = postgres::Settings::new(dir.path().join("pg"));
            settings.options = vec![
                // Nothing here outlives its story; only the kill story needs durability, and brings its own cluster.
                ("fsync".to_owned(), "off".to_owned()),
                ("max_connections".to_owned(), "400".to_owned()),
            ];
            let cluster = Arc::new(Self { cluster: postgres::Cluster::start(settings).unwrap(), _dir: dir });
            let template = Arc::clone(&cluster);
            tokio::runtime::Handle::current().block_on(async move {
                store::ensure_database(template.options("postgres"), "template_it").await.unwrap();
                store::migrate(template.options("template_it")).await.unwrap();
            });
            *shared = Arc::downgrade(&cluster);
            cluster
        })
        .await
        .unwrap()
    }

    fn url(&self, database: &str) -> String {
        format!(
            "postgres://postgres@localhost:{}/{database}?host={}",
            self.cluster.port(),
            self.cluster.socket_dir().display()
        )
    }

    fn options(&self, database: &str) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .socket(self.cluster.socket_dir())
            .port(self.cluster.port())
            .username("postgres")
            .database(database)
    }
}

/// A server of its own database.
pub(crate) struct World {
    pub(crate) server: Option<start::Server>,
    pub(crate) key: String,
    pub(crate) operator: String,
    pub(crate) http: reqwest::Client,
    cluster: Arc<Cluster>,
    database: String,
    config: Config,
    clock: Arc<ShiftedClock>,
    further: Vec<Vendor>,
    _data: Dir,
}

/// The machine's clock, as far ahead as a story needs.
#[derive(Debug, Default)]
pub(crate) struct ShiftedClock(AtomicU64);

impl ShiftedClock {
    pub(crate) fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_secs(), Ordering::Relaxed);
    }
}

impl domain::Clock for ShiftedClock {
    fn now(&self) -> domain::Timestamp {
        domain::SystemClock.now() + Duration::from_secs(self.0.load(Ordering::Relaxed))
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(&[]).await
    }

    /// A server with these settings beside the usual ones.
    pub(crate) async fn with(settings: &[(&str, &str)]) -> Self {
        Self::with_vendors(settings, Vec::new()).await
    }

    /// A server with these settings, and these vendors beside the list's.
    pub(crate) async fn with_vendors(settings: &[(&str, &str)], further: Vec<Vendor>) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let cluster = Cluster::shared().await;
        let database = format!("it_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let mut admin = PgConnection::connect_with(&cluster.options("postgres")).await.unwrap();
        let mut tries = 0;
        // Two at a time can't copy one template.
        while let Err(error) =
            admin.execute(AssertSqlSafe(format!("create database {database} template template_it"))).await
        {
            tries += 1;
            assert!(tries < 200, "{error}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let data = Dir::new();
        let url = cluster.url(&database);
        let config = Config::read(|name| {
            if let Some((_, value)) = settings.iter().find(|(known, _)| *known == name) {
                return Some((*value).to_owned());
            }
            Some(match name {
                "DATABASE_URL" => url.clone(),
                "SWITCHBOARD_KEYRING" => KEYRING.to_owned(),
                "SWITCHBOARD_DATA_DIR" => data.path().display().to_string(),
                "SWITCHBOARD_HTTP_ADDR" | "SWITCHBOARD_GRPC_ADDR" => "127.0.0.1:0".to_owned(),
                "SWITCHBOARD_ALLOW_PRIVATE_TARGETS" => "all".to_owned(),
                "SWITCHBOARD_DATABASE_CONNECTIONS" => "16".to_owned(),
                "SWITCHBOARD_DELIVERY_PAUSES" => "100ms,100ms,100ms".to_owned(),
                "SWITCHBOARD_SANDBOX_PAUSES" => "100ms,".repeat(19) + "100ms",
                "SWITCHBOARD_RUN_PAUSES" => "50ms,50ms".to_owned(),
                "SWITCHBOARD_LOG" => "warn".to_owned(),
                _ => return None,
            })
        })
        .unwrap();
        let clock = Arc::new(ShiftedClock::default());
        let server = start::start_with(&config, clock.clone(), &further).await.unwrap();
        let credentials = std::fs::read_to_string(data.path().join("credentials")).unwrap();
        let credential = |name: &str| {
            credentials.lines().find_map(|line| line.strip_prefix(&format!("{name}="))).unwrap().to_owned()
        };
        Self {
            server: Some(server),
            key: credential("workspace_key"),
            operator: credential("operator_key"),
            http: http_client(),
            cluster,
            database,
            config,
            clock,
            further,
            _data: data,
        }
    }

    /// A connection to the story's database as its owner, past every policy.
    pub(crate) async fn owner(&self) -> PgConnection {
        PgConnection::connect_with(&self.cluster.options(&self.database)).await.unwrap()
    }

    /// Another process, as good as: a second server on the story's database. Whoever starts it stops it.
    pub(crate) async fn another(&self) -> start::Server {
        self.another_with(|_| {}).await
    }

    /// Another process, with other settings.
    pub(crate) async fn another_with(&self, change: impl FnOnce(&mut Config)) -> start::Server {
        self.try_another(change).await.unwrap()
    }

    /// Another process with other settings, which may refuse to start.
    pub(crate) async fn try_another(
        &self,
        change: impl FnOnce(&mut Config),
    ) -> anyhow::Result<start::Server> {
        let mut config = self.config.clone();
        change(&mut config);
        start::start_with(&config, self.clock.clone(), &self.further).await
    }

    /// The clock of all its processes.
    pub(crate) fn clock(&self) -> &ShiftedClock {
        &self.clock
    }

    /// What `DATABASE_URL` is for the story's database.
    pub(crate) fn database_url(&self) -> String {
        self.cluster.url(&self.database)
    }

    fn server(&self) -> &start::Server {
        self.server.as_ref().unwrap()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.server().http.unwrap())
    }

    pub(crate) fn grpc_addr(&self) -> std::net::SocketAddr {
        self.server().grpc.unwrap()
    }

    pub(crate) async fn grpc(&self) -> Grpc {
        self.grpc_as(&self.key).await
    }

    pub(crate) async fn grpc_as(&self, key: &str) -> Grpc {
        let endpoint = format!("http://{}", self.grpc_addr());
        let channel = Channel::from_shared(endpoint).unwrap().connect().await.unwrap();
        Grpc::over(channel, key)
    }

    pub(crate) async fn stop(mut self) {
        self.server.take().unwrap().stop().await.unwrap();
    }

    /// An agent with this mock setting, and a channel that delivers to the receiver.
    pub(crate) async fn route(&self, receiver: &Receiver, settings: Value) -> Route {
        let grpc = self.grpc().await;
        let engine = mock(&settings);
        let agent =
            v1::Agent { display_name: "Agent".to_owned(), engine: Some(engine), ..v1::Agent::default() };
        let agent = grpc
            .agents()
            .create_agent(v1::CreateAgentRequest { agent: Some(agent), request_id: String::new() })
            .await
            .unwrap()
            .into_inner();
        let agent_id = agent.agent.unwrap().id;
        let channel = v1::Channel {
            display_name: "Channel".to_owned(),
            agent_id: agent_id.clone(),
            url: receiver.url(),
            ..v1::Channel::default()
        };
        let channel = grpc
            .channels()
            .create_channel(v1::CreateChannelRequest { channel: Some(channel), request_id: String::new() })
            .await
            .unwrap()
            .into_inner();
        Route {
            agent_id,
            agent_token: agent.token,
            channel_id: channel.channel.unwrap().id,
            channel_token: channel.token,
            signing_secret: channel.signing_secret,
        }
    }

    /// Gives the route's agent another reply policy.
    pub(crate) async fn set_policy(&self, route: &Route, policy: v1::ReplyPolicy) {
        self.try_policy(route, policy).await.unwrap();
    }

    pub(crate) async fn try_policy(&self, route: &Route, policy: v1::ReplyPolicy) -> Result<(), Status> {
        let agent =
            v1::Agent { id: route.agent_id.clone(), reply_policy: Some(policy), ..v1::Agent::default() };
        self.update_agent(agent, "reply_policy").await
    }

    /// Gives the route's agent other settings of the mock engine.
    pub(crate) async fn set_engine(&self, route: &Route, settings: Value) {
        self.set_vendor(route, mock(&settings)).await;
    }

    /// Gives the route's agent another engine.
    pub(crate) async fn set_vendor(&self, route: &Route, engine: v1::Engine) {
        let agent = v1::Agent { id: route.agent_id.clone(), engine: Some(engine), ..v1::Agent::default() };
        self.update_agent(agent, "engine").await.unwrap();
    }

    /// Gives the route's agent a model of a vendor, with settings.
    pub(crate) async fn set_model(&self, route: &Route, vendor: &str, model: &str, settings: Value) {
        let engine = v1::Engine { vendor: vendor.to_owned(), model: model.to_owned(), ..mock(&settings) };
        self.set_vendor(route, engine).await;
    }

    /// Changes one field of an agent.
    pub(crate) async fn update_agent(&self, agent: v1::Agent, path: &str) -> Result<(), Status> {
        let request = v1::UpdateAgentRequest {
            agent: Some(agent),
            update_mask: Some(prost_types::FieldMask { paths: vec![path.to_owned()] }),
        };
        self.grpc().await.agents().update_agent(request).await.map(drop)
    }

    /// Gives the route's channel another delivery policy.
    pub(crate) async fn set_delivery_policy(
        &self,
        route: &Route,
        policy: v1::DeliveryPolicy,
    ) -> Result<(), Status> {
        let request = v1::UpdateChannelRequest {
            channel: Some(v1::Channel {
                id: route.channel_id.clone(),
                delivery_policy: Some(policy),
                ..v1::Channel::default()
            }),
            update_mask: Some(prost_types::FieldMask { paths: vec!["delivery_policy".to_owned()] }),
        };
        self.grpc().await.channels().update_channel(request).await.map(drop)
    }

    /// Posts a body to `new_message` with the route's agent token.
    pub(crate) async fn new_message(&self, route: &Route, body: &Value) -> Answer {
        let token = format!("Bearer {}", route.agent_token);
        self.post("/api/webhook/new_message", &[("x-chatbot_auth_token", &token)], body.to_string()).await
    }

    pub(crate) async fn post(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> Answer {
        self.call(reqwest::Method::POST, path, headers, Some(body.into())).await
    }

    pub(crate) async fn call(
        &self,
        method: reqwest::Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<reqwest::Body>,
    ) -> Answer {
        let mut request = self.http.request(method, self.url(path));
        if !headers.iter().any(|(name, _)| *name == "content-type") && body.is_some() {
            request = request.header("content-type", "application/json");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let response = request.send().await.unwrap();
        Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            text: response.text().await.unwrap(),
        }
    }

    /// The messages of the route's own dialogue, as `ROLE: text`.
    pub(crate) async fn said(&self, route: &Route) -> Vec<String> {
        let bearer = format!("Bearer {}", self.key);
        let path = format!("/api/channels/{}/dialogue", route.channel_id);
        let answer = self.call(reqwest::Method::GET, &path, &[("authorization", &bearer)], None).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer
            .json()
            .as_array()
            .unwrap()
            .iter()
            .map(|message| {
                format!("{}: {}", message["role"].as_str().unwrap(), message["text"].as_str().unwrap())
            })
            .collect()
    }
}

pub(crate) fn mock(settings: &Value) -> v1::Engine {
    v1::Engine { vendor: "mock".to_owned(), settings: Some(to_struct(settings)), ..v1::Engine::default() }
}

/// Writes a JSON object as the contract does.
pub(crate) fn to_struct(value: &Value) -> prost_types::Struct {
    let members = value.as_object().unwrap().iter().map(|(name, value)| (name.clone(), prost_value(value)));
    prost_types::Struct { fields: members.collect() }
}

fn prost_value(value: &Value) -> prost_types::Value {
    use prost_types::value::Kind;
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(*value),
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap()),
        Value::String(text) => Kind::StringValue(text.clone()),
        Value::Array(items) => {
            Kind::ListValue(prost_types::ListValue { values: items.iter().map(prost_value).collect() })
        }
        Value::Object(members) => {
            let fields = members.iter().map(|(name, value)| (name.clone(), prost_value(value)));
            Kind::StructValue(prost_types::Struct { fields: fields.collect() })
        }
    };
    prost_types::Value { kind: Some(kind) }
}

/// A plain HTTP client.
pub(crate) fn http_client() -> reqwest::Client {
    // Whoever comes second finds the provider installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// What a customer needs to write, and a receiver to check.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    pub(crate) agent_id: String,
    pub(crate) agent_token: String,
    pub(crate) channel_id: String,
    pub(crate) channel_token: String,
    pub(crate) signing_secret: String,
}

impl Route {
    pub(crate) fn message(&self, id: Option<&str>, text: &str) -> Value {
        json!({ "message_id": id, "chat_id": self.channel_id, "text": text, "message_sender": "customer" })
    }
}

/// An answer of the HTTP shim.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {}", self.text))
    }

    pub(crate) fn outcome(&self) -> &str {
        self.headers["switchboard-outcome"].to_str().unwrap()
    }

    /// Asserts a problem of this status and reason, and gives its bad fields.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, reason: &str) -> Vec<String> {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.headers["content-type"], "application/problem+json");
        let body = self.json();
        assert_eq!(body["reason"], reason, "{body}");
        assert_eq!(body["status"], status, "{body}");
        assert!(body["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{body}");
        let fields = body["errors"].as_array().cloned().unwrap_or_default();
        fields.iter().map(|error| error["field"].as_str().unwrap().to_owned()).collect()
    }
}

#[derive(Clone)]
pub(crate) struct Key(MetadataValue<tonic::metadata::Ascii>);

impl Interceptor for Key {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

type Stub = InterceptedService<Channel, Key>;

/// The services, with a key.
#[derive(Clone)]
pub(crate) struct Grpc {
    channel: Channel,
    key: Key,
}

impl Grpc {
    /// The services over a connection, with a key.
    pub(crate) fn over(channel: Channel, key: &str) -> Self {
        Self { channel, key: Key(format!("Bearer {key}").parse().unwrap()) }
    }
}

macro_rules! stubs {
    ($($name:ident: $client:ident,)+) => {
        impl Grpc {
            $(pub(crate) fn $name(&self) -> $client<Stub> {
                $client::with_interceptor(self.channel.clone(), self.key.clone())
            })+
        }
    };
}

stubs! {
    agents: AgentsServiceClient,
    channels: ChannelsServiceClient,
    crm: CrmServiceClient,
    dialogues: DialoguesServiceClient,
    events: EventsServiceClient,
    integrations: IntegrationsServiceClient,
    sources: SourcesServiceClient,
    webhooks: WebhooksServiceClient,
    workspaces: WorkspacesServiceClient,
}

/// The reason of a refusal over gRPC, and its bad fields.
#[track_caller]
pub(crate) fn reason(status: &Status) -> (String, Vec<String>) {
    use tonic_types::StatusExt as _;
    let details = status.get_error_details();
    let info = details.error_info().unwrap_or_else(|| panic!("no ErrorInfo: {status:?}"));
    assert_eq!(info.domain, "switchboard");
    let fields = details.bad_request().map(|bad| bad.field_violations.clone()).unwrap_or_default();
    (info.reason.clone(), fields.into_iter().map(|violation| violation.field).collect())
}

/// What a receiver was sent.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) at: std::time::Instant,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Received {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// In place of a status: the call is taken and its connection cut without an answer.
pub(crate) const CUT: u16 = 0;

/// A messenger's endpoint that keeps what it is sent and answers with a status that can be changed.
pub(crate) struct Receiver {
    addr: std::net::SocketAddr,
    state: Arc<Ledger>,
    /// Holds the port while it is down.
    socket: Option<TcpSocket>,
    task: Option<tokio::task::JoinHandle<()>>,
}

#[derive(Default)]
struct Ledger {
    received: Mutex<Vec<Received>>,
    status: AtomicU16,
    /// What `Retry-After` says, in seconds; 0: nothing.
    retry_after: AtomicU16,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut receiver = Self::at(listener.local_addr().unwrap());
        receiver.serve(listener);
        receiver
    }

    /// One that refuses connections: its port is bound, so that nobody else gets it, and not listened on.
    pub(crate) fn down() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let mut receiver = Self::at(socket.local_addr().unwrap());
        receiver.socket = Some(socket);
        receiver
    }

    pub(crate) fn come_up(&mut self) {
        let listener = self.socket.take().unwrap().listen(1_024).unwrap();
        self.serve(listener);
    }

    fn at(addr: std::net::SocketAddr) -> Self {
        let state = Arc::new(Ledger::default());
        state.status.store(200, Ordering::Relaxed);
        Self { addr, state, socket: None, task: None }
    }

    fn serve(&mut self, listener: TcpListener) {
        let app = Router::new().route("/deliveries", post(receive)).with_state(Arc::clone(&self.state));
        self.task = Some(tokio::spawn(async move { axum::serve(listener, app).await.unwrap() }));
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/deliveries", self.addr)
    }

    pub(crate) fn answer_with(&self, status: u16) {
        self.state.status.store(status, Ordering::Relaxed);
    }

    /// Says in each answer after how many seconds to come back; 0: says nothing.
    pub(crate) fn ask_to_wait(&self, seconds: u16) {
        self.state.retry_after.store(seconds, Ordering::Relaxed);
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        lock(&self.state.received).clone()
    }

    /// Waits until so many calls came.
    pub(crate) async fn wait_for(&self, count: usize) -> Vec<Received> {
        until(|| async { Some(self.received()).filter(|received| received.len() >= count) }).await
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

async fn receive(State(ledger): State<Arc<Ledger>>, headers: HeaderMap, body: Bytes) -> impl IntoResponse {
    lock(&ledger.received).push(Received { at: std::time::Instant::now(), headers, body });
    let status = ledger.status.load(Ordering::Relaxed);
    if status == CUT {
        // Ends the connection without an answer, and without a word on the console.
        std::panic::resume_unwind(Box::new(()));
    }
    let mut headers = HeaderMap::new();
    let retry_after = ledger.retry_after.load(Ordering::Relaxed);
    if retry_after > 0 {
        headers.insert(http::header::RETRY_AFTER, retry_after.into());
    }
    (StatusCode::from_u16(status).unwrap(), headers)
}

/// Asks again and again until there is an answer; fails after twenty seconds.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(mut ask: impl FnMut() -> F) -> T {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(tokio::time::Instant::now() < deadline, "nothing came in time");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
