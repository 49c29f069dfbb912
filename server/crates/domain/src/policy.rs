//! Policies: when an agent answers, and what happens when it can't; what a channel's deliveries go by.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Timestamp, dialogue::stored_enum, error::Violations, returns::ReturnRules};

stored_enum! {
    /// What a customer's message does that comes while a turn runs.
    NewerMessage {
        /// It waits for the next turn.
        NextTurn = "NEXT_TURN",
        /// It is added to the turn, whose run is superseded by one with all messages.
        Restart = "RESTART",
    }
}

stored_enum! {
    /// What happens when the engine fails for good.
    OnFailure {
        /// Nothing is sent.
        StaySilent = "STAY_SILENT",
        /// A text is sent in its place.
        FallbackText = "FALLBACK_TEXT",
        /// The dialogue is handed to people.
        HandOver = "HAND_OVER",
    }
}

stored_enum! {
    /// What happens to a turn that begins late.
    OnLate {
        /// It is answered like any other.
        Answer = "ANSWER",
        /// It is answered, with an apology first.
        Apologise = "APOLOGISE",
        /// The dialogue is handed to people.
        HandOver = "HAND_OVER",
    }
}

stored_enum! {
    /// What a person's message does to the agent's control.
    Takeover {
        /// What the door says: a message that came with `new_message` is recorded, one sent through us takes control.
        ByDoor = "BY_DOOR",
        /// It takes control.
        TakeControl = "TAKE_CONTROL",
        /// It is only recorded.
        RecordOnly = "RECORD_ONLY",
    }
}

/// When an agent answers, and what happens when it can't.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplyPolicy {
    /// How long a dialogue must be quiet before its messages are answered together, in milliseconds.
    pub quiet_window_ms: i64,
    /// What the quiet window may not delay an answer past, from the first message on, in milliseconds.
    pub longest_wait_ms: i64,
    /// What a message does that comes while a turn runs.
    pub newer_message: NewerMessage,
    /// How often one turn may be superseded.
    pub max_restarts: i32,
    /// What happens when the engine fails for good.
    pub on_failure: OnFailure,
    /// What is sent then, for `FALLBACK_TEXT`.
    pub fallback_text: String,
    /// From when on a turn is late, in milliseconds after its first message; 0: never.
    pub late_after_ms: i64,
    /// What happens to a late turn.
    pub on_late: OnLate,
    /// What a late answer begins with, for `APOLOGISE`.
    pub apology_text: String,
    /// What a person's message does.
    pub takeover: Takeover,
    /// After how long without a person's message control returns, in milliseconds; 0: not by itself.
    pub return_after_ms: i64,
    /// What the customer is told when the agent hands over; empty: nothing.
    pub hand_over_notice: String,
    /// When a dialogue that a person holds goes back to the agent because of what happens in it.
    #[serde(default)]
    pub returns: ReturnRules,
}

impl Default for ReplyPolicy {
    fn default() -> Self {
        Self {
            quiet_window_ms: 0,
            longest_wait_ms: 30_000,
            newer_message: NewerMessage::NextTurn,
            max_restarts: 3,
            on_failure: OnFailure::StaySilent,
            fallback_text: String::new(),
            late_after_ms: 600_000,
            on_late: OnLate::Answer,
            apology_text: String::new(),
            takeover: Takeover::ByDoor,
            return_after_ms: 0,
            hand_over_notice: String::new(),
            returns: ReturnRules::default(),
        }
    }
}

/// The longest text of a policy, in characters.
pub const MAX_POLICY_TEXT: usize = 4_096;

const SECOND: i64 = 1_000;
const HOUR: i64 = 3_600 * SECOND;
const DAY: i64 = 24 * HOUR;

impl ReplyPolicy {
    /// Names all that is wrong with it; `at` is its path in the request.
    pub fn check(&self, violations: &mut Violations, at: &str) {
        let mut require = |holds: bool, field: &str, detail: &str| {
            if !holds {
                violations.add(format!("{at}.{field}"), detail);
            }
        };
        require((0..=600 * SECOND).contains(&self.quiet_window_ms), "quiet_window", "must be 0 s to 600 s");
        require(
            (self.quiet_window_ms..=HOUR).contains(&self.longest_wait_ms),
            "longest_wait",
            "must be at least quiet_window and at most 3,600 s",
        );
        require((1..=10).contains(&self.max_restarts), "max_restarts", "must be 1 to 10, or not set");
        require(
            self.late_after_ms == 0
                || (self.longest_wait_ms.clamp(SECOND, HOUR)..=30 * DAY).contains(&self.late_after_ms),
            "late_after",
            "must be 0 s (never), or at least 1 s and longest_wait and at most 30 days",
        );
        require(
            self.return_after_ms == 0 || (SECOND..=30 * DAY).contains(&self.return_after_ms),
            "return_after",
            "must be 0 s (not by itself), or 1 s to 30 days",
        );
        let needed = |needed: bool, text: &str| !needed || !text.trim().is_empty();
        for (needed, field, text) in [
            (
                needed(self.on_failure == OnFailure::FallbackText, &self.fallback_text),
                "fallback_text",
                &self.fallback_text,
            ),
            (
                needed(self.on_late == OnLate::Apologise, &self.apology_text),
                "apology_text",
                &self.apology_text,
            ),
            (true, "hand_over_notice", &self.hand_over_notice),
        ] {
            require(needed, field, "is required by the policy that uses it");
            require(
                text.chars().count() <= MAX_POLICY_TEXT && !text.contains('\0'),
                field,
                "may have up to 4,096 characters, without U+0000",
            );
        }
        self.returns.check(violations, &format!("{at}.return_rules"));
    }

    /// When a turn is due that a message opens, and what newer messages may not move that past. `None`: at once.
    pub fn window(&self, at: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let after = |ms| at + Duration::from_millis(u64::try_from(ms).unwrap_or_default());
        (self.quiet_window_ms > 0).then(|| (after(self.quiet_window_ms), after(self.longest_wait_ms)))
    }

    /// When control that a person takes now goes back by itself.
    pub fn returns_at(&self, at: Timestamp) -> Option<Timestamp> {
        let pause = Duration::from_millis(u64::try_from(self.return_after_ms).unwrap_or_default());
        (!pause.is_zero()).then(|| at + pause)
    }
}

stored_enum! {
    /// What happens to a message of which nobody knows whether it arrived.
    Uncertain {
        /// It is sent again.
        Resend = "RESEND",
        /// A person decides.
        Hold = "HOLD",
    }
}

/// A daily span of time in which programs send nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuietHours {
    /// When it begins, `HH:MM`.
    pub start: String,
    /// When it ends, `HH:MM`; before `start`: on the next day.
    pub end: String,
    /// The IANA name of the time zone.
    pub time_zone: String,
}

/// What a channel's guard, governor and uncertain deliveries go by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeliveryPolicy {
    /// What happens to a message of which nobody knows whether it arrived. `None`: what its vendor suggests; decided when
    /// the channel is saved.
    pub uncertain: Option<Uncertain>,
    /// The most messages per second that the receiver takes. `None`: any number.
    pub max_per_second: Option<f64>,
    /// How many messages of the agent and of programs one dialogue gets in a minute before they are taken for a loop; 0:
    /// any number.
    pub loop_limit: i32,
    /// The same in an hour; 0: any number.
    pub hourly_limit: i32,
    /// When programs send nothing.
    pub quiet_hours: Option<QuietHours>,
    /// The longest text that the receiver takes in one message, in characters. `None`: what the vendor takes.
    #[serde(default)]
    pub max_text_chars: Option<i32>,
}

impl Default for DeliveryPolicy {
    fn default() -> Self {
        Self {
            uncertain: None,
            max_per_second: None,
            loop_limit: 30,
            hourly_limit: 0,
            quiet_hours: None,
            max_text_chars: None,
        }
    }
}

impl DeliveryPolicy {
    /// Names all that is wrong with it, but for the name of the time zone; `at` is its path in the request.
    pub fn check(&self, violations: &mut Violations, at: &str) {
        let mut require = |holds: bool, field: &str, detail: &str| {
            if !holds {
                violations.add(format!("{at}.{field}"), detail);
            }
        };
        require(
            self.max_per_second.is_none_or(|rate| (0.01..=10_000.0).contains(&rate)),
            "max_per_second",
            "must be 0.01 to 10,000, or not set",
        );
        let counts = 0..=100_000;
        require(counts.contains(&self.loop_limit), "loop_limit", "must be 0 to 100,000, or not set");
        require(
            self.max_text_chars.is_none_or(|most| (20..=65_536).contains(&most)),
            "max_text_chars",
            "must be 20 to 65,536, or not set",
        );
        require(counts.contains(&self.hourly_limit), "hourly_limit", "must be 0 to 100,000, or not set");
        if let Some(hours) = &self.quiet_hours {
            for (field, text) in [("quiet_hours.start", &hours.start), ("quiet_hours.end", &hours.end)] {
                require(is_time_of_day(text), field, "must be HH:MM, 00:00 to 23:59");
            }
            require(hours.start != hours.end, "quiet_hours.end", "must differ from start");
        }
    }
}

fn is_time_of_day(text: &str) -> bool {
    let digits = |part: &str, most: u8| {
        part.len() == 2
            && part.bytes().all(|byte| byte.is_ascii_digit())
            && part.parse().is_ok_and(|n: u8| n <= most)
    };
    text.split_once(':').is_some_and(|(hours, minutes)| digits(hours, 23) && digits(minutes, 59))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bad_fields(policy: &ReplyPolicy) -> Vec<String> {
        let mut violations = Violations::default();
        policy.check(&mut violations, "p");
        violations.finish().err().map_or_else(Vec::new, |error| {
            error.fields.into_iter().map(|violation| violation.field).collect()
        })
    }

    #[test]
    fn absurd_policies_are_named() {
        let good = ReplyPolicy::default();
        assert_eq!(bad_fields(&good), [""; 0]);
        for (policy, field) in [
            (ReplyPolicy { quiet_window_ms: -1, ..good.clone() }, "p.quiet_window"),
            (ReplyPolicy { quiet_window_ms: 40_000, ..good.clone() }, "p.longest_wait"),
            (ReplyPolicy { max_restarts: 11, ..good.clone() }, "p.max_restarts"),
            (ReplyPolicy { late_after_ms: 5, ..good.clone() }, "p.late_after"),
            (ReplyPolicy { return_after_ms: i64::MAX, ..good.clone() }, "p.return_after"),
            (ReplyPolicy { on_failure: OnFailure::FallbackText, ..good.clone() }, "p.fallback_text"),
            (
                ReplyPolicy { on_late: OnLate::Apologise, apology_text: " ".to_owned(), ..good.clone() },
                "p.apology_text",
            ),
            (ReplyPolicy { hand_over_notice: "\0".to_owned(), ..good.clone() }, "p.hand_over_notice"),
        ] {
            assert_eq!(bad_fields(&policy), [field], "{policy:?}");
        }
    }

    #[test]
    fn windows_count_from_the_message() {
        let at = Timestamp::UNIX_EPOCH;
        assert_eq!(ReplyPolicy::default().window(at), None);
        let policy = ReplyPolicy { quiet_window_ms: 2_000, longest_wait_ms: 5_000, ..ReplyPolicy::default() };
        assert_eq!(policy.window(at), Some((at + Duration::from_secs(2), at + Duration::from_secs(5))));
    }

    #[test]
    fn absurd_limits_are_named() {
        let check = |policy: &DeliveryPolicy| {
            let mut violations = Violations::default();
            policy.check(&mut violations, "p");
            violations.finish().err().map(|error| error.fields[0].field.clone())
        };
        let good = DeliveryPolicy::default();
        let hours = |start: &str, end: &str| {
            Some(QuietHours { start: start.to_owned(), end: end.to_owned(), time_zone: "UTC".to_owned() })
        };
        assert_eq!(check(&good), None);
        assert_eq!(check(&DeliveryPolicy { quiet_hours: hours("22:00", "08:00"), ..good.clone() }), None);
        for (policy, field) in [
            (DeliveryPolicy { max_per_second: Some(-1.0), ..good.clone() }, "p.max_per_second"),
            (DeliveryPolicy { max_per_second: Some(f64::NAN), ..good.clone() }, "p.max_per_second"),
            (DeliveryPolicy { max_text_chars: Some(19), ..good.clone() }, "p.max_text_chars"),
            (DeliveryPolicy { loop_limit: -1, ..good.clone() }, "p.loop_limit"),
            (DeliveryPolicy { hourly_limit: 100_001, ..good.clone() }, "p.hourly_limit"),
            (DeliveryPolicy { quiet_hours: hours("24:00", "08:00"), ..good.clone() }, "p.quiet_hours.start"),
            (DeliveryPolicy { quiet_hours: hours("22:00", "8:00"), ..good.clone() }, "p.quiet_hours.end"),
            (DeliveryPolicy { quiet_hours: hours("22:00", "22:00"), ..good.clone() }, "p.quiet_hours.end"),
        ] {
            assert_eq!(check(&policy).as_deref(), Some(field), "{policy:?}");
        }
    }
}
