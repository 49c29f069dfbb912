//! Time and randomness, passed in so that tests and the simulator can move them.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

use time::{Duration, OffsetDateTime};
use uuid::Uuid;

/// A moment, UTC, as precise as Postgres keeps it (microseconds) once it has been stored.
pub type Timestamp = OffsetDateTime;

/// Tells business time. Leases alone use the database's own clock.
pub trait Clock: Send + Sync {
    /// The present moment, cut to microseconds so that what is stored equals what was meant.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place where the machine's clock is read")]
    fn now(&self) -> Timestamp {
        micros(OffsetDateTime::now_utc())
    }
}

/// A clock that may be ahead of another: that of a simulation. It never goes back.
pub struct AheadClock {
    of: Arc<dyn Clock>,
    ahead_micros: AtomicU64,
}

impl AheadClock {
    /// Makes a clock that shows the same as this one, as yet.
    pub fn new(of: Arc<dyn Clock>) -> Self {
        Self { of, ahead_micros: AtomicU64::new(0) }
    }

    /// Says how far it is ahead; less than before changes nothing.
    pub fn set_ahead(&self, ahead: std::time::Duration) {
        let micros = u64::try_from(ahead.as_micros()).unwrap_or(u64::MAX);
        self.ahead_micros.fetch_max(micros, Ordering::Relaxed);
    }
}

impl Clock for AheadClock {
    fn now(&self) -> Timestamp {
        self.of.now() + std::time::Duration::from_micros(self.ahead_micros.load(Ordering::Relaxed))
    }
}

/// A clock that moves only when told to.
#[derive(Debug)]
pub struct ManualClock(Mutex<Timestamp>);

impl ManualClock {
    /// Makes a clock that stands at `start`.
    pub fn new(start: Timestamp) -> Self {
        Self(Mutex::new(micros(start)))
    }

    /// Moves it.
    pub fn advance(&self, by: Duration) {
        *self.0.lock().expect("no panic happens under this lock") += by;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().expect("no panic happens under this lock")
    }
}

fn micros(moment: Timestamp) -> Timestamp {
    moment.replace_nanosecond(moment.microsecond() * 1000).expect("microseconds fit")
}

/// Makes ids: `UUIDv7`, so that they sort by the clock's time.
#[derive(Clone)]
pub struct Ids(Arc<dyn Clock>);

impl Ids {
    /// Makes ids by this clock.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self(clock)
    }

    /// The next id.
    pub fn next<T: From<Uuid>>(&self) -> T {
        Self::at(self.0.now())
    }

    /// An id of another moment, for what is taken over from elsewhere: it falls into the partition of its own time.
    pub fn at<T: From<Uuid>>(moment: Timestamp) -> T {
        let seconds = u64::try_from(moment.unix_timestamp()).unwrap_or(0);
        T::from(Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, moment.nanosecond())))
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_clock_that_is_ahead_never_goes_back() {
        let start = datetime!(2026-11-21 12:00 UTC);
        let clock = AheadClock::new(Arc::new(ManualClock::new(start)));
        assert_eq!(clock.now(), start);
        clock.set_ahead(std::time::Duration::from_mins(1));
        clock.set_ahead(std::time::Duration::from_secs(30));
        assert_eq!(clock.now(), start + Duration::MINUTE);
    }
}
