//! OAuth 2.0: how a person lets a workspace into an account at a vendor, and how what was granted is kept; [`renewal`] keeps
//! it alive.

pub(crate) mod renewal;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::{
    Error as Refusal, IntegrationId, Reason, Timestamp, WorkspaceId,
    connection::Connection,
    integration::{Health, Integration},
    oauth::{Consent, OAuthProvider, Tokens},
    token::{self, TokenHash, TokenKind, workspace_of},
    workspace::{Level, Service},
};
use rand::Rng as _;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use store::{
    grants::{NewPair, SealedGrant, State},
    integrations::{Keep, SealedIntegration},
};

use crate::{App, Caller, Error, integrations::not_found};

/// Where a grant's own key is sealed.
pub(crate) const DATA_KEY: &str = "integration_grants.data_key";
/// Where its tokens are.
const TOKENS: &str = "integration_grants.tokens";
/// Where the PKCE verifier of an authorization under way is sealed.
const VERIFIER: &str = "oauth_states.verifier";

/// How long a person may take to consent.
const CONSENT_TAKES: Duration = Duration::from_mins(10);
/// An access token that has less left than this counts as expired: a call takes its time.
const MARGIN: Duration = Duration::from_mins(1);
/// When a pair is renewed though nobody uses it.
const IDLE: Duration = Duration::from_hours(30 * 24);
/// When a pair is renewed that has nothing to be renewed with, and no end.
const NEVER: Duration = Duration::from_hours(24 * 365 * 100);
/// A pair, as it is sealed.
#[derive(Serialize, Deserialize)]
struct Pair {
    access: String,
    refresh: Option<String>,
    /// The refresh token before this one, until this one is proven.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous: Option<String>,
}

impl Pair {
    fn of(tokens: &Tokens, previous: Option<&str>) -> Self {
        Self {
            access: tokens.access.expose_secret().to_owned(),
            refresh: tokens.refresh.as_ref().map(|token| token.expose_secret().to_owned()),
            previous: previous.map(ToOwned::to_owned),
        }
    }
}

fn invalid(detail: &str) -> Refusal {
    Refusal::new(Reason::AuthorizationInvalid, format!("{detail}; begin anew with StartAuthorization"))
}

/// When a pair is to be renewed: with a tenth of its life left, at least two margins before its end, and at the latest after
/// thirty days. One without a refresh token only ends, if it ever does; that the vendor refuses it brings the moment forward.
fn due_at(tokens: &Tokens, now: Timestamp) -> Timestamp {
    if tokens.refresh.is_none() {
        return tokens.expires_at.map_or(now + NEVER, |at| (at - MARGIN).max(now));
    }
    let idle = now + IDLE;
    let Some(expires_at) = tokens.expires_at else { return idle };
    let life = Duration::try_from(expires_at - now).unwrap_or_default();
    (expires_at - (life / 10).max(2 * MARGIN).min(life / 2)).min(idle)
}

impl App {
    fn provider(&self, vendor: &str) -> Result<Arc<dyn OAuthProvider>, Refusal> {
        let provider = self.inner.vendors.get(vendor).and_then(|vendor| vendor.oauth.clone());
        provider.ok_or_else(|| {
            let detail = format!("{vendor} is not authorized by a person; give it its credentials");
            Refusal::new(Reason::CapabilityMissing, detail).with("vendor", vendor)
        })
    }

    fn plain(&self, workspace: WorkspaceId, sealed: &SealedIntegration) -> Result<Connection, Error> {
        let settings = sealed.integration.settings.clone();
        Ok(Connection { settings, credentials: self.open(workspace, sealed)?, gate: None })
    }

    /// Gives the page on which a person lets the workspace into an account, and until when it is good.
    pub async fn start_authorization(
        &self,
        caller: &Caller,
        id: IntegrationId,
    ) -> Result<(String, Timestamp), Error> {
        let workspace = caller.require(Service::Integrations, Level::Write)?;
        let mut tx = self.store().workspace(workspace).await?;
        let sealed = store::integrations::find(&mut tx, workspace, id, Keep::There).await?;
        let sealed = sealed.ok_or_else(|| not_found(id))?;
        let provider = self.provider(&sealed.integration.vendor)?;
        let connection = self.plain(workspace, &sealed)?;
        let state = token::issue(TokenKind::Authorization, workspace);
        let verifier = provider.pkce().then(|| {
            let mut bytes = [0; 32];
            rand::rng().fill_bytes(&mut bytes);
            SecretString::from(URL_SAFE_NO_PAD.encode(bytes))
        });
        let challenge = verifier
            .as_ref()
            .map(|verifier| URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.expose_secret().as_bytes())));
        let seal = |verifier| self.inner.sealer.seal(workspace, id.0, VERIFIER, verifier);
        let now = self.now();
        let begun = State {
            integration_id: id.0,
            redirect_url: provider.redirect_url(&connection),
            verifier_sealed: verifier.as_ref().map(seal).transpose()?,
            expires_at: now + CONSENT_TAKES,
            used_at: None,
        };
        store::grants::begin(&mut tx, workspace, &state.hash.0, &begun, now - Duration::from_hours(24))
            .await?;
        store::commit(tx).await?;
        let url = provider.authorize_url(&connection, state.secret.expose_secret(), challenge.as_deref());
        Ok((url, begun.expires_at))
    }

    /// Takes a person who comes back from a vendor's page, with the parameters that the vendor gave them.
    pub async fn finish_authorization(
        &self,
        mut parameters: BTreeMap<String, String>,
    ) -> Result<Integration, Error> {
        let state: SecretString =
            parameters.remove("state").ok_or_else(|| invalid("the vendor sent no state"))?.into();
        let unknown = || invalid("nobody here began this authorization");
        // A state names its workspace, and is good there alone.
        let workspace = workspace_of(TokenKind::Authorization, &state).ok_or_else(unknown)?;
        let now = self.now();
        let mut tx = self.store().workspace(workspace).await?;
        let hash = TokenHash::of(state.expose_secret());
        let begun = store::grants::end(&mut tx, workspace, &hash.0, now).await?;
        // It is used from now on, whatever comes of it.
        store::commit(tx).await?;
        let begun = begun.ok_or_else(unknown)?;
        if begun.used_at.is_some() {
            return Err(invalid("this authorization was used before").into());
        }
        if begun.expires_at <= now {
            return Err(invalid("this authorization took longer than ten minutes").into());
        }
        let id: IntegrationId = begun.integration_id.into();
        let mut tx = self.store().workspace(workspace).await?;
        let sealed = store::integrations::find(&mut tx, workspace, id, Keep::Free).await?;
        store::commit(tx).await?;
        let sealed = sealed.ok_or_else(|| invalid("the integration was deleted meanwhile"))?;
        let provider = self.provider(&sealed.integration.vendor)?;
        let connection = self.plain(workspace, &sealed)?;
        if provider.redirect_url(&connection) != begun.redirect_url {
            return Err(invalid("the integration's redirect address was changed meanwhile").into());
        }
        if let Some(error) = parameters.get("error") {
            // A vendor's word, such as access_denied; what is longer or stranger is not repeated.
            let plain =
                error.len() <= 64 && error.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            let error = if plain { error } else { "an error" };
            let detail = format!("the vendor answered {error}; nothing was granted");
            return Err(Refusal::new(Reason::AuthorizationRefused, detail).with("error", error).into());
        }
        let code = parameters.remove("code").filter(|code| !code.is_empty());
        let code = code.ok_or_else(|| invalid("the vendor sent no code"))?;
        let verifier = begun.verifier_sealed.as_ref();
        let verifier =
            verifier.map(|sealed| self.inner.sealer.open(workspace, id.0, VERIFIER, sealed)).transpose()?;
        let consent = Consent { code: code.into(), verifier, parameters, now };
        // The code is spent once the vendor has it: what it gives is kept, though the browser be gone.
        let app = self.clone();
        let kept = self.promise(async move {
            let tokens = provider.exchange(&connection, &consent).await.map_err(Error::Vendor)?;
            app.keep_grant(workspace, id, &tokens).await
        });
        kept.await
    }

    async fn keep_grant(
        &self,
        workspace: WorkspaceId,
        id: IntegrationId,
        tokens: &Tokens,
    ) -> Result<Integration, Error> {
        let (mut tx, mut sealed) = self.lock_integration(workspace, id).await?;
        let pair = self.seal_pair(workspace, id, tokens, None)?;
        store::grants::grant(&mut tx, workspace, id, &pair).await?;
        // What was found out without this grant says nothing any more.
        let integration = &mut sealed.integration;
        integration.generation += 1;
        let changed = integration.health != Health::Healthy;
        integration.health = Health::Healthy;
        integration.last_error = None;
        integration.updated_at = self.now();
        if changed {
            self.tell_health(&mut tx, workspace, id, &(Health::Healthy, None)).await?;
        }
        self.hurry_source(&mut tx, workspace, &sealed.integration).await?;
        self.save_integration(tx, workspace, sealed).await
    }

    fn seal_pair(
        &self,
        workspace: WorkspaceId,
        id: IntegrationId,
        tokens: &Tokens,
        previous: Option<&str>,
    ) -> Result<NewPair, Error> {
        let (key, data_key) = self.inner.sealer.fresh_data_key(workspace, id.0, DATA_KEY)?;
        let plain = serde_json::to_string(&Pair::of(tokens, previous)).expect("a pair is plain JSON");
        let now = self.now();
        Ok(NewPair {
            tokens: key.seal(workspace, id.0, TOKENS, &plain.into())?,
            data_key,
            expires_at: tokens.expires_at,
            refresh_due_at: due_at(tokens, now),
            at: now,
        })
    }

    fn open_pair(
        &self,
        workspace: WorkspaceId,
        id: IntegrationId,
        grant: &SealedGrant,
    ) -> Result<Pair, Error> {
        let key = self.inner.sealer.open_data_key(workspace, id.0, DATA_KEY, &grant.data_key)?;
        let plain = key.open(workspace, id.0, TOKENS, &grant.tokens)?;
        serde_json::from_str(plain.expose_secret())
            .map_err(|_| Error::Sealing("the tokens of an integration are not what was sealed"))
    }

    /// Seals a grant anew under a fresh key: as it is, or, once it is proven, without the token before it.
    pub(crate) async fn reseal_grant(
        &self,
        tx: &mut store::Tx,
        workspace: WorkspaceId,
        id: IntegrationId,
        proven: Option<i64>,
    ) -> Result<(), Error> {
        let Some(grant) = store::grants::find(tx, workspace, id, true).await? else { return Ok(()) };
        if proven.is_some_and(|version| version != grant.version || grant.proven) {
            return Ok(());
        }
        let mut pair = self.open_pair(workspace, id, &grant)?;
        if proven.is_some() {
            pair.previous = None;
        }
        let (key, data_key) = self.inner.sealer.fresh_data_key(workspace, id.0, DATA_KEY)?;
        let plain = serde_json::to_string(&pair).expect("a pair is plain JSON");
        let tokens = key.seal(workspace, id.0, TOKENS, &plain.into())?;
        let proven = proven.is_some() || grant.proven;
        store::grants::reseal(tx, workspace, id, &data_key, &tokens, proven).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_renewed_ahead_of_its_end_and_at_least_every_thirty_days() {
        let now = Timestamp::UNIX_EPOCH;
        let due = |life: Option<Duration>| {
            let expires_at = life.map(|life| now + life);
            let refresh = Some("r".to_owned().into());
            let tokens = Tokens { access: "a".to_owned().into(), refresh, expires_at };
            Duration::try_from(due_at(&tokens, now) - now).unwrap()
        };
        assert_eq!(due(Some(Duration::from_hours(24))), Duration::from_mins(24 * 54));
        assert_eq!(due(Some(Duration::from_mins(10))), Duration::from_mins(8));
        assert_eq!(due(Some(Duration::from_mins(2))), Duration::from_mins(1));
        assert_eq!(due(Some(Duration::from_hours(24 * 365))), IDLE);
        assert_eq!(due(None), IDLE);
        // What nobody can renew is good until its end.
        let alone = |life: Option<Duration>| {
            let expires_at = life.map(|life| now + life);
            let tokens = Tokens { access: "a".to_owned().into(), refresh: None, expires_at };
            Duration::try_from(due_at(&tokens, now) - now).unwrap()
        };
        assert_eq!(alone(None), NEVER);
        let year = Duration::from_hours(24 * 365);
        assert_eq!(alone(Some(year)) + MARGIN, year);
        assert_eq!(alone(Some(Duration::ZERO)), Duration::ZERO);
    }
}
