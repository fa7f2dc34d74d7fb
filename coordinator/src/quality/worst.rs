//! The examples on which a model is most wrong.

use model::likeliest;

/// Examples that are remembered.
pub(crate) const WORST_MAX: usize = 12;

/// An example on which the model is wrong.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Mistake {
    /// Its place among the examples.
    pub(crate) example: usize,
    /// What is wrong.
    pub(crate) what: Wrong,
}

/// What a model got wrong.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Wrong {
    /// Another class.
    Class {
        /// The true class.
        truth: usize,
        /// The class that the model named, and its probability.
        named: (usize, f32),
        /// The probability that the model gave the true class.
        given: f32,
    },
    /// Numbers, standardized.
    Numbers {
        /// The true ones.
        truth: Vec<f32>,
        /// The model's.
        answer: Vec<f32>,
    },
}

/// The worst mistakes so far, the worst first; of equal ones the first.
#[derive(Debug, Default)]
pub(crate) struct Worst {
    found: Vec<(f32, Mistake)>,
}

impl Worst {
    /// Looks at the answer to an example of a class.
    pub(crate) fn class(&mut self, example: usize, truth: usize, probabilities: &[f32]) {
        let named = likeliest(probabilities);
        if named != truth {
            let given = probabilities[truth];
            let what = Wrong::Class { truth, named: (named, probabilities[named]), given };
            self.add(probabilities[named] - given, || Mistake { example, what });
        }
    }

    /// Looks at the answer to an example of numbers.
    pub(crate) fn numbers(&mut self, example: usize, truth: &[f32], answer: &[f32]) {
        let distance = truth.iter().zip(answer).map(|(truth, answer)| (truth - answer).powi(2)).sum::<f32>();
        if distance > 0.0 {
            let what = Wrong::Numbers { truth: truth.to_vec(), answer: answer.to_vec() };
            self.add(distance, || Mistake { example, what });
        }
    }

    /// The worst mistakes, the worst first.
    pub(crate) fn finish(self) -> Vec<Mistake> {
        self.found.into_iter().map(|(_, mistake)| mistake).collect()
    }

    fn add(&mut self, badness: f32, mistake: impl FnOnce() -> Mistake) {
        let place = self.found.partition_point(|(known, _)| known.total_cmp(&badness).is_ge());
        if place < WORST_MAX {
            self.found.truncate(WORST_MAX - 1);
            self.found.insert(place, (badness, mistake()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_certain_mistakes_come_first_and_right_answers_never() {
        let mut worst = Worst::default();
        worst.class(0, 1, &[0.1, 0.9]);
        for example in 1..=2 * WORST_MAX {
            let wrong = 0.5 + example as f32 / 100.0;
            worst.class(example, 0, &[1.0 - wrong, wrong]);
        }
        let found: Vec<usize> = worst.finish().into_iter().map(|mistake| mistake.example).collect();
        let expected: Vec<usize> = (WORST_MAX + 1..=2 * WORST_MAX).rev().collect();
        assert_eq!(found, expected);

        let mut worst = Worst::default();
        worst.numbers(0, &[1.0], &[1.0]);
        worst.numbers(1, &[1.0], &[1.5]);
        worst.numbers(2, &[1.0], &[-2.0]);
        let found: Vec<usize> = worst.finish().into_iter().map(|mistake| mistake.example).collect();
        assert_eq!(found, [2, 1]);
    }
}
