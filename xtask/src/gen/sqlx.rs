//! The descriptions of checked queries: `server/crates/store/.sqlx`.
//!
//! The macros of sqlx write them while they ask a database, so this starts a private one, migrates it, and has the crate
//! checked against it. No other tool is needed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::SystemTime;

use anyhow::Context as _;
use postgres::{Cluster, Settings};
use sqlx::migrate::Migrator;
use sqlx::{Connection as _, PgConnection};

use crate::paths::Paths;
use crate::run;
use crate::sync::sync;

/// The folder that is written, relative to the checkout.
pub const FOLDER: &str = "server/crates/store/.sqlx";
/// The file whose date makes cargo look at the crate again.
const ENTRANCE: &str = "server/crates/store/src/lib.rs";

/// Writes the descriptions anew; on a failure the old ones stay.
pub fn run(paths: &Paths) -> anyhow::Result<()> {
    // Short, because a socket's path has at most 107 bytes, and open to pass through, because as root the database runs
    // as another user.
    let folder = tempfile::Builder::new()
        .prefix("sb-")
        .permissions(fs::Permissions::from_mode(0o711))
        .tempdir_in("/tmp")
        .context("making a folder for the database")?;
    let mut settings = Settings::new(folder.path().join("pg"));
    // Nothing of it is to outlive this function.
    settings.options = [("fsync", "off"), ("synchronous_commit", "off"), ("full_page_writes", "off")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec();
    let cluster = Cluster::start(settings).context("starting a private PostgreSQL")?;
    let url = |database: &str| {
        format!("postgres:///{database}?host={}&user=postgres", cluster.socket_dir().display())
    };
    let written = migrate(paths, &url("postgres"), &url("switchboard_queries"))
        .and_then(|()| check(paths, &url("switchboard_queries"), &folder.path().join("queries")));
    let stopped = cluster.stop().context("stopping the private PostgreSQL");
    written.and(stopped)?;
    sync(&folder.path().join("queries"), &paths.join(FOLDER))
}

fn migrate(paths: &Paths, first: &str, database: &str) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut connection = PgConnection::connect(first).await.context("connecting")?;
        sqlx::query("create database switchboard_queries")
            .execute(&mut connection)
            .await
            .context("making a database")?;
        connection.close().await?;
        let mut connection = PgConnection::connect(database).await.context("connecting")?;
        let migrator = Migrator::new(paths.join("migrations")).await.context("reading migrations")?;
        migrator.run(&mut connection).await.context("migrating")?;
        connection.close().await.context("disconnecting")
    })
}

fn check(paths: &Paths, url: &str, queries: &Path) -> anyhow::Result<()> {
    fs::create_dir(queries).context("making a folder for the descriptions")?;
    let entrance = Touched::new(&paths.join(ENTRANCE))?;
    let checked = run::run(
        run::cargo(&paths.root)
            .args(["check", "--quiet", "--package", "switchboard-store"])
            .env("DATABASE_URL", url)
            .env("SQLX_OFFLINE", "false")
            .env("SQLX_OFFLINE_DIR", queries),
    );
    entrance.restore()?;
    checked
}

/// A file with the date of now, so that cargo looks at its crate again. Its old date comes back afterwards: everything
/// that was compiled before is still good.
struct Touched {
    file: fs::File,
    date: SystemTime,
}

impl Touched {
    #[expect(clippy::disallowed_methods, reason = "a file's date is compared with the real clock by cargo")]
    fn new(path: &Path) -> anyhow::Result<Self> {
        let file = fs::File::options()
            .write(true)
            .open(path)
            .with_context(|| format!("opening {}", path.display()))?;
        let date = file.metadata()?.modified()?;
        file.set_modified(SystemTime::now())?;
        Ok(Self { file, date })
    }

    fn restore(self) -> anyhow::Result<()> {
        Ok(self.file.set_modified(self.date)?)
    }
}
