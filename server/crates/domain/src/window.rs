//! How much of a dialogue an engine is given.

use serde::{Deserialize, Serialize};

use crate::{
    dialogue::{Message, Role},
    error::Violations,
};

/// The bounds of the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HistoryWindow {
    /// How many messages at most.
    pub max_messages: i32,
    /// How many tokens at most, as [`estimate_tokens`] counts them.
    pub max_tokens: i64,
}

impl Default for HistoryWindow {
    fn default() -> Self {
        Self { max_messages: 50, max_tokens: 32_000 }
    }
}

/// What a message costs beside its text: its role and its borders.
const TOKENS_PER_MESSAGE: i64 = 6;
/// What an image, a recording or a file costs: about what vendors count for a picture of a screen.
pub(crate) const TOKENS_PER_PART: i64 = 1_000;

impl HistoryWindow {
    /// Names all that is wrong with it; `at` is its path in the request.
    pub fn check(&self, violations: &mut Violations, at: &str) {
        violations.require(
            (1..=500).contains(&self.max_messages),
            &format!("{at}.max_messages"),
            "must be 1 to 500, or not set",
        );
        violations.require(
            (100..=2_000_000).contains(&self.max_tokens),
            &format!("{at}.max_tokens"),
            "must be 100 to 2,000,000, or not set",
        );
    }

    /// Gives the part of a history, oldest first, that lies within the window: as many of the newest messages as there is
    /// room for. What is to be answered, the customer's messages at its end that belong to one turn, stays whatever it
    /// takes. Calls of tools and their results are not in a history but in the steps of the turn, which are never cut.
    pub fn cut<'a>(&self, history: &'a [Message]) -> &'a [Message] {
        let asked = asked(history);
        let mut from = history.len() - asked;
        let mut tokens: i64 = history[from..].iter().map(message_tokens).sum();
        let most = usize::try_from(self.max_messages).unwrap_or(usize::MAX);
        while from > 0 && history.len() - from < most {
            tokens += message_tokens(&history[from - 1]);
            if tokens > self.max_tokens {
                break;
            }
            from -= 1;
        }
        &history[from..]
    }

    /// The window of half the size that this history takes: for an engine that found it too long.
    #[must_use]
    pub fn half_of(&self, history: &[Message]) -> Self {
        let taken: i64 = self.cut(history).iter().map(message_tokens).sum();
        Self { max_tokens: taken / 2, ..*self }
    }
}

/// How many messages at the end of a history are to be answered.
fn asked(history: &[Message]) -> usize {
    let Some(last) = history.last() else { return 0 };
    history.iter().rev().take_while(|it| it.role == Role::User && it.turn == last.turn).count()
}

fn message_tokens(message: &Message) -> i64 {
    let parts = i64::try_from(message.parts.len()).unwrap_or(i64::MAX);
    TOKENS_PER_MESSAGE + estimate_tokens(&message.text) + parts.saturating_mul(TOKENS_PER_PART)
}

/// Estimates the tokens of a text without any vendor's tokenizer: each has its own, and they change with the models.
///
/// What they have in common is that a token is a few letters of a frequent script and a part of one of a rare script. So a
/// character counts by the length of its UTF-8, which follows the scripts: ASCII 0.3 (English has about four characters to
/// a token, code and numbers about three), two bytes 0.5 (Cyrillic, Greek, Arabic, accented Latin: about two to a token in
/// older vocabularies, three in newer ones), three bytes 1.2 (Chinese, Japanese, Korean, Indic, Thai: one token or a little
/// more), four bytes 2.5 (emoji). It errs on the high side: a window that is a little small costs nothing but an old
/// message, one that is too large costs the answer.
pub fn estimate_tokens(text: &str) -> i64 {
    let tenths: i64 = text
        .chars()
        .map(|c| match c.len_utf8() {
            1 => 3,
            2 => 5,
            3 => 12,
            _ => 25,
        })
        .sum();
    (tenths + 9) / 10
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::{DialogueId, MessageId, Timestamp, TurnId};

    fn history(said: &[(Role, &str, Option<u128>)]) -> Vec<Message> {
        let message = |(at, (role, text, turn)): (usize, &(Role, &str, Option<u128>))| Message {
            id: MessageId(Uuid::from_u128(at as u128)),
            dialogue: DialogueId(Uuid::nil()),
            seq: i64::try_from(at).unwrap() + 1,
            role: *role,
            text: (*text).to_owned(),
            parts: Vec::new(),
            external_id: at.to_string(),
            turn: turn.map(|turn| TurnId(Uuid::from_u128(turn))),
            created_at: Timestamp::UNIX_EPOCH,
            metadata: serde_json::Map::new(),
            sent_at: None,
        };
        said.iter().enumerate().map(message).collect()
    }

    #[test]
    fn tokens_are_estimated_by_script() {
        for (text, tokens) in
            [("", 0), ("word", 2), ("Hello, how are you?", 6), ("привет", 3), ("営業時間", 5), ("👍", 3)]
        {
            assert_eq!(estimate_tokens(text), tokens, "{text}");
        }
    }

    #[test]
    fn the_newest_stay_and_what_is_asked_stays_whatever_it_takes() {
        let long = "x".repeat(1_000);
        let said = history(&[
            (Role::User, "one", Some(1)),
            (Role::Assistant, &long, Some(1)),
            (Role::User, "two", Some(2)),
            (Role::Assistant, "2", Some(2)),
            (Role::User, "three", Some(3)),
            (Role::User, &long, Some(3)),
        ]);
        let kept = |max_messages, max_tokens| {
            HistoryWindow { max_messages, max_tokens }.cut(&said).first().unwrap().seq
        };
        assert_eq!(kept(50, 32_000), 1);
        assert_eq!(kept(50, 400), 3);
        assert_eq!(kept(3, 32_000), 4);
        assert_eq!((kept(1, 32_000), kept(50, 1)), (5, 5));
        assert_eq!(HistoryWindow::default().cut(&[]), []);
    }

    #[test]
    fn messages_of_an_earlier_turn_are_not_what_is_asked() {
        let said = history(&[(Role::User, "unheard", Some(1)), (Role::User, "now", Some(2))]);
        assert_eq!(HistoryWindow { max_messages: 1, max_tokens: 100 }.cut(&said).len(), 1);
    }

    #[test]
    fn half_is_half_of_what_was_given() {
        let said = history(&[(Role::Assistant, &"x".repeat(2_000), None), (Role::User, "?", None)]);
        let half = HistoryWindow::default().half_of(&said);
        assert!(half.max_tokens < 320, "{half:?}");
        assert_eq!(half.cut(&said).len(), 1);
    }
}
