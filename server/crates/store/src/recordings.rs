//! Recorded turns, as replays read them.

use domain::{ChannelId, DialogueId, TurnId, WorkspaceId, dialogue::Message, engine::Step, manifest::Prompt};
use sqlx::{FromRow, PgConnection, types::Json};
use uuid::Uuid;

use crate::{Error, dialogues};

/// A turn that an engine answered.
#[derive(Debug, Clone)]
pub struct Recording {
    /// The turn.
    pub turn: TurnId,
    /// Its dialogue.
    pub dialogue: DialogueId,
    /// What the engine was given first in the run that answered.
    pub prompt: Prompt,
    /// The hash of that.
    pub hash: String,
    /// All steps of the turn, the answer last.
    pub steps: Vec<Step>,
}

#[derive(FromRow)]
struct RecordingRow {
    id: Uuid,
    dialogue_id: Uuid,
    request: Json<Prompt>,
    prompt_hash: String,
    steps: Json<Vec<Step>>,
}

/// Lists the newest answered turns of these dialogues (none: of all), of this channel or any; by dialogue, oldest first.
pub async fn list(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    dialogues: &[DialogueId],
    channel: Option<ChannelId>,
    limit: i64,
) -> Result<Vec<Recording>, Error> {
    let rows: Vec<RecordingRow> = sqlx::query_as(
        "select * from (
             select t.id, t.dialogue_id, r.request, r.prompt_hash,
                 coalesce((select jsonb_agg(jsonb_build_object('answer', s.answer, 'results', s.results) order by s.step)
                           from run_steps s where s.workspace_id = t.workspace_id and s.turn_id = t.id), '[]') as steps
             from turns t
             join runs r on r.workspace_id = t.workspace_id and r.turn_id = t.id and r.number = t.current_run
             where t.workspace_id = $1 and r.state = 'ANSWERED' and r.prompt_hash is not null and t.state = 'REPLIED'
                 and ($2::uuid[] = '{}' or t.dialogue_id = any ($2))
                 and ($3::uuid is null or exists (
                     select 1 from dialogues d
                     where d.workspace_id = t.workspace_id and d.id = t.dialogue_id and d.channel_id = $3))
             order by t.id desc limit $4
         ) newest order by dialogue_id, id",
    )
    .bind(workspace.0)
    .bind(dialogues.iter().map(|id| id.0).collect::<Vec<_>>())
    .bind(channel.map(|id| id.0))
    .bind(limit)
    .fetch_all(conn)
    .await?;
    let recording = |row: RecordingRow| Recording {
        turn: row.id.into(),
        dialogue: row.dialogue_id.into(),
        prompt: row.request.0,
        hash: row.prompt_hash,
        steps: row.steps.0,
    };
    Ok(rows.into_iter().map(recording).collect())
}

/// The messages that a prompt's history names, as far as they are there.
pub async fn messages(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    prompt: &Prompt,
) -> Result<Vec<Message>, Error> {
    let numbers: Vec<i64> = prompt.history.iter().map(domain::manifest::Told::seq).collect();
    dialogues::messages_by_number(conn, workspace, prompt.dialogue, &numbers).await
}
