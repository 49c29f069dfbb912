//! The integration's own sources. <https://www.amocrm.ru/developers/content/crm_platform/sources-api> (read 2026-11-20)
//!
//! What the vendor answers where "multiple sources" is not switched on is not documented: here it refuses changes, as it does to
//! those who are no administrators.

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use super::{
    account::Account,
    answer as answer_with,
    rest::{invalid, items, list, none, parameters, problem, request_id},
};
use crate::body::Body;

const KIND: &str = "sources";
/// How many an integration may have.
const MOST: usize = 100;

/// Answers a call; `rest` is its path behind the collection.
pub(super) fn answer(
    account: &mut Account,
    request: &Request<Bytes>,
    rest: &[&str],
    base: &str,
) -> Response<Body> {
    if request.method() != Method::GET && !(account.admin && account.multiple_sources) {
        return problem(StatusCode::FORBIDDEN, "Not enough rights");
    }
    let id = rest.first().and_then(|id| id.parse::<u64>().ok());
    match (request.method().as_str(), id) {
        ("GET", None) => {
            let wanted: Vec<_> = parameters(request)
                .into_iter()
                .filter_map(|(name, value)| name.starts_with("filter[external_id]").then_some(value))
                .collect();
            let all = account.all(KIND).into_iter().filter(|source| {
                wanted.is_empty() || wanted.iter().any(|wanted| source["external_id"] == **wanted)
            });
            list(request, &all.collect::<Vec<_>>(), KIND, base)
        }
        ("GET", Some(id)) => match account.get(KIND, id) {
            Some(source) => answer_with(StatusCode::OK, source),
            None => none(),
        },
        ("POST", None) => create(account, &items(request.body()).unwrap_or_default()),
        ("PATCH", id) => match items(request.body()) {
            Some(changes) => change(account, id, &changes),
            None => problem(StatusCode::BAD_REQUEST, "no JSON"),
        },
        ("DELETE", id) => {
            let listed = items(request.body()).unwrap_or_default();
            let ids = match id {
                Some(id) => vec![id],
                None => listed.iter().filter_map(|item| item["id"].as_u64()).collect(),
            };
            delete(account, &ids)
        }
        _ => problem(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed"),
    }
}

/// What is wrong with a source: code and path of each mistake. `own`: the id of the one that is changed.
fn mistakes(account: &Account, source: &Value, own: Option<u64>) -> Vec<(&'static str, String)> {
    let mut mistakes = Vec::new();
    let text = |name: &str| source[name].as_str().unwrap_or_default();
    for name in ["name", "external_id"] {
        if text(name).is_empty() && (own.is_none() || !source[name].is_null()) {
            mistakes.push(("FieldMissing", name.to_owned()));
        }
    }
    let plain = text("external_id").bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    let taken = account.all(KIND).iter().any(|other| {
        !text("external_id").is_empty()
            && other["external_id"] == source["external_id"]
            && other["id"].as_u64() != own
    });
    if text("external_id").len() > 40 || !plain || taken {
        mistakes.push(("NotUnique", "external_id".to_owned()));
    }
    let pipeline = &source["pipeline_id"];
    if !pipeline.is_null() && pipeline.as_u64().is_none_or(|id| account.get("leads/pipelines", id).is_none())
    {
        mistakes.push(("NotSupportedChoice", "pipeline_id".to_owned()));
    }
    mistakes
}

fn create(account: &mut Account, new: &[Value]) -> Response<Body> {
    let wrong: Vec<_> = new
        .iter()
        .zip(0..)
        .map(|(new, place)| (request_id(new, place), mistakes(account, new, None)))
        .filter(|(_, mistakes)| !mistakes.is_empty())
        .collect();
    if !wrong.is_empty() {
        return invalid(&wrong);
    }
    if account.all(KIND).len() + new.len() > MOST {
        return problem(StatusCode::BAD_REQUEST, "Limit of sources exceeded");
    }
    let mut shown = Vec::new();
    for (new, place) in new.iter().zip(0..) {
        let first = account.all(KIND).is_empty();
        let pipelines = account.all("leads/pipelines").into_iter();
        let main =
            pipelines.clone().find(|each| each["is_main"] == true).or_else(|| pipelines.clone().next());
        let mut made = json!({
            "name": new["name"], "external_id": new["external_id"], "origin_code": new["origin_code"], "services": [],
            "pipeline_id": main.map_or(Value::Null, |pipeline| pipeline["id"].clone()),
            "default": first || new["default"] == true,
        });
        if !new["pipeline_id"].is_null() {
            made["pipeline_id"] = new["pipeline_id"].clone();
        }
        // One that was deleted may have its old id.
        let external_id = new["external_id"].as_str().unwrap_or_default();
        if let Some(id) = account.old_sources.get(external_id) {
            made["id"] = json!(id);
        }
        let id = account.put(KIND, made.clone());
        made["id"] = json!(id);
        settle_default(account, (made["default"] == true).then_some(id));
        made["request_id"] = json!(request_id(new, place));
        shown.push(made);
    }
    answer_with(StatusCode::OK, &json!({ "_total_items": shown.len(), "_embedded": { KIND: shown } }))
}

/// There is one default: a new one takes it from the others.
fn settle_default(account: &mut Account, new: Option<u64>) {
    let Some(new) = new else { return };
    for source in account.all(KIND) {
        if let Some(id) = source["id"].as_u64()
            && let Some(source) = account.get_mut(KIND, id)
        {
            source["default"] = json!(id == new);
        }
    }
}

fn change(account: &mut Account, one: Option<u64>, changes: &[Value]) -> Response<Body> {
    let of = |change: &Value| one.or(change["id"].as_u64());
    if changes.iter().any(|change| of(change).is_none_or(|id| account.get(KIND, id).is_none())) {
        return problem(StatusCode::NOT_FOUND, "Source not found");
    }
    let wrong: Vec<_> = changes
        .iter()
        .zip(0..)
        .map(|(change, place)| (request_id(change, place), mistakes(account, change, of(change))))
        .filter(|(_, mistakes)| !mistakes.is_empty())
        .collect();
    if !wrong.is_empty() {
        return invalid(&wrong);
    }
    let mut shown = Vec::new();
    for change in changes {
        let Some(id) = of(change) else { continue };
        if let Some(source) = account.get_mut(KIND, id) {
            for name in ["name", "pipeline_id", "external_id"] {
                if !change[name].is_null() {
                    source[name] = change[name].clone();
                }
            }
        }
        settle_default(account, (change["default"] == true).then_some(id));
        shown.extend(account.get(KIND, id).cloned());
    }
    answer_with(StatusCode::OK, &json!({ "_embedded": { KIND: shown } }))
}

/// The default goes only after another has become it.
fn delete(account: &mut Account, ids: &[u64]) -> Response<Body> {
    if ids.iter().any(|id| account.get(KIND, *id).is_none()) {
        return problem(StatusCode::NOT_FOUND, "Source not found");
    }
    if ids.iter().any(|id| account.get(KIND, *id).is_some_and(|source| source["default"] == true)) {
        return invalid(&[("0".to_owned(), vec![("FieldMissing", "default".to_owned())])]);
    }
    for id in ids {
        if let Some(source) = account.remove(KIND, *id) {
            let external_id = source["external_id"].as_str().unwrap_or_default().to_owned();
            account.old_sources.insert(external_id, *id);
        }
    }
    none()
}
