//! The doctor: what is wrong with an integration or with the sources of its chats, and what to do about it.

use std::fmt;

use clap::Subcommand;
use switchboard_sdk::{Client, v1};

use crate::{
    crm,
    integrations::{STEP, all, step},
    output::{Output, print, short},
};

/// What to look at.
#[derive(Debug, Subcommand)]
pub enum Doctor {
    /// Lists the sources of a CRM's chats, finds the integration's own, looks at its pipeline, and makes a source and takes it
    /// away again.
    Sources {
        /// The integration. Default: the workspace's one integration with a CRM.
        #[arg(long, default_value = "")]
        integration: String,
        /// Changes nothing in the CRM: makes no source, not even for a moment.
        #[arg(long)]
        no_trial: bool,
    },
    /// Tries an integration step by step.
    Integration {
        /// The integration's id. Default: all of the workspace.
        id: Option<String>,
    },
}

/// Something is wrong: it was printed, with its remedy. The exit code says what kind of thing it is, as those of refused calls do.
#[derive(Debug)]
pub(crate) struct Unwell(u8);

impl Unwell {
    pub(crate) const fn exit_code(&self) -> u8 {
        self.0
    }
}

impl fmt::Display for Unwell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("something is wrong; see the steps that FAILED, each with its remedy")
    }
}

impl std::error::Error for Unwell {}

/// The exit code of a step that failed.
fn code(name: &str) -> u8 {
    match name {
        // Bad data.
        "data" | "pipeline" => 2,
        // Not let in, or not allowed.
        "credentials" | "rights" | "multiple_sources" => 3,
        // What is looked for is not there.
        "own_source" => 4,
        // The account's own state.
        "account" | "webhooks" => 5,
        // Not now.
        "reach" | "tokens" => 6,
        _ => 1,
    }
}

/// Fails where a step did: with the code of the first.
fn judge<'a>(steps: impl IntoIterator<Item = &'a v1::CheckStep>) -> anyhow::Result<()> {
    let failed = steps.into_iter().find(|step| step.outcome() == v1::CheckOutcome::Failed);
    failed.map_or(Ok(()), |step| Err(Unwell(code(&step.name)).into()))
}

/// Says to a person what comes, in a table's output only.
fn say(output: Output, line: &str) {
    if output == Output::Table {
        println!("{line}");
    }
}

pub(crate) async fn run(client: &Client, output: Output, command: Doctor) -> anyhow::Result<()> {
    match command {
        Doctor::Sources { integration: integration_id, no_trial } => {
            let request = v1::CheckSourcesRequest { integration_id, trial: !no_trial };
            let checked = client.sources().check_sources(request).await?.into_inner();
            if output == Output::Table {
                print(output, &crm::SOURCE, &checked.sources.iter().map(crm::source).collect::<Vec<_>>());
                println!();
            }
            print(output, &STEP, &checked.steps.iter().map(step).collect::<Vec<_>>());
            if let Some(own) = checked.integration.and_then(|integration| integration.source) {
                let state = short(own.state().as_str_name(), "SOURCE_STATE_");
                let told = if own.external_id.is_empty() { "none" } else { &own.external_id };
                say(output, &format!("\nThe integration's own source is {state}; its external id: {told}"));
            }
            judge(&checked.steps)
        }
        Doctor::Integration { id } => {
            let ids = match id {
                Some(id) => vec![id],
                None => all(client).await?.into_iter().map(|integration| integration.id).collect(),
            };
            let mut steps = Vec::new();
            for id in ids {
                let request = v1::CheckIntegrationRequest { id };
                let checked = client.integrations().check_integration(request).await?.into_inner();
                let of = checked.integration.unwrap_or_default();
                let health = short(of.health().as_str_name(), "INTEGRATION_HEALTH_");
                say(output, &format!("{} ({}, {}): {health}", of.display_name, of.vendor, of.id));
                print(output, &STEP, &checked.steps.iter().map(step).collect::<Vec<_>>());
                steps.extend(checked.steps);
            }
            judge(&steps)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_step_that_failed_decides() {
        let step = |name: &str, outcome: v1::CheckOutcome| v1::CheckStep {
            name: name.to_owned(),
            outcome: outcome.into(),
            ..v1::CheckStep::default()
        };
        let (passed, failed) = (v1::CheckOutcome::Passed, v1::CheckOutcome::Failed);
        judge(&[step("credentials", passed), step("trial", passed)]).unwrap();
        let of =
            |steps: &[v1::CheckStep]| judge(steps).unwrap_err().downcast_ref::<Unwell>().unwrap().exit_code();
        assert_eq!(of(&[step("credentials", passed), step("rights", failed), step("data", failed)]), 3);
        assert_eq!(of(&[step("data", failed)]), 2);
        assert_eq!(of(&[step("reach", failed)]), 6);
        assert_eq!(of(&[step("trial", failed)]), 1);
    }
}
