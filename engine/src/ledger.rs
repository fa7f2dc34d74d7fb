//! The ledger of an open round: who has which of its units, and the sums of those that are done.
//!
//! Each unit is free, leased to one owner, or done: in a partial sum that its owner has handed in. An owner is a
//! [floor](crate::floor) of volunteers: the engine's own, or one in another process, under a number that is used once.
//! Units move from one owner to another only by being given back, or because the owner is expelled. A partial sum
//! counts whole or not at all, and only if its sender owns every unit in it. So no unit is ever counted twice,
//! whatever is lost, repeated, delayed, or said by somebody who was frozen and knows nothing of what has happened since.
//!
//! Partial sums are as large as the network. Where there is no room for all of them, some are added up
//! (`piles`): a lie in one undoes them all.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use model::exact::unit_limit;
use protocol::plan::{Part, RoundPlan};

use crate::aggregator::Sums;
use crate::piles::{Key, Piles};
use crate::units::{Units, count};

/// Names an owner of units.
pub type Owner = u64;

/// The engine's own floor.
pub const OWN_FLOOR: Owner = 0;
/// The most ranges of units that are leased at a time: a lease fits a message of some kilobytes.
pub const LEASE_RANGES_MAX: usize = 256;
/// The most partial sums of one owner in a round. An owner that hands in more is refused, so that what the ledger
/// knows of them is bounded. It does not bound those of the engine's own floor: they have a unit each at least.
pub const PARTIALS_MAX: usize = 1024;

/// The sum of some units' results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partial {
    /// Numbers the partial sums of one owner in one round.
    pub number: u64,
    /// The units, in increasing order, not empty, not touching.
    pub units: Vec<Range<u32>>,
    /// Their sums.
    pub sums: Sums,
}

/// Why a partial sum does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The sender does not own all of its units, or the number was used.
    Stale,
    /// It does not have the shape of a sum of these units, or a value that no sum of them has.
    Malformed,
}

/// See the module's description.
#[derive(Debug)]
pub struct Ledger {
    free: Units,
    leased: BTreeMap<Owner, Units>,
    done: Piles,
    /// Units that are not done.
    open: u32,
    checks_owners: bool,
    /// The sum of several partial sums, until one is added or taken out.
    total: Option<Sums>,
    /// How often one was.
    changes: u64,
}

impl Ledger {
    /// A ledger in which all units of a round are free, for a network of so many parameters.
    pub fn new(plan: &RoundPlan, parameters: usize) -> Ledger {
        let units = plan.units();
        Ledger {
            free: Units::from_iter([0..units]),
            leased: BTreeMap::new(),
            done: Piles::new(plan, parameters),
            open: units,
            checks_owners: true,
            total: None,
            changes: 0,
        }
    }

    /// The same without the check that whoever hands in a partial sum owns its units. It exists to show that the tests
    /// notice when the check is missing.
    #[doc(hidden)]
    pub fn without_check_of_owners(self) -> Ledger {
        Ledger { checks_owners: false, ..self }
    }

    /// The same with room for so many partial sums. It exists to show what happens where there is little.
    #[doc(hidden)]
    pub fn with_room_for(self, partials: usize) -> Ledger {
        Ledger { done: self.done.with_room_for(partials), ..self }
    }

    /// Whether all units are done.
    pub fn is_complete(&self) -> bool {
        self.open == 0
    }

    /// Grows whenever a partial sum is added or taken out.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    /// How many units are done.
    pub fn done(&self) -> u32 {
        self.done.units()
    }

    /// How many units nobody has.
    pub fn free(&self) -> u32 {
        self.free.len()
    }

    /// The units that an owner has and has not handed in.
    pub fn leased_to(&self, owner: Owner) -> impl Iterator<Item = Range<u32>> {
        self.leased.get(&owner).into_iter().flat_map(Units::ranges)
    }

    /// How many those are.
    pub fn leased(&self, owner: Owner) -> u32 {
        self.leased.get(&owner).map_or(0, Units::len)
    }

    /// Those who have units, or had some and are not expelled.
    pub fn owners(&self) -> impl Iterator<Item = Owner> {
        self.leased.keys().copied()
    }

    /// Those whose partial sums count.
    pub fn contributors(&self) -> BTreeSet<Owner> {
        self.done.members().map(|((owner, _), _)| owner).collect()
    }

    /// Whether each unit is free, leased to one owner, or done once.
    pub fn is_consistent(&self, plan: &RoundPlan) -> bool {
        let mut all = Units::default();
        let mut is_new = |range: Range<u32>| all.insert(range.clone()) == range.end - range.start;
        let free = self.free.ranges().all(&mut is_new);
        let leased = self.leased.values().flat_map(Units::ranges).all(&mut is_new);
        let done = self.done.members().flat_map(|(_, units)| units.iter().cloned()).all(&mut is_new);
        free && leased && done && all.len() == plan.units() && self.open == plan.units() - self.done()
    }

    /// Leases the first free units to an owner, at most `most`.
    pub fn lease(&mut self, owner: Owner, most: u32) -> Vec<Range<u32>> {
        let leased = self.free.take(most, LEASE_RANGES_MAX);
        let units = self.leased.entry(owner).or_default();
        leased.iter().cloned().for_each(|range| {
            units.insert(range);
        });
        leased
    }

    /// An owner gives units back. Those that it does not have are no matter: it may have said so before. Answers with
    /// how many it had.
    pub fn give_back(&mut self, owner: Owner, units: &[Range<u32>]) -> u32 {
        let Some(leased) = self.leased.get_mut(&owner) else { return 0 };
        let before = leased.len();
        for range in units {
            let given: Units = leased.ranges().filter_map(|own| intersection(&own, range)).collect();
            for range in given.ranges() {
                leased.remove(range.clone());
                self.free.insert(range);
            }
        }
        before - leased.len()
    }

    /// Adds a partial sum.
    ///
    /// # Errors
    /// When it does not count; then nothing has changed.
    pub fn add(
        &mut self,
        plan: &RoundPlan,
        parameters: usize,
        owner: Owner,
        partial: Partial,
    ) -> Result<(), Refusal> {
        // The engine's own floor has judged every result.
        if owner != OWN_FLOOR {
            is_sum_of_units(plan, parameters, &partial)?;
        }
        let owns_all = self.leased.get(&owner).is_some_and(|leased| leased.contains_all(&partial.units));
        let (mut handed_in, mut is_used) = (0, false);
        self.done.numbers_of(owner).for_each(|number| {
            handed_in += 1;
            is_used |= number == partial.number;
        });
        let is_too_many = handed_in >= PARTIALS_MAX && owner != OWN_FLOOR;
        if (!owns_all || is_too_many || is_used) && self.checks_owners {
            return Err(Refusal::Stale);
        }
        if let Some(leased) = self.leased.get_mut(&owner) {
            partial.units.iter().cloned().for_each(|range| {
                leased.remove(range);
            });
        }
        self.open = self.open.saturating_sub(count(&partial.units));
        self.total = None;
        self.changes += 1;
        self.done.add(owner, partial);
        Ok(())
    }

    /// Takes partial sums out again, exactly: results in them were lies. Units are their owners' as before. Answers
    /// with the others that had to leave with them, because they were added up. Their owners take those for done: each
    /// must be [told](crate::floor::Floor::undo) or [expelled](Ledger::expel).
    pub fn take_out(&mut self, owner: Owner, numbers: &[u64]) -> Vec<Key> {
        let mut others = Vec::new();
        for number in numbers {
            for (key, units) in self.done.take_out((owner, *number)) {
                self.open += count(&units);
                self.total = None;
                self.changes += 1;
                let leased = self.leased.entry(key.0).or_default();
                units.into_iter().for_each(|range| {
                    leased.insert(range);
                });
                if key.0 != owner || !numbers.contains(&key.1) {
                    others.push(key);
                }
            }
        }
        others
    }

    /// What an owner that is gone has handed in does not count after all: its units are free. Answers as
    /// [`Ledger::take_out`] does.
    pub(crate) fn revoke(&mut self, owner: Owner) -> Vec<Key> {
        let numbers: Vec<u64> = self.done.numbers_of(owner).collect();
        let others = self.take_out(owner, &numbers);
        self.expel(owner);
        others
    }

    /// An owner is gone: what it has is free. What it has handed in counts.
    pub fn expel(&mut self, owner: Owner) {
        for range in self.leased.remove(&owner).iter().flat_map(Units::ranges) {
            self.free.insert(range);
        }
    }

    /// Adds all partial sums up. Call this before [`Ledger::sums`].
    pub(crate) fn add_up(&mut self, plan: &RoundPlan, parameters: usize) {
        if self.done.sums().len() == 1 || self.total.is_some() {
            return;
        }
        let mut total = Sums::new(plan, parameters);
        self.done.sums().for_each(|sums| total.merge(sums));
        self.total = Some(total);
    }

    /// The round's sums.
    pub(crate) fn sums(&self) -> &Sums {
        self.total.as_ref().or_else(|| self.done.sums().next()).expect("the partial sums are added up first")
    }
}

fn intersection(a: &Range<u32>, b: &Range<u32>) -> Option<Range<u32>> {
    let both = a.start.max(b.start)..a.end.min(b.end);
    (!both.is_empty()).then_some(both)
}

/// Whether a partial sum may be one of its units, to judge by its shape and size: then no sum of partial sums of
/// different units leaves its integers' range.
fn is_sum_of_units(plan: &RoundPlan, parameters: usize, partial: &Partial) -> Result<(), Refusal> {
    let Partial { units, sums, .. } = partial;
    let is_in_order = units.iter().all(|range| !range.is_empty() && range.end <= plan.units())
        && units.windows(2).all(|pair| pair[0].end < pair[1].start);
    if units.is_empty() || !is_in_order || sums.parts.len() != plan.parts.len() {
        return Err(Refusal::Malformed);
    }
    let limit_of_one = unit_limit(plan.units()).unsigned_abs();
    let mut begins = 0;
    for (Part { work, units: in_part, .. }, sums) in plan.parts.iter().zip(&sums.parts) {
        let part = begins..begins + in_part;
        begins = part.end;
        let inside: Vec<Range<u32>> = units.iter().filter_map(|range| intersection(range, &part)).collect();
        let limit = u64::from(count(&inside)) * limit_of_one;
        let length = if work.has_vector() { parameters } else { 0 };
        let is_small = |value: &i64| value.unsigned_abs() < limit || *value == 0;
        let has_shape = sums.losses.len() == work.losses() && sums.vector.len() == length;
        if !has_shape || !sums.losses.iter().all(is_small) || !sums.vector.iter().all(is_small) {
            return Err(Refusal::Malformed);
        }
        if inside.is_empty() && (sums.correct > 0 || sums.unfit_steps > 0) {
            return Err(Refusal::Malformed);
        }
        // No unit has more examples than a set.
        if sums.correct > u64::from(u32::MAX) * u64::from(count(&inside)) {
            return Err(Refusal::Malformed);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use protocol::plan::{Set, Work};

    use super::*;

    /// 100 units of gradients for two parameters.
    fn plan() -> RoundPlan {
        RoundPlan { parts: vec![Part::in_turn(Work::Gradient, Set::Training, 100)], ..RoundPlan::default() }
    }

    fn partial(number: u64, units: Vec<Range<u32>>) -> Partial {
        let mut sums = Sums::new(&plan(), 2);
        let value = i64::from(count(&units));
        sums.parts[0].losses = vec![value];
        sums.parts[0].vector = vec![value, -value];
        Partial { number, units, sums }
    }

    fn add(ledger: &mut Ledger, owner: Owner, partial: Partial) -> Result<(), Refusal> {
        ledger.add(&plan(), 2, owner, partial)
    }

    #[test]
    fn a_partial_sum_counts_only_if_its_sender_owns_every_unit_in_it() {
        let mut ledger = Ledger::new(&plan(), 2);
        assert_eq!(ledger.lease(1, 60), [0..60]);
        assert_eq!(ledger.lease(2, 60), [60..100]);
        assert_eq!(add(&mut ledger, 1, partial(1, vec![0..61])), Err(Refusal::Stale));
        assert_eq!(add(&mut ledger, 3, partial(1, vec![0..1])), Err(Refusal::Stale));
        assert_eq!(add(&mut ledger, 1, partial(1, vec![0..30])), Ok(()));
        assert_eq!(add(&mut ledger, 1, partial(1, vec![0..30])), Err(Refusal::Stale), "once is enough");
        assert_eq!(add(&mut ledger, 1, partial(1, vec![30..60])), Err(Refusal::Stale), "the number is used");
        // Frozen, expelled, and back with what it has done in the meantime.
        ledger.expel(1);
        assert_eq!(add(&mut ledger, 1, partial(2, vec![30..60])), Err(Refusal::Stale));
        assert_eq!((ledger.done(), ledger.free()), (30, 30));
        assert_eq!(ledger.lease(2, 100), [30..60]);
        assert_eq!(add(&mut ledger, 2, partial(1, vec![30..100])), Ok(()));
        assert!(ledger.is_complete());
        ledger.add_up(&plan(), 2);
        assert_eq!(ledger.sums().parts[0].vector, [100, -100]);
    }

    #[test]
    fn without_that_check_units_count_twice() {
        let mut ledger = Ledger::new(&plan(), 2).without_check_of_owners();
        ledger.lease(1, 60);
        ledger.expel(1);
        ledger.lease(2, 100);
        add(&mut ledger, 2, partial(1, vec![0..100])).unwrap();
        assert_eq!(add(&mut ledger, 1, partial(1, vec![0..60])), Ok(()));
        ledger.add_up(&plan(), 2);
        assert_eq!(ledger.sums().parts[0].vector, [160, -160]);
    }

    #[test]
    fn what_is_given_back_or_taken_out_is_done_again() {
        let mut ledger = Ledger::new(&plan(), 2);
        ledger.lease(1, 100);
        ledger.give_back(1, &[90..100, 10..20]);
        ledger.give_back(1, &[95..100]);
        ledger.give_back(2, &[0..10]);
        assert_eq!(ledger.free(), 20);
        add(&mut ledger, 1, partial(1, vec![0..10])).unwrap();
        add(&mut ledger, 1, partial(2, vec![20..90])).unwrap();
        assert_eq!((ledger.take_out(1, &[1]), ledger.take_out(1, &[1])), (vec![], vec![]));
        assert_eq!(ledger.leased_to(1).collect::<Vec<_>>(), [0..10]);
        assert_eq!(ledger.lease(2, 100), [10..20, 90..100]);
        add(&mut ledger, 2, partial(1, vec![10..20, 90..100])).unwrap();
        add(&mut ledger, 1, partial(3, vec![0..10])).unwrap();
        ledger.add_up(&plan(), 2);
        assert_eq!(ledger.sums().parts[0].losses, [100]);
    }

    #[test]
    fn what_was_added_up_for_want_of_room_leaves_together_and_is_done_again() {
        let mut ledger = Ledger::new(&plan(), 2).with_room_for(2);
        ledger.lease(1, 60);
        ledger.lease(2, 40);
        for number in 0..6 {
            add(&mut ledger, 1, partial(number, vec![number as u32 * 10..number as u32 * 10 + 10])).unwrap();
            assert!(ledger.done.sums().len() <= 2, "they take no more memory");
        }
        assert_eq!(add(&mut ledger, 1, partial(3, vec![30..40])), Err(Refusal::Stale), "it is in a pile");
        add(&mut ledger, 2, partial(1, vec![60..100])).unwrap();
        assert!(ledger.is_complete() && ledger.is_consistent(&plan()));
        // All of the first owner are in one pile now.
        let others = ledger.take_out(1, &[2, 4]);
        assert_eq!(others, [(1, 0), (1, 1), (1, 3), (1, 5)]);
        assert_eq!((ledger.leased(1), ledger.done()), (60, 40));
        assert!(!ledger.is_complete() && ledger.is_consistent(&plan()));
        ledger.expel(1);
        ledger.lease(3, 60);
        add(&mut ledger, 3, partial(1, vec![0..60])).unwrap();
        ledger.add_up(&plan(), 2);
        assert_eq!(ledger.sums().parts[0].vector, [100, -100]);
    }

    /// A coordinator whose own floor is leased a unit at a time hands in as often.
    #[test]
    fn the_number_of_partial_sums_is_bounded_but_for_the_engines_own_floor() {
        let units = PARTIALS_MAX as u32 + 1;
        let part = Part::in_turn(Work::Gradient, Set::Training, units);
        let plan = RoundPlan { parts: vec![part], ..RoundPlan::default() };
        for (owner, is_taken) in [(1, Err(Refusal::Stale)), (OWN_FLOOR, Ok(()))] {
            let mut ledger = Ledger::new(&plan, 2).with_room_for(2);
            ledger.lease(owner, units);
            let mut add = |unit: u32| {
                let partial =
                    Partial { number: unit.into(), units: vec![unit..unit + 1], sums: Sums::new(&plan, 2) };
                ledger.add(&plan, 2, owner, partial)
            };
            assert!((0..PARTIALS_MAX as u32).all(|unit| add(unit).is_ok()));
            assert_eq!(add(units - 1), is_taken);
        }
    }

    #[test]
    fn a_sum_that_no_units_have_is_refused() {
        let mut ledger = Ledger::new(&plan(), 2);
        ledger.lease(1, 100);
        #[expect(clippy::reversed_empty_ranges, reason = "the check must reject such a range")]
        let disordered = [vec![], vec![5..5], vec![9..2], vec![0..2, 2..3], vec![5..6, 0..1], vec![99..101]];
        for units in disordered {
            let ranges = Partial { units, ..partial(1, vec![0..1]) };
            assert_eq!(add(&mut ledger, 1, ranges), Err(Refusal::Malformed));
        }
        let change = |change: fn(&mut Sums)| {
            let mut changed = partial(1, vec![0..2]);
            change(&mut changed.sums);
            changed
        };
        for changed in [
            change(|sums| sums.parts[0].losses.push(0)),
            change(|sums| sums.parts[0].vector.push(0)),
            change(|sums| sums.parts.clear()),
            change(|sums| sums.parts[0].vector[0] = i64::MIN),
            change(|sums| sums.parts[0].losses[0] = 2 << 44),
            change(|sums| sums.parts[0].correct = u64::MAX),
        ] {
            assert_eq!(add(&mut ledger, 1, changed), Err(Refusal::Malformed));
        }
        assert_eq!(ledger.done(), 0);
    }
}
