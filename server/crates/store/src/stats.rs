//! Counts of a workspace. The numberer counts events while it gives them their places, in the same transaction; repeats,
//! which leave no event, are counted where they are found. Reading them costs a few rows, however much there is.

use domain::{WorkspaceId, stats::Stats};
use sqlx::PgConnection;

use crate::Error;

/// What a workspace has done so far.
pub async fn read(conn: &mut PgConnection, workspace: WorkspaceId) -> Result<Stats, Error> {
    let rows: Vec<(String, i64, i64)> = sqlx::query_as(
        "select kind, events, amount from event_counts where workspace_id = $1
         union all
         select '', 0, coalesce(sum(repeats), 0)::bigint from repeat_counts where workspace_id = $1",
    )
    .bind(workspace.0)
    .fetch_all(conn)
    .await?;
    let repeats = rows.iter().filter(|(kind, ..)| kind.is_empty()).map(|(.., repeats)| repeats).sum();
    Ok(Stats::of(rows.iter().map(|(kind, events, amount)| (kind.as_str(), *events, *amount)), repeats))
}
