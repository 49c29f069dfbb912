//! Reading bodies: bounded in size and time, JSON only, every bad field named.

use std::time::Duration;

use axum::{body::Body, extract::Request};
use bytes::Bytes;
use domain::{Error, Reason, error::Violations, inbound::RawRequest};
use http::header;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::{Map, Value};

use super::Settings;

/// Reads a request whole.
///
/// # Errors
/// `CONTENT_TYPE_UNSUPPORTED`, `BODY_TOO_LARGE`, `BODY_TIMEOUT`.
pub(super) async fn read(request: Request, settings: &Settings) -> Result<RawRequest, Error> {
    let (parts, body) = request.into_parts();
    let kind = parts.headers.get(header::CONTENT_TYPE).map(|kind| kind.to_str().unwrap_or_default());
    // Some callers of existing installations send none; what they send is JSON all the same.
    if kind.is_some_and(|kind| !is_json(kind)) {
        return Err(Error::new(Reason::ContentTypeUnsupported, "send the body as application/json"));
    }
    let body = read_bytes(body, settings.max_body_bytes, settings.body_timeout).await?;
    Ok(RawRequest { headers: parts.headers, body })
}

/// Reads a request whole, of whatever type it says it is.
///
/// # Errors
/// `BODY_TOO_LARGE`, `BODY_TIMEOUT`.
pub(super) async fn read_any(request: Request, settings: &Settings) -> Result<RawRequest, Error> {
    let (parts, body) = request.into_parts();
    let body = read_bytes(body, settings.max_body_bytes, settings.body_timeout).await?;
    Ok(RawRequest { headers: parts.headers, body })
}

async fn read_bytes(body: Body, most: usize, longest: Duration) -> Result<Bytes, Error> {
    let whole = tokio::time::timeout(longest, Limited::new(body, most).collect());
    match whole.await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let detail = format!("the body is larger than {most} bytes");
            Err(Error::new(Reason::BodyTooLarge, detail).with("max_body_bytes", most.to_string()))
        }
        Ok(Err(_)) => Err(Error::field(Reason::FieldInvalid, "body", "was cut off")),
        Err(_) => {
            let detail = format!("the body did not arrive within {} seconds", longest.as_secs());
            Err(Error::new(Reason::BodyTimeout, detail))
        }
    }
}

fn is_json(kind: &str) -> bool {
    let essence = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// The members of a JSON object, read one by one; what is wrong with them is gathered.
pub(super) struct Members {
    members: Map<String, Value>,
    violations: Violations,
}

impl Members {
    /// Reads a body.
    ///
    /// # Errors
    /// `FIELD_INVALID` on `body` when it is no JSON object.
    pub(super) fn parse(body: &[u8]) -> Result<Self, Error> {
        let refuse = |detail: String| Error::field(Reason::FieldInvalid, "body", detail);
        let text = std::str::from_utf8(body).map_err(|_| refuse("must be UTF-8".to_owned()))?;
        match serde_json::from_str(text) {
            Ok(Value::Object(members)) => Ok(Self { members, violations: Violations::default() }),
            Ok(_) => Err(refuse("must be a JSON object".to_owned())),
            Err(error) => Err(refuse(format!("is not JSON: {error}"))),
        }
    }

    /// A string that may be missing.
    pub(super) fn optional_string(&mut self, name: &str) -> Option<String> {
        match self.members.remove(name) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) if text.is_empty() => {
                self.violations.add(name, "must not be empty");
                None
            }
            Some(Value::String(text)) => Some(text),
            Some(_) => {
                self.violations.add(name, "must be a string");
                None
            }
        }
    }

    /// A string that must be there.
    pub(super) fn string(&mut self, name: &str) -> String {
        if matches!(self.members.get(name), None | Some(Value::Null)) {
            self.violations.add(name, "is required");
        }
        self.optional_string(name).unwrap_or_default()
    }

    /// A boolean that may be missing.
    pub(super) fn optional_bool(&mut self, name: &str) -> Option<bool> {
        match self.members.remove(name) {
            None | Some(Value::Null) => None,
            Some(Value::Bool(value)) => Some(value),
            Some(_) => {
                self.violations.add(name, "must be true or false");
                None
            }
        }
    }

    /// An id that must be there.
    pub(super) fn id<T: std::str::FromStr>(&mut self, name: &str) -> Option<T> {
        let text = self.string(name);
        let id = text.parse().ok();
        if id.is_none() && !text.is_empty() {
            self.violations.add(name, "must be a UUID");
        }
        id
    }

    /// Fails with all that was wrong, if anything was.
    pub(super) fn finish(self) -> Result<(), Error> {
        self.violations.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_what_calls_itself_so() {
        for kind in ["application/json", "Application/JSON; charset=utf-8", "application/problem+json"] {
            assert!(is_json(kind), "{kind}");
        }
        for kind in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""] {
            assert!(!is_json(kind), "{kind}");
        }
    }
}
