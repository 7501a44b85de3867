//! Random plans, and random things that happen.

use super::*;

/// One thing that happens; numbers pick among what is there.
#[derive(Debug, Clone)]
pub(super) enum Happening {
    Spawn { pick: usize, fails: u8 },
    Exit { pick: usize, outcome: u8 },
    Drain { pick: usize },
    Gone { pick: usize },
    Ready { pick: usize },
    Answer { pick: usize, what: u8 },
    Watch { pick: usize },
    Stale { pick: usize, what: u8 },
    Pass { millis: u32 },
    SetBack { seconds: u32 },
    Command { pick: usize, what: u8, by: u8 },
    RequestGone { pick: usize },
    Terminate,
}

pub(super) fn happening() -> impl Strategy<Value = Happening> {
    let pick = any::<usize>;
    prop_oneof![
        8 => (pick(), any::<u8>()).prop_map(|(pick, fails)| Happening::Spawn { pick, fails }),
        6 => (pick(), any::<u8>()).prop_map(|(pick, outcome)| Happening::Exit { pick, outcome }),
        6 => pick().prop_map(|pick| Happening::Drain { pick }),
        6 => pick().prop_map(|pick| Happening::Gone { pick }),
        4 => pick().prop_map(|pick| Happening::Ready { pick }),
        4 => (pick(), any::<u8>()).prop_map(|(pick, what)| Happening::Answer { pick, what }),
        2 => pick().prop_map(|pick| Happening::Watch { pick }),
        2 => (pick(), any::<u8>()).prop_map(|(pick, what)| Happening::Stale { pick, what }),
        4 => (0..90_000u32).prop_map(|millis| Happening::Pass { millis }),
        1 => (0..900u32).prop_map(|seconds| Happening::SetBack { seconds }),
        8 => (pick(), any::<u8>(), any::<u8>()).prop_map(|(pick, what, by)| Happening::Command { pick, what, by }),
        1 => pick().prop_map(|pick| Happening::RequestGone { pick }),
        1 => (0..8u8).prop_map(|dice| if dice == 0 { Happening::Terminate } else { Happening::Pass { millis: 1 } }),
    ]
}

/// A plan of up to six processes; each depends on earlier ones only.
pub(super) fn some_plan() -> impl Strategy<Value = Vec<ProcessSpec>> {
    let raw = (any::<u64>(), any::<u64>(), 1..3u32);
    prop::collection::vec(raw, 1..7).prop_map(|raws| {
        raws.iter()
            .enumerate()
            .map(|(index, (dice, other, replicas))| some_process(index, *dice, *other, *replicas))
            .collect()
    })
}

fn some_probe(dice: u64) -> Probe {
    let check = match dice % 3 {
        0 => Check::Log(Pattern::Text("up".to_owned())),
        _ => Check::Tcp(Address { host: "localhost".to_owned(), port: 1 }),
    };
    let (successes, failures) = (1 + (dice >> 2) as u32 % 2, 1 + (dice >> 4) as u32 % 3);
    let second = Duration::from_secs(1);
    Probe { check, interval: second, timeout: second, successes, failures, initial_delay: second }
}

pub(super) fn some_process(index: usize, dice: u64, other: u64, replicas: u32) -> ProcessSpec {
    let choose = |shift: u32, count: u64| ((dice >> shift) & 0xff) % count;
    let mut spec = process(&format!("p{index}")).replicated(replicas);
    spec.ready = match choose(0, 5) {
        0 | 1 => Readiness::Started,
        2 => Readiness::Sdk,
        3 => Readiness::Notify,
        _ => Readiness::Probe(some_probe(other)),
    };
    spec.startup = (choose(4, 4) == 0).then(|| some_probe(other >> 8));
    spec.liveness = (choose(12, 4) == 0).then(|| some_probe(other >> 16));
    spec.watchdog = (choose(28, 8) == 0).then(|| Duration::from_secs(5));
    spec.restart = [RestartPolicy::No, RestartPolicy::OnFailure, RestartPolicy::Always][choose(8, 3) as usize];
    spec.overlap = [Overlap::Skip, Overlap::Queue, Overlap::Replace, Overlap::Allow][choose(16, 4) as usize];
    spec.max_instances = 3;
    spec.control = choose(24, 4) == 0;
    let then = [LimitReached::GiveUp, LimitReached::KeepTrying, LimitReached::Shutdown][choose(56, 3) as usize];
    let window = Duration::from_secs(1 + choose(40, 100));
    spec.restart_limit = [None, Some(RestartLimit { restarts: 1 + choose(48, 3) as u32, window, then })]
        [usize::from(choose(32, 4) == 0)];
    spec.on_dependence_restart =
        [OnDependenceRestart::Ignore, OnDependenceRestart::Restart, OnDependenceRestart::Stop][choose(60, 3) as usize];
    spec.significant = choose(20, 12) == 0;
    spec.trigger = match choose(32, 5) {
        0 => every("* * * * *"),
        1 => Trigger::Manual,
        2 if index > 0 => {
            let on = [FinishKind::Succeeded, FinishKind::Failed, FinishKind::Finished][choose(40, 3) as usize];
            let source = (other % index as u64) as usize;
            let sources: BTreeSet<usize> = [source, (other >> 8) as usize % index].into_iter().collect();
            finish_of(&sources.into_iter().collect::<Vec<_>>(), on)
        }
        _ => Trigger::OnStart,
    };
    for n in 0..choose(48, 3) as usize {
        if index > 0 {
            let conditions =
                [Condition::Started, Condition::Ready, Condition::Succeeded, Condition::Failed, Condition::Finished];
            let bits = other >> (16 + 16 * n);
            spec = spec.after(bits as usize % index, conditions[(bits >> 8) as usize % 5]);
        }
    }
    spec
}

impl Edge {
    /// A question was answered, or the run said something.
    pub(super) fn answer(&mut self, run: RunId, what: u8) {
        let kinds = [ProbeKind::Startup, ProbeKind::Ready, ProbeKind::Liveness, ProbeKind::Progress];
        let probe = kinds[what as usize % 4];
        let notice = match what % 32 {
            28 => Notice { ready: true, extend_timeout: Some(Duration::from_secs(90)), ..Notice::default() },
            29 => Notice { alive: true, watchdog: Some(Duration::from_secs(2)), ..Notice::default() },
            30 => Notice { stopping: true, status: Some("bye".to_owned()), ..Notice::default() },
            31 => Notice { not_alive: true, main_pid: Some(7), ..Notice::default() },
            n => {
                let answer = if n < 20 { Ok(()) } else { Err("no".to_owned()) };
                return self.tell(Event::Probed { run, probe, answer });
            }
        };
        self.tell(Event::Notified { run, notice });
    }
}
