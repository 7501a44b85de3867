//! The end of a run: what it had sent is appended, what is left of it is killed, and what was there for it is put away.

use std::rc::Rc;

use super::perform::{Performer, Run};
use super::pids;
#[cfg(unix)]
use super::terminal;
use crate::supervisor::{Event, RunId};

impl Performer {
    /// What had arrived of a run is appended.
    pub(super) fn drain(&self, run: RunId) {
        let (hub, events) = (Rc::clone(&self.hub), self.events.clone());
        tokio::task::spawn_local(async move {
            hub.drain(run).await;
            let _ = events.send(Event::Drained { run });
        });
    }

    /// Ends what is left of a run, and all that is there only while it is.
    pub(super) fn reap(&mut self, run: RunId) {
        self.signal_main(run, "SIGKILL");
        self.probes.forget(run);
        let events = self.events.clone();
        let Some(Run { internal_name, pid, group }) = self.runs.remove(&run) else {
            let _ = events.send(Event::GroupGone { run });
            return;
        };
        let (layout, output, leaders) = (self.layout.clone(), Rc::clone(&self.output), self.leaders.clone());
        let (journal, kept) = (Rc::clone(&self.journal), Rc::clone(&self.kept));
        tokio::task::spawn_local(async move {
            group.end(&leaders, &kept).await;
            leaders.remove(pid);
            leaders.reap_orphans();
            // Who is told of the end finds all that was written in the log.
            output.finish(&internal_name).await;
            pids::remove(&layout, &internal_name);
            #[cfg(unix)]
            terminal::withdraw(&layout, &internal_name);
            kept.release(run, pid);
            journal.borrow_mut().forget_run(run);
            let _ = events.send(Event::GroupGone { run });
        });
    }
}
