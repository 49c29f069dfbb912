//! Sources: what chats are filed by. An integration sees and changes only its own, and changes need an administrator's consent.
//! <https://www.amocrm.ru/developers/content/crm_platform/sources-api> (read 2026-11-20)
//!
//! What the vendor answers where "multiple sources" is not switched on in the integration is not documented: a refusal that an
//! administrator gets is taken for that.

use std::fmt::Write as _;

use async_trait::async_trait;
use domain::{
    FieldViolation, IntegrationId,
    connection::Connection,
    crm::CrmError,
    integration::{AUTHORIZE, CREDENTIALS_STEP},
    source::{CrmSources, Explained, MAX_EXTERNAL_ID_CHARS, NewSource, Source, SourcePatch, Wish},
    vendor::{FailureKind, VendorError},
};
use http::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::{
    AmoCrm, bad_answer,
    crm::number,
    lenient,
    rest::{Refusal, Rejection},
    settings::Settings,
};

/// How many hexadecimal digits of a digest an external id ends with.
const DIGITS: usize = 12;
/// The longest beginning of an external id, in characters: an underscore and the digest follow.
pub(super) const MAX_PREFIX_CHARS: usize = MAX_EXTERNAL_ID_CHARS - DIGITS - 1;

/// What the operator says of the sources of integrations whose own settings don't.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defaults {
    /// Whether an integration that says nothing of it has a source: on a server for one workspace.
    pub asked: bool,
    /// Whether a source is made where it isn't found.
    pub create: bool,
    /// Its name.
    pub name: String,
    /// Its pipeline.
    pub pipeline_id: Option<String>,
    /// What its external id begins with.
    pub prefix: String,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            asked: false,
            create: true,
            name: "TeMa Edna".to_owned(),
            pipeline_id: None,
            prefix: "tema_edna".to_owned(),
        }
    }
}

impl Defaults {
    /// Whether a text can be the beginning of an external id.
    pub fn is_prefix(text: &str) -> bool {
        domain::source::is_external_id(text) && text.len() <= MAX_PREFIX_CHARS
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Wire {
    #[serde(deserialize_with = "lenient::text")]
    id: String,
    #[serde(deserialize_with = "lenient::text")]
    name: String,
    #[serde(deserialize_with = "lenient::text")]
    external_id: String,
    #[serde(deserialize_with = "lenient::text")]
    pipeline_id: String,
    #[serde(deserialize_with = "lenient::flag")]
    default: bool,
    #[serde(deserialize_with = "lenient::text")]
    origin_code: String,
}

impl Wire {
    fn read(self) -> Source {
        // 0 is none.
        let pipeline_id = if self.pipeline_id == "0" { String::new() } else { self.pipeline_id };
        Source {
            id: self.id,
            name: self.name,
            external_id: self.external_id,
            pipeline_id,
            default: self.default,
            origin_code: self.origin_code,
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Shown {
    #[serde(rename = "_embedded", deserialize_with = "lenient::object")]
    embedded: Embedded,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Embedded {
    #[serde(deserialize_with = "lenient::list")]
    sources: Vec<Wire>,
}

impl Shown {
    fn first(self) -> Option<Source> {
        self.embedded.sources.into_iter().next().map(Wire::read)
    }
}

#[async_trait]
impl CrmSources for AmoCrm {
    fn wanted(&self, settings: &Value, integration: IntegrationId) -> Option<Wish> {
        let settings = Settings::read(settings).ok()?;
        if !settings.auto_source.unwrap_or(self.sources.asked) {
            return None;
        }
        let name = settings.source_name.clone().unwrap_or_else(|| self.sources.name.clone());
        Some(Wish {
            external_id: self.named(&settings, integration, &name),
            pipeline_id: settings.source_pipeline_id.or_else(|| self.sources.pipeline_id.clone()),
            create: self.sources.create,
            name,
        })
    }

    fn external_id(&self, settings: &Value, integration: IntegrationId, name: &str) -> String {
        match Settings::read(settings) {
            Ok(settings) => self.named(&settings, integration, name),
            Err(_) => String::new(),
        }
    }

    async fn list_sources(&self, connection: &Connection) -> Result<Vec<Source>, CrmError> {
        let rest = self.rest(connection, "list_sources")?;
        let listed = rest.list::<Wire>("sources", &[], "sources").await.map_err(VendorError::from)?;
        Ok(listed.into_iter().map(Wire::read).collect())
    }

    async fn create_source(&self, connection: &Connection, new: &NewSource) -> Result<Source, CrmError> {
        let rest = self.rest(connection, "create_source")?;
        let mut body = json!({ "name": new.name, "external_id": new.external_id, "request_id": "0" });
        if let Some(id) = &new.pipeline_id {
            body["pipeline_id"] = json!(pipeline(id)?);
        }
        if new.default {
            body["default"] = json!(true);
        }
        if let Some(code) = &new.origin_code {
            body["origin_code"] = json!(code);
        }
        let made = rest.send::<Shown>(Method::POST, "sources", &json!([body])).await.map_err(refused)?;
        made.and_then(Shown::first).ok_or_else(|| bad_answer("create_source").into())
    }

    async fn update_source(
        &self,
        connection: &Connection,
        id: &str,
        patch: &SourcePatch,
    ) -> Result<Option<Source>, CrmError> {
        let rest = self.rest(connection, "update_source")?;
        let Some(number) = number(id) else { return Ok(None) };
        let mut body = Map::new();
        body.insert("id".to_owned(), json!(number));
        for (name, value) in [("name", &patch.name), ("external_id", &patch.external_id)] {
            body.extend(value.as_ref().map(|value| (name.to_owned(), json!(value))));
        }
        if let Some(id) = &patch.pipeline_id {
            body.insert("pipeline_id".to_owned(), json!(pipeline(id)?));
        }
        if patch.default == Some(true) {
            body.insert("default".to_owned(), json!(true));
        }
        // As a list of one: what a change of one by its path answers with is not documented.
        match rest.send::<Shown>(Method::PATCH, "sources", &json!([body])).await {
            Ok(shown) => {
                shown.and_then(Shown::first).map(Some).ok_or_else(|| bad_answer("update_source").into())
            }
            Err(refusal) if is_gone(&refusal) => Ok(None),
            Err(refusal) => Err(refused(refusal)),
        }
    }

    async fn delete_source(&self, connection: &Connection, id: &str) -> Result<bool, CrmError> {
        let rest = self.rest(connection, "delete_source")?;
        let Some(number) = number(id) else { return Ok(false) };
        match rest.send::<Value>(Method::DELETE, &format!("sources/{number}"), &Value::Null).await {
            Ok(_) => Ok(true),
            Err(refusal) if is_gone(&refusal) => Ok(false),
            Err(refusal) => Err(refused(refusal)),
        }
    }

    fn explain(&self, error: &CrmError, admin: Option<bool>) -> Explained {
        let error = match error {
            CrmError::Invalid(fields) => {
                let bad = fields.iter().map(|bad| format!("{} {}", bad.field, bad.detail));
                return Explained {
                    step: "data",
                    detail: format!("the CRM found mistakes: {}", bad.collect::<Vec<_>>().join("; ")),
                    remedy: "correct what is named, in the integration's settings or in the call".to_owned(),
                };
            }
            CrmError::Gone(entity, id) => {
                let detail = format!("the {entity} {id} is not there");
                return Explained { step: "data", detail, remedy: "look for it in the CRM".to_owned() };
            }
            CrmError::Vendor(error) => error,
        };
        let (step, remedy) = match (error.kind, admin) {
            (FailureKind::Unauthorized, _) => (CREDENTIALS_STEP, AUTHORIZE),
            // Not found, not allowed: what a method is answered with that the integration does not have.
            _ if error.http_status == Some(405) => ("multiple_sources", MULTIPLE),
            (FailureKind::Forbidden, Some(true)) | (FailureKind::NotFound, _) => {
                ("multiple_sources", MULTIPLE)
            }
            (FailureKind::Forbidden, Some(false)) => ("rights", RIGHTS),
            (FailureKind::Forbidden, None) => ("rights", RIGHTS_OR_MULTIPLE),
            (FailureKind::OutOfQuota, _) => {
                ("account", "pay for the account, or take a tariff that has this")
            }
            (FailureKind::RateLimited, _) => ("reach", "wait; it is tried again by itself"),
            _ if matches!(error.http_status, Some(400 | 422)) => (
                "data",
                "the CRM does not say what it dislikes: look at the source's name, its pipeline, and whether the account has a \
                 hundred sources already",
            ),
            _ => (
                "reach",
                "see whether the CRM is up and this server may reach it; it is tried again by itself",
            ),
        };
        Explained { step, detail: error.to_string(), remedy: remedy.to_owned() }
    }
}

const RIGHTS: &str = "who let us in is no administrator of the account: have an administrator consent, with StartAuthorization";
const MULTIPLE: &str = "switch on \"Multiple sources\" in the integration's settings at the CRM (it is chosen when an integration is \
                        made; if the switch is not there, make the integration anew with it), then authorize it again";
const RIGHTS_OR_MULTIPLE: &str = "have an administrator of the account consent, with StartAuthorization; if one has, switch on \
                                  \"Multiple sources\" in the integration's settings at the CRM";

impl AmoCrm {
    /// The same for the same integration and name, whoever asks and however often.
    fn named(&self, settings: &Settings, integration: IntegrationId, name: &str) -> String {
        let prefix = settings.source_external_id_prefix.as_ref().unwrap_or(&self.sources.prefix);
        let mut id = format!("{prefix}_");
        for byte in &Sha256::digest(format!("{integration}\n{name}"))[..DIGITS / 2] {
            let _ = write!(id, "{byte:02x}");
        }
        id
    }
}

fn is_gone(refusal: &Refusal) -> bool {
    refusal.error.kind == FailureKind::NotFound
        || refusal
            .rejections
            .iter()
            .any(|rejection| rejection.path == "id" || rejection.code == "EntityNotFound")
}

fn pipeline(id: &str) -> Result<u64, CrmError> {
    let bad = || CrmError::Invalid(vec![FieldViolation::new("pipeline_id", "must be a pipeline's id")]);
    number(id).ok_or_else(bad)
}

/// Tells what is wrong field by field, where the vendor says it.
fn refused(refusal: Refusal) -> CrmError {
    let Refusal { error, rejections } = refusal;
    if rejections.is_empty() || !matches!(error.http_status, Some(400 | 422)) {
        return CrmError::Vendor(*error);
    }
    CrmError::Invalid(rejections.iter().map(violation).collect())
}

fn violation(rejection: &Rejection) -> FieldViolation {
    let last = rejection.path.rsplit('.').next().unwrap_or_default();
    let (field, remedy) = match last {
        "name" => ("display_name", "give another name"),
        "external_id" => (
            "external_id",
            "another source of the integration has it: use that one, or give another id of up to 40 ASCII characters",
        ),
        "pipeline_id" => (
            "pipeline_id",
            "the pipeline is not there any more: list the pipelines with refresh, and give one",
        ),
        "default" => ("default", "make another source the default first"),
        "origin_code" => ("origin_code", "give the code of a chat channel of this integration"),
        "" => ("source", "correct it"),
        other => (other, "correct it"),
    };
    let said = if rejection.detail.is_empty() { &rejection.code } else { &rejection.detail };
    FieldViolation::new(field, format!("is refused by the CRM ({said}): {remedy}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::HttpClient;

    fn amocrm(sources: Defaults) -> AmoCrm {
        AmoCrm { http: HttpClient::new(crate::http::Settings::default()), sources }
    }

    fn settings(further: &[(&str, Value)]) -> Value {
        let mut settings = json!({
            "subdomain": "acme", "client_id": "3f0a", "redirect_url": "https://app.example/oauth/callback",
        });
        for (name, value) in further {
            settings[*name] = value.clone();
        }
        settings
    }

    #[test]
    fn what_an_integration_asks_for_goes_before_what_the_operator_says() {
        let id = IntegrationId(uuid::Uuid::nil());
        let of =
            |defaults: Defaults, further: &[(&str, Value)]| amocrm(defaults).wanted(&settings(further), id);
        assert_eq!(of(Defaults::default(), &[]), None);
        let wish = of(Defaults::default(), &[("auto_source", json!(true))]).unwrap();
        assert_eq!((wish.name.as_str(), wish.create, wish.pipeline_id), ("TeMa Edna", true, None));
        assert!(
            wish.external_id.starts_with("tema_edna_") && wish.external_id.len() == 22,
            "{}",
            wish.external_id
        );
        let asked = || Defaults {
            asked: true,
            create: false,
            pipeline_id: Some("7".to_owned()),
            ..Defaults::default()
        };
        let wish = of(asked(), &[]).unwrap();
        assert_eq!((wish.create, wish.pipeline_id.as_deref()), (false, Some("7")));
        assert_eq!(of(asked(), &[("auto_source", json!(false))]), None);
        let own = [
            ("source_name", json!("Shop")),
            ("source_pipeline_id", json!(8)),
            ("source_external_id_prefix", json!("s")),
        ];
        let wish = of(asked(), &own).unwrap();
        assert_eq!((wish.name.as_str(), wish.pipeline_id.as_deref()), ("Shop", Some("8")));
        assert!(wish.external_id.starts_with("s_"));
    }

    #[test]
    fn external_ids_are_the_same_again_and_others_for_others() {
        let crm = amocrm(Defaults::default());
        let of = |id: u128, name: &str| {
            crm.external_id(&settings(&[]), IntegrationId(uuid::Uuid::from_u128(id)), name)
        };
        assert_eq!(of(1, "a"), of(1, "a"));
        assert_ne!(of(1, "a"), of(1, "b"));
        assert_ne!(of(1, "a"), of(2, "a"));
        let longest = "x".repeat(MAX_PREFIX_CHARS);
        assert!(Defaults::is_prefix(&longest) && !Defaults::is_prefix(&format!("{longest}x")));
    }

    #[test]
    fn a_refusal_has_its_remedy() {
        let crm = amocrm(Defaults::default());
        let vendor = |kind, status| {
            CrmError::Vendor(VendorError {
                http_status: Some(status),
                ..super::super::failed("create_source", kind, "no", domain::vendor::Retry::Never)
            })
        };
        let step = |error: &CrmError, admin| crm.explain(error, admin).step;
        assert_eq!(step(&vendor(FailureKind::Forbidden, 403), Some(false)), "rights");
        assert_eq!(step(&vendor(FailureKind::Forbidden, 403), Some(true)), "multiple_sources");
        assert!(crm.explain(&vendor(FailureKind::Forbidden, 403), None).remedy.contains("Multiple sources"));
        assert_eq!(step(&vendor(FailureKind::Other, 400), Some(true)), "data");
        assert_eq!(step(&vendor(FailureKind::Unavailable, 503), None), "reach");
        assert_eq!(step(&vendor(FailureKind::Unauthorized, 401), None), "credentials");
        let bad = |path: &str| Rejection {
            request_id: "0".to_owned(),
            code: "NotSupportedChoice".to_owned(),
            path: path.to_owned(),
            detail: String::new(),
        };
        assert!(violation(&bad("0.pipeline_id")).detail.contains("list the pipelines"));
        assert_eq!(violation(&bad("name")).field, "display_name");
    }
}
