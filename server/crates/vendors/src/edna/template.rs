//! What makes a message a template: the parts beside its text. With the variables filled in it must match a registered one.
//! <https://docs-pulse.edna.io/docs/api/messages/sending> (read 2026-11-20)

use domain::FieldViolation;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::settings::Kind;

/// A template's parts, as edna names them.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct Template {
    #[serde(skip_serializing_if = "Option::is_none")]
    header: Option<Header>,
    #[serde(skip_serializing_if = "Option::is_none")]
    footer: Option<Footer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keyboard: Option<Keyboard>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(untagged)]
enum Header {
    Text(TextHeader),
    Image(ImageHeader),
    Document(DocumentHeader),
    Video(VideoHeader),
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct TextHeader {
    text: String,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ImageHeader {
    image_url: String,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct DocumentHeader {
    document_url: String,
    document_name: String,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct VideoHeader {
    video_url: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    video_name: Option<String>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Footer {
    text: String,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Keyboard {
    rows: Vec<Row>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Row {
    buttons: Vec<Button>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(tag = "buttonType", rename_all = "SCREAMING_SNAKE_CASE", deny_unknown_fields)]
enum Button {
    QuickReply {
        text: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        payload: Option<String>,
    },
    Url {
        text: String,
        url: String,
        #[serde(default, rename = "urlPostfix", skip_serializing_if = "Option::is_none")]
        url_postfix: Option<String>,
    },
    Phone {
        text: String,
        phone: String,
    },
}

/// The members, and what each must be.
const MEMBERS: [(&str, &str); 3] = [
    ("header", "must be one of {text}, {imageUrl}, {documentUrl, documentName} and {videoUrl, videoName}"),
    ("footer", "must be {text}"),
    (
        "keyboard",
        "must be {rows: [{buttons: […]}]}, each button with buttonType QUICK_REPLY (text, payload), URL (text, url, \
         urlPostfix) or PHONE (text, phone)",
    ),
];

/// Checks a template; gives every bad member, named from `template` on.
pub(super) fn check(kind: Kind, given: &Value) -> Result<(), Vec<FieldViolation>> {
    if kind != Kind::WhatsApp {
        return Err(vec![FieldViolation::new(
            "template",
            "is not known on this channel: only WHATSAPP has them",
        )]);
    }
    let Value::Object(members) = given else {
        return Err(vec![FieldViolation::new("template", "must be an object")]);
    };
    let bad = members.iter().filter(|(name, value)| Template::deserialize(json!({ *name: value })).is_err());
    let bad: Vec<_> = bad
        .map(|(name, _)| {
            let known = MEMBERS.iter().find(|(known, _)| known == name);
            let detail = known
                .map_or("is not known here; there are `header`, `footer`, `keyboard`", |(_, detail)| detail);
            FieldViolation::new(format!("template.{name}"), detail)
        })
        .collect();
    if bad.is_empty() { Ok(()) } else { Err(bad) }
}

/// Adds a template's parts, which were checked, to the content that carries its text.
pub(super) fn add(content: &mut Map<String, Value>, template: &Value) {
    if let Ok(template) = Template::deserialize(template)
        && let Ok(Value::Object(members)) = serde_json::to_value(template)
    {
        content.extend(members);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_what_edna_documents_and_nothing_else() {
        let good = json!({
            "header": { "text": "Order" },
            "footer": { "text": "Acme" },
            "keyboard": { "rows": [{ "buttons": [
                { "buttonType": "QUICK_REPLY", "text": "Thanks", "payload": "ok" },
                { "buttonType": "URL", "text": "Track", "url": "https://example.com/t/", "urlPostfix": "15" },
                { "buttonType": "PHONE", "text": "Call", "phone": "+79990000001" },
            ] }] },
        });
        assert_eq!(check(Kind::WhatsApp, &good), Ok(()));
        let mut content = Map::new();
        add(&mut content, &good);
        assert_eq!(Value::Object(content), good);
        assert_eq!(check(Kind::Sms, &good).unwrap_err()[0].field, "template");
        let bad = json!({ "header": { "picture": "x" }, "keyboard": { "rows": [{ "buttons": [{ "text": "x" }] }] }, "other": 1 });
        let bad = check(Kind::WhatsApp, &bad).unwrap_err();
        let fields: Vec<_> = bad.iter().map(|bad| bad.field.as_str()).collect();
        assert_eq!(fields, ["template.header", "template.keyboard", "template.other"]);
    }
}
