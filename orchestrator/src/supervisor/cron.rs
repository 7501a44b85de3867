//! Cron schedules: when a `trigger_definition` fires, in its time zone, right across daylight-saving changes.

use chrono_tz::Tz;

/// A checked schedule in its time zone.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    cron: croner::Cron,
    zone: Tz,
}
