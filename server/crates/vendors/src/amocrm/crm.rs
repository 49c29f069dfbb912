//! Leads, contacts and what is known about them.
//! <https://www.amocrm.ru/developers/content/crm_platform/leads-api> (read 2026-11-20)

mod change;
mod wire;

use async_trait::async_trait;
use domain::{
    connection::Connection,
    crm::{Contact, Crm, CrmError, Entity, Field, Lead, LeadPatch, NewNote, NewTask, Pipeline, Tag, User},
    vendor::{FailureKind, VendorError},
};
use http::Method;
use serde_json::{Value, json};

use self::change::{About, lead_body};
use super::{
    AmoCrm, bad_answer,
    rest::{Refusal, Rest},
};

/// How many items the vendor advises to send together.
const BATCH: usize = 50;

/// What the vendor calls leads and contacts.
const fn plural(entity: Entity) -> &'static str {
    match entity {
        Entity::Lead => "leads",
        Entity::Contact => "contacts",
    }
}

/// An id as it may stand in a path. `None`: nothing has this id.
pub(super) fn number(id: &str) -> Option<u64> {
    id.parse().ok().filter(|id| *id > 0)
}

#[async_trait]
impl Crm for AmoCrm {
    async fn list_fields(&self, connection: &Connection, of: Entity) -> Result<Vec<Field>, CrmError> {
        let rest = self.rest(connection, "list_fields")?;
        let path = format!("{}/custom_fields", plural(of));
        let fields = rest.list::<wire::Field>(&path, &[], "custom_fields").await.map_err(refused)?;
        Ok(sorted(fields.into_iter().map(wire::Field::read).collect(), |field| field.sort))
    }

    async fn list_pipelines(&self, connection: &Connection) -> Result<Vec<Pipeline>, CrmError> {
        let rest = self.rest(connection, "list_pipelines")?;
        let pipelines = rest.list::<wire::Pipeline>("leads/pipelines", &[], "pipelines").await;
        let pipelines = pipelines.map_err(refused)?.into_iter().map(wire::Pipeline::read);
        Ok(sorted(pipelines.collect(), |pipeline| pipeline.sort))
    }

    async fn list_users(&self, connection: &Connection) -> Result<Vec<User>, CrmError> {
        let users = self.rest(connection, "list_users")?.list::<wire::User>("users", &[], "users").await;
        Ok(users.map_err(refused)?.into_iter().map(wire::User::read).collect())
    }

    async fn list_tags(&self, connection: &Connection, of: Entity) -> Result<Vec<Tag>, CrmError> {
        let rest = self.rest(connection, "list_tags")?;
        let tags = rest.list::<wire::Tag>(&format!("{}/tags", plural(of)), &[], "tags").await;
        Ok(tags.map_err(refused)?.into_iter().map(wire::Tag::read).collect())
    }

    async fn lead(&self, connection: &Connection, id: &str) -> Result<Lead, CrmError> {
        let rest = self.rest(connection, "get_lead")?;
        let gone = || CrmError::Gone(Entity::Lead, id.to_owned());
        let number = number(id).ok_or_else(gone)?;
        let found = rest.find::<wire::Lead>(&format!("leads/{number}"), &[("with", "contacts")]).await;
        // Deleted or merged into another: 204, or it says so itself.
        found.map_err(refused)?.filter(|lead| !lead.is_deleted).map(wire::Lead::read).ok_or_else(gone)
    }

    async fn contact(&self, connection: &Connection, id: &str) -> Result<Contact, CrmError> {
        let rest = self.rest(connection, "get_contact")?;
        let gone = || CrmError::Gone(Entity::Contact, id.to_owned());
        let number = number(id).ok_or_else(gone)?;
        let found = rest.find::<wire::Contact>(&format!("contacts/{number}"), &[("with", "leads")]).await;
        found
            .map_err(refused)?
            .filter(|contact| !contact.is_deleted)
            .map(wire::Contact::read)
            .ok_or_else(gone)
    }

    async fn update_leads(
        &self,
        connection: &Connection,
        changes: &[(String, LeadPatch)],
    ) -> Result<Vec<Result<(), CrmError>>, CrmError> {
        let rest = self.rest(connection, "update_lead")?;
        let mut answers: Vec<Option<Result<(), CrmError>>> = vec![None; changes.len()];
        let mut bodies = Vec::with_capacity(changes.len());
        for (number, (id, patch)) in changes.iter().enumerate() {
            match self.body_of(connection, id, patch).await {
                Ok(body) => bodies.push((number, body)),
                // Of the connection, not of this lead.
                Err(error @ CrmError::Vendor(_)) => return Err(error),
                Err(error) => answers[number] = Some(Err(error)),
            }
        }
        let mut size = BATCH;
        while !bodies.is_empty() {
            let batch = &bodies[..size.min(bodies.len())];
            match patch_leads(&rest, changes, batch).await {
                Ok(settled) => {
                    for (number, answer) in settled {
                        answers[number] = Some(answer);
                    }
                    bodies.retain(|(number, _)| answers[*number].is_none());
                }
                // The vendor's own advice for batches that it can't finish in time.
                Err(CrmError::Vendor(error)) if error.http_status == Some(504) && batch.len() > 1 => {
                    size = batch.len() / 2;
                }
                Err(error) => return Err(error),
            }
        }
        let missing = || Err(CrmError::Vendor(bad_answer("update_lead")));
        Ok(answers.into_iter().map(|answer| answer.unwrap_or_else(missing)).collect())
    }

    async fn create_task(&self, connection: &Connection, task: &NewTask) -> Result<String, CrmError> {
        let rest = self.rest(connection, "create_task")?;
        let gone = || CrmError::Gone(task.entity, task.entity_id.clone());
        let entity = number(&task.entity_id).ok_or_else(gone)?;
        let mut body = json!({
            "text": task.text,
            "complete_till": task.due_at.unix_timestamp(),
            "entity_id": entity,
            "entity_type": plural(task.entity),
            "request_id": "0",
        });
        for (name, ours, id) in [
            ("task_type_id", "kind_id", &task.kind_id),
            ("responsible_user_id", "responsible_user_id", &task.responsible_user_id),
        ] {
            if let Some(id) = id {
                body[name] = json!(change::number(ours, id)?);
            }
        }
        if let Some(since) = task.unless_since {
            let query = [
                ("filter[entity_type]", plural(task.entity)),
                ("filter[entity_id][]", &task.entity_id),
                ("order[id]", "desc"),
            ];
            let listed = rest.get::<wire::Made>("tasks", &query).await.map_err(refused)?.unwrap_or_default();
            let same = |one: &wire::Written| one.is_task(&task.entity_id, &task.text, task.due_at);
            if let Some(id) = wire::Written::find(listed, since, same) {
                return Ok(id);
            }
        }
        let made = rest.send::<wire::Made>(Method::POST, "tasks", &json!([body])).await;
        let made = made.map_err(|refusal| About(task.entity, &task.entity_id).explain(refusal))?;
        made.and_then(wire::Made::first).ok_or_else(|| bad_answer("create_task").into())
    }

    async fn add_note(&self, connection: &Connection, note: &NewNote) -> Result<String, CrmError> {
        let rest = self.rest(connection, "add_note")?;
        let gone = || CrmError::Gone(note.entity, note.entity_id.clone());
        let path = format!("{}/{}/notes", plural(note.entity), number(&note.entity_id).ok_or_else(gone)?);
        let body = json!([{ "note_type": "common", "params": { "text": note.text }, "request_id": "0" }]);
        if let Some(since) = note.unless_since {
            let listed = rest.get::<wire::Made>(&path, &[("order[id]", "desc")]).await;
            let listed = listed.map_err(|refusal| About(note.entity, &note.entity_id).explain(refusal))?;
            let same = |one: &wire::Written| one.is_note(&note.text);
            if let Some(id) = wire::Written::find(listed.unwrap_or_default(), since, same) {
                return Ok(id);
            }
        }
        let made = rest.send::<wire::Made>(Method::POST, &path, &body).await;
        let made = made.map_err(|refusal| About(note.entity, &note.entity_id).explain(refusal))?;
        made.and_then(wire::Made::first).ok_or_else(|| bad_answer("add_note").into())
    }
}

impl AmoCrm {
    pub(super) fn rest<'a>(
        &'a self,
        connection: &'a Connection,
        operation: &'static str,
    ) -> Result<Rest<'a>, VendorError> {
        Rest::new(&self.http, connection, operation)
    }

    /// Writes what is to change of a lead. Tags are taken away by id, which the lead itself tells.
    async fn body_of(&self, connection: &Connection, id: &str, patch: &LeadPatch) -> Result<Value, CrmError> {
        let lead = number(id).ok_or_else(|| CrmError::Gone(Entity::Lead, id.to_owned()))?;
        let held =
            if patch.tags_removed.is_empty() { Vec::new() } else { self.lead(connection, id).await?.tags };
        lead_body(lead, patch, &held)
    }
}

/// Changes some leads, and says of those that are settled what came of it: all of them, or where the vendor found something
/// wrong with some, these. Then none was changed.
async fn patch_leads(
    rest: &Rest<'_>,
    changes: &[(String, LeadPatch)],
    batch: &[(usize, Value)],
) -> Result<Vec<(usize, Result<(), CrmError>)>, CrmError> {
    let (path, body) = match batch {
        [(_, body)] => (format!("leads/{}", body["id"]), body.clone()),
        batch => {
            let bodies = batch.iter().zip(0..).map(|((_, body), place)| {
                let mut body = body.clone();
                body["request_id"] = json!(place.to_string());
                body
            });
            ("leads".to_owned(), bodies.collect())
        }
    };
    let about = |number: usize| About(Entity::Lead, &changes[number].0);
    match rest.send::<wire::Changed>(Method::PATCH, &path, &body).await {
        Ok(changed) => {
            let changed = changed.unwrap_or_default();
            let settled = batch.iter().map(|(number, body)| {
                let known = changed.tells_of(&body["id"].to_string());
                (*number, if known { Ok(()) } else { Err(about(*number).gone()) })
            });
            Ok(settled.collect())
        }
        Err(refusal) if batch.len() > 1 && !refusal.rejections.is_empty() => {
            let Refusal { error, rejections } = refusal;
            let settled: Vec<_> = batch
                .iter()
                .zip(0..)
                .filter_map(|((number, _), place)| {
                    let place = place.to_string();
                    let own: Vec<_> =
                        rejections.iter().filter(|each| each.request_id == place).cloned().collect();
                    let refusal = Refusal { error: error.clone(), rejections: own };
                    (!refusal.rejections.is_empty()).then(|| (*number, Err(about(*number).explain(refusal))))
                })
                .collect();
            if settled.is_empty() { Err(CrmError::Vendor(*error)) } else { Ok(settled) }
        }
        Err(refusal) => {
            let [(number, _)] = batch else { return Err(refused(refusal)) };
            match about(*number).explain(refusal) {
                error @ CrmError::Vendor(_) => Err(error),
                error => Ok(vec![(*number, Err(error))]),
            }
        }
    }
}

/// A refusal of a call that changes nothing.
fn refused(refusal: Refusal) -> CrmError {
    CrmError::Vendor(*refusal.error)
}

fn sorted<T>(mut items: Vec<T>, place: impl Fn(&T) -> i64) -> Vec<T> {
    items.sort_by_key(place);
    items
}

/// Whether a refusal says that something is not there.
fn is_not_found(error: &VendorError) -> bool {
    error.kind == FailureKind::NotFound
}
