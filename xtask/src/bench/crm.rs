//! What a CRM tells of its account: what reading it costs, and how fast a burst of it is taken.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use serde::Deserialize;
use serde_json::json;
use switchboard_sdk::prost_types::{Struct, Value, value::Kind};
use switchboard_sdk::v1::{
    CreateIntegrationRequest, CrmEntity, Integration, ListFieldsRequest, RotateWebhookSecretRequest,
    StartAuthorizationRequest,
};
use switchboard_sdk::{Client, tonic::Request};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use super::http::Connection;
use super::server::{DataDir, Server};
use super::statistics::{median, percentile, spread};
use super::{Bench, Measured};
use crate::paths::Paths;
use crate::run;

/// How long a form is, in bytes, how often it is read, and in how many batches.
const FORM: [&str; 3] = ["20480", "2000", "5"];
/// How many webhooks are a burst, over how many connections, and how often there is one.
const BURST: usize = 1_000;
const CONNECTIONS: usize = 64;
const BURSTS: usize = 5;
/// How many fields the account of the CRM has, and how often they are read.
const FIELDS: usize = 100;
const READS: usize = 2_000;
/// How long a burst may take before it is given up.
const PATIENCE: Duration = Duration::from_mins(1);

#[derive(Deserialize)]
struct Batch {
    us: f64,
}

impl Bench {
    pub(super) async fn crm(&mut self) -> anyhow::Result<()> {
        if self.wants("crm_parse_us") {
            self.parse()?;
        }
        if self.wants("crm_burst_ms") {
            self.burst().await?;
        }
        if self.wants("crm_cached_ms") {
            self.cached().await?;
        }
        Ok(())
    }

    /// Lists the fields of a CRM's leads over gRPC, which are kept: the first call, which asks the CRM, is left out.
    async fn cached(&mut self) -> anyhow::Result<()> {
        let vendor = Vendor::start().await?;
        let data = DataDir::new()?;
        let server = Server::start(&self.program, &data, "api")?;
        let client = Client::connect(&server.grpc, &server.api_key).await?;
        let id = connect(&client, Some(&vendor.base_url)).await?;
        let request = StartAuthorizationRequest { id: id.clone() };
        let begun = client.integrations().start_authorization(Request::new(request)).await?.into_inner();
        let (_, state) = begun.authorize_url.split_once("state=").context("the page has no state")?;
        let state = state.split('&').next().unwrap_or_default();
        let request = format!(
            "GET /oauth/callback?state={state}&code=bench&referer=acme.amocrm.ru HTTP/1.1\r\nhost: bench\r\n\r\n"
        );
        Connection::open(server.http).await?.expect_200(request.as_bytes()).await?;

        let request = || {
            let entity = CrmEntity::Lead.into();
            Request::new(ListFieldsRequest { integration_id: id.clone(), entity, refresh: false })
        };
        let mut crm = client.crm();
        let fields = crm.list_fields(request()).await?.into_inner().fields;
        ensure!(fields.len() == FIELDS, "the CRM listed {} fields", fields.len());
        let mut times = Vec::with_capacity(READS);
        for _ in 0..READS {
            let begun = Instant::now();
            crm.list_fields(request()).await?;
            times.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        ensure!(vendor.listed() == 1, "what is kept was asked for {} times", vendor.listed());
        self.put_value("crm_cached_ms", percentile(&times, 50));
        Ok(())
    }

    fn parse(&mut self) -> anyhow::Result<()> {
        let paths = Paths::find()?;
        let what =
            ["build", "--release", "--quiet", "--package", "switchboard-vendors", "--example", "crm_parse"];
        run::run(run::cargo(&paths.root).args(what))?;
        let output = Command::new(paths.target.join("release/examples/crm_parse"))
            .args(FORM)
            .stderr(Stdio::inherit())
            .output()?;
        ensure!(output.status.success(), "reading forms ended with {}", output.status);
        let batches = std::str::from_utf8(&output.stdout)?.lines().map(serde_json::from_str::<Batch>);
        let times: Vec<f64> = batches.map(|batch| batch.map(|batch| batch.us)).collect::<Result<_, _>>()?;
        let measured = Measured { value: median(&times), baseline: None, spread: spread(&times) };
        self.put("crm_parse_us", measured);
        Ok(())
    }

    async fn burst(&mut self) -> anyhow::Result<()> {
        let data = DataDir::new()?;
        let server = Server::start(&self.program, &data, "api,worker")?;
        let path = account(&server).await?;
        let mut times = Vec::new();
        for burst in 0..BURSTS {
            let requests = Arc::new(requests(&path, burst)?);
            let start = Instant::now();
            let mut senders = JoinSet::new();
            for at in 0..CONNECTIONS {
                let (requests, address) = (Arc::clone(&requests), server.http);
                senders.spawn(async move {
                    let mut connection = Connection::open(address).await?;
                    for request in requests.iter().skip(at).step_by(CONNECTIONS) {
                        connection.expect_200(request.as_bytes()).await?;
                    }
                    anyhow::Ok(())
                });
            }
            let all = async {
                while let Some(sent) = senders.join_next().await {
                    sent??;
                }
                anyhow::Ok(())
            };
            tokio::time::timeout(PATIENCE, all).await.context("a burst took too long")??;
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
        let measured = Measured { value: median(&times), baseline: None, spread: spread(&times) };
        self.put("crm_burst_ms", measured);
        Ok(())
    }
}

/// Makes an integration that a CRM may call. Gives the path.
async fn account(server: &Server) -> anyhow::Result<String> {
    let client = Client::connect(&server.grpc, &server.api_key).await?;
    let request = RotateWebhookSecretRequest { id: connect(&client, None).await? };
    Ok(client.integrations().rotate_webhook_secret(Request::new(request)).await?.into_inner().path)
}

/// Makes an integration with a CRM, at this address if there is one. Gives its id.
async fn connect(client: &Client, base_url: Option<&str>) -> anyhow::Result<String> {
    let settings = [
        ("subdomain", "acme"),
        ("client_id", "bench"),
        ("redirect_url", "https://bench.example/oauth/callback"),
    ];
    let value = |text: &str| Value { kind: Some(Kind::StringValue(text.to_owned())) };
    let settings = settings.into_iter().chain(base_url.map(|url| ("base_url", url)));
    let fields = settings.map(|(name, text)| (name.to_owned(), value(text)));
    let integration = Integration {
        vendor: "amocrm".to_owned(),
        display_name: "Bench".to_owned(),
        settings: Some(Struct { fields: fields.collect() }),
        credentials: BTreeMap::from([("client_secret".to_owned(), "bench".to_owned())]),
        ..Integration::default()
    };
    let request = CreateIntegrationRequest { integration: Some(integration), request_id: String::new() };
    let made = client.integrations().create_integration(Request::new(request)).await?.into_inner();
    Ok(made.integration.unwrap_or_default().id)
}

/// A CRM that gives tokens and lists fields, and nothing else: what is measured does not come this far.
struct Vendor {
    base_url: String,
    listed: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Vendor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Vendor {
    async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let base_url = format!("http://{}", listener.local_addr()?);
        let listed = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&listed);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let count = Arc::clone(&count);
                // A caller that goes away is none of its business.
                tokio::spawn(async move { answer(stream, &count).await.ok() });
            }
        });
        Ok(Self { base_url, listed, task })
    }

    /// How often its fields were asked for.
    fn listed(&self) -> usize {
        self.listed.load(Ordering::Relaxed)
    }
}

async fn answer(stream: TcpStream, listed: &AtomicUsize) -> anyhow::Result<()> {
    let mut connection = Connection::new(stream)?;
    while let Some((head, _)) = connection.receive().await? {
        let body = if head.starts_with(b"POST /oauth2/access_token ") {
            json!({ "token_type": "Bearer", "expires_in": 86_400, "access_token": "a", "refresh_token": "r" })
        } else if head.starts_with(b"GET /api/v4/leads/custom_fields") {
            listed.fetch_add(1, Ordering::Relaxed);
            let fields = (1..=FIELDS).map(|id| {
                let choices = json!([{ "id": 1, "value": "A", "sort": 1 }, { "id": 2, "value": "B", "sort": 2 }]);
                json!({ "id": id, "name": format!("Field {id}"), "code": null, "type": "select", "sort": id, "enums": choices })
            });
            json!({ "_embedded": { "custom_fields": fields.collect::<Vec<_>>() } })
        } else {
            json!({})
        };
        let body = body.to_string();
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        connection.send(head.as_bytes()).await?;
        connection.send(body.as_bytes()).await?;
    }
    Ok(())
}

/// The webhooks of a burst: each tells that a lead moved on, as the vendor writes it.
fn requests(path: &str, burst: usize) -> anyhow::Result<Vec<String>> {
    (0..BURST)
        .map(|number| {
            let mut body = String::new();
            let moment = 1_772_533_000 + burst;
            for (name, value) in [
                ("id", number),
                ("status_id", 142),
                ("old_status_id", 64_000_001),
                ("pipeline_id", 7_700_001),
                ("old_pipeline_id", 7_700_001),
                ("price", 15_000),
                ("responsible_user_id", 9001),
                ("created_at", 1_772_500_000),
                ("updated_at", moment),
            ] {
                write!(body, "leads%5Bstatus%5D%5B0%5D%5B{name}%5D={value}&")?;
            }
            body.push_str("account%5Bsubdomain%5D=acme&account%5Bid%5D=31000001");
            Ok(format!(
                "POST {path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/x-www-form-urlencoded\r\n\
                 content-length: {}\r\n\r\n{body}",
                body.len()
            ))
        })
        .collect()
}
