//! The SDK for TypeScript: npm brings buf, its plugin and the compiler, all pinned by `package-lock.json`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::paths::Paths;
use crate::run;
use crate::server_under_test::ServerUnderTest;

/// The SDK for TypeScript.
pub const SDK: super::Sdk =
    super::Sdk { name: "typescript", needs: &["node", "npm"], lacks, generate, check, smoke };

/// Where the least version stands.
pub(super) const LEAST: (&str, &str) = ("sdk/typescript/package.json", "\"node\": \">=");

fn lacks(paths: &Paths) -> anyhow::Result<Option<String>> {
    let least = super::least(paths, LEAST.0, LEAST.1)?;
    Ok(super::older("node", &least, Command::new("node").arg("--version")))
}

fn generate(paths: &Paths) -> anyhow::Result<()> {
    install(paths)?;
    // `clean: true` of the template removes the old code, and nothing else does.
    let mut buf = program(paths, "buf");
    buf.env("BUF_CACHE_DIR", paths.tool("buf-cache")).arg("generate");
    run::run(&mut buf)
}

fn check(paths: &Paths) -> anyhow::Result<()> {
    install(paths)?;
    run::run(program(paths, "tsc").arg("--noEmit"))
}

fn smoke(paths: &Paths, server: &ServerUnderTest) -> anyhow::Result<()> {
    install(paths)?;
    // What an older compilation left would be run as well.
    let dist = folder(paths).join("dist");
    if dist.exists() {
        fs::remove_dir_all(&dist).with_context(|| format!("removing {}", dist.display()))?;
    }
    run::run(&mut program(paths, "tsc"))?;

    let tests = tests(paths)?;
    if tests.is_empty() {
        bail!("no tests in sdk/typescript/tests");
    }
    let mut node = Command::new("node");
    node.current_dir(folder(paths))
        .env("SWITCHBOARD_ENDPOINT", &server.grpc)
        .env("SWITCHBOARD_API_KEY", &server.api_key)
        .arg("--test")
        .args(tests);
    run::run(&mut node)
}

/// The compiled tests, relative to the SDK. Each is named: Node 20 takes no patterns.
fn tests(paths: &Paths) -> anyhow::Result<Vec<String>> {
    let tests = folder(paths).join("dist/tests");
    let mut names = Vec::new();
    for entry in fs::read_dir(&tests).with_context(|| format!("reading {}", tests.display()))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".test.js") {
            names.push(format!("dist/tests/{name}"));
        }
    }
    names.sort();
    Ok(names)
}

/// Brings what `package-lock.json` pins into `node_modules`. Does nothing when that is there.
fn install(paths: &Paths) -> anyhow::Result<()> {
    let folder = folder(paths);
    let lock = fs::read(folder.join("package-lock.json"))
        .context("reading the package-lock.json of the SDK for TypeScript")?;
    let stamp = folder.join("node_modules/.installed-lock.json");
    if fs::read(&stamp).ok().as_ref() == Some(&lock) {
        return Ok(());
    }
    // Written last and removed first, so that a half-finished installation doesn't count.
    let modules = folder.join("node_modules");
    if modules.exists() {
        fs::remove_dir_all(&modules).with_context(|| format!("removing {}", modules.display()))?;
    }
    let mut npm = Command::new("npm");
    // buf and the compiler lie in packages of their own per platform, so no installing script is needed. Not `npm ci`: it
    // wants every platform's package in the lock file, and mirrors carry those of some platforms only. Versions are exact
    // either way; `--no-save` leaves the lock file as it is committed.
    npm.current_dir(&folder).args([
        "install",
        "--no-save",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--loglevel=error",
    ]);
    run::run(&mut npm)?;
    fs::write(&stamp, lock).with_context(|| format!("writing {}", stamp.display()))
}

/// A program that npm installed, in the SDK's folder.
fn program(paths: &Paths, name: &str) -> Command {
    let folder = folder(paths);
    let mut program = Command::new(folder.join("node_modules/.bin").join(name));
    program.current_dir(folder);
    program
}

fn folder(paths: &Paths) -> PathBuf {
    paths.join("sdk/typescript")
}
