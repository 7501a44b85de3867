//! Several logs, merged by the times their lines were written at.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;

use copo_orchestrator::layout::Layout;

use super::super::failure::{Failure, Outcome};
use super::super::output::{self, Out};
use super::source::{Gap, Line, Source, Start};
use super::watch::Watch;
use super::{Format, Selection, chain};

/// Prints what the selected logs hold, and what they get.
pub struct Follower {
    folder: PathBuf,
    selection: Selection,
    watch: Watch,
    sources: Vec<Head>,
    /// Where in `sources` an instance stands; its turn among the colours too.
    places: BTreeMap<String, usize>,
    /// Places of sources that may have got more since they were read last.
    unread: BTreeSet<usize>,
    format: Format,
    out: Out,
}

/// A source and its next line.
struct Head {
    source: Source,
    line: Option<Line>,
    /// The time of the newest line read: one without a time of its own follows the one before it.
    time: u64,
}

impl Follower {
    /// Opens the logs there are. `wake` is called, on another thread, when there is something new to print.
    pub fn open(
        layout: &Layout,
        selection: Selection,
        start: Start,
        wake: impl Fn() + Send + 'static,
    ) -> Result<Self, Failure> {
        let folder = layout.logs();
        // Watched first, read second: what comes in between is seen twice, not missed.
        let watch = Watch::new(&folder, wake)?;
        let (sources, places, unread) = (Vec::new(), BTreeMap::new(), BTreeSet::new());
        let (format, out) = (Format::prefixed(), Out::new());
        let mut follower = Self { folder, selection, watch, sources, places, unread, format, out };
        for internal_name in chain::instances(&follower.folder)? {
            follower.add(&internal_name, start)?;
        }
        Ok(follower)
    }

    /// How lines are shown from here on.
    pub fn format(&mut self, format: Format) {
        let width = self.format.width.max(format.width);
        self.format = Format { width, ..format };
    }

    /// This instance's log may have grown, even if no waking has said so yet.
    pub fn look_at(&mut self, internal_name: &str) {
        self.unread.extend(self.places.get(internal_name));
    }

    /// Prints all whole lines that are there, oldest first.
    pub fn print_new(&mut self) -> Outcome {
        self.look_for_new()?;
        for place in std::mem::take(&mut self.unread) {
            self.advance(place)?;
        }
        while let Some(place) = self.oldest() {
            self.print(place)?;
            self.advance(place)?;
        }
        self.out.flush()
    }

    /// Prints all there is, also lines that have no end yet: none will come.
    pub fn finish(&mut self) -> Outcome {
        self.unread.extend(0..self.sources.len());
        self.print_new()?;
        for place in 0..self.sources.len() {
            if let Some(line) = self.sources[place].source.take_unfinished() {
                self.sources[place].line = Some(line);
                self.print(place)?;
            }
        }
        self.out.flush()
    }

    /// Takes in which logs have grown, and instances that have come since.
    fn look_for_new(&mut self) -> Outcome {
        let changes = self.watch.take();
        let mut names: Vec<String> = changes.instances.into_iter().collect();
        if changes.everything {
            names = chain::instances(&self.folder)?;
        }
        for name in &names {
            self.look_at(name);
            // What was not there at the beginning has been written since.
            self.add(name, Start::First)?;
        }
        Ok(())
    }

    fn add(&mut self, internal_name: &str, start: Start) -> Outcome {
        if self.places.contains_key(internal_name) || !self.selection.has(internal_name) {
            return Ok(());
        }
        let source =
            Source::open(&self.folder, internal_name, start).map_err(|error| cannot_read(internal_name, &error))?;
        self.places.insert(internal_name.to_owned(), self.sources.len());
        self.unread.insert(self.sources.len());
        self.sources.push(Head { source, line: None, time: 0 });
        self.format.width = self.format.width.max(internal_name.len());
        Ok(())
    }

    /// Reads a source's next line, if it has none waiting.
    fn advance(&mut self, place: usize) -> Outcome {
        let head = &mut self.sources[place];
        if head.line.is_some() {
            return Ok(());
        }
        let mut gap = None;
        let line = head
            .source
            .next_line(&mut |_: &str, lost: Gap| gap = Some(lost))
            .map_err(|error| cannot_read(head.source.internal_name(), &error))?;
        if let Some(lost) = gap {
            // Behind what was read before it.
            self.out.flush()?;
            say_lost(head.source.internal_name(), lost);
        }
        if let Some(time) = line.as_ref().and_then(|line| line.time) {
            head.time = head.time.max(time);
        }
        head.line = line;
        Ok(())
    }

    /// The source whose next line was written first.
    fn oldest(&self) -> Option<usize> {
        let waiting = self.sources.iter().enumerate().filter(|(_, head)| head.line.is_some());
        waiting.min_by_key(|(_, head)| head.time).map(|(place, _)| place)
    }

    fn print(&mut self, place: usize) -> Outcome {
        let head = &mut self.sources[place];
        let Some(line) = head.line.take() else { return Ok(()) };
        self.format.print(&mut self.out, head.source.internal_name(), place, &line)
    }
}

fn say_lost(internal_name: &str, lost: Gap) {
    let why = "its log was rotated away before it was read";
    output::say(&match lost {
        Some(1) => format!("1 line of {internal_name} skipped: {why}"),
        Some(lines) => format!("{lines} lines of {internal_name} skipped: {why}"),
        None => format!("lines of {internal_name} may be missing here: {why}"),
    });
}

fn cannot_read(internal_name: &str, error: &io::Error) -> Failure {
    Failure::io(format!("read the log of {internal_name}"), error)
}
