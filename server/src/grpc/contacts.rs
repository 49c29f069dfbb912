//! Contacts and the CRM's references, in both directions.

use domain::{
    Error, Reason,
    contact::{Contact, CrmReferences, Identity, NewContact},
};
use prost_types::Struct;
use serde_json::{Map, Value};
use switchboard_sdk::v1;

use super::convert;

fn told(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

fn identity(wire: v1::ContactIdentity, field: &str) -> Result<Identity, Error> {
    Ok(Identity {
        integration: convert::optional_id(&format!("{field}.integration_id"), &wire.integration_id)?,
        vendor: wire.vendor,
        external_id: wire.external_id,
    })
}

pub(super) fn told_contact(wire: v1::ToldContact) -> Result<NewContact, Error> {
    let identities = wire.identities.into_iter().enumerate();
    Ok(NewContact {
        identities: identities
            .map(|(at, wire)| identity(wire, &format!("contact.identities[{at}]")))
            .collect::<Result<_, _>>()?,
        name: told(wire.name),
        phone: told(wire.phone),
        email: told(wire.email),
    })
}

pub(super) fn references(wire: Option<v1::CrmReferences>) -> Result<CrmReferences, Error> {
    let wire = wire.unwrap_or_default();
    Ok(CrmReferences {
        integration: convert::optional_id("crm.integration_id", &wire.integration_id)?,
        lead_id: told(wire.lead_id),
        contact_id: told(wire.contact_id),
        source_external_id: told(wire.source_external_id),
    })
}

/// Nothing where nothing was told.
pub(super) fn references_to_wire(references: CrmReferences) -> Option<v1::CrmReferences> {
    (!references.is_empty()).then(|| v1::CrmReferences {
        integration_id: references.integration.map(|id| id.to_string()).unwrap_or_default(),
        lead_id: references.lead_id.unwrap_or_default(),
        contact_id: references.contact_id.unwrap_or_default(),
        source_external_id: references.source_external_id.unwrap_or_default(),
    })
}

pub(super) fn metadata(wire: Option<Struct>) -> Result<Map<String, Value>, Error> {
    match convert::from_struct("metadata", wire)? {
        Value::Object(members) => Ok(members),
        Value::Null => Ok(Map::new()),
        _ => Err(Error::field(Reason::FieldInvalid, "metadata", "must be an object")),
    }
}

pub(super) fn metadata_to_wire(metadata: Map<String, Value>) -> Option<Struct> {
    (!metadata.is_empty()).then(|| convert::to_struct(&Value::Object(metadata)))
}

pub(super) fn contact(contact: Contact) -> v1::Contact {
    let identity = |identity: Identity| v1::ContactIdentity {
        vendor: identity.vendor,
        integration_id: identity.integration.map(|id| id.to_string()).unwrap_or_default(),
        external_id: identity.external_id,
    };
    v1::Contact {
        id: contact.id.to_string(),
        display_name: contact.name,
        phone: contact.phone,
        email: contact.email,
        identities: contact.identities.into_iter().map(identity).collect(),
        create_time: Some(convert::moment(contact.created_at)),
        update_time: Some(convert::moment(contact.updated_at)),
    }
}
