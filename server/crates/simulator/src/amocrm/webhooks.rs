//! amoCRM's subscriptions to what happens in an account: one for each address, disabled when it answered badly too often.
//! <https://www.amocrm.ru/developers/content/crm_platform/webhooks-api> (read 2026-11-20)

use http::{Method, StatusCode};
use serde_json::{Value, json};
use url::form_urlencoded;

/// The subscriptions of an account.
#[derive(Debug, Default)]
pub(super) struct Webhooks {
    made: u64,
    list: Vec<Webhook>,
}

/// A subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Its id at the vendor.
    pub id: u64,
    /// The address that is called.
    pub destination: String,
    /// What it is told.
    pub settings: Vec<String>,
    /// Whether the vendor calls it no more.
    pub disabled: bool,
}

/// What the vendor knows. Any other event refuses the whole subscription.
const ENTITIES: [&str; 4] = ["lead", "contact", "company", "customer"];
const FURTHER: [&str; 12] = [
    "status_lead",
    "add_task",
    "update_task",
    "delete_task",
    "responsible_task",
    "add_talk",
    "update_talk",
    "add_message",
    "add_outgoing_message",
    "add_chat_template_review",
    "add_unsorted",
    "update_unsorted",
];

fn known(event: &str) -> bool {
    let of_entity = event.split_once('_').is_some_and(|(action, entity)| {
        ["add", "update", "delete", "restore", "responsible", "note"].contains(&action)
            && ENTITIES.contains(&entity)
            && event != "restore_customer"
    });
    of_entity || FURTHER.contains(&event)
}

impl Webhook {
    fn json(&self) -> Value {
        json!({
            "id": self.id, "destination": self.destination, "created_at": 1_772_532_930, "updated_at": 1_772_532_930,
            "account_id": 31_000_001, "created_by": 9001, "sort": 10, "disabled": self.disabled, "settings": self.settings,
        })
    }
}

impl Webhooks {
    pub(super) fn list(&self) -> Vec<Webhook> {
        self.list.clone()
    }

    /// As after a hundred bad answers in two hours.
    pub(super) fn disable_all(&mut self) {
        for webhook in &mut self.list {
            webhook.disabled = true;
        }
    }

    /// Answers a call of a token that may do this. `None`: 204, there is nothing.
    pub(super) fn answer(
        &mut self,
        method: &Method,
        query: &str,
        body: &[u8],
    ) -> (StatusCode, Option<Value>) {
        let given: Value = serde_json::from_slice(body).unwrap_or_default();
        let destination = given["destination"].as_str().unwrap_or_default().to_owned();
        match *method {
            Method::GET => {
                let wanted = form_urlencoded::parse(query.as_bytes())
                    .find(|(name, _)| name == "filter[destination]")
                    .map(|(_, value)| value.into_owned());
                let found: Vec<_> = self
                    .list
                    .iter()
                    .filter(|webhook| wanted.as_ref().is_none_or(|wanted| *wanted == webhook.destination))
                    .map(Webhook::json)
                    .collect();
                if found.is_empty() {
                    return (StatusCode::NO_CONTENT, None);
                }
                (StatusCode::OK, Some(json!({ "_embedded": { "webhooks": found } })))
            }
            Method::POST => {
                let settings: Option<Vec<String>> = given["settings"].as_array().and_then(|events| {
                    events.iter().map(|event| event.as_str().map(str::to_owned)).collect()
                });
                let good = destination.starts_with("http")
                    && settings.as_ref().is_some_and(|events| events.iter().all(|event| known(event)));
                if !good {
                    let problem = json!({ "title": "Bad Request", "status": 400, "detail": "Request validation failed" });
                    return (StatusCode::BAD_REQUEST, Some(problem));
                }
                let settings = settings.unwrap_or_default();
                let webhook = if let Some(known) =
                    self.list.iter_mut().find(|known| known.destination == destination)
                {
                    // Whether this enables it again is not documented: here it doesn't.
                    known.settings = settings;
                    known
                } else {
                    self.made += 1;
                    self.list.push(Webhook {
                        id: 70_000 + self.made,
                        destination,
                        settings,
                        disabled: false,
                    });
                    let last = self.list.len() - 1;
                    &mut self.list[last]
                };
                (StatusCode::CREATED, Some(webhook.json()))
            }
            Method::DELETE => {
                let before = self.list.len();
                self.list.retain(|webhook| webhook.destination != destination);
                if self.list.len() == before {
                    return (StatusCode::NOT_FOUND, Some(json!({ "title": "Not Found", "status": 404 })));
                }
                (StatusCode::NO_CONTENT, None)
            }
            _ => (
                StatusCode::METHOD_NOT_ALLOWED,
                Some(json!({ "title": "Method Not Allowed", "status": 405 })),
            ),
        }
    }
}
