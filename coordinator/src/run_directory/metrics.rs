//! The course of a training: one JSON object a line, one line an iteration, in increasing order.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::RunError;

/// The metrics file of a locked run.
#[derive(Debug)]
pub(super) struct MetricsLog {
    path: PathBuf,
    file: File,
    /// Length of the complete lines; nothing after them counts.
    length: u64,
    /// The shortest that this was since [`MetricsLog::read_from`] was called last: bytes before are what they were.
    unchanged: u64,
    last_iteration: Option<u64>,
}

/// The field of a line that this module reads.
#[derive(Deserialize)]
struct Head {
    iteration: u64,
}

impl MetricsLog {
    /// Opens or creates the file, and cuts off a last line that a crash has torn.
    pub(super) fn open(path: &Path) -> Result<Self, RunError> {
        let failed = RunError::io("open", path);
        let mut file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)
            .map_err(&failed)?;
        let mut content = Vec::new();
        file.read_to_end(&mut content).map_err(&failed)?;
        let lines = parse::<Head>(path, &content)?;
        let mut log = Self {
            path: path.to_owned(),
            file,
            length: content.len() as u64,
            unchanged: content.len() as u64,
            last_iteration: lines.values.last().map(|head| head.iteration),
        };
        if lines.torn {
            log.length = lines.whole_bytes as u64;
            log.unchanged = log.length;
            log.file.set_len(log.length).map_err(RunError::io("repair", path))?;
        } else if content.last().is_some_and(|&byte| byte != b'\n') {
            // Only the line break was lost.
            log.write(b"\n")?;
        }
        Ok(log)
    }

    /// Appends `line`, an object with its `iteration`, unless the file has that iteration already; whether it did.
    pub(super) fn append(&mut self, iteration: u64, line: &impl Serialize) -> Result<bool, RunError> {
        if self.last_iteration.is_some_and(|last| iteration <= last) {
            return Ok(false);
        }
        let mut text =
            serde_json::to_vec(line).map_err(|error| RunError::io("write", &self.path)(error.into()))?;
        text.push(b'\n');
        self.write(&text)?;
        self.last_iteration = Some(iteration);
        Ok(true)
    }

    /// Cuts off the lines after `iteration`, or all lines.
    pub(super) fn cut(&mut self, iteration: Option<u64>) -> Result<(), RunError> {
        let failed = RunError::io("shorten", &self.path);
        let content = self.read(0)?;
        let lines = parse::<Head>(&self.path, &content)?.values;
        let kept = lines.iter().filter(|head| iteration.is_some_and(|last| head.iteration <= last)).count();
        let length =
            content.split_inclusive(|&byte| byte == b'\n').take(kept).map(<[u8]>::len).sum::<usize>();
        self.file.set_len(length as u64).map_err(&failed)?;
        self.length = length as u64;
        self.unchanged = self.unchanged.min(self.length);
        self.last_iteration = kept.checked_sub(1).map(|last| lines[last].iteration);
        Ok(())
    }

    /// The complete lines from a byte on. `from` says which, and is told how many bytes, from the first, are what they were
    /// when this was called last.
    pub(super) fn read_from(&mut self, from: impl FnOnce(u64) -> u64) -> Result<Vec<u8>, RunError> {
        let from = from(std::mem::replace(&mut self.unchanged, self.length));
        self.read(from)
    }

    fn read(&self, from: u64) -> Result<Vec<u8>, RunError> {
        let failed = RunError::io("read", &self.path);
        let (mut file, mut content) = (&self.file, Vec::new());
        file.seek(SeekFrom::Start(from)).map_err(&failed)?;
        file.take(self.length.saturating_sub(from)).read_to_end(&mut content).map_err(&failed)?;
        Ok(content)
    }

    /// Makes the appended lines durable.
    pub(super) fn sync(&mut self) -> Result<(), RunError> {
        self.file.sync_data().map_err(RunError::io("write", &self.path))
    }

    /// Writes after the last complete line, so that the next write replaces a failed one (a full disk).
    fn write(&mut self, bytes: &[u8]) -> Result<(), RunError> {
        let failed = RunError::io("write", &self.path);
        self.file.seek(SeekFrom::Start(self.length)).map_err(&failed)?;
        if let Err(error) = self.file.write_all(bytes) {
            // If this fails too, the next opening of the run cuts the torn line off.
            let _ = self.file.set_len(self.length);
            return Err(failed(error));
        }
        self.length += bytes.len() as u64;
        Ok(())
    }
}

/// All complete lines of a metrics file; none if there is no file.
pub(super) fn load<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, RunError> {
    match fs::read(path) {
        Ok(content) => Ok(parse(path, &content)?.values),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(RunError::io("read", path)(error)),
    }
}

struct Lines<T> {
    values: Vec<T>,
    whole_bytes: usize,
    /// Whether an incomplete line follows.
    torn: bool,
}

fn parse<T: DeserializeOwned>(path: &Path, content: &[u8]) -> Result<Lines<T>, RunError> {
    let mut lines = Lines { values: Vec::new(), whole_bytes: 0, torn: false };
    let mut last_iteration = None;
    for (index, line) in content.split_inclusive(|&byte| byte == b'\n').enumerate() {
        let is_last = lines.whole_bytes + line.len() == content.len();
        let damaged = |problem: String| {
            RunError::damaged(
                path,
                format!("line {}: {problem}; move the file away to continue without it", index + 1),
            )
        };
        let Head { iteration } = match serde_json::from_slice(line) {
            Ok(head) => head,
            Err(_) if is_last => {
                lines.torn = true;
                break;
            }
            Err(error) => return Err(damaged(error.to_string())),
        };
        if last_iteration.is_some_and(|last| iteration <= last) {
            return Err(damaged(format!(
                "iteration {iteration} does not follow the iteration of the line before"
            )));
        }
        last_iteration = Some(iteration);
        lines.values.push(serde_json::from_slice(line).map_err(|error| damaged(error.to_string()))?);
        lines.whole_bytes += line.len();
    }
    Ok(lines)
}
