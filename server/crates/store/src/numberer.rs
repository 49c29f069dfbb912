//! Gives events their places in the log. The method is argued in the migration that creates the events.

use std::time::Duration;

use domain::{Timestamp, WorkerId};
use sqlx::PgPool;

use crate::{Error, queue::interval};

/// Numbers waiting events of the groups that this worker holds or can take. Answers how many; a full batch means: call
/// again at once.
pub async fn number_events(
    pool: &PgPool,
    worker: WorkerId,
    lease: Duration,
    limit: i32,
) -> Result<i32, Error> {
    Ok(sqlx::query_scalar("select system_number_events($1, $2, $3)")
        .bind(worker.0)
        .bind(interval(lease))
        .bind(limit)
        .fetch_one(pool)
        .await?)
}

/// Makes the partitions of the coming months.
pub async fn make_partitions(pool: &PgPool, now: Timestamp) -> Result<(), Error> {
    sqlx::query("select system_make_partitions($1)").bind(now).execute(pool).await?;
    Ok(())
}
