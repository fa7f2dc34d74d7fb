//! The hub's view of its compute workers: the messages sent to each, and whether it is busy.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use super::HubOutput;
use super::shards::Key;
use crate::message::ToCompute;
use crate::shared_round::SharedRound;
use crate::shared_shard::SharedShard;

/// All compute workers. Each runs at most one job at a time, so that its queue holds the messages of at most
/// one job.
#[derive(Debug, Default)]
pub(super) struct Crew {
    members: BTreeMap<u32, Member>,
    hired: u32,
    uses: u64,
}

#[derive(Debug, Default)]
struct Member {
    set_up: bool,
    /// The hub's number of the last round sent to it.
    round: Option<u64>,
    running: Option<Running>,
    shards: BTreeMap<Key, HeldShard>,
}

#[derive(Debug)]
struct HeldShard {
    /// Its maximum size when decoded.
    bytes: u64,
    used: u64,
}

/// A compute worker's job, by the hub's own numbers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Running {
    pub(super) job: u64,
    pub(super) assignment: u64,
}

impl Crew {
    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    pub(super) fn busy(&self) -> usize {
        self.members.values().filter(|member| member.running.is_some()).count()
    }

    pub(super) fn idle(&self) -> impl Iterator<Item = u32> {
        self.members.iter().filter(|(_, member)| member.running.is_none()).map(|(compute, _)| *compute)
    }

    /// Adds a compute worker and returns its number.
    pub(super) fn hire(&mut self) -> u32 {
        self.hired += 1;
        self.members.insert(self.hired, Member::default());
        self.hired
    }

    /// Removes a compute worker, an idle one if there is any, and returns its number.
    pub(super) fn dismiss(&mut self) -> Option<u32> {
        let compute = self.idle().last().or_else(|| self.members.keys().next_back().copied())?;
        self.members.remove(&compute);
        Some(compute)
    }

    /// Removes a compute worker. Returns false if there is none with this number.
    pub(super) fn remove(&mut self, compute: u32) -> bool {
        self.members.remove(&compute).is_some()
    }

    /// Another run begins: every compute worker must be set up again, and the setup empties it.
    pub(super) fn forget_run(&mut self) {
        for member in self.members.values_mut() {
            *member = Member { running: member.running, ..Member::default() };
        }
    }

    /// Records that a compute worker has ended a job. Returns the job, if the compute worker was running it.
    pub(super) fn ended(&mut self, compute: u32, job: u64) -> Option<Running> {
        self.members.get_mut(&compute)?.running.take_if(|running| running.job == job)
    }

    pub(super) fn holds(&self, compute: u32, key: Key) -> bool {
        self.members.get(&compute).is_some_and(|member| member.shards.contains_key(&key))
    }

    pub(super) fn anyone_holds(&self, key: Key) -> bool {
        self.members.values().any(|member| member.shards.contains_key(&key))
    }

    /// Drops a shard from every compute worker, because the hub drops it.
    pub(super) fn drop_shard(&mut self, key: Key, outputs: &mut VecDeque<HubOutput>) {
        for (&compute, member) in &mut self.members {
            if member.shards.remove(&key).is_some() {
                let message = ToCompute::DropShard { set: key.0, shard: key.1 };
                outputs.push_back(HubOutput::Compute { compute, message });
            }
        }
    }

    /// Sets a compute worker up for the run, unless it is set up already.
    pub(super) fn set_up(&mut self, compute: u32, frame: &Bytes, outputs: &mut VecDeque<HubOutput>) {
        let Some(member) = self.members.get_mut(&compute) else { return };
        if !std::mem::replace(&mut member.set_up, true) {
            outputs.push_back(HubOutput::Compute { compute, message: ToCompute::Setup(frame.clone()) });
        }
    }

    /// Sends a compute worker the round, unless it has the round already.
    pub(super) fn show_round(
        &mut self,
        compute: u32,
        number: u64,
        round: &Arc<SharedRound>,
        outputs: &mut VecDeque<HubOutput>,
    ) {
        let Some(member) = self.members.get_mut(&compute) else { return };
        if member.round.replace(number) != Some(number) {
            outputs.push_back(HubOutput::Compute { compute, message: ToCompute::Round(round.clone()) });
        }
    }

    /// Sends a compute worker the shards that it lacks. While it holds more than `limit` bytes, it drops
    /// other shards, the least recently used first. `content` returns a shard and its size when decoded.
    pub(super) fn supply(
        &mut self,
        compute: u32,
        needed: &BTreeSet<Key>,
        limit: u64,
        mut content: impl FnMut(Key) -> Option<(Arc<SharedShard>, u64)>,
        outputs: &mut VecDeque<HubOutput>,
    ) {
        let Some(member) = self.members.get_mut(&compute) else { return };
        self.uses += 1;
        let mut arriving = Vec::new();
        for &key in needed {
            let shared = content(key);
            if let Some(held) = member.shards.get_mut(&key) {
                held.used = self.uses;
            } else if let Some((content, bytes)) = shared {
                member.shards.insert(key, HeldShard { bytes, used: self.uses });
                arriving.push(ToCompute::Shard { set: key.0, shard: key.1, content });
            }
        }
        while member.shards.values().fold(0u64, |sum, held| sum.saturating_add(held.bytes)) > limit {
            let others = member.shards.iter().filter(|(key, _)| !needed.contains(key));
            let Some((&key, _)) = others.min_by_key(|(_, held)| held.used) else { break };
            member.shards.remove(&key);
            let message = ToCompute::DropShard { set: key.0, shard: key.1 };
            outputs.push_back(HubOutput::Compute { compute, message });
        }
        outputs.extend(arriving.into_iter().map(|message| HubOutput::Compute { compute, message }));
    }

    pub(super) fn begin(&mut self, compute: u32, running: Running) {
        if let Some(member) = self.members.get_mut(&compute) {
            member.running = Some(running);
        }
    }
}
