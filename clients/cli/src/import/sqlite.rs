//! Reads the file, chat by chat, each chat's messages in their order.

use std::path::Path;

use anyhow::{Context as _, bail};
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags};
use switchboard_sdk::v1;
use time::UtcOffset;
use tokio::sync::mpsc::Sender;

use super::rows::{self, text};
use super::{BadRow, Batch, Read};

/// How much goes in one call.
const MOST_ROWS: usize = 2_000;
const MOST_BYTES: usize = 1 << 20;

/// The columns that a table must have, and those that may be missing.
const TABLES: [(&str, &[&str], &[&str]); 3] = [
    ("clients", &["id"], &["amocrm_contact_id", "name", "phone", "email"]),
    ("conversations", &["id", "client_id"], &["amocrm_lead_id", "status"]),
    (
        "messages",
        &["id", "conversation_id", "sender_type", "content", "timestamp"],
        &["message_type", "metadata"],
    ),
];

/// Reads all of a file and sends it on. Ends early when nobody takes it any more.
pub(super) fn read(
    file: &Path,
    integration: &str,
    offset: UtcOffset,
    sender: &Sender<Read>,
) -> anyhow::Result<()> {
    let db = Connection::open_with_flags(
        file,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    // One snapshot of a file that its program may still be writing to.
    db.execute_batch("begin")?;
    let mut columns = Vec::new();
    for (table, required, optional) in TABLES {
        columns.push(columns_of(&db, table, required, optional)?);
    }
    let total: i64 = db.query_row("select count(*) from messages", [], |row| row.get(0))?;
    if sender.blocking_send(Read::Total(u64::try_from(total)?)).is_err() {
        return Ok(());
    }
    let mut reader =
        Reader { integration, offset, sender, batch: Batch::default(), chat: None, said: Vec::new() };
    let sql = format!(
        "select c.id, {conversation}, k.id, {client}, m.id, {message}
         from conversations c
         left join clients k on k.id = c.client_id
         left join messages m on m.conversation_id = c.id
         order by case when {lead} is null then 'c' || c.id else 'l' || {lead} end, c.id, m.id",
        conversation = columns[1].replace('$', "c."),
        client = columns[0].replace('$', "k."),
        message = columns[2].replace('$', "m."),
        lead = if columns[1].contains("$amocrm_lead_id") { "nullif(c.amocrm_lead_id, '')" } else { "null" },
    );
    let mut statement = db.prepare(&sql)?;
    let mut found = statement.query([])?;
    while let Some(row) = found.next()? {
        let cells: Vec<Value> = (0..16).map(|at| row.get(at)).collect::<Result<_, _>>()?;
        let cells: [Value; 16] =
            cells.try_into().map_err(|_| anyhow::anyhow!("another number of columns"))?;
        if !reader.row(cells) {
            return Ok(());
        }
    }
    if !reader.end_chat() || !reader.flush() {
        return Ok(());
    }
    let mut lost = db.prepare(
        "select m.id, m.conversation_id from messages m
         where not exists (select 1 from conversations c where c.id = m.conversation_id) order by m.id",
    )?;
    let mut found = lost.query([])?;
    while let Some(row) = found.next()? {
        let (id, conversation): (Value, Value) = (row.get(0)?, row.get(1)?);
        let name = text(&conversation).unwrap_or_else(|| "(none)".to_owned());
        if !reader.bad("messages", &id, format!("conversation_id: there is no conversation {name}")) {
            break;
        }
    }
    Ok(())
}

/// The columns to select of a table, each as `$name`, or as NULL where it may be missing and is. The id is left out.
fn columns_of(db: &Connection, table: &str, required: &[&str], optional: &[&str]) -> anyhow::Result<String> {
    let mut statement = db.prepare("select name from pragma_table_info(?1)")?;
    let there: Vec<String> = statement
        .query_map([table], |row| row.get(0))?
        .collect::<Result<_, _>>()
        .context("reading the schema")?;
    if there.is_empty() {
        bail!("has no table {table}: is it the database of such a deployment?");
    }
    let has = |name: &str| there.iter().any(|each| each.eq_ignore_ascii_case(name));
    let missing: Vec<&str> = required.iter().copied().filter(|name| !has(name)).collect();
    if !missing.is_empty() {
        bail!("the table {table} lacks {}", missing.join(", "));
    }
    let chosen = required.iter().chain(optional).filter(|name| **name != "id");
    Ok(chosen
        .map(|name| if has(name) { format!("${name}") } else { "null".to_owned() })
        .collect::<Vec<_>>()
        .join(", "))
}

struct Reader<'a> {
    integration: &'a str,
    offset: UtcOffset,
    sender: &'a Sender<Read>,
    batch: Batch,
    /// The chat that is being read, and the conversation of its last row.
    chat: Option<(String, String)>,
    said: Vec<(v1::ImportedMessage, String)>,
}

impl Reader<'_> {
    /// Takes one row. Answers whether anybody wants more.
    fn row(&mut self, cells: [Value; 16]) -> bool {
        let [
            id,
            client_id,
            lead,
            status,
            client,
            crm_contact,
            name,
            phone,
            email,
            message,
            _,
            sender,
            content,
            timestamp,
            kind,
            metadata,
        ] = cells;
        let (Some(conversation), lead) = (text(&id), text(&lead)) else {
            return self.bad("conversations", &id, "id: is missing".to_owned());
        };
        let chat = lead
            .as_ref()
            .map_or_else(|| format!("conversation:{conversation}"), |lead| format!("lead:{lead}"));
        let same_chat = self.chat.as_ref().is_some_and(|(known, _)| *known == chat);
        let same_conversation =
            same_chat && self.chat.as_ref().is_some_and(|(_, last)| *last == conversation);
        if !same_chat && !self.end_chat() {
            return false;
        }
        if !same_conversation {
            if text(&client).is_none()
                && let Some(lost) = text(&client_id)
                && !self.bad(
                    "conversations",
                    &id,
                    format!("client_id: there is no client {lost}; taken over without"),
                )
            {
                return false;
            }
            // Two conversations about one lead are one dialogue, whose contact is the first one's.
            if !same_chat {
                let of = ClientCells {
                    id: &client,
                    crm_contact: &crm_contact,
                    name: &name,
                    phone: &phone,
                    email: &email,
                };
                self.begin_chat(&chat, &conversation, lead, &status, &of);
            }
            self.chat = Some((chat.clone(), conversation));
        }
        if message == Value::Null {
            return true;
        }
        match self.message(chat, &message, &sender, &content, &timestamp, &kind, &metadata) {
            Ok(read) => {
                self.said.push((read, text(&message).unwrap_or_default()));
                true
            }
            Err(reason) => self.bad("messages", &message, reason),
        }
    }

    fn begin_chat(
        &mut self,
        chat: &str,
        conversation: &str,
        lead: Option<String>,
        status: &Value,
        client: &ClientCells<'_>,
    ) {
        let crm_contact = text(client.crm_contact);
        let references = v1::CrmReferences {
            integration_id: self.integration.to_owned(),
            lead_id: lead.unwrap_or_default(),
            contact_id: crm_contact.clone().unwrap_or_default(),
            source_external_id: String::new(),
        };
        let imported = v1::ImportedChat {
            chat: chat.to_owned(),
            contact: client.contact(self.integration, crm_contact),
            crm: Some(references),
            status: rows::status(status).into(),
        };
        self.batch.chats.push((imported, conversation.to_owned()));
    }

    #[expect(clippy::too_many_arguments, reason = "one for each column")]
    fn message(
        &self,
        chat: String,
        id: &Value,
        sender: &Value,
        content: &Value,
        timestamp: &Value,
        kind: &Value,
        metadata: &Value,
    ) -> Result<v1::ImportedMessage, String> {
        let id = text(id).ok_or("id: is missing")?;
        Ok(v1::ImportedMessage {
            chat,
            message_id: format!("sqlite:{id}"),
            role: rows::role(sender)?.into(),
            text: text(content).ok_or("content: is empty")?,
            create_time: Some(rows::moment(timestamp, self.offset)?),
            metadata: rows::metadata(metadata, kind)?,
        })
    }

    /// Puts what was said in a chat in its order, and sends what is full.
    fn end_chat(&mut self) -> bool {
        self.chat = None;
        let mut said = std::mem::take(&mut self.said);
        // Stable: what was written in the same moment stays in the order of its ids.
        said.sort_by_key(|(message, _)| message.create_time.map(|at| (at.seconds, at.nanos)));
        for each in said {
            self.batch.bytes += each.0.text.len() + 256;
            self.batch.messages.push(each);
            if (self.batch.messages.len() >= MOST_ROWS || self.batch.bytes >= MOST_BYTES) && !self.flush() {
                return false;
            }
        }
        self.batch.chats.len() < MOST_ROWS || self.flush()
    }

    fn flush(&mut self) -> bool {
        let batch = std::mem::take(&mut self.batch);
        batch.chats.is_empty() && batch.messages.is_empty()
            || self.sender.blocking_send(Read::Batch(batch)).is_ok()
    }

    fn bad(&self, table: &'static str, id: &Value, reason: String) -> bool {
        let id = text(id).unwrap_or_default();
        self.sender.blocking_send(Read::Bad(BadRow { table, id, reason })).is_ok()
    }
}

struct ClientCells<'a> {
    id: &'a Value,
    crm_contact: &'a Value,
    name: &'a Value,
    phone: &'a Value,
    email: &'a Value,
}

impl ClientCells<'_> {
    /// The contact; known by the CRM's id of it where there is one, else by the file's.
    fn contact(&self, integration: &str, crm_contact: Option<String>) -> Option<v1::ToldContact> {
        let id = text(self.id)?;
        let (vendor, integration_id, external_id) = match crm_contact {
            Some(contact) => ("amocrm", integration.to_owned(), contact),
            None => ("sqlite", String::new(), id),
        };
        let identity = v1::ContactIdentity { vendor: vendor.to_owned(), integration_id, external_id };
        let word = |value: &Value| text(value).unwrap_or_default();
        Some(v1::ToldContact {
            identities: vec![identity],
            name: word(self.name),
            phone: word(self.phone),
            email: word(self.email),
        })
    }
}
