//! Workspaces, and the keys that open them.

use std::{collections::BTreeSet, fmt, str::FromStr};

use crate::{ApiKeyId, Error, Reason, Timestamp, WorkspaceId, budget::Budget};

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workspace {
    /// Its id.
    pub id: WorkspaceId,
    /// A name for people.
    pub display_name: String,
    /// What the calls of engines of all its agents may use together.
    pub budgets: Vec<Budget>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// The record of an API key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Its id.
    pub id: ApiKeyId,
    /// The workspace it opens; [`WorkspaceId::OPERATOR`] for operator keys.
    pub workspace: WorkspaceId,
    /// A name for people.
    pub display_name: String,
    /// What it may do. Empty for operator keys, which have no scopes.
    pub scopes: Scopes,
    /// The key's last four characters.
    pub suffix: String,
    /// When it stops working. `None`: never.
    pub expires_at: Option<Timestamp>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was revoked. `None`: it was not.
    pub revoked_at: Option<Timestamp>,
}

/// A part of the API that scopes speak of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "named like the services")]
pub enum Service {
    Agents,
    Channels,
    Dialogues,
    Webhooks,
    Events,
    Integrations,
    Crm,
    Sources,
    Workspaces,
}

impl Service {
    /// Every one.
    pub const ALL: [Self; 9] = [
        Self::Agents,
        Self::Channels,
        Self::Dialogues,
        Self::Webhooks,
        Self::Events,
        Self::Integrations,
        Self::Crm,
        Self::Sources,
        Self::Workspaces,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Agents => "agents",
            Self::Channels => "channels",
            Self::Dialogues => "dialogues",
            Self::Webhooks => "webhooks",
            Self::Events => "events",
            Self::Integrations => "integrations",
            Self::Crm => "crm",
            Self::Sources => "sources",
            Self::Workspaces => "workspaces",
        }
    }
}

/// How far a scope goes. Each level includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "named like the levels")]
pub enum Level {
    Read,
    Write,
    Admin,
}

impl Level {
    const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Admin];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

/// One right: `agents:read`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope(pub Service, pub Level);

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0.as_str(), self.1.as_str())
    }
}

impl FromStr for Scope {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (service, level) = text.split_once(':').ok_or(())?;
        let service = Service::ALL.into_iter().find(|each| each.as_str() == service).ok_or(())?;
        let level = Level::ALL.into_iter().find(|each| each.as_str() == level).ok_or(())?;
        Ok(Self(service, level))
    }
}

/// The rights of a key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scopes(BTreeSet<Scope>);

impl Scopes {
    /// All there are.
    pub fn all() -> Self {
        Self(Service::ALL.into_iter().map(|service| Scope(service, Level::Admin)).collect())
    }

    /// Whether it includes this right.
    pub fn allow(&self, wanted: Scope) -> bool {
        self.0.iter().any(|scope| scope.0 == wanted.0 && scope.1 >= wanted.1)
    }

    /// The first right of `wanted` that is not included here. `None`: all are.
    pub fn lacking(&self, wanted: &Self) -> Option<Scope> {
        wanted.0.iter().copied().find(|scope| !self.allow(*scope))
    }

    /// Reads them from their names.
    ///
    /// # Errors
    /// `FIELD_INVALID` on `api_key.scopes`, naming the first that is none.
    pub fn parse<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, Error> {
        names
            .into_iter()
            .map(|name| {
                name.parse().map_err(|()| {
                    Error::field(
                        Reason::FieldInvalid,
                        "api_key.scopes",
                        "each is <service>:<read|write|admin>, with agents, channels, dialogues, webhooks, events, \
                         integrations, crm, sources or workspaces as the service",
                    )
                })
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Their names.
    pub fn names(&self) -> Vec<String> {
        self.0.iter().map(Scope::to_string).collect()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_includes_those_below_it_and_no_other_service() {
        let scopes = Scopes::parse(["agents:write", "channels:read"]).unwrap();
        assert!(scopes.allow(Scope(Service::Agents, Level::Read)));
        assert!(!scopes.allow(Scope(Service::Agents, Level::Admin)));
        assert!(!scopes.allow(Scope(Service::Channels, Level::Write)));
        assert_eq!(
            scopes.lacking(&Scopes::parse(["channels:write"]).unwrap()).unwrap().to_string(),
            "channels:write"
        );
        assert!(Scopes::parse(["agents"]).is_err() && Scopes::parse(["agents:own"]).is_err());
    }
}
