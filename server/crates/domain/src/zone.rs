//! Time zones: the one place that knows what the clocks on people's walls show.
//!
//! The rules come from the IANA database that is built in, not from the machine: processes on different machines must
//! agree on when an agent's day begins, and a replay on what the agent was told.

use jiff::{
    Timestamp as Instant,
    civil::{Date, Time},
    tz::TimeZone,
};

use crate::Timestamp;

/// A time zone by its IANA name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone(TimeZone);

impl Zone {
    /// Finds a zone, such as `Europe/Berlin` or `UTC`. `None`: there is no such one.
    pub fn find(name: &str) -> Option<Self> {
        // The library would take other spellings of `UTC`, and offsets.
        if name.is_empty() || name.len() > 64 || !name.is_ascii() {
            return None;
        }
        TimeZone::get(name).ok().map(Self)
    }

    /// Coordinated universal time.
    pub fn utc() -> Self {
        Self(TimeZone::UTC)
    }

    /// What the clock shows.
    pub fn at(&self, moment: Timestamp) -> WallClock {
        let instant = Instant::from_second(moment.unix_timestamp()).unwrap_or_default();
        let zoned = instant.to_zoned(self.0.clone());
        let weekday = match zoned.weekday() {
            jiff::civil::Weekday::Monday => "Monday",
            jiff::civil::Weekday::Tuesday => "Tuesday",
            jiff::civil::Weekday::Wednesday => "Wednesday",
            jiff::civil::Weekday::Thursday => "Thursday",
            jiff::civil::Weekday::Friday => "Friday",
            jiff::civil::Weekday::Saturday => "Saturday",
            jiff::civil::Weekday::Sunday => "Sunday",
        };
        WallClock {
            now: zoned.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
            date: zoned.date().to_string(),
            time: zoned.strftime("%H:%M").to_string(),
            weekday,
        }
    }

    pub(crate) fn date(&self, moment: Timestamp) -> Date {
        let instant = Instant::from_second(moment.unix_timestamp()).unwrap_or_default();
        instant.to_zoned(self.0.clone()).date()
    }

    /// The moment at which the clock shows this. An hour that is left out in spring comes as much later as the clock jumps;
    /// one that comes twice in autumn is meant the first time.
    pub(crate) fn moment(&self, date: Date, time: Time) -> Timestamp {
        let seconds = date
            .to_datetime(time)
            .to_zoned(self.0.clone())
            .map_or_else(|_| Instant::MAX.as_second(), |zoned| zoned.timestamp().as_second());
        Timestamp::from_unix_timestamp(seconds).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

/// What the clock on the wall shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WallClock {
    /// Date and time with their offset, as RFC 3339 writes them.
    pub now: String,
    /// `2026-11-21`.
    pub date: String,
    /// `14:05`.
    pub time: String,
    /// `Saturday`.
    pub weekday: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_known_by_name() {
        for good in ["UTC", "Europe/Berlin", "Asia/Kathmandu"] {
            assert!(Zone::find(good).is_some(), "{good}");
        }
        for bad in ["", "Mars/Olympus", "+02:00", "Europe/Бонн"] {
            assert!(Zone::find(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn the_clock_on_the_wall() {
        let clock = Zone::find("Asia/Kathmandu").unwrap().at(Timestamp::UNIX_EPOCH);
        let expected = WallClock {
            now: "1970-01-01T05:30:00+05:30".to_owned(),
            date: "1970-01-01".to_owned(),
            time: "05:30".to_owned(),
            weekday: "Thursday",
        };
        assert_eq!(clock, expected);
    }
}
