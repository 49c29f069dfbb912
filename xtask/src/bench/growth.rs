//! What accepting a message costs where many are stored.
//!
//! Each dialogue begins over HTTP, as any other; the rest of its messages is written in bulk, in all tables that a message
//! reaches, with keys as the server makes them.

use std::time::Instant;

use anyhow::Context as _;
use sqlx::{AssertSqlSafe, PgConnection};

use super::load::Customers;
use super::server::{DataDir, Server};
use super::{Bench, CONNECTIONS, NOWHERE, pairs};

const FEW: u64 = 100_000;
const MANY: u64 = 10_000_000;
const PER_DIALOGUE: u64 = 100;
/// How many dialogues are filled in one transaction.
const AT_ONCE: u64 = 5_000;

impl Bench {
    /// Two servers with their own databases take turns.
    pub(super) async fn growth(&mut self) -> anyhow::Result<()> {
        let (few_data, many_data) = (DataDir::new()?, DataDir::new()?);
        let few_server = Server::start(&self.program, &few_data, "api")?;
        let many_server = Server::start(&self.program, &many_data, "api")?;
        let few = filled(&few_server, &few_data, FEW).await?;
        let many = filled(&many_server, &many_data, MANY).await?;
        let cost = async |customers: &Customers, length| {
            anyhow::Ok(1e6 / customers.rush(CONNECTIONS, length).await?)
        };
        let measured =
            pairs(async |length| cost(&many, length).await, async |length| cost(&few, length).await).await?;
        self.put("ingest_growth", measured);
        Ok(())
    }
}

async fn filled(server: &Server, data: &DataDir, messages: u64) -> anyhow::Result<Customers> {
    let start = Instant::now();
    let dialogues = messages / PER_DIALOGUE;
    let customers = server.customers(NOWHERE.to_owned(), dialogues).await?;
    customers.send(CONNECTIONS, dialogues).await?;
    let mut database = data.database("switchboard").await?;
    run(&mut database, "set session_replication_role = replica; set synchronous_commit = off").await?;
    // The first message of each dialogue, as the server wrote it, is what the others are made of.
    run(
        &mut database,
        "create schema bench;
         create table bench.first as
         select row_number() over () as n, m.workspace_id, m.id as message_id, m.dialogue_id, m.turn_id, m.body, k.channel_id,
                k.dedup_key, k.digest, w.headers, w.body as raw, w.route
         from messages m
         join message_keys k on k.workspace_id = m.workspace_id and k.message_id = m.id
         join inbound_webhooks w on w.workspace_id = m.workspace_id and w.message_id = m.id;
         create index on bench.first (n)",
    )
    .await?;
    for first in (1..=dialogues).step_by(usize::try_from(AT_ONCE)?) {
        run(&mut database, &fill(first, first + AT_ONCE - 1)).await?;
    }
    run(&mut database, "drop table bench.first").await?;
    run(&mut database, "vacuum analyze").await?;
    run(&mut database, "checkpoint").await?;
    let size: String = sqlx::query_scalar("select pg_size_pretty(pg_database_size(current_database()))")
        .fetch_one(&mut database)
        .await?;
    println!("  {messages} messages stored in {:.0} s: {size}", start.elapsed().as_secs_f64());
    Ok(customers)
}

async fn run(database: &mut PgConnection, statement: &str) -> anyhow::Result<()> {
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(database).await.with_context(|| statement.to_owned())?;
    Ok(())
}

/// The statements that give the dialogues with these numbers their other messages.
fn fill(first: u64, last: u64) -> String {
    format!(
        "begin;
         create temporary table more on commit drop as
         select f.*, s.seq, new_id(now()) as id, new_id(now()) as event_id, new_id(now()) as webhook_id,
                -- The server's own ids of messages end with their number, twelve digits.
                left(f.dedup_key, -12) || lpad((100000000000 + f.n * {PER_DIALOGUE} + s.seq)::text, 12, '0') as key
         from bench.first f, generate_series(2, {PER_DIALOGUE}) as s (seq) where f.n between {first} and {last}
         -- In the order of time: messages of one dialogue do not come one after another.
         order by s.seq, f.n;
         insert into messages (workspace_id, id, dialogue_id, seq, role, body, external_id, turn_id, created_at)
         select workspace_id, id, dialogue_id, seq, 'USER', body, key, turn_id, now() from more;
         insert into message_keys (workspace_id, channel_id, dedup_key, digest, message_id, dialogue_id, created_at)
         select workspace_id, channel_id, key, digest, id, dialogue_id, now() from more;
         insert into inbound_webhooks (workspace_id, id, channel_id, route, headers, body, outcome, message_id, dialogue_id,
             received_at)
         select workspace_id, webhook_id, channel_id, route, headers, raw, 'RECORDED', id, dialogue_id, now() from more;
         insert into events (workspace_id, id, kind, dialogue_id, subject_id, occurred_at)
         select workspace_id, event_id, 'message.received', dialogue_id, id, now() from more;
         insert into event_positions (workspace_id, position, event_id)
         select workspace_id, (n - 1) * {PER_DIALOGUE} + seq, event_id from more;
         update dialogues d set last_seq = {PER_DIALOGUE}, last_customer_seq = {PER_DIALOGUE}, version = {PER_DIALOGUE}
         from bench.first f
         where f.n between {first} and {last} and d.workspace_id = f.workspace_id and d.id = f.dialogue_id;
         commit"
    )
}
