//! The source that an integration asks for: looked for when somebody lets us in and when a process starts, carried by its chats,
//! and done without while it can't be had.

use std::time::Duration;

use domain::{
    IntegrationId, Timestamp, WorkspaceId,
    contact::CrmReferences,
    integration::{Health, Integration},
    source::{SourceState, Wish},
    vendor::Retry,
};
use serde_json::{Map, Value, json};
use store::{
    events::NewEvent,
    sources::{Found, Kept},
};

use super::{
    Desk,
    ensure::{self, Ensured, Failure},
};
use crate::{App, Error, worker::jittered};

/// How often a source that is there is looked at again: somebody may take it away in the CRM.
const EVERY: Duration = Duration::from_hours(6);
/// The pauses before it is tried again, by how often it failed in a row; the last one stays.
const PAUSES: [Duration; 4] =
    [Duration::from_mins(1), Duration::from_mins(5), Duration::from_mins(15), Duration::from_hours(1)];

/// The pause after so many failures in a row.
fn pause(failures: u32) -> Duration {
    let place = usize::try_from(failures.saturating_sub(1)).unwrap_or(usize::MAX);
    PAUSES[place.min(PAUSES.len() - 1)]
}

impl App {
    /// What an integration asks for. `None`: nothing.
    pub(crate) fn wish_of(&self, integration: &Integration) -> Option<Wish> {
        let sources = self.inner.vendors.get(&integration.vendor)?.sources.as_ref()?;
        sources.wanted(&integration.settings, integration.id)
    }

    /// Has the source of an integration looked for soon, if it asks for one, or did.
    pub(crate) async fn hurry_source(
        &self,
        tx: &mut store::Tx,
        workspace: WorkspaceId,
        integration: &Integration,
    ) -> Result<(), Error> {
        if integration.source.is_some() || self.wish_of(integration).is_some() {
            store::sources::hurry(tx, workspace, integration.id, self.now()).await?;
        }
        Ok(())
    }

    /// Looks for the source of an integration whose turn it is.
    pub(crate) async fn keep_source(&self, workspace: WorkspaceId, id: IntegrationId) -> Result<(), Error> {
        let Some(held) = self.held(workspace, id).await? else {
            return self.ask_for_no_source(workspace, id).await;
        };
        let integration = &held.sealed.integration;
        let Some(wish) = self.wish_of(integration) else {
            return self.ask_for_no_source(workspace, id).await;
        };
        let by_consent =
            self.inner.vendors.get(&integration.vendor).is_some_and(|vendor| vendor.oauth.is_some());
        if by_consent && (integration.grant.is_none() || integration.health == Health::NeedsAuthorization) {
            return self.wait_for_consent(workspace, id, &wish).await;
        }
        let desk = self.desk(workspace, Some(id)).await?;
        self.look_after_source(&desk).await.map(drop)
    }

    async fn ask_for_no_source(&self, workspace: WorkspaceId, id: IntegrationId) -> Result<(), Error> {
        let mut tx = self.store().workspace(workspace).await?;
        if store::sources::delete(&mut tx, workspace, id).await? {
            store::notify_configuration(&mut tx, workspace).await?;
        }
        store::commit(tx).await?;
        self.forget();
        Ok(())
    }

    /// Nobody has let us in: whoever does has it looked for.
    async fn wait_for_consent(
        &self,
        workspace: WorkspaceId,
        id: IntegrationId,
        wish: &Wish,
    ) -> Result<(), Error> {
        let mut tx = self.store().workspace(workspace).await?;
        if let Some(kept) = store::sources::find(&mut tx, workspace, id).await? {
            let found = Found {
                generation: kept.generation,
                // One that was there is there, as far as anybody knows.
                state: if kept.state == SourceState::Ready { kept.state } else { SourceState::Pending },
                name: &wish.name,
                external_id: None,
                error: None,
                remedy: None,
                failures: 0,
                next: None,
                asked: false,
            };
            store::sources::note(&mut tx, workspace, id, &found, self.now()).await?;
        }
        store::commit(tx).await?;
        Ok(())
    }

    /// Finds or makes the source that an integration asks for, and keeps what came of it.
    pub(super) async fn look_after_source(&self, desk: &Desk) -> Result<Result<Ensured, Failure>, Error> {
        let (workspace, id) = (desk.office.workspace(), desk.integration().id);
        let wish = desk.sources.wanted(&desk.integration().settings, id);
        let wish = wish.ok_or_else(|| crate::integrations::not_found(id))?;
        let kept = self.kept_source(workspace, id).await?;
        let ensured = ensure::ensure(desk, &wish).await?;
        self.note_source(workspace, id, &wish, &kept, &ensured).await?;
        Ok(ensured)
    }

    async fn kept_source(&self, workspace: WorkspaceId, id: IntegrationId) -> Result<Kept, Error> {
        let mut tx = self.store().workspace(workspace).await?;
        let kept = if let Some(kept) = store::sources::find(&mut tx, workspace, id).await? {
            kept
        } else {
            store::sources::hurry(&mut tx, workspace, id, self.now()).await?;
            let kept = store::sources::find(&mut tx, workspace, id).await?;
            kept.ok_or_else(|| crate::integrations::not_found(id))?
        };
        store::commit(tx).await?;
        Ok(kept)
    }

    async fn note_source(
        &self,
        workspace: WorkspaceId,
        id: IntegrationId,
        wish: &Wish,
        kept: &Kept,
        ensured: &Result<Ensured, Failure>,
    ) -> Result<(), Error> {
        let now = self.now();
        let warning = ensured.as_ref().ok().and_then(|ensured| ensured.warning.as_ref());
        let explained = ensured.as_ref().err().map(|failure| &failure.explained);
        let error = explained.map(|why| &*why.detail).or(warning.map(|(detail, _)| &**detail));
        let remedy = explained.map(|why| &*why.remedy).or(warning.map(|(_, remedy)| &**remedy));
        let failures = if ensured.is_ok() { 0 } else { kept.failures.saturating_add(1) };
        let state = match ensured {
            Ok(_) => SourceState::Ready,
            // That the CRM can't be asked says nothing of a source that was there.
            Err(failure) if !failure.missing && kept.state == SourceState::Ready => SourceState::Ready,
            Err(_) => SourceState::Fallback,
        };
        let source = ensured.as_ref().ok().map(|ensured| &ensured.source);
        let found = Found {
            generation: kept.generation,
            state,
            name: source.map_or(&*wish.name, |source| &*source.name),
            external_id: source.map(|source| &*source.external_id),
            error,
            remedy,
            failures,
            next: Some(next(now, failures, ensured.as_ref().err())),
            asked: true,
        };
        let mut tx = self.store().workspace(workspace).await?;
        if !store::sources::note(&mut tx, workspace, id, &found, now).await? {
            // Something changed meanwhile: it is looked for anew.
            store::commit(tx).await?;
            return Ok(());
        }
        let news = match (state, ensured) {
            (SourceState::Ready, Ok(ensured)) if kept.state != SourceState::Ready || ensured.created => {
                let data = json!({
                    "external_id": ensured.source.external_id, "source_id": ensured.source.id,
                    "display_name": ensured.source.name, "created": ensured.created,
                });
                tracing::info!(workspace.id = %workspace, integration.id = %id, "chats carry their source from now on");
                Some(("integration.source_ready", data))
            }
            (SourceState::Fallback, Err(failure)) if kept.state != SourceState::Fallback => {
                let why = &failure.explained;
                tracing::warn!(
                    workspace.id = %workspace, integration.id = %id, error = why.detail, remedy = why.remedy,
                    "the source can't be had; chats go on without one, and it is tried again"
                );
                Some((
                    "integration.source_fallback",
                    json!({ "cause": why.step, "last_error": why.detail, "remedy": why.remedy }),
                ))
            }
            _ => None,
        };
        if let Some((kind, data)) = news {
            let event =
                NewEvent { id: self.id(), kind, dialogue: None, subject: id.0, data: plain(data), at: now };
            store::events::insert(&mut tx, workspace, &event).await?;
        }
        store::notify_configuration(&mut tx, workspace).await?;
        store::commit(tx).await?;
        self.forget();
        Ok(())
    }

    /// Has a message carry the source of its integration: the one that it names, else the one that its channel is reached over.
    pub(crate) async fn carry_source(
        &self,
        workspace: WorkspaceId,
        channels: Option<IntegrationId>,
        references: &mut CrmReferences,
        metadata: &mut Map<String, Value>,
    ) {
        let Some(id) = references.integration.or(channels) else { return };
        // That it can't be read is no reason to lose a message.
        let Ok(Some(held)) = self.held(workspace, id).await else { return };
        let Some(own) = &held.sealed.integration.source else { return };
        if references.source_external_id.is_none() {
            let Some(carried) = own.carried() else {
                if own.state == SourceState::Fallback {
                    metrics::counter!("switchboard_source_fallback_uses_total").increment(1);
                }
                return;
            };
            references.source_external_id = Some(carried.to_owned());
        }
        references.integration = Some(id);
        let told = json!({ "external_id": references.source_external_id });
        metadata.entry("source").or_insert(told);
    }
}

/// When the CRM is asked again.
fn next(now: Timestamp, failures: u32, failure: Option<&Failure>) -> Timestamp {
    let Some(failure) = failure else { return now + jittered(EVERY) };
    let wanted = match failure.vendor().map(|error| error.retry) {
        Some(Retry::After(pause)) => pause.min(EVERY),
        _ => Duration::ZERO,
    };
    now + jittered(pause(failures)).max(wanted)
}

/// The database takes no U+0000 inside JSON.
fn plain(data: Value) -> Value {
    match data {
        Value::Object(members) => members.into_iter().map(|(name, value)| (name, plain(value))).collect(),
        Value::String(text) => text.replace('\0', "").into(),
        data => data,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_an_hour() {
        let minutes: Vec<_> = [0, 1, 2, 3, 4, 40].map(|failures| pause(failures).as_secs() / 60).into();
        assert_eq!(minutes, [1, 1, 5, 15, 60, 60]);
    }
}
