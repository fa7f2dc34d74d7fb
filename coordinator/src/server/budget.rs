//! The number of bytes that a volunteer may send.
//!
//! An honest volunteer sends much only when asked: each assignment entitles it to one result. All other
//! messages (greetings, declined assignments, pongs) are small and come from a small allowance that time
//! refills. So a large network or a fast link needs no larger limit, and a stranger cannot flood the
//! coordinator.

use protocol::limits::FRAGMENT_BYTES;
use protocol::pack::packed_bytes_max;
use tokio::time::Instant;

use super::limits::{MESSAGE_OVERHEAD_BYTES, RESULTS_OWED_MAX, UNASKED_BYTES_MAX, UNASKED_BYTES_PER_SECOND};

/// Bytes of a result without its vector: the header and an incomplete last fragment.
const RESULT_HEADER_BYTES: u64 = 1024;

/// The bytes that one session may still send.
#[derive(Debug)]
pub(super) struct Budget {
    result_bytes: u64,
    owed: u64,
    purse: u64,
    refilled: Instant,
}

impl Budget {
    /// The budget of a new session for a network of `parameters` parameters.
    pub(super) fn new(parameters: usize, now: Instant) -> Budget {
        let packed = packed_bytes_max(parameters) as u64;
        let chunks = packed.div_ceil(FRAGMENT_BYTES as u64);
        let result_bytes = packed + chunks * (MESSAGE_OVERHEAD_BYTES + 1) + RESULT_HEADER_BYTES;
        Budget { result_bytes, owed: 0, purse: UNASKED_BYTES_MAX, refilled: now }
    }

    /// Notes that an assignment was sent: one more result may arrive.
    pub(super) fn grant(&mut self) {
        let most = self.result_bytes.saturating_mul(RESULTS_OWED_MAX);
        self.owed = self.owed.saturating_add(self.result_bytes).min(most);
    }

    /// Notes that a message of `bytes` bytes arrived. False if the session may not send that much.
    pub(super) fn spend(&mut self, bytes: usize, now: Instant) -> bool {
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
        if from_purse > self.purse {
            return false;
        }
        self.owed -= from_owed;
        self.purse -= from_purse;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const PARAMETERS: usize = 1_000_000;

    /// Sends a whole result of the largest size; false when the budget ended before.
    fn send_result(budget: &mut Budget, now: Instant) -> bool {
        let packed = packed_bytes_max(PARAMETERS);
        let chunks = packed / FRAGMENT_BYTES;
        let rest = packed % FRAGMENT_BYTES;
        budget.spend(400, now)
            && (0..chunks).all(|_| budget.spend(FRAGMENT_BYTES + 1, now))
            && budget.spend(rest + 1, now)
    }

    #[test]
    fn every_assignment_entitles_to_one_result_at_any_speed() {
        let now = Instant::now();
        let mut budget = Budget::new(PARAMETERS, now);
        for _ in 0..3 {
            budget.grant();
            budget.grant();
            assert!(send_result(&mut budget, now));
            assert!(send_result(&mut budget, now));
        }
        assert!(!send_result(&mut budget, now), "a result nobody asked for");
    }

    #[test]
    fn small_talk_is_limited_by_time() {
        let start = Instant::now();
        let mut budget = Budget::new(PARAMETERS, start);
        let mut burst = 0;
        while budget.spend(0, start) {
            burst += 1;
        }
        assert_eq!(burst, UNASKED_BYTES_MAX / MESSAGE_OVERHEAD_BYTES);
        let later = start + Duration::from_secs(10);
        let kilobytes = (0..1000).take_while(|_| budget.spend(1000, later)).count();
        assert_eq!(kilobytes as u64, 10 * UNASKED_BYTES_PER_SECOND / (1000 + MESSAGE_OVERHEAD_BYTES));
    }

    #[test]
    fn unanswered_assignments_do_not_pile_up() {
        let now = Instant::now();
        let mut budget = Budget::new(PARAMETERS, now);
        (0..10_000).for_each(|_| budget.grant());
        let results = (0..10_000).take_while(|_| send_result(&mut budget, now)).count();
        assert!((RESULTS_OWED_MAX as usize..RESULTS_OWED_MAX as usize + 3).contains(&results));
    }
}
