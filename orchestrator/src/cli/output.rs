//! stdout and stderr: data goes to the one, everything said to people to the other.

use std::io::{self, BufWriter, ErrorKind, Stdout, Write};

use anstream::AutoStream;
use anstyle::{AnsiColor, Color, Style};
use chrono::{DateTime, Local, SecondsFormat};

use super::failure::{FAILED, Failure, Outcome};

/// The colours of names in front of log lines, by turns.
const PALETTE: [AnsiColor; 6] =
    [AnsiColor::Cyan, AnsiColor::Yellow, AnsiColor::Green, AnsiColor::Magenta, AnsiColor::Blue, AnsiColor::BrightRed];

/// stdout, buffered. A reader that has gone ends the command quietly, as `head` expects of what stands before it.
pub struct Out {
    inner: BufWriter<Stdout>,
    coloured: bool,
}

impl Out {
    /// This process's stdout.
    pub fn new() -> Self {
        let stdout = io::stdout();
        let coloured = is_coloured(AutoStream::choice(&stdout));
        Self { inner: BufWriter::with_capacity(64 * 1024, stdout), coloured }
    }

    /// May it be coloured (NO_COLOR, not a terminal)?
    pub fn coloured(&self) -> bool {
        self.coloured
    }

    /// Bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> Outcome {
        self.inner.write_all(bytes).map_err(|error| stdout_failure(&error))
    }

    /// Text and a newline.
    pub fn line(&mut self, text: &str) -> Outcome {
        self.bytes(text.as_bytes())?;
        self.bytes(b"\n")
    }

    /// One JSON document on a line of its own.
    pub fn json(&mut self, value: &serde_json::Value) -> Outcome {
        self.line(&value.to_string())
    }

    /// What was written so far is to be seen now.
    pub fn flush(&mut self) -> Outcome {
        self.inner.flush().map_err(|error| stdout_failure(&error))
    }
}

fn stdout_failure(error: &io::Error) -> Failure {
    match error.kind() {
        ErrorKind::BrokenPipe => Failure::silent(0),
        _ => Failure::new(FAILED, format!("cannot write to stdout: {error}")),
    }
}

fn is_coloured(choice: anstream::ColorChoice) -> bool {
    match choice {
        anstream::ColorChoice::Never => false,
        anstream::ColorChoice::Auto | anstream::ColorChoice::AlwaysAnsi | anstream::ColorChoice::Always => true,
    }
}

/// Says something to the person, on stderr. Nobody listening is no reason to end.
pub fn say(text: &str) {
    let _ = writeln!(io::stderr().lock(), "copo: {text}");
}

/// Says something of lesser weight, dim.
pub fn say_dim(text: &str) {
    let coloured = is_coloured(AutoStream::choice(&io::stderr()));
    let style = if coloured { Style::new().dimmed() } else { Style::new() };
    let _ = writeln!(io::stderr().lock(), "{style}copo: {text}{style:#}");
}

/// The style of the `turn`-th name in front of log lines.
pub fn name_style(turn: usize, coloured: bool) -> Style {
    if !coloured {
        return Style::new();
    }
    Style::new().fg_color(Some(Color::Ansi(PALETTE[turn % PALETTE.len()])))
}

/// A time (microseconds since the Unix epoch) for people: RFC 3339, local, milliseconds.
pub fn local_time(micros: u64) -> String {
    match i64::try_from(micros).ok().and_then(DateTime::from_timestamp_micros) {
        Some(time) => time.with_timezone(&Local).to_rfc3339_opts(SecondsFormat::Millis, false),
        None => micros.to_string(),
    }
}

/// Rows below a head, each column as wide as its widest cell.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([head[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let head: Vec<String> = head.iter().map(ToString::to_string).collect();
    let mut text = String::new();
    for row in std::iter::once(&head).chain(rows) {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_aligned_and_has_no_trailing_blanks() {
        let rows = vec![vec!["web-1".into(), "running".into()], vec!["a-1".into(), String::new()]];
        assert_eq!(table(&["NAME", "STATE"], &rows), "NAME   STATE\nweb-1  running\na-1\n");
    }

    #[test]
    fn a_time_is_rfc_3339_with_its_offset() {
        let text = local_time(1_700_000_000_123_456);
        let read = DateTime::parse_from_rfc3339(&text).expect("RFC 3339");
        assert_eq!(read.timestamp_millis(), 1_700_000_000_123);
    }
}
