//! The clock of a simulation: one row for all processes, in a database that holds nothing but what is simulated.

use std::time::Duration;

use sqlx::postgres::types::PgInterval;

use crate::{Error, Pool};

/// Makes this database a simulation, if it holds nothing yet. Answers whether it is one.
pub async fn begin(pool: &Pool) -> Result<bool, Error> {
    Ok(sqlx::query_scalar("select system_begin_simulation()").fetch_one(pool).await?)
}

/// How far business time is ahead of the machines' clocks. `None`: this database is no simulation.
pub async fn ahead(pool: &Pool) -> Result<Option<Duration>, Error> {
    let micros: Option<i64> = sqlx::query_scalar("select system_clock_ahead()").fetch_one(pool).await?;
    Ok(micros.map(duration))
}

/// Moves business time ahead for all processes. Answers how far it is then. `None`: this database is no simulation.
pub async fn advance(pool: &Pool, by: Duration) -> Result<Option<Duration>, Error> {
    let by =
        PgInterval { months: 0, days: 0, microseconds: i64::try_from(by.as_micros()).unwrap_or(i64::MAX) };
    let micros: Option<i64> =
        sqlx::query_scalar("select system_advance_clock($1)").bind(by).fetch_one(pool).await?;
    Ok(micros.map(duration))
}

fn duration(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}
