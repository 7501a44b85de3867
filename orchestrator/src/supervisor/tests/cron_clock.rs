use super::*;

const MINUTE: u64 = 60_000_000;
const HOUR: u64 = 60 * MINUTE;
/// A full hour.
const NOON: u64 = 1_795_521_600_000_000;

fn timing(schedule: &Schedule, catch_up: Option<(Duration, CatchUpRuns)>) -> Timing<'_> {
    let catch_up = catch_up.map(|(window, runs)| CatchUp { window, runs });
    Timing { schedule, catch_up, jitter: Duration::ZERO, salt: 1 }
}

fn every_minute() -> Schedule {
    Schedule::parse("* * * * *", None).expect("a schedule")
}

fn hours(hours: u64) -> Duration {
    Duration::from_secs(3600 * hours)
}

#[test]
fn of_what_was_missed_the_newest_runs_with_last_and_each_with_all() {
    let schedule = every_minute();
    let last = timing(&schedule, Some((hours(1), CatchUpRuns::Last)));
    let mut clock = CronClock::new(last, NOON);
    assert_eq!(clock.fire(last, NOON + 10 * MINUTE + 1), Some(Firing::Run(NOON + 10 * MINUTE)));
    assert_eq!(clock.next(), Some(NOON + 11 * MINUTE));

    let all = timing(&schedule, Some((Duration::from_secs(150), CatchUpRuns::All)));
    let mut clock = CronClock::new(all, NOON);
    let wall = NOON + 10 * MINUTE + 1;
    assert_eq!(clock.fire(all, wall), Some(Firing::RunMissed));
    let missed: Vec<u64> = std::iter::from_fn(|| clock.take_missed(all, wall)).map(|at| (at - NOON) / MINUTE).collect();
    assert_eq!(missed, [8, 9, 10]);
    assert_eq!(clock.next(), Some(NOON + 11 * MINUTE));
}

#[test]
fn what_was_missed_does_not_come_again_when_the_clock_is_set_back_meanwhile() {
    let schedule = every_minute();
    let all = timing(&schedule, Some((hours(1), CatchUpRuns::All)));
    let mut clock = CronClock::new(all, NOON);
    assert_eq!(clock.fire(all, NOON + 10 * MINUTE), Some(Firing::RunMissed));
    let wall = NOON + MINUTE - 1;
    clock.set_back(all, wall);
    assert_eq!((clock.next(), clock.note().missed), (Some(NOON + MINUTE), None));

    assert_eq!(clock.fire(all, NOON + 10 * MINUTE), Some(Firing::RunMissed));
    clock.set_back(all, NOON + 2 * MINUTE - 1);
    assert_eq!(clock.take_missed(all, NOON + 2 * MINUTE - 1), Some(NOON + MINUTE));
    assert_eq!(clock.take_missed(all, NOON + 2 * MINUTE - 1), Some(NOON + 2 * MINUTE));
    assert_eq!(clock.next(), Some(NOON + 3 * MINUTE));
}

#[test]
fn what_passed_longer_ago_than_the_window_is_too_late() {
    let schedule = Schedule::parse("0 * * * *", None).expect("a schedule");
    let timing = timing(&schedule, Some((Duration::from_secs(60), CatchUpRuns::Last)));
    let mut clock = CronClock::new(timing, NOON);
    assert_eq!(clock.fire(timing, NOON + 90 * MINUTE), Some(Firing::TooLate(NOON + HOUR)));
    assert_eq!(clock.next(), Some(NOON + 2 * HOUR));
}

#[test]
fn what_passed_between_two_orchestrators_was_missed_unless_the_schedule_is_another_one() {
    let schedule = every_minute();
    let timing_of = |schedule| timing(schedule, Some((hours(1), CatchUpRuns::Last)));
    let mut clock = CronClock::new(timing_of(&schedule), NOON);
    clock.fire(timing_of(&schedule), NOON + MINUTE);
    let note = clock.note().clone();

    let wall = NOON + 5 * MINUTE + 1;
    let mut next = CronClock::since(timing_of(&schedule), note.clone(), wall);
    assert_eq!(next.fire(timing_of(&schedule), wall), Some(Firing::Run(NOON + 5 * MINUTE)));

    let other = Schedule::parse("*/2 * * * *", None).expect("a schedule");
    let mut next = CronClock::since(timing_of(&other), note.clone(), wall);
    assert_eq!(next.fire(timing_of(&other), wall), None);

    let early = NOON - 2 * MINUTE;
    let next = CronClock::since(timing_of(&schedule), note, early);
    assert_eq!(next.next(), Some(NOON - MINUTE), "a clock that was set back meanwhile");
}

/// The times that run while the clock is set 200 times, forward and back.
fn lived(timing: Timing<'_>, seed: u64) -> Vec<u64> {
    let mut clock = CronClock::new(timing, NOON);
    let mut ran = Vec::new();
    let mut wall = NOON;
    for step in 0..200 {
        let by = mixed(seed ^ mixed(step)) % (2 * HOUR);
        if mixed(seed ^ step).is_multiple_of(2) {
            wall += by;
        } else {
            wall -= by;
            clock.set_back(timing, wall);
        }
        while clock.deadline(timing).is_some_and(|at| at <= wall) {
            match clock.fire(timing, wall) {
                Some(Firing::Run(at)) => ran.push(at),
                Some(Firing::RunMissed) => ran.extend(std::iter::from_fn(|| clock.take_missed(timing, wall))),
                Some(Firing::TooLate(_)) | None => {}
            }
        }
    }
    ran
}

#[test]
fn a_time_runs_once_however_the_clock_is_set() {
    let schedule = every_minute();
    for catch_up in [None, Some((hours(1), CatchUpRuns::Last)), Some((hours(1), CatchUpRuns::All))] {
        for seed in 0..20 {
            let mut ran = lived(timing(&schedule, catch_up), seed);
            let count = ran.len();
            ran.sort_unstable();
            ran.dedup();
            assert_eq!(ran.len(), count, "{catch_up:?}");
            assert!(count > 50, "{count}");
        }
    }
}

#[test]
fn jitter_is_the_same_whenever_it_is_asked_and_keeps_the_order() {
    let schedule = every_minute();
    let timing = Timing { jitter: Duration::from_secs(600), ..timing(&schedule, None) };
    let mut clock = CronClock::new(timing, NOON);
    let mut ran = Vec::new();
    for wall in (NOON..NOON + HOUR).step_by(1_000_000) {
        while let Some(Firing::Run(at)) = clock.fire(timing, wall) {
            assert!(at <= wall && timing.due(at) <= wall && timing.due(at) < at + 600_000_000);
            ran.push(at);
        }
    }
    assert!(ran.windows(2).all(|pair| pair[1] > pair[0]), "{ran:?}");
    assert!(ran.len() > 40, "{}", ran.len());
    assert_eq!(timing.due(NOON), timing.due(NOON));
    assert_ne!(timing.due(NOON) - NOON, timing.due(NOON + MINUTE) - NOON - MINUTE);
}

#[test]
fn years_of_seconds_are_passed_over_at_once() {
    let schedule = Schedule::parse("* * * * * *", None).expect("a schedule");
    let timing = timing(&schedule, Some((Duration::from_secs(36_525 * 86_400), CatchUpRuns::Last)));
    let mut clock = CronClock::new(timing, NOON);
    let wall = NOON + 20 * 365 * 24 * HOUR + 500_000;
    assert_eq!(clock.fire(timing, wall), Some(Firing::Run(wall - 500_000)));
}
