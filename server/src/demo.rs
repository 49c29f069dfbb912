//! `switchboard demo`: a conversation within a minute, with no account anywhere.
//!
//! It starts a whole server on a private database in a temporary directory, makes an agent and a channel, starts a small
//! messenger that the replies are posted to, and lets the person type as the customer. What is typed goes in as any
//! customer's message, is kept, answered by the mock engine, and delivered over HTTP. Piped input works too.

use std::{net::Ipv4Addr, path::PathBuf, time::Duration};

use anyhow::Context as _;
use app::{
    Caller,
    agents::NewAgent,
    channels::{NewChannel, OpenChannel},
};
use domain::{
    agent::Engine,
    inbound::{InboundMessage, RawRequest},
    new_message::NewMessage,
    policy::{DeliveryPolicy, OnFailure, ReplyPolicy},
    profile::Profile,
    workspace::Scopes,
};
use secrecy::ExposeSecret;
use simulator::generic_http::{Credentials, Messenger};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::{
    config::Config,
    start::{self, Server},
};

/// How long an answer may take before the person is told that none came.
const PATIENCE: Duration = Duration::from_secs(30);

/// A directory that goes away with the demo.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs until the person is done: end of input, or Ctrl-C.
pub async fn run(config: &Config) -> anyhow::Result<()> {
    let scratch = Scratch(std::env::temp_dir().join(format!("switchboard-demo-{}", std::process::id())));
    let config = Config {
        database_url: None,
        data_dir: Some(scratch.0.clone()),
        http_addr: (Ipv4Addr::LOCALHOST, 0).into(),
        grpc_addr: (Ipv4Addr::LOCALHOST, 0).into(),
        // The messenger is on this machine.
        allow_private_targets: "127.0.0.0/8".to_owned(),
        roles: crate::config::Roles { api: true, worker: true },
        ..config.clone()
    };
    let server = start::start(&config).await?;
    let talked = talk(&server, &config).await;
    server.stop().await?;
    talked
}

#[expect(clippy::print_stdout, reason = "a conversation with the person at the terminal")]
async fn talk(server: &Server, config: &Config) -> anyhow::Result<()> {
    let messenger =
        Messenger::start((Ipv4Addr::LOCALHOST, 0).into()).await.context("starting the messenger")?;
    let (agent_token, open) = set_up(server, config, &messenger).await?;
    messenger.expect(Credentials {
        token_header: config.outbound_token_header.clone(),
        token: open.token.expose_secret().to_owned(),
        signing_secrets: vec![open.signing_secret.expose_secret().to_owned()],
    });
    let mut replies = messenger.subscribe();
    let data = config.data_dir()?;
    let address = |address: Option<std::net::SocketAddr>| address.map(|a| a.to_string()).unwrap_or_default();
    println!("Switchboard runs, with an agent, a channel and a small messenger of its own.");
    println!("  HTTP and its documentation  http://{}/docs", address(server.http));
    println!("  gRPC, with reflection       {}", address(server.grpc));
    println!("  look on from another window ./start watch --data-dir {}", data.display());
    println!("Write as the customer; end with Ctrl-D.");

    let agent = server.app.authenticate_agent(Some(&format!("Bearer {agent_token}"))).await?;
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    loop {
        let line = tokio::select! {
            line = lines.next_line() => line?,
            _ = tokio::signal::ctrl_c() => None,
        };
        let Some(line) = line else { break };
        if line.trim().is_empty() {
            continue;
        }
        println!("customer  {line}");
        let message = InboundMessage { text: line, ..InboundMessage::default() };
        let body = NewMessage::body(open.channel.id, &message).into();
        let raw = RawRequest { body, ..RawRequest::default() };
        if let Err(error) = server.app.new_message(agent, open.channel.id, message, raw).await {
            println!("refused   {}", error.to_domain());
            continue;
        }
        match tokio::time::timeout(PATIENCE, replies.recv()).await {
            Ok(Ok(reply)) => println!("agent     {}", reply.text),
            Ok(Err(_)) => break,
            Err(_) => println!("          (no answer within {} seconds)", PATIENCE.as_secs()),
        }
    }
    messenger.stop().await;
    Ok(())
}

async fn set_up(
    server: &Server,
    config: &Config,
    messenger: &Messenger,
) -> anyhow::Result<(String, OpenChannel)> {
    let credentials = std::fs::read_to_string(config.data_dir()?.join("credentials"))?;
    let workspace = credentials
        .lines()
        .find_map(|line| line.strip_prefix("workspace_id="))
        .context("the first start wrote no workspace")?
        .parse()?;
    let caller = Caller::Workspace { workspace, scopes: Scopes::all() };
    let engine = Engine {
        vendor: "mock".to_owned(),
        integration: None,
        model: String::new(),
        temperature: None,
        max_output_tokens: None,
        settings: serde_json::json!({}),
        price: None,
    };
    let new = NewAgent {
        profile: Profile::default(),
        header_values: Vec::new(),
        reply_policy: ReplyPolicy::default(),
        display_name: "Demo agent".to_owned(),
        instructions: "Answer the customer.".to_owned(),
        engine: Some(engine),
        active: true,
        budgets: Vec::new(),
        on_budget_exhausted: OnFailure::StaySilent,
    };
    let (agent, token) = server.app.create_agent(&caller, new, "").await?;
    let new = NewChannel {
        mirror: None,
        delivery_policy: DeliveryPolicy::default(),
        display_name: "Demo channel".to_owned(),
        agent: Some(agent.id),
        vendor: String::new(),
        url: messenger.url(),
        integration: None,
        settings: serde_json::json!({}),
        active: true,
    };
    let open = server.app.create_channel(&caller, new, "").await?;
    let token = token.context("a new agent has a token")?;
    Ok((token.expose_secret().to_owned(), open))
}
