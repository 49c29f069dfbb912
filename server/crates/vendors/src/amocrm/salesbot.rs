//! Salesbots that ask us: the block `widget_request` of a bot calls with a token, which is signed with the integration's secret,
//! and the bot waits until its `continue` is called.
//! <https://developers.kommo.com/docs/salesbot-dp>, <https://developers.kommo.com/docs/private-chatbot-integration>
//! (read 2026-11-20)

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::{
    FieldViolation, Timestamp,
    channel::Channel,
    connection::Connection,
    contact::{CrmReferences, Identity, NewContact},
    inbound::{InboundEvent, InboundMessage, Sender},
    split::split,
    vendor::{FailureKind, NormalizeError, Receipt, Retry, VendorAccount, VendorError, VerifyError},
};
use hmac::{Hmac, KeyInit, Mac};
use http::Method;
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Sha256, Sha512};
use url::Url;

use super::{AmoCrm, ID, chats::fields_of, failed, form, rest::Rest, settings::Settings};

/// Where a message keeps what its bot waits for.
pub(super) const RETURN_URL: &str = "salesbot_return_url";
/// How far the vendor's clock may be from ours.
const LEEWAY_SECONDS: i64 = 60;

/// What a token says.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Claims {
    iss: String,
    exp: Option<i64>,
    nbf: Option<i64>,
    subdomain: String,
    client_uuid: String,
    entity_type: Value,
    entity_id: Value,
}

/// A call, in JSON or as a form: which of the two is not told.
fn parse(body: &[u8]) -> Option<Value> {
    let told = Value::Object(form::read(body).ok()?.tree);
    told["token"].is_string().then_some(told)
}

/// Reads a token's claims, if this secret signed it by one of the two ways that the vendor has.
fn claims(token: &str, secret: &str) -> Option<Claims> {
    #[derive(Deserialize)]
    struct Header {
        alg: String,
    }
    let (signed, signature) = token.rsplit_once('.')?;
    let (header, payload) = signed.split_once('.')?;
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok();
    let signature = decode(signature)?;
    let header: Header = serde_json::from_slice(&decode(header)?).ok()?;
    let good = match header.alg.as_str() {
        "HS512" => Hmac::<Sha512>::new_from_slice(secret.as_bytes())
            .ok()?
            .chain_update(signed)
            .verify_slice(&signature)
            .is_ok(),
        "HS256" => Hmac::<Sha256>::new_from_slice(secret.as_bytes())
            .ok()?
            .chain_update(signed)
            .verify_slice(&signature)
            .is_ok(),
        // No other, and never `none`.
        _ => false,
    };
    if good { serde_json::from_slice(&decode(payload)?).ok() } else { None }
}

/// The claims without a look at the signature, which was checked before.
fn claims_of_verified(token: &str) -> Claims {
    let payload =
        token.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part.trim_end_matches('=')).ok());
    payload.and_then(|payload| serde_json::from_slice(&payload).ok()).unwrap_or_default()
}

/// Whether an address is a bot's `continue` in this account: our token is sent there.
fn is_ours(settings: &Settings, return_url: &str) -> bool {
    let (Ok(base), Ok(url)) = (Url::parse(&settings.base_url()), Url::parse(return_url)) else {
        return false;
    };
    base.origin() == url.origin() && continuation(&url).is_some()
}

/// The bot and the place in it that wait.
fn continuation(url: &Url) -> Option<(String, String)> {
    let parts: Vec<_> = url.path_segments()?.collect();
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match parts[..] {
        ["api", "v4", "salesbot" | "marketingbot", bot, "continue", place]
            if number(bot) && number(place) =>
        {
            Some((bot.to_owned(), place.to_owned()))
        }
        _ => None,
    }
}

/// Checks a call: its token, whose account it is of, and where its answer is to go.
pub(super) fn verify(body: &[u8], connection: &Connection, now: Timestamp) -> Result<(), VerifyError> {
    let told = parse(body).ok_or(VerifyError::Missing)?;
    let token = told["token"].as_str().unwrap_or_default();
    let secret = connection.credential("client_secret").map(ExposeSecret::expose_secret);
    let secret = secret.filter(|secret| !secret.is_empty()).ok_or(VerifyError::Mismatch)?;
    let settings = Settings::read(&connection.settings).map_err(|_| VerifyError::Mismatch)?;
    let claims = claims(token, secret).ok_or(VerifyError::Mismatch)?;
    let now = now.unix_timestamp();
    // One client reports tokens without an end; a call that is made again changes nothing.
    let in_time = claims.exp.is_none_or(|end| now <= end.saturating_add(LEEWAY_SECONDS))
        && claims.nbf.is_none_or(|begin| now >= begin.saturating_sub(LEEWAY_SECONDS));
    let host = Url::parse(&claims.iss).ok();
    let host = host.as_ref().and_then(Url::host_str).unwrap_or(claims.iss.trim_end_matches('/'));
    let own = Url::parse(&settings.base_url()).ok();
    let of_account = host.eq_ignore_ascii_case(&settings.host())
        || own.as_ref().and_then(Url::host_str).is_some_and(|own| own.eq_ignore_ascii_case(host))
            && claims.subdomain == settings.subdomain;
    let of_integration = claims.client_uuid.is_empty() || claims.client_uuid == settings.client_id;
    let return_url = told["return_url"].as_str().unwrap_or_default();
    if in_time && of_account && of_integration && is_ours(&settings, return_url) {
        Ok(())
    } else {
        Err(VerifyError::Mismatch)
    }
}

/// A value that the bot filled in; a placeholder that it left is none.
fn filled(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let left = text.starts_with("{{") && text.ends_with("}}");
    Some(text).filter(|text| !text.is_empty() && !left)
}

/// Reads a call that was verified.
pub(super) fn read(body: &[u8], channel: &Channel) -> Result<InboundEvent, NormalizeError> {
    let bad = |field: &str, detail: &str| NormalizeError { fields: vec![FieldViolation::new(field, detail)] };
    let told = parse(body).ok_or_else(|| bad("body", "is none of the calls that are known"))?;
    let return_url = told["return_url"].as_str().unwrap_or_default();
    let waits = Url::parse(return_url).ok().as_ref().and_then(continuation);
    let Some((bot, place)) = waits else { return Err(fields_of(&["return_url"])) };
    let data = &told["data"];
    let claims = claims_of_verified(told["token"].as_str().unwrap_or_default());
    let number = |text: Option<String>| text.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let of_kind =
        |kind: &str| filled(&claims.entity_type).filter(|it| it == kind).and(filled(&claims.entity_id));
    let lead = number(filled(&data["lead"])).or_else(|| number(of_kind("2")));
    let contact = number(filled(&data["contact"])).or_else(|| number(of_kind("1")));
    let Some(text) = filled(&data["message"]) else { return Err(fields_of(&["data.message"])) };
    let chat = match (&lead, &contact) {
        (Some(lead), _) => format!("{}{lead}", super::notes::LEAD),
        (None, Some(contact)) => format!("contact:{contact}"),
        (None, None) => return Err(fields_of(&["data.lead"])),
    };
    let mut metadata = Map::new();
    metadata.insert("origin".to_owned(), json!("salesbot"));
    metadata.insert(RETURN_URL.to_owned(), json!(return_url));
    metadata.extend(lead.clone().map(|lead| ("lead_id".to_owned(), json!(lead))));
    Ok(InboundEvent::Message(InboundMessage {
        chat,
        external_id: Some(format!("salesbot:{bot}:{place}")),
        text,
        sender: Sender::Customer,
        contact: contact.clone().map(|external_id| NewContact {
            identities: vec![Identity {
                vendor: ID.to_owned(),
                integration: channel.integration,
                external_id,
            }],
            ..NewContact::default()
        }),
        references: CrmReferences {
            integration: channel.integration,
            lead_id: lead,
            contact_id: contact,
            source_external_id: None,
        },
        metadata,
        ..InboundMessage::default()
    }))
}

/// What a bot says, in pieces. How long one may be is documented, whether that is held to is not: a text that would need more
/// pieces than a bot takes has longer ones, since no word of it may be lost.
fn handlers(text: &str) -> Vec<Value> {
    const MOST_CHARS: usize = 80;
    const MOST_HANDLERS: usize = 10;
    let total = text.chars().count();
    let mut most = MOST_CHARS.max(total.div_ceil(MOST_HANDLERS));
    let mut lengths = split(text, most);
    while lengths.len() > MOST_HANDLERS {
        most += most.div_ceil(4);
        lengths = split(text, most);
    }
    let mut characters = text.chars();
    lengths
        .into_iter()
        .map(|length| characters.by_ref().take(length).collect::<String>())
        .filter(|piece| !piece.trim().is_empty())
        .map(|piece| json!({ "handler": "show", "params": { "type": "text", "value": piece.trim() } }))
        .collect()
}

impl AmoCrm {
    /// Has the bot that asked say the answer and go on.
    pub(super) async fn go_on(
        &self,
        account: &VendorAccount,
        return_url: &str,
        text: &str,
    ) -> Result<Receipt, VendorError> {
        let settings = super::settings(&account.connection, "send")?;
        if !is_ours(&settings, return_url) {
            let detail = "the salesbot waits at an address that is not the account's";
            return Err(failed("send", FailureKind::Forbidden, detail, Retry::Never));
        }
        let path = return_url.split_once("/api/v4/").map_or("", |(_, path)| path);
        let body = json!({ "data": { "status": "success" }, "execute_handlers": handlers(text) });
        let rest = Rest::new(&self.http, &account.connection, "send")?;
        rest.tell(Method::POST, path, &body).await.map_err(|refusal| {
            let mut error = VendorError::from(refusal);
            if error.kind == FailureKind::NotFound {
                error.detail.push_str(": the salesbot does not wait for this answer any more");
                error.retry = Retry::Never;
            }
            error
        })?;
        Ok(Receipt { http_status: Some(202), ..Receipt::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Computed with another program.
    const SECRET: &str = "integration-secret-demo";
    const HS512: &str = "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzUxMiJ9.eyJpc3MiOiJodHRwczovL2FjbWUua29tbW8uY29tIiwiYXVkIjoiaHR0cHM6Ly9ib3QuZXhhbXBsZS5jb20iLCJpYXQiOjE3NzI1MzI5MzAsImV4cCI6MTc3MjUzMzIzMCwiYWNjb3VudF9pZCI6MzEwMDAwMDF9.RkwrHHjuHEYVwwcmUCO7WAZblWDCospjILPR-LOl2qktqvQHCUwj5bngZ89MLJpMGISjUc5XCRs7S44eqKVeWQ";
    const HS256: &str = "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJodHRwczovL2FjbWUua29tbW8uY29tIiwiYXVkIjoiaHR0cHM6Ly9ib3QuZXhhbXBsZS5jb20iLCJpYXQiOjE3NzI1MzI5MzAsImV4cCI6MTc3MjUzMzIzMCwiYWNjb3VudF9pZCI6MzEwMDAwMDF9.OQI5ecNs10vwyr2dZWWay7L2K7D9J_PXAyRm1LbeL60";

    fn connection(subdomain: &str, secret: &str) -> Connection {
        Connection {
            settings: json!({ "subdomain": subdomain, "base_domain": "kommo.com", "client_id": "3f0a",
                "redirect_url": "https://app.example/oauth/callback" }),
            credentials: [("client_secret".to_owned(), secret.to_owned().into())].into(),
            ..Connection::default()
        }
    }

    fn call(token: &str, return_url: &str) -> String {
        json!({ "token": token, "data": { "message": "Hi", "lead": "5001", "contact": "{{contact.id}}" },
            "return_url": return_url })
        .to_string()
    }

    #[test]
    fn only_the_accounts_own_tokens_are_taken_and_only_in_time() {
        const RETURN: &str = "https://acme.kommo.com/api/v4/salesbot/321/continue/123";
        let at = |seconds: i64| Timestamp::from_unix_timestamp(seconds).unwrap();
        let now = at(1_772_533_000);
        let acme = connection("acme", SECRET);
        for token in [HS512, HS256] {
            assert!(verify(call(token, RETURN).as_bytes(), &acme, now).is_ok());
            let form = format!("token={token}&data%5Bmessage%5D=Hi&data%5Blead%5D=5001&return_url={RETURN}");
            assert!(verify(form.as_bytes(), &acme, now).is_ok(), "{form}");
            // Twenty minutes later, with another secret, of another account, and with an answer that goes elsewhere.
            assert!(verify(call(token, RETURN).as_bytes(), &acme, at(1_772_534_200)).is_err());
            assert!(verify(call(token, RETURN).as_bytes(), &connection("acme", "another"), now).is_err());
            assert!(verify(call(token, RETURN).as_bytes(), &connection("evil", SECRET), now).is_err());
            for elsewhere in [
                "https://evil.example/api/v4/salesbot/321/continue/123",
                "https://acme.kommo.com.evil.example/api/v4/salesbot/321/continue/123",
                "https://acme.kommo.com/api/v4/leads/5001",
                "https://acme.kommo.com/api/v4/salesbot/../continue/123",
                "",
            ] {
                assert!(verify(call(token, elsewhere).as_bytes(), &acme, now).is_err(), "{elsewhere}");
            }
        }
        // Signed for one way and said to be of the other, or of none.
        let (_, rest) = HS256.split_once('.').unwrap();
        for alg in ["none", "HS512", "RS256"] {
            let header = URL_SAFE_NO_PAD.encode(json!({ "alg": alg }).to_string());
            assert!(
                verify(call(&format!("{header}.{rest}"), RETURN).as_bytes(), &acme, now).is_err(),
                "{alg}"
            );
        }
        for token in ["", ".", "..", "a.b.c"] {
            assert!(verify(call(token, RETURN).as_bytes(), &acme, now).is_err());
        }
        assert!(matches!(verify(b"{}", &acme, now), Err(VerifyError::Missing)));
    }

    #[test]
    fn a_long_answer_is_said_in_ten_pieces_at_most_and_whole() {
        let said = |text: &str| -> Vec<String> {
            let words = |handler: Value| handler["params"]["value"].as_str().unwrap().to_owned();
            handlers(text).into_iter().map(words).collect()
        };
        assert_eq!(said("Hello! One moment."), ["Hello! One moment."]);
        let long = "A sentence of some length. ".repeat(20);
        let pieces = said(&long);
        assert!(pieces.len() > 5 && pieces.iter().all(|piece| piece.chars().count() <= 80), "{pieces:?}");
        let longest = "word ".repeat(3_000);
        let pieces = said(&longest);
        assert!(pieces.len() <= 10);
        assert_eq!(pieces.join(" ").split_whitespace().count(), 3_000);
    }
}
