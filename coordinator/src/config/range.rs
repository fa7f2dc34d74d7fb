//! The range of a setting, checked and said in words.

use std::fmt::Display;

/// The values that a setting may have.
pub struct Range<T> {
    words: String,
    holds: Box<dyn Fn(&T) -> bool>,
}

impl<T> Range<T> {
    fn new(words: String, holds: impl Fn(&T) -> bool + 'static) -> Self {
        Self { words, holds: Box::new(holds) }
    }

    /// Whether `value` is among them. A value that is not a number never is.
    pub fn holds(&self, value: &T) -> bool {
        (self.holds)(value)
    }

    /// `a number from 1 to 100`.
    pub fn words(&self) -> &str {
        &self.words
    }
}

impl<T: PartialOrd + Display + Copy + 'static> Range<T> {
    /// From `least` to `most`, both included.
    pub fn between(least: T, most: T) -> Self {
        Self::new(format!("a number from {least} to {most}"), move |value| *value >= least && *value <= most)
    }

    /// From `least` to below `most`, such as `example`.
    pub fn to_below(least: T, most: T, example: &str) -> Self {
        let words = format!("a number from {least} to below {most}, such as {example}");
        Self::new(words, move |value| *value >= least && *value < most)
    }

    /// Above `least`, at most `most`, such as `example`.
    pub fn above(least: T, most: T, example: &str) -> Self {
        let words = format!("a number above {least}, at most {most}, such as {example}");
        Self::new(words, move |value| *value > least && *value <= most)
    }

    /// Above `zero`, such as `example`, and finite: below `infinity`.
    pub fn positive(zero: T, infinity: T, example: &str) -> Self {
        let words = format!("a number above {zero}, such as {example}");
        Self::new(words, move |value| *value > zero && *value < infinity)
    }

    /// `zero` or above, and finite: below `infinity`.
    pub fn not_negative(zero: T, infinity: T) -> Self {
        Self::new(format!("{zero} or a positive number"), move |value| *value >= zero && *value < infinity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_are_in_or_out_as_the_words_say() {
        let within = |range: Range<f64>, inside: &[f64], outside: &[f64]| {
            for value in inside {
                assert!(range.holds(value), "{value} is {}", range.words());
            }
            for value in outside.iter().chain(&[f64::NAN]) {
                assert!(!range.holds(value), "{value} is not {}", range.words());
            }
        };
        within(Range::between(1.0, 100.0), &[1.0, 100.0], &[0.9, 101.0]);
        within(Range::to_below(0.0, 1.0, "0.9"), &[0.0, 0.9], &[-0.1, 1.0]);
        within(Range::above(0.0, 0.5, "0.25"), &[0.5], &[0.0, 0.6]);
        within(Range::positive(0.0, f64::INFINITY, "0.1"), &[1e-300], &[0.0, f64::INFINITY]);
        within(Range::not_negative(0.0, f64::INFINITY), &[0.0, 7.0], &[-1.0, f64::INFINITY]);
    }
}
