//! What follows from the trigger.

use super::*;

#[test]
fn overlap_and_restart_depend_on_the_trigger() {
    for (lines, overlap, restart) in [
        ("trigger_type = 'on_start'", Overlap::Skip, RestartPolicy::OnFailure),
        ("trigger_type = 'manual'", Overlap::Skip, RestartPolicy::No),
        ("trigger_type = 'cron'\ntrigger_definition = '@daily'", Overlap::Skip, RestartPolicy::No),
        ("trigger_type = 'dependence_finish'\ndepends_on = ['b']", Overlap::Queue, RestartPolicy::No),
    ] {
        let process = process_of(lines);
        assert_eq!((process.overlap, process.restart), (overlap, restart), "{lines}");
    }
}
