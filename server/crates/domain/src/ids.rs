//! Ids: one type per noun, so that a channel's id can't be passed for an agent's.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident,)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                Uuid::try_parse(text).map(Self)
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    )+};
}

ids! {
    /// A tenant. The nil UUID stands for the operator's own records (see [`WorkspaceId::OPERATOR`]).
    WorkspaceId,
    /// The record of an API key, not the secret.
    ApiKeyId,
    /// A configured AI.
    AgentId,
    /// A route that messages travel.
    ChannelId,
    /// One chat on one channel. Derived, see [`DialogueId::derive`].
    DialogueId,
    /// A customer.
    ContactId,
    /// One message.
    MessageId,
    /// One turn of an agent.
    TurnId,
    /// One outbound message on its way.
    DeliveryId,
    /// One raw call from outside.
    InboundWebhookId,
    /// A workspace's connection to one vendor.
    IntegrationId,
    /// One recorded fact.
    EventId,
    /// Where events are posted to.
    EndpointId,
    /// One event on its way to one endpoint.
    DispatchId,
    /// One piece of waiting work.
    JobId,
    /// One running server process.
    WorkerId,
}

impl WorkspaceId {
    /// Owns what belongs to the operator of the server: the operator keys.
    pub const OPERATOR: Self = Self(Uuid::nil());
}

impl DialogueId {
    /// Gives the dialogue of a chat: a `UUIDv8` made of the SHA-256 of workspace, channel and chat.
    ///
    /// Deriving it, instead of drawing it, means that a message's dialogue is known before the database is asked: a
    /// gathered write creates, locks and numbers dialogues in one statement, in the one order (workspace, id) in which
    /// everybody locks them. Dialogues are not partitioned, so nothing needs the time in this id.
    pub fn derive(workspace: WorkspaceId, channel: ChannelId, chat: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(workspace.0.as_bytes());
        hash.update(channel.0.as_bytes());
        hash.update(chat.as_bytes());
        let digest = hash.finalize();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        Self(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dialogue_id_depends_on_every_part_and_on_nothing_else() {
        let (workspace, channel) = (WorkspaceId(Uuid::from_u128(1)), ChannelId(Uuid::from_u128(2)));
        let id = DialogueId::derive(workspace, channel, "a");
        assert_eq!(id, DialogueId::derive(workspace, channel, "a"));
        assert_ne!(id, DialogueId::derive(workspace, channel, "b"));
        assert_ne!(id, DialogueId::derive(workspace, ChannelId(Uuid::from_u128(3)), "a"));
        assert_ne!(id, DialogueId::derive(WorkspaceId(Uuid::from_u128(4)), channel, "a"));
        assert_eq!(id.0.get_version_num(), 8);
    }
}
