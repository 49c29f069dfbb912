//! `create_task`: has a person do something about the dialogue's lead, until a moment.

use std::time::Duration;

use async_trait::async_trait;
use domain::{Timestamp, crm::NewTask, engine::ToolSpec};
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;

use super::{
    Cx, Tool,
    crm::{Matter, refused, repeats_since, told},
};

const NAME: &str = "create_task";
/// How far off a task may be due.
const FURTHEST: Duration = Duration::from_hours(366 * 24);

pub(super) struct CreateTask;

#[async_trait]
impl Tool for CreateTask {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: NAME.to_owned(),
            description: "Makes a task in the CRM for the colleague who looks after this customer's lead."
                .to_owned(),
            parameters: json!({
                "type": "object",
                "properties": {
                    "text": {
                        "type": "string", "minLength": 1, "maxLength": 4096,
                        "description": "What is to be done."
                    },
                    "due": {
                        "type": "string", "maxLength": 64,
                        "description": "Until when, as RFC 3339 with an offset: 2026-11-21T09:00:00+01:00."
                    }
                },
                "required": ["text", "due"],
                "additionalProperties": false
            }),
        }
    }

    async fn call(&self, cx: &Cx<'_>) -> Result<Value, Value> {
        let due_at =
            due(cx.arguments["due"].as_str().unwrap_or_default(), cx.now).map_err(|bad| refused(&bad))?;
        let (office, entity, entity_id) = Matter::of(cx).await?.entity()?;
        let task = &NewTask {
            entity,
            entity_id,
            text: cx.arguments["text"].as_str().unwrap_or_default().to_owned(),
            due_at,
            kind_id: None,
            responsible_user_id: None,
            unless_since: Some(repeats_since(cx)),
        };
        let made = office.call(|crm, at| async move { crm.create_task(&at, task).await }).await;
        made.map(|id| json!({ "ok": true, "task_id": id })).map_err(|error| told(&error))
    }
}

fn due(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let due = Timestamp::parse(text, &Rfc3339).ok();
    due.filter(|due| *due > now && *due <= now + FURTHEST).ok_or_else(|| {
        let clock = now.format(&Rfc3339).unwrap_or_default();
        format!("due must be RFC 3339 with an offset, within a year from now, which is {clock}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_due_in_time_to_come() {
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!(due("1970-01-01T02:00:00+01:00", now), Ok(now + Duration::from_hours(1)));
        for bad in ["tomorrow", "1970-01-02T00:00:00", "1970-01-01T00:00:00Z", "1999-01-01T00:00:00Z"] {
            assert!(due(bad, now).is_err(), "{bad}");
        }
    }
}
