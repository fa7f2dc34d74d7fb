//! The state that decides what the engine does next, as one value. A checkpoint holds it.

use std::sync::Arc;

use protocol::plan::Work;
use protocol::scales::Scales;
use serde::{Deserialize, Serialize};

use super::course::Course;
use super::figures::{Accepted, Counters};
use super::optimizers::Optimizer;

/// The engine's complete state between two rounds. Vectors are shared with the engine, so taking
/// a snapshot costs next to nothing. A round under way is not part of it: it is run again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Snapshot {
    /// The optimizer, in the middle of a step or not.
    pub optimizer: Optimizer,
    /// The next round's scales.
    pub scales: KnownScales,
    /// Running batch statistics, the tail of the parameter vector.
    pub statistics: Statistics,
    /// The counters.
    pub counters: Counters,
    /// The figures of the last accepted point.
    pub accepted: Option<Accepted>,
    /// The course of the points before.
    pub course: Course,
}

impl Snapshot {
    /// The weights of the last accepted point, with the statistics it was evaluated with.
    pub fn weights(&self) -> Arc<[f32]> {
        with_tail(self.optimizer.weights(), &self.statistics.accepted)
    }
}

/// The scales of the next round of each kind of training work; `None` before the first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownScales {
    /// Scales of gradients, and of losses along a line.
    pub gradient: Option<Scales>,
    /// Scales of local steps.
    pub local: Option<Scales>,
}

/// Statistics as in [`Statistics::accepted`] and [`Statistics::running`].
type AcceptedAndRunning = (Arc<[f32]>, Arc<[f32]>);

/// The part of the parameters that is observed, not learned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Statistics {
    /// Those that went out with the last accepted point, and with which it was evaluated.
    pub accepted: Arc<[f32]>,
    /// Those that go out with the next point: the last accepted point's own.
    pub running: Arc<[f32]>,
    /// Both as they were at the last good point, if the optimizer may go back to it.
    pub good: Option<AcceptedAndRunning>,
}

impl Statistics {
    /// The statistics at the start of a training.
    pub fn new(start: Arc<[f32]>) -> Self {
        Self { accepted: Arc::clone(&start), running: start, good: None }
    }

    /// A point was accepted that went out with the statistics `sent`; its round gave `running`.
    pub(super) fn accept(&mut self, sent: Arc<[f32]>, running: Arc<[f32]>, is_good: bool) {
        (self.accepted, self.running) = (sent, running);
        if is_good {
            self.good = Some((Arc::clone(&self.accepted), Arc::clone(&self.running)));
        }
    }

    /// The optimizer went back to the last good point.
    pub(super) fn go_back(&mut self) {
        if let Some((accepted, running)) = &self.good {
            (self.accepted, self.running) = (Arc::clone(accepted), Arc::clone(running));
        }
    }
}

impl KnownScales {
    /// Those for this kind of work.
    pub(super) fn of(&mut self, work: &Work) -> &mut Option<Scales> {
        match work {
            Work::Local { .. } => &mut self.local,
            // An examination is no training, and has scales of its own.
            Work::Gradient | Work::Losses { .. } | Work::Evaluation | Work::Examination => &mut self.gradient,
        }
    }
}

/// Parameters and the statistics that follow them. Nothing is copied where there are none.
pub(super) fn with_tail(parameters: &Arc<[f32]>, tail: &[f32]) -> Arc<[f32]> {
    if tail.is_empty() { Arc::clone(parameters) } else { parameters.iter().chain(tail).copied().collect() }
}
