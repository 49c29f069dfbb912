//! `CrmService`.

use app::shelf::Listed;
use domain::{
    Error, FieldViolation,
    crm::{
        Contact, Entity, Field, FieldChange, FieldRef, FieldValue, Lead, LeadPatch, NewNote, NewTask,
        OneValue, Pipeline, StageKind, Tag, User,
    },
};
use switchboard_sdk::v1::{self, crm_service_server::CrmService};
use tonic::{Request, Response, Status};

use super::{Services, caller, convert, refuse};
use crate::error::to_status;

/// Writes fields, for this door and the HTTP shim.
pub(crate) fn fields_to_wire(listed: &Listed<Field>) -> v1::ListFieldsResponse {
    v1::ListFieldsResponse {
        fetch_time: Some(convert::moment(listed.fetched_at)),
        fields: listed.items.iter().map(field).collect(),
    }
}

fn field(field: &Field) -> v1::CrmField {
    let choices = field.choices.iter().map(|choice| v1::CrmChoice {
        id: choice.id.clone(),
        value: choice.value.clone(),
        code: choice.code.clone(),
    });
    v1::CrmField {
        id: field.id.clone(),
        code: field.code.clone(),
        display_name: field.name.clone(),
        kind: field.kind.clone(),
        choices: choices.collect(),
        required: field.required,
        computed: field.computed,
    }
}

fn pipeline(pipeline: &Pipeline) -> v1::CrmPipeline {
    let stages = pipeline.stages.iter().map(|stage| v1::CrmStage {
        id: stage.id.clone(),
        display_name: stage.name.clone(),
        color: stage.color.clone(),
        kind: match stage.kind {
            StageKind::Ordinary => v1::CrmStageKind::Ordinary,
            StageKind::Incoming => v1::CrmStageKind::Incoming,
            StageKind::Won => v1::CrmStageKind::Won,
            StageKind::Lost => v1::CrmStageKind::Lost,
        }
        .into(),
    });
    v1::CrmPipeline {
        id: pipeline.id.clone(),
        display_name: pipeline.name.clone(),
        main: pipeline.main,
        archived: pipeline.archived,
        stages: stages.collect(),
    }
}

fn user(user: &User) -> v1::CrmUser {
    v1::CrmUser {
        id: user.id.clone(),
        display_name: user.name.clone(),
        email: user.email.clone(),
        active: user.active,
        admin: user.admin,
    }
}

fn tag(tag: &Tag) -> v1::CrmTag {
    v1::CrmTag { id: tag.id.clone(), display_name: tag.name.clone() }
}

fn value(value: FieldValue) -> v1::CrmFieldValue {
    let values = value.values.into_iter().map(|one| v1::CrmValue {
        value: Some(convert::to_value(&one.value)),
        choice_id: one.choice_id,
        choice_code: one.choice_code,
    });
    v1::CrmFieldValue {
        field_id: value.field_id,
        code: value.code,
        display_name: value.name,
        kind: value.kind,
        values: values.collect(),
    }
}

fn lead(lead: Lead) -> v1::CrmLead {
    v1::CrmLead {
        id: lead.id,
        display_name: lead.name,
        price: lead.price,
        pipeline_id: lead.pipeline_id,
        stage_id: lead.stage_id,
        responsible_user_id: lead.responsible_user_id,
        tags: lead.tags.iter().map(tag).collect(),
        fields: lead.fields.into_iter().map(value).collect(),
        contact_ids: lead.contact_ids,
        create_time: Some(convert::moment(lead.created_at)),
        update_time: Some(convert::moment(lead.updated_at)),
        close_time: lead.closed_at.map(convert::moment),
    }
}

fn contact(contact: Contact) -> v1::CrmContact {
    v1::CrmContact {
        id: contact.id,
        display_name: contact.name,
        responsible_user_id: contact.responsible_user_id,
        tags: contact.tags.iter().map(tag).collect(),
        fields: contact.fields.into_iter().map(value).collect(),
        lead_ids: contact.lead_ids,
        create_time: Some(convert::moment(contact.created_at)),
        update_time: Some(convert::moment(contact.updated_at)),
    }
}

fn entity(wire: i32) -> Result<Entity, Error> {
    Ok(match convert::required("entity", convert::choice("entity", wire)?)? {
        v1::CrmEntity::Contact => Entity::Contact,
        v1::CrmEntity::Lead | v1::CrmEntity::Unspecified => Entity::Lead,
    })
}

fn given(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

fn patch(at: &str, wire: Option<v1::CrmLeadPatch>) -> Result<LeadPatch, Error> {
    let wire = convert::required(at, wire)?;
    let mut fields = Vec::with_capacity(wire.fields.len());
    for (number, change) in wire.fields.into_iter().enumerate() {
        let at = format!("{at}.fields[{number}]");
        let mut values = Vec::with_capacity(change.values.len());
        for (number, one) in change.values.into_iter().enumerate() {
            values.push(OneValue {
                value: match one.value {
                    Some(value) => convert::from_any(&format!("{at}.values[{number}].value"), value)?,
                    None => serde_json::Value::Null,
                },
                choice_id: one.choice_id,
                choice_code: one.choice_code,
            });
        }
        let field = match given(change.field_id) {
            Some(id) => FieldRef::Id(id),
            None => FieldRef::Code(change.code),
        };
        fields.push(FieldChange { field, values });
    }
    Ok(LeadPatch {
        name: wire.display_name,
        price: wire.price,
        pipeline_id: given(wire.pipeline_id),
        stage_id: given(wire.stage_id),
        responsible_user_id: given(wire.responsible_user_id),
        tags_added: wire.add_tags,
        tags_removed: wire.remove_tags,
        fields,
    })
}

/// What came of one change, with its bad fields in one sentence.
fn result(lead_id: String, answer: Result<(), Error>) -> v1::CrmLeadResult {
    let Err(error) = answer else { return v1::CrmLeadResult { lead_id, ..v1::CrmLeadResult::default() } };
    let told = |bad: &FieldViolation| format!("{}: {}", bad.field, bad.detail);
    let detail = if error.fields.is_empty() {
        error.detail
    } else {
        error.fields.iter().map(told).collect::<Vec<_>>().join("; ")
    };
    v1::CrmLeadResult { lead_id, reason: error.reason.as_str().to_owned(), detail }
}

/// Reads the integration's id, which may be empty.
fn integration(id: &str) -> Result<Option<domain::IntegrationId>, Status> {
    convert::optional_id("integration_id", id).map_err(|error| refuse(&error))
}

#[tonic::async_trait]
impl CrmService for Services {
    async fn list_fields(
        &self,
        request: Request<v1::ListFieldsRequest>,
    ) -> Result<Response<v1::ListFieldsResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let (id, of) =
            (integration(&request.integration_id)?, entity(request.entity).map_err(|error| refuse(&error))?);
        let listed = self.app.list_crm_fields(&caller, id, of, request.refresh).await.map_err(to_status)?;
        Ok(Response::new(fields_to_wire(&listed)))
    }

    async fn list_pipelines(
        &self,
        request: Request<v1::ListPipelinesRequest>,
    ) -> Result<Response<v1::ListPipelinesResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let id = integration(&request.integration_id)?;
        let listed = self.app.list_crm_pipelines(&caller, id, request.refresh).await.map_err(to_status)?;
        Ok(Response::new(v1::ListPipelinesResponse {
            fetch_time: Some(convert::moment(listed.fetched_at)),
            pipelines: listed.items.iter().map(pipeline).collect(),
        }))
    }

    async fn list_users(
        &self,
        request: Request<v1::ListUsersRequest>,
    ) -> Result<Response<v1::ListUsersResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let id = integration(&request.integration_id)?;
        let listed = self.app.list_crm_users(&caller, id, request.refresh).await.map_err(to_status)?;
        Ok(Response::new(v1::ListUsersResponse {
            fetch_time: Some(convert::moment(listed.fetched_at)),
            users: listed.items.iter().map(user).collect(),
        }))
    }

    async fn list_tags(
        &self,
        request: Request<v1::ListTagsRequest>,
    ) -> Result<Response<v1::ListTagsResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let (id, of) =
            (integration(&request.integration_id)?, entity(request.entity).map_err(|error| refuse(&error))?);
        let listed = self.app.list_crm_tags(&caller, id, of, request.refresh).await.map_err(to_status)?;
        Ok(Response::new(v1::ListTagsResponse {
            fetch_time: Some(convert::moment(listed.fetched_at)),
            tags: listed.items.iter().map(tag).collect(),
        }))
    }

    async fn get_lead(
        &self,
        request: Request<v1::GetLeadRequest>,
    ) -> Result<Response<v1::GetLeadResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let id = integration(&request.integration_id)?;
        let found = self.app.get_crm_lead(&caller, id, &request.lead_id).await.map_err(to_status)?;
        Ok(Response::new(v1::GetLeadResponse { lead: Some(lead(found)) }))
    }

    async fn get_contact(
        &self,
        request: Request<v1::GetContactRequest>,
    ) -> Result<Response<v1::GetContactResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let id = integration(&request.integration_id)?;
        let found = self.app.get_crm_contact(&caller, id, &request.contact_id).await.map_err(to_status)?;
        Ok(Response::new(v1::GetContactResponse { contact: Some(contact(found)) }))
    }

    async fn update_lead(
        &self,
        request: Request<v1::UpdateLeadRequest>,
    ) -> Result<Response<v1::UpdateLeadResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let id = integration(&request.integration_id)?;
        let patch = patch("patch", request.patch).map_err(|error| refuse(&error))?;
        let changed =
            self.app.update_crm_lead(&caller, id, request.lead_id, patch).await.map_err(to_status)?;
        Ok(Response::new(v1::UpdateLeadResponse { lead: Some(lead(changed)) }))
    }

    async fn batch_update_leads(
        &self,
        request: Request<v1::BatchUpdateLeadsRequest>,
    ) -> Result<Response<v1::BatchUpdateLeadsResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let id = integration(&request.integration_id)?;
        let changes = request.changes.into_iter().enumerate();
        let changes = changes.map(|(number, change)| {
            Ok((change.lead_id, patch(&format!("changes[{number}].patch"), change.patch)?))
        });
        let changes: Vec<_> = changes.collect::<Result<_, Error>>().map_err(|error| refuse(&error))?;
        let ids: Vec<_> = changes.iter().map(|(id, _)| id.clone()).collect();
        let answers = self.app.update_crm_leads(&caller, id, changes).await.map_err(to_status)?;
        let results = ids.into_iter().zip(answers).map(|(id, answer)| result(id, answer));
        Ok(Response::new(v1::BatchUpdateLeadsResponse { results: results.collect() }))
    }

    async fn create_task(
        &self,
        request: Request<v1::CreateTaskRequest>,
    ) -> Result<Response<v1::CreateTaskResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let id = integration(&request.integration_id)?;
        let read = || {
            Ok(NewTask {
                entity: entity(request.entity)?,
                entity_id: request.entity_id,
                text: request.text,
                due_at: convert::required(
                    "due_time",
                    convert::optional_moment("due_time", request.due_time)?,
                )?,
                kind_id: given(request.kind_id),
                responsible_user_id: given(request.responsible_user_id),
                unless_since: None,
            })
        };
        let task = read().map_err(|error: Error| refuse(&error))?;
        let task_id = self.app.create_crm_task(&caller, id, task).await.map_err(to_status)?;
        Ok(Response::new(v1::CreateTaskResponse { task_id }))
    }

    async fn add_note(
        &self,
        request: Request<v1::AddNoteRequest>,
    ) -> Result<Response<v1::AddNoteResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let id = integration(&request.integration_id)?;
        let entity = entity(request.entity).map_err(|error| refuse(&error))?;
        let note = NewNote { entity, entity_id: request.entity_id, text: request.text, unless_since: None };
        let note_id = self.app.add_crm_note(&caller, id, note).await.map_err(to_status)?;
        Ok(Response::new(v1::AddNoteResponse { note_id }))
    }
}
