//! Endpoints, and the dispatches of events to them.

use domain::{
    ChannelId, DispatchId, EndpointId, Error as Refusal, EventId, Reason, WorkspaceId,
    delivery::{Attempt, AttemptState},
    endpoint::{Dispatch, DispatchState, Endpoint, MAX_KINDS, OLD_SECRET_SIGNS, Schedule, is_kind},
    error::Violations,
    event::{Cursor, Event},
    token,
    vendor::{Applied, OutboundEvent},
    workspace::{Level, Service},
};
use secrecy::SecretString;
use serde::Serialize;
use serde_json::{Value, json};
use store::endpoints::SealedEndpoint;
pub use store::{dispatches::Filter as DispatchFilter, endpoints::Filter};

use crate::{App, Caller, Error, Page, PageRequest, channels, events::Begin, requests::check_name};

/// Where an endpoint's secrets are sealed, both of them: the new one moves to the place of the old.
pub(crate) const SECRET: &str = "webhook_endpoints.secret";
/// How many events one replay may name.
const MOST_IDS: usize = 1_000;
/// How many events of a range one replay looks at. Their ids count up within a millisecond, which has room for 4,096.
const MOST_OF_RANGE: i64 = 4_000;

/// An endpoint to make.
#[derive(Debug, Clone, Serialize)]
pub struct NewEndpoint {
    /// A name for people.
    pub display_name: String,
    /// Where events are posted.
    pub url: String,
    /// Only events of these types; empty: of any.
    pub kinds: Vec<String>,
    /// Only events of this channel and its dialogues.
    pub channel: Option<ChannelId>,
    /// When a failed dispatch is tried again.
    pub schedule: Schedule,
    /// Whether events are posted to it.
    pub active: bool,
}

/// What to change of an endpoint; `None` stays.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "named like the endpoint's fields")]
pub struct EndpointPatch {
    pub display_name: Option<String>,
    pub url: Option<String>,
    pub kinds: Option<Vec<String>>,
    pub channel: Option<Option<ChannelId>>,
    pub schedule: Option<Schedule>,
    pub active: Option<bool>,
}

/// What to replay.
#[derive(Debug, Clone)]
pub enum Replay {
    /// These events.
    Events(Vec<EventId>),
    /// Those of a range of the log.
    Range {
        /// The cursor behind which it begins.
        start: String,
        /// The cursor of its last event; empty: the newest.
        end: String,
        /// Only events of these types; empty: of any.
        kinds: Vec<String>,
    },
}

/// What was replayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replayed {
    /// How many events were dispatched.
    pub dispatched: i32,
    /// How far the range was read; empty when events were named.
    pub next_cursor: String,
    /// Whether the range goes on.
    pub more: bool,
}

fn not_found(id: EndpointId) -> Refusal {
    Refusal::not_found(Reason::EndpointNotFound, "endpoint", id)
}

fn no_dispatch(id: DispatchId) -> Refusal {
    Refusal::not_found(Reason::DispatchNotFound, "dispatch", id)
}

fn check_kinds(violations: &mut Violations, field: &str, kinds: &[String]) {
    violations.require(
        kinds.len() <= MAX_KINDS && kinds.iter().all(|kind| is_kind(kind)),
        field,
        "may name up to 100 types of events, such as message.received",
    );
}

fn check_url(violations: &mut Violations, url: &str) {
    violations.require(
        !url.is_empty() && url.len() <= 2_048 && !url.contains('\0'),
        "endpoint.url",
        "is required: an absolute http or https URL of up to 2,048 characters",
    );
}

/// Says what is wrong with one of several cursors in the words of its field.
fn in_field(error: Error, field: &str) -> Error {
    match error {
        Error::Refused(mut refusal) if !refusal.fields.is_empty() => {
            for violation in &mut refusal.fields {
                field.clone_into(&mut violation.field);
            }
            Refusal { metadata: refusal.metadata, ..Refusal::fields(refusal.reason, refusal.fields) }.into()
        }
        other => other,
    }
}

impl App {
    async fn check_endpoint_target(&self, url: &str) -> Result<(), Refusal> {
        let checked = self.inner.callers.events.check_target(url).await;
        checked.map_err(|(reason, detail)| Refusal::field(reason, "endpoint.url", detail))
    }

    /// Creates an endpoint and gives its secret.
    pub async fn create_endpoint(
        &self,
        caller: &Caller,
        new: NewEndpoint,
        request_id: &str,
    ) -> Result<(Endpoint, SecretString), Error> {
        let workspace = caller.require(Service::Webhooks, Level::Write)?;
        let mut violations = Violations::default();
        check_name(&mut violations, "endpoint.display_name", &new.display_name);
        check_url(&mut violations, &new.url);
        check_kinds(&mut violations, "endpoint.event_types", &new.kinds);
        violations.finish()?;
        self.check_endpoint_target(&new.url).await?;
        let id: EndpointId = self.id();
        let mut tx = self.store().workspace(workspace).await?;
        let first: Option<EndpointId> =
            self.once(&mut tx, workspace, request_id, "CreateEndpoint", &new, id.0).await?;
        if let Some(first) = first {
            let sealed = store::endpoints::find(&mut tx, workspace, first, false).await?;
            let sealed = sealed.ok_or_else(|| not_found(first))?;
            let secret = self.inner.sealer.open(workspace, first.0, SECRET, &sealed.secret)?;
            return Ok((sealed.endpoint, secret));
        }
        if let Some(channel) = new.channel {
            let channels = store::channels::find(&mut tx, workspace, channel, false).await?;
            channels.ok_or_else(|| channels::not_found(channel))?;
        }
        let most = self.inner.settings.max_endpoints;
        if store::endpoints::count_alone(&mut tx, workspace).await? >= most {
            let detail = format!(
                "the workspace has {most} endpoints, which is the most; delete one that is not needed"
            );
            let refusal = Refusal::new(Reason::EndpointLimitReached, detail);
            return Err(refusal.with("limit", most.to_string()).into());
        }
        let secret = token::issue_signing_secret();
        let now = self.now();
        let sealed = SealedEndpoint {
            endpoint: Endpoint {
                id,
                display_name: new.display_name,
                url: new.url,
                kinds: new.kinds,
                channel: new.channel,
                schedule: new.schedule,
                active: new.active,
                disabled_reason: None,
                failing_since: None,
                previous_secret_until: None,
                created_at: now,
                updated_at: now,
            },
            secret: self.inner.sealer.seal(workspace, id.0, SECRET, &secret)?,
            previous_secret: None,
        };
        store::endpoints::insert(&mut tx, workspace, &sealed).await?;
        self.tell(&mut tx, workspace, "endpoint.created", id.0).await?;
        store::commit(tx).await?;
        self.forget();
        Ok((sealed.endpoint, secret))
    }

    /// Reads an endpoint.
    pub async fn get_endpoint(&self, caller: &Caller, id: EndpointId) -> Result<Endpoint, Error> {
        let workspace = caller.require(Service::Webhooks, Level::Read)?;
        let mut tx = self.store().workspace(workspace).await?;
        let sealed = store::endpoints::find(&mut tx, workspace, id, false).await?;
        store::commit(tx).await?;
        Ok(sealed.ok_or_else(|| not_found(id))?.endpoint)
    }

    /// Lists endpoints, oldest first.
    pub async fn list_endpoints(
        &self,
        caller: &Caller,
        filter: &Filter,
        page: &PageRequest,
    ) -> Result<Page<Endpoint>, Error> {
        let workspace = caller.require(Service::Webhooks, Level::Read)?;
        let limit = page.limit()?;
        let token = ("endpoints", filter);
        let after = page.after(&token)?;
        let mut tx = self.store().workspace(workspace).await?;
        let items = store::endpoints::list(&mut tx, workspace, filter, after, limit + 1).await?;
        store::commit(tx).await?;
        Ok(Page::cut(items, limit, &token, |endpoint| endpoint.id))
    }

    /// Changes an endpoint. One that becomes active goes on where it stopped.
    pub async fn update_endpoint(
        &self,
        caller: &Caller,
        id: EndpointId,
        patch: EndpointPatch,
    ) -> Result<Endpoint, Error> {
        let workspace = caller.require(Service::Webhooks, Level::Write)?;
        let mut violations = Violations::default();
        if let Some(name) = &patch.display_name {
            check_name(&mut violations, "endpoint.display_name", name);
        }
        if let Some(url) = &patch.url {
            check_url(&mut violations, url);
        }
        check_kinds(&mut violations, "endpoint.event_types", patch.kinds.as_deref().unwrap_or_default());
        violations.finish()?;
        // A name may take its time to resolve: before the row is locked.
        if let Some(url) = &patch.url {
            self.check_endpoint_target(url).await?;
        }
        let (mut tx, mut sealed) = self.lock_endpoint(workspace, id).await?;
        let endpoint = &mut sealed.endpoint;
        if let Some(channel) = patch.channel {
            if let Some(channel) = channel {
                let channels = store::channels::find(&mut tx, workspace, channel, false).await?;
                channels.ok_or_else(|| channels::not_found(channel))?;
            }
            endpoint.channel = channel;
        }
        if let Some(name) = patch.display_name {
            endpoint.display_name = name;
        }
        if let Some(url) = patch.url {
            endpoint.url = url;
        }
        if let Some(kinds) = patch.kinds {
            endpoint.kinds = kinds;
        }
        if let Some(schedule) = patch.schedule {
            endpoint.schedule = schedule;
        }
        if let Some(active) = patch.active {
            // What it did before counts no more: else its first failure would end it again.
            endpoint.disabled_reason = None;
            if active && !endpoint.active {
                endpoint.failing_since = None;
            }
            endpoint.active = active;
        }
        if patch.active == Some(true) {
            store::endpoints::wake(&mut tx, workspace, id, self.now()).await?;
        }
        self.save_endpoint(tx, workspace, sealed).await
    }

    async fn lock_endpoint(
        &self,
        workspace: WorkspaceId,
        id: EndpointId,
    ) -> Result<(store::Tx, SealedEndpoint), Error> {
        let mut tx = self.store().workspace(workspace).await?;
        let sealed =
            store::endpoints::find(&mut tx, workspace, id, true).await?.ok_or_else(|| not_found(id))?;
        Ok((tx, sealed))
    }

    async fn save_endpoint(
        &self,
        mut tx: store::Tx,
        workspace: WorkspaceId,
        mut sealed: SealedEndpoint,
    ) -> Result<Endpoint, Error> {
        sealed.endpoint.updated_at = self.now();
        store::endpoints::update(&mut tx, workspace, &sealed).await?;
        self.tell(&mut tx, workspace, "endpoint.updated", sealed.endpoint.id.0).await?;
        store::commit(tx).await?;
        self.forget();
        Ok(sealed.endpoint)
    }

    /// Deletes an endpoint. Its dispatches stay readable; those that wait are dead as soon as a worker looks at them.
    pub async fn delete_endpoint(&self, caller: &Caller, id: EndpointId) -> Result<(), Error> {
        let workspace = caller.require(Service::Webhooks, Level::Write)?;
        let (mut tx, _) = self.lock_endpoint(workspace, id).await?;
        store::endpoints::delete(&mut tx, workspace, id, self.now()).await?;
        self.tell(&mut tx, workspace, "endpoint.deleted", id.0).await?;
        store::commit(tx).await?;
        self.forget();
        Ok(())
    }

    /// Replaces an endpoint's secret and gives the new one. The old one signs beside it for a day.
    pub async fn rotate_endpoint_secret(
        &self,
        caller: &Caller,
        id: EndpointId,
    ) -> Result<(Endpoint, SecretString), Error> {
        let workspace = caller.require(Service::Webhooks, Level::Admin)?;
        let (tx, mut sealed) = self.lock_endpoint(workspace, id).await?;
        let secret = token::issue_signing_secret();
        let fresh = self.inner.sealer.seal(workspace, id.0, SECRET, &secret)?;
        sealed.previous_secret = Some(std::mem::replace(&mut sealed.secret, fresh));
        sealed.endpoint.previous_secret_until = Some(self.now() + OLD_SECRET_SIGNS);
        Ok((self.save_endpoint(tx, workspace, sealed).await?, secret))
    }

    /// Posts one `endpoint.test` event now. Nothing of it is kept.
    pub async fn test_endpoint(&self, caller: &Caller, id: EndpointId) -> Result<Attempt, Error> {
        let workspace = caller.require(Service::Webhooks, Level::Write)?;
        let mut tx = self.store().workspace(workspace).await?;
        let sealed = store::endpoints::find(&mut tx, workspace, id, false).await?;
        store::commit(tx).await?;
        let SealedEndpoint { endpoint, secret, previous_secret } = sealed.ok_or_else(|| not_found(id))?;
        let now = self.now();
        let previous_secret =
            previous_secret.filter(|_| endpoint.previous_secret_until.is_some_and(|until| until > now));
        let secrets = [Some(secret), previous_secret]
            .into_iter()
            .flatten()
            .map(|sealed| self.inner.sealer.open(workspace, id.0, SECRET, &sealed))
            .collect::<Result<_, _>>()?;
        let event = Event {
            id: self.id(),
            kind: "endpoint.test".to_owned(),
            position: 0,
            occurred_at: now,
            dialogue: None,
            subject: Some(id.0),
            message: None,
            data: json!({}),
        };
        let body = Value::Object(event.to_json()).to_string();
        let posted = OutboundEvent { url: endpoint.url, secrets, id: event.id, body, now };
        let outcome = self.inner.callers.events.post(&posted).await;
        let attempt = Attempt {
            number: 1,
            state: AttemptState::Succeeded,
            http_status: None,
            error: None,
            response_excerpt: None,
            started_at: now,
            ended_at: Some(self.now()),
        };
        Ok(match outcome {
            Ok(receipt) => Attempt {
                http_status: receipt.http_status.map(i32::from),
                response_excerpt: receipt.excerpt,
                ..attempt
            },
            Err(error) => Attempt {
                state: match error.applied {
                    Applied::No => AttemptState::Failed,
                    Applied::Maybe => AttemptState::Unknown,
                },
                http_status: error.http_status.map(i32::from),
                error: Some(error.detail),
                response_excerpt: error.excerpt,
                ..attempt
            },
        })
    }

    /// Lists an endpoint's dispatches, newest first.
    pub async fn list_dispatches(
        &self,
        caller: &Caller,
        filter: &DispatchFilter,
        page: &PageRequest,
    ) -> Result<Page<Dispatch>, Error> {
        let workspace = caller.require(Service::Webhooks, Level::Read)?;
        let limit = page.limit()?;
        let token = ("dispatches", filter);
        let before = page.after(&token)?;
        let mut tx = self.store().workspace(workspace).await?;
        let endpoint = store::endpoints::find(&mut tx, workspace, filter.endpoint, false).await?;
        endpoint.ok_or_else(|| not_found(filter.endpoint))?;
        let items = store::dispatches::list(&mut tx, workspace, filter, before, limit + 1).await?;
        store::commit(tx).await?;
        Ok(Page::cut(items, limit, &token, |dispatch| dispatch.id))
    }

    /// Reads a dispatch with its attempts.
    pub async fn get_dispatch(
        &self,
        caller: &Caller,
        id: DispatchId,
    ) -> Result<(Dispatch, Vec<Attempt>), Error> {
        let workspace = caller.require(Service::Webhooks, Level::Read)?;
        let mut tx = self.store().workspace(workspace).await?;
        let dispatch =
            store::dispatches::find(&mut tx, workspace, id, false).await?.ok_or_else(|| no_dispatch(id))?;
        let attempts = store::dispatches::list_attempts(&mut tx, workspace, id).await?;
        store::commit(tx).await?;
        Ok((dispatch, attempts))
    }

    /// Puts a dead dispatch back, behind what waits under its key.
    pub async fn retry_dispatch(&self, caller: &Caller, id: DispatchId) -> Result<Dispatch, Error> {
        let workspace = caller.require(Service::Webhooks, Level::Write)?;
        let mut tx = self.store().workspace(workspace).await?;
        let dispatch =
            store::dispatches::find(&mut tx, workspace, id, true).await?.ok_or_else(|| no_dispatch(id))?;
        let endpoint = store::endpoints::find(&mut tx, workspace, dispatch.endpoint, false).await?;
        endpoint.ok_or_else(|| not_found(dispatch.endpoint))?;
        if dispatch.state != DispatchState::Dead {
            let detail = format!("dispatch {id} is not dead; only dead dispatches can be retried");
            return Err(Refusal::new(Reason::DispatchNotDead, detail).into());
        }
        store::dispatches::revive(&mut tx, workspace, id, self.id(), self.now()).await?;
        let dispatch =
            store::dispatches::find(&mut tx, workspace, id, false).await?.ok_or_else(|| no_dispatch(id))?;
        store::commit(tx).await?;
        Ok(dispatch)
    }

    /// Dispatches recorded events to an endpoint again.
    pub async fn replay_events(
        &self,
        caller: &Caller,
        endpoint: EndpointId,
        what: Replay,
    ) -> Result<Replayed, Error> {
        let workspace = caller.require(Service::Webhooks, Level::Write)?;
        match what {
            Replay::Events(ids) => self.replay_by_id(workspace, endpoint, ids).await,
            Replay::Range { start, end, kinds } => {
                self.replay_range(workspace, endpoint, &start, &end, &kinds).await
            }
        }
    }

    async fn replay_by_id(
        &self,
        workspace: WorkspaceId,
        endpoint: EndpointId,
        mut ids: Vec<EventId>,
    ) -> Result<Replayed, Error> {
        let mut violations = Violations::default();
        violations.require(ids.len() <= MOST_IDS, "event_ids", "may name up to 1,000 events");
        violations.finish()?;
        ids.sort_unstable();
        ids.dedup();
        let (mut tx, _) = self.share_endpoint(workspace, endpoint).await?;
        let known = store::events::known(&mut tx, workspace, &ids).await?;
        if let Some(missing) = ids.iter().find(|id| !known.contains(id)) {
            return Err(Refusal::not_found(Reason::EventNotFound, "event", missing).into());
        }
        let what = store::dispatches::Replayed::Events(&ids);
        let dispatched = store::dispatches::replay(&mut tx, workspace, endpoint, what, self.now()).await?;
        store::commit(tx).await?;
        self.inner.hub.tell_hooks();
        Ok(Replayed { dispatched, next_cursor: String::new(), more: false })
    }

    async fn replay_range(
        &self,
        workspace: WorkspaceId,
        endpoint: EndpointId,
        start: &str,
        end: &str,
        kinds: &[String],
    ) -> Result<Replayed, Error> {
        let mut violations = Violations::default();
        let required = "is required without event_ids: a cursor, or 0 for the beginning of the log";
        violations.require(!start.is_empty(), "start_cursor", required);
        check_kinds(&mut violations, "event_types", kinds);
        violations.finish()?;
        let start = self.place(workspace, start, Begin::First).await;
        let start = start.map_err(|error| in_field(error, "start_cursor"))?;
        let end = self.place(workspace, end, Begin::Now).await;
        let end = end.map_err(|error| in_field(error, "end_cursor"))?;
        violations = Violations::default();
        violations.require(start.position <= end.position, "end_cursor", "must not be before start_cursor");
        violations.finish()?;
        let through = end.position.min(start.position + MOST_OF_RANGE);
        let (mut tx, _) = self.share_endpoint(workspace, endpoint).await?;
        let what = store::dispatches::Replayed::Range { after: start.position, through, kinds };
        let dispatched = store::dispatches::replay(&mut tx, workspace, endpoint, what, self.now()).await?;
        store::commit(tx).await?;
        self.inner.hub.tell_hooks();
        Ok(Replayed {
            dispatched,
            next_cursor: Cursor { position: through, ..start }.encode(),
            more: through < end.position,
        })
    }

    /// An endpoint that must be there.
    async fn share_endpoint(
        &self,
        workspace: WorkspaceId,
        id: EndpointId,
    ) -> Result<(store::Tx, SealedEndpoint), Error> {
        let mut tx = self.store().workspace(workspace).await?;
        let sealed = store::endpoints::find(&mut tx, workspace, id, false).await?;
        Ok((tx, sealed.ok_or_else(|| not_found(id))?))
    }
}
