//! Everything: the checks, every test, and every SDK against the real server.

use std::process::ExitCode;

use anyhow::bail;

use crate::paths::Paths;
use crate::sdks;
use crate::server_under_test::ServerUnderTest;
use crate::steps::{Outcome, Steps};
use crate::{check, run, sync, torture};

/// Does every step, whatever the others say, and prints the summary.
pub fn run(paths: &Paths) -> ExitCode {
    let mut steps = Steps::new();
    check::run(paths, &mut steps);
    steps.step("tests", || tests(paths, &["--lib", "--bins", "--tests", "--examples"]));
    steps.step("doc tests", || tests(paths, &["--doc"]));
    steps.step("fuzzing", || fuzz(paths));
    sdks(paths, &mut steps);
    steps.step("torture", || torture::run(paths, &torture::Arguments::for_ci()).map(Outcome::PassedWith));
    steps.finish()
}

/// Runs tests of the whole workspace. An ignored one is a failure: it would rot unseen.
fn tests(paths: &Paths, which: &[&str]) -> anyhow::Result<Outcome> {
    let mut cargo = run::cargo(&paths.root);
    // Tests start databases of their own; one of the caller's is never theirs to change.
    cargo.args(["test", "--workspace", "--no-fail-fast"]).args(which).env_remove("DATABASE_URL");
    // Stories wait more than they work.
    cargo.env("RUST_TEST_THREADS", "4");
    let mut tally = Tally::default();
    run::run_lines(&mut cargo, |line| tally.read(line))?;
    if tally.ignored > 0 {
        bail!("{} tests are ignored; mend or remove them", tally.ignored);
    }
    Ok(Outcome::PassedWith(format!("{} tests", tally.passed)))
}

/// Bends samples at random for everything that reads what strangers send; see `server/crates/vendors/src/fuzz.rs`.
fn fuzz(paths: &Paths) -> anyhow::Result<Outcome> {
    // For each of six readers, two at a time on two processors.
    const SECONDS: &str = "15";
    let mut cargo = run::cargo(&paths.root);
    cargo
        .args(["test", "--package", "switchboard-vendors", "--lib", "fuzz::"])
        .env("SWITCHBOARD_FUZZ_SECONDS", SECONDS);
    let mut tally = Tally::default();
    run::run_lines(&mut cargo, |line| tally.read(line))?;
    Ok(Outcome::PassedWith(format!("{} readers, {SECONDS} s each", tally.passed)))
}

/// What the test programs say they did.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u32,
    ignored: u32,
}

impl Tally {
    /// Reads a line such as `test result: ok. 12 passed; 0 failed; 1 ignored; …`; any other is nothing to it.
    fn read(&mut self, line: &str) {
        let Some(result) = line.trim().strip_prefix("test result: ") else { return };
        let words: Vec<&str> = result.split([' ', ';']).filter(|word| !word.is_empty()).collect();
        for pair in words.windows(2) {
            let Ok(count) = pair[0].parse::<u32>() else { continue };
            match pair[1] {
                "passed" => self.passed += count,
                "ignored" => self.ignored += count,
                _ => {}
            }
        }
    }
}

/// Generates, checks and tries every SDK; all of them call one server.
fn sdks(paths: &Paths, steps: &mut Steps) {
    let mut server = None;
    steps.step("server for the SDKs", || {
        server = Some(ServerUnderTest::start(paths)?);
        Ok(Outcome::Passed)
    });
    // Without a server there is nothing to try; that step has failed already.
    let server = server.as_ref();
    let no_server = || Ok(Outcome::Skipped("the server did not start".to_owned()));
    steps.step("sdk/rust: smoke", || match server {
        Some(server) => smoke_rust(paths, server),
        None => no_server(),
    });
    for sdk in sdks::all() {
        let name = format!("sdk/{}", sdk.name);
        match sdks::missing(paths, sdk) {
            Ok(None) => {}
            Ok(Some(why)) => {
                steps.missing(&name, &why);
                continue;
            }
            Err(error) => {
                steps.step(&name, || Err(error));
                continue;
            }
        }
        steps.step(&format!("{name}: generated code"), || {
            sync::drift(paths, &name, || (sdk.generate)(paths)).map(|()| Outcome::Passed)
        });
        steps.step(&format!("{name}: check"), || (sdk.check)(paths).map(|()| Outcome::Passed));
        steps.step(&format!("{name}: smoke"), || match server {
            Some(server) => (sdk.smoke)(paths, server).map(|()| Outcome::Passed),
            None => no_server(),
        });
    }
}

/// Runs the README's example.
fn smoke_rust(paths: &Paths, server: &ServerUnderTest) -> anyhow::Result<Outcome> {
    let mut example = run::cargo(&paths.root);
    example
        .args(["run", "--quiet", "--package=switchboard-sdk", "--example=quickstart"])
        .env("SWITCHBOARD_ENDPOINT", &server.grpc)
        .env("SWITCHBOARD_API_KEY", &server.api_key)
        // Nobody listens there; the example watches the answer being committed.
        .env("REPLY_URL", "http://127.0.0.1:9/replies");
    run::run(&mut example).map(|()| Outcome::Passed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_added_up() {
        let mut tally = Tally::default();
        for line in [
            "running 3 tests",
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.02s",
            "test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 4 filtered out; finished in 1.00s",
            "99 passed",
        ] {
            tally.read(line);
        }
        assert_eq!(tally, Tally { passed: 14, ignored: 1 });
    }
}
