//! Cron schedules: when a `trigger_definition` fires, in its time zone, right across daylight-saving changes.

use chrono::{DateTime, TimeDelta};
use chrono_tz::Tz;
use croner::parser::{CronParser, Seconds, Year};

/// A checked schedule in its time zone.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    cron: croner::Cron,
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
        let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
        let cron = parser.parse(definition).map_err(|why| CronError::Expression(why.to_string()))?;
        // A fixed moment in place of now: whether an expression can ever fire does not depend on the day it is read.
        let since = DateTime::UNIX_EPOCH.with_timezone(&Tz::UTC);
        cron.find_next_occurrence(&since, false).map_err(|_| CronError::Never)?;
        Ok(Self { cron, zone })
    }

    /// The first time after `wall` at which it fires, both microseconds since the Unix epoch; `None`: never again.
    #[must_use]
    pub fn next_after(&self, wall: u64) -> Option<u64> {
        let mut since = DateTime::from_timestamp_micros(i64::try_from(wall).ok()?)?.with_timezone(&self.zone);
        // The library gives up at a day that the zone leaves out altogether: it goes on the day after.
        for _ in 0..2 {
            if let Ok(next) = self.cron.find_next_occurrence(&since, false) {
                return u64::try_from(next.timestamp_micros()).ok();
            }
            since = since.checked_add_signed(TimeDelta::hours(24))?;
        }
        None
    }

    /// Its time zone.
    #[must_use]
    pub fn zone(&self) -> Tz {
        self.zone
    }
}
