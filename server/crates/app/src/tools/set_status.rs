//! `set_status`: resolves the dialogue, or sets it aside until later.
//!
//! The turn goes on: what the agent says to end it is still sent, though nobody holds the dialogue any more. A customer's
//! next message makes it the agent's again, as always.

use std::time::Duration;

use async_trait::async_trait;
use domain::{Timestamp, dialogue::Status, engine::ToolSpec};
use serde_json::{Value, json};
use store::control::Change;
use time::format_description::well_known::Rfc3339;

use super::{Cx, Tool};
use crate::Error;

const NAME: &str = "set_status";
/// The longest time that a dialogue is set aside for.
const LONGEST: Duration = Duration::from_hours(366 * 24);

pub(super) struct SetStatus;

#[async_trait]
impl Tool for SetStatus {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: NAME.to_owned(),
            description: "Ends this dialogue as done (RESOLVED), or sets it aside until a moment at which you take it up \
                          again (SNOOZED with `until`). What you write to the customer after it is still sent."
                .to_owned(),
            parameters: json!({
                "type": "object",
                "properties": {
                    "status": { "enum": ["RESOLVED", "SNOOZED"] },
                    "until": {
                        "type": "string",
                        "maxLength": 64,
                        "description": "Until when it is set aside, as RFC 3339 with an offset: 2026-11-21T09:00:00+01:00."
                    }
                },
                "required": ["status"],
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
        let (status, returns_at) = match understand(cx.arguments, cx.now) {
            Ok(understood) => understood,
            Err(problem) => return Ok(Err(problem)),
        };
        let (workspace, dialogue) = (cx.workspace, cx.dialogue);
        let held = store::dialogues::find(tx, workspace, dialogue).await?.map(|found| found.status);
        if held == Some(Status::Open) {
            return Ok(Err("a person has taken this dialogue over; its status is theirs".to_owned()));
        }
        let change = Change { dialogue, status, reason: NAME.to_owned(), by: "agent".to_owned(), returns_at };
        store::control::set_aside(tx, workspace, &change, cx.now).await?;
        Ok(Ok(json!({ "ok": true })))
    }
}

fn understand(arguments: &Value, now: Timestamp) -> Result<(Status, Option<Timestamp>), String> {
    let until = arguments["until"].as_str();
    if arguments["status"] == Status::Resolved.as_str() {
        return match until {
            None => Ok((Status::Resolved, None)),
            Some(_) => Err("until goes with SNOOZED only".to_owned()),
        };
    }
    let clock = now.format(&Rfc3339).unwrap_or_default();
    let until = until
        .and_then(|text| Timestamp::parse(text, &Rfc3339).ok())
        .filter(|until| *until > now && *until <= now + LONGEST)
        .ok_or_else(|| {
            format!("SNOOZED needs until: RFC 3339 with an offset, within a year from now, which is {clock}")
        })?;
    Ok((Status::Snoozed, Some(until)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_strictly() {
        let now = Timestamp::UNIX_EPOCH;
        let read = |arguments: Value| understand(&arguments, now);
        assert_eq!(read(json!({ "status": "RESOLVED" })), Ok((Status::Resolved, None)));
        assert_eq!(
            read(json!({ "status": "SNOOZED", "until": "1970-01-01T02:00:00+01:00" })),
            Ok((Status::Snoozed, Some(now + Duration::from_hours(1))))
        );
        for bad in [
            json!({ "status": "RESOLVED", "until": "1970-01-02T00:00:00Z" }),
            json!({ "status": "SNOOZED" }),
            json!({ "status": "SNOOZED", "until": "tomorrow" }),
            json!({ "status": "SNOOZED", "until": "1970-01-02T00:00:00" }),
            json!({ "status": "SNOOZED", "until": "1970-01-01T00:00:00Z" }),
            json!({ "status": "SNOOZED", "until": "1999-01-01T00:00:00Z" }),
        ] {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
    }
}
