//! `hand_over`: gives the dialogue to people.
//!
//! The tool itself only says yes. That the turn ends, the dialogue becomes OPEN and the customer is told happens in one
//! transaction after the step, and again should the process end between the two: the committed result says that it must.

use async_trait::async_trait;
use domain::engine::ToolSpec;
use serde_json::{Value, json};

use super::{Cx, Tool};
use crate::Error;

pub(super) const NAME: &str = "hand_over";

pub(super) struct HandOver;

#[async_trait]
impl Tool for HandOver {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: NAME.to_owned(),
            description: "Gives this dialogue to a person of the company and ends your work on it: when the customer asks \
                          for one, or when you can't help. The customer is told; write nothing beside it."
                .to_owned(),
            parameters: json!({
                "type": "object",
                "properties": {
                    "reason": {
                        "type": "string",
                        "minLength": 1,
                        "maxLength": 500,
                        "description": "Why, for the person who takes over."
                    }
                },
                "required": ["reason"],
                "additionalProperties": false
            }),
        }
    }

    async fn apply(
        &self,
        _tx: &mut store::Tx,
        _cx: &Cx<'_>,
        _outside: Value,
    ) -> Result<Result<Value, String>, Error> {
        Ok(Ok(json!({ "ok": true })))
    }
}
