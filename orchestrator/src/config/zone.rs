//! Time zones by name.

use chrono_tz::{TZ_VARIANTS, Tz};

use super::error::did_you_mean;

/// The time zone of this name, such as "Europe/Vienna".
pub(super) fn named(name: &str) -> Result<Tz, String> {
    let near = || did_you_mean(name, TZ_VARIANTS.iter().map(|zone| zone.name()));
    name.parse().map_err(|_| format!("there is no such time zone{}", near()))
}

/// The system's time zone: what TZ says, else what the system is set to, else UTC.
pub(super) fn system() -> Tz {
    let from_environment = std::env::var("TZ").ok().and_then(|text| of_variable(&text));
    let from_system = || iana_time_zone::get_timezone().ok().and_then(|name| name.parse().ok());
    from_environment.or_else(from_system).unwrap_or(Tz::UTC)
}

/// What the variable TZ may hold (tzset(3)): a name or the path of its file, after an optional colon. Rules such as
/// "CET-1CEST" are not understood.
fn of_variable(text: &str) -> Option<Tz> {
    let bare = text.strip_prefix(':').unwrap_or(text);
    let name = bare.split_once("zoneinfo/").map_or(bare, |(_, name)| name);
    name.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_names_a_zone_in_several_ways() {
        for text in ["Europe/Vienna", ":Europe/Vienna", "/usr/share/zoneinfo/Europe/Vienna"] {
            assert_eq!(of_variable(text), Some(Tz::Europe__Vienna), "{text}");
        }
        assert_eq!(of_variable(""), None);
        assert_eq!(of_variable("/etc/localtime"), None);
    }

    #[test]
    fn a_misspelt_zone_is_recognised() {
        assert_eq!(named("Europe/Vienna"), Ok(Tz::Europe__Vienna));
        assert_eq!(
            named("Europe/Viena"),
            Err("there is no such time zone; did you mean \"Europe/Vienna\"?".to_owned())
        );
    }
}
