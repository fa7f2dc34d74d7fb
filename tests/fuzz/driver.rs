//! Tries inputs one after the other, and keeps those that fail.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, Once, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::mutation::{Random, mutate};

/// Inputs between two looks at the clock.
const INPUTS_BETWEEN_LOOKS: u64 = 64;
/// The address space of the process beyond what it has at the start: an allocation that is much larger than its
/// input ends the process, and the file that is then named holds the input.
#[cfg(target_os = "linux")]
const MEMORY_BYTES_MAX: u64 = 3 << 30;
/// An input that takes so many of these has no end.
const LOOK_EVERY: Duration = Duration::from_secs(10);
const LOOKS_MAX: u32 = 6;

/// How much is tried.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Effort {
    Inputs(u64),
    Time(Duration),
}

/// One kind of input.
pub(crate) struct Target {
    /// Names its folder.
    pub(crate) name: &'static str,
    /// How much is tried in an ordinary run.
    pub(crate) effort: Effort,
    /// Good inputs to begin with.
    pub(crate) corpus: Vec<Vec<u8>>,
    /// Pieces that mean something in such inputs.
    pub(crate) words: &'static [&'static [u8]],
    /// Takes an input, and says whether it was understood; panics if it is not dealt with well.
    pub(crate) run: fn(&[u8]) -> bool,
}

/// Tries the corpus, what is kept, then both with changes.
pub(crate) fn fuzz(target: &Target) {
    bound_memory();
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/fuzz").join(target.name);
    let mut trial = Trial::new(target, kept.clone());
    let mut corpus = target.corpus.clone();
    assert!(!corpus.is_empty(), "{} has good inputs", target.name);
    for (number, input) in corpus.iter().enumerate() {
        assert!(trial.take(input), "{}: good input {number} is not understood", target.name);
    }
    if let Ok(entries) = fs::read_dir(&kept) {
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        let once_failed = paths.into_iter().map(|path| fs::read(path).unwrap());
        once_failed.for_each(|input| {
            trial.take(&input);
            corpus.push(input);
        });
    }
    let mut random = Random::new(number("SHOAL_FUZZ_SEED").unwrap_or(1));
    let began = Instant::now();
    let (most, time) = match number("SHOAL_FUZZ_INPUTS").map_or(target.effort, Effort::Inputs) {
        Effort::Inputs(most) => (most, None),
        Effort::Time(time) => (u64::MAX, Some(time)),
    };
    let mut input = Vec::new();
    for tried in 0..most {
        if tried % INPUTS_BETWEEN_LOOKS == 0 && time.is_some_and(|time| began.elapsed() >= time) {
            break;
        }
        mutate(&mut random, &corpus, target.words, &mut input);
        trial.take(&input);
    }
}

/// A folder for files that are written thousands of times: in memory, where there is such a place.
pub(crate) fn scratch() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    if memory.is_dir() { memory } else { std::env::temp_dir() }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

/// The inputs of one kind, one at a time.
struct Trial<'a> {
    target: &'a Target,
    kept: PathBuf,
    /// Holds the input that is being tried, for the case that it ends the process.
    current: tempfile::NamedTempFile,
    began: &'static AtomicU64,
}

impl Trial<'_> {
    fn new(target: &Target, kept: PathBuf) -> Trial<'_> {
        let prefix = format!("fuzz-{}-", target.name);
        let current = tempfile::Builder::new().prefix(&prefix).tempfile_in(scratch()).unwrap();
        let began: &'static AtomicU64 = Box::leak(Box::default());
        let path = current.path().to_owned();
        thread::spawn(move || watch(began, &path));
        Trial { target, kept, current, began }
    }

    /// Whether it was understood.
    fn take(&mut self, input: &[u8]) -> bool {
        fs::write(self.current.path(), input).unwrap();
        self.began.fetch_add(1, Ordering::Relaxed);
        let ran = catch_unwind(AssertUnwindSafe(|| (self.target.run)(input)));
        self.began.fetch_add(1, Ordering::Relaxed);
        ran.unwrap_or_else(|_| {
            fs::create_dir_all(&self.kept).unwrap();
            let path = self.kept.join(&blake3::hash(input).to_hex()[..16]);
            fs::write(&path, input).unwrap();
            panic!("{}: the input in {} fails", self.target.name, path.display());
        })
    }
}

/// Ends the process when an input has no end. An odd number is being tried.
#[expect(clippy::print_stderr, reason = "the process ends before the test could say it")]
fn watch(began: &AtomicU64, path: &Path) {
    let (mut last, mut looks) = (0, 0);
    loop {
        thread::sleep(LOOK_EVERY);
        let now = began.load(Ordering::Relaxed);
        looks = if now == last && now % 2 == 1 { looks + 1 } else { 0 };
        last = now;
        if looks == LOOKS_MAX {
            let kept = path.with_extension("hangs");
            let _ = fs::copy(path, &kept);
            eprintln!("the input in {} has no end", kept.display());
            std::process::abort();
        }
    }
}

/// Bounds the memory of the process, once.
fn bound_memory() {
    static ONCE: Once = Once::new();
    static LOCK: Mutex<()> = Mutex::new(());
    let _one = LOCK.lock().unwrap_or_else(PoisonError::into_inner);
    ONCE.call_once(|| {
        #[cfg(target_os = "linux")]
        {
            use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
            let status = fs::read_to_string("/proc/self/status").unwrap();
            let size = status.lines().find_map(|line| line.strip_prefix("VmSize:")).expect("Linux tells");
            let kib: u64 = size.trim().trim_end_matches(" kB").parse().unwrap();
            let maximum = getrlimit(Resource::As).maximum;
            let current = Some(1024 * kib + MEMORY_BYTES_MAX);
            setrlimit(Resource::As, Rlimit { current, maximum }).unwrap();
        }
    });
}
