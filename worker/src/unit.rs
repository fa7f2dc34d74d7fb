//! A work unit: the pure function that compute workers evaluate. The coordinator recomputes it when it doubts
//! an answer.
//!
//! A unit's result is integers: each example's loss and each element of the vector is rounded once to the
//! round's fixed point, so that units may be added in any order and grouping.

use model::exact::{self, Fit};
use model::{
    Arithmetic, Examples, GradientResults, LocalResults, LocalSteps, Network, Pass, Scratch, Targets,
    trial_point,
};
use protocol::examination::Layout;
use protocol::measure::Measure;
use protocol::plan::{RoundPlan, Work, local_order};

/// A unit, with everything that its result depends on.
#[derive(Debug, Clone, Copy)]
pub struct Unit<'a> {
    /// The network.
    pub network: &'a Network,
    /// The run's arithmetic.
    pub arithmetic: Arithmetic,
    /// The run's seed, for orders and masks.
    pub seed: u64,
    /// Examples of one gradient step.
    pub minibatch: u32,
    /// The round. Its scales, which must be in range ([`Scales::are_in_range`](protocol::scales::Scales)),
    /// and its masks are used.
    pub plan: &'a RoundPlan,
    /// The work of the unit's part.
    pub work: &'a Work,
    /// The unit's number within its part.
    pub number: u32,
    /// All examples of the unit, in order: one slice, or for [`Work::Local`] possibly several.
    pub examples: &'a [Examples<'a>],
    /// The first example's index in its set.
    pub first_example: u32,
    /// The round's first vector: one element for each parameter.
    pub weights: &'a [f32],
    /// The round's second vector, which only [`Work::Losses`] uses.
    pub direction: &'a [f32],
}

impl<'a> Unit<'a> {
    /// The examples of work whose examples form one slice.
    fn slice(&self) -> &'a Examples<'a> {
        let [examples] = self.examples else { panic!("a unit's examples lie in one shard") };
        examples
    }

    /// What its integers stay below in magnitude.
    fn limit(&self) -> i64 {
        exact::unit_limit(self.plan.units())
    }

    /// The training pass of the examples.
    fn pass(&self) -> Pass {
        Pass {
            minibatch: self.minibatch as usize,
            mask_seed: self.seed,
            mask_epoch: self.plan.mask_epoch,
            first_example: self.first_example.into(),
        }
    }
}

/// Exact sums over units of one part.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnitSums {
    /// Summed losses: one, or one for each step length of [`Work::Losses`].
    pub losses: Vec<i64>,
    /// Bit i is set if the loss at step length i did not fit for some unit. Such a unit adds nothing to that
    /// loss.
    pub unfit_steps: u32,
    /// Correct predictions ([`Work::Evaluation`] and [`Work::Examination`] only).
    pub correct: u64,
    /// Summed gradient ([`Work::Gradient`]) or displacement ([`Work::Local`]), with the summed batch
    /// statistics as its tail, or the counts of [`Work::Examination`]: one element for each parameter.
    pub vector: Option<Vec<i64>>,
}

/// The outcome of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitOutcome {
    /// The unit was added to the sums.
    Added,
    /// A value is too large for the round's fixed point; nothing was added.
    Overflow,
    /// A value is infinite or not a number; nothing was added.
    NonFinite,
    /// The sums would leave the range of an `i64`; nothing was added. No round within its limits reaches
    /// this.
    SumsFull,
}

/// Buffers that units reuse.
#[derive(Debug, Default)]
pub struct Buffers {
    scratch: Scratch,
    /// A unit's gradient, a trial point, the final weights of its local steps and then their displacement, or the
    /// counts of an examination.
    vector: Vec<f32>,
    losses: Vec<f32>,
    /// Sums of real numbers in an examination.
    reals: Vec<f64>,
}

impl UnitSums {
    /// Zero sums, in the shape of `work` on a network of `parameters` parameters.
    pub fn zero(work: &Work, parameters: usize) -> UnitSums {
        UnitSums {
            losses: vec![0; work.losses()],
            unfit_steps: 0,
            correct: 0,
            vector: work.has_vector().then(|| vec![0; parameters]),
        }
    }

    /// Adds the sums of other units of the same part. Returns false if the shapes differ or a sum leaves the
    /// range of its integers; the sums are then void.
    #[must_use]
    pub fn merge(&mut self, other: &UnitSums) -> bool {
        let vectors = match (&mut self.vector, &other.vector) {
            (Some(sum), Some(vector)) => sum.len() == vector.len() && exact::merge(sum, vector).is_ok(),
            (None, None) => true,
            _ => false,
        };
        let Some(correct) = self.correct.checked_add(other.correct) else { return false };
        self.correct = correct;
        self.unfit_steps |= other.unfit_steps;
        vectors
            && self.losses.len() == other.losses.len()
            && exact::merge(&mut self.losses, &other.losses).is_ok()
    }
}

/// Evaluates a unit and adds it to `sums`, which have the shape of [`UnitSums::zero`]: either all of it or
/// nothing.
///
/// # Panics
/// If the vectors or the sums do not match the network and the work.
pub fn evaluate_unit(unit: &Unit<'_>, buffers: &mut Buffers, sums: &mut UnitSums) -> UnitOutcome {
    match unit.work {
        Work::Gradient | Work::Local { .. } => add_vector(unit, buffers, sums),
        Work::Evaluation => add_evaluation(unit, buffers, sums),
        Work::Examination => add_examination(unit, buffers, sums),
        Work::Losses { steps } => add_losses(unit, steps, buffers, sums),
    }
}

/// Evaluates a unit and measures the size of its values and whether they fit.
///
/// # Panics
/// If the vectors do not match the network and the work.
pub fn measure_unit(unit: &Unit<'_>, buffers: &mut Buffers) -> Measure {
    let mut measure = Measure::fitting();
    match unit.work {
        Work::Gradient | Work::Local { .. } => {
            vector(unit, buffers);
            let (learned, statistics) = buffers.vector.split_at(unit.network.trainable());
            measure.largest = exact::largest(learned).into();
            measure.largest_statistic = exact::largest(statistics).into();
            let fits = fits(unit, &buffers.vector);
            measure.vector_fits = fits[0] == Fit::Fits;
            measure.statistics_fit = fits[1] == Fit::Fits;
            measure_losses(unit, buffers, &mut measure);
            measure.finite &= !fits.contains(&Fit::NonFinite);
        }
        Work::Evaluation => {
            evaluate(unit, buffers);
            measure_losses(unit, buffers, &mut measure);
        }
        Work::Examination => {
            let (layout, _) = examine(unit, buffers);
            measure_losses(unit, buffers, &mut measure);
            for real in 0..layout.reals() {
                let is_scaled = layout.scaled().contains(&real);
                let (value, fit) = (buffers.reals[real], real_as_integer(unit, layout, buffers, real));
                let (largest, fits) = match is_scaled {
                    true => (&mut measure.largest, &mut measure.vector_fits),
                    false => (&mut measure.largest_statistic, &mut measure.statistics_fit),
                };
                *largest = largest.max(value);
                *fits &= fit.is_ok();
                measure.finite &= fit != Err(Fit::NonFinite);
            }
        }
        Work::Losses { steps } => {
            let mut one_finite = steps.is_empty();
            let mut all_fit = true;
            for &step in steps {
                losses_at(unit, buffers, step);
                let mut this = measure;
                measure_losses(unit, buffers, &mut this);
                if this.finite {
                    one_finite = true;
                    all_fit &= this.loss_fits;
                    measure.loss = measure.loss.max(this.loss);
                }
            }
            measure.finite = one_finite;
            measure.loss_fits = all_fit;
        }
    }
    measure
}

fn add_vector(unit: &Unit<'_>, buffers: &mut Buffers, sums: &mut UnitSums) -> UnitOutcome {
    vector(unit, buffers);
    let fits = fits(unit, &buffers.vector);
    let loss = loss_sum(unit, buffers);
    // A value that is not finite takes precedence over one that is too large, because only the first verdict
    // is final.
    if fits.contains(&Fit::NonFinite) || loss == Err(Fit::NonFinite) {
        return UnitOutcome::NonFinite;
    }
    let (true, Ok(loss)) = (fits == [Fit::Fits; 2], loss) else { return UnitOutcome::Overflow };
    let Some(total) = sums.losses[0].checked_add(loss) else { return UnitOutcome::SumsFull };
    sums.losses[0] = total;
    let sum = sums.vector.as_mut().expect("sums of work with a vector have one");
    let trainable = unit.network.trainable();
    let (sum, sum_of_statistics) = sum.split_at_mut(trainable);
    let (learned, statistics) = buffers.vector.split_at(trainable);
    exact::add(sum, learned, unit.plan.scales.vector_exponent);
    exact::add(sum_of_statistics, statistics, unit.plan.scales.statistics_exponent);
    UnitOutcome::Added
}

/// Whether a vector fits its round: first the vector without its tail, then the tail.
fn fits(unit: &Unit<'_>, vector: &[f32]) -> [Fit; 2] {
    let (learned, statistics) = vector.split_at(unit.network.trainable());
    [
        exact::fit_below(learned, unit.plan.scales.vector_exponent, unit.limit()),
        exact::fit_below(statistics, unit.plan.scales.statistics_exponent, unit.limit()),
    ]
}

fn add_evaluation(unit: &Unit<'_>, buffers: &mut Buffers, sums: &mut UnitSums) -> UnitOutcome {
    let correct = evaluate(unit, buffers);
    match loss_sum(unit, buffers) {
        Ok(loss) => {
            let total = sums.losses[0].checked_add(loss);
            let all_correct = sums.correct.checked_add(correct.into());
            let (Some(total), Some(all_correct)) = (total, all_correct) else { return UnitOutcome::SumsFull };
            sums.losses[0] = total;
            sums.correct = all_correct;
            UnitOutcome::Added
        }
        Err(Fit::NonFinite) => UnitOutcome::NonFinite,
        Err(_) => UnitOutcome::Overflow,
    }
}

fn add_examination(unit: &Unit<'_>, buffers: &mut Buffers, sums: &mut UnitSums) -> UnitOutcome {
    let (layout, correct) = examine(unit, buffers);
    let loss = loss_sum(unit, buffers);
    let mut unfit = loss.err();
    for real in 0..layout.reals() {
        // As with a vector, what is not finite takes precedence.
        match real_as_integer(unit, layout, buffers, real) {
            Err(fit) if unfit != Some(Fit::NonFinite) => unfit = Some(fit),
            _ => {}
        }
    }
    match unfit {
        Some(Fit::NonFinite) => return UnitOutcome::NonFinite,
        Some(_) => return UnitOutcome::Overflow,
        None => {}
    }
    let total = loss.ok().and_then(|loss| sums.losses[0].checked_add(loss));
    let all_correct = sums.correct.checked_add(correct.into());
    let (Some(total), Some(all_correct)) = (total, all_correct) else { return UnitOutcome::SumsFull };
    sums.losses[0] = total;
    sums.correct = all_correct;
    let sum = sums.vector.as_mut().expect("sums of work with a vector have one");
    let (sums_of_reals, counts) = sum[..layout.len()].split_at_mut(layout.reals());
    for (real, sum) in sums_of_reals.iter_mut().enumerate() {
        // Within the bounds of a round no sum leaves its range.
        *sum = sum.wrapping_add(real_as_integer(unit, layout, buffers, real).unwrap_or(0));
    }
    exact::add(counts, &buffers.vector, 0);
    UnitOutcome::Added
}

/// Leaves the examples' losses, the sums of real numbers and the counts in the buffers; returns where they are in the
/// vector, and the number of correct predictions.
fn examine(unit: &Unit<'_>, buffers: &mut Buffers) -> (Layout, u32) {
    let Buffers { scratch, vector, losses, reals } = buffers;
    let (network, examples) = (unit.network, unit.slice());
    let layout =
        Layout::of(network.task(), network.parameters()).expect("only what has a layout is examined");
    losses.resize(examples.len(), 0.0);
    reals.clear();
    reals.resize(layout.reals(), 0.0);
    vector.clear();
    vector.resize(layout.len() - layout.reals(), 0.0);
    let correct =
        network.examine(unit.arithmetic, scratch, unit.weights, examples, |example, loss, answers| {
            losses[example] = loss.loss;
            match &examples.targets {
                Targets::Classes(classes) => {
                    layout.add_class((reals, vector), classes[example], loss.log_loss, answers);
                }
                Targets::Numbers(numbers) => layout.add_numbers(reals, numbers.row(example).iter(), answers),
            }
        });
    (layout, correct)
}

/// One of the examination's sums of real numbers, which the buffers hold, as an integer below the unit's limit, or the
/// reason why there is none.
#[inline(never)]
fn real_as_integer(unit: &Unit<'_>, layout: Layout, buffers: &Buffers, real: usize) -> Result<i64, Fit> {
    // A count of more examples would not be exact as an f32.
    if buffers.losses.len() > COUNTED_MAX {
        return Err(Fit::Overflow);
    }
    exact::integer(buffers.reals[real], layout.exponent_of(real, &unit.plan.scales), unit.limit())
}

/// The most examples of a unit that are counted.
const COUNTED_MAX: usize = 1 << f32::MANTISSA_DIGITS;

/// A step length that leads out of range is an ordinary event of a line search. It is only marked, and the
/// unit's other losses count.
fn add_losses(unit: &Unit<'_>, steps: &[f32], buffers: &mut Buffers, sums: &mut UnitSums) -> UnitOutcome {
    assert_eq!(sums.losses.len(), steps.len(), "one loss for each step length");
    let mut totals = sums.losses.clone();
    let mut unfit_steps = sums.unfit_steps;
    for (index, (total, &step)) in totals.iter_mut().zip(steps).enumerate() {
        losses_at(unit, buffers, step);
        match loss_sum(unit, buffers) {
            Ok(loss) => match total.checked_add(loss) {
                Some(sum) => *total = sum,
                None => return UnitOutcome::SumsFull,
            },
            Err(_) => unfit_steps |= 1 << index,
        }
    }
    sums.losses = totals;
    sums.unfit_steps = unfit_steps;
    UnitOutcome::Added
}

/// Leaves the gradient or displacement and the examples' losses in the buffers.
fn vector(unit: &Unit<'_>, buffers: &mut Buffers) {
    buffers.vector.clear();
    buffers.vector.resize(unit.network.parameters(), 0.0);
    match unit.work {
        Work::Local { steps, learning_rate, draw } => {
            displacement(unit, *steps, *learning_rate, *draw, buffers);
        }
        _ => gradient(unit, buffers),
    }
}

fn gradient(unit: &Unit<'_>, buffers: &mut Buffers) {
    let Buffers { scratch, vector, losses, .. } = buffers;
    let (examples, pass) = (unit.slice(), unit.pass());
    losses.resize(examples.len(), 0.0);
    unit.network.gradient(
        unit.arithmetic,
        scratch,
        unit.weights,
        &pass,
        examples,
        GradientResults { gradient: vector, losses },
    );
}

fn displacement(unit: &Unit<'_>, steps: u32, learning_rate: f32, draw: u64, buffers: &mut Buffers) {
    let Buffers { scratch, vector, losses, .. } = buffers;
    let pool = unit.examples.iter().map(Examples::len).sum::<usize>() as u32;
    let (order, minibatch) = local_order(unit.seed, draw, unit.number, pool, steps, unit.minibatch);
    losses.resize(order.len(), 0.0);
    vector.copy_from_slice(unit.weights);
    let steps = LocalSteps { order: &order, minibatch: minibatch as usize, learning_rate, pass: unit.pass() };
    let mut statistics = vec![0.0; unit.network.parameters() - unit.network.trainable()];
    let (network, statistics) = (unit.network, &mut statistics);
    network.local_steps(
        unit.arithmetic,
        scratch,
        vector,
        &steps,
        unit.examples,
        LocalResults { losses, statistics },
    );
    let (moved, sums) = vector.split_at_mut(network.trainable());
    for (moved, start) in moved.iter_mut().zip(unit.weights) {
        *moved -= start;
    }
    sums.copy_from_slice(statistics);
}

/// Leaves the examples' losses at the round's weights in the buffers and returns the number of correct
/// predictions.
fn evaluate(unit: &Unit<'_>, buffers: &mut Buffers) -> u32 {
    let Buffers { scratch, losses, .. } = buffers;
    let examples = unit.slice();
    losses.resize(examples.len(), 0.0);
    unit.network.evaluate(unit.arithmetic, scratch, unit.weights, examples, losses)
}

/// Leaves the examples' training losses a step away from the round's weights in the buffers.
fn losses_at(unit: &Unit<'_>, buffers: &mut Buffers, step: f32) {
    let Buffers { scratch, vector, losses, .. } = buffers;
    let (examples, pass) = (unit.slice(), unit.pass());
    losses.resize(examples.len(), 0.0);
    vector.clear();
    vector.extend(trial_point(unit.weights, unit.direction, step));
    unit.network.training_losses(unit.arithmetic, scratch, vector, &pass, examples, losses);
}

/// Number of losses that are converted to integers at a time.
const LOSSES_AT_ONCE: usize = 256;

/// The sum of the losses in the buffers as an integer below the unit's limit, or the reason why there is none.
fn loss_sum(unit: &Unit<'_>, buffers: &Buffers) -> Result<i64, Fit> {
    let exponent = unit.plan.scales.loss_exponent_of(unit.work);
    match exact::fit_below(&buffers.losses, exponent, unit.limit()) {
        Fit::Fits => {}
        unfit => return Err(unfit),
    }
    let mut sum = 0i128;
    for losses in buffers.losses.chunks(LOSSES_AT_ONCE) {
        let mut integers = [0; LOSSES_AT_ONCE];
        let integers = &mut integers[..losses.len()];
        exact::add(integers, losses, exponent);
        sum += integers.iter().map(|loss| i128::from(*loss)).sum::<i128>();
    }
    match i64::try_from(sum) {
        Ok(sum) if sum.abs() < unit.limit() => Ok(sum),
        _ => Err(Fit::Overflow),
    }
}

fn measure_losses(unit: &Unit<'_>, buffers: &mut Buffers, measure: &mut Measure) {
    measure.loss = buffers.losses.iter().fold(0.0, |sum, loss| sum + f64::from(*loss));
    let sum = loss_sum(unit, buffers);
    measure.finite = sum != Err(Fit::NonFinite);
    measure.loss_fits = sum.is_ok();
}
