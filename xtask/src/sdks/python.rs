//! The SDK for Python: a virtual environment with the generator and gRPC, all pinned by `requirements-dev.txt`.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context as _;

use crate::paths::Paths;
use crate::run;
use crate::server_under_test::ServerUnderTest;
use crate::sync::sync;

/// The SDK for Python.
pub const SDK: super::Sdk = super::Sdk { name: "python", needs: &["python3"], lacks, generate, check, smoke };

/// Where the least version stands.
pub(super) const LEAST: (&str, &str) = ("sdk/python/pyproject.toml", "requires-python = \">=");

/// What the contract's files are relative to `proto`, and their code relative to `gen`.
const PACKAGE: &str = "switchboard/v1";

/// Every module that a user may import; one that fails to import fails the check.
const IMPORT: &str = "import importlib, pathlib, switchboard_sdk
for file in sorted(pathlib.Path('gen/switchboard/v1').glob('*.py')):
    importlib.import_module('switchboard.v1.' + file.stem)";

fn lacks(paths: &Paths) -> anyhow::Result<Option<String>> {
    let least = super::least(paths, LEAST.0, LEAST.1)?;
    let older = super::older("python3", &least, Command::new("python3").arg("--version"));
    Ok(older.or_else(|| without_venv(&mut Command::new("python3"))))
}

/// Debian keeps `ensurepip` in a package of its own; without it `venv` is there and fails.
fn without_venv(python: &mut Command) -> Option<String> {
    let tried = run::capture(python.args(["-c", "import ensurepip, venv"]));
    tried.is_err().then(|| "needs python3 with venv; on Debian the package python3-venv".to_owned())
}

fn generate(paths: &Paths) -> anyhow::Result<()> {
    install(paths)?;
    let mut files = Vec::new();
    let contract = paths.proto().join(PACKAGE);
    for entry in fs::read_dir(&contract).with_context(|| format!("reading {}", contract.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path.strip_prefix(paths.proto())?.to_path_buf());
        }
    }
    files.sort();

    let fresh = tempfile::tempdir().context("making a folder for new code")?;
    let mut protoc = python(paths)?;
    protoc.args(["-m", "grpc_tools.protoc", "-I"]).arg(paths.proto());
    for output in ["--python_out", "--pyi_out", "--grpc_python_out"] {
        protoc.arg(output).arg(fresh.path());
    }
    run::run(protoc.args(files))?;

    // All of it, with the compiled files that an interpreter may have left there.
    let generated = folder(paths).join("gen");
    if generated.exists() {
        fs::remove_dir_all(&generated).with_context(|| format!("removing {}", generated.display()))?;
    }
    sync(&fresh.path().join(PACKAGE), &generated.join(PACKAGE))
}

fn check(paths: &Paths) -> anyhow::Result<()> {
    install(paths)?;
    run::run(python(paths)?.args(["-m", "compileall", "-q", "gen", "src", "tests"]))?;
    run::run(python(paths)?.args(["-W", "error", "-c", IMPORT]))
}

fn smoke(paths: &Paths, server: &ServerUnderTest) -> anyhow::Result<()> {
    install(paths)?;
    let on_server = |command: &mut Command| {
        run::run(
            command.env("SWITCHBOARD_ENDPOINT", &server.grpc).env("SWITCHBOARD_API_KEY", &server.api_key),
        )
    };
    on_server(python(paths)?.args(["-m", "unittest", "discover", "--start-directory", "tests"]))?;
    // Without the SDK in reach: it must do with what the server says of itself.
    on_server(python(paths)?.env_remove("PYTHONPATH").arg("tests/reflection_no_stubs.py"))
}

/// Makes the virtual environment, unless it was made from the same requirements.
fn install(paths: &Paths) -> anyhow::Result<()> {
    let requirements = folder(paths).join("requirements-dev.txt");
    let wanted = fs::read(&requirements).with_context(|| format!("reading {}", requirements.display()))?;
    // Inside the environment, so that making it anew removes the stamp first.
    let environment = environment(paths);
    let stamp = environment.join("requirements");
    if fs::read(&stamp).ok().as_ref() == Some(&wanted) {
        return Ok(());
    }
    run::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment))
        .context("making a virtual environment")?;
    run::run(
        python(paths)?
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"])
            .arg(&requirements),
    )?;
    fs::write(&stamp, wanted).with_context(|| format!("writing {}", stamp.display()))
}

/// The interpreter of the virtual environment, with the SDK in reach. Compiled files stay out of the checkout.
fn python(paths: &Paths) -> anyhow::Result<Command> {
    let sdk = folder(paths);
    let mut command = Command::new(environment(paths).join("bin/python"));
    command
        .current_dir(&sdk)
        .env("PYTHONPATH", env::join_paths([sdk.join("gen"), sdk.join("src")])?)
        .env("PYTHONPYCACHEPREFIX", paths.tool("python-cache"));
    Ok(command)
}

fn environment(paths: &Paths) -> PathBuf {
    paths.tool("python")
}

fn folder(paths: &Paths) -> PathBuf {
    paths.join("sdk/python")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_python_without_venv_is_named() {
        // Any program that fails does for one whose import fails.
        assert_eq!(
            without_venv(&mut Command::new("false")).unwrap(),
            "needs python3 with venv; on Debian the package python3-venv"
        );
        assert_eq!(without_venv(&mut Command::new("true")), None);
    }
}
