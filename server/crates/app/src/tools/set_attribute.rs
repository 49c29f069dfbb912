//! `set_attribute`: notes a fact of the dialogue.

use async_trait::async_trait;
use domain::engine::ToolSpec;
use serde_json::{Value, json};
use store::events::NewEvent;

use super::{Cx, Tool};
use crate::Error;

pub(super) const NAME: &str = "set_attribute";

pub(super) struct SetAttribute;

#[async_trait]
impl Tool for SetAttribute {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: NAME.to_owned(),
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
        }
    }

    async fn apply(
        &self,
        tx: &mut store::Tx,
        cx: &Cx<'_>,
        _outside: Value,
    ) -> Result<Result<Value, String>, Error> {
        let (workspace, dialogue) = (cx.workspace, cx.dialogue);
        let name = cx.arguments["name"].as_str().unwrap_or_default();
        let value = &cx.arguments["value"];
        store::dialogues::set_attribute(tx, workspace, dialogue, name, value).await?;
        let event = NewEvent {
            id: cx.app.id(),
            kind: "dialogue.attribute_set",
            dialogue: Some(dialogue),
            subject: dialogue.0,
            data: json!({ "name": name, "value": value, "turn_id": cx.turn }),
            at: cx.now,
        };
        store::events::insert(tx, workspace, &event).await?;
        Ok(Ok(json!({ "ok": true })))
    }
}
