//! The words a key may have as its value, and what each means.

use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use super::raw::{RawDependence, RawGate};
use crate::plan::{Condition, Durability, Overlap, WhenFull};

/// How safe a record is before anyone sees it.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Durability")]
pub(super) enum RawDurability {
    Memory,
    Crash,
    Power,
}

impl From<RawDurability> for Durability {
    fn from(raw: RawDurability) -> Self {
        match raw {
            RawDurability::Memory => Self::Memory,
            RawDurability::Crash => Self::Crash,
            RawDurability::Power => Self::Power,
        }
    }
}

/// Who gives way when a reader is slow.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "WhenFull")]
pub(super) enum RawWhenFull {
    Trim,
    Wait,
}

impl From<RawWhenFull> for WhenFull {
    fn from(raw: RawWhenFull) -> Self {
        match raw {
            RawWhenFull::Trim => Self::Trim,
            RawWhenFull::Wait => Self::Wait,
        }
    }
}

/// What may be asked of a dependence.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Condition")]
pub(super) enum RawCondition {
    Started,
    Ready,
    Succeeded,
    Failed,
    Finished,
}

impl From<RawCondition> for Condition {
    fn from(raw: RawCondition) -> Self {
        match raw {
            RawCondition::Started => Self::Started,
            RawCondition::Ready => Self::Ready,
            RawCondition::Succeeded => Self::Succeeded,
            RawCondition::Failed => Self::Failed,
            RawCondition::Finished => Self::Finished,
        }
    }
}

/// Why a run starts; what it means depends on `trigger_definition` too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "TriggerType")]
pub(super) enum RawTriggerType {
    OnStart,
    Manual,
    Cron,
    DependenceFinish,
}

/// What happens when a trigger fires while a run is under way.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Overlap")]
pub(super) enum RawOverlap {
    Skip,
    Queue,
    Replace,
    Allow,
}

impl From<RawOverlap> for Overlap {
    fn from(raw: RawOverlap) -> Self {
        match raw {
            RawOverlap::Skip => Self::Skip,
            RawOverlap::Queue => Self::Queue,
            RawOverlap::Replace => Self::Replace,
            RawOverlap::Allow => Self::Allow,
        }
    }
}

/// Where a child's stdin comes from.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Stdin")]
pub(super) enum RawStdin {
    Null,
    Attach,
}

/// By hand, since serde's own untagged enums forget where in the file an error is.
impl<'de> Deserialize<'de> for RawDependence {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DependenceVisitor)
    }
}

struct DependenceVisitor;

impl<'de> Visitor<'de> for DependenceVisitor {
    type Value = RawDependence;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a process's name or a table { process, condition }")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(RawDependence::Name(name.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        RawGate::deserialize(MapAccessDeserializer::new(map)).map(RawDependence::Gate)
    }
}
