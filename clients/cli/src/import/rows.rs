//! What the rows of such a file mean: roles, moments, metadata.

use rusqlite::types::Value;
use serde_json::Value as Json;
use switchboard_sdk::v1;
use time::format_description::well_known::Iso8601;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime, UtcOffset};

/// A value as text; `None`: there is none, or it is empty.
pub(super) fn text(value: &Value) -> Option<String> {
    let text = match value {
        Value::Null | Value::Blob(_) => return None,
        Value::Integer(number) => number.to_string(),
        // What was meant as an id and stored as a number with a point.
        Value::Real(number) if number.fract() == 0.0 => format!("{number:.0}"),
        Value::Real(number) => number.to_string(),
        Value::Text(text) => text.clone(),
    };
    Some(text).filter(|text| !text.is_empty())
}

/// Who wrote a message.
pub(super) fn role(value: &Value) -> Result<v1::MessageRole, String> {
    match text(value).unwrap_or_default().to_ascii_lowercase().as_str() {
        "client" | "customer" | "user" => Ok(v1::MessageRole::User),
        "assistant" | "bot" | "agent" => Ok(v1::MessageRole::Assistant),
        "manager" | "employee" | "operator" => Ok(v1::MessageRole::Employee),
        other => Err(format!("sender_type: must be client or assistant, is {other:?}")),
    }
}

/// Whether a conversation is over; else it is the agent's.
pub(super) fn status(value: &Value) -> v1::DialogueStatus {
    match text(value).unwrap_or_default().to_ascii_lowercase().as_str() {
        "closed" | "resolved" | "completed" | "finished" | "done" | "archived" => {
            v1::DialogueStatus::Resolved
        }
        _ => v1::DialogueStatus::Pending,
    }
}

/// Reads an offset: `+03:00`.
pub(super) fn offset(text: &str) -> Result<UtcOffset, String> {
    UtcOffset::parse(text, format_description!("[offset_hour sign:mandatory]:[offset_minute]"))
        .map_err(|_| "write it as +03:00".to_owned())
}

/// When a message was written: ISO 8601 with or without an offset, `SQLite`'s own way of writing, or seconds (or milliseconds)
/// since 1970.
pub(super) fn moment(value: &Value, offset: UtcOffset) -> Result<prost_types::Timestamp, String> {
    let bad = || format!("timestamp: is no moment: {value:?}");
    let nanos = match value {
        Value::Integer(number) => epoch(i128::from(*number), 1_000_000_000, 1_000_000),
        #[expect(clippy::cast_possible_truncation, reason = "what is out of range is no moment")]
        Value::Real(number) => epoch((number * 1e9) as i128, 1, 0),
        Value::Text(text) => match text.parse::<i64>() {
            Ok(number) => epoch(i128::from(number), 1_000_000_000, 1_000_000),
            Err(_) => written(text.trim(), offset).ok_or_else(bad)?.unix_timestamp_nanos(),
        },
        Value::Null | Value::Blob(_) => return Err(bad()),
    };
    let seconds = i64::try_from(nanos.div_euclid(1_000_000_000)).map_err(|_| bad())?;
    let nanos = i32::try_from(nanos.rem_euclid(1_000_000_000)).map_err(|_| bad())?;
    Ok(prost_types::Timestamp { seconds, nanos })
}

/// Seconds up to the year 5138, above that milliseconds.
fn epoch(number: i128, second: i128, millisecond: i128) -> i128 {
    if millisecond > 0 && number >= 100_000_000_000 { number * millisecond } else { number * second }
}

fn written(text: &str, offset: UtcOffset) -> Option<OffsetDateTime> {
    let text = text.replacen(' ', "T", 1);
    OffsetDateTime::parse(&text, &Iso8601::DEFAULT)
        .ok()
        .or_else(|| Some(PrimitiveDateTime::parse(&text, &Iso8601::DEFAULT).ok()?.assume_offset(offset)))
}

/// What is kept with a message: its metadata, an object of JSON, and its type.
pub(super) fn metadata(metadata: &Value, kind: &Value) -> Result<Option<prost_types::Struct>, String> {
    let mut members = match text(metadata) {
        None => serde_json::Map::new(),
        Some(text) => match serde_json::from_str(&text) {
            Ok(Json::Object(members)) => members,
            Ok(Json::Null) => serde_json::Map::new(),
            Ok(other) => serde_json::Map::from_iter([("value".to_owned(), other)]),
            Err(error) => return Err(format!("metadata: is not JSON: {error}")),
        },
    };
    if let Some(kind) = text(kind) {
        members.entry("message_type").or_insert(Json::String(kind));
    }
    Ok((!members.is_empty()).then(|| object(members)))
}

fn object(members: serde_json::Map<String, Json>) -> prost_types::Struct {
    prost_types::Struct { fields: members.into_iter().map(|(name, json)| (name, wire(json))).collect() }
}

fn wire(json: Json) -> prost_types::Value {
    use prost_types::value::Kind;
    prost_types::Value {
        kind: Some(match json {
            Json::Null => Kind::NullValue(0),
            Json::Bool(value) => Kind::BoolValue(value),
            Json::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
            Json::String(text) => Kind::StringValue(text),
            Json::Array(items) => {
                Kind::ListValue(prost_types::ListValue { values: items.into_iter().map(wire).collect() })
            }
            Json::Object(members) => Kind::StructValue(object(members)),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_read_however_it_was_written() {
        let moscow = offset("+03:00").unwrap();
        let text = |text: &str| Value::Text(text.to_owned());
        for value in [
            text("2023-11-14 22:13:20"),
            text("2023-11-14T22:13:20"),
            text("2023-11-14 22:13:20.000000"),
            text("2023-11-14T22:13:20Z"),
            text("2023-11-15T01:13:20+03:00"),
            text("1700000000"),
            Value::Integer(1_700_000_000),
            Value::Integer(1_700_000_000_000),
            Value::Real(1_700_000_000.0),
        ] {
            assert_eq!(moment(&value, UtcOffset::UTC).unwrap().seconds, 1_700_000_000, "{value:?}");
        }
        assert_eq!(moment(&text("2023-11-15 01:13:20"), moscow).unwrap().seconds, 1_700_000_000);
        for value in [text("yesterday"), text(""), Value::Null, Value::Blob(vec![1])] {
            assert!(moment(&value, moscow).is_err(), "{value:?}");
        }
        assert!(offset("3").is_err());
    }

    #[test]
    fn metadata_is_an_object_with_the_messages_type() {
        let text = |text: &str| Value::Text(text.to_owned());
        let kept = metadata(&text(r#"{"lead_id": 12345}"#), &text("incoming")).unwrap().unwrap();
        assert_eq!(kept.fields.keys().collect::<Vec<_>>(), ["lead_id", "message_type"]);
        assert!(metadata(&Value::Null, &Value::Null).unwrap().is_none());
        assert!(metadata(&text("[1]"), &Value::Null).unwrap().unwrap().fields.contains_key("value"));
        assert!(metadata(&text("{"), &Value::Null).is_err());
    }

    #[test]
    fn ids_are_texts_whatever_they_were_stored_as() {
        assert_eq!(text(&Value::Integer(7)).unwrap(), "7");
        assert_eq!(text(&Value::Real(12_345.0)).unwrap(), "12345");
        assert_eq!(text(&Value::Text(String::new())), None);
    }
}
