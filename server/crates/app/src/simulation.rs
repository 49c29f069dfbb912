//! The clock of a simulation, which all processes of a database go by.

use std::time::Duration;

use domain::{Error as Refusal, Reason, Timestamp, error::Violations};

use crate::{App, Caller, Error, workspaces::operator_only};

/// How far one call may move it.
const MOST: Duration = Duration::from_hours(24 * 366);

impl App {
    /// Moves business time ahead, in all processes: what is due by then happens. Answers what time it is then, and how far that
    /// is ahead of the machine's clock.
    pub async fn advance_clock(
        &self,
        caller: &Caller,
        by: Option<Duration>,
    ) -> Result<(Timestamp, Duration), Error> {
        operator_only(caller)?;
        let by = by.unwrap_or_default();
        let mut violations = Violations::default();
        let fits = (Duration::from_millis(1)..=MOST).contains(&by);
        violations.require(fits, "duration", "is required: 0.001 s to 366 days");
        violations.finish()?;
        let ahead = store::simulation::advance(self.store().pool(), by).await?.ok_or_else(|| {
            Refusal::new(
                Reason::ClockNotSimulated,
                "this server's database is no simulation; its clock is the machine's. Start one on an empty database \
                 with SWITCHBOARD_SIMULATION=on",
            )
        })?;
        self.inner.clock.set_ahead(ahead);
        self.inner.hub.wake_all();
        Ok((self.now(), ahead))
    }

    /// Makes the database a simulation, if it holds nothing yet. Answers whether it is one.
    pub async fn begin_simulation(&self) -> Result<bool, Error> {
        Ok(store::simulation::begin(self.store().pool()).await?)
    }

    /// Goes by the clock as it stands in the database now.
    pub(crate) async fn read_clock(&self) -> Result<(), store::Error> {
        if let Some(ahead) = store::simulation::ahead(self.store().pool()).await? {
            self.inner.clock.set_ahead(ahead);
            self.inner.hub.wake_all();
        }
        Ok(())
    }
}
