//! What the vendor writes of leads, contacts and what is known about them.

use domain::{
    Timestamp,
    crm::{self, Choice, FieldValue, OneValue, StageKind},
};
use serde::Deserialize;
use serde_json::Value;

use crate::amocrm::lenient;

/// The stages that mean the same in every pipeline.
const WON: &str = "142";
const LOST: &str = "143";

fn moment(seconds: Option<i64>) -> Option<Timestamp> {
    seconds.filter(|seconds| *seconds > 0).and_then(|seconds| Timestamp::from_unix_timestamp(seconds).ok())
}

/// 0 is nobody: a robot, or an integration.
fn person(id: String) -> String {
    if id == "0" { String::new() } else { id }
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Field {
    #[serde(deserialize_with = "lenient::text")]
    id: String,
    #[serde(deserialize_with = "lenient::text")]
    name: String,
    #[serde(deserialize_with = "lenient::text")]
    code: String,
    #[serde(rename = "type", deserialize_with = "lenient::text")]
    kind: String,
    #[serde(deserialize_with = "lenient::number")]
    sort: Option<i64>,
    #[serde(deserialize_with = "lenient::flag")]
    is_required: bool,
    #[serde(deserialize_with = "lenient::flag")]
    is_computed: bool,
    #[serde(deserialize_with = "lenient::list")]
    enums: Vec<Enum>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Enum {
    #[serde(deserialize_with = "lenient::text")]
    id: String,
    #[serde(deserialize_with = "lenient::text")]
    value: String,
    #[serde(deserialize_with = "lenient::text")]
    code: String,
    #[serde(deserialize_with = "lenient::number")]
    sort: Option<i64>,
}

impl Field {
    pub(super) fn read(mut self) -> crm::Field {
        self.enums.sort_by_key(|choice| choice.sort);
        let choices = self.enums.into_iter();
        crm::Field {
            id: self.id,
            code: self.code,
            name: self.name,
            kind: self.kind,
            choices: choices
                .map(|choice| Choice { id: choice.id, value: choice.value, code: choice.code })
                .collect(),
            required: self.is_required,
            computed: self.is_computed,
            sort: self.sort.unwrap_or_default(),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Pipeline {
    #[serde(deserialize_with = "lenient::text")]
    id: String,
    #[serde(deserialize_with = "lenient::text")]
    name: String,
    #[serde(deserialize_with = "lenient::number")]
    sort: Option<i64>,
    #[serde(deserialize_with = "lenient::flag")]
    is_main: bool,
    #[serde(deserialize_with = "lenient::flag")]
    is_archive: bool,
    #[serde(rename = "_embedded", deserialize_with = "lenient::object")]
    embedded: Statuses,
}

#[derive(Default, Deserialize)]
struct Statuses {
    #[serde(default, deserialize_with = "lenient::list")]
    statuses: Vec<Status>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    #[serde(deserialize_with = "lenient::text")]
    id: String,
    #[serde(deserialize_with = "lenient::text")]
    name: String,
    #[serde(deserialize_with = "lenient::number")]
    sort: Option<i64>,
    #[serde(deserialize_with = "lenient::text")]
    color: String,
    #[serde(rename = "type", deserialize_with = "lenient::number")]
    kind: Option<i64>,
}

impl Pipeline {
    pub(super) fn read(self) -> crm::Pipeline {
        let stages = self.embedded.statuses.into_iter().map(|status| crm::Stage {
            kind: match (&*status.id, status.kind) {
                (WON, _) => StageKind::Won,
                (LOST, _) => StageKind::Lost,
                (_, Some(1)) => StageKind::Incoming,
                _ => StageKind::Ordinary,
            },
            id: status.id,
            name: status.name,
            sort: status.sort.unwrap_or_default(),
            color: status.color,
        });
        crm::Pipeline {
            id: self.id,
            name: self.name,
            sort: self.sort.unwrap_or_default(),
            main: self.is_main,
            archived: self.is_archive,
            stages: super::sorted(stages.collect(), |stage| stage.sort),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct User {
    #[serde(deserialize_with = "lenient::text")]
    id: String,
    #[serde(deserialize_with = "lenient::text")]
    name: String,
    #[serde(deserialize_with = "lenient::text")]
    email: String,
    #[serde(deserialize_with = "lenient::object")]
    rights: Rights,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Rights {
    #[serde(deserialize_with = "lenient::flag")]
    is_active: bool,
    #[serde(deserialize_with = "lenient::flag")]
    is_admin: bool,
}

impl User {
    pub(super) fn read(self) -> crm::User {
        let Rights { is_active, is_admin } = self.rights;
        crm::User { id: self.id, name: self.name, email: self.email, active: is_active, admin: is_admin }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Tag {
    #[serde(deserialize_with = "lenient::text")]
    id: String,
    #[serde(deserialize_with = "lenient::text")]
    name: String,
}

impl Tag {
    pub(super) fn read(self) -> crm::Tag {
        crm::Tag { id: self.id, name: self.name }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Held {
    #[serde(deserialize_with = "lenient::text")]
    field_id: String,
    #[serde(deserialize_with = "lenient::text")]
    field_code: String,
    #[serde(deserialize_with = "lenient::text")]
    field_name: String,
    #[serde(deserialize_with = "lenient::text")]
    field_type: String,
    #[serde(deserialize_with = "lenient::list")]
    values: Vec<OneOf>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct OneOf {
    value: Value,
    #[serde(deserialize_with = "lenient::text")]
    enum_id: String,
    #[serde(deserialize_with = "lenient::text")]
    enum_code: String,
}

fn values(fields: Vec<Held>) -> Vec<FieldValue> {
    let read = |field: Held| FieldValue {
        field_id: field.field_id,
        code: field.field_code,
        name: field.field_name,
        kind: field.field_type,
        values: field
            .values
            .into_iter()
            .map(|one| OneValue { value: one.value, choice_id: one.enum_id, choice_code: one.enum_code })
            .collect(),
    };
    fields.into_iter().map(read).collect()
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Lead {
    #[serde(deserialize_with = "lenient::text")]
    id: String,
    #[serde(deserialize_with = "lenient::text")]
    name: String,
    #[serde(deserialize_with = "lenient::number")]
    price: Option<i64>,
    #[serde(deserialize_with = "lenient::text")]
    responsible_user_id: String,
    #[serde(deserialize_with = "lenient::text")]
    status_id: String,
    #[serde(deserialize_with = "lenient::text")]
    pipeline_id: String,
    #[serde(deserialize_with = "lenient::number")]
    created_at: Option<i64>,
    #[serde(deserialize_with = "lenient::number")]
    updated_at: Option<i64>,
    #[serde(deserialize_with = "lenient::number")]
    closed_at: Option<i64>,
    #[serde(deserialize_with = "lenient::flag")]
    pub(super) is_deleted: bool,
    #[serde(deserialize_with = "lenient::list")]
    custom_fields_values: Vec<Held>,
    #[serde(rename = "_embedded", deserialize_with = "lenient::object")]
    embedded: Embedded,
}

/// What comes with a lead or a contact.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Embedded {
    #[serde(deserialize_with = "lenient::list")]
    tags: Vec<Tag>,
    #[serde(deserialize_with = "lenient::list")]
    contacts: Vec<Linked>,
    #[serde(deserialize_with = "lenient::list")]
    leads: Vec<Linked>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Linked {
    #[serde(deserialize_with = "lenient::text")]
    id: String,
    #[serde(deserialize_with = "lenient::flag")]
    is_main: bool,
}

impl Lead {
    pub(super) fn read(self) -> crm::Lead {
        let Embedded { tags, mut contacts, .. } = self.embedded;
        contacts.sort_by_key(|contact| !contact.is_main);
        let created_at = moment(self.created_at).unwrap_or(Timestamp::UNIX_EPOCH);
        crm::Lead {
            id: self.id,
            name: self.name,
            price: self.price.unwrap_or_default(),
            pipeline_id: self.pipeline_id,
            stage_id: self.status_id,
            responsible_user_id: person(self.responsible_user_id),
            tags: tags.into_iter().map(Tag::read).collect(),
            fields: values(self.custom_fields_values),
            contact_ids: contacts.into_iter().map(|contact| contact.id).collect(),
            created_at,
            updated_at: moment(self.updated_at).unwrap_or(created_at),
            closed_at: moment(self.closed_at),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Contact {
    #[serde(deserialize_with = "lenient::text")]
    id: String,
    #[serde(deserialize_with = "lenient::text")]
    name: String,
    #[serde(deserialize_with = "lenient::text")]
    responsible_user_id: String,
    #[serde(deserialize_with = "lenient::number")]
    created_at: Option<i64>,
    #[serde(deserialize_with = "lenient::number")]
    updated_at: Option<i64>,
    #[serde(deserialize_with = "lenient::flag")]
    pub(super) is_deleted: bool,
    #[serde(deserialize_with = "lenient::list")]
    custom_fields_values: Vec<Held>,
    #[serde(rename = "_embedded", deserialize_with = "lenient::object")]
    embedded: Embedded,
}

impl Contact {
    pub(super) fn read(self) -> crm::Contact {
        let Embedded { tags, leads, .. } = self.embedded;
        let created_at = moment(self.created_at).unwrap_or(Timestamp::UNIX_EPOCH);
        crm::Contact {
            id: self.id,
            name: self.name,
            responsible_user_id: person(self.responsible_user_id),
            tags: tags.into_iter().map(Tag::read).collect(),
            fields: values(self.custom_fields_values),
            lead_ids: leads.into_iter().map(|lead| lead.id).collect(),
            created_at,
            updated_at: moment(self.updated_at).unwrap_or(created_at),
        }
    }
}

/// What was changed: one thing, or several under their name.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Changed {
    #[serde(deserialize_with = "lenient::text")]
    id: String,
    #[serde(rename = "_embedded", deserialize_with = "lenient::object")]
    embedded: Embedded,
}

impl Changed {
    pub(super) fn tells_of(&self, id: &str) -> bool {
        self.id == id || self.embedded.leads.iter().any(|lead| lead.id == id)
    }
}

/// What was made, under its name.
#[derive(Default, Deserialize)]
pub(super) struct Made {
    #[serde(default, rename = "_embedded", deserialize_with = "lenient::object")]
    embedded: serde_json::Map<String, Value>,
}

/// A task or a note, as far as it is compared.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Written {
    #[serde(deserialize_with = "lenient::text")]
    id: String,
    #[serde(deserialize_with = "lenient::number")]
    created_at: Option<i64>,
    /// A task's.
    #[serde(deserialize_with = "lenient::text")]
    text: String,
    #[serde(deserialize_with = "lenient::text")]
    entity_id: String,
    #[serde(deserialize_with = "lenient::number")]
    complete_till: Option<i64>,
    /// A note's.
    #[serde(deserialize_with = "lenient::object")]
    params: NoteText,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NoteText {
    #[serde(deserialize_with = "lenient::text")]
    text: String,
}

impl Written {
    /// The id of the newest since a moment of which `same` holds. The vendor gives lists as [`Made`] ones.
    pub(super) fn find(listed: Made, since: Timestamp, same: impl Fn(&Self) -> bool) -> Option<String> {
        let all: Vec<Self> = lenient::list(listed.embedded.into_iter().next()?.1).ok()?;
        let since = since.unix_timestamp();
        let found = all.into_iter().find(|one| one.created_at.is_some_and(|at| at >= since) && same(one));
        found.map(|one| one.id)
    }

    pub(super) fn is_task(&self, entity_id: &str, text: &str, due_at: Timestamp) -> bool {
        self.entity_id == entity_id
            && self.text == text
            && self.complete_till == Some(due_at.unix_timestamp())
    }

    pub(super) fn is_note(&self, text: &str) -> bool {
        self.params.text == text
    }
}

impl Made {
    /// The id of the first. `None`: there is none.
    pub(super) fn first(self) -> Option<String> {
        let made = self.embedded.into_iter().next()?.1;
        let made: Vec<Linked> = lenient::list(made).ok()?;
        made.into_iter().next().map(|made| made.id).filter(|id| !id.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_lead_is_read_as_the_vendor_writes_it() {
        let lead: Lead = serde_json::from_value(json!({
            "id": 5001, "name": "Deal", "price": 15000, "responsible_user_id": 0, "status_id": 142, "pipeline_id": "7700001",
            "created_at": 1_772_500_000, "updated_at": "1772532930", "closed_at": null, "is_deleted": false,
            "custom_fields_values": [
                { "field_id": 88001, "field_name": "City", "field_code": null, "field_type": "text", "values": [{ "value": "Tula" }] },
                { "field_id": 88002, "field_name": "Products", "field_code": null, "field_type": "multiselect",
                  "values": [{ "value": "A", "enum_id": 71, "enum_code": null }, { "value": "B", "enum_id": 72 }] },
            ],
            "_embedded": { "tags": [{ "id": 3301, "name": "vip", "color": null }], "companies": [],
                "contacts": [{ "id": 6002, "is_main": false }, { "id": 6001, "is_main": true }] },
        }))
        .unwrap();
        let lead = lead.read();
        assert_eq!((&*lead.id, &*lead.stage_id, &*lead.pipeline_id), ("5001", "142", "7700001"));
        assert_eq!((lead.price, &*lead.responsible_user_id), (15_000, ""));
        assert_eq!(lead.contact_ids, ["6001", "6002"]);
        assert_eq!(lead.updated_at.unix_timestamp(), 1_772_532_930);
        assert_eq!(lead.fields[0].values[0].value, "Tula");
        assert_eq!(lead.fields[1].values[1].choice_id, "72");
        assert_eq!(lead.tags, [crm::Tag { id: "3301".to_owned(), name: "vip".to_owned() }]);
    }

    #[test]
    fn what_php_leaves_out_is_nothing() {
        for value in [
            json!({ "id": 1 }),
            json!({ "id": 1, "custom_fields_values": null, "_embedded": [] }),
            json!({ "id": 1, "custom_fields_values": {}, "_embedded": { "tags": null, "contacts": {} } }),
        ] {
            let lead = serde_json::from_value::<Lead>(value.clone()).unwrap().read();
            assert!(lead.fields.is_empty() && lead.tags.is_empty() && lead.contact_ids.is_empty(), "{value}");
        }
    }

    #[test]
    fn stages_are_known_by_what_they_mean() {
        let pipeline: Pipeline = serde_json::from_value(json!({
            "id": 7_700_001, "name": "Sales", "sort": 1, "is_main": true, "is_archive": false,
            "_embedded": { "statuses": [
                { "id": 143, "name": "Lost", "sort": 11000, "type": 0 }, { "id": 142, "name": "Won", "sort": 10000, "type": 0 },
                { "id": 64_000_000, "name": "Incoming", "sort": 10, "type": 1 }, { "id": 64_000_001, "name": "New", "sort": 20 },
            ] },
        }))
        .unwrap();
        let kinds: Vec<_> = pipeline.read().stages.into_iter().map(|stage| stage.kind).collect();
        assert_eq!(kinds, [StageKind::Incoming, StageKind::Ordinary, StageKind::Won, StageKind::Lost]);
    }
}
