//! What people write in a chat that shows a dialogue of another channel: it is said in that dialogue, and goes out over its
//! channel.

use domain::{
    ChannelId, DialogueId, Error as Refusal, Reason, WorkspaceId,
    dialogue::Role,
    inbound::{InboundHappening, InboundMessage, Outcome, RawRequest, Sender, Verified},
    policy::Takeover,
};
use serde_json::Value;
use store::{
    events::NewEvent,
    mirrors::{Relay, Shown},
};

use crate::{
    App, Error,
    hooks::Taken,
    inbound::{Route, check, dedup_key, digest},
};

/// What an integration's mirrors call a chat that we have no name for begins with.
const THEIRS: &str = "chat:";

fn told<'a>(message: &'a InboundMessage, name: &str) -> &'a str {
    message.metadata.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// A telephone number as messengers have it: digits alone.
fn digits(phone: &str) -> Option<String> {
    let digits: String = phone.chars().filter(char::is_ascii_digit).collect();
    (digits.len() >= 5).then_some(digits)
}

impl App {
    /// Takes a message of a chat of this channel, if it is one of a person's in a chat that shows a dialogue of another channel,
    /// or that people began with a customer of one. `None`: it is the channel's own.
    pub(crate) async fn relay(
        &self,
        workspace: WorkspaceId,
        route: &Route,
        message: &InboundMessage,
        verified: &Verified<RawRequest>,
        door: &'static str,
    ) -> Result<Option<Taken>, Error> {
        let mirror = &route.sealed.channel;
        let mirrors = self.inner.vendors.get(&mirror.vendor).is_some_and(|vendor| vendor.mirror.is_some());
        if !mirrors || message.sender != Sender::Employee {
            return Ok(None);
        }
        check(message)?;
        let external_id = message.external_id.clone().unwrap_or_default();
        let vendor_chat = told(message, "crm_chat_id").to_owned();
        let mut tx = self.store().workspace(workspace).await?;
        let ours = store::mirrors::is_ours(&mut tx, workspace, mirror.id, &external_id, None).await?;
        let shown =
            store::mirrors::find_shown(&mut tx, workspace, mirror.id, &message.chat, &vendor_chat).await?;
        store::commit(tx).await?;
        if ours {
            let reason = "is an echo of what was written from here".to_owned();
            return self.keep_ignored(workspace, route, verified, door, reason).await.map(Some);
        }
        let (shown, begins) = match shown {
            Some(shown) => (shown, None),
            None => match self.begun(workspace, mirror.id, message).await? {
                Some((shown, chat)) => (shown, Some(chat)),
                None => return Ok(None),
            },
        };
        if !mirror.active {
            let detail = format!("channel {} is not active; activate it first", mirror.id);
            return Err(Refusal::new(Reason::ChannelInactive, detail).into());
        }
        // Whose agent holds the dialogue decides what a person's message does.
        let own = self.route_of(workspace, shown.channel).await?;
        let policy = own.as_ref().map(|own| own.policy.clone()).unwrap_or_default();
        let now = self.now();
        let relay = Relay {
            mirror: mirror.id,
            dialogue: shown.dialogue,
            channel: shown.channel,
            begins,
            vendor_chat,
            dedup_key: dedup_key(&message.chat, &external_id),
            digest: digest(Role::Employee, &message.text, &message.parts),
            message: self.id(),
            external_id,
            text: message.text.clone(),
            parts: message.parts.clone(),
            metadata: message.metadata.clone(),
            sent_at: message.sent_at,
            delivery: self.id(),
            by: told(message, "manager_name").chars().take(200).collect(),
            takes: policy.takeover != Takeover::RecordOnly,
            returns_at: policy.returns_at(now),
        };
        let mut tx = self.store().workspace(workspace).await?;
        let relayed = store::mirrors::relay(&mut tx, workspace, &relay, now).await?;
        let mut webhook = self.webhook(route, verified, door, relayed.outcome, None);
        (webhook.message, webhook.dialogue) = (Some(relayed.message), Some(relayed.dialogue));
        store::inbound_webhooks::insert(&mut tx, workspace, &webhook).await?;
        store::commit(tx).await?;
        self.inner.hub.tell_work();
        metrics::counter!("switchboard_relayed_messages_total", "outcome" => relayed.outcome.as_str())
            .increment(1);
        Ok(Some(Taken { outcome: relayed.outcome, webhook: webhook.id }))
    }

    /// The dialogue that a chat is for which people began: with the customer of this telephone number, on the channel that is
    /// mirrored under the chat's source, or on the only one that is mirrored here.
    async fn begun(
        &self,
        workspace: WorkspaceId,
        mirror: ChannelId,
        message: &InboundMessage,
    ) -> Result<Option<(Shown, String)>, Error> {
        let phone = message.contact.as_ref().and_then(|contact| contact.phone.as_deref()).and_then(digits);
        let Some(chat) = phone.filter(|_| message.chat.starts_with(THEIRS)) else { return Ok(None) };
        let mut tx = self.store().workspace(workspace).await?;
        let channels = store::mirrors::mirrored_channels(&mut tx, workspace, mirror).await?;
        store::commit(tx).await?;
        let source = told(message, "source_external_id");
        let named = channels.iter().find(|(_, mirror)| !source.is_empty() && mirror.source == source);
        let only = channels.first().filter(|_| channels.len() == 1);
        let Some((channel, _)) = named.or(only) else { return Ok(None) };
        let dialogue = DialogueId::derive(workspace, *channel, &chat);
        Ok(Some((Shown { dialogue, channel: *channel }, chat)))
    }

    /// Tells of what happened in a chat that is no message. What happens in a chat of nobody's is told of, too.
    pub(crate) async fn note_happening(
        &self,
        workspace: WorkspaceId,
        route: &Route,
        verified: &Verified<RawRequest>,
        door: &'static str,
        happening: InboundHappening,
    ) -> Result<Taken, Error> {
        let channel = route.sealed.channel.id;
        let InboundHappening { kind, chat, mut data } = happening;
        // What was over before it came here is not told of.
        if data.get("until").and_then(Value::as_i64).is_some_and(|until| until < self.now().unix_timestamp())
        {
            return self.keep_ignored(workspace, route, verified, door, "came too late".to_owned()).await;
        }
        let mut tx = self.store().workspace(workspace).await?;
        let vendor_chat = chat.strip_prefix(THEIRS).unwrap_or_default();
        let shown = store::mirrors::find_shown(&mut tx, workspace, channel, &chat, vendor_chat).await?;
        let id = match shown {
            Some(shown) => shown.dialogue,
            None => DialogueId::derive(workspace, channel, &chat),
        };
        let moment = store::dialogues::touch(&mut tx, workspace, id, self.now()).await?;
        data.insert("chat".to_owned(), chat.into());
        let mut webhook = self.webhook(route, verified, door, Outcome::Recorded, None);
        webhook.dialogue = moment.map(|_| id);
        let event = NewEvent {
            id: self.id(),
            kind,
            dialogue: webhook.dialogue,
            subject: channel.0,
            data: Value::Object(data),
            at: moment.unwrap_or(webhook.received_at),
        };
        store::events::insert(&mut tx, workspace, &event).await?;
        store::inbound_webhooks::insert(&mut tx, workspace, &webhook).await?;
        store::commit(tx).await?;
        Ok(Taken { outcome: webhook.outcome, webhook: webhook.id })
    }

    /// Finds where messages of a channel go, if there is such a channel.
    pub(crate) async fn route_of(
        &self,
        workspace: WorkspaceId,
        channel: ChannelId,
    ) -> Result<Option<std::sync::Arc<Route>>, Error> {
        match self.route(workspace, channel).await {
            Ok(route) => Ok(Some(route)),
            Err(Error::Refused(refusal)) if refusal.reason == Reason::ChannelNotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}
