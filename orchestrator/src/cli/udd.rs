//! `copo udd …`: shell scripts take part in the context without an SDK.

use std::ffi::OsStr;
use std::io::{self, BufRead, Read};

use copo::v1::{Gap, gap::Cause};
use copo::{Client, ErrorCode, Item, Send, SubscribeOptions, UddRecord};
use copo_orchestrator::context::json;

use super::args::{self, Place, Udd, UddGet, UddHeaders, UddSend, UddTail};
use super::failure::{Failure, NO_SUCH_NAME, Outcome};
use super::find;
use super::output::{self, Out};

/// `copo udd …`
pub fn run(place: &Place, udd: &Udd) -> Outcome {
    let client = find::target(place)?.connect()?;
    match udd {
        Udd::Send(send) => self::send(&client, send),
        Udd::Get(get) => self::get(&client, get),
        Udd::Tail(tail) => self::tail(&client, tail),
        Udd::Headers(headers) => self::headers(&client, headers),
        Udd::Purge => Ok(client.udd_purge()?),
    }
}

fn send(client: &Client, send: &UddSend) -> Outcome {
    if send.lines {
        if send.data.as_deref().is_some_and(|data| data != "-") {
            return Err(Failure::of(
                ErrorCode::InvalidArgument,
                "cannot send lines: --lines reads stdin, so the data may only be -",
            ));
        }
        send_lines(client, &send.key)?;
    } else {
        let data = data(send.data.as_deref())?;
        client.send_sync(&Send { key: &send.key, data: &data, expect_seq: send.expect_seq, timeout: None })?;
    }
    Ok(client.close()?)
}

/// One record a line, the newline not included; what has come is sent at once, whatever comes later.
fn send_lines(client: &Client, key: &str) -> Outcome {
    let mut stdin = io::stdin().lock();
    let mut line = Vec::new();
    while stdin.read_until(b'\n', &mut line).map_err(|error| Failure::io("read stdin", &error))? > 0 {
        client.udd_send_key(key, line.strip_suffix(b"\n").unwrap_or(&line))?;
        line.clear();
    }
    Ok(client.flush()?)
}

/// What is to be sent: the argument's bytes, or all of stdin.
pub fn data(argument: Option<&OsStr>) -> Result<Vec<u8>, Failure> {
    match argument {
        Some(data) if data != "-" => Ok(data.as_encoded_bytes().to_vec()),
        Some(_) | None => {
            let mut data = Vec::new();
            io::stdin().lock().read_to_end(&mut data).map_err(|error| Failure::io("read stdin", &error))?;
            Ok(data)
        }
    }
}

fn get(client: &Client, get: &UddGet) -> Outcome {
    let Some(record) = client.udd_get(get.key.as_deref())? else {
        let of = get.key.as_ref().map(|key| format!(" with key {key:?}")).unwrap_or_default();
        return Err(Failure::new(NO_SUCH_NAME, format!("cannot get a record{of}: there is none")));
    };
    let mut out = Out::new();
    print(&mut out, &record, get.json)?;
    out.flush()
}

fn tail(client: &Client, tail: &UddTail) -> Outcome {
    if tail.count == Some(0) {
        return Ok(());
    }
    let from = match tail.from {
        args::From::First => copo::From::First,
        args::From::New => copo::From::New,
        args::From::Seq(seq) => copo::From::Seq(seq),
    };
    let mut options = SubscribeOptions::default().from(from).key_pattern(tail.key.as_deref().unwrap_or_default());
    if tail.no_follow {
        options = options.no_follow();
    }
    let mut records = client.udd_subscribe(&options)?;
    let mut out = Out::new();
    let mut left = tail.count.unwrap_or(u64::MAX);
    while left > 0 {
        // What has come is printed as a whole; only before waiting for more must it be out.
        let item = match records.try_next() {
            Ok(Some(item)) => Ok(item),
            Ok(None) => {
                out.flush()?;
                records.next(None)
            }
            Err(error) => Err(error),
        };
        match item {
            Ok(Item::Record(record)) => {
                print(&mut out, &record, tail.json)?;
                left -= 1;
            }
            Ok(Item::Gap(gap)) => say_gap(&gap),
            Ok(Item::Report(_)) => {}
            Err(error) if matches!(error.code(), ErrorCode::End | ErrorCode::Stopping) => break,
            Err(error) => {
                out.flush()?;
                return Err(error.into());
            }
        }
    }
    out.flush()
}

fn print(out: &mut Out, record: &UddRecord, as_json: bool) -> Outcome {
    if as_json {
        return out.json(&json::record(record));
    }
    out.bytes(&record.udd_buff)?;
    out.bytes(b"\n")
}

/// A gap is said on stderr: stdout holds what was asked for and nothing else.
pub fn say_gap(gap: &Gap) {
    let Gap { first, last, .. } = gap;
    output::say(&match gap.cause() {
        Cause::Trimmed => format!("seqs {first} to {last} were passed over: they are no longer kept"),
        Cause::Damaged => format!("seqs {first} to {last} were passed over: they are damaged"),
        Cause::Purged => format!("seqs {first} to {last} were passed over: they were purged"),
        Cause::LogReplaced => "the log is a new one; going on from its first record".to_owned(),
        Cause::Unspecified => format!("seqs {first} to {last} were passed over"),
    });
}

fn headers(client: &Client, headers: &UddHeaders) -> Outcome {
    if !headers.names.is_empty() {
        return Ok(client.udd_set_headers(&headers.names)?);
    }
    let mut out = Out::new();
    client.udd_headers()?.iter().try_for_each(|name| out.line(name))?;
    out.flush()
}
