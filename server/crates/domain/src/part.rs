//! What a message carries beside its text: images, recordings, files and places.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use url::Url;

use crate::{FieldViolation, dialogue::stored_enum};

/// How many parts one message may have.
pub const MAX_PARTS: usize = 10;
/// The longest URL of a part, in characters.
const MAX_URL_CHARS: usize = 2_048;
/// The longest media type and the longest name, in characters.
const MAX_NAME_CHARS: usize = 255;

stored_enum! {
    /// What a part is.
    PartKind {
        /// A picture. Engines that see are given it.
        Image = "IMAGE",
        /// A recording of sound.
        Audio = "AUDIO",
        /// A recording of pictures.
        Video = "VIDEO",
        /// Any other file.
        File = "FILE",
        /// A place, as a `geo:` URI (RFC 5870).
        Location = "LOCATION",
    }
}

/// One part of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// What it is.
    pub kind: PartKind,
    /// Where it is: `http` or `https`; for a location, `geo`.
    pub url: String,
    /// Its media type, such as `image/png`. Empty: not told.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    /// The name of the file, or of the place. Empty: it has none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
}

impl Part {
    /// How a part reads where only text can be read, as `[image: https://example.com/a.png]`.
    pub fn as_text(&self) -> String {
        let kind = self.kind.as_str().to_lowercase();
        if self.name.is_empty() {
            format!("[{kind}: {}]", self.url)
        } else {
            format!("[{kind} “{}”: {}]", self.name, self.url)
        }
    }

    /// Where a place is, by its `geo:` URI: latitude and longitude.
    pub fn coordinates(&self) -> Option<(f64, f64)> {
        let rest = self.url.strip_prefix("geo:")?;
        let (latitude, rest) = rest.split_once(',')?;
        let end = rest.find([',', ';', '?']).unwrap_or(rest.len());
        Some((latitude.parse().ok()?, rest[..end].parse().ok()?))
    }

    /// The file's name: its own, or the last of its address.
    pub fn file_name(&self) -> &str {
        let path = self.url.split(['?', '#']).next().unwrap_or_default();
        let last = path.rsplit('/').next().filter(|last| !last.is_empty()).unwrap_or("file");
        if self.name.is_empty() { last } else { &self.name }
    }

    /// What is wrong with it, field by field.
    fn problems(&self) -> Vec<(&'static str, &'static str)> {
        let mut bad = Vec::new();
        let schemes: &[&str] = if self.kind == PartKind::Location { &["geo"] } else { &["http", "https"] };
        let fits = self.url.chars().count() <= MAX_URL_CHARS
            && !self.url.chars().any(|c| c.is_control() || c.is_whitespace());
        if !fits || !Url::parse(&self.url).is_ok_and(|url| schemes.contains(&url.scheme())) {
            bad.push((
                "url",
                "must be an http or https URL of up to 2,048 characters; of a location, a geo: URI",
            ));
        }
        let short = |text: &str| text.chars().count() <= MAX_NAME_CHARS && !text.contains('\0');
        if !short(&self.media_type) {
            bad.push(("media_type", "may have up to 255 characters, without U+0000"));
        }
        if !short(&self.name) {
            bad.push(("name", "may have up to 255 characters, without U+0000"));
        }
        bad
    }
}

/// Names all that is wrong with the parts of a message.
pub fn check(parts: &[Part]) -> Vec<FieldViolation> {
    let mut bad = Vec::new();
    if parts.len() > MAX_PARTS {
        bad.push(FieldViolation::new("parts", "may have up to 10 entries"));
    }
    for (at, part) in parts.iter().enumerate() {
        let named = |(field, detail)| FieldViolation::new(format!("parts[{at}].{field}"), detail);
        bad.extend(part.problems().into_iter().map(named));
    }
    bad
}

/// Reads the parts of a body: an array of `{kind, url, media_type?, name?}` with the kind in any case; null is none.
///
/// # Errors
/// Every entry that is none.
pub fn parse(value: Option<&Value>) -> Result<Vec<Part>, Vec<FieldViolation>> {
    let entries = match value {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(entries)) => entries,
        Some(_) => return Err(vec![FieldViolation::new("parts", "must be an array")]),
    };
    let mut bad = Vec::new();
    let mut parts = Vec::new();
    for (at, entry) in entries.iter().enumerate().take(MAX_PARTS + 1) {
        let kind = entry["kind"].as_str().and_then(|kind| PartKind::parse(&kind.to_uppercase()));
        let text = |name: &str| match &entry[name] {
            Value::Null => Some(String::new()),
            Value::String(text) => Some(text.clone()),
            _ => None,
        };
        match (kind, text("url"), text("media_type"), text("name")) {
            (Some(kind), Some(url), Some(media_type), Some(name)) => {
                parts.push(Part { kind, url, media_type, name });
            }
            (None, ..) => bad.push(FieldViolation::new(
                format!("parts[{at}].kind"),
                "must be image, audio, video, file or location",
            )),
            _ => bad.push(FieldViolation::new(
                format!("parts[{at}]"),
                "must be an object with the strings kind and url, and perhaps media_type and name",
            )),
        }
    }
    bad.extend(check(&parts));
    if bad.is_empty() { Ok(parts) } else { Err(bad) }
}

/// Reads what is stored: null where there are none.
pub(crate) fn stored<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Part>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(value: &Value) -> Vec<String> {
        parse(Some(value)).unwrap_err().into_iter().map(|bad| bad.field).collect()
    }

    #[test]
    fn good_parts_are_read() {
        assert_eq!(parse(None), Ok(Vec::new()));
        assert_eq!(parse(Some(&json!(null))), Ok(Vec::new()));
        let parts = parse(Some(&json!([
            { "kind": "image", "url": "https://example.com/a.png", "media_type": "image/png" },
            { "kind": "LOCATION", "url": "geo:56.95,24.1", "name": "Riga" }
        ])))
        .unwrap();
        assert_eq!(parts[0].as_text(), "[image: https://example.com/a.png]");
        assert_eq!(parts[1].as_text(), "[location “Riga”: geo:56.95,24.1]");
    }

    #[test]
    fn every_bad_part_is_named() {
        assert_eq!(fields(&json!({})), ["parts"]);
        assert_eq!(
            fields(&json!([
                { "kind": "smell", "url": "https://example.com" },
                { "kind": "image" },
                { "kind": "image", "url": 7 },
            ])),
            ["parts[0].kind", "parts[2]", "parts[0].url"]
        );
        let named = |url: &str| fields(&json!([{ "kind": "file", "url": url, "name": "x".repeat(256) }]));
        for url in ["", "file:///etc/passwd", "geo:1,2", "https://a b", "javascript:alert(1)"] {
            assert_eq!(named(url), ["parts[0].url", "parts[0].name"], "{url}");
        }
        let many = vec![json!({ "kind": "file", "url": "https://example.com" }); MAX_PARTS + 1];
        assert_eq!(fields(&Value::Array(many)), ["parts"]);
    }
}
