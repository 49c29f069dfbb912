//! What a CRM keeps of customers and deals, in words that fit every CRM. Ids are the CRM's own, as text.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{FieldViolation, Timestamp, connection::Connection, error::Violations, vendor::VendorError};

/// What a CRM keeps apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entity {
    /// Leads: deals that are to come of.
    Lead,
    /// Contacts: people.
    Contact,
}

impl fmt::Display for Entity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lead => "lead",
            Self::Contact => "contact",
        })
    }
}

/// A field that a CRM's account has given its leads or contacts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its id.
    pub id: String,
    /// Its name that is the same in every account, such as `PHONE`. Empty: it has none.
    pub code: String,
    /// Its name for people.
    pub name: String,
    /// What it holds, in the CRM's word: `text`, `select`…
    pub kind: String,
    /// What can be chosen. Empty: it is no choice.
    pub choices: Vec<Choice>,
    /// Whether the CRM asks for it.
    pub required: bool,
    /// Whether it is only read: computed by the CRM.
    pub computed: bool,
    /// Where it stands among the others.
    pub sort: i64,
}

/// One of a field's choices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// Its id.
    pub id: String,
    /// Its name for people.
    pub value: String,
    /// Its name that is the same in every account. Empty: it has none.
    pub code: String,
}

/// The way of leads, stage by stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pipeline {
    /// Its id.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// Where it stands among the others.
    pub sort: i64,
    /// Whether it is the account's main one.
    pub main: bool,
    /// Whether it is put aside.
    pub archived: bool,
    /// Its stages, in their order.
    pub stages: Vec<Stage>,
}

/// A stage of a pipeline. Its id may be the same in several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// Its id.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// Where it stands among the others.
    pub sort: i64,
    /// Its colour, such as `#99ccff`.
    pub color: String,
    /// What it means.
    pub kind: StageKind,
}

/// What a stage means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StageKind {
    /// Nothing of its own.
    Ordinary,
    /// Nobody has accepted its leads yet.
    Incoming,
    /// The deal is made.
    Won,
    /// The deal is off.
    Lost,
}

/// Somebody who works in the account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Their id.
    pub id: String,
    /// Their name.
    pub name: String,
    /// Their e-mail address.
    pub email: String,
    /// Whether they may come in.
    pub active: bool,
    /// Whether they may do everything.
    pub admin: bool,
}

/// A tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tag {
    /// Its id.
    pub id: String,
    /// What it says.
    pub name: String,
}

/// The values of one field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FieldValue {
    /// The field.
    pub field_id: String,
    /// The field's name that is the same in every account. Empty: it has none.
    pub code: String,
    /// The field's name for people.
    pub name: String,
    /// What it holds, in the CRM's word.
    pub kind: String,
    /// Its values: one, or several where the field takes several.
    pub values: Vec<OneValue>,
}

/// One value of a field.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct OneValue {
    /// What it says: mostly a text, a number or a yes or no. Null in a change that chooses by id or code.
    pub value: Value,
    /// The choice. Empty: it is none.
    pub choice_id: String,
    /// The choice's code, such as `WORK`. Empty: it has none.
    pub choice_code: String,
}

/// A lead.
#[derive(Debug, Clone, PartialEq)]
pub struct Lead {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it is worth, in the account's currency.
    pub price: i64,
    /// Its pipeline.
    pub pipeline_id: String,
    /// Its stage in that.
    pub stage_id: String,
    /// Who looks after it. Empty: nobody.
    pub responsible_user_id: String,
    /// Its tags.
    pub tags: Vec<Tag>,
    /// Its fields that have values.
    pub fields: Vec<FieldValue>,
    /// Its contacts, the main one first.
    pub contact_ids: Vec<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
    /// When it was won or lost. `None`: it wasn't.
    pub closed_at: Option<Timestamp>,
}

/// A contact.
#[derive(Debug, Clone, PartialEq)]
pub struct Contact {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Who looks after it. Empty: nobody.
    pub responsible_user_id: String,
    /// Its tags.
    pub tags: Vec<Tag>,
    /// Its fields that have values.
    pub fields: Vec<FieldValue>,
    /// Its leads.
    pub lead_ids: Vec<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
}

/// What to change of a lead. What is `None` or empty stays as it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LeadPatch {
    /// Its name.
    pub name: Option<String>,
    /// What it is worth.
    pub price: Option<i64>,
    /// Its pipeline; with it goes a stage of that.
    pub pipeline_id: Option<String>,
    /// Its stage.
    pub stage_id: Option<String>,
    /// Who looks after it.
    pub responsible_user_id: Option<String>,
    /// Tags to add, by name.
    pub tags_added: Vec<String>,
    /// Tags to take away, by name.
    pub tags_removed: Vec<String>,
    /// Fields to write, whole.
    pub fields: Vec<FieldChange>,
}

/// A field to write: all its values are replaced by these.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldChange {
    /// The field's id, or its code.
    pub field: FieldRef,
    /// Its values. None: it is cleared.
    pub values: Vec<OneValue>,
}

/// How a field is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldRef {
    /// By its id.
    Id(String),
    /// By its code.
    Code(String),
}

/// A task to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTask {
    /// What it is about.
    pub entity: Entity,
    /// Which one.
    pub entity_id: String,
    /// What is to be done.
    pub text: String,
    /// Until when.
    pub due_at: Timestamp,
    /// What kind of task it is. `None`: the CRM's usual one.
    pub kind_id: Option<String>,
    /// Whose it is. `None`: as the CRM decides.
    pub responsible_user_id: Option<String>,
    /// Since when the same task, if it is there, is this one: made by a call whose end nobody saw. `None`: it is a new one.
    pub unless_since: Option<Timestamp>,
}

/// A note to add.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewNote {
    /// What it is about.
    pub entity: Entity,
    /// Which one.
    pub entity_id: String,
    /// What it says.
    pub text: String,
    /// Since when the same note, if it is there, is this one. `None`: it is a new one.
    pub unless_since: Option<Timestamp>,
}

/// The longest text of a task or note, in characters. The vendors say nothing; what is longer than this they cut.
pub const MAX_TEXT_CHARS: usize = 20_000;
/// How many tags, and how many fields, a change may name.
const MOST_CHANGES: usize = 100;

impl LeadPatch {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Names all that is wrong with it, but for what the CRM knows; `at` is its path in the request.
    pub fn check(&self, violations: &mut Violations, at: &str) {
        let field = |name: &str| format!("{at}.{name}");
        let fits = |text: &str| (1..=250).contains(&text.chars().count()) && !text.contains('\0');
        violations.require(!self.is_empty(), at, "must change something");
        violations.require(
            self.name.as_deref().is_none_or(fits),
            &field("name"),
            "must be 1 to 250 characters, without U+0000",
        );
        violations.require(self.price.is_none_or(|price| price >= 0), &field("price"), "must not be below 0");
        violations.require(
            self.pipeline_id.is_none() || self.stage_id.is_some(),
            &field("stage_id"),
            "is required with pipeline_id: a stage of that pipeline",
        );
        for (name, tags) in [("add_tags", &self.tags_added), ("remove_tags", &self.tags_removed)] {
            violations.require(tags.len() <= MOST_CHANGES, &field(name), "may be up to 100");
            for (number, tag) in tags.iter().enumerate() {
                let field = field(&format!("{name}[{number}]"));
                violations.require(fits(tag), &field, "must be 1 to 250 characters, without U+0000");
            }
        }
        violations.require(self.fields.len() <= MOST_CHANGES, &field("fields"), "may be up to 100");
        for (number, change) in self.fields.iter().enumerate() {
            let named = match &change.field {
                FieldRef::Id(name) | FieldRef::Code(name) => name,
            };
            let field = field(&format!("fields[{number}]"));
            violations.require(!named.is_empty(), &format!("{field}.field_id"), "is required, or code");
            violations.require(
                !self.fields[..number].iter().any(|other| other.field == change.field),
                &field,
                "is there twice",
            );
            violations.require(change.values.len() <= MOST_CHANGES, &field, "may have up to 100 values");
        }
    }
}

/// Notes a text that can't be a task's or a note's.
pub fn check_text(violations: &mut Violations, field: &str, text: &str) {
    violations.require(
        (1..=MAX_TEXT_CHARS).contains(&text.trim().chars().count()) && !text.contains('\0'),
        field,
        "is required: 1 to 20,000 characters, without U+0000",
    );
}

/// Why a CRM did not do as it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CrmError {
    /// What it was sent does not fit: the bad fields, named as in our own types (`stage_id`, `fields[0].values[1]`), with the
    /// remedy.
    #[error("the CRM refused {} fields", .0.len())]
    Invalid(Vec<FieldViolation>),
    /// What it is about is not there: deleted, merged into another, or never there.
    #[error("the {0} {1} is not there")]
    Gone(Entity, String),
    /// It said no, or nothing.
    #[error(transparent)]
    Vendor(#[from] VendorError),
}

/// Reads and changes what a CRM keeps. Lists come whole, however many calls that takes.
#[async_trait]
pub trait Crm: Send + Sync {
    /// The fields that the account has given its leads or contacts.
    async fn list_fields(&self, connection: &Connection, of: Entity) -> Result<Vec<Field>, CrmError>;

    /// The pipelines with their stages.
    async fn list_pipelines(&self, connection: &Connection) -> Result<Vec<Pipeline>, CrmError>;

    /// Who works in the account.
    async fn list_users(&self, connection: &Connection) -> Result<Vec<User>, CrmError>;

    /// The tags of leads or contacts.
    async fn list_tags(&self, connection: &Connection, of: Entity) -> Result<Vec<Tag>, CrmError>;

    /// Reads a lead. [`CrmError::Gone`]: there is none.
    async fn lead(&self, connection: &Connection, id: &str) -> Result<Lead, CrmError>;

    /// Reads a contact. [`CrmError::Gone`]: there is none.
    async fn contact(&self, connection: &Connection, id: &str) -> Result<Contact, CrmError>;

    /// Changes leads, as many together as the CRM takes. Answers for each in turn.
    ///
    /// # Errors
    /// When it is not known of each what came of it. Doing it again does no harm.
    async fn update_leads(
        &self,
        connection: &Connection,
        changes: &[(String, LeadPatch)],
    ) -> Result<Vec<Result<(), CrmError>>, CrmError>;

    /// Makes a task. Gives its id.
    async fn create_task(&self, connection: &Connection, task: &NewTask) -> Result<String, CrmError>;

    /// Adds a note. Gives its id.
    async fn add_note(&self, connection: &Connection, note: &NewNote) -> Result<String, CrmError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bad_fields(patch: &LeadPatch) -> Vec<String> {
        let mut violations = Violations::default();
        patch.check(&mut violations, "lead");
        violations.finish().err().map_or_else(Vec::new, |error| {
            error.fields.into_iter().map(|violation| violation.field).collect()
        })
    }

    #[test]
    fn what_is_wrong_with_a_change_is_named() {
        let change = |id: &str| FieldChange { field: FieldRef::Id(id.to_owned()), values: Vec::new() };
        let some = |text: &str| Some(text.to_owned());
        let good = LeadPatch { name: some("Deal"), ..LeadPatch::default() };
        assert_eq!(bad_fields(&good), [""; 0]);
        for (patch, field) in [
            (LeadPatch::default(), "lead"),
            (LeadPatch { name: some(""), ..good.clone() }, "lead.name"),
            (LeadPatch { price: Some(-1), ..good.clone() }, "lead.price"),
            (LeadPatch { pipeline_id: some("7"), ..good.clone() }, "lead.stage_id"),
            (LeadPatch { tags_added: vec![String::new()], ..good.clone() }, "lead.add_tags[0]"),
            (LeadPatch { fields: vec![change("")], ..good.clone() }, "lead.fields[0].field_id"),
            (LeadPatch { fields: vec![change("1"), change("1")], ..good.clone() }, "lead.fields[1]"),
        ] {
            assert_eq!(bad_fields(&patch), [field], "{patch:?}");
        }
    }
}
