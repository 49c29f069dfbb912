//! What people and programs read: aligned tables, or one JSON document per item.

use clap::ValueEnum;
use serde_json::Value;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// For programs: one JSON document a line.
    Json,
}

/// A result: what a program reads, and the cells that a person sees of it.
#[derive(Debug)]
pub struct Row {
    /// What a program reads.
    pub json: Value,
    /// What a person sees, one for each heading.
    pub cells: Vec<String>,
}

/// Prints rows under their headings.
pub fn print(output: Output, headings: &[&str], rows: &[Row]) {
    match output {
        Output::Json => {
            for row in rows {
                println!("{}", row.json);
            }
        }
        Output::Table => {
            let cells: Vec<&[String]> = rows.iter().map(|row| row.cells.as_slice()).collect();
            for line in table(headings, &cells) {
                println!("{line}");
            }
        }
    }
}

fn table(headings: &[&str], rows: &[&[String]]) -> Vec<String> {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([headings[column].len()]).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let heads = line(headings.to_vec());
    std::iter::once(heads)
        .chain(rows.iter().map(|row| line(row.iter().map(String::as_str).collect())))
        .collect()
}

/// A moment, RFC 3339; empty when there is none.
pub(crate) fn moment(at: Option<&prost_types::Timestamp>) -> String {
    at.and_then(|at| {
        let nanos = i128::from(at.seconds) * 1_000_000_000 + i128::from(at.nanos);
        OffsetDateTime::from_unix_timestamp_nanos(nanos).ok()?.format(&Rfc3339).ok()
    })
    .unwrap_or_default()
}

/// The name of an enum's value without the prefix of its type: `REPLIED` of `TURN_STATE_REPLIED`.
pub(crate) fn short(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_whatever_the_alphabet() {
        let rows = [["1".to_owned(), "Поддержка".to_owned()], ["22".to_owned(), "x".to_owned()]];
        let rows: Vec<&[String]> = rows.iter().map(<[String; 2]>::as_slice).collect();
        assert_eq!(table(&["id", "name"], &rows), ["id  name", "1   Поддержка", "22  x"]);
    }

    #[test]
    fn moments_are_written_in_utc() {
        let at = prost_types::Timestamp { seconds: 1_700_000_000, nanos: 0 };
        assert_eq!(moment(Some(&at)), "2023-11-14T22:13:20Z");
        assert_eq!(moment(None), "");
    }
}
