//! One list of scenarios, run in all four languages: the SDKs mean the same everywhere.
//!
//! A test program of its own kind (`harness = false`): it builds what each language needs, under `target/`, and says what
//! it does while it does it. A language whose tools are not there is passed over with the reason on a developer's machine,
//! and fails when CI is set. Arguments: words that a test's name must hold, as with any test program.

#[cfg(unix)]
mod language;
#[cfg(unix)]
mod scenarios;

#[cfg(not(unix))]
fn main() {
    println!("languages: not run on this platform");
}

#[cfg(unix)]
fn main() -> std::process::ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    if std::env::args().any(|arg| arg == "--list") {
        return list();
    }
    let mut tally = Tally::default();
    for language in language::ALL {
        let chosen: Vec<_> =
            scenarios::ALL.iter().filter(|scenario| is_chosen(&words, language, scenario.name)).collect();
        let is_suite_chosen = is_chosen(&words, language, OWN_SUITE);
        if chosen.is_empty() && !is_suite_chosen {
            continue;
        }
        println!("building for {}", language.name());
        match language.prepare() {
            Ok(actor) => {
                chosen.iter().for_each(|scenario| tally.run(language, &actor, scenario));
                if let Some(suite) = language.own_suite(&actor).filter(|_| is_suite_chosen) {
                    tally.run_suite(language, suite);
                }
            }
            Err(language::Unready::Missing(tool)) if std::env::var_os("CI").is_none() => {
                println!("test {} ... ignored, no {tool}", language.name());
                tally.ignored += chosen.len();
            }
            Err(why) => {
                println!("test {} ... FAILED\n{why}", language.name());
                tally.failed += chosen.len();
            }
        }
    }
    tally.close()
}

/// What a language's own tests are called here.
#[cfg(unix)]
const OWN_SUITE: &str = "its_own_tests";

#[cfg(unix)]
fn is_chosen(words: &[String], language: language::Language, scenario: &str) -> bool {
    let name = format!("{}::{scenario}", language.name());
    words.is_empty() || words.iter().any(|word| name.contains(word.as_str()))
}

#[cfg(unix)]
fn list() -> std::process::ExitCode {
    for language in language::ALL {
        for scenario in scenarios::ALL {
            println!("{}::{}: test", language.name(), scenario.name);
        }
    }
    std::process::ExitCode::SUCCESS
}

#[cfg(unix)]
#[derive(Default)]
struct Tally {
    passed: usize,
    failed: usize,
    ignored: usize,
}

#[cfg(unix)]
impl Tally {
    fn run(&mut self, language: language::Language, actor: &language::Actor, scenario: &scenarios::Scenario) {
        let name = format!("{}::{}", language.name(), scenario.name);
        if scenario.not_in.contains(&language) {
            println!("test {name} ... ignored, {}", scenario.because);
            self.ignored += 1;
            return;
        }
        // The panic's message has been printed by then, as in any test.
        match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| (scenario.run)(actor))) {
            Ok(()) => {
                println!("test {name} ... ok");
                self.passed += 1;
            }
            Err(_) => {
                println!("test {name} ... FAILED");
                self.failed += 1;
            }
        }
    }

    fn run_suite(&mut self, language: language::Language, mut suite: std::process::Command) {
        let verdict = match suite.status() {
            Ok(status) if status.success() => "ok",
            Ok(_) | Err(_) => "FAILED",
        };
        println!("test {}::{OWN_SUITE} ... {verdict}", language.name());
        if verdict == "ok" { self.passed += 1 } else { self.failed += 1 }
    }

    fn close(self) -> std::process::ExitCode {
        let verdict = if self.failed == 0 { "ok" } else { "FAILED" };
        println!(
            "\ntest result: {verdict}. {} passed; {} failed; {} ignored; 0 measured; 0 filtered out\n",
            self.passed, self.failed, self.ignored
        );
        if self.failed == 0 { std::process::ExitCode::SUCCESS } else { std::process::ExitCode::FAILURE }
    }
}
