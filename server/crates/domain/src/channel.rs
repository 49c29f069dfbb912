//! Channels: the routes that messages travel.

use serde::Serialize;
use serde_json::Value;

use crate::{AgentId, ChannelId, IntegrationId, Timestamp, policy::DeliveryPolicy};

/// The vendor kind of a channel that posts replies to a URL.
pub const GENERIC_HTTP: &str = "generic_http";

/// Where a channel's dialogues are shown beside: in chats of another channel, whose vendor can do that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mirror {
    /// That channel.
    pub channel: ChannelId,
    /// The source that the chats are of there, where the dialogue names none. Empty: none.
    pub source: String,
}

/// A route for messages.
#[derive(Debug, Clone, PartialEq)]
pub struct Channel {
    /// Its id.
    pub id: ChannelId,
    /// A name for people.
    pub display_name: String,
    /// Who answers here.
    pub agent: AgentId,
    /// The vendor's id in the vendors' list.
    pub vendor: String,
    /// Where replies are posted. Empty where the vendor is reached over an integration.
    pub url: String,
    /// The integration that the vendor is reached over. `None`: it needs none.
    pub integration: Option<IntegrationId>,
    /// The vendor's own settings, an object that the vendor has checked.
    pub settings: Value,
    /// What its guard, governor and uncertain deliveries go by.
    pub delivery_policy: DeliveryPolicy,
    /// Where its dialogues are shown beside. `None`: nowhere.
    pub mirror: Option<Mirror>,
    /// Whether it accepts messages.
    pub active: bool,
    /// The last four characters of its token.
    pub token_suffix: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}
