//! Cron schedules: when a `trigger_definition` fires, in its time zone, right across daylight-saving changes.

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
        let since = chrono::DateTime::UNIX_EPOCH.with_timezone(&Tz::UTC);
        cron.find_next_occurrence(&since, false).map_err(|_| CronError::Never)?;
        Ok(Self { cron, zone })
    }

    /// Its time zone.
    #[must_use]
    pub fn zone(&self) -> Tz {
        self.zone
    }
}
