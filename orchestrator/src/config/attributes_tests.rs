use super::*;

#[derive(Debug, Deserialize)]
struct Table {
    user: Option<At<RawAccount>>,
    umask: Option<At<RawMode>>,
    nice: Option<At<i64>>,
    #[serde(default)]
    limits: Entries<At<RawLimit>>,
    memory: Option<At<RawSize>>,
    cpu: Option<At<f64>>,
}

/// What is read, and what is said about it.
fn read(text: &str) -> (Attributes, Vec<String>) {
    let Table { user, umask, nice, limits, memory, cpu } = toml::from_str(text).expect("the right shape");
    let raw = RawAttributes { user, group: None, umask, nice, limits, memory, cpu };
    let mut said = Vec::new();
    let read = attributes(raw, |key, _, why| said.push(format!("{key}: {why}")));
    (read, said)
}

#[cfg(unix)]
#[test]
fn what_is_written_is_read() {
    let text = "user = 'www-data'\numask = '027'\nnice = -5\nmemory = '512MiB'\ncpu = 0.5\n\
                limits = { nofile = 1024, core = 'infinity', as = '1GiB', cpu = '2m', nproc = { soft = 5, hard = 9 } }";
    let both = |resource, limit| Limit { resource, soft: limit, hard: limit };
    let expected = Attributes {
        user: Some(Account::Name("www-data".into())),
        group: None,
        umask: Some(0o27),
        nice: Some(-5),
        limits: vec![
            both(Resource::As, Some(1 << 30)),
            both(Resource::Core, None),
            both(Resource::Cpu, Some(120)),
            both(Resource::Nofile, Some(1024)),
            Limit { resource: Resource::Nproc, soft: Some(5), hard: Some(9) },
        ],
        memory: Some(512 << 20),
        cpu: Some(0.5),
    };
    assert_eq!(read(text), (expected, Vec::new()));
    assert_eq!(read("umask = 0o77").0.umask, Some(0o77));
    for user in ["user = 33", "user = '33'"] {
        assert_eq!(read(user).0.user, Some(Account::Id(33)), "{user}");
    }
    let open = Limit { resource: Resource::Stack, soft: Some(1), hard: None };
    assert_eq!(read("limits.stack = { soft = 1, hard = 'unlimited' }").0.limits, [open]);
}

#[cfg(unix)]
#[test]
fn what_makes_no_sense_is_said() {
    for (text, told) in [
        ("nice = 20", "nice: 20 is not from -20 to 19"),
        ("memory = 10", "memory: no program runs in less than 64KiB"),
        ("cpu = 0.0", "cpu: 0 is not from 0.01 to 10000 processors"),
        ("limits.nofiles = 1", "limits.nofiles: there is no limit of this name here; did you mean \"nofile\"?"),
        ("limits.nofile = '1GiB'", "limits.nofile: \"1GiB\" is neither a number nor \"infinity\""),
        ("limits.as = { soft = 2, hard = 1 }", "limits.as: soft is more than hard"),
        ("limits.as = { soft = 'infinity', hard = 1 }", "limits.as: soft is more than hard"),
        ("limits.as = {}", "limits.as: it needs soft, hard, or both"),
        (
            "limits.as = 'much'",
            "limits.as: \"much\" is no size: it is a number and B, KiB, MiB, GiB or TiB, such as \"10KiB\" or \"256MiB\"",
        ),
    ] {
        assert_eq!(read(text).1, [told], "{text}");
    }
    for text in
        ["umask = '8'", "umask = 0o1000", "umask = '+7'", "user = -1", "user = ''", "user = 'a:b'", "user = 4294967295"]
    {
        assert!(toml::from_str::<Table>(text).is_err(), "{text}");
    }
}

#[cfg(windows)]
#[test]
fn what_windows_does_not_have_is_refused() {
    let (_, said) = read("user = 'x'\nnice = 1\nmemory = '1GiB'");
    assert_eq!(said, ["user: Windows has nothing like it", "nice: Windows has nothing like it"]);
}
