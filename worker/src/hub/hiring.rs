//! When compute workers may be started: at once, or later where their program could not be downloaded.

use super::backoff::Backoff;

/// Maximum attempts in a row in which no compute worker's program arrives. They take a minute and a half.
pub const START_ATTEMPTS_MAX: u32 = 8;

#[derive(Debug)]
pub(super) struct Hiring {
    backoff: Backoff,
    /// Attempts in a row that failed.
    failures: u32,
    at_ms: u64,
}

impl Hiring {
    pub(super) fn new(seed: u64) -> Hiring {
        Hiring { backoff: Backoff::new(seed), failures: 0, at_ms: 0 }
    }

    /// The time from which on compute workers may be started.
    pub(super) fn at_ms(&self) -> u64 {
        self.at_ms
    }

    pub(super) fn is_delayed(&self) -> bool {
        self.failures > 0
    }

    pub(super) fn is_hopeless(&self) -> bool {
        self.failures >= START_ATTEMPTS_MAX
    }

    /// A compute worker's program has not arrived. Several that were started together fail as one.
    pub(super) fn failed(&mut self, now_ms: u64) {
        if now_ms >= self.at_ms {
            self.failures += 1;
            self.at_ms = now_ms.saturating_add(self.backoff.next_delay_ms());
        }
    }

    /// A compute worker runs.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
        self.backoff.reset();
    }
}
