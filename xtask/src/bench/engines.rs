//! What an engine costs over a bare HTTP client, and what turns cost that wait for one.
//!
//! The vendor is `switchboard simulate`. The engine is called from a program of its own,
//! `server/crates/vendors/examples/engine_streams.rs`, since what it costs is measured in that process's time.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde::Deserialize;
use serde_json::Value;
use switchboard_sdk::v1::{Agent, Engine};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::server::{DataDir, Server};
use super::statistics::{median, spread};
use super::{Bench, CONNECTIONS, Measured, NOWHERE, PAIRS};
use crate::paths::Paths;
use crate::run;

/// How many streams are open at once, and how long each side is measured.
const STREAMS: &str = "200";
const SECONDS: &str = "5";
/// How many turns wait for their engine at once.
const WAITING: u64 = 5_000;
/// How long they may take to begin.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long they wait before the server's memory is read.
const WAIT: Duration = Duration::from_secs(3);

/// What one side of a pair took.
#[derive(Deserialize)]
struct Side {
    p50_ms: f64,
    cpu_ms: f64,
}

#[derive(Deserialize)]
struct Pair {
    engine: Side,
    bare: Side,
}

impl Bench {
    pub(super) async fn engines(&mut self) -> anyhow::Result<()> {
        if self.wants("engine_overhead_ms") || self.wants("engine_cpu_ratio") {
            self.streams()?;
        }
        if self.wants("waiting_turns_rss_mib") {
            self.waiting().await?;
        }
        Ok(())
    }

    fn streams(&mut self) -> anyhow::Result<()> {
        let paths = Paths::find()?;
        let cargo = &mut run::cargo(&paths.root);
        run::run(cargo.args([
            "build",
            "--release",
            "--quiet",
            "--package",
            "switchboard-vendors",
            "--example",
            "engine_streams",
        ]))?;
        let simulator = Simulator::start(&self.program)?;
        let output = Command::new(paths.target.join("release/examples/engine_streams"))
            .args([&simulator.base_url, &simulator.key, STREAMS, SECONDS, &PAIRS.to_string()])
            .stderr(Stdio::inherit())
            .output()?;
        ensure!(output.status.success(), "the streams ended with {}", output.status);
        let pairs = std::str::from_utf8(&output.stdout)?.lines().map(serde_json::from_str::<Pair>);
        let pairs: Vec<Pair> = pairs.collect::<Result<_, _>>()?;
        let of = |figure: fn(&Pair) -> f64| pairs.iter().map(figure).collect::<Vec<_>>();
        let longer = of(|pair| pair.engine.p50_ms - pair.bare.p50_ms);
        if self.wants("engine_overhead_ms") {
            let measured = Measured { value: median(&longer), baseline: None, spread: spread(&longer) };
            self.put("engine_overhead_ms", measured);
        }
        if self.wants("engine_cpu_ratio") {
            let measured = Measured {
                value: median(&of(|pair| pair.engine.cpu_ms)),
                baseline: Some(median(&of(|pair| pair.bare.cpu_ms))),
                spread: spread(&of(|pair| pair.engine.cpu_ms / pair.bare.cpu_ms)),
            };
            self.put("engine_cpu_ratio", measured);
        }
        Ok(())
    }

    async fn waiting(&mut self) -> anyhow::Result<()> {
        let simulator = Simulator::start(&self.program)?;
        // The vendor takes every call and says nothing.
        simulator.control("POST /control/faults/openai", r#"{"fault": {"hang_ms": 600000}}"#).await?;
        let data = DataDir::new()?;
        let concurrency = (WAITING + 100).to_string();
        let settings = [
            ("OPENAI_BASE_URL", simulator.base_url.as_str()),
            ("OPENAI_API_KEY", &simulator.key),
            ("SWITCHBOARD_CONCURRENCY", &concurrency),
        ];
        let server = Server::start_with(&self.program, &data, "api,worker", &settings)?;
        let engine =
            Engine { vendor: "openai".to_owned(), model: "gpt-4o-mini".to_owned(), ..Engine::default() };
        let agent = Agent { engine: Some(engine), ..Agent::default() };
        let customers = server.customers_of(agent, NOWHERE.to_owned(), WAITING).await?;
        customers.send(CONNECTIONS, WAITING).await?;
        let start = Instant::now();
        loop {
            let calls = simulator.calls().await?;
            if calls == WAITING {
                break;
            }
            ensure!(start.elapsed() < PATIENCE, "{calls} of {WAITING} turns wait for their engine");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        tokio::time::sleep(WAIT).await;
        ensure!(simulator.calls().await? == WAITING, "calls did not stay open");
        println!("  memory at its highest: {:.0} MiB", server.memory_mib("VmHWM")?);
        self.put_value("waiting_turns_rss_mib", server.memory_mib("VmRSS")?);
        Ok(())
    }
}

/// The simulator in a process of its own, until it is dropped.
struct Simulator {
    child: Child,
    base_url: String,
    key: String,
}

impl Drop for Simulator {
    fn drop(&mut self) {
        // It keeps nothing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Simulator {
    fn start(program: &Path) -> anyhow::Result<Self> {
        let mut child = Command::new(program)
            .args(["simulate", "--quiet", "--listen", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let output = child.stdout.take().context("it has an output")?;
        let mut simulator = Self { child, base_url: String::new(), key: String::new() };
        for line in BufReader::new(output).lines() {
            let line = line?;
            for word in line.split_whitespace() {
                match word.split_once('=') {
                    Some(("OPENAI_BASE_URL", url)) => url.clone_into(&mut simulator.base_url),
                    Some(("OPENAI_API_KEY", key)) => key.clone_into(&mut simulator.key),
                    _ => {}
                }
            }
            if line.contains("Ctrl-C") {
                break;
            }
        }
        ensure!(!simulator.base_url.is_empty(), "the simulator did not say where it is");
        Ok(simulator)
    }

    /// Steers it, or asks how it goes.
    async fn control(&self, first_line: &str, body: &str) -> anyhow::Result<Value> {
        let address = self.base_url.trim_start_matches("http://").split('/').next().unwrap_or_default();
        let mut stream = TcpStream::connect(address).await?;
        let length = body.len();
        let request = format!(
            "{first_line} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let (_, body) = answer.split_once("\r\n\r\n").context("no answer")?;
        Ok(serde_json::from_str(body)?)
    }

    /// How many calls are open.
    async fn calls(&self) -> anyhow::Result<u64> {
        let overview = self.control("GET /control", "").await?;
        let vendors = overview["vendors"].as_array().context("no vendors")?;
        let vendor = vendors.iter().find(|vendor| vendor["id"] == "openai").context("no openai")?;
        let count = |name: &str| vendor["calls"][name].as_u64().unwrap_or_default();
        Ok(count("begun") - count("ended"))
    }
}
