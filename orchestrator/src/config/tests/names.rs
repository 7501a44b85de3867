//! Groups, secrets and ports that cannot be, word for word.

use super::errors::problems_of;

#[test]
fn secrets_and_ports_that_cannot_be() {
    for (lines, told) in [
        ("secrets = ['A', 'A']", "4:17: cannot use process.a.secrets: \"A\" stands there already"),
        ("secrets = ['A=B']", "4:12: cannot use process.a.secrets: \"A=B\" is no name of a variable"),
        ("secrets = ['COPO_RUN']", "4:12: cannot use process.a.secrets: copo itself sets COPO_RUN for every run"),
        ("secret_file = { A = '' }", "4:21: cannot use process.a.secret_file.A: it is empty"),
        ("env = { A = 'x' }\nsecret_file = { A = 'x' }", "5:17: cannot use process.a.secret_file.A: env sets it too"),
        ("env = { PORT = '1' }\nport = true", "5:8: cannot use process.a.port: PORT is set by another key too"),
        (
            "port = { base = 0 }",
            "4:8: cannot use process.a.port.base: 0 is no port; without base it is any that is free",
        ),
        (
            "port = 65536",
            "4:8: cannot use process.a.port: invalid value: integer `65536`, expected true, a number from 1 to 65535, or a table { env, base }",
        ),
        // The value of a secret is not repeated, whatever is wrong with it.
        (
            "env = { A = 1234 }\nsecrets = ['A']",
            "4:13: cannot use process.a.env.A: a string is expected; what stands there is a secret",
        ),
    ] {
        assert_eq!(problems_of(lines), format!("copo.toml:{told}"));
    }
}

#[test]
fn groups_that_cannot_be() {
    for (lines, told) in [
        ("groups = ['b', 'b']", "4:16: cannot use process.a.groups: \"b\" stands there already"),
        ("groups = 'b'", "4:10: cannot use process.a.groups: invalid type: string \"b\", expected an array"),
    ] {
        assert_eq!(problems_of(lines), format!("copo.toml:{told}"));
    }
    assert!(problems_of("groups = ['@b']").starts_with("copo.toml:4:11: cannot use process.a.groups: \"@b\": "));
}
