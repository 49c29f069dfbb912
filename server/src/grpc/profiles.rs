//! Agents' profiles, both ways: what an agent knows and may do.

use app::agents::{HeaderValue, ProfilePatch};
use domain::{
    Error, Reason,
    crm_context::CrmContext,
    profile::{HttpTool, Profile, ToolChoice},
    schedule::{Day, Holiday, Hours, Outside, Schedule},
    window::HistoryWindow,
};
use serde_json::json;
use switchboard_sdk::v1;

use super::{agents, convert};

/// The agent's fields that are its profile.
pub(super) const FIELDS: &[&str] =
    &["time_zone", "history", "languages", "schedule", "toolbox", "fallback_engine", "crm_context"];

const DAYS: &[(Day, v1::Weekday)] = &[
    (Day::Monday, v1::Weekday::Monday),
    (Day::Tuesday, v1::Weekday::Tuesday),
    (Day::Wednesday, v1::Weekday::Wednesday),
    (Day::Thursday, v1::Weekday::Thursday),
    (Day::Friday, v1::Weekday::Friday),
    (Day::Saturday, v1::Weekday::Saturday),
    (Day::Sunday, v1::Weekday::Sunday),
];

const OUTSIDE: &[(Outside, v1::OutsideHours)] = &[
    (Outside::AnswerText, v1::OutsideHours::AnswerText),
    (Outside::StaySilent, v1::OutsideHours::StaySilent),
    (Outside::HandOver, v1::OutsideHours::HandOver),
    (Outside::Wait, v1::OutsideHours::Wait),
];

/// Takes the profile out of an agent, with the values of its tools' headers.
pub(super) fn read(wire: &mut v1::Agent) -> Result<(Profile, Vec<HeaderValue>), Error> {
    let default = Profile::default();
    let time_zone = std::mem::take(&mut wire.time_zone);
    let history = wire.history.take().unwrap_or_default();
    let languages = wire.languages.take().unwrap_or_default();
    let toolbox = wire.toolbox.take();
    let tools = toolbox
        .as_ref()
        .map(|toolbox| toolbox.tools.iter().enumerate().map(tool_choice).collect())
        .transpose()?;
    let http = toolbox.unwrap_or_default().http;
    let header_values = http
        .iter()
        .flat_map(|tool| tool.headers.iter().map(move |header| (tool, header)))
        .filter(|(_, header)| !header.value.is_empty())
        .map(|(tool, header)| HeaderValue {
            tool: tool.name.clone(),
            header: header.name.clone(),
            value: header.value.clone().into(),
        })
        .collect();
    let profile = Profile {
        time_zone: if time_zone.is_empty() { default.time_zone } else { time_zone },
        history: HistoryWindow {
            max_messages: history.max_messages.unwrap_or(default.history.max_messages),
            max_tokens: history.max_tokens.unwrap_or(default.history.max_tokens),
        },
        languages: languages.codes,
        default_language: languages.default_code,
        schedule: wire.schedule.take().map(schedule).transpose()?,
        tools,
        http_tools: http.into_iter().enumerate().map(http_tool).collect::<Result<_, _>>()?,
        fallback_engine: wire
            .fallback_engine
            .take()
            .map(|engine| agents::engine("agent.fallback_engine", engine))
            .transpose()?,
        crm: crm_context(wire.crm_context.take().unwrap_or_default())?,
    };
    Ok((profile, header_values))
}

/// What of a profile a mask names.
pub(super) fn patch(
    profile: Profile,
    header_values: Vec<HeaderValue>,
    named: impl Fn(&str) -> bool,
) -> ProfilePatch {
    ProfilePatch {
        time_zone: named("time_zone").then_some(profile.time_zone),
        history: named("history").then_some(profile.history),
        languages: named("languages").then_some((profile.languages, profile.default_language)),
        schedule: named("schedule").then_some(profile.schedule),
        toolbox: named("toolbox").then_some((profile.tools, profile.http_tools)),
        fallback_engine: named("fallback_engine").then_some(profile.fallback_engine),
        crm: named("crm_context").then_some(profile.crm),
        header_values: if named("toolbox") { header_values } else { Vec::new() },
    }
}

fn schedule(wire: v1::Schedule) -> Result<Schedule, Error> {
    let at = |field: &str| format!("agent.schedule.{field}");
    let required = |field: &str| Error::field(Reason::FieldInvalid, field, "is required");
    let outside = convert::choice(&at("outside"), wire.outside)?;
    let hours = wire.hours.into_iter().enumerate().map(|(number, hours)| {
        let field = at(&format!("hours[{number}].day"));
        let day = convert::choice(&field, hours.day)?;
        let day = DAYS.iter().find(|(_, known)| Some(*known) == day).ok_or_else(|| required(&field))?.0;
        Ok(Hours { day, start: hours.start, end: hours.end })
    });
    let holidays = wire.holidays.into_iter();
    Ok(Schedule {
        hours: hours.collect::<Result<_, Error>>()?,
        holidays: holidays.map(|it| Holiday { date: it.date, start: it.start, end: it.end }).collect(),
        outside: OUTSIDE
            .iter()
            .find(|(_, known)| Some(*known) == outside)
            .ok_or_else(|| required(&at("outside")))?
            .0,
        outside_text: wire.outside_text,
    })
}

fn crm_context(wire: v1::CrmContext) -> Result<CrmContext, Error> {
    let integration = convert::optional_id("agent.crm_context.integration_id", &wire.integration_id)?;
    Ok(CrmContext { integration, lead_fields: wire.lead_fields, contact_fields: wire.contact_fields })
}

pub(super) fn crm_context_to_wire(context: CrmContext) -> Option<v1::CrmContext> {
    (!context.is_empty()).then(|| v1::CrmContext {
        integration_id: context.integration.map(|id| id.to_string()).unwrap_or_default(),
        lead_fields: context.lead_fields,
        contact_fields: context.contact_fields,
    })
}

fn tool_choice((number, wire): (usize, &v1::Tool)) -> Result<ToolChoice, Error> {
    let field = format!("agent.toolbox.tools[{number}].settings");
    let settings = convert::from_struct(&field, wire.settings.clone())?;
    Ok(ToolChoice { name: wire.name.clone(), settings })
}

fn http_tool((number, wire): (usize, v1::HttpTool)) -> Result<HttpTool, Error> {
    let field = format!("agent.toolbox.http[{number}].parameters");
    let parameters = match wire.parameters {
        Some(parameters) => convert::from_struct(&field, Some(parameters))?,
        None => json!({ "type": "object", "properties": {}, "additionalProperties": false }),
    };
    Ok(HttpTool {
        name: wire.name,
        description: wire.description,
        parameters,
        method: if wire.method.is_empty() { "POST".to_owned() } else { wire.method },
        url: wire.url,
        headers: wire.headers.into_iter().map(|header| header.name).collect(),
        timeout_ms: convert::millis(wire.timeout).unwrap_or(10_000),
        max_response_bytes: wire.max_response_bytes.unwrap_or(16_384).into(),
        effect: wire.effect.unwrap_or(true),
    })
}

pub(super) fn history_to_wire(history: HistoryWindow) -> v1::HistoryWindow {
    v1::HistoryWindow { max_messages: Some(history.max_messages), max_tokens: Some(history.max_tokens) }
}

pub(super) fn languages_to_wire(codes: Vec<String>, default_code: String) -> Option<v1::Languages> {
    (!codes.is_empty()).then_some(v1::Languages { codes, default_code })
}

pub(super) fn schedule_to_wire(schedule: Schedule) -> v1::Schedule {
    let day = |day| DAYS.iter().find(|(known, _)| *known == day).map_or(v1::Weekday::Unspecified, |it| it.1);
    let outside = OUTSIDE.iter().find(|(known, _)| *known == schedule.outside);
    let hours = schedule.hours.into_iter();
    let holidays = schedule.holidays.into_iter();
    v1::Schedule {
        hours: hours
            .map(|it| v1::WeeklyHours { day: day(it.day).into(), start: it.start, end: it.end })
            .collect(),
        holidays: holidays.map(|it| v1::Holiday { date: it.date, start: it.start, end: it.end }).collect(),
        outside: outside.map_or(v1::OutsideHours::Unspecified, |it| it.1).into(),
        outside_text: schedule.outside_text,
    }
}

pub(super) fn toolbox_to_wire(
    tools: Option<Vec<ToolChoice>>,
    http_tools: Vec<HttpTool>,
) -> Option<v1::Toolbox> {
    let tools = tools?.into_iter();
    let header = |name| v1::HttpToolHeader { name, value: String::new() };
    let http = http_tools.into_iter().map(|tool| v1::HttpTool {
        name: tool.name,
        description: tool.description,
        parameters: Some(convert::to_struct(&tool.parameters)),
        method: tool.method,
        url: tool.url,
        headers: tool.headers.into_iter().map(header).collect(),
        timeout: Some(convert::duration(tool.timeout_ms)),
        max_response_bytes: i32::try_from(tool.max_response_bytes).ok(),
        effect: Some(tool.effect),
    });
    Some(v1::Toolbox {
        tools: tools
            .map(|tool| v1::Tool { name: tool.name, settings: Some(convert::to_struct(&tool.settings)) })
            .collect(),
        http: http.collect(),
    })
}
