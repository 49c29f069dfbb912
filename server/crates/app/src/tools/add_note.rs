//! `add_note`: leaves a note at the dialogue's lead for the people who work in the CRM.

use async_trait::async_trait;
use domain::{crm::NewNote, engine::ToolSpec};
use serde_json::{Value, json};

use super::{
    Cx, Tool,
    crm::{Matter, repeats_since, told},
};

const NAME: &str = "add_note";

pub(super) struct AddNote;

#[async_trait]
impl Tool for AddNote {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: NAME.to_owned(),
            description: "Leaves a note at this customer's lead in the CRM, for colleagues to read. The customer does not \
                          see it."
                .to_owned(),
            parameters: json!({
                "type": "object",
                "properties": { "text": { "type": "string", "minLength": 1, "maxLength": 4096 } },
                "required": ["text"],
                "additionalProperties": false
            }),
        }
    }

    async fn call(&self, cx: &Cx<'_>) -> Result<Value, Value> {
        let (office, entity, entity_id) = Matter::of(cx).await?.entity()?;
        let text = cx.arguments["text"].as_str().unwrap_or_default().to_owned();
        let note = &NewNote { entity, entity_id, text, unless_since: Some(repeats_since(cx)) };
        let made = office.call(|crm, at| async move { crm.add_note(&at, note).await }).await;
        made.map(|id| json!({ "ok": true, "note_id": id })).map_err(|error| told(&error))
    }
}
