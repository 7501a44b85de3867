//! Who gets in, who does not, and what they are told.

use super::*;

#[test]
fn a_person_is_welcomed_under_its_name_and_a_run_under_its_process() {
    with_app(|app| async move {
        let run = app.admit("secret", "station-1", false);

        let (_person, welcome) = app.hello(hello()).await;
        assert_eq!((welcome.internal_name.as_str(), welcome.run.as_str()), ("@cli", ""));
        assert_eq!((welcome.version, welcome.head, welcome.last_number), (VERSION, 0, 0));
        assert_eq!((welcome.log_id.len(), welcome.max_record), (16, MAX_RECORD as u64));
        assert!(welcome.window > 0 && welcome.window_bytes > 0);

        let (_alice, welcome) = app.hello(v1::Hello { name: "alice".into(), ..hello() }).await;
        assert_eq!(welcome.internal_name, "@alice");

        let (_run, welcome) = app.hello(v1::Hello { token: "secret".into(), name: "alice".into(), ..hello() }).await;
        assert_eq!((welcome.internal_name, welcome.run), ("station-1".to_owned(), run.to_string()));
    });
}

#[test]
fn a_hello_that_does_not_fit_is_refused_with_the_reason() {
    with_app(|app| async move {
        let refused = [
            (v1::Hello { token: "nobody's".into(), ..hello() }, ErrorCode::Unauthorized),
            (v1::Hello { min_version: 2, max_version: 9, ..hello() }, ErrorCode::Unsupported),
            (v1::Hello { min_version: 0, max_version: 0, ..hello() }, ErrorCode::Unsupported),
            (v1::Hello { client_id: vec![1; 15].into(), ..hello() }, ErrorCode::InvalidArgument),
            (v1::Hello { name: "../me".into(), ..hello() }, ErrorCode::InvalidArgument),
            (v1::Hello { name: "a b".into(), ..hello() }, ErrorCode::InvalidArgument),
        ];
        for (hello, code) in refused {
            let mut peer = app.connect().await;
            peer.write(&frame::to_vec(&hello)).await;
            assert_eq!(peer.ended().await, code, "{hello:?}");
        }
        app.hello(v1::Hello { min_version: 0, max_version: 7, ..hello() }).await;
    });
}

#[test]
fn garbage_ends_that_connection_alone() {
    with_app(|app| async move {
        let mut bystander = app.sender("", 1).await;
        let five_gib = [0x80, 0x80, 0x80, 0x80, 0x14];
        let first_frames: [(&[u8], ErrorCode); 4] = [
            (&[0xff; 64], ErrorCode::Malformed),
            (&five_gib, ErrorCode::TooLarge),
            (&[3, 0xff, 0xff, 0xff], ErrorCode::Malformed),
            // A Hello of more than 64 KiB is refused by its length.
            (&[0x81, 0x80, 0x04], ErrorCode::TooLarge),
        ];
        for (bytes, code) in first_frames {
            let mut peer = app.connect().await;
            peer.write(bytes).await;
            assert_eq!(peer.ended().await, code, "{bytes:?}");
        }
        for (bytes, code) in &first_frames[..3] {
            let mut peer = app.person().await;
            peer.write(bytes).await;
            assert_eq!(peer.ended().await, *code, "{bytes:?} after Hello");
        }
        let mut half = app.connect().await;
        half.write(&[100, 1, 2]).await;
        drop(half);
        assert_eq!(bystander.publish(1, b"still here").await, 1);
    });
}

#[test]
fn what_came_whole_before_the_garbage_counts() {
    with_app(|app| async move {
        let mut peer = app.sender("", 1).await;
        let mut bytes = sends(1, 3);
        bytes.extend([0xff; 12]);
        peer.write(&bytes).await;
        assert_eq!(peer.acked(3).await, 3);
        assert_eq!(peer.ended().await, ErrorCode::Malformed);
    });
}

#[test]
fn who_says_nothing_in_time_is_told_so() {
    let limits = Limits { hello: Duration::from_millis(50), ..Limits::default() };
    with(spec(), limits, |app| async move {
        let mut silent = app.connect().await;
        let mut slow = app.connect().await;
        slow.write(&frame::to_vec(&hello())[..3]).await;
        assert_eq!(silent.ended().await, ErrorCode::TimedOut);
        assert_eq!(slow.ended().await, ErrorCode::TimedOut);
        app.person().await;
    });
}

#[test]
fn beyond_the_limit_a_connection_is_refused_until_one_ends() {
    let limits = Limits { connections: 2, ..Limits::default() };
    with(spec(), limits, |app| async move {
        let first = app.person().await;
        let mut second = app.person().await;
        let mut third = app.connect().await;
        assert_eq!(third.ended().await, ErrorCode::Internal);
        drop(first);
        second.ask(request::Kind::Status(v1::Status {})).await;
        loop {
            let mut again = app.connect().await;
            again.write(&frame::to_vec(&hello())).await;
            if matches!(again.next().await, server_message::Kind::Welcome(_)) {
                return; // The place of the first one is free once its task has noticed.
            }
        }
    });
}

#[test]
fn a_client_id_belongs_to_whoever_came_with_it_first() {
    with_app(|app| async move {
        app.admit("a", "a-1", false);
        app.admit("b", "b-1", false);
        let mut a = app.sender("a", 1).await;
        let mut b = app.connect().await;
        b.write(&frame::to_vec(&v1::Hello { token: "b".into(), ..sending(1) })).await;
        assert_eq!(b.ended().await, ErrorCode::Conflict);
        assert_eq!(a.publish(1, b"mine").await, 1, "and is not taken from it");
    });
}

/// The kernel names the user of the thread that connects; the server admits its own and root.
#[cfg(target_os = "linux")]
#[test]
fn another_user_is_refused_before_it_has_said_anything() {
    use std::io::Read;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixStream;

    // SAFETY: geteuid takes nothing and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("ignored: only root can be another user");
        return;
    }
    with_app(|app| async move {
        let open = |path: &std::path::Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("ours");
        };
        assert_eq!(std::fs::metadata(&app.socket).expect("there").permissions().mode() & 0o777, 0o600);
        open(&app.socket, 0o666);
        open(app.socket.parent().expect("a folder"), 0o755);
        let socket = app.socket.clone();
        let said = tokio::task::spawn_blocking(move || {
            // SAFETY: the raw system call changes this thread's user alone (glibc's wrapper would change all), and the
            // thread ends with the runtime.
            assert_eq!(unsafe { libc::syscall(libc::SYS_setresuid, -1, 65534, -1) }, 0);
            let mut said = Vec::new();
            let mut stream = UnixStream::connect(socket).expect("the path is open");
            stream.read_to_end(&mut said).expect("a reason, then the end");
            // SAFETY: as above; the saved user is still root.
            assert_eq!(unsafe { libc::syscall(libc::SYS_setresuid, -1, 0, -1) }, 0);
            said
        });
        let said = said.await.expect("it could connect");
        let error = v1::ServerMessage::decode_length_delimited(&said[..]).expect("a frame").kind;
        let Some(server_message::Kind::Error(error)) = error else { panic!("no reason but {error:?}") };
        assert_eq!(error.code(), ErrorCode::Unauthorized);
        assert!(error.message.contains("65534"), "{error:?}");
    });
}

/// In a process of its own, since it uses all descriptors up.
#[cfg(target_os = "linux")]
#[test]
fn without_descriptors_the_server_waits_and_goes_on() {
    if !is_alone("admission::without_descriptors_the_server_waits_and_goes_on") {
        return;
    }
    set_limit(libc::RLIMIT_NOFILE, Some(128));
    with_app(|app| async move {
        let mut bystander = app.person().await;
        let mut used: Vec<_> = std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
        used.pop(); // One is left: the client's own end takes it, and the server has none for its end.
        let mut waiting = app.connect().await;
        waiting.write(&frame::to_vec(&hello())).await;
        for _ in 0..100 {
            assert!(matches!(bystander.ask(request::Kind::Status(v1::Status {})).await, response::Kind::Status(_)));
        }
        drop(used);
        assert!(matches!(waiting.next().await, server_message::Kind::Welcome(_)));
    });
}

#[cfg(unix)]
#[test]
fn a_socket_file_that_a_killed_orchestrator_left_is_replaced() {
    with_app(|app| async move {
        let stale = app.dir.path().join("stale");
        drop(std::os::unix::net::UnixListener::bind(&stale).expect("a socket"));
        assert!(stale.exists(), "a listener leaves its file behind");
        let listener = bind(&stale).expect("it is replaced");
        std::os::unix::net::UnixStream::connect(&stale).expect("and leads to the new one");
        drop(listener);
    });
}
