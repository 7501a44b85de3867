//! What copo.toml says about schedules beside when they fire, and about how long a run may last.

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use super::at::At;
use super::choice::RawTriggerType;
use super::process::Reader;
use super::quantity::{RawDuration, parse_duration};
use crate::plan::{CatchUp, CatchUpRuns};

/// What becomes of scheduled times that passed unseen: how long ago they may have passed to run all the same, or that and
/// which of several run.
#[derive(Debug, JsonSchema)]
#[schemars(untagged)]
#[schemars(rename = "CatchUp")]
pub(super) enum RawCatchUp {
    /// The newest of those within this time.
    Window(RawDuration),
    /// What is said in full.
    Full(RawCatchUpTable),
}

/// What becomes of scheduled times that passed unseen.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table")]
#[schemars(rename = "CatchUpInFull")]
pub(super) struct RawCatchUpTable {
    /// How long ago a time may have passed to run all the same.
    #[schemars(required)]
    pub window: Option<RawDuration>,
    /// Which of several run: the newest ("last"), or each, one after the other, oldest first ("all").
    #[schemars(extend("default" = "last"))]
    pub runs: Option<RawCatchUpRuns>,
}

/// Which of several missed times run.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "CatchUpRuns")]
pub(super) enum RawCatchUpRuns {
    Last,
    All,
}

impl From<RawCatchUpRuns> for CatchUpRuns {
    fn from(raw: RawCatchUpRuns) -> Self {
        match raw {
            RawCatchUpRuns::Last => Self::Last,
            RawCatchUpRuns::All => Self::All,
        }
    }
}

/// By hand, since serde's own untagged enums forget where in the file an error is.
impl<'de> Deserialize<'de> for RawCatchUp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CatchUpVisitor)
    }
}

struct CatchUpVisitor;

impl<'de> Visitor<'de> for CatchUpVisitor {
    type Value = RawCatchUp;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration in quotes, such as \"1h\", or a table { window, runs }")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        parse_duration(text).map(|window| RawCatchUp::Window(RawDuration(window))).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        RawCatchUpTable::deserialize(MapAccessDeserializer::new(map)).map(RawCatchUp::Full)
    }
}

impl Reader<'_> {
    pub(super) fn catch_up(&mut self, raw: Option<At<RawCatchUp>>, trigger_type: RawTriggerType) -> Option<CatchUp> {
        let raw = raw?;
        self.only_of_a_schedule("catch_up", &raw, trigger_type);
        let (window, runs) = match &raw.value {
            RawCatchUp::Window(window) => (Some(window.0), None),
            RawCatchUp::Full(table) => (table.window.map(|window| window.0), table.runs),
        };
        match window {
            None => self.refuse("catch_up", &raw, "window is missing, such as { window = \"1h\", runs = \"all\" }"),
            Some(window) if window.is_zero() => self.refuse("catch_up", &raw, "nothing was missed within no time"),
            Some(_) => {}
        }
        Some(CatchUp { window: window.unwrap_or_default(), runs: runs.map_or(CatchUpRuns::Last, Into::into) })
    }

    pub(super) fn jitter(&mut self, raw: Option<At<RawDuration>>, trigger_type: RawTriggerType) -> Duration {
        let Some(raw) = raw else { return Duration::ZERO };
        self.only_of_a_schedule("jitter", &raw, trigger_type);
        raw.value.0
    }

    pub(super) fn run_timeout(&mut self, raw: Option<At<RawDuration>>) -> Option<Duration> {
        let raw = raw?;
        if raw.value.0.is_zero() {
            self.refuse("run_timeout", &raw, "no run is over at once");
        }
        Some(raw.value.0)
    }

    fn only_of_a_schedule<T>(&mut self, key: &str, at: &At<T>, trigger_type: RawTriggerType) {
        match trigger_type {
            RawTriggerType::Cron => {}
            RawTriggerType::OnStart | RawTriggerType::Manual | RawTriggerType::DependenceFinish => {
                self.refuse(key, at, "only a cron trigger has one");
            }
        }
    }
}
