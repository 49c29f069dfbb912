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

    /// Has the vendor call this address about the channel, step by step. Doing it again changes nothing.
    async fn connect(&self, account: &VendorAccount, hook_url: &str, now: Timestamp) -> Vec<CheckStep>;
}
