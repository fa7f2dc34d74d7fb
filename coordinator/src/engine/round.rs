//! The open round: which of its units are free, out with volunteers, or done.
//!
//! Units leave in groups, one for each first assignment; a backup task is a further copy of a whole
//! group. The first valid result of any copy settles the group, all later ones are ignored: so no
//! unit is ever counted twice.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use protocol::plan::RoundPlan;

use super::aggregator::Sums;

/// A round under way.
#[derive(Debug)]
pub(super) struct Round {
    pub(super) plan: RoundPlan,
    /// The weights, and for a scalars-only round the direction.
    pub(super) vectors: Vec<Arc<[f32]>>,
    pub(super) sums: Sums,
    /// Units that nobody has, for each part.
    free: Vec<BTreeSet<u32>>,
    groups: BTreeMap<u64, Group>,
    /// Which group an assignment is a copy of.
    copies: BTreeMap<u64, u64>,
    /// Units without an accepted result.
    open: u32,
}

/// Units that went out together, all of one part.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) part: usize,
    pub(super) units: Vec<Range<u32>>,
    /// When the newest copy went out.
    pub(super) issued_ms: u64,
    /// Assignments that are copies of it, still out.
    pub(super) copies: Vec<u64>,
}

impl Round {
    pub(super) fn new(plan: RoundPlan, vectors: Vec<Arc<[f32]>>, parameters: usize) -> Round {
        let mut begins = 0;
        let units_of_part = |units: u32| {
            let first = begins;
            begins += units;
            (first..begins).collect()
        };
        Round {
            sums: Sums::new(&plan, parameters),
            free: plan.parts.iter().map(|part| part.units).map(units_of_part).collect(),
            open: plan.units(),
            plan,
            vectors,
            groups: BTreeMap::new(),
            copies: BTreeMap::new(),
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.open == 0
    }

    /// Units with an accepted result.
    pub(super) fn done(&self) -> u32 {
        self.plan.units() - self.open
    }

    /// The round's units of each part that nobody has.
    pub(super) fn free(&self) -> &[BTreeSet<u32>] {
        &self.free
    }

    /// Groups that are out, oldest first.
    pub(super) fn groups(&self) -> impl Iterator<Item = (u64, &Group)> {
        self.groups.iter().map(|(id, group)| (*id, group))
    }

    /// The group that an assignment is a copy of; `None` once the group is settled or given up.
    pub(super) fn group_of(&self, assignment: u64) -> Option<&Group> {
        self.copies.get(&assignment).map(|group| &self.groups[group])
    }

    /// Hands out units that are free, as assignment number `assignment`.
    pub(super) fn issue(&mut self, assignment: u64, part: usize, units: Vec<Range<u32>>, now_ms: u64) {
        for unit in units.iter().cloned().flatten() {
            let was_free = self.free[part].remove(&unit);
            assert!(was_free, "only free units are handed out");
        }
        self.groups.insert(assignment, Group { part, units, issued_ms: now_ms, copies: vec![assignment] });
        self.copies.insert(assignment, assignment);
    }

    /// Hands out a further copy of a group; answers with the group.
    pub(super) fn back_up(&mut self, group: u64, assignment: u64, now_ms: u64) -> &Group {
        self.copies.insert(assignment, group);
        let group = self.groups.get_mut(&group).expect("only groups that are out are copied");
        group.copies.push(assignment);
        group.issued_ms = now_ms;
        group
    }

    /// Counts the group of a copy as done, which is thereby over with all its copies.
    pub(super) fn settle(&mut self, assignment: u64) {
        let group = self.copies.get(&assignment).and_then(|group| self.groups.remove(group));
        let group = group.expect("only copies that are out are settled");
        for copy in &group.copies {
            self.copies.remove(copy);
        }
        self.open -= group.units.iter().map(|range| range.end - range.start).sum::<u32>();
    }

    /// Takes an assignment back, if it is out. Its units are free again unless another copy is out.
    pub(super) fn take_back(&mut self, assignment: u64) {
        if let Some(group) = self.remove_copy(assignment) {
            self.free[group.part].extend(group.units.into_iter().flatten());
        }
    }

    /// Takes an assignment back and gives its units to nobody else, because the round will begin
    /// anew before that could be of use.
    pub(super) fn withdraw(&mut self, assignment: u64) {
        self.remove_copy(assignment);
    }

    /// Answers with the group if this was its last copy.
    fn remove_copy(&mut self, assignment: u64) -> Option<Group> {
        let id = self.copies.remove(&assignment)?;
        let group = self.groups.get_mut(&id).expect("a copy's group is out");
        group.copies.retain(|copy| *copy != assignment);
        if group.copies.is_empty() { self.groups.remove(&id) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use protocol::plan::{Part, Set, Work};

    use super::*;

    fn round() -> Round {
        let part = |work, set, units| Part { work, set, units };
        let parts = vec![part(Work::Gradient, Set::Training, 4), part(Work::Evaluation, Set::Test, 2)];
        let plan = RoundPlan {
            round: 1,
            version: 1,
            gradient_exponent: 0,
            loss_exponent: 0,
            evaluation_exponent: 0,
            parts,
        };
        Round::new(plan, vec![Arc::from([0.0])], 1)
    }

    fn free(round: &Round) -> Vec<u32> {
        round.free().iter().flatten().copied().collect()
    }

    #[test]
    fn a_group_is_settled_once_whichever_copy_is_first() {
        let mut round = round();
        round.issue(1, 0, vec![0..2, 3..4], 0);
        assert_eq!(free(&round), [2, 4, 5]);
        round.back_up(1, 2, 10);
        round.settle(2);
        assert_eq!(round.done(), 3);
        assert!(round.group_of(1).is_none() && round.group_of(2).is_none());
        round.take_back(1);
        assert_eq!(free(&round), [2, 4, 5]);
    }

    #[test]
    fn units_are_free_again_when_the_last_copy_is_taken_back() {
        let mut round = round();
        round.issue(1, 1, vec![4..6], 0);
        round.back_up(1, 2, 10);
        round.take_back(1);
        assert_eq!(free(&round), [0, 1, 2, 3]);
        round.take_back(2);
        assert_eq!(free(&round), [0, 1, 2, 3, 4, 5]);
        round.issue(3, 1, vec![4..6], 20);
        round.settle(3);
        round.issue(4, 0, vec![0..4], 20);
        assert!(!round.is_complete());
        round.settle(4);
        assert!(round.is_complete());
    }

    #[test]
    fn withdrawn_units_go_to_nobody_else() {
        let mut round = round();
        round.issue(1, 0, vec![0..4], 0);
        round.withdraw(1);
        assert_eq!(free(&round), [4, 5]);
        assert_eq!(round.done(), 0);
    }
}
