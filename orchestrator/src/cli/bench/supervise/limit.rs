//! The limit: a loop that spawns, waits and copies, and nothing else.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use copo_orchestrator::runtime::bare::{Bare, BareChild};
use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, epoll, poll};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, kill_process_group, waitpid};

use super::child::WORD;
use super::stamps::Stamps;
use crate::cli::bench::meter;
use crate::cli::failure::Failure;

/// Read at once, and the size of a chatty child's pipe.
const CHUNK: usize = 1024 * 1024;

/// Children of our own.
pub struct Limit {
    bare: Bare,
    program: PathBuf,
    children: Vec<BareChild>,
}

impl Limit {
    pub fn new(program: &Path) -> Result<Self, Failure> {
        let bare = Bare::new().map_err(|error| Failure::io("prepare the limit", &error))?;
        Ok(Self { bare, program: program.to_owned(), children: Vec::new() })
    }

    fn spawn(&self, args: &[&str], stamps: &Stamps) -> Result<BareChild, Failure> {
        let (verb, rest) = args.split_first().unwrap_or((&"stamp", &[]));
        let file = stamps.path().display().to_string();
        let args: Vec<String> = [WORD, verb, &file].iter().chain(rest).map(|arg| (*arg).to_owned()).collect();
        self.bare.spawn(&self.program, &args).map_err(|error| Failure::io("start a child of the limit", &error))
    }

    /// Starts so many; nanoseconds until the last one's own stamp.
    pub fn start(&mut self, count: usize, stamps: &Stamps) -> Result<f64, Failure> {
        let start = meter::now();
        for _ in 0..count {
            self.children.push(self.spawn(&["stamp"], stamps)?);
        }
        let last = stamps.wait(count)?.into_values().max().unwrap_or(start);
        Ok((last - start) as f64)
    }

    /// Kills one and starts another in its place; nanoseconds until that one's own stamp.
    pub fn restart(&mut self, which: usize, stamps: &Stamps, already: usize) -> Result<f64, Failure> {
        let start = meter::now();
        let old = &self.children[which];
        let _ = kill_process(pid(old.pid), Signal::KILL);
        wait(old);
        let new = self.spawn(&["stamp"], stamps)?;
        let started = stamps.wait(already + 1)?.get(&new.pid).copied().unwrap_or(start);
        self.children[which] = new;
        Ok((started - start) as f64)
    }

    /// Stops them all; nanoseconds until the last is gone.
    pub fn stop(&mut self) -> f64 {
        let start = meter::now();
        for child in &self.children {
            let _ = kill_process_group(pid(child.pid), Signal::TERM);
        }
        self.children.drain(..).for_each(|child| wait(&child));
        (meter::now() - start) as f64
    }

    /// Copies what so many chatty children write into files; bytes a nanosecond.
    pub fn copy(&self, count: usize, bytes: u64, folder: &Path, stamps: &Stamps) -> Result<f64, Failure> {
        let mut copies = Vec::new();
        for number in 0..count {
            let child = self.spawn(&["chat", &bytes.to_string()], stamps)?;
            let file = File::create(folder.join(format!("limit-{number}.log")));
            copies.push((child, file.map_err(|error| Failure::io("make a log of the limit", &error))?));
        }
        copy_all(&copies).map_err(|error| Failure::io("copy the output of a child", &error))?;
        let end = meter::now();
        for (child, _) in &copies {
            wait(child);
        }
        let first = stamps.wait(count)?.into_values().min().unwrap_or(end);
        Ok(bytes as f64 * count as f64 / (end - first) as f64)
    }
}

/// Copies until all have ended.
fn copy_all(copies: &[(BareChild, File)]) -> io::Result<()> {
    let ready = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    for (number, (child, _)) in copies.iter().enumerate() {
        let _ = rustix::pipe::fcntl_setpipe_size(&child.output, CHUNK);
        epoll::add(&ready, &child.output, epoll::EventData::new_u64(number as u64), epoll::EventFlags::IN)?;
    }
    let mut buffer = vec![0; CHUNK];
    let mut events = Vec::with_capacity(64);
    let mut open = copies.len();
    while open > 0 {
        events.clear();
        epoll::wait(&ready, spare_capacity(&mut events), None)?;
        for event in &events {
            let (child, file) = &copies[usize::try_from(event.data.u64()).unwrap_or(0)];
            let read = rustix::io::read(&child.output, &mut buffer)?;
            if read == 0 {
                epoll::delete(&ready, &child.output)?;
                open -= 1;
            }
            let mut rest = &buffer[..read];
            while !rest.is_empty() {
                let wrote = rustix::io::write(file, rest)?;
                rest = &rest[wrote..];
            }
        }
    }
    Ok(())
}

fn pid(pid: u32) -> Pid {
    i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a child's pid")
}

fn wait(child: &BareChild) {
    ended(&child.pidfd);
    let _ = waitpid(Some(pid(child.pid)), WaitOptions::empty());
}

/// Waits until a process has ended.
pub fn ended(pidfd: &OwnedFd) {
    let mut fds = [PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN)];
    while poll(&mut fds, None).is_err() {}
}
