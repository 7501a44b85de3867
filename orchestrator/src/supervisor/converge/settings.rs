//! A plan as the settings of copo.toml: the key, the value as text, and what it takes for a new value to hold.
//!
//! Every field stands here, one by one: who adds a field says here what a change of it means. What is not known to be safe
//! to change under a run needs a restart.

use std::fmt::Debug;
use std::path::Path;

use super::Effect::{self, AtOnce, NeedsDown, Restart};
use crate::plan::{
    Account, Attributes, Check, ContextSpec, Dependence, ExtraEnv, Pattern, Plan, Port, Probe, ProcessSpec, Readiness,
    Retain, Trigger,
};

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    /// As in copo.toml.
    pub key: String,
    /// Its value as text.
    pub text: String,
    /// What it takes for another value to hold.
    pub effect: Effect,
    /// The text is compared and never shown.
    pub is_secret: bool,
}

impl Setting {
    /// As people may see it.
    pub fn shown(&self) -> String {
        if self.is_secret { "(secret)".to_owned() } else { self.text.clone() }
    }
}

/// The settings of a process; `replicas` is none of them, it is dealt with by itself.
pub(super) fn of_process(plan: &Plan, spec: &ProcessSpec) -> Vec<Setting> {
    let ProcessSpec {
        name: _,
        groups,
        executable_path,
        file_path,
        args,
        cwd,
        env,
        env_file,
        extra_env,
        depends_on,
        trigger,
        catch_up,
        jitter,
        run_timeout,
        overlap,
        max_instances,
        replicas: _,
        ready,
        startup,
        liveness,
        progress,
        watchdog,
        notify,
        ready_timeout,
        restart,
        backoff,
        restart_limit,
        on_dependence_restart,
        significant,
        success_exit_codes,
        stop_signal,
        stop_grace,
        control,
        attributes,
        log,
        stdin,
    } = spec;
    let mut settings = Settings::default();
    settings.add("executable_path", Restart, path(executable_path));
    settings.maybe("file_path", Restart, file_path.as_deref().map(path));
    settings.list("args", Restart, args);
    settings.add("cwd", Restart, path(cwd));
    for (name, value) in env {
        settings.add(&format!("env.{name}"), Restart, format!("{value:?}"));
        settings.hide_last(extra_env.is_secret(name));
    }
    settings.extra_env(extra_env);
    settings.maybe("env_file", Restart, env_file.as_deref().map(path));
    settings.add("ready", Restart, readiness(ready));
    settings.maybe("startup", Restart, startup.as_ref().map(probe));
    settings.maybe("liveness", Restart, liveness.as_ref().map(probe));
    settings.maybe(
        "progress",
        Restart,
        progress.as_ref().map(|looks| format!("{:?}", looks.interval * looks.failures)),
    );
    settings.maybe("watchdog", Restart, watchdog.map(|every| format!("{every:?}")));
    settings.add("notify", Restart, notify.to_string());
    settings.add("control", Restart, control.to_string());
    settings.add("stdin", Restart, word(stdin));
    settings.attributes(attributes);
    settings.list("groups", AtOnce, groups);
    let gates: Vec<String> = depends_on.iter().map(|dependence| gate(plan, dependence)).collect();
    settings.list("depends_on", AtOnce, &gates);
    settings.trigger(plan, trigger);
    let catch_up = catch_up.map(|catch_up| format!("{} within {:?}", word(&catch_up.runs), catch_up.window));
    settings.maybe("catch_up", AtOnce, catch_up);
    settings.add("jitter", AtOnce, format!("{jitter:?}"));
    settings.maybe("run_timeout", AtOnce, run_timeout.map(|run_timeout| format!("{run_timeout:?}")));
    settings.add("overlap", AtOnce, word(overlap));
    settings.add("max_instances", AtOnce, max_instances.to_string());
    settings.add("ready_timeout", AtOnce, format!("{ready_timeout:?}"));
    settings.add("restart", AtOnce, word(restart));
    settings.add("backoff.initial", AtOnce, format!("{:?}", backoff.initial));
    settings.add("backoff.factor", AtOnce, backoff.factor.to_string());
    settings.add("backoff.max", AtOnce, format!("{:?}", backoff.max));
    settings.add("backoff.reset", AtOnce, format!("{:?}", backoff.reset));
    settings.add("backoff.jitter", AtOnce, backoff.jitter.to_string());
    let limit =
        restart_limit.map(|limit| format!("{} within {:?}, then {}", limit.restarts, limit.window, word(&limit.then)));
    settings.maybe("restart_limit", AtOnce, limit);
    settings.add("on_dependence_restart", AtOnce, word(on_dependence_restart));
    settings.add("significant", AtOnce, significant.to_string());
    settings.add("success_exit_codes", AtOnce, format!("{success_exit_codes:?}"));
    settings.add("stop_signal", AtOnce, stop_signal.clone());
    settings.add("stop_grace", AtOnce, format!("{stop_grace:?}"));
    settings.add("log.size", AtOnce, log.size.to_string());
    settings.add("log.files", AtOnce, log.files.to_string());
    settings.0
}

/// What a run of a process is started with, as a number: of every setting that takes a restart to hold. Another version
/// may put settings into words differently, so its numbers say nothing.
pub(in crate::supervisor) fn fingerprint(plan: &Plan, spec: &ProcessSpec) -> [u64; 2] {
    let settings = of_process(plan, spec);
    let of_start = settings.iter().filter(|setting| setting.effect == Restart);
    let texts = of_start.flat_map(|setting| [setting.key.as_str(), "=", setting.text.as_str(), "\n"]);
    [fnv(std::iter::once(env!("CARGO_PKG_VERSION"))), fnv(texts)]
}

/// FNV-1a: the same on every machine, and in every version of the library.
fn fnv<'a>(texts: impl Iterator<Item = &'a str>) -> u64 {
    let bytes = texts.flat_map(str::bytes);
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The settings of the context, and of all processes together.
pub(super) fn of_all(plan: &Plan) -> Vec<Setting> {
    let Plan { application: _, config_path: _, context, log_total, processes: _ } = plan;
    let ContextSpec { headers, durability, retain, when_full, wait_limit, max_record } = context;
    let Retain { records, bytes, age, keys, reports } = retain;
    let mut settings = Settings::default();
    settings.maybe("log.total", AtOnce, log_total.map(|total| total.to_string()));
    settings.maybe("headers", AtOnce, headers.as_ref().map(|headers| format!("{headers:?}")));
    settings.add("retain.records", AtOnce, records.to_string());
    settings.add("retain.bytes", AtOnce, bytes.to_string());
    settings.add("retain.age", AtOnce, format!("{age:?}"));
    settings.add("retain.keys", AtOnce, keys.to_string());
    settings.add("retain.reports", AtOnce, reports.to_string());
    settings.add("durability", NeedsDown, word(durability));
    settings.add("when_full", NeedsDown, word(when_full));
    settings.add("wait_limit", NeedsDown, format!("{wait_limit:?}"));
    settings.add("max_record", NeedsDown, max_record.to_string());
    settings.0
}

#[derive(Default)]
struct Settings(Vec<Setting>);

impl Settings {
    fn add(&mut self, key: &str, effect: Effect, text: String) {
        self.0.push(Setting { key: key.to_owned(), text, effect, is_secret: false });
    }

    /// The one added last is a secret.
    fn hide_last(&mut self, is_secret: bool) {
        if let Some(last) = self.0.last_mut() {
            last.is_secret = is_secret;
        }
    }

    fn extra_env(&mut self, extra_env: &ExtraEnv) {
        let ExtraEnv { secrets, secret_files, port } = extra_env;
        self.list("secrets", AtOnce, &secrets.iter().cloned().collect::<Vec<_>>());
        for (name, file) in secret_files {
            self.add(&format!("secret_file.{name}"), Restart, path(file));
        }
        let base = |port: &Port| port.base.map_or("any free one".to_owned(), |base| format!("from {base}"));
        self.maybe("port", Restart, port.as_ref().map(|port| format!("{} in {}", base(port), port.env)));
    }

    /// One that need not be set.
    fn maybe(&mut self, key: &str, effect: Effect, text: Option<String>) {
        if let Some(text) = text {
            self.add(key, effect, text);
        }
    }

    /// One that is not set when it is empty.
    fn list(&mut self, key: &str, effect: Effect, items: &[String]) {
        self.maybe(key, effect, (!items.is_empty()).then(|| format!("{items:?}")));
    }

    fn attributes(&mut self, attributes: &Attributes) {
        let Attributes { user, group, umask, nice, limits, memory, cpu } = attributes;
        let account = |account: &Account| match account {
            Account::Name(name) => name.clone(),
            Account::Id(id) => id.to_string(),
        };
        let most = |limit: Option<u64>| limit.map_or("unlimited".to_owned(), |limit| limit.to_string());
        self.maybe("user", Restart, user.as_ref().map(account));
        self.maybe("group", Restart, group.as_ref().map(account));
        self.maybe("umask", Restart, umask.map(|umask| format!("{umask:04o}")));
        self.maybe("nice", Restart, nice.map(|nice| nice.to_string()));
        for limit in limits {
            let key = format!("limits.{}", word(&limit.resource));
            self.add(&key, Restart, format!("{} to {}", most(limit.soft), most(limit.hard)));
        }
        self.maybe("memory", Restart, memory.map(|memory| memory.to_string()));
        self.maybe("cpu", Restart, cpu.map(|cpu| cpu.to_string()));
    }

    fn trigger(&mut self, plan: &Plan, trigger: &Trigger) {
        self.add("trigger_type", AtOnce, trigger.type_name().to_owned());
        match trigger {
            Trigger::OnStart | Trigger::Manual => {}
            Trigger::Cron(schedule) => {
                self.add("trigger_definition", AtOnce, schedule.definition().to_owned());
                self.add("timezone", AtOnce, schedule.zone().to_string());
            }
            Trigger::DependenceFinish { sources, on } => {
                self.add("trigger_definition", AtOnce, word(on));
                let sources: Vec<&str> = sources.iter().map(|prc| plan.process(*prc).name.as_str()).collect();
                self.add("depends_on (sources)", AtOnce, format!("{sources:?}"));
            }
        }
    }
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

fn gate(plan: &Plan, dependence: &Dependence) -> String {
    format!("{} {}", plan.process(dependence.process).name, word(&dependence.condition))
}

fn readiness(ready: &Readiness) -> String {
    match ready {
        Readiness::Started => "started".to_owned(),
        Readiness::Sdk => "sdk".to_owned(),
        Readiness::Notify => "notify".to_owned(),
        Readiness::Probe(asked) => probe(asked),
    }
}

fn probe(probe: &Probe) -> String {
    let Probe { check, interval, timeout, successes, failures, initial_delay } = probe;
    let what = match check {
        Check::Http { address, target } => format!("http {}:{}{target}", address.host, address.port),
        Check::Tcp(address) => format!("tcp {}:{}", address.host, address.port),
        Check::Exec { program, args } => format!("exec {} {args:?}", path(program)),
        Check::Log(Pattern::Text(text)) => return format!("log {text:?}"),
        Check::Log(Pattern::Regex(regex)) => return format!("log_regex {regex:?}"),
        Check::Progress => "progress".to_owned(),
    };
    format!(
        "{what}, interval {interval:?}, timeout {timeout:?}, successes {successes}, failures {failures}, \
         initial_delay {initial_delay:?}"
    )
}

/// A choice as it is written: `OnFailure` is "on_failure".
fn word(choice: &impl Debug) -> String {
    let mut word = String::new();
    for c in format!("{choice:?}").chars() {
        if c.is_ascii_uppercase() && !word.is_empty() {
            word.push('_');
        }
        word.push(c.to_ascii_lowercase());
    }
    word
}
