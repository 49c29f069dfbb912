//! Turns: one answer of an agent to the messages that came since the last.

use crate::{AgentId, DialogueId, MessageId, Timestamp, TurnId, cost::Spent, dialogue::stored_enum};

stored_enum! {
    /// Where a turn stands.
    TurnState {
        /// Messages are gathered.
        Collecting = "COLLECTING",
        /// The agent works on it.
        Running = "RUNNING",
        /// A reply was committed. Final.
        Replied = "REPLIED",
        /// Nobody was to answer. Final.
        Silent = "SILENT",
        /// The engine failed for good. Final.
        Failed = "FAILED",
    }
}

impl TurnState {
    /// Whether nothing more will happen to it.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Replied | Self::Silent | Self::Failed)
    }
}

stored_enum! {
    /// What became of one run.
    RunState {
        /// It is under way.
        Started = "STARTED",
        /// The engine works on it by itself, and is asked again.
        Waiting = "WAITING",
        /// Its answer became the reply.
        Answered = "ANSWERED",
        /// A newer message was added to the turn; another run followed.
        Superseded = "SUPERSEDED",
        /// The process that did it went away.
        Lost = "LOST",
        /// The engine failed.
        Failed = "FAILED",
    }
}

/// One answer in the making or made.
#[derive(Debug, Clone, PartialEq)]
pub struct Turn {
    /// Its id.
    pub id: TurnId,
    /// Its dialogue.
    pub dialogue: DialogueId,
    /// Who answers.
    pub agent: AgentId,
    /// Where it stands.
    pub state: TurnState,
    /// Why it stayed silent or failed; `fallback`: its reply is the policy's text.
    pub reason: Option<String>,
    /// Whether it began late, by the agent's policy.
    pub late: bool,
    /// The highest customer message that it covers. 0 while it collects.
    pub covered_through: i64,
    /// Its reply.
    pub reply: Option<MessageId>,
    /// What the calls of all its runs used and cost.
    pub spent: Spent,
    /// When its first message was recorded.
    pub created_at: Timestamp,
    /// When it was closed.
    pub closed_at: Option<Timestamp>,
}

/// One try of the engine at a turn.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Its number, from 1.
    pub number: i32,
    /// What became of it.
    pub state: RunState,
    /// What its calls used and cost.
    pub spent: Spent,
    /// SHA-256 of what its engine was given, hexadecimal, see [`crate::manifest::digest`]. `None`: nothing was given.
    pub prompt_hash: Option<String>,
    /// Why it failed.
    pub error: Option<String>,
    /// What the engine was given.
    pub request: serde_json::Value,
    /// What it answered and what its tools gave, step by step.
    pub steps: Vec<serde_json::Value>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}
