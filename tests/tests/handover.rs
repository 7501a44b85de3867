//! What an orchestrator that takes another's place is told, and what it makes of a copo.toml that was edited meanwhile.
#![cfg(target_os = "linux")]

use copo_tests::app::{is_alive, kill_9};
use copo_tests::{App, eventually};

/// Nobody is left to start another one: the next `up` takes over.
fn kill_both(app: &App) {
    let (keeper, orchestrator) = (app.keeper_pid(), app.orchestrator_pid());
    kill_9(keeper);
    kill_9(orchestrator);
    eventually("both are gone", || !is_alive(keeper) && !is_alive(orchestrator));
}

#[test]
fn an_upgrade_to_what_hangs_is_given_up_and_the_old_one_goes_on() {
    let app = App::new("[process.a]\nexecutable_path = \"{puppet}\"\nargs = [\"sleep\"]\n");
    app.copo(&["up", "-d", "--wait"]).ok();
    let (keeper, a) = (app.keeper_pid(), app.pid("a-1"));
    let version = app.copo(&["version", "--json"]).ok().json()["version"].clone();
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = version ] && echo '{{\"version\":{version},\"state_form\":99}}' && exit\nexec sleep 1000\n"
    );
    app.write("hanging", &script);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(app.path("hanging"), mode).expect("it is ours");

    let failed = app.copo(&["upgrade", "--binary", "hanging"]).fails_with(1);

    assert!(failed.stderr.contains("did not start"), "{}", failed.stderr);
    assert_eq!((app.keeper_pid(), app.pid("a-1")), (keeper, a));
    let log = std::fs::read_to_string(app.state("orchestrator/log")).expect("it is there");
    assert!(log.contains("has not come to answer") && log.contains("the old one goes on"), "{log}");
}

#[test]
fn what_was_edited_while_nobody_was_there_is_told_and_applied() {
    let config = |word: &str| {
        let process = |name: &str, word: &str| {
            format!("[process.{name}]\nexecutable_path = \"{{puppet}}\"\nargs = [\"print\", \"{word}\", \"sleep\"]\n")
        };
        process("a", word) + &process("b", "as ever")
    };
    for ended in [false, true] {
        let app = App::new(&config("old"));
        app.copo(&["up", "-d", "--wait"]).ok();
        let (a, b) = (app.pid("a-1"), app.pid("b-1"));
        app.configure(&config("new"));
        if ended {
            // The next up both takes over and applies.
            kill_both(&app);
            app.copo(&["up", "-d"]).ok();
        } else {
            app.kill_orchestrator();
            let adopted = app.reports().into_iter().rfind(|report| report["facts"]["event"] == "adopted");
            let of_a = app
                .reports()
                .into_iter()
                .rfind(|report| report["facts"]["event"] == "adopted" && report["facts"]["internal_name"] == "a-1");
            let reason = of_a.expect("it was")["facts"]["reason"].as_str().unwrap_or_default().to_owned();
            assert!(reason.contains("copo.toml has changed since it started"), "{reason} {adopted:?}");
            let diff = app.copo(&["diff"]).fails_with(1).stdout;
            assert!(diff.contains("~ a restarts") && diff.contains("as it was when it started"), "{diff}");
            assert!(!diff.contains("~ b"), "{diff}");
            app.kill_orchestrator();
            assert_eq!(app.pid("a-1"), a, "nothing but a person's wish restarts it");
            let up = app.copo(&["up", "-d"]).ok();
            assert!(up.stderr.contains("~ a restarts"), "{}", up.stderr);
        }
        eventually("it runs as it is now to", || app.log("a-1") == ["old", "new"]);
        assert_ne!(app.pid("a-1"), a);
        assert_eq!(app.pid("b-1"), b);
        eventually("nothing differs any more", || app.copo(&["diff"]).code == 0);
        let restarted = app.copo(&["restart", "a"]).ok();
        assert!(!restarted.stderr.contains("has changed"), "{}", restarted.stderr);
    }
}

#[test]
fn a_probe_of_an_adopted_run_finds_its_token_and_its_port() {
    let app = App::new(
        r#"
[process.a]
executable_path = "{puppet}"
args = ["sleep"]
port = true
[process.a.liveness]
exec = ["./probe.sh"]
interval = "20ms"
"#,
    );
    app.write("probe.sh", "#!/bin/sh\necho \"${#COPO_TOKEN} $PORT $COPO_RUN\" > seen.new && mv seen.new seen\n");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(app.path("probe.sh"), mode).expect("it is ours");
    app.copo(&["up", "-d", "--wait"]).ok();
    eventually("it was asked", || !app.read("seen").is_empty());
    let before = app.read("seen");
    app.kill_orchestrator();
    app.write("seen", "");
    eventually("it is asked again", || !app.read("seen").is_empty());
    assert_eq!(app.read("seen"), before);
    assert!(before.starts_with("64 "), "{before}");
}
