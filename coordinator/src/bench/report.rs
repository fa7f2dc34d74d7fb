//! A benchmark's result, in the form that the page posts and `shoal bench --json` prints.

use serde::{Deserialize, Serialize};

/// The page's post when it has finished.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Outcome {
    /// The page could not measure.
    Failed {
        /// Why, in one sentence.
        error: String,
    },
    /// The page's result.
    Measured(Report),
}

/// A benchmark's result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The machine it ran on.
    pub machine: Machine,
    /// The roofs: one for each arithmetic and number of cores.
    pub roofs: Vec<Roof>,
    /// The cases, in each arithmetic and on each number of cores.
    pub cases: Vec<CaseReport>,
    /// The arithmetics that could not be measured.
    pub missing: Vec<Missing>,
}

/// The machine of a benchmark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The kind of program that ran it.
    pub kind: MachineKind,
    /// The browser's own name for itself, or processor architecture and operating system.
    pub name: String,
    /// Its logical cores.
    pub cores: usize,
}

/// The kind of program that ran a benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MachineKind {
    /// A page in a browser.
    Browser,
    /// This program itself.
    Native,
}

/// The speed at which cores together multiply and add when they do nothing else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Roof {
    /// `portable` or `fused`.
    pub arithmetic: model::Arithmetic,
    /// How many cores worked at the same time.
    pub cores: usize,
    /// Billions of operations a second in the best round.
    pub gflops: f64,
    /// The same in the median round.
    pub gflops_median: f64,
}

/// The measured speed of a case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CaseReport {
    /// The case's name.
    pub case: String,
    /// `portable` or `fused`.
    pub arithmetic: model::Arithmetic,
    /// How many cores worked at the same time.
    pub cores: usize,
    /// Billions of operations a second in the best round, over all the cores.
    pub gflops: f64,
    /// The same in the median round.
    pub gflops_median: f64,
    /// Examples a second in the best round, over all the cores.
    pub examples_per_second: f64,
    /// `gflops` over the roof's.
    pub roof_share: f64,
}

/// An arithmetic that a browser does not have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// The arithmetic.
    pub arithmetic: model::Arithmetic,
    /// Why, in one sentence.
    pub reason: String,
}
