//! An agent's own tools: HTTP endpoints that its workspace named.

use std::time::Duration;

use async_trait::async_trait;
use domain::{
    engine::ToolSpec,
    fail_point,
    profile::HttpTool,
    vendor::{Applied, ToolAnswer, ToolRequest, VendorError},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::{Cx, Tool};
use crate::Error;

/// What the model is told where nobody knows whether a call had its effect.
const MAYBE: &str = "it is not known whether this was done; don't try it again, and say so where it matters";

/// What headers' values are sealed for.
pub(crate) const SECRET_PLACE: &str = "agent_secrets.sealed";

/// What a header's value is kept under: it is for the place that the tool led to when it was given. A turn that began before
/// the tool led elsewhere doesn't find the new one.
pub(crate) fn secret_name(tool: &HttpTool, header: &str) -> String {
    let origin = url::Url::parse(&tool.url).map(|url| url.origin().ascii_serialization());
    format!("http.{}.{}@{}", tool.name, header.to_ascii_lowercase(), origin.unwrap_or_default())
}

pub(super) struct HttpEndpoint(pub(super) HttpTool);

#[async_trait]
impl Tool for HttpEndpoint {
    fn spec(&self) -> ToolSpec {
        let Self(tool) = self;
        ToolSpec {
            name: tool.name.clone(),
            description: tool.description.clone(),
            parameters: tool.parameters.clone(),
        }
    }

    fn effect(&self) -> bool {
        self.0.effect
    }

    async fn call(&self, cx: &Cx<'_>) -> Result<Value, Value> {
        let Self(tool) = self;
        let headers = self.headers(cx).await.map_err(|error| {
            tracing::warn!(
                workspace.id = %cx.workspace, agent.id = %cx.agent, tool = tool.name, error = %error,
                "the headers of a tool could not be read"
            );
            json!({ "error": "this tool can't be used now; nothing was done" })
        })?;
        let secrets: Vec<_> = headers.iter().map(|(_, value)| value.clone()).collect();
        let request = ToolRequest {
            method: tool.method.clone(),
            url: tool.url.clone(),
            headers,
            arguments: cx.arguments.clone(),
            key: cx.key.clone(),
            timeout: Duration::from_millis(u64::try_from(tool.timeout_ms).unwrap_or_default()),
            max_response_bytes: usize::try_from(tool.max_response_bytes).unwrap_or_default(),
            now: cx.now,
        };
        fail_point::reached("tool", "before");
        let answered = cx.app.inner.callers.tools.call(&request).await;
        fail_point::reached("tool", "after");
        if let Err(error) = &answered {
            tracing::info!(
                workspace.id = %cx.workspace, dialogue.id = %cx.dialogue, turn.id = %cx.turn,
                tool = tool.name, error = %error, "a tool could not be called"
            );
        }
        result(tool.effect, redacted(answered, &secrets))
    }
}

/// Takes out of an answer what only the endpoint is to know: some repeat what they were sent, and the model would be given
/// it, and the manifest would keep it.
fn redacted(
    mut answered: Result<ToolAnswer, VendorError>,
    secrets: &[SecretString],
) -> Result<ToolAnswer, VendorError> {
    let text = match &mut answered {
        Ok(answer) => &mut answer.body,
        Err(error) => &mut error.detail,
    };
    for secret in secrets.iter().map(ExposeSecret::expose_secret) {
        // `Bearer abc` may be repeated as `abc`. Shorter ones are no secrets, and would be found everywhere.
        let bare = secret.rsplit(' ').next().unwrap_or_default();
        for secret in [secret, bare].into_iter().filter(|secret| secret.len() >= 4) {
            if text.contains(secret) {
                *text = text.replace(secret, "[redacted]");
            }
        }
    }
    answered
}

impl HttpEndpoint {
    async fn headers(&self, cx: &Cx<'_>) -> Result<Vec<(String, SecretString)>, Error> {
        let Self(tool) = self;
        if tool.headers.is_empty() {
            return Ok(Vec::new());
        }
        let workspace = cx.workspace;
        let mut tx = cx.app.store().workspace(workspace).await?;
        let prefix = format!("http.{}.", tool.name);
        let secrets = store::agent_secrets::list(&mut tx, workspace, cx.agent, &prefix).await?;
        store::commit(tx).await?;
        let open = |header: &String| {
            let drafted = cx.drafted.iter().find(|it| it.tool == tool.name && it.header == *header);
            if let Some(drafted) = drafted {
                return Some(Ok((header.clone(), drafted.value.clone())));
            }
            let name = secret_name(tool, header);
            let secret = secrets.iter().find(|known| known.name == name)?;
            let opened = cx.app.inner.sealer.open(workspace, secret.id, SECRET_PLACE, &secret.sealed);
            Some(opened.map(|value| (header.clone(), value)))
        };
        // A header whose value is gone was taken away after this turn began.
        tool.headers.iter().filter_map(open).collect()
    }
}

/// What the model is given.
fn result(effect: bool, answered: Result<ToolAnswer, VendorError>) -> Result<Value, Value> {
    match answered {
        Ok(ToolAnswer { http_status, body, cut }) => {
            // What was cut off is no JSON any more.
            let parsed = (!cut).then(|| serde_json::from_str(&body).ok()).flatten();
            let mut result = json!({ "status": http_status, "body": parsed.unwrap_or(Value::String(body)) });
            if cut {
                result["truncated"] = true.into();
            }
            if !(200..300).contains(&http_status) {
                result["error"] = format!("the endpoint answered {http_status}").into();
                // A refusal is one; what breaks in a server or behind a gateway may have been done.
                if effect && http_status >= 500 {
                    result["maybe_done"] = MAYBE.into();
                }
            }
            Ok(result)
        }
        Err(error) if effect && error.applied == Applied::Maybe => {
            Err(json!({ "error": error.detail, "maybe_done": MAYBE }))
        }
        Err(error) => Err(json!({ "error": format!("{}; nothing was done", error.detail) })),
    }
}

#[cfg(test)]
mod tests {
    use domain::vendor::{FailureKind, Retry};

    use super::*;

    #[test]
    fn what_an_endpoint_repeats_of_its_headers_stays_with_it() {
        let answer = |body: &str| Ok(ToolAnswer { http_status: 200, body: body.to_owned(), cut: false });
        let secrets = ["Bearer canary-1".to_owned().into(), "abc".to_owned().into()];
        let told = redacted(answer("{\"a\":\"Bearer canary-1\",\"b\":\"canary-1\",\"c\":\"abc\"}"), &secrets);
        assert_eq!(told.unwrap().body, "{\"a\":\"[redacted]\",\"b\":\"[redacted]\",\"c\":\"abc\"}");
    }

    #[test]
    fn the_model_is_told_honestly() {
        let answer =
            |http_status, body: &str, cut| Ok(ToolAnswer { http_status, body: body.to_owned(), cut });
        let failed = |applied| {
            Err(VendorError {
                vendor: "http_tool",
                operation: "call",
                kind: FailureKind::Unavailable,
                http_status: None,
                detail: "it hung".to_owned(),
                excerpt: None,
                applied,
                retry: Retry::Backoff,
            })
        };
        let told = |effect, answered| result(effect, answered).unwrap_or_else(|problem| problem);
        assert_eq!(told(true, answer(200, "{\"a\":1}", false)), json!({ "status": 200, "body": { "a": 1 } }));
        assert_eq!(
            told(true, answer(200, "{\"a\":1}", true)),
            json!({ "status": 200, "body": "{\"a\":1}", "truncated": true })
        );
        assert!(told(true, answer(404, "no", false)).get("maybe_done").is_none());
        assert!(told(true, answer(502, "", false)).get("maybe_done").is_some());
        assert!(told(false, answer(502, "", false)).get("maybe_done").is_none());
        assert!(told(true, failed(Applied::Maybe)).get("maybe_done").is_some());
        assert!(told(false, failed(Applied::Maybe)).get("maybe_done").is_none());
        assert_eq!(told(true, failed(Applied::No)), json!({ "error": "it hung; nothing was done" }));
    }
}
