//! Everything that can go wrong, each with what to do about it.

use std::{io, path::PathBuf, process::ExitStatus};

/// Why a private cluster could not be found, started or stopped.
///
/// Each sentence is meant for the person who started the program: it says what is wrong and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No directory with both `initdb` and `postgres` was found.
    #[error(
        "no PostgreSQL server programs (initdb and postgres) were found in {}: install them \
         (Debian and Ubuntu: `apt-get install postgresql`), or name their directory in SWITCHBOARD_POSTGRES_BIN, \
         or set DATABASE_URL to use a database of your own",
        list(.searched)
    )]
    NoBinaries {
        /// The places that were looked at, in this order.
        searched: Vec<String>,
    },

    /// The data was written by a major version of which no programs are here; `PostgreSQL` cannot read it.
    #[error(
        "the cluster in {} was made by PostgreSQL {cluster}, and the programs found are of version {}: install \
         PostgreSQL {cluster} (Debian and Ubuntu: `apt-get install postgresql-{cluster}`) or name its programs in \
         SWITCHBOARD_POSTGRES_BIN; to move to another version use pg_dump and pg_restore",
        dir.display(), list(.found)
    )]
    WrongVersion {
        /// The cluster's data directory.
        dir: PathBuf,
        /// The major version that made it.
        cluster: String,
        /// The major versions of the programs that were found.
        found: Vec<String>,
    },

    /// We are root, and there is no unprivileged user to run the server as.
    #[error(
        "PostgreSQL refuses to run as root, and there is no system user `postgres` to run it as: install the \
         distribution's package (Debian and Ubuntu: `apt-get install postgresql`), create the user \
         (`useradd --system postgres`), or start Switchboard as an ordinary user"
    )]
    NoPostgresUser,

    /// The user the server runs as cannot reach the cluster's directory.
    #[error(
        "the user `postgres` cannot enter {}, which is on the way to the data directory {}: allow it with \
         `chmod o+x {}` or choose another data directory",
        parent.display(), dir.display(), parent.display()
    )]
    NotTraversable {
        /// The first directory on the way that is closed.
        parent: PathBuf,
        /// The directory that should be reached.
        dir: PathBuf,
    },

    /// The directory belongs to someone else.
    #[error(
        "{} belongs to the user with id {owner}, and the database would run as the user with id {expected}: start \
         Switchboard as the user who started it first, or give the directory away with `chown -R {expected} {}`",
        path.display(), path.display()
    )]
    WrongOwner {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Whose it would have to be.
        expected: u32,
    },

    /// The directory holds something, and it is not a cluster of ours.
    #[error(
        "{} is not empty and holds no PostgreSQL cluster, so it is left alone: choose another data directory, or \
         empty this one",
        .0.display()
    )]
    NotACluster(PathBuf),

    /// A Unix socket's path is limited by the kernel.
    #[error(
        "the path of the database's socket, {}, is {length} bytes long and may have at most {limit}: choose a \
         data directory with a shorter path",
        path.display()
    )]
    SocketPathTooLong {
        /// The socket's whole path.
        path: PathBuf,
        /// Its length in bytes.
        length: usize,
        /// How long it may be.
        limit: usize,
    },

    /// `PostgreSQL` keeps its paths in files by line, so some characters cannot be part of them.
    #[error(
        "the path {} has a line break or a quotation mark in it or is not UTF-8, which PostgreSQL's files cannot hold: \
         choose another data directory",
        .0.display()
    )]
    UnusablePath(PathBuf),

    /// An option that decides who can reach the server is not the caller's to set.
    #[error(
        "the option `{0}` cannot be changed on the private PostgreSQL, because everyone who reaches its socket is \
         trusted; to decide this yourself run a database of your own and set DATABASE_URL"
    )]
    ReservedOption(String),

    /// There is no place to put the data.
    #[error("there is no home directory to keep data in: name a data directory")]
    NoHome,

    /// Another process works on the same data directory.
    #[error(
        "the data directory {} is in use by {}: a second `serve` on the same data directory is refused; stop \
         the other one, or give this one its own data directory",
        dir.display(), holder(.pid.as_ref())
    )]
    Locked {
        /// The data directory.
        dir: PathBuf,
        /// The process that holds it, when it has written its number.
        pid: Option<u32>,
    },

    /// A program could not be run at all.
    #[error("{} could not be run", program.display())]
    Run {
        /// What should have run.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    /// A program ran and failed.
    #[error("{} failed ({status}): {output}", program.display())]
    Failed {
        /// What ran.
        program: PathBuf,
        /// How it ended.
        status: ExitStatus,
        /// The last lines of what it wrote.
        output: String,
    },

    /// The server ended while it was starting.
    #[error("PostgreSQL ended while starting ({status}); the last lines of {} are:\n{output}", log.display())]
    Exited {
        /// How it ended.
        status: ExitStatus,
        /// Its log.
        log: PathBuf,
        /// The log's last lines.
        output: String,
    },

    /// The server did not become ready in time, and was stopped if we had started it.
    #[error(
        "PostgreSQL (process {pid}) was not ready after {seconds} s; the last lines of {} are:\n{output}",
        log.display()
    )]
    StartTimeout {
        /// The server's process.
        pid: u32,
        /// How long we waited.
        seconds: u64,
        /// Its log.
        log: PathBuf,
        /// The log's last lines.
        output: String,
    },

    /// The server is still there after everything short of `kill -9`.
    #[error(
        "PostgreSQL (process {pid}) did not stop, not even at once when told so; look at it before starting again, \
         and never use `kill -9` on it, which can leave its children at work on the data"
    )]
    StopTimeout {
        /// The server's process.
        pid: u32,
    },

    /// The file system refused something.
    #[error("could not {doing} {}", path.display())]
    Io {
        /// What was tried, as a verb: "create", "read".
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    /// Gives the function that wraps an [`io::Error`], for `map_err`.
    pub(crate) fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { doing, path, source }
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn holder(pid: Option<&u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}
