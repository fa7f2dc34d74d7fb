//! Rounds and assignments: the hub accepts them, declines them and answers them.

use std::sync::Arc;

use bytes::Bytes;
use protocol::frame::{RoundFrame, VectorChunks};
use protocol::message::{FromVolunteer, ResultHeader};
use protocol::pack::packed_bytes;
use protocol::plan::Assignment;

use super::underway::Underway;
use super::{CurrentRound, CurrentRun, Hub, HubOutput, texts};
use crate::message::ToCompute;
use crate::run::Run;
use crate::shared_round::SharedRound;
use crate::unit::UnitSums;

/// Maximum assignments that a hub holds: one under way, one to continue with, and some slack. It declines any
/// more.
pub const ASSIGNMENTS_MAX: usize = 4;

impl Hub {
    pub(super) fn begin_round(&mut self, now_ms: u64, round: RoundFrame<'_>, frame: &Bytes) {
        self.forget_round();
        if self.run.as_ref().is_some_and(|current| round.is_cut_short(current.run.network.parameters())) {
            // The next round has opened already, and its frame follows.
            return;
        }
        let suits = |run: &Run| round.is_whole(run.network.parameters()) && run.suits(&round.plan);
        let Some(CurrentRun { run, .. }) = self.run.as_ref().filter(|current| suits(&current.run)) else {
            return self.hang_up(now_ms, "the coordinator sent a round that does not suit its network");
        };
        self.counters.round += 1;
        self.round = Some(CurrentRound {
            number: self.counters.round,
            layouts: run.lay_out(&round.plan),
            shared: Arc::new(SharedRound::new(round.plan, frame.slice_ref(round.vectors))),
        });
    }

    /// Drops the round and its assignments. Compute workers drop their sums when the next round begins.
    pub(super) fn forget_round(&mut self) {
        self.round = None;
        self.queue.clear();
    }

    pub(super) fn assign(&mut self, assignment: Assignment) {
        let (Some(CurrentRun { run, .. }), Some(round)) = (&self.run, &self.round) else { return };
        if assignment.round != round.shared.plan().round {
            return;
        }
        let number = assignment.assignment;
        if self.lent() == 0 {
            return self.decline(number, "no core is lent");
        }
        if self.queue.len() >= ASSIGNMENTS_MAX {
            return self.decline(number, "too many assignments at once");
        }
        self.counters.assignment += 1;
        let key = self.counters.assignment;
        let CurrentRound { shared, layouts, .. } = round;
        match Underway::new(key, assignment, shared.plan(), layouts, |set| run.set(set)) {
            Some(underway) => self.queue.push_back(underway),
            None => self.decline(number, "its units do not all belong to one part of the round"),
        }
    }

    fn decline(&mut self, assignment: u64, reason: &str) {
        let mut reason = reason.to_owned();
        texts::cut(&mut reason);
        self.send(FromVolunteer::Decline { assignment, reason }.encode());
    }

    /// Removes an assignment from the queue, and its sums from the compute workers.
    pub(super) fn give_up(&mut self, index: usize) -> Option<Underway> {
        let underway = self.queue.remove(index)?;
        for compute in underway.sharers() {
            let message = ToCompute::Discard { assignment: underway.key };
            self.outputs.push_back(HubOutput::Compute { compute, message });
        }
        Some(underway)
    }

    pub(super) fn decline_at(&mut self, index: usize, reason: &str) {
        if let Some(underway) = self.give_up(index) {
            self.decline(underway.assignment.assignment, reason);
        }
    }

    pub(super) fn decline_all(&mut self, reason: &str) {
        while !self.queue.is_empty() {
            self.decline_at(0, reason);
        }
    }

    pub(super) fn find(&self, key: u64) -> Option<usize> {
        self.queue.iter().position(|underway| underway.key == key)
    }

    pub(super) fn send_result(&mut self, mut underway: Underway) {
        let (Some(CurrentRun { run, .. }), Some(round)) = (&self.run, &self.round) else { return };
        let UnitSums { losses, unfit_steps, correct, vector } = underway.take_sums();
        let vector = vector.unwrap_or_default();
        let vector_bytes = packed_bytes(&vector);
        let plan = round.shared.plan();
        let header = ResultHeader {
            run: run.welcome.run,
            round: plan.round,
            version: plan.version,
            assignment: underway.assignment.assignment,
            losses,
            unfit_steps,
            correct,
            vector_bytes: u32::try_from(vector_bytes).expect("parameters are limited to fewer bytes"),
        };
        self.counters.assignments_done += 1;
        self.counters.units_done += u64::from(underway.assignment.unit_count());
        self.counters.examples_done += underway.examples;
        self.send(FromVolunteer::Result(header).encode());
        if vector_bytes > 0 {
            self.counters.bytes_sent += vector_bytes as u64;
            self.outputs.push_back(HubOutput::SendVector(VectorChunks::new(vector)));
        }
    }
}
