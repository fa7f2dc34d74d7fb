//! The open round: which of its units are free, out with a volunteer, or done.
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
    /// Units that nobody has.
    pub(super) free: BTreeSet<u32>,
    /// Units set aside while the referee looks at one of them.
    suspended: Vec<Range<u32>>,
    groups: BTreeMap<u64, Group>,
    /// Which group an assignment is a copy of, and who has it.
    copies: BTreeMap<u64, Copy>,
    /// Units without an accepted result.
    open: u32,
    /// When the round began or a result was last accepted.
    pub(super) progress_ms: u64,
}

/// Units that went out together.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) units: Vec<Range<u32>>,
    pub(super) part: usize,
    /// When the newest copy went out.
    pub(super) issued_ms: u64,
    /// Assignments that are copies of it, still out.
    pub(super) copies: BTreeSet<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Copy {
    group: u64,
    session: u64,
    issued_ms: u64,
}

/// What a session was asked when it was given an assignment.
#[derive(Debug)]
pub(super) struct Issued {
    pub(super) part: usize,
    pub(super) units: Vec<Range<u32>>,
    pub(super) issued_ms: u64,
}

impl Round {
    pub(super) fn new(plan: RoundPlan, vectors: Vec<Arc<[f32]>>, parameters: usize, now_ms: u64) -> Round {
        let units = plan.units();
        Round {
            sums: Sums::new(&plan, parameters),
            plan,
            vectors,
            free: (0..units).collect(),
            suspended: Vec::new(),
            groups: BTreeMap::new(),
            copies: BTreeMap::new(),
            open: units,
            progress_ms: now_ms,
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.open == 0
    }

    /// Units with an accepted result.
    pub(super) fn done(&self) -> u32 {
        self.plan.units() - self.open
    }

    /// Groups that are out, oldest first.
    pub(super) fn groups(&self) -> impl Iterator<Item = (u64, &Group)> {
        self.groups.iter().map(|(&id, group)| (id, group))
    }

    /// Whether `session` has a copy of the group.
    pub(super) fn has_copy(&self, group: &Group, session: u64) -> bool {
        group.copies.iter().any(|copy| self.copies[copy].session == session)
    }

    /// Hands out units that are free, as assignment number `assignment`.
    pub(super) fn issue(&mut self, assignment: u64, session: u64, part: usize, units: Vec<Range<u32>>, now_ms: u64) {
        for unit in units.iter().cloned().flatten() {
            let was_free = self.free.remove(&unit);
            assert!(was_free, "only free units are handed out");
        }
        let copies = BTreeSet::from([assignment]);
        self.groups.insert(assignment, Group { units, part, issued_ms: now_ms, copies });
        self.copies.insert(assignment, Copy { group: assignment, session, issued_ms: now_ms });
    }

    /// Hands out a further copy of a group; answers with its units.
    pub(super) fn back_up(&mut self, group: u64, assignment: u64, session: u64, now_ms: u64) -> Vec<Range<u32>> {
        let copied = self.groups.get_mut(&group).expect("only groups that are out are copied");
        copied.copies.insert(assignment);
        copied.issued_ms = now_ms;
        self.copies.insert(assignment, Copy { group, session, issued_ms: now_ms });
        copied.units.clone()
    }

    /// What `assignment` asks of `session`; `None` if it is not (or no longer) asked that.
    pub(super) fn issued(&self, assignment: u64, session: u64) -> Option<Issued> {
        let copy = self.copies.get(&assignment).filter(|copy| copy.session == session)?;
        let group = &self.groups[&copy.group];
        Some(Issued { part: group.part, units: group.units.clone(), issued_ms: copy.issued_ms })
    }

    /// Counts the assignment's group as done. Answers with every copy that is thereby over.
    pub(super) fn settle(&mut self, assignment: u64, now_ms: u64) -> Vec<(u64, u64)> {
        let copy = self.copies[&assignment];
        let group = self.groups.remove(&copy.group).expect("a copy's group is out");
        self.open -= group.units.iter().map(|range| range.end - range.start).sum::<u32>();
        self.progress_ms = now_ms;
        let mut over = Vec::new();
        for copy in group.copies {
            let session = self.copies.remove(&copy).expect("a group knows its copies").session;
            over.push((copy, session));
        }
        over
    }

    /// Takes an assignment back. Its units are free again unless another copy is out.
    pub(super) fn take_back(&mut self, assignment: u64) {
        if let Some(units) = self.remove_copy(assignment) {
            self.free.extend(units.into_iter().flatten());
        }
    }

    /// Takes an assignment back and sets its units aside until [`Round::release_suspended`].
    pub(super) fn suspend(&mut self, assignment: u64) {
        if let Some(units) = self.remove_copy(assignment) {
            self.suspended.extend(units);
        }
    }

    /// Frees the units set aside.
    pub(super) fn release_suspended(&mut self) {
        self.free.extend(self.suspended.drain(..).flatten());
    }

    fn remove_copy(&mut self, assignment: u64) -> Option<Vec<Range<u32>>> {
        let copy = self.copies.remove(&assignment)?;
        let group = self.groups.get_mut(&copy.group).expect("a copy's group is out");
        group.copies.remove(&assignment);
        if !group.copies.is_empty() {
            return None;
        }
        self.groups.remove(&copy.group).map(|group| group.units)
    }
}
