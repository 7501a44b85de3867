//! What happened last, for when a promise is broken.

use std::collections::VecDeque;
use std::fmt::Write;

use copo_orchestrator::supervisor::{Action, Event, Now};

/// Events kept; those of other processes than the one concerned are left out when they are told.
const KEPT: usize = 4_000;
/// Events told, unless COPO_SIM_TOLD says otherwise.
const TOLD: usize = 60;

/// The newest events with what was done about them, as text: of a broken promise people read, nobody compares.
#[derive(Default)]
pub struct Trace(VecDeque<(Now, Event, Vec<Action>)>);

impl Trace {
    pub fn add(&mut self, now: Now, event: Event, actions: Vec<Action>) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back((now, event, actions));
    }

    /// The last of those in which one of these words stands; no words: of all.
    pub fn tell(&self, about: &[String]) -> String {
        let lines = self.0.iter().map(|(now, event, actions)| {
            let mut line = format!("{:>16.6} {event:?}", now.mono.as_secs_f64());
            for action in actions {
                let _ = write!(line, "\n{:20}→ {action:?}", "");
            }
            line
        });
        let is_about = |line: &String| about.is_empty() || about.iter().any(|word| line.contains(word));
        let told: Vec<String> = lines.filter(is_about).collect();
        let count = std::env::var("COPO_SIM_TOLD").ok().and_then(|count| count.parse().ok()).unwrap_or(TOLD);
        told[told.len().saturating_sub(count)..].join("\n")
    }
}
