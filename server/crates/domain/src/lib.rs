//! The words and rules of Switchboard: ids, entities, decisions, and the traits that a vendor implements.
//!
//! Nothing here does I/O or knows a wire format, a database or the environment; time and randomness come in through
//! [`Clock`] and [`Ids`]. To add an entity, give it a file named after its noun; the same name stands in `store`, `app`,
//! and `server/src/grpc`.
#![warn(missing_docs)]

pub mod agent;
pub mod budget;
pub mod channel;
pub mod channel_kind;
pub mod clock;
pub mod connection;
pub mod contact;
pub mod cost;
pub mod crm;
pub mod crm_context;
pub mod crm_event;
pub mod decide;
pub mod delivery;
pub mod dialogue;
pub mod endpoint;
pub mod engine;
pub mod error;
pub mod event;
pub mod fail_point;
pub mod ids;
pub mod import;
pub mod inbound;
pub mod integration;
pub mod language;
pub mod manifest;
pub mod mirror;
pub mod new_message;
pub mod oauth;
pub mod part;
pub mod policy;
pub mod profile;
pub mod returns;
pub mod schedule;
pub mod source;
pub mod split;
pub mod stats;
pub mod template;
pub mod token;
pub mod turn;
pub mod usage;
pub mod vendor;
pub mod window;
pub mod workspace;
pub mod zone;

pub use clock::{AheadClock, Clock, Ids, ManualClock, SystemClock, Timestamp};
pub use error::{Error, FieldViolation, Kind, Reason};
pub use ids::{
    AgentId, ApiKeyId, ChannelId, ContactId, DeliveryId, DialogueId, DispatchId, EndpointId, EventId,
    InboundWebhookId, IntegrationId, JobId, MessageId, TurnId, WorkerId, WorkspaceId,
};
