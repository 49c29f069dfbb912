//! What agents' engines used and cost, by day.

use crate::{AgentId, Timestamp, cost::Spent, dialogue::stored_enum};

stored_enum! {
    /// What an engine was called for.
    Purpose {
        /// Turns of dialogues.
        Turn = "TURN",
        /// Previews.
        Preview = "PREVIEW",
        /// Replays.
        Replay = "REPLAY",
    }
}

/// What an agent's engines used and cost in a day.
#[derive(Debug, Clone, PartialEq)]
pub struct DailyUsage {
    /// The day's beginning, UTC.
    pub day: Timestamp,
    /// The agent. `None`: a draft.
    pub agent: Option<AgentId>,
    /// What for.
    pub purpose: Purpose,
    /// How many turns, previews or replays.
    pub count: i64,
    /// What they used.
    pub spent: Spent,
}
