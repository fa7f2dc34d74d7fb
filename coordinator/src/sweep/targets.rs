//! Targets: accuracies and losses, and when a training first reached them.

use std::fmt;
use std::str::FromStr;

use crate::config::Fraction;

/// A measured figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Share of the test examples predicted correctly.
    Accuracy,
    /// Mean loss over the training examples.
    Loss,
    /// Mean loss over the test examples.
    TestLoss,
}

/// A value to reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Target {
    /// The figure.
    pub measure: Measure,
    /// The value: a least accuracy, or a highest loss.
    pub value: f64,
}

/// `MEASURE=V1,V2,...`, as typed.
#[derive(Debug, Clone, PartialEq)]
pub struct Targets(pub Vec<Target>);

impl Measure {
    const ALL: [Self; 3] = [Self::Accuracy, Self::Loss, Self::TestLoss];

    fn name(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy",
            Self::Loss => "loss",
            Self::TestLoss => "test-loss",
        }
    }
}

impl Target {
    /// Whether `value` reaches the target.
    pub fn is_met(self, value: f64) -> bool {
        match self.measure {
            Measure::Accuracy => value >= self.value,
            Measure::Loss | Measure::TestLoss => value <= self.value,
        }
    }

    /// The name of its columns: `accuracy_0.97`.
    pub fn column(self) -> String {
        format!("{}_{}", self.measure.name().replace('-', "_"), self.value)
    }
}

/// `accuracy 0.97`.
impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.measure.name().replace('-', " "), self.value)
    }
}

impl FromStr for Targets {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const FORM: &str =
            "give accuracy, loss or test-loss with values to reach, such as accuracy=0.97,0.98";
        let (name, values) = text.split_once('=').ok_or(FORM)?;
        let measure = Measure::ALL.into_iter().find(|measure| measure.name() == name.trim()).ok_or(FORM)?;
        let target = |text: &str| {
            let text = text.trim();
            let value = match measure {
                Measure::Accuracy => {
                    text.parse::<Fraction>().map_err(|problem| format!("accuracy {text}: {problem}"))?.get()
                }
                Measure::Loss | Measure::TestLoss => text.parse::<f64>().map_err(|_| FORM.to_owned())?,
            };
            if value > 0.0 && value.is_finite() {
                Ok(Target { measure, value })
            } else {
                Err(format!("{text} is not a possible {}; give a number above 0", measure.name()))
            }
        };
        values.split(',').map(target).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_a_measure_and_its_values() {
        let Targets(targets) = "accuracy=0.97, 0.975".parse().unwrap();
        assert_eq!(
            targets.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["accuracy 0.97", "accuracy 0.975"]
        );
        let Targets(targets) = "test-loss=1e-2".parse().unwrap();
        assert_eq!(targets[0].column(), "test_loss_0.01");
        assert!(targets[0].is_met(0.01) && !targets[0].is_met(0.011));
        for (text, problem) in [
            ("accuracy", "such as accuracy=0.97"),
            ("speed=3", "such as accuracy=0.97"),
            ("loss=small", "such as accuracy=0.97"),
            ("accuracy=97", "0.97 for 97 %"),
            ("accuracy=0", "above 0"),
            ("loss=-1", "above 0"),
        ] {
            let error = text.parse::<Targets>().unwrap_err();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }
}
