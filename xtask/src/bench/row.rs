//! The rows: what is measured, what it must reach, and how it is shown.

use std::fmt::Write as _;

use serde::Serialize;

/// What belongs together, because it needs the same server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Starting and doing nothing.
    Start,
    /// Messages come in, nobody works on them.
    Ingest,
    /// Messages come in while they are worked on.
    IngestWithWorkers,
    /// Messages come in and replies go out.
    Turns,
    /// Reads over gRPC.
    Reads,
    /// Turns beside dialogues whose engine is slow.
    Isolation,
    /// Timers that are armed and fall due.
    Timers,
    /// Subscribers of the log.
    Watch,
    /// Endpoints that events are posted to.
    Webhooks,
    /// Work after the process was killed.
    Recovery,
    /// Nothing to do.
    Idle,
    /// Engines of vendors.
    Engines,
    /// A CRM tells of its account.
    Crm,
    /// Messages come in where many are stored.
    Growth,
    /// A file of another program is taken over.
    Import,
}

impl Group {
    /// In the order in which they are measured.
    pub const ALL: &[Self] = &[
        Self::Start,
        Self::Ingest,
        Self::IngestWithWorkers,
        Self::Turns,
        Self::Reads,
        Self::Isolation,
        Self::Timers,
        Self::Watch,
        Self::Webhooks,
        Self::Recovery,
        Self::Idle,
        Self::Engines,
        Self::Crm,
        Self::Growth,
        Self::Import,
    ];
}

/// What a row must reach.
#[derive(Debug, Clone, Copy)]
pub enum Target {
    /// Nothing yet.
    None,
    /// The value, at least.
    AtLeast(f64),
    /// The value, at most.
    AtMost(f64),
    /// Value by baseline, at least.
    Ratio(f64),
    /// Value by baseline, at most.
    RatioAtMost(f64),
}

/// What a row measures. Names stay.
#[derive(Debug)]
pub struct Measure {
    pub name: &'static str,
    pub unit: &'static str,
    pub group: Group,
    pub target: Target,
    /// Whether it takes so long that it is measured only where it is named or with `--long`.
    pub long: bool,
}

const fn measure(name: &'static str, unit: &'static str, group: Group, target: Target) -> Measure {
    Measure { name, unit, group, target, long: false }
}

/// All rows, in the order in which they are shown.
pub const MEASURES: &[Measure] = &[
    measure("ingest_64", "messages/s", Group::Ingest, Target::Ratio(1.0)),
    measure("ingest_256", "messages/s", Group::Ingest, Target::Ratio(1.5)),
    measure("ingest_one_dialogue", "messages/s", Group::Ingest, Target::Ratio(0.7)),
    measure("ingest_with_workers", "messages/s", Group::IngestWithWorkers, Target::None),
    measure("ingest_p99_ms", "ms", Group::Ingest, Target::AtMost(20.0)),
    Measure {
        long: true, ..measure("ingest_growth", "µs/message", Group::Growth, Target::RatioAtMost(1.1))
    },
    measure("turns", "turns/s", Group::Turns, Target::AtLeast(2_500.0)),
    measure("turn_p50_ms", "ms", Group::Turns, Target::AtMost(4.0)),
    measure("turn_p99_ms", "ms", Group::Turns, Target::None),
    measure("isolation_p99_ratio", "ms", Group::Isolation, Target::RatioAtMost(1.1)),
    measure("timers_rss_mib", "MiB", Group::Timers, Target::AtMost(128.0)),
    measure("timers_p99_ms", "ms", Group::Timers, Target::AtMost(250.0)),
    measure("watch_lag_ms", "ms", Group::Watch, Target::AtMost(1_000.0)),
    measure("watch_rss_mib", "MiB", Group::Watch, Target::AtMost(256.0)),
    measure("webhooks_out", "deliveries/s", Group::Webhooks, Target::AtLeast(3_000.0)),
    measure("import_rows", "messages/s", Group::Import, Target::AtLeast(20_000.0)),
    measure("recovery_s", "s", Group::Recovery, Target::AtMost(5.0)),
    measure("engine_overhead_ms", "ms", Group::Engines, Target::AtMost(1.0)),
    measure("engine_cpu_ratio", "ms", Group::Engines, Target::RatioAtMost(1.05)),
    measure("waiting_turns_rss_mib", "MiB", Group::Engines, Target::AtMost(200.0)),
    measure("crm_parse_us", "µs", Group::Crm, Target::AtMost(100.0)),
    measure("crm_burst_ms", "ms", Group::Crm, Target::AtMost(1_000.0)),
    measure("crm_cached_ms", "ms", Group::Crm, Target::AtMost(1.0)),
    measure("get_dialogue", "calls/s", Group::Reads, Target::None),
    measure("models_cached_ms", "ms", Group::Reads, Target::AtMost(1.0)),
    measure("idle_tps", "tx/s", Group::Idle, Target::AtMost(10.0)),
    measure("rss_idle_mib", "MiB", Group::Start, Target::AtMost(60.0)),
    measure("rss_peak_mib", "MiB", Group::Turns, Target::None),
    measure("start_ms", "ms", Group::Start, Target::AtMost(1_000.0)),
];

/// What was measured.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    pub value: f64,
    pub baseline: Option<f64>,
    /// The least and the greatest sample: of the ratio where there is a baseline, else of the value.
    pub spread: Option<[f64; 2]>,
}

/// A row of the table.
#[derive(Debug, Serialize)]
pub struct Row {
    name: &'static str,
    value: Option<f64>,
    unit: &'static str,
    baseline: Option<f64>,
    ratio: Option<f64>,
    target: Option<String>,
    pass: Option<bool>,
    spread: Option<[f64; 2]>,
    error: Option<String>,
}

impl Row {
    /// The row of a measure and how measuring went. A row that failed does not pass.
    pub fn new(measure: &Measure, measured: Result<Measured, String>) -> Self {
        let (measured, error) = match measured {
            Ok(measured) => (Some(measured), None),
            Err(error) => (None, Some(error)),
        };
        let value = measured.map(|measured| measured.value);
        let baseline = measured.and_then(|measured| measured.baseline);
        let ratio = value.zip(baseline).map(|(value, baseline)| value / baseline);
        let (target, reached) = match measure.target {
            Target::None => (None, None),
            Target::AtLeast(least) => (Some(format!("≥ {least}")), value.map(|value| value >= least)),
            Target::AtMost(most) => (Some(format!("≤ {most}")), value.map(|value| value <= most)),
            Target::Ratio(least) => (Some(format!("ratio ≥ {least}")), ratio.map(|ratio| ratio >= least)),
            Target::RatioAtMost(most) => (Some(format!("ratio ≤ {most}")), ratio.map(|ratio| ratio <= most)),
        };
        Self {
            name: measure.name,
            value,
            unit: measure.unit,
            baseline,
            ratio,
            target,
            pass: if error.is_some() { Some(false) } else { reached },
            spread: measured.and_then(|measured| measured.spread),
            error,
        }
    }

    /// Its name, if it did not pass.
    pub fn missed(&self) -> Option<&'static str> {
        (self.pass == Some(false)).then_some(self.name)
    }

    fn cells(&self) -> [String; 8] {
        let show = |number: Option<f64>| number.map_or_else(|| "–".to_owned(), figure);
        [
            self.name.to_owned(),
            show(self.value),
            self.unit.to_owned(),
            show(self.baseline),
            show(self.ratio),
            self.spread.map_or_else(
                || "–".to_owned(),
                |[least, greatest]| format!("{} … {}", figure(least), figure(greatest)),
            ),
            self.target.clone().unwrap_or_else(|| "–".to_owned()),
            self.pass.map_or("–", |pass| if pass { "yes" } else { "NO" }).to_owned(),
        ]
    }
}

/// The table, in Markdown that reads well as it is; errors below it.
pub fn table(rows: &[Row]) -> String {
    let mut lines =
        vec![["row", "value", "unit", "baseline", "ratio", "spread", "target", "pass"].map(str::to_owned)];
    lines.extend(rows.iter().map(Row::cells));
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 8] = std::array::from_fn(width);
    let right = |column: usize| matches!(column, 1 | 3 | 4);
    let mut text = String::new();
    for (index, line) in lines.iter().enumerate() {
        for (column, (cell, width)) in line.iter().zip(widths).enumerate() {
            let _ = if right(column) {
                write!(text, "| {cell:>width$} ")
            } else {
                write!(text, "| {cell:<width$} ")
            };
        }
        text.push_str("|\n");
        if index == 0 {
            for (column, width) in widths.into_iter().enumerate() {
                let dashes = "-".repeat(width - usize::from(right(column)));
                let _ = write!(text, "| {dashes}{} ", if right(column) { ":" } else { "" });
            }
            text.push_str("|\n");
        }
    }
    for row in rows {
        if let Some(error) = &row.error {
            let _ = write!(text, "\n{}: {error}\n", row.name);
        }
    }
    text
}

/// A number with as many digits as mean something.
fn figure(number: f64) -> String {
    if number >= 1_000.0 {
        let digits = format!("{number:.0}");
        let mut text = String::new();
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                text.push(' ');
            }
            text.push(digit);
        }
        text
    } else if number >= 100.0 {
        format!("{number:.0}")
    } else if number >= 10.0 {
        format!("{number:.1}")
    } else {
        format!("{number:.2}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(value: f64, baseline: Option<f64>) -> Measured {
        Measured { value, baseline, spread: None }
    }

    #[test]
    fn figures_are_short() {
        assert_eq!(figure(1_234_567.8), "1 234 568");
        assert_eq!(figure(999.4), "999");
        assert_eq!(figure(12.34), "12.3");
        assert_eq!(figure(0.456), "0.46");
    }

    #[test]
    fn targets_are_judged() {
        let row = |target, measured| Row::new(&measure("a", "b", Group::Start, target), measured);
        assert_eq!(row(Target::Ratio(0.5), Ok(measured(5.0, Some(10.0)))).pass, Some(true));
        assert_eq!(row(Target::Ratio(0.5), Ok(measured(4.0, Some(10.0)))).pass, Some(false));
        assert_eq!(row(Target::RatioAtMost(1.1), Ok(measured(11.0, Some(10.0)))).pass, Some(true));
        assert_eq!(row(Target::RatioAtMost(1.1), Ok(measured(12.0, Some(10.0)))).pass, Some(false));
        assert_eq!(row(Target::AtMost(60.0), Ok(measured(61.0, None))).pass, Some(false));
        assert_eq!(row(Target::AtLeast(60.0), Ok(measured(61.0, None))).pass, Some(true));
        assert_eq!(row(Target::None, Ok(measured(61.0, None))).pass, None);
        assert_eq!(row(Target::None, Err("broken".to_owned())).missed(), Some("a"));
    }

    #[test]
    fn the_table_is_aligned_and_shows_errors() {
        let rows: Vec<Row> = MEASURES
            .iter()
            .map(|measure| Row::new(measure, Ok(measured(1.0, Some(2.0)))))
            .chain([Row::new(&MEASURES[0], Err("HTTP/1.1 503".to_owned()))])
            .collect();
        let table = table(&rows);
        let (lines, errors) = table.split_once("\n\n").unwrap();
        let widths: Vec<usize> = lines.lines().map(|line| line.chars().count()).collect();
        assert!(widths.iter().all(|width| *width == widths[0]), "{table}");
        assert_eq!(errors, "ingest_64: HTTP/1.1 503\n");
    }
}
