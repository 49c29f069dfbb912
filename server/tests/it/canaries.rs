//! No secret is anywhere but where it was put: planted wherever one can be given, and looked for wherever one could leak.

use std::{fmt::Write as _, process::Stdio, time::Duration};

use prost_types::{Struct, value::Kind};
use reqwest::Method;
use serde_json::json;
use simulator::Simulator;
use sqlx::{AssertSqlSafe, PgConnection, Row as _};
use switchboard_sdk::v1;
use switchboard_server::config::Config;
use tonic::transport::Channel;

use crate::{
    harness::{Dir, Grpc, Receiver, World, http_client, until},
    oauth::{account, amocrm, begin},
    restart::{Process, values},
};

/// A secret, and where it was planted.
#[derive(Debug, Clone)]
struct Canary {
    planted: &'static str,
    value: String,
}

/// What is looked through.
#[derive(Debug, Default)]
struct Places(Vec<(String, String)>);

impl Places {
    fn add(&mut self, name: impl Into<String>, text: impl Into<String>) {
        self.0.push((name.into(), text.into()));
    }

    /// Where a secret is found, as it is, in hexadecimal as the database shows bytes, or in base64.
    fn finds(&self, canary: &Canary) -> Vec<&str> {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        let hex = canary.value.bytes().fold(String::new(), |mut out, byte| {
            let _ = write!(out, "{byte:02x}");
            out
        });
        let encoded = STANDARD.encode(&canary.value);
        let forms = [canary.value.as_str(), hex.as_str(), encoded.trim_end_matches('=')];
        let found = self.0.iter().filter(|(_, text)| forms.iter().any(|form| text.contains(form)));
        found.map(|(name, _)| name.as_str()).collect()
    }
}

/// Every row of every table, as text.
async fn tables(conn: &mut PgConnection, places: &mut Places) {
    let tables = "select c.oid::regclass::text from pg_class c
                  where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' order by 1";
    let tables: Vec<String> = sqlx::query_scalar(tables).fetch_all(&mut *conn).await.unwrap();
    assert!(tables.len() > 20, "{tables:?}");
    for table in tables {
        let sql = AssertSqlSafe(format!("select coalesce(string_agg(t::text, E'\\n'), '') from {table} t"));
        let rows = sqlx::query(sql).fetch_one(&mut *conn).await.unwrap();
        places.add(format!("table {table}"), rows.get::<String, _>(0));
    }
}

#[tokio::test]
async fn no_secret_is_found_where_it_was_not_put() {
    // Both forms of the log, each in a process of its own.
    for format in ["text", "json"] {
        let mut world = World::new().await;
        world.server.take().unwrap().stop().await.unwrap();
        let (dir, at, receiver) = (Dir::new(), amocrm().await, Receiver::start().await);
        let planted = |planted, value: &str| Canary { planted, value: value.to_owned() };
        let ring = "k1:Q0FOQVJZLWtleS1yaW5nLTAxMjM0NTY3ODlhYmNkZWY=";
        let mut canaries = vec![
            planted("the key ring", "Q0FOQVJZLWtleS1yaW5nLTAxMjM0NTY3ODlhYmNkZWY"),
            planted("the operator's account at OpenAI", "sk-canary-of-the-environment"),
            planted("the operator's account at Dify", "app-canary-of-the-environment"),
            planted("the operator's account at Anthropic", "sk-ant-canary-of-the-environment"),
            planted("the operator's account at Gemini", "gemini-canary-of-the-environment"),
            planted("the operator's account at Manus", "manus-canary-of-the-environment"),
            planted("a header of an agent's own tool", "canary-of-a-tool"),
            planted("an integration's credential", "client-secret-of-ours"),
            planted("the workspace's key", world.key.splitn(3, '_').nth(2).unwrap()),
            planted("the operator's key", world.operator.splitn(3, '_').nth(2).unwrap()),
        ];
        let (database, log) = (world.database_url(), dir.path().join("log"));
        let trace = "warn,app=trace,domain=trace,store=trace,vendors=trace,switchboard=trace,switchboard_server=trace";
        let environment = [
            ("DATABASE_URL", database.as_str()),
            ("SWITCHBOARD_KEYRING", ring),
            ("OPENAI_API_KEY", "sk-canary-of-the-environment"),
            ("DIFY_API_KEY", "app-canary-of-the-environment"),
            ("ANTHROPIC_API_KEY", "sk-ant-canary-of-the-environment"),
            ("GEMINI_API_KEY", "gemini-canary-of-the-environment"),
            ("MANUS_API_KEY", "manus-canary-of-the-environment"),
            ("SWITCHBOARD_LOG", trace),
            ("SWITCHBOARD_LOG_FORMAT", format),
            ("SWITCHBOARD_DELIVERY_PAUSES", "100ms,100ms"),
            ("SWITCHBOARD_SANDBOX_PAUSES", "100ms"),
        ];
        let stderr = Stdio::from(std::fs::File::create(&log).unwrap());
        let process = Process::start_with(dir.path(), &environment, stderr);
        let addresses = values(&dir.path().join("listeners"), &["grpc", "http"]).await;
        let channel =
            Channel::from_shared(format!("http://{}", addresses[0])).unwrap().connect().await.unwrap();
        let grpc = Grpc::over(channel.clone(), &world.key);
        let url = |path: &str| format!("http://{}{path}", addresses[1]);
        let http = http_client();
        let mut places = Places::default();

        // Shown once: the control, which must be found in the answers that show it.
        let mut shown = Places::default();
        let engine = v1::Engine { vendor: "mock".to_owned(), ..v1::Engine::default() };
        let header = v1::HttpToolHeader {
            name: "Authorization".to_owned(),
            value: "Bearer canary-of-a-tool".to_owned(),
        };
        let tool = v1::HttpTool {
            name: "look".to_owned(),
            description: "Looks.".to_owned(),
            url: receiver.url(),
            headers: vec![header],
            ..v1::HttpTool::default()
        };
        let agent = v1::Agent {
            display_name: "Ada".to_owned(),
            engine: Some(engine),
            toolbox: Some(v1::Toolbox { tools: Vec::new(), http: vec![tool] }),
            ..v1::Agent::default()
        };
        let request_id = "0198c0de-0000-7000-8000-000000000008".to_owned();
        let request = v1::CreateAgentRequest { agent: Some(agent), request_id };
        let agent = grpc.agents().create_agent(request).await.unwrap().into_inner();
        let channel_of = v1::Channel {
            display_name: "Web".to_owned(),
            agent_id: agent.agent.clone().unwrap().id,
            url: receiver.url(),
            ..v1::Channel::default()
        };
        let request = v1::CreateChannelRequest { channel: Some(channel_of), request_id: String::new() };
        let made = grpc.channels().create_channel(request).await.unwrap().into_inner();
        let endpoint = v1::Endpoint {
            display_name: "CRM".to_owned(),
            url: receiver.url(),
            schedule: v1::EndpointSchedule::Sandbox.into(),
            ..v1::Endpoint::default()
        };
        let request = v1::CreateEndpointRequest { endpoint: Some(endpoint), request_id: String::new() };
        let endpoint = grpc.webhooks().create_endpoint(request).await.unwrap().into_inner();
        shown.add("answers that show a secret once", format!("{agent:?}{made:?}{endpoint:?}"));
        let bare =
            |secret: &str| secret.trim_start_matches("whsec_").splitn(3, '_').last().unwrap().to_owned();
        let once = [
            ("an agent's token", bare(&agent.token)),
            ("a channel's token", bare(&made.token)),
            ("a channel's signing secret", bare(&made.signing_secret)),
            ("an endpoint's secret", bare(&endpoint.secret)),
        ];
        for (planted, value) in once {
            let canary = Canary { planted, value };
            assert!(!shown.finds(&canary).is_empty(), "the search finds {canary:?} where it is shown");
            canaries.push(canary);
        }

        // An integration that a person authorizes: state, code, and both tokens.
        let made_integration = v1::CreateIntegrationRequest {
            integration: Some(account(&at)),
            request_id: "0198c0de-0000-7000-8000-000000000009".to_owned(),
        };
        let integration =
            grpc.integrations().create_integration(made_integration).await.unwrap().into_inner();
        let id = integration.integration.as_ref().unwrap().id.clone();
        let (state, code) = (begin(&grpc, &id).await, at.consent());
        for parameters in [[("state", &state), ("code", &code)], [("state", &state), ("code", &code)]] {
            let callback = url::Url::parse_with_params(&url("/oauth/callback"), parameters).unwrap();
            let answer = http.get(callback).send().await.unwrap();
            places.add("an answer of the callback", answer.text().await.unwrap());
        }
        let check = v1::CheckIntegrationRequest { id: id.clone() };
        let checked = grpc.integrations().check_integration(check.clone()).await.unwrap().into_inner();
        assert_eq!(checked.integration.as_ref().unwrap().health(), v1::IntegrationHealth::Healthy);
        at.revoke();
        let refused = grpc.integrations().check_integration(check).await.unwrap().into_inner();
        places.add("answers about integrations", format!("{integration:?}{checked:?}{refused:?}"));
        canaries.push(Canary { planted: "the state of an authorization", value: bare(&state) });
        canaries.push(Canary { planted: "a code", value: code });
        canaries.push(planted("an access token", "access-0002-"));
        canaries.push(planted("a refresh token", "refresh-0003-"));

        // An engine behind a key, which answers, and then refuses it.
        let models = Simulator::start("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let openai = models.vendor("openai").unwrap();
        let key = "sk-canary-of-an-integration";
        canaries.push(planted("an engine's key", key));
        openai.expect_key(key);
        let base_url = prost_types::Value { kind: Some(Kind::StringValue(openai.base_url().to_owned())) };
        let integration = v1::Integration {
            vendor: "openai".to_owned(),
            display_name: "Ours".to_owned(),
            settings: Some(Struct { fields: [("base_url".to_owned(), base_url)].into() }),
            credentials: [("api_key".to_owned(), key.to_owned())].into(),
            ..v1::Integration::default()
        };
        let request =
            v1::CreateIntegrationRequest { integration: Some(integration), request_id: String::new() };
        let connected = grpc.integrations().create_integration(request).await.unwrap().into_inner();
        let engine = v1::Engine {
            vendor: "openai".to_owned(),
            model: "gpt-4o-mini".to_owned(),
            integration_id: connected.integration.as_ref().unwrap().id.clone(),
            ..v1::Engine::default()
        };
        let list = v1::ListModelsRequest {
            vendor: "openai".to_owned(),
            integration_id: engine.integration_id.clone(),
            refresh: true,
        };
        let listed = grpc.agents().list_models(list.clone()).await.unwrap().into_inner();
        assert!(!listed.models.is_empty());
        let mut with_engine = agent.agent.clone().unwrap();
        with_engine.engine = Some(engine);
        let update_mask = Some(prost_types::FieldMask { paths: vec!["engine".to_owned()] });
        let request = v1::UpdateAgentRequest { agent: Some(with_engine), update_mask };
        grpc.agents().update_agent(request).await.unwrap();
        places.add("answers about engines", format!("{connected:?}{listed:?}"));

        // Calls from outside, with secrets in every place that a caller might put one.
        let channel_id = made.channel.clone().unwrap().id;
        let body = json!({ "message_id": "m1", "chat_id": channel_id, "text": "the control: a message's words",
            "message_sender": "customer" });
        let call = |path: String, token: &str| {
            http.request(Method::POST, url(&path))
                .header("content-type", "application/json")
                .header("x-chatbot_auth_token", format!("Bearer {token}"))
                .header("authorization", "Bearer canary-authorization")
                .header("x-api-key", "canary-api-key")
                .header("cookie", "session=canary-cookie")
                .header("x-vendor-secret-token", "canary-vendor-header")
                .body(body.to_string())
        };
        for (path, token) in [
            (format!("/hooks/{channel_id}?secret=canary-query"), agent.token.as_str()),
            ("/api/webhook/new_message?key=canary-query".to_owned(), agent.token.as_str()),
            (format!("/hooks/{channel_id}/canary-path"), agent.token.as_str()),
            ("/api/webhook/new_message".to_owned(), "canary-wrong-token"),
        ] {
            let answer = call(path, token).send().await.unwrap();
            let headers = format!("{:?}", answer.headers());
            places.add("an answer over HTTP", format!("{headers}{}", answer.text().await.unwrap()));
        }
        let wrong = Grpc::over(channel, "sbk_canary-wrong-key");
        let refused = wrong.agents().list_agents(v1::ListAgentsRequest::default()).await.unwrap_err();
        places.add("a refusal over gRPC", format!("{refused:?}"));
        for value in [
            "canary-authorization",
            "canary-api-key",
            "canary-cookie",
            "canary-vendor-header",
            "canary-query",
            "canary-path",
            "canary-wrong-token",
            "canary-wrong-key",
        ] {
            canaries.push(planted("a call from outside", value));
        }
        // A reply, a dispatch, and failures of both.
        receiver.wait_for(3).await;
        receiver.answer_with(401);
        openai.expect_key("another one");
        let id = list.integration_id;
        let check = v1::CheckIntegrationRequest { id };
        let refused = grpc.integrations().check_integration(check).await.unwrap().into_inner();
        assert_eq!(refused.integration.as_ref().unwrap().health(), v1::IntegrationHealth::NeedsAuthorization);
        places.add("an engine's refusal", format!("{refused:?}"));
        openai.expect_key(key);
        let request = v1::TestEndpointRequest { id: endpoint.endpoint.clone().unwrap().id };
        let tested = grpc.webhooks().test_endpoint(request).await.unwrap().into_inner();
        places.add("a tested endpoint", format!("{tested:?}"));
        let second = body.to_string().replace("\"m1\"", "\"m2\"");
        let sent = http
            .post(url("/api/webhook/new_message"))
            .header("content-type", "application/json")
            .header("x-chatbot_auth_token", format!("Bearer {}", agent.token))
            .body(second);
        sent.send().await.unwrap();
        until(|| async {
            let request = v1::ListDeliveriesRequest {
                state: v1::DeliveryState::Dead.into(),
                ..v1::ListDeliveriesRequest::default()
            };
            let dead = grpc.dialogues().list_deliveries(request).await.unwrap().into_inner();
            (!dead.deliveries.is_empty()).then_some(())
        })
        .await;

        // All that can be read.
        let events = v1::ListEventsRequest { cursor: "0".to_owned(), page_size: 1_000, ..Default::default() };
        let events = until(|| async {
            let listed = grpc.events().list_events(events.clone()).await.unwrap().into_inner().events;
            (listed.len() > 8).then_some(listed)
        })
        .await;
        places.add("events", format!("{events:?}"));
        let webhooks = grpc.webhooks().list_inbound_webhooks(v1::ListInboundWebhooksRequest::default()).await;
        let webhooks = webhooks.unwrap().into_inner().inbound_webhooks;
        let request = v1::GetInboundWebhookRequest { id: webhooks[0].id.clone() };
        let webhook = grpc.webhooks().get_inbound_webhook(request).await.unwrap().into_inner();
        assert!(format!("{webhook:?}").contains("[redacted]"));
        places.add("inbound webhooks", format!("{webhooks:?}{webhook:?}"));
        let lists = (
            grpc.agents().list_agents(v1::ListAgentsRequest::default()).await.unwrap().into_inner(),
            grpc.channels().list_channels(v1::ListChannelsRequest::default()).await.unwrap().into_inner(),
            grpc.webhooks().list_endpoints(v1::ListEndpointsRequest::default()).await.unwrap().into_inner(),
            grpc.workspaces().list_api_keys(v1::ListApiKeysRequest::default()).await.unwrap().into_inner(),
            grpc.dialogues()
                .list_deliveries(v1::ListDeliveriesRequest::default())
                .await
                .unwrap()
                .into_inner(),
            grpc.integrations()
                .list_integrations(v1::ListIntegrationsRequest::default())
                .await
                .unwrap()
                .into_inner(),
        );
        places.add("lists", format!("{lists:?}"));
        let metrics = http.get(format!("http://{}/metrics", addresses[0])).send().await.unwrap().text().await;
        places.add("metrics", metrics.unwrap());
        let find = |name: &str| environment.iter().find(|(known, _)| *known == name);
        let config = Config::read(|name| find(name).map(|(_, value)| (*value).to_owned())).unwrap();
        places.add("the configuration's Debug", format!("{config:?}{config:#?}{:?}", config.engines));
        tokio::time::sleep(Duration::from_millis(200)).await;
        process.stop();
        let log = std::fs::read_to_string(&log).unwrap();
        assert!(log.contains("TRACE") || log.contains("DEBUG"), "the log is told all: {log}");
        places.add("the log", log);
        let mut owner = world.owner().await;
        tables(&mut owner, &mut places).await;

        let leaks: Vec<_> = canaries
            .iter()
            .map(|canary| (canary.planted, &canary.value, places.finds(canary)))
            .filter(|(_, _, found)| !found.is_empty())
            .collect();
        assert!(leaks.is_empty(), "{format}: {leaks:#?}");
        // The control: a message's words are kept, and may be read; but the log doesn't have them.
        let words = planted("a message", "the control: a message's words");
        let found = places.finds(&words);
        assert!(found.iter().any(|place| place.starts_with("table messages")), "{found:?}");
        assert!(!found.contains(&"the log") && !found.contains(&"metrics"), "{found:?}");
    }
}
