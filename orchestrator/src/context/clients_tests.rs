use super::*;

const ID: ClientId = [7; 16];
const HOUR: u64 = 3600 * 1_000_000;

fn joined() -> Clients {
    let mut clients = Clients::default();
    clients.join(&ID, "token", 1).expect("new");
    clients
}

fn taken(first_number: u64, first_seq: u64, count: u64) -> v1::Taken {
    v1::Taken { first_number, first_seq, count }
}

#[test]
fn numbers_are_taken_once_and_in_order() {
    let mut clients = joined();
    assert_eq!(clients.judge(&ID, 1), Judgement::Next);
    clients.took(&ID, taken(1, 10, 3), (Tag::Records, 1));
    clients.marked(&ID, 4, 1);
    clients.took(&ID, taken(5, 20, 1), (Tag::Reports, 1));
    assert_eq!(clients.judge(&ID, 3), Judgement::Taken(12));
    assert_eq!(clients.judge(&ID, 4), Judgement::Conflict);
    assert_eq!(clients.judge(&ID, 5), Judgement::Taken(20));
    assert_eq!(clients.judge(&ID, 6), Judgement::Next);
    assert!(matches!(clients.judge(&ID, 8), Judgement::Refused(v1::ErrorCode::Malformed, _)));
}

#[test]
fn after_a_failure_later_numbers_wait_for_the_failed_one() {
    let mut clients = joined();
    clients.fail(&ID, 1);
    assert_eq!(clients.judge(&ID, 2), Judgement::Ignored);
    assert_eq!(clients.judge(&ID, 1), Judgement::Next);
    clients.took(&ID, taken(1, 1, 1), (Tag::Records, 1));
    assert_eq!(clients.judge(&ID, 2), Judgement::Next);
}

#[test]
fn a_client_is_bound_and_expires_a_day_after_it_left() {
    let mut clients = joined();
    clients.took(&ID, taken(1, 1, 2), (Tag::Records, 1));
    assert_eq!(clients.join(&ID, "other", 2), Err(JoinError::NotBound));
    clients.leave(&ID, HOUR);
    let known = clients.join(&ID, "token", 25 * HOUR).expect("just in time");
    assert_eq!((known.last_number, known.taken), (2, vec![taken(1, 1, 2)]));
    clients.leave(&ID, 25 * HOUR);
    assert_eq!(clients.join(&ID, "token", 49 * HOUR + 1), Err(JoinError::Expired));
}

#[test]
fn an_unknown_client_that_goes_on_is_expired() {
    assert!(matches!(joined().judge(&ID, 5), Judgement::Refused(v1::ErrorCode::Expired, _)));
}

#[test]
fn an_entry_says_all_there_is_to_say() {
    let mut clients = joined();
    clients.took(&ID, taken(1, 10, 3), (Tag::Records, 1));
    clients.took(&ID, taken(4, 17, 2), (Tag::Records, 1));
    clients.leave(&ID, 5);
    let (last_number, left, bytes) = clients.entry(&ID).expect("known");
    let mut recovered = Clients::default();
    recovered.found_entry(&ID, last_number, left, &bytes, 1).expect("well formed");
    recovered.took(&ID, taken(1, 10, 3), (Tag::Records, 1)); // Its blocks are still there: nothing is doubled.
    recovered.took(&ID, taken(4, 17, 2), (Tag::Records, 1));
    recovered.recovered(9);
    let known = recovered.join(&ID, "token", 10).expect("known");
    assert_eq!((known.last_number, known.taken), (5, vec![taken(1, 10, 3), taken(4, 17, 2)]));
}

#[test]
fn only_the_newest_window_of_numbers_is_remembered() {
    let mut clients = joined();
    for i in 0..3 * u64::from(WINDOW) {
        clients.took(&ID, taken(i + 1, 2 * i + 1, 1), (Tag::Records, 1));
    }
    let known = clients.join(&ID, "token", 2).expect("known");
    assert_eq!(known.taken.len(), RANGES);
    assert_eq!(clients.judge(&ID, 1), Judgement::Taken(0));
}
