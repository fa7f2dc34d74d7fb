//! Copies of what others have, for idle volunteers.
//!
//! When nothing is free, a volunteer that is idle gets a copy of a group if it should be done with it clearly earlier
//! than whoever has it, or if the answer is overdue: the group that is expected latest first, and the fastest
//! volunteer first. A check that is overdue goes to somebody idle too, but by lot: whoever is fast shall not choose
//! what it checks.

use std::collections::VecDeque;

use protocol::plan::Assignment;

use super::audits::{Chosen, choose};
use super::scheduler::{LAST_RESORT_MS, Scheduler};
use super::volunteers::{Expected, GRACE_MS_MIN, Volunteer, grace_ms};

/// Copies of one group that may be out and are not overdue, the first included. Further ones go out only when nobody
/// has answered for [`LAST_RESORT_MS`]: those who have it may all be asleep.
const COPIES_MAX: usize = 4;

impl Scheduler<'_> {
    /// Gives copies of groups to idle volunteers, the fastest first, where that should end the group's wait sooner.
    /// Answers with when the next copy is due if somebody stays idle.
    pub(super) fn back_up(&mut self, assignments: &mut Vec<(u64, Assignment)>) -> Option<u64> {
        if (self.has_free() || !self.copies) && !self.left_alone {
            return None;
        }
        let own = self.volunteers.own().filter(|own| self.local_helps && self.room(*own) == Some(0));
        let roster = &self.volunteers.roster;
        let mut idle: Vec<u64> = match self.left_alone {
            // Whoever is there may be the only one who is awake.
            true => roster.ready(0).map(|(_, session)| session).collect(),
            false => roster.idle().take(self.round.out()).collect(),
        };
        if let Some(own) = own {
            let speed = |session: u64| self.volunteers.get(session).and_then(|one| one.speed).unwrap_or(0.0);
            let is_awake = |session: u64| self.volunteers.get(session).is_some_and(Volunteer::is_awake);
            let is_before = |session: u64| is_awake(session) && speed(session) >= speed(own);
            let place = idle.iter().take_while(|session| is_before(**session)).count();
            idle.insert(place, own);
        }
        if idle.is_empty() {
            return None;
        }
        let checks = self.round.checks.of_volunteers();
        let checks: Vec<u64> = checks.filter(|id| self.round.drawn_copies(*id).next().is_some()).collect();
        let mut again_ms: Option<u64> = None;
        let mut idle: VecDeque<u64> = idle.into();
        for group in checks {
            let due_ms = self.check_due_ms(group);
            if due_ms > self.now_ms {
                again_ms = Some(again_ms.map_or(due_ms, |ms| ms.min(due_ms)));
                continue;
            }
            let chosen = choose(self.round, group, self.volunteers, self.chance, self.now_ms, true);
            if let Some(Chosen { session, .. }) = chosen {
                idle.retain(|one| *one != session);
                assignments.push((session, self.check(session, group)));
                again_ms = again_ms.or(Some(self.now_ms + GRACE_MS_MIN as u64));
            }
        }
        let out = self.round.groups().map(|(id, group)| (self.expected_end_ms(&group.copies), id));
        let mut out: Vec<(f64, u64)> = out.collect();
        out.sort_by(|(a_ms, a), (b_ms, b)| b_ms.total_cmp(a_ms).then(a.cmp(b)));
        for (end_ms, group) in out {
            self.effort.groups += 1;
            let &session = idle.front()?;
            let due_ms = self.backup_due_ms(group, end_ms, session);
            if due_ms > self.now_ms {
                again_ms = Some(again_ms.map_or(due_ms, |ms| ms.min(due_ms)));
                continue;
            }
            idle.pop_front();
            *self.assignment += 1;
            let group = self.round.back_up(group, *self.assignment, self.now_ms);
            let (part, units) = (group.part, group.units.clone());
            assignments.push((session, self.ask(session, part, units)));
            again_ms = again_ms.or(Some(self.now_ms + GRACE_MS_MIN as u64));
        }
        idle.front().and(again_ms)
    }

    /// When a check that somebody has should go to somebody else too: once it is overdue.
    fn check_due_ms(&self, group: u64) -> u64 {
        let copies: Vec<u64> = self.round.drawn_copies(group).collect();
        let issued_ms = self.round.group(group).map_or(0, |group| group.issued_ms);
        if copies.iter().filter(|copy| self.is_awaited(**copy)).count() >= COPIES_MAX {
            return issued_ms + LAST_RESORT_MS;
        }
        let overdue =
            copies.iter().filter_map(|copy| self.volunteers.expected(*copy)).map(Expected::overdue_ms);
        overdue.fold(0.0, f64::max).ceil() as u64
    }

    /// When the first of a group's copies should be answered. Those that are overdue are not counted upon.
    fn expected_end_ms(&self, copies: &[u64]) -> f64 {
        let ends = copies.iter().copied().filter_map(|copy| {
            let expected = self.volunteers.expected(copy)?;
            (expected.overdue_ms() > self.now_ms as f64).then_some(expected.end_ms)
        });
        ends.fold(f64::INFINITY, f64::min)
    }

    /// Whether an answer to an assignment is not overdue.
    fn is_awaited(&self, copy: u64) -> bool {
        self.volunteers.expected(copy).is_some_and(|expected| expected.overdue_ms() > self.now_ms as f64)
    }

    /// When an idle volunteer should be given a copy of a group that is expected to be answered at that time: now, if
    /// it would be done clearly earlier, or else once those who have the group are overdue.
    fn backup_due_ms(&self, group: u64, end_ms: f64, session: u64) -> u64 {
        let Some(group) = self.round.group(group) else { return u64::MAX };
        let Some(volunteer) = self.volunteers.get(session) else { return u64::MAX };
        let awaited = group.copies.iter().copied().filter(|copy| self.is_awaited(*copy));
        if awaited.count() >= COPIES_MAX {
            return group.issued_ms + LAST_RESORT_MS;
        }
        let duration_ms = volunteer.duration_ms(self.round.task_of(group.part, &group.units));
        if self.left_alone {
            return group.issued_ms + (duration_ms as u64).min(LAST_RESORT_MS);
        }
        if self.now_ms as f64 + volunteer.way_ms() + duration_ms + grace_ms(duration_ms) < end_ms {
            return self.now_ms;
        }
        let expected = group.copies.iter().filter_map(|copy| self.volunteers.expected(*copy));
        let overdue = expected.map(Expected::overdue_ms);
        overdue.fold(0.0, f64::max).ceil() as u64
    }
}
