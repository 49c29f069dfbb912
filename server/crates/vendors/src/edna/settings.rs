//! What an integration and a channel may set.

use domain::FieldViolation;
use serde::Deserialize;
use serde_json::{Value, json};

use super::api::Profile;
use crate::{account, settings};

/// What a connection may set.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ConnectionSettings {
    /// Where the API is. Default [`super::BASE_URL`].
    pub(super) base_url: Option<String>,
}

impl ConnectionSettings {
    pub(super) fn read(settings: &Value) -> Result<Self, Vec<FieldViolation>> {
        settings::read(settings, &[("base_url", account::BASE_URL)])
    }
}

/// Which messenger a channel leads to. There are more; these are those whose fields are known for sure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) enum Kind {
    #[serde(rename = "WHATSAPP")]
    WhatsApp,
    #[serde(rename = "SMS")]
    Sms,
    /// A bot of the messenger MAX, which is written to without a cascade.
    #[serde(rename = "MAX_BOT")]
    MaxBot,
}

impl Kind {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::WhatsApp => "WHATSAPP",
            Self::Sms => "SMS",
            Self::MaxBot => "MAX_BOT",
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Given {
    kind: Option<Kind>,
    subject_id: Option<i64>,
    subject: Option<String>,
    cascade_id: Option<i64>,
}

const MEMBERS: [(&str, &str); 4] = [
    ("kind", "must be WHATSAPP, SMS or MAX_BOT"),
    ("subject_id", "must be a whole number"),
    ("subject", "must be a string"),
    ("cascade_id", "must be a whole number"),
];

/// What a channel may set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ChannelSettings {
    /// The messenger.
    pub(super) kind: Kind,
    /// The sender's number at edna.
    pub(super) subject_id: Option<i64>,
    /// The sender's name at edna.
    pub(super) subject: Option<String>,
    /// The cascade to send by. `None`: the sender's own, which is looked up.
    pub(super) cascade_id: Option<i64>,
}

impl ChannelSettings {
    /// # Errors
    /// Every bad member, named from `settings` on.
    pub(super) fn read(settings: &Value) -> Result<Self, Vec<FieldViolation>> {
        let Given { kind, subject_id, subject, cascade_id } = settings::read(settings, &MEMBERS)?;
        let subject = subject.map(|subject| subject.trim().to_owned()).filter(|subject| !subject.is_empty());
        let mut bad = Vec::new();
        let Some(kind) = kind else {
            return Err(vec![FieldViolation::new("settings.kind", "is required: WHATSAPP, SMS or MAX_BOT")]);
        };
        if kind == Kind::MaxBot && subject.is_none() {
            bad.push(FieldViolation::new(
                "settings.subject",
                "is required for MAX_BOT: the bot's name at edna",
            ));
        } else if subject.is_none() && subject_id.is_none() {
            let detail = "is required, or `subject`: the sender as edna lists it";
            bad.push(FieldViolation::new("settings.subject_id", detail));
        }
        if kind == Kind::MaxBot && cascade_id.is_some() {
            let detail = "is not for MAX_BOT, which is written to without a cascade";
            bad.push(FieldViolation::new("settings.cascade_id", detail));
        }
        if bad.is_empty() { Ok(Self { kind, subject_id, subject, cascade_id }) } else { Err(bad) }
    }

    /// Whether this is the sender by number or name; names are compared as people type them.
    pub(super) fn is(&self, subject_id: Option<i64>, subject: Option<&str>) -> bool {
        match self.subject_id.zip(subject_id) {
            Some((wanted, given)) => wanted == given,
            None => {
                self.subject.as_deref().zip(subject).is_some_and(|(wanted, given)| {
                    wanted.trim().to_lowercase() == given.trim().to_lowercase()
                })
            }
        }
    }

    /// Whether a callback that names these is about another sender. What it doesn't name speaks for no other.
    pub(super) fn is_not(&self, subject_id: Option<i64>, subject: Option<&str>) -> bool {
        let comparable =
            self.subject_id.is_some() && subject_id.is_some() || self.subject.is_some() && subject.is_some();
        comparable && !self.is(subject_id, subject)
    }

    /// Whether this is the channel as edna lists it.
    pub(super) fn means(&self, profile: &Profile) -> bool {
        profile.active
            && profile.kind == self.kind.as_str()
            && self.is(profile.subject_id, profile.subject.as_deref())
    }

    /// The sender, for people.
    pub(super) fn subject(&self) -> String {
        match (&self.subject, self.subject_id) {
            (Some(subject), _) => format!("called “{subject}”"),
            (None, Some(id)) => format!("number {id}"),
            (None, None) => "named".to_owned(),
        }
    }
}

pub(super) fn channel_schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "additionalProperties": false,
        "required": ["kind"],
        "properties": {
            "kind": {
                "type": "string", "enum": ["WHATSAPP", "SMS", "MAX_BOT"], "title": "Messenger",
                "description": "Which messenger the channel leads to.",
            },
            "subject_id": {
                "type": "integer", "title": "Sender's number",
                "description": "The sender's `subjectId` at edna. This or the sender's name.",
            },
            "subject": {
                "type": "string", "title": "Sender's name",
                "description": "The sender's `subject` at edna. Needed for MAX_BOT.",
            },
            "cascade_id": {
                "type": "integer", "title": "Cascade",
                "description": "The cascade to send by. Default: the sender's own, of one stage. Not for MAX_BOT.",
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bad_member_is_named() {
        let fields = |settings: Value| -> Vec<String> {
            ChannelSettings::read(&settings).unwrap_err().into_iter().map(|bad| bad.field).collect()
        };
        assert_eq!(fields(json!({})), ["settings.kind"]);
        assert_eq!(fields(json!({ "kind": "WHATSAPP" })), ["settings.subject_id"]);
        assert_eq!(
            fields(json!({ "kind": "MAX_BOT", "cascade_id": 1 })),
            ["settings.subject", "settings.cascade_id"]
        );
        assert_eq!(
            fields(json!({ "kind": "PIGEON", "subject_id": "x", "other": 1 })),
            ["settings.kind", "settings.other", "settings.subject_id"]
        );
    }

    #[test]
    fn senders_are_told_apart_as_people_type_them() {
        let by_name = ChannelSettings::read(&json!({ "kind": "SMS", "subject": " Acme " })).unwrap();
        assert!(by_name.is(Some(1), Some("ACME ")) && !by_name.is(Some(1), Some("other")));
        assert!(!by_name.is_not(Some(1), None) && by_name.is_not(None, Some("other")));
        let by_number = ChannelSettings::read(&json!({ "kind": "SMS", "subject_id": 7 })).unwrap();
        assert!(by_number.is(Some(7), Some("other")) && by_number.is_not(Some(8), None));
    }
}
