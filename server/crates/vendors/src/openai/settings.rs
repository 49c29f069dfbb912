//! What a connection and an agent's engine can be told.

use std::time::Duration;

use domain::FieldViolation;
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::{Map, Value, json};

use crate::{account, http::Patience, settings};

/// Where the vendor's own API is.
const BASE_URL: &str = "https://api.openai.com/v1";
/// How many bytes of an answer are read, streamed or not: a stream spends hundreds on each token.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// A connection's settings.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Account {
    /// Where the API is. `None`: the vendor's own.
    pub(super) base_url: Option<String>,
    /// The organization that calls are counted for. `None`: the key's default.
    #[serde(deserialize_with = "name")]
    pub(super) organization: Option<String>,
    /// The project that calls are counted for. `None`: the key's default.
    #[serde(deserialize_with = "name")]
    pub(super) project: Option<String>,
}

/// Reads what will be the value of a header.
fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let name = Option::<String>::deserialize(deserializer)?;
    match &name {
        Some(text) if text.len() > 200 || !text.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Err(de::Error::custom("no name"))
        }
        _ => Ok(name),
    }
}

impl Account {
    pub(super) fn read(given: &Value) -> Result<Self, Vec<FieldViolation>> {
        let id = "must be an id, up to 200 letters, digits and signs";
        let account: Self =
            settings::read(given, &[("base_url", account::BASE_URL), ("organization", id), ("project", id)])?;
        account::check_base_url(account.base_url.as_deref())?;
        Ok(account)
    }

    pub(super) fn schema() -> Value {
        let text = |title: &str, description: &str| json!({ "type": "string", "title": title, "description": description, "maxLength": 200 });
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "base_url": account::base_url_schema(
                    BASE_URL,
                    "Where the API is, with its version. Of a compatible server, for example http://127.0.0.1:11434/v1.",
                ),
                "organization": text("Organization", "The organization that calls are counted for. Empty: the key's default."),
                "project": text("Project", "The project that calls are counted for. Empty: the key's default."),
            },
        })
    }

    pub(super) fn base_url(&self) -> &str {
        self.base_url.as_deref().unwrap_or(BASE_URL)
    }

    /// Whether it is the vendor itself, and no compatible server.
    pub(super) fn is_genuine(&self) -> bool {
        self.base_url().trim_end_matches('/') == BASE_URL
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
    #[serde(deserialize_with = "penalty")]
    pub(super) presence_penalty: Option<f64>,
    #[serde(deserialize_with = "penalty")]
    pub(super) frequency_penalty: Option<f64>,
    #[serde(deserialize_with = "seed")]
    pub(super) seed: Option<i32>,
    pub(super) stop: Option<Stop>,
    pub(super) reasoning_effort: Option<Effort>,
    pub(super) verbosity: Option<Verbosity>,
    pub(super) service_tier: Option<Tier>,
    pub(super) parallel_tool_calls: Option<bool>,
    pub(super) response_format: Option<ResponseFormat>,
    /// What the longest output is called. `None`: the newer name at the vendor, the older one elsewhere.
    pub(super) max_tokens_parameter: Option<MaxTokens>,
    /// Who says the instructions. `None`: `system`, which nearly all know.
    pub(super) instructions_role: Option<InstructionsRole>,
    /// Whether a stream is asked to tell its tokens. `None`: yes.
    pub(super) stream_options: Option<bool>,
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
            presence_penalty: None,
            frequency_penalty: None,
            seed: None,
            stop: None,
            reasoning_effort: None,
            verbosity: None,
            service_tier: None,
            parallel_tool_calls: None,
            response_format: None,
            max_tokens_parameter: None,
            instructions_role: None,
            stream_options: None,
            // As the vendor's own clients have it.
            timeout: Duration::from_mins(10),
            // Models that think say nothing meanwhile.
            idle_timeout: Duration::from_mins(5),
        }
    }
}

/// One text, or up to four.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub(super) struct Stop(Vec<String>);

impl<'de> Deserialize<'de> for Stop {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let texts = match Value::deserialize(deserializer)? {
            Value::String(text) => vec![text],
            other => Vec::<String>::deserialize(other).map_err(de::Error::custom)?,
        };
        let fits = (1..=4).contains(&texts.len()) && texts.iter().all(|text| (1..=200).contains(&text.len()));
        if fits { Ok(Self(texts)) } else { Err(de::Error::custom("one to four texts")) }
    }
}

macro_rules! words {
    ($name:ident { $($variant:ident),+ }) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub(super) enum $name { $($variant),+ }
    };
}

words!(Effort { None, Minimal, Low, Medium, High, Xhigh, Max });
words!(Verbosity { Low, Medium, High });
words!(Tier { Auto, Default, Flex, Scale, Priority, Fast });
words!(MaxTokens { MaxTokens, MaxCompletionTokens });
words!(InstructionsRole { System, Developer });

/// An object whose `type` is known; the rest is between the operator and the vendor.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub(super) struct ResponseFormat(Map<String, Value>);

impl<'de> Deserialize<'de> for ResponseFormat {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let members = Map::deserialize(deserializer)?;
        let schema = members.get("json_schema").is_some_and(Value::is_object);
        match members.get("type").and_then(Value::as_str) {
            Some("text" | "json_object") if members.len() == 1 => Ok(Self(members)),
            Some("json_schema") if schema && members.len() == 2 => Ok(Self(members)),
            _ => Err(de::Error::custom("no format")),
        }
    }
}

fn top_p<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    settings::number(deserializer, 0.0, 1.0).map(Some)
}

fn penalty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    settings::number(deserializer, -2.0, 2.0).map(Some)
}

fn seed<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i32>, D::Error> {
    settings::whole_number(deserializer, i32::MIN, i32::MAX).map(Some)
}

impl Settings {
    pub(super) fn read(given: &Value) -> Result<Self, Vec<FieldViolation>> {
        let yes_or_no = "must be true or false";
        let penalty = "must be a number, -2 to 2";
        settings::read(
            given,
            &[
                ("stream", yes_or_no),
                ("images", yes_or_no),
                ("top_p", "must be a number, 0 to 1"),
                ("presence_penalty", penalty),
                ("frequency_penalty", penalty),
                ("seed", "must be a whole number of 32 bits"),
                ("stop", "must be a text, or one to four of them, each up to 200 bytes"),
                ("reasoning_effort", "must be `none`, `minimal`, `low`, `medium`, `high`, `xhigh` or `max`"),
                ("verbosity", "must be `low`, `medium` or `high`"),
                ("service_tier", "must be `auto`, `default`, `flex`, `scale`, `priority` or `fast`"),
                ("parallel_tool_calls", yes_or_no),
                (
                    "response_format",
                    "must be {\"type\": \"text\"}, {\"type\": \"json_object\"}, or {\"type\": \"json_schema\", \
                     \"json_schema\": {…}}",
                ),
                ("max_tokens_parameter", "must be `max_tokens` or `max_completion_tokens`"),
                ("instructions_role", "must be `system` or `developer`"),
                ("stream_options", yes_or_no),
                ("timeout_seconds", settings::SECONDS),
                ("idle_timeout_seconds", settings::SECONDS),
            ],
        )
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
            "stream": "yes", "top_p": 1.5, "seed": 1.5, "stop": [], "reasoning_effort": "huge", "verbosity": 1,
            "response_format": {"type": "json_object", "more": 1}, "max_tokens_parameter": "tokens",
            "timeout_seconds": 0, "temperature": 1, "presence_penalty": -3, "images": null,
        });
        let mut expected: Vec<_> =
            bad.as_object().unwrap().keys().map(|name| format!("settings.{name}")).collect();
        expected.sort();
        assert_eq!(fields(Settings::read(&bad).unwrap_err()), expected);
        assert_eq!(fields(Settings::read(&json!("x")).unwrap_err()), ["settings"]);
    }

    #[test]
    fn good_settings_are_taken() {
        let good = json!({
            "stream": false, "images": false, "top_p": 1.0, "seed": 7.0, "stop": "END", "reasoning_effort": "low",
            "verbosity": "high", "service_tier": "flex", "parallel_tool_calls": false,
            "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}},
            "max_tokens_parameter": "max_tokens", "instructions_role": "developer", "stream_options": false,
            "timeout_seconds": 30.0, "idle_timeout_seconds": 0.5, "presence_penalty": 0, "frequency_penalty": 2,
        });
        let settings = Settings::read(&good).unwrap();
        assert_eq!((settings.seed, settings.timeout), (Some(7), Duration::from_secs(30)));
        assert!(Settings::read(&Value::Null).unwrap().stream);
    }

    #[test]
    fn a_connection_has_an_address_and_names() {
        let account = Account::read(&json!({ "base_url": "http://x/v1/", "organization": "org-1" })).unwrap();
        assert!(!account.is_genuine() && Account::default().is_genuine());
        let bad = json!({ "base_url": "x", "organization": "a b", "key": "sk" });
        assert_eq!(fields(Account::read(&bad).unwrap_err()), ["settings.key", "settings.organization"]);
        assert_eq!(fields(Account::read(&json!({ "base_url": "x" })).unwrap_err()), ["settings.base_url"]);
        assert_eq!(Account::schema()["properties"]["base_url"]["default"], BASE_URL);
    }
}
