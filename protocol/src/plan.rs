//! How data and rounds are cut into work units.
//!
//! The cut is a function of the configuration alone, never of who is there: that is what makes
//! the sum of a round the same bits whoever helps.

use std::ops::Range;

use model::exact::EXPONENTS;
use serde::{Deserialize, Serialize};

use crate::limits::{PARTS_MAX, RANGES_MAX, SHARD_BYTES_MAX, SHARDS_MAX, STEPS_MAX, UNITS_MAX};
use crate::{DecodeError, within};

/// One set of examples of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Set {
    /// The examples trained on.
    Training,
    /// The examples held back to judge the model.
    Test,
}

/// An immutable slice of a set, named by its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardRef {
    /// BLAKE3 of the encoded shard (see [`crate::shard`]) before compression.
    pub hash: [u8; 32],
    /// Bytes of the encoded shard before compression.
    pub bytes: u32,
}

impl ShardRef {
    /// The hash in lower-case hexadecimal: the last part of the shard's URL path.
    pub fn name(&self) -> String {
        blake3::Hash::from_bytes(self.hash).to_hex().to_string()
    }
}

/// How one set is cut: units of equally many examples (the last may be smaller), shards of
/// equally many units (the last may be smaller).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetPlan {
    /// Examples in the set.
    pub examples: u32,
    /// Examples of one unit: a whole number of the user's minibatches.
    pub examples_per_unit: u32,
    /// Units whose examples share a shard.
    pub units_per_shard: u32,
    /// The shards, in the order of the examples.
    pub shards: Vec<ShardRef>,
}

impl SetPlan {
    /// Units in the set.
    pub fn units(&self) -> u32 {
        self.examples.div_ceil(self.examples_per_unit.max(1))
    }

    /// Examples of the set that `unit` covers; empty for a unit the set does not have.
    pub fn examples_of(&self, unit: u32) -> Range<u32> {
        let start = unit.saturating_mul(self.examples_per_unit).min(self.examples);
        start..start.saturating_add(self.examples_per_unit).min(self.examples)
    }

    /// Index of the shard that holds `unit`'s examples.
    pub fn shard_of(&self, unit: u32) -> u32 {
        unit / self.units_per_shard.max(1)
    }

    /// Examples of the set that shard number `shard` holds.
    pub fn examples_in_shard(&self, shard: u32) -> Range<u32> {
        let size = self.examples_per_unit.saturating_mul(self.units_per_shard);
        let start = shard.saturating_mul(size).min(self.examples);
        start..start.saturating_add(size).min(self.examples)
    }

    /// Whether the cut is within the protocol's limits and its shards are all there.
    ///
    /// # Errors
    /// What is not.
    pub fn check(&self) -> Result<(), DecodeError> {
        if self.examples_per_unit == 0 || self.units_per_shard == 0 {
            return Err(DecodeError::Malformed);
        }
        within("the number of units", self.units().into(), UNITS_MAX.into())?;
        within("the number of shards", self.shards.len() as u64, SHARDS_MAX as u64)?;
        if self.shards.len() != self.units().div_ceil(self.units_per_shard) as usize {
            return Err(DecodeError::Malformed);
        }
        for shard in &self.shards {
            within("a shard's size", shard.bytes.into(), SHARD_BYTES_MAX as u64)?;
        }
        Ok(())
    }
}

/// What a unit of a part computes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Work {
    /// Summed loss and summed gradient of the unit's examples at the round's weights.
    Gradient,
    /// Summed loss and the number of correct predictions at the round's weights.
    Evaluation,
    /// Summed loss at `weights + step * direction` for each step length; no vector.
    Losses {
        /// The step lengths, at most [`STEPS_MAX`].
        steps: Vec<f32>,
    },
}

impl Work {
    /// How many losses a result of this work carries.
    pub fn losses(&self) -> usize {
        match self {
            Work::Gradient | Work::Evaluation => 1,
            Work::Losses { steps } => steps.len(),
        }
    }

    /// Whether a result of this work carries a vector.
    pub fn has_vector(&self) -> bool {
        matches!(self, Work::Gradient)
    }
}

/// All units of one set, doing one kind of work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// What each unit computes.
    pub work: Work,
    /// Whose examples it uses.
    pub set: Set,
    /// Units of this part: the set's units 0, 1, 2, ...
    pub units: u32,
}

/// All that defines a round's results besides the vectors and the data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RoundPlan {
    /// Counts rounds and their restarts. A coordinator that was killed and resumed counts again from its
    /// checkpoint, for sessions that are all new.
    pub round: u64,
    /// Counts weights: the version these units are evaluated at.
    pub version: u64,
    /// Vectors become integers `round(value * 2^gradient_exponent)`.
    pub gradient_exponent: i32,
    /// Losses of training examples become integers `round(value * 2^loss_exponent)`.
    pub loss_exponent: i32,
    /// The same for losses of an evaluation, which may be of another size by far.
    pub evaluation_exponent: i32,
    /// The parts; the round's units are numbered through them in this order.
    pub parts: Vec<Part>,
}

impl RoundPlan {
    /// Units of the round over all parts.
    pub fn units(&self) -> u32 {
        self.parts.iter().fold(0, |sum, part| sum.saturating_add(part.units))
    }

    /// The exponent of losses that `work` finds.
    pub fn loss_exponent_of(&self, work: &Work) -> i32 {
        match work {
            Work::Gradient | Work::Losses { .. } => self.loss_exponent,
            Work::Evaluation => self.evaluation_exponent,
        }
    }

    /// Where the round's `unit` lies: the index of its part and its number within the set.
    pub fn locate(&self, unit: u32) -> Option<(usize, u32)> {
        let mut first = 0u32;
        for (index, part) in self.parts.iter().enumerate() {
            let end = first.saturating_add(part.units);
            if unit < end {
                return Some((index, unit - first));
            }
            first = end;
        }
        None
    }

    /// How many vectors of the network's size travel with the plan: the weights, and for a
    /// scalars-only round the direction.
    pub fn vectors(&self) -> usize {
        let along = |part: &Part| matches!(part.work, Work::Losses { .. });
        if self.parts.iter().any(along) { 2 } else { 1 }
    }

    pub(crate) fn check(&self) -> Result<(), DecodeError> {
        within("the number of parts", self.parts.len() as u64, PARTS_MAX as u64)?;
        let units: u64 = self.parts.iter().map(|part| u64::from(part.units)).sum();
        within("the number of units", units, UNITS_MAX.into())?;
        let exponents = [self.gradient_exponent, self.loss_exponent, self.evaluation_exponent];
        if self.parts.is_empty() || exponents.iter().any(|exponent| !EXPONENTS.contains(exponent)) {
            return Err(DecodeError::Malformed);
        }
        for part in &self.parts {
            within("the number of step lengths", part.work.losses() as u64, STEPS_MAX as u64)?;
        }
        Ok(())
    }
}

/// Units handed to one volunteer. All belong to one part, so that they add up to one result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// Counts assignments; not used twice within a session.
    pub assignment: u64,
    /// The round ([`RoundPlan::round`]) whose units these are.
    pub round: u64,
    /// Ranges of the round's units, in increasing order, not empty, not touching.
    pub units: Vec<Range<u32>>,
}

impl Assignment {
    /// How many units it covers.
    pub fn unit_count(&self) -> u32 {
        self.units.iter().fold(0, |sum, range| sum.saturating_add(range.end.saturating_sub(range.start)))
    }

    pub(crate) fn check(&self) -> Result<(), DecodeError> {
        within("the number of ranges", self.units.len() as u64, RANGES_MAX as u64)?;
        let mut last = None;
        for range in &self.units {
            if range.is_empty() || last.is_some_and(|end| range.start < end) {
                return Err(DecodeError::Malformed);
            }
            within("a unit's number", range.end.into(), UNITS_MAX.into())?;
            last = Some(range.end);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(examples: u32, examples_per_unit: u32, units_per_shard: u32) -> SetPlan {
        let units = examples.div_ceil(examples_per_unit);
        let shard = ShardRef { hash: [0; 32], bytes: 1 };
        let shards = vec![shard; units.div_ceil(units_per_shard) as usize];
        SetPlan { examples, examples_per_unit, units_per_shard, shards }
    }

    #[test]
    fn units_cover_every_example_once_and_stay_in_their_shard() {
        for (examples, per_unit, per_shard) in [(1, 1, 1), (100, 7, 3), (60_000, 260, 4), (5, 10, 2)] {
            let plan = plan(examples, per_unit, per_shard);
            plan.check().unwrap();
            let mut next = 0;
            for unit in 0..plan.units() {
                let range = plan.examples_of(unit);
                assert_eq!(range.start, next);
                assert!(!range.is_empty());
                next = range.end;
                let shard = plan.examples_in_shard(plan.shard_of(unit));
                assert!(shard.start <= range.start && range.end <= shard.end);
            }
            assert_eq!(next, examples);
            assert!(plan.examples_of(plan.units()).is_empty());
        }
    }

    #[test]
    fn a_round_numbers_its_units_through_its_parts() {
        let part = |units| Part { work: Work::Gradient, set: Set::Training, units };
        let round = RoundPlan {
            round: 0,
            version: 0,
            gradient_exponent: 0,
            loss_exponent: 0,
            evaluation_exponent: 0,
            parts: vec![part(3), part(0), part(2)],
        };
        let located: Vec<_> = (0..round.units()).map(|unit| round.locate(unit).unwrap()).collect();
        assert_eq!(located, [(0, 0), (0, 1), (0, 2), (2, 0), (2, 1)]);
        assert_eq!(round.locate(5), None);
    }

    #[test]
    fn an_assignment_out_of_order_is_malformed() {
        let check = |units: Vec<Range<u32>>| Assignment { assignment: 1, round: 1, units }.check();
        assert_eq!(check(vec![0..2, 5..6]), Ok(()));
        #[expect(clippy::reversed_empty_ranges, reason = "this is what must be refused")]
        let reversed = vec![3..2];
        assert_eq!(check(reversed), Err(DecodeError::Malformed));
        assert_eq!(check(vec![5..6, 0..2]), Err(DecodeError::Malformed));
        assert!(check(vec![0..UNITS_MAX + 1]).is_err());
    }
}
