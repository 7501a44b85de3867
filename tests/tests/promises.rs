//! Promises of the contracts that no other story holds: who may do what, what is found first, what never repeats.
#![cfg(unix)]

use std::collections::BTreeSet;

use copo_tests::{App, eventually};

#[test]
fn inside_a_run_the_run_is_meant_unless_a_name_or_a_file_says_otherwise() {
    let script = "copo ps --json; echo; copo -a nobody ps; echo $?; copo -f other.toml ps; echo $?; sleep 600";
    let app = App::new(&format!("[process.a]\nexecutable_path = \"sh\"\nargs = [\"-c\", {script:?}]\n"));
    app.write("other.toml", "application = \"other\"\n");
    app.up();
    eventually("all three were asked", || app.log("a-1").iter().filter(|line| *line == "5").count() == 2);
    assert!(app.log("a-1").iter().any(|line| line.contains("a-1")), "{:?}", app.log("a-1"));
}

#[test]
fn a_run_with_control_commands_the_others() {
    let script = "copo stop other && copo start other && copo restart other && copo kill -s CONT other && \
                  copo trigger job --wait && echo all; sleep 600";
    let app = App::new(&format!(
        r#"
[process.master]
executable_path = "sh"
args = ["-c", {script:?}]
control = true
depends_on = ["other"]
[process.other]
executable_path = "{{puppet}}"
args = ["sleep"]
[process.job]
executable_path = "true"
trigger_type = "manual"
"#
    ));
    app.up();
    eventually("every command was allowed", || app.log("master-1").contains(&"all".to_owned()));
    assert_eq!(app.state_of("other-1"), "running");
}

#[test]
fn a_run_id_never_repeats() {
    let app = App::new(
        r#"
[process.a]
executable_path = "true"
restart = "always"
backoff = { initial = "1ms", max = "1ms" }
"#,
    );
    let started = |app: &App| -> Vec<String> {
        let runs = app.reports().into_iter().filter(|report| report["facts"]["event"] == "started");
        runs.map(|report| report["facts"]["run"].as_str().expect("a run").to_owned()).collect()
    };
    app.up();
    eventually("ten runs", || started(&app).len() >= 10);
    app.down();
    app.up();
    eventually("ten more", || started(&app).len() >= 20);
    let all = started(&app);
    let different: BTreeSet<&String> = all.iter().collect();
    assert_eq!(different.len(), all.len());
    assert!(all.iter().all(|run| run.len() == 36 && run.as_bytes()[14] == b'7'), "UUIDv7: {all:?}");
}

#[test]
fn of_replicas_all_must_hold() {
    let app = App::new(
        r#"
[process.w]
executable_path = "sh"
args = ["-c", "while [ ! -e $COPO_PROCESS ]; do sleep 0.01; done; exit 3"]
replicas = 2
restart = "no"
[process.after]
executable_path = "true"
depends_on = [{ process = "w", condition = "failed" }]
[process.beside]
executable_path = "true"
depends_on = [{ process = "w", condition = "started" }]
"#,
    );
    app.up();
    app.wait_state("beside-1", "finished");
    app.write("w-1", "");
    app.wait_state("w-1", "failed");
    app.wait_state("after-1", "waiting");
    app.write("w-2", "");
    app.wait_state("after-1", "finished");
}

#[test]
fn only_so_many_keys_keep_their_newest_beyond_retention() {
    let app = App::new("[context]\nretain = { records = 1, keys = 2 }\n");
    app.up();
    for key in ["a", "b", "c", "d"] {
        app.copo(&["udd", "send", "--key", key, key]).ok();
    }
    let get = |key: &str| app.copo(&["udd", "get", "--key", key]);
    assert_eq!(get("d").ok().stdout, "d\n");
    assert_eq!(get("c").ok().stdout, "c\n");
    get("a").fails_with(4);
}
