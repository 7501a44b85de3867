//! `copo --help`: one line per command, grouped. The lines are the commands' own first sentences.

use clap::{Command, CommandFactory};

use super::args::{Cli, GROUPS};

/// The whole command line, with the grouped list in its help.
pub fn command() -> Command {
    let command = Cli::command();
    let styles = command.get_styles().clone();
    let (header, literal) = (styles.get_header(), styles.get_literal());
    let width = names().map(str::len).max().unwrap_or(0);
    let mut list = String::new();
    for (title, names) in GROUPS {
        list.push_str(&format!("\n{header}{title}{header:#}\n"));
        for name in *names {
            let about = command.find_subcommand(name).and_then(Command::get_about).map(ToString::to_string);
            list.push_str(&format!("  {literal}{name:width$}{literal:#}  {}\n", about.unwrap_or_default()));
        }
    }
    let template = format!(
        "{{about}}\n\n{{usage-heading}} {{usage}}\n{list}\n{header}Options{header:#}\n{{options}}{{after-help}}"
    );
    command
        .override_usage("copo [OPTIONS] <COMMAND>")
        .help_template(template)
        .after_help("`copo COMMAND --help` says more about a command.")
}

fn names() -> impl Iterator<Item = &'static str> {
    GROUPS.iter().flat_map(|(_, names)| names.iter().copied())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::FromArgMatches;

    use super::*;

    fn parse(line: &str) -> Cli {
        let matches = command().try_get_matches_from(line.split(' ')).expect(line);
        Cli::from_arg_matches(&matches).expect(line)
    }

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn f_is_the_file_before_and_behind_a_command_and_follow_where_there_is_one_to_follow() {
        for line in
            ["copo -f x ps", "copo ps -f x", "copo -f x logs -f", "copo logs -f --file x", "copo reports --file=x -f"]
        {
            assert_eq!(parse(line).place.file.as_deref(), Some(std::path::Path::new("x")), "{line}");
        }
        let super::super::args::Command::Logs(logs) = parse("copo logs -f").command else { panic!("it is logs") };
        assert!(logs.follow);
        assert_eq!(parse("copo udd tail -a shop").place.application.as_deref(), Some("shop"));
    }

    #[test]
    fn what_does_not_fit_together_is_a_usage_error() {
        for line in [
            "copo",
            "copo up -d --exit-on a",
            "copo up --wait-timeout 1",
            "copo wait",
            "copo wait a --record k",
            "copo logs --json -t",
            "copo up --wait --wait-timeout x",
        ] {
            let error = command().try_get_matches_from(line.split(' ')).expect_err(line);
            assert_eq!(error.exit_code(), i32::from(super::super::failure::USAGE), "{line}");
        }
    }

    #[test]
    fn the_help_names_every_command_once() {
        let shown: Vec<&str> = names().collect();
        let unique: BTreeSet<&str> = shown.iter().copied().collect();
        assert_eq!(shown.len(), unique.len());
        let command = command();
        let existing: BTreeSet<&str> =
            command.get_subcommands().filter(|sub| !sub.is_hide_set()).map(Command::get_name).collect();
        assert_eq!(unique, existing);
    }

    #[test]
    fn a_line_of_the_help_is_one_line() {
        let help = command().render_help().to_string();
        for name in names() {
            let lines = help.lines().filter(|line| line.split_whitespace().next() == Some(name));
            assert_eq!(lines.count(), 1, "{name} in {help}");
        }
        assert!(help.lines().all(|line| line.chars().count() <= 120), "{help}");
    }
}
