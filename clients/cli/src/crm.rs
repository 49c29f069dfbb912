//! The commands about what a CRM keeps, and about the sources of its chats.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};
use switchboard_sdk::{Client, v1};

use crate::output::{Output, Row, moment, print, short};

/// Which integration is meant, and whether its CRM is asked now.
#[derive(Debug, Args)]
pub struct At {
    /// The integration. Default: the workspace's one integration with a CRM.
    #[arg(long, default_value = "")]
    integration: String,
    /// Asks the CRM now, whatever the server keeps.
    #[arg(long)]
    refresh: bool,
}

/// What a CRM keeps apart.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub enum Entity {
    /// Deals that are to come of.
    #[default]
    Leads,
    /// People.
    Contacts,
}

impl Entity {
    fn wire(self) -> i32 {
        match self {
            Self::Leads => v1::CrmEntity::Lead.into(),
            Self::Contacts => v1::CrmEntity::Contact.into(),
        }
    }
}

/// What to see of a CRM.
#[derive(Debug, Subcommand)]
pub enum Crm {
    /// Lists the fields that the account has given its leads or contacts.
    Fields {
        /// Whose fields.
        #[arg(value_enum, default_value_t)]
        of: Entity,
        #[command(flatten)]
        at: At,
    },
    /// Lists the pipelines with their stages.
    Pipelines {
        #[command(flatten)]
        at: At,
    },
    /// Lists who works in the account.
    Users {
        #[command(flatten)]
        at: At,
    },
    /// Lists the tags of leads or contacts.
    Tags {
        /// Whose tags.
        #[arg(value_enum, default_value_t)]
        of: Entity,
        #[command(flatten)]
        at: At,
    },
    /// Shows a lead, as it is now.
    Lead {
        /// The lead's id.
        id: String,
        /// The integration. Default: the workspace's one integration with a CRM.
        #[arg(long, default_value = "")]
        integration: String,
    },
    /// Lists the sources of the account's chats.
    Sources {
        #[command(flatten)]
        at: At,
    },
}

fn yes(flag: bool) -> String {
    if flag { "yes".to_owned() } else { String::new() }
}

fn field(field: &v1::CrmField) -> Row {
    let choices: Vec<_> = field.choices.iter().map(|choice| choice.value.as_str()).collect();
    let shown: Vec<_> = field
        .choices
        .iter()
        .map(|choice| json!({ "id": choice.id, "value": choice.value, "code": choice.code }))
        .collect();
    Row {
        json: json!({
            "id": field.id, "code": field.code, "displayName": field.display_name, "kind": field.kind, "choices": shown,
            "required": field.required, "computed": field.computed,
        }),
        cells: vec![
            field.id.clone(),
            field.code.clone(),
            field.display_name.clone(),
            field.kind.clone(),
            choices.join(", "),
        ],
    }
}

/// A row for each stage, as people look them up.
fn stages(pipeline: &v1::CrmPipeline) -> impl Iterator<Item = Row> + '_ {
    pipeline.stages.iter().map(|stage| {
        let kind = short(stage.kind().as_str_name(), "CRM_STAGE_KIND_");
        let of = if pipeline.archived { " (archived)" } else { "" };
        Row {
            json: json!({
                "pipelineId": pipeline.id, "pipeline": pipeline.display_name, "main": pipeline.main,
                "archived": pipeline.archived, "stageId": stage.id, "stage": stage.display_name, "color": stage.color,
                "kind": kind,
            }),
            cells: vec![
                pipeline.id.clone(),
                format!("{}{of}", pipeline.display_name),
                yes(pipeline.main),
                stage.id.clone(),
                stage.display_name.clone(),
                kind,
            ],
        }
    })
}

fn user(user: &v1::CrmUser) -> Row {
    Row {
        json: json!({
            "id": user.id, "displayName": user.display_name, "email": user.email, "active": user.active,
            "admin": user.admin,
        }),
        cells: vec![
            user.id.clone(),
            user.display_name.clone(),
            user.email.clone(),
            yes(user.active),
            yes(user.admin),
        ],
    }
}

fn tag(tag: &v1::CrmTag) -> Row {
    Row {
        json: json!({ "id": tag.id, "displayName": tag.display_name }),
        cells: vec![tag.id.clone(), tag.display_name.clone()],
    }
}

/// What a value says, in one line.
fn value(value: &v1::CrmValue) -> String {
    match value.value.as_ref().map(plain).unwrap_or_default() {
        Value::String(text) => text,
        Value::Null => value.choice_id.clone(),
        other => other.to_string(),
    }
}

fn plain(value: &prost_types::Value) -> Value {
    use prost_types::value::Kind;
    match &value.kind {
        Some(Kind::StringValue(text)) => json!(text),
        Some(Kind::NumberValue(number)) => json!(number),
        Some(Kind::BoolValue(flag)) => json!(flag),
        Some(Kind::ListValue(list)) => list.values.iter().map(plain).collect(),
        Some(Kind::StructValue(members)) => {
            members.fields.iter().map(|(name, value)| (name.clone(), plain(value))).collect()
        }
        Some(Kind::NullValue(_)) | None => Value::Null,
    }
}

/// A row for each thing that is known of a lead.
fn lead(lead: &v1::CrmLead) -> Vec<(String, Value)> {
    let tags: Vec<_> = lead.tags.iter().map(|tag| tag.display_name.clone()).collect();
    let mut known = vec![
        ("id".to_owned(), json!(lead.id)),
        ("displayName".to_owned(), json!(lead.display_name)),
        ("price".to_owned(), json!(lead.price)),
        ("pipelineId".to_owned(), json!(lead.pipeline_id)),
        ("stageId".to_owned(), json!(lead.stage_id)),
        ("responsibleUserId".to_owned(), json!(lead.responsible_user_id)),
        ("tags".to_owned(), json!(tags)),
        ("contactIds".to_owned(), json!(lead.contact_ids)),
        ("createTime".to_owned(), json!(moment(lead.create_time.as_ref()))),
        ("updateTime".to_owned(), json!(moment(lead.update_time.as_ref()))),
        ("closeTime".to_owned(), json!(moment(lead.close_time.as_ref()))),
    ];
    for field in &lead.fields {
        let values: Vec<_> = field.values.iter().map(value).collect();
        known.push((field.display_name.clone(), json!(values)));
    }
    known
}

fn show_lead(output: Output, found: &v1::CrmLead) {
    let known = lead(found);
    match output {
        // One document: what is the account's own stands apart, whatever it is called.
        Output::Json => {
            let fields: serde_json::Map<_, _> = found
                .fields
                .iter()
                .map(|field| {
                    (field.field_id.clone(), json!(field.values.iter().map(value).collect::<Vec<_>>()))
                })
                .collect();
            let own = known.len() - found.fields.len();
            let mut document: serde_json::Map<_, _> = known.into_iter().take(own).collect();
            document.insert("fields".to_owned(), Value::Object(fields));
            print(output, &[], &[Row { json: Value::Object(document), cells: Vec::new() }]);
        }
        Output::Table => {
            let rows: Vec<Row> = known
                .into_iter()
                .map(|(name, value)| {
                    let text = match &value {
                        Value::String(text) => text.clone(),
                        Value::Array(items) => {
                            let items = items.iter().map(|item| item.as_str().unwrap_or_default());
                            items.collect::<Vec<_>>().join(", ")
                        }
                        other => other.to_string(),
                    };
                    Row { json: Value::Null, cells: vec![name, text] }
                })
                .collect();
            print(output, &["WHAT", "VALUE"], &rows);
        }
    }
}

pub(crate) const SOURCE: [&str; 6] = ["ID", "NAME", "EXTERNAL ID", "PIPELINE", "DEFAULT", "CHANNEL"];

pub(crate) fn source(source: &v1::Source) -> Row {
    Row {
        json: json!({
            "id": source.id, "displayName": source.display_name, "externalId": source.external_id,
            "pipelineId": source.pipeline_id, "default": source.default, "originCode": source.origin_code,
        }),
        cells: vec![
            source.id.clone(),
            source.display_name.clone(),
            source.external_id.clone(),
            source.pipeline_id.clone(),
            yes(source.default),
            source.origin_code.clone(),
        ],
    }
}

pub(crate) async fn run(client: &Client, output: Output, command: Crm) -> anyhow::Result<()> {
    let mut crm = client.crm();
    match command {
        Crm::Fields { of, at: At { integration: integration_id, refresh } } => {
            let request = v1::ListFieldsRequest { integration_id, entity: of.wire(), refresh };
            let listed = crm.list_fields(request).await?.into_inner().fields;
            let rows: Vec<Row> = listed.iter().map(field).collect();
            print(output, &["ID", "CODE", "NAME", "KIND", "CHOICES"], &rows);
        }
        Crm::Pipelines { at: At { integration: integration_id, refresh } } => {
            let request = v1::ListPipelinesRequest { integration_id, refresh };
            let listed = crm.list_pipelines(request).await?.into_inner().pipelines;
            let rows: Vec<Row> = listed.iter().flat_map(stages).collect();
            print(output, &["PIPELINE ID", "PIPELINE", "MAIN", "STAGE ID", "STAGE", "KIND"], &rows);
        }
        Crm::Users { at: At { integration: integration_id, refresh } } => {
            let request = v1::ListUsersRequest { integration_id, refresh };
            let listed = crm.list_users(request).await?.into_inner().users;
            let rows: Vec<Row> = listed.iter().map(user).collect();
            print(output, &["ID", "NAME", "E-MAIL", "ACTIVE", "ADMIN"], &rows);
        }
        Crm::Tags { of, at: At { integration: integration_id, refresh } } => {
            let request = v1::ListTagsRequest { integration_id, entity: of.wire(), refresh };
            let listed = crm.list_tags(request).await?.into_inner().tags;
            print(output, &["ID", "NAME"], &listed.iter().map(tag).collect::<Vec<_>>());
        }
        Crm::Lead { id: lead_id, integration: integration_id } => {
            let request = v1::GetLeadRequest { integration_id, lead_id };
            show_lead(output, &crm.get_lead(request).await?.into_inner().lead.unwrap_or_default());
        }
        Crm::Sources { at: At { integration: integration_id, refresh } } => {
            let request = v1::ListSourcesRequest { integration_id, refresh };
            let listed = client.sources().list_sources(request).await?.into_inner().sources;
            print(output, &SOURCE, &listed.iter().map(source).collect::<Vec<_>>());
        }
    }
    Ok(())
}
