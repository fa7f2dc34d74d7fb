//! When compute workers may be started: at once, or later where their program could not be downloaded.

use super::backoff::Backoff;

/// Maximum attempts in a row in which no compute worker's program arrives. They take about a minute.
pub const START_ATTEMPTS_MAX: u32 = 8;

#[derive(Debug)]
pub(super) struct Hiring {
    backoff: Backoff,
    /// Attempts in a row that failed.
    failures: u32,
    /// The number of the last compute worker whose program did not arrive.
    newest_failed: u32,
    at_ms: u64,
}

impl Hiring {
    pub(super) fn new(seed: u64) -> Hiring {
        Hiring { backoff: Backoff::new(seed), failures: 0, newest_failed: 0, at_ms: 0 }
    }

    /// The time from which on compute workers may be started.
    pub(super) fn at_ms(&self) -> u64 {
        self.at_ms
    }

    pub(super) fn is_delayed(&self) -> bool {
        self.failures > 0
    }

    /// Whether an attempt that fails is the last one.
    pub(super) fn is_last_attempt(&self) -> bool {
        self.failures + 1 >= START_ATTEMPTS_MAX
    }

    /// Whether compute workers may be started, or have been since the last failure.
    pub(super) fn is_due(&self, now_ms: u64) -> bool {
        now_ms >= self.at_ms
    }

    /// The program of that compute worker has not arrived. Several that were started together fail as one.
    pub(super) fn failed(&mut self, now_ms: u64, compute: u32) {
        self.newest_failed = self.newest_failed.max(compute);
        if self.is_due(now_ms) {
            self.failures += 1;
            self.at_ms = now_ms.saturating_add(self.backoff.next_delay_ms());
        }
    }

    /// That compute worker runs. One that was started before the last failure says nothing of the line since.
    pub(super) fn succeeded(&mut self, compute: u32) {
        if compute > self.newest_failed {
            self.failures = 0;
            self.backoff.reset();
        }
    }
}
