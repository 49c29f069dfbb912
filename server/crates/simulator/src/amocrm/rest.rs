//! REST v4, as far as it is used: <https://www.amocrm.ru/developers/content/crm_platform/api-reference> (read 2026-11-20)

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use serde_json::{Value, json};

use super::{State, account::Account, answer, lock};
use crate::body::Body;

/// How many items a page has where nobody says.
const USUAL_PAGE: usize = 50;
const MOST_PAGE: usize = 250;

pub(super) fn none() -> Response<Body> {
    let mut response = Response::new(Bytes::new().into());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

pub(super) fn problem(status: StatusCode, detail: &str) -> Response<Body> {
    let title = status.canonical_reason().unwrap_or_default();
    let kind = format!("https://httpstatus.es/{}", status.as_u16());
    answer(status, &json!({ "title": title, "type": kind, "status": status.as_u16(), "detail": detail }))
}

/// The answer to items that are wrong: what is wrong with each, by its `request_id`.
pub(super) fn invalid(items: &[(String, Vec<(&'static str, String)>)]) -> Response<Body> {
    let items = items.iter().map(|(request_id, mistakes)| {
        let errors = mistakes.iter().map(|(code, path)| {
            json!({ "code": code, "path": path, "detail": "The value you selected is not a valid choice." })
        });
        json!({ "request_id": request_id, "errors": errors.collect::<Vec<_>>() })
    });
    let body = json!({
        "validation-errors": items.collect::<Vec<_>>(), "title": "Bad Request", "type": "https://httpstatus.es/400",
        "status": 400, "detail": "Request validation failed",
    });
    answer(StatusCode::BAD_REQUEST, &body)
}

/// A query's parameters; what is not plain is left as it is.
pub(super) fn parameters(request: &Request<Bytes>) -> Vec<(String, String)> {
    let query = request.uri().query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    let decoded = |text: &str| {
        let bytes = text.replace('+', " ").into_bytes();
        let mut plain = Vec::with_capacity(bytes.len());
        let mut at = 0;
        while at < bytes.len() {
            let code = bytes.get(at + 1..at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
            match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
                Some(byte) if bytes[at] == b'%' => {
                    plain.push(byte);
                    at += 3;
                }
                _ => {
                    plain.push(bytes[at]);
                    at += 1;
                }
            }
        }
        String::from_utf8_lossy(&plain).into_owned()
    };
    query
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(k, v)| (decoded(k), decoded(v)))
        .collect()
}

/// What was sent: one thing, or several.
pub(super) fn items(body: &Bytes) -> Option<Vec<Value>> {
    match serde_json::from_slice(body).ok()? {
        Value::Array(items) => Some(items),
        item @ Value::Object(_) => Some(vec![item]),
        _ => None,
    }
}

impl State {
    /// Answers a call that was let in; `path` begins behind `/api/v4/`.
    pub(super) fn rest(&self, request: &Request<Bytes>, path: &str, base: &str) -> Response<Body> {
        let now = self.clock.unix_seconds();
        let mut account = lock(&self.account);
        if !account.paid {
            return problem(StatusCode::PAYMENT_REQUIRED, "Account is not paid");
        }
        let page = |account: &Account, kind: &str| list(request, &account.all(kind), kind, base);
        let parts: Vec<&str> = path.split('/').collect();
        let number = |text: &str| text.parse::<u64>().ok();
        match (request.method().as_str(), parts.as_slice()) {
            ("GET", ["account"]) => {
                let amojo = super::AMOJO_ID;
                let body = json!({
                    "id": super::ACCOUNT_ID, "name": "Acme", "subdomain": account.subdomain, "amojo_id": amojo, "version": 11,
                });
                answer(StatusCode::OK, &body)
            }
            ("GET", ["users"]) | (_, ["webhooks"]) if !account.admin => {
                problem(StatusCode::FORBIDDEN, "Not enough rights")
            }
            ("GET", ["users"]) => page(&account, "users"),
            (
                "GET",
                ["leads" | "contacts", "custom_fields" | "tags"]
                | ["leads", "pipelines"]
                | ["leads" | "contacts" | "tasks" | "talks"]
                | ["contacts", "chats"],
            ) => page(&account, path),
            ("GET", [kind @ ("leads" | "contacts"), id, "notes"]) => {
                let of = format!("{kind}/notes");
                let notes = account.all(&of).into_iter();
                let notes: Vec<_> = notes.filter(|note| note["entity_id"].as_u64() == number(id)).collect();
                list(request, &notes, &of, base)
            }
            ("GET", [kind @ ("leads" | "contacts" | "tasks"), id]) => {
                match number(id).and_then(|id| account.get(kind, id)) {
                    Some(thing) => answer(StatusCode::OK, thing),
                    None => none(),
                }
            }
            ("PATCH", ["leads"]) => change(&mut account, request, None, now),
            ("PATCH", ["leads", id]) => change(&mut account, request, number(id), now),
            ("POST", ["leads" | "contacts" | "tasks"]) => {
                let defaults = json!({ "created_at": now, "updated_at": now, "is_deleted": false });
                create(&mut account, request, path, &defaults)
            }
            ("POST", [kind @ ("leads" | "contacts"), id, "notes"]) => {
                match number(id).filter(|id| account.get(kind, *id).is_some()) {
                    Some(id) => {
                        let defaults = json!({ "entity_id": id, "created_at": now });
                        create(&mut account, request, &format!("{kind}/notes"), &defaults)
                    }
                    None => problem(StatusCode::NOT_FOUND, "Entity not found"),
                }
            }
            ("POST", ["talks", id, "send_message"]) => {
                match number(id).and_then(|id| account.get("talks", id)) {
                    None => problem(StatusCode::NOT_FOUND, "Talk not found"),
                    Some(talk) if talk["is_in_work"] != true => {
                        problem(StatusCode::UNPROCESSABLE_ENTITY, "Talk is closed")
                    }
                    Some(_) => {
                        let said: Value = serde_json::from_slice(request.body()).unwrap_or_default();
                        let id = account
                            .put("talks/messages", json!({ "talk_id": number(id), "text": said["text"] }));
                        answer(
                            StatusCode::ACCEPTED,
                            &json!({ "id": format!("{id:08x}-5555-4222-8333-444444444444") }),
                        )
                    }
                }
            }
            ("POST", ["salesbot", _, "continue", place]) => {
                if number(place).and_then(|place| account.remove("salesbot/waiting", place)).is_none() {
                    return problem(StatusCode::NOT_FOUND, "Nothing waits here");
                }
                let given: Value = serde_json::from_slice(request.body()).unwrap_or_default();
                let handlers = given["execute_handlers"].as_array().map_or(0, Vec::len);
                if handlers == 0 || handlers > 10 {
                    return problem(StatusCode::BAD_REQUEST, "1 to 10 handlers");
                }
                account.put("salesbot/said", json!({ "place": number(place), "said": given }));
                let mut accepted = none();
                *accepted.status_mut() = StatusCode::ACCEPTED;
                accepted
            }
            (_, ["sources", ..]) => super::sources::answer(&mut account, request, &parts[1..], base),
            (_, ["webhooks"]) => {
                let query = request.uri().query().unwrap_or_default();
                let (status, body) = lock(&self.webhooks).answer(request.method(), query, request.body());
                body.map_or_else(none, |body| answer(status, &body))
            }
            (method, _) if method != "GET" => problem(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed"),
            _ => problem(StatusCode::NOT_FOUND, "no such route"),
        }
    }
}

pub(super) fn request_id(item: &Value, place: usize) -> String {
    item["request_id"].as_str().map_or_else(|| place.to_string(), str::to_owned)
}

/// A page of a list.
pub(super) fn list(request: &Request<Bytes>, all: &[Value], kind: &str, base: &str) -> Response<Body> {
    let parameters = parameters(request);
    let number = |name: &str| {
        parameters.iter().find(|(known, _)| known == name).and_then(|(_, value)| value.parse::<usize>().ok())
    };
    let (limit, page) = (number("limit").unwrap_or(USUAL_PAGE), number("page").unwrap_or(1).max(1));
    if limit == 0 || limit > MOST_PAGE {
        return problem(StatusCode::BAD_REQUEST, "limit must be 1 to 250");
    }
    let given = |name: &str| parameters.iter().find(|(known, _)| known == name).map(|(_, value)| &**value);
    let mut all: Vec<_> = match given("filter[entity_id][]")
        .or(given("filter[entity_id]"))
        .and_then(|id| id.parse::<u64>().ok())
    {
        Some(id) => all.iter().filter(|thing| thing["entity_id"].as_u64() == Some(id)).collect(),
        None => all.iter().collect(),
    };
    if given("order[id]") == Some("desc") {
        all.reverse();
    }
    let shown: Vec<_> = all.iter().skip((page - 1) * limit).take(limit).collect();
    if shown.is_empty() {
        return none();
    }
    let link =
        |page: usize| json!({ "href": format!("{base}{}?limit={limit}&page={page}", request.uri().path()) });
    let mut links = json!({ "self": link(page) });
    if page * limit < all.len() {
        links["next"] = link(page + 1);
    }
    let name = kind.rsplit('/').next().unwrap_or(kind);
    answer(StatusCode::OK, &json!({ "_page": page, "_links": links, "_embedded": { name: shown } }))
}

fn change(account: &mut Account, request: &Request<Bytes>, one: Option<u64>, now: i64) -> Response<Body> {
    let Some(changes) = items(request.body()) else { return problem(StatusCode::BAD_REQUEST, "no JSON") };
    if one.is_some_and(|id| account.get("leads", id).is_none()) {
        return problem(StatusCode::NOT_FOUND, "Entity not found");
    }
    let of = |change: &Value| one.or(change["id"].as_u64()).unwrap_or_default();
    let mistakes: Vec<_> = changes
        .iter()
        .enumerate()
        .filter_map(|(place, change)| {
            let lead = account.get("leads", of(change))?;
            let mistakes = account.mistakes(lead, change);
            (!mistakes.is_empty()).then(|| (request_id(change, place), mistakes))
        })
        .collect();
    if !mistakes.is_empty() {
        return invalid(&mistakes);
    }
    let mut shown = Vec::new();
    for change in &changes {
        let id = of(change);
        if account.get("leads", id).is_some() {
            account.change(id, change, now);
            shown.push(json!({ "id": id, "updated_at": now }));
        }
    }
    match one {
        Some(_) => answer(StatusCode::OK, &shown[0]),
        None => answer(StatusCode::OK, &json!({ "_embedded": { "leads": shown } })),
    }
}

fn create(account: &mut Account, request: &Request<Bytes>, kind: &str, defaults: &Value) -> Response<Body> {
    let Ok(Value::Array(new)) = serde_json::from_slice(request.body()) else {
        return problem(StatusCode::BAD_REQUEST, "an array is wanted");
    };
    let wrong = |item: &Value| {
        let mut mistakes = Vec::new();
        if kind == "tasks" {
            for name in ["text", "complete_till"] {
                if item[name].is_null() {
                    mistakes.push(("FieldMissing", name.to_owned()));
                }
            }
            let of = item["entity_type"].as_str().zip(item["entity_id"].as_u64());
            if of.is_some_and(|(kind, id)| account.get(kind, id).is_none()) {
                mistakes.push(("NotSupportedChoice", "entity_id".to_owned()));
            }
        }
        mistakes
    };
    let mistakes: Vec<_> = new
        .iter()
        .enumerate()
        .map(|(place, item)| (request_id(item, place), wrong(item)))
        .filter(|(_, mistakes)| !mistakes.is_empty())
        .collect();
    if !mistakes.is_empty() {
        return invalid(&mistakes);
    }
    let mut shown = Vec::new();
    for (place, item) in new.iter().enumerate() {
        let mut made = defaults.clone();
        if let (Some(made), Some(item)) = (made.as_object_mut(), item.as_object()) {
            made.extend(item.clone());
        }
        let id = account.put(kind, made.clone());
        let mut told = json!({ "entity_id": made["entity_id"] });
        told["id"] = json!(id);
        told["request_id"] = json!(request_id(item, place));
        shown.push(told);
    }
    let name = kind.rsplit('/').next().unwrap_or(kind);
    answer(StatusCode::OK, &json!({ "_embedded": { name: shown } }))
}
