//! The simulator's time: it runs, and can be moved ahead.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

/// A clock. Clones show the same time.
#[derive(Debug, Clone)]
pub struct Clock {
    begun: Instant,
    begins_at: i64,
    advanced_seconds: Arc<AtomicU64>,
}

impl Default for Clock {
    /// Begins at a fixed moment, 20 November 2025 12:00 UTC.
    fn default() -> Self {
        Self::starting_at(1_763_640_000)
    }
}

impl Clock {
    /// Makes a clock that shows this moment, in Unix seconds, and runs from there.
    pub fn starting_at(unix_seconds: i64) -> Self {
        Self { begun: Instant::now(), begins_at: unix_seconds, advanced_seconds: Arc::default() }
    }

    /// The present, in Unix seconds.
    pub fn unix_seconds(&self) -> i64 {
        let passed =
            self.begun.elapsed().as_secs().saturating_add(self.advanced_seconds.load(Ordering::Relaxed));
        self.begins_at.saturating_add_unsigned(passed)
    }

    /// How far it was moved ahead.
    pub fn advanced(&self) -> Duration {
        Duration::from_secs(self.advanced_seconds.load(Ordering::Relaxed))
    }

    /// Moves it ahead, by whole seconds.
    pub fn advance(&self, by: Duration) {
        self.advanced_seconds.fetch_add(by.as_secs(), Ordering::Relaxed);
    }
}
