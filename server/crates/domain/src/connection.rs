//! A workspace's connection to a vendor: what the vendor wants to know, and how a connection is checked.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use secrecy::SecretString;
use serde_json::Value;

use crate::{FieldViolation, Reason};

/// What a vendor wants to know before it can be called.
#[async_trait]
pub trait Connector: Send + Sync {
    /// JSON Schema (2020-12) of its settings: what a form can be drawn from. Every property has a title, a description and
    /// a default where one applies.
    fn settings_schema(&self) -> Value;

    /// Its credentials. They are written and never read back.
    fn credentials(&self) -> &'static [CredentialField];

    /// Checks settings when they are saved; gives every bad field, named from `settings` on. An unknown member is bad.
    fn check_settings(&self, settings: &Value) -> Result<(), Vec<FieldViolation>>;

    /// The addresses in the settings that we shall call, by the name of their field. Each is checked when it is saved.
    fn targets(&self, settings: &Value) -> Vec<(&'static str, String)>;

    /// Checks one of these addresses, before anything is sent there. Else the reason, `FieldInvalid` or `TargetForbidden`,
    /// and a text for people that follows the field's name.
    async fn check_target(&self, url: &str) -> Result<(), (Reason, String)>;

    /// Tries a connection, step by step: reachable, let in, allowed to do what we need. Changes nothing at the vendor.
    async fn check(&self, connection: &Connection) -> Vec<CheckStep>;
}

/// A credential that a vendor wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CredentialField {
    /// Its name, such as `api_key`.
    pub name: &'static str,
    /// Its name for people.
    pub title: &'static str,
    /// What it is and where it is found.
    pub description: &'static str,
    /// Whether nothing works without it.
    pub required: bool,
}

/// A connection, with its credentials in the clear: for as long as a call takes.
#[derive(Debug, Clone, Default)]
pub struct Connection {
    /// The vendor's own settings, an object or null; the vendor has checked it.
    pub settings: Value,
    /// The credentials by name.
    pub credentials: BTreeMap<String, SecretString>,
    /// Where calls that the vendor counts wait for their turn. `None`: nobody else calls this account.
    pub gate: Option<Arc<dyn Gate>>,
}

impl Connection {
    /// Gives a credential.
    pub fn credential(&self, name: &str) -> Option<&SecretString> {
        self.credentials.get(name)
    }
}

/// Lets the calls of one account through one after another, no more of them than its vendor takes: all of ours together, in
/// whatever process. An adapter whose vendor counts calls passes it before each, and tells it when the vendor had enough.
#[async_trait]
pub trait Gate: fmt::Debug + Send + Sync {
    /// Waits for a place in a rate of so many calls a second.
    ///
    /// # Errors
    /// The pause after which to come again, where too many wait or the account is left alone for a while.
    async fn pass(&self, per_second: u32) -> Result<(), Duration>;

    /// Notes that the vendor refused a call; nobody passes for a while then. Gives how long that is. `None`: it was no matter
    /// of too many calls.
    async fn refused(&self, why: Refused) -> Option<Duration>;
}

/// Why a vendor that counts calls refused one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// There were too many. It may say for how long to stay away; else the pause grows with each such answer.
    TooMany(Option<Duration>),
    /// It takes no calls of ours for some time.
    Blocked,
    /// It does not say: the same answer means a missing right, and a block where calls were refused a moment ago.
    Perhaps,
}

/// One step of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckStep {
    /// What was tried, such as `credentials`.
    pub name: &'static str,
    /// What came of it.
    pub outcome: CheckOutcome,
    /// What was seen, in one sentence without secrets.
    pub detail: String,
    /// What to do about it. Empty: nothing.
    pub remedy: String,
}

/// What came of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckOutcome {
    /// It works.
    Passed,
    /// It doesn't.
    Failed,
    /// It was not tried, because an earlier one failed.
    Skipped,
}
