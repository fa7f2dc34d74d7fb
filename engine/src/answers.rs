//! Takes messages from volunteers, and hands out work.

use protocol::message::ResultHeader;

use super::decoder::Message;
use super::round::Sender;
use super::scheduler::{LAST_RESORT_MS, Scheduler};
use super::validator::{self, Question};
use super::{Engine, Output, Stage};

impl Engine {
    pub(super) fn message(&mut self, now_ms: u64, session: u64, message: Message) {
        self.volunteers.heard(session);
        match message {
            Message::Cores(cores) => {
                self.volunteers.lend(session, cores);
                if let (0, Stage::Open { round, .. }) = (cores, &mut self.stage) {
                    round.checks.release(session);
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
        let Some(volunteer) =
            self.volunteers.get(session).filter(|_| self.volunteers.owes(session, assignment))
        else {
            return;
        };
        let settled = round.settled_of(assignment);
        let group = settled.and_then(|id| round.group(id)).or_else(|| round.group_of(assignment));
        let mut counted = None;
        if let Some(group) = group {
            let (run, network) = (self.settings.run, &self.settings.network);
            let examples = round.examples(self.settings.run_plan(), group.part, &group.units);
            let question = Question { run, plan: &round.plan, group, examples, network };
            if let Err(text) = validator::judge(question, header, vector) {
                return self.convict(now_ms, session, text);
            }
            let fingerprint = self.settings.audit.compares().then(|| self.key.of(header, vector));
            if settled.is_some() {
                self.compare(now_ms, session, assignment, fingerprint);
            } else {
                counted = Some(examples);
                let sender = Sender {
                    session,
                    identity: volunteer.identity,
                    is_newcomer: volunteer.is_newcomer(),
                    is_own: volunteer.local,
                };
                let id = round.settle(assignment, sender, (header, vector), fingerprint);
                self.accept(now_ms, id, sender, validator::is_suspicious(header, vector));
            }
        }
        self.outputs.push_back(Output::Delivered { session, examples: counted });
        // Also when somebody else was first: it tells how fast the volunteer is.
        self.volunteers.delivered(session, assignment, now_ms);
        self.complete_if_done(now_ms);
    }

    /// A result is in the sums.
    fn accept(&mut self, now_ms: u64, id: u64, sender: Sender, is_suspicious: bool) {
        if sender.is_own {
            return;
        }
        self.heard_ms = now_ms;
        self.left_alone = false;
        let proven = self.volunteers.records.get(sender.identity.token).proven;
        self.volunteers.accepted(sender.session, !self.settings.audit.compares());
        self.audit(now_ms, id, proven, is_suspicious);
    }

    pub(super) fn complete_if_done(&mut self, now_ms: u64) {
        if matches!(&self.stage, Stage::Open { round, .. } if round.is_complete()) {
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
        if let Stage::Open { round, .. } = &mut self.stage {
            round.checks.release(session);
        }
    }

    pub(super) fn hand_out(&mut self, now_ms: u64) {
        self.wake_ms = None;
        if !matches!(self.stage, Stage::Open { .. }) {
            return;
        }
        self.distribute_checks(now_ms);
        let last_resort_ms = self.heard_ms + LAST_RESORT_MS;
        if now_ms >= last_resort_ms && !std::mem::replace(&mut self.left_alone, true) {
            self.volunteers.pardon();
        }
        self.volunteers.wake(now_ms);
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
        let patience_ms = match &self.stage {
            Stage::Open { round, .. } => round.checks.patience_ms(),
            _ => None,
        };
        let last_resort_ms = (!self.left_alone).then_some(last_resort_ms);
        self.wake_ms = handed
            .again_ms
            .into_iter()
            .chain(last_resort_ms)
            .chain(patience_ms.map(|ms| ms.max(now_ms + 1)))
            .min();
    }
}
