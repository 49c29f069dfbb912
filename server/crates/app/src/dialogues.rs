//! Dialogues: reading them, their turns and deliveries; reviving dead letters.

use std::time::Duration;

use domain::{
    DeliveryId, DialogueId, Error as Refusal, MessageId, Reason, TurnId, WorkspaceId,
    delivery::{Attempt, Delivery, DeliveryState},
    dialogue::{Dialogue, Message},
    turn::{Run, Turn},
    workspace::{Level, Service},
};
use store::events::NewEvent;
pub use store::{deliveries::Filter as DeliveryFilter, dialogues::Filter};
use tokio::time::Instant;

use crate::{App, Caller, Error, Page, PageRequest};

fn not_found(id: DialogueId) -> Refusal {
    Refusal::not_found(Reason::DialogueNotFound, "dialogue", id)
}

impl App {
    /// Reads a dialogue.
    pub async fn get_dialogue(&self, caller: &Caller, id: DialogueId) -> Result<Dialogue, Error> {
        let workspace = caller.require(Service::Dialogues, Level::Read)?;
        let mut tx = self.store().workspace(workspace).await?;
        let dialogue = store::dialogues::find(&mut tx, workspace, id).await?;
        store::commit(tx).await?;
        Ok(dialogue.ok_or_else(|| not_found(id))?)
    }

    /// Lists dialogues, newest first.
    pub async fn list_dialogues(
        &self,
        caller: &Caller,
        filter: &Filter,
        page: &PageRequest,
    ) -> Result<Page<Dialogue>, Error> {
        let workspace = caller.require(Service::Dialogues, Level::Read)?;
        let limit = page.limit()?;
        let token = ("dialogues", filter);
        let before = page.after(&token)?;
        let mut tx = self.store().workspace(workspace).await?;
        let items = store::dialogues::list(&mut tx, workspace, filter, before, limit + 1).await?;
        store::commit(tx).await?;
        Ok(Page::cut(items, limit, &token, store::dialogues::key_of))
    }

    /// Lists the messages of a dialogue, oldest first.
    pub async fn list_messages(
        &self,
        caller: &Caller,
        dialogue: DialogueId,
        page: &PageRequest,
    ) -> Result<Page<Message>, Error> {
        let workspace = caller.require(Service::Dialogues, Level::Read)?;
        let mut tx = self.store().workspace(workspace).await?;
        store::dialogues::find(&mut tx, workspace, dialogue).await?.ok_or_else(|| not_found(dialogue))?;
        self.page_of_messages(tx, workspace, dialogue, page).await
    }

    pub(crate) async fn page_of_messages(
        &self,
        mut tx: store::Tx,
        workspace: WorkspaceId,
        dialogue: DialogueId,
        page: &PageRequest,
    ) -> Result<Page<Message>, Error> {
        let limit = page.limit()?;
        let filter = ("messages", dialogue);
        let after = page.after(&filter)?.unwrap_or(0);
        let items = store::dialogues::list_messages(&mut tx, workspace, dialogue, after, limit + 1).await?;
        store::commit(tx).await?;
        Ok(Page::cut(items, limit, &filter, |message| message.seq))
    }

    /// Lists the turns of a dialogue, newest first.
    pub async fn list_turns(
        &self,
        caller: &Caller,
        dialogue: DialogueId,
        page: &PageRequest,
    ) -> Result<Page<Turn>, Error> {
        let workspace = caller.require(Service::Dialogues, Level::Read)?;
        let limit = page.limit()?;
        let filter = ("turns", dialogue);
        let before = page.after(&filter)?;
        let mut tx = self.store().workspace(workspace).await?;
        store::dialogues::find(&mut tx, workspace, dialogue).await?.ok_or_else(|| not_found(dialogue))?;
        let items = store::turns::list(&mut tx, workspace, dialogue, before, limit + 1).await?;
        store::commit(tx).await?;
        Ok(Page::cut(items, limit, &filter, |turn| turn.id))
    }

    /// Reads a turn with its runs.
    pub async fn get_turn(&self, caller: &Caller, id: TurnId) -> Result<(Turn, Vec<Run>), Error> {
        let workspace = caller.require(Service::Dialogues, Level::Read)?;
        let mut tx = self.store().workspace(workspace).await?;
        let turn = store::turns::find(&mut tx, workspace, id)
            .await?
            .ok_or_else(|| Refusal::not_found(Reason::TurnNotFound, "turn", id))?;
        let runs = store::turns::list_runs(&mut tx, workspace, id).await?;
        store::commit(tx).await?;
        Ok((turn, runs))
    }

    /// Lists deliveries, newest first.
    pub async fn list_deliveries(
        &self,
        caller: &Caller,
        filter: &DeliveryFilter,
        page: &PageRequest,
    ) -> Result<Page<Delivery>, Error> {
        let workspace = caller.require(Service::Dialogues, Level::Read)?;
        let limit = page.limit()?;
        let token = ("deliveries", filter);
        let before = page.after(&token)?;
        let mut tx = self.store().workspace(workspace).await?;
        let items = store::deliveries::list(&mut tx, workspace, filter, before, limit + 1).await?;
        store::commit(tx).await?;
        Ok(Page::cut(items, limit, &token, |delivery| delivery.id))
    }

    /// Reads a delivery with its attempts.
    pub async fn get_delivery(
        &self,
        caller: &Caller,
        id: DeliveryId,
    ) -> Result<(Delivery, Vec<Attempt>), Error> {
        let workspace = caller.require(Service::Dialogues, Level::Read)?;
        let mut tx = self.store().workspace(workspace).await?;
        let delivery =
            store::deliveries::find(&mut tx, workspace, id, false).await?.ok_or_else(|| no_delivery(id))?;
        let attempts = store::deliveries::list_attempts(&mut tx, workspace, id).await?;
        store::commit(tx).await?;
        Ok((delivery, attempts))
    }

    /// Puts a dead delivery back into its dialogue's lane.
    pub async fn retry_delivery(&self, caller: &Caller, id: DeliveryId) -> Result<Delivery, Error> {
        let workspace = caller.require(Service::Dialogues, Level::Write)?;
        let mut tx = self.store().workspace(workspace).await?;
        let known =
            store::deliveries::find(&mut tx, workspace, id, false).await?.ok_or_else(|| no_delivery(id))?;
        // The dialogue first, as everybody locks; then the delivery as it is now.
        let now = self.now();
        let moment = store::dialogues::touch(&mut tx, workspace, known.dialogue, now).await?.unwrap_or(now);
        let delivery =
            store::deliveries::find(&mut tx, workspace, id, true).await?.ok_or_else(|| no_delivery(id))?;
        if delivery.state != DeliveryState::Dead {
            return Err(Refusal::new(
                Reason::DeliveryNotDead,
                format!("delivery {id} is not dead; only dead deliveries can be retried"),
            )
            .into());
        }
        let event = NewEvent {
            id: self.id(),
            kind: "delivery.retried",
            dialogue: Some(delivery.dialogue),
            subject: id.0,
            data: serde_json::json!({}),
            at: moment,
        };
        store::events::insert(&mut tx, workspace, &event).await?;
        store::deliveries::revive(&mut tx, workspace, &delivery, self.id(), now).await?;
        let delivery =
            store::deliveries::find(&mut tx, workspace, id, false).await?.ok_or_else(|| no_delivery(id))?;
        store::commit(tx).await?;
        Ok(delivery)
    }

    /// Waits until the turn that covers a message is closed, `longest` at most. Answers whether it is; a message that no
    /// turn covers has nothing to wait for.
    pub async fn wait_for_turn(
        &self,
        workspace: WorkspaceId,
        message: MessageId,
        longest: Duration,
    ) -> Result<bool, Error> {
        // A notification may be missed when very many come; the tick makes that a delay instead of a wait.
        const TICK: Duration = Duration::from_millis(250);
        let until = Instant::now() + longest;
        let mut events = self.inner.hub.events();
        loop {
            let mut tx = self.store().workspace(workspace).await?;
            let state = store::dialogues::turn_state_of(&mut tx, workspace, message).await?;
            store::commit(tx).await?;
            if state.is_none_or(domain::turn::TurnState::is_final) {
                return Ok(true);
            }
            if Instant::now() >= until {
                return Ok(false);
            }
            let tick = tokio::time::sleep_until(until.min(Instant::now() + TICK));
            tokio::pin!(tick);
            loop {
                tokio::select! {
                    () = &mut tick => break,
                    heard = events.recv() => match heard {
                        Ok(Some(other)) if other != workspace => {}
                        _ => break,
                    },
                }
            }
        }
    }
}

fn no_delivery(id: DeliveryId) -> Refusal {
    Refusal::not_found(Reason::DeliveryNotFound, "delivery", id)
}
