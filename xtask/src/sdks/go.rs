//! The SDK for Go: buf drives the two plugins that its `go.mod` pins.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::paths::Paths;
use crate::run;
use crate::server_under_test::ServerUnderTest;

/// The SDK for Go.
pub const SDK: super::Sdk = super::Sdk { name: "go", needs: &["go", "npm"], lacks, generate, check, smoke };

/// Where the least version stands.
pub(super) const LEAST: (&str, &str) = ("sdk/go/go.mod", "\ngo ");

/// The plugins, as `go.mod` declares them with `tool`.
const PLUGINS: [&str; 2] =
    ["google.golang.org/protobuf/cmd/protoc-gen-go", "google.golang.org/grpc/cmd/protoc-gen-go-grpc"];

/// In the SDK's folder, where a go that may get itself a later toolchain says that one's version.
fn lacks(paths: &Paths) -> anyhow::Result<Option<String>> {
    let least = super::least(paths, LEAST.0, LEAST.1)?;
    Ok(super::older("go", &least, go(paths).arg("version")))
}

fn generate(paths: &Paths) -> anyhow::Result<()> {
    let programs = paths.tool("go").join("bin");
    fs::create_dir_all(&programs).with_context(|| format!("creating {}", programs.display()))?;
    let mut build = go(paths);
    // With a folder that exists, `-o` takes any number of programs. Read-only: `go.mod` and `go.sum` are as committed.
    build.args(["build", "-mod=readonly", "-o"]).arg(&programs).args(PLUGINS);
    run::run(&mut build)?;

    let mut buf = Command::new(buf(paths)?);
    buf.current_dir(&paths.root)
        .env("BUF_CACHE_DIR", paths.tool("buf-cache"))
        .env("PATH", path_with(programs)?)
        .args(["generate", "--template", "sdk/go/buf.gen.yaml", "--output", "sdk/go"]);
    run::run(&mut buf)
}

fn check(paths: &Paths) -> anyhow::Result<()> {
    // Generated code has its generator's format, so only what lies beside `go.mod` is judged.
    let mut files: Vec<OsString> = fs::read_dir(folder(paths))?
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<Result<_, _>>()?;
    files.retain(|name| name.to_string_lossy().ends_with(".go"));
    files.sort();
    let mut gofmt = Command::new("gofmt");
    gofmt.current_dir(folder(paths)).arg("-l").args(files);
    let unformatted = run::capture(&mut gofmt)?;
    if !unformatted.is_empty() {
        bail!("not formatted, run gofmt -w in sdk/go:\n{unformatted}");
    }
    run::run(go(paths).args(["vet", "./..."]))
}

fn smoke(paths: &Paths, server: &ServerUnderTest) -> anyhow::Result<()> {
    let mut test = go(paths);
    test.env("SWITCHBOARD_ENDPOINT", &server.grpc)
        .env("SWITCHBOARD_API_KEY", &server.api_key)
        .args(["test", "-count=1", "./..."]);
    run::run(&mut test)
}

fn folder(paths: &Paths) -> PathBuf {
    paths.join("sdk/go")
}

fn go(paths: &Paths) -> Command {
    let mut go = Command::new("go");
    go.current_dir(folder(paths));
    go
}

/// The pinned buf, in the same place and with the same stamp as the contract's check has it.
fn buf(paths: &Paths) -> anyhow::Result<PathBuf> {
    let folder = paths.tool("buf");
    let program = folder.join("node_modules/.bin/buf");
    let wanted = paths.join("xtask/tools/buf");
    let stamp = folder.join("installed.json");
    let lock = fs::read(wanted.join("package-lock.json")).context("reading buf's package-lock.json")?;
    if program.exists() && fs::read(&stamp).ok().as_ref() == Some(&lock) {
        return Ok(program);
    }
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    for name in ["package.json", "package-lock.json"] {
        fs::copy(wanted.join(name), folder.join(name)).with_context(|| format!("copying {name}"))?;
    }
    let mut npm = Command::new("npm");
    npm.current_dir(&folder).args([
        "install",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--loglevel=error",
    ]);
    run::run(&mut npm)?;
    fs::write(&stamp, lock).with_context(|| format!("writing {}", stamp.display()))?;
    Ok(program)
}

/// `PATH` with a folder before all others.
fn path_with(first: PathBuf) -> anyhow::Result<OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::join_paths([first].into_iter().chain(env::split_paths(&path)))
        .context("the target directory can't be in PATH")
}
