//! `tty = true`.

use super::*;

#[test]
#[cfg(not(windows))]
fn a_terminal_is_stdin_as_well() {
    assert_eq!(process_of("tty = true").stdin, Stdin::Terminal);
    assert_eq!(process_of("tty = true\nstdin = 'attach'").stdin, Stdin::Terminal);
    assert_eq!(process_of("tty = false\nstdin = 'attach'").stdin, Stdin::Attach);
}

#[test]
fn a_terminal_that_cannot_be() {
    let why = if cfg!(windows) {
        "Windows has nothing like it"
    } else {
        "who attaches is a terminal's stdin, which cannot be \"null\""
    };
    let text = "application = 'w'\n[process.a]\nexecutable_path = 'a'\ntty = true\nstdin = 'null'";
    let told = format!("copo.toml:4:7: cannot use process.a.tty: {why}");
    assert_eq!(plan_of(text).expect_err("refused"), told);
}
