//! An account that has moved to another subdomain: nothing of it answers at the old one, and where it is the vendor tells whoever
//! holds one of its tokens. <https://github.com/amocrm/amocrm-oauth-client> (read 2026-11-20)

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use domain::{
    connection::Connection,
    vendor::{FailureKind, Retry, VendorError},
};
use http::{HeaderMap, HeaderName, Method, header::AUTHORIZATION};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    AmoCrm, ID, bad_answer, failed, lenient, settings,
    settings::{BaseDomain, is_label},
};
use crate::account;

const OPERATION: &str = "whereabouts";
const REFRESH_TOKEN: HeaderName = HeaderName::from_static("x-refresh-token");

/// What an access token says of itself, as far as it is needed. Nobody vouches for it but the vendor who gave it to us.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Claims {
    /// A host of the vendor's that stays the same wherever the account moves.
    #[serde(deserialize_with = "lenient::text")]
    api_domain: String,
    #[serde(deserialize_with = "lenient::text")]
    account_id: String,
}

impl Claims {
    fn of(access: &SecretString) -> Self {
        let payload = access.expose_secret().split('.').nth(1);
        let payload = payload.and_then(|payload| URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok());
        payload.and_then(|payload| serde_json::from_slice(&payload).ok()).unwrap_or_default()
    }

    /// The host, if it is one of the vendor's: our tokens go nowhere else.
    fn host(&self) -> Option<&str> {
        let host = self.api_domain.as_str();
        let (label, base) = host.split_once('.')?;
        (is_label(label) && BaseDomain::parse(base).is_some()).then_some(host)
    }
}

#[derive(Deserialize)]
struct Whereabouts {
    #[serde(default, deserialize_with = "lenient::text")]
    id: String,
    subdomain: String,
    #[serde(default)]
    domain: String,
}

impl AmoCrm {
    /// Asks where the account is now. Gives the settings that lead there; `None`: where we thought.
    pub(super) async fn whereabouts(
        &self,
        connection: &Connection,
        access: &SecretString,
        refresh: Option<&SecretString>,
    ) -> Result<Option<Value>, VendorError> {
        let settings = settings(connection, OPERATION)?;
        let claims = Claims::of(access);
        let shared = settings.shared_url();
        let stable = shared.clone().or_else(|| claims.host().map(|host| format!("https://{host}")));
        let mut told = None;
        if let (Some(base), Some(refresh)) = (stable, refresh) {
            let token = account::header(ID, OPERATION, "", refresh.expose_secret())?;
            told =
                Some(self.ask_where(&base, "current/", HeaderMap::from_iter([(REFRESH_TOKEN, token)])).await);
        }
        let told = if let Some(Ok(told)) = told {
            told
        } else {
            // By the other token, at the vendor's own host.
            let base = shared.unwrap_or_else(|| settings.base_domain.www().to_owned());
            let token = account::header(ID, OPERATION, "Bearer ", access.expose_secret())?;
            self.ask_where(&base, "", HeaderMap::from_iter([(AUTHORIZATION, token)])).await?
        };
        if !claims.account_id.is_empty() && !told.id.is_empty() && claims.account_id != told.id {
            let detail = "the vendor told the whereabouts of another account";
            return Err(failed(OPERATION, FailureKind::BadAnswer, detail, Retry::Never));
        }
        // Hosts are made of both: what is told must be able to be one.
        let base = match told.domain.split_once('.') {
            Some((label, base)) if label.eq_ignore_ascii_case(&told.subdomain) => {
                BaseDomain::parse(base).ok_or_else(|| bad_answer(OPERATION))?
            }
            _ => settings.base_domain,
        };
        if !is_label(&told.subdomain) {
            return Err(bad_answer(OPERATION));
        }
        if told.subdomain.eq_ignore_ascii_case(&settings.subdomain) && base == settings.base_domain {
            return Ok(None);
        }
        let mut moved = connection.settings.clone();
        moved["subdomain"] = json!(told.subdomain);
        if base != settings.base_domain {
            moved["base_domain"] = json!(base.as_str());
        }
        Ok(Some(moved))
    }

    async fn ask_where(
        &self,
        base: &str,
        which: &str,
        headers: HeaderMap,
    ) -> Result<Whereabouts, VendorError> {
        let url = format!("{base}/oauth2/account/{which}subdomain");
        let answer = self.call(OPERATION, Method::GET, &url, headers, Bytes::new()).await?;
        serde_json::from_slice(&answer).map_err(|_| bad_answer(OPERATION))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &Value) -> SecretString {
        format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(claims.to_string())).into()
    }

    #[test]
    fn tokens_go_to_hosts_of_the_vendor_alone() {
        let host = |name: &str| {
            let claims = Claims::of(&token(&json!({ "api_domain": name, "account_id": 31_000_001 })));
            assert_eq!(claims.account_id, "31000001");
            claims.host().map(str::to_owned)
        };
        assert_eq!(host("api-b.amocrm.ru").as_deref(), Some("api-b.amocrm.ru"));
        assert_eq!(host("api-g.kommo.com").as_deref(), Some("api-g.kommo.com"));
        for evil in [
            "evil.example",
            "api.amocrm.ru.evil.example",
            "api.amocrm.ru/x",
            "u@evil.kommo.com",
            "a b.kommo.com",
            "",
        ] {
            assert_eq!(host(evil), None, "{evil}");
        }
        assert_eq!(Claims::of(&"access-0001-def502f8c1".to_owned().into()), Claims::default());
        assert_eq!(Claims::of(&"a.%%%.c".to_owned().into()), Claims::default());
    }
}
