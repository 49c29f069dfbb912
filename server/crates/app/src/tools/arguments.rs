//! What tools are called with, and the schemas that say what it must be.

use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::Value;

/// The longest schema, in bytes as JSON.
const MAX_SCHEMA_BYTES: usize = 32_768;
/// How many mistakes the engine is told of.
const MOST_PROBLEMS: usize = 5;
/// The longest account of one, in characters: it may quote what the engine wrote.
const MAX_PROBLEM_CHARS: usize = 300;

/// Reads a schema. It may refer to nothing outside of itself, and its patterns are matched in linear time.
fn read(schema: &Value) -> Result<Validator, String> {
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .with_pattern_options(PatternOptions::regex())
        .build(schema)
        .map_err(|error| shortened(&error.to_string()))
}

/// Checks a schema when an agent is saved. The error follows the field's name.
pub(super) fn check_schema(schema: &Value) -> Result<(), String> {
    if schema.to_string().len() > MAX_SCHEMA_BYTES {
        return Err("may have up to 32,768 bytes".to_owned());
    }
    // Every vendor wants an object, and says so with an error that nobody understands.
    if schema["type"] != "object" {
        return Err("must be the schema of an object: `\"type\": \"object\"`".to_owned());
    }
    read(schema).map(drop).map_err(|problem| format!("is no JSON Schema that can be used: {problem}"))
}

/// Checks arguments against a schema. The error is for the engine.
pub(super) fn check(schema: &Value, arguments: &Value) -> Result<(), String> {
    if let Value::String(_) = arguments {
        return Err("the arguments are not JSON; give an object that fits the tool's schema".to_owned());
    }
    let validator = read(schema)?;
    let problems: Vec<_> = validator
        .iter_errors(arguments)
        .take(MOST_PROBLEMS)
        .map(|error| {
            let at = error.instance_path().to_string();
            let at = if at.is_empty() { "the arguments" } else { at.trim_start_matches('/') };
            shortened(&format!("{at}: {error}"))
        })
        .collect();
    if problems.is_empty() { Ok(()) } else { Err(problems.join("; ")) }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_PROBLEM_CHARS) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn schemas_that_cannot_be_used_are_refused() {
        let good =
            json!({ "type": "object", "properties": { "sku": { "type": "string", "pattern": "^[A-Z]+$" } } });
        assert_eq!(check_schema(&good), Ok(()));
        for bad in [
            json!({}),
            json!({ "type": "array" }),
            json!({ "type": "object", "properties": 1 }),
            json!({ "type": "object", "properties": { "x": { "$ref": "https://example.com/schema.json" } } }),
            json!({ "type": "object", "properties": { "x": { "$ref": "file:///etc/hostname" } } }),
            json!({ "type": "object", "properties": { "x": { "pattern": "(" } } }),
            json!({ "type": "object", "description": "x".repeat(40_000) }),
        ] {
            assert!(check_schema(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_engine_is_told_what_is_wrong() {
        let schema = json!({
            "type": "object",
            "properties": { "sku": { "type": "string" }, "count": { "type": "integer", "minimum": 1 } },
            "required": ["sku"]
        });
        assert_eq!(check(&schema, &json!({ "sku": "A", "count": 1 })), Ok(()));
        let problem = check(&schema, &json!({ "count": 0 })).unwrap_err();
        assert!(problem.contains("sku") && problem.contains("count"), "{problem}");
        assert!(check(&schema, &json!("{\"sku\":")).unwrap_err().contains("not JSON"));
        let long = check(&schema, &json!({ "sku": "x", "count": "y".repeat(5_000) })).unwrap_err();
        assert!(long.chars().count() < 400, "{long}");
    }
}
