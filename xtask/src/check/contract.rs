//! The contract, judged by buf: its rules, its format, and that a release's callers still understand it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context as _;

use crate::paths::Paths;
use crate::run;
use crate::steps::{Outcome, Steps};

/// Does the three steps; they need npm, which brings buf.
pub fn steps(paths: &Paths, steps: &mut Steps) {
    if !run::available("npm") {
        steps.missing("contract", "needs npm, which brings buf");
        return;
    }
    let mut program = None;
    let installed = steps.step("contract: buf", || {
        let buf = install(paths)?;
        let version = run::capture(Command::new(&buf).arg("--version"))?;
        program = Some(buf);
        Ok(Outcome::PassedWith(version.trim().to_owned()))
    });
    let Some(program) = program.filter(|_| installed) else { return };
    let buf = |arguments: &[&str]| {
        let mut buf = Command::new(&program);
        buf.current_dir(&paths.root).env("BUF_CACHE_DIR", paths.tool("buf-cache")).args(arguments);
        run::run(&mut buf).map(|()| Outcome::Passed)
    };
    steps.step("contract: lint", || buf(&["lint"]));
    steps.step("contract: format", || buf(&["format", "--diff", "--exit-code"]));
    steps.step("contract: breaking changes", || match last_release(paths)? {
        Some(tag) => buf(&["breaking", "--against", &format!(".git#tag={tag}")])
            .map(|_| Outcome::PassedWith(format!("since {tag}")))
            .with_context(|| format!("compared with {tag}")),
        None => Ok(Outcome::Skipped("no release tag v* yet, so there is nothing to break".to_owned())),
    });
}

/// Brings the pinned buf into the target directory and gives its path. Does nothing when that one is there.
fn install(paths: &Paths) -> anyhow::Result<PathBuf> {
    let folder = paths.tool("buf");
    let program = folder.join("node_modules/.bin/buf");
    let wanted = paths.join("xtask/tools/buf");
    // npm writes this last, so a half-finished installation doesn't count.
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
    // The program lies in a package of its own per platform, so the installing script is not needed. Not `npm ci`: it
    // wants every platform's package in the lock file, and mirrors carry those of some platforms only. Versions are
    // exact either way, and whatever the lock file holds is compared with its digest.
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

/// The newest release's tag. `None`: nothing was released.
fn last_release(paths: &Paths) -> anyhow::Result<Option<String>> {
    let mut git = run::git(&paths.root);
    git.args(["tag", "--list", "v[0-9]*", "--sort=-version:refname"]);
    Ok(run::capture(&mut git)?.lines().next().map(str::to_owned))
}
