//! What a benchmark finds, in the form in which the page posts it and `shoal bench --json` prints it.

use serde::{Deserialize, Serialize};

/// What the page posts when it is done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Outcome {
    /// It could not measure.
    Failed {
        /// Why, in one sentence.
        error: String,
    },
    /// What it measured.
    Measured(Report),
}

/// What a benchmark finds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Where it ran.
    pub machine: Machine,
    /// The roofs: one for each arithmetic and number of cores.
    pub roofs: Vec<Roof>,
    /// The cases, in each arithmetic and on each number of cores.
    pub cases: Vec<CaseReport>,
    /// What could not be measured here.
    pub missing: Vec<Missing>,
}

/// Where a benchmark ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// What ran it.
    pub kind: MachineKind,
    /// The browser's own name for itself, or processor architecture and operating system.
    pub name: String,
    /// Its logical cores.
    pub cores: usize,
}

/// What ran a benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MachineKind {
    /// A page in a browser.
    Browser,
    /// This program itself.
    Native,
}

/// How fast cores together multiply and add when they do nothing else.
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

/// What was measured of a case.
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
    /// Which.
    pub arithmetic: model::Arithmetic,
    /// Why, in one sentence.
    pub reason: String,
}
