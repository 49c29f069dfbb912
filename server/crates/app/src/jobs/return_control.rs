//! Gives a dialogue that a person holds back to the agent where the agent's rules say so.
//!
//! A rule is looked at where a turn begins: what the customer wrote is in it, so the turn is the rule's timer as well, and a
//! row like any other. Until the rule's time comes it gathers messages; then either a person has answered them, and the turn
//! is theirs, or the agent has the dialogue and the turn begins anew.

use domain::{dialogue::Status, returns::Returning, turn::TurnState};
use store::{
    control::Change,
    turns::{BegunTurn, ClaimedTurn, Settlement},
};

use super::run_turn::settlement;
use crate::{Error, worker::Worker};

/// Answers whether the turn begins later, because of a rule. Where it doesn't, it is decided on as it stands.
pub(super) async fn by_rule(worker: &Worker, claim: &ClaimedTurn, begun: &BegunTurn) -> Result<bool, Error> {
    let rules = &begun.policy.returns;
    let can_answer = begun.route.active && begun.agent_active == Some(true) && begun.waiting_since.is_none();
    if begun.status != Status::Open || rules.is_empty() || !can_answer {
        return Ok(false);
    }
    let now = worker.app.now();
    let mut tx = worker.app.store().workspace(claim.workspace).await?;
    // From here on nobody says anything in it.
    store::dialogues::touch(&mut tx, claim.workspace, claim.dialogue, now).await?;
    let dialogue = store::dialogues::find(&mut tx, claim.workspace, claim.dialogue).await?;
    let returning = match dialogue.filter(|found| found.status == Status::Open) {
        Some(held) => {
            let unanswered =
                store::control::unanswered(&mut tx, claim.workspace, claim.dialogue, claim.turn).await?;
            rules.decide(held.control.since, &unanswered, now)
        }
        // It is somebody else's meanwhile: the turn begins anew.
        None => Returning::Waits(now),
    };
    let run_at = match returning {
        Returning::Stays => return Ok(false),
        Returning::Waits(until) => until,
        Returning::Returns(reason) => {
            let change = Change {
                dialogue: claim.dialogue,
                status: Status::Pending,
                reason: reason.to_owned(),
                by: String::new(),
                returns_at: None,
            };
            store::control::change(&mut tx, claim.workspace, &change, now).await?;
            now
        }
    };
    let later = settlement(worker, *claim, begun.run, TurnState::Collecting, None, None);
    let later = Settlement { run_at, ..later };
    if store::turns::settle(&mut tx, worker.id, &[later], now).await? == [true] {
        store::commit(tx).await?;
        worker.app.inner.hub.tell_work();
    }
    Ok(true)
}
