//! What an account keeps: everything as the JSON that its API shows, by kind and id.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// An account's things.
#[derive(Debug)]
pub(super) struct Account {
    /// By the name of their collection, such as `leads` or `leads/custom_fields`.
    things: BTreeMap<String, BTreeMap<u64, Value>>,
    next_id: u64,
    /// Whether whoever consented is an administrator: others see no users and change no sources.
    pub(super) admin: bool,
    /// Whether the account is paid for.
    pub(super) paid: bool,
    /// Whether "multiple sources" is switched on in the integration.
    pub(super) multiple_sources: bool,
    /// The ids of sources that were deleted, by their external id.
    pub(super) old_sources: BTreeMap<String, u64>,
    /// The first part of its host.
    pub(super) subdomain: String,
}

impl Default for Account {
    fn default() -> Self {
        Self {
            things: BTreeMap::new(),
            next_id: 90_001,
            admin: true,
            paid: true,
            multiple_sources: true,
            old_sources: BTreeMap::new(),
            subdomain: "acme".to_owned(),
        }
    }
}

impl Account {
    /// Puts a thing in, in the place of an older one. Gives its id, which it gets where it has none.
    pub(super) fn put(&mut self, kind: &str, mut thing: Value) -> u64 {
        let id = thing["id"].as_u64().unwrap_or_else(|| {
            self.next_id += 1;
            self.next_id
        });
        thing["id"] = json!(id);
        self.things.entry(kind.to_owned()).or_default().insert(id, thing);
        id
    }

    pub(super) fn get(&self, kind: &str, id: u64) -> Option<&Value> {
        self.things.get(kind)?.get(&id)
    }

    pub(super) fn get_mut(&mut self, kind: &str, id: u64) -> Option<&mut Value> {
        self.things.get_mut(kind)?.get_mut(&id)
    }

    pub(super) fn remove(&mut self, kind: &str, id: u64) -> Option<Value> {
        self.things.get_mut(kind)?.remove(&id)
    }

    pub(super) fn all(&self, kind: &str) -> Vec<Value> {
        self.things.get(kind).into_iter().flat_map(BTreeMap::values).cloned().collect()
    }

    /// Takes everything out of a collection.
    pub(super) fn clear(&mut self, kind: &str) {
        self.things.remove(kind);
    }

    /// Merges a lead into another.
    pub(super) fn merge_leads(&mut self, gone: u64, into: u64) {
        let Some(old) = self.remove("leads", gone) else { return };
        for note in self.things.entry("leads/notes".to_owned()).or_default().values_mut() {
            if note["entity_id"].as_u64() == Some(gone) {
                note["entity_id"] = json!(into);
            }
        }
        let contacts = old["_embedded"]["contacts"].as_array().cloned().unwrap_or_default();
        let Some(lead) = self.get_mut("leads", into) else { return };
        if let Some(held) = lead["_embedded"]["contacts"].as_array_mut() {
            let news = contacts.into_iter().filter(|new| !held.iter().any(|known| known["id"] == new["id"]));
            let news: Vec<_> = news.map(|new| json!({ "id": new["id"], "is_main": false })).collect();
            held.extend(news);
        }
    }

    /// What is wrong with a change of a lead: code and path of each mistake.
    pub(super) fn mistakes(&self, lead: &Value, change: &Value) -> Vec<(&'static str, String)> {
        const CHOICE: &str = "NotSupportedChoice";
        let mut mistakes = Vec::new();
        let pipeline = change["pipeline_id"].as_u64().or(lead["pipeline_id"].as_u64());
        let pipeline = pipeline.and_then(|id| self.get("leads/pipelines", id));
        if !change["pipeline_id"].is_null() && pipeline.is_none() {
            mistakes.push((CHOICE, "pipeline_id".to_owned()));
        }
        let is_stage = |pipeline: &Value| {
            let stages = pipeline["_embedded"]["statuses"].as_array();
            stages.into_iter().flatten().any(|stage| stage["id"] == change["status_id"])
        };
        if !change["status_id"].is_null() && !pipeline.is_some_and(is_stage) {
            mistakes.push((CHOICE, "status_id".to_owned()));
        }
        if let Some(user) = change["responsible_user_id"].as_u64()
            && self.get("users", user).is_none()
        {
            mistakes.push((CHOICE, "responsible_user_id".to_owned()));
        }
        for (place, field) in change["custom_fields_values"].as_array().into_iter().flatten().enumerate() {
            let at = format!("custom_fields_values.{place}");
            let known = self.all("leads/custom_fields").into_iter().find(|known| {
                known["id"] == field["field_id"]
                    || !known["code"].is_null() && known["code"] == field["field_code"]
            });
            let Some(known) = known else {
                mistakes.push((CHOICE, format!("{at}.field_id")));
                continue;
            };
            for (place, value) in field["values"].as_array().into_iter().flatten().enumerate() {
                let enums = known["enums"].as_array();
                if !value["enum_id"].is_null()
                    && !enums.into_iter().flatten().any(|choice| choice["id"] == value["enum_id"])
                {
                    mistakes.push((CHOICE, format!("{at}.values.{place}.enum_id")));
                }
            }
        }
        mistakes
    }

    /// Changes a lead, as far as the account understands it.
    pub(super) fn change(&mut self, id: u64, change: &Value, now: i64) {
        let fields: Vec<Value> = self.all("leads/custom_fields");
        let mut added: Vec<Value> = Vec::new();
        for tag in change["tags_to_add"].as_array().into_iter().flatten() {
            let held = self.all("leads/tags").into_iter().find(|held| held["name"] == tag["name"]);
            added.push(held.unwrap_or_else(|| {
                let id = self.put("leads/tags", json!({ "name": tag["name"], "color": null }));
                json!({ "id": id, "name": tag["name"], "color": null })
            }));
        }
        let Some(lead) = self.get_mut("leads", id) else { return };
        for name in ["name", "price", "pipeline_id", "status_id", "responsible_user_id"] {
            if !change[name].is_null() {
                lead[name] = change[name].clone();
            }
        }
        lead["updated_at"] = json!(now);
        let mut tags = lead["_embedded"]["tags"].as_array().cloned().unwrap_or_default();
        tags.retain(|tag| {
            !change["tags_to_delete"].as_array().into_iter().flatten().any(|gone| gone["id"] == tag["id"])
        });
        tags.retain(|tag| !added.iter().any(|added| added["id"] == tag["id"]));
        tags.extend(added);
        if !lead["_embedded"].is_object() {
            lead["_embedded"] = json!({});
        }
        lead["_embedded"]["tags"] = json!(tags);
        for written in change["custom_fields_values"].as_array().into_iter().flatten() {
            let Some(known) = fields.iter().find(|known| known["id"] == written["field_id"]) else {
                continue;
            };
            let mut values = lead["custom_fields_values"].as_array().cloned().unwrap_or_default();
            values.retain(|value| value["field_id"] != known["id"]);
            if let Some(items) = written["values"].as_array() {
                let shown = items.iter().map(|item| {
                    let choices = known["enums"].as_array();
                    let choice = choices.into_iter().flatten().find(|choice| choice["id"] == item["enum_id"]);
                    match choice {
                        Some(choice) => {
                            json!({ "value": choice["value"], "enum_id": choice["id"], "enum_code": null })
                        }
                        None => item.clone(),
                    }
                });
                values.push(json!({
                    "field_id": known["id"], "field_name": known["name"], "field_code": known["code"],
                    "field_type": known["type"], "values": shown.collect::<Vec<_>>(),
                }));
            }
            lead["custom_fields_values"] = if values.is_empty() { Value::Null } else { json!(values) };
        }
    }
}
