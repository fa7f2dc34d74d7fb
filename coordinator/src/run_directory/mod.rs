//! A run on disk: the settings, the trained model, the state to resume from and the course of the training.
//!
//! | file | content |
//! | --- | --- |
//! | `run.toml` | the resolved configuration; a directory without it is not a run |
//! | `model.safetensors` | the model as of its last saving, see [`SavedModel`] |
//! | `checkpoint` | the state to resume from; `checkpoint.previous` is the state before it |
//! | `earlier/` | up to eight states before it, named by the number of completed rounds |
//! | `metrics.jsonl` | one line an iteration |
//! | `request.toml` | the settings that a sweep gave, before the data settled the rest of `run.toml` |
//! | `links` | the links to the page, one a line, while a process trains the run |
//! | `helpers.json` | who helped, as of the last checkpoint |
//! | `report.html` | the report for people, once the training has ended |
//! | `outcome.json` | the outcome of a sweep's finished run |
//! | `lock` | names the process that works in the directory, which has the lock on the directory itself |
//!
//! Every file but the metrics is replaced atomically: whenever the process or the machine dies, the file
//! holds the old content or the new, never a part. Metrics are appended. If a crash tears a line, opening the
//! run cuts it off.
//!
//! Reading a model, its last weights or metrics takes no lock, so that a run can be evaluated while it trains.

mod atomic;
mod checkpoint;
mod earlier;
mod error;
mod lock;
mod metrics;
mod model_file;
#[cfg(test)]
mod tests;

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::de::DeserializeOwned;

pub(crate) use self::lock::Lock;
use self::metrics::MetricsLog;
pub use self::{checkpoint::LoadedCheckpoint, error::RunError, model_file::SavedModel};
use crate::report::{helpers::Helpers, progress::IterationReport};

const CONFIG: &str = "run.toml";
const MODEL: &str = "model.safetensors";
const METRICS: &str = "metrics.jsonl";
const REQUEST: &str = "request.toml";
const OUTCOME: &str = "outcome.json";
const REPORT: &str = "report.html";
const LINKS: &str = "links";
const HELPERS: &str = "helpers.json";

/// A run directory that this process holds. All methods may be called from several threads.
#[derive(Debug)]
pub struct RunDirectory {
    path: PathBuf,
    metrics: Mutex<MetricsLog>,
    /// Held while a file is replaced, because all temporary files have fixed names.
    replacing: Mutex<()>,
    lock: Lock,
}

impl RunDirectory {
    /// Creates a directory (and its parents) for a new run and writes `run.toml` with the text `config`. The
    /// directory may exist if it is empty.
    ///
    /// # Errors
    /// [`RunError::Exists`] and [`RunError::NotEmpty`] when the directory holds anything: nothing is ever
    /// overwritten.
    pub fn create(path: &Path, config: &str) -> Result<Self, RunError> {
        fs::create_dir_all(path).map_err(RunError::io("create", path))?;
        // Check before taking the lock, so that no lock file is left in a foreign directory, and again
        // afterward, because another process may have been faster.
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
        Ok(Self { path: path.to_owned(), metrics: Mutex::new(metrics), replacing: Mutex::new(()), lock })
    }

    /// The right to replace files, while the path still names this run's directory.
    fn replacing(&self) -> Result<MutexGuard<'_, ()>, RunError> {
        let replacing = locked(&self.replacing);
        self.lock.require_still_at(&self.path)?;
        Ok(replacing)
    }

    /// Its path, as the user gave it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces the text of `run.toml`.
    pub fn save_config(&self, config: &str) -> Result<(), RunError> {
        let _replacing = self.replacing()?;
        atomic::replace(&self.path.join(CONFIG), &[config.as_bytes()])
    }

    /// Replaces the text of `request.toml`.
    pub fn save_request(&self, config: &str) -> Result<(), RunError> {
        let _replacing = self.replacing()?;
        atomic::replace(&self.path.join(REQUEST), &[config.as_bytes()])
    }

    /// Replaces the run's outcome, a JSON object.
    pub fn save_outcome(&self, json: &str) -> Result<(), RunError> {
        let _replacing = self.replacing()?;
        atomic::replace(&self.path.join(OUTCOME), &[json.as_bytes(), b"\n"])
    }

    /// Replaces the report for people, an HTML file.
    pub fn save_report(&self, html: &str) -> Result<(), RunError> {
        let _replacing = self.replacing()?;
        atomic::replace(&self.path.join(REPORT), &[html.as_bytes()])
    }

    /// Replaces the account of who helped.
    pub fn save_helpers(&self, helpers: &Helpers) -> Result<(), RunError> {
        let json = serde_json::to_vec(helpers).expect("an account is plain data");
        let _replacing = self.replacing()?;
        atomic::replace(&self.path.join(HELPERS), &[&json, b"\n"])
    }

    /// The account of who helped so far; an empty one if there is none that can be read. A report is worth less
    /// than a training that goes on.
    pub fn load_helpers(&self) -> Helpers {
        let text = fs::read(self.path.join(HELPERS)).ok();
        text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }

    /// Replaces the links to the page.
    pub fn save_links<'a>(&self, links: impl Iterator<Item = &'a str>) -> Result<(), RunError> {
        let text: String = links.map(|link| format!("{link}\n")).collect();
        let _replacing = self.replacing()?;
        atomic::replace(&self.path.join(LINKS), &[text.as_bytes()])
    }

    /// Replaces the model. Where it finds no room, earlier states make way.
    pub fn save_model(&self, model: &SavedModel) -> Result<(), RunError> {
        let path = self.path.join(MODEL);
        let bytes = model.to_bytes(&path)?;
        let _replacing = self.replacing()?;
        earlier::make_way_for(&self.path, || atomic::replace(&path, &[&bytes]))
    }

    /// The same, but where the run directory cannot be written to, for a full disk most likely, the model goes into the
    /// system's directory for temporary files: nobody wants to train it again.
    ///
    /// # Errors
    /// [`RunError::SavedElsewhere`] if it is there, [`RunError::NotSaved`] if it is nowhere.
    pub fn save_trained_model(&self, model: &SavedModel) -> Result<(), RunError> {
        let Err(source) = self.save_model(model) else { return Ok(()) };
        let source = Box::new(source);
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let elsewhere = env::temp_dir().join(format!("shoal-{name}-{}.safetensors", process::id()));
        match model.to_bytes(&elsewhere).and_then(|bytes| atomic::replace(&elsewhere, &[&bytes])) {
            Ok(()) => Err(RunError::SavedElsewhere { elsewhere, source }),
            Err(_) => Err(RunError::NotSaved { path: self.path.clone(), elsewhere, source }),
        }
    }

    /// Replaces the checkpoint and keeps the one before it. `version` is the layout of `state`, in which so many rounds
    /// were completed. Makes the metrics durable first, so that they never end before the checkpoint.
    pub fn save_checkpoint(&self, version: u32, state: &[u8], rounds: u64) -> Result<(), RunError> {
        locked(&self.metrics).sync()?;
        let _replacing = self.replacing()?;
        checkpoint::save(&self.path, version, state, rounds)
    }

    /// The numbers of completed rounds of all states that are kept, in increasing order.
    pub fn earlier(&self) -> Vec<u64> {
        earlier::list(&self.path)
    }

    /// Reads the state in which so many rounds were completed; `None` if it is not kept.
    ///
    /// # Errors
    /// As [`RunDirectory::load_checkpoint`].
    pub fn load_earlier(&self, version: u32, rounds: u64) -> Result<Option<Vec<u8>>, RunError> {
        let _replacing = locked(&self.replacing);
        checkpoint::load_earlier(&self.path, version, rounds)
    }

    /// The training has gone back to this state, in which so many rounds are completed and whose last point is that
    /// iteration: replaces both checkpoints by it, drops the earlier states that are later than it, and cuts off the
    /// metrics after the iteration, or all of them. Whenever the process dies, a resumed run begins with the
    /// old state and all of its metrics, or with this one, and [`RunDirectory::cut_metrics`] mends the rest.
    ///
    /// # Errors
    /// When a file cannot be written. The metrics are cut all the same, because the training goes on from there.
    pub fn rewind(
        &self,
        version: u32,
        state: &[u8],
        rounds: u64,
        iteration: Option<u64>,
    ) -> Result<(), RunError> {
        // A state that holds the lie must not outlive the checkpoint that does.
        let dropped = self.cut_earlier(rounds);
        let last = self.replace_last(version, state);
        let cut = locked(&self.metrics).cut(iteration);
        last?;
        // Nobody reads this one while the last is good, so it may be late.
        let _replacing = self.replacing()?;
        checkpoint::replace_previous(&self.path, version, state)?;
        cut.and(dropped)
    }

    /// Replaces both checkpoints by a state in which so many rounds are completed, because what they hold is void.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn replace_checkpoints(&self, version: u32, state: &[u8], rounds: u64) -> Result<(), RunError> {
        self.cut_earlier(rounds)?;
        self.replace_last(version, state)?;
        let _replacing = self.replacing()?;
        checkpoint::replace_previous(&self.path, version, state)
    }

    /// The training goes on from a state of another process, in which so many rounds are completed. Unless it is the
    /// directory's last checkpoint, drops all earlier states and replaces both checkpoints by it: they may belong to a
    /// course that the training has left since.
    ///
    /// # Errors
    /// When a file cannot be written or removed.
    pub fn adopt(&self, version: u32, state: &[u8], rounds: u64) -> Result<(), RunError> {
        let last = self.load_checkpoint(version);
        if matches!(&last, Ok(Some(last)) if last.state == state && last.last_was_damaged.is_none()) {
            return Ok(());
        }
        self.forget_earlier()?;
        self.replace_checkpoints(version, state, rounds)
    }

    /// Drops the states of before the last checkpoints: nobody goes back to them any more.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn forget_earlier(&self) -> Result<(), RunError> {
        let _replacing = self.replacing()?;
        earlier::drop_all(&self.path)
    }

    fn cut_earlier(&self, rounds: u64) -> Result<(), RunError> {
        let _replacing = self.replacing()?;
        earlier::cut(&self.path, rounds)
    }

    fn replace_last(&self, version: u32, state: &[u8]) -> Result<(), RunError> {
        locked(&self.metrics).sync()?;
        let _replacing = self.replacing()?;
        checkpoint::replace_last(&self.path, version, state)
    }

    /// Reads the last checkpoint; `None` if the run has not written one yet.
    ///
    /// # Errors
    /// [`RunError::OtherVersion`] if its state has another version than `version`.
    pub fn load_checkpoint(&self, version: u32) -> Result<Option<LoadedCheckpoint>, RunError> {
        let _replacing = locked(&self.replacing);
        checkpoint::load(&self.path, version)
    }

    /// Appends a line to the metrics, unless they have that iteration already. A value that is not finite is written as null. Returns whether a line was added.
    pub fn append_metrics(&self, report: &IterationReport) -> Result<bool, RunError> {
        locked(&self.metrics).append(report.iteration, report)
    }

    /// Cuts off the metrics after that iteration, or all of them: the training has gone back, or a checkpoint from before
    /// them is what it goes on from.
    pub fn cut_metrics(&self, iteration: Option<u64>) -> Result<(), RunError> {
        locked(&self.metrics).cut(iteration)
    }

    /// Writes a file of a run that ended in another process: the model, the report or the metrics. Others are left
    /// out.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save_result(&self, name: &str, bytes: &[u8]) -> Result<(), RunError> {
        match name {
            METRICS => self.replace_metrics(bytes),
            MODEL | REPORT => {
                let _replacing = self.replacing()?;
                atomic::replace(&self.path.join(name), &[bytes])
            }
            _ => Ok(()),
        }
    }

    /// The files that tell of a run that has ended, by name. One that was not written is left out.
    pub fn results(&self) -> Vec<(&'static str, Vec<u8>)> {
        let _replacing = locked(&self.replacing);
        let read = |name| Some((name, fs::read(self.path.join(name)).ok()?));
        [MODEL, METRICS, REPORT, CONFIG].into_iter().filter_map(read).collect()
    }

    /// The metrics from a byte on. `from` says which, and is told how many bytes, from the first, are what they were when
    /// this was asked last, or when the directory was opened.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn metrics_from(&self, from: impl FnOnce(u64) -> u64) -> Result<Vec<u8>, RunError> {
        locked(&self.metrics).read_from(from)
    }

    /// Replaces the lines of the metrics, such as with those of a process that led before.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn replace_metrics(&self, lines: &[u8]) -> Result<(), RunError> {
        let _replacing = self.replacing()?;
        let mut metrics = locked(&self.metrics);
        let path = self.path.join(METRICS);
        atomic::replace(&path, &[lines])?;
        *metrics = MetricsLog::open(&path)?;
        Ok(())
    }
}

/// The text of a run's `run.toml`.
pub fn load_config(run: &Path) -> Result<String, RunError> {
    require_run(run)?;
    let path = run.join(CONFIG);
    fs::read_to_string(&path).map_err(RunError::io("read", &path))
}

/// The text of a run's `request.toml`; `None` if no sweep began the run.
pub fn load_request(run: &Path) -> Result<Option<String>, RunError> {
    let path = run.join(REQUEST);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(RunError::io("read", &path)(error)),
    }
}

/// Replaces a file atomically, inside or outside a run directory.
pub(crate) fn replace_file(path: &Path, content: &str) -> Result<(), RunError> {
    replace_bytes(path, content.as_bytes())
}

/// The same for content that is no text.
pub(crate) fn replace_bytes(path: &Path, content: &[u8]) -> Result<(), RunError> {
    atomic::replace(path, &[content])
}

/// The links to the page of a run that a process trains at present; none if no process does.
pub fn load_links(run: &Path) -> Result<Vec<String>, RunError> {
    require_run(run)?;
    if !Lock::is_held(run)? {
        return Ok(Vec::new());
    }
    let path = run.join(LINKS);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(RunError::io("read", &path)(error)),
    }
}

/// Where the report of a run is, if it has one.
pub fn report_path(run: &Path) -> Option<PathBuf> {
    Some(run.join(REPORT)).filter(|path| path.exists())
}

/// A run's outcome; `None` if none is saved because the run has not ended or is not part of a sweep.
pub fn load_outcome<T: DeserializeOwned>(run: &Path) -> Result<Option<T>, RunError> {
    let path = run.join(OUTCOME);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(RunError::io("read", &path)(error)),
    };
    let damaged = |error: serde_json::Error| {
        RunError::damaged(&path, format!("{error}; move it away, and the sweep writes it again"))
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

/// A run's last good checkpoint, of this version; `None` if it has none. Takes no lock.
///
/// # Errors
/// [`RunError::OtherVersion`] if its state has another version, [`RunError::NoGoodCheckpoint`] if all are damaged.
pub fn look_at_checkpoint(run: &Path, version: u32) -> Result<Option<LoadedCheckpoint>, RunError> {
    require_run(run)?;
    checkpoint::look(run, version)
}

/// The metrics of a run, one entry an iteration. An unfinished line of a running training is left out.
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
        // A process that died in `create` may have left these.
        if name != lock::FILE && name != atomic::temporary(Path::new(CONFIG)).as_os_str() {
            return Err(RunError::NotEmpty { path: path.to_owned() });
        }
    }
    Ok(())
}

/// Locks a mutex, even after a panic: the files are consistent after every step.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
