//! The real server, started for as long as a test of an SDK needs it.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tempfile::TempDir;

use crate::paths::Paths;
use crate::run;

/// How long a first start may take: it makes a database cluster and migrates it.
const START: Duration = Duration::from_secs(90);
/// How long a stop may take before the process is killed.
const STOP: Duration = Duration::from_secs(15);

/// A running `switchboard serve` with a database of its own. Dropping it stops the server and removes its data.
#[derive(Debug)]
pub struct ServerUnderTest {
    /// Where gRPC and gRPC-web are served: `http://127.0.0.1:PORT`.
    pub grpc: String,
    /// Where webhooks and the HTTP shim are served: `http://127.0.0.1:PORT`.
    pub http: String,
    /// A key of its first workspace, with every scope.
    pub api_key: String,
    /// Its data directory.
    pub data_dir: PathBuf,
    child: Child,
    // Removed after the server has stopped: `Drop` runs before the fields are dropped.
    _folder: TempDir,
}

impl ServerUnderTest {
    /// Builds the server, starts it on free ports of loopback and waits until it serves.
    ///
    /// # Errors
    ///
    /// When it doesn't build, ends, or isn't ready in time; the error holds the end of its log.
    pub fn start(paths: &Paths) -> anyhow::Result<Self> {
        run::run(run::cargo(&paths.root).args(["build", "--quiet", "--package", "switchboard"]))?;
        Self::start_program(&paths.target.join("debug/switchboard"))
    }

    fn start_program(program: &Path) -> anyhow::Result<Self> {
        // The path is short because PostgreSQL's socket lies below it, and a socket's path has at most 107 bytes. Others
        // may pass through the folder, because as root the database runs as another user.
        let folder = tempfile::Builder::new()
            .prefix("sb-")
            .permissions(Permissions::from_mode(0o711))
            .tempdir_in("/tmp")
            .context("making a data directory")?;
        let data_dir = folder.path().to_path_buf();
        let log_path = data_dir.join("server.log");
        let log = File::create(&log_path).context("creating the server's log")?;
        let child = Command::new(program)
            .arg("serve")
            .env_remove("DATABASE_URL")
            .env("SWITCHBOARD_DATA_DIR", &data_dir)
            .env("SWITCHBOARD_HTTP_ADDR", "127.0.0.1:0")
            .env("SWITCHBOARD_GRPC_ADDR", "127.0.0.1:0")
            .env("SWITCHBOARD_ALLOW_PRIVATE_TARGETS", "all")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let mut server = Self {
            grpc: String::new(),
            http: String::new(),
            api_key: String::new(),
            data_dir,
            child,
            _folder: folder,
        };
        server.wait_until_ready().with_context(|| {
            let log = fs::read_to_string(&log_path).unwrap_or_default();
            format!("the server did not start; the end of its log:\n{}", tail(&log, 30))
        })?;
        Ok(server)
    }

    fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + START;
        // The server writes `listeners` last, when it accepts connections.
        let listeners = self.data_dir.join("listeners");
        let (http, grpc) = loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended: {status}");
            }
            let text = fs::read_to_string(&listeners).unwrap_or_default();
            if let (Some(http), Some(grpc)) = (value(&text, "http"), value(&text, "grpc")) {
                break (format!("http://{http}"), format!("http://{grpc}"));
            }
            if Instant::now() > deadline {
                bail!("it was not ready within {} s", START.as_secs());
            }
            thread::sleep(Duration::from_millis(50));
        };
        let credentials =
            fs::read_to_string(self.data_dir.join("credentials")).context("reading credentials")?;
        let api_key = value(&credentials, "workspace_key").context("no workspace_key in credentials")?;
        api_key.clone_into(&mut self.api_key);
        self.http = http;
        self.grpc = grpc;
        Ok(())
    }

    fn stop(&mut self) -> anyhow::Result<()> {
        if self.child.try_wait()?.is_some() {
            return Ok(());
        }
        // The standard library can only kill, and the workspace forbids `unsafe`; every shell can send a signal.
        run::capture(Command::new("sh").arg("-c").arg(format!("kill -TERM {}", self.child.id())))?;
        let deadline = Instant::now() + STOP;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                self.child.kill()?;
                self.child.wait()?;
                bail!("the server did not stop within {} s of SIGTERM and was killed", STOP.as_secs());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for ServerUnderTest {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("stopping the server under test: {error:#}");
        }
    }
}

/// The value of a line `name=value` that is complete, that is, ends with a line break: the file may be half written.
fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.split_inclusive('\n')
        .filter_map(|line| line.strip_suffix('\n'))
        .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
        .map(str::trim)
        .filter(|value| !value.is_empty())
}

/// The last `count` lines.
fn tail(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_half_written_line_is_not_read() {
        assert_eq!(value("http=127.0.0.1:8000\ngrpc=127.0.0.1:50", "http"), Some("127.0.0.1:8000"));
        assert_eq!(value("http=127.0.0.1:8000\ngrpc=127.0.0.1:50", "grpc"), None);
        assert_eq!(value("grpc_other=1\ngrpc=2\n", "grpc"), Some("2"));
        assert_eq!(value("grpc=\n", "grpc"), None);
    }

    fn program(folder: &TempDir, script: &str) -> PathBuf {
        let program = folder.path().join("program");
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
        program
    }

    #[test]
    fn it_is_ready_when_it_says_so_and_stops_when_it_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let program = program(
            &folder,
            "cd $SWITCHBOARD_DATA_DIR
            printf 'operator_key=o\nworkspace_id=i\nworkspace_key=w\n' > credentials
            printf 'http=127.0.0.1:1\ngrpc=127.0.0.1:2\n' > listeners
            exec sleep 600",
        );
        let server = ServerUnderTest::start_program(&program).unwrap();
        assert_eq!(
            (server.http.as_str(), server.grpc.as_str()),
            ("http://127.0.0.1:1", "http://127.0.0.1:2")
        );
        assert_eq!(server.api_key, "w");
        let data_dir = server.data_dir.clone();
        assert!(data_dir.exists());
        drop(server);
        assert!(!data_dir.exists());
    }

    #[test]
    fn one_that_ends_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let program = program(&folder, "echo no database here; exit 3");
        let error = format!("{:#}", ServerUnderTest::start_program(&program).unwrap_err());
        assert!(error.contains("no database here") && error.contains("exit status: 3"), "{error}");
    }

    #[test]
    fn the_end_of_a_log_is_shown() {
        assert_eq!(tail("a\nb\nc", 2), "b\nc");
        assert_eq!(tail("a", 5), "a");
    }
}
