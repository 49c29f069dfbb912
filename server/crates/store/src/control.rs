//! Who holds a dialogue, and what is said in it by others than the customer and the agent.

use domain::{
    DeliveryId, DialogueId, MessageId, Timestamp, WorkerId, WorkspaceId,
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
    /// When a human's control goes back to the agent by itself.
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
    let changed = sqlx::query_scalar("select change_control($1, $2, $3, $4, $5, $6, $7)")
        .bind(workspace.0)
        .bind(change.dialogue.0)
        .bind(change.status.as_str())
        .bind(&change.reason)
        .bind(&change.by)
        .bind(change.returns_at)
        .bind(now)
        .fetch_one(&mut *conn)
        .await?;
    told(conn, change, changed).await
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
    told(conn, change, changed).await
}

async fn told(conn: &mut PgConnection, change: &Change, changed: bool) -> Result<bool, Error> {
    if changed && change.status != Status::Pending {
        // A run of the agent's has become pointless.
        sqlx::query("select pg_notify('switchboard_dialogues', $1)")
            .bind(change.dialogue.to_string())
            .execute(&mut *conn)
            .await?;
    }
    sqlx::query("select pg_notify('switchboard_work', '')").execute(conn).await?;
    Ok(changed)
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
