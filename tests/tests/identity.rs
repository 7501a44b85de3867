//! Who is let in, what they are taken for, and how long and how large a first word may be.
#![cfg(unix)]

use std::time::{Duration, Instant};

use copo_proto::v1::ErrorCode;
use copo_proto::{frame, v1};
use copo_tests::App;
use copo_tests::peer::Peer;

const RUNNING: &str = "[process.a]\nexecutable_path = \"{puppet}\"\nargs = [\"sleep\"]\n";

/// A uid that is nobody's on any usual machine.
#[cfg(target_os = "linux")]
const STRANGER: u32 = 64_777;

#[cfg(target_os = "linux")]
fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        eprintln!("skipped: only root can be another user");
    }
    is_root
}

/// Does something as another user: on Linux each thread has a uid of its own.
#[cfg(target_os = "linux")]
fn as_user<T: Send>(uid: u32, work: impl FnOnce() -> T + Send) -> T {
    let changed = move || {
        // SAFETY: takes three numbers; the raw call changes this thread alone, which ends with the work.
        let code = unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) };
        assert_eq!(code, 0, "root may be anybody");
        work()
    };
    std::thread::scope(|scope| scope.spawn(changed).join().expect("it ends well"))
}

#[cfg(target_os = "linux")]
fn open_for_all(app: &App) {
    use std::os::unix::fs::PermissionsExt;
    for path in [app.folder().to_owned(), app.home(), app.state(""), app.state("orchestrator")] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
    }
    std::fs::set_permissions(app.socket(), std::fs::Permissions::from_mode(0o666)).expect("it is ours");
}

#[cfg(target_os = "linux")]
#[test]
fn another_user_is_refused_by_the_kernels_word_even_where_the_path_is_open() {
    if !is_root() {
        return;
    }
    let app = App::new(RUNNING);
    app.up();
    let closed = as_user(STRANGER, || std::os::unix::net::UnixStream::connect(app.socket()).map(drop));
    assert_eq!(closed.expect_err("the path is closed").kind(), std::io::ErrorKind::PermissionDenied);
    open_for_all(&app);
    // It is asked who connects, before a byte is read: a valid Hello changes nothing.
    let heard = as_user(STRANGER, || {
        let mut peer = Peer::connect(&app.socket());
        let silent = peer.error();
        let hello = v1::Hello { min_version: 1, max_version: 1, name: "t".into(), ..v1::Hello::default() };
        let mut speaking = Peer::connect(&app.socket());
        let _ = std::io::Write::write_all(&mut speaking.stream, &frame::to_vec(&hello)); // It may be closed already.
        (silent, speaking.heard().len())
    });
    assert_eq!(heard.0, ErrorCode::Unauthorized);
    assert!(heard.1 <= 1, "nothing but the refusal");
    let start = Instant::now();
    app.client("t").udd_send_sync(b"root goes on").expect("it is taken");
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[cfg(target_os = "linux")]
#[test]
fn root_is_let_in_by_another_users_orchestrator() {
    use std::os::unix::process::CommandExt;
    if !is_root() {
        return;
    }
    let app = App::new("");
    for path in [app.folder().to_owned(), app.path("copo.toml")] {
        std::os::unix::fs::chown(path, Some(STRANGER), Some(STRANGER)).expect("root may");
    }
    let mut up = app.command(&["up", "-d"]);
    match up.uid(STRANGER).gid(STRANGER).output() {
        // The binary may lie where only its owner comes to.
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => return eprintln!("skipped: {error}"),
        output => assert!(output.expect("copo runs").status.success()),
    }
    app.copo(&["udd", "send", "from root"]).ok();
    assert_eq!(app.records()[0]["sent_by"], "@cli");
    let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(app.socket()).expect("it is there"));
    assert_eq!(owner, STRANGER);
    // To stop it is to be it, or root.
    app.down();
}

#[test]
fn a_first_word_has_five_seconds_and_64_kib() {
    let app = App::new("");
    app.up();
    let start = Instant::now();
    let mut silent = Peer::connect(&app.socket());
    let hello_of = |length: usize| {
        let hello = v1::Hello { min_version: 1, max_version: 1, sdk: "x".repeat(length), ..v1::Hello::default() };
        frame::to_vec(&hello)
    };
    let overhead = hello_of(65_000).len() - 65_000;
    let mut small = Peer::connect(&app.socket());
    small.say(&hello_of(64 * 1024 - overhead - 8));
    assert!(matches!(small.next(), Some(v1::server_message::Kind::Welcome(_))), "nearly 64 KiB are taken");
    let mut large = Peer::connect(&app.socket());
    let _ = std::io::Write::write_all(&mut large.stream, &hello_of(64 * 1024 + 1));
    assert_eq!(large.error(), ErrorCode::TooLarge);
    assert_eq!(silent.error(), ErrorCode::TimedOut);
    let waited = start.elapsed();
    assert!(waited >= Duration::from_millis(4900) && waited < Duration::from_secs(15), "{waited:?}");
}

#[test]
fn welcome_says_all_that_a_client_needs() {
    let app = App::new("[context]\nmax_record = \"1MiB\"\n");
    app.up();
    app.copo(&["udd", "send", "x"]).ok();
    let seq = app.records()[0]["seq"].as_u64().expect("a seq");
    let mut peer = Peer::connect(&app.socket());
    let welcome = peer.join(&[9; 16], "person");
    assert_eq!(welcome.version, 1);
    assert_eq!(welcome.log_id.len(), 16);
    assert!(welcome.head >= seq);
    assert_eq!((welcome.last_number, welcome.internal_name.as_str(), welcome.run.as_str()), (0, "@person", ""));
    assert_eq!(welcome.max_record, 1 << 20);
    assert!(welcome.window > 0);
}

#[test]
fn what_a_client_adds_to_a_send_never_reaches_a_reader() {
    let app = App::new("");
    app.up();
    let mut peer = Peer::connect(&app.socket());
    peer.join(&[5; 16], "honest");
    let send = v1::UddSend { number: 1, udd_buff: b"data".to_vec().into(), ..v1::UddSend::default() };
    let mut inner = copo_proto::Message::encode_to_vec(&send);
    // Fields of a record that a send does not have, under every number up to 15: a string each, "forged".
    for field in 6..16u8 {
        inner.extend([field << 3 | 2, 6]);
        inner.extend(b"forged");
    }
    // Request { kind: udd_send }: the arm's tag is found by what an honest one encodes to.
    let honest = v1::Request { id: 0, kind: Some(v1::request::Kind::UddSend(v1::UddSend::default())) };
    let mut request = copo_proto::Message::encode_to_vec(&honest);
    assert_eq!(request.pop(), Some(0), "an empty message ends the request");
    request.push(u8::try_from(inner.len()).expect("it is short"));
    request.extend(inner);
    let mut framed = vec![u8::try_from(request.len()).expect("it is short")];
    framed.extend(request);
    peer.say(&framed);
    assert_eq!(peer.acked().0, 1);
    let records = app.records();
    assert_eq!((&records[0]["sent_by"], &records[0]["udd_buff"]), (&"@honest".into(), &"data".into()));
    let segment = std::fs::read(app.segments().join("records-000000000001")).expect("it is there");
    assert!(!segment.windows(6).any(|bytes| bytes == b"forged"), "it lies in the log");
}

#[test]
fn a_token_speaks_for_its_run_whoever_holds_it() {
    // The shell's child is not the process that was started, and this test is not even of its group.
    let app = App::new(
        "[process.a]\nexecutable_path = \"sh\"\nargs = [\"-c\", \"(copo udd send --key by child); echo $COPO_TOKEN; sleep 600\"]\n",
    );
    app.up();
    copo_tests::eventually("it has said its token", || !app.log("a-1").is_empty());
    let token = app.log("a-1")[0].clone();
    let socket = app.socket().display().to_string();
    let client = copo::Client::options().socket(socket).token(&token).connect().expect("it is let in");
    client.udd_send_key_sync("by", b"stranger").expect("it is taken");
    assert!(app.records().iter().all(|record| record["sent_by"] == "a-1"), "{:?}", app.records());
    assert_eq!(app.records().len(), 2);
}
