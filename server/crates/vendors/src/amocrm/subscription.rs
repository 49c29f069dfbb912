//! Having the vendor call us when something happens in an account, and noticing that it has stopped: after a hundred bad answers
//! in two hours it calls no more until somebody asks it to.
//! <https://www.amocrm.ru/developers/content/crm_platform/webhooks-api> (read 2026-11-20)

use async_trait::async_trait;
use domain::{
    connection::Connection,
    crm_event::{AccountHooks, CrmAccount, CrmHook, Subscription},
    vendor::{FailureKind, NormalizeError, VendorError},
};
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{AmoCrm, bad_answer, hooks, rest::Rest, settings::Settings};

/// What we want to be told.
const EVENTS: [&str; 35] = [
    "add_lead",
    "update_lead",
    "delete_lead",
    "restore_lead",
    "status_lead",
    "responsible_lead",
    "note_lead",
    "add_contact",
    "update_contact",
    "delete_contact",
    "restore_contact",
    "responsible_contact",
    "note_contact",
    "add_company",
    "update_company",
    "delete_company",
    "restore_company",
    "responsible_company",
    "note_company",
    "add_customer",
    "update_customer",
    "delete_customer",
    "responsible_customer",
    "note_customer",
    "add_task",
    "update_task",
    "delete_task",
    "responsible_task",
    "add_talk",
    "update_talk",
    "add_message",
    "add_outgoing_message",
    "add_unsorted",
    "update_unsorted",
    "delete_unsorted",
];
/// What the documentation of the vendor's own library leaves out, and the vendor may refuse.
const UNSURE: [&str; 3] = ["add_unsorted", "update_unsorted", "delete_unsorted"];

#[derive(Deserialize)]
struct Webhook {
    destination: String,
    #[serde(default)]
    disabled: bool,
    #[serde(default)]
    settings: Vec<String>,
}

impl From<Webhook> for Subscription {
    fn from(webhook: Webhook) -> Self {
        let told = |event: &str| webhook.settings.iter().any(|each| each == event);
        let mut wanted = EVENTS.iter().filter(|event| !UNSURE.contains(event));
        Self { disabled: webhook.disabled, complete: wanted.all(|event| told(event)) }
    }
}

#[async_trait]
impl AccountHooks for AmoCrm {
    fn read(&self, body: &[u8]) -> Result<CrmHook, NormalizeError> {
        hooks::read(body)
    }

    fn is_of(&self, settings: &Value, known: Option<&str>, account: &CrmAccount) -> bool {
        match (known, &account.id, &account.subdomain) {
            // The id stays when the account moves to another subdomain.
            (Some(known), Some(id), _) => known == id,
            (_, _, Some(subdomain)) => Settings::read(settings)
                .is_ok_and(|settings| settings.subdomain.eq_ignore_ascii_case(subdomain)),
            _ => false,
        }
    }

    async fn account_id(&self, connection: &Connection) -> Result<String, VendorError> {
        #[derive(Deserialize)]
        struct Account {
            id: u64,
        }
        let account = Rest::new(&self.http, connection, "account")?.get::<Account>("account", &[]).await?;
        Ok(account.ok_or_else(|| bad_answer("account"))?.id.to_string())
    }

    async fn subscription(
        &self,
        connection: &Connection,
        url: &str,
    ) -> Result<Option<Subscription>, VendorError> {
        #[derive(Deserialize)]
        struct Listed {
            #[serde(rename = "_embedded")]
            embedded: Embedded,
        }
        #[derive(Deserialize)]
        struct Embedded {
            webhooks: Vec<Webhook>,
        }
        let listed: Option<Listed> = Rest::new(&self.http, connection, "webhooks")?
            .find("webhooks", &[("filter[destination]", url)])
            .await?;
        let Some(listed) = listed else { return Ok(None) };
        Ok(listed.embedded.webhooks.into_iter().find(|webhook| webhook.destination == url).map(Into::into))
    }

    /// Whether a subscription that is posted again is enabled again is not documented, so a disabled one is taken away first.
    async fn subscribe(&self, connection: &Connection, url: &str) -> Result<Subscription, VendorError> {
        if self.subscription(connection, url).await?.is_some_and(|found| found.disabled) {
            self.unsubscribe(connection, url).await?;
        }
        match self.post(connection, url, &EVENTS).await {
            // A vendor that knows one of the events no more refuses them all.
            Err(error) if matches!(error.http_status, Some(400 | 422)) => {
                let sure: Vec<_> = EVENTS.into_iter().filter(|event| !UNSURE.contains(event)).collect();
                self.post(connection, url, &sure).await
            }
            other => other,
        }
    }

    async fn unsubscribe(&self, connection: &Connection, url: &str) -> Result<(), VendorError> {
        let body = json!({ "destination": url });
        let rest = Rest::new(&self.http, connection, "unsubscribe")?;
        match rest.send::<Value>(Method::DELETE, "webhooks", &body).await {
            Err(refusal) if refusal.error.kind != FailureKind::NotFound => Err(refusal.into()),
            _ => Ok(()),
        }
    }
}

impl AmoCrm {
    async fn post(
        &self,
        connection: &Connection,
        url: &str,
        events: &[&str],
    ) -> Result<Subscription, VendorError> {
        let body = json!({ "destination": url, "settings": events, "sort": 10 });
        let rest = Rest::new(&self.http, connection, "subscribe")?;
        let made: Option<Webhook> = rest.send(Method::POST, "webhooks", &body).await?;
        Ok(made.ok_or_else(|| bad_answer("subscribe"))?.into())
    }
}
