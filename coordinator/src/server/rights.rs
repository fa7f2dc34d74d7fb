//! What a volunteer may send: the answers that it owes, and the bytes that it has left.

use std::sync::{Mutex, MutexGuard, PoisonError};

use protocol::plan::Assignment;
use tokio::time::Instant;

use super::budget::Budget;
use super::owed::Owed;

/// The rights of one session, which its two loops share.
#[derive(Debug)]
pub(super) struct Rights {
    pub(super) owed: Owed,
    pub(super) budget: Budget,
}

impl Rights {
    /// The rights of a new session.
    pub(super) fn new(now: Instant) -> Rights {
        Rights { owed: Owed::default(), budget: Budget::new(now) }
    }

    /// Notes that an assignment goes out.
    pub(super) fn grant(&mut self, assignment: &Assignment) {
        self.owed.grant(assignment);
        self.budget.grant_answer();
    }
}

/// Locks the rights, even after a panic: they are consistent after every step.
pub(super) fn of(rights: &Mutex<Rights>) -> MutexGuard<'_, Rights> {
    rights.lock().unwrap_or_else(PoisonError::into_inner)
}
