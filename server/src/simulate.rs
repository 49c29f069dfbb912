//! `switchboard simulate`: the vendors of models, edna and amoCRM on loopback, for trying agents and channels without an account
//! anywhere.

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use anyhow::Context as _;
use domain::{Clock as _, SystemClock};
use simulator::{
    Clock, KEY, Simulator,
    amocrm::{AmoCrm, CHATS_BOT, CHATS_CHANNEL, CHATS_SECRET, CLIENT_ID},
    edna::Edna,
};
use switchboard_sdk::{Client, v1};

/// The secret of the integration at the simulated amoCRM.
const CLIENT_SECRET: &str = "simulated-client-secret";

/// Where the simulator listens.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The address; port 0 is any free one.
    #[arg(long, default_value = "127.0.0.1:4010")]
    listen: SocketAddr,
    /// A server, such as `http://127.0.0.1:50051`, whose clock is moved with the simulator's. It must be a simulation itself
    /// (`SWITCHBOARD_SIMULATION=on`).
    #[arg(long, requires = "operator_key")]
    server: Option<String>,
    /// The operator key that its clock is moved with.
    #[arg(long, env = "SWITCHBOARD_OPERATOR_KEY", hide_env_values = true)]
    operator_key: Option<String>,
    /// The address of edna. Default: the next port.
    #[arg(long)]
    edna: Option<SocketAddr>,
    /// The address of amoCRM: OAuth, REST and the Chats API. Default: the port after that.
    #[arg(long)]
    amocrm: Option<SocketAddr>,
    /// Where amoCRM sends people back who consented: the server's `/oauth/callback`.
    #[arg(long, default_value = "http://127.0.0.1:8000/oauth/callback")]
    redirect_url: String,
    /// Keeps no calls and only counts them, for measurements.
    #[arg(long, hide = true)]
    quiet: bool,
}

impl Options {
    /// The address so many ports further; any free one where the first is.
    fn next(&self, further: u16) -> SocketAddr {
        let port = if self.listen.port() == 0 { 0 } else { self.listen.port().wrapping_add(further) };
        SocketAddr::new(self.listen.ip(), port)
    }
}

/// Runs until Ctrl-C.
#[expect(clippy::print_stdout, reason = "what the person at the terminal goes on with")]
pub async fn run(options: &Options) -> anyhow::Result<()> {
    let clock = Clock::starting_at(SystemClock.now().unix_timestamp());
    let simulator = Simulator::start_with(options.listen, clock, options.quiet)
        .await
        .with_context(|| format!("listening on {}", options.listen))?;
    println!(
        "# The vendors are at http://{0}; see and steer them at http://{0}/control.",
        simulator.address()
    );
    println!("# A server uses them, for agents without an integration, when it starts with:");
    for vendor in simulator.vendors() {
        let name = vendor.id().to_uppercase();
        println!("export {name}_BASE_URL={} {name}_API_KEY={KEY}", vendor.base_url());
    }
    println!("export SWITCHBOARD_ALLOW_PRIVATE_TARGETS=127.0.0.0/8");
    let at = options.edna.unwrap_or_else(|| options.next(1));
    let edna = Edna::start(at, KEY).await.with_context(|| format!("listening on {at}"))?;
    let at = options.amocrm.unwrap_or_else(|| options.next(2));
    let amocrm = AmoCrm::start(at, CLIENT_SECRET, &options.redirect_url)
        .await
        .with_context(|| format!("listening on {at}"))?;
    println!("# edna is at {}, with the key {KEY}.", edna.base_url());
    println!(
        "#   POST {}/control/customer {{\"from\": \"79990000002\", \"text\": \"Hi\"}} has a customer write.",
        edna.base_url().trim_end_matches("/api")
    );
    println!("# amoCRM is at {0}: base_url and chats_url of an integration, with", amocrm.base_url());
    println!(
        "#   subdomain=acme client_id={CLIENT_ID} redirect_url={} client_secret={CLIENT_SECRET} chats_secret={CHATS_SECRET}",
        options.redirect_url
    );
    println!("#   and of a channel chats_channel_id={CHATS_CHANNEL} bot_id={CHATS_BOT}.");
    println!(
        "#   PUT {0}/control/chats/hook {{\"url\": \"http://127.0.0.1:8000/hooks/CHANNEL\"}}, then POST \
         {0}/control/chats/manager {{\"conversation_id\": \"…\", \"text\": \"Hi\"}} has a manager write.",
        amocrm.base_url()
    );
    println!("# End with Ctrl-C.");
    let moved = follow(options, simulator.clock());
    tokio::select! {
        ended = tokio::signal::ctrl_c() => ended?,
        error = moved => return Err(error),
    }
    simulator.stop().await;
    Ok(())
}

/// Moves the server's clock whenever the simulator's was moved. Ends only when it can't.
async fn follow(options: &Options, clock: &Clock) -> anyhow::Error {
    let (Some(server), Some(key)) = (&options.server, &options.operator_key) else {
        return std::future::pending().await;
    };
    match move_along(server, key, clock).await {
        Ok(never) => match never {},
        Err(error) => error.context("moving the server's clock"),
    }
}

async fn move_along(server: &str, key: &str, clock: &Clock) -> anyhow::Result<Infallible> {
    let client = Client::builder(server).api_key(key).connect_lazy()?;
    let mut told = Duration::ZERO;
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let by = clock.advanced().saturating_sub(told);
        if !by.is_zero() {
            let request = v1::AdvanceClockRequest { duration: Some(by.try_into()?) };
            client.workspaces().advance_clock(request).await?;
            told += by;
        }
    }
}
