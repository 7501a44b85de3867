//! A Client starts one thread at most. A program of its own: threads are counted here.
#![cfg(target_os = "linux")]

use copo::{From, Item, SubscribeOptions};
use copo_tests::{App, eventually};

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").expect("it is there").count()
}

#[test]
fn a_client_has_one_thread_at_most_and_a_subscription_none() {
    let app = App::new("[context]\nretain = { records = 10_000 }\n");
    app.up();
    let before = threads();
    let clients: Vec<_> = (0..4).map(|n| app.client(&format!("c{n}"))).collect();
    assert!(threads() <= before + clients.len(), "{} more for {} clients", threads() - before, clients.len());
    let mut subscriptions: Vec<_> = clients
        .iter()
        .map(|client| client.udd_subscribe(&SubscribeOptions::default().from(From::First)).expect("granted"))
        .collect();
    for (n, client) in clients.iter().enumerate() {
        (0..500).for_each(|_| client.udd_send(&[0; 1000]).expect("it is taken"));
        client.udd_send_key("last", n.to_string().as_bytes()).expect("it is taken");
        client.flush().expect("it is stored");
        client.on_window(Box::new(|_| {}));
        client.udd_get(None).expect("it is answered");
        assert!(!client.stop_requested().expect("a person is never asked"));
    }
    for subscription in &mut subscriptions {
        for _ in 0..100 {
            assert!(matches!(subscription.next(None), Ok(Item::Record(_))));
        }
    }
    let now = threads();
    assert!(now <= before + clients.len(), "{} more for {} clients", now - before, clients.len());
    drop((subscriptions, clients));
    eventually("the threads end with their clients", || threads() <= before);
}
