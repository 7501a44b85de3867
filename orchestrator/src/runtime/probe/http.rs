//! A GET, of which only the status counts.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::line_of;
use super::tcp::{connect, shown};
use crate::plan::Address;
use crate::runtime::spawn::why;
use crate::supervisor::Answer;

/// No status line is longer.
const LONGEST_HEAD: usize = 8 * 1024;
/// Read of an answer at most, so that the server need not fail at writing it.
const LONGEST_BODY: usize = 256 * 1024;
/// How long the rest of an answer may take that is known already.
const REST: Duration = Duration::from_millis(200);

pub(super) async fn ask(address: &Address, target: &str) -> Answer {
    let told = |why: String| format!("GET http://{}{target}: {why}", shown(address));
    let stream = connect(address).await.map_err(told)?;
    let status = get(stream, address, target).await.map_err(told)?;
    let code = code_of(&status).ok_or_else(|| told(format!("it is no HTTP: {status:?}")))?;
    if (200..400).contains(&code) {
        Ok(())
    } else {
        Err(told(status.split_once(' ').map_or(status.as_str(), |(_, rest)| rest).to_owned()))
    }
}

/// The status line of the answer.
async fn get(mut stream: TcpStream, address: &Address, target: &str) -> Result<String, String> {
    let version = env!("CARGO_PKG_VERSION");
    let request = format!(
        "GET {target} HTTP/1.1\r\nHost: {}\r\nUser-Agent: copo/{version}\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        shown(address)
    );
    stream.write_all(request.as_bytes()).await.map_err(|error| why(&error))?;
    let mut head = Vec::with_capacity(1024);
    let end = loop {
        if let Some(end) = memchr::memchr(b'\n', &head) {
            break end;
        }
        match stream.read_buf(&mut head).await {
            Ok(0) => return Err("the connection was closed before there was an answer".to_owned()),
            Ok(_) if head.len() > LONGEST_HEAD => return Err("its answer has no end of line".to_owned()),
            Ok(_) => {}
            Err(error) => return Err(why(&error)),
        }
    };
    tokio::task::spawn_local(read_rest(stream));
    Ok(line_of(&head[..end]))
}

/// A server that is cut off in the middle of its answer would report that as an error.
async fn read_rest(mut stream: TcpStream) {
    let rest = async {
        let mut buffer = [0; 4096];
        let mut left = LONGEST_BODY;
        while let Ok(read) = stream.read(&mut buffer).await
            && read > 0
            && left > read
        {
            left -= read;
        }
    };
    let _ = timeout(REST, rest).await;
}

/// "HTTP/1.1 200 OK" → 200
fn code_of(status: &str) -> Option<u16> {
    let (version, rest) = status.split_once(' ')?;
    version.strip_prefix("HTTP/")?;
    rest.get(..3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_line_has_a_code() {
        assert_eq!(code_of("HTTP/1.1 200 OK"), Some(200));
        assert_eq!(code_of("HTTP/1.0 503"), Some(503));
        for wrong in ["", "HTTP/1.1", "HTTP/1.1 2", "SSH-2.0-x 200", "HTTP/1.1 abc"] {
            assert_eq!(code_of(wrong), None, "{wrong}");
        }
    }
}
