//! A stand-in for the orchestrator: small enough to be read, obedient enough to lose, refuse and garble on demand.

#![allow(dead_code)] // Each test binary uses its part.

mod requests;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use copo::v1::server_message::Kind;
use copo::v1::{self, ErrorCode, Hello, Request, ServerMessage, UddRecord, Welcome, request};
use copo_proto::{Message, frame};

/// How long a test waits for what must come.
pub const SOON: Duration = Duration::from_secs(10);

/// What the stand-in does otherwise than an orchestrator would.
#[derive(Debug, Clone, Default)]
pub struct Behaviour {
    /// Takes sends, but says nothing about it.
    pub is_silent: bool,
    /// Has no room.
    pub is_full: bool,
    /// Fails inside at every send.
    pub is_broken: bool,
    /// The run has ended.
    pub is_fenced: bool,
    /// Answers every Hello so.
    pub refuse: Option<ErrorCode>,
    /// Answers every send with these bytes.
    pub garbage: Option<Vec<u8>>,
    /// Closes the connection once it has taken so many sends more.
    pub cut_after: Option<u64>,
    /// Does not answer requests.
    pub is_deaf: bool,
    pub window: Option<(u32, u64)>,
}

#[derive(Debug, Default)]
pub struct Known {
    pub last_number: u64,
    /// Number, Seq.
    pub taken: Vec<(u64, u64)>,
}

#[derive(Default)]
pub struct State {
    pub behaviour: Behaviour,
    pub log_id: u8,
    /// What was appended: record, whether it is a report.
    pub log: Vec<(UddRecord, bool)>,
    pub clients: HashMap<Vec<u8>, Known>,
    /// Every Hello, in order.
    pub hellos: Vec<Hello>,
    /// Every request that is no send, in order.
    pub requests: Vec<request::Kind>,
    /// Numbers of sends as they came, doubles included.
    pub numbers: Vec<u64>,
    pub subscribes: Vec<v1::Subscribe>,
    /// Frames to put before the records of the next subscription.
    pub before: Vec<Kind>,
    connections: Vec<UnixStream>,
    watchers: Vec<UnixStream>,
    subscribers: Vec<(UnixStream, bool)>,
    refused: Vec<UnixStream>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

pub struct Orchestrator {
    dir: tempfile::TempDir,
    shared: Arc<Shared>,
    listener: Option<UnixListener>,
}

impl Orchestrator {
    pub fn start() -> Self {
        Self::start_with(Behaviour::default())
    }

    pub fn start_with(behaviour: Behaviour) -> Self {
        let state = State { behaviour, log_id: 1, ..State::default() };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let mut orchestrator = Self { dir: tempfile::tempdir().expect("a folder"), shared, listener: None };
        orchestrator.listen();
        orchestrator
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("sock")
    }

    pub fn options(&self) -> copo::ConnectOptions {
        copo::Client::options().socket(self.path().to_str().expect("a path")).name("test")
    }

    pub fn client(&self) -> copo::Client {
        self.options().connect().expect("connected")
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().expect("no panic in the stand-in")
    }

    pub fn set(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.state().behaviour);
    }

    /// Waits until the state is so.
    pub fn until(&self, what: &str, mut holds: impl FnMut(&State) -> bool) {
        let (_state, waited) = self
            .shared
            .changed
            .wait_timeout_while(self.state(), SOON, |state| !holds(state))
            .expect("no panic in the stand-in");
        assert!(!waited.timed_out(), "did not come to be: {what}");
    }

    pub fn data(&self) -> Vec<Vec<u8>> {
        self.state().log.iter().map(|(record, _)| record.udd_buff.to_vec()).collect()
    }

    /// Closes every connection; the log and the clients stay known.
    pub fn cut(&self) {
        let mut state = self.state();
        state.watchers.clear();
        state.subscribers.clear();
        state.refused.clear();
        state.connections.drain(..).for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
    }

    /// As if it had been killed.
    pub fn stop(&mut self) {
        if let Some(listener) = self.listener.take() {
            std::fs::remove_file(self.path()).expect("removed");
            // The accepting thread holds a copy, which a connection of ours ends.
            drop(listener);
        }
        self.cut();
    }

    pub fn listen(&mut self) {
        let listener = UnixListener::bind(self.path()).expect("bound");
        self.listener = Some(listener.try_clone().expect("cloned"));
        let shared = Arc::clone(&self.shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || serve(&shared, stream));
            }
        });
    }

    /// Another log, in which nobody is known.
    pub fn replace_log(&self) {
        let mut state = self.state();
        state.log_id += 1;
        state.log.clear();
        state.clients.clear();
    }

    pub fn request_stop(&self) {
        let mut state = self.state();
        for mut stream in std::mem::take(&mut state.watchers) {
            say(&mut stream, Kind::StopRequested(v1::StopRequested { grace_ms: 1000 }));
        }
        for (mut stream, _) in std::mem::take(&mut state.subscribers) {
            say(&mut stream, Kind::End(v1::End { code: ErrorCode::Stopping.into() }));
        }
    }

    /// There is room again.
    pub fn make_room(&self) {
        let mut state = self.state();
        state.behaviour.is_full = false;
        for mut stream in std::mem::take(&mut state.refused) {
            say(&mut stream, Kind::Resume(v1::Resume {}));
        }
    }

    /// Appends a record of its own.
    pub fn append(&self, data: &[u8]) -> u64 {
        let seq = append(&mut self.state(), "orchestrator", "", data, false);
        self.shared.changed.notify_all();
        seq
    }

    pub fn say_to_subscribers(&self, kind: &Kind) {
        for (stream, _) in &mut self.state().subscribers {
            say(stream, kind.clone());
        }
    }

    pub fn subscribers(&self) -> usize {
        self.state().subscribers.len()
    }
}

fn say(stream: &mut UnixStream, kind: Kind) {
    let _ = stream.write_all(&frame::to_vec(&ServerMessage { kind: Some(kind) }));
}

fn append(state: &mut State, by: &str, key: &str, data: &[u8], is_report: bool) -> u64 {
    let seq = state.log.len() as u64 + 1;
    let record = UddRecord { seq, sent_time: seq, sent_by: by.into(), key: key.into(), udd_buff: data.to_vec().into() };
    state.log.push((record.clone(), is_report));
    for (stream, reports) in &mut state.subscribers {
        say(stream, message(&record, is_report, *reports));
    }
    seq
}

fn message(record: &UddRecord, is_report: bool, _reports: bool) -> Kind {
    if is_report {
        Kind::Report(v1::MetaReport {
            seq: record.seq,
            report_time: record.sent_time,
            sent_by: record.sent_by.clone(),
            report_buff: record.udd_buff.clone(),
            facts: None,
        })
    } else {
        Kind::Record(record.clone())
    }
}

/// One connection, from Hello to its end.
fn serve(shared: &Shared, mut stream: UnixStream) {
    let mut decoder = frame::Decoder::new(1 << 27);
    let Some(hello) = next(&mut stream, &mut decoder).and_then(|bytes| Hello::decode(bytes).ok()) else { return };
    let id = hello.client_id.to_vec();
    {
        let mut state = shared.state.lock().expect("state");
        state.hellos.push(hello.clone());
        if let Some(code) = state.behaviour.refuse {
            say(&mut stream, Kind::Error(v1::Error { code: code.into(), message: "cannot admit".into() }));
            shared.changed.notify_all();
            return;
        }
        let welcome = welcome(&mut state, &hello);
        state.connections.push(stream.try_clone().expect("cloned"));
        say(&mut stream, Kind::Welcome(welcome));
    }
    shared.changed.notify_all();
    let mut refusing = false;
    while let Some(bytes) = next(&mut stream, &mut decoder) {
        let request = Request::decode(bytes).expect("a request");
        let mut state = shared.state.lock().expect("state");
        let goes_on = match request.kind.expect("a kind this stand-in knows") {
            request::Kind::UddSend(send) => {
                let udd = (send.key.as_str(), &send.udd_buff[..], false);
                take(&mut state, &mut stream, (&id, &hello), send.number, udd, &mut refusing, send.expect_seq)
            }
            request::Kind::MetaSend(send) => {
                let meta = ("", &send.report_buff[..], true);
                take(&mut state, &mut stream, (&id, &hello), send.number, meta, &mut refusing, None)
            }
            kind => requests::answer(&mut state, &mut stream, request.id, kind),
        };
        drop(state);
        shared.changed.notify_all();
        if !goes_on {
            let _ = stream.shutdown(Shutdown::Both);
            return;
        }
    }
}

fn welcome(state: &mut State, hello: &Hello) -> Welcome {
    let head = state.log.len() as u64;
    let log_id = vec![state.log_id; 16].into();
    let (window, window_bytes) = state.behaviour.window.unwrap_or((1000, 1 << 20));
    let known = state.clients.entry(hello.client_id.to_vec()).or_default();
    let taken = known.taken.iter().map(|(number, seq)| v1::Taken { first_number: *number, first_seq: *seq, count: 1 });
    let is_person = hello.token.is_empty();
    Welcome {
        version: 1,
        log_id,
        head,
        last_number: known.last_number,
        internal_name: if is_person { format!("@{}", hello.name) } else { "worker-1".into() },
        run: if is_person { String::new() } else { "run".into() },
        max_record: 4 << 20,
        window,
        window_bytes,
        taken: taken.collect(),
    }
}

fn take(
    state: &mut State,
    stream: &mut UnixStream,
    (id, hello): (&Vec<u8>, &Hello),
    number: u64,
    (key, data, is_report): (&str, &[u8], bool),
    refusing: &mut bool,
    expect_seq: Option<u64>,
) -> bool {
    state.numbers.push(number);
    if let Some(garbage) = state.behaviour.garbage.take() {
        let _ = stream.write_all(&garbage);
        return true;
    }
    let fail = |stream: &mut UnixStream, code: ErrorCode| {
        let failed = v1::SendFailed { number, code: code.into(), message: format!("cannot take {number}") };
        say(stream, Kind::SendFailed(failed));
    };
    let last = state.clients.entry(id.clone()).or_default().last_number;
    if *refusing && (state.behaviour.is_full || number != last + 1) {
        return true;
    }
    if number <= last {
        let seq = state.clients[id].taken.iter().find(|taken| taken.0 == number).map_or(0, |taken| taken.1);
        say(stream, Kind::Ack(v1::Ack { number, seq }));
        return true;
    }
    if number != last + 1 {
        say(stream, Kind::Error(v1::Error { code: ErrorCode::Malformed.into(), message: "a hole".into() }));
        return false;
    }
    if state.behaviour.is_fenced {
        fail(stream, ErrorCode::Fenced);
        return true;
    }
    if state.behaviour.is_broken {
        fail(stream, ErrorCode::Internal);
        return true;
    }
    if state.behaviour.is_full {
        *refusing = true;
        state.refused.push(stream.try_clone().expect("cloned"));
        fail(stream, ErrorCode::NoSpace);
        return true;
    }
    *refusing = false;
    let newest = state.log.iter().rev().find(|(record, _)| record.key == key).map_or(0, |(record, _)| record.seq);
    let holds = expect_seq.is_none_or(|seq| seq == newest);
    let by = if hello.token.is_empty() { format!("@{}", hello.name) } else { "worker-1".into() };
    let seq = if holds { append(state, &by, key, data, is_report) } else { 0 };
    let known = state.clients.get_mut(id).expect("known");
    known.last_number = number;
    if !holds {
        fail(stream, ErrorCode::Conflict);
        return true;
    }
    known.taken.push((number, seq));
    if let Some(left) = state.behaviour.cut_after {
        state.behaviour.cut_after = left.checked_sub(1);
        if left == 0 {
            return false;
        }
    }
    if !state.behaviour.is_silent {
        say(stream, Kind::Ack(v1::Ack { number, seq }));
    }
    true
}

fn next(stream: &mut UnixStream, decoder: &mut frame::Decoder) -> Option<bytes::Bytes> {
    loop {
        if let Some(bytes) = decoder.next_frame().ok()? {
            return Some(bytes);
        }
        let mut part = [0; 65_536];
        match stream.read(&mut part) {
            Ok(0) | Err(_) => return None,
            Ok(count) => decoder.buffer().extend_from_slice(&part[..count]),
        }
    }
}

/// Waits for a fact that nobody announces.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !holds() {
        assert!(Instant::now() < deadline, "did not come to be: {what}");
        std::thread::yield_now();
    }
}
