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
use protocol::plan::Assignment;

use super::Effort;
use super::audits::may_check;
use super::horizon::Machine;
use super::roster::{OUTSTANDING_MAX, Standing};
use super::round::{PartState, Round};
use super::secret::Chance;
use super::volunteers::{REST_MS, SLICE_MS, Volunteer, Volunteers};
use crate::settings::{LocalHelp, RunPlan};

/// How long it should keep it busy at least, where units are short: its way there and back costs some
/// milliseconds.
const SLICE_MS_MIN: f64 = 5.0;
/// Those who never delivered have at most one in so many of the round's units, as long as others are there: whoever
/// is asleep holds little up.
const TRIALS_ONE_IN: u32 = 8;
/// One stranger after the other gets a unit before those who are known so often. Otherwise these take all of a short
/// round before a stranger's turn comes, and strangers who decline all they get keep others from a turn.
const TRIAL_EVERY_MS: f64 = 2_000.0;
/// Where units are long, the pause is as long as so many of them: a stranger who sleeps holds up one round in many.
const TRIAL_EVERY_UNITS: f64 = 20.0;
/// Near the end of a round, a unit is queued behind another only so long before that one should be done: enough for its
/// way there. Until then it is left to whoever is idle.
const LEAD_MS: f64 = 200.0;
/// Whoever would be done with a unit too late is looked at again after this time at the earliest.
const HELD_MS_MIN: f64 = 50.0;
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
    /// Whether idle volunteers get copies of what others have.
    pub(super) copies: bool,
    /// Who checks what somebody is late with.
    pub(super) chance: &'a mut Chance,
    pub(super) now_ms: u64,
    pub(super) effort: &'a mut Effort,
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
        let mut assignments = self.hand_out_free(true);
        let is_anything_out = self.round.groups().next().is_some();
        if self.has_free() && !is_anything_out && self.volunteers.roster.held_ms().is_some() {
            // Nobody has anything, so those who are held back wait for nothing.
            self.volunteers.release(u64::MAX);
            assignments.extend(self.hand_out_free(false));
        }
        let backup_ms = self.back_up(&mut assignments);
        let held_ms = self.volunteers.roster.held_ms().filter(|_| self.has_free());
        let again_ms = backup_ms.into_iter().chain(held_ms).chain(self.volunteers.roster.rested_ms()).min();
        Handed { assignments, again_ms }
    }

    /// Hands out checks, and the units that are free: if `in_time`, to those who are done with them before the others.
    fn hand_out_free(&mut self, in_time: bool) -> Vec<(u64, Assignment)> {
        let mut assignments = Vec::new();
        assignments.extend(self.try_stranger());
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
            let mut next = own.map(|own| (Standing::Delivers, own));
            let mut last = None;
            loop {
                if next.is_none() {
                    next = self.volunteers.roster.next_ready(outstanding, last);
                    last = next;
                }
                // Not all are looked at, or crowds of strangers would cost time with every input.
                let Some((standing, session)) = next.take().filter(|_| self.has_free()) else { break };
                self.effort.volunteers += 1;
                if standing == Standing::OnTrial && !self.may_try(outstanding) {
                    break;
                }
                if self.room(session) == Some(outstanding) {
                    assignments.extend(self.give_free(session, in_time));
                }
            }
        }
        assignments
    }

    /// Gives a unit to the next stranger, if none has been tried for long.
    fn try_stranger(&mut self) -> Option<(u64, Assignment)> {
        let with_free = self.round.parts().iter().filter(|part| !part.free.is_empty());
        let unit_cost = with_free.map(|part| part.unit_cost).min_by(f64::total_cmp)?;
        let unit_ms = self.volunteers.roster.typical_core_speed().map_or(0.0, |speed| unit_cost / speed);
        let pause_ms = (TRIAL_EVERY_UNITS * unit_ms).max(TRIAL_EVERY_MS) as u64;
        let session = self.volunteers.next_trial(self.now_ms, pause_ms)?;
        self.give_free(session, false)
    }

    /// Hands free units to a volunteer that has room, if it should have some.
    fn give_free(&mut self, session: u64, in_time: bool) -> Option<(u64, Assignment)> {
        if let Some(until_ms) = self.held_until_ms(session).filter(|_| in_time) {
            self.volunteers.hold_back(session, until_ms);
            return None;
        }
        let (part, units) = self.choose(session)?;
        *self.assignment += 1;
        self.round.issue(*self.assignment, part, units.clone(), self.now_ms);
        self.volunteers.gave(session, self.round.task_of(part, &units).cost);
        Some((session, self.ask(session, part, units)))
    }

    /// Until when a volunteer is to be given no unit, because it would be done with it later than others, or would only
    /// queue what somebody idle could begin with; `None` if it may have one.
    fn held_until_ms(&mut self, session: u64) -> Option<u64> {
        let unit_cost = self.round.parts().iter().find(|part| !part.free.is_empty())?.unit_cost;
        let typical = self.volunteers.roster.typical_core_speed().filter(|_| !self.left_alone)?;
        self.renew_horizon(unit_cost, typical);
        let volunteer = self.volunteers.get(session)?;
        let Some(busy_ms) = volunteer.busy_for_ms(self.now_ms, Some(typical)) else {
            // It has something to do and is late with it.
            return Some(self.now_ms + REST_MS);
        };
        let busy_ms = busy_ms.max(volunteer.way_ms());
        let unit_ms = unit_cost / volunteer.core_speed.unwrap_or(typical);
        let left_ms = self.round.horizon.left_ms(self.now_ms, unit_ms);
        let late_ms = busy_ms + unit_ms - left_ms;
        let wait_ms = if late_ms > 0.0 {
            (late_ms / 2.0).max(HELD_MS_MIN)
        } else if volunteer.outstanding() > 0 && busy_ms > LEAD_MS && late_ms + unit_ms > 0.0 {
            busy_ms - LEAD_MS
        } else {
            return None;
        };
        Some(self.now_ms + wait_ms.ceil() as u64)
    }

    /// How many units a volunteer would be done with in time, at least one.
    fn units_in_time(&self, volunteer: &Volunteer, unit_cost: f64) -> f64 {
        let Some(core_speed) = volunteer.core_speed.filter(|_| !self.left_alone) else {
            return f64::INFINITY;
        };
        let unit_ms = unit_cost / core_speed;
        let busy_ms = volunteer.busy_for_ms(self.now_ms, None).unwrap_or(0.0).max(volunteer.way_ms());
        let left_ms = self.round.horizon.left_ms(self.now_ms, unit_ms) - busy_ms;
        (f64::from(volunteer.cores) * (left_ms / unit_ms).floor()).max(1.0)
    }

    fn renew_horizon(&mut self, unit_cost: f64, typical: f64) {
        let Scheduler { round, volunteers, now_ms, local_helps, .. } = self;
        let machine = |one: &Volunteer| {
            let counts = !one.local || *local_helps;
            let works = counts
                && one.is_likely_to_work(volunteers.round())
                && (one.delivers() || one.outstanding() > 0);
            let busy_ms = one.busy_for_ms(*now_ms, Some(typical)).filter(|_| works)?;
            let unit_ms = unit_cost / one.core_speed.unwrap_or(typical);
            let busy_ms = busy_ms.max(one.way_ms());
            Some(Machine { busy_ms, cores: one.cores.into(), unit_ms })
        };
        let machines = || volunteers.iter().filter_map(|(_, one)| machine(one)).collect();
        let units = (round.free_cost() / unit_cost).ceil();
        round.horizon.renew(*now_ms, units, machines);
    }

    /// How many assignments a volunteer has, if it has room for another.
    pub(super) fn room(&self, session: u64) -> Option<usize> {
        let own = self.volunteers.get(session).filter(|one| one.local && one.cores > 0);
        let of_own =
            own.filter(|own| own.rests_until_ms <= self.now_ms && own.outstanding() < OUTSTANDING_MAX);
        of_own.map(Volunteer::outstanding).or_else(|| self.volunteers.roster.room(session))
    }

    pub(super) fn has_free(&self) -> bool {
        self.round.parts().iter().any(|part| !part.free.is_empty())
    }

    /// Whether somebody who never delivered may be given a unit.
    fn may_try(&self, outstanding: usize) -> bool {
        let most = (self.round.granted() / TRIALS_ONE_IN).max(1) as usize;
        let roster = &self.volunteers.roster;
        outstanding == 0
            && (roster.trials < most || roster.known == 0 && !self.local_helps || self.left_alone)
    }

    /// The next group that a volunteer is to compute because somebody else has computed it.
    fn next_check(&mut self, session: u64) -> Option<u64> {
        while let Some(group) = self.round.checks.next_for(session) {
            let settled = self.round.settled(group);
            if settled.is_some_and(|settled| may_check(settled, session, self.volunteers, self.now_ms)) {
                return Some(group);
            }
            // It is this volunteer's own by now.
            self.round.checks.abandon(group);
        }
        None
    }

    /// Has a volunteer compute a group that somebody else has computed.
    pub(super) fn check(&mut self, session: u64, group: u64) -> Assignment {
        *self.assignment += 1;
        self.round.note_drawn(*self.assignment);
        let copied = self.round.back_up(group, *self.assignment, self.now_ms);
        let (part, units) = (copied.part, copied.units.clone());
        let task = self.round.task_of(part, &units);
        let duration_ms = self.volunteers.get(session).map_or(0.0, |one| one.wait_ms(task));
        self.round.checks.prolong(group, self.now_ms, duration_ms);
        self.ask(session, part, units)
    }

    /// Makes the assignment of the newest number and notes whom it went to.
    pub(super) fn ask(&mut self, session: u64, part: usize, units: Vec<Range<u32>>) -> Assignment {
        let (assignment, round) = (*self.assignment, self.round.plan.round);
        let task = self.round.task_of(part, &units);
        let shards = self.round.shards(self.run, part, &units);
        self.volunteers.asked(session, assignment, task, &shards, self.now_ms);
        Assignment { assignment, round, units }
    }

    /// The units to hand to `session` now: all of one part, at most a time slice and at most half of its
    /// share of what remains, unless that is too little to be sent about. `None` when nothing is free, or when it
    /// has had all that it may have of the round.
    fn choose(&self, session: u64) -> Option<(usize, Vec<Range<u32>>)> {
        let volunteer = self.volunteers.get(session)?;
        let parts = self.round.parts();
        let cores = f64::from(volunteer.cores);
        let own = self.volunteers.own().filter(|_| self.local_helps).and_then(|own| self.volunteers.get(own));
        let mut with_free = (0..parts.len()).filter(|index| !parts[*index].free.is_empty());
        // Who never delivered proves itself with the smallest unit there is: a stranger may be slow, and a round can wait
        // for its largest unit longer than for all others.
        let index = match volunteer.delivers() {
            true => with_free.next()?,
            false => {
                with_free.min_by(|one, other| parts[*one].unit_cost.total_cmp(&parts[*other].unit_cost))?
            }
        };
        let (set, PartState { free, unit_cost, .. }) = (self.round.plan.parts[index].set, &parts[index]);

        let share = (self.round.free_cost() * self.share(own, volunteer.speed) / 2.0 / unit_cost).ceil();
        // A unit is computed by one core: where units are long, each core gets one.
        let slice = volunteer.speed.map_or(cores, |speed| (SLICE_MS * speed / unit_cost).max(cores));
        let least = volunteer.speed.map_or(1.0, |speed| (SLICE_MS_MIN * speed / unit_cost).max(1.0));
        let most = match self.left_alone {
            true => f64::INFINITY,
            false => self.volunteers.may_be_given(session, self.round.cost()) / unit_cost,
        };
        if most <= 0.0 {
            return None;
        }
        let in_time = self.units_in_time(volunteer, *unit_cost);
        let wanted = match volunteer.delivers() {
            true => slice.min(share).max(least).min(in_time).min(most.ceil()) as usize,
            false => 1,
        };

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
    use super::super::secret::Secret;
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
            copies: true,
            chance: &mut Chance::new(&Secret::new([1; 32])),
            now_ms: 0,
            effort: &mut Effort::default(),
        };
        let assignments = scheduler.hand_out().assignments;
        assignments.into_iter().find(|(session, _)| *session == 7).map(|(_, asked)| asked.units).unwrap()
    }

    #[test]
    fn a_stranger_begins_with_the_smallest_unit() {
        let mut volunteers = Volunteers::default();
        volunteers.join(7, 1, false, Identity { token: 7, address: 7 }, BTreeSet::new());
        assert_eq!(first_units(&mut volunteers), [4..5]);
    }

    #[test]
    fn what_nobody_else_holds_is_chosen_first() {
        let shards = |of: &[u32]| of.iter().map(|&shard| (Set::Training, shard)).collect::<BTreeSet<_>>();
        // It has delivered before.
        let known = || {
            let mut volunteers = Volunteers::default();
            volunteers.records.of(7).accepted = 1;
            volunteers.join(7, 1, false, Identity { token: 7, address: 7 }, shards(&[0, 1]));
            volunteers
        };
        assert_eq!(first_units(&mut known()), [0..1]);
        let mut volunteers = known();
        volunteers.join(8, 1, false, Identity { token: 8, address: 8 }, shards(&[0]));
        assert_eq!(first_units(&mut volunteers), [2..3]);
    }
}
