//! reports.json (C7): the Meta struct as people read it, replaced within 100 ms of a report, at most ten times a second.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use super::memory;
use super::output::Output;
use crate::layout::{self, Layout};
use crate::server::Hub;

/// The shortest time between two replacements.
const PERIOD: Duration = Duration::from_millis(100);

/// After so long without a report, what was going on is over.
const QUIET: Duration = Duration::from_secs(1);

/// Keeps the file as new as it must be, for ever; sleeps while nothing is reported. Whatever takes much memory for a moment
/// is reported, so it is known here when that is over.
pub(super) async fn keep(hub: Rc<Hub>, output: Rc<Output>, layout: Layout) {
    let mut pace = Pace::default();
    loop {
        hub.reports_changed().await;
        loop {
            tokio::time::sleep_until(pace.due(Instant::now()).into()).await;
            pace.replaced(Instant::now());
            // What was reported during the sleep is in it too.
            let _ = pin!(hub.reports_changed()).poll(&mut Context::from_waker(Waker::noop()));
            output.reports(layout.reports(), hub.reports_json());
            if tokio::time::timeout(QUIET, hub.reports_changed()).await.is_err() {
                break;
            }
        }
        memory::give_back();
    }
}

/// When the file is replaced. Reads no clock.
#[derive(Debug, Default)]
struct Pace {
    replaced: Option<Instant>,
}

impl Pace {
    /// When the file must be replaced for a report of `reported`: at once, unless it was replaced just before.
    fn due(&self, reported: Instant) -> Instant {
        self.replaced.map_or(reported, |replaced| reported.max(replaced + PERIOD))
    }

    /// The file is replaced at this time.
    fn replaced(&mut self, at: Instant) {
        self.replaced = Some(at);
    }
}

/// Replaces the file; whoever reads it, and whoever is killed meanwhile, sees the old one or the new one.
pub(super) fn replace(path: &Path, json: &[u8]) {
    if let Err(error) = write_and_rename(path, json) {
        tracing::warn!("cannot write {}: {error}", path.display());
    }
}

fn write_and_rename(path: &Path, json: &[u8]) -> io::Result<()> {
    let new = path.with_extension("json.new");
    let mut file = layout::private_file().truncate(true).open(&new)?;
    file.write_all(json)?;
    drop(file);
    fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When the file is replaced, for reports at these times; all in milliseconds since the first thing that happened.
    fn replacements(reports: &[u64]) -> Vec<u64> {
        let start = Instant::now();
        let (mut pace, mut replaced) = (Pace::default(), Vec::<u64>::new());
        for report in reports {
            if replaced.last().is_some_and(|last| last >= report) {
                continue; // It was in the file that was written then.
            }
            let due = pace.due(start + Duration::from_millis(*report));
            pace.replaced(due);
            replaced.push(u64::try_from((due - start).as_millis()).expect("a short time"));
        }
        replaced
    }

    fn check(reports: &[u64]) {
        let replaced = replacements(reports);
        for report in reports {
            let file = replaced.iter().find(|at| *at >= report).expect("it comes into the file");
            assert!(file - report <= 100, "a report of {report} is in the file of {file}");
        }
        for two in replaced.windows(2) {
            assert!(two[1] - two[0] >= 100, "more than ten a second: {replaced:?}");
        }
    }

    #[test]
    fn a_lone_report_is_written_at_once_and_one_after_it_when_a_tenth_of_a_second_has_passed() {
        assert_eq!(replacements(&[5, 6, 50, 104, 105, 106, 400]), [5, 105, 205, 400]);
    }

    proptest::proptest! {
        #[test]
        fn every_report_is_in_the_file_within_100_ms_and_the_file_is_written_ten_times_a_second_at_most(
            gaps in proptest::collection::vec(0_u64..300, 1..60)
        ) {
            let reports: Vec<u64> = gaps.iter().scan(0, |now, gap| { *now += gap; Some(*now) }).collect();
            check(&reports);
        }
    }
}
