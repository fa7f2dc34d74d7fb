//! Who gets which units, and how many (Sandblaster's rules, made for tabs).
//!
//! Assignments are sized to a time slice by each volunteer's measured speed and are never more than
//! a share of what remains, so they shrink toward the end of a round. A volunteer that already
//! holds a unit's shard is preferred. When nothing is free, idle volunteers get copies of what is
//! out and would be done later where it is, the latest first, or is overdue. None of this touches the results, only the
//! time they take.
//!
//! Work is measured in cost: passes of one example forward through the network.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::ops::Range;

use protocol::limits::RANGES_MAX;
use protocol::plan::{Assignment, Work};

use super::audits::{Trust, trust};
use super::roster::{OUTSTANDING_MAX, Standing};
use super::round::{Group, PartState, Round};
use super::volunteers::{Expected, GRACE_MS_MIN, SLICE_MS, Volunteer, Volunteers, grace_ms};
use crate::settings::{LocalHelp, RunPlan};

/// How long it should keep it busy at least, where units are short: its way there and back costs some
/// milliseconds.
const SLICE_MS_MIN: f64 = 5.0;
/// Those who never delivered have at most one in so many of the round's units, as long as others are there: whoever
/// is asleep holds little up.
const TRIALS_ONE_IN: u32 = 8;
/// A replica that would take a volunteer's core longer than this goes to volunteers with faster ones, if
/// there are any.
const REPLICA_MS_MAX: f64 = 5000.0;
/// Copies of one group that may be out and are not overdue, the first included, but for those with volunteers that
/// never delivered. Further ones go out only when nobody
/// has answered for [`LAST_RESORT_MS`]: those who have it may all be asleep.
const COPIES_MAX: usize = 4;
/// When no volunteer's result has come for this long, the coordinator's own worker helps whatever
/// its setting, until one comes.
pub const LAST_RESORT_MS: u64 = 5000;

/// Whether the coordinator's own worker takes part in ordinary work.
pub(super) fn local_helps(help: LocalHelp, volunteers: &Volunteers) -> bool {
    match help {
        LocalHelp::Never => false,
        LocalHelp::Always => true,
        LocalHelp::Auto => {
            let own = volunteers.own().and_then(|own| volunteers.get(own));
            let remote = volunteers.roster.speed();
            // Without a measurement there is nothing to compare: it helps and is measured.
            let speed = own.and_then(|own| own.speed);
            own.is_some() && speed.is_none_or(|speed| remote < speed) || remote == 0.0
        }
    }
}

/// One look at the open round and at who is there.
#[derive(Debug)]
pub(super) struct Scheduler<'a> {
    pub(super) round: &'a mut Round,
    pub(super) volunteers: &'a mut Volunteers,
    pub(super) run: RunPlan<'a>,
    /// The last assignment's number.
    pub(super) assignment: &'a mut u64,
    /// Whether the coordinator's own worker is to be given work.
    pub(super) local_helps: bool,
    /// Whether nobody was heard for so long that anybody may do anything.
    pub(super) left_alone: bool,
    pub(super) now_ms: u64,
}

/// What a look came to.
#[derive(Debug)]
pub(super) struct Handed {
    /// Assignments to send, each with its session.
    pub(super) assignments: Vec<(u64, Assignment)>,
    /// When to look again if nothing happens before; later than now.
    pub(super) again_ms: Option<u64>,
}

impl Scheduler<'_> {
    /// Gives work to whoever should have some.
    pub(super) fn hand_out(mut self) -> Handed {
        let mut assignments = Vec::new();
        // First everyone gets something to do, then something to go on with.
        for outstanding in 0..OUTSTANDING_MAX {
            let checkers: Vec<u64> = self.round.checks.checkers().collect();
            let has_room = |session: &u64| self.room(*session) == Some(outstanding);
            for session in checkers.into_iter().filter(has_room).collect::<Vec<u64>>() {
                if let Some(group) = self.next_check(session) {
                    assignments.push((session, self.check(session, group)));
                }
            }
            if !self.has_free() {
                continue;
            }
            let own =
                self.volunteers.own().filter(|own| self.local_helps && self.room(*own) == Some(outstanding));
            let ready: Vec<(Standing, u64)> = self.volunteers.roster.ready(outstanding).collect();
            let own = own.map(|own| (Standing::Delivers, own));
            for (standing, session) in own.into_iter().chain(ready) {
                if !self.has_free() || (standing == Standing::OnTrial && !self.may_try(outstanding)) {
                    break;
                }
                if self.room(session) != Some(outstanding) {
                    continue;
                }
                let Some((part, units)) = self.choose(session) else { continue };
                *self.assignment += 1;
                self.round.issue(*self.assignment, part, units.clone(), self.now_ms);
                self.volunteers.gave(session, self.round.task_of(part, &units).cost);
                assignments.push((session, self.ask(session, part, units)));
            }
        }
        let backup_ms = self.back_up(&mut assignments);
        Handed {
            assignments,
            again_ms: backup_ms.into_iter().chain(self.volunteers.roster.rested_ms()).min(),
        }
    }

    /// How many assignments a volunteer has, if it has room for another.
    fn room(&self, session: u64) -> Option<usize> {
        let own = self.volunteers.get(session).filter(|one| one.local && one.cores > 0);
        let of_own =
            own.filter(|own| own.rests_until_ms <= self.now_ms && own.outstanding() < OUTSTANDING_MAX);
        of_own.map(Volunteer::outstanding).or_else(|| self.volunteers.roster.room(session))
    }

    fn has_free(&self) -> bool {
        self.round.parts().iter().any(|part| !part.free.is_empty())
    }

    /// Whether somebody who never delivered may be given a unit.
    fn may_try(&self, outstanding: usize) -> bool {
        let most = (self.round.granted() / TRIALS_ONE_IN).max(1) as usize;
        let roster = &self.volunteers.roster;
        outstanding == 0
            && (roster.trials < most || roster.known == 0 && !self.local_helps || self.left_alone)
    }

    /// Gives copies of groups to idle volunteers, the fastest first, where that should end the group's wait sooner.
    /// Answers with when the next copy is due if somebody stays idle.
    fn back_up(&mut self, assignments: &mut Vec<(u64, Assignment)>) -> Option<u64> {
        let own = self.volunteers.own().filter(|own| self.local_helps && self.room(*own) == Some(0));
        let roster = &self.volunteers.roster;
        let mut idle: Vec<u64> = match self.left_alone {
            // Whoever is there may be the only one who is awake.
            true => roster.ready(0).map(|(_, session)| session).collect(),
            false => roster.idle().take(self.round.out()).collect(),
        };
        if let Some(own) = own {
            let speed = |session: u64| self.volunteers.get(session).and_then(|one| one.speed).unwrap_or(0.0);
            let place = idle.iter().take_while(|session| speed(**session) >= speed(own)).count();
            idle.insert(place, own);
        }
        if idle.is_empty() {
            return None;
        }
        let checks = self.round.checks.of_volunteers();
        let checks = checks.filter_map(|id| Some((id, self.round.group(id)?)));
        let checks = checks.filter(|(_, group)| !group.copies.is_empty());
        let out = self.round.groups().chain(checks);
        let mut out: Vec<(f64, u64)> = out.map(|(id, group)| (self.expected_end_ms(group), id)).collect();
        out.sort_by(|(a_ms, a), (b_ms, b)| b_ms.total_cmp(a_ms).then(a.cmp(b)));
        let mut again_ms: Option<u64> = None;
        let mut idle = idle.into_iter().peekable();
        for (end_ms, group) in out {
            let &session = idle.peek()?;
            let suits =
                |settled| trust(settled, session, self.volunteers, self.now_ms) >= Some(Trust::Elsewhere);
            if self.round.settled(group).is_some_and(|settled| !suits(settled)) {
                continue;
            }
            let due_ms = self.backup_due_ms(group, end_ms, session);
            if due_ms > self.now_ms {
                again_ms = Some(again_ms.map_or(due_ms, |ms| ms.min(due_ms)));
                continue;
            }
            idle.next();
            *self.assignment += 1;
            let group = self.round.back_up(group, *self.assignment, self.now_ms);
            let (part, units) = (group.part, group.units.clone());
            assignments.push((session, self.ask(session, part, units)));
            again_ms = again_ms.or(Some(self.now_ms + GRACE_MS_MIN as u64));
        }
        idle.peek().and(again_ms)
    }

    /// When the first of a group's copies should be answered. Those that are overdue are not counted upon.
    fn expected_end_ms(&self, group: &Group) -> f64 {
        let ends = self.volunteers.with_known(&group.copies).filter_map(|copy| {
            let Expected { end_ms, duration_ms } = self.volunteers.expected(copy)?;
            (end_ms + grace_ms(duration_ms) > self.now_ms as f64).then_some(end_ms)
        });
        ends.fold(f64::INFINITY, f64::min)
    }

    /// Whether an answer to an assignment is not overdue.
    fn is_awaited(&self, copy: u64) -> bool {
        let expected = self.volunteers.expected(copy);
        expected.is_some_and(|Expected { end_ms, duration_ms }| {
            end_ms + grace_ms(duration_ms) > self.now_ms as f64
        })
    }

    /// When an idle volunteer should be given a copy of a group that is expected to be answered at that time: now, if it
    /// would be done clearly earlier, or else once those who have the group are overdue.
    fn backup_due_ms(&self, group: u64, end_ms: f64, session: u64) -> u64 {
        let Some(group) = self.round.group(group) else { return u64::MAX };
        let Some(volunteer) = self.volunteers.get(session) else { return u64::MAX };
        let awaited = self.volunteers.with_known(&group.copies).filter(|copy| self.is_awaited(*copy));
        if awaited.count() >= COPIES_MAX {
            return group.issued_ms + LAST_RESORT_MS;
        }
        let duration_ms = volunteer.duration_ms(self.round.task_of(group.part, &group.units));
        if self.left_alone {
            return group.issued_ms + (duration_ms as u64).min(LAST_RESORT_MS);
        }
        if self.now_ms as f64 + duration_ms + grace_ms(duration_ms) < end_ms {
            return self.now_ms;
        }
        let overdue = self.volunteers.with_known(&group.copies).filter_map(|copy| {
            let Expected { end_ms, duration_ms } = self.volunteers.expected(copy)?;
            Some(end_ms + grace_ms(duration_ms))
        });
        overdue.fold(0.0, f64::max).ceil() as u64
    }

    /// The next group that a volunteer is to compute because somebody else has computed it.
    fn next_check(&mut self, session: u64) -> Option<u64> {
        while let Some(group) = self.round.checks.next_for(session) {
            let settled = self.round.settled(group);
            if settled.is_some_and(|settled| trust(settled, session, self.volunteers, self.now_ms).is_some())
            {
                return Some(group);
            }
            // It is this volunteer's own by now.
            self.round.checks.abandon(group);
        }
        None
    }

    /// Has a volunteer compute a group that somebody else has computed.
    fn check(&mut self, session: u64, group: u64) -> Assignment {
        *self.assignment += 1;
        let copied = self.round.back_up(group, *self.assignment, self.now_ms);
        let (part, units) = (copied.part, copied.units.clone());
        let task = self.round.task_of(part, &units);
        let duration_ms = self.volunteers.get(session).map_or(0.0, |one| one.wait_ms(task));
        self.round.checks.prolong(group, self.now_ms, duration_ms);
        self.ask(session, part, units)
    }

    /// Makes the assignment of the newest number and notes whom it went to.
    fn ask(&mut self, session: u64, part: usize, units: Vec<Range<u32>>) -> Assignment {
        let (assignment, round) = (*self.assignment, self.round.plan.round);
        let task = self.round.task_of(part, &units);
        let shards = self.round.shards(self.run, part, &units);
        self.volunteers.asked(session, assignment, task, &shards, self.now_ms);
        Assignment { assignment, round, units }
    }

    /// The units to hand to `session` now: all of one part, at most a time slice and at most half of its
    /// share of what remains, unless that is too little to be sent about. `None` when nothing is free that
    /// suits it.
    fn choose(&self, session: u64) -> Option<(usize, Vec<Range<u32>>)> {
        let volunteer = self.volunteers.get(session)?;
        let parts = self.round.parts();
        let cores = f64::from(volunteer.cores);
        let core_speed = volunteer.core_speed.unwrap_or(f64::INFINITY);
        let own = self.volunteers.own().filter(|_| self.local_helps).and_then(|own| self.volunteers.get(own));
        let own_core_speed = own.and_then(|own| own.core_speed).unwrap_or(0.0);
        let fastest = self.volunteers.roster.core_speed().max(own_core_speed);
        // One who would hold the round up with a replica gets none, if others are faster.
        let suits = |index: &usize| {
            let (part, state) = (&self.round.plan.parts[*index], &parts[*index]);
            let too_slow = matches!(part.work, Work::Local { .. })
                && state.unit_cost > REPLICA_MS_MAX * core_speed
                && core_speed < fastest
                && !self.left_alone;
            !state.free.is_empty() && !too_slow
        };
        let index = (0..parts.len()).find(suits)?;
        let (set, PartState { free, unit_cost, .. }) = (self.round.plan.parts[index].set, &parts[index]);

        let remaining = parts.iter().map(|part| part.free.len() as f64 * part.unit_cost).sum::<f64>();
        let share = (remaining * self.share(own, volunteer.speed) / 2.0 / unit_cost).ceil();
        // A unit is computed by one core: where units are long, each core gets one.
        let slice = volunteer.speed.map_or(cores, |speed| (SLICE_MS * speed / unit_cost).max(cores));
        let least = volunteer.speed.map_or(1.0, |speed| (SLICE_MS_MIN * speed / unit_cost).max(1.0));
        let round_cost = || {
            parts
                .iter()
                .zip(&self.round.plan.parts)
                .map(|(state, part)| f64::from(part.units) * state.unit_cost)
        };
        let most = match self.left_alone {
            true => f64::INFINITY,
            false => self.volunteers.may_be_given(session, round_cost().sum()) / unit_cost,
        };
        if most <= 0.0 {
            return None;
        }
        // Who never delivered proves itself with a unit first.
        let wanted =
            if volunteer.delivers() { slice.min(share).max(least).min(most.ceil()) as usize } else { 1 };

        let mut chosen = BTreeSet::new();
        // First what nobody else holds: what is held by several is left to whoever is done first, so that
        // sharing out the end of a round costs no further downloads, round after round.
        let mut held: Vec<u32> = if free.shard_count() < volunteer.shards.len() {
            free.shards().filter(|&shard| volunteer.shards.contains(&(set, shard))).collect()
        } else {
            let held = volunteer.shards.range((set, 0)..=(set, u32::MAX)).map(|&(_, shard)| shard);
            held.filter(|&shard| free.at(shard).next().is_some()).collect()
        };
        held.sort_by_cached_key(|&shard| self.volunteers.holders((set, shard)));
        for shard in held {
            chosen.extend(free.at(shard).take(wanted - chosen.len()));
            if chosen.len() == wanted {
                break;
            }
        }
        if chosen.is_empty() {
            // A new shard: one that the fewest others hold, so that each has its own to come back
            // to, and only at last one that could not be had before.
            let rank = |shard| {
                (volunteer.refused.contains(&(set, shard)), self.volunteers.holders((set, shard)), shard)
            };
            let mut shards: BinaryHeap<_> = free.shards().map(|shard| Reverse(rank(shard))).collect();
            while let Some(Reverse((_, _, shard))) = shards.pop().filter(|_| chosen.len() < wanted) {
                chosen.extend(free.at(shard).take(wanted - chosen.len()));
            }
        }
        Some((index, ranges(chosen)))
    }

    /// The share of the work that is one volunteer's. A newcomer counts as of average speed.
    fn share(&self, own: Option<&Volunteer>, speed: Option<f64>) -> f64 {
        let roster = &self.volunteers.roster;
        let own_speed = own.and_then(|own| own.speed);
        let count = roster.count + usize::from(own.is_some());
        let measured = roster.measured + usize::from(own_speed.is_some());
        let all = roster.speed() + own_speed.unwrap_or(0.0);
        let relative = speed.map_or(1.0, |speed| speed / all * measured as f64);
        relative / count.max(1) as f64
    }
}

/// Units in increasing order as ranges, at most [`RANGES_MAX`] of them.
fn ranges(units: BTreeSet<u32>) -> Vec<Range<u32>> {
    let mut ranges: Vec<Range<u32>> = Vec::new();
    for unit in units {
        let full = ranges.len() == RANGES_MAX;
        match ranges.last_mut() {
            Some(last) if last.end == unit => last.end += 1,
            _ if full => break,
            _ => ranges.push(unit..unit + 1),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use protocol::plan::Set;

    use super::super::round::tests::{round, sets};
    use super::super::standing::Identity;
    use super::*;

    /// The first units that volunteer 7, of one core, is given of a round of two shards.
    fn first_units(volunteers: &mut Volunteers) -> Vec<Range<u32>> {
        let (mut round, sets, mut assignment) = (round(), sets(), 0);
        let scheduler = Scheduler {
            round: &mut round,
            volunteers,
            run: RunPlan { sets: &sets, seed: 1, minibatch: 5 },
            assignment: &mut assignment,
            local_helps: true,
            left_alone: false,
            now_ms: 0,
        };
        let assignments = scheduler.hand_out().assignments;
        assignments.into_iter().find(|(session, _)| *session == 7).map(|(_, asked)| asked.units).unwrap()
    }

    #[test]
    fn what_nobody_else_holds_is_chosen_first() {
        let shards = |of: &[u32]| of.iter().map(|&shard| (Set::Training, shard)).collect::<BTreeSet<_>>();
        let mut volunteers = Volunteers::default();
        volunteers.join(7, 1, false, Identity { token: 7, address: 7 }, shards(&[0, 1]));
        assert_eq!(first_units(&mut volunteers), [0..1]);
        let mut volunteers = Volunteers::default();
        volunteers.join(7, 1, false, Identity { token: 7, address: 7 }, shards(&[0, 1]));
        volunteers.join(8, 1, false, Identity { token: 8, address: 8 }, shards(&[0]));
        assert_eq!(first_units(&mut volunteers), [2..3]);
    }
}
