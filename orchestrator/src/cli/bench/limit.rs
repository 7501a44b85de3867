//! The limit: what a bare process reaches that parses length-prefixed frames, numbers them and forwards them 64 KiB at a
//! time over the same kind of socket. It keeps nothing, acknowledges nothing and knows one order only.
//!
//! A frame is its length (4 bytes, little-endian, of what follows), a seq (8 bytes, set by the broker), the data.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::sockopt;
use serde_json::json;

use super::args::Work;
use super::meter;
use super::payload::{self, STAMP};
use super::role::{Receipts, cannot, own_cpu, pace, result, stand_by};
use crate::cli::failure::Outcome;

const HEAD: usize = 12;
const CHUNK: usize = 64 * 1024;
/// Bytes that a socket's buffers are asked to hold.
const BUFFER: usize = 1024 * 1024;

fn publishers_door(socket: &Path) -> PathBuf {
    socket.with_extension("publishers")
}

fn subscribers_door(socket: &Path) -> PathBuf {
    socket.with_extension("subscribers")
}

/// The broker: ends when its publishers have.
pub fn broker(work: &Work) -> Outcome {
    let serve = || -> io::Result<u64> {
        let publishers = UnixListener::bind(publishers_door(&work.socket))?;
        let subscribers = UnixListener::bind(subscribers_door(&work.socket))?;
        stand_by().map_err(|_| io::Error::from(ErrorKind::BrokenPipe))?;
        let mut subscribers = accept(&subscribers, work.subscribers)?;
        forward(accept(&publishers, work.publishers)?, &mut subscribers)
    };
    let frames = serve().map_err(|error| cannot("be the broker", &error))?;
    result(&json!({ "frames": frames, "cpu": own_cpu() }))
}

fn accept(listener: &UnixListener, count: usize) -> io::Result<Vec<UnixStream>> {
    (0..count).map(|_| listener.accept().and_then(|(socket, _)| widened(socket))).collect()
}

/// A socket whose peer may be ahead by a large record, as Copo's are: what is compared is not who asked for buffers.
fn widened(socket: UnixStream) -> io::Result<UnixStream> {
    sockopt::set_socket_send_buffer_size(&socket, BUFFER)?;
    sockopt::set_socket_recv_buffer_size(&socket, BUFFER)?;
    Ok(socket)
}

/// Where one publisher's stream stands.
struct Stream {
    socket: UnixStream,
    buffer: Vec<u8>,
    /// Bytes in the buffer that are not forwarded yet.
    have: usize,
    /// Bytes still to come of the frame whose head has been numbered.
    rest: usize,
}

fn forward(publishers: Vec<UnixStream>, subscribers: &mut [UnixStream]) -> io::Result<u64> {
    // With one publisher a frame is passed on as it comes; with several it must be whole, or they would mix.
    let is_alone = publishers.len() == 1;
    let stream = |socket| Stream { socket, buffer: vec![0; CHUNK], have: 0, rest: 0 };
    let mut streams: Vec<Stream> = publishers.into_iter().map(stream).collect();
    let mut seq = 0;
    while !streams.is_empty() {
        let turn = if is_alone { 0 } else { readable(&streams)? };
        let stream = &mut streams[turn];
        if stream.have == stream.buffer.len() {
            stream.buffer.resize(stream.buffer.len() * 2, 0);
        }
        let read = stream.socket.read(&mut stream.buffer[stream.have..])?;
        if read == 0 {
            streams.swap_remove(turn);
            continue;
        }
        stream.have += read;
        let through = number(stream, &mut seq, is_alone);
        for subscriber in &mut *subscribers {
            subscriber.write_all(&stream.buffer[..through])?;
        }
        stream.buffer.copy_within(through..stream.have, 0);
        stream.have -= through;
    }
    Ok(seq)
}

fn readable(streams: &[Stream]) -> io::Result<usize> {
    let mut fds: Vec<PollFd<'_>> = streams.iter().map(|stream| PollFd::new(&stream.socket, PollFlags::IN)).collect();
    poll(&mut fds, None)?;
    Ok(fds.iter().position(|fd| !fd.revents().is_empty()).unwrap_or(0))
}

/// Numbers the frames in the buffer; gives how far it may be forwarded.
fn number(stream: &mut Stream, seq: &mut u64, in_parts: bool) -> usize {
    let mut at = 0;
    loop {
        let part = stream.rest.min(stream.have - at);
        at += part;
        stream.rest -= part;
        let Some(head) = stream.buffer.get(at..(at + HEAD).min(stream.have)).filter(|head| head.len() == HEAD) else {
            return at;
        };
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        if !in_parts && stream.have - at < 4 + length {
            return at;
        }
        *seq += 1;
        stream.buffer[at + 4..at + HEAD].copy_from_slice(&seq.to_le_bytes());
        at += HEAD;
        stream.rest = length - 8;
    }
}

/// Sends `count` frames: gathered into 64 KiB, or one by one at a rate.
pub fn publisher(work: &Work) -> Outcome {
    let mut frame = vec![0; HEAD + work.size.max(STAMP)];
    let length = u32::try_from(frame.len() - 4).unwrap_or(u32::MAX);
    frame[..4].copy_from_slice(&length.to_le_bytes());
    stand_by()?;
    let mut send = |start: u64| -> io::Result<()> {
        let mut socket = widened(UnixStream::connect(publishers_door(&work.socket))?)?;
        let mut gathered = Vec::with_capacity(CHUNK + frame.len());
        for number in 0..work.count {
            pace(start, work, number);
            payload::stamp(&mut frame[HEAD..], work.id, number, if work.rate > 0 { meter::now() } else { start });
            gathered.extend_from_slice(&frame);
            if work.rate > 0 || gathered.len() + frame.len() > CHUNK {
                socket.write_all(&gathered)?;
                gathered.clear();
            }
        }
        socket.write_all(&gathered)
    };
    let start = meter::now();
    send(start).map_err(|error| cannot("send to the broker", &error))?;
    result(&json!({ "start": start, "end": meter::now(), "cpu": own_cpu() }))
}

/// Receives `count` frames.
pub fn subscriber(work: &Work) -> Outcome {
    let mut receipts = Receipts::new(work);
    let mut socket =
        UnixStream::connect(subscribers_door(&work.socket)).map_err(|error| cannot("follow the broker", &error))?;
    stand_by()?;
    let mut receive = || -> io::Result<()> {
        let mut buffer = vec![0; CHUNK + HEAD + work.size.max(STAMP)];
        let mut have = 0;
        let mut patience = Duration::ZERO;
        loop {
            // Told to the kernel when it changes: at each read it would be a system call of its own.
            if patience != receipts.patience() {
                patience = receipts.patience();
                socket.set_read_timeout(Some(patience))?;
            }
            let read = match socket.read(&mut buffer[have..]) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                read => read?,
            };
            if read == 0 {
                return Ok(());
            }
            have += read;
            let taken = take_frames(&buffer[..have], &mut receipts);
            buffer.copy_within(taken..have, 0);
            have -= taken;
        }
    };
    receive().map_err(|error| cannot("follow the broker", &error))?;
    receipts.result()
}

/// Takes note of the whole frames of a buffer; gives how many bytes they are.
fn take_frames(buffer: &[u8], receipts: &mut Receipts) -> usize {
    let mut at = 0;
    while let Some(prefix) = buffer.get(at..at + 4) {
        let length = u32::from_le_bytes([prefix[0], prefix[1], prefix[2], prefix[3]]) as usize;
        let Some(frame) = buffer.get(at + 4..at + 4 + length) else { break };
        receipts.take(&frame[8..]);
        at += 4 + length;
    }
    at
}

/// Sends back what one peer sends, a whole record at a time (in parts both sides could wait for room), until it closes.
/// With a file to sync, each record is in it, and on the disk, before it is sent back: what `power` promises.
pub fn echo(work: &Work) -> Outcome {
    let serve = || -> io::Result<()> {
        let listener = UnixListener::bind(&work.socket)?;
        let mut file =
            work.sync.as_deref().map(|path| preallocated(path, work.size as u64 * work.count)).transpose()?;
        stand_by().map_err(|_| io::Error::from(ErrorKind::BrokenPipe))?;
        let (mut socket, _) = listener.accept()?;
        let mut buffer = vec![0; work.size];
        loop {
            match socket.read_exact(&mut buffer) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
                Err(error) => return Err(error),
            }
            if let Some(file) = &mut file {
                file.write_all(&buffer)?;
                file.sync_data()?;
            }
            socket.write_all(&buffer)?;
        }
    };
    serve().map_err(|error| cannot("echo", &error))
}

/// A file with room for all that will be written, so that syncing it syncs bytes and no metadata.
fn preallocated(path: &Path, bytes: u64) -> io::Result<File> {
    let mut file = File::create(path)?;
    // Written, not only allocated: the first write of what is merely allocated changes metadata too.
    let zeros = vec![0; CHUNK];
    let mut left = usize::try_from(bytes).unwrap_or(usize::MAX);
    while left > 0 {
        left -= file.write(&zeros[..left.min(CHUNK)])?;
    }
    file.sync_all()?;
    file.rewind()?;
    Ok(file)
}

/// Microseconds that one round trip of `size` bytes to an echo takes, on average of `count`.
pub fn round_trip(socket: &Path, size: usize, count: u64) -> io::Result<f64> {
    let mut socket = UnixStream::connect(socket)?;
    let (data, mut back) = (vec![0; size], vec![0; size]);
    let start = meter::now();
    for _ in 0..count {
        socket.write_all(&data)?;
        socket.read_exact(&mut back)?;
    }
    Ok((meter::now() - start) as f64 / 1e3 / count as f64)
}
