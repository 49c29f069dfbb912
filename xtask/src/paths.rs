//! Where things are in the checkout and outside of it.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// The folders that every task needs.
#[derive(Debug, Clone)]
pub struct Paths {
    /// The checkout: the folder of the workspace's `Cargo.toml`.
    pub root: PathBuf,
    /// Cargo's target directory; honours `CARGO_TARGET_DIR`. Tools and their caches live in `tools` under it, so that a
    /// cached target directory brings them along.
    pub target: PathBuf,
}

impl Paths {
    /// Finds them: the checkout from where this crate was compiled, the target directory from the environment.
    ///
    /// # Errors
    ///
    /// When `CARGO_TARGET_DIR` is relative and the working directory can't be read.
    pub fn find() -> anyhow::Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("xtask has no folder above it")?
            .to_path_buf();
        let target = match env::var_os("CARGO_TARGET_DIR") {
            // Cargo reads a relative directory from where it was called, which is where this process is.
            Some(directory) if !directory.is_empty() => std::path::absolute(directory)?,
            _ => root.join("target"),
        };
        Ok(Self { root, target })
    }

    /// The folder of a tool and its caches. It is not created.
    pub fn tool(&self, name: &str) -> PathBuf {
        self.target.join("tools").join(name)
    }

    /// The contract: the folder that imports in `.proto` files are relative to.
    pub fn proto(&self) -> PathBuf {
        self.root.join("proto")
    }

    /// A path in the checkout, from its `/`-separated name.
    pub fn join(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }
}
