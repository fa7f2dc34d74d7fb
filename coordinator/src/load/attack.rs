//! What volunteers can play that mean no good.

use std::fmt;
use std::str::FromStr;

/// An attack by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attack {
    /// Answers every assignment with zeros, at once.
    Zeros,
    /// Answers one assignment with zeros, reports the next falsely unfit, and comes back as somebody else.
    Stall,
    /// Reports every unit unfit.
    FalseUnfit,
    /// Takes assignments and never answers.
    Sleepers,
    /// Sends results that nobody asked for.
    Unasked,
    /// Changes its number of cores all the time.
    Cores,
    /// Reads 40 KB a second.
    SlowReader,
    /// Sends a result's header and then a chunk every few seconds.
    SlowWriter,
}

impl Attack {
    /// All of them.
    pub const ALL: [Attack; 8] = [
        Attack::Zeros,
        Attack::Stall,
        Attack::FalseUnfit,
        Attack::Sleepers,
        Attack::Unasked,
        Attack::Cores,
        Attack::SlowReader,
        Attack::SlowWriter,
    ];

    fn name(self) -> &'static str {
        match self {
            Attack::Zeros => "zeros",
            Attack::Stall => "stall",
            Attack::FalseUnfit => "false-unfit",
            Attack::Sleepers => "sleepers",
            Attack::Unasked => "unasked",
            Attack::Cores => "cores",
            Attack::SlowReader => "slow-reader",
            Attack::SlowWriter => "slow-writer",
        }
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
