//! How a process starts and stops.

use std::{
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, bail};
use app::{App, Caller, Callers, Settings, sealing::Sealer, worker, workspaces::NewApiKey};
use domain::{
    Clock, SystemClock,
    vendor::{Vendor, Vendors},
    workspace::Scopes,
};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::PgConnectOptions;
use store::Store;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{config::Config, grpc, http};

/// The name of the private database.
const DATABASE: &str = "switchboard";

/// A database to work on: somebody's, or a private one that lives as long as this.
pub struct Database {
    owner: PgConnectOptions,
    app: PgConnectOptions,
    embedded: Option<(postgres::Cluster, postgres::DataLock)>,
}

impl Database {
    /// Connects to the database of the configuration, or starts the private one. Brings it up to date.
    pub async fn open(config: &Config) -> anyhow::Result<Self> {
        let database = match &config.database_url {
            Some(url) => {
                let options: PgConnectOptions = url
                    .expose_secret()
                    .parse()
                    // The driver's words might quote the URL with its password.
                    .map_err(|_| anyhow::anyhow!("DATABASE_URL is not a postgres:// URL"))?;
                Self { owner: options.clone(), app: options, embedded: None }
            }
            None => Self::start_private(config).await?,
        };
        store::migrate(database.owner.clone()).await.context("bringing the database up to date")?;
        if database.embedded.is_some() {
            store::let_app_log_in(database.owner.clone()).await?;
        }
        Ok(database)
    }

    async fn start_private(config: &Config) -> anyhow::Result<Self> {
        let dir = config.data_dir()?;
        let bin = config.postgres_bin.clone();
        make_dir(&dir)?;
        let (cluster, lock) = tokio::task::spawn_blocking(move || {
            let lock = postgres::DataLock::acquire(&dir)?;
            let mut settings = postgres::Settings::new(dir.join("pg"));
            settings.bin = bin;
            anyhow::Ok((postgres::Cluster::start(settings)?, lock))
        })
        .await??;
        let options = PgConnectOptions::new_without_pgpass()
            .socket(cluster.socket_dir())
            .port(cluster.port())
            .database(DATABASE)
            .username("postgres");
        store::ensure_database(options.clone(), DATABASE).await?;
        if cluster.adopted() {
            tracing::info!("took over the private database that an earlier process left running");
        }
        Ok(Self {
            app: options.clone().username("switchboard_app"),
            owner: options,
            embedded: Some((cluster, lock)),
        })
    }

    /// Whether no other process can be at work on it.
    pub fn is_private(&self) -> bool {
        self.embedded.is_some()
    }

    /// Stops the private database.
    pub async fn close(self) -> anyhow::Result<()> {
        if let Some((cluster, lock)) = self.embedded {
            tokio::task::spawn_blocking(move || {
                let stopped = cluster.stop();
                drop(lock);
                stopped
            })
            .await??;
        }
        Ok(())
    }
}

fn make_dir(dir: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    // As root the private database runs as another user, who must be able to pass through.
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o711)
        .create(dir)
        .with_context(|| format!("creating the data directory {}", dir.display()))
}

fn sealer(config: &Config) -> anyhow::Result<Sealer> {
    let parse = |ring: &SecretString, whence: &str| {
        Sealer::parse(ring).map_err(|problem| anyhow::anyhow!("the key ring in {whence}: {problem}"))
    };
    if let Some(ring) = &config.keyring {
        return parse(ring, "SWITCHBOARD_KEYRING");
    }
    if let Some(path) = &config.keyring_file {
        let ring = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        return parse(&ring.into(), &path.display().to_string());
    }
    if config.database_url.is_some() {
        bail!(
            "SWITCHBOARD_KEYRING or SWITCHBOARD_KEYRING_FILE is required with DATABASE_URL: secrets of that database \
             must not depend on a file that only this machine has. Make a key ring with: \
             echo \"k1:$(head -c 32 /dev/urandom | base64)\""
        );
    }
    let path = config.data_dir()?.join("keyring");
    match std::fs::read_to_string(&path) {
        Ok(ring) => parse(&ring.into(), &path.display().to_string()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let ring = Sealer::fresh_ring();
            write_secret(&path, ring.expose_secret())?;
            tracing::info!(path = %path.display(), "made a key ring; keep a copy, without it secrets can't be read");
            parse(&ring, "the fresh file")
        }
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

/// Writes a file that only its owner may read, whole or not at all.
fn write_secret(path: &Path, text: &str) -> anyhow::Result<()> {
    let write = || {
        let fresh = path.with_extension("new");
        let mut file =
            std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&fresh, path)
    };
    write().with_context(|| format!("writing {}", path.display()))
}

/// Puts the app together on a database.
pub async fn build_app(
    config: &Config,
    database: &Database,
    clock: Arc<dyn Clock>,
    further: &[Vendor],
    stop: CancellationToken,
) -> anyhow::Result<App> {
    let sealer = sealer(config)?;
    let store = Store::connect(database.app.clone(), config.database_connections).await?;
    let allow = config.allow_private_targets.parse()?;
    let client = vendors::http::HttpClient::new(vendors::http::Settings {
        timeout: config.send_timeout,
        allow,
        ..vendors::http::Settings::default()
    });
    let headers = vendors::generic_http::Headers { outbound_token: config.outbound_token_header.clone() };
    let callers = Callers {
        events: Arc::new(vendors::event_poster::HttpEventPoster::new(client.clone())),
        tools: Arc::new(vendors::http_tool::HttpToolCaller::new(client.clone())),
    };
    let vendors = vendors::all(
        client,
        vendors::Settings { generic_http: headers, amocrm_sources: config.amocrm_sources.clone() },
    );
    let vendors = Vendors::new(vendors.iter().chain(further).cloned().collect());
    let settings = Settings {
        deliveries: config.deliveries(),
        hooks: config.hooks(),
        runs: config.runs(),
        inbox_capacity: config.inbox_capacity,
        concurrency: config.concurrency,
        hook_concurrency: config.hook_concurrency,
        max_endpoints: config.max_endpoints,
        dispatch_retention: config.dispatch_retention,
        longest_wait: config.longest_wait,
        engines: config.engines.clone(),
        crm_integration: config.crm_integration,
        public_url: config.public_url.clone(),
        lease: config.lease,
        inbound_token_header: config.inbound_token_header.clone(),
    };
    Ok(App::start(store, clock, vendors, callers, sealer, settings, stop).await?)
}

/// On the first start, makes an operator key, a workspace and its key, and writes them where the CLI looks.
async fn set_up(app: &App, dir: &Path) -> anyhow::Result<()> {
    if app.is_set_up().await? {
        return Ok(());
    }
    let (_, operator) = app.create_operator_key("first start").await?;
    let workspace = app.create_workspace(&Caller::Operator, "Default".to_owned(), "").await?;
    let new = NewApiKey { display_name: "first start".to_owned(), scopes: Scopes::all(), expires_at: None };
    let (_, key) = app.create_api_key(&Caller::Operator, Some(workspace.id), new, "").await?;
    let key = key.context("a new key has a secret")?;
    make_dir(dir)?;
    let path = dir.join("credentials");
    write_secret(
        &path,
        &format!(
            "operator_key={}\nworkspace_id={}\nworkspace_key={}\n",
            operator.expose_secret(),
            workspace.id,
            key.expose_secret()
        ),
    )?;
    // Shown once, to the person who started it; the log gets no secrets.
    #[expect(clippy::print_stderr, reason = "a word to the person at the terminal")]
    {
        eprintln!("First start. The workspace \"Default\" has this API key, kept in {}:", path.display());
        eprintln!("  {}", key.expose_secret());
    }
    Ok(())
}

fn metrics() -> anyhow::Result<PrometheusHandle> {
    use std::sync::{Mutex, PoisonError};
    // One recorder a process, however many servers a test starts in it.
    static HANDLE: Mutex<Option<PrometheusHandle>> = Mutex::new(None);
    let mut handle = HANDLE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = &*handle {
        return Ok(handle.clone());
    }
    Ok(handle.insert(PrometheusBuilder::new().install_recorder()?).clone())
}

/// A running server.
pub struct Server {
    /// The app behind the doors.
    pub app: App,
    /// The public HTTP listener's address; `None`: no role `api`.
    pub http: Option<std::net::SocketAddr>,
    /// The internal gRPC listener's address; `None`: no role `api`.
    pub grpc: Option<std::net::SocketAddr>,
    stop: CancellationToken,
    doors: Vec<JoinHandle<anyhow::Result<()>>>,
    worker: Option<worker::Running>,
    database: Database,
    longest: Duration,
    listeners_file: Option<PathBuf>,
}

/// Starts a server with the machine's clock.
pub async fn start(config: &Config) -> anyhow::Result<Server> {
    start_with(config, Arc::new(SystemClock), &[]).await
}

/// Starts a server with a clock, and with further vendors beside those of the list: for stories.
pub async fn start_with(
    config: &Config,
    clock: Arc<dyn Clock>,
    further: &[Vendor],
) -> anyhow::Result<Server> {
    let database = Database::open(config).await?;
    let stop = CancellationToken::new();
    let app = build_app(config, &database, clock, further, stop.clone()).await?;
    if config.simulation && !app.begin_simulation().await? {
        stop.cancel();
        app.close(config.shutdown).await;
        database.close().await?;
        bail!(
            "SWITCHBOARD_SIMULATION=on needs an empty database, or one that was a simulation from the beginning; this one holds \
             other data"
        );
    }
    let dir = config.data_dir()?;
    let worker =
        if config.roles.worker { Some(worker::start(&app, database.is_private()).await?) } else { None };

    let mut server = Server {
        app: app.clone(),
        http: None,
        grpc: None,
        stop: stop.clone(),
        doors: Vec::new(),
        worker,
        database,
        longest: config.shutdown,
        listeners_file: None,
    };
    if config.roles.api {
        set_up(&app, &dir).await?;
        let bind = async |addr: std::net::SocketAddr, name: &str| {
            TcpListener::bind(addr).await.with_context(|| {
                format!("listening on {addr}; another address is set with SWITCHBOARD_{name}_ADDR")
            })
        };
        let public = bind(config.http_addr, "HTTP").await?;
        let internal = bind(config.grpc_addr, "GRPC").await?;
        let (public_addr, internal_addr) = (public.local_addr()?, internal.local_addr()?);
        (server.http, server.grpc) = (Some(public_addr), Some(internal_addr));
        let settings = http::Settings {
            max_body_bytes: config.max_body_bytes,
            body_timeout: config.body_timeout,
            inbound_token_header: config.inbound_token_header.clone(),
            new_message_wait: config.new_message_wait,
            cors_origins: config.cors_origins.clone(),
        };
        server.doors.push(tokio::spawn(http::serve(app.clone(), public, settings, stop.clone())));
        let settings = grpc::ListenerSettings {
            tls: config.grpc_tls.clone(),
            cors_origins: config.cors_origins.clone(),
            max_request_bytes: 4 << 20,
            call_timeout: Duration::from_mins(1),
        };
        server.doors.push(tokio::spawn(grpc::serve(app, internal, settings, metrics()?, stop)));
        // Where programs that were not told find us; and the sign that we are ready.
        if dir.is_dir() {
            let path = dir.join("listeners");
            write_secret(&path, &format!("http={public_addr}\ngrpc={internal_addr}\n"))?;
            server.listeners_file = Some(path);
        }
        tracing::info!(http = %public_addr, grpc = %internal_addr, "ready");
    }
    Ok(server)
}

impl Server {
    /// Waits until a door fails by itself. It does not return otherwise.
    pub async fn failed(&mut self) -> anyhow::Error {
        if self.doors.is_empty() {
            return std::future::pending().await;
        }
        let (ended, _, _) = futures::future::select_all(&mut self.doors).await;
        match ended {
            Ok(Ok(())) => anyhow::anyhow!("a listener ended"),
            Ok(Err(error)) => error,
            Err(panic) => panic.into(),
        }
    }

    /// Stops: no new calls, work in hand ends, the rest is given back.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.stop.cancel();
        if let Some(path) = &self.listeners_file {
            let _ = std::fs::remove_file(path);
        }
        let doors = futures::future::join_all(self.doors.drain(..).filter(|door| !door.is_finished()));
        if tokio::time::timeout(self.longest, doors).await.is_err() {
            tracing::warn!("calls in hand did not end in time");
        }
        if let Some(worker) = self.worker.take() {
            worker.finish(self.longest).await;
        }
        self.app.close(self.longest).await;
        self.database.close().await
    }
}

/// `switchboard serve`: starts a server and stops it at SIGTERM or SIGINT.
pub async fn serve(config: &Config) -> anyhow::Result<()> {
    let mut server = start(config).await?;
    let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let failure = tokio::select! {
        _ = terminated.recv() => None,
        _ = tokio::signal::ctrl_c() => None,
        error = server.failed() => Some(error),
    };
    tracing::info!("stopping");
    server.stop().await?;
    failure.map_or(Ok(()), Err)
}
