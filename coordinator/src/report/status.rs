//! The status that `/api/status` and the pages show. The driver renews it.

use std::sync::Arc;

use engine::Figures;
use engine::optimizers::Method;
use serde::{Deserialize, Serialize};

use super::marks::Mark;

/// Most points of a curve on the page. When there are more, the points become twice as far apart.
pub const HISTORY_MAX: usize = 400;

/// The run as seen from outside. Field names are those of the JSON.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
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
    /// The course of the training, at most [`HISTORY_MAX`] points. It is served by itself, and only to pages
    /// that ask for it.
    #[serde(skip)]
    pub history: Arc<Vec<CurvePoint>>,
    /// Where the curves show something else from then on; served with the course.
    #[serde(skip)]
    pub marks: Arc<[Mark]>,
    /// The number of the last point in the course, so that pages know when to ask.
    pub history_until: Option<u64>,
    /// Units of the open round that are accounted for, and all of them.
    pub round_units: Option<(u32, u32)>,
    /// Seconds until the first limit ends the training at this pace, if that is known.
    pub eta_seconds: Option<f64>,
    /// Who runs the training, in the operator's own words.
    pub operator: Option<String>,
    /// What the training is for, in the operator's own words.
    pub purpose: Option<String>,
    /// Names the data: two runs on the same data have the same name here.
    pub data: String,
    /// Bytes of the training data as they travel, compressed; an estimate.
    pub data_bytes: u64,
    /// Bytes that a volunteer sends and receives in a round with one result; an estimate from the network's size.
    pub round_bytes: u64,
    /// Seconds of a round, of late; `None` before the first has ended.
    pub round_seconds: Option<f64>,
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
    /// [`OFFENDERS_MAX`]. They are for the operator: volunteers are not told of each other.
    #[serde(skip)]
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
    pub offense: String,
    /// The last accepted iteration at that time.
    pub iteration: u64,
}

/// The phase of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct CurvePoint {
    /// Its iteration.
    pub iteration: u64,
    /// Seconds of training until then; `None` in metrics of an earlier release.
    pub seconds: Option<f64>,
    /// Passes over the training data until then.
    pub epochs: Option<f64>,
    /// Mean loss over the round's training examples; `None` when it is not finite. Rounds of local steps
    /// measure it on the way, others at the point, so it is no curve of one quantity.
    pub train_loss: Option<f64>,
    /// Mean loss over all training examples at the point, where that was measured.
    pub training_set_loss: Option<f64>,
    /// Mean loss on the validation examples, where the point was evaluated.
    pub validation_loss: Option<f64>,
    /// Share of validation examples predicted correctly.
    pub validation_accuracy: Option<f64>,
    /// Mean loss on the test examples.
    pub test_loss: Option<f64>,
    /// Share of test examples predicted correctly.
    pub test_accuracy: Option<f64>,
    /// The method by which the training goes on from the point; `None` in metrics of an earlier release.
    #[serde(default)]
    pub method: Option<Method>,
    /// Whether it is the first point after the training was resumed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub resumed: bool,
}

/// A point with what the operator sees of it besides.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct DetailPoint {
    /// What everybody sees.
    #[serde(flatten)]
    pub point: CurvePoint,
    /// Euclidean norm of the gradient, or of the mean displacement of local steps.
    pub gradient_norm: Option<f64>,
    /// Step length along the direction.
    pub step: Option<f64>,
    /// Rounds so far.
    pub rounds: Option<u64>,
    /// Curvature pairs in the optimizer's memory.
    #[serde(default)]
    pub pairs: Option<usize>,
    /// Whether the newest pair was damped.
    #[serde(default)]
    pub damped: Option<bool>,
    /// Whether the first step length was too long and a shorter one was taken.
    #[serde(default)]
    pub backtracked: Option<bool>,
}

impl CurvePoint {
    /// Whether the point was evaluated on examples that it was not trained on.
    pub fn is_evaluated(&self) -> bool {
        self.validation_loss.is_some() || self.test_loss.is_some()
    }

    /// The loss that the round measured on the way to the point, while the weights moved; `None` for the start point
    /// and where the round measured the point itself.
    pub fn on_the_way_loss(&self) -> Option<f64> {
        let is_other = self.iteration > 0 && self.training_set_loss != self.train_loss;
        self.train_loss.filter(|_| is_other && self.method != Some(Method::Lbfgs))
    }
}
