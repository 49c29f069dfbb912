//! Governors of calls: places in the rate at which an account outside may be called, by all processes together.

use std::time::Duration;

use domain::WorkspaceId;
use sqlx::{PgConnection, postgres::types::PgInterval};

use crate::Error;

fn interval(span: Duration) -> PgInterval {
    let microseconds = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
    PgInterval { months: 0, days: 0, microseconds }
}

fn span(interval: &PgInterval) -> Duration {
    let days = i64::from(interval.days).saturating_mul(86_400_000_000);
    Duration::from_micros(u64::try_from(interval.microseconds.saturating_add(days)).unwrap_or_default())
}

/// Takes the next place, no sooner than in `ahead`: gives in how long it begins. Where that would be longer than `longest`
/// no place is taken, and the error says when to come again.
pub async fn grant(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    key: &str,
    per_second: u32,
    (ahead, longest): (Duration, Duration),
) -> Result<Result<Duration, Duration>, Error> {
    let (granted, pause): (bool, PgInterval) =
        sqlx::query_as("select granted, pause from grant_call($1, $2, $3, $4, $5)")
            .bind(workspace.0)
            .bind(key)
            .bind(f64::from(per_second))
            .bind(interval(ahead))
            .bind(interval(longest))
            .fetch_one(conn)
            .await?;
    let pause = span(&pause);
    Ok(if granted { Ok(pause) } else { Err(pause) })
}

/// Notes that a call was refused as one too many: nobody is granted a place for `pause`, or for a time that grows with each
/// refusal. `only_after`: only where calls were refused a moment ago. Gives for how long; `None`: it does not apply.
pub async fn refuse(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    key: &str,
    pause: Option<Duration>,
    only_after: bool,
) -> Result<Option<Duration>, Error> {
    let pause: Option<PgInterval> = sqlx::query_scalar("select refuse_calls($1, $2, $3, $4)")
        .bind(workspace.0)
        .bind(key)
        .bind(pause.map(interval))
        .bind(only_after)
        .fetch_one(conn)
        .await?;
    Ok(pause.as_ref().map(span))
}

/// Forgets what was granted under a key.
pub async fn delete(conn: &mut PgConnection, workspace: WorkspaceId, key: &str) -> Result<(), Error> {
    sqlx::query("delete from governors where workspace_id = $1 and key = $2")
        .bind(workspace.0)
        .bind(key)
        .execute(conn)
        .await?;
    Ok(())
}
