//! Random commands, and random changes of copo.toml.

use super::*;

impl Edge {
    pub(super) fn command(&mut self, pick: usize, what: u8, by: u8) {
        let name = match pick % 10 {
            0 => "nobody".to_owned(),
            n if n % 2 == 0 => name::internal(&self.plan.processes[pick / 10 % self.plan.processes.len()].name, 1),
            _ => self.plan.processes[pick / 10 % self.plan.processes.len()].name.clone(),
        };
        let names = vec![name.clone()];
        let conditions = [v1::wait::Condition::Ready, v1::wait::Condition::Finished, v1::wait::Condition::Up];
        let command = match what % 32 {
            0..=6 => Command::Start { names },
            7..=12 => Command::Stop { names },
            13..=17 => Command::Restart { names },
            18..=23 => Command::Trigger { name, args: Vec::new(), wait: what & 32 == 0 },
            24 => Command::Kill { name, signal: "SIGHUP".to_owned() },
            25 | 26 => Command::Wait { names, condition: conditions[pick % 3] },
            27 | 28 => self.converge(pick, what & 32 == 0),
            29 => Command::Ps,
            30 => Command::Scale { to: vec![(name, u32::from(what >> 5))] },
            _ if what & 32 == 0 => Command::Wait { names: Vec::new(), condition: v1::wait::Condition::Up },
            _ => {
                self.is_going_down = true;
                self.may_kill_unasked |= what & 64 == 0;
                Command::Down { grace: None, kill: what & 64 == 0 }
            }
        };
        let runs: Vec<RunId> = self.lives.keys().copied().collect();
        let by = match by % 4 {
            0 if !runs.is_empty() => Requester::Run(runs[pick % runs.len()]),
            _ => Requester::Person,
        };
        self.requests += 1;
        let request = RequestId(self.requests);
        self.open.insert(request);
        self.tell(Event::Command { request, by, command });
    }

    /// A file in which something is another than it was: an argument, a policy, a trigger; one process is missing.
    fn converge(&self, pick: usize, dry_run: bool) -> Command {
        let mut file = (*self.plan).clone();
        file.processes.truncate(self.processes);
        for (index, spec) in file.processes.iter_mut().enumerate() {
            match (pick >> (4 * index)) % 16 {
                0 => spec.args.push("x".to_owned()),
                1 => spec.restart = RestartPolicy::Always,
                2 => spec.ready_timeout = Duration::from_secs(7),
                3 => spec.replicas = 2,
                4 => spec.trigger = Trigger::Manual,
                5 if index + 1 == self.processes => spec.name = format!("new{}", pick % 3),
                _ => {}
            }
        }
        if pick.is_multiple_of(5) {
            file.processes.pop();
        }
        if !self.reads_anew {
            return Command::Ps;
        }
        let names = if pick.is_multiple_of(7) { vec!["p0".to_owned()] } else { Vec::new() };
        Command::Converge { plan: Arc::new(file), names, dry_run }
    }
}
