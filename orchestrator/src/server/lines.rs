//! The register of connections: by id, by run, by client id.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use super::line::{Line, LineId};
use crate::supervisor::RunId;

/// All admitted connections.
#[derive(Debug, Default)]
pub(super) struct Lines {
    next: Cell<u64>,
    all: BTreeMap<LineId, Rc<Line>>,
    of_run: HashMap<RunId, Vec<Rc<Line>>>,
    of_client: HashMap<[u8; 16], Rc<Line>>,
}

impl Lines {
    /// An id for the next connection.
    pub(super) fn next_id(&self) -> LineId {
        let id = self.next.get();
        self.next.set(id + 1);
        LineId(id)
    }

    /// Registers a connection; answers the one that had its client id until now.
    pub(super) fn add(&mut self, line: &Rc<Line>) -> Option<Rc<Line>> {
        self.all.insert(line.id, Rc::clone(line));
        if let Some(run) = line.speaker.run() {
            self.of_run.entry(run.run).or_default().push(Rc::clone(line));
        }
        line.client.and_then(|client| self.of_client.insert(client, Rc::clone(line)))
    }

    /// Forgets a connection; answers its client id if no other connection has taken it over.
    pub(super) fn remove(&mut self, line: &Line) -> Option<[u8; 16]> {
        self.all.remove(&line.id);
        if let Some(run) = line.speaker.run()
            && let Some(lines) = self.of_run.get_mut(&run.run)
        {
            lines.retain(|other| other.id != line.id);
            if lines.is_empty() {
                self.of_run.remove(&run.run);
            }
        }
        let client = line.client?;
        if self.of_client.get(&client)?.id != line.id {
            return None;
        }
        self.of_client.remove(&client);
        Some(client)
    }

    /// The connections of a run.
    pub(super) fn of_run(&self, run: RunId) -> &[Rc<Line>] {
        self.of_run.get(&run).map_or(&[], Vec::as_slice)
    }

    /// All of them, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Rc<Line>> {
        self.all.values()
    }
}
