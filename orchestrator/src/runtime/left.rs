//! The process group of a run that an orchestrator before this one has started: its main process is no child of ours, and
//! whoever is its parent now (the keeper, or pid 1) sets its number free.

use std::cell::OnceCell;

use super::census::{Census, Look};
use super::group::{FIRST_LOOK, Group, LAST_LOOK};
use super::journal::Main;
use super::kept::Kept;
use super::leaders::Leaders;
use super::processes;
use super::rest::Rest;
use crate::supervisor::RunId;

const KILL: i32 = 9;
/// So often a main process that has ended is taken for the group's only entry that is left to be reaped, which the keeper
/// does at once. From then on everybody is looked at.
const TRUSTED_LOOKS: u32 = 6;

/// What such a run has started.
#[derive(Debug)]
pub(super) struct LeftGroup {
    run: RunId,
    internal_name: String,
    main: Main,
    census: Census,
    /// Where what has left the group is found: looked up once, while the main process is there to be asked.
    rest: OnceCell<Rest>,
}

impl LeftGroup {
    /// Of a run of an instance.
    pub(super) fn of(run: RunId, internal_name: &str, main: Main, census: &Census) -> Self {
        let (internal_name, census) = (internal_name.to_owned(), census.clone());
        Self { run, internal_name, main, census, rest: OnceCell::new() }
    }

    /// Sends a signal to it, if it is there.
    pub(super) fn signal(&self, number: i32) {
        // Everybody is looked at only when the main process, which keeps the number, is gone.
        if processes::has_number(&self.main) || Look::take().has_group_of(&self.main) {
            #[cfg(unix)]
            self.rest().look(self.main.pid);
            processes::signal_group(&self.main, number);
        }
    }

    /// Kills what is there.
    pub(super) fn kill(&self) {
        self.signal(KILL);
    }

    /// Kills what is left and returns when nothing is.
    pub(super) async fn end(&self, leaders: &Leaders, kept: &Kept) {
        let (rest, census) = (self.rest(), &self.census);
        let mut is_known = processes::has_number(&self.main);
        if is_known {
            self.kill();
        }
        // What ended is written down: nobody needs the zombie any more. Without it an empty group is seen to be empty.
        kept.reap(self.main.pid);
        let mut pause = FIRST_LOOK;
        for looks in 1_u32.. {
            let is_gone = Group::of_another_is_gone(self.main.pid)
                || ((looks > TRUSTED_LOOKS || !is_known) && !census.look().await.has_group_of(&self.main));
            if !is_gone {
                processes::signal_group(&self.main, KILL);
            } else if !rest.kill_left(leaders, census).await {
                return;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LAST_LOOK);
            kept.say_unsaid();
            is_known = processes::has_number(&self.main);
        }
    }

    fn rest(&self) -> &Rest {
        let find = || Rest::of_left(&self.run.to_string(), &self.internal_name, self.main.pid, &self.census);
        self.rest.get_or_init(find)
    }
}
