//! How a training went: one JSON object a line, one line an iteration, iterations increasing.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::RunError;

/// The metrics file of a run that is held.
#[derive(Debug)]
pub(super) struct MetricsLog {
    path: PathBuf,
    file: File,
    /// Length of the whole lines, all that counts.
    length: u64,
    last_iteration: Option<u64>,
}

/// The part of a line that is understood here.
#[derive(Deserialize)]
struct Head {
    iteration: u64,
}

impl MetricsLog {
    /// Opens the file, makes it if it is not there, and cuts off a last line that a crash has torn.
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
            last_iteration: lines.values.last().map(|head| head.iteration),
        };
        if lines.torn {
            log.length = lines.whole_bytes as u64;
            log.file.set_len(log.length).map_err(RunError::io("repair", path))?;
        } else if content.last().is_some_and(|&byte| byte != b'\n') {
            // Only the end of the line was lost.
            log.write(b"\n")?;
        }
        Ok(log)
    }

    /// Appends `line`, an object with its `iteration`, unless the file has that iteration already.
    pub(super) fn append(&mut self, iteration: u64, line: &impl Serialize) -> Result<(), RunError> {
        if self.last_iteration.is_some_and(|last| iteration <= last) {
            return Ok(());
        }
        let mut text =
            serde_json::to_vec(line).map_err(|error| RunError::io("write", &self.path)(error.into()))?;
        text.push(b'\n');
        self.write(&text)?;
        self.last_iteration = Some(iteration);
        Ok(())
    }

    /// Makes what was appended durable.
    pub(super) fn sync(&mut self) -> Result<(), RunError> {
        self.file.sync_data().map_err(RunError::io("write", &self.path))
    }

    /// Writes at the end of the whole lines, so that a failed write (a full disk) is written over by the next.
    fn write(&mut self, bytes: &[u8]) -> Result<(), RunError> {
        let failed = RunError::io("write", &self.path);
        self.file.seek(SeekFrom::Start(self.length)).map_err(&failed)?;
        if let Err(error) = self.file.write_all(bytes) {
            // If this fails as well, the torn line is cut off when the run is opened next.
            let _ = self.file.set_len(self.length);
            return Err(failed(error));
        }
        self.length += bytes.len() as u64;
        Ok(())
    }
}

/// All whole lines of a metrics file; none if there is no file.
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
    /// Whether something follows that is not a whole line.
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
                format!("line {}: {problem}; move the file away to go on without it", index + 1),
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
            return Err(damaged(format!("iteration {iteration} does not come after the line before it")));
        }
        last_iteration = Some(iteration);
        lines.values.push(serde_json::from_slice(line).map_err(|error| damaged(error.to_string()))?);
        lines.whole_bytes += line.len();
    }
    Ok(lines)
}
