//! Floors in other processes: each owns units of the open round under a number of its own.
//!
//! The engine answers them and never waits for one. Who is silent for too long is told of as [`FromFloor::Gone`] by
//! whoever hears it, and its units are free again.

use std::ops::Range;

use super::completion::Scope;
use super::floor::scheduler::LAST_RESORT_MS;
use super::ledger::{OWN_FLOOR, Owner, Partial, Refusal};
use super::{Engine, Output, Stage};

/// Of the free units that are a floor's share by its speed it gets one in so many at a time, so that leases become
/// shorter toward the end of a round.
const SHARE_ONE_IN: f64 = 2.0;

/// What a floor in another process says about the open round.
#[derive(Debug, Clone, PartialEq)]
pub enum FromFloor {
    /// It has room for more units.
    Asks {
        /// Its share in the speed of all, from 0 to 1.
        share: f64,
        /// The fewest units that are worth a lease.
        least: u32,
    },
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
    /// Somebody vouches for all of its results in the parts that it was to [confirm](ToFloor::Confirm).
    Confirms,
    /// It is gone, or so it must be supposed.
    Gone,
}

/// What a floor in another process is told.
#[derive(Debug, Clone, PartialEq)]
pub enum ToFloor {
    /// These units are its own now; none, if none are free.
    Leased(Vec<Range<u32>>),
    /// What it handed in counts.
    Taken,
    /// What it handed in does not count.
    Refused(Refusal),
    /// What it said is noted.
    Noted,
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
    /// Leases units to whoever asks, instead of all of them to its own floor. That one does what is left if nobody has
    /// been heard for [`LAST_RESORT_MS`].
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

    /// Whether that check is there.
    #[doc(hidden)]
    pub fn checks_owners(&self) -> bool {
        self.checks_owners
    }

    /// Whether every result of the open round is to be checked, because a liar was found out.
    pub fn is_wary(&self) -> bool {
        self.counters.rounds < self.wary_until
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
            FromFloor::Asks { share, least } => ToFloor::Leased(self.lease(owner, share, least)),
            FromFloor::HandsIn(partial) => self.hand_in(owner, partial),
            FromFloor::GivesBack(units) => {
                if let Stage::Open(round) | Stage::Vanished(round) = &mut self.stage {
                    round.ledger.give_back(owner, &units);
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
            FromFloor::Confirms => {
                if let Stage::Open(round) = &mut self.stage
                    && let Some(asked) = round.asked_to_confirm.remove(&owner)
                {
                    round.confirmed.insert(owner, asked);
                }
                ToFloor::Noted
            }
            FromFloor::Gone => {
                if let Stage::Open(round) | Stage::Vanished(round) = &mut self.stage {
                    round.ledger.expel(owner);
                    round.asked_to_confirm.remove(&owner);
                    round.gone.insert(owner);
                }
                return;
            }
        };
        self.tell_floor(owner, answer);
    }

    pub(super) fn tell_floor(&mut self, owner: Owner, message: ToFloor) {
        self.outputs.push_back(Output::Floor { owner, message });
    }

    fn lease(&mut self, owner: Owner, share: f64, least: u32) -> Vec<Range<u32>> {
        let Stage::Open(round) = &mut self.stage else { return Vec::new() };
        if round.gone.contains(&owner) {
            return Vec::new();
        }
        if round.ledger.free() == 0 {
            // The engine's own floor is only the last resort.
            let own = self.floor.give_back(u32::MAX);
            round.ledger.give_back(OWN_FLOOR, &own);
        }
        let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
        let wanted = (f64::from(round.ledger.free()) * share / SHARE_ONE_IN).ceil() as u32;
        round.ledger.lease(owner, wanted.max(least))
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
        let mut is_confirmed = true;
        for owner in round.ledger.contributors().into_iter().filter(|owner| *owner != OWN_FLOOR) {
            if round.confirmed.get(&owner).is_some_and(|confirmed| confirmed.includes(scope)) {
                continue;
            }
            is_confirmed = false;
            if round.gone.contains(&owner) {
                round.ledger.revoke(owner);
            } else if round.asked_to_confirm.insert(owner, scope) != Some(scope) {
                let message = ToFloor::Confirm { parts: parts.to_vec() };
                self.outputs.push_back(Output::Floor { owner, message });
            }
        }
        is_confirmed
    }

    /// Has its own floor do what is free if nobody has been heard for long. Answers with when to look again.
    pub(super) fn help_as_last_resort(&mut self, now_ms: u64) -> Option<u64> {
        let Stage::Open(round) = &mut self.stage else { return None };
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
