//! Takes messages from volunteers, and hands out work.

use protocol::message::ResultHeader;

use super::decoder::Message;
use super::ledger::Contributor;
use super::scheduler::{LAST_RESORT_MS, Scheduler};
use super::validator::{self, Question};
use super::volunteers::Volunteer;
use super::{Engine, Output, Stage};

impl Engine {
    pub(super) fn message(&mut self, now_ms: u64, session: u64, message: Message) {
        self.volunteers.heard(session);
        match message {
            Message::Cores(cores) => {
                if let Some(volunteer) = self.volunteers.get_mut(session) {
                    volunteer.cores = cores;
                }
            }
            Message::Result { header, vector } => self.result(now_ms, session, &header, vector.as_deref()),
            Message::Unfit(unfit) => self.unfit(now_ms, session, unfit),
            Message::Declined { assignment, .. } => self.declined(now_ms, session, assignment),
        }
    }

    fn result(&mut self, now_ms: u64, session: u64, header: &ResultHeader, vector: Option<&[i64]>) {
        let assignment = header.assignment;
        let (Stage::Open { round, .. } | Stage::Vanished { round }) = &mut self.stage else { return };
        if !self.volunteers.owes(session, assignment) {
            return;
        }
        let was_complete = round.is_complete();
        if let Some(group) = round.group_of(assignment) {
            let (run, network) = (self.settings.run, &self.settings.network);
            let examples = round.examples(self.settings.run_plan(), group.part, &group.units);
            let question = Question { run, plan: &round.plan, group, examples, network };
            if let Err(text) = validator::judge(question, header, vector) {
                return self.convict(now_ms, session, text);
            }
            let is_newcomer = self.volunteers.get(session).is_none_or(Volunteer::is_newcomer);
            round.settle(assignment, Contributor { session, is_newcomer }, (header, vector));
            self.volunteers.accepted(session);
            if self.volunteers.get(session).is_some_and(|volunteer| !volunteer.local) {
                self.heard_ms = now_ms;
                self.left_alone = false;
            }
        }
        // Also when somebody else was first: it tells how fast the volunteer is.
        self.volunteers.delivered(session, assignment, now_ms);
        if round.is_complete() && !was_complete {
            self.complete(now_ms);
        }
    }

    fn declined(&mut self, now_ms: u64, session: u64, assignment: u64) {
        let (Stage::Open { round, .. } | Stage::Vanished { round }) = &mut self.stage else { return };
        if !self.volunteers.owes(session, assignment) {
            return;
        }
        let group = round.group_of(assignment);
        let shards = group.map(|group| round.shards(self.settings.run_plan(), group.part, &group.units));
        self.volunteers.declined(session, assignment, &shards.unwrap_or_default(), now_ms);
        round.take_back(assignment);
    }

    pub(super) fn remove(&mut self, session: u64) {
        for assignment in self.volunteers.leave(session) {
            if let Stage::Open { round, .. } = &mut self.stage {
                round.take_back(assignment);
            }
        }
    }

    pub(super) fn hand_out(&mut self, now_ms: u64) {
        self.wake_ms = None;
        if !matches!(self.stage, Stage::Open { .. }) {
            return;
        }
        let last_resort_ms = self.heard_ms + LAST_RESORT_MS;
        self.left_alone |= now_ms >= last_resort_ms;
        let local_helps = self.local_helps();
        let Stage::Open { round, .. } = &mut self.stage else { return };
        let scheduler = Scheduler {
            round,
            volunteers: &mut self.volunteers,
            run: self.settings.run_plan(),
            assignment: &mut self.counters.assignment,
            local_helps,
            left_alone: self.left_alone,
            now_ms,
        };
        let handed = scheduler.hand_out();
        let assign = |(session, assignment)| Output::Assign { session, assignment };
        self.outputs.extend(handed.assignments.into_iter().map(assign));
        let last_resort_ms = (!self.left_alone).then_some(last_resort_ms);
        self.wake_ms = handed.again_ms.into_iter().chain(last_resort_ms).min();
    }
}
