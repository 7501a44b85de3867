//! Telling the starter, who waits at the other end of our stdout, how the start went.

use std::io::{self, Write};

/// Writes "ready" or `error <why>` as one line to stdout, which goes to the null device from then on: so the starter's
/// pipe ends, and nothing that is printed later meets a pipe without a reader.
#[must_use]
pub fn starter() -> Box<dyn FnOnce(Result<(), String>)> {
    Box::new(|started| {
        let line = match started {
            Ok(()) => "ready\n".to_owned(),
            // One line, whatever the reason looks like.
            Err(reason) => format!("error {}\n", reason.replace('\n', "; ")),
        };
        let mut stdout = io::stdout().lock();
        // A starter that has gone does not want to know.
        let _ = stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush());
        drop(stdout);
        if let Err(error) = leave_stdout() {
            tracing::warn!("cannot leave stdout: {error}");
        }
    })
}

#[cfg(unix)]
fn leave_stdout() -> io::Result<()> {
    let null = std::fs::OpenOptions::new().write(true).open("/dev/null")?;
    Ok(rustix::stdio::dup2_stdout(null)?)
}

#[cfg(windows)]
fn leave_stdout() -> io::Result<()> {
    use std::os::windows::io::IntoRawHandle;
    use windows_sys::Win32::System::Console::{GetStdHandle, STD_OUTPUT_HANDLE, SetStdHandle};
    let null = std::fs::OpenOptions::new().write(true).open("NUL")?;
    // SAFETY: the handles are open; the old one is nobody's but the process's own standard output.
    unsafe {
        let old = GetStdHandle(STD_OUTPUT_HANDLE);
        if SetStdHandle(STD_OUTPUT_HANDLE, null.into_raw_handle()) == 0 {
            return Err(io::Error::last_os_error());
        }
        windows_sys::Win32::Foundation::CloseHandle(old);
    }
    Ok(())
}
