//! `pids/<process>.pid`: there while a run is, with the number of its main process.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Write};

use crate::layout::{self, Layout};

/// Writes an instance's pid file. Whoever reads it finds a whole number, or the one before.
pub(super) fn write(layout: &Layout, internal_name: &str, pid: u32) {
    if let Err(error) = replace(layout, internal_name, &format!("{pid}\n")) {
        tracing::warn!("cannot write the pid file of {internal_name}: {error}");
    }
}

fn replace(layout: &Layout, internal_name: &str, text: &str) -> io::Result<()> {
    let path = layout.pid(internal_name);
    // That of a run that was taken over says the same already.
    if fs::read_to_string(&path).is_ok_and(|there| there == text) {
        return Ok(());
    }
    // Not among the others, where somebody may list them.
    let new = layout.orchestrator().join("pid.new");
    layout::private_file().truncate(true).open(&new)?.write_all(text.as_bytes())?;
    fs::rename(&new, path)
}

/// Removes an instance's pid file.
pub(super) fn remove(layout: &Layout, internal_name: &str) {
    let _ = fs::remove_file(layout.pid(internal_name));
}

/// Removes those that a killed orchestrator left, but for those of these instances.
pub(super) fn remove_but(layout: &Layout, kept: &HashSet<&str>) {
    for entry in fs::read_dir(layout.pids()).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name.to_str().and_then(|name| name.strip_suffix(".pid")).is_none_or(|name| !kept.contains(name)) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_file_is_replaced_whole_and_only_what_is_kept_stays() {
        use std::io::Read;
        let home = tempfile::tempdir().expect("a temporary folder");
        let layout = Layout::new(home.path(), "t");
        layout::prepare(&layout).expect("made");
        write(&layout, "a-1", 7);
        write(&layout, "b-1", 8);
        let mut open = fs::File::open(layout.pid("a-1")).expect("it is there");

        write(&layout, "a-1", 12345);

        let mut before = String::new();
        open.read_to_string(&mut before).expect("readable");
        assert_eq!(
            (before.as_str(), fs::read_to_string(layout.pid("a-1")).expect("there").as_str()),
            ("7\n", "12345\n")
        );
        remove_but(&layout, &HashSet::from(["a-1"]));
        assert!(layout.pid("a-1").exists() && !layout.pid("b-1").exists());
        assert_eq!(fs::read_dir(layout.pids()).expect("there").count(), 1);
    }
}
