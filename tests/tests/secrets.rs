//! Values that are never printed, and where they come from.
#![cfg(unix)]

use copo_tests::{App, eventually};

const SECRET: &str = "correct-horse-battery";

/// Everything of the application that copo itself has written or says.
fn everything_said(app: &App) -> String {
    let mut said = String::new();
    for args in [&["ps"][..], &["ps", "--json"], &["check"], &["diff"], &["diff", "--json"], &["reports"], &["schema"]]
    {
        let ran = app.copo(args);
        said.push_str(&ran.stdout);
        said.push_str(&ran.stderr);
    }
    said + &app.read("h/t/orchestrator/log") + &app.read("h/t/reports.json")
}

#[test]
fn the_value_of_a_secret_reaches_the_process_and_nobody_else() {
    let config = |value: &str| {
        format!(
            "[process.a]\nexecutable_path = \"{{puppet}}\"\nargs = [\"env\", \"DB\", \"env\", \"KEY\", \"sleep\"]\n\
             env = {{ DB = \"{value}\" }}\nsecrets = [\"DB\"]\nsecret_file = {{ KEY = \"key\" }}\n"
        )
    };
    let app = App::new(&config(SECRET));
    app.write("key", "the-key\n");
    app.up();
    eventually("it has written", || app.log("a-1") == [SECRET, "the-key"]);

    let other = format!("{SECRET}-2");
    app.configure(&config(&other));
    let diff = app.copo(&["diff"]).fails_with(1);
    assert!(diff.stdout.contains("env.DB: (secret) → (secret)"), "{}", diff.stdout);
    let said = everything_said(&app);
    assert!(!said.contains(SECRET) && !said.contains("the-key"), "{said}");

    // The file is read at each start.
    app.write("key", "another-key");
    let up = app.copo(&["up", "-d"]).ok();
    assert!(!up.stderr.contains(SECRET), "{}", up.stderr);
    eventually("it runs anew", || app.log("a-1")[2..] == [other.clone(), "another-key".to_owned()]);
}

#[test]
fn a_wrong_file_is_told_without_what_stands_in_it() {
    let app = App::new(
        "[process.a]\nexecutable_path = \"{puppet}\"\nenv_file = \"env\"\nsecrets = [\"DB\"]\n\
         [process.b]\nexecutable_path = \"{puppet}\"\nsecret_file = { KEY = \"nowhere\" }\n",
    );
    app.write("env", &format!("X=1\nDB '{SECRET}'\n"));
    app.up();
    app.wait_state("a-1", "failed");
    app.wait_state("b-1", "failed");
    let said = everything_said(&app);
    assert!(!said.contains(SECRET), "{said}");
    assert!(said.contains("env:2: it is no NAME=VALUE"), "{said}");
    assert!(said.contains("nowhere"), "{said}");
}

#[test]
fn env_file_is_read_at_each_start() {
    let app = App::new(
        "[process.a]\nexecutable_path = \"{puppet}\"\nargs = [\"env\", \"X\", \"sleep\"]\nenv_file = \"env\"\n",
    );
    app.write("env", "X=one\n");
    app.up();
    eventually("it runs", || app.log("a-1") == ["one"]);
    app.write("env", "X=two\n");
    app.copo(&["restart", "a"]).ok();
    eventually("it runs anew", || app.log("a-1") == ["one", "two"]);
}
