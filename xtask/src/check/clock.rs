//! The database's clock is for leases only. Business time is a parameter that comes from `Clock`, so that tests and the
//! simulator can move it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::paths::Paths;
use crate::steps::Outcome;

/// Where SQL stands.
const FOLDERS: &[&str] = &["migrations", "server/crates/store/src"];

/// What SQL calls the time of the database.
const WORDS: &[&str] = &[
    "now()",
    "clock_timestamp()",
    "statement_timestamp()",
    "transaction_timestamp()",
    "timeofday()",
    "current_timestamp",
    "current_date",
    "current_time",
    "localtimestamp",
    "localtime",
];

/// Lines that are allowed though they name no lease: file, a part of the line, and the reason.
const ALLOWED: &[(&str, &str, &str)] = &[(
    "migrations/20261121008000_create_call_governor.sql",
    "v_now := clock_timestamp();",
    "vendors count calls in real time, and processes must agree on it",
)];

/// Looks at every line; one that names the database's time must name a lease too.
pub fn check(paths: &Paths) -> anyhow::Result<Outcome> {
    let mut faults = Vec::new();
    let mut leases = 0;
    for folder in FOLDERS {
        for file in files(&paths.join(folder))? {
            let text = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
            let name = file.strip_prefix(&paths.root)?.display().to_string();
            for (number, line) in text.lines().enumerate() {
                let Some(word) = database_time(line) else { continue };
                let allowed = |(file, part, _): &(&str, &str, &str)| *file == name && line.contains(part);
                if line.contains("lease") || ALLOWED.iter().any(allowed) {
                    leases += 1;
                } else {
                    faults.push(format!("{name}:{}: {word} in: {}", number + 1, line.trim()));
                }
            }
        }
    }
    if !faults.is_empty() {
        bail!(
            "the database's clock is for leases only; take the time as a parameter:\n  {}",
            faults.join("\n  ")
        );
    }
    Ok(Outcome::PassedWith(format!("{leases} lines, all of them leases")))
}

/// The first name of the database's time in a line of SQL, or of Rust with SQL in it.
fn database_time(line: &str) -> Option<&'static str> {
    let code = line.split("--").next().unwrap_or_default();
    // A Rust comment; in SQL these two characters stand only in a URL inside a string.
    let code = code.split("//").next().unwrap_or_default().to_ascii_lowercase();
    WORDS.iter().copied().find(|word| {
        code.match_indices(word).any(|(at, _)| {
            let before = code[..at].chars().next_back();
            let after = code[at + word.len()..].chars().next();
            // `Instant::now()` and `clock.now()` are Rust, `create_now()` and `current_time_zone` other names.
            !before.is_some_and(|before| is_name(before) || before == '.' || before == ':')
                && !after.is_some_and(is_name)
        })
    })
}

fn is_name(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// The SQL and Rust files of a folder and the ones in it, in the order of their names.
fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(self::files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "sql" || extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_the_database_is_found() {
        for line in [
            "created_at timestamptz not null default now(),",
            "\"update jobs set run_at = NOW() + $1\"",
            "where lease_until < clock_timestamp()",
            "select current_timestamp",
            "select (now())::date -- today",
        ] {
            assert!(database_time(line).is_some(), "{line}");
        }
    }

    #[test]
    fn other_clocks_and_names_are_not() {
        for line in [
            "let started = Instant::now();",
            "run_at: worker.app.now(),",
            "-- now() is for leases only",
            "//! `now()` appears for leases only",
            "select renow(), now_at, current_time_zone",
        ] {
            assert!(database_time(line).is_none(), "{line}");
        }
    }
}
