//! Faults, as data.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// What a simulated vendor does wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
