//! What a `[process.…]` table means: [`RawProcess`] → [`ProcessSpec`]. Every default of a process is here.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono_tz::Tz;
use copo_proto::{env, name};

use super::at::{At, Entries};
use super::attributes::{self, RawAttributes};
use super::choice::RawTriggerType;
use super::dependences::{self, Dependences};
use super::error::{Problems, bare, did_you_mean};
use super::quantity::RawDuration;
use super::raw::{RawLog, RawProcess};
use super::zone;
use crate::plan::{
    Attributes, Condition, FinishKind, LogSpec, MAX_REPLICAS, Overlap, ProcessSpec, RestartPolicy, Trigger,
};
use crate::supervisor::ProbeKind;
use crate::supervisor::cron::Schedule;

/// More files of one log than anyone reads.
const MAX_LOG_FILES: u32 = 1_000;
/// Set by the orchestrator for every run; nobody else may.
pub(super) const OWN_VARIABLES: [&str; 6] =
    [env::SOCKET, env::APPLICATION, env::PROCESS, env::RUN, env::TOKEN, env::SCHEDULED_TIME];

/// What a process's table is read against.
pub(super) struct Surroundings<'a> {
    /// The folder of copo.toml.
    pub folder: &'a Path,
    /// The names of all processes, and the place of each in the file's order.
    pub names: &'a HashMap<&'a str, usize>,
    /// Holds where no timezone is given.
    pub system_zone: Tz,
}

/// Makes the spec of one process, and tells on which others it depends (as indices, with the places where it says so).
/// Where there is a problem the spec has something in its place; it is never used.
pub(super) fn spec(
    name: At<String>,
    raw: RawProcess,
    surroundings: &Surroundings<'_>,
    problems: &mut Problems,
) -> (ProcessSpec, Vec<At<usize>>) {
    let mut reader = Reader { name: &name, folder: surroundings.folder, problems };
    let dependences = dependences::resolve(&name.value, raw.depends_on, surroundings.names, reader.problems);
    let trigger_type = raw.trigger_type.unwrap_or(RawTriggerType::OnStart);
    let timezone = reader.timezone(raw.timezone, trigger_type, surroundings.system_zone);
    let replicas = reader.within("replicas", raw.replicas, 1, MAX_REPLICAS).unwrap_or(1);
    let trigger = reader.trigger(trigger_type, raw.trigger_definition, timezone, &dependences);
    let depends_on = match trigger_type {
        RawTriggerType::DependenceFinish => dependences.gates,
        RawTriggerType::OnStart | RawTriggerType::Manual | RawTriggerType::Cron => dependences.all,
    };
    let env = reader.environment(raw.env);
    let spec = ProcessSpec {
        extra_env: reader.extra_env(raw.secrets, raw.secret_file, raw.port, &env),
        executable_path: reader.executable(raw.executable_path),
        file_path: raw.file_path.and_then(|path| reader.path("file_path", &path)),
        args: raw.args.into_iter().filter_map(|arg| reader.text("args", arg)).collect(),
        groups: reader.groups(raw.groups),
        cwd: raw.cwd.and_then(|path| reader.path("cwd", &path)).unwrap_or_else(|| surroundings.folder.to_owned()),
        env,
        env_file: raw.env_file.and_then(|path| reader.path("env_file", &path)),
        on_dependence_restart: reader.on_dependence_restart(
            raw.on_dependence_restart,
            depends_on.iter().any(|on| matches!(on.condition, Condition::Started | Condition::Ready)),
        ),
        depends_on,
        trigger,
        catch_up: reader.catch_up(raw.catch_up, trigger_type),
        jitter: reader.jitter(raw.jitter, trigger_type),
        run_timeout: reader.run_timeout(raw.run_timeout),
        overlap: raw.overlap.map_or(default_overlap(trigger_type), Into::into),
        max_instances: reader
            .within("max_instances", raw.max_instances, replicas, MAX_REPLICAS)
            .unwrap_or(replicas.max(10)),
        replicas,
        ready: reader.ready(raw.ready),
        startup: reader.probe(ProbeKind::Startup, raw.startup.as_ref()),
        liveness: reader.probe(ProbeKind::Liveness, raw.liveness.as_ref()),
        progress: reader.progress(raw.progress),
        watchdog: reader.watchdog(raw.watchdog),
        notify: raw.notify.is_some_and(|notify| {
            if notify.value {
                reader.notify("notify", &notify);
            }
            notify.value
        }),
        ready_timeout: reader.ready_timeout(raw.ready_timeout),
        restart: raw.restart.map_or(default_restart(trigger_type), Into::into),
        backoff: reader.backoff(raw.backoff),
        restart_limit: reader.restart_limit(raw.restart_limit),
        significant: raw.significant.unwrap_or(false),
        success_exit_codes: raw.success_exit_codes.map_or(vec![0], |codes| reader.exit_codes(codes)),
        stop_signal: raw.stop_signal.map_or("SIGTERM", |signal| signal.0).to_owned(),
        stop_grace: raw.stop_grace.map_or(Duration::from_secs(10), |grace| grace.0),
        control: raw.control.unwrap_or(false),
        log: reader.log(raw.log),
        stdin: reader.stdin(raw.stdin, raw.tty),
        attributes: reader.attributes(RawAttributes {
            user: raw.user,
            group: raw.group,
            umask: raw.umask,
            nice: raw.nice,
            limits: raw.limits,
            memory: raw.memory,
            cpu: raw.cpu,
        }),
        name: name.value.clone(),
    };
    (spec, dependences.edges)
}

fn default_overlap(trigger_type: RawTriggerType) -> Overlap {
    match trigger_type {
        RawTriggerType::OnStart | RawTriggerType::Manual | RawTriggerType::Cron => Overlap::Skip,
        RawTriggerType::DependenceFinish => Overlap::Queue,
    }
}

fn default_restart(trigger_type: RawTriggerType) -> RestartPolicy {
    match trigger_type {
        RawTriggerType::OnStart => RestartPolicy::OnFailure,
        RawTriggerType::Manual | RawTriggerType::Cron | RawTriggerType::DependenceFinish => RestartPolicy::No,
    }
}

/// Reads the keys of one process.
pub(super) struct Reader<'a> {
    pub(super) name: &'a At<String>,
    folder: &'a Path,
    pub(super) problems: &'a mut Problems,
}

impl Reader<'_> {
    /// "cannot use process.clean.args: why".
    pub(super) fn refuse<T>(&mut self, key: &str, at: &At<T>, why: &str) {
        self.problems.push(at.span.clone(), format!("cannot use process.{}.{key}: {why}", bare(&self.name.value)));
    }

    fn executable(&mut self, raw: Option<At<String>>) -> PathBuf {
        let Some(raw) = raw else {
            let message = format!("cannot run process {:?}: executable_path is missing", self.name.value);
            self.problems.push(self.name.span.clone(), message);
            return PathBuf::new();
        };
        let is_path = raw.value.contains('/') || (cfg!(windows) && raw.value.contains('\\'));
        let resolved = self.path("executable_path", &raw);
        if is_path { resolved.unwrap_or_default() } else { PathBuf::from(raw.value) }
    }

    /// A path relative to the folder of copo.toml.
    pub(super) fn path(&mut self, key: &str, raw: &At<String>) -> Option<PathBuf> {
        if raw.value.is_empty() {
            self.refuse(key, raw, "it is empty");
            return None;
        }
        self.text(key, raw.clone()).map(|path| absolute(self.folder, &path))
    }

    /// A text that can be handed to a program.
    pub(super) fn text(&mut self, key: &str, raw: At<String>) -> Option<String> {
        if raw.value.contains('\0') {
            self.refuse(key, &raw, "a NUL character cannot be passed to a program");
            return None;
        }
        Some(raw.value)
    }

    fn groups(&mut self, raw: Vec<At<String>>) -> Vec<String> {
        let mut groups: Vec<String> = Vec::with_capacity(raw.len());
        for group in raw {
            if let Err(why) = name::check(&group.value) {
                self.refuse("groups", &group, &format!("{:?}: {why}", group.value));
            } else if groups.contains(&group.value) {
                self.refuse("groups", &group, &format!("{:?} stands there already", group.value));
            } else {
                groups.push(group.value);
            }
        }
        groups
    }

    fn environment(&mut self, raw: Entries<At<String>>) -> BTreeMap<String, String> {
        let mut variables = BTreeMap::new();
        for (name, value) in raw.0 {
            let key = format!("env.{}", bare(&name.value));
            if OWN_VARIABLES.contains(&name.value.as_str()) {
                self.refuse(&key, &name, "copo itself sets it for every run");
            } else if name.value.is_empty() || name.value.contains(['=', '\0']) {
                self.refuse("env", &name, &format!("{:?} is no name of a variable", name.value));
            } else if let Some(value) = self.text(&key, value) {
                variables.insert(name.value, value);
            }
        }
        variables
    }

    fn timezone(&mut self, raw: Option<At<String>>, trigger_type: RawTriggerType, system: Tz) -> Tz {
        let Some(raw) = raw else { return system };
        if trigger_type != RawTriggerType::Cron {
            self.refuse("timezone", &raw, "only a cron trigger has one");
            return system;
        }
        zone::named(&raw.value).unwrap_or_else(|why| {
            self.refuse("timezone", &raw, &format!("{:?}: {why}", raw.value));
            system
        })
    }

    fn trigger(
        &mut self,
        trigger_type: RawTriggerType,
        definition: Option<At<String>>,
        timezone: Tz,
        dependences: &Dependences,
    ) -> Trigger {
        match trigger_type {
            RawTriggerType::OnStart => self.without_definition(definition, Trigger::OnStart),
            RawTriggerType::Manual => self.without_definition(definition, Trigger::Manual),
            RawTriggerType::Cron => self.cron(definition, timezone),
            RawTriggerType::DependenceFinish => self.dependence_finish(definition, dependences),
        }
    }

    fn without_definition(&mut self, definition: Option<At<String>>, trigger: Trigger) -> Trigger {
        if let Some(definition) = definition {
            let why = format!("trigger_type {:?} has none", trigger.type_name());
            self.refuse("trigger_definition", &definition, &why);
        }
        trigger
    }

    fn cron(&mut self, definition: Option<At<String>>, timezone: Tz) -> Trigger {
        let Some(definition) = definition else {
            let why = "trigger_definition is missing, such as \"0 6 * * *\"";
            let message = format!("cannot schedule process {:?}: {why}", self.name.value);
            self.problems.push(self.name.span.clone(), message);
            return Trigger::Manual;
        };
        match Schedule::parse(&definition.value, Some(timezone.name())) {
            Ok(schedule) => Trigger::Cron(schedule),
            Err(why) => {
                self.refuse("trigger_definition", &definition, &format!("{:?}: {why}", definition.value));
                Trigger::Manual
            }
        }
    }

    fn dependence_finish(&mut self, definition: Option<At<String>>, dependences: &Dependences) -> Trigger {
        if dependences.has_no_source {
            let why = "a dependence_finish trigger needs a plain name in depends_on, whose finish fires it";
            let message = format!("cannot trigger process {:?}: {why}", self.name.value);
            self.problems.push(self.name.span.clone(), message);
        }
        let on = definition.map_or(FinishKind::Succeeded, |definition| match definition.value.as_str() {
            "succeeded" => FinishKind::Succeeded,
            "failed" => FinishKind::Failed,
            "finished" => FinishKind::Finished,
            other => {
                let near = did_you_mean(other, ["succeeded", "failed", "finished"]);
                let why = format!("{other:?} is none of \"succeeded\", \"failed\", \"finished\"{near}");
                self.refuse("trigger_definition", &definition, &why);
                FinishKind::Succeeded
            }
        });
        Trigger::DependenceFinish { sources: dependences.sources.clone(), on }
    }

    /// A number within limits, if there is one.
    pub(super) fn within(&mut self, key: &str, raw: Option<At<u32>>, least: u32, most: u32) -> Option<u32> {
        let raw = raw?;
        if !(least..=most).contains(&raw.value) {
            self.refuse(key, &raw, &format!("{} is not from {least} to {most}", raw.value));
        }
        Some(raw.value)
    }

    fn ready_timeout(&mut self, raw: Option<At<RawDuration>>) -> Duration {
        let Some(raw) = raw else { return Duration::from_secs(60) };
        if raw.value.0.is_zero() {
            self.refuse("ready_timeout", &raw, "nothing is ready at once");
        }
        raw.value.0
    }

    fn attributes(&mut self, raw: RawAttributes) -> Attributes {
        attributes::attributes(raw, |key, span, why| self.refuse(key, &At { span, value: () }, why))
    }

    fn exit_codes(&mut self, raw: Vec<At<i64>>) -> Vec<i32> {
        raw.into_iter().filter_map(|code| self.exit_code(&code)).collect()
    }

    /// On Unix an exit code is a byte. On Windows it is 32 bits, written with or without a sign.
    fn exit_code(&mut self, code: &At<i64>) -> Option<i32> {
        let (least, most) = if cfg!(windows) { (i64::from(i32::MIN), i64::from(u32::MAX)) } else { (0, 255) };
        if !(least..=most).contains(&code.value) {
            self.refuse("success_exit_codes", code, &format!("{} is not from {least} to {most}", code.value));
            return None;
        }
        // Within the limits the low 32 bits are the whole code.
        Some(code.value as i32)
    }

    fn log(&mut self, raw: RawLog) -> LogSpec {
        let size = raw.size.map_or(10 << 20, |size| {
            if size.value.0 == 0 {
                self.refuse("log.size", &size, "a log of no bytes holds nothing");
            }
            size.value.0
        });
        LogSpec { size, files: self.within("log.files", raw.files, 1, MAX_LOG_FILES).unwrap_or(5) }
    }
}

/// `path` seen from `folder`. A ".." stays as it is: what it means depends on links.
fn absolute(folder: &Path, path: &str) -> PathBuf {
    folder.join(path).components().collect()
}
