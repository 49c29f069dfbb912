//! Events that are posted to a customer's endpoint.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use sqlx::PgConnection;
use switchboard_sdk::Client;
use switchboard_sdk::prost_types::{self, FieldMask};
use switchboard_sdk::tonic::Request;
use switchboard_sdk::v1::{Agent, CreateEndpointRequest, Endpoint, ReplyPolicy, UpdateEndpointRequest};

use super::receiver::Receiver;
use super::server::{DataDir, Server};
use super::statistics::{median, spread};
use super::{Bench, CHATS, CONNECTIONS, Measured, NOWHERE, PAIRS, per_second};

/// How many events an endpoint gets in a round.
const EVENTS: u64 = 10_000;
/// How long the log may take to give the events of a round their places before it begins.
const SETTLE: Duration = Duration::from_secs(2);

impl Bench {
    /// Events gather while the endpoint is not active; then it is made so.
    pub(super) async fn webhooks(&mut self) -> anyhow::Result<()> {
        let receiver = Receiver::start().await?;
        let data = DataDir::new()?;
        let server = Server::start(&self.program, &data, "api,worker")?;
        // Nobody answers while we look: all that is done is posting events.
        let quiet = prost_types::Duration { seconds: 600, nanos: 0 };
        let policy =
            ReplyPolicy { quiet_window: Some(quiet), longest_wait: Some(quiet), ..ReplyPolicy::default() };
        let agent = Agent { reply_policy: Some(policy), ..Agent::default() };
        let customers = server.customers_of(agent, NOWHERE.to_owned(), CHATS).await?;
        let client = Client::connect(&server.grpc, &server.api_key).await?;
        let endpoint = Endpoint {
            display_name: "Bench".to_owned(),
            url: receiver.url(),
            event_types: vec!["message.received".to_owned()],
            active: Some(false),
            ..Endpoint::default()
        };
        let request = CreateEndpointRequest { endpoint: Some(endpoint), ..CreateEndpointRequest::default() };
        let endpoint = client.webhooks().create_endpoint(Request::new(request)).await?.into_inner().endpoint;
        let endpoint = endpoint.context("no endpoint was created")?;
        let mut database = data.database("switchboard").await?;
        let mut rates = Vec::new();
        for _ in 0..=PAIRS {
            let first = customers.next_number();
            customers.send(CONNECTIONS, EVENTS).await?;
            tokio::time::sleep(SETTLE).await;
            let start: f64 = sqlx::query_scalar("select extract(epoch from clock_timestamp())::float8")
                .fetch_one(&mut database)
                .await?;
            activate(&client, &endpoint, true).await?;
            receiver.all(first..first + EVENTS).await?;
            let last = recorded(&mut database, first + EVENTS).await?;
            rates.push(per_second(EVENTS, Duration::from_secs_f64(last - start)));
            activate(&client, &endpoint, false).await?;
        }
        let signed = receiver.signed();
        ensure!(signed >= customers.next_number(), "only {signed} events were signed");
        println!(
            "  rounds: {}",
            rates.iter().map(|rate| format!("{rate:.0}")).collect::<Vec<_>>().join(", ")
        );
        rates.remove(0);
        self.put("webhooks_out", Measured { value: median(&rates), baseline: None, spread: spread(&rates) });
        Ok(())
    }
}

async fn activate(client: &Client, endpoint: &Endpoint, active: bool) -> anyhow::Result<()> {
    let request = UpdateEndpointRequest {
        endpoint: Some(Endpoint { id: endpoint.id.clone(), active: Some(active), ..Endpoint::default() }),
        update_mask: Some(FieldMask { paths: vec!["active".to_owned()] }),
    };
    client.webhooks().update_endpoint(Request::new(request)).await?;
    Ok(())
}

/// Waits until so many dispatches are recorded as delivered, which happens right after they arrived; gives when the last
/// was.
async fn recorded(database: &mut PgConnection, count: u64) -> anyhow::Result<f64> {
    for _ in 0..200 {
        let (delivered, last): (i64, Option<f64>) = sqlx::query_as(
            "select count(*), max(extract(epoch from settled_at))::float8 from dispatches where state = 'DELIVERED'",
        )
        .fetch_one(&mut *database)
        .await?;
        if u64::try_from(delivered)? >= count {
            return last.context("nothing was delivered");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    anyhow::bail!("not all of {count} dispatches were recorded")
}
