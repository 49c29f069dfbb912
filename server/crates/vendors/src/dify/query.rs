//! The body of a question.

use domain::{
    dialogue::{Message, Role},
    engine::Completion,
    part::PartKind,
};
use serde_json::{Map, Value, json};

use super::{EngineSettings, Notes, app::App};
use crate::transcript;

/// How much of what was said before is told to a conversation that doesn't know it, in characters.
const MAX_EARLIER_CHARS: usize = 6_000;
/// How many files one question may carry.
const MOST_FILES: usize = 10;
/// A question needs words, also where the customer sent only files, or nothing since.
const NO_WORDS: &str = "⟦notice⟧ The customer has written nothing since.";

/// Writes it. `notes`: what the conversation knows; `None`: another is begun.
pub(super) fn body(
    request: &Completion,
    settings: &EngineSettings,
    app: &App,
    notes: Option<&Notes>,
    streams: bool,
) -> Value {
    let history = &request.history;
    // A conversation knows its own answers.
    let news: Vec<&Message> = if let Some(notes) = notes {
        let newer = |message: &&Message| message.seq > notes.through && message.role != Role::Assistant;
        history.iter().filter(newer).collect()
    } else {
        let last = history.iter().rposition(|message| message.role == Role::Assistant);
        history[last.map_or(0, |at| at + 1)..].iter().collect()
    };
    let earlier = if notes.is_none() { &history[..history.len() - news.len()] } else { &[] };
    // Who said what is marked where it isn't the customer alone.
    let marks = !earlier.is_empty() || news.iter().any(|message| message.role != Role::User);
    let mut texts = Vec::new();
    if !earlier.is_empty() {
        let said = earlier.iter().map(transcript::entry).collect::<Vec<_>>().join("\n");
        let skip = said.chars().count().saturating_sub(MAX_EARLIER_CHARS);
        let shown: String = said.chars().skip(skip).collect();
        texts.push(format!("⟦notice⟧ Said before in this dialogue:\n{shown}\n⟦notice⟧ Said now:"));
    }
    let said = news
        .iter()
        .map(|message| if marks { transcript::entry(message) } else { transcript::unmarked(message) });
    texts.extend(said.filter(|text| !text.is_empty()));
    if news.is_empty() || texts.is_empty() {
        texts.push(NO_WORDS.to_owned());
    }
    let mut body = json!({
        "query": texts.join("\n"),
        "inputs": inputs(request, settings, app),
        "user": request.dialogue.to_string(),
        "response_mode": if streams { "streaming" } else { "blocking" },
        "conversation_id": notes.map(|notes| notes.conversation.as_str()).unwrap_or_default(),
        "auto_generate_name": settings.auto_generate_name,
    });
    if settings.files {
        let parts =
            news.iter().filter(|message| message.role == Role::User).flat_map(|message| &message.parts);
        let files = parts.filter_map(|part| {
            let kind = match part.kind {
                PartKind::Image => "image",
                PartKind::Audio => "audio",
                PartKind::Video => "video",
                PartKind::File => "document",
                PartKind::Location => return None,
            };
            Some(json!({ "type": kind, "transfer_method": "remote_url", "url": part.url }))
        });
        let files: Vec<_> = files.take(MOST_FILES).collect();
        if !files.is_empty() {
            body["files"] = files.into();
        }
    }
    body
}

fn inputs(request: &Completion, settings: &EngineSettings, app: &App) -> Map<String, Value> {
    let mut inputs = settings.inputs.clone();
    if let Some(name) = &settings.instructions_input {
        inputs.insert(name.clone(), json!(request.instructions));
    }
    for (name, value) in &mut inputs {
        // `google.protobuf.Struct` makes 250.0 of 250.
        if let Some(number) = value.as_f64().filter(|number| value.is_f64() && number.fract() == 0.0)
            && number.abs() < 1e15
        {
            #[expect(clippy::cast_possible_truncation, reason = "it is whole, and within the bounds")]
            let whole = number as i64;
            *value = json!(whole);
        }
        if app.texts.contains(name) && (value.is_number() || value.is_boolean()) {
            *value = json!(value.to_string());
        }
    }
    inputs
}

#[cfg(test)]
mod tests {
    use domain::part::Part;

    use super::*;
    use crate::conversation::tests::request;

    fn app() -> App {
        App { mode: "chat".into(), texts: ["city", "age", "told"].map(str::to_owned).into() }
    }

    #[test]
    fn a_conversation_is_told_what_is_new_and_its_inputs_each_time() {
        let mut request = request(&[
            (Role::User, "one"),
            (Role::Assistant, "hi"),
            (Role::Employee, "a moment"),
            (Role::User, "⟦notice⟧ two"),
        ]);
        request.history[3].parts = vec![Part {
            kind: PartKind::Image,
            url: "https://x/a.png".into(),
            media_type: String::new(),
            name: String::new(),
        }];
        let settings = json!({ "inputs": { "city": "Riga", "age": 42.0, "floor": 3.0, "half": 0.5 }, "instructions_input": "told" });
        let settings: EngineSettings = serde_json::from_value(settings).unwrap();
        let notes = Notes { conversation: "c1".into(), through: 1 };
        assert_eq!(
            body(&request, &settings, &app(), Some(&notes), true),
            json!({
                "query": "⟦colleague⟧ a moment\n⟦customer⟧ [notice⟧ two\n[image: https://x/a.png]",
                "inputs": { "city": "Riga", "age": "42", "floor": 3, "half": 0.5, "told": "Be kind." },
                "user": request.dialogue.to_string(),
                "response_mode": "streaming",
                "conversation_id": "c1",
                "auto_generate_name": false,
                "files": [{ "type": "image", "transfer_method": "remote_url", "url": "https://x/a.png" }],
            })
        );
        let anew = body(
            &request,
            &EngineSettings { files: false, ..EngineSettings::default() },
            &app(),
            None,
            false,
        );
        assert_eq!(
            anew["query"],
            "⟦notice⟧ Said before in this dialogue:\n⟦customer⟧ one\n⟦you⟧ hi\n⟦notice⟧ Said now:\n⟦colleague⟧ a moment\n\
             ⟦customer⟧ [notice⟧ two\n[image: https://x/a.png]"
        );
        assert_eq!(
            (&anew["conversation_id"], &anew["response_mode"], &anew["inputs"]),
            (&json!(""), &json!("blocking"), &json!({}))
        );
        let nothing = Notes { through: 4, ..notes };
        assert_eq!(body(&request, &settings, &app(), Some(&nothing), true)["query"], NO_WORDS);
    }
}
