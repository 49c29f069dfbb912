//! What agents may see of their customers in the CRM: read for each turn, kept for moments. That the CRM is slow or down stops
//! no turn: then older values are told with their age, or that there are none.

use std::{sync::Arc, time::Duration};

use domain::{
    DialogueId, Error as Refusal, Reason, Timestamp, WorkspaceId,
    crm::{Contact, Entity, Lead},
    crm_context::{CrmContext, CrmFacts, Seen},
    vendor::FailureKind,
};
use moka::sync::Cache;
use store::integrations::Keep;
use tokio::time::{Instant, timeout_at};

use crate::{
    App, Error,
    crm::{Key, Office},
};

/// For how long what was read is as good as new. Turns of one dialogue come in bursts.
const FRESH: Duration = Duration::from_secs(30);
/// For how long it is kept, to be told while the CRM can't be read.
const KEPT: Duration = Duration::from_hours(24);
/// How long a turn waits for the CRM.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a CRM that could not be read is left alone.
const PAUSE: Duration = Duration::from_secs(15);
/// How many leads and contacts are kept.
const MOST_KEPT: u64 = 2_000;

/// What was read of CRMs, and which of them could not be read.
#[derive(Debug)]
pub(crate) struct Records {
    kept: Cache<(Key, Entity, String), Arc<Record>>,
    troubled: Cache<Key, Timestamp>,
}

impl Default for Records {
    fn default() -> Self {
        Self {
            kept: Cache::builder().max_capacity(MOST_KEPT).time_to_live(KEPT).build(),
            troubled: Cache::builder().max_capacity(10_000).time_to_live(PAUSE * 4).build(),
        }
    }
}

/// A lead or contact as it was read.
#[derive(Debug)]
struct Record {
    is: Is,
    read_at: Timestamp,
}

#[derive(Debug)]
enum Is {
    Lead(Lead),
    Contact(Contact),
}

/// On what terms something is read.
#[derive(Clone, Copy)]
struct Terms {
    /// Up to what age a record is as good as new.
    fresh: Duration,
    /// Until when the CRM is waited for.
    until: Instant,
}

/// What came of reading.
enum Found {
    /// The record, and whether it could not be had any newer.
    Record(Arc<Record>, bool),
    Gone,
    Unknown,
}

impl Found {
    fn seen(&self, fields: impl FnOnce(&Is) -> Vec<domain::crm_context::SeenField>) -> Seen {
        match self {
            Self::Record(record, stale) => {
                Seen::Read { at: record.read_at, stale: *stale, fields: fields(&record.is) }
            }
            Self::Gone => Seen::Gone,
            Self::Unknown => Seen::Unknown,
        }
    }
}

impl App {
    /// Checks that the CRM whose fields an agent names is one of its workspace's.
    pub(crate) async fn check_crm_of(
        &self,
        tx: &mut store::Tx,
        workspace: WorkspaceId,
        context: &CrmContext,
    ) -> Result<(), Error> {
        let Some(id) = context.integration else { return Ok(()) };
        let sealed = store::integrations::find(tx, workspace, id, Keep::Free).await?;
        let vendor = sealed.ok_or_else(|| crate::integrations::not_found(id))?.integration.vendor;
        if self.inner.vendors.get(&vendor).is_none_or(|vendor| vendor.crm.is_none()) {
            let detail = format!("is an integration with {vendor}, which is no CRM");
            return Err(
                Refusal::field(Reason::FieldInvalid, "agent.crm_context.integration_id", detail).into()
            );
        }
        Ok(())
    }

    /// What an agent may see of a dialogue's customer in the CRM. `None`: nothing, or the CRM knows nobody here. `resumed`: a run
    /// goes on that was told before; what was read for it will do, however old.
    pub(crate) async fn crm_facts(
        &self,
        workspace: WorkspaceId,
        dialogue: DialogueId,
        allowed: &CrmContext,
        resumed: bool,
    ) -> Result<Option<CrmFacts>, Error> {
        if allowed.is_empty() {
            return Ok(None);
        }
        let mut tx = self.store().workspace(workspace).await?;
        let found = store::dialogues::find(&mut tx, workspace, dialogue).await?;
        store::commit(tx).await?;
        let crm = found.map(|found| found.crm).unwrap_or_default();
        let lead_id = crm.lead_id.as_deref();
        if lead_id.is_none() && crm.contact_id.is_none() {
            return Ok(None);
        }
        let other =
            matches!((crm.integration, allowed.integration), (Some(ours), Some(named)) if ours != named);
        let office = match self.office(workspace, crm.integration.or(allowed.integration)).await {
            Ok(office) if !other => office,
            Err(error @ Error::Store(_)) => return Err(error),
            // Fields of another account are others.
            Ok(_) | Err(_) => {
                let unknown =
                    |fields: &[String], there: bool| (there && !fields.is_empty()).then_some(Seen::Unknown);
                let lead = unknown(&allowed.lead_fields, lead_id.is_some());
                return Ok(Some(CrmFacts { lead, contact: unknown(&allowed.contact_fields, true) }));
            }
        };
        let terms = Terms { fresh: if resumed { KEPT } else { FRESH }, until: Instant::now() + PATIENCE };
        let main = crm.contact_id.is_none() && !allowed.contact_fields.is_empty();
        let lead = match lead_id.filter(|_| main || !allowed.lead_fields.is_empty()) {
            Some(id) => Some(self.record(&office, Entity::Lead, id, terms).await?),
            None => None,
        };
        let mut contact = None;
        if !allowed.contact_fields.is_empty() {
            let id = match (&crm.contact_id, &lead) {
                (Some(id), _) => Ok(Some(id.clone())),
                // The lead's main contact.
                (None, Some(Found::Record(record, _))) => match &record.is {
                    Is::Lead(lead) => Ok(lead.contact_ids.first().cloned()),
                    Is::Contact(_) => Ok(None),
                },
                (None, Some(Found::Gone)) => Err(Seen::Gone),
                (None, _) => Err(Seen::Unknown),
            };
            contact = match id {
                Ok(Some(id)) => {
                    let found = self.record(&office, Entity::Contact, &id, terms).await?;
                    Some(found.seen(|is| match is {
                        Is::Contact(contact) => allowed.of_contact(contact),
                        Is::Lead(_) => Vec::new(),
                    }))
                }
                Ok(None) => None,
                Err(seen) => Some(seen),
            };
        }
        let mut pipelines = None;
        if allowed.wants_pipelines() && matches!(&lead, Some(Found::Record(..))) {
            // Without their names stages are told by their ids.
            pipelines = timeout_at(terms.until, office.pipelines(false)).await.ok().and_then(Result::ok);
        }
        let pipelines = pipelines.as_ref().map_or(&[][..], |listed| listed.items.as_slice());
        let lead = lead.filter(|_| !allowed.lead_fields.is_empty()).map(|found| {
            found.seen(|is| match is {
                Is::Lead(lead) => allowed.of_lead(lead, pipelines),
                Is::Contact(_) => Vec::new(),
            })
        });
        Ok(Some(CrmFacts { lead, contact }))
    }

    /// Reads a lead or contact, unless it was just read.
    async fn record(&self, office: &Office, of: Entity, id: &str, terms: Terms) -> Result<Found, Error> {
        let records = &self.inner.crm_records;
        let key = (office.key(), of, id.to_owned());
        let kept = records.kept.get(&key);
        let now = self.now();
        if let Some(record) = kept.as_ref().filter(|record| now < record.read_at + terms.fresh) {
            return Ok(Found::Record(Arc::clone(record), false));
        }
        let older = || kept.clone().map_or(Found::Unknown, |record| Found::Record(record, true));
        if records.troubled.get(&key.0).is_some_and(|since| now < since + PAUSE) {
            return Ok(older());
        }
        let asked = async {
            match of {
                Entity::Lead => {
                    office.call(|crm, at| async move { crm.lead(&at, id).await }).await.map(Is::Lead)
                }
                Entity::Contact => {
                    office.call(|crm, at| async move { crm.contact(&at, id).await }).await.map(Is::Contact)
                }
            }
        };
        let error = match timeout_at(terms.until, asked).await {
            Ok(Ok(is)) => {
                let record = Arc::new(Record { is, read_at: self.now() });
                records.kept.insert(key, Arc::clone(&record));
                return Ok(Found::Record(record, false));
            }
            Ok(Err(error @ Error::Store(_))) => return Err(error),
            Ok(Err(Error::Refused(refusal)))
                if matches!(refusal.reason, Reason::CrmLeadNotFound | Reason::CrmContactNotFound) =>
            {
                records.kept.invalidate(&key);
                return Ok(Found::Gone);
            }
            Ok(Err(error)) => Some(error),
            Err(_) => None,
        };
        let why = error.as_ref().map_or_else(|| "it did not answer in time".to_owned(), ToString::to_string);
        tracing::info!(
            workspace.id = %key.0.0, integration.id = %key.0.1, error = why,
            "a CRM could not be read for a turn, which goes on without it"
        );
        records.troubled.insert(key.0, now);
        let shut_out = matches!(&error, Some(Error::Vendor(error))
            if matches!(error.kind, FailureKind::Unauthorized | FailureKind::Forbidden));
        if shut_out {
            // Whom the CRM lets in no more is not shown what it said once.
            records.kept.invalidate(&key);
            return Ok(Found::Unknown);
        }
        Ok(older())
    }

    /// Forgets what was kept of a lead: it was changed.
    pub(crate) fn forget_lead(&self, office: &Office, id: &str) {
        self.inner.crm_records.kept.invalidate(&(office.key(), Entity::Lead, id.to_owned()));
    }
}
