//! Dialogues: reading them, their turns and deliveries; reviving dead letters.

use std::time::Duration;

use domain::{
    DeliveryId, DialogueId, Error as Refusal, FieldViolation, MessageId, Reason, Timestamp, TurnId,
    WorkspaceId,
    channel::Channel,
    contact::Contact,
    delivery::{Attempt, Author, Delivery, DeliveryState},
    dialogue::{Dialogue, MAX_TEXT_BYTES, Message, Role, Status},
    error::Violations,
    integration::MAX_SETTINGS_BYTES,
    part::Part,
    policy::Takeover,
    turn::{Run, Turn},
    workspace::{Level, Service},
};
use serde_json::Value;
pub use store::{contacts::Filter as ContactFilter, deliveries::Filter as DeliveryFilter, dialogues::Filter};
use store::{
    control::{Change, NewMessage},
    events::NewEvent,
};
use tokio::time::Instant;

use crate::{App, Caller, Error, Page, PageRequest};

pub(crate) fn not_found(id: DialogueId) -> Refusal {
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

    /// Lists contacts, newest first.
    pub async fn list_contacts(
        &self,
        caller: &Caller,
        filter: &ContactFilter,
        page: &PageRequest,
    ) -> Result<Page<Contact>, Error> {
        let workspace = caller.require(Service::Dialogues, Level::Read)?;
        let limit = page.limit()?;
        let token = ("contacts", filter);
        let before = page.after(&token)?;
        let mut tx = self.store().workspace(workspace).await?;
        let items = store::contacts::list(&mut tx, workspace, filter, before, limit + 1).await?;
        store::commit(tx).await?;
        Ok(Page::cut(items, limit, &token, |contact| contact.id))
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
        let (mut tx, delivery, moment) = self.lock_delivery(workspace, id).await?;
        if delivery.state != DeliveryState::Dead {
            return Err(Refusal::new(
                Reason::DeliveryNotDead,
                format!("delivery {id} is not dead; only dead deliveries can be retried"),
            )
            .into());
        }
        store::deliveries::revive(&mut tx, workspace, &delivery, self.id(), self.now()).await?;
        self.tell_of_delivery(tx, workspace, &delivery, "delivery.retried", "RESEND", moment).await
    }

    /// Gives a dialogue to a human, who holds it until it is released, or until `return_after` has passed without a word of
    /// theirs. Whoever holds it already moves that moment.
    pub async fn take_control(
        &self,
        caller: &Caller,
        id: DialogueId,
        by: String,
        reason: String,
        return_after: Option<Duration>,
    ) -> Result<Dialogue, Error> {
        let workspace = caller.require(Service::Dialogues, Level::Write)?;
        let mut violations = Violations::default();
        violations.require(
            return_after
                .is_none_or(|pause| (Duration::from_secs(1)..=Duration::from_hours(720)).contains(&pause)),
            "return_after",
            "must be 1 s to 30 days, or not set",
        );
        check_words(&mut violations, &by, &reason);
        violations.finish()?;
        let returns_at = return_after.map(|pause| self.now() + pause);
        let change = Change { dialogue: id, status: Status::Open, reason, by, returns_at };
        self.change_control(workspace, &change).await
    }

    /// Gives a dialogue back to the agent, who answers the customer's next message.
    pub async fn release_control(
        &self,
        caller: &Caller,
        id: DialogueId,
        by: String,
        reason: String,
    ) -> Result<Dialogue, Error> {
        let workspace = caller.require(Service::Dialogues, Level::Write)?;
        let mut violations = Violations::default();
        check_words(&mut violations, &by, &reason);
        violations.finish()?;
        let change = Change { dialogue: id, status: Status::Pending, reason, by, returns_at: None };
        self.change_control(workspace, &change).await
    }

    async fn change_control(&self, workspace: WorkspaceId, change: &Change) -> Result<Dialogue, Error> {
        let mut tx = self.store().workspace(workspace).await?;
        store::control::change(&mut tx, workspace, change, self.now()).await?;
        let dialogue = store::dialogues::find(&mut tx, workspace, change.dialogue)
            .await?
            .ok_or_else(|| not_found(change.dialogue))?;
        store::commit(tx).await?;
        Ok(dialogue)
    }

    /// Changes a dialogue's status, and with it who holds it, its attributes, or whether its customer has opted out.
    pub async fn update_dialogue(
        &self,
        caller: &Caller,
        id: DialogueId,
        patch: DialoguePatch,
    ) -> Result<Dialogue, Error> {
        const MOST: usize = 65_536;
        let workspace = caller.require(Service::Dialogues, Level::Write)?;
        let mut violations = Violations::default();
        violations.require(
            patch.attributes.as_ref().is_none_or(|attributes| {
                let text = attributes.to_string();
                text.len() <= MOST && !text.contains("\\u0000")
            }),
            "dialogue.attributes",
            "may have up to 65,536 bytes as JSON, without U+0000",
        );
        violations.finish()?;
        let mut tx = self.store().workspace(workspace).await?;
        let now = self.now();
        let moment =
            store::dialogues::touch(&mut tx, workspace, id, now).await?.ok_or_else(|| not_found(id))?;
        let mut changed = serde_json::Map::new();
        if let Some(attributes) = patch.attributes {
            store::dialogues::set_attributes(&mut tx, workspace, id, &attributes).await?;
            changed.insert("attributes".to_owned(), attributes);
        }
        if let Some(opted_out) = patch.opted_out {
            store::dialogues::set_opted_out(&mut tx, workspace, id, opted_out).await?;
            changed.insert("opted_out".to_owned(), opted_out.into());
        }
        if !changed.is_empty() {
            let event = NewEvent {
                id: self.id(),
                kind: "dialogue.updated",
                dialogue: Some(id),
                subject: id.0,
                data: Value::Object(changed),
                at: moment,
            };
            store::events::insert(&mut tx, workspace, &event).await?;
        }
        if let Some(status) = patch.status {
            let reason = "status_set".to_owned();
            let change = Change { dialogue: id, status, reason, by: String::new(), returns_at: None };
            store::control::change(&mut tx, workspace, &change, now).await?;
        }
        let dialogue = store::dialogues::find(&mut tx, workspace, id).await?.ok_or_else(|| not_found(id))?;
        store::commit(tx).await?;
        Ok(dialogue)
    }

    /// Sends a message of a person, who takes control where the agent's policy doesn't say otherwise, or of a program.
    /// Gives the message and its delivery.
    pub async fn send_message(
        &self,
        caller: &Caller,
        new: NewOutbound,
        request_id: &str,
    ) -> Result<(Message, Delivery), Error> {
        let workspace = caller.require(Service::Dialogues, Level::Write)?;
        let mut violations = Violations::default();
        violations.require(
            (!new.text.trim().is_empty() || !new.parts.is_empty())
                && new.text.len() <= MAX_TEXT_BYTES
                && !new.text.contains('\0'),
            "text",
            "is required: 1 to 65,536 bytes, without U+0000",
        );
        for bad in domain::part::check(&new.parts) {
            violations.add(bad.field, bad.detail);
        }
        check_words(&mut violations, &new.by, "");
        violations.finish()?;
        let (id, delivery): (MessageId, DeliveryId) = (self.id(), self.id());
        let now = self.now();
        let mut tx = self.store().workspace(workspace).await?;
        let first: Option<DeliveryId> =
            self.once(&mut tx, workspace, request_id, "SendMessage", &new, delivery.0).await?;
        if let Some(first) = first {
            return self.sent(tx, workspace, first).await;
        }
        // The dialogue first, as everybody locks.
        store::dialogues::touch(&mut tx, workspace, new.dialogue, now)
            .await?
            .ok_or_else(|| not_found(new.dialogue))?;
        let dialogue = store::dialogues::find(&mut tx, workspace, new.dialogue)
            .await?
            .ok_or_else(|| not_found(new.dialogue))?;
        let operator = new.author == Author::Operator;
        let message = NewMessage {
            id,
            dialogue: new.dialogue,
            role: if operator { Role::Employee } else { Role::Assistant },
            text: new.text,
            delivery,
            author: new.author,
        };
        store::control::send(&mut tx, workspace, &message, now).await?;
        let channel = store::channels::find(&mut tx, workspace, dialogue.channel, false).await?;
        if let Some(template) = &new.template {
            self.check_template(channel.as_ref().map(|sealed| &sealed.channel), template)?;
        }
        store::deliveries::furnish(&mut tx, workspace, delivery, id, &new.parts, new.template.as_ref())
            .await?;
        if operator {
            let agent = match channel {
                Some(sealed) => store::agents::find(&mut tx, workspace, sealed.channel.agent, false).await?,
                None => None,
            };
            let policy = agent.map(|agent| agent.reply_policy).unwrap_or_default();
            let change = Change {
                dialogue: new.dialogue,
                status: Status::Open,
                reason: "operator_message".to_owned(),
                by: new.by,
                returns_at: policy.returns_at(now),
            };
            let takes = policy.takeover != Takeover::RecordOnly;
            store::control::person_spoke(&mut tx, workspace, &change, takes, now).await?;
        }
        self.sent(tx, workspace, delivery).await
    }

    /// Asks the vendor of a channel whether this makes a message a template of its own.
    fn check_template(&self, channel: Option<&Channel>, template: &Value) -> Result<(), Refusal> {
        let vendor = channel.and_then(|channel| self.inner.vendors.get(&channel.vendor));
        let kind = vendor.and_then(|vendor| vendor.channel.as_deref());
        let bad = match kind.zip(channel) {
            Some((kind, channel)) => {
                kind.check_template(&channel.settings, template).err().unwrap_or_default()
            }
            None => vec![FieldViolation::new("template", "is not known on this channel: it posts to a URL")],
        };
        let text = template.to_string();
        let mut violations = Violations::default();
        violations.require(
            text.len() <= MAX_SETTINGS_BYTES && !text.contains("\\u0000"),
            "template",
            "may have up to 65,536 bytes of JSON, without U+0000",
        );
        for bad in bad {
            violations.add(bad.field, bad.detail);
        }
        violations.finish()
    }

    async fn sent(
        &self,
        mut tx: store::Tx,
        workspace: WorkspaceId,
        id: DeliveryId,
    ) -> Result<(Message, Delivery), Error> {
        let delivery =
            store::deliveries::find(&mut tx, workspace, id, false).await?.ok_or_else(|| no_delivery(id))?;
        let message = store::dialogues::find_messages(&mut tx, workspace, &[delivery.message.0]).await?.pop();
        store::commit(tx).await?;
        Ok((message.ok_or_else(|| no_delivery(id))?, delivery))
    }

    /// Decides about a held delivery.
    pub async fn resolve_delivery(
        &self,
        caller: &Caller,
        id: DeliveryId,
        resolution: Resolution,
    ) -> Result<Delivery, Error> {
        let workspace = caller.require(Service::Dialogues, Level::Write)?;
        let (mut tx, delivery, moment) = self.lock_delivery(workspace, id).await?;
        if delivery.state != DeliveryState::Held {
            return Err(Refusal::new(
                Reason::DeliveryNotHeld,
                format!("delivery {id} is not held; only held deliveries can be resolved"),
            )
            .into());
        }
        let now = self.now();
        let resolved = match resolution {
            Resolution::Delivered => {
                let state = DeliveryState::Delivered;
                store::deliveries::close(&mut tx, workspace, id, state, None, now).await?;
                "DELIVERED"
            }
            Resolution::Discard => {
                let state = DeliveryState::Dead;
                store::deliveries::close(&mut tx, workspace, id, state, Some("discarded"), now).await?;
                "DISCARD"
            }
            Resolution::Resend => {
                store::deliveries::revive(&mut tx, workspace, &delivery, self.id(), now).await?;
                "RESEND"
            }
        };
        self.tell_of_delivery(tx, workspace, &delivery, "delivery.resolved", resolved, moment).await
    }

    /// Locks a delivery, behind its dialogue as everybody does; gives the moment of what happens now.
    async fn lock_delivery(
        &self,
        workspace: WorkspaceId,
        id: DeliveryId,
    ) -> Result<(store::Tx, Delivery, Timestamp), Error> {
        let mut tx = self.store().workspace(workspace).await?;
        let known =
            store::deliveries::find(&mut tx, workspace, id, false).await?.ok_or_else(|| no_delivery(id))?;
        let now = self.now();
        let moment = store::dialogues::touch(&mut tx, workspace, known.dialogue, now).await?.unwrap_or(now);
        let delivery =
            store::deliveries::find(&mut tx, workspace, id, true).await?.ok_or_else(|| no_delivery(id))?;
        Ok((tx, delivery, moment))
    }

    async fn tell_of_delivery(
        &self,
        mut tx: store::Tx,
        workspace: WorkspaceId,
        delivery: &Delivery,
        kind: &'static str,
        resolution: &str,
        at: Timestamp,
    ) -> Result<Delivery, Error> {
        let event = NewEvent {
            id: self.id(),
            kind,
            dialogue: Some(delivery.dialogue),
            subject: delivery.id.0,
            data: serde_json::json!({ "resolution": resolution }),
            at,
        };
        store::events::insert(&mut tx, workspace, &event).await?;
        let delivery = store::deliveries::find(&mut tx, workspace, delivery.id, false)
            .await?
            .ok_or_else(|| no_delivery(delivery.id))?;
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

/// What became of a delivery that may have arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// It arrived.
    Delivered,
    /// It is sent again.
    Resend,
    /// It is given up.
    Discard,
}

/// A message to send.
#[derive(Debug, Clone, serde::Serialize)]
pub struct NewOutbound {
    /// In which dialogue.
    pub dialogue: DialogueId,
    /// What it says. May be empty where it has parts.
    pub text: String,
    /// What it carries beside.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
    /// What makes it a template of the channel's vendor, in the vendor's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<Value>,
    /// Who has it sent: OPERATOR or AUTOMATION.
    pub author: Author,
    /// The person's name, for the record.
    pub by: String,
}

/// What to change of a dialogue; `None` stays.
#[derive(Debug, Clone, Default)]
pub struct DialoguePatch {
    /// Its status.
    pub status: Option<Status>,
    /// Its attributes, an object, as a whole.
    pub attributes: Option<Value>,
    /// Whether its customer wants no messages that nobody asked for.
    pub opted_out: Option<bool>,
}

fn check_words(violations: &mut Violations, by: &str, reason: &str) {
    for (field, text, most) in [("by", by, 200), ("reason", reason, 500)] {
        if text.chars().count() > most || text.contains('\0') {
            violations.add(field, format!("may have up to {most} characters, without U+0000"));
        }
    }
}

fn no_delivery(id: DeliveryId) -> Refusal {
    Refusal::not_found(Reason::DeliveryNotFound, "delivery", id)
}
