//! Schedules with real processes: overlap, missed times, jitter, runs that last too long, and what is told of it all.
#![cfg(unix)]

use copo_tests::{App, eventually, eventually_some};
use serde_json::Value;

/// Scheduled times of the runs of a process that have started, oldest first.
fn scheduled(app: &App, process: &str) -> Vec<u64> {
    let is_start = |facts: &Value| facts["event"] == "starting" && facts["process"] == process;
    let reports = app.reports().into_iter().map(|report| report["facts"].clone()).filter(is_start);
    reports.filter_map(|facts| facts["scheduled_time"].as_u64()).collect()
}

fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    u64::try_from(since.as_micros()).expect("a time")
}

fn runs(app: &App, args: &[&str]) -> Vec<Value> {
    let args: Vec<&str> = ["runs", "--json"].iter().chain(args).copied().collect();
    app.copy_of_array(&args)
}

trait CopyOfArray {
    fn copy_of_array(&self, args: &[&str]) -> Vec<Value>;
}

impl CopyOfArray for App {
    fn copy_of_array(&self, args: &[&str]) -> Vec<Value> {
        self.copo(args).ok().json().as_array().expect("an array").clone()
    }
}

#[test]
fn what_was_missed_while_the_orchestrator_was_down_runs_once_it_is_back() {
    let app = App::new(
        r#"
[process.last]
executable_path = "{puppet}"
args = ["env", "COPO_SCHEDULED_TIME"]
trigger_type = "cron"
trigger_definition = "* * * * * *"
catch_up = "1h"
[process.all]
executable_path = "{puppet}"
args = ["env", "COPO_SCHEDULED_TIME"]
trigger_type = "cron"
trigger_definition = "*/2 * * * * *"
catch_up = { window = "1h", runs = "all" }
[process.none]
executable_path = "{puppet}"
args = ["env", "COPO_SCHEDULED_TIME"]
trigger_type = "cron"
trigger_definition = "* * * * * *"
"#,
    );
    app.up();
    eventually("each has run", || ["last", "all", "none"].iter().all(|name| !scheduled(&app, name).is_empty()));
    app.down();
    let file = std::fs::metadata(app.state("orchestrator/schedules")).expect("it is kept");
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&file.permissions()) & 0o777, 0o600);
    let (down, before) = (now(), ["last", "all", "none"].map(|name| scheduled_file(&app, name)));
    eventually("five seconds are missed", || now() > down + 5_000_000);

    app.up();
    let up = now();
    let new = |name: &str, index: usize| -> Vec<u64> {
        scheduled(&app, name).into_iter().skip(before[index].len()).collect()
    };
    eventually("all have caught up", || new("all", 1).last().is_some_and(|time| *time > up));
    eventually("the others run, too", || !new("last", 0).is_empty() && !new("none", 2).is_empty());

    let missed = |times: Vec<u64>| times.into_iter().filter(|time| *time < up - 1_000_000).count();
    assert!(missed(new("last", 0)) <= 1, "{:?}", new("last", 0));
    assert!(new("last", 0)[0] <= up, "the newest missed one runs first: {:?}", new("last", 0));
    assert_eq!(missed(new("none", 2)), 0);
    // Each of them, in order, none twice: two seconds apart across the time without an orchestrator.
    let times: Vec<u64> = before[1].iter().copied().chain(new("all", 1)).collect();
    assert!(times.windows(2).all(|pair| pair[1] == pair[0] + 2_000_000), "{times:?}");
    app.down();
}

/// As `scheduled`, without an orchestrator.
fn scheduled_file(app: &App, process: &str) -> Vec<u64> {
    runs(app, &[process])
        .iter()
        .filter(|run| !run["run"].is_null())
        .filter_map(|run| run["scheduled_time"].as_u64())
        .collect()
}

#[test]
fn overlap_holds_for_every_trigger() {
    let app = App::new(
        r#"
[process.source]
executable_path = "{puppet}"
args = ["exit", "0"]
trigger_type = "manual"
[process.follow]
executable_path = "{puppet}"
args = ["append", "follow", "x", "wait-file", "go"]
trigger_type = "dependence_finish"
depends_on = ["source"]
overlap = "allow"
max_instances = 2
[process.tick]
executable_path = "{puppet}"
args = ["append", "tick", "x", "wait-file", "go"]
trigger_type = "cron"
trigger_definition = "* * * * * *"
overlap = "allow"
max_instances = 3
"#,
    );
    app.up();
    for _ in 0..3 {
        app.copo(&["trigger", "source", "--wait"]).ok();
    }
    let skipped = |process: &str| {
        let of_it = |run: &Value| run["outcome"] == "skipped" && run["process"] == process;
        runs(&app, &[]).into_iter().find(of_it)
    };
    let of_follow = eventually_some("the third is one too many", || skipped("follow"));
    assert_eq!(of_follow["trigger"], "dependence_finish");
    let of_tick = eventually_some("the fourth is one too many", || skipped("tick"));
    assert!(of_tick["scheduled_time"].as_u64().is_some() && of_tick["reason"].as_str().is_some(), "{of_tick}");
    assert_eq!(app.read("follow").lines().count(), 2);
    assert_eq!(app.read("tick").lines().count(), 3);
    app.write("go", "");
}

#[test]
fn a_run_that_lasts_too_long_is_stopped_and_told_as_failed() {
    let app = App::new(
        r#"
[process.slow]
executable_path = "{puppet}"
args = ["sleep"]
trigger_type = "manual"
run_timeout = "300ms"
[process.quick]
executable_path = "{puppet}"
args = ["exit", "0"]
trigger_type = "manual"
run_timeout = "1h"
"#,
    );
    app.up();
    app.copo(&["trigger", "quick", "--wait"]).ok();
    assert!(app.copo(&["trigger", "slow", "--wait"]).code != 0);
    let slow = &runs(&app, &["slow"])[0];
    assert_eq!((slow["outcome"].as_str(), slow["trigger"].as_str()), (Some("failed"), Some("manual")), "{slow}");
    assert!(slow["reason"].as_str().is_some_and(|why| why.contains("300ms")), "{slow}");
    assert!(slow["duration_ms"].as_f64().is_some_and(|millis| millis >= 300.0), "{slow}");
    assert_eq!(runs(&app, &["quick"])[0]["outcome"], "succeeded");

    let table = app.copo(&["runs", "-n", "1"]).ok().stdout;
    assert!(table.contains("slow-1") && !table.contains("quick-1"), "{table}");
    app.copo(&["runs", "nobody"]).fails_with(4);
    app.down();
    assert_eq!(runs(&app, &["slow"]).len(), 1, "the history is read without an orchestrator, too");
}

#[test]
fn timers_tell_the_zone_the_last_time_and_the_next_with_its_jitter() {
    let app = App::new(
        r#"
[process.tick]
executable_path = "{puppet}"
args = ["env", "COPO_SCHEDULED_TIME"]
trigger_type = "cron"
trigger_definition = "* * * * * *"
replicas = 2
[process.night]
executable_path = "{puppet}"
trigger_type = "cron"
trigger_definition = "30 2 * * *"
timezone = "Europe/Vienna"
jitter = "10m"
[process.plain]
executable_path = "{puppet}"
trigger_type = "manual"
"#,
    );
    app.up();
    let timer = |name: &str| {
        let all = app.copy_of_array(&["timers", "--json"]);
        all.into_iter().find(|timer| timer["process"] == name)
    };
    let tick = eventually_some("a tick", || timer("tick").filter(|timer| timer["last"].as_u64().is_some()));
    assert!(tick["next"].as_u64() > tick["last"].as_u64(), "{tick}");
    assert_eq!(tick["next"], tick["next_start"]);
    let night = timer("night").expect("it is a timer");
    assert_eq!((night["schedule"].as_str(), night["timezone"].as_str()), (Some("30 2 * * *"), Some("Europe/Vienna")));
    let (next, start) = (night["next"].as_u64().expect("a time"), night["next_start"].as_u64().expect("a time"));
    assert!((next..next + 600_000_000).contains(&start), "{night}");
    assert_eq!(timer("night"), Some(night), "its jitter is the same whenever it is asked");
    assert_eq!(timer("plain"), None);
    let table = app.copo(&["timers"]).ok().stdout;
    assert_eq!(table.lines().count(), 3, "{table}");
    app.down();
    app.copo(&["timers"]).fails_with(5);
}

#[test]
fn a_jittered_run_is_late_and_knows_its_scheduled_time() {
    let app = App::new(
        r#"
[process.tick]
executable_path = "{puppet}"
args = ["env", "COPO_SCHEDULED_TIME"]
trigger_type = "cron"
trigger_definition = "* * * * * *"
jitter = "900ms"
"#,
    );
    app.up();
    let told = || runs(&app, &["tick"]);
    eventually("some runs", || told().len() >= 3);
    for run in told() {
        let (at, started) =
            (run["scheduled_time"].as_u64().expect("a time"), run["started_at"].as_u64().expect("a time"));
        assert!(at % 1_000_000 == 0 && started >= at, "{run}");
    }
}

#[test]
fn wrong_keys_of_schedules_are_refused_where_they_stand() {
    let app = App::new("[process.a]\nexecutable_path = 'a'\njitter = '5s'\ncatch_up = '1 hour'\n");
    let said = app.copo(&["check"]).fails_with(2).stderr;
    assert!(said.contains("copo.toml:5:12") && said.contains("\"1 hour\" is no duration"), "{said}");
    app.configure("[process.a]\nexecutable_path = 'a'\njitter = '5s'\ncatch_up = '1h'\nrun_timeout = '0s'\n");
    let said = app.copo(&["check"]).fails_with(2).stderr;
    assert!(said.contains("process.a.jitter: only a cron trigger has one"), "{said}");
    assert!(said.contains("process.a.catch_up: only a cron trigger has one"), "{said}");
    assert!(said.contains("process.a.run_timeout: no run is over at once"), "{said}");
    app.configure(
        "[process.a]\nexecutable_path = 'a'\ntrigger_type = 'cron'\ntrigger_definition = '@daily'\ncatch_up = { runs = 'all' }\n",
    );
    let said = app.copo(&["check"]).fails_with(2).stderr;
    assert!(said.contains("copo.toml:6:12") && said.contains("window is missing"), "{said}");
}
