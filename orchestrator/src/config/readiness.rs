//! What copo.toml says about when a run is ready and how it is seen to be alive.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use super::at::At;
use super::process::Reader;
use super::quantity::RawDuration;
use crate::plan::{Address, Check, Pattern, Probe, Readiness};
use crate::supervisor::ProbeKind;

/// More answers in a row than anyone waits for.
const MAX_ANSWERS: u32 = 1_000;
/// A probe more often than this is a load, not a probe.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(10);
/// How often it is looked at within `progress` whether something was read.
const LOOKS: u32 = 4;

/// When a run counts as ready: one of the words, or a probe.
#[derive(Debug, JsonSchema)]
#[schemars(untagged)]
#[schemars(rename = "Ready")]
pub(super) enum RawReady {
    /// When it is started, when it says so through the SDK, or when it says so to NOTIFY_SOCKET.
    Word(RawReadiness),
    /// While it answers.
    Probe(Box<RawProbe>),
}

/// When a run counts as ready, in a word.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Readiness")]
pub(super) enum RawReadiness {
    Started,
    Sdk,
    Notify,
}

/// A probe: one of http, tcp, exec, log and log_regex, and when it is asked.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
#[schemars(rename = "Probe")]
pub(super) struct RawProbe {
    /// A GET of this address is answered with a status from 200 to 399.
    pub http: Option<At<String>>,
    /// A connection to this "host:port" is taken.
    pub tcp: Option<At<String>>,
    /// This program (and its arguments) ends with 0; it runs as the process does.
    pub exec: Option<At<Vec<At<String>>>>,
    /// The output has held this text.
    pub log: Option<At<String>>,
    /// A line of the output has matched this regular expression.
    pub log_regex: Option<At<String>>,
    /// From one answer to the next question. Default: "1s", of liveness "10s". Until the first good answer it is asked more
    /// often, at first after 50 ms.
    pub interval: Option<At<RawDuration>>,
    /// How long an answer may take.
    #[schemars(extend("default" = "1s"))]
    pub timeout: Option<At<RawDuration>>,
    /// So many good answers in a row count as good.
    #[schemars(extend("default" = 1))]
    pub successes: Option<At<u32>>,
    /// So many bad answers in a row count as bad. Default: 3, of startup 30.
    pub failures: Option<At<u32>>,
    /// From the start to the first question.
    #[schemars(extend("default" = "0s"))]
    pub initial_delay: Option<At<RawDuration>>,
}

/// By hand, since serde's own untagged enums forget where in the file an error is.
impl<'de> Deserialize<'de> for RawReady {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ReadyVisitor)
    }
}

struct ReadyVisitor;

impl<'de> Visitor<'de> for ReadyVisitor {
    type Value = RawReady;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"started\", \"sdk\", \"notify\" or a probe such as { http = \"http://127.0.0.1:8080/health\" }")
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<Self::Value, E> {
        RawReadiness::deserialize(StrDeserializer::new(word)).map(RawReady::Word)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        RawProbe::deserialize(MapAccessDeserializer::new(map)).map(|probe| RawReady::Probe(Box::new(probe)))
    }
}

/// What asking one of several things comes to.
struct Question<'a> {
    /// "ready.http"
    key: String,
    raw: &'a At<String>,
}

impl Reader<'_> {
    pub(super) fn ready(&mut self, raw: Option<At<RawReady>>) -> Readiness {
        let Some(raw) = raw else { return Readiness::Started };
        match &raw.value {
            RawReady::Word(RawReadiness::Started) => Readiness::Started,
            RawReady::Word(RawReadiness::Sdk) => Readiness::Sdk,
            RawReady::Word(RawReadiness::Notify) => {
                self.notify("ready", &raw);
                Readiness::Notify
            }
            RawReady::Probe(probe) => {
                self.one_probe(ProbeKind::Ready, &raw, probe).map_or(Readiness::Started, Readiness::Probe)
            }
        }
    }

    pub(super) fn probe(&mut self, kind: ProbeKind, raw: Option<&At<RawProbe>>) -> Option<Probe> {
        raw.and_then(|raw| self.one_probe(kind, raw, &raw.value))
    }

    /// A run that follows records is looked at some times within `limit`.
    pub(super) fn progress(&mut self, raw: Option<At<RawDuration>>) -> Option<Probe> {
        let raw = raw?;
        let limit = raw.value.0;
        if limit < SHORTEST_INTERVAL * LOOKS {
            self.refuse("progress", &raw, "it is too short to tell anything");
        }
        let interval = limit / LOOKS;
        Some(Probe {
            check: Check::Progress,
            interval,
            timeout: interval,
            successes: 1,
            failures: LOOKS,
            initial_delay: interval,
        })
    }

    pub(super) fn watchdog(&mut self, raw: Option<At<RawDuration>>) -> Option<Duration> {
        let raw = raw?;
        self.notify("watchdog", &raw);
        if raw.value.0 < SHORTEST_INTERVAL {
            self.refuse("watchdog", &raw, "nothing gives a sign of life so often");
        }
        Some(raw.value.0)
    }

    /// What needs a NOTIFY_SOCKET is refused where there are none.
    pub(super) fn notify<T>(&mut self, key: &str, raw: &At<T>) {
        if cfg!(windows) {
            self.refuse(key, raw, "there is no NOTIFY_SOCKET on Windows");
        }
    }

    fn one_probe<T>(&mut self, kind: ProbeKind, at: &At<T>, raw: &RawProbe) -> Option<Probe> {
        let check = self.check(kind, at, raw)?;
        if matches!(check, Check::Log(_)) {
            self.refuse_schedule(kind, raw);
        }
        let (interval, failures) = match kind {
            ProbeKind::Startup => (Duration::from_secs(1), 30),
            ProbeKind::Ready | ProbeKind::Progress => (Duration::from_secs(1), 3),
            ProbeKind::Liveness => (Duration::from_secs(10), 3),
        };
        let mut time = |key: &str, raw: Option<&At<RawDuration>>, default: Duration, least: Duration| {
            let Some(raw) = raw else { return default };
            if raw.value.0 < least {
                self.refuse(&format!("{}.{key}", kind.name()), raw, &format!("it is shorter than {least:?}"));
            }
            raw.value.0
        };
        let interval = time("interval", raw.interval.as_ref(), interval, SHORTEST_INTERVAL);
        let timeout = time("timeout", raw.timeout.as_ref(), Duration::from_secs(1), Duration::from_millis(1));
        let initial_delay = time("initial_delay", raw.initial_delay.as_ref(), Duration::ZERO, Duration::ZERO);
        let mut count = |key: &str, raw: &Option<At<u32>>, default: u32| {
            self.within(&format!("{}.{key}", kind.name()), raw.clone(), 1, MAX_ANSWERS).unwrap_or(default)
        };
        let (successes, failures) = (count("successes", &raw.successes, 1), count("failures", &raw.failures, failures));
        Some(Probe { check, interval, timeout, successes, failures, initial_delay })
    }

    /// The one thing that is asked.
    fn check<T>(&mut self, kind: ProbeKind, at: &At<T>, raw: &RawProbe) -> Option<Check> {
        let asked = [
            raw.http.as_ref().map(|raw| raw.span.clone()),
            raw.tcp.as_ref().map(|raw| raw.span.clone()),
            raw.exec.as_ref().map(|raw| raw.span.clone()),
            raw.log.as_ref().map(|raw| raw.span.clone()),
            raw.log_regex.as_ref().map(|raw| raw.span.clone()),
        ];
        let mut asked = asked.into_iter().flatten();
        if asked.next().is_none() {
            self.refuse(kind.name(), at, "it asks nothing: one of http, tcp, exec, log and log_regex is needed");
            return None;
        }
        if let Some(second) = asked.next() {
            let second = At { span: second, value: () };
            self.refuse(kind.name(), &second, "it may ask one thing: http, tcp, exec, log or log_regex");
            return None;
        }
        let question = |word: &str, raw| Question { key: format!("{}.{word}", kind.name()), raw };
        if let Some(raw) = &raw.http {
            return self.http(&question("http", raw));
        }
        if let Some(raw) = &raw.tcp {
            return self.tcp(&question("tcp", raw));
        }
        if let Some(raw) = &raw.exec {
            return self.exec(&format!("{}.exec", kind.name()), raw);
        }
        if let Some(raw) = &raw.log {
            return self.log_text(kind, &question("log", raw));
        }
        raw.log_regex.as_ref().and_then(|raw| self.log_regex(kind, &question("log_regex", raw)))
    }

    fn http(&mut self, question: &Question<'_>) -> Option<Check> {
        let parsed = http_url(&question.raw.value);
        parsed.map_err(|why| self.refuse(&question.key, question.raw, &why)).ok()
    }

    fn tcp(&mut self, question: &Question<'_>) -> Option<Check> {
        let parsed = address(&question.raw.value, None).map(Check::Tcp);
        parsed.map_err(|why| self.refuse(&question.key, question.raw, &why)).ok()
    }

    fn exec(&mut self, key: &str, raw: &At<Vec<At<String>>>) -> Option<Check> {
        let Some((program, args)) = raw.value.split_first() else {
            self.refuse(key, raw, "it is empty: a program and its arguments, such as [\"pg_isready\", \"-q\"]");
            return None;
        };
        let program = self.program(key, program)?;
        let args: Option<Vec<String>> = args.iter().map(|arg| self.text(key, arg.clone())).collect();
        Some(Check::Exec { program, args: args? })
    }

    fn log_text(&mut self, kind: ProbeKind, question: &Question<'_>) -> Option<Check> {
        if question.raw.value.is_empty() {
            self.refuse(&question.key, question.raw, "it is empty");
            return None;
        }
        self.log_of(kind, question, Pattern::Text(question.raw.value.clone()))
    }

    fn log_regex(&mut self, kind: ProbeKind, question: &Question<'_>) -> Option<Check> {
        if let Err(error) = regex::bytes::Regex::new(&question.raw.value) {
            // Its last line says what is wrong, those before it show where.
            let told = error.to_string();
            let why = told.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            self.refuse(&question.key, question.raw, &format!("it is no regular expression: {why}"));
            return None;
        }
        self.log_of(kind, question, Pattern::Regex(question.raw.value.clone()))
    }

    fn log_of(&mut self, kind: ProbeKind, question: &Question<'_>, pattern: Pattern) -> Option<Check> {
        match kind {
            ProbeKind::Startup | ProbeKind::Ready => Some(Check::Log(pattern)),
            ProbeKind::Liveness | ProbeKind::Progress => {
                self.refuse(&question.key, question.raw, "a line that was written does not show that it is alive now");
                None
            }
        }
    }

    /// Nothing is asked of a log, so there is no when.
    fn refuse_schedule(&mut self, kind: ProbeKind, raw: &RawProbe) {
        let times = [("interval", &raw.interval), ("timeout", &raw.timeout), ("initial_delay", &raw.initial_delay)];
        let counts = [("successes", &raw.successes), ("failures", &raw.failures)];
        let why = "a log is watched all the time, and a line counts at once";
        for (key, raw) in times {
            if let Some(raw) = raw {
                self.refuse(&format!("{}.{key}", kind.name()), raw, why);
            }
        }
        for (key, raw) in counts {
            if let Some(raw) = raw {
                self.refuse(&format!("{}.{key}", kind.name()), raw, why);
            }
        }
    }

    /// A program as `executable_path` names one.
    fn program(&mut self, key: &str, raw: &At<String>) -> Option<PathBuf> {
        let is_path = raw.value.contains('/') || (cfg!(windows) && raw.value.contains('\\'));
        let resolved = self.path(key, raw)?;
        Some(if is_path { resolved } else { PathBuf::from(&raw.value) })
    }
}

/// "http://host[:port][/path]".
fn http_url(written: &str) -> Result<Check, String> {
    let example = "such as \"http://127.0.0.1:8080/health\"";
    if written.starts_with("https://") {
        return Err("https is not asked; exec with a client such as curl can do that".to_owned());
    }
    let rest = written.strip_prefix("http://").ok_or_else(|| format!("it is no http:// address, {example}"))?;
    if rest.bytes().any(|byte| byte.is_ascii_control() || byte == b' ') {
        return Err("it holds a space or a control character".to_owned());
    }
    let rest = rest.split('#').next().unwrap_or_default();
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(end);
    let address = address(authority, Some(80))?;
    let slash = if target.starts_with('/') { "" } else { "/" };
    Ok(Check::Http { address, target: format!("{slash}{target}") })
}

/// "host:port", "[::1]:port".
fn address(written: &str, default_port: Option<u16>) -> Result<Address, String> {
    let refused = || format!("{written:?} is no host and port, such as \"127.0.0.1:5432\"");
    let (host, port) = match written.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or_else(refused)?;
            (host, port.strip_prefix(':').or(if port.is_empty() { None } else { Some("?") }))
        }
        None => written.rsplit_once(':').map_or((written, None), |(host, port)| (host, Some(port))),
    };
    let is_name =
        |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_') || (written.starts_with('[') && c == ':');
    if host.is_empty() || !host.chars().all(is_name) {
        return Err(refused());
    }
    let port = match port {
        Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or_else(refused)?,
        None => default_port.ok_or_else(refused)?,
    };
    Ok(Address { host: host.to_owned(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(host: &str, port: u16, target: &str) -> Result<Check, String> {
        Ok(Check::Http { address: Address { host: host.to_owned(), port }, target: target.to_owned() })
    }

    #[test]
    fn an_address_is_taken_apart() {
        assert_eq!(http_url("http://127.0.0.1:8080/health?deep=1#x"), http("127.0.0.1", 8080, "/health?deep=1"));
        assert_eq!(http_url("http://localhost"), http("localhost", 80, "/"));
        assert_eq!(http_url("http://[::1]:81?x"), http("::1", 81, "/?x"));
        for wrong in
            ["", "localhost", "http://", "http://:80", "http://a:0", "http://a b/", "http://u@h/", "http://[::1"]
        {
            assert!(http_url(wrong).is_err(), "{wrong}");
        }
        assert_eq!(address("db:5432", None), Ok(Address { host: "db".to_owned(), port: 5432 }));
        for wrong in ["db", "db:", ":5432", "db:x", "::1:5432", "[::1]", "[::1]x", "db:70000"] {
            assert!(address(wrong, None).is_err(), "{wrong}");
        }
    }
}
