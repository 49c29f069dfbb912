//! The server's processes and their database, and what is done to them.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rand::RngExt as _;
use rand::rngs::StdRng;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use switchboard_sdk::Client;
use tempfile::TempDir;

use crate::run;

const DATABASE: &str = "torture";
/// The key ring that all processes share.
const KEYRING: &str = "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
/// How long a process may take to be ready.
const START: Duration = Duration::from_mins(1);

/// What is started.
#[derive(Debug)]
pub struct Plan {
    /// The server's program.
    pub program: PathBuf,
    /// How many processes.
    pub count: u8,
    /// The chance of each to end at a fail point.
    pub fail_points: f64,
    /// What chance is drawn from.
    pub seed: u64,
    /// The base URL of the engine that all agents ask.
    pub engine: String,
}

/// All of it. Dropping it ends the processes and the database.
#[derive(Debug)]
pub struct Processes {
    plan: Plan,
    servers: Vec<Mutex<Server>>,
    next: AtomicUsize,
    cluster: Mutex<Option<postgres::Cluster>>,
    key: String,
    done: Mutex<BTreeMap<&'static str, u32>>,
    // Removed last.
    folder: TempDir,
}

#[derive(Debug)]
struct Server {
    dir: PathBuf,
    child: Option<Child>,
    /// Whether it was told to stop for a while.
    frozen: bool,
    /// When it is started again after it ended.
    again_at: Option<Instant>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Processes {
    /// Starts a database that syncs, and processes on it.
    pub async fn start(plan: Plan) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("sb-")
            .permissions(Permissions::from_mode(0o711))
            .tempdir_in("/tmp")
            .context("making a directory")?;
        let cluster = start_cluster(folder.path())?;
        let mut admin = PgConnection::connect_with(&options(&cluster, "postgres")).await?;
        sqlx::query(AssertSqlSafe(format!("create database {DATABASE}"))).execute(&mut admin).await?;
        admin.close().await?;
        let servers = (0..plan.count).map(|number| {
            let dir = folder.path().join(format!("server-{number}"));
            fs::create_dir(&dir)?;
            Ok(Mutex::new(Server { dir, child: None, frozen: false, again_at: None }))
        });
        let mut processes = Self {
            servers: servers.collect::<anyhow::Result<_>>()?,
            next: AtomicUsize::new(usize::try_from(plan.seed % 7).unwrap_or_default()),
            cluster: Mutex::new(Some(cluster)),
            key: String::new(),
            done: Mutex::default(),
            folder,
            plan,
        };
        // The first makes the workspace and its key.
        processes.spawn(&mut lock(&processes.servers[0]), 0.0)?;
        processes.wait_until_ready(0).await?;
        let credentials = lock(&processes.servers[0]).dir.join("credentials");
        let credentials = fs::read_to_string(credentials).context("reading credentials")?;
        processes.key = value(&credentials, "workspace_key").context("no workspace_key in credentials")?;
        for number in 1..processes.servers.len() {
            // These may meet their first fail point before they are ready.
            processes.spawn(&mut lock(&processes.servers[number]), processes.plan.fail_points)?;
        }
        Ok(processes)
    }

    fn spawn(&self, server: &mut Server, fail_points: f64) -> anyhow::Result<()> {
        let url = {
            let cluster = lock(&self.cluster);
            let cluster = cluster.as_ref().context("the database is not there")?;
            format!(
                "postgres://postgres@localhost:{}/{DATABASE}?host={}",
                cluster.port(),
                cluster.socket_dir().display()
            )
        };
        let _ = fs::remove_file(server.dir.join("listeners"));
        let log = OpenOptions::new().create(true).append(true).open(server.dir.join("server.log"))?;
        let child = Command::new(&self.plan.program)
            .arg("serve")
            .env("DATABASE_URL", url)
            .env("SWITCHBOARD_KEYRING", KEYRING)
            .env("SWITCHBOARD_DATA_DIR", &server.dir)
            .env("SWITCHBOARD_HTTP_ADDR", "127.0.0.1:0")
            .env("SWITCHBOARD_GRPC_ADDR", "127.0.0.1:0")
            .env("SWITCHBOARD_ALLOW_PRIVATE_TARGETS", "all")
            .env("OPENAI_BASE_URL", &self.plan.engine)
            .env("OPENAI_API_KEY", "a key of the torture")
            .env("SWITCHBOARD_LEASE_SECONDS", "2")
            .env("SWITCHBOARD_SEND_TIMEOUT_SECONDS", "2")
            // Long enough that no fault of this machine's ends in a dead letter.
            .env("SWITCHBOARD_DELIVERY_PAUSES", "200ms,500ms,1s,1s,2s,2s,2s,2s,2s,2s,2s,2s,2s,2s,2s,2s")
            .env("SWITCHBOARD_RUN_PAUSES", "200ms,500ms,1s,1s,2s,2s,2s,2s,2s,2s,2s,2s")
            .env("SWITCHBOARD_LOG", "warn")
            .env("SWITCHBOARD_FAIL_POINTS", format!("*={fail_points}"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {}", self.plan.program.display()))?;
        server.child = Some(child);
        server.again_at = None;
        Ok(())
    }

    async fn wait_until_ready(&self, number: usize) -> anyhow::Result<()> {
        let start = Instant::now();
        loop {
            if self.address(number).is_some() {
                return Ok(());
            }
            let ended = {
                let mut server = lock(&self.servers[number]);
                server.child.as_mut().map_or(Ok(None), Child::try_wait)?
            };
            if ended.is_some() || start.elapsed() > START {
                let log = fs::read_to_string(lock(&self.servers[number]).dir.join("server.log"));
                bail!("process {number} is not ready; its log:\n{}", log.unwrap_or_default());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The gRPC address of a process that has said where it listens.
    fn address(&self, number: usize) -> Option<String> {
        let server = lock(&self.servers[number]);
        let text = fs::read_to_string(server.dir.join("listeners")).ok()?;
        server.child.as_ref()?;
        value(&text, "grpc").map(|address| format!("http://{address}"))
    }

    /// A client of the first process, which has no fail points until it is started again.
    pub async fn first(&self) -> anyhow::Result<Client> {
        let address = self.address(0).context("the first process is not there")?;
        Ok(Client::connect(&address, &self.key).await?)
    }

    /// A client of the next process in turn that seems to live.
    pub async fn client(&self) -> anyhow::Result<Client> {
        for _ in 0..self.servers.len() {
            let number = self.next.fetch_add(1, Ordering::Relaxed) % self.servers.len();
            let Some(address) = self.address(number) else { continue };
            let connected =
                tokio::time::timeout(Duration::from_secs(2), Client::connect(&address, &self.key)).await;
            if let Ok(Ok(client)) = connected {
                return Ok(client);
            }
        }
        bail!("no process answers")
    }

    /// A connection as the database's owner.
    pub async fn database(&self) -> anyhow::Result<PgConnection> {
        let options = {
            let cluster = lock(&self.cluster);
            options(cluster.as_ref().context("the database is not there")?, DATABASE)
        };
        Ok(PgConnection::connect_with(&options).await?)
    }

    fn note(&self, what: &'static str) {
        *lock(&self.done).entry(what).or_default() += 1;
    }

    /// Does harm until the end.
    pub async fn torment(&self, mut rng: StdRng, end: Instant) -> anyhow::Result<()> {
        let mut harm_at = Instant::now();
        while Instant::now() < end {
            self.restart_the_dead(&mut rng)?;
            if Instant::now() >= harm_at {
                harm_at = Instant::now() + Duration::from_millis(rng.random_range(500..3_000));
                let number = rng.random_range(0..self.servers.len());
                match rng.random_range(0..100) {
                    0..40 => self.kill(number)?,
                    40..65 => self.cut_connections().await?,
                    65..90 => self.freeze(number),
                    _ => self.restart_database().await?,
                }
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// `kill -9`.
    fn kill(&self, number: usize) -> anyhow::Result<()> {
        if let Some(child) = &mut lock(&self.servers[number]).child {
            child.kill()?;
            self.note("kill -9");
        }
        Ok(())
    }

    /// Stops a process where it stands for longer than its lease, so that it wakes up with work that is others' now. One
    /// that is frozen already goes on.
    fn freeze(&self, number: usize) {
        let mut server = lock(&self.servers[number]);
        let Some(child) = &server.child else { return };
        let signal = if server.frozen { "CONT" } else { "STOP" };
        // It may have ended by itself meanwhile.
        let _ = run::capture(Command::new("sh").arg("-c").arg(format!("kill -{signal} {}", child.id())));
        server.frozen = !server.frozen;
        server.again_at = server.frozen.then(|| Instant::now() + Duration::from_secs(4));
        if server.frozen {
            self.note("frozen for 4 s");
        }
    }

    /// Ends every connection that others have to the database.
    async fn cut_connections(&self) -> anyhow::Result<()> {
        // While the database restarts there is nothing to cut.
        if let Ok(mut admin) = self.database().await {
            let cut = sqlx::query(
                "select pg_terminate_backend(pid) from pg_stat_activity
                 where datname = current_database() and pid <> pg_backend_pid()",
            );
            cut.execute(&mut admin).await?;
            self.note("connections cut");
        }
        Ok(())
    }

    /// Ends the database without a checkpoint, as a power cut would, and starts it again: it recovers from its log.
    async fn restart_database(&self) -> anyhow::Result<()> {
        let Some(cluster) = lock(&self.cluster).take() else { return Ok(()) };
        run::capture(Command::new("sh").arg("-c").arg(format!("kill -QUIT {}", cluster.pid())))?;
        let start = Instant::now();
        while cluster.is_running() {
            if start.elapsed() > START {
                bail!("the database does not end");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        drop(cluster);
        let folder = self.folder.path().to_path_buf();
        let cluster = tokio::task::spawn_blocking(move || start_cluster(&folder)).await??;
        *lock(&self.cluster) = Some(cluster);
        self.note("database crashed");
        Ok(())
    }

    fn restart_the_dead(&self, rng: &mut StdRng) -> anyhow::Result<()> {
        for (number, server) in self.servers.iter().enumerate() {
            let mut thaw = false;
            {
                let mut server = lock(server);
                let ended = server.child.as_mut().map_or(Ok(None), Child::try_wait)?.is_some();
                let due = server.again_at.is_some_and(|at| Instant::now() >= at);
                if ended {
                    server.child = None;
                    server.frozen = false;
                    let pause = Duration::from_millis(rng.random_range(100..1_500));
                    server.again_at = Some(Instant::now() + pause);
                    let _ = fs::remove_file(server.dir.join("listeners"));
                } else if due && server.frozen {
                    thaw = true;
                } else if due && server.child.is_none() {
                    self.spawn(&mut server, self.plan.fail_points)?;
                }
            }
            if thaw {
                self.freeze(number);
            }
        }
        Ok(())
    }

    /// Starts all processes anew, without fail points.
    pub async fn heal(&self) -> anyhow::Result<()> {
        for number in 0..self.servers.len() {
            {
                let mut server = lock(&self.servers[number]);
                if let Some(child) = &mut server.child {
                    child.kill()?;
                    child.wait()?;
                }
                server.frozen = false;
                self.spawn(&mut server, 0.0)?;
            }
            self.wait_until_ready(number).await?;
        }
        Ok(())
    }

    /// What was done to the processes, and at which fail points they ended.
    pub fn summary(&self) -> anyhow::Result<String> {
        let mut points = BTreeMap::<String, u32>::new();
        for server in &self.servers {
            let log = fs::read_to_string(lock(server).dir.join("server.log"))?;
            for point in log.lines().filter_map(|line| line.strip_prefix("fail point ")) {
                *points.entry(point.to_owned()).or_default() += 1;
            }
        }
        let list = |pairs: Vec<(String, u32)>| {
            pairs.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
        };
        let done = lock(&self.done).iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        Ok(format!("harm:        {}\nfail points: {}", list(done), list(points.into_iter().collect())))
    }

    /// Ends the processes in good order.
    pub fn end(self) -> anyhow::Result<()> {
        for server in &self.servers {
            if let Some(mut child) = lock(server).child.take() {
                run::capture(Command::new("sh").arg("-c").arg(format!("kill -TERM {}", child.id())))?;
                let status = child.wait()?;
                anyhow::ensure!(status.success(), "a process that was told to stop ended with {status}");
            }
        }
        Ok(())
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for server in &self.servers {
            if let Some(child) = &mut lock(server).child {
                // One that ended by itself has nothing left to kill.
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

fn start_cluster(folder: &Path) -> anyhow::Result<postgres::Cluster> {
    let mut settings = postgres::Settings::new(folder.join("pg"));
    settings.options = vec![("max_connections".to_owned(), "300".to_owned())];
    Ok(postgres::Cluster::start(settings)?)
}

fn options(cluster: &postgres::Cluster, database: &str) -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass()
        .socket(cluster.socket_dir())
        .port(cluster.port())
        .username("postgres")
        .database(database)
}

/// The value of a line `name=value`.
fn value(text: &str, name: &str) -> Option<String> {
    text.split_inclusive('\n')
        .filter_map(|line| line.strip_suffix('\n'))
        .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
        .map(ToOwned::to_owned)
}
