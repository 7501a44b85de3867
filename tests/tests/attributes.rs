//! As whom a process runs, and how much of the machine it may have.
#![cfg(unix)]

use copo_tests::{App, eventually};

/// The unprivileged user that every Unix knows.
const NOBODY: &str = "nobody";

fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        eprintln!("skipped: only root can start a process as another user");
    }
    is_root
}

#[test]
fn limits_niceness_and_umask_are_set_before_the_program_runs() {
    let app = App::new(
        r#"
[process.a]
executable_path = "{puppet}"
args = ["ids", "sleep"]
umask = "027"
nice = 7
limits = { nofile = 300, core = 0 }
"#,
    );
    app.up();
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    eventually("it has said so", || app.log("a-1") == [format!("{uid} {gid} 7 27 300 0")]);
}

#[test]
fn a_process_of_another_user_runs_as_that_user_and_speaks_to_the_orchestrator() {
    if !is_root() {
        return;
    }
    let app = App::new(
        r#"
[process.a]
executable_path = "/bin/sh"
args = ["-c", "id -un; echo $HOME $USER; exec ./puppet send k hello report done sleep"]
user = "nobody"
cwd = "open"
"#,
    );
    // What lies in root's own folders is closed to it.
    app.write("open/.keep", "");
    std::fs::copy(copo_tests::build::puppet(), app.path("open/puppet")).expect("copied");
    open_to_all(&app);

    app.up();

    eventually("its record is there", || app.copo(&["udd", "get", "--key", "k"]).stdout.trim() == "hello");
    let log = app.log("a-1");
    assert_eq!(log[0], NOBODY, "{log:?}");
    assert!(log[1].ends_with(" nobody"), "{log:?}");
    let record = app.records().remove(0);
    assert_eq!(record["sent_by"], "a-1");
    app.down();
    let mode = |name: &str| std::fs::metadata(app.state(name)).map(|found| mode_of(&found) & 0o777);
    assert_eq!(mode("").ok(), Some(0o700), "nobody is left to go there");
}

#[test]
fn another_user_without_a_token_of_its_own_is_refused() {
    if !is_root() {
        return;
    }
    let app = App::new(
        r#"
[process.a]
executable_path = "/bin/sleep"
args = ["600"]
user = "nobody"
cwd = "/"
[process.root]
executable_path = "{puppet}"
args = ["env", "COPO_TOKEN", "sleep"]
"#,
    );
    app.write("open/.keep", "");
    std::fs::copy(copo_tests::build::puppet(), app.path("open/puppet")).expect("copied");
    open_to_all(&app);
    app.up();
    app.wait_state("a-1", "running");
    eventually("the token is printed", || app.log("root-1").len() == 1);
    let root_token = app.log("root-1").remove(0);

    for token in ["", "wrong", &root_token] {
        let socket = app.socket();
        let mut stranger = std::process::Command::new(app.path("open/puppet"));
        stranger
            .args(["report", "x"])
            .env("COPO_SOCKET", &socket)
            .env("COPO_TOKEN", token)
            .env("COPO_APPLICATION", "t");
        std::os::unix::process::CommandExt::uid(&mut stranger, uid_of_nobody());
        let output = stranger.output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains("Unauthorized"), "{token:?}: {said}");
    }
    assert!(app.reports().iter().all(|report| report["report_buff"] != "x"));
}

#[test]
fn a_user_that_is_not_there_is_told() {
    let app = App::new(
        r#"
[process.a]
executable_path = "{puppet}"
user = "no-such-user"
"#,
    );
    app.up();
    app.wait_state("a-1", "failed");
    let reports = app.reports();
    let failed = reports.iter().find(|report| report["facts"]["event"] == "spawn_failed").expect("it is reported");
    let said = failed["report_buff"].as_str().unwrap_or_default();
    assert!(said.ends_with("cannot start a-1: no user is named no-such-user"), "{said}");
}

/// Where they cannot be kept, it is said; nothing is passed over in silence.
#[test]
fn memory_and_cpu_are_limited_or_it_is_said_that_they_are_not() {
    let app = App::new(
        r#"
[process.a]
executable_path = "{puppet}"
args = ["sleep"]
memory = "512MiB"
cpu = 0.5
"#,
    );
    let check = app.copo(&["check"]).ok();
    app.up();
    app.wait_state("a-1", "running");
    let reports = app.reports();
    let note =
        reports.iter().find(|report| report["facts"]["reason"].as_str().is_some_and(|why| why.contains("limit")));
    match note {
        Some(note) => {
            let why = note["report_buff"].as_str().unwrap_or_default();
            assert!(why.contains("cannot limit memory and cpu of a: "), "{why}");
            assert!(check.stderr.contains("cannot limit memory and cpu of a here: "), "{}", check.stderr);
        }
        None => {
            assert_eq!(check.stderr, "");
            let cgroup = std::fs::read_to_string(format!("/proc/{}/cgroup", app.pid("a-1"))).expect("read");
            let path = cgroup.lines().find_map(|line| line.strip_prefix("0::")).expect("a cgroup").to_owned();
            let read = |file| std::fs::read_to_string(format!("/sys/fs/cgroup{path}/{file}")).expect("read");
            assert_eq!((read("memory.max").trim(), read("cpu.max").trim()), ("536870912", "50000 100000"));
        }
    }
}

fn open_to_all(app: &App) {
    use std::os::unix::fs::PermissionsExt;
    for folder in ["", "open"] {
        std::fs::set_permissions(app.path(folder), std::fs::Permissions::from_mode(0o755)).expect("ours");
    }
}

fn mode_of(found: &std::fs::Metadata) -> u32 {
    std::os::unix::fs::MetadataExt::mode(found)
}

fn uid_of_nobody() -> u32 {
    let output = std::process::Command::new("id").args(["-u", NOBODY]).output().expect("id runs");
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("a uid")
}
