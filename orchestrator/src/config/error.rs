//! What is wrong with a copo.toml, said so that it can be found and put right.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Everything wrong with one copo.toml that could be found together. Displayed one problem a line:
/// `copo.toml:12:3: cannot …: why`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    path: PathBuf,
    problems: Vec<Problem>,
}

/// One thing wrong with a copo.toml.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where, unless it is the file as a whole.
    pub position: Option<Position>,
    /// `cannot <do> <what>: <why>`.
    pub message: String,
}

/// A place in a text, both from 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The character in the line.
    pub column: usize,
}

impl ConfigError {
    /// A problem with the file as a whole.
    #[must_use]
    pub fn whole(path: &Path, message: String) -> Self {
        Self { path: path.to_owned(), problems: vec![Problem { position: None, message }] }
    }

    /// Problems at places of `text`, told in the order of the file.
    pub(super) fn at(path: &Path, text: &str, mut found: Vec<Found>) -> Self {
        found.sort_by_key(|found| found.span.start);
        found.dedup();
        let problems = found
            .into_iter()
            .map(|found| Problem { position: Some(Position::of(text, found.span.start)), message: found.message })
            .collect();
        Self { path: path.to_owned(), problems }
    }

    /// The file, as it was named.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The problems, in the order of the file; at least one.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let end_of_last = if index == 0 { "" } else { "\n" };
            write!(f, "{end_of_last}{}:", self.path.display())?;
            if let Some(Position { line, column }) = problem.position {
                write!(f, "{line}:{column}:")?;
            }
            write!(f, " {}", problem.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

impl Position {
    pub(super) fn of(text: &str, offset: usize) -> Self {
        let before = &text.as_bytes()[..offset.min(text.len())];
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        // A continuation byte of UTF-8 is no character of its own.
        let column = 1 + before[line_start..].iter().filter(|byte| **byte & 0xc0 != 0x80).count();
        Self { line, column }
    }
}

/// A problem at a range of bytes of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub span: Range<usize>,
    pub message: String,
}

/// What is gathered while a file is checked.
#[derive(Debug, Default)]
pub(super) struct Problems(pub Vec<Found>);

impl Problems {
    pub fn push(&mut self, span: Range<usize>, message: String) {
        self.0.push(Found { span, message });
    }
}

/// `; did you mean "depends_on"?` when one of the candidates is near, else nothing.
pub(super) fn did_you_mean<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(written, candidates).map_or_else(String::new, |near| format!("; did you mean {near:?}?"))
}

/// The candidate that is most like what was written, unless none is like it.
fn nearest<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Longer texts would take seconds to compare, and nobody misspelt them.
    if written.len() > 100 {
        return None;
    }
    let lower = written.to_lowercase();
    let likeness = |candidate: &str| strsim::jaro_winkler(&lower, &candidate.to_lowercase());
    let rated = candidates.into_iter().map(|candidate| (likeness(candidate), candidate));
    let (likeness, candidate) = rated.max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(a.1)))?;
    if likeness >= 0.85 { Some(candidate) } else { None }
}

/// A key as it may stand in a path of keys: in quotes only if it must.
pub(super) fn bare(key: &str) -> Cow<'_, str> {
    let is_bare = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    if is_bare { Cow::Borrowed(key) } else { Cow::Owned(format!("{key:?}")) }
}
