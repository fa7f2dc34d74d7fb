//! What the driver has for a volunteer, in the order in which the volunteer is to have it.
//!
//! A volunteer's link may be slower than the rounds are. So the driver's messages are read while a round is
//! still being sent, and only what matters in the end is kept: the newest round, assignments of that round,
//! and the driver's last word.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;

use protocol::message::Refusal;
use protocol::plan::Assignment;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, watch};

use super::session::Ending;
use crate::driver::exchange::{OUTBOX_MAX, OpenRound, ToSession};

/// What to do next for a volunteer.
#[derive(Debug)]
pub(super) enum Next {
    /// Send this round.
    Round(Arc<OpenRound>),
    /// Send this assignment, which is of the round sent last.
    Assign(Assignment),
    /// End the session.
    End(Ending),
}

/// What the driver has said and the volunteer has not been told.
#[derive(Debug)]
pub(super) struct Mail {
    outbox: mpsc::Receiver<ToSession>,
    round: watch::Receiver<Option<Arc<OpenRound>>>,
    /// The number of the round sent last.
    sent_round: Option<u64>,
    /// Of one round, which was open when they came. At most [`OUTBOX_MAX`].
    assignments: VecDeque<Assignment>,
    last_word: Option<Ending>,
}

impl Mail {
    /// The driver's messages in `outbox` and the open round. One that is open already is news, too.
    pub(super) fn new(
        outbox: mpsc::Receiver<ToSession>,
        round: watch::Receiver<Option<Arc<OpenRound>>>,
    ) -> Mail {
        Mail { outbox, round, sent_round: None, assignments: VecDeque::new(), last_word: None }
    }

    /// What comes next, of all that the driver has said up to now. May be canceled.
    pub(super) async fn next(&mut self) -> Next {
        loop {
            self.read();
            if let Some(ending) = self.last_word.take() {
                return Next::End(ending);
            }
            let newest = self.round.borrow_and_update().clone();
            if let Some(newest) = newest.filter(|newest| self.sent_round != Some(newest.plan.round)) {
                self.sent_round = Some(newest.plan.round);
                return Next::Round(newest);
            }
            while let Some(assignment) = self.assignments.pop_front() {
                if self.sent_round == Some(assignment.round) {
                    return Next::Assign(assignment);
                }
                drop_late(&assignment);
            }
            tokio::select! {
                biased;
                message = self.outbox.recv() => self.sort(message),
                changed = self.round.changed() => if changed.is_err() {
                    // The driver is gone: only what it has said before is left.
                    self.outbox.close();
                },
            }
        }
    }

    /// Reads on while a round is being sent. Done only when the session is to end without a word: then the
    /// rest of the round is for nothing. May be canceled.
    pub(super) async fn released(&mut self) -> Ending {
        loop {
            match self.last_word.take() {
                None => {
                    let message = self.outbox.recv().await;
                    self.sort(message);
                }
                Some(word @ (Ending::Finished(_) | Ending::Refused(_))) => {
                    self.last_word = Some(word);
                    return pending().await;
                }
                Some(ending) => return ending,
            }
        }
    }

    fn read(&mut self) {
        while self.last_word.is_none() {
            match self.outbox.try_recv() {
                Ok(message) => self.sort(Some(message)),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => self.sort(None),
            }
        }
    }

    fn sort(&mut self, message: Option<ToSession>) {
        match message {
            Some(ToSession::Assign(assignment)) => {
                let open = self.round.borrow().as_ref().map(|open| open.plan.round);
                if open != Some(assignment.round) {
                    return drop_late(&assignment);
                }
                self.assignments.retain(|earlier| earlier.round == assignment.round);
                if self.assignments.len() == OUTBOX_MAX {
                    self.last_word = Some(Ending::Unresponsive("it does not keep up"));
                } else {
                    self.assignments.push_back(assignment);
                }
            }
            Some(ToSession::Dismiss { text }) => {
                self.last_word = Some(Ending::Refused((Refusal::Misbehaved, text)));
            }
            Some(ToSession::Finish { text }) => self.last_word = Some(Ending::Finished(text)),
            None => self.last_word = Some(Ending::Released),
        }
    }
}

fn drop_late(assignment: &Assignment) {
    tracing::debug!(assignment = assignment.assignment, "dropped: its round is over");
}
