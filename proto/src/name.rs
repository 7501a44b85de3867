//! Names of applications and processes: `[A-Za-z0-9][A-Za-z0-9._-]{0,62}`, unique without regard to case.

/// Longest name, in bytes.
pub const MAX_NAME: usize = 63;

/// Why a name is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// There is nothing.
    #[error("it is empty")]
    Empty,
    /// It is longer than [`MAX_NAME`].
    #[error("it is longer than {MAX_NAME} characters")]
    TooLong,
    /// It starts with something else than a letter or digit.
    #[error("it must start with a letter or a digit")]
    Start,
    /// It holds a character that is not allowed.
    #[error("{0:?} is not allowed: letters, digits, '.', '_' and '-' are")]
    Character(char),
}

/// Checks the name of an application or process.
pub fn check(name: &str) -> Result<(), NameError> {
    let first = name.chars().next().ok_or(NameError::Empty)?;
    if let Some(other) = name.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))) {
        return Err(NameError::Character(other));
    }
    if !first.is_ascii_alphanumeric() {
        return Err(NameError::Start);
    }
    if name.len() > MAX_NAME { Err(NameError::TooLong) } else { Ok(()) }
}

/// The internal name of instance `number` (from 1) of process `name`.
#[must_use]
pub fn internal(name: &str, number: u32) -> String {
    format!("{name}-{number}")
}

/// Splits what could be an internal name into process name and instance number.
#[must_use]
pub fn split_internal(internal_name: &str) -> Option<(&str, u32)> {
    let (name, number) = internal_name.rsplit_once('-')?;
    let is_plain = !number.starts_with('0') && number.bytes().all(|b| b.is_ascii_digit());
    if name.is_empty() || !is_plain { None } else { Some((name, number.parse().ok()?)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_file_name_everywhere() {
        assert_eq!(check("web.front_2-a"), Ok(()));
        assert_eq!(check(""), Err(NameError::Empty));
        assert_eq!(check(".."), Err(NameError::Start));
        assert_eq!(check("a/b"), Err(NameError::Character('/')));
        assert_eq!(check("ä"), Err(NameError::Character('ä')));
        assert_eq!(check(&"a".repeat(63)), Ok(()));
        assert_eq!(check(&"a".repeat(64)), Err(NameError::TooLong));
    }

    #[test]
    fn an_internal_name_splits_into_what_it_was_made_of() {
        assert_eq!(split_internal(&internal("a-1", 12)), Some(("a-1", 12)));
        assert_eq!(split_internal("a"), None);
        assert_eq!(split_internal("a-01"), None);
        assert_eq!(split_internal("a-x"), None);
    }
}
