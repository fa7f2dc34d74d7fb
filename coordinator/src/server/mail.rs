//! The driver's messages to a volunteer, in the order in which they go out.
//!
//! A volunteer's link may be slower than the rounds. So a session reads the driver's messages while it still
//! sends a round, and keeps only what matters in the end: the newest round, assignments of that round, and
//! the driver's last message. When a newer round opens, or the session ends, the rest of the old one is left out:
//! nobody needs it, and it would keep the round's vectors in memory.

use std::collections::VecDeque;
use std::sync::Arc;

use protocol::message::Refusal;
use protocol::plan::Assignment;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, watch};

use super::ending::Ending;
use crate::driver::exchange::{OUTBOX_MAX, OpenRound, ToSession};

/// The next thing to do for a volunteer.
#[derive(Debug)]
pub(super) enum Next {
    /// Send this round.
    Round(Arc<OpenRound>),
    /// Send this assignment, which belongs to the last round sent.
    Assign(Assignment),
    /// End the session.
    End(Ending),
}

/// The driver's messages that the volunteer has not received.
#[derive(Debug)]
pub(super) struct Mail {
    outbox: mpsc::Receiver<ToSession>,
    round: watch::Receiver<Option<Arc<OpenRound>>>,
    /// The number of the last round sent.
    sent_round: Option<u64>,
    /// Assignments of one round, which was open when they arrived. At most [`OUTBOX_MAX`].
    assignments: VecDeque<Assignment>,
    last_word: Option<Ending>,
}

impl Mail {
    /// Takes the driver's messages from `outbox`, and the open round. A round that is open already counts as
    /// news too.
    pub(super) fn new(
        outbox: mpsc::Receiver<ToSession>,
        round: watch::Receiver<Option<Arc<OpenRound>>>,
    ) -> Mail {
        Mail { outbox, round, sent_round: None, assignments: VecDeque::new(), last_word: None }
    }

    /// The next thing to do, by everything that the driver has said so far. May be canceled.
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
                    // The driver has ended. Only its earlier messages are left.
                    self.outbox.close();
                },
            }
        }
    }

    /// Reads the driver's messages while a round is being sent. Returns when the rest of the round is useless:
    /// the next one is open, or the session must end. May be canceled.
    pub(super) async fn interrupts(&mut self) {
        while self.last_word.is_none() {
            tokio::select! {
                biased;
                message = self.outbox.recv() => self.sort(message),
                changed = self.round.changed() => match changed {
                    Ok(()) => return,
                    // The driver has ended. Only its earlier messages are left.
                    Err(_) => self.outbox.close(),
                },
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
            Some(ToSession::Replace) => {
                let text = "This volunteer has connected again, and only its newer connection counts.".into();
                self.last_word = Some(Ending::Refused((Refusal::Replaced, text)));
            }
            Some(ToSession::Finish(farewell)) => self.last_word = Some(Ending::Finished(*farewell)),
            None => self.last_word = Some(Ending::Released),
        }
    }
}

fn drop_late(assignment: &Assignment) {
    tracing::debug!(assignment = assignment.assignment, "dropped: its round is over");
}
