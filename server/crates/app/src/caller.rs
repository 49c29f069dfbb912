//! Who asks, and what they may.

use std::{sync::Arc, time::Duration};

use domain::{
    Error as Refusal, Reason, WorkspaceId,
    token::{TokenHash, TokenKind, workspace_of},
    workspace::{ApiKey, Level, Scope, Scopes, Service},
};
use moka::sync::Cache;
use secrecy::{ExposeSecret, SecretString};

use crate::{App, Error};

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// The operator of the server: workspaces and their keys, nothing inside them.
    Operator,
    /// A key of a workspace.
    Workspace {
        /// Which.
        workspace: WorkspaceId,
        /// What it may.
        scopes: Scopes,
    },
}

impl Caller {
    /// The workspace that the caller works in, if its key has this right.
    ///
    /// # Errors
    /// `SCOPE_MISSING`, naming the scope.
    pub fn require(&self, service: Service, level: Level) -> Result<WorkspaceId, Refusal> {
        let scope = Scope(service, level);
        match self {
            Self::Workspace { workspace, scopes } if scopes.allow(scope) => Ok(*workspace),
            Self::Workspace { .. } => Err(missing(scope)),
            Self::Operator => Err(missing(scope).with("key", "operator")),
        }
    }
}

pub(crate) fn missing(scope: Scope) -> Refusal {
    Refusal::new(Reason::ScopeMissing, format!("this call needs the scope {scope}"))
        .with("scope", scope.to_string())
}

/// Which keys are known, by their hashes. Short-lived, and emptied whenever any configuration changes.
pub(crate) type KeyCache = Cache<[u8; 32], Arc<ApiKey>>;

pub(crate) fn new_cache() -> KeyCache {
    Cache::builder().max_capacity(10_000).time_to_live(Duration::from_secs(30)).build()
}

impl App {
    /// Finds out who bears this `Authorization` header's value.
    ///
    /// # Errors
    /// `AUTH_MISSING`, `AUTH_MALFORMED`, `TOKEN_UNKNOWN`.
    pub async fn authenticate(&self, authorization: Option<&str>) -> Result<Caller, Error> {
        let header = authorization.ok_or_else(|| {
            Refusal::new(Reason::AuthMissing, "the header authorization is required: Bearer <API key>")
        })?;
        let token = bearer(header)?;
        let unknown =
            || Refusal::new(Reason::TokenUnknown, "the API key was not found; check it, or create a new one");
        let workspace = match workspace_of(TokenKind::WorkspaceKey, &token) {
            Some(workspace) => workspace,
            None => workspace_of(TokenKind::OperatorKey, &token).ok_or_else(unknown)?,
        };
        let hash = TokenHash::of(token.expose_secret());
        let key = if let Some(key) = self.inner.keys.get(&hash.0) {
            key
        } else {
            let mut tx = self.store().workspace(workspace).await?;
            let key = store::workspaces::find_key_by_hash(&mut tx, workspace, hash).await?;
            store::commit(tx).await?;
            let key = Arc::new(key.ok_or_else(unknown)?);
            self.inner.keys.insert(hash.0, Arc::clone(&key));
            key
        };
        if key.revoked_at.is_some() || key.expires_at.is_some_and(|at| at <= self.now()) {
            return Err(unknown().into());
        }
        Ok(if key.workspace == WorkspaceId::OPERATOR {
            Caller::Operator
        } else {
            Caller::Workspace { workspace: key.workspace, scopes: key.scopes.clone() }
        })
    }
}

/// Reads `Bearer <token>`.
///
/// # Errors
/// `AUTH_MALFORMED`.
pub fn bearer(header: &str) -> Result<SecretString, Refusal> {
    match header.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty() => {
            Ok(token.trim().to_owned().into())
        }
        _ => Err(Refusal::new(
            Reason::AuthMalformed,
            "Invalid authorization header format; expected: Bearer <token>",
        )),
    }
}
