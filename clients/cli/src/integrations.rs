//! The commands about vendors, integrations and models.

use std::{collections::BTreeMap, io::Read as _};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use prost_types::{Struct, Value, value::Kind};
use serde_json::json;
use switchboard_sdk::{Client, pages, v1};

use crate::output::{Output, Row, moment, print, short};

/// What to do with integrations.
#[derive(Debug, Subcommand)]
pub enum Integrations {
    /// Lists integrations, oldest first.
    List,
    /// Shows an integration. Its credentials are never shown.
    Get {
        /// The integration's id.
        id: String,
    },
    /// Connects the workspace to a vendor.
    Create(Create),
    /// Tries an integration step by step.
    Check {
        /// The integration's id.
        id: String,
    },
    /// Gives the page on which a person lets the workspace into an account at the vendor.
    Authorize {
        /// The integration's id.
        id: String,
    },
    /// Encrypts an integration's credentials anew, with a fresh data key.
    Rotate {
        /// The integration's id.
        id: String,
    },
    /// Deletes an integration that no agent uses.
    Delete {
        /// The integration's id.
        id: String,
    },
}

/// What a new integration is made of.
#[derive(Debug, Args)]
pub struct Create {
    /// The vendor, of `switchboard vendors`.
    #[arg(long)]
    vendor: String,
    /// A name for people.
    #[arg(long)]
    name: String,
    /// A setting, as `name=value`.
    #[arg(long = "setting", value_parser = pair)]
    settings: Vec<(String, String)>,
    /// A credential out of a variable of the environment, as `api_key=OPENAI_API_KEY`: what stands on the command line
    /// itself, other users of the machine can read.
    #[arg(long = "credential-env", value_parser = pair)]
    from_env: Vec<(String, String)>,
    /// A credential out of a file, as `api_key=/run/secrets/key`; `-` is standard input.
    #[arg(long = "credential-file", value_parser = pair)]
    from_file: Vec<(String, String)>,
}

pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("must be name=value")?;
    Ok((name.to_owned(), value.to_owned()))
}

impl Create {
    fn credentials(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let mut credentials = BTreeMap::new();
        for (name, variable) in &self.from_env {
            let value =
                std::env::var(variable).with_context(|| format!("reading the variable {variable}"))?;
            credentials.insert(name.clone(), value);
        }
        for (name, path) in &self.from_file {
            let mut value = String::new();
            if path == "-" {
                std::io::stdin().read_to_string(&mut value)?;
            } else {
                value = std::fs::read_to_string(path).with_context(|| format!("reading {path}"))?;
            }
            credentials.insert(name.clone(), value.trim_end_matches(['\r', '\n']).to_owned());
        }
        Ok(credentials)
    }
}

/// Reads a setting's value: a number or a truth value where it looks like one, else a text.
pub(crate) fn value(text: &str) -> Value {
    let kind = match serde_json::from_str(text) {
        Ok(serde_json::Value::Bool(value)) => Kind::BoolValue(value),
        Ok(serde_json::Value::Number(value)) => Kind::NumberValue(value.as_f64().unwrap_or_default()),
        _ => Kind::StringValue(text.to_owned()),
    };
    Value { kind: Some(kind) }
}

const INTEGRATION: [&str; 5] = ["ID", "VENDOR", "NAME", "HEALTH", "LAST ERROR"];

fn row(integration: &v1::Integration) -> Row {
    let health = short(integration.health().as_str_name(), "INTEGRATION_HEALTH_");
    let credentials: serde_json::Map<_, _> = integration
        .credential_states
        .iter()
        .map(|state| (state.name.clone(), json!(moment(state.set_time.as_ref()))))
        .collect();
    Row {
        json: json!({
            "id": integration.id, "vendor": integration.vendor, "displayName": integration.display_name,
            "health": health, "lastError": integration.last_error, "remedy": integration.remedy,
            "credentialsSetTime": credentials, "checkTime": moment(integration.check_time.as_ref()),
            "createTime": moment(integration.create_time.as_ref()),
        }),
        cells: vec![
            integration.id.clone(),
            integration.vendor.clone(),
            integration.display_name.clone(),
            health,
            integration.last_error.clone(),
        ],
    }
}

pub(crate) const STEP: [&str; 4] = ["STEP", "OUTCOME", "DETAIL", "REMEDY"];

pub(crate) fn step(step: &v1::CheckStep) -> Row {
    let outcome = short(step.outcome().as_str_name(), "CHECK_OUTCOME_");
    Row {
        json: json!({
            "name": step.name, "outcome": outcome, "detail": step.detail, "remedy": step.remedy,
        }),
        cells: vec![step.name.clone(), outcome, step.detail.clone(), step.remedy.clone()],
    }
}

/// All integrations of the workspace, oldest first.
pub(crate) async fn all(client: &Client) -> anyhow::Result<Vec<v1::Integration>> {
    let client = client.clone();
    let all = pages(move |page_token| {
        let mut integrations = client.integrations();
        async move {
            let request = v1::ListIntegrationsRequest {
                page_size: 1_000,
                page_token,
                ..v1::ListIntegrationsRequest::default()
            };
            let page = integrations.list_integrations(request).await?.into_inner();
            Ok((page.integrations, page.next_page_token))
        }
    });
    Ok(all.collect().await?)
}

pub(crate) async fn run(client: &Client, output: Output, command: Integrations) -> anyhow::Result<()> {
    let show = |integration: Option<v1::Integration>| {
        print(output, &INTEGRATION, &[row(&integration.unwrap_or_default())]);
    };
    let mut integrations = client.integrations();
    match command {
        Integrations::List => {
            let rows: Vec<Row> = all(client).await?.iter().map(row).collect();
            print(output, &INTEGRATION, &rows);
        }
        Integrations::Get { id } => {
            let request = v1::GetIntegrationRequest { id };
            show(integrations.get_integration(request).await?.into_inner().integration);
        }
        Integrations::Create(create) => {
            let settings = create.settings.iter().map(|(name, text)| (name.clone(), value(text))).collect();
            let new = v1::Integration {
                credentials: create.credentials()?,
                vendor: create.vendor,
                display_name: create.name,
                settings: Some(Struct { fields: settings }),
                ..v1::Integration::default()
            };
            let request = v1::CreateIntegrationRequest { integration: Some(new), request_id: String::new() };
            show(integrations.create_integration(request).await?.into_inner().integration);
        }
        Integrations::Check { id } => {
            let request = v1::CheckIntegrationRequest { id };
            let checked = integrations.check_integration(request).await?.into_inner();
            let rows: Vec<Row> = checked.steps.iter().map(step).collect();
            print(output, &STEP, &rows);
        }
        Integrations::Authorize { id } => {
            let request = v1::StartAuthorizationRequest { id };
            let begun = integrations.start_authorization(request).await?.into_inner();
            let until = moment(begun.expire_time.as_ref());
            let row = Row {
                json: json!({ "authorizeUrl": begun.authorize_url, "expireTime": until }),
                cells: vec![until, begun.authorize_url],
            };
            print(output, &["GOOD UNTIL", "OPEN IN A BROWSER"], &[row]);
        }
        Integrations::Rotate { id } => {
            let request = v1::RotateIntegrationRequest { id };
            show(integrations.rotate_integration(request).await?.into_inner().integration);
        }
        Integrations::Delete { id } => {
            integrations.delete_integration(v1::DeleteIntegrationRequest { id }).await?;
        }
    }
    Ok(())
}

pub(crate) async fn vendors(client: &Client, output: Output) -> anyhow::Result<()> {
    let listed = client.integrations().list_vendors(v1::ListVendorsRequest {}).await?.into_inner();
    let rows: Vec<Row> = listed
        .vendors
        .iter()
        .map(|vendor| {
            let fields: Vec<_> = vendor.credential_fields.iter().map(|field| field.name.as_str()).collect();
            Row {
                json: json!({
                    "id": vendor.id, "displayName": vendor.display_name, "docsUrl": vendor.docs_url,
                    "capabilities": vendor.capabilities, "credentialFields": fields,
                }),
                cells: vec![
                    vendor.id.clone(),
                    vendor.display_name.clone(),
                    vendor.capabilities.join(","),
                    fields.join(","),
                ],
            }
        })
        .collect();
    print(output, &["ID", "NAME", "CAN", "CREDENTIALS"], &rows);
    Ok(())
}

pub(crate) async fn models(
    client: &Client,
    output: Output,
    request: v1::ListModelsRequest,
) -> anyhow::Result<()> {
    let listed = client.agents().list_models(request).await?.into_inner();
    let tokens = |count: Option<i64>| count.map(|count| count.to_string()).unwrap_or_default();
    let rows: Vec<Row> = listed
        .models
        .iter()
        .map(|model| Row {
            json: json!({
                "id": model.id, "displayName": model.display_name, "maxInputTokens": model.max_input_tokens,
                "maxOutputTokens": model.max_output_tokens,
            }),
            cells: vec![
                model.id.clone(),
                model.display_name.clone(),
                tokens(model.max_input_tokens),
                tokens(model.max_output_tokens),
            ],
        })
        .collect();
    print(output, &["ID", "NAME", "INPUT TOKENS", "OUTPUT TOKENS"], &rows);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_as_what_they_look_like() {
        assert_eq!(value("true").kind, Some(Kind::BoolValue(true)));
        assert_eq!(value("2.5").kind, Some(Kind::NumberValue(2.5)));
        assert_eq!(value("https://x").kind, Some(Kind::StringValue("https://x".to_owned())));
        assert_eq!(pair("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert!(pair("a").is_err());
    }
}
