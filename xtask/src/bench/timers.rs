//! Many dialogues that wait for nothing, many timers that wait for their moment, and how late these are.
//!
//! The rows are written as the server writes them, in bulk. Half of the timers are turns that wait for their quiet window,
//! half are dialogues whose control returns to the agent.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use sqlx::{AssertSqlSafe, PgConnection};

use super::Bench;
use super::receiver::Receiver;
use super::server::{DataDir, Server};
use super::statistics::percentile;

const IDLE_DIALOGUES: u32 = 1_000_000;
const TIMERS: u32 = 100_000;
/// How many of them fall due while we look, and how many a second.
const DUE: u32 = 20_000;
const PER_SECOND: u32 = 500;
/// How long the server waits beside full tables before its memory is read, and how long until the first timer is due.
const WAIT: Duration = Duration::from_secs(5);
/// How long after the last moment one that is missing is given up.
const PATIENCE: Duration = Duration::from_mins(1);

impl Bench {
    pub(super) async fn timers(&mut self) -> anyhow::Result<()> {
        let receiver = Receiver::start().await?;
        let data = DataDir::new()?;
        let server = Server::start(&self.program, &data, "api,worker")?;
        let customers = server.customers(receiver.url(), 1).await?;
        let mut database = data.database("switchboard").await?;
        let start = Instant::now();
        fill(&mut database, customers.channel()).await?;
        println!("  filled in {:.0} s", start.elapsed().as_secs_f64());
        tokio::time::sleep(WAIT).await;
        if self.wants("timers_rss_mib") {
            self.put_value("timers_rss_mib", server.memory_mib("VmRSS")?);
        }
        if self.wants("timers_p99_ms") {
            arm(&mut database).await?;
            let times = lateness(&mut database).await?;
            println!(
                "  lateness p50 {:.1}, p99 {:.1}, most {:.1} ms; memory then {:.1} MiB",
                percentile(&times, 50),
                percentile(&times, 99),
                percentile(&times, 100),
                server.memory_mib("VmRSS")?
            );
            self.put_value("timers_p99_ms", percentile(&times, 99));
        }
        Ok(())
    }
}

async fn run(database: &mut PgConnection, statement: &str) -> anyhow::Result<()> {
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(database).await.with_context(|| statement.to_owned())?;
    Ok(())
}

/// Idle dialogues, and timers that are due in an hour.
async fn fill(database: &mut PgConnection, channel: &str) -> anyhow::Result<()> {
    // The foreign keys hold; checking each would take most of the time.
    run(database, "set session_replication_role = replica").await?;
    run(
        database,
        &format!(
            "create schema bench;
             create table bench.timers as
             select n, case when n % 2 = 0 then 'turn' else 'timer' end as lane, c.workspace_id, c.id as channel_id,
                    c.agent_id, gen_random_uuid() as dialogue_id, new_id(now()) as turn_id, new_id(now()) as message_id,
                    new_id(now()) as job_id, now() + interval '1 hour' as due
             from channels c, generate_series(1, {TIMERS}) n where c.id = '{channel}';
             create unique index on bench.timers (workspace_id, dialogue_id);
             insert into dialogues (workspace_id, id, channel_id, chat, status, last_seq, last_customer_seq, version,
                 control_since, created_at, updated_at)
             select c.workspace_id, gen_random_uuid(), c.id, 'idle-' || n, 'PENDING', 1, 1, 3, now(), now(), now()
             from channels c, generate_series(1, {IDLE_DIALOGUES}) n where c.id = '{channel}';
             insert into dialogues (workspace_id, id, channel_id, chat, status, last_seq, last_customer_seq, version,
                 collecting_turn_id, control_since, control_returns_at, created_at, updated_at)
             select workspace_id, dialogue_id, channel_id, 'timer-' || n, case lane when 'turn' then 'PENDING' else 'OPEN' end,
                    1, 1, 1, case lane when 'turn' then turn_id end, now(), case lane when 'timer' then due end, now(), now()
             from bench.timers;
             insert into messages (workspace_id, id, dialogue_id, seq, role, body, external_id, turn_id, created_at)
             select workspace_id, message_id, dialogue_id, 1, 'USER', 'hello', n, case lane when 'turn' then turn_id end, now()
             from bench.timers;
             insert into turns (workspace_id, id, dialogue_id, agent_id, state, covered_through, current_run, created_at)
             select workspace_id, turn_id, dialogue_id, agent_id, 'COLLECTING', 0, 0, now()
             from bench.timers where lane = 'turn';
             insert into jobs (workspace_id, id, subject_id, lane, target_id, place, run_at, latest_at)
             select workspace_id, job_id, dialogue_id, lane, case lane when 'turn' then turn_id else dialogue_id end,
                    case lane when 'turn' then 1 else 0 end, due, case lane when 'turn' then due end
             from bench.timers;
             insert into job_keys (workspace_id, subject_id, lane, next_run_at)
             select workspace_id, dialogue_id, lane, due from bench.timers"
        ),
    )
    .await?;
    // What autovacuum and time would have done by the moment that a database is this full.
    run(database, "vacuum analyze").await?;
    run(database, "checkpoint").await
}

/// Moves some of the timers, of both kinds, to moments that come soon and evenly.
async fn arm(database: &mut PgConnection) -> anyhow::Result<()> {
    run(
        database,
        &format!(
            "update bench.timers set due = clock_timestamp() + {} * interval '1 second' + (n - 1) * interval '1 second' / {PER_SECOND}
             where n <= {DUE};
             update dialogues d set control_returns_at = b.due
             from bench.timers b
             where b.n <= {DUE} and b.lane = 'timer' and d.workspace_id = b.workspace_id and d.id = b.dialogue_id;
             update jobs j set run_at = b.due, latest_at = case b.lane when 'turn' then b.due end
             from bench.timers b where b.n <= {DUE} and j.workspace_id = b.workspace_id and j.id = b.job_id;
             update job_keys k set next_run_at = b.due
             from bench.timers b
             where b.n <= {DUE} and k.workspace_id = b.workspace_id and k.subject_id = b.dialogue_id and k.lane = b.lane",
            2 * WAIT.as_secs()
        ),
    )
    .await
}

/// How late each was, in milliseconds: when the run started, or control returned, after its moment.
async fn lateness(database: &mut PgConnection) -> anyhow::Result<Vec<f64>> {
    let last = 2 * WAIT + Duration::from_secs(u64::from(DUE / PER_SECOND));
    let deadline = Instant::now() + last + PATIENCE;
    tokio::time::sleep(last).await;
    loop {
        let times: Vec<f64> = sqlx::query_scalar(AssertSqlSafe(format!(
            "select extract(epoch from h.at - b.due)::float8 * 1000
             from bench.timers b
             join (
                 select r.workspace_id, t.dialogue_id, 'turn' as lane, r.started_at as at
                 from runs r join turns t on t.workspace_id = r.workspace_id and t.id = r.turn_id where r.number = 1
                 union all
                 select workspace_id, dialogue_id, 'timer', occurred_at from events where kind = 'dialogue.control_changed'
             ) h on h.workspace_id = b.workspace_id and h.dialogue_id = b.dialogue_id and h.lane = b.lane
             where b.n <= {DUE}"
        )))
        .fetch_all(&mut *database)
        .await?;
        if times.len() >= usize::try_from(DUE)? {
            return Ok(times);
        }
        if Instant::now() > deadline {
            bail!("of {DUE} timers {} went off", times.len());
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
