use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

fn launch(program: &Path, cwd: &Path) -> Launch {
    let mut env = Environment::default();
    env.set("PATH", "/nowhere:bin:/bin:/usr/bin");
    let (script, args, stdin) = (None, Vec::new(), Stdin::Null);
    Launch { program: program.to_owned(), script, args, cwd: cwd.to_owned(), env, stdin }
}

fn write(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).expect("written");
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("its mode set");
}

fn refused(launch: &Launch) -> (String, bool) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let _inside = runtime.enter();
    let error = spawn(launch).expect_err("cannot be started");
    (error.reason, error.is_final)
}

#[test]
fn what_keeps_a_program_from_starting_is_said_in_words_and_is_final() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| folder.path().join(name);
    write(&at("plain"), "text", 0o644);
    write(&at("orphan"), "#!/no/such/interpreter\n", 0o755);
    write(&at("garbage"), "\0\0\0\0", 0o755);
    let cases = BTreeMap::from([
        ("missing", "no such file"),
        ("plain", "it is not executable"),
        ("orphan", "its interpreter is missing (see its first line)"),
        ("garbage", "it is no program this system can run"),
    ]);

    for (name, why) in cases {
        let expected = (format!("{}: {why}", at(name).display()), true);
        assert_eq!(refused(&launch(&at(name), folder.path())), expected);
    }
    let nowhere = at("nowhere");
    let expected = (format!("no such folder: {}", nowhere.display()), true);
    assert_eq!(refused(&launch(Path::new("/bin/sh"), &nowhere)), expected);
    let mut scripted = launch(Path::new("/bin/sh"), folder.path());
    scripted.script = Some(at("gone.sh"));
    assert_eq!(refused(&scripted), (format!("{}: no such file", at("gone.sh").display()), true));
}

#[test]
fn a_bare_name_is_found_on_the_path_of_the_child() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::create_dir(folder.path().join("bin")).expect("made");
    let program = folder.path().join("bin/sh");
    write(&program, "not even read", 0o644);

    // Not executable: the next one on PATH is it.
    assert_eq!(find(&launch(Path::new("sh"), folder.path())), Ok("/bin/sh".into()));
    write(&program, "not even read", 0o755);
    assert_eq!(find(&launch(Path::new("sh"), folder.path())), Ok(program));
    let missing = find(&launch(Path::new("no-such-program"), folder.path()));
    assert_eq!(missing, Err(SpawnError::lasting("no-such-program: no such program on PATH".into())));
}
