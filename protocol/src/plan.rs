//! The division of data and rounds into work units.
//!
//! The division is a function of the configuration alone, never of the volunteers present. A round's sum
//! therefore has the same bits, whoever helps.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::limits::{
    LOCAL_EXAMPLES_MAX, PARTS_MAX, RANGES_MAX, SHARD_BYTES_MAX, SHARDS_MAX, STEPS_MAX, UNITS_MAX,
};
use crate::scales::Scales;
use crate::{DecodeError, draw, within};

/// One set of examples of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Set {
    /// The examples to train on.
    Training,
    /// Examples held back to decide when to stop and which weights to keep.
    Validation,
    /// Examples held back to judge the model.
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

/// How one set is cut: into units with equal numbers of examples, and shards with equal numbers of units. The
/// last unit and the last shard may be smaller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetPlan {
    /// Examples in the set.
    pub examples: u32,
    /// Examples of one unit: a whole number of the user's minibatches.
    pub examples_per_unit: u32,
    /// Units of one shard.
    pub units_per_shard: u32,
    /// The shards, in the order of the examples.
    pub shards: Vec<ShardRef>,
}

impl SetPlan {
    /// Units in the set.
    pub fn units(&self) -> u32 {
        self.examples.div_ceil(self.examples_per_unit.max(1))
    }

    /// The examples of `unit`; empty for a unit that the set does not have.
    pub fn examples_of(&self, unit: u32) -> Range<u32> {
        let start = unit.saturating_mul(self.examples_per_unit).min(self.examples);
        start..start.saturating_add(self.examples_per_unit).min(self.examples)
    }

    /// The index of the shard that holds an example.
    pub fn shard_of_example(&self, example: u32) -> u32 {
        example / self.examples_per_unit.saturating_mul(self.units_per_shard).max(1)
    }

    /// The examples in shard number `shard`.
    pub fn examples_in_shard(&self, shard: u32) -> Range<u32> {
        let size = self.examples_per_unit.saturating_mul(self.units_per_shard);
        let start = shard.saturating_mul(size).min(self.examples);
        start..start.saturating_add(size).min(self.examples)
    }

    /// Checks that the cut is within the protocol's limits and has all its shards.
    ///
    /// # Errors
    /// The first limit that is exceeded, or [`DecodeError::Malformed`].
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

/// The plans of the run's sets. A set that the run does not have is empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetPlans {
    /// The examples to train on.
    pub training: SetPlan,
    /// Examples held back to decide when to stop and which weights to keep.
    pub validation: SetPlan,
    /// Examples held back to judge the model.
    pub test: SetPlan,
}

impl SetPlans {
    /// Checks each set's plan.
    ///
    /// # Errors
    /// The first error of [`SetPlan::check`].
    pub fn check(&self) -> Result<(), DecodeError> {
        [&self.training, &self.validation, &self.test].into_iter().try_for_each(SetPlan::check)
    }

    /// The plan of one set.
    pub fn of(&self, set: Set) -> &SetPlan {
        match set {
            Set::Training => &self.training,
            Set::Validation => &self.validation,
            Set::Test => &self.test,
        }
    }
}

/// A unit's computation.
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
    /// A replica's steps of minibatch gradient descent on its own pool of examples, starting from the round's
    /// weights. The result is the displacement after the last step, and the summed loss of all minibatches,
    /// each at the weights before its step.
    ///
    /// The part's units are the replicas. [`UnitLayout`] gives each its examples.
    Local {
        /// The number of steps of each replica, at least 1.
        steps: u32,
        /// The factor of each minibatch's mean gradient.
        learning_rate: f32,
        /// Selects the orders in which replicas see their examples. Each number has its own orders.
        draw: u64,
    },
    /// What [`Work::Evaluation`] computes, and as the vector the counts of an [examination](crate::examination).
    Examination,
}

impl Work {
    /// The number of losses in a result of this work.
    pub fn losses(&self) -> usize {
        match self {
            Work::Gradient | Work::Evaluation | Work::Local { .. } | Work::Examination => 1,
            Work::Losses { steps } => steps.len(),
        }
    }

    /// Whether a result of this work has a vector.
    pub fn has_vector(&self) -> bool {
        matches!(self, Work::Gradient | Work::Local { .. } | Work::Examination)
    }

    /// Whether it finds out how good the weights are on examples that judge them.
    pub fn judges(&self) -> bool {
        matches!(self, Work::Evaluation | Work::Examination)
    }
}

/// Units of one set that do one kind of work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// The work of each unit.
    pub work: Work,
    /// The set of its examples.
    pub set: Set,
    /// The number of units.
    pub units: u32,
    /// The set's units that the part covers. It has no meaning for [`Work::Local`], whose units are replicas.
    pub selection: Selection,
}

/// The set's units that a part covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Selection {
    /// Units 0, 1, 2, ...
    InTurn,
    /// The entries from `first` on of an endless sequence: all units in a random order, then all of them in
    /// another order, and so on.
    Drawn {
        /// The position in the sequence, counted from the beginning of the run.
        first: u64,
    },
}

impl Part {
    /// A part with units 0, 1, 2, ... `units - 1` of the set.
    pub fn in_turn(work: Work, set: Set, units: u32) -> Part {
        Part { work, set, units, selection: Selection::InTurn }
    }

    /// Gives each unit its examples. `seed` is the run's.
    pub fn lay_out(&self, set: &SetPlan, seed: u64) -> UnitLayout {
        match (&self.work, self.selection) {
            (Work::Local { .. }, _) => UnitLayout::Replicas(self.units),
            (_, Selection::InTurn) => UnitLayout::InTurn,
            (_, Selection::Drawn { .. }) if set.units() == 0 => UnitLayout::Drawn(Vec::new()),
            (_, Selection::Drawn { first }) => {
                UnitLayout::Drawn(draw::endless(seed, "units", first, self.units as usize, set.units()))
            }
        }
    }

    /// Whether the set has enough examples or units for the part.
    pub fn suits(&self, set: &SetPlan) -> bool {
        match (&self.work, self.selection) {
            (Work::Local { .. }, _) => self.units <= set.examples,
            (_, Selection::InTurn) => self.units <= set.units(),
            (_, Selection::Drawn { .. }) => self.units == 0 || set.units() > 0,
        }
    }
}

/// The examples and shards of each unit of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnitLayout {
    /// Unit i is the set's unit i.
    InTurn,
    /// Unit i is the set's unit with the i-th of these numbers.
    Drawn(Vec<u32>),
    /// Unit i is a replica with the i-th of this many equal pools of the set's examples.
    Replicas(u32),
}

impl UnitLayout {
    /// The examples of unit `unit` of the part; empty if the part has no such unit.
    pub fn examples_of(&self, set: &SetPlan, unit: u32) -> Range<u32> {
        match self {
            UnitLayout::InTurn => set.examples_of(unit),
            UnitLayout::Drawn(units) => units.get(unit as usize).map_or(0..0, |unit| set.examples_of(*unit)),
            UnitLayout::Replicas(replicas) => {
                let border = |replica: u32| {
                    let scaled = u64::from(replica) * u64::from(set.examples);
                    u32::try_from(scaled / u64::from((*replicas).max(1)))
                        .unwrap_or(set.examples)
                        .min(set.examples)
                };
                border(unit)..border(unit.saturating_add(1))
            }
        }
    }

    /// The indices of the shards that hold the unit's examples; empty if there are none.
    pub fn shards_of(&self, set: &SetPlan, unit: u32) -> Range<u32> {
        let examples = self.examples_of(set, unit);
        if examples.is_empty() {
            return 0..0;
        }
        set.shard_of_example(examples.start)..set.shard_of_example(examples.end - 1) + 1
    }
}

/// The order in which a replica sees its examples: `steps * minibatch` indices into its pool of `pool`
/// examples. They run through the pool in a random order, then in another order, and so on. A pool smaller
/// than a minibatch is a minibatch itself; the second value is the actual number of examples per minibatch.
pub fn local_order(
    seed: u64,
    draw: u64,
    replica: u32,
    pool: u32,
    steps: u32,
    minibatch: u32,
) -> (Vec<u32>, u32) {
    let minibatch = minibatch.min(pool).max(1);
    let purpose = format!("replica {replica} of draw {draw}");
    (draw::endless(seed, &purpose, 0, steps.saturating_mul(minibatch) as usize, pool.max(1)), minibatch)
}

/// Everything that defines a round's results besides the vectors and the data.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RoundPlan {
    /// The round's number, which also counts restarts. A coordinator that was killed and resumed counts again
    /// from its checkpoint; its sessions are all new.
    pub round: u64,
    /// The version of the weights at which the units are evaluated.
    pub version: u64,
    /// How values become integers.
    pub scales: Scales,
    /// Selects the dropout masks of the training examples. Equal numbers mean equal masks.
    pub mask_epoch: u64,
    /// The parts. The units of the round are numbered across all parts, in this order.
    pub parts: Vec<Part>,
}

impl RoundPlan {
    /// The number of units in all parts.
    pub fn units(&self) -> u32 {
        self.parts.iter().fold(0, |sum, part| sum.saturating_add(part.units))
    }

    /// The index of a unit's part and its number within the part; `None` if the round has no such unit.
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

    /// The number of vectors sent with the plan: the weights and, in a scalars-only round, the direction.
    pub fn vectors(&self) -> usize {
        let along = |part: &Part| matches!(part.work, Work::Losses { .. });
        if self.parts.iter().any(along) { 2 } else { 1 }
    }

    pub(crate) fn check(&self) -> Result<(), DecodeError> {
        within("the number of parts", self.parts.len() as u64, PARTS_MAX as u64)?;
        let units: u64 = self.parts.iter().map(|part| u64::from(part.units)).sum();
        within("the number of units", units, UNITS_MAX.into())?;
        if self.parts.is_empty() || !self.scales.are_in_range() {
            return Err(DecodeError::Malformed);
        }
        for part in &self.parts {
            within("the number of step lengths", part.work.losses() as u64, STEPS_MAX as u64)?;
            if let Work::Local { steps, .. } = part.work {
                within("the number of local steps", steps.into(), LOCAL_EXAMPLES_MAX.into())?;
            }
        }
        Ok(())
    }
}

/// Units for one volunteer. All belong to one part, so that they add up to one result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// The assignment's number, unique within the session.
    pub assignment: u64,
    /// The number of the units' round ([`RoundPlan::round`]).
    pub round: u64,
    /// Ranges of the round's units, in increasing order, not empty, not touching.
    pub units: Vec<Range<u32>>,
}

impl Assignment {
    /// The number of its units.
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
                let shard = plan.examples_in_shard(plan.shard_of_example(range.start));
                assert!(shard.start <= range.start && range.end <= shard.end);
            }
            assert_eq!(next, examples);
            assert!(plan.examples_of(plan.units()).is_empty());
        }
    }

    #[test]
    fn replicas_share_the_examples_out() {
        for (examples, replicas) in [(100, 7), (7, 7), (60_000, 32), (5, 1)] {
            let plan = plan(examples, 10, 3);
            let work = Work::Local { steps: 3, learning_rate: 0.1, draw: 0 };
            let part = Part::in_turn(work, Set::Training, replicas);
            assert!(part.suits(&plan));
            let layout = part.lay_out(&plan, 1);
            let mut next = 0;
            for replica in 0..replicas {
                let range = layout.examples_of(&plan, replica);
                assert_eq!(range.start, next);
                assert!(!range.is_empty());
                let shards = layout.shards_of(&plan, replica);
                assert!(plan.examples_in_shard(shards.start).contains(&range.start));
                assert!(plan.examples_in_shard(shards.end - 1).contains(&(range.end - 1)));
                next = range.end;
            }
            assert_eq!(next, examples);
        }
    }

    #[test]
    fn drawn_units_follow_each_other_without_a_gap() {
        let plan = plan(95, 10, 3);
        let part = |first, units| Part {
            selection: Selection::Drawn { first },
            ..Part::in_turn(Work::Gradient, Set::Training, units)
        };
        let UnitLayout::Drawn(all) = part(0, 20).lay_out(&plan, 5) else { panic!("drawn") };
        let UnitLayout::Drawn(later) = part(7, 6).lay_out(&plan, 5) else { panic!("drawn") };
        assert_eq!(later, all[7..13]);
        let mut pass = all[..10].to_vec();
        pass.sort_unstable();
        assert_eq!(pass, (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn a_pool_smaller_than_a_minibatch_is_a_minibatch() {
        let (order, minibatch) = local_order(1, 2, 3, 4, 5, 10);
        assert_eq!((order.len(), minibatch), (20, 4));
        for step in order.chunks(4) {
            let mut step = step.to_vec();
            step.sort_unstable();
            assert_eq!(step, [0, 1, 2, 3]);
        }
    }

    #[test]
    fn a_round_numbers_its_units_through_its_parts() {
        let part = |units| Part::in_turn(Work::Gradient, Set::Training, units);
        let round = RoundPlan { parts: vec![part(3), part(0), part(2)], ..RoundPlan::default() };
        let located: Vec<_> = (0..round.units()).map(|unit| round.locate(unit).unwrap()).collect();
        assert_eq!(located, [(0, 0), (0, 1), (0, 2), (2, 0), (2, 1)]);
        assert_eq!(round.locate(5), None);
    }

    #[test]
    fn an_assignment_out_of_order_is_malformed() {
        let check = |units: Vec<Range<u32>>| Assignment { assignment: 1, round: 1, units }.check();
        assert_eq!(check(vec![0..2, 5..6]), Ok(()));
        #[expect(clippy::reversed_empty_ranges, reason = "the check must reject such a range")]
        let reversed = vec![3..2];
        assert_eq!(check(reversed), Err(DecodeError::Malformed));
        assert_eq!(check(vec![5..6, 0..2]), Err(DecodeError::Malformed));
        assert!(check(vec![0..UNITS_MAX + 1]).is_err());
    }
}
