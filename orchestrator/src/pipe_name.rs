//! Names of Windows' named pipes. Pure, so that they are decided and tested on every system.
//!
//! Pipes have one name space for all users of a machine, so what makes an application's pipe its own stands in the name.

use std::fmt::Write;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::layout::ORCHESTRATOR;

/// Stands between what nobody's name can hold, so that no two pipes have one name.
const BETWEEN: char = '+';

/// What the pipes of one application are named after.
pub struct Owner<'a> {
    /// The user's SID, in its string form.
    pub sid: &'a str,
    /// $COPO_HOME, absolute.
    pub home: &'a Path,
    /// The application.
    pub application: &'a str,
}

impl Owner<'_> {
    /// The Server.
    pub fn server(&self) -> String {
        format!(r"\\.\pipe\copo-{}-{}-{ORCHESTRATOR}", self.hash(), self.application)
    }

    /// The live stdio of an instance.
    pub fn stdio(&self, internal_name: &str) -> String {
        format!(r"\\.\pipe\copo-{}-{}{BETWEEN}{internal_name}-stdio", self.hash(), self.application)
    }

    /// 16 hex digits of SHA-256(user SID + absolute COPO_HOME).
    fn hash(&self) -> String {
        let home = self.home.as_os_str().as_encoded_bytes();
        let digest = Sha256::new().chain_update(self.sid).chain_update(home).finalize();
        digest[..8].iter().fold(String::with_capacity(16), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}"); // Writing to a String cannot fail.
            hex
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const SID: &str = "S-1-5-21-1004336348-1177238915-682003330-512";
    const HOME: &str = r"C:\Users\ada\.copo";

    fn owner<'a>(sid: &'a str, home: &'a str, application: &'a str) -> Owner<'a> {
        Owner { sid, home: Path::new(home), application }
    }

    #[test]
    fn the_server_is_named_after_user_home_and_application() {
        // printf '%s' 'S-1-5-21-1004336348-1177238915-682003330-512C:\Users\ada\.copo' | sha256sum | head -c 16
        let expected = r"\\.\pipe\copo-03beaee2ce4f190b-weather-orchestrator";
        assert_eq!(owner(SID, HOME, "weather").server(), expected);
    }

    #[test]
    fn another_user_home_or_application_has_another_pipe() {
        let names = [
            owner(SID, HOME, "weather"),
            owner("S-1-5-18", HOME, "weather"),
            owner(SID, r"D:\copo", "weather"),
            owner(SID, HOME, "traffic"),
        ];
        let names: BTreeSet<String> =
            names.iter().flat_map(|owner| [owner.server(), owner.stdio("a-1"), owner.stdio("a-2")]).collect();
        assert_eq!(names.len(), 4 * 3);
    }

    #[test]
    fn where_one_name_ends_and_another_begins_makes_a_difference() {
        assert_ne!(owner(SID, HOME, "a").stdio("b-c-1"), owner(SID, HOME, "a-b").stdio("c-1"));
        assert_ne!(owner(SID, HOME, "a").stdio("orchestrator-1"), owner(SID, HOME, "a").server());
        assert!(copo_proto::name::check(&BETWEEN.to_string()).is_err(), "no name may hold it");
    }

    #[test]
    fn the_longest_names_there_may_be_fit_into_a_pipes_name() {
        let longest = "n".repeat(63);
        let name = owner(SID, HOME, &longest).stdio(&copo_proto::name::internal(&longest, u32::MAX));
        assert!(name.len() <= 256, "{} characters", name.len());
    }
}
