//! Measures the server on this machine.

use std::path::PathBuf;

/// Which rows to measure and where to write them.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The rows, all by default.
    pub rows: Vec<String>,
    /// Writes the rows as JSON to this file too.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// Measures the rows and prints them as a table.
pub fn run(arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { rows, json } = arguments;
    anyhow::bail!("the bench is written next; it will take rows {rows:?} and a JSON file {json:?}")
}
