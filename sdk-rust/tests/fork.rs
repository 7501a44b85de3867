//! What a handle does in a forked child.
#![cfg(unix)]

mod orchestrator;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use copo::{From, Item, SubscribeOptions};
use orchestrator::{Orchestrator, SOON};

/// Runs `child` in a forked child; the returned closure waits for it and says whether it went well.
fn fork(child: impl FnOnce()) -> impl FnOnce() -> bool {
    // SAFETY: the child runs only `child` and leaves by _exit, so it neither unwinds into the test harness nor runs
    // what the parent would run at its end; libc keeps its allocator usable in it.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "cannot fork");
    if pid == 0 {
        let went_well = catch_unwind(AssertUnwindSafe(child)).is_ok();
        // SAFETY: it does not return.
        unsafe {
            libc::alarm(0);
            libc::_exit(if went_well { 0 } else { 1 });
        }
    }
    move || {
        let mut status = 0;
        // SAFETY: status lives across the call; the child is ours and waited for once.
        unsafe {
            libc::waitpid(pid, &raw mut status, 0) == pid && libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
        }
    }
}

/// A child that hangs is killed by its own alarm, which the parent sees.
fn limit_time() {
    // SAFETY: it has no precondition.
    unsafe { libc::alarm(20) };
}

#[test]
fn a_child_sends_as_a_client_of_its_own() {
    let orchestrator = Orchestrator::start();
    let client = orchestrator.client();
    client.udd_send_sync(b"before").expect("stored");
    let child = fork(|| {
        limit_time();
        client.udd_send(b"child, pipelined").expect("sent");
        client.udd_send_sync(b"child").expect("stored");
        client.clone().close().expect("closed");
    });
    assert!(child());
    client.udd_send_sync(b"parent").expect("the parent's connection is untouched");
    assert_eq!(orchestrator.data(), [&b"before"[..], b"child, pipelined", b"child", b"parent"]);
    let state = orchestrator.state();
    assert_eq!(state.hellos.len(), 2);
    assert_ne!(state.hellos[0].client_id, state.hellos[1].client_id);
    assert!(state.clients.values().all(|known| known.last_number == 2));
}

#[test]
fn a_fork_amid_sends_hangs_no_child_and_doubles_nothing() {
    let orchestrator = Orchestrator::start();
    let client = orchestrator.client();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let busy = scope.spawn(|| {
            let mut count = 0;
            while !is_over.load(Ordering::Relaxed) {
                client.udd_send(b"parent").expect("sent");
                count += 1;
            }
            count
        });
        for _ in 0..20 {
            let child = fork(|| {
                limit_time();
                client.udd_send(b"child").expect("sent");
                client.flush().expect("flushed");
            });
            assert!(child());
        }
        is_over.store(true, Ordering::Relaxed);
        let sent = busy.join().expect("no panic");
        client.flush().expect("flushed");
        let data = orchestrator.data();
        assert_eq!(data.iter().filter(|data| data[..] == *b"child").count(), 20);
        assert_eq!(data.iter().filter(|data| data[..] == *b"parent").count(), sent);
    });
}

#[test]
fn a_child_that_only_drops_the_handle_disturbs_nobody() {
    let orchestrator = Orchestrator::start();
    let client = orchestrator.client();
    client.udd_send(b"a").expect("sent");
    let mut client = Some(client);
    let child = fork(|| {
        limit_time();
        drop(client.take());
    });
    assert!(child());
    let client = client.expect("still the parent's");
    client.udd_send_sync(b"b").expect("stored");
    assert_eq!(orchestrator.data(), [b"a", b"b"]);
    assert_eq!(orchestrator.state().hellos.len(), 1);
}

#[test]
fn a_subscription_goes_on_in_both() {
    let orchestrator = Orchestrator::start();
    let client = orchestrator.client();
    let mut subscription = client.udd_subscribe(&SubscribeOptions::default().from(From::First)).expect("subscribed");
    for n in 0..3u8 {
        orchestrator.append(&[n]);
    }
    let mut data = || match subscription.next(Some(SOON)).expect("an item") {
        Item::Record(record) => record.udd_buff[0],
        other => panic!("{other:?}"),
    };
    assert_eq!(data(), 0);
    let child = fork(|| {
        limit_time();
        assert_eq!((data(), data()), (1, 2));
    });
    assert!(child());
    assert_eq!((data(), data()), (1, 2));
}
