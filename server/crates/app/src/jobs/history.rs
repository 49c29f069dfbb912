//! The history that a run is given.

use domain::dialogue::{Message, Role};
use store::turns::{BegunTurn, ClaimedTurn};

use crate::{App, Error};

/// The history with all messages that the turn answers. Reading stops at the agent's window; a burst that is longer than
/// that, which is rare, is read once more.
pub(super) async fn whole_turn(
    app: &App,
    claim: &ClaimedTurn,
    begun: &BegunTurn,
) -> Result<Vec<Message>, Error> {
    let history = begun.history.clone();
    let is_asked = |message: &Message| message.role == Role::User && message.turn == Some(claim.turn);
    // A turn's messages stand together among the customer's: one of another turn shows that all of them are here.
    let of_another = history.iter().any(|message| message.role == Role::User && !is_asked(message));
    let full = usize::try_from(begun.profile.history.max_messages).is_ok_and(|most| history.len() >= most);
    if of_another || !full {
        return Ok(history);
    }
    let (others, asked): (Vec<_>, Vec<_>) = history.into_iter().partition(|message| !is_asked(message));
    let before = asked.first().map_or(i64::MAX, |message| message.seq);
    let mut tx = app.store().workspace(claim.workspace).await?;
    let earlier = store::turns::earlier_messages(&mut tx, claim, before).await?;
    store::commit(tx).await?;
    Ok(others.into_iter().chain(earlier).chain(asked).collect())
}
