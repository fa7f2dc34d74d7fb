//! The same training as one plain loop: no engine, no scheduler, no volunteers. What the simulation
//! must come to, bit for bit.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::aggregator::mix_statistics;
use engine::optimizers::{Ask, Batch, Tell};
use engine::scales;
use engine::{Accepted, Figures, Measure, StopReason, StopRules};
use model::exact::{self, Fit, UNIT_LIMIT};
use model::{GradientResults, LocalResults, LocalSteps, Pass, Scratch, Task};
use protocol::draw;
use protocol::plan::{Set, local_order};
use protocol::scales::Scales;

use crate::problem::{Problem, SEED};
use crate::random::Draw;

/// When to stop and when to look how good a point is.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub(crate) stop: StopRules,
    pub(crate) evaluate_every: Option<u64>,
    pub(crate) evaluate_training: bool,
    /// Whether the saved weights are examined at the end.
    pub(crate) examines: bool,
}

impl Limits {
    pub(crate) fn iterations(iterations: u64) -> Limits {
        let stop = StopRules::iterations(iterations);
        Limits { stop, evaluate_every: None, evaluate_training: false, examines: false }
    }

    /// Mostly a few iterations, sometimes more and another rule besides.
    pub(crate) fn draw(draw: &mut Draw) -> Limits {
        let mut stop = StopRules::iterations(draw.between(3, 8));
        match draw.between(0, 9) {
            0 | 1 => stop.target_accuracy = Some(draw.between(1, 9) as f64 / 10.0),
            2 => stop.target_loss = Some(draw.of(&[0.03, 0.3, 1.0])),
            3 => stop.gradient_tolerance = Some(draw.of(&[0.01, 0.1, 1.0])),
            4 => {
                stop.iterations = 16;
                stop.relative_decrease = Some(draw.of(&[0.01, 0.5, 0.99]));
            }
            5 | 6 => {
                stop.iterations = 16;
                stop.patience = Some(draw.between(1, 3));
            }
            7 => stop.rounds = Some(draw.between(1, 8)),
            8 => stop.epochs = Some(draw.of(&[0.5, 3.0, 7.5])),
            _ => {}
        }
        let evaluate_every = draw.of(&[None, None, Some(1), Some(2), Some(3)]);
        // Not drawn, so that the other draws stay as they are.
        let examines = stop.iterations.is_multiple_of(2);
        Limits { stop, evaluate_every, evaluate_training: draw.percent(30), examines }
    }
}

/// What training comes to.
pub(crate) struct Reference {
    pub(crate) digest: [u8; 32],
    /// The accepted points; the first is the start point, unless that one is not finite.
    pub(crate) points: Vec<Accepted>,
    /// Iteration and digest of the point with the lowest validation loss.
    pub(crate) best: Option<(u64, [u8; 32])>,
    pub(crate) reason: StopReason,
    pub(crate) events: Events,
}

/// How often the unusual happened.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Events {
    /// Rounds, restarts not counted.
    pub(crate) rounds: u64,
    /// Scales moved within a round.
    pub(crate) rescales: u64,
    /// Rounds repeated at a finer scale.
    pub(crate) refined: u64,
    /// Points without a value.
    pub(crate) valueless: u64,
    /// Rounds that had to leave the test set out.
    pub(crate) without_test: u64,
    /// Scalars-only rounds.
    pub(crate) line_searches: u64,
    /// Step lengths found out of range.
    pub(crate) unfit_steps: u64,
    /// Accepted points that were not looked at.
    pub(crate) unevaluated: u64,
    /// Evaluations of the training set.
    pub(crate) training_evaluations: u64,
    /// The kept weights are not the last.
    pub(crate) best_is_earlier: bool,
    /// Why it ended.
    pub(crate) reason: &'static str,
}

/// What is known of the accepted points so far, and what follows from it.
#[derive(Default)]
struct History {
    points: Vec<Accepted>,
    has_gradient: Vec<bool>,
    digests: Vec<[u8; 32]>,
    /// Indices of points whose evaluation was due, with the rounds and examples before.
    due: Vec<(usize, u64, u64)>,
}

impl History {
    fn is_due(&self, every: Option<u64>, rounds: u64, examples: u64, all: u32) -> bool {
        match (self.due.last(), every) {
            (None, _) => true,
            (Some((_, last, _)), Some(every)) => rounds >= last + every,
            (Some((_, _, last)), None) => 10 * (examples - last) >= all.into(),
        }
    }

    /// Of the points with the lowest validation loss the first: its place among those evaluated.
    fn best(&self) -> Option<usize> {
        let loss = |place: usize| self.points[self.due[place].0].figures.validation_loss;
        let known = (0..self.due.len()).filter_map(|place| Some((loss(place)?, place)));
        known.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, place)| place)
    }

    fn reason(&self, stop: &StopRules, rounds: u64, epochs: f64, validates: bool) -> Option<StopReason> {
        let last = self.points.last();
        let accuracy = last.and_then(|last| last.figures.test_accuracy);
        let loss = last.and_then(|last| last.figures.training_set_loss);
        let norm = last.filter(|_| self.has_gradient.last() == Some(&true)).map(|last| last.gradient_norm);
        let decrease = self.points.len().checked_sub(10).map(|first| {
            let sum = |from: usize| {
                self.points[from..from + 5].iter().map(|one| one.figures.objective).sum::<f64>()
            };
            (sum(first) - sum(first + 5)) / sum(first).abs().max(f64::MIN_POSITIVE)
        });
        let worse = self.due.len() - self.best().map_or(0, |best| best + 1);
        let worse = if validates { worse as u64 } else { 0 };
        let iteration = last.map_or(0, |last| last.iteration);
        let rules = [
            stop.target_accuracy.filter(|target| accuracy >= Some(*target)).map(StopReason::TargetAccuracy),
            stop.target_loss.filter(|most| loss.is_some_and(|it| it <= *most)).map(StopReason::TargetLoss),
            stop.gradient_tolerance
                .filter(|most| norm.is_some_and(|it| it <= *most))
                .map(StopReason::GradientTolerance),
            stop.relative_decrease
                .filter(|most| decrease.is_some_and(|it| it <= *most))
                .map(StopReason::RelativeDecrease),
            stop.patience.filter(|most| worse >= *most).map(StopReason::Patience),
            (iteration >= stop.iterations).then_some(StopReason::Iterations(stop.iterations)),
            stop.rounds.filter(|most| rounds >= *most).map(StopReason::Rounds),
            stop.epochs.filter(|most| epochs >= *most).map(StopReason::Epochs),
        ];
        rules.into_iter().flatten().next()
    }
}

pub(crate) fn train(problem: &Problem, limits: &Limits) -> Reference {
    let start = problem.start();
    let mut optimizer = start.optimizer;
    let mut trainer = Trainer { problem, scratch: Scratch::new(), events: Events::default() };
    let (mut statistics, mut running) = (start.statistics.accepted, start.statistics.running);
    let mut good = (Arc::clone(&statistics), Arc::clone(&running));
    // Local steps have scales of their own.
    let mut scales: BTreeMap<bool, Scales> = BTreeMap::new();
    let (mut history, mut examples) = (History::default(), 0);
    let all = problem.sets.training.examples;
    let stop = &limits.stop;
    let reason = loop {
        let epochs = examples as f64 / f64::from(all);
        let validates = problem.sets.validation.examples > 0 && optimizer.has_set_out();
        if let Some(reason) = history.reason(stop, trainer.events.rounds, epochs, validates) {
            break reason;
        }
        let (jobs, point) = match optimizer.ask() {
            Ask::Stopped(reason) => break StopReason::Optimizer(reason),
            Ask::Losses { base, direction, steps, batch, mask_epoch } => {
                let jobs = trainer.batch(batch, mask_epoch);
                let along = |step: &f32| -> Vec<f32> {
                    let ahead = base.iter().zip(&*direction).map(|(base, slope)| base + step * slope);
                    ahead.chain(running.iter().copied()).collect()
                };
                trainer.events.rounds += 1;
                trainer.events.line_searches += 1;
                examples += steps.len() as u64 * jobs.iter().map(|job| trainer.size(job).0).sum::<u64>();
                let losses =
                    steps.iter().map(|step| trainer.loss(&jobs, &along(step), scales[&false])).collect();
                optimizer.tell(Tell::Losses(losses)).unwrap();
                continue;
            }
            Ask::Gradient { point, batch, mask_epoch } => (trainer.batch(batch, mask_epoch), point),
            Ask::Local { point, replicas, steps, learning_rate, draw } => {
                (vec![Job::Local { replicas, steps, learning_rate, draw }], point)
            }
        };
        let had_set_out = optimizer.has_set_out();
        // All rounds at the start point begin with the first statistics.
        let sent = Arc::clone(if had_set_out { &running } else { &statistics });
        let weights: Vec<f32> = point.iter().chain(sent.iter()).copied().collect();
        let is_local = matches!(jobs[0], Job::Local { .. });
        let first = *scales.entry(is_local).or_insert_with(|| trainer.first_scales(&jobs[0], &weights));
        let (rounds_before, examples_before) = (trainer.events.rounds, examples);
        trainer.events.rounds += 1;
        examples += jobs.iter().map(|job| trainer.size(job).0).sum::<u64>();
        // Of several rounds at the start point only the first with a value evaluates it.
        let is_due = (had_set_out || history.points.is_empty())
            && history.is_due(limits.evaluate_every, rounds_before, examples_before, all);
        let may_end = optimizer.iteration() + 1 >= stop.iterations
            || stop.rounds.is_some_and(|most| trainer.events.rounds >= most)
            || stop.epochs.is_some_and(|most| examples as f64 / f64::from(all) >= most);
        let evaluates_training = limits.evaluate_training && !trainer.measures_training_set(&jobs);
        let sets = [(Set::Test, true), (Set::Validation, true), (Set::Training, evaluates_training)];
        let has = |(set, wanted): (Set, bool)| {
            (wanted && (is_due || may_end) && problem.sets.of(set).examples > 0).then_some(set)
        };
        let sets = sets.into_iter().filter_map(has).collect();
        let found = trainer.point(&jobs, &weights, first, sets, is_due);
        let segments = match &found {
            Some(found) => found.segments.clone(),
            None => vec![(f64::INFINITY, vec![f32::NAN; point.len()].into()); jobs.len()],
        };
        let (objective, vector) = match &found {
            Some(found) => (found.objective, Arc::clone(&segments[0].1)),
            None => segments[0].clone(),
        };
        let last_loss = optimizer.loss();
        let squares = vector.iter().map(|value| f64::from(*value) * f64::from(*value));
        let norm_at_start = squares.sum::<f64>().sqrt();
        let answer = match &jobs[0] {
            Job::Local { .. } => Tell::Local { loss: objective, displacement: vector },
            Job::Units { drawn: true, .. } => Tell::Segments(segments),
            Job::Units { .. } => Tell::Gradient { loss: objective, gradient: vector },
        };
        let progress = optimizer.tell(answer).unwrap();
        let accepted = progress.accepted;
        let is_start = !had_set_out && optimizer.loss() != last_loss;
        trainer.events.valueless += u64::from(found.is_none());
        let found = found.filter(|_| is_start || accepted.is_some());
        if let Some(found) = found {
            scales.insert(is_local, found.scales);
            (statistics, running) = (sent, Arc::clone(&found.statistics));
            if progress.is_good {
                good = (Arc::clone(&statistics), Arc::clone(&running));
            }
            let (gradient_norm, step) =
                accepted.as_ref().map_or((norm_at_start, 0.0), |one| (one.gradient_norm, one.step));
            let point = Accepted {
                iteration: optimizer.iteration(),
                rounds: if is_start { 0 } else { rounds_before },
                epochs: if is_start { 0.0 } else { examples_before as f64 / f64::from(all) },
                figures: Figures {
                    train_loss: found.train_loss,
                    objective: found.objective,
                    training_set_loss: found.training_set_loss,
                    validation_loss: found.loss(Set::Validation),
                    validation_accuracy: found.accuracy(Set::Validation),
                    test_loss: found.loss(Set::Test),
                    test_accuracy: found.accuracy(Set::Test),
                },
                gradient_norm,
                step,
            };
            if let Some(start) = history.points.first_mut().filter(|_| is_start) {
                // Set out from with another learning rate.
                let Figures { train_loss, objective, .. } = point.figures;
                start.figures = Figures { train_loss, objective, ..start.figures };
                start.gradient_norm = point.gradient_norm;
            } else {
                history.points.push(point);
                history.has_gradient.push(matches!(jobs[0], Job::Units { .. }));
                history.digests.push(model::weights_digest(&weights));
                if is_due {
                    let before = if is_start { (0, 0) } else { (rounds_before, examples_before) };
                    history.due.push((history.points.len() - 1, before.0, before.1));
                }
                trainer.events.unevaluated += u64::from(!is_due);
                trainer.events.training_evaluations +=
                    u64::from(found.evaluations.contains_key(&Set::Training));
            }
        }
        if progress.went_back {
            (statistics, running) = good.clone();
        }
        if progress.starts_afresh {
            scales.remove(&true);
        }
    };
    let weights: Vec<f32> = optimizer.weights().iter().chain(statistics.iter()).copied().collect();
    let best = history.best().filter(|_| optimizer.has_set_out()).map(|place| history.due[place].0);
    trainer.events.best_is_earlier = best.is_some_and(|best| best + 1 < history.points.len());
    trainer.events.reason = match reason {
        StopReason::Iterations(_) => "ended by iterations",
        StopReason::Rounds(_) => "ended by rounds",
        StopReason::Epochs(_) => "ended by epochs",
        StopReason::TargetAccuracy(_) => "ended by accuracy",
        StopReason::TargetLoss(_) => "ended by loss",
        StopReason::GradientTolerance(_) => "ended by gradient",
        StopReason::RelativeDecrease(_) => "ended by decrease",
        StopReason::Patience(_) => "ended by patience",
        StopReason::Optimizer(_) => "ended by the optimizer",
        StopReason::Time(_) | StopReason::Interrupted => unreachable!("nobody interrupts it"),
    };
    Reference {
        digest: model::weights_digest(&weights),
        best: best.map(|best| (history.points[best].iteration, history.digests[best])),
        points: history.points,
        reason,
        events: trainer.events,
    }
}

struct Trainer<'a> {
    problem: &'a Problem,
    scratch: Scratch,
    events: Events,
}

/// What a round computes over training examples: one part of it.
enum Job {
    /// Gradients or losses of these units of the training set.
    Units { units: Vec<u32>, drawn: bool, mask_epoch: u64 },
    /// Local steps.
    Local { replicas: u32, steps: u32, learning_rate: f32, draw: u64 },
}

/// What a round finds at a point.
struct Found {
    scales: Scales,
    statistics: Arc<[f32]>,
    /// Of each job: the objective, and the mean gradient or displacement.
    segments: Vec<(f64, Arc<[f32]>)>,
    train_loss: f64,
    objective: f64,
    /// Loss and accuracy.
    evaluations: BTreeMap<Set, (f64, Option<f64>)>,
    training_set_loss: Option<f64>,
}

impl Found {
    fn loss(&self, set: Set) -> Option<f64> {
        self.evaluations.get(&set).map(|(loss, _)| *loss)
    }

    fn accuracy(&self, set: Set) -> Option<f64> {
        self.evaluations.get(&set).and_then(|(_, accuracy)| *accuracy)
    }
}

/// Sums over one job, as integers.
struct Sum {
    loss: i64,
    vector: Vec<i64>,
}

/// Why a set has no sums.
#[derive(Default)]
struct Misfit {
    infinite: bool,
    vector: bool,
    statistics: bool,
    loss: bool,
}

impl Misfit {
    fn is_none(&self) -> bool {
        !(self.infinite || self.vector || self.statistics || self.loss)
    }

    fn note(&mut self, vector: Fit, statistics: Fit, loss: Fit) {
        self.infinite |= [vector, statistics, loss].contains(&Fit::NonFinite);
        self.vector |= vector == Fit::Overflow;
        self.statistics |= statistics == Fit::Overflow;
        self.loss |= loss == Fit::Overflow;
    }
}

impl Trainer<'_> {
    fn batch(&self, batch: Batch, mask_epoch: u64) -> Vec<Job> {
        let all = self.problem.sets.training.units();
        match batch {
            Batch::Full => vec![Job::Units { units: (0..all).collect(), drawn: false, mask_epoch }],
            Batch::Segments(segments) => {
                let units = |first, count: u32| draw::endless(SEED, "units", first, count as usize, all);
                let job = |first, count| Job::Units { units: units(first, count), drawn: true, mask_epoch };
                segments.into_iter().map(|segment| job(segment.first, segment.units)).collect()
            }
        }
    }

    /// How many losses a job sums, of how many minibatches, in how many work units.
    fn size(&self, job: &Job) -> (u64, u64, u32) {
        let minibatch = self.problem.minibatch;
        match job {
            Job::Units { units, .. } => {
                let lengths =
                    || units.iter().map(|unit| self.problem.sets.training.examples_of(*unit).len() as u32);
                let minibatches = lengths().map(|length| u64::from(length.div_ceil(minibatch))).sum();
                (lengths().map(u64::from).sum(), minibatches, units.len() as u32)
            }
            Job::Local { replicas, steps, .. } => {
                let pool = |replica| self.pool(*replicas, replica).len() as u32;
                let losses = |replica| u64::from(*steps) * u64::from(minibatch.min(pool(replica)));
                let minibatches = u64::from(*replicas) * u64::from(*steps);
                ((0..*replicas).map(losses).sum(), minibatches, *replicas)
            }
        }
    }

    /// The examples of one of so many replicas.
    fn pool(&self, replicas: u32, replica: u32) -> std::ops::Range<u32> {
        let border = |replica: u32| {
            (u64::from(replica) * u64::from(self.problem.sets.training.examples) / u64::from(replicas)) as u32
        };
        border(replica)..border(replica + 1)
    }

    /// Losses and vector of one of a job's work units.
    fn unit(&mut self, job: &Job, index: u32, weights: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let Problem { network, arithmetic, sets, minibatch, .. } = self.problem;
        let mut vector = vec![0.0; network.parameters()];
        let pass = |mask_epoch, first_example: u32| Pass {
            minibatch: *minibatch as usize,
            mask_seed: SEED,
            mask_epoch,
            first_example: first_example.into(),
        };
        match job {
            Job::Units { units, mask_epoch, .. } => {
                let range = sets.training.examples_of(units[index as usize]);
                let pass = pass(*mask_epoch, range.start);
                let examples = self.problem.examples(Set::Training, range);
                let mut losses = vec![0.0; examples.len()];
                let scratch = &mut self.scratch;
                network.gradient(
                    *arithmetic,
                    scratch,
                    weights,
                    &pass,
                    &examples,
                    GradientResults { gradient: &mut vector, losses: &mut losses },
                );
                (losses, vector)
            }
            &Job::Local { replicas, steps, learning_rate, draw } => {
                let pool = self.pool(replicas, index);
                let (order, minibatch) = local_order(SEED, draw, index, pool.len() as u32, steps, *minibatch);
                let pass = pass(draw, pool.start);
                let examples = self.problem.examples(Set::Training, pool);
                let steps = LocalSteps { order: &order, minibatch: minibatch as usize, learning_rate, pass };
                let mut losses = vec![0.0; order.len()];
                let mut end = weights.to_vec();
                let (displacement, statistics) = vector.split_at_mut(network.trainable());
                let (scratch, pool) = (&mut self.scratch, &[examples]);
                network.local_steps(
                    *arithmetic,
                    scratch,
                    &mut end,
                    &steps,
                    pool,
                    LocalResults { losses: &mut losses, statistics },
                );
                let moved = displacement.iter_mut().zip(&end).zip(weights);
                moved.for_each(|((moved, end), start)| *moved = end - start);
                (losses, vector)
            }
        }
    }

    fn first_scales(&mut self, job: &Job, weights: &[f32]) -> Scales {
        let (losses, vector) = self.unit(job, 0, weights);
        let (learned, statistics) = vector.split_at(self.problem.network.trainable());
        let largest = |vector: &[f32]| f64::from(exact::largest(vector));
        scales::for_unit(&Measure {
            largest: largest(learned),
            largest_statistic: largest(statistics),
            loss: losses.iter().map(|loss| f64::from(*loss)).sum(),
            ..Measure::fitting()
        })
    }

    /// The objective at a point of a line; infinite where it does not fit.
    fn loss(&mut self, jobs: &[Job], point: &[f32], scales: Scales) -> f64 {
        let Problem { network, arithmetic, sets, minibatch, .. } = self.problem;
        let mut sum = 0;
        for job in jobs {
            let Job::Units { units, mask_epoch, .. } = job else { panic!("no line of local steps") };
            for &unit in units {
                let range = sets.training.examples_of(unit);
                let pass = Pass {
                    minibatch: *minibatch as usize,
                    mask_seed: SEED,
                    mask_epoch: *mask_epoch,
                    first_example: range.start.into(),
                };
                let examples = self.problem.examples(Set::Training, range);
                let mut losses = vec![0.0; examples.len()];
                network.training_losses(*arithmetic, &mut self.scratch, point, &pass, &examples, &mut losses);
                match add_losses(&losses, scales.loss_exponent) {
                    Ok(loss) => sum += loss,
                    Err(_) => {
                        self.events.unfit_steps += 1;
                        return f64::INFINITY;
                    }
                }
            }
        }
        let losses: u64 = jobs.iter().map(|job| self.size(job).0).sum();
        exact::to_f64(sum, scales.loss_exponent) / losses as f64 + network.penalty(point)
    }

    /// Sums over a job's units, as far as they fit.
    fn sum(&mut self, job: &Job, weights: &[f32], scales: Scales, misfit: &mut Misfit) -> Sum {
        let trainable = self.problem.network.trainable();
        let mut sum = Sum { loss: 0, vector: vec![0; weights.len()] };
        for index in 0..self.size(job).2 {
            let (losses, vector) = self.unit(job, index, weights);
            let (learned, statistics) = vector.split_at(trainable);
            let fits = exact::fit(learned, scales.vector_exponent);
            let statistics_fit = exact::fit(statistics, scales.statistics_exponent);
            let loss = add_losses(&losses, scales.loss_exponent);
            misfit.note(fits, statistics_fit, loss.err().unwrap_or(Fit::Fits));
            if let (Fit::Fits, Fit::Fits, Ok(loss)) = (fits, statistics_fit, loss) {
                let (sum_learned, sum_statistics) = sum.vector.split_at_mut(trainable);
                exact::add(sum_learned, learned, scales.vector_exponent);
                exact::add(sum_statistics, statistics, scales.statistics_exponent);
                sum.loss += loss;
            }
        }
        sum
    }

    /// Whether these jobs find the mean loss over the training set in inference.
    fn measures_training_set(&self, jobs: &[Job]) -> bool {
        matches!(jobs[0], Job::Units { drawn: false, .. }) && self.problem.network.infers_as_it_trains()
    }

    /// Loss and correct predictions of a set, as far as it fits.
    fn evaluate(&mut self, set: Set, weights: &[f32], scales: Scales, misfit: &mut Misfit) -> (i64, u32) {
        let Problem { network, arithmetic, sets, .. } = self.problem;
        let (mut loss, mut correct) = (0, 0);
        for unit in 0..sets.of(set).units() {
            let examples = self.problem.examples(set, sets.of(set).examples_of(unit));
            let mut losses = vec![0.0; examples.len()];
            correct += network.evaluate(*arithmetic, &mut self.scratch, weights, &examples, &mut losses);
            match add_losses(&losses, scales.evaluation_exponent) {
                Ok(unit_loss) => loss += unit_loss,
                Err(fit) => misfit.note(Fit::Fits, Fit::Fits, fit),
            }
        }
        (loss, correct)
    }

    /// A round at a point, which these sets judge. Scales move until everything fits; such a set is left out if it
    /// never does; without the training examples there is no value.
    fn point(
        &mut self,
        jobs: &[Job],
        weights: &[f32],
        first: Scales,
        mut sets: Vec<Set>,
        is_due: bool,
    ) -> Option<Found> {
        let (mut scales, mut refined) = (first, false);
        loop {
            let mut misfit = Misfit::default();
            let sums: Vec<Sum> = jobs.iter().map(|job| self.sum(job, weights, scales, &mut misfit)).collect();
            let (mut evaluations, mut misfits) = (BTreeMap::new(), BTreeMap::new());
            for &set in &sets {
                let misfit = misfits.entry(set).or_default();
                evaluations.insert(set, self.evaluate(set, weights, scales, misfit));
            }
            if misfit.infinite {
                return None;
            }
            if misfit.is_none() && misfits.values().all(Misfit::is_none) {
                if let Some(finer) =
                    self.finer(jobs, &sums, &evaluations, weights, scales).filter(|_| !refined)
                {
                    self.events.refined += 1;
                    (scales, refined) = (finer, true);
                    continue;
                }
                return Some(self.found(jobs, &sums, &evaluations, weights, (first, scales), is_due));
            }
            // The training set alone decides whether there is a value.
            let mut wanted = scales::Misfit {
                vector: misfit.vector,
                statistics: misfit.statistics,
                loss: misfit.loss,
                evaluation: false,
            };
            scales::widened(first, scales, wanted)?;
            wanted.evaluation = misfits.values().any(|misfit| misfit.loss);
            let before = sets.len();
            match scales::widened(first, scales, wanted) {
                Some(wider) if misfits.values().all(|misfit| !misfit.infinite) => {
                    self.events.rescales += 1;
                    scales = wider;
                }
                Some(_) => sets.retain(|set| !misfits[set].infinite),
                None => sets.retain(|set| misfits[set].is_none()),
            }
            if sets.len() < before {
                self.events.without_test += (before - sets.len()) as u64;
                (scales, refined) = (first, false);
            }
        }
    }

    /// Scales for once more, where the mean over units came to less than a step of the fixed point: those that the first
    /// unit asks for.
    fn finer(
        &mut self,
        jobs: &[Job],
        sums: &[Sum],
        evaluations: &BTreeMap<Set, (i64, u32)>,
        weights: &[f32],
        scales: Scales,
    ) -> Option<Scales> {
        let trainable = self.problem.network.trainable();
        let units: u32 = jobs.iter().map(|job| self.size(job).2).sum();
        let small = |sum: i64, units: u32| sum.abs() < i64::from(units);
        let element = |index: usize| sums.iter().map(|sum| sum.vector[index]).sum::<i64>();
        let no_vector = (0..trainable).all(|index| small(element(index), units));
        let no_loss = small(sums.iter().map(|sum| sum.loss).sum(), units);
        let evaluated =
            evaluations.iter().map(|(set, (loss, _))| (*loss, self.problem.sets.of(*set).units()));
        let evaluated = evaluated.reduce(|one, other| (one.0 + other.0, one.1 + other.1));
        let no_evaluation = evaluated.is_some_and(|(loss, units)| small(loss, units));
        if !(no_vector || no_loss || no_evaluation) {
            return None;
        }
        let (losses, vector) = self.unit(&jobs[0], 0, weights);
        let fine = self.first_scales(&jobs[0], weights);
        let (has_vector, has_loss) = (
            vector[..trainable].iter().any(|value| *value != 0.0),
            losses.iter().map(|loss| f64::from(*loss)).sum::<f64>() != 0.0,
        );
        let mut finer = scales;
        if no_vector && has_vector {
            finer.vector_exponent = finer.vector_exponent.max(fine.vector_exponent);
        }
        if no_loss && has_loss {
            finer.loss_exponent = finer.loss_exponent.max(fine.loss_exponent);
        }
        if no_evaluation && has_loss {
            finer.evaluation_exponent = finer.evaluation_exponent.max(fine.evaluation_exponent);
        }
        (finer != scales).then_some(finer)
    }

    fn found(
        &self,
        jobs: &[Job],
        sums: &[Sum],
        evaluations: &BTreeMap<Set, (i64, u32)>,
        weights: &[f32],
        (first, scales): (Scales, Scales),
        is_due: bool,
    ) -> Found {
        let network = &self.problem.network;
        let trainable = network.trainable();
        let penalty = network.penalty(weights);
        let mean_loss = |loss: i64, losses: u64| exact::to_f64(loss, scales.loss_exponent) / losses as f64;
        let segment = |(job, sum): (&Job, &Sum)| -> (f64, Arc<[f32]>) {
            let (losses, _, units) = self.size(job);
            let count = if matches!(job, Job::Local { .. }) { f64::from(units) } else { losses as f64 };
            let unscale = exact::to_f64(1, scales.vector_exponent);
            let mut mean: Vec<f64> =
                sum.vector[..trainable].iter().map(|sum| *sum as f64 * unscale / count).collect();
            if matches!(job, Job::Units { .. }) {
                network.add_penalty_gradient(weights, &mut mean);
            }
            (mean_loss(sum.loss, losses) + penalty, mean.iter().map(|value| *value as f32).collect())
        };
        let sizes: Vec<_> = jobs.iter().map(|job| self.size(job)).collect();
        let vector: Vec<i64> =
            (0..weights.len()).map(|index| sums.iter().map(|sum| sum.vector[index]).sum()).collect();
        let (vector, statistics) = vector.split_at(trainable);
        let (loss, losses) = (sums.iter().map(|sum| sum.loss).sum(), sizes.iter().map(|size| size.0).sum());
        let train_loss = mean_loss(loss, losses);
        let units = sizes.iter().map(|size| size.2).sum();
        let evaluated =
            evaluations.iter().map(|(set, (loss, _))| (*loss, self.problem.sets.of(*set).units()));
        let evaluation = evaluated.reduce(|one, other| (one.0 + other.0, one.1 + other.1)).filter(|_| is_due);
        let figures = |(set, (loss, correct)): (&Set, &(i64, u32))| {
            let examples = f64::from(self.problem.sets.of(*set).examples);
            let classes = matches!(network.task(), Task::Classes(_));
            let accuracy = classes.then_some(f64::from(*correct) / examples);
            (*set, (exact::to_f64(*loss, scales.evaluation_exponent) / examples, accuracy))
        };
        let evaluations: BTreeMap<_, _> = evaluations.iter().map(figures).collect();
        let whole = self.measures_training_set(jobs).then_some(train_loss);
        let minibatches = sizes.iter().map(|size| size.1).sum();
        Found {
            scales: scales::after(
                first,
                scales,
                &scales::Found { vector, statistics, loss, units, evaluation },
            ),
            statistics: mix_statistics(
                &weights[trainable..],
                statistics,
                scales.statistics_exponent,
                minibatches,
            ),
            segments: jobs.iter().zip(sums).map(segment).collect(),
            train_loss,
            objective: train_loss + penalty,
            training_set_loss: evaluations.get(&Set::Training).map(|(loss, _)| *loss).or(whole),
            evaluations,
        }
    }
}

/// The sum of a unit's losses as an integer, or why there is none.
fn add_losses(losses: &[f32], exponent: i32) -> Result<i64, Fit> {
    let fit = exact::fit(losses, exponent);
    if fit != Fit::Fits {
        return Err(fit);
    }
    let mut integers = vec![0; losses.len()];
    exact::add(&mut integers, losses, exponent);
    let sum: i64 = integers.iter().sum();
    if sum < UNIT_LIMIT { Ok(sum) } else { Err(Fit::Overflow) }
}
