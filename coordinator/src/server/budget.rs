//! The number of bytes that a volunteer may send.
//!
//! An honest volunteer sends much only when asked: each assignment entitles it to one answer, and the header of
//! an owed result to the vector that it announces. All other messages (greetings, numbers of cores, pongs) are
//! small and come from a small allowance that time refills. So a large network or a fast link needs no larger
//! limit, and a stranger cannot flood the coordinator.

use protocol::limits::FRAGMENT_BYTES;
use tokio::time::Instant;

use super::limits::{
    ANSWER_BYTES_MAX, MESSAGE_OVERHEAD_BYTES, RESULTS_OWED_MAX, UNASKED_BYTES_MAX, UNASKED_BYTES_PER_SECOND,
};

/// The bytes that one session may still send.
#[derive(Debug)]
pub(super) struct Budget {
    owed: u64,
    purse: u64,
    refilled: Instant,
}

/// What a message was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spent {
    /// A part of what the volunteer was asked for.
    OnAnswers,
    /// Something else.
    OnTalk,
}

impl Budget {
    /// The budget of a new session.
    pub(super) fn new(now: Instant) -> Budget {
        Budget { owed: 0, purse: UNASKED_BYTES_MAX, refilled: now }
    }

    /// Notes that an assignment was sent: one more answer may arrive.
    pub(super) fn grant_answer(&mut self) {
        let most = ANSWER_BYTES_MAX * RESULTS_OWED_MAX as u64;
        self.owed = self.owed.max((self.owed + ANSWER_BYTES_MAX).min(most));
    }

    /// Notes that an owed result has announced a vector.
    pub(super) fn grant_vector(&mut self, vector_bytes: u32) {
        let bytes = u64::from(vector_bytes);
        let chunks = bytes.div_ceil(FRAGMENT_BYTES as u64);
        // Each chunk has a byte that names its kind.
        self.owed = self.owed.saturating_add(bytes + chunks * (MESSAGE_OVERHEAD_BYTES + 1));
    }

    /// Notes that a message of `bytes` bytes arrived; `None` if the session may not send that much.
    pub(super) fn spend(&mut self, bytes: usize, now: Instant) -> Option<Spent> {
        let elapsed_ms = now.saturating_duration_since(self.refilled).as_millis();
        let elapsed_ms = u64::try_from(elapsed_ms).unwrap_or(u64::MAX);
        let refill = elapsed_ms.saturating_mul(UNASKED_BYTES_PER_SECOND) / 1000;
        if refill > 0 {
            self.refilled = now;
            self.purse = self.purse.saturating_add(refill).min(UNASKED_BYTES_MAX);
        }
        let bytes = bytes as u64 + MESSAGE_OVERHEAD_BYTES;
        let from_owed = bytes.min(self.owed);
        let from_purse = bytes - from_owed;
        self.purse = self.purse.checked_sub(from_purse)?;
        self.owed -= from_owed;
        Some(if from_purse == 0 { Spent::OnAnswers } else { Spent::OnTalk })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const VECTOR: usize = 8_000_000;

    /// Sends a whole vector; false when the budget ended before.
    fn send_vector(budget: &mut Budget, now: Instant) -> bool {
        let rest = VECTOR % FRAGMENT_BYTES;
        (0..VECTOR / FRAGMENT_BYTES).all(|_| budget.spend(FRAGMENT_BYTES + 1, now).is_some())
            && budget.spend(rest + 1, now).is_some()
    }

    #[test]
    fn every_owed_result_brings_its_vector_at_any_speed() {
        let now = Instant::now();
        let mut budget = Budget::new(now);
        for _ in 0..3 {
            budget.grant_answer();
            assert_eq!(budget.spend(400, now), Some(Spent::OnAnswers));
            budget.grant_vector(VECTOR as u32);
            assert!(send_vector(&mut budget, now));
        }
        assert!(!send_vector(&mut budget, now), "a vector that no result announced");
    }

    #[test]
    fn small_talk_is_limited_by_time() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        let mut burst = 0;
        while budget.spend(0, start) == Some(Spent::OnTalk) {
            burst += 1;
        }
        assert_eq!(burst, UNASKED_BYTES_MAX / MESSAGE_OVERHEAD_BYTES);
        let later = start + Duration::from_secs(10);
        let kilobytes = (0..1000).take_while(|_| budget.spend(1000, later).is_some()).count();
        assert_eq!(kilobytes as u64, 10 * UNASKED_BYTES_PER_SECOND / (1000 + MESSAGE_OVERHEAD_BYTES));
    }

    #[test]
    fn unanswered_assignments_do_not_pile_up() {
        let now = Instant::now();
        let mut budget = Budget::new(now);
        (0..100_000).for_each(|_| budget.grant_answer());
        let bytes = (ANSWER_BYTES_MAX - MESSAGE_OVERHEAD_BYTES) as usize;
        let answers = (0..100_000).take_while(|_| budget.spend(bytes, now).is_some()).count();
        assert_eq!(answers as u64, RESULTS_OWED_MAX as u64 + UNASKED_BYTES_MAX / ANSWER_BYTES_MAX);
    }
}
