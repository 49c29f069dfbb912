//! Time and randomness, passed in so that tests and the simulator can move them.

use std::sync::{Arc, Mutex};

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
