//! Work after the process was killed in the middle of it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use sqlx::PgConnection;

use super::receiver::Receiver;
use super::server::{DataDir, Server};
use super::statistics::{median, spread};
use super::{Bench, CONNECTIONS, Measured};

/// How many dialogues wait for an answer in the end, at least, and how many more are there for what the rounds work off.
const PENDING: u64 = 100_000;
const MORE: u64 = 40_000;
const ROUNDS: usize = 3;
/// How long a server works before it is killed.
const WORK: Duration = Duration::from_millis(500);
/// How long the dialogues in flight may take to be answered before the row is given up.
const PATIENCE: Duration = Duration::from_mins(2);

impl Bench {
    pub(super) async fn recovery(&mut self) -> anyhow::Result<()> {
        let receiver = Receiver::start().await?;
        let data = DataDir::new()?;
        let server = Server::start(&self.program, &data, "api")?;
        let customers = server.customers(receiver.url(), PENDING + MORE).await?;
        customers.send(CONNECTIONS, PENDING + MORE).await?;
        drop(server);

        let times = self.rounds(&data).await;
        // A killed server leaves its database running: another takes it over and stops it. What is left to do is not
        // waited for.
        drop(Server::start(&self.program, &data, "api")?);
        let times = times?;
        self.put("recovery_s", Measured { value: median(&times), baseline: None, spread: spread(&times) });
        Ok(())
    }

    /// Kills servers; gives the seconds that each next one needed.
    async fn rounds(&self, data: &DataDir) -> anyhow::Result<Vec<f64>> {
        let mut times = Vec::new();
        let mut server = Server::start(&self.program, data, "api,worker")?;
        for _ in 0..ROUNDS {
            tokio::time::sleep(WORK).await;
            server.kill()?;
            let mut database = data.database("switchboard").await?;
            let (pending, in_flight) = note(&mut database).await?;
            ensure!(pending >= PENDING, "only {pending} dialogues were waiting");
            ensure!(in_flight > 0, "nothing was in flight");
            let start = moment(&mut database).await?;
            server = Server::start(&self.program, data, "api,worker")?;
            let ready = server.started_in.as_secs_f64();
            let last = answered(&mut database).await?;
            println!(
                "  pending {pending}, in flight {in_flight}, ready in {ready:.2} s, all answered in {:.2} s",
                last - start
            );
            times.push(last - start);
        }
        server.kill()?;
        Ok(times)
    }
}

async fn moment(database: &mut PgConnection) -> anyhow::Result<f64> {
    Ok(sqlx::query_scalar("select extract(epoch from clock_timestamp())::float8").fetch_one(database).await?)
}

/// Notes which dialogues were in flight: a worker that is no more holds a key of theirs. Gives how many dialogues wait, and
/// how many are in flight.
async fn note(database: &mut PgConnection) -> anyhow::Result<(u64, u64)> {
    sqlx::raw_sql(
        "create schema if not exists bench;
         drop table if exists bench.in_flight;
         create table bench.in_flight as
         select distinct k.workspace_id, k.subject_id as dialogue_id from job_keys k where k.locked_by is not null",
    )
    .execute(&mut *database)
    .await?;
    let (pending, in_flight): (i64, i64) = sqlx::query_as(
        "select (select count(*) from (select distinct workspace_id, subject_id from jobs) j), (select count(*) from bench.in_flight)",
    )
    .fetch_one(database)
    .await?;
    Ok((pending.try_into()?, in_flight.try_into()?))
}

/// Waits until each noted dialogue has its reply delivered; gives when the last was.
async fn answered(database: &mut PgConnection) -> anyhow::Result<f64> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (missing, last): (i64, Option<f64>) = sqlx::query_as(
            "select count(*) filter (where d.at is null), max(extract(epoch from d.at))::float8
             from bench.in_flight f
             left join lateral (
                 select max(settled_at) as at from deliveries d
                 where d.workspace_id = f.workspace_id and d.dialogue_id = f.dialogue_id and d.state = 'DELIVERED'
             ) d on true",
        )
        .fetch_one(&mut *database)
        .await?;
        if missing == 0 {
            return last.context("no dialogue was in flight");
        }
        ensure!(Instant::now() < deadline, "{missing} dialogues in flight were not answered");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
