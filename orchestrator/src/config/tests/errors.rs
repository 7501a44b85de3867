//! A text and what is said about it, word for word.

use proptest::prelude::*;

use super::*;

fn problems(text: &str) -> String {
    plan_of(text).expect_err(text)
}

/// What is said about a process `a` whose table holds these lines (from line 4), beside a process `b`.
pub(super) fn problems_of(lines: &str) -> String {
    let beside = "application = 'w'\n[process.a]\nexecutable_path = 'a'\n";
    problems(&format!("{beside}{lines}\n[process.b]\nexecutable_path = 'b'\n"))
}

#[test]
fn keys_that_are_not_there() {
    for (text, told) in [
        (
            "aplication = 'w'",
            "1:1: cannot use the key \"aplication\" at the top of the file: there is no such key; did you mean \"application\"?",
        ),
        (
            "application = 'w'\n[proces.a]",
            "2:2: cannot use the key \"proces\" at the top of the file: there is no such key; did you mean \"process\"?",
        ),
        (
            "application = 'w'\n[context]\ndurabilty = 'crash'",
            "3:1: cannot use the key \"durabilty\" in [context]: there is no such key; did you mean \"durability\"?",
        ),
        (
            "application = 'w'\n[context]\nretain = { record = 1 }",
            "3:12: cannot use the key \"record\" in [context.retain]: there is no such key; did you mean \"records\"?",
        ),
    ] {
        assert_eq!(problems(text), format!("copo.toml:{told}"));
    }
    for (lines, told) in [
        (
            "depend_on = ['b']",
            "4:1: cannot use the key \"depend_on\" in [process.a]: there is no such key; did you mean \"depends_on\"?",
        ),
        (
            "backoff = { inital = '1s' }",
            "4:13: cannot use the key \"inital\" in [process.a.backoff]: there is no such key; did you mean \"initial\"?",
        ),
        (
            "log.file = 3",
            "4:5: cannot use the key \"file\" in [process.a.log]: there is no such key; did you mean \"files\"?",
        ),
        (
            "depends_on = ['b', { proces = 'b' }]",
            "4:22: cannot use the key \"proces\" in [process.a.depends_on[1]]: there is no such key; did you mean \"process\"?",
        ),
    ] {
        assert_eq!(problems_of(lines), format!("copo.toml:{told}"));
    }
    let told = "copo.toml:4:1: cannot use the key \"image\" in [process.a]: there is no such key";
    assert_eq!(problems_of("image = 'x'"), told);
}

#[test]
fn values_of_the_wrong_kind() {
    for (lines, told) in [
        ("args = 'x'", "4:8: cannot use process.a.args: invalid type: string \"x\", expected an array"),
        ("args = ['x', 3]", "4:14: cannot use process.a.args[1]: invalid type: integer `3`, expected a string"),
        ("control = 'yes'", "4:11: cannot use process.a.control: invalid type: string \"yes\", expected true or false"),
        ("env = { PORT = 80 }", "4:16: cannot use process.a.env.PORT: invalid type: integer `80`, expected a string"),
        ("log = 3", "4:7: cannot use process.a.log: invalid type: integer `3`, expected a table"),
        ("restart = 3", "4:11: cannot use process.a.restart: expected a string"),
        (
            "restart = 'on_fail'",
            "4:11: cannot use \"on_fail\" for process.a.restart: it may be \"no\", \"on_failure\", \"always\"; did you mean \"on_failure\"?",
        ),
        (
            "trigger_type = 'crom'",
            "4:16: cannot use \"crom\" for process.a.trigger_type: it may be \"on_start\", \"manual\", \"cron\", \"dependence_finish\"; did you mean \"cron\"?",
        ),
        (
            "restart_limit.then = 'giveup'",
            "4:22: cannot use \"giveup\" for process.a.restart_limit.then: it may be \"give_up\", \"keep_trying\", \"shutdown\"; did you mean \"give_up\"?",
        ),
        ("stdin = 'tty'", "4:9: cannot use \"tty\" for process.a.stdin: it may be \"null\", \"attach\""),
        (
            "depends_on = [3]",
            "4:15: cannot use process.a.depends_on[0]: invalid type: integer `3`, expected a process's name or a table { process, condition }",
        ),
        (
            "depends_on = [{ process = 'b', condition = 'reddy' }]",
            "4:44: cannot use \"reddy\" for process.a.depends_on[0].condition: it may be \"started\", \"ready\", \"succeeded\", \"failed\", \"finished\"; did you mean \"ready\"?",
        ),
        (
            "stop_grace = 10",
            "4:14: cannot use process.a.stop_grace: invalid type: integer `10`, expected a duration in quotes, such as \"250ms\", \"10s\" or \"1.5h\"",
        ),
        (
            "stop_grace = '10 x'",
            "4:14: cannot use process.a.stop_grace: \"10 x\" is no duration: it is a number and ms, s, m, h or d, such as \"250ms\", \"10s\" or \"1.5h\"",
        ),
        (
            "log.size = '10kb'",
            "4:12: cannot use process.a.log.size: \"10kb\" is no size: it is a number and B, KiB, MiB, GiB or TiB, such as \"10KiB\" or \"256MiB\"",
        ),
        (
            "log.size = -1",
            "4:12: cannot use process.a.log.size: invalid value: integer `-1`, expected a number of bytes, or a size such as \"10KiB\" or \"256MiB\"",
        ),
        (
            "replicas = -1",
            "4:12: cannot use process.a.replicas: invalid value: integer `-1`, expected a whole number from 0",
        ),
        (
            "stop_signal = 'SIGTREM'",
            "4:15: cannot use process.a.stop_signal: \"SIGTREM\" is no signal; did you mean \"SIGTERM\"?",
        ),
    ] {
        assert_eq!(problems_of(lines), format!("copo.toml:{told}"));
    }
}

#[test]
fn values_out_of_range() {
    for (lines, told) in [
        ("replicas = 0", "4:12: cannot use process.a.replicas: 0 is not from 1 to 10000"),
        ("replicas = 1_000_000", "4:12: cannot use process.a.replicas: 1000000 is not from 1 to 10000"),
        ("replicas = 5\nmax_instances = 4", "5:17: cannot use process.a.max_instances: 4 is not from 5 to 10000"),
        ("log = { files = 0 }", "4:17: cannot use process.a.log.files: 0 is not from 1 to 1000"),
        ("log.size = 0", "4:12: cannot use process.a.log.size: a log of no bytes holds nothing"),
        ("ready_timeout = '0s'", "4:17: cannot use process.a.ready_timeout: nothing is ready at once"),
        ("backoff.factor = 0.5", "4:18: cannot use process.a.backoff.factor: 0.5 is not from 1 to 1000"),
        ("backoff.factor = nan", "4:18: cannot use process.a.backoff.factor: NaN is not from 1 to 1000"),
        ("backoff.jitter = 1.5", "4:18: cannot use process.a.backoff.jitter: 1.5 is not from 0 to 1"),
        (
            "restart_limit = { restarts = 0 }",
            "4:30: cannot use process.a.restart_limit.restarts: 0 is not from 1 to 1000",
        ),
        (
            "restart_limit = { window = '0s' }",
            "4:28: cannot use process.a.restart_limit.window: no restart would count",
        ),
        (
            "on_dependence_restart = 'stop'",
            "2:10: cannot use on_dependence_restart of \"a\": it depends on no process that is to be started or ready",
        ),
        ("backoff.max = '1ms'", "4:15: cannot use process.a.backoff.max: it is shorter than initial"),
        ("env = { COPO_RUN = 'x' }", "4:9: cannot use process.a.env.COPO_RUN: copo itself sets it for every run"),
        ("env = { 'A=B' = 'x' }", "4:9: cannot use process.a.env: \"A=B\" is no name of a variable"),
        ("args = [\"\\u0000\"]", "4:9: cannot use process.a.args: a NUL character cannot be passed to a program"),
        (
            "env = { \"A\\nB\" = \"\\u0000\" }",
            "4:18: cannot use process.a.env.\"A\\nB\": a NUL character cannot be passed to a program",
        ),
        ("cwd = ''", "4:7: cannot use process.a.cwd: it is empty"),
    ] {
        assert_eq!(problems_of(lines), format!("copo.toml:{told}"));
    }
    let told = "copo.toml:3:14: cannot use context.max_record: it may be from 1 byte to 1GiB";
    assert_eq!(problems("application = 'w'\n[context]\nmax_record = '2GiB'"), told);
    #[cfg(unix)]
    assert_eq!(
        problems_of("success_exit_codes = [0, 256, -1]"),
        "copo.toml:4:26: cannot use process.a.success_exit_codes: 256 is not from 0 to 255\n\
         copo.toml:4:31: cannot use process.a.success_exit_codes: -1 is not from 0 to 255"
    );
}

#[test]
fn names() {
    for (text, told) in [
        (
            "[process.b]\nexecutable_path = 'b'",
            "1:1: cannot name the application: application is missing, such as application = \"weather\"",
        ),
        (
            "application = 'w/x'",
            "1:15: cannot use \"w/x\" as the application's name: '/' is not allowed: letters, digits, '.', '_' and '-' are",
        ),
        (
            "application = 'w'\n[process.'../x']\nexecutable_path = 'x'",
            "2:10: cannot use \"../x\" as a process's name: '/' is not allowed: letters, digits, '.', '_' and '-' are",
        ),
        (
            "application = 'w'\n[process.-x]\nexecutable_path = 'x'",
            "2:10: cannot use \"-x\" as a process's name: it must start with a letter or a digit",
        ),
        (
            "application = 'w'\n[process.a]\nexecutable_path = 'x'\n[process.a]\n",
            "4:10: cannot have two processes named \"a\": the first is in line 2",
        ),
        (
            "application = 'w'\n[process.\"a\"]\nexecutable_path = 'x'\n[process.\"a\"]\n",
            "4:10: cannot have two processes named \"a\": the first is in line 2",
        ),
        (
            "application = 'w'\n[process.a.log]\n[process.a.log]\n",
            "3:12: cannot have the table [process.a.log] twice: the first is in line 2",
        ),
        (
            "application = 'w'\n[process]\na.executable_path = 'x'\n[process.a]\n",
            "4:10: cannot have two processes named \"a\": it is there already",
        ),
        (
            "application = 'w'\napplication = 'x'",
            "2:1: cannot set \"application\" twice: a key may stand only once in a table",
        ),
        (
            "application = 'w'\n[process.web]\nexecutable_path = 'x'\n[process.Web]\nexecutable_path = 'x'",
            "4:10: cannot have both processes \"web\" and \"Web\": they differ only in case, and some file systems ignore that",
        ),
        (
            "application = 'w'\n[process.web-2]\nexecutable_path = 'x'\n[process.WEB]\nexecutable_path = 'x'",
            "2:10: cannot name a process \"web-2\": instance 2 of process \"WEB\" is called so",
        ),
        ("application = 'w'\n[process.a]\n", "2:10: cannot run process \"a\": executable_path is missing"),
        (
            "application = 'w'\n[process]\na = 3",
            "3:5: cannot use process.a: invalid type: integer `3`, expected a table",
        ),
    ] {
        assert_eq!(problems(text), format!("copo.toml:{told}"));
    }
}

#[test]
fn triggers() {
    for (lines, told) in [
        (
            "trigger_type = 'cron'",
            "2:10: cannot schedule process \"a\": trigger_definition is missing, such as \"0 6 * * *\"",
        ),
        (
            "trigger_type = 'manual'\ntrigger_definition = '@daily'",
            "5:22: cannot use process.a.trigger_definition: trigger_type \"manual\" has none",
        ),
        (
            "trigger_definition = '@daily'",
            "4:22: cannot use process.a.trigger_definition: trigger_type \"on_start\" has none",
        ),
        ("timezone = 'Europe/Vienna'", "4:12: cannot use process.a.timezone: only a cron trigger has one"),
        (
            "trigger_type = 'cron'\ntrigger_definition = '@daily'\ntimezone = 'Europe/Viena'",
            "6:12: cannot use process.a.timezone: \"Europe/Viena\": there is no such time zone; did you mean \"Europe/Vienna\"?",
        ),
        (
            "trigger_type = 'dependence_finish'\ndepends_on = [{ process = 'b' }]",
            "2:10: cannot trigger process \"a\": a dependence_finish trigger needs a plain name in depends_on, whose finish fires it",
        ),
        (
            "trigger_type = 'dependence_finish'\ndepends_on = ['b']\ntrigger_definition = 'success'",
            "6:22: cannot use process.a.trigger_definition: \"success\" is none of \"succeeded\", \"failed\", \"finished\"; did you mean \"succeeded\"?",
        ),
    ] {
        assert_eq!(problems_of(lines), format!("copo.toml:{told}"));
    }
    // Why a schedule is refused is told by the schedule.
    for definition in ["nonsense", "* * *", "61 * * * *", "0 0 30 2 *", "0 0 0 1 1 * 2030"] {
        let why = Schedule::parse(definition, Some("UTC")).expect_err(definition);
        let told = format!("copo.toml:5:22: cannot use process.a.trigger_definition: {definition:?}: {why}");
        assert_eq!(problems_of(&format!("trigger_type = 'cron'\ntrigger_definition = '{definition}'")), told);
    }
}

#[test]
fn dependences() {
    for (lines, told) in [
        (
            "depends_on = ['bb']",
            "4:15: cannot let process \"a\" depend on \"bb\": there is no such process; did you mean \"b\"?",
        ),
        ("depends_on = ['station']", "4:15: cannot let process \"a\" depend on \"station\": there is no such process"),
        (
            "depends_on = [{ process = 'station' }]",
            "4:15: cannot let process \"a\" depend on \"station\": there is no such process",
        ),
        (
            "depends_on = [{ condition = 'ready' }]",
            "4:15: cannot tell on what process \"a\" depends here: process is missing",
        ),
        ("depends_on = ['a']", "4:15: cannot let process \"a\" depend on \"a\": that is itself"),
        ("depends_on = ['b', 'b']", "4:20: cannot let process \"a\" depend on \"b\": that stands there already"),
    ] {
        assert_eq!(problems_of(lines), format!("copo.toml:{told}"));
    }
    let circle = "application = 'w'\n\
        [process.lead]\nexecutable_path = 'x'\ndepends_on = ['one']\n\
        [process.one]\nexecutable_path = 'x'\ndepends_on = ['three']\n\
        [process.two]\nexecutable_path = 'x'\ndepends_on = ['one']\n\
        [process.three]\nexecutable_path = 'x'\ndepends_on = ['two']\ntrigger_type = 'dependence_finish'\n";
    let told = "copo.toml:7:15: cannot order the processes: depends_on has a cycle: one -> three -> two -> one";
    assert_eq!(problems(circle), told);
}

#[cfg(unix)]
#[test]
fn sockets_of_too_long_a_path() {
    use crate::layout::MAX_SOCKET_PATH;
    // /home/kim/.copo/<application>/<process>-1/stdio
    let name = "n".repeat(60);
    let with = |application: &str, lines: &str| {
        let text = format!("application = '{application}'\n[process.{name}]\nexecutable_path = 'x'\n{lines}");
        let told = |found| ConfigError::at(Path::new(FILE_NAME), &text, found).to_string();
        check(&text, config_path(), Path::new(HOME)).map_err(told)
    };
    let room = MAX_SOCKET_PATH - format!("{HOME}//{name}-1/stdio").len();
    assert!(with(&"w".repeat(room), "").is_ok());

    let application = "w".repeat(room);
    let told = with(&application, "replicas = 10").expect_err("one byte too many");
    let path = format!("{HOME}/{application}/{name}-10/stdio");
    let why = format!("its socket {path} has {} bytes, {MAX_SOCKET_PATH} are possible", path.len());
    assert_eq!(told, format!("copo.toml:2:10: cannot use process {name:?}: {why}; a shorter COPO_HOME or name helps"));
    assert!(with(&application, "overlap = 'allow'\nmax_instances = 10").is_err(), "instances count as replicas do");
    assert!(with(&application, "overlap = 'allow'\nmax_instances = 9").is_ok());

    let home = format!("/{}", "h".repeat(MAX_SOCKET_PATH));
    let found = check("application = 'w'", config_path(), Path::new(&home)).expect_err("no room for the Server");
    assert!(found[0].message.starts_with("cannot use application \"w\": its socket /hhh"), "{found:?}");
}

#[test]
fn what_is_no_toml() {
    for (text, told) in [
        ("application = ", "1:15: cannot read this line: string values must be quoted, expected literal string"),
        ("application = 'w'\n[process.a\n", "2:11: cannot read this line: unclosed table, expected `]`"),
        ("ä = 1", "1:1: cannot read this line: invalid unquoted key, expected letters, numbers, `-`, `_`"),
    ] {
        assert_eq!(problems(text), format!("copo.toml:{told}"));
    }
}

#[test]
fn what_can_be_found_together_is_told_together() {
    let shape = "aplication = 'w'\n[process.a]\nargs = 3\nrestart = 'on_fail'\n[process.b]\nexecutable_path = 'b'\nenvironment = {}\n";
    assert_eq!(
        problems(shape),
        "copo.toml:1:1: cannot use the key \"aplication\" at the top of the file: there is no such key; did you mean \"application\"?\n\
         copo.toml:3:8: cannot use process.a.args: invalid type: integer `3`, expected an array\n\
         copo.toml:4:11: cannot use \"on_fail\" for process.a.restart: it may be \"no\", \"on_failure\", \"always\"; did you mean \"on_failure\"?\n\
         copo.toml:7:1: cannot use the key \"environment\" in [process.b]: there is no such key"
    );
    let meaning = "application = ''\n[process.a]\ndepends_on = ['x', 'b']\n[process.b]\nexecutable_path = 'b'\ndepends_on = ['a']\nreplicas = 0";
    assert_eq!(
        problems(meaning),
        "copo.toml:1:15: cannot use \"\" as the application's name: it is empty\n\
         copo.toml:2:10: cannot run process \"a\": executable_path is missing\n\
         copo.toml:3:15: cannot let process \"a\" depend on \"x\": there is no such process\n\
         copo.toml:3:20: cannot order the processes: depends_on has a cycle: a -> b -> a\n\
         copo.toml:7:12: cannot use process.b.replicas: 0 is not from 1 to 10000"
    );
    assert_eq!(problems("a = \nb = [1 2]\nc = 'x' 'y' 'z'\n[d\n").lines().count(), 4);
}

#[test]
fn a_column_counts_characters() {
    assert!(problems("application = 'w' # ä\n[process.'ä']").starts_with("copo.toml:2:10: "));
    assert!(
        problems("process = { 'äöü' = {}, b = 3 }").starts_with("copo.toml:1:29: "),
        "after three two-byte letters"
    );
}

proptest! {
    #[test]
    fn any_text_is_a_plan_or_problems(text in "(?s).{0,60}") {
        let _ = plan_of(&text);
    }

    /// Nearly right files reach further than arbitrary text.
    #[test]
    fn a_complete_file_with_a_hole_is_a_plan_or_problems(
        hole in any::<prop::sample::Index>(),
        length in 0_usize..12,
        filling in prop_oneof!["", "[\\[\\]{}=,.'\"\n0-9a-z]{0,6}", "(?s).{0,3}"],
    ) {
        let start = hole.index(COMPLETE.len());
        let end = (start + length).min(COMPLETE.len());
        let text = format!("{}{filling}{}", &COMPLETE[..start], &COMPLETE[end..]);
        if let Err(problems) = plan_of(&text) {
            prop_assert!(problems.lines().all(|line| line.starts_with("copo.toml:") && line.contains(": cannot ")), "{}", problems);
        }
    }
}
