//! `copo report` sends a report, `copo reports` prints them; without an orchestrator from reports.json.

use std::collections::VecDeque;
use std::fs;

use copo::v1::{EventKind, MetaReport};
use copo::{Client, ErrorCode, From, Item, SubscribeOptions, Subscription};
use copo_orchestrator::context::json;
use copo_orchestrator::layout::ORCHESTRATOR;
use copo_proto::name;

use super::args::{Place, Report, Reports};
use super::failure::{FAILED, Failure, Outcome};
use super::find::{self, Target};
use super::groups;
use super::output::{Out, local_time};
use super::udd;

/// `copo report [DATA|-]`
pub fn send(place: &Place, report: &Report) -> Outcome {
    let client = find::target(place)?.connect()?;
    client.meta_report_sync(&udd::data(report.data.as_deref())?)?;
    Ok(client.close()?)
}

/// `copo reports [-f] [--json] [--process NAME] [-n N]`
pub fn read(place: &Place, reports: &Reports) -> Outcome {
    let target = find::target(place)?;
    let processes = groups::expand(place, &target, reports.process.as_slice())?;
    let mut printer = Printer { out: Out::new(), reports, processes };
    match target.connect_if_up()? {
        Some(client) => printer.print_all(&client),
        None if reports.follow => Err(target.nobody()),
        None => printer.print_file(&target),
    }
}

/// All reports there are, oldest first; without an orchestrator those of reports.json.
pub fn all(target: &Target, client: Option<&Client>) -> Result<Vec<MetaReport>, Failure> {
    let Some(client) = client else { return in_file(target) };
    let everything = SubscribeOptions::default().reports(true).from(From::First).no_follow();
    reports_of(&mut client.udd_subscribe(&everything)?).collect()
}

/// Those of reports.json.
fn in_file(target: &Target) -> Result<Vec<MetaReport>, Failure> {
    let path = target.layout.reports();
    if !path.exists() {
        return nothing_reported(target).map(|()| Vec::new());
    }
    let document = fs::read(&path).map_err(|error| Failure::io(format!("read {}", path.display()), &error))?;
    json::parse_reports_document(&document)
        .map_err(|error| Failure::new(FAILED, format!("{}: {error}", path.display())))
}

struct Printer<'a> {
    out: Out,
    reports: &'a Reports,
    /// Only those of these processes; empty: all.
    processes: Vec<String>,
}

impl Printer<'_> {
    fn print_all(&mut self, client: &Client) -> Outcome {
        let all = SubscribeOptions::default().reports(true);
        let mut present = client.udd_subscribe(&all.clone().from(From::First).no_follow())?;
        let (head, log_id) = (present.head(), present.log_id());
        match self.reports.count {
            Some(count) => self.last(count, reports_of(&mut present))?,
            None => reports_of(&mut present).try_for_each(|report| self.print(&report?))?,
        }
        self.out.flush()?;
        if !self.reports.follow {
            return Ok(());
        }
        // From where the first reading ended, so that nothing falls in between.
        let mut coming = client.udd_subscribe(&all.from(From::Seq(head + 1)).log_id(log_id))?;
        reports_of(&mut coming).try_for_each(|report| {
            self.print(&report?)?;
            self.out.flush()
        })
    }

    fn print_file(&mut self, target: &Target) -> Outcome {
        if !target.layout.reports().exists() {
            return nothing_reported(target);
        }
        let reports = in_file(target)?;
        self.last(self.reports.count.unwrap_or(usize::MAX), reports.into_iter().map(Ok))?;
        self.out.flush()
    }

    /// Prints the last `count` of those that are wanted.
    fn last(&mut self, count: usize, reports: impl Iterator<Item = Result<MetaReport, Failure>>) -> Outcome {
        let mut last = VecDeque::new();
        for report in reports {
            let report = report?;
            if self.is_wanted(&report) {
                last.push_back(report);
            }
            if last.len() > count {
                last.pop_front();
            }
        }
        last.iter().try_for_each(|report| self.print(report))
    }

    fn print(&mut self, report: &MetaReport) -> Outcome {
        if !self.is_wanted(report) {
            return Ok(());
        }
        if self.reports.json {
            return self.out.json(&json::report(report));
        }
        let (time, text) = (local_time(report.report_time), text(report));
        self.out.line(&format!("{time} {} {text}", report.sent_by))
    }

    fn is_wanted(&self, report: &MetaReport) -> bool {
        self.processes.is_empty() || self.processes.iter().any(|process| concerns(report, process))
    }
}

/// Reports were purged, or there never were any: that is said as `copo logs` says it.
fn nothing_reported(target: &Target) -> Outcome {
    if target.layout.logs().is_dir() {
        return Ok(());
    }
    let application = target.layout.application();
    Err(Failure::new(FAILED, format!("cannot read the reports of {application}: it has never been started")))
}

/// The reports of a subscription, until it ends.
fn reports_of(subscription: &mut Subscription) -> impl Iterator<Item = Result<MetaReport, Failure>> {
    subscription.filter_map(|item| match item {
        Ok(Item::Report(report)) => Some(Ok(report)),
        Ok(Item::Record(_)) => None,
        Ok(Item::Gap(gap)) => {
            udd::say_gap(&gap);
            None
        }
        Err(error) if error.code() == ErrorCode::End => None,
        Err(error) => Some(Err(error.into())),
    })
}

/// Is it by this process (or internal name), or about it?
fn concerns(report: &MetaReport, process: &str) -> bool {
    let sender = name::split_internal(&report.sent_by).map(|(process, _)| process);
    let facts = report.facts.as_ref();
    let named = [
        Some(report.sent_by.as_str()),
        sender,
        facts.and_then(|facts| facts.process.as_deref()),
        facts.and_then(|facts| facts.internal_name.as_deref()),
    ];
    named.contains(&Some(process))
}

fn text(report: &MetaReport) -> String {
    String::from_utf8_lossy(&report.report_buff).trim_end().to_owned()
}

/// The one line a report is worth beside the logs of a foreground `up`, if any.
pub fn notice(report: &MetaReport) -> Option<String> {
    let Some(facts) = &report.facts else { return Some(format!("{} reports: {}", report.sent_by, text(report))) };
    match facts.event() {
        // Followed by one that says more.
        EventKind::Starting | EventKind::SpawnFailed | EventKind::Unspecified => None,
        // What the person at the terminal has just done or is about to see.
        EventKind::OrchestratorStarted => None,
        EventKind::OrchestratorStopped if facts.reason.is_none() => None,
        EventKind::Started
        | EventKind::Ready
        | EventKind::NotReady
        | EventKind::Exited
        | EventKind::Backoff
        | EventKind::Stopping
        | EventKind::Stopped
        | EventKind::Finished
        | EventKind::Failed
        | EventKind::Skipped
        | EventKind::Adopted
        | EventKind::Config
        | EventKind::Headers
        | EventKind::Damaged
        | EventKind::OrchestratorStopped => Some(sentence(report)),
    }
}

/// The report's own sentence, with the name in front when it does not say it.
fn sentence(report: &MetaReport) -> String {
    let text = text(report);
    let about = report.facts.as_ref().and_then(|facts| facts.internal_name.as_deref()).unwrap_or(ORCHESTRATOR);
    if text.contains(about) { text } else { format!("{about}: {text}") }
}

#[cfg(test)]
mod tests {
    use copo::v1::Facts;

    use super::*;

    fn report(sent_by: &str, text: &'static str, facts: Option<Facts>) -> MetaReport {
        MetaReport { seq: 1, report_time: 2, sent_by: sent_by.into(), report_buff: text.as_bytes().into(), facts }
    }

    fn exited(internal_name: &str) -> Facts {
        Facts {
            event: EventKind::Exited.into(),
            process: Some("web".into()),
            internal_name: Some(internal_name.into()),
            ..Facts::default()
        }
    }

    #[test]
    fn a_report_concerns_its_sender_and_whom_it_is_about() {
        assert!(concerns(&report("web-1", "", None), "web") && concerns(&report("web-1", "", None), "web-1"));
        assert!(!concerns(&report("web-1", "", None), "web-2") && !concerns(&report("web-1", "", None), "we"));
        let about = report(ORCHESTRATOR, "", Some(exited("web-2")));
        assert!(concerns(&about, "web") && concerns(&about, "web-2") && !concerns(&about, "web-1"));
    }

    #[test]
    fn a_notice_names_its_process_once() {
        let notice = |text| notice(&report(ORCHESTRATOR, text, Some(exited("web-1"))));
        assert_eq!(notice("web-1 exited with code 1").as_deref(), Some("web-1 exited with code 1"));
        assert_eq!(notice("exited with code 1").as_deref(), Some("web-1: exited with code 1"));
    }
}
