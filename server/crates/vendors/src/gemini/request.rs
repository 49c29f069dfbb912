//! The body of a completion.

use domain::engine::{Answer, Completion};
use serde_json::{Map, Value, json};

use super::EngineSettings;
use crate::conversation::{Called, Conversation, Piece, Turn};

/// Stands for the signature of a thought that another model had, or nobody.
const NO_SIGNATURE: &str = "skip_thought_signature_validator";

/// Writes it.
pub(super) fn body(request: &Completion, settings: &EngineSettings) -> Value {
    let conversation = Conversation::new(request, |_| settings.images);
    let mut contents = Vec::new();
    for turn in &conversation.turns {
        match turn {
            Turn::User(pieces) => {
                let parts: Vec<_> = pieces.iter().map(piece).collect();
                contents.push(json!({ "role": "user", "parts": parts }));
            }
            Turn::Assistant(text) => {
                contents.push(json!({ "role": "model", "parts": [{ "text": text }] }));
            }
            Turn::Step { answer, calls } => {
                contents.push(said(answer, &request.engine.model));
                let parts: Vec<_> = calls.iter().map(response).collect();
                contents.push(json!({ "role": "user", "parts": parts }));
            }
        }
    }
    let mut body = json!({ "contents": contents });
    if !conversation.system.is_empty() {
        body["systemInstruction"] = json!({ "parts": [{ "text": conversation.system }] });
    }
    if !request.tools.is_empty() {
        let tools = request.tools.iter().map(|tool| {
            json!({
                "name": tool.name,
                "description": tool.description,
                "parametersJsonSchema": tool.parameters,
            })
        });
        body["tools"] = json!([{ "functionDeclarations": tools.collect::<Vec<_>>() }]);
    }
    let mut thinking = Map::new();
    set(&mut thinking, "thinkingBudget", settings.thinking_budget.map(Value::from));
    set(&mut thinking, "thinkingLevel", settings.thinking_level.as_deref().map(Value::from));
    let mut config = Map::new();
    set(&mut config, "temperature", request.engine.temperature.map(Value::from));
    set(&mut config, "maxOutputTokens", request.engine.max_output_tokens.map(Value::from));
    set(&mut config, "topP", settings.top_p.map(Value::from));
    set(&mut config, "topK", settings.top_k.map(Value::from));
    set(&mut config, "seed", settings.seed.map(Value::from));
    set(&mut config, "stopSequences", (!settings.stop.is_empty()).then(|| json!(settings.stop)));
    set(&mut config, "thinkingConfig", (!thinking.is_empty()).then(|| thinking.into()));
    if !config.is_empty() {
        body["generationConfig"] = config.into();
    }
    if !settings.safety_settings.is_empty() {
        body["safetySettings"] = json!(settings.safety_settings);
    }
    body
}

fn set(members: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    if let Some(value) = value {
        members.insert(name.to_owned(), value);
    }
}

fn piece(piece: &Piece<'_>) -> Value {
    match piece {
        Piece::Text(text) => json!({ "text": text }),
        Piece::Image(url) => json!({ "fileData": { "mimeType": media_type(url), "fileUri": url } }),
    }
}

/// What an image most likely is; the vendor wants to be told.
fn media_type(url: &str) -> &'static str {
    let path = url.split(['?', '#']).next().unwrap_or_default().to_ascii_lowercase();
    match path.rsplit('.').next() {
        Some("png") => "image/png",
        Some("webp") => "image/webp",
        Some("heic") => "image/heic",
        Some("gif") => "image/gif",
        _ => "image/jpeg",
    }
}

/// What the model answered in an earlier step: in its own form if it was this one, with the signatures of its thoughts.
fn said(answer: &Answer, model: &str) -> Value {
    let own = answer.carry.as_ref().filter(|carry| carry["model"] == model);
    if let Some(content) = own.map(|carry| &carry["gemini"]).filter(|content| content.is_object()) {
        return content.clone();
    }
    let mut parts = Vec::new();
    if !answer.text.trim().is_empty() {
        parts.push(json!({ "text": answer.text }));
    }
    for (at, call) in answer.tool_calls.iter().enumerate() {
        // The vendor takes an object alone; what a model wrote that is none was answered with an error.
        let args = if call.arguments.is_object() { call.arguments.clone() } else { json!({}) };
        let mut part = json!({ "functionCall": { "name": call.name, "args": args } });
        if !call.id.is_empty() {
            part["functionCall"]["id"] = json!(call.id);
        }
        // The first of those that were called together carries it.
        if at == 0 {
            part["thoughtSignature"] = NO_SIGNATURE.into();
        }
        parts.push(part);
    }
    json!({ "role": "model", "parts": parts })
}

fn response(called: &Called<'_>) -> Value {
    let response = match called.result {
        Value::Object(_) => called.result.clone(),
        other => json!({ "result": other }),
    };
    let mut part = json!({ "functionResponse": { "name": called.call.name, "response": response } });
    if !called.call.id.is_empty() {
        part["functionResponse"]["id"] = json!(called.call.id);
    }
    part
}

#[cfg(test)]
mod tests {
    use domain::{
        dialogue::Role,
        engine::{Step, ToolCall},
        part::{Part, PartKind},
    };

    use super::*;
    use crate::conversation::tests::request;

    #[test]
    fn a_dialogue_with_its_tools_is_written_as_the_vendor_wants_it() {
        let mut request = request(&[(Role::User, "hello"), (Role::Assistant, "hi"), (Role::User, "look")]);
        request.engine.model = "gemini-3.6-flash".into();
        request.engine.max_output_tokens = Some(800);
        request.history[2].parts = vec![Part {
            kind: PartKind::Image,
            url: "https://x/a.png?s=1".into(),
            media_type: String::new(),
            name: String::new(),
        }];
        let call =
            |id: &str| ToolCall { id: id.into(), name: "order_status".into(), arguments: json!({ "id": 1 }) };
        let own = json!({ "role": "model", "parts": [{ "functionCall": { "name": "order_status", "args": { "id": 1 } }, "thoughtSignature": "Ck==" }] });
        let carried = |model: &str| Some(json!({ "model": model, "gemini": own }));
        for carry in [carried("gemini-3.6-flash"), carried("gemini-2.5-pro")] {
            let answer = Answer { tool_calls: vec![call("fc1"), call("")], carry, ..Answer::default() };
            request.steps.push(Step { answer, results: vec![json!({ "status": "shipped" }), json!("none")] });
        }
        let settings: EngineSettings =
            serde_json::from_value(json!({ "thinking_budget": 0.0, "stop": ["END"] })).unwrap();
        let responses = json!({ "role": "user", "parts": [
            { "functionResponse": { "name": "order_status", "id": "fc1", "response": { "status": "shipped" } } },
            { "functionResponse": { "name": "order_status", "response": { "result": "none" } } },
        ]});
        assert_eq!(
            body(&request, &settings),
            json!({
                "systemInstruction": { "parts": [{ "text": "Be kind." }] },
                "contents": [
                    { "role": "user", "parts": [{ "text": "hello" }] },
                    { "role": "model", "parts": [{ "text": "hi" }] },
                    { "role": "user", "parts": [
                        { "text": "look" },
                        { "fileData": { "mimeType": "image/png", "fileUri": "https://x/a.png?s=1" } },
                    ]},
                    own,
                    responses,
                    { "role": "model", "parts": [
                        { "functionCall": { "id": "fc1", "name": "order_status", "args": { "id": 1 } }, "thoughtSignature": NO_SIGNATURE },
                        { "functionCall": { "name": "order_status", "args": { "id": 1 } } },
                    ]},
                    responses,
                ],
                "tools": [{ "functionDeclarations": [{
                    "name": "order_status", "description": "Look up an order", "parametersJsonSchema": { "type": "object" },
                }]}],
                "generationConfig": { "maxOutputTokens": 800, "thinkingConfig": { "thinkingBudget": 0 }, "stopSequences": ["END"] },
            })
        );
    }
}
