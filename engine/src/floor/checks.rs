//! The results of an open round that somebody else computes too, before the round is over.
//!
//! A check is an audit that was drawn by lot, or the confirmation of a result that decides something. It goes to one
//! volunteer, drawn by lot among all who may do it, when that one has room. If no answer comes in time, somebody else
//! is drawn. If that happens too often, or nobody may do it, it goes to the coordinator's own computation. So does
//! the decision between two results that differ.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;

use super::fingerprint::Fingerprint;
use super::standing::Identity;

/// A check goes to somebody else if it takes this many times as long as expected, but no less than the time below.
const PATIENCE_FACTOR: f64 = 3.0;
const PATIENCE_MS: u64 = 250;
/// How often that may happen before it goes to the coordinator.
const REDRAWS_MAX: u32 = 2;

/// See the module's description. Groups are named by their number.
#[derive(Debug, Default)]
pub(super) struct Checks {
    /// All that are wanted and not done.
    wanted: BTreeMap<u64, Check>,
    /// Those that nobody has been chosen for.
    orphans: BTreeSet<u64>,
    /// Those that a session is to be given as soon as it has room.
    reserved: BTreeMap<u64, VecDeque<u64>>,
    /// When patience ends, in the order of time.
    patience: BTreeSet<(u64, u64)>,
    /// What the coordinator is to compute, the first under way.
    pub(super) court: VecDeque<Case>,
    /// When it is asked again, if it could not compute what it was asked for.
    pub(super) court_opens_ms: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Check {
    /// When patience with whoever has it ends.
    patience_ms: Option<u64>,
    /// For whom it is reserved.
    reserved_for: Option<u64>,
    /// How often somebody else was chosen because it took too long.
    redraws: u32,
    /// Whether it is before the court.
    in_court: bool,
}

/// A question for the coordinator's own computation.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) group: u64,
    pub(super) units: Vec<Range<u32>>,
    pub(super) rivals: Vec<Rival>,
}

/// What a volunteer says about a group.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rival {
    pub(super) session: u64,
    pub(super) identity: Identity,
    /// `None`: that a unit has no result.
    pub(super) fingerprint: Option<Fingerprint>,
}

impl Checks {
    /// Whether nothing is left to be checked.
    pub(super) fn is_empty(&self) -> bool {
        self.wanted.is_empty()
    }

    /// Whether a group is to be checked.
    pub(super) fn is_wanted(&self, group: u64) -> bool {
        self.wanted.contains_key(&group)
    }

    pub(super) fn len(&self) -> usize {
        self.wanted.len()
    }

    /// Whether a group is before the court.
    pub(super) fn is_in_court(&self, group: u64) -> bool {
        self.wanted.get(&group).is_some_and(|check| check.in_court)
    }

    /// Sessions for which checks are reserved.
    pub(super) fn checkers(&self) -> impl Iterator<Item = u64> {
        self.reserved.keys().copied()
    }

    /// Groups that are to be checked by somebody else than the court.
    pub(super) fn of_volunteers(&self) -> impl Iterator<Item = u64> {
        self.wanted.iter().filter(|(_, check)| !check.in_court).map(|(group, _)| *group)
    }

    pub(super) fn want(&mut self, group: u64) {
        if self.wanted.contains_key(&group) {
            return;
        }
        self.wanted
            .insert(group, Check { patience_ms: None, reserved_for: None, redraws: 0, in_court: false });
        self.orphans.insert(group);
    }

    /// The check is done, or its group is not settled any more.
    pub(super) fn forget(&mut self, group: u64) {
        if let Some(at_ms) = self.wanted.remove(&group).and_then(|check| check.patience_ms) {
            self.patience.remove(&(at_ms, group));
        }
        self.orphans.remove(&group);
    }

    /// Whoever had the check will not answer.
    pub(super) fn abandon(&mut self, group: u64) {
        if self.wanted.get(&group).is_some_and(|check| !check.in_court) {
            self.orphans.insert(group);
        }
    }

    /// Takes all checks that nobody has been chosen for.
    pub(super) fn take_orphans(&mut self) -> BTreeSet<u64> {
        std::mem::take(&mut self.orphans)
    }

    /// Reserves a check for a session.
    pub(super) fn reserve(&mut self, group: u64, session: u64) {
        let Some(check) = self.wanted.get_mut(&group) else { return };
        check.reserved_for = Some(session);
        self.reserved.entry(session).or_default().push_back(group);
    }

    /// The next check for a session that has room.
    pub(super) fn next_for(&mut self, session: u64) -> Option<u64> {
        let queue = self.reserved.get_mut(&session)?;
        while let Some(group) = queue.pop_front() {
            let Some(check) = self.wanted.get_mut(&group) else { continue };
            if !check.in_court && check.reserved_for == Some(session) {
                check.reserved_for = None;
                return Some(group);
            }
        }
        self.reserved.remove(&session);
        None
    }

    /// The checks that are reserved for a session.
    pub(super) fn reserved_for(&self, session: u64) -> impl Iterator<Item = u64> {
        let reserved = self.reserved.get(&session).into_iter().flatten().copied();
        reserved.filter(move |group| {
            self.wanted.get(group).is_some_and(|check| check.reserved_for == Some(session))
        })
    }

    /// A session will not do what is reserved for it.
    pub(super) fn release(&mut self, session: u64) {
        for group in self.reserved.remove(&session).unwrap_or_default() {
            self.abandon(group);
        }
    }

    /// A check is with somebody who is expected to take that long for it.
    pub(super) fn prolong(&mut self, group: u64, now_ms: u64, duration_ms: f64) {
        let Some(check) = self.wanted.get_mut(&group) else { return };
        let patience_ms = now_ms + PATIENCE_MS.max((PATIENCE_FACTOR * duration_ms) as u64);
        if let Some(before_ms) = check.patience_ms.take() {
            self.patience.remove(&(before_ms, group));
        }
        if !check.in_court {
            check.patience_ms = Some(patience_ms);
            self.patience.insert((patience_ms, group));
        }
    }

    /// Takes those cases from the court that nobody disputes. Their groups are for volunteers to check again.
    pub(super) fn withdraw_undisputed(&mut self) {
        let (undisputed, disputed) = std::mem::take(&mut self.court)
            .into_iter()
            .partition::<VecDeque<Case>, _>(|case| case.rivals.is_empty());
        self.court = disputed;
        for Case { group, .. } in undisputed {
            if let Some(check) = self.wanted.get_mut(&group) {
                *check = Check { patience_ms: None, reserved_for: None, redraws: 0, in_court: false };
                self.orphans.insert(group);
            }
        }
    }

    /// When patience ends next.
    pub(super) fn patience_ms(&self) -> Option<u64> {
        self.patience.first().map(|(at_ms, _)| *at_ms)
    }

    /// Takes those checks that take too long from whoever has them. Answers with those that are for the court.
    pub(super) fn give_up(&mut self, now_ms: u64) -> Vec<u64> {
        let mut for_the_court = Vec::new();
        while let Some(&(at_ms, group)) = self.patience.first().filter(|(at_ms, _)| *at_ms <= now_ms) {
            self.patience.remove(&(at_ms, group));
            let Some(check) = self.wanted.get_mut(&group) else { continue };
            (check.patience_ms, check.reserved_for) = (None, None);
            check.redraws += 1;
            if check.redraws > REDRAWS_MAX {
                for_the_court.push(group);
            } else {
                self.orphans.insert(group);
            }
        }
        for_the_court
    }

    /// Brings a group before the court, with what some say about it. Answers whether the court has nothing else to
    /// do.
    pub(super) fn summon(
        &mut self,
        group: u64,
        units: &[Range<u32>],
        rivals: impl IntoIterator<Item = Rival>,
    ) -> bool {
        self.orphans.remove(&group);
        let new = Check { patience_ms: None, reserved_for: None, redraws: 0, in_court: true };
        let check = self.wanted.entry(group).or_insert(new);
        check.in_court = true;
        if let Some(at_ms) = check.patience_ms.take() {
            self.patience.remove(&(at_ms, group));
        }
        let known = self.court.iter_mut().find(|case| case.group == group);
        match known {
            Some(case) => {
                case.rivals.extend(rivals);
                false
            }
            None => {
                let (units, rivals) = (units.to_vec(), rivals.into_iter().collect());
                self.court.push_back(Case { group, units, rivals });
                self.court.len() == 1
            }
        }
    }

    /// A volunteer is found out: what it says about others does not matter any more.
    pub(super) fn silence(&mut self, token: u128) {
        self.court.iter_mut().for_each(|case| case.rivals.retain(|rival| rival.identity.token != token));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_goes_to_whom_it_is_reserved_for_and_on_if_that_one_leaves() {
        let mut checks = Checks::default();
        checks.want(1);
        checks.want(1);
        assert_eq!(checks.take_orphans(), BTreeSet::from([1]));
        checks.reserve(1, 7);
        assert!(checks.checkers().eq([7]) && checks.next_for(8).is_none());
        checks.release(7);
        assert_eq!(checks.take_orphans(), BTreeSet::from([1]));
        checks.reserve(1, 8);
        assert_eq!(checks.next_for(8), Some(1));
        assert_eq!(checks.next_for(8), None);
        checks.forget(1);
        assert!(checks.is_empty() && checks.patience_ms().is_none());
    }

    #[test]
    fn patience_ends_and_the_court_takes_one_case_after_the_other() {
        let mut checks = Checks::default();
        checks.want(1);
        checks.want(2);
        checks.take_orphans();
        checks.prolong(1, 100, 40_000.0);
        let mut now_ms = 100;
        for _ in 0..REDRAWS_MAX {
            checks.prolong(2, now_ms, 0.0);
            assert!(checks.give_up(now_ms + PATIENCE_MS - 1).is_empty() && checks.take_orphans().is_empty());
            now_ms += PATIENCE_MS;
            assert!(checks.give_up(now_ms).is_empty());
            assert_eq!(checks.take_orphans(), BTreeSet::from([2]));
        }
        checks.prolong(2, now_ms, 0.0);
        assert_eq!(checks.give_up(now_ms + PATIENCE_MS), [2]);
        assert!(checks.summon(2, &[0..1], []));
        assert!(!checks.summon(1, &[1..2], []));
        assert!(!checks.summon(2, &[0..1], []));
        assert_eq!(checks.court.len(), 2);
        assert_eq!((checks.patience_ms(), checks.of_volunteers().count()), (None, 0));
    }
}
