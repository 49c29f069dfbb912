//! `import`: takes over what another program has kept.

mod rows;
mod sqlite;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use switchboard_sdk::{Client, v1};
use tokio::sync::mpsc;
use tonic::Code;

use crate::output::{Output, Row, print};

/// What to take over.
#[derive(Debug, Subcommand)]
pub enum Import {
    /// Takes over the `SQLite` file of a deployment that kept dialogues by lead: its tables `clients`, `conversations` and
    /// `messages`. Nothing is answered, and nothing is taken over twice: repeat it as you like.
    Sqlite {
        /// The file. It is only read.
        file: PathBuf,
        /// The id of the channel that gets the dialogues.
        #[arg(long)]
        channel: String,
        /// The integration of the CRM whose leads and contacts they are, so that its messages find them again.
        #[arg(long, default_value = "")]
        integration: String,
        /// What must be added to UTC for the times in the file that name no zone, such as `+03:00`.
        #[arg(long, default_value = "+00:00", allow_hyphen_values = true, value_parser = rows::offset)]
        utc_offset: time::UtcOffset,
    },
}

/// A row that was not taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
struct BadRow {
    table: &'static str,
    id: String,
    reason: String,
}

/// A batch to send, and whose rows it is made of.
#[derive(Debug, Default)]
struct Batch {
    chats: Vec<(v1::ImportedChat, String)>,
    messages: Vec<(v1::ImportedMessage, String)>,
    bytes: usize,
}

/// What the reader of the file sends on.
#[derive(Debug)]
enum Read {
    /// The file holds so many messages.
    Total(u64),
    /// A batch.
    Batch(Batch),
    /// A row that can't be taken over.
    Bad(BadRow),
}

/// What was done.
#[derive(Debug, Default)]
struct Report {
    read: u64,
    imported: u64,
    known: u64,
    dialogues: u64,
    bad: Vec<BadRow>,
}

pub(crate) async fn run(client: &Client, output: Output, command: Import) -> anyhow::Result<()> {
    let Import::Sqlite { file, channel, integration, utc_offset } = command;
    let begun = Instant::now();
    let (sender, batches) = mpsc::channel(4);
    let reader = tokio::task::spawn_blocking(move || {
        sqlite::read(&file, &integration, utc_offset, &sender)
            .with_context(|| format!("reading {}", file.display()))
    });
    let sent = send(client, &channel, batches).await;
    // What was wrong with the file explains more than that nothing came of it.
    reader.await??;
    show(output, &sent?, begun.elapsed());
    Ok(())
}

async fn send(client: &Client, channel: &str, mut batches: mpsc::Receiver<Read>) -> anyhow::Result<Report> {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} messages, {per_sec}, {eta} left")?;
    let progress = ProgressBar::new(0).with_style(style);
    let mut report = Report::default();
    while let Some(read) = batches.recv().await {
        match read {
            Read::Total(count) => progress.set_length(count),
            Read::Bad(row) => {
                if row.table == "messages" {
                    report.read += 1;
                    progress.inc(1);
                }
                report.bad.push(row);
            }
            Read::Batch(batch) => {
                let count = batch.messages.len() as u64;
                take_over(client, channel, batch, &mut report).await?;
                report.read += count;
                progress.inc(count);
            }
        }
    }
    progress.finish_and_clear();
    Ok(report)
}

async fn take_over(client: &Client, channel: &str, batch: Batch, report: &mut Report) -> anyhow::Result<()> {
    const TRIES: u32 = 5;
    let (chats, chat_ids): (Vec<_>, Vec<_>) = batch.chats.into_iter().unzip();
    let (messages, message_ids): (Vec<_>, Vec<_>) = batch.messages.into_iter().unzip();
    let request = v1::ImportMessagesRequest { channel_id: channel.to_owned(), messages, chats };
    let mut tries = 0;
    let done = loop {
        tries += 1;
        match client.dialogues().import_messages(request.clone()).await {
            Ok(answer) => break answer.into_inner(),
            // Whatever became of it, a repeat is harmless.
            Err(status)
                if tries < TRIES
                    && matches!(
                        status.code(),
                        Code::Unavailable | Code::Aborted | Code::DeadlineExceeded
                    ) =>
            {
                tokio::time::sleep(Duration::from_millis(200) * tries).await;
            }
            Err(status) => return Err(status.into()),
        }
    };
    let count = |count: i32| u64::try_from(count).unwrap_or_default();
    report.imported += count(done.imported_count);
    report.known += count(done.known_count);
    report.dialogues += count(done.created_dialogue_count);
    for fault in done.faults {
        let (table, ids) = if fault.chat { ("conversations", &chat_ids) } else { ("messages", &message_ids) };
        let id = usize::try_from(fault.index).ok().and_then(|index| ids.get(index)).cloned();
        report.bad.push(BadRow { table, id: id.unwrap_or_default(), reason: fault.reason });
    }
    Ok(())
}

fn show(output: Output, report: &Report, took: Duration) {
    #[expect(clippy::cast_precision_loss, reason = "no file has that many messages")]
    let rate = (report.read as f64 / took.as_secs_f64().max(0.001)).round();
    let row = Row {
        json: json!({
            "messages": report.read, "imported": report.imported, "known": report.known,
            "dialogues": report.dialogues, "badRows": report.bad.len(), "seconds": took.as_secs_f64(),
            "messagesPerSecond": rate,
        }),
        cells: vec![
            report.read.to_string(),
            report.imported.to_string(),
            report.known.to_string(),
            report.dialogues.to_string(),
            report.bad.len().to_string(),
            format!("{:.1}", took.as_secs_f64()),
            format!("{rate}"),
        ],
    };
    print(
        output,
        &["MESSAGES", "IMPORTED", "KNOWN", "NEW DIALOGUES", "BAD ROWS", "SECONDS", "PER SECOND"],
        &[row],
    );
    if report.bad.is_empty() {
        return;
    }
    let rows: Vec<Row> = report
        .bad
        .iter()
        .map(|bad| Row {
            json: json!({ "table": bad.table, "id": bad.id, "reason": bad.reason }),
            cells: vec![bad.table.to_owned(), bad.id.clone(), bad.reason.clone()],
        })
        .collect();
    if output == Output::Table {
        println!();
    }
    print(output, &["TABLE", "ID", "REASON"], &rows);
}
