//! How many calls the account takes: seven a second, then 429; whoever doesn't heed that is shut out with 403.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// How many calls a second are taken.
const PER_SECOND: usize = 7;
/// How many refusals in how long a time are one too many.
const PATIENCE: (usize, Duration) = (20, Duration::from_secs(10));

/// The calls of late.
#[derive(Debug, Default)]
pub(super) struct Limit {
    calls: Vec<Instant>,
    refused: VecDeque<Instant>,
    blocked: bool,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Taken,
    TooMany,
    Blocked,
}

impl Limit {
    /// Notes a call, and says what becomes of it.
    pub(super) fn call(&mut self, now: Instant) -> Verdict {
        let second =
            self.calls.iter().rev().take_while(|at| now.duration_since(**at) < Duration::from_secs(1));
        let crowded = second.count() >= PER_SECOND;
        self.calls.push(now);
        if self.blocked {
            return Verdict::Blocked;
        }
        if !crowded {
            return Verdict::Taken;
        }
        self.refused.push_back(now);
        self.refused.retain(|at| now.duration_since(*at) < PATIENCE.1);
        self.blocked = self.refused.len() >= PATIENCE.0;
        Verdict::TooMany
    }

    pub(super) fn set_blocked(&mut self, blocked: bool) {
        self.blocked = blocked;
        self.refused.clear();
    }

    pub(super) fn total(&self) -> usize {
        self.calls.len()
    }

    /// The most calls that came within any second.
    pub(super) fn busiest_second(&self) -> usize {
        let within = |(first, begun): (usize, &Instant)| {
            let rest = self.calls[first..].iter();
            rest.take_while(|at| at.duration_since(*begun) < Duration::from_secs(1)).count()
        };
        self.calls.iter().enumerate().map(within).max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_eighth_call_of_a_second_is_refused_and_hammering_shuts_out() {
        let (mut limit, begun) = (Limit::default(), Instant::now());
        for _ in 0..7 {
            assert_eq!(limit.call(begun), Verdict::Taken);
        }
        assert_eq!(limit.call(begun), Verdict::TooMany);
        assert_eq!(limit.call(begun + Duration::from_secs(1)), Verdict::Taken);
        assert_eq!(limit.busiest_second(), 8);
        for _ in 0..30 {
            limit.call(begun);
        }
        assert_eq!(limit.call(begun + Duration::from_mins(1)), Verdict::Blocked);
        limit.set_blocked(false);
        assert_eq!(limit.call(begun + Duration::from_mins(2)), Verdict::Taken);
    }
}
