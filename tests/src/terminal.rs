//! A command at a terminal: what it prints there, and the keys that a person presses.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// A command whose standard streams, and controlling terminal, are a terminal of its own.
pub struct AtTerminal {
    /// The command.
    pub child: Child,
    keys: File,
    shown: String,
}

impl AtTerminal {
    /// Starts the command there.
    #[must_use]
    pub fn spawn(command: Command) -> Self {
        Self::spawn_sized(command, 80, 24)
    }

    /// Starts the command at a terminal as large as this.
    #[must_use]
    pub fn spawn_sized(mut command: Command, columns: u16, rows: u16) -> Self {
        let (ours, theirs) = open();
        let stream = || Stdio::from(theirs.try_clone().expect("a descriptor can be duplicated"));
        command.stdin(stream()).stdout(stream()).stderr(stream());
        // SAFETY: both calls are async-signal-safe, and nothing is allocated between fork and exec.
        unsafe {
            command.pre_exec(|| {
                if libc::setsid() < 0 || libc::ioctl(0, libc::TIOCSCTTY as _, 0) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
                Ok(())
            })
        };
        let keys = File::from(ours);
        resize(&keys, columns, rows);
        let child = command.spawn().expect("the command can be run");
        Self { child, keys, shown: String::new() }
    }

    /// Presses Ctrl-C.
    pub fn ctrl_c(&mut self) {
        self.presses("\x03");
    }

    /// Presses these keys.
    pub fn presses(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("the terminal takes it");
    }

    /// Makes the terminal as large as this.
    pub fn resize(&self, columns: u16, rows: u16) {
        resize(&self.keys, columns, rows);
    }

    /// Does it show what is typed, line by line, and know Ctrl-C?
    #[must_use]
    pub fn is_cooked(&self) -> bool {
        use rustix::termios::LocalModes;
        let modes = rustix::termios::tcgetattr(&self.keys).expect("a terminal").local_modes;
        modes.contains(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG)
    }

    /// Everything shown until this text is.
    #[track_caller]
    pub fn shows(&mut self, text: &str) -> &str {
        let mut part = [0; 4096];
        while !self.shown.contains(text) {
            let got = self.keys.read(&mut part).unwrap_or(0);
            assert!(got > 0, "ended without {text:?}: {}", self.shown);
            self.shown.push_str(&String::from_utf8_lossy(&part[..got]));
        }
        &self.shown
    }

    /// Everything shown until the command has ended, and its exit code.
    pub fn end(mut self) -> (i32, String) {
        let mut part = [0; 4096];
        // When the last one that holds it has ended, Linux answers EIO.
        while let Ok(got @ 1..) = self.keys.read(&mut part) {
            self.shown.push_str(&String::from_utf8_lossy(&part[..got]));
        }
        let code = self.child.wait().expect("it was started here").code();
        (code.unwrap_or(-1), self.shown)
    }
}

fn resize(terminal: &File, columns: u16, rows: u16) {
    let size = rustix::termios::Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(terminal, size).expect("the terminal can be resized");
}

fn open() -> (OwnedFd, OwnedFd) {
    let (mut ours, mut theirs) = (-1, -1);
    let (name, modes, size) = (std::ptr::null_mut(), std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: both numbers are written to, and nothing else is read or written.
    let opened = unsafe { libc::openpty(&raw mut ours, &raw mut theirs, name, modes, size) };
    assert_eq!(opened, 0, "a terminal can be opened: {}", std::io::Error::last_os_error());
    for descriptor in [ours, theirs] {
        // SAFETY: it was just opened; a child is to find only the copies that it is given.
        unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    // SAFETY: both were just opened, and nobody else owns them.
    unsafe { (OwnedFd::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs)) }
}
