//! Axes turn values into positions, and choose the values to label.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

/// Most labels of an axis. It has this many if possible.
const TICKS_MAX: usize = 8;
const TICKS_MIN: usize = 4;

/// How values become positions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Scale {
    /// As they are.
    Linear,
    /// Their logarithm to base 10. A value that is not above 0 has no position.
    Log,
    /// An accuracy by minus the logarithm of its error, so that 90 % and 99 % are as far apart as 99 % and
    /// 99.9 %. An error below `least` counts as `least`, because an error of 0 would be infinitely far up.
    Error {
        /// The smallest error drawn.
        least: f64,
    },
}

/// An axis with its range.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Axis {
    scale: Scale,
    /// What it measures.
    pub(super) title: String,
    /// Positions of its ends.
    low: f64,
    high: f64,
}

impl Scale {
    /// The scale for these accuracies.
    pub(super) fn error(accuracies: impl Iterator<Item = f64>) -> Self {
        let errors = accuracies.map(|accuracy| 1.0 - accuracy).filter(|&error| error > 0.0);
        Self::Error { least: errors.reduce(f64::min).map_or(0.001, |least| least / 2.0) }
    }

    fn position(self, value: f64) -> Option<f64> {
        match self {
            Self::Linear => Some(value),
            Self::Log => (value > 0.0).then(|| value.log10()),
            Self::Error { least } => Some(-(1.0 - value).max(least).log10()),
        }
    }

    fn value(self, position: f64) -> f64 {
        match self {
            Self::Linear => position,
            Self::Log => 10_f64.powf(position),
            Self::Error { .. } => 1.0 - 10_f64.powf(-position),
        }
    }
}

impl Axis {
    /// An axis that has a position for each of these values; `None` without values.
    pub(super) fn fit(scale: Scale, values: impl Iterator<Item = f64>, title: &str) -> Option<Self> {
        /// Share of the axis that stays free beyond the values.
        const MARGIN: f64 = 0.03;
        let mut positions = values.filter_map(|value| scale.position(value));
        let first = positions.next()?;
        let (low, high) = positions.fold((first, first), |(low, high), x| (low.min(x), high.max(x)));
        let margin = MARGIN * (high - low);
        let (low, high) = match scale {
            _ if margin == 0.0 => (low - 0.5, high + 0.5),
            // The axis begins at zero if the lowest value is near it.
            Scale::Linear if low >= 0.0 && low <= high / 4.0 => (0.0, high + margin),
            _ => (low - margin, high + margin),
        };
        let title = match scale {
            Scale::Linear => title.to_owned(),
            Scale::Log => format!("{title} (logarithmic)"),
            Scale::Error { .. } => format!("{title} (by its error, logarithmic)"),
        };
        Some(Self { scale, title, low, high })
    }

    /// The position of a value.
    pub(super) fn position(&self, value: f64) -> Option<f64> {
        self.scale.position(value)
    }

    /// Positions of the labels.
    fn ticks(&self) -> Vec<f64> {
        let (low, high) = (self.low, self.high);
        match self.scale {
            Scale::Linear => {
                let step = round_step((high - low) / 5.0);
                let (first, last) = ((low / step).ceil() as i64, (high / step).floor() as i64);
                (first..=last).map(|tick| tick as f64 * step).collect()
            }
            Scale::Log => log_ticks(low, high),
            Scale::Error { .. } => log_ticks(-high, -low).into_iter().map(|tick| -tick).collect(),
        }
    }

    /// The label at a position.
    fn label(&self, position: f64) -> String {
        let value = self.scale.value(position);
        match self.scale {
            Scale::Error { .. } => format!("{} %", digits(100.0 * value)),
            Scale::Linear | Scale::Log => digits(value),
        }
    }
}

/// The library draws positions.
impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, position: &f64, (from, to): (i32, i32)) -> i32 {
        let share = (position - self.low) / (self.high - self.low);
        from + (share * f64::from(to - from)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks()
    }

    fn range(&self) -> Range<f64> {
        self.low..self.high
    }
}

impl ValueFormatter<f64> for Axis {
    fn format(position: &f64) -> String {
        position.to_string()
    }

    fn format_ext(&self, position: &f64) -> String {
        self.label(*position)
    }
}

/// Powers of ten. If they are few, also 2 and 5 times or all multiples between them; if they are many, every
/// second one.
fn log_ticks(low: f64, high: f64) -> Vec<f64> {
    let (first, last) = (low.floor() as i32, high.ceil() as i32);
    let of = |mantissas: &[f64], every: usize| -> Vec<f64> {
        let powers = (first..=last).step_by(every);
        let ticks = powers
            .flat_map(|power| mantissas.iter().map(move |mantissa| f64::from(power) + mantissa.log10()));
        ticks.filter(|tick| (low..=high).contains(tick)).collect()
    };
    let digits: Vec<f64> = (1..=9).map(f64::from).collect();
    let candidates = [of(&digits, 1), of(&[1.0, 2.0, 5.0], 1), of(&[1.0], 1), of(&[1.0], 2), of(&[1.0], 5)];
    let fits = |ticks: &&Vec<f64>| ticks.len() <= TICKS_MAX;
    let best = candidates.iter().find(fits).cloned().unwrap_or_default();
    if best.len() >= TICKS_MIN || (high - low) > 0.5 {
        return best;
    }
    // Within a narrow range the logarithm is nearly straight.
    let (from, to) = (10_f64.powf(low), 10_f64.powf(high));
    let step = round_step((to - from) / 5.0);
    let (first, last) = ((from / step).ceil() as i64, (to / step).floor() as i64);
    (first..=last).map(|tick| (tick as f64 * step).log10()).collect()
}

/// 1, 2 or 5 times a power of ten, not much below `step`.
fn round_step(step: f64) -> f64 {
    let power = 10_f64.powf(step.log10().floor());
    let factor = match step / power {
        mantissa if mantissa < 1.5 => 1.0,
        mantissa if mantissa < 3.5 => 2.0,
        mantissa if mantissa < 7.5 => 5.0,
        _ => 10.0,
    };
    factor * power
}

/// A round number without the noise of its last digits.
fn digits(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let rounded: f64 = format!("{value:.5e}").parse().expect("a number that was just written");
    match rounded.abs() {
        size if !(1e-4..1e6).contains(&size) => format!("{rounded:e}"),
        _ => format!("{rounded}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(scale: Scale, values: &[f64]) -> Vec<String> {
        let axis = Axis::fit(scale, values.iter().copied(), "").unwrap();
        axis.ticks().into_iter().map(|tick| axis.label(tick)).collect()
    }

    #[test]
    fn what_stands_beside_an_axis_is_round_and_readable() {
        assert_eq!(labels(Scale::Linear, &[0.0, 58.0]), ["0", "10", "20", "30", "40", "50"]);
        assert_eq!(
            labels(Scale::Linear, &[0.1, 0.7]),
            ["0", "0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7"]
        );
        assert_eq!(
            labels(Scale::Log, &[0.006, 2.3]),
            ["0.01", "0.02", "0.05", "0.1", "0.2", "0.5", "1", "2"]
        );
        assert_eq!(labels(Scale::Log, &[1e-9, 2.3]), ["1e-8", "1e-6", "0.0001", "0.01", "1"]);
        assert_eq!(labels(Scale::Log, &[1.0, 1.2]), ["1", "1.05", "1.1", "1.15", "1.2"]);
        let accuracies = [0.1, 0.983];
        assert_eq!(
            labels(Scale::error(accuracies.into_iter()), &accuracies),
            ["98 %", "95 %", "90 %", "80 %", "50 %", "0 %"]
        );
    }

    #[test]
    fn every_value_lies_on_its_axis() {
        for (scale, values) in [
            (Scale::Linear, [3.0, 3.0]),
            (Scale::Log, [1e-3, 5.0]),
            (Scale::error([0.5, 1.0].into_iter()), [0.5, 1.0]),
        ] {
            let axis = Axis::fit(scale, values.into_iter(), "").unwrap();
            for value in values {
                let position = axis.position(value).unwrap();
                assert!(axis.low < position && position < axis.high, "{axis:?} {value}");
            }
        }
        assert_eq!(Axis::fit(Scale::Log, [0.0].into_iter(), ""), None);
    }
}
