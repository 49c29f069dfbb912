//! Runs a private `PostgreSQL` for people who have not set up a database of their own.
//!
//! **What the room is for.** `switchboard serve` without `DATABASE_URL`, the demo, the tests and the benches need a
//! real database within a second. This crate finds the server programs on the machine, makes a cluster in a directory
//! of ours, starts it on a Unix socket that nobody else can reach, and stops it again. When our process was killed, the
//! database it left behind is found and taken over by the next start.
//!
//! **What it must not know.** No SQL and no driver: a server is ready when its own pid file says so and its socket
//! accepts a connection. No tokio: every call blocks, so async callers wrap it in `spawn_blocking`. Nothing about
//! Switchboard's tables, roles or settings: paths come in as values, and of the environment only `PATH` is looked at.
//! It installs nothing; a missing program is an error that names the remedy.
//!
//! **Layout of a cluster's directory** (`Settings::dir`, usually `<data>/pg`, mode 0700):
//!
//! | name | what it is |
//! | --- | --- |
//! | `data/` | what `initdb` made; there only when it is complete |
//! | `data.new-*/` | what an `initdb` left that did not finish; removed by the next start |
//! | `socket/` | the Unix socket, mode 0700; who can enter may connect as any role (`trust`) |
//! | `postgres.log`, `postgres.log.1` | the server's words since this start and since the one before |
//!
//! **As root** the programs run as the system user `postgres`, because `PostgreSQL` refuses to run as root. Only the
//! cluster's directory is given to that user; everything around it stays root's. It is never the user `nobody`: other
//! services share that one and could read the data.
//!
//! **How to add to it.** A default for every private server is one row, with its reason, in `options.rs`. A place where
//! the programs may be is one line in `binaries.rs`. Everything the operating system is asked about processes is in
//! `process.rs`.

mod binaries;
mod cluster;
mod directories;
mod error;
mod lock;
mod options;
mod pid_file;
mod process;
mod user;

pub use crate::{
    binaries::find_binaries,
    cluster::{Cluster, Settings},
    directories::data_dir_default,
    error::Error,
    lock::DataLock,
};
