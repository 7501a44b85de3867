//! The orchestrator's own log, rotated like the others. `COPO_LOG` filters it (default "info").

use std::io;
use std::path::PathBuf;
use std::sync::Mutex;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use super::clock;
use super::log::Log;
use crate::plan::LogSpec;

/// The variable that filters.
const FILTER: &str = "COPO_LOG";
/// Rotation of this log.
const SPEC: LogSpec = LogSpec { size: 10 * 1024 * 1024, files: 5 };

/// From here on `tracing` writes to the log at `path`, and a panic goes there too.
pub(super) fn start(path: PathBuf) -> io::Result<()> {
    let log = OwnLog(Mutex::new(Log::open(path, None, SPEC)?));
    let filter = EnvFilter::builder().with_default_directive(tracing::Level::INFO.into());
    let filter = filter.parse_lossy(std::env::var(FILTER).unwrap_or_default());
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(log);
    // Refused only when this process logs already: then it goes on doing so.
    let _ = subscriber.try_init();
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        tracing::error!("{info}");
        usual(info);
    }));
    Ok(())
}

struct OwnLog(Mutex<Log>);

impl<'a> MakeWriter<'a> for OwnLog {
    type Writer = &'a OwnLog;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

impl io::Write for &OwnLog {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut log = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        log.write(line, clock::wall()).map(|()| line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
