//! A peer that speaks the wire by hand: what no SDK would ever say can be said with it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use copo_proto::{Message, frame, v1};

/// How long a peer waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection to the Server.
pub struct Peer {
    /// The socket itself.
    pub stream: UnixStream,
    decoder: frame::Decoder,
}

impl Peer {
    /// Connects, and says nothing yet.
    #[must_use]
    pub fn connect(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).expect("the orchestrator listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        Self { stream, decoder: frame::Decoder::new(1 << 27) }
    }

    /// Says these bytes.
    pub fn say(&mut self, bytes: &[u8]) -> &mut Self {
        self.stream.write_all(bytes).expect("the connection takes it");
        self
    }

    /// Says Hello with a token (or `""`).
    pub fn hello(&mut self, token: &str) -> &mut Self {
        self.hello_as(b"", token, "t")
    }

    /// Says Hello as a client.
    pub fn hello_as(&mut self, client_id: &[u8], token: &str, name: &str) -> &mut Self {
        let hello = v1::Hello {
            min_version: 1,
            max_version: 1,
            name: name.into(),
            token: token.into(),
            client_id: client_id.to_vec().into(),
            ..v1::Hello::default()
        };
        self.say(&frame::to_vec(&hello))
    }

    /// Says Hello as a client, and returns the Welcome.
    pub fn join(&mut self, client_id: &[u8], name: &str) -> v1::Welcome {
        self.hello_as(client_id, "", name);
        match self.next() {
            Some(v1::server_message::Kind::Welcome(welcome)) => welcome,
            other => panic!("no Welcome, but {other:?}"),
        }
    }

    /// Sends a numbered record.
    pub fn send(&mut self, number: u64, data: &[u8]) -> &mut Self {
        self.say(&numbered(number, data))
    }

    /// The next thing the orchestrator says; `None` when it closes, or says nothing for too long.
    #[allow(clippy::should_implement_trait, reason = "it is no iterator: it may go on after a None")]
    pub fn next(&mut self) -> Option<v1::server_message::Kind> {
        loop {
            if let Some(frame) = self.decoder.next_frame().expect("well formed") {
                return v1::ServerMessage::decode(frame).expect("a message").kind;
            }
            let mut part = vec![0; 64 * 1024];
            // A peer that is cut off may see a reset instead of an end.
            match self.stream.read(&mut part) {
                Ok(0) | Err(_) => return None,
                Ok(got) => self.decoder.buffer().extend_from_slice(&part[..got]),
            }
        }
    }

    /// The number and Seq of the next acknowledgement.
    pub fn acked(&mut self) -> (u64, u64) {
        match self.next() {
            Some(v1::server_message::Kind::Ack(ack)) => (ack.number, ack.seq),
            other => panic!("no acknowledgement, but {other:?}"),
        }
    }

    /// Everything the orchestrator says until it closes.
    pub fn heard(&mut self) -> Vec<v1::server_message::Kind> {
        std::iter::from_fn(|| self.next()).collect()
    }

    /// The error with which the orchestrator ends the connection.
    pub fn error(&mut self) -> v1::ErrorCode {
        match self.heard().pop() {
            Some(v1::server_message::Kind::Error(error)) => {
                assert!(!error.message.is_empty());
                error.code()
            }
            other => panic!("closed without a reason: {other:?}"),
        }
    }
}

/// The frame of a numbered record.
#[must_use]
pub fn numbered(number: u64, data: &[u8]) -> Vec<u8> {
    let send = v1::UddSend { number, udd_buff: data.to_vec().into(), ..v1::UddSend::default() };
    frame::to_vec(&v1::Request { id: 0, kind: Some(v1::request::Kind::UddSend(send)) })
}
