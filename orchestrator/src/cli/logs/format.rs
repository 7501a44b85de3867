//! How a log line is shown.

use std::borrow::Cow;

use copo_proto::name;
use serde_json::{Map, Value};

use super::super::failure::Outcome;
use super::super::output::{Out, local_time, name_style};
use super::source::Line;

/// How log lines are shown.
#[derive(Debug, Clone, Copy)]
pub struct Format {
    /// The instance's name in front.
    pub prefix: bool,
    /// The time in front.
    pub timestamps: bool,
    /// An object a line.
    pub json: bool,
    /// Columns of the longest name so far.
    pub width: usize,
}

impl Format {
    /// The name in front, and nothing else.
    pub fn prefixed() -> Self {
        Self { prefix: true, timestamps: false, json: false, width: 0 }
    }

    /// Prints a line of the `turn`-th instance. What the process wrote is printed untouched.
    pub fn print(&self, out: &mut Out, internal_name: &str, turn: usize, line: &Line) -> Outcome {
        if self.json {
            return out.json(&to_json(internal_name, line));
        }
        if self.prefix {
            let style = name_style(turn, out.coloured());
            out.bytes(format!("{style}{internal_name:width$} |{style:#} ", width = self.width).as_bytes())?;
        }
        if self.timestamps {
            out.bytes(line.time.map_or_else(|| "-".to_owned(), local_time).as_bytes())?;
            out.bytes(b" ")?;
        }
        out.bytes(&line.bytes)?;
        // A prefix belongs at the start of a line, whatever the line before it lacks.
        if self.prefix && line.bytes.last() != Some(&b'\n') { out.bytes(b"\n") } else { Ok(()) }
    }
}

/// `{"time":…,"name":…,"internal_name":…,"line":…}`; `"lossy":true` when bytes that are not UTF-8 were replaced.
fn to_json(internal_name: &str, line: &Line) -> Value {
    let bytes = line.bytes.strip_suffix(b"\n").unwrap_or(&line.bytes);
    let text = String::from_utf8_lossy(bytes);
    let is_lossy = matches!(text, Cow::Owned(_));
    let process = name::split_internal(internal_name).map_or(internal_name, |(process, _)| process);
    let mut object = Map::new();
    object.insert("time".into(), line.time.into());
    object.insert("name".into(), process.into());
    object.insert("internal_name".into(), internal_name.into());
    object.insert("line".into(), text.into());
    if is_lossy {
        object.insert("lossy".into(), true.into());
    }
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bytes_that_are_no_text_are_marked() {
        let line = |bytes: &[u8]| Line { bytes: bytes.to_vec(), time: Some(7) };
        let expected = json!({ "time": 7, "name": "web", "internal_name": "web-1", "line": "a" });
        assert_eq!(to_json("web-1", &line(b"a\n")), expected);
        let expected = json!({ "time": 7, "name": "web", "internal_name": "web-1", "line": "\u{fffd}", "lossy": true });
        assert_eq!(to_json("web-1", &line(b"\xff\n")), expected);
    }
}
