//! One instance's log as a stream of lines, across rotation.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use copo_orchestrator::runtime::log_identity::{self, Identity};

use super::chain::{self, Link, Times};

/// Bytes read at once.
const BLOCK: usize = 64 * 1024;

/// Where reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With the oldest line there is.
    First,
    /// With what is written from now on.
    End,
    /// With the last so many lines.
    LastLines(usize),
}

/// One line, its newline included if it has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Exactly what the process wrote.
    pub bytes: Vec<u8>,
    /// When, in microseconds since the Unix epoch, as far as that is known.
    pub time: Option<u64>,
}

/// One instance's log.
#[derive(Debug)]
pub struct Source {
    folder: PathBuf,
    internal_name: String,
    /// Still to be read, oldest first; the last one is read again whenever it grows.
    files: VecDeque<Opened>,
    /// The beginning of a line that has not ended yet, and its time.
    begun: Line,
}

#[derive(Debug)]
struct Opened {
    reader: BufReader<File>,
    identity: Identity,
    times: Times,
    /// Where the next line begins.
    offset: u64,
    /// Files between the one before and this one were gone before they were read.
    gap: Option<Gap>,
}

/// So many lines were not read; `None`: how many is not known.
pub type Gap = Option<u64>;

impl Source {
    /// Opens the log of an instance. One that has no file yet is empty.
    pub fn open(folder: &Path, internal_name: &str, start: Start) -> io::Result<Self> {
        let links = chain::open(folder, internal_name)?;
        let mut source = Self {
            folder: folder.to_owned(),
            internal_name: internal_name.to_owned(),
            files: VecDeque::new(),
            begun: Line { bytes: Vec::new(), time: None },
        };
        let mut wanted = match start {
            Start::First => usize::MAX,
            Start::End => 0,
            Start::LastLines(count) => count,
        };
        // From the newest back, until there are lines enough; the newest is read on in any case.
        for mut link in links.into_iter().rev() {
            if wanted == 0 && !source.files.is_empty() {
                break;
            }
            let offset = if wanted == usize::MAX {
                0
            } else {
                let (offset, found) = last_lines(&mut link.file, wanted)?;
                wanted -= found;
                offset
            };
            source.files.push_front(Opened::at(link, offset)?);
        }
        Ok(source)
    }

    /// Whose log it is.
    pub fn internal_name(&self) -> &str {
        &self.internal_name
    }

    /// The next whole line; `None` until there is more. `lost` is called in front of the first line after files that were
    /// gone before they were read.
    pub fn next_line(&mut self, lost: &mut impl FnMut(&str, Gap)) -> io::Result<Option<Line>> {
        loop {
            if let Some(gap) = self.files.front_mut().and_then(|opened| opened.gap.take()) {
                // What had begun before it does not go on behind it.
                if let Some(line) = self.take_unfinished() {
                    self.files[0].gap = Some(gap);
                    return Ok(Some(line));
                }
                lost(&self.internal_name, gap);
            }
            if let Some(line) = self.read_line()? {
                return Ok(Some(line));
            }
            if self.files.len() > 1 {
                self.files.pop_front();
            } else if !self.open_newer()? {
                return Ok(None);
            }
        }
    }

    /// What stands behind the last newline: a line that has not ended, and now will not.
    pub fn take_unfinished(&mut self) -> Option<Line> {
        let empty = Line { bytes: Vec::new(), time: None };
        Some(std::mem::replace(&mut self.begun, empty)).filter(|line| !line.bytes.is_empty())
    }

    fn read_line(&mut self) -> io::Result<Option<Line>> {
        let Some(opened) = self.files.front_mut() else { return Ok(None) };
        let is_begun = !self.begun.bytes.is_empty();
        let read = opened.reader.read_until(b'\n', &mut self.begun.bytes)?;
        if read > 0 && !is_begun {
            self.begun.time = opened.times.of(opened.offset)?;
        }
        opened.offset += read as u64;
        if self.begun.bytes.last() != Some(&b'\n') {
            return Ok(None);
        }
        let empty = Line { bytes: Vec::new(), time: None };
        Ok(Some(std::mem::replace(&mut self.begun, empty)))
    }

    /// The file that was read last may have been rotated away: opens what has come after it. What it got between its last
    /// reading and its rotation is read first, since it stays in front.
    fn open_newer(&mut self) -> io::Result<bool> {
        let Some(last) = self.files.back().map(|opened| opened.identity) else {
            let links = chain::open(&self.folder, &self.internal_name)?;
            let is_there = !links.is_empty();
            for link in links {
                self.files.push_back(Opened::at(link, 0)?);
            }
            return Ok(is_there);
        };
        if chain::is_current(&self.folder, &self.internal_name, last)? {
            return Ok(false);
        }
        let mut links = chain::open(&self.folder, &self.internal_name)?;
        let mut gap = None;
        match links.iter().position(|link| link.identity == last) {
            Some(place) => drop(links.drain(..=place)),
            // No file at all: somebody has cleared them away, and knows it.
            None if links.is_empty() => return Ok(false),
            None => gap = self.gap_before(&mut links[0])?,
        }
        let is_there = !links.is_empty();
        for link in links {
            let opened = Opened::at(link, 0)?;
            self.files.push_back(Opened { gap: gap.take(), ..opened });
        }
        Ok(is_there)
    }

    /// What was written between the end of the last file and the beginning of this one, of which the last one is not the
    /// predecessor, as far as one can see.
    fn gap_before(&mut self, link: &mut Link) -> io::Result<Option<Gap>> {
        let Some(last) = self.files.back_mut() else { return Ok(None) };
        let (Some(before), Some(now)) = (last.times.head()?, link.times.head()?) else { return Ok(Some(None)) };
        if before.chain != now.chain {
            return Ok(Some(None));
        }
        let at = last.reader.get_mut().stream_position()?;
        let whole = log_identity::count_lines(last.reader.get_ref())?;
        last.reader.get_mut().seek(SeekFrom::Start(at))?;
        Ok(Some(now.lines.saturating_sub(before.lines + whole)).filter(|lost| *lost > 0).map(Some))
    }
}

impl Opened {
    fn at(mut link: Link, offset: u64) -> io::Result<Self> {
        link.file.seek(SeekFrom::Start(offset))?;
        let reader = BufReader::with_capacity(BLOCK, link.file);
        Ok(Self { reader, identity: link.identity, times: link.times, offset, gap: None })
    }
}

/// Where the last `wanted` lines of a file begin, and how many there are (at most `wanted`). Reads from the end, a block
/// at a time, and no further than needed.
fn last_lines(file: &mut File, wanted: usize) -> io::Result<(u64, usize)> {
    let end = file.seek(SeekFrom::End(0))?;
    if wanted == 0 || end == 0 {
        return Ok((end, 0));
    }
    let mut found = 0;
    let mut block = vec![0; BLOCK];
    let mut block_end = end;
    while block_end > 0 {
        let block_start = block_end.saturating_sub(BLOCK as u64);
        let block = &mut block[..usize::try_from(block_end - block_start).unwrap_or(BLOCK)];
        file.seek(SeekFrom::Start(block_start))?;
        file.read_exact(block)?;
        let mut from = block.len();
        while let Some(newline) = memchr::memrchr(b'\n', &block[..from]) {
            from = newline;
            let line_start = block_start + newline as u64 + 1;
            // A newline at the very end ends a line, it begins none.
            if line_start < end {
                found += 1;
                if found == wanted {
                    return Ok((line_start, found));
                }
            }
        }
        block_end = block_start;
    }
    Ok((0, found + 1))
}
