//! The sums of what was settled in a round, kept apart by who contributed to them.
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

use crate::aggregator::Sums;

/// Bytes of all shares of a round together, unless [`SHARES_MIN`] of them take more.
const SHARES_BYTES_MAX: usize = 256 << 20;
/// The most shares of a round.
const SHARES_MAX: usize = 32;
/// The fewest: one for newcomers and one for all others.
const SHARES_MIN: usize = 2;
/// Of so many shares one is the newcomers'.
const NEWCOMERS_ONE_IN: usize = 4;

/// See the module's description.
#[derive(Debug)]
pub(super) struct Shares {
    parameters: usize,
    shares: Vec<Share>,
    /// How many shares, from the first on, are for newcomers.
    newcomers: usize,
    of_session: BTreeMap<u64, usize>,
}

#[derive(Debug, Default)]
struct Share {
    /// `None` until something is added.
    sums: Option<Sums>,
    /// The groups in the sums.
    groups: BTreeSet<u64>,
    sessions: usize,
}

impl Shares {
    /// Empty shares for a round of this plan and a network of so many parameters.
    pub(super) fn new(plan: &RoundPlan, parameters: usize) -> Shares {
        let vectors = plan.parts.iter().filter(|part| part.work.has_vector()).count();
        let bytes = (vectors * parameters * size_of::<i64>()).max(1);
        let shares = (SHARES_BYTES_MAX / bytes).clamp(SHARES_MIN, SHARES_MAX);
        Shares {
            parameters,
            shares: (0..shares).map(|_| Share::default()).collect(),
            newcomers: (shares / NEWCOMERS_ONE_IN).max(1),
            of_session: BTreeMap::new(),
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
        std::mem::take(&mut share.groups)
    }

    /// The groups in the sums.
    pub(super) fn groups(&self) -> BTreeSet<u64> {
        self.shares.iter().flat_map(|share| share.groups.iter().copied()).collect()
    }

    /// Whether nothing is in the sums.
    pub(super) fn is_empty(&self) -> bool {
        self.shares.iter().all(|share| share.groups.is_empty())
    }

    /// The sum of the shares. One that is alone is moved and not copied: should a session be taken out, so would be all
    /// of it.
    pub(super) fn add_up(&mut self, plan: &RoundPlan) -> Sums {
        let mut used = self.shares.iter_mut().filter_map(|share| share.sums.as_mut());
        let (first, second) = (used.next(), used.next());
        match (first, second) {
            (Some(only), None) => std::mem::take(only),
            (first, second) => {
                let mut total = Sums::new(plan, self.parameters);
                first.into_iter().chain(second).chain(used).for_each(|sums| total.merge(sums));
                total
            }
        }
    }

    /// Begins anew. Sessions keep their places.
    pub(super) fn clear(&mut self) {
        for share in &mut self.shares {
            share.sums = None;
            share.groups.clear();
        }
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

    fn add(shares: &mut Shares, group: u64, session: u64, is_newcomer: bool, value: i64) {
        let (header, vector) = result(value);
        let contributor = Contributor { session, is_newcomer };
        shares.add(&plan(), 0, group, contributor, (&header, Some(&vector)));
    }

    fn total(shares: &mut Shares) -> Vec<i64> {
        let used: Vec<&Sums> = shares.shares.iter().filter_map(|share| share.sums.as_ref()).collect();
        let mut total = Sums::new(&plan(), 2);
        used.into_iter().for_each(|sums| total.merge(sums));
        assert!(shares.is_empty() == shares.groups().is_empty());
        total.parts[0].vector.clone()
    }

    #[test]
    fn what_a_session_added_is_taken_out_exactly() {
        let mut shares = Shares::new(&plan(), 2);
        add(&mut shares, 1, 10, true, 1);
        assert_eq!(total(&mut shares), [1, -1]);
        add(&mut shares, 2, 11, false, 20);
        add(&mut shares, 3, 10, true, 300);
        assert_eq!(total(&mut shares), [321, -321]);
        assert_eq!(shares.take_out(10), BTreeSet::from([1, 3]));
        assert_eq!(total(&mut shares), [20, -20]);
        assert!(shares.take_out(10).is_empty());
        add(&mut shares, 4, 12, true, 4);
        assert_eq!(total(&mut shares), [24, -24]);
        shares.take_out(11);
        shares.take_out(12);
        assert_eq!(total(&mut shares), [0, 0]);
    }

    #[test]
    fn a_newcomer_undoes_nothing_of_those_who_are_known_however_large_the_network() {
        // So large that there are only two shares.
        let mut shares = Shares::new(&plan(), 1 << 27);
        assert_eq!(shares.shares.len(), SHARES_MIN);
        shares.parameters = 2;
        for session in 0..5 {
            add(&mut shares, session, session, session % 2 == 0, 1 << session);
        }
        // Groups 0, 2 and 4 are those of newcomers.
        assert_eq!(shares.take_out(2), BTreeSet::from([0, 2, 4]));
        assert_eq!(total(&mut shares), [0b1010, -0b1010]);
    }

    #[test]
    fn more_sessions_than_shares_have_some_in_common() {
        let mut shares = Shares::new(&plan(), 2);
        (0..1000).for_each(|session| add(&mut shares, session, session, false, 1));
        assert_eq!(shares.shares.len(), SHARES_MAX);
        let gone = shares.take_out(7).len();
        assert!((1000 / SHARES_MAX..1000 / (SHARES_MAX / 2)).contains(&gone), "{gone}");
        assert_eq!(total(&mut shares)[0], 1000 - gone as i64);
    }
}
