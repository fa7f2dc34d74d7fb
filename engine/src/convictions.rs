//! What becomes of a volunteer that sent something that no honest volunteer sends, and of its work.

use super::snapshot::Snapshot;
use super::{Engine, OnLie, Output, Stage};

impl Engine {
    /// Dismisses a volunteer that sent `offense`, which no honest volunteer sends. Nothing else of it can be trusted
    /// either. What it contributed to the open round leaves the sums, and only those units are handed out again: so
    /// a volunteer that comes back again and again does not hold up the round. If earlier rounds count results of it
    /// that nobody has checked, the training goes back to before the first of them.
    ///
    /// The volunteer may have left, if it had results in the open round.
    pub(super) fn convict(&mut self, now_ms: u64, session: u64, offense: &'static str) {
        let Some(identity) = self.volunteers.identity(session) else { return };
        let is_present = self.volunteers.get(session).is_some();
        self.remove(session);
        if is_present {
            let text = format!("The coordinator dismissed this volunteer: it sent {offense}.");
            self.outputs.push_back(Output::Dismiss { session, text });
        }
        let since = self.volunteers.records.convict(identity.token);
        self.outputs.push_back(Output::Convicted { session, identity, offense });
        match std::mem::replace(&mut self.stage, Stage::Waiting) {
            Stage::Open { mut round, suspicions } => {
                round.expel(session);
                self.stage = Stage::Open { round, suspicions };
            }
            // All was accounted for, and now it is not.
            Stage::Vanished { mut round } => {
                let again = round.expel(session);
                self.stage = match again {
                    0 => Stage::Vanished { round },
                    _ => Stage::Open { round, suspicions: Default::default() },
                };
            }
            stage => self.stage = stage,
        }
        if let Some(since) = since.filter(|since| *since < self.counters.rounds) {
            self.go_back(now_ms, since);
        }
    }

    /// Goes back to the last kept state in which no more than `rounds` rounds were completed.
    fn go_back(&mut self, now_ms: u64, rounds: u64) {
        if matches!(self.stage, Stage::Finished(_) | Stage::Waiting) {
            return;
        }
        let kept = if self.settings.on_lie == OnLie::Rewind { self.ring.go_back(rounds) } else { None };
        let Some(snapshot) = kept else {
            let text = "results of this volunteer that nobody has checked stay in the weights";
            return self.outputs.push_back(Output::Note(text.into()));
        };
        // What is done again is checked in full, so that no further liar leads back behind it.
        self.wary_until = self.wary_until.max(self.counters.rounds);
        self.restore(snapshot);
        self.volunteers.records.rewind(self.counters.rounds);
        let (iteration, from) = (self.accepted.map_or(0, |point| point.iteration), self.wary_until);
        let text = format!(
            "the training goes back to iteration {iteration} and repeats {} rounds, because it counted results of \
             this volunteer that nobody has checked",
            from - self.counters.rounds
        );
        self.outputs.push_back(Output::Note(text));
        self.outputs.push_back(Output::Rewound { iteration: self.accepted.map(|point| point.iteration) });
        self.stage = Stage::Waiting;
        self.go_on(now_ms);
    }

    /// Takes up a state of before. Numbers that name rounds, versions and assignments are used once all the same.
    pub(super) fn restore(&mut self, snapshot: Snapshot) {
        let now = self.counters;
        let Snapshot { optimizer, scales, statistics, counters, accepted, course } = snapshot;
        self.optimizer = optimizer;
        self.scales = scales;
        self.statistics = statistics;
        self.counters = counters;
        self.counters.version = now.version;
        self.counters.round = now.round;
        self.counters.assignment = now.assignment;
        self.accepted = accepted;
        self.course = course;
    }
}
