//! Records and reports as JSON (DESIGN.md §5 and C7), in one place.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use copo_proto::v1;
use serde_json::{Map, Value};

const EVENT_PREFIX: &str = "EVENT_KIND_";

/// Why a reports.json cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// It is no JSON.
    #[error("cannot read reports: {0}")]
    Syntax(#[from] serde_json::Error),
    /// It is JSON of another shape.
    #[error("cannot read reports: {0}")]
    Shape(String),
}

/// `{"seq":…,"sent_time":…,"sent_by":…,"key":…,"udd_buff":…}`, or `udd_buff_base64` where it is not UTF-8.
#[must_use]
pub fn record(record: &v1::UddRecord) -> Value {
    let mut object = Map::new();
    object.insert("seq".into(), record.seq.into());
    object.insert("sent_time".into(), record.sent_time.into());
    object.insert("sent_by".into(), record.sent_by.clone().into());
    object.insert("key".into(), record.key.clone().into());
    insert_bytes(&mut object, "udd_buff", &record.udd_buff);
    Value::Object(object)
}

/// `{"seq":…,"report_time":…,"sent_by":…,"report_buff":…,"facts":{…}}`; `facts` only where there are any.
#[must_use]
pub fn report(report: &v1::MetaReport) -> Value {
    let mut object = Map::new();
    object.insert("seq".into(), report.seq.into());
    object.insert("report_time".into(), report.report_time.into());
    object.insert("sent_by".into(), report.sent_by.clone().into());
    insert_bytes(&mut object, "report_buff", &report.report_buff);
    if let Some(facts) = &report.facts {
        object.insert("facts".into(), facts_value(facts));
    }
    Value::Object(object)
}

/// reports.json: `{"last_report":<report_time of the newest, 0 without one>,"reports":[oldest first]}`.
#[must_use]
pub fn reports_document(reports: &[v1::MetaReport]) -> Vec<u8> {
    let mut object = Map::new();
    object.insert("last_report".into(), reports.last().map_or(0, |newest| newest.report_time).into());
    object.insert("reports".into(), reports.iter().map(report).collect());
    let mut document = Value::Object(object).to_string().into_bytes();
    document.push(b'\n');
    document
}

/// The reports of a reports.json, oldest first.
pub fn parse_reports_document(document: &[u8]) -> Result<Vec<v1::MetaReport>, JsonError> {
    let value: Value = serde_json::from_slice(document)?;
    let reports = value.get("reports").and_then(Value::as_array);
    let reports = reports.ok_or_else(|| JsonError::Shape("there is no list named reports".into()))?;
    reports.iter().map(parse_report).collect()
}

/// A report from its JSON form.
pub fn parse_report(value: &Value) -> Result<v1::MetaReport, JsonError> {
    let number = |name: &str| value.get(name).and_then(Value::as_u64).ok_or_else(|| missing(name));
    Ok(v1::MetaReport {
        seq: number("seq")?,
        report_time: number("report_time")?,
        sent_by: value.get("sent_by").and_then(Value::as_str).ok_or_else(|| missing("sent_by"))?.to_owned(),
        report_buff: bytes_of(value, "report_buff")?,
        facts: value.get("facts").map(parse_facts).transpose()?,
    })
}

/// The name of an event as it stands in JSON, such as "orchestrator_started".
#[must_use]
pub fn event_name(event: v1::EventKind) -> String {
    event.as_str_name().trim_start_matches(EVENT_PREFIX).to_ascii_lowercase()
}

fn insert_bytes(object: &mut Map<String, Value>, name: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => object.insert(name.to_owned(), text.into()),
        Err(_) => object.insert(format!("{name}_base64"), BASE64.encode(bytes).into()),
    };
}

fn facts_value(facts: &v1::Facts) -> Value {
    let mut object = Map::new();
    let mut insert = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            object.insert(name.to_owned(), value);
        }
    };
    insert("event", Some(event_name(facts.event()).into()));
    insert("process", facts.process.clone().map(Value::from));
    insert("internal_name", facts.internal_name.clone().map(Value::from));
    insert("run", facts.run.clone().map(Value::from));
    insert("pid", facts.pid.map(Value::from));
    insert("exit_code", facts.exit_code.map(Value::from));
    insert("signal", facts.signal.clone().map(Value::from));
    insert("reason", facts.reason.clone().map(Value::from));
    insert("trigger", facts.trigger.clone().map(Value::from));
    insert("scheduled_time", facts.scheduled_time.map(Value::from));
    Value::Object(object)
}

fn missing(name: &str) -> JsonError {
    JsonError::Shape(format!("a report has no usable {name}"))
}

fn bytes_of(value: &Value, name: &str) -> Result<Bytes, JsonError> {
    if let Some(text) = value.get(name).and_then(Value::as_str) {
        return Ok(Bytes::copy_from_slice(text.as_bytes()));
    }
    let encoded = value.get(format!("{name}_base64")).and_then(Value::as_str);
    let decoded = encoded.and_then(|text| BASE64.decode(text).ok());
    decoded.map(Bytes::from).ok_or_else(|| missing(name))
}

fn parse_facts(value: &Value) -> Result<v1::Facts, JsonError> {
    let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let name = text("event").ok_or_else(|| missing("event"))?;
    let event = v1::EventKind::from_str_name(&format!("{EVENT_PREFIX}{}", name.to_ascii_uppercase()));
    Ok(v1::Facts {
        event: event.unwrap_or(v1::EventKind::Unspecified).into(),
        process: text("process"),
        internal_name: text("internal_name"),
        run: text("run"),
        pid: value.get("pid").and_then(Value::as_u64).and_then(|pid| u32::try_from(pid).ok()),
        exit_code: value.get("exit_code").and_then(Value::as_i64).and_then(|code| i32::try_from(code).ok()),
        signal: text("signal"),
        reason: text("reason"),
        trigger: text("trigger"),
        scheduled_time: value.get("scheduled_time").and_then(Value::as_u64),
    })
}
