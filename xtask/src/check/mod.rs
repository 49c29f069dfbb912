//! The checks of the sources, the quick ones first.

mod clock;
mod contract;
mod dependencies;
mod rooms;

use crate::r#gen;
use crate::metadata::Metadata;
use crate::paths::Paths;
use crate::run;
use crate::steps::{Outcome, Steps};
use crate::sync;

/// Does every check, whatever the others say.
pub fn run(paths: &Paths, steps: &mut Steps) {
    steps.step("format", || {
        // Generated Rust is included as text, so rustfmt never sees it.
        run::run(run::cargo(&paths.root).args(["fmt", "--all", "--check"])).map(|()| Outcome::Passed)
    });
    steps.step("dependencies: licences, sources, banned", || {
        let metadata = Metadata::read(paths)?;
        dependencies::check(&metadata, paths)
    });
    steps.step("dependencies: who may know whom", || rooms::check(&Metadata::read(paths)?));
    steps.step("clock in SQL", || clock::check(paths));
    contract::steps(paths, steps);
    for target in r#gen::TARGETS {
        steps.step(&format!("generated code: {}", target.name), || {
            sync::drift(paths, target.folder, || (target.generate)(paths)).map(|()| Outcome::Passed)
        });
    }
    steps.step("clippy", || {
        let mut clippy = run::cargo(&paths.root);
        clippy.args(["clippy", "--quiet", "--workspace", "--all-targets", "--", "--deny=warnings"]);
        run::run(&mut clippy).map(|()| Outcome::Passed)
    });
    // In the workspace all features of the SDK are on at once; a user has some of them.
    for features in ["", "client", "server", "webhook"] {
        let name = if features.is_empty() { "no features" } else { features };
        steps.step(&format!("sdk/rust with {name} only"), || {
            let mut check = run::cargo(&paths.root);
            check.args(["clippy", "--quiet", "--package=switchboard-sdk", "--no-default-features"]);
            check.arg(format!("--features={features}")).args(["--", "--deny=warnings"]);
            run::run(&mut check).map(|()| Outcome::Passed)
        });
    }
}
