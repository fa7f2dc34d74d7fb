//! What the network gets wrong: the coordinator has it answer some of the examples that are kept aside, in a thread
//! of its own, when a point was evaluated and somebody looks.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{io, thread};

use model::{Arithmetic, Examples, Features, GradientResults, Network, Pass, Scratch, Targets, likeliest};
use serde::Serialize;

use crate::data::{self, FeatureValues, Piece, Prepared};
use crate::report::{self, words::brief};

/// Examples that are answered at a time. Of a large set, pieces of this size that lie evenly apart are taken.
const PIECE: usize = 64;
/// Floating-point operations of an examination: about a second of one core.
const OPERATIONS_MAX: f64 = 2e10;
/// An examination ends after this long, with what it has found by then.
const TIME_MAX: Duration = Duration::from_secs(2);
/// The examiner rests this many times as long as an examination took.
const COST_FACTOR: u32 = 10;
/// Classes of a matrix that is shown whole. Of more classes only the most frequent mistakes are shown.
const MATRIX_CLASSES_MAX: usize = 20;
/// Mistakes that are listed then.
const PAIRS_MAX: usize = 10;
/// Examples of one kind of mistake that are remembered.
const EXAMPLES_MAX: usize = 12;
/// Kinds of mistakes of which examples are remembered.
const REMEMBERED_MAX: usize = MATRIX_CLASSES_MAX * MATRIX_CLASSES_MAX;
/// Values of an example that can be shown.
const VALUES_MAX: usize = 3 * 64 * 64;
/// Columns of a table's row that are shown.
const COLUMNS_MAX: usize = 24;
/// Examples that the speed of one core is measured with, and how often: the best counts.
const TRIAL_EXAMPLES: usize = 256;
const TRIALS: usize = 3;
/// Measuring it ends after this long.
const TRIAL_MAX: Duration = Duration::from_millis(500);
/// Training operations for each operation of a forward pass.
const TRAINING_FACTOR: f64 = 3.0;

/// What there is to examine.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The iteration of the point.
    pub iteration: u64,
    /// Its weights, with the statistics.
    pub weights: Arc<[f32]>,
}

/// Counts of what was taken for what.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Mistakes {
    /// The iteration of the point.
    pub iteration: u64,
    /// Names the examples: `test`, `validation` or `training`.
    pub set: &'static str,
    /// Examples that were answered.
    pub examples: usize,
    /// Examples of the set.
    pub of: usize,
    /// The classes, in the order of rows and columns; empty if there are too many.
    pub classes: Vec<String>,
    /// Rows are the true class, columns the predicted one; empty if there are too many classes.
    pub matrix: Vec<Vec<u64>>,
    /// The most frequent mistakes: true class, predicted class, names of both, and how often.
    pub pairs: Vec<(usize, usize, String, String, u64)>,
    /// How much the last step moved the weights of each layer.
    pub layers: Vec<Layer>,
}

/// The parameters of one layer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Layer {
    /// As the model file names them.
    pub name: String,
    /// Euclidean norm of the weights.
    pub weights: f64,
    /// Euclidean norm of the change since the point examined before; `None` for the first.
    pub update: Option<f64>,
}

/// One example that the network was asked about.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Example {
    /// Its number in its set, from 0.
    pub number: usize,
    /// For an image: channels, height and width.
    pub shape: Option<[usize; 3]>,
    /// For an image: its values from 0 (darkest) to 255, by channel, row and column.
    pub pixels: Vec<u8>,
    /// Otherwise: names and texts of the first cells.
    pub columns: Vec<(String, String)>,
}

/// What the examiner has found, for whoever asks.
#[derive(Debug)]
pub struct Exams {
    network: Network,
    arithmetic: Arithmetic,
    data: Arc<Prepared>,
    found: Mutex<Found>,
}

#[derive(Debug, Default)]
struct Found {
    mistakes: Option<Arc<Mistakes>>,
    examples: BTreeMap<(usize, usize), Vec<usize>>,
    /// Examples of a training pass that one core of this machine does in a second.
    one_core: Option<f64>,
}

impl Exams {
    /// For a network that is trained on `data`.
    pub fn new(network: Network, arithmetic: Arithmetic, data: Arc<Prepared>) -> Exams {
        Exams { network, arithmetic, data, found: Mutex::default() }
    }

    fn found<T>(&self, act: impl FnOnce(&mut Found) -> T) -> T {
        act(&mut self.found.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The newest examination.
    pub fn mistakes(&self) -> Option<Arc<Mistakes>> {
        self.found(|found| found.mistakes.clone())
    }

    /// Training examples a second of one core, once that has been measured.
    pub fn one_core(&self) -> Option<f64> {
        self.found(|found| found.one_core)
    }

    /// Examples of class `truth` that were taken for class `named`.
    pub fn examples(&self, truth: usize, named: usize) -> Vec<Example> {
        let numbers = self.found(|found| found.examples.get(&(truth, named)).cloned()).unwrap_or_default();
        let (set, _) = self.set();
        numbers.into_iter().filter_map(|number| self.example(set, number)).collect()
    }

    fn set(&self) -> (&data::Examples, &'static str) {
        let Prepared { train, validation, test, .. } = &*self.data;
        match (test, validation) {
            (Some(test), _) => (test, "test"),
            (None, Some(validation)) => (validation, "validation"),
            (None, None) => (train, "training"),
        }
    }

    /// `None` if it cannot be read.
    fn example(&self, set: &data::Examples, number: usize) -> Option<Example> {
        let piece = set.piece(number..number + 1).ok()?;
        let (table, place) = piece.of();
        let rows = table.features();
        let range = place.start * rows.columns()..place.end * rows.columns();
        let values: Vec<f32> = match rows.values() {
            FeatureValues::U8(values) => values[range].iter().map(|&value| value.into()).collect(),
            FeatureValues::F32(values) => values[range].to_vec(),
        };
        let shape = self.data.preparation.pixels.as_ref().and_then(|pixels| image_shape(&pixels.shape));
        Some(
            match shape
                .filter(|shape| values.len() <= VALUES_MAX && shape.iter().product::<usize>() == values.len())
            {
                Some(_) => Example { number, shape, pixels: gray(&values), columns: Vec::new() },
                None => Example { number, shape: None, pixels: Vec::new(), columns: self.columns(&values) },
            },
        )
    }

    /// The first cells of a row, or its first values where it has no columns.
    fn columns(&self, values: &[f32]) -> Vec<(String, String)> {
        let preparation = &self.data.preparation;
        if preparation.pixels.is_none() {
            return report::cells(values, preparation);
        }
        let values = values.iter().map(|value| brief(f64::from(*value)));
        preparation.input_names().into_iter().zip(values).take(COLUMNS_MAX).collect()
    }

    /// Has the network answer some examples. `before` are the weights of the examination before.
    fn examine(&self, candidate: &Candidate, before: Option<&Arc<[f32]>>) {
        let layers = self.layers(&candidate.weights, before);
        let mut mistakes = Mistakes { iteration: candidate.iteration, layers, ..Mistakes::default() };
        let (examined, set) = self.set();
        let mut examples: BTreeMap<(usize, usize), Vec<usize>> = BTreeMap::new();
        if let Some(names) = self.data.class_names() {
            let mut counts: BTreeMap<(usize, usize), u64> = BTreeMap::new();
            let (began, mut scratch) = (Instant::now(), Scratch::new());
            let mut done = 0;
            for numbers in self.pieces(examined.len()) {
                let piece = match examined.piece(numbers.clone()) {
                    Ok(piece) => piece,
                    Err(error) => {
                        tracing::warn!("the mistakes cannot be counted: {error}");
                        break;
                    }
                };
                let Targets::Classes(truths) = piece.targets() else { break };
                let answers = self.answers(&mut scratch, &candidate.weights, &piece, numbers.len());
                let answers = truths.iter().zip(answers.chunks_exact(self.network.outputs()));
                for (number, (&truth, probabilities)) in numbers.clone().zip(answers) {
                    let pair = (usize::from(truth), likeliest(probabilities));
                    *counts.entry(pair).or_default() += 1;
                    if examples.len() < REMEMBERED_MAX || examples.contains_key(&pair) {
                        let known = examples.entry(pair).or_default();
                        if known.len() < EXAMPLES_MAX {
                            known.push(number);
                        }
                    }
                }
                done += numbers.len();
                if began.elapsed() > TIME_MAX {
                    break;
                }
            }
            (mistakes.set, mistakes.examples, mistakes.of) = (set, done, examined.len());
            if names.len() <= MATRIX_CLASSES_MAX {
                mistakes.classes = names.to_vec();
                let count = |truth, named| counts.get(&(truth, named)).copied().unwrap_or(0);
                let row = |truth| (0..names.len()).map(|named| count(truth, named)).collect();
                mistakes.matrix = (0..names.len()).map(row).collect();
            }
            let mut wrong: Vec<_> = counts.into_iter().filter(|((truth, named), _)| truth != named).collect();
            wrong.sort_by_key(|(pair, count)| (Reverse(*count), *pair));
            let pair = |((truth, named), count): ((usize, usize), u64)| {
                (truth, named, names[truth].clone(), names[named].clone(), count)
            };
            mistakes.pairs = wrong.into_iter().take(PAIRS_MAX).map(pair).collect();
        }
        self.found(|found| {
            found.mistakes = Some(Arc::new(mistakes));
            found.examples = examples;
        });
    }

    fn answers(
        &self,
        scratch: &mut Scratch,
        weights: &[f32],
        piece: &Piece<'_>,
        examples: usize,
    ) -> Vec<f32> {
        let mut outputs = vec![0.0; examples * self.network.outputs()];
        let features = Features::new(piece.rows(), &self.data.preprocessing);
        self.network.predict(self.arithmetic, scratch, weights, &features, &mut outputs);
        outputs
    }

    fn operations(&self) -> f64 {
        self.network.layers().iter().map(|layer| layer.flops as f64).sum::<f64>().max(1.0)
    }

    /// Pieces of a set of so many examples, evenly apart, as many as an examination may take.
    fn pieces(&self, examples: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let affordable = (OPERATIONS_MAX / self.operations()) as usize / PIECE;
        let all = examples.div_ceil(PIECE);
        let stride = all.div_ceil(affordable.max(1)).max(1);
        (0..all).step_by(stride).map(move |piece| piece * PIECE..examples.min((piece + 1) * PIECE))
    }

    fn layers(&self, weights: &[f32], before: Option<&Arc<[f32]>>) -> Vec<Layer> {
        let norm =
            |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
        let trained =
            self.network.layout().iter().filter(|block| block.range.end <= self.network.trainable());
        trained
            .filter(|block| !block.frozen)
            .map(|block| {
                let now = &weights[block.range.clone()];
                let update = before.map(|before| {
                    let moved = now.iter().zip(&before[block.range.clone()]);
                    norm(&mut moved.map(|(now, then)| f64::from(*now) - f64::from(*then)))
                });
                Layer {
                    name: block.name.clone(),
                    weights: norm(&mut now.iter().map(|&value| value.into())),
                    update,
                }
            })
            .collect()
    }

    /// Measures how many training examples one core does in a second.
    fn time_one_core(&self, weights: &[f32]) {
        let train = &self.data.train;
        // No more than two forward passes of an examination.
        let affordable = (2.0 * OPERATIONS_MAX / (TRAINING_FACTOR * self.operations())) as usize;
        let count = TRIAL_EXAMPLES.min(train.len()).min(affordable.max(1));
        if count == 0 {
            return;
        }
        // Without examples there is no speed to tell.
        let Ok(piece) = train.piece(0..count) else { return };
        let features = Features::new(piece.rows(), &self.data.preprocessing);
        let examples = Examples { features, targets: piece.targets() };
        let pass = Pass::new(count);
        let (began, mut scratch) = (Instant::now(), Scratch::new());
        let mut best: Option<Duration> = None;
        for _ in 0..TRIALS {
            let (mut gradient, mut losses) = (vec![0.0; self.network.parameters()], vec![0.0; count]);
            let at = Instant::now();
            let results = GradientResults { gradient: &mut gradient, losses: &mut losses };
            self.network.gradient(self.arithmetic, &mut scratch, weights, &pass, &examples, results);
            best = Some(best.unwrap_or(Duration::MAX).min(at.elapsed()));
            if began.elapsed() > TRIAL_MAX {
                break;
            }
        }
        let speed = best.map(|best| count as f64 / best.as_secs_f64().max(1e-9));
        self.found(|found| found.one_core = speed);
    }
}

/// Channels, height and width of an image.
fn image_shape(shape: &[usize]) -> Option<[usize; 3]> {
    match *shape {
        [height, width] => Some([1, height, width]),
        [channels @ (1 | 3), height, width] => Some([channels, height, width]),
        _ => None,
    }
}

/// Values stretched to 0 .. 255.
fn gray(values: &[f32]) -> Vec<u8> {
    let known = || values.iter().copied().filter(|value| value.is_finite());
    let (low, high) = (known().fold(f32::INFINITY, f32::min), known().fold(f32::NEG_INFINITY, f32::max));
    let span = if high > low { high - low } else { 1.0 };
    values.iter().map(|value| ((value - low) / span * 255.0) as u8).collect()
}

/// The driver's way to the examiner.
#[derive(Debug)]
pub struct Examiner {
    exams: Arc<Exams>,
    candidates: SyncSender<Candidate>,
    rested: Receiver<()>,
    is_free: bool,
    newest: Option<Candidate>,
}

impl Examiner {
    /// Starts the thread. It ends with the driver. First it measures the speed of one core, at `start`.
    ///
    /// # Errors
    /// When the system cannot start another thread.
    pub fn start(exams: Arc<Exams>, start: Arc<[f32]>) -> io::Result<Examiner> {
        let (candidates, inbox) = sync_channel::<Candidate>(1);
        let (sender, rested) = sync_channel(1);
        let shared = Arc::clone(&exams);
        thread::Builder::new().name("examiner".into()).spawn(move || {
            exams.time_one_core(&start);
            drop(start);
            let mut before = None;
            for candidate in inbox {
                let began = Instant::now();
                exams.examine(&candidate, before.as_ref());
                before = Some(candidate.weights);
                thread::sleep(began.elapsed() * COST_FACTOR);
                if sender.send(()).is_err() {
                    return;
                }
            }
        })?;
        Ok(Examiner { exams: shared, candidates, rested, is_free: true, newest: None })
    }

    /// Training examples a second of one core, once that has been measured.
    pub fn one_core(&self) -> Option<f64> {
        self.exams.one_core()
    }

    /// A point was evaluated.
    pub fn offer(&mut self, candidate: Candidate) {
        self.newest = Some(candidate);
    }

    /// Somebody looks: the newest point is examined unless the examiner is busy.
    pub fn look(&mut self) {
        self.is_free |= self.rested.try_recv().is_ok();
        if !self.is_free {
            return;
        }
        let Some(candidate) = self.newest.take() else { return };
        match self.candidates.try_send(candidate) {
            Ok(()) => self.is_free = false,
            Err(TrySendError::Full(candidate)) => self.newest = Some(candidate),
            Err(TrySendError::Disconnected(_)) => {}
        }
    }
}
