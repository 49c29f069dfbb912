//! Rules by which a dialogue that a person holds goes back to the agent.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Timestamp, error::Violations};

/// The customer has waited too long for a person.
const UNANSWERED: &str = "unanswered";
/// The customer asked for the agent.
const CUSTOMER_ASKED: &str = "customer_asked";
/// How many phrases there may be.
const MAX_PHRASES: usize = 20;
/// The longest phrase, in characters.
const MAX_PHRASE_CHARS: usize = 100;
/// How long a customer may wait by rule, in milliseconds.
const SPAN: std::ops::RangeInclusive<i64> = 1_000..=30 * 86_400_000;

/// The rules of an agent; each stands for itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReturnRules {
    /// How long the customer waits for a word of the person who holds the dialogue, in milliseconds; 0: for ever.
    pub unanswered_after_ms: i64,
    /// What the customer writes, and nothing else, who wants the agent back.
    pub phrases: Vec<String>,
}

/// What the rules say of a turn in a dialogue that a person holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Returning {
    /// The person keeps the dialogue: the turn is theirs.
    Stays,
    /// Not yet: the turn waits until then.
    Waits(Timestamp),
    /// The agent has the dialogue, for this reason.
    Returns(&'static str),
}

impl ReturnRules {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.unanswered_after_ms == 0 && self.phrases.is_empty()
    }

    /// Names all that is wrong with them; `at` is their path in the request.
    pub fn check(&self, violations: &mut Violations, at: &str) {
        violations.require(
            self.unanswered_after_ms == 0 || SPAN.contains(&self.unanswered_after_ms),
            &format!("{at}.unanswered_after"),
            "must be 0 s (never), or 1 s to 30 days",
        );
        violations.require(
            self.phrases.len() <= MAX_PHRASES,
            &format!("{at}.phrases"),
            "may have up to 20 entries",
        );
        for (number, phrase) in self.phrases.iter().enumerate().take(MAX_PHRASES) {
            violations.require(
                phrase.chars().count() <= MAX_PHRASE_CHARS
                    && !phrase.contains('\0')
                    && !bare(phrase).is_empty(),
                &format!("{at}.phrases[{number}]"),
                "must have 1 to 100 characters, and not only punctuation and white space",
            );
        }
    }

    /// Says what becomes of a dialogue that a person has held `since`. `unanswered`: the customer's messages that nobody has
    /// answered, oldest first, each with its moment and text.
    pub fn decide(&self, since: Timestamp, unanswered: &[(Timestamp, String)], now: Timestamp) -> Returning {
        let Some((first, _)) = unanswered.first() else { return Returning::Stays };
        let asked = |text: &str| self.phrases.iter().any(|phrase| bare(phrase) == bare(text));
        if unanswered.iter().any(|(_, text)| asked(text)) {
            return Returning::Returns(CUSTOMER_ASKED);
        }
        let Some(span) = u64::try_from(self.unanswered_after_ms).ok().filter(|span| *span > 0) else {
            return Returning::Stays;
        };
        let due = since.max(*first) + Duration::from_millis(span);
        if due <= now { Returning::Returns(UNANSWERED) } else { Returning::Waits(due) }
    }
}

/// A phrase without what makes no difference.
fn bare(text: &str) -> String {
    text.trim_matches(|c: char| c.is_whitespace() || c.is_ascii_punctuation()).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn the_table() {
        let rules = ReturnRules { unanswered_after_ms: 60_000, phrases: vec!["Bot, please!".to_owned()] };
        let silent = ReturnRules { unanswered_after_ms: 0, ..rules.clone() };
        let said = |seconds: u64, text: &str| (at(seconds), text.to_owned());
        let hello = [said(100, "hello"), said(130, "anybody?")];
        for (rules, since, unanswered, now, returning) in [
            // A person has answered all of it.
            (&rules, 0, &[][..], 10_000, Returning::Stays),
            // The first message counts, not the last.
            (&rules, 0, &hello[..], 159, Returning::Waits(at(160))),
            (&rules, 0, &hello[..], 160, Returning::Returns(UNANSWERED)),
            // The person has the whole time, whenever they came.
            (&rules, 120, &hello[..], 170, Returning::Waits(at(180))),
            (&silent, 0, &hello[..], 10_000, Returning::Stays),
            (
                &silent,
                0,
                &[said(100, "hello"), said(130, " /BOT, please ")][..],
                131,
                Returning::Returns(CUSTOMER_ASKED),
            ),
            (&silent, 0, &[said(100, "a bot, please?")][..], 131, Returning::Stays),
        ] {
            assert_eq!(rules.decide(at(since), unanswered, at(now)), returning, "{rules:?} {since} {now}");
        }
        assert!(ReturnRules::default().is_empty() && !silent.is_empty());
    }

    #[test]
    fn absurd_rules_are_named() {
        let fields = |rules: ReturnRules| {
            let mut violations = Violations::default();
            rules.check(&mut violations, "r");
            let named = violations.finish().err().map(|error| error.fields).unwrap_or_default();
            named.into_iter().map(|bad| bad.field).collect::<Vec<_>>()
        };
        let phrases = |phrases: &[&str]| ReturnRules {
            phrases: phrases.iter().map(|phrase| (*phrase).to_owned()).collect(),
            ..ReturnRules::default()
        };
        assert_eq!(fields(ReturnRules::default()), [""; 0]);
        assert_eq!(fields(ReturnRules { unanswered_after_ms: 1_000, ..phrases(&["bot", "🤖"]) }), [""; 0]);
        for bad in [-1, 999, i64::MAX] {
            let rules = ReturnRules { unanswered_after_ms: bad, ..ReturnRules::default() };
            assert_eq!(fields(rules), ["r.unanswered_after"]);
        }
        assert_eq!(
            fields(phrases(&["bot", " ?! ", "\0", ""])),
            ["r.phrases[1]", "r.phrases[2]", "r.phrases[3]"]
        );
        assert_eq!(fields(phrases(&[&"x".repeat(101)])), ["r.phrases[0]"]);
        assert_eq!(fields(phrases(&["bot"; 21])), ["r.phrases"]);
    }
}
