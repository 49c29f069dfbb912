//! How an agent's engine is reached.

use domain::{
    DialogueId, Error as Refusal, Reason, WorkspaceId, agent::Engine, connection::Connection,
    engine::HookError, inbound::RawRequest, vendor::VerifyError,
};

use crate::{App, Error};

/// What an engine's notes are kept under: another account at the vendor knows nothing of its conversations.
pub(crate) fn notes_key(engine: &Engine) -> String {
    match engine.integration {
        None => engine.vendor.clone(),
        Some(integration) => format!("{}:{integration}", engine.vendor),
    }
}

impl App {
    /// Takes a call by which an engine's vendor says that what it worked on has come to something. The turn that waits for
    /// it is looked after at once. `urls`: what the vendor may have called.
    ///
    /// It is for the operator's own account there; a vendor that makes no calls is as unknown as any other.
    pub async fn engine_hook(&self, vendor: &str, raw: RawRequest, urls: &[String]) -> Result<(), Error> {
        let unknown = || Refusal::new(Reason::RouteNotFound, "no engine is called back here; see /docs");
        let engine = self.inner.vendors.get(vendor).and_then(|vendor| vendor.engine.clone());
        let hook = engine.as_deref().and_then(|engine| engine.hook()).ok_or_else(unknown)?;
        let connection = self.inner.settings.engines.get(vendor).ok_or_else(unknown)?;
        let part = match hook.read(connection, &raw, urls, self.now()).await {
            Ok(part) => part,
            Err(HookError::Unverified(VerifyError::Missing)) => {
                return Err(Refusal::new(Reason::AuthMissing, "the vendor's signature is required").into());
            }
            Err(HookError::Unverified(VerifyError::Mismatch)) => {
                let detail = "the vendor's signature does not match, or was made too long ago";
                return Err(Refusal::new(Reason::SignatureInvalid, detail).into());
            }
            Err(HookError::NoKey(error)) => {
                tracing::warn!(vendor, error = %error, "a vendor's key could not be read; its call is refused");
                let detail = "the vendor's key could not be read; try again later";
                return Err(Refusal::new(Reason::Unavailable, detail).into());
            }
            Err(HookError::NotUnderstood) => {
                return Err(Refusal::field(
                    Reason::FieldInvalid,
                    "body",
                    "is not what the vendor's API promises",
                )
                .into());
            }
        };
        if let Some(part) = part {
            let found = store::engine_notes::find_by(self.store().pool(), vendor, &part).await?;
            self.wake_turns(&found).await;
        }
        Ok(())
    }

    /// Has the turns looked after soon that wait for their engine in these dialogues: something happened to them, or to
    /// what the engine works on. When this fails they wait until they are due.
    pub(crate) async fn wake_turns(&self, dialogues: &[(WorkspaceId, DialogueId)]) {
        match store::waits::wake(self.store().pool(), dialogues, self.now()).await {
            Ok(()) => self.inner.hub.tell_work(),
            Err(error) => {
                tracing::debug!(error = %error, "waiting turns could not be woken; they are looked after when due");
            }
        }
    }

    /// Gives the connection that an agent's engine is called with. The error says what to do.
    pub(crate) fn connection(&self, engine: &Engine) -> Result<Connection, String> {
        let vendor = self.inner.vendors.get(&engine.vendor);
        if vendor.is_none_or(|vendor| vendor.connector.is_none()) {
            return Ok(Connection::default());
        }
        self.inner.settings.engines.get(&engine.vendor).cloned().ok_or_else(|| {
            let variable = engine.vendor.to_uppercase();
            format!("the server has no account at {}; the operator sets {variable}_API_KEY", engine.vendor)
        })
    }
}
