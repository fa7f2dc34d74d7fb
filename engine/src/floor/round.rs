//! The open round: which of the floor's units are free, out with volunteers, or done.
//!
//! It begins without units, and is [granted](Round::grant) some. Units leave in groups, one for each first
//! assignment; a backup task is a further copy of a whole group. The first valid result of any copy settles the
//! group, all later ones are ignored: so no unit is ever counted twice. Who turns out to be a liar is
//! [expelled](Round::expel): its results leave the sums, and their units are free again.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use protocol::message::ResultHeader;
use protocol::plan::{RoundPlan, Set, UnitLayout, Work};

use super::checks::Checks;
use super::fingerprint::Fingerprint;
use super::free::FreeUnits;
use super::horizon::Horizon;
use super::shares::{Contributor, Shares};
use super::standing::Identity;
use super::volunteers::Task;
use crate::ledger::Partial;
use crate::settings::RunPlan;
use crate::units::{Units, count};

/// A round under way.
#[derive(Debug)]
pub(super) struct Round {
    pub(super) plan: RoundPlan,
    shares: Shares,
    parts: Vec<PartState>,
    layouts: Arc<[UnitLayout]>,
    groups: BTreeMap<u64, Group>,
    /// Which group an assignment is a copy of.
    copies: BTreeMap<u64, u64>,
    /// Those copies of settled groups that are checks: whoever has one was drawn by lot.
    drawn: BTreeSet<u64>,
    /// Groups whose results are in the sums.
    settled: BTreeMap<u64, Settled>,
    /// Which of them others compute too.
    pub(super) checks: Checks,
    /// When the free units should be done.
    pub(super) horizon: Horizon,
    /// Units that were granted.
    granted: u32,
    /// Those without an accepted result.
    open: u32,
    /// Partial sums that were handed in.
    partials: u64,
    /// The last one, as long as what it is made of is at hand.
    handed_in: Option<u64>,
}

/// One part's units.
#[derive(Debug)]
pub(super) struct PartState {
    /// The first of the round's units that belong to it.
    pub(super) begins: u32,
    /// What a full unit costs, in passes of one example forward through the network; backward takes about as
    /// long as two.
    pub(super) unit_cost: f64,
    pub(super) free: FreeUnits,
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
    /// The partial sum that it was handed in with.
    pub(super) partial: Option<u64>,
    /// The session whose result it is, and who that is; the coordinator's own is not doubted.
    pub(super) session: u64,
    pub(super) identity: Identity,
    pub(super) is_own: bool,
    /// What others' results are compared with; `None` where nothing is compared.
    pub(super) fingerprint: Option<Fingerprint>,
    /// Whether the coordinator's own computation came to the same.
    pub(super) is_certain: bool,
    /// The sessions of volunteers who were drawn to check it and came to the same, and who those are.
    pub(super) vouchers: Vec<(u64, Identity)>,
}

impl Settled {
    /// Whether nobody but the sender vouches for the result.
    pub(super) fn is_doubtful(&self) -> bool {
        !self.is_own && !self.is_certain && self.vouchers.is_empty()
    }

    /// Who alone vouches for the result, if that is one volunteer.
    pub(super) fn only_voucher(&self) -> Option<Identity> {
        match self.vouchers[..] {
            [(_, voucher)] if !self.is_own && !self.is_certain => Some(voucher),
            _ => None,
        }
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
    /// A round without units. `layouts` are those of the plan's parts.
    pub(super) fn new(
        plan: RoundPlan,
        layouts: &Arc<[UnitLayout]>,
        parameters: usize,
        run: RunPlan<'_>,
    ) -> Round {
        let mut begins = 0;
        let mut parts = Vec::new();
        for (part, layout) in plan.parts.iter().zip(layouts.iter()) {
            let set = run.of(part.set);
            let home = |unit| layout.shards_of(set, unit).start;
            let free = FreeUnits::none(begins, (0..part.units).map(home).collect());
            let examples = f64::from(set.examples_per_unit);
            let unit_cost = match &part.work {
                Work::Gradient => 3.0 * examples,
                Work::Evaluation | Work::Examination => examples,
                Work::Losses { steps } => steps.len() as f64 * examples,
                Work::Local { steps, .. } => 3.0 * f64::from(*steps) * f64::from(run.minibatch),
            };
            parts.push(PartState { begins, unit_cost, free });
            begins += part.units;
        }
        Round {
            shares: Shares::new(&plan, parameters),
            plan,
            parts,
            layouts: Arc::clone(layouts),
            groups: BTreeMap::new(),
            copies: BTreeMap::new(),
            drawn: BTreeSet::new(),
            settled: BTreeMap::new(),
            checks: Checks::default(),
            horizon: Horizon::default(),
            granted: 0,
            open: 0,
            partials: 0,
            handed_in: None,
        }
    }

    /// Adds units, which nobody has yet.
    pub(super) fn grant(&mut self, units: Range<u32>) {
        self.horizon.forget();
        for (state, part) in self.parts.iter_mut().zip(&self.plan.parts) {
            let (begins, ends) = (state.begins, state.begins + part.units);
            let of_part = units.start.clamp(begins, ends)..units.end.clamp(begins, ends);
            let new = state.free.insert(of_part);
            self.granted += new;
            self.open += new;
        }
    }

    /// Takes away free units, at most so many, those of the last parts first.
    pub(super) fn give_back(&mut self, most: u32) -> Vec<Range<u32>> {
        let mut given = Vec::new();
        for state in self.parts.iter_mut().rev() {
            while let Some(range) = state.free.pop_last(most - count(&given)) {
                given.push(range);
            }
        }
        let given = Units::from_iter(given);
        self.granted -= given.len();
        self.open -= given.len();
        given.ranges().collect()
    }

    /// Whether all units that were granted are accounted for, and all that was to be checked is.
    pub(super) fn is_complete(&self) -> bool {
        self.open == 0 && self.checks.is_empty()
    }

    /// Units with an accepted result.
    pub(super) fn done(&self) -> u32 {
        self.granted - self.open
    }

    /// Units that were granted.
    pub(super) fn granted(&self) -> u32 {
        self.granted
    }

    /// Units that nobody has.
    pub(super) fn free(&self) -> u32 {
        self.parts.iter().map(|part| part.free.len()).sum()
    }

    /// The cost of these.
    pub(super) fn free_cost(&self) -> f64 {
        self.parts.iter().map(|part| f64::from(part.free.len()) * part.unit_cost).sum()
    }

    /// The cost of the whole round.
    pub(super) fn cost(&self) -> f64 {
        let parts = self.plan.parts.iter().zip(&self.parts);
        parts.map(|(part, state)| f64::from(part.units) * state.unit_cost).sum()
    }

    /// The units of each part.
    pub(super) fn parts(&self) -> &[PartState] {
        &self.parts
    }

    /// Examples that units of a part cover together.
    pub(super) fn examples(&self, run: RunPlan<'_>, part: usize, units: &[Range<u32>]) -> u64 {
        let (begins, set) = (self.parts[part].begins, run.of(self.plan.parts[part].set));
        let examples = |unit: u32| self.layouts[part].examples_of(set, unit - begins).len() as u64;
        units.iter().cloned().flatten().map(examples).sum()
    }

    /// The shards that units of a part need.
    pub(super) fn shards(&self, run: RunPlan<'_>, part: usize, units: &[Range<u32>]) -> Vec<(Set, u32)> {
        let (begins, set) = (self.parts[part].begins, self.plan.parts[part].set);
        let shards = |unit: u32| self.layouts[part].shards_of(run.of(set), unit - begins);
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
        for range in units.iter().cloned() {
            let wanted = range.end - range.start;
            let were_free = self.parts[part].free.remove(range);
            assert_eq!(were_free, wanted, "only free units are handed out");
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
        if self.handed_in.take().is_some() {
            self.shares.forget_handed_in();
        }
        let is_checked = |id| self.settled.get(&id).is_some_and(|settled| !settled.is_doubtful());
        let contributor = Contributor { session, is_newcomer };
        self.shares.add(&self.plan, group.part, id, contributor, result, is_checked);
        self.open -= count(&group.units);
        let settled = Settled {
            group,
            partial: None,
            session,
            identity,
            is_own,
            fingerprint,
            is_certain: false,
            vouchers: Vec::new(),
        };
        self.settled.insert(id, settled);
        id
    }

    /// Takes a session's results out of the sums; their units are free again, unless a copy is out. Where the
    /// session shares its sums with others (see [`Shares`]), so are theirs, and so are all of a partial sum that was
    /// handed in with one of its results and is not at hand any more. Answers with the partial sums that do not count.
    ///
    /// What is among the work of others because somebody vouched for it stays there. It is checked once more: whoever
    /// vouched may be in league.
    pub(super) fn expel(&mut self, session: u64) -> Vec<u64> {
        let of_session = self.settled.iter().filter(|(_, settled)| settled.session == session);
        let (vouched, of_session): (Vec<_>, Vec<_>) =
            of_session.partition(|(id, _)| self.shares.is_vouched_for(**id));
        let vouched: Vec<u64> = vouched.into_iter().map(|(id, _)| *id).collect();
        let of_session = of_session.into_iter();
        let (of_session, partials): (BTreeSet<u64>, Vec<Option<u64>>) =
            of_session.map(|(id, settled)| (*id, settled.partial)).unzip();
        let tainted: BTreeSet<u64> = partials.into_iter().flatten().collect();
        for id in vouched {
            if self.settled.get(&id).is_some_and(|settled| !settled.is_certain) {
                self.shares.doubt(id);
                self.checks.want(id);
            }
        }
        let taken = self.shares.take_out(session, &of_session);
        if taken.was_handed_in
            && let Some(number) = self.handed_in.take()
        {
            let rest = self.settled.values_mut().filter(|settled| settled.partial == Some(number));
            rest.for_each(|settled| settled.partial = None);
        }
        let mut again = taken.groups;
        let lost = self
            .settled
            .iter()
            .filter(|(_, settled)| settled.partial.is_some_and(|number| tainted.contains(&number)));
        again.extend(lost.map(|(id, _)| *id));
        again.into_iter().for_each(|id| self.do_again(id));
        tainted.into_iter().collect()
    }

    /// Partial sums that were handed in do not count any more: their units are free again, unless a copy is out.
    pub(super) fn undo(&mut self, partials: &[u64]) {
        if self.handed_in.take_if(|number| partials.contains(number)).is_some() {
            self.shares.forget_handed_in();
        }
        let lost = self
            .settled
            .iter()
            .filter(|(_, settled)| settled.partial.is_some_and(|number| partials.contains(&number)));
        let lost: Vec<u64> = lost.map(|(id, _)| *id).collect();
        lost.into_iter().for_each(|id| self.do_again(id));
    }

    /// The result of a settled group does not count.
    fn do_again(&mut self, id: u64) {
        let Settled { group, .. } = self.settled.remove(&id).expect("a group in the sums is settled");
        self.checks.forget(id);
        group.copies.iter().for_each(|copy| {
            self.drawn.remove(copy);
        });
        self.open += count(&group.units);
        if group.copies.is_empty() {
            self.free_units(group);
        } else {
            self.groups.insert(id, group);
        }
    }

    /// Whether anything is settled that is in no partial sum.
    pub(super) fn has_unsent(&self) -> bool {
        !self.shares.is_empty()
    }

    /// The sums of what is settled and in no partial sum, as far as it is checked; `None` if that is nothing.
    pub(super) fn take_partial(&mut self) -> Option<Partial> {
        let (groups, sums) = self.shares.hand_in(&self.plan, |group| self.checks.is_wanted(group))?;
        self.partials += 1;
        let number = self.partials;
        let mut units = Units::default();
        for id in groups {
            let settled = self.settled.get_mut(&id).expect("a group in the sums is settled");
            settled.partial = Some(number);
            settled.group.units.iter().cloned().for_each(|range| {
                units.insert(range);
            });
        }
        self.handed_in = Some(number);
        Some(Partial { number, units: units.ranges().collect(), sums })
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

    /// Notes that whoever has a copy of a settled group was drawn by lot to check it.
    pub(super) fn note_drawn(&mut self, assignment: u64) {
        self.drawn.insert(assignment);
    }

    /// Whether a copy is a check. One that is not went to whoever is fast, and proves nothing.
    pub(super) fn is_drawn(&self, assignment: u64) -> bool {
        self.drawn.contains(&assignment)
    }

    /// The copies of a settled group that are checks and are out.
    pub(super) fn drawn_copies(&self, id: u64) -> impl Iterator<Item = u64> {
        let copies = self.settled.get(&id).into_iter().flat_map(|settled| &settled.group.copies);
        copies.copied().filter(|copy| self.drawn.contains(copy))
    }

    /// A copy of a settled group has been answered. Answers with the group's number.
    pub(super) fn answered(&mut self, assignment: u64) -> Option<u64> {
        self.drawn.remove(&assignment);
        let id = self.copies.remove(&assignment)?;
        let settled = self.settled.get_mut(&id)?;
        settled.group.copies.retain(|copy| *copy != assignment);
        Some(id)
    }

    /// Notes that a settled group's result proved right, because this volunteer's was the same, or by the coordinator's
    /// own computation.
    pub(super) fn vouch(&mut self, id: u64, by: Option<(u64, Identity)>) {
        self.checks.forget(id);
        if let Some(settled) = self.settled.get_mut(&id) {
            settled.is_certain |= by.is_none();
            settled.vouchers.extend(by);
        }
    }

    /// The word of a volunteer counts no more. Answers with the groups for which nobody else vouches.
    pub(super) fn withdraw_word(&mut self, token: u128) -> Vec<u64> {
        let mut doubtful = Vec::new();
        for (id, settled) in &mut self.settled {
            let before = settled.vouchers.len();
            settled.vouchers.retain(|(_, voucher)| voucher.token != token);
            if settled.vouchers.len() < before && settled.is_doubtful() {
                doubtful.push(*id);
            }
        }
        doubtful
    }

    /// Has a settled group computed by somebody else too, before the round is over.
    pub(super) fn want(&mut self, id: u64) {
        if self.settled.get(&id).is_some_and(Settled::is_doubtful) {
            self.checks.want(id);
        }
    }

    /// The session whose result covers this unit, and who that is, if it has come.
    pub(super) fn who_did(&self, unit: u32) -> Option<(u64, Identity)> {
        let covers = |settled: &&Settled| settled.group.units.iter().any(|range| range.contains(&unit));
        self.settled.values().find(covers).map(|settled| (settled.session, settled.identity))
    }

    /// The sessions of a volunteer whose results are in the sums.
    pub(super) fn sessions_of(&self, token: u128) -> BTreeSet<u64> {
        let of_token = self.settled.values().filter(|one| !one.is_own && one.identity.token == token);
        of_token.map(|settled| settled.session).collect()
    }

    /// Units with an accepted result, in ranges.
    pub(super) fn accounted(&self) -> impl Iterator<Item = Range<u32>> {
        self.settled.values().flat_map(|settled| settled.group.units.iter().cloned())
    }

    /// Takes an assignment back, if it is out. Its units are free again unless another copy is out.
    pub(super) fn take_back(&mut self, assignment: u64) {
        if let Some(group) = self.remove_copy(assignment) {
            self.free_units(group);
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
        self.free_units(group);
    }

    fn free_units(&mut self, Group { part, units, .. }: Group) {
        let free = &mut self.parts[part].free;
        units.into_iter().for_each(|range| {
            free.insert(range);
        });
    }

    /// Answers with the group if this was its last copy.
    fn remove_copy(&mut self, assignment: u64) -> Option<Group> {
        let id = self.copies.remove(&assignment)?;
        if let Some(settled) = self.settled.get_mut(&id) {
            settled.group.copies.retain(|copy| *copy != assignment);
            if self.drawn.remove(&assignment) && self.drawn_copies(id).next().is_none() {
                self.checks.abandon(id);
            }
            return None;
        }
        let group = self.groups.get_mut(&id).expect("a copy's group is out or settled");
        group.copies.retain(|copy| *copy != assignment);
        if group.copies.is_empty() { self.groups.remove(&id) } else { None }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use protocol::plan::{Part, SetPlan, SetPlans, ShardRef};

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
        let sets = sets();
        let run = RunPlan { sets: &sets, seed: 1, minibatch: 5 };
        let mut round = Round::new(plan.clone(), &run.lay_out(&plan), 1, run);
        round.grant(0..plan.units());
        round
    }

    fn vector(round: &mut Round) -> Vec<i64> {
        round.take_partial().unwrap().sums.parts[0].vector.clone()
    }

    fn free(round: &Round) -> Vec<u32> {
        let free = |state: &PartState| state.free.shards().flat_map(|shard| state.free.at(shard)).collect();
        round.parts().iter().flat_map(|state| -> Vec<u32> { free(state) }).collect()
    }

    /// Settles a training group with a loss and an element of this size, or a test group with the loss alone.
    pub(crate) fn settle(round: &mut Round, assignment: u64, session: u64, value: i64) {
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
        assert_eq!(round.who_did(3).map(|(session, _)| session), Some(20));
        assert_eq!(round.who_did(2), None);
        assert_eq!(round.done(), 3);
        assert!(round.group_of(1).is_none() && round.group_of(2).is_none());
        assert_eq!(round.expel(20), [0; 0]);
        assert_eq!((round.done(), free(&round)), (0, vec![2, 4, 5]), "the other copy is still out");
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
        assert_eq!(vector(&mut round), [0b110]);
        assert!(round.take_partial().is_none(), "all was handed in");
        assert_eq!(round.expel(10), [1], "what was handed in does not count");
        assert_eq!(free(&round), [0, 4, 5]);
        assert_eq!((round.done(), round.expel(10)), (3, vec![]));
        assert_eq!(round.accounted().collect::<Vec<_>>(), [1..4]);
        round.issue(4, 0, vec![0..1], 0);
        settle(&mut round, 4, 12, 1 << 4);
        assert_eq!(vector(&mut round), [0b10100]);
    }

    #[test]
    fn a_partial_sum_that_is_not_at_hand_any_more_is_done_again_with_all_its_units() {
        let mut round = round();
        for (assignment, part, units) in [(1, 0, 0..1), (2, 0, 1..2), (3, 0, 2..4), (4, 1, 4..6)] {
            round.issue(assignment, part, vec![units], 0);
        }
        settle(&mut round, 1, 10, 1);
        settle(&mut round, 2, 11, 10);
        assert_eq!(round.take_partial().unwrap().units, [0..2]);
        settle(&mut round, 3, 12, 100);
        assert_eq!(round.take_partial().unwrap().units, [2..4]);
        settle(&mut round, 4, 10, 1);
        // Of the first, of the last, and not of the second.
        assert_eq!(round.expel(10), [1]);
        assert_eq!((free(&round), round.done()), (vec![0, 1, 4, 5], 2));
        round.issue(5, 0, vec![0..2], 0);
        settle(&mut round, 5, 12, 1000);
        let partial = round.take_partial().unwrap();
        assert_eq!((partial.number, partial.units, partial.sums.parts[0].vector[0]), (3, vec![0..2], 1000));
    }

    #[test]
    fn only_what_nobody_has_is_given_back() {
        let mut round = round();
        round.issue(1, 0, vec![1..2], 0);
        assert_eq!(round.give_back(3), [3..6]);
        assert_eq!(free(&round), [0, 2]);
        assert_eq!(round.give_back(100), [0..1, 2..3]);
        assert!(!round.is_complete() && round.granted() == 1);
        settle(&mut round, 1, 10, 1);
        assert!(round.is_complete());
        round.grant(3..6);
        assert_eq!((free(&round), round.free()), (vec![3, 4, 5], 3));
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
