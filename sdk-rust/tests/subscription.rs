//! Subscriptions against a stand-in orchestrator.
#![cfg(unix)]

mod orchestrator;

use std::time::{Duration, Instant};

use copo::v1::server_message::Kind;
use copo::v1::{self, ErrorCode, gap, subscribe};
use copo::{From, Item, SubscribeOptions};
use orchestrator::{Behaviour, Orchestrator, SOON};

fn data(item: copo::Result<Item>) -> Vec<u8> {
    match item.expect("an item") {
        Item::Record(record) => record.udd_buff.to_vec(),
        Item::Report(report) => report.report_buff.to_vec(),
        Item::Gap(gap) => panic!("{gap:?}"),
    }
}

fn code(result: copo::Result<Item>) -> ErrorCode {
    result.expect_err("an error").code()
}

fn first() -> SubscribeOptions {
    SubscribeOptions::default().from(From::First)
}

#[test]
fn records_and_reports_come_in_order_and_a_timeout_is_no_end() {
    let orchestrator = Orchestrator::start();
    let client = orchestrator.client();
    orchestrator.append(b"a");
    let mut subscription = client.udd_subscribe(&first().records(true).reports(true)).expect("subscribed");
    assert_eq!((subscription.head(), subscription.log_id()), (1, vec![1; 16]));
    assert_eq!(data(subscription.next(Some(SOON))), b"a");
    let begun = Instant::now();
    assert_eq!(code(subscription.next(Some(Duration::from_millis(30)))), ErrorCode::TimedOut);
    assert!(begun.elapsed() >= Duration::from_millis(30));
    assert_eq!(subscription.try_next(), Ok(None));
    client.meta_report_sync(b"r").expect("stored");
    let Ok(Item::Report(report)) = subscription.next(Some(SOON)) else { panic!("no report") };
    assert_eq!((report.seq, report.sent_by.as_str()), (2, "@test"));
}

#[test]
fn many_records_come_whole_whatever_their_size() {
    let orchestrator = Orchestrator::start();
    let sizes: Vec<usize> = (0..400).map(|n| if n % 40 == 0 { 300_000 + n } else { n * 7 % 500 }).collect();
    for size in &sizes {
        orchestrator.append(&vec![*size as u8; *size]);
    }
    let subscription = orchestrator.client().udd_subscribe(&first().no_follow()).expect("subscribed");
    let got: Vec<usize> = subscription.map(|item| data(item).len()).collect();
    assert_eq!(got, sizes);
}

#[test]
fn what_is_borrowed_is_what_is_owned() {
    let orchestrator = Orchestrator::start();
    let client = orchestrator.client();
    for n in 0..300usize {
        let size = if n % 50 == 0 { 200_000 + n } else { n };
        client.udd_send_key(if n % 2 == 0 { "" } else { "a/b" }, &vec![n as u8; size]).expect("sent");
        if n % 100 == 7 {
            client.meta_report(b"report").expect("sent");
        }
    }
    client.flush().expect("flushed");
    let gap = v1::Gap { cause: gap::Cause::Trimmed.into(), first: 1, last: 1, log_id: vec![1; 16].into() };
    orchestrator.state().before = vec![Kind::Gap(gap.clone()); 2];
    let options = first().records(true).reports(true).no_follow();
    let mut borrowing = client.udd_subscribe(&options).expect("subscribed");
    let mut got = Vec::new();
    // As it is meant to be used: waits for one, then takes what came with it.
    while let Ok(item) = borrowing.next_ref(Some(SOON)) {
        got.push(item.into_owned());
        while let Some(item) = borrowing.buffered_ref() {
            got.push(item.into_owned());
        }
    }
    assert_eq!(code(borrowing.next(None)), ErrorCode::End);
    orchestrator.state().before = vec![Kind::Gap(gap); 2];
    let owned: Vec<Item> =
        client.udd_subscribe(&options).expect("subscribed").map(|item| item.expect("an item")).collect();
    assert_eq!(got, owned);
    assert_eq!(got.len(), 305);
}

#[test]
fn an_ended_subscription_stays_ended() {
    let orchestrator = Orchestrator::start();
    orchestrator.append(b"a");
    let mut subscription = orchestrator.client().udd_subscribe(&first().no_follow()).expect("subscribed");
    assert_eq!(data(subscription.next(None)), b"a");
    assert_eq!(code(subscription.next(None)), ErrorCode::End);
    assert_eq!(code(subscription.next(None)), ErrorCode::End);
    assert_eq!(subscription.count(), 0);
}

#[test]
fn it_goes_on_from_its_place_when_the_orchestrator_is_back() {
    let mut orchestrator = Orchestrator::start();
    let client = orchestrator.client();
    orchestrator.append(b"a");
    let mut from_new = client.udd_subscribe(&SubscribeOptions::default()).expect("subscribed");
    let mut from_first = client.udd_subscribe(&first()).expect("subscribed");
    assert_eq!(data(from_first.next(Some(SOON))), b"a");
    orchestrator.stop();
    assert_eq!(code(from_new.next(Some(Duration::from_millis(30)))), ErrorCode::TimedOut);
    orchestrator.append(b"b");
    orchestrator.listen();
    assert_eq!(data(from_new.next(Some(SOON))), b"b");
    assert_eq!(data(from_first.next(Some(SOON))), b"b");
    let state = orchestrator.state();
    let last = state.subscribes.last().expect("asked");
    assert_eq!((last.from, &last.log_id[..]), (Some(subscribe::From::Seq(2)), &[1; 16][..]));
}

#[test]
fn a_replaced_log_is_told_and_read_from_its_first() {
    let mut orchestrator = Orchestrator::start();
    let client = orchestrator.client();
    orchestrator.append(b"a");
    let mut subscription = client.udd_subscribe(&first()).expect("subscribed");
    assert_eq!(data(subscription.next(Some(SOON))), b"a");
    orchestrator.stop();
    orchestrator.replace_log();
    orchestrator.append(b"new");
    orchestrator.listen();
    let Ok(Item::Gap(gap)) = subscription.next(Some(SOON)) else { panic!("no gap") };
    assert_eq!(gap.cause(), gap::Cause::LogReplaced);
    assert_eq!(subscription.log_id(), vec![2; 16]);
    assert_eq!(data(subscription.next(Some(SOON))), b"new");
}

#[test]
fn a_gap_is_handed_out_and_passed() {
    let orchestrator = Orchestrator::start();
    let trimmed = v1::Gap { cause: gap::Cause::Trimmed.into(), first: 1, last: 5, log_id: vec![1; 16].into() };
    orchestrator.state().before.push(Kind::Gap(trimmed.clone()));
    let mut subscription = orchestrator.client().udd_subscribe(&first()).expect("subscribed");
    assert_eq!(subscription.next(Some(SOON)), Ok(Item::Gap(trimmed)));
    orchestrator.cut();
    assert_eq!(code(subscription.next(Some(Duration::from_millis(300)))), ErrorCode::TimedOut);
    let from = orchestrator.state().subscribes.last().and_then(|asked| asked.from);
    assert_eq!(from, Some(subscribe::From::Seq(6)));
}

#[test]
fn without_reconnecting_a_lost_connection_ends_it() {
    let orchestrator = Orchestrator::start();
    let mut subscription = orchestrator.client().udd_subscribe(&first().no_reconnect()).expect("subscribed");
    orchestrator.cut();
    assert_eq!(code(subscription.next(Some(SOON))), ErrorCode::Closed);
    assert_eq!(code(subscription.next(None)), ErrorCode::Closed);
}

#[test]
fn garbage_costs_the_connection_and_nothing_else() {
    let orchestrator = Orchestrator::start();
    orchestrator.append(b"a");
    let mut subscription = orchestrator.client().udd_subscribe(&first()).expect("subscribed");
    assert_eq!(data(subscription.next(Some(SOON))), b"a");
    // A record whose key is no UTF-8.
    let mut record = v1::UddRecord { seq: 2, key: "kk".into(), ..v1::UddRecord::default() };
    // SAFETY: the string is only encoded, which does not look at what its bytes mean.
    unsafe { record.key.as_bytes_mut().fill(0xff) };
    orchestrator.say_to_subscribers(&Kind::Record(record));
    orchestrator.until("connected anew", |state| state.subscribes.len() == 1);
    orchestrator.append(b"b");
    assert_eq!(data(subscription.next(Some(SOON))), b"b");
    assert_eq!(orchestrator.state().subscribes.len(), 2);
}

#[test]
fn it_ends_when_the_run_is_asked_to_stop() {
    let orchestrator = Orchestrator::start();
    let client = orchestrator.options().token("secret").connect().expect("connected");
    let mut subscription = client.udd_subscribe(&first()).expect("subscribed");
    orchestrator.until("subscribed", |_| true);
    assert_eq!(orchestrator.subscribers(), 1);
    orchestrator.request_stop();
    assert_eq!(code(subscription.next(Some(SOON))), ErrorCode::Stopping);
    assert_eq!(subscription.count(), 0);
}

#[test]
fn a_stopper_ends_a_blocked_next_connected_or_not() {
    let mut orchestrator = Orchestrator::start();
    for away in [false, true] {
        let mut subscription = orchestrator.client().udd_subscribe(&first()).expect("subscribed");
        if away {
            orchestrator.stop();
        }
        let stopper = subscription.stopper();
        let blocked = std::thread::spawn(move || subscription.next(None));
        stopper.stop();
        assert_eq!(code(blocked.join().expect("no panic")), ErrorCode::Closed);
    }
}

#[test]
fn what_is_refused_fails_at_once() {
    let orchestrator = Orchestrator::start();
    let client = orchestrator.client();
    let wrong = client.udd_subscribe(&first().key_pattern("a//b"));
    assert_eq!(wrong.expect_err("refused").code(), ErrorCode::InvalidKey);
    orchestrator.set(|behaviour| *behaviour = Behaviour { refuse: Some(ErrorCode::Forbidden), ..Behaviour::default() });
    assert_eq!(client.udd_subscribe(&first()).expect_err("refused").code(), ErrorCode::Forbidden);
}
