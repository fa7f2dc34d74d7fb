//! Partial sums of the open round in as much memory as there is for them.
//!
//! A partial sum takes as much memory as the round's own sums. They are kept apart as long as there is room, so that
//! one with a lie in it leaves exactly. When there is none, two of them are added up to one *pile*: the smallest two of
//! one owner, if an owner has two. What is in one pile leaves together.

use std::collections::BTreeMap;
use std::ops::Range;

use protocol::plan::RoundPlan;

use crate::aggregator::Sums;
use crate::ledger::{Owner, Partial};
use crate::units::count;

/// Bytes of all piles together, unless [`PILES_MIN`] of them take more.
const BYTES_MAX: usize = 256 << 20;
/// The fewest.
const PILES_MIN: usize = 2;
/// The most, however small they are: some of each of thousands of owners.
const PILES_MAX: usize = 4096;

/// Names a partial sum: its owner, and the number that the owner gave it.
pub(crate) type Key = (Owner, u64);

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Piles {
    room: usize,
    piles: BTreeMap<u64, Pile>,
    /// The pile of each partial sum.
    pile_of: BTreeMap<Key, u64>,
    /// The number of the newest pile.
    newest: u64,
}

#[derive(Debug)]
struct Pile {
    members: BTreeMap<Key, Vec<Range<u32>>>,
    units: u32,
    sums: Sums,
}

impl Pile {
    /// The owner of all of it, if there is only one.
    fn only_owner(&self) -> Option<Owner> {
        let (first, last) = (self.members.first_key_value()?.0.0, self.members.last_key_value()?.0.0);
        (first == last).then_some(first)
    }
}

impl Piles {
    /// Nothing yet, of a round of this plan and a network of so many parameters.
    pub(crate) fn new(plan: &RoundPlan, parameters: usize) -> Piles {
        let vectors = plan.parts.iter().filter(|part| part.work.has_vector()).count();
        let bytes = (vectors * parameters * size_of::<i64>()).max(1);
        let room = (BYTES_MAX / bytes).clamp(PILES_MIN, PILES_MAX);
        Piles { room, piles: BTreeMap::new(), pile_of: BTreeMap::new(), newest: 0 }
    }

    /// The same with room for so many.
    pub(crate) fn with_room_for(self, room: usize) -> Piles {
        Piles { room: room.max(1), ..self }
    }

    /// The partial sums, and the units of each.
    pub(crate) fn members(&self) -> impl Iterator<Item = (Key, &[Range<u32>])> {
        self.piles.values().flat_map(|pile| &pile.members).map(|(key, units)| (*key, &units[..]))
    }

    /// The numbers of an owner's partial sums.
    pub(crate) fn numbers_of(&self, owner: Owner) -> impl Iterator<Item = u64> {
        self.pile_of.range((owner, 0)..=(owner, u64::MAX)).map(|(key, _)| key.1)
    }

    /// The sums of each pile.
    pub(crate) fn sums(&self) -> impl ExactSizeIterator<Item = &Sums> {
        self.piles.values().map(|pile| &pile.sums)
    }

    /// Units of all of them.
    pub(crate) fn units(&self) -> u32 {
        self.piles.values().map(|pile| pile.units).sum()
    }

    /// Adds a partial sum. It may be in no pile yet.
    pub(crate) fn add(&mut self, owner: Owner, partial: Partial) {
        let Partial { number, units, sums } = partial;
        let key = (owner, number);
        self.newest += 1;
        self.pile_of.insert(key, self.newest);
        let (count, members) = (count(&units), BTreeMap::from([(key, units)]));
        self.piles.insert(self.newest, Pile { members, units: count, sums });
        while self.piles.len() > self.room {
            let Some((into, from)) = self.to_add_up() else { return };
            self.add_up(into, from);
        }
    }

    /// The two smallest piles of one owner. If none has two, the two smallest of all.
    fn to_add_up(&self) -> Option<(u64, u64)> {
        let mut smallest: BTreeMap<Option<Owner>, Vec<(u32, u64)>> = BTreeMap::new();
        for (id, pile) in &self.piles {
            let size = (pile.units, *id);
            if let Some(owner) = pile.only_owner() {
                smallest.entry(Some(owner)).or_default().push(size);
            }
            smallest.entry(None).or_default().push(size);
        }
        let of_all = smallest.remove(&None);
        let two = |mut sizes: Vec<(u32, u64)>| {
            sizes.sort_unstable();
            let [one, other, ..] = sizes[..] else { return None };
            Some((one.0 + other.0, one.1, other.1))
        };
        let of_one = smallest.into_values().filter_map(two).min();
        of_one.or_else(|| of_all.and_then(two)).map(|(_, one, other)| (one, other))
    }

    fn add_up(&mut self, into: u64, from: u64) {
        let Some(Pile { members, units, sums }) = self.piles.remove(&from) else { return };
        let Some(pile) = self.piles.get_mut(&into) else { return };
        for key in members.keys() {
            self.pile_of.insert(*key, into);
        }
        pile.members.extend(members);
        pile.units += units;
        pile.sums.merge(&sums);
    }

    /// Takes out the pile with a partial sum. Answers with all that was in it.
    pub(crate) fn take_out(&mut self, key: Key) -> BTreeMap<Key, Vec<Range<u32>>> {
        let pile = self.pile_of.get(&key).and_then(|id| self.piles.remove(id));
        let members = pile.map(|pile| pile.members).unwrap_or_default();
        members.keys().for_each(|key| {
            self.pile_of.remove(key);
        });
        members
    }
}

#[cfg(test)]
mod tests {
    use protocol::plan::{Part, Set, Work};

    use super::*;

    fn plan() -> RoundPlan {
        RoundPlan { parts: vec![Part::in_turn(Work::Gradient, Set::Training, 100)], ..RoundPlan::default() }
    }

    fn piles(room: usize) -> Piles {
        Piles::new(&plan(), 2).with_room_for(room)
    }

    fn add(piles: &mut Piles, owner: Owner, number: u64, units: Range<u32>) {
        let mut sums = Sums::new(&plan(), 2);
        sums.parts[0].vector = vec![i64::from(units.end - units.start); 2];
        piles.add(owner, Partial { number, units: vec![units], sums });
    }

    fn keys(taken: &BTreeMap<Key, Vec<Range<u32>>>) -> Vec<Key> {
        taken.keys().copied().collect()
    }

    #[test]
    fn they_take_the_memory_that_there_is_and_two_at_least() {
        let room = |parameters| Piles::new(&plan(), parameters).room;
        assert_eq!((room(2), room(1 << 20), room(1 << 30)), (PILES_MAX, 32, PILES_MIN));
        let examination = Part::in_turn(Work::Evaluation, Set::Test, 100);
        let plan = RoundPlan { parts: vec![examination], ..RoundPlan::default() };
        assert_eq!(Piles::new(&plan, 1 << 30).room, PILES_MAX, "no vectors");
    }

    #[test]
    fn the_smallest_of_one_owner_are_added_up_and_leave_together() {
        let mut piles = piles(3);
        add(&mut piles, 1, 1, 0..10);
        add(&mut piles, 1, 2, 10..12);
        add(&mut piles, 1, 3, 12..14);
        add(&mut piles, 2, 1, 20..21);
        assert_eq!((piles.sums().len(), piles.units()), (3, 15));
        assert_eq!(keys(&piles.take_out((1, 3))), [(1, 2), (1, 3)]);
        assert!(piles.take_out((1, 2)).is_empty());
        assert_eq!((piles.numbers_of(1).collect::<Vec<_>>(), piles.units()), (vec![1], 11));
        assert_eq!(piles.sums().map(|sums| sums.parts[0].vector[0]).sum::<i64>(), 11);
    }

    #[test]
    fn more_owners_than_piles_have_some_in_common() {
        let mut piles = piles(2);
        for owner in 1..=4 {
            add(&mut piles, owner, 7, owner as u32 * 10..owner as u32 * 10 + 1);
        }
        assert_eq!((piles.sums().len(), piles.members().count()), (2, 4));
        assert!(piles.take_out((1, 7)).len() >= 2);
    }
}
