//! `copo attach`: this terminal's stdin, stdout and stderr on a process's live stdio. Ctrl-D closes the process's stdin,
//! Ctrl-C detaches. A process with a terminal of its own gets every key, those too; there Ctrl-] detaches.

use std::io::{self, ErrorKind, Read, Write};
use std::process;
use std::thread;

use copo::v1::ProcessStatus;

use super::args::Place;
use super::control;
use super::failure::{Failure, NO_SUCH_NAME, NOT_RUNNING, Outcome, USAGE};
use super::find;
use super::signals;
use super::terminal::Terminal;

/// Bytes copied at once.
const CHUNK: usize = 64 * 1024;

/// `copo attach NAME`
pub fn run(place: &Place, name: &str) -> Outcome {
    let target = find::target(place)?;
    let client = target.connect()?;
    let processes = control::processes(&client)?;
    let process = instance(&processes, name)?;
    let path = target.layout.stdio(&process.internal_name);
    let stream = connect(&path).map_err(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => not_running(name),
        _ => Failure::io(format!("attach to {name}"), &error),
    })?;
    let terminal = Terminal::hand_over(&target.layout, &process.internal_name)?;
    let _handed_over = terminal.clone().map(Terminal::until_dropped);
    // What is detached goes on; the process is not asked to do anything.
    let at_signal = terminal.clone();
    signals::watch(move || detach(at_signal.as_ref()))?;
    // The connection ends after the last byte of a process that has come to rest, not at a restart.
    copy(stream, terminal).map_err(|error| Failure::io(format!("stay attached to {name}"), &error))
}

/// The one running instance that is meant.
fn instance<'a>(processes: &'a [ProcessStatus], name: &str) -> Result<&'a ProcessStatus, Failure> {
    let named = |process: &&ProcessStatus| process.name == name || process.internal_name == name;
    if !processes.iter().any(|process| named(&process)) {
        return Err(Failure::new(NO_SUCH_NAME, format!("cannot attach to {name:?}: there is no such process")));
    }
    let running: Vec<&ProcessStatus> = processes.iter().filter(named).filter(|process| process.pid.is_some()).collect();
    match running[..] {
        [one] => Ok(one),
        [] => Err(not_running(name)),
        [..] => {
            let names: Vec<&str> = running.iter().map(|process| process.internal_name.as_str()).collect();
            let names = names.join(", ");
            Err(Failure::new(USAGE, format!("cannot attach to {name}: it has several instances, name one of {names}")))
        }
    }
}

fn not_running(name: &str) -> Failure {
    Failure::new(NOT_RUNNING, format!("cannot attach to {name}: it is not running"))
}

/// Ends this command; the process goes on.
fn detach(terminal: Option<&Terminal>) -> ! {
    if let Some(terminal) = terminal {
        terminal.restore();
    }
    process::exit(0)
}

/// Copies both ways until the process's side ends.
fn copy(stream: Stream, terminal: Option<Terminal>) -> io::Result<()> {
    let mut to_process = stream.try_clone()?;
    thread::spawn(move || {
        // A process that no longer reads, or never did, is no reason to stop printing.
        let _ = match terminal {
            Some(terminal) => {
                let mut keys = terminal.keys();
                copy_chunks(&mut keys, &mut to_process).map(|()| {
                    if keys.has_detached() {
                        detach(Some(&terminal));
                    }
                })
            }
            None => copy_chunks(&mut io::stdin().lock(), &mut to_process),
        };
        let _ = close_writing(&to_process);
    });
    let mut from_process = stream;
    match copy_chunks(&mut from_process, &mut io::stdout().lock()) {
        Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => Ok(()),
        copied => copied,
    }
}

fn copy_chunks(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        match from.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(count) => {
                to.write_all(&chunk[..count])?;
                to.flush()?;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(unix)]
type Stream = std::os::unix::net::UnixStream;

#[cfg(unix)]
fn connect(path: &std::path::Path) -> io::Result<Stream> {
    Stream::connect(path)
}

#[cfg(unix)]
fn close_writing(stream: &Stream) -> io::Result<()> {
    stream.shutdown(std::net::Shutdown::Write)
}

#[cfg(windows)]
use pipe::{Stream, close_writing, connect};

/// A named pipe for two threads: on an ordinary handle a read that waits would hold up every write, so the overlapped one
/// of tokio is used, driven by a thread of its own.
#[cfg(windows)]
mod pipe {
    use std::future;
    use std::io::{self, ErrorKind, Read, Write};
    use std::path::Path;
    use std::sync::Arc;
    use std::thread;
    use std::time::{Duration, Instant};

    use copo_orchestrator::windows_user;
    use tokio::net::windows::named_pipe::{ClientOptions, NamedPipeClient};
    use tokio::runtime::{Builder, Handle};
    use windows_sys::Win32::Foundation::ERROR_PIPE_BUSY;

    /// How long to ask again for a pipe whose instances are all taken.
    const PATIENCE: Duration = Duration::from_secs(2);

    #[derive(Clone)]
    pub struct Stream {
        pipe: Arc<NamedPipeClient>,
        driver: Handle,
    }

    pub fn connect(path: &Path) -> io::Result<Stream> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let pipe = {
            let _inside = runtime.enter();
            Arc::new(open(path)?)
        };
        windows_user::check_server(&*pipe)?;
        let driver = runtime.handle().clone();
        thread::spawn(move || runtime.block_on(future::pending::<()>()));
        Ok(Stream { pipe, driver })
    }

    /// Between two connections there may be no instance of the pipe for a moment.
    fn open(path: &Path) -> io::Result<NamedPipeClient> {
        let until = Instant::now() + PATIENCE;
        loop {
            match ClientOptions::new().open(path) {
                Err(error) if error.raw_os_error() == Some(ERROR_PIPE_BUSY as i32) && Instant::now() < until => {
                    thread::sleep(Duration::from_millis(10));
                }
                opened => return opened,
            }
        }
    }

    /// A pipe has no half of it to close: the process's stdin stays open until this command ends.
    pub fn close_writing(_stream: &Stream) -> io::Result<()> {
        Ok(())
    }

    impl Stream {
        pub fn try_clone(&self) -> io::Result<Self> {
            Ok(self.clone())
        }
    }

    impl Read for Stream {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            loop {
                self.driver.block_on(self.pipe.readable())?;
                match self.pipe.try_read(buffer) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    read => return read,
                }
            }
        }
    }

    impl Write for Stream {
        fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
            loop {
                self.driver.block_on(self.pipe.writable())?;
                match self.pipe.try_write(buffer) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    written => return written,
                }
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(internal_name: &str, pid: Option<u32>) -> ProcessStatus {
        ProcessStatus { name: "web".into(), internal_name: internal_name.into(), pid, ..ProcessStatus::default() }
    }

    #[test]
    fn a_name_means_its_one_running_instance() {
        let processes = [process("web-1", None), process("web-2", Some(7))];
        assert_eq!(instance(&processes, "web").expect("one").internal_name, "web-2");
        assert_eq!(instance(&processes, "web-1").expect_err("stopped").code, NOT_RUNNING);
        assert_eq!(instance(&processes, "db").expect_err("unknown").code, NO_SUCH_NAME);
        let both = [process("web-1", Some(6)), process("web-2", Some(7))];
        assert_eq!(instance(&both, "web").expect_err("two").code, USAGE);
        assert_eq!(instance(&both, "web-1").expect("one").internal_name, "web-1");
    }
}
