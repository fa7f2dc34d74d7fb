//! Floors in other processes: each owns units of the open round under a number of its own.
//!
//! The engine answers them and never waits for one. Who is silent for too long is told of as [`FromFloor::Gone`] by
//! whoever hears it, and its units are free again.

use std::collections::BTreeSet;
use std::ops::Range;

use super::claims::Claim;
use super::completion::Scope;
use super::floor::scheduler::LAST_RESORT_MS;
use super::ledger::{OWN_FLOOR, Owner, Partial, Refusal};
use super::piles::Key;
use super::units::count;
use super::{Engine, Output, Stage};

/// What a floor in another process says about the open round.
#[derive(Debug, Clone, PartialEq)]
pub enum FromFloor {
    /// It has room for more units.
    Asks(Claim),
    /// The sum of units that it has done.
    HandsIn(Partial),
    /// Units that none of its volunteers has.
    GivesBack(Vec<Range<u32>>),
    /// Partial sums that it has handed in, and in which there is a lie.
    Tainted(Vec<u64>),
    /// One of its volunteers reports that a unit does not fit.
    Reports {
        /// The unit.
        unit: u32,
    },
    /// Somebody vouches for all of its results in these parts, as it was to [confirm](ToFloor::Confirm).
    Confirms {
        /// The parts' numbers.
        parts: Vec<usize>,
    },
    /// It is gone, or so it must be supposed.
    Gone,
}

/// What a floor in another process is told.
#[derive(Debug, Clone, PartialEq)]
pub enum ToFloor {
    /// These units are its own now; none, if none are free, or if it has its share.
    Leased(Vec<Range<u32>>),
    /// What it handed in counts.
    Taken,
    /// What it handed in does not count.
    Refused(Refusal),
    /// What it said is noted.
    Noted,
    /// What it handed in does not count any more, because it was added up with a lie for want of room: it owns nothing,
    /// and never will again under this number.
    Expelled,
    /// The round that it speaks of is not open.
    RoundIsOver,
    /// Whether a unit that it reported fits after all.
    Ruled {
        /// The unit.
        unit: u32,
        /// Whether it does.
        fits: bool,
    },
    /// It is to have all of its results in these parts computed by somebody else too, and to
    /// [say so](FromFloor::Confirms).
    Confirm {
        /// The parts' numbers.
        parts: Vec<usize>,
    },
}

impl Engine {
    /// Leases units to whoever asks, instead of all of them to its own floor. That one takes what keeps its volunteers
    /// busy, as others do, and what is left if nobody has been heard for [`LAST_RESORT_MS`].
    pub fn for_many_floors(mut self) -> Engine {
        self.has_many_floors = true;
        self
    }

    /// The same without the check that whoever hands in a partial sum owns its units. It exists to show that the tests
    /// notice when the check is missing.
    #[doc(hidden)]
    pub fn without_check_of_owners(mut self) -> Engine {
        self.checks_owners = false;
        self
    }

    /// The same with room for so many partial sums of a round. It exists to show what happens where there is little.
    #[doc(hidden)]
    pub fn with_room_for(mut self, partials: usize) -> Engine {
        self.partials_max = Some(partials);
        self
    }

    /// Whether that check is there.
    #[doc(hidden)]
    pub fn checks_owners(&self) -> bool {
        self.checks_owners
    }

    /// Whether every result of the open round is to be checked, because a liar was found out.
    pub fn is_wary(&self) -> bool {
        self.counters.rounds < self.wary_until
    }

    /// How many rounds were completed before the first whose unchecked results can be undone, should their senders be
    /// found out: 0 until some could not.
    pub fn irrevocable(&self) -> u64 {
        self.irrevocable
    }

    /// Whether the training goes back when a liar is found out whose results were counted unchecked.
    pub fn rewinds(&self) -> bool {
        self.settings.rewinds()
    }

    /// A floor in another process speaks of round number `number`.
    pub(super) fn floor_says(&mut self, now_ms: u64, owner: Owner, number: u64, message: FromFloor) {
        let is_open = self.open_round().is_some_and(|round| round.plan.round == number);
        if !is_open || owner == OWN_FLOOR {
            return self.tell_floor(owner, ToFloor::RoundIsOver);
        }
        if message != FromFloor::Gone {
            self.floors_heard_ms = now_ms;
        }
        let answer = match message {
            FromFloor::Asks(claim) => ToFloor::Leased(self.lease(owner, claim)),
            FromFloor::HandsIn(partial) => self.hand_in(owner, partial),
            FromFloor::GivesBack(units) => {
                if let Stage::Open(round) | Stage::Vanished(round) = &mut self.stage {
                    let given = round.ledger.give_back(owner, &units);
                    self.claims.has(owner, |undone| undone.saturating_sub(given));
                }
                ToFloor::Noted
            }
            FromFloor::Tainted(partials) => {
                self.take_out(owner, &partials);
                ToFloor::Noted
            }
            FromFloor::Reports { unit } => {
                let units = self.open_round().map_or(0, |round| round.plan.units());
                if unit < units {
                    self.reported(owner, unit);
                }
                ToFloor::Noted
            }
            FromFloor::Confirms { parts } => {
                // It may have been asked for more since.
                if let Stage::Open(round) = &mut self.stage
                    && let Some(scope) = round.asked_to_confirm.get(&owner).copied()
                    && scope.parts_of(&round.plan).iter().all(|part| parts.contains(part))
                {
                    round.asked_to_confirm.remove(&owner);
                    round.confirmed.insert(owner, scope);
                }
                ToFloor::Noted
            }
            FromFloor::Gone => {
                if let Stage::Open(round) | Stage::Vanished(round) = &mut self.stage {
                    round.expel(owner);
                }
                self.claims.forget(owner);
                return;
            }
        };
        self.tell_floor(owner, answer);
    }

    pub(super) fn tell_floor(&mut self, owner: Owner, message: ToFloor) {
        self.outputs.push_back(Output::Floor { owner, message });
    }

    fn lease(&mut self, owner: Owner, claim: Claim) -> Vec<Range<u32>> {
        let Stage::Open(round) = &mut self.stage else { return Vec::new() };
        if round.gone.contains(&owner) {
            return Vec::new();
        }
        if round.ledger.free() == 0 {
            // What its own floor has and nobody computes may help somebody else.
            let own = self.floor.give_back(u32::MAX);
            let given = round.ledger.give_back(OWN_FLOOR, &own);
            self.claims.has(OWN_FLOOR, |undone| undone.saturating_sub(given));
        }
        let most = self.claims.may_have(&round.ledger, round.plan.round, owner, claim);
        let leased = round.ledger.lease(owner, most);
        self.claims.has(owner, |undone| undone.saturating_add(count(&leased)));
        leased
    }

    /// Whether its own floor's volunteers have room for more units than are free.
    pub fn own_floor_waits(&self) -> bool {
        let is_empty = self.ledger().is_some_and(|ledger| ledger.free() == 0);
        let claim = self.floor.claim();
        // Strangers who have something may be asleep.
        let may_work = claim.speed > 0.0 || claim.undone == 0;
        is_empty && may_work && self.floor.free() < claim.least.div_ceil(2)
    }

    /// Which floor in another process is to give back how many units, because none are free for one that asks.
    pub fn to_give_back(&self, waiting: Owner) -> Option<(Owner, u32)> {
        let ledger = self.ledger().filter(|ledger| ledger.free() == 0)?;
        self.claims.to_give_back(ledger, waiting)
    }

    fn hand_in(&mut self, owner: Owner, partial: Partial) -> ToFloor {
        let parameters = self.settings.network.parameters();
        let Stage::Open(round) = &mut self.stage else { return ToFloor::Refused(Refusal::Stale) };
        match round.ledger.add(&round.plan, parameters, owner, partial) {
            Ok(()) => {
                // There is more than what it has confirmed.
                round.confirmed.remove(&owner);
                ToFloor::Taken
            }
            Err(refusal) => ToFloor::Refused(refusal),
        }
    }

    /// Whether all that other floors have handed in of a round is confirmed within a scope. Asks those for it who have
    /// not said so, and has done again what those have left who are gone.
    pub(super) fn is_confirmed_by_floors(&mut self, scope: Scope, parts: &[usize]) -> bool {
        let Stage::Open(round) = &mut self.stage else { return true };
        let (mut is_confirmed, mut others) = (true, Vec::new());
        for owner in round.ledger.contributors().into_iter().filter(|owner| *owner != OWN_FLOOR) {
            if round.confirmed.get(&owner).is_some_and(|confirmed| confirmed.includes(scope)) {
                continue;
            }
            is_confirmed = false;
            if round.gone.contains(&owner) {
                others.extend(round.ledger.revoke(owner));
            } else if round.asked_to_confirm.insert(owner, scope) != Some(scope) {
                let message = ToFloor::Confirm { parts: parts.to_vec() };
                self.outputs.push_back(Output::Floor { owner, message });
            }
        }
        self.undo(others);
        is_confirmed
    }

    /// Partial sums left the open round that their owners take for done. The engine's own floor does them again. Other
    /// floors are expelled: what they say of these units from now on must not count.
    pub(super) fn undo(&mut self, partials: Vec<Key>) {
        let (own, others): (Vec<Key>, Vec<Key>) =
            partials.into_iter().partition(|(owner, _)| *owner == OWN_FLOOR);
        let own: Vec<u64> = own.into_iter().map(|(_, number)| number).collect();
        if !own.is_empty() {
            self.floor.undo(&own);
        }
        let others: BTreeSet<Owner> = others.into_iter().map(|(owner, _)| owner).collect();
        for owner in others {
            if let Stage::Open(round) | Stage::Vanished(round) = &mut self.stage {
                round.expel(owner);
            }
            self.claims.forget(owner);
            self.tell_floor(owner, ToFloor::Expelled);
        }
    }

    /// Leases to its own floor what its volunteers have room for; and all that is free, if nobody has been heard for
    /// long. Answers with when to look again.
    pub(super) fn lease_to_own_floor(&mut self, now_ms: u64) -> Option<u64> {
        let Stage::Open(round) = &mut self.stage else { return None };
        let claim = self.floor.claim();
        if self.floor.free() < claim.least.div_ceil(2) {
            let most = self.claims.may_have(&round.ledger, round.plan.round, OWN_FLOOR, claim);
            let leased = round.ledger.lease(OWN_FLOOR, most.min(claim.least));
            self.claims.has(OWN_FLOOR, |undone| undone.saturating_add(count(&leased)));
            self.floor.grant(&leased);
        }
        if round.ledger.free() == 0 {
            return None;
        }
        let due_ms = self.floors_heard_ms.max(self.opened_ms) + LAST_RESORT_MS;
        if now_ms < due_ms {
            return Some(due_ms);
        }
        while round.ledger.free() > 0 {
            self.floor.grant(&round.ledger.lease(OWN_FLOOR, u32::MAX));
        }
        None
    }
}
