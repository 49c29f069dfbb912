//! When an agent answers. Pure: facts in, decision out.

use crate::dialogue::Status;

/// What is known when a turn could begin to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TurnFacts {
    /// Whether the agent is there and answers. `None`: it was deleted.
    pub agent_active: Option<bool>,
    /// Whether the channel is there and active.
    pub channel_active: bool,
    /// Where the dialogue stands.
    pub status: Status,
}

/// Whether the engine is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnDecision {
    /// It is.
    Run,
    /// It is not, for this reason; the turn is closed as silent.
    Silent(&'static str),
}

/// Decides whether a turn runs.
pub fn decide_turn(facts: TurnFacts) -> TurnDecision {
    match facts {
        TurnFacts { agent_active: None, .. } => TurnDecision::Silent("agent_deleted"),
        TurnFacts { channel_active: false, .. } => TurnDecision::Silent("channel_inactive"),
        TurnFacts { agent_active: Some(false), .. } => TurnDecision::Silent("agent_inactive"),
        TurnFacts { status: Status::Open, .. } => TurnDecision::Silent("human_holds"),
        TurnFacts { status: Status::Pending | Status::Snoozed | Status::Resolved, .. } => TurnDecision::Run,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table() {
        let run = TurnFacts { agent_active: Some(true), channel_active: true, status: Status::Pending };
        for (facts, decision) in [
            (run, TurnDecision::Run),
            (TurnFacts { agent_active: None, ..run }, TurnDecision::Silent("agent_deleted")),
            (TurnFacts { agent_active: Some(false), ..run }, TurnDecision::Silent("agent_inactive")),
            (TurnFacts { channel_active: false, ..run }, TurnDecision::Silent("channel_inactive")),
            (TurnFacts { status: Status::Open, ..run }, TurnDecision::Silent("human_holds")),
        ] {
            assert_eq!(decide_turn(facts), decision, "{facts:?}");
        }
    }
}
