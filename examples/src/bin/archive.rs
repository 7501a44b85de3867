//! Archives every record into CSV files, one a minute: `archive FOLDER`.
//!
//! A line is `seq,sent_time,sent_by,key,data`. The place to go on from after a crash is the last whole line there is, so
//! that a killed archive loses nothing and writes nothing twice.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use copo::{Client, ErrorCode, From, Item, SubscribeOptions, UddRecord};

const MINUTE: u64 = 60_000_000;

fn main() {
    let folder = std::env::args().nth(1).unwrap_or_else(|| "out/csv".to_owned());
    if let Err(why) = archive(Path::new(&folder)) {
        eprintln!("archive: {why}");
        std::process::exit(1);
    }
}

fn archive(folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
    fs::create_dir_all(folder)?;
    let client = Client::connect()?;
    let mut writer = Writer::open(folder)?;
    let options = writer.place.as_ref().map_or(SubscribeOptions::default().from(From::First), |place| {
        SubscribeOptions::default().from(From::Seq(place.seq + 1)).log_id(place.log_id.clone())
    });
    let mut records = client.udd_subscribe(&options)?;
    writer.log_id(&records.log_id())?;
    // Whoever has asked is told of a stop before the signal comes, and has time to write what has arrived.
    client.stop_requested()?;
    client.ready()?;
    client.meta_report(b"archiving")?;
    loop {
        // What has come is written before more is waited for.
        let next = match records.try_next() {
            Ok(Some(item)) => Ok(item),
            Ok(None) => writer.flush().map(|()| records.next(None))?,
            Err(error) => Err(error),
        };
        match next {
            Ok(item) => writer.take(item)?,
            Err(error) if is_over(error.code()) => break,
            Err(error) => return Err(error.into()),
        }
    }
    writer.flush()?;
    Ok(())
}

fn is_over(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::Stopping | ErrorCode::End)
}

/// Where to go on from.
struct Place {
    log_id: Vec<u8>,
    seq: u64,
}

struct Writer {
    folder: PathBuf,
    place: Option<Place>,
    minute: u64,
    file: Option<BufWriter<File>>,
}

impl Writer {
    fn open(folder: &Path) -> std::io::Result<Self> {
        let log_id = fs::read(folder.join("log_id")).ok();
        let seq = newest_file(folder)?.map(|path| cut_to_last_line(&path)).transpose()?.flatten();
        let place = log_id.zip(seq).map(|(log_id, seq)| Place { log_id, seq });
        Ok(Self { folder: folder.to_owned(), place, minute: 0, file: None })
    }

    /// Notes whose Seqs these are; another log's begin anew.
    fn log_id(&mut self, log_id: &[u8]) -> std::io::Result<()> {
        fs::write(self.folder.join("log_id"), log_id)
    }

    fn take(&mut self, item: Item) -> std::io::Result<()> {
        match item {
            Item::Record(record) => self.record(&record),
            Item::Report(_) => Ok(()),
            Item::Gap(gap) => {
                eprintln!("archive: a gap: {:?}, {} to {}", gap.cause(), gap.first, gap.last);
                self.log_id(&gap.log_id)
            }
        }
    }

    fn record(&mut self, record: &UddRecord) -> std::io::Result<()> {
        let minute = record.sent_time / MINUTE;
        if self.file.is_none() || minute != self.minute {
            self.flush()?;
            let path = self.folder.join(format!("{minute}.csv"));
            let file = File::options().create(true).append(true).open(path)?;
            (self.file, self.minute) = (Some(BufWriter::new(file)), minute);
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        let data = String::from_utf8_lossy(&record.udd_buff).replace('"', "\"\"");
        writeln!(file, "{},{},{},{},\"{data}\"", record.seq, record.sent_time, record.sent_by, record.key)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.as_mut().map_or(Ok(()), Write::flush)
    }
}

/// The newest CSV file: names are minutes, all of one length.
fn newest_file(folder: &Path) -> std::io::Result<Option<PathBuf>> {
    let paths = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
    Ok(paths.into_iter().filter(|path| path.extension().is_some_and(|ext| ext == "csv")).max())
}

/// Cuts off a line that a crash left unfinished, and gives the Seq of the last whole one.
fn cut_to_last_line(path: &Path) -> std::io::Result<Option<u64>> {
    let bytes = fs::read(path)?;
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    if whole < bytes.len() {
        File::options().write(true).open(path)?.set_len(whole as u64)?;
    }
    let text = String::from_utf8_lossy(&bytes[..whole]);
    Ok(text.lines().last().and_then(|line| line.split(',').next()?.parse().ok()))
}
