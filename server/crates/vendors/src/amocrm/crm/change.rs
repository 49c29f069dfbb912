//! Changes, in the vendor's words; and what the vendor finds wrong with them, in ours.

use domain::{
    FieldViolation,
    crm::{CrmError, Entity, FieldRef, LeadPatch, OneValue, Tag},
};
use serde_json::{Map, Value, json};

use crate::amocrm::rest::{Refusal, Rejection};

/// Reads an id of the vendor's.
///
/// # Errors
/// A text that is none, as the field at fault.
pub(super) fn number(field: &str, id: &str) -> Result<u64, CrmError> {
    id.parse().map_err(|_| {
        CrmError::Invalid(vec![FieldViolation::new(
            field,
            "must be an id as the CRM lists it: a whole number",
        )])
    })
}

/// Writes what is to change of a lead that has these tags.
pub(super) fn lead_body(lead: u64, patch: &LeadPatch, held: &[Tag]) -> Result<Value, CrmError> {
    let mut body = Map::from_iter([("id".to_owned(), json!(lead))]);
    let mut put = |name: &str, value: Value| drop(body.insert(name.to_owned(), value));
    if let Some(name) = &patch.name {
        put("name", json!(name));
    }
    if let Some(price) = patch.price {
        put("price", json!(price));
    }
    for (name, field, id) in [
        ("pipeline_id", "pipeline_id", &patch.pipeline_id),
        ("status_id", "stage_id", &patch.stage_id),
        ("responsible_user_id", "responsible_user_id", &patch.responsible_user_id),
    ] {
        if let Some(id) = id {
            put(name, json!(number(field, id)?));
        }
    }
    if !patch.tags_added.is_empty() {
        put("tags_to_add", patch.tags_added.iter().map(|name| json!({ "name": name })).collect());
    }
    let named =
        |tag: &Tag| patch.tags_removed.iter().any(|name| name.to_lowercase() == tag.name.to_lowercase());
    let removed: Vec<_> = held.iter().filter(|tag| named(tag)).collect();
    if !removed.is_empty() {
        let ids = removed.into_iter().map(|tag| Ok(json!({ "id": number("remove_tags", &tag.id)? })));
        put("tags_to_delete", ids.collect::<Result<_, CrmError>>()?);
    }
    if !patch.fields.is_empty() {
        let mut fields = Vec::with_capacity(patch.fields.len());
        for (place, change) in patch.fields.iter().enumerate() {
            let at = format!("fields[{place}]");
            let mut field = match &change.field {
                FieldRef::Id(id) => json!({ "field_id": number(&format!("{at}.field_id"), id)? }),
                FieldRef::Code(code) => json!({ "field_code": code }),
            };
            let values = change.values.iter().enumerate();
            let values = values.map(|(place, value)| item(&format!("{at}.values[{place}]"), value));
            // A field is cleared by null, not by an empty list.
            let values: Vec<_> = values.collect::<Result<_, _>>()?;
            field["values"] = if values.is_empty() { Value::Null } else { json!(values) };
            fields.push(field);
        }
        put("custom_fields_values", json!(fields));
    }
    Ok(Value::Object(body))
}

fn item(at: &str, value: &OneValue) -> Result<Value, CrmError> {
    let mut item = Map::new();
    if !value.value.is_null() {
        item.insert("value".to_owned(), value.value.clone());
    }
    if !value.choice_id.is_empty() {
        item.insert("enum_id".to_owned(), json!(number(&format!("{at}.choice_id"), &value.choice_id)?));
    }
    if !value.choice_code.is_empty() {
        item.insert("enum_code".to_owned(), json!(value.choice_code));
    }
    Ok(Value::Object(item))
}

/// What a refused call was about.
#[derive(Clone, Copy)]
pub(super) struct About<'a>(pub(super) Entity, pub(super) &'a str);

impl About<'_> {
    /// Says that what it is about is not there.
    pub(super) fn gone(self) -> CrmError {
        CrmError::Gone(self.0, self.1.to_owned())
    }

    /// Says in our words why a call was refused.
    pub(super) fn explain(self, refusal: Refusal) -> CrmError {
        let Refusal { error, rejections } = refusal;
        if super::is_not_found(&error) || rejections.iter().any(is_about_itself) {
            return self.gone();
        }
        if rejections.is_empty() || !matches!(error.http_status, Some(400 | 422)) {
            return CrmError::Vendor(*error);
        }
        CrmError::Invalid(rejections.iter().map(violation).collect())
    }
}

/// Whether a mistake is that the thing is not there: named by its id, or by a code that can mean nothing else.
fn is_about_itself(rejection: &Rejection) -> bool {
    let path = rejection.path.as_str();
    matches!(path, "id" | "entity_id") || rejection.code == "EntityNotFound" && path.is_empty()
}

fn violation(rejection: &Rejection) -> FieldViolation {
    let field = named(&rejection.path);
    let remedy = match (rejection.code.as_str(), field.rsplit('.').next().unwrap_or_default()) {
        ("FieldMissing", _) => "give it",
        (_, "stage_id" | "pipeline_id") => {
            "the stage or its pipeline is not there any more, or the stage is of another pipeline: list the pipelines with \
             refresh, and give both of one"
        }
        (_, "responsible_user_id") => "list the users with refresh, and give one that is active",
        (_, "kind_id") => "give the id of a task type of the account, or none",
        (_, "field_id" | "code") => "list the fields with refresh, and give one of them",
        (_, "value" | "choice_id" | "choice_code") => {
            "give what the field's type takes; list the fields with refresh to see its choices"
        }
        _ => "correct it",
    };
    let said = if rejection.detail.is_empty() { &rejection.code } else { &rejection.detail };
    FieldViolation::new(field, format!("is refused by the CRM ({said}): {remedy}"))
}

/// What the vendor's path is in our words.
fn named(path: &str) -> String {
    let mut field = String::new();
    let in_field = path.starts_with("custom_fields_values");
    for part in path.split('.') {
        let part = match part {
            "custom_fields_values" => "fields",
            "status_id" => "stage_id",
            "task_type_id" => "kind_id",
            "complete_till" => "due_time",
            "params" | "_embedded" => continue,
            "tags_to_add" | "tags" => "add_tags",
            "tags_to_delete" => "remove_tags",
            "field_code" if in_field => "code",
            "enum_id" if in_field => "choice_id",
            "enum_code" if in_field => "choice_code",
            number if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) => {
                field.extend(["[", number, "]"]);
                continue;
            }
            // A tag is a name in our words.
            "name" if field.contains("_tags[") => continue,
            part => part,
        };
        if !field.is_empty() {
            field.push('.');
        }
        field.push_str(part);
    }
    if field.is_empty() { "request".to_owned() } else { field }
}

#[cfg(test)]
mod tests {
    use domain::{
        crm::FieldChange,
        vendor::{Applied, FailureKind, Retry, VendorError},
    };

    use super::*;

    fn patch() -> LeadPatch {
        LeadPatch {
            pipeline_id: Some("7700001".to_owned()),
            stage_id: Some("142".to_owned()),
            tags_added: vec!["bot".to_owned()],
            tags_removed: vec!["VIP".to_owned(), "none".to_owned()],
            fields: vec![
                FieldChange { field: FieldRef::Code("PHONE".to_owned()), values: Vec::new() },
                FieldChange {
                    field: FieldRef::Id("88002".to_owned()),
                    values: vec![OneValue { choice_id: "71".to_owned(), ..OneValue::default() }],
                },
            ],
            ..LeadPatch::default()
        }
    }

    #[test]
    fn a_change_is_written_as_the_vendor_wants_it() {
        let held = [Tag { id: "3301".to_owned(), name: "vip".to_owned() }];
        assert_eq!(
            lead_body(5001, &patch(), &held).unwrap(),
            json!({
                "id": 5001, "pipeline_id": 7_700_001, "status_id": 142,
                "tags_to_add": [{ "name": "bot" }], "tags_to_delete": [{ "id": 3301 }],
                "custom_fields_values": [
                    { "field_code": "PHONE", "values": null },
                    { "field_id": 88002, "values": [{ "enum_id": 71 }] },
                ],
            })
        );
        let bad = LeadPatch { stage_id: Some("won".to_owned()), ..LeadPatch::default() };
        let CrmError::Invalid(fields) = lead_body(1, &bad, &[]).unwrap_err() else { panic!("not the field") };
        assert_eq!(fields[0].field, "stage_id");
    }

    fn refusal(status: u16, code: &str, path: &str) -> Refusal {
        Refusal {
            error: Box::new(VendorError {
                vendor: "amocrm",
                operation: "update_lead",
                kind: if status == 404 { FailureKind::NotFound } else { FailureKind::Other },
                http_status: Some(status),
                detail: String::new(),
                excerpt: None,
                applied: Applied::No,
                retry: Retry::Never,
            }),
            rejections: vec![Rejection {
                request_id: "0".to_owned(),
                code: code.to_owned(),
                path: path.to_owned(),
                detail: "The value you selected is not a valid choice.".to_owned(),
            }],
        }
    }

    #[test]
    fn what_the_vendor_finds_wrong_is_told_in_our_words() {
        let about = About(Entity::Lead, "5001");
        for (path, field, remedy) in [
            ("status_id", "stage_id", "list the pipelines"),
            ("custom_fields_values.1.field_id", "fields[1].field_id", "list the fields"),
            ("custom_fields_values.1.values.0.enum_id", "fields[1].values[0].choice_id", "its choices"),
            ("tags_to_add.0.name", "add_tags[0]", "correct it"),
            ("responsible_user_id", "responsible_user_id", "list the users"),
        ] {
            match about.explain(refusal(400, "NotSupportedChoice", path)) {
                CrmError::Invalid(fields) => {
                    assert_eq!(fields[0].field, field);
                    assert!(fields[0].detail.contains(remedy), "{}", fields[0].detail);
                }
                other => panic!("{path}: {other:?}"),
            }
        }
        let gone = CrmError::Gone(Entity::Lead, "5001".to_owned());
        assert_eq!(about.explain(refusal(404, "", "")), gone);
        assert_eq!(about.explain(refusal(400, "NotSupportedChoice", "id")), gone);
        assert!(matches!(about.explain(refusal(500, "", "status_id")), CrmError::Vendor(_)));
    }
}
