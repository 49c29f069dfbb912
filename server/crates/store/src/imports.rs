//! The write of a batch that is taken over from elsewhere.

use std::collections::HashSet;

use domain::{
    ChannelId, DialogueId, MessageId, Timestamp, WorkspaceId,
    dialogue::Status,
    import::{Imported, ImportedMessage},
};
use sqlx::{PgConnection, types::Json};

use crate::{Error, record::Link};

/// A dialogue of a batch.
#[derive(Debug, Clone)]
pub struct NewDialogue {
    /// Its id.
    pub id: DialogueId,
    /// Its chat.
    pub chat: String,
    /// When it began, if it is new.
    pub begun_at: Timestamp,
    /// Its status, if it is new. `None`: the agent's.
    pub status: Option<Status>,
    /// Whom it is held with, and what the CRM knows it as.
    pub link: Option<Link>,
}

/// A message of a batch, with what it is kept under.
#[derive(Debug, Clone)]
pub struct NewMessage {
    /// Its id, of its own time.
    pub id: MessageId,
    /// Its dialogue, one of the batch.
    pub dialogue: DialogueId,
    /// What makes a repeat known.
    pub dedup_key: String,
    /// What tells a repeat from a conflict.
    pub digest: [u8; 32],
    /// What it says.
    pub message: ImportedMessage,
}

/// Records a batch: each dialogue once, each key once. Gives the counts, without faults, and the places of the messages that
/// are known with another content.
pub async fn import(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    channel: ChannelId,
    dialogues: &[NewDialogue],
    messages: &[NewMessage],
    now: Timestamp,
) -> Result<(Imported, HashSet<usize>), Error> {
    let metadata: Vec<_> = messages
        .iter()
        .map(|item| Some(&item.message.metadata).filter(|it| !it.is_empty()).map(Json))
        .collect();
    let (recorded, begun, conflicts): (i32, i32, Vec<i32>) = sqlx::query_as(
        "select * from system_import_messages($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
    )
    .bind(workspace.0)
    .bind(channel.0)
    .bind(dialogues.iter().map(|item| item.id.0).collect::<Vec<_>>())
    .bind(dialogues.iter().map(|item| item.chat.as_str()).collect::<Vec<_>>())
    .bind(dialogues.iter().map(|item| item.begun_at).collect::<Vec<_>>())
    .bind(dialogues.iter().map(|item| item.status.map(Status::as_str)).collect::<Vec<_>>())
    .bind(dialogues.iter().map(|item| item.link.as_ref().map(Json)).collect::<Vec<_>>())
    .bind(messages.iter().map(|item| item.dialogue.0).collect::<Vec<_>>())
    .bind(messages.iter().map(|item| item.dedup_key.as_str()).collect::<Vec<_>>())
    .bind(messages.iter().map(|item| item.digest.as_slice()).collect::<Vec<_>>())
    .bind(messages.iter().map(|item| item.id.0).collect::<Vec<_>>())
    .bind(messages.iter().map(|item| item.message.external_id.as_str()).collect::<Vec<_>>())
    .bind(messages.iter().map(|item| item.message.role.as_str()).collect::<Vec<_>>())
    .bind(messages.iter().map(|item| item.message.text.as_str()).collect::<Vec<_>>())
    .bind(messages.iter().map(|item| item.message.created_at).collect::<Vec<_>>())
    .bind(metadata.iter().any(Option::is_some).then_some(metadata))
    .bind(now)
    .fetch_one(&mut *conn)
    .await?;
    sqlx::query("select pg_notify('switchboard_work', '')").execute(conn).await?;
    let count = |number: i32| usize::try_from(number).unwrap_or(0);
    let conflicts: HashSet<usize> = conflicts.into_iter().map(|number| count(number - 1)).collect();
    let known = messages.len() - count(recorded) - conflicts.len();
    Ok((Imported { recorded: count(recorded), known, begun: count(begun), faults: Vec::new() }, conflicts))
}
