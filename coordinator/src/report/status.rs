//! The status that `/api/status` and the pages show. The driver renews it.

use engine::Figures;
use serde::{Deserialize, Serialize};

/// Most points of the loss curve for the page. When there are more, every second one is dropped.
pub const HISTORY_MAX: usize = 400;

/// The run as seen from outside. Field names are those of the JSON.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Status {
    /// The trained network in words ("a network that reads handwritten digits (MNIST)").
    pub title: String,
    /// Names the run.
    pub run: String,
    /// `portable` or `fused`: the worker that a tab must load.
    pub arithmetic: model::Arithmetic,
    /// `waiting`, `training` or `finished`.
    pub phase: RunPhase,
    /// The present state and its reason, in one plain sentence.
    pub sentence: String,
    /// The network in words.
    pub network: String,
    /// Number of parameters.
    pub parameters: usize,
    /// Training examples.
    pub examples: usize,
    /// Accepted optimizer steps so far.
    pub iteration: u64,
    /// The limit on iterations.
    pub iterations_max: u64,
    /// Rounds so far.
    pub rounds: u64,
    /// Passes over the training data so far.
    pub epochs: f64,
    /// The figures of the last accepted point. If it was not evaluated, they come from the last point that
    /// was.
    #[serde(flatten, serialize_with = "Figures::serialize_known")]
    pub figures: Option<Figures>,
    /// The course of the training, at most [`HISTORY_MAX`] points.
    pub history: Vec<CurvePoint>,
    /// Connected volunteers, without the coordinator's own worker.
    pub volunteers: usize,
    /// Cores they lend.
    pub cores: usize,
    /// Volunteers whose machines could run the fused arithmetic.
    pub fused_capable: usize,
    /// Whether the coordinator's own worker helps.
    pub local_worker: bool,
    /// Training examples a second, over the last rounds.
    pub examples_per_second: f64,
    /// The last volunteers that were found out to have sent what no honest volunteer sends, at most
    /// [`OFFENDERS_MAX`].
    pub offenders: Vec<Offender>,
    /// How many there were.
    pub offenders_count: u64,
    /// Seconds since the training began.
    pub seconds: f64,
}

/// Volunteers that are named; older ones are only counted.
pub const OFFENDERS_MAX: usize = 32;

/// A volunteer that was found out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Offender {
    /// Its session, which the log names with its address.
    pub session: u64,
    /// Its browser or program.
    pub agent: String,
    /// What it sent.
    pub offence: String,
    /// The last accepted iteration at that time.
    pub iteration: u64,
}

/// The phase of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RunPhase {
    /// No round has begun: the run waits for volunteers.
    #[default]
    Waiting,
    /// Rounds are under way.
    Training,
    /// The model is saved.
    Finished,
}

/// One accepted point of the training.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct CurvePoint {
    /// Its iteration.
    pub iteration: u64,
    /// Mean training loss; `None` when it is not finite.
    pub train_loss: Option<f64>,
    /// Share of test examples predicted correctly, if there is a test set.
    pub test_accuracy: Option<f64>,
}
