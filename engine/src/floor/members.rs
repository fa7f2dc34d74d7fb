//! The connected volunteers as the operator sees them.

use protocol::plan::Set;

use super::volunteers::Volunteer;
use super::{Audit, Floor};

/// One connected volunteer, or the coordinator's own worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Its session.
    pub session: u64,
    /// Whether it is the coordinator's own worker.
    pub local: bool,
    /// Cores it lends; 0 while it pauses.
    pub cores: u16,
    /// Assignments that it has not answered.
    pub outstanding: usize,
    /// Whether its answer should have come by now.
    pub overdue: bool,
    /// Whether a round ended while it was overdue, and nothing has been heard of it since.
    pub silent: bool,
    /// Results of it that were accepted, under the same token.
    pub accepted: u64,
    /// Results that proved right when somebody else computed them too; `None` if nothing is compared.
    pub proven: Option<u64>,
}

impl Floor {
    /// All who are connected, by session.
    pub fn members(&self, now_ms: u64) -> impl Iterator<Item = Member> {
        let compares = self.settings.audit != Audit::None;
        self.volunteers.iter().map(move |(session, volunteer)| {
            let Volunteer { cores, local, identity, silent, .. } = *volunteer;
            let record = self.volunteers.records.get(identity.token);
            Member {
                session,
                local,
                cores,
                outstanding: volunteer.outstanding(),
                overdue: volunteer.is_overdue(now_ms),
                silent,
                accepted: record.accepted,
                proven: compares.then_some(record.proven),
            }
        })
    }

    /// How many volunteers hold each shard of the training set.
    pub fn copies(&self) -> impl Iterator<Item = usize> {
        let shards = 0..self.settings.sets.training.shards.len() as u32;
        shards.map(|shard| self.volunteers.holders((Set::Training, shard)))
    }

    /// A pause is over in which nobody was asked for anything: silence begins to count now.
    pub fn end_pause(&mut self, now_ms: u64) {
        self.heard_ms = now_ms;
    }
}
