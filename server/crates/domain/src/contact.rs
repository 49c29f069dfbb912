//! Contacts: customers, with their ids at each vendor.

use serde::{Deserialize, Serialize};

use crate::{ContactId, IntegrationId, Timestamp, error::Violations};

/// A customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    /// Its id.
    pub id: ContactId,
    /// What it is called. Empty: not known.
    pub name: String,
    /// Its telephone number, as it was told. Empty: not known.
    pub phone: String,
    /// Its e-mail address, as it was told. Empty: not known.
    pub email: String,
    /// What vendors call it.
    pub identities: Vec<Identity>,
    /// When it was first heard of.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// What one vendor calls a customer. One identity belongs to one contact.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// The vendor. One that gives ids of several kinds has a name for each, such as `amocrm` and `amocrm.chats`.
    pub vendor: String,
    /// Whose ids they are. `None`: the vendor's own, the same for all of its accounts.
    #[serde(rename = "integration_id", default, skip_serializing_if = "Option::is_none")]
    pub integration: Option<IntegrationId>,
    /// The id.
    pub external_id: String,
}

/// What a message says of its author. A contact that has one of the identities is this one; else the dialogue's, unless
/// that one has another id of the same kind; else a new one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NewContact {
    /// What vendors call it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub identities: Vec<Identity>,
    /// What it is called. `None`: not told, what is known stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its telephone number. `None`: not told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    /// Its e-mail address. `None`: not told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
}

/// What a CRM knows a dialogue as.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CrmReferences {
    /// The CRM's integration.
    #[serde(rename = "integration_id", skip_serializing_if = "Option::is_none")]
    pub integration: Option<IntegrationId>,
    /// The lead (the deal).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lead_id: Option<String>,
    /// The customer, as the CRM numbers them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contact_id: Option<String>,
    /// The source that the chat came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_external_id: Option<String>,
}

impl CrmReferences {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Notes what is not as the contract asks; `at` is the field they came in.
    pub fn check(&self, violations: &mut Violations, at: &str) {
        for (name, value) in [
            ("lead_id", &self.lead_id),
            ("contact_id", &self.contact_id),
            ("source_external_id", &self.source_external_id),
        ] {
            let good = value.as_deref().is_none_or(|value| is_word(value, MAX_ID_CHARS));
            violations.require(
                good,
                &format!("{at}.{name}"),
                "may have up to 256 characters, without U+0000",
            );
        }
    }
}

/// The longest id at a vendor, in characters.
pub const MAX_ID_CHARS: usize = 256;
/// The longest name, telephone number or e-mail address, in characters.
pub const MAX_WORD_CHARS: usize = 500;
/// How many identities one message may name.
pub const MAX_IDENTITIES: usize = 10;

fn is_word(text: &str, most: usize) -> bool {
    text.chars().count() <= most && !text.contains('\0')
}

impl NewContact {
    /// Notes what is not as the contract asks; `at` is the field it came in.
    pub fn check(&self, violations: &mut Violations, at: &str) {
        violations.require(
            self.identities.len() <= MAX_IDENTITIES,
            &format!("{at}.identities"),
            "may be up to 10",
        );
        for (number, identity) in self.identities.iter().enumerate() {
            for (name, value, most) in
                [("vendor", &identity.vendor, 64), ("external_id", &identity.external_id, MAX_ID_CHARS)]
            {
                violations.require(
                    !value.is_empty() && is_word(value, most),
                    &format!("{at}.identities[{number}].{name}"),
                    "is required: up to 256 characters (a vendor: 64), without U+0000",
                );
            }
        }
        for (name, value) in [("name", &self.name), ("phone", &self.phone), ("email", &self.email)] {
            violations.require(
                value.as_deref().is_none_or(|value| is_word(value, MAX_WORD_CHARS)),
                &format!("{at}.{name}"),
                "may have up to 500 characters, without U+0000",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_told_is_left_out_of_what_is_kept() {
        let contact = NewContact { phone: Some("+7 900".to_owned()), ..NewContact::default() };
        assert_eq!(serde_json::to_string(&contact).unwrap(), r#"{"phone":"+7 900"}"#);
        assert_eq!(serde_json::from_str::<NewContact>("{}").unwrap(), NewContact::default());
        assert!(CrmReferences::default().is_empty());
        let references = CrmReferences { lead_id: Some("12345".to_owned()), ..CrmReferences::default() };
        assert_eq!(serde_json::to_string(&references).unwrap(), r#"{"lead_id":"12345"}"#);
    }

    #[test]
    fn every_bad_field_is_named() {
        let contact = NewContact {
            identities: vec![Identity {
                vendor: String::new(),
                integration: None,
                external_id: "a\0".to_owned(),
            }],
            name: Some("x".repeat(MAX_WORD_CHARS + 1)),
            ..NewContact::default()
        };
        let mut violations = Violations::default();
        contact.check(&mut violations, "contact");
        let references =
            CrmReferences { lead_id: Some("1".repeat(MAX_ID_CHARS + 1)), ..CrmReferences::default() };
        references.check(&mut violations, "references");
        let fields: Vec<_> =
            violations.finish().unwrap_err().fields.into_iter().map(|bad| bad.field).collect();
        assert_eq!(
            fields,
            [
                "contact.identities[0].vendor",
                "contact.identities[0].external_id",
                "contact.name",
                "references.lead_id"
            ]
        );
    }
}
