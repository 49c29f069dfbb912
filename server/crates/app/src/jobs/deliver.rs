//! Delivers a message: one attempt, committed before the call and settled after it.

use domain::{
    MessageId, WorkspaceId,
    delivery::{AttemptState, DeliveryState},
    dialogue::Role,
    fail_point,
    part::Part,
    policy::Uncertain,
    split::split,
    vendor::{Applied, FailureKind, OutboundMessage, Receipt, Resend, Retry, VendorAccount, VendorError},
};
use rand::RngExt;
use serde_json::{Map, Value};
use store::{
    deliveries::{ClaimedDelivery, Settlement},
    turns::Route,
};

use crate::{App, Error, bulkhead::Way, channels, engines::Account, worker::Worker};

/// Why a delivery is held.
const MAYBE_DELIVERED: &str = "maybe_delivered";

/// What one attempt sends.
pub(crate) struct Sending {
    pub(crate) attempt: i32,
    pub(crate) message: MessageId,
    pub(crate) chat: String,
    pub(crate) role: Role,
    pub(crate) text: String,
    pub(crate) parts: Vec<Part>,
    pub(crate) template: Option<Value>,
    /// Whether the text is a part of the message's already.
    pub(crate) part: bool,
    pub(crate) route: Route,
}

/// Works a claimed delivery: begins an attempt and makes it.
pub(crate) async fn run(worker: &Worker, claim: ClaimedDelivery) -> Result<(), Error> {
    let Some(started) = worker.start.write(claim).await? else { return Ok(()) };
    let Some(attempt) = started.attempt else {
        // The guard said no since the message was committed. Without a verdict the delivery is settled already.
        let Some(verdict) = started.verdict else { return Ok(()) };
        let state = match verdict.as_str() {
            MAYBE_DELIVERED => DeliveryState::Held,
            _ => DeliveryState::Withheld,
        };
        let settlement =
            Settlement { state, reason: Some(verdict), attempt: None, ..settlement(worker, claim, 0) };
        worker.settle.write(settlement).await?;
        return Ok(());
    };
    if let Some(slot) = started.slot_at
        && let Ok(pause) = std::time::Duration::try_from(slot - worker.app.now())
    {
        tokio::time::sleep(pause).await;
    }
    let sending = Sending {
        attempt,
        message: started.message,
        chat: started.chat,
        role: started.role,
        text: started.text,
        parts: started.parts,
        template: started.template,
        part: started.part,
        route: started.route,
    };
    send(worker, claim, sending).await
}

fn settlement(worker: &Worker, claim: ClaimedDelivery, attempt: i32) -> Settlement {
    Settlement {
        claim,
        attempt: Some(attempt),
        attempt_state: AttemptState::Succeeded,
        http_status: None,
        error: None,
        excerpt: None,
        state: DeliveryState::Delivered,
        reason: None,
        run_at: worker.app.now(),
        event: worker.app.id(),
        vendor_message_id: None,
    }
}

/// Cuts a text that is longer than the receiver takes: this delivery carries its first part, and others, which stand next in
/// the lane, the rest. `false`: the claim was lost.
///
/// So the message stays one, and the one reply of its turn, while all that is promised of deliveries holds for each part by
/// itself: its attempt is committed before the call, a repeat carries the same id, what may have arrived is held or sent
/// again alone, the guard looks once more before each, and the lane keeps their order. It is done here, and not where
/// messages are written, because all of them come by here, and the receiver's limit may have changed since. A part is not
/// cut again.
async fn fit(worker: &Worker, claim: &ClaimedDelivery, sending: &mut Sending) -> Result<bool, Error> {
    let vendor = worker.app.inner.vendors.get(&sending.route.vendor);
    let Some(sender) = vendor.and_then(|vendor| vendor.sender.as_ref()) else { return Ok(true) };
    let most = sending.route.max_text_chars.and_then(|most| usize::try_from(most).ok());
    let most = most.unwrap_or(usize::MAX).min(sender.max_text_chars());
    // No character takes less than a byte.
    // A template is what was agreed on with the vendor, as a whole.
    if sending.part || sending.template.is_some() || sending.text.len() <= most {
        return Ok(true);
    }
    let lengths = split(&sending.text, most);
    if lengths.len() < 2 {
        return Ok(true);
    }
    let first = sending.text.chars().take(lengths[0]).collect();
    let lengths: Vec<_> =
        lengths.into_iter().map(|length| i32::try_from(length).unwrap_or(i32::MAX)).collect();
    let mut tx = worker.app.store().workspace(claim.workspace).await?;
    if !store::deliveries::split(&mut tx, worker.id, claim, &lengths, worker.app.now()).await? {
        return Ok(false);
    }
    store::commit(tx).await?;
    sending.text = first;
    sending.part = true;
    Ok(true)
}

/// Makes an attempt that is committed as STARTED, and settles it.
pub(crate) async fn send(worker: &Worker, claim: ClaimedDelivery, mut sending: Sending) -> Result<(), Error> {
    let app = &worker.app;
    if !fit(worker, &claim, &mut sending).await? {
        return Ok(());
    }
    let route = &sending.route;
    worker.calls(Way::Receiver, route.channel, receiver_of(route));
    let attempt = sending.attempt;
    let policy = sending.route.uncertain;
    let outcome = call(worker, &claim, sending).await;
    let base = settlement(worker, claim, attempt);
    let settled = match outcome {
        Ok(receipt) => Settlement {
            http_status: receipt.http_status.map(i32::from),
            excerpt: receipt.excerpt.map(|text| text.replace('\0', "\u{fffd}")),
            vendor_message_id: receipt.vendor_message_id.map(|id| id.replace('\0', "\u{fffd}")),
            ..base
        },
        Err((error, resend)) => {
            let failures = u32::try_from(claim.failures).unwrap_or(u32::MAX).saturating_add(1);
            let jitter = rand::rng().random_range(0.0..1.0);
            let maybe = error.applied == Applied::Maybe;
            // Where the receiver can't tell a repeat, what may have arrived is not sent again by itself.
            let hold = maybe
                && match policy {
                    Some(policy) => policy == Uncertain::Hold,
                    None => resend != Resend::ByOurId,
                };
            let pause =
                app.inner.settings.deliveries.next_pause(failures, error.retry, jitter).filter(|_| !hold);
            tracing::info!(
                workspace.id = %claim.workspace, dialogue.id = %claim.dialogue, delivery.id = %claim.delivery, attempt,
                vendor = error.vendor, error = %error, retry_in = ?pause, "an attempt at a delivery failed"
            );
            Settlement {
                attempt_state: match error.applied {
                    Applied::No => AttemptState::Failed,
                    Applied::Maybe => AttemptState::Unknown,
                },
                http_status: error.http_status.map(i32::from),
                error: Some(error.detail.replace('\0', "\u{fffd}")),
                excerpt: error.excerpt.map(|text| text.replace('\0', "\u{fffd}")),
                state: match pause {
                    _ if hold => DeliveryState::Held,
                    Some(_) if maybe => DeliveryState::Uncertain,
                    Some(_) => DeliveryState::Pending,
                    None => DeliveryState::Dead,
                },
                reason: pause.is_none().then(|| match error.retry {
                    _ if hold => MAYBE_DELIVERED.to_owned(),
                    Retry::Never => "refused".to_owned(),
                    _ => "attempts_exhausted".to_owned(),
                }),
                run_at: app.now() + pause.unwrap_or_default(),
                ..base
            }
        }
    };
    metrics::counter!("switchboard_attempts_total", "state" => settled.attempt_state.as_str()).increment(1);
    worker.settle.write(settled).await?;
    Ok(())
}

/// What a receiver is, to those who must not all wait for it: the server that is posted to, or the vendor.
fn receiver_of(route: &Route) -> &str {
    let rest = route.url.split_once("://").map_or(route.url.as_str(), |(_, rest)| rest);
    let server = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if server.is_empty() { &route.vendor } else { server }
}

/// Calls the vendor, and says of a failure what happens when the message is sent again.
async fn call(
    worker: &Worker,
    claim: &ClaimedDelivery,
    sending: Sending,
) -> Result<Receipt, (VendorError, Resend)> {
    let app = &worker.app;
    let known = app.inner.vendors.get(&sending.route.vendor);
    let Some((vendor, sender)) = known.and_then(|vendor| Some((vendor, vendor.sender.clone()?))) else {
        let detail = "the channel's vendor is not known to this server".to_owned();
        return Err((broken(detail, Retry::Never), Resend::ByOurId));
    };
    let opened = match &vendor.channel {
        None => posting_account(app, claim.workspace, &sending.route).map(|account| Ok((account, None))),
        // Apart, so that the others carry nothing of it.
        Some(_) => Box::pin(integration_account(app, claim.workspace, &sending.route)).await,
    };
    let (account, of) = match opened {
        Ok(Ok(opened)) => opened,
        // Nothing was sent, so whatever the vendor knows of repeats doesn't matter.
        Ok(Err(error)) => return Err((error, Resend::ByOurId)),
        Err(Error::Refused(error)) => return Err((broken(error.to_string(), Retry::Never), Resend::ByOurId)),
        // A ring without the key is mended by the operator, not by the customer: try again by the schedule.
        Err(error) => return Err((broken(error.to_string(), Retry::Backoff), Resend::ByOurId)),
    };
    let answers = match &vendor.channel {
        Some(kind) if kind.answers_calls() => match told_before(app, claim).await {
            Ok(told) => told,
            Err(error) => return Err((broken(error.to_string(), Retry::Backoff), Resend::ByOurId)),
        },
        _ => Map::new(),
    };
    let message = OutboundMessage {
        delivery: claim.delivery,
        message: sending.message,
        chat: sending.chat,
        role: sending.role,
        text: sending.text,
        parts: sending.parts,
        template: sending.template,
        answers,
        now: app.now(),
    };
    fail_point::reached("send", "before");
    let sent = sender.send(&account, &message).await;
    fail_point::reached("send", "after");
    if let Some(of) = of {
        Box::pin(app.note_call(&of, sent.as_ref().map(drop))).await;
    }
    sent.map_err(|error| (error, sender.resend(&account.settings)))
}

/// What was told with the message that is answered.
async fn told_before(app: &App, claim: &ClaimedDelivery) -> Result<Map<String, Value>, store::Error> {
    let mut tx = app.store().workspace(claim.workspace).await?;
    let told = store::mirrors::newest_metadata(&mut tx, claim.workspace, claim.dialogue).await?;
    store::commit(tx).await?;
    Ok(told)
}

/// What a channel is called with that is reached over an integration, and whose that is.
async fn integration_account(
    app: &App,
    workspace: WorkspaceId,
    route: &Route,
) -> Result<Result<(VendorAccount, Option<Account>), VendorError>, Error> {
    let route = app.route(workspace, route.channel).await?;
    let account = app.channel_account(workspace, &route.sealed).await?;
    Ok(account.map(|(account, of)| (account, Some(of))))
}

/// What a channel is called with that posts to a URL: all of it came with the claim.
fn posting_account(app: &App, workspace: WorkspaceId, route: &Route) -> Result<VendorAccount, Error> {
    let open = |place, secret| app.inner.sealer.open(workspace, route.channel.0, place, secret);
    Ok(VendorAccount {
        url: route.url.clone(),
        token: open(channels::TOKEN, &route.token)?,
        signing_secrets: vec![open(channels::SIGNING_SECRET, &route.signing_secret)?],
        ..VendorAccount::default()
    })
}

fn broken(detail: String, retry: Retry) -> VendorError {
    VendorError {
        vendor: "switchboard",
        operation: "send",
        kind: FailureKind::Other,
        http_status: None,
        detail,
        excerpt: None,
        applied: Applied::No,
        retry,
    }
}
