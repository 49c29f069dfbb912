//! What a connection and an agent's engine can be told.

use std::time::Duration;

use domain::FieldViolation;
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::{Map, Value, json};

use crate::{account, http::Patience, settings};

/// Where the vendor's API is.
const BASE_URL: &str = "https://api.anthropic.com";
/// The version of the API that all its models take.
const VERSION: &str = "2023-06-01";
/// How many bytes of an answer are read, streamed or not.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;
/// The longest output where the agent names none: the vendor has no default.
const MAX_TOKENS: i32 = 4_096;
/// The same for a model that decides by itself how long it thinks.
const MAX_TOKENS_THINKING: i32 = 16_384;

/// A connection's settings.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Account {
    /// Where the API is, without its `/v1`. `None`: the vendor's own.
    pub(super) base_url: Option<String>,
    /// The version of the API, a date. `None`: [`VERSION`].
    #[serde(deserialize_with = "word")]
    version: Option<String>,
    /// Names of beta features, with commas between.
    #[serde(deserialize_with = "word")]
    beta: Option<String>,
}

/// Reads what will be the value of a header.
fn word<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let word = Option::<String>::deserialize(deserializer)?;
    match &word {
        Some(text) if text.len() > 200 || !text.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Err(de::Error::custom("no word"))
        }
        _ => Ok(word.filter(|text| !text.is_empty())),
    }
}

impl Account {
    pub(super) fn read(given: &Value) -> Result<Self, Vec<FieldViolation>> {
        let account: Self = settings::read(
            given,
            &[
                ("base_url", account::BASE_URL),
                ("version", "must be a version of the API, such as 2023-06-01"),
                ("beta", "must be names of features, with commas between, up to 200 characters"),
            ],
        )?;
        account::check_base_url(account.base_url.as_deref())?;
        Ok(account)
    }

    pub(super) fn schema() -> Value {
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "base_url": account::base_url_schema(BASE_URL, "Where the API is, without its /v1."),
                "version": {
                    "type": "string",
                    "title": "Version",
                    "description": "The version of the API, sent as anthropic-version.",
                    "default": VERSION,
                    "maxLength": 200,
                },
                "beta": {
                    "type": "string",
                    "title": "Beta features",
                    "description": "Names of beta features, with commas between, sent as anthropic-beta.",
                    "maxLength": 200,
                },
            },
        })
    }

    /// The URL of a path behind `/v1`, which people may have written into the base URL.
    pub(super) fn url(&self, path: &str) -> String {
        let base = self.base_url.as_deref().unwrap_or(BASE_URL).trim_end_matches('/');
        account::join(base.strip_suffix("/v1").unwrap_or(base), &format!("v1/{path}"))
    }

    pub(super) fn version(&self) -> &str {
        self.version.as_deref().unwrap_or(VERSION)
    }

    pub(super) fn beta(&self) -> Option<&str> {
        self.beta.as_deref()
    }
}

/// What an agent's `engine.settings` may hold.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Settings {
    /// Whether the answer is read as it is written, by which it can be stopped in the middle.
    pub(super) stream: bool,
    /// Whether images are shown to the model, and not only named.
    pub(super) images: bool,
    #[serde(deserialize_with = "top_p")]
    pub(super) top_p: Option<f64>,
    #[serde(deserialize_with = "top_k")]
    pub(super) top_k: Option<i32>,
    #[serde(deserialize_with = "stop_sequences")]
    pub(super) stop_sequences: Vec<String>,
    pub(super) thinking: Option<Thinking>,
    pub(super) effort: Option<Effort>,
    /// JSON Schema that the answer must fit.
    pub(super) output_schema: Option<Map<String, Value>>,
    pub(super) service_tier: Option<Tier>,
    /// Whether it may call several tools at once. `None`: yes.
    pub(super) parallel_tool_calls: Option<bool>,
    /// Whether the vendor is asked to keep instructions and tools for the next call, which makes them cheaper.
    pub(super) cache_instructions: bool,
    /// How long a call may take, all in all.
    #[serde(rename = "timeout_seconds", deserialize_with = "settings::seconds")]
    pub(super) timeout: Duration,
    /// How long the vendor may be silent, before its answer or in it.
    #[serde(rename = "idle_timeout_seconds", deserialize_with = "settings::seconds")]
    pub(super) idle_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            stream: true,
            images: true,
            top_p: None,
            top_k: None,
            stop_sequences: Vec::new(),
            thinking: None,
            effort: None,
            output_schema: None,
            service_tier: None,
            parallel_tool_calls: None,
            cache_instructions: false,
            // As the vendor's own clients have it.
            timeout: Duration::from_mins(10),
            // It pings while it thinks.
            idle_timeout: Duration::from_mins(2),
        }
    }
}

/// Whether and how the model thinks first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum Thinking {
    /// As long as it finds right.
    Adaptive,
    /// With so many tokens at most, on older models.
    Enabled { budget_tokens: i32 },
    /// Not.
    Disabled,
}

impl<'de> Deserialize<'de> for Thinking {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let members = Map::deserialize(deserializer)?;
        let budget = members.get("budget_tokens");
        match (members.get("type").and_then(Value::as_str), budget, members.len()) {
            (Some("adaptive"), None, 1) => Ok(Self::Adaptive),
            (Some("disabled"), None, 1) => Ok(Self::Disabled),
            (Some("enabled"), Some(budget), 2) => {
                let budget_tokens =
                    settings::whole_number(budget, 1_024, 1_000_000).map_err(de::Error::custom)?;
                Ok(Self::Enabled { budget_tokens })
            }
            _ => Err(de::Error::custom("no such thinking")),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Effort {
    Low,
    Medium,
    High,
    Xhigh,
    Max,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Tier {
    Auto,
    StandardOnly,
}

fn top_p<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    settings::number(deserializer, 0.0, 1.0).map(Some)
}

fn top_k<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i32>, D::Error> {
    settings::whole_number(deserializer, 1, 100_000).map(Some)
}

fn stop_sequences<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    // The vendor refuses blank ones.
    let fits = texts.len() <= 16 && texts.iter().all(|text| !text.trim().is_empty() && text.len() <= 200);
    if fits { Ok(texts) } else { Err(de::Error::custom("up to 16 texts")) }
}

impl Settings {
    pub(super) fn read(given: &Value) -> Result<Self, Vec<FieldViolation>> {
        let yes_or_no = "must be true or false";
        settings::read(
            given,
            &[
                ("stream", yes_or_no),
                ("images", yes_or_no),
                ("top_p", "must be a number, 0 to 1"),
                ("top_k", "must be a whole number from 1"),
                ("stop_sequences", "must be up to 16 texts that are not blank, each up to 200 bytes"),
                (
                    "thinking",
                    "must be {\"type\": \"adaptive\"}, {\"type\": \"disabled\"}, or {\"type\": \"enabled\", \
                     \"budget_tokens\": …} with 1024 tokens or more",
                ),
                ("effort", "must be `low`, `medium`, `high`, `xhigh` or `max`"),
                ("output_schema", "must be a JSON Schema, an object"),
                ("service_tier", "must be `auto` or `standard_only`"),
                ("parallel_tool_calls", yes_or_no),
                ("cache_instructions", yes_or_no),
                ("timeout_seconds", settings::SECONDS),
                ("idle_timeout_seconds", settings::SECONDS),
            ],
        )
    }

    /// The longest output; what is thought is part of it.
    pub(super) fn max_tokens(&self, asked: Option<i32>) -> i32 {
        asked.unwrap_or(match self.thinking {
            Some(Thinking::Adaptive) => MAX_TOKENS_THINKING,
            Some(Thinking::Enabled { budget_tokens }) => budget_tokens.saturating_add(MAX_TOKENS),
            Some(Thinking::Disabled) | None => MAX_TOKENS,
        })
    }

    pub(super) fn patience(&self) -> Patience {
        Patience {
            // What is not streamed comes at once, at the end.
            head: if self.stream { self.idle_timeout } else { self.timeout },
            idle: self.idle_timeout,
            whole: self.timeout,
            most_bytes: MAX_ANSWER_BYTES,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(bad: Vec<FieldViolation>) -> Vec<String> {
        bad.into_iter().map(|bad| bad.field).collect()
    }

    #[test]
    fn every_bad_setting_is_named() {
        let bad = json!({
            "stream": 1, "top_p": 2, "top_k": 0, "stop_sequences": [" "], "effort": "none", "service_tier": "fast",
            "thinking": {"type": "enabled", "budget_tokens": 1000}, "output_schema": [], "stop": "x",
            "idle_timeout_seconds": 4000,
        });
        let mut expected: Vec<_> =
            bad.as_object().unwrap().keys().map(|name| format!("settings.{name}")).collect();
        expected.sort();
        assert_eq!(fields(Settings::read(&bad).unwrap_err()), expected);
        for bad in [
            json!({"type": "adaptive", "budget_tokens": 2000}),
            json!({"type": "enabled"}),
            json!("adaptive"),
        ] {
            assert!(Settings::read(&json!({ "thinking": bad })).is_err());
        }
    }

    #[test]
    fn the_longest_output_leaves_room_to_think() {
        let max_tokens = |settings: Value| Settings::read(&settings).unwrap().max_tokens(None);
        assert_eq!(max_tokens(json!(null)), 4_096);
        assert_eq!(max_tokens(json!({"thinking": {"type": "adaptive"}})), 16_384);
        assert_eq!(max_tokens(json!({"thinking": {"type": "enabled", "budget_tokens": 2000.0}})), 6_096);
        assert_eq!(Settings::default().max_tokens(Some(7)), 7);
    }

    #[test]
    fn a_connection_has_an_address_and_a_version() {
        for base_url in ["http://x", "http://x/", "http://x/v1", "http://x/v1/"] {
            let account = Account::read(&json!({ "base_url": base_url })).unwrap();
            assert_eq!(account.url("messages"), "http://x/v1/messages");
            assert_eq!((account.version(), account.beta()), ("2023-06-01", None));
        }
        let account = Account::read(&json!({ "version": "2026-10-21", "beta": "a,b" })).unwrap();
        assert_eq!((account.version(), account.beta()), ("2026-10-21", Some("a,b")));
        assert_eq!(account.url("models"), "https://api.anthropic.com/v1/models");
        let bad = json!({ "base_url": 1, "version": "a b", "organization": "x" });
        assert_eq!(
            fields(Account::read(&bad).unwrap_err()),
            ["settings.base_url", "settings.organization", "settings.version"]
        );
    }
}
