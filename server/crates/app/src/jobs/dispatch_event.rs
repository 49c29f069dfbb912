//! Dispatches an event to an endpoint: one attempt, committed before the call and settled after it.

use domain::{
    delivery::AttemptState,
    endpoint::DispatchState,
    fail_point,
    vendor::{Applied, OutboundEvent, Receipt, VendorError},
};
use rand::RngExt;
use serde_json::Value;
use store::dispatches::{Blame, ClaimedDispatch, Settlement, StartedDispatch};

use crate::{App, Error, endpoints, worker::Worker};

/// The answer with which an endpoint says that it wants nothing more, for good.
const GONE: u16 = 410;

/// Works a claimed dispatch: begins an attempt, makes it, settles it.
pub(crate) async fn run(worker: &Worker, claim: ClaimedDispatch) -> Result<(), Error> {
    let Some(started) = worker.start_hook.write(claim).await? else { return Ok(()) };
    let app = &worker.app;
    let base = Settlement {
        claim,
        endpoint: started.endpoint,
        attempt: started.attempt,
        attempt_state: AttemptState::Succeeded,
        http_status: None,
        error: None,
        excerpt: None,
        blame: Blame::None,
        state: DispatchState::Delivered,
        reason: None,
        run_at: app.now(),
        event: app.id(),
    };
    let settled = match outbound(app, &claim, &started) {
        Ok(Some(event)) => {
            fail_point::reached("dispatch", "before");
            let posted = app.inner.callers.events.post(&event).await;
            fail_point::reached("dispatch", "after");
            match posted {
                Ok(Receipt { http_status, excerpt, .. }) => {
                    Settlement { http_status: http_status.map(i32::from), excerpt, ..base }
                }
                Err(error) => failed(worker, &started, base, error),
            }
        }
        Ok(None) => Settlement {
            attempt_state: AttemptState::Failed,
            error: Some("the log doesn't hold the event any more".to_owned()),
            state: DispatchState::Dead,
            reason: Some("event_gone"),
            ..base
        },
        // A ring without the key is mended by the operator; the endpoint can't help it.
        Err(error) => {
            let pause = pause(app, &started, &claim, domain::vendor::Retry::Backoff);
            Settlement {
                attempt_state: AttemptState::Failed,
                error: Some(error.to_string()),
                ..waiting_or_dead(app, base, pause)
            }
        }
    };
    metrics::counter!("switchboard_dispatch_attempts_total", "state" => settled.attempt_state.as_str())
        .increment(1);
    worker.settle_hook.write(settled).await?;
    Ok(())
}

fn outbound(
    app: &App,
    claim: &ClaimedDispatch,
    started: &StartedDispatch,
) -> Result<Option<OutboundEvent>, Error> {
    let Some(event) = &started.event else { return Ok(None) };
    let secrets = [Some(&started.secret), started.previous_secret.as_ref()]
        .into_iter()
        .flatten()
        .map(|sealed| app.inner.sealer.open(claim.workspace, started.endpoint.0, endpoints::SECRET, sealed))
        .collect::<Result<_, _>>()?;
    Ok(Some(OutboundEvent {
        url: started.url.clone(),
        secrets,
        id: event.id,
        body: Value::Object(event.to_json()).to_string(),
        now: app.now(),
    }))
}

fn failed(worker: &Worker, started: &StartedDispatch, base: Settlement, error: VendorError) -> Settlement {
    let app = &worker.app;
    let gone = error.http_status == Some(GONE);
    let pause = pause(app, started, &base.claim, error.retry);
    tracing::info!(
        workspace.id = %base.claim.workspace, endpoint.id = %base.endpoint, dispatch.id = %base.claim.dispatch,
        attempt = base.attempt, error = %error, retry_in = ?pause, "an attempt at a dispatch failed"
    );
    let settled = if gone {
        // The endpoint is inactive from now on; what it refused waits for it like the rest.
        Settlement { blame: Blame::Gone, state: DispatchState::Pending, ..base }
    } else {
        Settlement { blame: Blame::Failed, ..waiting_or_dead(app, base, pause) }
    };
    Settlement {
        attempt_state: match error.applied {
            Applied::No => AttemptState::Failed,
            Applied::Maybe => AttemptState::Unknown,
        },
        http_status: error.http_status.map(i32::from),
        error: Some(error.detail.replace('\0', "\u{fffd}")),
        excerpt: error.excerpt,
        ..settled
    }
}

fn pause(
    app: &App,
    started: &StartedDispatch,
    claim: &ClaimedDispatch,
    advice: domain::vendor::Retry,
) -> Option<std::time::Duration> {
    let failures = u32::try_from(claim.failures).unwrap_or(u32::MAX).saturating_add(1);
    let jitter = rand::rng().random_range(0.0..1.0);
    app.inner.settings.hooks.get(started.schedule).next_pause(failures, advice, jitter)
}

fn waiting_or_dead(app: &App, base: Settlement, pause: Option<std::time::Duration>) -> Settlement {
    match pause {
        Some(pause) => Settlement { state: DispatchState::Pending, run_at: app.now() + pause, ..base },
        None => Settlement { state: DispatchState::Dead, reason: Some("attempts_exhausted"), ..base },
    }
}
