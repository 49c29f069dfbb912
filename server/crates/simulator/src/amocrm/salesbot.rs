//! Salesbots that ask for an answer, and wait for it.
//! <https://developers.kommo.com/docs/salesbot-dp> (read 2026-11-20)

use std::io;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::Method;
use serde_json::{Value, json};
use sha2::Sha512;

use super::{ACCOUNT_ID, AmoCrm, CLIENT_ID, lock};
use crate::outside;

/// The bot that asks.
pub const SALESBOT: u64 = 321;

impl AmoCrm {
    /// What a bot asks with, at this place of it, of a lead, in a form that was signed with this secret.
    pub fn salesbot_call(&self, secret: &str, place: u64, lead: u64, text: &str) -> Value {
        let now = self.state.present();
        let encode = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let claims = json!({
            "iss": self.base_url(), "iat": now, "nbf": now, "exp": now + 300, "account_id": ACCOUNT_ID,
            "subdomain": "acme", "client_uuid": CLIENT_ID, "bot_type": "salesbot", "entity_type": 2, "entity_id": lead,
        });
        let signed = format!("{}.{}", encode(json!({ "typ": "JWT", "alg": "HS512" })), encode(claims));
        let mut mac = Hmac::<Sha512>::new_from_slice(secret.as_bytes()).expect("HMAC takes any key");
        mac.update(signed.as_bytes());
        let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()));
        lock(&self.state.account).put("salesbot/waiting", json!({ "id": place }));
        json!({
            "token": token,
            "data": { "message": text, "lead": lead.to_string(), "contact": "{{contact.id}}", "from": "widget" },
            "return_url": format!("{}/api/v4/salesbot/{SALESBOT}/continue/{place}", self.base_url()),
        })
    }

    /// A bot asks at this address: gives the status that it was answered with.
    pub async fn salesbot_asks(&self, url: &str, place: u64, lead: u64, text: &str) -> io::Result<u16> {
        let call = self.salesbot_call(&self.state.client_secret, place, lead, text);
        outside::call(&Method::POST, url, "", &call.to_string()).await
    }
}
