//! Redis Streams, in the Redis serialization protocol (redis.io, RESP2): XADD to one stream, XREAD from it.

use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Durability, Line, Receipts};

/// Where its server listens.
pub fn address(folder: &Path) -> PathBuf {
    folder.join("sock")
}

/// The command that starts a server.
pub fn server(folder: &Path, durability: Durability) -> Command {
    let (append_only, sync) = match durability {
        Durability::Memory => ("no", "no"),
        Durability::Crash => ("yes", "everysec"),
        Durability::Power => ("yes", "always"),
    };
    let mut command = Command::new("redis-server");
    command.args(["--port", "0", "--save", "", "--daemonize", "no", "--auto-aof-rewrite-percentage", "0"]);
    command.args(["--appendonly", append_only, "--appendfsync", sync]);
    command.arg("--dir").arg(folder).arg("--unixsocket").arg(address(folder));
    command
}

/// Connects.
pub fn connect(address: &Path) -> io::Result<Line> {
    let socket = UnixStream::connect(address)?;
    Ok(Line::new(socket.try_clone()?, socket))
}

/// Empties it.
pub fn empty(line: &mut Line) -> io::Result<()> {
    line.writer.write_all(b"*1\r\n$8\r\nFLUSHALL\r\n")?;
    value(line).map(drop)
}

/// Appends the command that sends a record.
pub fn record(out: &mut Vec<u8>, data: &[u8]) -> io::Result<()> {
    write!(out, "*5\r\n$4\r\nXADD\r\n$5\r\nbench\r\n$1\r\n*\r\n$1\r\nd\r\n${}\r\n", data.len())?;
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// Waits for one acknowledgement.
pub fn acknowledgement(line: &mut Line) -> io::Result<()> {
    value(line).map(drop)
}

/// Receives until all are there and nothing comes after them.
pub fn receive(line: &mut Line, receipts: &mut Receipts) -> io::Result<()> {
    let mut last = b"0".to_vec();
    loop {
        let patience = receipts.patience().as_millis();
        let (digits, length) = (patience.to_string(), last.len());
        write!(
            line.writer,
            "*8\r\n$5\r\nXREAD\r\n$5\r\nCOUNT\r\n$4\r\n1000\r\n$5\r\nBLOCK\r\n${}\r\n{digits}\r\n$7\r\nSTREAMS\r\n$5\r\nbench\r\n${length}\r\n{}\r\n",
            digits.len(),
            String::from_utf8_lossy(&last),
        )?;
        // [[stream, [[id, [field, data]], …]]]
        let Value::Array(mut streams) = value(line)? else { return Ok(()) };
        let Some(Value::Array(mut stream)) = streams.pop() else { return Ok(()) };
        let Some(Value::Array(records)) = stream.pop() else { return Ok(()) };
        for record in records {
            let Value::Array(mut parts) = record else { return Err(ErrorKind::InvalidData.into()) };
            let (Some(Value::Array(fields)), Some(Value::Bytes(id))) = (parts.pop(), parts.pop()) else {
                return Err(ErrorKind::InvalidData.into());
            };
            if let Some(Value::Bytes(data)) = fields.last() {
                receipts.take(data);
            }
            last = id;
        }
    }
}

enum Value {
    Nothing,
    Bytes(Vec<u8>),
    Array(Vec<Value>),
}

fn value(line: &mut Line) -> io::Result<Value> {
    let mut head = String::new();
    if line.reader.read_line(&mut head)? == 0 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    let (kind, rest) = head.trim_end().split_at_checked(1).ok_or(ErrorKind::InvalidData)?;
    let length = || rest.parse::<i64>().map_err(io::Error::other);
    match kind {
        "$" => match usize::try_from(length()?) {
            Ok(length) => {
                let mut bytes = vec![0; length + 2];
                line.reader.read_exact(&mut bytes)?;
                bytes.truncate(length);
                Ok(Value::Bytes(bytes))
            }
            Err(_) => Ok(Value::Nothing),
        },
        "*" => match usize::try_from(length()?) {
            Ok(length) => (0..length).map(|_| value(line)).collect::<io::Result<_>>().map(Value::Array),
            Err(_) => Ok(Value::Nothing),
        },
        "-" => Err(io::Error::other(rest.to_owned())),
        _ => Ok(Value::Bytes(rest.as_bytes().to_vec())),
    }
}
