//! What a use case can answer besides its result.

use std::time::Duration;

use domain::Reason;

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
            Self::Store(_) | Self::Sealing(_) => domain::Error::new(Reason::Internal, "an internal error"),
        }
    }
}

/// What callers are told while the database can't be reached.
pub(crate) fn unavailable() -> domain::Error {
    domain::Error::new(Reason::Unavailable, "the service is not available now; try again after the pause")
        .retry_after(Duration::from_secs(1))
}
