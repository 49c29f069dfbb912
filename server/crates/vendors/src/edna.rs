//! edna Pulse: a gateway to WhatsApp, SMS and MAX. We send with an API key, by cascades or straight to a MAX bot, and are
//! called back with what customers write and what became of our messages.
//! <https://docs-pulse.edna.io/docs/api/> (read 2026-11-20)
//!
//! It signs no calls, so a secret of the channel is a part of the address that it calls.

mod api;
mod receive;
mod send;
mod settings;
mod template;

use std::sync::Arc;

use async_trait::async_trait;
use domain::{
    FieldViolation, Reason, Timestamp,
    channel_kind::{ChannelKind, Connected, HookProof},
    connection::{CheckOutcome, CheckStep, Connection, Connector, CredentialField},
    integration::CREDENTIALS_STEP,
    vendor::{FailureKind, Vendor, VendorAccount, VendorError},
};
use serde_json::{Value, json};

use self::{
    api::{Account, Profile},
    send::Cascades,
    settings::{ChannelSettings, ConnectionSettings},
};
use crate::{account, http::HttpClient};

/// Gives the vendor.
pub fn vendor(http: HttpClient) -> Vendor {
    let edna = Arc::new(Edna { http, cascades: Cascades::default() });
    Vendor {
        receiver: Some(edna.clone()),
        sender: Some(edna.clone()),
        connector: Some(edna.clone()),
        channel: Some(edna),
        ..Vendor::new(ID, "edna", "https://docs-pulse.edna.io/docs/api/")
    }
}

const ID: &str = "edna";
const BASE_URL: &str = "https://app.edna.ru/api";

struct Edna {
    http: HttpClient,
    cascades: Cascades,
}

fn step(name: &'static str, outcome: CheckOutcome, detail: String, remedy: &str) -> CheckStep {
    CheckStep { name, outcome, detail, remedy: remedy.to_owned() }
}

fn passed(name: &'static str, detail: String) -> CheckStep {
    step(name, CheckOutcome::Passed, detail, "")
}

fn failed(name: &'static str, detail: String, remedy: &str) -> CheckStep {
    step(name, CheckOutcome::Failed, detail, remedy)
}

fn skipped(name: &'static str) -> CheckStep {
    step(name, CheckOutcome::Skipped, "An earlier step failed.".to_owned(), "")
}

/// The steps of a call that lists the channels, which changes nothing and needs the key.
fn listing(listed: &Result<Vec<Profile>, VendorError>) -> Vec<CheckStep> {
    const REACHABLE: &str = "reachable";
    const CHANNELS: &str = "channels";
    let heard = || passed(REACHABLE, "edna answers.".to_owned());
    let error = match listed {
        Ok(profiles) => {
            let active = profiles.iter().filter(|profile| profile.active).count();
            let detail = format!("{} channels are listed, {active} of them active.", profiles.len());
            return vec![
                heard(),
                passed(CREDENTIALS_STEP, "The key lets in.".to_owned()),
                passed(CHANNELS, detail),
            ];
        }
        Err(error) => error,
    };
    let detail = format!("{}.", error.detail);
    match error.kind {
        FailureKind::Unauthorized => vec![
            heard(),
            failed(CREDENTIALS_STEP, detail, "Set a key that is valid at edna: Integration, then Settings."),
            skipped(CHANNELS),
        ],
        FailureKind::Forbidden => vec![
            heard(),
            failed(
                CREDENTIALS_STEP,
                detail,
                "Give the key the right to this channel, or use the master key.",
            ),
            skipped(CHANNELS),
        ],
        _ if error.http_status.is_none() => vec![
            failed(REACHABLE, detail, "Check the base URL, and that this server may reach it."),
            skipped(CREDENTIALS_STEP),
            skipped(CHANNELS),
        ],
        _ => vec![heard(), skipped(CREDENTIALS_STEP), failed(CHANNELS, detail, "Try again later.")],
    }
}

#[async_trait]
impl Connector for Edna {
    fn settings_schema(&self) -> Value {
        let base_url =
            "Where the API is. Russia: https://app.edna.ru/api; elsewhere: https://app.edna.io/api.";
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "additionalProperties": false,
            "properties": { "base_url": account::base_url_schema(BASE_URL, base_url) },
        })
    }

    fn credentials(&self) -> &'static [CredentialField] {
        const FIELDS: [CredentialField; 1] =
            [account::api_key("A key of the account, of edna's page Integration, Settings.", true)];
        &FIELDS
    }

    fn check_settings(&self, settings: &Value) -> Result<(), Vec<FieldViolation>> {
        let settings = ConnectionSettings::read(settings)?;
        account::check_base_url(settings.base_url.as_deref())
    }

    fn targets(&self, settings: &Value) -> Vec<(&'static str, String)> {
        let base_url = ConnectionSettings::read(settings).ok().and_then(|settings| settings.base_url);
        base_url.map(|url| ("base_url", url)).into_iter().collect()
    }

    async fn check_target(&self, url: &str) -> Result<(), (Reason, String)> {
        self.http.check_target(url).await
    }

    async fn check(&self, connection: &Connection) -> Vec<CheckStep> {
        let listed = Account::of(&self.http, connection, Timestamp::UNIX_EPOCH).channels().await;
        listing(&listed)
    }
}

#[async_trait]
impl ChannelKind for Edna {
    fn settings_schema(&self) -> Value {
        settings::channel_schema()
    }

    fn check_settings(&self, settings: &Value) -> Result<(), Vec<FieldViolation>> {
        ChannelSettings::read(settings).map(drop)
    }

    fn check_template(&self, settings: &Value, given: &Value) -> Result<(), Vec<FieldViolation>> {
        let settings = ChannelSettings::read(settings)?;
        template::check(settings.kind, given)
    }

    fn hook_proof(&self) -> HookProof {
        HookProof::PathSecret
    }

    async fn connect(&self, account: &VendorAccount, hook_url: &str, now: Timestamp) -> Connected {
        const SUBJECT: &str = "subject";
        const CALLBACKS: &str = "callbacks";
        let edna = Account::of(&self.http, &account.connection, now);
        let Ok(settings) = ChannelSettings::read(&account.settings) else {
            let detail = "The channel's settings are not what they must be.".to_owned();
            return vec![failed(SUBJECT, detail, "Correct the channel's settings.")].into();
        };
        let listed = edna.channels().await;
        let mut steps = listing(&listed);
        let Ok(listed) = listed else {
            steps.extend([skipped(SUBJECT), skipped(CALLBACKS)]);
            return steps.into();
        };
        let Some(profile) = listed.into_iter().find(|profile| settings.means(profile)) else {
            let detail =
                format!("No active channel of kind {} is {}.", settings.kind.as_str(), settings.subject());
            steps.push(failed(
                SUBJECT,
                detail,
                "Correct the channel's settings, or activate the channel at edna.",
            ));
            steps.push(skipped(CALLBACKS));
            return steps.into();
        };
        steps.push(passed(SUBJECT, format!("It is the channel “{}”.", profile.name)));
        steps.push(match edna.set_callbacks(profile.subject_id, hook_url).await {
            Ok(code) if code == "ok" => passed(CALLBACKS, "edna calls this channel's address.".to_owned()),
            Ok(code) => {
                let remedy = match code.as_str() {
                    "error-callback-url-not-https" => {
                        "Have the operator set an https address in SWITCHBOARD_PUBLIC_URL."
                    }
                    "error-callback-url-not-available" => {
                        "Make this server's public address reachable from outside, on port 443."
                    }
                    "error-callback-url-max-length" => {
                        "Have the operator set a shorter SWITCHBOARD_PUBLIC_URL."
                    }
                    "error-subject-unknown" => "Correct the channel's settings.",
                    _ => "Try again later.",
                };
                failed(CALLBACKS, format!("edna refused the address: {code}."), remedy)
            }
            Err(error) => failed(CALLBACKS, format!("{}.", error.detail), "Try again later."),
        });
        steps.into()
    }
}
