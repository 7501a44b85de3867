//! Files of KEY=VALUE lines, as `env_file` names them.
//!
//! One assignment a line; `#` begins a comment at the start of a line or after a space; `export ` before a name is
//! passed over. A value may stand in single quotes (verbatim) or double quotes (with `\n`, `\r`, `\t`, `\"`, `\\` and
//! `\$`); quoted values may go on over lines. Nothing is expanded.

/// Why a file is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct EnvFileError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub why: String,
}

/// Name and value.
type Variable = (String, String);

/// The variables of a file, in its order; of one that is set twice both.
pub fn parse(text: &str) -> Result<Vec<(String, String)>, EnvFileError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut variables = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let line = || 1 + text[..text.len() - rest.len()].matches('\n').count();
        let (variable, after) = assignment(rest).map_err(|why| EnvFileError { line: line(), why })?;
        variables.extend(variable);
        rest = after;
    }
    Ok(variables)
}

/// The assignment at the beginning of the text, unless its first line is empty or a comment; and what follows.
fn assignment(text: &str) -> Result<(Option<Variable>, &str), String> {
    let (line, after) = text.split_once('\n').unwrap_or((text, ""));
    let bare = line.trim();
    if bare.is_empty() || bare.starts_with('#') {
        return Ok((None, after));
    }
    let Some((name, _)) = line.split_once('=') else {
        return Err(format!("{bare:?} is no NAME=VALUE"));
    };
    let value_start = name.len() + 1;
    let name = name.trim();
    let name = name.strip_prefix("export ").map_or(name, str::trim_start);
    check_name(name)?;
    let (value, after) = value(&text[value_start..])?;
    if value.contains('\0') {
        return Err(format!("the value of {name} holds a NUL character, which cannot be passed to a program"));
    }
    Ok((Some((name.to_owned(), value)), after))
}

fn check_name(name: &str) -> Result<(), String> {
    let is_good =
        !name.is_empty() && !name.chars().any(|c| c.is_whitespace() || c.is_control() || matches!(c, '"' | '\''));
    if is_good { Ok(()) } else { Err(format!("{name:?} is no name of a variable")) }
}

/// The value at the beginning of the text, and what follows its line.
fn value(text: &str) -> Result<(String, &str), String> {
    let start = text.trim_start_matches([' ', '\t']);
    let (value, after) = match start.chars().next() {
        Some('\'') => {
            let (value, after) = start[1..].split_once('\'').ok_or("the closing ' is missing")?;
            (value.to_owned(), after)
        }
        Some('"') => double_quoted(&start[1..])?,
        Some(_) | None => return Ok(unquoted(text)),
    };
    let (line, after) = after.split_once('\n').unwrap_or((after, ""));
    let beyond = line.trim();
    if beyond.is_empty() || beyond.starts_with('#') {
        Ok((value, after))
    } else {
        Err(format!("{beyond:?} stands behind the closing quote"))
    }
}

/// Up to the end of the line, or to a comment.
fn unquoted(text: &str) -> (String, &str) {
    let (line, after) = text.split_once('\n').unwrap_or((text, ""));
    let comment = line.match_indices('#').map(|(place, _)| place).find(|&place| line[..place].ends_with([' ', '\t']));
    (line[..comment.unwrap_or(line.len())].trim().to_owned(), after)
}

/// Up to the closing quote; and what follows that.
fn double_quoted(text: &str) -> Result<(String, &str), String> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((place, c)) = chars.next() {
        match c {
            '"' => return Ok((value, &text[place + 1..])),
            '\\' => match chars.next().map(|(_, escaped)| escaped) {
                Some('n') => value.push('\n'),
                Some('r') => value.push('\r'),
                Some('t') => value.push('\t'),
                Some(same @ ('"' | '\\' | '$')) => value.push(same),
                Some(other) => value.extend(['\\', other]),
                None => break,
            },
            other => value.push(other),
        }
    }
    Err("the closing \" is missing".to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(line: &str) -> String {
        let variables = parse(line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
        assert_eq!(variables.len(), 1, "{line:?}");
        variables[0].1.clone()
    }

    #[test]
    fn a_file_is_lines_of_name_and_value() {
        let text = "# comment\n\nA=1\r\nexport B = two words # comment\n C='x'\nA=\n";
        let expected = [("A", "1"), ("B", "two words"), ("C", "x"), ("A", "")];
        let expected: Vec<_> = expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        assert_eq!(parse(text), Ok(expected));
        assert_eq!(parse(""), Ok(Vec::new()));
    }

    #[test]
    fn quotes_keep_what_they_hold() {
        assert_eq!(one(r"A='a $B \n # c'"), r"a $B \n # c");
        assert_eq!(one(r#"A="a\tb\"c\\d\$e\x" # comment"#), "a\tb\"c\\d$e\\x");
        assert_eq!(one("A=\"two\nlines\""), "two\nlines");
        assert_eq!(one("A=a#b"), "a#b");
        assert_eq!(one("A= # nothing"), "");
        assert_eq!(one("A=b=c"), "b=c");
        assert_eq!(one("A=it's"), "it's");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, message) in [
            ("A=1\nnonsense", "line 2: \"nonsense\" is no NAME=VALUE"),
            ("=1", "line 1: \"\" is no name of a variable"),
            ("A B=1", "line 1: \"A B\" is no name of a variable"),
            ("A='1\n2\n\nB=3", "line 1: the closing ' is missing"),
            ("A=\"1\n2\"\nB=\"3", "line 3: the closing \" is missing"),
            ("A='1' 2", "line 1: \"2\" stands behind the closing quote"),
            ("A=\0", "line 1: the value of A holds a NUL character, which cannot be passed to a program"),
        ] {
            assert_eq!(parse(text).expect_err(text).to_string(), message);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(?s)([A-B=#'\"\\\\\n ]|export |.){0,40}") {
            let _ = parse(&text);
        }
    }
}
