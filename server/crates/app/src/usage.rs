//! What engines used and cost.

use domain::{
    AgentId, Error as Refusal, Reason, Timestamp,
    usage::DailyUsage,
    workspace::{Level, Service},
};
use time::{Duration, Time, UtcOffset};

use crate::{App, Caller, Error};

/// How many days one call tells of, beside the first.
const MOST_DAYS: i64 = 31;

impl App {
    /// Lists what engines used and cost, by day and agent. Whole days count; `None` is today.
    pub async fn list_usage(
        &self,
        caller: &Caller,
        agent: Option<AgentId>,
        start: Option<Timestamp>,
        end: Option<Timestamp>,
    ) -> Result<Vec<DailyUsage>, Error> {
        let workspace = caller.require(Service::Agents, Level::Read)?;
        let midnight = |at: Option<Timestamp>| {
            at.unwrap_or_else(|| self.now()).to_offset(UtcOffset::UTC).replace_time(Time::MIDNIGHT)
        };
        let (from, last) = (midnight(start), midnight(end));
        // Ids tell the time since 1970.
        if last < from || last - from > Duration::days(MOST_DAYS) || from < Timestamp::UNIX_EPOCH {
            let detail = "must be at most 31 days after start_time, and not before it";
            return Err(Refusal::field(Reason::FieldInvalid, "end_time", detail).into());
        }
        let mut tx = self.store().workspace(workspace).await?;
        let days = store::usage::list(&mut tx, workspace, agent, from, last + Duration::DAY).await?;
        store::commit(tx).await?;
        Ok(days)
    }
}
