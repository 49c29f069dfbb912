//! The clock of a simulation.

use std::time::Duration;

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::json;
use switchboard_sdk::{Client, v1};

use crate::output::{Output, Row, moment, print};

/// What to do with the clock.
#[derive(Debug, Subcommand)]
pub enum Clock {
    /// Moves it ahead, for all processes of the simulation. It never goes back.
    Advance {
        /// How much later it is to be, such as `90s`, `15m`, `3h` or `21d`.
        #[arg(value_parser = duration)]
        by: Duration,
    },
}

fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "must be a whole number and s, m, h or d, such as 15m".to_owned();
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(wrong)
}

pub(crate) async fn run(client: &Client, output: Output, command: Clock) -> anyhow::Result<()> {
    let Clock::Advance { by } = command;
    let request = v1::AdvanceClockRequest { duration: Some(by.try_into().context("too long a time")?) };
    let answer = client.workspaces().advance_clock(request).await?.into_inner();
    let (time, ahead) = (moment(answer.time.as_ref()), answer.ahead.unwrap_or_default().seconds);
    let row =
        Row { json: json!({ "time": time, "aheadSeconds": ahead }), cells: vec![time, format!("{ahead} s")] };
    print(output, &["TIME", "AHEAD"], &[row]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_whole_numbers_with_a_unit() {
        assert_eq!(duration("15m"), Ok(Duration::from_mins(15)));
        assert_eq!(duration("21d"), Ok(Duration::from_hours(21 * 24)));
        for wrong in ["", "15", "m", "1.5h", "-1s", "3w", "ä", "99999999999999999999d"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
