//! What becomes of the training when a volunteer is found out whose results were counted unchecked.

use super::snapshot::Snapshot;
use super::{Engine, OnLie, Output, Stage};

impl Engine {
    /// Goes back to the last kept state in which no more than `rounds` rounds were completed, if more are by now.
    pub(super) fn go_back(&mut self, now_ms: u64, rounds: u64) {
        if rounds >= self.counters.rounds || matches!(self.stage, Stage::Finished(_) | Stage::Waiting) {
            return;
        }
        let kept = if self.settings.on_lie == OnLie::Rewind { self.ring.go_back(rounds) } else { None };
        let Some(snapshot) = kept else {
            let text = "results of this volunteer that nobody has checked stay in the weights";
            return self.outputs.push_back(Output::Note(text.into()));
        };
        self.examining = None;
        // What is done again is checked in full, so that no further liar leads back behind it.
        self.wary_until = self.wary_until.max(self.counters.rounds);
        self.restore(snapshot);
        self.floor.close(now_ms, false);
        self.floor.rewind(self.counters.rounds);
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

    /// Takes up a state of before. Numbers that name rounds and versions are used once all the same.
    pub(super) fn restore(&mut self, snapshot: Snapshot) {
        let now = self.counters;
        let Snapshot { optimizer, scales, statistics, counters, accepted, course } = snapshot;
        self.optimizer = optimizer;
        self.scales = scales;
        self.statistics = statistics;
        self.counters = counters;
        self.counters.version = now.version;
        self.counters.round = now.round;
        self.accepted = accepted;
        self.course = course;
    }
}
