//! The tools that every agent has. A tool's effect and its result commit together, so a run that goes on after a crash
//! finds the result instead of doing it again.

use domain::{
    Timestamp, WorkerId,
    engine::{ToolCall, ToolSpec},
};
use serde_json::{Value, json};
use store::{events::NewEvent, turns::ClaimedTurn};

use crate::{App, Error};

const SET_ATTRIBUTE: &str = "set_attribute";

/// What an engine may call.
pub(crate) fn specs() -> Vec<ToolSpec> {
    vec![ToolSpec {
        name: SET_ATTRIBUTE.to_owned(),
        description: "Notes a fact about the customer or the dialogue under a name.".to_owned(),
        parameters: json!({
            "type": "object",
            "properties": {
                "name": { "type": "string", "minLength": 1, "maxLength": 100 },
                "value": { "type": "string", "maxLength": 4096 }
            },
            "required": ["name", "value"],
            "additionalProperties": false
        }),
    }]
}

/// Runs the tools of the newest committed step and commits what they gave, all at once. `None`: the claim was lost.
pub(crate) async fn run(
    app: &App,
    worker: WorkerId,
    claim: &ClaimedTurn,
    run: i32,
    calls: &[ToolCall],
    now: Timestamp,
) -> Result<Option<Vec<Value>>, Error> {
    let mut tx = app.store().workspace(claim.workspace).await?;
    let moment = store::dialogues::touch(&mut tx, claim.workspace, claim.dialogue, now).await?.unwrap_or(now);
    let mut results = Vec::with_capacity(calls.len());
    for call in calls {
        results.push(match understand(call) {
            Ok((name, value)) => {
                store::dialogues::set_attribute(&mut tx, claim.workspace, claim.dialogue, name, value)
                    .await?;
                let event = NewEvent {
                    id: app.id(),
                    kind: "dialogue.attribute_set",
                    dialogue: Some(claim.dialogue),
                    subject: claim.dialogue.0,
                    data: json!({ "name": name, "value": value, "turn_id": claim.turn }),
                    at: moment,
                };
                store::events::insert(&mut tx, claim.workspace, &event).await?;
                json!({ "ok": true })
            }
            // The engine is told, and may do better in its next step.
            Err(problem) => json!({ "error": problem }),
        });
    }
    if !store::turns::set_results(&mut tx, worker, claim, run, &results).await? {
        return Ok(None);
    }
    store::commit(tx).await?;
    Ok(Some(results))
}

/// What a call would give that is not made: every tool here changes something. Answers with what the engine is told, and
/// whether the call would have been made.
pub(crate) fn rehearse(call: &ToolCall) -> (Value, bool) {
    match understand(call) {
        Ok(_) => (json!({ "ok": true }), true),
        Err(problem) => (json!({ "error": problem }), false),
    }
}

fn understand(call: &ToolCall) -> Result<(&str, &Value), String> {
    if call.name != SET_ATTRIBUTE {
        return Err(format!("there is no tool {}", call.name));
    }
    let name = call.arguments["name"].as_str().unwrap_or_default();
    let value = &call.arguments["value"];
    let fits = |text: &str, most: usize| text.chars().count() <= most && !text.contains('\0');
    if name.is_empty() || !fits(name, 100) {
        return Err("name must be a string of 1 to 100 characters".to_owned());
    }
    if !value.as_str().is_some_and(|text| fits(text, 4_096)) {
        return Err("value must be a string of up to 4,096 characters".to_owned());
    }
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_calls_are_explained_to_the_engine() {
        let call = |name: &str, arguments| ToolCall { id: String::new(), name: name.to_owned(), arguments };
        assert!(understand(&call("set_attribute", json!({ "name": "city", "value": "Riga" }))).is_ok());
        for bad in [
            call("launch", json!({})),
            call("set_attribute", json!(null)),
            call("set_attribute", json!({ "name": "", "value": "x" })),
            call("set_attribute", json!({ "name": "x", "value": 1 })),
            call("set_attribute", json!({ "name": "x".repeat(101), "value": "x" })),
        ] {
            assert!(understand(&bad).is_err(), "{bad:?}");
        }
    }
}
