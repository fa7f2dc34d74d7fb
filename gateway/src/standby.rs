//! How a coordinator comes to lead: a term is an object of the store that can be created once.
//!
//! Whoever may lead listens. When no leader was heard for long, it looks for the newest term and creates the next. The
//! store lets one of several win. The winner reads its object once more, in case the store let two win: the object then
//! has one of the two nonces, and the other one goes on listening.
//!
//! Only the store says that the training has ended. A leader that says so is a reason to look there, and to listen on
//! if the store knows nothing of it.

use std::collections::VecDeque;

use crate::wire::{Broadcast, Term};
use crate::{LEADER_SILENCE_MS_MAX, REPEAT_MS};

/// What happens to a standby.
#[derive(Debug, Clone, PartialEq)]
pub enum StandbyInput {
    /// A leader speaks.
    Heard(Broadcast),
    /// The newest term in the store, as [`StandbyOutput::FindNewest`] asked; `None` if there is none yet.
    Newest(Option<Term>),
    /// The store has the run's end: instead of [`StandbyInput::Newest`].
    Ended,
    /// [`StandbyOutput::Create`] is done, or was refused because there is such an object.
    Created,
    /// The store did not do what it was asked last.
    StoreFailed,
    /// Time has passed.
    Tick,
}

/// What a standby wants done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StandbyOutput {
    /// Look for the run's end in the store, and for the newest term.
    FindNewest,
    /// Create a term's object, under its number, if there is none of that number.
    Create(Term),
    /// Lead: load the newest state, and begin. Nothing comes after this.
    Lead(Term),
    /// The training has ended. Nothing comes after this.
    Finished,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Listening,
    /// A leader says that the training has ended: the store was asked whether it has.
    Confirming,
    /// The newest term was asked for.
    Looking {
        /// Nobody was heard for long; otherwise a leader that there is may just not have spoken yet.
        has_waited: bool,
    },
    /// The next term is being created.
    Creating(Term),
    /// It was created, or perhaps was: what the store has now was asked for.
    Verifying(Term),
    Over,
}

/// See the module's description.
#[derive(Debug)]
pub struct Standby {
    nonce: u64,
    stage: Stage,
    /// The newest term that was heard of.
    newest: Option<Term>,
    /// When a leader was last heard, or somebody else's term was found.
    heard_ms: u64,
    again_ms: Option<u64>,
    outputs: VecDeque<StandbyOutput>,
}

impl Standby {
    /// One that listens. `nonce` is a random number of this process.
    pub fn new(now_ms: u64, nonce: u64) -> Standby {
        Standby {
            nonce,
            stage: Stage::Listening,
            newest: None,
            heard_ms: now_ms,
            again_ms: None,
            outputs: VecDeque::new(),
        }
    }

    /// One that begins a run: it looks for terms at once, and leads if there are none.
    pub fn beginning(now_ms: u64, nonce: u64) -> Standby {
        let mut standby = Standby::new(now_ms, nonce);
        standby.look(false);
        standby
    }

    /// One that has listened long enough: it looks for terms at once, and takes the next one.
    pub fn taking(now_ms: u64, nonce: u64) -> Standby {
        let mut standby = Standby::new(now_ms, nonce);
        standby.look(true);
        standby
    }

    /// The newest term that it has heard of.
    pub fn newest(&self) -> Option<Term> {
        self.newest
    }

    /// What is to be done next; `None` when there is nothing more for now.
    pub fn poll_output(&mut self) -> Option<StandbyOutput> {
        self.outputs.pop_front()
    }

    /// When to hand in [`StandbyInput::Tick`] if nothing else happens before.
    pub fn wake_ms(&self) -> Option<u64> {
        match self.stage {
            Stage::Over => None,
            Stage::Listening => Some(self.heard_ms + LEADER_SILENCE_MS_MAX),
            Stage::Confirming => {
                let silent_ms = self.heard_ms + LEADER_SILENCE_MS_MAX;
                Some(self.again_ms.map_or(silent_ms, |at_ms| at_ms.min(silent_ms)))
            }
            _ => self.again_ms,
        }
    }

    /// Takes in what happened at `now_ms` (any monotonic clock).
    pub fn handle(&mut self, now_ms: u64, input: StandbyInput) {
        match input {
            _ if self.stage == Stage::Over => {}
            StandbyInput::Heard(broadcast) => self.heard(now_ms, &broadcast),
            StandbyInput::Newest(newest) => self.found(now_ms, newest),
            StandbyInput::Ended => self.end(),
            StandbyInput::Created => {
                if let Stage::Creating(term) = self.stage {
                    // What the store has now decides: a first try may have worked without an answer.
                    self.stage = Stage::Verifying(term);
                    self.outputs.push_back(StandbyOutput::FindNewest);
                }
            }
            StandbyInput::StoreFailed => self.again_ms = Some(now_ms + REPEAT_MS),
            StandbyInput::Tick => self.tick(now_ms),
        }
    }

    fn heard(&mut self, now_ms: u64, broadcast: &Broadcast) {
        let term = broadcast.term();
        if self.newest.is_some_and(|newest| term < newest) {
            return;
        }
        self.newest = Some(term);
        self.heard_ms = now_ms;
        let says_the_end = matches!(broadcast, Broadcast::Finished { .. });
        // Somebody leads after all.
        let is_behind = match self.stage {
            Stage::Creating(own) | Stage::Verifying(own) => own <= term,
            // It waits for the store's answer already.
            Stage::Confirming => !says_the_end,
            _ => true,
        };
        if is_behind {
            self.listen();
            if says_the_end {
                self.stage = Stage::Confirming;
                self.outputs.push_back(StandbyOutput::FindNewest);
            }
        }
    }

    fn found(&mut self, now_ms: u64, newest: Option<Term>) {
        let known = self.newest;
        self.newest = self.newest.max(newest);
        match self.stage {
            Stage::Looking { has_waited } if newest > known && (known.is_some() || !has_waited) => {
                // Somebody else may lead, and may not have spoken yet.
                self.heard_ms = now_ms;
                self.listen();
            }
            Stage::Looking { .. } => {
                let number = self.newest.map_or(0, |term| term.number) + 1;
                let term = Term { number, nonce: self.nonce };
                self.stage = Stage::Creating(term);
                self.outputs.push_back(StandbyOutput::Create(term));
            }
            Stage::Verifying(term) if newest == Some(term) => {
                self.stage = Stage::Over;
                self.outputs.push_back(StandbyOutput::Lead(term));
            }
            Stage::Verifying(_) => {
                self.heard_ms = now_ms;
                self.listen();
            }
            Stage::Confirming => self.listen(),
            _ => {}
        }
    }

    fn tick(&mut self, now_ms: u64) {
        let waits = matches!(self.stage, Stage::Listening | Stage::Confirming);
        if waits && now_ms >= self.heard_ms + LEADER_SILENCE_MS_MAX {
            return self.look(true);
        }
        if self.again_ms.take_if(|at_ms| *at_ms <= now_ms).is_some() {
            match self.stage {
                Stage::Looking { .. } | Stage::Verifying(_) | Stage::Confirming => {
                    self.outputs.push_back(StandbyOutput::FindNewest)
                }
                Stage::Creating(term) => self.outputs.push_back(StandbyOutput::Create(term)),
                Stage::Listening | Stage::Over => {}
            }
        }
    }

    fn look(&mut self, has_waited: bool) {
        self.again_ms = None;
        self.stage = Stage::Looking { has_waited };
        self.outputs.push_back(StandbyOutput::FindNewest);
    }

    fn end(&mut self) {
        self.stage = Stage::Over;
        self.outputs.push_back(StandbyOutput::Finished);
    }

    fn listen(&mut self) {
        self.stage = Stage::Listening;
        self.again_ms = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn term(number: u64, nonce: u64) -> Term {
        Term { number, nonce }
    }

    fn say(standby: &mut Standby, now_ms: u64, input: StandbyInput) -> Vec<StandbyOutput> {
        standby.handle(now_ms, input);
        std::iter::from_fn(|| standby.poll_output()).collect()
    }

    #[test]
    fn the_first_coordinator_leads_at_once() {
        let mut first = Standby::beginning(0, 7);
        assert_eq!(say(&mut first, 0, StandbyInput::Tick), [StandbyOutput::FindNewest]);
        assert_eq!(say(&mut first, 1, StandbyInput::Newest(None)), [StandbyOutput::Create(term(1, 7))]);
        assert_eq!(say(&mut first, 2, StandbyInput::Created), [StandbyOutput::FindNewest]);
        let lead = say(&mut first, 3, StandbyInput::Newest(Some(term(1, 7))));
        assert_eq!((lead, first.wake_ms()), (vec![StandbyOutput::Lead(term(1, 7))], None));
        // One that is started beside it, or once more, listens first.
        let mut second = Standby::beginning(0, 8);
        say(&mut second, 0, StandbyInput::Tick);
        assert!(say(&mut second, 1, StandbyInput::Newest(Some(term(1, 7)))).is_empty());
        assert_eq!(second.wake_ms(), Some(1 + LEADER_SILENCE_MS_MAX));
    }

    #[test]
    fn a_standby_waits_until_the_leader_is_silent() {
        let mut standby = Standby::new(0, 8);
        let leads = StandbyInput::Heard(Broadcast::Leads { term: term(4, 7) });
        assert!(say(&mut standby, 5_000, leads).is_empty());
        assert!(say(&mut standby, LEADER_SILENCE_MS_MAX, StandbyInput::Tick).is_empty());
        let late_ms = 5_000 + LEADER_SILENCE_MS_MAX;
        assert_eq!(standby.wake_ms(), Some(late_ms));
        assert_eq!(say(&mut standby, late_ms, StandbyInput::Tick), [StandbyOutput::FindNewest]);
        let create = say(&mut standby, late_ms, StandbyInput::Newest(Some(term(4, 7))));
        assert_eq!(create, [StandbyOutput::Create(term(5, 8))]);
        // The store fails, and does it at the second try.
        assert!(say(&mut standby, late_ms, StandbyInput::StoreFailed).is_empty());
        let again_ms = standby.wake_ms().unwrap();
        assert_eq!(say(&mut standby, again_ms, StandbyInput::Tick), [StandbyOutput::Create(term(5, 8))]);
        say(&mut standby, again_ms, StandbyInput::Created);
        // The first try had worked.
        let lead = say(&mut standby, again_ms, StandbyInput::Newest(Some(term(5, 8))));
        assert_eq!(lead, [StandbyOutput::Lead(term(5, 8))]);
    }

    #[test]
    fn nobody_leads_a_run_that_has_ended() {
        let mut late = Standby::beginning(0, 7);
        assert_eq!(say(&mut late, 0, StandbyInput::Tick), [StandbyOutput::FindNewest]);
        assert_eq!(say(&mut late, 1, StandbyInput::Ended), [StandbyOutput::Finished]);
        assert_eq!(late.wake_ms(), None);
        assert!(say(&mut late, 1, StandbyInput::Newest(None)).is_empty());
    }

    #[test]
    fn who_loses_the_race_goes_on_listening() {
        let mut standby = Standby::new(0, 8);
        let late_ms = LEADER_SILENCE_MS_MAX;
        say(&mut standby, late_ms, StandbyInput::Tick);
        say(&mut standby, late_ms, StandbyInput::Newest(Some(term(4, 7))));
        say(&mut standby, late_ms, StandbyInput::Created);
        assert!(say(&mut standby, late_ms, StandbyInput::Newest(Some(term(5, 9)))).is_empty());
        assert_eq!(standby.wake_ms(), Some(2 * late_ms));
        // An older leader changes nothing.
        let old = Broadcast::Leads { term: term(4, 7) };
        say(&mut standby, late_ms + 1, StandbyInput::Heard(old));
        assert_eq!(standby.wake_ms(), Some(2 * late_ms));
    }

    #[test]
    fn only_the_store_says_that_the_training_has_ended() {
        let mut standby = Standby::new(0, 8);
        let finished = || StandbyInput::Heard(Broadcast::Finished { term: term(4, 7) });
        assert_eq!(say(&mut standby, 1_000, finished()), [StandbyOutput::FindNewest]);
        // However often the leader says so, the store is asked once at a time.
        assert!(say(&mut standby, 2_000, finished()).is_empty());
        say(&mut standby, 2_100, StandbyInput::StoreFailed);
        let again_ms = standby.wake_ms().unwrap();
        assert_eq!(say(&mut standby, again_ms, StandbyInput::Tick), [StandbyOutput::FindNewest]);
        // The store knows nothing of it, and the leader was heard last a while ago.
        assert!(say(&mut standby, 9_000, StandbyInput::Newest(Some(term(4, 7)))).is_empty());
        let late_ms = 2_000 + LEADER_SILENCE_MS_MAX;
        assert_eq!(standby.wake_ms(), Some(late_ms));
        assert_eq!(say(&mut standby, late_ms, StandbyInput::Tick), [StandbyOutput::FindNewest]);
        let newest = StandbyInput::Newest(Some(term(4, 7)));
        assert_eq!(say(&mut standby, late_ms, newest), [StandbyOutput::Create(term(5, 8))]);
        let mut other = Standby::new(0, 9);
        say(&mut other, 1_000, finished());
        assert_eq!(say(&mut other, 1_100, StandbyInput::Ended), [StandbyOutput::Finished]);
    }

    #[test]
    fn a_store_that_does_not_answer_does_not_keep_a_standby_from_looking_for_the_next_term() {
        let mut standby = Standby::new(0, 8);
        say(&mut standby, 1_000, StandbyInput::Heard(Broadcast::Finished { term: term(4, 7) }));
        let late_ms = 1_000 + LEADER_SILENCE_MS_MAX;
        assert_eq!(standby.wake_ms(), Some(late_ms));
        assert_eq!(say(&mut standby, late_ms, StandbyInput::Tick), [StandbyOutput::FindNewest]);
    }
}
