//! Deliveries: outbound messages on their way, and the attempts at them.

use std::time::Duration;

use serde_json::Value;

use crate::{ChannelId, DeliveryId, DialogueId, MessageId, Timestamp, dialogue::stored_enum, vendor::Retry};

stored_enum! {
    /// Where a delivery stands.
    DeliveryState {
        /// It waits for its turn or its next attempt.
        Pending = "PENDING",
        /// An attempt is under way.
        Started = "STARTED",
        /// The receiver took it. Final.
        Delivered = "DELIVERED",
        /// It may have arrived, and by the channel's policy it is sent again.
        Uncertain = "UNCERTAIN",
        /// It may have arrived, and by the channel's policy a person decides.
        Held = "HELD",
        /// It was decided not to send it. Final.
        Withheld = "WITHHELD",
        /// The dead letter.
        Dead = "DEAD",
    }
}

stored_enum! {
    /// How one attempt ended.
    AttemptState {
        /// It is under way.
        Started = "STARTED",
        /// The receiver took the message.
        Succeeded = "SUCCEEDED",
        /// The message was not taken.
        Failed = "FAILED",
        /// Nobody knows whether the receiver took it.
        Unknown = "UNKNOWN",
    }
}

stored_enum! {
    /// Who had a message sent: what the guard asks.
    Author {
        /// The agent.
        Agent = "AGENT",
        /// A person of the company.
        Operator = "OPERATOR",
        /// A program of the company.
        Automation = "AUTOMATION",
        /// Switchboard itself.
        System = "SYSTEM",
    }
}

stored_enum! {
    /// What the vendor said of a message after it took it. The later in this list counts: vendors tell in any order, and of
    /// several ways that one tries, one that failed is mended by one that arrives.
    #[derive(PartialOrd, Ord)]
    DeliveryReceipt {
        /// It was handed on to the messenger.
        Sent = "SENT",
        /// It will not arrive, or was called off.
        Failed = "FAILED",
        /// It is on the customer's device.
        Delivered = "DELIVERED",
        /// The customer has seen it.
        Read = "READ",
    }
}

/// One outbound message on its way.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// Its id.
    pub id: DeliveryId,
    /// Its dialogue.
    pub dialogue: DialogueId,
    /// The message it carries.
    pub message: MessageId,
    /// The channel it travels.
    pub channel: ChannelId,
    /// Where it stands.
    pub state: DeliveryState,
    /// Who had it sent.
    pub author: Author,
    /// Why it was withheld, is held or is dead.
    pub reason: Option<String>,
    /// How many attempts were begun.
    pub attempts: i32,
    /// The first character, from 1, and the length of the part of the message's text that it carries. `None`: all of it.
    pub part: Option<(i32, i32)>,
    /// When the next attempt is due.
    pub next_attempt_at: Option<Timestamp>,
    /// When the message was committed.
    pub created_at: Timestamp,
    /// When it came to its final state.
    pub settled_at: Option<Timestamp>,
    /// What the vendor calls it.
    pub vendor_message_id: Option<String>,
    /// What the vendor said of it after it took it.
    pub receipt: Option<Told>,
    /// What makes it a template of the vendor's.
    pub template: Option<Value>,
}

/// What a vendor said of a message, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// What became of it.
    pub receipt: DeliveryReceipt,
    /// Why it failed.
    pub error: Option<String>,
    /// When, by the vendor's clock where it says.
    pub at: Timestamp,
}

/// One try at a delivery.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// Its number, from 1.
    pub number: i32,
    /// How it ended.
    pub state: AttemptState,
    /// The receiver's HTTP status.
    pub http_status: Option<i32>,
    /// What went wrong.
    pub error: Option<String>,
    /// The beginning of the receiver's answer.
    pub response_excerpt: Option<String>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// When a failed piece of work is tried again, and when it is given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetrySchedule {
    /// The pause after the first failure, the second, and so on; when they are used up, it is given up.
    pub pauses: Vec<Duration>,
    /// The longest pause that the other side may ask for; longer wishes are cut to it.
    pub longest_pause: Duration,
}

impl RetrySchedule {
    /// The pause before the next try, after `failures` of them (at least 1) of which the last gave this advice; `jitter`
    /// is a random number in 0..1 that spreads pauses of ours over ±20 %. `None`: no further try.
    pub fn next_pause(&self, failures: u32, advice: Retry, jitter: f64) -> Option<Duration> {
        let own = *self.pauses.get(usize::try_from(failures).unwrap_or(usize::MAX).saturating_sub(1))?;
        match advice {
            Retry::Never => None,
            // Waiting longer than asked is polite, waiting less is not: jitter is only added.
            // Nor is waiting less than planned: a receiver that keeps asking for a second would use up all tries at once.
            Retry::After(asked) => Some(asked.min(self.longest_pause).max(own).mul_f64(1.0 + 0.2 * jitter)),
            Retry::Backoff => Some(own.mul_f64(0.8 + 0.4 * jitter)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_follows_the_advice_and_ends() {
        let schedule = RetrySchedule {
            pauses: vec![Duration::from_secs(1), Duration::from_secs(10)],
            longest_pause: Duration::from_mins(1),
        };
        assert_eq!(schedule.next_pause(1, Retry::Backoff, 0.5), Some(Duration::from_secs(1)));
        assert_eq!(schedule.next_pause(2, Retry::Backoff, 0.0), Some(Duration::from_secs(8)));
        assert_eq!(schedule.next_pause(3, Retry::Backoff, 0.0), None);
        assert_eq!(schedule.next_pause(1, Retry::Never, 0.0), None);
        assert_eq!(
            schedule.next_pause(1, Retry::After(Duration::from_secs(7)), 0.0),
            Some(Duration::from_secs(7))
        );
        let short = schedule.next_pause(2, Retry::After(Duration::from_secs(1)), 0.0);
        assert_eq!(short, Some(Duration::from_secs(10)));
        let cut = schedule.next_pause(1, Retry::After(Duration::from_secs(9999)), 0.0);
        assert_eq!(cut, Some(Duration::from_mins(1)));
    }
}
