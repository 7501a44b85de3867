//! Text → [`RawFile`]: first its syntax, then its shape (keys and types). All problems of a stage are found together; the
//! next stage is asked only when there are none, so that nothing is a mere consequence of something told before.

use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue, Error};

use super::error::{Found, Position, bare, did_you_mean};
use super::raw::RawFile;

/// Problems of shape told at once; nobody reads more, and each costs a pass over the file.
const MOST: usize = 20;

/// Serde's words for what it expected, and ours.
const WORDS: [(&str, &str); 8] = [
    ("expected a sequence", "expected an array"),
    ("expected a map", "expected a table"),
    ("expected a boolean", "expected true or false"),
    ("wanted string or table", "expected a string"),
    ("expected u64", "expected a whole number from 0"),
    ("expected u32", "expected a whole number from 0"),
    ("expected usize", "expected a whole number from 0"),
    ("expected i64", "expected a whole number"),
];

/// Reads copo.toml as written.
pub(super) fn read(text: &str) -> Result<RawFile, Vec<Found>> {
    let (document, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        read_shape(document)
    } else {
        let mut found: Vec<Found> = errors.iter().map(|error| syntax_problem(text, error)).collect();
        // What follows in the same line is mostly a consequence.
        found.sort_by_key(|found| found.span.start);
        found.dedup_by_key(|found| Position::of(text, found.span.start).line);
        found.truncate(MOST);
        Err(found)
    }
}

/// Serde stops at the first problem; so what it stopped at is taken out and the rest read again.
fn read_shape(mut document: Spanned<DeTable<'_>>) -> Result<RawFile, Vec<Found>> {
    let mut found = Vec::new();
    while found.len() < MOST {
        let error = match RawFile::deserialize(toml::Deserializer::from(document.clone())) {
            Ok(file) if found.is_empty() => return Ok(file),
            Ok(_) => break,
            Err(error) => error,
        };
        let span = error.span().unwrap_or_default();
        let before = document.get_ref().clone();
        let place = take_out(document.get_mut(), &span, "");
        let hidden = place.as_ref().filter(|place| is_secret(&before, place));
        let message = match hidden {
            Some(place) => format!("cannot use {}: a string is expected; what stands there is a secret", place.path),
            None => shape_message(error.message(), place.as_ref()),
        };
        found.push(Found { span, message });
        if place.is_none() {
            break;
        }
    }
    Err(found)
}

/// Where in the document something stands.
struct Place {
    /// The path of the table: "process.clean"; "" is the top.
    table: String,
    /// The key in it.
    key: String,
    /// The path of the entry, or of the element of an array in it: "process.clean.args[1]".
    path: String,
}

impl Place {
    fn entry(table: &str, key: &str) -> Self {
        let dot = if table.is_empty() { "" } else { "." };
        Self { table: table.to_owned(), key: key.to_owned(), path: format!("{table}{dot}{}", bare(key)) }
    }

    fn element(&self, index: usize) -> Self {
        Self { table: self.table.clone(), key: self.key.clone(), path: format!("{}[{index}]", self.path) }
    }
}

/// Is it the value of a variable that its process lists among its secrets? Serde would print it.
fn is_secret(document: &DeTable<'_>, place: &Place) -> bool {
    let Some(DeValue::Table(processes)) = document.get("process").map(|value| value.get_ref()) else { return false };
    let is_of =
        |name: &str| ["env", "secret_file"].iter().any(|key| place.table == format!("process.{}.{key}", bare(name)));
    processes.iter().filter(|(name, _)| is_of(name.get_ref().as_ref())).any(|(_, process)| {
        let DeValue::Table(process) = process.get_ref() else { return false };
        let Some(DeValue::Array(secrets)) = process.get("secrets").map(|value| value.get_ref()) else { return false };
        secrets.iter().any(|secret| matches!(secret.get_ref(), DeValue::String(name) if *name == place.key))
    })
}

/// Takes the entry or element whose key or value has this span out of the table, and tells where it was.
fn take_out(table: &mut DeTable<'_>, span: &Range<usize>, path: &str) -> Option<Place> {
    let is_it = |key: &Range<usize>, value: &Range<usize>| key == span || value == span;
    let found = table.iter().find(|(key, value)| is_it(&key.span(), &value.span())).map(|(key, _)| key.clone());
    if let Some(key) = found {
        table.remove(key.get_ref().as_ref());
        return Some(Place::entry(path, key.get_ref()));
    }
    table
        .iter_mut()
        .find_map(|(key, value)| take_out_of_value(value.get_mut(), span, &Place::entry(path, key.get_ref())))
}

fn take_out_of_value(value: &mut DeValue<'_>, span: &Range<usize>, place: &Place) -> Option<Place> {
    match value {
        DeValue::Table(table) => take_out(table, span, &place.path),
        DeValue::Array(array) => take_out_of_array(array, span, place),
        DeValue::String(_) | DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {
            None
        }
    }
}

fn take_out_of_array(array: &mut DeArray<'_>, span: &Range<usize>, place: &Place) -> Option<Place> {
    if let Some(index) = array.iter().position(|value| value.span() == *span) {
        let mut rest = DeArray::new();
        let others = array.iter().enumerate().filter(|(other, _)| *other != index);
        others.for_each(|(_, value)| rest.push(value.clone()));
        *array = rest;
        return Some(place.element(index));
    }
    let mut elements = array.iter_mut().enumerate();
    elements.find_map(|(index, value)| take_out_of_value(value.get_mut(), span, &place.element(index)))
}

/// What serde said, in our words.
fn shape_message(said: &str, place: Option<&Place>) -> String {
    let Some(place) = place else { return format!("cannot use the file: {}", in_our_words(said)) };
    if let Some((_, expected)) = unknown(said, "unknown field `") {
        let table =
            if place.table.is_empty() { "at the top of the file".to_owned() } else { format!("in [{}]", place.table) };
        let near = did_you_mean(&place.key, expected);
        return format!("cannot use the key {:?} {table}: there is no such key{near}", place.key);
    }
    if let Some((written, expected)) = unknown(said, "unknown variant `") {
        let near = did_you_mean(written, expected.iter().copied());
        let choices: Vec<String> = expected.iter().map(|choice| format!("{choice:?}")).collect();
        return format!("cannot use {written:?} for {}: it may be {}{near}", place.path, choices.join(", "));
    }
    format!("cannot use {}: {}", place.path, in_our_words(said))
}

/// What was written and what was expected, of serde's "unknown field `a`, expected one of `b`, `c`".
fn unknown<'a>(said: &'a str, beginning: &str) -> Option<(&'a str, Vec<&'a str>)> {
    // What was written may hold anything; what was expected is ours.
    let (written, expected) = said.strip_prefix(beginning)?.rsplit_once("`, expected ")?;
    Some((written, expected.split('`').skip(1).step_by(2).collect()))
}

fn in_our_words(said: &str) -> String {
    WORDS.iter().fold(said.to_owned(), |said, (theirs, ours)| said.replace(theirs, ours))
}

fn syntax_problem(text: &str, error: &Error) -> Found {
    let span = error.span().unwrap_or_default();
    let message = match error.message() {
        "duplicate key" => twice(text, &span),
        other => format!("cannot read this line: {other}"),
    };
    Found { span, message }
}

/// Something stands in the file twice; the second time at `span`.
fn twice(text: &str, span: &Range<usize>) -> String {
    let key = text.get(span.clone()).unwrap_or_default();
    let line_start = text[..span.start].rfind('\n').map_or(0, |newline| newline + 1);
    let line = text[line_start..].lines().next().unwrap_or_default().trim();
    let Some(header) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(header, _)| header) else {
        return format!("cannot set {:?} twice: a key may stand only once in a table", unquoted(key));
    };
    let is_same =
        |line: &str| line.trim().strip_prefix('[').is_some_and(|rest| rest.starts_with(&format!("{header}]")));
    let first = match text[..line_start].lines().position(is_same) {
        Some(index) => format!("the first is in line {}", index + 1),
        None => "it is there already".to_owned(),
    };
    match header.split_once('.').map(|(table, name)| (table.trim(), name.trim())) {
        Some(("process", name)) if name == key => {
            format!("cannot have two processes named {:?}: {first}", unquoted(key))
        }
        Some(_) | None => format!("cannot have the table [{header}] twice: {first}"),
    }
}

fn unquoted(key: &str) -> &str {
    key.trim_matches(['"', '\''])
}
