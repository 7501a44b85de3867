//! What differs between copo.toml and what runs: asked of the orchestrator, and told.

use copo::v1::change::Kind;
use copo::v1::{self, Change, Changes, request, response};
use copo::{Client, ErrorCode};
use copo_orchestrator::plan::Plan;
use copo_orchestrator::supervisor::OUTDATED;
use serde_json::{Value, json};

use super::args::{self, Place};
use super::control;
use super::failure::{FAILED, Failure, Outcome};
use super::find::{self, Target};
use super::output::{self, Out};
use copo_orchestrator::layout::Layout;

/// `copo diff [NAME…] [--json]`: what `copo up` would do. Exit code 0: nothing; 1: something, as diff(1) has it.
pub fn diff(place: &Place, diff: &args::Diff) -> Outcome {
    let plan = find::plan(place)?;
    let client = Target::of(Layout::new(&find::home()?, &plan.application)).connect()?;
    let changes = ask(&client, &plan, &diff.names, true)?;
    let mut out = Out::new();
    if diff.json {
        out.json(&Value::Array(changes.iter().map(to_json).collect()))?;
    } else {
        changes.iter().flat_map(lines).try_for_each(|line| out.line(&line))?;
    }
    out.flush()?;
    if changes.is_empty() { Ok(()) } else { Err(Failure::silent(FAILED)) }
}

/// Brings what runs in line with the file: says what will change, and returns when it has.
pub fn converge(client: &Client, plan: &Plan, names: &[String]) -> Outcome {
    let planned = ask(client, plan, names, true)?;
    if planned.is_empty() {
        output::say("nothing to change");
        return Ok(());
    }
    say(&planned);
    let done = ask(client, plan, names, false)?;
    if done != planned {
        output::say("what has changed is another thing, since the file or what runs has:");
        say(&done);
    }
    Ok(())
}

/// What is restarted runs as before, even if the file says otherwise by now: says so.
pub fn warn_of_drift(client: &Client) {
    let Ok(status) = control::status(client) else { return };
    let request = v1::Converge { config_path: status.config_path, names: Vec::new(), dry_run: true };
    let warning = match client.call(request::Kind::Converge(request), None) {
        Ok(response::Kind::Changes(Changes { changes })) if changes.iter().any(is_drift) => {
            "copo.toml has changed since it was read: this restart does not apply it (copo diff shows what differs, copo \
             up applies it)"
                .to_owned()
        }
        Err(error) if error.code() == ErrorCode::InvalidArgument => {
            format!("copo.toml has changed since it was read, and cannot be used as it is:\n{error}")
        }
        Ok(_) | Err(_) => return,
    };
    output::say(&warning);
}

/// Does the file say something else? (Who scaled or stopped something knows that.)
fn is_drift(change: &Change) -> bool {
    // A run that was taken over as it was: its restart is just what applies the file.
    if change.settings.iter().any(|setting| setting.key == OUTDATED) {
        return false;
    }
    match change.kind() {
        Kind::Add | Kind::Remove | Kind::Restart | Kind::Update | Kind::NeedsDown => true,
        Kind::Scale | Kind::Start | Kind::Unspecified => false,
    }
}

fn ask(client: &Client, plan: &Plan, names: &[String], dry_run: bool) -> Result<Vec<Change>, Failure> {
    let config_path = plan.config_path.display().to_string();
    let request = v1::Converge { config_path, names: names.to_vec(), dry_run };
    match client.call(request::Kind::Converge(request), None)? {
        response::Kind::Changes(Changes { changes }) => Ok(changes),
        _ => Err(control::unexpected()),
    }
}

fn say(changes: &[Change]) {
    changes.iter().flat_map(lines).for_each(|line| output::say(&line));
}

/// A line for the change, and one for each setting.
fn lines(change: &Change) -> Vec<String> {
    let name = if change.process.is_empty() { "[context]" } else { &change.process };
    let first = match change.kind() {
        Kind::Unspecified => format!("? {name}"),
        Kind::Add => format!("+ {name} is new"),
        Kind::Remove => format!("- {name} stops: it is in copo.toml no more"),
        Kind::Restart => format!("~ {name} restarts"),
        Kind::Update => format!("= {name} changes without a restart"),
        Kind::Scale => format!("# {name} has another number of instances"),
        Kind::Start => format!("> {name} comes up"),
        Kind::NeedsDown => format!("! {name} cannot change while it is up: copo down, then copo up"),
    };
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "(not set)".to_owned());
    let settings = change.settings.iter();
    let settings =
        settings.map(|setting| format!("    {}: {} → {}", setting.key, text(&setting.from), text(&setting.to)));
    std::iter::once(first).chain(settings).collect()
}

fn to_json(change: &Change) -> Value {
    let kind = match change.kind() {
        Kind::Unspecified => "unknown",
        Kind::Add => "add",
        Kind::Remove => "remove",
        Kind::Restart => "restart",
        Kind::Update => "update",
        Kind::Scale => "scale",
        Kind::Start => "start",
        Kind::NeedsDown => "needs_down",
    };
    let setting = |setting: &v1::Setting| json!({ "key": setting.key, "from": setting.from, "to": setting.to });
    let process = Some(&change.process).filter(|process| !process.is_empty());
    let settings: Vec<Value> = change.settings.iter().map(setting).collect();
    json!({ "change": kind, "process": process, "settings": settings })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_with_its_settings() {
        let setting = v1::Setting { key: "args".into(), from: None, to: Some("[\"x\"]".into()) };
        let change = Change { kind: Kind::Restart.into(), process: "web".into(), settings: vec![setting] };
        assert_eq!(lines(&change), ["~ web restarts", "    args: (not set) → [\"x\"]"]);
        let expected = json!({
            "change": "restart", "process": "web", "settings": [{ "key": "args", "from": null, "to": "[\"x\"]" }],
        });
        assert_eq!(to_json(&change), expected);
    }
}
