//! What the tools of a CRM share: where the dialogue's lead is, and what a model is told when the CRM says no.
//!
//! CRMs know nothing of keys, so what is made there is looked for first: the same thing of the last hour is what a run that was
//! cut short has made. Whose lead it is stands in the dialogue, never in what the model gives.

use std::time::Duration;

use domain::{Timestamp, crm::Entity, dialogue::Dialogue, vendor::Applied};
use serde_json::{Value, json};

use super::Cx;
use crate::{Error, crm::Office};

/// For how long the same thing again is a repeat.
const REPEATS: Duration = Duration::from_hours(1);
/// What the model is told of a call whose end nobody saw.
const MAYBE: &str = "it may have been done all the same; have a person look before it is done again";

/// What a dialogue is about, in its CRM.
pub(super) struct Matter {
    pub(super) office: Office,
    pub(super) lead_id: Option<String>,
    contact_id: Option<String>,
}

impl Matter {
    /// Finds it. The error is for the model.
    pub(super) async fn of(cx: &Cx<'_>) -> Result<Self, Value> {
        let crm =
            dialogue(cx).await.map_err(|error| told(&error))?.map(|found| found.crm).unwrap_or_default();
        let office = cx.app.office(cx.workspace, crm.integration).await.map_err(|error| told(&error))?;
        Ok(Self { office, lead_id: crm.lead_id, contact_id: crm.contact_id })
    }

    /// The lead; the contact where there is no lead.
    pub(super) fn entity(self) -> Result<(Office, Entity, String), Value> {
        match (self.lead_id, self.contact_id) {
            (Some(lead), _) => Ok((self.office, Entity::Lead, lead)),
            (None, Some(contact)) => Ok((self.office, Entity::Contact, contact)),
            (None, None) => Err(refused("the CRM knows neither a lead nor a contact of this dialogue")),
        }
    }
}

async fn dialogue(cx: &Cx<'_>) -> Result<Option<Dialogue>, Error> {
    let mut tx = cx.app.store().workspace(cx.workspace).await?;
    let found = store::dialogues::find(&mut tx, cx.workspace, cx.dialogue).await?;
    store::commit(tx).await?;
    Ok(found)
}

/// Since when the same thing is a repeat.
pub(super) fn repeats_since(cx: &Cx<'_>) -> Timestamp {
    cx.now - REPEATS
}

pub(super) fn refused(detail: &str) -> Value {
    json!({ "error": format!("{detail}; nothing was done") })
}

/// What the model is told.
pub(super) fn told(error: &Error) -> Value {
    if let Error::Vendor(error) = error
        && error.applied == Applied::Maybe
    {
        return json!({ "error": error.detail, "maybe_done": MAYBE });
    }
    refused(&error.to_domain().detail)
}
