//! What volunteers can play that mean no good.

use std::fmt;
use std::str::FromStr;

use protocol::message::ResultHeader;

/// An attack by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attack {
    /// Answers every assignment with zeros, at once.
    Zeros,
    /// Sends gradients with the opposite sign, each volunteer but for another element.
    Flipped,
    /// Sends gradients twice as long.
    Scaled,
    /// Sends losses below zero.
    NegativeLoss,
    /// Sends half of each loss.
    LowLoss,
    /// Says that all predictions are correct, and that the loss is what it would be then.
    AllCorrect,
    /// Sends gradients with the opposite sign, all volunteers the same.
    Colluding,
    /// Answers one assignment with zeros, reports the next falsely unfit, and comes back as somebody else.
    Stall,
    /// Reports every unit unfit.
    FalseUnfit,
    /// Takes assignments and never answers.
    Sleepers,
    /// Lends no core and answers pings.
    Paused,
    /// Helps, and then neither reads nor answers, without a goodbye.
    Frozen,
    /// Sends results that nobody asked for.
    Unasked,
    /// Changes its number of cores all the time.
    Cores,
    /// Reads 40 KB a second.
    SlowReader,
    /// Sends a result's header and then a chunk every few seconds.
    SlowWriter,
    /// Announces the largest vector there can be, sends half of it at once and the rest as slowly as is allowed.
    HalfSent,
}

impl Attack {
    /// All of them.
    pub const ALL: [Attack; 17] = [
        Attack::Zeros,
        Attack::Flipped,
        Attack::Scaled,
        Attack::NegativeLoss,
        Attack::LowLoss,
        Attack::AllCorrect,
        Attack::Colluding,
        Attack::Stall,
        Attack::FalseUnfit,
        Attack::Sleepers,
        Attack::Paused,
        Attack::Frozen,
        Attack::Unasked,
        Attack::Cores,
        Attack::SlowReader,
        Attack::SlowWriter,
        Attack::HalfSent,
    ];

    fn name(self) -> &'static str {
        match self {
            Attack::Zeros => "zeros",
            Attack::Flipped => "flipped",
            Attack::Scaled => "scaled",
            Attack::NegativeLoss => "negative-loss",
            Attack::LowLoss => "low-loss",
            Attack::AllCorrect => "all-correct",
            Attack::Colluding => "colluding",
            Attack::Stall => "stall",
            Attack::FalseUnfit => "false-unfit",
            Attack::Sleepers => "sleepers",
            Attack::Paused => "paused",
            Attack::Frozen => "frozen",
            Attack::Unasked => "unasked",
            Attack::Cores => "cores",
            Attack::SlowReader => "slow-reader",
            Attack::SlowWriter => "slow-writer",
            Attack::HalfSent => "half-sent",
        }
    }

    /// Changes a right result into what the volunteer of that number sends. `examples` are those of its units if it
    /// counts correct predictions.
    pub(super) fn distort(
        self,
        volunteer: u32,
        header: &mut ResultHeader,
        mut vector: Option<&mut Vec<i64>>,
        examples: Option<u64>,
    ) {
        let losses = &mut header.losses;
        match self {
            Attack::Zeros | Attack::Stall => {
                losses.fill(0);
                header.correct = 0;
                vector.iter_mut().for_each(|vector| vector.fill(0));
            }
            Attack::Flipped | Attack::Colluding => {
                let kept = (self == Attack::Flipped).then_some(volunteer as usize);
                if let Some(vector) = vector {
                    let kept = kept.map(|kept| kept % vector.len().max(1));
                    let others = vector.iter_mut().enumerate().filter(|(index, _)| Some(*index) != kept);
                    others.for_each(|(_, value)| *value = value.saturating_neg());
                }
            }
            Attack::Scaled => {
                let values = vector.into_iter().flatten();
                values.for_each(|value| *value = value.saturating_mul(2));
            }
            Attack::NegativeLoss => losses.iter_mut().for_each(|loss| *loss = -loss.saturating_abs() - 1),
            Attack::LowLoss => losses.iter_mut().for_each(|loss| *loss /= 2),
            Attack::AllCorrect => {
                if let Some(examples) = examples {
                    header.correct = examples;
                    losses.fill(0);
                }
            }
            _ => {}
        }
    }

    /// Whether its volunteers send results that are wrong.
    pub fn lies(self) -> bool {
        use Attack::{AllCorrect, Colluding, Flipped, LowLoss, NegativeLoss, Scaled, Stall, Zeros};
        matches!(self, Zeros | Flipped | Scaled | NegativeLoss | LowLoss | AllCorrect | Colluding | Stall)
    }
}

impl fmt::Display for Attack {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Attack {
    type Err = String;

    fn from_str(text: &str) -> Result<Attack, String> {
        let names = Attack::ALL.map(Attack::name);
        Attack::ALL
            .into_iter()
            .find(|attack| attack.name() == text)
            .ok_or_else(|| format!("give one of {}", names.join(", ")))
    }
}
