//! Faults, as data.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};

/// What a simulated vendor does wrong with a request. In JSON: `"down"`, `{"retry_after": 7}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Answers 503 and takes nothing.
    Down,
    /// Answers 429 with `Retry-After` of so many seconds and takes nothing.
    RetryAfter(u64),
    /// Answers with this status. A 2xx takes the message, any other takes nothing.
    Status(u16),
    /// Waits so many milliseconds, then goes on as if nothing were wrong. A sender that hangs up meanwhile takes its
    /// message with it.
    HangMs(u64),
    /// Closes the connection once the request has been read, takes nothing and answers nothing.
    CutAfterReading,
    /// Takes the message and answers 500.
    ApplyThenFail,
    /// Takes the message and closes the connection without an answer, so that the sender can't know.
    ApplyThenCut,
    /// Answers 429 without `Retry-After` and takes nothing.
    RateLimited,
    /// Says in the vendor's words that the account has used up what it may, or must pay.
    QuotaUsedUp,
    /// Says in the vendor's words that it has too much to do.
    Overloaded,
    /// Says in the vendor's words that the input is longer than the model takes.
    InputTooLong,
    /// Refuses the key, as if it had been revoked.
    Unauthorized,
    /// Takes the message, and closes the connection after so many pieces of the answer; an answer that is no stream is
    /// cut in the middle.
    CutAfterPieces(usize),
    /// Takes the message and says nothing more after so many pieces of the answer, with the connection open.
    StallAfterPieces(usize),
    /// Takes the message, and its answer never ends.
    Endless,
    /// A model that says nothing.
    EmptyAnswer,
    /// A model that calls its tool with arguments that are no JSON.
    BadArguments,
    /// An answer in Windows-1252, which says that it is UTF-8.
    BadEncoding,
}

impl Fault {
    /// How long it waits first.
    pub(crate) const fn pause(self) -> Duration {
        match self {
            Self::HangMs(ms) => Duration::from_millis(ms),
            _ => Duration::ZERO,
        }
    }
}

/// The faults to come, in order. Once they are used up, all is well.
#[derive(Debug, Default)]
pub struct Faults(Mutex<VecDeque<(Fault, Option<u64>)>>);

impl Faults {
    /// Adds a fault behind those that wait: for the next `times` requests, or with `None` for all until [`Faults::heal`].
    pub fn add(&self, fault: Fault, times: Option<u64>) {
        if times != Some(0) {
            self.queue().push_back((fault, times));
        }
    }

    /// Forgets all faults.
    pub fn heal(&self) {
        self.queue().clear();
    }

    /// Gives the fault of the request at hand, and uses it up.
    pub(crate) fn next(&self) -> Option<Fault> {
        let mut queue = self.queue();
        let (fault, times) = queue.front_mut()?;
        let fault = *fault;
        if let Some(times) = times {
            *times -= 1;
            if *times == 0 {
                queue.pop_front();
            }
        }
        Some(fault)
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<(Fault, Option<u64>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_come_in_order_and_end() {
        let faults = Faults::default();
        assert_eq!(faults.next(), None);
        faults.add(Fault::Down, Some(2));
        faults.add(Fault::CutAfterReading, Some(0));
        faults.add(Fault::Status(404), None);
        let seen: Vec<_> = std::iter::from_fn(|| faults.next()).take(5).collect();
        assert_eq!(
            seen,
            [Fault::Down, Fault::Down, Fault::Status(404), Fault::Status(404), Fault::Status(404)]
        );
        faults.heal();
        assert_eq!(faults.next(), None);
    }
}
