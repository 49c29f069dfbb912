//! Customers: they write, repeat themselves, come in bursts, and keep a ledger of what was accepted.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::bail;
use rand::RngExt as _;
use rand::rngs::StdRng;
use switchboard_sdk::Client;
use switchboard_sdk::tonic::Request;
use switchboard_sdk::v1::{
    Agent, Channel, CreateAgentRequest, CreateChannelRequest, DeliveryPolicy, Engine, MessageSender,
    ReceiveMessageRequest, ReplyPolicy, UncertainPolicy,
};

use super::processes::Processes;

/// How long one message may be offered in vain after the faults are over.
const PATIENCE: Duration = Duration::from_mins(1);

/// A channel that customers write on.
#[derive(Debug, Clone)]
pub struct Route {
    /// Its workspace, by number.
    pub workspace: usize,
    /// Its id.
    pub channel: String,
}

/// Makes an agent and a channel.
pub async fn route(
    client: &Client,
    workspace: usize,
    name: &str,
    policy: ReplyPolicy,
    uncertain: UncertainPolicy,
    url: &str,
) -> anyhow::Result<Route> {
    let engine = Engine { vendor: "openai".to_owned(), model: "whimsical".to_owned(), ..Engine::default() };
    let agent = Agent {
        display_name: name.to_owned(),
        engine: Some(engine),
        reply_policy: Some(policy),
        ..Agent::default()
    };
    let request = CreateAgentRequest { agent: Some(agent), ..CreateAgentRequest::default() };
    let agent =
        client.agents().create_agent(Request::new(request)).await?.into_inner().agent.unwrap_or_default();
    let delivery_policy = DeliveryPolicy {
        uncertain: uncertain.into(),
        // Bursts are what is tried here, not the guard.
        loop_limit: Some(0),
        ..DeliveryPolicy::default()
    };
    let channel = Channel {
        display_name: name.to_owned(),
        agent_id: agent.id,
        url: url.to_owned(),
        delivery_policy: Some(delivery_policy),
        ..Channel::default()
    };
    let request = CreateChannelRequest { channel: Some(channel), ..CreateChannelRequest::default() };
    let channel = client.channels().create_channel(Request::new(request)).await?.into_inner().channel;
    Ok(Route { workspace, channel: channel.unwrap_or_default().id })
}

/// What was accepted: channel, chat, and the customer's id of the message.
#[derive(Debug, Default)]
pub struct Accepted(Mutex<BTreeSet<(String, String, String)>>);

impl Accepted {
    fn note(&self, message: &ReceiveMessageRequest) {
        let entry = (message.channel_id.clone(), message.chat.clone(), message.message_id.clone());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(entry);
    }

    /// All of it.
    pub fn all(&self) -> BTreeSet<(String, String, String)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// One who writes in one chat.
#[derive(Debug)]
pub struct Customer {
    route: Route,
    chat: String,
    rng: StdRng,
}

impl Customer {
    /// One who writes in this chat of the channel.
    pub const fn new(route: Route, chat: String, rng: StdRng) -> Self {
        Self { route, chat, rng }
    }

    /// Writes until the end of the faults; each message is offered until it is accepted.
    pub async fn write(
        mut self,
        processes: Arc<Processes>,
        accepted: Arc<Accepted>,
        end: Instant,
    ) -> anyhow::Result<()> {
        let mut number = 0_u32;
        while Instant::now() < end {
            let burst = if self.rng.random_bool(0.15) { self.rng.random_range(2..=5) } else { 1 };
            let mut offers = Vec::new();
            for _ in 0..burst {
                offers.push(self.message(number));
                number += 1;
            }
            // A retried webhook, at once or much later, at the same process or another.
            if self.rng.random_bool(0.2) {
                offers.push(offers[0].clone());
            }
            if self.rng.random_bool(0.1) {
                let earlier = self.rng.random_range(0..number);
                offers.push(self.message(earlier));
            }
            let offers = offers
                .into_iter()
                .map(|message| offer(&processes, &accepted, self.route.workspace, message, end));
            let mut offered = tokio::task::JoinSet::new();
            for one in offers.collect::<Vec<_>>() {
                offered.spawn(one);
            }
            while let Some(done) = offered.join_next().await {
                done??;
            }
            let pause = Duration::from_millis(self.rng.random_range(50..600));
            tokio::time::sleep(pause).await;
        }
        Ok(())
    }

    fn message(&self, number: u32) -> ReceiveMessageRequest {
        ReceiveMessageRequest {
            channel_id: self.route.channel.clone(),
            chat: self.chat.clone(),
            message_id: format!("m{number}"),
            // Nobody else says it anywhere, so that the engine's ledger knows whose words it was given.
            text: format!("{} {} says #{number}", self.route.channel, self.chat),
            sender: MessageSender::Customer.into(),
            ..ReceiveMessageRequest::default()
        }
    }
}

/// Offers a message until it is accepted.
fn offer(
    processes: &Arc<Processes>,
    accepted: &Arc<Accepted>,
    workspace: usize,
    message: ReceiveMessageRequest,
    end: Instant,
) -> impl Future<Output = anyhow::Result<()>> + use<> {
    let (processes, accepted) = (Arc::clone(processes), Arc::clone(accepted));
    async move {
        loop {
            let answer = async {
                let client = processes.client(workspace).await?;
                let mut request = Request::new(message.clone());
                request.set_timeout(Duration::from_secs(5));
                anyhow::Ok(client.webhooks().receive_message(request).await?)
            };
            match answer.await {
                Ok(_) => {
                    accepted.note(&message);
                    return Ok(());
                }
                Err(error) if Instant::now() > end + PATIENCE => {
                    bail!("{} of {} was never accepted: {error:#}", message.message_id, message.chat);
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }
}
