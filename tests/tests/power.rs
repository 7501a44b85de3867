//! With durability `power`, whoever learns of a record learns it after the disk has it.
//!
//! The kernel says which pages of a file are not on its disk (cachestat(2), Linux 6.5). Where it does not, or where it sees
//! nothing of a log that is not synced (a file system in memory), there is nothing to be seen here either.
#![cfg(target_os = "linux")]

use std::fs::File;
use std::os::fd::AsRawFd;

use copo::{Client, From, Item, SubscribeOptions};
use copo_tests::App;

/// On all machines the same (asm-generic/unistd.h); not in `libc` for all of them.
const CACHESTAT: libc::c_long = 451;

/// As often the disk is looked at: a sync that comes too late is seen by most of them.
const TIMES: u32 = 100;

/// struct cachestat of linux/mman.h.
#[repr(C)]
#[derive(Default)]
struct Pages {
    cached: u64,
    dirty: u64,
    under_way: u64,
    evicted: u64,
    recently_evicted: u64,
}

/// How many pages of this file are not on the disk; `None` where the kernel does not say.
fn unsynced(file: &File) -> Option<u64> {
    let (range, mut pages) = ([0_u64; 2], Pages::default());
    // SAFETY: the kernel reads a range of two numbers (no length: to the end) and writes five; both live across the call.
    let code = unsafe { libc::syscall(CACHESTAT, file.as_raw_fd(), range.as_ptr(), &raw mut pages, 0) };
    (code == 0).then_some(pages.dirty + pages.under_way)
}

/// An application with a log, its first segment, and a client.
fn with_durability(durability: &str) -> (App, File, Client) {
    let app = App::new(&format!("[context]\ndurability = \"{durability}\"\n"));
    app.up();
    let client = app.client("t");
    client.udd_send_sync(b"first").expect("it is taken");
    let segment = File::open(app.segments().join("records-000000000001")).expect("it is there");
    (app, segment, client)
}

/// Can it be seen here that a log is not synced?
fn can_be_seen() -> bool {
    let (_app, segment, client) = with_durability("crash");
    let seen = (0..TIMES).any(|_| {
        client.udd_send_sync(b"x").expect("it is taken");
        unsynced(&segment).is_some_and(|pages| pages > 0)
    });
    if !seen {
        eprintln!("skipped: the kernel does not tell of this file system what is on the disk");
    }
    seen
}

#[test]
fn with_power_an_acknowledgement_a_reader_and_a_get_come_after_the_sync() {
    if !can_be_seen() {
        return;
    }
    let (app, segment, client) = with_durability("power");
    let on_disk = |who: &str, n: u32| assert_eq!(unsynced(&segment), Some(0), "{who} {n} came before the sync");
    let mut reader = app.follow(&SubscribeOptions::default().from(From::New));
    let asking = app.client("asking");
    for n in 0..TIMES {
        // One record at a time, so that what is not on the disk is that one.
        client.udd_send_sync(format!("acknowledged {n}").as_bytes()).expect("it is taken");
        on_disk("acknowledgement", n);
        assert!(matches!(reader.next(None), Ok(Item::Record(_))));

        client.udd_send(format!("read {n}").as_bytes()).expect("it is accepted");
        assert!(matches!(reader.next(None), Ok(Item::Record(record)) if record.udd_buff == format!("read {n}")));
        on_disk("reader", n);
        client.flush().expect("it is stored");

        let wanted = format!("got {n}");
        client.udd_send(wanted.as_bytes()).expect("it is accepted");
        while asking.udd_get(None).expect("it is answered").is_none_or(|record| record.udd_buff != wanted) {}
        on_disk("get", n);
        client.flush().expect("it is stored");
        assert!(matches!(reader.next(None), Ok(Item::Record(_))));
    }
}
