//! `copo up` in the foreground: a client of the orchestrator it started. Prints the logs and what happens, stops the
//! application on the first signal, kills it on the second, and ends when the orchestrator has ended. Of one that ran
//! before it only follows what happens, and a signal only ends the following.

use std::io;
use std::process::{Child, ExitStatus};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use copo::v1::{self, EventKind, MetaReport};
use copo::{Client, From, Item, SubscribeOptions};
use copo_orchestrator::layout::Layout;
use copo_orchestrator::plan::Plan;
use copo_proto::name;

use super::args::Up;
use super::changes;
use super::control;
use super::down;
use super::exit_on::ExitOn;
use super::failure::{FAILED, Failure, Outcome};
use super::find::Target;
use super::launch::{self, Starting, Word};
use super::logs::{Follower, Format, Selection, Start};
use super::output;
use super::reports;
use super::signals;
use super::up::{Asked, Begun, ask_new, begin, ended_at_once};

/// The last reports are on the way when the orchestrator's process ends; they come at once or not at all.
const LAST_REPORTS: Duration = Duration::from_secs(1);

/// What the loop waits for. Everything else goes on in threads that only tell it.
enum Happening {
    /// Some log has grown, or there is a new one.
    LogsGrew,
    /// Something happened in the application.
    Reported(Box<MetaReport>),
    /// Nothing more is reported.
    ReportsOver,
    /// What ran is in line with the file, or cannot be.
    Converged(Outcome),
    /// Ctrl-C or the like.
    Signalled,
    /// The orchestrator did not take the request to stop.
    NotStopped(Failure),
    /// The orchestrator said whether it started.
    Launched(Word),
    /// The orchestrator's process (its keeper, where there is one) has ended.
    Ended(io::Result<ExitStatus>),
}

/// One foreground `up`.
struct Foreground {
    client: Client,
    /// The orchestrator ran before: it is not ours to stop.
    is_guest: bool,
    follower: Follower,
    exit_on: Option<ExitOn>,
    happenings: Receiver<Happening>,
    tell: Sender<Happening>,
    reports_over: bool,
    /// The exit code of the application, when it ended by itself.
    exit_code: Option<i32>,
    /// The orchestrator has said that it ends.
    has_ended: bool,
    /// How often it was asked to stop.
    stops: u32,
    /// When to say next who blocks, and what was said last.
    say_at: Option<Instant>,
    said: String,
}

/// Starts the application, or brings what runs in line with copo.toml, and stays until it has ended.
pub fn run(plan: &Plan, layout: &Layout, up: &Up) -> Outcome {
    let (tell, happenings) = mpsc::channel();
    // Before the launch, so that a Ctrl-C during it stops in order as well.
    let signalled = tell.clone();
    signals::watch(move || drop(signalled.send(Happening::Signalled)))?;
    copo_orchestrator::layout::prepare(layout).map_err(|error| Failure::new(FAILED, error.to_string()))?;
    let grew = tell.clone();
    // Only what is written from here on is of this `up`.
    let selection = Selection::everything();
    let mut follower = Follower::open(layout, selection, Start::End, move || drop(grew.send(Happening::LogsGrew)))?;
    follower.format(Format { width: width(plan), ..Format::prefixed() });
    let launch = || launched(launch::begin(plan, layout, &up.names)?, &tell, &happenings);
    let (client, is_guest) = match begin(plan, layout, launch)? {
        Begun::Running(client) => {
            watch_reports(&client, From::New, tell.clone())?;
            converge(&client, plan, &up.names, tell.clone());
            (client, true)
        }
        Begun::Launched(mut child) => {
            let connect = || {
                let client = Target::of(layout.clone()).connect()?;
                watch_reports(&client, From::Time(control::status(&client)?.started_at), tell.clone())?;
                Ok(client)
            };
            match ask_new(&mut child, connect)? {
                Asked::Answered(client) => {
                    watch_end(child, tell.clone());
                    (client, false)
                }
                Asked::Ended(status) => {
                    // What it wrote is all there is to be shown of it.
                    let _ = follower.finish();
                    return ended_at_once(status);
                }
            }
        }
    };
    let exit_on = up.exit_on.as_deref().map(|name| ExitOn::new(name, plan));
    let (reports_over, exit_code, has_ended, stops, say_at, said) = (false, None, false, 0, None, String::new());
    Foreground {
        client,
        is_guest,
        follower,
        exit_on,
        happenings,
        tell,
        reports_over,
        exit_code,
        has_ended,
        stops,
        say_at,
        said,
    }
    .run()
}

/// Brings what runs in line with the file, while its logs are followed.
fn converge(client: &Client, plan: &Plan, names: &[String], tell: Sender<Happening>) {
    let (client, plan, names) = (client.clone(), plan.clone(), names.to_vec());
    thread::spawn(move || {
        let _ = tell.send(Happening::Converged(changes::converge(&client, &plan, &names)));
    });
}

/// Waits until the orchestrator answers; a Ctrl-C meanwhile asks it to end, the next one ends it.
fn launched(
    mut starting: Starting,
    tell: &Sender<Happening>,
    happenings: &Receiver<Happening>,
) -> Result<Child, Failure> {
    let (word, said) = (starting.word(), tell.clone());
    thread::spawn(move || drop(said.send(Happening::Launched(word()))));
    let mut stops = 0;
    loop {
        match happenings.recv() {
            Ok(Happening::Launched(word)) => return starting.finish(word),
            Ok(Happening::Signalled) => {
                stops += 1;
                output::say(if stops > 1 { "killing the orchestrator" } else { "stopping (once more kills)" });
                starting.end(stops > 1);
            }
            // A log that grew is read from its place anyhow; the others come from what has been launched.
            Ok(
                Happening::LogsGrew
                | Happening::Converged(_)
                | Happening::Reported(_)
                | Happening::ReportsOver
                | Happening::NotStopped(_)
                | Happening::Ended(_),
            )
            | Err(_) => {}
        }
    }
}

/// Columns for the longest name there can be at the start.
fn width(plan: &Plan) -> usize {
    plan.processes.iter().map(|process| name::internal(&process.name, process.replicas).len()).max().unwrap_or(0)
}

fn watch_end(mut child: Child, tell: Sender<Happening>) {
    thread::spawn(move || {
        let _ = tell.send(Happening::Ended(child.wait()));
    });
}

/// Hands on everything reported from there on.
fn watch_reports(client: &Client, from: From, tell: Sender<Happening>) -> Outcome {
    let options = SubscribeOptions::default().from(from).reports(true);
    let subscription = client.udd_subscribe(&options)?;
    thread::spawn(move || {
        for item in subscription {
            match item {
                Ok(Item::Report(report)) => {
                    // After an end in order there is nothing more to come; after any other another orchestrator is.
                    let is_last =
                        report.facts.as_ref().is_some_and(|facts| facts.event() == EventKind::OrchestratorStopped);
                    drop(tell.send(Happening::Reported(Box::new(report))));
                    if is_last {
                        break;
                    }
                }
                Ok(Item::Record(_) | Item::Gap(_)) => {}
                Err(_) => break,
            }
        }
        let _ = tell.send(Happening::ReportsOver);
    });
    Ok(())
}

impl Foreground {
    fn run(mut self) -> Outcome {
        loop {
            match self.next() {
                Some(Happening::LogsGrew) => self.print_logs(),
                Some(Happening::Reported(report)) => self.reported(&report),
                Some(Happening::Converged(outcome)) => outcome?,
                Some(Happening::ReportsOver) if self.is_guest => return self.left(),
                Some(Happening::ReportsOver) => self.reports_over = true,
                Some(Happening::Signalled) if self.is_guest && self.stops == 0 => return self.detach(),
                Some(Happening::Signalled) => self.stop(),
                Some(Happening::Launched(_)) => {} // Long ago.
                Some(Happening::NotStopped(failure)) => output::say(&failure.message.unwrap_or_default()),
                Some(Happening::Ended(status)) => return self.ended(status),
                None => self.say_who_blocks(),
            }
        }
    }

    /// What happens next; `None`: it is time to say who blocks.
    fn next(&mut self) -> Option<Happening> {
        let Some(say_at) = self.say_at else { return self.happenings.recv().ok() };
        self.happenings.recv_timeout(say_at.saturating_duration_since(Instant::now())).ok()
    }

    /// Prints what the logs have got. Nobody reading it any more is a reason to stop in order, not to drop everything.
    fn print_logs(&mut self) {
        match self.follower.print_new() {
            Ok(()) => {}
            // Said once: from then on the application is stopping anyhow.
            Err(failure) if self.stops == 0 => {
                failure.message.iter().for_each(|message| output::say(message));
                self.stop();
            }
            Err(_) => {}
        }
    }

    fn reported(&mut self, report: &MetaReport) {
        // What a process wrote before it ended stands before the notice that it has.
        if let Some(internal_name) = report.facts.as_ref().and_then(|facts| facts.internal_name.as_deref()) {
            self.follower.look_at(internal_name);
        }
        self.print_logs();
        if let Some(notice) = reports::notice(report) {
            output::say_dim(&notice);
        }
        self.has_ended |= report.facts.as_ref().is_some_and(|facts| facts.event() == EventKind::OrchestratorStopped);
        self.exit_code = self.exit_code.or(control::application_exit_code(report));
        let finished = self.exit_on.as_mut().is_some_and(|exit_on| exit_on.saw(report.facts.as_ref()));
        if finished && self.stops == 0 {
            self.stop();
        }
    }

    /// It goes on without us.
    fn detach(mut self) -> Outcome {
        let _ = self.follower.print_new();
        output::say("detached; the application runs on (copo down stops it)");
        Ok(())
    }

    /// The orchestrator that was followed has gone.
    fn left(mut self) -> Outcome {
        let _ = self.follower.finish();
        let of_exit_on = self.exit_on.as_ref().is_some_and(|exit_on| exit_on.has_finished());
        match (self.exit_on, self.exit_code) {
            (Some(exit_on), _) if of_exit_on => exit_on.outcome(),
            (_, Some(code)) => control::ended_with(code),
            (Some(exit_on), None) => exit_on.outcome(),
            (None, None) if self.has_ended => Ok(()),
            (None, None) => Err(Failure::new(FAILED, "the orchestrator has ended unexpectedly")),
        }
    }

    /// The first time asks for the end in order, later ones for the end.
    fn stop(&mut self) {
        self.stops += 1;
        let kill = self.stops > 1;
        output::say(if kill { "killing what is left" } else { "stopping (once more kills)" });
        self.say_at = Some(Instant::now() + down::PATIENCE);
        let (client, tell) = (self.client.clone(), self.tell.clone());
        thread::spawn(move || {
            if let Err(failure) = down::ask(&client, v1::Down { grace_ms: None, kill, purge: false }) {
                let _ = tell.send(Happening::NotStopped(failure));
            }
        });
    }

    fn say_who_blocks(&mut self) {
        self.said = down::say_who_blocks(&self.client, std::mem::take(&mut self.said));
        self.say_at = Some(Instant::now() + down::PATIENCE);
    }

    /// The orchestrator is gone: what was still on its way is printed, and its end is ours.
    fn ended(mut self, status: io::Result<ExitStatus>) -> Outcome {
        while !self.reports_over {
            match self.happenings.recv_timeout(LAST_REPORTS) {
                Ok(Happening::Reported(report)) => self.reported(&report),
                Ok(Happening::ReportsOver) | Err(_) => self.reports_over = true,
                Ok(
                    Happening::LogsGrew
                    | Happening::Converged(_)
                    | Happening::Signalled
                    | Happening::NotStopped(_)
                    | Happening::Launched(_)
                    | Happening::Ended(_),
                ) => {}
            }
        }
        let _ = self.follower.finish();
        let status = status.map_err(|error| Failure::io("learn how the orchestrator ended", &error))?;
        let of_exit_on = self.exit_on.as_ref().is_some_and(|exit_on| exit_on.has_finished());
        if let Some(code) = self.exit_code.filter(|_| !of_exit_on) {
            return control::ended_with(code);
        }
        if !status.success() && !of_exit_on {
            return Err(Failure::new(FAILED, format!("the orchestrator has ended unexpectedly ({status})")));
        }
        match self.exit_on {
            Some(exit_on) => exit_on.outcome(),
            None => Ok(()),
        }
    }
}
