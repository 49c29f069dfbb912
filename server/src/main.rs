//! The binary: `serve`, `demo`, `simulate`, `migrate`, `keys`, and the client commands of `switchboard-cli`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use switchboard_server::{
    config::{Config, Roles},
    demo, keys, simulate, start, telemetry,
};

#[derive(Parser)]
#[command(name = "switchboard", version, about = "Connects messengers and CRMs with AI agents, over gRPC.")]
struct Cli {
    #[command(flatten)]
    options: switchboard_cli::Options,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Starts a server. Settings come from the environment; nothing has to be set.
    Serve {
        /// What this process does: api, worker, or both.
        #[arg(long, value_parser = Roles::parse)]
        roles: Option<Roles>,
    },
    /// Shows a conversation: a server, an agent, a channel and a small messenger; you write as the customer.
    Demo,
    /// Serves the APIs of the engines' vendors on loopback, with a scripted model behind them.
    Simulate(simulate::Options),
    /// Brings the database up to date, as its owner.
    Migrate,
    /// Creates, lists and revokes API keys, straight in the database.
    #[command(subcommand)]
    Keys(keys::Command),
    /// What any caller of the API can do.
    #[command(flatten)]
    Client(switchboard_cli::Command),
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Command::Client(command) = cli.command {
        return switchboard_cli::run(&cli.options, command).await;
    }
    let mut config = match Config::from_env() {
        Ok(config) => config,
        Err(mistakes) => {
            say(&format!("The environment has mistakes:\n{mistakes}"));
            return ExitCode::from(2);
        }
    };
    if matches!(cli.command, Command::Demo) && std::env::var_os("SWITCHBOARD_LOG").is_none() {
        // A conversation, not a log.
        "warn".clone_into(&mut config.log);
    }
    telemetry::start(&config.log, config.log_json);
    #[cfg(feature = "failpoints")]
    if let Err(error) = domain::fail_point::install(&config.fail_points) {
        say(&format!("SWITCHBOARD_FAIL_POINTS: {error}"));
        return ExitCode::from(2);
    }
    let done = match cli.command {
        Command::Serve { roles } => {
            config.roles = roles.unwrap_or(config.roles);
            start::serve(&config).await
        }
        Command::Demo => demo::run(&config).await,
        Command::Simulate(options) => simulate::run(&options).await,
        Command::Migrate => migrate(&config).await,
        Command::Keys(command) => keys::run(&config, cli.options.output(), command).await,
        Command::Client(_) => unreachable!("client commands returned above"),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn migrate(config: &Config) -> anyhow::Result<()> {
    start::Database::open(config).await?.close().await
}

#[expect(clippy::print_stderr, reason = "a word to the person at the terminal")]
fn say(text: &str) {
    eprintln!("{text}");
}
