//! What people do in a life: commands, signals, clocks that are set.

use std::sync::Arc;
use std::time::Duration;

use copo_orchestrator::supervisor::{Command, Event, RequestId, Requester, RunId};

use super::super::commands::{some_command, some_down, some_requester};
use super::{Coming, Life, SECOND, Verdict};

impl Life {
    pub(super) fn bring_down(&mut self) -> Verdict {
        if self.chance.once_in(2) {
            return self.terminate();
        }
        let command = some_down(&mut self.chance);
        self.ask(command)
    }

    pub(super) fn terminate(&mut self) -> Verdict {
        self.judge.terminated(self.now, self.orc.is_going_down());
        self.tell(Event::Terminate)
    }

    pub(super) fn command(&mut self) -> Verdict {
        if self.chance.once_in(400) {
            return self.bring_down();
        }
        if self.judge.down.is_some() && self.chance.once_in(8) {
            return self.bring_down();
        }
        let plan = Arc::clone(&self.judge.plan);
        let command = some_command(&mut self.chance, &plan, &self.file);
        self.ask(command)
    }

    pub(super) fn ask(&mut self, command: Command) -> Verdict {
        self.requests += 1;
        let request = RequestId(self.requests);
        let runs: Vec<RunId> = self.judge.newest.values().copied().collect();
        let is_down = matches!(command, Command::Down { .. });
        let by = if is_down { Requester::Person } else { some_requester(&mut self.chance, &runs) };
        self.judge.open.insert(request);
        if self.chance.once_in(8) {
            let patience = self.chance.time(Duration::from_millis(1), 60 * SECOND);
            self.later(Some(patience), Coming::RequestGone(request));
        }
        if is_answered_soon(&command) {
            let graces: Duration = self.judge.plan.processes.iter().map(|process| process.stop_grace).sum();
            self.later(Some(graces + 120 * SECOND), Coming::Answer(request));
        }
        self.judge.asked(self.now, request, &command);
        let file = match &command {
            Command::Converge { plan, dry_run: false, .. } => Some(Arc::clone(plan)),
            _ => None,
        };
        self.tell(Event::Command { request, by, command })?;
        if let Some(file) = file.filter(|_| self.has_read) {
            self.file = file;
        }
        Ok(())
    }

    /// The wall clock is set, a little or by days, or the machine slept.
    pub(super) fn jump(&mut self) -> Verdict {
        let by = self.chance.time(Duration::from_millis(1), 3 * 86_400 * SECOND).as_micros() as u64;
        self.now.wall = if self.chance.once_in(2) { self.now.wall + by } else { self.now.wall.saturating_sub(by) };
        self.tell(Event::DeadlineReached)?;
        self.look_at_deadline()
    }
}

/// Nothing that may never happen is waited for.
fn is_answered_soon(command: &Command) -> bool {
    match command {
        Command::Ps
        | Command::Start { .. }
        | Command::Stop { .. }
        | Command::Restart { .. }
        | Command::Kill { .. }
        | Command::Scale { .. }
        | Command::Converge { .. } => true,
        Command::Trigger { wait, .. } => !wait,
        Command::Wait { .. } | Command::Down { .. } => false,
    }
}
