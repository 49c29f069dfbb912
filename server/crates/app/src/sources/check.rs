//! What is in the way of a source, step by step, each with its remedy in plain words.

use domain::{
    IntegrationId,
    connection::{CheckOutcome, CheckStep},
    crm::{CrmError, Pipeline},
    integration::{CREDENTIALS_STEP, Integration},
    source::{self, Explained, NewSource, Source, Wish},
    vendor::Applied,
    workspace::{Level, Service},
};

use super::{Desk, ensure};
use crate::{App, Caller, Error};

/// The steps behind being let in, which are skipped while nobody is.
const LATER: [&str; 4] = ["rights", "own_source", "pipeline", "trial"];

/// What a check found.
#[derive(Debug, Clone)]
pub struct CheckedSources {
    /// The integration, with what is known of its own source now.
    pub integration: Integration,
    /// What was tried, in order.
    pub steps: Vec<CheckStep>,
    /// The integration's sources.
    pub sources: Vec<Source>,
}

fn passed(name: &'static str, detail: impl Into<String>) -> CheckStep {
    CheckStep { name, outcome: CheckOutcome::Passed, detail: detail.into(), remedy: String::new() }
}

fn failed(name: &'static str, detail: impl Into<String>, remedy: &str) -> CheckStep {
    CheckStep { name, outcome: CheckOutcome::Failed, detail: detail.into(), remedy: remedy.to_owned() }
}

fn skipped(name: &'static str) -> CheckStep {
    let detail = "not tried, because an earlier step failed".to_owned();
    CheckStep { name, outcome: CheckOutcome::Skipped, detail, remedy: String::new() }
}

fn explained(why: Explained) -> CheckStep {
    failed(why.step, why.detail, &why.remedy)
}

impl App {
    /// Tries what sources need, step by step. `trial`: a source is made and taken away, too.
    pub async fn check_sources(
        &self,
        caller: &Caller,
        integration: Option<IntegrationId>,
        trial: bool,
    ) -> Result<CheckedSources, Error> {
        let workspace = caller.require(Service::Sources, Level::Write)?;
        let desk = self.desk(workspace, integration).await?;
        let id = desk.integration().id;
        let (steps, sources) = self.try_sources(&desk, trial).await?;
        Ok(CheckedSources { integration: self.get_integration_of(workspace, id).await?, steps, sources })
    }

    async fn try_sources(&self, desk: &Desk, trial: bool) -> Result<(Vec<CheckStep>, Vec<Source>), Error> {
        let listed = match desk.list_now().await? {
            Ok(listed) => listed,
            Err(error) => {
                let why = ensure::failure(desk, error, false).await?.explained;
                let later = LATER.into_iter().filter(|name| trial || *name != "trial").map(skipped);
                return Ok((std::iter::once(explained(why)).chain(later).collect(), Vec::new()));
            }
        };
        let sources = &listed.items;
        let mut steps = vec![passed(CREDENTIALS_STEP, "the account lets us in"), rights(desk).await?];
        let named = |source: &Source| format!("{} ({})", source.name, shown(&source.external_id));
        let names: Vec<_> = sources.iter().map(named).collect();
        steps.push(match &*names {
            [] => passed("sources", "the integration has no source yet"),
            names => passed("sources", format!("{} of the integration: {}", names.len(), names.join(", "))),
        });
        let wish = desk.sources.wanted(&desk.integration().settings, desk.integration().id);
        let own = wish.as_ref().and_then(|wish| source::find(sources, &wish.name, &wish.external_id));
        // The first source is the default, and can't be taken away: it is no trial, but the real one.
        let first = trial && sources.is_empty();
        let mut made = None;
        let tried = match (first, &wish) {
            (true, Some(_)) => Some(match self.look_after_source(desk).await? {
                Ok(ensured) => {
                    let detail =
                        format!("the source {} was made, as the settings ask", named(&ensured.source));
                    made = Some(ensured.source);
                    passed("trial", detail)
                }
                Err(failure) => explained(failure.explained),
            }),
            (true, None) => Some(passed(
                "trial",
                "not tried: a first source would be the default, which can't be taken away; EnsureSource makes one",
            )),
            (false, _) if trial => Some(try_one(desk).await?),
            _ => None,
        };
        let own = own.cloned().or(made);
        steps.push(own_step(wish.as_ref(), own.as_ref()));
        steps.push(pipeline_step(desk, wish.as_ref(), own.as_ref()).await?);
        steps.extend(tried);
        let sources = match (first, desk.list(false).await) {
            (true, Ok(listed)) => listed.items.clone(),
            _ => sources.clone(),
        };
        Ok((steps, sources))
    }
}

/// Whether who let us in may change sources.
async fn rights(desk: &Desk) -> Result<CheckStep, Error> {
    Ok(match ensure::is_admin(desk).await? {
        Ok(true) => passed("rights", "who let us in is an administrator of the account"),
        Ok(false) => failed(
            "rights",
            "who let us in is no administrator of the account, and only those change sources",
            "have an administrator of the account consent, with StartAuthorization",
        ),
        Err(error) => explained(desk.sources.explain(&CrmError::Vendor(error), None)),
    })
}

fn shown(external_id: &str) -> &str {
    if external_id.is_empty() { "no external id" } else { external_id }
}

fn own_step(wish: Option<&Wish>, own: Option<&Source>) -> CheckStep {
    const NAME: &str = "own_source";
    match (wish, own) {
        (None, _) => {
            passed(NAME, "the integration's settings ask for none (auto_source): its chats carry no source")
        }
        (Some(wish), None) => failed(
            NAME,
            format!("there is no source {}: chats go on without one", wish.name),
            "EnsureSource makes it, or says why it can't; the server tries it again by itself",
        ),
        (Some(_), Some(own)) if own.external_id.is_empty() => failed(
            NAME,
            format!("the source {} has no external id, so that no chat can name it", own.name),
            "EnsureSource gives it one",
        ),
        (Some(_), Some(own)) => {
            passed(NAME, format!("{} is there; chats carry {}", own.name, own.external_id))
        }
    }
}

/// Whether the pipelines are there that are asked for and that the source has.
async fn pipeline_step(desk: &Desk, wish: Option<&Wish>, own: Option<&Source>) -> Result<CheckStep, Error> {
    const NAME: &str = "pipeline";
    let pipelines = match desk.office.pipelines(true).await {
        Ok(pipelines) => pipelines,
        Err(Error::Vendor(error)) => {
            return Ok(explained(desk.sources.explain(&CrmError::Vendor(error), None)));
        }
        Err(error) => return Err(error),
    };
    let find = |id: &str| pipelines.items.iter().find(|pipeline| pipeline.id == id);
    let known = || {
        let named = |pipeline: &Pipeline| format!("{} ({})", pipeline.id, pipeline.name);
        pipelines.items.iter().map(named).collect::<Vec<_>>().join(", ")
    };
    if let Some(wanted) = wish.and_then(|wish| wish.pipeline_id.as_deref())
        && find(wanted).is_none()
    {
        return Ok(failed(
            NAME,
            format!("the pipeline {wanted} that is asked for is not there any more; there are {}", known()),
            "give the id of one of these in source_pipeline_id (or AMOCRM_SOURCE_PIPELINE_ID)",
        ));
    }
    let Some(own) = own.filter(|own| !own.pipeline_id.is_empty()) else {
        return Ok(passed(NAME, format!("the account has {}", known())));
    };
    Ok(match find(&own.pipeline_id) {
        None => failed(
            NAME,
            format!("the source's pipeline {} is not there any more; there are {}", own.pipeline_id, known()),
            "give the source one of these with UpdateSource",
        ),
        Some(pipeline) if pipeline.archived => failed(
            NAME,
            format!("the source's pipeline {} is archived: nobody sees its leads", pipeline.name),
            "give the source another one with UpdateSource, or take the pipeline out of the archive",
        ),
        Some(pipeline) => passed(NAME, format!("its leads go to {} ({})", pipeline.name, pipeline.id)),
    })
}

/// Makes a source, and takes it away.
async fn try_one(desk: &Desk) -> Result<CheckStep, Error> {
    const NAME: &str = "trial";
    let id = desk.office.app().id::<uuid::Uuid>().simple().to_string();
    let new = NewSource {
        name: "Switchboard trial".to_owned(),
        external_id: format!("sb_trial_{}", &id[20..]),
        // In the main pipeline: one that is not there has its own step.
        ..NewSource::default()
    };
    let asked = {
        let new = &new;
        desk.ask(|sources, at| async move { sources.create_source(&at, new).await }).await?
    };
    let (made, refused) = match asked {
        Ok(source) => (Some(source), None),
        // It may be there all the same.
        Err(error) if matches!(&error, CrmError::Vendor(error) if error.applied == Applied::Maybe) => {
            let listed = desk.list_now().await?.ok();
            let found = listed.and_then(|listed| {
                listed.items.iter().find(|source| source.external_id == new.external_id).cloned()
            });
            (found, Some(error))
        }
        Err(error) => (None, Some(error)),
    };
    let left = match &made {
        None => None,
        Some(source) => {
            let id = &source.id;
            let gone = desk.ask(|sources, at| async move { sources.delete_source(&at, id).await }).await?;
            // Others know of it by their lists at most.
            desk.office.app().forget_lists(Some((desk.office.workspace(), desk.integration().id)));
            gone.err()
        }
    };
    Ok(match (refused, left) {
        (None, None) => passed(NAME, "a source was made and taken away again"),
        (Some(error), None) => explained(ensure::failure(desk, error, false).await?.explained),
        (_, Some(error)) => {
            let why = desk.sources.explain(&error, None);
            failed(
                NAME,
                format!("a source was made and can't be taken away again: {}", why.detail),
                "delete the source \"Switchboard trial\" in the CRM, or with DeleteSource",
            )
        }
    })
}
