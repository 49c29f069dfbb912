//! The SDKs in other languages than Rust: how each is generated, checked and tried.

mod go;
mod python;
mod typescript;

use std::cmp::Ordering;
use std::fs;
use std::process::Command;

use anyhow::Context as _;

use crate::paths::Paths;
use crate::run;
use crate::server_under_test::ServerUnderTest;

/// One SDK.
pub struct Sdk {
    /// Its language, which is also its folder in `sdk/`.
    pub name: &'static str,
    /// Programs that must be on `PATH`.
    pub needs: &'static [&'static str],
    /// What else this machine lacks, though the programs are there: a later version, a part of one.
    pub lacks: fn(&Paths) -> anyhow::Result<Option<String>>,
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

/// Why this machine can't work on an SDK, to be read after its name. `None`: it can.
pub fn missing(paths: &Paths, sdk: &Sdk) -> anyhow::Result<Option<String>> {
    match sdk.needs.iter().find(|program| !run::available(program)) {
        Some(program) => Ok(Some(format!("needs {program}"))),
        None => (sdk.lacks)(paths),
    }
}

/// The least version that a file of an SDK asks for: what follows these words there.
fn least(paths: &Paths, file: &str, words: &str) -> anyhow::Result<String> {
    let text = fs::read_to_string(paths.join(file)).with_context(|| format!("reading {file}"))?;
    let version = text.split_once(words).map(|(_, rest)| rest.split(['"', '\n']).next().unwrap_or_default());
    version.map(ToOwned::to_owned).with_context(|| format!("{file} has no `{}`", words.trim()))
}

/// What a program lacks when it is older than that, or can't even say how old it is.
fn older(name: &str, least: &str, version: &mut Command) -> Option<String> {
    let said = match run::capture(version) {
        Ok(said) => said,
        Err(error) => {
            let why = format!("{error:#}");
            // The first line is the command; what it said of itself follows.
            let why = why.lines().nth(1).unwrap_or(&why).trim();
            return Some(format!("needs {name} {least} or later; {why}"));
        }
    };
    let here = said.trim();
    (compare(here, least) == Ordering::Less).then(|| format!("needs {name} {least} or later; here is {here}"))
}

/// Compares the first numbers with dots between in two texts, such as `go version go1.26.8 linux/amd64` and `1.26`.
fn compare(one: &str, other: &str) -> Ordering {
    let numbers = |text: &str| -> Vec<u32> {
        let from = text.find(|c: char| c.is_ascii_digit()).unwrap_or(text.len());
        text[from..]
            .split('.')
            .map_while(|part| {
                let end = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
                part[..end].parse().ok()
            })
            .collect()
    };
    let (mut one, mut other) = (numbers(one), numbers(other));
    let length = one.len().max(other.len());
    one.resize(length, 0);
    other.resize(length, 0);
    one.cmp(&other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn versions_are_compared_by_number() {
        for (here, least, expected) in [
            ("go version go1.26.8 linux/amd64", "1.26.0", Ordering::Greater),
            ("go version go1.9 linux/amd64", "1.26.0", Ordering::Less),
            ("go version go1.26rc1 linux/amd64", "1.26.0", Ordering::Equal),
            ("v20.20.2", "20.20", Ordering::Greater),
            ("v18.20.4", "20.20", Ordering::Less),
            ("Python 3.10.0", "3.10", Ordering::Equal),
            ("Python 3.9.21", "3.10", Ordering::Less),
            ("who knows", "3.10", Ordering::Less),
        ] {
            assert_eq!(compare(here, least), expected, "{here} and {least}");
        }
    }

    #[test]
    fn what_is_too_old_or_broken_is_named_in_one_line() {
        assert_eq!(older("node", "20.20", &mut shell("echo v20.20.2")), None);
        assert_eq!(
            older("node", "20.20", &mut shell("echo v18.1.0")).unwrap(),
            "needs node 20.20 or later; here is v18.1.0"
        );
        assert_eq!(
            older(
                "go",
                "1.26",
                &mut shell("echo 'go: go.mod requires go >= 1.26' >&2; echo more >&2; exit 1")
            )
            .unwrap(),
            "needs go 1.26 or later; go: go.mod requires go >= 1.26"
        );
    }

    #[test]
    fn every_sdk_says_the_least_version_that_it_needs() {
        let paths = Paths::find().unwrap();
        for (file, words) in [go::LEAST, python::LEAST, typescript::LEAST] {
            let least = least(&paths, file, words).unwrap();
            assert_eq!(compare(&least, "0"), Ordering::Greater, "{file}: {least}");
            assert!(least.starts_with(|c: char| c.is_ascii_digit()), "{file}: {least}");
        }
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let sdk = Sdk { needs: &["sh", "no-such-program-anywhere"], ..go::SDK };
        let missing = missing(&Paths::find().unwrap(), &sdk).unwrap();
        assert_eq!(missing.as_deref(), Some("needs no-such-program-anywhere"));
    }
}
