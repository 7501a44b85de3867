//! NATS JetStream, in the NATS client protocol (docs.nats.io): a stream in a file, one push consumer for each subscriber.

use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::{Durability, Line, Receipts};

/// The command that starts a server.
pub fn server(folder: &Path) -> Command {
    let mut command = Command::new("nats-server");
    command.args(["-js", "-a", "127.0.0.1", "-p", "-1"]).arg("-sd").arg(folder).arg("--ports_file_dir").arg(folder);
    command
}

/// Where it listens, once it says so.
pub fn address(folder: &Path, pid: u32) -> Option<PathBuf> {
    let said = std::fs::read_to_string(folder.join(format!("nats-server_{pid}.ports"))).ok()?;
    let said: Value = serde_json::from_str(&said).ok()?;
    Some(said["nats"][0].as_str()?.trim_start_matches("nats://").into())
}

/// Connects.
pub fn connect(address: &Path) -> io::Result<Line> {
    let socket = TcpStream::connect(&*address.to_string_lossy())?;
    socket.set_nodelay(true)?;
    let mut line = Line::new(socket.try_clone()?, socket);
    line.writer.write_all(b"CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true}\r\nPING\r\n")?;
    loop {
        if text(&mut line)?.starts_with("PONG") {
            return Ok(line);
        }
    }
}

/// Deletes the stream and makes it anew.
pub fn empty(line: &mut Line, durability: Durability) -> io::Result<()> {
    let storage = if durability == Durability::Memory { "memory" } else { "file" };
    line.writer.write_all(b"SUB answer 1\r\n")?;
    // There may be none.
    let _ = ask(line, "STREAM.DELETE.BENCH", &json!({}))?;
    let stream = json!({ "name": "BENCH", "subjects": ["bench"], "storage": storage });
    said(&ask(line, "STREAM.CREATE.BENCH", &stream)?)
}

/// Sees to it that acknowledgements come to this connection.
pub fn await_acknowledgements(line: &mut Line) -> io::Result<()> {
    line.writer.write_all(b"SUB acks 2\r\n")
}

/// Appends the command that sends a record.
pub fn record(out: &mut Vec<u8>, data: &[u8]) -> io::Result<()> {
    write!(out, "PUB bench acks {}\r\n", data.len())?;
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// Waits for one acknowledgement.
pub fn acknowledgement(line: &mut Line) -> io::Result<()> {
    let answer = message(line)?;
    said(&serde_json::from_slice(&answer.data).map_err(io::Error::other)?)
}

/// Makes a consumer that pushes everything to this connection.
pub fn follow(line: &mut Line) -> io::Result<()> {
    let subject = format!("to.{}", std::process::id());
    write!(line.writer, "SUB answer.{subject} 1\r\nSUB {subject} 3\r\n")?;
    let config = json!({
        "deliver_subject": subject, "ack_policy": "none", "deliver_policy": "all", "replay_policy": "instant",
        "flow_control": true, "idle_heartbeat": 5_000_000_000_u64,
    });
    let request = json!({ "stream_name": "BENCH", "config": config }).to_string();
    let length = request.len();
    write!(line.writer, "PUB $JS.API.CONSUMER.CREATE.BENCH answer.{subject} {length}\r\n{request}\r\n")?;
    said(&serde_json::from_slice(&message(line)?.data).map_err(io::Error::other)?)
}

/// Receives until all are there and nothing comes after them; a heartbeat says that nothing does.
pub fn receive(line: &mut Line, receipts: &mut Receipts) -> io::Result<()> {
    let mut silent = 0;
    loop {
        let message = message(line)?;
        if message.is_status {
            if let Some(reply) = message.reply {
                write!(line.writer, "PUB {reply} 0\r\n\r\n")?;
            } else {
                silent += 1;
            }
            // The seconds between two heartbeats, as often as it takes.
            if receipts.patience().as_secs() < 5 * silent {
                return Ok(());
            }
            continue;
        }
        silent = 0;
        receipts.take(&message.data);
        if receipts.is_whole() {
            return Ok(());
        }
    }
}

fn ask(line: &mut Line, what: &str, request: &Value) -> io::Result<Value> {
    let request = request.to_string();
    write!(line.writer, "PUB $JS.API.{what} answer {}\r\n{request}\r\n", request.len())?;
    serde_json::from_slice(&message(line)?.data).map_err(io::Error::other)
}

fn said(answer: &Value) -> io::Result<()> {
    match &answer["error"] {
        Value::Null => Ok(()),
        error => Err(io::Error::other(error.to_string())),
    }
}

struct Message {
    data: Vec<u8>,
    reply: Option<String>,
    /// It says something about the delivery instead of being one.
    is_status: bool,
}

fn text(line: &mut Line) -> io::Result<String> {
    let mut text = String::new();
    match line.reader.read_line(&mut text)? {
        0 => Err(ErrorKind::UnexpectedEof.into()),
        _ => Ok(text),
    }
}

/// The next message: `MSG <subject> <sid> [reply] <bytes>`, or `HMSG` with the bytes of its headers before those of all.
fn message(line: &mut Line) -> io::Result<Message> {
    loop {
        let head = text(line)?;
        let words: Vec<&str> = head.split_whitespace().collect();
        let numbers = match words.first().copied() {
            Some("PING") => {
                line.writer.write_all(b"PONG\r\n")?;
                continue;
            }
            Some("MSG") => 1,
            Some("HMSG") => 2,
            Some("-ERR") => return Err(io::Error::other(head)),
            _ => continue,
        };
        let number = |at: usize| words.get(words.len() - at).and_then(|word| word.parse::<usize>().ok());
        let whole = number(1).ok_or(ErrorKind::InvalidData)?;
        let headers = if numbers == 2 { number(2).ok_or(ErrorKind::InvalidData)? } else { 0 };
        let mut data = vec![0; whole + 2];
        line.reader.read_exact(&mut data)?;
        data.truncate(whole);
        let reply = (words.len() == 4 + numbers).then(|| words[3].to_owned());
        return Ok(Message { data: data.split_off(headers.min(whole)), reply, is_status: numbers == 2 });
    }
}
