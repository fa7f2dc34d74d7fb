//! Delays before the hub connects again.

/// Maximum milliseconds before the second attempt.
const FIRST_DELAY_MS_MAX: u64 = 500;
/// Maximum milliseconds before any attempt.
const DELAY_MS_MAX: u64 = 30_000;

/// Delays that double with every attempt. The seed shortens each by up to a half, so that volunteers that
/// lost the same coordinator do not all return at once.
#[derive(Debug)]
pub(super) struct Backoff {
    seed: u64,
    attempts: u32,
}

impl Backoff {
    pub(super) fn new(seed: u64) -> Backoff {
        Backoff { seed, attempts: 0 }
    }

    pub(super) fn next_delay_ms(&mut self) -> u64 {
        let longest = FIRST_DELAY_MS_MAX
            .checked_shl(self.attempts.min(16))
            .map_or(DELAY_MS_MAX, |ms| ms.min(DELAY_MS_MAX));
        self.attempts = self.attempts.saturating_add(1);
        longest / 2 + mix(self.seed.wrapping_add(u64::from(self.attempts))) % (longest / 2 + 1)
    }

    /// Resets the delays after a good connection.
    pub(super) fn reset(&mut self) {
        self.attempts = 0;
    }
}

/// Spreads neighboring numbers (the finalizer of splitmix64).
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_stay_bounded_and_differ_between_volunteers() {
        let delays = |seed| {
            let mut backoff = Backoff::new(seed);
            (0..100).map(|_| backoff.next_delay_ms()).collect::<Vec<_>>()
        };
        let mine = delays(1);
        assert!((250..=500).contains(&mine[0]));
        assert!((1000..=2000).contains(&mine[2]));
        assert!(mine[10..].iter().all(|ms| (15_000..=30_000).contains(ms)));
        assert_ne!(mine, delays(2));
    }
}
