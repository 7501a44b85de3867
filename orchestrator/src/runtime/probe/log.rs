//! Looks for what log probes wait for in the output of a run, as it comes. Runs without one are not looked at.

use memchr::memmem::Finder;
use regex::bytes::Regex;
use tokio::sync::mpsc::UnboundedSender;

use crate::plan::{Check, Pattern, ProcessSpec};
use crate::supervisor::{Event, ProbeKind, RunId};

/// A line that is longer is matched by its last part only.
const LONGEST_LINE: usize = 64 * 1024;

/// What the output of one run is watched for.
pub(in crate::runtime) struct LineWatch {
    run: RunId,
    events: UnboundedSender<Event>,
    wanted: Vec<(ProbeKind, Matcher)>,
    /// What of the chunks until now may be the beginning of what is looked for.
    rest: Vec<u8>,
}

#[derive(Debug)]
enum Matcher {
    Text(Box<Finder<'static>>),
    Regex(Regex),
}

impl LineWatch {
    /// What this process's log probes wait for, if it has some.
    pub(super) fn of(spec: &ProcessSpec, run: RunId, events: UnboundedSender<Event>) -> Option<Self> {
        let matcher = |kind| match &spec.probe(kind)?.check {
            Check::Log(Pattern::Text(text)) => Some((kind, text_matcher(text))),
            // Config has tried it already.
            Check::Log(Pattern::Regex(regex)) => Some((kind, Matcher::Regex(Regex::new(regex).ok()?))),
            Check::Http { .. } | Check::Tcp(_) | Check::Exec { .. } | Check::Progress => None,
        };
        let wanted: Vec<_> = [ProbeKind::Startup, ProbeKind::Ready].into_iter().filter_map(matcher).collect();
        (!wanted.is_empty()).then(|| Self { run, events, wanted, rest: Vec::new() })
    }

    /// The next chunk has come; false when nothing is looked for any more.
    pub(in crate::runtime) fn feed(&mut self, chunk: &[u8]) -> bool {
        self.rest.extend_from_slice(chunk);
        let (rest, run, events) = (&self.rest, self.run, &self.events);
        self.wanted.retain(|(probe, matcher)| {
            let found = matcher.finds(rest);
            if found {
                let _ = events.send(Event::Probed { run, probe: *probe, answer: Ok(()) });
            }
            !found
        });
        let kept = self.wanted.iter().map(|(_, matcher)| matcher.kept(rest)).max().unwrap_or(0);
        self.rest.drain(..rest.len() - kept);
        !self.wanted.is_empty()
    }
}

impl Matcher {
    fn finds(&self, bytes: &[u8]) -> bool {
        match self {
            Self::Text(finder) => finder.find(bytes).is_some(),
            Self::Regex(regex) => {
                let mut lines = bytes.split_inclusive(|byte| *byte == b'\n');
                lines.any(|line| line.strip_suffix(b"\n").is_some_and(|line| regex.is_match(without_return(line))))
            }
        }
    }

    /// How much of the end of what was searched may become a find with what follows.
    fn kept(&self, bytes: &[u8]) -> usize {
        match self {
            Self::Text(finder) => (finder.needle().len() - 1).min(bytes.len()),
            Self::Regex(_) => {
                let begin = memchr::memrchr(b'\n', bytes).map_or(0, |newline| newline + 1);
                (bytes.len() - begin).min(LONGEST_LINE)
            }
        }
    }
}

fn text_matcher(text: &str) -> Matcher {
    Matcher::Text(Box::new(Finder::new(text.as_bytes()).into_owned()))
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After how many of the chunks it is found.
    fn found(matcher: Matcher, chunks: &[&[u8]]) -> Option<usize> {
        let (events, mut told) = tokio::sync::mpsc::unbounded_channel();
        let run = RunId::parse("019346b2-8f00-7000-8000-000000000000").expect("a RunId");
        let mut watch = LineWatch { run, events, wanted: vec![(ProbeKind::Ready, matcher)], rest: Vec::new() };
        chunks.iter().position(|chunk| {
            let goes_on = watch.feed(chunk);
            assert_eq!(told.try_recv().is_err(), goes_on);
            !goes_on
        })
    }

    fn text(text: &str) -> Matcher {
        text_matcher(text)
    }

    fn regex(regex: &str) -> Matcher {
        Matcher::Regex(Regex::new(regex).expect("a regular expression"))
    }

    #[test]
    fn a_text_is_found_across_chunks() {
        assert_eq!(found(text("ready"), &[b"not yet\n", b"re", b"a", b"dy"]), Some(3));
        assert_eq!(found(text("ready"), &[b"it is ready now\n"]), Some(0));
        assert_eq!(found(text("ready"), &[b"rea", b"x", b"dy"]), None);
        assert_eq!(found(text("r"), &[b"", b"x", b"r"]), Some(2));
    }

    #[test]
    fn a_regular_expression_is_matched_against_whole_lines() {
        assert_eq!(
            found(regex("^listening on port [0-9]+$"), &[b"listening on p", b"ort 80", b"80\r", b"\nx"]),
            Some(3)
        );
        assert_eq!(found(regex("^port"), &[b"the port\n", b"port"]), None);
        assert_eq!(found(regex("(?i)UP"), &[b"\xff up\n"]), Some(0));
    }
}
