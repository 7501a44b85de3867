//! What is said about probes, word for word.

use super::errors::problems_of;

#[test]
fn readiness_and_probes() {
    for (lines, told) in [
        ("ready = 'redy'", "4:9: cannot use \"redy\" for process.a.ready: it may be \"started\", \"sdk\", \"notify\""),
        (
            "ready = 'strted'",
            "4:9: cannot use \"strted\" for process.a.ready: it may be \"started\", \"sdk\", \"notify\"; did you mean \"started\"?",
        ),
        (
            "ready = true",
            "4:9: cannot use process.a.ready: invalid type: boolean `true`, expected \"started\", \"sdk\", \"notify\" or a probe such as { http = \"http://127.0.0.1:8080/health\" }",
        ),
        (
            "ready = { htp = 'x' }",
            "4:11: cannot use the key \"htp\" in [process.a.ready]: there is no such key; did you mean \"http\"?",
        ),
        (
            "liveness = { interval = '1s' }",
            "4:12: cannot use process.a.liveness: it asks nothing: one of http, tcp, exec, log and log_regex is needed",
        ),
        (
            "ready = { tcp = 'a:1', http = 'http://a' }",
            "4:17: cannot use process.a.ready: it may ask one thing: http, tcp, exec, log or log_regex",
        ),
        (
            "ready.http = 'https://a/'",
            "4:14: cannot use process.a.ready.http: https is not asked; exec with a client such as curl can do that",
        ),
        (
            "ready.http = '/health'",
            "4:14: cannot use process.a.ready.http: it is no http:// address, such as \"http://127.0.0.1:8080/health\"",
        ),
        (
            "startup.tcp = '5432'",
            "4:15: cannot use process.a.startup.tcp: \"5432\" is no host and port, such as \"127.0.0.1:5432\"",
        ),
        (
            "ready.exec = []",
            "4:14: cannot use process.a.ready.exec: it is empty: a program and its arguments, such as [\"pg_isready\", \"-q\"]",
        ),
        ("ready.log = ''", "4:13: cannot use process.a.ready.log: it is empty"),
        (
            "ready.log_regex = '(up'",
            "4:19: cannot use process.a.ready.log_regex: it is no regular expression: unclosed group",
        ),
        (
            "liveness.log = 'up'",
            "4:16: cannot use process.a.liveness.log: a line that was written does not show that it is alive now",
        ),
        (
            "ready = { log = 'up', interval = '1s' }",
            "4:34: cannot use process.a.ready.interval: a log is watched all the time, and a line counts at once",
        ),
        (
            "ready = { tcp = 'a:1', interval = '1ms' }",
            "4:35: cannot use process.a.ready.interval: it is shorter than 10ms",
        ),
        (
            "liveness = { tcp = 'a:1', failures = 0 }",
            "4:38: cannot use process.a.liveness.failures: 0 is not from 1 to 1000",
        ),
        ("progress = '1ms'", "4:12: cannot use process.a.progress: it is too short to tell anything"),
        ("watchdog = '0s'", "4:12: cannot use process.a.watchdog: nothing gives a sign of life so often"),
    ] {
        // Windows has no NOTIFY_SOCKET, and says so too.
        assert!(problems_of(lines).contains(&format!("copo.toml:{told}")), "{lines}: {}", problems_of(lines));
    }
    #[cfg(windows)]
    assert!(problems_of("ready = 'notify'").contains("there is no NOTIFY_SOCKET on Windows"));
}
