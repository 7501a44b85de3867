//! Cron schedules: when a `trigger_definition` fires, in its time zone, right across daylight-saving changes: a time that
//! the clocks leave out fires at the first moment after, once; a time that comes twice fires at the first, once.

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use chrono_tz::Tz;
use croner::parser::{CronParser, Seconds, Year};

/// A checked schedule in its time zone.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    definition: String,
    /// Boxed: it is ten times as large as any other trigger.
    cron: Box<croner::Cron>,
    zone: Tz,
}

/// Why a schedule is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// It is no cron expression.
    #[error("{0}")]
    Expression(String),
    /// There is no such time zone.
    #[error("there is no time zone {0:?}")]
    Zone(String),
    /// No day is like that.
    #[error("it never fires")]
    Never,
}

impl Schedule {
    /// Parses a cron expression of 5 fields, or of 6 with seconds first, or `@daily` and the like. Without `zone` (a name
    /// such as "Europe/Vienna") it is meant in UTC.
    pub fn parse(definition: &str, zone: Option<&str>) -> Result<Self, CronError> {
        let zone = zone.map_or(Ok(Tz::UTC), |name| name.parse().map_err(|_| CronError::Zone(name.to_owned())))?;
        let is_midnight = definition.trim().eq_ignore_ascii_case("@midnight");
        let written = definition;
        let definition = if is_midnight { "@daily" } else { definition }; // The one nickname the library does not know.
        let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
        let cron = parser.parse(definition).map_err(|why| CronError::Expression(why.to_string()))?;
        // A fixed moment in place of now: whether an expression can ever fire does not depend on the day it is read.
        cron.find_next_occurrence(&DateTime::UNIX_EPOCH, false).map_err(|_| CronError::Never)?;
        Ok(Self { definition: written.to_owned(), cron: Box::new(cron), zone })
    }

    /// The first time after `wall` at which it fires, both microseconds since the Unix epoch; `None`: never again.
    #[must_use]
    pub fn next_after(&self, wall: u64) -> Option<u64> {
        let since = DateTime::from_timestamp_micros(i64::try_from(wall).ok()?)?;
        let next = match self.cron.find_next_occurrence(&since.with_timezone(&self.zone), false) {
            Ok(next) => next,
            Err(_) => self.after_skipped_day(since)?,
        };
        u64::try_from(next.timestamp_micros()).ok()
    }

    /// Where a zone leaves out a whole day (Samoa, 2011-12-30), the library finds nothing from before it: the search goes
    /// on from the day's end. Zones change their clocks at full quarters of an hour.
    fn after_skipped_day(&self, since: DateTime<Utc>) -> Option<DateTime<Tz>> {
        let quarter = TimeDelta::minutes(15);
        let first = since.duration_trunc(quarter).ok()?;
        (1..=2 * 24 * 4).find_map(|quarters| {
            let from = first.checked_add_signed(quarter * quarters)?.with_timezone(&self.zone);
            self.cron.find_next_occurrence(&from, true).ok()
        })
    }

    /// As written.
    #[must_use]
    pub fn definition(&self) -> &str {
        &self.definition
    }

    /// Its time zone.
    #[must_use]
    pub fn zone(&self) -> Tz {
        self.zone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The next times it fires after `since`, as written in its zone.
    fn next(definition: &str, zone: &str, since: &str, count: usize) -> Vec<String> {
        let schedule = Schedule::parse(definition, Some(zone)).expect("a schedule");
        let mut wall = DateTime::parse_from_rfc3339(since).expect("a time").timestamp_micros() as u64;
        let mut times = Vec::new();
        for _ in 0..count {
            wall = schedule.next_after(wall).expect("a next time");
            let time = DateTime::from_timestamp_micros(wall as i64).expect("a time").with_timezone(&schedule.zone());
            times.push(time.format("%m-%d %H:%M:%S %z").to_string());
        }
        times
    }

    #[test]
    fn a_time_that_the_clocks_leave_out_fires_at_the_first_moment_after_once() {
        assert_eq!(
            next("30 2 * * *", "Europe/Vienna", "2026-03-28T12:00:00Z", 2),
            ["03-29 03:00:00 +0200", "03-30 02:30:00 +0200"]
        );
    }

    #[test]
    fn a_time_that_comes_twice_fires_once() {
        assert_eq!(
            next("30 2 * * *", "Europe/Vienna", "2026-10-24T12:00:00Z", 2),
            ["10-25 02:30:00 +0200", "10-26 02:30:00 +0100"]
        );
    }

    #[test]
    fn an_interval_goes_on_through_the_doubled_hour() {
        assert_eq!(
            next("*/30 * * * *", "Europe/Vienna", "2026-10-25T00:00:00Z", 4),
            ["10-25 02:30:00 +0200", "10-25 02:00:00 +0100", "10-25 02:30:00 +0100", "10-25 03:00:00 +0100"]
        );
    }

    #[test]
    fn a_whole_skipped_day_does_not_end_a_schedule() {
        assert_eq!(next("0 12 * * *", "Pacific/Apia", "2011-12-29T23:00:00Z", 1), ["12-31 12:00:00 +1400"]);
        assert_eq!(next("*/20 * * * *", "Pacific/Apia", "2011-12-30T09:50:00Z", 2)[0], "12-31 00:00:00 +1400");
    }

    #[test]
    fn five_and_six_fields_and_nicknames() {
        assert_eq!(next("*/10 * * * * *", "UTC", "2026-11-24T12:00:05.5Z", 1), ["11-24 12:00:10 +0000"]);
        assert_eq!(next("0 6 * * MON-FRI", "UTC", "2026-11-27T12:00:00Z", 1), ["11-30 06:00:00 +0000"]);
        for nickname in ["@daily", "@midnight"] {
            assert_eq!(next(nickname, "UTC", "2026-11-24T12:00:00Z", 1), ["11-25 00:00:00 +0000"]);
        }
        for nickname in ["@hourly", "@weekly", "@monthly", "@yearly", "@annually"] {
            assert!(Schedule::parse(nickname, None).is_ok(), "{nickname}");
        }
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        assert!(matches!(Schedule::parse("61 * * * *", None), Err(CronError::Expression(_))));
        assert!(matches!(Schedule::parse("* * *", None), Err(CronError::Expression(_))));
        assert!(matches!(Schedule::parse("", None), Err(CronError::Expression(_))));
        assert_eq!(Schedule::parse("0 0 30 2 *", None), Err(CronError::Never));
        assert_eq!(Schedule::parse("@daily", Some("Europe/Wien")), Err(CronError::Zone("Europe/Wien".to_owned())));
    }

    #[test]
    fn a_leap_day_is_waited_for() {
        assert_eq!(next("0 0 29 2 *", "UTC", "2026-11-24T12:00:00Z", 1), ["02-29 00:00:00 +0000"]);
    }
}
