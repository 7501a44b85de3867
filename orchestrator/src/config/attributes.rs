//! What `user`, `group`, `umask`, `nice`, `limits`, `memory` and `cpu` of a process mean.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Unexpected, Visitor};

use super::at::{At, Entries};
use super::error::did_you_mean;
use super::quantity::{RawSize, parse_duration, parse_size};
use crate::plan::{Account, Attributes, Limit, Resource};

/// As much memory as a program needs to come up at all; who writes less has mistyped.
const LEAST_MEMORY: u64 = 64 * 1024;
/// More processors than any machine has.
const MOST_CPU: f64 = 10_000.0;

/// These keys, as written.
pub(super) struct RawAttributes {
    pub user: Option<At<RawAccount>>,
    pub group: Option<At<RawAccount>>,
    pub umask: Option<At<RawMode>>,
    pub nice: Option<At<i64>>,
    pub limits: Entries<At<RawLimit>>,
    pub memory: Option<At<RawSize>>,
    pub cpu: Option<At<f64>>,
}

/// Checks them; `refuse(key, span, why)` takes what is wrong.
pub(super) fn attributes(raw: RawAttributes, mut refuse: impl FnMut(&str, std::ops::Range<usize>, &str)) -> Attributes {
    if cfg!(windows) {
        refuse_all(&raw, &mut refuse);
    }
    let mut limits: Vec<Limit> = Vec::new();
    for (name, value) in raw.limits.0 {
        match limit(&name.value, value.value) {
            Ok(limit) => limits.push(limit),
            Err((at_name, why)) => {
                let span = if at_name { name.span } else { value.span };
                refuse(&format!("limits.{}", name.value), span, &why);
            }
        }
    }
    limits.sort_by_key(|limit| limit.resource);
    Attributes {
        user: raw.user.map(|user| user.value.0),
        group: raw.group.map(|group| group.value.0),
        umask: raw.umask.map(|umask| umask.value.0),
        nice: raw.nice.and_then(|nice| {
            let within = i32::try_from(nice.value).ok().filter(|nice| (-20..=19).contains(nice));
            within.or_else(|| {
                refuse("nice", nice.span, &format!("{} is not from -20 to 19", nice.value));
                None
            })
        }),
        limits,
        memory: raw.memory.map(|memory| {
            if memory.value.0 < LEAST_MEMORY {
                refuse("memory", memory.span, "no program runs in less than 64KiB");
            }
            memory.value.0
        }),
        cpu: raw.cpu.map(|cpu| {
            if !(0.01..=MOST_CPU).contains(&cpu.value) {
                refuse("cpu", cpu.span, &format!("{} is not from 0.01 to {MOST_CPU} processors", cpu.value));
            }
            cpu.value
        }),
    }
}

/// None of them has a meaning there but `memory` and `cpu`, which are told to be without effect.
fn refuse_all(raw: &RawAttributes, refuse: &mut impl FnMut(&str, std::ops::Range<usize>, &str)) {
    let spans = [
        ("user", raw.user.as_ref().map(|at| at.span.clone())),
        ("group", raw.group.as_ref().map(|at| at.span.clone())),
        ("umask", raw.umask.as_ref().map(|at| at.span.clone())),
        ("nice", raw.nice.as_ref().map(|at| at.span.clone())),
        ("limits", raw.limits.0.first().map(|(name, _)| name.span.clone())),
    ];
    for (key, span) in spans {
        if let Some(span) = span {
            refuse(key, span, "Windows has nothing like it");
        }
    }
}

/// One limit; what is wrong with it, and whether that is its name.
fn limit(name: &str, raw: RawLimit) -> Result<Limit, (bool, String)> {
    let resource = Resource::ALL.iter().find(|(known, _)| *known == name).map(|(_, resource)| *resource);
    let unknown = || {
        let near = did_you_mean(name, Resource::ALL.iter().map(|(name, _)| *name));
        (true, format!("there is no limit of this name here{near}"))
    };
    let resource = resource.ok_or_else(unknown)?;
    let number = |value: RawAmount| amount(resource, value).map_err(|why| (false, why));
    let (soft, hard) = match raw {
        RawLimit::Both(value) => {
            let value = number(value)?;
            (value, value)
        }
        RawLimit::Each(RawEach { soft, hard }) => {
            let soft = soft.map(number).transpose()?;
            let hard = hard.map(number).transpose()?;
            let missing = || (false, "it needs soft, hard, or both".to_owned());
            (soft.or(hard).ok_or_else(missing)?, hard.or(soft).ok_or_else(missing)?)
        }
    };
    if hard.is_some_and(|hard| soft.is_none_or(|soft| soft > hard)) {
        return Err((false, "soft is more than hard".to_owned()));
    }
    Ok(Limit { resource, soft, hard })
}

/// A number of the resource's unit; `None` is no limit.
fn amount(resource: Resource, raw: RawAmount) -> Result<Option<u64>, String> {
    match raw {
        RawAmount::Number(number) => Ok(Some(number)),
        RawAmount::Text(text) if matches!(text.as_str(), "infinity" | "unlimited") => Ok(None),
        RawAmount::Text(text) if resource.is_in_bytes() => parse_size(&text).map(Some),
        RawAmount::Text(text) if resource == Resource::Cpu => {
            parse_duration(&text).map(|duration| Some(duration.as_secs()))
        }
        RawAmount::Text(text) if resource == Resource::Rttime => {
            let micros = parse_duration(&text)?.as_micros();
            u64::try_from(micros).map(Some).map_err(|_| format!("{text:?} is too long"))
        }
        RawAmount::Text(text) => Err(format!("{text:?} is neither a number nor \"infinity\"")),
    }
}

/// A user or group: a name or a number.
#[derive(Debug, Clone)]
pub(super) struct RawAccount(pub Account);

impl<'de> Deserialize<'de> for RawAccount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AccountVisitor)
    }
}

struct AccountVisitor;

impl Visitor<'_> for AccountVisitor {
    type Value = RawAccount;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name in quotes, or a number")
    }

    fn visit_i64<E: Error>(self, id: i64) -> Result<Self::Value, E> {
        // The largest number means "leave it as it is" to the kernel.
        let id = u32::try_from(id).ok().filter(|id| *id != u32::MAX);
        id.map(|id| RawAccount(Account::Id(id))).ok_or_else(|| E::custom("no user or group has this number"))
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        if let Ok(id) = name.parse::<i64>() {
            return self.visit_i64(id);
        }
        if name.is_empty() || name.contains(['\0', ':', '/']) {
            return Err(E::custom(format!("{name:?} is no name of a user or group")));
        }
        Ok(RawAccount(Account::Name(name.to_owned())))
    }
}

impl JsonSchema for RawAccount {
    fn schema_name() -> Cow<'static, str> {
        "Account".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "integer"], "description": "A name, or a number" })
    }
}

/// Permission bits: octal digits in quotes, or a number (0o027).
#[derive(Debug, Clone, Copy)]
pub(super) struct RawMode(pub u32);

impl<'de> Deserialize<'de> for RawMode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ModeVisitor)
    }
}

struct ModeVisitor;

impl Visitor<'_> for ModeVisitor {
    type Value = RawMode;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("octal digits in quotes such as \"027\", or 0o027")
    }

    fn visit_i64<E: Error>(self, bits: i64) -> Result<Self::Value, E> {
        let mode = u32::try_from(bits).ok().filter(|mode| *mode <= 0o777);
        mode.map(RawMode).ok_or_else(|| E::invalid_value(Unexpected::Signed(bits), &self))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        let digits = text.strip_prefix("0o").unwrap_or(text);
        let mode = u32::from_str_radix(digits, 8).ok().filter(|mode| *mode <= 0o777 && !digits.starts_with('+'));
        mode.map(RawMode).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}

impl JsonSchema for RawMode {
    fn schema_name() -> Cow<'static, str> {
        "Mode".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                { "type": "string", "pattern": "^(0o)?[0-7]{1,4}$" },
                { "type": "integer", "minimum": 0, "maximum": 0o777 },
            ],
            "description": "Octal digits in quotes, such as \"027\", or a number, such as 0o027",
        })
    }
}

/// A limit: one amount for both, or soft and hard.
#[derive(Debug)]
pub(super) enum RawLimit {
    Both(RawAmount),
    Each(RawEach),
}

/// Soft and hard limit.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub(super) struct RawEach {
    soft: Option<RawAmount>,
    hard: Option<RawAmount>,
}

/// A number, a size or duration, or "infinity".
#[derive(Debug, Clone)]
pub(super) enum RawAmount {
    Number(u64),
    Text(String),
}

impl<'de> Deserialize<'de> for RawAmount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match RawLimit::deserialize(deserializer)? {
            RawLimit::Both(amount) => Ok(amount),
            RawLimit::Each(_) => Err(D::Error::custom("a soft or hard limit is a number or \"infinity\"")),
        }
    }
}

impl<'de> Deserialize<'de> for RawLimit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LimitVisitor)
    }
}

struct LimitVisitor;

impl<'de> Visitor<'de> for LimitVisitor {
    type Value = RawLimit;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, \"infinity\", or a table { soft, hard }")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        let number = u64::try_from(number).map_err(|_| E::invalid_value(Unexpected::Signed(number), &self))?;
        Ok(RawLimit::Both(RawAmount::Number(number)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(RawLimit::Both(RawAmount::Text(text.to_owned())))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        RawEach::deserialize(MapAccessDeserializer::new(map)).map(RawLimit::Each)
    }
}

impl JsonSchema for RawLimit {
    fn schema_name() -> Cow<'static, str> {
        "Limit".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                { "type": ["integer", "string"], "minimum": 0 },
                {
                    "type": "object",
                    "properties": {
                        "soft": { "type": ["integer", "string"], "minimum": 0 },
                        "hard": { "type": ["integer", "string"], "minimum": 0 },
                    },
                    "additionalProperties": false,
                },
            ],
            "description": "A number, a size or a duration in quotes, \"infinity\", or { soft, hard }",
        })
    }
}

#[cfg(test)]
#[path = "attributes_tests.rs"]
mod tests;
