//! A data set large enough that things can happen during its training, small enough for a test.

use std::fmt::Write;
use std::path::PathBuf;

use model::Arithmetic;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use support::coordinator::Coordinator;
use tempfile::TempDir;

pub(crate) const ITERATIONS: u64 = 60;
pub(crate) const MINIBATCH: u32 = 5;
pub(crate) const SEED: u64 = 7;

const EXAMPLES: usize = 6000;
/// Enough for a gradient.
const FEW_EXAMPLES: usize = 40;
/// As many as a small square image has.
const FEATURES: usize = 36;
const CLASSES: u64 = 5;

/// Dense layers.
const DENSE: &str = r#"{ "layers": [
    { "kind": "dense", "units": 96, "activation": "tanh" },
    { "kind": "dense", "units": 32, "activation": "sigmoid" }
], "l2": 0.0001 }"#;

/// One of each of the other layers.
const CONVOLUTIONS: &str = r#"{ "input": [1, 6, 6], "layers": [
    { "kind": "conv2d", "channels": 4, "kernel": 3, "padding": "same", "activation": "leaky-relu" },
    { "kind": "layer-norm" },
    { "kind": "max-pool", "size": 2, "stride": 1 },
    { "kind": "conv2d", "channels": 8, "kernel": 2, "groups": 2, "activation": "silu" },
    { "kind": "average-pool", "size": 2 },
    { "kind": "flatten" },
    { "kind": "dense", "units": 16, "activation": "gelu" },
    { "kind": "activation", "function": "softplus" }
], "label_smoothing": 0.1, "l1": 0.00001 }"#;

/// Layers that train otherwise than they predict, around one with a shortcut.
const NORMALIZED: &str = r#"{ "layers": [
    { "kind": "dense", "units": 40, "activation": "relu" },
    { "kind": "batch-norm" },
    { "kind": "residual", "layers": [{ "kind": "dense", "units": 40, "activation": "tanh" }] },
    { "kind": "dropout", "rate": 0.25 }
], "l2": 0.0001 }"#;

/// 20 million parameters.
const LARGE: &str = r#"{ "layers": [
    { "kind": "dense", "units": 4460, "activation": "relu" },
    { "kind": "dense", "units": 4460, "activation": "relu" }
] }"#;

/// A CSV file of noisy classes and a network's specification, in a directory where runs go too.
pub(crate) struct Problem {
    directory: TempDir,
}

impl Problem {
    /// With a network of dense layers.
    pub(crate) fn dense() -> Problem {
        Problem::new(DENSE, EXAMPLES)
    }

    /// With a network that sees the features as an image.
    pub(crate) fn convolutions() -> Problem {
        Problem::new(CONVOLUTIONS, EXAMPLES)
    }

    /// With a network that has batch statistics and dropout masks.
    pub(crate) fn normalized() -> Problem {
        Problem::new(NORMALIZED, EXAMPLES)
    }

    /// With other data.
    pub(crate) fn other() -> Problem {
        Problem::new(DENSE, EXAMPLES / 2)
    }

    /// With a network that fills memory rather than time.
    pub(crate) fn large() -> Problem {
        Problem::new(LARGE, FEW_EXAMPLES)
    }

    fn new(specification: &str, examples: usize) -> Problem {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let mut text = String::new();
        for _ in 0..examples {
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
        std::fs::write(directory.path().join("network.json"), specification).unwrap();
        Problem { directory }
    }

    /// `shoal train` by L-BFGS on the full batch, in a new run.
    pub(crate) fn train(&self, options: &Options) -> Coordinator {
        self.train_with(options, &[])
    }

    /// The same with more arguments.
    pub(crate) fn train_with(&self, options: &Options, more: &[&str]) -> Coordinator {
        let text = |path: PathBuf| path.to_str().unwrap().to_owned();
        let arguments = [
            ["--data", &text(self.csv())],
            ["--model", &text(self.network())],
            ["--test-fraction", "0.2"],
            ["--validation-fraction", "0"],
            ["--minibatch", &MINIBATCH.to_string()],
            ["--optimizer", "lbfgs"],
            ["--iterations", &ITERATIONS.to_string()],
            ["--seed", &SEED.to_string()],
            ["--arithmetic", &options.arithmetic.to_string()],
            ["--local-workers", options.local_workers],
            ["--wait-for", &options.wait_for.to_string()],
        ];
        Coordinator::train(self.new_run(), &[&arguments.concat(), more].concat())
    }

    /// `shoal train` until it is stopped, by volunteers alone. Steps of a fixed length along the gradient go on for
    /// ever; L-BFGS ends as soon as no step lowers the loss, which on a fast machine is before a test is done.
    pub(crate) fn endless(&self, wait_for: u32) -> Coordinator {
        self.endless_with(self.network().to_str().unwrap(), wait_for)
    }

    /// The same with another network.
    pub(crate) fn endless_with(&self, network: &str, wait_for: u32) -> Coordinator {
        self.begin_endless(network, wait_for, Coordinator::train)
    }

    /// The same in the place of another training, at its address.
    pub(crate) fn endless_after(&self, other: Coordinator, network: &str, wait_for: u32) -> Coordinator {
        self.begin_endless(network, wait_for, |run, arguments| other.replace(run, arguments))
    }

    fn begin_endless(
        &self,
        network: &str,
        wait_for: u32,
        begin: impl FnOnce(PathBuf, &[&str]) -> Coordinator,
    ) -> Coordinator {
        let data = self.csv().to_str().unwrap().to_owned();
        let arguments = [
            ["--data", &data],
            ["--model", network],
            ["--optimizer", "sgd"],
            ["--learning-rate", "0.01"],
            ["--minibatch", &MINIBATCH.to_string()],
            ["--minibatches-per-round", "800"],
            ["--iterations", "1000000000"],
            ["--patience", "0"],
            ["--local-workers", "0"],
            ["--wait-for", &wait_for.to_string()],
        ];
        begin(self.new_run(), &arguments.concat())
    }

    pub(crate) fn csv(&self) -> PathBuf {
        self.directory.path().join("data.csv")
    }

    pub(crate) fn network(&self) -> PathBuf {
        self.directory.path().join("network.json")
    }

    /// A place for a run that does not exist yet.
    pub(crate) fn new_run(&self) -> PathBuf {
        let free = |index: &u32| !self.run(*index).exists();
        self.run((0..).find(free).unwrap())
    }

    fn run(&self, index: u32) -> PathBuf {
        self.directory.path().join(format!("run-{index}"))
    }
}

/// What tests vary. Nobody but volunteers computes unless `local_workers` says so.
pub(crate) struct Options {
    pub(crate) arithmetic: Arithmetic,
    pub(crate) local_workers: &'static str,
    pub(crate) wait_for: u32,
}

impl Default for Options {
    fn default() -> Options {
        Options { arithmetic: Arithmetic::Portable, local_workers: "0", wait_for: 0 }
    }
}
