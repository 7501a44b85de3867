//! `copo up`: starts the application, or brings what runs in line with copo.toml; then returns (`-d`, `--wait`) or stays with it.

use std::process::{Child, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use copo::v1::request::Kind;
use copo::v1::{self, wait};
use copo::{Client, From, Item, SubscribeOptions, Subscription};
use copo_orchestrator::layout::Layout;
use copo_orchestrator::plan::Plan;
use copo_orchestrator::runtime::lock::{self, Holder};
use copo_proto::name;

use super::args::{Place, Up};
use super::changes;
use super::control;
use super::failure::{FAILED, Failure, NO_SUCH_NAME, Outcome, TIMED_OUT};
use super::find::{self, Target};
use super::foreground;
use super::launch;
use super::wait::told_if_late;

/// `copo up [NAME…]`
pub fn run(place: &Place, up: &Up) -> Outcome {
    let plan = find::plan(place)?;
    let layout = Layout::new(&find::home()?, &plan.application);
    for name in up.names.iter().chain(&up.exit_on) {
        check_name(&plan, name)?;
    }
    if !up.detach && !up.wait {
        return foreground::run(&plan, &layout, up);
    }
    let child = match begin(&plan, &layout, || launch::launch(&plan, &layout, &up.names))? {
        Begun::Launched(child) => Some(child),
        Begun::Running(client) => {
            changes::converge(&client, &plan, &up.names)?;
            None
        }
    };
    if up.wait { wait_until_up(layout, up, child) } else { Ok(()) }
}

/// An orchestrator that answers.
pub enum Begun {
    /// Started just now, with what is to come up.
    Launched(Child),
    /// It ran already, with whatever it was started with.
    Running(Client),
}

/// Sees to it that an orchestrator runs. Of several that are started at once one wins, and the others find it running.
pub fn begin(plan: &Plan, layout: &Layout, launch: impl FnOnce() -> Result<Child, Failure>) -> Result<Begun, Failure> {
    if let Some(client) = running(plan, layout)? {
        return Ok(Begun::Running(client));
    }
    launch().map(Begun::Launched).or_else(|failure| match running(plan, layout)? {
        Some(client) => Ok(Begun::Running(client)),
        None => Err(failure),
    })
}

/// What becomes of a question to an orchestrator that has just been started.
pub enum Asked<T> {
    /// The answer.
    Answered(T),
    /// The application ended by itself before it could be asked.
    Ended(ExitStatus),
}

/// Asks an orchestrator that has just been started.
pub fn ask_new<T>(child: &mut Child, ask: impl Fn() -> Result<T, Failure>) -> Result<Asked<T>, Failure> {
    let since = Instant::now();
    loop {
        let failure = match ask() {
            Ok(answer) => return Ok(Asked::Answered(answer)),
            Err(failure) => failure,
        };
        match child.try_wait() {
            Ok(Some(status)) => return Ok(Asked::Ended(status)),
            Ok(None) if since.elapsed() < LETTING_GO => thread::sleep(Duration::from_millis(5)),
            Ok(None) | Err(_) => return Err(failure),
        }
    }
}

/// This command ends as the application did, of which nobody saw more than its end.
pub fn ended_at_once(status: ExitStatus) -> Outcome {
    match status.code() {
        Some(code) => control::ended_with(code),
        None => Err(Failure::new(FAILED, format!("the orchestrator has ended unexpectedly ({status})"))),
    }
}

/// A process, an instance of one, or a group: the orchestrator would start nothing for any other name.
fn check_name(plan: &Plan, given: &str) -> Outcome {
    let has =
        |process, number| plan.find(process).is_some_and(|prc| (1..=plan.process(prc).replicas).contains(&number));
    let of_instance = name::split_internal(given).is_some_and(|(process, number)| has(process, number));
    let of_group = given.strip_prefix('@').is_some_and(|group| plan.members(group).next().is_some());
    if plan.find(given).is_some() || of_instance || of_group {
        return Ok(());
    }
    let (path, known) = (plan.config_path.display(), plan.processes.iter().map(|process| process.name.as_str()));
    let known: Vec<&str> = known.collect();
    let message = format!("cannot start {given:?}: {path} has no such process, but {}", known.join(", "));
    Err(Failure::new(NO_SUCH_NAME, message))
}

/// For how long one that does not answer may hold the lock before it counts as running.
const LETTING_GO: Duration = Duration::from_secs(2);

/// The orchestrator that runs already, if one does: one per application, from one file. One that was killed holds its lock
/// until the kernel has taken it apart.
fn running(plan: &Plan, layout: &Layout) -> Result<Option<Client>, Failure> {
    revive(layout);
    let since = Instant::now();
    loop {
        let holder =
            lock::holder(layout).map_err(|error| Failure::io(format!("read {}", layout.lock().display()), &error))?;
        let Some(holder) = holder else { return Ok(None) };
        let connected = Target::of(layout.clone()).connect();
        if (connected.is_ok() || since.elapsed() > LETTING_GO) && holder.config_path != plan.config_path {
            return Err(from_another_file(plan, &holder));
        }
        match connected {
            Ok(client) => return Ok(Some(client)),
            Err(_) if since.elapsed() > LETTING_GO => {
                let (application, pid) = (&plan.application, holder.pid);
                let why = format!("its orchestrator (pid {pid}) runs, but does not answer");
                return Err(Failure::new(FAILED, format!("cannot start {application}: {why}")));
            }
            Err(_) => thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// A keeper that has given up, since no orchestrator came to answer, tries again: whoever wants the application up may
/// have mended what was wrong.
fn revive(layout: &Layout) {
    #[cfg(target_os = "linux")]
    if let Some(keeper) = lock::keeper(layout) {
        copo_orchestrator::keeper::wake(keeper);
        // Its answer, if any, is for those who ask next.
        let _ = Target::of(layout.clone()).connect();
    }
    #[cfg(not(target_os = "linux"))]
    let _ = layout;
}

fn from_another_file(plan: &Plan, holder: &Holder) -> Failure {
    let (application, pid, path) = (&plan.application, holder.pid, holder.config_path.display());
    let message = format!("cannot start {application}: it is already running (pid {pid}) from another file, {path}");
    Failure::new(FAILED, message)
}

/// Returns once all on_start processes (of the names given) are ready or done.
fn wait_until_up(layout: Layout, up: &Up, child: Option<Child>) -> Outcome {
    let connect = || {
        let client = Target::of(layout.clone()).connect()?;
        let started_at = control::status(&client)?.started_at;
        let reports = SubscribeOptions::default().from(From::Time(started_at)).reports(true).no_reconnect();
        let reports = client.udd_subscribe(&reports)?;
        Ok((client, reports))
    };
    let (client, reports) = match child {
        Some(mut child) => match ask_new(&mut child, connect)? {
            Asked::Answered(connected) => connected,
            Asked::Ended(status) => return ended_at_once(status),
        },
        None => connect()?,
    };
    let request = v1::Wait { names: up.names.clone(), condition: wait::Condition::Up.into() };
    let waited =
        control::done(&client, Kind::Wait(request), up.wait_timeout.map(|limit| limit.max(Duration::from_millis(1))));
    match waited {
        Err(failure) if failure.code != TIMED_OUT => ended_by_itself(&client, reports).unwrap_or(Err(failure)),
        waited => waited.map_err(|failure| told_if_late(failure, "the application is not up", up.wait_timeout)),
    }
}

/// An application that ends while it is waited for ends with an exit code of its own, if it does so by itself.
fn ended_by_itself(client: &Client, reports: Subscription) -> Option<Outcome> {
    // What failed may have ended nothing but the waiting.
    if control::status(client).is_ok_and(|status| !status.stopping) {
        return None;
    }
    let exit_code = reports.map_while(Result::ok).find_map(|item| match item {
        Item::Report(report) => control::application_exit_code(&report),
        Item::Record(_) | Item::Gap(_) => None,
    });
    exit_code.map(control::ended_with)
}
