//! The sums of an open round, kept apart by who contributed to them.
//!
//! A volunteer may be convicted of a lie while the round is open. Its results then leave the sums exactly, and
//! only their units are handed out again: the round itself never begins anew. So each session adds to a share,
//! and the round's sums are the sum of the shares. Integers add up the same in any grouping.
//!
//! A share costs as much memory as the round's sums, so there is only room for some. Where there are more
//! sessions than shares, several have one in common, and what all of them did is done again. Newcomers have
//! shares of their own, so that a stranger's lie never undoes the work of those who have proved themselves.

use std::collections::{BTreeMap, BTreeSet};

use protocol::message::ResultHeader;
use protocol::plan::RoundPlan;

use super::aggregator::Sums;

/// Bytes of all shares of a round together, unless [`SHARES_MIN`] of them take more.
const LEDGER_BYTES_MAX: usize = 256 << 20;
/// The most shares of a round.
const SHARES_MAX: usize = 32;
/// The fewest: one for newcomers and one for all others.
const SHARES_MIN: usize = 2;
/// Of so many shares one is the newcomers'.
const NEWCOMERS_ONE_IN: usize = 4;

/// See the module's description.
#[derive(Debug)]
pub(super) struct Ledger {
    parameters: usize,
    shares: Vec<Share>,
    /// How many shares, from the first on, are for newcomers.
    newcomers: usize,
    of_session: BTreeMap<u64, usize>,
    /// The sum of several shares, until something is added or taken out.
    total: Option<Sums>,
}

#[derive(Debug, Default)]
struct Share {
    /// `None` until something is added.
    sums: Option<Sums>,
    /// The groups in the sums.
    groups: BTreeSet<u64>,
    sessions: usize,
}

impl Ledger {
    /// An empty ledger for a round of this plan and a network of so many parameters.
    pub(super) fn new(plan: &RoundPlan, parameters: usize) -> Ledger {
        let vectors = plan.parts.iter().filter(|part| part.work.has_vector()).count();
        let bytes = (vectors * parameters * size_of::<i64>()).max(1);
        let shares = (LEDGER_BYTES_MAX / bytes).clamp(SHARES_MIN, SHARES_MAX);
        Ledger {
            parameters,
            shares: (0..shares).map(|_| Share::default()).collect(),
            newcomers: (shares / NEWCOMERS_ONE_IN).max(1),
            of_session: BTreeMap::new(),
            total: None,
        }
    }

    /// Adds a result that the validator has passed, of a group of one part of the round.
    pub(super) fn add(
        &mut self,
        plan: &RoundPlan,
        part: usize,
        group: u64,
        contributor: Contributor,
        result: (&ResultHeader, Option<&[i64]>),
    ) {
        let share = self.share_of(contributor);
        let share = &mut self.shares[share];
        let parameters = self.parameters;
        share.sums.get_or_insert_with(|| Sums::new(plan, parameters)).add(part, result.0, result.1);
        share.groups.insert(group);
        self.total = None;
    }

    fn share_of(&mut self, Contributor { session, is_newcomer }: Contributor) -> usize {
        if let Some(share) = self.of_session.get(&session) {
            return *share;
        }
        let range = if is_newcomer { 0..self.newcomers } else { self.newcomers..self.shares.len() };
        let share = range.min_by_key(|share| self.shares[*share].sessions).expect("each kind has a share");
        self.shares[share].sessions += 1;
        self.of_session.insert(session, share);
        share
    }

    /// Takes out the share of a session. Answers with the groups that are not in the sums any more.
    pub(super) fn take_out(&mut self, session: u64) -> BTreeSet<u64> {
        let Some(share) = self.of_session.remove(&session) else { return BTreeSet::new() };
        let share = &mut self.shares[share];
        share.sessions -= 1;
        share.sums = None;
        self.total = None;
        std::mem::take(&mut share.groups)
    }

    /// Adds the shares up. Call this before [`Ledger::sums`].
    pub(super) fn add_up(&mut self, plan: &RoundPlan) {
        let mut used = self.shares.iter().filter_map(|share| share.sums.as_ref());
        let first = used.next();
        let others: Vec<&Sums> = used.collect();
        self.total = match first {
            Some(_) if others.is_empty() => None,
            first => {
                let mut total = Sums::new(plan, self.parameters);
                first.into_iter().chain(others).for_each(|sums| total.merge(sums));
                Some(total)
            }
        };
    }

    /// The round's sums.
    pub(super) fn sums(&self) -> &Sums {
        let only = || self.shares.iter().find_map(|share| share.sums.as_ref());
        self.total.as_ref().or_else(only).expect("the shares are added up first")
    }
}

/// Who a result comes from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Contributor {
    pub(super) session: u64,
    /// Whether it has yet to prove itself.
    pub(super) is_newcomer: bool,
}

#[cfg(test)]
mod tests {
    use protocol::plan::{Part, Set, Work};

    use super::*;

    fn plan() -> RoundPlan {
        RoundPlan { parts: vec![Part::in_turn(Work::Gradient, Set::Training, 100)], ..RoundPlan::default() }
    }

    fn result(value: i64) -> (ResultHeader, Vec<i64>) {
        (ResultHeader { losses: vec![value], ..ResultHeader::default() }, vec![value, -value])
    }

    fn add(ledger: &mut Ledger, group: u64, session: u64, is_newcomer: bool, value: i64) {
        let (header, vector) = result(value);
        let contributor = Contributor { session, is_newcomer };
        ledger.add(&plan(), 0, group, contributor, (&header, Some(&vector)));
    }

    fn total(ledger: &mut Ledger) -> Vec<i64> {
        ledger.add_up(&plan());
        ledger.sums().parts[0].vector.clone()
    }

    #[test]
    fn what_a_session_added_is_taken_out_exactly() {
        let mut ledger = Ledger::new(&plan(), 2);
        add(&mut ledger, 1, 10, true, 1);
        assert_eq!(total(&mut ledger), [1, -1]);
        add(&mut ledger, 2, 11, false, 20);
        add(&mut ledger, 3, 10, true, 300);
        assert_eq!(total(&mut ledger), [321, -321]);
        assert_eq!(ledger.take_out(10), BTreeSet::from([1, 3]));
        assert_eq!(total(&mut ledger), [20, -20]);
        assert!(ledger.take_out(10).is_empty());
        add(&mut ledger, 4, 12, true, 4);
        assert_eq!(total(&mut ledger), [24, -24]);
        ledger.take_out(11);
        ledger.take_out(12);
        assert_eq!(total(&mut ledger), [0, 0]);
    }

    #[test]
    fn a_newcomer_undoes_nothing_of_those_who_are_known_however_large_the_network() {
        // So large that there are only two shares.
        let mut ledger = Ledger::new(&plan(), 1 << 27);
        assert_eq!(ledger.shares.len(), SHARES_MIN);
        ledger.parameters = 2;
        for session in 0..5 {
            add(&mut ledger, session, session, session % 2 == 0, 1 << session);
        }
        // Groups 0, 2 and 4 are those of newcomers.
        assert_eq!(ledger.take_out(2), BTreeSet::from([0, 2, 4]));
        assert_eq!(total(&mut ledger), [0b1010, -0b1010]);
    }

    #[test]
    fn more_sessions_than_shares_have_some_in_common() {
        let mut ledger = Ledger::new(&plan(), 2);
        (0..1000).for_each(|session| add(&mut ledger, session, session, false, 1));
        assert_eq!(ledger.shares.len(), SHARES_MAX);
        let gone = ledger.take_out(7).len();
        assert!((1000 / SHARES_MAX..1000 / (SHARES_MAX / 2)).contains(&gone), "{gone}");
        assert_eq!(total(&mut ledger)[0], 1000 - gone as i64);
    }
}
