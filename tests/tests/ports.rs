//! `port`: a free loopback port for each instance.
#![cfg(unix)]

use std::collections::BTreeSet;
use std::net::TcpListener;

use copo_tests::app::kill_9;
use copo_tests::{App, eventually};

fn port(app: &App, internal_name: &str) -> u64 {
    app.ps()[internal_name]["port"].as_u64().unwrap_or_else(|| panic!("{internal_name} has a port"))
}

#[test]
fn each_instance_has_one_of_its_own_and_keeps_it() {
    let app = App::new(
        "[process.web]\nexecutable_path = \"{puppet}\"\nargs = [\"env\", \"PORT\", \"sleep\"]\nport = true\nreplicas = 3\n\
         [process.other]\nexecutable_path = \"{puppet}\"\nargs = [\"env\", \"HTTP\", \"sleep\"]\n\
         port = { env = \"HTTP\" }\n\
         [process.none]\nexecutable_path = \"{puppet}\"\nargs = [\"sleep\"]\n",
    );
    app.copo(&["up", "-d", "--wait"]).ok();
    let names = ["web-1", "web-2", "web-3", "other-1"];
    let ports = names.map(|name| port(&app, name));
    assert_eq!(BTreeSet::from(ports).len(), 4, "{ports:?}");
    for (name, port) in names.iter().zip(ports) {
        eventually("it has written its port", || app.log(name) == [port.to_string()]);
    }
    assert!(app.ps()["none-1"]["port"].is_null());
    assert!(app.copo(&["ps"]).ok().stdout.contains("PORT"));

    kill_9(app.pid("web-2"));
    eventually("it runs anew", || app.log("web-2").len() == 2);
    app.copo(&["restart", "web"]).ok();
    app.copo(&["wait", "web", "--timeout", "60"]).ok();
    assert_eq!(names.map(|name| port(&app, name)), ports, "over a crash and a restart");

    app.copo(&["scale", "web=4"]).ok();
    assert!(!ports.contains(&port(&app, "web-4")));
}

#[test]
fn a_port_that_is_taken_is_passed_over() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let base = taken.local_addr().expect("an address").port();
    let app = App::new(&format!(
        "[process.web]\nexecutable_path = \"{{puppet}}\"\nargs = [\"sleep\"]\nport = {base}\nreplicas = 2\n"
    ));
    app.copo(&["up", "-d", "--wait"]).ok();
    let ports = [port(&app, "web-1"), port(&app, "web-2")];
    assert!(ports.iter().all(|port| *port > base.into()) && ports[0] != ports[1], "{base} {ports:?}");
}

#[test]
fn a_run_that_is_taken_over_keeps_its_port() {
    let app = App::new("[process.web]\nexecutable_path = \"{puppet}\"\nargs = [\"sleep\"]\nport = true\n");
    app.copo(&["up", "-d", "--wait"]).ok();
    let (pid, before) = (app.pid("web-1"), port(&app, "web-1"));
    kill_9(app.orchestrator_pid());
    app.copo(&["up", "-d"]).ok();
    assert_eq!((app.pid("web-1"), port(&app, "web-1")), (pid, before));
}
