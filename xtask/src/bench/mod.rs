//! Measures the server on this machine: the release build, over loopback, with a database that syncs.
//!
//! The generator shares the processors with what it measures, so it does as little as it can. Where there is something
//! to compare with, both are measured in turns, five times, and the medians are shown. Nothing but loopback is used, and
//! every load ends by count or by time.
//!
//! To add a row: a line in `row.rs`, and its measurement in the function of its group, below or in a file named like it.

mod crm;
mod engines;
mod growth;
mod grpc;
pub mod http;
mod idle;
mod import;
mod isolation;
mod load;
mod machine;
mod pgbench;
mod receiver;
mod recovery;
mod row;
mod server;
mod statistics;
mod timers;
mod watch;
mod webhooks;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde_json::json;
use tokio::runtime;

use self::grpc::{EchoProcess, Readers};
use self::load::Customers;
use self::machine::Machine;
use self::pgbench::Pgbench;
use self::receiver::Receiver;
use self::row::{Group, MEASURES, Measured, Row};
use self::server::{DataDir, Server};
use self::statistics::{median, percentile, spread};
use crate::paths::Paths;
use crate::run;

/// How often each side of a comparison is measured.
const PAIRS: usize = 5;
/// For how long each time.
const LENGTH: Duration = Duration::from_secs(2);
/// For how long each side runs before it counts.
const WARM_UP: Duration = Duration::from_secs(1);
/// How many chats customers write in.
const CHATS: u64 = 1_000;
/// How many chats get a message each in a round of `turns`. A message of a chat that has none waiting is a turn.
const TURNS: u64 = 3_000;
/// How many connections send, where the row doesn't say.
const CONNECTIONS: usize = 64;
/// An address that nobody is at, for channels whose replies no worker sends.
const NOWHERE: &str = "http://127.0.0.1:9/";

/// Which rows to measure and where to write them.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The rows; all that are not long by default.
    pub rows: Vec<String>,
    /// Measures the long rows too.
    #[arg(long)]
    pub long: bool,
    /// Writes the rows as JSON to this file too.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Measures this program, and builds none: to compare two states.
    #[arg(long, value_name = "FILE")]
    pub program: Option<PathBuf>,
    /// Serves the bare gRPC service that `get_dialogue` is compared with.
    #[arg(long, hide = true)]
    pub echo: bool,
}

/// Measures the rows and prints them as a table.
///
/// # Errors
///
/// When the server can't be built, a row could not be measured, or one missed its target.
pub fn run(arguments: Arguments) -> anyhow::Result<()> {
    let runtime = runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    if arguments.echo {
        return runtime.block_on(grpc::serve_echo());
    }
    for name in &arguments.rows {
        let names: Vec<&str> = MEASURES.iter().map(|measure| measure.name).collect();
        ensure!(names.contains(&name.as_str()), "there is no row {name}; the rows are {}", names.join(", "));
    }
    let program = if let Some(program) = arguments.program {
        program
    } else {
        let paths = Paths::find()?;
        run::run(run::cargo(&paths.root).args([
            "build",
            "--release",
            "--quiet",
            "--package",
            "switchboard",
        ]))?;
        paths.target.join("release/switchboard")
    };
    let machine = Machine::read();
    println!("{}", machine.line());

    let mut bench = Bench {
        program,
        wanted: arguments.rows,
        long: arguments.long,
        results: BTreeMap::new(),
        errors: Vec::new(),
    };
    runtime.block_on(bench.measure());
    let rows = bench.rows();
    println!("\n{}", row::table(&rows));
    if let Some(file) = arguments.json {
        let text = serde_json::to_string_pretty(&json!({ "machine": machine, "rows": rows }))?;
        fs::write(&file, text + "\n").with_context(|| format!("writing {}", file.display()))?;
    }
    let missed: Vec<&str> = rows.iter().filter_map(Row::missed).collect();
    if !missed.is_empty() {
        bail!("missed: {}", missed.join(", "));
    }
    Ok(())
}

/// A run of the bench.
struct Bench {
    program: PathBuf,
    /// Names of rows; none: all.
    wanted: Vec<String>,
    /// Whether all includes the long ones.
    long: bool,
    results: BTreeMap<&'static str, Measured>,
    /// Why the rest of a group was not measured.
    errors: Vec<(Group, String)>,
}

impl Bench {
    fn wants(&self, name: &str) -> bool {
        let named = self.wanted.iter().any(|wanted| wanted == name);
        let long = || MEASURES.iter().any(|measure| measure.name == name && measure.long);
        named || (self.wanted.is_empty() && (self.long || !long()))
    }

    fn wants_group(&self, group: Group) -> bool {
        MEASURES.iter().any(|measure| measure.group == group && self.wants(measure.name))
    }

    fn put(&mut self, name: &'static str, measured: Measured) {
        println!("  {name}: {:.2}", measured.value);
        self.results.insert(name, measured);
    }

    fn put_value(&mut self, name: &'static str, value: f64) {
        self.put(name, Measured { value, baseline: None, spread: None });
    }

    /// Measures the groups of the wanted rows. An error ends its group only.
    async fn measure(&mut self) {
        for &group in Group::ALL {
            if !self.wants_group(group) {
                continue;
            }
            println!("{group:?}");
            let measured = match group {
                Group::Start => self.start().await,
                Group::Ingest => self.ingest().await,
                Group::IngestWithWorkers => self.ingest_with_workers().await,
                Group::Turns => self.turns().await,
                Group::Reads => self.reads().await,
                Group::Isolation => self.isolation().await,
                Group::Timers => self.timers().await,
                Group::Watch => self.watch().await,
                Group::Webhooks => self.webhooks().await,
                Group::Recovery => self.recovery().await,
                Group::Idle => self.idle().await,
                Group::Engines => self.engines().await,
                Group::Crm => self.crm().await,
                Group::Growth => self.growth().await,
                Group::Import => self.import().await,
            };
            if let Err(error) = measured {
                println!("  {error:#}");
                self.errors.push((group, format!("{error:#}")));
            }
        }
    }

    fn rows(&self) -> Vec<Row> {
        let measured = |measure: &row::Measure| {
            self.results.get(measure.name).copied().ok_or_else(|| {
                let error = self.errors.iter().find(|(group, _)| *group == measure.group);
                error.map_or("not measured", |(_, error)| error).to_owned()
            })
        };
        MEASURES
            .iter()
            .filter(|measure| self.wants(measure.name))
            .map(|measure| Row::new(measure, measured(measure)))
            .collect()
    }

    async fn start(&mut self) -> anyhow::Result<()> {
        let data = DataDir::new()?;
        drop(Server::start(&self.program, &data, "api,worker")?);
        let mut times = Vec::new();
        for last in [false, false, false, false, true] {
            let server = Server::start(&self.program, &data, "api,worker")?;
            times.push(server.started_in.as_secs_f64() * 1e3);
            if last && self.wants("rss_idle_mib") {
                tokio::time::sleep(Duration::from_secs(3)).await;
                self.put_value("rss_idle_mib", server.memory_mib("VmRSS")?);
            }
        }
        if self.wants("start_ms") {
            let measured = Measured { value: median(&times), baseline: None, spread: spread(&times) };
            self.put("start_ms", measured);
        }
        Ok(())
    }

    async fn ingest(&mut self) -> anyhow::Result<()> {
        let data = DataDir::new()?;
        let server = Server::start(&self.program, &data, "api")?;
        let pgbench = Pgbench::prepare(&data).await?;
        let crowd = server.customers(NOWHERE.to_owned(), CHATS).await?;
        let one = server.customers(NOWHERE.to_owned(), 1).await?;
        let mut peak = None;
        for (name, connections, customers) in
            [("ingest_64", 64, &crowd), ("ingest_256", 256, &crowd), ("ingest_one_dialogue", 64, &one)]
        {
            if self.wants(name) {
                let measured = pairs(
                    async |length| customers.rush(connections, length).await,
                    async |length| pgbench.run(length).await,
                )
                .await?;
                if name == "ingest_64" {
                    peak = Some(measured.value);
                }
                self.put(name, measured);
            }
        }
        if self.wants("ingest_p99_ms") {
            let peak = match peak {
                Some(peak) => peak,
                None => peak_of(&crowd).await?,
            };
            let sent = crowd.pace(256, peak / 2.0, Duration::from_secs(5)).await?;
            // From when a message was due: a stalled server does not hide behind customers who wait for it.
            let times: Vec<f64> = sent.iter().map(|sent| ms(sent.answered - sent.due)).collect();
            self.put_value("ingest_p99_ms", percentile(&times, 99));
        }
        Ok(())
    }

    async fn ingest_with_workers(&mut self) -> anyhow::Result<()> {
        let receiver = Receiver::start().await?;
        let data = DataDir::new()?;
        let server = Server::start(&self.program, &data, "api,worker")?;
        let customers = server.customers(receiver.url(), CHATS).await?;
        let pgbench = Pgbench::prepare(&data).await?;
        let measured = pairs(
            async |length| {
                let rate = customers.rush(64, length).await;
                // The workers must be done before the database is measured alone.
                receiver.quiet().await;
                rate
            },
            async |length| pgbench.run(length).await,
        )
        .await?;
        self.put("ingest_with_workers", measured);
        Ok(())
    }

    async fn turns(&mut self) -> anyhow::Result<()> {
        let receiver = Receiver::start().await?;
        let data = DataDir::new()?;
        let server = Server::start(&self.program, &data, "api,worker")?;
        let customers = server.customers(receiver.url(), TURNS).await?;
        let mut rates = Vec::new();
        for _ in 0..=PAIRS {
            let first = customers.next_number();
            let start = customers.send(CONNECTIONS, TURNS).await?;
            let last = receiver.all(first..first + TURNS).await?.context("no replies")?;
            rates.push(per_second(TURNS, last - start));
        }
        println!(
            "  rounds: {}",
            rates.iter().map(|rate| format!("{rate:.0}")).collect::<Vec<_>>().join(", ")
        );
        // The first round makes the dialogues.
        rates.remove(0);
        let peak = median(&rates);
        if self.wants("turns") {
            self.put("turns", Measured { value: peak, baseline: None, spread: spread(&rates) });
        }
        if self.wants("rss_peak_mib") {
            self.put_value("rss_peak_mib", server.memory_mib("VmHWM")?);
        }
        if self.wants("turn_p50_ms") || self.wants("turn_p99_ms") {
            let first = customers.next_number();
            let sent = customers.pace(CONNECTIONS, peak / 10.0, Duration::from_secs(10)).await?;
            receiver.all(first..customers.next_number()).await?;
            let times: Vec<f64> = sent
                .iter()
                .filter_map(|sent| Some(ms(receiver.arrival(sent.number)? - sent.started)))
                .collect();
            for (name, percent) in [("turn_p50_ms", 50), ("turn_p99_ms", 99)] {
                if self.wants(name) {
                    self.put_value(name, percentile(&times, percent));
                }
            }
        }
        Ok(())
    }

    async fn reads(&mut self) -> anyhow::Result<()> {
        let data = DataDir::new()?;
        let server = Server::start(&self.program, &data, "api")?;
        let customers = server.customers(NOWHERE.to_owned(), CHATS).await?;
        customers.send(CONNECTIONS, CHATS).await?;
        let echo = EchoProcess::start()?;
        let readers = Readers::new(&server.grpc, &server.api_key);
        let bare = Readers::new(&echo.endpoint, &server.api_key);
        let ids = readers.dialogues().await?;
        ensure!(!ids.is_empty(), "there are no dialogues to read");
        if self.wants("get_dialogue") {
            let measured = pairs(
                async |length| readers.rush(&ids, length).await,
                async |length| bare.rush(&ids, length).await,
            )
            .await?;
            self.put("get_dialogue", measured);
        }
        if self.wants("models_cached_ms") {
            self.put_value("models_cached_ms", percentile(&readers.list_models(2_000).await?, 50));
        }
        Ok(())
    }
}

/// Measures two things in turns, after a warm-up of each. Which goes first changes, so that neither always follows the
/// other's mess.
async fn pairs(
    mut ours: impl AsyncFnMut(Duration) -> anyhow::Result<f64>,
    mut baseline: impl AsyncFnMut(Duration) -> anyhow::Result<f64>,
) -> anyhow::Result<Measured> {
    ours(WARM_UP).await?;
    baseline(WARM_UP).await?;
    let (mut values, mut baselines) = (Vec::new(), Vec::new());
    for pair in 0..PAIRS {
        if pair % 2 == 0 {
            values.push(ours(LENGTH).await?);
            baselines.push(baseline(LENGTH).await?);
        } else {
            baselines.push(baseline(LENGTH).await?);
            values.push(ours(LENGTH).await?);
        }
    }
    let ratios: Vec<f64> = values.iter().zip(&baselines).map(|(value, baseline)| value / baseline).collect();
    Ok(Measured { value: median(&values), baseline: Some(median(&baselines)), spread: spread(&ratios) })
}

async fn peak_of(customers: &Customers) -> anyhow::Result<f64> {
    customers.rush(CONNECTIONS, WARM_UP).await?;
    customers.rush(CONNECTIONS, LENGTH).await
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[expect(clippy::cast_precision_loss, reason = "counts of a bench are small")]
fn per_second(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}
