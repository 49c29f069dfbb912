//! How an agent's engine is reached.

use domain::{DialogueId, WorkspaceId, agent::Engine, connection::Connection};

use crate::App;

/// What an engine's notes are kept under: another account at the vendor knows nothing of its conversations.
pub(crate) fn notes_key(engine: &Engine) -> String {
    match engine.integration {
        None => engine.vendor.clone(),
        Some(integration) => format!("{}:{integration}", engine.vendor),
    }
}

impl App {
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
