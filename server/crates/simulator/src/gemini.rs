//! Gemini's generateContent, whole and streamed.
//! <https://ai.google.dev/api/generate-content> (read 2026-11-20)
//!
//! Models of generation 3 sign the thoughts behind their calls and refuse a call that comes back without its signature.

use bytes::Bytes;
use http::{HeaderName, Method, Request, StatusCode};
use serde_json::{Value, json};

use crate::{
    model::{Given, Said},
    vendor::{Api, Asked, Refusal, Reply},
};

const KEY: HeaderName = HeaderName::from_static("x-goog-api-key");
/// What a request may hold.
const PARAMETERS: [&str; 9] = [
    "contents",
    "systemInstruction",
    "tools",
    "toolConfig",
    "generationConfig",
    "safetySettings",
    "cachedContent",
    "serviceTier",
    "store",
];
const SKIP: &str = "skip_thought_signature_validator";

pub(crate) struct Gemini;

impl Api for Gemini {
    fn lets_in(&self, request: &Request<Bytes>, key: &str) -> bool {
        request.headers().get(KEY).and_then(|value| value.to_str().ok()) == Some(key)
    }

    fn answer(&self, request: &Request<Bytes>, asked: &Asked<'_>) -> Reply {
        let path = request.uri().path();
        let query = request.uri().query().unwrap_or_default();
        let reply = match (request.method(), path.strip_prefix("/v1beta/models")) {
            (&Method::GET, Some("")) => Ok(models(query)),
            (&Method::POST, Some(rest)) => match rest.trim_start_matches('/').split_once(':') {
                Some((model, "generateContent")) => complete(request.body(), model, false, asked),
                Some((model, "streamGenerateContent")) if query == "alt=sse" => {
                    complete(request.body(), model, true, asked)
                }
                _ => Err(Refusal::NotFound(format!("no such method: {path}"))),
            },
            _ => Err(Refusal::NotFound(format!("no such path: {path}"))),
        };
        reply.unwrap_or_else(|refusal| self.refuse(refusal))
    }

    fn refuse(&self, refusal: Refusal) -> Reply {
        let info = |reason: &str| json!([{ "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "googleapis.com" }]);
        let quota = |id: &str, delay: &str| {
            json!([
                { "@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{ "quotaId": id }] },
                { "@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay },
            ])
        };
        let (code, status, message, details) = match refusal {
            Refusal::Unauthorized => (
                400,
                "INVALID_ARGUMENT",
                "API key not valid. Please pass a valid API key.".to_owned(),
                info("API_KEY_INVALID"),
            ),
            Refusal::RateLimited => {
                (429, "RESOURCE_EXHAUSTED", "You exceeded your current quota.".to_owned(), json!([]))
            }
            Refusal::QuotaUsedUp => (
                429,
                "RESOURCE_EXHAUSTED",
                "You exceeded your current quota.".to_owned(),
                quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier", "17s"),
            ),
            Refusal::Overloaded | Refusal::Down => {
                (503, "UNAVAILABLE", "The model is overloaded. Please try again later.".to_owned(), json!([]))
            }
            Refusal::InputTooLong => (
                400,
                "INVALID_ARGUMENT",
                "The input token count (2000000) exceeds the maximum number of tokens allowed (1048576)."
                    .to_owned(),
                json!([]),
            ),
            Refusal::Broken => (500, "INTERNAL", "An internal error has occurred.".to_owned(), json!([])),
            Refusal::NotFound(what) => (404, "NOT_FOUND", what, json!([])),
            Refusal::Invalid(_, what) => (400, "INVALID_ARGUMENT", what, json!([])),
            Refusal::Status(status) => (status.as_u16(), "UNKNOWN", format!("Status {status}."), json!([])),
        };
        let error = json!({ "code": code, "message": message, "status": status, "details": details });
        let code = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Reply::json(code, &json!({ "error": error }))
    }
}

/// Lists them in two pages, whatever page size is asked for.
fn models(query: &str) -> Reply {
    let model = |id: &str, method: &str| {
        json!({
            "name": format!("models/{id}"),
            "version": "001",
            "displayName": format!("Simulated {id}"),
            "inputTokenLimit": 1_048_576,
            "outputTokenLimit": 65_536,
            "supportedGenerationMethods": [method, "countTokens"],
        })
    };
    let page = if query.contains("pageToken=second") {
        json!({ "models": [model("gemini-2.5-flash", "generateContent")] })
    } else {
        let models =
            [model("gemini-3.6-flash", "generateContent"), model("gemini-embedding-001", "embedContent")];
        json!({ "models": models, "nextPageToken": "second" })
    };
    Reply::json(StatusCode::OK, &page)
}

fn complete(body: &[u8], model: &str, streams: bool, asked: &Asked<'_>) -> Result<Reply, Refusal> {
    let invalid = |why: String| Refusal::Invalid(None, why);
    let body: Value =
        serde_json::from_slice(body).map_err(|_| invalid("Invalid JSON payload received.".to_owned()))?;
    if !model.starts_with("gemini-") {
        return Err(Refusal::NotFound(format!("models/{model} is not found for API version v1beta.")));
    }
    for name in body.as_object().into_iter().flat_map(serde_json::Map::keys) {
        if !PARAMETERS.contains(&name.as_str()) {
            return Err(invalid(format!("Invalid JSON payload received. Unknown name \"{name}\".")));
        }
    }
    let signs = !model.starts_with("gemini-2");
    let given = read_contents(&body, signs)?;
    let tools = read_tools(&body)?;
    let most = body["generationConfig"]["maxOutputTokens"].as_u64();
    let said = asked.model.answer(&given, &tools, most)?;
    let answering = Answering { said: &said, asked, model, signs };
    let reply = if streams { answering.stream() } else { Reply::json(StatusCode::OK, &answering.whole()) };
    Ok(reply.after(said.delay))
}

/// Reads what was said as strictly as the vendor: every call has its result in the content that follows.
fn read_contents(body: &Value, signs: bool) -> Result<Vec<Given>, Refusal> {
    let invalid = |why: &str| Refusal::Invalid(None, why.to_owned());
    let mut given = Vec::new();
    for part in body["systemInstruction"]["parts"].as_array().into_iter().flatten() {
        given.push(Given::System(part["text"].as_str().unwrap_or_default().to_owned()));
    }
    let contents = body["contents"].as_array().filter(|contents| !contents.is_empty());
    let mut owed = 0;
    for content in contents.ok_or_else(|| invalid("contents is not specified"))? {
        let own = match content["role"].as_str() {
            Some("user") => false,
            Some("model") => true,
            _ => return Err(invalid("Please use a valid role: user, model.")),
        };
        let parts = content["parts"].as_array().filter(|parts| !parts.is_empty());
        let parts = parts.ok_or_else(|| invalid("contents.parts must not be empty"))?;
        let results = parts.iter().filter(|part| part["functionResponse"].is_object()).count();
        if results != owed {
            return Err(invalid(
                "Please ensure that the number of function response parts is equal to the number of function call parts \
                 of the function call turn.",
            ));
        }
        let mut calls = 0;
        for part in parts {
            if let Some(text) = part["text"].as_str() {
                given.push(if own {
                    Given::Assistant(text.to_owned())
                } else {
                    Given::User(text.to_owned())
                });
            } else if part["fileData"]["fileUri"].is_string() && part["fileData"]["mimeType"].is_string() {
                given
                    .push(Given::Image(part["fileData"]["mimeType"].as_str().unwrap_or_default().to_owned()));
            } else if part["functionCall"]["args"].is_object() && own {
                let signature = part["thoughtSignature"].as_str().unwrap_or_default();
                if signs && calls == 0 && signature != SKIP && !signature.starts_with("sig") {
                    return Err(invalid(
                        "Function call is missing a thought_signature in functionCall parts.",
                    ));
                }
                calls += 1;
                given.push(Given::Called);
            } else if part["functionResponse"]["response"].is_object() && !own {
                given.push(Given::Result(part["functionResponse"]["response"].to_string()));
            } else {
                return Err(invalid("required oneof field 'data' must have one initialized field"));
            }
        }
        owed = calls;
    }
    if owed > 0 { Err(invalid("function responses are missing")) } else { Ok(given) }
}

fn read_tools(body: &Value) -> Result<Vec<String>, Refusal> {
    let tools = body["tools"].as_array().into_iter().flatten();
    let declared = tools.flat_map(|tool| tool["functionDeclarations"].as_array().into_iter().flatten());
    declared
        .map(|tool| {
            let whole = tool["parametersJsonSchema"].is_object() || tool["parameters"].is_object();
            tool["name"].as_str().filter(|_| whole).map(str::to_owned)
        })
        .map(|name| name.ok_or_else(|| Refusal::Invalid(None, "invalid function declaration".to_owned())))
        .collect()
}

struct Answering<'a> {
    said: &'a Said,
    asked: &'a Asked<'a>,
    model: &'a str,
    signs: bool,
}

impl Answering<'_> {
    fn piece(&self, parts: &Value, finish: Option<&str>) -> Value {
        let (input, output) = (self.said.input_tokens, self.said.output_tokens);
        let mut piece = json!({
            "candidates": [{ "content": { "role": "model", "parts": parts }, "index": 0 }],
            "usageMetadata": {
                "promptTokenCount": input,
                "cachedContentTokenCount": 1,
                "candidatesTokenCount": output,
                "totalTokenCount": input + output,
            },
            "modelVersion": self.model,
            "responseId": format!("respsim{}", self.asked.number),
        });
        if let Some(finish) = finish {
            piece["candidates"][0]["finishReason"] = finish.into();
        }
        piece
    }

    /// A prompt that is blocked has no candidates.
    fn blocked(&self) -> Value {
        json!({
            "promptFeedback": { "blockReason": "SAFETY", "safetyRatings": [] },
            "usageMetadata": { "promptTokenCount": self.said.input_tokens, "totalTokenCount": self.said.input_tokens },
            "modelVersion": self.model,
        })
    }

    fn call(&self) -> Option<Value> {
        let (name, arguments) = self.said.call.as_ref()?;
        // The vendor writes objects alone: a malformed call is a reason to stop, below.
        let mut part = json!({ "functionCall": { "id": format!("fc{}", self.asked.number), "name": name, "args": arguments } });
        if self.signs {
            part["thoughtSignature"] = format!("sig{}", self.asked.number).into();
        }
        Some(part)
    }

    fn finish(&self) -> &'static str {
        match self.said {
            Said { malformed: true, call: Some(_), .. } => "MALFORMED_FUNCTION_CALL",
            Said { cut: true, .. } => "MAX_TOKENS",
            _ => "STOP",
        }
    }

    fn whole(&self) -> Value {
        if self.said.refused {
            return self.blocked();
        }
        let mut parts = Vec::new();
        if !self.said.tokens.is_empty() {
            parts.push(json!({ "text": self.said.text() }));
        }
        parts.extend(self.call().filter(|_| !self.said.malformed));
        self.piece(&json!(parts), Some(self.finish()))
    }

    fn stream(&self) -> Reply {
        let event = |piece: Value| format!("data: {piece}\r\n\r\n");
        let filler = event(self.piece(&json!([{ "text": "and so on " }]), None));
        if self.said.refused {
            return Reply::events(vec![event(self.blocked())], filler, self.said.pace);
        }
        let mut events: Vec<_> = self
            .said
            .tokens
            .iter()
            .map(|token| event(self.piece(&json!([{ "text": token }]), None)))
            .collect();
        let last: Vec<_> = self.call().filter(|_| !self.said.malformed).into_iter().collect();
        let last = if last.is_empty() { json!([{ "text": "" }]) } else { json!(last) };
        events.push(event(self.piece(&last, Some(self.finish()))));
        Reply::events(events, filler, self.said.pace)
    }
}
