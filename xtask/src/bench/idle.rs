//! What a server that has nothing to do asks of its database.

use std::time::{Duration, Instant};

use sqlx::PgConnection;

use super::server::{DataDir, Server};
use super::{Bench, per_second};

/// How long the server may settle after its start.
const SETTLE: Duration = Duration::from_secs(5);
/// For how long transactions are counted: longer than any pause of the server's own.
const LENGTH: Duration = Duration::from_secs(30);

impl Bench {
    pub(super) async fn idle(&mut self) -> anyhow::Result<()> {
        let data = DataDir::new()?;
        let server = Server::start(&self.program, &data, "api,worker")?;
        // An agent and a channel, so that it is a server that is in use.
        server.customers(super::NOWHERE.to_owned(), 1).await?;
        // From another database of the cluster: our own transactions don't count in the server's.
        let mut database = data.database("postgres").await?;
        tokio::time::sleep(SETTLE).await;
        let start = Instant::now();
        let before = transactions(&mut database).await?;
        tokio::time::sleep(LENGTH).await;
        let count = transactions(&mut database).await? - before;
        self.put_value("idle_tps", per_second(count, start.elapsed()));
        Ok(())
    }
}

async fn transactions(database: &mut PgConnection) -> anyhow::Result<u64> {
    let count: i64 = sqlx::query_scalar(
        "select xact_commit + xact_rollback from pg_stat_database where datname = 'switchboard'",
    )
    .fetch_one(database)
    .await?;
    Ok(count.try_into()?)
}
