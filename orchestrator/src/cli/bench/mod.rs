//! `copo bench`: measures this machine's Copo beside the limit of this machine, in the same run, so that what counts are
//! ratios. It starts an orchestrator of its own in a temporary folder, and separate processes for every part.

pub mod args;
mod children;
mod limit;
mod meter;
mod own;
mod payload;
mod peer;
mod report;
mod role;
mod round;
mod sdk;
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
pub mod supervise;
mod udd;

use args::{Bench, Role};

use super::failure::Outcome;

/// Runs `copo bench`.
pub fn run(bench: &Bench) -> Outcome {
    match bench {
        Bench::Udd(asked) => udd::measure(asked),
        #[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
        Bench::Supervise(asked) => supervise::measure(asked),
        Bench::Role(Role::Publisher(work)) => role::publisher(work),
        Bench::Role(Role::Subscriber(work)) => role::subscriber(work),
        Bench::Role(Role::Acks(work)) => role::acks(work),
        Bench::Role(Role::LimitBroker(work)) => limit::broker(work),
        Bench::Role(Role::LimitPublisher(work)) => limit::publisher(work),
        Bench::Role(Role::LimitSubscriber(work)) => limit::subscriber(work),
        Bench::Role(Role::LimitEcho(work)) => limit::echo(work),
        Bench::Role(Role::PeerPublisher(work)) => peer::publisher(work),
        Bench::Role(Role::PeerSubscriber(work)) => peer::subscriber(work),
    }
}
