//! The ledgers, compared with what the database holds.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::bail;
use sqlx::{AssertSqlSafe, PgConnection};

use super::customers::Accepted;
use super::messenger::Messenger;
use super::model::Model;

/// Waits until no turn is open, no delivery on its way and no event without its place.
pub async fn rest(database: &mut PgConnection, longest: Duration) -> anyhow::Result<()> {
    let start = Instant::now();
    loop {
        let left: (i64, i64, i64) = sqlx::query_as(
            "select (select count(*) from turns where closed_at is null),
                    (select count(*) from deliveries where state in ('PENDING', 'STARTED', 'UNCERTAIN')),
                    (select count(*) from unnumbered_events)",
        )
        .fetch_one(&mut *database)
        .await?;
        if left == (0, 0, 0) {
            return Ok(());
        }
        if start.elapsed() > longest {
            bail!(
                "after {} s {} turns are open, {} deliveries on their way, {} events without a place",
                longest.as_secs(),
                left.0,
                left.1,
                left.2
            );
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Names every promise that was broken; else what was done.
pub async fn judge(
    database: &mut PgConnection,
    accepted: &Accepted,
    model: &Model,
    messenger: &Messenger,
    seen: &[String],
) -> anyhow::Result<String> {
    let mut faults = Vec::new();
    let accepted = accepted.all();
    kept(database, &accepted, &mut faults).await?;
    for (promise, sql) in PROMISES {
        let broken: Vec<String> =
            sqlx::query_scalar(AssertSqlSafe((*sql).to_owned())).fetch_all(&mut *database).await?;
        if !broken.is_empty() {
            faults.push(format!("{promise}: {} times, such as {}", broken.len(), broken[0]));
        }
    }
    let answers = answered(database, model, &mut faults).await?;
    let sent = sent(database, messenger, &mut faults).await?;
    read(database, seen, &mut faults).await?;
    if !faults.is_empty() {
        bail!("promises were broken:\n  {}", faults.join("\n  "));
    }
    let (turns, runs, superseded, lost): (i64, i64, i64, i64) = sqlx::query_as(
        "select (select count(*) from turns), count(*), count(*) filter (where state = 'SUPERSEDED'),
                count(*) filter (where state = 'LOST')
         from runs",
    )
    .fetch_one(database)
    .await?;
    let mut report = String::new();
    writeln!(report, "accepted:    {} messages, each kept once and covered by one turn", accepted.len())?;
    writeln!(report, "turns:       {turns}, with {runs} runs: {superseded} superseded, {lost} lost")?;
    writeln!(report, "{answers}")?;
    writeln!(report, "{sent}")?;
    write!(report, "log:         {} events, read in their order without a gap", seen.len())?;
    Ok(report)
}

/// What must find nothing. Each answers with the ids of what breaks the promise.
const PROMISES: &[(&str, &str)] = &[
    (
        "a customer's message is covered by exactly one turn",
        "select m.id::text from messages m left join turns t on t.workspace_id = m.workspace_id and t.id = m.turn_id
         where m.role = 'USER' and (t.id is null or t.closed_at is null or m.seq > t.covered_through)",
    ),
    (
        "turns follow each other in the order of their messages",
        "select turn_id::text from (
             select turn_id, turn_id is distinct from lag(turn_id) over (partition by dialogue_id order by seq) as begins
             from messages where role = 'USER') m
         where begins group by turn_id having count(*) > 1",
    ),
    (
        "a turn covers no message of the next",
        "select t.id::text from turns t where exists (
             select 1 from messages m where m.workspace_id = t.workspace_id and m.dialogue_id = t.dialogue_id
                 and m.role = 'USER' and m.turn_id <> t.id and m.seq <= t.covered_through
                 and m.seq > (select max(o.seq) from messages o where o.workspace_id = t.workspace_id
                     and o.dialogue_id = t.dialogue_id and o.role = 'USER' and o.turn_id = t.id))",
    ),
    (
        "replies come in the order of their turns",
        "select turn_id::text from (
             select a.turn_id, a.seq, lag(a.seq) over (partition by a.dialogue_id order by min(m.seq)) as before
             from messages a join messages m on m.workspace_id = a.workspace_id and m.turn_id = a.turn_id and m.role = 'USER'
             where a.role = 'ASSISTANT' group by a.dialogue_id, a.turn_id, a.seq) r
         where r.before > r.seq",
    ),
    (
        "a turn has one reply at most",
        "select turn_id::text from messages where role = 'ASSISTANT' and turn_id is not null group by turn_id
         having count(*) > 1",
    ),
    (
        "every turn was answered",
        "select t.id::text from turns t where t.state <> 'REPLIED' or not exists (
             select 1 from messages m where m.workspace_id = t.workspace_id and m.id = t.reply_message_id
                 and m.turn_id = t.id)",
    ),
    (
        "a reply has exactly one delivery",
        "select m.id::text from messages m where m.role = 'ASSISTANT' and 1 <> (
             select count(*) from deliveries y where y.workspace_id = m.workspace_id and y.message_id = m.id)",
    ),
    (
        "messages of a dialogue are numbered without a gap",
        "select d.id::text from dialogues d where d.last_seq <> (
             select count(*) from messages m where m.workspace_id = d.workspace_id and m.dialogue_id = d.id)
             or d.last_seq <> (
             select max(m.seq) from messages m where m.workspace_id = d.workspace_id and m.dialogue_id = d.id)",
    ),
    (
        "only one run of a turn answers",
        "select turn_id::text from runs where state = 'ANSWERED' group by turn_id having count(*) > 1",
    ),
    ("no run is left open", "select turn_id::text from runs where state = 'STARTED'"),
    ("no attempt is left open", "select delivery_id::text from attempts where state = 'STARTED'"),
    ("no work is left behind", "select id::text from jobs"),
    (
        "every message is an event",
        "select m.id::text from messages m where m.role in ('USER', 'ASSISTANT') and 1 <> (
             select count(*) from events e where e.workspace_id = m.workspace_id and e.subject_id = m.id)",
    ),
    (
        "every event has one place",
        "select e.id::text from events e where 1 <> (
             select count(*) from event_positions p where p.workspace_id = e.workspace_id and p.event_id = e.id)",
    ),
    (
        "places of a log have no gap",
        "select l.workspace_id::text from event_logs l where l.last_position <> (
             select count(*) from event_positions p where p.workspace_id = l.workspace_id)",
    ),
];

/// Every accepted message is there, once, and no other.
async fn kept(
    database: &mut PgConnection,
    accepted: &BTreeSet<(String, String, String)>,
    faults: &mut Vec<String>,
) -> anyhow::Result<()> {
    let rows: Vec<(String, String, String)> = sqlx::query_as(
        "select d.channel_id::text, d.chat, m.external_id from messages m
         join dialogues d on d.workspace_id = m.workspace_id and d.id = m.dialogue_id where m.role = 'USER'",
    )
    .fetch_all(database)
    .await?;
    let count = rows.len();
    let there: BTreeSet<_> = rows.into_iter().collect();
    if count != there.len() {
        faults.push(format!("{} messages were recorded twice", count - there.len()));
    }
    if let Some(lost) = accepted.difference(&there).next() {
        faults.push(format!(
            "{} accepted messages are lost, such as {lost:?}",
            accepted.difference(&there).count()
        ));
    }
    // Every message is offered until it is accepted, so there are no others either.
    if let Some(other) = there.difference(accepted).next() {
        faults.push(format!("a message is there that nobody knows was accepted: {other:?}"));
    }
    Ok(())
}

/// What the engine was asked against what was said: each reply is an answer of its own, to a call that was given every
/// message that the turn covers, and none of a later turn or of another dialogue.
async fn answered(
    database: &mut PgConnection,
    model: &Model,
    faults: &mut Vec<String>,
) -> anyhow::Result<String> {
    let replies: Vec<(String, String, Vec<String>, Vec<String>)> = sqlx::query_as(
        "select r.id::text, r.body,
                array(select m.body from messages m where m.workspace_id = t.workspace_id and m.turn_id = t.id
                          and m.role = 'USER'),
                array(select m.body from messages m where m.workspace_id = t.workspace_id
                          and m.dialogue_id = t.dialogue_id and m.role = 'USER' and m.seq <= t.covered_through)
         from messages r join turns t on t.workspace_id = r.workspace_id and t.id = r.turn_id
         where r.role = 'ASSISTANT'",
    )
    .fetch_all(&mut *database)
    .await?;
    let asked = model.asked();
    let mut used = HashSet::new();
    for (reply, body, covered, known) in &replies {
        let Some((call, found)) =
            Model::call_of(body).and_then(|call| Some((call, asked.get(call)?))).filter(|it| it.1.answered)
        else {
            faults.push(format!("reply {reply} says what the engine never said: {body}"));
            continue;
        };
        if !used.insert(call) {
            faults.push(format!("reply {reply} uses call {call}, which another reply uses"));
        }
        if let Some(missing) = covered.iter().find(|text| !found.said.contains(text)) {
            faults.push(format!("reply {reply} answers what the engine was not told: {missing}"));
        }
        if let Some(strange) = found.said.iter().find(|text| !known.contains(text)) {
            faults.push(format!("reply {reply}: the engine was told what is none of its turn's: {strange}"));
        }
    }
    // A call of a tool takes effect once for each step that was committed, whatever run went on from it.
    let twice: Vec<String> = sqlx::query_scalar(
        "select data ->> 'name' from events where kind = 'dialogue.attribute_set' group by 1 having count(*) > 1",
    )
    .fetch_all(&mut *database)
    .await?;
    if let Some(name) = twice.first() {
        faults.push(format!("{} calls of tools took effect twice, such as {name}", twice.len()));
    }
    let (effects, steps): (i64, i64) = sqlx::query_as(
        "select (select count(*) from events where kind = 'dialogue.attribute_set'),
                (select count(*) from run_steps where results is not null and answer -> 'tool_calls' <> '[]')",
    )
    .fetch_one(database)
    .await?;
    if effects != steps {
        faults.push(format!("{steps} steps called tools, and {effects} of them took effect"));
    }
    Ok(format!(
        "engine:      {} calls, {} of them answered, {} answers used as replies, {effects} calls of tools",
        asked.len(),
        asked.iter().filter(|one| one.answered).count(),
        used.len()
    ))
}

/// One row per delivery, in the order of the dialogue.
#[derive(Debug, sqlx::FromRow)]
struct Sent {
    id: String,
    dialogue: String,
    state: String,
    hold: bool,
    succeeded: i64,
    unknown: i64,
}

/// What the messenger took against the attempts: every second copy was declared, none under HOLD, and all in order.
async fn sent(
    database: &mut PgConnection,
    messenger: &Messenger,
    faults: &mut Vec<String>,
) -> anyhow::Result<String> {
    let rows: Vec<Sent> = sqlx::query_as(
        "select y.id::text as id, y.dialogue_id::text as dialogue, y.state,
                c.delivery_policy ->> 'uncertain' = 'HOLD' as hold,
                count(*) filter (where a.state = 'SUCCEEDED') as succeeded,
                count(*) filter (where a.state = 'UNKNOWN') as unknown
         from deliveries y
         join channels c on c.workspace_id = y.workspace_id and c.id = y.channel_id
         join messages m on m.workspace_id = y.workspace_id and m.id = y.message_id
         left join attempts a on a.workspace_id = y.workspace_id and a.delivery_id = y.id
         group by y.id, y.dialogue_id, y.state, c.delivery_policy, m.seq order by y.dialogue_id, m.seq",
    )
    .fetch_all(database)
    .await?;
    let counts = messenger.counts();
    let mut first = HashMap::new();
    for (place, id) in messenger.taken().into_iter().enumerate() {
        first.entry(id).or_insert(place);
    }
    let (mut copies, mut declared, mut held) = (0, 0, 0);
    let mut before: Option<(&str, usize)> = None;
    for row in &rows {
        let taken = i64::try_from(counts.get(&row.id).copied().unwrap_or_default())?;
        match row.state.as_str() {
            "DELIVERED" if taken == 0 => faults.push(format!("delivery {} never arrived", row.id)),
            "DELIVERED" => {}
            "HELD" if row.hold => held += 1,
            other => faults.push(format!("delivery {} ended as {other}", row.id)),
        }
        // A call that the messenger took was an attempt that succeeded, or one of which nobody knows.
        if taken > row.succeeded + row.unknown {
            faults.push(format!("delivery {} was taken {taken} times, of which not all are known", row.id));
        }
        if row.hold && taken > 1 {
            faults
                .push(format!("delivery {} is on a channel that holds, and was sent {taken} times", row.id));
        }
        copies += (taken - 1).max(0);
        declared += row.unknown;
        // What is held has left the order, as its channel wants it.
        if row.state == "DELIVERED"
            && let Some(place) = first.get(&row.id)
        {
            if before.is_some_and(|(dialogue, last)| dialogue == row.dialogue && last > *place) {
                faults.push(format!("delivery {} arrived before an older one of its dialogue", row.id));
            }
            before = Some((&row.dialogue, *place));
        }
    }
    if let Some(unknown) = counts.keys().find(|id| rows.iter().all(|row| row.id != **id)) {
        faults.push(format!("the messenger took {unknown}, which is no delivery"));
    }
    Ok(format!(
        "deliveries:  {}, {copies} second copies after {declared} uncertain attempts, {held} held",
        rows.len()
    ))
}

/// A reader that went on through all faults has seen each event once, in the order of the log.
async fn read(database: &mut PgConnection, seen: &[String], faults: &mut Vec<String>) -> anyhow::Result<()> {
    let log: Vec<String> = sqlx::query_scalar("select event_id::text from event_positions order by position")
        .fetch_all(database)
        .await?;
    if log != seen {
        let place =
            log.iter().zip(seen).position(|(there, read)| there != read).unwrap_or(log.len().min(seen.len()));
        faults.push(format!(
            "a reader saw {} events of {}, and another one at {place}",
            seen.len(),
            log.len()
        ));
    }
    Ok(())
}
