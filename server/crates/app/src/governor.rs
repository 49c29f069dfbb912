//! The governor of calls: holds what an account's vendor takes a second over all processes. An integration is opened with its
//! gate, so that no call passes it by.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use domain::{
    IntegrationId, WorkspaceId,
    connection::{Gate, Refused},
};
use store::Store;
use tokio::time::Instant;

use crate::{App, Error};

/// How long a call waits for its place at most; who would wait longer is told to come again.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// How far from its beginning a place may be used. Further off it could crowd the next one: of eight calls at seven places
/// apart, the first and the last may be nearer to each other by a sixth of a second before they fall into one second.
const GRACE: Duration = Duration::from_millis(70);
/// How often a place is asked for until there is one that can be used in time.
const TRIES: u32 = 6;
/// For how long an account is left alone that takes no calls of ours any more: nobody knows how long the vendor means.
const BLOCKED: Duration = Duration::from_mins(15);
/// What callers are told while places can't be had.
const TROUBLE: Duration = Duration::from_secs(1);

/// The gate of one integration.
struct Turnstile {
    store: Store,
    workspace: WorkspaceId,
    key: String,
}

impl fmt::Debug for Turnstile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turnstile").field("key", &self.key).finish_non_exhaustive()
    }
}

/// What an integration's places are kept under.
pub(crate) fn key(integration: IntegrationId) -> String {
    format!("integration:{integration}")
}

impl App {
    /// The gate of an integration.
    pub(crate) fn gate(&self, workspace: WorkspaceId, integration: IntegrationId) -> Arc<dyn Gate> {
        Arc::new(Turnstile { store: self.store().clone(), workspace, key: key(integration) })
    }
}

impl Turnstile {
    async fn grant(&self, per_second: u32, ahead: Duration) -> Result<Result<Duration, Duration>, Error> {
        let mut tx = self.store.workspace(self.workspace).await?;
        let bounds = (ahead, LONGEST_WAIT);
        let granted = store::governors::grant(&mut tx, self.workspace, &self.key, per_second, bounds).await?;
        store::commit(tx).await?;
        Ok(granted)
    }

    async fn refuse(&self, pause: Option<Duration>, only_after: bool) -> Result<Option<Duration>, Error> {
        let mut tx = self.store.workspace(self.workspace).await?;
        let pause = store::governors::refuse(&mut tx, self.workspace, &self.key, pause, only_after).await?;
        store::commit(tx).await?;
        Ok(pause)
    }
}

#[async_trait]
impl Gate for Turnstile {
    async fn pass(&self, per_second: u32) -> Result<(), Duration> {
        let mut ahead = Duration::ZERO;
        for _ in 0..TRIES {
            let asked = Instant::now();
            let pause = self.grant(per_second, ahead).await.map_err(|error| {
                tracing::warn!(error = %error, governor = self.key, "no place for a call could be had");
                TROUBLE
            })??;
            // The database counted from a moment between asking and hearing.
            let doubt = asked.elapsed() / 2;
            let place = asked + doubt + pause;
            tokio::time::sleep_until(place).await;
            let late = place.elapsed();
            if doubt + late <= GRACE {
                return Ok(());
            }
            // The machine is busy, or the database is: the next place is asked for so far ahead that it can be used.
            ahead = (doubt * 2 + late).min(TROUBLE);
        }
        Err(TROUBLE)
    }

    async fn refused(&self, why: Refused) -> Option<Duration> {
        let (pause, only_after) = match why {
            Refused::TooMany(pause) => (pause, false),
            Refused::Blocked => (Some(BLOCKED), false),
            Refused::Perhaps => (Some(BLOCKED), true),
        };
        let kept = self.refuse(pause, only_after).await;
        let kept = kept.unwrap_or_else(|error| {
            tracing::warn!(error = %error, governor = self.key, "a vendor's wish to be left alone could not be kept");
            if only_after { None } else { Some(pause.unwrap_or(TROUBLE)) }
        });
        if let Some(pause) = kept {
            metrics::counter!("switchboard_calls_refused_total").increment(1);
            tracing::info!(
                workspace.id = %self.workspace, governor = self.key, pause_ms = pause.as_secs_f64() * 1e3,
                "the vendor had too many calls; nobody calls it for a while"
            );
        }
        kept
    }
}
