//! What the services' conversions share: ids, moments, structs, masks.

use std::str::FromStr;

use app::PageRequest;
use domain::{
    Error, Reason, Timestamp,
    budget::{Budget, Period, Scope},
    cost::Spent,
    error::Violations,
};
use prost_types::{Struct, Value, value::Kind};
use serde_json::Value as Json;
use switchboard_sdk::v1;

/// Reads a required id.
pub(super) fn id<T: FromStr>(field: &str, text: &str) -> Result<T, Error> {
    text.parse().map_err(|_| {
        let detail = if text.is_empty() { "is required: a UUID" } else { "must be a UUID" };
        Error::field(Reason::FieldInvalid, field, detail)
    })
}

/// Reads an id that may be empty.
pub(super) fn optional_id<T: FromStr>(field: &str, text: &str) -> Result<Option<T>, Error> {
    if text.is_empty() { Ok(None) } else { id(field, text).map(Some) }
}

/// Reads a name that may be empty, by which something is looked up.
pub(super) fn optional_name(field: &str, text: String) -> Result<Option<String>, Error> {
    if text.contains('\0') || text.chars().count() > 256 {
        let detail = "may have up to 256 characters, without U+0000";
        return Err(Error::field(Reason::FieldInvalid, field, detail));
    }
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// Reads a required message.
pub(super) fn required<T>(field: &str, value: Option<T>) -> Result<T, Error> {
    value.ok_or_else(|| Error::field(Reason::FieldInvalid, field, "is required"))
}

pub(super) fn page(size: i32, token: String) -> PageRequest {
    PageRequest { size, token }
}

pub(super) fn moment(at: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: at.unix_timestamp(),
        nanos: i32::try_from(at.nanosecond()).unwrap_or_default(),
    }
}

/// Reads a moment that may be missing.
pub(super) fn optional_moment(
    field: &str,
    at: Option<prost_types::Timestamp>,
) -> Result<Option<Timestamp>, Error> {
    at.map(|at| {
        let nanos = i128::from(at.seconds) * 1_000_000_000 + i128::from(at.nanos);
        Timestamp::from_unix_timestamp_nanos(nanos).map_err(|_| {
            Error::field(Reason::FieldInvalid, field, "must be a moment between the years 1 and 9999")
        })
    })
    .transpose()
}

/// Reads a span of time in milliseconds; what doesn't fit is left to the checks of its range, as far off as it is.
pub(super) fn millis(wire: Option<prost_types::Duration>) -> Option<i64> {
    wire.map(|wire| wire.seconds.saturating_mul(1_000).saturating_add(i64::from(wire.nanos) / 1_000_000))
}

pub(super) fn duration(millis: i64) -> prost_types::Duration {
    let nanos = i32::try_from(millis % 1_000).unwrap_or_default() * 1_000_000;
    prost_types::Duration { seconds: millis / 1_000, nanos }
}

pub(super) fn usage(spent: Spent) -> v1::Usage {
    v1::Usage {
        calls: spent.calls,
        unknown_calls: spent.unknown_calls,
        input_tokens: spent.input_tokens,
        cached_input_tokens: spent.cached_input_tokens,
        output_tokens: spent.output_tokens,
        cost_micros: spent.cost_micros,
        currency: spent.currency.unwrap_or_default(),
    }
}

pub(super) fn budgets_to_wire(budgets: Vec<Budget>) -> Vec<v1::Budget> {
    let to_wire = |budget: Budget| v1::Budget {
        scope: match budget.scope {
            Scope::Turn => v1::BudgetScope::Turn,
            Scope::Dialogue => v1::BudgetScope::Dialogue,
            Scope::Contact => v1::BudgetScope::Contact,
            Scope::Agent => v1::BudgetScope::Agent,
            Scope::Workspace => v1::BudgetScope::Workspace,
        }
        .into(),
        period: match budget.period {
            Period::Ever => v1::BudgetPeriod::Unspecified,
            Period::Day => v1::BudgetPeriod::Day,
        }
        .into(),
        max_tokens: budget.max_tokens.unwrap_or_default(),
        max_cost_micros: budget.max_cost_micros.unwrap_or_default(),
        currency: budget.currency,
    };
    budgets.into_iter().map(to_wire).collect()
}

/// Reads budgets. 0 is no limit.
pub(super) fn budgets(at: &str, wire: Vec<v1::Budget>) -> Result<Vec<Budget>, Error> {
    let read = |(number, budget): (usize, v1::Budget)| {
        let field = |name: &str| format!("{at}[{number}].{name}");
        let scope = choice(&field("scope"), budget.scope)?;
        Ok(Budget {
            scope: match required(&field("scope"), scope)? {
                v1::BudgetScope::Dialogue => Scope::Dialogue,
                v1::BudgetScope::Contact => Scope::Contact,
                v1::BudgetScope::Agent => Scope::Agent,
                v1::BudgetScope::Workspace => Scope::Workspace,
                v1::BudgetScope::Turn | v1::BudgetScope::Unspecified => Scope::Turn,
            },
            period: match choice(&field("period"), budget.period)? {
                Some(v1::BudgetPeriod::Day) => Period::Day,
                _ => Period::Ever,
            },
            max_tokens: Some(budget.max_tokens).filter(|most| *most != 0),
            max_cost_micros: Some(budget.max_cost_micros).filter(|most| *most != 0),
            currency: budget.currency,
        })
    };
    wire.into_iter().enumerate().map(read).collect()
}

/// Reads an enum of the contract; what it doesn't know is an error. `None`: not set.
pub(super) fn choice<T: TryFrom<i32> + Default + PartialEq>(
    field: &str,
    wire: i32,
) -> Result<Option<T>, Error> {
    match T::try_from(wire) {
        Ok(value) if value == T::default() => Ok(None),
        Ok(value) => Ok(Some(value)),
        Err(_) => Err(Error::field(Reason::FieldInvalid, field, "must be a value of the contract")),
    }
}

/// Checks a field mask: not empty, and each path one of `known`.
pub(super) fn mask(mask: Option<prost_types::FieldMask>, known: &[&str]) -> Result<Vec<String>, Error> {
    let paths = mask.unwrap_or_default().paths;
    let remedy = format!("use {}", known.join(", "));
    if paths.is_empty() {
        let detail = format!("is required: which fields to change; {remedy}");
        return Err(Error::field(Reason::FieldMaskInvalid, "update_mask", detail));
    }
    if let Some(unknown) = paths.iter().find(|path| !known.contains(&path.as_str())) {
        let detail = format!("{unknown} is not a field that can be updated; {remedy}");
        return Err(Error::field(Reason::FieldMaskInvalid, "update_mask", detail));
    }
    Ok(paths)
}

/// Writes a JSON object as a struct; anything else gives an empty one.
pub(super) fn to_struct(json: &Json) -> Struct {
    match json {
        Json::Object(members) => {
            Struct { fields: members.iter().map(|(name, value)| (name.clone(), to_value(value))).collect() }
        }
        _ => Struct::default(),
    }
}

/// Writes any JSON.
pub(super) fn to_value(json: &Json) -> Value {
    Value {
        kind: Some(match json {
            Json::Null => Kind::NullValue(0),
            Json::Bool(value) => Kind::BoolValue(*value),
            Json::Number(value) => Kind::NumberValue(value.as_f64().unwrap_or_default()),
            Json::String(value) => Kind::StringValue(value.clone()),
            Json::Array(items) => {
                Kind::ListValue(prost_types::ListValue { values: items.iter().map(to_value).collect() })
            }
            Json::Object(_) => Kind::StructValue(to_struct(json)),
        }),
    }
}

/// How deeply settings may be nested: as deeply as `serde_json` reads.
const MOST_DEPTH: usize = 64;

/// Reads a struct as a JSON object. Whole numbers become integers.
pub(super) fn from_struct(field: &str, value: Option<Struct>) -> Result<Json, Error> {
    let mut violations = Violations::default();
    let json = from_fields(value.unwrap_or_default(), 0);
    violations.require(json.is_some(), field, "must not be nested over 64 levels, or hold NaN or infinity");
    violations.finish()?;
    Ok(json.unwrap_or_default())
}

/// Reads any JSON. Whole numbers become integers.
pub(super) fn from_any(field: &str, value: Value) -> Result<Json, Error> {
    from_value(value, 0).ok_or_else(|| {
        Error::field(
            Reason::FieldInvalid,
            field,
            "must not be nested over 64 levels, or hold NaN or infinity",
        )
    })
}

fn from_fields(value: Struct, depth: usize) -> Option<Json> {
    let fields = value.fields.into_iter();
    fields
        .map(|(name, value)| Some((name, from_value(value, depth)?)))
        .collect::<Option<_>>()
        .map(Json::Object)
}

fn from_value(value: Value, depth: usize) -> Option<Json> {
    if depth > MOST_DEPTH {
        return None;
    }
    Some(match value.kind {
        None | Some(Kind::NullValue(_)) => Json::Null,
        Some(Kind::BoolValue(value)) => Json::Bool(value),
        #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and in range")]
        Some(Kind::NumberValue(value)) if value.fract() == 0.0 && value.abs() < 9e15 => {
            Json::from(value as i64)
        }
        Some(Kind::NumberValue(value)) => Json::Number(serde_json::Number::from_f64(value)?),
        Some(Kind::StringValue(value)) => Json::String(value),
        Some(Kind::ListValue(list)) => {
            let items = list.values.into_iter().map(|value| from_value(value, depth + 1));
            Json::Array(items.collect::<Option<_>>()?)
        }
        Some(Kind::StructValue(value)) => from_fields(value, depth + 1)?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn structs_read_back() {
        let json = json!({ "delay_ms": 5, "part": 0.5, "list": [null, true, "x", { "deep": -1 }] });
        assert_eq!(from_struct("settings", Some(to_struct(&json))).unwrap(), json);
        assert_eq!(from_struct("settings", None).unwrap(), json!({}));
    }

    #[test]
    fn what_json_cannot_hold_is_refused() {
        let number = |value| Value { kind: Some(Kind::NumberValue(value)) };
        let of = |value| Struct { fields: [("x".to_owned(), value)].into() };
        assert!(from_struct("settings", Some(of(number(f64::NAN)))).is_err());
        let mut deep = number(1.0);
        for _ in 0..100 {
            deep = Value { kind: Some(Kind::StructValue(of(deep))) };
        }
        assert_eq!(from_struct("settings", Some(of(deep))).unwrap_err().fields[0].field, "settings");
    }

    #[test]
    fn masks_name_what_is_wrong() {
        let with = |paths: &[&str]| {
            Some(prost_types::FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() })
        };
        assert!(mask(with(&["a"]), &["a", "b"]).is_ok());
        assert_eq!(mask(None, &["a"]).unwrap_err().reason, Reason::FieldMaskInvalid);
        assert!(mask(with(&["a", "nickname"]), &["a"]).unwrap_err().detail.contains("nickname"));
    }
}
