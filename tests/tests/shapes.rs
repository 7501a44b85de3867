//! What scripts read: the JSON of every command, to the last name.
#![cfg(unix)]

use copo_tests::{App, eventually_some};
use serde_json::Value;

fn names(object: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = object.as_object().expect("an object").keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

#[test]
fn ps_says_of_each_instance_what_it_is_and_does() {
    let app = App::new(
        r#"
[process.a]
executable_path = "{puppet}"
args = ["sleep"]
[process.b]
executable_path = "{puppet}"
args = ["exit", "3"]
restart = "no"
depends_on = ["a"]
[process.c]
executable_path = "true"
depends_on = [{ process = "b", condition = "succeeded" }]
[process.d]
executable_path = "true"
trigger_type = "cron"
trigger_definition = "@yearly"
"#,
    );
    app.up();
    app.wait_state("b-1", "failed");
    let ps = app.copo(&["ps", "--json"]).ok().json();
    let all = ps.as_array().expect("one document, an array");
    assert_eq!(all.len(), 4);
    for process in all {
        for name in [
            "name",
            "internal_name",
            "state",
            "ready",
            "pid",
            "started_at",
            "restarts",
            "exit_code",
            "next_run",
            "waiting_for",
        ] {
            assert!(process.get(name).is_some(), "{name} is missing in {process}");
        }
        assert!(process["ready"].is_boolean() && process["restarts"].is_u64(), "{process}");
    }
    let of = |name: &str| all.iter().find(|process| process["internal_name"] == name).expect("it is there");
    assert_eq!((&of("a-1")["name"], &of("a-1")["ready"]), (&"a".into(), &true.into()));
    assert!(of("a-1")["pid"].is_u64() && of("a-1")["exit_code"].is_null() && of("a-1")["next_run"].is_null());
    assert!(of("a-1")["started_at"].as_u64().is_some_and(|time| time > 1_600_000_000_000_000), "microseconds");
    assert_eq!((&of("b-1")["exit_code"], &of("b-1")["pid"]), (&3.into(), &Value::Null));
    assert!(of("c-1")["waiting_for"].as_str().is_some_and(|why| why.contains('b')), "{}", of("c-1"));
    assert_eq!((&of("d-1")["state"], &of("d-1")["waiting_for"]), (&"idle".into(), &Value::Null));
    assert!(of("d-1")["next_run"].as_u64() > of("a-1")["started_at"].as_u64());
}

#[test]
fn records_are_one_object_a_line_and_bytes_that_are_no_text_are_base64() {
    let app = App::new("");
    app.up();
    app.copo(&["udd", "send", "--key", "k/1", "grüße"]).ok();
    app.copo_with_input(&["udd", "send", "-"], b"\xff\x00").ok();
    let records = app.records();
    assert_eq!(names(&records[0]), ["key", "sent_by", "sent_time", "seq", "udd_buff"]);
    assert_eq!(names(&records[1]), ["key", "sent_by", "sent_time", "seq", "udd_buff_base64"]);
    assert_eq!((&records[0]["key"], &records[0]["udd_buff"]), (&"k/1".into(), &"grüße".into()));
    assert_eq!((&records[1]["key"], &records[1]["udd_buff_base64"]), (&"".into(), &"/wA=".into()));
    assert_eq!(app.copo(&["udd", "get", "--json"]).ok().json(), records[1]);
}

#[test]
fn reports_are_the_same_on_the_wire_and_in_the_file_and_facts_are_the_orchestrators() {
    let app = App::new("[process.a]\nexecutable_path = \"{puppet}\"\nargs = [\"report\", \"said\", \"sleep\"]\n");
    app.up();
    app.copo_with_input(&["report", "-"], b"\xff").ok();
    let reports = eventually_some("a's report is there", || {
        Some(app.reports()).filter(|reports| reports.iter().any(|report| report["sent_by"] == "a-1"))
    });
    for report in &reports {
        let is_own = report["sent_by"] == "orchestrator";
        let text = if report.get("report_buff").is_some() { "report_buff" } else { "report_buff_base64" };
        let wanted: &[&str] = if is_own {
            &["facts", text, "report_time", "sent_by", "seq"]
        } else {
            &[text, "report_time", "sent_by", "seq"]
        };
        let mut wanted = wanted.to_vec();
        wanted.sort_unstable();
        assert_eq!(names(report), wanted, "{report}");
    }
    assert!(reports.iter().any(|report| report["report_buff_base64"] == "/w==" && report["sent_by"] == "@cli"));
    assert!(reports.iter().any(|report| report["report_buff"] == "said"));
    assert_eq!(reports[0]["facts"]["event"], "orchestrator_started");
    let of_a = app.copo(&["reports", "--json", "--process", "a"]).ok().json_lines();
    assert!(of_a.len() >= 3 && of_a.len() < reports.len());
    app.down();
    let document: Value = serde_json::from_str(&app.read("h/t/reports.json")).expect("JSON");
    assert_eq!(names(&document), ["last_report", "reports"]);
    let kept = document["reports"].as_array().expect("an array");
    assert_eq!(kept[..reports.len()], reports[..], "oldest first, as they were told");
    assert_eq!(document["last_report"], kept.last().expect("there are some")["report_time"]);
    assert_eq!(app.reports(), *kept, "without an orchestrator the file is read");
}

#[test]
fn a_log_line_is_an_object_with_its_time_and_its_process() {
    let app = App::new("[process.a]\nexecutable_path = \"{puppet}\"\nargs = [\"print\", \"x\", \"error\", \"y\"]\n");
    app.copo(&["up", "-d", "--wait"]).ok();
    app.wait_state("a-1", "finished");
    let lines = app.copo(&["logs", "--json"]).ok().json_lines();
    assert_eq!(lines.len(), 2);
    assert_eq!(names(&lines[0]), names(&lines[1]));
    assert!(lines.iter().all(|line| line["internal_name"] == "a-1"), "{lines:?}");
    assert_eq!(lines.iter().map(|line| line["line"].as_str().expect("text")).collect::<Vec<_>>(), ["x", "y"]);
    assert!(lines[0]["time"].as_u64().is_some_and(|time| time > 1_600_000_000_000_000), "{}", lines[0]);
}
