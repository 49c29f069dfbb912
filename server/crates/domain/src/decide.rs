//! When an agent answers. Pure: facts in, decision out.

use crate::{dialogue::Status, policy::OnLate, schedule::Outside};

/// What is known when a turn could begin to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TurnFacts {
    /// Whether the agent is there and answers. `None`: it was deleted.
    pub agent_active: Option<bool>,
    /// Whether the channel is there and active.
    pub channel_active: bool,
    /// Where the dialogue stands.
    pub status: Status,
    /// What the schedule says of turns outside of the agent's hours. `None`: this one is inside.
    pub outside: Option<Outside>,
    /// What the policy says of late turns. `None`: this one isn't late.
    pub late: Option<OnLate>,
}

/// Whether the engine is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnDecision {
    /// It is.
    Run,
    /// It is not, for this reason; the turn is closed as silent.
    Silent(&'static str),
    /// It is not, for this reason; people take the dialogue.
    HandOver(&'static str),
    /// It is not, for this reason; the schedule's text is the reply.
    AnswerText(&'static str),
    /// Not yet: the turn gathers messages until the agent's hours begin.
    Wait,
}

/// Decides whether a turn runs.
pub fn decide_turn(facts: TurnFacts) -> TurnDecision {
    match facts {
        TurnFacts { agent_active: None, .. } => TurnDecision::Silent("agent_deleted"),
        TurnFacts { channel_active: false, .. } => TurnDecision::Silent("channel_inactive"),
        TurnFacts { agent_active: Some(false), .. } => TurnDecision::Silent("agent_inactive"),
        TurnFacts { status, .. } if status != Status::Pending => TurnDecision::Silent(not_held(status)),
        TurnFacts { outside: Some(outside), .. } => match outside {
            Outside::AnswerText => TurnDecision::AnswerText("outside_hours"),
            Outside::StaySilent => TurnDecision::Silent("outside_hours"),
            Outside::HandOver => TurnDecision::HandOver("outside_hours"),
            Outside::Wait => TurnDecision::Wait,
        },
        TurnFacts { late: Some(OnLate::HandOver), .. } => TurnDecision::HandOver("late"),
        TurnFacts { .. } => TurnDecision::Run,
    }
}

/// Why the agent may not answer in a dialogue that it doesn't hold.
pub const fn not_held(status: Status) -> &'static str {
    match status {
        Status::Open => "human_holds",
        Status::Pending | Status::Snoozed | Status::Resolved => "nobody_holds",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table() {
        let run = TurnFacts {
            agent_active: Some(true),
            channel_active: true,
            status: Status::Pending,
            outside: None,
            late: None,
        };
        let outside = |outside| TurnFacts { outside: Some(outside), late: Some(OnLate::HandOver), ..run };
        for (facts, decision) in [
            (run, TurnDecision::Run),
            (TurnFacts { agent_active: None, ..run }, TurnDecision::Silent("agent_deleted")),
            (TurnFacts { agent_active: Some(false), ..run }, TurnDecision::Silent("agent_inactive")),
            (TurnFacts { channel_active: false, ..run }, TurnDecision::Silent("channel_inactive")),
            (TurnFacts { status: Status::Open, ..run }, TurnDecision::Silent("human_holds")),
            (TurnFacts { status: Status::Resolved, ..run }, TurnDecision::Silent("nobody_holds")),
            (TurnFacts { late: Some(OnLate::Answer), ..run }, TurnDecision::Run),
            (TurnFacts { late: Some(OnLate::HandOver), ..run }, TurnDecision::HandOver("late")),
            (outside(Outside::AnswerText), TurnDecision::AnswerText("outside_hours")),
            (outside(Outside::StaySilent), TurnDecision::Silent("outside_hours")),
            (outside(Outside::HandOver), TurnDecision::HandOver("outside_hours")),
            (outside(Outside::Wait), TurnDecision::Wait),
            (
                TurnFacts { status: Status::Open, ..outside(Outside::Wait) },
                TurnDecision::Silent("human_holds"),
            ),
            (
                TurnFacts { late: Some(OnLate::HandOver), status: Status::Open, ..run },
                TurnDecision::Silent("human_holds"),
            ),
        ] {
            assert_eq!(decide_turn(facts), decision, "{facts:?}");
        }
    }
}
