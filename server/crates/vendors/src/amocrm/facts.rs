//! Reads single facts out of a hook's tree, whatever shape they come in: numbers as strings and the reverse, empty texts for
//! nothing, lists where objects are expected. What can't be read is not there.

use domain::Timestamp;
use serde_json::{Map, Value, json};
use time::format_description::well_known::Rfc3339;

/// How a member is put into our words.
#[derive(Debug, Clone, Copy)]
pub(super) enum Word {
    /// A number without fraction, such as an id.
    Number,
    /// A text that is not empty.
    Text,
    /// A yes or no.
    Flag,
    /// A moment.
    Moment,
}

impl Word {
    /// Reads a value. `None`: there is nothing.
    pub(super) fn read(self, value: &Value) -> Option<Value> {
        match self {
            Self::Number => number(value).map(Value::from),
            Self::Text => text(value).map(Value::from),
            Self::Flag => flag(value).map(Value::from),
            Self::Moment => moment(value),
        }
    }
}

pub(super) fn number(value: &Value) -> Option<i64> {
    match value {
        Value::String(text) => text.trim().parse().ok(),
        Value::Number(number) => number.as_i64(),
        _ => None,
    }
}

pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

fn flag(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        other => match text(other)?.as_str() {
            "1" | "true" | "Y" => Some(true),
            "0" | "false" | "N" => Some(false),
            _ => None,
        },
    }
}

/// Seconds since 1970 become RFC 3339. A date without its zone stays as it came: whose zone it is, nobody says.
fn moment(value: &Value) -> Option<Value> {
    match seconds(value) {
        Some(at) => at.format(&Rfc3339).ok().map(Value::String),
        None => text(value).filter(|text| number(value).is_none() && text.len() <= 40).map(Value::String),
    }
}

/// A moment given in seconds since 1970. Zero is none.
pub(super) fn seconds(value: &Value) -> Option<Timestamp> {
    let seconds = number(value).filter(|seconds| *seconds > 0)?;
    Timestamp::from_unix_timestamp(seconds).ok()
}

/// The members of an object; of a list, by their index. Nothing of all else.
pub(super) fn member<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    match value {
        Value::Object(members) => members.get(name),
        Value::Array(items) => name.parse::<usize>().ok().and_then(|at| items.get(at)),
        _ => None,
    }
}

/// The items of a list, or of an object whose keys are numbers, in their order; something single is a list of one.
pub(super) fn items(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(members) => {
            let mut numbered: Vec<(u64, &Value)> = Vec::with_capacity(members.len());
            for (name, item) in members {
                match name.parse() {
                    Ok(at) => numbered.push((at, item)),
                    Err(_) => return vec![value],
                }
            }
            numbered.sort_by_key(|(at, _)| *at);
            numbered.into_iter().map(|(_, item)| item).collect()
        }
        Value::Null => Vec::new(),
        scalar => vec![scalar],
    }
}

/// The tags: `[{id, name}]`.
pub(super) fn tags(value: &Value) -> Value {
    let tags = items(value).into_iter().filter_map(|tag| {
        let mut known = Map::new();
        put(&mut known, "id", member(tag, "id").and_then(number).map(Value::from));
        put(&mut known, "name", member(tag, "name").and_then(text).map(Value::from));
        (!known.is_empty()).then_some(Value::Object(known))
    });
    tags.collect()
}

/// The fields of the account's own: `[{id, code, name, values: [{value, enum_id, subtype}]}]`. A date comes as a bare value.
pub(super) fn custom_fields(value: &Value) -> Value {
    let fields = items(value).into_iter().filter_map(|field| {
        let mut known = Map::new();
        put(&mut known, "id", member(field, "id").and_then(number).map(Value::from));
        put(&mut known, "code", member(field, "code").and_then(text).map(Value::from));
        put(&mut known, "name", member(field, "name").and_then(text).map(Value::from));
        if known.is_empty() {
            return None;
        }
        let values = member(field, "values").map(items).unwrap_or_default();
        let values = values.into_iter().map(|value| {
            if !matches!(value, Value::Object(_)) {
                return json!({ "value": value });
            }
            let mut known = Map::new();
            put(&mut known, "value", member(value, "value").cloned());
            put(&mut known, "enum_id", member(value, "enum").and_then(number).map(Value::from));
            put(&mut known, "subtype", member(value, "subtype").and_then(text).map(Value::from));
            Value::Object(known)
        });
        known.insert("values".to_owned(), values.collect());
        Some(Value::Object(known))
    });
    fields.collect()
}

/// The ids in a list of entities, or of ids, or in a map by ids.
pub(super) fn ids(value: &Value) -> Vec<i64> {
    let of = |item: &Value| {
        number(item).or_else(|| ["id", "ID"].iter().find_map(|name| member(item, name).and_then(number)))
    };
    items(value).into_iter().filter_map(of).collect()
}

/// Puts what is there.
pub(super) fn put(into: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    if let Some(value) = value {
        into.insert(name.to_owned(), value);
    }
}
