//! Who gets which units, and how many (Sandblaster's rules, made for tabs).
//!
//! Assignments are sized to a time slice by each volunteer's measured speed and are never more than
//! a share of what remains, so they shrink towards the end of a round. A volunteer that already
//! holds a unit's shard is preferred. When nothing is free, idle volunteers get copies of what is
//! out, oldest first. None of this touches the results, only the time they take.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use protocol::limits::RANGES_MAX;
use protocol::plan::{Part, Set, SetPlan, Work};

use super::LocalHelp;
use super::round::{Group, Round};

/// How long an assignment should keep a volunteer busy.
pub const SLICE_MS: f64 = 400.0;
/// Assignments that one volunteer may have: one under way, one queued behind it.
pub const OUTSTANDING_MAX: usize = 2;
/// Copies of one group that may be out, the first included.
pub const COPIES_MAX: usize = 4;
/// No group is copied before it has been out this long: its result may be on its way.
pub const BACKUP_AFTER_MS: u64 = 25;
/// A newcomer is expected to take this long for anything.
pub const UNKNOWN_DURATION_MS: u64 = 1000;
/// When no result has come for this long, the coordinator's own worker helps whatever its setting.
pub const LAST_RESORT_MS: u64 = 5000;

/// What the scheduler knows of a volunteer.
#[derive(Debug)]
pub(super) struct Volunteer {
    pub(super) cores: u16,
    pub(super) local: bool,
    /// Shards of the training set it holds.
    pub(super) shards: BTreeSet<u32>,
    /// Assignments it has.
    pub(super) outstanding: BTreeSet<u64>,
    /// Measured speed in cost per millisecond (see [`cost`]).
    pub(super) speed: Option<f64>,
    /// When its last result came.
    pub(super) last_result_ms: u64,
}

impl Volunteer {
    /// Learns from a result for units of that cost, issued then, come now.
    pub(super) fn measure(&mut self, cost: f64, issued_ms: u64, now_ms: u64) {
        let began_ms = issued_ms.max(self.last_result_ms);
        let elapsed_ms = now_ms.saturating_sub(began_ms).max(1) as f64;
        let speed = cost / elapsed_ms;
        self.speed = Some(self.speed.map_or(speed, |known| 0.5 * (known + speed)));
        self.last_result_ms = now_ms;
    }

    fn duration_ms(&self, cost: f64) -> u64 {
        self.speed.map_or(UNKNOWN_DURATION_MS, |speed| (cost / speed) as u64)
    }
}

/// How much work one example of a part is, in forward passes.
pub(super) fn cost_per_example(work: &Work) -> f64 {
    match work {
        Work::Gradient => 3.0,
        Work::Evaluation => 1.0,
        Work::Losses { steps } => steps.len() as f64,
    }
}

/// How much work these units of a part are, in forward passes.
pub(super) fn cost(part: &Part, set: &SetPlan, units: &[Range<u32>]) -> f64 {
    let units: u32 = units.iter().map(|range| range.end - range.start).sum();
    cost_per_example(&part.work) * f64::from(units) * f64::from(set.examples_per_unit)
}

/// Whether the coordinator's own worker takes part in ordinary work.
pub(super) fn local_helps(help: LocalHelp, volunteers: &BTreeMap<u64, Volunteer>) -> bool {
    match help {
        LocalHelp::Never => false,
        LocalHelp::Always => true,
        LocalHelp::Auto => {
            let speed = |volunteer: &Volunteer| volunteer.speed.unwrap_or(0.0);
            let lent = |volunteer: &&Volunteer| !volunteer.local && volunteer.cores > 0;
            let remote: f64 = volunteers.values().filter(lent).map(speed).sum();
            let own = volunteers.values().find(|volunteer| volunteer.local).map_or(0.0, speed);
            remote == 0.0 || remote < own
        }
    }
}

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

/// The units to hand to `session` now: all of one part, at most a time slice and at most half of
/// its fair share of what remains. Empty when nothing is free.
pub(super) fn choose(
    round: &Round,
    cuts: Cuts<'_>,
    volunteers: &BTreeMap<u64, Volunteer>,
    session: u64,
) -> (usize, Vec<Range<u32>>) {
    let volunteer = &volunteers[&session];
    let Some(&first) = round.free.first() else { return (0, Vec::new()) };
    let (index, _) = round.plan.locate(first).expect("a free unit is one of the round's");
    let part = &round.plan.parts[index];
    let begins: u32 = round.plan.parts[..index].iter().map(|part| part.units).sum();
    let cut = cuts.of(part.set);

    let at_hand = volunteers.values().filter(|volunteer| volunteer.cores > 0);
    let (total, known) = at_hand.clone().fold((0.0, 0usize), |(total, known), volunteer| {
        volunteer.speed.map_or((total, known), |speed| (total + speed, known + 1))
    });
    let fair_share = match volunteer.speed {
        Some(speed) if total > 0.0 => (speed / total) * known as f64 / at_hand.count().max(1) as f64,
        _ => 1.0 / at_hand.count().max(1) as f64,
    };
    let remaining = round.free.range(begins..begins + part.units).count();
    let by_share = (remaining as f64 * fair_share / 2.0).ceil().max(1.0);
    let unit_cost = cost_per_example(&part.work) * f64::from(cut.examples_per_unit);
    let by_slice = volunteer.speed.map_or(f64::from(volunteer.cores), |speed| SLICE_MS * speed / unit_cost);
    let wanted = by_slice.min(by_share).max(1.0) as usize;

    let mut chosen = BTreeSet::new();
    let take_shard = |shard: u32, chosen: &mut BTreeSet<u32>| {
        let start = begins + shard.saturating_mul(cut.units_per_shard).min(part.units);
        let end = (start + cut.units_per_shard).min(begins + part.units);
        chosen.extend(round.free.range(start..end).take(wanted.saturating_sub(chosen.len())));
    };
    if part.set == Set::Training {
        for &shard in &volunteer.shards {
            take_shard(shard, &mut chosen);
            if chosen.len() >= wanted {
                break;
            }
        }
        if chosen.is_empty() {
            // A new shard: one that the fewest others hold, so that each has its own to come back to.
            for shard in least_held(round, begins..begins + part.units, cut, volunteers) {
                take_shard(shard, &mut chosen);
                if chosen.len() >= wanted {
                    break;
                }
            }
        }
    } else {
        chosen.extend(round.free.range(begins..begins + part.units).take(wanted));
    }
    (index, ranges(chosen))
}

/// Shards with free units among `units`, the least held first.
fn least_held(
    round: &Round,
    units: Range<u32>,
    cut: &SetPlan,
    volunteers: &BTreeMap<u64, Volunteer>,
) -> Vec<u32> {
    let mut shards: Vec<u32> = round.free.range(units.clone()).map(|unit| cut.shard_of(unit - units.start)).collect();
    shards.dedup();
    let holders = |shard: &u32| volunteers.values().filter(|volunteer| volunteer.shards.contains(shard)).count();
    let mut by_holders: Vec<(usize, u32)> = shards.iter().map(|shard| (holders(shard), *shard)).collect();
    by_holders.sort_unstable();
    by_holders.into_iter().map(|(_, shard)| shard).collect()
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

/// The oldest group that `session`, being idle, should get a copy of, or else when to look again.
pub(super) fn choose_backup(
    round: &Round,
    cuts: Cuts<'_>,
    volunteer: &Volunteer,
    session: u64,
    now_ms: u64,
) -> Result<u64, Option<u64>> {
    let mut look_again: Option<u64> = None;
    for (id, group) in round.groups() {
        if group.copies.len() >= COPIES_MAX || round.has_copy(group, session) {
            continue;
        }
        let due_ms = backup_due_ms(round, cuts, volunteer, group);
        if due_ms <= now_ms {
            return Ok(id);
        }
        look_again = Some(look_again.map_or(due_ms, |earliest| earliest.min(due_ms)));
    }
    Err(look_again)
}

/// A copy pays once the group has been out for as long as the idle volunteer would need for it:
/// before that, the one who has it will most likely be first.
fn backup_due_ms(round: &Round, cuts: Cuts<'_>, volunteer: &Volunteer, group: &Group) -> u64 {
    let part = &round.plan.parts[group.part];
    let duration_ms = volunteer.duration_ms(cost(part, cuts.of(part.set), &group.units));
    group.issued_ms + duration_ms.clamp(BACKUP_AFTER_MS, LAST_RESORT_MS)
}
