//! Having a source there: found by its name, else made, however often and by however many it is asked.

use std::time::Instant;

use domain::{
    crm::CrmError,
    source::{self, Explained, NewSource, Source, SourcePatch, Wish},
    vendor::{FailureKind, VendorError},
};

use super::Desk;
use crate::{Error, crm::told};

/// A source that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ensured {
    /// The source.
    pub source: Source,
    /// Whether it was made now.
    pub created: bool,
    /// What is not as it was asked for, and the remedy.
    pub warning: Option<(String, String)>,
}

/// A source that can't be had.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Why, in the CRM's words.
    error: CrmError,
    /// The same in plain words.
    pub(super) explained: Explained,
    /// Whether the list was seen, and the source was not in it.
    pub(super) missing: bool,
}

impl Failure {
    /// What a caller is told.
    pub(super) fn told(self) -> Error {
        match self.error {
            CrmError::Vendor(mut error) => {
                error.detail.push_str("; ");
                error.detail.push_str(&self.explained.remedy);
                Error::Vendor(error)
            }
            error => told(error, ""),
        }
    }

    /// The vendor's refusal, if it is one.
    pub(super) fn vendor(&self) -> Option<&VendorError> {
        match &self.error {
            CrmError::Vendor(error) => Some(error),
            _ => None,
        }
    }

    fn kind(&self) -> &'static str {
        self.vendor().map_or("INVALID", |error| error.kind.as_str())
    }
}

/// Makes a source, and counts it. It is in everybody's lists from then on.
pub(super) async fn create(desk: &Desk, new: &NewSource) -> Result<Result<Source, CrmError>, Error> {
    let begun = Instant::now();
    let made = desk.ask(|sources, at| async move { sources.create_source(&at, new).await }).await?;
    if made.is_ok() {
        metrics::counter!("switchboard_sources_created_total").increment(1);
        metrics::histogram!("switchboard_source_create_seconds").record(begun.elapsed().as_secs_f64());
        desk.forget().await;
    }
    Ok(made)
}

/// Finds a source, else makes it.
pub(super) async fn ensure(desk: &Desk, wish: &Wish) -> Result<Result<Ensured, Failure>, Error> {
    let ensured = match find_or_make(desk, wish).await? {
        Ok(ensured) => return Ok(Ok(ensured)),
        Err(failed) => failed,
    };
    let (error, missing) = ensured;
    let failure = failure(desk, error, missing).await?;
    metrics::counter!("switchboard_source_errors_total", "kind" => failure.kind()).increment(1);
    Ok(Err(failure))
}

/// Says why a source can't be had. Who may not, is asked whether they are an administrator: what it means follows from that.
pub(super) async fn failure(desk: &Desk, error: CrmError, missing: bool) -> Result<Failure, Error> {
    let forbidden = matches!(&error, CrmError::Vendor(error) if error.kind == FailureKind::Forbidden);
    let admin = if forbidden { is_admin(desk).await?.ok() } else { None };
    let explained = match &error {
        // Ours, not the CRM's.
        CrmError::Invalid(fields) if fields.iter().any(|bad| bad.field == NOT_TO_BE_MADE) => Explained {
            step: "own_source",
            detail: fields.iter().map(|bad| bad.detail.clone()).collect::<Vec<_>>().join("; "),
            remedy: "make it in the CRM or with CreateSource, or let the server make it (AMOCRM_AUTO_CREATE_SOURCES)".to_owned(),
        },
        error => desk.sources.explain(error, admin),
    };
    Ok(Failure { error, explained, missing })
}

/// Whether who let us in is an administrator, as only they see who works in the account. The inner error says that it can't be
/// known.
pub(super) async fn is_admin(desk: &Desk) -> Result<Result<bool, VendorError>, Error> {
    match desk.office.users(true).await {
        Ok(_) => Ok(Ok(true)),
        Err(Error::Vendor(error)) if error.kind == FailureKind::Forbidden => Ok(Ok(false)),
        Err(Error::Vendor(error)) => Ok(Err(error)),
        Err(error) => Err(error),
    }
}

/// The field of a refusal of our own: the source is not there, and we are told to make none.
const NOT_TO_BE_MADE: &str = "display_name";

/// What went wrong, and whether the list was seen without the source.
type Failed = (CrmError, bool);

async fn find_or_make(desk: &Desk, wish: &Wish) -> Result<Result<Ensured, Failed>, Error> {
    let listed = match desk.list_now().await? {
        Ok(listed) => listed,
        Err(error) => return Ok(Err((error, false))),
    };
    if let Some(found) = source::find(&listed.items, &wish.name, &wish.external_id) {
        return found_one(desk, found, wish).await;
    }
    if !wish.create {
        let detail = format!("there is no source {} of this integration, and none is to be made", wish.name);
        let bad = domain::FieldViolation::new(NOT_TO_BE_MADE, detail);
        return Ok(Err((CrmError::Invalid(vec![bad]), true)));
    }
    let others = source::pipeline_of_others(&listed.items).map(str::to_owned);
    // The one that is asked for, else that of another source, else the CRM's own choice.
    let mut pipelines: Vec<_> = wish.pipeline_id.clone().into_iter().chain(others).map(Some).collect();
    pipelines.dedup();
    pipelines.push(None);
    let mut warning = None;
    let mut refused = None;
    for pipeline in pipelines {
        let new = NewSource {
            name: wish.name.clone(),
            external_id: wish.external_id.clone(),
            pipeline_id: pipeline.clone(),
            // The first one is, whatever is said of it.
            default: listed.items.is_empty(),
            origin_code: None,
        };
        let error = match create(desk, &new).await? {
            Ok(source) => {
                tracing::info!(
                    workspace.id = %desk.office.workspace(), integration.id = %desk.integration().id, source.id = source.id,
                    "a source was made in the CRM"
                );
                return Ok(Ok(Ensured { source, created: true, warning }));
            }
            Err(error) => error,
        };
        let about = |field: &str| match &error {
            CrmError::Invalid(fields) => fields.iter().any(|bad| bad.field == field),
            _ => false,
        };
        // Somebody made it this moment; or an answer of ours was lost.
        if about("external_id")
            && let Ok(listed) = desk.list_now().await?
            && let Some(found) = source::find(&listed.items, &wish.name, &wish.external_id)
        {
            return found_one(desk, found, wish).await;
        }
        let of_pipeline = about("pipeline_id") && pipeline.is_some();
        if of_pipeline && pipeline == wish.pipeline_id {
            let id = pipeline.unwrap_or_default();
            warning = Some((
                format!("the pipeline {id} that is asked for is not there any more; the source was made with another one"),
                "give the id of a pipeline that is there, of ListPipelines with refresh, in source_pipeline_id, and give the \
                 source the same with UpdateSource"
                    .to_owned(),
            ));
        }
        refused = Some(error);
        if !of_pipeline {
            break;
        }
    }
    let error = refused.expect("at least one pipeline, or none, was tried");
    Ok(Err((error, true)))
}

/// A source that is there. One that the CRM made by itself gets our id, or no chat could name it.
async fn found_one(desk: &Desk, found: &Source, wish: &Wish) -> Result<Result<Ensured, Failed>, Error> {
    if !found.external_id.is_empty() {
        return Ok(Ok(Ensured { source: found.clone(), created: false, warning: None }));
    }
    let patch = SourcePatch { external_id: Some(wish.external_id.clone()), ..SourcePatch::default() };
    let (id, patch) = (&found.id, &patch);
    let given = desk.ask(|sources, at| async move { sources.update_source(&at, id, patch).await }).await?;
    Ok(match given {
        Ok(Some(source)) => Ok(Ensured { source, created: false, warning: None }),
        // Taken away this moment: the next try makes it.
        Ok(None) => {
            let detail = format!("the source {} was taken away while it was looked at", found.name);
            Err((CrmError::Invalid(vec![domain::FieldViolation::new("source", detail)]), true))
        }
        Err(error) => Err((error, true)),
    })
}
