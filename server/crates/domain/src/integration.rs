//! Integrations: a workspace's connections to vendors.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    IntegrationId, Timestamp,
    connection::{CheckOutcome, CheckStep},
    dialogue::stored_enum,
    source::OwnSource,
    vendor::{FailureKind, VendorError},
};

/// The longest credential, in bytes.
pub const MAX_CREDENTIAL_BYTES: usize = 16_384;
/// The longest settings, in bytes of JSON.
pub const MAX_SETTINGS_BYTES: usize = 65_536;
/// The step of a check whose failure means that the vendor wants other credentials.
pub const CREDENTIALS_STEP: &str = "credentials";

/// What to do when the vendor refuses the credentials.
pub const REPLACE: &str = "give the integration valid credentials with UpdateIntegration, then check it";
/// What to do when the vendor refuses what a person granted.
pub const AUTHORIZE: &str = "authorize the integration with StartAuthorization";

/// A workspace's connection to one vendor, without its credentials.
#[derive(Debug, Clone, PartialEq)]
pub struct Integration {
    /// Its id.
    pub id: IntegrationId,
    /// The vendor's id in the vendors' list.
    pub vendor: String,
    /// A name for people.
    pub display_name: String,
    /// The vendor's own settings, an object; the vendor has checked it.
    pub settings: Value,
    /// Which credentials are set, and since when.
    pub credentials: BTreeMap<String, Timestamp>,
    /// Which state of settings and credentials this is, from 1: what is found out about an older one says nothing any more.
    pub generation: i64,
    /// Whether it works, as far as is known.
    pub health: Health,
    /// What went wrong last. `None`: nothing since it worked or was changed.
    pub last_error: Option<Trouble>,
    /// When it was last checked. `None`: never.
    pub checked_at: Option<Timestamp>,
    /// What a person granted. `None`: nothing.
    pub grant: Option<Grant>,
    /// How its vendor calls us. `None`: it has no secret to do it with.
    pub hook: Option<Hook>,
    /// The source that it asks for, for its chats. `None`: it asks for none.
    pub source: Option<OwnSource>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// What a person granted, without the tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// When the person consented.
    pub granted_at: Timestamp,
    /// When the tokens were renewed last.
    pub refreshed_at: Timestamp,
    /// When the access token stops working. `None`: not told.
    pub expires_at: Option<Timestamp>,
}

/// How an integration's vendor calls us, without the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// The last four characters of the secret that its calls carry.
    pub secret_suffix: String,
    /// When that secret was made.
    pub secret_at: Timestamp,
    /// Whether the vendor is known to call us.
    pub state: HookState,
    /// Why it doesn't.
    pub last_error: Option<String>,
    /// When it was asked last. `None`: never.
    pub checked_at: Option<Timestamp>,
}

stored_enum! {
    /// Whether a vendor calls us, as far as is known.
    HookState {
        /// It was not asked since the secret was made, or is told by hand.
        Pending = "PENDING",
        /// It said so.
        Subscribed = "SUBSCRIBED",
        /// It could not be made to.
        Failed = "FAILED",
    }
}

/// What went wrong with an integration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What, in one sentence without secrets.
    pub detail: String,
    /// What to do about it.
    pub remedy: String,
    /// When.
    pub at: Timestamp,
}

/// Whether an integration works, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It was not tried since it was made or changed.
    Unknown,
    /// It worked when it was last tried.
    Healthy,
    /// A check found something that doesn't work.
    Failing,
    /// The vendor refused the credentials.
    NeedsAuthorization,
}

impl Health {
    const ALL: [Self; 4] = [Self::Unknown, Self::Healthy, Self::Failing, Self::NeedsAuthorization];

    /// Its name in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Healthy => "HEALTHY",
            Self::Failing => "FAILING",
            Self::NeedsAuthorization => "NEEDS_AUTHORIZATION",
        }
    }

    /// Reads its name. `None`: it is none.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|health| health.as_str() == text)
    }
}

/// What is found out about an integration: its health, and the trouble if it has any.
pub type Finding = (Health, Option<Trouble>);

/// What a call tells of the integration it was made with. `None`: nothing. Only a refusal of the credentials is the
/// integration's own trouble; that a vendor is down or busy says nothing of it.
pub fn after_call(result: Result<(), &VendorError>, remedy: &str, at: Timestamp) -> Option<Finding> {
    match result {
        Ok(()) => Some((Health::Healthy, None)),
        Err(error) if error.kind == FailureKind::Unauthorized => {
            let trouble = Trouble { detail: error.to_string(), remedy: remedy.to_owned(), at };
            Some((Health::NeedsAuthorization, Some(trouble)))
        }
        Err(_) => None,
    }
}

/// What a check tells: the first step that failed decides.
pub fn after_check(steps: &[CheckStep], at: Timestamp) -> Finding {
    let Some(failed) = steps.iter().find(|step| step.outcome == CheckOutcome::Failed) else {
        return (Health::Healthy, None);
    };
    let health = if failed.name == CREDENTIALS_STEP { Health::NeedsAuthorization } else { Health::Failing };
    (health, Some(Trouble { detail: failed.detail.clone(), remedy: failed.remedy.clone(), at }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vendor::{Applied, Retry};

    fn step(name: &'static str, outcome: CheckOutcome) -> CheckStep {
        CheckStep { name, outcome, detail: format!("{name} was tried"), remedy: "mend it".to_owned() }
    }

    #[test]
    fn the_first_failed_step_decides() {
        let at = Timestamp::UNIX_EPOCH;
        let (passed, failed) = (CheckOutcome::Passed, CheckOutcome::Failed);
        let of = |steps: &[CheckStep]| after_check(steps, at);
        assert_eq!(of(&[step("address", passed), step("credentials", passed)]), (Health::Healthy, None));
        let (health, trouble) = of(&[step("credentials", failed), step("models", CheckOutcome::Skipped)]);
        assert_eq!(health, Health::NeedsAuthorization);
        assert_eq!(trouble.unwrap().detail, "credentials was tried");
        assert_eq!(of(&[step("address", failed), step("credentials", failed)]).0, Health::Failing);
    }

    #[test]
    fn a_vendor_that_is_down_says_nothing_of_the_integration() {
        let at = Timestamp::UNIX_EPOCH;
        let failed = |kind| VendorError {
            vendor: "x",
            operation: "complete",
            kind,
            http_status: None,
            detail: "no".to_owned(),
            excerpt: None,
            applied: Applied::No,
            retry: Retry::Never,
        };
        assert_eq!(after_call(Err(&failed(FailureKind::Unavailable)), REPLACE, at), None);
        assert_eq!(after_call(Err(&failed(FailureKind::OutOfQuota)), REPLACE, at), None);
        let (health, _) = after_call(Err(&failed(FailureKind::Unauthorized)), REPLACE, at).unwrap();
        assert_eq!(health, Health::NeedsAuthorization);
        assert_eq!(Health::parse(health.as_str()), Some(health));
    }
}
