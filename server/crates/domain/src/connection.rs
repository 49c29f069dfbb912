//! A workspace's connection to a vendor: what the vendor wants to know, and how a connection is checked.

use std::collections::BTreeMap;

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
}

impl Connection {
    /// Gives a credential.
    pub fn credential(&self, name: &str) -> Option<&SecretString> {
        self.credentials.get(name)
    }
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
