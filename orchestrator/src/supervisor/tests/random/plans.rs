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

pub(super) fn some_process(index: usize, dice: u64, other: u64, replicas: u32) -> ProcessSpec {
    let choose = |shift: u32, count: u64| ((dice >> shift) & 0xff) % count;
    let mut spec = process(&format!("p{index}")).replicated(replicas);
    spec.ready = [Readiness::Started, Readiness::Sdk][choose(0, 2) as usize];
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
