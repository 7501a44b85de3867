//! What the measurement supervises: this same binary, which does nothing else when it is called like this. It is looked for
//! before anything is parsed, so that what a start costs is the system's share.
//!
//! `copo bench-child stamp FILE`: appends its pid and the time to FILE, and sleeps until a signal ends it.
//! `copo bench-child chat FILE BYTES`: the same stamp, then so many bytes of lines to stdout, and ends.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::process::ExitCode;

use rustix::event::pause;

use crate::cli::bench::meter;

/// The first argument of such a child.
pub const WORD: &str = "bench-child";
/// Bytes of a stamp: pid (8) and time (8).
pub const STAMP: usize = 16;
/// Bytes of a line, its end included.
pub const LINE: usize = 100;
/// Lines written at once.
const LINES: usize = 640;

/// Is this process such a child? Then this is its whole life.
pub fn live() -> Option<ExitCode> {
    let mut args = std::env::args_os().skip(1);
    if args.next()? != WORD {
        return None;
    }
    let (verb, file) = (args.next()?, args.next()?);
    let done = stamp(file).and_then(|()| match args.next() {
        Some(bytes) if verb == "chat" => chat(bytes.to_string_lossy().parse().unwrap_or(0)),
        Some(_) | None => loop {
            pause();
        },
    });
    Some(if done.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn stamp(file: OsString) -> io::Result<()> {
    let mut stamp = [0; STAMP];
    stamp[..8].copy_from_slice(&u64::from(std::process::id()).to_le_bytes());
    stamp[8..].copy_from_slice(&meter::now().to_le_bytes());
    OpenOptions::new().append(true).open(file)?.write_all(&stamp)
}

fn chat(bytes: u64) -> io::Result<()> {
    let mut line = [b'x'; LINE];
    line[LINE - 1] = b'\n';
    let lines = line.repeat(LINES);
    let mut left = usize::try_from(bytes).unwrap_or(usize::MAX);
    while left > 0 {
        let part = left.min(lines.len());
        write_all(&lines[..part])?;
        left -= part;
    }
    Ok(())
}

/// Past the library's buffer, which would look for line ends.
fn write_all(mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let wrote = rustix::io::retry_on_intr(|| rustix::io::write(rustix::stdio::stdout(), bytes))?;
        bytes = &bytes[wrote..];
    }
    Ok(())
}
