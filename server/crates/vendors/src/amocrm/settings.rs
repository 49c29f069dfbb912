//! An integration's settings.

use domain::{ChannelId, FieldViolation};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

/// An integration's settings.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    /// The domain that accounts are under.
    #[serde(default)]
    pub(super) base_domain: BaseDomain,
    /// The account: the first part of its host.
    pub(super) subdomain: String,
    /// The integration's id at the vendor.
    pub(super) client_id: String,
    /// The redirect address of the integration at the vendor, to the byte.
    pub(super) redirect_url: String,
    /// In the place of `https://{subdomain}.{base_domain}`: a proxy, or the simulator.
    #[serde(default)]
    pub(super) base_url: Option<String>,
    /// In the place of the Chats API's own address: a proxy, or the simulator.
    #[serde(default)]
    pub(super) chats_url: Option<String>,
    /// The channel that messages of the account's chats belong to. `None`: they are events only.
    #[serde(default)]
    chat_channel_id: Option<String>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) enum BaseDomain {
    #[default]
    #[serde(rename = "amocrm.ru")]
    AmoCrmRu,
    #[serde(rename = "amocrm.com")]
    AmoCrmCom,
    #[serde(rename = "kommo.com")]
    KommoCom,
}

impl BaseDomain {
    const fn as_str(self) -> &'static str {
        match self {
            Self::AmoCrmRu => "amocrm.ru",
            Self::AmoCrmCom => "amocrm.com",
            Self::KommoCom => "kommo.com",
        }
    }

    /// Where the Chats API is.
    const fn chats_url(self) -> &'static str {
        match self {
            Self::AmoCrmRu => "https://amojo.amocrm.ru",
            Self::AmoCrmCom => "https://amojo.amocrm.com",
            Self::KommoCom => "https://amojo.kommo.com",
        }
    }

    /// Where people consent.
    const fn consent_url(self) -> &'static str {
        match self {
            Self::AmoCrmRu | Self::AmoCrmCom => "https://www.amocrm.ru/oauth",
            Self::KommoCom => "https://www.kommo.com/oauth",
        }
    }
}

impl Settings {
    pub(super) fn read(settings: &Value) -> Result<Self, Vec<FieldViolation>> {
        let Value::Object(members) = settings else {
            return Err(vec![FieldViolation::new("settings", "must be an object")]);
        };
        let mut bad = Vec::new();
        let mut add =
            |name: &str, detail: &str| bad.push(FieldViolation::new(format!("settings.{name}"), detail));
        for (name, value) in members {
            let text = value.as_str();
            let is_url =
                |text: &str| Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
            match name.as_str() {
                "base_domain" if BaseDomain::deserialize(value).is_err() => {
                    add(name, "must be amocrm.ru, amocrm.com or kommo.com");
                }
                "subdomain" if !text.is_some_and(is_label) => {
                    add(name, "must be the first part of the account's host, such as acme");
                }
                "client_id" if text.is_none_or(|text| text.is_empty() || text.len() > 100) => {
                    add(name, "must be the integration's id, 1 to 100 characters");
                }
                "redirect_url" | "base_url" | "chats_url" if !text.is_some_and(is_url) => {
                    add(name, "must be an absolute http or https URL");
                }
                "chat_channel_id" if text.is_none_or(|text| text.parse::<ChannelId>().is_err()) => {
                    add(name, "must be a channel's id");
                }
                "base_domain" | "subdomain" | "client_id" | "redirect_url" | "base_url" | "chats_url"
                | "chat_channel_id" => {}
                _ => add(
                    name,
                    "is not a setting of this vendor; it knows base_domain, subdomain, client_id, redirect_url, \
                     base_url, chats_url and chat_channel_id",
                ),
            }
        }
        for name in ["subdomain", "client_id", "redirect_url"] {
            if !members.contains_key(name) {
                add(name, "is required");
            }
        }
        if !bad.is_empty() {
            return Err(bad);
        }
        Self::deserialize(settings).map_err(|_| vec![FieldViolation::new("settings", "can't be read")])
    }

    /// The account's host.
    pub(super) fn host(&self) -> String {
        format!("{}.{}", self.subdomain, self.base_domain.as_str())
    }

    pub(super) fn base_url(&self) -> String {
        match &self.base_url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => format!("https://{}", self.host()),
        }
    }

    pub(super) fn chats_url(&self) -> String {
        match &self.chats_url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => self.base_domain.chats_url().to_owned(),
        }
    }

    pub(super) fn consent_url(&self) -> String {
        match &self.base_url {
            Some(url) => format!("{}/oauth", url.trim_end_matches('/')),
            None => self.base_domain.consent_url().to_owned(),
        }
    }
}

/// Whether it can be a part of a host's name (RFC 1035): what is put into a URL must not lead elsewhere.
fn is_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn good() -> Value {
        json!({ "subdomain": "acme", "client_id": "3f0a", "redirect_url": "https://app.example/oauth/callback" })
    }

    #[test]
    fn settings_name_what_is_wrong() {
        assert!(Settings::read(&good()).is_ok());
        let fields = |settings: Value| -> Vec<String> {
            Settings::read(&settings).unwrap_err().into_iter().map(|bad| bad.field).collect()
        };
        assert_eq!(fields(json!({})), ["settings.subdomain", "settings.client_id", "settings.redirect_url"]);
        for (name, value) in [
            ("subdomain", json!("acme.evil.example/")),
            ("subdomain", json!("a@b")),
            ("base_domain", json!("evil.example")),
            ("redirect_url", json!("javascript:alert(1)")),
            ("colour", json!("red")),
        ] {
            let mut settings = good();
            settings[name] = value;
            assert_eq!(fields(settings), [format!("settings.{name}")]);
        }
    }
}
