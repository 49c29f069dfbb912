//! amoCRM and Kommo: one product under two names. How a workspace is let into an account, by OAuth 2.0.
//! <https://www.amocrm.ru/developers/content/oauth/step-by-step> (read 2026-11-20)

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use domain::{
    FieldViolation, Reason, SystemClock, Timestamp,
    clock::Clock as _,
    connection::{CheckOutcome, CheckStep, Connection, Connector, CredentialField},
    integration::{AUTHORIZE, CREDENTIALS_STEP},
    oauth::{Consent, OAuthProvider, Tokens},
    vendor::{Applied, FailureKind, Retry, Vendor, VendorError},
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header::CONTENT_TYPE};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

mod channel;
mod chats;
mod crm;
mod facts;
mod form;
mod hooks;
mod lenient;
mod moved;
mod notes;
mod rest;
mod salesbot;
mod settings;
pub mod sources;
mod subscription;
mod talks;

use self::{rest::Rest, settings::Settings};
use crate::http::{Call, HttpClient, Patience};

/// Gives the vendor. `sources`: what the operator says of them.
pub fn vendor(http: HttpClient, sources: sources::Defaults) -> Vendor {
    let amocrm = Arc::new(AmoCrm { http, sources });
    Vendor {
        connector: Some(Arc::clone(&amocrm) as _),
        oauth: Some(Arc::clone(&amocrm) as _),
        crm: Some(Arc::clone(&amocrm) as _),
        sources: Some(Arc::clone(&amocrm) as _),
        receiver: Some(Arc::clone(&amocrm) as _),
        sender: Some(Arc::clone(&amocrm) as _),
        mirror: Some(Arc::clone(&amocrm) as _),
        channel: Some(Arc::clone(&amocrm) as _),
        hooks: Some(amocrm),
        ..Vendor::new(ID, "amoCRM / Kommo", "https://www.amocrm.ru/developers")
    }
}

const ID: &str = "amocrm";
/// What the vendor's own library waits for, at most.
const PATIENCE: Patience = Patience {
    head: Duration::from_secs(20),
    idle: Duration::from_secs(5),
    whole: Duration::from_secs(20),
    most_bytes: 256 * 1024,
};

struct AmoCrm {
    http: HttpClient,
    sources: sources::Defaults,
}

#[async_trait]
impl Connector for AmoCrm {
    fn settings_schema(&self) -> Value {
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {
                "base_domain": {
                    "type": "string", "enum": ["amocrm.ru", "amocrm.com", "kommo.com"], "default": "amocrm.ru",
                    "title": "Domain", "description": "The domain that the account is under."
                },
                "subdomain": {
                    "type": "string", "minLength": 1, "maxLength": 63, "title": "Account",
                    "description": "The first part of the account's host: acme of acme.amocrm.ru."
                },
                "client_id": {
                    "type": "string", "minLength": 1, "maxLength": 100, "title": "Integration id",
                    "description": "From the integration's page, the tab with keys and scopes."
                },
                "redirect_url": {
                    "type": "string", "format": "uri", "title": "Redirect URL",
                    "description": "This server's /oauth/callback as the browser reaches it, written exactly as in the integration's settings."
                },
                "base_url": {
                    "type": "string", "format": "uri", "title": "Address",
                    "description": "In the place of the account's own address: a proxy, or a simulator. {subdomain} in its path stands for the account."
                },
                "chats_url": {
                    "type": "string", "format": "uri", "title": "Address of the Chats API",
                    "description": "In the place of the vendor's own address of it: a proxy, or a simulator."
                },
                "chat_channel_id": {
                    "type": "string", "format": "uuid", "title": "Channel of the chats",
                    "description": "The channel that messages of the account's chats belong to: its agent answers them. Without it they are events only."
                },
                "auto_source": {
                    "type": "boolean", "title": "Source of the chats",
                    "description": "Whether the account's chats carry a source of this integration's own: it is found by its name, and made where it isn't there."
                },
                "source_name": {
                    "type": "string", "minLength": 1, "maxLength": 200, "title": "Name of the source",
                    "description": "Without it: what the operator has set, else TeMa Edna."
                },
                "source_pipeline_id": {
                    "type": ["string", "integer"], "title": "Pipeline of the source",
                    "description": "The id of the pipeline that a new source's leads go to. Without it: that of a source that is there, else the main one."
                },
                "source_external_id_prefix": {
                    "type": "string", "minLength": 1, "maxLength": 27, "title": "Beginning of the source's id",
                    "description": "Printable ASCII. Without it: what the operator has set, else tema_edna."
                }
            },
            "required": ["subdomain", "client_id", "redirect_url"],
            "additionalProperties": false
        })
    }

    fn credentials(&self) -> &'static [CredentialField] {
        const FIELDS: &[CredentialField] = &[
            CredentialField {
                name: "client_secret",
                title: "Secret key",
                description: "From the integration's page, the tab with keys and scopes.",
                required: true,
            },
            CredentialField {
                name: chats::SECRET,
                title: "Secret key of the chats",
                description: "As the vendor gave it when it registered the channel of the Chats API. Without one there are none.",
                required: false,
            },
        ];
        FIELDS
    }

    fn check_settings(&self, settings: &Value) -> Result<(), Vec<FieldViolation>> {
        Settings::read(settings).map(drop)
    }

    fn targets(&self, settings: &Value) -> Vec<(&'static str, String)> {
        let Ok(Settings { base_url, chats_url, .. }) = Settings::read(settings) else { return Vec::new() };
        let named = [("base_url", base_url), ("chats_url", chats_url)].into_iter();
        named.filter_map(|(name, url)| url.map(|url| (name, url))).collect()
    }

    async fn check_target(&self, url: &str) -> Result<(), (Reason, String)> {
        self.http.check_target(url).await
    }

    async fn check(&self, connection: &Connection) -> Vec<CheckStep> {
        let step = |outcome, detail: String, remedy: &str| {
            vec![CheckStep { name: CREDENTIALS_STEP, outcome, detail, remedy: remedy.to_owned() }]
        };
        match self.account(connection).await {
            Ok(name) => step(CheckOutcome::Passed, format!("the account {name} lets us in"), ""),
            Err(error) if error.kind == FailureKind::Unauthorized && error.http_status == Some(401) => {
                step(CheckOutcome::Failed, error.to_string(), AUTHORIZE)
            }
            Err(error) => vec![CheckStep {
                name: "account",
                outcome: CheckOutcome::Failed,
                detail: error.to_string(),
                remedy: match error.kind {
                    FailureKind::OutOfQuota => "pay for the account",
                    FailureKind::Forbidden => "have an administrator of the account consent",
                    FailureKind::Unauthorized => {
                        "where the account has moved to is asked with the next call; if it isn't found, correct the setting \
                         subdomain"
                    }
                    FailureKind::NotFound => "correct the setting subdomain",
                    _ => "try again later",
                }
                .to_owned(),
            }],
        }
    }
}

impl AmoCrm {
    /// Gives the account's name.
    async fn account(&self, connection: &Connection) -> Result<String, VendorError> {
        #[derive(Deserialize)]
        struct Account {
            name: String,
        }
        let account = Rest::new(&self.http, connection, "check")?.get::<Account>("account", &[]).await?;
        let account = account.ok_or_else(|| bad_answer("check"))?;
        Ok(account.name.chars().take(100).collect())
    }

    async fn call(
        &self,
        operation: &'static str,
        method: Method,
        url: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Bytes, VendorError> {
        let now = SystemClock.now();
        let call = Call { vendor: ID, operation, method, url, headers, body, now };
        let mut opened = self.http.open(&call, PATIENCE).await?;
        if opened.status == StatusCode::OK {
            return opened.whole().await;
        }
        // The body of a refusal may hold what we sent.
        let (_, refusal) = opened.refusal(&call).await;
        Err(VendorError { excerpt: None, ..refusal })
    }

    /// Asks for a pair. <https://www.amocrm.ru/developers/content/oauth/oauth> (read 2026-11-20)
    async fn tokens(
        &self,
        operation: &'static str,
        connection: &Connection,
        (grant_type, name, secret): (&str, &str, &SecretString),
        now: Timestamp,
    ) -> Result<Tokens, VendorError> {
        #[derive(Deserialize)]
        struct Answer {
            access_token: String,
            refresh_token: String,
            expires_in: u64,
        }
        let settings = settings(connection, operation)?;
        let client_secret =
            connection.credential("client_secret").map(ExposeSecret::expose_secret).unwrap_or_default();
        let body = json!({
            "client_id": settings.client_id,
            "client_secret": client_secret,
            "grant_type": grant_type,
            name: secret.expose_secret(),
            "redirect_uri": settings.redirect_url,
        });
        let url = format!("{}/oauth2/access_token", settings.base_url());
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        let answer = self.call(operation, Method::POST, &url, headers, body.to_string().into()).await;
        let answer = answer.map_err(|error| match error.http_status {
            // A spent or revoked token is answered with either.
            Some(400 | 401) => VendorError { kind: FailureKind::Unauthorized, retry: Retry::Never, ..error },
            _ => error,
        })?;
        let answer: Answer = serde_json::from_slice(&answer).map_err(|_| bad_answer(operation))?;
        Ok(Tokens {
            access: answer.access_token.into(),
            refresh: Some(answer.refresh_token.into()),
            expires_at: Some(now + Duration::from_secs(answer.expires_in)),
        })
    }
}

#[async_trait]
impl OAuthProvider for AmoCrm {
    fn pkce(&self) -> bool {
        false
    }

    fn redirect_url(&self, connection: &Connection) -> String {
        Settings::read(&connection.settings).map(|settings| settings.redirect_url).unwrap_or_default()
    }

    /// Scopes and redirect address stand in the integration's settings at the vendor, not in the query.
    fn authorize_url(&self, connection: &Connection, state: &str, _challenge: Option<&str>) -> String {
        let Ok(settings) = Settings::read(&connection.settings) else { return String::new() };
        let parameters = [("client_id", settings.client_id.as_str()), ("state", state), ("mode", "popup")];
        Url::parse_with_params(&settings.consent_url(), parameters).map(String::from).unwrap_or_default()
    }

    async fn exchange(&self, connection: &Connection, consent: &Consent) -> Result<Tokens, VendorError> {
        let settings = settings(connection, "exchange")?;
        // Whoever consented says for which account; the client secret goes to no other.
        if let Some(referer) = consent.parameters.get("referer") {
            let host = referer.trim_start_matches("https://").trim_end_matches('/');
            if !host.eq_ignore_ascii_case(&settings.host()) {
                let detail = format!("the consent is for another account than {}", settings.host());
                return Err(failed("exchange", FailureKind::Forbidden, &detail, Retry::Never));
            }
        }
        let code = ("authorization_code", "code", &consent.code);
        self.tokens("exchange", connection, code, consent.now).await
    }

    async fn refresh(
        &self,
        connection: &Connection,
        refresh: &SecretString,
        now: Timestamp,
    ) -> Result<Tokens, VendorError> {
        self.tokens("refresh", connection, ("refresh_token", "refresh_token", refresh), now).await
    }

    async fn moved(
        &self,
        connection: &Connection,
        access: &SecretString,
        refresh: Option<&SecretString>,
    ) -> Result<Option<Value>, VendorError> {
        self.whereabouts(connection, access, refresh).await
    }
}

fn settings(connection: &Connection, operation: &'static str) -> Result<Settings, VendorError> {
    Settings::read(&connection.settings)
        .map_err(|_| failed(operation, FailureKind::Other, "the settings are not valid", Retry::Never))
}

fn bad_answer(operation: &'static str) -> VendorError {
    let error = failed(operation, FailureKind::BadAnswer, "the answer can't be read", Retry::Backoff);
    VendorError { applied: Applied::Maybe, ..error }
}

fn failed(operation: &'static str, kind: FailureKind, detail: &str, retry: Retry) -> VendorError {
    VendorError {
        vendor: ID,
        operation,
        kind,
        http_status: None,
        detail: detail.to_owned(),
        excerpt: None,
        applied: Applied::No,
        retry,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amocrm() -> AmoCrm {
        AmoCrm {
            http: HttpClient::new(crate::http::Settings::default()),
            sources: sources::Defaults::default(),
        }
    }

    fn good() -> Value {
        json!({ "subdomain": "acme", "client_id": "3f0a", "redirect_url": "https://app.example/oauth/callback" })
    }

    #[test]
    fn people_are_sent_to_the_page_of_their_domain() {
        let amocrm = amocrm();
        let mut connection = Connection { settings: good(), ..Connection::default() };
        let url = amocrm.authorize_url(&connection, "a state", None);
        assert_eq!(url, "https://www.amocrm.ru/oauth?client_id=3f0a&state=a+state&mode=popup");
        connection.settings["base_domain"] = json!("kommo.com");
        assert!(amocrm.authorize_url(&connection, "s", None).starts_with("https://www.kommo.com/oauth?"));
    }

    #[tokio::test]
    async fn a_consent_for_another_account_is_refused_before_the_secret_is_sent() {
        let amocrm = amocrm();
        let connection = Connection { settings: good(), ..Connection::default() };
        let parameters = [("referer".to_owned(), "evil.amocrm.ru".to_owned())].into();
        let code = "c".to_owned().into();
        let consent = Consent { code, verifier: None, parameters, now: Timestamp::UNIX_EPOCH };
        let refused = amocrm.exchange(&connection, &consent).await.unwrap_err();
        assert_eq!((refused.kind, refused.applied), (FailureKind::Forbidden, Applied::No));
    }
}
