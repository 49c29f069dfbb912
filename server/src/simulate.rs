//! `switchboard simulate`: the vendors of models on loopback, for trying agents without an account anywhere.

use std::net::SocketAddr;

use anyhow::Context as _;
use domain::{Clock as _, SystemClock};
use simulator::{Clock, KEY, Simulator};

/// Where the simulator listens.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The address; port 0 is any free one.
    #[arg(long, default_value = "127.0.0.1:4010")]
    listen: SocketAddr,
    /// Keeps no calls and only counts them, for measurements.
    #[arg(long, hide = true)]
    quiet: bool,
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
    println!("# End with Ctrl-C.");
    tokio::signal::ctrl_c().await?;
    simulator.stop().await;
    Ok(())
}
