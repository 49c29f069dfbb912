//! What channels are like whose vendor is reached over an integration.

use async_trait::async_trait;
use serde_json::Value;

use crate::{FieldViolation, Timestamp, connection::CheckStep, vendor::VendorAccount};

/// How a vendor's calls are known to be its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookProof {
    /// It signs them: [`crate::vendor::WebhookReceiver::verify`] checks that.
    Signature,
    /// It signs nothing, so a secret of the channel is a part of the path that it calls.
    PathSecret,
}

/// What the channels of a vendor are like.
#[async_trait]
pub trait ChannelKind: Send + Sync {
    /// JSON Schema (2020-12) of a channel's settings: what a form can be drawn from.
    fn settings_schema(&self) -> Value;

    /// Checks settings when they are saved; gives every bad field, named from `settings` on. An unknown member is bad.
    fn check_settings(&self, settings: &Value) -> Result<(), Vec<FieldViolation>>;

    /// Checks what is to make a message a template, on a channel with these settings; gives every bad field, named from
    /// `template` on.
    fn check_template(&self, settings: &Value, template: &Value) -> Result<(), Vec<FieldViolation>>;

    /// How its calls are known to be its own.
    fn hook_proof(&self) -> HookProof;

    /// Whether answers depend on what the customer's newest message was told with.
    fn answers_calls(&self) -> bool {
        false
    }

    /// Has the vendor call this address about the channel, step by step. Doing it again changes nothing.
    async fn connect(&self, account: &VendorAccount, hook_url: &str, now: Timestamp) -> Connected;

    /// Has the vendor forget the channel. That it knows of none is fine. `None`: there is no such thing there.
    async fn disconnect(&self, _: &VendorAccount, _: Timestamp) -> Option<Connected> {
        None
    }
}

/// What came of connecting a channel, or of the contrary.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Connected {
    /// What was tried.
    pub steps: Vec<CheckStep>,
    /// The channel's settings from now on, with what the vendor said. `None`: they stay.
    pub settings: Option<Value>,
}

impl From<Vec<CheckStep>> for Connected {
    fn from(steps: Vec<CheckStep>) -> Self {
        Self { steps, settings: None }
    }
}
