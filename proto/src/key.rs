//! Keys of records and the patterns that select them.
//!
//! A key is `""` or `/`-separated segments of `[A-Za-z0-9._~-]+`, at most 255 bytes, compared bytewise. In a pattern a
//! segment is a literal, `*` (exactly one segment) or `**` (none or more); `**` alone is everything, `""` included.

/// Longest key and longest pattern, in bytes.
pub const MAX_KEY: usize = 255;

/// Why a key or pattern is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It is longer than [`MAX_KEY`].
    #[error("it is longer than {MAX_KEY} bytes")]
    TooLong,
    /// A segment is empty: a '/' at the start, at the end, or two in a row.
    #[error("a segment between '/' is empty")]
    EmptySegment,
    /// It holds a character that is not allowed.
    #[error("{0:?} is not allowed: letters, digits, '.', '_', '~', '-' and '/' between segments are")]
    Character(char),
}

/// Checks a key.
pub fn check(key: &str) -> Result<(), KeyError> {
    if key.is_empty() {
        return Ok(());
    }
    check_length(key)?;
    key.split('/').try_for_each(check_segment)
}

fn check_length(text: &str) -> Result<(), KeyError> {
    if text.len() > MAX_KEY { Err(KeyError::TooLong) } else { Ok(()) }
}

fn check_segment(segment: &str) -> Result<(), KeyError> {
    if segment.is_empty() {
        return Err(KeyError::EmptySegment);
    }
    match segment.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '~' | '-'))) {
        Some(other) => Err(KeyError::Character(other)),
        None => Ok(()),
    }
}

/// A checked key pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    segments: Vec<Segment>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Literal(String),
    One,
    Any,
}

impl Pattern {
    /// Parses a pattern; `""` is `**`.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        if text.is_empty() {
            return Ok(Self { segments: vec![Segment::Any] });
        }
        check_length(text)?;
        let segments = text.split('/').map(parse_segment).collect::<Result<_, _>>()?;
        Ok(Self { segments })
    }

    /// Does it select every record, whatever its key?
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.segments.iter().all(|segment| *segment == Segment::Any)
    }

    /// Does it select records of this key?
    #[must_use]
    pub fn matches(&self, key: &str) -> bool {
        if key.is_empty() {
            return self.is_everything();
        }
        let parts: Vec<&str> = key.split('/').collect();
        matches_from(&self.segments, &parts)
    }
}

fn parse_segment(text: &str) -> Result<Segment, KeyError> {
    match text {
        "*" => Ok(Segment::One),
        "**" => Ok(Segment::Any),
        literal => check_segment(literal).map(|()| Segment::Literal(literal.to_owned())),
    }
}

/// Greedy with one place to come back to: linear for one `**`, quadratic at worst, never exponential.
fn matches_from(pattern: &[Segment], parts: &[&str]) -> bool {
    let (mut p, mut k) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while k < parts.len() {
        match pattern.get(p) {
            Some(Segment::Any) => {
                retry = Some((p, k));
                p += 1;
                continue;
            }
            Some(Segment::One) => (p, k) = (p + 1, k + 1),
            Some(Segment::Literal(literal)) if literal == parts[k] => (p, k) = (p + 1, k + 1),
            Some(Segment::Literal(_)) | None => {
                let Some((any, taken)) = retry else { return false };
                retry = Some((any, taken + 1));
                (p, k) = (any + 1, taken + 1);
            }
        }
    }
    pattern[p..].iter().all(|segment| *segment == Segment::Any)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(pattern: &str, key: &str) -> bool {
        Pattern::parse(pattern).expect("a pattern").matches(key)
    }

    #[test]
    fn a_key_is_segments_between_slashes() {
        for good in ["", "a", "a/b-c/d.e_f~g", &"k".repeat(255)] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        assert_eq!(check("/a"), Err(KeyError::EmptySegment));
        assert_eq!(check("a//b"), Err(KeyError::EmptySegment));
        assert_eq!(check("a/"), Err(KeyError::EmptySegment));
        assert_eq!(check("a b"), Err(KeyError::Character(' ')));
        assert_eq!(check("*"), Err(KeyError::Character('*')));
        assert_eq!(check(&"k".repeat(256)), Err(KeyError::TooLong));
    }

    #[test]
    fn a_star_is_one_segment_and_two_are_any_number() {
        assert!(matches("a/*", "a/b") && !matches("a/*", "a") && !matches("a/*", "a/b/c"));
        assert!(matches("a/**", "a") && matches("a/**", "a/b/c") && !matches("a/**", "b"));
        assert!(matches("**/z", "z") && matches("**/z", "a/b/z") && !matches("**/z", "a/z/b"));
        assert!(matches("a/**/b/**/c", "a/b/b/x/c") && !matches("a/**/b/**/c", "a/c"));
        assert!(matches("**", "") && matches("", "") && matches("**", "a/b") && !matches("*", ""));
        assert!(Pattern::parse("a/*b").is_err());
    }

    /// The definition, word by word; exponential, so only for short keys.
    fn by_definition(pattern: &[Segment], parts: &[&str]) -> bool {
        match (pattern.split_first(), parts.split_first()) {
            (None, rest) => rest.is_none(),
            (Some((Segment::Any, after)), _) => {
                by_definition(after, parts) || (!parts.is_empty() && by_definition(pattern, &parts[1..]))
            }
            (Some((Segment::One, after)), Some((_, rest))) => by_definition(after, rest),
            (Some((Segment::Literal(literal), after)), Some((part, rest))) => {
                literal == part && by_definition(after, rest)
            }
            (Some(_), None) => false,
        }
    }

    proptest! {
        #[test]
        fn matching_is_as_defined(
            pattern in prop::collection::vec(prop_oneof!["a", "b", "\\*", "\\*\\*"], 1..6),
            key in prop::collection::vec(prop_oneof!["a", "b"], 1..6),
        ) {
            let parsed = Pattern::parse(&pattern.join("/")).expect("a pattern");
            let parts: Vec<&str> = key.iter().map(String::as_str).collect();
            prop_assert_eq!(parsed.matches(&key.join("/")), by_definition(&parsed.segments, &parts));
        }
    }
}
