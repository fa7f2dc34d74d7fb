//! The sums of what was settled in a round, kept apart by who contributed to them.
//!
//! A volunteer may be convicted of a lie while the round is open. Its results then leave the sums exactly, and
//! only their units are handed out again: the round itself never begins anew. So each session adds to a share,
//! and the round's sums are the sum of the shares. Integers add up the same in any grouping.
//!
//! A share costs as much memory as the round's sums, so there is only room for some. Where there are more
//! sessions than shares, several have one in common, and what all of them did is done again. Newcomers have
//! shares of their own, so that a stranger's lie never undoes the work of those who have proved themselves.
//!
//! All results of newcomers are checked. Where these have too few shares for one each, a share of several in which
//! somebody else vouches for every result is *vouched for*: it joins the work of those who have proved themselves, and
//! its place is free. Newcomers then add to the place that was free last, so that the others become so. A stranger's lie
//! thus undoes what other strangers did of late, and not all that they did in the round.
//!
//! A partial sum is made of whole shares in which nothing is to be checked any more. A share that has to wait for that
//! is *sealed*: what its sessions do next goes into another one, or there might never be a time at which all of it is
//! checked. A lie that a check finds undoes that share and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use protocol::message::ResultHeader;
use protocol::plan::RoundPlan;

use crate::aggregator::Sums;

/// Bytes of all shares of a round together, unless [`SHARES_MIN`] of them take more. Those that are sealed may take as
/// much again.
const SHARES_BYTES_MAX: usize = 256 << 20;
/// The most shares of a round.
const SHARES_MAX: usize = 32;
/// The fewest: one for newcomers and one for all others.
pub(crate) const SHARES_MIN: usize = 2;
/// Of so many shares one is the newcomers', and at least so many are, where there is room for that.
const NEWCOMERS_ONE_IN: usize = 4;
const NEWCOMERS_MIN: usize = 2;

/// Bytes that all shares take at most that results are added to, if the sums of a round take so many.
pub(crate) fn worst_case_bytes(sums: u64) -> u64 {
    let most = sums.saturating_mul(SHARES_MAX as u64).min(SHARES_BYTES_MAX as u64);
    most.max(sums.saturating_mul(SHARES_MIN as u64))
}

/// See the module's description.
#[derive(Debug)]
pub(super) struct Shares {
    parameters: usize,
    /// Where results are added.
    open: Vec<Share>,
    /// How many of these, from the first on, are for newcomers.
    newcomers: usize,
    /// Which of these a session adds to that has proved itself.
    of_session: BTreeMap<u64, usize>,
    /// How many of those add to each of these.
    sessions: Vec<usize>,
    /// Newcomers' groups that others vouched for.
    vouched: BTreeSet<u64>,
    /// Whether there is room for sealed ones.
    seals: bool,
    sealed: Vec<Share>,
    /// What the last partial sum is made of, as long as it is kept.
    handed_in: Vec<Share>,
}

#[derive(Debug, Default)]
struct Share {
    /// `None` until something is added, and if they were moved into the partial sum.
    sums: Option<Sums>,
    /// The groups in the sums.
    groups: BTreeSet<u64>,
    /// Whose these are.
    authors: BTreeSet<u64>,
}

/// What is not in the sums any more.
#[derive(Debug, Default)]
pub(super) struct TakenOut {
    /// The groups.
    pub(super) groups: BTreeSet<u64>,
    /// Whether some of them were in the last partial sum. The rest of that is to be handed in again.
    pub(super) was_handed_in: bool,
}

impl Shares {
    /// Empty shares for a round of this plan and a network of so many parameters.
    pub(super) fn new(plan: &RoundPlan, parameters: usize) -> Shares {
        let vectors = plan.parts.iter().filter(|part| part.work.has_vector()).count();
        let bytes = (vectors * parameters * size_of::<i64>()).max(1);
        let shares = (SHARES_BYTES_MAX / bytes).clamp(SHARES_MIN, SHARES_MAX);
        Shares {
            parameters,
            open: (0..shares).map(|_| Share::default()).collect(),
            newcomers: (shares / NEWCOMERS_ONE_IN).max(NEWCOMERS_MIN.min(shares - 1)),
            of_session: BTreeMap::new(),
            sessions: vec![0; shares],
            vouched: BTreeSet::new(),
            seals: shares * bytes <= SHARES_BYTES_MAX,
            sealed: Vec::new(),
            handed_in: Vec::new(),
        }
    }

    /// Adds a result that the validator has passed, of a group of one part of the round. `is_checked` tells of a group
    /// whether somebody else vouches for it.
    pub(super) fn add(
        &mut self,
        plan: &RoundPlan,
        part: usize,
        group: u64,
        contributor: Contributor,
        result: (&ResultHeader, Option<&[i64]>),
        is_checked: impl Fn(u64) -> bool,
    ) {
        let share = match contributor.is_newcomer {
            true => self.share_of_newcomer(contributor.session, is_checked),
            false => self.share_of(contributor.session),
        };
        let share = &mut self.open[share];
        let parameters = self.parameters;
        share.sums.get_or_insert_with(|| Sums::new(plan, parameters)).add(part, result.0, result.1);
        share.groups.insert(group);
        share.authors.insert(contributor.session);
    }

    fn share_of(&mut self, session: u64) -> usize {
        if let Some(share) = self.of_session.get(&session) {
            return *share;
        }
        let range = self.newcomers..self.open.len();
        let share = range.min_by_key(|share| self.sessions[*share]).expect("each kind has a share");
        self.sessions[share] += 1;
        self.of_session.insert(session, share);
        share
    }

    /// A share of its own, if there is one; or else that which was begun last.
    fn share_of_newcomer(&mut self, session: u64, is_checked: impl Fn(u64) -> bool) -> usize {
        let newcomers = &self.open[..self.newcomers];
        let own = newcomers.iter().position(|share| share.authors.iter().eq([&session]));
        let empty = || newcomers.iter().position(|share| share.groups.is_empty());
        if let Some(share) = own.or_else(empty) {
            return share;
        }
        let is_vouched_for = |share: &Share| share.groups.iter().all(|group| is_checked(*group));
        if let Some(share) = newcomers.iter().position(is_vouched_for) {
            self.join_the_proven(share);
            return share;
        }
        let begun = |share: &usize| newcomers[*share].groups.first();
        (0..newcomers.len()).max_by_key(begun).expect("newcomers have a share")
    }

    /// Adds a newcomers' share to one of those who have proved themselves.
    fn join_the_proven(&mut self, share: usize) {
        let Share { sums, mut groups, mut authors } = std::mem::take(&mut self.open[share]);
        let proven = self.open[self.newcomers..].iter_mut();
        let into = proven.min_by_key(|share| share.groups.len()).expect("the proven have a share");
        match (&mut into.sums, sums) {
            (Some(total), Some(sums)) => total.merge(&sums),
            (total, sums) => *total = sums,
        }
        self.vouched.extend(&groups);
        into.groups.append(&mut groups);
        into.authors.append(&mut authors);
    }

    /// Whether a group is a newcomer's that others vouched for: it is among the work of others, and stays there
    /// whatever else its author did.
    pub(super) fn is_vouched_for(&self, group: u64) -> bool {
        self.vouched.contains(&group)
    }

    /// Such a group is to be checked once more.
    pub(super) fn doubt(&mut self, group: u64) {
        self.vouched.remove(&group);
    }

    /// Takes out all shares with some of these groups of a session, which adds nothing any more.
    pub(super) fn take_out(&mut self, session: u64, groups: &BTreeSet<u64>) -> TakenOut {
        if let Some(share) = self.of_session.remove(&session) {
            self.sessions[share] -= 1;
        }
        let has_some = |share: &Share| !share.groups.is_disjoint(groups);
        let mut taken = TakenOut::default();
        for share in self.open.iter_mut().filter(|share| has_some(share)) {
            taken.groups.append(&mut std::mem::take(share).groups);
        }
        self.sealed.extract_if(.., |share| has_some(share)).for_each(|mut share| {
            taken.groups.append(&mut share.groups);
        });
        if self.handed_in.iter().any(has_some) {
            taken.was_handed_in = true;
            for mut share in std::mem::take(&mut self.handed_in) {
                if has_some(&share) {
                    taken.groups.append(&mut share.groups);
                } else {
                    self.sealed.push(share);
                }
            }
        }
        taken.groups.iter().for_each(|group| {
            self.vouched.remove(group);
        });
        taken
    }

    /// Whether nothing is in the sums but what was handed in.
    pub(super) fn is_empty(&self) -> bool {
        self.open.iter().chain(&self.sealed).all(|share| share.groups.is_empty())
    }

    /// Takes all shares in which no group is still to be checked, for a partial sum, and seals the others. Answers with
    /// their groups and the sum, if there are any. One that is alone is moved and not copied: should one of its groups
    /// be taken out, so would be all of it.
    pub(super) fn hand_in(
        &mut self,
        plan: &RoundPlan,
        is_to_be_checked: impl Fn(u64) -> bool,
    ) -> Option<(BTreeSet<u64>, Sums)> {
        let is_settled = |share: &Share| !share.groups.iter().any(|group| is_to_be_checked(*group));
        let has_some = |share: &Share| !share.groups.is_empty();
        let mut settled: Vec<Share> = self.sealed.extract_if(.., |share| is_settled(share)).collect();
        let seals = self.seals && self.sealed.is_empty();
        for share in self.open.iter_mut().filter(|share| has_some(share)) {
            if is_settled(share) {
                settled.push(std::mem::take(share));
            } else if seals {
                self.sealed.push(std::mem::take(share));
            }
        }
        let groups = settled.iter().flat_map(|share| share.groups.iter().copied()).collect();
        let sums = match &mut settled[..] {
            [] => return None,
            [only] => only.sums.take().expect("a share with groups has sums"),
            several => {
                let mut total = Sums::new(plan, self.parameters);
                several.iter().filter_map(|share| share.sums.as_ref()).for_each(|sums| total.merge(sums));
                total
            }
        };
        self.handed_in = settled;
        Some((groups, sums))
    }

    /// Does not keep what was handed in any longer.
    pub(super) fn forget_handed_in(&mut self) {
        self.handed_in.clear();
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
        shares.add(&plan(), 0, group, contributor, (&header, Some(&vector)), |_| false);
    }

    fn total(shares: &Shares) -> Vec<i64> {
        let mut total = Sums::new(&plan(), 2);
        let all = shares.open.iter().chain(&shares.sealed);
        all.filter_map(|share| share.sums.as_ref()).for_each(|sums| total.merge(sums));
        total.parts[0].vector.clone()
    }

    fn take_out(shares: &mut Shares, session: u64, groups: impl IntoIterator<Item = u64>) -> BTreeSet<u64> {
        shares.take_out(session, &groups.into_iter().collect()).groups
    }

    fn hand_in(shares: &mut Shares, to_be_checked: &[u64]) -> Option<(Vec<u64>, i64)> {
        let (groups, sums) = shares.hand_in(&plan(), |group| to_be_checked.contains(&group))?;
        Some((groups.into_iter().collect(), sums.parts[0].vector[0]))
    }

    #[test]
    fn what_a_session_added_is_taken_out_exactly() {
        let mut shares = Shares::new(&plan(), 2);
        add(&mut shares, 1, 10, true, 1);
        assert_eq!(total(&shares), [1, -1]);
        add(&mut shares, 2, 11, false, 20);
        add(&mut shares, 3, 10, true, 300);
        assert_eq!(total(&shares), [321, -321]);
        assert_eq!(take_out(&mut shares, 10, [1, 3]), BTreeSet::from([1, 3]));
        assert_eq!(total(&shares), [20, -20]);
        assert!(take_out(&mut shares, 10, []).is_empty());
        add(&mut shares, 4, 12, true, 4);
        assert_eq!(total(&shares), [24, -24]);
        take_out(&mut shares, 11, [2]);
        take_out(&mut shares, 12, [4]);
        assert_eq!((total(&shares), shares.is_empty()), (vec![0, 0], true));
    }

    #[test]
    fn a_newcomer_undoes_nothing_of_those_who_are_known_however_large_the_network() {
        // So large that there are only two shares.
        let mut shares = Shares::new(&plan(), 1 << 27);
        assert_eq!((shares.open.len(), shares.seals), (SHARES_MIN, false));
        shares.parameters = 2;
        for session in 0..5 {
            add(&mut shares, session, session, session % 2 == 0, 1 << session);
        }
        // Groups 0, 2 and 4 are those of newcomers.
        assert_eq!(take_out(&mut shares, 2, [2]), BTreeSet::from([0, 2, 4]));
        assert_eq!(total(&shares), [0b1010, -0b1010]);
    }

    /// There is room for three shares: a class of newcomers has two of them in common.
    #[test]
    fn a_strangers_lie_undoes_what_other_strangers_did_of_late() {
        let mut shares = Shares::new(&plan(), SHARES_BYTES_MAX / 8 / 3);
        assert_eq!((shares.open.len(), shares.newcomers), (3, NEWCOMERS_MIN));
        shares.parameters = 2;
        add(&mut shares, 0, 1000, false, 1);
        let mut honest = 1;
        for group in 1..100 {
            let (header, vector) = result(1 << 10);
            let contributor = Contributor { session: group % 7, is_newcomer: true };
            // All but the last four are checked.
            let is_checked = |other: u64| other + 4 < group;
            shares.add(&plan(), 0, group, contributor, (&header, Some(&vector)), is_checked);
            honest += 1 << 10;
        }
        assert_eq!(total(&shares)[0], honest);
        let gone = take_out(&mut shares, 1, [99]);
        assert!(gone.len() < 20 && gone.contains(&99) && !gone.contains(&0), "{gone:?}");
        assert_eq!(total(&shares)[0], honest - ((gone.len() as i64) << 10));
        assert!(shares.is_vouched_for(1) && !shares.is_vouched_for(99));
    }

    /// A volunteer proves itself in the course of a round.
    #[test]
    fn who_has_proved_itself_adds_to_no_share_of_newcomers() {
        let mut shares = Shares::new(&plan(), 1 << 27);
        shares.parameters = 2;
        add(&mut shares, 1, 10, true, 1);
        add(&mut shares, 2, 10, false, 20);
        add(&mut shares, 3, 11, true, 300);
        assert_eq!(take_out(&mut shares, 11, [3]), BTreeSet::from([1, 3]));
        assert_eq!(total(&shares), [20, -20]);
    }

    #[test]
    fn more_sessions_than_shares_have_some_in_common() {
        let mut shares = Shares::new(&plan(), 2);
        (0..1000).for_each(|session| add(&mut shares, session, session, false, 1));
        assert_eq!(shares.open.len(), SHARES_MAX);
        let gone = take_out(&mut shares, 7, [7]).len();
        assert!((1000 / SHARES_MAX..1000 / (SHARES_MAX / 2)).contains(&gone), "{gone}");
        assert_eq!(total(&shares)[0], 1000 - gone as i64);
    }

    #[test]
    fn only_what_is_checked_is_handed_in_and_a_lie_undoes_what_is_not() {
        let mut shares = Shares::new(&plan(), 2);
        add(&mut shares, 1, 10, false, 1);
        add(&mut shares, 2, 11, false, 20);
        add(&mut shares, 3, 12, false, 300);
        assert_eq!(hand_in(&mut shares, &[2, 3]), Some((vec![1], 1)));
        // What they do next goes elsewhere.
        add(&mut shares, 4, 11, false, 4_000);
        assert_eq!(hand_in(&mut shares, &[3, 4]), Some((vec![2], 20)));
        add(&mut shares, 5, 10, false, 50_000);
        assert_eq!(take_out(&mut shares, 12, [3]), BTreeSet::from([3]));
        assert!(!shares.is_empty());
        assert_eq!(hand_in(&mut shares, &[]), Some((vec![4, 5], 54_000)));
        assert!(hand_in(&mut shares, &[]).is_none() && shares.is_empty());
    }

    #[test]
    fn what_is_at_hand_of_the_last_partial_sum_is_handed_in_again_without_a_lie() {
        let mut shares = Shares::new(&plan(), 2);
        add(&mut shares, 1, 10, false, 1);
        add(&mut shares, 2, 11, false, 20);
        assert_eq!(hand_in(&mut shares, &[]), Some((vec![1, 2], 21)));
        let taken = shares.take_out(10, &BTreeSet::from([1]));
        assert_eq!((taken.groups, taken.was_handed_in), (BTreeSet::from([1]), true));
        assert_eq!(hand_in(&mut shares, &[]), Some((vec![2], 20)));
        shares.forget_handed_in();
        assert!(!shares.take_out(11, &BTreeSet::from([2])).was_handed_in, "it is not at hand any more");
    }

    #[test]
    fn where_there_is_no_room_for_sealed_shares_they_wait_in_their_places() {
        let mut shares = Shares { seals: false, ..Shares::new(&plan(), 2) };
        add(&mut shares, 1, 10, false, 1);
        assert!(hand_in(&mut shares, &[1]).is_none() && shares.sealed.is_empty());
        add(&mut shares, 2, 10, false, 20);
        assert_eq!(hand_in(&mut shares, &[]), Some((vec![1, 2], 21)));
    }
}
