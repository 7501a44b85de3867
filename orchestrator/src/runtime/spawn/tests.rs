use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::supervisor::Outcome;

fn launch(program: &Path, cwd: &Path) -> Launch {
    let mut env = Environment::default();
    env.set("PATH", "/nowhere:bin:/bin:/usr/bin");
    let (script, args, stdin) = (None, Vec::new(), Stdin::Null);
    Launch {
        program: program.to_owned(),
        script,
        args,
        cwd: cwd.to_owned(),
        env,
        stdin,
        attributes: Attributes::default(),
        #[cfg(target_os = "linux")]
        cgroup: None,
    }
}

fn write(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).expect("written");
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("its mode set");
}

/// Every way that this system has to start a program.
fn spawners() -> [Spawner; 2] {
    let posix = Spawner { sys: sys::Spawner::without_clone().expect("made") };
    [Spawner::new().expect("made"), posix]
}

fn on_a_runtime<T>(test: impl AsyncFnOnce() -> T) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(test())
}

fn refused(launch: &Launch) -> (String, bool) {
    on_a_runtime(async || {
        let refusals = spawners().map(|spawner| {
            let error = spawner.spawn(launch, &|_, _| {}).expect_err("cannot be started");
            (error.reason, error.is_final)
        });
        assert_eq!(refusals[0], refusals[1]);
        refusals[0].clone()
    })
}

/// What a shell prints, and how it ends, started in each way there is.
fn shell(script: &str) -> [(String, Outcome); 2] {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut asked = launch(Path::new("/bin/sh"), folder.path());
    asked.args = vec!["-c".to_owned(), script.to_owned()];
    on_a_runtime(async || {
        let [first, second] = spawners();
        [run(&first, &asked).await, run(&second, &asked).await]
    })
}

async fn run(spawner: &Spawner, asked: &Launch) -> (String, Outcome) {
    let spawned = spawner.spawn(asked, &|_, _| {}).expect("it starts");
    assert!(spawned.group.signal("SIGCONT").is_ok(), "it leads a group");
    let reader = OutputReader::new(spawned.output).expect("a pipe");
    let outcome = spawned.child.wait().await;
    spawned.group.reap();
    let mut text = Vec::new();
    reader.drain(&mut [0; 4096], |chunk| text.extend_from_slice(chunk)).await;
    (String::from_utf8_lossy(&text).into_owned(), outcome)
}

#[test]
fn a_child_has_its_arguments_folder_and_end_however_it_was_started() {
    for (text, outcome) in shell("echo out; echo err >&2; read line || echo no input; echo $0 $PATH; exit 7") {
        assert_eq!(text, "out\nerr\nno input\n/bin/sh /nowhere:bin:/bin:/usr/bin\n");
        assert_eq!(outcome, Outcome::Code(7));
    }
}

#[test]
fn a_child_leads_the_session_of_its_terminal_however_it_was_started() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut asked = launch(Path::new("/bin/sh"), folder.path());
    let script = "test -t 0 && test -t 1 && test -t 2 && stty size && echo mine >/dev/tty; exit 7";
    (asked.stdin, asked.args) = (Stdin::Terminal, vec!["-c".to_owned(), script.to_owned()]);
    on_a_runtime(async || {
        for spawner in spawners() {
            let (text, outcome) = run(&spawner, &asked).await;
            assert_eq!((text.as_str(), outcome), ("24 80\r\nmine\r\n", Outcome::Code(7)));
        }
    });
}

#[test]
#[cfg(target_os = "linux")]
fn a_child_starts_with_a_clean_slate() {
    let plain = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    // Not closed at exec, as whoever started the orchestrator may have left it.
    let left = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 200).expect("a descriptor");
    rustix::io::fcntl_setfd(&left, rustix::io::FdFlags::empty()).expect("it stays open at exec");
    let asked = "ulimit -Sn; ulimit -Hn; grep -E '^Sig(Blk|Ign)' /proc/self/status; ls /proc/self/fd | tr '\\n' ' '";

    let [(text, outcome), _] = shell(asked);

    assert_eq!(outcome, Outcome::Code(0), "{text}");
    let lines: Vec<&str> = text.lines().collect();
    let limit = |limit: Option<u64>| limit.map_or("unlimited".to_owned(), |limit| limit.to_string());
    assert_eq!(lines[..2], [limit(plain.current), limit(plain.maximum)]);
    let set = |line: &str| u64::from_str_radix(line.rsplit('\t').next().unwrap_or_default(), 16).expect("a set");
    assert_eq!((set(lines[2]), set(lines[3]) & (1 << (libc::SIGPIPE - 1))), (0, 0), "{text}");
    assert_eq!(lines[4].trim(), "0 1 2 3", "3 is the folder that ls reads");
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
