//! What becomes of the training when a volunteer is found out whose results were counted unchecked, or when what is
//! to end it was not all checked.

use super::snapshot::Snapshot;
use super::{Course, Engine, OnLie, Output, Stage, StopReason};

/// Why the training goes back for a liar.
const UNCHECKED: &str = "it had counted unchecked results of a dismissed volunteer";
/// A training may soon end if its decrease is no more than so many times that at which it ends.
const NEAR_TIMES: f64 = 4.0;
/// The ways back that are remembered.
const WAYS_MAX: usize = 64;

/// Where the training went back to. What is repeated is checked in full, so the next liar leads to before that. Each
/// could lead a little further, and all of them together through everything many times. So whoever leads to before an
/// earlier way leads twice as far as that went at least: all ways together are no longer than a few times the
/// longest.
#[derive(Debug, Default)]
pub(super) struct WaysBack {
    /// The numbers of rounds completed, in increasing order.
    began: Vec<u64>,
}

impl WaysBack {
    /// How many rounds are to remain of `now`, if no more than `rounds` may.
    fn remaining(&self, now: u64, rounds: u64) -> u64 {
        let furthest = self.began.iter().find(|began| **began > rounds);
        furthest.map_or(rounds, |began| rounds.min(began.saturating_sub(now - began)))
    }

    /// The training went back to where so many rounds were completed.
    fn note(&mut self, rounds: u64) {
        self.began.retain(|began| *began < rounds);
        self.began.push(rounds);
        if self.began.len() > WAYS_MAX {
            self.began.remove(0);
        }
    }
}

impl Engine {
    /// Goes back for unchecked results of a liar, the first of them in the round before which `since` were completed,
    /// if it was completed.
    pub(super) fn go_back(&mut self, now_ms: u64, since: u64) {
        // A gateway may not know yet that what came before stays.
        let mut since = since.max(self.irrevocable);
        if since >= self.counters.rounds || matches!(self.stage, Stage::Finished(_) | Stage::Waiting) {
            return;
        }
        if let Stage::Recalling { since: earlier, .. } = self.stage {
            // Several may be found out at once. The training goes back for whoever lied first.
            since = since.min(earlier);
        }
        if !self.recall(now_ms, since) && !self.return_to_before(now_ms, since) {
            let text = "unchecked results of a dismissed volunteer stay in the weights";
            self.outputs.push_back(Output::Note(text.into()));
        }
    }

    /// Goes back if what is about to end the training is a small decrease over some points and not all of their
    /// rounds were checked. Answers whether it does.
    pub(super) fn repeats_the_end(&mut self, now_ms: u64) -> bool {
        if !matches!(self.stop_rule(), Some(StopReason::RelativeDecrease(_))) {
            return false;
        }
        let (Some(&first), Some(unchecked)) = (self.span.front(), self.unchecked) else { return false };
        let why = "some results that would end it were not checked";
        unchecked >= first && self.return_to(now_ms, first, first, why)
    }

    /// Before a round: it is checked in full if the training may soon end because of a small decrease.
    pub(super) fn watch_the_end(&mut self) {
        let (least, now) = (self.settings.stop.relative_decrease, self.course.relative_decrease());
        if least.zip(now).is_some_and(|(least, now)| now <= NEAR_TIMES * least) {
            self.wary_until = self.wary_until.max(self.counters.rounds + 1);
        }
    }

    /// Notes a round before which so many were completed: whether it was not all checked, and whether it came to a
    /// point.
    pub(super) fn note_round(&mut self, rounds: u64, is_unchecked: bool, has_point: bool) {
        if is_unchecked {
            self.unchecked = Some(rounds);
        }
        if has_point {
            self.span.push_back(rounds);
            if self.span.len() > Course::SPAN {
                self.span.pop_front();
            }
        }
    }

    /// Asks for a state of before the process began, if those in memory are all too late. Answers whether it does.
    fn recall(&mut self, now_ms: u64, since: u64) -> bool {
        let rounds = self.ways_back.remaining(self.counters.rounds, since);
        if self.settings.on_lie != OnLie::Rewind || self.ring.reaches(rounds) {
            return false;
        }
        let kept = self.kept.choose(rounds).filter(|kept| !self.ring.reaches(*kept));
        let Some(kept) = kept else { return false };
        let is_asked_for = matches!(self.stage, Stage::Recalling { kept: asked, .. } if asked == kept);
        self.stage = Stage::Recalling { since, kept };
        if !is_asked_for {
            self.floor.close(now_ms, false);
            // The state that comes needs the room.
            self.ring.keep_first();
            self.outputs.push_back(Output::Recall { rounds: kept });
        }
        true
    }

    /// Goes back to a state that was asked for; if it cannot be had, to another one.
    pub(super) fn recalled(&mut self, now_ms: u64, rounds: u64, snapshot: Option<Box<Snapshot>>) {
        let Stage::Recalling { since, kept } = self.stage else { return };
        if kept != rounds {
            return;
        }
        match snapshot.filter(|snapshot| snapshot.counters.rounds == kept) {
            Some(snapshot) => {
                self.ring.clear();
                self.return_to_state(now_ms, since, *snapshot, UNCHECKED);
            }
            None => {
                self.kept.drop_one(kept);
                if !self.recall(now_ms, since) && !self.return_to_before(now_ms, since) {
                    let text = "no earlier state can be read; unchecked results stay in the weights";
                    self.outputs.push_back(Output::Note(text.into()));
                    self.stage = Stage::Waiting;
                    self.go_on(now_ms);
                }
            }
        }
    }

    fn return_to_before(&mut self, now_ms: u64, since: u64) -> bool {
        let rounds = self.ways_back.remaining(self.counters.rounds, since);
        self.return_to(now_ms, since, rounds, UNCHECKED)
    }

    /// Goes back to the last state in memory in which no more than `rounds` rounds were completed, or else to the
    /// first, to undo what was counted since so many were. Answers whether there is one.
    fn return_to(&mut self, now_ms: u64, since: u64, rounds: u64, why: &str) -> bool {
        let kept = if self.settings.on_lie == OnLie::Rewind { self.ring.go_back(rounds) } else { None };
        let Some(snapshot) = kept else { return false };
        self.return_to_state(now_ms, since, snapshot, why);
        true
    }

    fn return_to_state(&mut self, now_ms: u64, since: u64, snapshot: Snapshot, why: &str) {
        self.examining = None;
        self.kept.rewind(snapshot.counters.rounds);
        // What is done again is checked in full, so that no further liar leads back behind it.
        self.wary_until = self.wary_until.max(self.counters.rounds);
        self.restore(snapshot);
        let rounds = self.counters.rounds;
        // All states are later than the first lie: what they hold of it can be undone for no other liar either.
        let is_too_late = rounds > since;
        if is_too_late {
            self.irrevocable = rounds;
        }
        self.floor.close(now_ms, false);
        self.floor.rewind(rounds, self.irrevocable);
        self.ways_back.note(rounds);
        self.unchecked =
            self.unchecked.and_then(|unchecked| rounds.checked_sub(1).map(|last| last.min(unchecked)));
        self.span.retain(|point| *point < rounds);
        let (iteration, again) = (self.accepted.map_or(0, |point| point.iteration), self.wary_until - rounds);
        let rounds_again = if again == 1 { "1 round".to_owned() } else { format!("{again} rounds") };
        let text = format!(
            "the training goes back to iteration {iteration} and repeats {rounds_again}, because {why}"
        );
        // The other way round, people would be told what a kill could undo.
        self.outputs.push_back(Output::Rewound { iteration: self.accepted.map(|point| point.iteration) });
        self.outputs.push_back(Output::Note(text));
        if is_too_late {
            let text = format!(
                "no earlier state is left: unchecked results of dismissed volunteers from before iteration \
                 {iteration} stay in the weights"
            );
            self.outputs.push_back(Output::Note(text));
        }
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

#[cfg(test)]
mod tests;
