//! Schedules: when an agent is there, and what it does when it isn't.

use jiff::civil::{Date, Time, Weekday};
use serde::{Deserialize, Serialize};

use crate::{Timestamp, dialogue::stored_enum, error::Violations, policy::MAX_POLICY_TEXT, zone::Zone};

stored_enum! {
    /// A day of the week.
    Day {
        /// Monday.
        Monday = "MONDAY",
        /// Tuesday.
        Tuesday = "TUESDAY",
        /// Wednesday.
        Wednesday = "WEDNESDAY",
        /// Thursday.
        Thursday = "THURSDAY",
        /// Friday.
        Friday = "FRIDAY",
        /// Saturday.
        Saturday = "SATURDAY",
        /// Sunday.
        Sunday = "SUNDAY",
    }
}

impl Day {
    fn of(weekday: Weekday) -> Self {
        match weekday {
            Weekday::Monday => Self::Monday,
            Weekday::Tuesday => Self::Tuesday,
            Weekday::Wednesday => Self::Wednesday,
            Weekday::Thursday => Self::Thursday,
            Weekday::Friday => Self::Friday,
            Weekday::Saturday => Self::Saturday,
            Weekday::Sunday => Self::Sunday,
        }
    }
}

stored_enum! {
    /// What happens to a turn that begins outside of the hours.
    Outside {
        /// A text is sent in place of an answer.
        AnswerText = "ANSWER_TEXT",
        /// Nothing is sent.
        StaySilent = "STAY_SILENT",
        /// The dialogue is handed to people.
        HandOver = "HAND_OVER",
        /// It waits for the next opening.
        Wait = "WAIT",
    }
}

/// A span of a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hours {
    /// Of which day of the week.
    pub day: Day,
    /// From when on, `HH:MM`.
    pub start: String,
    /// Until when, `HH:MM`, `24:00` the latest; not after `start`: on the next day.
    pub end: String,
}

/// A date with hours of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holiday {
    /// Which, `YYYY-MM-DD`.
    pub date: String,
    /// From when on, `HH:MM`; empty, as `end`: closed all day.
    pub start: String,
    /// Until when, as in [`Hours`].
    pub end: String,
}

/// When an agent is there. Its time zone is the agent's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// The spans of an ordinary week.
    pub hours: Vec<Hours>,
    /// The dates that are not ordinary. What began the evening before goes on into them.
    pub holidays: Vec<Holiday>,
    /// What happens outside of the hours.
    pub outside: Outside,
    /// What is sent then, for `ANSWER_TEXT`.
    pub outside_text: String,
}

/// How far ahead an opening is looked for: past any run of holidays that can be saved.
const MOST_DAYS: usize = 800;
const MAX_HOURS: usize = 70;
const MAX_HOLIDAYS: usize = 366;

impl Schedule {
    /// Names all that is wrong with it; `at` is its path in the request.
    pub fn check(&self, violations: &mut Violations, at: &str) {
        let field = |rest: &str| format!("{at}.{rest}");
        violations.require(
            (1..=MAX_HOURS).contains(&self.hours.len()),
            &field("hours"),
            "is required: 1 to 70 spans",
        );
        for (number, hours) in self.hours.iter().enumerate() {
            check_span(violations, &field(&format!("hours[{number}]")), &hours.start, &hours.end);
        }
        violations.require(self.holidays.len() <= MAX_HOLIDAYS, &field("holidays"), "may be up to 366");
        for (number, holiday) in self.holidays.iter().enumerate() {
            let field = field(&format!("holidays[{number}]"));
            violations.require(date(&holiday.date).is_some(), &format!("{field}.date"), "must be YYYY-MM-DD");
            violations.require(
                self.holidays[..number].iter().all(|other| other.date != holiday.date),
                &format!("{field}.date"),
                "is there twice",
            );
            if !(holiday.start.is_empty() && holiday.end.is_empty()) {
                check_span(violations, &field, &holiday.start, &holiday.end);
            }
        }
        violations.require(
            self.outside != Outside::AnswerText || !self.outside_text.trim().is_empty(),
            &field("outside_text"),
            "is required for ANSWER_TEXT",
        );
        violations.require(
            self.outside_text.chars().count() <= MAX_POLICY_TEXT && !self.outside_text.contains('\0'),
            &field("outside_text"),
            "may have up to 4,096 characters, without U+0000",
        );
    }

    /// Whether the agent is there at this moment.
    pub fn is_open(&self, zone: &Zone, now: Timestamp) -> bool {
        let today = zone.date(now);
        // A span may have begun yesterday.
        [today.yesterday().ok(), Some(today)]
            .into_iter()
            .flatten()
            .flat_map(|date| self.spans(zone, date))
            .any(|(start, end)| start <= now && now < end)
    }

    /// When the agent comes next, after this moment. `None`: not within two years.
    pub fn next_opening(&self, zone: &Zone, now: Timestamp) -> Option<Timestamp> {
        let today = zone.date(now);
        today.series(jiff::ToSpan::days(1)).take(MOST_DAYS).find_map(|date| {
            self.spans(zone, date).map(|(start, _)| start).filter(|start| *start > now).min()
        })
    }

    /// The spans that begin on a date.
    fn spans(&self, zone: &Zone, date: Date) -> impl Iterator<Item = (Timestamp, Timestamp)> {
        let name = date.to_string();
        let holiday = self.holidays.iter().find(|holiday| holiday.date == name);
        let day = Day::of(date.weekday());
        let ordinary = self.hours.iter().filter(move |hours| holiday.is_none() && hours.day == day);
        let texts =
            holiday.map(|it| (&it.start, &it.end)).into_iter().chain(ordinary.map(|it| (&it.start, &it.end)));
        texts.filter_map(move |(start, end)| {
            let ((start, _), (end, midnight)) = (time(start)?, time(end)?);
            let last = if midnight || end <= start { date.tomorrow().ok()? } else { date };
            Some((zone.moment(date, start), zone.moment(last, end)))
        })
    }
}

fn check_span(violations: &mut Violations, at: &str, start: &str, end: &str) {
    violations.require(
        time(start).is_some_and(|(_, midnight)| !midnight),
        &format!("{at}.start"),
        "must be HH:MM, 00:00 to 23:59",
    );
    violations.require(time(end).is_some(), &format!("{at}.end"), "must be HH:MM, 00:00 to 24:00");
}

/// Reads `HH:MM`; `24:00` is the next midnight, and says so.
fn time(text: &str) -> Option<(Time, bool)> {
    if text == "24:00" {
        return Some((Time::midnight(), true));
    }
    let (hours, minutes) = text.split_once(':')?;
    let number = |part: &str| {
        (part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit())).then(|| part.parse().ok())?
    };
    Some((Time::new(number(hours)?, number(minutes)?, 0, 0).ok()?, false))
}

fn date(text: &str) -> Option<Date> {
    // The library would take other spellings of a date.
    text.parse::<Date>().ok().filter(|date| date.to_string() == text)
}

#[cfg(test)]
mod tests {
    use time::{format_description::well_known::Rfc3339, macros::datetime};

    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text, &Rfc3339).unwrap()
    }

    fn schedule(hours: &[(Day, &str, &str)], holidays: &[(&str, &str, &str)]) -> Schedule {
        let hours = hours.iter().map(|(day, start, end)| Hours {
            day: *day,
            start: (*start).to_owned(),
            end: (*end).to_owned(),
        });
        let holidays = holidays.iter().map(|(date, start, end)| Holiday {
            date: (*date).to_owned(),
            start: (*start).to_owned(),
            end: (*end).to_owned(),
        });
        Schedule {
            hours: hours.collect(),
            holidays: holidays.collect(),
            outside: Outside::StaySilent,
            outside_text: String::new(),
        }
    }

    #[test]
    fn weekly_hours() {
        let zone = Zone::find("Europe/Berlin").unwrap();
        let it = schedule(&[(Day::Monday, "09:00", "17:00"), (Day::Friday, "22:00", "02:00")], &[]);
        // 2026-11-23 is a Monday; Berlin is an hour ahead.
        for (moment, open) in [
            ("2026-11-23T07:59:59Z", false),
            ("2026-11-23T08:00:00Z", true),
            ("2026-11-23T15:59:59Z", true),
            ("2026-11-23T16:00:00Z", false),
            ("2026-11-27T21:00:00Z", true),
            ("2026-11-28T00:59:59Z", true),
            ("2026-11-28T01:00:00Z", false),
        ] {
            assert_eq!(it.is_open(&zone, at(moment)), open, "{moment}");
        }
        assert_eq!(it.next_opening(&zone, at("2026-11-23T08:00:00Z")), Some(at("2026-11-27T21:00:00Z")));
        assert_eq!(it.next_opening(&zone, at("2026-11-28T00:00:00Z")), Some(at("2026-11-30T08:00:00Z")));
    }

    #[test]
    fn holidays_have_their_own_hours_or_none() {
        let zone = Zone::find("UTC").unwrap();
        let it = schedule(
            &[(Day::Thursday, "09:00", "17:00"), (Day::Friday, "09:00", "24:00")],
            &[("2026-12-24", "10:00", "12:00"), ("2026-12-25", "", "")],
        );
        for (moment, open) in [
            ("2026-12-24T09:30:00Z", false),
            ("2026-12-24T11:00:00Z", true),
            ("2026-12-24T12:00:00Z", false),
            ("2026-12-25T12:00:00Z", false),
            ("2027-01-01T23:59:59Z", true),
            ("2027-01-02T00:00:00Z", false),
        ] {
            assert_eq!(it.is_open(&zone, at(moment)), open, "{moment}");
        }
        assert_eq!(it.next_opening(&zone, at("2026-12-24T12:00:00Z")), Some(at("2026-12-31T09:00:00Z")));
    }

    #[test]
    fn the_clock_jumps() {
        let zone = Zone::find("Europe/Berlin").unwrap();
        let it = schedule(&[(Day::Sunday, "02:30", "03:30")], &[]);
        // In spring 02:00 to 03:00 is left out (01:00 UTC): half past two comes as half past three, when it closes.
        let spring = datetime!(2027-03-28 01:30 UTC);
        assert!(!it.is_open(&zone, spring) && !it.is_open(&zone, datetime!(2027-03-28 00:59 UTC)));
        // In autumn 02:00 to 03:00 comes twice; it opens the first time, and stays open through the second.
        for (moment, open) in [
            (datetime!(2026-10-25 00:29 UTC), false),
            (datetime!(2026-10-25 00:30 UTC), true),
            (datetime!(2026-10-25 01:30 UTC), true),
            (datetime!(2026-10-25 02:29 UTC), true),
            (datetime!(2026-10-25 02:30 UTC), false),
        ] {
            assert_eq!(it.is_open(&zone, moment), open, "{moment}");
        }
        assert_eq!(
            it.next_opening(&zone, datetime!(2026-10-24 12:00 UTC)),
            Some(datetime!(2026-10-25 00:30 UTC))
        );
        // Nine in the morning stays nine in the morning on either side of a change.
        let it = schedule(&[(Day::Saturday, "09:00", "10:00"), (Day::Monday, "09:00", "10:00")], &[]);
        assert_eq!(
            it.next_opening(&zone, datetime!(2027-03-26 12:00 UTC)),
            Some(datetime!(2027-03-27 08:00 UTC))
        );
        assert_eq!(
            it.next_opening(&zone, datetime!(2027-03-27 12:00 UTC)),
            Some(datetime!(2027-03-29 07:00 UTC))
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        let fields = |schedule: &Schedule| {
            let mut violations = Violations::default();
            schedule.check(&mut violations, "s");
            let error = violations.finish().err();
            error.map_or_else(Vec::new, |error| {
                error.fields.into_iter().map(|violation| violation.field).collect()
            })
        };
        let good = schedule(&[(Day::Monday, "00:00", "24:00")], &[("2026-12-25", "", "")]);
        assert_eq!(fields(&good), [""; 0]);
        for (bad, field) in [
            (schedule(&[], &[]), "s.hours"),
            (schedule(&[(Day::Monday, "24:00", "10:00")], &[]), "s.hours[0].start"),
            (schedule(&[(Day::Monday, "9:00", "10:00")], &[]), "s.hours[0].start"),
            (schedule(&[(Day::Monday, "09:00", "10:60")], &[]), "s.hours[0].end"),
            (
                Schedule { holidays: schedule(&[], &[("25.12.2026", "", "")]).holidays, ..good.clone() },
                "s.holidays[0].date",
            ),
            (
                Schedule { holidays: schedule(&[], &[("2026-02-30", "", "")]).holidays, ..good.clone() },
                "s.holidays[0].date",
            ),
            (
                Schedule { holidays: schedule(&[], &[("2026-12-25", "09:00", "")]).holidays, ..good.clone() },
                "s.holidays[0].end",
            ),
            (Schedule { outside: Outside::AnswerText, ..good.clone() }, "s.outside_text"),
        ] {
            assert_eq!(fields(&bad), [field], "{bad:?}");
        }
    }
}
