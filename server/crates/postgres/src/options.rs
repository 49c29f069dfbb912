//! The settings every private server starts with.

use crate::error::Error;

/// What a private server is started with, and why. The caller's options come on top.
///
/// They are given on the command line, so that a newer Switchboard's defaults reach clusters made long ago.
const DEFAULTS: &[(&str, &str)] = &[
    // Several server processes with a pool each; PostgreSQL's own default, written down because pools rely on it.
    ("max_connections", "100"),
    // A database that shares its machine with the server, often a small one; the kernel's page cache does the rest.
    ("shared_buffers", "128MB"),
    // An answered request is on disk. This is never weakened by default; tests and benches may choose to.
    ("fsync", "on"),
    // After each checkpoint whole pages go to the WAL; compressing them trades a little processor for less writing.
    ("wal_compression", "on"),
    // With the default of 1 GB a busy ingest forces checkpoints more often than time does, each followed by a wave of
    // whole pages in the WAL. The price is disk space and a somewhat longer recovery.
    ("max_wal_size", "2GB"),
    // For the same reason: fewer checkpoints, fewer whole pages.
    ("checkpoint_timeout", "15min"),
    // The queue's rows are updated and deleted all the time; looking after them every 15 s and not every minute
    // keeps its small tables small.
    ("autovacuum_naptime", "15s"),
    // Data lies on solid-state disks nowadays. The default of 4 stems from spinning ones and makes the planner
    // avoid indexes.
    ("random_page_cost", "1.1"),
    // Our statements are short; compiling one costs more than it could save.
    ("jit", "off"),
    // A parallel plan takes processors from the server next to it, and shared memory of which containers have 64 MB.
    ("max_parallel_workers_per_gather", "0"),
    // Times in the log and in casts without a zone do not depend on where the machine stands.
    ("timezone", "UTC"),
    ("log_timezone", "UTC"),
    // Details of an error quote the rows concerned, phone numbers and texts among them; the log has no place for those.
    ("log_error_verbosity", "terse"),
    ("log_parameter_max_length", "0"),
    ("log_parameter_max_length_on_error", "0"),
    // The directory is closed already; this is the second door.
    ("unix_socket_permissions", "0700"),
];

/// What decides who reaches the server and where its files are: ours alone.
const RESERVED: &[&str] = &[
    "config_file",
    "data_directory",
    "external_pid_file",
    "hba_file",
    "ident_file",
    "listen_addresses",
    "port",
    "unix_socket_directories",
    "unix_socket_group",
    "unix_socket_permissions",
];

/// Lays the caller's options over the defaults.
///
/// # Errors
/// [`Error::ReservedOption`] for one that decides who can reach the server.
pub(crate) fn merge(asked: &[(String, String)]) -> Result<Vec<(String, String)>, Error> {
    let mut options: Vec<(String, String)> =
        DEFAULTS.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    for (name, value) in asked {
        // PostgreSQL reads names this way too, so that a reserved one in another spelling is still found.
        let name = name.trim().to_ascii_lowercase().replace('-', "_");
        // PostgreSQL divides at the first `=`, so that a name with one in it would be another option.
        if name.contains('=') || RESERVED.contains(&name.as_str()) {
            return Err(Error::ReservedOption(name));
        }
        match options.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => known.clone_from(value),
            None => options.push((name, value.clone())),
        }
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(asked: &[(&str, &str)]) -> Result<Vec<(String, String)>, Error> {
        let asked: Vec<_> = asked.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        merge(&asked)
    }

    #[test]
    fn the_caller_wins_and_each_option_is_there_once() {
        let options = merged(&[("FSYNC", "off"), ("work_mem", "8MB")]).unwrap();
        let fsync: Vec<_> = options.iter().filter(|(name, _)| name == "fsync").collect();
        assert_eq!(fsync, [&("fsync".to_owned(), "off".to_owned())]);
        assert!(options.contains(&("work_mem".to_owned(), "8MB".to_owned())));
    }

    #[test]
    fn nothing_is_weakened_by_default() {
        assert!(merged(&[]).unwrap().contains(&("fsync".to_owned(), "on".to_owned())));
    }

    #[test]
    fn options_that_open_the_server_are_refused_in_any_spelling() {
        for name in ["listen_addresses", "Listen-Addresses", " port", "listen_addresses=*"] {
            assert!(matches!(merged(&[(name, "x")]), Err(Error::ReservedOption(_))), "{name}");
        }
    }
}
