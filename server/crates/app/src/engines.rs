//! How an agent's engine is reached.

use domain::{agent::Engine, connection::Connection};

use crate::App;

impl App {
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
