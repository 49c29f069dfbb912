//! Endpoints and dispatches between the wire and the app, for `WebhooksService`.

use app::endpoints::{EndpointPatch, NewEndpoint, Replay};
use domain::{
    Error, Reason,
    delivery::Attempt,
    endpoint::{Dispatch, DispatchState, Endpoint, Schedule},
    error::Violations,
};
use switchboard_sdk::v1;

use super::{convert, dialogues};

pub(super) fn endpoint(endpoint: Endpoint) -> v1::Endpoint {
    let schedule = match endpoint.schedule {
        Schedule::Standard => v1::EndpointSchedule::Standard,
        Schedule::Sandbox => v1::EndpointSchedule::Sandbox,
    };
    v1::Endpoint {
        id: endpoint.id.to_string(),
        display_name: endpoint.display_name,
        url: endpoint.url,
        event_types: endpoint.kinds,
        channel_id: endpoint.channel.map(|id| id.to_string()).unwrap_or_default(),
        schedule: schedule.into(),
        active: Some(endpoint.active),
        disabled_reason: endpoint.disabled_reason.unwrap_or_default(),
        failing_since_time: endpoint.failing_since.map(convert::moment),
        previous_secret_expire_time: endpoint.previous_secret_until.map(convert::moment),
        create_time: Some(convert::moment(endpoint.created_at)),
        update_time: Some(convert::moment(endpoint.updated_at)),
    }
}

pub(super) fn dispatch(dispatch: Dispatch, attempts: Vec<Attempt>) -> v1::Dispatch {
    let state = match dispatch.state {
        DispatchState::Pending => v1::DispatchState::Pending,
        DispatchState::Started => v1::DispatchState::Started,
        DispatchState::Delivered => v1::DispatchState::Delivered,
        DispatchState::Dead => v1::DispatchState::Dead,
    };
    v1::Dispatch {
        id: dispatch.id.to_string(),
        endpoint_id: dispatch.endpoint.to_string(),
        event_id: dispatch.event.to_string(),
        event_type: dispatch.kind,
        dialogue_id: dispatch.dialogue.map(|id| id.to_string()).unwrap_or_default(),
        state: state.into(),
        reason: dispatch.reason.unwrap_or_default(),
        attempt_count: dispatch.attempts,
        next_attempt_time: dispatch.next_attempt_at.map(convert::moment),
        replay: dispatch.replay,
        attempts: attempts.into_iter().map(dialogues::attempt).collect(),
        create_time: Some(convert::moment(dispatch.created_at)),
        settle_time: dispatch.settled_at.map(convert::moment),
    }
}

/// Reads a schedule; unspecified: the standard one.
fn schedule(wire: i32) -> Option<Schedule> {
    match v1::EndpointSchedule::try_from(wire) {
        Ok(v1::EndpointSchedule::Unspecified | v1::EndpointSchedule::Standard) => Some(Schedule::Standard),
        Ok(v1::EndpointSchedule::Sandbox) => Some(Schedule::Sandbox),
        Err(_) => None,
    }
}

const SCHEDULES: &str = "must be STANDARD or SANDBOX";

pub(super) fn new(wire: Option<v1::Endpoint>) -> Result<NewEndpoint, Error> {
    let wire = convert::required("endpoint", wire)?;
    let mut violations = Violations::default();
    let channel = convert::optional_id("endpoint.channel_id", &wire.channel_id);
    violations.require(channel.is_ok(), "endpoint.channel_id", "must be a UUID");
    let schedule = schedule(wire.schedule);
    violations.require(schedule.is_some(), "endpoint.schedule", SCHEDULES);
    Ok(NewEndpoint {
        schedule: violations.finish_with(schedule)?,
        display_name: wire.display_name,
        url: wire.url,
        kinds: wire.event_types,
        channel: channel?,
        active: wire.active.unwrap_or(true),
    })
}

pub(super) fn patch(wire: v1::Endpoint, paths: &[String]) -> Result<EndpointPatch, Error> {
    let named = |path: &str| paths.iter().any(|each| each == path);
    let mut patch = EndpointPatch::default();
    if named("channel_id") {
        patch.channel = Some(convert::optional_id("endpoint.channel_id", &wire.channel_id)?);
    }
    if named("schedule") {
        let schedule = schedule(wire.schedule);
        patch.schedule =
            Some(schedule.ok_or_else(|| Error::field(Reason::FieldInvalid, "endpoint.schedule", SCHEDULES))?);
    }
    if named("active") {
        patch.active = Some(convert::required("endpoint.active", wire.active)?);
    }
    patch.display_name = named("display_name").then_some(wire.display_name);
    patch.url = named("url").then_some(wire.url);
    patch.kinds = named("event_types").then_some(wire.event_types);
    Ok(patch)
}

pub(super) fn state_filter(wire: i32) -> Result<Option<DispatchState>, Error> {
    Ok(match v1::DispatchState::try_from(wire) {
        Ok(v1::DispatchState::Unspecified) => None,
        Ok(v1::DispatchState::Pending) => Some(DispatchState::Pending),
        Ok(v1::DispatchState::Started) => Some(DispatchState::Started),
        Ok(v1::DispatchState::Delivered) => Some(DispatchState::Delivered),
        Ok(v1::DispatchState::Dead) => Some(DispatchState::Dead),
        Err(_) => return Err(Error::field(Reason::FieldInvalid, "state", "must be a state of the contract")),
    })
}

pub(super) fn replay(request: v1::ReplayEventsRequest) -> Result<Replay, Error> {
    if request.event_ids.is_empty() {
        return Ok(Replay::Range {
            start: request.start_cursor,
            end: request.end_cursor,
            kinds: request.event_types,
        });
    }
    let mut violations = Violations::default();
    for (field, empty) in [
        ("start_cursor", request.start_cursor.is_empty()),
        ("end_cursor", request.end_cursor.is_empty()),
        ("event_types", request.event_types.is_empty()),
    ] {
        violations.require(empty, field, "must not be given together with event_ids");
    }
    let mut ids = Vec::with_capacity(request.event_ids.len());
    for (at, text) in request.event_ids.iter().enumerate() {
        match text.parse() {
            Ok(id) => ids.push(id),
            Err(_) => violations.add(format!("event_ids[{at}]"), "must be a UUID"),
        }
    }
    violations.finish()?;
    Ok(Replay::Events(ids))
}
