//! What copo.toml says about restarts, and about what else follows an end.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::at::At;
use super::process::Reader;
use super::quantity::RawDuration;
use crate::plan::{Backoff, LimitReached, OnDependenceRestart, RestartLimit, RestartPolicy};

/// More restarts within any window than make sense to count.
const MAX_RESTARTS: u32 = 1_000;

/// Whether a new run follows an end.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Restart")]
pub(super) enum RawRestart {
    No,
    OnFailure,
    Always,
}

impl From<RawRestart> for RestartPolicy {
    fn from(raw: RawRestart) -> Self {
        match raw {
            RawRestart::No => Self::No,
            RawRestart::OnFailure => Self::OnFailure,
            RawRestart::Always => Self::Always,
        }
    }
}

/// Delays between restarts.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
#[schemars(rename = "Backoff")]
pub(super) struct RawBackoff {
    /// Delay before the second restart.
    #[schemars(extend("default" = "500ms"))]
    pub initial: Option<RawDuration>,
    /// Growth from one delay to the next, at least 1.
    #[schemars(extend("default" = 2.0))]
    pub factor: Option<At<f64>>,
    /// Longest delay.
    #[schemars(extend("default" = "30s"))]
    pub max: Option<At<RawDuration>>,
    /// Uptime after which the delays start anew.
    #[schemars(extend("default" = "60s"))]
    pub reset: Option<RawDuration>,
    /// By how much of itself a delay is shortened at random, at most: from 0 (never) to 1.
    #[schemars(extend("default" = 0.0))]
    pub jitter: Option<At<f64>>,
}

/// How many restarts within a window are too many, and what happens instead of one more.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
#[schemars(rename = "RestartLimit")]
pub(super) struct RawRestartLimit {
    /// Restarts within the window that are still all right.
    #[schemars(extend("default" = 5))]
    pub restarts: Option<At<u32>>,
    /// How long a restart counts.
    #[schemars(extend("default" = "60s"))]
    pub window: Option<At<RawDuration>>,
    /// It has failed ("give_up"), is restarted after the longest delay ("keep_trying"), or has failed and the application
    /// ends with exit code 1 ("shutdown").
    #[schemars(extend("default" = "give_up"))]
    pub then: Option<RawLimitReached>,
}

/// What happens instead of one restart too many.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "LimitReached")]
pub(super) enum RawLimitReached {
    GiveUp,
    KeepTrying,
    Shutdown,
}

impl From<RawLimitReached> for LimitReached {
    fn from(raw: RawLimitReached) -> Self {
        match raw {
            RawLimitReached::GiveUp => Self::GiveUp,
            RawLimitReached::KeepTrying => Self::KeepTrying,
            RawLimitReached::Shutdown => Self::Shutdown,
        }
    }
}

/// What becomes of a run when what it depends on ends.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "OnDependenceRestart")]
pub(super) enum RawOnDependenceRestart {
    Ignore,
    Restart,
    Stop,
}

impl From<RawOnDependenceRestart> for OnDependenceRestart {
    fn from(raw: RawOnDependenceRestart) -> Self {
        match raw {
            RawOnDependenceRestart::Ignore => Self::Ignore,
            RawOnDependenceRestart::Restart => Self::Restart,
            RawOnDependenceRestart::Stop => Self::Stop,
        }
    }
}

impl Reader<'_> {
    pub(super) fn backoff(&mut self, raw: Option<At<RawBackoff>>) -> Backoff {
        let raw = raw.map_or_else(RawBackoff::default, |raw| raw.value);
        let initial = raw.initial.map_or(Duration::from_millis(500), |initial| initial.0);
        let max = raw.max.map_or(initial.max(Duration::from_secs(30)), |max| {
            if max.value.0 < initial {
                self.refuse("backoff.max", &max, "it is shorter than initial");
            }
            max.value.0
        });
        let factor = self.number("backoff.factor", raw.factor, 1.0, 1000.0).unwrap_or(2.0);
        let jitter = self.number("backoff.jitter", raw.jitter, 0.0, 1.0).unwrap_or(0.0);
        Backoff { initial, factor, max, reset: raw.reset.map_or(Duration::from_secs(60), |reset| reset.0), jitter }
    }

    fn number(&mut self, key: &str, raw: Option<At<f64>>, least: f64, most: f64) -> Option<f64> {
        let raw = raw?;
        if !(least..=most).contains(&raw.value) {
            self.refuse(key, &raw, &format!("{} is not from {least} to {most}", raw.value));
        }
        Some(raw.value)
    }

    pub(super) fn restart_limit(&mut self, raw: Option<RawRestartLimit>) -> Option<RestartLimit> {
        let raw = raw?;
        let window = raw.window.map_or(Duration::from_secs(60), |window| {
            if window.value.0.is_zero() {
                self.refuse("restart_limit.window", &window, "no restart would count");
            }
            window.value.0
        });
        Some(RestartLimit {
            restarts: self.within("restart_limit.restarts", raw.restarts, 1, MAX_RESTARTS).unwrap_or(5),
            window,
            then: raw.then.map_or(LimitReached::GiveUp, Into::into),
        })
    }

    pub(super) fn on_dependence_restart(
        &mut self,
        raw: Option<RawOnDependenceRestart>,
        depends: bool,
    ) -> OnDependenceRestart {
        let chosen = raw.map_or(OnDependenceRestart::Ignore, Into::into);
        if chosen != OnDependenceRestart::Ignore && !depends {
            let name = &self.name.value;
            let why = "it depends on no process that is to be started or ready";
            self.problems.push(self.name.span.clone(), format!("cannot use on_dependence_restart of {name:?}: {why}"));
        }
        chosen
    }
}
