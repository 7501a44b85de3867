//! Copying what chatty processes write into their logs, beside a loop that only copies.

use std::fs;
use std::path::{Path, PathBuf};

use copo_orchestrator::layout::Layout;

use super::child::{LINE, WORD};
use super::limit::Limit;
use super::stamps::{Stamps, until};
use crate::cli::bench::meter;
use crate::cli::bench::own::Own;
use crate::cli::failure::Failure;

/// What came of it.
#[derive(Debug)]
pub struct Copied {
    /// Bytes a nanosecond.
    pub rate: f64,
    /// The limit's.
    pub limit: f64,
    /// Lines that are not in the log, or not whole.
    pub lost: u64,
}

/// So many processes write so many bytes each.
pub fn measure(program: &Path, count: usize, bytes: u64) -> Result<Copied, Failure> {
    let limit = {
        let folder = tempfile::tempdir().map_err(|error| Failure::io("make a folder for the limit", &error))?;
        let stamps = Stamps::new(folder.path().join("stamps"))?;
        Limit::new(program)?.copy(count, bytes, folder.path(), &stamps)?
    };
    let mut own = Own::new()?;
    let stamps = Stamps::new(own.folder().join("stamps"))?;
    own.configure(&format!(
        "application = \"bench\"\n[process.chatty]\nexecutable_path = {:?}\nargs = [{WORD:?}, \"chat\", {:?}, \"{bytes}\"]\n\
         replicas = {count}\nrestart = \"no\"\nlog = {{ size = \"1TiB\", files = 1 }}\n",
        program.display().to_string(),
        stamps.path().display().to_string()
    ))?;
    own.up()?;
    let layout = Layout::new(own.folder(), "bench");
    let logs: Vec<PathBuf> = (1..=count).map(|number| layout.log(&format!("chatty-{number}"))).collect();
    let expected = bytes * count as u64;
    let end = until("the logs to be whole", || {
        let sizes = logs.iter().map(|log| fs::metadata(log).map_or(0, |found| found.len()));
        Ok((sizes.sum::<u64>() >= expected).then(meter::now))
    })?;
    let first = stamps.wait(count)?.into_values().min().unwrap_or(end);
    let whole: u64 = logs.iter().map(|log| whole_lines(&fs::read(log).unwrap_or_default())).sum();
    let lost = (expected / LINE as u64).saturating_sub(whole);
    Ok(Copied { rate: expected as f64 / (end - first) as f64, limit, lost })
}

fn whole_lines(log: &[u8]) -> u64 {
    let is_whole = |line: &&[u8]| line.len() == LINE - 1 && line.iter().all(|byte| *byte == b'x');
    log.split(|byte| *byte == b'\n').filter(is_whole).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_cut_is_not_whole() {
        let line = [&[b'x'; LINE - 1][..], b"\n"].concat();
        assert_eq!(whole_lines(&line.repeat(3)), 3);
        assert_eq!(whole_lines(&[&line[1..], &line].concat()), 1);
    }
}
