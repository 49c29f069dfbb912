//! Keys and tokens: how they are made, read and compared.
//!
//! Each begins with its kind and its workspace, so that whoever checks one knows where to look without searching all
//! tenants: `sbk_<workspace, 32 hex digits>_<secret, 43 characters>`. The secret is 32 random bytes, so a plain SHA-256
//! is enough to store.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::Rng;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use crate::WorkspaceId;

/// What a token opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// An operator key: workspaces and their keys.
    OperatorKey,
    /// An API key of a workspace.
    WorkspaceKey,
    /// An agent's token, carried by inbound webhooks.
    Agent,
    /// A channel's token, carried by our deliveries.
    Channel,
    /// A channel's secret, a part of the path that its vendor calls.
    Hook,
    /// The state of an authorization, carried by people whom a vendor sends back.
    Authorization,
}

impl TokenKind {
    const fn prefix(self) -> &'static str {
        match self {
            Self::OperatorKey => "sbo",
            Self::WorkspaceKey => "sbk",
            Self::Agent => "sba",
            Self::Channel => "sbc",
            Self::Hook => "sbh",
            Self::Authorization => "sbs",
        }
    }
}

/// The SHA-256 of a token, which is what we store of those that we only check.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash(pub [u8; 32]);

impl TokenHash {
    /// Hashes a token as its bearer sent it.
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }

    /// Compares in constant time.
    pub fn matches(&self, stored: &[u8]) -> bool {
        self.0.as_slice().ct_eq(stored).into()
    }
}

impl std::fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenHash(…)")
    }
}

/// A fresh token.
#[derive(Debug)]
pub struct NewToken {
    /// The token itself, shown once.
    pub secret: SecretString,
    /// What is stored of it.
    pub hash: TokenHash,
    /// Its last four characters.
    pub suffix: String,
}

/// Makes a token of the workspace.
pub fn issue(kind: TokenKind, workspace: WorkspaceId) -> NewToken {
    let mut bytes = [0; 32];
    rand::rng().fill_bytes(&mut bytes);
    let token = format!("{}_{}_{}", kind.prefix(), workspace.0.simple(), URL_SAFE_NO_PAD.encode(bytes));
    NewToken { hash: TokenHash::of(&token), suffix: suffix(&token), secret: token.into() }
}

/// Makes a Standard Webhooks secret: `whsec_` and 24 random bytes in base64.
/// <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md> (read 2026-11-20)
pub fn issue_signing_secret() -> SecretString {
    let mut bytes = [0; 24];
    rand::rng().fill_bytes(&mut bytes);
    format!("whsec_{}", base64::engine::general_purpose::STANDARD.encode(bytes)).into()
}

/// The last four characters, by which people tell tokens apart.
pub fn suffix(token: &str) -> String {
    let at = token.char_indices().rev().nth(3).map_or(0, |(at, _)| at);
    token[at..].to_owned()
}

/// Reads the workspace out of a token of this kind. `None`: it is not one of ours.
pub fn workspace_of(kind: TokenKind, token: &SecretString) -> Option<WorkspaceId> {
    let rest = token.expose_secret().strip_prefix(kind.prefix())?.strip_prefix('_')?;
    let (workspace, secret) = rest.split_once('_')?;
    if workspace.len() != 32 || secret.len() != 43 {
        return None;
    }
    Uuid::try_parse(workspace).ok().map(WorkspaceId)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_tells_its_workspace_and_only_as_its_own_kind() {
        let workspace = WorkspaceId(Uuid::from_u128(7));
        let token = issue(TokenKind::Agent, workspace);
        assert_eq!(workspace_of(TokenKind::Agent, &token.secret), Some(workspace));
        assert_eq!(workspace_of(TokenKind::WorkspaceKey, &token.secret), None);
        assert!(TokenHash::of(token.secret.expose_secret()).matches(&token.hash.0));
        assert!(token.secret.expose_secret().ends_with(&token.suffix));
        assert_eq!(token.suffix.len(), 4);
    }

    #[test]
    fn garbage_is_nobody_s_token() {
        for text in ["", "sba", "sba_", "sba_1_2", "sba_ü_x", "Bearer x", &"sba_".repeat(30)] {
            assert_eq!(workspace_of(TokenKind::Agent, &text.to_owned().into()), None, "{text}");
        }
        assert_eq!(suffix("ab"), "ab");
        assert_eq!(suffix("äöüß1"), "öüß1");
    }
}
