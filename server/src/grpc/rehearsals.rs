//! `AgentsService`: previews and replays.

use std::{pin::Pin, time::Duration};

use app::{
    previews::{Preview, PreviewRequest, RehearsedCall},
    rehearsals::Chosen,
    replays::{ReplayRequest, Replayed, ReplayedTurn, Side},
};
use domain::{Error, Reason, dialogue::Role};
use futures::{Stream, StreamExt as _};
use serde_json::json;
use switchboard_sdk::v1;
use tonic::Status;

use super::{agents, convert};
use crate::error::to_status;

pub(super) type ReplayStream =
    Pin<Box<dyn Stream<Item = Result<v1::ReplayDialoguesResponse, Status>> + Send>>;

/// Either a saved agent or a draft.
fn chosen(agent_id: &str, agent: Option<v1::Agent>) -> Result<Chosen, Error> {
    let refuse = |detail| Err(Error::field(Reason::FieldInvalid, "agent", detail));
    match (convert::optional_id("agent_id", agent_id)?, agent) {
        (Some(id), None) => Ok(Chosen::Saved(id)),
        (None, Some(draft)) => {
            let id = convert::optional_id("agent.id", &draft.id)?;
            Ok(Chosen::Draft(Box::new(agents::new_agent(Some(draft))?), id))
        }
        (None, None) => refuse("is required, or agent_id"),
        (Some(_), Some(_)) => refuse("must not be set beside agent_id"),
    }
}

/// How long a preview may take that asks for the most.
pub(super) const LONGEST_PREVIEW: Duration = Duration::from_mins(10);

fn timeout(wire: Option<prost_types::Duration>, default: u64, most: u64) -> Result<Duration, Error> {
    wire.map_or(Some(Duration::from_secs(default)), |wire| Duration::try_from(wire).ok())
        .filter(|longest| (Duration::from_secs(1)..=Duration::from_secs(most)).contains(longest))
        .ok_or_else(|| {
            Error::field(Reason::FieldInvalid, "timeout", format!("must be 1 s to {most} s, or not set"))
        })
}

pub(super) fn preview_request(wire: v1::PreviewReplyRequest) -> Result<PreviewRequest, Error> {
    let role = |number: usize, wire: i32| {
        let field = format!("messages[{number}].role");
        match convert::required(&field, convert::choice(&field, wire)?)? {
            v1::MessageRole::Assistant => Ok(Role::Assistant),
            v1::MessageRole::Employee => Ok(Role::Employee),
            v1::MessageRole::System => Ok(Role::System),
            v1::MessageRole::User | v1::MessageRole::Unspecified => Ok(Role::User),
        }
    };
    let messages = wire.messages.into_iter().enumerate();
    Ok(PreviewRequest {
        agent: chosen(&wire.agent_id, wire.agent)?,
        messages: messages
            .map(|(number, message)| Ok((role(number, message.role)?, message.text)))
            .collect::<Result<_, Error>>()?,
        longest: timeout(wire.timeout, 60, LONGEST_PREVIEW.as_secs())?,
        at: convert::optional_moment("at_time", wire.at_time)?,
    })
}

pub(super) fn replay_request(wire: v1::ReplayDialoguesRequest) -> Result<ReplayRequest, Error> {
    const DEFAULT_LIMIT: i32 = 100;
    let ids = wire.dialogue_ids.iter().enumerate();
    Ok(ReplayRequest {
        agent: chosen(&wire.agent_id, wire.agent)?,
        dialogues: ids
            .map(|(number, id)| convert::id(&format!("dialogue_ids[{number}]"), id))
            .collect::<Result<_, _>>()?,
        channel: convert::optional_id("channel_id", &wire.channel_id)?,
        limit: if wire.limit == 0 { DEFAULT_LIMIT } else { wire.limit },
        longest: timeout(wire.timeout, 600, 3_600)?,
    })
}

pub(super) fn preview(preview: Preview) -> v1::PreviewReplyResponse {
    let manifest = json!({ "request": preview.prompt, "steps": preview.steps });
    v1::PreviewReplyResponse {
        text: preview.text,
        reason: preview.reason.to_owned(),
        error: preview.error,
        calls: preview.calls.into_iter().map(call).collect(),
        manifest: Some(convert::to_struct(&manifest)),
        prompt_hash: preview.hash,
        usage: Some(convert::usage(preview.spent)),
    }
}

fn call(rehearsed: RehearsedCall) -> v1::RehearsedCall {
    v1::RehearsedCall {
        tool: rehearsed.call.name,
        arguments: Some(convert::to_value(&rehearsed.call.arguments)),
        result: rehearsed.result.as_ref().map(convert::to_value),
        would_do: rehearsed.would_do,
    }
}

fn side(side: Side) -> v1::ReplayedAnswer {
    v1::ReplayedAnswer {
        text: side.text,
        calls: side.calls.into_iter().map(call).collect(),
        usage: Some(convert::usage(side.spent)),
        prompt_hash: side.hash,
    }
}

fn turn(turn: ReplayedTurn) -> v1::ReplayedTurn {
    v1::ReplayedTurn {
        turn_id: turn.turn.to_string(),
        dialogue_id: turn.dialogue.to_string(),
        same: turn.same(),
        asked: turn.asked,
        before: Some(side(turn.before)),
        after: Some(side(turn.after)),
        divergences: turn.divergences,
        error: turn.error,
    }
}

pub(super) fn replay(
    replayed: impl Stream<Item = Result<Replayed, app::Error>> + Send + 'static,
) -> ReplayStream {
    let to_wire = |replayed| {
        let item = match replayed {
            Replayed::Turn(replayed) => v1::replay_dialogues_response::Item::Turn(turn(*replayed)),
            Replayed::Summary(summary) => v1::replay_dialogues_response::Item::Summary(v1::ReplaySummary {
                turns: summary.turns,
                same: summary.same,
                diverged: summary.diverged,
                failed: summary.failed,
                usage: Some(convert::usage(summary.spent)),
            }),
        };
        v1::ReplayDialoguesResponse { item: Some(item) }
    };
    Box::pin(replayed.map(move |item| item.map(to_wire).map_err(to_status)))
}
