//! The Chats API's signatures. Ours cover the method, the body, the date and the path; its own cover the body alone.
//! <https://www.amocrm.ru/developers/content/chats/chat-api-reference> (read 2026-11-20)

use domain::Timestamp;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header::CONTENT_TYPE, header::DATE};
use md5::{Digest as _, Md5};
use sha1::Sha1;
use subtle::ConstantTimeEq;
use time::format_description::well_known::Rfc2822;

pub(in crate::amocrm) const SIGNATURE: HeaderName = HeaderName::from_static("x-signature");
const MD5: HeaderName = HeaderName::from_static("content-md5");
const JSON: &str = "application/json";

/// Lowercase hexadecimal HMAC-SHA1. The key is the channel's secret as the text that it is.
fn hmac(secret: &str, signed: &[u8]) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(signed);
    hex::encode(mac.finalize().into_bytes())
}

/// Gives the headers of a call of ours. The date is good for a quarter of an hour, so a call is signed when it is made.
pub(super) fn headers(secret: &str, method: &Method, path: &str, body: &[u8], now: Timestamp) -> HeaderMap {
    let md5 = hex::encode(Md5::digest(body));
    // Whole seconds; a year of more than four digits has no such date, and no clock shows one.
    let date = now.replace_nanosecond(0).unwrap_or(now).format(&Rfc2822).unwrap_or_default();
    let signed = [method.as_str(), &md5, JSON, &date, path].join("\n");
    let signature = hmac(secret, signed.as_bytes());
    let value = |text: &str| HeaderValue::from_str(text).expect("digits and a date fit into a header");
    HeaderMap::from_iter([
        (DATE, value(&date)),
        (CONTENT_TYPE, HeaderValue::from_static(JSON)),
        (MD5, value(&md5)),
        (SIGNATURE, value(&signature)),
    ])
}

/// Whether a call to us is signed with this secret. What stands before us may have added or taken the end of the last line.
pub(in crate::amocrm) fn is_signed(secret: &str, given: &str, body: &[u8]) -> bool {
    let end = body.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |last| last + 1);
    let is = |body: &[u8]| bool::from(hmac(secret, body).as_bytes().ct_eq(given.as_bytes()));
    // Both are compared, whatever the first came to.
    is(body) | is(&body[..end])
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    // Computed with another program's `hmac` and `hashlib`.
    const SECRET: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c";
    const CHANNEL: &str = "/v2/origin/custom/11111111-2222-4333-8444-555555555555";
    const ACCOUNT: &str = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee";

    #[test]
    fn calls_are_signed_as_the_vendor_computes_it() {
        let now = datetime!(2026-03-03 10:15:30.7 UTC);
        let connect =
            r#"{"account_id":"aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee","title":"Demo","hook_api_version":"v2"}"#;
        let message = r#"{"event_type":"new_message","payload":{"timestamp":1772532930,"msec_timestamp":1772532930125,"msgid":"m-1","conversation_id":"c-1","silent":false,"sender":{"id":"u-1","name":"Анна"},"message":{"type":"text","text":"Привет"}}}"#;
        let history = format!("{CHANNEL}_{ACCOUNT}/chats/99999999-8888-4777-8666-555555555555/history");
        for (method, path, body, md5, signature) in [
            (
                Method::POST,
                format!("{CHANNEL}/connect"),
                connect,
                "18600c31d3999f9570babd845cdfedec",
                "83d33233ae91bba4ae7c4e6b96216067243a05a3",
            ),
            (
                Method::POST,
                format!("{CHANNEL}_{ACCOUNT}"),
                message,
                "4466ea93d36cf9ee114708772b16bd14",
                "4d30643187bdeeb527b26e70d9943ed1e42f2b08",
            ),
            (
                Method::GET,
                history,
                "",
                "d41d8cd98f00b204e9800998ecf8427e",
                "ef9a7b0b0b814a8284f5c8d79d436658331e48a2",
            ),
        ] {
            let headers = headers(SECRET, &method, &path, body.as_bytes(), now);
            assert_eq!(headers["content-md5"], md5);
            assert_eq!(headers["date"], "Tue, 03 Mar 2026 10:15:30 +0000");
            assert_eq!(headers["x-signature"], signature);
        }
    }

    #[test]
    fn the_vendors_calls_are_known_by_their_bytes() {
        let body = r#"{"account_id":"aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee","time":1772532999,"message":{"conversation":{"id":"99999999-8888-4777-8666-555555555555","client_id":"c-1"},"sender":{"id":"12121212-3434-4565-8787-909090909090"},"receiver":{"id":"77777777-6666-4555-8444-333333333333","client_id":"u-1"},"timestamp":1772532999,"msec_timestamp":1772532999001,"message":{"id":"abcdefab-1111-4222-8333-444444444444","type":"text","text":"ok"}}}"#;
        let (signature, with_end) =
            ("4dff1acf2838e9793d38b6efebb91df905b32a5d", "011f48a3ad4a38f17ceec2e159ff41fda2669a9c");
        assert!(is_signed(SECRET, signature, body.as_bytes()));
        let ended = format!("{body}\n");
        assert!(
            is_signed(SECRET, with_end, ended.as_bytes()) && is_signed(SECRET, signature, ended.as_bytes())
        );
        assert!(!is_signed(SECRET, signature, body.replace("ok", "no").as_bytes()));
        for wrong in ["", "4DFF", &signature.to_uppercase(), &signature[1..], with_end] {
            assert!(!is_signed(SECRET, wrong, body.as_bytes()), "{wrong}");
        }
        assert!(!is_signed("another", signature, body.as_bytes()));
        assert!(!is_signed(SECRET, signature, b"") && !is_signed(SECRET, signature, b"\n\n"));
    }
}
