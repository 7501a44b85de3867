//! What an orchestrator tells its keeper: one packet each, descriptors beside it.

use std::ffi::OsStr;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};

/// Longest packet; a path is not longer.
const LARGEST: usize = 4096 + 1;
/// Process ids in one packet.
pub const PIDS: usize = 1000;

/// One packet, as it arrives.
#[derive(Debug)]
pub enum Message {
    /// Hold these ends of a run's pipes.
    Hold {
        /// The RunId.
        run: [u8; 16],
        /// Where its output is read.
        output: OwnedFd,
        /// Where its stdin is written.
        stdin: Option<OwnedFd>,
    },
    /// A run is over: let go of what is held of it, and reap its main process if it is adopted.
    Release {
        /// The RunId.
        run: [u8; 16],
        /// Its main process, or 0.
        pid: u32,
    },
    /// Somebody has closed a run's stdin: hold it no longer.
    CloseStdin {
        /// The RunId.
        run: [u8; 16],
    },
    /// These main processes are children of an earlier orchestrator, and waited for.
    Adopted {
        /// Their process ids.
        pids: Vec<u32>,
    },
    /// The orchestrator answers, and has taken over what there was.
    Settled,
    /// The orchestrator ends in order: no other one is to follow.
    Ended,
    /// The orchestrator ends for this binary to take its place, and the keeper's.
    Upgrade {
        /// Its path.
        binary: PathBuf,
    },
    /// Something a later version says.
    Unknown,
}

/// Packet of [`Message::Hold`], without the descriptors.
#[must_use]
pub fn hold(run: [u8; 16]) -> Vec<u8> {
    [&b"H"[..], &run].concat()
}

/// Packet of [`Message::Release`].
#[must_use]
pub fn release(run: [u8; 16], pid: u32) -> Vec<u8> {
    [&b"R"[..], &run, &pid.to_le_bytes()].concat()
}

/// The run of which nothing is held. Of nothing but its main process a keeper of any version lets go.
const NO_RUN: [u8; 16] = [0; 16];

/// Packet of a [`Message::Release`] that has this adopted main process reaped, and leaves the pipes of its run held.
#[must_use]
pub fn reap(pid: u32) -> Vec<u8> {
    release(NO_RUN, pid)
}

/// Packet of [`Message::CloseStdin`].
#[must_use]
pub fn close_stdin(run: [u8; 16]) -> Vec<u8> {
    [&b"C"[..], &run].concat()
}

/// Packets of [`Message::Adopted`].
pub fn adopted(pids: &[u32]) -> impl Iterator<Item = Vec<u8>> {
    pids.chunks(PIDS).map(|pids| b"A".iter().copied().chain(pids.iter().flat_map(|pid| pid.to_le_bytes())).collect())
}

/// Packet of [`Message::Settled`].
#[must_use]
pub fn settled() -> Vec<u8> {
    b"S".to_vec()
}

/// Packet of [`Message::Ended`].
#[must_use]
pub fn ended() -> Vec<u8> {
    b"E".to_vec()
}

/// Packet of [`Message::Upgrade`].
#[must_use]
pub fn upgrade(binary: &OsStr) -> Vec<u8> {
    [&b"U"[..], binary.as_bytes()].concat()
}

/// Sends a packet with these descriptors, at most two; `AGAIN` when the keeper has too many unread.
pub fn send(socket: BorrowedFd<'_>, packet: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        beside.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    rustix::io::retry_on_intr(|| sendmsg(socket, &[IoSlice::new(packet)], &mut beside, flags)).map(drop)
}

/// The next packet; `None` when there will be none any more.
pub fn receive(socket: BorrowedFd<'_>) -> Result<Option<Message>, Errno> {
    let mut bytes = [0; LARGEST];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let received = recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut beside, flags)?;
    let rights = beside.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    let descriptors = rights.flatten().collect();
    if received.bytes == 0 {
        return Ok(None);
    }
    Ok(Some(parse(&bytes[..received.bytes], descriptors).unwrap_or(Message::Unknown)))
}

fn parse(packet: &[u8], descriptors: Vec<OwnedFd>) -> Option<Message> {
    let (kind, rest) = packet.split_first()?;
    Some(match kind {
        b'H' => {
            let mut descriptors = descriptors.into_iter();
            Message::Hold { run: rest.try_into().ok()?, output: descriptors.next()?, stdin: descriptors.next() }
        }
        b'R' => {
            let (run, pid) = rest.split_at_checked(16)?;
            Message::Release { run: run.try_into().ok()?, pid: u32::from_le_bytes(pid.try_into().ok()?) }
        }
        b'C' => Message::CloseStdin { run: rest.try_into().ok()? },
        b'A' => {
            let pid = |bytes: &[u8]| bytes.try_into().map(u32::from_le_bytes).ok();
            Message::Adopted { pids: rest.chunks(4).filter_map(pid).collect() }
        }
        b'S' => Message::Settled,
        b'E' => Message::Ended,
        b'U' => Message::Upgrade { binary: OsStr::from_bytes(rest).into() },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;

    #[test]
    fn what_is_said_arrives_with_its_descriptors() {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).expect("made");
        let (read, write) = std::io::pipe().expect("made");
        let send = |packet: &[u8], descriptors: &[BorrowedFd<'_>]| {
            send(ours.as_fd(), packet, descriptors).expect("there is room");
            receive(theirs.as_fd()).expect("it is there").expect("not the end")
        };

        let held = send(&hold([7; 16]), &[read.as_fd(), write.as_fd()]);
        assert!(matches!(held, Message::Hold { run, stdin: Some(_), .. } if run == [7; 16]));
        assert!(matches!(send(&hold([7; 16]), &[read.as_fd()]), Message::Hold { stdin: None, .. }));
        assert!(matches!(send(&release([7; 16], 9), &[]), Message::Release { run, pid: 9 } if run == [7; 16]));
        assert!(matches!(send(&reap(9), &[]), Message::Release { run: NO_RUN, pid: 9 }));
        assert!(matches!(send(&close_stdin([7; 16]), &[]), Message::CloseStdin { run } if run == [7; 16]));
        let pids: Vec<u32> = (0..1001).collect();
        let packets: Vec<_> = adopted(&pids).collect();
        let Message::Adopted { pids: first } = send(&packets[0], &[]) else { panic!("another message") };
        assert_eq!((packets.len(), first), (2, pids[..1000].to_vec()));
        assert!(matches!(send(&settled(), &[]), Message::Settled));
        assert!(matches!(send(&ended(), &[]), Message::Ended));
        let Message::Upgrade { binary } = send(&upgrade(OsStr::new("/a b")), &[]) else { panic!("another message") };
        assert_eq!(binary, PathBuf::from("/a b"));
        assert!(matches!(send(b"?later", &[]), Message::Unknown));
        drop(ours);
        assert!(receive(theirs.as_fd()).expect("no failure").is_none());
    }
}
