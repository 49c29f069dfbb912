//! OAuth 2.0: how a person lets us into their account at a vendor. Values in, values out: what is stored, when it is renewed
//! and by whom is `app`'s business.

use std::collections::BTreeMap;

use async_trait::async_trait;
use secrecy::SecretString;
use serde_json::Value;

use crate::{Timestamp, connection::Connection, vendor::VendorError};

/// The credential under which a connection carries the access token.
pub const ACCESS_TOKEN: &str = "access_token";

/// Lets people authorize us, and renews what they gave.
#[async_trait]
pub trait OAuthProvider: Send + Sync {
    /// Whether the vendor knows PKCE (RFC 7636).
    fn pkce(&self) -> bool;

    /// Where the vendor sends people back to, out of the settings.
    fn redirect_url(&self, connection: &Connection) -> String;

    /// The page on which a person consents. `challenge` is the PKCE challenge (S256), where the vendor knows it.
    fn authorize_url(&self, connection: &Connection, state: &str, challenge: Option<&str>) -> String;

    /// Exchanges the code that a person came back with. Never retries by itself: a code works once.
    async fn exchange(&self, connection: &Connection, consent: &Consent) -> Result<Tokens, VendorError>;

    /// Renews a pair. Never retries by itself. An error of the kind `Unauthorized` means that this refresh token is spent or
    /// revoked.
    async fn refresh(
        &self,
        connection: &Connection,
        refresh: &SecretString,
        now: Timestamp,
    ) -> Result<Tokens, VendorError>;

    /// Asks whether the account has moved to another address since the settings were made: what it may mean that nothing of it is
    /// found. Gives the settings that lead there. `None`: it hasn't, or its vendor never does that.
    async fn moved(
        &self,
        _connection: &Connection,
        _access: &SecretString,
        _refresh: Option<&SecretString>,
    ) -> Result<Option<Value>, VendorError> {
        Ok(None)
    }
}

/// What a person came back with.
#[derive(Debug, Clone)]
pub struct Consent {
    /// The code.
    pub code: SecretString,
    /// The PKCE verifier that belongs to it.
    pub verifier: Option<SecretString>,
    /// The other parameters of the callback.
    pub parameters: BTreeMap<String, String>,
    /// When they came.
    pub now: Timestamp,
}

/// A pair of tokens.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// What calls carry.
    pub access: SecretString,
    /// What renews the pair. `None`: it can't be renewed.
    pub refresh: Option<SecretString>,
    /// When the access token stops working. `None`: not told.
    pub expires_at: Option<Timestamp>,
}
