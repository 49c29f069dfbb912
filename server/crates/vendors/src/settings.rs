//! How vendors read their settings: strictly, and with every bad member named.

use std::time::Duration;

use domain::FieldViolation;
use serde::{Deserialize, Deserializer, de, de::DeserializeOwned};
use serde_json::{Value, json};

/// Reads settings, an object or null, into a struct whose members don't depend on each other and which denies unknown
/// ones. `members` says of each what it must be; it follows the field's name.
///
/// # Errors
/// Every bad member, named from `settings` on.
pub(crate) fn read<T: DeserializeOwned + Default>(
    settings: &Value,
    members: &[(&str, &str)],
) -> Result<T, Vec<FieldViolation>> {
    let given = match settings {
        Value::Null => return Ok(T::default()),
        Value::Object(given) => given,
        _ => return Err(vec![FieldViolation::new("settings", "must be an object")]),
    };
    T::deserialize(settings).map_err(|_| {
        // serde stops at the first mistake, so each member is tried alone.
        let wrong = given.iter().filter(|(name, value)| T::deserialize(json!({ *name: value })).is_err());
        wrong
            .map(|(name, _)| {
                let detail = match members.iter().find(|(known, _)| known == name) {
                    Some((_, detail)) => (*detail).to_owned(),
                    None if members.is_empty() => "is not known here: there is nothing to set".to_owned(),
                    None => {
                        let known: Vec<_> = members.iter().map(|(known, _)| format!("`{known}`")).collect();
                        format!("is not known here; there are {}", known.join(", "))
                    }
                };
                FieldViolation::new(format!("settings.{name}"), detail)
            })
            .collect()
    })
}

/// Reads a number within these bounds.
pub(crate) fn number<'de, D: Deserializer<'de>>(
    deserializer: D,
    least: f64,
    most: f64,
) -> Result<f64, D::Error> {
    let number = f64::deserialize(deserializer)?;
    if (least..=most).contains(&number) { Ok(number) } else { Err(de::Error::custom("out of range")) }
}

/// Reads a whole number within these bounds, written in any way: `google.protobuf.Struct` makes 250.0 of 250.
pub(crate) fn whole_number<'de, D: Deserializer<'de>>(
    deserializer: D,
    least: i32,
    most: i32,
) -> Result<i32, D::Error> {
    let number = number(deserializer, f64::from(least), f64::from(most))?;
    #[expect(clippy::cast_possible_truncation, reason = "it lies within the bounds")]
    let whole = number as i32;
    if f64::from(whole).to_bits() == (number + 0.0).to_bits() {
        Ok(whole)
    } else {
        Err(de::Error::custom("not a whole number"))
    }
}

/// Reads seconds, which may have a fraction, from a millisecond up to an hour.
pub(crate) fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    Ok(Duration::from_secs_f64(number(deserializer, 0.001, 3_600.0)?))
}

/// What [`seconds`] takes, for people.
pub(crate) const SECONDS: &str = "must be a number of seconds, up to 3600";
