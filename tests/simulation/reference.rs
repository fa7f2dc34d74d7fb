//! The same training as one plain loop: no engine, no scheduler, no volunteers. What the simulation
//! must come to, bit for bit.

use std::collections::BTreeMap;
use std::sync::Arc;

use coordinator::engine::aggregator::{self, Scales, mix_statistics};
use coordinator::engine::optimisers::{Ask, Batch, Tell};
use coordinator::engine::{Accepted, Measure, StopReason};
use model::exact::{self, Fit, UNIT_LIMIT};
use model::{LocalSteps, Pass, Scratch, Task};
use protocol::draw;
use protocol::plan::{Set, local_order};

use crate::problem::{Problem, SEED};

/// When to stop.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) iterations: u64,
    pub(crate) accuracy: Option<f64>,
}

/// What training comes to.
pub(crate) struct Reference {
    pub(crate) digest: [u8; 32],
    /// The accepted points; the first is the start point, unless that one is not finite.
    pub(crate) points: Vec<Accepted>,
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
    /// Points without a value.
    pub(crate) valueless: u64,
    /// Rounds that had to leave the test set out.
    pub(crate) without_test: u64,
    /// Scalars-only rounds.
    pub(crate) line_searches: u64,
    /// Step lengths found out of range.
    pub(crate) unfit_steps: u64,
}

pub(crate) fn train(problem: &Problem, limits: Limits) -> Reference {
    let start = problem.start();
    let mut optimiser = start.optimiser;
    let mut trainer = Trainer { problem, scratch: Scratch::new(), events: Events::default() };
    let (mut statistics, mut running) = (start.statistics.accepted, start.statistics.running);
    // Local steps have scales of their own.
    let mut scales: BTreeMap<bool, Scales> = BTreeMap::new();
    let (mut points, mut examples): (Vec<Accepted>, u64) = (Vec::new(), 0);
    let reason = loop {
        if let Some(last) = points.last() {
            if let (Some(target), Some(accuracy)) = (limits.accuracy, last.test_accuracy)
                && accuracy >= target
            {
                break StopReason::TargetAccuracy(target);
            }
            if last.iteration >= limits.iterations {
                break StopReason::Iterations(limits.iterations);
            }
        }
        let (jobs, point) = match optimiser.ask() {
            Ask::Stopped(reason) => break StopReason::Optimiser(reason),
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
                optimiser.tell(Tell::Losses(losses)).unwrap();
                continue;
            }
            Ask::Gradient { point, batch, mask_epoch } => (trainer.batch(batch, mask_epoch), point),
            Ask::Local { point, replicas, steps, learning_rate, draw } => {
                (vec![Job::Local { replicas, steps, learning_rate, draw }], point)
            }
        };
        let weights: Vec<f32> = point.iter().chain(running.iter()).copied().collect();
        let is_local = matches!(jobs[0], Job::Local { .. });
        let first = *scales.entry(is_local).or_insert_with(|| trainer.first_scales(&jobs[0], &weights));
        let (rounds_before, examples_before) = (trainer.events.rounds, examples);
        trainer.events.rounds += 1;
        examples += jobs.iter().map(|job| trainer.size(job).0).sum::<u64>();
        let found = trainer.point(&jobs, &weights, first);
        let segments = match &found {
            Some(found) => found.segments.clone(),
            None => vec![(f64::INFINITY, vec![f32::NAN; point.len()].into()); jobs.len()],
        };
        let (objective, vector) = match &found {
            Some(found) => (found.objective, Arc::clone(&segments[0].1)),
            None => segments[0].clone(),
        };
        let is_start = optimiser.loss().is_none();
        let squares = vector.iter().map(|value| f64::from(*value) * f64::from(*value));
        let norm_at_start = squares.sum::<f64>().sqrt();
        let answer = match &jobs[0] {
            Job::Local { .. } => Tell::Local { loss: objective, displacement: vector },
            Job::Units { drawn: true, .. } => Tell::Segments(segments),
            Job::Units { .. } => Tell::Gradient { loss: objective, gradient: vector },
        };
        let accepted = optimiser.tell(answer).unwrap().accepted;
        let Some(found) = found else {
            trainer.events.valueless += 1;
            continue;
        };
        if (is_start && optimiser.loss().is_some()) || accepted.is_some() {
            scales.insert(is_local, found.scales);
            (statistics, running) = (running, found.statistics);
            let (gradient_norm, step) =
                accepted.map_or((norm_at_start, 0.0), |one| (one.gradient_norm, one.step));
            points.push(Accepted {
                iteration: optimiser.iteration(),
                rounds: rounds_before,
                epochs: examples_before as f64 / f64::from(problem.training.examples),
                train_loss: found.train_loss,
                objective: found.objective,
                test_loss: found.test.map(|(loss, _)| loss),
                test_accuracy: found.test.and_then(|(_, accuracy)| accuracy),
                gradient_norm,
                step,
            });
        }
    };
    let weights: Vec<f32> = optimiser.weights().iter().chain(statistics.iter()).copied().collect();
    Reference { digest: model::weights_digest(&weights), points, reason, events: trainer.events }
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
    test: Option<(f64, Option<f64>)>,
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
        let all = self.problem.training.units();
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
                    || units.iter().map(|unit| self.problem.training.examples_of(*unit).len() as u32);
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
            (u64::from(replica) * u64::from(self.problem.training.examples) / u64::from(replicas)) as u32
        };
        border(replica)..border(replica + 1)
    }

    /// Losses and vector of one of a job's work units.
    fn unit(&mut self, job: &Job, index: u32, weights: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let Problem { network, arithmetic, training, minibatch, .. } = self.problem;
        let mut vector = vec![0.0; network.parameters()];
        let pass = |mask_epoch, first_example: u32| Pass {
            minibatch: *minibatch as usize,
            mask_seed: SEED,
            mask_epoch,
            first_example: first_example.into(),
        };
        match job {
            Job::Units { units, mask_epoch, .. } => {
                let range = training.examples_of(units[index as usize]);
                let pass = pass(*mask_epoch, range.start);
                let examples = self.problem.examples(Set::Training, range);
                let mut losses = vec![0.0; examples.len()];
                let scratch = &mut self.scratch;
                network.gradient(*arithmetic, scratch, weights, &pass, &examples, &mut vector, &mut losses);
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
                network.local_steps(*arithmetic, scratch, &mut end, &steps, pool, &mut losses, statistics);
                let moved = displacement.iter_mut().zip(&end).zip(weights);
                moved.for_each(|((moved, end), start)| *moved = end - start);
                (losses, vector)
            }
        }
    }

    fn first_scales(&mut self, job: &Job, weights: &[f32]) -> Scales {
        let (losses, vector) = self.unit(job, 0, weights);
        let (learnt, statistics) = vector.split_at(self.problem.network.trainable());
        let largest = |vector: &[f32]| {
            vector.iter().fold(0.0, |largest: f64, value| largest.max(f64::from(value.abs())))
        };
        Scales::for_unit(&Measure {
            largest: largest(learnt),
            largest_statistic: largest(statistics),
            loss: losses.iter().map(|loss| f64::from(*loss)).sum(),
            ..Measure::fitting()
        })
    }

    /// The objective at a point of a line; infinite where it does not fit.
    fn loss(&mut self, jobs: &[Job], point: &[f32], scales: Scales) -> f64 {
        let Problem { network, arithmetic, training, minibatch, .. } = self.problem;
        let mut sum = 0;
        for job in jobs {
            let Job::Units { units, mask_epoch, .. } = job else { panic!("no line of local steps") };
            for &unit in units {
                let range = training.examples_of(unit);
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
            let (learnt, statistics) = vector.split_at(trainable);
            let fits = exact::fit(learnt, scales.vector_exponent);
            let statistics_fit = exact::fit(statistics, scales.statistics_exponent);
            let loss = add_losses(&losses, scales.loss_exponent);
            misfit.note(fits, statistics_fit, loss.err().unwrap_or(Fit::Fits));
            if let (Fit::Fits, Fit::Fits, Ok(loss)) = (fits, statistics_fit, loss) {
                let (sum_learnt, sum_statistics) = sum.vector.split_at_mut(trainable);
                exact::add(sum_learnt, learnt, scales.vector_exponent);
                exact::add(sum_statistics, statistics, scales.statistics_exponent);
                sum.loss += loss;
            }
        }
        sum
    }

    /// Loss and correct predictions of the test set, as far as it fits.
    fn test(&mut self, weights: &[f32], scales: Scales, misfit: &mut Misfit) -> (i64, u32) {
        let Problem { network, arithmetic, test, .. } = self.problem;
        let (mut loss, mut correct) = (0, 0);
        for unit in 0..test.units() {
            let examples = self.problem.examples(Set::Test, test.examples_of(unit));
            let mut losses = vec![0.0; examples.len()];
            correct += network.evaluate(*arithmetic, &mut self.scratch, weights, &examples, &mut losses);
            match add_losses(&losses, scales.evaluation_exponent) {
                Ok(unit_loss) => loss += unit_loss,
                Err(fit) => misfit.note(Fit::Fits, Fit::Fits, fit),
            }
        }
        (loss, correct)
    }

    /// A round at a point. Scales move until everything fits; the test set is left out if it never
    /// does; without the training set there is no value.
    fn point(&mut self, jobs: &[Job], weights: &[f32], first: Scales) -> Option<Found> {
        let mut scales = first;
        let mut with_test = self.problem.test.examples > 0;
        loop {
            let (mut misfit, mut test_misfit) = (Misfit::default(), Misfit::default());
            let sums: Vec<Sum> = jobs.iter().map(|job| self.sum(job, weights, scales, &mut misfit)).collect();
            let test = with_test.then(|| self.test(weights, scales, &mut test_misfit));
            if misfit.infinite {
                return None;
            }
            if misfit.is_none() && test_misfit.is_none() {
                return Some(self.found(jobs, &sums, test, weights, scales));
            }
            // The training set alone decides whether there is a value.
            let mut wanted = aggregator::Misfit {
                vector: misfit.vector,
                statistics: misfit.statistics,
                loss: misfit.loss,
                evaluation: false,
            };
            first.widened(scales, wanted)?;
            wanted.evaluation = test_misfit.loss;
            match first.widened(scales, wanted) {
                Some(wider) if !test_misfit.infinite => {
                    self.events.rescales += 1;
                    scales = wider;
                }
                _ => {
                    self.events.without_test += 1;
                    with_test = false;
                    scales = first;
                }
            }
        }
    }

    fn found(
        &self,
        jobs: &[Job],
        sums: &[Sum],
        test: Option<(i64, u32)>,
        weights: &[f32],
        scales: Scales,
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
        let evaluation = test.map(|(loss, _)| (loss, self.problem.test.units()));
        let minibatches = sizes.iter().map(|size| size.1).sum();
        Found {
            scales: scales.after(&aggregator::Found { vector, statistics, loss, units, evaluation }),
            statistics: mix_statistics(
                &weights[trainable..],
                statistics,
                scales.statistics_exponent,
                minibatches,
            ),
            segments: jobs.iter().zip(sums).map(segment).collect(),
            train_loss,
            objective: train_loss + penalty,
            test: test.map(|(loss, correct)| {
                let examples = f64::from(self.problem.test.examples);
                let classes = matches!(network.task(), Task::Classes(_));
                let accuracy = classes.then_some(f64::from(correct) / examples);
                (exact::to_f64(loss, scales.evaluation_exponent) / examples, accuracy)
            }),
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
