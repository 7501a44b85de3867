//! `copo up --exit-on NAME`: looks out for the finish of a run, whose exit code becomes the command's.

use copo::v1::{EventKind, Facts};
use copo_orchestrator::plan::Plan;
use copo_orchestrator::signal;

use super::control;
use super::failure::{FAILED, Failure, Outcome};

/// What is looked out for, and what of it has been seen.
pub struct ExitOn {
    name: String,
    /// The processes or instances it stands for: of a group the first to finish counts.
    names: Vec<String>,
    /// How its newest run ended.
    ended: Option<u8>,
    /// The exit code of the run that finished.
    finished: Option<u8>,
}

impl ExitOn {
    /// Looks out for this process, instance or group.
    pub fn new(name: &str, plan: &Plan) -> Self {
        let members = |group: &str| plan.members(group).map(|prc| plan.process(prc).name.clone()).collect();
        let names = name.strip_prefix('@').map_or_else(|| vec![name.to_owned()], members);
        Self { name: name.to_owned(), names, ended: None, finished: None }
    }

    /// Has it finished?
    pub fn has_finished(&self) -> bool {
        self.finished.is_some()
    }

    /// Takes in a report; has the process finished?
    pub fn saw(&mut self, facts: Option<&Facts>) -> bool {
        let Some(facts) = facts else { return false };
        let about = [&facts.process, &facts.internal_name];
        let is_it = about.into_iter().flatten().any(|name| self.names.contains(name));
        if !is_it || self.finished.is_some() {
            return false;
        }
        let signal = facts.signal.as_deref().and_then(signal::number);
        self.ended = control::run_exit_code(facts.exit_code, signal).or(self.ended);
        match facts.event() {
            EventKind::Finished => self.finished = self.ended.or(Some(0)),
            EventKind::Failed => self.finished = self.ended.filter(|code| *code != 0).or(Some(FAILED)),
            EventKind::Unspecified
            | EventKind::Starting
            | EventKind::Started
            | EventKind::Ready
            | EventKind::NotReady
            | EventKind::Exited
            | EventKind::SpawnFailed
            | EventKind::Backoff
            | EventKind::Stopping
            | EventKind::Stopped
            | EventKind::Skipped
            | EventKind::Adopted
            | EventKind::Config
            | EventKind::Headers
            | EventKind::Damaged
            | EventKind::OrchestratorStarted
            | EventKind::OrchestratorStopped => {}
        }
        self.finished.is_some()
    }

    /// The command ends as the run did.
    pub fn outcome(self) -> Outcome {
        match self.finished {
            Some(0) => Ok(()),
            Some(code) => Err(Failure::silent(code)),
            None => Err(Failure::new(FAILED, format!("the application was stopped before {} finished", self.name))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(event: EventKind, exit_code: Option<i32>, signal: Option<&str>) -> Facts {
        Facts {
            event: event.into(),
            process: Some("test".into()),
            internal_name: Some("test-1".into()),
            exit_code,
            signal: signal.map(str::to_owned),
            ..Facts::default()
        }
    }

    fn exit_on(name: &str) -> ExitOn {
        ExitOn { name: name.to_owned(), names: vec![name.to_owned()], ended: None, finished: None }
    }

    #[test]
    fn the_code_of_the_run_that_finished_is_handed_on() {
        let mut exit_on = exit_on("test");
        assert!(!exit_on.saw(Some(&facts(EventKind::Exited, Some(7), None))));
        assert!(!exit_on.saw(Some(&facts(EventKind::Backoff, None, None))));
        assert!(!exit_on.saw(Some(&facts(EventKind::Exited, Some(3), None))));
        assert!(exit_on.saw(Some(&facts(EventKind::Failed, None, None))));
        assert_eq!(exit_on.outcome(), Err(Failure::silent(3)));
    }

    #[test]
    fn a_signal_is_handed_on_as_128_and_its_number() {
        let mut exit_on = exit_on("test-1");
        assert!(!exit_on.saw(Some(&facts(EventKind::Exited, None, Some("SIGKILL")))));
        assert!(exit_on.saw(Some(&facts(EventKind::Failed, None, None))));
        assert_eq!(exit_on.outcome(), Err(Failure::silent(137)));
    }

    #[test]
    fn another_process_changes_nothing() {
        let mut exit_on = exit_on("other");
        assert!(!exit_on.saw(Some(&facts(EventKind::Finished, Some(0), None))));
        assert_eq!(exit_on.outcome().expect_err("not finished").code, FAILED);
    }
}
