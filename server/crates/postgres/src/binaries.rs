//! Finds the server programs on the machine.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use crate::{
    error::Error,
    user::{self, User},
};

/// Where distributions put versions side by side: the parent, what a version's directory begins with, and where the
/// programs are in it. The order is the order of preference.
const VERSIONED: &[(&str, &str, &str)] = &[
    // Debian, Ubuntu
    ("/usr/lib/postgresql", "", "bin"),
    // PostgreSQL's own packages for Red Hat and its relatives
    ("/usr", "pgsql-", "bin"),
    // built from source
    ("/usr/local", "pgsql", "bin"),
    // Homebrew on Apple and on Intel processors
    ("/opt/homebrew/opt", "postgresql", "bin"),
    ("/usr/local/opt", "postgresql", "bin"),
];

/// Finds a directory with the programs `initdb` and `postgres`.
///
/// An explicit directory is the only one looked at. Otherwise: the highest version in `/usr/lib/postgresql/*/bin`, then
/// `/usr/pgsql-*/bin`, `/usr/local/pgsql/bin`, Homebrew's directories, and at last those in `PATH`.
///
/// A cluster that exists needs the programs of the version that made it, and
/// [`Cluster::start`](crate::Cluster::start) looks for those; the answer here is for a new cluster.
///
/// # Errors
/// [`Error::NoBinaries`], which says where it looked and what to install.
pub fn find_binaries(explicit: Option<&Path>) -> Result<PathBuf, Error> {
    all(explicit)?.into_iter().next().ok_or_else(|| no_binaries(explicit))
}

/// Finds the programs of the major version that made the cluster in `data`.
pub(crate) fn find_for_version(
    explicit: Option<&Path>,
    version: &str,
    data: &Path,
    user: Option<User>,
) -> Result<PathBuf, Error> {
    let mut found = Vec::new();
    for bin in all(explicit)? {
        match major_version(&bin, user)? {
            Some(major) if major == version => return Ok(bin),
            Some(major) => found.push(major),
            None => {}
        }
    }
    Err(Error::WrongVersion { dir: data.to_owned(), cluster: version.to_owned(), found })
}

/// Lists the directories with server programs, the preferred one first, never empty.
fn all(explicit: Option<&Path>) -> Result<Vec<PathBuf>, Error> {
    let candidates = if let Some(bin) = explicit {
        vec![bin.to_owned()]
    } else {
        let versioned = VERSIONED.iter().flat_map(|(parent, prefix, rest)| versions(parent, prefix, rest));
        // A search path belongs to the machine, like the places above, so it is read here and is not a setting.
        let path = env::var_os("PATH").unwrap_or_default();
        versioned.chain(env::split_paths(&path).filter(|dir| dir.is_absolute())).collect()
    };
    let found: Vec<PathBuf> = candidates.into_iter().filter(|bin| has_programs(bin)).collect();
    if found.is_empty() { Err(no_binaries(explicit)) } else { Ok(found) }
}

fn has_programs(bin: &Path) -> bool {
    ["initdb", "postgres"].iter().all(|program| bin.join(program).is_file())
}

fn versions(parent: &str, prefix: &str, rest: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(parent) else {
        return Vec::new();
    };
    let mut found: Vec<(u32, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let version = name.strip_prefix(prefix)?.trim_start_matches(['-', '@']);
            // A directory without a number, such as `/usr/local/pgsql`, comes after those with one.
            Some((leading_number(version).unwrap_or(0), entry.path().join(rest)))
        })
        .collect();
    // By number: as text, 9 would come after 15.
    found.sort_by(|(one, one_path), (other, other_path)| other.cmp(one).then(one_path.cmp(other_path)));
    found.into_iter().map(|(_, bin)| bin).collect()
}

/// Asks the programs for their major version, in the form that `PG_VERSION` has.
fn major_version(bin: &Path, user: Option<User>) -> Result<Option<String>, Error> {
    let program = bin.join("postgres");
    let output = user::command(&program, user)
        .arg("--version")
        .output()
        .map_err(|source| Error::Run { program: program.clone(), source })?;
    Ok(parse_version(&String::from_utf8_lossy(&output.stdout)))
}

/// Reads `postgres (PostgreSQL) 15.18 (Debian …)`, and the likes of `18beta1`.
fn parse_version(text: &str) -> Option<String> {
    let (_, version) = text.split_once("(PostgreSQL) ")?;
    leading_number(version).map(|number| number.to_string())
}

fn leading_number(text: &str) -> Option<u32> {
    let digits = text.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

fn no_binaries(explicit: Option<&Path>) -> Error {
    let searched = match explicit {
        Some(bin) => vec![bin.display().to_string()],
        None => VERSIONED
            .iter()
            .map(|(parent, prefix, rest)| format!("{parent}/{prefix}*/{rest}"))
            .chain(["the directories of PATH".to_owned()])
            .collect(),
    };
    Error::NoBinaries { searched }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_version_comes_first() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["pgsql-9.6", "pgsql-15", "pgsql-17", "pgsql", "other-99"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let found = versions(dir.path().to_str().unwrap(), "pgsql", "bin");
        let names: Vec<_> = found.iter().map(|bin| bin.parent().unwrap().file_name().unwrap()).collect();
        assert_eq!(names, ["pgsql-17", "pgsql-15", "pgsql-9.6", "pgsql"]);
    }

    #[test]
    fn versions_are_read_as_pg_version_writes_them() {
        assert_eq!(
            parse_version("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n").as_deref(),
            Some("15")
        );
        assert_eq!(parse_version("postgres (PostgreSQL) 18beta1\n").as_deref(), Some("18"));
        assert_eq!(parse_version("something else"), None);
    }

    #[test]
    fn an_explicit_directory_without_programs_is_an_error_with_a_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let error = find_binaries(Some(dir.path())).unwrap_err().to_string();
        for part in ["apt-get install postgresql", "SWITCHBOARD_POSTGRES_BIN", dir.path().to_str().unwrap()] {
            assert!(error.contains(part), "{error}");
        }
    }
}
