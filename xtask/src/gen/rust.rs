//! The Rust half of the contract: `sdk/rust/src/gen`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use protox::Compiler;

use crate::paths::Paths;
use crate::sync::sync;

/// The folder that is written, relative to the checkout. Nothing in it is written by hand.
pub const FOLDER: &str = "sdk/rust/src/gen";

/// Writes messages, clients and server traits, and the descriptor set that reflection serves.
///
/// The same contract gives the same bytes: files are read in the order of their names and maps are ordered.
pub fn run(paths: &Paths) -> anyhow::Result<()> {
    let fresh = tempfile::tempdir().context("making a folder for new code")?;
    let folder = fresh.path();
    let files = proto_files(&paths.proto())?;

    // Comments become documentation here. Custom options are lost in these decoded descriptors, but the generator
    // doesn't need them.
    let mut with_comments = Compiler::new([paths.proto()])?;
    with_comments.include_imports(true).include_source_info(true).open_files(&files)?;
    tonic_prost_build::configure()
        .out_dir(folder)
        .btree_map(".")
        .bytes(".switchboard.v1.InboundWebhook.body")
        .build_client(true)
        .build_server(true)
        .client_mod_attribute(".", "#[cfg(feature = \"client\")]")
        .server_mod_attribute(".", "#[cfg(feature = \"server\")]")
        .compile_fds(with_comments.file_descriptor_set())
        .context("writing Rust code")?;

    // Reflection and validators want options, which only the encoded set keeps, and have no use for comments.
    let mut without_comments = Compiler::new([paths.proto()])?;
    without_comments.include_imports(true).include_source_info(false).open_files(&files)?;
    let descriptors = folder.join("descriptor.binpb");
    fs::write(&descriptors, without_comments.encode_file_descriptor_set())
        .with_context(|| format!("writing {}", descriptors.display()))?;
    sync(folder, &paths.join(FOLDER))
}

/// The contract's files relative to `proto`, in the order of their names.
fn proto_files(proto: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let folder = proto.join("switchboard/v1");
    let mut files = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path.strip_prefix(proto)?.to_path_buf());
        }
    }
    files.sort();
    Ok(files)
}
