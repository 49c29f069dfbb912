//! `cargo xtask torture`: the real program in several processes on one database, killed, frozen, cut off and ended at named
//! fail points, while customers write, repeat themselves and come in bursts, and an engine and a
//! messenger refuse, cut and dawdle. In the end the ledgers of all three are compared with what the database holds.
//!
//! What is decided by chance is drawn from a seed that is printed: `--seed` makes the same plan again. What the machine
//! does in between is its own.

mod customers;
mod messenger;
mod model;
mod processes;
mod verdict;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use switchboard_sdk::Client;
use switchboard_sdk::tonic::Request;
use switchboard_sdk::v1::{ListEventsRequest, NewerMessage, ReplyPolicy, UncertainPolicy};

use self::customers::{Accepted, Route};
use self::messenger::Messenger;
use self::model::Model;
use self::processes::Processes;
use crate::paths::Paths;
use crate::run;

/// How long, how many, and which plan.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// For how many seconds the faults go on.
    #[arg(long, default_value_t = 120)]
    seconds: u64,
    /// The plan of an earlier run; it printed its seed.
    #[arg(long)]
    seed: Option<u64>,
    /// How many server processes share the database.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(2..=16))]
    processes: u8,
    /// The chance of a process to end at each fail point that it reaches.
    #[arg(long, default_value_t = 0.001)]
    fail_points: f64,
}

impl Arguments {
    /// What CI runs: two minutes of a new plan each time.
    pub const fn for_ci() -> Self {
        Self { seconds: 120, seed: None, processes: 3, fail_points: 0.001 }
    }
}

/// How long the work may take to come to rest after the last fault: a lease, the longest pauses, and time for the rest.
const REST: Duration = Duration::from_mins(2);
/// Chats on each kind of channel.
const CHATS: u32 = 6;

/// Tortures, and says what came of it; gives the seed, in words.
pub fn run(paths: &Paths, arguments: &Arguments) -> anyhow::Result<String> {
    let mut build = run::cargo(&paths.root);
    run::run(build.args(["build", "--quiet", "--package=switchboard", "--features=failpoints"]).args([
        // Beside the program that tests use, which has no fail points.
        "--target-dir",
        &paths.target.join("torture").display().to_string(),
    ]))?;
    let program = paths.target.join("torture/debug/switchboard");
    tokio::runtime::Runtime::new()?.block_on(torture(arguments, &program))
}

async fn torture(arguments: &Arguments, program: &std::path::Path) -> anyhow::Result<String> {
    let seed = arguments.seed.unwrap_or_else(|| rand::rng().random_range(0..1_000_000));
    println!(
        "seed {seed}; to repeat the plan: cargo xtask torture --seed {seed} --seconds {}",
        arguments.seconds
    );
    let messenger = Arc::new(Messenger::start(seed).await?);
    let model = Arc::new(Model::start(seed).await?);
    let plan = processes::Plan {
        program: program.to_path_buf(),
        count: arguments.processes,
        fail_points: arguments.fail_points,
        seed,
        engine: model.url(),
    };
    let processes = Arc::new(Processes::start(plan).await?);
    let routes = set_up(&processes, &messenger.url()).await?;
    let accepted = Arc::<Accepted>::default();

    let end = Instant::now() + Duration::from_secs(arguments.seconds);
    let mut customers = tokio::task::JoinSet::new();
    for (number, route) in (0_u64..).zip(&routes) {
        for chat in 0..u64::from(CHATS) {
            let rng = StdRng::seed_from_u64(seed ^ (number << 32 | chat << 16 | 1));
            let who = customers::Customer::new(route.clone(), format!("chat-{chat}"), rng);
            customers.spawn(who.write(Arc::clone(&processes), Arc::clone(&accepted), end));
        }
    }
    let watcher = tokio::spawn(watch(Arc::clone(&processes), end));
    processes.torment(StdRng::seed_from_u64(seed), end).await?;
    println!("the faults are over; waiting for the work to come to rest");
    processes.heal().await?;
    while let Some(done) = customers.join_next().await {
        done??;
    }
    let mut seen = watcher.await??;
    messenger.behave();
    model.behave();
    let mut database = processes.database().await?;
    verdict::rest(&mut database, REST).await?;
    read_on(&processes, &mut seen).await?;

    println!("{}", processes.summary()?);
    let verdict = verdict::judge(&mut database, &accepted, &model, &messenger, &seen.ids).await;
    drop(database);
    let Ok(processes) = Arc::try_unwrap(processes) else {
        anyhow::bail!("somebody still holds the processes")
    };
    processes.end()?;
    let report = verdict.with_context(|| format!("seed {seed}"))?;
    println!("{report}");
    Ok(format!("seed {seed}"))
}

/// One agent and channel of each kind.
async fn set_up(processes: &Processes, url: &str) -> anyhow::Result<Vec<Route>> {
    let client = processes.first().await?;
    let quiet = switchboard_sdk::prost_types::Duration { seconds: 0, nanos: 300_000_000 };
    let restart = ReplyPolicy { newer_message: NewerMessage::Restart.into(), ..ReplyPolicy::default() };
    let burst = ReplyPolicy { quiet_window: Some(quiet), ..ReplyPolicy::default() };
    let mut routes = Vec::new();
    for (name, policy, uncertain) in [
        ("next turn", ReplyPolicy::default(), UncertainPolicy::Resend),
        ("restart", restart, UncertainPolicy::Resend),
        ("quiet window", burst, UncertainPolicy::Resend),
        ("hold", ReplyPolicy::default(), UncertainPolicy::Hold),
    ] {
        routes.push(customers::route(&client, name, policy, uncertain, url).await?);
    }
    Ok(routes)
}

/// What a reader of the log has seen, in its order.
#[derive(Debug, Default)]
struct Seen {
    cursor: String,
    ids: Vec<String>,
}

/// Reads the log while the faults go on, from one process and another.
async fn watch(processes: Arc<Processes>, end: Instant) -> anyhow::Result<Seen> {
    let mut seen = Seen::default();
    while Instant::now() < end {
        // A process that dies while it answers is asked again, at another.
        let _ = read_on(&processes, &mut seen).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(seen)
}

/// Reads the log from the cursor to its end.
async fn read_on(processes: &Processes, seen: &mut Seen) -> anyhow::Result<()> {
    let client: Client = processes.client().await?;
    loop {
        let request =
            ListEventsRequest { page_size: 500, cursor: seen.cursor.clone(), ..ListEventsRequest::default() };
        let page = client.events().list_events(Request::new(request)).await?.into_inner();
        seen.ids.extend(page.events.into_iter().map(|event| event.id));
        seen.cursor = page.next_cursor;
        if !page.more {
            return Ok(());
        }
    }
}
