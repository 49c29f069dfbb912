//! An integration's settings.

use domain::{ChannelId, FieldViolation, source::MAX_NAME_CHARS};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::{lenient, sources::Defaults};

/// What stands for the subdomain in `base_url`.
const SUBDOMAIN: &str = "{subdomain}";

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
    /// In the place of `https://{subdomain}.{base_domain}`: a proxy, or the simulator. `{subdomain}` in its path stands for the
    /// account.
    #[serde(default)]
    pub(super) base_url: Option<String>,
    /// In the place of the Chats API's own address: a proxy, or the simulator.
    #[serde(default)]
    pub(super) chats_url: Option<String>,
    /// The channel that messages of the account's chats belong to. `None`: they are events only.
    #[serde(default)]
    chat_channel_id: Option<String>,
    /// Whether the chats carry a source of this integration's own. `None`: as the operator says.
    #[serde(default)]
    pub(super) auto_source: Option<bool>,
    /// The source's name.
    #[serde(default)]
    pub(super) source_name: Option<String>,
    /// The pipeline of a new source.
    #[serde(default, deserialize_with = "pipeline")]
    pub(super) source_pipeline_id: Option<String>,
    /// What a new source's external id begins with.
    #[serde(default)]
    pub(super) source_external_id_prefix: Option<String>,
}

/// A pipeline's id, as a text or a number.
fn pipeline<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    lenient::text(deserializer).map(|id| Some(id).filter(|id| !id.is_empty()))
}

/// Whether the server of an address is the same whatever the subdomain is.
fn names_its_server(url: &str) -> bool {
    let of = |subdomain| Url::parse(&url.replace(SUBDOMAIN, subdomain)).map(|url| url.origin());
    matches!((of("a"), of("b")), (Ok(one), Ok(other)) if one == other)
}

/// Whether it is a pipeline's id: a whole number above 0, or that as a text.
fn is_pipeline(value: &Value) -> bool {
    let of_text = |text: &str| text.parse::<u64>().is_ok_and(|id| id > 0);
    value.as_u64().is_some_and(|id| id > 0) || value.as_str().is_some_and(of_text)
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
    pub(super) fn parse(text: &str) -> Option<Self> {
        [Self::AmoCrmRu, Self::AmoCrmCom, Self::KommoCom].into_iter().find(|base| base.as_str() == text)
    }

    pub(super) const fn as_str(self) -> &'static str {
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

    /// The vendor's own host, whoever's account it is about.
    pub(super) const fn www(self) -> &'static str {
        match self {
            Self::AmoCrmRu | Self::AmoCrmCom => "https://www.amocrm.ru",
            Self::KommoCom => "https://www.kommo.com",
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
                "base_url" if !text.is_some_and(names_its_server) => {
                    add(name, "may have {subdomain} in its path only");
                }
                "chat_channel_id" if text.is_none_or(|text| text.parse::<ChannelId>().is_err()) => {
                    add(name, "must be a channel's id");
                }
                "auto_source" if !value.is_boolean() => add(name, "must be true or false"),
                "source_name"
                    if text.is_none_or(|text| {
                        text.trim().is_empty() || text.chars().count() > MAX_NAME_CHARS
                    }) =>
                {
                    add(name, "must be the source's name, 1 to 200 characters");
                }
                "source_pipeline_id" if !is_pipeline(value) => add(name, "must be a pipeline's id"),
                "source_external_id_prefix" if !text.is_some_and(Defaults::is_prefix) => {
                    add(name, "must be 1 to 27 printable ASCII characters");
                }
                "base_domain"
                | "subdomain"
                | "client_id"
                | "redirect_url"
                | "base_url"
                | "chats_url"
                | "chat_channel_id"
                | "auto_source"
                | "source_name"
                | "source_pipeline_id"
                | "source_external_id_prefix" => {}
                _ => add(
                    name,
                    "is not a setting of this vendor; it knows base_domain, subdomain, client_id, redirect_url, \
                     base_url, chats_url, chat_channel_id, auto_source, source_name, source_pipeline_id and source_external_id_prefix",
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
            Some(url) => url.trim_end_matches('/').replace(SUBDOMAIN, &self.subdomain),
            None => format!("https://{}", self.host()),
        }
    }

    /// What stands in the place of the vendor's own hosts, which are no account's. `None`: nothing does.
    pub(super) fn shared_url(&self) -> Option<String> {
        let url = self.base_url.as_deref()?;
        let Some((before, _)) = url.split_once(SUBDOMAIN) else {
            return Some(url.trim_end_matches('/').to_owned());
        };
        let origin = Url::parse(before).map(|url| url.origin().ascii_serialization());
        Some(origin.unwrap_or_else(|_| before.trim_end_matches('/').to_owned()))
    }

    pub(super) fn chats_url(&self) -> String {
        match &self.chats_url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => self.base_domain.chats_url().to_owned(),
        }
    }

    pub(super) fn consent_url(&self) -> String {
        let base = self.shared_url().unwrap_or_else(|| self.base_domain.www().to_owned());
        format!("{base}/oauth")
    }
}

/// Whether it can be a part of a host's name (RFC 1035): what is put into a URL must not lead elsewhere.
pub(super) fn is_label(text: &str) -> bool {
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
    fn an_address_may_have_a_place_for_the_subdomain() {
        let mut settings = good();
        assert_eq!(Settings::read(&settings).unwrap().base_url(), "https://acme.amocrm.ru");
        assert_eq!(Settings::read(&settings).unwrap().shared_url(), None);
        settings["base_url"] = json!("http://127.0.0.1:9/accounts/{subdomain}/");
        let read = Settings::read(&settings).unwrap();
        assert_eq!(read.base_url(), "http://127.0.0.1:9/accounts/acme");
        assert_eq!(read.consent_url(), "http://127.0.0.1:9/oauth");
        settings["base_url"] = json!("http://127.0.0.1:9/proxy/");
        assert_eq!(Settings::read(&settings).unwrap().consent_url(), "http://127.0.0.1:9/proxy/oauth");
        // Elsewhere than in the path it would choose the server.
        for bad in ["http://{subdomain}.evil.example/", "http://evil.example:{subdomain}/"] {
            settings["base_url"] = json!(bad);
            assert!(Settings::read(&settings).is_err(), "{bad}");
        }
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
            ("auto_source", json!("yes")),
            ("source_name", json!(" ")),
            ("source_pipeline_id", json!("main")),
            ("source_external_id_prefix", json!("источник")),
        ] {
            let mut settings = good();
            settings[name] = value;
            assert_eq!(fields(settings), [format!("settings.{name}")]);
        }
    }
}
