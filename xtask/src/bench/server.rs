//! The measured server: the release build, with a private database that syncs.

use std::fs::{self, File, Permissions};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection};
use switchboard_sdk::v1::{Agent, Channel, CreateAgentRequest, CreateChannelRequest};
use switchboard_sdk::{Client, tonic::Request};
use tempfile::TempDir;

use super::load::Customers;
use crate::run;

/// How long a first start may take: it makes a database cluster and migrates it.
const START: Duration = Duration::from_secs(90);
/// How long a stop may take: work in hand ends first, and the database writes what it holds.
const STOP: Duration = Duration::from_secs(90);

/// A data directory, removed when it is dropped.
#[derive(Debug)]
pub struct DataDir(TempDir);

impl DataDir {
    /// Makes an empty one. Its path is short because the database's socket lies below it, and others may pass through
    /// because as root the database runs as another user.
    pub fn new() -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("sb-")
            .permissions(Permissions::from_mode(0o711))
            .tempdir_in("/tmp")
            .context("making a data directory")?;
        Ok(Self(folder))
    }

    /// The folder of the private database's socket.
    pub fn socket(&self) -> PathBuf {
        self.0.path().join("pg/socket")
    }

    /// The number in the socket's name: the fourth line of the private database's pid file.
    pub fn port(&self) -> anyhow::Result<u16> {
        let file = self.file("pg/data/postmaster.pid");
        let text = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        text.lines().nth(3).unwrap_or("5432").trim().parse().context("reading the database's port")
    }

    /// A connection as the owner to one of the private database's databases, while a server runs.
    pub async fn database(&self, name: &str) -> anyhow::Result<PgConnection> {
        let options = PgConnectOptions::new_without_pgpass()
            .socket(self.socket())
            .port(self.port()?)
            .database(name)
            .username("postgres");
        Ok(PgConnection::connect_with(&options).await?)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// A running server. Dropping it stops it.
#[derive(Debug)]
pub struct Server {
    /// The public HTTP listener.
    pub http: SocketAddr,
    /// The gRPC endpoint.
    pub grpc: String,
    /// A key of its first workspace.
    pub api_key: String,
    /// From the start of the program to its first good `/readyz`.
    pub started_in: Duration,
    child: Child,
}

impl Server {
    /// Starts the program on a data directory and waits until it is ready.
    pub fn start(program: &Path, data: &DataDir, roles: &str) -> anyhow::Result<Self> {
        Self::start_with(program, data, roles, &[])
    }

    /// The same with further variables of its environment.
    pub fn start_with(
        program: &Path,
        data: &DataDir,
        roles: &str,
        settings: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let listeners = data.file("listeners");
        if listeners.exists() {
            fs::remove_file(&listeners)?;
        }
        let log_path = data.file("server.log");
        let log = File::create(&log_path)?;
        let mut command = Command::new(program);
        command
            .arg("serve")
            .env_remove("DATABASE_URL")
            .env("SWITCHBOARD_DATA_DIR", data.0.path())
            .env("SWITCHBOARD_HTTP_ADDR", "127.0.0.1:0")
            .env("SWITCHBOARD_GRPC_ADDR", "127.0.0.1:0")
            .env("SWITCHBOARD_ALLOW_PRIVATE_TARGETS", "all")
            .env("SWITCHBOARD_ROLES", roles)
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let start = Instant::now();
        let child = command.spawn().with_context(|| format!("starting {}", program.display()))?;
        let mut server = Self {
            http: SocketAddr::from(([127, 0, 0, 1], 0)),
            grpc: String::new(),
            api_key: String::new(),
            started_in: Duration::ZERO,
            child,
        };
        server.wait_until_ready(data, start).with_context(|| {
            let log = fs::read_to_string(&log_path).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let end = lines[lines.len().saturating_sub(20)..].join("\n");
            format!("the server did not start; the end of its log:\n{end}")
        })?;
        Ok(server)
    }

    fn wait_until_ready(&mut self, data: &DataDir, start: Instant) -> anyhow::Result<()> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended: {status}");
            }
            if start.elapsed() > START {
                bail!("it was not ready within {} s", START.as_secs());
            }
            thread::sleep(Duration::from_millis(1));
            let text = fs::read_to_string(data.file("listeners")).unwrap_or_default();
            let (Some(http), Some(grpc)) = (value(&text, "http"), value(&text, "grpc")) else { continue };
            self.http = http.parse()?;
            self.grpc = format!("http://{grpc}");
            if is_ready(self.http) {
                break;
            }
        }
        self.started_in = start.elapsed();
        let credentials = fs::read_to_string(data.file("credentials")).context("reading credentials")?;
        value(&credentials, "workspace_key")
            .context("no workspace_key in credentials")?
            .clone_into(&mut self.api_key);
        Ok(())
    }

    /// Creates an agent with the mock engine and a channel that delivers to the URL.
    pub async fn customers(&self, url: String, chats: u64) -> anyhow::Result<Customers> {
        self.customers_of(Agent::default(), url, chats).await
    }

    /// The same with the policy and the engine's settings of the given agent.
    pub async fn customers_of(&self, agent: Agent, url: String, chats: u64) -> anyhow::Result<Customers> {
        let client = Client::connect(&self.grpc, &self.api_key).await?;
        let mut engine = agent.engine.unwrap_or_default();
        if engine.vendor.is_empty() {
            "mock".clone_into(&mut engine.vendor);
        }
        let agent = Agent { display_name: "Bench".to_owned(), engine: Some(engine), ..agent };
        let request = CreateAgentRequest { agent: Some(agent), ..CreateAgentRequest::default() };
        let created = client.agents().create_agent(Request::new(request)).await?.into_inner();
        let channel = Channel {
            display_name: "Bench".to_owned(),
            agent_id: created.agent.unwrap_or_default().id,
            url,
            ..Channel::default()
        };
        let request = CreateChannelRequest { channel: Some(channel), ..CreateChannelRequest::default() };
        let channel = client.channels().create_channel(Request::new(request)).await?.into_inner().channel;
        Ok(Customers::new(self.http, &created.token, &channel.unwrap_or_default().id, chats))
    }

    /// A figure of `/proc/<pid>/status` in MiB: `VmRSS` or `VmHWM`.
    pub fn memory_mib(&self, name: &str) -> anyhow::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        kib(&status, name).map(|kib| kib / 1024.0).with_context(|| format!("no {name} in its status"))
    }

    /// Kills it, as `kill -9` does. Its database lives on.
    pub fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    fn end(&mut self) -> anyhow::Result<()> {
        if self.child.try_wait()?.is_some() {
            return Ok(());
        }
        // The standard library can only kill, and the workspace forbids `unsafe`; every shell can send a signal.
        run::capture(Command::new("sh").arg("-c").arg(format!("kill -TERM {}", self.child.id())))?;
        let start = Instant::now();
        while self.child.try_wait()?.is_none() {
            if start.elapsed() > STOP {
                self.child.kill()?;
                self.child.wait()?;
                bail!("the server did not stop within {} s of SIGTERM and was killed", STOP.as_secs());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("stopping the server: {error:#}");
        }
    }
}

fn is_ready(http: SocketAddr) -> bool {
    let ask = || {
        let mut stream = TcpStream::connect(http)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
        let mut status = [0; 13];
        stream.read_exact(&mut status)?;
        std::io::Result::Ok(status == *b"HTTP/1.1 200 ")
    };
    ask().unwrap_or(false)
}

/// The value of a complete line `name=value`: the file may be half written.
fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.split_inclusive('\n')
        .filter_map(|line| line.strip_suffix('\n'))
        .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
}

/// A figure of a file like `/proc/meminfo`, in KiB.
pub fn kib(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read() {
        assert_eq!(value("http=1\ngrpc=2\n", "grpc"), Some("2"));
        assert_eq!(value("http=1\ngrpc=2", "grpc"), None);
        assert_eq!(kib("VmHWM:\t   2048 kB\nVmRSS:\t 1024 kB\n", "VmRSS"), Some(1024.0));
        assert_eq!(kib("VmRSS:\t 1024 kB\n", "Vm"), None);
    }
}
