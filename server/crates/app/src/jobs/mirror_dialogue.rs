//! Shows a dialogue in the chat that mirrors it: what was said since, in its order, and what became of it.
//!
//! What is to be done is found out by comparing the two, each time anew, and every message goes under its own id, which the
//! vendor drops repeats by. So a process may end anywhere: who looks next goes on, and nothing is there twice.

use std::time::Duration;

use domain::{
    MessageId, Timestamp, WorkspaceId,
    dialogue::{Dialogue, Message, Role},
    fail_point,
    mirror::{ChatMirror, MAX_HISTORY, MirroredChat, MirroredMessage},
    vendor::{FailureKind, Retry, VendorAccount, VendorError},
};
use rand::RngExt;
use serde_json::json;
use store::{events::NewEvent, mirrors::Chat, queue::Claim};

use crate::{App, Error, worker::Worker};

/// What was said so long before its chat was opened is history, by which nobody is called.
const HISTORY: Duration = Duration::from_mins(1);
/// How long a mirror that fails is left alone at most: what was said is shown when it is mended, however late.
const LONGEST_PAUSE: Duration = Duration::from_mins(10);

/// What came of a look.
enum Looked {
    /// All is shown, or nothing is to be.
    Done,
    /// The dialogue is somebody else's now.
    Lost,
    /// It is done again.
    Failed(VendorError),
}

/// Looks at a claimed dialogue.
pub(crate) async fn run(worker: &Worker, claim: &Claim) -> Result<(), Error> {
    let app = &worker.app;
    let again = match look(worker, claim).await? {
        Looked::Lost => return Ok(()),
        Looked::Done => None,
        Looked::Failed(error) => {
            let pause = pause(app, claim, &error);
            tracing::info!(
                workspace.id = %claim.workspace, dialogue.id = %claim.dialogue, vendor = error.vendor, error = %error,
                retry_in = ?pause, "a dialogue could not be shown in its chat"
            );
            Some(app.now() + pause)
        }
    };
    store::mirrors::settle(app.store().pool(), worker.id, claim, again).await?;
    app.inner.hub.tell_work();
    Ok(())
}

/// By the schedule of deliveries, and then by its last pause for ever.
fn pause(app: &App, claim: &Claim, error: &VendorError) -> Duration {
    let schedule = &app.inner.settings.deliveries;
    let last = u32::try_from(schedule.pauses.len()).unwrap_or(u32::MAX);
    let failures = u32::try_from(claim.failures).unwrap_or(u32::MAX).saturating_add(1).min(last);
    let advice = if error.retry == Retry::Never { Retry::Backoff } else { error.retry };
    let pause = schedule.next_pause(failures, advice, rand::rng().random_range(0.0..1.0));
    pause.unwrap_or(LONGEST_PAUSE).min(LONGEST_PAUSE)
}

/// Whether a refusal is about what was sent, so that the same will be refused again. All else is about the connection: it can
/// be mended, and then the message is shown.
fn is_about_message(error: &VendorError) -> bool {
    error.retry == Retry::Never
        && matches!(error.http_status, Some(400 | 413 | 415 | 422))
        && !matches!(error.kind, FailureKind::Unauthorized | FailureKind::Forbidden)
}

/// A dialogue, with the chat that shows it.
struct Mirroring<'a> {
    worker: &'a Worker,
    claim: &'a Claim,
    mirror: domain::ChannelId,
    vendor: &'a dyn ChatMirror,
    account: VendorAccount,
    told: MirroredChat,
    chat: Chat,
    opened_at: Timestamp,
}

async fn look(worker: &Worker, claim: &Claim) -> Result<Looked, Error> {
    let app = &worker.app;
    let workspace = claim.workspace;
    let mut tx = app.store().workspace(workspace).await?;
    let dialogue = store::dialogues::find(&mut tx, workspace, claim.dialogue).await?;
    store::commit(tx).await?;
    let Some(dialogue) = dialogue else { return Ok(Looked::Done) };
    let Some(own) = app.route_of(workspace, dialogue.channel).await? else { return Ok(Looked::Done) };
    let Some(mirror) = own.sealed.channel.mirror.clone() else { return Ok(Looked::Done) };
    let Some(shows) = app.route_of(workspace, mirror.channel).await? else { return Ok(Looked::Done) };
    let vendor = app.inner.vendors.get(&shows.sealed.channel.vendor).and_then(|vendor| vendor.mirror.clone());
    // What was said meanwhile is shown when the channel is active again and something more is said.
    let Some(vendor) = vendor.filter(|_| shows.sealed.channel.active) else { return Ok(Looked::Done) };

    let Some((chat, opened_at)) = chat_of(worker, claim, &dialogue, mirror.channel).await? else {
        return Ok(Looked::Lost);
    };
    let mut told = MirroredChat {
        id: dialogue.id.to_string(),
        vendor_id: chat.vendor_chat_id.clone(),
        customer: chat.customer.clone(),
        name: dialogue.chat.clone(),
        source: dialogue.crm.source_external_id.clone().unwrap_or(mirror.source),
        theirs: chat.theirs,
        ..MirroredChat::default()
    };
    if let Some(contact) = contact_of(app, workspace, &dialogue).await? {
        told.name = Some(contact.name).filter(|name| !name.is_empty()).unwrap_or(told.name);
        (told.phone, told.email) = (contact.phone, contact.email);
    }
    let mut mirroring = Mirroring {
        worker,
        claim,
        mirror: mirror.channel,
        vendor: &*vendor,
        account: VendorAccount::default(),
        told,
        chat,
        opened_at,
    };
    let account = app.channel_account(workspace, &shows.sealed).await?;
    let looked = match account {
        Ok((account, _)) => {
            mirroring.account = account;
            mirroring.show(&dialogue).await?
        }
        Err(error) => Looked::Failed(error),
    };
    mirroring.note(looked).await
}

async fn contact_of(
    app: &App,
    workspace: WorkspaceId,
    dialogue: &Dialogue,
) -> Result<Option<domain::contact::Contact>, Error> {
    let Some(contact) = dialogue.contact else { return Ok(None) };
    let filter = store::contacts::Filter { contact: Some(contact), external_id: None };
    let mut tx = app.store().workspace(workspace).await?;
    let found = store::contacts::list(&mut tx, workspace, &filter, None, 1).await?.pop();
    store::commit(tx).await?;
    Ok(found)
}

/// Finds the dialogue's chat, or notes that it is to have one. `None`: the claim was lost.
async fn chat_of(
    worker: &Worker,
    claim: &Claim,
    dialogue: &Dialogue,
    mirror: domain::ChannelId,
) -> Result<Option<(Chat, Timestamp)>, Error> {
    let app = &worker.app;
    let workspace = claim.workspace;
    let mut tx = app.store().workspace(workspace).await?;
    if !store::mirrors::hold(&mut tx, worker.id, claim).await? {
        return Ok(None);
    }
    let found = store::mirrors::find_chat(&mut tx, workspace, mirror, dialogue.id).await?;
    let chat = if let Some(known) = found {
        known
    } else {
        let now = app.now();
        let chat = Chat {
            customer: dialogue.contact.map_or_else(|| dialogue.id.to_string(), |id| id.to_string()),
            vendor_chat_id: String::new(),
            theirs: false,
            through_seq: (dialogue.last_seq - MAX_HISTORY).max(0),
            last_error: None,
            created_at: now,
        };
        store::mirrors::insert_chat(&mut tx, workspace, mirror, dialogue.id, &chat).await?;
        chat
    };
    store::commit(tx).await?;
    let opened_at = chat.created_at;
    Ok(Some((chat, opened_at)))
}

impl Mirroring<'_> {
    fn app(&self) -> &App {
        &self.worker.app
    }

    /// Begins a write that names the fence. `None`: the claim was lost.
    async fn write(&self) -> Result<Option<store::Tx>, Error> {
        let mut tx = self.app().store().workspace(self.claim.workspace).await?;
        let held = store::mirrors::hold(&mut tx, self.worker.id, self.claim).await?;
        Ok(held.then_some(tx))
    }

    async fn keep_chat(&self, tx: &mut store::Tx) -> Result<(), Error> {
        let (workspace, dialogue) = (self.claim.workspace, self.claim.dialogue);
        Ok(store::mirrors::update_chat(tx, workspace, self.mirror, dialogue, &self.chat).await?)
    }

    async fn show(&mut self, dialogue: &Dialogue) -> Result<Looked, Error> {
        if self.chat.vendor_chat_id.is_empty() {
            fail_point::reached("mirror_open", "before");
            let opened = self.vendor.open(&self.account, &self.told, self.app().now()).await;
            fail_point::reached("mirror_open", "after");
            match opened {
                Ok(id) => {
                    self.chat.vendor_chat_id.clone_from(&id);
                    self.told.vendor_id = id;
                }
                Err(error) => return Ok(Looked::Failed(error)),
            }
            // Before anything is said there: what the account tells of this chat from now on is known for what it is.
            let Some(mut tx) = self.write().await? else { return Ok(Looked::Lost) };
            self.keep_chat(&mut tx).await?;
            store::commit(tx).await?;
        }
        loop {
            const MOST: usize = 50;
            let workspace = self.claim.workspace;
            let after = self.chat.through_seq;
            let mut tx = self.app().store().workspace(workspace).await?;
            let messages =
                store::dialogues::list_messages(&mut tx, workspace, dialogue.id, after, MOST).await?;
            let shown = store::mirrors::shown(&mut tx, workspace, self.mirror, &messages).await?;
            store::commit(tx).await?;
            if messages.is_empty() {
                break;
            }
            for message in messages {
                let seq = message.seq;
                if message.role != Role::System && !shown.contains(&message.id) {
                    match self.show_message(message).await? {
                        Looked::Done => {}
                        other => return Ok(other),
                    }
                } else if seq % i64::try_from(MOST).unwrap_or(i64::MAX) == 0 {
                    // A long history of nothing to show is not walked through again from its beginning.
                    let Some(mut tx) = self.write().await? else { return Ok(Looked::Lost) };
                    self.chat.through_seq = seq;
                    self.keep_chat(&mut tx).await?;
                    store::commit(tx).await?;
                }
                self.chat.through_seq = seq;
            }
        }
        self.tell_statuses().await
    }

    async fn show_message(&mut self, message: Message) -> Result<Looked, Error> {
        let (workspace, id, seq): (_, MessageId, _) = (self.claim.workspace, message.id, message.seq);
        let Some(mut tx) = self.write().await? else { return Ok(Looked::Lost) };
        store::mirrors::begin(&mut tx, workspace, self.mirror, &message, self.app().now()).await?;
        store::commit(tx).await?;
        let told = MirroredMessage {
            id,
            role: message.role,
            text: message.text,
            parts: message.parts,
            at: message.sent_at.unwrap_or(message.created_at),
            silent: message.created_at + HISTORY < self.opened_at,
        };
        fail_point::reached("mirror", "before");
        let shown = self.vendor.show(&self.account, &self.told, &told, self.app().now()).await;
        fail_point::reached("mirror", "after");
        let outcome = match &shown {
            Ok(_) => "SHOWN",
            Err(error) if is_about_message(error) => "DEAD",
            Err(_) => "FAILED",
        };
        metrics::counter!("switchboard_mirrored_messages_total", "outcome" => outcome).increment(1);
        let came = match &shown {
            Ok(id) => Ok(id.replace('\0', "\u{fffd}")),
            Err(error) if is_about_message(error) => Err(error.detail.replace('\0', "\u{fffd}")),
            Err(error) => return Ok(Looked::Failed(error.clone())),
        };
        let Some(mut tx) = self.write().await? else { return Ok(Looked::Lost) };
        let now = self.app().now();
        let ended = came.as_deref().map_err(String::as_str);
        store::mirrors::end(&mut tx, workspace, self.mirror, id, ended, now).await?;
        self.chat.through_seq = seq;
        self.keep_chat(&mut tx).await?;
        if let Err(error) = came {
            let moment = store::dialogues::touch(&mut tx, workspace, self.claim.dialogue, now).await?;
            let event = NewEvent {
                id: self.app().id(),
                kind: "mirror.failed",
                dialogue: Some(self.claim.dialogue),
                subject: id.0,
                data: json!({ "channel_id": self.mirror, "error": error }),
                at: moment.unwrap_or(now),
            };
            store::events::insert(&mut tx, workspace, &event).await?;
        }
        store::commit(tx).await?;
        Ok(Looked::Done)
    }

    /// Tells what became of what was said.
    async fn tell_statuses(&mut self) -> Result<Looked, Error> {
        let (workspace, dialogue) = (self.claim.workspace, self.claim.dialogue);
        let mut tx = self.app().store().workspace(workspace).await?;
        let statuses =
            store::mirrors::new_statuses(&mut tx, workspace, self.mirror, dialogue, self.app().now()).await?;
        store::commit(tx).await?;
        for status in statuses {
            fail_point::reached("mirror_status", "before");
            let told = self
                .vendor
                .tell(
                    &self.account,
                    &status.vendor_message_id,
                    status.status,
                    &status.error,
                    self.app().now(),
                )
                .await;
            fail_point::reached("mirror_status", "after");
            match told {
                Ok(()) => {}
                // The message is not there any more, or takes no status: there is nobody to tell.
                Err(error) if is_about_message(&error) || error.http_status == Some(404) => {
                    tracing::info!(
                        workspace.id = %workspace, dialogue.id = %dialogue, message.id = %status.message,
                        error = %error, "what became of a message could not be told"
                    );
                }
                Err(error) => return Ok(Looked::Failed(error)),
            }
            let Some(mut tx) = self.write().await? else { return Ok(Looked::Lost) };
            store::mirrors::set_told(&mut tx, workspace, self.mirror, &status, self.app().now()).await?;
            store::commit(tx).await?;
        }
        Ok(Looked::Done)
    }

    /// Keeps how far the look came, and why no further.
    async fn note(&mut self, looked: Looked) -> Result<Looked, Error> {
        let error = match &looked {
            Looked::Lost => return Ok(looked),
            Looked::Done => None,
            Looked::Failed(error) => Some(error.detail.replace('\0', "\u{fffd}")),
        };
        let Some(mut tx) = self.write().await? else { return Ok(Looked::Lost) };
        self.chat.last_error = error;
        self.keep_chat(&mut tx).await?;
        store::commit(tx).await?;
        Ok(looked)
    }
}
