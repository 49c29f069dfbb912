//! A vendor that exists in stories alone: an engine behind a key that can be revoked, whose list of models can be counted,
//! held up and broken.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use domain::{
    FieldViolation, Reason,
    connection::{CheckOutcome, CheckStep, Connection, Connector, CredentialField},
    engine::{Answer, Completion, CompletionModel, Model, Outcome},
    vendor::{Applied, FailureKind, Retry, Vendor, VendorError},
};
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// The vendor's other half, which a story holds on to.
#[derive(Debug, Default)]
pub(crate) struct Fake {
    good: Mutex<BTreeSet<String>>,
    down: Mutex<bool>,
    listing_takes: Mutex<Duration>,
    listed: AtomicU32,
}

impl Fake {
    /// One that lets this key in.
    pub(crate) fn with_key(key: &str) -> Arc<Self> {
        let fake = Arc::new(Self::default());
        fake.let_in(key);
        fake
    }

    pub(crate) fn let_in(&self, key: &str) {
        self.good.lock().unwrap().insert(key.to_owned());
    }

    pub(crate) fn revoke(&self, key: &str) {
        self.good.lock().unwrap().remove(key);
    }

    pub(crate) fn go_down(&self, down: bool) {
        *self.down.lock().unwrap() = down;
    }

    pub(crate) fn list_slowly(&self, takes: Duration) {
        *self.listing_takes.lock().unwrap() = takes;
    }

    /// How often its models were listed.
    pub(crate) fn listed(&self) -> u32 {
        self.listed.load(Ordering::Relaxed)
    }

    /// Its row in the list of vendors.
    pub(crate) fn vendor(self: &Arc<Self>) -> Vendor {
        Vendor {
            engine: Some(Arc::new(Half(Arc::clone(self)))),
            connector: Some(Arc::new(Half(Arc::clone(self)))),
            ..Vendor::new("acme", "Acme", "https://acme.example/docs")
        }
    }

    fn let_through(&self, operation: &'static str, connection: &Connection) -> Result<(), VendorError> {
        let failed = |kind, detail: &str, retry| VendorError {
            vendor: "acme",
            operation,
            kind,
            http_status: None,
            detail: detail.to_owned(),
            excerpt: None,
            applied: Applied::No,
            retry,
        };
        if *self.down.lock().unwrap() {
            return Err(failed(FailureKind::Unavailable, "it is down", Retry::Backoff));
        }
        let key = connection.credential("api_key").map(|key| key.expose_secret().to_owned());
        if key.is_none_or(|key| !self.good.lock().unwrap().contains(&key)) {
            return Err(failed(FailureKind::Unauthorized, "the key was revoked", Retry::Never));
        }
        Ok(())
    }
}

struct Half(Arc<Fake>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read to be checked")]
struct Settings {
    #[serde(default)]
    base_url: String,
    #[serde(default)]
    region: String,
}

const FIELDS: &[CredentialField] = &[
    CredentialField {
        name: "api_key",
        title: "API key",
        description: "From the fake console.",
        required: true,
    },
    CredentialField {
        name: "organisation",
        title: "Organisation",
        description: "Where there are several.",
        required: false,
    },
];

#[async_trait]
impl Connector for Half {
    fn settings_schema(&self) -> Value {
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {
                "base_url": { "type": "string", "title": "Address", "description": "Where it is." },
                "region": { "type": "string", "title": "Region", "description": "Where it works.", "default": "eu" }
            },
            "additionalProperties": false
        })
    }

    fn credentials(&self) -> &'static [CredentialField] {
        FIELDS
    }

    fn check_settings(&self, settings: &Value) -> Result<(), Vec<FieldViolation>> {
        let unknown =
            settings.as_object().unwrap().keys().filter(|name| !["base_url", "region"].contains(&&***name));
        let mut bad: Vec<_> = unknown
            .map(|name| FieldViolation::new(format!("settings.{name}"), "is not a setting of this vendor"))
            .collect();
        if bad.is_empty() && Settings::deserialize(settings).is_err() {
            bad.push(FieldViolation::new("settings", "has a member of another type"));
        }
        if bad.is_empty() { Ok(()) } else { Err(bad) }
    }

    fn targets(&self, settings: &Value) -> Vec<(&'static str, String)> {
        settings["base_url"].as_str().map(|url| ("base_url", url.to_owned())).into_iter().collect()
    }

    async fn check_target(&self, url: &str) -> Result<(), (Reason, String)> {
        if url.contains("//10.") {
            return Err((Reason::TargetForbidden, "10.0.0.7 is a private address".to_owned()));
        }
        Ok(())
    }

    async fn check(&self, connection: &Connection) -> Vec<CheckStep> {
        let Self(fake) = self;
        let down = *fake.down.lock().unwrap();
        let step = |name, outcome, detail: &str, remedy: &str| CheckStep {
            name,
            outcome,
            detail: detail.to_owned(),
            remedy: remedy.to_owned(),
        };
        if down {
            return vec![
                step("address", CheckOutcome::Failed, "fake does not answer", "wait until it is up again"),
                step("credentials", CheckOutcome::Skipped, "not tried", ""),
            ];
        }
        let reached = step("address", CheckOutcome::Passed, "fake answers", "");
        if fake.let_through("check", connection).is_ok() {
            return vec![reached, step("credentials", CheckOutcome::Passed, "the key is good", "")];
        }
        let failed = CheckOutcome::Failed;
        vec![
            reached,
            step("credentials", failed, "fake refused the key", "make a new key in the fake console"),
        ]
    }
}

#[async_trait]
impl CompletionModel for Half {
    fn check_settings(&self, _settings: &Value) -> Result<(), Vec<FieldViolation>> {
        Ok(())
    }

    async fn complete(
        &self,
        connection: &Connection,
        _request: &Completion,
        _cancelled: &CancellationToken,
    ) -> Result<Outcome, VendorError> {
        let Self(fake) = self;
        fake.let_through("complete", connection)?;
        Ok(Outcome::Answered(Answer { text: "from fake".to_owned(), ..Answer::default() }))
    }

    async fn list_models(&self, connection: &Connection) -> Result<Vec<Model>, VendorError> {
        let Self(fake) = self;
        let count = fake.listed.fetch_add(1, Ordering::Relaxed) + 1;
        let takes = *fake.listing_takes.lock().unwrap();
        tokio::time::sleep(takes).await;
        fake.let_through("list_models", connection)?;
        Ok(vec![Model {
            id: format!("acme-{count}"),
            display_name: String::new(),
            max_input_tokens: Some(1_000),
            max_output_tokens: None,
        }])
    }
}
