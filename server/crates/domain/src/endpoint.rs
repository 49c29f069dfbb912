//! Outbound webhooks: endpoints that events are posted to, and the dispatches of events to them.

use std::time::Duration;

use crate::{
    ChannelId, DialogueId, DispatchId, EndpointId, EventId, Timestamp,
    delivery::{Attempt, RetrySchedule},
    dialogue::stored_enum,
};

stored_enum! {
    /// When a failed dispatch is tried again.
    Schedule {
        /// For real use: over a day.
        Standard = "STANDARD",
        /// For trying an endpoint out: seconds.
        Sandbox = "SANDBOX",
    }
}

stored_enum! {
    /// Where a dispatch stands.
    DispatchState {
        /// It waits.
        Pending = "PENDING",
        /// An attempt is under way.
        Started = "STARTED",
        /// The endpoint took it. Final.
        Delivered = "DELIVERED",
        /// It was given up.
        Dead = "DEAD",
    }
}

/// How long an endpoint may fail without one success before it is made inactive.
pub const PATIENCE: Duration = Duration::from_hours(5 * 24);
/// How long the old secret signs beside a new one.
pub const OLD_SECRET_SIGNS: Duration = Duration::from_hours(24);
/// The longest pause that an endpoint may ask for.
const LONGEST_PAUSE: Duration = Duration::from_hours(24);
/// The longest type of an event, in bytes.
const MAX_KIND_BYTES: usize = 100;
/// How many types a filter may name.
pub const MAX_KINDS: usize = 100;

/// Where events are posted to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Its id.
    pub id: EndpointId,
    /// A name for people.
    pub display_name: String,
    /// Where to.
    pub url: String,
    /// Only events of these types; empty: of any.
    pub kinds: Vec<String>,
    /// Only events of this channel and its dialogues.
    pub channel: Option<ChannelId>,
    /// When a failed dispatch is tried again.
    pub schedule: Schedule,
    /// Whether events are posted to it.
    pub active: bool,
    /// Why it was made inactive by itself.
    pub disabled_reason: Option<String>,
    /// Since when no attempt succeeded.
    pub failing_since: Option<Timestamp>,
    /// Until when the secret before the present one signs as well.
    pub previous_secret_until: Option<Timestamp>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// One event on its way to one endpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct Dispatch {
    /// Its id.
    pub id: DispatchId,
    /// Its endpoint.
    pub endpoint: EndpointId,
    /// Its event.
    pub event: EventId,
    /// The event's type.
    pub kind: String,
    /// The event's dialogue.
    pub dialogue: Option<DialogueId>,
    /// Where it stands.
    pub state: DispatchState,
    /// Why it is dead.
    pub reason: Option<String>,
    /// How many attempts were begun.
    pub attempts: i32,
    /// When the next attempt is due.
    pub next_attempt_at: Option<Timestamp>,
    /// Whether it was made by hand.
    pub replay: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it came to its final state.
    pub settled_at: Option<Timestamp>,
}

/// A dispatch with the tries at it, first to last.
pub type DispatchWithAttempts = (Dispatch, Vec<Attempt>);

/// Both schedules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedules {
    standard: RetrySchedule,
    sandbox: RetrySchedule,
}

impl Schedules {
    /// The contract's standard schedule, and a sandbox with these pauses.
    pub fn new(sandbox: Vec<Duration>) -> Self {
        const HOUR: u64 = 3_600;
        let standard = [5, 300, 1_800, 2 * HOUR, 5 * HOUR, 10 * HOUR, 10 * HOUR].map(Duration::from_secs);
        let schedule = |pauses| RetrySchedule { pauses, longest_pause: LONGEST_PAUSE };
        Self { standard: schedule(standard.to_vec()), sandbox: schedule(sandbox) }
    }

    /// The one that an endpoint chose.
    pub const fn get(&self, schedule: Schedule) -> &RetrySchedule {
        match schedule {
            Schedule::Standard => &self.standard,
            Schedule::Sandbox => &self.sandbox,
        }
    }
}

/// Whether this can be an event's type: words of small letters and underscores, with dots between them.
pub fn is_kind(text: &str) -> bool {
    text.len() <= MAX_KIND_BYTES
        && text.split('.').all(|word| {
            !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vendor::Retry;

    #[test]
    fn the_standard_schedule_makes_eight_attempts_in_about_28_hours() {
        let schedules = Schedules::new(vec![Duration::from_secs(1)]);
        let pauses: Vec<_> = (1..)
            .map_while(|failures| schedules.get(Schedule::Standard).next_pause(failures, Retry::Backoff, 0.5))
            .collect();
        assert_eq!(pauses.len() + 1, 8);
        assert_eq!(pauses[0], Duration::from_secs(5));
        assert_eq!(pauses.iter().sum::<Duration>().as_secs() / 3_600, 27);
        assert_eq!(schedules.get(Schedule::Sandbox).next_pause(2, Retry::Backoff, 0.5), None);
    }

    #[test]
    fn types_are_words_with_dots() {
        for kind in ["message.received", "dialogue.attribute_set", "test"] {
            assert!(is_kind(kind), "{kind}");
        }
        for kind in ["", ".", "a.", "Message.received", "a b", "a*", &"a".repeat(101)] {
            assert!(!is_kind(kind), "{kind}");
        }
    }
}
