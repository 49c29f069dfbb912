//! What an agent knows and may do, beside its instructions and its engine.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    agent::Engine, crm_context::CrmContext, error::Violations, language, schedule::Schedule,
    window::HistoryWindow, zone::Zone,
};

/// What an agent knows and may do. What is missing has its default, so that older rows stay readable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Profile {
    /// The IANA name of the zone whose clock and calendar it goes by.
    pub time_zone: String,
    /// How much of a dialogue its engine is given.
    pub history: HistoryWindow,
    /// The languages it answers in, ISO 639-1; none: nothing is told of languages.
    pub languages: Vec<String>,
    /// What it answers in where the customer's language is not known or not among them: one of `languages`.
    pub default_language: String,
    /// When it is there. `None`: always.
    pub schedule: Option<Schedule>,
    /// The tools of ours that it may use. `None`: nobody chose, so the usual ones.
    pub tools: Option<Vec<ToolChoice>>,
    /// The tools of its own.
    pub http_tools: Vec<HttpTool>,
    /// Who writes when its engine fails for good.
    pub fallback_engine: Option<Engine>,
    /// What it may see of its customer in the CRM.
    pub crm: CrmContext,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            time_zone: "UTC".to_owned(),
            history: HistoryWindow::default(),
            languages: Vec::new(),
            default_language: String::new(),
            schedule: None,
            tools: None,
            http_tools: Vec::new(),
            fallback_engine: None,
            crm: CrmContext::default(),
        }
    }
}

/// A tool that is switched on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolChoice {
    /// Which.
    pub name: String,
    /// Its own settings, an object; the tool has checked it.
    pub settings: Value,
}

/// A tool that is a call of somebody's HTTP endpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HttpTool {
    /// What the model calls it.
    pub name: String,
    /// What it does, for the model.
    pub description: String,
    /// JSON Schema of its arguments, an object.
    pub parameters: Value,
    /// `GET`, `POST`, `PUT`, `PATCH` or `DELETE`.
    pub method: String,
    /// Where to.
    pub url: String,
    /// The names of its headers. Their values are secrets, and kept elsewhere.
    pub headers: Vec<String>,
    /// How long a call may take, in milliseconds.
    pub timeout_ms: i64,
    /// How much of an answer the model is given, in bytes.
    pub max_response_bytes: i64,
    /// Whether a call changes anything outside. Previews call only tools that don't.
    pub effect: bool,
}

/// How many tools an agent may have of each kind.
const MAX_TOOLS: usize = 64;
const MAX_LANGUAGES: usize = 20;
const METHODS: &[&str] = &["GET", "POST", "PUT", "PATCH", "DELETE"];

impl Profile {
    /// Its zone; one that was saved and is no longer known counts as UTC.
    pub fn zone(&self) -> Zone {
        Zone::find(&self.time_zone).unwrap_or_else(Zone::utc)
    }

    /// Names all that is wrong with it, but for what the tools, the vendors and the HTTP client know; `at` is the agent's
    /// path in the request.
    pub fn check(&self, violations: &mut Violations, at: &str) {
        let field = |rest: &str| format!("{at}.{rest}");
        violations.require(
            Zone::find(&self.time_zone).is_some(),
            &field("time_zone"),
            "must be an IANA name such as Europe/Berlin",
        );
        self.history.check(violations, &field("history"));
        self.check_languages(violations, &field("languages"));
        if let Some(schedule) = &self.schedule {
            schedule.check(violations, &field("schedule"));
        }
        self.crm.check(violations, &field("crm_context"));
        violations.require(self.http_tools.len() <= MAX_TOOLS, &field("toolbox.http"), "may be up to 64");
        for (number, tool) in self.http_tools.iter().enumerate() {
            tool.check(violations, &field(&format!("toolbox.http[{number}]")));
        }
    }

    fn check_languages(&self, violations: &mut Violations, at: &str) {
        violations.require(self.languages.len() <= MAX_LANGUAGES, &format!("{at}.codes"), "may be up to 20");
        for (number, code) in self.languages.iter().enumerate() {
            let field = format!("{at}.codes[{number}]");
            if language::name(code).is_none() {
                let known: Vec<_> = language::codes().collect();
                violations.add(field, format!("must be one of: {}", known.join(", ")));
            } else {
                violations.require(!self.languages[..number].contains(code), &field, "is there twice");
            }
        }
        violations.require(
            self.languages.is_empty() && self.default_language.is_empty()
                || self.languages.contains(&self.default_language),
            &format!("{at}.default_code"),
            "must be one of the codes",
        );
    }
}

impl HttpTool {
    fn check(&self, violations: &mut Violations, at: &str) {
        let field = |rest: &str| format!("{at}.{rest}");
        violations.require(
            is_tool_name(&self.name),
            &field("name"),
            "must be 1 to 64 of the characters A-Z a-z 0-9 _ -",
        );
        violations.require(
            (1..=4_096).contains(&self.description.chars().count()) && !self.description.contains('\0'),
            &field("description"),
            "is required: 1 to 4,096 characters, without U+0000",
        );
        violations.require(
            METHODS.contains(&self.method.as_str()),
            &field("method"),
            "must be GET, POST, PUT, PATCH or DELETE",
        );
        violations.require(
            (100..=60_000).contains(&self.timeout_ms),
            &field("timeout"),
            "must be 0.1 s to 60 s, or not set",
        );
        violations.require(
            (1..=262_144).contains(&self.max_response_bytes),
            &field("max_response_bytes"),
            "must be 1 to 262,144, or not set",
        );
        violations.require(self.headers.len() <= 32, &field("headers"), "may be up to 32");
        for (number, name) in self.headers.iter().enumerate() {
            let field = field(&format!("headers[{number}].name"));
            let known = http::HeaderName::try_from(name.as_str());
            violations.require(
                known.as_ref().is_ok_and(|known| !OURS.contains(&known.as_str())),
                &field,
                "must be the name of a header that is not written by the client itself",
            );
            violations.require(
                !self.headers[..number].iter().any(|other| other.eq_ignore_ascii_case(name)),
                &field,
                "is there twice",
            );
        }
    }
}

/// The headers that no tool may set.
const OURS: &[&str] = &[
    "connection",
    "content-length",
    "content-type",
    "expect",
    "host",
    "idempotency-key",
    "keep-alive",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Whether every vendor takes it for the name of a tool.
pub fn is_tool_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn bad_fields(profile: &Profile) -> Vec<String> {
        let mut violations = Violations::default();
        profile.check(&mut violations, "agent");
        violations.finish().err().map_or_else(Vec::new, |error| {
            error.fields.into_iter().map(|violation| violation.field).collect()
        })
    }

    #[test]
    fn what_is_missing_has_its_default() {
        assert_eq!(serde_json::from_value::<Profile>(json!({})).unwrap(), Profile::default());
        assert_eq!(bad_fields(&Profile::default()), [""; 0]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let languages = |codes: &[&str], default: &str| Profile {
            languages: codes.iter().map(|code| (*code).to_owned()).collect(),
            default_language: default.to_owned(),
            ..Profile::default()
        };
        let tool = HttpTool {
            name: "price".to_owned(),
            description: "Gives a price.".to_owned(),
            parameters: json!({ "type": "object" }),
            method: "GET".to_owned(),
            url: "https://example.com".to_owned(),
            headers: vec!["authorization".to_owned()],
            timeout_ms: 10_000,
            max_response_bytes: 16_384,
            effect: false,
        };
        let with = |tool: HttpTool| Profile { http_tools: vec![tool], ..Profile::default() };
        assert_eq!(bad_fields(&languages(&["en", "de"], "de")), [""; 0]);
        assert_eq!(bad_fields(&with(tool.clone())), [""; 0]);
        let headers = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        for (profile, field) in [
            (Profile { time_zone: "Berlin".to_owned(), ..Profile::default() }, "agent.time_zone"),
            (
                Profile { history: HistoryWindow { max_messages: 0, max_tokens: 100 }, ..Profile::default() },
                "agent.history.max_messages",
            ),
            (
                Profile { history: HistoryWindow { max_messages: 1, max_tokens: 1 }, ..Profile::default() },
                "agent.history.max_tokens",
            ),
            (languages(&["en", "english"], "en"), "agent.languages.codes[1]"),
            (languages(&["en", "en"], "en"), "agent.languages.codes[1]"),
            (languages(&["en"], ""), "agent.languages.default_code"),
            (languages(&[], "en"), "agent.languages.default_code"),
            (with(HttpTool { name: "a b".to_owned(), ..tool.clone() }), "agent.toolbox.http[0].name"),
            (
                with(HttpTool { description: String::new(), ..tool.clone() }),
                "agent.toolbox.http[0].description",
            ),
            (with(HttpTool { method: "get".to_owned(), ..tool.clone() }), "agent.toolbox.http[0].method"),
            (with(HttpTool { timeout_ms: 1, ..tool.clone() }), "agent.toolbox.http[0].timeout"),
            (
                with(HttpTool { max_response_bytes: 0, ..tool.clone() }),
                "agent.toolbox.http[0].max_response_bytes",
            ),
            (
                with(HttpTool { headers: headers(&["Host"]), ..tool.clone() }),
                "agent.toolbox.http[0].headers[0].name",
            ),
            (
                with(HttpTool { headers: headers(&["x-a", "X-A"]), ..tool.clone() }),
                "agent.toolbox.http[0].headers[1].name",
            ),
        ] {
            assert_eq!(bad_fields(&profile), [field], "{profile:?}");
        }
    }
}
