//! The SDKs in other languages than Rust: how each is generated, checked and tried.

mod go;
mod python;
mod typescript;

use crate::paths::Paths;
use crate::server_under_test::ServerUnderTest;

/// One SDK.
pub struct Sdk {
    /// Its language, which is also its folder in `sdk/`.
    pub name: &'static str,
    /// Programs that must be on `PATH`.
    pub needs: &'static [&'static str],
    /// Writes its generated code.
    pub generate: fn(&Paths) -> anyhow::Result<()>,
    /// Checks types and format.
    pub check: fn(&Paths) -> anyhow::Result<()>,
    /// Runs its example against a server.
    pub smoke: fn(&Paths, &ServerUnderTest) -> anyhow::Result<()>,
}

/// Every SDK, in the order in which they are checked.
pub fn all() -> &'static [Sdk] {
    &[go::SDK, python::SDK, typescript::SDK]
}
