use std::fs;

use super::*;

#[cfg(unix)]
fn mode(folder: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(folder).expect("a folder").permissions().mode() & 0o777
}

#[cfg(unix)]
#[test]
fn new_folders_are_for_their_user_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let layout = Layout::new(&folder.path().join("home"), "weather");

    prepare(&layout).expect("prepared");

    for made in [layout.home().to_owned(), layout.root(), layout.pids(), layout.logs(), layout.orchestrator()] {
        assert_eq!(mode(&made), 0o700, "{}", made.display());
    }
}

#[cfg(unix)]
#[test]
fn folders_that_were_open_to_others_are_closed() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    let layout = Layout::new(folder.path(), "weather");
    prepare(&layout).expect("prepared");
    let opened = [layout.root(), layout.logs()];
    for open in &opened {
        fs::set_permissions(open, fs::Permissions::from_mode(0o755)).expect("opened");
    }

    prepare(&layout).expect("prepared again");

    assert!(opened.iter().all(|closed| mode(closed) == 0o700));
}

#[cfg(unix)]
#[test]
fn a_home_that_is_there_keeps_its_mode() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("opened");

    prepare(&Layout::new(folder.path(), "weather")).expect("prepared");

    assert_eq!(mode(folder.path()), 0o755);
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    fs::write(&file, "").expect("a file");

    let error = prepare(&Layout::new(&file, "weather")).expect_err("a file is no folder");

    assert!(error.to_string().starts_with(&format!("cannot make the folder {}: ", file.display())), "{error}");
}

#[test]
fn home_is_copo_home_or_in_the_own_folder() {
    let own = std::path::absolute("own").expect("absolute");
    let of = |copo_home: Option<&str>, own: Option<&Path>| home_of(copo_home.map(Into::into), own.map(Into::into));

    assert_eq!(of(Some("here"), Some(&own)).expect("a home"), std::path::absolute("here").expect("absolute"));
    assert_eq!(of(None, Some(&own)).expect("a home"), own.join(".copo"));
    assert_eq!(of(Some(""), Some(&own)).expect("a home"), own.join(".copo"));
    let error = of(None, Some(Path::new("own"))).expect_err("a relative own folder is no place");
    assert!(error.to_string().starts_with("cannot find a place for Copo's files: neither COPO_HOME nor "), "{error}");
    assert!(of(None, None).is_err());
}
