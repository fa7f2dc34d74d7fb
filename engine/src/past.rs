//! What is known of the time before the process began: who may have lied then, and which states there are to go back
//! to.

use serde::{Deserialize, Serialize};

/// What goes with a [`Snapshot`](super::Snapshot), so that a lie that it holds can still be found out and undone. It
/// never touches the weights.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Past {
    /// Volunteers of whom results were counted that nobody has checked, by token, with the number of rounds that were
    /// completed before the first of these.
    pub unchecked: Vec<(u128, u64)>,
    /// The same for all who are not known any more.
    pub forgotten_since: Option<u64>,
    /// Until so many rounds are completed all results are audited, because a liar was found out.
    pub wary_until: u64,
}

/// States that somebody else keeps, each with another number of rounds completed before it.
#[derive(Debug, Default)]
pub(super) struct Kept(Vec<u64>);

impl Kept {
    pub(super) fn new(mut rounds: Vec<u64>) -> Kept {
        rounds.sort_unstable();
        Kept(rounds)
    }

    /// The last state in which no more than `rounds` rounds were completed, or else the first of all.
    pub(super) fn choose(&self, rounds: u64) -> Option<u64> {
        self.0.iter().rev().find(|kept| **kept <= rounds).or(self.0.first()).copied()
    }

    /// That state cannot be had.
    pub(super) fn drop_one(&mut self, rounds: u64) {
        self.0.retain(|kept| *kept != rounds);
    }

    /// The training went back to where so many rounds were completed.
    pub(super) fn rewind(&mut self, rounds: u64) {
        self.0.retain(|kept| *kept < rounds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_state_before_is_chosen_or_else_the_first() {
        let mut kept = Kept::new(vec![30, 10, 20]);
        assert_eq!((kept.choose(25), kept.choose(20), kept.choose(5)), (Some(20), Some(20), Some(10)));
        kept.drop_one(20);
        assert_eq!(kept.choose(25), Some(10));
        kept.rewind(10);
        assert_eq!(kept.choose(25), None);
    }
}
