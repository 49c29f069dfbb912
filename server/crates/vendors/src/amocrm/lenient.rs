//! What PHP makes of JSON: an object without members is written `[]`, a list without items `null` or `{}`, and a number may
//! come as a text.

use serde::{Deserialize, Deserializer, de, de::DeserializeOwned};
use serde_json::Value;

/// Reads an object that may be absent: `null`, `[]`, or anything else that is no object.
pub(super) fn object<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    match Value::deserialize(deserializer)? {
        object @ Value::Object(_) => T::deserialize(object).map_err(de::Error::custom),
        _ => Ok(T::default()),
    }
}

/// Reads a list that may be absent. What is keyed by numbers is one, too.
pub(super) fn list<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    let items = match Value::deserialize(deserializer)? {
        Value::Array(items) => items,
        Value::Object(members) if members.keys().all(|key| key.parse::<u64>().is_ok()) => {
            members.into_iter().map(|(_, item)| item).collect()
        }
        _ => return Ok(Vec::new()),
    };
    items.into_iter().map(|item| T::deserialize(item).map_err(de::Error::custom)).collect()
}

/// Reads a whole number that may be a text, and may be absent.
pub(super) fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    })
}

/// Reads an id: a whole number above 0, which may be a text.
pub(super) fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    number(deserializer)?.filter(|id| *id >= 0).ok_or_else(|| de::Error::custom("an id is no number"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(Debug, Default, PartialEq, Eq, Deserialize)]
    struct Inner {
        #[serde(deserialize_with = "id")]
        id: i64,
    }

    #[derive(Debug, PartialEq, Eq, Deserialize)]
    struct Outer {
        #[serde(default, deserialize_with = "object")]
        object: Option<Inner>,
        #[serde(default, deserialize_with = "list")]
        list: Vec<Inner>,
        #[serde(default, deserialize_with = "number")]
        number: Option<i64>,
    }

    #[test]
    fn absence_has_many_forms() {
        let nothing = Outer { object: None, list: Vec::new(), number: None };
        for value in [
            json!({}),
            json!({ "object": [], "list": {}, "number": "" }),
            json!({ "object": null, "list": null, "number": null }),
            json!({ "object": "", "list": "", "number": [] }),
        ] {
            assert_eq!(serde_json::from_value::<Outer>(value.clone()).unwrap(), nothing, "{value}");
        }
        let full = json!({ "object": { "id": "7" }, "list": { "0": { "id": 8 } }, "number": "9" });
        let inner = |id| Inner { id };
        let read = Outer { object: Some(inner(7)), list: vec![inner(8)], number: Some(9) };
        assert_eq!(serde_json::from_value::<Outer>(full).unwrap(), read);
        assert!(serde_json::from_value::<Outer>(json!({ "list": [{ "id": "x" }] })).is_err());
    }
}
