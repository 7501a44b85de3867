//! What the sessions and the driver share.
//!
//! All on one thread: nothing is locked, and no borrow is held across an await.

mod backlog;
mod register;
mod reporting;
mod store;
mod waiting;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use backlog::Backlog;
use copo_proto::v1::{self, ErrorCode, response};
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;
use tracing::warn;

use self::reporting::Unreported;
use super::floors::Floors;
use super::identity::{Identities, Identity};
use super::line::{Ending, Line};
use super::lines::Lines;
use super::subscribe::Feed;
use super::{Limits, error, handshake};
use crate::context::Context;
use crate::plan::{ContextSpec, Durability, WhenFull};
use crate::supervisor::{Event, Reply, RequestId, RunId};

/// How long the connections may take to hear the last that is said to them when everything ends.
const FAREWELL: Duration = Duration::from_secs(1);

/// What the orchestrator says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// Version of the running binary.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// Name of the application.
    pub application: String,
    /// Absolute path of the copo.toml it was started with.
    pub config_path: String,
    /// When it started, microseconds since the Unix epoch.
    pub started_at: u64,
    /// Form of the state that it leaves for the next one.
    pub state_form: u32,
}

/// What the sessions and the driver share; see the module.
pub struct Hub {
    context: RefCell<Context>,
    max_record: usize,
    /// Nothing is answered before a sync of the disk (durability `power`).
    syncs: bool,
    /// What waits for the next one.
    unstored: RefCell<Vec<store::Unstored>>,
    /// The head when readers were last written to after one.
    shown: Cell<u64>,
    /// The head moved, and readers are not told yet.
    has_moved: Cell<bool>,
    /// With `when_full = "wait"`: for how long a subscriber that does not move may hold publishers up.
    wait_limit: Option<Duration>,
    events: UnboundedSender<Event>,
    about: About,
    limits: Limits,
    identities: RefCell<Identities>,
    lines: RefCell<Lines>,
    floors: RefCell<Floors>,
    requests: RefCell<HashMap<RequestId, (Rc<Line>, u64)>>,
    next_request: Cell<u64>,
    wait_for_head: RefCell<Vec<Rc<Feed>>>,
    wait_for_space: RefCell<Vec<Rc<Line>>>,
    watches_readers: Cell<bool>,
    connections: Cell<usize>,
    unreported: RefCell<Unreported>,
    reports: Notify,
    gone: Notify,
    closed: Notify,
    is_closed: Cell<bool>,
    is_stopping: Cell<bool>,
    purges: Cell<bool>,
    upgrade: RefCell<Option<PathBuf>>,
    upgrade_asked: Notify,
}

/// What the driver does.
impl Hub {
    /// A hub over an open context. What sessions ask of the supervisor goes to `events`.
    #[must_use]
    pub fn new(context: Context, spec: &ContextSpec, events: UnboundedSender<Event>, about: About) -> Rc<Self> {
        Self::with_limits(context, spec, events, about, Limits::default())
    }

    /// The same, with other limits.
    #[must_use]
    pub fn with_limits(
        context: Context,
        spec: &ContextSpec,
        events: UnboundedSender<Event>,
        about: About,
        limits: Limits,
    ) -> Rc<Self> {
        let wait_limit = match spec.when_full {
            WhenFull::Trim => None,
            WhenFull::Wait => Some(spec.wait_limit),
        };
        Rc::new(Self {
            max_record: context.max_record(),
            syncs: spec.durability == Durability::Power,
            unstored: RefCell::default(),
            shown: Cell::new(context.head()),
            has_moved: Cell::new(false),
            context: RefCell::new(context),
            wait_limit,
            events,
            about,
            limits,
            identities: RefCell::default(),
            lines: RefCell::default(),
            floors: RefCell::default(),
            requests: RefCell::default(),
            next_request: Cell::new(1),
            wait_for_head: RefCell::default(),
            wait_for_space: RefCell::default(),
            watches_readers: Cell::new(false),
            connections: Cell::new(0),
            unreported: RefCell::default(),
            reports: Notify::new(),
            gone: Notify::new(),
            closed: Notify::new(),
            is_closed: Cell::new(false),
            is_stopping: Cell::new(false),
            purges: Cell::new(false),
            upgrade: RefCell::default(),
            upgrade_asked: Notify::new(),
        })
    }

    /// From here on the identity's token speaks for its run. To be called before the run is spawned.
    pub fn admit(&self, identity: Identity) {
        self.identities.borrow_mut().admit(identity);
    }

    /// Tells the run's connections that it is asked to stop and is killed in `grace_ms`; ends its subscriptions.
    pub fn stop_event(&self, run: RunId, grace_ms: u64) {
        let killed_at = Instant::now() + Duration::from_millis(grace_ms);
        if let Some(admitted) = self.identities.borrow().of_run(run) {
            admitted.ask_to_stop(killed_at);
        }
        for line in self.lines.borrow().of_run(run) {
            if line.is_subscribed() {
                line.end(Ending::Over(ErrorCode::Stopping));
            } else {
                line.say(handshake::stop_requested(killed_at));
            }
        }
    }

    /// Appends what has arrived on the run's connections; takes at most [`Limits::drain`].
    pub async fn drain(self: Rc<Self>, run: RunId) {
        let drains: Vec<_> = {
            let lines = self.lines.borrow();
            lines.of_run(run).iter().filter(|line| !line.is_subscribed()).map(|line| line.drain()).collect()
        };
        let all = async {
            for drained in drains {
                let _ = drained.await; // A connection that has gone has nothing more to append.
            }
        };
        if tokio::time::timeout(self.limits.drain, all).await.is_err() {
            warn!("cannot append all that run {run} sent: its connections were not drained in time");
        }
    }

    /// The run has ended: its token writes nothing from here on, and goes on reading.
    pub fn fence(&self, run: RunId) {
        self.identities.borrow_mut().fence(run);
    }

    /// Answers a request that went to the supervisor.
    pub fn reply(&self, request: RequestId, reply: Reply) {
        let Some((line, id)) = self.requests.borrow_mut().remove(&request) else {
            return; // Whoever asked has gone.
        };
        line.unanswered.set(line.unanswered.get() - 1);
        line.respond(
            id,
            match reply {
                Reply::Done => response::Kind::Done(v1::Done {}),
                Reply::Processes(processes) => response::Kind::Processes(processes),
                Reply::Changes(changes) => response::Kind::Changes(changes),
                Reply::Triggered(triggered) => response::Kind::Triggered(triggered),
                Reply::Failed { code, message } => response::Kind::Error(error(code, message)),
            },
        );
    }

    /// The orchestrator has been asked to end; said by Status from here on.
    pub fn set_stopping(&self) {
        self.is_stopping.set(true);
    }

    /// Has a `Down` asked that the context be emptied at the end? [`Hub::close`] does it.
    #[must_use]
    pub fn purge_requested(&self) -> bool {
        self.purges.get()
    }

    /// Until someone asks that another binary takes the place of this orchestrator; its path.
    pub async fn upgrade_requested(&self) -> PathBuf {
        loop {
            if let Some(binary) = self.upgrade.borrow_mut().take() {
                return binary;
            }
            self.upgrade_asked.notified().await;
        }
    }

    /// Until a report was appended since the last call: reports.json is to be written anew.
    pub async fn reports_changed(&self) {
        self.reports.notified().await;
    }

    /// reports.json as it is to stand on disk.
    #[must_use]
    pub fn reports_json(&self) -> Vec<u8> {
        self.context.borrow().reports_json()
    }

    /// The end: takes no more connections, says the last to those there are (a second at most), and closes the context,
    /// emptied if a `Down` asked for that.
    pub async fn close(self: &Rc<Self>) {
        self.store();
        self.is_closed.set(true);
        self.closed.notify_waiters();
        self.lines.borrow().iter().for_each(|line| line.end(Ending::Quiet));
        let all_gone = async {
            loop {
                let gone = self.gone.notified();
                if self.connections.get() == 0 {
                    return;
                }
                gone.await;
            }
        };
        let _ = tokio::time::timeout(FAREWELL, all_gone).await;
        self.report_what_waits();
        self.context.borrow_mut().close();
    }
}

/// Microseconds since the Unix epoch.
pub(super) fn wall_clock() -> u64 {
    // A clock before 1970 is no time to go by; nothing here depends on it but what people read.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
