//! What a keeper is started with: by `copo up`, by an orchestrator that has lost its own, or by the keeper of another version.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The hidden command.
pub const KEEP: &str = "keep";

/// The pipe ends that are held of one run.
#[derive(Debug)]
pub struct Held {
    /// The RunId.
    pub run: [u8; 16],
    /// Where its output is read.
    pub output: OwnedFd,
    /// Where its stdin is written.
    pub stdin: Option<OwnedFd>,
}

impl Held {
    /// All of them.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        [Some(self.output.as_fd()), self.stdin.as_ref().map(AsFd::as_fd)].into_iter().flatten()
    }

    fn text(&self) -> OsString {
        let run: String = self.run.iter().map(|byte| format!("{byte:02x}")).collect();
        let stdin = self.stdin.as_ref().map_or(-1, AsRawFd::as_raw_fd);
        format!("--held={run}:{}:{stdin}", self.output.as_raw_fd()).into()
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let digits = parts.next().filter(|digits| digits.len() == 32 && digits.is_ascii())?;
        let mut run = [0; 16];
        for (byte, at) in run.iter_mut().zip((0..32).step_by(2)) {
            *byte = u8::from_str_radix(&digits[at..at + 2], 16).ok()?;
        }
        let output = inherited(parts.next()?.parse().ok()?)?;
        Some(Self { run, output, stdin: inherited(parts.next()?.parse().ok()?) })
    }
}

/// A descriptor that was left open for us; nobody else inherits it.
fn inherited(number: RawFd) -> Option<OwnedFd> {
    // SAFETY: the number is only asked about.
    if number < 3 || unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } != 0 {
        return None;
    }
    // SAFETY: it is open, and whoever started this process left it open for nobody but us.
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}

/// What a keeper is started with.
#[derive(Debug)]
pub struct Arguments {
    /// Absolute path of the copo.toml.
    pub config: PathBuf,
    /// The file that it holds locked.
    pub file: PathBuf,
    /// The same, open and locked already.
    pub file_descriptor: Option<OwnedFd>,
    /// An orchestrator that lives, and its socket.
    pub orchestrator: Option<(u32, OwnedFd)>,
    /// Children of an earlier orchestrator that this one waits for.
    pub adopted: Vec<u32>,
    /// The next orchestrator takes the place of one that is gone.
    pub is_resumed: bool,
    /// Its start is waited for by whoever started the keeper.
    pub is_first: bool,
    /// What it holds from the beginning.
    pub held: Vec<Held>,
    /// Names as given to `copo up`.
    pub names: Vec<OsString>,
}

impl Arguments {
    /// Of a keeper that `copo up` starts.
    #[must_use]
    pub fn new(config: &Path, file: &Path, names: Vec<OsString>) -> Self {
        Self {
            config: config.to_owned(),
            file: file.to_owned(),
            file_descriptor: None,
            orchestrator: None,
            adopted: Vec::new(),
            is_resumed: false,
            is_first: false,
            held: Vec::new(),
            names,
        }
    }

    /// Reads what [`Self::of_keeper`] has written, without its first word.
    pub fn parse(args: impl Iterator<Item = OsString>) -> Option<Self> {
        let mut arguments = Self::new(Path::new(""), Path::new(""), Vec::new());
        let mut args = args.peekable();
        while let Some(arg) = args.next_if(|arg| arg != "--") {
            let text = arg.as_bytes();
            let after = |prefix: &str| text.strip_prefix(prefix.as_bytes()).map(OsStr::from_bytes);
            if let Some(path) = after("--config=") {
                arguments.config = path.into();
            } else if let Some(path) = after("--file=") {
                arguments.file = path.into();
            } else if let Some(number) = after("--file-descriptor=") {
                arguments.file_descriptor = inherited(number.to_str()?.parse().ok()?);
            } else if let Some(text) = after("--orchestrator=") {
                let (pid, socket) = text.to_str()?.split_once(':')?;
                arguments.orchestrator = Some((pid.parse().ok()?, inherited(socket.parse().ok()?)?));
            } else if let Some(pids) = after("--adopted=") {
                arguments.adopted = pids.to_str()?.split(',').filter_map(|pid| pid.parse().ok()).collect();
            } else if text == b"--resume" {
                arguments.is_resumed = true;
            } else if let Some(held) = after("--held=") {
                arguments.held.extend(Held::parse(held.to_str()?));
            }
            // What a later version adds is passed over.
        }
        arguments.names = args.skip(1).collect();
        let is_whole = !arguments.config.as_os_str().is_empty() && !arguments.file.as_os_str().is_empty();
        is_whole.then_some(arguments)
    }

    /// The words that start a keeper which holds this, and has `more`.
    #[must_use]
    pub fn of_keeper(&self, held: &[Held], more: &[String]) -> Vec<OsString> {
        let with =
            |prefix: &str, path: &Path| OsString::from_vec([prefix.as_bytes(), path.as_os_str().as_bytes()].concat());
        let mut words = vec![KEEP.into(), with("--config=", &self.config), with("--file=", &self.file)];
        words.extend(more.iter().map(OsString::from));
        words.extend(self.is_resumed.then(|| "--resume".into()));
        words.extend(held.iter().map(Held::text));
        words.push("--".into());
        words.extend(self.names.iter().cloned());
        words
    }

    /// The words that start the next orchestrator.
    #[must_use]
    pub fn of_orchestrator(&self) -> Vec<OsString> {
        let mut words: Vec<OsString> = vec!["orchestrate".into(), "--config".into(), self.config.clone().into()];
        words.push("--kept".into());
        words.extend(["--last-config".into(), self.file.with_file_name("copo.toml").into()]);
        words.extend(self.is_resumed.then(|| "--resume".into()));
        words.push("--".into());
        words.extend(self.names.iter().cloned());
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keeper_hands_on_all_it_has() {
        let (read, write) = std::io::pipe().expect("made");
        let held = Held { run: [0xab; 16], output: read.into(), stdin: Some(write.into()) };
        let numbers: Vec<RawFd> = held.descriptors().map(|fd| fd.as_raw_fd()).collect();
        let mut first = Arguments::new(Path::new("/a b/copo.toml"), Path::new("/h/keeper"), vec!["web".into()]);
        first.is_resumed = true;

        let words = first.of_keeper(std::slice::from_ref(&held), &["--adopted=7,8".to_owned()]);
        // From here on they are the other's.
        std::mem::forget(held);
        let read = Arguments::parse(words.into_iter().skip(1)).expect("whole");

        let handed_on: Vec<RawFd> = read.held[0].descriptors().map(|fd| fd.as_raw_fd()).collect();
        assert_eq!((read.held[0].run, handed_on), ([0xab; 16], numbers));
        assert_eq!((read.config, read.file, read.names), (first.config, first.file, first.names));
        assert!(read.is_resumed && !read.is_first);
        assert_eq!(read.adopted, [7, 8]);
        assert!(Arguments::parse(["--resume".into()].into_iter()).is_none());
    }
}
