//! `cargo xtask`: everything that CI does, runnable at home.
//!
//! **What the room is for.** `gen` writes generated code, `check` judges the sources, `ci` checks and tests everything,
//! `bench` measures. A file per idea; each check is a function that takes [`Paths`] and is listed in `check/mod.rs`.
//!
//! **What it must not know.** The server's rooms: it starts the real program like anybody else, and takes only
//! `postgres` for a private database and the SDK for calls. It carries the generators, so it is outside of the
//! workspace's `default-members`, and no other crate may depend on it.
//!
//! **How to add.** A generator: a file in `gen/` and its row in `gen/mod.rs`; an SDK language: a file in `sdks/` and its
//! row in `sdks/mod.rs`; a check: a file in `check/` and its row in `check/mod.rs`.
#![allow(unreachable_pub, reason = "in a program's modules `pub` marks what a module offers to the others")]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this program speaks to the person who called it"
)]

mod bench;
mod check;
mod ci;
mod r#gen;
mod metadata;
mod paths;
mod run;
mod sdks;
mod server_under_test;
mod steps;
mod sync;
mod torture;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::paths::Paths;
use crate::steps::Steps;

/// What CI does, at home.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Writes generated code: all that this machine can, or what is named.
    Gen {
        /// `rust`, `sqlx`, or an SDK's language.
        targets: Vec<String>,
    },
    /// Judges the sources: format, lints, dependencies, contract, generated code.
    Check,
    /// Checks, tests, and runs every SDK against the real server.
    Ci,
    /// Measures the server on this machine.
    Bench(bench::Arguments),
    /// Kills, cuts and repeats, and compares the ledgers at the end.
    Torture(torture::Arguments),
}

fn main() -> ExitCode {
    match perform(Arguments::parse().task) {
        Ok(code) => code,
        Err(error) => {
            // What went wrong is a command's doing, so the chain of causes helps and a backtrace of ours doesn't.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(task: Task) -> anyhow::Result<ExitCode> {
    let paths = Paths::find()?;
    match task {
        Task::Gen { targets } => r#gen::run(&paths, &targets).map(|()| ExitCode::SUCCESS),
        Task::Check => {
            let mut steps = Steps::new();
            check::run(&paths, &mut steps);
            Ok(steps.finish())
        }
        Task::Ci => Ok(ci::run(&paths)),
        Task::Bench(arguments) => bench::run(arguments).map(|()| ExitCode::SUCCESS),
        Task::Torture(arguments) => torture::run(&paths, &arguments).map(|()| ExitCode::SUCCESS),
    }
}
