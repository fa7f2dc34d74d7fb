//! Who may have how much of a round: each floor the share of it that its volunteers can do.
//!
//! What a floor wants at a time is worth a slice of its volunteers' time. In a short round that is more than its share,
//! and who asks first would have it all. So nobody is leased more than brings what it holds to its share of what is
//! undone, by the speed of its volunteers among all who ask. Whoever holds nothing gets at least one unit.

use std::collections::BTreeMap;

use super::ledger::{Ledger, OWN_FLOOR, Owner};

/// Of the free units that are a floor's share by its speed it gets one in so many at a time, so that leases become
/// shorter toward the end of a round.
const SHARE_ONE_IN: f64 = 2.0;

/// What a floor says of itself when it asks for units.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Claim {
    /// Cores that its volunteers lend.
    pub cores: u32,
    /// Their speed together, in cost per millisecond; 0 if it is not known.
    pub speed: f64,
    /// Units that it has and that are not done.
    pub undone: u32,
    /// The fewest units that are worth a lease.
    pub least: u32,
}

/// The newest claim of each floor, and the round in which it was made.
#[derive(Debug, Default)]
pub(super) struct Claims(BTreeMap<Owner, (u64, Claim)>);

impl Claims {
    /// A floor asks in round number `round`. Answers with how many units it may be leased now.
    pub(super) fn may_have(&mut self, ledger: &Ledger, round: u64, owner: Owner, claim: Claim) -> u32 {
        self.0.insert(owner, (round, claim));
        // Who did not ask in the round before either does not count.
        self.0.retain(|_, (asked, _)| *asked + 1 >= round);
        let strength = self.strength();
        let all: f64 = self.0.values().map(|(_, claim)| strength(claim)).sum();
        let share = if all > 0.0 { strength(&claim) / all } else { 1.0 / self.0.len() as f64 };

        let free = ledger.free();
        let asked_now = self.0.iter().filter(|(_, (asked, _))| *asked == round);
        let held = |(owner, (_, claim)): (&Owner, &(u64, Claim))| claim.undone.min(ledger.leased(*owner));
        let undone = f64::from(free) + asked_now.map(held).map(f64::from).sum::<f64>();
        let room = ((undone * share).ceil() as u32).saturating_sub(claim.undone);
        let room = if claim.undone == 0 { room.max(1) } else { room };
        ((f64::from(free) * share / SHARE_ONE_IN).ceil() as u32).max(claim.least).min(room).min(free)
    }

    /// Who is to give back how many units to a floor for which none are free: as many as leave both with what takes
    /// them the same time. A floor that is much slower gets none where a faster one is done with all before it would be
    /// with one. What the engine's own floor does not need, it gives without being asked.
    pub(super) fn to_give_back(&self, ledger: &Ledger, waiting: Owner) -> Option<(Owner, u32)> {
        let strength = self.strength();
        let has = |owner: Owner, claim: &Claim| f64::from(claim.undone.min(ledger.leased(owner)));
        let (_, claim) = self.0.get(&waiting)?;
        let (own, own_strength) = (has(waiting, claim), strength(claim));
        let others = self.0.iter().filter(|(owner, _)| ![waiting, OWN_FLOOR].contains(owner));
        let excess = |(owner, (_, claim)): (&Owner, &(u64, Claim))| {
            let its_strength = strength(claim);
            let excess = has(*owner, claim) * own_strength - own * its_strength;
            // None if it is negative, or if nothing is known of either.
            ((excess / (own_strength + its_strength)) as u32, *owner)
        };
        let (units, owner) = others.map(excess).max()?;
        (units > 0).then_some((owner, units))
    }

    /// How strong a claim's floor is: its speed, or its cores if the speed of some floor is not known.
    fn strength(&self) -> impl Fn(&Claim) -> f64 + use<> {
        let is_measured = self.0.values().all(|(_, claim)| claim.speed > 0.0);
        move |claim| if is_measured { claim.speed } else { f64::from(claim.cores) }
    }

    /// A floor has more units than when it asked, or fewer.
    pub(super) fn has(&mut self, owner: Owner, undone: impl FnOnce(u32) -> u32) {
        if let Some((_, claim)) = self.0.get_mut(&owner) {
            claim.undone = undone(claim.undone);
        }
    }

    /// A floor is gone.
    pub(super) fn forget(&mut self, owner: Owner) {
        self.0.remove(&owner);
    }
}

#[cfg(test)]
mod tests {
    use protocol::plan::{Part, RoundPlan, Set, Work};

    use super::*;

    /// Floors that ask for units of a round of 100.
    struct Floors {
        ledger: Ledger,
        claims: Claims,
    }

    impl Floors {
        fn of_two(round: u64) -> Floors {
            let parts = vec![Part::in_turn(Work::Gradient, Set::Training, 100)];
            let ledger = Ledger::new(&RoundPlan { parts, ..RoundPlan::default() }, 1);
            let mut floors = Floors { ledger, claims: Claims::default() };
            // Both asked in the round before.
            for owner in [1, 2] {
                floors.claims.0.insert(owner, (round - 1, claim(0)));
            }
            floors
        }

        fn asks(&mut self, owner: Owner, claim: Claim) -> u32 {
            let most = self.claims.may_have(&self.ledger, 2, owner, claim);
            self.ledger.lease(owner, most);
            self.claims.has(owner, |undone| undone + most);
            most
        }
    }

    fn claim(undone: u32) -> Claim {
        Claim { cores: 1, speed: 5.0, undone, least: 1_000 }
    }

    #[test]
    fn who_asks_first_gets_its_share_of_a_short_round_and_no_more() {
        let mut floors = Floors::of_two(2);
        assert_eq!(floors.asks(1, claim(0)), 50);
        assert_eq!(floors.asks(1, claim(50)), 0, "the other one is on its way");
        assert_eq!(floors.asks(2, claim(0)), 50);
        // One is done with most of it. The other gives half of what is left back.
        assert_eq!(floors.asks(1, claim(10)), 0);
        floors.ledger.give_back(2, &[90..100]);
        floors.claims.has(2, |undone| undone - 10);
        assert_eq!(floors.asks(2, claim(40)), 0, "whoever gives does not take");
        assert_eq!(floors.asks(1, claim(0)), 10);
    }

    #[test]
    fn shares_follow_the_speed_and_the_cores_where_that_is_not_known() {
        let mut floors = Floors::of_two(2);
        assert_eq!(floors.asks(1, Claim { speed: 15.0, ..claim(0) }), 75);
        let mut floors = Floors::of_two(2);
        assert_eq!(floors.asks(1, Claim { speed: 0.0, cores: 4, ..claim(0) }), 80);
        let mut floors = Floors::of_two(2);
        assert_eq!(floors.asks(1, Claim { cores: 0, speed: 0.0, ..claim(0) }), 1, "it holds nothing");
    }

    #[test]
    fn who_holds_work_for_longer_gives_back_what_leaves_both_with_the_same_time() {
        let mut floors = Floors::of_two(2);
        let speed = |speed: f64| Claim { speed, ..claim(0) };
        floors.ledger.lease(1, 51);
        floors.ledger.lease(2, 49);
        let mut give = |fast: Claim, slow: Claim, waiting: Owner| {
            floors.claims.0 = [(1, (2, fast)), (2, (2, slow))].into();
            floors.claims.to_give_back(&floors.ledger, waiting)
        };
        let (fast, slow) = (speed(250.0), speed(5.0));
        let with = |claim: Claim, undone: u32| Claim { undone, ..claim };
        // By their number the slow one would keep half of its units, for 24 times as long.
        assert_eq!(give(fast, with(slow, 49), 1), Some((2, 48)));
        assert_eq!(give(with(fast, 50), with(slow, 1), 1), None);
        assert_eq!(give(with(fast, 40), slow, 2), None, "the fast one is done before the slow one would be");
        assert_eq!(give(with(fast, 51), slow, 2), Some((1, 1)));
        assert_eq!(give(with(fast, 90), slow, 2), Some((1, 1)), "it has handed some of these in");
        assert_eq!(give(with(slow, 11), slow, 2), Some((1, 5)));
        // Where the speed is not known, the cores say.
        let cores = |cores: u32| Claim { cores, ..speed(0.0) };
        assert_eq!(give(cores(3), with(cores(1), 8), 1), Some((2, 6)));
        assert_eq!(give(cores(0), with(cores(0), 8), 1), None);
        assert_eq!(give(fast, with(slow, 49), 3), None, "it has not asked");
    }

    #[test]
    fn leases_of_long_rounds_become_shorter_toward_the_end() {
        let mut floors = Floors::of_two(2);
        let short = Claim { least: 2, ..claim(0) };
        let leases: Vec<u32> = (0..6).map(|_| floors.asks(1, short)).collect();
        assert_eq!(leases, [25, 19, 14, 11, 8, 6]);
    }

    #[test]
    fn nothing_stays_free_while_those_who_ask_hold_nothing() {
        let mut floors = Floors::of_two(2);
        // The other one never asks again.
        let mut asked = 0;
        while floors.ledger.free() > 0 {
            assert!(floors.asks(1, claim(0)) > 0);
            asked += 1;
        }
        assert!(asked < 10, "{asked}");
        assert_eq!(floors.asks(1, claim(0)), 0);
        // Nor does one that did not ask for two rounds count.
        let mut floors = Floors::of_two(1);
        assert_eq!(floors.asks(1, claim(0)), 100);
    }
}
