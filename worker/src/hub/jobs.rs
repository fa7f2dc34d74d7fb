//! Compute workers and their jobs: how many cores work, and which units each gets.

use std::collections::BTreeSet;

use protocol::limits::CORES_MAX;
use protocol::message::{FromVolunteer, Unfit};
use protocol::plan::Assignment;

use super::crew::{Crew, Running};
use super::link::Link;
use super::shards::{Key, Shards};
use super::status::HubPhase;
use super::underway::{Segment, Underway};
use super::{Hub, HubOutput};
use crate::message::{FromCompute, Job, ToCompute};
use crate::run::Run;

/// Why a hub ends whose last compute worker has failed, and one whose compute workers never arrive.
const NO_MEMORY: &str = "The compute workers failed to start or to continue. There may be too little memory: close other \
    programs and try again.";
const NO_PROGRAM: &str = "The worker's program does not arrive. Check the connection and try again.";

impl Hub {
    /// Cores that can get work.
    pub(super) fn lent(&self) -> u16 {
        self.settings.cores.min(self.cores_max()).saturating_sub(self.failed_cores)
    }

    /// Cores that fit the memory.
    pub(super) fn cores_max(&self) -> u16 {
        let footprint = self.run.as_ref().map(|current| current.footprint);
        footprint.map_or(CORES_MAX, |footprint| footprint.cores(&self.settings))
    }

    pub(super) fn lend(&mut self, cores: u16) {
        self.settings.cores = cores.min(CORES_MAX);
        self.failed_cores = 0;
        self.cores_changed();
    }

    pub(super) fn compute_failed(&mut self, compute: u32) {
        self.give_up_core(compute, NO_MEMORY);
    }

    /// Compute workers whose program does not arrive are started again, until it is no longer the line's fault.
    pub(super) fn compute_unreached(&mut self, now_ms: u64, compute: u32) {
        if self.hiring.is_last_attempt() && self.hiring.is_due(now_ms) {
            self.give_up_core(compute, NO_PROGRAM);
        } else if self.remove(compute) {
            self.hiring.failed(now_ms, compute);
        }
    }

    /// The core of a compute worker stays out of use. With the last one the hub ends, for the reason in `text`.
    fn give_up_core(&mut self, compute: u32, text: &str) {
        if !self.remove(compute) {
            return;
        }
        self.failed_cores += 1;
        self.cores_changed();
        if self.lent() == 0 {
            self.end(HubPhase::Stopped, text.to_owned());
        }
    }

    /// Ends a compute worker, which may still hold memory. Returns false if there is none with this number.
    fn remove(&mut self, compute: u32) -> bool {
        let is_there = self.crew.remove(compute);
        if is_there {
            self.outputs.push_back(HubOutput::StopCompute { compute });
            self.compute_lost(compute);
        }
        is_there
    }

    pub(super) fn is_short_of_crew(&self) -> bool {
        self.crew.len() < usize::from(self.lent())
    }

    fn cores_changed(&mut self) {
        if self.link == Link::Open {
            self.send(FromVolunteer::Cores(self.lent()).encode());
            if self.lent() == 0 {
                self.decline_all("no core is lent");
            }
        }
        self.stop_crew_beyond(self.lent().into());
    }

    pub(super) fn stop_crew_beyond(&mut self, count: usize) {
        while self.crew.len() > count
            && let Some(compute) = self.crew.dismiss()
        {
            self.outputs.push_back(HubOutput::StopCompute { compute });
            self.compute_lost(compute);
        }
    }

    fn compute_lost(&mut self, compute: u32) {
        for underway in &mut self.queue {
            underway.lost(compute);
        }
    }

    pub(super) fn compute_says(&mut self, compute: u32, message: FromCompute) {
        self.hiring.succeeded(compute);
        match message {
            FromCompute::Done { job } => {
                let Some(running) = self.crew.ended(compute, job) else { return };
                if let Some(index) = self.find(running.assignment) {
                    self.queue[index].done(compute);
                }
            }
            FromCompute::Unfit { job, unit } => {
                let Some(running) = self.crew.ended(compute, job) else { return };
                let Some(index) = self.find(running.assignment) else { return };
                let Some(underway) = self.give_up(index) else { return };
                let Assignment { assignment, round, .. } = underway.assignment;
                self.send(FromVolunteer::Unfit(Unfit { assignment, round, unit }).encode());
            }
            FromCompute::Failed { job, reason } => {
                let Some(running) = self.crew.ended(compute, job) else { return };
                if let Some(index) = self.find(running.assignment) {
                    self.decline_at(index, &reason);
                }
            }
            FromCompute::Sums { assignment, sums } => {
                let Some(index) = self.find(assignment) else { return };
                if !self.queue[index].collected(compute, sums) {
                    self.decline_at(index, "its sums do not match");
                }
            }
        }
    }

    /// Gives an idle compute worker a job from the first assignment with pending units whose shards are here.
    /// A job is half of an equal share, so that the last jobs are small.
    pub(super) fn give_job(&mut self, compute: u32) {
        let (Some(current), Some(round)) = (&self.run, &self.round) else { return };
        let crew_size = self.crew.len() as u32;
        let limit = self.settings.compute_shard_bytes as u64;
        for index in 0..self.queue.len() {
            let underway = &mut self.queue[index];
            let share = underway.pending_units().div_ceil(2 * crew_size).max(1);
            let segments = choose(underway, compute, share, &self.crew, &self.shards, &current.run, limit);
            if segments.is_empty() {
                continue;
            }
            let set = underway.part.set;
            let given: BTreeSet<Key> = segments
                .iter()
                .flat_map(|segment| segment.shards.clone())
                .map(|index| (set, index))
                .collect();
            self.crew.set_up(compute, &current.frame, &mut self.outputs);
            self.crew.show_round(compute, round.number, &round.shared, &mut self.outputs);
            let shards = &mut self.shards;
            let content = |key: Key| Some((shards.content(key)?, current.run.decoded_bytes(key.0, key.1)));
            self.crew.supply(compute, &given, limit, content, &mut self.outputs);
            self.counters.job += 1;
            let units = segments.into_iter().map(|segment| segment.units).collect();
            let job = Job { job: self.counters.job, assignment: underway.key, units };
            // A compute worker keeps the sums of one assignment at a time.
            for other in self.queue.iter_mut().filter(|other| other.key != job.assignment) {
                if other.collect_from(compute) {
                    let message = ToCompute::Collect { assignment: other.key };
                    self.outputs.push_back(HubOutput::Compute { compute, message });
                }
            }
            self.crew.begin(compute, Running { job: job.job, assignment: job.assignment });
            self.outputs.push_back(HubOutput::Compute { compute, message: ToCompute::Run(job) });
            return;
        }
    }

    /// Asks for the sums of assignments without pending units, and sends the results that are complete.
    pub(super) fn collect(&mut self) {
        for underway in &mut self.queue {
            for compute in underway.collect() {
                let message = ToCompute::Collect { assignment: underway.key };
                self.outputs.push_back(HubOutput::Compute { compute, message });
            }
        }
        while let Some(index) = self.queue.iter().position(Underway::is_complete) {
            if let Some(underway) = self.queue.remove(index) {
                self.send_result(underway);
            }
        }
    }
}

/// Chooses about `share` pending units whose shards are here: first units whose shards this compute worker
/// holds, then units whose shards no compute worker holds, then any others. Its new shards stay below `limit`
/// bytes, except for the shards of its first segment.
fn choose(
    underway: &mut Underway,
    compute: u32,
    share: u32,
    crew: &Crew,
    shards: &Shards,
    run: &Run,
    limit: u64,
) -> Vec<Segment> {
    let set = underway.part.set;
    let (mut needed, mut bytes) = (BTreeSet::new(), 0u64);
    let mut segments = Vec::new();
    for preference in [Preference::Held, Preference::HeldByNobody, Preference::Any] {
        let wanted = share - segments.iter().map(units_of).sum::<u32>();
        let more = underway.give(compute, wanted, |indices| {
            let keys = || indices.clone().map(|index| (set, index));
            let suits = match preference {
                Preference::Held => keys().all(|key| crew.holds(compute, key)),
                Preference::HeldByNobody => keys().all(|key| shards.holds(key) && !crew.anyone_holds(key)),
                Preference::Any => keys().all(|key| shards.holds(key)),
            };
            let new = keys().filter(|key| !needed.contains(key));
            let more = new.fold(0u64, |sum, (_, index)| sum.saturating_add(run.decoded_bytes(set, index)));
            let fits = more == 0 || needed.is_empty() || bytes.saturating_add(more) <= limit;
            if suits && fits {
                bytes = bytes.saturating_add(more);
                needed.extend(keys());
            }
            suits && fits
        });
        segments.extend(more);
        if segments.iter().map(units_of).sum::<u32>() >= share {
            break;
        }
    }
    segments.sort_by_key(|segment: &Segment| segment.units.start);
    segments
}

/// The order of preference among units, by their shards.
#[derive(Debug, Clone, Copy)]
enum Preference {
    /// Units with shards that this compute worker holds.
    Held,
    /// Units with shards that no compute worker holds.
    HeldByNobody,
    /// Units with any shards that the hub holds.
    Any,
}

fn units_of(segment: &Segment) -> u32 {
    segment.units.len() as u32
}
