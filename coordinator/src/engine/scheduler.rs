//! Who gets which units, and how many (Sandblaster's rules, made for tabs).
//!
//! Assignments are sized to a time slice by each volunteer's measured speed and are never more than
//! a share of what remains, so they shrink towards the end of a round. A volunteer that already
//! holds a unit's shard is preferred. When nothing is free, idle volunteers get copies of what is
//! out, oldest first. None of this touches the results, only the time they take.
//!
//! Work is measured in cost: passes of one example forward through the network.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::ops::Range;

use protocol::limits::RANGES_MAX;
use protocol::plan::{Assignment, Part, Set, SetPlan, Work};

use super::LocalHelp;
use super::round::{Group, Round};
use super::volunteers::{Shard, Volunteer, Volunteers};

/// How long an assignment should keep a volunteer busy.
pub(super) const SLICE_MS: f64 = 400.0;
/// Assignments that one volunteer may have: one under way, one queued behind it.
pub const OUTSTANDING_MAX: usize = 2;
/// Copies of one group that may be out, the first included. Further ones go out only when nobody
/// has answered for [`LAST_RESORT_MS`]: those who have it may all be asleep.
const COPIES_MAX: usize = 4;
/// No group is copied before it has been out this long: its result may be on its way.
const BACKUP_AFTER_MS: u64 = 25;
/// A newcomer is expected to take this long for anything.
const UNKNOWN_DURATION_MS: f64 = 1000.0;
/// A volunteer that gave work back gets none for this long, so that it is not asked in a loop.
pub const REST_MS: u64 = 1000;
/// When no volunteer's result has come for this long, the coordinator's own worker helps whatever
/// its setting, until one comes.
pub const LAST_RESORT_MS: u64 = 5000;

/// The sets' cuts, to find a part's shards.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cuts<'a> {
    pub(super) training: &'a SetPlan,
    pub(super) test: &'a SetPlan,
}

impl<'a> Cuts<'a> {
    pub(super) fn of(&self, set: Set) -> &'a SetPlan {
        match set {
            Set::Training => self.training,
            Set::Test => self.test,
        }
    }
}

/// Whether the coordinator's own worker takes part in ordinary work.
pub(super) fn local_helps(help: LocalHelp, volunteers: &Volunteers) -> bool {
    match help {
        LocalHelp::Never => false,
        LocalHelp::Always => true,
        LocalHelp::Auto => {
            let speed = |volunteer: &Volunteer| volunteer.speed.unwrap_or(0.0);
            let all = || volunteers.iter().map(|(_, volunteer)| volunteer);
            let remote: f64 = all().filter(|one| !one.local && one.cores > 0).map(speed).sum();
            let own: f64 = all().filter(|one| one.local).map(speed).sum();
            // Without a measurement there is nothing to compare: it helps and is measured.
            let unmeasured = all().any(|one| one.local && one.speed.is_none());
            unmeasured || remote < own || remote == 0.0
        }
    }
}

/// One look at the open round and at who is there.
#[derive(Debug)]
pub(super) struct Scheduler<'a> {
    pub(super) round: &'a mut Round,
    pub(super) volunteers: &'a mut Volunteers,
    pub(super) cuts: Cuts<'a>,
    /// The last assignment's number.
    pub(super) assignment: &'a mut u64,
    /// Whether the coordinator's own worker is to be given work.
    pub(super) local_helps: bool,
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
        let mut crowd = Crowd::default();
        let mut rested_ms: Option<u64> = None;
        // Volunteers with room for an assignment, by how many they have.
        let mut waiting: [Vec<u64>; OUTSTANDING_MAX] = Default::default();
        for (session, one) in self.volunteers.iter() {
            if one.cores == 0 || (one.local && !self.local_helps) {
                continue;
            }
            if one.rests_until_ms > self.now_ms {
                rested_ms = Some(rested_ms.map_or(one.rests_until_ms, |ms| ms.min(one.rests_until_ms)));
                continue;
            }
            crowd.add(one);
            if let Some(waiting) = waiting.get_mut(one.outstanding()) {
                waiting.push(session);
            }
        }
        let mut assignments = Vec::new();
        // First everyone gets something to do, then something to go on with.
        for outstanding in 0..OUTSTANDING_MAX {
            let mut served = 0;
            for &session in &waiting[outstanding] {
                let Some((part, units)) = self.choose(session, &crowd) else { break };
                *self.assignment += 1;
                self.round.issue(*self.assignment, part, units.clone(), self.now_ms);
                assignments.push((session, self.ask(session, part, units)));
                served += 1;
            }
            let served: Vec<u64> = waiting[outstanding].drain(..served).collect();
            if let Some(next) = waiting.get_mut(outstanding + 1) {
                next.extend(served);
            }
        }
        let [idle, ..] = waiting;
        let backup_ms = self.back_up(idle, &mut assignments);
        Handed { assignments, again_ms: backup_ms.into_iter().chain(rested_ms).min() }
    }

    /// Gives copies of overdue groups, oldest first, to idle volunteers, fastest first. Answers
    /// with when the next copy is due if somebody stays idle.
    fn back_up(&mut self, mut idle: Vec<u64>, assignments: &mut Vec<(u64, Assignment)>) -> Option<u64> {
        let speed = |session: &u64| self.volunteers.get(*session).and_then(|one| one.speed);
        let pace = idle.iter().filter_map(speed).reduce(f64::max);
        let due = self.round.groups().filter(|(_, group)| self.backup_due_ms(group, pace) <= self.now_ms);
        let due: Vec<u64> = due.map(|(id, _)| id).take(idle.len()).collect();
        if !due.is_empty() {
            // The bits of numbers that are not negative order as the numbers do.
            idle.sort_by_cached_key(|session| Reverse(speed(session).unwrap_or(0.0).to_bits()));
        }
        for (&group, &session) in due.iter().zip(&idle) {
            *self.assignment += 1;
            let group = self.round.back_up(group, *self.assignment, self.now_ms);
            let (part, units) = (group.part, group.units.clone());
            assignments.push((session, self.ask(session, part, units)));
        }
        let stays_idle = due.len() < idle.len();
        let due_ms = self.round.groups().map(|(_, group)| self.backup_due_ms(group, pace));
        stays_idle.then(|| due_ms.min()).flatten()
    }

    /// A copy pays once the group has been out for as long as the fastest of the idle, which has
    /// this speed, would need for it: before that, the one who has it will most likely be first.
    fn backup_due_ms(&self, group: &Group, pace: Option<f64>) -> u64 {
        if group.copies.len() >= COPIES_MAX {
            return group.issued_ms + LAST_RESORT_MS;
        }
        let cost = self.cost(group.part, &group.units);
        let duration_ms = pace.map_or(UNKNOWN_DURATION_MS, |speed| cost / speed);
        group.issued_ms + (duration_ms as u64).clamp(BACKUP_AFTER_MS, LAST_RESORT_MS)
    }

    /// Makes the assignment of the newest number and notes whom it went to.
    fn ask(&mut self, session: u64, part: usize, units: Vec<Range<u32>>) -> Assignment {
        let (assignment, round) = (*self.assignment, self.round.plan.round);
        let cost = self.cost(part, &units);
        let shards = shards(self.round, self.cuts, part, &units);
        self.volunteers.asked(session, assignment, cost, &shards, self.now_ms);
        Assignment { assignment, round, units }
    }

    fn cost(&self, part: usize, units: &[Range<u32>]) -> f64 {
        let units: u32 = units.iter().map(|range| range.end - range.start).sum();
        f64::from(units) * self.unit_cost(part)
    }

    /// A full unit's cost; backward takes about as long as two passes forward.
    fn unit_cost(&self, part: usize) -> f64 {
        let Part { work, set, .. } = &self.round.plan.parts[part];
        let passes = match work {
            Work::Gradient => 3.0,
            Work::Evaluation => 1.0,
            Work::Losses { steps } => steps.len() as f64,
        };
        passes * f64::from(self.cuts.of(*set).examples_per_unit)
    }

    /// The units to hand to `session` now: all of one part, at most a time slice and at most half
    /// of its share of what remains. `None` when nothing is free.
    fn choose(&self, session: u64, crowd: &Crowd) -> Option<(usize, Vec<Range<u32>>)> {
        let volunteer = self.volunteers.get(session)?;
        let free = self.round.free();
        let index = free.iter().position(|units| !units.is_empty())?;
        let part = &self.round.plan.parts[index];
        let (begins, cut) = (begin_of(self.round, index), self.cuts.of(part.set));

        let remaining =
            free.iter().enumerate().map(|(part, units)| units.len() as f64 * self.unit_cost(part));
        let share = remaining.sum::<f64>() * crowd.share(volunteer.speed) / 2.0;
        let share = (share / self.unit_cost(index)).ceil();
        let cores = f64::from(volunteer.cores);
        let slice = volunteer.speed.map_or(cores, |speed| SLICE_MS * speed / self.unit_cost(index));
        let wanted = slice.min(share).max(1.0) as usize;

        let units_of = |shard: u32| {
            let first = begins + shard.saturating_mul(cut.units_per_shard).min(part.units);
            first..first.saturating_add(cut.units_per_shard).min(begins + part.units)
        };
        let free = &free[index];
        let mut chosen = BTreeSet::new();
        let held = volunteer.shards.range((part.set, 0)..=(part.set, u32::MAX));
        for &(_, shard) in held {
            chosen.extend(free.range(units_of(shard)).take(wanted - chosen.len()));
            if chosen.len() == wanted {
                break;
            }
        }
        if chosen.is_empty() {
            // A new shard: one that the fewest others hold, so that each has its own to come back
            // to, and only at last one that could not be had before.
            let mut shards = BinaryHeap::new();
            let mut next = free.first();
            while let Some(unit) = next {
                let shard = cut.shard_of(unit - begins);
                let key = (part.set, shard);
                shards.push(Reverse((volunteer.refused.contains(&key), self.volunteers.holders(key), shard)));
                next = free.range(units_of(shard).end..).next();
            }
            while let Some(Reverse((_, _, shard))) = shards.pop().filter(|_| chosen.len() < wanted) {
                chosen.extend(free.range(units_of(shard)).take(wanted - chosen.len()));
            }
        }
        Some((index, ranges(chosen)))
    }
}

/// What those who work now amount to together.
#[derive(Debug, Default)]
struct Crowd {
    count: usize,
    measured: usize,
    speed: f64,
}

impl Crowd {
    fn add(&mut self, volunteer: &Volunteer) {
        self.count += 1;
        self.measured += usize::from(volunteer.speed.is_some());
        self.speed += volunteer.speed.unwrap_or(0.0);
    }

    /// The share of the work that is one volunteer's. A newcomer counts as of average speed.
    fn share(&self, speed: Option<f64>) -> f64 {
        let relative = speed.map_or(1.0, |speed| speed / self.speed * self.measured as f64);
        relative / self.count as f64
    }
}

/// The shards that units of a part need.
pub(super) fn shards(round: &Round, cuts: Cuts<'_>, part: usize, units: &[Range<u32>]) -> Vec<Shard> {
    let (set, begins) = (round.plan.parts[part].set, begin_of(round, part));
    let shard_of = |unit: u32| (set, cuts.of(set).shard_of(unit - begins));
    let mut shards: Vec<Shard> = units.iter().cloned().flatten().map(shard_of).collect();
    shards.dedup();
    shards
}

/// The first of the round's units that belong to a part.
fn begin_of(round: &Round, part: usize) -> u32 {
    round.plan.parts[..part].iter().map(|part| part.units).sum()
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
