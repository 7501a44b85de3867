//! What the command line prints, apart from the applications it runs.
#![cfg(unix)]

use copo_tests::App;

#[test]
fn init_writes_a_configuration_that_check_accepts_and_never_overwrites() {
    let app = App::new("");
    std::fs::remove_file(app.path("copo.toml")).expect("it was written");
    app.copo(&["init"]).ok();
    app.copo(&["check"]).ok();
    let written = app.read("copo.toml");
    app.copo(&["init"]).fails_with(1);
    assert_eq!(app.read("copo.toml"), written);
}

#[test]
fn schema_is_json_and_names_the_keys() {
    let schema = App::new("").copo(&["schema"]).ok();
    assert!(schema.json().is_object());
    for key in ["executable_path", "depends_on", "trigger_definition", "durability"] {
        assert!(schema.stdout.contains(key), "{key}");
    }
}

#[test]
fn completions_exist_for_the_usual_shells() {
    let app = App::new("");
    for shell in ["bash", "zsh", "fish"] {
        assert!(app.copo(&["completions", shell]).ok().stdout.contains("copo"));
    }
}

#[test]
fn version_names_the_binary_and_the_running_orchestrator() {
    let app = App::new("");
    let version = app.copo(&["version", "--json"]).ok().json();
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    assert!(version["orchestrator"].is_null());
    app.up();
    let version = app.copo(&["version", "--json"]).ok().json();
    assert_eq!(version["orchestrator"]["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn help_names_what_there_is_and_nothing_else() {
    let help = App::new("").copo(&["--help"]).ok().stdout;
    for command in [
        "up",
        "diff",
        "down",
        "wait",
        "ps",
        "start",
        "stop",
        "restart",
        "trigger",
        "kill",
        "scale",
        "logs",
        "attach",
        "udd",
        "report",
        "reports",
        "check",
        "init",
        "schema",
        "completions",
        "diff",
        "upgrade",
        "runs",
        "timers",
        "bench",
        "version",
    ] {
        assert!(help.lines().any(|line| line.trim_start().starts_with(command)), "{command} is missing in {help}");
    }
    let hidden = "orchestrate";
    assert!(!help.lines().any(|line| line.trim_start().starts_with(hidden)), "{hidden} is no person's command");
}

#[test]
fn the_application_is_found_as_promised() {
    let app = App::new("[process.a]\nexecutable_path = \"{puppet}\"\nargs = [\"sleep\"]\n");
    app.up();
    app.write("deep/er/x", "");
    let from = |folder: &str, args: &[&str]| {
        let mut command = app.command(args);
        command.current_dir(app.path(folder)).output().expect("copo runs").status.code()
    };
    assert_eq!(from("deep/er", &["ps"]), Some(0), "copo.toml is looked for upwards");
    assert_eq!(from("h", &["-a", "t", "ps"]), Some(0));
    assert_eq!(from("h", &["-f", "../copo.toml", "ps"]), Some(0));
    assert_eq!(from("h", &["-a", "other", "-f", "../copo.toml", "ps"]), Some(5), "-a goes before -f");
}

#[test]
fn output_is_plain_when_it_is_no_terminal() {
    let app = App::new("[process.a]\nexecutable_path = \"{puppet}\"\nargs = [\"print\", \"x\", \"sleep\"]\n");
    app.copo(&["up", "-d", "--wait"]).ok();
    for args in [&["ps"][..], &["logs"], &["reports"], &["version"]] {
        assert!(!app.copo(args).ok().stdout.contains('\u{1b}'), "{args:?}");
    }
    let ps = app.copo(&["ps"]).ok().stdout;
    assert!(ps.contains("a-1") && ps.contains("running"), "{ps}");
}

#[test]
fn bench_measures_and_finds_every_record_once_in_order() {
    let app = App::new("");
    let shapes: [&[&str]; 3] = [
        &["--size", "128"],
        &["--size", "4096", "--subscribers", "2", "--publishers", "2", "--key-patterns"],
        &["--size", "1048576", "--durability", "memory"],
    ];
    for shape in shapes {
        let few = ["bench", "udd", "--seconds", "1", "--rounds", "1", "--json"];
        let report = app.copo(&[&few[..], shape].concat()).ok().json();
        for name in ["records_per_s", "mb_per_s", "p50_us", "p99_us", "p999_us", "limit_records_per_s", "limit_p50_us"]
        {
            assert!(report[name].as_f64().is_some_and(|figure| figure > 0.0), "{name}: {report}");
        }
        for name in [
            "size",
            "publishers",
            "subscribers",
            "durability",
            "throughput_ratio",
            "latency_ratio",
            "cpu_s_per_million",
        ] {
            assert!(!report[name].is_null(), "{name}: {report}");
        }
        assert_eq!([&report["lost"], &report["duplicated"], &report["reordered"]], [0, 0, 0], "{report}");
    }
    app.copo(&["bench", "udd", "--size", "3"]).fails_with(2);
}

#[test]
fn bench_says_which_peer_it_cannot_start() {
    let app = App::new("");
    let nowhere = app.folder().to_owned();
    let output = app.command(&["bench", "udd", "--beside", "redis"]).env("PATH", nowhere).output().expect("copo runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("cannot start the server of redis"), "{said}");
}

#[test]
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
fn bench_supervise_measures_every_figure_and_loses_no_line() {
    let app = App::new("");
    let few =
        ["bench", "supervise", "--processes", "3", "--rounds", "1", "--idle", "1", "--log-bytes", "1000000", "--json"];
    let report = app.copo(&few).ok().json();
    for figure in [
        "start_ms",
        "limit_start_ms",
        "start_ratio",
        "stop_ms",
        "limit_stop_ms",
        "stop_ratio",
        "restart_ms",
        "limit_restart_ms",
        "restart_ratio",
        "pss_kb",
        "log_mb_per_s",
        "limit_log_mb_per_s",
        "log_ratio",
        "adopt_ms",
    ] {
        assert!(report[figure].as_f64().is_some_and(|figure| figure > 0.0), "{figure}: {report}");
    }
    assert_eq!((&report["processes"], &report["log_lines_lost"]), (&3.into(), &0.into()));
    assert_eq!(report["idle_wakeups_per_s"], 0.0);
    app.copo(&["bench", "supervise", "--processes", "0"]).fails_with(2);
}
