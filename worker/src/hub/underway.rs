//! One assignment on its way through the compute workers.

use std::collections::BTreeMap;
use std::ops::Range;

use protocol::plan::{Assignment, Part, RoundPlan, Set, SetPlan, UnitLayout};

use crate::unit::UnitSums;

/// Consecutive units of the round whose examples lie in the same shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) shards: Range<u32>,
    pub(super) units: Range<u32>,
}

/// An assignment: its pending units, the units given to compute workers, and the sums handed over so far.
#[derive(Debug)]
pub(super) struct Underway {
    /// The hub's own number for it.
    pub(super) key: u64,
    pub(super) assignment: Assignment,
    pub(super) part: Part,
    /// The sums that compute workers have handed over, merged.
    sums: Option<UnitSums>,
    /// The number of examples in its units.
    pub(super) examples: u64,
    pending: Vec<Segment>,
    shares: BTreeMap<u32, Share>,
}

/// The units of an assignment that one compute worker has. If it dies, all of them must be computed again.
#[derive(Debug, Default)]
struct Share {
    running: Vec<Segment>,
    done: Vec<Segment>,
    collecting: Vec<Segment>,
}

impl Underway {
    /// Lays out an assignment. Returns `None` if its units do not all belong to one part of the round.
    pub(super) fn new<'a>(
        key: u64,
        assignment: Assignment,
        plan: &RoundPlan,
        layouts: &[UnitLayout],
        set: impl FnOnce(Set) -> &'a SetPlan,
    ) -> Option<Underway> {
        let first = assignment.units.first()?.start;
        let (part_index, unit_of_part) = plan.locate(first)?;
        let part = plan.parts[part_index].clone();
        let part_begins = first - unit_of_part;
        let (set, layout) = (set(part.set), layouts.get(part_index)?);
        let mut pending: Vec<Segment> = Vec::new();
        let mut examples = 0;
        for range in &assignment.units {
            if range.is_empty() || range.start < part_begins || range.end > part_begins + part.units {
                return None;
            }
            for unit in range.clone() {
                let shards = layout.shards_of(set, unit - part_begins);
                match pending.last_mut() {
                    Some(last) if last.shards == shards && last.units.end == unit => last.units.end += 1,
                    _ => pending.push(Segment { shards, units: unit..unit + 1 }),
                }
                examples += layout.examples_of(set, unit - part_begins).len() as u64;
            }
        }
        Some(Underway { key, assignment, part, sums: None, examples, pending, shares: BTreeMap::new() })
    }

    /// The number of pending units.
    pub(super) fn pending_units(&self) -> u32 {
        self.pending.iter().map(|segment| segment.units.len() as u32).sum()
    }

    /// All shards that the next pending unit needs.
    pub(super) fn next_shards(&self) -> Option<Range<u32>> {
        self.pending.first().map(|segment| segment.shards.clone())
    }

    /// The shards of the pending units, in their order.
    pub(super) fn pending_shards(&self) -> impl Iterator<Item = u32> {
        self.pending.iter().flat_map(|segment| segment.shards.clone())
    }

    /// Gives a compute worker up to `count` pending units whose shards are `usable`.
    pub(super) fn give(
        &mut self,
        compute: u32,
        count: u32,
        mut usable: impl FnMut(&Range<u32>) -> bool,
    ) -> Vec<Segment> {
        let (mut given, mut wanted) = (Vec::new(), count);
        self.pending.retain_mut(|segment| {
            if wanted == 0 || !usable(&segment.shards) {
                return true;
            }
            let taken = wanted.min(segment.units.len() as u32);
            wanted -= taken;
            let middle = segment.units.start + taken;
            given.push(Segment { shards: segment.shards.clone(), units: segment.units.start..middle });
            segment.units.start = middle;
            !segment.units.is_empty()
        });
        if !given.is_empty() {
            self.shares.entry(compute).or_default().running.extend(given.iter().cloned());
        }
        given
    }

    /// Records that a compute worker has done its job.
    pub(super) fn done(&mut self, compute: u32) {
        if let Some(share) = self.shares.get_mut(&compute) {
            share.done.append(&mut share.running);
        }
    }

    /// The compute workers to ask for their sums now. Marks them as asked.
    pub(super) fn collect(&mut self) -> Vec<u32> {
        if !self.pending.is_empty() {
            return Vec::new();
        }
        let sharers: Vec<u32> = self.sharers().collect();
        sharers.into_iter().filter(|compute| self.collect_from(*compute)).collect()
    }

    /// Whether to ask a compute worker for its sums before it turns to another assignment. Marks it as asked.
    pub(super) fn collect_from(&mut self, compute: u32) -> bool {
        let Some(share) = self.shares.get_mut(&compute) else { return false };
        let ready = share.running.is_empty() && share.collecting.is_empty() && !share.done.is_empty();
        if ready {
            share.collecting.append(&mut share.done);
        }
        ready
    }

    /// Adds the sums that a compute worker handed over. Returns false if they do not match the others.
    #[must_use]
    pub(super) fn collected(&mut self, compute: u32, sums: UnitSums) -> bool {
        let Some(share) = self.shares.get_mut(&compute).filter(|share| !share.collecting.is_empty()) else {
            return true;
        };
        share.collecting.clear();
        if share.running.is_empty() && share.done.is_empty() {
            self.shares.remove(&compute);
        }
        match &mut self.sums {
            Some(merged) => merged.merge(&sums),
            none => {
                *none = Some(sums);
                true
            }
        }
    }

    /// The sums over all units, once they are complete.
    ///
    /// # Panics
    /// If they are not.
    pub(super) fn take_sums(&mut self) -> UnitSums {
        assert!(self.is_complete(), "the sums do not cover all units");
        self.sums.take().expect("an assignment has units, whose sums have been handed over")
    }

    /// Makes the units of a lost compute worker pending again.
    pub(super) fn lost(&mut self, compute: u32) {
        if let Some(share) = self.shares.remove(&compute) {
            for mut part in [share.running, share.done, share.collecting] {
                self.pending.append(&mut part);
            }
            self.pending.sort_by_key(|segment| segment.units.start);
        }
    }

    /// The compute workers that have units of the assignment.
    pub(super) fn sharers(&self) -> impl Iterator<Item = u32> {
        self.shares.keys().copied()
    }

    /// Whether the sums cover all its units.
    pub(super) fn is_complete(&self) -> bool {
        self.pending.is_empty() && self.shares.is_empty()
    }
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "these are ranges of units, not lists of units")]
mod tests {
    use protocol::plan::{ShardRef, Work};

    use super::*;

    fn set_plan() -> SetPlan {
        let shards = vec![ShardRef { hash: [0; 32], bytes: 1 }; 4];
        SetPlan { examples: 95, examples_per_unit: 10, units_per_shard: 3, shards }
    }

    fn underway(units: &[Range<u32>]) -> Option<Underway> {
        let part = |units| Part::in_turn(Work::Evaluation, Set::Training, units);
        let plan = RoundPlan { parts: vec![part(5), part(10)], ..RoundPlan::default() };
        underway_of(&plan, units)
    }

    fn underway_of(plan: &RoundPlan, units: &[Range<u32>]) -> Option<Underway> {
        let set = set_plan();
        let layouts: Vec<UnitLayout> = plan.parts.iter().map(|part| part.lay_out(&set, 1)).collect();
        let assignment = Assignment { assignment: 7, round: 1, units: units.to_vec() };
        Underway::new(9, assignment, plan, &layouts, |_| &set)
    }

    fn sums(correct: u64) -> UnitSums {
        UnitSums { losses: vec![1], correct, ..UnitSums::default() }
    }

    #[test]
    fn segments_follow_shards_and_examples_are_counted() {
        let underway = underway(&[6..8, 9..15]).unwrap();
        let segment = |shard, units| Segment { shards: shard..shard + 1, units };
        let expected = [segment(0, 6..8), segment(1, 9..11), segment(2, 11..14), segment(3, 14..15)];
        assert_eq!(underway.pending, expected);
        assert_eq!(underway.pending_units(), 8);
        assert_eq!(underway.examples, 75);
    }

    #[test]
    fn a_replica_waits_for_all_shards_of_its_pool() {
        let work = Work::Local { steps: 2, learning_rate: 0.1, draw: 0 };
        let plan = RoundPlan { parts: vec![Part::in_turn(work, Set::Training, 2)], ..RoundPlan::default() };
        let mut underway = underway_of(&plan, &[0..2]).unwrap();
        // Examples 0..47 and 47..95, in shards of 30.
        assert_eq!(underway.pending_shards().collect::<Vec<_>>(), [0, 1, 1, 2, 3]);
        assert!(underway.give(1, 2, |shards| shards.end <= 1).is_empty());
        assert_eq!(underway.give(1, 2, |shards| shards.end <= 2).len(), 1);
        assert_eq!(underway.pending_units(), 1);
    }

    #[test]
    fn units_of_two_parts_or_none_are_refused() {
        assert!(underway(&[4..6]).is_none());
        assert!(underway(&[0..1, 7..8]).is_none());
        assert!(underway(&[14..16]).is_none());
        assert!(underway(&[20..21]).is_none());
        assert!(underway(&[]).is_none());
    }

    #[test]
    fn what_a_lost_compute_worker_had_is_given_out_again() {
        let mut underway = underway(&[5..15]).unwrap();
        assert_eq!(underway.give(1, 4, |_| true).len(), 2);
        underway.done(1);
        underway.give(2, 6, |_| true);
        assert_eq!(underway.collect(), [1]);
        underway.lost(1);
        assert_eq!(underway.pending_units(), 4);
        assert!(underway.collected(1, sums(50)));
        assert_eq!(underway.sums, None);
        underway.give(2, 4, |_| true);
        underway.done(2);
        assert_eq!(underway.collect(), [2]);
        assert!(!underway.is_complete());
        assert!(underway.collected(2, sums(3)));
        assert!(underway.is_complete());
        assert_eq!(underway.take_sums().correct, 3);
    }

    #[test]
    fn sums_on_their_way_do_not_cover_units_given_since() {
        let mut underway = underway(&[5..7]).unwrap();
        underway.give(1, 1, |_| true);
        underway.give(2, 1, |_| true);
        underway.done(1);
        assert_eq!(underway.collect(), [1]);
        underway.lost(2);
        underway.give(1, 1, |_| true);
        assert!(underway.collected(1, sums(1)));
        assert!(!underway.is_complete());
        underway.done(1);
        assert_eq!(underway.collect(), [1]);
        assert!(underway.collected(1, sums(1)));
        assert!(underway.is_complete());
        assert_eq!(underway.take_sums().losses, [2]);
    }

    #[test]
    fn a_compute_worker_that_turns_to_something_else_is_asked_first() {
        let mut underway = underway(&[5..8]).unwrap();
        underway.give(1, 1, |_| true);
        assert!(!underway.collect_from(1) && !underway.collect_from(2));
        underway.done(1);
        assert!(underway.collect_from(1));
        assert!(!underway.collect_from(1));
        assert!(underway.collected(1, sums(1)));
        assert!(!underway.is_complete());
        underway.give(1, 2, |_| true);
        underway.done(1);
        assert_eq!(underway.collect(), [1]);
        assert!(underway.collected(1, sums(2)));
        assert_eq!(underway.take_sums().correct, 3);
    }
}
