//! What a workspace has done so far.

/// Counts of a workspace, from its beginning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Messages from outside, repeats and conflicts included.
    pub received: i64,
    /// Messages that are kept.
    pub stored: i64,
    /// Repeats of known messages.
    pub duplicates: i64,
    /// Messages that came with a known id and another content.
    pub conflicts: i64,
    /// Messages that were imported.
    pub imported: i64,
    /// Calls of engines.
    pub engine_requests: i64,
    /// Answers that agents committed.
    pub answers: i64,
    /// Deliveries that arrived.
    pub delivered: i64,
    /// Turns that failed for good.
    pub failed_turns: i64,
    /// Deliveries that were given up.
    pub dead_deliveries: i64,
    /// Calls that could not be understood.
    pub quarantined: i64,
    /// Dialogues that began.
    pub dialogues: i64,
    /// Contacts that were made.
    pub contacts: i64,
}

impl Stats {
    /// Puts counts together: of each kind of event, how many there were and what they amount to, and of repeats, which leave
    /// no event.
    pub fn of<'a>(events: impl IntoIterator<Item = (&'a str, i64, i64)>, repeats: i64) -> Self {
        let mut stats = Self { duplicates: repeats, received: repeats, ..Self::default() };
        for (kind, count, amount) in events {
            match kind {
                "message.received" => {
                    stats.received += count;
                    stats.stored += count;
                }
                "message.conflict" => {
                    stats.received += count;
                    stats.conflicts += count;
                }
                "message.replied" => {
                    stats.answers += count;
                    stats.stored += count;
                    stats.engine_requests += amount;
                }
                "message.sent" => stats.stored += count,
                "dialogue.imported" => {
                    stats.imported += amount;
                    stats.stored += amount;
                }
                "turn.silent" | "agent.previewed" | "agent.replayed" => stats.engine_requests += amount,
                "turn.failed" => {
                    stats.failed_turns += count;
                    stats.engine_requests += amount;
                }
                "delivery.delivered" => stats.delivered += count,
                "delivery.dead" => stats.dead_deliveries += count,
                "webhook.quarantined" => stats.quarantined += count,
                "dialogue.created" => stats.dialogues += count,
                "contact.created" => stats.contacts += count,
                _ => {}
            }
        }
        stats
    }

    /// What went wrong, together.
    pub const fn errors(&self) -> i64 {
        self.failed_turns + self.dead_deliveries + self.quarantined
    }
}
