//! The server as a raw client sees it: real sockets, a real context, no SDK.

mod admission;
mod ending;
mod following;
mod publishing;
mod reporting;
mod requests;

use std::cell::RefCell;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use copo_proto::frame::{self, Decoder};
use copo_proto::v1::{self, ErrorCode, request, response, server_message};
use copo_proto::{MAX_RECORD, Message, VERSION};
use interprocess::local_socket::tokio::Stream;
use interprocess::local_socket::traits::tokio::Stream as _;
use interprocess::local_socket::{GenericFilePath, ToFsName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::{About, Hub, Identity, Limits, bind, serve};
use crate::context::Context;
use crate::plan::{ContextSpec, Durability, Retain, WhenFull};
use crate::supervisor::{Event, RunId, RunSeed};

/// What must happen happens within this time, or the test fails.
const DEADLINE: Duration = Duration::from_secs(10);

/// A server with its context, and the supervisor's end of its events.
struct App {
    hub: Rc<Hub>,
    socket: PathBuf,
    events: RefCell<UnboundedReceiver<Event>>,
    seed: RefCell<RunSeed>,
    dir: Rc<tempfile::TempDir>,
}

/// Runs one story about a server.
fn with_app<F: Future<Output = ()>>(story: impl FnOnce(Rc<App>) -> F) {
    with(spec(), Limits::default(), story);
}

fn with<F: Future<Output = ()>>(spec: ContextSpec, limits: Limits, story: impl FnOnce(Rc<App>) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let tasks = tokio::task::LocalSet::new();
    tasks.block_on(&runtime, async {
        let app = App::start(&spec, limits, Rc::new(tempfile::tempdir().expect("a folder")));
        tokio::time::timeout(6 * DEADLINE, story(app)).await.expect("the story ends in time");
    });
}

fn spec() -> ContextSpec {
    ContextSpec {
        headers: None,
        durability: Durability::Memory,
        retain: Retain {
            records: 1_000_000,
            bytes: 256 << 20,
            age: Duration::from_secs(7 * 24 * 3600),
            keys: 10_000,
            reports: 100_000,
        },
        when_full: WhenFull::Trim,
        wait_limit: Duration::from_secs(5),
        max_record: MAX_RECORD,
    }
}

#[cfg(unix)]
fn socket_in(dir: &std::path::Path) -> PathBuf {
    dir.join("sock")
}

#[cfg(windows)]
fn socket_in(dir: &std::path::Path) -> PathBuf {
    let unique = dir.file_name().expect("a folder of its own").to_string_lossy().into_owned();
    PathBuf::from(format!(r"\\.\pipe\copo-test-{unique}"))
}

impl App {
    fn start(spec: &ContextSpec, limits: Limits, dir: Rc<tempfile::TempDir>) -> Rc<Self> {
        let context =
            Context::open(&dir.path().join("context"), spec, "boot", super::hub::wall_clock()).expect("a context");
        let (sender, events) = unbounded_channel();
        let about = About {
            version: "0.1.0".into(),
            pid: 7,
            application: "weather".into(),
            config_path: "/etc/weather/copo.toml".into(),
            started_at: 3,
            state_form: 1,
        };
        let hub = Hub::with_limits(context, spec, sender, about, limits);
        let socket = socket_in(dir.path());
        tokio::task::spawn_local(serve(bind(&socket).expect("the socket is ours"), Rc::clone(&hub)));
        let (events, seed) = (RefCell::new(events), RefCell::new(RunSeed::new(1)));
        Rc::new(Self { hub, socket, events, seed, dir })
    }

    /// Ends it, and starts another one on what it left.
    async fn restart(self: Rc<Self>, spec: &ContextSpec) -> Rc<Self> {
        self.hub.close().await;
        Self::start(spec, Limits::default(), Rc::clone(&self.dir))
    }

    /// A run whose token is `token`.
    fn admit(&self, token: &str, internal_name: &str, control: bool) -> RunId {
        let run = self.seed.borrow_mut().next_id(1);
        self.hub.admit(Identity { token: token.into(), run, internal_name: internal_name.into(), control, uid: None });
        run
    }

    /// A connection that has said nothing yet.
    async fn connect(&self) -> Peer {
        let name = self.socket.as_path().to_fs_name::<GenericFilePath>().expect("a name");
        let stream = Stream::connect(name).await.expect("the server listens");
        Peer { stream, decoder: Decoder::new(2 * MAX_RECORD), last_id: 0 }
    }

    /// An admitted connection.
    async fn hello(&self, hello: v1::Hello) -> (Peer, v1::Welcome) {
        let mut peer = self.connect().await;
        peer.write(&frame::to_vec(&hello)).await;
        match peer.next().await {
            server_message::Kind::Welcome(welcome) => (peer, welcome),
            other => panic!("no Welcome but {other:?}"),
        }
    }

    /// A run's connection that sends.
    async fn sender(&self, token: &str, client: u8) -> Peer {
        self.hello(v1::Hello { token: token.into(), ..sending(client) }).await.0
    }

    /// A person's connection that asks.
    async fn person(&self) -> Peer {
        self.hello(hello()).await.0
    }

    /// A person's subscription.
    async fn follow(&self, subscribe: v1::Subscribe) -> (Peer, v1::Subscribed) {
        let mut peer = self.person().await;
        match peer.ask(request::Kind::Subscribe(subscribe)).await {
            response::Kind::Subscribed(subscribed) => (peer, subscribed),
            other => panic!("not subscribed but {other:?}"),
        }
    }

    /// The next event the supervisor is told.
    #[expect(clippy::await_holding_refcell_ref, reason = "no story waits for events twice at once")]
    async fn event(&self) -> Event {
        let mut events = self.events.borrow_mut();
        tokio::time::timeout(DEADLINE, events.recv()).await.expect("an event comes in time").expect("the hub lives")
    }
}

fn hello() -> v1::Hello {
    v1::Hello { min_version: VERSION, max_version: VERSION, sdk: "raw/0".into(), ..Default::default() }
}

fn sending(client: u8) -> v1::Hello {
    v1::Hello { client_id: vec![client; 16].into(), ..hello() }
}

fn from_first() -> v1::Subscribe {
    v1::Subscribe { from: Some(v1::subscribe::From::First(true)), ..Default::default() }
}

fn send(number: u64, data: &[u8]) -> request::Kind {
    let udd_buff = Bytes::copy_from_slice(data);
    request::Kind::UddSend(v1::UddSend { number, key: String::new(), udd_buff, expect_seq: None })
}

/// Sends `first` to `last`, each holding its own number, as one write.
fn sends(first: u64, last: u64) -> Vec<u8> {
    (first..=last)
        .flat_map(|n| frame::to_vec(&v1::Request { id: 0, kind: Some(send(n, n.to_string().as_bytes())) }))
        .collect()
}

/// Runs the test of this name in a process of its own, since it changes what holds for a whole process. True in that
/// process, false (once it has passed) in the one that asked.
#[cfg(target_os = "linux")]
fn is_alone(name: &str) -> bool {
    const ALONE: &str = "COPO_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let me = std::env::current_exe().expect("a test binary");
    let name = format!("{}::{name}", module_path!().split_once("::").expect("a crate in front").1);
    let out = std::process::Command::new(me).args(["--exact", &name]).env(ALONE, "1").output().expect("it runs");
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success() && said.contains("1 passed"), "{said}");
    false
}

/// Lowers a limit of this process, or gives it back what it may have at most.
#[cfg(target_os = "linux")]
fn set_limit(resource: libc::__rlimit_resource_t, most: Option<u64>) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the limit is written to a live struct.
    assert_eq!(unsafe { libc::getrlimit(resource, &mut limit) }, 0);
    limit.rlim_cur = most.unwrap_or(limit.rlim_max);
    // SAFETY: the limit is read from a live struct.
    assert_eq!(unsafe { libc::setrlimit(resource, &limit) }, 0);
}

/// A client's end of a connection.
struct Peer {
    stream: Stream,
    decoder: Decoder,
    last_id: u64,
}

impl Peer {
    async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the server reads");
    }

    async fn say(&mut self, id: u64, kind: request::Kind) {
        self.write(&frame::to_vec(&v1::Request { id, kind: Some(kind) })).await;
    }

    /// Sends one record and waits until it is acknowledged: its Seq.
    async fn publish(&mut self, number: u64, data: &[u8]) -> u64 {
        self.say(0, send(number, data)).await;
        self.acked(number).await
    }

    /// Waits until `number` is acknowledged: its Seq.
    async fn acked(&mut self, number: u64) -> u64 {
        loop {
            match self.next().await {
                server_message::Kind::Ack(ack) if ack.number == number => return ack.seq,
                server_message::Kind::Ack(ack) => assert!(ack.number < number, "{ack:?} instead of {number}"),
                other => panic!("no Ack of {number} but {other:?}"),
            }
        }
    }

    /// Asks, and waits for the answer; what is said in between is passed over.
    async fn ask(&mut self, kind: request::Kind) -> response::Kind {
        self.last_id += 1;
        let id = self.last_id;
        self.say(id, kind).await;
        loop {
            if let server_message::Kind::Response(answer) = self.next().await {
                assert_eq!(answer.id, id);
                return answer.kind.expect("an answer");
            }
        }
    }

    async fn refused(&mut self, kind: request::Kind) -> ErrorCode {
        match self.ask(kind).await {
            response::Kind::Error(error) => error.code(),
            other => panic!("not refused but {other:?}"),
        }
    }

    /// The next thing the server says.
    async fn next(&mut self) -> server_message::Kind {
        self.next_or_end().await.expect("the connection lives")
    }

    /// The next thing the server says, or `None` at the end of the connection.
    async fn next_or_end(&mut self) -> Option<server_message::Kind> {
        tokio::time::timeout(DEADLINE, async {
            loop {
                if let Some(frame) = self.decoder.next_frame().expect("frames") {
                    return v1::ServerMessage::decode(frame).expect("a message").kind;
                }
                match self.stream.read_buf(self.decoder.buffer()).await {
                    Ok(0) => return None,
                    Ok(_) => {}
                    // What the server had not read when it closed makes the kernel say so.
                    Err(error)
                        if matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) =>
                    {
                        return None;
                    }
                    Err(error) => panic!("cannot read: {error}"),
                }
            }
        })
        .await
        .expect("the server says something in time")
    }

    /// The reason the server gives for ending the connection, which it then does.
    async fn ended(&mut self) -> ErrorCode {
        loop {
            match self.next_or_end().await {
                Some(server_message::Kind::Error(error)) => {
                    assert_eq!(self.next_or_end().await, None, "nothing follows the reason");
                    assert!(error.message.starts_with("cannot "), "{error:?}");
                    return error.code();
                }
                Some(_) => {}
                None => panic!("ended without a reason"),
            }
        }
    }

    async fn record(&mut self) -> v1::UddRecord {
        match self.next().await {
            server_message::Kind::Record(record) => record,
            other => panic!("no record but {other:?}"),
        }
    }
}
