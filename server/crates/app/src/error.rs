//! What a use case can answer besides its result.

use std::time::Duration;

use domain::{
    Reason,
    vendor::{Retry, VendorError},
};

/// A use case failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// In a way that the caller is told, whole.
    #[error(transparent)]
    Refused(#[from] domain::Error),
    /// The database failed. The caller learns no more than that.
    #[error("the database failed")]
    Store(#[from] store::Error),
    /// A secret could not be sealed or opened.
    #[error("a secret can't be opened: {0}")]
    Sealing(&'static str),
    /// A secret was sealed with a key that the ring lacks.
    #[error("a secret can't be opened: the key ring lacks the key {0}")]
    KeyMissing(String),
    /// A vendor said no, or nothing, to a call that somebody waits for.
    #[error(transparent)]
    Vendor(VendorError),
}

impl Error {
    /// What the caller is told.
    pub fn to_domain(&self) -> domain::Error {
        match self {
            Self::Refused(error) => error.clone(),
            Self::Store(error) if error.is_unavailable() => unavailable(),
            Self::KeyMissing(kid) => {
                let detail = format!(
                    "the server's key ring lacks the key {kid}, with which this secret was encrypted; the operator must \
                     put it back"
                );
                domain::Error::new(Reason::SecretKeyMissing, detail).with("kid", kid)
            }
            Self::Vendor(error) => refusal(error),
            Self::Store(_) | Self::Sealing(_) => domain::Error::new(Reason::Internal, "an internal error"),
        }
    }
}

/// What callers are told while the database can't be reached.
pub(crate) fn unavailable() -> domain::Error {
    domain::Error::new(Reason::Unavailable, "the service is not available now; try again after the pause")
        .retry_after(Duration::from_secs(1))
}

/// Tells a caller of a vendor's refusal.
fn refusal(error: &VendorError) -> domain::Error {
    let reason = if error.retry == Retry::Never { Reason::VendorRefused } else { Reason::VendorUnavailable };
    let refusal = domain::Error::new(reason, error.to_string())
        .with("vendor", error.vendor)
        .with("kind", error.kind.as_str());
    match error.retry {
        Retry::After(pause) => refusal.retry_after(pause),
        _ => refusal,
    }
}
