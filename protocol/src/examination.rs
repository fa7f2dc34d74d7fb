//! The result of [`Work::Examination`](crate::plan::Work::Examination): all that figures such as F1, ROC AUC and the
//! expected calibration error need, as integers that add up exactly.
//!
//! The integers are the first of a vector that has one element for each parameter, like every vector of a run; the others
//! are 0. First come sums of real numbers in fixed point, then counts of examples. For C classes:
//!
//! - the sum of the cross-entropies, at [`Scales::vector_exponent`];
//! - for each of [`BINS`] bins of equal width the sum of the probabilities of the classes named, at
//!   [`CONFIDENCE_EXPONENT`];
//! - C x C counts by true and named class, row-major;
//! - for each bin the number of examples, then for each the number of those named rightly;
//! - for each ROC curve a table: for each [step](step_of) of the class's probability the number of examples of other
//!   classes and of this class. There is one curve for each class against all others; of two classes the second alone,
//!   because the other's is its mirror image. Where the vector is too short for [`STEPS_MAX`] steps there are fewer,
//!   and none if they were fewer than [`STEPS_MIN`].
//!
//! For numbers, for each column the sum of the absolute errors, at [`Scales::vector_exponent`], then for each the sum of the
//! squared errors, at [`Scales::statistics_exponent`].

use std::ops::Range;

use model::{Task, likeliest};

use crate::scales::Scales;

/// Bins of equal width for the expected calibration error (Guo et al., 2017).
pub const BINS: usize = 15;
/// The exponent of the sums of probabilities.
pub const CONFIDENCE_EXPONENT: i32 = 24;
/// The most steps of a probability.
pub const STEPS_MAX: usize = 4096;
/// The fewest.
pub const STEPS_MIN: usize = 64;

/// Bits of an `f32` below its exponent.
const MANTISSA_BITS: u32 = 23;

/// Where the integers of an examination are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Of classes.
    Classes {
        /// How many.
        classes: usize,
        /// Steps of a probability; 0 if there are no tables.
        steps: usize,
    },
    /// Of numbers.
    Numbers {
        /// How many for each example.
        columns: usize,
    },
}

/// The examples of a bin.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Bin {
    /// How many.
    pub examples: u64,
    /// Those whose class is named.
    pub correct: u64,
    /// Sum of the probabilities of the classes named.
    pub confidence: f64,
}

/// The bin of the probability of the class named. The k-th holds what is above (k - 1) / [`BINS`] and at most k /
/// [`BINS`].
pub fn bin_of(confidence: f32) -> usize {
    ((f64::from(confidence) * BINS as f64).ceil() as usize).clamp(1, BINS) - 1
}

/// The step of a probability, from 0 to `steps` - 1, and no smaller for a larger one. `steps` are a power of two from
/// [`STEPS_MIN`] to [`STEPS_MAX`].
///
/// Below 1/2 there are octaves, from 1/2 to 1/4, from there to 1/8 and so on, each with equally many steps of equal width;
/// the last step goes on to 0. Above 1/2, what is missing to 1 is treated alike. So what a network is all but certain of is
/// told apart, too. Of 4,096 steps each octave has 64, and each half 32 octaves; of fewer steps both are fewer.
#[inline(never)]
pub fn step_of(probability: f32, steps: usize) -> usize {
    let half = (steps / 2).max(1);
    let octaves = half.ilog2().saturating_sub(1) / 2;
    let bits = MANTISSA_BITS - (half.ilog2() - octaves);
    // The bits of positive numbers are in the order of the numbers. How far one is from 1/2, in steps.
    let away =
        |value: f32| ((0.5f32.to_bits().saturating_sub(value.to_bits()) >> bits) as usize).min(half - 1);
    // This difference is exact.
    if probability > 0.5 { half + away(1.0 - probability) } else { half - 1 - away(probability) }
}

impl Layout {
    /// The layout for a network of so many parameters; `None` if they are too few for the least that is to be counted.
    #[inline(never)]
    pub fn of(task: Task, parameters: usize) -> Option<Layout> {
        let fits = |layout: &Layout| layout.elements() <= parameters as u64;
        let classes = match task {
            Task::Numbers(columns) => {
                return Some(Layout::Numbers { columns: columns as usize }).filter(fits);
            }
            Task::Classes(classes) => classes as usize,
        };
        let mut steps = STEPS_MAX;
        while steps >= STEPS_MIN && !fits(&Layout::Classes { classes, steps }) {
            steps /= 2;
        }
        let steps = if steps < STEPS_MIN { 0 } else { steps };
        Some(Layout::Classes { classes, steps }).filter(fits)
    }

    fn elements(self) -> u64 {
        match self {
            Layout::Numbers { columns } => 2 * columns as u64,
            Layout::Classes { classes, steps } => {
                let tables = if classes == 2 { 1 } else { classes as u64 };
                let matrix = classes as u64 * classes as u64;
                (1 + 3 * BINS) as u64 + matrix + 2 * tables * steps as u64
            }
        }
    }

    /// How many integers there are.
    pub fn len(self) -> usize {
        // A layout fits a vector.
        self.elements() as usize
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// How many of them, the first, are sums of real numbers.
    pub fn reals(self) -> usize {
        match self {
            Layout::Numbers { columns } => 2 * columns,
            Layout::Classes { .. } => 1 + BINS,
        }
    }

    /// Those at [`Scales::vector_exponent`].
    pub fn scaled(self) -> Range<usize> {
        match self {
            Layout::Numbers { columns } => 0..columns,
            Layout::Classes { .. } => 0..1,
        }
    }

    /// The exponent of one of them.
    pub fn exponent_of(self, real: usize, scales: &Scales) -> i32 {
        match self {
            _ if self.scaled().contains(&real) => scales.vector_exponent,
            Layout::Numbers { .. } => scales.statistics_exponent,
            Layout::Classes { .. } => CONFIDENCE_EXPONENT,
        }
    }

    /// Adds an example of class `truth` to the sums of real numbers and to the counts, which follow them in the vector.
    #[inline(never)]
    pub fn add_class(
        self,
        (reals, counts): (&mut [f64], &mut [f32]),
        truth: u16,
        log_loss: f32,
        probabilities: &[f32],
    ) {
        let Layout::Classes { classes, steps } = self else { return };
        let (truth, named) = (usize::from(truth), likeliest(probabilities));
        let bin = bin_of(probabilities[named]);
        reals[0] += f64::from(log_loss);
        reals[1 + bin] += f64::from(probabilities[named]);
        counts[truth * classes + named] += 1.0;
        let bins = classes * classes;
        counts[bins + bin] += 1.0;
        counts[bins + BINS + bin] += if truth == named { 1.0 } else { 0.0 };
        let tables = &mut counts[bins + 2 * BINS..];
        let curves = &probabilities[self.first_curve()..];
        for ((class, &probability), table) in
            (self.first_curve()..).zip(curves).zip(tables.chunks_exact_mut((2 * steps).max(1)))
        {
            table[2 * step_of(probability, steps) + usize::from(class == truth)] += 1.0;
        }
    }

    /// Adds an example to the sums of errors.
    pub fn add_numbers<'a>(self, reals: &mut [f64], truth: impl Iterator<Item = &'a f32>, answers: &[f32]) {
        let (absolute, squared) = reals.split_at_mut(answers.len());
        for (((absolute, squared), truth), answer) in absolute.iter_mut().zip(squared).zip(truth).zip(answers)
        {
            let error = f64::from(*answer) - f64::from(*truth);
            *absolute += error.abs();
            *squared += error * error;
        }
    }

    /// Of two classes the first has no curve of its own.
    fn first_curve(self) -> usize {
        usize::from(matches!(self, Layout::Classes { classes: 2, .. }))
    }

    /// The counts by true and named class, row-major.
    pub fn matrix(self, vector: &[i64]) -> &[i64] {
        match self {
            Layout::Classes { classes, .. } => &vector[self.reals()..][..classes * classes],
            Layout::Numbers { .. } => &[],
        }
    }

    /// The bins.
    pub fn bins(self, vector: &[i64]) -> [Bin; BINS] {
        let Layout::Classes { classes, .. } = self else { return [Bin::default(); BINS] };
        let counts = &vector[self.reals() + classes * classes..];
        let confidence = |bin: usize| model::exact::to_f64(vector[1 + bin], CONFIDENCE_EXPONENT);
        std::array::from_fn(|bin| Bin {
            examples: counts[bin].unsigned_abs(),
            correct: counts[BINS + bin].unsigned_abs(),
            confidence: confidence(bin),
        })
    }

    /// The table of each ROC curve: for each step the number of examples that are not of the class, then that of those
    /// that are. There are none if the vector was too short for them.
    pub fn tables(self, vector: &[i64]) -> impl Iterator<Item = &[i64]> {
        let tables = match self {
            Layout::Classes { classes, steps } if steps > 0 => {
                vector[self.reals() + classes * classes + 2 * BINS..self.len()].chunks_exact(2 * steps)
            }
            _ => [].chunks_exact(1),
        };
        tables.into_iter()
    }

    /// Whether a vector can be the sum of units with so many examples, to judge by what they have in common.
    pub fn is_possible(self, vector: &[i64], examples: u64) -> bool {
        let Some((used, rest)) = vector.split_at_checked(self.len()) else { return false };
        if used.iter().any(|value| *value < 0) || rest.iter().any(|value| *value != 0) {
            return false;
        }
        let Layout::Classes { classes, .. } = self else { return true };
        let sum =
            |values: &mut dyn Iterator<Item = &i64>| values.map(|value| i128::from(*value)).sum::<i128>();
        let examples = i128::from(examples);
        let matrix = self.matrix(vector);
        let bins = self.bins(vector);
        let named_rightly = sum(&mut matrix.iter().step_by(classes + 1));
        let of_bins = |count: fn(&Bin) -> u64| bins.iter().map(|bin| i128::from(count(bin))).sum::<i128>();
        let is_possible_bin = |(index, bin): (usize, &Bin)| {
            let examples = bin.examples as f64;
            let (above, at_most) = (index as f64 / BINS as f64, (index + 1) as f64 / BINS as f64);
            // Each unit's sum is rounded once.
            let slack = (examples + 1.0) * model::exact::to_f64(1, CONFIDENCE_EXPONENT);
            bin.correct <= bin.examples
                && bin.confidence >= above * examples - slack
                && bin.confidence <= at_most * examples + slack
        };
        let mut curves = self.tables(vector).zip(self.first_curve()..);
        sum(&mut matrix.iter()) == examples
            && of_bins(|bin| bin.examples) == examples
            && of_bins(|bin| bin.correct) == named_rightly
            && bins.iter().enumerate().all(is_possible_bin)
            && curves.all(|(table, class)| {
                let of_class = sum(&mut table.iter().skip(1).step_by(2));
                let others = sum(&mut table.iter().step_by(2));
                let row = &matrix[class * classes..(class + 1) * classes];
                of_class == sum(&mut row.iter()) && of_class + others == examples
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layout_has_as_many_steps_as_there_is_room_for() {
        let of = |classes, parameters| Layout::of(Task::Classes(classes), parameters);
        let steps = |classes, parameters| match of(classes, parameters) {
            Some(Layout::Classes { steps, .. }) => Some(steps),
            _ => None,
        };
        let least = 10 * 10 + 1 + 3 * BINS;
        assert_eq!(steps(10, least - 1), None);
        assert_eq!(steps(10, least), Some(0));
        assert_eq!(steps(10, least + 2 * 10 * 64), Some(64));
        assert_eq!(steps(10, 7850), Some(256), "a linear network on MNIST");
        assert_eq!(steps(10, 1 << 20), Some(STEPS_MAX));
        assert_eq!(steps(2, 50 + 2 * STEPS_MAX), Some(STEPS_MAX), "two classes have one curve");
        assert_eq!(of(65_536, 1 << 28), None);
        assert_eq!(Layout::of(Task::Numbers(3), 5), None);
        assert_eq!(Layout::of(Task::Numbers(3), 6).map(Layout::len), Some(6));
    }

    #[test]
    fn steps_are_in_the_order_of_probabilities_and_all_are_used() {
        for steps in [STEPS_MIN, 256, STEPS_MAX] {
            let mut last = 0;
            let mut used = std::collections::BTreeSet::new();
            let lower = (0..0.5f32.to_bits()).step_by(1021).map(f32::from_bits);
            let upper = (0..=1 << 16).map(|i| 0.5 + i as f32 / (1 << 17) as f32);
            let close = (0..40).map(|i| 1.0 - 0.5f32.powi(i / 2 + 1) / if i % 2 == 0 { 1.0 } else { 1.5 });
            let mut all: Vec<f32> = lower.chain(upper).chain(close).chain([0.0, 0.5, 1.0]).collect();
            all.sort_by(f32::total_cmp);
            for probability in all {
                let step = step_of(probability, steps);
                assert!(step >= last && step < steps, "{probability}: {step} after {last} of {steps}");
                used.insert(step);
                last = step;
            }
            assert_eq!((step_of(0.0, steps), step_of(1.0, steps)), (0, steps - 1));
            assert!(step_of(0.5, steps) < step_of(0.5f32.next_up(), steps));
            // Close to 1, an f32 has no more than 24 octaves.
            assert!(used.len() > steps * 5 / 8, "{} of {steps}", used.len());
            assert!(step_of(f32::NAN, steps) < steps && step_of(-1.0, steps) < steps);
        }
    }

    #[test]
    fn what_no_units_sum_to_is_seen() {
        let layout = Layout::of(Task::Classes(3), 2000).unwrap();
        let (mut reals, mut counts) = (vec![0.0; layout.reals()], vec![0.0; layout.len() - layout.reals()]);
        for (truth, probabilities) in [(0, [0.5, 0.25, 0.25]), (1, [0.0, 0.0, 1.0]), (2, [0.1, 0.1, 0.8])] {
            layout.add_class((&mut reals, &mut counts), truth, 0.5, &probabilities);
        }
        let integer = |(real, value): (usize, &f64)| {
            model::exact::integer(*value, layout.exponent_of(real, &Scales::uniform(20)), 1 << 44).unwrap()
        };
        let mut vector: Vec<i64> = reals.iter().enumerate().map(integer).collect();
        vector.extend(counts.iter().map(|count| *count as i64));
        vector.resize(2000, 0);
        assert!(layout.is_possible(&vector, 3));
        assert!(!layout.is_possible(&vector, 4) && !layout.is_possible(&vector[..50], 3));
        assert_eq!(layout.matrix(&vector), [1, 0, 0, 0, 0, 1, 0, 0, 1]);
        assert_eq!(layout.tables(&vector).count(), 3);
        // But for the sum of the cross-entropies, no element can be another.
        for element in 1..vector.len() {
            for change in [-1i64 << 22, 1 << 22, 1, -1] {
                let is_confidence = element < layout.reals();
                if is_confidence && change.abs() == 1 {
                    continue;
                }
                let mut changed = vector.clone();
                changed[element] += change;
                assert!(!layout.is_possible(&changed, 3), "element {element}, {change}");
            }
        }
    }
}
