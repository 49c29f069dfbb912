//! Everything that is kept: every SQL statement of Switchboard stands in this crate or in `migrations/`.
//!
//! One file per noun, with functions that take the connection first and the workspace second. A use case in `app` opens
//! the transaction with [`Store::workspace`], which sets the workspace that row-level security compares with, and commits
//! it. What crosses workspaces by nature (gathered writes, claims) calls the `system_…` functions of the migrations and
//! stands in [`record`], [`queue`], [`numberer`], [`endpoints`], [`secrets`] and [`grants`].
//!
//! The room knows nothing of vendors, wire types or decisions. A missing row is `Ok(None)`; the use case decides whether
//! that is an error. `now()` appears for leases only; business time is a parameter.

pub mod agent_secrets;
pub mod agents;
pub mod budgets;
pub mod channels;
pub mod contacts;
pub mod control;
pub mod crm_hooks;
pub mod deliveries;
pub mod dialogues;
pub mod dispatches;
pub mod endpoints;
pub mod engine_notes;
pub mod erasures;
pub mod error;
pub mod events;
pub mod governors;
pub mod grants;
pub mod imports;
pub mod inbound_webhooks;
pub mod integrations;
pub mod mirrors;
pub mod numberer;
pub mod page;
pub mod queue;
pub mod record;
pub mod recordings;
pub mod request_ids;
pub mod secrets;
pub mod simulation;
pub mod sources;
pub mod stats;
pub mod turns;
pub mod usage;
pub mod waits;
pub mod workspaces;

use domain::{DialogueId, IntegrationId, WorkspaceId, fail_point};
pub use error::Error;
use sqlx::{
    AssertSqlSafe, Executor, PgConnection, PgPool, Postgres, Transaction,
    pool::PoolConnection,
    postgres::{PgConnectOptions, PgListener, PgPoolOptions},
};

/// The migrations, embedded.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("../../../migrations");

/// A pool of connections, for the functions that cross workspaces.
pub type Pool = PgPool;

/// A transaction.
pub type Tx = Transaction<'static, Postgres>;

/// The database, as the role `switchboard_app`.
#[derive(Debug, Clone)]
pub struct Store {
    pool: PgPool,
}

impl Store {
    /// Connects as the unprivileged role.
    ///
    /// # Errors
    /// [`Error::Privileged`] when that role could get around row-level security.
    pub async fn connect(options: PgConnectOptions, max_connections: u32) -> Result<Self, Error> {
        let pool = PgPoolOptions::new()
            .max_connections(max_connections)
            .after_connect(|conn, _| {
                Box::pin(async move {
                    // Nothing that we ask takes a tenth of this. A process that was frozen in the midst of a transaction
                    // must not keep rows locked from those that took over its work, nor a bad plan a connection.
                    conn.execute(
                        "set role switchboard_app; set timezone = 'UTC';
                         set idle_in_transaction_session_timeout = '15s'; set statement_timeout = '60s'",
                    )
                    .await?;
                    Ok(())
                })
            })
            .connect_with(options)
            .await?;
        let privileged: bool = sqlx::query_scalar(
            "select r.rolsuper or r.rolbypassrls
                 or exists (select 1 from pg_class c where c.relowner = r.oid and c.relkind in ('r', 'p'))
             from pg_roles r where r.rolname = current_user",
        )
        .fetch_one(&pool)
        .await?;
        if privileged {
            return Err(Error::Privileged);
        }
        Ok(Self { pool })
    }

    /// Opens a transaction that sees one workspace.
    pub async fn workspace(&self, workspace: WorkspaceId) -> Result<Tx, Error> {
        // One round trip for both; a UUID holds nothing that could be SQL.
        let begin = format!("begin; set local app.workspace_id = '{workspace}'");
        Ok(self.pool.begin_with(AssertSqlSafe(begin)).await?)
    }

    /// The pool, for the functions that cross workspaces: single statements that are transactions by themselves.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// A place for a connection that one writer keeps.
    pub fn kept(&self) -> Kept {
        Kept { pool: self.pool.clone(), conn: None }
    }

    /// Listens on channels of NOTIFY, on a connection of its own.
    pub async fn listen(&self, channels: &[&str]) -> Result<PgListener, Error> {
        let mut listener = PgListener::connect_with(&self.pool).await?;
        listener.listen_all(channels.iter().copied()).await?;
        Ok(listener)
    }

    /// Tells every process that listens that there may be work, `from` whom, and in which dialogues a run has become
    /// pointless.
    pub async fn notify_work(
        &self,
        from: &str,
        disturbed: &[(WorkspaceId, DialogueId)],
    ) -> Result<(), Error> {
        // A notification holds 8,000 bytes.
        const MOST: usize = 200;
        let lists: Vec<String> = disturbed
            .chunks(MOST)
            .map(|ids| ids.iter().map(|(_, id)| id.to_string()).collect::<Vec<_>>().join(","))
            .collect();
        sqlx::query(
            "select pg_notify('switchboard_work', $1)
             union all select pg_notify('switchboard_dialogues', $1 || ':' || list) from unnest($2::text[]) list",
        )
        .bind(from)
        .bind(lists)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Tells every process that listens that what an integration lists is something else now, `from` whom.
    pub async fn notify_lists(
        &self,
        from: &str,
        workspace: WorkspaceId,
        integration: IntegrationId,
    ) -> Result<(), Error> {
        sqlx::query("select pg_notify('switchboard_lists', $1)")
            .bind(format!("{from}:{workspace}:{integration}"))
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), Error> {
        sqlx::query("select 1").execute(&self.pool).await?;
        Ok(())
    }

    /// Closes all connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// A connection that one writer keeps from statement to statement. Its plans and caches are warm, and it is not asked for
/// its health before each statement, as one that comes from the pool is.
#[derive(Debug)]
pub struct Kept {
    pool: PgPool,
    conn: Option<PoolConnection<Postgres>>,
}

impl Kept {
    /// The connection; the pool's, if none is kept.
    ///
    /// # Errors
    /// When there is none to be had.
    pub async fn connection(&mut self) -> Result<&mut PgConnection, Error> {
        let conn = match self.conn.take() {
            Some(conn) => conn,
            None => self.pool.acquire().await?,
        };
        Ok(self.conn.insert(conn))
    }

    /// Done when the pool is being closed, which waits until all connections were given back.
    pub fn closing(&self) -> impl Future<Output = ()> + Send + 'static {
        self.pool.close_event()
    }

    /// Gives the connection back, to be done when it may be broken or won't be used for a while.
    pub fn give_back(&mut self) {
        self.conn = None;
    }
}

/// Waits until all that was committed before, on whatever connection, is on disk: a transaction that writes a message into
/// the log, which nobody reads, and whose own commit waits.
pub async fn flush(conn: &mut PgConnection) -> Result<(), Error> {
    sqlx::query("select pg_logical_emit_message(true, 'switchboard', '')").execute(conn).await?;
    Ok(())
}

/// Commits a transaction.
pub async fn commit(tx: Tx) -> Result<(), Error> {
    fail_point::reached("commit", "before");
    tx.commit().await?;
    fail_point::reached("commit", "after");
    Ok(())
}

/// Brings a database up to date, as its owner. Safe when several processes do it at once.
pub async fn migrate(options: PgConnectOptions) -> Result<(), Error> {
    let pool = PgPoolOptions::new().max_connections(1).connect_with(options).await?;
    MIGRATOR.run(&pool).await?;
    pool.close().await;
    Ok(())
}

/// Lets `switchboard_app` log in by itself. For the embedded database, where only we can reach the socket.
pub async fn let_app_log_in(options: PgConnectOptions) -> Result<(), Error> {
    let pool = PgPoolOptions::new().max_connections(1).connect_with(options).await?;
    pool.execute("alter role switchboard_app login").await?;
    pool.close().await;
    Ok(())
}

/// Creates the database when it is not there. For the embedded database.
pub async fn ensure_database(options: PgConnectOptions, name: &str) -> Result<(), Error> {
    let pool = PgPoolOptions::new().max_connections(1).connect_with(options.database("postgres")).await?;
    let there: bool = sqlx::query_scalar("select exists (select 1 from pg_database where datname = $1)")
        .bind(name)
        .fetch_one(&pool)
        .await?;
    if !there {
        pool.execute(AssertSqlSafe(format!("create database \"{}\"", name.replace('"', "\"\"")))).await?;
    }
    pool.close().await;
    Ok(())
}

/// Tells every process that something of the workspace's configuration changed, when the transaction commits.
pub async fn notify_configuration(conn: &mut PgConnection, workspace: WorkspaceId) -> Result<(), Error> {
    sqlx::query("select pg_notify('switchboard_config', $1)")
        .bind(workspace.to_string())
        .execute(conn)
        .await?;
    Ok(())
}
