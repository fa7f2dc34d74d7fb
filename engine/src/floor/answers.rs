//! Takes messages from volunteers.

use protocol::message::ResultHeader;

use super::round::Sender;
use super::validator::{self, Question};
use super::volunteers::Says;
use super::{Floor, FloorEvent};
use crate::decoder::Message;

impl Floor {
    /// A volunteer that has joined says something.
    pub fn message(&mut self, now_ms: u64, session: u64, message: Message) {
        let volunteers = &self.volunteers;
        let says = match &message {
            Message::Result { header, .. } => volunteers.answers(session, header.assignment),
            // A report on a round that is over costs nothing to make.
            Message::Unfit(unfit) if volunteers.owes(session, unfit.assignment) => Says::AnswersInTime,
            Message::Unfit(_) => Says::Nothing,
            Message::Cores(_) | Message::Declined { .. } => Says::Something,
        };
        self.volunteers.heard(session, says);
        match message {
            Message::Cores(cores) => {
                self.volunteers.lend(session, cores);
                if let (0, Some(round)) = (cores, &mut self.round) {
                    round.checks.release(session);
                }
            }
            Message::Result { header, vector } => self.result(now_ms, session, &header, vector.as_deref()),
            Message::Unfit(unfit) => self.unfit(session, unfit),
            Message::Declined { assignment, .. } => self.declined(now_ms, session, assignment),
        }
    }

    fn result(&mut self, now_ms: u64, session: u64, header: &ResultHeader, vector: Option<&[i64]>) {
        let assignment = header.assignment;
        let Some(round) = &mut self.round else { return };
        let Some(volunteer) =
            self.volunteers.get(session).filter(|_| self.volunteers.owes(session, assignment))
        else {
            return;
        };
        let settled = round.settled_of(assignment);
        let group = settled.and_then(|id| round.group(id)).or_else(|| round.group_of(assignment));
        let (mut counted, mut examples_done) = (false, 0);
        if let Some(group) = group {
            let (run, network) = (self.settings.run, &self.settings.network);
            let examples = round.examples(self.settings.run_plan(), group.part, &group.units);
            examples_done = examples;
            let question = Question { run, plan: &round.plan, group, examples, network };
            if let Err(text) = validator::judge(question, header, vector) {
                let identity = volunteer.identity;
                return self.convict((session, identity), text);
            }
            let fingerprint = self.settings.audit.compares().then(|| self.key.of(header, vector));
            if settled.is_some() {
                self.compare(session, assignment, fingerprint);
            } else {
                counted = true;
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
        self.events.push_back(FloorEvent::Delivered { session, examples: examples_done, counted });
        // Also when somebody else was first: it tells how fast the volunteer is.
        self.volunteers.delivered(session, assignment, now_ms);
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
        self.enter_into_lot(id);
        self.audit(id, proven, is_suspicious);
    }

    fn declined(&mut self, now_ms: u64, session: u64, assignment: u64) {
        let Some(round) = &mut self.round else { return };
        if !self.volunteers.owes(session, assignment) {
            return;
        }
        let group = round.group_of(assignment);
        let shards = group.map(|group| round.shards(self.settings.run_plan(), group.part, &group.units));
        self.volunteers.declined(session, assignment, &shards.unwrap_or_default(), now_ms);
        round.take_back(assignment);
    }
}
