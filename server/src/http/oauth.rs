//! Where vendors send people back to who were asked for their consent.

use std::collections::BTreeMap;

use axum::{
    extract::{Query, State},
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::json;

use super::{Shim, json as answer};
use crate::error::Problem;

/// Takes a person who comes back from a vendor's page: exchanges the code that they bring, once and within ten minutes.
/// A browser gets a page, everybody else JSON.
#[utoipa::path(get, path = "/oauth/callback", tag = "oauth",
    params(
        ("state" = String, Query, description = "What StartAuthorization sent along."),
        ("code" = Option<String>, Query, description = "The vendor's code."),
        ("error" = Option<String>, Query, description = "The vendor's error, in place of a code."),
    ),
    responses(
        (status = 200, description = "The account is connected."),
        (status = 409, description = "AUTHORIZATION_REFUSED, VENDOR_REFUSED"),
        (status = 422, description = "AUTHORIZATION_INVALID"),
        (status = 503, description = "VENDOR_UNAVAILABLE"),
    ))]
pub(super) async fn callback(
    State(shim): State<Shim>,
    Query(parameters): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Response {
    // Of a parameter that comes twice the first counts.
    let mut first = BTreeMap::new();
    for (name, value) in parameters {
        first.entry(name).or_insert(value);
    }
    let accepts = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let page_wanted = accepts.contains("text/html");
    let mut response = match shim.app.finish_authorization(first).await {
        Ok(integration) if page_wanted => page(
            StatusCode::OK,
            "Connected",
            &format!("{} is connected. This window can be closed.", integration.display_name),
        ),
        Ok(integration) => answer(
            StatusCode::OK,
            &json!({ "integration_id": integration.id, "display_name": integration.display_name }),
        ),
        Err(error) => {
            let problem = Problem::from(error);
            if page_wanted {
                let detail = problem.0.detail.clone();
                page(problem.into_response().status(), "Not connected", &detail)
            } else {
                problem.into_response()
            }
        }
    };
    // The address of this page holds the code.
    let headers = response.headers_mut();
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A page of one sentence, without anything that could run.
fn page(status: StatusCode, title: &str, sentence: &str) -> Response {
    let html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title><h1>{title}</h1><p>{}</p></html>\n",
        escaped(sentence)
    );
    let mut response = (status, html).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'"));
    response
}

fn escaped(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, c| {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn nothing_on_the_page_is_markup_but_its_own() {
        assert_eq!(super::escaped("<b a='1'>\"&"), "&lt;b a=&#39;1&#39;&gt;&quot;&amp;");
    }
}
