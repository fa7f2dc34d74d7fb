//! The open round: which of its units are free, out with volunteers, or done.
//!
//! Units leave in groups, one for each first assignment; a backup task is a further copy of a whole
//! group. The first valid result of any copy settles the group, all later ones are ignored: so no
//! unit is ever counted twice. Who turns out to be a liar is [expelled](Round::expel): its results leave the
//! sums, and their units are free again.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use protocol::message::ResultHeader;
use protocol::plan::{Part, RoundPlan, Set, SetPlan, SetPlans, UnitLayout, Work};

use super::aggregator::Sums;
use super::checks::Checks;
use super::fingerprint::Fingerprint;
use super::ledger::{Contributor, Ledger};
use super::standing::Identity;
use super::volunteers::Task;

/// How the examples of a run are cut and drawn.
#[derive(Debug, Clone, Copy)]
pub(super) struct RunPlan<'a> {
    pub(super) sets: &'a SetPlans,
    /// Keys the run's random orders.
    pub(super) seed: u64,
    /// Examples of one gradient step.
    pub(super) minibatch: u32,
}

impl<'a> RunPlan<'a> {
    pub(super) fn of(&self, set: Set) -> &'a SetPlan {
        self.sets.of(set)
    }

    /// How many losses a part sums, each use of an example counted, and of how many minibatches.
    pub(super) fn size(&self, part: &Part, layout: &UnitLayout) -> (u64, u64) {
        let minibatch = u64::from(self.minibatch);
        let set = self.of(part.set);
        let lengths = (0..part.units).map(|unit| layout.examples_of(set, unit).len() as u64);
        match part.work {
            Work::Local { steps, .. } => {
                let steps = u64::from(steps);
                (lengths.map(|pool| steps * minibatch.min(pool)).sum(), steps * u64::from(part.units))
            }
            Work::Gradient | Work::Losses { .. } | Work::Evaluation => {
                let minibatches = lengths.clone().map(|length| length.div_ceil(minibatch)).sum();
                (lengths.sum(), minibatches)
            }
        }
    }
}

/// A round under way.
#[derive(Debug)]
pub(super) struct Round {
    pub(super) plan: RoundPlan,
    /// The weights, and for a scalars-only round the direction.
    pub(super) vectors: Vec<Arc<[f32]>>,
    ledger: Ledger,
    parts: Vec<PartState>,
    groups: BTreeMap<u64, Group>,
    /// Which group an assignment is a copy of.
    copies: BTreeMap<u64, u64>,
    /// Groups whose results are in the sums.
    settled: BTreeMap<u64, Settled>,
    /// Which of them others compute too.
    pub(super) checks: Checks,
    /// Units without an accepted result.
    open: u32,
    /// Whether advice was given on the time that it took.
    pub(super) is_timed: bool,
    /// Whether it was opened again because something had vanished at the scales of before.
    pub(super) refined: bool,
}

/// One part's units.
#[derive(Debug)]
pub(super) struct PartState {
    /// The first of the round's units that belong to it.
    pub(super) begins: u32,
    /// Which examples each covers.
    pub(super) layout: UnitLayout,
    /// What a full unit costs, in passes of one example forward through the network; backward takes about as
    /// long as two.
    pub(super) unit_cost: f64,
    pub(super) free: FreeUnits,
}

/// Units of one part that nobody has, numbered through the round, by the first of the shards that each needs.
#[derive(Debug)]
pub(super) struct FreeUnits {
    by_shard: BTreeMap<u32, BTreeSet<u32>>,
    count: usize,
    begins: u32,
    /// The first shard that each of the part's units needs.
    homes: Vec<u32>,
}

impl FreeUnits {
    /// All units of a part that begins at unit `begins`, with the first shard of each.
    fn all(begins: u32, homes: Vec<u32>) -> FreeUnits {
        let mut free = FreeUnits { by_shard: BTreeMap::new(), count: 0, begins, homes };
        (begins..begins + free.homes.len() as u32).for_each(|unit| free.insert(unit));
        free
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The free units whose first shard this is, in increasing order.
    pub(super) fn at(&self, shard: u32) -> impl Iterator<Item = u32> {
        self.by_shard.get(&shard).into_iter().flatten().copied()
    }

    /// First shards of free units, in increasing order.
    pub(super) fn shards(&self) -> impl Iterator<Item = u32> {
        self.by_shard.keys().copied()
    }

    /// How many those are.
    pub(super) fn shard_count(&self) -> usize {
        self.by_shard.len()
    }

    fn home(&self, unit: u32) -> u32 {
        self.homes[(unit - self.begins) as usize]
    }

    fn insert(&mut self, unit: u32) {
        let is_new = self.by_shard.entry(self.home(unit)).or_default().insert(unit);
        self.count += usize::from(is_new);
    }

    /// Answers whether the unit was free.
    fn remove(&mut self, unit: u32) -> bool {
        let home = self.home(unit);
        let Some(units) = self.by_shard.get_mut(&home) else { return false };
        let was_free = units.remove(&unit);
        if units.is_empty() {
            self.by_shard.remove(&home);
        }
        self.count -= usize::from(was_free);
        was_free
    }
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

/// A group whose result is in the sums.
#[derive(Debug)]
pub(super) struct Settled {
    /// Its copies are further ones that are still out.
    pub(super) group: Group,
    /// The session whose result it is, and who that is; the coordinator's own is not doubted.
    pub(super) session: u64,
    pub(super) identity: Identity,
    pub(super) is_own: bool,
    /// What others' results are compared with; `None` where nothing is compared.
    pub(super) fingerprint: Option<Fingerprint>,
    /// Whether somebody else's result was the same.
    pub(super) is_checked: bool,
}

impl Settled {
    /// Whether nobody but the sender vouches for the result.
    pub(super) fn is_doubtful(&self) -> bool {
        !self.is_own && !self.is_checked
    }
}

/// Who sends a result.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sender {
    pub(super) session: u64,
    pub(super) identity: Identity,
    pub(super) is_newcomer: bool,
    /// Whether it is the coordinator's own worker.
    pub(super) is_own: bool,
}

impl Round {
    pub(super) fn new(
        plan: RoundPlan,
        vectors: Vec<Arc<[f32]>>,
        parameters: usize,
        run: RunPlan<'_>,
    ) -> Round {
        let mut begins = 0;
        let mut parts = Vec::new();
        for part in &plan.parts {
            let set = run.of(part.set);
            let layout = part.lay_out(set, run.seed);
            let home = |unit| layout.shards_of(set, unit).start;
            let free = FreeUnits::all(begins, (0..part.units).map(home).collect());
            let examples = f64::from(set.examples_per_unit);
            let unit_cost = match &part.work {
                Work::Gradient => 3.0 * examples,
                Work::Evaluation => examples,
                Work::Losses { steps } => steps.len() as f64 * examples,
                Work::Local { steps, .. } => 3.0 * f64::from(*steps) * f64::from(run.minibatch),
            };
            parts.push(PartState { begins, layout, unit_cost, free });
            begins += part.units;
        }
        Round {
            ledger: Ledger::new(&plan, parameters),
            open: plan.units(),
            plan,
            vectors,
            parts,
            groups: BTreeMap::new(),
            copies: BTreeMap::new(),
            settled: BTreeMap::new(),
            checks: Checks::default(),
            is_timed: false,
            refined: false,
        }
    }

    /// Whether all units are accounted for and all that was to be checked is.
    pub(super) fn is_complete(&self) -> bool {
        self.open == 0 && self.checks.is_empty()
    }

    /// Units with an accepted result.
    pub(super) fn done(&self) -> u32 {
        self.plan.units() - self.open
    }

    /// The units of each part.
    pub(super) fn parts(&self) -> &[PartState] {
        &self.parts
    }

    /// Examples that units of a part cover together.
    pub(super) fn examples(&self, run: RunPlan<'_>, part: usize, units: &[Range<u32>]) -> u64 {
        let (state, set) = (&self.parts[part], run.of(self.plan.parts[part].set));
        let examples = |unit: u32| state.layout.examples_of(set, unit - state.begins).len() as u64;
        units.iter().cloned().flatten().map(examples).sum()
    }

    /// The shards that units of a part need.
    pub(super) fn shards(&self, run: RunPlan<'_>, part: usize, units: &[Range<u32>]) -> Vec<(Set, u32)> {
        let (state, set) = (&self.parts[part], self.plan.parts[part].set);
        let shards = |unit: u32| state.layout.shards_of(run.of(set), unit - state.begins);
        let mut shards: Vec<_> =
            units.iter().cloned().flatten().flat_map(shards).map(|shard| (set, shard)).collect();
        shards.sort_unstable();
        shards.dedup();
        shards
    }

    /// Groups that are out, oldest first.
    pub(super) fn groups(&self) -> impl Iterator<Item = (u64, &Group)> {
        self.groups.iter().map(|(id, group)| (*id, group))
    }

    /// The work that a known group is.
    pub(super) fn task(&self, id: u64) -> Option<Task> {
        self.group(id).map(|group| self.task_of(group.part, &group.units))
    }

    /// The work that units of a part are.
    pub(super) fn task_of(&self, part: usize, units: &[Range<u32>]) -> Task {
        let units = count(units);
        let cost = f64::from(units) * self.parts[part].unit_cost;
        Task { cost, units, local: matches!(self.plan.parts[part].work, Work::Local { .. }) }
    }

    /// How many groups are out, or are checked.
    pub(super) fn out(&self) -> usize {
        self.groups.len() + self.checks.len()
    }

    /// A group that is out, or settled.
    pub(super) fn group(&self, id: u64) -> Option<&Group> {
        self.groups.get(&id).or_else(|| self.settled.get(&id).map(|settled| &settled.group))
    }

    /// The group that an assignment is a copy of; `None` once the group is settled or given up.
    pub(super) fn group_of(&self, assignment: u64) -> Option<&Group> {
        self.groups.get(self.copies.get(&assignment)?)
    }

    /// Hands out units that are free, as assignment number `assignment`.
    pub(super) fn issue(&mut self, assignment: u64, part: usize, units: Vec<Range<u32>>, now_ms: u64) {
        for unit in units.iter().cloned().flatten() {
            let was_free = self.parts[part].free.remove(unit);
            assert!(was_free, "only free units are handed out");
        }
        self.groups.insert(assignment, Group { part, units, issued_ms: now_ms, copies: vec![assignment] });
        self.copies.insert(assignment, assignment);
    }

    /// Hands out a further copy of a group; answers with the group.
    pub(super) fn back_up(&mut self, group: u64, assignment: u64, now_ms: u64) -> &Group {
        self.copies.insert(assignment, group);
        let settled = self.settled.get_mut(&group).map(|settled| &mut settled.group);
        let group = settled.or_else(|| self.groups.get_mut(&group)).expect("only known groups are copied");
        group.copies.push(assignment);
        group.issued_ms = now_ms;
        group
    }

    /// Adds a copy's result, which the validator has passed, to the sums. Its group is thereby over: no other
    /// copy's result is counted. Answers with the group's number.
    pub(super) fn settle(
        &mut self,
        assignment: u64,
        sender: Sender,
        result: (&ResultHeader, Option<&[i64]>),
        fingerprint: Option<Fingerprint>,
    ) -> u64 {
        let id = self.copies.remove(&assignment);
        let group = id.and_then(|id| Some((id, self.groups.remove(&id)?)));
        let (id, mut group) = group.expect("only copies that are out are settled");
        group.copies.retain(|copy| *copy != assignment);
        let Sender { session, identity, is_newcomer, is_own } = sender;
        self.ledger.add(&self.plan, group.part, id, Contributor { session, is_newcomer }, result);
        self.open -= count(&group.units);
        let settled = Settled { group, session, identity, is_own, fingerprint, is_checked: false };
        self.settled.insert(id, settled);
        id
    }

    /// Takes a session's results out of the sums; their units are free again, unless a copy is out. Where the
    /// session shares its sums with others (see [`Ledger`]), so are theirs. Answers with how many units are to be
    /// done again.
    pub(super) fn expel(&mut self, session: u64) -> u32 {
        let mut again = 0;
        for id in self.ledger.take_out(session) {
            let Settled { group, .. } = self.settled.remove(&id).expect("a group in the sums is settled");
            self.checks.forget(id);
            again += count(&group.units);
            if group.copies.is_empty() {
                self.free(group);
            } else {
                self.groups.insert(id, group);
            }
        }
        self.open += again;
        again
    }

    /// The number of the settled group that a copy belongs to.
    pub(super) fn settled_of(&self, assignment: u64) -> Option<u64> {
        self.copies.get(&assignment).copied().filter(|id| self.settled.contains_key(id))
    }

    /// A settled group.
    pub(super) fn settled(&self, id: u64) -> Option<&Settled> {
        self.settled.get(&id)
    }

    /// All settled groups.
    pub(super) fn all_settled(&self) -> impl Iterator<Item = (u64, &Settled)> {
        self.settled.iter().map(|(id, settled)| (*id, settled))
    }

    /// A copy of a settled group has been answered. Answers with the group's number.
    pub(super) fn answered(&mut self, assignment: u64) -> Option<u64> {
        let id = self.copies.remove(&assignment)?;
        let settled = self.settled.get_mut(&id)?;
        settled.group.copies.retain(|copy| *copy != assignment);
        Some(id)
    }

    /// Notes that a settled group's result proved right.
    pub(super) fn vouch(&mut self, id: u64) {
        self.checks.forget(id);
        if let Some(settled) = self.settled.get_mut(&id) {
            settled.is_checked = true;
        }
    }

    /// Has a settled group computed by somebody else too, before the round is over.
    pub(super) fn want(&mut self, id: u64, now_ms: u64) {
        if self.settled.get(&id).is_some_and(Settled::is_doubtful) {
            self.checks.want(id, now_ms);
        }
    }

    /// The session whose result covers this unit, if that has come.
    pub(super) fn who_did(&self, unit: u32) -> Option<u64> {
        let covers = |settled: &&Settled| settled.group.units.iter().any(|range| range.contains(&unit));
        self.settled.values().find(covers).map(|settled| settled.session)
    }

    /// Units with an accepted result, in ranges.
    pub(super) fn accounted(&self) -> impl Iterator<Item = Range<u32>> {
        self.settled.values().flat_map(|settled| settled.group.units.iter().cloned())
    }

    /// Adds up what all have contributed. Call this before [`Round::sums`].
    pub(super) fn add_up(&mut self) {
        self.ledger.add_up(&self.plan);
    }

    /// The sums of all accepted results.
    pub(super) fn sums(&self) -> &Sums {
        self.ledger.sums()
    }

    /// Takes an assignment back, if it is out. Its units are free again unless another copy is out.
    pub(super) fn take_back(&mut self, assignment: u64) {
        if let Some(group) = self.remove_copy(assignment) {
            self.free(group);
        }
    }

    /// Takes an assignment back and gives its units to nobody else, because the round will most likely
    /// begin anew before that could be of use. Answers with the group, for [`Round::restore`], if no other copy
    /// is out.
    pub(super) fn withdraw(&mut self, assignment: u64) -> Option<Group> {
        self.remove_copy(assignment)
    }

    /// Frees the units of a group that was withdrawn.
    pub(super) fn restore(&mut self, group: Group) {
        self.free(group);
    }

    fn free(&mut self, group: Group) {
        self.free_units(group.part, group.units);
    }

    fn free_units(&mut self, part: usize, units: Vec<Range<u32>>) {
        let free = &mut self.parts[part].free;
        units.into_iter().flatten().for_each(|unit| free.insert(unit));
    }

    /// Answers with the group if this was its last copy.
    fn remove_copy(&mut self, assignment: u64) -> Option<Group> {
        let id = self.copies.remove(&assignment)?;
        if let Some(settled) = self.settled.get_mut(&id) {
            settled.group.copies.retain(|copy| *copy != assignment);
            if settled.group.copies.is_empty() {
                self.checks.abandon(id);
            }
            return None;
        }
        let group = self.groups.get_mut(&id).expect("a copy's group is out or settled");
        group.copies.retain(|copy| *copy != assignment);
        if group.copies.is_empty() { self.groups.remove(&id) } else { None }
    }
}

/// How many units the ranges hold.
pub(super) fn count(units: &[Range<u32>]) -> u32 {
    units.iter().map(|range| range.end - range.start).sum()
}

#[cfg(test)]
pub(super) mod tests {
    use protocol::plan::ShardRef;

    use super::*;

    /// Two shards of two training units each, and one of two test units.
    pub(crate) fn sets() -> SetPlans {
        let set = |units: u32| SetPlan {
            examples: 5 * units,
            examples_per_unit: 5,
            units_per_shard: 2,
            shards: vec![ShardRef { hash: [0; 32], bytes: 1 }; units.div_ceil(2) as usize],
        };
        SetPlans { training: set(4), validation: set(0), test: set(2) }
    }

    pub(crate) fn round() -> Round {
        let part = Part::in_turn;
        let parts = vec![part(Work::Gradient, Set::Training, 4), part(Work::Evaluation, Set::Test, 2)];
        let plan = RoundPlan { round: 1, version: 1, parts, ..RoundPlan::default() };
        let run = RunPlan { sets: &sets(), seed: 1, minibatch: 5 };
        Round::new(plan, vec![Arc::from([0.0])], 1, run)
    }

    fn free(round: &Round) -> Vec<u32> {
        let free = |state: &PartState| state.free.shards().flat_map(|shard| state.free.at(shard)).collect();
        round.parts().iter().flat_map(|state| -> Vec<u32> { free(state) }).collect()
    }

    /// Settles a training group with a loss and an element of this size, or a test group with the loss alone.
    fn settle(round: &mut Round, assignment: u64, session: u64, value: i64) {
        let has_vector = round.plan.parts[round.group_of(assignment).unwrap().part].work.has_vector();
        let header = ResultHeader { losses: vec![value], ..ResultHeader::default() };
        let identity = Identity { token: session.into(), address: session.into() };
        let sender = Sender { session, identity, is_newcomer: true, is_own: false };
        let vector = [value];
        round.settle(assignment, sender, (&header, has_vector.then_some(&vector[..])), None);
    }

    #[test]
    fn a_group_is_settled_once_whichever_copy_is_first() {
        let mut round = round();
        round.issue(1, 0, vec![0..2, 3..4], 0);
        assert_eq!(free(&round), [2, 4, 5]);
        round.back_up(1, 2, 10);
        settle(&mut round, 2, 20, 1);
        assert_eq!(round.who_did(3), Some(20));
        assert_eq!(round.who_did(2), None);
        assert_eq!(round.done(), 3);
        assert!(round.group_of(1).is_none() && round.group_of(2).is_none());
        assert_eq!(round.expel(20), 3);
        assert_eq!(free(&round), [2, 4, 5], "the other copy is still out");
        settle(&mut round, 1, 21, 1);
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
        settle(&mut round, 3, 10, 1);
        round.issue(4, 0, vec![0..4], 20);
        assert!(!round.is_complete());
        settle(&mut round, 4, 10, 1);
        assert!(round.is_complete());
    }

    #[test]
    fn only_the_units_of_whoever_is_expelled_are_done_again() {
        let mut round = round();
        round.issue(1, 0, vec![0..1], 0);
        round.issue(2, 0, vec![1..4], 0);
        round.issue(3, 1, vec![4..6], 0);
        for (assignment, session) in [(1, 10), (2, 11), (3, 10)] {
            settle(&mut round, assignment, session, 1 << assignment);
        }
        assert!(round.is_complete());
        round.add_up();
        assert_eq!(round.sums().parts[0].vector, [0b110]);
        assert_eq!(round.expel(10), 3);
        assert_eq!(free(&round), [0, 4, 5]);
        assert_eq!((round.done(), round.expel(10)), (3, 0));
        assert_eq!(round.accounted().collect::<Vec<_>>(), [1..4]);
        round.issue(4, 0, vec![0..1], 0);
        settle(&mut round, 4, 12, 1 << 4);
        round.add_up();
        assert_eq!(round.sums().parts[0].vector, [0b10100]);
    }

    #[test]
    fn withdrawn_units_go_to_nobody_else_until_they_are_restored() {
        let mut round = round();
        round.issue(1, 0, vec![0..4], 0);
        let withdrawn = round.withdraw(1).unwrap();
        assert_eq!(free(&round), [4, 5]);
        assert_eq!(round.done(), 0);
        round.restore(withdrawn);
        assert_eq!(free(&round), [0, 1, 2, 3, 4, 5]);
    }
}
