//! What an engine is given: the one place where a [`Completion`] is put together, for turns, previews and replays alike.
//! Pure: facts in, request out, so that the same facts give the same bytes.

use domain::{
    DialogueId, Timestamp,
    agent::Engine,
    dialogue::Message,
    engine::{Completion, Step, ToolSpec},
};
use serde_json::Value;

/// All that a request depends on.
#[derive(Debug, Clone)]
pub(crate) struct Facts<'a> {
    /// Who writes, and how.
    pub(crate) engine: &'a Engine,
    /// What the agent's owner wants the model to be told first.
    pub(crate) instructions: &'a str,
    /// The dialogue.
    pub(crate) dialogue: DialogueId,
    /// The dialogue so far, oldest first; what this turn answers comes last.
    pub(crate) history: &'a [Message],
    /// The steps of this turn so far, with what their tools gave.
    pub(crate) steps: Vec<Step>,
    /// The tools that may be called.
    pub(crate) tools: Vec<ToolSpec>,
    /// Which run of the turn it is.
    pub(crate) run: i32,
    /// The present moment.
    pub(crate) at: Timestamp,
    /// What the engine noted of the dialogue.
    pub(crate) notes: Option<Value>,
}

/// Puts the request together.
pub(crate) fn build(facts: Facts<'_>) -> Completion {
    Completion {
        engine: facts.engine.clone(),
        dialogue: facts.dialogue,
        instructions: facts.instructions.to_owned(),
        history: facts.history.to_vec(),
        at: facts.at,
        run: facts.run,
        tools: facts.tools,
        steps: facts.steps,
        notes: facts.notes,
    }
}
