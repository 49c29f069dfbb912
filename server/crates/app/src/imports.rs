//! Taking dialogues over from elsewhere: history, which nobody answers.

use std::collections::{HashMap, HashSet};

use domain::{
    ChannelId, DialogueId, Error as Refusal, Ids, Reason,
    import::{Fault, Imported, ImportedChat, ImportedMessage, MAX_BATCH},
    workspace::{Level, Service},
};
use store::{
    imports::{NewDialogue, NewMessage},
    integrations::Keep,
    record::{Link, LinkedContact},
};

use crate::{App, Caller, Error, channels, inbound};

impl App {
    /// Takes a batch over in one transaction. Bad rows are left out and named; `bad`: those that the caller has found
    /// already. What was taken over before is known.
    pub async fn import_messages(
        &self,
        caller: &Caller,
        channel: ChannelId,
        chats: Vec<(usize, ImportedChat)>,
        messages: Vec<(usize, ImportedMessage)>,
        mut bad: Vec<Fault>,
    ) -> Result<Imported, Error> {
        let workspace = caller.require(Service::Dialogues, Level::Admin)?;
        for (field, count) in [("chats", chats.len()), ("messages", messages.len())] {
            if count > MAX_BATCH {
                return Err(Refusal::field(Reason::FieldInvalid, field, "may be up to 10,000").into());
            }
        }
        let now = self.now();
        let mut tx = self.store().workspace(workspace).await?;
        store::channels::find(&mut tx, workspace, channel, false)
            .await?
            .ok_or_else(|| channels::not_found(channel))?;

        let mut dialogues: Vec<NewDialogue> = Vec::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        let mut integrations = HashSet::new();
        for (index, chat) in chats {
            let mut told = chat.check();
            for integration in inbound::integrations_of(chat.contact.as_ref(), &chat.references) {
                if !integrations.contains(&integration) {
                    match store::integrations::find(&mut tx, workspace, integration, Keep::Free).await? {
                        Some(_) => _ = integrations.insert(integration),
                        None => told = told.and(Err(format!("integration {integration} was not found"))),
                    }
                }
            }
            if told.is_ok() && places.contains_key(&chat.chat) {
                told = Err("chat: comes twice in the batch".to_owned());
            }
            if let Err(reason) = told {
                bad.push(Fault { chat: true, index, reason });
                continue;
            }
            places.insert(chat.chat.clone(), dialogues.len());
            let link = (chat.contact.is_some() || !chat.references.is_empty()).then(|| Link {
                contact: chat.contact.map(|told| LinkedContact { id: self.id(), told }),
                crm: chat.references,
            });
            dialogues.push(NewDialogue {
                id: DialogueId::derive(workspace, channel, &chat.chat),
                chat: chat.chat,
                begun_at: now,
                status: chat.status,
                link,
            });
        }

        let mut keys = HashSet::new();
        let (mut taken, mut repeats) = (Vec::new(), 0);
        for (index, message) in messages {
            if let Err(reason) = message.check(now) {
                bad.push(Fault { chat: false, index, reason });
                continue;
            }
            let dedup_key = inbound::dedup_key(&message.chat, &message.external_id);
            if !keys.insert(dedup_key.clone()) {
                repeats += 1;
                continue;
            }
            let place = *places.entry(message.chat.clone()).or_insert_with(|| {
                dialogues.push(NewDialogue {
                    id: DialogueId::derive(workspace, channel, &message.chat),
                    chat: message.chat.clone(),
                    begun_at: now,
                    status: None,
                    link: None,
                });
                dialogues.len() - 1
            });
            let dialogue = &mut dialogues[place];
            dialogue.begun_at = dialogue.begun_at.min(message.created_at);
            let new = NewMessage {
                id: Ids::at(message.created_at),
                dialogue: dialogue.id,
                dedup_key,
                digest: inbound::digest(message.role, &message.text, &[]),
                message,
            };
            taken.push((index, new));
        }

        let (indices, taken): (Vec<usize>, Vec<NewMessage>) = taken.into_iter().unzip();
        let (mut done, conflicts) =
            store::imports::import(&mut tx, workspace, channel, &dialogues, &taken, now).await?;
        store::commit(tx).await?;
        bad.extend(conflicts.into_iter().map(|place| Fault {
            chat: false,
            index: indices[place],
            reason: "message_id: is known with another content".to_owned(),
        }));
        bad.sort_by_key(|fault| (!fault.chat, fault.index));
        done.known += repeats;
        done.faults = bad;
        metrics::counter!("switchboard_imported_messages_total").increment(done.recorded as u64);
        Ok(done)
    }
}
