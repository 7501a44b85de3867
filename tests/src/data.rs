//! The application's data, as a client in the test process sees and sends it; and what the orchestrator costs.

use std::path::PathBuf;

use copo::{Client, Item, SubscribeOptions, Subscription, v1};

use crate::{App, eventually};

impl App {
    /// A client in this process, of a person of this name.
    #[track_caller]
    #[must_use]
    pub fn client(&self, name: &str) -> Client {
        client_at(&self.socket(), name)
    }

    /// A subscription of a person.
    #[track_caller]
    #[must_use]
    pub fn follow(&self, options: &SubscribeOptions) -> Subscription {
        self.client("reader").udd_subscribe(options).expect("the subscription is granted")
    }

    /// All that is readable now, from the first on.
    #[track_caller]
    #[must_use]
    pub fn items(&self) -> Vec<Item> {
        all_of(self.follow(&SubscribeOptions::default().from(copo::From::First).no_follow()))
    }

    /// The folder of the context's segments.
    #[must_use]
    pub fn segments(&self) -> PathBuf {
        self.state("orchestrator/context")
    }
}

/// A client of a person, by the socket's path.
#[track_caller]
#[must_use]
pub fn client_at(socket: &std::path::Path, name: &str) -> Client {
    Client::options().socket(socket.display().to_string()).name(name).connect().expect("the orchestrator answers")
}

/// What a bounded subscription brings to its end.
#[track_caller]
#[must_use]
pub fn all_of(subscription: Subscription) -> Vec<Item> {
    subscription.map(|item| item.expect("the subscription goes on to its end")).collect()
}

/// The records among the items.
#[must_use]
pub fn records(items: &[Item]) -> Vec<&v1::UddRecord> {
    items.iter().filter_map(record).collect()
}

fn record(item: &Item) -> Option<&v1::UddRecord> {
    match item {
        Item::Record(record) => Some(record),
        Item::Report(_) | Item::Gap(_) => None,
    }
}

/// The gaps among the items.
#[must_use]
pub fn gaps(items: &[Item]) -> Vec<&v1::Gap> {
    items.iter().filter_map(gap).collect()
}

fn gap(item: &Item) -> Option<&v1::Gap> {
    match item {
        Item::Gap(gap) => Some(gap),
        Item::Record(_) | Item::Report(_) => None,
    }
}

/// Memory of a process that no file stands behind, in bytes.
#[must_use]
pub fn memory_of(pid: u32) -> u64 {
    field(&format!("/proc/{pid}/status"), "RssAnon:") * 1024
}

/// How often the process's threads have gone to sleep until now: each time, something had woken them.
#[must_use]
pub fn wakeups_of(pid: u32) -> u64 {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the process is there");
    let of_thread = |thread: std::io::Result<std::fs::DirEntry>| {
        let status = thread.expect("the process is there").path().join("status");
        field(&status.display().to_string(), "voluntary_ctxt_switches:")
    };
    threads.map(of_thread).sum()
}

/// Waits until nothing wakes the process for a whole second; what is still under way may end before.
#[track_caller]
pub fn comes_to_rest(pid: u32) {
    eventually("nothing wakes it for a second", || {
        let before = wakeups_of(pid);
        std::thread::sleep(std::time::Duration::from_secs(1)); // What is measured is a second.
        wakeups_of(pid) == before
    });
}

fn field(path: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(path).expect("the process is there");
    let rest = text.lines().find_map(|line| line.strip_prefix(name)).expect("the kernel says it");
    rest.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
}
