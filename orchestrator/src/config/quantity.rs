//! Durations ("250ms", "1.5h") and sizes ("256MiB") as people write them, and names of signals.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

use super::error::did_you_mean;
use crate::signal;

/// Nanoseconds in each unit of time.
const TIMES: [(&str, u128); 5] = [
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60 * 1_000_000_000),
    ("h", 3_600 * 1_000_000_000),
    ("d", 86_400 * 1_000_000_000),
];

/// Bytes in each unit of size.
const SIZES: [(&str, u128); 10] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

/// Longest duration: a hundred years, which can be added to any time without overflow.
const MAX_DURATION: Duration = Duration::from_secs(36_525 * 86_400);

/// Parses a duration such as "250ms", "10s", "5m", "1.5h" or "7d".
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let refused = || {
        format!("{text:?} is no duration: it is a number and ms, s, m, h or d, such as \"250ms\", \"10s\" or \"1.5h\"")
    };
    let nanos = scale(text, &TIMES).ok_or_else(refused)?;
    let too_long = || format!("{text:?} is too long: 36525d is the most");
    let seconds = u64::try_from(nanos / 1_000_000_000).map_err(|_| too_long())?;
    let duration = Duration::new(seconds, (nanos % 1_000_000_000) as u32);
    if duration > MAX_DURATION { Err(too_long()) } else { Ok(duration) }
}

/// Parses a size such as "256MiB" into bytes.
pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    let refused =
        || format!("{text:?} is no size: it is a number and B, KiB, MiB, GiB or TiB, such as \"10KiB\" or \"256MiB\"");
    let bytes = scale(text, &SIZES).ok_or_else(refused)?;
    // TOML's own integers end there too.
    i64::try_from(bytes).map(i64::cast_unsigned).map_err(|_| format!("{text:?} is too large"))
}

/// A decimal number times its unit, rounded down.
fn scale(text: &str, units: &[(&str, u128)]) -> Option<u128> {
    let unit_start = text.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
    let (number, unit) = text.split_at(unit_start);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    let (whole, fraction) = number.split_once('.').map_or((number, "0"), |(whole, fraction)| (whole, fraction));
    // More digits than these are of no use, and fewer cannot overflow.
    if whole.is_empty() || fraction.is_empty() || whole.len() > 15 || fraction.len() > 9 {
        return None;
    }
    let whole: u128 = whole.parse().ok()?;
    let parts: u128 = fraction.parse().ok()?;
    Some(whole * factor + parts * factor / 10_u128.pow(u32::try_from(fraction.len()).ok()?))
}

/// A duration as written.
#[derive(Debug, Clone, Copy)]
pub(super) struct RawDuration(pub Duration);

impl<'de> Deserialize<'de> for RawDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DurationVisitor)
    }
}

struct DurationVisitor;

impl Visitor<'_> for DurationVisitor {
    type Value = RawDuration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration in quotes, such as \"250ms\", \"10s\" or \"1.5h\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        parse_duration(text).map(RawDuration).map_err(E::custom)
    }
}

impl JsonSchema for RawDuration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": r"^[0-9]+(\.[0-9]+)?(ms|s|m|h|d)$",
            "description": "A number and ms, s, m, h or d, such as \"250ms\", \"10s\" or \"1.5h\"",
        })
    }
}

/// A size in bytes as written.
#[derive(Debug, Clone, Copy)]
pub(super) struct RawSize(pub u64);

impl<'de> Deserialize<'de> for RawSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SizeVisitor)
    }
}

struct SizeVisitor;

impl Visitor<'_> for SizeVisitor {
    type Value = RawSize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of bytes, or a size such as \"10KiB\" or \"256MiB\"")
    }

    fn visit_i64<E: Error>(self, bytes: i64) -> Result<Self::Value, E> {
        u64::try_from(bytes).map(RawSize).map_err(|_| E::invalid_value(Unexpected::Signed(bytes), &self))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        parse_size(text).map(RawSize).map_err(E::custom)
    }
}

impl JsonSchema for RawSize {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                { "type": "integer", "minimum": 0 },
                { "type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?(B|[KMGT]iB|[kKMGT]B)$" },
            ],
            "description": "Bytes: a number, or a string such as \"10KiB\" or \"256MiB\"",
        })
    }
}

/// The name of a signal, in its full form whatever was written.
#[derive(Debug, Clone, Copy)]
pub(super) struct RawSignal(pub &'static str);

impl<'de> Deserialize<'de> for RawSignal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SignalVisitor)
    }
}

struct SignalVisitor;

impl Visitor<'_> for SignalVisitor {
    type Value = RawSignal;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a signal, such as \"SIGTERM\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        let refused = || E::custom(format!("{text:?} is no signal{}", did_you_mean(text, signal::names())));
        signal::canonical(text).map(RawSignal).ok_or_else(refused)
    }
}

impl JsonSchema for RawSignal {
    fn schema_name() -> Cow<'static, str> {
        "Signal".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "examples": ["SIGTERM", "SIGINT", "SIGHUP"],
            "description": "The name of a signal; \"SIG\" may be left out",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_number_and_a_unit() {
        for (text, millis) in [
            ("250ms", 250),
            ("10s", 10_000),
            ("5m", 300_000),
            ("1.5h", 5_400_000),
            ("7d", 604_800_000),
            ("0s", 0),
            ("0.001s", 1),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "10", "s", "10x", "-1s", "1.s", ".5s", "1.2.3s", "10 s", "1e3s", "9999999999999999s"] {
            assert!(parse_duration(text).is_err_and(|why| why.contains("is no duration")), "{text}");
        }
        assert_eq!(parse_duration("99999999d"), Err("\"99999999d\" is too long: 36525d is the most".to_owned()));
    }

    #[test]
    fn a_size_is_a_number_and_a_unit() {
        for (text, bytes) in [
            ("10KiB", 10_240),
            ("256MiB", 256 << 20),
            ("1GiB", 1 << 30),
            ("1.5kB", 1500),
            ("7B", 7),
            ("2TB", 2_000_000_000_000),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "10", "KiB", "10kib", "-1B", "10 KiB"] {
            assert!(parse_size(text).is_err_and(|why| why.contains("is no size")), "{text}");
        }
        assert_eq!(parse_size("99999999999TiB"), Err("\"99999999999TiB\" is too large".to_owned()));
    }
}
