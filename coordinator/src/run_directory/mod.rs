//! A run on disk: what was asked for, the trained model, the state to resume from and how the training went.
//!
//! | file | content |
//! | --- | --- |
//! | `run.toml` | the resolved configuration; a directory without it is not a run |
//! | `model.safetensors` | the model as of its last saving, see [`SavedModel`] |
//! | `checkpoint` | the state to resume from; `checkpoint.previous` is the one before |
//! | `metrics.jsonl` | one line an iteration |
//! | `request.toml` | what a sweep asked for, before the data settled the rest of `run.toml` |
//! | `outcome.json` | what a finished run of a sweep came to |
//! | `lock` | held by the process that works in the directory |
//!
//! Every file but the metrics is replaced atomically: whenever the process or the machine dies, the old content or the
//! new one is there, never a part. Metrics are appended, and a line torn by a crash is cut off when the run is opened.
//!
//! Reading a model or metrics takes no lock, so that a run can be evaluated while it trains.

mod atomic;
mod checkpoint;
mod error;
mod lock;
mod metrics;
mod model_file;
#[cfg(test)]
mod tests;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::de::DeserializeOwned;

pub(crate) use self::lock::Lock;
use self::metrics::MetricsLog;
pub use self::{checkpoint::LoadedCheckpoint, error::RunError, model_file::SavedModel};
use crate::report::progress::IterationReport;

const CONFIG: &str = "run.toml";
const MODEL: &str = "model.safetensors";
const METRICS: &str = "metrics.jsonl";
const REQUEST: &str = "request.toml";
const OUTCOME: &str = "outcome.json";

/// A run directory that this process holds. All methods may be called from several threads.
#[derive(Debug)]
pub struct RunDirectory {
    path: PathBuf,
    metrics: Mutex<MetricsLog>,
    /// Held while a file is replaced, for all temporary files have fixed names.
    replacing: Mutex<()>,
    _lock: Lock,
}

impl RunDirectory {
    /// Makes a directory (and its parents) for a new run and writes `run.toml` with the text `config`. The directory may
    /// exist if it is empty.
    ///
    /// # Errors
    /// [`RunError::Exists`] and [`RunError::NotEmpty`] when there is anything in it: nothing is ever overwritten.
    pub fn create(path: &Path, config: &str) -> Result<Self, RunError> {
        fs::create_dir_all(path).map_err(RunError::io("create", path))?;
        // Looked at before the lock, so that no lock file is left in a directory that is none of our business, and
        // again after it, for another process may have been faster.
        require_empty(path)?;
        let lock = Lock::take(path)?;
        require_empty(path)?;
        atomic::replace(&path.join(CONFIG), &[config.as_bytes()])?;
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            atomic::sync_directory(parent)?;
        }
        Self::held(path, lock)
    }

    /// Opens the directory of an existing run.
    pub fn open(path: &Path) -> Result<Self, RunError> {
        require_run(path)?;
        let lock = Lock::take(path)?;
        Self::held(path, lock)
    }

    fn held(path: &Path, lock: Lock) -> Result<Self, RunError> {
        let metrics = MetricsLog::open(&path.join(METRICS))?;
        Ok(Self {
            path: path.to_owned(),
            metrics: Mutex::new(metrics),
            replacing: Mutex::new(()),
            _lock: lock,
        })
    }

    /// Where it is, as the user gave it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces the text of `run.toml`.
    pub fn save_config(&self, config: &str) -> Result<(), RunError> {
        let _replacing = locked(&self.replacing);
        atomic::replace(&self.path.join(CONFIG), &[config.as_bytes()])
    }

    /// Replaces the text of `request.toml`.
    pub fn save_request(&self, config: &str) -> Result<(), RunError> {
        let _replacing = locked(&self.replacing);
        atomic::replace(&self.path.join(REQUEST), &[config.as_bytes()])
    }

    /// Replaces what the run came to, a JSON object.
    pub fn save_outcome(&self, json: &str) -> Result<(), RunError> {
        let _replacing = locked(&self.replacing);
        atomic::replace(&self.path.join(OUTCOME), &[json.as_bytes(), b"\n"])
    }

    /// Replaces the model.
    pub fn save_model(&self, model: &SavedModel) -> Result<(), RunError> {
        let bytes = model.to_bytes(&self.path.join(MODEL))?;
        let _replacing = locked(&self.replacing);
        atomic::replace(&self.path.join(MODEL), &[&bytes])
    }

    /// Replaces the checkpoint and keeps the one before it. The metrics so far are made durable first, so that they
    /// never end before the checkpoint does.
    pub fn save_checkpoint(&self, state: &[u8]) -> Result<(), RunError> {
        locked(&self.metrics).sync()?;
        let _replacing = locked(&self.replacing);
        checkpoint::save(&self.path, state)
    }

    /// Reads the last checkpoint; `None` if the run has not got so far as to write one.
    pub fn load_checkpoint(&self) -> Result<Option<LoadedCheckpoint>, RunError> {
        let _replacing = locked(&self.replacing);
        checkpoint::load(&self.path)
    }

    /// Appends a line to the metrics, unless they have that iteration already: a resumed run goes through the last
    /// iterations again and would only repeat them. A value that is not finite is written as null.
    pub fn append_metrics(&self, report: &IterationReport) -> Result<(), RunError> {
        locked(&self.metrics).append(report.iteration, report)
    }
}

/// The text of a run's `run.toml`.
pub fn load_config(run: &Path) -> Result<String, RunError> {
    require_run(run)?;
    let path = run.join(CONFIG);
    fs::read_to_string(&path).map_err(RunError::io("read", &path))
}

/// The text of a run's `request.toml`; `None` if it has none, because no sweep began it.
pub fn load_request(run: &Path) -> Result<Option<String>, RunError> {
    let path = run.join(REQUEST);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(RunError::io("read", &path)(error)),
    }
}

/// Replaces a file atomically, beside run directories as within them.
pub(crate) fn replace_file(path: &Path, content: &str) -> Result<(), RunError> {
    atomic::replace(path, &[content.as_bytes()])
}

/// What a run came to; `None` if that was not saved: it has not ended, or was no part of a sweep.
pub fn load_outcome<T: DeserializeOwned>(run: &Path) -> Result<Option<T>, RunError> {
    let path = run.join(OUTCOME);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(RunError::io("read", &path)(error)),
    };
    let damaged = |error: serde_json::Error| {
        RunError::damaged(&path, format!("{error}; move it away to have it made again"))
    };
    serde_json::from_str(&text).map(Some).map_err(damaged)
}

/// The model of a run.
pub fn load_model(run: &Path) -> Result<SavedModel, RunError> {
    require_run(run)?;
    let path = run.join(MODEL);
    match fs::read(&path) {
        Ok(bytes) => SavedModel::from_bytes(&path, &bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(RunError::NoModel { path: run.to_owned() })
        }
        Err(error) => Err(RunError::io("read", &path)(error)),
    }
}

/// The metrics of a run, one entry an iteration. A line that a running training has not finished is left out.
pub fn load_metrics<T: DeserializeOwned>(run: &Path) -> Result<Vec<T>, RunError> {
    require_run(run)?;
    metrics::load(&run.join(METRICS))
}

fn require_run(path: &Path) -> Result<(), RunError> {
    match fs::metadata(path.join(CONFIG)) {
        Ok(_) => Ok(()),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Err(RunError::NotARun { path: path.to_owned() })
        }
        Err(error) => Err(RunError::io("read", path)(error)),
    }
}

fn require_empty(path: &Path) -> Result<(), RunError> {
    if path.join(CONFIG).exists() {
        return Err(RunError::Exists { path: path.to_owned() });
    }
    let failed = RunError::io("read", path);
    for entry in fs::read_dir(path).map_err(&failed)? {
        let name = entry.map_err(&failed)?.file_name();
        // What a process that died in `create` may have left.
        if name != lock::FILE && name != atomic::temporary(Path::new(CONFIG)).as_os_str() {
            return Err(RunError::NotEmpty { path: path.to_owned() });
        }
    }
    Ok(())
}

/// The files are consistent after every step, so a thread that panicked while it held one does no harm.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
