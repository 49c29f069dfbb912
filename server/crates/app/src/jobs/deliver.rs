//! Delivers a message: one attempt, committed before the call and settled after it.

use domain::{
    MessageId,
    delivery::{AttemptState, DeliveryState},
    dialogue::Role,
    fail_point,
    policy::Uncertain,
    split::split,
    vendor::{Applied, FailureKind, OutboundMessage, Resend, Retry, VendorAccount, VendorError},
};
use rand::RngExt;
use store::{
    deliveries::{ClaimedDelivery, Settlement},
    turns::Route,
};

use crate::{Error, channels, worker::Worker};

/// Why a delivery is held.
const MAYBE_DELIVERED: &str = "maybe_delivered";

/// What one attempt sends.
pub(crate) struct Sending {
    pub(crate) attempt: i32,
    pub(crate) message: MessageId,
    pub(crate) chat: String,
    pub(crate) role: Role,
    pub(crate) text: String,
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
    if sending.part || sending.text.len() <= most {
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
    let attempt = sending.attempt;
    let policy = sending.route.uncertain;
    let outcome = match app.inner.vendors.get(&sending.route.vendor).and_then(|vendor| vendor.sender.clone())
    {
        Some(sender) => {
            let channel = sending.route.channel.0;
            let sealer = &app.inner.sealer;
            let account = sealer
                .open(claim.workspace, channel, channels::TOKEN, &sending.route.token)
                .and_then(|token| {
                    let secret = sealer.open(
                        claim.workspace,
                        channel,
                        channels::SIGNING_SECRET,
                        &sending.route.signing_secret,
                    )?;
                    Ok(VendorAccount { url: sending.route.url, token, signing_secrets: vec![secret] })
                });
            match account {
                Ok(account) => {
                    let message = OutboundMessage {
                        delivery: claim.delivery,
                        message: sending.message,
                        chat: sending.chat,
                        role: sending.role,
                        text: sending.text,
                        now: app.now(),
                    };
                    fail_point::reached("send", "before");
                    let sent = sender.send(&account, &message).await;
                    fail_point::reached("send", "after");
                    sent.map_err(|error| (error, sender.resend()))
                }
                // A ring without the key is mended by the operator, not by the customer: try again by the schedule.
                Err(error) => Err((broken(error.to_string(), Retry::Backoff), Resend::ByOurId)),
            }
        }
        None => Err((
            broken("the channel's vendor is not known to this server".to_owned(), Retry::Never),
            Resend::ByOurId,
        )),
    };
    let base = settlement(worker, claim, attempt);
    let settled = match outcome {
        Ok(receipt) => Settlement {
            http_status: receipt.http_status.map(i32::from),
            excerpt: receipt.excerpt.map(|text| text.replace('\0', "\u{fffd}")),
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
