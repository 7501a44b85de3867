//! What a child finds: its environment, its program, its arguments, its folder; and the files beside it.
#![cfg(unix)]

use std::collections::BTreeSet;

use copo_tests::{App, build, eventually, eventually_some};

fn copo_variables(log: &[String]) -> BTreeSet<String> {
    let names = log.iter().filter_map(|line| line.split_once('=')).map(|(name, _)| name.to_owned());
    names.filter(|name| name.starts_with("COPO_")).collect()
}

#[test]
fn a_child_has_the_copo_variables_it_was_promised_and_no_others() {
    let app = App::new(
        r#"
[process.a]
executable_path = "env"
[process.tick]
executable_path = "sh"
args = ["-c", "env; sleep 600"]
trigger_type = "cron"
trigger_definition = "* * * * * *"
"#,
    );
    let mut up = app.command(&["up", "-d"]);
    for name in ["COPO_SOCKET", "COPO_TOKEN", "COPO_RUN", "COPO_PROCESS", "COPO_SCHEDULED_TIME", "COPO_OF_A_PERSON"] {
        up.env(name, "inherited");
    }
    // `up` ignores them all: were COPO_SOCKET heeded, there would be nobody to talk to.
    assert!(up.status().expect("copo runs").success());
    app.wait_state("a-1", "finished");
    eventually("the schedule has come", || app.log("tick-1").len() > 5);
    let promised = ["COPO_APPLICATION", "COPO_HOME", "COPO_PROCESS", "COPO_RUN", "COPO_SOCKET", "COPO_TOKEN"];
    let mut promised: BTreeSet<String> = promised.map(str::to_owned).into();
    assert_eq!(copo_variables(&app.log("a-1")), promised);
    promised.insert("COPO_SCHEDULED_TIME".to_owned());
    assert_eq!(copo_variables(&app.log("tick-1")), promised);
    let of_a = app.log("a-1");
    let value = |name: &str| of_a.iter().find_map(|line| line.strip_prefix(&format!("{name}="))).expect("it is set");
    assert_eq!(value("COPO_HOME"), app.home().display().to_string());
    assert_eq!(value("COPO_SOCKET"), app.socket().display().to_string());
    assert!(!of_a.iter().any(|line| line.contains("inherited")), "{of_a:?}");
}

#[test]
fn paths_are_relative_to_copo_toml_and_arguments_are_left_as_they_are() {
    let app = App::new("");
    // A bare name is looked for on the PATH, one with a slash beside copo.toml, wherever `up` is called.
    app.write("project/own.sh", "#!/bin/sh\necho \"own $1\"\npwd\n");
    app.write("project/script.sh", "echo \"script $0 $1\"\n");
    let toml = r#"
application = "t"
[process.own]
executable_path = "./own.sh"
args = ["$HOME ${HOME} `id`"]
[process.script]
executable_path = "sh"
file_path = "script.sh"
args = ["one"]
[process.elsewhere]
executable_path = "pwd"
cwd = "sub"
"#;
    app.write("project/copo.toml", toml);
    app.write("project/sub/x", "");
    let own = app.path("project/own.sh");
    std::fs::set_permissions(own, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("it is ours");
    app.copo(&["up", "-d", "-f", "project/copo.toml"]).ok();
    for name in ["own-1", "script-1", "elsewhere-1"] {
        app.wait_state(name, "finished");
    }
    let project = app.path("project").canonicalize().expect("it is there");
    assert_eq!(app.log("own-1"), ["own $HOME ${HOME} `id`".to_owned(), project.display().to_string()]);
    let script = app.log("script-1");
    assert!(script[0].starts_with("script /") && script[0].ends_with("project/script.sh one"), "{script:?}");
    assert_eq!(app.log("elsewhere-1"), [project.join("sub").display().to_string()]);
}

#[test]
fn the_tree_holds_what_it_should_while_up_and_afterwards() {
    let app = App::new(
        r#"
[process.a]
executable_path = "{puppet}"
args = ["print", "x", "sleep"]
replicas = 2
"#,
    );
    app.copo(&["up", "-d", "--wait"]).ok();
    let listed = |folder: &str| {
        let entries = std::fs::read_dir(app.state(folder)).expect("it is there");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8")).collect();
        names.sort();
        names
    };
    eventually("reports.json is written", || app.state("reports.json").exists());
    let top: Vec<String> = listed("").into_iter().filter(|name| name != "reports.json.new").collect();
    assert_eq!(top, ["a-1", "a-2", "logs", "orchestrator", "pids", "reports.json"]);
    assert_eq!(listed("pids"), ["a-1.pid", "a-2.pid"]);
    for log in ["a-1.log", "a-2.log"] {
        assert!(listed("logs").contains(&log.to_owned()), "{:?}", listed("logs"));
    }
    for file in ["sock", "log"] {
        assert!(listed("orchestrator").contains(&file.to_owned()), "{:?}", listed("orchestrator"));
    }
    assert!(app.state("a-1/stdio").exists());
    app.down();
    assert_eq!(listed(""), ["logs", "orchestrator", "pids", "reports.json"]);
    assert_eq!(listed("pids"), Vec::<String>::new());
    assert!(!listed("orchestrator").contains(&"sock".to_owned()));
    assert!(listed("logs").contains(&"a-1.log".to_owned()));
}

#[test]
fn without_copo_home_it_is_dot_copo_in_the_home_folder() {
    let app = App::new("");
    let copo = |args: &[&str]| {
        let mut command = app.command(args);
        command.env_remove("COPO_HOME").env("HOME", app.folder()).output().expect("copo runs")
    };
    assert!(copo(&["up", "-d"]).status.success());
    let home = std::fs::metadata(app.path(".copo")).expect("it is there");
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&home.permissions()) & 0o7777, 0o700);
    assert!(app.path(".copo/t/orchestrator/sock").exists());
    assert!(copo(&["down"]).status.success());
}

/// The reports.json in which a report of this text stands: the report's time and the file's own, in microseconds.
fn in_the_file(app: &App, text: &str) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    eventually_some("the report is in the file", || {
        let mut file = std::fs::File::open(app.state("reports.json")).ok()?;
        let written = file.metadata().ok()?;
        let mut whole = String::new();
        std::io::Read::read_to_string(&mut file, &mut whole).ok()?;
        let whole: serde_json::Value = serde_json::from_str(&whole).expect("it is always whole");
        let report = whole["reports"].as_array()?.iter().rfind(|report| report["report_buff"] == text)?.clone();
        let nanos = written.mtime() * 1_000_000_000 + written.mtime_nsec();
        Some((report["report_time"].as_u64()?, nanos.cast_unsigned() / 1000))
    })
}

#[test]
fn reports_json_follows_a_report_within_a_tenth_of_a_second_and_is_written_ten_times_a_second_at_most() {
    let app = App::new("");
    app.up();
    let client = app.client("t");
    let report = |text: String| {
        client.meta_report_sync(text.as_bytes()).expect("it is taken");
        in_the_file(&app, &text)
    };
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time").as_micros();
    let (mut alone, mut behind, mut apart) = (Vec::new(), Vec::new(), Vec::new());
    let (_, mut written) = report("the first".to_owned());
    // A busy machine makes some of them late, never all: what counts is the best of many.
    for round in 0_u32.. {
        eventually("the file was not written for a while", || now() > u128::from(written) + 250_000);
        let (reported, first_written) = report(format!("alone {round}"));
        alone.push(first_written.saturating_sub(reported));
        let (reported, second_written) = report(format!("behind {round}"));
        // Only one that is close behind has to wait for all of the tenth of a second.
        if reported < first_written + 20_000 {
            behind.push(second_written.saturating_sub(reported));
            apart.push(second_written - first_written);
        }
        written = second_written;
        if behind.len() == 8 {
            break;
        }
        assert!(round < 200, "the machine is too busy to measure anything: {alone:?} {behind:?}");
    }
    assert!(alone.iter().min() <= Some(&100_000), "alone: {alone:?}");
    // The tenth of a second is over, and the file is written.
    assert!(behind.iter().min() <= Some(&120_000), "behind: {behind:?}");
    // The kernel's time of a file is as fine as its tick.
    assert!(apart.iter().max() >= Some(&90_000), "apart: {apart:?}");
}

#[test]
fn the_first_stop_event_comes_before_the_signal_by_half_the_grace() {
    let app = App::new(
        r#"
[process.a]
executable_path = "{puppet}"
args = ["on-term", "5", "ready", "wait-stop", "print", "asked", "sleep"]
ready = "sdk"
stop_grace = "2s"
[process.b]
executable_path = "{puppet}"
args = ["on-term", "5", "print", "up", "sleep"]
stop_grace = "1h"
"#,
    );
    app.copo(&["up", "-d", "--wait"]).ok();
    eventually("b is up", || app.log("b-1") == ["up"]);
    let start = std::time::Instant::now();
    app.copo(&["stop", "a"]).ok();
    let taken = start.elapsed();
    assert_eq!(
        (app.ps()["a-1"]["exit_code"].clone(), app.log("a-1").last().cloned()),
        (5.into(), Some("asked".into()))
    );
    assert!(taken >= std::time::Duration::from_secs(1), "{taken:?}: the signal came with the event");
    // Who does not watch gets the signal at once, whatever the grace.
    app.copo(&["stop", "b"]).ok();
    assert_eq!(app.ps()["b-1"]["exit_code"], 5);
}

#[test]
fn copo_is_found_by_scripts_without_being_on_the_path() {
    let app = App::new("[process.a]\nexecutable_path = \"sh\"\nargs = [\"-c\", \"command -v copo; exit 0\"]\n");
    let folder = build::copo().parent().expect("a file lies in a folder").to_owned();
    let mut up = app.command(&["up", "-d"]);
    assert!(up.env("PATH", "/usr/bin:/bin").status().expect("copo runs").success());
    app.wait_state("a-1", "finished");
    assert_eq!(app.log("a-1"), [folder.join("copo").display().to_string()]);
}
