//! The client commands of `switchboard`, over the Rust SDK: what a customer of the API could write, and nothing else.
//!
//! The binary in `server/src/main.rs` owns the command line and hands these commands on.
#![warn(missing_docs)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "commands print their results for a living")]

mod clock;
mod commands;
mod connection;
mod crm;
mod deliveries;
mod doctor;
mod endpoints;
mod import;
mod integrations;
mod output;
mod rehearsals;

use std::process::ExitCode;

pub use commands::Command;
pub use connection::Connection;
pub use output::{Output, Row, print};
use switchboard_sdk::Error;
use tonic::Code;

/// What every client command can be told.
#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    connection: Connection,
    /// How results are printed.
    #[arg(long, value_enum, default_value = "table", global = true)]
    output: Output,
}

impl Options {
    /// How results are printed: for commands that are not this crate's, too.
    pub const fn output(&self) -> Output {
        self.output
    }
}

/// Runs a command. The exit code follows the kind of the error: 2 a wrong request, 3 missing rights, 4 not found, 5 a
/// conflict, 6 unavailable, 1 anything else.
pub async fn run(options: &Options, command: Command) -> ExitCode {
    match commands::run(options, command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => explain(&error),
    }
}

fn explain(error: &anyhow::Error) -> ExitCode {
    if let Some(unwell) = error.downcast_ref::<doctor::Unwell>() {
        eprintln!("{unwell}");
        return ExitCode::from(unwell.exit_code());
    }
    let refused = error.downcast_ref::<tonic::Status>().map(|status| Error::from(status.clone()));
    let Some(refused) = refused.as_ref().or_else(|| error.downcast_ref::<Error>()) else {
        eprintln!("{error:#}");
        return ExitCode::FAILURE;
    };
    eprintln!("{}: {}", refused.reason_name(), refused.message());
    for violation in refused.field_violations() {
        eprintln!("  {}: {}", violation.field, violation.description);
    }
    ExitCode::from(exit_code(refused.code()))
}

const fn exit_code(code: Code) -> u8 {
    match code {
        Code::InvalidArgument | Code::OutOfRange => 2,
        Code::Unauthenticated | Code::PermissionDenied => 3,
        Code::NotFound => 4,
        Code::AlreadyExists | Code::FailedPrecondition | Code::Aborted => 5,
        Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted => 6,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_follow_the_kind_of_error() {
        let codes = [
            Code::InvalidArgument,
            Code::Unauthenticated,
            Code::NotFound,
            Code::AlreadyExists,
            Code::Unavailable,
        ];
        assert_eq!(codes.map(exit_code), [2, 3, 4, 5, 6]);
        assert_eq!(exit_code(Code::Internal), 1);
    }
}
