//! A data set large enough that things can happen during its training, small enough for a test.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use tempfile::TempDir;

pub(crate) const ITERATIONS: u64 = 60;
pub(crate) const MINIBATCH: u32 = 5;
pub(crate) const MODEL: &str = "mlp:96,32:tanh";
pub(crate) const SEED: u64 = 7;

const EXAMPLES: usize = 6000;
const FEATURES: usize = 40;
const CLASSES: u64 = 5;

/// A CSV file of noisy classes in a directory of its own, where runs go too.
pub(crate) struct Problem {
    directory: TempDir,
}

impl Problem {
    pub(crate) fn new() -> Problem {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let mut text = String::new();
        for _ in 0..EXAMPLES {
            let class = random.next_u64() % CLASSES;
            for feature in 0..FEATURES as u64 {
                let center = (feature * (class + 3)) % 7;
                write!(text, "{},", center * 20 + random.next_u64() % 120).unwrap();
            }
            // A third of the labels is noise, so that the training does not converge too soon.
            let label = if random.next_u64().is_multiple_of(3) { random.next_u64() % CLASSES } else { class };
            writeln!(text, "{label}").unwrap();
        }
        let directory = TempDir::new().unwrap();
        std::fs::write(directory.path().join("data.csv"), text).unwrap();
        Problem { directory }
    }

    pub(crate) fn csv(&self) -> PathBuf {
        self.directory.path().join("data.csv")
    }

    /// A place for a run that does not exist yet.
    pub(crate) fn new_run(&self) -> PathBuf {
        let free = |index: &u32| !self.run(*index).exists();
        self.run((0..).find(free).unwrap())
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    fn run(&self, index: u32) -> PathBuf {
        self.directory().join(format!("run-{index}"))
    }
}
