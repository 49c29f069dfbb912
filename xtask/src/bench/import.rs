//! Taking over a deployment's `SQLite` file, as its operator does: with the program, from reading the file to its report.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};
use rusqlite::Connection;
use serde_json::Value;
use switchboard_sdk::Client;
use switchboard_sdk::tonic::Request;
use switchboard_sdk::v1::{ListChannelsRequest, ListDialoguesRequest};

use super::server::{DataDir, Server};
use super::statistics::{median, spread};
use super::{Bench, Measured, NOWHERE, PAIRS};
use crate::run;

/// How many messages a file has, and how many of them a conversation.
const MESSAGES: u32 = 60_000;
const PER_CONVERSATION: u32 = 20;

impl Bench {
    /// Each round takes the file over into a channel of its own.
    pub(super) async fn import(&mut self) -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("deployment.sqlite");
        fill(&file)?;
        let data = DataDir::new()?;
        let server = Server::start(&self.program, &data, "api")?;
        let client = Client::connect(&server.grpc, &server.api_key).await?;
        let mut rates = Vec::new();
        for _ in 0..=PAIRS {
            server.customers(NOWHERE.to_owned(), 1).await?;
            let channels =
                client.channels().list_channels(Request::new(ListChannelsRequest::default())).await?;
            let channel = channels.into_inner().channels.pop().context("no channel was created")?.id;
            let mut command = Command::new(&self.program);
            command
                .args(["import", "sqlite", "--channel", &channel, "--output", "json"])
                .arg(&file)
                .env("SWITCHBOARD_ENDPOINT", &server.grpc)
                .env("SWITCHBOARD_API_KEY", &server.api_key);
            let printed = tokio::task::spawn_blocking(move || run::capture(&mut command)).await??;
            let report: Value = serde_json::from_str(printed.lines().next().unwrap_or_default())?;
            ensure!(
                report["imported"] == MESSAGES && report["badRows"] == 0,
                "not all was taken over: {report}"
            );
            rates.push(report["messagesPerSecond"].as_f64().context("no rate in the report")?);
        }
        let request = ListDialoguesRequest { lead_id: "1".to_owned(), ..ListDialoguesRequest::default() };
        let found = client.dialogues().list_dialogues(Request::new(request)).await?.into_inner().dialogues;
        ensure!(found.len() == PAIRS + 1, "a lead has {} dialogues", found.len());
        rates.remove(0);
        self.put("import_rows", Measured { value: median(&rates), baseline: None, spread: spread(&rates) });
        Ok(())
    }
}

fn fill(file: &Path) -> anyhow::Result<()> {
    let mut db = Connection::open(file)?;
    db.execute_batch(
        "create table clients (id integer primary key, amocrm_contact_id integer, name text, phone text, email text);
         create table conversations (id integer primary key, client_id integer, amocrm_lead_id integer, status text,
             last_activity text);
         create table messages (id integer primary key, conversation_id integer, sender_type text, content text,
             message_type text, metadata text, timestamp text);
         create index messages_conversation on messages (conversation_id);",
    )?;
    let all = db.transaction()?;
    for conversation in 1..=MESSAGES / PER_CONVERSATION {
        all.execute(
            "insert into clients values (?1, ?1 + 7000000, 'Customer ' || ?1, '+7900' || ?1, ?1 || '@example.com')",
            [conversation],
        )?;
        all.execute(
            "insert into conversations values (?1, ?1, ?1, 'active', '2024-01-01 00:00:00')",
            [conversation],
        )?;
    }
    {
        let mut message = all.prepare(
            "insert into messages values (?1, ?2, ?3, ?4, 'text', ?5, datetime(1704067200 + ?1, 'unixepoch'))",
        )?;
        for number in 0..MESSAGES {
            let conversation = number % (MESSAGES / PER_CONVERSATION) + 1;
            let sender = if (number / (MESSAGES / PER_CONVERSATION)).is_multiple_of(2) {
                "client"
            } else {
                "assistant"
            };
            let text = format!("Message {number}: could you tell me when my order will be here, please?");
            let metadata = format!(r#"{{"lead_id": {conversation}, "origin": "waba"}}"#);
            message.execute((number + 1, conversation, sender, text, metadata))?;
        }
    }
    all.commit()?;
    Ok(())
}
