//! Who holds a dialogue, and what is said in it by others than the customer and the agent.

use domain::{
    DeliveryId, DialogueId, MessageId, Timestamp, TurnId, WorkerId, WorkspaceId,
    delivery::Author,
    dialogue::{Role, Status},
};
use sqlx::PgConnection;

use crate::{Error, queue::Claim};

/// A change of a dialogue's holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Which dialogue.
    pub dialogue: DialogueId,
    /// Its new status, which says who holds it.
    pub status: Status,
    /// Why.
    pub reason: String,
    /// Who did it.
    pub by: String,
    /// When a human's control, or what was set aside, goes back to the agent by itself.
    pub returns_at: Option<Timestamp>,
}

/// Gives a dialogue to another holder, with event and marker, and has the runs in it stop. Answers whether the holder
/// changed; a human who holds it already moves the moment of its return.
pub async fn change(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    change: &Change,
    now: Timestamp,
) -> Result<bool, Error> {
    let changed = set_aside(conn, workspace, change, now).await?;
    disturb(conn, change, changed).await?;
    Ok(changed)
}

/// Does the same for the agent itself, whose run goes on.
pub async fn set_aside(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    change: &Change,
    now: Timestamp,
) -> Result<bool, Error> {
    let changed = change_control(&mut *conn, workspace, change, now).await?;
    sqlx::query("select pg_notify('switchboard_work', '')").execute(conn).await?;
    Ok(changed)
}

async fn change_control(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    change: &Change,
    now: Timestamp,
) -> Result<bool, Error> {
    Ok(sqlx::query_scalar("select change_control($1, $2, $3, $4, $5, $6, $7)")
        .bind(workspace.0)
        .bind(change.dialogue.0)
        .bind(change.status.as_str())
        .bind(&change.reason)
        .bind(&change.by)
        .bind(change.returns_at)
        .bind(now)
        .fetch_one(conn)
        .await?)
}

/// Notes that a person has said something: where `takes`, that makes the change; a human who holds the dialogue already
/// holds it for the agreed span from now on. Answers whether the holder changed.
pub async fn person_spoke(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    change: &Change,
    takes: bool,
    now: Timestamp,
) -> Result<bool, Error> {
    let changed = sqlx::query_scalar("select person_spoke($1, $2, $3, $4, $5, $6, $7)")
        .bind(workspace.0)
        .bind(change.dialogue.0)
        .bind(takes)
        .bind(&change.reason)
        .bind(&change.by)
        .bind(change.returns_at)
        .bind(now)
        .fetch_one(&mut *conn)
        .await?;
    disturb(conn, change, changed).await?;
    sqlx::query("select pg_notify('switchboard_work', '')").execute(conn).await?;
    Ok(changed)
}

/// A run of the agent's has become pointless when somebody else has the dialogue.
async fn disturb(conn: &mut PgConnection, change: &Change, changed: bool) -> Result<(), Error> {
    if changed && change.status != Status::Pending {
        sqlx::query("select pg_notify('switchboard_dialogues', $1)")
            .bind(change.dialogue.to_string())
            .execute(conn)
            .await?;
    }
    Ok(())
}

/// A message of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMessage {
    /// Its id.
    pub id: MessageId,
    /// In which dialogue.
    pub dialogue: DialogueId,
    /// In whose role.
    pub role: Role,
    /// What it says.
    pub text: String,
    /// Its delivery.
    pub delivery: DeliveryId,
    /// Who had it sent.
    pub author: Author,
}

/// Adds a message with its delivery. Answers whether there is such a dialogue.
pub async fn send(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    message: &NewMessage,
    now: Timestamp,
) -> Result<bool, Error> {
    let known = sqlx::query_scalar("select add_message($1, $2, $3, $4, $5, $6, $7, $8, $9)")
        .bind(workspace.0)
        .bind(message.dialogue.0)
        .bind(message.id.0)
        .bind(message.role.as_str())
        .bind(&message.text)
        .bind(message.id.to_string())
        .bind(message.delivery.0)
        .bind(message.author.as_str())
        .bind(now)
        .fetch_one(&mut *conn)
        .await?;
    sqlx::query("select pg_notify('switchboard_work', '')").execute(conn).await?;
    Ok(known)
}

/// Reads what the customer wrote in a turn since a person last said something, oldest first, each with its moment: a hundred
/// messages at most.
pub async fn unanswered(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    dialogue: DialogueId,
    turn: TurnId,
) -> Result<Vec<(Timestamp, String)>, Error> {
    Ok(sqlx::query_as(
        "select m.created_at, m.body from messages m
         where m.workspace_id = $1 and m.dialogue_id = $2 and m.role = 'USER' and m.turn_id = $3
             and m.seq > coalesce((
                 select p.seq from messages p
                 where p.workspace_id = $1 and p.dialogue_id = $2 and p.role = 'EMPLOYEE'
                 order by p.seq desc limit 1), 0)
         order by m.seq limit 100",
    )
    .bind(workspace.0)
    .bind(dialogue.0)
    .bind(turn.0)
    .fetch_all(conn)
    .await?)
}

/// Ends a claimed timer: gives control back to the agent if that is due.
pub async fn return_due(
    conn: &mut PgConnection,
    worker: WorkerId,
    claim: &Claim,
    now: Timestamp,
) -> Result<(), Error> {
    sqlx::query("select system_return_control($1, $2, $3, $4, $5, $6)")
        .bind(worker.0)
        .bind(claim.workspace.0)
        .bind(claim.dialogue.0)
        .bind(claim.fence)
        .bind(claim.job.0)
        .bind(now)
        .execute(conn)
        .await?;
    Ok(())
}
